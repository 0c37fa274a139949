//! Tests of the API's answers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Outcome, get, post, stage};
use crate::fake_line::{Call, pictures};

#[tokio::test]
async fn an_unsent_message_is_gone_and_an_unknown_one_not_found() -> Outcome {
    let (line, shop, aoi) = stage()?;
    let photo = aoi.sends_image(pictures::photo(1, 64, 48)).make();
    let path = format!("/v2/bot/message/{}/content", photo.message_id());
    let answer = get(&shop, &path).await?;
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"image/jpeg".parse()?)
    );
    assert!(answer.headers().contains_key("x-line-request-id"));
    let other = line.channel("Other");
    assert_eq!(get(&other, &path).await?.status(), StatusCode::NOT_FOUND);

    let _ = aoi.unsends(&photo).make();
    for path in [
        path.clone(),
        format!("{path}/preview"),
        format!("{path}/transcoding"),
    ] {
        let answer = get(&shop, &path).await?;
        assert_eq!(answer.status(), StatusCode::GONE);
        assert_eq!(answer.text().await?, r#"{"message":"The content is gone"}"#);
    }
    assert_eq!(
        get(&shop, "/v2/bot/message/1/content").await?.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(line.calls(Call::Content, photo.message_id()), 3);
    Ok(())
}

#[tokio::test]
async fn a_video_is_awaited_and_only_pictures_and_videos_have_previews() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    let video = aoi.sends_video(&b"video"[..], 1_000).preparing(2).make();
    let path = format!("/v2/bot/message/{}/content", video.message_id());
    assert_eq!(get(&shop, &path).await?.status(), StatusCode::ACCEPTED);
    assert_eq!(
        get(&shop, &format!("{path}/transcoding"))
            .await?
            .text()
            .await?,
        r#"{"status":"processing"}"#
    );
    assert_eq!(
        get(&shop, &format!("{path}/transcoding"))
            .await?
            .text()
            .await?,
        r#"{"status":"succeeded"}"#
    );
    assert_eq!(get(&shop, &path).await?.bytes().await?, "video");
    assert_eq!(
        get(&shop, &format!("{path}/preview")).await?.headers()["content-type"],
        "image/jpeg"
    );

    let file = aoi.sends_file("a.pdf", &b"%PDF"[..]).make();
    let path = format!("/v2/bot/message/{}/content", file.message_id());
    assert_eq!(
        get(&shop, &format!("{path}/preview")).await?.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        get(&shop, &format!("{path}/transcoding")).await?.status(),
        StatusCode::BAD_REQUEST
    );
    Ok(())
}

