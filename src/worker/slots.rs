//! Limits how many jobs run at the same time, with a bulkhead for each queue. With one set of four slots for all files,
//! one LINE user could delay the photos of everybody else: 200 images at a host that accepts connections and never
//! answers held them up for more than 300 s (measured), and LINE deletes photos after some time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::records::jobs::Queue;

/// Slots of one queue.
#[derive(Clone, Debug)]
pub(super) struct QueueSlots {
    /// For the newest jobs: somebody may be looking at their messages.
    pub(super) newest: Arc<Semaphore>,
    /// For the oldest jobs, whose content LINE deletes first. Under a lasting backlog the other slots would never reach
    /// them.
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
            // No slot for the oldest jobs: they may all be of one sender, who would then occupy one slot of each kind.
            // LINE does not delete external content, so its oldest jobs are not urgent.
            Queue::External => Self::new(4, 0),
            Queue::Picture => Self::new(2, 1),
            Queue::Content | Queue::Large | Queue::Preview | Queue::People => Self::new(3, 1),
        }
    }
}

/// The slots of a worker. Clones share the slots.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<[(Queue, QueueSlots)]>);

impl Default for Slots {
    fn default() -> Self {
        // Small previews come before large originals, and content that LINE deletes comes before everything that it
        // does not delete.
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
