// SPDX-License-Identifier: Apache-2.0
//! What the answers of a name's addresses mean for http-01 and tls-alpn-01. Pure: compares what came from each
//! address with what the listener of this machine answers itself. An address that nobody here can reach is no
//! fault as long as that listener answers. Imports `case`, `closed` and `finding`.

use super::case::{Case, Kind, Look, Token, shown};
use super::closed;
use super::follow::{End, Stop};
use crate::cli::doctor::finding::{Finding, Verdict};
use crate::http::probe::{Failure, Seen};

/// One finding for each address; one for all together where all are right.
pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let findings: Vec<Finding> = case.looks.iter().map(|look| case.of(look)).collect();
    let works = |finding: &Finding| finding.verdict == Verdict::Works;
    if !findings.iter().all(works) || findings.len() < 2 {
        return findings;
    }
    let evidence: Vec<&str> = findings.iter().map(|finding| finding.evidence.as_str()).collect();
    vec![Finding::works(case.kind.works(), case.name, evidence.join("\n"))]
}

impl Case<'_> {
    fn of(&self, look: &Look) -> Finding {
        match &look.way.end {
            End::Seen(seen) if self.has_token(seen) => self.reached(look, seen),
            End::Seen(seen) => self.other_answer(look, seen),
            End::Stopped { stop, seen, target } => self.stopped(look, stop, seen, target),
            End::Failed(failure) if look.way.is_redirected() => self.lost(look, failure),
            End::Failed(failure) if failure.is_unconnected() => closed::judge(self, look, failure),
            End::Failed(failure) => self.no_answer(look, failure),
        }
    }

    /// The way to what was answered.
    fn asked(&self, look: &Look) -> String {
        let at = self.at(look);
        match look.way.urls.as_slice() {
            [_, .., last] => format!("{at} redirects to {}, which", shown(last)),
            _ => at,
        }
    }

    fn reached(&self, look: &Look, seen: &Seen) -> Finding {
        let own = self.own.answer.as_ref().ok().and_then(|own| own.certificate.as_ref());
        let is_intercepted = self.kind == Kind::TlsAlpn01
            && matches!((own, &seen.certificate), (Some(own), Some(there)) if own != there);
        let at = self.at(look);
        if is_intercepted {
            return Finding::fails(
                "tls-alpn-01-intercepted",
                self.name,
                format!(
                    "{at} shows another certificate than httpd itself: TLS ends at a proxy in front of it{}.",
                    from(seen)
                ),
                "Have that proxy pass TLS through to httpd as it is, or use http-01 or dns-01 (MDCAChallenges): a CA \
                 that asks for tls-alpn-01 never gets to httpd.",
            );
        }
        let over = if look.way.is_redirected() { " over a redirect" } else { "" };
        let through = proxy(seen).map(|proxy| format!(" through a proxy ({proxy})")).unwrap_or_default();
        Finding::works(self.kind.works(), self.name, format!("{at} leads to this httpd{over}{through}."))
    }

    fn other_answer(&self, look: &Look, seen: &Seen) -> Finding {
        let status = seen.status;
        let answered = format!("{} answers {status}{}", self.asked(look), from(seen));
        let path = "/.well-known/acme-challenge/";
        let in_front = proxy(seen).map(|proxy| format!(" A proxy is in front ({proxy}): look there first."));
        let in_front = in_front.unwrap_or_default();
        let fails = |check, evidence: String, remedy: String| {
            Finding::fails(check, self.name, evidence, format!("{remedy}{in_front}"))
        };
        match (status, self.token) {
            (401 | 403 | 407, _) => fails(
                "challenge-denied",
                format!("{answered}: access to the challenge is denied."),
                format!(
                    "Let everybody read {path}: 'Require all granted' for it, no password, no address filter."
                ),
            ),
            (500.., _) => fails(
                "challenge-error",
                format!("{answered} instead of the challenge."),
                format!("Read the error log of that server; pass {path} to this httpd."),
            ),
            (_, Token::NotUp(reason)) => self.untold(&answered, reason),
            (_, Token::Up(_)) if look.way.is_redirected() && look.way.host != self.host() => fails(
                "redirect-host",
                format!("{answered}, and not with the challenge: another host gets the CA's request."),
                format!(
                    "Do not redirect {path} to another host, or have that host pass it on to this httpd."
                ),
            ),
            (404 | 410, Token::Up(_)) if !self.own_has_token() => fails(
                "challenge-not-found",
                format!("{answered}: no virtual host there answers the challenge."),
                format!(
                    "Check that a virtual host has the ServerName or ServerAlias {} and that this httpd has loaded mod_md.",
                    self.name
                ),
            ),
            (_, Token::Up(_)) => fails(
                "other-server",
                format!(
                    "{answered}, and not with the challenge that this httpd has: another server is there."
                ),
                self.of_other_server(look),
            ),
        }
    }

    fn of_other_server(&self, look: &Look) -> String {
        if look.is_here {
            return format!(
                "Another program of this machine answers at {}: have httpd listen there, or that program pass \
                 /.well-known/acme-challenge/ on to httpd.",
                self.at(look)
            );
        }
        let record = if look.address.is_ipv4() { "A" } else { "AAAA" };
        format!(
            "Correct the {record} record of {}, which leads to {}; or have the server there pass \
             /.well-known/acme-challenge/ on to this httpd.",
            self.name, look.address
        )
    }

    fn untold(&self, answered: &str, reason: &str) -> Finding {
        Finding::cannot_be_told(
            "token-not-put-up",
            self.name,
            format!("{answered}, but whether that is this httpd cannot be told: {reason}."),
            "Call a2md as root while httpd runs with this configuration.",
        )
    }

    fn stopped(&self, look: &Look, stop: &Stop, seen: &Seen, target: &str) -> Finding {
        let last = look.way.urls.last().map(|url| shown(url)).unwrap_or_default();
        let leads = format!(
            "{}: {last} redirects ({}) to '{}'{}",
            self.at(look),
            seen.status,
            shown(target),
            from(seen)
        );
        let (check, why) = match stop {
            Stop::Loop => ("redirect-loop", ", where the way has been before".to_string()),
            Stop::TooMany => {
                ("redirect-count", format!(", after {} redirects", super::follow::REDIRECTS_MAX))
            }
            Stop::Port(port) => {
                ("redirect-port", format!(": CAs ask ports 80 (http) and 443 (https) alone, and not {port}"))
            }
            Stop::Scheme => ("redirect-scheme", ", which is neither http nor https".into()),
            Stop::Address => ("redirect-address", ": CAs follow to names alone, and not to addresses".into()),
            Stop::Unreadable => ("redirect-unreadable", ", which is no URL".into()),
        };
        Finding::fails(
            check,
            self.name,
            format!("{leads}{why}."),
            "Do not redirect /.well-known/acme-challenge/: exclude it in the rule of that server or proxy, and pass it to \
             this httpd.",
        )
    }

    /// A redirect leads to where nothing answers.
    fn lost(&self, look: &Look, failure: &Failure) -> Finding {
        let evidence = format!(
            "{} redirects to {}, where no answer comes: {failure}.",
            self.at(look),
            look.way.urls.last().map(|url| shown(url)).unwrap_or_default(),
        );
        let remedy =
            "Do not redirect /.well-known/acme-challenge/, or open the port that the redirect leads to.";
        let is_far = failure.is_unconnected() && !look.is_here;
        if is_far && look.way.host == self.host() {
            return Finding::cannot_be_told("redirect-unreachable", self.name, evidence, remedy);
        }
        Finding::fails("redirect-unreachable", self.name, evidence, remedy)
    }

    fn no_answer(&self, look: &Look, failure: &Failure) -> Finding {
        let remedy = match failure {
            Failure::Tls(_) => {
                "Check that the server at this address speaks TLS for this name on port 443 (SSLEngine on)."
            }
            _ => {
                "Check which server listens there, whether it is overloaded, and whether a firewall or proxy in front of it \
                 drops what follows the connection."
            }
        };
        let evidence = format!("{}: {failure}.", self.at(look));
        Finding::fails("no-http-answer", self.name, evidence, remedy)
    }
}

