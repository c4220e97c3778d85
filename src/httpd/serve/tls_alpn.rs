// SPDX-License-Identifier: Apache-2.0
//! Answers the tls-alpn-01 challenge in a handshake (RFC 8737). A client that offers only `acme-tls/1`
//! receives the certificate that the renewal has stored for the requested name, on whichever host the
//! connection arrives. There is one with an elliptic curve key and one with an RSA key; no other certificate
//! is sent, because a validator chooses between key types only.

use crate::challenge::tls_alpn01;
use crate::crypto::{self, Identity};
use crate::httpd::state::{Connection, Server, state_of};
use crate::store::{self, WorkGroup, WorkStore};
use zeroize::Zeroizing;

pub struct Answer {
    /// Certificate chain and key of the first as PEM, serialized again after parsing: mod_ssl hands them to
    /// OpenSSL, and any worker may have written the files.
    pub cert: String,
    pub key: Zeroizing<String>,
    /// At least one.
    pub identities: Vec<Identity>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("{0}")]
    Crypto(#[from] crypto::Error),
}

/// Whether a handshake for `server` may go on with `acme-tls/1`, which the client offers.
pub fn accepts(connection: &Connection<'_>, server: Server<'_>) -> bool {
    connection.is_tls() && server.allows_acme_tls() && state_of(server).is_some()
}

/// The certificates for a connection that speaks `acme-tls/1`. `None`: another protocol, or no challenge of
/// that name is under way; the handshake then goes on with the host's own certificate, which proves nothing.
pub fn answer(connection: &Connection<'_>, server_name: &str) -> Option<Answer> {
    if !connection.is_acme_tls() {
        return None;
    }
    match find(connection, server_name)? {
        Ok(Some(answer)) => Some(answer),
        Ok(None) => {
            crate::log!(Info, "AH10080: {server_name}: unknown tls-alpn-01 challenge host");
            None
        }
        Err(error) => {
            crate::log!(Error, "AH10081: the tls-alpn-01 challenge of {server_name} cannot be read: {error}");
            None
        }
    }
}

/// The certificates of a challenge of that name, for a handshake that is about to choose one. [`answer`] logs
/// the outcome, this does not.
pub fn certificates(connection: &Connection<'_>, server_name: &str) -> Option<Vec<Identity>> {
    find(connection, server_name)?.ok().flatten().map(|answer| answer.identities)
}

fn find(connection: &Connection<'_>, server_name: &str) -> Option<Result<Option<Answer>, Failure>> {
    let state = state_of(connection.base_server())?;
    Some(match tls_alpn01::asked(server_name) {
        // No store, no challenges.
        Some(name) => match read(&state.store, &name) {
            Err(Failure::Store(error)) if error.is_not_found() => Ok(None),
            found => found,
        },
        None => Ok(None),
    })
}

fn read(store: &WorkStore, name: &str) -> Result<Option<Answer>, Failure> {
    const GROUP: WorkGroup = WorkGroup::Challenges;
    let mut answer: Option<Answer> = None;
    for (cert, key) in tls_alpn01::files(&store.files(GROUP, name)?) {
        let (chain, private) = (store.read_chain(GROUP, name, &cert)?, store.read_key(GROUP, name, &key)?);
        let Some((chain, private)) = chain.zip(private) else { continue };
        let identity = Identity::new(&private, &chain)?;
        match &mut answer {
            Some(answer) => answer.identities.push(identity),
            None => {
                let text = |pem: &[u8]| String::from_utf8_lossy(pem).into_owned();
                let key = Zeroizing::new(text(&store.seal_key(GROUP, &private)?));
                let cert = text(&chain.to_pem());
                answer = Some(Answer { cert, key, identities: vec![identity] });
            }
        }
    }
    Ok(answer)
}
