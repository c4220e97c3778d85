// SPDX-License-Identifier: Apache-2.0
//! Users, groups and access bits as people write them. Names are looked up by getent(1), so that every source
//! of names counts that this machine has.

use crate::cli::console::call::Failure;
use crate::exec::{self, Environment};
use crate::time::SystemClock;
use std::time::Duration;

/// A directory service may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of a user; a number stands for itself.
pub fn user(name: &str) -> Result<u32, Failure> {
    look_up("passwd", name).ok_or_else(|| Failure::new(format!("there is no user '{name}' on this machine")))
}

/// The number of a group.
pub fn group(name: &str) -> Result<u32, Failure> {
    look_up("group", name).ok_or_else(|| Failure::new(format!("there is no group '{name}' on this machine")))
}

fn look_up(database: &str, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    if name.is_empty() || name.starts_with('-') || name.contains([':', '\0']) {
        return None;
    }
    let line = format!("getent {database}");
    let found = exec::run_in(&Environment::default(), &line, &[name], PATIENCE, &SystemClock::default());
    number_in(&found.ok()?, name)
}

/// The third field of the entry of this name.
fn number_in(entries: &str, name: &str) -> Option<u32> {
    let mut fields = entries.lines().next()?.split(':');
    (fields.next()? == name).then(|| fields.nth(1))??.parse().ok()
}

/// Access bits in octal digits, for files with a key.
pub fn mode(text: &str) -> Result<u32, Failure> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    match bits {
        Some(bits) if bits & 0o007 != 0 => {
            Err(Failure::new(format!("mode {text} would give the private key to every user of this machine"))
                .advice("Give the files to the program's user by --owner, or to its group by --group."))
        }
        Some(bits) if bits <= 0o770 && bits & 0o400 != 0 => Ok(bits),
        _ => Err(Failure::new(format!("'{text}' is no mode for a file")).advice("Octal digits: 640")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        assert_eq!((user("root").unwrap(), user("1234").unwrap(), group("4321").unwrap()), (0, 1234, 4321));
        for wrong in ["", "-s", "no such user", "root:x"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
        assert_eq!(number_in("postfix:x:107:113::/var/spool:/bin/false\n", "postfix"), Some(107));
        assert_eq!(number_in("postfix:x:107:113::/var/spool:/bin/false\n", "post"), None);
        assert_eq!(number_in("", "postfix"), None);
    }

    #[test]
    fn no_mode_gives_a_key_to_everybody() {
        assert_eq!(
            (mode("640").unwrap(), mode("0600").unwrap(), mode("440").unwrap()),
            (0o640, 0o600, 0o440)
        );
        for wrong in ["644", "777", "1600", "4640", "8", "", "+600", "200"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
        assert!(mode("604").unwrap_err().text.contains("every user"));
    }
}
