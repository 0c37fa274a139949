//! placeholder

pub mod arrival;
mod known;
