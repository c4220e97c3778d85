// SPDX-License-Identifier: Apache-2.0
//! A coordination engine in memory: [`Memory`] is the server, a [`Handle`] what one node has of it. Leases end
//! by the clock that it is given. A watch never waits: it tells at once what there is.

mod faults;
mod history;

pub use faults::Faults;

use faults::{Call, PATIENCE};
use history::History;
use mod_md::fleet::engine::bounds::{check_key, check_prefix};
use mod_md::fleet::engine::{
    Alive, Change, Committed, Cursor, Engine, Entry, Error, LeaseId, PAGE, Page, Revision, Transaction, Watch,
};
use mod_md::time::{Clock, StopFlag};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Memory {
    clock: Arc<dyn Clock>,
    history: Mutex<History>,
    faults: Mutex<Faults>,
    /// Counts the times that it lost everything.
    epoch: AtomicU64,
    ends_are_untold: AtomicBool,
    clock_ahead_ms: AtomicI64,
    /// Transactions that are carried out later, with the prefix of each.
    late: Mutex<Vec<(String, Transaction)>>,
}

impl Memory {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Memory> {
        Arc::new(Memory {
            clock,
            history: Mutex::default(),
            faults: Mutex::default(),
            epoch: AtomicU64::default(),
            ends_are_untold: AtomicBool::default(),
            clock_ahead_ms: AtomicI64::default(),
            late: Mutex::default(),
        })
    }

    /// What another node has of the same server.
    pub fn handle(self: &Arc<Self>, prefix: &str) -> Arc<Handle> {
        self.handle_until(prefix, StopFlag::default())
    }

    /// The same for a process that ends with this flag.
    pub fn handle_until(self: &Arc<Self>, prefix: &str, stop: StopFlag) -> Arc<Handle> {
        Arc::new(Handle {
            server: self.clone(),
            prefix: format!("{prefix}/"),
            faults: Arc::default(),
            epoch: AtomicU64::new(self.epoch.load(Ordering::SeqCst)),
            stop,
            late: AtomicUsize::default(),
        })
    }

    /// Changes what goes wrong for all nodes.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// What goes wrong for all nodes.
    pub fn faults_now(&self) -> Faults {
        self.faults.lock().unwrap().clone()
    }

    /// The end of a lease is no event of a watch any more, as with Redis.
    pub fn leave_ends_untold(&self) {
        self.ends_are_untold.store(true, Ordering::SeqCst);
    }

    pub fn set_clock_ahead(&self, millis: i64) {
        self.clock_ahead_ms.store(millis, Ordering::SeqCst);
    }

    pub fn revision(&self) -> Revision {
        Revision(self.history.lock().unwrap().revision)
    }

    /// Forgets the history up to now.
    pub fn compact(&self) {
        self.history.lock().unwrap().compact();
    }

    /// Loses everything and begins again.
    pub fn wipe(&self) {
        *self.history.lock().unwrap() = History::default();
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Loses all that was written after `to`, as a failover may.
    pub fn go_back(&self, to: Revision) {
        self.history.lock().unwrap().go_back(to.0);
    }

    /// Carries out the transactions that were [late](Handle::be_late). The answer: what became of each.
    pub fn carry_out_late(&self) -> Vec<Result<Committed, Error>> {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        self.look(|history| late.iter().map(|(prefix, what)| history.commit(prefix, what)).collect())
    }

    /// Each key with the prefix, and its value: what someone reads who has the engine's disk.
    pub fn dump(&self) -> Vec<Entry> {
        let history = self.history.lock().unwrap();
        history.list("", "", "", history.revision, usize::MAX)
    }

    fn look<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        let mut history = self.history.lock().unwrap();
        history.expire(self.clock.now(), !self.ends_are_untold.load(Ordering::SeqCst));
        look(&mut history)
    }

    fn alive(&self, history: &History) -> Alive {
        let ahead = self.clock_ahead_ms.load(Ordering::SeqCst);
        let now = self.clock.now().unix_millis() + ahead;
        Alive {
            revision: Revision(history.revision),
            time: Some(mod_md::time::Timestamp::from_unix_millis(now)),
        }
    }
}

pub struct Handle {
    server: Arc<Memory>,
    prefix: String,
    faults: Arc<Mutex<Faults>>,
    /// That of the history which it has listed.
    epoch: AtomicU64,
    stop: StopFlag,
    /// How many of the next transactions time out.
    late: AtomicUsize,
}

impl Handle {
    /// Has the next transactions of this node time out. The server carries them out when it is told to, as an
    /// etcd may that was stopped for a while.
    pub fn be_late(&self, transactions: usize) {
        self.late.store(transactions, Ordering::SeqCst);
    }

