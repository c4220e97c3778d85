// SPDX-License-Identifier: Apache-2.0
//! Tokens that httpd is asked to answer, one for each name, and whether it was. Beside those of a renewal, and
//! never in their place. Imports `case`.

use super::case::Token;
use crate::cli::site::Site;
use crate::crypto;
use crate::time::{Clock, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/.well-known/acme-challenge/";
/// httpd answers for a minute; what is left is for the requests.
const FRESH: Duration = Duration::from_secs(25);

/// Has the running httpd answer tokens.
pub trait Presenter {
    /// `GET /.well-known/acme-challenge/TOKEN` of `host` is answered by `text`, or why it is not.
    fn present(&self, host: &str, token: &str, text: &str) -> Result<(), String>;

    /// `None`: not known.
    fn is_running(&self) -> Option<bool>;
}

/// What is asked of a name, and what should come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    pub path: String,
    pub token: Token,
}

/// The tokens of one call.
pub struct Tokens<'a> {
    presenter: &'a dyn Presenter,
    clock: Arc<dyn Clock>,
    up: RefCell<BTreeMap<String, (Timestamp, Up)>>,
}

impl<'a> Tokens<'a> {
    pub fn new(presenter: &'a dyn Presenter, clock: Arc<dyn Clock>) -> Self {
        Tokens { presenter, clock, up: RefCell::default() }
    }

    pub fn is_running(&self) -> Option<bool> {
        self.presenter.is_running()
    }

    /// The token of a host, which is put up if that has not been done just now.
    pub fn of(&self, host: &str) -> Up {
        let now = self.clock.now();
        let known = self.up.borrow().get(host).cloned();
        match known {
            Some((since, up)) if since <= now && now.since(since) < FRESH => up,
            _ => {
                let up = self.put_up(host);
                self.up.borrow_mut().insert(host.to_string(), (self.clock.now(), up.clone()));
                up
            }
        }
    }

    fn put_up(&self, host: &str) -> Up {
        let (token, secret) = match (crypto::random::<24>(), crypto::random::<32>()) {
            (Ok(token), Ok(secret)) => (BASE64URL_NOPAD.encode(&token), BASE64URL_NOPAD.encode(&secret)),
            _ => return Up { path: PATH.into(), token: Token::NotUp("there are no random numbers".into()) },
        };
        // In the form of a key authorization: httpd answers nothing else to a token.
        let text = format!("{token}.{secret}");
        let outcome = self.presenter.present(host, &token, &text);
        Up { path: format!("{PATH}{token}"), token: outcome.map_or_else(Token::NotUp, |()| Token::Up(text)) }
    }
}

/// Requests to the httpd that renews in the store.
pub struct Requests<'a> {
    _site: &'a Site,
}

impl<'a> Requests<'a> {
    pub fn new(site: &'a Site) -> Self {
        Requests { _site: site }
    }
}

impl Presenter for Requests<'_> {
    fn present(&self, _host: &str, _token: &str, _text: &str) -> Result<(), String> {
        Err("httpd was not asked".into())
    }

    fn is_running(&self) -> Option<bool> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[derive(Default)]
    struct Httpd {
        asked: RefCell<Vec<String>>,
        refuses: bool,
    }

    impl Presenter for Httpd {
        fn present(&self, host: &str, token: &str, text: &str) -> Result<(), String> {
            assert!(text.strip_prefix(token).is_some_and(|rest| rest.starts_with('.')));
            self.asked.borrow_mut().push(host.to_string());
            if self.refuses { Err("no".into()) } else { Ok(()) }
        }

        fn is_running(&self) -> Option<bool> {
            Some(true)
        }
    }

    #[test]
    fn each_name_has_a_token_of_its_own_that_is_put_up_once() {
        let (httpd, clock) = (Httpd::default(), Arc::new(SystemClock::default()));
        let tokens = Tokens::new(&httpd, clock);
        let first = tokens.of("a.test");
        assert_eq!(tokens.of("a.test"), first);
        assert_ne!(tokens.of("b.test"), first);
        assert_eq!(*httpd.asked.borrow(), ["a.test", "b.test"]);
        assert!(
            matches!(&first.token, Token::Up(text) if first.path.ends_with(text.split('.').next().unwrap()))
        );
        let httpd = Httpd { refuses: true, ..Httpd::default() };
        let tokens = Tokens::new(&httpd, Arc::new(SystemClock::default()));
        assert_eq!(tokens.of("a.test").token, Token::NotUp("no".into()));
    }
}
