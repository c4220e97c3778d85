// SPDX-License-Identifier: Apache-2.0
//! The managed domain: names that share certificates, and all settings for obtaining these. Its JSON is
//! `md.json` of the store; unknown keys of a stored one are kept.

use super::KeySpec;
use super::bounded::{self, Room, TEXT_MAX};
use super::dns01::Way;
use super::modes::{NotRenewed, RenewMode, RequireHttps};
use crate::names;
use crate::time::TimeSlice;
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

/// `state` in md.json. An MD that has not been checked yet has 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Unknown = 0,
    Incomplete = 1,
    Complete = 2,
    Error = 4,
    MissingInformation = 5,
}

/// External account binding (RFC 8555 §7.3.4). The hmac is a secret: `Debug` hides it, and it is wiped when
/// it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    pub kid: String,
    /// base64url, as the CA handed it out.
    pub hmac: String,
}

impl Drop for Eab {
    fn drop(&mut self) {
        self.hmac.zeroize();
    }
}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("kid", &self.kid).field("hmac", &"***").finish()
    }
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ca {
    /// Folder of the account in the store (`ACME-host-0000`).
    pub account: Option<String>,
    /// The protocol, `ACME`.
    pub proto: String,
    /// The CA in use: the one that is ordered from now, or issued the certificate.
    pub url: Option<String>,
    /// The CAs to use, in order of preference: directory URLs.
    pub urls: Vec<String>,
    pub agreement: Option<String>,
    /// Challenge types as configured; empty: found out by detection.
    pub challenges: Vec<String>,
    /// The type of the key of a new account, where it is configured.
    pub account_key: Option<KeySpec>,
}

/// A managed domain with every setting resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Md {
    /// Its first name; the name of its folders.
    pub name: String,
    /// In the order of the configuration, lower-cased, unique.
    pub domains: Vec<String>,
    /// Contact URLs (`mailto:…`).
    pub contacts: Vec<String>,
    /// Names of matching hosts join (`MDMembers auto`).
    pub transitive: bool,
    pub ca: Ca,
    /// Empty: the default, RSA 2048.
    pub key_specs: Vec<KeySpec>,
    pub state: State,
    pub state_descr: Option<String>,
    pub renew_mode: RenewMode,
    pub renew_window: TimeSlice,
    pub warn_window: TimeSlice,
    pub require_https: RequireHttps,
    pub must_staple: bool,
    /// Names that can answer `tls-alpn-01` challenges.
    pub acme_tls_1: Vec<String>,
    pub cert_files: Vec<String>,
    pub pkey_files: Vec<String>,
    pub stapling: bool,
    /// Command line for dns-01, of this MD alone.
    pub cmd_dns_01: Option<String>,
    /// The way of dns-01 in force where that is no command, without the content of its files.
    pub dns_01: Option<Way>,
    pub proxy_url: Option<String>,
    pub ca_certs: Option<String>,
    pub proxy_ca_certs: Option<String>,
    pub eab: Option<Eab>,
    pub profile: Option<String>,
    pub profile_mandatory: bool,
    pub ari_renewals: bool,
    /// Keys of a stored md.json that we do not know.
    pub extra: Map<String, Value>,
}

impl Default for Md {
    fn default() -> Self {
        Md {
            name: String::new(),
            domains: Vec::new(),
            contacts: Vec::new(),
            transitive: true,
            ca: Ca { proto: "ACME".into(), ..Ca::default() },
            key_specs: Vec::new(),
            state: State::Unknown,
            state_descr: None,
            renew_mode: RenewMode::Auto,
            renew_window: TimeSlice::Percent(33),
            warn_window: TimeSlice::Percent(10),
            require_https: RequireHttps::Off,
            must_staple: false,
            acme_tls_1: Vec::new(),
            cert_files: Vec::new(),
            pkey_files: Vec::new(),
            stapling: false,
            cmd_dns_01: None,
            dns_01: None,
            proxy_url: None,
            ca_certs: None,
            proxy_ca_certs: None,
            eab: None,
            profile: None,
            profile_mandatory: false,
            ari_renewals: true,
            extra: Map::new(),
        }
    }
}

/// Bytes of a line of httpd's configuration.
const LINE_MAX: usize = 16 * 1024;
/// Of all keys we do not know.
const EXTRA_ROOM: Room = Room { values: 1024, text: 64 * 1024 };

