// SPDX-License-Identifier: Apache-2.0
//! CAA records (RFC 8659): which CAs may issue for a name, for which account and by which methods (RFC 8657).
//! Reads the bytes of records, which anybody may have written, finds the set that counts for a name, and
//! decides by it. Refuses nothing: what cannot be read forbids, as it does for CAs. Imports `resolve` and
//! `wire` of this room.

use super::{Data, Error, Message, Name, OptRcode, Resolver, Rtype};

/// RFC 8659 §4.1: a CA that does not know the tag of such a record must not issue.
const CRITICAL: u8 = 0x80;

/// Names above a name that are asked: a name has 127 labels at most.
const CLIMBS_MAX: usize = 127;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    pub is_critical: bool,
    /// In lower case.
    pub tag: String,
    pub value: String,
}

/// The records that count for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relevant {
    /// The name that has them: the one that was asked for, or the nearest above.
    pub at: Name,
    pub records: Vec<Caa>,
}

/// The CA, the account and the challenge types with which a certificate is requested.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    /// The names of the CA, any of which a record may have.
    pub identities: &'a [String],
    /// The URL of the account. `None`: there is none yet.
    pub account: Option<&'a str>,
    /// The challenge types by which the name can be validated.
    pub methods: &'a [&'a str],
    pub is_wildcard: bool,
}

/// What the records say to an applicant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    Allowed,
    /// No record names this CA. Those that are named.
    OtherCas(Vec<String>),
    /// Those of this CA name other accounts.
    OtherAccounts(Vec<String>),
    /// Those of this CA and account name other methods.
    OtherMethods(Vec<String>),
    /// CAs do not know this tag, and must not issue.
    Unknown(String),
}

/// The content of `issue` or `issuewild` (RFC 8659 §4.2).
struct Issue {
    /// Empty: nobody may issue.
    ca: String,
    parameters: Vec<(String, String)>,
    /// Its parameters cannot be read: no CA may issue by it.
    is_damaged: bool,
}

impl Caa {
    /// Reads the data of a record (RFC 8659 §4.1.1). `None`: it has another form.
    pub fn parse(data: &[u8]) -> Option<Caa> {
        let (flags, rest) = data.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (tag, value) = rest.split_at_checked(usize::from(*length))?;
        if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let tag = String::from_utf8_lossy(tag).to_ascii_lowercase();
        let value = String::from_utf8_lossy(value).into_owned();
        Some(Caa { is_critical: flags & CRITICAL != 0, tag, value })
    }

    fn issue(&self) -> Issue {
        let mut parts = self.value.split(';').map(str::trim);
        let ca = parts.next().unwrap_or_default();
        let ca = ca.strip_suffix('.').unwrap_or(ca).to_ascii_lowercase();
        let mut issue = Issue { ca, parameters: Vec::new(), is_damaged: false };
        for part in parts.filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((tag, value)) => {
                    issue.parameters.push((tag.trim().to_ascii_lowercase(), value.trim().to_string()));
                }
                None => issue.is_damaged = true,
            }
        }
        issue
    }
}

impl Issue {
    fn values<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(known, _)| known == tag).map(|(_, value)| value.as_str())
    }

    fn is_for(&self, identities: &[String]) -> bool {
        !self.is_damaged && identities.iter().any(|known| known.eq_ignore_ascii_case(&self.ca))
    }

    /// RFC 8657 §3. One account is enough; a CA may refuse several parameters.
    fn allows_account(&self, account: Option<&str>) -> bool {
        let mut named = self.values("accounturi").peekable();
        named.peek().is_none() || named.any(|uri| Some(uri) == account)
    }

    /// RFC 8657 §4.
    fn methods(&self) -> Option<Vec<String>> {
        let lists: Vec<&str> = self.values("validationmethods").collect();
        let method = |text: &str| text.trim().to_ascii_lowercase();
        (!lists.is_empty()).then(|| lists.iter().flat_map(|list| list.split(',').map(method)).collect())
    }

    fn allows_method(&self, methods: &[&str]) -> bool {
        self.methods().is_none_or(|allowed| {
            methods.iter().any(|method| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(method)))
        })
    }
}

