-- Rows that decide who may look carry a code over their facts, keyed from the secret key: a database writer cannot make
-- them up. Existing operators and channels get theirs once, from the first command or service that has the secret key;
-- sessions and setup links of before end.

delete from session;
delete from setup_link;

alter table operator add column version integer not null default 1;
alter table operator add column mac bytea;
-- The defaults are for a replica of the version before, whose sessions are not believed: the person signs in again.
alter table session add column operator_version integer not null default 0;
alter table session add column mac bytea not null default '';
alter table setup_link add column mac bytea not null default '';
alter table channel add column mac bytea;

comment on column operator.login is 'The name typed at sign-in in its normal form: NFKC, full case folding';
comment on column operator.version is 'Counts changes of password, role, scope and state; sessions and device cookies of an earlier version have ended';
comment on column operator.mac is 'HMAC-SHA256, keyed from the secret key, over the row and its channels; null: not attested, may not sign in';
comment on column session.operator_version is 'operator.version at sign-in';
comment on column session.mac is 'HMAC-SHA256, keyed from the secret key, over the row without last_seen_at';
comment on column setup_link.mac is 'HMAC-SHA256, keyed from the secret key, over the row';
comment on column channel.mac is 'HMAC-SHA256, keyed from the secret key, over id and slug; null: not attested';
