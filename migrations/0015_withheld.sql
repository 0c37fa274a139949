-- A hold may cover unsends: what is unsent under it leaves every page and is kept, sealed, until the hold is lifted.

alter table hold add column covers_unsend boolean not null default false;
alter table hold add constraint hold_strength check (covers_subject or not covers_unsend);
comment on table hold is 'Legal hold on a conversation: retention and operators erase nothing in it';
comment on column hold.covers_unsend is 'true: what is unsent is withheld, not erased, as long as it lasts; then it also covers what a person has asked for';

create table withheld (
    message_id       uuid primary key references message (id) on delete cascade,
    hold_id          uuid not null references hold (id),
    erasure_id       uuid not null,
    webhook_event_id text,
    asked_at         timestamptz not null,
    withheld_at      timestamptz not null
);
create index withheld_hold on withheld (hold_id);
comment on table withheld is 'Messages that were unsent under a hold that covers that. Their message.conversation_id is the hold''s id, so that no page of the conversation finds them; they are erased when the hold ends';
comment on column withheld.message_id is 'The message';
comment on column withheld.hold_id is 'The hold that keeps it; its conversation is where it was said';
comment on column withheld.erasure_id is 'Id that its erasure will have; the ledger names it from now on';
comment on column withheld.webhook_event_id is 'LINE''s webhookEventId of the unsend event';
comment on column withheld.asked_at is 'Timestamp of the unsend event';
comment on column withheld.withheld_at is 'When the unsend was met';
