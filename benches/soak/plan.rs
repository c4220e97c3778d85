// SPDX-License-Identifier: Apache-2.0
//! What happens when: faults in rounds, each round in another order that the seed chooses, with a quiet phase before
//! each of them.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Restart,
    /// Three graceful restarts in a row.
    Burst,
    /// `kill -9` of one child.
    KilledChild,
    /// The CA takes connections and does not answer.
    CaHangs,
    /// Nobody listens where the CA is.
    CaRefuses,
    /// The engine of the fleet takes connections and does not answer.
    EngineHangs,
    /// The engine of the fleet is killed, and started on its data later.
    EngineDies,
    DiskFull,
    /// The wall clock of one httpd is ahead, and then right.
    ClockAhead,
}

/// One round. Restarts and killed children are more frequent than others.
pub const ROUND: [Fault; 11] = [
    Fault::Restart,
    Fault::KilledChild,
    Fault::CaHangs,
    Fault::DiskFull,
    Fault::Restart,
    Fault::EngineHangs,
    Fault::KilledChild,
    Fault::CaRefuses,
    Fault::ClockAhead,
    Fault::Burst,
    Fault::EngineDies,
];

/// One in which nobody but the machine ends a child: they are as old as the run.
pub const CALM: [Fault; 6] = [
    Fault::CaHangs,
    Fault::DiskFull,
    Fault::EngineHangs,
    Fault::CaRefuses,
    Fault::ClockAhead,
    Fault::EngineDies,
];

/// Each of them once.
pub const EACH: [Fault; 9] = [
    Fault::Restart,
    Fault::KilledChild,
    Fault::CaHangs,
    Fault::DiskFull,
    Fault::EngineHangs,
    Fault::CaRefuses,
    Fault::ClockAhead,
    Fault::Burst,
    Fault::EngineDies,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Restart => "graceful restart",
            Fault::Burst => "three graceful restarts",
            Fault::KilledChild => "child killed",
            Fault::CaHangs => "CA hangs",
            Fault::CaRefuses => "CA refuses connections",
            Fault::EngineHangs => "engine hangs",
            Fault::EngineDies => "engine killed, restarted",
            Fault::DiskFull => "disk full",
            Fault::ClockAhead => "clock ahead, then back",
        }
    }

    /// Whether new children take the place of others.
    pub fn ends_children(self) -> bool {
        matches!(self, Fault::Restart | Fault::Burst | Fault::KilledChild)
    }

    /// Whether it stops renewals while it lasts.
    pub fn stops_renewals(self) -> bool {
        matches!(
            self,
            Fault::CaHangs
                | Fault::CaRefuses
                | Fault::EngineHangs
                | Fault::EngineDies
                | Fault::DiskFull
                | Fault::ClockAhead
        )
    }

    fn lasts(self, pace: &Pace) -> Duration {
        match self {
            Fault::Restart | Fault::KilledChild => Duration::ZERO,
            Fault::Burst => pace.between_restarts * 2,
            _ => pace.outage,
        }
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub outage: Duration,
    /// Before each fault.
    pub quiet: Duration,
    /// In a burst.
    pub between_restarts: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Since the begin.
    pub at: Duration,
    pub fault: Fault,
    pub lasts: Duration,
    /// Chooses among httpds and children.
    pub pick: u64,
}

/// Everything that ends, and is followed by a quiet phase, within `total`.
pub fn schedule(seed: u64, round: &[Fault], pace: &Pace, total: Duration) -> Vec<Turn> {
    let (mut random, mut turns, mut at) = (Random(seed), Vec::new(), pace.quiet);
    loop {
        let mut left = round.to_vec();
        while !left.is_empty() {
            let fault = left.remove(random.below(left.len()));
            let lasts = fault.lasts(pace);
            if at + lasts + pace.quiet > total {
                return turns;
            }
            turns.push(Turn { at, fault, lasts, pick: random.next() });
            at += lasts + pace.quiet;
        }
        if round.is_empty() {
            return turns;
        }
    }
}

/// What one round takes, with the quiet phase after it.
pub fn length(round: &[Fault], pace: &Pace) -> Duration {
    round.iter().map(|fault| fault.lasts(pace) + pace.quiet).sum::<Duration>() + pace.quiet
}

/// SplitMix64: the same numbers from the same seed, on every machine.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }
}
