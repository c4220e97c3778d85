// SPDX-License-Identifier: Apache-2.0
//! Advice on the problems that CAs report, of requests and of validations. By ACME's types; only where these
//! say too little, by the CA's text.

use super::facts::{Facts, url_of};
use super::record;
use crate::acme::error::Tried;
use crate::acme::problem::{Kind, Problem, Subproblem};
use crate::challenge::{dns_account01, dns_persist01, dns01, http01, tls_alpn01};
use crate::model::key_spec::ACCOUNT_KEY_DEFAULT;
use crate::model::{KeySpec, Md};

/// A CA's problem with a request.
pub fn of_problem(problem: &Problem, is_account: bool, facts: &Facts<'_>) -> String {
    match kind_that_counts(problem) {
        // A name is in the subproblem that counts.
        kind @ (Kind::Caa | Kind::Connection | Kind::Dns | Kind::IncorrectResponse | Kind::Tls) => {
            let named = problem.subproblems.iter().find_map(|sub| sub.identifier.as_deref());
            of_name(kind, named.unwrap_or(&facts.md.name), None, problem, facts)
        }
        kind if is_account => of_account(kind, problem, facts),
        kind => of_kind(kind, problem, facts),
    }
}

/// A CA's problem with the answer to a challenge.
pub fn of_validation(problem: &Problem, name: &str, tried: Option<&Tried>, facts: &Facts<'_>) -> String {
    of_name(kind_that_counts(problem), name, tried, problem, facts)
}

/// The first subproblem determines the kind of a compound problem (RFC 8555 §6.7.1).
fn kind_that_counts(problem: &Problem) -> Kind {
    match problem.kind() {
        Kind::Compound => problem.subproblems.first().map_or(Kind::Compound, Subproblem::kind),
        kind => kind,
    }
}

fn of_name(kind: Kind, name: &str, tried: Option<&Tried>, problem: &Problem, facts: &Facts<'_>) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let type_ = tried.map(|tried| tried.type_.as_str()).unwrap_or_default();
    match (kind, type_) {
        (Kind::Caa, _) => format!(
            "Add a CAA record that allows this CA to the DNS of {name} ('dig CAA {name}' shows what is there; where there is \
             none, a domain above it counts), or configure another CA with MDCertificateAuthority."
        ),
        (
            Kind::Dns | Kind::IncorrectResponse | Kind::Unauthorized | Kind::Connection,
            dns01::TYPE | dns_account01::TYPE | dns_persist01::TYPE,
        ) => record::of_unseen(name, type_, facts.dns01),
        (Kind::Connection, http01::TYPE) => format!(
            "Open port 80 to the Internet in firewall and router, have httpd listen on it, and check that the A and AAAA \
             records of {name} lead to this server: http-01 comes to port 80."
        ),
        (Kind::Connection, tls_alpn01::TYPE) => format!(
            "Open port 443 to the Internet in firewall and router, have httpd listen on it, and check that the A and AAAA \
             records of {name} lead to this server: tls-alpn-01 comes to port 443."
        ),
        (Kind::Connection, _) => format!(
            "Open port 80 (for http-01) or 443 (for tls-alpn-01) to the Internet in firewall and router, and check that the A \
             and AAAA records of {name} lead to this server."
        ),
        (Kind::Tls, _) => format!(
            "Check that port 443 of {name} leads to this server and that nothing in front of it ends TLS; 'openssl s_client -connect {name}:443 -servername {name}' shows who answers."
        ),
        (Kind::Dns, _) => format!(
            "Check that {name} exists in public DNS and that its name servers answer, for instance with 'dig {name}'; a bad \
             DNSSEC signature counts as no answer."
        ),
        (Kind::IncorrectResponse | Kind::Unauthorized, tls_alpn01::TYPE) => format!(
            "Check that the A and AAAA records of {name} lead to this server, that no proxy or load balancer in front of it ends TLS, and that 'acme-tls/1' is in Protocols of the host \
             that has {name} there."
        ),
        (Kind::IncorrectResponse | Kind::Unauthorized, _) if is_of_another_account(problem, tried) => {
            format!(
                "Find the other server or ACME client that takes requests for {name}: what answered there has another ACME \
             account. Let one of them get the certificate, or both use the same store."
            )
        }
        (Kind::IncorrectResponse | Kind::Unauthorized, _) => format!(
            "Check that requests for http://{name}/.well-known/acme-challenge/ reach this httpd, whose access log shows them: \
             that the A and AAAA records of {name} lead to this server, and that no proxy or other server in front of it \
             answers or redirects them."
        ),
        (kind, _) => of_kind(kind, problem, facts),
    }
}

