//! Files: originals, previews, pictures and exports, with ranges and safe names; the static files of the pages.

pub(in crate::web) mod assets;
pub(in crate::web) mod attachments;
pub(in crate::web) mod fetch;
pub(in crate::web) mod file_name;
pub(in crate::web) mod object;
mod sniff;
