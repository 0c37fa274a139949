-- Columns under the names that the code and the documents use. Nothing else changes.

alter table erasure rename column asked_at to requested_at;
comment on column erasure.requested_at is
    'Timestamp of the unsend event; for any other cause, when the erasure was requested or the rule began to apply';

alter table withheld rename column asked_at to requested_at;
comment on column withheld.requested_at is 'Timestamp of the unsend event';

alter table subject_request rename column asked_at to requested_at;
alter table subject_request rename column asked_by to requested_by;
alter table subject_request rename column erase_asked_at to erase_requested_at;
alter table subject_request rename column erase_asked_by to erase_requested_by;
comment on column subject_request.requested_at is 'When the copy or the erasure was requested first';
comment on column subject_request.requested_by is 'The operator who made the request';
comment on column subject_request.erase_requested_at is 'When the erasure was requested; null: no erasure was requested';
comment on column subject_request.erase_requested_by is 'The operator who requested the erasure';

alter table object rename column look_at to next_attempt_at;
comment on column object.next_attempt_at is
    'writing: the upload counts as abandoned after this time; purge: when the next purge is tried';
