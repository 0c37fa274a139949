-- The record of what was forgotten: ids, times, counts and causes; never text, a hash of text, a length, a file name or a name.

create table erasure (
    id               uuid primary key,
    channel_id       integer not null,
    message_id       text not null,
    conversation_id  uuid,
    cause            text not null check (cause in ('unsend')),
    webhook_event_id text,
    asked_at         timestamptz not null,
    rows_gone_at     timestamptz not null default now(),
    rows_erased      integer not null default 0,
    objects_found    integer not null default 0,
    objects_gone_at  timestamptz,
    unique (channel_id, message_id)
);
create index erasure_newest on erasure (rows_gone_at desc, id desc);
create index erasure_pending on erasure (rows_gone_at) where objects_gone_at is null;
comment on table erasure is 'One row for every message that was unsent';
comment on column erasure.id is 'Our own id';
comment on column erasure.channel_id is 'The channel whose signed webhook asked for it';
comment on column erasure.message_id is 'LINE''s id of the message';
comment on column erasure.conversation_id is 'The conversation it was said in, where known';
comment on column erasure.cause is 'unsend: the sender withdrew the message';
comment on column erasure.webhook_event_id is 'LINE''s webhookEventId of the unsend event';
comment on column erasure.asked_at is 'Timestamp of the unsend event';
comment on column erasure.rows_gone_at is 'When its rows were deleted: the commit that was acknowledged';
comment on column erasure.rows_erased is 'Rows deleted: message, revisions, attachment, jobs; 0 if it had not been archived';
comment on column erasure.objects_found is 'Objects that had to be purged';
comment on column erasure.objects_gone_at is 'When all of them were confirmed gone; the same as rows_gone_at if there were none';
