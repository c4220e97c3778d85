//! What an admin can do about a failed renewal: advice for the commonest causes, beside the CA's own words.
//! Pure: a table from errors to sentences.

use super::error::Error;
use crate::acme;
use crate::acme::problem::Kind;
use crate::http;

/// One sentence or two; `None` where the error says it all, or where nobody knows.
pub fn hint(error: &Error) -> Option<String> {
    let text = match error {
        Error::Acme(error) => of_acme(error)?,
        Error::ChallengeMismatch(text) if text.contains("*.") || text.contains("wildcard") => {
            "Wildcard names can be validated with dns-01 only: configure MDChallengeDns01 with a command that \
             writes TXT records, and allow dns-01 where MDCAChallenges is used."
                .into()
        }
        Error::Refused(_) => {
            "Let the hosts take such certificates (SSLCipherSuite with @SECLEVEL, SSLOpenSSLConfCmd), or order others \
             with MDPrivateKeys or MDCertificateAuthority and remove the domain's folder below staging; then restart."
                .into()
        }
        _ => return None,
    };
    // Some errors name the remedy themselves.
    let said = error.to_string();
    let is_said = text.split([' ', ':', ',', '.']).any(|word| word.starts_with("MD") && said.contains(word));
    (!is_said).then_some(text)
}

fn of_acme(error: &acme::Error) -> Option<String> {
    match error {
        acme::Error::Transport { url, source } => Some(of_transport(url, source)),
        acme::Error::Invalid { identifier, problem: Some(problem), .. } => {
            of_kind(kind_that_counts(problem), identifier.as_deref())
        }
        // RFC 8555 §7.3.3: the page that the CA names says what is to be done, whatever it is.
        acme::Error::Problem { problem, .. }
            if problem.kind() == Kind::UserActionRequired && problem.instance.is_some() =>
        {
            let url = problem.instance.as_deref().unwrap_or_default();
            Some(format!("The CA waits for somebody to visit {url} and to do there what it asks for."))
        }
        acme::Error::Problem { problem, .. } => of_kind(kind_that_counts(problem), None),
        _ => None,
    }
}

/// A compound problem is told by its first subproblem (RFC 8555 §6.7.1).
fn kind_that_counts(problem: &acme::Problem) -> Kind {
    match problem.kind() {
        Kind::Compound => problem.subproblems.first().map_or(Kind::Compound, acme::problem::Subproblem::kind),
        kind => kind,
    }
}

fn of_kind(kind: Kind, identifier: Option<&str>) -> Option<String> {
    let name = identifier.unwrap_or("the domain");
    Some(match kind {
        Kind::Connection => format!(
            "The CA could not reach {name}: open port 80 (for http-01) or 443 (for tls-alpn-01) to the Internet \
             in firewall and router, and check that the A and AAAA records of {name} lead to this server."
        ),
        Kind::Tls => format!(
            "The CA found no usable TLS at {name}: check that port 443 of {name} leads to this server and that \
             nothing in front of it ends TLS."
        ),
        Kind::Dns => format!(
            "The CA could not look up {name}: check that it exists in public DNS and that its name servers \
             answer, for instance with 'dig {name}'."
        ),
        Kind::IncorrectResponse | Kind::Unauthorized if identifier.is_some() => format!(
            "Somebody else answered for {name}: check that its A and AAAA records lead to this server, and that \
             no proxy in front of it answers in its place (for http-01 below /.well-known/acme-challenge/)."
        ),
        Kind::Caa => format!(
            "A CAA record in the DNS of {name} or of a domain above it does not allow this CA: add one that \
             does, or configure another CA with MDCertificateAuthority."
        ),
        Kind::UserActionRequired => {
            "The CA wants its terms of service to be agreed to: read them, then configure \
             MDCertificateAgreement accepted."
                .into()
        }
        Kind::ExternalAccountRequired => {
            "The CA accepts only accounts it knows of: get a key identifier and an hmac from it and configure \
             them with MDExternalAccountBinding."
                .into()
        }
        Kind::RateLimited => {
            "This is a limit of the CA: nothing needs to be done, it is waited for. Where it comes back, have \
             fewer names renewed at once, or find out what else uses the same account or names."
                .into()
        }
        Kind::RejectedIdentifier | Kind::UnsupportedIdentifier => {
            "The CA does not issue for such a name: check its spelling in MDomain, or configure another CA with \
             MDCertificateAuthority."
                .into()
        }
        Kind::InvalidContact | Kind::UnsupportedContact => {
            "The CA does not accept the contact address: check MDContactEmail, or ServerAdmin where there is none."
                .into()
        }
        _ => return None,
    })
}

