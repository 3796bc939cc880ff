// SPDX-License-Identifier: Apache-2.0
/* The voucher as a document: there and back, and each rule by what breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sztp/testing/test_pki.h"
#include "sztp/voucher.h"

#define BASE                                                                                       \
    "\"created-on\":\"2026-01-02T03:04:05Z\",\"assertion\":\"logged\",\"serial-number\":\"S\","    \
    "\"pinned-domain-cert\":\"AAEC\""

static enum err_code parse(const char *members, struct voucher *v, struct err *e) {
    char text[1024];
    snprintf(text, sizeof text, "{\"ietf-voucher:voucher\":{%s}}", members);
    return voucher_parse(text, strlen(text), v, e);
}

static void there_and_back(void **state) {
    (void)state;
    static const char text[] =
        "{\"ietf-voucher:voucher\":{\"created-on\":\"2026-01-02T03:04:05Z\","
        "\"expires-on\":\"2027-01-02T03:04:05Z\",\"assertion\":\"proximity\","
        "\"serial-number\":\"JADA123456789\",\"idevid-issuer\":\"AQID\","
        "\"pinned-domain-cert\":\"AAEC\",\"domain-cert-revocation-checks\":true,"
        "\"last-renewal-date\":\"2028-01-02T03:04:05Z\"}}";
    struct voucher v;
    struct buf out = BUF_INIT;
    struct err e;
    assert_int_equal(voucher_parse(text, strlen(text), &v, &e), ERR_OK);
    assert_int_equal(v.created_on, 1767323045);
    assert_int_equal(v.expires_on, 1798859045);
    assert_int_equal(v.assertion, VOUCHER_PROXIMITY);
    assert_string_equal(v.serial, "JADA123456789");
    assert_int_equal(v.issuer_len, 3);
    assert_int_equal(v.pinned.len, 3);
    assert_true(v.check_revocation);
    voucher_print(&v, &out);
    assert_string_equal(buf_cstr(&out), text);
    voucher_free(&v);
    buf_free(&out);
}

/* Leaves of versions to come; times in other zones. */
static void borne(void **state) {
    (void)state;
    struct voucher v;
    struct err e;
    assert_int_equal(parse(BASE ",\"XMLName\":{\"Space\":\"\"},\"agent-provided-proximity\":[1]"
                                ",\"x:y\":true",
                           &v, &e),
                     ERR_OK);
    assert_int_equal(v.assertion, VOUCHER_LOGGED);
    assert_false(v.check_revocation);
    voucher_free(&v);
    assert_int_equal(parse("\"created-on\":\"2026-01-02T03:04:05.678+01:00\",\"assertion\":"
                           "\"verified\",\"serial-number\":\"S\",\"pinned-domain-cert\":\"AA==\"",
                           &v, &e),
                     ERR_OK);
    assert_int_equal(v.created_on, 1767323045 - 3600);
    voucher_free(&v);
    assert_int_equal(parse(BASE ",\"nonce\":\"AAECAwQFBgc=\"", &v, &e), ERR_OK);
    assert_int_equal(v.nonce_len, 8);
    voucher_free(&v);
}

