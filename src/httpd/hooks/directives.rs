// SPDX-License-Identifier: Apache-2.0
//! The directive table that httpd reads, made at compile time from [`crate::config::table::ROWS`], and the
//! functions that pass a directive's arguments to the parser of its row.

use crate::config::table::{Args, Places, ROWS, Row};
use crate::config::{self, Env, Scope};
use crate::httpd::state::{DirConf, Server, ServerConf, directive_conf};
use crate::httpd::sys::guard::{callback, guard};
use crate::httpd::sys::{pool, server_root};
use apache_sys::{cmd_func, cmd_parms, command_rec};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

const COUNT: usize = ROWS.len();

#[repr(transparent)]
struct Records([command_rec; COUNT + 1]);

// SAFETY: the records are constant; their pointers are to static text.
unsafe impl Sync for Records {}

static RECORDS: Records = Records(build());

pub const fn records() -> *const command_rec {
    (&raw const RECORDS).cast()
}

const fn build() -> [command_rec; COUNT + 1] {
    // The row without a name ends the table.
    let end = command_rec {
        name: ptr::null(),
        func: cmd_func { no_args: None },
        cmd_data: ptr::null_mut(),
        req_override: 0,
        args_how: apache_sys::RAW_ARGS,
        errmsg: ptr::null(),
    };
    let mut records = [end; COUNT + 1];
    let mut i = 0;
    while i < COUNT {
        let row = &ROWS[i];
        let (args_how, func) = match row.args {
            Args::One => (apache_sys::TAKE1, cmd_func { take1: Some(take_one) }),
            Args::OneOrTwo => (apache_sys::TAKE12, cmd_func { take2: Some(take_two) }),
            Args::Two => (apache_sys::TAKE2, cmd_func { take2: Some(take_two) }),
            // httpd drops arguments after the 64th of a TAKE_ARGV list, so the line is split here.
            Args::Many => (apache_sys::RAW_ARGS, cmd_func { raw_args: Some(take_many) }),
            Args::Raw => (apache_sys::RAW_ARGS, cmd_func { raw_args: Some(take_raw) }),
            Args::Section => (apache_sys::RAW_ARGS, cmd_func { raw_args: Some(take_section) }),
        };
        let places = match row.places {
            Places::ServerMdIf => apache_sys::RSRC_CONF | apache_sys::ACCESS_CONF,
            _ => apache_sys::RSRC_CONF,
        };
        records[i] = command_rec {
            name: row.name.as_ptr(),
            func,
            cmd_data: ptr::without_provenance_mut::<c_void>(i),
            req_override: places as c_int,
            args_how,
            errmsg: row.help.as_ptr(),
        };
        i += 1;
    }
    records
}

/// httpd's error text if a directive's parser panics.
const BROKEN: *const c_char = c"internal error in mod_md while reading this directive".as_ptr();

callback! {
    fn take_one(parms: *mut cmd_parms, dir: *mut c_void, one: *const c_char) -> *const c_char, failing BROKEN; {
        // SAFETY: httpd lends live parameters and arguments.
        unsafe { apply(parms, dir, &[one]) }
    }
}

callback! {
    fn take_two(parms: *mut cmd_parms, dir: *mut c_void, one: *const c_char, two: *const c_char) -> *const c_char, failing BROKEN; {
        // SAFETY: as above; the second is null where it was left out.
        unsafe { if two.is_null() { apply(parms, dir, &[one]) } else { apply(parms, dir, &[one, two]) } }
    }
}

callback! {
    fn take_many(parms: *mut cmd_parms, dir: *mut c_void, line: *const c_char) -> *const c_char, failing BROKEN; {
        // SAFETY: as above.
        unsafe {
            let words = config::split_arguments(&pool::text(line));
            apply_texts(parms, dir, &words)
        }
    }
}

callback! {
    fn take_raw(parms: *mut cmd_parms, dir: *mut c_void, line: *const c_char) -> *const c_char, failing BROKEN; {
        // SAFETY: as above.
        unsafe { apply(parms, dir, &[line]) }
    }
}

