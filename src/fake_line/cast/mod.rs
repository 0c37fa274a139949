//! The demo: eleven people in four languages, two accounts, two groups and a multi-person chat. It first sends the
//! history of the last days, then random events until it is stopped.

mod history;
mod life;
mod lines;
mod people;
mod stage;

use std::time::Duration;

use tokio::select;
use tokio_util::sync::CancellationToken;

use super::Channel;
use people::Cast;
use stage::Stage;

/// Plays the demo on two accounts, a shop in Tokyo and a travel desk in Bangkok. Set their webhook URLs first.
///
/// Sends about five days of history at once, with matching timestamps, then one action about every `pace` until `stop`
/// is cancelled. Redelivers an unacknowledged event up to five times. Sets the platform's time during the history.
pub async fn play(tokyo: &Channel, bangkok: &Channel, pace: Duration, stop: CancellationToken) {
    let cast = Cast::gathered(tokyo, bangkok);
    let mut stage = Stage::new(tokyo.line().clone());
    let acts = async {
        history::tell(&mut stage, &cast).await;
        life::live(&mut stage, &cast, pace).await;
    };
    select! {
        () = acts => {}
        () = stop.cancelled() => {}
    }
}
