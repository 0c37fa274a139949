-- An outage at LINE ends for all jobs at once. Jobs that wait after a failure of LINE's (no answer, 5xx, cut off) are
-- tried again with the first answer that LINE gives, and until then one of them is tried at least
-- every 40 s at first.
create table line_trouble (
    channel_id integer not null references channel (id) on delete cascade,
    people     boolean not null,
    since      timestamptz not null,
    primary key (channel_id, people)
);
comment on table line_trouble is 'Outages of LINE that have not ended';
comment on column line_trouble.channel_id is 'The channel whose jobs wait';
comment on column line_trouble.people is 'true: profiles and group summaries, from LINE''s API; false: files and previews, from its host for content';
comment on column line_trouble.since is 'When LINE failed first without having answered since';

alter table job add column backoff_until timestamptz;
comment on column job.backoff_until is 'Set if LINE failed at the last attempt: the end of the back-off. run_at is earlier if the job is to be tried before';
create index job_troubled on job (channel_id, (queue = 'people'), run_at) where backoff_until is not null;
