// SPDX-License-Identifier: Apache-2.0
//! OCSP stapling with a real responder: how long many certificates wait for their responses.

use crate::site::Module;
use std::time::{Duration, Instant};
use support::own_ca::OwnCa;
use support::responder::{Act, Responder, Signers};
use support::{Config, Lab, Need, staple, wait_for};

/// More than the slowest module takes for a thousand certificates, one after the other.
const PATIENCE: Duration = Duration::from_secs(1200);
/// The C module runs only where there is a domain.
pub const IDLE: &str = "MDomain idle.test\nMDRenewMode manual";

pub fn lab(name: &str) -> Lab {
    const NO_NEEDS: &[Need] = &[];
    Lab::open(&format!("bench::{name}::here"), NO_NEEDS).expect("what a bench needs is there")
}

pub fn authority(lab: &Lab) -> (OwnCa, Responder) {
    let (ca, responder) = (OwnCa::new(lab, "Own CA"), Responder::start(lab, Act::Good(86_400)));
    responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    (ca, responder)
}

/// Seconds from exec until so many certificates of one responder, which takes 200 ms for each answer, are
/// stapled.
pub fn staples(count: usize, modules: &[&Module]) {
    for module in modules {
        let lab = lab("staples");
        let (ca, responder) = authority(&lab);
        responder.delay(Duration::from_millis(200));
        let names: Vec<String> = (0..count).map(|n| format!("h{n}.test")).collect();
        let mut config = Config::new(&lab).line("MDStapling on\nLogLevel notice").line(IDLE);
        if let Some(file) = &module.file {
            config = config.module(file);
        }
        for name in &names {
            config = config.site_with(name, &ca.issue(&lab, name, &responder.url()).directives());
        }
        let begin = Instant::now();
        let _httpd = config.start();
        let up = begin.elapsed();
        for name in &names {
            wait_for(name, PATIENCE, || staple::staple(lab.https, name, &ca.root));
        }
        println!(
            "\n{count} certificates of one responder, {}: first answer after {:.1} s, all stapled after {:.1} s, {} requests, \
             at most {} at once",
            module.name,
            up.as_secs_f64(),
            begin.elapsed().as_secs_f64(),
            responder.requests(),
            responder.most_open()
        );
    }
}
