// SPDX-License-Identifier: Apache-2.0
//! Makes the bindings from the headers of the httpd that `apxs` belongs to, and compiles `shim.c` against the
//! same headers.
//!
//! `APXS=/path/to/apxs` chooses another httpd. An error names the missing package in one sentence, because a
//! first build fails here.
//!
//! Three compilers have to agree on every struct whose fields the module reads: bindgen writes down the
//! layout that libclang finds (`bindings.rs`), rustc compares it with its own, and the compiler of httpd
//! compares it in `layout.h`, which is made here. Dependent crates receive the version of httpd
//! (`DEP_HTTPD_VERSION`, `DEP_HTTPD_MMN`, `DEP_HTTPD_OPENSSL`).

use bindgen::FieldVisibilityKind;
use bindgen::callbacks::{FieldInfo, IntKind, ParseCallbacks};
use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::rc::Rc;

/// Everything the module names. Types that these mention come along by themselves.
const FUNCTIONS: &[&str] = &[
    "BN_GENCB_free",
    "BN_GENCB_get_arg",
    "BN_GENCB_new",
    "BN_GENCB_set",
    "OPENSSL_thread_stop",
    "SSL_CTX_set_cert_cb",
    "SSL_CTX_set_msg_callback",
    "SSL_certs_clear",
    "SSL_set_msg_callback",
    "SSL_use_cert_and_key",
    "ap_check_cmd_context",
    "ap_exists_config_define",
    "ap_find_linked_module",
    "ap_get_server_name",
    "ap_hook_access_checker",
    "ap_hook_check_config",
    "ap_hook_child_init",
    "ap_hook_get_ssl_add_cert_files",
    "ap_hook_get_ssl_add_fallback_cert_files",
    "ap_hook_handler",
    "ap_hook_post_config",
    "ap_hook_post_read_request",
    "ap_hook_process_connection",
    "ap_hook_protocol_get",
    "ap_hook_protocol_propose",
    "ap_hook_protocol_switch",
    "ap_hook_ssl_add_cert_files",
    "ap_hook_ssl_add_fallback_cert_files",
    "ap_hook_ssl_answer_challenge",
    "ap_hook_ssl_ocsp_get_resp_hook",
    "ap_hook_ssl_ocsp_prime_hook",
    "ap_hook_test_config",
    "ap_is_allowed_protocol",
    "ap_mpm_query",
    "ap_retained_data_create",
    "ap_retained_data_get",
    "ap_rwrite",
    "ap_set_content_length",
    "ap_set_content_type",
    "ap_ssl_conn_is_ssl",
    "ap_state_query",
    "ap_walk_config",
    "apr_palloc",
    "apr_pool_cleanup_null",
    "apr_pool_cleanup_register",
    "apr_pool_userdata_get",
    "apr_pool_userdata_set",
    "apr_pool_pre_cleanup_register",
    "apr_pstrmemdup",
    "apr_table_get",
    "apr_table_setn",
    "on_exit",
    "shim_.*",
];

const VARIABLES: &[&str] = &[
    "ap_conftree",
    "ap_listeners",
    "ap_server_root",
    "ap_unixd_config",
    "AP_MPMQ_HARD_LIMIT_DAEMONS",
    "AP_MPMQ_MPM_STATE",
    "AP_MPMQ_STOPPING",
    "APLOG_.*",
    "AP_SQ_.*",
    "AP_STATUS_.*",
    "APR_HOOK_.*",
    "APR_SUCCESS",
    "APR_EGENERAL",
    "DECLINED",
    "DONE",
    "EXEC_ON_READ",
    "HTTP_NOT_FOUND",
    "HTTP_NOT_IMPLEMENTED",
    "HTTP_INTERNAL_SERVER_ERROR",
    "M_GET",
    "NOT_IN_.*",
    "ACCESS_CONF",
    "MODULE_MAGIC_.*",
    "OK",
    "OR_.*",
    "RSRC_CONF",
    "SSL3_RT_HANDSHAKE",
    "SSL_TLSEXT_ERR_.*",
];

const TYPES: &[&str] = &["cmd_how_.*", "command_rec", "module"];

