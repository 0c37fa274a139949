//! The start of the service: says what it waits for, and gives up a step that goes on without progress.
//!
//! A lock that is held in PostgreSQL, a server that hangs, or a disk that does not answer kept a start waiting for ever,
//! and nothing said so.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::anyhow;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::privileges;
use crate::watchdog::{progress, watch};

/// How long a step may take before the log says what the start waits for, and how often it says so again.
const FIRST_NOTICE: Duration = Duration::from_secs(5);
const NEXT_NOTICE: Duration = Duration::from_secs(30);

/// How long a step may show no progress. A supervisor acts when the process ends.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

tokio::task_local! {
    /// The step that the start of this task is at.
    static STEP: Shared;
}

/// The name of a step, and when it began.
struct Step(String, Instant);

#[derive(Clone)]
struct Shared(Arc<Mutex<Step>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that the start now uses the part `name`, such as `the database`. Outside of [`watched`], this does nothing.
pub fn step(name: impl Into<String>) {
    progress();
    let _ = STEP.try_with(|step| *step.lock() = Step(name.into(), Instant::now()));
}

/// Runs a start. Whenever one of its steps takes long, the log says what it waits for.
///
/// # Errors
/// `work` failed, or one of its steps showed no progress for two minutes.
pub async fn watched<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let step = Shared(Arc::new(Mutex::new(Step(
        "the database".to_owned(),
        Instant::now(),
    ))));
    // A task of its own: it speaks also while a file operation blocks the task of the start.
    let _notices = Notices(tokio::spawn(give_notices(step.clone())));
    let work = STEP.scope(step.clone(), work);
    watch(STEP_TIMEOUT, work).await.unwrap_or_else(|_| {
        let name = privileges::with_real_paths(&step.lock().0);
        Err(anyhow!(
            "the start has waited {} seconds for {name}, and was given up. Everything acknowledged is kept. Look whether {name} \
             answers, then start again",
            STEP_TIMEOUT.as_secs()
        ))
    })
}

/// The task of [`give_notices`], which ends when this is dropped.
struct Notices(JoinHandle<()>);

impl Drop for Notices {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn give_notices(step: Shared) {
    let mut begun = step.lock().1;
    let mut due = begun + FIRST_NOTICE;
    loop {
        sleep_until(due).await;
        let Step(name, since) = &*step.lock();
        if *since == begun {
            tracing::warn!("Waiting for {}", privileges::with_real_paths(name));
            due += NEXT_NOTICE;
        } else {
            begun = *since;
            due = begun + FIRST_NOTICE;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_without_progress_is_given_up_and_named() {
        let begun = Instant::now();
        let work = async {
            step("the database");
            sleep(STEP_TIMEOUT / 2).await;
            step("the keyring");
            pending::<anyhow::Result<()>>().await
        };
        let error = watched(work).await.expect_err("given up").to_string();
        assert!(error.contains("120 seconds for the keyring"), "{error}");
        assert_eq!(begun.elapsed(), STEP_TIMEOUT * 3 / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_shows_progress_may_take_any_time() {
        let work = async {
            for _ in 0..10 {
                sleep(STEP_TIMEOUT * 9 / 10).await;
                progress();
            }
            Ok(())
        };
        watched(work).await.expect("a start");
    }
}
