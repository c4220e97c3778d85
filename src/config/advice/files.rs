// SPDX-License-Identifier: Apache-2.0
//! Findings about files, commands and the folder of the store.

use super::context::Context;
use super::spelling::nearest;
use crate::config::check::together;
use crate::config::finding::Finding;
use crate::config::finding::{Item, at, coded, gathered};
use crate::config::planned::{Plan, PlannedMd};
use crate::config::tree::Engine;
use crate::log::Level;
use crate::model::dns01::{HookKind, Way};
use std::collections::BTreeMap;

pub(super) fn advice(plan: &Plan, context: &Context<'_>) -> Vec<Finding> {
    if plan.mds.is_empty() {
        return Vec::new();
    }
    let files = plan.mds.iter().flat_map(|planned| static_files(planned, context)).collect();
    let mut findings = coded("certificate-file", gathered("", "problems with certificate files", files));
    let commands = gathered("", "commands that cannot be started", commands(plan, context));
    findings.extend(coded("command-unusable", commands));
    findings.extend(store(plan, context));
    findings
}

fn static_files(planned: &PlannedMd, context: &Context<'_>) -> Vec<Item<'static>> {
    let md = &planned.md;
    let is_tls = |host: &usize| context.tls.get(*host).is_some_and(|tls| tls.engine == Engine::On);
    let is_used = planned.hosts.iter().any(is_tls);
    let mut items = Vec::new();
    for (cert, key) in md.cert_files.iter().zip(&md.pkey_files) {
        for fault in (context.file_faults)(md, cert, key) {
            let (directive, file) =
                if fault.is_of_key { ("MDCertificateKeyFile", key) } else { ("MDCertificateFile", cert) };
            let place = context.tree.find_in_section(&planned.defined_at, directive, file);
            let place = place.unwrap_or_else(|| planned.defined_at.clone());
            let is_fatal = fault.is_fatal && is_used;
            let effect = if is_fatal { " httpd will not start." } else { "" };
            let text = format!("{}: md[{}]: {directive} {file} {}{effect}", at(&place), md.name, fault.text);
            items.push(Item {
                level: if is_fatal { Level::Error } else { Level::Warn },
                name: format!("{} ({})", md.name, at(&place)),
                text: Box::new(move || text.clone()),
            });
        }
    }
    items
}

fn commands(plan: &Plan, context: &Context<'_>) -> Vec<Item<'static>> {
    let global = &plan.global;
    let notify = global.notify_cmd.as_deref().and_then(|line| {
        command(context, "MDNotifyCmd", line, line, None, "Renewed certificates are not reported.")
    });
    let message = global.message_cmd.as_deref().and_then(|line| {
        let loss = "Every renewal is postponed until this command can be started (event 'renewing'), and no \
                    event is reported.";
        command(context, "MDMessageCmd", line, line, None, loss)
    });
    let mut dns01: BTreeMap<(String, String), (&PlannedMd, usize)> = BTreeMap::new();
    for planned in plan.mds.iter().filter(|planned| super::context::is_renewed(planned)) {
        for program in planned.dns01.iter().flat_map(|dns01| programs(&dns01.way)) {
            dns01.entry(program).or_insert((planned, 0)).1 += 1;
        }
    }
    let dns01 = dns01.into_iter().filter_map(|((shown, line), users)| {
        let loss = "Challenges of type dns-01 fail, so no wildcard gets a certificate.";
        let meant = meant_way(&shown).map(|way| format!("{loss} Did you mean {way}?"));
        command(context, "MDChallengeDns01", &shown, &line, Some(users), meant.as_deref().unwrap_or(loss))
    });
    notify.into_iter().chain(message).chain(dns01).collect()
}

/// What a way starts: as the directive shows it, and as a command line.
fn programs(way: &Way) -> Vec<(String, String)> {
    match way {
        Way::Command(command) => vec![(command.line.clone(), command.line.clone())],
        Way::Hook(hook) => {
            let programs = hook.words.iter().take(hook.kind.programs());
            programs.map(|word| (format!("hook:{} {word}", hook.kind.word()), word.clone())).collect()
        }
        Way::Rfc2136(_) | Way::AcmeDns(_) | Way::Responder => Vec::new(),
    }
}

/// The first word that chooses a way and that a slip of the pen would make of that of a command.
fn meant_way(line: &str) -> Option<String> {
    let word = line.split_whitespace().next().filter(|word| !word.contains('/'))?;
    let hooks = HookKind::ALL.into_iter().map(|kind| format!("hook:{}", kind.word()));
    let ways: Vec<String> =
        ["rfc2136", "acme-dns", "responder"].map(String::from).into_iter().chain(hooks).collect();
    let lower = word.to_ascii_lowercase();
    match ways.iter().find(|way| **way == lower) {
        // It is one, and no command: its program is at fault.
        Some(way) if way == word => None,
        Some(way) => Some(way.clone()),
        None => nearest(&lower, ways.iter().map(String::as_str)).map(String::from),
    }
}

/// The finding about a command, if it cannot be started. `shown`: what the directive says; `users`: the first
/// domain that has it, and how many do; `loss`: the consequence.
fn command(
    context: &Context<'_>,
    directive: &str,
    shown: &str,
    line: &str,
    users: Option<(&PlannedMd, usize)>,
    loss: &str,
) -> Option<Item<'static>> {
    let fault = (context.command_fault)(line)?;
    let tree = context.tree;
    let place = tree.find(directive, |args| args == shown);
    let place = place.or_else(|| tree.find(directive, |args| args.starts_with(shown)));
    let place = place.or_else(|| tree.find(directive, |_| true));
    let place = place.or_else(|| users.map(|(first, _)| first.defined_at.clone()));
    let place = place.map(|place| format!("{}: ", at(&place))).unwrap_or_default();
    let mds = match users {
        None => String::new(),
        Some((first, 1)) => format!("md[{}]: ", first.md.name),
        Some((first, count)) => format!("md[{}] and {} more: ", first.md.name, count - 1),
    };
    let text = format!(
        "{place}{mds}{directive} {shown}: {fault}. {loss} Correct the directive, or the file that it names."
    );
    Some(Item {
        level: Level::Warn,
        name: format!("{directive} {shown}"),
        text: Box::new(move || text.clone()),
    })
}

fn store(plan: &Plan, context: &Context<'_>) -> Option<Finding> {
    let fault = context.store_fault.as_ref()?;
    let place = context.tree.find("MDStoreDir", |_| true).map(|place| at(&place));
    let mds: Vec<&PlannedMd> = plan.mds.iter().collect();
    Some(Finding::new(
        Level::Warn,
        format!(
            "{}: httpd's child processes cannot use the store (MDStoreDir {}): {fault}. No certificate can \
             be renewed, and no challenge answered. Grant access with 'chmod o+x', or choose another folder.",
            place.unwrap_or_else(|| together(&mds)),
            plan.global.store_dir
        ),
    ).code("store-closed"))
}
