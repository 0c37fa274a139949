//! Erasures for other causes than an unsend: nothing of the data is found, and nothing brings it back.

use std::time::Duration;

use line_chat_archive::{
    erasure::{
        self,
        order::{self, Outcome},
    },
    fake_line::{Event, pictures},
    records::{
        holds::NewHold,
        messages,
        operators::{self, NewOperator},
        retention::{self, Month, Switch},
        subjects::{self, RequestKind},
        trace::State,
    },
};
use sqlx::ConnectOptions;
use uuid::Uuid;

use crate::{
    harness::{T, run},
    trace::{trace, traces},
};

pub const DAY: Duration = Duration::from_secs(86_400);

pub async fn operator(t: &T) -> anyhow::Result<Uuid> {
    let mut conn = t.pool().acquire().await?;
    let new = NewOperator {
        login: "mika",
        password_hash: "none",
        role: "compliance",
        channels: None,
    };
    operators::add(&mut conn, &t.keyring, &new, t.clock.now()).await?;
    Ok(sqlx::query_scalar("select id from operator")
        .fetch_one(t.pool())
        .await?)
}

/// Adds a retention rule of the shop, switched on unless `draft`.
pub async fn rule(t: &T, by: Uuid, kind: &str, days: i32, draft: bool) -> anyhow::Result<Uuid> {
    let mut conn = t.pool().acquire().await?;
    let now = t.clock.now();
    assert!(retention::add(&mut conn, 1, kind, days, by, now).await?);
    let id = sqlx::query_scalar(
        "select id from retention_rule where kind = $1 and switched_off_at is null",
    )
    .bind(kind)
    .fetch_one(t.pool())
    .await?;
    if !draft {
        assert!(retention::switch(&mut conn, &[1], id, Switch::On, by, now).await?);
    }
    Ok(id)
}

async fn preview(t: &T, rule: Uuid) -> anyhow::Result<Vec<Month>> {
    let mut conn = t.pool().acquire().await?;
    let task = retention::tasks(&mut conn, Some(rule), t.clock.now()).await?;
    Ok(retention::preview(&mut conn, &task[0]).await?)
}

/// Orders the erasure of one message.
pub async fn order(t: &T, by: Uuid, event: &Event) -> anyhow::Result<Option<Outcome>> {
    let id: Option<Uuid> = sqlx::query_scalar("select id from message where message_id = $1")
        .bind(event.message_id())
        .fetch_optional(t.pool())
        .await?;
    let Some(id) = id else { return Ok(None) };
    let mut tx = t.pool().begin().await?;
    let Some(place) = messages::locate(&mut tx, &[1], id).await? else {
        return Ok(None);
    };
    let outcome = order::message(&mut tx, &place, by, "unlawful", t.clock.now()).await?;
    tx.commit().await?;
    Ok(Some(outcome))
}

pub async fn hold(
    t: &T,
    by: Uuid,
    conversation: Uuid,
    covers_subject: bool,
) -> anyhow::Result<Uuid> {
    let mut tx = t.pool().begin().await?;
    let new = NewHold {
        conversation_id: conversation,
        reason: "case 7",
        covers_subject,
        covers_unsend: false,
        by,
    };
    assert!(erasure::holds::set(&mut tx, &[1], &new, t.clock.now()).await?);
    tx.commit().await?;
    Ok(
        sqlx::query_scalar("select id from hold where lifted_at is null")
            .fetch_one(t.pool())
            .await?,
    )
}

pub async fn lift(t: &T, by: Uuid, hold: Uuid) -> anyhow::Result<()> {
    let mut tx = t.pool().begin().await?;
    let lifted = erasure::holds::lift(&mut tx, &[1], hold, by, t.clock.now()).await?;
    assert!(lifted.is_some());
    Ok(tx.commit().await?)
}

pub async fn wish(t: &T, by: Uuid, user_id: &str, wish: RequestKind) -> anyhow::Result<Uuid> {
    let contact: Uuid = sqlx::query_scalar("select id from contact where user_id = $1")
        .bind(user_id)
        .fetch_one(t.pool())
        .await?;
    let mut tx = t.pool().begin().await?;
    let request = subjects::ask(&mut tx, &[1], contact, wish, by, t.clock.now()).await?;
    tx.commit().await?;
    Ok(request.expect("somebody in sight"))
}

