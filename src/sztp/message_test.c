// SPDX-License-Identifier: Apache-2.0
/* The bodies of the RPCs in both forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sztp/message.h"

#define SERVER "xmlns=\"urn:ietf:params:xml:ns:yang:ietf-sztp-bootstrap-server\""
#define CSR    "xmlns=\"urn:ietf:params:xml:ns:yang:ietf-sztp-csr\""
#define INPUT  "{\"ietf-sztp-bootstrap-server:input\":{"

/* proves: PH-123 */
static void media(void **state) {
    (void)state;
    static const struct {
        const char *type;
        int form; /* -1: none */
    } cases[] = {
        {"application/yang-data+json", SZTP_JSON},
        {"application/yang-data+xml", SZTP_XML},
        {"application/yang.data+xml", SZTP_XML},
        {"application/yang.data+json; charset=utf-8", SZTP_JSON},
        {"Application/JSON", SZTP_JSON},
        {"application/xml", SZTP_XML},
        {"text/xml", -1},
        {"", -1},
        {"*/*", -1},
        {"text/html, application/xml;q=0.5, application/json;q=0.9", SZTP_JSON},
        {"application/xml, application/json", SZTP_XML},
        {"application/json;q=0", -1},
        {"application/yang-data+jsonx", -1},
        {",,;;,", -1},
        {"application/json;q=", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum sztp_form f = SZTP_JSON;
        assert_int_equal(sztp_media(cases[i].type, &f), cases[i].form >= 0);
        assert_int_equal(cases[i].form >= 0 ? (int)f : -1, cases[i].form);
    }
}

static enum err_code get(enum sztp_form form, const char *text, struct sztp_get *g, struct err *e) {
    return sztp_get_parse(form, text, strlen(text), g, e);
}

/* proves: PH-120 */
static void requests(void **state) {
    (void)state;
    static const char json[] =
        INPUT "\"signed-data-preferred\":[null],\"hw-model\":\"model-x\",\"os-name\":\"vendor-os\","
              "\"os-version\":\"17.3R2.1\",\"nonce\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"}}";
    static const char xml[] =
        "<input " SERVER "><signed-data-preferred/><hw-model>model-x</hw-model>"
        "<os-name>vendor-os</os-name><os-version>17.3R2.1</os-version>"
        "<nonce>MDEyMzQ1Njc4OWFiY2RlZg==</nonce></input>";
    struct sztp_get g;
    struct buf out = BUF_INIT;
    struct err e;
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        const char *text = form == SZTP_JSON ? json : xml;
        assert_int_equal(get((enum sztp_form)form, text, &g, &e), ERR_OK);
        assert_true(g.signed_preferred);
        assert_string_equal(g.hw_model, "model-x");
        assert_string_equal(g.os_name, "vendor-os");
        assert_string_equal(g.os_version, "17.3R2.1");
        assert_int_equal(g.nonce_len, 16);
        assert_memory_equal(g.nonce, "0123456789abcdef", 16);
        assert_false(g.csr_support);
        assert_int_equal(g.csr_format, SZTP_CSR_NONE);
        buf_clear(&out);
        sztp_get_print(&g, (enum sztp_form)form, &out);
        assert_string_equal(buf_cstr(&out), text);
        sztp_get_free(&g);
    }
    assert_int_equal(get(SZTP_JSON, INPUT "}}", &g, &e), ERR_OK);
    assert_false(g.signed_preferred);
    assert_int_equal(get(SZTP_XML, "<input " SERVER "/>", &g, &e), ERR_OK);
    buf_free(&out);
}

