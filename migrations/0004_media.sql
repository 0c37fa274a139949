-- Files. The attachment row is committed with its message, the object row before the first byte is put:
-- no object is ever without a row.

create table attachment (
    id              uuid primary key,
    message_id      uuid not null references message (id) on delete cascade,
    channel_id      integer not null,
    kind            text not null check (kind in ('image', 'video', 'audio', 'file')),
    provider        text not null check (provider in ('line', 'external')),
    original_state  text not null default 'waiting' check (original_state in ('waiting', 'kept', 'gone', 'failed')),
    original_reason text,
    original_key    text,
    original_type   text,
    original_size   bigint,
    preview_state   text not null default 'waiting' check (preview_state in ('waiting', 'kept', 'gone', 'failed', 'none')),
    preview_reason  text,
    preview_key     text,
    preview_type    text,
    preview_width   integer,
    preview_height  integer,
    created_at      timestamptz not null default now(),
    unique (message_id)
);
comment on table attachment is 'The file of an image, video, audio or file message, and its preview image';
comment on column attachment.id is 'Our own id, used in addresses';
comment on column attachment.message_id is 'The message it came with';
comment on column attachment.channel_id is 'The channel whose token fetches it';
comment on column attachment.kind is 'LINE''s message type';
comment on column attachment.provider is 'contentProvider.type: line (fetched from the data host) or external (somebody''s own URL)';
comment on column attachment.original_state is 'waiting, kept, gone (LINE has it no more) or failed';
comment on column attachment.original_reason is 'Why it is gone or failed, or why it still waits: a word of ours, never content';
comment on column attachment.original_key is 'Object that holds the original';
comment on column attachment.original_type is 'Media type as the sender''s server declared it';
comment on column attachment.original_size is 'Bytes kept';
comment on column attachment.preview_state is 'As original_state; none: this kind of message has no preview';
comment on column attachment.preview_reason is 'As original_reason';
comment on column attachment.preview_key is 'Object that holds the preview';
comment on column attachment.preview_type is 'Media type of the preview';
comment on column attachment.preview_width is 'Pixels';
comment on column attachment.preview_height is 'Pixels';
comment on column attachment.created_at is 'When the message was stored';

create table object (
    key           text primary key,
    state         text not null check (state in ('writing', 'kept', 'purge')),
    attachment_id uuid,
    erasure_id    uuid,
    lease_until   timestamptz not null,
    look_at       timestamptz not null default now(),
    created_at    timestamptz not null default now()
);
create index object_due on object (look_at) where state <> 'kept';
create index object_attachment on object (attachment_id) where attachment_id is not null;
create index object_erasure on object (erasure_id) where erasure_id is not null;
comment on table object is 'Every object that may exist in the object store; outlives the rows that used it until the object is confirmed gone';
comment on column object.key is 'Random key, one for each attempt to write; no content hash, nothing shared';
comment on column object.state is 'writing (a fetch is under way), kept (in use), purge (to be deleted and confirmed gone)';
comment on column object.attachment_id is 'The attachment it was written for; no foreign key, this row outlives it; null for profile pictures';
comment on column object.erasure_id is 'The erasure that asked for the purge';
comment on column object.lease_until is 'No writer of this object is alive after this time; a purge looks again then';
comment on column object.look_at is 'writing: abandoned after this time; purge: next try';
comment on column object.created_at is 'When the write was begun';
