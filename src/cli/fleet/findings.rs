// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a fleet by the report of the process that replicates, in the form of `a2md doctor`, which
//! shares these with `a2md fleet status`. Pure.

use crate::cli::doctor::finding::Finding;
use crate::model::FleetReport;

/// Revisions of the engine that may be on their way.
const LAG_MAX: u64 = 100;

/// Of a report as of now.
pub fn of_report(report: &FleetReport) -> Vec<Finding> {
    let engine = if report.engine.is_empty() { "the engine" } else { &report.engine };
    let mut out = vec![connection(report, engine)];
    out.extend(clock(report, engine));
    out.extend(names(report));
    out.extend(lag(report, engine));
    out.extend(report.refused.iter().map(|(name, reason)| refused(name, reason)));
    out
}

fn connection(report: &FleetReport, engine: &str) -> Finding {
    let since = report.since.map(|since| format!(" since {}", since.to_rfc3339())).unwrap_or_default();
    let Some((what, advice)) = report.problem.as_deref().map(apart) else {
        return match report.connected {
            true => Finding::works("fleet-engine", engine, format!("It is connected{since}.")),
            false => {
                Finding::fails("fleet-engine", engine, not_connected(&since, "no reason is known"), START)
            }
        };
    };
    match report.connected {
        true => Finding::fails(
            "fleet-engine",
            engine,
            format!("It is connected{since}, but: {}", sentence(what)),
            advice.unwrap_or_else(|| "Mend what the text names; httpd's error log has more of it.".into()),
        ),
        false => {
            let advice = advice.unwrap_or_else(|| START.into());
            Finding::fails("fleet-engine", engine, not_connected(&since, what), advice)
        }
    }
}

const START: &str = "Start the engine, and see that this machine reaches it with the URL of MDFleet, the user and files of \
                     MDFleetUser and MDFleetCACertificateFile; httpd's error log says what failed.";

fn not_connected(since: &str, why: &str) -> String {
    format!(
        "It is not connected{since}: {} Certificates are served all the same; this node renews on its own only what is \
         about to expire.",
        sentence(why)
    )
}

/// A problem, and the advice that stands behind it.
fn apart(problem: &str) -> (&str, Option<String>) {
    let Some((what, advice)) = problem.rsplit_once("; ") else { return (problem, None) };
    let mut letters = advice.chars();
    let advice = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    (what, advice.map(|advice| sentence(&advice)))
}

fn clock(report: &FleetReport, engine: &str) -> Option<Finding> {
    let off = report.clock_off?;
    let direction = if off > 0 { "ahead of" } else { "behind" };
    let evidence = format!("This node's clock is {} s {direction} the engine's.", off.unsigned_abs());
    Some(match report.is_clock_off() {
        true => Finding::fails(
            "fleet-clock",
            engine,
            evidence,
            "Have the time of this machine set by NTP (chrony, systemd-timesyncd), and look at the engine's machine, too.",
        ),
        false => Finding::works("fleet-clock", engine, evidence),
    })
}

fn names(report: &FleetReport) -> Vec<Finding> {
    let of = |name: &&str| {
        let ids = report.nodes.iter().filter(|node| node.name == *name).map(|node| node.id.as_str());
        let ids = ids.collect::<Vec<_>>().join(", ");
        Finding::fails(
            "fleet-node-names",
            *name,
            format!("Several live nodes have this name: {ids}."),
            "Give each httpd a name of its own by MDFleetNode. If one store was copied from the other, remove the folder \
             fleet of the copy while its httpd is stopped: it then gets an id of its own.",
        )
    };
    report.shared_names().iter().map(of).collect()
}

fn lag(report: &FleetReport, engine: &str) -> Option<Finding> {
    let lag = report.lag();
    (report.connected && lag > LAG_MAX).then(|| {
        Finding::fails(
            "fleet-lag",
            engine,
            format!("This node has not applied {lag} changes of the engine."),
            "See whether its disk is slow or full; 'a2md fleet resync' has it read everything again.",
        )
    })
}

fn refused(name: &str, reason: &str) -> Finding {
    Finding::fails(
        "fleet-refused",
        name,
        format!("A value of the engine is not used: {}", sentence(reason)),
        "Where it was sealed by another secret, name that one as second file of MDFleetSecretFile, reload httpd, and call \
         'a2md fleet rekey'. Else a stranger may write to the engine: see who has its password.",
    )
}

/// With a full stop.
fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_string() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::model::ReportedNode;

    fn good() -> FleetReport {
        let node = |id: &str, name: &str| ReportedNode {
            id: id.into(),
            name: name.into(),
            ..ReportedNode::default()
        };
        FleetReport {
            engine: "etcd://e.test:2379".into(),
            connected: true,
            nodes: vec![node("1", "www1"), node("2", "www2")],
            revision: 150,
            applied: 100,
            clock_off: Some(-2),
            ..FleetReport::default()
        }
    }

    #[test]
    fn nothing_is_wrong_with_a_good_fleet() {
        let found = of_report(&good());
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Works), "{found:?}");
    }

    #[test]
    fn each_fault_is_found_with_what_to_do() {
        type Fault = fn(&mut FleetReport);
        let faults: [(&str, &str, Fault); 8] = [
            ("fleet-engine", "not connected", |report| report.connected = false),
            ("fleet-engine", "refused (timeout).", |report| {
                (report.connected, report.problem) = (false, Some("refused (timeout)".into()));
            }),
            ("fleet-engine", "not connected: it refuses. Cert", |report| {
                (report.connected, report.problem) = (false, Some("it refuses; correct the user".into()));
            }),
            ("fleet-engine", "connected, but: it is full.", |report| {
                report.problem = Some("it is full.".into())
            }),
            ("fleet-clock", "61 s ahead of", |report| report.clock_off = Some(61)),
            ("fleet-node-names", "name: 1, 2.", |report| report.nodes[1].name = "www1".into()),
            ("fleet-lag", "101 changes", |report| report.applied = 49),
            ("fleet-refused", "not used: no.", |report| {
                report.refused = vec![("a.test".into(), "no".into())]
            }),
        ];
        assert_eq!(apart("it is full; make room"), ("it is full", Some("Make room.".into())));
        for (check, evidence, fault) in faults {
            let mut report = good();
            fault(&mut report);
            let found = of_report(&report);
            let failing: Vec<_> = found.iter().filter(|finding| finding.verdict == Verdict::Fails).collect();
            let [finding] = failing[..] else { panic!("{check}: {found:?}") };
            assert_eq!(finding.check, check);
            assert!(finding.evidence.contains(evidence) && finding.remedy.is_some(), "{finding:?}");
        }
    }
}
