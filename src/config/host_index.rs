// SPDX-License-Identifier: Apache-2.0
//! Which hosts answer to a name: built once from all hosts, then asked per name, so that matching many
//! managed domains to many hosts stays linear. Follows httpd's `ServerName` and `ServerAlias`, whose
//! wildcards reach across dots.

use super::planned::Server;
use crate::names;
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct HostIndex {
    all: Vec<usize>,
    /// By `ServerName` alone.
    by_server_name: HashMap<String, Vec<usize>>,
    /// By the part of `ServerName` after its first label.
    by_parent: HashMap<String, Vec<usize>>,
    /// By `ServerName` and aliases without wildcards.
    by_name: HashMap<String, Vec<usize>>,
    /// By `rest` of aliases `*.rest`.
    by_suffix: HashMap<String, Vec<usize>>,
    /// Aliases with other wildcards; they are rare.
    patterns: Vec<(String, usize)>,
}

impl HostIndex {
    /// Of the hosts that `wanted` lets pass.
    pub(super) fn new(servers: &[Server<'_>], wanted: impl Fn(usize) -> bool) -> Self {
        let mut index = HostIndex::default();
        for (at, server) in servers.iter().enumerate().filter(|(at, _)| wanted(*at)) {
            index.all.push(at);
            let name = &server.host.server_name;
            let name = names::normalize(name).unwrap_or_else(|_| name.to_ascii_lowercase());
            if let Some((_, parent)) = name.split_once('.') {
                index.by_parent.entry(parent.to_string()).or_default().push(at);
            }
            index.by_server_name.entry(name.clone()).or_default().push(at);
            index.by_name.entry(name).or_default().push(at);
            for alias in &server.host.aliases {
                index.add_alias(alias.to_ascii_lowercase(), at);
            }
        }
        index
    }

    fn add_alias(&mut self, alias: String, at: usize) {
        if !is_pattern(&alias) {
            let alias = names::normalize(&alias).unwrap_or(alias);
            return self.by_name.entry(alias).or_default().push(at);
        }
        match alias.strip_prefix("*.").filter(|rest| !is_pattern(rest)) {
            Some(rest) => self.by_suffix.entry(rest.to_string()).or_default().push(at),
            None => self.patterns.push((alias, at)),
        }
    }

    /// Every host; the first one at an address also serves names of none of them.
    pub(super) fn all(&self) -> Vec<usize> {
        sorted(self.all.clone())
    }

    /// Hosts that httpd would choose for `name`; ascending, each once.
    pub(super) fn with_name(&self, name: &str) -> Vec<usize> {
        let mut found = found(&self.by_name, name);
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            found.extend(self.by_suffix.get(parent).into_iter().flatten());
            rest = parent;
        }
        found.extend(self.patterns.iter().filter(|(p, _)| glob(p, name)).map(|(_, at)| at));
        sorted(found)
    }

    pub(super) fn with_server_name(&self, name: &str) -> Vec<usize> {
        sorted(found(&self.by_server_name, name))
    }

    /// Hosts whose `ServerName` the wildcard name `*.rest` covers; none for another name.
    pub(super) fn covered_by(&self, wildcard: &str) -> Vec<usize> {
        if !names::is_wildcard(wildcard) {
            return Vec::new();
        }
        sorted(wildcard.split_once('.').map(|(_, rest)| found(&self.by_parent, rest)).unwrap_or_default())
    }
}

/// Whether an alias has wildcards.
pub(super) fn is_pattern(alias: &str) -> bool {
    alias.contains(['*', '?'])
}

fn found(map: &HashMap<String, Vec<usize>>, key: &str) -> Vec<usize> {
    map.get(key).cloned().unwrap_or_default()
}

fn sorted(mut hosts: Vec<usize>) -> Vec<usize> {
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// `*` stands for any characters, `?` for one. Never worse than the product of both lengths: on a
/// mismatch only the last `*` takes one more character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (p, t) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_server_alias_does() {
        for (pattern, text, expected) in [
            ("x?.test", "x1.test", true),
            ("x?.test", "x.test", false),
            ("*", "a.test", true),
            ("*.a*.test", "b.c.abc.test", true),
            ("*.a*.test", "b.c.bc.test", false),
            ("a*", "a", true),
            ("*b", "abab", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
