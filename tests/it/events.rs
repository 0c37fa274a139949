//! Every kind of event is kept with all its fields in its conversation, and no event makes another one fail.

use line_chat_archive::fake_line::{Event, sampler};

use crate::harness::{T, run, start};

/// The raw bytes that are kept for a webhook event id, in any table.
async fn kept(t: &T, webhook_event_id: &str) -> anyhow::Result<Vec<String>> {
    let kept = t.documents().await?;
    Ok(kept
        .into_iter()
        .filter(|(lies, id, _)| lies.ends_with("content") && id == webhook_event_id)
        .map(|(_, _, raw)| String::from_utf8(raw).unwrap())
        .collect())
}

#[tokio::test]
async fn every_kind_of_event_is_kept_byte_for_byte_and_once() {
    run(async |t| {
        let events = sampler::every_event(&t.shop);
        assert!(events.len() > 30, "{} kinds", events.len());
        for event in &events {
            t.deliver(std::slice::from_ref(event)).await?;
            t.shop.redeliver(event).await;
        }
        t.deliver(&events).await?;
        for event in &events {
            let unsent = event.value()["type"] == "unsend";
            let withdrawn = t
                .count("select count(*) from message_ref where unsent_at is not null")
                .await?;
            let raws = kept(t, event.webhook_event_id()).await?;
            if unsent {
                assert!(raws.is_empty() && withdrawn > 0);
            } else if !was_unsent(t, event).await? {
                assert_eq!(raws, [event.json()], "{}", event.value()["type"]);
            }
        }
        Ok(())
    })
    .await;
}

async fn was_unsent(t: &T, event: &Event) -> anyhow::Result<bool> {
    let query =
        "select exists (select from message_ref where message_id = $1 and unsent_at is not null)";
    Ok(sqlx::query_scalar(query)
        .bind(event.message_id())
        .fetch_one(t.pool())
        .await?)
}

