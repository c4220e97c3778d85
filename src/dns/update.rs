// SPDX-License-Identifier: Apache-2.0
//! Dynamic updates (RFC 2136) of TXT records, signed with TSIG. Adds and deletes one value and leaves whatever
//! else is at the name. Says what the admin has to change where the server refuses. Imports all of this room
//! but `resolve`.

use super::{
    Class, Data, Dns, Error, Message, Name, Opcode, OptRcode, Question, Record, Rtype, TsigKey, tsig,
};
use crate::crypto;
use crate::time::Timestamp;
use std::net::SocketAddr;

/// The change of one TXT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add {
        /// Seconds.
        ttl: u32,
    },
    Delete,
}

/// One value at one name of a zone.
#[derive(Clone, Debug)]
pub struct Update {
    pub server: SocketAddr,
    pub zone: Name,
    pub name: Name,
    pub value: Vec<u8>,
    pub change: Change,
}

/// Why the record is not (known to be) changed.
#[derive(Debug, thiserror::Error)]
#[error("{}. {}", self.cause(), self.advice())]
pub struct Failed {
    pub update: Box<Update>,
    pub key: Name,
    pub reason: Reason,
}

#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("{0}")]
    Exchange(Error),
    #[error("{0}")]
    Tsig(tsig::Error),
    #[error("the server answered {0}")]
    Refused(OptRcode),
    #[error("the server answered another request")]
    OtherRequest,
}

impl Reason {
    /// The server says that it has changed nothing: an update is done as a whole or not at all (RFC 2136 §3.7).
    pub fn is_refusal(&self) -> bool {
        match self {
            Reason::Refused(rcode) | Reason::Tsig(tsig::Error::Unsigned(rcode)) => {
                matches!(*rcode, OptRcode::REFUSED | OptRcode::NOTAUTH | OptRcode::NOTZONE | OptRcode::NOTIMP)
            }
            Reason::Tsig(error) => {
                matches!(error, tsig::Error::BadKey | tsig::Error::BadSig | tsig::Error::BadTime(_))
            }
            Reason::Exchange(_) | Reason::OtherRequest => false,
        }
    }
}

impl Update {
    /// Has the server do it. Success is what the server signed.
    pub fn send(&self, dns: &dyn Dns, key: &TsigKey, now: Timestamp) -> Result<(), Failed> {
        let failed = |reason| Failed { update: Box::new(self.clone()), key: key.name.clone(), reason };
        self.exchange(dns, key, now).map_err(failed)
    }

    fn exchange(&self, dns: &dyn Dns, key: &TsigKey, now: Timestamp) -> Result<(), Reason> {
        let id = crypto::random().map_err(|error| Reason::Tsig(error.into()))?;
        let request = self.message(u16::from_be_bytes(id));
        let bytes = request.to_bytes().map_err(|error| Reason::Tsig(error.into()))?;
        let signed = tsig::sign(key, bytes, now).map_err(Reason::Tsig)?;
        let answer = dns.exchange(self.server, &signed.bytes).map_err(Reason::Exchange)?;
        let answer = tsig::verify(key, &signed, &answer, now).map_err(Reason::Tsig)?;
        if answer.id != request.id || !answer.flags.qr || answer.opcode != Opcode::UPDATE {
            return Err(Reason::OtherRequest);
        }
        match answer.rcode {
            OptRcode::NOERROR => Ok(()),
            rcode => Err(Reason::Refused(rcode)),
        }
    }

    pub(super) fn message(&self, id: u16) -> Message {
        let mut message = Message::request(id, Opcode::UPDATE);
        message.questions.push(Question::new(self.zone.clone(), Rtype::SOA));
        let (class, ttl) = match self.change {
            Change::Add { ttl } => (Class::IN, ttl),
            Change::Delete => (Class::NONE, 0),
        };
        let data = Data::Txt(self.value.clone());
        message.authority.push(Record { name: self.name.clone(), class, ttl, data });
        message
    }

    fn words(&self) -> String {
        let verb = match self.change {
            Change::Add { .. } => "add",
            Change::Delete => "delete",
        };
        format!("{verb} the TXT record of {}", self.name)
    }
}

impl Failed {
    /// The failure and its reason.
    pub fn cause(&self) -> String {
        let Failed { update, reason, .. } = self;
        let (words, Update { zone, server, .. }) = (update.words(), &**update);
        format!("cannot {words} in the zone {zone} at {server}: {reason}")
    }

