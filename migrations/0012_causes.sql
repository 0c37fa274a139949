-- The one door out has more than one cause: what its sender took back, what is older than a rule keeps it, what a person
-- wants erased, what an operator orders. The words are kept apart: *unsent* by its sender, *erased* by us.

alter table message_ref add column erased_at timestamptz;
alter table message_ref add column erased_cause text check (erased_cause in ('retention', 'subject', 'operator'));
drop index message_ref_unsent;
create index message_ref_gone on message_ref (conversation_id, occurred_at desc, id desc)
    where (unsent_at is not null or erased_at is not null) and occurred_at is not null;
comment on table message_ref is 'One row for every LINE message id ever seen, for ever: de-duplicates, and stays as the tombstone of an unsent or erased message. Every writer of content locks this row first';
comment on column message_ref.erased_at is 'Tombstone: when the message was erased for another cause than an unsend; null otherwise';
comment on column message_ref.erased_cause is 'That cause: retention, subject (somebody wanted to be forgotten) or operator';

create table retention_rule (
    id              uuid primary key,
    channel_id      integer not null references channel (id),
    kind            text not null check (kind in ('any', 'text', 'image', 'video', 'audio', 'file', 'location', 'sticker', 'other', 'event')),
    days            integer not null check (days between 1 and 36500),
    created_by      uuid not null references operator (id),
    created_at      timestamptz not null,
    switched_on_by  uuid references operator (id),
    switched_on_at  timestamptz,
    switched_off_by uuid references operator (id),
    switched_off_at timestamptz,
    done_before     timestamptz,
    round           integer not null default 0
);
create unique index retention_rule_one on retention_rule (channel_id, kind) where switched_off_at is null;
comment on table retention_rule is 'How long a channel keeps messages of a kind. A rule does nothing before it is switched on, and nothing after it is switched off; it is never altered otherwise';
comment on column retention_rule.id is 'Our own id';
comment on column retention_rule.channel_id is 'The channel';
comment on column retention_rule.kind is 'Message type; other: a type not named here; event: what is no message; any: all that has no rule of its own';
comment on column retention_rule.days is 'Whole days that are kept, counted from LINE''s timestamp; a day ends at midnight UTC';
comment on column retention_rule.created_by is 'Who wrote it';
comment on column retention_rule.created_at is 'When';
comment on column retention_rule.switched_on_by is 'Who switched it on';
comment on column retention_rule.switched_on_at is 'When; null: not yet';
comment on column retention_rule.switched_off_by is 'Who switched it off, or took it back before it was on';
comment on column retention_rule.switched_off_at is 'When; null: not yet';
comment on column retention_rule.done_before is 'What is older was looked through to the end; null: all has to be looked through';

comment on column retention_rule.round is 'How often all had to be looked through anew, because a rule of the channel or a hold has changed';
create function message_class(kind text) returns text language sql immutable parallel safe
    return case when kind in ('text', 'image', 'video', 'audio', 'file', 'location', 'sticker') then kind else 'other' end;
comment on function message_class is 'The kind of retention rule that a message type falls under';

create table hold (
    id              uuid primary key,
    conversation_id uuid not null references conversation (id),
    reason          text not null,
    covers_subject  boolean not null default false,
    set_by          uuid not null references operator (id),
    set_at          timestamptz not null,
    lifted_by       uuid references operator (id),
    lifted_at       timestamptz
);
create index hold_conversation on hold (conversation_id) where lifted_at is null;
comment on table hold is 'Legal hold on a conversation: retention and operators erase nothing in it. An unsend is never stopped';
comment on column hold.id is 'Our own id';
comment on column hold.conversation_id is 'What is held';
comment on column hold.reason is 'Why, in the words of whoever set it: a reference of the case';
comment on column hold.covers_subject is 'true: also stops the erasure that a person has asked for, as long as it lasts';
comment on column hold.set_by is 'Who set it';
comment on column hold.set_at is 'When';
comment on column hold.lifted_by is 'Who lifted it';
comment on column hold.lifted_at is 'When; null: it lasts';