#[tokio::test]
async fn odd_events_cost_their_neighbours_nothing() {
    run(async |t| {
        let user = t.shop.user("Aoi");
        let id = user.id();
        let at = start().timestamp_millis();
        let odd = [
            r#"7"#.to_owned(),
            r#""text""#.to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"type":"message","message":{{"type":"text","id":"91","text":"\ud800"}},"webhookEventId":"O1","timestamp":{at},"source":{{"type":"user","userId":"{id}"}}}}"#),
            format!(r#"{{"type":"message","message":{{"type":"text","id":"92","text":"a\u0000b"}},"webhookEventId":"O2","timestamp":{at},"source":{{"type":"user","userId":"{id}"}}}}"#),
            format!(r#"{{"type":"message","message":{{"type":"text","id":"9\u00003","text":"x"}},"webhookEventId":"O\u00003","timestamp":{at},"source":{{"type":"user","userId":"U\u0000"}}}}"#),
            format!(r#"{{"type":"postback","type":"follow","webhookEventId":"O4","timestamp":{at},"source":{{"type":"user","userId":"{id}"}}}}"#),
            r#"{"type":"message"}"#.to_owned(),
            r#"{"type":"message","message":{"type":"hologram","id":"93","rays":[1,2]},"webhookEventId":"O5"}"#.to_owned(),
            r#"{"type":"wormhole","webhookEventId":"O6","timestamp":99999999999999999,"source":{"type":"square"}}"#.to_owned(),
            r#"{"type":"unsend"}"#.to_owned(),
            r#"{"type":"ty\u0000pe","webhookEventId":"O7","timestamp":-1}"#.to_owned(),
            format!(r#"{{"type":"follow","webhookEventId":"{}","timestamp":{at}}}"#, "W".repeat(5000)),
            format!(r#"{{"deep":{}1{}}}"#, "[".repeat(500), "]".repeat(500)),
        ];
        let mut body = vec![user.sends_text("first").make()];
        body.extend(odd.iter().map(|raw| Event::raw(raw)));
        body.push(user.sends_text("last").make());
        t.deliver(&body).await?;
        let all = t
            .count("select (select count(*) from revision) + (select count(*) from event)")
            .await?;
        assert_eq!(all, i64::try_from(body.len())?);
        for raw in &odd {
            assert!(t.keeps(raw.as_bytes()).await?, "{raw}");
        }
        for event in [&body[0], &body[body.len() - 1]] {
            assert_eq!(kept(t, event.webhook_event_id()).await?, [event.json()]);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_hundred_events_of_many_people_in_one_body() {
    run(async |t| {
        let people: Vec<_> = (0..10).map(|n| t.shop.user(&format!("P{n}"))).collect();
        let body: Vec<Event> = (0..100)
            .map(|n| people[n % 10].sends_text(&format!("{n}")).make())
            .collect();
        t.deliver(&body).await?;
        assert_eq!(t.count("select count(*) from message").await?, 100);
        assert_eq!(t.count("select count(*) from conversation").await?, 10);
        assert_eq!(
            t.count("select count(distinct contact_id) from message")
                .await?,
            10
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_body_full_of_tiny_events_is_stored() {
    run(async |t| {
        let nothing = vec![Event::raw("{}"); 100_000];
        acknowledged(t, &nothing).await?;
        let kept = t.documents().await?;
        let kept: Vec<usize> = kept.iter().map(|(_, _, plain)| plain.len()).collect();
        assert_eq!(kept, [3 * nothing.len() + 1], "one list of them all");

        const EVENTS: usize = 2_000;
        let people: Vec<_> = (0..50).map(|n| t.shop.user(&format!("P{n}"))).collect();
        let texts: Vec<Event> = (0..EVENTS)
            .map(|n| people[n % 50].sends_text("x").make())
            .collect();
        acknowledged(t, &texts).await?;
        acknowledged(t, &texts).await?;
        assert_eq!(
            t.count("select count(*) from message").await?,
            i64::try_from(EVENTS)?
        );
        Ok(())
    })
    .await;
}

/// Delivers events as LINE does: again if they were refused, because a busy machine can miss the limit of an answer.
async fn acknowledged(t: &T, events: &[Event]) -> anyhow::Result<()> {
    let mut delivered = t.deliver(events).await;
    for _ in 0..4 {
        if delivered.is_err() {
            delivered = t.deliver(events).await;
        }
    }
    delivered
}

/// An event that PostgreSQL refuses for an unforeseen reason must not make its neighbours fail. A refused message must
/// not be kept with the bytes of unreadable events either, where its unsend would not find it: the delivery is refused
/// instead.
#[tokio::test]
async fn what_the_database_refuses_harms_nobody() {
    run(async |t| {
        for table in ["message", "event"] {
            let curse = format!("alter table {table} add check (kind <> 'cursed')");
            sqlx::query(sqlx::AssertSqlSafe(curse))
                .execute(&mut t.owner().await?)
                .await?;
        }
        let user = t.shop.user("Aoi");
        let event = r#"{"type":"cursed","webhookEventId":"C1"}"#;
        t.deliver(&[
            user.sends_text("before").make(),
            Event::raw(event),
            user.sends_text("after").make(),
        ])
        .await?;
        assert_eq!(t.count("select count(*) from message").await?, 2);
        assert_eq!(
            t.count("select count(*) from event where kind = 'other'")
                .await?,
            1
        );
        assert!(t.keeps(event.as_bytes()).await?);

        let message =
            r#"{"type":"message","message":{"type":"cursed","id":"666"},"webhookEventId":"C2"}"#;
        let body = [
            user.sends_text("before").make(),
            Event::raw(message),
            user.sends_text("after").make(),
        ];
        assert_eq!(t.shop.deliver(&body).await.status, 503);
        assert_eq!(t.count("select count(*) from message").await?, 4);
        assert_eq!(t.count("select count(*) from event").await?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn chats_are_conversations_and_channels_are_apart() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let ken = t.shop.user("Ken");
        let group = t.shop.group("Crew", &[&aoi, &ken]);
        let room = t.shop.room(&[&aoi, &ken]);
        aoi.sends_text("alone").await?;
        group.member(&aoi).sends_text("in the group").await?;
        group.member(&ken).sends_text("too").await?;
        room.member(&aoi).sends_text("in the room").await?;
        let other = t.channel("other").await?;
        let same = other.befriends(&aoi);
        same.sends_text("elsewhere").await?;
        let chats: Vec<(String, String, i64)> = sqlx::query_as(
            "select channel.slug, c.kind, count(*) from message m join conversation c on c.id = m.conversation_id
             join channel on channel.id = c.channel_id and channel.id = m.channel_id group by 1, 2 order by 1, 2",
        )
        .fetch_all(t.pool())
        .await?;
        let chats: Vec<(&str, &str, i64)> = chats.iter().map(|(a, b, n)| (a.as_str(), b.as_str(), *n)).collect();
        assert_eq!(chats, [("other", "user", 1), ("shop", "group", 2), ("shop", "room", 1), ("shop", "user", 1)]);
        assert_eq!(t.count("select count(*) from contact").await?, 3, "Aoi twice: once in each channel");
        assert_eq!(t.count("select count(*) from member where present").await?, 3);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn of_follows_joins_and_leaves_the_largest_timestamp_decides() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let ken = t.shop.user("Ken");
        let group = t.shop.group("Crew", &[&aoi]);
        let follow = aoi.follows().make();
        let unfollow = aoi.unfollows().make();
        let back = aoi.unblocks().make();
        let joined = group.joined(&[&ken]).make();
        let left = group.left(&[&ken]).make();
        let bot_in = group.bot_joins().make();
        let bot_out = group.bot_leaves().make();
        for events in [
            vec![back, follow, unfollow],
            vec![left, joined],
            vec![bot_out, bot_in],
        ] {
            for event in events {
                t.deliver(&[event]).await?;
            }
        }
        assert_eq!(
            t.count("select count(*) from contact where follows")
                .await?,
            1
        );
        assert_eq!(
            t.count("select count(*) from member where present").await?,
            0
        );
        assert_eq!(
            t.count("select count(*) from member where not present")
                .await?,
            1
        );
        assert_eq!(
            t.count("select count(*) from conversation where present is false")
                .await?,
            1
        );
        Ok(())
    })
    .await;
}
