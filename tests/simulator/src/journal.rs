//! What was asked: counts by kind and the list of requests.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::kinds::RequestKind;

/// Counts of one kind of request, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Requests that have arrived.
    pub requests: u64,
    /// Requests that are over: their answer was sent, or could not be.
    pub finished: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answer bodies.
    pub bytes_out: u64,
    /// Requests whose answer is not over.
    pub in_flight: u64,
    /// The most there were at one time.
    pub max_in_flight: u64,
}

impl Count {
    fn arrive(&mut self) {
        self.requests += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
    }

    fn finish(&mut self, bytes_out: u64) {
        self.finished += 1;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes_out += bytes_out;
    }
}

/// Counts since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Of all kinds together.
    pub total: Count,
    /// By kind; what was never asked is not there.
    pub kinds: BTreeMap<RequestKind, Count>,
}

impl Counts {
    /// Requests of one kind.
    #[must_use]
    pub fn of(&self, kind: RequestKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |count| count.requests)
    }
}

/// One request of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 0 at the simulator's start, resets notwithstanding.
    pub number: u64,
    /// When it arrived, in milliseconds since the first request.
    pub at_ms: u64,
    /// What it asks for.
    pub kind: RequestKind,
    /// HTTP method.
    pub method: String,
    /// Without the port.
    pub host: String,
    /// Without the query, percent-encoded.
    pub path: String,
    /// Ids, paths and names the request speaks of.
    pub subjects: Vec<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// `None` until there is an answer, and for good when the fault was a reset.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
    /// The fault that was applied.
    pub fault: Option<String>,
}

#[derive(Default)]
pub(crate) struct Journal {
    counts: Counts,
    entries: Vec<Entry>,
    next: u64,
    began: Option<Instant>,
}

/// What a request looks like when it arrives.
pub(crate) struct Arrival<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) range: Option<&'a str>,
}

impl Journal {
    /// Notes a request; its number names it from here on.
    pub(crate) fn arrive(&mut self, arrival: &Arrival<'_>) -> u64 {
        let number = self.next;
        self.next += 1;
        let began = *self.began.get_or_insert_with(Instant::now);
        self.counts.total.arrive();
        self.counts.kinds.entry(arrival.kind).or_default().arrive();
        self.entries.push(Entry {
            number,
            at_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            kind: arrival.kind,
            method: arrival.method.to_owned(),
            host: arrival.host.to_owned(),
            path: arrival.path.to_owned(),
            subjects: Vec::new(),
            range: arrival.range.map(str::to_owned),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            fault: None,
        });
        number
    }

    pub(crate) fn received(&mut self, number: u64, kind: RequestKind, bytes_in: u64, subjects: Vec<String>) {
        self.counts.total.bytes_in += bytes_in;
        self.counts.kinds.entry(kind).or_default().bytes_in += bytes_in;
        if let Some(entry) = self.entry(number) {
            entry.bytes_in = bytes_in;
            entry.subjects = subjects;
        }
    }

    pub(crate) fn spoiled(&mut self, number: u64, fault: String) {
        if let Some(entry) = self.entry(number) {
            entry.fault = Some(fault);
        }
    }

    pub(crate) fn answered(&mut self, number: u64, status: u16) {
        if let Some(entry) = self.entry(number) {
            entry.status = Some(status);
        }
    }

    pub(crate) fn finish(&mut self, number: u64, kind: RequestKind, bytes_out: u64) {
        self.counts.total.finish(bytes_out);
        self.counts.kinds.entry(kind).or_default().finish(bytes_out);
        if let Some(entry) = self.entry(number) {
            entry.bytes_out = bytes_out;
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Starts counting anew; what is in flight stays counted as such.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
        let anew =
            |count: &Count| Count { in_flight: count.in_flight, max_in_flight: count.in_flight, ..Count::default() };
        self.counts.total = anew(&self.counts.total);
        self.counts.kinds.retain(|_, count| count.in_flight > 0);
        for count in self.counts.kinds.values_mut() {
            *count = anew(count);
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let first = self.entries.first()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }
}
