// SPDX-License-Identifier: Apache-2.0
//! The advice to admins on a failed renewal, beside the messages of the CA or of the operating system: a
//! table from kinds of errors, and the facts around them, to sentences. Never contradicts the facts: the
//! advice never is to configure something that is configured. Searches for words only in a CA's text, which
//! has nothing else. Pure; imports the errors it explains.

mod connection;
mod facts;
mod problem;
mod record;

pub use facts::Facts;

use super::error::{Error, Fault};
use crate::acme;
use crate::challenge::{dns_account01, dns_persist01, dns01, http01, tls_alpn01};
use crate::crypto;
use crate::managed::fit::Unfit;
use crate::model::dns01::Way;
use crate::model::outcome::{ADVICE, quoted};
use crate::names;
use crate::notify;
use facts::url_of;

/// For hosts that refuse the CA's certificate.
pub const REFUSED: &str = "Let the hosts take such certificates (SSLCipherSuite with @SECLEVEL, SSLOpenSSLConfCmd, or \
    openssl.cnf and a stop and start of httpd), or order others with MDPrivateKeys or MDCertificateAuthority and remove \
    the domain's folder below staging.";

/// The error, and the advice on it.
pub fn explain(error: &Error, facts: &Facts<'_>) -> String {
    let cause = match error.acme() {
        Some(acme::Error::Transport { url, source }) => {
            format!("the CA cannot be reached at {url}: {source}")
        }
        Some(acme::Error::Problem { problem, .. }) if problem.is_quote => format!("the CA says: {error}"),
        _ => error.to_string(),
    };
    // Servers and commands have worded some of it.
    let cause = sentence(quoted(&cause));
    match hint(error, facts) {
        Some(hint) => cause + ADVICE + &hint,
        None => cause,
    }
}

/// Ended by a full stop, so that other sentences can follow.
fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

/// The advice in whole sentences; `None` where the error itself contains it.
pub fn hint(error: &Error, facts: &Facts<'_>) -> Option<String> {
    Some(match error {
        Error::Acme(error) => return of_acme(error, false, facts),
        Error::Account(error) => return of_acme(error, true, facts),
        Error::Store(error) => return error.advice(),
        Error::Crypto(_) => {
            crypto::ADVICE.into()
        }
        Error::Route(error) => connection::of_setup(error),
        Error::Event(_) => of_command(),
        Error::ChallengeMismatch { offered, .. } => of_mismatch(facts, offered),
        Error::ChallengeSetup { fault, domain, .. } => match (fault, facts.dns01.and_then(Way::command_line)) {
            (Fault::Command, Some(line)) => format!(
                "Run '{line} setup {domain} test' as httpd's User and fix what it reports; its output is in the error \
                 log with 'LogLevel md:debug'."
            ),
            (Fault::NoCommand, _) => "Correct the path in MDChallengeDns01, or have httpd's User allowed to execute the \
                 command (its mode, that of the folders above it, and the program a script is for)."
                .into(),
            (Fault::SlowCommand, Some(line)) => format!(
                "Give it more time with MDChallengeDns01Timeout, or find out what it waits for: run '{line} setup {domain} \
                 test' as httpd's User; its output is in the error log with 'LogLevel md:debug'."
            ),
            (Fault::Dns(advice), _) => advice.clone(),
            (Fault::Message, _) => of_command(),
            _ => "Fix what the reason names: httpd's User has to write below 'challenges' in the store (MDStoreDir).".into(),
        },
        Error::Unusable(_) => {
            "Nothing needs to be done: new certificates are requested. Where this comes back, look for who else changes \
             the store (another httpd, a backup, a clean-up job)."
                .into()
        }
        Error::NoAuthority => "Name a CA with MDCertificateAuthority, then restart httpd.".into(),
        Error::Panicked => {
            "Report this bug of mod_md with the lines of the error log before this one. The renewal is tried again by \
             itself."
                .into()
        }
        Error::Refused(_) => REFUSED.into(),
        Error::Misissued { unfit, .. } => of_unfit(unfit),
        Error::Lost(_) | Error::Stopped => return None,
    })
}