/// Who answered, as far as it says so.
fn from(seen: &Seen) -> String {
    seen.header("server").map(|server| format!(" (Server: {})", shown(server))).unwrap_or_default()
}

/// The proxy that passed the answer on.
fn proxy(seen: &Seen) -> Option<String> {
    let known = ["via", "cf-ray", "x-cache", "x-served-by", "x-varnish", "x-amz-cf-id", "age"];
    known.iter().find_map(|name| Some(format!("{name}: {}", shown(seen.header(name)?))))
}

#[cfg(test)]
mod tests {
    use super::super::case::Own;
    use super::super::follow::Way;
    use super::*;
    use std::time::Duration;

    const TEXT: &str = "token.secret";

    fn token() -> Token {
        Token::Up(TEXT.into())
    }

    fn with_token() -> Seen {
        Seen::new(200, &[("Server", "Apache")], b"token.secret\n")
    }

    fn look(address: &str, is_here: bool, end: End) -> Look {
        let way = Way { urls: vec!["http://a.test/x".into()], host: "a.test".into(), end };
        Look { address: address.parse().unwrap(), is_here, way }
    }

    fn failed(address: &str, is_here: bool, failure: Failure) -> Look {
        look(address, is_here, End::Failed(failure))
    }

    fn own(answer: Result<Seen, Failure>) -> Own {
        Own { port: 80, is_configured: None, is_running: None, answer }
    }

