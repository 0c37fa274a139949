//! HTTP itself: the server, its limits on connections, and what all requests and responses have in common.

mod admission;
mod chunked;
pub(in crate::web) mod client;
mod connection;
pub(in crate::web) mod cookies;
pub(in crate::web) mod csrf;
mod encoding;
mod exchange;
pub(in crate::web) mod form;
mod head;
pub(in crate::web) mod headers;
mod limits;
pub(in crate::web) mod range;
mod refusal;
mod server;
#[cfg(test)]
mod tests;
pub mod typed;

pub use self::{
    encoding::{compression, refuse_encoded, uncompressed_for_strangers, unguessable},
    exchange::exchange,
    limits::Limits,
    server::run,
};
