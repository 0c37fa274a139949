-- An attempt that ends its process writes no verdict. The next claim finds its lease run out, and counts it here.

alter table job add column crashes integer not null default 0;
comment on column job.crashes is 'How often an attempt panicked, or its lease ran out without a verdict';
