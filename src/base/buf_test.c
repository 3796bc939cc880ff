// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"

static void write_and_read(void **state) {
    struct buf b = BUF_INIT;
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0x0102);
    buf_u32(&b, 0xdeadbeef);
    buf_u64(&b, 0x0102030405060708);
    static const uint64_t vars[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) {
        buf_var(&b, vars[i]);
    }
    buf_blob_str(&b, "text");
    buf_blob(&b, "", 0);
    struct cur c = cur_of(b.data, b.len);
    assert_memory_equal(b.data + 1, "\x01\x02\xde\xad\xbe\xef\x01\x02\x03\x04", 10);
    assert_int_equal(cur_u8(&c), 0xfe);
    assert_int_equal(cur_u16(&c), 0x0102);
    assert_int_equal(cur_u32(&c), 0xdeadbeef);
    assert_true(cur_u64(&c) == 0x0102030405060708);
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) {
        assert_true(cur_var(&c) == vars[i]);
    }
    char *s = cur_blob_strdup(&c);
    assert_string_equal(s, "text");
    mem_free(s);
    struct cur inner = cur_blob(&c);
    assert_int_equal(cur_left(&inner), 0);
    assert_false(inner.bad || c.bad);
    assert_int_equal(cur_left(&c), 0);
    buf_free(&b);
}

/* Every truncation of a record is noticed, and reading goes on harmlessly. */
static void truncated(void **state) {
    struct buf b = BUF_INIT;
    buf_u32(&b, 7);
    buf_var(&b, 300);
    buf_blob_str(&b, "abcdef");
    buf_u64(&b, 9);
    for (size_t n = 0; n <= b.len; n++) {
        uint8_t *copy = mem_dup(b.data, n); /* exact size: the sanitizer watches the end */
        struct cur c = cur_of(copy, n);
        cur_u32(&c);
        cur_var(&c);
        char *s = cur_blob_strdup(&c);
        uint64_t last = cur_u64(&c);
        assert_int_equal(c.bad, n < b.len);
        assert_int_equal(last, n < b.len ? 0 : 9);
        assert_int_equal(cur_left(&c), 0);
        if (c.bad) { /* stays bad, yields zeroes */
            assert_int_equal(cur_u8(&c), 0);
            assert_int_equal(cur_var(&c), 0);
            assert_null(cur_bytes(&c, 0));
            struct cur inner = cur_blob(&c);
            assert_int_equal(cur_left(&inner), 0);
        }
        mem_free(s);
        mem_free(copy);
    }
    buf_free(&b);
}

static void lying_lengths(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\x05"
         "abcd",
         5}, /* one byte short */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
         "abc",
         13}, /* 2^64-1 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"
         "abc",
         13},                                                 /* 65 bits */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11}, /* eleven bytes */
        {"\x80", 1},
        {"\x03"
         "a\0b",
         4}, /* a NUL inside a string */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cur c = cur_of(bad[i].bytes, bad[i].n);
        char *s = cur_blob_strdup(&c);
        assert_true(c.bad);
        assert_string_equal(s, "");
        mem_free(s);
    }
    struct cur none = cur_of(NULL, 10);
    assert_int_equal(cur_left(&none), 0);
    cur_bytes(&none, 0);
    assert_false(none.bad);
    cur_u8(&none);
    assert_true(none.bad);
}

static void growing(void **state) {
    struct buf b = BUF_INIT;
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
    assert_non_null(buf_extend(&b, 0)); /* never NULL */
    buf_add(&b, NULL, 0);
    buf_free(&b);
    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%d,", i);
    }
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_memory_equal(buf_cstr(&b), "0,1,2,3", 7);
    char wide[400];
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    buf_clear(&b);
    buf_printf(&b, "<%s>", wide); /* longer than the first guess */
    assert_int_equal(b.len, sizeof wide + 1);
    assert_int_equal(buf_cstr(&b)[b.len - 1], '>');
    buf_consume(&b, sizeof wide);
    assert_string_equal(buf_cstr(&b), ">");
    buf_consume(&b, 100);
    assert_int_equal(b.len, 0);
    buf_char(&b, 'q');
    buf_str(&b, "uit");
    char *s = buf_take(&b);
    assert_string_equal(s, "quit");
    assert_null(b.data);
    mem_free(s);
}

/* Random bytes through every reader: no reading past the end (the sanitizer's part), no endless
 * loop. */
static void noise(void **state) {
    struct rng r;
    rng_seed(&r, 1);
    for (int round = 0; round < 20000; round++) {
        size_t n = rng_below(&r, 24);
        uint8_t *p = mem_alloc(n);
        for (size_t i = 0; i < n; i++) {
            p[i] = (uint8_t)rng_next(&r);
        }
        struct cur c = cur_of(p, n);
        while (!c.bad && cur_left(&c) > 0) {
            struct cur inner;
            switch (rng_below(&r, 4)) {
            case 0:
                cur_u16(&c);
                break;
            case 1:
                cur_var(&c);
                break;
            case 2:
                inner = cur_blob(&c);
                cur_u32(&inner);
                break;
            default:
                mem_free(cur_blob_strdup(&c));
            }
        }
        mem_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read), cmocka_unit_test(truncated),
        cmocka_unit_test(lying_lengths),  cmocka_unit_test(growing),
        cmocka_unit_test(noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
