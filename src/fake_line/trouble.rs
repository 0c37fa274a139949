//! Injected faults: errors of a network and a busy platform, at the moment that a test chooses.

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    call::Call,
    faults::{Fault, FaultKind, GateKeeper},
    handles::FakeLine,
};

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
                alternates: false,
                passes: false,
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

    /// The fault happens at every second call: the first of them fails, the second one is answered as usual.
    pub fn every_second(mut self) -> Self {
        self.fault.alternates = true;
        self.always()
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

    /// The answer is complete, but has only the first `bytes` bytes of the body.
    pub fn shortened_to(self, bytes: usize) {
        self.begins(FaultKind::ShortenedTo(bytes));
    }

    /// The answer's `Content-Length` is `bytes`, whatever the length of its body.
    pub fn with_content_length(self, bytes: u64) {
        self.begins(FaultKind::Promising(bytes));
    }

    /// The answer is a 200 with this type and this body, as from a proxy or a captive portal.
    pub fn replaced_by(self, content_type: &'static str, body: impl Into<Bytes>) {
        self.begins(FaultKind::Replaced(content_type, body.into()));
    }

    /// The answer has this `Content-Encoding` and this body, as from a proxy that compresses whatever is accepted.
    pub fn encoded_as(self, coding: &'static str, body: impl Into<Bytes>) {
        self.begins(FaultKind::Encoded(coding, body.into()));
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
