//! The check at the start refuses a bucket that cannot be used, or that keeps deleted objects, and says what to change.

use line_chat_archive::{
    marked::Marking,
    objects::{Error, ObjectKey, Objects, S3Settings},
};
use url::Url;

use crate::{
    bucket::{Bucket, PLAIN, access},
    client::Client,
};

async fn opened(url: &str, access: &S3Settings) -> Result<Objects, Error> {
    Objects::open_with(&Url::parse(url).unwrap(), access, Marking::Unmarked).await
}

#[tokio::test]
async fn a_sound_bucket_passes_and_nothing_of_the_probe_stays() {
    for t in [Bucket::new().await, Bucket::within(PLAIN).await] {
        t.objects.check().await.unwrap();
        assert_eq!(t.held().await, [""; 0]);
        assert_eq!(t.objects.under_way(), 0);
    }
}

#[tokio::test]
async fn an_address_or_an_access_that_cannot_be_is_refused() {
    let t = Bucket::new().await;
    let sound = access(&t.proxy);
    for url in [
        "s3:///prefix",
        "s3://bucket:1/x",
        "s3://user@bucket/x",
        "s3://bucket/a?b",
        "s3://bucket/a//b",
        "s3://bucket/a%20b",
    ] {
        let refused = opened(url, &sound).await;
        assert!(matches!(refused, Err(Error::Address)), "{url}: {refused:?}");
    }
    let lacking = |change: fn(&mut S3Settings)| {
        let mut access = sound.clone();
        change(&mut access);
        access
    };
    for (access, word) in [
        (
            lacking(|access| access.access_key_id = None),
            "AWS_ACCESS_KEY_ID",
        ),
        (
            lacking(|access| access.secret_access_key = None),
            "AWS_SECRET_ACCESS_KEY",
        ),
        (lacking(|access| access.endpoint = None), "AWS_REGION"),
        (
            lacking(|access| access.endpoint = Url::parse("ftp://x").ok()),
            "AWS_ENDPOINT",
        ),
    ] {
        let refused = opened("s3://bucket/x", &access).await.unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

#[tokio::test]
async fn a_wrong_secret_and_a_bucket_that_is_none_are_told_apart() {
    let t = Bucket::new().await;
    let url = format!("s3://{PLAIN}/{}", t.prefix);
    let mut wrong = access(&t.proxy);
    wrong.secret_access_key = Some("wrong-secret".to_owned().into());
    let refused = opened(&url, &wrong).await.unwrap().check().await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("AWS_SECRET_ACCESS_KEY"), "{refused}");
    assert!(!refused.contains("wrong-secret"));

    let mut stranger = access(&t.proxy);
    stranger.access_key_id = Some("AKIDNOBODY".to_owned().into());
    let refused = opened(&url, &stranger).await.unwrap().check().await;
    assert!(matches!(refused, Err(Error::BadCredentials)), "{refused:?}");

    let nowhere = opened("s3://no-such-bucket/x", &access(&t.proxy))
        .await
        .unwrap();
    let refused = nowhere.check().await;
    assert!(matches!(refused, Err(Error::NoBucket)), "{refused:?}");

    t.proxy.answers("HTTP/1.1", 0, usize::MAX);
    let silent = t.objects.check().await.unwrap_err().to_string();
    assert!(silent.contains("does not answer"), "{silent}");
}

#[tokio::test]
async fn a_bucket_that_locks_is_refused_and_what_is_locked_is_not_said_to_be_gone() {
    let t = Bucket::within(PLAIN).await;
    let client = Client::admin().await;
    let name = "locking";
    let path = format!("/{name}");
    let enabled = [("x-amz-bucket-object-lock-enabled", "true")];
    let (status, answer) = client.try_send("PUT", &path, &enabled, "").await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let objects = opened(&format!("s3://{name}/x"), &access(&t.proxy))
        .await
        .unwrap();
    objects.check().await.unwrap();

    let key = ObjectKey::new();
    let held = [
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        (
            "x-amz-object-lock-retain-until-date",
            "2099-01-01T00:00:00Z",
        ),
    ];
    let object = format!("{path}/x/{key}");
    let (status, answer) = client
        .try_send("PUT", &object, &held, "locked")
        .await
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    let refused = objects.purge(key).await;
    assert!(
        matches!(refused, Err(Error::PurgeRefused(_))),
        "{refused:?}"
    );
    assert!(objects.has(key).await.unwrap());

    let lock = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                <ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    client
        .send("PUT", &format!("{path}?object-lock="), lock)
        .await;
    let refused = objects.check().await;
    assert!(matches!(refused, Err(Error::Locked)), "{refused:?}");
    assert_eq!(
        client.held(name, "x/").await.len(),
        1,
        "no probe was written"
    );
}

#[tokio::test]
async fn a_key_that_may_not_delete_is_refused_and_told_which_right_it_needs() {
    for (request, right) in [
        ("PUT ", "s3:PutObject"),
        ("HEAD ", "s3:GetObject"),
        ("uploads=", "s3:"),
        ("GET /versioned?uploads", "s3:ListBucketMultipartUploads"),
        ("uploadId=", "s3:AbortMultipartUpload"),
        ("versions", "s3:ListBucketVersions"),
        ("versionId=", "s3:DeleteObjectVersion"),
    ] {
        let t = Bucket::new().await;
        t.proxy.answers(request, 403, usize::MAX);
        let refused = t.objects.check().await.unwrap_err().to_string();
        assert!(refused.contains(right), "{request}: {refused}");
    }
}

#[tokio::test]
async fn that_nothing_is_known_of_locks_is_no_refusal_but_that_s3_is_in_trouble_is() {
    for status in [403, 404, 501] {
        let t = Bucket::new().await;
        t.proxy.answers("object-lock", status, usize::MAX);
        t.objects.check().await.unwrap();
    }
    let t = Bucket::new().await;
    t.proxy.answers("object-lock", 503, usize::MAX);
    let trouble = t.objects.check().await;
    assert!(matches!(trouble, Err(Error::Trouble(..))), "{trouble:?}");
    assert_eq!(t.proxy.heads("object-lock").len(), 3, "it was tried");
    t.proxy.heals();
    t.proxy.answers("object-lock", 503, 2);
    t.objects.check().await.unwrap();
}

/// If a missing bucket looked like an empty keyring, everything under its keys would be given up.
#[tokio::test]
async fn what_is_asked_of_a_bucket_that_is_none_is_a_trouble_and_not_an_absence() {
    let sound = Bucket::new().await;
    let there = sound.objects.read_named("keys/none").await;
    assert!(matches!(there, Ok(None)), "{there:?}");
    let url = Url::parse("s3://vanished/keyring").unwrap();
    let vanished = Objects::open_with(&url, &access(&sound.proxy), Marking::Unmarked)
        .await
        .unwrap();
    let asked = vanished.read_named("keys/none").await;
    assert!(asked.is_err(), "{asked:?}");
    let purged = vanished.purge(ObjectKey::new()).await;
    assert!(purged.is_err(), "nor is it said to be gone");
}
