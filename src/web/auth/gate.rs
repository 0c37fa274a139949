//! The queues before the password hash. One hash runs at a time, in one buffer. Known devices and strangers wait in
//! separate queues, so that strangers cannot keep known devices waiting.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::password::{self, Memory, Verdict};

/// Sign-ins at once in each of the two queues, the one whose hash runs included.
const PLACES: usize = 32;
/// Of these, how many one wide network of strangers (/16, or /48 of IPv6) may have, or one operator.
const PLACES_OF_ONE: usize = 4;

/// The queue that a sign-in waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Queue {
    /// A device or a network that this login has signed in from.
    Known,
    /// Any other client, with its wide network; `None` if the address is loopback or unknown.
    Strangers(Option<IpAddr>),
}

/// Hashes passwords one at a time, so that a flood of sign-ins cannot take the cores from the webhook. A known device
/// waits for at most one stranger, besides the one whose password is being hashed.
pub(in crate::web) struct Gate {
    memory: Arc<Mutex<Memory>>,
    running: Semaphore,
    strangers_turn: Semaphore,
    known: Semaphore,
    strangers: Semaphore,
    taken: Mutex<HashMap<Holder, usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            memory: Arc::default(),
            running: Semaphore::new(1),
            strangers_turn: Semaphore::new(1),
            known: Semaphore::new(PLACES),
            strangers: Semaphore::new(PLACES),
            taken: Mutex::default(),
        }
    }
}

/// The key that [`PLACES_OF_ONE`] is counted by. Without a limit for each operator, one who signs in again and again
/// with the right password would keep the known devices of all others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Network(IpAddr),
    Operator(Uuid),
}

/// A place in a queue; freed when dropped.
struct QueuePlace<'a> {
    gate: &'a Gate,
    holder: Option<Holder>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        if let Some(holder) = self.holder {
            let mut taken = self.gate.taken();
            if let Some(places) = taken.get_mut(&holder) {
                *places -= 1;
                if *places == 0 {
                    taken.remove(&holder);
                }
            }
        }
    }
}

impl Gate {
    /// [`password::hash`] after waiting in `queue`. `None` if the queue, or the network's share of it, is full.
    pub(in crate::web) async fn hash(
        &self,
        queue: Queue,
        password: String,
    ) -> Option<Result<String, password::Error>> {
        let work = move |memory: &mut Memory| password::hash_in(memory, &password);
        self.run(queue, None, work).await
    }

    /// Verifies a password of `operator` after waiting in `queue`. `None` if the queue, or the share that the network
    /// or the operator has of it, is full. Takes as long without a hash (`phc`).
    pub(in crate::web) async fn verify(
        &self,
        queue: Queue,
        operator: Option<Uuid>,
        password: String,
        phc: Option<String>,
    ) -> Option<Verdict> {
        let work =
            move |memory: &mut Memory| password::verify_in(memory, &password, phc.as_deref());
        self.run(queue, operator, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        queue: Queue,
        operator: Option<Uuid>,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Option<T> {
        let _place = self.place(queue, operator)?;
        let _turn = match queue {
            Queue::Known => None,
            Queue::Strangers(_) => Some(self.strangers_turn.acquire().await.ok()?),
        };
        let _running = self.running.acquire().await.ok()?;
        let memory = Arc::clone(&self.memory);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut memory.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.ok()
    }

    fn place(&self, queue: Queue, operator: Option<Uuid>) -> Option<QueuePlace<'_>> {
        let (places, holder) = match queue {
            Queue::Known => (&self.known, operator.map(Holder::Operator)),
            Queue::Strangers(network) => (&self.strangers, network.map(Holder::Network)),
        };
        let permit = places.try_acquire().ok()?;
        if let Some(holder) = holder {
            let mut all = self.taken();
            // No entry stays at zero: it exists only while one of its sign-ins has a place.
            let taken = all.entry(holder).or_default();
            if *taken >= PLACES_OF_ONE {
                return None;
            }
            *taken += 1;
        }
        Some(QueuePlace {
            gate: self,
            holder,
            _permit: permit,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 0, 0)));

    #[tokio::test]
    async fn a_full_queue_of_strangers_turns_strangers_away_and_nobody_who_is_known() {
        let gate = Gate::default();
        let held = gate.strangers.acquire_many(PLACES as u32).await;
        let verify = async |queue| gate.verify(queue, None, String::new(), None).await;
        assert!(verify(Queue::Strangers(None)).await.is_none());
        assert_eq!(verify(Queue::Known).await, Some(Verdict::Wrong));
        drop(held);
        assert_eq!(verify(Queue::Strangers(None)).await, Some(Verdict::Wrong));
        let held = gate.known.acquire_many(PLACES as u32).await;
        assert!(verify(Queue::Known).await.is_none());
        drop(held);
    }

    #[tokio::test]
    async fn one_wide_network_takes_four_places_and_gives_them_back() {
        let gate = Gate::default();
        let places: Vec<_> = (0..PLACES_OF_ONE)
            .map(|_| gate.place(Queue::Strangers(NET), None).expect("a place"))
            .collect();
        assert!(gate.place(Queue::Strangers(NET), None).is_none());
        let other = Some(IpAddr::from([198, 51, 0, 0]));
        assert!(gate.place(Queue::Strangers(other), None).is_some());
        drop(places);
        assert!(gate.place(Queue::Strangers(NET), None).is_some());
        assert!(gate.taken().is_empty(), "nothing is remembered");
    }

    #[tokio::test]
    async fn one_operator_leaves_places_to_the_known_devices_of_others() {
        let gate = Gate::default();
        let [otto, mika] = [1, 2].map(|id| Some(Uuid::from_u128(id)));
        let places: Vec<_> = (0..PLACES)
            .filter_map(|_| gate.place(Queue::Known, otto))
            .collect();
        assert_eq!(places.len(), PLACES_OF_ONE);
        assert!(gate.place(Queue::Known, mika).is_some());
    }

    #[tokio::test]
    async fn one_stranger_at_most_is_ahead_of_a_known_device() {
        let gate = Arc::new(Gate::default());
        let held = gate.running.acquire().await.expect("the turn");
        let order = Arc::new(Mutex::new(vec![]));
        let join = |queue, name: &'static str| {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            tokio::spawn(async move {
                let note = move |_: &mut Memory| order.lock().unwrap().push(name);
                gate.run(queue, None, note).await
            })
        };
        let mut waiting = vec![];
        for _ in 0..8 {
            waiting.push(join(Queue::Strangers(None), "stranger"));
            tokio::task::yield_now().await;
        }
        waiting.push(join(Queue::Known, "known"));
        tokio::task::yield_now().await;
        drop(held);
        for done in waiting {
            assert!(done.await.unwrap().is_some());
        }
        assert_eq!(order.lock().unwrap()[1], "known");
    }
}
