//! The commands as a person types them: their output, what they create, and what they leave behind.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod absent;
mod at_once;
mod away;
mod channels;
mod damaged_keyring;
mod database_died;
mod documented;
mod ended;
mod erasures;
mod mistakes;
mod operators;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "the tests of privileges use the rest")]
mod process;
mod script;
mod settings;
mod surroundings;
mod unwritable;
mod waiting;

use process::{Home, Running};

/// Starts a service on a new archive; returns it and the address of its dashboard.
fn archive(home: &Home) -> (Running, String) {
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    let dashboard = serve.says("Dashboard: ");
    (serve, dashboard)
}
