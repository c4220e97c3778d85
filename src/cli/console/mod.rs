// SPDX-License-Identifier: Apache-2.0
//! What a call has of its user: the options common to all commands, the terminal, questions and warnings.
//! Knows no store. Imports run from [`confirm`] and [`warnings`] to [`call`], and from there to [`terminal`].

pub mod call;
pub mod confirm;
pub mod space;
pub mod terminal;
pub mod warnings;
