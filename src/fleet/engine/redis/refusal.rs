// SPDX-License-Identifier: Apache-2.0
//! What an error of the server means for who asked. Pure.

use crate::fleet::engine::Error;

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not this server, and nothing was done: the next of the list may do it. The reason, if none does.
    Elsewhere(String),
    Final(Error),
}

/// Words by which servers begin their errors, and what they mean.
const NOT_HERE: &[&str] =
    &["READONLY", "MOVED", "ASK", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED", "BUSY"];
const NO_WRITES: &[&str] = &["OOM", "MISCONF", "NOREPLICAS"];
const DENIED: &[&str] = &["NOPERM", "WRONGPASS", "NOAUTH", "DENIED"];

/// Characters of a server's error that logs show.
const SHOWN: usize = 200;

/// Servers before Redis 7 put the error of a command in a script behind words of their own, and name rights
/// by sentences.
pub fn read(text: &str) -> Refusal {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let word = text.split(' ').next().unwrap_or_default();
    let inner = if word == "ERR" { text.rsplit(": -").next().filter(|inner| *inner != text) } else { None };
    let word = inner.and_then(|inner| inner.split(' ').next()).unwrap_or(word);
    let is_about_rights = [
        "can't run this command",
        "can't access at least",
        "ACL failure in script",
        "No permissions",
        "called without any password",
        // How Redis refuses long commands of someone who has not logged in.
        "unauthenticated",
    ];
    if NOT_HERE.contains(&word) || text.contains("max number of clients") {
        Refusal::Elsewhere(shown)
    } else if NO_WRITES.contains(&word) {
        Refusal::Final(Error::NoWrites(shown))
    } else if DENIED.contains(&word) || is_about_rights.iter().any(|words| text.contains(words)) {
        Refusal::Final(Error::Denied(shown))
    } else if word == "CROSSSLOT" {
        let advice = "a cluster needs a part in braces in the prefix, as in {mod_md}";
        Refusal::Final(Error::Denied(format!("{shown} ({advice})")))
    } else {
        Refusal::Final(Error::Garbled(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_servers_are_told_apart() {
        let elsewhere = [
            "READONLY You can't write against a read only replica. script: 5f, on @user_script:12.",
            "ERR Error running script (call to f_5f): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica.",
            "MOVED 3999 127.0.0.1:6381",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "CLUSTERDOWN Hash slot not served",
            "BUSY Redis is busy running a script.",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            "ERR max number of clients reached",
        ];
        for text in elsewhere {
            assert_eq!(read(text), Refusal::Elsewhere(text.into()), "{text}");
        }
        let denied = [
            "NOPERM this user has no permissions to run the 'xadd' command",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "DENIED Redis is running in protected mode because protected mode is enabled",
            "ERR ACL failure in script: User md has no permissions to run the 'hset' command script: on @user_script:25.",
            "ERR Protocol error: unauthenticated multibulk length",
            "ERR AUTH <password> called without any password configured for the default user.",
            "ERR Error running script (call to f_5f): @user_script:3: The user executing the script can't run this command or subcommand",
            "ERR Error running script (call to f_5f): @user_script:3: The user executing the script can't access at least one of the keys mentioned in the command arguments",
        ];
        for text in denied {
            assert_eq!(read(text), Refusal::Final(Error::Denied(text.into())), "{text}");
        }
        let full = [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "ERR Error running script (call to f_5f): @user_script:3: @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "NOREPLICAS Not enough good replicas to write.",
        ];
        for text in full {
            assert_eq!(read(text), Refusal::Final(Error::NoWrites(text.into())), "{text}");
        }
        assert!(matches!(read("CROSSSLOT Keys in request"), Refusal::Final(Error::Denied(_))));
        for text in ["ERR unknown command", "", "WRONGTYPE Operation", "ERR : -", "ERR a: -b"] {
            assert_eq!(read(text), Refusal::Final(Error::Garbled(text.into())), "{text}");
        }
    }

    #[test]
    fn an_error_of_a_hostile_server_is_shortened_and_without_control_characters() {
        let text = format!("ERR \u{1b}[2J{}", "x".repeat(5000));
        let Refusal::Final(Error::Garbled(shown)) = read(&text) else { panic!("{text}") };
        assert!(shown.starts_with("ERR [2Jx") && shown.len() == SHOWN, "{shown}");
    }
}
