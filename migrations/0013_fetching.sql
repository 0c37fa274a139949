alter table channel add column largest_file bigint check (largest_file > 0);
comment on column channel.largest_file is 'Bytes above which an original is not kept; null: no limit but the archive''s own';

alter table attachment add column percent smallint check (percent between 0 and 99);
alter table attachment add column wanted boolean not null default false;
comment on column attachment.percent is 'How much of an original that is being fetched has come; null: not known, or not being fetched';
comment on column attachment.wanted is 'true: somebody asked for the original after all, whatever its size';
