// SPDX-License-Identifier: Apache-2.0
//! Whether CAA records let the CA issue, for this account and by these challenges (RFC 8659, RFC 8657). Pure;
//! imports `dns::caa` and `finding`.

use super::case::shown;
use crate::cli::doctor::finding::Finding;
use crate::dns::caa::{Applicant, Relevant, Ruling, rule};
use crate::dns::{Error, OptRcode};

/// A CA that is to issue for a name.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name as the certificate has it.
    pub name: &'a str,
    /// The directory URL of the CA; `None`: none is configured yet.
    pub ca: Option<&'a str>,
    /// The names of the CA in CAA records, or why they are not known.
    pub identities: Result<&'a [String], &'a str>,
    pub account: Option<&'a str>,
    /// Challenge types.
    pub methods: &'a [&'a str],
}

pub fn judge(asked: &Asked<'_>, found: &Result<Option<Relevant>, Error>) -> Finding {
    let relevant = match found {
        Ok(Some(relevant)) => relevant,
        Ok(None) => {
            return Finding::works(
                "caa",
                asked.name,
                "No CAA record is there: every CA may issue.".to_string(),
            );
        }
        Err(error) => return unknown(asked, error),
    };
    let at = format!("The CAA records of {}", relevant.at);
    match (asked.ca, asked.identities) {
        (None, _) => without_ca(asked, relevant, &at),
        (Some(ca), Err(reason)) => {
            untold(asked, relevant, &format!("the names of {ca} are not known: {reason}"))
        }
        (Some(ca), Ok([])) => {
            untold(asked, relevant, &format!("{ca} does not say which of its names CAA records have"))
        }
        (Some(ca), Ok(identities)) => with_ca(asked, relevant, &at, ca, identities),
    }
}

fn with_ca(asked: &Asked<'_>, relevant: &Relevant, at: &str, ca: &str, identities: &[String]) -> Finding {
    let is_wildcard = crate::names::is_wildcard(asked.name);
    let (account, methods) = (asked.account, asked.methods);
    let ruling = rule(&relevant.records, &Applicant { identities, account, methods, is_wildcard });
    let zone = relevant.at.to_string();
    let own = identities.first().map(String::as_str).unwrap_or_default();
    let tag = if is_wildcard && relevant.records.iter().any(|r| r.tag == "issuewild") {
        "issuewild"
    } else {
        "issue"
    };
    match ruling {
        Ruling::Allowed => Finding::works("caa", asked.name, format!("{at} allow {own}.")),
        Ruling::OtherCas(others) => Finding::fails(
            "caa-forbids",
            asked.name,
            format!("{at} do not allow {ca} ({}): {}.", identities.join(", "), allowed(&others)),
            format!("Add the record '{zone}. CAA 0 {tag} \"{own}\"', or take a CA that is allowed (MDCertificateAuthority)."),
        ),
        Ruling::OtherAccounts(accounts) => Finding::fails(
            "caa-account",
            asked.name,
            format!(
                "{at} allow {own} for the account {} alone, and the account here is {}.",
                list(&accounts),
                account.unwrap_or("not registered yet")
            ),
            match account {
                Some(url) => format!("Set 'accounturi={url}' in the record, or use the account that it names."),
                None => "Register the account first ('a2md renew' does), and set its URL as accounturi in the record.".into(),
            },
        ),
        Ruling::OtherMethods(allowed) => Finding::fails(
            "caa-method",
            asked.name,
            format!("{at} allow validation by {} alone, and it is done by {} here.", list(&allowed), methods.join(", ")),
            "Add the challenge to validationmethods in the record, or configure one of those that it has (MDCAChallenges).",
        ),
        Ruling::Unknown(tag) => critical(asked, at, &tag),
    }
}

fn critical(asked: &Asked<'_>, at: &str, tag: &str) -> Finding {
    let what = if tag.is_empty() {
        "a record that cannot be read".into()
    } else {
        format!("the tag '{}'", shown(tag))
    };
    Finding::fails(
        "caa-critical",
        asked.name,
        format!("{at} have {what}, marked as critical: no CA that does not know it may issue."),
        "Remove that record, or set its flags to 0.",
    )
}

/// Which CA will be asked is not known yet.
fn without_ca(asked: &Asked<'_>, relevant: &Relevant, at: &str) -> Finding {
    let (account, methods) = (None, asked.methods);
    let is_wildcard = crate::names::is_wildcard(asked.name);
    match rule(&relevant.records, &Applicant { identities: &[], account, methods, is_wildcard }) {
        Ruling::Unknown(tag) => critical(asked, at, &tag),
        Ruling::OtherCas(others) if others.is_empty() => Finding::fails(
            "caa-forbids",
            asked.name,
            format!("{at} let no CA issue."),
            format!("Add a record with your CA: '{}. CAA 0 issue \"CA\"'.", relevant.at),
        ),
        Ruling::OtherCas(others) => Finding::works("caa", asked.name, format!("{at}: {}.", allowed(&others))),
        _ => Finding::works("caa", asked.name, format!("{at} allow every CA.")),
    }
}

