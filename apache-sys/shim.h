// SPDX-License-Identifier: Apache-2.0
/* What only a C compiler can make of the headers: their macros, as functions. bindgen makes the Rust declarations from this
 * file, and shim.c is compiled against it, so that the three cannot differ. */
#ifndef MOD_MD_SHIM_H
#define MOD_MD_SHIM_H

#ifndef HAVE_MOD_SSL_OPENSSL_H
/* As mod_ssl_openssl.h of httpd 2.4.48 to 2.4.71 has it. */
typedef int ssl_HOOK_init_server_t(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx);
#endif

/* ap_get_module_config, ap_set_module_config */
void *shim_module_config(const ap_conf_vector_t *vector, const module *record);
void shim_set_module_config(ap_conf_vector_t *vector, const module *record, void *value);

/* APLOG_MODULE_IS_LEVEL; a server that is null logs to standard error */
int shim_is_logged(const server_rec *server, int module_index, int level);
/* ap_log_error, with the text as it is */
void shim_log(const char *file, int line, int module_index, int level, apr_status_t status, const server_rec *server,
              const char *text);

/* APR_ARRAY_IDX and APR_ARRAY_PUSH, of an array of strings */
const char *shim_string(const apr_array_header_t *strings, int index);
void shim_push_string(apr_array_header_t *strings, const char *text);

/* APR_OPTIONAL_HOOK: the hooks of modules that may be missing */
void shim_hook_status(ap_HOOK_status_hook_t *function, const char *const *before, const char *const *after, int order);
void shim_hook_init_server(ssl_HOOK_init_server_t *function, const char *const *before, const char *const *after, int order);

/* ap_hook_child_stopping, which came with httpd 2.4.49: on older ones nobody runs the hook */
typedef void shim_child_stopping_t(apr_pool_t *child, int graceful);
void shim_hook_child_stopping(shim_child_stopping_t *function);

/* SSL_get_app_data, where mod_ssl keeps the connection */
conn_rec *shim_connection_of(const SSL *ssl);

/* SSL_CTX_get_tlsext_status_cb; SSL_CTX_set_tlsext_status_cb with SSL_CTX_set_tlsext_status_arg */
typedef int shim_status_callback_t(SSL *ssl, void *data);
shim_status_callback_t *shim_status_callback(SSL_CTX *context);
void shim_set_status_callback(SSL_CTX *context, shim_status_callback_t *callback, void *data);

#endif
