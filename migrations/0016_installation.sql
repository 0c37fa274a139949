create table installation (
    one          boolean primary key default true check (one),
    secret_check bytea not null
);
comment on table installation is 'What belongs to this archive as a whole: one row';
comment on column installation.one is 'There is one';
comment on column installation.secret_check is 'Derived from the secret key by a one-way function: tells whether a process has the same, and nothing else';
