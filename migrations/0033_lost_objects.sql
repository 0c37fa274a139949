-- A file that was written whole has to be in the object store when it is purged. Without this an object whose directory was
-- moved aside counted as purged, and came back with the directory.
--
-- Existing rows get the value without being rewritten. A replica of an earlier version, which runs on until it is replaced,
-- leaves the column out: its objects are treated as that version treats them.
alter table object add column finished boolean not null default true,
    add column purging_at timestamptz, add column lost_at timestamptz;
alter table object alter column finished set default false;
-- An earlier version may have begun to purge them.
update object set finished = false where state <> 'kept';
create index object_lost on object (lost_at) where lost_at is not null;
comment on column object.finished is 'True if it was written whole: if it is missing before a purge began, it was lost';
comment on column object.purging_at is 'Written before its file is deleted';
comment on column object.lost_at is 'When a purge found it missing, although none had begun: the file may be somewhere else and come back';
