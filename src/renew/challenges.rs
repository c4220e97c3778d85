//! The answers to an order's challenges: chosen and put in place, all of them before the CA is told to
//! look at the first (RFC 8555 §7.5.1), and taken away again whatever came of the order.

use super::Managed;
use super::engine::Engine;
use super::error::Error;
use super::job::Running;
use crate::acme::objects::{Authorization, Challenge};
use crate::challenge::{self, dns01, http01, selection, tls_alpn01};
use crate::crypto::PrivateKey;
use crate::exec;
use crate::model::KeySpec;
use crate::notify::Event;
use crate::store::WorkGroup;

const GROUP: WorkGroup = WorkGroup::Challenges;

/// Puts an answer in place for each authorization. The answer is the URLs of the challenges to start.
pub fn present(
    engine: &Engine,
    target: &Managed,
    running: &mut Running<'_>,
    pending: &[Authorization],
    thumbprint: &str,
) -> Result<Vec<String>, Error> {
    let mut choices = Vec::new();
    for authorization in pending {
        choices.push((authorization, choose(engine, target, authorization)?));
    }
    let mut presenter = Presenter { engine, target, running, thumbprint, keys: Vec::new() };
    choices.into_iter().map(|(authorization, choice)| presenter.answer(authorization, &choice)).collect()
}

/// The challenges that can be answered for a name, or why none of those offered can be.
fn choose<'c>(
    engine: &Engine,
    target: &Managed,
    authorization: &'c Authorization,
) -> Result<Vec<&'c Challenge>, Error> {
    if !target.md.domains.contains(&authorization.name()) {
        let name = authorization.name();
        return Err(Error::Unusable(format!("the CA asks for {name}, which is not in the order")));
    }
    let means = engine.settings().means(target);
    selection::choose(authorization, &means).map_err(Error::ChallengeMismatch)
}

struct Presenter<'a, 'r> {
    engine: &'a Engine,
    target: &'a Managed,
    running: &'a mut Running<'r>,
    thumbprint: &'a str,
    /// Of certificates that answer tls-alpn-01: made once for all names, because making them takes long.
    keys: Vec<(KeySpec, PrivateKey)>,
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
    #[error("no way to answer it is configured")]
    Unknown,
    #[error("the server process is stopping")]
    Stopped,
}

impl Presenter<'_, '_> {
    /// Sets up the first of these challenges that can be. Its URL is the answer.
    fn answer(&mut self, authorization: &Authorization, choice: &[&Challenge]) -> Result<String, Error> {
        let domain = &authorization.identifier.value;
        let mut reasons = Vec::new();
        for challenge in choice {
            let type_ = &challenge.type_;
            self.running.step(format!("Setting up challenge '{type_}' for domain {domain}"))?;
            let commands = &self.engine.settings().commands;
            if type_ == dns01::TYPE || commands.message.is_some() {
                // Commands may take long.
                self.running.show()?;
            }
            match self.set_up(domain, challenge) {
                Ok(()) => {
                    let event = Event::ChallengeSetup(type_.clone(), domain.clone());
                    let clock = self.engine.clock().as_ref();
                    commands.fire(&event, &mut self.running.job, clock)?;
                    return Ok(challenge.url.clone());
                }
                Err(Obstacle::Stopped | Obstacle::Command(exec::Error::Stopped { .. })) => {
                    return Err(Error::Stopped);
                }
                Err(obstacle) => {
                    let reason = format!("challenge '{type_}' cannot be set up for {domain}: {obstacle}");
                    crate::log!(Warn, "{}: {reason}", self.target.md.name);
                    self.running.remark(&reason)?;
                    reasons.push(reason);
                }
            }
        }
        Err(Error::ChallengeSetup {
            offered: selection::offered(authorization),
            domain: domain.clone(),
            reason: reasons.join("; "),
        })
    }

