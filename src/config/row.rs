// SPDX-License-Identifier: Apache-2.0
//! A row of the directive table: how httpd reads the directive, and its documentation for the admin.

use super::{Error, Scope};
use std::ffi::CStr;

use Places::{Global, Md, Server};

/// How many arguments httpd lets pass, and whether it splits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Args {
    One,
    OneOrTwo,
    Two,
    /// Any number, none too.
    Many,
    /// The rest of the line as one argument.
    Raw,
    /// Like `Raw`; the next lines are the inside of a section.
    Section,
}

/// Where a directive may stand. Each place but `Md` includes virtual hosts, as httpd knows no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// A server, not an MD section.
    Server,
    /// An MD section only.
    Md,
    ServerOrMd,
    /// Like `Server`; holds for the whole httpd wherever it stands.
    Global,
    /// Like `ServerOrMd`, and in `<If>`.
    ServerMdIf,
}

/// The value where a directive is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    Nothing,
    /// The same as with these arguments.
    As(&'static str),
    /// In words, where no argument means the same.
    Described(&'static str),
}

/// Reads the arguments into the scope.
pub type Parse = fn(&mut Scope<'_>, &[&str]) -> Result<(), Error>;

/// One directive.
pub struct Row {
    pub name: &'static CStr,
    /// httpd shows it when the number of arguments is wrong.
    pub help: &'static CStr,
    pub args: Args,
    pub places: Places,
    /// Where md.json has the value.
    pub json_key: Option<&'static str>,
    pub parse: Parse,
    /// The arguments as the documentation writes them: words in capitals are placeholders.
    pub form: &'static str,
    pub unset: Unset,
    /// The documentation beyond `help`: Markdown that ends with a block of configuration as an example, which
    /// httpd accepts as it is. Each directive has a file of its own in `directives/`.
    pub prose: &'static str,
    /// Another spelling of this directive, which has its documentation.
    pub same_as: Option<&'static str>,
    /// The C module 2.6 does not know it.
    pub is_ours: bool,
    /// In an MD section it holds for the host around that.
    pub is_of_host: bool,
}

/// A directive without documentation; the methods below add that.
pub(super) const fn row(
    name: &'static CStr,
    args: Args,
    places: Places,
    json_key: Option<&'static str>,
    help: &'static CStr,
    parse: Parse,
) -> Row {
    Row {
        name,
        help,
        args,
        places,
        json_key,
        parse,
        form: "",
        unset: Unset::Nothing,
        prose: "",
        same_as: None,
        is_ours: false,
        is_of_host: false,
    }
}

impl Row {
    pub(super) const fn takes(self, form: &'static str) -> Row {
        Row { form, ..self }
    }

    pub(super) const fn unset(self, unset: Unset) -> Row {
        Row { unset, ..self }
    }

    pub(super) const fn prose(self, prose: &'static str) -> Row {
        Row { prose, ..self }
    }

    pub(super) const fn same_as(self, name: &'static str) -> Row {
        Row { same_as: Some(name), ..self }
    }

    pub(super) const fn ours(self) -> Row {
        Row { is_ours: true, ..self }
    }

    pub(super) const fn of_host(self) -> Row {
        Row { is_of_host: true, ..self }
    }

    /// Performs the directive: checks its place, then parses. `Raw` and `Section` take exactly one argument.
    pub fn apply(&self, scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
        let name = self.name.to_str().unwrap_or_default();
        match (self.places, scope.server.open.is_some()) {
            (Server | Global, true) => {
                Err(Error(format!("{name} is not allowed inside an '<MDomainSet' context")))
            }
            (Md, false) => {
                Err(Error(format!("{name} is only valid inside a '<MDomainSet' context, not here")))
            }
            _ => {
                scope.directive = name;
                (self.parse)(scope, args)
            }
        }
    }
}
