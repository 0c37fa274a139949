//! Fetches from untrusted addresses: pictures, and content that LINE does not host. Such an address may point into our
//! own network (SSRF). So the client connects to public addresses only, and checks them where the connection is made,
//! because a name that was checked earlier may resolve to another address by then. It follows no redirects.

mod resolver;
#[cfg(test)]
mod tests;

use std::{error::Error as _, net::IpAddr, time::Duration};

use reqwest::{Client, redirect::Policy};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use self::resolver::{Lookup, NotPublic, PublicOnly};
use super::{Media, address::is_public, fetch_error::FetchError, page::is_page};
use crate::{
    line::client::{Content, Trouble, as_it_is},
    records::{jobs::Job, media::Reason},
};

const SIZE: usize = 20 * 1024 * 1024;

/// LINE serves the pictures of contacts and groups from hosts below this name, and from one that its examples name.
/// Source: the profile endpoints in the reference of the Messaging API.
const LINE_BELOW: &str = ".line-scdn.net";
const LINE_HOST: &str = "obs.line-apps.com";

/// Which addresses outside LINE's API a fetch may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only `https` on port 443 of public addresses; for pictures of contacts and groups, only LINE's own hosts.
    Guarded,
    /// Pictures as with [`Reach::Guarded`]; no content that LINE does not host.
    Line,
    /// No address.
    Nowhere,
    /// Any address. Only for the fake LINE on this machine.
    Anywhere,
}

/// The origin of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Giver {
    /// LINE, in a profile or a group's summary.
    Line,
    /// The sender of the message.
    Sender,
}

/// Limits of a fetch. Only tests use other values than the default ones.
struct Bounds {
    lookup: Lookup,
    port: u16,
    /// From the lookup of the name to an established TLS connection.
    connect: Duration,
    /// Longest time without a byte, before and within a response.
    silence: Duration,
    /// From the lookup of the name to the last byte.
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

/// Fetches from addresses outside LINE's API: at most 20 MiB, within 10 s, without a silence of 4 s. Follows no
/// redirects, and uses no proxy and no credentials.
#[derive(Clone, Debug)]
pub(super) struct External {
    http: Client,
    reach: Reach,
    port: u16,
}

/// The body of a response with status 200.
#[derive(Debug)]
pub(super) struct Fetched {
    /// As the server declared it.
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
            .default_headers(as_it_is())
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

    /// Fetches `address`, which came from `giver`. `attempts` counts the attempts at this, this one included.
    async fn fetch(
        &self,
        address: &str,
        giver: Giver,
        attempts: i32,
    ) -> Result<Fetched, FetchError> {
        let url = self.allowed(address, giver).map_err(FetchError::Failed)?;
        let response = self.http.get(url).send().await.map_err(fetch_error)?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            404 => return Err(FetchError::doubted(attempts, Reason::NotFound)),
            410 => return Err(FetchError::doubted(attempts, Reason::Gone)),
            408 | 429 | 500.. => return Err(FetchError::NotYet(Reason::Trouble)),
            _ => return Err(FetchError::Failed(Reason::Rejected)),
        }
        let content = Content::from(response);
        if content.is_encoded() {
            return Err(FetchError::NotYet(Reason::NotTheFile));
        }
        let (media_type, length) = (content.media_type(), content.length());
        if length.is_some_and(|length| length > SIZE as u64) {
            return Err(FetchError::Failed(Reason::TooLarge));
        }
        match content.bytes(SIZE).await {
            // Such an address is of a photo, a video or a sound.
            Ok(Some(bytes)) if is_page(media_type.as_deref(), &bytes) => {
                Err(FetchError::NotYet(Reason::NotTheFile))
            }
            Ok(Some(bytes)) => Ok(Fetched { media_type, bytes }),
            Ok(None) => Err(FetchError::Failed(Reason::TooLarge)),
            Err(Trouble::Timeout) => Err(FetchError::NotYet(Reason::Trouble)),
            Err(_) => Err(FetchError::NotYet(Reason::Truncated)),
        }
    }

    /// The parsed address, if this client may fetch it. The resolver checks the addresses of names again when it
    /// resolves them.
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
    /// Fetches `address`, which came from `giver`, for `job`, until `stop`.
    pub(super) async fn fetch_external(
        &self,
        address: &str,
        giver: Giver,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<Fetched, FetchError> {
        let fetched = self.external.fetch(address, giver, job.attempts);
        stop.run_until_cancelled(fetched)
            .await
            .ok_or(FetchError::Stopped)?
    }
}

fn fetch_error(error: reqwest::Error) -> FetchError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return FetchError::Failed(Reason::Address);
        }
        cause = error.source();
    }
    FetchError::NotYet(Reason::Trouble)
}