callback! {
    fn take_section(parms: *mut cmd_parms, dir: *mut c_void, line: *const c_char) -> *const c_char, failing BROKEN; {
        // SAFETY: httpd lends live parameters; the children are walked with our section open, and no
        // lock is held meanwhile.
        unsafe {
            let opened = apply(parms, dir, &[line]);
            if !opened.is_null() {
                return opened;
            }
            let directive = (*parms).directive;
            let walked = apache_sys::ap_walk_config((*directive).first_child, parms, (*parms).context);
            let closed = conf_of(parms).and_then(|conf| {
                directive_conf(conf, config::close_section).map_err(|e| e.0)
            });
            match closed {
                _ if !walked.is_null() => walked,
                Ok(()) => ptr::null(),
                Err(text) => pool::copy((*parms).pool, &text),
            }
        }
    }
}

/// # Safety
/// `parms` is the record that httpd lends to a directive's function.
unsafe fn conf_of<'a>(parms: *mut cmd_parms) -> Result<&'a ServerConf, String> {
    // SAFETY: see above.
    unsafe { Server::new((*parms).server) }
        .conf()
        .ok_or_else(|| "mod_md has no configuration for this server".to_string())
}

/// Runs the row's parser. Null means success.
///
/// # Safety
/// `parms`, `dir` and `args` are the pointers that httpd lends to a directive's function.
unsafe fn apply(parms: *mut cmd_parms, dir: *mut c_void, args: &[*const c_char]) -> *const c_char {
    guard("directive", BROKEN, || {
        // SAFETY: see above.
        unsafe {
            let texts: Vec<String> = args.iter().map(|a| pool::text(*a).into_owned()).collect();
            apply_texts(parms, dir, &texts)
        }
    })
}

/// # Safety
/// As [`apply`].
unsafe fn apply_texts(parms: *mut cmd_parms, dir: *mut c_void, args: &[String]) -> *const c_char {
    guard("directive", BROKEN, || {
        // SAFETY: see above; `info` is the row's index, put there by `build`, and `dir` came from
        // `create_dir_config`.
        unsafe {
            let row = &ROWS[(*parms).info.addr()];
            let refusal = refused_by_httpd(parms, row);
            if !refusal.is_null() {
                return refusal;
            }
            match parse(parms, row, args, dir.cast::<DirConf>().as_ref()) {
                Ok(()) => ptr::null(),
                Err(text) => pool::copy((*parms).pool, &text),
            }
        }
    })
}

/// httpd's own error text if the directive is not allowed in this section; null if it is.
///
/// # Safety
/// As [`apply`].
unsafe fn refused_by_httpd(parms: *mut cmd_parms, row: &Row) -> *const c_char {
    if !matches!(row.places, Places::ServerMdIf) {
        return ptr::null();
    }
    // One at a time: httpd names the section only when it is asked for that alone.
    [apache_sys::NOT_IN_DIRECTORY, apache_sys::NOT_IN_LOCATION]
        .into_iter()
        // SAFETY: see above.
        .map(|section| unsafe { apache_sys::ap_check_cmd_context(parms, section as _) })
        .find(|refusal| !refusal.is_null())
        .unwrap_or(ptr::null())
}

/// # Safety
/// As [`apply`].
unsafe fn parse(
    parms: *mut cmd_parms,
    row: &Row,
    args: &[String],
    dir: Option<&DirConf>,
) -> Result<(), String> {
    let root = server_root();
    // SAFETY: httpd's directive and its file name live while it is read.
    let (file, line, conditional) = unsafe {
        let directive = (*parms).directive;
        (pool::text((*directive).filename).into_owned(), (*directive).line_num, !(*parms).path.is_null())
    };
    let env = Env {
        server_root: &root,
        file: &file,
        line: u32::try_from(line).unwrap_or(0),
        conditional,
        read_file: &crate::store::read_admin_file,
    };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // SAFETY: as the caller says.
    let conf = unsafe { conf_of(parms) }?;
    let in_section = directive_conf(conf, |server| {
        let mut scope = Scope::new(server, &env);
        row.apply(&mut scope, &args).map(|()| scope.conditional_require_https)
    });
    if let (Some(mode), Some(dir)) = (in_section.map_err(|e| e.0)?, dir) {
        dir.set_require_https(mode);
    }
    Ok(())
}