pub async fn chat(t: &T, user_id: &str) -> anyhow::Result<Uuid> {
    let query = "select id from conversation where source_id = $1";
    Ok(sqlx::query_scalar(query)
        .bind(user_id)
        .fetch_one(t.pool())
        .await?)
}

/// Runs the sweep, and then destroys the keys that are old enough.
pub async fn settle(t: &T) -> anyhow::Result<()> {
    t.run_jobs().await?;
    t.clock.advance(Duration::from_secs(61));
    t.run_jobs().await
}

/// Delivers a redelivery, an edit and an unsend of an erased message, which must stay erased and get one record only.
async fn nothing_brings_back(
    t: &T,
    event: &Event,
    edit: &Event,
    unsend: &Event,
) -> anyhow::Result<()> {
    t.shop.redeliver(event).await;
    t.deliver(std::slice::from_ref(edit)).await?;
    t.deliver(&[unsend.clone(), event.clone()]).await?;
    settle(t).await
}

#[tokio::test]
async fn what_is_erased_for_any_cause_leaves_no_trace_and_does_not_come_back() {
    for cause in ["retention", "operator", "subject"] {
        run(async |t| {
            let by = operator(t).await?;
            let aoi = t.shop.user("Aoi");
            aoi.shows_no_picture();
            let photo = [&pictures::photo(7, 800, 600)[..], b"MARK-PHOTO"].concat();
            let photo = aoi.sends_image(photo).await?;
            let crew = t.shop.group("Crew", &[&aoi]);
            let there = crew.member(&aoi);
            let text = there.sends_text("MARK-TEXT").await?;
            let edit = there.edits(&text, "MARK-EDIT").await?;
            let (again, unsend) = (there.edits(&text, "MARK-AGAIN").make(), aoi.unsends(&text).make());
            t.run_jobs().await?;
            assert_eq!(t.traces("MARK-PHOTO").await?, ["object"]);
            assert_eq!(t.traces("MARK-").await?, ["revision.content × 2", "object"]);

            match cause {
                "retention" => {
                    rule(t, by, "any", 30, false).await?;
                    settle(t).await?;
                    assert_eq!(t.count("select count(*) from message").await?, 2, "young enough");
                    t.clock.advance(DAY * 31);
                }
                "operator" => {
                    assert_eq!(order(t, by, &photo).await?, Some(Outcome::Erased));
                    assert_eq!(order(t, by, &text).await?, Some(Outcome::Erased));
                }
                _ => {
                    wish(t, by, aoi.id(), RequestKind::Erasure).await?;
                }
            }
            settle(t).await?;
            assert_eq!(t.traces("MARK-").await?, [""; 0], "{cause}");
            assert!(t.objects()?.is_empty(), "{cause}");
            let (state, lines) = trace(t, photo.message_id()).await?;
            assert_eq!((state, traces(&lines)), (State::Erased(cause.to_owned()), vec![]));
            for event in [&text, &edit] {
                t.shop.redeliver(event).await;
            }
            nothing_brings_back(t, &text, &again, &unsend).await?;
            assert_eq!(t.traces("MARK-").await?, [""; 0], "{cause}");
            assert_eq!(t.count("select count(*) from message").await?, 0, "{cause}");
            let records: Vec<(String, bool)> = sqlx::query_as(
                "select cause, bool_and(objects_gone_at is not null and keys_gone_at is not null) from erasure
                 where message_id is not null group by cause",
            )
            .fetch_all(t.pool())
            .await?;
            assert_eq!(records, [(cause.to_owned(), true)]);
            assert_eq!(t.count("select count(*) from erasure where message_id is not null").await?, 2);
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_most_specific_rule_wins_and_does_what_its_preview_said() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let ken = t.shop.user("Ken");
        ken.shows_no_picture();
        aoi.sends_image(pictures::photo(1, 64, 48)).await?;
        for n in 0..5 {
            let many: Vec<Event> = (0..90)
                .map(|i| aoi.sends_text(&format!("old {n} {i}")).make())
                .collect();
            t.deliver(&many).await?;
        }
        aoi.follows().await?;
        ken.sends_text("held").await?;
        t.run_jobs().await?;
        let held = hold(t, by, chat(t, ken.id()).await?, false).await?;
        t.clock.advance(DAY * 100);
        t.line.at(t.clock.now());
        aoi.sends_text("young").await?;
        rule(t, by, "image", 365, false).await?;
        let any = rule(t, by, "any", 30, true).await?;
        settle(t).await?;
        assert_eq!(
            t.count("select count(*) from message").await?,
            453,
            "a draft does nothing"
        );

        let months = preview(t, any).await?;
        assert_eq!(
            months
                .iter()
                .map(|m| (m.messages, m.events, m.files, m.held))
                .collect::<Vec<_>>(),
            [(450, 1, 0, 1)]
        );
        let mut conn = t.pool().acquire().await?;
        retention::switch(&mut conn, &[1], any, Switch::On, by, t.clock.now()).await?;
        settle(t).await?;
        let kinds: Vec<(String, i64)> =
            sqlx::query_as("select kind, count(*) from message group by kind order by kind")
                .fetch_all(t.pool())
                .await?;
        assert_eq!(kinds, [("image".to_owned(), 1), ("text".to_owned(), 2)]);
        assert_eq!(t.count("select count(*) from event").await?, 0);
        assert_eq!(
            t.count("select count(*) from erasure where cause = 'retention' and event_id is null")
                .await?,
            450
        );
        assert_eq!(
            t.count("select count(*) from erasure where event_id is not null")
                .await?,
            1
        );

        lift(t, by, held).await?;
        settle(t).await?;
        assert_eq!(
            t.count("select count(*) from message").await?,
            2,
            "the photo, and what is young"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_hold_stops_rules_and_operators_but_no_unsend_and_no_request_unless_it_says_so() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let kept = aoi.sends_text("MARK-KEPT").await?;
        let unsent = aoi.sends_text("MARK-UNSENT").await?;
        let first = hold(t, by, chat(t, aoi.id()).await?, false).await?;
        t.clock.advance(DAY * 10);
        rule(t, by, "any", 1, false).await?;
        settle(t).await?;
        assert_eq!(order(t, by, &kept).await?, Some(Outcome::Held));
        assert_eq!(t.traces("MARK-KEPT").await?, ["revision.content × 1"]);
        aoi.unsends(&unsent).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-UNSENT").await?, [""; 0]);

        lift_and_hold_more(t, by, first, aoi.id()).await?;
        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        settle(t).await?;
        assert_eq!(
            t.traces("MARK-KEPT").await?,
            ["revision.content × 1"],
            "this hold says so"
        );
        assert_eq!(
            t.count("select count(*) from subject_request where erased_at is null")
                .await?,
            1
        );
        Ok(())
    })
    .await;
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        aoi.sends_text("MARK-ASKED").await?;
        hold(t, by, chat(t, aoi.id()).await?, false).await?;
        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-ASKED").await?, [""; 0]);
        Ok(())
    })
    .await;
}

