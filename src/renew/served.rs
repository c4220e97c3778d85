//! What a start says of the certificates that hosts are served with, where it is not what an admin expects. Pure.

use super::serve::Source;
use super::{Host, Managed};
use crate::config::Finding;
use crate::log::Level;

/// More hosts than these are counted, not named: the log of a start with thousands is to stay readable.
const NAMED: usize = 10;

/// For the log: hosts that have nothing but a self-signed certificate, and hosts with files of their own.
pub fn findings<'m>(mds: impl Iterator<Item = &'m Managed> + Clone) -> Vec<Finding> {
    let hosts = |is: fn(&Managed, &Host) -> bool| {
        let mds = mds.clone();
        let hosts =
            mds.flat_map(move |md| md.hosts.iter().filter(move |host| is(md, host)).map(move |h| (md, h)));
        hosts.collect::<Vec<_>>()
    };
    let mut findings = Vec::new();
    let self_signed = hosts(|_, host| host.source == Source::SelfSigned);
    if !self_signed.is_empty() {
        findings.push(Finding {
            level: Level::Warn,
            text: format!(
                "AH10116: no certificate yet for {}: a self-signed one is shown, and requests get 503 until the CA \
                 has issued a certificate",
                list(&self_signed)
            ),
        });
    }
    let own = hosts(|_, host| host.source == Source::Own);
    if !own.is_empty() {
        findings.push(Finding {
            level: Level::Notice,
            text: format!(
                "AH10084: the files of SSLCertificateFile are served by {}, until there is a valid certificate of the \
                 managed domain",
                list(&own)
            ),
        });
    }
    let former =
        hosts(|md, host| host.source == Source::Md && !md.certs.iter().any(|(_, cert)| cert.is_some()));
    if !former.is_empty() {
        findings.push(Finding {
            level: Level::Notice,
            text: format!(
                "no certificate yet for the keys of MDPrivateKeys, and one of another kind of key is served by {}",
                list(&former)
            ),
        });
    }
    findings
}

fn list(hosts: &[(&Managed, &Host)]) -> String {
    let named = hosts.iter().take(NAMED).map(|(md, host)| format!("{} (md[{}])", host.name, md.md.name));
    let named = named.collect::<Vec<_>>().join(", ");
    match hosts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more hosts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::model::{KeySpec, Md};

    fn managed(name: &str, source: Source, certs: Vec<super::super::state::KeyedCert>) -> Managed {
        let host = Host { name: format!("www.{name}"), address: "*:443".into(), source, is_live: true };
        let md = Md { name: name.into(), domains: vec![name.into()], ..Md::default() };
        Managed { md, certs: certs.into(), hosts: vec![host], ..Managed::default() }
    }

    #[test]
    fn a_start_tells_of_hosts_that_do_not_serve_what_is_configured() {
        let good = || vec![(KeySpec::default(), Some(CertInfo::default()))];
        let mds = [
            managed("a.test", Source::SelfSigned, Vec::new()),
            managed("b.test", Source::Own, Vec::new()),
            managed("c.test", Source::Md, good()),
            managed("d.test", Source::Md, vec![(KeySpec::default(), None)]),
        ];
        let found = findings(mds.iter());
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Warn, Level::Notice, Level::Notice]);
        for (finding, text) in found.iter().zip(["www.a.test (md[a.test])", "www.b.test", "www.d.test"]) {
            assert!(finding.text.contains(text) && !finding.text.contains("c.test"), "{}", finding.text);
        }
        assert!(findings(mds.iter().skip(2).take(1)).is_empty());
    }

    #[test]
    fn thousands_of_hosts_take_one_line() {
        let mds: Vec<_> =
            (0..1000).map(|n| managed(&format!("h{n}.test"), Source::SelfSigned, Vec::new())).collect();
        let found = findings(mds.iter());
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("h9.test") && found[0].text.contains("and 990 more hosts"));
        assert!(!found[0].text.contains("h10.test"));
    }
}
