//! A queue of background work that is done in batches.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// How long the first item waits for others. plakar's next call arrives within milliseconds of the
/// response to the previous one.
const GATHER_TIME: Duration = Duration::from_millis(100);
/// The maximum number of items in a batch.
const MAX_BATCH: usize = 100;
/// The number of items at which [`Batches::have_room`] waits. The items that are left when plakar
/// closes the connection must be done within the shutdown timeout.
const MAX_QUEUED: usize = 2 * MAX_BATCH;

/// A queue whose items are taken in batches. plakar makes one call at a time and waits for its
/// response, but some requests to the service take long.
#[derive(Debug)]
pub struct Batches<T> {
    waiting: Mutex<Vec<T>>,
    /// The number of items that are waiting or under way.
    left: watch::Sender<usize>,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), left: watch::Sender::default() }
    }
}

impl<T> Batches<T> {
    /// Adds an item. Reports whether it is the first one, which means that no task is calling
    /// [`Self::next`].
    pub fn add(&self, item: T) -> bool {
        self.waiting().push(item);
        let mut is_first = false;
        self.left.send_modify(|left| {
            is_first = *left == 0;
            *left += 1;
        });
        is_first
    }

    /// Waits for more items and returns a batch, or none if there are no items.
    pub async fn next(&self) -> Option<Vec<T>> {
        if *self.left.borrow() == 0 {
            return None;
        }
        tokio::time::sleep(GATHER_TIME).await;
        let mut waiting = self.waiting();
        let count = waiting.len().min(MAX_BATCH);
        Some(waiting.drain(..count).collect())
    }

    /// Records that the items of a batch are done.
    pub fn finish(&self, batch: &[T]) {
        self.left.send_modify(|left| *left -= batch.len());
    }

    /// Waits until few items are left.
    pub async fn have_room(&self) {
        self.until(|left| left < MAX_QUEUED).await;
    }

    /// Waits until all items are done.
    pub async fn done(&self) {
        self.until(|left| left == 0).await;
    }

    async fn until(&self, enough: impl Fn(usize) -> bool) {
        // Fails only if the sender is dropped.
        let _ = self.left.subscribe().wait_for(|left| enough(*left)).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_are_taken_together_and_counted_until_they_are_done() {
        let batches = Batches::default();
        assert!(batches.add(0));
        for item in 1..=MAX_BATCH {
            assert!(!batches.add(item));
        }
        let first = batches.next().await.unwrap();
        assert_eq!(first, (0..MAX_BATCH).collect::<Vec<_>>());
        batches.finish(&first);
        assert!(!batches.add(0), "one item is left");
        let second = batches.next().await.unwrap();
        assert_eq!(second, [MAX_BATCH, 0]);
        batches.finish(&second);
        batches.done().await;
        assert!(batches.next().await.is_none());
        assert!(batches.add(0));
    }
}
