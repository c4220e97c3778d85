// SPDX-License-Identifier: Apache-2.0
//! An address to which no connection comes about: whether that is a fault, or cannot be told from here. Pure.
//! Imports `case` and `finding`.

use super::case::{Case, Look};
use super::follow::End;
use crate::cli::doctor::finding::Finding;
use crate::http::probe::Failure;

/// `failure`: why there is no connection to the address.
pub fn judge(case: &Case<'_>, look: &Look, failure: &Failure) -> Finding {
    if let Failure::NoRoute(_) = failure
        && !look.is_here
    {
        return no_route(case, look, failure);
    }
    if case.own.answer.is_err() {
        return nothing_listens(case, look, failure);
    }
    if look.is_here {
        return not_at_this_address(case, look, failure);
    }
    let leads_here = |other: &Look| matches!(&other.way.end, End::Seen(seen) if case.has_token(seen));
    match case.looks.iter().find(|other| leads_here(other)) {
        Some(other) => nowhere(case, look, other, failure),
        None => behind_router(case, look, failure),
    }
}

fn no_route(case: &Case<'_>, look: &Look, failure: &Failure) -> Finding {
    let family = if look.address.is_ipv4() { "IPv4" } else { "IPv6" };
    Finding::cannot_be_told(
        "no-route",
        case.name,
        format!("{}: {failure}.", case.at(look)),
        format!("Look from a machine with {family}: CAs ask this address too, and most ask IPv6 first."),
    )
}

/// The listener of this machine does not answer either.
fn nothing_listens(case: &Case<'_>, look: &Look, failure: &Failure) -> Finding {
    let (port, own) = (case.kind.port(), case.own);
    let local =
        if own.port == port { String::new() } else { format!(" (port {} of this machine)", own.port) };
    let at = case.at(look);
    match (own.is_configured, own.is_running) {
        (Some(false), _) => Finding::fails(
            case.kind.closed(),
            case.name,
            format!("{at}: {failure}, and httpd has no Listen for port {port}{local}."),
            format!(
                "Add 'Listen {}', or say by MDPortMap which port the public port {port} leads to; or set \
                     MDCAChallenges to another challenge than {}.",
                own.port,
                case.kind.type_()
            ),
        ),
        (Some(true), is_running) => {
            let why = if is_running == Some(false) { ": it is not running" } else { "" };
            Finding::fails(
                case.kind.closed(),
                case.name,
                format!(
                    "{at}: {failure}. httpd is configured to listen on port {port}{local}, and nothing does{why}."
                ),
                "Start httpd; if it runs, check that it has read this configuration, and the firewall of this machine.",
            )
        }
        (None, Some(true)) => Finding::fails(
            case.kind.closed(),
            case.name,
            format!(
                "{at}: {failure}, and nothing answers on port {port}{local} of this machine, although httpd runs."
            ),
            format!(
                "Add 'Listen {}', or say by MDPortMap which port the public port {port} leads to.",
                own.port
            ),
        ),
        (None, _) => Finding::cannot_be_told(
            case.kind.closed(),
            case.name,
            format!("{at}: {failure}, and no httpd runs on this machine that could answer."),
            "Start httpd and call 'a2md doctor' again.",
        ),
    }
}

/// It answers, but not at this address of the machine.
fn not_at_this_address(case: &Case<'_>, look: &Look, failure: &Failure) -> Finding {
    Finding::fails(
        case.kind.closed(),
        case.name,
        format!(
            "{}: {failure}. The address is one of this machine, and httpd listens on others alone.",
            case.at(look)
        ),
        format!(
            "Have httpd listen on this address ('Listen {}' for all), and open the port in the firewall of this machine.",
            case.own.port
        ),
    )
}

/// Another address of the name leads here, so that from here those of the name can be reached.
fn nowhere(case: &Case<'_>, look: &Look, other: &Look, failure: &Failure) -> Finding {
    let (check, record) = if look.address.is_ipv4() { ("a-nowhere", "A") } else { ("aaaa-nowhere", "AAAA") };
    Finding::fails(
        check,
        case.name,
        format!("{}: {failure}, while {} leads to this httpd.", case.at(look), other.address),
        format!(
            "Remove the {record} record of {} for {}, or have httpd and the network answer there: CAs ask IPv6 first, and \
             may ask any address.",
            case.name, look.address
        ),
    )
}

fn behind_router(case: &Case<'_>, look: &Look, failure: &Failure) -> Finding {
    let port = case.kind.port();
    Finding::cannot_be_told(
        case.kind.closed(),
        case.name,
        format!(
            "{}: {failure}, from this machine, while its own port {} answers (a router that does not lead its own outside \
             addresses back?).",
            case.at(look),
            case.own.port
        ),
        format!(
            "Ask from outside, with 'curl http://{}/' on a machine elsewhere; check that {} is the address of this site, and \
             that router and firewall lead its port {port} here.",
            case.name.strip_prefix("*.").unwrap_or(case.name),
            look.address
        ),
    )
}
