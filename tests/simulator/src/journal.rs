//! The journal of requests: counts by kind, and a list.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::kinds::RequestKind;

/// The counts of one kind of request, or of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number of requests that have arrived.
    pub requests: u64,
    /// The number of requests that are over: the response was sent, or could not be sent.
    pub finished: u64,
    /// The size of all request bodies.
    pub bytes_in: u64,
    /// The size of all response bodies.
    pub bytes_out: u64,
    /// The number of requests that are not over.
    pub in_flight: u64,
    /// The largest number of requests that were in flight at one time.
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
    /// The counts of all kinds together.
    pub total: Count,
    /// The counts by kind, without kinds that did not arrive.
    pub kinds: BTreeMap<RequestKind, Count>,
}

impl Counts {
    /// Returns the number of requests of one kind.
    #[must_use]
    pub fn of(&self, kind: RequestKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |count| count.requests)
    }
}

/// One request of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of the request, counted from 0 at the simulator's start; a reset does not restart
    /// it.
    pub number: u64,
    /// The time of its arrival, in milliseconds since the first request.
    pub at_ms: u64,
    /// The kind of request.
    pub kind: RequestKind,
    /// The HTTP method.
    pub method: String,
    /// The host, without the port.
    pub host: String,
    /// The path without the query, percent-encoded.
    pub path: String,
    /// The ids, paths and names in the request.
    pub subjects: Vec<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status of the response; `None` until there is a response, and forever if the fault was a
    /// reset.
    pub status: Option<u16>,
    /// The size of the request's body.
    pub bytes_in: u64,
    /// The number of bytes of the response's body that were sent.
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

/// The properties of a request that are known when it arrives.
pub(crate) struct Arrival<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) range: Option<&'a str>,
}

impl Journal {
    /// Records a request, and returns the number that identifies it.
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

    pub(crate) fn responded(&mut self, number: u64, status: u16) {
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

    /// Restarts the counts and the list; requests in flight stay counted as such.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
        let restarted =
            |count: &Count| Count { in_flight: count.in_flight, max_in_flight: count.in_flight, ..Count::default() };
        self.counts.total = restarted(&self.counts.total);
        self.counts.kinds.retain(|_, count| count.in_flight > 0);
        for count in self.counts.kinds.values_mut() {
            *count = restarted(count);
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let first = self.entries.first()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }
}
