//! Authentication and roles: passwords, sessions, the rate limit of sign-ins, and the log of security events.

pub(in crate::web) mod device;
pub(in crate::web) mod ended_tokens;
pub(in crate::web) mod ends;
pub(in crate::web) mod gate;
pub(in crate::web) mod login;
pub mod password;
pub mod security_log;
pub(in crate::web) mod session;
pub(in crate::web) mod setup;
pub(in crate::web) mod throttle;
pub(in crate::web) mod token;
