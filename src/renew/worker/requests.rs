// SPDX-License-Identifier: Apache-2.0
//! Reads what operators ask of the running httpd, once a second, and hands it to the renewals. A file that
//! makes no sense is logged and passed over; any number of them keeps no renewal from its work.

use crate::challenge::answers;
use crate::challenge::presented::{self, Presented};
use crate::managed::{Managed, withdrawn};
use crate::model::{Op, Renew, Request, RequestState, Requested};
use crate::renew::attempt::context::Context;
use crate::renew::decide::request::{Subject, Verdict, judge};
use crate::store::{Error, Flat, Stamp, Watched, WorkGroup};
use crate::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Files that are read in one beat.
const AT_ONCE: usize = 100;

/// What is known of the folder of requests.
pub struct Requests {
    looked: Option<Timestamp>,
    folder: Watched,
    files: HashMap<String, File>,
    /// The names whose file is new.
    waiting: VecDeque<String>,
    /// The domains whose job has not begun to look at its request, by index.
    handed_on: Vec<usize>,
    /// The hosts with texts that are up, and until when.
    presented: HashMap<String, Timestamp>,
    by_name: HashMap<String, usize>,
    has_failed: bool,
}

#[derive(Default)]
struct File {
    watched: Watched,
    /// It is to be read.
    is_waiting: bool,
}

impl Requests {
    pub fn new(targets: &[Managed]) -> Self {
        let by_name = targets.iter().enumerate().map(|(index, target)| (target.md.name.clone(), index));
        Requests {
            looked: None,
            folder: Watched::default(),
            files: HashMap::new(),
            waiting: VecDeque::new(),
            handed_on: Vec::new(),
            presented: HashMap::new(),
            by_name: by_name.collect(),
            has_failed: false,
        }
    }

    /// Looks for new requests. Returns the domains to look at, by index.
    pub fn look(&mut self, context: &Context, now: Timestamp) -> Vec<usize> {
        if self.looked.is_none_or(|looked| looked > now || now.since(looked) >= PAUSE) {
            self.looked = Some(now);
            self.take_down(context, now);
            let found = self.find(context, now);
            self.report(found);
        }
        for _ in 0..AT_ONCE {
            let Some(name) = self.waiting.pop_front() else { break };
            if let Some(file) = self.files.get_mut(&name) {
                file.is_waiting = false;
            }
            let outcome = self.act(context, &name, now);
            if let Err(error) = outcome {
                crate::log!(Warn, "the request for {name} cannot be answered: {}", error.advised());
            }
        }
        let is_new =
            |index: &usize| context.targets.get(*index).is_some_and(|target| target.requests.is_new());
        self.handed_on.retain(is_new);
        self.handed_on.clone()
    }

