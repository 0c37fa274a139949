//! Injected faults, as the platform's state has them.

use bytes::Bytes;
use tokio::sync::watch;

use super::call::Call;

/// A fault that waits for its call.
pub(super) struct Fault {
    pub(super) call: Call,
    pub(super) id: Option<String>,
    pub(super) times: usize,
    /// Lets every second matching call pass, beginning with the second one.
    pub(super) alternates: bool,
    /// Whether the next matching call passes.
    pub(super) passes: bool,
    pub(super) kind: FaultKind,
}

#[derive(Clone)]
pub(super) enum FaultKind {
    /// Another status, with LINE's message for it.
    Status(u16),
    /// The connection closes before any answer.
    HangUp,
    /// The `Content-Length` of the whole body, its first bytes, then the connection closes.
    CutAfter(usize),
    /// The first bytes of the body, as a complete answer.
    ShortenedTo(usize),
    /// A `Content-Length` other than the body's length; the connection closes after the body.
    Promising(u64),
    /// A complete answer with this `Content-Type` and this body, as from a proxy or a captive portal.
    Replaced(&'static str, Bytes),
    /// A complete answer with this `Content-Encoding` and this body, whatever the request accepts.
    Encoded(&'static str, Bytes),
    /// The first bytes, and the rest once the gate is open.
    Held(usize, GateKeeper),
}

/// The server's end of a [`Gate`](super::Gate).
#[derive(Clone)]
pub(super) struct GateKeeper {
    pub(super) open: watch::Receiver<bool>,
    pub(super) reached: watch::Sender<bool>,
}

impl GateKeeper {
    /// Signals that an answer is held, and waits until the gate is opened or dropped.
    pub(super) async fn pass(mut self) {
        self.reached.send_replace(true);
        let _ = self.open.wait_for(|open| *open).await;
    }
}

/// Takes the first fault that matches this call and id, without those that let this call pass.
pub(super) fn take(faults: &mut Vec<Fault>, call: Call, id: &str) -> Option<FaultKind> {
    let at = faults.iter_mut().position(|fault| {
        let matches = fault.call == call && fault.id.as_deref().is_none_or(|of| of == id);
        let passes = fault.passes;
        if matches {
            fault.passes = fault.alternates && !passes;
        }
        matches && !passes
    })?;
    let kind = faults[at].kind.clone();
    faults[at].times = faults[at].times.saturating_sub(1);
    if faults[at].times == 0 {
        faults.remove(at);
    }
    Some(kind)
}