/// Whether the CA's text shows that it received an answer to this challenge made with another account's key.
fn is_of_another_account(problem: &Problem, tried: Option<&Tried>) -> bool {
    let Some(tried) = tried.filter(|tried| !tried.token.is_empty()) else { return false };
    let begin = format!("{}.", tried.token);
    let answers = problem.detail.split(&begin).skip(1);
    let thumbprint = |rest: &str| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect::<String>()
    };
    let mut thumbprints = answers.map(thumbprint).filter(|thumbprint| thumbprint.len() > 20);
    let first = thumbprints.next();
    thumbprints.any(|other| Some(&other) != first.as_ref())
}

/// While an account was registered.
fn of_account(kind: Kind, problem: &Problem, facts: &Facts<'_>) -> String {
    let is_bound = facts.md.eab.is_some();
    match kind {
        Kind::Unauthorized | Kind::Malformed | Kind::ExternalAccountRequired | Kind::AccountDoesNotExist | Kind::Other
            if is_bound && problem.status < 500 =>
        {
            "Compare key identifier and hmac of MDExternalAccountBinding with what the CA gave you, or get new ones from it: \
             many can be used once only."
                .into()
        }
        Kind::BadPublicKey | Kind::BadSignatureAlgorithm => {
            let spec = facts.md.ca.account_key.as_ref().unwrap_or(&ACCOUNT_KEY_DEFAULT);
            format!(
                "Set MDAccountKey to another type, such as RSA 4096 or P-256, or name another CA with \
                 MDCertificateAuthority: this one does not take the key of the ACME account ({spec})."
            )
        }
        kind => of_kind(kind, problem, facts),
    }
}

fn of_kind(kind: Kind, problem: &Problem, facts: &Facts<'_>) -> String {
    match kind {
        Kind::UserActionRequired => of_user_action(problem, facts),
        Kind::RateLimited => of_limit(problem, facts),
        Kind::AlreadyReplaced => {
            "Nothing needs to be done where this passes: the order is placed again. Where it comes back, 'MDRenewViaARI off' \
             orders without saying what is replaced."
                .into()
        }
        Kind::AccountDoesNotExist => {
            "Nothing needs to be done: the next try registers a new account. A CAA record with 'accounturi' has to name it \
             then; the error log has its URL."
                .into()
        }
        Kind::Unauthorized => {
            "Look at the account at the CA (is it suspended, are the names allowed?), or use another CA \
             (MDCertificateAuthority): this one does not let the account order that."
                .into()
        }
        Kind::BadNonce => {
            "Nothing needs to be done where this passes. Where it comes back, the CA's servers do not know each other's \
             nonces, or a proxy keeps old answers: tell the CA's operator."
                .into()
        }
        Kind::Conflict | Kind::OrderNotReady => {
            "Nothing needs to be done: the CA is at work, and the next try looks how far it has come.".into()
        }
        Kind::Malformed => {
            "Check the names in MDomain and the URL in MDCertificateAuthority first. Where they are right, report this text: \
             the CA and mod_md understand ACME in different ways."
                .into()
        }
        Kind::BadSignatureAlgorithm | Kind::AlreadyRevoked | Kind::BadRevocationReason | Kind::EabHmacInvalid => {
            "Tell the CA's operator this text, or use another CA (MDCertificateAuthority): it is no answer to what was asked."
                .into()
        }
        kind => of_setting(kind, facts.md).unwrap_or_else(|| of_status(problem.status, facts)),
    }
}

