// SPDX-License-Identifier: Apache-2.0
//! Whether a watch still follows the engine's history. Pure; imports `view`.

use crate::fleet::engine::Revision;
use crate::fleet::view::View;
use std::time::Duration;

/// A watch may be behind what other calls show for as long.
const LAG: Duration = Duration::from_secs(10);

/// Why everything has to be listed again. `told`: a revision that another call has shown; `since`: how long ago.
pub fn has_lost_track(view: &View, told: Revision, since: Duration) -> Option<String> {
    let seen = view.revision();
    if told < seen {
        return Some(format!("the engine is at revision {}, and was at {} before", told.0, seen.0));
    }
    (told > seen && since > LAG).then(|| {
        let seconds = since.as_secs();
        format!("the watch is at revision {} for {seconds} seconds, the engine at {}", seen.0, told.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::view;

    #[test]
    fn a_history_that_goes_back_or_stands_still_is_listed_anew() {
        let view = view(vec![], 50);
        let lost = |told, seconds| has_lost_track(&view, Revision(told), Duration::from_secs(seconds));
        assert_eq!((lost(50, 900), lost(51, 10)), (None, None));
        assert!(lost(49, 0).unwrap().contains("49"));
        assert!(lost(51, 11).unwrap().contains("51"));
    }
}
