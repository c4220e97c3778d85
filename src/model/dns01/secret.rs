// SPDX-License-Identifier: Apache-2.0
//! Files with secrets that a way of dns-01 needs, and the forms of two of them: variables for the environment
//! of a command, user and password. Nothing made here quotes a content. Imports nothing of this crate.

use std::sync::Arc;
use zeroize::Zeroizing;

/// A file that only root may read: its content is loaded before the children are started.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretFile {
    /// Absolute.
    pub path: String,
    /// `None`: not loaded, or of no use.
    pub content: Option<Arc<Zeroizing<String>>>,
    /// Why there is no content.
    pub fault: Option<FileFault>,
}

/// What is wrong with a file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// Names the file.
    pub what: String,
    pub remedy: String,
}

impl SecretFile {
    /// One that has not been loaded.
    pub fn at(path: impl Into<String>) -> Self {
        SecretFile { path: path.into(), content: None, fault: None }
    }

    pub fn loaded(path: impl Into<String>, content: &str) -> Self {
        let content = Some(Arc::new(Zeroizing::new(content.to_string())));
        SecretFile { content, ..SecretFile::at(path) }
    }

    /// The content, or why there is none.
    pub fn text(&self) -> Result<&str, FileFault> {
        let not_loaded = || FileFault {
            what: format!("{} was not readable when httpd was started", self.path),
            remedy: format!(
                "Make '{}' a file that root can read, and restart httpd; the log of the last start says why it \
                 could not be read",
                self.path
            ),
        };
        let content = self.content.as_ref().map(|content| content.as_str());
        content.ok_or_else(|| self.fault.clone().unwrap_or_else(not_loaded))
    }
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let content = self.content.as_ref().map(|_| "***");
        let fields = &mut f.debug_struct("SecretFile");
        fields.field("path", &self.path).field("content", &content).field("fault", &self.fault).finish()
    }
}

/// What a file of secrets is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    TsigKey,
    User,
    Environment,
}

impl SecretKind {
    /// The file, for the log.
    pub fn what(self) -> &'static str {
        match self {
            SecretKind::TsigKey => "key file",
            SecretKind::User => "file with user and password",
            SecretKind::Environment => "file of env=",
        }
    }
}

/// The variables of lines `NAME=VALUE`. One pair of quotes around a whole value is taken off; nothing is
/// expanded or unescaped. Empty lines and those that begin with `#` say nothing. `Err`: the number of a line
/// that is none of these; its text may be a secret.
pub fn environment(text: &str) -> Result<Vec<(&str, &str)>, usize> {
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(line, number)| variable(line).ok_or(number)).collect()
}

fn variable(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name =
        name.bytes().all(is_word) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = within('"').or_else(|| within('\'')).unwrap_or(value);
    (is_name && !value.contains('\0')).then_some((name, value))
}

/// The two sides of `USER:PASSWORD`, the only line.
pub fn user_and_password(text: &str) -> Option<(&str, &str)> {
    let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':')?;
    let is_usable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    (is_usable(user) && is_usable(password)).then_some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_not_there_says_why() {
        let mut file = SecretFile::at("/etc/k.key");
        assert!(file.text().unwrap_err().what.contains("/etc/k.key was not read"));
        let fault = FileFault { what: "it is empty".into(), remedy: "Fill it".into() };
        file.fault = Some(fault.clone());
        assert_eq!(file.text(), Err(fault));
        assert_eq!(SecretFile::loaded("/etc/k.key", "x").text(), Ok("x"));
    }

    #[test]
    fn variables_stand_in_lines_with_or_without_quotes() {
        let text = "# of my provider\n\n A=1 \nB_2=\"x y\"\r\nC='='\nD=\nE=\"";
        let read = [("A", "1"), ("B_2", "x y"), ("C", "="), ("D", ""), ("E", "\"")];
        assert_eq!(environment(text), Ok(read.to_vec()));
        assert_eq!(environment(""), Ok(Vec::new()));
        for bad in ["A", "=1", "1A=x", "A B=x", "A-B=x", "export A=1", "A=\0"] {
            assert_eq!(environment(&format!("OK=1\n{bad}\n")), Err(2), "{bad:?}");
        }
    }

    #[test]
    fn user_and_password_stand_in_one_line() {
        assert_eq!(user_and_password("me:a:b c\r\n"), Some(("me", "a:b c")));
        for bad in ["", "me", "me:", ":x", "me:x\ny:z", "me:\0"] {
            assert_eq!(user_and_password(bad), None, "{bad:?}");
        }
    }
}
