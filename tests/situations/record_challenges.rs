// SPDX-License-Identifier: Apache-2.0
//! The challenges of the DNS that are used only where they are configured.

use crate::lab::{HOUR, Lab, finds};
use crate::table::{Situation, failing, situation};
use doubles::FakeDns;
use mod_md::managed::staging::Staging;
use mod_md::model::RenewMode;
use mod_md::model::dns01::{Hook, HookKind, Way};
use mod_md::model::ledger::RecordEnd;
use mod_md::time::{Clock, DAY};

fn offered(lab: &Lab, type_: &'static str) {
    lab.ca.rules(|rules| rules.challenge_types = vec![type_]);
}

/// With a hook that does nothing.
fn hook(lab: &mut Lab, kind: HookKind) {
    lab.dns01("exit 0", HOUR);
    let words = vec!["/bin/true".to_string()];
    if let Some(dns01) = &mut lab.md.dns01 {
        dns01.way = Way::Hook(Hook { kind, words, user: None, env: None });
        dns01.propagation.limit = None;
    }
    lab.md.md.ca.challenges = vec!["dns-account-01".into()];
}

pub fn situations() -> Vec<Situation> {
    vec![
        situation(
            "no record of dns-persist-01",
            &[
                "Set in the DNS: '_validation-persist.a.test. TXT \"ca.test; accounturi=https://ca.test/account/0\"'",
            ],
            |lab| {
                offered(lab, "dns-persist-01");
                lab.md.md.ca.challenges = vec!["dns-persist-01".into()];
                let dns = FakeDns::new(lab.clock.clone());
                dns.zone(crate::lab::NAME, &[(1, HOUR)]);
                lab.dns = Some(dns);
                lab.look().into_iter().filter(|text| text.contains("waits")).collect()
            },
        ),
        failing(
            "a record of dns-persist-01 that the CA does not see",
            &["dig TXT _validation-persist.a.test"],
            |lab| {
                offered(lab, "dns-persist-01");
                finds(
                    lab,
                    "dns-persist-01",
                    "unauthorized",
                    "No TXT records found for DNS-PERSIST-01 challenge",
                );
            },
        ),
        failing(
            "a record of dns-account-01 that the CA does not see",
            &["the label of the account"],
            |lab| {
                offered(lab, "dns-account-01");
                finds(
                    lab,
                    "dns-account-01",
                    "unauthorized",
                    "No TXT records found for DNS-ACCOUNT-01 challenge",
                );
                hook(lab, HookKind::Lego);
            },
        ),
        failing("a hook that cannot set the record of dns-account-01", &["use 'dns-01'"], |lab| {
            offered(lab, "dns-account-01");
            hook(lab, HookKind::Dehydrated);
        }),
        situation(
            "a record of dns-persist-01 that ends soon",
            &["_validation-persist.a.test", "(persistUntil)", "set a later date"],
            |lab| {
                lab.md.md.ca.challenges = vec!["dns-persist-01".into()];
                lab.md.md.renew_mode = RenewMode::Manual;
                let work = lab.work();
                let staging = Staging::new(&work, crate::lab::NAME);
                let mut ledger = staging.ledger();
                ledger.note_record(RecordEnd {
                    name: "_validation-persist.a.test".into(),
                    until: lab.clock.now().plus(DAY),
                    issuers: vec!["ca.test".into()],
                    account: "https://ca.test/account/0".into(),
                });
                staging.save_ledger(&ledger).unwrap();
                lab.look()
            },
        ),
    ]
}
