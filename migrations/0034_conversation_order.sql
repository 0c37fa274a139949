-- An order to erase a whole conversation ran in the process that got it, and ended with that process.
create table conversation_order (
    id              uuid primary key,
    channel_id      integer not null references channel (id) on delete cascade,
    conversation_id uuid not null,
    operator_id     uuid not null references operator (id),
    reason          text not null
        check (reason in ('sender_asked', 'other_asked', 'unlawful', 'misdirected', 'order', 'other')),
    ordered_at      timestamptz not null,
    erased          bigint not null default 0,
    ended_at        timestamptz,
    outcome         text check (outcome in ('done', 'held')),
    check ((ended_at is null) = (outcome is null))
);
create unique index conversation_order_open on conversation_order (conversation_id) where ended_at is null;
comment on table conversation_order is 'Orders of operators to erase everything in a conversation';
comment on column conversation_order.id is 'Our own id of the order';
comment on column conversation_order.channel_id is 'The channel of the conversation';
comment on column conversation_order.conversation_id is 'The conversation';
comment on column conversation_order.operator_id is 'Who gave the order';
comment on column conversation_order.reason is 'Why, as in erasure.reason';
comment on column conversation_order.ordered_at is 'When it was given: what was stored later is not part of it';
comment on column conversation_order.erased is 'Messages and events that were erased so far';
comment on column conversation_order.ended_at is 'When it ended; null: it goes on, in any process';
comment on column conversation_order.outcome is 'done: nothing was left; held: a hold stopped it';