async fn lift_and_hold_more(t: &T, by: Uuid, first: Uuid, user_id: &str) -> anyhow::Result<()> {
    // The retention rules do not run between the two calls.
    lift(t, by, first).await?;
    hold(t, by, chat(t, user_id).await?, true).await?;
    Ok(())
}

#[tokio::test]
async fn a_person_is_forgotten_everywhere_and_nobody_else_is() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("MARK-NAME");
        let ken = t.shop.user("Ken");
        let crew = t.shop.group("Crew", &[&aoi, &ken]);
        aoi.sends_text("MARK-ALONE").await?;
        aoi.postback("MARK-POSTBACK").await?;
        crew.member(&aoi).sends_text("MARK-GROUP").await?;
        crew.member(&ken).sends_text("KEN-GROUP").await?;
        t.run_jobs().await?;
        assert!(
            t.traces("MARK-NAME")
                .await?
                .contains(&"contact.profile × 1".to_owned())
        );

        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        let late = crew.member(&aoi).sends_text("LATER").make();
        settle(t).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        assert_eq!(t.traces("KEN-GROUP").await?, ["revision.content × 1"]);
        assert_eq!(t.count("select count(*) from member").await?, 1, "Ken");
        assert_eq!(
            t.count("select count(*) from contact where picture_key is not null")
                .await?,
            1,
            "Ken"
        );
        let done: (i32, i32, bool) = sqlx::query_as(
            "select messages_erased, events_erased, erased_at is not null from subject_request",
        )
        .fetch_one(t.pool())
        .await?;
        assert_eq!(done, (2, 1, true));
        assert_eq!(
            t.count(
                "select count(*) from erasure where objects_gone_at is null or keys_gone_at is null"
            )
            .await?,
            0
        );
        // A person who writes again after their erasure is archived as usual.
        t.clock.advance(DAY);
        t.line.at(t.clock.now());
        t.deliver(&[late]).await?;
        t.run_jobs().await?;
        assert_eq!(t.traces("LATER").await?, ["revision.content × 1"]);
        Ok(())
    })
    .await;
}

