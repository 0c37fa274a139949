//! `erasures trace`: it finds every trace of a message, in all tables and objects, and none once the message is erased.

use std::process::ExitCode;

use line_chat_archive::{
    app::{
        self,
        trace::{Found, Line, look},
    },
    fake_line::pictures,
    objects::{ObjectKey, Objects},
    records::trace::State,
};
use url::Url;

use crate::{
    harness::{T, run},
    ledger::storage,
};

/// The result of `erasures trace` for a message of the shop.
pub async fn trace(t: &T, message_id: &str) -> anyhow::Result<(State, Vec<Line>)> {
    let objects = bucket(t).await?;
    let mut db = t.owner().await?;
    look(&mut db, &objects, &t.keyring, "shop", message_id).await
}

/// The exit code of the command.
async fn code(t: &T, message_id: &str) -> anyhow::Result<ExitCode> {
    app::trace::trace(&storage(t), "shop", message_id, &|_| ()).await
}

/// Runs all jobs that follow an unsend, including the destruction of keys, which waits a while to collect more of them.
async fn forget(t: &T) -> anyhow::Result<()> {
    t.run_jobs().await?;
    t.clock.advance(std::time::Duration::from_secs(3600));
    t.run_jobs().await
}

async fn bucket(t: &T) -> anyhow::Result<Objects> {
    let url = Url::from_directory_path(t.home.path().join("objects")).unwrap();
    Ok(Objects::open(&url).await?)
}

/// The traces: places where something was found that should be gone once the message is unsent.
pub fn traces(lines: &[Line]) -> Vec<(&str, Found)> {
    let traces = lines.iter().filter(|line| line.found.is_trace());
    traces.map(|line| (&*line.place, line.found)).collect()
}

fn at(lines: &[Line], place: &str) -> Found {
    lines.iter().find(|line| line.place == place).unwrap().found
}

