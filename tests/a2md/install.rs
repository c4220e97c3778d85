// SPDX-License-Identifier: Apache-2.0
//! What `make install` puts where, and that shells and man take it.

use mod_md::cli::definition;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{Lab, open_lab};

/// `make install` of the module under test and the command, below this folder.
fn install(lab: &Lab, settings: &[&str]) -> Output {
    let module = support::module::under_test();
    let mut make = Command::new("make");
    make.current_dir(env!("CARGO_MANIFEST_DIR")).args(["-s", "install"]).args(settings);
    make.arg(format!("DESTDIR={}", lab.path("root").display()));
    make.arg(format!("MODULE={}", module.display()));
    make.env_remove("MAKEFLAGS").stdin(Stdio::null()).output().unwrap()
}

fn apxs(what: &str) -> String {
    let program = std::env::var("APXS").unwrap_or_else(|_| "apxs".into());
    let output = Command::new(program).args(["-q", what]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

#[track_caller]
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn module_command_pages_and_completions_are_installed_where_the_system_looks_for_them() {
    let Some(lab) = open_lab!() else { return };
    let command = format!("A2MD={}", env!("CARGO_BIN_EXE_a2md"));
    let installed = install(&lab, &[&command]);
    assert!(installed.status.success(), "{}", text(&installed));
    let root = lab.path("root");
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let bin = apxs("BINDIR");
    let share = Path::new(&bin).parent().unwrap().join("share").display().to_string();
    let zsh = if Path::new(&apxs("SYSCONFDIR")).join("mods-available").exists()
        || Path::new("/etc/debian_version").exists() && apxs("SYSCONFDIR") == "/etc/apache2"
    {
        "vendor-completions"
    } else {
        "site-functions"
    };
    for path in [
        format!("{}/mod_md3.so", apxs("LIBEXECDIR")),
        format!("{bin}/a2md"),
        format!("{share}/man/man8/a2md.8"),
        format!("{share}/man/man8/a2md-forget.8"),
        format!("{share}/man/man8/a2md-store-backup.8"),
        format!("{share}/bash-completion/completions/a2md"),
        format!("{share}/zsh/{zsh}/_a2md"),
        format!("{share}/fish/vendor_completions.d/a2md.fish"),
        format!("{share}/doc/mod_md3/docs/directives.md"),
        format!("{share}/doc/mod_md3/SECURITY.md"),
        format!("{share}/doc/mod_md3/examples/alerts.yml"),
        format!("{share}/doc/mod_md3/examples/grafana.json"),
    ] {
        assert!(
            fs::metadata(below(&path)).is_ok_and(|meta| meta.len() > 100),
            "{path}: {}",
            text(&installed)
        );
    }

    let version = Command::new(below(&format!("{bin}/a2md"))).arg("-V").output().unwrap();
    assert!(version.status.success(), "{}", text(&version));
    for page in ["a2md", "a2md-store", "a2md-store-restore", "a2md-gc"] {
        let file = below(&format!("{share}/man/man8/{page}.8"));
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8"])
            .arg(&file)
            .env("MANWIDTH", "80")
            .env("PAGER", "cat");
        let man = man.output().unwrap();
        // Lines are justified.
        let shown = text(&man).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(man.status.success() && shown.contains(&format!("{page} - ")), "{page}: {shown}");
        assert!(
            String::from_utf8_lossy(&man.stderr).is_empty(),
            "{page}: {}",
            String::from_utf8_lossy(&man.stderr)
        );
    }
    let completion = below(&format!("{share}/bash-completion/completions/a2md"));
    let script =
        ". \"$0\"; COMP_WORDS=(a2md store ba) COMP_CWORD=2; _a2md a2md ba store; echo \"${COMPREPLY[*]}\"";
    let bash = Command::new("bash").args(["--norc", "-c", script]).arg(&completion).output().unwrap();
    assert_eq!(text(&bash).trim(), "backup");

    // A second time, nothing of ours counts as somebody else's; the C module's command does. What the
    // administrator has written is kept.
    let load = loads(&root).pop().unwrap();
    assert!(fs::read_to_string(&load).unwrap().contains(&format!("{}/mod_md3.so", apxs("LIBEXECDIR"))));
    fs::write(&load, "# mine\n").unwrap();
    let again = install(&lab, &[&command]);
    assert!(again.status.success() && !text(&again).contains(".orig"), "{}", text(&again));
    assert_eq!(fs::read_to_string(&load).unwrap(), "# mine\n");
    fs::write(below(&format!("{bin}/a2md")), "of the C module").unwrap();
    let again = install(&lab, &[&command]);
    assert!(text(&again).contains("a2md.orig"), "{}", text(&again));
}

/// The files that load the module, below the root.
fn loads(root: &Path) -> Vec<std::path::PathBuf> {
    let sysconf = root.join(apxs("SYSCONFDIR").trim_start_matches('/'));
    ["md3.load", "md.load", "mods-available/md3.load", "mods-available/md.load"]
        .into_iter()
        .map(|name| sysconf.join(name))
        .filter(|file| file.exists())
        .collect()
}

/// The name of the C module is for those who replace its file; the C module itself is kept.
#[test]
fn the_old_name_is_given_on_request_and_the_file_that_had_it_is_kept() {
    let Some(lab) = open_lab!() else { return };
    let root = lab.path("root");
    let file = root.join(apxs("LIBEXECDIR").trim_start_matches('/')).join("mod_md.so");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    // A module that some other compiler of Rust has made is not ours for that.
    fs::write(&file, "of others: /rustc/").unwrap();
    let installed = install(&lab, &["A2MD=/nonexistent/a2md", "AS=md"]);
    assert!(installed.status.success(), "{}", text(&installed));
    assert_eq!(fs::read(file.with_extension("so.orig")).unwrap(), b"of others: /rustc/");
    assert!(!support::module::is_c(&file));
    assert!(!file.with_file_name("mod_md3.so").exists());
    let load = fs::read_to_string(loads(&root).pop().unwrap()).unwrap();
    assert!(load.contains("/mod_md.so") && !load.contains("Conflicts"), "it is no other than itself: {load}");
}

#[test]
fn the_module_alone_is_installed_where_there_is_no_command_and_a_prefix_is_heeded() {
    let Some(lab) = open_lab!() else { return };
    let installed = install(&lab, &["A2MD=/nonexistent/a2md"]);
    assert!(installed.status.success() && text(&installed).contains("left out"), "{}", text(&installed));
    assert!(!lab.path("root").join(apxs("BINDIR").trim_start_matches('/')).join("a2md").exists());
    let command = format!("A2MD={}", env!("CARGO_BIN_EXE_a2md"));
    let installed = install(&lab, &[&command, "PREFIX=/opt/md"]);
    assert!(installed.status.success(), "{}", text(&installed));
    for path in ["opt/md/bin/a2md", "opt/md/share/man/man8/a2md.8"] {
        assert!(lab.path("root").join(path).exists(), "{path}: {}", text(&installed));
    }
}

/// Files are whole at any time, and what lies beside them is not written to.
#[test]
fn several_calls_at_once_spoil_nothing_and_links_are_not_followed() {
    let Some(lab) = open_lab!() else { return };
    let root = lab.path("root");
    let module = root.join(apxs("LIBEXECDIR").trim_start_matches('/')).join("mod_md3.so");
    fs::create_dir_all(module.parent().unwrap()).unwrap();
    let other = lab.path("other");
    fs::write(&other, "of others").unwrap();
    std::os::unix::fs::symlink(&other, module.with_extension("so.new")).unwrap();
    let all: Vec<Output> = std::thread::scope(|scope| {
        let calls = [(); 4].map(|()| scope.spawn(|| install(&lab, &["A2MD=/nonexistent/a2md"])));
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for installed in &all {
        assert!(installed.status.success(), "{}", text(installed));
    }
    assert_eq!(fs::read(&module).unwrap(), fs::read(support::module::under_test()).unwrap());
    let load = loads(&root).pop().unwrap();
    fs::remove_file(&load).unwrap();
    std::os::unix::fs::symlink(&other, load.with_extension("load.new")).unwrap();
    let installed = install(&lab, &["A2MD=/nonexistent/a2md"]);
    assert!(installed.status.success(), "{}", text(&installed));
    assert!(load.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_to_string(&other).unwrap(), "of others");

    fs::remove_file(&module).unwrap();
    fs::create_dir(&module).unwrap();
    let installed = install(&lab, &["A2MD=/nonexistent/a2md"]);
    let said = format!("{} is a folder", module.display());
    assert!(!installed.status.success() && text(&installed).contains(&said), "{}", text(&installed));
    let left = fs::read_dir(module.parent().unwrap()).unwrap().count();
    assert_eq!((left, fs::read_dir(&module).unwrap().count()), (2, 0), "the folder and the link are left");
}

#[test]
fn each_command_of_operators_has_a_page_of_its_own() {
    let listed = super::call::a2md(&["man", "--list"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let pages: Vec<&str> = listed.out.lines().collect();
    for name in ["store", "store verify", "gc", "man"] {
        assert!(pages.contains(&name), "{name}: {pages:?}");
    }
    assert!(!pages.contains(&"drive"), "it is one of the C module: {pages:?}");
    for page in &pages {
        let words: Vec<&str> = page.split(' ').collect();
        let shown = super::call::a2md(&[&["man"], &words[..]].concat());
        let name = format!(".TH a2md-{} 8", words.join("-"));
        assert!(shown.code == 0 && shown.out.contains(&name), "{page}: {}", shown.out);
        assert!(shown.out.contains(&format!("a2md {page}")), "{page}: {}", shown.out);
    }
    let whole = super::call::a2md(&["man"]).out;
    let first = definition::command().get_subcommands().next().unwrap().get_name().to_string();
    assert!(whole.contains(&format!("a2md\\-{first}(8)")), "{whole}");
    assert_eq!(super::call::a2md(&["man", "nonsense"]).code, 1);
}
