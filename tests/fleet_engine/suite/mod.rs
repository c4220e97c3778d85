// SPDX-License-Identifier: Apache-2.0
//! The promises of `fleet::engine`, a function for each.

mod crowd;
mod keys;
mod leases;
mod listing;
mod servers;
mod watching;

pub use crowd::*;
pub use keys::*;
pub use leases::*;
pub use listing::*;
pub use servers::*;
pub use watching::*;

/// A test for each promise, in the module that names its fixture.
macro_rules! held_to_the_promises {
    ($fixture:ty) => {
        held_to_the_promises! { $fixture, false:
            a_write_is_read_by_every_node,
            keys_and_values_up_to_their_bounds_are_kept,
            what_is_beyond_a_bound_is_invalid_and_not_written,
            a_transaction_has_one_revision_and_revisions_grow,
            a_key_keeps_when_it_was_created_until_it_is_absent,
            a_condition_that_does_not_hold_refuses_the_whole_transaction,
            conditions_are_asked_of_the_state_before_the_transaction,
            a_transaction_without_writes_tells_whether_its_conditions_hold,
            what_is_absent_can_be_deleted,
            a_listing_is_of_the_prefix_alone_and_in_order,
            letters_that_mean_something_to_a_server_mean_nothing,
            pages_are_of_one_revision_while_writes_go_on,
            a_listing_of_the_largest_values_is_complete,
            a_page_never_shows_half_of_a_transaction,
            fleets_of_other_prefixes_are_not_seen,
            a_key_ends_with_its_lease,
            a_lease_that_is_kept_does_not_end,
            a_grant_of_a_lease_in_force_keeps_it_and_begins_its_time_again,
            a_lease_that_ended_is_gone_and_can_be_granted_anew,
            a_lease_that_never_was_is_gone,
            a_revoked_lease_takes_its_keys_along_at_once,
            leases_are_independent_and_may_have_any_number,
            a_key_that_left_its_lease_does_not_end_with_it,
            under_a_lease_that_ended_nothing_is_written,
            who_lost_its_lease_publishes_nothing,
            an_answer_about_a_lease_tells_revision_and_time,
            a_watch_tells_changes_in_their_order,
            a_watch_tells_what_was_written_before_it_began,
            a_watch_without_news_returns_within_about_a_second,
            a_watch_tells_news_at_once,
            a_watch_never_tears_a_transaction,
            a_watch_goes_on_after_many_large_writes,
            a_key_that_came_again_after_its_lease_is_told,
            listing_and_watch_together_miss_nothing,
            a_watch_from_a_revision_that_is_not_yet_has_a_gap,
            a_stop_ends_every_call_within_a_second,
            of_many_that_compete_for_a_lock_one_holds_it,
            of_many_that_change_a_key_none_is_lost,
            all_who_watch_see_the_same,
        }
        held_to_the_promises! { $fixture, true:
            a_watch_from_a_forgotten_revision_has_a_gap,
            after_a_compaction_listing_and_watch_go_on,
            a_cursor_of_a_forgotten_revision_is_refused_or_complete,
            after_a_wipe_leases_are_gone_and_watches_have_a_gap,
        }
    };
    ($fixture:ty, $is_alone:literal: $($promise:ident,)*) => { $(
        #[test]
        fn $promise() {
            if let Some(fixture) = <$fixture as $crate::fixture::Fixture>::new(stringify!($promise), $is_alone) {
                $crate::suite::$promise(&fixture);
            }
        }
    )* };
}
