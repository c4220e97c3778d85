// SPDX-License-Identifier: Apache-2.0
//! Findings about requests that a CA is known to refuse. Assumes nothing about other CAs.

use super::context::{Context, is_private, is_renewed};
use super::spelling::nearest;
use crate::config::check::together;
use crate::config::finding::Finding;
use crate::config::finding::at;
use crate::config::planned::{Plan, PlannedMd};
use crate::log::Level;
use crate::model::KeySpec;
use crate::url::Url;
use std::collections::BTreeMap;

/// A CA whose certificates browsers accept.
struct Authority {
    name: &'static str,
    /// Of the host in its URLs.
    domain: &'static str,
    needs_binding: bool,
    /// The keys it accepts, where it accepts fewer than the rules of browsers allow.
    keys: Option<&'static str>,
    has_key: fn(&KeySpec) -> bool,
    /// The names a certificate can have, if that is known.
    names_max: usize,
    has_must_staple: bool,
}

const AUTHORITIES: [Authority; 3] = [
    Authority {
        name: "Let's Encrypt",
        domain: "letsencrypt.org",
        needs_binding: false,
        keys: Some("RSA with 2048, 3072 or 4096 bits, P-256 and P-384"),
        has_key: |spec| match spec {
            KeySpec::Rsa(bits) => matches!(bits, 2048 | 3072 | 4096),
            KeySpec::Ec(_) => is_one_of(spec, &["prime256v1", "secp384r1"]),
        },
        names_max: 100,
        has_must_staple: false,
    },
    Authority {
        name: "ZeroSSL",
        domain: "zerossl.com",
        needs_binding: true,
        keys: None,
        has_key: is_common,
        names_max: usize::MAX,
        has_must_staple: true,
    },
    Authority {
        name: "Google Trust Services",
        domain: "pki.goog",
        needs_binding: true,
        keys: None,
        has_key: is_common,
        names_max: usize::MAX,
        has_must_staple: true,
    },
];

/// Directories that no longer answer, and why.
const CLOSED: [(&str, &str); 4] = [
    ("api.buypass.com", "Buypass ended its ACME service in 2025"),
    ("api.test4.buypass.no", "Buypass ended its ACME service in 2025"),
    ("acme-v01.api.letsencrypt.org", "Let's Encrypt ended this old protocol (ACME v1) in 2021"),
    ("acme-staging.api.letsencrypt.org", "Let's Encrypt ended this old protocol (ACME v1) in 2021"),
];

fn is_one_of(spec: &KeySpec, curves: &[&str]) -> bool {
    spec.curve_name().is_some_and(|curve| curves.contains(&curve.as_str()))
}

/// Whether the rules of browsers allow a key.
fn is_common(spec: &KeySpec) -> bool {
    matches!(spec, KeySpec::Rsa(_)) || is_one_of(spec, &["prime256v1", "secp384r1", "secp521r1"])
}

pub(super) fn advice(plan: &Plan, context: &Context<'_>) -> Vec<Finding> {
    let mut users: BTreeMap<&str, Vec<&PlannedMd>> = BTreeMap::new();
    for planned in plan.mds.iter().filter(|planned| is_renewed(planned)) {
        for url in &planned.md.ca.urls {
            users.entry(url).or_default().push(planned);
        }
    }
    let of_cas = users.into_iter().flat_map(|(url, users)| of_one(url, &users, context));
    of_cas.chain(challenges(plan)).collect()
}

/// Words of `MDCAChallenges` that no CA offers.
fn challenges(plan: &Plan) -> impl Iterator<Item = Finding> {
    const TYPES: [&str; 5] = ["http-01", "tls-alpn-01", "dns-01", "dns-account-01", "dns-persist-01"];
    let mut users: BTreeMap<&str, Vec<&PlannedMd>> = BTreeMap::new();
    for planned in plan.mds.iter().filter(|planned| is_renewed(planned)) {
        for word in planned.md.ca.challenges.iter().filter(|word| !TYPES.contains(&word.as_str())) {
            users.entry(word).or_default().push(planned);
        }
    }
    let of_word = |(word, users): (&str, Vec<&PlannedMd>)| {
        let meant = nearest(word, TYPES.into_iter()).map(|meant| format!("Did you mean {meant}? "));
        let text = format!(
            "MDCAChallenges has {word}, which is not a challenge type. {}Correct it: the types are {}.",
            meant.unwrap_or_default(),
            TYPES.join(", ")
        );
        warn("challenge-unknown", &users, &text)
    };
    users.into_iter().filter_map(of_word)
}

