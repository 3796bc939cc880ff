// SPDX-License-Identifier: Apache-2.0
/* Conveyed information in both forms: each there and back, and each rule by what breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sztp/conveyed.h"

#define NS "xmlns=\"urn:ietf:params:xml:ns:yang:ietf-sztp-conveyed-info\""
#define HASH                                                                                       \
    "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:"   \
    "1e:1f"

static enum err_code parse(enum sztp_form form, const char *text, struct conveyed *c,
                           struct err *e) {
    return conveyed_parse(form, text, strlen(text), false, c, e);
}

static const char onboarding_json[] =
    "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"boot-image\":{\"os-name\":\"OS\","
    "\"os-version\":\"1.2\",\"download-uri\":[\"https://a/x\",\"http://b/y\"],"
    "\"image-verification\":[{\"hash-algorithm\":\"ietf-sztp-conveyed-info:sha-256\","
    "\"hash-value\":\"" HASH "\"}]},\"configuration-handling\":\"replace\","
    "\"pre-configuration-script\":\"cHJl\",\"configuration\":\"PGEvPg==\","
    "\"post-configuration-script\":\"cG9zdA==\",\"weft-onboard:virtual-chassis\":"
    "{\"strict-provisioning\":true,\"member\":[{\"serial-id\":\"S1\",\"member-id\":0,"
    "\"role\":\"master\"},{\"serial-id\":\"S2\"}]}}}";
static const char onboarding_xml[] =
    "<onboarding-information " NS "><boot-image><os-name>OS</os-name><os-version>1.2</os-version>"
    "<download-uri>https://a/x</download-uri><download-uri>http://b/y</download-uri>"
    "<image-verification><hash-algorithm>sha-256</hash-algorithm><hash-value>" HASH
    "</hash-value></image-verification></boot-image>"
    "<configuration-handling>replace</configuration-handling>"
    "<pre-configuration-script>cHJl</pre-configuration-script>"
    "<configuration>PGEvPg==</configuration>"
    "<post-configuration-script>cG9zdA==</post-configuration-script>"
    "<virtual-chassis xmlns=\"urn:weft:onboard\"><strict-provisioning>true</strict-provisioning>"
    "<member><serial-id>S1</serial-id><member-id>0</member-id><role>master</role></member>"
    "<member><serial-id>S2</serial-id></member></virtual-chassis></onboarding-information>";

static void check_onboarding(const struct conveyed *c) {
    assert_false(c->redirect);
    assert_true(c->image.present);
    assert_string_equal(c->image.os_name, "OS");
    assert_string_equal(c->image.os_version, "1.2");
    assert_int_equal(c->image.n_uris, 2);
    assert_string_equal(c->image.uris[0], "https://a/x");
    assert_string_equal(c->image.uris[1], "http://b/y");
    assert_int_equal(c->image.n_hashes, 1);
    assert_int_equal(c->image.hashes[0].hash, SZTP_SHA256);
    for (uint8_t i = 0; i < 32; i++) {
        assert_int_equal(c->image.hashes[0].digest[i], i);
    }
    assert_int_equal(c->handling, SZTP_REPLACE);
    assert_true(c->has_pre && c->has_config && c->has_post);
    assert_memory_equal(c->pre.data, "pre", 3);
    assert_memory_equal(c->config.data, "<a/>", 4);
    assert_memory_equal(c->post.data, "post", 4);
    assert_true(c->topology.present && c->topology.strict && !c->topology.exact);
    assert_int_equal(c->topology.n_members, 2);
    assert_string_equal(c->topology.members[0].serial, "S1");
    assert_int_equal(c->topology.members[0].id, 0);
    assert_int_equal(c->topology.members[0].role, SZTP_MASTER);
    assert_string_equal(c->topology.members[1].serial, "S2");
    assert_int_equal(c->topology.members[1].id, -1);
    assert_int_equal(c->topology.members[1].role, SZTP_ROLE_NONE);
}

/* proves: PH-020 PH-021 PH-022 PH-023 PH-122 */
static void onboarding(void **state) {
    (void)state;
    const struct sztp_profile lean = {.omit_os_fields = true};
    struct conveyed c;
    struct buf out = BUF_INIT;
    struct err e;
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        const char *text = form == SZTP_JSON ? onboarding_json : onboarding_xml;
        assert_int_equal(parse((enum sztp_form)form, text, &c, &e), ERR_OK);
        check_onboarding(&c);
        buf_clear(&out);
        conveyed_print(&c, (enum sztp_form)form, &sztp_profile_default, &out);
        assert_string_equal(buf_cstr(&out), text);
        buf_clear(&out);
        conveyed_print(&c, (enum sztp_form)form, &lean, &out);
        assert_null(strstr(buf_cstr(&out), "os-name"));
        assert_null(strstr(buf_cstr(&out), "os-version"));
        conveyed_free(&c);
    }
    assert_int_equal(
        parse(SZTP_JSON, "{\"ietf-sztp-conveyed-info:onboarding-information\":{}}", &c, &e),
        ERR_OK);
    assert_false(c.image.present || c.has_pre || c.has_config || c.topology.present);
    conveyed_free(&c);
    buf_free(&out);
}

