// SPDX-License-Identifier: Apache-2.0
//! Carries out a plan: accounts go to `accounts/`, where starts and children find them, and each set into the
//! staging of its domain, complete and authenticated. From there the running httpd publishes it at its next
//! look, or the next start activates it, through the same gate as a renewed one. Each step may be the last of
//! this process; a repeated call does what is missing.

use super::found::{Found, FoundAccount, FoundSet};
use super::plan::{self, Plan, Take};
use crate::managed::bundle::Bundle;
use crate::managed::{Managed, handed_in};
use crate::model::Eab;
use crate::startup::accounts::Accounts;
use crate::store::{Error, Holder, StartStore};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// What became of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is in this folder of `accounts/` now.
    Imported(String),
    /// It was there before.
    Known(String),
    /// It cannot be used, for this reason.
    Passed(String),
    /// It would be imported.
    Would,
}

impl Carried {
    fn folder(&self) -> Option<&str> {
        match self {
            Carried::Imported(folder) | Carried::Known(folder) => Some(folder),
            _ => None,
        }
    }
}

/// The accounts, in the order they were found. `is_dry`: nothing is written.
pub fn accounts(
    store: &StartStore,
    found: &[FoundAccount],
    mds: &[Managed],
    is_dry: bool,
) -> Result<Vec<Carried>, Error> {
    let mut known = Accounts::read(store)?;
    let carry = |account: &FoundAccount| {
        let key = match &account.key {
            Ok(key) => key,
            Err(why) => return Ok(Carried::Passed(why.clone())),
        };
        let json = match account_json(account, mds) {
            Ok(json) => json,
            Err(why) => return Ok(Carried::Passed(why.into())),
        };
        if is_dry {
            let folder = known.folder_of(account.url.as_deref().unwrap_or_default());
            return Ok(folder.map_or(Carried::Would, |folder| Carried::Known(folder.to_string())));
        }
        Ok(match known.take_in(store, &json, key)? {
            Some((folder, true)) => Carried::Imported(folder),
            Some((folder, false)) => Carried::Known(folder),
            None => Carried::Passed("there is no number left for an account of this CA".into()),
        })
    };
    found.iter().map(carry).collect()
}

/// account.json as an attempt writes it. The CA is asked for the rest when the account is used.
fn account_json(account: &FoundAccount, mds: &[Managed]) -> Result<Value, &'static str> {
    let url = account.url.as_deref().filter(|url| super::found::host_of(url).is_some());
    let url = url.ok_or("the URL of the account is not known")?;
    let ca_url = account.ca_url.as_deref().ok_or(
        "the directory of its CA is not known: name the CA in the configuration (MDCertificateAuthority) first",
    )?;
    let mut out = Map::new();
    out.insert("status".into(), json!("valid"));
    out.insert("url".into(), json!(url));
    out.insert("ca-url".into(), json!(ca_url));
    out.insert("contact".into(), json!(account.contacts));
    // Domains with a binding order with accounts of the same one alone, and others with accounts of none.
    let binding = account.eab_kid.as_ref().and_then(|kid| binding(kid, mds));
    if let Some(Eab { kid, hmac }) = binding {
        out.insert("eab".into(), json!({"kid": kid, "hmac": hmac}));
    }
    Ok(Value::Object(out))
}

fn binding<'a>(kid: &str, mds: &'a [Managed]) -> Option<&'a Eab> {
    mds.iter().filter_map(|managed| managed.md.eab.as_ref()).find(|eab| eab.kid == kid)
}

/// Stages the sets of all domains that get one. `carried`: what became of the accounts. Gives the names of the
/// domains for which that failed, and why.
pub fn sets(
    store: &StartStore,
    found: &Found,
    plan: &Plan,
    mds: &[Managed],
    carried: &[Carried],
    why: &str,
    now: Timestamp,
) -> Vec<(String, String)> {
    let work = store.worker();
    let mut failed = Vec::new();
    for take in &plan.takes {
        let Some(managed) = mds.get(take.md) else { continue };
        let ca_url = take.sets.first().and_then(|(at, _)| found.sets.get(*at)?.ca_url.clone());
        let account = account_at(ca_url.as_deref(), &found.accounts, carried);
        let ordered = plan::ordered(&managed.md, take, ca_url.as_deref(), account);
        let bundles = bundles(take, &found.sets);
        let name = &managed.md.name;
        let outcome = match work.lock_attempt(name, &Holder::of_program("a2md", now)) {
            Ok(Ok(_held)) => {
                handed_in::stage(&work, &ordered, &bundles, why, now).map_err(|error| error.advised())
            }
            Ok(Err(holder)) => {
                Err(format!("a renewal is at work on it: {holder}. Import again when it has ended."))
            }
            Err(error) => Err(error.advised()),
        };
        failed.extend(outcome.err().map(|why| (name.clone(), why)));
    }
    failed
}

fn account_at<'a>(
    ca_url: Option<&str>,
    accounts: &[FoundAccount],
    carried: &'a [Carried],
) -> Option<&'a str> {
    let of_ca = |account: &FoundAccount| ca_url.is_some() && account.ca_url.as_deref() == ca_url;
    let mut folders = accounts.iter().zip(carried).filter(|(account, _)| of_ca(account));
    folders.find_map(|(_, carried)| carried.folder())
}

/// The sets under the names of the keys that they are for. A set may go to several domains.
fn bundles(take: &Take, found: &[FoundSet]) -> Vec<Bundle> {
    let bundle = |(at, spec): &(usize, crate::model::KeySpec)| {
        let bundle = found.get(*at)?.bundle.as_ref().ok()?;
        let Bundle { key, chain, info, .. } = bundle;
        Some(Bundle { spec: spec.clone(), key: key.clone(), chain: chain.clone(), info: info.clone() })
    };
    take.sets.iter().filter_map(bundle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlannedMd;
    use crate::crypto::PrivateKey;
    use crate::managed::fixture::md;
    use crate::model::KeySpec;

    fn account(eab_kid: Option<&str>) -> FoundAccount {
        FoundAccount {
            origin: "x".into(),
            ca_url: Some("https://ca.test/dir".into()),
            url: Some("https://ca.test/acct/7".into()),
            contacts: vec!["mailto:a@b.test".into()],
            eab_kid: eab_kid.map(String::from),
            key: PrivateKey::generate(&KeySpec::Ec("P-256".into())).map_err(|error| error.to_string()),
        }
    }

    #[test]
    fn an_account_is_bound_as_the_domains_that_order_with_it() {
        let bound =
            crate::model::Md { eab: Some(Eab { kid: "k".into(), hmac: "h".into() }), ..md(&["a.test"]) };
        let mds = [Managed::new(PlannedMd { md: bound, ..PlannedMd::default() }, Default::default())];
        assert_eq!(account_json(&account(Some("k")), &mds).unwrap()["eab"], json!({"kid": "k", "hmac": "h"}));
        for other in [Some("l"), None] {
            assert_eq!(account_json(&account(other), &mds).unwrap().get("eab"), None);
        }
        let no_url = FoundAccount { url: Some("nonsense".into()), ..account(None) };
        let no_ca = FoundAccount { ca_url: None, ..account(None) };
        assert!(account_json(&no_url, &[]).is_err() && account_json(&no_ca, &[]).is_err());
    }
}