    /// The remedy.
    pub fn advice(&self) -> String {
        let (Update { server, zone, name, .. }, key) = (&*self.update, &self.key);
        match &self.reason {
            Reason::Exchange(Error::Stopped) => "The next process tries again.".into(),
            Reason::Exchange(_) | Reason::OtherRequest | Reason::Tsig(tsig::Error::Malformed(_)) => {
                format!(
                    "Check that {server} is the primary server of {zone} and answers this machine by TCP."
                )
            }
            Reason::Refused(rcode) | Reason::Tsig(tsig::Error::Unsigned(rcode)) => self.advice_on(*rcode),
            // Knot says BADKEY of a key that it knows as well, where no rule allows it to do this.
            Reason::Tsig(tsig::Error::BadKey | tsig::Error::OtherKey) => {
                format!(
                    "Add the key '{key}' with the algorithm of the key file to that server, and allow it to \
                     change TXT records of {name} there."
                )
            }
            Reason::Tsig(tsig::Error::BadTime(_) | tsig::Error::Stale(_)) => {
                "Set the clocks of both machines, best by NTP.".into()
            }
            Reason::Tsig(tsig::Error::Crypto(_)) => crypto::ADVICE.into(),
            Reason::Tsig(_) => {
                format!(
                    "Make name, algorithm and secret of the key '{key}' the same here and on that server."
                )
            }
        }
    }

    fn advice_on(&self, rcode: OptRcode) -> String {
        let (Update { server, zone, name, .. }, key) = (&*self.update, &self.key);
        match rcode {
            OptRcode::REFUSED => format!(
                "Allow the key '{key}' to change TXT records of {name} there (update-policy in BIND, acl in \
                 Knot)."
            ),
            OptRcode::NOTAUTH => format!(
                "Name the primary server of {zone}, or the zone that {server} has with zone=, and allow the key \
                 '{key}' there."
            ),
            OptRcode::NOTZONE => format!("Name the zone that {name} is in with zone=."),
            OptRcode::NOERROR => {
                format!(
                    "Another server may have answered in its place: check the route to {server} and its key \
                     '{key}'."
                )
            }
            OptRcode::SERVFAIL => {
                "See the log of that server; often it cannot write the zone's file or journal.".into()
            }
            OptRcode::FORMERR | OptRcode::NOTIMP => {
                format!("Name a server that takes dynamic updates (RFC 2136): {server} does not.")
            }
            _ => "See the log of that server.".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Algorithm, Recursion};

    /// A server without TSIG.
    struct Plain(OptRcode);

    impl Dns for Plain {
        fn ask(&self, _: SocketAddr, _: &Question, _: Recursion) -> Result<Message, Error> {
            unreachable!("nothing is looked up")
        }

        fn exchange(&self, server: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Error> {
            let malformed = |reason| Error::Malformed { server, reason };
            let request = Message::parse(request).map_err(malformed)?;
            Message::response(&request, self.0).to_bytes().map_err(malformed)
        }
    }

    fn update() -> Update {
        let name = |text| Name::parse(text).unwrap();
        Update {
            server: ([192, 0, 2, 1], 53).into(),
            zone: name("a.test"),
            name: name("_acme-challenge.a.test"),
            value: b"value".to_vec(),
            change: Change::Delete,
        }
    }

    #[test]
    fn an_update_changes_one_value_only() {
        for (change, class, ttl) in
            [(Change::Add { ttl: 60 }, Class::IN, 60), (Change::Delete, Class::NONE, 0)]
        {
            let message = Update { change, ..update() }.message(7);
            let [record] = &message.authority[..] else { panic!("{message:?}") };
            assert_eq!((record.class, record.ttl, &record.data), (class, ttl, &Data::Txt(b"value".to_vec())));
            assert_eq!(message.questions, [Question::new(Name::parse("a.test").unwrap(), Rtype::SOA)]);
            assert!(message.opcode == Opcode::UPDATE && !message.flags.rd && message.answers.is_empty());
        }
    }

    #[test]
    fn errors_name_server_zone_record_and_what_to_do() {
        let key =
            TsigKey::new(Name::parse("acme").unwrap(), Algorithm::parse("hmac-sha256").unwrap(), vec![1; 32]);
        let what =
            "cannot delete the TXT record of _acme-challenge.a.test in the zone a.test at 192.0.2.1:53: ";
        for (rcode, rest) in [
            (
                OptRcode::NOERROR,
                "the answer (NOERROR) is not signed. Another server may have answered in its place: check the \
                 route to 192.0.2.1:53 and its key 'acme'.",
            ),
            (
                OptRcode::REFUSED,
                "the answer (REFUSED) is not signed. Allow the key 'acme' to change TXT records of \
                 _acme-challenge.a.test there (update-policy in BIND, acl in Knot).",
            ),
            (
                OptRcode::NOTIMP,
                "the answer (NOTIMP) is not signed. Name a server that takes dynamic updates (RFC 2136): \
                 192.0.2.1:53 does not.",
            ),
        ] {
            let error = update().send(&Plain(rcode), &key, Timestamp::from_unix(1_800_000_000)).unwrap_err();
            assert_eq!(error.to_string(), format!("{what}{rest}"));
        }
    }
}
