//! Tests of the demo from a webhook endpoint's side.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Outcome, hook};
use crate::fake_line::{FakeLine, cast};

#[tokio::test]
async fn the_play_tells_days_of_history_and_goes_on_until_it_is_stopped() -> Outcome {
    let line = FakeLine::start_seeded(3)?;
    let (tokyo, bangkok) = (line.channel("Shop Tokyo"), line.channel("Bangkok desk"));
    // The endpoint refuses the first delivery of each `memberLeft` event.
    let (url, mut told) = hook(|body| {
        let body = String::from_utf8_lossy(body);
        if body.contains(r#""memberLeft""#) && body.contains(r#""isRedelivery":false"#) {
            503
        } else {
            200
        }
    })?;
    tokyo.webhook_to(&url);
    bangkok.webhook_to(&url);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let play = tokio::spawn(async move {
        cast::play(&tokyo, &bangkok, Duration::ZERO, stopping).await;
    });

    let (mut kinds, mut times, mut redelivered) = (HashSet::new(), Vec::new(), Vec::new());
    while times.len() < 140 {
        let received = told.recv().await.ok_or("the play ended by itself")?;
        let body: Value = serde_json::from_slice(&received.body)?;
        let event = &body["events"][0];
        if event["deliveryContext"]["isRedelivery"] == true {
            redelivered.push(event["type"].clone());
        }
        let kind = event["message"]["type"].as_str().or(event["type"].as_str());
        kinds.extend(kind.map(str::to_owned));
        times.push(event["timestamp"].as_i64().ok_or("no timestamp")?);
    }
    stop.cancel();
    play.await?;

    assert!(times.is_sorted(), "told in the order in which it happened");
    let days = (times[times.len() - 1] - times[0]) / 86_400_000;
    assert_eq!(days, 4);
    assert_eq!(redelivered, ["memberLeft"]);
    for kind in [
        "text", "image", "video", "audio", "file", "location", "sticker", "unsend",
    ] {
        assert!(kinds.contains(kind), "nothing of kind {kind}");
    }
    Ok(())
}
