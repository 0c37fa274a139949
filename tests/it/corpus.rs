//! Webhook bodies and signatures from LINE's own SDKs. `LINE_CORPUS` names their directory; without it the tests of the
//! corpus do nothing, and only the tests with self-made bodies run.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use line_chat_archive::{
    fake_line::{Event, sign},
    line::signature,
};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::run;

fn corpus() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("LINE_CORPUS")?);
    assert!(
        directory.join("index.tsv").exists(),
        "LINE_CORPUS names no corpus"
    );
    Some(directory)
}

/// The events of a body of the corpus, with new ids: the bodies share theirs.
fn events(body: &Path) -> Option<Vec<Value>> {
    let body: Value = serde_json::from_slice(&std::fs::read(body).ok()?).ok()?;
    let mut events = body["events"].as_array()?.clone();
    for event in &mut events {
        let id = Uuid::now_v7().simple().to_string();
        if event.get("webhookEventId").is_some() {
            event["webhookEventId"] = id.clone().into();
        }
        if event["message"].get("id").is_some() {
            event["message"]["id"] = id.clone().into();
        }
        if event["unsend"].get("messageId").is_some() {
            event["unsend"]["messageId"] = id.into();
        }
    }
    Some(events)
}

#[tokio::test]
async fn every_body_is_accepted_and_every_event_is_found() {
    let Some(corpus) = corpus() else { return };
    run(async |t| {
        let index = std::fs::read_to_string(corpus.join("index.tsv"))?;
        let (mut bodies, mut sent, mut unsends) = (0, 0, 0);
        for path in index
            .lines()
            .skip(1)
            .filter_map(|line| line.split('\t').next())
        {
            let Some(events) = events(&corpus.join(path)) else {
                continue;
            };
            let events: Vec<Event> = events
                .iter()
                .map(|event| Event::raw(&event.to_string()))
                .collect();
            t.deliver(&events).await?;
            bodies += 1;
            for event in &events {
                if event.json().contains(r#""type":"unsend""#) {
                    unsends += 1;
                    continue;
                }
                sent += 1;
                assert!(t.keeps(event.json().as_bytes()).await?, "{path}");
            }
        }
        assert!(
            bodies > 30 && sent > 60 && unsends > 0,
            "{bodies} bodies, {sent} events, {unsends} unsends"
        );
        assert_eq!(t.count("select count(*) from erasure").await?, unsends);
        Ok(())
    })
    .await;
}

#[test]
fn every_signature_vector_is_verified_as_expected() -> anyhow::Result<()> {
    let Some(corpus) = corpus() else {
        return Ok(());
    };
    let vectors = corpus.join("signature-vectors");
    let list: Value = serde_json::from_slice(&std::fs::read(vectors.join("vectors.json"))?)?;
    let list = list.as_array().unwrap();
    assert!(list.len() > 10);
    for vector in list {
        let text = |key: &str| vector[key].as_str().unwrap_or_default();
        let body = std::fs::read(vectors.join(text("body_file")))?;
        let (secret, name) = (text("channel_secret"), text("name"));
        let judged = signature::verify(secret.as_bytes(), &body, text("signature").as_bytes());
        assert_eq!(judged, text("expect") == "valid", "{name}");
        // The fake platform's signer, which shares no code with the verification, agrees with the recomputed signature.
        assert_eq!(sign(secret, &body), text("computed"), "{name}");
    }
    Ok(())
}

/// OpenSSL is a third, independent signer.
#[tokio::test]
async fn a_body_signed_by_openssl_is_accepted() {
    run(async |t| {
        let event = t.shop.user("Aoi").sends_text("絵文字 🤨").make();
        let body = t.shop.signed(&[event]).body;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), &body)?;
        let signed = std::process::Command::new("openssl")
            .args(["dgst", "-sha256", "-binary", "-hmac", &t.shop.secret()])
            .arg(file.path())
            .output()?;
        let signature = STANDARD.encode(signed.stdout);
        assert_eq!(
            t.shop.deliver_bytes(body, Some(&signature)).await.status,
            200
        );
        assert_eq!(t.count("select count(*) from message").await?, 1);
        Ok(())
    })
    .await;
}
