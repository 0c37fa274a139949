-- Files that an operator can ask for again are counted on a page. They are few.
create index attachment_lacking on attachment (channel_id)
    where original_state in ('failed', 'gone') or preview_state in ('failed', 'gone');
