//! Trouble on purpose: what a network and a busy platform do now and then, at the moment a test wants it.

use tokio::sync::watch;

use super::{line::FakeLine, server::Call};

/// Trouble that waits for its call.
pub(super) struct Fault {
    call: Call,
    id: Option<String>,
    times: usize,
    pub(super) kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone)]
pub(super) enum FaultKind {
    /// Another answer, with LINE's words for this status.
    Status(u16),
    /// The connection closes before any answer.
    HangUp,
    /// The right answer's length and its first bytes, then the connection closes.
    CutAfter(usize),
    /// Another length than the bytes have; the connection closes after those.
    Promising(u64),
    /// The first bytes, the others once the gate is open.
    Held(usize, GateKeeper),
}

/// The server's end of a [`Gate`].
#[derive(Clone)]
pub(super) struct GateKeeper {
    pub(super) open: watch::Receiver<bool>,
    pub(super) reached: watch::Sender<bool>,
}

/// Trouble in description: `line.trouble(Call::Content).of(id).times(2).answers(503)`. One time unless said otherwise,
/// for any id unless said otherwise. Troubles for the same call come in the order in which they were described.
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

    /// Only for this message, user, group or room.
    pub fn of(mut self, id: &str) -> Self {
        self.fault.id = Some(id.to_owned());
        self
    }

    /// So many times.
    pub fn times(mut self, times: usize) -> Self {
        self.fault.times = times;
        self
    }

    /// For ever.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// This status is answered.
    pub fn answers(self, status: u16) {
        self.begins(FaultKind::Status(status));
    }

    /// The connection closes without an answer.
    pub fn hangs_up(self) {
        self.begins(FaultKind::HangUp);
    }

    /// The answer breaks off after `bytes` bytes of its body, fewer than its `Content-Length` says.
    pub fn cut_after(self, bytes: usize) {
        self.begins(FaultKind::CutAfter(bytes));
    }

    /// The answer's `Content-Length` is `bytes`, whatever comes.
    pub fn promising(self, bytes: u64) {
        self.begins(FaultKind::Promising(bytes));
    }

    /// The answer stops after `bytes` bytes of its body until the gate is opened.
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

/// Holds an answer back. Dropped, it opens.
pub struct Gate {
    opener: watch::Sender<bool>,
    reaching: watch::Receiver<bool>,
}

impl Gate {
    /// Waits until an answer stands at the gate: its first bytes are on the way.
    pub async fn reached(&self) {
        // An error says that the platform is gone, and then nothing will ever come.
        let _ = self.reaching.clone().wait_for(|reached| *reached).await;
    }

    /// Lets it through, and all that come later.
    pub fn open(&self) {
        self.opener.send_replace(true);
    }
}

impl GateKeeper {
    /// Says that somebody stands here, and waits for the gate to open or to be dropped.
    pub(super) async fn pass(mut self) {
        self.reached.send_replace(true);
        let _ = self.open.wait_for(|open| *open).await;
    }
}

/// Takes the first trouble there is for this call.
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
