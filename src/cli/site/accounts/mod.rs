// SPDX-License-Identifier: Apache-2.0
//! The accounts of the store as commands see them: [`known`] finds them, [`keys`] opens them at their CAs.

pub mod keys;
pub mod known;
