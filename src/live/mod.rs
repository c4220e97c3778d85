// SPDX-License-Identifier: Apache-2.0
//! Between children: which process serves which set of certificates.

pub mod roster;
