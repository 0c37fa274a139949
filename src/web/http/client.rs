//! The client's address of a request, also through trusted proxies.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks of trusted proxies: their `X-Forwarded-For` is believed.
#[derive(Clone, Debug)]
pub struct Proxies(Vec<IpNet>);

impl Default for Proxies {
    /// The loopback addresses of this machine.
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
    /// True if an address is that of a trusted proxy.
    pub(in crate::web) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address; `None` if the peer's address is unknown.
    pub(in crate::web) fn client_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let said = request.headers().get_all(FORWARDED_FOR);
        let said: Vec<&str> = said
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        Some(self.client(peer, &said))
    }

    /// True if the request comes from this machine: from loopback without a proxy in between, or through trusted
    /// proxies that all name their client.
    pub(in crate::web) fn is_local(&self, request: &HttpRequest) -> bool {
        let Some(peer) = request.peer_addr() else {
            return false;
        };
        let headers = request.headers();
        // Other headers of proxies do not name the client here, but they show that a proxy passed the request on. So
        // the request is not local if it has `Forwarded`, an `X-Real-IP` other than loopback, or one of the others
        // without `X-Forwarded-For`.
        let real_ip = headers.get("x-real-ip").map(|value| value.to_str().ok());
        let real_ip = real_ip.map(|value| value.and_then(address));
        let elsewhere = real_ip.is_some_and(|ip| ip.is_none_or(|ip| !ip.is_loopback()));
        let passed_on = ["via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"];
        let passed_on = passed_on.iter().any(|name| headers.contains_key(*name));
        if elsewhere
            || headers.contains_key("forwarded")
            || passed_on && !headers.contains_key(FORWARDED_FOR)
        {
            return false;
        }
        let said = headers.get_all(FORWARDED_FOR);
        let said: Vec<&str> = said
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        self.local(peer.ip(), &said)
    }

    fn local(&self, peer: IpAddr, said: &[&str]) -> bool {
        let mut hops = said.iter().flat_map(|value| value.split(','));
        let is_passed_on = !said.is_empty();
        (!is_passed_on || (self.trusts(peer) && hops.all(|hop| address(hop).is_some())))
            && self.client(peer, said).is_loopback()
    }

    /// True if a trusted proxy says that its client uses https, false if it names another scheme; `None` if no trusted
    /// proxy says anything.
    pub(in crate::web) fn says_https(&self, request: &HttpRequest) -> Option<bool> {
        let peer = request.peer_addr()?.ip().to_canonical();
        let believed = self.trusts(peer);
        let said = request.headers().get("x-forwarded-proto");
        let said = said.filter(|_| believed)?.to_str().ok()?;
        Some(said.trim().eq_ignore_ascii_case("https"))
    }

    /// Reads the hops from right to left. Each trusted proxy names its client; the first address that is not trusted is
    /// the client. Everything further left is a claim of that client, and is ignored.
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

/// Parses an address with or without a port.
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
    fn only_who_is_on_this_machine_is_local() {
        let local = |proxies: &[&str], peer: &str, said: &[&str]| {
            let networks = proxies
                .iter()
                .map(|network| network.parse().expect("a network"));
            let proxies = Proxies(networks.collect());
            proxies.local(peer.parse().expect("an address"), said)
        };
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(local(&trusted, peer, &[]), "{peer}");
            assert!(local(&[], peer, &[]), "{peer}: no proxy is between");
        }
        assert!(local(&trusted, "127.0.0.1", &["127.0.0.1"]));
        assert!(local(&trusted, "10.0.0.7", &["::1"]));
        for (proxies, peer, said) in [
            (&trusted[..], "203.0.113.9", &[][..]),
            (&trusted, "10.0.0.7", &[]),
            (&trusted, "127.0.0.1", &["203.0.113.9"]),
            (&trusted, "127.0.0.1", &["127.0.0.1, 203.0.113.9"]),
            (&trusted, "127.0.0.1", &["127.0.0.1", "203.0.113.9"]),
            (&trusted, "127.0.0.1", &["unknown"]),
            (&trusted, "127.0.0.1", &[""]),
            (&trusted, "127.0.0.1", &["203.0.113.9, unknown"]),
            (&trusted, "203.0.113.9", &["127.0.0.1"]),
            (&[], "127.0.0.1", &["127.0.0.1"]),
            (&[], "127.0.0.1", &["203.0.113.9"]),
        ] {
            assert!(!local(proxies, peer, said), "{peer} {said:?}");
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
