// SPDX-License-Identifier: Apache-2.0
//! Answers to challenges on disk, each with its owner: the name of the MD that it is for. MDs may share a DNS
//! name, as `a.org` and `*.a.org` do; none removes the answer of another. The files that validations are
//! answered from are those of the C module; a note beside them, one for each type, has their owners.

use super::{dns01, http01, presented, tls_alpn01};
use crate::store::{Error, Rights, Store};
use serde_json::{Value, json};

/// More than there can be of one name and type.
const MAX: usize = 1000;

/// The notes in the folder of a name.
const NOTES: [&str; 3] = [http01::NOTE, tls_alpn01::NOTE, dns01::NOTE];

/// What a note says of one TXT record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    pub value: String,
    /// The name where it was set up; `None`: `_acme-challenge.NAME` of the folder.
    pub at: Option<String>,
    /// What the hook that set it up has written.
    pub output: Option<String>,
    /// The challenge it answers; `None`: dns-01.
    pub type_: Option<String>,
    /// httpd itself answers for it: the domain that is validated. Nothing is in the DNS.
    pub served_for: Option<String>,
}

impl From<&str> for Noted {
    fn from(value: &str) -> Self {
        Noted { value: value.into(), ..Noted::default() }
    }
}

impl Noted {
    fn is_same_record(&self, other: &Noted) -> bool {
        (&self.value, &self.at, &self.served_for) == (&other.value, &other.at, &other.served_for)
    }

    fn from_json(json: &Value) -> Option<Self> {
        let text = |key: &str| json.get(key).and_then(Value::as_str).map(String::from);
        Some(Noted {
            value: text("value")?,
            at: text("at"),
            output: text("output"),
            type_: text("type"),
            served_for: text("served-for"),
        })
    }

    fn to_json(&self, owner: &str) -> Value {
        let mut json = json!({"owner": owner, "value": self.value});
        let more = [
            ("at", &self.at),
            ("output", &self.output),
            ("type", &self.type_),
            ("served-for", &self.served_for),
        ];
        for (key, text) in more {
            if let Some(text) = text {
                json[key] = json!(text);
            }
        }
        json
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    /// `None`: written by an earlier version of the module; every MD with the name owns it.
    owner: Option<String>,
    /// Of http-01 and tls-alpn-01, only the value is known.
    noted: Noted,
}

/// The answers of one type that are in place for one name, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(Vec<Answer>);

impl Answers {
    pub fn parse(note: &Value) -> Self {
        let answer = |value: &Value| match value {
            Value::String(value) => Some(Answer { owner: None, noted: value.as_str().into() }),
            _ => Some(Answer {
                owner: Some(value.get("owner")?.as_str()?.to_string()),
                noted: Noted::from_json(value)?,
            }),
        };
        let values = note.get("values").and_then(Value::as_array);
        Answers(values.into_iter().flatten().filter_map(answer).take(MAX).collect())
    }

    pub fn to_json(&self) -> Value {
        let values: Vec<Value> = self
            .0
            .iter()
            .map(|answer| match &answer.owner {
                Some(owner) => answer.noted.to_json(owner),
                None => json!(answer.noted.value),
            })
            .collect();
        json!({ "values": values })
    }

    /// `false`: it is there already.
    fn add(&mut self, owner: &str, noted: Noted) -> bool {
        let is_it = |a: &Answer| a.owner.as_deref() == Some(owner) && a.noted.is_same_record(&noted);
        let is_new = !self.0.iter().any(is_it);
        if is_new {
            self.0.push(Answer { owner: Some(owner.into()), noted });
        }
        is_new
    }

    /// Those of `owner`.
    pub fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a str> {
        self.records_of(owner).map(|noted| noted.value.as_str())
    }

    /// The same, as far as they are TXT records.
    pub fn records_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Noted> {
        self.0.iter().filter(move |answer| answer.is_of(owner)).map(|answer| &answer.noted)
    }

    /// The TXT records of all owners, where they are known.
    pub fn records(&self) -> impl Iterator<Item = (Option<&str>, &Noted)> {
        self.0.iter().map(|answer| (answer.owner.as_deref(), &answer.noted))
    }

    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|answer| answer.noted.value.as_str())
    }

    /// The key authorization for `token`: an answer beside the one in the file of http-01.
    pub fn to_token(&self, token: &str) -> Option<String> {
        let is_asked = |value: &&str| value.split_once('.').is_some_and(|(own, _)| own == token);
        self.all().find(is_asked).map(String::from)
    }

    /// The owners of answers, each once.
    pub fn owners(&self) -> Vec<String> {
        let mut owners: Vec<String> = self.0.iter().filter_map(|answer| answer.owner.clone()).collect();
        owners.sort();
        owners.dedup();
        owners
    }

    pub fn has_others_than(&self, owner: &str) -> bool {
        self.0.iter().any(|answer| !answer.is_of(owner))
    }
}

