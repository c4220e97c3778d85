// SPDX-License-Identifier: Apache-2.0
//! The requests that a CA does not want, and until when: rate limits and overload (RFC 8555 §6.6, RFC 9110
//! §10.2.3). Pure. A demand comes with an answer of the CA; [`RateLimits`] are those in force, shared by all
//! jobs, while each job keeps its own in job.json.

use crate::acme::problem::{Kind, Problem};
use crate::acme::{self};
use crate::model::{RateLimit, Scope};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// The pause after "too many requests" without a date.
const LIMITED: Duration = Duration::from_secs(3600);
/// The same where the CA is overloaded or under maintenance.
const UNAVAILABLE: Duration = Duration::from_secs(60);
/// The longest wait that a text can demand, as with a header.
const LONGEST: Duration = Duration::from_secs(10 * 86_400);

/// The demand that a failure of an order for `domains` carries.
pub fn demanded(error: &acme::Error, ca: &str, domains: &[String], now: Timestamp) -> Option<RateLimit> {
    let (pause, scope) = match error {
        acme::Error::Problem { problem, .. } if is_limit(problem) => (LIMITED, scope(problem, domains)),
        acme::Error::Problem { problem, .. } => match problem.status {
            429 => (LIMITED, Scope::Ca),
            503 => (UNAVAILABLE, Scope::Ca),
            _ => return None,
        },
        acme::Error::Invalid { identifier, problem: Some(problem), .. } if is_limit(problem) => {
            let name = identifier.as_deref().map(|name| name.strip_prefix("*.").unwrap_or(name));
            (LIMITED, name.map_or_else(|| scope(problem, domains), |name| Scope::Name(name.to_string())))
        }
        _ => return None,
    };
    let stated =
        error.problem().filter(|problem| is_limit(problem)).and_then(|problem| dated(&problem.detail));
    let until = error.retry_after().or(stated.map(|at| at.min(now.plus(LONGEST)))).filter(|at| *at > now);
    let until = until.unwrap_or_else(|| now.plus(pause));
    Some(RateLimit {
        ca: ca.to_string(),
        scope,
        since: Timestamp::from_unix(now.unix()),
        until: until.ceil(),
    })
}

/// Large CAs say it in the text: `retry after 2026-11-16 00:00:00 UTC`.
fn dated(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once("retry after ")?;
    let date = rest.get(..19)?.replacen(' ', "T", 1);
    Timestamp::parse_rfc3339(&format!("{date}Z"))
}

fn is_limit(problem: &Problem) -> bool {
    problem.kind() == Kind::RateLimited || problem.subproblems.iter().any(|s| s.kind() == Kind::RateLimited)
}

/// Whether a limit is that of the account or of names. RFC 8555 has identifiers in subproblems alone; large
/// CAs name the limit in the text.
fn scope(problem: &Problem, domains: &[String]) -> Scope {
    let mut named: Vec<&str> = problem
        .subproblems
        .iter()
        .filter_map(|s| Some(s.identifier.as_deref()?.trim_start_matches("*.")))
        .collect();
    if named.is_empty() {
        let words = problem.detail.split(|c: char| c.is_whitespace() || "\"'`()[],;".contains(c));
        let words = words.map(|word| word.trim_end_matches(['.', ':']).trim_start_matches("*."));
        named = words.filter(|word| domains.iter().any(|domain| is_within(domain, word))).collect();
    }
    named.sort_unstable();
    named.dedup();
    match named.as_slice() {
        [one] => Scope::Name((*one).to_string()),
        [] if !problem.detail.contains("exact set of") => Scope::Ca,
        _ => Scope::Job,
    }
}

