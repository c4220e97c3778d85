// SPDX-License-Identifier: Apache-2.0
//! The JSON of a [`Configuration`], both ways. Reading refuses what is no such document, or one of a later
//! schema; a part of it that cannot be read is left out. Pure.

use super::{Configuration, DumpedFinding, DumpedFleet, DumpedHost};
use crate::config::{Host, PlannedMd};
use crate::model::dns01::{Command, Propagation, Way};
use crate::model::{Dns01, DnsService, DnsZone, Eab, Md, RenewMode, Route};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Of these documents. A greater number means that a key has changed its meaning; new keys do not.
const SCHEMA: u64 = 1;
/// Bytes of a line of httpd's configuration.
const LINE_MAX: usize = 16 * 1024;

/// Why a document is no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no configuration of mod_md")]
    Other,
    #[error("it has schema {0}, and this a2md knows only schema 1: use the a2md that came with the module")]
    Schema(u64),
}

impl Configuration {
    pub fn to_json(&self) -> Value {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut out = json!({
            "schema": SCHEMA,
            "version": self.version,
            "store": path(&self.store),
            "server-root": path(&self.server_root),
        });
        if let Some((uid, gid)) = self.user {
            out["user"] = json!({"uid": uid, "gid": gid});
        }
        out["managed-domains"] = self.mds.iter().map(planned_json).collect();
        out["hosts"] = self.hosts.iter().map(host_json).collect();
        out["ports"] = json!(self.ports);
        put(&mut out, "http-port", self.http_port);
        put(&mut out, "https-port", self.https_port);
        out["live-activation"] = json!(self.is_live);
        put(&mut out, "store-locks-ms", self.store_locks.map(millis));
        put(&mut out, "retry-delay-ms", self.retry_delay.map(millis));
        put(&mut out, "retry-failover", self.retry_failover);
        put(&mut out, "renew-parallel", self.renew_parallel);
        put(&mut out, "dns", (self.dns != DnsService::default()).then(|| dns_json(&self.dns)));
        put(&mut out, "fleet", self.fleet.as_ref().map(fleet_json));
        put(&mut out, "message-cmd", self.message_cmd.as_deref());
        put(&mut out, "notify-cmd", self.notify_cmd.as_deref());
        out["findings"] = self.findings.iter().map(finding_json).collect();
        out
    }

    pub fn from_json(value: &Value) -> Result<Self, Unreadable> {
        let schema = value.get("schema").and_then(Value::as_u64).ok_or(Unreadable::Other)?;
        if schema != SCHEMA {
            return Err(Unreadable::Schema(schema));
        }
        let path = |key: &str| line(value, key).map(PathBuf::from).ok_or(Unreadable::Other);
        let hosts: Vec<DumpedHost> = items(value, "hosts").filter_map(host).collect();
        let user = value.get("user");
        Ok(Configuration {
            version: line(value, "version").unwrap_or_default(),
            store: path("store")?,
            server_root: path("server-root")?,
            user: user.and_then(|user| Some((number(user, "uid")?, number(user, "gid")?))),
            mds: items(value, "managed-domains").filter_map(|md| planned(md, hosts.len())).collect(),
            hosts,
            ports: items(value, "ports").filter_map(port).collect(),
            http_port: value.get("http-port").and_then(port),
            https_port: value.get("https-port").and_then(port),
            is_live: value.get("live-activation").and_then(Value::as_bool).unwrap_or_default(),
            store_locks: duration(value, "store-locks-ms"),
            retry_delay: duration(value, "retry-delay-ms"),
            retry_failover: number(value, "retry-failover"),
            renew_parallel: number(value, "renew-parallel"),
            dns: value.get("dns").map(dns).unwrap_or_default(),
            fleet: value.get("fleet").map(fleet),
            message_cmd: line(value, "message-cmd"),
            notify_cmd: line(value, "notify-cmd"),
            findings: items(value, "findings").filter_map(finding).collect(),
        })
    }
}