fn of_acme(error: &acme::Error, is_account: bool, facts: &Facts<'_>) -> Option<String> {
    Some(match error {
        acme::Error::Transport { url, source } => connection::of_transport(url, source, facts),
        acme::Error::Invalid { identifier: Some(name), tried, problem: Some(problem), .. } => {
            problem::of_validation(problem, name, tried.as_ref(), facts)
        }
        acme::Error::Problem { problem, .. } if problem.is_of_wrong_url => of_wrong_url(facts),
        acme::Error::Problem { problem, .. } if problem.is_ours() => return None,
        acme::Error::Problem { problem, .. } | acme::Error::Invalid { problem: Some(problem), .. } => {
            problem::of_problem(problem, is_account, facts)
        }
        acme::Error::Invalid { problem: None, .. } => {
            "Nothing needs to be done at first: the next try places a new order. Where this comes back, look for the reason in \
             the CA's own log, or ask its operator."
                .into()
        }
        acme::Error::NoDirectory { .. } => of_wrong_url(facts),
        acme::Error::Protocol(_) => {
            "Tell the CA's operator this text: it is for them to mend. A further URL in MDCertificateAuthority names another CA \
             to go on with."
                .into()
        }
        acme::Error::TimedOut { .. } => {
            "Nothing needs to be done at first: the next try places a new order. Where this comes back, ask the CA's operator \
             what keeps it, or name another CA with MDCertificateAuthority."
                .into()
        }
        acme::Error::AgreementRequired { .. } | acme::Error::Stopped => return None,
        acme::Error::Crypto(_) => {
            crypto::ADVICE.into()
        }
    })
}

/// The same words as where nothing else fails by it.
fn of_command() -> String {
    notify::ADVICE.into()
}

fn of_wrong_url(facts: &Facts<'_>) -> String {
    format!(
        "Correct the URL in MDCertificateAuthority: the CA's documentation has that of its directory, and 'curl {}' shows \
         what is there.",
        url_of(facts)
    )
}

/// `offered`: the types that the CA has for one of the names.
fn of_mismatch(facts: &Facts<'_>, offered: &[String]) -> String {
    let allowed = &facts.md.ca.challenges;
    let is_allowed = allowed.is_empty() || allowed.iter().any(|type_| type_ == "dns-01");
    let has_wildcard = facts.md.domains.iter().any(|name| names::is_wildcard(name));
    match (has_wildcard, facts.dns01.is_some()) {
        (true, false) => {
            "Configure MDChallengeDns01 (rfc2136, acme-dns, responder, a hook:KIND, or a command that writes TXT records), and \
             allow dns-01 where MDCAChallenges is used: wildcard names can be validated with dns-01 only."
                .into()
        }
        (true, true) if !is_allowed => {
            "Add dns-01 to MDCAChallenges: wildcard names can be validated with dns-01 only.".into()
        }
        (true, true) => {
            "Name another CA with MDCertificateAuthority: this one does not validate wildcard names by dns-01."
                .into()
        }
        (false, _) if !allowed.is_empty() => format!(
            "Change MDCAChallenges (now: {}), or have one of these work: {}.",
            allowed.join(" "),
            needs(offered)
        ),
        (false, _) => format!("Have one of these work: {}.", needs(offered)),
    }
}

/// The requirements of the challenge types that a CA offers.
fn needs(offered: &[String]) -> String {
    // The last two are named only to those whose CA has them.
    let all = [
        (http01::TYPE, "'Listen 80' (where a router hands port 80 on to another one, 'MDPortMap http:PORT')"),
        (tls_alpn01::TYPE, "port 443 and 'acme-tls/1' in Protocols of the TLS host"),
        (
            dns01::TYPE,
            "MDChallengeDns01 (rfc2136, acme-dns, responder, a hook:KIND, or a command that writes TXT records)",
        ),
        (
            dns_account01::TYPE,
            "MDChallengeDns01 in a way that is told the name of the record, and to be in MDCAChallenges",
        ),
        (dns_persist01::TYPE, "to be in MDCAChallenges, and a TXT record that you set once"),
    ];
    let is_offered = |type_: &str| offered.iter().any(|offer| offer == type_);
    let is_usual = |type_: &str| ![dns_account01::TYPE, dns_persist01::TYPE].contains(&type_);
    let some = all.iter().filter(|(type_, _)| is_offered(type_) || (offered.is_empty() && is_usual(type_)));
    let texts: Vec<String> = some.map(|(type_, need)| format!("{type_} needs {need}")).collect();
    texts.join("; ")
}

