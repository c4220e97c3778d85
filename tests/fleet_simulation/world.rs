// SPDX-License-Identifier: Apache-2.0
//! A fleet: each node with a store, the thread that replicates, one that renews and one that brings in what
//! others have got. Time is that of a [`Stage`].

use doubles::fake_ca::{Endpoint, FakeCa, problem};
use doubles::memory_engine::Handle;
use doubles::stage::{Rouser, StageClock};
use doubles::{Counting, Memory, Stage};
use mod_md::challenge::http01;
use mod_md::crypto::{CertInfo, CpuLimit};
use mod_md::fleet::local::stored::StoredLocal;
use mod_md::fleet::member::Member;
use mod_md::fleet::node::{Node, Setup};
use mod_md::fleet::record::NodeMd;
use mod_md::fleet::replicator::Replicator;
use mod_md::fleet::replicator::feed::Inline;
use mod_md::fleet::sealed::Secrets;
use mod_md::fleet::secret::Secret;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::managed::Managed;
use mod_md::managed::live_set::{LiveSet, Workers};
use mod_md::managed::peers::Peers;
use mod_md::model::{Ca, KeySpec, Md};
use mod_md::notify::Commands;
use mod_md::renew::attempt::ca_pool::CaPool;
use mod_md::renew::attempt::context::Context;
use mod_md::renew::attempt::settings::Settings;
use mod_md::renew::decide::retry::Retry;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::store::StartStore;
use mod_md::time::{Clock, StopFlag, Timestamp};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub const BEGIN: Timestamp = Timestamp::from_unix(1_700_000_000);
pub const SECOND: Duration = Duration::from_secs(1);
/// Of a request to the CA, and to the engine.
const CA_TIME: Duration = Duration::from_millis(150);
const ENGINE_TIME: Duration = Duration::from_millis(1);
/// Between two beats of the renewing child.
const BEAT: Duration = Duration::from_millis(100);
/// The longest sleep.
const IDLE: Duration = SECOND;
const SECRET: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A set that a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    pub md: usize,
    pub at: Timestamp,
    pub node: usize,
}

pub struct World {
    pub stage: Stage,
    pub memory: Arc<Memory>,
    pub ca: Arc<FakeCa>,
    pub nodes: Vec<SimNode>,
    pub served: Arc<Mutex<Vec<Served>>>,
    /// The folders of challenges that the CA may be sent to.
    folders: Arc<Mutex<Vec<PathBuf>>>,
    rousers: Arc<Mutex<Vec<Rouser>>>,
    /// How long after its start a node first looks at its MDs.
    pub first_look: Duration,
    /// The requests to CAs: the node, and the URL.
    pub asked: Arc<Mutex<Vec<(usize, String)>>>,
}

