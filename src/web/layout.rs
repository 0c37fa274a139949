//! The layout of every signed-in page: navigation bar, who is signed in, theme.

use super::{auth::session::Viewer, preferences::Preferences};

/// The values that the layout's template shows.
pub(super) struct Layout {
    pub(super) login: String,
    pub(super) sees_erasures: bool,
    /// The section that the navigation bar marks.
    pub(super) section: &'static str,
    pub(super) theme: &'static str,
    /// The mark of the live stream from before the page was read; empty: the page is not updated while it is open.
    pub(super) live: String,
}

impl Layout {
    pub(super) fn new(viewer: &Viewer, preferences: &Preferences, section: &'static str) -> Self {
        Self {
            login: viewer.session.login.clone(),
            sees_erasures: viewer.sees_erasures(),
            section,
            theme: preferences.theme,
            live: String::new(),
        }
    }
}