impl Answer {
    fn is_of(&self, owner: &str) -> bool {
        self.owner.as_deref().is_none_or(|own| own == owner)
    }
}

/// The folder of a name, to work on its answers. A thread that changes anything keeps other threads
/// from it meanwhile.
pub struct Folder<'a, R: Rights> {
    pub store: &'a Store<R>,
    pub group: R::Group,
    /// The DNS name; that of a wildcard without its `*.`.
    pub name: &'a str,
}

impl<R: Rights> Folder<'_, R> {
    /// The answers of a note; none if it cannot be read.
    pub fn read(&self, note: &str) -> Answers {
        let json = self.store.read_json(self.group, self.name, note).unwrap_or_default();
        json.as_ref().map(Answers::parse).unwrap_or_default()
    }

    fn write(&self, note: &str, answers: &Answers) -> Result<(), Error> {
        self.store.write_json(self.group, self.name, note, &answers.to_json())
    }

    /// For http-01. Beside it, those for other tokens are answered too.
    pub fn put_http(&self, owner: &str, key_authorization: &str) -> Result<(), Error> {
        self.note(http01::NOTE, owner, key_authorization.into())?;
        self.store.write(self.group, self.name, http01::FILE_NAME, key_authorization.as_bytes())
    }

    /// Notes a TXT record, before it is set up.
    pub fn note_record(&self, owner: &str, noted: impl Into<Noted>) -> Result<(), Error> {
        self.note(dns01::NOTE, owner, noted.into())
    }

    /// Adds to a note what the hook has written, which it wants back to remove the record.
    pub fn note_output(&self, owner: &str, noted: &Noted, output: &str) -> Result<(), Error> {
        let mut answers = self.read(dns01::NOTE);
        let of_record = answers.0.iter_mut().filter(|a| a.is_of(owner) && a.noted.is_same_record(noted));
        of_record.for_each(|answer| answer.noted.output = Some(output.into()));
        self.write(dns01::NOTE, &answers)
    }

    /// Notes whose certificate answers tls-alpn-01: there can be one only.
    pub fn note_certificate(&self, owner: &str, key_authorization: &str) -> Result<(), Error> {
        let mut answers = Answers::default();
        answers.add(owner, key_authorization.into());
        self.write(tls_alpn01::NOTE, &answers)
    }

    fn note(&self, note: &str, owner: &str, noted: Noted) -> Result<(), Error> {
        let mut answers = self.read(note);
        if answers.add(owner, noted) { self.write(note, &answers) } else { Ok(()) }
    }

    /// Whether MDs but this one have records here.
    pub fn has_records_of_others(&self, owner: &str) -> bool {
        self.read(dns01::NOTE).has_others_than(owner)
    }

    /// Removes the note of one record that was never set up, or is removed.
    pub fn forget_record(&self, owner: &str, noted: &Noted) -> Result<(), Error> {
        let mut answers = self.read(dns01::NOTE);
        let before = answers.0.len();
        answers.0.retain(|answer| !(answer.is_of(owner) && answer.noted.is_same_record(noted)));
        if answers.0.len() == before { Ok(()) } else { self.write(dns01::NOTE, &answers) }
    }

    /// Removes the folder, if no answer is left in it.
    pub fn remove_if_empty(&self) -> Result<(), Error> {
        let is_empty = NOTES.iter().all(|note| self.read(note).0.is_empty());
        if is_empty { self.purge() } else { Ok(()) }
    }

    /// Removes all but what an operator has put up, which is taken down by itself.
    fn purge(&self) -> Result<(), Error> {
        self.store.purge_but(self.group, self.name, &[presented::FILE])
    }

    /// Removes the note of records that are removed, or left to another owner.
    pub fn forget_records(&self, owner: &str) -> Result<(), Error> {
        let mut answers = self.read(dns01::NOTE);
        answers.0.retain(|answer| !answer.is_of(owner));
        self.write(dns01::NOTE, &answers)
    }

    /// Hands the answers of one MD over to another one, which continues as it.
    pub fn hand_over(&self, from: &str, to: &str) -> Result<(), Error> {
        for note in NOTES {
            let mut answers = self.read(note);
            let of_from = answers.0.iter_mut().filter(|answer| answer.owner.as_deref() == Some(from));
            if of_from.map(|answer| answer.owner = Some(to.into())).count() > 0 {
                self.write(note, &answers)?;
            }
        }
        Ok(())
    }

    /// Removes the answers of `owner`, and the folder if no other owner has any.
    pub fn remove(&self, owner: &str) -> Result<(), Error> {
        let notes = NOTES.map(|note| (note, self.read(note)));
        if !notes.iter().any(|(_, answers)| answers.has_others_than(owner)) {
            return self.purge();
        }
        for (note, mut answers) in notes {
            let before = answers.0.len();
            answers.0.retain(|answer| !answer.is_of(owner));
            if answers.0.len() == before {
                continue;
            }
            self.leave(note, &answers)?;
        }
        Ok(())
    }

    /// Removes one answer of `owner`, and the folder if none is left in it.
    pub fn remove_answer(&self, note: &str, owner: &str, value: &str) -> Result<(), Error> {
        let mut answers = self.read(note);
        let before = answers.0.len();
        answers.0.retain(|answer| !(answer.is_of(owner) && answer.noted.value == value));
        if answers.0.len() == before {
            return Ok(());
        }
        self.leave(note, &answers)?;
        self.remove_if_empty()
    }

    /// Has these alone be the answers of a note.
    fn leave(&self, note: &str, answers: &Answers) -> Result<(), Error> {
        match (note, answers.0.last()) {
            (http01::NOTE, Some(last)) => {
                self.store.write(self.group, self.name, http01::FILE_NAME, last.noted.value.as_bytes())?;
            }
            (http01::NOTE, None) => self.store.remove(self.group, self.name, http01::FILE_NAME)?,
            (tls_alpn01::NOTE, _) => {
                for file in self.store.files(self.group, self.name)? {
                    if tls_alpn01::is_of_other_key(&file, &[]) {
                        self.store.remove(self.group, self.name, &file)?;
                    }
                }
            }
            _ => {}
        }
        // The note is written last: after a crash before this line, the next call repeats the rest.
        match answers.0.is_empty() {
            true => self.store.remove(self.group, self.name, note),
            false => self.write(note, answers),
        }
    }

    /// Whether an answer of `owner` is in place.
    pub fn has_any_of(&self, owner: &str) -> bool {
        NOTES.iter().any(|note| self.read(note).of(owner).next().is_some())
    }

    /// The owners of the answers here.
    pub fn owners(&self) -> Vec<String> {
        let mut owners: Vec<String> = NOTES.iter().flat_map(|note| self.read(note).owners()).collect();
        owners.sort();
        owners.dedup();
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;
    use crate::store::{Group, StartStore};

    #[test]
    fn each_token_that_is_noted_has_its_answer() {
        let note = serde_json::json!({"values": [
            {"owner": "a.test", "value": "tok-1.thumb"}, {"owner": "b.test", "value": "tok-2.thumb"}, "bare",
        ]});
        let answers = Answers::parse(&note);
        assert_eq!(answers.to_token("tok-2").as_deref(), Some("tok-2.thumb"));
        for other in ["tok-3", "", "bare", "tok-2.thumb"] {
            assert_eq!(answers.to_token(other), None, "{other}");
        }
    }

    struct Lab {
        _dir: tempfile::TempDir,
        store: StartStore,
    }

    impl Lab {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = StartStore::open(&dir.path().join("md"), None).unwrap();
            Lab { _dir: dir, store }
        }

        fn folder(&self) -> Folder<'_, crate::store::Start> {
            Folder { store: &self.store, group: Group::Challenges, name: "a.test" }
        }

        fn files(&self) -> Vec<String> {
            let mut files = self.store.files(Group::Challenges, "a.test").unwrap();
            files.sort();
            files
        }

        fn text(&self) -> Option<String> {
            let text = self.store.read(Group::Challenges, "a.test", http01::FILE_NAME).unwrap();
            text.map(|text| String::from_utf8(text).unwrap())
        }
    }

    #[test]
    fn an_answer_is_removed_by_its_owner_alone() {
        let lab = Lab::new();
        let folder = lab.folder();
        folder.put_http("a.test", "one.x").unwrap();
        folder.note_record("*.a.test", "record").unwrap();
        folder.remove("*.a.test").unwrap();
        assert_eq!(lab.text().as_deref(), Some("one.x"));
        assert_eq!(lab.files(), [http01::NOTE, http01::FILE_NAME]);
        folder.remove("b.test").unwrap();
        assert_eq!(lab.text().as_deref(), Some("one.x"), "nothing is a stranger's");
        folder.remove("a.test").unwrap();
        assert_eq!(lab.store.names(Group::Challenges).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn several_answers_for_http_01_stand_side_by_side() {
        let lab = Lab::new();
        let folder = lab.folder();
        for (owner, value) in [("a", "one.x"), ("b", "two.x"), ("b", "two.x"), ("a", "three.x")] {
            folder.put_http(owner, value).unwrap();
        }
        assert_eq!(folder.read(http01::NOTE).all().collect::<Vec<_>>(), ["one.x", "two.x", "three.x"]);
        assert_eq!(lab.text().as_deref(), Some("three.x"), "the latest is where the C module looks");
        folder.remove("a").unwrap();
        assert_eq!(folder.read(http01::NOTE).all().collect::<Vec<_>>(), ["two.x"]);
        assert_eq!(lab.text().as_deref(), Some("two.x"));
    }

    #[test]
    fn the_certificate_of_tls_alpn_01_goes_with_its_owner() {
        let lab = Lab::new();
        let folder = lab.folder();
        let (cert, key) =
            (tls_alpn01::cert_file(&KeySpec::default()), tls_alpn01::key_file(&KeySpec::default()));
        folder.note_record("*.a.test", "record").unwrap();
        folder.note_certificate("b", "older").unwrap();
        folder.note_certificate("a.test", "x").unwrap();
        for file in [&cert, &key] {
            lab.store.write(Group::Challenges, "a.test", file, b"PEM").unwrap();
        }
        folder.remove("b").unwrap();
        assert!(lab.files().contains(&cert), "another has taken its place");
        folder.remove("a.test").unwrap();
        assert_eq!(lab.files(), [dns01::NOTE]);
        assert_eq!(folder.owners(), ["*.a.test"]);
        assert!(folder.has_any_of("*.a.test") && !folder.has_any_of("a.test"));
    }

    #[test]
    fn what_has_no_owner_belongs_to_everyone_who_has_the_name() {
        let lab = Lab::new();
        let folder = lab.folder();
        lab.store.write(Group::Challenges, "a.test", http01::FILE_NAME, b"of the C module").unwrap();
        folder.remove("a.test").unwrap();
        assert_eq!(lab.store.names(Group::Challenges).unwrap(), Vec::<String>::new());
        let answers =
            Answers::parse(&json!({"values": ["old", 7, {"owner": "b"}, {"owner": "b", "value": "new"}]}));
        assert_eq!(answers.of("a").collect::<Vec<_>>(), ["old"]);
        assert_eq!(answers.of("b").collect::<Vec<_>>(), ["old", "new"]);
        assert!(answers.has_others_than("a") && !answers.has_others_than("b"));
        assert_eq!(Answers::parse(&answers.to_json()), answers);
        assert_eq!(Answers::parse(&json!("x")), Answers::default());
    }

    #[test]
    fn the_note_of_a_record_says_where_it_is_and_what_the_hook_said() {
        let lab = Lab::new();
        let folder = lab.folder();
        let delegated = Noted { at: Some("a.acme.test".into()), ..Noted::from("v-1") };
        folder.note_record("a.test", "v-1").unwrap();
        for _ in 0..2 {
            folder.note_record("a.test", delegated.clone()).unwrap();
        }
        folder.note_output("a.test", &delegated, "id=7").unwrap();
        let records = |owner| folder.read(dns01::NOTE).records_of(owner).cloned().collect::<Vec<_>>();
        let told = Noted { output: Some("id=7".into()), ..delegated.clone() };
        assert_eq!(records("a.test"), [Noted::from("v-1"), told.clone()], "two places, two records");
        folder.forget_record("a.test", &"v-1".into()).unwrap();
        folder.forget_record("b.test", &delegated).unwrap();
        assert_eq!(records("a.test"), [told]);
        folder.remove_if_empty().unwrap();
        folder.forget_record("a.test", &delegated).unwrap();
        folder.remove_if_empty().unwrap();
        assert_eq!(lab.store.names(Group::Challenges).unwrap(), Vec::<String>::new());
    }
}
