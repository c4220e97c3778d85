// SPDX-License-Identifier: Apache-2.0
//! The answers to an order's challenges: chosen and put in place, all of them before the CA is asked to look
//! at the first (RFC 8555 §7.5.1), and taken away again whatever came of the order. Only TXT records of one
//! name follow each other: there are commands that replace the record that is there. Answers of other MDs for
//! the same name stay.

use super::context::{Context, Pause, Renewal};
use super::progress::Running;
use crate::acme;
use crate::acme::objects::{Authorization, Challenge};
use crate::challenge::answers::Folder;
use crate::challenge::{self, dns01, http01, selection, tls_alpn01};
use crate::crypto::PrivateKey;
use crate::exec;
use crate::model::dns01::Way;
use crate::model::{Dns01, KeySpec};
use crate::notify::{self, Event};
use crate::renew::decide::error::{Error, Fault};
use crate::store::{Work, WorkGroup};

const GROUP: WorkGroup = WorkGroup::Challenges;

/// Those of `idle` that can be answered while the CA looks at `validating`. A name and the wildcard above it
/// share a TXT record, which answers one of them at a time: many commands replace it, and the C module sets
/// it up for one after the other.
pub(super) fn next<'a>(
    renewal: &Renewal<'_>,
    idle: &[&Authorization],
    validating: impl Iterator<Item = &'a Authorization>,
) -> Vec<Authorization> {
    let means = renewal.settings().means(renewal.target);
    let has_record = |authorization: &Authorization| {
        // One that cannot be answered at all is reported as that.
        let chosen = selection::choose(authorization, &means).unwrap_or_default();
        chosen.iter().any(|challenge| challenge.type_ == dns01::TYPE)
    };
    let mut taken: Vec<String> = validating.map(|a| a.identifier.value.clone()).collect();
    let mut is_free = |authorization: &&&Authorization| {
        let name = &authorization.identifier.value;
        let is_free = !has_record(authorization) || !taken.contains(name);
        taken.push(name.clone());
        is_free
    };
    idle.iter().filter(&mut is_free).map(|authorization| (*authorization).clone()).collect()
}

/// Puts an answer in place for each authorization. Returns the URLs of the challenges to start.
pub(super) fn present(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    pending: &[Authorization],
    thumbprint: &str,
) -> Result<Vec<String>, Error> {
    let mut choices = Vec::new();
    for authorization in pending {
        choices.push((authorization, choose(renewal, authorization)?));
    }
    let mut presenter = Presenter { renewal, running, thumbprint };
    choices.into_iter().map(|(authorization, choice)| presenter.answer(authorization, &choice)).collect()
}

/// Whether this renewal has an answer for this authorization in place.
pub(super) fn is_presented(renewal: &Renewal<'_>, authorization: &Authorization) -> bool {
    folder(renewal.context, &authorization.identifier.value).has_any_of(renewal.name())
}

/// The challenges that can be answered for a name, or why none of those offered can be.
fn choose<'c>(renewal: &Renewal<'_>, authorization: &'c Authorization) -> Result<Vec<&'c Challenge>, Error> {
    if !renewal.target.md.domains.contains(&authorization.name()) {
        let name = authorization.name();
        let text = format!("the CA asks to prove control of {name}, which is not in the order");
        return Err(acme::Error::Protocol(text).into());
    }
    let means = renewal.settings().means(renewal.target);
    selection::choose(authorization, &means).map_err(|reason| Error::ChallengeMismatch {
        reason,
        offered: authorization.challenges.iter().map(|challenge| challenge.type_.clone()).collect(),
    })
}

struct Presenter<'a, 'r> {
    renewal: &'a Renewal<'a>,
    running: &'a mut Running<'r>,
    thumbprint: &'a str,
}