/// The findings about one CA.
fn of_one(url: &str, users: &[&PlannedMd], context: &Context<'_>) -> Vec<Finding> {
    let Ok(host) = Url::parse(url).map(|url| url.host().to_string()) else { return Vec::new() };
    if let Some((_, why)) = CLOSED.iter().find(|(closed, _)| *closed == host) {
        let text = format!(
            "{why}, so {url} issues no certificates. Choose another CA with MDCertificateAuthority, or \
             remove the directive to use Let's Encrypt."
        );
        return warn("ca-closed", users, &text).into_iter().collect();
    }
    let is_its = |ca: &&Authority| {
        host.strip_suffix(ca.domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let Some(ca) = AUTHORITIES.iter().find(is_its) else { return Vec::new() };
    let accounts = if (context.has_account)(url) { Vec::new() } else { refused_account(ca, users) };
    accounts.into_iter().chain(refused_names(ca, users)).chain(refused_certificate(ca, users)).collect()
}

/// The findings about the account that a CA will not register.
fn refused_account(ca: &Authority, users: &[&PlannedMd]) -> Vec<Finding> {
    let name = ca.name;
    let findings = [
        warn(
            "terms-not-accepted",
            &those(users, |p| p.md.ca.agreement.is_none()),
            &format!(
                "'MDCertificateAgreement accepted' is missing, so {name} registers no account and issues no certificate. \
                 Read its terms of service, and add the line if you agree to them."
            ),
        ),
        warn(
            "eab-missing",
            &those(users, |p| ca.needs_binding && p.md.eab.is_none()),
            &format!(
                "'MDExternalAccountBinding' is missing, and {name} registers no account without it. Add the \
                 key ID and the HMAC key from your account there."
            ),
        ),
    ];
    findings.into_iter().flatten().collect()
}

/// The finding about private names, for which no public CA issues certificates.
fn refused_names(ca: &Authority, users: &[&PlannedMd]) -> Option<Finding> {
    let private = |p: &PlannedMd| p.md.domains.iter().find(|name| is_private(name)).cloned();
    let first = users.iter().find_map(|p| private(p))?;
    warn(
        "name-private",
        &those(users, |p| private(p).is_some()),
        &format!(
            "{} issues no certificate for {first}, which is not a name or an address of the public internet. \
             Remove the name, or use a private CA (MDCertificateAuthority).",
            ca.name
        ),
    )
}

/// The findings about keys, the number of names and must-staple, where the CA rejects them.
fn refused_certificate(ca: &Authority, users: &[&PlannedMd]) -> Vec<Finding> {
    let name = ca.name;
    let refused_key =
        |p: &PlannedMd| p.md.key_specs.iter().find(|spec| !(ca.has_key)(spec)).map(KeySpec::to_string);
    let findings = [
        warn(
            "key-refused",
            &those(users, |p| refused_key(p).is_some()),
            &format!(
                "{name} does not accept the key {} of MDPrivateKeys. Use keys that it accepts: {}.",
                users.iter().find_map(|p| refused_key(p)).unwrap_or_default(),
                ca.keys.unwrap_or("RSA, P-256, P-384 and P-521")
            ),
        ),
        warn(
            "names-too-many",
            &those(users, |p| p.md.ordered_names().len() > ca.names_max),
            &format!(
                "the domain has more than {} names, and {name} issues no certificate for that many. Split it into several \
                 MDomain lines.",
                ca.names_max
            ),
        ),
        warn(
            "must-staple-refused",
            &those(users, |p| !ca.has_must_staple && p.md.must_staple),
            &format!("'MDMustStaple on' makes {name} reject every order. Set it to off."),
        ),
    ];
    findings.into_iter().flatten().collect()
}

fn those<'m>(users: &[&'m PlannedMd], is: impl Fn(&PlannedMd) -> bool) -> Vec<&'m PlannedMd> {
    users.iter().copied().filter(|planned| is(planned)).collect()
}

/// A warning about these domains, at the place of the first one; `None` without any.
fn warn(code: &'static str, mds: &[&PlannedMd], text: &str) -> Option<Finding> {
    let place = at(&mds.first()?.defined_at);
    Some(Finding::new(Level::Warn, format!("{place}: {}: {text}", together(mds))).code(code))
}
