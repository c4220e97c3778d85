// SPDX-License-Identifier: Apache-2.0
//! Accounts, orders, authorizations and challenges of the CA, and how they change (RFC 8555 §7.1.6).

use super::issuer::Issuer;
use super::jws::{Message, is_bound, is_certified, key_change, thumbprint};
use super::{Answer, Endpoint, Quirk, problem};
use data_encoding::BASE64URL_NOPAD;
use mod_md::time::Timestamp;
use openssl::x509::X509;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What the CA finds when it looks for the answer to a challenge.
pub struct Validation<'a> {
    /// Without `*.`.
    pub name: &'a str,
    pub type_: &'a str,
    pub token: &'a str,
    pub key_authorization: &'a str,
}

type Validate = Arc<dyn Fn(&Validation<'_>) -> Result<(), Value> + Send + Sync>;

/// How the CA behaves. Change it with `FakeCa::rules`.
pub struct Rules {
    pub terms: Option<String>,
    pub eab_required: bool,
    /// Key identifier and secret of the external account that is known.
    pub eab: Option<(String, Vec<u8>)>,
    pub profiles: Vec<&'static str>,
    pub challenge_types: Vec<&'static str>,
    /// Asked once per started challenge, when it is validated; `Err` is the problem found.
    pub validate: Validate,
    /// Which fetch of an authorization finds its started challenge validated; 0: it is at once.
    pub validation_polls: u32,
    /// How long a validation takes beside that.
    pub validation_time: Duration,
    /// A challenge under way is shown as pending, as Boulder does.
    pub shows_pending: bool,
    /// A challenge that is under way is not to be started again: that is a conflict, as Boulder says
    /// since 2026.
    pub conflicts: bool,
    /// A failed validation leaves the challenge in this state with its error, until it is started again:
    /// `pending`, as step-ca does, or `processing`.
    pub looks_once: Option<&'static str>,
    /// What a validation found that failed at once is the answer to the start of the challenge, whose error
    /// has no text, as with serles.
    pub refuses_in_vain: bool,
    /// Orders expire after this time, and are not there any more then.
    pub expires: Option<Duration>,
    /// How often an order with valid authorizations is fetched before it is ready.
    pub ready_polls: u32,
    /// What finalizing an order that is not ready is answered with: status and type.
    pub not_ready: (u16, &'static str),
    /// How long an issuance takes beside `issuance_polls`.
    pub issuance_time: Duration,
    /// Likewise for the certificate of an order after `finalize`.
    pub issuance_polls: u32,
    /// Makes issuance fail with this problem.
    pub issuance_error: Option<Value>,
    /// `Retry-After` of resources that can be polled.
    pub retry_after: Option<String>,
    /// What is told about any certificate (RFC 9773); `None`: the CA has no such resource.
    pub renewal_info: Option<Value>,
    /// Valid authorizations serve later orders of the account.
    pub reuse_authorizations: bool,
    /// Asked for each signed request: whether its nonce is refused, however good it is.
    pub refuse_nonce: Box<dyn FnMut() -> bool + Send>,
    pub lifetime: Duration,
    /// Certificates have the subject of the request and none of its extensions, as those of
    /// `openssl x509 -req` (serles).
    pub drops_extensions: bool,
    /// The chain comes with a link to another one.
    pub alternates: bool,
    /// Which certificates of a chain are sent, in which order; empty: all, as RFC 8555 §9.1 wants them.
    pub sends: Vec<Sends>,
    /// How its objects differ from RFC 8555; later ones find what earlier ones have made of them.
    pub quirks: Vec<Quirk>,
}

/// What a CA may put into the answer that is to be a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    Leaf,
    Issuer,
    /// A root that has issued none of the others.
    Stranger,
    /// Explanatory text (RFC 7468 §2).
    Text,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            terms: None,
            eab_required: false,
            eab: None,
            profiles: Vec::new(),
            challenge_types: vec!["http-01", "dns-01", "tls-alpn-01"],
            validate: Arc::new(|_| Ok(())),
            validation_polls: 1,
            validation_time: Duration::ZERO,
            shows_pending: false,
            conflicts: false,
            looks_once: None,
            refuses_in_vain: false,
            expires: None,
            ready_polls: 0,
            not_ready: (403, "orderNotReady"),
            issuance_time: Duration::ZERO,
            issuance_polls: 1,
            issuance_error: None,
            retry_after: None,
            renewal_info: None,
            reuse_authorizations: false,
            refuse_nonce: Box::new(|| false),
            lifetime: Duration::from_secs(90 * 86_400),
            drops_extensions: false,
            alternates: false,
            sends: Vec::new(),
            quirks: Vec::new(),
        }
    }
}

