// SPDX-License-Identifier: Apache-2.0
//! Tokens that httpd is asked to answer, one for each name, and whether it was. Beside those of a renewal, and
//! never in their place. Imports `case`.

use super::case::Token;
use crate::cli::site::Site;
use crate::cli::site::request;
use crate::cli::site::request::Submitted;
use crate::crypto;
use crate::model::{Op, RequestState};
use crate::time::{Clock, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/.well-known/acme-challenge/";
/// httpd answers for a minute; what is left is for the requests.
const FRESH: Duration = Duration::from_secs(25);
/// Hosts whose tokens are put up together.
const AT_ONCE: usize = 16;
/// How long httpd may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for its answer.
const PAUSE: Duration = Duration::from_millis(100);

/// A text that is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub host: String,
    pub token: String,
    pub text: String,
}

/// Has the running httpd answer tokens.
pub trait Presenter {
    /// For each: `GET /.well-known/acme-challenge/TOKEN` of the host is answered by the text, or why it is not.
    fn present(&self, wanted: &[Wanted]) -> Vec<Result<(), String>>;

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
    /// All hosts, in the order in which they are asked.
    hosts: Vec<String>,
    up: RefCell<BTreeMap<String, (Timestamp, Up)>>,
}

impl<'a> Tokens<'a> {
    pub fn new(presenter: &'a dyn Presenter, clock: Arc<dyn Clock>, hosts: Vec<String>) -> Self {
        Tokens { presenter, clock, hosts, up: RefCell::default() }
    }

    pub fn is_running(&self) -> Option<bool> {
        self.presenter.is_running()
    }

    /// The token of a host. If it is not up, that is done for the hosts that follow too: httpd looks for
    /// requests once in a second.
    pub fn of(&self, host: &str) -> Up {
        let now = self.clock.now();
        let known = self.up.borrow().get(host).cloned();
        match known {
            Some((since, up)) if since <= now && now.since(since) < FRESH => up,
            _ => {
                self.put_up(host);
                let up = self.up.borrow().get(host).map(|(_, up)| up.clone());
                let without = || Token::NotUp("there are no random numbers".into());
                up.unwrap_or_else(|| Up { path: PATH.into(), token: without() })
            }
        }
    }

    fn put_up(&self, host: &str) {
        let following = self.hosts.iter().skip_while(|known| *known != host).skip(1);
        let hosts = std::iter::once(host).chain(following.map(String::as_str)).take(AT_ONCE);
        let wanted: Vec<Wanted> = hosts.filter_map(wanted).collect();
        let since = self.clock.now();
        for (Wanted { host, token, text }, outcome) in wanted.iter().zip(self.presenter.present(&wanted)) {
            let result = outcome.map_or_else(Token::NotUp, |()| Token::Up(text.clone()));
            let up = Up { path: format!("{PATH}{token}"), token: result };
            self.up.borrow_mut().insert(host.clone(), (since, up));
        }
    }
}

/// In the form of a key authorization, which cannot be guessed.
fn wanted(host: &str) -> Option<Wanted> {
    let (token, secret) = (crypto::random::<24>().ok()?, crypto::random::<32>().ok()?);
    let (token, secret) = (BASE64URL_NOPAD.encode(&token), BASE64URL_NOPAD.encode(&secret));
    let text = format!("{token}.{secret}");
    Some(Wanted { host: host.to_string(), token, text })
}

/// Requests to the httpd that renews in the store.
pub struct Requests<'a> {
    site: &'a Site,
    clock: Arc<dyn Clock>,
}

impl<'a> Requests<'a> {
    pub fn new(site: &'a Site, clock: Arc<dyn Clock>) -> Self {
        Requests { site, clock }
    }

    /// The last answer to a request.
    fn answer(&self, submitted: &mut Submitted<'_>, deadline: Timestamp) -> Result<(), String> {
        loop {
            let answer = submitted.look();
            if let Some(answer) = answer.filter(|answer| answer.state.is_final()) {
                let detail = answer.detail.clone().unwrap_or_else(|| "it does not say why".into());
                return match answer.state {
                    RequestState::Done => Ok(()),
                    _ => Err(format!("httpd did not take the request: {detail}")),
                };
            }
            if self.clock.now() >= deadline {
                return Err("httpd has not answered the request in time".into());
            }
            self.clock.sleep(PAUSE).map_err(|stopped| stopped.to_string())?;
        }
    }
}

impl Presenter for Requests<'_> {
    fn present(&self, wanted: &[Wanted]) -> Vec<Result<(), String>> {
        let submit = |wanted: &Wanted| {
            let (token, text) = (wanted.token.clone(), wanted.text.clone());
            request::submit(self.site, &wanted.host, Op::Present { token, text })
                .map_err(|failure| failure.text)
        };
        let submitted: Vec<_> = wanted.iter().map(submit).collect();
        let deadline = self.clock.now().plus(PATIENCE);
        let answer = |mut submitted| self.answer(&mut submitted, deadline);
        submitted.into_iter().map(|submitted| submitted.and_then(answer)).collect()
    }

    fn is_running(&self) -> Option<bool> {
        Some(request::running(self.site).is_some())
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
        fn present(&self, wanted: &[Wanted]) -> Vec<Result<(), String>> {
            let hosts: Vec<&str> = wanted.iter().map(|wanted| wanted.host.as_str()).collect();
            self.asked.borrow_mut().push(hosts.join(" "));
            assert!(wanted.iter().all(|wanted| wanted.text.starts_with(&format!("{}.", wanted.token))));
            wanted.iter().map(|_| if self.refuses { Err("no".into()) } else { Ok(()) }).collect()
        }

        fn is_running(&self) -> Option<bool> {
            Some(true)
        }
    }

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{n}.test")).collect()
    }

    #[test]
    fn each_name_has_a_token_of_its_own_and_some_are_put_up_together() {
        let (httpd, clock) = (Httpd::default(), Arc::new(SystemClock::default()));
        let tokens = Tokens::new(&httpd, clock, hosts(20));
        let first = tokens.of("0.test");
        assert_eq!(tokens.of("0.test"), first);
        assert_ne!(tokens.of("1.test"), first);
        assert!(
            matches!(&first.token, Token::Up(text) if first.path.ends_with(text.split('.').next().unwrap()))
        );
        assert_eq!(*httpd.asked.borrow(), [hosts(16).join(" ")]);
        tokens.of("16.test");
        tokens.of("other.test");
        assert_eq!(httpd.asked.borrow()[1..], ["16.test 17.test 18.test 19.test", "other.test"]);
        let httpd = Httpd { refuses: true, ..Httpd::default() };
        let tokens = Tokens::new(&httpd, Arc::new(SystemClock::default()), hosts(1));
        assert_eq!(tokens.of("0.test").token, Token::NotUp("no".into()));
    }
}
