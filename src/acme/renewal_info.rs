// SPDX-License-Identifier: Apache-2.0
//! Renewal information (RFC 9773): when the CA wants a certificate to be replaced. Asked without a
//! signature, for a certificate that is named by its issuer's key and its serial.

use super::address::is_url;
use super::client::json_of;
use super::{Error, Polled, Server};
use crate::time::Timestamp;
use serde_json::Value;

/// A CA's renewal information about one certificate. The window ends after it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    pub start: Timestamp,
    pub end: Timestamp,
    /// An http(s) URL that says why the window is as it is.
    pub explanation: Option<String>,
}

impl Server {
    /// Asks about the certificate `AKI.SERIAL` (RFC 9773 §4.1). `None`: this CA gives no such information.
    pub fn renewal_info(&self, cert_id: &str) -> Result<Option<Polled<RenewalInfo>>, Error> {
        let Some(base) = &self.directory().renewal_info else { return Ok(None) };
        let url = format!("{}/{cert_id}", base.trim_end_matches('/'));
        let response = self.get(&url)?;
        let value = RenewalInfo::parse(&json_of(&url, &response)?)?;
        Ok(Some(Polled { value, retry_after: response.retry_after(self.now()) }))
    }
}

impl RenewalInfo {
    fn parse(value: &Value) -> Result<Self, Error> {
        let date = |key: &str| {
            let text = value.get("suggestedWindow")?.get(key)?.as_str()?;
            Timestamp::parse_rfc3339(text)
        };
        // RFC 9773 §4.2: an end that is not after the start is as good as no answer.
        let window = date("start").zip(date("end")).filter(|(start, end)| start <= end);
        let (start, end) = window.ok_or_else(|| {
            Error::Protocol("the server sent renewal information without a usable suggestedWindow".into())
        })?;
        let explanation = value.get("explanationURL").and_then(Value::as_str).filter(|url| is_url(url));
        Ok(RenewalInfo { start, end, explanation: explanation.map(String::from) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_example_of_rfc_9773_is_read() {
        let info = RenewalInfo::parse(&json!({
            "suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"},
            "explanationURL": "https://acme.example.com/docs/ari"
        }))
        .unwrap();
        assert_eq!(info.start.to_rfc3339(), "2025-01-02T04:00:00Z");
        assert_eq!(info.end.since(info.start), crate::time::DAY);
        assert_eq!(info.explanation.as_deref(), Some("https://acme.example.com/docs/ari"));
    }

    #[test]
    fn what_is_no_window_is_refused_and_what_is_no_url_left_out() {
        let window = |start: &str, end: &str| json!({"suggestedWindow": {"start": start, "end": end}});
        let (early, late) = ("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z");
        for bad in
            [json!(null), json!({}), json!({"suggestedWindow": 7}), window(late, early), window("x", late)]
        {
            assert!(matches!(RenewalInfo::parse(&bad), Err(Error::Protocol(_))), "{bad}");
        }
        // Some CAs and test servers mean "now" by an instant.
        assert!(RenewalInfo::parse(&window(early, early)).is_ok());
        for url in [json!("javascript:alert(1)"), json!(5), json!("x".repeat(5000))] {
            let mut value = window(early, late);
            value["explanationURL"] = url;
            assert_eq!(RenewalInfo::parse(&value).unwrap().explanation, None);
        }
    }
}
