// SPDX-License-Identifier: Apache-2.0
//! Advice where a CA does not find a TXT record: that of dns-01, by the way that sets it up, and those of
//! dns-account-01 and dns-persist-01.

use crate::challenge::{dns_account01, dns_persist01, dns01};
use crate::model::dns01::Way;

/// `name`: that is validated, without `*.`.
pub fn of_unseen(name: &str, type_: &str, way: Option<&Way>) -> String {
    match type_ {
        dns01::TYPE => of_dns01(name, way),
        _ => of_other_type(name, type_),
    }
}

fn of_dns01(name: &str, way: Option<&Way>) -> String {
    let look = format!("Look with 'dig TXT _acme-challenge.{name}'");
    match way {
        None | Some(Way::Command(_)) => format!(
            "{look} at each name server of the zone while a renewal is under way. The command of MDChallengeDns01 has to add \
             its value beside others, and to return only when all name servers have it."
        ),
        Some(Way::Rfc2136(update)) => format!(
            "{look} at each name server of the zone while a renewal is under way: all of them have to take over the changes \
             of {}, the server of MDChallengeDns01. Where they do so late, give them more time with MDDnsPropagation.",
            update.server
        ),
        Some(Way::AcmeDns(url)) => format!(
            "{look} whether there is a CNAME record that leads to the name that {url} has given for {name}, and whether the \
             Internet reaches the name server of that acme-dns."
        ),
        Some(Way::Responder) => format!(
            "{look} from another network: a CNAME or NS record of it has to lead into a zone of MDDnsZone, that zone has to be \
             delegated to this server, and port 53 (UDP and TCP) has to arrive at an address of MDDnsListen."
        ),
        Some(Way::Hook(hook)) => format!(
            "{look} at each name server of the zone while a renewal is under way. hook:{} has to add its value beside others; \
             where name servers get it late, give them more time with MDDnsPropagation.",
            hook.kind.word()
        ),
    }
}

/// The same where the record is that of another type.
fn of_other_type(name: &str, type_: &str) -> String {
    if type_ == dns_account01::TYPE {
        return format!(
            "Look with 'dig TXT' at each name server of the zone of {name} while a renewal is under way: md-status has the \
             name of the record, which begins with the label of the account. The way of MDChallengeDns01 has to add its \
             value beside others."
        );
    }
    let record = dns_persist01::record_name(name);
    format!(
        "Look with 'dig TXT {record}' at each name server of the zone. The record has to stand at that name: not every CA \
         accepts one above it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns01::{Hook, HookKind, Rfc2136, SecretFile};

    #[test]
    fn each_way_is_told_what_its_admin_can_look_at() {
        let (server, key) = ("ns.b.test".to_string(), SecretFile::at("/k"));
        let hook = Hook { kind: HookKind::Lego, words: Vec::new(), user: None, env: None };
        for (way, expected) in [
            (None, "The command of MDChallengeDns01"),
            (Some(Way::Rfc2136(Rfc2136 { server, key, zone: None, ttl: 60 })), "of ns.b.test, the server"),
            (
                Some(Way::AcmeDns("https://x.test".into())),
                "the name that https://x.test has given for a.test",
            ),
            (Some(Way::Responder), "an address of MDDnsListen"),
            (Some(Way::Hook(hook)), "hook:lego has to add"),
        ] {
            let told = of_unseen("a.test", dns01::TYPE, way.as_ref());
            assert!(told.contains("dig TXT _acme-challenge.a.test") && told.contains(expected), "{told}");
        }
    }
}
