// SPDX-License-Identifier: Apache-2.0
//! The answers and behavior of CAs.

use crate::lab::{HOUR, Lab, NAME, finds, page, refuse};
use crate::table::{Situation, failing, situation};
use doubles::fake_ca::{Answer, Endpoint, Fault, problem};
use mod_md::http;
use mod_md::model::Eab;
use mod_md::time::{Clock, DAY};
use serde_json::{Value, json};
use std::sync::Arc;

const TOKEN: &str = "Cy8ZL5TyL0mQJ7pGFnnDUv7LQGMZ6FPKqwHLAAlHVkg";

/// A validation by `type_` that finds `kind`.
fn validation(
    id: &'static str,
    (type_, kind, said): (&'static str, &'static str, &'static str),
    says: &'static [&'static str],
) -> Situation {
    failing(id, says, move |lab| finds(lab, type_, kind, said))
}

/// A request that is refused.
fn refusal(
    id: &'static str,
    endpoint: Endpoint,
    (status, kind, said): (u16, &'static str, &'static str),
    says: &'static [&'static str],
) -> Situation {
    failing(id, says, move |lab| refuse(lab, endpoint, status, problem(kind, said)))
}

fn directory(id: &'static str, answer: fn() -> Answer, says: &'static [&'static str]) -> Situation {
    failing(id, says, move |lab| lab.ca.fault(Endpoint::Directory, Fault::Raw(answer())))
}

fn unreached(id: &'static str, error: fn() -> http::Error, says: &'static [&'static str]) -> Situation {
    failing(id, says, move |lab| lab.ca.fault(Endpoint::Directory, Fault::Unreached(error())))
}

pub fn validations() -> Vec<Situation> {
    vec![
        validation(
            "port 80 closed",
            (
                "http-01",
                "connection",
                "203.0.113.5: Fetching http://a.test/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)",
            ),
            &["a.test by http-01", "likely firewall problem", "open port 80", "A and AAAA"],
        ),
        validation(
            "port 80 refused",
            (
                "http-01",
                "connection",
                "203.0.113.5: Fetching http://a.test/.well-known/acme-challenge/x: Connection refused",
            ),
            &["a.test by http-01", "Connection refused", "open port 80", "A and AAAA"],
        ),
        validation(
            "http-01 answered by another server",
            (
                "http-01",
                "unauthorized",
                "203.0.113.5: Invalid response from http://a.test/.well-known/acme-challenge/x: 404",
            ),
            &["404", "http://a.test/.well-known/acme-challenge/ reach this httpd", "A and AAAA"],
        ),
        failing("http-01 answered by another ACME client", &["another ACME account", "same store"], |lab| {
            finds(lab, "http-01", "x", "");
            lab.ca.rules(|rules| {
                rules.validate = Arc::new(|asked| {
                    let other = format!("{}.{TOKEN}", asked.token);
                    let said = format!("The key authorization file from the server did not match this challenge. Expected \"{}\" (got \"{other}\")", asked.key_authorization);
                    Err(problem("unauthorized", &said))
                });
            });
        }),
        validation(
            "port 443 closed",
            ("tls-alpn-01", "connection", "203.0.113.5: Connection refused"),
            &["a.test by tls-alpn-01", "Connection refused", "open port 443"],
        ),
        validation(
            "tls-alpn-01 without TLS",
            ("tls-alpn-01", "tls", "203.0.113.5: Server only speaks HTTP, not TLS"),
            &["only speaks HTTP", "check that port 443 of a.test leads to this server"],
        ),
        validation(
            "tls-alpn-01 ended in front of this server",
            (
                "tls-alpn-01",
                "unauthorized",
                "Cannot negotiate ALPN protocol \"acme-tls/1\" for tls-alpn-01 challenge",
            ),
            &["Cannot negotiate ALPN", "load balancer", "'acme-tls/1' is in Protocols"],
        ),
        validation(
            "name without DNS",
            (
                "http-01",
                "dns",
                "DNS problem: NXDOMAIN looking up A for a.test - check that a DNS record exists for this domain",
            ),
            &["NXDOMAIN looking up A", "dig a.test"],
        ),
        validation(
            "name servers do not answer",
            (
                "http-01",
                "dns",
                "DNS problem: SERVFAIL looking up A for a.test - the domain's nameservers may be malfunctioning",
            ),
            &["SERVFAIL", "dig a.test", "DNSSEC"],
        ),
        validation(
            "no TXT record",
            ("dns-01", "dns", "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.a.test"),
            &["NXDOMAIN looking up TXT", "dig TXT _acme-challenge.a.test", "MDChallengeDns01"],
        ),
        validation(
            "no TXT record beside others",
            ("dns-01", "unauthorized", "No TXT record found at _acme-challenge.a.test"),
            &["No TXT record found", "dig TXT _acme-challenge.a.test", "MDChallengeDns01"],
        ),
        validation(
            "another TXT record",
            ("dns-01", "unauthorized", "Incorrect TXT record \"old\" found at _acme-challenge.a.test"),
            &["Incorrect TXT record", "dig TXT _acme-challenge.a.test", "beside others"],
        ),
        validation(
            "CAA forbids",
            ("http-01", "caa", "CAA record for a.test prevents issuance"),
            &[
                "the CA could not validate a.test by http-01: CAA record for a.test prevents issuance",
                "dig CAA a.test",
                "MDCertificateAuthority",
            ],
        ),
        failing(
            "an order that fails without a reason",
            &["the CA gave no reason", "places a new order"],
            |lab| {
                lab.ca.rules(|rules| rules.issuance_error = Some(json!({})));
            },
        ),
        failing(
            "an issuance that the CA refuses",
            &["unable to check CAA records", "dig CAA www.a.test"],
            |lab| {
                lab.ca.rules(|rules| {
                rules.issuance_error = Some(json!({
                    "type": "urn:ietf:params:acme:error:caa", "detail": "While processing CAA: unable to check CAA records",
                    "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "identifier": {"type": "dns", "value": "www.a.test"}}],
                }));
            });
            },
        ),
        failing("a CA that looks in vain and goes on", &["connection refused", "open port 80"], |lab| {
            finds(lab, "http-01", "connection", "connection refused");
            lab.ca.rules(|rules| rules.looks_once = Some("pending"));
        }),
        situation(
            "five failed validations",
            &["Five validations failed within an hour", "open port 80"],
            |lab| {
                finds(lab, "http-01", "connection", "203.0.113.5: No route to host");
                let said = lab.looks(5);
                said.into_iter().filter(|text| text.contains("Five validations")).collect()
            },
        ),
        failing("wildcard without dns-01", &["*.a.test", "configure MDChallengeDns01"], |lab| {
            lab.md.md.domains = vec!["a.test".into(), "*.a.test".into()];
        }),
        failing(
            "no challenge possible",
            &["port 80", "port 443", "http-01 needs 'Listen 80'", "restart of httpd"],
            |lab| {
                lab.settings.reachable_by_http = false;
                lab.settings.reachable_by_https = false;
            },
        ),
        failing(
            "acme-tls/1 missing",
            &["'acme-tls/1' protocol", "MDCAChallenges (now: tls-alpn-01)"],
            |lab| {
                lab.md.md.ca.challenges = vec!["tls-alpn-01".into()];
            },
        ),
        failing(
            "a CA with dns-01 alone",
            &["The server offered 'dns-01'", "Have one of these work: dns-01 needs MDChallengeDns01"],
            |lab| {
                lab.ca.rules(|rules| rules.challenge_types = vec!["dns-01"]);
            },
        ),
        failing(
            "a CA that looks at other names",
            &["b.test, which is not in the order", "CA's operator"],
            |lab| {
                lab.ca.fault(
                    Endpoint::Authorization,
                    Fault::Alter(|answer| {
                        let mut object: Value = serde_json::from_slice(&answer.body).unwrap();
                        object["identifier"]["value"] = json!("b.test");
                        answer.body = object.to_string().into_bytes();
                    }),
                );
            },
        ),
    ]
}

pub fn accounts() -> Vec<Situation> {
    let bind = |lab: &mut Lab, hmac: &str| {
        lab.md.md.eab = Some(Eab { kid: "kid-1".into(), hmac: hmac.into() });
        lab.ca.rules(|rules| {
            rules.eab_required = true;
            rules.eab = Some(("kid-1".into(), b"another secret".to_vec()));
        });
    };
    vec![
        failing(
            "terms not agreed to",
            &["https://ca.test/terms", "'MDCertificateAgreement accepted'", "restart of httpd"],
            |lab| {
                lab.md.md.ca.agreement = None;
                lab.ca.rules(|rules| rules.terms = Some("https://ca.test/terms".into()));
            },
        ),
        failing(
            "the CA names a page to visit",
            &["Terms of service have changed", "visit https://ca.test/terms/v7"],
            |lab| {
                let mut document = problem("userActionRequired", "Terms of service have changed");
                document["instance"] = json!("https://ca.test/terms/v7");
                refuse(lab, Endpoint::NewOrder, 403, document);
            },
        ),
        refusal(
            "the CA waits for the owner of the account",
            Endpoint::NewOrder,
            (403, "userActionRequired", "Account must be confirmed by its owner"),
            &["must be confirmed", "look at the account at the CA (https://ca.test/dir)"],
        ),
        failing("EAB missing", &["'MDExternalAccountBinding'", "hmac the CA gave you"], |lab| {
            lab.ca.rules(|rules| rules.eab_required = true);
        }),
        refusal(
            "EAB missing, says the CA",
            Endpoint::NewAccount,
            (403, "externalAccountRequired", "external account binding required"),
            &["external account binding required", "get a key identifier and an hmac"],
        ),
        failing("EAB wrong", &["binding does not hold", "compare key identifier and hmac"], move |lab| {
            bind(lab, "c2VjcmV0")
        }),
        failing("EAB used up", &["key identifier was used", "get new ones"], move |lab| {
            bind(lab, "c2VjcmV0");
            refuse(
                lab,
                Endpoint::NewAccount,
                409,
                problem("malformed", "this key identifier was used before"),
            );
        }),
        failing("EAB hmac damaged", &["not base64url", "copy it exactly"], move |lab| {
            bind(lab, "not base64!")
        }),
        refusal(
            "contact wrong",
            Endpoint::NewAccount,
            (400, "invalidContact", "contact email has invalid domain \"a.test\""),
            &["invalid domain", "correct MDContactEmail", "mailto:admin@a.test"],
        ),
        refusal(
            "contact of an unknown kind",
            Endpoint::NewAccount,
            (400, "unsupportedContact", "only mailto contacts are supported"),
            &["only mailto", "correct MDContactEmail"],
        ),
        refusal(
            "account key refused",
            Endpoint::NewAccount,
            (400, "badPublicKey", "RSA keys need 4096 bits"),
            &["4096 bits", "set MDAccountKey to another type"],
        ),
        refusal(
            "signature refused",
            Endpoint::NewAccount,
            (400, "badSignatureAlgorithm", "ES384 only"),
            &["ES384 only", "name another CA with MDCertificateAuthority"],
        ),
        refusal(
            "account gone",
            Endpoint::NewOrder,
            (400, "accountDoesNotExist", "no such account"),
            &["no such account", "nothing needs to be done", "registers a new account"],
        ),
        refusal(
            "account suspended",
            Endpoint::NewOrder,
            (403, "unauthorized", "account is suspended"),
            &["suspended", "look at the account at the CA"],
        ),
    ]
}

pub fn orders() -> Vec<Situation> {
    let order = Endpoint::NewOrder;
    vec![
        failing(
            "name refused",
            &["a.test: Domain is on the block list", "check the spelling in MDomain"],
            move |lab| {
                let mut document = problem("rejectedIdentifier", "Error creating new order");
                document["subproblems"] = json!([{"type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "Domain is on the block list", "identifier": {"type": "dns", "value": NAME}}]);
                refuse(lab, order, 400, document);
            },
        ),
        refusal(
            "addresses refused",
            order,
            (400, "unsupportedIdentifier", "IP identifiers are not supported"),
            &["IP identifiers", "configure another CA"],
        ),
        refusal(
            "request malformed",
            order,
            (400, "malformed", "Domain name contains an invalid character"),
            &["invalid character", "check the names in MDomain"],
        ),
        failing(
            "rate limit with Retry-After",
            &["too many new orders", "waited for until Wed, 15 Nov 2023 00:13:20 GMT"],
            move |lab| {
                let document =
                    problem("rateLimited", "too many new orders (300) from this account in the last 3h0m0s");
                lab.ca.fault(order, Fault::Problem { status: 429, document, retry_after: Some("7200") });
            },
        ),
        refusal(
            "rate limit for the same names",
            order,
            (
                429,
                "rateLimited",
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2023-11-16 00:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/",
            ),
            &[
                "exact set of identifiers",
                "nothing needs to be done",
                "waited for until Thu, 16 Nov 2023 00:00:00 GMT",
            ],
        ),
        refusal(
            "paused by the CA",
            order,
            (
                429,
                "rateLimited",
                "Your account is temporarily prevented from requesting certificates for a.test and possibly others. Please visit: https://portal.letsencrypt.org/sfe/v1/unpause?jwt=eyJ.x",
            ),
            &[
                "temporarily prevented",
                "What to do: Visit https://portal.letsencrypt.org/sfe/v1/unpause?jwt=eyJ.x and mend",
            ],
        ),
        failing("too many requests", &["answered 429", "left alone until"], move |lab| {
            lab.ca.fault(order, Fault::Raw(page(429, "text/html", "<h1>slow down</h1>")));
        }),
        failing(
            "CA under maintenance",
            &["under maintenance", "until Tue, 14 Nov 2023 23:13:20 GMT"],
            move |lab| {
                let document = json!({"type": "about:blank", "title": "under maintenance"});
                lab.ca.fault(order, Fault::Problem { status: 503, document, retry_after: Some("3600") });
            },
        ),
        refusal(
            "internal error of the CA",
            order,
            (500, "serverInternal", "Error creating new order"),
            &["Error creating new order", "trouble of the CA", "status page"],
        ),
        failing(
            "error page of a proxy",
            &["https://ca.test/new-order answered 502", "trouble of the CA"],
            move |lab| {
                lab.ca.fault(order, Fault::Raw(page(502, "text/html", "<html>Bad Gateway</html>")));
            },
        ),
        refusal(
            "profile refused",
            order,
            (400, "invalidProfile", "profile \"shortlived\" is not available to this account"),
            &["not available", "MDProfile"],
        ),
        failing(
            "profile unknown",
            &["no certificate profile 'shortlived'", "configure one with 'MDProfile'"],
            |lab| {
                (lab.md.md.profile, lab.md.md.profile_mandatory) = (Some("shortlived".into()), true);
                lab.ca.rules(|rules| rules.profiles = vec!["classic"]);
            },
        ),
        refusal(
            "certificate replaced before",
            order,
            (
                409,
                "alreadyReplaced",
                "cannot indicate an order replaces certificate 5, which has been replaced already",
            ),
            &["replaced already", "'MDRenewViaARI off'"],
        ),
        refusal(
            "order in conflict",
            order,
            (409, "conflict", ""),
            &["at work on this already", "nothing needs to be done"],
        ),
        refusal(
            "CSR refused",
            Endpoint::Finalize,
            (400, "badCSR", "CSR is missing the common name"),
            &["common name", "MDPrivateKeys (now: P-256)"],
        ),
        failing("must-staple refused", &["OCSP must-staple extension", "switch MDMustStaple off"], |lab| {
            lab.md.md.must_staple = true;
            refuse(
                lab,
                Endpoint::Finalize,
                403,
                problem("badCSR", "OCSP must-staple extension is no longer available"),
            );
        }),
        refusal(
            "key refused",
            Endpoint::Finalize,
            (400, "badPublicKey", "ECDSA curve P-256 not allowed"),
            &["P-256 not allowed", "MDPrivateKeys (now: P-256)"],
        ),
        failing("order never ready", &["order is not ready", "next try looks"], |lab| {
            for _ in 0..3 {
                refuse(lab, Endpoint::Finalize, 403, problem("orderNotReady", "the order is not ready"));
            }
        }),
        failing("nonces refused", &["anti-replay nonce", "tell the CA's operator"], |lab| {
            lab.ca.rules(|rules| rules.refuse_nonce = Box::new(|| true));
        }),
        refusal(
            "an answer to a revocation",
            order,
            (400, "alreadyRevoked", ""),
            &["revoked before", "CA's operator"],
        ),
        refusal(
            "a reason of a revocation",
            order,
            (400, "badRevocationReason", ""),
            &["reason of the revocation", "CA's operator"],
        ),
        failing(
            "a type that is not known",
            &["quota of your contract", "do what the CA's text says"],
            move |lab| {
                refuse(
                    lab,
                    order,
                    400,
                    json!({"type": "urn:example:quota", "detail": "the quota of your contract is used up"}),
                );
            },
        ),
        failing(
            "a problem that says nothing",
            &["https://ca.test/new-order answered 403", "who refuses"],
            move |lab| {
                refuse(lab, order, 403, json!({"type": "about:blank", "error": {}}));
            },
        ),
        failing(
            "several problems",
            &["b.test: policy forbids; c.test: no such TLD", "spelling in MDomain"],
            move |lab| {
                let sub = |name: &str, said: &str| {
                    json!({"type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": said, "identifier": {"type": "dns", "value": name}})
                };
                let document = json!({"type": "urn:ietf:params:acme:error:compound", "detail": "errors during validation",
                "subproblems": [sub("b.test", "policy forbids"), sub("c.test", "no such TLD")]});
                refuse(lab, order, 400, document);
            },
        ),
        failing(
            "an order in a state that is not known",
            &["unknown status 'frozen'", "CA's operator"],
            move |lab| {
                lab.ca.fault(
                    order,
                    Fault::Alter(|answer| {
                        let mut object: Value = serde_json::from_slice(&answer.body).unwrap();
                        object["status"] = json!("frozen");
                        answer.body = object.to_string().into_bytes();
                    }),
                );
            },
        ),
        failing(
            "another certificate than ordered",
            &["does not match its private key", "tell the CA's operator"],
            |lab| {
                let pem = String::from_utf8(lab.ca.issuer_pem()).unwrap();
                lab.ca.fault(
                    Endpoint::Certificate,
                    Fault::Raw(page(200, "application/pem-certificate-chain", &pem)),
                );
            },
        ),
        failing("no certificate", &["not a chain of PEM certificates", "CA's operator"], |lab| {
            lab.ca.fault(Endpoint::Certificate, Fault::Raw(page(200, "text/html", "<html>")));
        }),
        failing(
            "clock ahead of the new certificate",
            &["expired by the clock of this machine", "date and time"],
            |lab| {
                lab.go_ahead(DAY * 100);
            },
        ),
        situation(
            "the CA is validating",
            &["validating a.test", "asked again", "nothing needs to be done"],
            |lab| {
                lab.ca.rules(|rules| rules.validation_time = HOUR * 5);
                lab.look().into_iter().filter(|text| text.contains("been validating")).collect()
            },
        ),
        failing(
            "an order that takes more than a day",
            &["the order is given up", "places a new order"],
            |lab| {
                lab.ca.rules(|rules| rules.validation_time = DAY * 9);
            },
        ),
    ]
}

pub fn ways() -> Vec<Situation> {
    vec![
        directory(
            "directory missing",
            || page(404, "text/html", "<h1>Not Found</h1>"),
            &["no ACME directory at https://ca.test/dir", "correct the URL in MDCertificateAuthority"],
        ),
        directory(
            "directory is a web page",
            || page(200, "text/html", "<html>Welcome"),
            &["text/html", "correct the URL in MDCertificateAuthority"],
        ),
        directory(
            "directory of ACME v1",
            || Answer::json(200, &json!({"new-reg": "https://ca.test/r", "new-authz": "https://ca.test/a"})),
            &["ACME's first version", "correct the URL in MDCertificateAuthority"],
        ),
        directory(
            "directory elsewhere",
            || page(301, "text/html", "").with("Location", "https://ca.test/acme"),
            &["redirect (301) to https://ca.test/acme", "correct the URL in MDCertificateAuthority"],
        ),
        directory(
            "directory with plain http",
            || {
                Answer::json(
                    200,
                    &json!({"newNonce": "http://ca.test/n", "newAccount": "http://ca.test/a", "newOrder": "http://ca.test/o"}),
                )
            },
            &["which is not encrypted", "operator"],
        ),
        unreached(
            "CA refuses connections",
            || http::Error::Refused,
            &["cannot be reached at https://ca.test/dir: connection refused", "curl https://ca.test/dir"],
        ),
        unreached("CA is silent", || http::Error::Timeout, &["no answer in time", "firewall", "curl -4"]),
        unreached(
            "CA's name unknown",
            || http::Error::Dns("Name or service not known".into()),
            &["cannot be resolved", "/etc/resolv.conf"],
        ),
        unreached(
            "connection reset",
            || std::io::Error::from_raw_os_error(104).into(),
            &["Connection reset by peer", "curl https://ca.test/dir"],
        ),
        unreached(
            "connection closed",
            || std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into(),
            &["closed the connection without an answer", "curl https://ca.test/dir"],
        ),
        unreached(
            "answer too large",
            || http::Error::TooLarge,
            &["larger than the limit", "open https://ca.test/dir in a browser"],
        ),
        failing("no nonce", &["no usable Replay-Nonce", "CA's operator"], |lab| {
            lab.ca.fault(Endpoint::NewNonce, Fault::Raw(Answer { status: 204, ..Answer::default() }));
        }),
    ]
}

/// Held back by us, or by the CA.
pub fn waits() -> Vec<Situation> {
    vec![
        situation(
            "CA advises to renew for ever",
            &["held back until", "ARI", "'MDRenewViaARI off'"],
            |lab| {
                let past = |days: u32| lab.clock.now().minus(DAY * days).to_rfc3339();
                let info = json!({"suggestedWindow": {"start": past(3), "end": past(2)}});
                lab.ca.rules(|rules| rules.renewal_info = Some(info));
                crate::machine::renewed_and_due_again(lab)
            },
        ),
        situation("clock ahead", &["held back until", "check date and time"], |lab| {
            lab.go_ahead(DAY * 70);
            crate::machine::renewed_and_due_again(lab)
        }),
    ]
}
