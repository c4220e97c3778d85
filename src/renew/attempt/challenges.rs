// SPDX-License-Identifier: Apache-2.0
//! The answers to an order's challenges: chosen and put in place, all of them before the CA is asked to look
//! at the first (RFC 8555 §7.5.1), and taken away again whatever came of the order. TXT records of one name
//! follow each other where the way may replace the record that is there. Answers of other MDs for the same
//! name stay.

use super::choice::choose;
use super::context::{Context, Renewal};
use super::obstacle::Obstacle;
use super::persist::Records;
use super::progress::Running;
use super::records::{self, Removal, Wanted};
use crate::acme::objects::{Authorization, Challenge, ChallengeStatus};
use crate::challenge::answers::Folder;
use crate::challenge::dns01::place::Place;
use crate::challenge::dns01::solver;
use crate::challenge::{self, dns_account01, dns_persist01, dns01, http01, selection, tls_alpn01};
use crate::crypto::PrivateKey;
use crate::managed::peers::{Peers, SharedAnswer};
use crate::model::KeySpec;
use crate::model::dns01::Way;
use crate::notify::Event;
use crate::renew::decide::error::{Error, Fault};
use crate::store::{Work, WorkGroup};
use crate::time::{DAY, Stopped};
use std::collections::BTreeSet;

const GROUP: WorkGroup = WorkGroup::Challenges;

/// Those of `idle` that can be answered while the CA looks at `validating`. A name and the wildcard above it
/// have their TXT records at one name. Where the way may replace the record that is there, they are answered
/// one after the other.
pub(super) fn next<'a>(
    renewal: &Renewal<'_>,
    idle: &[&Authorization],
    validating: impl Iterator<Item = &'a Authorization>,
) -> Vec<Authorization> {
    let means = renewal.settings().means(renewal.target);
    let way = renewal.target.dns01.as_ref().map(|dns01| &dns01.way);
    let replaces = !way.is_some_and(solver::adds_one_by_one);
    let has_record = |authorization: &Authorization| {
        // One that cannot be answered at all is reported as that.
        let chosen = selection::choose(authorization, &means).unwrap_or_default();
        chosen.iter().any(|challenge| is_record(challenge))
    };
    let mut taken: Vec<String> = validating.map(|a| a.identifier.value.clone()).collect();
    let mut is_free = |authorization: &&&Authorization| {
        let name = &authorization.identifier.value;
        let is_free = !taken.contains(name) || !replaces || !has_record(authorization);
        taken.push(name.clone());
        is_free
    };
    idle.iter().filter(&mut is_free).map(|authorization| (*authorization).clone()).collect()
}

/// Whether it is answered by a TXT record of ours.
fn is_record(challenge: &Challenge) -> bool {
    matches!(challenge.type_.as_str(), dns01::TYPE | dns_account01::TYPE)
}

/// Of the account that answers.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) url: &'a str,
    /// Of its key.
    pub(super) thumbprint: &'a str,
}

/// Puts an answer in place for each authorization, and waits until name servers have the TXT records among
/// them. `found`: the records that the admin has set. Returns the URLs of the challenges to start, and the
/// answers that any node can give.
pub(super) fn present(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    pending: &[Authorization],
    account: Account<'_>,
    found: &Records,
) -> Result<(Vec<String>, Vec<SharedAnswer>), Error> {
    let mut choices = Vec::new();
    for authorization in pending {
        choices.push((authorization, choose(renewal, authorization)?));
    }
    let is_lacking = |c: &Challenge| c.type_ == dns_persist01::TYPE && found.obstacle(&c.url).is_some();
    let first_is_record =
        |choice: &[&Challenge]| choice.iter().find(|c| !is_lacking(c)).is_some_and(|c| is_record(c));
    let with_record = choices.iter().filter(|(_, choice)| first_is_record(choice));
    let with_record = with_record.map(|(authorization, _)| authorization.name()).collect();
    let mut presenter =
        Presenter { renewal, running, account, found, with_record, records: Vec::new(), shared: Vec::new() };
    let answers = choices.into_iter().map(|(authorization, choice)| presenter.answer(authorization, &choice));
    let urls = answers.collect::<Result<_, _>>()?;
    let Presenter { records, shared, .. } = presenter;
    records::await_visible(renewal, running, &records)?;
    Ok((urls, shared))
}

/// Whether this renewal has an answer for this authorization in place, or the admin has.
pub(super) fn is_presented(renewal: &Renewal<'_>, authorization: &Authorization) -> bool {
    let is_of_admin = |choice: Vec<&Challenge>| choice.iter().any(|c| c.type_ == dns_persist01::TYPE);
    folder(renewal.context, &authorization.identifier.value).has_any_of(renewal.name())
        || choose(renewal, authorization).is_ok_and(is_of_admin)
}

/// The answers to these authorizations that are in place here already, as any node can give them.
pub(super) fn in_place(
    renewal: &Renewal<'_>,
    authorizations: &[Authorization],
    account: Account<'_>,
) -> Vec<SharedAnswer> {
    let owner = renewal.name();
    let mut found = Vec::new();
    for authorization in authorizations {
        let (domain, folder) =
            (&authorization.identifier.value, folder(renewal.context, &authorization.identifier.value));
        for challenge in choose(renewal, authorization).unwrap_or_default() {
            let answer = challenge::key_authorization(&challenge.token, account.thumbprint);
            let (note, answer) = match challenge.type_.as_str() {
                http01::TYPE => (http01::NOTE, answer),
                tls_alpn01::TYPE => (tls_alpn01::NOTE, answer),
                _ => (dns01::NOTE, dns01::value(&answer)),
            };
            let answers = folder.read(note);
            let Some(noted) = answers.records_of(owner).find(|noted| noted.value == answer) else { continue };
            let dns_name = match (note, &noted.at, &noted.served_for) {
                // The DNS has it.
                (dns01::NOTE, _, None) => continue,
                (dns01::NOTE, at, _) => at.clone().unwrap_or_else(|| dns01::record_name(domain)),
                _ => domain.clone(),
            };
            let (type_, owner) = (challenge.type_.clone(), owner.into());
            found.push(SharedAnswer { type_, dns_name, owner, answer });
        }
    }
    found
}