/* proves: PH-300 PH-205 */
static void nonces(void **state) {
    (void)state;
    struct sztp_get g;
    struct err e;
    assert_int_equal(get(SZTP_JSON, INPUT "\"nonce\":\"\"}}", &g, &e), ERR_OK);
    assert_int_equal(g.nonce_len, 0);
    assert_int_equal(get(SZTP_JSON, INPUT "\"nonce\":\"MDEyMzQ1Njc4OWFiY2Rl\"}}", &g, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.path, "input/nonce"));
    assert_int_equal(get(SZTP_JSON,
                         INPUT "\"nonce\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYw\"}}", &g,
                         &e),
                     ERR_INVALID);
    assert_int_equal(get(SZTP_JSON,
                         INPUT "\"nonce\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"}}", &g,
                         &e),
                     ERR_OK);
    assert_int_equal(g.nonce_len, 32);
}

static void bad_requests(void **state) {
    (void)state;
    static const struct {
        const char *text, *path;
        enum err_code rc;
    } cases[] = {
        {"{\"input\":{}}", "/input", ERR_UNKNOWN},
        {"{\"ietf-sztp-bootstrap-server:output\":{}}", "output", ERR_UNKNOWN},
        {INPUT "\"serial\":\"x\"}}", "serial", ERR_UNKNOWN},
        {INPUT "\"hw-model\":[\"x\"]}}", "hw-model", ERR_INVALID},
        {INPUT "\"hw-model\":{}}}", "hw-model", ERR_INVALID},
        {INPUT "\"signed-data-preferred\":true}}", "signed-data-preferred", ERR_INVALID},
        {INPUT "\"ietf-sztp-csr:p10-csr\":\"AA==\",\"ietf-sztp-csr:cmc-csr\":\"AA==\"}}", "cmc-csr",
         ERR_ELEMENT},
        {INPUT "\"ietf-sztp-csr:p10-csr\":\"\"}}", "p10-csr", ERR_INVALID},
        {INPUT "\"ietf-sztp-csr:csr-support\":{\"key-generation\":{\"supported-algorithms\":{}}}}}",
         "supported-algorithms", ERR_MISSING},
    };
    struct sztp_get g;
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(get(SZTP_JSON, cases[i].text, &g, &e), cases[i].rc);
        assert_non_null(strstr(e.path, cases[i].path));
    }
    assert_int_equal(get(SZTP_XML,
                         "<input " SERVER "><hw-model>a</hw-model><hw-model>b</hw-model>"
                         "</input>",
                         &g, &e),
                     ERR_ELEMENT);
    assert_int_equal(get(SZTP_XML, "<input " SERVER "><hw-model><a/></hw-model></input>", &g, &e),
                     ERR_INVALID);
    char *big = NULL;
    assert_int_equal(sztp_get_parse(SZTP_JSON, big, 10 << 20, &g, &e), ERR_TOO_BIG);
}

