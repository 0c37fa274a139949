//! Trouble around a delivery: database servers that fail over, rows that others lock, events that come late or are hard
//! to read. A sleep here doesn't wait for a condition: the time is the fault.

use std::time::{Duration, Instant};

use line_chat_archive::{
    fake_line::Event,
    records::{channel_pauses, jobs},
};

use crate::harness::run;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_message_that_is_hard_to_read_goes_with_its_unsend() {
    run(async |t| {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let far = "1e999";
        for (id, odd) in [("667", deep.as_str()), ("668", far)] {
            let message = format!(
                r#"{{"type":"message","message":{{"type":"text","id":"{id}","text":"MARK-POISON","x":{odd}}},"webhookEventId":"D{id}","source":{{"type":"user","userId":"U1"}}}}"#
            );
            t.deliver(&[Event::raw(&message)]).await?;
        }
        assert_eq!(t.traces("MARK-POISON").await?, ["revision.content × 2"]);
        for id in ["667", "668"] {
            let unsend = format!(
                r#"{{"type":"unsend","unsend":{{"messageId":"{id}"}},"webhookEventId":"V{id}","source":{{"type":"user","userId":"U1"}}}}"#
            );
            t.deliver(&[Event::raw(&unsend)]).await?;
        }
        assert_eq!(t.traces("MARK-POISON").await?, [""; 0]);
        Ok(())
    }).await;
}

#[tokio::test]
async fn an_unsend_is_not_acknowledged_unless_it_is_done() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("MARK-LIVES").await?;
        // Three deadlocks, one after the other.
        sqlx::raw_sql("create sequence tries; create function f() returns trigger language plpgsql as $$ begin if nextval('tries') <= 3 then raise exception using errcode = '40P01'; end if; return new; end $$; create trigger t before insert on erasure for each row execute function f()").execute(&mut t.owner().await?).await?;
        let unsend = aoi.unsends(&text).make();
        let answer = t.shop.deliver(std::slice::from_ref(&unsend)).await;
        let traces = t.traces("MARK-LIVES").await?;
        assert!(answer.status != 200 || traces.is_empty(), "{} {traces:?}", answer.status);
        Ok(())
    }).await;
}

