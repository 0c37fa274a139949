//! Code that several test binaries share. Each uses a part of it: a binary that leaves something unused writes
//! `#[expect(dead_code, reason = "…")]` where it declares this module.

pub mod balancer;
pub mod browser;
pub mod keys;
mod provision;
pub mod until;
pub mod visitor;
pub mod world;
