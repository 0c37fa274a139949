-- An export that fails is tried again with growing pauses, and given up after some attempts, so that it blocks neither other
-- exports nor the erasure that was requested with it.

alter table subject_request drop constraint subject_request_export_state_check;
alter table subject_request add constraint subject_request_export_state_check
    check (export_state in ('none', 'asked', 'running', 'ready', 'over', 'failed'));
alter table subject_request add column export_attempts integer not null default 0;
alter table subject_request add column export_next_attempt_at timestamptz;
alter table subject_request add column export_failure text
    check (export_failure in ('database', 'objects', 'unreadable', 'misplaced', 'keyring', 'other'));
comment on column subject_request.export_state is 'none, asked, running, ready (to be downloaded), over (purged after its time, or because something in it was erased), failed (given up after too many attempts)';
comment on column subject_request.export_attempts is 'Attempts that failed for a reason of this export; an unreachable database or object store is not counted';
comment on column subject_request.export_next_attempt_at is 'Earliest time of the next attempt; null: at once';
comment on column subject_request.export_failure is 'Why the last attempt failed: database or keyring (an error of theirs), objects (the object store), unreadable (files that are missing or damaged), misplaced (most objects are not in the bucket), other';