const KNOWN_KEYS: &[&str] = &[
    "name",
    "domains",
    "contacts",
    "transitive",
    "ca",
    "privkey",
    "state",
    "state-descr",
    "renew-mode",
    "renew-window",
    "warn-window",
    "require-https",
    "must-staple",
    "proto",
    "cert-files",
    "pkey-files",
    "stapling",
    "cmd-dns-01",
    "dns-01",
    "proxy-url",
    "ca-certs",
    "proxy-ca-certs",
    "eab",
    "profile",
    "profile-mandatory",
    "ari-renewals",
];

impl Md {
    /// The keys to make, never empty: the configured ones, or the default.
    pub fn keys(&self) -> Vec<KeySpec> {
        if self.key_specs.is_empty() { vec![KeySpec::default()] } else { self.key_specs.clone() }
    }

    /// Whether `name` is one of our names or covered by a wildcard of ours.
    pub fn covers(&self, name: &str) -> bool {
        self.domains.iter().any(|d| names::covers(d, name))
    }

    /// The names that are ordered: CAs refuse those that a wildcard of the same order covers.
    pub fn ordered_names(&self) -> Vec<String> {
        let is_covered = |name: &String| self.domains.iter().any(|d| d != name && names::covers(d, name));
        self.domains.iter().filter(|name| !is_covered(name)).cloned().collect()
    }

    /// Whether a certificate for `cert_names` serves all our names.
    pub fn is_covered_by(&self, cert_names: &[String]) -> bool {
        self.domains.iter().all(|d| cert_names.iter().any(|c| names::covers(c, d)))
    }

    /// Certificates come from files of the admin, not from a CA.
    pub fn has_static_files(&self) -> bool {
        !self.cert_files.is_empty()
    }

    /// Why this module does not renew it, where it does not; `in_use`: a host has it.
    pub fn not_renewed(&self, in_use: bool) -> Option<NotRenewed> {
        self.left_alone().or_else(|| (!self.is_wanted(in_use)).then_some(NotRenewed::Unused))
    }

    /// Why the configuration leaves its certificates to the admin, where it does.
    pub fn left_alone(&self) -> Option<NotRenewed> {
        match self.renew_mode {
            RenewMode::Manual => Some(NotRenewed::Manual),
            RenewMode::Auto if self.has_static_files() => Some(NotRenewed::StaticFiles),
            RenewMode::Auto | RenewMode::Always => None,
        }
    }

    /// Whether a host has it, or it is renewed without one.
    pub fn is_wanted(&self, in_use: bool) -> bool {
        in_use || self.renew_mode == RenewMode::Always
    }

    /// md.json with its secret: for files of mode 0600/0640 only.
    pub fn to_json(&self) -> Value {
        self.json_with(self.eab.as_ref().map(|e| json!({"kid": e.kid, "hmac": e.hmac})))
    }

    /// md.json as status pages show it: with the hmac of the EAB masked.
    pub fn to_public_json(&self) -> Value {
        self.json_with(self.eab.as_ref().map(|e| json!({"kid": e.kid, "hmac": "***"})))
    }

    fn json_with(&self, eab: Option<Value>) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        put("name", json!(self.name));
        put("domains", json!(self.domains));
        put("contacts", json!(self.contacts));
        put("transitive", json!(i32::from(self.transitive)));
        put("ca", self.ca.to_json());
        match self.key_specs.as_slice() {
            [] => None,
            [one] => put("privkey", one.to_json()),
            many => put("privkey", many.iter().map(KeySpec::to_json).collect()),
        };
        put("state", json!(self.state as i32));
        self.state_descr.as_ref().map(|s| put("state-descr", json!(s)));
        // As the C module has it: files of the admin are renewed only where the configuration says so.
        let renew_mode = if self.left_alone().is_some() { RenewMode::Manual } else { self.renew_mode };
        put("renew-mode", json!(renew_mode as i32));
        put("renew-window", json!(self.renew_window.to_string()));
        put("warn-window", json!(self.warn_window.to_string()));
        if self.require_https != RequireHttps::Off {
            put("require-https", json!(self.require_https.word()));
        }
        put("must-staple", json!(self.must_staple));
        put("proto", json!({"acme-tls/1": self.acme_tls_1}));
        if !self.cert_files.is_empty() {
            put("cert-files", json!(self.cert_files));
        }
        if !self.pkey_files.is_empty() {
            put("pkey-files", json!(self.pkey_files));
        }
        put("stapling", json!(self.stapling));
        for (key, value) in [
            ("cmd-dns-01", &self.cmd_dns_01),
            ("proxy-url", &self.proxy_url),
            ("ca-certs", &self.ca_certs),
            ("proxy-ca-certs", &self.proxy_ca_certs),
        ] {
            value.as_ref().map(|v| put(key, json!(v)));
        }
        eab.map(|e| put("eab", e));
        self.profile.as_ref().map(|p| put("profile", json!(p)));
        put("profile-mandatory", json!(self.profile_mandatory));
        put("ari-renewals", json!(self.ari_renewals));
        self.dns_01.as_ref().and_then(Way::to_json).map(|way| put("dns-01", way));
        for (key, value) in &self.extra {
            out.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(out)
    }