#[tokio::test]
async fn a_token_is_asked_for_and_an_old_one_refused() -> Outcome {
    let (line, shop, _aoi) = stage()?;
    let bare = line
        .platform
        .sender
        .get(format!("{}/v2/bot/info", line.url()))
        .send()
        .await?;
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    assert!(
        bare.text()
            .await?
            .starts_with(r#"{"message":"Authentication failed"#)
    );
    let (old, shop_again) = (shop.access_token(), shop.clone());
    shop.reissue_token();
    let with_old = line
        .platform
        .sender
        .get(format!("{}/v2/bot/info", line.url()))
        .bearer_auth(old)
        .send()
        .await?;
    assert_eq!(with_old.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        get(&shop_again, "/v2/bot/info")
            .await?
            .json::<Value>()
            .await?["displayName"],
        "Shop"
    );
    Ok(())
}

#[tokio::test]
async fn who_blocks_has_a_profile_in_groups_only() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    aoi.sets_status("on holiday");
    let group = shop.group("Crew", &[&aoi]);
    let (profile, member) = (
        format!("/v2/bot/profile/{}", aoi.id()),
        format!("/v2/bot/group/{}/member/{}", group.id(), aoi.id()),
    );
    let found = get(&shop, &profile).await?.json::<Value>().await?;
    assert_eq!(
        (&found["displayName"], &found["statusMessage"]),
        (&json!("Aoi"), &json!("on holiday"))
    );
    assert!(found.get("language").is_none(), "absent, not null");
    let _ = aoi.unfollows().make();
    assert_eq!(get(&shop, &profile).await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&shop, &member).await?.status(), StatusCode::OK);
    let _ = group.bot_leaves().make();
    assert_eq!(get(&shop, &member).await?.status(), StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_retry_key_is_good_once_and_a_reply_token_too() -> Outcome {
    let (_line, shop, aoi) = stage()?;
    let key = "123e4567-e89b-12d3-a456-426614174000";
    let push = json!({"to": aoi.id(), "messages": [{"type": "text", "text": "ready"}]});
    let first = post(&shop, "/v2/bot/message/push", push.clone(), Some(key)).await?;
    let request_id = first.headers()["x-line-request-id"].clone();
    let first: Value = first.json().await?;
    let second = post(&shop, "/v2/bot/message/push", push, Some(key)).await?;
    assert_eq!(
        (
            second.status(),
            &second.headers()["x-line-accepted-request-id"]
        ),
        (StatusCode::CONFLICT, &request_id)
    );
    assert_eq!(
        second.json::<Value>().await?["sentMessages"],
        first["sentMessages"]
    );
    assert_eq!(shop.sent_messages().len(), 1);

    let token = aoi.sends_text("hi").make().reply_token().to_owned();
    let reply = json!({"replyToken": token, "messages": [{"type": "text", "text": "hello"}]});
    assert_eq!(
        post(&shop, "/v2/bot/message/reply", reply.clone(), Some(key))
            .await?
            .status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post(&shop, "/v2/bot/message/reply", reply.clone(), None)
            .await?
            .status(),
        StatusCode::OK
    );
    assert_eq!(
        post(&shop, "/v2/bot/message/reply", reply, None)
            .await?
            .status(),
        StatusCode::BAD_REQUEST
    );
    Ok(())
}

#[tokio::test]
async fn trouble_comes_as_described_and_then_ends() -> Outcome {
    let (line, shop, aoi) = stage()?;
    let file = aoi.sends_file("a.bin", vec![7; 100_000]).make();
    let (id, path) = (
        file.message_id(),
        format!("/v2/bot/message/{}/content", file.message_id()),
    );
    line.trouble(Call::Content).of("another").answers(500);
    line.trouble(Call::Content).of(id).times(2).answers(429);
    line.trouble(Call::Content).of(id).hangs_up();
    line.trouble(Call::Content).of(id).cut_after(1_000);
    line.trouble(Call::Content)
        .of(id)
        .with_content_length(100_001);
    let gate = line.trouble(Call::Content).of(id).held_after(1_000);

    for _ in 0..2 {
        assert_eq!(
            get(&shop, &path).await?.status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    assert!(get(&shop, &path).await.is_err(), "no answer");
    for length in ["100000", "100001"] {
        let broken = get(&shop, &path).await?;
        assert_eq!(broken.headers()["content-length"], length);
        assert!(broken.bytes().await.is_err(), "fewer bytes than promised");
    }
    let mut held = get(&shop, &path).await?;
    gate.reached().await;
    assert_eq!(held.chunk().await?.map(|chunk| chunk.len()), Some(1_000));
    gate.open();
    assert_eq!(held.bytes().await?.len(), 99_000);
    assert_eq!(get(&shop, &path).await?.bytes().await?.len(), 100_000);
    Ok(())
}

#[tokio::test]
async fn every_second_request_fails_and_all_are_in_order() -> Outcome {
    let (line, shop, aoi) = stage()?;
    let files = ["a", "b"].map(|name| aoi.sends_file(name, vec![7; 9]).make());
    line.trouble(Call::Content).every_second().answers(404);
    let mut statuses = vec![];
    for file in [&files[0], &files[1], &files[0], &files[0]] {
        let path = format!("/v2/bot/message/{}/content", file.message_id());
        statuses.push(get(&shop, &path).await?.status().as_u16());
    }
    assert_eq!(statuses, [404, 200, 404, 200]);
    let order = line.calls_in_order();
    let asked: Vec<_> = order.iter().map(|(_, id)| id.as_str()).collect();
    let [a, b] = files.each_ref().map(|file| file.message_id());
    assert_eq!(asked, [a, b, a, a]);
    Ok(())
}

#[tokio::test]
async fn unknown_addresses_are_noticed() -> Outcome {
    let (line, shop, _aoi) = stage()?;
    assert_eq!(
        get(&shop, "/v2/bot/nonsense").await?.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(line.unexpected(), ["GET /v2/bot/nonsense"]);
    line.stop().await;
    assert!(get(&shop, "/v2/bot/info").await.is_err(), "nobody there");
    Ok(())
}
