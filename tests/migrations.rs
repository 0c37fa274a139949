//! Rules for every migration: a comment on each table and column, and no statistics on content.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;

use line_chat_archive::{MIGRATOR, embedded::Scratch};
use sqlx::{Connection, Executor, PgConnection};

/// The `bytea` columns that may have statistics, because their values contain no content of messages.
const NO_CONTENT: &[(&str, &str)] = &[
    ("session.token_hash", "SHA-256 of 256 random bits"),
    ("setup_link.token_hash", "SHA-256 of a random token"),
    ("operator.mac", "a keyed hash of ids, a login and a role"),
    ("session.mac", "a keyed hash of ids and a time"),
    ("setup_link.mac", "a keyed hash of a hash and a time"),
    ("channel.mac", "a keyed hash of a number and a slug"),
    ("installation.secret_check", "a one-way function of a key"),
    ("ledger_pending.record", "ids, times, counts and causes"),
    ("ledger.record", "ids, times, counts and causes"),
    ("ledger.leaf", "SHA-256 of such a record"),
    ("checkpoint.root", "SHA-256 over such records"),
];

/// A new database with every migration run, in this test binary's own PostgreSQL.
async fn migrated(name: &str) -> PgConnection {
    let scratch = Scratch::shared().await.expect("a scratch cluster");
    let options = scratch.create_database(name).await.expect("a database");
    let mut connection = PgConnection::connect_with(&options)
        .await
        .expect("a connection");
    MIGRATOR.run(&mut connection).await.expect("migrations");
    connection
}

/// The tables and columns (as `table.column`) without a comment.
async fn uncommented(connection: &mut PgConnection) -> Vec<String> {
    let sql = "
        select c.relname || coalesce('.' || a.attname, '')
        from pg_class c
        join lateral (
            select 0 as attnum, null as attname -- the table itself
            union all
            select attnum, attname from pg_attribute
            where attrelid = c.oid and attnum > 0 and not attisdropped
        ) a on true
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
          and c.relname <> '_sqlx_migrations'
          and col_description(c.oid, a.attnum) is null
        order by 1";
    sqlx::query_scalar(sql)
        .fetch_all(connection)
        .await
        .expect("a list")
}

/// The `bytea` columns whose values `analyze` would copy into the catalogue.
async fn with_statistics(connection: &mut PgConnection) -> BTreeSet<String> {
    let sql = "
        select c.relname || '.' || a.attname
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
          and c.relname <> '_sqlx_migrations'
          and a.atttypid = 'bytea'::regtype and a.attnum > 0 and not a.attisdropped
          and coalesce(a.attstattarget, -1) <> 0";
    let columns: Vec<String> = sqlx::query_scalar(sql)
        .fetch_all(connection)
        .await
        .expect("a list");
    columns.into_iter().collect()
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let mut connection = migrated("commented").await;
    assert_eq!(uncommented(&mut connection).await, Vec::<String>::new());

    // The check finds a missing comment on a table and one on a column.
    connection
        .execute("create table mute (word text); comment on column mute.word is 'said'; create table half (word text); comment on table half is 'said'")
        .await
        .expect("two more tables");
    assert_eq!(uncommented(&mut connection).await, ["half.word", "mute"]);
}

#[tokio::test]
async fn no_value_of_a_content_column_gets_into_the_statistics() {
    let mut connection = migrated("statistics").await;
    let allowed: BTreeSet<String> = NO_CONTENT
        .iter()
        .map(|(column, _)| (*column).to_owned())
        .collect();
    assert_eq!(with_statistics(&mut connection).await, allowed);

    connection
        .execute("create table letter (words bytea)")
        .await
        .expect("one more table");
    assert!(
        with_statistics(&mut connection)
            .await
            .contains("letter.words")
    );
}

#[tokio::test]
async fn jobs_of_an_older_version_get_their_queue_and_flow() {
    let scratch = Scratch::shared().await.expect("a scratch cluster");
    let options = scratch.create_database("queues").await.expect("a database");
    let mut connection = PgConnection::connect_with(&options)
        .await
        .expect("a connection");
    let (before, after): (Vec<_>, Vec<_>) = MIGRATOR.iter().partition(|one| one.version < 24);
    for migration in before {
        let run = connection.execute(migration.sql.clone());
        run.await.expect("a migration");
    }
    connection
        .execute(
            "insert into channel (slug, name) values ('shop', 'Shop');
             insert into message (id, channel_id, message_id, conversation_id, kind, occurred_at)
             select gen_random_uuid(), c.id, kind, gen_random_uuid(), kind, now()
             from channel c, unnest(array['image', 'video']) kind;
             insert into attachment (id, message_id, channel_id, kind, provider)
             select gen_random_uuid(), id, channel_id, kind, 'line' from message;
             insert into job (kind, channel_id, attachment_id)
             select 'original', channel_id, id from attachment;
             insert into job (kind, channel_id, attachment_id, asks_line, run_at)
             select 'preview', channel_id, id, false, now() + interval '1 hour'
             from attachment where kind = 'image'",
        )
        .await
        .expect("jobs");
    for migration in after {
        let run = connection.execute(migration.sql.clone());
        run.await.expect("a migration");
    }
    let jobs: Vec<String> = sqlx::query_scalar(
        "select j.kind || ' ' || a.kind || ' ' || queue || case when deferred then ' deferred' else '' end
         from job j join attachment a on a.id = attachment_id join message m on m.id = a.message_id
         where flow = job_flow(m.conversation_id) order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .expect("jobs");
    assert_eq!(
        jobs,
        [
            "original image content",
            "original video large",
            "preview image external deferred"
        ]
    );
}