/* proves: PH-143 PH-305 */
static void redirect(void **state) {
    (void)state;
    static const char json[] =
        "{\"ietf-sztp-conveyed-info:redirect-information\":{\"bootstrap-server\":["
        "{\"address\":\"a.example\",\"port\":8443,\"trust-anchor\":\"AAEC\"},"
        "{\"address\":\"2001:db8::1\"}]}}";
    static const char xml[] =
        "<redirect-information " NS "><bootstrap-server><address>a.example</address>"
        "<port>8443</port><trust-anchor>AAEC</trust-anchor></bootstrap-server>"
        "<bootstrap-server><address>2001:db8::1</address></bootstrap-server>"
        "</redirect-information>";
    struct conveyed c;
    struct buf out = BUF_INIT;
    struct err e;
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        assert_int_equal(parse((enum sztp_form)form, form == SZTP_JSON ? json : xml, &c, &e),
                         ERR_OK);
        for (int again = 0; again < 2; again++) {
            assert_true(c.redirect);
            assert_int_equal(c.n_servers, 2);
            assert_string_equal(c.servers[0].address, "a.example");
            assert_int_equal(c.servers[0].port, 8443);
            assert_int_equal(c.servers[0].anchor.len, 3);
            assert_string_equal(c.servers[1].address, "2001:db8::1");
            assert_int_equal(c.servers[1].port, 443);
            assert_int_equal(c.servers[1].port_said, again == 1);
            buf_clear(&out);
            conveyed_print(&c, (enum sztp_form)form, NULL, &out);
            conveyed_free(&c);
            assert_int_equal(parse((enum sztp_form)form, buf_cstr(&out), &c, &e), ERR_OK);
        }
        assert_non_null(strstr(buf_cstr(&out), "443")); /* said, for those who need it */
        conveyed_free(&c);
    }
    buf_free(&out);
}

static void bad(enum err_code want, const char *path, const char *text) {
    struct conveyed c;
    struct err e;
    char whole[4096];
    snprintf(whole, sizeof whole, "{\"ietf-sztp-conveyed-info:%s}", text);
    enum err_code rc = parse(SZTP_JSON, whole, &c, &e);
    if (rc != want || strstr(e.path, path) == NULL) {
        print_error("%s: %d, at %s: %s\n", whole, rc, e.path, e.text);
    }
    assert_int_equal(rc, want);
    assert_non_null(strstr(e.path, path));
    assert_true(e.text[0] != '\0');
}