/// Whether `domain` is `name` or below it; top-level domains never match.
fn is_within(domain: &str, name: &str) -> bool {
    let domain = domain.strip_prefix("*.").unwrap_or(domain);
    domain == name
        || (name.contains('.') && domain.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

/// The demands in force.
#[derive(Clone, Debug, Default)]
pub struct RateLimits(Vec<RateLimit>);

impl RateLimits {
    /// Takes in a demand from the file of a job. Any process that may write in staging can have written it,
    /// so it holds others back for a day at most after each start.
    pub fn add_stored(&mut self, rate_limit: &RateLimit, now: Timestamp) {
        if rate_limit.is_in_force(now) {
            self.add(&RateLimit { until: rate_limit.until.min(now.plus(DAY)), ..rate_limit.clone() }, now);
        }
    }

    /// Takes in a demand that concerns more than one job. A later one replaces an earlier one.
    pub fn add(&mut self, rate_limit: &RateLimit, now: Timestamp) {
        self.0.retain(|known| known.is_in_force(now));
        if rate_limit.scope == Scope::Job || !rate_limit.is_in_force(now) {
            return;
        }
        match self.0.iter_mut().find(|known| known.ca == rate_limit.ca && known.scope == rate_limit.scope) {
            Some(known) => {
                (known.since, known.until) =
                    (known.since.max(rate_limit.since), known.until.max(rate_limit.until));
            }
            None => self.0.push(rate_limit.clone()),
        }
    }

    /// The end of the wait before requests for `domains` at the CA; `None`: none is demanded.
    pub fn until(&self, ca: &str, domains: &[String], now: Timestamp) -> Option<Timestamp> {
        self.find(ca, domains, now).map(|limit| limit.until)
    }

    /// The demand that holds `domains` back longest.
    pub fn find(&self, ca: &str, domains: &[String], now: Timestamp) -> Option<&RateLimit> {
        self.concerning(ca, domains, now).max_by_key(|limit| limit.until)
    }

    /// All demands that hold `domains` back.
    pub fn concerning(
        &self,
        ca: &str,
        domains: &[String],
        now: Timestamp,
    ) -> impl Iterator<Item = &RateLimit> {
        let concerns = move |rate_limit: &&RateLimit| {
            rate_limit.ca == ca
                && match &rate_limit.scope {
                    Scope::Ca => true,
                    Scope::Name(name) => domains.iter().any(|domain| is_within(domain, name)),
                    Scope::Job => false,
                }
        };
        self.0.iter().filter(move |limit| limit.is_in_force(now)).filter(concerns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const CA: &str = "https://ca.test/dir";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn refused(type_: &str, detail: &str, status: u16, retry_after: Option<u64>) -> acme::Error {
        let mut problem = Problem::new(&format!("acme:error:{type_}"), detail);
        problem.status = status;
        let retry_after = retry_after.map(|s| NOW.plus(Duration::from_secs(s)));
        acme::Error::Problem { problem: Box::new(problem), retry_after }
    }

    fn demand(error: &acme::Error) -> Option<(Scope, u64)> {
        let rate_limit = demanded(error, CA, &names(&["www.a.test", "b.test"]), NOW)?;
        Some((rate_limit.scope, rate_limit.until.since(NOW).as_secs()))
    }

    #[test]
    fn limits_and_overload_hold_the_ca_as_long_as_it_says() {
        let cases = [
            (refused("rateLimited", "too many new orders (300) from this account", 429, Some(77)), Some(77)),
            (refused("rateLimited", "too many", 403, None), Some(3600)),
            (refused("malformed", "slow down", 429, Some(5)), Some(5)),
            (refused("serverInternal", "maintenance", 503, Some(900)), Some(900)),
            (refused("serverInternal", "maintenance", 503, None), Some(60)),
            (refused("serverInternal", "oops", 500, Some(900)), None),
            (refused("dns", "no such host", 400, None), None),
        ];
        for (error, seconds) in cases {
            assert_eq!(demand(&error), seconds.map(|s| (Scope::Ca, s)), "{error}");
        }
    }

    #[test]
    fn an_instant_between_two_seconds_is_kept_as_the_later_one() {
        let error = refused("rateLimited", "", 429, Some(10));
        let rate_limit = demanded(&error, CA, &[], Timestamp::from_unix_millis(1_800_000_000_500)).unwrap();
        assert_eq!(rate_limit.until, NOW.plus(Duration::from_secs(10)));
        let none = refused("rateLimited", "", 429, None);
        let rate_limit = demanded(&none, CA, &[], Timestamp::from_unix_millis(1_800_000_000_500)).unwrap();
        assert_eq!(rate_limit.until.unix_millis(), 1_800_003_601_000);
    }

    #[test]
    fn a_limit_that_names_a_domain_is_that_of_the_domain() {
        let name = |name: &str| Some((Scope::Name(name.into()), 9));
        for (detail, expected) in [
            (
                "too many failed authorizations (5) for \"www.a.test\" in the last 1h0m0s, retry after …",
                name("www.a.test"),
            ),
            ("too many certificates (50) already issued for \"a.test\" in the last 168h", name("a.test")),
            (
                "too many certificates (5) already issued for this exact set of identifiers",
                Some((Scope::Job, 9)),
            ),
            ("too many for a.test and b.test", Some((Scope::Job, 9))),
            ("see https://a.test/docs. for test", Some((Scope::Ca, 9))),
        ] {
            assert_eq!(demand(&refused("rateLimited", detail, 429, Some(9))), expected, "{detail}");
        }
        let document = json!({"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many",
            "subproblems": [{"type": "urn:ietf:params:acme:error:rateLimited",
                "identifier": {"type": "dns", "value": "b.test"}}]});
        let problem = Box::new(Problem::parse(&document).unwrap());
        let error = acme::Error::Problem { problem, retry_after: Some(NOW.plus(Duration::from_secs(9))) };
        assert_eq!(demand(&error), name("b.test"));
    }

    #[test]
    fn what_a_file_says_holds_others_for_a_day_at_most() {
        let until = |days: u32| {
            let mut limits = RateLimits::default();
            let (ca, scope, until) = (CA.into(), Scope::Ca, NOW.plus(DAY * days));
            limits.add_stored(&RateLimit { ca, scope, since: NOW.minus(DAY), until }, NOW);
            limits.until(CA, &names(&["b.test"]), NOW)
        };
        assert_eq!([until(1), until(9)], [Some(NOW.plus(DAY)); 2]);
        assert_eq!(until(300), None, "no CA was obeyed for so long");
    }

    #[test]
    fn a_hold_concerns_its_ca_and_its_names_until_it_is_over() {
        let until = NOW.plus(Duration::from_secs(100));
        let mut limits = RateLimits::default();
        let rate_limit = |scope| RateLimit { ca: CA.into(), scope, since: NOW, until };
        limits.add(&rate_limit(Scope::Name("a.test".into())), NOW);
        limits.add(&rate_limit(Scope::Job), NOW);
        for (domain, held) in
            [("a.test", true), ("x.a.test", true), ("*.a.test", true), ("ba.test", false), ("b.test", false)]
        {
            assert_eq!(limits.until(CA, &names(&[domain]), NOW).is_some(), held, "{domain}");
        }
        limits.add(&rate_limit(Scope::Ca), NOW);
        assert_eq!(limits.until(CA, &names(&["b.test"]), NOW), Some(until));
        assert_eq!(limits.until("https://other.test/dir", &names(&["a.test"]), NOW), None);
        assert_eq!(limits.until(CA, &names(&["b.test"]), until), None);
        // A clock that was wrong when it was written.
        assert_eq!(limits.until(CA, &names(&["b.test"]), NOW.minus(Duration::from_secs(1))), None);
    }
}
