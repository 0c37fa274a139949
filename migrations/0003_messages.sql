-- What was said. No foreign key from a message to its conversation and contact: each would lock the parent row
-- on every insert, and both ids come from the same transaction (records/ is the only writer).

create table message_ref (
    channel_id      integer not null,
    message_id      text not null,
    id              uuid not null,
    unsent_at       timestamptz,
    conversation_id uuid,
    occurred_at     timestamptz,
    primary key (channel_id, message_id)
);
create index message_ref_unsent on message_ref (conversation_id, occurred_at desc, id desc)
    where unsent_at is not null and occurred_at is not null;
comment on table message_ref is 'One row for every LINE message id ever seen, for ever: de-duplicates, and stays as the tombstone of an unsent message. Every writer of content locks this row first';
comment on column message_ref.channel_id is 'The channel; the same message id in another channel is another message';
comment on column message_ref.message_id is 'LINE''s message id, a decimal string beyond 2^53';
comment on column message_ref.id is 'Our id of the message, the same as message.id while that row lives';
comment on column message_ref.unsent_at is 'Tombstone: when the message was unsent (timestamp of the unsend event); null while it lives';
comment on column message_ref.conversation_id is 'Where it was said, so that "message unsent" can be shown there; null where LINE named no source';
comment on column message_ref.occurred_at is 'When it was sent; null while only its unsend has arrived';

create table message (
    id                uuid primary key,
    channel_id        integer not null,
    message_id        text not null,
    conversation_id   uuid not null,
    contact_id        uuid,
    kind              text not null,
    occurred_at       timestamptz not null,
    received_at       timestamptz not null default now(),
    edited_at         timestamptz,
    quoted_message_id text
);
create index message_timeline on message (conversation_id, occurred_at desc, id desc);
comment on table message is 'A message that lives: what is known of it apart from its content';
comment on column message.id is 'Our own id; made by message_ref';
comment on column message.channel_id is 'The channel';
comment on column message.message_id is 'LINE''s message id';
comment on column message.conversation_id is 'Where it was said';
comment on column message.contact_id is 'Who said it; null where LINE does not tell';
comment on column message.kind is 'LINE''s message type: text, image, video, audio, file, location, sticker, or one that is not known yet';
comment on column message.occurred_at is 'LINE''s timestamp; orders the conversation';
comment on column message.received_at is 'When it was stored';
comment on column message.edited_at is 'Timestamp of the newest edit; null if never edited';
comment on column message.quoted_message_id is 'LINE''s id of the message this one quotes; it may never have been archived';

create table revision (
    message_id       uuid not null references message (id) on delete cascade,
    webhook_event_id text not null,
    occurred_at      timestamptz not null,
    edited           boolean not null,
    content          bytea not null,
    primary key (message_id, webhook_event_id, edited)
);
comment on table revision is 'What a message says: the original and each edit, as the raw webhook event. The newest edit counts; all go with the message';
comment on column revision.message_id is 'The message';
comment on column revision.webhook_event_id is 'LINE''s webhookEventId of the event that brought it';
comment on column revision.occurred_at is 'The event''s timestamp';
comment on column revision.edited is 'false: the original (message event); true: an edit (messageEdited event)';
comment on column revision.content is 'The raw bytes of the webhook event, exactly as LINE sent them';
alter table revision alter column content set statistics 0;

create table event_ref (
    channel_id       integer not null,
    webhook_event_id text not null,
    kind             text not null,
    primary key (channel_id, webhook_event_id, kind)
);
comment on table event_ref is 'One row for every webhook event that is neither a message nor an unsend, for ever: de-duplicates redeliveries';
comment on column event_ref.channel_id is 'The channel';
comment on column event_ref.webhook_event_id is 'LINE''s webhookEventId';
comment on column event_ref.kind is 'LINE''s event type: two events under one id are both kept';

create table event (
    id               uuid primary key,
    channel_id       integer not null,
    conversation_id  uuid not null,
    contact_id       uuid,
    kind             text not null,
    webhook_event_id text not null,
    occurred_at      timestamptz not null,
    received_at      timestamptz not null default now(),
    content          bytea not null
);
create index event_timeline on event (conversation_id, occurred_at desc, id desc);
comment on table event is 'Everything that happens in a conversation but messages, edits and unsends: follow, join, postback, beacon, and what we do not know yet';
comment on column event.id is 'Our own id';
comment on column event.channel_id is 'The channel';
comment on column event.conversation_id is 'Where it is shown';
comment on column event.contact_id is 'Whom LINE named as the source; null if nobody';
comment on column event.kind is 'LINE''s event type; other: an event that could not be read';
comment on column event.webhook_event_id is 'LINE''s webhookEventId, or one of our own making where LINE sent none';
comment on column event.occurred_at is 'LINE''s timestamp, or the time of receipt where that is missing or absurd';
comment on column event.received_at is 'When it was stored';
comment on column event.content is 'The raw bytes of the webhook event, exactly as LINE sent them';
alter table event alter column content set statistics 0;
