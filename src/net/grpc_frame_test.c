// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "net/grpc_frame.h"
#include "net/grpc_int.h"

static void test_any_cut(void **state) {
    struct rng rng;
    rng_seed(&rng, 11);
    struct buf in = BUF_INIT;
    enum { MESSAGES = 200 };
    size_t sizes[MESSAGES];
    for (size_t i = 0; i < MESSAGES; i++) {
        uint8_t head[GRPC_FRAME_HEAD];
        sizes[i] = rng_below(&rng, 300);
        grpc_frame_head(head, sizes[i]);
        buf_add(&in, head, sizeof(head));
        memset(buf_extend(&in, sizes[i]), (int)i, sizes[i]);
    }
    for (int round = 0; round < 20; round++) {
        struct grpc_frames f = {0};
        size_t got = 0;
        for (size_t at = 0; at < in.len;) {
            size_t k = 1 + rng_below(&rng, 700);
            k = k < in.len - at ? k : in.len - at;
            struct cur c = cur_of(in.data + at, k);
            const uint8_t *p;
            size_t n;
            while (grpc_frames_next(&f, &c, 1000, &p, &n) == GRPC_FRAME_MESSAGE) {
                assert_int_equal(n, sizes[got]);
                assert_true(n == 0 || (p[0] == (uint8_t)got && p[n - 1] == (uint8_t)got));
                got++;
            }
            at += k;
        }
        assert_int_equal(got, MESSAGES);
        assert_false(grpc_frames_inside(&f));
        grpc_frames_free(&f);
    }
    buf_free(&in);
}

static enum grpc_frame_rc first(const char *bytes, size_t n) {
    struct grpc_frames f = {0};
    struct cur c = cur_of(bytes, n);
    const uint8_t *p;
    size_t k;
    enum grpc_frame_rc rc = grpc_frames_next(&f, &c, 1000, &p, &k);
    grpc_frames_free(&f);
    return rc;
}

static void test_refused(void **state) {
    assert_int_equal(first("\1\0\0\0\1x", 6), GRPC_FRAME_COMPRESSED);
    assert_int_equal(first("\2\0\0\0\1x", 6), GRPC_FRAME_BAD);
    assert_int_equal(first("\0\0\0\x03\xe9", 5), GRPC_FRAME_TOO_BIG);
    assert_int_equal(first("\0\0\0\x03\xe8", 5), GRPC_FRAME_MORE);
}

/* What was announced costs nothing before it comes. */
static void test_memory_follows_arrival(void **state) {
    struct grpc_frames f = {0};
    struct cur c = cur_of("\0\0\x0f\xff\xff"
                          "abc",
                          8);
    const uint8_t *p;
    size_t n;
    assert_int_equal(grpc_frames_next(&f, &c, 1 << 20, &p, &n), GRPC_FRAME_MORE);
    assert_int_equal(grpc_frames_held(&f), 3);
    assert_true(f.partial.cap < 1000);
    assert_true(grpc_frames_inside(&f));
    grpc_frames_free(&f);
}

static void test_timeouts(void **state) {
    static const struct {
        const char *text;
        int64_t ms;
    } t[] = {{"1H", 3600000}, {"2M", 120000},     {"3S", 3000}, {"100m", 100}, {"1u", 1},
             {"1n", 1},       {"2000000n", 2},    {"0S", 0},    {"", -1},      {"1", -1},
             {"S", -1},       {"123456789S", -1}, {"1s", -1},   {"-1S", -1},   {"1SS", -1}};
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        assert_int_equal(grpc_timeout_parse(t[i].text), t[i].ms);
    }
    char out[16];
    grpc_timeout_format(out, 1500);
    assert_string_equal(out, "1500m");
    grpc_timeout_format(out, INT64_C(200000000));
    assert_string_equal(out, "200000S");
}

static void test_messages(void **state) {
    struct buf b = BUF_INIT;
    grpc_message_encode(&b, "100% caf\xc3\xa9\n");
    assert_string_equal(buf_cstr(&b), "100%25 caf%C3%A9%0A");
    char *s = grpc_message_decode(buf_cstr(&b), b.len);
    assert_string_equal(s, "100% caf\xc3\xa9\n");
    mem_free(s);
    s = grpc_message_decode("50% off", 7); /* not encoded as it should be: shown as it is */
    assert_string_equal(s, "50% off");
    mem_free(s);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory_follows_arrival),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
