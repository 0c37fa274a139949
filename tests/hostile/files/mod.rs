//! More than 200 files made to do harm, the same every time.

mod bytes;
mod markup;
mod other;
mod pictures;

/// As what a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Image,
    Video,
    Audio,
    File,
}

/// A file, and what LINE is made to say of it.
pub struct Hostile {
    pub name: String,
    pub sent: Sent,
    /// `Content-Type`, as LINE passes it on.
    pub declared: &'static str,
    pub bytes: Vec<u8>,
}

impl Hostile {
    fn new(name: impl Into<String>, sent: Sent, declared: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            sent,
            declared,
            bytes,
        }
    }
}

/// All of them; what could ask for something asks for `canary`.
pub fn all(canary: &str) -> Vec<Hostile> {
    let script = script(canary);
    [
        pictures::all(&script),
        markup::all(&script, canary),
        other::all(&script, canary),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What shows itself in every way there is if it runs.
fn script(canary: &str) -> String {
    format!(
        "document.documentElement.className='hacked';document.title='hacked';fetch('{canary}');new Image().src='{canary}';top.location='{canary}';alert(1)"
    )
}
