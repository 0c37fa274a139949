-- Who writes, and where. What a person is called lives in `content` columns only (one document, sealed as a whole);
-- ids, kinds and times are columns. Statistics are off on content, because pg_statistic keeps whole values for ever.

create table contact (
    id                uuid primary key,
    channel_id        integer not null references channel (id),
    user_id           text not null,
    follows           boolean,
    follow_changed_at timestamptz,
    first_seen_at     timestamptz not null default now(),
    profile_state     text not null default 'unknown' check (profile_state in ('unknown', 'known', 'not_found')),
    profile           bytea,
    profile_asked_at  timestamptz,
    picture_key       text,
    picture_type      text,
    unique (channel_id, user_id)
);
comment on table contact is 'A LINE user as one channel knows them; the same person has another id under another provider';
comment on column contact.id is 'Our own id';
comment on column contact.channel_id is 'The channel that knows this user';
comment on column contact.user_id is 'LINE''s user id; its form is not checked, module channels and tests use others than U + 32 hex';
comment on column contact.follows is 'true after follow, false after unfollow (the user blocked the account), null while neither was seen';
comment on column contact.follow_changed_at is 'Timestamp of the follow or unfollow event that decided; the largest wins';
comment on column contact.first_seen_at is 'When the first event of this user arrived';
comment on column contact.profile_state is 'known, not_found (LINE answered 404) or unknown (never asked with success)';
comment on column contact.profile is 'Profile document: JSON with displayName, statusMessage, language, pictureUrl as LINE gave them';
comment on column contact.profile_asked_at is 'When LINE last gave a definite answer about the profile';
comment on column contact.picture_key is 'Object that holds the profile picture';
comment on column contact.picture_type is 'Media type of the profile picture';
alter table contact alter column profile set statistics 0;

create table conversation (
    id                  uuid primary key,
    channel_id          integer not null references channel (id),
    kind                text not null check (kind in ('user', 'group', 'room', 'channel')),
    source_id           text not null,
    contact_id          uuid references contact (id),
    last_at             timestamptz not null,
    present             boolean,
    presence_changed_at timestamptz,
    summary_state       text not null default 'unknown' check (summary_state in ('unknown', 'known', 'not_found')),
    summary             bytea,
    summary_asked_at    timestamptz,
    picture_key         text,
    picture_type        text,
    created_at          timestamptz not null default now(),
    unique (channel_id, kind, source_id)
);
create index conversation_newest on conversation (last_at desc, id desc);
create index conversation_contact on conversation (contact_id) where contact_id is not null;
comment on table conversation is 'A one-on-one chat, a group chat, a multi-person chat (room), or the channel itself for events without a source';
comment on column conversation.id is 'Our own id, used in addresses';
comment on column conversation.channel_id is 'The channel it belongs to';
comment on column conversation.kind is 'user, group or room as in LINE''s source.type; channel: events that LINE sends without a source';
comment on column conversation.source_id is 'userId, groupId or roomId; empty for kind channel';
comment on column conversation.contact_id is 'The other person of a one-on-one chat';
comment on column conversation.last_at is 'Timestamp of the newest event; orders the list';
comment on column conversation.present is 'Groups and rooms: true after join, false after leave, null while neither was seen';
comment on column conversation.presence_changed_at is 'Timestamp of the join or leave event that decided; the largest wins';
comment on column conversation.summary_state is 'Groups: known, not_found or unknown, as for profiles';
comment on column conversation.summary is 'Group summary document: JSON with groupName, pictureUrl as LINE gave them';
comment on column conversation.summary_asked_at is 'When LINE last gave a definite answer about the group summary';
comment on column conversation.picture_key is 'Object that holds the group picture';
comment on column conversation.picture_type is 'Media type of the group picture';
comment on column conversation.created_at is 'When the first event arrived';
alter table conversation alter column summary set statistics 0;

create table member (
    conversation_id uuid not null references conversation (id) on delete cascade,
    contact_id      uuid not null references contact (id) on delete cascade,
    present         boolean not null,
    changed_at      timestamptz not null,
    primary key (conversation_id, contact_id)
);
create index member_contact on member (contact_id);
comment on table member is 'Who is, or was, in a group chat or multi-person chat';
comment on column member.conversation_id is 'The group or room';
comment on column member.contact_id is 'The member';
comment on column member.present is 'true: wrote or joined; false: left';
comment on column member.changed_at is 'Timestamp of the event that decided; the largest wins';