static void rules(void **state) {
    (void)state;
    static const struct {
        const char *members, *path;
        enum err_code rc;
    } cases[] = {
        {"", "voucher", ERR_MISSING},
        {"\"assertion\":\"logged\",\"serial-number\":\"S\",\"pinned-domain-cert\":\"AAEC\"",
         "voucher", ERR_MISSING},
        {"\"created-on\":\"2026-01-02T03:04:05Z\",\"serial-number\":\"S\","
         "\"pinned-domain-cert\":\"AAEC\"",
         "voucher", ERR_MISSING},
        {"\"created-on\":\"yesterday\",\"assertion\":\"logged\",\"serial-number\":\"S\","
         "\"pinned-domain-cert\":\"AAEC\"",
         "created-on", ERR_INVALID},
        {"\"created-on\":\"2026-01-02T03:04:05Z\",\"assertion\":\"\",\"serial-number\":\"S\","
         "\"pinned-domain-cert\":\"AAEC\"",
         "assertion", ERR_INVALID},
        {"\"created-on\":\"2026-01-02T03:04:05Z\",\"assertion\":\"logged\",\"serial-number\":\"\","
         "\"pinned-domain-cert\":\"AAEC\"",
         "serial-number", ERR_INVALID},
        {"\"created-on\":\"2026-01-02T03:04:05Z\",\"assertion\":\"logged\",\"serial-number\":\"S\","
         "\"pinned-domain-cert\":\"\"",
         "pinned-domain-cert", ERR_INVALID},
        {BASE ",\"nonce\":\"AAEC\"", "nonce", ERR_INVALID},
        {BASE ",\"nonce\":\"AAECAwQFBgc=\",\"expires-on\":\"2027-01-02T03:04:05Z\"", "expires-on",
         ERR_CONSTRAINT},
        {BASE ",\"last-renewal-date\":\"2027-01-02T03:04:05Z\"", "last-renewal-date",
         ERR_CONSTRAINT},
        {BASE ",\"idevid-issuer\":\"\"", "idevid-issuer", ERR_INVALID},
        {BASE ",\"serial-number\":\"S\"", "", ERR_MALFORMED},
    };
    struct voucher v;
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&e, 0, sizeof e);
        assert_int_equal(parse(cases[i].members, &v, &e), cases[i].rc);
        assert_non_null(strstr(e.path, cases[i].path));
    }
    assert_int_equal(voucher_parse("{\"voucher\":{}}", 14, &v, &e), ERR_UNKNOWN);
}

/* What no authority may sign. */
static void issuing(void **state) {
    (void)state;
    struct test_cert masa = test_cert(&(struct test_wanted){.cn = "masa"});
    struct test_cert domain = test_cert(&(struct test_wanted){.cn = "domain", .ca = true});
    struct cms_key *k = test_cms_key(&masa, NULL);
    int64_t now = time(NULL);
    struct buf vcj = BUF_INIT;
    struct err e;
    for (int what = 0; what < 9; what++) {
        struct voucher v = {.created_on = now,
                            .expires_on = now + 3600,
                            .assertion = VOUCHER_VERIFIED,
                            .serial = "S"};
        const char *path = "";
        test_cert_der(&domain, &v.pinned);
        switch (what) {
        case 0:
            break;
        case 1:
            v.serial[0] = '\0';
            path = "serial-number";
            break;
        case 2:
            v.expires_on = now - 1;
            path = "expires-on";
            break;
        case 3:
            v.expires_on = now + 365LL * 86400; /* the certificate ends before */
            path = "expires-on";
            break;
        case 4:
            v.nonce_len = 16;
            path = "expires-on";
            break;
        case 5:
            v.expires_on = 0;
            v.nonce_len = 3;
            path = "nonce";
            break;
        case 6:
            v.expires_on = 0;
            v.last_renewal = now + 9;
            path = "last-renewal-date";
            break;
        case 7:
            v.pinned.len--;
            path = "pinned-domain-cert";
            break;
        default:
            v.assertion = (enum voucher_assertion)0;
            path = "assertion";
            break;
        }
        buf_clear(&vcj);
        assert_int_equal(voucher_issue(&v, k, &vcj, &e) == ERR_OK, what == 0);
        if (what == 0) {
            struct cms_content c;
            assert_int_equal(cms_open(vcj.data, vcj.len, CMS_VOUCHER_JSON, NULL, &c, &e), ERR_OK);
            assert_true(c.is_signed);
            cms_content_free(&c);
        } else {
            assert_string_equal(e.path, path);
            assert_int_equal(vcj.len, 0);
        }
        voucher_free(&v);
    }
    cms_key_free(k);
    test_cert_free(&masa);
    test_cert_free(&domain);
    buf_free(&vcj);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(borne),
        cmocka_unit_test(rules),
        cmocka_unit_test(issuing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
