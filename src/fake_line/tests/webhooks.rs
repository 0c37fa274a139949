//! Tests of the webhooks that the platform sends.

use serde_json::{Value, json};

use super::{Outcome, hook, stage};
use crate::fake_line::{Delivery, sampler, sign};

#[tokio::test]
async fn a_delivery_is_signed_over_its_bytes_and_an_error_if_not_acknowledged() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    let (url, mut told) = hook(|body| {
        if body.ends_with(br#""events":[]}"#) {
            503
        } else {
            200
        }
    })?;
    shop.webhook_to(&url);

    let sent = aoi.sends_text("hi 🤨").await?;
    let received = told.recv().await.ok_or("nothing was told")?;
    assert_eq!(
        received.signature,
        Some(sign(&shop.secret(), &received.body))
    );
    assert_eq!(received.user_agent.as_deref(), Some("LineBotWebhook/2.0"));
    assert_eq!(
        received.content_type.as_deref(),
        Some("application/json; charset=utf-8")
    );
    let body: Value = serde_json::from_slice(&received.body)?;
    assert_eq!(body["destination"], shop.bot_user_id());
    assert_eq!(body["events"], json!([sent.value()]));
    assert_eq!(
        shop.verify().await,
        Delivery {
            status: 503,
            body: "noted".to_owned()
        }
    );

    shop.webhook_to("http://127.0.0.1:1/");
    let refused = aoi
        .sends_text("nobody there")
        .await
        .expect_err("no connection");
    assert_eq!(
        refused.to_string(),
        "the webhook was answered 0 could_not_connect"
    );
    Ok(())
}

#[tokio::test]
async fn a_redelivery_differs_in_is_redelivery_only() -> Outcome {
    let (_line, _shop, aoi) = stage()?;
    let event = aoi.sends_text("hi").make();
    let again = event.redelivered();
    assert_eq!(
        again.json(),
        event
            .json()
            .replace(r#""isRedelivery":false"#, r#""isRedelivery":true"#)
    );
    assert_ne!(again.json(), event.json());
    Ok(())
}

#[tokio::test]
async fn mentions_and_emojis_are_counted_in_utf16_units() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    let ken = shop.user("Ken");
    let draft = aoi
        .sends_text("🤨 @Ken (moon)(moon) @Shop")
        .mentioning("@Ken", &ken)
        .mentioning_bot("@Shop");
    let message = draft
        .emoji("(moon)", "p", "1")
        .emoji("(moon)", "p", "2")
        .make()
        .value()["message"]
        .clone();
    assert_eq!(
        message["mention"]["mentionees"][0],
        json!({"index": 3, "length": 4, "type": "user", "userId": ken.id()})
    );
    let bot = json!({"index": 21, "length": 5, "type": "user", "userId": shop.bot_user_id(), "isSelf": true});
    assert_eq!(message["mention"]["mentionees"][1], bot);
    assert_eq!(message["emojis"][0]["index"], 8);
    assert_eq!(message["emojis"][1]["index"], 14);
    Ok(())
}

#[tokio::test]
async fn edits_keep_the_message_id() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    let aoi = shop.group("Crew", &[&aoi]).member(&aoi);
    let text = aoi.sends_text("nine").make();
    let edit = aoi.edits(&text, "ten").make();
    assert_eq!(
        (edit.message_id(), &edit.value()["type"]),
        (text.message_id(), &json!("messageEdited"))
    );
    assert!(edit.timestamp() > text.timestamp());
    Ok(())
}

#[test]
#[should_panic(expected = "in groups only")]
fn edits_are_told_in_groups_only() {
    let (_line, shop, aoi) = stage().expect("a platform");
    let aoi = shop.room(&[&aoi]).member(&aoi);
    let text = aoi.sends_text("nine").make();
    let _ = aoi.edits(&text, "ten").make();
}

#[test]
fn one_seed_makes_one_history() {
    let history = || {
        let (line, shop, _aoi) = stage().expect("a platform");
        line.at(chrono::DateTime::UNIX_EPOCH);
        sampler::every_kind(&shop)
            .into_iter()
            .map(|signed| signed.body)
            .collect::<Vec<_>>()
    };
    assert_eq!(history(), history());
}