    fn set_up(&mut self, domain: &str, challenge: &Challenge) -> Result<(), Obstacle> {
        let store = self.engine.store();
        let answer = challenge::key_authorization(&challenge.token, self.thumbprint);
        match challenge.type_.as_str() {
            http01::TYPE => Ok(store.write(GROUP, domain, http01::FILE_NAME, answer.as_bytes())?),
            tls_alpn01::TYPE => self.set_up_certificates(domain, &answer),
            dns01::TYPE => self.set_up_record(domain, &dns01::value(&answer)),
            _ => Err(Obstacle::Unknown),
        }
    }

    fn set_up_certificates(&mut self, domain: &str, answer: &str) -> Result<(), Obstacle> {
        let store = self.engine.store();
        // mod_ssl replaces the host's certificate of the same key type. One of another type would stay beside the
        // challenge's, and which of them the CA gets to see depends on what its client prefers.
        let specs = self.target.shown_keys(self.engine.clock().now());
        for file in store.files(GROUP, domain)? {
            if tls_alpn01::is_of_other_key(&file, &specs) {
                store.remove(GROUP, domain, &file)?;
            }
        }
        for spec in specs {
            let key = self.key(&tls_alpn01::key_spec(&spec))?;
            let chain = tls_alpn01::certificate(domain, answer, &key, self.engine.clock().now())?;
            // The certificate comes last: with it the pair is looked for.
            store.write_key(GROUP, domain, &tls_alpn01::key_file(&spec), &key)?;
            store.write_chain(GROUP, domain, &tls_alpn01::cert_file(&spec), &chain)?;
        }
        Ok(())
    }

    fn key(&mut self, spec: &KeySpec) -> Result<PrivateKey, Obstacle> {
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| known == spec) {
            return Ok(key.clone());
        }
        let clock = self.engine.clock();
        let key = PrivateKey::generate_in_turn(spec, || clock.is_stopped())?.ok_or(Obstacle::Stopped)?;
        self.keys.push((spec.clone(), key.clone()));
        Ok(key)
    }

    /// Noted first: also a record whose command was killed half-way is taken away.
    fn set_up_record(&self, domain: &str, value: &str) -> Result<(), Obstacle> {
        let store = self.engine.store();
        let command = self.target.dns01.as_ref().ok_or(Obstacle::Unknown)?;
        // What cannot be read is nothing that could be taken away.
        let mut values =
            dns01::noted(store.read_json(GROUP, domain, dns01::FILE_NAME).unwrap_or_default().as_ref());
        if !values.iter().any(|known| known == value) {
            values.push(value.to_string());
            store.write_json(GROUP, domain, dns01::FILE_NAME, &dns01::note(&values))?;
        }
        Ok(command.set_up(domain, value, self.engine.clock().as_ref())?)
    }
}

/// Takes every answer away again, also after a failure, and also those an earlier child has left.
pub fn clean_up(engine: &Engine, target: &Managed) {
    let md = &target.md;
    for domain in &md.domains {
        let folder = domain.strip_prefix("*.").unwrap_or(domain);
        if tear_down_records(engine, target, folder).is_err() {
            // The next child finds the note.
            return;
        }
        if let Err(error) = engine.store().purge(GROUP, folder) {
            crate::log!(Warn, "{}: the challenge data of {folder} stays behind: {error}", md.name);
        }
    }
}

/// `Err`: the process is stopping.
fn tear_down_records(engine: &Engine, target: &Managed, domain: &str) -> Result<(), ()> {
    let name = &target.md.name;
    let note = engine.store().read_json(GROUP, domain, dns01::FILE_NAME).unwrap_or_else(|error| {
        crate::log!(Warn, "{name}: what dns-01 records {domain} has is not known any more: {error}");
        None
    });
    for value in dns01::noted(note.as_ref()) {
        let Some(command) = &target.dns01 else {
            let left = dns01::left_behind(domain, &value);
            crate::log!(Warn, "{name}: MDChallengeDns01 is not configured any more: {left}");
            continue;
        };
        match command.tear_down(domain, &value, engine.clock().as_ref()) {
            Ok(()) => {}
            Err(exec::Error::Stopped { .. }) => return Err(()),
            Err(error) => {
                crate::log!(
                    Warn,
                    "{name}: MDChallengeDns01: {error}: {}",
                    dns01::left_behind(domain, &value)
                );
            }
        }
    }
    Ok(())
}
