//! Fetching from addresses that strangers chose: pictures, and content that is not LINE's.
//!
//! Such an address may point into our own network. So only public addresses are connected to, checked where the
//! connection is made (a name checked earlier may resolve to something else by then), and nothing leads elsewhere.

use std::{
    error::Error as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::{Media, address::is_public, miss::Miss};
use crate::{
    line::client::{Content, Trouble},
    records::{jobs::Job, media::Reason},
};

const IN_ALL: Duration = Duration::from_secs(10);
const SIZE: usize = 20 * 1024 * 1024;

/// How far a fetch may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `https` on port 443 of public addresses only.
    Guarded,
    /// Anything. For a pretend LINE on this machine only.
    Anywhere,
}

/// Fetches what is not LINE's: at most 20 MiB within 10 s, no redirects, no proxy, no credentials.
#[derive(Clone, Debug)]
pub(super) struct External {
    http: Client,
    reach: Reach,
}

/// What an address answered with.
pub(super) struct Fetched {
    /// As declared.
    pub(super) media_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl External {
    pub(super) fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .timeout(IN_ALL)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy();
        if reach == Reach::Guarded {
            builder = builder.https_only(true).dns_resolver(PublicOnly);
        }
        Ok(Self {
            http: builder.build()?,
            reach,
        })
    }

    /// Fetches `address`; `attempts` says how often that was tried, this time included.
    async fn fetch(&self, address: &str, attempts: i32) -> Result<Fetched, Miss> {
        let url = self.allowed(address).ok_or(Miss::Failed(Reason::Address))?;
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

    fn allowed(&self, address: &str) -> Option<Url> {
        let url = Url::parse(address).ok()?;
        if self.reach == Reach::Anywhere {
            return Some(url);
        }
        let public = match url.host()? {
            Host::Domain(_) => true,
            Host::Ipv4(address) => is_public(IpAddr::V4(address)),
            Host::Ipv6(address) => is_public(IpAddr::V6(address)),
        };
        let plain = url.username().is_empty() && url.password().is_none();
        let https = url.scheme() == "https" && url.port_or_known_default() == Some(443);
        (public && plain && https).then_some(url)
    }
}

impl Media {
    /// Fetches `address` for `job`, until `stop`.
    pub(super) async fn fetch_external(
        &self,
        address: &str,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<Fetched, Miss> {
        let fetched = self.external.fetch(address, job.attempts);
        stop.run_until_cancelled(fetched)
            .await
            .ok_or(Miss::Stopped)?
    }
}

/// Resolves names to public addresses only.
struct PublicOnly;

/// The name has addresses, but none outside.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded() -> External {
        let _ = rustls::crypto::ring::default_provider().install_default();
        External::new(Reach::Guarded).unwrap()
    }

    #[test]
    fn only_plain_https_to_the_outside_is_allowed() {
        let guarded = guarded();
        for good in [
            "https://example.com/a?b",
            "https://example.com:443/",
            "https://1.1.1.1/",
        ] {
            assert!(guarded.allowed(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "http://example.com/",
            "https://example.com:8443/",
            "https://user@example.com/",
            "https://:pass@example.com/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "ftp://example.com/",
            "data:text/plain,x",
        ] {
            assert!(guarded.allowed(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_for_good() {
        let refused = guarded().fetch("https://localhost/", 1).await;
        assert!(matches!(refused, Err(Miss::Failed(Reason::Address))));
    }
}
