// SPDX-License-Identifier: Apache-2.0
//! Tests that the C module does not pass, so that the same tests can run with it (`MODULE=… make e2e`).
//! docs/compat.md gives the reasons.

/// Tests that hold our module alone to something, and why. A name that ends with `::` is that of a whole
/// file.
const OURS_ONLY: &[(&str, &str)] = &[
    (
        "acme::a_ca_is_trusted_by_the_file_of_the_domain_before_that_of_the_server",
        "it does not say why a CA is not reached",
    ),
    ("acme::a_ca_that_is_asked_without_encryption_is_told_of_once_at_the_start", "it tells nothing"),
    ("acme::a_profile_the_ca_has_is_ordered_and_a_missing_mandatory_one_fails", "its error has no text"),
    (
        "acme::an_external_account_is_bound_and_each_mistake_has_its_own_text",
        "it does not say which directive is missing",
    ),
    (
        "acme::the_ca_is_reached_through_the_proxy_of_the_server_or_of_the_domain",
        "it does not say why a CA is not reached",
    ),
    (
        "challenges::a_failing_dns_01_command_is_reported_and_its_record_torn_down",
        "it tells neither the output of the command nor its status with the error",
    ),
    ("challenges::a_wildcard_without_dns_01_is_told", "it tells nothing before the CA has been asked"),
    ("challenges::an_address_gets_a_certificate_by_http_01", "it asks the CA for a DNS name"),
    ("challenges::an_address_gets_a_certificate_by_tls_alpn_01", "it asks the CA for a DNS name"),
    ("challenges::a_connection_of_tls_alpn_01_is_closed_after_the_handshake", "it answers a request on it"),
    ("challenges::an_http_01_token_of_another_order_is_not_answered", "it answers any token"),
    ("challenges::http_01_tokens_of_several_orders_are_answered_side_by_side", "it knows the latest alone"),
    (
        "challenges::without_domains_only_challenges_in_the_store_are_answered",
        "it makes a store, and each start removes the challenges of others",
    ),
    ("challenges::a_dns_01_command_has_the_time_that_is_configured", "it has no such directive"),
    (
        "challenges::a_challenge_shows_its_own_certificate_whatever_a_host_has",
        "it puts them beside those of the host",
    ),
    (
        "challenges::tls_alpn_01_works_beside_host_certificates_of_any_key_type",
        "there the CA sees the host's own",
    ),
    (
        "challenges::without_configured_types_each_name_gets_the_first_that_works_for_it",
        "it tries tls-alpn-01 for a name whose host does not speak it, if another of the domain does",
    ),
    (
        "challenges::http_01_is_answered_in_tls_by_a_host_that_has_no_certificate_yet",
        "there its 503 is for challenges, too",
    ),
    ("dns_page::", "it sets TXT records by commands alone"),
    ("dns::", "it sets TXT records by commands alone"),
    ("dns_delegated::", "it neither answers DNS questions nor knows acme-dns"),
    ("dns_hooks::", "it calls no hooks of other clients"),
    ("dns_responder::", "it answers no DNS questions"),
    ("directives::directives_of_ours_pass", "directives it does not have"),
    ("directives::every_configuration_in_the_documentation_passes", "directives it does not have"),
    (
        "directives::what_the_c_module_lets_pass_is_refused_by_ours",
        "it reads numbers as far as they go, and takes two spellings of a curve for two keys",
    ),
    ("directives::a_ca_file_that_is_not_there_stops_the_start", "it starts"),
    (
        "directives::configtest_tells_what_would_end_the_start_and_writes_nothing",
        "its configtest reads the directives only",
    ),
    (
        "directives::the_overlap_of_two_domains_is_told_with_the_file_and_line_of_both",
        "it names `unknown(line 0)`",
    ),
    ("record_challenges::", "it knows neither of these challenges"),
    ("configtest::", "its configtest reads the directives only"),
    ("commands::", "they inherit blocked signals, descriptors and the log"),
    ("ends::", "its children may crash at their end, and new certificates wait for a restart"),
    (
        "events::a_reload_lets_a_notified_command_end_and_does_not_repeat_it",
        "a set that a reload puts into use is never told as `renewed`",
    ),
    (
        "events::commands_hear_of_a_set_activated_by_a_restart_until_they_succeed",
        "a restart that puts the set into use ends the repetition",
    ),
    (
        "events::every_event_of_a_renewal_is_told_once_and_in_its_order",
        "what commands print is not in the log",
    ),
    (
        "first_certificate::an_activation_delay_holds_back_renewed_certificates_not_the_first",
        "a restart activates what is staged, whatever the delay",
    ),
    ("fleet_files::", "it has no fleet"),
    (
        "matching::a_domain_takes_the_values_of_the_virtual_host_it_is_defined_in",
        "it takes those of the main server",
    ),
    ("planted_keys::", "it computes with any key, takes plain ones and asks for pass phrases"),
    ("log::", "the test waits for words of our log"),
    ("memory::", "live activation brings its certificates into use"),
    (
        "pages::the_page_shows_renewals_the_advice_of_the_ca_and_staples",
        "the test waits for words of our page",
    ),
    ("pages::one_word_says_how_a_domain_stands_on_every_page", "it has no such words"),
    ("pages::prometheus_reads_the_metrics", "it has no metrics"),
    ("pages::server_status_auto_has_counts_and_a_fact_a_line", "the test waits for words of our page"),
    ("pages::server_status_shows_people_what_needs_their_eyes", "its page is sorted by name"),
    (
        "pages::whatever_the_store_and_the_ca_say_the_page_shows_it_as_text",
        "the test waits for words of our page",
    ),
    (
        "require_https::a_host_overrides_require_https_of_its_domain_and_the_start_tells",
        "it takes the directive in a virtual host and does nothing",
    ),
    (
        "require_https::a_section_requires_https_for_the_requests_it_applies_to",
        "it takes the directive in a section for all of the server",
    ),
    (
        "sync::a_read_only_store_is_told_and_the_certificate_in_use_stays",
        "its error leaves the reason to the number",
    ),
    (
        "store::renewals_go_on_in_a_store_that_was_restored_with_other_owners",
        "what staging holds for a domain stays with its owner, and the renewal fails",
    ),
    (
        "sync::a_renamed_host_goes_on_with_the_certificate_of_the_names_it_had",
        "it looks for the folder by the names that MDomain lists",
    ),
    ("sync::names_that_could_leave_the_store_are_left_out_and_make_nothing", "its configtest accepts them"),
    (
        "sync::a_start_without_the_lock_serves_a_renamed_domain_at_once",
        "it waits in the dry pass as well, and renames without the lock",
    ),
    ("interruption::a_slow_ca_is_waited_for_without_an_error_and_over_a_restart", "it has no such state"),
    ("renewal::a_clock_months_ahead_causes_one_renewal_and_is_shown_in_the_status", "it has no such limit"),
    ("renewal::an_advised_window_in_the_past_is_not_followed_and_shown_with_its_end", "it has no such limit"),
    (
        "renewal::advice_of_the_ca_is_shown_with_its_explanation_over_restarts",
        "it asks and draws at every look",
    ),
    (
        "renewal::another_ca_than_the_one_that_issued_is_asked_at_once",
        "it keeps the certificate until it is due",
    ),
    (
        "renewal::the_second_ca_issues_where_the_first_refuses_by_its_own_account",
        "it asks the one that refuses again and again",
    ),
    ("renewal::a_ca_that_never_answers_delays_neither_other_domains_nor_a_restart", "one after the other"),
    ("neighbours::", "it does not look for another httpd"),
    ("keys::", "keys of ours are among them"),
    ("planted::", "it takes for its own whatever is in staging"),
    ("live::", "it knows restarts only"),
    ("live_tls::", "it knows restarts only"),
    (
        "handshake_path::in_a_handshake_the_module_asks_the_kernel_for_nothing",
        "a new certificate needs a restart",
    ),
    (
        "stapling::the_good_response_stays_until_it_expires_whatever_the_responder_does",
        "it staples forged and expired responses",
    ),
    ("stapling::one_responder_is_asked_side_by_side_and_within_the_limit", "a directive it does not have"),
    (
        "stapling::a_new_certificate_is_stapled_by_every_child_and_after_a_restart",
        "a new certificate needs a restart",
    ),
    (
        "stapling::every_child_shows_a_missing_response_for_a_live_certificate",
        "a new certificate needs a restart",
    ),
    (
        "stapling::a_certificate_that_its_ca_revokes_is_renewed_at_once_with_a_new_key",
        "a new certificate needs a restart",
    ),
    ("stapling::a_must_staple_certificate_waits_for_its_response", "a new certificate needs a restart"),
    ("storm::", "it renews one after the other, and the test does not wait for that"),
    ("serving::a_live_set_of_an_earlier_configuration_is_put_into_use", "no set goes live"),
    ("serving::a_live_set_takes_the_place_of_the_files_of_a_host", "no set goes live"),
    (
        "serving::a_certificate_without_the_name_of_a_host_does_not_replace_its_files",
        "it serves that of the domain",
    ),
    (
        "serving::valid_files_of_a_host_stay_beside_the_certificate_of_its_domain",
        "it does not start where a host has its key in the file of its certificate",
    ),
    ("serving::a_set_that_its_host_refuses_fails_its_renewal_and_no_server", "no set is tried out"),
    (
        "serving::a_staged_set_of_an_earlier_configuration_is_put_into_use",
        "it does not take what this test puts into staging",
    ),
    (
        "serving::after_a_start_that_a_new_set_ends_the_next_uses_the_set_before",
        "it does not take what this test puts into staging",
    ),
    (
        "serving::after_a_start_that_several_sets_end_the_next_uses_those_before",
        "it does not take what this test puts into staging",
    ),
    ("serving::an_expired_certificate_does_not_replace_good_files_of_the_host", "it serves the expired one"),
    (
        "serving::files_of_a_host_are_served_until_its_domain_has_a_certificate",
        "it does not take what this test puts into staging",
    ),
    (
        "status::what_cannot_be_saved_of_a_renewal_is_told_until_it_can",
        "only its log tells that a job cannot be written",
    ),
    ("status::an_unknown_name_is_not_found", "it answers with all domains"),
    ("unload::", "C has no thread-local destructors, and its swap with ours is tested with ours"),
];

/// Whether two dates of md-status are of one moment: the C module computes some of them from the time of the
/// request, and shows them a second or two later now and then.
pub fn is_one_moment(one: &str, other: &str) -> bool {
    let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second());
    date(one).zip(date(other)).is_some_and(|(one, other)| (one - other).abs() <= 3)
}

pub fn of_c_module(test: &str) -> Option<&'static str> {
    let is_of = |name: &str| name == test || (name.ends_with("::") && test.starts_with(name));
    OURS_ONLY.iter().find(|(name, _)| is_of(name)).map(|(_, reason)| *reason)
}
