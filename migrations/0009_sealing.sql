-- Everything a person wrote or is called is sealed (src/seal): the bytea columns named below hold sealed documents, whose
-- bytes 2 to 17 are the id of the key they are under. The keys lie in the keyring, not here.

do $$
begin
    if exists (select from revision) or exists (select from event) or exists (select from channel_secret)
        or exists (select from object) or exists (select from contact where profile is not null)
        or exists (select from conversation where summary is not null) then
        raise exception 'this database was made by a version that did not seal what it kept; nothing was changed. '
            'Keep it for that version, and begin a new archive with an empty one';
    end if;
end $$;

create table keyring_key (
    id          uuid primary key,
    subject     uuid,
    lease_until timestamptz not null,
    made_at     timestamptz not null,
    taken_at    timestamptz,
    dirty_at    timestamptz,
    closed_at   timestamptz
);
create index keyring_key_spare on keyring_key (lease_until) where subject is null;
create index keyring_key_dirty on keyring_key (dirty_at) where dirty_at is not null;
create index keyring_key_closed on keyring_key (subject) where closed_at is not null;
comment on table keyring_key is 'What is known of each key in the keyring; the row is here before the key, and until it is confirmed gone';
comment on column keyring_key.id is 'The key''s id, in the head of all that is sealed under it';
comment on column keyring_key.subject is 'The conversation or contact whose documents it seals; null: a spare key, waiting to be used';
comment on column keyring_key.lease_until is 'A spare key belongs to the process that made it until then, and then to whoever takes it';
comment on column keyring_key.made_at is 'When it was made';
comment on column keyring_key.taken_at is 'When its subject got it';
comment on column keyring_key.dirty_at is 'When something under it was first erased: it has to be destroyed';
comment on column keyring_key.closed_at is 'From then on nothing is sealed under it; what survives is moved to another key, then it is destroyed';

create function keys_open(ids uuid[]) returns uuid[] language plpgsql volatile as $$
begin
    -- Held until the end of the transaction. Whoever closes a key takes this lock alone after closing it: so every
    -- transaction that found it open has ended by then, and every later one finds it closed.
    perform pg_advisory_xact_lock_shared(726593041);
    -- A statement of its own, with a snapshot taken after the lock.
    return array(select id from keyring_key where id = any(ids) and subject is not null and closed_at is null);
end $$;
comment on function keys_open is 'Those of the keys that something may be sealed under in this transaction';

create function key_of(sealed bytea) returns bytea language sql immutable strict parallel safe
    return substring(sealed from 2 for 16);
comment on function key_of is 'Id of the key that a sealed document is under';

create index revision_key on revision (key_of(content));
create index event_key on event (key_of(content));
create index contact_key on contact (key_of(profile)) where profile is not null;
create index conversation_key on conversation (key_of(summary)) where summary is not null;
alter table revision alter column content set storage external;
alter table event alter column content set storage external;
alter table contact alter column profile set storage external;
alter table conversation alter column summary set storage external;

alter table object add column sealed_key bytea;
create index object_key on object (key_of(sealed_key)) where sealed_key is not null;
comment on column object.sealed_key is 'Head of the object: its data key, wrapped. Null once it has to go: then nobody can read it';
alter table object alter column sealed_key set statistics 0;

create table erasure_key (
    erasure_id uuid not null references erasure (id) on delete cascade,
    key_id     uuid not null,
    primary key (erasure_id, key_id)
);
create index erasure_key_key on erasure_key (key_id);
comment on table erasure_key is 'Keys that have to be destroyed before an erasure is complete';
comment on column erasure_key.erasure_id is 'The erasure';
comment on column erasure_key.key_id is 'A key that something erased was sealed under';

alter table erasure add column keys_found integer not null default 0;
alter table erasure add column keys_gone_at timestamptz;
comment on column erasure.keys_found is 'Keys that had to be destroyed';
comment on column erasure.keys_gone_at is 'When all of them were confirmed gone; the same as rows_gone_at if there were none';

comment on column channel.access_token is 'Channel access token for api.line.me and api-data.line.me, sealed under the secret key; null: media and profiles wait';
comment on column channel_secret.secret is 'The channel secret (bytes of its UTF-8 text), sealed under the secret key';
comment on column contact.profile is 'Profile document, sealed: JSON with displayName, statusMessage, language, pictureUrl as LINE gave them';
comment on column conversation.summary is 'Group summary document, sealed: JSON with groupName, pictureUrl as LINE gave them';
comment on column revision.content is 'The raw bytes of the webhook event, exactly as LINE sent them, sealed';
comment on column event.content is 'The raw bytes of the webhook event, exactly as LINE sent them, sealed';