/// The same key is absent where there is no value.
fn put(out: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let (Some(fields), Some(value)) = (out.as_object_mut(), value) {
        fields.insert(key.to_string(), value.into());
    }
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A text as a line of httpd's configuration can have it, or none.
fn line(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(as_line)
}

fn as_line(value: &Value) -> Option<String> {
    value.as_str().filter(|text| text.len() <= LINE_MAX).map(String::from)
}

fn lines(value: &Value, key: &str) -> Vec<String> {
    items(value, key).filter_map(as_line).collect()
}

fn number(value: &Value, key: &str) -> Option<u32> {
    value.get(key)?.as_u64()?.try_into().ok()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

fn place_json((file, line): &(String, u32)) -> Value {
    json!({"file": file, "line": line})
}

fn place(value: &Value) -> (String, u32) {
    let place = value.get("defined-at").unwrap_or(&Value::Null);
    (line(place, "file").unwrap_or_default(), number(place, "line").unwrap_or_default())
}

fn finding_json(finding: &DumpedFinding) -> Value {
    json!({"code": finding.code, "text": finding.text})
}

fn finding(value: &Value) -> Option<DumpedFinding> {
    Some(DumpedFinding { code: line(value, "code").unwrap_or_default(), text: line(value, "text")? })
}

fn host_json(dumped: &DumpedHost) -> Value {
    let host = &dumped.host;
    let mut out = json!({
        "server-name": host.server_name,
        "aliases": host.aliases,
        "main": host.is_main,
        "defined-at": place_json(&host.defined_at),
        "address": dumped.address,
        "port": host.port,
        "ports": host.ports,
    });
    put(&mut out, "admin", host.admin.as_deref());
    put(&mut out, "tls", dumped.has_tls);
    out["own-certificate"] = json!(dumped.has_own_certificate);
    out
}

fn host(value: &Value) -> Option<DumpedHost> {
    value.is_object().then(|| DumpedHost {
        host: Host {
            server_name: line(value, "server-name").unwrap_or_default(),
            aliases: lines(value, "aliases"),
            is_main: value.get("main").and_then(Value::as_bool).unwrap_or_default(),
            admin: line(value, "admin"),
            defined_at: place(value),
            port: value.get("port").and_then(port).unwrap_or_default(),
            ports: items(value, "ports").filter_map(port).collect(),
        },
        address: line(value, "address").unwrap_or_default(),
        has_tls: value.get("tls").and_then(Value::as_bool),
        has_own_certificate: value.get("own-certificate").and_then(Value::as_bool).unwrap_or_default(),
    })
}

fn planned_json(planned: &PlannedMd) -> Value {
    let PlannedMd { md, hosts, defined_at, dns01, dns_servers, route, watched } = planned;
    let mut fields = md.to_public_json();
    if let Some(eab) = &md.eab {
        fields["eab"] = json!({"kid": eab.kid});
    }
    // md.json says manual where files of the admin are served.
    let mode = json!(md.renew_mode as i32);
    let mut out = json!({
        "md": fields,
        "renew-mode": mode,
        "hosts": hosts,
        "defined-at": place_json(defined_at),
        "dns-servers": dns_servers,
        "route": route_json(route),
        "watched": watched,
    });
    put(&mut out, "dns-01", dns01.as_ref().map(dns01_json));
    out
}

fn planned(value: &Value, hosts: usize) -> Option<PlannedMd> {
    let fields = value.get("md")?;
    let mut md = Md::from_json(fields)?;
    let kid = fields.get("eab").and_then(|eab| line(eab, "kid"));
    md.eab = kid.map(|kid| Eab { kid, hmac: String::new() });
    md.renew_mode = RenewMode::from_number(value.get("renew-mode").and_then(Value::as_i64));
    let index = |index: &Value| usize::try_from(index.as_u64()?).ok().filter(|index| *index < hosts);
    Some(PlannedMd {
        md,
        hosts: items(value, "hosts").filter_map(index).collect(),
        defined_at: place(value),
        dns01: value.get("dns-01").and_then(dns01),
        dns_servers: lines(value, "dns-servers"),
        route: value.get("route").map(route).unwrap_or_default(),
        watched: value.get("watched").and_then(Value::as_bool).unwrap_or_default(),
    })
}

fn route_json(route: &Route) -> Value {
    let mut out = Value::Object(Map::new());
    put(&mut out, "ca-file", route.ca_file.as_deref());
    put(&mut out, "proxy-url", route.proxy_url.as_deref());
    put(&mut out, "proxy-ca-file", route.proxy_ca_file.as_deref());
    out
}

fn route(value: &Value) -> Route {
    Route {
        ca_file: line(value, "ca-file"),
        proxy_url: line(value, "proxy-url"),
        proxy_ca_file: line(value, "proxy-ca-file"),
    }
}

fn dns01_json(dns01: &Dns01) -> Value {
    let Dns01 { way, limit, propagation } = dns01;
    let mut out = match way {
        Way::Command(Command { line, version }) => json!({"command": line, "version": version}),
        way => json!({"way": way.to_json()}),
    };
    out["timeout-ms"] = millis(*limit);
    put(&mut out, "propagation-ms", propagation.limit.map(millis));
    out["propagation-servers"] = json!(propagation.servers);
    out
}

fn dns01(value: &Value) -> Option<Dns01> {
    let way = match line(value, "command") {
        Some(line) => {
            let version = value.get("version").and_then(Value::as_u64);
            Way::Command(Command { line, version: version.and_then(|v| v.try_into().ok()).unwrap_or(1) })
        }
        None => Way::from_json(value.get("way")?)?,
    };
    Some(Dns01 {
        way,
        limit: duration(value, "timeout-ms")?,
        propagation: Propagation {
            limit: duration(value, "propagation-ms"),
            servers: lines(value, "propagation-servers"),
        },
    })
}

fn dns_json(dns: &DnsService) -> Value {
    let listen: Vec<String> = dns.listen.iter().map(ToString::to_string).collect();
    let zone = |zone: &DnsZone| json!({"zone": zone.zone, "name-servers": zone.hosts});
    json!({"listen": listen, "zones": dns.zones.iter().map(zone).collect::<Vec<_>>()})
}

fn dns(value: &Value) -> DnsService {
    let zone =
        |value: &Value| Some(DnsZone { zone: line(value, "zone")?, hosts: lines(value, "name-servers") });
    DnsService {
        listen: lines(value, "listen").iter().filter_map(|text| text.parse().ok()).collect(),
        zones: items(value, "zones").filter_map(zone).collect(),
    }
}

fn fleet_json(fleet: &DumpedFleet) -> Value {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let secret_files: Vec<String> = fleet.secret_files.iter().map(path).collect();
    let mut out = json!({"urls": fleet.urls, "secret-files": secret_files});
    put(&mut out, "ca-file", fleet.ca_file.as_ref().map(path));
    if let Some((certificate, key)) = &fleet.client_files {
        out["client"] = json!({"certificate-file": path(certificate), "key-file": path(key)});
    }
    if let Some((name, file)) = &fleet.user {
        out["user"] = json!({"name": name, "file": path(file)});
    }
    put(&mut out, "node", fleet.node.as_deref());
    out
}

fn fleet(value: &Value) -> DumpedFleet {
    let path = |value: &Value, key: &str| line(value, key).map(PathBuf::from);
    let client = value.get("client");
    let user = value.get("user");
    DumpedFleet {
        urls: lines(value, "urls"),
        secret_files: lines(value, "secret-files").into_iter().map(PathBuf::from).collect(),
        ca_file: path(value, "ca-file"),
        client_files: client
            .and_then(|client| Some((path(client, "certificate-file")?, path(client, "key-file")?))),
        user: user.and_then(|user| Some((line(user, "name")?, path(user, "file")?))),
        node: line(value, "node"),
    }
}

fn duration(value: &Value, key: &str) -> Option<Duration> {
    value.get(key).and_then(Value::as_u64).map(Duration::from_millis)
}

fn millis(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