/// Why an answer is not in place.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("{0}")]
    Store(#[from] crate::store::Error),
    #[error("{0}")]
    Crypto(#[from] crate::crypto::Error),
    #[error("MDChallengeDns01: {0}")]
    Command(#[from] exec::Error),
    #[error("{0}")]
    Event(#[from] notify::Failed),
    #[error("no way to answer it is configured")]
    Unknown,
    #[error("the server process is stopping")]
    Stopped,
}

impl Obstacle {
    fn fault(&self) -> Fault {
        match self {
            Obstacle::Command(exec::Error::Empty | exec::Error::Start { .. }) => Fault::NoCommand,
            Obstacle::Command(exec::Error::TimedOut { .. }) => Fault::SlowCommand,
            Obstacle::Command(_) => Fault::Command,
            Obstacle::Event(_) => Fault::Message,
            _ => Fault::Other,
        }
    }

    fn is_stopped(&self) -> bool {
        match self {
            Obstacle::Stopped | Obstacle::Command(exec::Error::Stopped { .. }) => true,
            Obstacle::Event(failed) => failed.is_stopped,
            _ => false,
        }
    }
}

/// `domain` without `*.`.
fn folder<'a>(context: &'a Context, domain: &'a str) -> Folder<'a, Work> {
    Folder { store: &context.store, group: GROUP, name: domain }
}

impl Presenter<'_, '_> {
    /// Sets up the first of these challenges that can be. Its URL is the answer.
    fn answer(&mut self, authorization: &Authorization, choice: &[&Challenge]) -> Result<String, Error> {
        let domain = &authorization.identifier.value;
        let (mut reasons, mut fault) = (Vec::new(), Fault::Other);
        for challenge in choice {
            let type_ = &challenge.type_;
            self.running.step(format!("Setting up challenge '{type_}' for domain {domain}"))?;
            if type_ == dns01::TYPE || self.renewal.settings().commands.message.is_some() {
                // Commands may take long.
                self.running.show()?;
            }
            match self.set_up(domain, challenge).and_then(|()| self.fire_setup(domain, challenge)) {
                Ok(()) => return Ok(challenge.url.clone()),
                Err(obstacle) if obstacle.is_stopped() => return Err(Error::Stopped),
                Err(obstacle) => {
                    let reason = format!("challenge '{type_}' cannot be set up for {domain}: {obstacle}");
                    crate::log!(Warn, "md[{}]: {reason}", self.renewal.name());
                    self.running.remark(&reason)?;
                    fault = obstacle.fault();
                    reasons.push(reason);
                }
            }
        }
        Err(Error::ChallengeSetup {
            offered: selection::offered(authorization),
            domain: domain.clone(),
            reason: reasons.join("; "),
            fault,
        })
    }

    fn fire_setup(&mut self, domain: &str, challenge: &Challenge) -> Result<(), Obstacle> {
        let event = Event::ChallengeSetup(challenge.type_.clone(), domain.to_string());
        let (commands, clock) = (&self.renewal.settings().commands, self.renewal.clock());
        Ok(commands.fire(&event, &mut self.running.job, clock)?)
    }

    fn set_up(&mut self, domain: &str, challenge: &Challenge) -> Result<(), Obstacle> {
        let answer = challenge::key_authorization(&challenge.token, self.thumbprint);
        match challenge.type_.as_str() {
            http01::TYPE => {
                let _held = self.renewal.context.answering.changing();
                Ok(folder(self.renewal.context, domain).put_http(self.renewal.name(), &answer)?)
            }
            tls_alpn01::TYPE => self.set_up_certificates(domain, &answer),
            dns01::TYPE => self.set_up_record(domain, &dns01::value(&answer)),
            _ => Err(Obstacle::Unknown),
        }
    }

    fn set_up_certificates(&self, domain: &str, answer: &str) -> Result<(), Obstacle> {
        let store = &self.renewal.context.store;
        let specs = tls_alpn01::key_specs(&self.renewal.target.md.keys());
        let keys: Vec<PrivateKey> = specs.iter().map(|spec| self.key(spec)).collect::<Result<_, _>>()?;
        let _held = self.renewal.context.answering.changing();
        folder(self.renewal.context, domain).note_certificate(self.renewal.name(), answer)?;
        for file in store.files(GROUP, domain)? {
            if tls_alpn01::is_of_other_key(&file, &specs) {
                store.remove(GROUP, domain, &file)?;
            }
        }
        for (spec, key) in specs.into_iter().zip(keys) {
            let chain = tls_alpn01::certificate(domain, answer, &key, self.renewal.now())?;
            // The certificate comes last: with it the pair is looked for.
            store.write_key(GROUP, domain, &tls_alpn01::key_file(&spec), &key)?;
            store.write_chain(GROUP, domain, &tls_alpn01::cert_file(&spec), &chain)?;
        }
        Ok(())
    }

    /// Made once for all names and orders, because making it takes long: the CA checks the contents of the
    /// certificate, and not its key.
    fn key(&self, spec: &KeySpec) -> Result<PrivateKey, Obstacle> {
        let mut keys = self.renewal.context.answering.keys();
        if let Some((_, key)) = keys.iter().find(|(known, _)| known == spec) {
            return Ok(key.clone());
        }
        let (clock, limit) = (self.renewal.clock(), self.renewal.context.cas.limit());
        let key = limit.generate(spec, || clock.is_stopped())?.ok_or(Obstacle::Stopped)?;
        keys.push((spec.clone(), key.clone()));
        Ok(key)
    }

    /// Noted first: also a record whose command was killed half-way is taken away.
    fn set_up_record(&self, domain: &str, value: &str) -> Result<(), Obstacle> {
        let (renewal, name) = (self.renewal, self.renewal.name());
        let Some(Dns01 { way: Way::Command(command), limit, .. }) = &self.renewal.target.dns01 else {
            return Err(Obstacle::Unknown);
        };
        let is_new = {
            let _held = renewal.context.answering.changing();
            let folder = folder(renewal.context, domain);
            let is_new = !folder.read(dns01::NOTE).all().any(|noted| noted == value);
            folder.note_record(name, value)?;
            is_new
        };
        let set_up = || command.set_up(domain, value, *limit, renewal.clock());
        let outcome = renewal.pause(Pause::Command, set_up);
        if is_new && matches!(outcome, Err(exec::Error::Empty | exec::Error::Start { .. })) {
            // It has not run, so there is no record to take away, and nothing to report to an admin.
            let _held = renewal.context.answering.changing();
            folder(renewal.context, domain).forget_record(name, value)?;
        }
        Ok(outcome?)
    }
}

/// Takes every answer of this MD away again, also after a failure, and also those an earlier child has left.
pub(super) fn clean_up(renewal: &Renewal<'_>) {
    let md = &renewal.target.md;
    for domain in &md.domains {
        let domain = domain.strip_prefix("*.").unwrap_or(domain);
        if tear_down_records(renewal, domain).is_err() {
            // The next child finds the note.
            return;
        }
        let _held = renewal.context.answering.changing();
        if let Err(error) = folder(renewal.context, domain).remove(&md.name) {
            crate::log!(
                Warn,
                "md[{}]: the challenge data of {domain} cannot be removed: {}",
                md.name,
                error.advised()
            );
        }
    }
}

/// `Err`: the process is stopping.
fn tear_down_records(renewal: &Renewal<'_>, domain: &str) -> Result<(), ()> {
    let (name, target) = (renewal.name(), renewal.target);
    let values: Vec<String> = {
        let _held = renewal.context.answering.changing();
        let folder = folder(renewal.context, domain);
        let values: Vec<String> = folder.read(dns01::NOTE).of(name).map(String::from).collect();
        let knows_records = match &target.dns01 {
            Some(Dns01 { way: Way::Command(command), .. }) => command.knows_records(),
            _ => true,
        };
        if !values.is_empty() && !knows_records && folder.has_records_of_others(name) {
            // It would take away all of them. The MD that has the last one does.
            crate::log!(Debug, "md[{name}]: 'teardown {domain}' is left to the other MD with a record there");
            if let Err(error) = folder.forget_records(name) {
                crate::log!(
                    Warn,
                    "md[{name}]: the challenge data of {domain} cannot be removed: {}",
                    error.advised()
                );
            }
            return Ok(());
        }
        values
    };
    for value in values {
        let Some(Dns01 { way: Way::Command(command), limit, .. }) = &target.dns01 else {
            let left = dns01::left_behind(domain, &value);
            crate::log!(Warn, "md[{name}]: MDChallengeDns01 is not configured any more: {left}");
            continue;
        };
        let tear_down = || command.tear_down(domain, &value, *limit, renewal.clock());
        match renewal.pause(Pause::Command, tear_down) {
            Ok(()) => {}
            Err(exec::Error::Stopped { .. }) => return Err(()),
            Err(error) => {
                let left = dns01::left_behind(domain, &value);
                crate::log!(Warn, "md[{name}]: MDChallengeDns01: {error}: {left}");
            }
        }
    }
    Ok(())
}
