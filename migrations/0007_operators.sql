-- Who may look.

create table operator (
    id            uuid primary key,
    login         text not null unique,
    password_hash text not null,
    role          text not null check (role in ('operator', 'compliance', 'admin')),
    all_channels  boolean not null,
    created_at    timestamptz not null default now(),
    disabled_at   timestamptz
);
comment on table operator is 'A person who may sign in to the dashboard';
comment on column operator.id is 'Our own id';
comment on column operator.login is 'The name typed at sign-in, lower case';
comment on column operator.password_hash is 'argon2id, as a PHC string';
comment on column operator.role is 'operator (reads conversations), compliance (and erasures), admin (everything)';
comment on column operator.all_channels is 'true: sees every channel, later ones too; false: those in operator_channel';
comment on column operator.created_at is 'When added';
comment on column operator.disabled_at is 'When disabled; sessions end at once';

create table operator_channel (
    operator_id uuid not null references operator (id) on delete cascade,
    channel_id  integer not null references channel (id) on delete cascade,
    primary key (operator_id, channel_id)
);
comment on table operator_channel is 'Channels an operator with limited scope may see';
comment on column operator_channel.operator_id is 'The operator';
comment on column operator_channel.channel_id is 'The channel';

create table session (
    token_hash   bytea primary key,
    operator_id  uuid not null references operator (id) on delete cascade,
    created_at   timestamptz not null,
    last_seen_at timestamptz not null
);
create index session_operator on session (operator_id);
comment on table session is 'A signed-in browser';
comment on column session.token_hash is 'SHA-256 of the cookie''s 256 random bits; the cookie itself is not kept';
comment on column session.operator_id is 'Whose';
comment on column session.created_at is 'Sign-in; the session ends 12 hours later';
comment on column session.last_seen_at is 'Last request, to within a minute; the session ends 30 minutes later';

create table setup_link (
    token_hash bytea primary key,
    expires_at timestamptz not null
);
comment on table setup_link is 'The one-time link that makes the first operator';
comment on column setup_link.token_hash is 'SHA-256 of the token in the link';
comment on column setup_link.expires_at is 'When it ends; it also ends with its first use';
