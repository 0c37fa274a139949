-- Bulkheads for the worker: each queue has slots of its own, so that one that hangs (a silent host that a sender chose)
-- takes no slot from another. Within a queue, stochastic fair queueing: jobs of one sender share a flow, and flows take
-- turns. Jobs that are put off lie in an index of their own, so that a claim never walks over them.

alter table job add column large boolean not null default false;
comment on column job.large is 'An original of a kind that may be large: video or file';

alter table job add column queue text not null generated always as (
    case
        when kind in ('profile', 'summary') then 'people'
        when kind = 'picture' then 'picture'
        when not asks_line then 'external'
        when kind = 'preview' then 'preview'
        when large then 'large'
        else 'content'
    end) stored;
comment on column job.queue is 'The slots that it is claimed for: content (images and voice messages from LINE), large (videos and files from LINE), preview (from LINE), external (originals and previews from hosts that senders chose), people (profiles and summaries), picture';

alter table job add column flow integer not null default 0;
comment on column job.flow is 'job_flow() of the sender; of the group for its members'' profiles and pictures. Flows of a queue take turns';

alter table job add column deferred boolean not null default false;
comment on column job.deferred is 'Put off until run_at, and not to be claimed before it is due and this is false again';

-- The last 32 bits of an id are random (UUID version 7). Two senders in one flow share their turns.
create function job_flow(id uuid) returns integer language sql immutable
    return ('x' || right(id::text, 8))::bit(32)::integer;
comment on function job_flow(uuid) is 'The flow of the jobs of a contact or a conversation';

update job set
    large = kind = 'original' and exists (
        select from attachment a where a.id = job.attachment_id and a.kind in ('video', 'file')),
    flow = job_flow(coalesce(
        (select coalesce(m.contact_id, m.conversation_id)
         from attachment a join message m on m.id = a.message_id where a.id = job.attachment_id),
        conversation_id, contact_id, '00000000-0000-0000-0000-000000000000')),
    deferred = run_at > now();

drop index job_newest;
create index job_flows on job (channel_id, queue, flow, id) where not deferred;
create index job_oldest on job (channel_id, queue, id) where not deferred;
create index job_running on job (channel_id, queue, flow) where lease is not null;
create index job_deferred on job (run_at) where deferred;
