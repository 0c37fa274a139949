alter table object add column suspected_at timestamptz, add column damaged_at timestamptz;
create index object_suspected on object (suspected_at) where suspected_at is not null;
create index object_damaged on object (damaged_at) where damaged_at is not null;
comment on column object.suspected_at is 'When a reader found it missing or damaged; null once the worker has read it itself';
comment on column object.damaged_at is 'When it was read to its end and found missing or damaged; null if it is whole';

alter table keyring_key add column damaged_at timestamptz;
create index keyring_key_damaged on keyring_key (damaged_at) where damaged_at is not null;
comment on column keyring_key.damaged_at is 'When the key was found missing or unreadable in the keyring, although it was not destroyed; null if it is whole';

create table scrub (
    id           integer primary key generated always as identity,
    started_at   timestamptz not null,
    finished_at  timestamptz,
    with_objects boolean not null,
    next_key     uuid,
    next_object  text not null default '',
    keys         bigint not null default 0,
    objects      bigint not null default 0,
    bytes        bigint not null default 0,
    leased_until timestamptz not null
);
create unique index scrub_running on scrub ((true)) where finished_at is null;
comment on table scrub is 'Each time that all keys, or all keys and all objects, were read to find damage';
comment on column scrub.id is 'Our own number';
comment on column scrub.started_at is 'When it began';
comment on column scrub.finished_at is 'When everything was read; null: it goes on';
comment on column scrub.with_objects is 'True if it reads the objects too';
comment on column scrub.next_key is 'All keys up to this one were read; null: all keys were';
comment on column scrub.next_object is 'All objects up to this one were read';
comment on column scrub.keys is 'Keys that were read';
comment on column scrub.objects is 'Objects that were read';
comment on column scrub.bytes is 'Bytes of the objects that were read';
comment on column scrub.leased_until is 'A process works on it until then';
