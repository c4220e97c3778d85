// SPDX-License-Identifier: Apache-2.0
//! The managed domains that a call names: by their own names, by any name they cover, or all.

use super::Site;
use crate::cli::console::call::{Call, Failure};
use crate::managed::Managed;
use clap::{Arg, ArgAction, ArgMatches};

/// Exit code for a call that cannot be understood.
const USAGE: u8 = 2;

/// The arguments of a command that changes something: `NAME…` or `--all`.
pub fn names_or_all() -> Vec<Arg> {
    vec![
        Arg::new("names")
            .value_name("NAME")
            .num_args(0..)
            .conflicts_with("all")
            .help("Managed domains, by their names or by any name they cover"),
        Arg::new("all").long("all").action(ArgAction::SetTrue).help("All managed domains"),
    ]
}

impl Site {
    /// The managed domains of [`names_or_all`]. Without any name, and without `--all`, none is meant: a
    /// failure.
    pub fn select(&self, call: &Call, matches: &ArgMatches) -> Result<Vec<Managed>, Failure> {
        let names: Vec<&String> = matches.get_many("names").into_iter().flatten().collect();
        match (names.as_slice(), matches.get_flag("all")) {
            ([], true) => self.mds(),
            ([], false) => {
                let advice = "Name managed domains, or say --all.";
                Err(Failure::new("no managed domain is named").code(USAGE).status(22).advice(advice))
            }
            (names, _) => self.named(call, names),
        }
    }

    /// The managed domains of these names, each once, in the order of the names.
    pub fn named(&self, call: &Call, names: &[&String]) -> Result<Vec<Managed>, Failure> {
        let mut all: Vec<Option<Managed>> = self.mds()?.into_iter().map(Some).collect();
        let mut wanted = Vec::new();
        for name in names {
            let at = find(&all, name).ok_or_else(|| {
                Failure::new(format!("no managed domain has the name '{name}'"))
                    .status(2)
                    .advice("'a2md status' lists all.")
            })?;
            if let Some(md) = all.get(at).and_then(Option::as_ref).map(|managed| &managed.md.name)
                && md != *name
            {
                call.step(&format!("{name} belongs to md[{md}]"));
            }
            if !wanted.contains(&at) {
                wanted.push(at);
            }
        }
        Ok(wanted.into_iter().filter_map(|at| all.get_mut(at)?.take()).collect())
    }
}

/// Where the managed domain of a name is: first by its own name.
fn find(all: &[Option<Managed>], name: &str) -> Option<usize> {
    let name = crate::names::normalize(name).unwrap_or_else(|_| name.to_string());
    let is =
        |test: &dyn Fn(&Managed) -> bool| all.iter().position(|managed| managed.as_ref().is_some_and(test));
    let by_name = || is(&|managed| managed.md.name == name);
    let by_list = || is(&|managed| managed.md.domains.contains(&name));
    by_name().or_else(by_list).or_else(|| is(&|managed| managed.md.covers(&name)))
}
