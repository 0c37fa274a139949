use std::fs;

use futures_util::TryStreamExt;
use url::Url;

use super::*;
use crate::objects::Objects;

async fn bucket() -> (tempfile::TempDir, Objects) {
    let dir = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(dir.path().join("objects")).unwrap();
    let objects = Objects::open(&url).await.unwrap();
    (dir, objects)
}

/// Every file below `dir`, finished or not.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

async fn write(objects: &Objects, bytes: &[u8]) -> ObjectKey {
    let key = ObjectKey::new();
    let mut writer = objects.put(key).await.unwrap();
    for chunk in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap();
    key
}

async fn listed(objects: &Objects) -> Vec<ObjectKey> {
    objects.list(Shard::WHOLE).try_collect().await.unwrap()
}

async fn read(objects: &Objects, key: ObjectKey, range: Option<Range<u64>>) -> (u64, Vec<u8>) {
    let (size, body) = objects.get(key, range).await.unwrap();
    let chunks: Vec<Bytes> = body.try_collect().await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.len() as u64 <= CHUNK));
    (size, chunks.concat())
}

#[tokio::test]
async fn what_was_written_is_read_whole_and_by_range() {
    let (_dir, objects) = bucket().await;
    let bytes: Vec<u8> = (0..250_000_u32).map(|n| (n % 251) as u8).collect();
    let key = write(&objects, &bytes).await;

    assert_eq!(read(&objects, key, None).await, (250_000, bytes.clone()));
    for (range, part) in [
        (0..1, &bytes[..1]),
        (65_535..65_537, &bytes[65_535..65_537]),
        (100_000..230_000, &bytes[100_000..230_000]),
        (249_999..900_000, &bytes[249_999..]),
        (250_000..250_001, &[][..]),
        (900_000..900_001, &[][..]),
    ] {
        let name = format!("{range:?}");
        assert_eq!(
            read(&objects, key, Some(range)).await,
            (250_000, part.to_vec()),
            "{name}"
        );
    }
    assert_eq!(listed(&objects).await, [key]);
}

#[tokio::test]
async fn a_half_written_object_is_none_and_leaves_no_file() {
    let (dir, objects) = bucket().await;
    let key = ObjectKey::new();
    let mut writer = objects.put(key).await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    assert!(matches!(objects.get(key, None).await, Err(Error::NotFound)));
    assert_eq!(listed(&objects).await, []);
    assert_eq!(files(dir.path()).len(), 1);

    drop(writer);
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_purge_takes_the_object_and_a_write_under_way() {
    let (dir, objects) = bucket().await;
    let kept = write(&objects, b"kept").await;
    let key = write(&objects, b"gone").await;
    let half = ObjectKey::new();
    let mut writer = objects.put(half).await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    let mut traces: Vec<_> = objects.traces(Shard::WHOLE).try_collect().await.unwrap();
    traces.sort_by_key(ToString::to_string);
    let mut all = [kept, key, half];
    all.sort_by_key(ToString::to_string);
    assert_eq!(traces, all);
    assert_eq!(objects.under_way(), 4);

    objects.purge(key).await.unwrap();
    objects.purge(half).await.unwrap();
    objects.purge(ObjectKey::new()).await.unwrap();
    assert_eq!(listed(&objects).await, [kept]);
    assert_eq!(files(dir.path()).len(), 1);

    writer.write(Bytes::from_static(b"more")).await.unwrap();
    assert!(matches!(writer.finish().await, Err(Error::NotFound)));
    assert_eq!(files(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_purge_ends_a_reading_under_way() {
    let (_dir, objects) = bucket().await;
    let key = write(&objects, &vec![7; 300_000]).await;
    let (_, mut body) = objects.get(key, None).await.unwrap();
    assert!(body.try_next().await.unwrap().is_some());
    objects.purge(key).await.unwrap();
    assert!(matches!(body.try_next().await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_key_is_written_once() {
    let (_dir, objects) = bucket().await;
    let key = ObjectKey::new();
    let first = objects.put(key).await.unwrap();
    assert!(objects.put(key).await.is_err());
    first.finish().await.unwrap();
    assert_eq!(read(&objects, key, None).await, (0, Vec::new()));
}

#[tokio::test]
async fn the_probe_tells_a_sound_bucket_from_a_broken_one() {
    let (dir, objects) = bucket().await;
    objects.check().await.unwrap();
    assert!(files(dir.path()).is_empty());

    fs::remove_dir_all(dir.path().join("objects")).unwrap();
    fs::write(dir.path().join("objects"), b"no directory").unwrap();
    assert!(objects.check().await.is_err());
}

#[tokio::test]
async fn only_an_absolute_directory_is_opened() {
    for address in ["https://example.com/x", "file://host/dir"] {
        let opened = Objects::open(&Url::parse(address).unwrap()).await;
        assert!(matches!(opened, Err(Error::Address)), "{address}");
    }
}

#[tokio::test]
async fn the_shards_are_together_what_the_whole_is() {
    let (_dir, objects) = bucket().await;
    for _ in 0..40 {
        write(&objects, b"x").await;
    }
    let mut keys = Vec::new();
    for shard in Shard::all() {
        let within: Vec<_> = objects.list(shard).try_collect().await.unwrap();
        assert!(
            within
                .iter()
                .all(|key| key.to_string().starts_with(shard.prefix()))
        );
        keys.extend(within);
    }
    let mut whole = listed(&objects).await;
    whole.sort_by_key(ToString::to_string);
    keys.sort_by_key(ToString::to_string);
    assert_eq!(keys, whole);
    assert_eq!(keys.len(), 40);
    for key in keys {
        assert!(objects.has(key).await.unwrap());
    }
    assert!(!objects.has(ObjectKey::new()).await.unwrap());
}

#[tokio::test]
async fn what_is_not_a_file_in_an_objects_place_is_damaged() {
    let (dir, objects) = bucket().await;
    type Plant = fn(&Path);
    let plants: [Plant; 2] = [
        |path| fs::create_dir(path).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ];
    for plant in plants {
        let key = write(&objects, b"bytes").await;
        let path = dir.path().join("objects").join(key.to_string());
        fs::remove_file(&path).unwrap();
        plant(&path);
        let read = objects.get(key, None).await;
        assert!(matches!(read, Err(Error::Corrupt)), "{:?}", read.err());
    }
}
