//! Makes the bindings from the headers of the httpd that `apxs` belongs to.
//!
//! `APXS=/path/to/apxs` chooses another httpd. What is missing is said in one sentence with the package
//! that holds it, because this is where a first build fails.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// Everything the module names. Types that these mention come along by themselves.
const FUNCTIONS: &[&str] = &[
    "ap_check_cmd_context",
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
    "ap_is_allowed_protocol",
    "ap_log_error_",
    "ap_mpm_query",
    "ap_retained_data_create",
    "ap_retained_data_get",
    "ap_rwrite",
    "ap_set_content_length",
    "ap_set_content_type",
    "ap_ssl_conn_is_ssl",
    "ap_state_query",
    "ap_walk_config",
    "apr_array_push",
    "apr_dynamic_fn_retrieve",
    "apr_optional_hook_add",
    "apr_palloc",
    "apr_pool_cleanup_null",
    "apr_pool_cleanup_register",
    "apr_pool_userdata_get",
    "apr_pool_userdata_set",
    "apr_pool_pre_cleanup_register",
    "apr_pstrmemdup",
    "apr_table_get",
    "apr_table_setn",
];

const VARIABLES: &[&str] = &[
    "ap_conftree",
    "ap_listeners",
    "ap_server_root",
    "ap_unixd_config",
    "AP_MPMQ_HARD_LIMIT_DAEMONS",
    "APLOG_.*",
    "AP_SQ_.*",
    "AP_STATUS_.*",
    "AP_WATCHDOG_STATE_.*",
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
];

const TYPES: &[&str] = &["ap_watchdog_t", "ap_watchdog_callback_fn_t", "cmd_how_.*", "command_rec", "module"];

fn main() {
    println!("cargo:rerun-if-env-changed=APXS");
    println!("cargo:rerun-if-changed=wrapper.h");
    let apxs = env::var("APXS").unwrap_or_else(|_| "apxs".to_string());
    let include_dirs: Vec<String> = ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"]
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
    if let Err(error) = bindgen_runtime_present() {
        stop(&error);
    }
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(include_dirs.iter().map(|dir| format!("-I{dir}")))
        // APR's headers need the large-file types they were built with.
        .clang_args(ask(&apxs, "EXTRA_CPPFLAGS").split_whitespace())
        .use_core()
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for variable in VARIABLES {
        builder = builder.allowlist_var(variable);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    match builder.generate() {
        Ok(bindings) => {
            if let Err(error) = bindings.write_to_file(&out) {
                stop(&format!("cannot write {}: {error}", out.display()));
            }
        }
        Err(error) => stop(&format!("the headers of httpd cannot be read: {error}")),
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
