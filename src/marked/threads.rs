//! Runs file operations outside of the async threads.

use std::io;

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Threads that the file operations on one kind of directory may keep at the same time. On a disk that hangs they do not end, and
/// passwords, names of hosts and other disks need threads too.
pub struct Threads(Semaphore);

impl Threads {
    /// So many threads.
    pub const fn new(count: usize) -> Self {
        Self(Semaphore::const_new(count))
    }

    /// Runs `work` once a thread is free. It runs to its end even if the caller is dropped.
    ///
    /// # Errors
    /// `work` panicked, or the process ends.
    pub async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        // The semaphore is never closed.
        let permit = self.0.acquire().await.ok();
        let done = spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await
            .map_err(|_| io::Error::other("the file operation was interrupted"))
    }
}