#[derive(Default)]
pub struct State {
    pub rules: Rules,
    now: Timestamp,
    nonces: HashSet<String>,
    nonce_count: u64,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    challenges: Vec<Challenge>,
    revoked: Vec<(Vec<u8>, Option<u64>)>,
}

struct Account {
    url: String,
    jwk: Value,
    object: Value,
}

struct Order {
    account: usize,
    identifiers: Vec<Value>,
    authorizations: Vec<usize>,
    placed: Timestamp,
    /// Fetches left until it is ready.
    ready_polls: u32,
    /// Set by `finalize`; until then the state follows from the authorizations.
    issuance: Option<Issuance>,
}

struct Issuance {
    polls: u32,
    ends: Timestamp,
    result: Result<Vec<u8>, Value>,
}

struct Authorization {
    account: usize,
    identifier: Value,
    wildcard: bool,
    status: &'static str,
    challenges: Vec<usize>,
    /// Polls until the started challenge is validated.
    polls: Option<u32>,
    started: Timestamp,
}

struct Challenge {
    authorization: usize,
    type_: &'static str,
    token: String,
    status: &'static str,
    error: Option<Value>,
    /// Of the account's key when it was started: that is looked for, whatever key the account has then.
    thumbprint: String,
}

type Outcome = Result<Answer, Answer>;

fn refused(status: u16, name: &str, detail: &str) -> Answer {
    Answer::problem(status, &problem(name, detail))
}

