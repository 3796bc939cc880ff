// SPDX-License-Identifier: Apache-2.0
/* CMS structures of strangers: artifacts, sets of certificates, serial numbers; and judged by a
 * device that believes whoever is in them, so that what comes behind a good signature is reached.
 */
#include <stdlib.h>

#include "sztp/trust.h"

static void judge(const uint8_t *p, size_t n, const struct cms_certs *anchors) {
    const struct trust_device d = {.serial = "S-1", .voucher_anchors = anchors};
    const struct trust_data t = {p, p, p, n, n, n};
    enum trust_clause clause;
    struct cms_content c;
    struct voucher v;
    struct err e;
    if ((trust_voucher(&d, p, n, &v, &clause, &e) == ERR_OK) != (clause == TRUST_OK)) {
        abort();
    }
    voucher_free(&v);
    if ((trust_signed_data(&d, &t, &c, &clause, &e) == ERR_OK) != (clause == TRUST_OK)) {
        abort();
    }
    cms_content_free(&c);
}

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
        judge(data, size, certs);
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
