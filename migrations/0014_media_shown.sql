-- What the gallery of a conversation is read by. Partial: a text, which is nearly all that comes, has no entry in it.

create index message_files on message (conversation_id, kind, occurred_at desc, id desc)
    where kind in ('image', 'video', 'audio', 'file');