/* RFC 9646: what a client can, what a server asks, what comes back. */
static void signing_requests(void **state) {
    (void)state;
    static const char xml[] =
        "<input " SERVER "><csr-support " CSR "><key-generation><supported-algorithms>"
        "<algorithm-identifier>MAA=</algorithm-identifier>"
        "<algorithm-identifier>MAEA</algorithm-identifier></supported-algorithms></key-generation>"
        "<csr-generation><supported-formats><format-identifier "
        "xmlns:id=\"urn:ietf:params:xml:ns:yang:ietf-ztp-types\">id:p10-csr</format-identifier>"
        "</supported-formats></csr-generation></csr-support></input>";
    static const char json[] =
        INPUT "\"ietf-sztp-csr:csr-support\":{\"key-generation\":{\"supported-algorithms\":"
              "{\"algorithm-identifier\":[\"MAA=\",\"MAEA\"]}},\"csr-generation\":"
              "{\"supported-formats\":{\"format-identifier\":[\"ietf-ztp-types:p10-csr\"]}}}}}";
    struct sztp_get g;
    struct sztp_error se;
    struct buf out = BUF_INIT;
    struct err e;
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        enum sztp_form f = (enum sztp_form)form;
        const char *text = form == SZTP_JSON ? json : xml;
        assert_int_equal(get(f, text, &g, &e), ERR_OK);
        assert_true(g.csr_support && g.csr_p10_ok);
        assert_int_equal(g.key_algorithms.len, 5);
        buf_clear(&out);
        sztp_get_print(&g, f, &out);
        assert_string_equal(buf_cstr(&out), text);
        sztp_get_free(&g);

        buf_clear(&out);
        sztp_error_print(f, "application", "missing-attribute", "a request is wanted", true, &out);
        assert_int_equal(sztp_error_parse(f, out.data, out.len, &se, &e), ERR_OK);
        assert_string_equal(se.tag, "missing-attribute");
        assert_string_equal(se.text, "a request is wanted");
        assert_true(se.csr_request && se.csr_p10);

        struct sztp_get with = {.csr_format = SZTP_CSR_P10};
        buf_str(&with.csr, "der");
        buf_clear(&out);
        sztp_get_print(&with, f, &out);
        assert_int_equal(sztp_get_parse(f, out.data, out.len, &g, &e), ERR_OK);
        assert_int_equal(g.csr_format, SZTP_CSR_P10);
        assert_memory_equal(g.csr.data, "der", 3);
        sztp_get_free(&g);
        sztp_get_free(&with);
    }
    assert_int_equal(get(SZTP_JSON,
                         INPUT "\"ietf-sztp-csr:csr-support\":{\"csr-generation\":"
                               "{\"supported-formats\":{\"format-identifier\":"
                               "[\"ietf-ztp-types:cmp-csr\"]}}}}}",
                         &g, &e),
                     ERR_OK);
    assert_true(g.csr_support && !g.csr_p10_ok);
    sztp_get_free(&g);
    buf_free(&out);
}

static enum err_code answer(const char *members, bool lenient, struct sztp_answer *a,
                            struct err *e) {
    char text[1024];
    snprintf(text, sizeof text, "{\"ietf-sztp-bootstrap-server:output\":{%s}}", members);
    return sztp_answer_parse(SZTP_JSON, text, strlen(text), lenient, a, e);
}

/* proves: PH-206 PH-302 */
static void answers(void **state) {
    (void)state;
    const struct sztp_profile lean = {.omit_reporting_level = true};
    struct sztp_answer a = {.level = SZTP_VERBOSE}, back;
    struct buf out = BUF_INIT;
    struct err e;
    buf_str(&a.ci, "ci");
    for (int signed_data = 0; signed_data < 2; signed_data++) {
        for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
            buf_clear(&out);
            sztp_answer_print(&a, (enum sztp_form)form, NULL, &out);
            assert_int_equal(
                sztp_answer_parse((enum sztp_form)form, out.data, out.len, false, &back, &e),
                ERR_OK);
            assert_int_equal(back.level, SZTP_VERBOSE);
            assert_memory_equal(back.ci.data, "ci", 2);
            assert_int_equal(back.owner.len, signed_data ? 5 : 0);
            assert_int_equal(back.voucher.len, signed_data ? 7 : 0);
            sztp_answer_free(&back);
            buf_clear(&out);
            sztp_answer_print(&a, (enum sztp_form)form, &lean, &out);
            assert_null(strstr(buf_cstr(&out), "reporting-level"));
        }
        buf_str(&a.owner, "owner");
        buf_str(&a.voucher, "voucher");
    }
    sztp_answer_free(&a);
    assert_int_equal(answer("", false, &a, &e), ERR_MISSING);
    assert_int_equal(answer("\"conveyed-information\":\"\"", false, &a, &e), ERR_INVALID);
    assert_int_equal(
        answer("\"conveyed-information\":\"AA==\",\"owner-certificate\":\"AA==\"", false, &a, &e),
        ERR_MISSING);
    assert_int_equal(
        answer("\"conveyed-information\":\"AA==\",\"reporting-level\":\"some\"", false, &a, &e),
        ERR_INVALID);
    assert_int_equal(answer("\"conveyed-information\":\"AA==\",\"more\":1", false, &a, &e),
                     ERR_UNKNOWN);
    assert_int_equal(answer("\"conveyed-information\":\"AA==\",\"more\":1", true, &a, &e), ERR_OK);
    assert_int_equal(a.level, SZTP_MINIMAL);
    sztp_answer_free(&a);
    buf_free(&out);
}

