// SPDX-License-Identifier: Apache-2.0
//! The request hooks: challenges and `MDRequireHttps`, the handlers, the section in server-status.

use super::{FAILED, OK};
use crate::httpd::serve::{pages, requests};
use crate::httpd::state::Request;
use crate::httpd::sys::Answer;
use crate::httpd::sys::guard::callback;
use apache_sys::request_rec;
use std::ffi::c_int;

callback! {
    fn post_read_request(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: httpd lends a live request.
        let request = unsafe { Request::new(record) };
        let answer = requests::before_all(&request);
        request.send(answer, apache_sys::DONE)
    }
}

callback! {
    fn access_checker(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let answer = requests::in_section(&request);
        request.send(answer, apache_sys::DONE)
    }
}

callback! {
    fn handler(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let answer: Answer = pages::handler(&request);
        request.send(answer, OK)
    }
}

callback! {
    fn status_hook(record: *mut request_rec, flags: c_int) -> c_int, failing OK; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let is_short = flags as u32 & apache_sys::AP_STATUS_SHORT != 0;
        if let Some(section) = pages::server_status(&request, is_short) {
            request.write(&section);
        }
        OK
    }
}
