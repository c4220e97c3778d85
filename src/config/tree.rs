// SPDX-License-Identifier: Apache-2.0
//! The configuration as httpd has read it: directives with file and line, in their sections. A directive
//! inside `<IfModule>`, `Include` or a macro appears where it takes effect. The tree answers two questions
//! before mod_ssl starts: which hosts have TLS, and which have certificates of their own.

pub use super::finding::Place;
use super::planned::Server;
use super::split_arguments;
use std::collections::HashMap;

/// A directive, or a section with its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// As written; that of a section begins with `<`.
    pub name: String,
    /// As written, without the `>` of a section.
    pub args: String,
    pub file: String,
    pub line: u32,
    pub inside: Vec<Directive>,
}

impl Directive {
    /// Whether a directive of this name is needed here; all others can be left out.
    pub fn is_needed(name: &str) -> bool {
        is_virtual_host(name)
            || name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("MD"))
            || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("<MD"))
            || ["SSLEngine", "SSLCertificateFile"].iter().any(|needed| name.eq_ignore_ascii_case(needed))
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub(super) fn place(&self) -> Place {
        (self.file.clone(), self.line)
    }
}

fn is_virtual_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("<VirtualHost")
}

/// The value of `SSLEngine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    #[default]
    Off,
    On,
    /// `optional`, which is TLS for older versions of mod_ssl alone, or a word of versions to come.
    Unknown,
}

/// The TLS settings of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    pub engine: Engine,
    /// Where that is written, be it for the main server.
    pub engine_at: Option<Place>,
    /// `SSLCertificateFile`, its own or the main server's.
    pub has_own_file: bool,
}

/// All directives that are needed.
#[derive(Clone, Debug, Default)]
pub struct Tree(Vec<Directive>);

impl Tree {
    pub fn new(directives: Vec<Directive>) -> Self {
        Tree(directives)
    }

    /// The TLS settings of each server.
    pub fn tls_settings(&self, servers: &[Server<'_>]) -> Vec<TlsSettings> {
        let main = settings(&self.0, &TlsSettings::default());
        let unknown = TlsSettings { engine: Engine::Unknown, ..main.clone() };
        let mut hosts: HashMap<(&str, u32), TlsSettings> = HashMap::new();
        for host in self.0.iter().filter(|directive| is_virtual_host(&directive.name)) {
            let own = settings(&host.inside, &main);
            let known = hosts.entry((&host.file, host.line)).or_insert_with(|| own.clone());
            // Of several in one place, as a file gives that is included twice, it is not known which is
            // which.
            if *known != own {
                known.clone_from(&unknown);
            }
        }
        let of_server = |server: &Server<'_>| match &server.host.defined_at {
            _ if server.host.is_main => main.clone(),
            (file, line) => hosts.get(&(file.as_str(), *line)).unwrap_or(&unknown).clone(),
        };
        servers.iter().map(of_server).collect()
    }

    /// The last directive of this name whose arguments are these, wherever it stands.
    pub(super) fn find(&self, name: &str, is_meant: impl Fn(&str) -> bool) -> Option<Place> {
        all(&self.0).filter(|d| d.is(name) && is_meant(d.args.trim())).last().map(Directive::place)
    }

    /// Where the file stands as argument of this directive, in the section of a managed domain.
    pub(super) fn find_in_section(&self, section: &Place, name: &str, file: &str) -> Option<Place> {
        let is_section = |d: &&Directive| d.file == section.0 && d.line == section.1 && !d.inside.is_empty();
        let inside = all(&self.0).filter(is_section).flat_map(|section| &section.inside);
        let is_meant = |d: &&Directive| {
            d.is(name) && split_arguments(&d.args).first().is_some_and(|arg| file.ends_with(arg.as_str()))
        };
        inside.filter(is_meant).last().map(Directive::place)
    }
}

/// A section comes before its content.
fn all(directives: &[Directive]) -> impl Iterator<Item = &Directive> {
    let mut rest: Vec<&Directive> = directives.iter().rev().collect();
    std::iter::from_fn(move || {
        let next = rest.pop()?;
        rest.extend(next.inside.iter().rev());
        Some(next)
    })
}

fn settings(directives: &[Directive], outer: &TlsSettings) -> TlsSettings {
    let mut settings = outer.clone();
    for directive in directives {
        if directive.is("SSLEngine") {
            let word = split_arguments(&directive.args).into_iter().next().unwrap_or_default();
            settings.engine = match word.to_ascii_lowercase().as_str() {
                "on" => Engine::On,
                "off" => Engine::Off,
                _ => Engine::Unknown,
            };
            settings.engine_at = Some(directive.place());
        }
        settings.has_own_file |= directive.is("SSLCertificateFile");
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::super::planned::Host;
    use super::*;

    #[test]
    fn hosts_inherit_what_they_do_not_set() {
        let site = Site::read(
            "<VirtualHost *:443>
             ServerName before.test
             </VirtualHost>
             SSLEngine on
             SSLCertificateFile x
             <VirtualHost *:80>
             ServerName off.test
             SSLEngine OFF
             </VirtualHost>
             <VirtualHost *:443>
             ServerName other.test
             SSLEngine optional
             </VirtualHost>",
        )
        .unwrap();
        let found = site.tree().tls_settings(&site.servers());
        let engines: Vec<_> =
            found.iter().map(|tls| (tls.engine, tls.engine_at.as_ref().map(|at| at.1))).collect();
        let on = (Engine::On, Some(4));
        assert_eq!(engines, [on, on, (Engine::Off, Some(8)), (Engine::Unknown, Some(12))]);
        assert!(found.iter().all(|tls| tls.has_own_file));
    }

    #[test]
    fn of_several_hosts_in_one_place_and_of_unknown_ones_nothing_is_claimed() {
        let host = |line, engine: &str| Directive {
            name: "<VirtualHost".into(),
            file: "macro".into(),
            line,
            inside: vec![Directive { name: "sslengine".into(), args: engine.into(), ..Directive::default() }],
            ..Directive::default()
        };
        let site = Site::read("<VirtualHost *:443>\nServerName a.test\n</VirtualHost>").unwrap();
        let server = site.servers().swap_remove(1);
        let at = |line| {
            let host = Host { defined_at: ("macro".into(), line), ..server.host.clone() };
            Server { config: server.config, host }
        };
        let tree = Tree::new(vec![host(1, "\"On\""), host(1, "on"), host(2, "on"), host(2, "off")]);
        let engines: Vec<_> =
            tree.tls_settings(&[at(1), at(2), at(3)]).iter().map(|tls| tls.engine).collect();
        assert_eq!(engines, [Engine::On, Engine::Unknown, Engine::Unknown]);
    }

    #[test]
    fn needed_are_directives_of_ours_and_those_about_tls() {
        for (name, is_needed) in [
            ("MDomain", true),
            ("mdnotifycmd", true),
            ("<mdomainset", true),
            ("<VirtualHost", true),
            ("sslengine", true),
            ("SSLCertificateFile", true),
            ("SSLCertificateKeyFile", false),
            ("<Directory", false),
            ("M", false),
            ("\u{fc}\u{fc}", false),
        ] {
            assert_eq!(Directive::is_needed(name), is_needed, "{name}");
        }
    }
}
