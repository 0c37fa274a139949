//! HTTP itself: the server, its limits on connections, and what every request and answer has in common.

mod admission;
mod chunked;
mod connection;
mod encoding;
mod exchange;
mod head;
mod limits;
mod refusal;
mod server;
#[cfg(test)]
mod tests;

pub use self::{
    encoding::{compression, refuse_encoded, uncompressed_for_strangers, unguessable},
    exchange::exchange,
    limits::Limits,
    server::run,
};
