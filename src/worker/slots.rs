//! How many jobs run at the same time: a bulkhead for each queue.
//!
//! With one set of four slots for all files, 200 images at a host that accepts and never answers, sent by one LINE user,
//! kept the photos of everybody else waiting (measured: more than 300 s), and LINE forgets those.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::records::jobs::Queue;

/// Slots of one queue.
#[derive(Clone, Debug)]
pub(super) struct QueueSlots {
    /// Take the newest, which somebody may be looking at.
    pub(super) newest: Arc<Semaphore>,
    /// Take the oldest, which LINE forgets first and the others would never come to under a lasting backlog.
    pub(super) oldest: Option<Arc<Semaphore>>,
}

impl QueueSlots {
    fn new(newest: usize, oldest: usize) -> Self {
        Self {
            newest: Arc::new(Semaphore::new(newest)),
            oldest: (oldest > 0).then(|| Arc::new(Semaphore::new(oldest))),
        }
    }

    fn of(queue: Queue) -> Self {
        match queue {
            // The oldest may all be of one sender, whose flow would take two slots then. Nothing of it is forgotten by LINE.
            Queue::External => Self::new(4, 0),
            Queue::Picture => Self::new(2, 1),
            Queue::Content | Queue::Large | Queue::Preview | Queue::People => Self::new(3, 1),
        }
    }
}

/// The slots of a worker. Clones are the same slots.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<[(Queue, QueueSlots)]>);

impl Default for Slots {
    fn default() -> Self {
        // A small preview comes before a large original, and LINE's content before all that LINE does not forget.
        let queues = [
            Queue::Preview,
            Queue::Content,
            Queue::Large,
            Queue::People,
            Queue::Picture,
            Queue::External,
        ];
        Self(queues.map(|queue| (queue, QueueSlots::of(queue))).into())
    }
}

impl Slots {
    /// Every queue, in the order in which they are claimed.
    pub(super) fn queues(&self) -> impl Iterator<Item = (Queue, &QueueSlots)> {
        self.0.iter().map(|(queue, slots)| (*queue, slots))
    }
}
