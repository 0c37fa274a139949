//! The answers of the webhook endpoint, and the rows that are stored after each answer.

use std::time::Duration;

use line_chat_archive::fake_line::sign;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::harness::{T, run};

async fn stored(t: &T) -> anyhow::Result<i64> {
    t.count("select (select count(*) from message) + (select count(*) from event)")
        .await
}

#[tokio::test]
async fn the_verify_button_is_answered_200_and_leaves_nothing() {
    run(async |t| {
        assert_eq!(t.shop.verify().await.status, 200);
        assert_eq!(stored(t).await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_signed_by_the_channel_is_refused() {
    run(async |t| {
        let body = t
            .shop
            .signed(&[t.shop.user("Aoi").sends_text("x").make()])
            .body;
        let other = t.channel("other").await?;
        for signature in [
            None,
            Some(String::new()),
            Some("!!!".to_owned()),
            Some(sign("not the secret", body.as_bytes())),
            Some(sign(&other.secret(), body.as_bytes())),
            Some(sign(&t.shop.secret(), format!("{body} ").as_bytes())),
        ] {
            let delivery = t
                .shop
                .deliver_bytes(body.clone(), signature.as_deref())
                .await;
            assert_eq!(delivery.status, 401, "{signature:?}");
            assert!(!delivery.body.contains("Aoi"));
        }
        // Even an empty list of events is refused without a signature.
        let empty = r#"{"destination":"U0","events":[]}"#;
        assert_eq!(t.shop.deliver_bytes(empty, None).await.status, 401);
        assert_eq!(stored(t).await?, 0);
        assert_eq!(
            t.shop
                .deliver_bytes(body.clone(), Some(&sign(&t.shop.secret(), body.as_bytes())))
                .await
                .status,
            200
        );
        assert_eq!(stored(t).await?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn two_signatures_are_no_signature() {
    run(async |t| {
        let body = r#"{"destination":"U0","events":[]}"#;
        let good = sign(&t.shop.secret(), body.as_bytes());
        let answer = raw(
            t,
            &format!(
                "POST /webhook/shop HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nx-line-signature: {good}\r\nx-line-signature: {good}\r\n\r\n{body}",
                body.len()
            ),
        )
        .await?;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn signed_but_no_envelope_is_400() {
    run(async |t| {
        for body in [
            "i am not json",
            "{}",
            "[]",
            r#"{"events":7}"#,
            r#"{"events":[{]}"#,
            "",
        ] {
            let signature = sign(&t.shop.secret(), body.as_bytes());
            let delivery = t.shop.deliver_bytes(body, Some(&signature)).await;
            assert_eq!(delivery.status, 400, "{body}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_unknown_channel_is_404_and_a_removed_one_too() {
    run(async |t| {
        t.shop.webhook_to(&t.service.webhook_url("nobody"));
        assert_eq!(t.shop.verify().await.status, 404);
        t.shop.webhook_to(&t.service.webhook_url("shop"));
        assert_eq!(t.shop.verify().await.status, 200);
        let mut db = t.pool().acquire().await?;
        line_chat_archive::records::channels::remove(&mut db, 1, t.clock.now()).await?;
        drop(db);
        t.service.channels.refresh(t.pool()).await?;
        assert_eq!(t.shop.verify().await.status, 404);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_are_valid() {
    run(async |t| {
        let mut db = t.pool().acquire().await?;
        let before = t.shop.signed(&[]);
        let after = t.shop.reissue_secret();
        assert_eq!(
            t.shop.verify().await.status,
            401,
            "the new one is not known yet"
        );
        let later = t.clock.now() + chrono::Duration::seconds(1);
        line_chat_archive::records::channels::add_secret(
            &mut db,
            &t.keyring,
            1,
            &after.into(),
            later,
        )
        .await?;
        t.service.channels.refresh(t.pool()).await?;
        assert_eq!(t.shop.verify().await.status, 200, "the new one");
        let old = t
            .shop
            .deliver_bytes(before.body.clone(), Some(&before.signature))
            .await;
        assert_eq!(old.status, 200, "the old one");
        line_chat_archive::records::channels::drop_old_secrets(&mut db, 1).await?;
        t.service.channels.refresh(t.pool()).await?;
        let old = t
            .shop
            .deliver_bytes(before.body, Some(&before.signature))
            .await;
        assert_eq!(old.status, 401, "dropped");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_body_of_two_mebibytes_is_taken_and_one_byte_more_is_413() {
    run(async |t| {
        let frame = t.shop.signed(&[t.shop.user("Aoi").sends_text("").make()]).body;
        let full = frame.replace(r#""text":"""#, &format!(r#""text":"{}""#, "x".repeat((2 << 20) - frame.len())));
        assert_eq!(full.len(), 2 << 20);
        let signature = sign(&t.shop.secret(), full.as_bytes());
        // A busy machine may not store the body in time; the service then answers 503, and LINE sends it again.
        let mut status = 503;
        for _ in 0..10 {
            status = t.shop.deliver_bytes(full.clone(), Some(&signature)).await.status;
            if status != 503 {
                break;
            }
        }
        assert_eq!(status, 200);
        assert_eq!(stored(t).await?, 1);
        let over = format!("{full} ");
        let answer = raw(t, &format!("POST /webhook/shop HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", over.len())).await?;
        assert!(answer.starts_with("HTTP/1.1 413"), "declared: {answer}");
        let chunk = format!("{:x}\r\n{over}\r\n0\r\n\r\n", over.len());
        let answer = raw(t, &format!("POST /webhook/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}")).await?;
        assert!(answer.starts_with("HTTP/1.1 413"), "undeclared: {answer}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_within_two_seconds() {
    run(async |t| {
        let begun = std::time::Instant::now();
        let answer = raw(
            t,
            "POST /webhook/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        )
        .await?;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(2));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_of_strangers_leave_room_to_an_address_that_has_signed() {
    run(async |t| {
        let frame = t
            .shop
            .signed(&[t.shop.user("Aoi").sends_text("").make()])
            .body;
        let text = format!(r#""text":"{}""#, "x".repeat(100 << 10));
        let large = frame.replace(r#""text":"""#, &text);
        let signature = sign(&t.shop.secret(), large.as_bytes());
        assert_eq!(t.shop.verify().await.status, 200);
        // The service gives up an unfinished body after a moment. A busy machine may miss that moment, hence the
        // retries.
        for _ in 0..20 {
            let unfinished = (0..40).map(|_| stranger(t, 20 << 10));
            let held = futures_util::future::try_join_all(unfinished).await?;
            let before = answer_to_stranger(t).await?;
            let known = t.shop.deliver_bytes(large.clone(), Some(&signature)).await;
            let after = answer_to_stranger(t).await?;
            drop(held);
            if [before, after]
                .iter()
                .all(|answer| answer.starts_with("HTTP/1.1 503"))
            {
                assert_eq!(known.status, 200, "{}", known.body);
                return Ok(());
            }
        }
        anyhow::bail!("the strangers never held all that they may");
    })
    .await;
}

/// Sends `sent` bytes of a 24 KiB body from an address that never sent a valid signature.
async fn stranger(t: &T, sent: usize) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse()?)?;
    let mut stream = socket.connect(t.service.address).await?;
    let head = "POST /webhook/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 24576\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'x'; sent]).await?;
    Ok(stream)
}

/// The answer to such an address when it sends the whole body.
async fn answer_to_stranger(t: &T) -> anyhow::Result<String> {
    let mut stream = stranger(t, 24 << 10).await?;
    let mut answer = vec![0; 1024];
    let read = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_it_is_503_in_time_and_well_again_after() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("before").await?;
        // While the lock is held, the database cannot do any write of this delivery.
        let mut lock = t.pool().begin().await?;
        sqlx::query("lock table message_ref in access exclusive mode")
            .execute(&mut *lock)
            .await?;
        let text = aoi.sends_text("meanwhile").make();
        let begun = std::time::Instant::now();
        let refused = t.shop.deliver(std::slice::from_ref(&text)).await;
        assert_eq!(refused.status, 503);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        lock.rollback().await?;
        assert_eq!(t.shop.redeliver(&text).await.status, 200);
        assert_eq!(stored(t).await?, 2);
        Ok(())
    })
    .await;
}

/// Sends raw bytes and reads the head of the answer.
async fn raw(t: &T, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(t.service.address).await?;
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = vec![0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}
