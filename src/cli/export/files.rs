// SPDX-License-Identifier: Apache-2.0
//! The files that a set becomes for another program. Pure.

use crate::crypto::{self, pkcs12};
use crate::managed::bundle::Bundle;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `privkey.pem`, `fullchain.pem`, `cert.pem`, `chain.pem`.
    Pem,
    /// `combined.pem`: key, certificate and chain in one file.
    Combined,
    /// `NAME.p12`.
    Pkcs12,
}

impl Format {
    pub const ALL: [(&'static str, Format); 3] =
        [("pem", Format::Pem), ("combined", Format::Combined), ("pkcs12", Format::Pkcs12)];

    pub fn token(self) -> &'static str {
        Format::ALL.iter().find(|(_, format)| *format == self).map_or("pem", |(token, _)| token)
    }
}

pub struct File {
    pub name: String,
    pub content: Zeroizing<Vec<u8>>,
    /// There is a private key in it.
    pub is_secret: bool,
}

/// The files of these sets. The first one has the plain names; further ones have their kind of key in them:
/// `fullchain.p-256.pem`, `fullchain.rsa.pem`. Keys come first: a reader who finds the new chain finds its key.
pub fn render(
    formats: &[Format],
    name: &str,
    sets: &[Bundle],
    password: &str,
) -> Result<Vec<File>, crypto::Error> {
    let mut files = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let infix = if at == 0 { String::new() } else { format!(".{}", set.spec.label().to_lowercase()) };
        for format in formats {
            render_one(*format, name, set, &infix, password, &mut files)?;
        }
    }
    Ok(files)
}

fn render_one(
    format: Format,
    name: &str,
    set: &Bundle,
    infix: &str,
    password: &str,
    out: &mut Vec<File>,
) -> Result<(), crypto::Error> {
    let mut put = |name: String, content: Zeroizing<Vec<u8>>, is_secret: bool| {
        out.push(File { name, content, is_secret });
    };
    match format {
        Format::Pem => {
            let (leaf, chain) = (set.chain.leaf().to_pem(), set.chain.certificates().iter().skip(1));
            put(format!("privkey{infix}.pem"), set.key.to_pem()?, true);
            put(format!("fullchain{infix}.pem"), set.chain.to_pem().into(), false);
            put(format!("cert{infix}.pem"), leaf.into(), false);
            let chain: Vec<u8> = chain.flat_map(|certificate| certificate.to_pem()).collect();
            put(format!("chain{infix}.pem"), chain.into(), false);
        }
        Format::Combined => {
            let (key, chain) = (set.key.to_pem()?, set.chain.to_pem());
            let mut content = Zeroizing::new(Vec::with_capacity(key.len() + chain.len()));
            content.extend_from_slice(&key);
            content.extend_from_slice(&chain);
            put(format!("combined{infix}.pem"), content, true);
        }
        Format::Pkcs12 => {
            let content = pkcs12::write(name, &set.key, &set.chain, password)?;
            // A star is no character for the command lines that such a name comes into.
            put(format!("{}{infix}.p12", name.replace('*', "_")), content, true);
        }
    }
    Ok(())
}

/// Whether a file is one that these formats have, for a key of whatever kind.
pub fn is_of(formats: &[Format], name: &str, file: &str) -> bool {
    let own = name.replace('*', "_");
    let is = |stem: &str, suffix: &str| {
        let rest = file.strip_prefix(stem).and_then(|rest| rest.strip_suffix(suffix));
        rest.is_some_and(|infix| infix.is_empty() || infix.starts_with('.'))
    };
    formats.iter().any(|format| match format {
        Format::Pem => ["privkey", "fullchain", "cert", "chain"].iter().any(|stem| is(stem, ".pem")),
        Format::Combined => is("combined", ".pem"),
        Format::Pkcs12 => is(&own, ".p12"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::Lab;
    use crate::model::KeySpec;

    #[test]
    fn the_first_set_has_the_plain_names_and_the_key_comes_before_its_chain() {
        let lab = Lab::new();
        let specs = [KeySpec::Ec("P-256".into()), KeySpec::default()];
        let sets: Vec<Bundle> = specs.iter().map(|spec| lab.set(&["*.a.test"], spec)).collect();
        let formats = Format::ALL.map(|(_, format)| format);
        let files = render(&formats, "*.a.test", &sets, "").unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let first = ["privkey.pem", "fullchain.pem", "cert.pem", "chain.pem", "combined.pem", "_.a.test.p12"];
        assert_eq!(names[..6], first);
        for file in &names {
            let own = formats.iter().filter(|format| is_of(&[**format], "*.a.test", file));
            assert_eq!(own.count(), 1, "{file}");
        }
        assert!(!is_of(&formats, "*.a.test", "privkeys.pem") && !is_of(&formats, "*.a.test", "b.test.p12"));
        assert!(names.contains(&"fullchain.rsa.pem") && names.contains(&"_.a.test.rsa.p12"), "{names:?}");
        let secret: Vec<bool> = files.iter().take(6).map(|file| file.is_secret).collect();
        assert_eq!(secret, [true, false, false, false, true, true]);
        assert!(files[4].content.starts_with(b"-----BEGIN PRIVATE KEY-----"));
        assert!(
            crypto::PrivateKey::from_pem(&files[4].content).unwrap().pkey().public_eq(sets[0].key.pkey())
        );
        let parts = [files[2].content.as_slice(), &files[3].content].concat();
        assert_eq!(parts, files[1].content.as_slice());
    }
}
