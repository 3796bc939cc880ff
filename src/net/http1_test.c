// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "net/http1.h"

static int parse(const char *text, struct http1_head *h) {
    const char *why = "";
    size_t scanned = 0;
    ptrdiff_t n = http1_scan((const uint8_t *)text, strlen(text), &scanned);
    return n > 0 ? http1_parse((const uint8_t *)text, (size_t)n, 100, h, &why) : (int)n;
}

static void is(const char *text, struct http1_slice s, const char *want) {
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(text + s.at, want, s.len);
}

static void test_head(void **state) {
    struct http1_head h;
    const char *t = "GET /a%20b?c=d HTTP/1.1\r\nHost: x:80\r\nEmpty:\r\nA:  b c\t \r\n\r\n";
    assert_int_equal(parse(t, &h), 0);
    is(t, h.method, "GET");
    is(t, h.target, "/a%20b?c=d");
    is(t, h.authority, "x:80");
    assert_int_equal(h.n, 3);
    is(t, h.f[1].value, "");
    is(t, h.f[2].name, "A");
    is(t, h.f[2].value, "b c");
    assert_true(h.keep_alive);
    assert_int_equal(h.length, 0);

    t = "OPTIONS * HTTP/1.1\r\nHost:\r\nConnection: x , Close\r\n\r\n";
    assert_int_equal(parse(t, &h), 0);
    assert_false(h.keep_alive);

    t = "GET http://h:1?q HTTP/1.0\r\nHost: other\r\n\r\n";
    assert_int_equal(parse(t, &h), 0);
    is(t, h.authority, "h:1"); /* not Host (RFC 9112 3.2.2) */
    is(t, h.target, "?q");
    assert_false(h.keep_alive);

    t = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\nExpect: 100-Continue\r\n\r\n";
    assert_int_equal(parse(t, &h), 0);
    assert_int_equal(h.length, 7);
    assert_true(h.expect_continue);
    t = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n";
    assert_int_equal(parse(t, &h), 0);
    assert_int_equal(h.length, -1);
}

static void test_refused(void **state) {
    static const struct {
        const char *text;
        int status;
    } bad[] = {
        {"GET / HTTP/1.1\nHost: x\n\n", -1},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", -1},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", -1},
        {"GET / HTTP/1.1\r\nHost: x\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1234567890123456789\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: x\r\n\r\n", 400},
        {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
        {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501},
        {"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http1_head h;
        if (parse(bad[i].text, &h) != bad[i].status) {
            fail_msg("not refused with %d: %s", bad[i].status, bad[i].text);
        }
    }
}

/* Piece by piece the end is found where it is found at once. */
static void test_scan_in_pieces(void **state) {
    const char *t = "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
    size_t scanned = 0;
    ptrdiff_t got = 0;
    size_t n = 0;
    while (got == 0 && n < strlen(t)) {
        got = http1_scan((const uint8_t *)t, ++n, &scanned);
    }
    assert_int_equal(got, strlen(t) - 4);
    assert_int_equal(n, strlen(t) - 4);
}

/* Decodes with pieces of random size; returns the status. */
static int decode(const char *text, struct rng *rng, struct buf *out) {
    struct http1_body b;
    const char *why = "";
    http1_body_init(&b, -1);
    for (size_t at = 0, len = strlen(text); at < len && !http1_body_done(&b);) {
        size_t k = 1 + rng_below(rng, len - at);
        struct cur c = cur_of(text + at, k);
        const uint8_t *p;
        size_t n;
        int status = http1_body_next(&b, &c, &p, &n, &why);
        if (status != 0) {
            return status;
        }
        buf_add(out, p, n);
        at += k - cur_left(&c);
    }
    return http1_body_done(&b) ? 0 : -1;
}

static void test_chunks(void **state) {
    static const struct {
        const char *text, *body;
        int status;
    } t[] = {
        {"0\r\n\r\n", "", 0},
        {"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\nU:\r\n\r\n", "abc0123456789", 0},
        {"00003\r\nabc\r\n0;e\r\n\r\n", "abc", 0},
        {"3\nabc\r\n0\r\n\r\n", NULL, 400},
        {"3\r\nabcd\r\n0\r\n\r\n", NULL, 400},
        {"\r\n", NULL, 400},
        {"-1\r\n", NULL, 400},
        {"0x3\r\nabc\r\n", NULL, 400},
        {"3 \r\nabc\r\n", NULL, 400},
        {"ffffffffffffff\r\n", NULL, 400},
        {"0\r\nbad name: x\r\n\r\n", NULL, 400},
        {"0\r\n folded\r\n\r\n", NULL, 400},
        {"0\r\nT: v\n\r\n", NULL, 400},
        {"3\r\nab", NULL, -1},
    };
    struct rng rng;
    rng_seed(&rng, 7);
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        for (int round = 0; round < 50; round++) {
            struct buf out = BUF_INIT;
            assert_int_equal(decode(t[i].text, &rng, &out), t[i].status);
            if (t[i].body != NULL) {
                assert_int_equal(out.len, strlen(t[i].body));
                assert_memory_equal(buf_cstr(&out), t[i].body, out.len);
            }
            buf_free(&out);
        }
    }
}

/* Extensions are bounded for one chunk and for all of them together. */
static void test_extensions_are_bounded(void **state) {
    struct http1_body b;
    const char *why = "";
    struct buf in = BUF_INIT;
    for (int i = 0; i < 1000; i++) {
        buf_printf(&in, "1;%0200d\r\na\r\n", 0);
    }
    struct cur c = cur_of(in.data, in.len);
    http1_body_init(&b, -1);
    int status = 0;
    while (status == 0 && cur_left(&c) > 0) {
        const uint8_t *p;
        size_t n;
        status = http1_body_next(&b, &c, &p, &n, &why);
    }
    assert_int_equal(status, 400);
    assert_true(in.len - cur_left(&c) < (size_t)2 * HTTP1_EXT_TOTAL_MAX);
    buf_free(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_scan_in_pieces),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_extensions_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