/* proves: PH-025 PH-306 */
static void rules(void **state) {
    (void)state;
#define O    "onboarding-information\":{"
#define R    "redirect-information\":{\"bootstrap-server\":"
#define V    O "\"weft-onboard:virtual-chassis\":{"
#define H(v) "{\"hash-algorithm\":\"ietf-sztp-conveyed-info:sha-256\",\"hash-value\":\"" v "\"}"
    bad(ERR_UNKNOWN, "/ietf-sztp-conveyed-info:something", "something\":{}");
    bad(ERR_UNKNOWN, "onboarding-information/extra", O "\"extra\":1}");
    bad(ERR_INVALID, "boot-image", O "\"boot-image\":[{}]}");
    bad(ERR_INVALID, "os-name", O "\"boot-image\":{\"os-name\":5}}");
    bad(ERR_INVALID, "os-name", O "\"boot-image\":{\"os-name\":\"a\\nb\"}}");
    bad(ERR_INVALID, "download-uri", O "\"boot-image\":{\"download-uri\":\"http://x\"}}");
    bad(ERR_INVALID, "download-uri", O "\"boot-image\":{\"download-uri\":[\"x\"]}}");
    bad(ERR_INVALID, "boot-image", O "\"boot-image\":{\"image-verification\":[" H(HASH) "]}}");
    bad(ERR_INVALID, "hash-value",
        O "\"boot-image\":{\"download-uri\":[\"x:y\"],\"image-verification\":[" H("00:01") "]}}");
    bad(ERR_UNSUPPORTED, "hash-algorithm",
        O "\"boot-image\":{\"download-uri\":[\"x:y\"],\"image-verification\":"
          "[{\"hash-algorithm\":\"v:sha-1\",\"hash-value\":\"00\"}]}}");
    bad(ERR_INVALID, "image-verification",
        O "\"boot-image\":{\"download-uri\":[\"x:y\"],\"image-verification\":[" H(HASH) "," H(
            "ff:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:"
            "1c:1d:1e:1f") "]}}");
    bad(ERR_MISSING, "onboarding-information", O "\"configuration\":\"\"}");
    bad(ERR_MISSING, "onboarding-information", O "\"configuration-handling\":\"merge\"}");
    bad(ERR_INVALID, "configuration-handling",
        O "\"configuration\":\"\",\"configuration-handling\":\"add\"}");
    bad(ERR_INVALID, "pre-configuration-script", O "\"pre-configuration-script\":\"#\"}");
    bad(ERR_MISSING, "redirect-information", "redirect-information\":{}");
    bad(ERR_MISSING, "redirect-information", R "[]}");
    bad(ERR_MISSING, "bootstrap-server", R "[{}]}");
    bad(ERR_INVALID, "address", R "[{\"address\":\"\"}]}");
    bad(ERR_INVALID, "address", R "[{\"address\":\"a/b\"}]}");
    bad(ERR_INVALID, "address", R "[{\"address\":\"a\"},{\"address\":\"a\"}]}");
    bad(ERR_INVALID, "port", R "[{\"address\":\"a\",\"port\":0}]}");
    bad(ERR_INVALID, "port", R "[{\"address\":\"a\",\"port\":65536}]}");
    bad(ERR_INVALID, "port", R "[{\"address\":\"a\",\"port\":\"443\"}]}");
    bad(ERR_INVALID, "trust-anchor", R "[{\"address\":\"a\",\"trust-anchor\":\"?\"}]}");
    bad(ERR_INVALID, "weft-onboard:virtual-chassis", V "\"strict-provisioning\":true}}");
    bad(ERR_INVALID, "member-id", V "\"member\":[{\"serial-id\":\"a\",\"member-id\":10}]}}");
    bad(ERR_INVALID, "role", V "\"member\":[{\"serial-id\":\"a\",\"role\":\"spare\"}]}}");
    bad(ERR_INVALID, "serial-id", V "\"member\":[{\"serial-id\":\"\"}]}}");
    bad(ERR_INVALID, "virtual-chassis",
        V "\"member\":[{\"serial-id\":\"a\"},{\"serial-id\":\"a\"}]}}");
    bad(ERR_INVALID, "virtual-chassis",
        V "\"member\":[{\"serial-id\":\"a\",\"member-id\":1},{\"serial-id\":\"b\",\"member-id\":"
          "1}]}}");
    /* the same value twice, as one producer writes it */
    struct conveyed c;
    struct err e;
    assert_int_equal(parse(SZTP_JSON,
                           "{\"ietf-sztp-conveyed-info:" O
                           "\"boot-image\":{\"download-uri\":[\"x:y\"],\"image-verification\":[" H(
                               HASH) "," H(HASH) "]}}}",
                           &c, &e),
                     ERR_OK);
    assert_int_equal(c.image.n_hashes, 1);
    conveyed_free(&c);
}

/* What is borne when somebody asks for it, and only then. */
static void lenient(void **state) {
    (void)state;
    static const struct {
        enum sztp_form form;
        const char *text;
    } cases[] = {
        {SZTP_JSON, "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"x\":1,\"v:y\":{}}}"},
        {SZTP_JSON, "{\"ietf-SZTP-conveyed-info:onboarding-information\":{}}"},
        {SZTP_JSON, "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"configuration\":null,"
                    "\"post-configuration-script\":null}}"},
        {SZTP_XML, "<onboarding-information " NS "><x/></onboarding-information>"},
        {SZTP_XML, "<onboarding-information "
                   "xmlns=\"urn:ietf:params:xml:ns:yang:ietf-SZTP-conveyed-info\"/>"},
        {SZTP_XML, "<onboarding-information " NS "><configuration-handling>merge"
                   "</configuration-handling><configuration><a xmlns=\"urn:a\"><b>1</b></a>"
                   "</configuration></onboarding-information>"},
    };
    struct conveyed c;
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *t = cases[i].text;
        assert_int_not_equal(conveyed_parse(cases[i].form, t, strlen(t), false, &c, &e), ERR_OK);
        assert_int_equal(conveyed_parse(cases[i].form, t, strlen(t), true, &c, &e), ERR_OK);
        if (i == 5) {
            assert_string_equal(buf_cstr(&c.config), "<a xmlns=\"urn:a\"><b>1</b></a>");
        }
        conveyed_free(&c);
    }
}

