//! Who asks: the address a request came from, through proxies that are believed.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

/// Networks whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug)]
pub struct Proxies(Vec<IpNet>);

impl Default for Proxies {
    /// This machine.
    fn default() -> Self {
        let loopback = [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]),
        ];
        Self(loopback.map(IpNet::from).to_vec())
    }
}

impl From<Vec<IpNet>> for Proxies {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }
}

impl Proxies {
    /// True if an address is a proxy's that is believed.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request.
    pub(super) fn client_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let said = request.headers().get_all("x-forwarded-for");
        let said: Vec<&str> = said
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        Some(self.client(peer, &said))
    }

    /// From right to left, each proxy that is believed says who asked it; the first that is not believed is the client,
    /// and what it says itself (everything further left) is its own invention.
    fn client(&self, peer: IpAddr, said: &[&str]) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = said.iter().rev().flat_map(|value| value.rsplit(','));
        while self.trusts(client) {
            match hops.next().and_then(address) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client
    }
}

/// An address, with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse().ok();
    let address = address.or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, said: &[&str]) -> String {
        let networks = proxies
            .iter()
            .map(|network| network.parse().expect("a network"));
        let proxies = Proxies(networks.collect());
        proxies
            .client(peer.parse().expect("an address"), said)
            .to_string()
    }

    #[test]
    fn who_is_not_believed_speaks_for_nobody() {
        let said = ["198.51.100.1"];
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", &said), "203.0.113.9");
        assert_eq!(client(&[], "127.0.0.1", &said), "127.0.0.1");
        let default = Proxies::default();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(default.client(loopback, &said).to_string(), "198.51.100.1");
        let mapped = "::ffff:127.0.0.1".parse().expect("an address");
        assert_eq!(default.client(mapped, &said).to_string(), "198.51.100.1");
    }

    #[test]
    fn of_a_chain_the_right_most_that_is_not_believed_counts_whatever_stands_left_of_it() {
        let proxies = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8:ffff::/48"];
        for said in [
            &["203.0.113.9"][..],
            &["1.2.3.4, 203.0.113.9"],
            &["127.0.0.1, 10.0.0.1, 203.0.113.9"],
            &["1.2.3.4", "5.6.7.8,203.0.113.9 , 10.1.1.1"],
            &["1.2.3.4, 203.0.113.9", "10.1.1.1"],
            &["\u{7f}, 203.0.113.9:4711, 10.1.1.1"],
            &["unknown, ::ffff:203.0.113.9, [2001:db8:ffff::1]:80, 2001:db8:ffff::2"],
        ] {
            assert_eq!(
                client(&proxies, "127.0.0.1", said),
                "203.0.113.9",
                "{said:?}"
            );
        }
    }

    #[test]
    fn what_is_no_address_ends_the_chain_at_the_last_that_is_one() {
        let proxies = ["127.0.0.0/8", "10.0.0.0/8"];
        for said in [
            &[][..],
            &[""],
            &["203.0.113.9, "],
            &["203.0.113.9, unknown"],
            &["203.0.113.9, for=1.2.3.4"],
            &["203.0.113.9, 1.2.3.4.5"],
        ] {
            assert_eq!(client(&proxies, "127.0.0.1", said), "127.0.0.1", "{said:?}");
        }
        assert_eq!(client(&proxies, "127.0.0.1", &["x, 10.0.0.7"]), "10.0.0.7");
        assert_eq!(
            client(&proxies, "127.0.0.1", &["[2001:db8::1]"]),
            "2001:db8::1"
        );
    }
}