/// Decides as a CA does (RFC 8659 §4).
pub fn rule(records: &[Caa], applicant: &Applicant<'_>) -> Ruling {
    let is_known = |tag: &str| {
        matches!(
            tag,
            "issue" | "issuewild" | "iodef" | "issuemail" | "issuevmc" | "contactemail" | "contactphone"
        )
    };
    if let Some(unknown) = records.iter().find(|record| record.is_critical && !is_known(&record.tag)) {
        return Ruling::Unknown(unknown.tag.clone());
    }
    let with = |tag: &str| -> Vec<Issue> {
        records.iter().filter(|record| record.tag == tag).map(Caa::issue).collect()
    };
    // RFC 8659 §4.3: where there is an issuewild, a wildcard does not depend on issue.
    let wild = if applicant.is_wildcard { with("issuewild") } else { Vec::new() };
    let issues = if wild.is_empty() { with("issue") } else { wild };
    if issues.is_empty() {
        return Ruling::Allowed;
    }
    let of_ca: Vec<&Issue> = issues.iter().filter(|issue| issue.is_for(applicant.identities)).collect();
    if of_ca.is_empty() {
        return Ruling::OtherCas(
            issues.iter().map(|issue| issue.ca.clone()).filter(|ca| !ca.is_empty()).collect(),
        );
    }
    let of_account: Vec<&&Issue> =
        of_ca.iter().filter(|issue| issue.allows_account(applicant.account)).collect();
    if of_account.is_empty() {
        let accounts = of_ca.iter().flat_map(|issue| issue.values("accounturi"));
        return Ruling::OtherAccounts(accounts.map(String::from).collect());
    }
    if of_account.iter().any(|issue| issue.allows_method(applicant.methods)) {
        return Ruling::Allowed;
    }
    Ruling::OtherMethods(of_account.iter().filter_map(|issue| issue.methods()).flatten().collect())
}

/// Climbs from `name` to the first name that has CAA records (RFC 8659 §3); aliases of each are followed by
/// the resolver. `None`: none has any, and every CA may issue.
pub fn find(resolver: &Resolver<'_>, name: &Name) -> Result<Option<Relevant>, Error> {
    let mut here = Some(name.clone());
    for _ in 0..CLIMBS_MAX {
        let Some(at) = here.filter(|name| !name.is_root()) else { break };
        let records = records(&resolver.ask(&at, Rtype::CAA)?);
        if !records.is_empty() {
            return Ok(Some(Relevant { at, records }));
        }
        here = at.parent();
    }
    Ok(None)
}

