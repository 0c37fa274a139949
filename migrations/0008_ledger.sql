-- The ledger: what was erased, when and why, in records that nobody can change unseen. A record is written beside the
-- business rows as pending; one sealer gives it its number and its leaf in a Merkle tree (RFC 6962), and signs the tree.

create table ledger_pending (
    id         bigint generated always as identity primary key,
    record     bytea not null,
    created_at timestamptz not null
);
comment on table ledger_pending is 'Records that are not in the tree yet; written in the transaction they speak of';
comment on column ledger_pending.id is 'The order in which they are sealed, as far as it is known';
comment on column ledger_pending.record is 'The record''s canonical bytes: one line of JSON with ids, times, counts and causes';
comment on column ledger_pending.created_at is 'When it was written';

create table ledger (
    seq        bigint primary key check (seq >= 0),
    record     bytea not null,
    leaf       bytea not null,
    erasure_id uuid,
    sealed_at  timestamptz not null
);
create index ledger_erasure on ledger (erasure_id) where erasure_id is not null;
comment on table ledger is 'The records, for ever: rows are added and never changed';
comment on column ledger.seq is 'Position in the tree, from 0, without gaps';
comment on column ledger.record is 'The record''s canonical bytes';
comment on column ledger.leaf is 'SHA-256 of a zero byte and the record: its leaf in the tree';
comment on column ledger.erasure_id is 'The erasure it speaks of, to find it by';
comment on column ledger.sealed_at is 'When it was given its number';

create table checkpoint (
    size    bigint not null,
    made_at timestamptz not null,
    root    bytea not null,
    note    text not null,
    primary key (size, made_at)
);
comment on table checkpoint is 'Signed heads of the tree (C2SP tlog-checkpoint), for ever';
comment on column checkpoint.size is 'Records it covers';
comment on column checkpoint.made_at is 'When it was signed';
comment on column checkpoint.root is 'Root of the tree of those records';
comment on column checkpoint.note is 'The signed note';

create function append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are added and never changed', tg_table_name;
end $$;
comment on function append_only is 'Refuses every change but an addition';
create trigger append_only before update or delete or truncate on ledger for each statement execute function append_only();
create trigger append_only before update or delete or truncate on checkpoint for each statement execute function append_only();

-- The role that the service works as: it may do with the tables what it needs, and with the ledger nothing but add.
-- Where the migrating role may not make roles, the triggers stand alone.
do $$
begin
    begin
        create role line_chat_archive_app nologin;
    exception
        when duplicate_object or unique_violation or insufficient_privilege then null;
    end;
    if exists (select from pg_roles where rolname = 'line_chat_archive_app') then
        begin
            execute format('grant line_chat_archive_app to %I', current_user);
        exception
            when insufficient_privilege or invalid_grant_operation or unique_violation then null;
        end;
        grant usage on schema public to line_chat_archive_app;
        grant select, insert, update, delete on all tables in schema public to line_chat_archive_app;
        grant usage, select on all sequences in schema public to line_chat_archive_app;
        revoke update, delete on ledger, checkpoint from line_chat_archive_app;
        alter default privileges in schema public grant select, insert, update, delete on tables to line_chat_archive_app;
        alter default privileges in schema public grant usage, select on sequences to line_chat_archive_app;
    end if;
end $$;
