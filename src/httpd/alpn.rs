//! The tls-alpn-01 challenge in a handshake (RFC 8737): who offers `acme-tls/1` alone gets the certificate
//! that the renewal has put in the store for the name asked for, in whichever host that comes in.

use super::State;
use super::sys::{Connection, Server};
use crate::challenge::tls_alpn01;
use crate::store::{self, WorkGroup, WorkStore};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Certificate chain and key, as PEM: what was read from the files, written again. mod_ssl hands it to OpenSSL, and any
/// worker can have written the files.
pub struct Answer {
    pub cert: String,
    pub key: Zeroizing<String>,
}

/// Whether a handshake for `server` may go on with `acme-tls/1`, which the client offers.
pub fn accepts(connection: &Connection<'_>, server: Server<'_>) -> bool {
    connection.is_tls() && server.allows_acme_tls() && state_of(server).is_some()
}

/// The certificate for a connection that speaks `acme-tls/1`. `None`: not ours, or no challenge of that
/// name is under way; the handshake then goes on with the host's own, which proves nothing.
pub fn answer(connection: &Connection<'_>, server_name: &str) -> Option<Answer> {
    if !connection.is_acme_tls() {
        return None;
    }
    let state = state_of(connection.base_server())?;
    let found = match tls_alpn01::asked(server_name) {
        Some(name) => read(&state.store, &name),
        None => Ok(None),
    };
    match found {
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

fn read(store: &WorkStore, name: &str) -> Result<Option<Answer>, store::Error> {
    const GROUP: WorkGroup = WorkGroup::Challenges;
    let Some((cert, key)) = tls_alpn01::files(&store.files(GROUP, name)?) else { return Ok(None) };
    let (chain, private) = (store.read_chain(GROUP, name, &cert)?, store.read_key(GROUP, name, &key)?);
    let Some((chain, private)) = chain.zip(private) else { return Ok(None) };
    let cert = String::from_utf8_lossy(&chain.to_pem()).into_owned();
    let key = Zeroizing::new(String::from_utf8_lossy(&store.seal_key(GROUP, &private)?).into_owned());
    Ok(Some(Answer { cert, key }))
}

fn state_of(server: Server<'_>) -> Option<Arc<State>> {
    server.conf()?.state.get().cloned()
}