/// The third batch of a person's erasure fails, as if the process had been killed there.
#[tokio::test]
async fn an_erasure_that_was_cut_off_is_finished_after_a_restart() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        for n in 0..5 {
            let many: Vec<Event> = (0..100).map(|i| aoi.sends_text(&format!("MARK-{n}-{i}")).make()).collect();
            t.deliver(&many).await?;
        }
        t.run_jobs().await?;
        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        let mut owner = t.database.connect().await?;
        sqlx::raw_sql(
            "create function cut() returns trigger language plpgsql as $$ begin
                 if (select messages_erased from subject_request) >= 400 then raise exception 'cut off'; end if;
                 return new;
             end $$;
             create trigger cut before insert on erasure for each row execute function cut()",
        )
        .execute(&mut owner)
        .await?;
        assert!(t.run_jobs().await.is_err());
        assert_eq!(t.count("select count(*) from message").await?, 100);
        sqlx::raw_sql("drop trigger cut on erasure; drop function cut")
            .execute(&mut owner).await?;
        t.restart().await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        let done: (i32, bool) =
            sqlx::query_as("select messages_erased, erased_at is not null from subject_request")
                .fetch_one(t.pool())
                .await?;
        assert_eq!(done, (500, true));
        Ok(())
    })
    .await;
}

/// The files of the only export, by name.
pub async fn export(t: &T) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let zips: Vec<Vec<u8>> = t
        .opened_objects()
        .await?
        .into_iter()
        .filter(|bytes| bytes.starts_with(b"PK"))
        .collect();
    assert_eq!(zips.len(), 1);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&zips[0]))?;
    let mut files = vec![];
    for at in 0..zip.len() {
        let mut file = zip.by_index(at)?;
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut file, &mut bytes)?;
        files.push((file.name()?.into_owned(), bytes));
    }
    Ok(files)
}

