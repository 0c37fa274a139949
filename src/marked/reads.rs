//! Bounds the reads of one file, so that a file that never answers does not keep all threads.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads of one file at the same time. The next one waits.
const READS_PER_FILE: usize = 8;

/// Number of files above which those that nobody reads any more are removed from memory.
const MOST_FILES: usize = 1024;

/// The reads that are under way. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Reads(Arc<Mutex<HashMap<PathBuf, Arc<Semaphore>>>>);

impl Reads {
    /// Waits until the file at `path` may be read. The permit belongs to the thread that reads, not to the caller, who may
    /// be gone before the thread ends.
    pub async fn enter(&self, path: &Path) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if files.len() >= MOST_FILES {
                // A permit shares the semaphore of its file.
                files.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            let semaphore = files
                .entry(path.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(READS_PER_FILE)));
            Arc::clone(semaphore)
        };
        // The semaphore is never closed.
        semaphore.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_file_that_never_answers_keeps_a_few_reads_waiting_and_no_other_file() {
        let (reads, hung) = (Reads::default(), Path::new("hung"));
        let mut held = vec![];
        for _ in 0..READS_PER_FILE {
            held.push(reads.enter(hung).now_or_never().unwrap());
        }
        assert!(reads.enter(hung).now_or_never().is_none(), "it waits");
        for n in 0..MOST_FILES * 2 {
            let other = n.to_string();
            assert!(reads.enter(Path::new(&other)).now_or_never().is_some());
        }
        assert!(reads.enter(hung).now_or_never().is_none(), "still known");
        assert!(reads.0.lock().unwrap().len() <= MOST_FILES);
        held.pop();
        assert!(reads.enter(hung).now_or_never().is_some());
    }
}