/// A setting that this CA does not accept.
fn of_setting(kind: Kind, md: &Md) -> Option<String> {
    let advice = match kind {
        Kind::ExternalAccountRequired if md.eab.is_some() => {
            "Get a new key identifier and hmac from the CA for MDExternalAccountBinding: it does not know the present ones \
             any more."
                .into()
        }
        Kind::ExternalAccountRequired => {
            "Get a key identifier and an hmac from the CA and configure them with MDExternalAccountBinding: it accepts only \
             accounts it knows of."
                .into()
        }
        Kind::RejectedIdentifier | Kind::UnsupportedIdentifier => {
            "Check the spelling in MDomain, or configure another CA with MDCertificateAuthority: this one does not issue for \
             such a name."
                .into()
        }
        Kind::InvalidContact | Kind::UnsupportedContact => format!(
            "Correct MDContactEmail, or ServerAdmin where there is none: the CA does not accept the contact address{}.",
            md.contacts.first().map(|contact| format!(" {contact}")).unwrap_or_default()
        ),
        Kind::BadCsr if md.must_staple => {
            "Switch MDMustStaple off, because many CAs do not issue such certificates any more; else check MDPrivateKeys and \
             the names in MDomain."
                .into()
        }
        Kind::BadCsr | Kind::BadPublicKey => format!(
            "Configure keys and names as the CA's policy allows: MDPrivateKeys (now: {}), MDomain. Or use another CA \
             (MDCertificateAuthority).",
            md.keys().iter().map(KeySpec::label).collect::<Vec<_>>().join(" ")
        ),
        Kind::InvalidProfile => format!(
            "Configure a profile that the CA has with MDProfile{}, or remove MDProfile.",
            md.profile.as_deref().map(|name| format!(" (now: {name})")).unwrap_or_default()
        ),
        _ => return None,
    };
    Some(advice)
}

/// RFC 8555 §7.3.3: the page that the CA names explains the necessary action.
fn of_user_action(problem: &Problem, facts: &Facts<'_>) -> String {
    match (page(problem), facts.md.ca.agreement.is_some()) {
        (Some(url), _) => {
            format!("Visit {url} and do there what the CA asks for: it waits for that.")
        }
        (None, false) => {
            "Read the CA's terms of service, then configure 'MDCertificateAgreement accepted'.".into()
        }
        (None, true) => format!(
            "Do what the CA's text says, or look at the account at the CA ({}): it waits for the owner of the account, who may \
             have to agree to changed terms of service.",
            url_of(facts)
        ),
    }
}

/// Some limits are lifted after a visit to a page.
fn of_limit(problem: &Problem, facts: &Facts<'_>) -> String {
    let wants_visit = problem.detail.to_ascii_lowercase().contains("visit");
    if let Some(url) = page(problem).filter(|_| wants_visit) {
        return format!(
            "Visit {url} and mend why validations have failed so often: the CA does not go on by itself. The next try goes on \
             then."
        );
    }
    let until = facts.until.map(|until| format!(" until {}", until.to_http_date())).unwrap_or_default();
    format!(
        "Nothing needs to be done: this is a limit of the CA, which is waited for{until}. Where it comes back, have fewer \
         names renewed at once, or find out what else uses the same account or names."
    )
}

/// Advice by HTTP status, where the CA gave no type.
fn of_status(status: u16, facts: &Facts<'_>) -> String {
    let ca = url_of(facts);
    match status {
        404 | 405 | 410 => format!(
            "Check the URL in MDCertificateAuthority ({ca}): where it is right, the CA has lost what was asked for, and the \
             next try begins again."
        ),
        401 | 403 | 407 => format!(
            "Find out who refuses: the CA, or a proxy or firewall on the way to it. Try 'curl {ca}' on this machine."
        ),
        429 => of_busy(facts),
        503 if facts.until.is_some() => of_busy(facts),
        500.. => {
            "Nothing needs to be done at first: this is trouble of the CA, which may be over at the next try. Where it stays, \
             look at the CA's status page, and name a further CA in MDCertificateAuthority."
                .into()
        }
        _ => format!(
            "Do what the CA's text says. Where it says nothing, ask the operator of {ca}, or name another CA with \
             MDCertificateAuthority."
        ),
    }
}

fn of_busy(facts: &Facts<'_>) -> String {
    let until = facts.until.map(|until| format!(" until {}", until.to_http_date())).unwrap_or_default();
    format!("Nothing needs to be done: the CA has no time for requests and is left alone{until}.")
}

/// The page that a problem leads to: its instance, or else the first one in its text.
fn page(problem: &Problem) -> Option<&str> {
    let in_text = || {
        let mut words = problem.detail.split(|c: char| c.is_whitespace() || "\"'<>()".contains(c));
        let url = words.find(|word| word.starts_with("https://") || word.starts_with("http://"))?;
        Some(url.trim_end_matches(['.', ',', ';', ':', '!']))
    };
    problem.instance.as_deref().or_else(in_text)
}
