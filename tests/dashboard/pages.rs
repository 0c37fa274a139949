//! Every kind of event is shown, whatever it contains, and nothing in it runs.

use line_chat_archive::fake_line::{Event, sampler};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    site::{Site, between},
    support::visitor::Visitor,
};

const PAYLOAD: &str =
    "\"'><img src=x onerror=alert(1)><script>alert(1)</script>\u{202e}{{7*7}}&lt;";

/// Puts the payload into every field that a person could fill in.
fn poison(value: &mut Value, key: &str) {
    const STRUCTURE: [&str; 15] = [
        "result",
        "type",
        "id",
        "mode",
        "webhookEventId",
        "replyToken",
        "quoteToken",
        "markAsReadToken",
        "userId",
        "groupId",
        "roomId",
        "messageId",
        "quotedMessageId",
        "originalContentUrl",
        "previewImageUrl",
    ];
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, value)| poison(value, key)),
        Value::Array(values) => values.iter_mut().for_each(|value| poison(value, key)),
        Value::String(text) if !STRUCTURE.contains(&key) => text.push_str(PAYLOAD),
        _ => {}
    }
}

/// The tokens in an event: no page may show them, because they grant access.
fn tokens(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
            Value::String(token) if key.ends_with("Token") => found.push(token.clone()),
            value => tokens(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| tokens(value, found)),
        _ => {}
    }
}

async fn every_page(site: &Site, visitor: &Visitor) -> Vec<String> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from conversation")
        .fetch_all(&mut site.db().await)
        .await
        .unwrap();
    let mut pages = vec![
        visitor.page("/conversations").await,
        visitor.page("/erasures").await,
    ];
    for id in ids {
        pages.push(visitor.page(&format!("/conversations/{id}")).await);
    }
    pages
}

fn assert_inert(page: &str) {
    for forbidden in ["<script>", "<img src=x", "\"'>", "\u{202e}"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("<script").count(), 3, "our own three");
    assert_eq!(page.matches("</script").count(), 3);
}

#[tokio::test]
async fn every_kind_is_shown_and_nothing_of_it_runs() {
    let site = Site::new().await;
    let mut secrets = vec![];
    for event in sampler::every_event(&site.shop) {
        let mut value = event.value();
        poison(&mut value, "");
        tokens(&value, &mut secrets);
        let hostile = Event::raw(&value.to_string());
        assert!(site.shop.deliver(&[hostile]).await.acknowledged());
    }
    let evil = site.shop.user(PAYLOAD);
    evil.sets_status(PAYLOAD);
    let group = site.shop.group(PAYLOAD, &[&evil]);
    group.member(&evil).sends_text(PAYLOAD).await.unwrap();
    evil.sends_text(PAYLOAD).await.unwrap();
    site.run_jobs().await;

    let admin = site.admin().await;
    let pages = every_page(&site, &admin).await;
    assert!(pages.len() > 6);
    assert!(secrets.len() > 20);
    for page in &pages {
        assert_inert(page);
        for secret in &secrets {
            assert!(!page.contains(secret.as_str()), "a token");
        }
    }
    let all = pages.concat();
    assert!(
        all.contains("&#60;script&#62;alert(1)"),
        "escaped, and there"
    );
    for shown in [
        "followed the account",
        "followed the account again",
        "blocked the account",
        "The account joined the group",
        "The account left the group",
        "joined",
        "left",
        "sent a postback",
        "watched the video",
        "met a beacon",
        "linked an account",
        "Linking an account failed",
        "membership",
        "LINE Things",
        "Module",
        "Chat control given",
        "Chat control taken",
        "LINE suspended the account",
        "LINE resumed the account",
        "Notification message delivered",
        "Unknown event: greatNewFeature",
        "Unknown message: hologram",
        "message unsent",
        "unsent message",
        "Sticker",
        "Show on a map",
        "voice message",
        "<video",
        "<audio",
        "見積書.pdf",
        "album two",
    ] {
        assert!(all.contains(shown), "{shown}");
    }
}

