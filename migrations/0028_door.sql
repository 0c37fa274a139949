create table door (
    lane     smallint primary key,
    tried_at timestamptz not null
);
comment on table door is 'Rows that are written to find out whether webhooks could be stored: one for each of the committer''s lanes';
comment on column door.lane is 'Number of the lane';
comment on column door.tried_at is 'When it was tried last';
