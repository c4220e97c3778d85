// SPDX-License-Identifier: Apache-2.0
//! Situations with TXT records that are set by dynamic updates.

use crate::lab::Lab;
use crate::table::{Situation, failing, situation};
use doubles::dns::Refusal;
use mod_md::dns::OptRcode;
use mod_md::model::dns01::{SecretFile, Way};
use std::time::Duration;

pub fn all() -> Vec<Situation> {
    refused().into_iter().chain(settings()).chain(names()).collect()
}

fn refusing(id: &'static str, says: &'static [&'static str], refusal: Refusal) -> Situation {
    failing(id, says, move |lab| lab.updates(|_, dns| dns.refuse(Some(refusal))))
}

fn refused() -> Vec<Situation> {
    vec![
        refusing(
            "a server does not know the key",
            &["_acme-challenge.a.test in the zone a.test at 192.0.2.1:53", "BADKEY", "Add the key 'acme'"],
            Refusal::Tsig(17),
        ),
        refusing(
            "a server has another secret for the key",
            &["in the zone a.test at 192.0.2.1:53", "BADSIG", "name, algorithm and secret of the key 'acme'"],
            Refusal::Tsig(16),
        ),
        refusing(
            "a server has another time",
            &["BADTIME", "3600 seconds ahead of this machine's", "Set the clocks"],
            Refusal::Tsig(18),
        ),
        refusing(
            "a server refuses an update",
            &["answered REFUSED", "Allow the key 'acme'", "update-policy"],
            Refusal::Rcode(OptRcode::REFUSED),
        ),
        refusing(
            "a server is not that of the zone",
            &["answered NOTAUTH", "primary server of a.test"],
            Refusal::Rcode(OptRcode::NOTAUTH),
        ),
        refusing(
            "a record is not in the zone",
            &["answered NOTZONE", "_acme-challenge.a.test", "zone="],
            Refusal::Rcode(OptRcode::NOTZONE),
        ),
        refusing(
            "a server cannot update its zone",
            &["answered SERVFAIL", "log of that server"],
            Refusal::Rcode(OptRcode::SERVFAIL),
        ),
        failing(
            "a server for updates does not answer",
            &["192.0.2.1:53 did not answer within 10 seconds", "primary server of a.test"],
            |lab| lab.updates(|_, dns| dns.silence(1)),
        ),
    ]
}

fn settings() -> Vec<Situation> {
    vec![
        failing(
            "a key file that was not read",
            &["was not read", "'/etc/acme.key'", "restart httpd"],
            |lab| {
                lab.updates(|update, _| update.key.content = None);
            },
        ),
        failing(
            "a key file without a key, at a renewal",
            &["key file '/etc/acme.key' cannot be used", "tsig-keygen", "restart httpd"],
            |lab| lab.updates(|update, _| update.key = SecretFile::loaded("/etc/acme.key", "x")),
        ),
        failing(
            "a zone that does not have the record",
            &["_acme-challenge.a.test is not in the zone b.test", "zone="],
            |lab| lab.updates(|update, _| update.zone = Some("b.test".into())),
        ),
        failing(
            "a server for updates without an address",
            &["address of the DNS server ns.nowhere", "/etc/resolv.conf"],
            |lab| lab.updates(|update, _| update.server = "ns.nowhere".into()),
        ),
    ]
}

/// httpd answers the questions for the record.
fn answer(lab: &mut Lab) {
    lab.updates(|_, _| {});
    if let Some(dns01) = &mut lab.md.dns01 {
        dns01.way = Way::Responder;
    }
}

fn names() -> Vec<Situation> {
    vec![
        failing(
            "no resolver answers",
            &["zone of the TXT record _acme-challenge.a.test is not known", "192.0.2.53", "zone="],
            |lab| lab.updates(|_, dns| dns.silence(53)),
        ),
        failing(
            "a CNAME that leads nowhere",
            &["lead to a.nowhere", "no zone is found there", "'dig CNAME _acme-challenge.a.test'"],
            |lab| lab.updates(|_, dns| dns.alias("_acme-challenge.a.test", "a.nowhere")),
        ),
        failing(
            "CNAMEs in a loop",
            &["form a loop", "Correct the CNAME record of _acme-challenge.a.test"],
            |lab| {
                lab.updates(|_, dns| {
                    dns.alias("_acme-challenge.a.test", "b.a.test");
                    dns.alias("b.a.test", "_acme-challenge.a.test");
                });
            },
        ),
        failing(
            "a name that leads into no zone of this httpd",
            &[
                "at _acme-challenge.a.test, which is in no zone of MDDnsZone (acme.test)",
                "Set this record once at the name servers of a.test",
                "'_acme-challenge.a.test. CNAME a.test.acme.test.'",
            ],
            answer,
        ),
        failing(
            "a responder that answers nothing, at a renewal",
            &["httpd answers no DNS questions", "Add 'MDDnsListen ADDRESS:53' and 'MDDnsZone ZONE'"],
            |lab| {
                lab.settings.dns_zones.clear();
                answer(lab);
            },
        ),
        situation(
            "a name server without the record",
            &[
                "name server ns3.a.test",
                "_acme-challenge.a.test",
                "the CA is asked all the same",
                "MDDnsPropagation",
            ],
            |lab| {
                lab.updates(|_, dns| dns.lag("a.test", 3, Duration::from_secs(86_400)));
                lab.ca.rules(|rules| rules.validate = std::sync::Arc::new(|_| Ok(())));
                lab.looks(1).into_iter().filter(|text| text.contains("name server")).take(1).collect()
            },
        ),
    ]
}
