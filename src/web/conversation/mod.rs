//! Conversations: the list, the messages, the gallery, and the stream that keeps open pages up to date.

pub(in crate::web) mod cursor;
pub(in crate::web) mod gallery;
pub(in crate::web) mod lang;
pub(in crate::web) mod list;
pub(in crate::web) mod live;
pub(in crate::web) mod names;
pub(in crate::web) mod pages;
pub(in crate::web) mod person;
pub(in crate::web) mod preview;
pub(in crate::web) mod stickers;
pub(in crate::web) mod text;
pub(in crate::web) mod thread;
