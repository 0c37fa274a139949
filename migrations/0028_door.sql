create table door (
    lane     uuid primary key,
    tried_at timestamptz not null
);
comment on table door is 'Rows that are written to find out whether webhooks could be stored: one for each lane of a committer';
comment on column door.lane is 'Random id of the lane, new with each process';
comment on column door.tried_at is 'When it was tried last; rows of ended processes are deleted after a day';
