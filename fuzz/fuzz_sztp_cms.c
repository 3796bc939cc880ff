// SPDX-License-Identifier: Apache-2.0
/* CMS structures of strangers: artifacts, sets of certificates, serial numbers. */
#include <stdlib.h>

#include "sztp/cms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cms_content c;
    struct cms_certs *certs;
    struct err e;
    struct buf out = BUF_INIT;
    char serial[CMS_SERIAL_MAX + 1];
    uint8_t akid[CMS_AKID_MAX];
    size_t n;
    if (cms_open(data, size, CMS_CI_XML | CMS_CI_JSON | CMS_DATA | CMS_VOUCHER_JSON, NULL, &c,
                 &e) == ERR_OK &&
        !c.is_signed) {
        /* what is bare is what we would have made of it, when it is DER */
        if (cms_wrap(c.type, c.bytes.data, c.bytes.len, &out, &e) != ERR_OK) {
            abort();
        }
    }
    cms_content_free(&c);
    if (cms_certs_parse(data, size, NULL, &certs, &e) == ERR_OK) {
        buf_clear(&out);
        cms_certs_one_chain(certs, &e);
        cms_certs_print(certs, &out, &e);
        cms_certs_to_pem(certs, &out);
        cms_certs_free(certs);
    }
    cms_serial_of(data, size, CMS_SERIAL_ANY, serial, &e);
    cms_akid_of(data, size, akid, &n, &e);
    certs = cms_certs_new();
    cms_certs_add_pem(certs, data, size, &e);
    cms_certs_free(certs);
    buf_clear(&out);
    cms_unbase64((const char *)data, size, &out, &e);
    buf_free(&out);
    return 0;
}