    /// Whether nothing is left to do before the next look at the folder.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.handed_on.is_empty()
    }

    fn report(&mut self, found: Result<(), Error>) {
        match found {
            Ok(()) => self.has_failed = false,
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                crate::log!(Warn, "requests of a2md cannot be read: {}", error.advised());
            }
            Err(_) => {}
        }
    }

    fn find(&mut self, context: &Context, now: Timestamp) -> Result<(), Error> {
        let stamp = context.store.flat_stamp(Flat::Requests)?;
        if !self.folder.has_changed(stamp, now) {
            return Ok(());
        }
        let found: HashMap<String, Stamp> = context.store.flat_stamps(Flat::Requests)?.into_iter().collect();
        self.files.retain(|name, _| found.contains_key(name));
        for (name, stamp) in found {
            let file = self.files.entry(name.clone()).or_default();
            if file.watched.has_changed(Some(stamp), now) && !std::mem::replace(&mut file.is_waiting, true) {
                self.waiting.push_back(name);
            }
        }
        Ok(())
    }

    fn act(&mut self, context: &Context, name: &str, now: Timestamp) -> Result<(), Error> {
        let json = match context.store.read_flat(Flat::Requests, name) {
            Ok(Some(json)) => json,
            Ok(None) => return Ok(()),
            Err(error) => {
                crate::log!(Warn, "a request is passed over: {error}");
                return Ok(());
            }
        };
        let Some(request) = Request::from_json(&json) else {
            crate::log!(Warn, "the request for {name} is passed over: it makes no sense to this version");
            return Ok(());
        };
        match (&request.op, self.by_name.get(name).copied()) {
            (Op::Renew(_) | Op::Look, Some(index)) => self.hand_on(context, index, &request, now),
            _ => self.act_for_host(context, name, &request, now),
        }
    }

    /// A renewal, or a look at a managed domain.
    fn hand_on(
        &mut self,
        context: &Context,
        index: usize,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(target) = context.targets.get(index) else { return Ok(()) };
        let (md, served) = (target.current(), target.served());
        let withdrawn = withdrawn::read(&context.store, &target.md.name, now);
        let subject = Subject {
            md: &md,
            certs: &served,
            in_use: target.in_use,
            watched: target.watched,
            is_revoked: served.all().any(|cert| withdrawn.is_revoked(cert)),
        };
        let mut verdict = Verdict::Ignore;
        target.requests.write(&context.store, &target.md.name, |before| {
            verdict = judge(request, Some(subject), before.as_ref(), now);
            answered(before, request, &verdict, now)
        })?;
        log_verdict(&target.md.name, request, &verdict);
        if matches!(verdict, Verdict::Accept | Verdict::Join) && !self.handed_on.contains(&index) {
            self.handed_on.push(index);
        }
        Ok(())
    }

    /// A text to put up, or a request for what is no managed domain.
    fn act_for_host(
        &mut self,
        context: &Context,
        name: &str,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Error> {
        let name = name.strip_prefix("*.").unwrap_or(name);
        let _held = context.answering.changing();
        let mut presented = Presented::read(&context.store, WorkGroup::Challenges, name);
        let verdict = judge(request, None, presented.request.as_ref(), now);
        let before = presented.request.take();
        presented.request = answered(before.clone(), request, &verdict, now);
        if presented.request == before {
            return Ok(());
        }
        if let (Op::Present { token, text }, Verdict::Accept) = (&request.op, &verdict) {
            presented.put(token, text, now);
        }
        if let Some(requested) = &mut presented.request
            && verdict == Verdict::Accept
        {
            requested.answer(RequestState::Done, None, now);
        }
        log_verdict(name, request, &verdict);
        self.presented.insert(name.into(), now.plus(presented::LIFETIME));
        presented.write(&context.store, WorkGroup::Challenges, name)
    }

    /// Removes the texts that are no longer up, with their files.
    fn take_down(&mut self, context: &Context, now: Timestamp) {
        let is_over = |until: Timestamp| until <= now || until.since(now) > presented::LIFETIME;
        let over: Vec<String> = self
            .presented
            .iter()
            .filter(|(_, until)| is_over(**until))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.presented.remove(&name);
            let _held = context.answering.changing();
            let (store, group) = (&context.store, WorkGroup::Challenges);
            let removed = store.remove(group, &name, presented::FILE);
            let folder = answers::Folder { store, group, name: &name };
            if let Err(error) = removed.and_then(|()| folder.remove_if_empty()) {
                crate::log!(
                    Warn,
                    "what an operator put up at {name} for a minute stays: {}",
                    error.advised()
                );
            }
        }
    }
}

/// The answers after this verdict.
fn answered(
    before: Option<Requested>,
    request: &Request,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Requested> {
    let begin = |state, detail| Requested::begin(before.clone(), &request.id, state, detail, now);
    match (verdict, &request.op) {
        (Verdict::Ignore, _) => before,
        (Verdict::Refuse(reason), _) => {
            // What is under way goes on.
            let under_way = before.clone().filter(|before| before.renewal().is_some());
            let refused = begin(RequestState::Refused, Some(reason.clone()));
            Some(under_way.map_or(refused, |before| before.refusing(&request.id, reason, now)))
        }
        (Verdict::Join, Op::Renew(renew)) => before.clone().map(|before| joined(before, request, renew)),
        (_, Op::Renew(renew)) => Some(Requested {
            renew: Some(renew.clone()),
            accepted: Some(now),
            ..begin(RequestState::Accepted, None)
        }),
        _ => Some(begin(RequestState::Accepted, None)),
    }
}

/// One more asks for the renewal that is under way.
fn joined(mut requested: Requested, request: &Request, renew: &Renew) -> Requested {
    if requested.join(request)
        && let Some(known) = &mut requested.renew
    {
        known.force |= renew.is_forced();
        known.new_key |= renew.new_key;
    }
    requested
}

fn log_verdict(name: &str, request: &Request, verdict: &Verdict) {
    let what = match &request.op {
        Op::Renew(_) => "a renewal",
        Op::Look => "a look at its files",
        Op::Present { .. } => "a text below /.well-known/acme-challenge/",
    };
    let by = &request.by;
    match verdict {
        Verdict::Ignore => {}
        Verdict::Refuse(reason) => {
            crate::log!(Notice, "md[{name}]: {by} has asked for {what}, which is refused: {reason}");
        }
        Verdict::Accept | Verdict::Join => crate::log!(Notice, "md[{name}]: {by} has asked for {what}"),
    }
}
