// SPDX-License-Identifier: Apache-2.0
/* See shim.h. No constructors and no data that changes: the library stays one that can be unloaded. */
#include "wrapper.h"

/* What older compilers only warn of: functions and types that the headers have in another way. */
#pragma GCC diagnostic error "-Wimplicit-function-declaration"
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#pragma GCC diagnostic error "-Wint-conversion"
#ifndef __clang__
#pragma GCC diagnostic error "-Wdiscarded-qualifiers"
#endif

/* Sizes and offsets as bindgen has found them, for every struct whose fields Rust can name. Made by build.rs. */
#include "layout.h"

/* What is taken for granted in Rust. */
_Static_assert(MODULE_MAGIC_NUMBER_MAJOR == 20120211, "this is not httpd 2.4");
_Static_assert(AP_MODULE_MAGIC_AT_LEAST(20120211, 105), "the hooks of http_ssl.h came with httpd 2.4.48");
_Static_assert(OK == 0 && APR_SUCCESS == 0, "success is 0");
_Static_assert(sizeof(void (*)(void)) == sizeof(void *), "functions and data have pointers of one size");

void *shim_module_config(const ap_conf_vector_t *vector, const module *record)
{
    return ap_get_module_config(vector, record);
}

void shim_set_module_config(ap_conf_vector_t *vector, const module *record, void *value)
{
    ap_set_module_config(vector, record, value);
}

int shim_is_logged(const server_rec *server, int module_index, int level)
{
    return APLOG_MODULE_IS_LEVEL(server, module_index, level);
}

void shim_log(const char *file, int line, int module_index, int level, apr_status_t status, const server_rec *server,
              const char *text)
{
    ap_log_error(file, line, module_index, level, status, server, "%s", text);
}

const char *shim_string(const apr_array_header_t *strings, int index)
{
    return APR_ARRAY_IDX(strings, index, const char *);
}

void shim_push_string(apr_array_header_t *strings, const char *text)
{
    APR_ARRAY_PUSH(strings, const char *) = text;
}

void shim_hook_status(ap_HOOK_status_hook_t *function, const char *const *before, const char *const *after, int order)
{
    APR_OPTIONAL_HOOK(ap, status_hook, function, before, after, order);
}

void shim_hook_init_server(ssl_HOOK_init_server_t *function, const char *const *before, const char *const *after, int order)
{
    APR_OPTIONAL_HOOK(ssl, init_server, function, before, after, order);
}

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 110)
/* Built for a later httpd, the module still loads into 2.4.48, which has no such function. */
#pragma weak ap_hook_child_stopping

void shim_hook_child_stopping(shim_child_stopping_t *function)
{
    if (ap_hook_child_stopping != NULL)
        ap_hook_child_stopping(function, NULL, NULL, APR_HOOK_MIDDLE);
}
#else
void shim_hook_child_stopping(shim_child_stopping_t *function)
{
    (void)function;
}
#endif

conn_rec *shim_connection_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

shim_status_callback_t *shim_status_callback(SSL_CTX *context)
{
    shim_status_callback_t *callback = NULL;
    SSL_CTX_get_tlsext_status_cb(context, &callback);
    return callback;
}

void shim_set_status_callback(SSL_CTX *context, shim_status_callback_t *callback, void *data)
{
    SSL_CTX_set_tlsext_status_cb(context, callback);
    SSL_CTX_set_tlsext_status_arg(context, data);
}