static enum err_code report(const char *members, struct sztp_report *r, struct err *e) {
    char text[4096];
    snprintf(text, sizeof text, INPUT "%s}}", members);
    return sztp_report_parse(SZTP_JSON, text, strlen(text), r, e);
}

/* proves: PH-081 PH-301 PH-303 */
static void reports(void **state) {
    (void)state;
    struct sztp_report r = {.type = SZTP_BOOTSTRAP_COMPLETE, .text = "done\nwell"}, back;
    struct buf out = BUF_INIT;
    struct err e;
    buf_str(&r.host_keys, "[{\"algorithm\":\"ssh-ed25519\",\"key-data\":\"AAAA\"},"
                          "{\"algorithm\":\"ssh-rsa\",\"key-data\":\"BBBB\"}]");
    buf_str(&r.anchors, "[\"Tm90IENNUw==\",\"AAAA\"]"); /* the first is no CMS */
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        buf_clear(&out);
        sztp_report_print(&r, (enum sztp_form)form, &out);
        assert_int_equal(sztp_report_parse((enum sztp_form)form, out.data, out.len, &back, &e),
                         ERR_OK);
        assert_int_equal(back.type, SZTP_BOOTSTRAP_COMPLETE);
        assert_string_equal(back.text, "done\nwell");
        assert_string_equal(buf_cstr(&back.host_keys), buf_cstr(&r.host_keys));
        assert_string_equal(buf_cstr(&back.anchors), buf_cstr(&r.anchors));
        sztp_report_free(&back);
    }
    /* Whom of a chassis it is about, in our own augmentation. */
    static const char *const about[] = {
        INPUT "\"progress-type\":\"informational\",\"message\":\"Successfully upgraded.\","
              "\"weft-onboard:virtual-chassis-member\":{\"serial-id\":\"PE3716100123\","
              "\"member-id\":2,\"role\":\"linecard\"}}}",
        "<input " SERVER "><progress-type>informational</progress-type><message>Successfully "
        "upgraded.</message><virtual-chassis-member xmlns=\"urn:weft:onboard\"><serial-id>"
        "PE3716100123</serial-id><member-id>2</member-id><role>linecard</role>"
        "</virtual-chassis-member></input>"};
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        const char *text = about[form];
        assert_int_equal(sztp_report_parse((enum sztp_form)form, text, strlen(text), &back, &e),
                         ERR_OK);
        assert_true(back.has_member);
        assert_string_equal(back.member.serial, "PE3716100123");
        assert_int_equal(back.member.id, 2);
        assert_int_equal(back.member.role, SZTP_LINECARD);
        buf_clear(&out);
        sztp_report_print(&back, (enum sztp_form)form, &out);
        assert_string_equal(buf_cstr(&out), text);
        sztp_report_free(&back);
        assert_false(back.has_member);
    }
    static const struct {
        const char *member, *path;
        enum err_code rc;
    } wrong[] = {{"{}", "virtual-chassis-member", ERR_MISSING},
                 {"{\"serial-id\":\"\"}", "serial-id", ERR_INVALID},
                 {"{\"serial-id\":\"S\",\"member-id\":10}", "member-id", ERR_INVALID},
                 {"{\"serial-id\":\"S\",\"role\":\"spare\"}", "role", ERR_INVALID},
                 {"{\"serial-id\":\"S\",\"more\":1}", "more", ERR_UNKNOWN},
                 {"\"x\"", "virtual-chassis-member", ERR_INVALID}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "\"progress-type\":\"informational\","
                 "\"weft-onboard:virtual-chassis-member\":%s",
                 wrong[i].member);
        assert_int_equal(report(text, &back, &e), wrong[i].rc);
        assert_non_null(strstr(e.path, wrong[i].path));
    }
    r.type = SZTP_CONFIG_ERROR; /* keys come with the end alone */
    buf_clear(&out);
    sztp_report_print(&r, SZTP_JSON, &out);
    assert_string_equal(buf_cstr(&out),
                        INPUT "\"progress-type\":\"config-error\",\"message\":\"done\\nwell\"}}");
    sztp_report_free(&r);
    assert_int_equal(report("\"progress-type\":\"config-complete\",\"ssh-host-keys\":{},"
                            "\"trust-anchor-certs\":{}",
                            &r, &e),
                     ERR_OK);
    assert_int_equal(r.host_keys.len + r.anchors.len, 0);
    assert_int_equal(report("\"progress-type\":\"config-complete\",\"ssh-host-keys\":"
                            "{\"ssh-host-key\":[]}",
                            &r, &e),
                     ERR_OK);
    assert_int_equal(report("\"progress-type\":\"config-complete\",\"trust-anchor-certs\":"
                            "{\"trust-anchor-cert\":[\"AAAA\"]}",
                            &r, &e),
                     ERR_ELEMENT);
    assert_int_equal(report("\"message\":\"x\"", &r, &e), ERR_MISSING);
    assert_int_equal(report("\"progress-type\":\"done\"", &r, &e), ERR_INVALID);
    /* the output of a script: cut between two characters */
    memset(&e, 0, sizeof e);
    buf_clear(&out);
    buf_str(&out, "\"progress-type\":\"informational\",\"message\":\"x");
    for (int i = 0; i < 1000; i++) {
        buf_str(&out, "\xc3\xa4");
    }
    buf_char(&out, '"');
    assert_int_equal(report(buf_cstr(&out), &r, &e), ERR_OK);
    assert_int_equal(strlen(r.text), SZTP_MESSAGE_MAX - 1);
    buf_free(&out);
}

