//! What stands around every page: the bar, who is signed in, the look.

use super::{look::Look, session::Viewer};

/// The frame of a signed-in page.
pub(super) struct Shell {
    pub(super) login: String,
    pub(super) sees_erasures: bool,
    /// The bar's current place.
    pub(super) place: &'static str,
    pub(super) theme: &'static str,
    /// Where the live stream stood before the page was read; empty: the page does not live.
    pub(super) live: String,
}

impl Shell {
    pub(super) fn new(viewer: &Viewer, look: &Look, place: &'static str) -> Self {
        Self {
            login: viewer.session.login.clone(),
            sees_erasures: viewer.sees_erasures(),
            place,
            theme: look.theme,
            live: String::new(),
        }
    }
}