    /// Changes what goes wrong for this node.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    pub fn server(&self) -> &Arc<Memory> {
        &self.server
    }

    fn line(&self) -> Line {
        Line { server: self.server.clone(), faults: self.faults.clone(), stop: self.stop.clone() }
    }
}

/// Between node and server, where calls get lost.
struct Line {
    server: Arc<Memory>,
    faults: Arc<Mutex<Faults>>,
    stop: StopFlag,
}

impl Line {
    fn now(&self) -> Faults {
        let of_server = self.server.faults.lock().unwrap().clone();
        self.faults.lock().unwrap().and(&of_server)
    }

    fn call<T>(
        &self,
        call: Call,
        carry_out: impl FnOnce(&mut History) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let is_stopped = self.stop.is_raised() || self.server.clock.is_stopped();
        if is_stopped && call != Call::Farewell {
            return Err(Error::Stopped);
        }
        let faults = self.now();
        faults.before(call)?;
        let answer = self.server.look(carry_out);
        let (wait, lost) = faults.after();
        if !wait.is_zero() {
            self.server.clock.sleep(wait).map_err(|_| Error::Stopped)?;
        }
        lost?;
        answer
    }
}

impl Engine for Handle {
    fn name(&self) -> String {
        "memory://localhost".into()
    }

    fn tells_ends(&self) -> bool {
        !self.server.ends_are_untold.load(Ordering::SeqCst)
    }

    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error> {
        self.line().call(Call::Write, |history| {
            history.grant(lease, ttl, self.server.clock.now());
            Ok(self.server.alive(history))
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error> {
        self.line().call(Call::Keep, |history| {
            history.keep(lease, self.server.clock.now())?;
            Ok(self.server.alive(history))
        })
    }

    fn revoke(&self, lease: LeaseId, _within: Duration) -> Result<(), Error> {
        self.line().call(Call::Farewell, |history| {
            history.end_lease(lease, true);
            Ok(())
        })
    }

    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error> {
        check_prefix(prefix)?;
        let line = self.line();
        let garbling = line.now();
        line.call(Call::Read, |history| {
            let epoch = self.server.epoch.load(Ordering::SeqCst);
            let at = match from {
                None => {
                    self.epoch.store(epoch, Ordering::SeqCst);
                    history.revision
                }
                Some(cursor) => cursor.revision.0,
            };
            if self.epoch.load(Ordering::SeqCst) != epoch || at < history.compacted || at > history.revision {
                return Err(Error::Gap(format!("memory: no revision {at} any more")));
            }
            let after = from.map_or("", |cursor| cursor.token.as_str());
            let mut entries = history.list(&self.prefix, prefix, after, at, PAGE + 1);
            let has_more = entries.len() > PAGE;
            entries.truncate(PAGE);
            let revision = Revision(at);
            let next = entries.last().filter(|_| has_more);
            let next = next.map(|last| Cursor { revision, token: last.key.clone() });
            entries.iter_mut().for_each(|entry| garbling.garble(entry));
            Ok(Page { entries, revision, next })
        })
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        check_key(key)?;
        let line = self.line();
        let garbling = line.now();
        let mut entry = line.call(Call::Read, |history| Ok(history.get(&self.prefix, key)))?;
        entry.iter_mut().for_each(|entry| garbling.garble(entry));
        Ok(entry)
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        let call = if transaction.then.is_empty() { Call::Read } else { Call::Write };
        let line = self.line();
        let less_one = |left: usize| left.checked_sub(1);
        if self.late.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok() {
            self.server.late.lock().unwrap().push((self.prefix.clone(), transaction.clone()));
            self.server.clock.sleep(PATIENCE).map_err(|_| Error::Stopped)?;
            return Err(Error::Timeout);
        }
        line.call(call, |history| history.commit(&self.prefix, transaction))
    }

    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let line = self.line();
        let watch = Watching { prefix: self.prefix.clone(), epoch, at: after.0, line };
        watch.line.call(Call::Read, |history| watch.check(history))?;
        Ok(Box::new(watch))
    }
}

struct Watching {
    line: Line,
    prefix: String,
    epoch: u64,
    at: u64,
}

impl Watching {
    fn check(&self, history: &History) -> Result<(), Error> {
        if self.epoch != self.line.server.epoch.load(Ordering::SeqCst) {
            return Err(Error::Gap("memory: another history".into()));
        }
        if self.at < history.compacted || self.at > history.revision {
            return Err(Error::Gap(format!("memory: no revision {} any more", self.at)));
        }
        Ok(())
    }
}

impl Watch for Watching {
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error> {
        let garbling = self.line.now();
        let (mut changes, at) = self.line.call(Call::Read, |history| {
            self.check(history)?;
            Ok((history.changes(&self.prefix, self.at), history.revision))
        })?;
        self.at = at;
        changes.iter_mut().for_each(|change| garbling.garble_change(change));
        Ok((changes, Revision(at)))
    }
}