/// Whether TXT records come and go by a name server or a command.
pub(super) fn sets_records_up(renewal: &Renewal<'_>) -> bool {
    renewal.target.dns01.as_ref().is_some_and(|dns01| !matches!(dns01.way, Way::Responder))
}

/// Notes the TXT records that were set up for these authorizations by a node whose order this is now: their
/// challenges were started, or are valid, and this node sets up none for them. Those of earlier orders were removed.
pub(super) fn adopt_records(
    renewal: &Renewal<'_>,
    authorizations: &[Authorization],
    account: Account<'_>,
    is_started: impl Fn(&Authorization) -> bool,
) {
    let now = renewal.now();
    let is_recent = |c: &Challenge| {
        c.status == ChallengeStatus::Valid && c.validated.is_none_or(|at| now.since(at) < DAY)
    };
    for authorization in authorizations {
        let domain = &authorization.identifier.value;
        let of_order = authorization.challenges.iter().filter(|c| is_record(c) && !c.token.is_empty());
        for challenge in of_order.filter(|c| is_recent(c) || is_started(authorization)) {
            let value = dns01::value(&challenge::key_authorization(&challenge.token, account.thumbprint));
            let name = record_name(challenge, account, domain);
            records::adopt(renewal, &challenge.type_, domain, &name, &value);
        }
    }
}

/// Where validators look for the record.
fn record_name(challenge: &Challenge, account: Account<'_>, domain: &str) -> String {
    match challenge.type_.as_str() {
        dns_account01::TYPE => dns_account01::record_name(account.url, domain),
        _ => dns01::record_name(domain),
    }
}

struct Presenter<'a, 'r> {
    renewal: &'a Renewal<'a>,
    running: &'a mut Running<'r>,
    account: Account<'a>,
    found: &'a Records,
    /// The names that are answered by TXT records.
    with_record: Vec<String>,
    /// Those that are set up.
    records: Vec<(Place, String)>,
    /// What any node can answer.
    shared: Vec<SharedAnswer>,
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
            if is_record(challenge) || self.renewal.settings().commands.message.is_some() {
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
        let answer = challenge::key_authorization(&challenge.token, self.account.thumbprint);
        match challenge.type_.as_str() {
            http01::TYPE => {
                let _held = self.renewal.context.answering.changing();
                folder(self.renewal.context, domain).put_http(self.renewal.name(), &answer)?;
                self.share(http01::TYPE, domain, answer);
                Ok(())
            }
            tls_alpn01::TYPE => {
                self.set_up_certificates(domain, &answer)?;
                self.share(tls_alpn01::TYPE, domain, answer);
                Ok(())
            }
            dns01::TYPE | dns_account01::TYPE => self.set_up_record(domain, challenge, dns01::value(&answer)),
            dns_persist01::TYPE => match self.found.obstacle(&challenge.url) {
                None => Ok(()),
                Some(text) => Err(Obstacle::Persist(text)),
            },
            _ => Err(Obstacle::Unknown),
        }
    }

    fn share(&mut self, type_: &str, dns_name: &str, answer: String) {
        let (type_, owner) = (type_.into(), self.renewal.name().into());
        self.shared.push(SharedAnswer { type_, dns_name: dns_name.into(), owner, answer });
    }

    fn set_up_record(&mut self, domain: &str, challenge: &Challenge, value: String) -> Result<(), Obstacle> {
        let name = record_name(challenge, self.account, domain);
        let wanted = Wanted {
            type_: &challenge.type_,
            domain,
            name,
            value: value.clone(),
            all_domains: &self.with_record,
            remaining: self.with_record.len().saturating_sub(self.records.len() + 1),
        };
        let place = records::set_up(self.renewal, self.running, &wanted)?;
        if self.renewal.target.dns01.as_ref().is_some_and(|dns01| matches!(dns01.way, Way::Responder)) {
            self.share(&challenge.type_, &place.name.to_string(), value.clone());
        }
        self.records.push((place, value));
        Ok(())
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
}

/// Takes every answer of this MD away again, from all nodes, also after a failure, and also those an earlier child has left.
pub(crate) fn clean_up(renewal: &Renewal<'_>, peers: Option<&dyn Peers>) -> Result<(), Stopped> {
    peers.iter().for_each(|peers| peers.withdraw_answers(renewal.name()));
    let md = &renewal.target.md;
    let mut unreached = None;
    let mut known = BTreeSet::new();
    let domains = md.domains.iter().map(|domain| domain.strip_prefix("*.").unwrap_or(domain));
    let all: Vec<_> = domains
        .filter(|domain| known.insert(*domain))
        .map(|domain| (domain, records::of(renewal, domain)))
        .collect();
    let mut later: usize = all.iter().map(|(_, records)| records.len()).sum();
    for (domain, records) in all {
        later -= records.len();
        match records::tear_down(renewal, domain, &records, later, &mut unreached) {
            Removal::Done => {}
            Removal::Kept => continue,
            // The next child finds the note.
            Removal::Stopped => return Err(Stopped),
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
    Ok(())
}
