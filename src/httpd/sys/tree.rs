// SPDX-License-Identifier: Apache-2.0
//! Copies httpd's tree of directives and lists the loaded modules. `config` interprets both.

use super::pool;
use crate::config::tree::Directive;
use apache_sys::{ap_directive_t, apr_array_header_t};
use std::ffi::CString;

/// Sections nested deeper than this are skipped.
const DEPTH_MAX: usize = 8;

/// The directives whose names `is_needed` selects, in the order of the configuration. Called while httpd puts
/// it in force.
pub fn directives(is_needed: fn(&str) -> bool) -> Vec<Directive> {
    // SAFETY: httpd has read the whole tree by then, keeps it until the next configuration, and has a single
    // thread.
    unsafe { copy(apache_sys::ap_conftree, is_needed, 0) }
}

/// # Safety
/// `first` is null or one of a list of live directives.
unsafe fn copy(first: *const ap_directive_t, is_needed: fn(&str) -> bool, depth: usize) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() && depth < DEPTH_MAX {
        // SAFETY: not null, and httpd's strings and lists live as long as the tree.
        unsafe {
            let directive = &*next;
            next = directive.next;
            let name = pool::text(directive.directive);
            if !is_needed(&name) {
                continue;
            }
            found.push(Directive {
                inside: copy(directive.first_child, is_needed, depth + 1),
                args: pool::text(directive.args).into_owned(),
                file: pool::text(directive.filename).into_owned(),
                line: u32::try_from(directive.line_num).unwrap_or(0),
                name: name.into_owned(),
            });
        }
    }
    found
}

/// Whether httpd has loaded a module, by the name of its source (`mod_ssl.c`).
pub fn has_module(source: &str) -> bool {
    let Ok(source) = CString::new(source) else { return false };
    // SAFETY: a C string that outlives the call, which looks through the list of modules.
    unsafe { !apache_sys::ap_find_linked_module(source.as_ptr()).is_null() }
}

/// Whether modules besides this one hand certificates to mod_ssl.
pub fn has_other_certificates() -> bool {
    let joined = |hooks: *const apr_array_header_t| {
        // SAFETY: null or a live array, which does not change while httpd puts a configuration in force.
        unsafe { hooks.as_ref() }.map_or(0, |hooks| hooks.nelts)
    };
    // SAFETY: these have no conditions.
    let hooks = unsafe {
        [apache_sys::ap_hook_get_ssl_add_cert_files(), apache_sys::ap_hook_get_ssl_add_fallback_cert_files()]
    };
    hooks.into_iter().any(|hooks| joined(hooks) > 1)
}