impl State {
    pub fn nonce(&mut self) -> String {
        self.nonce_count += 1;
        let nonce = format!("nonce-{}_{:x}", self.nonce_count, self.nonce_count * 7919);
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// False for a nonce that was used or never given.
    pub fn use_nonce(&mut self, nonce: &str) -> bool {
        self.nonces.remove(nonce) && !(self.rules.refuse_nonce)()
    }

    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    pub fn account_key(&self, kid: &str) -> Option<Value> {
        self.accounts.iter().find(|a| a.url == kid).map(|a| a.jwk.clone())
    }

    /// Obeys a verified request.
    pub fn perform(
        &mut self,
        base: &str,
        endpoint: Endpoint,
        message: &Message,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Answer {
        self.now = now;
        let digits = message.url.rsplit('/').next().unwrap_or_default();
        let index = digits.parse::<usize>().unwrap_or(usize::MAX);
        let account = self.accounts.iter().position(|a| Some(&a.url) == message.kid.as_ref());
        let result = match (endpoint, account) {
            (Endpoint::NewAccount, _) => self.new_account(base, message),
            (_, Some(account)) if self.accounts[account].object["status"] != "valid" => {
                Err(refused(403, "unauthorized", "the account is not valid"))
            }
            (Endpoint::NewOrder, Some(account)) => self.new_order(base, account, &message.payload),
            (Endpoint::Revoke, account) => self.revoke(account, message),
            (Endpoint::Account, Some(account)) => Ok(self.account(account, &message.payload)),
            (Endpoint::KeyChange, Some(account)) => self.change_key(account, message),
            (Endpoint::Alternate, Some(account)) => self.alternate(account, index),
            (Endpoint::Order, Some(account)) => self.order(base, account, index),
            (Endpoint::Authorization, Some(account)) => self.authorization(base, account, index),
            (Endpoint::Challenge, Some(account)) => self.start(base, account, index, &message.payload),
            (Endpoint::Finalize, Some(account)) => {
                self.finalize(base, account, index, &message.payload, issuer, now)
            }
            (Endpoint::Certificate, Some(account)) => self.certificate(base, account, index),
            _ => Err(refused(404, "malformed", "no such resource")),
        };
        result.unwrap_or_else(|refusal| refusal)
    }

    fn new_account(&mut self, base: &str, message: &Message) -> Outcome {
        if let Some(known) = self.accounts.iter().find(|a| a.jwk == message.jwk) {
            return Ok(Answer::json(200, &known.object).with("Location", known.url.clone()));
        }
        let payload = &message.payload;
        if payload["onlyReturnExisting"] == json!(true) {
            return Err(refused(400, "accountDoesNotExist", "no account has this key"));
        }
        if self.rules.terms.is_some() && payload["termsOfServiceAgreed"] != json!(true) {
            return Err(refused(403, "userActionRequired", "the terms of service are not agreed to"));
        }
        let binding = payload.get("externalAccountBinding");
        if binding.is_none() && self.rules.eab_required {
            return Err(refused(403, "externalAccountRequired", "an external account is required"));
        }
        if let (Some(binding), Some((kid, secret))) = (binding, &self.rules.eab)
            && !is_bound(binding, &message.jwk, &message.url, kid, secret)
        {
            return Err(refused(403, "unauthorized", "the external account binding does not hold"));
        }
        let url = format!("{base}/account/{}", self.accounts.len());
        let object =
            json!({"status": "valid", "contact": payload.get("contact"), "orders": format!("{url}/orders")});
        let answer = Answer::json(201, &object).with("Location", url.clone());
        self.accounts.push(Account { url, jwk: message.jwk.clone(), object });
        Ok(answer)
    }

    fn new_order(&mut self, base: &str, account: usize, payload: &Value) -> Outcome {
        let identifiers = payload["identifiers"].as_array().cloned().unwrap_or_default();
        if identifiers.is_empty() {
            return Err(refused(400, "malformed", "an order needs identifiers"));
        }
        if let Some(profile) = payload.get("profile").and_then(Value::as_str)
            && !self.rules.profiles.contains(&profile)
        {
            return Err(refused(400, "invalidProfile", "no such profile"));
        }
        let authorizations = identifiers.iter().map(|i| self.authorize(account, i)).collect();
        let ready_polls = self.rules.ready_polls;
        let placed = self.now;
        self.orders.push(Order { account, identifiers, authorizations, placed, ready_polls, issuance: None });
        let index = self.orders.len() - 1;
        let answer = Answer::json(201, &self.order_json(base, index));
        Ok(answer.with("Location", format!("{base}/order/{index}")))
    }

    fn authorize(&mut self, account: usize, identifier: &Value) -> usize {
        let value = identifier["value"].as_str().unwrap_or_default();
        let (base, wildcard) = match value.strip_prefix("*.") {
            Some(base) => (base, true),
            None => (value, false),
        };
        let identifier = json!({"type": identifier["type"], "value": base});
        let fits = |a: &Authorization| {
            a.account == account
                && a.identifier == identifier
                && a.wildcard == wildcard
                && a.status == "valid"
        };
        if let Some(index) = self.authorizations.iter().position(fits)
            && self.rules.reuse_authorizations
        {
            return index;
        }
        let index = self.authorizations.len();
        let types: Vec<_> = self
            .rules
            .challenge_types
            .iter()
            .filter(|t| !wildcard || t.starts_with("dns-"))
            .copied()
            .collect();
        let first = self.challenges.len();
        for type_ in &types {
            let token = BASE64URL_NOPAD.encode(&openssl::sha::sha256(&self.challenges.len().to_be_bytes()));
            let (status, error, thumbprint) = ("pending", None, thumbprint(&self.accounts[account].jwk));
            let challenge = Challenge { authorization: index, type_, token, status, error, thumbprint };
            self.challenges.push(challenge);
        }
        let challenges = (first..first + types.len()).collect();
        let (status, polls, started) = ("pending", None, self.now);
        let new = Authorization { account, identifier, wildcard, status, challenges, polls, started };
        self.authorizations.push(new);
        index
    }

    /// Whether an order is there no more.
    fn has_expired(&self, order: &Order) -> bool {
        self.rules.expires.is_some_and(|lifetime| self.now >= order.placed.plus(lifetime))
    }

    fn check_expiry(&self, index: usize) -> Result<(), Answer> {
        match self.orders.get(index).is_some_and(|order| self.has_expired(order)) {
            true => Err(refused(404, "malformed", "the order has expired")),
            false => Ok(()),
        }
    }

    fn order(&mut self, base: &str, account: usize, index: usize) -> Outcome {
        self.check_expiry(index)?;
        let order = self.orders.get_mut(index).filter(|o| o.account == account);
        let order = order.ok_or_else(|| refused(404, "malformed", "no such order"))?;
        if let Some(issuance) = &mut order.issuance {
            issuance.polls = issuance.polls.saturating_sub(1);
        } else if order.authorizations.iter().all(|a| self.authorizations[*a].status == "valid") {
            order.ready_polls = order.ready_polls.saturating_sub(1);
        }
        Ok(self.pollable(Answer::json(200, &self.order_json(base, index))))
    }

    fn pollable(&self, mut answer: Answer) -> Answer {
        answer.set("Retry-After", self.rules.retry_after.clone());
        answer
    }

    fn order_json(&self, base: &str, index: usize) -> Value {
        let order = &self.orders[index];
        let authorizations: Vec<_> = order.authorizations.iter().map(|a| &self.authorizations[*a]).collect();
        let mut out = json!({
            "status": "pending",
            "identifiers": order.identifiers,
            "authorizations":
                order.authorizations.iter().map(|a| format!("{base}/authz/{a}")).collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{index}"),
        });
        if let Some(lifetime) = self.rules.expires {
            out["expires"] = json!(order.placed.plus(lifetime).to_rfc3339());
        }
        match &order.issuance {
            Some(Issuance { polls: 1.., .. }) => out["status"] = json!("processing"),
            Some(Issuance { ends, .. }) if self.now < *ends => out["status"] = json!("processing"),
            Some(Issuance { result: Ok(_), .. }) => {
                out["status"] = json!("valid");
                out["certificate"] = json!(format!("{base}/cert/{index}"));
            }
            Some(Issuance { result: Err(error), .. }) => {
                out["status"] = json!("invalid");
                out["error"] = error.clone();
            }
            None if authorizations.iter().any(|a| a.status == "invalid") => out["status"] = json!("invalid"),
            None if order.ready_polls == 0 && authorizations.iter().all(|a| a.status == "valid") => {
                out["status"] = json!("ready");
            }
            None => {}
        }
        out
    }

    fn authorization(&mut self, base: &str, account: usize, index: usize) -> Outcome {
        let of_order = self.orders.iter().rposition(|order| order.authorizations.contains(&index));
        of_order.map_or(Ok(()), |order| self.check_expiry(order))?;
        let found = self.authorizations.get(index).filter(|a| a.account == account);
        let polls = found.ok_or_else(|| refused(404, "malformed", "no such authorization"))?.polls;
        match polls {
            Some(left) if left > 0 => self.authorizations[index].polls = Some(left - 1),
            Some(_) if self.now < self.authorizations[index].started.plus(self.rules.validation_time) => {}
            Some(_) => self.validate(index),
            None => {}
        }
        let authorization = &self.authorizations[index];
        let challenges: Vec<Value> =
            authorization.challenges.iter().map(|c| self.challenge_json(base, *c)).collect();
        let mut object = json!({
            "status": authorization.status, "identifier": authorization.identifier, "challenges": challenges,
        });
        if authorization.wildcard {
            object["wildcard"] = json!(true);
        }
        Ok(self.pollable(Answer::json(200, &object)))
    }

    fn challenge_json(&self, base: &str, index: usize) -> Value {
        let challenge = &self.challenges[index];
        let mut out = json!({
            "type": challenge.type_, "url": format!("{base}/chall/{index}"),
            "status": challenge.status, "token": challenge.token,
        });
        if challenge.type_ == "dns-persist-01" {
            out["issuer-domain-names"] = json!(["ca.test", "other-name.ca.test"]);
            out.as_object_mut().unwrap().remove("token");
        }
        if challenge.status == "processing" && self.rules.shows_pending {
            out["status"] = json!("pending");
        }
        if let Some(error) = &challenge.error {
            out["error"] = error.clone();
        }
        out
    }

    /// Looks for the answer to the challenge that was started.
    pub fn validate(&mut self, index: usize) {
        let authorization = &mut self.authorizations[index];
        let started =
            authorization.challenges.iter().copied().find(|c| self.challenges[*c].status == "processing");
        let Some(started) = started else { return };
        let challenge = &mut self.challenges[started];
        let thumbprint = &challenge.thumbprint;
        let result = (self.rules.validate)(&Validation {
            name: authorization.identifier["value"].as_str().unwrap_or_default(),
            type_: challenge.type_,
            token: &challenge.token,
            key_authorization: &format!("{}.{thumbprint}", challenge.token),
        });
        if let Some(status) = self.rules.looks_once.filter(|_| result.is_err()) {
            challenge.error = result.err();
            challenge.status = status;
            authorization.polls = None;
            return;
        }
        let status = if result.is_ok() { "valid" } else { "invalid" };
        challenge.error = result.err();
        challenge.status = status;
        authorization.status = status;
        authorization.polls = None;
    }

    fn start(&mut self, base: &str, account: usize, index: usize, payload: &Value) -> Outcome {
        let missing = || refused(404, "malformed", "no such challenge");
        let authorization = self.challenges.get(index).ok_or_else(missing)?.authorization;
        if self.authorizations[authorization].account != account {
            return Err(missing());
        }
        if *payload != json!({}) && !payload.is_null() {
            return Err(refused(400, "malformed", "a challenge is started by an empty object"));
        }
        if self.rules.conflicts && self.challenges[index].status == "processing" {
            return Err(refused(409, "conflict", "the challenge is under way"));
        }
        let is_idle = self.challenges[index].status == "pending" || self.challenges[index].error.is_some();
        if !payload.is_null() && is_idle {
            if self.authorizations[authorization].status != "pending" {
                return Err(refused(400, "malformed", "the authorization is not pending"));
            }
            self.challenges[index].status = "processing";
            self.challenges[index].error = None;
            self.challenges[index].thumbprint = thumbprint(&self.accounts[account].jwk);
            self.authorizations[authorization].started = self.now;
            match self.rules.validation_polls {
                0 => self.validate(authorization),
                n => self.authorizations[authorization].polls = Some(n - 1),
            }
            if let Some(error) = self.challenges[index].error.as_mut().filter(|_| self.rules.refuses_in_vain)
            {
                let told = std::mem::replace(error, json!({"type": error["type"]}));
                return Err(Answer::problem(400, &told));
            }
        }
        Ok(self.pollable(Answer::json(200, &self.challenge_json(base, index))))
    }

    fn finalize(
        &mut self,
        base: &str,
        account: usize,
        index: usize,
        payload: &Value,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Outcome {
        self.check_expiry(index)?;
        let order = self.orders.get(index).filter(|o| o.account == account);
        let order = order.ok_or_else(|| refused(404, "malformed", "no such order"))?;
        if self.order_json(base, index)["status"] != "ready" {
            let (status, kind) = self.rules.not_ready;
            return Err(refused(status, kind, "the order is not ready"));
        }
        let csr = payload["csr"].as_str().and_then(|c| BASE64URL_NOPAD.decode(c.as_bytes()).ok());
        let csr = csr.ok_or_else(|| refused(400, "malformed", "no csr"))?;
        let name = |i: &Value| i["value"].as_str().unwrap_or_default().to_string();
        let names: Vec<String> = order.identifiers.iter().map(name).collect();
        let chain = issuer
            .issue(&csr, &names, now, self.rules.lifetime, self.rules.drops_extensions)
            .map_err(|why| refused(400, "badCSR", &why))?;
        let result = match &self.rules.issuance_error {
            Some(error) => Err(error.clone()),
            None => Ok(chain),
        };
        let (polls, ends) = (self.rules.issuance_polls, now.plus(self.rules.issuance_time));
        self.orders[index].issuance = Some(Issuance { polls, ends, result });
        Ok(self.pollable(Answer::json(200, &self.order_json(base, index))))
    }

    fn certificate(&self, base: &str, account: usize, index: usize) -> Outcome {
        let chain = self.sent(self.chain(account, index)?);
        let answer = Answer {
            status: 200,
            headers: vec![("Content-Type".into(), "application/pem-certificate-chain".into())],
            body: chain,
        };
        match self.rules.alternates {
            true => Ok(answer.with("Link", format!("<{base}/alternate/{index}>;rel=\"alternate\""))),
            false => Ok(answer),
        }
    }

    /// The chain as the rules have it sent.
    fn sent(&self, chain: &[u8]) -> Vec<u8> {
        if self.rules.sends.is_empty() {
            return chain.to_vec();
        }
        let certificates = X509::stack_from_pem(chain).unwrap();
        let pem = |what: &Sends| match what {
            Sends::Leaf => certificates[0].to_pem().unwrap(),
            Sends::Issuer => certificates[1].to_pem().unwrap(),
            Sends::Stranger => Issuer::new("stranger.test", Timestamp::from_unix(1_600_000_000)).pem(),
            Sends::Text => b"subject=CN = a.test\r\n\r\n".to_vec(),
        };
        self.rules.sends.iter().flat_map(pem).collect()
    }

    /// The leaf alone, as if a root had signed it.
    fn alternate(&self, account: usize, index: usize) -> Outcome {
        let leaf = X509::stack_from_pem(self.chain(account, index)?).unwrap().remove(0);
        Ok(Answer { status: 200, headers: Vec::new(), body: leaf.to_pem().unwrap() })
    }

    fn chain(&self, account: usize, index: usize) -> Result<&[u8], Answer> {
        let order = self.orders.get(index).filter(|o| o.account == account);
        match order.and_then(|o| o.issuance.as_ref()) {
            Some(Issuance { polls: 0, result: Ok(chain), ends }) if *ends <= self.now => Ok(chain),
            _ => Err(refused(404, "malformed", "no such certificate")),
        }
    }

    fn account(&mut self, account: usize, payload: &Value) -> Answer {
        let object = &mut self.accounts[account].object;
        if payload["status"] == "deactivated" {
            object["status"] = json!("deactivated");
        }
        if let Some(contact) = payload.get("contact") {
            object["contact"] = contact.clone();
        }
        Answer::json(200, object)
    }

    /// RFC 8555 §7.3.5.
    fn change_key(&mut self, account: usize, message: &Message) -> Outcome {
        let (jwk, change) =
            key_change(&message.payload, &message.url).map_err(|why| refused(400, "malformed", &why))?;
        let known = &self.accounts[account];
        if change["account"] != known.url.as_str() || change["oldKey"] != known.jwk {
            return Err(refused(400, "malformed", "the change is for another account or key"));
        }
        if let Some(other) = self.accounts.iter().find(|a| a.jwk == jwk) {
            return Err(refused(409, "malformed", "the key is in use").with("Location", other.url.clone()));
        }
        self.accounts[account].jwk = jwk;
        Ok(Answer::json(200, &self.accounts[account].object))
    }

    /// RFC 8555 §7.6.
    fn revoke(&mut self, account: Option<usize>, message: &Message) -> Outcome {
        let der = message.payload["certificate"].as_str();
        let der = der.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok()).unwrap_or_default();
        let certificate = X509::from_der(&der).map_err(|_| refused(400, "malformed", "no certificate"))?;
        let is_it = |order: &&Order| match &order.issuance {
            Some(Issuance { result: Ok(chain), .. }) => {
                X509::stack_from_pem(chain).unwrap()[0].to_der().unwrap() == der
            }
            _ => false,
        };
        let order = self.orders.iter().find(is_it);
        let order = order.ok_or_else(|| refused(404, "malformed", "not a certificate of this CA"))?;
        let may = match account {
            Some(account) => order.account == account,
            None => is_certified(&message.jwk, &certificate),
        };
        if !may {
            return Err(refused(403, "unauthorized", "the certificate belongs to somebody else"));
        }
        if self.revoked.iter().any(|(known, _)| *known == der) {
            return Err(refused(400, "alreadyRevoked", "it is revoked already"));
        }
        self.revoked.push((der, message.payload["reason"].as_u64()));
        Ok(Answer { status: 200, ..Answer::default() })
    }

    pub fn settle(&mut self) {
        self.authorizations.iter_mut().for_each(|a| a.polls = a.polls.map(|_| 0));
        self.orders.iter_mut().filter_map(|o| o.issuance.as_mut()).for_each(|issuance| issuance.polls = 0);
    }

    pub fn revoked(&self) -> &[(Vec<u8>, Option<u64>)] {
        &self.revoked
    }
}