#[tokio::test]
async fn an_export_holds_everything_of_a_person_and_nothing_of_anybody_else() {
    run(async |t| {
        let by = operator(t).await?;
        let (aoi, ken) = (t.shop.user("MARK-NAME"), t.shop.user("KEN-NAME"));
        ken.shows_no_picture();
        let crew = t.shop.group("Crew", &[&aoi, &ken]);
        let (here, there) = (crew.member(&aoi), crew.member(&ken));
        let jpeg = pictures::photo(7, 640, 480);
        let photo = aoi.sends_image(jpeg.clone()).await?;
        aoi.postback("MARK-POSTBACK").await?;
        let text = here.sends_text("MARK-FIRST").await?;
        here.edits(&text, "MARK-SECOND").await?;
        there.sends_text("KEN-SAYS").await?;
        ken.sends_text("KEN-ALONE").await?;
        // More than a page of messages, many of them with the same timestamp.
        let many: Vec<Event> = (0..450)
            .map(|n| here.sends_text(&format!("MARK-{n:03}-")).make())
            .collect();
        for some in many.chunks(90) {
            t.deliver(some).await?;
        }
        t.run_jobs().await?;
        let request = wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.run_jobs().await?;

        let files = export(t).await?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let original = format!("media/{}.jpg", photo.message_id());
        assert_eq!(names, ["data.json", "media/picture.jpg", &original]);
        assert_eq!(files[2].1, jpeg);
        let data: serde_json::Value = serde_json::from_slice(&files[0].1)?;
        let text_of = String::from_utf8(files[0].1.clone())?;
        assert_eq!(data["person"]["profile"]["displayName"], "MARK-NAME");
        assert_eq!(data["person"]["memberships"][0]["id"], crew.id());
        assert_eq!(data["messages"].as_array().unwrap().len(), 452);
        assert_eq!(data["events"].as_array().unwrap().len(), 1);
        for mark in ["MARK-POSTBACK", "MARK-FIRST", "MARK-SECOND"] {
            assert_eq!(text_of.matches(mark).count(), 1, "{mark}");
        }
        for n in 0..450 {
            assert_eq!(text_of.matches(&format!("MARK-{n:03}-")).count(), 1, "{n}");
        }
        assert!(!text_of.contains("KEN-"));
        // The export is encrypted on the disk.
        assert!(
            t.objects()?
                .iter()
                .all(|bytes| !bytes.windows(10).any(|window| window == b"MARK-FIRST"))
        );

        // No export contains a message once it is unsent.
        here.unsends(&text).await?;
        assert_eq!(t.traces("MARK-FIRST").await?, [""; 0]);
        settle(t).await?;
        let again = export(t).await?;
        assert!(!String::from_utf8(again[0].1.clone())?.contains("MARK-FIRST"));
        assert_eq!(
            t.count(
                "select count(*) from erasure where objects_gone_at is null or keys_gone_at is null"
            )
            .await?,
            0
        );

        // The export outlives the erasure of its data, and is erased later as well.
        assert_eq!(wish(t, by, aoi.id(), RequestKind::Erasure).await?, request);
        settle(t).await?;
        assert_eq!(t.traces("MARK-POSTBACK").await?, ["object"]);
        t.clock.advance(DAY * 7);
        settle(t).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        assert_eq!(t.traces("KEN-SAYS").await?, ["revision.content × 1"]);
        Ok(())
    })
    .await;
}

/// An export that is requested while a message is unsent either does not contain the message or is made again.
#[tokio::test]
async fn an_export_that_was_begun_does_not_keep_what_is_unsent_meanwhile() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        for round in 0..10 {
            let text = aoi.sends_text(&format!("MARK-{round}-")).await?;
            aoi.sends_text("stays").await?;
            wish(t, by, aoi.id(), RequestKind::Export).await?;
            let (worked, unsent) = tokio::join!(t.run_jobs(), async { aoi.unsends(&text).await });
            worked?;
            unsent?;
            assert_eq!(t.traces(&format!("MARK-{round}-")).await?, [""; 0]);
            t.clock.advance(DAY * 8);
            settle(t).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_acknowledges_while_a_rule_erases() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        let ken = t.shop.user("Ken");
        for n in 0..20 {
            let many: Vec<Event> = (0..100)
                .map(|i| aoi.sends_text(&format!("old {n} {i}")).make())
                .collect();
            t.deliver(&many).await?;
        }
        t.run_jobs().await?;
        t.clock.advance(DAY * 40);
        t.line.at(t.clock.now());
        rule(t, by, "any", 30, false).await?;
        let worker = t.service.worker.clone();
        let erasing = tokio::spawn(async move { worker.run_until_idle().await });
        let (mut slowest, mut sent) = (Duration::ZERO, 0);
        while !erasing.is_finished() || sent < 100 {
            let began = std::time::Instant::now();
            ken.sends_text("young").await?;
            aoi.sends_text("young").await?;
            slowest = slowest.max(began.elapsed() / 2);
            sent += 2;
        }
        erasing.await??;
        assert!(
            slowest < Duration::from_secs(2),
            "LINE would have given up: {slowest:?}"
        );
        assert_eq!(t.count("select count(*) from message").await?, sent);
        assert_eq!(
            t.count("select count(*) from erasure where cause = 'retention'")
                .await?,
            2000
        );
        Ok(())
    })
    .await;
}
