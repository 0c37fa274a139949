//! What several test binaries share. Each uses a part of it: one that leaves something unused says
//! `#[expect(dead_code, reason = "…")]` where it declares this module.

pub mod browser;
mod provision;
