// SPDX-License-Identifier: Apache-2.0
//! Reads the directives of a fleet and puts those of all servers together. Refuses a fleet without a secret,
//! half a client's certificate, and files of TLS for an engine without TLS. Imports `written` and the parts of
//! a plan.

use super::super::finding::{Finding, Place, at};
use super::super::planned::Server as HttpdServer;
use super::super::{Error, Scope};
use super::urls::{self, Engine};
use super::values::{Fleet, Server};
use super::written::{CODE, FleetLines, refused};
use crate::log::Level;
use std::path::PathBuf;

/// Bytes of a name of a node or a user.
const NAME_MAX: usize = 100;
/// `URL…`
pub(in super::super) fn engine(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let engine = urls::engine(args)?;
    once(scope, |lines| &mut lines.engine, engine)
}

/// `FILE [FILE]`
pub(in super::super) fn secret_files(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let args = if args.is_empty() { &[""] } else { args };
    let files: Vec<PathBuf> = args.iter().map(|arg| file(scope, arg)).collect::<Result<_, _>>()?;
    if let [first, second] = files.as_slice()
        && first == second
    {
        return Err(Error(format!("both files are {}: the second one has another secret", first.display())));
    }
    once(scope, |lines| &mut lines.secret_files, files)
}

/// `FILE`
pub(in super::super) fn ca_file(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let file = file(scope, args.first().copied().unwrap_or_default())?;
    once(scope, |lines| &mut lines.ca_file, file)
}

/// `FILE`
pub(in super::super) fn client_cert(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let file = file(scope, args.first().copied().unwrap_or_default())?;
    once(scope, |lines| &mut lines.client_cert, file)
}

/// `FILE`
pub(in super::super) fn client_key(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let file = file(scope, args.first().copied().unwrap_or_default())?;
    once(scope, |lines| &mut lines.client_key, file)
}

/// `USER FILE`
pub(in super::super) fn user(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let [user, password] = args else { return Err(Error::new("Write: MDFleetUser USER FILE")) };
    let user = (name(user, "user")?, file(scope, password)?);
    once(scope, |lines| &mut lines.user, user)
}

/// `NAME`
pub(in super::super) fn node(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let node = name(args.first().copied().unwrap_or_default(), "node")?;
    once(scope, |lines| &mut lines.node, node)
}

fn file(scope: &Scope<'_>, arg: &str) -> Result<PathBuf, Error> {
    match arg.is_empty() {
        true => Err(Error::new("the name of a file is empty")),
        false => Ok(scope.env.server_root.join(arg)),
    }
}

fn name(arg: &str, of: &str) -> Result<String, Error> {
    if arg.is_empty() || arg.len() > NAME_MAX || arg.contains(char::is_control) {
        return Err(Error(format!(
            "the name of the {of} has to be of 1 to {NAME_MAX} bytes, without control characters"
        )));
    }
    Ok(arg.to_string())
}

/// Sets a value, which may stand once.
fn once<T>(
    scope: &mut Scope<'_>,
    of: fn(&mut FleetLines) -> &mut Option<(T, Place)>,
    value: T,
) -> Result<(), Error> {
    let (name, here) = (scope.directive, (scope.env.file.to_string(), scope.env.line));
    let place = of(&mut scope.server.fleet);
    if let Some((_, first)) = place {
        return Err(Error(format!("{name} stands at {} already: remove one of them", at(first))));
    }
    *place = Some((value, here));
    Ok(())
}

