//! The background uploads of a restore.

use std::collections::HashMap;

use tokio::task::{AbortHandle, Id, JoinSet};

use super::{Failure, Restored};

/// The uploads under way, each with the ticket of its record. Dropping it cancels them.
#[derive(Debug)]
pub struct Uploads<R> {
    tasks: JoinSet<Result<Restored, Failure>>,
    /// The ticket and the weight of each upload.
    tickets: HashMap<Id, (R, u32)>,
    weight: u32,
}

impl<R> Default for Uploads<R> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), tickets: HashMap::new(), weight: 0 }
    }
}

impl<R> Uploads<R> {
    /// Starts an upload. Its future returns the result of the record.
    pub fn start(
        &mut self,
        ticket: R,
        weight: u32,
        upload: impl Future<Output = Result<Restored, Failure>> + Send + 'static,
    ) {
        let handle: AbortHandle = self.tasks.spawn(upload);
        self.tickets.insert(handle.id(), (ticket, weight));
        self.weight += weight;
    }

    /// Returns the sum of the weights of the uploads that have not ended.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Waits for the end of an upload. Returns none if no upload is under way. Cancel safe.
    pub async fn next(&mut self) -> Option<(R, Result<Restored, Failure>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            // The task panicked or was cancelled, so its record must not count as restored.
            Err(error) => (error.id(), Err(Failure::of(format!("the upload did not end: {error}")))),
        };
        let (ticket, weight) = self.tickets.remove(&id)?;
        self.weight -= weight;
        Some((ticket, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_an_upload_is_a_failure_of_its_record() {
        let mut uploads = Uploads::default();
        uploads.start("panics", 8, async { panic!("a defect") });
        let (ticket, result) = uploads.next().await.unwrap();
        assert_eq!(ticket, "panics");
        assert!(result.unwrap_err().text.contains("did not end"));
        assert_eq!(uploads.weight(), 0);
        uploads.start("succeeds", 1, async { Ok(Restored { bytes: 7, ..Restored::default() }) });
        let (ticket, result) = uploads.next().await.unwrap();
        assert_eq!((ticket, result.unwrap().bytes), ("succeeds", 7));
        assert!(uploads.next().await.is_none());
    }
}