pub struct SimNode {
    pub targets: Arc<[Managed]>,
    pub node: Arc<Node>,
    pub engine: Arc<Counting>,
    /// For what goes wrong for this node alone.
    pub handle: Arc<Handle>,
    /// Of the two threads that look. With one for both, one would wait for the lock of a CA that the other has while
    /// it sleeps.
    contexts: [Arc<Context>; 2],
    pub member: Arc<Member>,
    pub stop: StopFlag,
    looks: Arc<Looks>,
    /// Of the store.
    _dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        let stage = Stage::at(BEGIN);
        let memory = Memory::new(stage.clock(&StopFlag::default()));
        memory.faults(|faults| faults.slow = ENGINE_TIME);
        let ca = FakeCa::new("ca.test", stage.clock(&StopFlag::default()));
        let folders: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
        let sent_to = folders.clone();
        // The balancer may send the CA to any node.
        ca.rules(|rules| {
            rules.validate = Arc::new(move |asked| {
                for folder in sent_to.lock().unwrap().iter() {
                    let file = folder.join(asked.name).join(http01::FILE_NAME);
                    match std::fs::read_to_string(&file) {
                        Ok(content) if content == asked.key_authorization => {}
                        Ok(other) => return Err(problem("incorrectResponse", &other)),
                        Err(error) => {
                            return Err(problem("connection", &format!("{}: {error}", file.display())));
                        }
                    }
                }
                Ok(())
            });
        });
        let (nodes, served, rousers, first_look, asked) = Default::default();
        World { stage, memory, ca, nodes, served, folders, rousers, first_look, asked }
    }

    pub fn orders(&self) -> usize {
        self.ca.count(Endpoint::NewOrder)
    }

    pub fn served(&self) -> Vec<Served> {
        self.served.lock().unwrap().clone()
    }

    /// Lets time pass until this many sets were put into use; each node counts its own.
    pub fn wait_served(&self, count: usize, most: Duration) {
        let is_over = self.stage.wait(most, || (self.served.lock().unwrap().len() >= count).then_some(()));
        assert!(is_over.is_some(), "{} of {count} are served", self.served().len());
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.stage.pass(time);
    }

    pub fn md(&self, name: &str) -> Managed {
        let ca = Ca {
            urls: vec![self.ca.directory_url()],
            agreement: Some("accepted".into()),
            // Of RSA it would be most of what a simulation computes, and no decision depends on it.
            account_key: Some(KeySpec::Ec("P-256".into())),
            ..Ca::default()
        };
        let md = Md {
            name: name.into(),
            domains: vec![name.into()],
            contacts: vec!["mailto:admin@a.test".into()],
            ca,
            key_specs: vec![KeySpec::Ec("P-256".into())],
            ..Md::default()
        };
        let certs = md.keys().into_iter().map(|spec| (spec, None)).collect::<Vec<_>>().into();
        let md = Managed { md, certs, in_use: true, watched: true, ..Managed::default() };
        md.live.attach();
        md
    }

    /// A node with a store that has nothing yet.
    pub fn add(&mut self, mds: Vec<Managed>) -> &SimNode {
        let index = self.nodes.len();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("md");
        let start = StartStore::open(&path, None).unwrap().unsynced();
        start.make_fleet_folder().unwrap();
        let store = start.worker();
        self.folders.lock().unwrap().push(path.join("challenges"));
        let targets: Arc<[Managed]> = mds.into();
        let stop = StopFlag::default();
        let clock = self.stage.clock(&stop);
        let handle = self.memory.handle_until("p", stop.clone());
        let rousers = self.rousers.clone();
        let rouse = move || rousers.lock().unwrap().iter().for_each(Rouser::rouse);
        let engine = Arc::new(Counting::new(handle.clone(), Arc::new(rouse)));
        let local = StoredLocal::new(store.clone(), targets.clone(), 1, Arc::default(), CpuLimit::default());
        let of = |md: &Managed| NodeMd {
            name: md.md.name.clone(),
            domains: md.md.domains.clone(),
            terms: md.md.key_specs.iter().map(|spec| format!("{spec:?}")).collect(),
            asks: true,
        };
        let node = Arc::new(Node::new(Setup {
            engine: engine.clone(),
            local: Arc::new(local),
            clock: clock.clone(),
            secrets: Secrets::new(Secret::parse(SECRET).unwrap(), None),
            prefix: "p".into(),
            name: format!("web{index}"),
            version: "3".into(),
            mds: targets.iter().map(of).collect(),
        }));
        let member = Arc::new(Member::new(node.clone()));
        let context = || {
            let (ca, clock, asked) = (self.ca.clone(), clock.clone(), self.asked.clone());
            let transport = Arc::new(Slow { ca, clock: clock.clone(), node: index, asked });
            let cas = CaPool::new(Box::new(move |_| Ok(transport.clone() as Arc<dyn Transport>)));
            let workers = Serving {
                stage: self.stage.clone(),
                targets: targets.clone(),
                node: index,
                served: self.served.clone(),
            };
            let context = Context::new(targets.clone(), store.clone(), settings(), cas, clock, || 0.5)
                .with_peers(member.clone())
                .with_live_activation(Arc::new(workers), Duration::ZERO);
            Arc::new(context)
        };
        let contexts = [context(), context()];
        let looks = Arc::new(Looks::new(targets.len(), self.stage.now().plus(self.first_look)));
        self.nodes.push(SimNode { targets, node, engine, handle, contexts, member, stop, looks, _dir: dir });
        self.start(index);
        &self.nodes[index]
    }

    /// Starts the threads of a node.
    fn start(&self, index: usize) {
        let SimNode { node, engine, contexts: [renewing, context], member, stop, looks, .. } =
            &self.nodes[index];
        let mut replicator = Replicator::new(node.clone(), Box::new(Inline::new(engine.clone())));
        let (stage, known, flag, work) = (self.stage.clone(), node.clone(), stop.clone(), looks.clone());
        let replicate = move || {
            while !flag.is_raised() {
                let until = replicator.step();
                while !flag.is_raised() && !known.take_wake() {
                    let left = until.saturating_sub(known.boot());
                    if left.is_zero() {
                        break;
                    }
                    let slice = if work.is_at_work() { BEAT } else { left };
                    let before = known.boot();
                    stage.sleep(left.min(slice));
                    if known.boot() < before + left.min(slice) {
                        break; // roused
                    }
                }
            }
            replicator.stop(false);
        };
        self.rousers.lock().unwrap().push(self.stage.spawn(&format!("replicator {index}"), replicate).1);

        let (stage, flag, work, renewing) =
            (self.stage.clone(), stop.clone(), looks.clone(), renewing.clone());
        let renew = move || {
            while !flag.is_raised() {
                match work.take_due(stage.now()) {
                    Ok(index) => work.done(index, check::run(&renewing, index)),
                    Err(next) => stage.sleep(next.since(stage.now()).clamp(BEAT, IDLE)),
                }
            }
        };
        let (_, rouser) = self.stage.spawn(&format!("renewals {index}"), renew);
        looks.renews.set(rouser).ok().unwrap();

        let (stage, flag, work) = (self.stage.clone(), stop.clone(), looks.clone());
        let (context, member, known) = (context.clone(), member.clone(), node.clone());
        let clock = self.stage.clock(stop);
        let bring_in = move || {
            let mut news: BTreeSet<usize> = BTreeSet::new();
            while !flag.is_raised() {
                let index_of =
                    |name: String| context.targets.iter().position(|target| target.md.name == name);
                news.extend(member.take_news().into_iter().filter_map(index_of));
                // One that is looked at is tried again by the next beat.
                news.retain(|index| {
                    let is_pending = known.state().pending.contains_key(&context.targets[*index].md.name);
                    if !is_pending {
                        work.hasten(*index, stage.now());
                        return false;
                    }
                    let is_taken = work.take(*index);
                    if is_taken {
                        work.done(*index, check::run(&context, *index));
                    }
                    !is_taken
                });
                if news.is_empty() {
                    stage.sleep(IDLE);
                }
                // News came: the next beat sees them.
                let _ = clock.sleep(BEAT);
            }
        };
        self.rousers.lock().unwrap().push(self.stage.spawn(&format!("news {index}"), bring_in).1);
    }

    /// A node dies, and the balancer sends nobody to it any more.
    pub fn kill(&self, index: usize) {
        self.stage.freeze(|name| name.ends_with(&format!(" {index}")));
        self.folders.lock().unwrap().remove(index);
    }

    /// The certificate that a node serves.
    pub fn leaf(&self, node: usize, md: usize) -> Option<CertInfo> {
        let live = self.nodes[node].targets[md].live.load();
        Some(live.as_ref().as_ref()?.certs.all().next()?.clone())
    }

    /// Ends all nodes.
    pub fn end(self) {
        assert_eq!(self.ca.take_violations(), [""; 0]);
        self.nodes.iter().for_each(|node| node.stop.raise());
        self.stage.end();
    }
}

