//! The bucket of the tests: a directory in the file system.

use std::{
    fs,
    path::{Path, PathBuf},
};

use line_chat_archive::objects::{ObjectKey, Objects};
use url::Url;

pub(crate) struct Bucket {
    pub(crate) objects: Objects,
    dir: tempfile::TempDir,
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::from_directory_path(dir.path().join("objects")).unwrap();
        let objects = Objects::open(&url).await.unwrap();
        Self { objects, dir }
    }

    /// The URL of the bucket, for [`opened`] in another process.
    pub(crate) fn words(&self) -> String {
        let url = Url::from_directory_path(self.dir.path().join("objects")).unwrap();
        url.to_string()
    }

    /// The number of files, including unfinished ones.
    pub(crate) async fn files(&self) -> usize {
        files(self.dir.path()).len()
    }

    /// The number of bytes in unfinished files.
    pub(crate) fn half_written(&self) -> u64 {
        let parts = files(self.dir.path()).into_iter();
        let parts = parts.filter(|path| path.extension().is_some_and(|end| end == "part"));
        parts
            .map(|part| fs::metadata(part).map_or(0, |part| part.len()))
            .sum()
    }

    /// The file of an object.
    pub(crate) fn file_of(&self, key: ObjectKey) -> PathBuf {
        self.dir.path().join("objects").join(key.to_string())
    }

    /// Breaks the bucket: every later operation fails.
    pub(crate) fn breaks(&self) {
        let (place, aside) = (
            self.dir.path().join("objects"),
            self.dir.path().join("aside"),
        );
        fs::rename(&place, &aside).unwrap();
        fs::write(&place, b"in the way").unwrap();
    }

    pub(crate) fn heals(&self) {
        let (place, aside) = (
            self.dir.path().join("objects"),
            self.dir.path().join("aside"),
        );
        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
    }
}

/// Opens the same bucket in another process.
pub(crate) async fn opened(words: &str) -> Objects {
    Objects::open(&Url::parse(words).unwrap()).await.unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}