#[tokio::test]
async fn of_a_living_photo_its_rows_and_objects_are_found() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi.sends_image(pictures::photo(7, 80, 60)).await?;
        aoi.sends_text("another").await?;
        t.run_jobs().await?;
        let (state, lines) = trace(t, photo.message_id()).await?;
        assert_eq!(state, State::Stored);
        assert_eq!(
            traces(&lines),
            [
                ("attachment", Found::Some(1)),
                ("message", Found::Some(1)),
                ("object", Found::Some(2)),
                ("revision", Found::Some(1)),
                ("bucket: objects of the message", Found::Some(2)),
            ]
        );
        assert_eq!(at(&lines, "message_ref"), Found::Record(1));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn of_an_unsent_photo_only_the_record_stays_and_the_id_in_an_answer() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi.sends_image(pictures::photo(7, 80, 60)).await?;
        aoi.sends_text("how nice")
            .quoting_id(photo.message_id())
            .await?;
        t.run_jobs().await?;
        aoi.unsends(&photo).await?;

        // Half-way: the rows are erased, the objects and the key are not.
        let (state, lines) = trace(t, photo.message_id()).await?;
        assert_eq!(state, State::Unsent);
        assert_eq!(
            traces(&lines),
            [
                ("erasure_key", Found::Some(1)),
                ("object", Found::Some(2)),
                ("bucket: objects of the message", Found::Some(2)),
                ("keyring: keys of what was erased", Found::Some(1)),
            ]
        );

        let said = std::cell::RefCell::new(String::new());
        let say = |line: &str| said.borrow_mut().push_str(line);
        let code_halfway = app::trace::trace(&storage(t), "shop", photo.message_id(), &say).await?;
        assert_eq!(code_halfway, ExitCode::from(1));
        let said = said.into_inner();
        assert!(
            said.contains("only objects that wait to be deleted, and keys"),
            "{said}"
        );

        forget(t).await?;
        assert_eq!(code(t, photo.message_id()).await?, ExitCode::SUCCESS);
        assert_eq!(code(t, "900000000000000001").await?, ExitCode::from(3));
        let (_, lines) = trace(t, photo.message_id()).await?;
        assert_eq!(traces(&lines), []);
        assert_eq!(at(&lines, "message_ref"), Found::Record(1));
        assert_eq!(at(&lines, "erasure"), Found::Record(1));
        assert_eq!(at(&lines, "message"), Found::Answers(1));
        assert_eq!(at(&lines, "job"), Found::Nothing);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_row_in_a_table_that_nobody_expects_is_found_in_every_form() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("hello").await?;
        let id: uuid::Uuid = sqlx::query_scalar("select id from message")
            .fetch_one(t.pool())
            .await?;
        aoi.unsends(&text).await?;
        forget(t).await?;
        assert_eq!(traces(&trace(t, text.message_id()).await?.1), []);

        let (line, ours) = (text.message_id(), id.to_string());
        let plants = [
            ("text", format!("'see {line}.'")),
            (
                "bytea",
                format!("convert_to('\\\"id\":\"{line}\"', 'UTF8')"),
            ),
            ("jsonb", format!("'{{\"a\": [\"{line}\"]}}'")),
            // After percent-encoded and `\u` escaped characters, whose codes end in digits.
            ("text", format!("'/messages%20{line}'")),
            ("text", format!(r"'\u0022{line}\u0022'")),
            ("bytea", format!(r"convert_to('\u0022{line}', 'UTF8')")),
            ("text[]", format!("array['x', '{line}']")),
            ("uuid", format!("'{ours}'")),
            ("uuid[]", format!("array['{ours}']::uuid[]")),
            ("text", format!("'{ours}'")),
            ("bytea", format!("uuid_send('{ours}')")),
            // Next to bytes that PostgreSQL prints as octal digits, and next to a backslash.
            (
                "bytea",
                format!("'\\000\\377'::bytea || convert_to('{line}', 'UTF8') || '\\001'::bytea"),
            ),
            ("bytea", format!("convert_to(chr(92) || '{line}', 'UTF8')")),
            (
                "bytea",
                format!("convert_to('7' || chr(92) || chr(92) || '{line}', 'UTF8')"),
            ),
            ("varchar", format!("'{}'", id.simple())),
        ];
        let mut db = t.owner().await?;
        for (kind, value) in plants {
            let plant = format!(
                "create schema later; create table later.\"Odd table\" (\"a column\" {kind}, n int);
                 insert into later.\"Odd table\" values (null, 1), ({value}, 2)"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(plant))
                .execute(&mut db)
                .await?;
            let (_, lines) = trace(t, line).await?;
            assert_eq!(
                traces(&lines),
                [("later.Odd table", Found::Some(1))],
                "{kind}"
            );
            sqlx::raw_sql("drop schema later cascade")
                .execute(&mut db)
                .await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_object_without_a_row_and_another_channels_message_of_the_same_id_are_told_apart() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("hello").await?;
        let other = t.channel("other").await?;
        let twin = other.user("Ben").sends_text("hello").make();
        let twin = twin.json().replace(twin.message_id(), text.message_id());
        let twin = line_chat_archive::fake_line::Event::raw(&twin);
        assert!(other.deliver(&[twin]).await.acknowledged());
        aoi.unsends(&text).await?;
        forget(t).await?;
        assert_eq!(traces(&trace(t, text.message_id()).await?.1), []);

        let bucket = bucket(t).await?;
        let key = ObjectKey::new();
        let half = bucket.put(key).await?;
        let (_, lines) = trace(t, text.message_id()).await?;
        assert_eq!(
            traces(&lines),
            [("bucket: objects without a row", Found::Strays(1))]
        );
        half.finish().await?;
        let (_, lines) = trace(t, text.message_id()).await?;
        assert_eq!(
            traces(&lines),
            [("bucket: objects without a row", Found::Strays(1))]
        );
        bucket.purge(key).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_part_of_an_id_finds_nothing_and_an_id_of_another_form_is_refused() {
    run(async |t| {
        let text = t.shop.user("Aoi").sends_text("hello").await?;
        let id = text.message_id();
        for part in [&id[..17], &id[1..], &id[4..12], &format!("{id}0")] {
            let (state, lines) = trace(t, part).await?;
            assert_eq!(
                (state, traces(&lines)),
                (State::NeverReceived, vec![]),
                "{part}"
            );
        }
        for other in [
            "",
            "%",
            &format!("l{}", &id[1..]),
            "Udeadbeefdeadbeefdeadbeefdeadbeef",
        ] {
            assert!(trace(t, other).await.is_err(), "{other}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_message_nobody_met_is_nowhere_and_a_channel_that_is_not_there_is_an_error() {
    run(async |t| {
        let (state, lines) = trace(t, "900000000000000001").await?;
        assert_eq!((state, traces(&lines)), (State::NeverReceived, vec![]));
        let objects = bucket(t).await?;
        let mut db = t.pool().acquire().await?;
        let looked = look(&mut db, &objects, &t.keyring, "nobody", "1").await;
        assert!(looked.is_err());
        Ok(())
    })
    .await;
}