fn of_unfit(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Expired => "Set date and time of this machine: by its clock the new certificate is over already.".into(),
        Unfit::MustStaple => {
            "Configure MDMustStaple as the CA issues certificates, or use another CA (MDCertificateAuthority)."
                .into()
        }
        Unfit::Missing | Unfit::Unreadable(_) | Unfit::Key | Unfit::Names | Unfit::SubjectAlone => {
            "Tell the CA's operator, or use another CA (MDCertificateAuthority): it has issued something else than was ordered. \
             What was served before still is."
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Problem;
    use crate::acme::error::{End, Tried};
    use crate::http::{self, TlsFault};
    use crate::model::dns01::Command;
    use crate::model::{Ca, Eab, Md};

    fn wildcard() -> Md {
        Md { domains: vec!["*.a.test".into()], ..Md::default() }
    }

    fn facts(md: &Md) -> Facts<'_> {
        Facts { md, ca: Some("https://ca.test/dir"), has_proxy: false, dns01: None, until: None }
    }

    fn hint(error: &Error) -> Option<String> {
        super::hint(error, &facts(&Md::default()))
    }

    fn invalid(kind: &str) -> Error {
        acme::Error::Invalid {
            end: End::Invalid,
            identifier: Some("a.test".into()),
            tried: None,
            problem: Some(Box::new(Problem::new(&format!("acme:error:{kind}"), "said"))),
        }
        .into()
    }

    fn refused(kind: &str) -> Error {
        acme::Error::from(Problem { status: 403, ..Problem::new(&format!("acme:error:{kind}"), "said") })
            .into()
    }

    fn unreached(source: http::Error) -> Error {
        acme::Error::Transport { url: "https://ca.test/dir".into(), source }.into()
    }

    #[test]
    fn the_commonest_causes_have_a_remedy() {
        let tls = |fault| unreached(http::Error::Tls(fault, "in OpenSSL's words".into()));
        let table = [
            ("port 80 closed", invalid("connection"), "Open port 80"),
            ("DNS wrong", invalid("dns"), "dig a.test"),
            ("DNS leads elsewhere", invalid("incorrectResponse"), "records of a.test lead to this server"),
            ("the same", invalid("unauthorized"), "records of a.test lead to this server"),
            ("CAA", invalid("caa"), "to the DNS of a.test"),
            ("terms", refused("userActionRequired"), "MDCertificateAgreement accepted"),
            ("EAB missing", refused("externalAccountRequired"), "MDExternalAccountBinding"),
            ("rate limit", refused("rateLimited"), "limit of the CA"),
            ("clock off", tls(TlsFault::Time), "date and time"),
            ("another server", tls(TlsFault::Name), "/etc/hosts"),
            ("no TLS", tls(TlsFault::Handshake), "does not speak TLS 1.2"),
            ("proxy", Error::Route(http::Error::Proxy), "Correct MDHttpProxy"),
            (
                "roots in a folder of that name",
                Error::Route(http::Error::Invalid(
                    "cannot read the CA certificates in '/proxy/x.pem'".into(),
                )),
                "Correct MDCACertificateFile",
            ),
            ("CA unreachable", unreached(http::Error::Refused), "curl https://ca.test/dir"),
            ("CA silent", unreached(http::Error::Timeout), "MDHttpProxy"),
            ("CA's name unknown", unreached(http::Error::Dns("x".into())), "resolv.conf"),
            ("CA not trusted", tls(TlsFault::Trust), "MDCACertificateFile"),
        ];
        for (cause, error, expected) in table {
            let hint = hint(&error).unwrap_or_default();
            assert!(hint.contains(expected), "{cause}: {hint}");
        }
        let wildcard = wildcard();
        let mismatch = Error::ChallengeMismatch { reason: "x".into(), offered: Vec::new() };
        assert!(super::hint(&mismatch, &facts(&wildcard)).unwrap().contains("Configure MDChallengeDns01"));
    }

    /// The advice never is to configure something that is configured.
    #[test]
    fn advice_does_not_contradict_the_configuration() {
        let md = Md {
            eab: Some(Eab { kid: "k".into(), hmac: "h".into() }),
            ca: Ca { agreement: Some("accepted".into()), ..Ca::default() },
            ..wildcard()
        };
        let way = Way::Command(Command { line: "/bin/dns".into(), version: 1 });
        let facts = Facts { has_proxy: true, dns01: Some(&way), ..facts(&md) };
        for (error, wrong, right) in [
            (refused("userActionRequired"), "onfigure MDCertificateAgreement", "owner of the account"),
            (refused("externalAccountRequired"), "and configure them", "Get a new key identifier"),
            (unreached(http::Error::Refused), "configure MDHttpProxy", "curl -x PROXY"),
            (unreached(http::Error::Thread(11, "x".into())), "curl", "ulimit -u"),
            (unreached(http::Error::Other { status: 24, reason: "x".into() }), "curl", "ulimit -n"),
            (
                Error::ChallengeMismatch { reason: "x".into(), offered: Vec::new() },
                "onfigure MDChallengeDns01",
                "MDCertificateAuthority",
            ),
        ] {
            let hint = super::hint(&error, &facts).unwrap();
            assert!(!hint.contains(wrong) && hint.contains(right), "{hint}");
        }
    }

    #[test]
    fn advice_about_a_challenge_is_about_its_type() {
        let (token, one, other) = ("dG9rZW4", "a".repeat(43), "b".repeat(43));
        let of = |kind: &str, type_: &str, said: &str| {
            let error = acme::Error::Invalid {
                end: End::Invalid,
                identifier: Some("*.a.test".into()),
                tried: Some(Tried { type_: type_.into(), token: token.into() }),
                problem: Some(Box::new(Problem::new(&format!("acme:error:{kind}"), said))),
            };
            hint(&error.into()).unwrap()
        };
        let theirs = format!("Expected \"{token}.{one}\" (got \"{token}.{other}\")");
        let ours = format!("Expected \"{token}.{one}\" (got \"<html>\")");
        for (kind, type_, said, expected) in [
            ("connection", "http-01", "x", "Open port 80"),
            ("connection", "tls-alpn-01", "x", "Open port 443"),
            ("dns", "dns-01", "NXDOMAIN looking up TXT", "dig TXT _acme-challenge.a.test"),
            ("unauthorized", "dns-01", "Incorrect TXT record", "dig TXT _acme-challenge.a.test"),
            ("unauthorized", "dns-persist-01", "No TXT record", "dig TXT _validation-persist.a.test"),
            ("unauthorized", "dns-account-01", "No TXT record", "the label of the account"),
            ("dns", "http-01", "NXDOMAIN looking up A", "'dig a.test'"),
            ("unauthorized", "tls-alpn-01", "no ALPN", "'acme-tls/1' is in Protocols"),
            ("unauthorized", "http-01", &theirs, "another ACME account"),
            ("unauthorized", "http-01", &ours, "http://a.test/.well-known/acme-challenge/"),
            ("caa", "http-01", "x", "dig CAA a.test"),
        ] {
            let hint = of(kind, type_, said);
            assert!(hint.contains(expected), "{kind} {type_}: {hint}");
        }
    }

    #[test]
    fn a_pause_that_a_person_has_to_end_is_explained_with_its_page() {
        let page = "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=ey.J";
        let paused = Problem::new(
            "acme:error:rateLimited",
            format!(
                "Your account is temporarily prevented from requesting certificates. Please visit: {page}."
            ),
        );
        let hint_of = |mut problem: Problem| {
            problem.status = 429;
            hint(&acme::Error::from(problem).into()).unwrap()
        };
        let text = hint_of(paused);
        assert!(text.contains(&format!("Visit {page} ")) && !text.contains("othing needs"), "{text}");
        let limit = "too many certificates: see https://letsencrypt.org/docs/rate-limits/";
        assert!(hint_of(Problem::new("acme:error:rateLimited", limit)).contains("Nothing needs to be done"));
    }

    #[test]
    fn the_page_that_a_ca_names_is_where_to_go() {
        let page = "https://ca.test/terms/v7";
        let document = serde_json::json!({"type": "urn:ietf:params:acme:error:userActionRequired",
            "detail": "Terms of service have changed", "instance": page});
        let problem = Box::new(Problem { status: 403, ..Problem::parse(&document).unwrap() });
        let hint = hint(&acme::Error::Problem { problem, retry_after: None }.into()).unwrap();
        assert!(hint.contains(page) && !hint.contains("MDCertificateAgreement"), "{hint}");
    }

    #[test]
    fn what_says_its_remedy_gets_no_hint() {
        let terms = acme::Error::AgreementRequired { terms: "https://ca.test/terms".into() };
        let said = acme::Error::from(Problem::new(
            "acme:error:externalAccountRequired",
            "configure 'MDExternalAccountBinding' with what the CA gave you",
        ));
        for error in [terms.into(), said.into()] {
            assert_eq!(hint(&error), None, "{error}");
        }
    }

    #[test]
    fn the_first_part_determines_the_advice_on_a_compound_problem() {
        let document = serde_json::json!({"type": "urn:ietf:params:acme:error:compound",
            "subproblems": [{"type": "urn:ietf:params:acme:error:caa"}]});
        let problem = Box::new(Problem { status: 403, ..Problem::parse(&document).unwrap() });
        let error = acme::Error::Problem { problem, retry_after: None }.into();
        assert!(hint(&error).unwrap().contains("CAA"));
    }

    #[test]
    fn what_the_ca_said_ends_like_a_sentence() {
        assert_eq!(sentence("forbidden".into()), "forbidden.");
        assert_eq!(sentence("Is it?".into()), "Is it?");
        assert_eq!(sentence("refused (111)".into()), "refused (111).");
    }
}
