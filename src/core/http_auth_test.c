// SPDX-License-Identifier: Apache-2.0
/* What nodes say of who asks: it reads as it was written, and nothing else reads at all. */
#include "core/http_auth.h"
#include "core/testing.h"

#define A16      "aaaaaaaaaaaaaaaa"
#define TOO_LONG "user=" A16 A16 A16 A16 ";source=b;token="

static void reads_as_it_was_written(void **state) {
    const struct actor all[] = {
        {.user = "admin", .source = "restconf unix:uid=0", .superuser = true},
        {.user = "o;l=g%a", .source = "cli [2001:db8::1]:4711", .token = "abc"},
        {.user = "\xc3\xa4"},
        {.user = "paula", .source = "cli unix", .as = "guests"},
        {.user = "olga", .source = "cli unix", .due = UINT64_C(0xfedcba9876543211)},
        {.user = "ann",
         .source = "netconf 192.0.2.7:1",
         .as = "guests",
         .due = 1,
         .ends_s = 1800000000,
         .superuser = true}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct buf text = BUF_INIT;
        struct actor got;
        http_auth_actor_print(&all[i], &text);
        assert_true(http_auth_actor_parse(buf_cstr(&text), &got));
        assert_string_equal(got.user, all[i].user);
        assert_string_equal(got.source, all[i].source);
        assert_string_equal(got.token, all[i].token);
        assert_string_equal(got.as, all[i].as);
        assert_true(got.due == all[i].due && got.ends_s == all[i].ends_s);
        assert_int_equal(got.superuser, all[i].superuser);
        buf_free(&text);
    }
}

static void nothing_else_reads(void **state) {
    static const char *const bad[] = {"",
                                      "user=a",
                                      "user=a;source=b",
                                      "user=;source=b;token=",
                                      "user=a;source=b;token=;",
                                      "user=a;source=b;token=;superuser;",
                                      "user=a;source=b;token=;as=b;",
                                      "user=a;source=b;token=;due=0",
                                      "user=a;source=b;token=;ends=0",
                                      "user=a;source=b;token=;ends=1;as=b",
                                      "user=a;source=b;token=;ends=ffffffffffffffff",
                                      "user=a;source=b;token=;due=x;superuser",
                                      "user=a;source=b;token=;as=" A16 A16 A16,
                                      "user=a;source=b;token=;superuse",
                                      "user=a;source=b;token=superuser;superuser=1",
                                      "user=a%0A;source=b;token=",
                                      "user=a%00;source=b;token=",
                                      "user=a%4;source=b;token=",
                                      "source=b;user=a;token=",
                                      TOO_LONG};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct actor got;
        if (http_auth_actor_parse(bad[i], &got)) {
            fail_msg("\"%s\" reads", bad[i]);
        }
    }
}

static void a_node_is_known_by_its_san(void **state) {
    struct tls_peer p = {.verified = true, .subject_cn = "a", .n_sans = 1};
    p.sans = mem_alloc(sizeof *p.sans);
    p.sans[0].kind = 'U';
    snprintf(p.sans[0].value, sizeof p.sans[0].value, "urn:weft:node:a");
    assert_string_equal(http_auth_node(&p), "a");
    p.verified = false;
    assert_null(http_auth_node(&p));
    p.verified = true;
    p.sans[0].kind = 'D';
    assert_null(http_auth_node(&p));
    p.sans[0].kind = 'U';
    snprintf(p.sans[0].value, sizeof p.sans[0].value, "urn:weft:user:a");
    assert_null(http_auth_node(&p));
    snprintf(p.sans[0].value, sizeof p.sans[0].value, "urn:weft:node:");
    assert_null(http_auth_node(&p));
    assert_null(http_auth_node(NULL));
    mem_free(p.sans);
}

static void a_gateways_certificate_reads_as_it_was_written(void **state) {
    struct tls_peer tls = {.verified = true, .subject_cn = "bng-1", .n_sans = 2};
    tls.sans = mem_alloc(2 * sizeof *tls.sans);
    snprintf(tls.sans[0].value, sizeof tls.sans[0].value, "b;n=g%%2");
    snprintf(tls.sans[1].value, sizeof tls.sans[1].value, A16 A16 A16 A16 A16);
    const struct http_peer peers[] = {
        {.kind = HTTP_PEER_TLS, .tls = &tls}, {.kind = HTTP_PEER_TLS}, {.kind = HTTP_PEER_TCP}};
    static const char *const shown[] = {"verified;bng-1;b%3Bn%3Dg%252", "tls", "clear"};
    for (size_t i = 0; i < 3; i++) {
        struct buf text = BUF_INIT;
        struct http_auth_gateway g;
        http_auth_gateway_print(&peers[i], &text);
        assert_string_equal(buf_cstr(&text),
                            shown[i]); /* names that are no system id's are left out */
        assert_true(http_auth_gateway_parse(buf_cstr(&text), &g));
        assert_true(g.tls == (i < 2) && g.verified == (i == 0));
        assert_int_equal(g.n_names, i == 0 ? 2 : 0);
        assert_true(i > 0 || strcmp(g.names[1], "b;n=g%2") == 0);
        http_auth_gateway_free(&g);
        buf_free(&text);
    }
    static const char *const bad[] = {
        "",      "verify",  "verified;", "verified;a;", "verified;%zz", "verified;%00",
        "tls;a", "clear;a", "tlss"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_auth_gateway g;
        assert_false(http_auth_gateway_parse(bad[i], &g));
    }
    mem_free(tls.sans);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_it_was_written),
        cmocka_unit_test(nothing_else_reads),
        cmocka_unit_test(a_gateways_certificate_reads_as_it_was_written),
        cmocka_unit_test(a_node_is_known_by_its_san),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