/// Structs whose fields the module reads or writes: as bindgen calls them, and as C does. Only these have
/// public fields, so the module touches no struct that is not in `layout.h`.
const TOUCHED: &[(&str, &str)] = &[
    ("ap_directive_t", "ap_directive_t"),
    ("ap_listen_rec", "ap_listen_rec"),
    ("apr_array_header_t", "apr_array_header_t"),
    ("apr_sockaddr_t", "apr_sockaddr_t"),
    ("apr_uri_t", "apr_uri_t"),
    ("cmd_func", "cmd_func"),
    ("cmd_parms_struct", "cmd_parms"),
    ("command_struct", "command_rec"),
    ("conn_rec", "conn_rec"),
    ("conn_state_t", "conn_state_t"),
    ("module_struct", "module"),
    ("process_rec", "process_rec"),
    ("request_rec", "request_rec"),
    ("server_addr_rec", "server_addr_rec"),
    ("server_rec", "server_rec"),
    ("unixd_config_rec", "unixd_config_rec"),
];

/// Types of OpenSSL, which are openssl-sys' own.
const OF_OPENSSL: &[&str] = &["BN_GENCB", "EVP_PKEY", "SSL", "SSL_CTX", "X509", "stack_st_X509"];

/// The oldest httpd with the hooks of `http_ssl.h`, 2.4.48.
const OLDEST_MMN: (i64, i64) = (20_120_211, 105);

/// The macros of the headers that have numbers or texts, noted while bindgen parses.
#[derive(Debug, Default)]
struct Macros {
    numbers: RefCell<HashMap<String, i64>>,
    texts: RefCell<HashMap<String, String>>,
}

#[derive(Debug)]
struct Notes(Rc<Macros>);

impl ParseCallbacks for Notes {
    fn int_macro(&self, name: &str, value: i64) -> Option<IntKind> {
        self.0.numbers.borrow_mut().insert(name.to_string(), value);
        None
    }

    fn str_macro(&self, name: &str, value: &[u8]) {
        let value = String::from_utf8_lossy(value).into_owned();
        self.0.texts.borrow_mut().insert(name.to_string(), value);
    }

    fn field_visibility(&self, info: FieldInfo<'_>) -> Option<FieldVisibilityKind> {
        let is_touched = TOUCHED.iter().any(|(name, _)| *name == info.type_name);
        Some(if is_touched { FieldVisibilityKind::Public } else { FieldVisibilityKind::Private })
    }
}

impl Macros {
    fn number(&self, name: &str) -> i64 {
        self.numbers.borrow().get(name).copied().unwrap_or_default()
    }

    /// Passes the version and layout of the headers to crates that depend on this one.
    fn tell(&self) {
        let mmn = (self.number("MODULE_MAGIC_NUMBER_MAJOR"), self.number("MODULE_MAGIC_NUMBER_MINOR"));
        let part = |part: &str| self.number(&format!("AP_SERVER_{part}_NUMBER"));
        let version = format!("{}.{}.{}", part("MAJORVERSION"), part("MINORVERSION"), part("PATCHLEVEL"));
        if mmn.0 != OLDEST_MMN.0 || mmn < OLDEST_MMN {
            stop(&format!(
                "the headers are of httpd {version}: 2.4.48 or a later 2.4 is needed (APXS names another one)"
            ));
        }
        println!("cargo:version={version}");
        println!("cargo:mmn={}.{}", mmn.0, mmn.1);
        if let Some(text) = self.texts.borrow().get("OPENSSL_VERSION_TEXT") {
            println!("cargo:openssl={text}");
        }
    }
}

