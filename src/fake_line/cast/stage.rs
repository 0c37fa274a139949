//! The demo's clock, its random numbers, and the delivery of its events.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::fake_line::{
    Draft, Event, FakeLine,
    pictures::{self, Scene},
};

/// The limit of redeliveries of an event, and the pause before the first one. Each further pause is twice as long.
const REDELIVERIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Stage {
    line: FakeLine,
    dice: StdRng,
    /// When the demo started, and the time that the history has reached (`None` in the present).
    started_at: DateTime<Utc>,
    past: Option<DateTime<Utc>>,
}

impl Stage {
    pub(super) fn new(line: FakeLine) -> Self {
        let started_at =
            DateTime::from_timestamp_millis(line.world().time.next()).unwrap_or_default();
        Stage {
            line,
            dice: StdRng::seed_from_u64(20),
            started_at,
            past: None,
        }
    }

    /// Sets the time to `hours` hours before the start of the demo.
    pub(super) fn hours_ago(&mut self, hours: f64) {
        self.go_to(self.started_at - TimeDelta::seconds((hours * 3_600.0) as i64));
    }

    /// Ends the history: the platform's time is the real time again.
    pub(super) fn arrive(&mut self) {
        self.past = None;
        self.line.in_real_time();
    }

    /// A random number below `sides`.
    pub(super) fn random_below(&mut self, sides: usize) -> usize {
        self.dice.random_range(0..sides)
    }

    /// Waits between two thirds and four thirds of `pace`.
    pub(super) async fn pause(&mut self, pace: Duration) {
        let share = self.dice.random_range(0.67..1.33);
        sleep(pace.mul_f64(share)).await;
    }

    /// A photo in one of four camera formats. Scaling it takes a while, so it runs on a blocking thread.
    pub(super) async fn photo(&mut self, scene: Scene) -> Bytes {
        let seed = self.dice.random();
        let (width, height) =
            [(1200, 900), (900, 1200), (1200, 675), (1080, 1080)][self.random_below(4)];
        let drawn =
            tokio::task::spawn_blocking(move || pictures::scene(scene, seed, width, height));
        drawn.await.unwrap_or_default()
    }

    /// Delivers the event, with redeliveries and a growing pause until it is acknowledged or the redeliveries are used
    /// up. In the history, it then moves the time forward by 15 to 140 seconds.
    pub(super) async fn tell(&mut self, draft: Draft) -> Event {
        let (channel, event) = (draft.channel.clone(), draft.make());
        let mut delivery = channel.deliver(std::slice::from_ref(&event)).await;
        let mut pause = FIRST_PAUSE;
        for _ in 0..REDELIVERIES {
            if delivery.acknowledged() {
                break;
            }
            sleep(pause).await;
            delivery = channel.redeliver(&event).await;
            pause *= 2;
        }
        if let Some(past) = self.past {
            let meanwhile = TimeDelta::seconds(self.dice.random_range(15..140));
            self.go_to(past + meanwhile);
        }
        event
    }

    fn go_to(&mut self, time: DateTime<Utc>) {
        self.past = Some(time);
        self.line.at(time);
    }
}
