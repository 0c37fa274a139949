//! Exports that fail: each one ends or is postponed on its own, and states its reason.

use std::{path::Path, time::Duration};

use line_chat_archive::{
    fake_line::pictures,
    records::{
        export_failure::Failure,
        subjects::{self, Request, RequestKind},
    },
};
use sqlx::Executor;
use uuid::Uuid;

use crate::{
    causes::{export, operator, settle, wish},
    exports::original,
    harness::{T, run},
    support::visitor::Visitor,
};

/// The export's state, its attempts, and the reason why the last one failed.
async fn shown(t: &T, user_id: &str) -> anyhow::Result<(String, i32, Option<Failure>)> {
    let request = request(t, user_id).await?;
    Ok((
        request.export_state,
        request.export_attempts,
        request.export_failure,
    ))
}

async fn contact(t: &T, user_id: &str) -> anyhow::Result<Uuid> {
    let id = sqlx::query_scalar("select id from contact where user_id = $1").bind(user_id);
    Ok(id.fetch_one(t.pool()).await?)
}

async fn request(t: &T, user_id: &str) -> anyhow::Result<Request> {
    let contact = contact(t, user_id).await?;
    let mut conn = t.pool().acquire().await?;
    Ok(subjects::of(&mut conn, &[1], contact).await?.remove(0))
}

/// The page with the requests of a person.
async fn page(t: &T, visitor: &Visitor, user_id: &str) -> anyhow::Result<String> {
    let contact = contact(t, user_id).await?;
    let path = format!("/contacts/{contact}/requests");
    Ok(visitor.page(&path).await)
}

/// Runs `statement` from now on whenever an export of the first request begins.
async fn at_the_first(t: &T, statement: &str) -> anyhow::Result<()> {
    let sql = format!(
        "create or replace function trouble() returns trigger language plpgsql security definer as $$ begin
             if new.id = (select id from subject_request order by requested_at limit 1) then {statement}; end if;
             return new;
         end $$;
         create or replace trigger trouble before update of export_key on subject_request
             for each row when (new.export_state = 'running') execute function trouble()"
    );
    t.owner().await?.execute(sqlx::AssertSqlSafe(sql)).await?;
    Ok(())
}

/// Two people who wrote, each with an export request; the first request is older.
async fn two_exports(t: &T, by: Uuid) -> anyhow::Result<[String; 2]> {
    let people = ["Aoi", "Ken"].map(|name| t.shop.user(name));
    for person in &people {
        person.shows_no_picture();
        person.sends_text("hello").await?;
    }
    t.run_jobs().await?;
    for person in &people {
        wish(t, by, person.id(), RequestKind::Export).await?;
        t.clock.advance(Duration::from_secs(1));
    }
    Ok(people.map(|person| person.id().to_owned()))
}

/// Runs attempts until no attempt is due any more. Returns the pauses in minutes.
async fn all_attempts(t: &T, user_id: &str) -> anyhow::Result<Vec<i64>> {
    let mut pauses = vec![];
    while let Some(at) = request(t, user_id).await?.export_next_attempt_at {
        pauses.push((at - t.clock.now()).num_minutes());
        t.clock.advance((at - t.clock.now()).to_std()?);
        t.run_jobs().await?;
        assert!(pauses.len() < 100, "it has an end");
    }
    Ok(pauses)
}

