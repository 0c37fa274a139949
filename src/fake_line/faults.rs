//! Injected faults: errors of a network and a busy platform, at the moment that a test chooses.

use tokio::sync::watch;

use super::{line::FakeLine, server::Call};

/// A fault that waits for its call.
pub(super) struct Fault {
    call: Call,
    id: Option<String>,
    times: usize,
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
    /// A `Content-Length` other than the body's length; the connection closes after the body.
    Promising(u64),
    /// The first bytes, and the rest once the gate is open.
    Held(usize, GateKeeper),
}

/// The server's end of a [`Gate`].
#[derive(Clone)]
pub(super) struct GateKeeper {
    pub(super) open: watch::Receiver<bool>,
    pub(super) reached: watch::Sender<bool>,
}

/// Describes a fault: `line.trouble(Call::Content).of(id).times(2).answers(503)`. By default it happens once and for
/// any id. Faults of the same call happen in the order in which they were described.
#[must_use = "say what goes wrong"]
pub struct Trouble {
    line: FakeLine,
    fault: Fault,
}

impl Trouble {
    pub(super) fn with(line: FakeLine, call: Call) -> Self {
        Trouble {
            line,
            fault: Fault {
                call,
                id: None,
                times: 1,
                kind: FaultKind::HangUp,
            },
        }
    }

    /// Limits the fault to this message, user, group or room.
    pub fn of(mut self, id: &str) -> Self {
        self.fault.id = Some(id.to_owned());
        self
    }

    /// The fault happens `times` times.
    pub fn times(mut self, times: usize) -> Self {
        self.fault.times = times;
        self
    }

    /// The fault happens every time.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// The call answers with this status.
    pub fn answers(self, status: u16) {
        self.begins(FaultKind::Status(status));
    }

    /// The connection closes without an answer.
    pub fn hangs_up(self) {
        self.begins(FaultKind::HangUp);
    }

    /// The answer breaks off after `bytes` bytes of its body, fewer than its `Content-Length`.
    pub fn cut_after(self, bytes: usize) {
        self.begins(FaultKind::CutAfter(bytes));
    }

    /// The answer's `Content-Length` is `bytes`, whatever the length of its body.
    pub fn promising(self, bytes: u64) {
        self.begins(FaultKind::Promising(bytes));
    }

    /// The answer pauses after `bytes` bytes of its body until the gate is opened.
    pub fn held_after(self, bytes: usize) -> Gate {
        let ((opener, open), (reached, reaching)) = (watch::channel(false), watch::channel(false));
        self.begins(FaultKind::Held(bytes, GateKeeper { open, reached }));
        Gate { opener, reaching }
    }

    fn begins(mut self, kind: FaultKind) {
        self.fault.kind = kind;
        self.line.world().faults.push(self.fault);
    }
}

/// Holds an answer back. Dropping it opens the gate.
pub struct Gate {
    opener: watch::Sender<bool>,
    reaching: watch::Receiver<bool>,
}

impl Gate {
    /// Waits until an answer is held at the gate: its first bytes have been sent.
    pub async fn reached(&self) {
        // An error means that the platform has stopped, and then no answer will come.
        let _ = self.reaching.clone().wait_for(|reached| *reached).await;
    }

    /// Releases the held answer, and all later ones.
    pub fn open(&self) {
        self.opener.send_replace(true);
    }
}

impl GateKeeper {
    /// Signals that an answer is held, and waits until the gate is opened or dropped.
    pub(super) async fn pass(mut self) {
        self.reached.send_replace(true);
        let _ = self.open.wait_for(|open| *open).await;
    }
}

/// Takes the first fault that matches this call and id.
pub(super) fn take(faults: &mut Vec<Fault>, call: Call, id: &str) -> Option<FaultKind> {
    let matches =
        |fault: &Fault| fault.call == call && fault.id.as_deref().is_none_or(|of| of == id);
    let at = faults.iter().position(matches)?;
    let kind = faults[at].kind.clone();
    faults[at].times = faults[at].times.saturating_sub(1);
    if faults[at].times == 0 {
        faults.remove(at);
    }
    Some(kind)
}
