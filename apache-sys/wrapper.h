// SPDX-License-Identifier: Apache-2.0
/* The headers behind the bindings: the hooks a module joins, and what these are handed. */
#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_ssl.h"
#include "http_vhost.h"
#include "ap_listen.h"
#include "ap_mmn.h"
#include "ap_mpm.h"
#include "ap_release.h"
#include "mod_status.h"
#include "mpm_common.h"
#include "unixd.h"
#include "apr_optional.h"
#include "apr_optional_hooks.h"
#include "apr_strings.h"

/* mod_ssl's own hooks. Not every distribution ships this header with the others (Debian: apache2-ssl-dev). */
#if defined(__has_include)
#if __has_include("mod_ssl_openssl.h")
#include "mod_ssl_openssl.h"
#define HAVE_MOD_SSL_OPENSSL_H 1
#endif
#endif

/* What openssl-sys leaves out. */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

/* on_exit of glibc, which the crate libc leaves out. */
#include <stdlib.h>

#include "shim.h"