create table subject_request (
    id              uuid primary key,
    channel_id      integer not null references channel (id),
    contact_id      uuid not null,
    asked_by        uuid not null references operator (id),
    asked_at        timestamptz not null,
    export_state    text not null default 'none' check (export_state in ('none', 'asked', 'running', 'ready', 'over')),
    export_key      text,
    exported_at     timestamptz,
    erase_asked_by  uuid references operator (id),
    erase_asked_at  timestamptz,
    erased_at       timestamptz,
    messages_erased integer not null default 0,
    events_erased   integer not null default 0
);
create index subject_request_contact on subject_request (contact_id);
create index subject_request_due on subject_request (asked_at)
    where export_state in ('asked', 'running', 'ready') or (erase_asked_at is not null and erased_at is null);
comment on table subject_request is 'What one person asked of us: a copy of what is kept of them, to be erased, or both';
comment on column subject_request.id is 'Our own id';
comment on column subject_request.channel_id is 'The channel that knows them';
comment on column subject_request.contact_id is 'Our id of the person; no name and no id of LINE''s, so that the record can stay';
comment on column subject_request.asked_by is 'The operator who entered the request';
comment on column subject_request.asked_at is 'When';
comment on column subject_request.export_state is 'none, asked, running, ready (to be downloaded), over (purged after its time, or because something in it was erased)';
comment on column subject_request.export_key is 'Object that holds the export; null unless it is ready';
comment on column subject_request.exported_at is 'When the last export was made';
comment on column subject_request.erase_asked_by is 'The operator who asked for the erasure';
comment on column subject_request.erase_asked_at is 'When; null: not asked for';
comment on column subject_request.erased_at is 'When the last row was gone; objects and keys follow, as the records in erasure say';
comment on column subject_request.messages_erased is 'Messages erased';
comment on column subject_request.events_erased is 'Other events erased';

alter table erasure drop constraint erasure_cause_check;
alter table erasure add constraint erasure_cause_check check (cause in ('unsend', 'retention', 'subject', 'operator'));
alter table erasure alter column message_id drop not null;
alter table erasure add column event_id uuid;
alter table erasure add column contact_id uuid;
alter table erasure add column rule_id uuid;
alter table erasure add column request_id uuid;
alter table erasure add column operator_id uuid;
alter table erasure add column reason text
    check (reason in ('sender_asked', 'other_asked', 'unlawful', 'misdirected', 'order', 'other'));
alter table erasure add constraint erasure_names_one check (num_nonnulls(message_id, event_id, contact_id) = 1);
create unique index erasure_event on erasure (event_id) where event_id is not null;
create unique index erasure_contact on erasure (contact_id, request_id) where contact_id is not null;
create index erasure_request on erasure (request_id) where request_id is not null;
comment on table erasure is 'One row for everything that was erased: a message, another event, or what was known of a person';
comment on column erasure.channel_id is 'The channel it belonged to; of an unsend, the one whose signed webhook asked for it';
comment on column erasure.message_id is 'LINE''s id of the message; null if it was none';
comment on column erasure.event_id is 'Our id of the event, which is all that is left of it, if it was one';
comment on column erasure.contact_id is 'Our id of the person, if it was their profile, picture and memberships';
comment on column erasure.cause is 'unsend: the sender withdrew the message; retention: a rule; subject: the person wanted it; operator: somebody here ordered it';
comment on column erasure.webhook_event_id is 'Of an unsend: LINE''s webhookEventId of its event';
comment on column erasure.asked_at is 'Timestamp of the unsend event; of any other cause, when it was begun or asked for';
comment on column erasure.rule_id is 'The retention rule, for that cause';
comment on column erasure.request_id is 'The subject request, for that cause';
comment on column erasure.operator_id is 'Who ordered it, for cause operator';
comment on column erasure.reason is 'Why, for cause operator: one of these words, so that a record cannot repeat what was erased';