    /// Reads md.json as any 2.x version wrote it. `None` without a usable name; other fields that are
    /// missing or of a wrong type take their defaults.
    pub fn from_json(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let name = names::normalize(fields.get("name")?.as_str()?).ok()?;
        let text = |key: &str| fields.get(key).and_then(Value::as_str).and_then(usable);
        let flag = |key: &str| fields.get(key).and_then(as_bool);
        let slice = |key: &str| text(key).and_then(|t| TimeSlice::parse(&t));
        let defaults = Md::default();
        let unknown = fields.iter().filter(|(key, _)| !KNOWN_KEYS.contains(&key.as_str()));
        Some(Md {
            domains: domains(&name, fields.get("domains")),
            name,
            contacts: strings(fields.get("contacts")),
            transitive: flag("transitive").unwrap_or(true),
            ca: fields.get("ca").map(Ca::from_json).unwrap_or(defaults.ca),
            key_specs: key_specs(fields.get("privkey")),
            state: State::from_number(fields.get("state").and_then(Value::as_i64)),
            state_descr: bounded::text_at(value, "state-descr", TEXT_MAX),
            renew_mode: RenewMode::from_number(fields.get("renew-mode").and_then(Value::as_i64)),
            renew_window: slice("renew-window").unwrap_or(defaults.renew_window),
            warn_window: slice("warn-window").unwrap_or(defaults.warn_window),
            require_https: RequireHttps::from_word(text("require-https").as_deref()),
            must_staple: flag("must-staple").unwrap_or(false),
            acme_tls_1: strings(fields.get("proto").and_then(|p| p.get("acme-tls/1"))),
            cert_files: strings(fields.get("cert-files")),
            pkey_files: strings(fields.get("pkey-files")),
            stapling: flag("stapling").unwrap_or(false),
            cmd_dns_01: text("cmd-dns-01"),
            dns_01: fields.get("dns-01").and_then(Way::from_json),
            proxy_url: text("proxy-url"),
            ca_certs: text("ca-certs"),
            proxy_ca_certs: text("proxy-ca-certs"),
            eab: fields.get("eab").and_then(Eab::from_json),
            profile: text("profile"),
            profile_mandatory: flag("profile-mandatory").unwrap_or(false),
            ari_renewals: flag("ari-renewals").unwrap_or(true),
            extra: EXTRA_ROOM.take_fields(unknown),
        })
    }
}

impl Eab {
    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().and_then(usable);
        Some(Eab { kid: text("kid")?, hmac: text("hmac")? })
    }
}

impl Ca {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        self.account.as_ref().map(|a| put("account", json!(a)));
        put("proto", json!(self.proto));
        self.url.as_ref().map(|u| put("url", json!(u)));
        if !self.urls.is_empty() {
            put("urls", json!(self.urls));
        }
        self.agreement.as_ref().map(|a| put("agreement", json!(a)));
        if !self.challenges.is_empty() {
            put("challenges", json!(self.challenges));
        }
        self.account_key.as_ref().map(|spec| put("account-key", spec.to_json()));
        Value::Object(out)
    }

    fn from_json(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).and_then(usable);
        Ca {
            account: text("account"),
            proto: text("proto").unwrap_or_else(|| "ACME".into()),
            url: text("url"),
            urls: strings(value.get("urls")),
            agreement: text("agreement"),
            challenges: strings(value.get("challenges")),
            account_key: value.get("account-key").and_then(KeySpec::from_json).filter(KeySpec::is_of_account),
        }
    }
}

impl State {
    fn from_number(n: Option<i64>) -> Self {
        match n {
            Some(1) => State::Incomplete,
            Some(2) => State::Complete,
            Some(4) => State::Error,
            Some(5) => State::MissingInformation,
            _ => State::Unknown,
        }
    }
}

/// The C module writes some flags as numbers.
fn as_bool(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_i64().map(|n| n != 0))
}

/// The stored names, never none.
fn domains(name: &str, value: Option<&Value>) -> Vec<String> {
    let domains: Vec<String> = strings(value).iter().filter_map(|d| names::normalize(d).ok()).collect();
    if domains.is_empty() { vec![name.to_string()] } else { domains }
}

