// SPDX-License-Identifier: Apache-2.0
//! How a hook that is a program is called: arguments and variables, as the documentation of its client has
//! them. Values only; nothing is run here. What comes from outside is never part of a shell's program text.

use super::super::Record;
use crate::model::dns01::{Hook, HookKind};

/// What happens to the record.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    SetUp,
    /// `output`: of certbot's hook when the record was set up.
    TearDown {
        output: &'a str,
    },
}

impl Change<'_> {
    pub fn pick(self, set_up: &'static str, tear_down: &'static str) -> &'static str {
        match self {
            Change::SetUp => set_up,
            Change::TearDown { .. } => tear_down,
        }
    }
}

/// Sources acme.sh and the file of an API, and calls a function of it. acme.sh does at its end what its
/// arguments say: nothing (`:`). Its own way to the settings in its home is `_initpath`.
const ACME_SH: &str = r#"
md_api=$1 md_change=$2 md_name=$3 md_value=$4
case $0 in */*) md_home=${0%/*} ;; *) md_home=. ;; esac
: "${LE_WORKING_DIR:=$md_home}"
export LE_WORKING_DIR
set -- :
. "$0"
if command -v _initpath >/dev/null; then _initpath; fi
md_file=$md_home/dnsapi/$md_api.sh
if ! [ -f "$md_file" ]; then md_file=$LE_WORKING_DIR/dnsapi/$md_api.sh; fi
. "$md_file"
"${md_api}_$md_change" "$md_name" "$md_value"
"#;

pub struct Call {
    /// Split into words as every command line.
    pub line: String,
    pub arguments: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    /// For an admin's shell, in one line.
    pub by_hand: String,
}

impl Call {
    /// `None`: the hook has too few or too many words, or is no program.
    pub fn of(hook: &Hook, change: Change<'_>, record: &Record<'_>) -> Option<Call> {
        match (hook.kind, hook.words.as_slice()) {
            (HookKind::Lego, [program]) => {
                Some(Call::lego(program, change.pick("present", "cleanup"), record))
            }
            (HookKind::Dehydrated, [program]) => {
                let verb = change.pick("deploy_challenge", "clean_challenge");
                // The file is one of http-01. Hooks that name files of their own after it get one for each
                // record.
                Some(Call::with_arguments(program, &[verb, record.domain, record.value, record.value]))
            }
            (HookKind::Certbot, [auth, clean_up]) => Some(Call::certbot(auth, clean_up, change, record)),
            (HookKind::AcmeSh, [program, api]) => Call::acme_sh(program, api, change, record),
            _ => None,
        }
    }

    fn with_arguments(program: &str, arguments: &[&str]) -> Call {
        let words = arguments.iter().map(|argument| quoted(argument));
        Call {
            line: program.into(),
            by_hand: std::iter::once(program.to_string()).chain(words).collect::<Vec<_>>().join(" "),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: Vec::new(),
        }
    }

    fn lego(program: &str, verb: &str, record: &Record<'_>) -> Call {
        Call::with_arguments(program, &[verb, &format!("{}.", record.name), record.value])
    }

    fn certbot(auth: &str, clean_up: &str, change: Change<'_>, record: &Record<'_>) -> Call {
        // As identifiers of ACME name them.
        let names: Vec<&str> =
            record.all_domains.iter().map(|name| name.strip_prefix("*.").unwrap_or(name)).collect();
        let mut variables = vec![
            ("CERTBOT_DOMAIN", record.domain.to_string()),
            ("CERTBOT_VALIDATION", record.value.to_string()),
            ("CERTBOT_ALL_DOMAINS", names.join(",")),
            ("CERTBOT_REMAINING_CHALLENGES", record.remaining.to_string()),
        ];
        let program = match change {
            Change::SetUp => auth,
            Change::TearDown { output } => {
                variables.push(("CERTBOT_AUTH_OUTPUT", output.replace('\0', "")));
                clean_up
            }
        };
        let set: Vec<String> =
            variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        let by_hand = format!("{} {program}", set.join(" "));
        Call { variables, by_hand, ..Call::with_arguments(program, &[]) }
    }

    fn acme_sh(program: &str, api: &str, change: Change<'_>, record: &Record<'_>) -> Option<Call> {
        let is_name = !api.is_empty() && api.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return None;
        }
        let verb = change.pick("add", "rm");
        let home = program.rsplit_once('/').map_or(".", |(home, _)| home);
        let file = quoted(&format!("{home}/dnsapi/{api}.sh"));
        let (name, value) = (record.name, record.value);
        Some(Call {
            line: "/bin/sh".into(),
            arguments: ["-c", ACME_SH, program, api, verb, name, value].map(String::from).into(),
            variables: Vec::new(),
            by_hand: format!(
                ". {} : ; _initpath; . {file}; {api}_{verb} {} {}",
                quoted(program),
                quoted(name),
                quoted(value)
            ),
        })
    }
}

/// A word for a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&b);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
