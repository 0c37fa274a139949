//! The platform as a whole: starts it, stops it, and answers questions about it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{
    call::Call,
    handles::{Channel, FakeLine},
    platform::Platform,
    server::Server,
    states::ChannelState,
    trouble::Trouble,
    world::World,
};

impl FakeLine {
    /// Starts a platform on a free port of 127.0.0.1, with new identifiers each time.
    ///
    /// # Errors
    /// If no port or no thread is available.
    pub fn start() -> io::Result<Self> {
        Self::start_seeded(rand::random())
    }

    /// Starts a platform whose identifiers follow from `seed`.
    ///
    /// # Errors
    /// If no port or no thread is available.
    pub fn start_seeded(seed: u64) -> io::Result<Self> {
        // reqwest needs a provider even for plain HTTP; an error means that the same provider was already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sender = reqwest::Client::builder()
            .no_proxy()
            .user_agent("LineBotWebhook/2.0")
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let platform = Arc::new(Platform {
            world: Mutex::new(World::seeded(seed)),
            sender,
            url,
        });
        let server = Arc::new(Server::start(listener, Arc::clone(&platform))?);
        Ok(FakeLine { platform, server })
    }

    /// The base URL that replaces both of LINE's hosts, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.platform.url
    }

    /// Closes the port. Later API calls can't connect; the handles still answer questions about the past.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Opens an Official Account with its own secret, access token and bot.
    #[must_use]
    pub fn channel(&self, name: &str) -> Channel {
        let mut world = self.world();
        let channel = ChannelState::new(name, &mut world.ids);
        world.channels.push(channel);
        Channel {
            line: self.clone(),
            index: world.channels.len() - 1,
        }
    }

    /// Stops the platform's time at `time`: the next event happens then, each later one a millisecond after.
    pub fn at(&self, time: DateTime<Utc>) {
        self.world().time.set(Some(time.timestamp_millis()));
    }

    /// Lets the platform's time run with the real one again.
    pub fn in_real_time(&self) {
        self.world().time.set(None);
    }

    /// Puts `bytes` on a host that is not LINE's, and returns the URL: for `external` content.
    #[must_use]
    pub fn elsewhere(&self, bytes: impl Into<Bytes>) -> String {
        format!(
            "{}/external/{}",
            self.url(),
            self.world().add_picture(bytes.into())
        )
    }

    /// The content API honours `Range` from now on. LINE's documentation doesn't say whether it does.
    pub fn honours_range(&self) {
        self.world().honours_range = true;
    }

    /// Begins to describe a fault of the next `call`.
    pub fn trouble(&self, call: Call) -> Trouble {
        Trouble::with(self.clone(), call)
    }

    /// Ends every fault.
    pub fn is_well(&self) {
        self.world().faults.clear();
    }

    /// How often `call` was made for `id`: a message, user, group or room; empty for calls without an id.
    #[must_use]
    pub fn calls(&self, call: Call, id: &str) -> usize {
        let world = self.world();
        let same = |made: &&(Call, String)| made.0 == call && made.1 == id;
        world.calls.iter().filter(same).count()
    }

    /// How often `call` was made, for any id.
    #[must_use]
    pub fn all_calls(&self, call: Call) -> usize {
        let world = self.world();
        world.calls.iter().filter(|(kind, _)| *kind == call).count()
    }

    /// Every call so far with its id, in the order in which the calls came.
    #[must_use]
    pub fn calls_in_order(&self) -> Vec<(Call, String)> {
        self.world().calls.clone()
    }

    /// Requests to paths that LINE doesn't have, as `GET /path`.
    #[must_use]
    pub fn unexpected(&self) -> Vec<String> {
        self.world().unexpected.clone()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.platform.world()
    }
}
