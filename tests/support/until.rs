//! Waits for what another task does.

use std::time::Duration;

/// Yields to other tasks until `condition` holds.
pub async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the condition did not become true in time");
}