#[tokio::test]
async fn an_export_that_the_database_refuses_is_given_up_and_blocks_neither_others_nor_its_erasure()
{
    run(async |t| {
        let by = operator(t).await?;
        let [aoi, ken] = two_exports(t, by).await?;
        wish(t, by, &aoi, RequestKind::Erasure).await?;
        t.operator("rei", "compliance", None).await?;
        let rei = t.visitor("rei").await;
        at_the_first(t, "raise exception 'no'").await?;
        t.run_jobs().await?;
        assert_eq!(shown(t, &ken).await?, ("ready".to_owned(), 0, None));
        let refused = |state: &str, attempts| (state.to_owned(), attempts, Some(Failure::Database));
        assert_eq!(shown(t, &aoi).await?, refused("asked", 1));
        t.run_jobs().await?;
        assert_eq!(shown(t, &aoi).await?, refused("asked", 1), "it is not due");
        assert_eq!(
            request(t, &aoi).await?.erased_at,
            None,
            "the export comes first"
        );

        let said = page(t, &rei, &aoi).await?;
        assert!(
            said.contains("the database failed. 1 of 12 attempts failed"),
            "{said}"
        );
        assert!(said.contains("waiting for the export"), "{said}");

        let pauses = all_attempts(t, &aoi).await?;
        assert_eq!(pauses, (0..11).map(|n| 1 << n).collect::<Vec<i64>>());
        assert_eq!(shown(t, &aoi).await?, refused("failed", 12));
        let rei = t.visitor("rei").await;
        let said = page(t, &rei, &aoi).await?;
        assert!(
            said.contains("given up after 12 attempts: the database failed"),
            "{said}"
        );
        settle(t).await?;
        assert!(request(t, &aoi).await?.erased_at.is_some());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_export_that_was_given_up_can_be_requested_again() {
    run(async |t| {
        let by = operator(t).await?;
        let [aoi, _] = two_exports(t, by).await?;
        at_the_first(t, "raise exception 'no'").await?;
        t.run_jobs().await?;
        let waiting = request(t, &aoi).await?;
        assert!(waiting.export_next_attempt_at > Some(t.clock.now()));
        // A person who has fixed the cause does not have to wait for the next attempt.
        wish(t, by, &aoi, RequestKind::Export).await?;
        t.run_jobs().await?;
        assert_eq!(request(t, &aoi).await?.export_attempts, 1, "counted anew");
        all_attempts(t, &aoi).await?;
        at_the_first(t, "null").await?;
        wish(t, by, &aoi, RequestKind::Export).await?;
        t.run_jobs().await?;
        assert_eq!(shown(t, &aoi).await?, ("ready".to_owned(), 0, None));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_database_that_ends_connections_uses_up_no_attempt() {
    run(async |t| {
        let by = operator(t).await?;
        let [aoi, ken] = two_exports(t, by).await?;
        at_the_first(t, "perform pg_terminate_backend(pg_backend_pid())").await?;
        for _ in 0..20 {
            t.run_jobs().await?;
            let (state, attempts, _) = shown(t, &aoi).await?;
            assert_eq!((&*state, attempts), ("asked", 0));
            t.clock.advance(Duration::from_secs(61));
        }
        assert_eq!(shown(t, &ken).await?, ("ready".to_owned(), 0, None));
        at_the_first(t, "null").await?;
        t.run_jobs().await?;
        assert_eq!(shown(t, &aoi).await?, ("ready".to_owned(), 0, None));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_erasure_waits_for_no_export_beyond_35_hours_and_the_button_tries_that_export_at_once() {
    run(async |t| {
        let by = operator(t).await?;
        let [aoi, _] = two_exports(t, by).await?;
        wish(t, by, &aoi, RequestKind::Erasure).await?;
        at_the_first(t, "perform pg_terminate_backend(pg_backend_pid())").await?;
        t.run_jobs().await?;
        let waiting = request(t, &aoi).await?;
        assert!(waiting.export_next_attempt_at > Some(t.clock.now()));
        wish(t, by, &aoi, RequestKind::Export).await?;
        let again = request(t, &aoi).await?;
        assert_eq!((again.id, again.export_next_attempt_at), (waiting.id, None));
        t.run_jobs().await?;
        t.clock.advance(Duration::from_secs(35 * 3600));
        t.run_jobs().await?;
        assert_eq!(shown(t, &aoi).await?.0, "failed");
        settle(t).await?;
        assert!(request(t, &aoi).await?.erased_at.is_some());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_away_for_a_moment_is_in_the_export() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let bytes = pictures::photo(7, 640, 480);
        let photo = aoi.sends_image(bytes.clone()).await?;
        t.run_jobs().await?;
        let (file, away) = (original(t).await?, t.home.path().join("away"));
        std::fs::rename(&file, &away)?;
        wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.run_jobs().await?;
        let unreadable = ("asked".to_owned(), 1, Some(Failure::Unreadable));
        assert_eq!(shown(t, aoi.id()).await?, unreadable);
        std::fs::rename(&away, &file)?;
        settle(t).await?;
        t.run_jobs().await?;
        let files = export(t).await?;
        assert_eq!(files.len(), 2);
        assert_eq!(files[1].0, format!("media/{}.jpg", photo.message_id()));
        assert_eq!(files[1].1, bytes);
        Ok(())
    })
    .await;
}

/// Moves everything in a directory to another one, which is made.
fn move_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A bucket of the right name without the archive's objects looks like one that has lost everything.
#[tokio::test]
async fn a_bucket_without_the_archives_objects_makes_no_file_missing() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        for picture in 1..4 {
            aoi.sends_image(pictures::photo(picture, 640, 480)).await?;
        }
        t.run_jobs().await?;
        let [objects, away] = ["objects", "away"].map(|name| t.home.path().join(name));
        move_all(&objects, &away)?;
        wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.run_jobs().await?;
        all_attempts(t, aoi.id()).await?;
        let wrong_bucket = ("failed".to_owned(), 12, Some(Failure::WrongBucket));
        assert_eq!(shown(t, aoi.id()).await?, wrong_bucket);
        // A copy of the ledger may have been written meanwhile.
        for entry in std::fs::read_dir(&objects)? {
            std::fs::remove_dir_all(entry?.path())?;
        }
        move_all(&away, &objects)?;
        wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.run_jobs().await?;
        assert_eq!(export(t).await?.len(), 4);
        Ok(())
    })
    .await;
}
