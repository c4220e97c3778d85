// SPDX-License-Identifier: Apache-2.0
//! Whether a client is served as well by our module as by the C module.

use crate::seen::{Certificate, Seen};

/// Certificates of the same pair of key and file end at the same second; those of two orders follow each
/// other.
const ONE_ORDER_LATER: i64 = 600;

/// `Err` says in which respect ours is worse.
pub fn at_least_as_good(c: &Seen, ours: &Seen) -> Result<(), String> {
    handshake("", c.any.as_ref(), ours.any.as_ref())?;
    let both = [("RSA clients: ", &c.rsa, &ours.rsa), ("EC clients: ", &c.ec, &ours.ec)];
    for (whom, theirs, ours) in both {
        // A self-signed certificate is worth as much with any key.
        if theirs.as_ref().is_some_and(|theirs| !theirs.is_fallback) {
            handshake(whom, theirs.as_ref(), ours.as_ref())?;
        }
    }
    status("https", c.https, ours.https)?;
    status("http", c.http, ours.http)
}

/// A client can do more with what ours serves: what both say of the domain differs with it.
pub fn is_better(c: &Seen, ours: &Seen) -> bool {
    let worth = |seen: &Seen| seen.any.as_ref().map(worth);
    worth(ours) > worth(c)
}

fn handshake(whom: &str, c: Option<&Certificate>, ours: Option<&Certificate>) -> Result<(), String> {
    let worse = |c: &dyn std::fmt::Display, ours: &dyn std::fmt::Display, why: &str| {
        Err(format!("{whom}C serves {c}, ours {ours}: {why}"))
    };
    let (c, ours) = match (c, ours) {
        (None, _) => return Ok(()),
        (Some(c), None) => return worse(c, &"nothing", "the handshake fails"),
        (Some(c), Some(ours)) => (c, ours),
    };
    match worth(c).cmp(&worth(ours)) {
        std::cmp::Ordering::Less => return Ok(()),
        std::cmp::Ordering::Greater => return worse(c, ours, "it is worth less to a client"),
        std::cmp::Ordering::Equal => {}
    }
    if c.verified && !ours.verified {
        return worse(c, ours, "its chain does not lead to the root");
    }
    if !c.is_fallback && ours.not_after + ONE_ORDER_LATER < c.not_after {
        return worse(c, ours, "it ends earlier");
    }
    Ok(())
}

/// Greater is better; the first difference decides.
fn worth(certificate: &Certificate) -> (bool, bool, bool, bool) {
    let Certificate { is_fallback, covers, in_time, .. } = *certificate;
    (!is_fallback && covers && in_time, !is_fallback, covers, in_time)
}

fn status(scheme: &str, c: u16, ours: u16) -> Result<(), String> {
    let worth = |status: u16| match status {
        200..400 => 3,
        400..500 => 2,
        500..600 => 1,
        _ => 0,
    };
    if worth(ours) < worth(c) { Err(format!("{scheme}: C answers {c}, ours {ours}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        Certificate {
            serial: "01".into(),
            issuer: "CA".into(),
            names: vec!["one.test".into()],
            key: "EC",
            is_fallback: false,
            covers: true,
            in_time: true,
            verified: true,
            not_after: 1_000_000,
        }
    }

    fn host(certificate: Option<Certificate>) -> Seen {
        Seen {
            name: "one.test".into(),
            rsa: None,
            ec: certificate.clone(),
            any: certificate,
            https: 200,
            http: 200,
        }
    }

    /// Each entry beats all that come after it, as a certificate.
    #[test]
    fn usable_beats_unusable_beats_self_signed() {
        let fallback = Certificate { is_fallback: true, verified: false, ..certificate() };
        let order = [
            Some(certificate()),
            Some(Certificate { verified: false, ..certificate() }),
            Some(Certificate { in_time: false, ..certificate() }),
            Some(Certificate { covers: false, ..certificate() }),
            Some(Certificate { covers: false, in_time: false, ..certificate() }),
            Some(fallback),
            None,
        ];
        for (place, better) in order.iter().enumerate() {
            for (other, worse) in order.iter().enumerate() {
                let found = at_least_as_good(&host(better.clone()), &host(worse.clone()));
                assert_eq!(found.is_ok(), other <= place, "{better:?} and {worse:?}: {found:?}");
                // The chain is no part of what both say.
                let is_apart = place > 1 || other > 1;
                let is_better = is_better(&host(better.clone()), &host(worse.clone()));
                assert_eq!(is_better, is_apart && other < place, "{better:?} and {worse:?}");
            }
        }
    }

    #[test]
    fn an_earlier_end_is_worse_unless_it_is_of_another_order() {
        let ends = |not_after| host(Some(Certificate { not_after, ..certificate() }));
        assert!(at_least_as_good(&ends(1_000_000), &ends(999_990)).is_ok());
        assert!(at_least_as_good(&ends(1_000_000), &ends(900_000)).is_err());
        assert!(at_least_as_good(&ends(900_000), &ends(1_000_000)).is_ok());
    }

    #[test]
    fn a_kind_of_key_that_the_c_module_serves_is_not_missed() {
        let rsa = Certificate { key: "RSA", ..certificate() };
        let both = Seen { rsa: Some(rsa.clone()), ..host(Some(certificate())) };
        let said = at_least_as_good(&both, &host(Some(certificate()))).unwrap_err();
        assert!(said.starts_with("RSA clients: "), "{said}");
        assert!(at_least_as_good(&host(Some(certificate())), &both).is_ok());
        let fallback = Some(Certificate { is_fallback: true, ..rsa });
        let replaced = Seen { rsa: fallback.clone(), ec: None, ..host(fallback) };
        assert!(
            at_least_as_good(&replaced, &host(Some(certificate()))).is_ok(),
            "EC, where C has RSA of its own"
        );
    }

    #[test]
    fn a_page_beats_an_error_and_a_redirect_is_as_good() {
        let answers = |https, http| Seen { https, http, ..host(Some(certificate())) };
        for (c, ours, good) in [
            (200, 503, false),
            (200, 404, false),
            (404, 503, false),
            (503, 0, false),
            (200, 302, true),
            (503, 503, true),
            (503, 200, true),
            (0, 0, true),
        ] {
            assert_eq!(at_least_as_good(&answers(c, 200), &answers(ours, 200)).is_ok(), good, "{c} {ours}");
            assert_eq!(at_least_as_good(&answers(200, c), &answers(200, ours)).is_ok(), good, "{c} {ours}");
        }
    }
}
