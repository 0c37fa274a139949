-- What the gallery of a conversation is read by. Partial: a text, which is nearly all that comes, has no entry in it.

create index message_files on message (conversation_id, kind, occurred_at desc, id desc)
    where kind in ('image', 'video', 'audio', 'file');

-- The preview at two sizes in one object, so that one thing has to go. What is derived from a picture goes with it: its
-- colours are sealed with the data key of the preview's object, and lie in the row that is deleted with the message.

alter table attachment add column preview_smaller integer;
alter table attachment add column placeholder bytea;
alter table attachment alter column placeholder set statistics 0;
comment on column attachment.preview_type is 'Media type of the preview: image/jpeg, or in earlier rows as found in its bytes';
comment on column attachment.preview_width is 'Pixels, upright; of the larger picture if there are two';
comment on column attachment.preview_height is 'Pixels, upright; of the larger picture if there are two';
comment on column attachment.preview_smaller is 'Bytes of the smaller picture, which the preview''s object begins with; the larger one follows. Null: it holds one alone';
comment on column attachment.placeholder is 'Colours of a grid of 4 by 4, to be shown until the preview is there; sealed with the data key of the preview''s object';
