// SPDX-License-Identifier: Apache-2.0
//! Judges what a CA has answered: its directory, its clock, its nonce, and the state of an account. Pure.

use crate::acme::objects::Directory;
use crate::acme::problem::Kind;
use crate::acme::{self};
use crate::cli::doctor::finding::Finding;
use crate::http::{self, Response, TlsFault};
use crate::model::Md;
use crate::time::{Timestamp, format_duration};
use serde_json::Value;
use std::time::Duration;

/// Signed requests in the DNS (RFC 8945 §5.2.3) allow no more, and nothing that works needs as much.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// The facts of account.json.
pub struct Known {
    pub is_valid: bool,
    pub kid: Option<String>,
    /// The URL of the terms that were agreed to.
    agreement: Option<String>,
}

impl Known {
    pub fn of(json: &Value) -> Self {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).map(String::from);
        Known {
            is_valid: text("/status").is_none_or(|status| status == "valid"),
            kid: text("/eab/kid"),
            agreement: text("/agreement"),
        }
    }
}

/// The directory of a CA, and a domain that orders there.
pub struct Answers<'a> {
    pub ca: &'a str,
    pub directory: &'a Directory,
    pub md: &'a Md,
}

impl Answers<'_> {
    /// What stands in the way of an order. `account`: account.json of the account to order with.
    pub fn findings(&self, account: Option<&Value>) -> Vec<Finding> {
        let account = account.map(Known::of);
        let found = match &account {
            None => [self.eab_missing(), self.terms_not_accepted(), None],
            Some(account) => [self.terms_changed(account), None, None],
        };
        found.into_iter().flatten().chain(self.profile()).collect()
    }

    fn eab_missing(&self) -> Option<Finding> {
        (self.directory.external_account_required && self.md.eab.is_none()).then(|| {
            Finding::fails(
                "eab-missing",
                &self.md.name,
                format!("The CA {} registers no account without an external account binding.", self.ca),
                "Add MDExternalAccountBinding with the key ID and the HMAC key from your account there.",
            )
        })
    }

    fn terms_not_accepted(&self) -> Option<Finding> {
        let terms = self.directory.terms_of_service.as_ref()?;
        self.md.ca.agreement.is_none().then(|| {
            Finding::fails(
                "terms-not-accepted",
                &self.md.name,
                format!("The CA {} registers no account before its terms of service are agreed to.", self.ca),
                format!("Read {terms}, and add 'MDCertificateAgreement accepted' if you agree."),
            )
        })
    }

    fn terms_changed(&self, account: &Known) -> Option<Finding> {
        let terms = self.directory.terms_of_service.as_ref()?;
        let configured = self.md.ca.agreement.as_ref().filter(|agreement| agreement.contains("://"));
        let agreed = account.agreement.as_ref().or(configured).filter(|agreed| *agreed != terms)?;
        Some(Finding::cannot_be_told(
            "terms-changed",
            &self.md.name,
            format!(
                "The CA {} has other terms of service now ({terms}) than were agreed to ({agreed}).",
                self.ca
            ),
            "Read them, and set 'MDCertificateAgreement accepted' if you agree. The CA says in the next order whether it \
             insists.",
        ))
    }

    fn profile(&self) -> Option<Finding> {
        let profile = self.md.profile.as_ref()?;
        let offered: Vec<&str> = self.directory.profiles.iter().map(|(name, _)| name.as_str()).collect();
        if offered.contains(&profile.as_str()) {
            return None;
        }
        let offers = if offered.is_empty() { "none".into() } else { offered.join(", ") };
        let evidence =
            format!("The CA {} does not offer the profile {profile}; it offers {offers}.", self.ca);
        let remedy = "Correct MDProfile, or remove it.";
        let finding = Finding::fails("profile-not-offered", &self.md.name, evidence, remedy);
        Some(match self.md.profile_mandatory {
            true => finding,
            // The order goes without one.
            false => Finding { verdict: crate::cli::doctor::finding::Verdict::Works, ..finding },
        })
    }
}

/// The token of a request that failed.
pub fn check_of(error: &acme::Error) -> &'static str {
    match error {
        acme::Error::Transport { source: http::Error::Tls(TlsFault::Time, _), .. } => "clock-off",
        acme::Error::Transport { source: http::Error::Tls(TlsFault::Trust | TlsFault::Name, _), .. } => {
            "ca-untrusted"
        }
        acme::Error::Transport { .. } => "ca-unreachable",
        acme::Error::NoDirectory { .. } => "ca-no-directory",
        acme::Error::Problem { problem, .. } if problem.is_of_wrong_url => "ca-no-directory",
        acme::Error::Problem { problem, .. } if problem.kind() == Kind::RateLimited => "ca-rate-limited",
        acme::Error::Problem { problem, .. } if problem.status >= 500 => "ca-maintenance",
        _ => "ca-refuses",
    }
}

/// The clock of this machine, by a response of the CA.
pub fn of_clock(ca: &str, theirs: Timestamp, ours: Timestamp) -> Option<Finding> {
    let (off, which) =
        if ours > theirs { (ours.since(theirs), "ahead of") } else { (theirs.since(ours), "behind") };
    if off <= SKEW_MAX {
        return Some(Finding::works("clock", ca, "The clock of this machine agrees with the CA's."));
    }
    Some(Finding::fails(
        "clock-off",
        ca,
        format!(
            "The clock of this machine is {} {which} that of the CA: it says {}, the CA {}.",
            format_duration(off),
            ours.to_http_date(),
            theirs.to_http_date()
        ),
        "Set date and time ('timedatectl', NTP): certificates are judged by them.",
    ))
}