fn of_transport(url: &str, source: &http::Error) -> String {
    match source {
        http::Error::Tls(reason) if reason.contains("not yet valid") || reason.contains("expired") => {
            "By the clock of this machine the CA's certificate is not valid: check date and time.".into()
        }
        http::Error::Tls(reason) if reason.contains("verify failed") => format!(
            "The certificate of {url} is not trusted here: update the machine's root certificates, or, where the \
             CA is your own, name its root with MDCACertificateFile."
        ),
        http::Error::Dns(_) => {
            "The CA's name cannot be looked up: check the DNS of this machine (/etc/resolv.conf) and the spelling \
             in MDCertificateAuthority."
                .into()
        }
        _ => format!(
            "The CA cannot be reached from this machine: try 'curl {url}' here; a firewall may have to let it out, \
             or MDHttpProxy be configured."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Problem;

    fn invalid(kind: &str) -> Error {
        acme::Error::Invalid {
            what: "the authorization is invalid".into(),
            identifier: Some("a.test".into()),
            problem: Some(Box::new(Problem::new(&format!("acme:error:{kind}"), "said"))),
        }
        .into()
    }

    fn refused(kind: &str) -> Error {
        acme::Error::from(Problem::new(&format!("acme:error:{kind}"), "said")).into()
    }

    fn unreached(source: http::Error) -> Error {
        acme::Error::Transport { url: "https://ca.test/dir".into(), source }.into()
    }

    #[test]
    fn the_commonest_causes_have_a_remedy() {
        let tls = |reason: &str| unreached(http::Error::Tls(format!("certificate verify failed: {reason}")));
        let table = [
            ("port 80 closed", invalid("connection"), "open port 80"),
            ("DNS wrong", invalid("dns"), "dig a.test"),
            ("DNS leads elsewhere", invalid("incorrectResponse"), "A and AAAA records lead to this server"),
            ("the same", invalid("unauthorized"), "A and AAAA records lead to this server"),
            ("CAA", invalid("caa"), "CAA record in the DNS of a.test"),
            ("terms", refused("userActionRequired"), "MDCertificateAgreement accepted"),
            ("EAB missing", refused("externalAccountRequired"), "MDExternalAccountBinding"),
            ("rate limit", refused("rateLimited"), "limit of the CA"),
            ("clock off", tls("certificate is not yet valid"), "date and time"),
            ("clock off", tls("certificate has expired"), "date and time"),
            ("CA unreachable", unreached(http::Error::Refused), "curl https://ca.test/dir"),
            ("CA silent", unreached(http::Error::Timeout), "MDHttpProxy"),
            ("CA's name unknown", unreached(http::Error::Dns("x".into())), "resolv.conf"),
            ("CA not trusted", tls("self-signed certificate"), "MDCACertificateFile"),
            (
                "wildcard without dns-01",
                Error::ChallengeMismatch("none is supported for domain *.a.test".into()),
                "MDChallengeDns01",
            ),
        ];
        for (cause, error, expected) in table {
            let hint = hint(&error).unwrap_or_default();
            assert!(hint.contains(expected), "{cause}: {hint}");
        }
    }

    #[test]
    fn the_page_that_a_ca_names_is_where_to_go() {
        let page = "https://ca.test/terms/v7";
        let document = serde_json::json!({"type": "urn:ietf:params:acme:error:userActionRequired",
            "detail": "Terms of service have changed", "instance": page});
        let problem = Box::new(Problem::parse(&document).unwrap());
        let hint = hint(&acme::Error::Problem { problem, retry_after: None }.into()).unwrap();
        assert!(hint.contains(page) && !hint.contains("MDCertificateAgreement"), "{hint}");
    }

    #[test]
    fn what_says_its_remedy_or_has_none_gets_no_hint() {
        let terms = acme::Error::AgreementRequired { terms: "https://ca.test/terms".into() };
        let said = acme::Error::from(Problem::new(
            "acme:error:externalAccountRequired",
            "configure 'MDExternalAccountBinding' with what the CA gave you",
        ));
        for error in [terms.into(), said.into(), refused("serverInternal"), refused("unauthorized")] {
            assert_eq!(hint(&error), None, "{error}");
        }
    }

    #[test]
    fn a_compound_problem_is_told_by_its_first_part() {
        let document = serde_json::json!({"type": "urn:ietf:params:acme:error:compound",
            "subproblems": [{"type": "urn:ietf:params:acme:error:caa"}]});
        let problem = Box::new(Problem::parse(&document).unwrap());
        let error = acme::Error::Problem { problem, retry_after: None }.into();
        assert!(hint(&error).unwrap().contains("CAA"));
    }
}