fn settings() -> Settings {
    Settings {
        retry: Retry { delay: Duration::from_secs(5), failover: 13 },
        check_interval: Duration::from_secs(43_200),
        initial_delay: Duration::ZERO,
        dns_zones: Vec::new(),
        parallel: 16,
        reachable_by_http: true,
        reachable_by_https: true,
        commands: Commands::default(),
    }
}

/// When to look at each MD, and which looks are under way.
struct Looks {
    looks: Mutex<Vec<Look>>,
    /// The thread that renews.
    renews: OnceLock<Rouser>,
}

#[derive(Clone, Copy)]
struct Look {
    due: Option<Timestamp>,
    is_under_way: bool,
}

impl Looks {
    fn new(count: usize, now: Timestamp) -> Self {
        let looks = Mutex::new(vec![Look { due: Some(now), is_under_way: false }; count]);
        Looks { looks, renews: OnceLock::new() }
    }

    fn is_at_work(&self) -> bool {
        self.looks.lock().unwrap().iter().any(|look| look.is_under_way)
    }

    /// The MD whose look is due. `Err`: when the next one is.
    fn take_due(&self, now: Timestamp) -> Result<usize, Timestamp> {
        let mut looks = self.looks.lock().unwrap();
        let due = looks.iter_mut().enumerate().filter(|(_, look)| !look.is_under_way);
        let due = due.filter_map(|(index, look)| Some((look.due?, index, look)));
        match due.min_by_key(|(due, index, _)| (*due, *index)) {
            Some((due, index, look)) if due <= now => {
                (look.is_under_way, look.due) = (true, None);
                Ok(index)
            }
            Some((due, ..)) => Err(due),
            None => Err(now.plus(IDLE)),
        }
    }

    fn take(&self, index: usize) -> bool {
        let look = &mut self.looks.lock().unwrap()[index];
        !std::mem::replace(&mut look.is_under_way, true)
    }

    fn hasten(&self, index: usize, now: Timestamp) {
        self.looks.lock().unwrap()[index].due = Some(now);
        self.renews.get().unwrap().rouse();
    }

    fn done(&self, index: usize, next: Next) {
        let look = &mut self.looks.lock().unwrap()[index];
        look.is_under_way = false;
        if let Next::At(at) = next {
            look.due = Some(look.due.map_or(at, |due| due.min(at)));
        }
    }
}

/// The CA is some way off.
struct Slow {
    ca: Arc<FakeCa>,
    clock: Arc<StageClock>,
    node: usize,
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Transport for Slow {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        self.asked.lock().unwrap().push((self.node, request.url.to_string()));
        self.clock.sleep(CA_TIME).map_err(|_| http::Error::Timeout)?;
        self.ca.send(request)
    }
}

/// The processes that serve.
struct Serving {
    stage: Stage,
    targets: Arc<[Managed]>,
    node: usize,
    served: Arc<Mutex<Vec<Served>>>,
}

impl Workers for Serving {
    fn publish(&self, index: usize, set: LiveSet) {
        self.targets[index].live.store(set);
        let served = Served { md: index, at: self.stage.now(), node: self.node };
        self.served.lock().unwrap().push(served);
    }

    fn have_staples(&self, _: usize, _: &[CertInfo]) -> bool {
        true
    }
}