/// The answer to a request for a nonce.
pub fn of_nonce(ca: &str, url: &str, answer: Result<Response, http::Error>) -> Option<Finding> {
    let evidence = match answer {
        Ok(response) if response.header("replay-nonce").is_some() => return None,
        Ok(response) => format!("{url} gives no nonce: status {}.", response.status),
        Err(error) => format!("{url} gives no nonce: {error}."),
    };
    let remedy = "Without one it takes no request. Try again later; where this lasts, a proxy may remove the header \
                  Replay-Nonce, or ask the CA's operator.";
    Some(Finding::fails("ca-no-nonce", ca, evidence, remedy))
}

/// The status of an account that the CA knows.
pub fn of_status(account: &str, status: &str, can_register: bool) -> Finding {
    match status {
        "valid" => Finding::works("account", account, "The CA knows the account, and it is valid."),
        status => gone("account-deactivated", account, &format!("The account is {status}."), can_register),
    }
}

/// The CA refuses requests of the account.
pub fn of_unknown(account: &str, text: &str, can_register: bool) -> Finding {
    let check = if text.contains("deactivated") { "account-deactivated" } else { "account-unknown" };
    gone(
        check,
        account,
        &format!("The CA refuses the account: {}.", text.trim_end_matches('.')),
        can_register,
    )
}

fn gone(check: &'static str, account: &str, evidence: &str, can_register: bool) -> Finding {
    let remedy = match can_register {
        true => {
            "The next renewal registers a new account: where a CAA record names this one (accounturi), change it. \
             Otherwise nothing needs to be done."
        }
        false => "Add 'MDCertificateAgreement accepted', so that a new account can be registered.",
    };
    Finding::fails(check, account, evidence, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::model::Eab;
    use crate::time::DAY;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn directory(meta: Value) -> Directory {
        let url = |what: &str| format!("https://ca.test/{what}");
        let json = json!({"newNonce": url("n"), "newAccount": url("a"), "newOrder": url("o"), "meta": meta});
        Directory::parse(&json).unwrap()
    }

    fn checks(meta: Value, md: &Md, account: Option<Value>) -> Vec<&'static str> {
        let directory = directory(meta);
        let answers = Answers { ca: "https://ca.test/", directory: &directory, md };
        let found = answers.findings(account.as_ref());
        found
            .iter()
            .filter(|finding| finding.verdict != Verdict::Works)
            .map(|finding| finding.check)
            .collect()
    }

    #[test]
    fn what_stands_in_the_way_of_an_order_is_told() {
        let md = Md { name: "a.test".into(), ..Md::default() };
        let agreed = |agreement: &str| {
            let mut md = md.clone();
            md.ca.agreement = Some(agreement.into());
            md
        };
        let bound = Md { eab: Some(Eab { kid: "k".into(), hmac: "h".into() }), ..agreed("accepted") };
        let terms = || json!({"termsOfService": "https://ca.test/2"});
        let eab = || json!({"externalAccountRequired": true});
        for (meta, md, account, expected) in [
            (json!({}), &md, None, &[][..]),
            (terms(), &md, None, &["terms-not-accepted"]),
            (terms(), &agreed("accepted"), None, &[]),
            (terms(), &md, Some(json!({})), &[]),
            (terms(), &agreed("https://ca.test/1"), Some(json!({})), &["terms-changed"]),
            (terms(), &agreed("https://ca.test/2"), Some(json!({})), &[]),
            (
                terms(),
                &agreed("accepted"),
                Some(json!({"agreement": "https://ca.test/1"})),
                &["terms-changed"],
            ),
            (eab(), &md, None, &["eab-missing"]),
            (eab(), &bound, None, &[]),
            (eab(), &md, Some(json!({})), &[]),
        ] {
            assert_eq!(checks(meta.clone(), md, account.clone()), expected, "{meta} {account:?}");
        }
    }

    #[test]
    fn a_profile_that_is_not_offered_fails_where_it_is_mandatory() {
        let of = |profile: &str, profile_mandatory| {
            let md = Md { profile: Some(profile.into()), profile_mandatory, ..Md::default() };
            checks(json!({"profiles": {"short": "s"}}), &md, None)
        };
        assert_eq!(of("long", true), ["profile-not-offered"]);
        assert_eq!([of("long", false), of("short", true)], [Vec::<&str>::new(), Vec::new()]);
    }

    #[test]
    fn a_clock_may_be_minutes_off() {
        let verdict = |theirs| of_clock("ca", theirs, NOW).map(|finding| finding.verdict);
        for (theirs, expected) in [
            (NOW, Verdict::Works),
            (NOW.plus(Duration::from_secs(200)), Verdict::Works),
            (NOW.plus(Duration::from_secs(3600)), Verdict::Fails),
            (NOW.minus(DAY), Verdict::Fails),
        ] {
            assert_eq!(verdict(theirs), Some(expected), "{theirs:?}");
        }
    }

    #[test]
    fn an_account_that_is_gone_is_told_from_one_that_works() {
        assert_eq!(of_status("a", "valid", false).verdict, Verdict::Works);
        assert_eq!(of_status("a", "deactivated", true).check, "account-deactivated");
        assert_eq!(of_unknown("a", "unable to find it", true).check, "account-unknown");
        assert!(of_status("a", "revoked", false).remedy.unwrap().contains("MDCertificateAgreement"));
    }

    #[test]
    fn a_nonce_is_a_header() {
        let with = |name: &str| Response::new(200, vec![(name.into(), "x".into())], Vec::new());
        assert_eq!(of_nonce("ca", "u", Ok(with("Replay-Nonce"))), None);
        assert_eq!(of_nonce("ca", "u", Ok(with("Date"))).unwrap().check, "ca-no-nonce");
        assert_eq!(of_nonce("ca", "u", Err(http::Error::Refused)).unwrap().check, "ca-no-nonce");
    }
}
