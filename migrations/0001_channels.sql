-- One installation archives several LINE Official Accounts; each is a channel, strictly apart from the others.

create table channel (
    id               integer generated always as identity primary key,
    slug             text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name             text not null,
    access_token     bytea,
    token_refused_at timestamptz,
    paused_until     timestamptz,
    last_webhook_at  timestamptz,
    created_at       timestamptz not null default now(),
    removed_at       timestamptz
);
comment on table channel is 'A LINE Messaging API channel whose webhooks are archived here';
comment on column channel.id is 'Our own number; every other table points here';
comment on column channel.slug is 'The channel''s place in the webhook URL: /webhook/{slug}';
comment on column channel.name is 'What operators call it';
comment on column channel.access_token is 'Channel access token for api.line.me and api-data.line.me; null: media and profiles wait';
comment on column channel.token_refused_at is 'When LINE last answered 401; fetches stop until the token changes or an hour has passed';
comment on column channel.paused_until is 'When LINE answered 429: no request of this channel before this time';
comment on column channel.last_webhook_at is 'When a delivery of this channel was last stored, to within a minute';
comment on column channel.created_at is 'When the channel was added';
comment on column channel.removed_at is 'When the channel was removed: its webhooks are refused, its conversations stay readable';

create table channel_secret (
    channel_id integer not null references channel (id) on delete cascade,
    secret     bytea not null,
    added_at   timestamptz not null default now(),
    primary key (channel_id, added_at)
);
comment on table channel_secret is 'Channel secrets that sign webhooks; several at once while one is being rotated';
comment on column channel_secret.channel_id is 'Whose secret';
comment on column channel_secret.secret is 'The channel secret, as the bytes of its UTF-8 text';
comment on column channel_secret.added_at is 'When it was added; the newest is tried first';
alter table channel alter column access_token set statistics 0;
alter table channel_secret alter column secret set statistics 0;
