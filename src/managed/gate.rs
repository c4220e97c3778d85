// SPDX-License-Identifier: Apache-2.0
//! The one gate that every bundle passes before it replaces another one, at a restart and live: whether TLS
//! servers accept it. Refuses keys of another kind than their file names say, and bundles that OpenSSL or a
//! host refuses. Does not ask whether a bundle fits the configuration (`Bundle::fits`), nor whether it has
//! ended a start (`startup::ended_starts`). Imports `bundle`.

use super::bundle::{Bundle, Flaw};
use super::staging::file::CHAIN_STEM;
use crate::model::KeySpec;
use crate::model::Trial;
use crate::model::key_spec::RSA_BITS_DEFAULT;
use crate::store::{Rights, Store};
use std::ops::Deref;

/// Sets that may be put into use.
pub struct Admitted(Vec<Bundle>);

impl Admitted {
    pub fn into_sets(self) -> Vec<Bundle> {
        self.0
    }

    /// For tests of the steps after the gate.
    #[cfg(test)]
    pub fn untried(sets: Vec<Bundle>) -> Self {
        Admitted(sets)
    }
}

impl Deref for Admitted {
    type Target = [Bundle];

    fn deref(&self) -> &[Bundle] {
        &self.0
    }
}

/// Lets sets pass whose chains are in the folder of `name` in `group`. The trial by the hosts that will serve
/// them outweighs the settings of this machine, which hosts may loosen and tighten.
pub fn admit<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    name: &str,
    sets: Vec<Bundle>,
    trial: Option<&Trial>,
) -> Result<Admitted, Flaw> {
    for set in &sets {
        let label = || set.spec.label().to_string();
        if !set.key.is_of(&set.spec) {
            return Err(Flaw::Kind(label()));
        }
        match trial {
            Some(Trial::Accepted) => {}
            Some(Trial::Refused(reason)) => return Err(Flaw::RefusedByHosts(reason.clone())),
            None => {
                if let Some(KeySpec::Rsa(bits)) = set.chain.leaf().key_spec()
                    && bits < RSA_BITS_DEFAULT
                {
                    let reason =
                        format!("an RSA key of {bits} bits is too short, {RSA_BITS_DEFAULT} are needed");
                    return Err(Flaw::Refused(label(), reason));
                }
                set.try_out(&store.path(group, name, &set.spec.file_name(CHAIN_STEM))?)?;
            }
        }
    }
    Ok(Admitted(sets))
}
