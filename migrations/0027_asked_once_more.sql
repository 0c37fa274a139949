-- Earlier versions believed one 400 and six 404 of LINE's content endpoint, which has answered so for files that were there.
-- Such files, and those that failed for two days, are fetched once more. Withheld ones are
-- not: nothing of them is fetched; nor those of removed channels, which have no token.
with asked as (
    update attachment a set original_state = 'waiting', original_reason = null,
        preview_state = case when preview_state in ('failed', 'gone') then 'waiting' else preview_state end,
        preview_reason = case when preview_state in ('failed', 'gone') then null else preview_reason end
    where original_state in ('failed', 'gone')
        and original_reason in ('not_found', 'gone', 'rejected', 'forbidden', 'trouble', 'truncated')
        and not exists (select from withheld w where w.message_id = a.message_id)
        and exists (select from channel c where c.id = a.channel_id and c.removed_at is null)
    returning id, message_id, channel_id, provider = 'line' as asks_line, preview_state, kind in ('video', 'file') as large
)
insert into job (kind, channel_id, attachment_id, asks_line, large, flow)
select job.kind, f.channel_id, f.id, asks_line, large and job.kind = 'original',
    job_flow(coalesce(m.contact_id, m.conversation_id))
from asked f join message m on m.id = f.message_id cross join unnest(array['original', 'preview']) as job (kind)
where job.kind = 'original' or preview_state = 'waiting'
on conflict (attachment_id, kind) where attachment_id is not null do nothing;
-- The time of the first refusal, not of the last, decides the pause from now on.
update channel set token_refused_at = null where token_refused_at is not null;
comment on column channel.token_refused_at is 'When LINE refused the access token first; null once it accepts it';
comment on column channel.paused_until is 'When LINE answered 429 or refused the token: no request of this channel before this time';
