//! The demo's play: eleven people in four languages, two accounts, two groups and a multi-person chat. First the last
//! days are told, then life goes on until it is stopped.

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

/// Plays on two accounts, a shop in Tokyo and a travel desk in Bangkok, whose webhooks should be set.
///
/// Tells about five days of history at once, with timestamps to match, then lets something happen every `pace` or so
/// until `stop` is cancelled. What isn't acknowledged is redelivered a few times. Moves the platform's time while it
/// tells the history.
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
