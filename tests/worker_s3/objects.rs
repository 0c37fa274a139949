//! Objects in S3: written, read, and deleted for good.

use std::ops::Range;

use bytes::Bytes;
use futures_util::TryStreamExt;
use line_chat_archive::{
    marked::{Mark, Marking},
    objects::{Encryption, Error, ObjectKey, Objects, Shard},
};
use url::Url;

use crate::{
    bucket::{Bucket, PLAIN, VERSIONED, access},
    client::Client,
};

async fn write(objects: &Objects, bytes: &[u8]) -> ObjectKey {
    let key = ObjectKey::new();
    let mut writer = objects.put(key).await.unwrap();
    for chunk in bytes.chunks(700_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap();
    key
}

async fn read(objects: &Objects, key: ObjectKey, range: Option<Range<u64>>) -> (u64, Vec<u8>) {
    let (size, body) = objects.get(key, range).await.unwrap();
    let chunks: Vec<Bytes> = body.try_collect().await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.len() <= 64 * 1024));
    (size, chunks.concat())
}

async fn traces(objects: &Objects) -> Vec<ObjectKey> {
    let mut keys: Vec<_> = objects.traces(Shard::WHOLE).try_collect().await.unwrap();
    keys.sort_by_key(ToString::to_string);
    keys
}

