// SPDX-License-Identifier: Apache-2.0
/* Staples the same bytes to every certificate: what a staple costs with no module's work behind it, to compare with.
 * `ConstantStaple FILE` at server level; the file is read when the configuration is. Built by the bench that uses it. */

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"
#include "http_ssl.h"
#include "apr_file_io.h"
#include "apr_strings.h"

module AP_MODULE_DECLARE_DATA constant_staple_module;

static unsigned char *der;
static apr_size_t length;

static const char *read_file(cmd_parms *cmd, void *dir, const char *path)
{
    apr_file_t *file;
    apr_finfo_t info;

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_OS_DEFAULT, cmd->pool) != APR_SUCCESS
        || apr_file_info_get(&info, APR_FINFO_SIZE, file) != APR_SUCCESS) {
        return apr_pstrcat(cmd->pool, "cannot read ", path, NULL);
    }
    length = (apr_size_t)info.size;
    der = apr_palloc(cmd->pool, length);
    return apr_file_read_full(file, der, length, NULL) == APR_SUCCESS ? NULL : "cannot read it to its end";
}

static int prime(server_rec *s, apr_pool_t *p, const char *id, apr_size_t id_len, const char *pem)
{
    return OK;
}

static int get_resp(server_rec *s, conn_rec *c, const char *id, apr_size_t id_len,
                    ap_ssl_ocsp_copy_resp *copy, void *userdata)
{
    copy(der, length, userdata);
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_ssl_ocsp_prime_hook(prime, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_ssl_ocsp_get_resp_hook(get_resp, NULL, NULL, APR_HOOK_MIDDLE);
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("ConstantStaple", read_file, NULL, RSRC_CONF, "the file with the DER of the response"),
    { NULL }
};

AP_DECLARE_MODULE(constant_staple) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks
};
