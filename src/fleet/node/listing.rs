// SPDX-License-Identifier: Apache-2.0
//! Lists what the engine has, page by page: one page is in memory at a time, and the lease is kept over a listing
//! that takes longer. Refuses a listing without an end.

use super::{Failed, Node};
use crate::fleet::decide::lease;
use crate::fleet::engine::{Cursor, Entry, Error, Page, Revision};

/// A fleet of 10 000 MDs on 100 nodes has some 60 000 entries, and half a gigabyte.
const ENTRIES_MAX: usize = 1_000_000;
/// A page counts for as many at least: it may be empty.
const PAGE_MIN: usize = 16;
const BYTES_MAX: usize = 8 * 1024 * 1024 * 1024;

impl Node {
    /// Hands the pages of the keys that begin with `prefix` to `each`. The answer: from where to watch them.
    pub fn list(
        &self,
        prefix: &str,
        each: impl FnMut(Vec<Entry>) -> Result<(), Failed>,
    ) -> Result<Revision, Failed> {
        let page = |from: Option<&Cursor>| {
            self.keep_lease()?;
            Ok(self.ask(|engine| engine.list(prefix, from))?)
        };
        pages(prefix, page, each, (ENTRIES_MAX, BYTES_MAX))
    }

    /// Where it is time: what is under the lease is listed as well.
    fn keep_lease(&self) -> Result<(), Failed> {
        let (kept, due) = {
            let state = self.state();
            (state.kept, lease::next_keep_alive(state.kept, state.tried, state.is_at_work()))
        };
        // Of other failures the listing shows whether the engine answers.
        if kept.is_some()
            && self.boot() >= due
            && let Err(error @ (Error::LeaseGone | Error::Stopped)) = self.keep_alive()
        {
            return Err(error.into());
        }
        Ok(())
    }
}

fn pages(
    prefix: &str,
    mut page: impl FnMut(Option<&Cursor>) -> Result<Page, Failed>,
    mut each: impl FnMut(Vec<Entry>) -> Result<(), Failed>,
    (entries_max, bytes_max): (usize, usize),
) -> Result<Revision, Failed> {
    let (mut cursor, mut revision) = (None, None);
    let (mut entries, mut bytes) = (0_usize, 0_usize);
    loop {
        let Page { entries: found, revision: at, next } = page(cursor.as_ref())?;
        entries += found.len().max(PAGE_MIN);
        bytes += found.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>();
        if entries > entries_max || bytes > bytes_max {
            return Err(Failed::Engine(Error::Garbled(format!(
                "it has no end of entries under {prefix:?}: {entries} entries of {bytes} bytes were listed, and there are \
                 more. If something else writes there, give the fleet a prefix of its own in the URL of MDFleet, and \
                 delete what is not the fleet's"
            ))));
        }
        let revision = *revision.get_or_insert(at);
        each(found)?;
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endless(entries: usize, bytes: usize) -> (Result<Revision, Failed>, usize) {
        let entry = Entry {
            key: "k".into(),
            value: vec![0; bytes],
            created: Revision(1),
            changed: Revision(1),
            lease: None,
        };
        let next = Cursor { revision: Revision(1), token: "k".into() };
        let page = Page { entries: vec![entry; entries], revision: Revision(1), next: Some(next) };
        let mut count = 0;
        let ask = |_: Option<&Cursor>| {
            count += 1;
            Ok(page.clone())
        };
        let outcome = pages("v1/", ask, |_| Ok(()), (10_000, 1_000_000));
        (outcome, count)
    }

    #[test]
    fn a_listing_without_an_end_is_given_up() {
        for (entries, bytes, at_most) in [(200, 0, 51), (1, 60_000, 17), (0, 0, 626)] {
            let (outcome, count) = endless(entries, bytes);
            let error = outcome.unwrap_err().to_string();
            assert!(
                error.contains("no end of entries under \"v1/\"") && error.contains("MDFleet"),
                "{error}"
            );
            assert_eq!(count, at_most, "{entries} {bytes}");
        }
    }
}
