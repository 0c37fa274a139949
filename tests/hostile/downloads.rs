//! The directory in which Chromium saves files that it does not show.

use std::{collections::HashSet, fs, path::PathBuf};

use anyhow::Context;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{support::browser::Browser, world::PAGE_TIMEOUT};

/// A directory inside an empty one, so that files saved outside of it are noticed.
pub struct Downloads {
    around: TempDir,
}

impl Downloads {
    /// Lets `browser` save files there without asking.
    pub async fn of(browser: &Browser) -> anyhow::Result<Self> {
        let around = TempDir::new()?;
        let downloads = Self { around };
        fs::create_dir_all(downloads.directory())?;
        let told = json!({ "behavior": "allow", "downloadPath": downloads.directory() });
        browser
            .devtools("Browser.setDownloadBehavior", told)
            .await?;
        Ok(downloads)
    }

    fn directory(&self) -> PathBuf {
        self.around.path().join("a/b/c/d/downloads")
    }

    /// Waits until `count` files are complete, and returns their names.
    pub async fn all(&self, count: usize) -> anyhow::Result<HashSet<String>> {
        let deadline = Instant::now() + PAGE_TIMEOUT;
        loop {
            let mut found = HashSet::new();
            for entry in fs::read_dir(self.directory())? {
                let name = entry?.file_name().into_string().ok().context("a name")?;
                found.insert(name);
            }
            // Chromium writes to a temporary file next to the final one.
            let whole = !found
                .iter()
                .any(|name| name.ends_with(".crdownload") || name.starts_with(".org.chromium"));
            if whole && found.len() >= count {
                return Ok(found);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} of {count} files after {PAGE_TIMEOUT:?}: {found:?}",
                found.len()
            );
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    /// Files outside of the directory, but inside the one around it.
    pub fn astray(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut astray = vec![];
        let mut directories = vec![self.around.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if !path.is_dir() {
                    astray.push(path);
                } else if path != self.directory() {
                    directories.push(path);
                }
            }
        }
        Ok(astray)
    }
}
