alter table contact add column forgotten_at timestamptz;
comment on column contact.forgotten_at is 'When this person was last erased on request: what happened before brings neither profile nor membership back';
