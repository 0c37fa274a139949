//! Fetching from addresses that strangers chose: pictures, and content that is not LINE's.
//!
//! Such an address may point into our own network. So only public addresses are connected to, checked where the
//! connection is made (a name checked earlier may resolve to something else by then), and nothing leads elsewhere.

mod resolver;
#[cfg(test)]
mod tests;

use std::{error::Error as _, net::IpAddr, time::Duration};

use reqwest::{Client, redirect::Policy};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use self::resolver::{Lookup, NotPublic, PublicOnly};
use super::{Media, address::is_public, miss::Miss};
use crate::{
    line::client::{Content, Trouble},
    records::{jobs::Job, media::Reason},
};

const SIZE: usize = 20 * 1024 * 1024;

/// Where LINE has pictures of people and groups: hosts below this name, and one that its examples name.
/// Source: the profile endpoints in the reference of the Messaging API.
const LINE_BELOW: &str = ".line-scdn.net";
const LINE_HOST: &str = "obs.line-apps.com";

/// How far a fetch may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `https` on port 443 of public addresses only; for pictures of people and groups, of LINE's own hosts.
    Guarded,
    /// Pictures, as [`Reach::Guarded`]; no content that is not LINE's.
    Line,
    /// Nothing.
    Nowhere,
    /// Anything. For a pretend LINE on this machine only.
    Anywhere,
}

/// Who gave an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Giver {
    /// LINE, in a profile or a group's summary.
    Line,
    /// Whoever sent the message.
    Sender,
}

/// What keeps a fetch within its bounds; other ones in tests only.
struct Bounds {
    lookup: Lookup,
    port: u16,
    /// From the first look at the name to a connection with TLS.
    connect: Duration,
    /// Longest silence, before and within an answer.
    silence: Duration,
    /// From the first look at the name to the last byte.
    in_all: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lookup: resolver::system(),
            port: 443,
            connect: Duration::from_secs(3),
            silence: Duration::from_secs(4),
            in_all: Duration::from_secs(10),
        }
    }
}

/// Fetches what is not LINE's: at most 20 MiB within 10 s and without a silence of 4 s, no redirects, no proxy, no credentials.
#[derive(Clone, Debug)]
pub(super) struct External {
    http: Client,
    reach: Reach,
    port: u16,
}

/// What an address answered with.
#[derive(Debug)]
pub(super) struct Fetched {
    /// As declared.
    pub(super) media_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl External {
    pub(super) fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        Self::within(reach, Bounds::default())
    }

    fn within(reach: Reach, bounds: Bounds) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .timeout(bounds.in_all)
            .connect_timeout(bounds.connect)
            .read_timeout(bounds.silence)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy();
        if reach != Reach::Anywhere {
            builder = builder
                .https_only(true)
                .dns_resolver(PublicOnly(bounds.lookup));
        }
        Ok(Self {
            http: builder.build()?,
            reach,
            port: bounds.port,
        })
    }

    /// Fetches `address`, which `giver` gave; `attempts` says how often that was tried, this time included.
    async fn fetch(&self, address: &str, giver: Giver, attempts: i32) -> Result<Fetched, Miss> {
        let url = self.allowed(address, giver).map_err(Miss::Failed)?;
        let response = self.http.get(url).send().await.map_err(miss)?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            404 => return Err(Miss::not_found(attempts)),
            410 => return Err(Miss::Gone(Reason::Gone)),
            408 | 429 | 500.. => return Err(Miss::NotYet(Reason::Trouble)),
            _ => return Err(Miss::Failed(Reason::Rejected)),
        }
        let content = Content::from(response);
        let (media_type, length) = (content.media_type(), content.length());
        if length.is_some_and(|length| length > SIZE as u64) {
            return Err(Miss::Failed(Reason::TooLarge));
        }
        match content.bytes(SIZE).await {
            Ok(Some(bytes)) => Ok(Fetched { media_type, bytes }),
            Ok(None) => Err(Miss::Failed(Reason::TooLarge)),
            Err(Trouble::Timeout) => Err(Miss::NotYet(Reason::Trouble)),
            Err(_) => Err(Miss::NotYet(Reason::Truncated)),
        }
    }

    /// The address, if it may be asked; names are looked at again where they become addresses.
    fn allowed(&self, address: &str, giver: Giver) -> Result<Url, Reason> {
        match (self.reach, giver) {
            (Reach::Nowhere, _) | (Reach::Line, Giver::Sender) => return Err(Reason::Off),
            (Reach::Anywhere, _) => return Url::parse(address).map_err(|_| Reason::Address),
            (Reach::Guarded, _) | (Reach::Line, Giver::Line) => {}
        }
        let url = Url::parse(address).map_err(|_| Reason::Address)?;
        let host = match (url.host().ok_or(Reason::Address)?, giver) {
            (Host::Domain(name), Giver::Line) => name.ends_with(LINE_BELOW) || name == LINE_HOST,
            (_, Giver::Line) => false,
            (Host::Domain(_), Giver::Sender) => true,
            (Host::Ipv4(address), Giver::Sender) => is_public(IpAddr::V4(address)),
            (Host::Ipv6(address), Giver::Sender) => is_public(IpAddr::V6(address)),
        };
        let plain = url.username().is_empty() && url.password().is_none();
        let https = url.scheme() == "https" && url.port_or_known_default() == Some(self.port);
        if host && plain && https {
            Ok(url)
        } else {
            Err(Reason::Address)
        }
    }
}

impl Media {
    /// Fetches `address`, which `giver` gave, for `job`, until `stop`.
    pub(super) async fn fetch_external(
        &self,
        address: &str,
        giver: Giver,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<Fetched, Miss> {
        let fetched = self.external.fetch(address, giver, job.attempts);
        stop.run_until_cancelled(fetched)
            .await
            .ok_or(Miss::Stopped)?
    }
}

fn miss(error: reqwest::Error) -> Miss {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return Miss::Failed(Reason::Address);
        }
        cause = error.source();
    }
    Miss::NotYet(Reason::Trouble)
}
