// SPDX-License-Identifier: Apache-2.0
//! Whether what others wrote may be acted upon: values are authentic, but may be repeated, or come of a node that
//! is configured otherwise. Pure; imports nothing of the fleet but `record`.

use crate::managed::peers::{SharedAnswer, SharedJob};
use crate::model::Md;
use crate::names;
use crate::url::Url;

/// Bytes of an answer: a token and a thumbprint are far below.
const ANSWER_MAX: usize = 1024;

/// Whether this node may finish the order of a job: its URL is one of the CA, whose directory is one that the MD
/// uses, and its names are among `names`, those of the MD at live nodes.
pub fn order_is_ours(job: &SharedJob, md: &Md, names: &[String]) -> Result<(), String> {
    let Some(order) = &job.order else { return Ok(()) };
    if !md.ca.urls.contains(&job.ca) {
        return Err(format!("its CA {} is none of those that are configured here", job.ca));
    }
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin);
    match (origin(&order.url), origin(&job.ca)) {
        (Some(order), Some(ca)) if order == ca => {}
        _ => return Err(format!("its order {} is not at the CA {}", order.url, job.ca)),
    }
    let is_ours = |name: &&String| names.iter().chain(&md.domains).any(|own| own == *name);
    match job.names.iter().find(|name| !is_ours(name)) {
        Some(foreign) => Err(format!("its order is for {foreign}, which no live node has in this MD")),
        None => Ok(()),
    }
}

/// Whether this node gives an answer to challenges. `thumbprints`: of the accounts of the fleet. Whoever echoes a
/// foreign one helps others to get certificates for its names.
pub fn answer_is_ours(answer: &SharedAnswer, thumbprints: &[String]) -> Result<(), String> {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let answered = &answer.answer;
    if answered.len() > ANSWER_MAX {
        return Err("its answer is too long".into());
    }
    match answer.type_.as_str() {
        "http-01" | "tls-alpn-01" => {
            if names::normalize(&answer.dns_name).ok().as_ref() != Some(&answer.dns_name) {
                return Err("it is for no DNS name".into());
            }
            match answered.split_once('.') {
                Some((token, thumbprint)) if is_word(token) && is_word(thumbprint) => {
                    match thumbprints.iter().any(|own| own == thumbprint) {
                        true => Ok(()),
                        false => Err("its answer is of an account that the fleet does not have".into()),
                    }
                }
                _ => Err("its answer is no key authorization".into()),
            }
        }
        "dns-01" | "dns-account-01" if is_word(answered) => Ok(()),
        "dns-01" | "dns-account-01" => Err("its answer is no digest".into()),
        other => Err(format!("the kind of challenge {other:?} is not known here")),
    }
}
