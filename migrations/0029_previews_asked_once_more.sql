-- 0027 asked once more for originals that LINE had refused, with their previews. A preview that was refused alone, while
-- its original is kept or waits, is asked for once more too.
with asked as (
    update attachment a set preview_state = 'waiting', preview_reason = null
    where preview_state in ('failed', 'gone')
        and preview_reason in ('not_found', 'gone', 'rejected', 'forbidden', 'trouble', 'truncated')
        and original_state in ('kept', 'waiting')
        and not exists (select from withheld w where w.message_id = a.message_id)
        and exists (select from channel c where c.id = a.channel_id and c.removed_at is null)
    returning id, message_id, channel_id, provider = 'line' as asks_line
)
insert into job (kind, channel_id, attachment_id, asks_line, large, flow)
select 'preview', a.channel_id, a.id, asks_line, false, job_flow(coalesce(m.contact_id, m.conversation_id))
from asked a join message m on m.id = a.message_id
on conflict (attachment_id, kind) where attachment_id is not null do nothing;