fn untold(asked: &Asked<'_>, relevant: &Relevant, reason: &str) -> Finding {
    Finding::cannot_be_told(
        "caa",
        asked.name,
        format!("{} has CAA records, and {reason}.", relevant.at),
        format!("Compare the names that the CA documents with 'dig CAA {}'.", relevant.at),
    )
}

fn unknown(asked: &Asked<'_>, error: &Error) -> Finding {
    let evidence = format!("The CAA records of {} cannot be looked up: {error}.", asked.name);
    let is_refused = matches!(error, Error::Refused { rcode, .. } if *rcode == OptRcode::SERVFAIL);
    if is_refused {
        return Finding::fails(
            "caa-unresolved",
            asked.name,
            evidence,
            "Have the name servers of the zone answer questions for CAA (type 257), if only with no record: a CA must not \
             issue without an answer. Some answer SERVFAIL to types they do not know, or sign wrongly (DNSSEC).",
        );
    }
    Finding::cannot_be_told(
        "caa-unresolved",
        asked.name,
        evidence,
        "Check the resolvers of this machine in /etc/resolv.conf. A CA asks its own.",
    )
}

fn allowed(cas: &[String]) -> String {
    if cas.is_empty() { "no CA may issue".into() } else { format!("those who may issue are {}", list(cas)) }
}

fn list(texts: &[String]) -> String {
    texts.iter().take(8).map(|text| shown(text)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::dns::caa::Caa;
    use crate::dns::{Name, Rtype};

    fn found(values: &[&str]) -> Result<Option<Relevant>, Error> {
        let records = values.iter().map(|value| Caa {
            is_critical: false,
            tag: "issue".into(),
            value: value.to_string(),
        });
        Ok(Some(Relevant { at: Name::parse("test").unwrap(), records: records.collect() }))
    }

    fn asked(name: &str) -> Asked<'_> {
        Asked { name, ca: None, identities: Ok(&[]), account: None, methods: &["http-01"] }
    }

    #[test]
    fn text_of_records_is_escaped_and_bounded() {
        let names = ["ca.test".to_string()];
        let asked = Asked { ca: Some("https://ca.test/dir"), identities: Ok(&names), ..asked("a.test") };
        let evil = format!("x\u{1b}[2J\n{}", "y".repeat(5000));
        let finding = judge(&asked, &found(&[&evil]));
        assert_eq!((finding.check, finding.verdict), ("caa-forbids", Verdict::Fails));
        assert!(!finding.evidence.contains(['\u{1b}', '\n']) && finding.evidence.len() < 300, "{finding:?}");
    }

    #[test]
    fn without_a_ca_or_its_names_nothing_fails_that_may_be_right() {
        let names = ["ca.test".to_string()];
        let known = Asked { ca: Some("https://ca.test/dir"), identities: Ok(&names), ..asked("a.test") };
        let nameless = Asked { identities: Ok(&[]), ..known };
        let unreached = Asked { identities: Err("it is down"), ..known };
        for (asked, values, check, verdict) in [
            (&asked("a.test"), &["ca.test"][..], "caa", Verdict::Works),
            (&asked("a.test"), &[";"], "caa-forbids", Verdict::Fails),
            (&known, &["ca.test"], "caa", Verdict::Works),
            (&nameless, &["ca.test"], "caa", Verdict::CannotBeTold),
            (&unreached, &["ca.test"], "caa", Verdict::CannotBeTold),
        ] {
            let finding = judge(asked, &found(values));
            assert_eq!((finding.check, finding.verdict), (check, verdict), "{finding:?}");
        }
        assert_eq!(judge(&unreached, &Ok(None)).verdict, Verdict::Works);
    }

    #[test]
    fn a_resolver_that_fails_forbids_and_one_that_is_silent_does_not() {
        let server = "192.0.2.1:53".parse().unwrap();
        let name = Name::parse("a.test").unwrap();
        let refused = Error::Refused { server, name, rtype: Rtype::CAA, rcode: OptRcode::SERVFAIL };
        assert_eq!(judge(&asked("a.test"), &Err(refused)).verdict, Verdict::Fails);
        let silent = Error::Timeout { server, limit: std::time::Duration::from_secs(6) };
        assert_eq!(judge(&asked("a.test"), &Err(silent)).verdict, Verdict::CannotBeTold);
    }
}