/// One key is stored by itself, several as an array.
fn key_specs(value: Option<&Value>) -> Vec<KeySpec> {
    match value {
        Some(Value::Array(many)) => many.iter().filter_map(KeySpec::from_json).collect(),
        Some(one) => KeySpec::from_json(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).filter_map(usable).collect()
}

/// A text that a configuration could hold: longer than its lines can be, others have written it.
fn usable(text: &str) -> Option<String> {
    (text.len() <= LINE_MAX).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Md {
        Md {
            name: "a.test".into(),
            domains: vec!["a.test".into(), "*.b.test".into()],
            contacts: vec!["mailto:me@x.test".into()],
            ca: Ca {
                urls: vec!["https://ca.test/dir".into()],
                agreement: Some("accepted".into()),
                account_key: Some(KeySpec::Ec("P-256".into())),
                ..Md::default().ca
            },
            key_specs: vec![KeySpec::Rsa(2048), KeySpec::Ec("secp384r1".into())],
            state: State::Incomplete,
            state_descr: Some("certificate(rsa) is missing".into()),
            require_https: RequireHttps::Permanent,
            eab: Some(Eab { kid: "k".into(), hmac: "c2VjcmV0".into() }),
            ..Md::default()
        }
    }

    #[test]
    fn a_domain_is_renewed_by_its_mode_its_files_and_its_hosts() {
        use NotRenewed::{Manual, StaticFiles, Unused};
        for (renew_mode, has_files, in_use, expected) in [
            (RenewMode::Auto, false, true, None),
            (RenewMode::Auto, false, false, Some(Unused)),
            (RenewMode::Auto, true, true, Some(StaticFiles)),
            (RenewMode::Auto, true, false, Some(StaticFiles)),
            (RenewMode::Always, false, false, None),
            (RenewMode::Always, true, false, None),
            (RenewMode::Manual, false, true, Some(Manual)),
            (RenewMode::Manual, true, false, Some(Manual)),
        ] {
            let cert_files = if has_files { vec!["/x".into()] } else { Vec::new() };
            let md = Md { renew_mode, cert_files, ..Md::default() };
            assert_eq!(md.not_renewed(in_use), expected, "{renew_mode:?} {has_files} {in_use}");
        }
    }

    #[test]
    fn json_has_the_keys_of_the_store_in_their_order() {
        let md = Md { key_specs: Vec::new(), eab: None, require_https: RequireHttps::Off, ..sample() };
        let keys: Vec<_> = md.to_json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "name",
                "domains",
                "contacts",
                "transitive",
                "ca",
                "state",
                "state-descr",
                "renew-mode",
                "renew-window",
                "warn-window",
                "must-staple",
                "proto",
                "stapling",
                "profile-mandatory",
                "ari-renewals"
            ]
        );
        assert_eq!(md.to_json()["transitive"], json!(1));
        assert_eq!(md.to_json()["renew-window"], json!("33%"));
    }

    #[test]
    fn json_is_read_back_and_unknown_keys_are_kept() {
        let mut stored = sample().to_json();
        stored["later-version"] = json!({"x": 1});
        let md = Md::from_json(&stored).unwrap();
        assert_eq!(md.to_json(), stored);
        assert_eq!(Md { extra: Map::new(), ..md }, sample());
    }

    #[test]
    fn static_files_are_not_renewed_unless_always() {
        for (renew_mode, number) in [(RenewMode::Manual, 0), (RenewMode::Auto, 0), (RenewMode::Always, 2)] {
            let md = Md { renew_mode, cert_files: vec!["/x".into()], ..sample() };
            assert_eq!(md.to_json()["renew-mode"], number);
        }
    }

    #[test]
    fn the_public_json_masks_the_hmac() {
        assert!(!sample().to_public_json().to_string().contains("c2VjcmV0"));
        assert_eq!(sample().to_public_json()["eab"], json!({"kid": "k", "hmac": "***"}));
        assert!(!format!("{:?}", sample()).contains("c2VjcmV0"));
    }

    #[test]
    fn a_stored_name_that_leaves_its_folder_is_not_read() {
        assert_eq!(Md::from_json(&json!({"name": "../x", "domains": ["a.test"]})), None);
        assert_eq!(Md::from_json(&json!([])), None);
    }

    #[test]
    fn coverage_knows_wildcards() {
        let md = sample();
        assert!(md.covers("x.b.test"));
        assert!(!md.covers("b.test"));
        assert!(md.is_covered_by(&["a.test".into(), "*.b.test".into(), "c.test".into()]));
        assert!(!md.is_covered_by(&["a.test".into()]));
    }
}