/// One that cannot be read is a critical one with no tag.
fn records(answer: &Message) -> Vec<Caa> {
    let data = answer.answers.iter().filter_map(|record| match &record.data {
        Data::Other(Rtype::CAA, data) => Some(data),
        _ => None,
    });
    let damaged = || Caa { is_critical: true, tag: String::new(), value: String::new() };
    if answer.rcode != OptRcode::NOERROR {
        return Vec::new();
    }
    data.map(|data| Caa::parse(data).unwrap_or_else(damaged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caa(text: &str) -> Caa {
        let (flags, rest) = text.split_once(' ').unwrap();
        let (tag, value) = rest.split_once(' ').unwrap_or((rest, ""));
        Caa { is_critical: flags == "128", tag: tag.to_string(), value: value.to_string() }
    }

    /// Each row: records, whether a wildcard is asked for, and what becomes of `ca.test`, account `u:1`, http-01.
    #[test]
    fn a_ca_is_allowed_or_not_as_the_rfcs_have_it() {
        let other = |names: &[&str]| Ruling::OtherCas(names.iter().map(ToString::to_string).collect());
        let accounts =
            |names: &[&str]| Ruling::OtherAccounts(names.iter().map(ToString::to_string).collect());
        let methods = |names: &[&str]| Ruling::OtherMethods(names.iter().map(ToString::to_string).collect());
        let unknown = |tag: &str| Ruling::Unknown(tag.to_string());
        let table: &[(&[&str], bool, Ruling)] = &[
            (&[], false, Ruling::Allowed),
            (&["0 issue ca.test"], false, Ruling::Allowed),
            (&["0 issue  CA.Test. "], true, Ruling::Allowed),
            (&["0 issue other.test", "0 issue ca.test; x=y"], false, Ruling::Allowed),
            (&["0 issue other.test"], false, other(&["other.test"])),
            (&["0 issue ;"], false, other(&[])),
            (&["0 issue"], false, other(&[])),
            (&["0 issue ca.test.evil.test"], false, other(&["ca.test.evil.test"])),
            (&["0 issue ca.test; nonsense"], false, other(&["ca.test"])),
            (&["0 iodef mailto:a@b.test"], false, Ruling::Allowed),
            (&["0 issuewild ;"], false, Ruling::Allowed),
            (&["0 issue ca.test", "0 issuewild ;"], true, other(&[])),
            (&["0 issue ;", "0 issuewild ca.test"], true, Ruling::Allowed),
            (&["0 issue ;", "0 issuewild ca.test"], false, other(&[])),
            (&["0 issue ca.test; accounturi=u:1"], false, Ruling::Allowed),
            (&["0 issue ca.test; accounturi=u:2"], false, accounts(&["u:2"])),
            (
                &["0 issue ca.test; AccountURI = u:2", "0 issue ca.test; accounturi=u:1"],
                false,
                Ruling::Allowed,
            ),
            (&["0 issue ca.test; validationmethods=dns-01"], false, methods(&["dns-01"])),
            (&["0 issue ca.test; validationmethods=dns-01,HTTP-01"], false, Ruling::Allowed),
            (&["0 issue ca.test;accounturi=u:1;validationmethods=dns-01"], false, methods(&["dns-01"])),
            (
                &["0 issue ca.test; accounturi=u:2", "0 issue ca.test; validationmethods=dns-01"],
                false,
                methods(&["dns-01"]),
            ),
            (&["128 issue ca.test"], false, Ruling::Allowed),
            (&["0 issue ca.test", "128 future x"], false, unknown("future")),
            (&["0 issue ca.test", "0 future x"], false, Ruling::Allowed),
        ];
        let identities = ["ca.test".to_string(), "ca.example".to_string()];
        for (records, is_wildcard, expected) in table {
            let set: Vec<Caa> = records.iter().map(|text| caa(text)).collect();
            let (account, methods) = (Some("u:1"), &["http-01"][..]);
            let applicant =
                Applicant { identities: &identities, account, methods, is_wildcard: *is_wildcard };
            assert_eq!(rule(&set, &applicant), *expected, "{records:?} {is_wildcard}");
        }
        let nobody = Applicant { identities: &identities, account: None, methods: &[], is_wildcard: false };
        assert_eq!(rule(&[caa("0 issue ca.test; accounturi=u:1")], &nobody), accounts(&["u:1"]));
    }

    #[test]
    fn records_are_read_from_their_bytes() {
        let parsed = Caa::parse(b"\x80\x05ISSUEca.test; a=b").unwrap();
        assert_eq!(parsed, caa("128 issue ca.test; a=b"));
        assert_eq!(Caa::parse(b"\x00\x05issue").unwrap().value, "");
        for bytes in [&b""[..], b"\0", b"\0\0", b"\0\x06issue", b"\0\xffissue", b"\0\x05is\0uex", b"\0\x01-x"]
        {
            assert_eq!(Caa::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_forbids() {
        let mut answer = Message::request(1, crate::dns::Opcode::QUERY);
        let record = |bytes: &[u8]| crate::dns::Record {
            name: Name::parse("a.test").unwrap(),
            class: crate::dns::Class::IN,
            ttl: 1,
            data: Data::Other(Rtype::CAA, bytes.to_vec()),
        };
        answer.answers = vec![record(b"\0\x05issueca.test"), record(b"\0\xff")];
        let identities = ["ca.test".to_string()];
        let applicant =
            Applicant { identities: &identities, account: None, methods: &[], is_wildcard: false };
        assert_eq!(rule(&records(&answer), &applicant), Ruling::Unknown(String::new()));
        answer.rcode = OptRcode::NXDOMAIN;
        assert_eq!(records(&answer), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_nor_allow_what_others_forbid(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let identities = ["ca.test".to_string()];
            let applicant =
                Applicant { identities: &identities, account: None, methods: &[], is_wildcard: false };
            let set: Vec<Caa> = Caa::parse(&bytes).into_iter().chain([caa("0 issue ;")]).collect();
            let allowed = rule(&set, &applicant) == Ruling::Allowed;
            prop_assert!(!allowed || String::from_utf8_lossy(&bytes).to_lowercase().contains("ca.test"));
        }
    }
}