#[tokio::test]
async fn what_was_written_is_read_whole_and_by_range() {
    const MIB: usize = 1024 * 1024;
    for name in [PLAIN, VERSIONED] {
        let t = Bucket::within(name).await;
        for size in [0, 1, 5 * MIB, 5 * MIB + 1, 12 * MIB + 345] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let key = write(&t.objects, &bytes).await;
            let whole = size as u64;
            assert_eq!(
                read(&t.objects, key, None).await,
                (whole, bytes.clone()),
                "{size}"
            );
            for range in [
                0..1,
                100..5_000_000,
                2_097_151..2_097_153,
                whole..whole + 1,
                7..whole + 9,
            ] {
                let cut = |at: u64| (at as usize).min(size);
                let part = &bytes[cut(range.start)..cut(range.end)];
                let found = read(&t.objects, key, Some(range.clone())).await;
                assert!(found == (whole, part.to_vec()), "{range:?} of {size}");
            }
            t.objects.purge(key).await.unwrap();
            assert_eq!(t.held().await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_purge_takes_versions_and_markers_of_one_key_and_of_no_other() {
    let t = Bucket::new().await;
    let client = Client::admin().await;
    let kept = write(&t.objects, b"kept").await;
    let key = write(&t.objects, b"first").await;
    let path = format!("/{VERSIONED}/{}/{key}", t.prefix);
    client.send("PUT", &path, "second").await;
    client.send("DELETE", &path, "").await;
    client.send("PUT", &path, "third").await;
    client.send("DELETE", &path, "").await;
    let longer = format!("{path}0");
    client.send("PUT", &longer, "somebody else's").await;
    assert_eq!(t.held().await.len(), 7);
    let listed: Vec<_> = t.objects.list(Shard::WHOLE).try_collect().await.unwrap();
    assert_eq!(listed, [kept], "the other is marked as deleted");
    let mut both = vec![kept, key, key, key, key, key];
    both.sort_by_key(ToString::to_string);
    assert_eq!(traces(&t.objects).await, both);

    t.objects.purge(key).await.unwrap();
    let mut held = t.held().await;
    held.sort();
    let mut left = [format!("Version {kept}"), format!("Version {key}0")];
    left.sort();
    assert_eq!(held, left);
    assert!(matches!(
        t.objects.get(key, None).await,
        Err(Error::NotFound)
    ));
    assert!(!t.objects.has(key).await.unwrap());
    assert!(t.objects.has(kept).await.unwrap());
    assert_eq!(read(&t.objects, kept, None).await.1, b"kept");
}

#[tokio::test]
async fn a_listing_goes_on_past_a_thousand_and_is_the_sum_of_its_shards() {
    let t = Bucket::within(PLAIN).await;
    let client = Client::admin().await;
    for _ in 0..1010 {
        let path = format!("/{PLAIN}/{}/{}", t.prefix, ObjectKey::new());
        client.send("PUT", &path, "x").await;
    }
    let listed: Vec<_> = t.objects.list(Shard::WHOLE).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1010);
    assert_eq!(traces(&t.objects).await.len(), 1010);
    let mut sum = 0;
    for shard in Shard::all() {
        let keys: Vec<_> = t.objects.traces(shard).try_collect().await.unwrap();
        assert!(
            keys.iter()
                .all(|key| key.to_string().starts_with(shard.prefix()))
        );
        sum += keys.len();
    }
    assert_eq!(sum, 1010);
}

#[tokio::test]
async fn a_purge_ends_a_reading_under_way() {
    let t = Bucket::new().await;
    let key = write(&t.objects, &vec![7; 12 << 20]).await;
    let (_, mut body) = t.objects.get(key, None).await.unwrap();
    let mut read = body.try_next().await.unwrap().unwrap().len();
    t.objects.purge(key).await.unwrap();
    let end = loop {
        match body.try_next().await {
            Ok(Some(bytes)) => read += bytes.len(),
            end => break end,
        }
    };
    assert!(matches!(end, Err(Error::NotFound)), "{end:?}");
    assert!(read <= 4 << 20, "{read}");
}

#[tokio::test]
async fn two_prefixes_of_a_bucket_know_nothing_of_each_other() {
    let (one, other) = (Bucket::new().await, Bucket::new().await);
    let key = write(&one.objects, b"mine").await;
    assert!(!other.objects.has(key).await.unwrap());
    other.objects.purge(key).await.unwrap();
    assert!(traces(&other.objects).await.is_empty());
    assert!(one.objects.has(key).await.unwrap());
}

#[tokio::test]
async fn the_encryption_that_is_asked_for_is_asked_of_s3() {
    let t = Bucket::new().await;
    let url = Url::parse(&format!("s3://{VERSIONED}/{}", t.prefix)).unwrap();
    for (encryption, header) in [
        (Encryption::S3, "x-amz-server-side-encryption: aes256"),
        (
            Encryption::Kms("a-key".into()),
            "x-amz-server-side-encryption-aws-kms-key-id: a-key",
        ),
    ] {
        let mut access = access(&t.proxy);
        access.encryption = encryption;
        let objects = Objects::open_with(&url, &access, Marking::Unmarked)
            .await
            .unwrap();
        for size in [1, 6 << 20] {
            let mut writer = objects.put(ObjectKey::new()).await.unwrap();
            let written = writer.write(vec![1; size].into()).await;
            // This server has no key management, so the upload may fail: the test only checks the request's header.
            let _ = (written, writer.finish().await);
        }
        let told = t.proxy.heads("x-amz-server-side-encryption");
        let told = told
            .iter()
            .filter(|head| head.to_lowercase().contains(header));
        assert!(told.count() >= 2, "{header}");
    }
}

#[tokio::test]
async fn nothing_that_reaches_the_bucket_is_shown() {
    let t = Bucket::new().await;
    let shown = format!("{:?} {:?}", t.objects, access(&t.proxy));
    assert!(shown.contains(&t.prefix), "{shown}");
    for secret in [crate::seaweed::KEY, crate::seaweed::SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// A bucket that is made anew under the same name is empty: what is not found there is not gone.
#[tokio::test]
async fn a_bucket_that_has_lost_its_mark_is_not_used() {
    let t = Bucket::new().await;
    let url = Url::parse(&format!("s3://{VERSIONED}/{}", t.prefix)).unwrap();
    let mark = Mark::new("0123", "objects");
    let open = async |marking| Objects::open_with(&url, &access(&t.proxy), marking).await;
    let unmarked = open(Marking::Require(mark.clone())).await;
    assert!(matches!(unmarked, Err(Error::Unmarked(_))));
    let objects = open(Marking::Make(mark.clone())).await.unwrap();
    let other = Mark::new("4567", "objects");
    assert!(open(Marking::Require(other)).await.is_err());
    let key = write(&objects, b"mine").await;
    objects.check().await.unwrap();

    t.objects.purge_named("archive/mark").await.unwrap();
    let absent = ObjectKey::new();
    assert!(matches!(
        objects.purge(absent).await,
        Err(Error::Unmarked(_))
    ));
    assert!(matches!(objects.has(absent).await, Err(Error::Unmarked(_))));
    assert!(matches!(
        objects.get(absent, None).await,
        Err(Error::Unmarked(_))
    ));
    assert!(matches!(
        objects.read_named("keys/1").await,
        Err(Error::Unmarked(_))
    ));
    assert!(objects.has(key).await.unwrap(), "what is there can be read");
    assert!(objects.check().await.is_err());
    assert!(open(Marking::Require(mark)).await.is_err());
}
