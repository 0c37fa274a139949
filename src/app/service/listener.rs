//! The service's only listener.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use anyhow::Context;

/// Backlog of the listener: connections that the kernel completes before they are accepted. The kernel may allow fewer
/// (`somaxconn`).
const BACKLOG: i32 = 4096;

/// The lowest port that every account may listen on. Linux can be set to another one
/// (`net.ipv4.ip_unprivileged_port_start`).
const LOWEST_FREE_PORT: u16 = 1024;

/// Binds the service's only listener. Port 0 picks a free one.
///
/// # Errors
/// The address is in use, not one of this machine, or not allowed.
pub fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let cannot = || format!("{listen} cannot be listened on");
    let bound = TcpListener::bind(listen).map_err(|error| match advice(listen, &error) {
        Some(advice) => anyhow::anyhow!("{}: {advice}", cannot()),
        None => anyhow::Error::new(error).context(cannot()),
    });
    let listener = bound?;
    // The standard library asks for a backlog of 128, which a flood fills before LINE's connection is accepted.
    rustix::net::listen(&listener, BACKLOG).with_context(cannot)?;
    Ok(listener)
}

/// The cause of a refused bind and its remedy; `None` if only the system's message says something.
fn advice(listen: SocketAddr, error: &io::Error) -> Option<String> {
    let port = listen.port();
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses it, perhaps another `serve`. Stop that one, or set LISTEN to another port"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied if port < LOWEST_FREE_PORT => format!(
            "only root may listen on ports below {LOWEST_FREE_PORT}. Set LISTEN to a higher port, and let a proxy listen \
             on {port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            let all = if listen.is_ipv4() { "0.0.0.0" } else { "[::]" };
            format!(
                "{} is not an address of this machine. Set LISTEN to one of its addresses, or to {all}:{port} to listen \
                 on all of them",
                listen.ip()
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_listened_on_comes_with_a_remedy() {
        for (address, kind, words) in [
            (
                "127.0.0.1:80",
                io::ErrorKind::PermissionDenied,
                "let a proxy listen on 80",
            ),
            (
                "192.0.2.1:8080",
                io::ErrorKind::AddrNotAvailable,
                "0.0.0.0:8080",
            ),
            (
                "[2001:db8::1]:8080",
                io::ErrorKind::AddrNotAvailable,
                "[::]:8080",
            ),
            (
                "127.0.0.1:8080",
                io::ErrorKind::AddrInUse,
                "another program uses it",
            ),
        ] {
            let address = address.parse().expect(address);
            let advice = advice(address, &kind.into()).expect(words);
            assert!(advice.contains(words), "{address}: {advice}");
        }
        // Not a matter of the port's number: a security module, for example.
        let address = "127.0.0.1:8080".parse().expect("an address");
        assert_eq!(
            advice(address, &io::ErrorKind::PermissionDenied.into()),
            None
        );
    }
}
