create table marked_place (
    place     text primary key,
    marked_at timestamptz not null default now()
);
comment on table marked_place is 'The directories and buckets that this archive has marked: from then on each is used only if it has its mark';
comment on column marked_place.place is '`keyring`, `objects`, or the URL of a copy of the ledger';
comment on column marked_place.marked_at is 'When it was marked';
