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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::md;
    use crate::managed::saved_order::SavedOrder;

    #[test]
    fn an_order_is_taken_up_at_a_ca_of_the_md_for_names_of_the_md_alone() {
        let mut own = md(&["a.test", "www.a.test"]);
        own.ca.urls = vec!["https://ca.test/dir".into(), "https://second.test:14000/dir".into()];
        let others = ["api.a.test".to_string()];
        let check = |ca: &str, url: &str, names: &[&str]| {
            let job = SharedJob {
                ca: ca.into(),
                names: names.iter().map(ToString::to_string).collect(),
                order: Some(SavedOrder::new(url, "rsa", None)),
                ..SharedJob::default()
            };
            order_is_ours(&job, &own, &others)
        };
        let ca = "https://ca.test/dir";
        assert_eq!(check(ca, "https://ca.test/order/1", &["a.test", "api.a.test"]), Ok(()));
        assert_eq!(
            check("https://second.test:14000/dir", "https://second.test:14000/o", &["a.test"]),
            Ok(())
        );
        let foreign = [
            "https://evil.test/order/1",
            "http://ca.test/order/1",
            "https://ca.test:8443/order/1",
            "https://ca.test.evil.test/1",
            "https://ca.test@evil.test/1",
            "order/1",
            "",
        ];
        for url in foreign {
            assert!(check(ca, url, &["a.test"]).unwrap_err().contains("not at the CA"), "{url}");
        }
        let evil = check("https://evil.test/dir", "https://evil.test/order/1", &["a.test"]);
        assert!(evil.unwrap_err().contains("none of those that are configured"));
        assert!(check(ca, "https://ca.test/order/1", &["a.test", "b.test"]).unwrap_err().contains("b.test"));
        assert_eq!(order_is_ours(&SharedJob::default(), &own, &[]), Ok(()), "there is no order");
    }

    #[test]
    fn answers_of_foreign_accounts_and_of_no_known_form_are_not_given() {
        let own = ["thumb-1".to_string(), "thumb_2".to_string()];
        let check = |type_: &str, name: &str, answer: &str| {
            let answer = SharedAnswer {
                type_: type_.into(),
                dns_name: name.into(),
                owner: "a.test".into(),
                answer: answer.into(),
            };
            answer_is_ours(&answer, &own)
        };
        assert_eq!(check("http-01", "a.test", "token.thumb-1"), Ok(()));
        assert_eq!(check("tls-alpn-01", "192.0.2.1", "token.thumb_2"), Ok(()));
        assert_eq!(
            check("dns-01", "_acme-challenge.a.test", "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"),
            Ok(())
        );
        assert!(check("http-01", "a.test", "token.thumb-3").unwrap_err().contains("account"));
        let wrong = [
            ("http-01", "a.test", "<script>.thumb-1"),
            ("http-01", "a.test", "token"),
            ("http-01", "a.test", ".thumb-1"),
            ("http-01", "a.test", "token.thumb-1.thumb-1"),
            ("http-01", "../a", "token.thumb-1"),
            ("http-01", "A.test", "token.thumb-1"),
            ("dns-01", "_acme-challenge.a.test", "a b"),
            ("dns-01", "_acme-challenge.a.test", ""),
            ("dns-99", "a.test", "token.thumb-1"),
        ];
        for (type_, name, answer) in wrong {
            assert!(check(type_, name, answer).is_err(), "{type_} {name} {answer}");
        }
        assert!(check("http-01", "a.test", &format!("{}.thumb-1", "t".repeat(2000))).is_err());
    }
}
