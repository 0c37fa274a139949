//! Parses addresses. The errors show how an address is written, which the parsers' own errors do not.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

/// Parses `LISTEN`: an IP address and a port.
///
/// # Errors
/// It has another form.
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

/// Parses the address of a place for objects, keys or copies of the ledger.
pub(super) fn place(text: &str) -> Result<Url, String> {
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
    read.map_err(|_| format!("this is no URL: write it like {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_how_to_write() {
        listen("[::1]:80").expect("an address");
        network(" 10.0.0.0/8 ").expect("a network");
        network("::1").expect("an address");
        place("s3://bucket/prefix").expect("a place");
        let refused = [
            (listen("8080").map(drop), "127.0.0.1:8080"),
            (listen("localhost:8080").map(drop), "127.0.0.1:8080"),
            (network("10.0.0.0/99").map(drop), "10.0.0.0/8"),
            (place("/srv/objects").map(drop), "file:///"),
            (endpoint("s3.example.com").map(drop), "https://s3"),
            (api("").map(drop), "https://api.line.me"),
        ];
        for (refused, words) in refused {
            let said = refused.expect_err(words);
            assert!(said.contains(words), "{said}");
        }
    }
}