#[tokio::test]
async fn after_a_failover_that_lost_rows_messages_find_their_conversation() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("before").await?;
        sqlx::raw_sql("truncate conversation, contact, message, message_ref, member, job, revision, attachment cascade").execute(&mut t.owner().await?).await?;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").execute(&mut t.owner().await?).await?;
        let text = aoi.sends_text("after").make();
        let mut status = 0;
        for _ in 0..5 {
            status = t.shop.deliver(std::slice::from_ref(&text)).await.status;
            if status == 200 { break; }
        }
        assert_eq!(status, 200);
        let lost = t.count("select count(*) from message m where not exists (select from conversation c where c.id = m.conversation_id)").await?;
        assert_eq!(lost, 0, "acknowledged, in no conversation");
        Ok(())
    }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_503_while_it_waited_is_not_begun() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let mut lock = t.pool().begin().await?;
        sqlx::query("lock table message_ref in access exclusive mode")
            .execute(&mut *lock)
            .await?;
        let first = aoi.sends_text("first").make();
        let many: Vec<Event> = (0..256)
            .map(|n| aoi.sends_text(&format!("{n}")).make())
            .collect();
        let last = aoi.sends_text("GAVE-UP").make();
        let (_, _, gave_up, _) = tokio::join!(
            t.shop.deliver(std::slice::from_ref(&first)),
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                t.shop.deliver(&many).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                t.shop.deliver(std::slice::from_ref(&last)).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(2200)).await;
                lock.rollback().await
            },
        );
        assert_eq!(gave_up.status, 503);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(
            t.traces("GAVE-UP").await?,
            [""; 0],
            "answered 503 long before it was begun"
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_does_not_deadlock_an_unsend() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi
            .sends_image(line_chat_archive::fake_line::pictures::photo(7, 80, 60))
            .await?;
        t.clock.advance(Duration::from_secs(120));
        let now = t.clock.now();
        let channel: i32 = sqlx::query_scalar("select id from channel")
            .fetch_one(t.pool())
            .await?;
        let mut tx = t.pool().begin().await?;
        let job = jobs::claim(
            &mut tx,
            (jobs::Queue::Content, jobs::Order::Newest),
            1,
            now,
            now + Duration::from_secs(60),
        )
        .await?
        .remove(0);
        tx.commit().await?;
        let begun = Instant::now();
        let mut tx = t.pool().begin().await?;
        channel_pauses::refuse_token(&mut tx, channel, now, MINUTE, MINUTE).await?;
        let unsend = aoi.unsends(&photo).make();
        let (answer, worker) = tokio::join!(t.shop.deliver(std::slice::from_ref(&unsend)), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let done = jobs::put_back(&mut tx, &job).await;
            drop(tx);
            done
        },);
        assert!(
            begun.elapsed() < Duration::from_millis(900),
            "{:?}, answered {}, worker {:?}",
            begun.elapsed(),
            answer.status,
            worker.map_err(|e| e
                .as_database_error()
                .and_then(|e| e.code().map(|c| c.into_owned())))
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn two_events_under_one_id_are_both_kept() {
    run(async |t| {
        t.deliver(&[
            Event::raw(r#"{"type":"postback","postback":{"data":"one"},"webhookEventId":"S1","timestamp":1762939200000,"source":{"type":"user","userId":"U1"}}"#),
            Event::raw(r#"{"type":"follow","webhookEventId":"S1","timestamp":1762939200001,"source":{"type":"user","userId":"U2"}}"#),
        ]).await?;
        assert_eq!(t.count("select count(*) from event").await?, 2);
        Ok(())
    }).await;
}

#[tokio::test]
async fn an_unsend_without_a_source_is_heard_where_the_message_was() {
    run(async |t| {
        t.deliver(&[Event::raw(r#"{"type":"message","message":{"type":"text","id":"700","text":"x"},"webhookEventId":"N1","timestamp":1762939200000,"source":{"type":"user","userId":"U1"}}"#)]).await?;
        let mut listener = sqlx::postgres::PgListener::connect_with(t.pool()).await?;
        listener.listen("archive").await?;
        t.deliver(&[Event::raw(r#"{"type":"unsend","unsend":{"messageId":"700"},"webhookEventId":"N2","timestamp":1762939200001}"#)]).await?;
        let heard = listener.recv().await?.payload().to_owned();
        let id: uuid::Uuid = sqlx::query_scalar("select id from conversation where kind = 'user'").fetch_one(t.pool()).await?;
        assert!(heard.contains(&id.to_string()), "{heard}");
        Ok(())
    }).await;
}

#[tokio::test]
async fn an_edit_that_came_first_takes_its_writer_from_the_original() {
    run(async |t| {
        t.deliver(&[Event::raw(r#"{"type":"messageEdited","message":{"type":"text","id":"701","text":"y"},"webhookEventId":"E2","timestamp":1762939200009,"source":{"type":"group","groupId":"C1"}}"#)]).await?;
        t.deliver(&[Event::raw(r#"{"type":"message","message":{"type":"text","id":"701","text":"x"},"webhookEventId":"E1","timestamp":1762939200000,"source":{"type":"group","groupId":"C1","userId":"U1"}}"#)]).await?;
        assert_eq!(t.count("select count(*) from message where contact_id is not null").await?, 1);
        Ok(())
    }).await;
}

#[tokio::test]
async fn late_news_of_a_member_does_not_hide_that_they_are_back() {
    run(async |t| {
        let says = |id: u32, at: i64| Event::raw(&format!(r#"{{"type":"message","message":{{"type":"text","id":"{id}","text":"x"}},"webhookEventId":"M{id}","timestamp":{at},"source":{{"type":"group","groupId":"C1","userId":"U1"}}}}"#));
        t.deliver(&[says(1, 1762939200000)]).await?;
        t.deliver(&[Event::raw(r#"{"type":"memberLeft","left":{"members":[{"type":"user","userId":"U1"}]},"webhookEventId":"L1","timestamp":1762939205000,"source":{"type":"group","groupId":"C1"}}"#)]).await?;
        t.deliver(&[says(2, 1762939203000)]).await?; // came late
        t.deliver(&[says(3, 1762939209000)]).await?; // came back
        assert_eq!(t.count("select count(*) from member where present").await?, 1);
        Ok(())
    }).await;
}

#[tokio::test]
async fn an_edit_under_the_id_of_its_original_is_kept() {
    run(async |t| {
        let say = |kind: &str, text: &str, at: i64| Event::raw(&format!(r#"{{"type":"{kind}","message":{{"type":"text","id":"702","text":"{text}"}},"webhookEventId":"SAME","timestamp":{at},"source":{{"type":"group","groupId":"C1","userId":"U1"}}}}"#));
        t.deliver(&[say("message", "ONE", 1762939200000), say("messageEdited", "TWO", 1762939200009)]).await?;
        assert_eq!(t.count("select count(*) from revision").await?, 2);
        Ok(())
    }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_costs_its_own_conversation_only() {
    run(async |t| {
        let (aoi, ben) = (t.shop.user("Aoi"), t.shop.user("Ben"));
        aoi.sends_text("before").await?;
        ben.sends_text("before").await?;
        let mut held = t.pool().begin().await?;
        sqlx::query("select from conversation where source_id = $1 for update")
            .bind(aoi.id())
            .execute(&mut *held)
            .await?;
        t.clock.advance(Duration::from_secs(1));
        t.line.at(t.clock.now());
        let (mut good, mut bad) = (0, 0);
        let flood = async {
            for n in 0..16 {
                let text = aoi.sends_text(&format!("a{n}")).make();
                let shop = t.shop.clone();
                tokio::spawn(async move { shop.deliver(&[text]).await });
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        };
        let others = async {
            for n in 0..10 {
                let text = ben.sends_text(&format!("b{n}")).make();
                match t.shop.deliver(&[text]).await.status {
                    200 => good += 1,
                    _ => bad += 1,
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::join!(flood, others);
        held.rollback().await?;
        assert_eq!(bad, 0, "{good} of Ben's were stored, {bad} answered 503");
        Ok(())
    })
    .await;
}