/// What all servers have, and what is doubtful in it. `Err`: the start must fail.
pub(in super::super) fn fleet(
    servers: &[HttpdServer<'_>],
) -> Result<(Option<Fleet>, Vec<Finding>), Vec<Finding>> {
    let mut all = FleetLines::default();
    for server in servers {
        all.take(&server.config.fleet).map_err(|twice| vec![twice])?;
    }
    let Some((engine, place)) = all.engine.clone() else {
        let useless = all.written().into_iter().map(|(name, place)| {
            let text = "has no effect without 'MDFleet URL…'. Add it, or remove this line";
            Finding::new(Level::Warn, format!("{}: {name} {text}.", at(place))).code(CODE)
        });
        return Ok((None, useless.collect()));
    };
    let errors = faults(&all, &engine, &place);
    if !errors.is_empty() {
        return Err(errors);
    }
    let findings = unencrypted(&all, &engine).into_iter().collect();
    let value = |line: Option<(PathBuf, Place)>| line.map(|(value, _)| value);
    let fleet = Fleet {
        scheme: engine.scheme,
        is_tls: engine.is_tls,
        servers: engine.servers,
        prefix: engine.prefix,
        secret_files: all.secret_files.map(|(files, _)| files).unwrap_or_default(),
        ca_file: value(all.ca_file),
        client_files: value(all.client_cert).zip(value(all.client_key)),
        user: all.user.map(|(user, _)| user),
        node: all.node.map(|(node, _)| node),
    };
    Ok((Some(fleet), findings))
}

/// Why a fleet cannot be.
fn faults(all: &FleetLines, engine: &Engine, place: &Place) -> Vec<Finding> {
    let mut faults = Vec::new();
    if all.secret_files.is_none() {
        let text = "MDFleet needs the secret that all nodes share, which encrypts what lies in the engine: make one with \
                    'a2md fleet secret', copy it to all nodes, and add 'MDFleetSecretFile FILE'";
        faults.push(refused(place, text));
    }
    let half = |(_, place): &(PathBuf, Place), has: &str, lacks: &str| {
        refused(place, &format!("{has} needs {lacks} beside it: a certificate and its key are used together"))
    };
    match (&all.client_cert, &all.client_key) {
        (Some(cert), None) => {
            faults.push(half(cert, "MDFleetClientCertificateFile", "MDFleetClientKeyFile"));
        }
        (None, Some(key)) => faults.push(half(key, "MDFleetClientKeyFile", "MDFleetClientCertificateFile")),
        _ => {}
    }
    let of_tls =
        [("MDFleetCACertificateFile", &all.ca_file), ("MDFleetClientCertificateFile", &all.client_cert)];
    for (name, line) in of_tls.into_iter().filter(|_| !engine.is_tls) {
        let (has, needs) = (engine.scheme.word(false), engine.scheme.word(true));
        let text = format!("{name} is for an engine with TLS, and MDFleet has {has}://: write {needs}://");
        faults.extend(line.as_ref().map(|(_, place)| refused(place, &text)));
    }
    faults
}

/// A password that others on the way can read.
fn unencrypted(all: &FleetLines, engine: &Engine) -> Option<Finding> {
    let (_, place) = all.user.as_ref()?;
    let is_here = |server: &Server| {
        server.host == "localhost" || server.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    let far = engine.servers.iter().find(|server| !is_here(server)).filter(|_| !engine.is_tls)?;
    let text = format!(
        "{}: the password of MDFleetUser is sent to {far} without encryption. Everybody on the way can read it, and then \
         read, repeat and delete what lies in the engine, which stays sealed: write {}:// in MDFleet.",
        at(place),
        engine.scheme.word(true)
    );
    Some(Finding::new(Level::Warn, text).code(CODE))
}

#[cfg(test)]
mod tests {
    use super::super::super::Plan;
    use super::super::super::fixture::Site;
    use super::super::values::Scheme;
    use super::*;

    const FLEET: &str = "MDFleet etcds://a etcds://b:7/{mod_md}\nMDFleetSecretFile one";

    fn plan(text: &str) -> Plan {
        Site::read(text).unwrap().plan().unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn refused(text: &str) -> String {
        match Site::read(text) {
            Err(error) => error.0,
            Ok(site) => {
                let findings = site.plan().unwrap_err();
                assert!(findings.iter().all(|finding| finding.level == Level::Error && finding.code == CODE));
                findings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn told(text: &str) -> Vec<String> {
        let findings = plan(text).findings.into_iter().filter(|finding| finding.code == CODE);
        findings
            .map(|finding| {
                assert_eq!(finding.level, Level::Warn);
                finding.text
            })
            .collect()
    }

    #[test]
    fn a_fleet_is_put_together_from_the_lines_of_all_servers() {
        assert_eq!(plan("MDomain a.test").global.fleet, None);
        let plain = plan(FLEET).global.fleet.unwrap();
        let server = |host: &str, port| Server { host: host.into(), port };
        let expected = Fleet {
            scheme: Scheme::Etcd,
            is_tls: true,
            servers: vec![server("a", 2379), server("b", 7)],
            prefix: "{mod_md}".into(),
            secret_files: vec!["/srv/one".into()],
            ca_file: None,
            client_files: None,
            user: None,
            node: None,
        };
        assert_eq!(plain, expected);
        assert_eq!(plain.urls().collect::<Vec<_>>(), ["etcds://a:2379/{mod_md}", "etcds://b:7/{mod_md}"]);
        let full = "MDFleetUser me password
             MDFleetCACertificateFile ca.pem
             <VirtualHost *:443>
             ServerName a.test
             MDFleet rediss://[::1]/p
             MDFleetSecretFile /one two
             MDFleetClientCertificateFile cert.pem
             </VirtualHost>
             MDFleetClientKeyFile key.pem
             MDFleetNode \"web one\"";
        let expected = Fleet {
            scheme: Scheme::Redis,
            servers: vec![server("::1", 6379)],
            prefix: "p".into(),
            secret_files: vec!["/one".into(), "/srv/two".into()],
            ca_file: Some("/srv/ca.pem".into()),
            client_files: Some(("/srv/cert.pem".into(), "/srv/key.pem".into())),
            user: Some(("me".into(), "/srv/password".into())),
            node: Some("web one".into()),
            ..expected
        };
        assert_eq!(plan(full).global.fleet, Some(expected));
        assert_eq!(told(full), [""; 0]);
    }

    #[test]
    fn what_cannot_work_ends_the_start_and_the_text_names_the_place() {
        let long = format!("MDFleetNode {}", "x".repeat(101));
        for (lines, text) in [
            ("MDFleet etcd://a", "test.conf:1: MDFleet needs the secret that all nodes share"),
            ("MDFleet", "a URL is missing"),
            ("MDFleet a", "an argument is no URL"),
            ("MDFleetSecretFile a a", "both files are /srv/a: the second one has another secret"),
            ("MDFleetSecretFile \"\"", "the name of a file is empty"),
            ("MDFleetUser a", "Write: MDFleetUser USER FILE"),
            ("MDFleetUser \"\" a", "the name of the user has to be of 1 to 100 bytes"),
            (&long, "the name of the node has to be of 1 to 100 bytes"),
            ("MDFleetNode a\nMDFleetNode b", "MDFleetNode stands at test.conf:1 already: remove one"),
            (
                "MDFleet etcd://a\n<VirtualHost *:443>\nServerName a.test\nMDFleet etcd://b\n</VirtualHost>",
                "test.conf:4: MDFleet stands at test.conf:1 already: remove one",
            ),
            (
                "FLEET\nMDFleetClientCertificateFile a",
                "test.conf:3: MDFleetClientCertificateFile needs MDFleetClientKeyFile beside it",
            ),
            (
                "FLEET\nMDFleetClientKeyFile a",
                "test.conf:3: MDFleetClientKeyFile needs MDFleetClientCertificateFile beside it",
            ),
            (
                "MDFleet redis://a\nMDFleetSecretFile a\nMDFleetCACertificateFile a",
                "MDFleetCACertificateFile is for an engine with TLS, and MDFleet has redis://: write rediss://",
            ),
        ] {
            let found = refused(&lines.replace("FLEET", FLEET));
            assert!(found.contains(text), "{lines}: {found}");
        }
    }

    #[test]
    fn what_has_no_effect_or_can_be_read_on_the_way_is_a_warning() {
        for line in ["MDFleetSecretFile a", "MDFleetUser a b", "MDFleetNode a", "MDFleetClientKeyFile a"] {
            let [found] = &told(line)[..] else { panic!("{line}") };
            let name = line.split(' ').next().unwrap();
            assert!(
                found.starts_with(&format!("test.conf:1: {name} has no effect without 'MDFleet")),
                "{found}"
            );
        }
        let with = |url: &str| told(&format!("MDFleet {url}\nMDFleetSecretFile a\nMDFleetUser u p"));
        let [found] = &with("redis://127.0.0.1 redis://b.test")[..] else { panic!() };
        assert!(
            found.contains("sent to b.test:6379 without encryption") && found.contains("rediss://"),
            "{found}"
        );
        for url in ["rediss://b.test", "redis://127.0.0.7", "etcd://[::1]", "etcd://localhost"] {
            assert_eq!(with(url), [""; 0], "{url}");
        }
    }
}