/* Documents that are made to cost: each ends in an error, none in work. */
static void hostile(void **state) {
    (void)state;
    struct conveyed c;
    struct err e;
    struct buf b = BUF_INIT;
    static const char *const xml[] = {
        "<!DOCTYPE a [<!ENTITY b \"c\">]><onboarding-information " NS ">&b;"
        "</onboarding-information>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        "<onboarding-information " NS ">text</onboarding-information>",
        "<onboarding-information " NS ">",
        "<onboarding-information " NS "/><onboarding-information " NS "/>",
        "",
    };
    for (size_t i = 0; i < sizeof xml / sizeof xml[0]; i++) {
        assert_int_not_equal(parse(SZTP_XML, xml[i], &c, &e), ERR_OK);
    }
    static const char *const json[] = {
        "",
        "[]",
        "{}",
        "null",
        "{\"a\":1,\"b\":2}",
        "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"a\":1,\"a\":1}}",
        "{\"ietf-sztp-conveyed-info:onboarding-information\":[]}",
        "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"configuration\":null}}",
        "{\"ietf-sztp-conveyed-info:onboarding-information\":{\"boot-image\":{\"os-name\":1.5}}}",
        "{\"onboarding-information\":{}}",
    };
    for (size_t i = 0; i < sizeof json / sizeof json[0]; i++) {
        assert_int_not_equal(parse(SZTP_JSON, json[i], &c, &e), ERR_OK);
    }
    for (int form = 0; form < 3; form++) { /* deep: objects, arrays, elements */
        buf_clear(&b);
        buf_str(&b, form == 2 ? "" : "{\"ietf-sztp-conveyed-info:onboarding-information\":");
        for (int i = 0; i < 20000; i++) {
            buf_str(&b, form == 0 ? "{\"a\":" : form == 1 ? "[" : "<a>");
        }
        assert_int_not_equal(parse(form == 2 ? SZTP_XML : SZTP_JSON, buf_cstr(&b), &c, &e), ERR_OK);
    }
    buf_clear(&b);
    buf_str(&b, "{\"ietf-sztp-conveyed-info:onboarding-information\":");
    for (int i = 0; i < 100; i++) {
        buf_str(&b, "{\"a\":");
    }
    buf_str(&b, "1");
    for (int i = 0; i < 101; i++) {
        buf_char(&b, '}');
    }
    assert_int_equal(parse(SZTP_JSON, buf_cstr(&b), &c, &e), ERR_TOO_BIG);
    assert_int_equal(conveyed_parse(SZTP_JSON, "", (size_t)SZTP_DOCUMENT_MAX + 1, false, &c, &e),
                     ERR_TOO_BIG);
    for (int what = 0; what < 3; what++) { /* many of what is bounded */
        buf_clear(&b);
        buf_str(&b, "{\"ietf-sztp-conveyed-info:");
        buf_str(&b, what == 0   ? R "["
                    : what == 1 ? O "\"boot-image\":{\"download-uri\":["
                                : V "\"member\":[");
        for (int i = 0; i < 100; i++) {
            buf_printf(&b,
                       what == 0   ? "%s{\"address\":\"a%d\"}"
                       : what == 1 ? "%s\"http://a/%d\""
                                   : "%s{\"serial-id\":\"a%d\"}",
                       i > 0 ? "," : "", i);
        }
        buf_str(&b, what == 0 ? "]}}" : "]}}}");
        assert_int_equal(parse(SZTP_JSON, buf_cstr(&b), &c, &e), ERR_LIMIT);
    }
    buf_free(&b);
}

static void hashes(void **state) {
    (void)state;
    static const char *const bad_ones[] = {"", "00", "zz", "0001:", ":00"};
    struct sztp_verification v;
    struct buf out = BUF_INIT;
    struct err e;
    assert_int_equal(sztp_hash_parse(SZTP_MD5, "00112233445566778899AABBCCDDEEFF", &v, &e), ERR_OK);
    sztp_hash_print(&v, &out);
    assert_string_equal(buf_cstr(&out), "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff");
    assert_int_equal(
        sztp_hash_parse(SZTP_SHA1, "0011223344:5566778899aabbccddeeff00112233", &v, &e), ERR_OK);
    for (size_t i = 0; i < sizeof bad_ones / sizeof bad_ones[0]; i++) {
        assert_int_equal(sztp_hash_parse(SZTP_SHA256, bad_ones[i], &v, &e), ERR_INVALID);
    }
    assert_int_equal(sztp_hash_parse(SZTP_MD5, "00112233445566778899aabbccddeeff00", &v, &e),
                     ERR_INVALID);
    assert_string_equal(sztp_role_name(SZTP_LINECARD), "linecard");
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(onboarding), cmocka_unit_test(redirect), cmocka_unit_test(rules),
        cmocka_unit_test(lenient),    cmocka_unit_test(hostile),  cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