fn main() {
    println!("cargo:rerun-if-env-changed=APXS");
    for file in ["wrapper.h", "shim.h", "shim.c"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let apxs = env::var("APXS").unwrap_or_else(|_| "apxs".to_string());
    let mut include_dirs: Vec<String> = ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"]
        .iter()
        .map(|variable| ask(&apxs, variable))
        .filter(|dir| !dir.is_empty())
        .collect();
    let main_header = PathBuf::from(&include_dirs[0]).join("httpd.h");
    if !main_header.is_file() {
        stop(&format!(
            "{} is missing: install the development files of httpd (Debian: apache2-dev)",
            main_header.display()
        ));
    }
    // Of the OpenSSL that openssl-sys has found.
    include_dirs.extend(env::var("DEP_OPENSSL_INCLUDE"));
    // APR's headers need the large-file types they were built with.
    let defines = ask(&apxs, "EXTRA_CPPFLAGS");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let bindings = bind(&include_dirs, &defines);
    write(&out.join("bindings.rs"), &bindings);
    write(&out.join("layout.h"), &layout(&bindings));
    compile(&ask(&apxs, "CC"), &include_dirs, &defines, &out);
}

fn bind(include_dirs: &[String], defines: &str) -> String {
    if let Err(error) = bindgen_runtime_present() {
        stop(&error);
    }
    let macros = Rc::new(Macros::default());
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(include_dirs.iter().map(|dir| format!("-I{dir}")))
        .clang_args(defines.split_whitespace())
        .use_core()
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .raw_line(format!("use openssl_sys::{{{}}};", OF_OPENSSL.join(", ")))
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .parse_callbacks(Box::new(Notes(Rc::clone(&macros))));
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for variable in VARIABLES {
        builder = builder.allowlist_var(variable);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in OF_OPENSSL {
        builder = builder.blocklist_type(name);
    }
    match builder.generate() {
        Ok(bindings) => {
            macros.tell();
            bindings.to_string()
        }
        Err(error) => stop(&format!("the headers of httpd cannot be read: {error}")),
    }
}

/// The assertions that bindgen wrote for rustc, for the C compiler.
fn layout(bindings: &str) -> String {
    let mut header = String::new();
    for (rust, c) in TOUCHED {
        let size = number_after(bindings, &format!("[\"Size of {rust}\"]"));
        let Some(size) = size else {
            stop(&format!("bindgen has found no layout of {rust}"));
        };
        assert_equal(&mut header, &format!("sizeof({c})"), size);
        let field = format!("[\"Offset of field: {rust}::");
        for (start, _) in bindings.match_indices(&field) {
            let rest = &bindings[start + field.len()..];
            let (Some((name, _)), Some(offset)) = (rest.split_once('"'), number_after(rest, "\"]")) else {
                stop(&format!("the layout of {rust} cannot be read"));
            };
            // bindgen appends an underscore to names that are keywords in Rust.
            let name = name.strip_suffix('_').unwrap_or(name);
            assert_equal(&mut header, &format!("offsetof({c}, {name})"), offset);
        }
    }
    header
}

fn assert_equal(header: &mut String, what: &str, value: &str) {
    let _ = writeln!(
        header,
        "_Static_assert({what} == {value}, \"{what} is {value} for libclang and Rust, and not for this compiler\");"
    );
}

/// `N` of the `- Nusize]` that comes next after the marker.
fn number_after<'t>(text: &'t str, marker: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(marker)?;
    let (before, _) = rest.split_once("usize]")?;
    before.rsplit_once("- ").map(|(_, number)| number)
}

/// By the compiler that httpd was built with, where this machine has it and `CC` names no other.
fn compile(compiler: &str, include_dirs: &[String], defines: &str, out: &Path) {
    let mut build = cc::Build::new();
    let mut words = compiler.split_whitespace();
    let program = words.next().unwrap_or_default();
    let is_there =
        || Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if env::var_os("CC").is_none() && env::var("HOST") == env::var("TARGET") && is_there() {
        build.compiler(program);
        words.for_each(|flag| {
            build.flag(flag);
        });
    }
    for flag in defines.split_whitespace() {
        build.flag(flag);
    }
    build.includes(include_dirs).include(out).flag_if_supported("-fvisibility=hidden").file("shim.c");
    if let Ok(compiler) = build.try_get_compiler() {
        // How the tests call it.
        let words = compiler.to_command();
        let words = std::iter::once(words.get_program()).chain(words.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        println!("cargo:rustc-env=SHIM_COMPILER={}", words.join("\u{1f}"));
    }
    if let Err(error) = build.try_compile("md_shim") {
        stop(&format!("shim.c does not compile against the headers of httpd: {error}"));
    }
}

fn write(file: &Path, text: &str) {
    if let Err(error) = std::fs::write(file, text) {
        stop(&format!("cannot write {}: {error}", file.display()));
    }
}

fn ask(apxs: &str, variable: &str) -> String {
    let Ok(output) = Command::new(apxs).args(["-q", variable]).output() else {
        stop(&format!(
            "'{apxs}' cannot be run: install the development files of httpd (Debian: apache2-dev), or name another one in APXS"
        ));
    };
    // Some builds of apxs print stray separators before the value.
    String::from_utf8_lossy(&output.stdout).trim().trim_matches(';').to_string()
}

/// bindgen loads libclang when it runs; asked first, the answer can be a helpful one.
fn bindgen_runtime_present() -> Result<(), String> {
    std::panic::catch_unwind(bindgen::clang_version).map(|_| ()).map_err(|_| {
        "libclang is missing: install it (Debian: libclang-dev), or name its folder in LIBCLANG_PATH".into()
    })
}

fn stop(message: &str) -> ! {
    println!("cargo:warning={message}");
    eprintln!("apache-sys: {message}");
    exit(1);
}
