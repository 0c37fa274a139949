//! Resolves a name once for each connection, so that the addresses that are checked are those that are connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::super::address::is_public;

/// Looks up the addresses of a name.
pub(super) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|found| found.ip()).collect())
        })
    })
}

/// Resolves names to public addresses only. Each connection looks up its name once and connects to an address of that
/// answer. So a name server that answers differently the next time (DNS rebinding) gains nothing.
pub(super) struct PublicOnly(pub(super) Lookup);

/// The name has addresses, but no public one.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
pub(super) struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        if is_loopback(name.as_str()) {
            return Box::pin(async { Err(NotPublic.into()) });
        }
        let found = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let found = found.await?.into_iter();
            let public: Vec<SocketAddr> = found
                .filter(|found| is_public(*found))
                // `reqwest` replaces port 0 by the port of the URL.
                .map(|found| SocketAddr::new(found, 0))
                .collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether a name is loopback by definition (RFC 6761, 6.3). A machine without `/etc/hosts` would ask a name server for it.
fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next();
    last.is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_asked_for_a_loopback_name() {
        let asked: Lookup = Arc::new(|name| Box::pin(async { Err(io::Error::other(name)) }));
        let resolver = PublicOnly(asked);
        for (name, is_asked) in [
            ("localhost", false),
            ("LocalHost.", false),
            ("x.localhost", false),
            ("localhost.example.com", true),
            ("notlocalhost", true),
        ] {
            let found = resolver.resolve(name.parse().unwrap()).await;
            let error = found.err().expect("no address");
            assert_eq!(error.is::<NotPublic>(), !is_asked, "{name}");
        }
    }
}
