// SPDX-License-Identifier: Apache-2.0
/* Documents that others wrote (../shared/vectors): examples of the standard's authors, and
 * configurations that another agent is used with. Skipped where they are not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "sztp/message.h"
#include "sztp/prerfc.h"

static char dir[64];

static int set_up(void **state) {
    (void)state;
    static const char *const places[] = {"..", "../..", "../../.."};
    struct stat st;
    for (size_t i = 0; i < 3; i++) {
        snprintf(dir, sizeof dir, "%s/shared/vectors", places[i]);
        if (stat(dir, &st) == 0) {
            return 0;
        }
    }
    dir[0] = '\0';
    return 0;
}

/* The file, without the head of an HTTP message; skips the test when it is not there. */
static void text_of(const char *name, struct buf *out) {
    char path[256];
    if (dir[0] == '\0') {
        print_message("../shared/vectors is not there: documents of others not read\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    buf_clear(out);
    size_t n = fread(buf_extend(out, 1 << 20), 1, 1 << 20, f);
    fclose(f);
    out->len -= (1 << 20) - n;
    const char *s = buf_cstr(out);
    if (strncmp(s, "HTTP/", 5) == 0 || strncmp(s, "POST ", 5) == 0) {
        const char *body = strstr(s, "\n\n");
        assert_non_null(body);
        buf_consume(out, (size_t)(body + 2 - s));
    }
}

static void conveyed_information(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum sztp_form form;
        bool redirect;
    } files[] = {{"zero-touch/ex-file-onboarding-information.json", SZTP_JSON, false},
                 {"zero-touch/ex-file-onboarding-information.xml", SZTP_XML, false},
                 {"zero-touch/ex-file-redirect-information.json", SZTP_JSON, true},
                 {"zero-touch/ex-file-redirect-information.xml", SZTP_XML, true}};
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < 4; i++) {
        struct conveyed c;
        struct err e = {.text = ""};
        text_of(files[i].name, &b);
        enum err_code rc = conveyed_parse(files[i].form, b.data, b.len, true, &c, &e);
        if (rc != ERR_OK) {
            print_error("%s: %s %s\n", files[i].name, e.path, e.text);
        }
        assert_int_equal(rc, ERR_OK);
        assert_int_equal(c.redirect, files[i].redirect);
        if (c.redirect) {
            assert_int_equal(c.n_servers, 3);
            assert_string_equal(c.servers[2].address, "sztp3.example.com");
            assert_int_equal(c.servers[2].port, 8443);
            assert_true(c.servers[2].anchor.len > 0);
        } else {
            assert_string_equal(c.image.os_version, "17.2R1.6");
            assert_int_equal(c.image.n_hashes, 1);
            assert_int_equal(c.image.hashes[0].digest[0], 0xba);
            assert_int_equal(c.handling, SZTP_MERGE);
            assert_true(c.config.len > 0);
        }
        conveyed_free(&c);
    }
    buf_free(&b);
}

static void bodies(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    struct sztp_get g;
    struct sztp_answer a;
    struct sztp_report r;
    struct err e;
    text_of("zero-touch/ex-api-get-bootstrap-data-rpc-trusted.xml", &b);
    assert_int_equal(sztp_get_parse(SZTP_XML, b.data, b.len, &g, &e), ERR_OK);
    assert_string_equal(g.hw_model, "model-x");
    assert_int_equal(g.nonce_len, 20);
    assert_false(g.signed_preferred);
    text_of("zero-touch/ex-api-get-bootstrap-data-rpc-untrusted.xml", &b);
    assert_int_equal(sztp_get_parse(SZTP_XML, b.data, b.len, &g, &e), ERR_OK);
    assert_true(g.signed_preferred);
    text_of("zero-touch/ex-api-get-bootstrap-data-rpc-reply-trusted.xml", &b);
    assert_int_equal(sztp_answer_parse(SZTP_XML, b.data, b.len, false, &a, &e), ERR_OK);
    assert_int_equal(a.level, SZTP_VERBOSE);
    sztp_answer_free(&a);
    text_of("zero-touch/ex-api-get-bootstrap-data-rpc-reply-untrusted.xml", &b);
    assert_int_equal(sztp_answer_parse(SZTP_XML, b.data, b.len, false, &a, &e), ERR_OK);
    assert_true(a.owner.len > 0 && a.voucher.len > 0);
    sztp_answer_free(&a);
    text_of("zero-touch/ex-api-report-progress-rpc.xml", &b);
    assert_int_equal(sztp_report_parse(SZTP_XML, b.data, b.len, &r, &e), ERR_OK);
    assert_int_equal(r.type, SZTP_BOOTSTRAP_COMPLETE);
    assert_string_equal(r.text, "example message");
    assert_non_null(strstr(buf_cstr(&r.host_keys), "rsa-sha2-256"));
    sztp_report_free(&r);
    buf_free(&b);
}

/* Through every form, and out again as they were. */
static void configurations(void **state) {
    (void)state;
    static const char *const files[] = {"opi-sztp/first-configuration.xml",
                                        "opi-sztp/second-configuration.xml",
                                        "opi-sztp/third-configuration.xml"};
    struct buf b = BUF_INIT, text = BUF_INIT;
    for (size_t i = 0; i < 3; i++) {
        struct prerfc_device d = {.serial = "S"}, old;
        struct conveyed back;
        struct err e;
        text_of(files[i], &b);
        d.info.has_config = true;
        d.info.handling = SZTP_MERGE;
        buf_add(&d.info.config, b.data, b.len);
        for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
            buf_clear(&text);
            conveyed_print(&d.info, (enum sztp_form)form, NULL, &text);
            assert_int_equal(
                conveyed_parse((enum sztp_form)form, text.data, text.len, false, &back, &e),
                ERR_OK);
            assert_int_equal(back.config.len, b.len);
            assert_memory_equal(back.config.data, b.data, b.len);
            conveyed_free(&back);
        }
        buf_clear(&text);
        enum err_code rc = prerfc_device_print(&d, &text, &e);
        if (rc == ERR_UNSUPPORTED) { /* more than one element, or none: not for that dialect */
            print_message("%s: %s\n", files[i], e.text);
        } else {
            assert_int_equal(rc, ERR_OK);
            assert_int_equal(prerfc_device_parse(text.data, text.len, &old, &e), ERR_OK);
            assert_true(old.info.config.len > 0);
            prerfc_device_free(&old);
        }
        prerfc_device_free(&d);
    }
    buf_free(&b);
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conveyed_information),
        cmocka_unit_test(bodies),
        cmocka_unit_test(configurations),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
