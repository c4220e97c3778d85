// SPDX-License-Identifier: Apache-2.0
//! The growth of waits after consecutive failures, for renewals and OCSP requests alike. Pure functions;
//! callers pass in randomness as a number.

use std::time::Duration;

/// The wait after a number of `failures` in a row: `base` doubled with each after the first, at most
/// `longest`.
pub fn delay(failures: u32, base: Duration, longest: Duration) -> Duration {
    base.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// `delay` ± 50 %, so that servers do not contact a CA all at once. `random` is in 0..1.
pub fn spread(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.5 + random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_each_failure_up_to_the_longest() {
        let (base, longest) = (Duration::from_secs(30), Duration::from_secs(3600));
        let waits = [0, 1, 2, 3, 7, 8, u32::MAX].map(|failures| delay(failures, base, longest).as_secs());
        assert_eq!(waits, [30, 30, 60, 120, 1920, 3600, 3600]);
        assert_eq!(
            [-1.0, 0.0, 0.5, 1.0, 2.0].map(|random| spread(base, random).as_secs()),
            [15, 15, 30, 45, 45]
        );
    }
}