static void errors(void **state) {
    (void)state;
    struct sztp_error se;
    struct buf out = BUF_INIT;
    struct err e;
    static const char *const none[] = {"",
                                       "{}",
                                       "not found",
                                       "{\"errors\":{}}",
                                       "{\"ietf-restconf:errors\":{}}",
                                       "{\"ietf-restconf:errors\":{\"error\":[]}}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(sztp_error_parse(SZTP_JSON, none[i], strlen(none[i]), &se, &e),
                         ERR_MALFORMED);
        assert_int_equal(sztp_error_parse(SZTP_XML, none[i], strlen(none[i]), &se, &e),
                         ERR_MALFORMED);
    }
    sztp_error_print(SZTP_JSON, "protocol", "access-denied", "No.", false, &out);
    assert_string_equal(buf_cstr(&out),
                        "{\"ietf-restconf:errors\":{\"error\":[{\"error-type\":\"protocol\","
                        "\"error-tag\":\"access-denied\",\"error-message\":\"No.\"}]}}");
    assert_int_equal(sztp_error_parse(SZTP_JSON, out.data, out.len, &se, &e), ERR_OK);
    assert_false(se.csr_request);
    /* requests that we can't make: another key, another format, contents of theirs */
    static const char *const asked[] = {
        "\"key-generation\":{\"selected-algorithm\":{\"algorithm-identifier\":\"MAA=\"}}",
        ("\"csr-generation\":{\"selected-format\":{\"format-identifier\":"
         "\"ietf-ztp-types:cmp-csr\"}}"),
        "\"cert-req-info\":\"MAA=\""};
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&out);
        buf_printf(&out,
                   "{\"ietf-restconf:errors\":{\"error\":[{\"error-tag\":\"x\","
                   "\"error-info\":{\"ietf-sztp-csr:csr-request\":{%s}}}]}}",
                   asked[i]);
        assert_int_equal(sztp_error_parse(SZTP_JSON, out.data, out.len, &se, &e), ERR_OK);
        assert_true(se.csr_request);
        assert_false(se.csr_p10);
    }
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media),
        cmocka_unit_test(requests),
        cmocka_unit_test(nonces),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(signing_requests),
        cmocka_unit_test(answers),
        cmocka_unit_test(reports),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
