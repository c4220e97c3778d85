// SPDX-License-Identifier: Apache-2.0
//! The keys of the engine, relative to the prefix: `v1/set/NAME` and so on. Names stand in them as the store
//! encodes them. Pure.

/// What an entry of the engine is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Meta,
    /// Of an MD.
    Lock(String),
    Job(String),
    Set(String),
    Withdrawn(String),
    /// Of the CA and external account: 64 hexadecimal digits of SHA-256.
    Account(String),
    AccountLock(String),
    Challenge {
        type_: String,
        dns_name: String,
        /// 64 hexadecimal digits: SHA-256 of the answer's token, for TXT records of the value.
        hash: String,
    },
    /// Of a CA, by the same digits as its accounts without an external one; of one MD or of all.
    Hold {
        ca: String,
        md: Option<String>,
    },
    /// Of an OCSP response: MD and file name.
    Ocsp {
        md: String,
        file: String,
    },
    /// By the id of the node.
    Node(String),
}
