-- Work that follows a commit. A job holds ids only; it goes with the row it works for, so a running job of an
-- unsent message finds its own row gone (the fence). Claimed by a short lease, never by a held transaction.

create table job (
    id              bigint generated always as identity primary key,
    kind            text not null check (kind in ('original', 'preview', 'profile', 'summary', 'picture')),
    channel_id      integer not null,
    asks_line       boolean not null default true,
    attachment_id   uuid references attachment (id) on delete cascade,
    contact_id      uuid references contact (id) on delete cascade,
    conversation_id uuid references conversation (id) on delete cascade,
    run_at          timestamptz not null default now(),
    attempts        integer not null default 0,
    lease           uuid,
    leased_until    timestamptz,
    created_at      timestamptz not null default now()
);
create index job_newest on job (channel_id, kind, asks_line, id);
create unique index job_attachment on job (attachment_id, kind) where attachment_id is not null;
create unique index job_contact on job (contact_id, kind) where contact_id is not null;
create unique index job_conversation on job (conversation_id, kind) where contact_id is null and attachment_id is null;
comment on table job is 'Something to fetch from LINE';
comment on column job.id is 'Our own number';
comment on column job.kind is 'original or preview (of an attachment), profile (of a contact), summary (of a group), picture (of a contact, or of a group)';
comment on column job.channel_id is 'The channel whose token is used and whose pauses are kept';
comment on column job.asks_line is 'false: what it fetches is not on LINE''s API, and waits for no token and no pause of the channel';
comment on column job.attachment_id is 'For original and preview';
comment on column job.contact_id is 'For profile and picture of a contact';
comment on column job.conversation_id is 'For summary and picture of a group; with contact_id: the group or room in which the contact was seen';
comment on column job.run_at is 'Not before this time';
comment on column job.attempts is 'How often it was begun';
comment on column job.lease is 'Who works on it; a verdict is written only by its holder';
comment on column job.leased_until is 'The lease ends by itself then';
comment on column job.created_at is 'When it was asked for';
alter table job set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
