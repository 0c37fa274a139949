alter table object add column suspected_at timestamptz, add column damaged_at timestamptz;
create index object_suspected on object (suspected_at) where suspected_at is not null;
create index object_damaged on object (damaged_at) where damaged_at is not null;
comment on column object.suspected_at is 'When a reader found it missing or damaged; null once the worker has read it itself';
comment on column object.damaged_at is 'When it was read to its end and found missing or damaged; null if it is whole';

alter table keyring_key add column damaged_at timestamptz, add column destroying_at timestamptz,
    add column may_be_gone boolean not null default false, add column given_up boolean not null default false;
create index keyring_key_damaged on keyring_key (damaged_at) where damaged_at is not null;
comment on column keyring_key.damaged_at is 'When the key was found missing or unreadable in the keyring, although it was not destroyed; null if it is whole';
comment on column keyring_key.destroying_at is 'Written before the key is destroyed: if it is missing without this, it was lost';
comment on column keyring_key.may_be_gone is 'True if the database was restored from a backup: the key may have been destroyed since';
comment on column keyring_key.given_up is 'True if somebody said that the key is lost for good: an erasure does not wait for it';
-- An earlier version may have destroyed some of them without a note.
update keyring_key set destroying_at = now() where closed_at is not null;

create or replace function keys_open(ids uuid[]) returns uuid[] language plpgsql volatile as $$
begin
    -- Held until the end of the transaction. Whoever closes a key takes this lock alone after closing it: so every
    -- transaction that found it open has ended by then, and every later one finds it closed.
    perform pg_advisory_xact_lock_shared(726593041);
    -- A statement of its own, with a snapshot taken after the lock. Under a damaged key nothing is sealed any more.
    return array(select id from keyring_key
        where id = any(ids) and subject is not null and closed_at is null and damaged_at is null);
end $$;

create table scrub (
    kind         text not null check (kind in ('keys', 'objects')),
    started_at   timestamptz not null,
    finished_at  timestamptz,
    position     text not null default '',
    count        bigint not null default 0,
    bytes        bigint not null default 0,
    lease        uuid,
    leased_until timestamptz not null
);
create unique index scrub_running on scrub (kind) where finished_at is null;
create index scrub_last on scrub (kind, started_at);
comment on table scrub is 'Each time that all keys, or all objects, were read to find damage';
comment on column scrub.kind is 'keys or objects';
comment on column scrub.started_at is 'When it began';
comment on column scrub.finished_at is 'When everything was read; null: the scrub is unfinished';
comment on column scrub.position is 'All ids of keys, or all keys of objects, up to this one were read';
comment on column scrub.count is 'Keys or objects that were read';
comment on column scrub.bytes is 'Bytes of the objects that were read';
comment on column scrub.lease is 'Random id of the process that works on it: only that one may write how far it came';
comment on column scrub.leased_until is 'Another process takes it over after this time';
