// SPDX-License-Identifier: Apache-2.0
//! The files that `MDFleet` and the directives beside it name, and the folder of the store that it needs. No
//! engine runs here.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use support::httpd::unprivileged_user;
use support::lab::is_root;
use support::{Config, Httpd, Lab, open_lab};

const SECRET: &str = "VGhlIHNlY3JldCBvZiBhIGZsZWV0LCAzMiBieXRlcy4=";
const OTHER: &str = "QW5vdGhlciBzZWNyZXQgb2YgYSBmbGVldCwgMzIgQnk=";
const PASSWORD: &str = "planted-password-of-the-engine";

fn write(lab: &Lab, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = lab.path(name);
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

/// With an engine that does not answer.
fn fleet(lab: &Lab, secrets: &[&Path]) -> Config {
    let (engine, ca) = (lab.port(), lab.port());
    let secrets: Vec<String> = secrets.iter().map(|path| path.display().to_string()).collect();
    Config::new(lab)
        .line(&format!("MDFleet etcd://127.0.0.1:{engine}\nMDFleetSecretFile {}", secrets.join(" ")))
        .line(&format!("MDCertificateAuthority https://127.0.0.1:{ca}/dir\nMDomain a.test"))
        .site("a.test", &[])
}

#[test]
fn a_secret_of_no_use_ends_configtest_and_start() {
    let Some(lab) = open_lab!() else { return };
    for (content, mode, expected) in [
        (None, 0, "cannot be read: No such file or directory. Put it there"),
        (Some("planted"), 0o600, "is not base64 in one line. Copy the file from another node"),
        (Some(SECRET), 0o640, "can be read or written by other users (mode 0640)"),
    ] {
        let path = match content {
            Some(content) => write(&lab, "secret", content, mode),
            None => lab.path("absent"),
        };
        let expected = format!("MDFleetSecretFile: the file {} {expected}", path.display());
        let (passed, said) = fleet(&lab, &[&path]).configtest();
        assert!(!passed && said.contains(&expected), "{said}");
        let Err(said) = fleet(&lab, &[&path]).try_start() else { panic!("httpd started") };
        assert!(said.contains(&expected) && !said.contains("planted"), "{said}");
    }
    let good = write(&lab, "secret", SECRET, 0o600);
    let (passed, said) = fleet(&lab, &[&good]).configtest();
    assert!(passed, "{said}");
    fleet(&lab, &[&good]).start().stop();
}

#[test]
fn a_secret_of_no_use_at_a_reload_is_told_and_httpd_goes_on() {
    let Some(lab) = open_lab!() else { return };
    let path = write(&lab, "secret", SECRET, 0o600);
    let mut httpd = fleet(&lab, &[&path]).start();
    let serves = |httpd: &Httpd| assert!(httpd.get("main.test", "/md-status").body.contains("a.test"));
    for (content, mode, fault) in [("planted", 0o600, "is not base64"), (SECRET, 0o644, "(mode 0644)")] {
        write(&lab, "secret", content, mode);
        httpd.graceful();
        serves(&httpd);
        let said = httpd.logged(fault);
        let last = said.last().unwrap();
        assert!(last.contains(":crit]") && last.contains("httpd goes on without the fleet"), "{said:?}");
    }
    write(&lab, "secret", SECRET, 0o600);
    let before = httpd.logged("goes on without the fleet").len();
    httpd.graceful();
    serves(&httpd);
    assert_eq!((before, httpd.logged("goes on without the fleet").len()), (2, 2));
}

#[test]
fn the_folder_of_the_fleet_is_made_where_there_is_one_for_the_user_alone() {
    let Some(lab) = open_lab!() else { return };
    let path = write(&lab, "secret", SECRET, 0o600);
    let folder = |config: &Config| config.store().join("fleet");
    let mut plain = Config::new(&lab).line("MDomain a.test\nMDRenewMode manual").site("a.test", &[]).start();
    assert!(!folder(&plain.config).exists());
    plain.graceful();
    assert!(!folder(&plain.config).exists());
    plain.stop().forget();
    let httpd = fleet(&lab, &[&path]).start();
    let meta = fs::metadata(folder(&httpd.config)).unwrap();
    assert!(meta.is_dir() && meta.mode() & 0o7777 == 0o700, "{:o}", meta.mode());
    assert!(!is_root() || meta.uid() == unprivileged_user().uid);
}

#[test]
fn no_secret_of_a_fleet_is_logged_or_shown() {
    let Some(lab) = open_lab!() else { return };
    let (first, second) = (write(&lab, "one", SECRET, 0o600), write(&lab, "two", OTHER, 0o600));
    let password = write(&lab, "password", PASSWORD, 0o600);
    let with = |secrets: &[&Path]| {
        fleet(&lab, secrets)
            .line(&format!("MDFleetUser planted-user {}\nLogLevel notice md:trace8", password.display()))
            .line("<Location /metrics>\nSetHandler md-metrics\n</Location>")
    };
    let mut httpd = with(&[&first]).start();
    httpd.rewrite(|_| with(&[&second, &first]));
    httpd.graceful();
    let mut shown = vec![("the log".to_string(), httpd.said())];
    for path in ["/md-status", "/server-status", "/server-status?auto", "/metrics"] {
        shown.push((path.to_string(), httpd.get("main.test", path).body));
    }
    for dump in ["DUMP_MD", "DUMP_MD_JSON"] {
        let output = httpd.config.tested(&["-D", dump]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("a.test"), "{text}");
        shown.push((dump.to_string(), text));
    }
    for (place, text) in &shown {
        for secret in [SECRET, OTHER, PASSWORD] {
            assert!(!text.contains(secret), "{secret} in {place}");
        }
    }
}
