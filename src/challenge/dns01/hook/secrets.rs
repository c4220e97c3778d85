// SPDX-License-Identifier: Apache-2.0
//! What the files of a hook that root has loaded are for: the environment of a program, and the header that
//! says who we are to httpreq. No text made here quotes a content. Imports `exec` and the forms in `model`.

use crate::exec::Environment;
use crate::model::dns01::{self, FileFault, SecretFile};
use data_encoding::BASE64;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not NAME=VALUE")]
pub struct BadLine(pub usize);

/// What the lines say.
pub fn variables(text: &str) -> Result<Environment, BadLine> {
    let mut environment = Environment::default();
    for (name, value) in dns01::environment(text).map_err(BadLine)? {
        // None is left that cannot be passed on.
        environment.set(name, value).map_err(|_| BadLine(0))?;
    }
    Ok(environment)
}

/// The header that says who we are (RFC 7617 §2): `USER:PASSWORD` is the one line of the file.
pub fn authorization(file: &SecretFile) -> Result<Zeroizing<String>, FileFault> {
    let wrong = || FileFault {
        what: format!("{} is not one line USER:PASSWORD", file.path),
        remedy: "Correct it, then reload httpd".into(),
    };
    let (user, password) = dns01::user_and_password(file.text()?).ok_or_else(wrong)?;
    let pair = Zeroizing::new([user, ":", password].concat());
    let code = Zeroizing::new(BASE64.encode(pair.as_bytes()));
    Ok(Zeroizing::new(["Basic ", &code].concat()))
}
