//! Parses addresses. The errors show how an address is written, which the parsers' own errors do not.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

/// Parses `LISTEN`: an IP address and a port.
///
/// # Errors
/// `text` is not an IP address with a port.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port, like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080".to_owned()
    })
}

/// Parses one of `TRUSTED_PROXIES`: a network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| one()).map_err(|_| {
        "write IP addresses and networks with commas between them, like 127.0.0.1,10.0.0.0/8"
            .to_owned()
    })
}

/// Parses the URL of an object store, a keyring or a ledger copy.
pub(super) fn storage_url(text: &str) -> Result<Url, String> {
    url(text, "file:///an/absolute/directory or s3://bucket/prefix")
}

/// Parses `AWS_ENDPOINT`.
pub(super) fn endpoint(text: &str) -> Result<Url, String> {
    url(text, "https://s3.example.com")
}

/// Parses the address of one of LINE's hosts.
pub(super) fn api(text: &str) -> Result<Url, String> {
    url(text, "https://api.line.me")
}

fn url(text: &str, example: &str) -> Result<Url, String> {
    let read = Url::parse(text.trim());
    read.map_err(|_| format!("not a valid URL: write it like {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_the_expected_form() {
        listen("[::1]:80").expect("an address");
        network(" 10.0.0.0/8 ").expect("a network");
        network("::1").expect("an address");
        storage_url("s3://bucket/prefix").expect("a URL");
        let refused = [
            (listen("8080").map(drop), "127.0.0.1:8080"),
            (listen("localhost:8080").map(drop), "127.0.0.1:8080"),
            (network("10.0.0.0/99").map(drop), "10.0.0.0/8"),
            (storage_url("/srv/objects").map(drop), "file:///"),
            (endpoint("s3.example.com").map(drop), "https://s3"),
            (api("").map(drop), "https://api.line.me"),
        ];
        for (refused, form) in refused {
            let message = refused.expect_err(form);
            assert!(message.contains(form), "{message}");
        }
    }
}
