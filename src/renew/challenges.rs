//! The answers to an order's challenges: chosen and put in place, all of them before the CA is told to
//! look at the first (RFC 8555 §7.5.1), and taken away again whatever came of the order.

use super::Managed;
use super::engine::Engine;
use super::error::Error;
use super::job::Running;
use crate::acme::objects::{Authorization, Challenge};
use crate::challenge::{self, http01, selection};
use crate::model::Md;
use crate::notify::Event;
use crate::store::WorkGroup;

/// Puts an answer in place for each authorization. The answer is the URLs of the challenges to start.
pub fn present(
    engine: &Engine,
    target: &Managed,
    running: &mut Running<'_>,
    pending: &[Authorization],
    thumbprint: &str,
) -> Result<Vec<String>, Error> {
    let md = &target.md;
    let mut chosen = Vec::new();
    for authorization in pending {
        chosen.push((authorization, choose(engine, md, authorization)?));
    }
    for (authorization, challenge) in &chosen {
        let domain = authorization.identifier.value.clone();
        running.step(format!("Setting up challenge '{}' for domain {domain}", http01::TYPE))?;
        let answer = challenge::key_authorization(&challenge.token, thumbprint);
        let written =
            engine.store().write(WorkGroup::Challenges, &domain, http01::FILE_NAME, answer.as_bytes());
        written.map_err(Error::ChallengeSetup)?;
        let event = Event::ChallengeSetup(http01::TYPE.into(), domain);
        engine.settings().commands.fire(&event, &mut running.job, engine.clock().as_ref())?;
    }
    Ok(chosen.into_iter().map(|(_, challenge)| challenge.url.clone()).collect())
}

/// The challenge to answer for a name, or why none of those offered can be.
fn choose<'c>(engine: &Engine, md: &Md, authorization: &'c Authorization) -> Result<&'c Challenge, Error> {
    if !md.domains.contains(&authorization.name()) {
        let name = authorization.name();
        return Err(Error::Unusable(format!("the CA asks for {name}, which is not in the order")));
    }
    let reachable = engine.settings().reachable_by_http;
    selection::choose(authorization, &md.ca.challenges, reachable).map_err(Error::ChallengeMismatch)
}

/// Takes every answer away again, also after a failure, and also those an earlier child has left.
pub fn clean_up(engine: &Engine, target: &Managed) {
    let md = &target.md;
    for domain in &md.domains {
        let folder = domain.strip_prefix("*.").unwrap_or(domain);
        if let Err(error) = engine.store().purge(WorkGroup::Challenges, folder) {
            crate::log!(Warn, "{}: the challenge data of {folder} stays behind: {error}", md.name);
        }
    }
}