    fn found(looks: &[Look], own: &Own, token: &Token) -> Vec<(&'static str, Verdict)> {
        let case = Case { name: "a.test", kind: Kind::Http01, looks, own, token };
        judge(&case).iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    /// An address that nobody here reaches fails only where that is known to be a fault.
    #[test]
    fn what_cannot_be_reached_from_here_is_no_fault_by_itself() {
        let silent = || Failure::NoAnswer(Duration::from_secs(10));
        let (far, here) = ("192.0.2.1", "127.0.0.1");
        let answers = own(Ok(with_token()));
        let closed = "port-80-closed";
        for failure in [Failure::Refused, silent(), Failure::Unreachable("x".into())] {
            let looks = [failed(far, false, failure.clone())];
            assert_eq!(found(&looks, &answers, &token()), [(closed, Verdict::CannotBeTold)], "{failure:?}");
        }
        let no_route = [failed("2001:db8::1", false, Failure::NoRoute("x".into()))];
        assert_eq!(found(&no_route, &answers, &token()), [("no-route", Verdict::CannotBeTold)]);
        let refused = [failed(here, true, Failure::Refused)];
        assert_eq!(found(&refused, &answers, &token()), [(closed, Verdict::Fails)]);
        let reached = look(here, true, End::Seen(with_token()));
        let both = [failed("2001:db8::1", false, silent()), reached.clone()];
        let expected = [("aaaa-nowhere", Verdict::Fails), ("http-01-reached", Verdict::Works)];
        assert_eq!(found(&both, &answers, &token()), expected);
        let both = [failed(far, false, silent()), reached];
        assert_eq!(found(&both, &answers, &token())[0], ("a-nowhere", Verdict::Fails));
    }

    #[test]
    fn without_a_listener_it_counts_what_the_configuration_says() {
        let looks = [failed("192.0.2.1", false, Failure::Refused)];
        for (is_configured, is_running, verdict, words) in [
            (None, None, Verdict::CannotBeTold, "no httpd runs"),
            (None, Some(false), Verdict::CannotBeTold, "no httpd runs"),
            (None, Some(true), Verdict::Fails, "although httpd runs"),
            (Some(true), Some(false), Verdict::Fails, "it is not running"),
            (Some(true), None, Verdict::Fails, "nothing does"),
            (Some(false), Some(true), Verdict::Fails, "no Listen"),
        ] {
            let own = Own { is_configured, is_running, ..own(Err(Failure::Refused)) };
            let case = Case { name: "a.test", kind: Kind::Http01, looks: &looks, own: &own, token: &token() };
            let findings = judge(&case);
            assert_eq!((findings[0].check, findings[0].verdict), ("port-80-closed", verdict), "{findings:?}");
            assert!(findings[0].evidence.contains(words), "{findings:?}");
        }
    }

    #[test]
    fn an_answer_without_the_token_is_that_of_another_server_or_of_a_missing_host() {
        let seen = |status| Seen::new(status, &[("Server", "nginx\u{1b}[2J\nx")], b"x");
        let of = |seen: &Seen, own_answer: Seen, token: &Token| {
            found(&[look("192.0.2.1", false, End::Seen(seen.clone()))], &own(Ok(own_answer)), token)[0]
        };
        for (status, own_answer, check) in [
            (200, with_token(), "other-server"),
            (404, with_token(), "other-server"),
            (404, seen(404), "challenge-not-found"),
            (403, with_token(), "challenge-denied"),
            (401, with_token(), "challenge-denied"),
            (503, with_token(), "challenge-error"),
            (400, with_token(), "other-server"),
        ] {
            assert_eq!(of(&seen(status), own_answer, &token()), (check, Verdict::Fails), "{status}");
        }
        let not_up = Token::NotUp("no httpd".into());
        assert_eq!(of(&seen(404), seen(404), &not_up), ("token-not-put-up", Verdict::CannotBeTold));
        assert_eq!(of(&seen(403), seen(404), &not_up), ("challenge-denied", Verdict::Fails));
        let looks = [look("192.0.2.1", false, End::Seen(seen(200)))];
        let own = own(Ok(with_token()));
        let case = Case { name: "a.test", kind: Kind::Http01, looks: &looks, own: &own, token: &token() };
        let findings = judge(&case);
        assert!(!findings[0].evidence.contains(['\u{1b}', '\n']), "{findings:?}");
        assert!(findings[0].remedy.as_ref().is_some_and(|remedy| remedy.contains("A record of a.test")));
    }

    #[test]
    fn a_proxy_is_named_and_fails_where_it_ends_tls() {
        let cached = Seen::new(200, &[("Via", "1.1 cache")], TEXT.as_bytes());
        let looks = [look("192.0.2.1", false, End::Seen(cached.clone()))];
        let case = |kind, own| judge(&Case { name: "a.test", kind, looks: &looks, own, token: &token() });
        let findings = case(Kind::Http01, &own(Ok(with_token())));
        assert!(findings[0].verdict == Verdict::Works && findings[0].evidence.contains("via: 1.1 cache"));
        let other = Seen { certificate: Some(vec![1]), ..with_token() };
        let tls = Seen { certificate: Some(vec![2]), ..cached };
        let looks = [look("192.0.2.1", false, End::Seen(tls.clone()))];
        let of = |own_answer: Seen| {
            let own = own(Ok(own_answer));
            let case =
                Case { name: "a.test", kind: Kind::TlsAlpn01, looks: &looks, own: &own, token: &token() };
            (judge(&case)[0].check, judge(&case)[0].verdict)
        };
        assert_eq!(of(other), ("tls-alpn-01-intercepted", Verdict::Fails));
        assert_eq!(of(tls), ("tls-alpn-01-reached", Verdict::Works));
    }
}
