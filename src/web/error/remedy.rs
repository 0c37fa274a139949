//! How a damaged file may come back, and the words of the page that says so.

use std::borrow::Cow;

/// How a damaged file may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The worker looks at it within seconds. If the file is damaged, it is fetched again from where it came.
    Checked,
    /// It is being fetched again, from LINE (true) or from another server (false).
    Fetched { from_line: bool },
    /// LINE (true) or the other server (false) no longer has it, or has refused it for long.
    Restored { from_line: bool },
    /// It is an export: another one can be made.
    MadeAnew,
}

/// The texts of an error's page: title, what happened, what was kept safe, what to do.
pub(super) type Words = (&'static str, Cow<'static, str>, &'static str, &'static str);

impl Remedy {
    /// The texts of the page.
    pub(super) fn words(self) -> Words {
        let what = "The stored file is missing, or is not what was stored.";
        let (kept, next) = match self {
            Self::Checked => (
                "Messages are kept. The archive checks the file now, and fetches it from LINE again if it can.",
                LATER,
            ),
            Self::Fetched { from_line: true } => (
                "Its message is kept. The file is being fetched from LINE again.",
                LATER,
            ),
            Self::Fetched { from_line: false } => (
                "Its message is kept. The file is being fetched from its server again.",
                LATER,
            ),
            Self::Restored { from_line: true } => (
                "Its message is kept. LINE no longer has it, or refuses it.",
                PUT_BACK,
            ),
            Self::Restored { from_line: false } => (
                "Its message is kept. Its server no longer has it, or refuses it.",
                PUT_BACK,
            ),
            Self::MadeAnew => (
                "The data of the export is kept in the archive.",
                "Choose “Make an export” on the page of this person’s requests.",
            ),
        };
        ("This file is damaged", what.into(), kept, next)
    }
}

const LATER: &str =
    "Look again in a few minutes. If it stays like this, give an administrator the id below.";
const PUT_BACK: &str =
    "Tell an administrator: a copy of the file from a backup is noticed within six hours.";
