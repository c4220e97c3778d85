// SPDX-License-Identifier: Apache-2.0
//! The next step of an order (RFC 8555 §7.1.6, §7.4, §7.5): a pure function of the order, its authorizations
//! and the challenges started already. A caller that performs the steps can stop after any of them and
//! continue from the same resources later.

use super::error::{End, Error};
use super::objects::{Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order, OrderStatus};
use super::problem::Problem;
use crate::time::Timestamp;
use std::time::Duration;

/// Until the first poll.
const FIRST: Duration = Duration::from_millis(100);
/// Between two polls at first, until something has been waited for so long that a tenth of that is more.
const USUAL: Duration = Duration::from_secs(30);
/// Between two polls at last.
const SLOWEST: Duration = Duration::from_secs(600);
/// A `Retry-After` cannot name less, so it is what a CA says that is done at any moment.
const LEAST: Duration = Duration::from_secs(1);
/// A `Retry-After` up to this is the interval of polls; a longer one cannot be meant for these.
const ADVICE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub enum Step<'a> {
    /// Fetch these authorizations: they are of the order, and not known yet.
    Fetch(Vec<&'a str>),
    /// Choose a challenge for each of these, present all, then start all.
    SetUp(Vec<&'a Authorization>),
    /// Wait, then fetch this resource again.
    Poll(Poll<'a>),
    /// Send the signing request. Where the order was not ready yet when it was last seen, the server may
    /// refuse with `orderNotReady`; poll it then.
    Finalize,
    /// Download the chain from this URL.
    Download(&'a str),
    /// This order will never have a certificate.
    Failed(Error),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Poll<'a> {
    /// The authorizations at these URLs are being validated.
    Authorizations(Vec<&'a str>),
    /// The certificate is being issued.
    Order,
}

/// `authorizations`: those of the order that have been fetched, in any sequence. `started`: URLs of
/// authorizations for which a challenge was started in this run.
pub fn step<'a>(order: &'a Order, authorizations: &'a [Authorization], started: &[String]) -> Step<'a> {
    match order.status {
        OrderStatus::Pending => pending(order, authorizations, started),
        OrderStatus::Ready => Step::Finalize,
        OrderStatus::Processing => Step::Poll(Poll::Order),
        OrderStatus::Valid => match &order.certificate {
            Some(url) => Step::Download(url),
            // §7.1.3: certificate is there once the order is valid.
            None => Step::Failed(Error::Protocol("the order is valid, but has no certificate URL".into())),
        },
        OrderStatus::Invalid => Step::Failed(failed_order(order, authorizations)),
    }
}

fn pending<'a>(order: &'a Order, authorizations: &'a [Authorization], started: &[String]) -> Step<'a> {
    let known = |url: &String| authorizations.iter().any(|a| a.url == *url);
    if let Some(failed) = authorizations.iter().find_map(failed_authorization) {
        return Step::Failed(failed);
    }
    let unknown: Vec<&str> = order.authorizations.iter().filter(|u| !known(u)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Step::Fetch(unknown);
    }
    let is_started = |a: &&Authorization| started.contains(&a.url) || is_processing(a);
    let open = || authorizations.iter().filter(|a| a.status == AuthorizationStatus::Pending);
    let idle: Vec<&Authorization> = open().filter(|a| !is_started(a)).collect();
    if !idle.is_empty() {
        return Step::SetUp(idle);
    }
    let validating: Vec<&str> = open().map(|a| a.url.as_str()).collect();
    if !validating.is_empty() {
        return Step::Poll(Poll::Authorizations(validating));
    }
    // All valid, reused ones included: the order becomes ready with the last of them (§7.1.6).
    if order.finalize.is_some() { Step::Finalize } else { Step::Poll(Poll::Order) }
}

/// §7.1.6: a server may show that it validates by the state of the challenge. Where that has an error, the
/// server has looked, and may wait to be asked again (§8.2).
pub fn is_processing(authorization: &Authorization) -> bool {
    authorization.challenges.iter().any(|c| c.status == ChallengeStatus::Processing && c.error.is_none())
}

fn failed_authorization(authorization: &Authorization) -> Option<Error> {
    let end = match authorization.status {
        AuthorizationStatus::Pending | AuthorizationStatus::Valid => return None,
        AuthorizationStatus::Invalid => End::Invalid,
        AuthorizationStatus::Deactivated => End::Deactivated,
        AuthorizationStatus::Expired => End::Expired,
        AuthorizationStatus::Revoked => End::Revoked,
    };
    Some(Error::Invalid {
        end,
        identifier: Some(authorization.name()),
        tried: authorization.challenges.iter().find(|c| c.error.is_some()).map(Challenge::tried),
        problem: challenge_problem(authorization).map(Box::new),
    })
}

fn challenge_problem(authorization: &Authorization) -> Option<Problem> {
    authorization.challenges.iter().find_map(|c| c.error.clone())
}

/// The authorization that failed says more than the order does, where it is known.
fn failed_order(order: &Order, authorizations: &[Authorization]) -> Error {
    let failed = authorizations.iter().find(|a| challenge_problem(a).is_some());
    match (failed.and_then(failed_authorization), &order.error) {
        (Some(failed), None) => failed,
        (_, problem) => Error::Invalid {
            end: End::OrderInvalid,
            identifier: failed.map(Authorization::name),
            tried: None,
            problem: problem.clone().map(Box::new),
        },
    }
}

/// The time until the next poll, after a wait of `waited`. `is_first`: nothing was asked since the CA was told to
/// validate or to issue. That poll is quick whatever the CA says, because small CAs are done by then, and a
/// second at each step would be most of what a renewal takes. Later on `retry_after` of the latest answer is the
/// interval if it is at most a minute; one of a second does not slow the next polls down. A longer one is advice
/// that does: some CAs send a day although they finish in seconds.
pub fn poll_delay(
    is_first: bool,
    waited: Duration,
    retry_after: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    if is_first {
        return FIRST;
    }
    let patient = (waited / 10).min(SLOWEST);
    let own = waited.clamp(Duration::from_millis(200), USUAL).max(patient);
    match retry_after.filter(|at| *at > now).map(|at| at.since(now)) {
        None => own,
        Some(advice) if advice <= LEAST => own.min(advice).max(Duration::from_millis(200)).max(patient),
        Some(advice) if advice <= ADVICE_MAX => advice.max(Duration::from_millis(200)).max(patient),
        Some(advice) => advice.min(own * 4).min(patient.max(ADVICE_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::objects::{Challenge, Identifier};
    use crate::acme::record_terms::RecordTerms;

    const URLS: [&str; 2] = ["https://ca.test/authz/0", "https://ca.test/authz/1"];

    fn order(status: OrderStatus) -> Order {
        Order {
            url: "https://ca.test/order/1".into(),
            status,
            authorizations: URLS.iter().map(ToString::to_string).collect(),
            finalize: Some("https://ca.test/order/1/finalize".into()),
            certificate: None,
            error: None,
            expires: None,
            identifiers: Vec::new(),
        }
    }

    fn authorization(n: usize, status: AuthorizationStatus, challenge: ChallengeStatus) -> Authorization {
        let error = (challenge == ChallengeStatus::Invalid)
            .then(|| Problem::new("acme:error:incorrectResponse", "wrong content"));
        Authorization {
            url: URLS[n].into(),
            status,
            identifier: Identifier::of(["a.test", "b.test"][n]),
            wildcard: false,
            challenges: vec![Challenge {
                type_: "http-01".into(),
                url: format!("https://ca.test/chall/{n}"),
                status: challenge,
                token: "t".into(),
                record: RecordTerms::default(),
                error,
                validated: None,
            }],
        }
    }

    /// Short names, so that the table below can be read.
    fn described(step: &Step<'_>) -> String {
        let tails = |urls: &[&str]| urls.iter().map(|u| &u[u.len() - 1..]).collect::<String>();
        match step {
            Step::Fetch(urls) => format!("fetch {}", tails(urls)),
            Step::SetUp(list) => {
                format!("set up {}", tails(&list.iter().map(|a| a.url.as_str()).collect::<Vec<_>>()))
            }
            Step::Poll(Poll::Authorizations(urls)) => format!("poll {}", tails(urls)),
            Step::Poll(Poll::Order) => "poll order".into(),
            Step::Finalize => "finalize".into(),
            Step::Download(url) => format!("download {url}"),
            Step::Failed(e) => format!("failed: {}", e.detail()),
        }
    }

    #[test]
    fn a_pending_order_follows_its_authorizations() {
        use AuthorizationStatus as A;
        use ChallengeStatus as C;
        type Row<'a> = (&'a [(A, C)], &'a [&'a str], &'a str);
        let table: &[Row<'_>] = &[
            (&[], &[], "fetch 01"),
            (&[(A::Pending, C::Pending)], &[], "fetch 1"),
            (&[(A::Pending, C::Pending), (A::Pending, C::Pending)], &[], "set up 01"),
            (&[(A::Valid, C::Valid), (A::Pending, C::Pending)], &[], "set up 1"),
            (&[(A::Pending, C::Pending), (A::Pending, C::Pending)], &URLS, "poll 01"),
            (&[(A::Pending, C::Processing), (A::Pending, C::Pending)], &[], "set up 1"),
            (&[(A::Pending, C::Processing), (A::Pending, C::Pending)], &URLS[1..], "poll 01"),
            (&[(A::Valid, C::Valid), (A::Pending, C::Processing)], &[], "poll 1"),
            (&[(A::Valid, C::Valid), (A::Valid, C::Pending)], &[], "finalize"),
            (
                &[(A::Valid, C::Valid), (A::Invalid, C::Invalid)],
                &[],
                "failed: the CA could not validate b.test by http-01: wrong content",
            ),
            // Nothing is fetched or set up for an order that is lost.
            (
                &[(A::Invalid, C::Invalid)],
                &[],
                "failed: the CA could not validate a.test by http-01: wrong content",
            ),
            (
                &[(A::Deactivated, C::Valid), (A::Valid, C::Valid)],
                &[],
                "failed: the authorization is deactivated for domain a.test: the CA gave no reason",
            ),
            (
                &[(A::Expired, C::Valid), (A::Valid, C::Valid)],
                &[],
                "failed: the authorization is expired for domain a.test: the CA gave no reason",
            ),
            (
                &[(A::Revoked, C::Valid), (A::Valid, C::Valid)],
                &[],
                "failed: the authorization is revoked for domain a.test: the CA gave no reason",
            ),
        ];
        for (states, started, expected) in table {
            let list: Vec<_> =
                states.iter().enumerate().map(|(n, (a, c))| authorization(n, *a, *c)).collect();
            let started: Vec<String> = started.iter().map(ToString::to_string).collect();
            let order = order(OrderStatus::Pending);
            assert_eq!(described(&step(&order, &list, &started)), *expected, "{states:?}");
        }
    }

    #[test]
    fn an_order_that_names_no_url_to_finalize_is_polled_until_it_does() {
        let list: Vec<_> =
            (0..2).map(|n| authorization(n, AuthorizationStatus::Valid, ChallengeStatus::Valid)).collect();
        let order = Order { finalize: None, ..order(OrderStatus::Pending) };
        assert_eq!(described(&step(&order, &list, &[])), "poll order");
    }

    #[test]
    fn later_states_need_no_authorizations() {
        assert_eq!(described(&step(&order(OrderStatus::Ready), &[], &[])), "finalize");
        assert_eq!(described(&step(&order(OrderStatus::Processing), &[], &[])), "poll order");
        let valid = Order { certificate: Some("https://ca.test/cert/1".into()), ..order(OrderStatus::Valid) };
        assert_eq!(described(&step(&valid, &[], &[])), "download https://ca.test/cert/1");
        let broken = order(OrderStatus::Valid);
        assert!(matches!(step(&broken, &[], &[]), Step::Failed(Error::Protocol(_))));
    }

    #[test]
    fn an_invalid_order_has_the_best_known_reason() {
        let bare = order(OrderStatus::Invalid);
        let failed = [authorization(1, AuthorizationStatus::Invalid, ChallengeStatus::Invalid)];
        let reasoned = Order { error: Some(Problem::new("acme:error:caa", "forbidden")), ..bare.clone() };
        let cases = [
            (&bare, &[][..], "failed: the order is invalid: the CA gave no reason"),
            (&bare, &failed[..], "failed: the CA could not validate b.test by http-01: wrong content"),
            (&reasoned, &[][..], "failed: the order is invalid: forbidden"),
            (&reasoned, &failed[..], "failed: the order is invalid for domain b.test: forbidden"),
        ];
        for (order, authorizations, expected) in cases {
            assert_eq!(described(&step(order, authorizations, &[])), expected);
        }
    }

    /// The times between polls, in milliseconds, if each answer has this `Retry-After`.
    fn polls(retry_after: Option<i64>, count: usize) -> Vec<u128> {
        let begin = Timestamp::from_unix(1000);
        let mut now = begin;
        let poll = |number| {
            let retry_after = retry_after.map(|s| Timestamp::from_unix_millis(now.unix_millis() + s * 1000));
            let delay = poll_delay(number == 0, now.since(begin), retry_after, now);
            now = now.plus(delay);
            delay.as_millis()
        };
        (0..count).map(poll).collect()
    }

    #[test]
    fn polls_are_quick_at_first_and_slow_down_the_longer_something_takes() {
        let own = [100, 200, 300, 600, 1200, 2400, 4800, 9600, 19_200, 30_000];
        assert_eq!(polls(None, 10), own);
        // "Now" and the past would be a busy loop.
        assert_eq!(polls(Some(0), 10), own);
        assert_eq!(polls(Some(-50), 10), own);
        let day = polls(None, 1000).into_iter().scan(0, |at, delay| {
            *at += delay;
            Some(*at)
        });
        assert!((150..250).contains(&day.take_while(|at| *at < 86_400_000).count()));
    }

    #[test]
    fn a_retry_after_that_fits_polls_is_their_pace_after_the_first_and_a_longer_one_is_advice() {
        assert_eq!(polls(Some(3), 4), [100, 3000, 3000, 3000]);
        assert_eq!(polls(Some(60), 3), [100, 60_000, 60_000]);
        assert_eq!(polls(Some(1), 6), [100, 200, 300, 600, 1000, 1000]);
        // ZeroSSL says a day of authorizations that it validates in seconds.
        let day = polls(Some(86_400), 10);
        assert_eq!(day[..7], [100, 800, 3600, 18_000, 60_000, 60_000, 60_000]);
        assert!(polls(Some(86_400), 300).iter().all(|delay| *delay <= 600_000));
        assert!(polls(Some(600), 300).contains(&600_000), "it is followed in the end");
    }
}
