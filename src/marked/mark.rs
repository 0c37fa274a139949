//! The mark of a directory, or of a bucket.

/// The content of a directory's mark: the archive that the directory belongs to, and its purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark of a directory of `archive`, an id, for `purpose`, such as `keyring`.
    #[must_use]
    pub fn new(archive: &str, purpose: &str) -> Self {
        Self(format!("line-chat-archive {archive} {purpose}\n"))
    }

    /// Whether a file's content is this mark. A person who writes it may leave out the end of the line.
    #[must_use]
    pub fn is(&self, content: &str) -> bool {
        content.trim_end() == self.0.trim_end()
    }

    /// The text of the mark, one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}