#[tokio::test]
async fn odd_contents_are_no_errors() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let at = aoi.sends_text("x").make().timestamp();
    let source = format!(
        r#""timestamp":{at},"source":{{"type":"user","userId":"{}"}}"#,
        aoi.id()
    );
    let message = |n: usize, body: &str| {
        Event::raw(&format!(
            r#"{{"type":"message","webhookEventId":"W{n}",{source},"message":{{"id":"{n}",{body}}}}}"#
        ))
    };
    let mut odd: Vec<Event> = [
        r#""type":"text""#,
        r#""type":"text","text":null,"emojis":7,"mention":{"mentionees":[7,null,{"index":-1,"length":9e99}]}"#,
        r#""type":"text","text":"a🤨b","mention":{"mentionees":[{"index":2,"length":1},{"index":1,"length":99}]}"#,
        r#""type":"text","text":"\ud800 lone","emojis":[{"index":0,"length":0}]"#,
        r#""type":"text","text":"nul \u0000 here""#,
        r#""type":"image","contentProvider":null,"imageSet":{"id":"S","index":-4,"total":1e300}"#,
        r#""type":"image","imageSet":{"id":"S","index":18446744073709551615,"total":18446744073709551615}"#,
        r#""type":"location","latitude":1e999,"longitude":"x""#,
        r#""type":"location","latitude":-91.5,"longitude":1000"#,
        r#""type":"file","fileName":["a"],"fileSize":-1"#,
        r#""type":"sticker","keywords":{"a":1},"text":9"#,
        r#""type":"video","duration":99999999999999999999999"#,
        r#""type":7"#,
        r#""type":"""#,
    ]
    .iter()
    .filter(|body| !body.contains("1e999"))
    .enumerate()
    .map(|(n, body)| message(n + 1, body))
    .collect();
    for (n, body) in [
        r#""type":"activated","chatControl":{"expireAt":9223372036854775807}"#,
        r#""type":"activated","chatControl":{"expireAt":-9223372036854775808}"#,
        r#""type":"postback","postback":7"#,
        r#""type":"postback","postback":{"data":{"deep":[1]},"params":[1,2]}"#,
        r#""type":"memberJoined","joined":{"members":[{},7,{"userId":7}]}"#,
        r#""type":"memberLeft""#,
        r#""type":"beacon","beacon":null"#,
        r#""type":"<b>""#,
    ]
    .iter()
    .enumerate()
    {
        odd.push(Event::raw(&format!(
            r#"{{"webhookEventId":"E{n}",{source},{body}}}"#
        )));
    }
    odd.push(Event::raw("[1,2]"));
    for event in &odd {
        assert!(
            site.shop
                .deliver(std::slice::from_ref(event))
                .await
                .acknowledged(),
            "{}",
            event.json()
        );
    }
    let admin = site.admin().await;
    let all = every_page(&site, &admin).await.concat();
    assert!(all.contains("\u{fffd} lone"));
    let entries = between(&all, "<li class=\"", "\" id=\"m-").len();
    assert!(entries >= odd.len() - 2, "{entries} of {}", odd.len());
}

#[tokio::test]
async fn a_conversation_reads_as_it_was_spoken() {
    let site = Site::new().await;
    let (aoi, ken) = (site.shop.user("葵"), site.shop.user("Ken"));
    let group = site.shop.group("Crew", &[&aoi, &ken]);
    let (aoi, ken) = (group.member(&aoi), group.member(&ken));
    let first = aoi
        .sends_text("🤨 @Shop 写真を送りました")
        .mentioning_bot("@Shop")
        .await
        .unwrap();
    ken.sends_text("got it").quoting(&first).await.unwrap();
    let gone = ken.sends_text("SLIP").await.unwrap();
    aoi.sends_text("why?").quoting(&gone).await.unwrap();
    ken.sends_text("elsewhere").quoting_id("404").await.unwrap();
    ken.unsends(&gone).await.unwrap();
    aoi.edits(&first, "second form").await.unwrap();
    aoi.edits(&first, "third form").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let id: Uuid = site
        .one("select id from conversation where kind = 'group'")
        .await;
    let page = admin.page(&format!("/conversations/{id}")).await;
    let thread = page.split("id=\"thread\"").nth(1).unwrap();
    assert!(!page.contains("SLIP"));
    assert!(thread.contains("unsent message"));
    assert!(thread.contains("a message that is not in the archive"));
    assert!(
        thread.contains(r#"<p class="text" dir="auto">third form</p>"#),
        "the newest edit counts"
    );
    assert!(thread.contains("<summary>edited</summary>"));
    assert!(
        thread.contains("second form") && thread.contains(r#"<bdi class="mention me">@Shop</bdi>"#)
    );
    assert!(thread.contains(r#"<p class="text" lang="ja" dir="auto">🤨 "#));
    let quote = between(thread, r#"<a class="quote" href=""#, "</a>")[0];
    assert!(
        quote.contains("third form"),
        "a quote shows the message as it is now"
    );
    let order: Vec<_> = [
        "third form",
        "got it",
        "message unsent",
        "why?",
        "elsewhere",
    ]
    .iter()
    .map(|text: &&str| thread.find(*text).unwrap())
    .collect();
    assert!(order.is_sorted(), "{order:?}");
    let row = page.split("class=\"second\"").nth(1).unwrap();
    assert!(
        row.contains("Ken") && row.contains("elsewhere"),
        "the list tells what was last, and of whom"
    );
}
