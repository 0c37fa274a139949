//! The doors. HTTP and HTML live here and nowhere else.

pub mod webhook;
