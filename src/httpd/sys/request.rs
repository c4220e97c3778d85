// SPDX-License-Identifier: Apache-2.0
//! A request, borrowed for the duration of a hook, and our response to it.

use super::module_conf::{self, ModuleConf};
use super::pool;
use super::server::Server;
use crate::names;
use apache_sys::request_rec;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::net::IpAddr;

pub struct Request<'r, M> {
    record: *mut request_rec,
    lent: PhantomData<(&'r (), M)>,
}

/// The answer of a hook.
pub enum Answer {
    /// Not ours.
    Declined,
    /// httpd answers with its own page for this status.
    Status(u16),
    /// The client is sent elsewhere.
    Redirect { status: u16, location: String },
    /// We answer with this body, under this status.
    Body { status: u16, content_type: &'static str, body: Vec<u8> },
}

impl Answer {
    pub const NOT_FOUND: Answer = Answer::Status(404);
    pub const NOT_IMPLEMENTED: Answer = Answer::Status(501);
    pub const UNAVAILABLE: Answer = Answer::Status(503);
}

/// The headers by which proxies say that they pass a request on. Many a proxy sets one of them alone.
const FORWARDED: [&CStr; 6] =
    [c"Forwarded", c"X-Forwarded-For", c"X-Forwarded-Host", c"X-Forwarded-Proto", c"X-Real-IP", c"Via"];

impl<'r, M: ModuleConf> Request<'r, M> {
    /// # Safety
    /// `record` is live for `'r`.
    pub unsafe fn new(record: *mut request_rec) -> Self {
        Request { record, lent: PhantomData }
    }

    fn rec(&self) -> &request_rec {
        // SAFETY: live for 'r, see `new`.
        unsafe { &*self.record }
    }

    fn text(&self, text: *const c_char) -> String {
        // SAFETY: httpd's strings live as long as the request.
        unsafe { pool::text(text) }.into_owned()
    }

    /// The path of the URL, decoded if httpd has done so already.
    pub fn path(&self) -> String {
        self.text(self.rec().parsed_uri.path)
    }

    /// The rest of the path after the handler's location.
    pub fn path_info(&self) -> String {
        self.text(self.rec().path_info)
    }

    /// The host name the client asked for, without port; the server's own if it named none.
    pub fn host(&self) -> String {
        let host = self.text(self.rec().hostname);
        if host.is_empty() {
            return self.server().name();
        }
        names::normalize(&host).unwrap_or_else(|_| host.to_ascii_lowercase())
    }

    /// The name that the server gives itself: with `UseCanonicalName` its ServerName, whichever name the
    /// client asked for.
    pub fn canonical_host(&self) -> String {
        // SAFETY: the record is a live request; the name lives in its pool.
        let name = self.text(unsafe { apache_sys::ap_get_server_name(self.record) });
        names::normalize(&name).unwrap_or_else(|_| name.to_ascii_lowercase())
    }

    /// The query after the `?`, as sent.
    pub fn query(&self) -> Option<String> {
        let query = self.rec().parsed_uri.query;
        (!query.is_null()).then(|| self.text(query))
    }

    /// Whether the connection uses TLS.
    pub fn is_https(&self) -> bool {
        // SAFETY: the connection outlives the request.
        unsafe { apache_sys::ap_ssl_conn_is_ssl(self.rec().connection) != 0 }
    }

    /// The configuration of the sections that apply to this request (`<If>`).
    pub fn dir_conf(&self) -> Option<&'r M::Dir> {
        // SAFETY: the configuration lives at least as long as the request.
        unsafe { module_conf::dir_conf::<M>(self.rec().per_dir_config) }
    }

    /// Sets a header of the answer, unless another module has done so.
    pub fn set_header(&self, name: &'static CStr, value: &str) {
        // SAFETY: the table is the request's, the name is static, the value is copied into its pool.
        unsafe {
            let headers = self.rec().headers_out;
            if apache_sys::apr_table_get(headers, name.as_ptr()).is_null() {
                apache_sys::apr_table_setn(headers, name.as_ptr(), pool::copy(self.rec().pool, value));
            }
        }
    }

    /// Whether a program on this machine asks, and not for others: no proxy says that it passes the request
    /// on, and mod_remoteip knows of no other client.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: *mut c_char| {
            let address = self.text(address).parse::<IpAddr>();
            address.is_ok_and(|address| address.to_canonical().is_loopback())
        };
        // SAFETY: the connection outlives the request.
        let peer = unsafe { (*self.rec().connection).client_ip };
        let is_forwarded = FORWARDED.iter().any(|name| self.has_header(name));
        is_loopback(peer) && is_loopback(self.rec().useragent_ip) && !is_forwarded
    }

    fn has_header(&self, name: &CStr) -> bool {
        // SAFETY: the table is the request's, the name is lent for the call.
        unsafe { !apache_sys::apr_table_get(self.rec().headers_in, name.as_ptr()).is_null() }
    }

    /// Whether the client has logged in.
    pub fn is_authenticated(&self) -> bool {
        !self.text(self.rec().user).is_empty()
    }

    pub fn handler(&self) -> String {
        self.text(self.rec().handler)
    }

    /// GET or HEAD.
    pub fn is_read(&self) -> bool {
        self.rec().method_number == apache_sys::M_GET as c_int
    }

    pub fn server(&self) -> Server<'r, M> {
        // SAFETY: the server outlives the request.
        unsafe { Server::new(self.rec().server) }
    }

    /// Adds to an answer that another module is sending.
    pub fn write(&self, text: &str) {
        // SAFETY: the record is live, the text is lent for the call, and httpd sends no body for HEAD.
        unsafe {
            let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
            if length > 0 {
                apache_sys::ap_rwrite(text.as_ptr().cast(), length, self.record);
            }
        }
    }

    /// Sends the answer, and returns the hook's result. `done` is the result that means "answered".
    pub fn send(&self, answer: Answer, done: c_int) -> c_int {
        match answer {
            Answer::Declined => apache_sys::DECLINED,
            Answer::Status(status) => c_int::from(status),
            Answer::Redirect { status, location } => {
                self.set_header(c"Location", &location);
                c_int::from(status)
            }
            Answer::Body { status, content_type, body } => {
                // SAFETY: the record is live, the content type is copied into its pool first, the body is
                // lent for the call, and httpd sends no body for HEAD.
                unsafe {
                    (*self.record).status = c_int::from(status);
                    let content_type = pool::copy(self.rec().pool, content_type);
                    apache_sys::ap_set_content_type(self.record, content_type);
                    let length = c_int::try_from(body.len()).unwrap_or(c_int::MAX);
                    apache_sys::ap_set_content_length(self.record, apache_sys::apr_off_t::from(length));
                    if length > 0 {
                        apache_sys::ap_rwrite(body.as_ptr().cast(), length, self.record);
                    }
                }
                done
            }
        }
    }
}
