//! After an unsend nothing of the message is found, in whatever order the events came.

use line_chat_archive::{
    fake_line::{Event, pictures},
    records::objects,
};

use crate::harness::{T, run, start};

/// A photo with a mark that a search for traces finds: a JPEG can be followed by any bytes.
fn marked_photo(mark: &str) -> Vec<u8> {
    [&pictures::photo(7, 800, 600)[..], mark.as_bytes()].concat()
}

async fn tombstones(t: &T) -> anyhow::Result<i64> {
    t.count("select count(*) from message_ref where unsent_at is not null")
        .await
}

#[tokio::test]
async fn an_unsent_photo_leaves_rows_and_objects_and_only_a_record_stays() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi.sends_image(marked_photo("MARK-PHOTO-1")).await?;
        let text = aoi.sends_text("MARK-TEXT-1").await?;
        t.run_jobs().await?;
        assert_eq!(t.traces("MARK-PHOTO-1").await?, ["object"], "the checker sees what is there");
        assert_eq!(t.traces("MARK-TEXT-1").await?, ["revision.content × 1"]);

        aoi.unsends(&photo).await?;
        aoi.unsends(&text).await?;
        t.run_jobs().await?;

        for mark in ["MARK-PHOTO-1", "MARK-TEXT-1"] {
            assert_eq!(t.traces(mark).await?, [""; 0], "{mark}");
        }
        assert!(t.objects()?.is_empty());
        for table in ["message", "revision", "attachment", "object"] {
            let query = format!("select count(*) from {table}");
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(t.pool()).await?;
            assert_eq!(rows, 0, "{table}");
        }
        let records: Vec<(i32, i32, bool)> = sqlx::query_as(
            "select rows_erased, objects_found, objects_gone_at is not null from erasure order by rows_erased desc",
        )
        .fetch_all(t.pool())
        .await?;
        // The photo's rows are message, revision and attachment; its objects are the original and the preview.
        assert_eq!(records, [(3, 2, true), (2, 0, true)]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn open_pages_are_told_when_the_objects_are_gone() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let photo = aoi.sends_image(marked_photo("MARK-TOLD")).await?;
        t.run_jobs().await?;
        aoi.unsends(&photo).await?;
        let conversation: uuid::Uuid = sqlx::query_scalar("select id from conversation")
            .fetch_one(t.pool())
            .await?;
        let mut listener = sqlx::postgres::PgListener::connect_with(t.pool()).await?;
        listener.listen(line_chat_archive::live::CHANNEL).await?;
        t.run_jobs().await?;
        let told =
            tokio::time::timeout(std::time::Duration::from_secs(10), listener.recv()).await??;
        assert_eq!(told.payload(), conversation.to_string());
        assert_eq!(
            t.count("select count(*) from erasure where objects_gone_at is not null")
                .await?,
            1
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_unsend_that_comes_first_keeps_the_message_out() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi.sends_image(marked_photo("MARK-LATE")).make();
        let unsend = aoi.unsends(&photo).make();
        t.deliver(&[unsend]).await?;
        t.restart().await?;
        t.deliver(std::slice::from_ref(&photo)).await?;
        t.run_jobs().await?;
        assert_eq!(t.count("select count(*) from message").await?, 0);
        assert!(t.objects()?.is_empty());
        assert_eq!(t.line.calls(line_chat_archive::fake_line::Call::Content, photo.message_id()), 0);
        // Its position in the conversation is known now, so the page can show "message unsent" there.
        let query = "select count(*) from message_ref where unsent_at is not null and occurred_at is not null
                     and conversation_id is not null";
        assert_eq!(t.count(query).await?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn of_a_body_with_an_unsend_inside_the_neighbours_stay_whole() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let texts: Vec<Event> = (1..=5)
            .map(|n| aoi.sends_text(&format!("NEIGHBOUR-{n}")).make())
            .collect();
        let unsend = aoi.unsends(&texts[2]).make();
        let mut body = texts.clone();
        body.insert(1, unsend);
        t.deliver(&body).await?;
        for (n, event) in texts.iter().enumerate() {
            let mark = format!("NEIGHBOUR-{}", n + 1);
            if n == 2 {
                assert_eq!(t.traces(&mark).await?, [""; 0]);
                continue;
            }
            assert!(t.keeps(event.json().as_bytes()).await?, "byte for byte");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn redelivered_after_the_unsend_it_stays_gone() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("MARK-AGAIN").await?;
        aoi.unsends(&text).await?;
        for round in 0..100 {
            if round == 50 {
                t.restart().await?;
            }
            assert_eq!(t.shop.redeliver(&text).await.status, 200);
            let renamed = text
                .json()
                .replace(text.webhook_event_id(), &format!("01RENAMED{round:017}"));
            t.deliver(&[Event::raw(&renamed)]).await?;
        }
        assert_eq!(t.traces("MARK-AGAIN").await?, [""; 0]);
        assert_eq!(t.count("select count(*) from erasure").await?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn unsent_a_hundred_times_it_is_erased_once() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("once").await?;
        let unsend = aoi.unsends(&text).make();
        for _ in 0..100 {
            t.deliver(&[unsend.clone(), unsend.redelivered()]).await?;
        }
        let records: Vec<(i32, String)> =
            sqlx::query_as("select rows_erased, webhook_event_id from erasure")
                .fetch_all(t.pool())
                .await?;
        assert_eq!(records, [(2, unsend.webhook_event_id().to_owned())]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn all_orders_of_a_message_its_edits_and_its_unsend_end_the_same() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let crew = t.shop.group("Crew", &[&aoi]);
        let aoi = crew.member(&aoi);
        for (n, order) in orders(4).into_iter().enumerate() {
            let mark = format!("MARK-ORDER-{n}-");
            let text = aoi.sends_text(&format!("{mark}A")).make();
            let first = aoi.edits(&text, &format!("{mark}E1")).make();
            let second = aoi.edits(&text, &format!("{mark}E2")).make();
            let unsend = aoi.unsends(&text).make();
            let events = [text, first, second, unsend];
            for i in &order {
                t.deliver(&[events[*i].clone()]).await?;
                if n % 3 == 0 {
                    t.shop.redeliver(&events[*i]).await;
                }
            }
            assert_eq!(t.traces(&mark).await?, [""; 0], "{order:?}");
        }
        assert_eq!(tombstones(t).await?, 24);
        assert_eq!(t.count("select count(*) from erasure").await?, 24);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_an_unsend_all_orders_of_edits_show_the_newest() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let crew = t.shop.group("Crew", &[&aoi]);
        let aoi = crew.member(&aoi);
        for order in orders(3) {
            let text = aoi.sends_text("original").make();
            let first = aoi.edits(&text, "first edit").make();
            let second = aoi.edits(&text, "second edit").make();
            let events = [text.clone(), first, second.clone()];
            for i in &order {
                t.deliver(&[events[*i].clone()]).await?;
                t.shop.redeliver(&events[*i]).await;
            }
            let revisions: Vec<(bool, String)> = sqlx::query_as(
                "select edited, webhook_event_id from revision r join message m on m.id = r.message_id
                 where m.message_id = $1 order by edited desc, r.occurred_at desc",
            )
            .bind(text.message_id())
            .fetch_all(t.pool())
            .await?;
            assert_eq!(revisions.len(), 3, "{order:?}");
            assert_eq!(revisions[0], (true, second.webhook_event_id().to_owned()), "{order:?}");
            let at: (i64, i64) = sqlx::query_as(
                "select (extract(epoch from occurred_at) * 1000)::bigint, (extract(epoch from edited_at) * 1000)::bigint
                 from message where message_id = $1",
            )
            .bind(text.message_id())
            .fetch_one(t.pool())
            .await?;
            assert_eq!(at, (text.timestamp(), second.timestamp()), "{order:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn only_the_channel_that_signed_can_erase_its_messages() {
    run(async |t| {
        let other = t.channel("other").await?;
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("MARK-MINE").await?;
        let ben = other.user("Ben");
        let same_id = Event::raw(&format!(
            r#"{{"type":"message","message":{{"type":"text","id":"{}","text":"MARK-THEIRS"}},"webhookEventId":"01A","timestamp":1795165200000,"source":{{"type":"user","userId":"{}"}},"mode":"active","deliveryContext":{{"isRedelivery":false}}}}"#,
            text.message_id(),
            ben.id()
        ));
        assert_eq!(other.deliver(&[same_id]).await.status, 200);
        // The other channel unsends that id, and claims in `destination` to be the shop.
        let unsend = format!(
            r#"{{"destination":"{}","events":[{{"type":"unsend","unsend":{{"messageId":"{}"}},"webhookEventId":"01B","timestamp":1795165200001,"source":{{"type":"user","userId":"{}"}},"mode":"active","deliveryContext":{{"isRedelivery":false}}}}]}}"#,
            t.shop.bot_user_id(),
            text.message_id(),
            aoi.id()
        );
        let signature = line_chat_archive::fake_line::sign(&other.secret(), unsend.as_bytes());
        assert_eq!(other.deliver_bytes(unsend.clone(), Some(&signature)).await.status, 200);
        assert_eq!(t.traces("MARK-MINE").await?, ["revision.content × 1"]);
        assert_eq!(t.traces("MARK-THEIRS").await?, [""; 0]);
        // With the other channel's signature, the shop's webhook endpoint refuses it.
        assert_eq!(t.shop.deliver_bytes(unsend, Some(&signature)).await.status, 401);
        assert_eq!(t.traces("MARK-MINE").await?, ["revision.content × 1"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsends_of_a_hundred_thousand_unknown_ids_cost_a_tombstone_and_a_record_each_and_no_message()
 {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let id = aoi.id().to_owned();
        const BODIES: i64 = 1_000;
        // Eight connections, like LINE's, each with its own bodies.
        let sending = (0..8).map(|lane| {
            let (shop, id) = (t.shop.clone(), id.clone());
            tokio::spawn(async move {
                for body in (lane..BODIES).step_by(8) {
                    let events: Vec<Event> = (0..100)
                        .map(|n| {
                            Event::raw(&format!(
                                r#"{{"type":"unsend","unsend":{{"messageId":"77{body:04}{n:03}"}},"webhookEventId":"01U{body:04}{n:03}","timestamp":{},"source":{{"type":"user","userId":"{id}"}},"mode":"active"}}"#,
                                start().timestamp_millis()
                            ))
                        })
                        .collect();
                    assert_eq!(shop.deliver(&events).await.status, 200);
                    if body % 50 == 0 {
                        assert_eq!(shop.deliver(&events).await.status, 200, "again");
                    }
                }
            })
        });
        let sending: Vec<_> = sending.collect();
        let ben = t.shop.user("Ben");
        let mut meanwhile = 0;
        while !sending.iter().all(|lane| lane.is_finished()) {
            ben.sends_text("meanwhile").await?;
            meanwhile += 1;
        }
        for lane in sending {
            lane.await?;
        }
        let ids = 100 * BODIES;
        assert_eq!(tombstones(t).await?, ids);
        assert_eq!(t.count("select count(*) from erasure where rows_erased = 0 and objects_gone_at is not null").await?, ids);
        assert_eq!(t.count("select count(*) from message").await?, meanwhile);
        assert!(meanwhile > 0);
        let bytes = t.count("select pg_total_relation_size('message_ref') + pg_total_relation_size('erasure')").await?;
        assert!(bytes / ids < 1024, "{} bytes each", bytes / ids);
        Ok(())
    })
    .await;
}

/// The race that brings messages back if a writer only checks for a tombstone and then writes. Two replicas, so that
/// message and unsend are in different transactions at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_messages_unsent_at_the_same_moment_none_comes_back() {
    run(async |t| {
        let replica = t.replica().await?;
        let aoi = t.shop.user("Aoi");
        let there = t.line.channel("unused");
        there.webhook_to(&replica.webhook_url("shop"));
        const PAIRS: usize = 10_000;
        const AT_ONCE: usize = 64;
        let mut pairs: Vec<(Event, Event)> = (0..PAIRS)
            .map(|n| {
                let text = aoi.sends_text(&format!("RACE-{n}")).make();
                let unsend = aoi.unsends(&text).make();
                (text, unsend)
            })
            .collect();
        while !pairs.is_empty() {
            let some = pairs.split_off(pairs.len().saturating_sub(AT_ONCE));
            let both = some.into_iter().enumerate().map(|(n, (text, unsend))| {
                let (shop, there) = (t.shop.clone(), there.clone());
                tokio::spawn(async move {
                    let (message, unsend) = (shop.signed(&[text]), shop.signed(&[unsend]));
                    let (here, away) = if n % 2 == 0 {
                        (&shop, &there)
                    } else {
                        (&there, &shop)
                    };
                    tokio::join!(
                        here.deliver_bytes(message.body, Some(&message.signature)),
                        away.deliver_bytes(unsend.body, Some(&unsend.signature)),
                    )
                })
            });
            for pair in both.collect::<Vec<_>>() {
                let (message, unsend) = pair.await?;
                assert_eq!((message.status, unsend.status), (200, 200));
            }
        }
        assert_eq!(t.count("select count(*) from message").await?, 0);
        assert_eq!(t.count("select count(*) from revision").await?, 0);
        assert_eq!(tombstones(t).await?, i64::try_from(PAIRS)?);
        assert_eq!(
            t.count("select count(*) from erasure").await?,
            i64::try_from(PAIRS)?
        );
        replica.stop().await;
        Ok(())
    })
    .await;
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = orders(n - 1);
    shorter
        .iter()
        .flat_map(|order| {
            (0..n).map(move |at| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}

#[tokio::test]
async fn what_was_unsent_is_purged_before_what_went_for_another_cause() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let photo = aoi.sends_image(pictures::photo(1, 64, 64)).await?;
        t.run_jobs().await?;
        let own = "select original_key from attachment union all select preview_key from attachment order by 1";
        let own: Vec<String> = sqlx::query_scalar(own).fetch_all(t.pool()).await?;
        sqlx::query(
            "insert into object (key, state, lease_until, next_attempt_at, created_at)
             select left(k, 2) || '/' || substr(k, 3, 2) || '/' || k, 'purge', '2020-01-01', '2020-01-01', '2020-01-01'
             from (select replace(gen_random_uuid()::text, '-', '') as k from generate_series(1, 300)) many",
        )
        .execute(t.pool())
        .await?;
        aoi.unsends(&photo).await?;
        let now = t.clock.now();
        let mut conn = t.pool().acquire().await?;
        let due = objects::due(&mut conn, 2, now, now).await?;
        let mut due: Vec<String> = due.iter().map(|due| due.key.to_string()).collect();
        due.sort();
        assert_eq!(due, own);
        Ok(())
    })
    .await;
}
