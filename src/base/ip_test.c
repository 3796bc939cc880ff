// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/ip.h"
#include "base/rng.h"

static void addresses(void **state) {
    static const struct {
        const char *in, *out;
    } good[] = {{"0.0.0.0", "0.0.0.0"},
                {"255.255.255.255", "255.255.255.255"},
                {"192.0.2.10", "192.0.2.10"},
                {"::", "::"},
                {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
                {"2001:db8::00ff", "2001:db8::ff"},
                {"::ffff:192.0.2.1", "::ffff:192.0.2.1"}};
    static const char *const bad[] = {"",
                                      " ",
                                      "1",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "1.2.3.256",
                                      "01.2.3.4",
                                      "1.2.3.04",
                                      "1.2.3.00",
                                      "0x1.2.3.4",
                                      "1.2.3.4 ",
                                      " 1.2.3.4",
                                      "1.2.3.-4",
                                      "1..2.3",
                                      "1.2.3.4\n",
                                      "a.b.c.d",
                                      ":",
                                      ":::",
                                      "1::2::3",
                                      "12345::",
                                      "2001:db8::g",
                                      "fe80::1%eth0",
                                      "1:2:3:4:5:6:7:8:9",
                                      "::ffff:192.0.2.01",
                                      "[::1]",
                                      "1.2.3.4/32",
                                      "999999999999.1.1.1"};
    struct ip_addr a;
    struct err e;
    char t[IP_TEXT_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(ip_addr_parse(good[i].in, &a, &e), ERR_OK);
        assert_string_equal(ip_addr_format(&a, t), good[i].out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ip_addr_parse(bad[i], &a, &e) != ERR_INVALID) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
    }
    a.family = 0;
    assert_string_equal(ip_addr_format(&a, t), "-");
    a = ip4(0xc000020a);
    assert_string_equal(ip_addr_format(&a, t), "192.0.2.10");
    assert_true(ip4_value(&a) == 0xc000020a);
}

/* proves: APM-017 */
static void prefixes(void **state) {
    static const char *const good[] = {"0.0.0.0/0",     "10.0.0.0/8",      "192.0.2.0/24",
                                       "192.0.2.1/32",  "192.0.2.128/25",  "::/0",
                                       "2001:db8::/32", "2001:db8::1/128", "8000::/1"};
    static const char *const bad[] = {
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8 ",
        "10.0.0.0/8/8",
        "/8",
        "10.0.0/8",
        "010.0.0.0/8",
        "10.0.0.0/999999999999",
        "2001:db8::/129",
        "10.0.0.0/0x8",
        "",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111/8"};
    struct ip_prefix p;
    struct err e;
    char t[IP_TEXT_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(ip_prefix_parse(good[i], &p, &e), ERR_OK);
        assert_string_equal(ip_prefix_format(&p, t), good[i]);
        assert_true(ip_prefix_aligned(&p));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ip_prefix_parse(bad[i], &p, &e) != ERR_INVALID) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
    }
    /* Host bits are refused, and the error says what was probably meant. */
    static const struct {
        const char *in, *meant;
    } host[] = {{"10.0.0.1/8", "10.0.0.0/8"},        {"192.0.2.129/25", "192.0.2.128/25"},
                {"192.0.2.1/31", "192.0.2.0/31"},    {"1.0.0.0/0", "0.0.0.0/0"},
                {"2001:db8::1/64", "2001:db8::/64"}, {"2001:db8:0:1::/63", "2001:db8::/63"}};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) {
        assert_int_equal(ip_prefix_parse(host[i].in, &p, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, host[i].meant));
    }
    p = ip4_prefix(0x0a000000, 33);
    assert_false(ip_prefix_aligned(&p));
}

/* proves: APM-023 */
static void sizes(void **state) {
    static const struct {
        unsigned len;
        uint64_t usable;
    } v[] = {{20, 4094}, {24, 254}, {27, 30}, {25, 126}, {26, 62}, {31, 0}, {32, 0}, {8, 16777214}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct ip_prefix p = ip4_prefix(0, v[i].len);
        assert_true(ip_prefix_usable(&p) == v[i].usable);
        assert_true(ip_prefix_total(&p) == UINT64_C(1) << (32 - v[i].len));
    }
    struct ip_prefix all = ip4_prefix(0, 0), six = {.addr.family = 6, .len = 64};
    assert_true(ip_prefix_total(&all) == UINT64_C(1) << 32);
    assert_true(ip_prefix_total(&six) == UINT64_MAX);
    six.len = 65;
    assert_true(ip_prefix_total(&six) == UINT64_C(1) << 63 && ip_prefix_usable(&six) == UINT64_C(1)
                                                                                            << 63);
}

/* Containment, overlap and order against comparing ends as numbers. */
static void relations(void **state) {
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 50000; i++) {
        struct ip_prefix p[2];
        uint64_t lo[2], hi[2];
        for (int k = 0; k < 2; k++) {
            unsigned len = (unsigned)rng_below(&r, 33);
            uint32_t base = (uint32_t)rng_below(&r, 16) << 28 | (uint32_t)rng_below(&r, 16);
            base &= len == 0 ? 0 : ~UINT32_C(0) << (32 - len);
            p[k] = ip4_prefix(base, len);
            lo[k] = base;
            struct ip_addr last = ip_prefix_last(&p[k]);
            hi[k] = ip4_value(&last);
            assert_true(hi[k] == lo[k] + ip_prefix_total(&p[k]) - 1);
            assert_true(ip_prefix_has_addr(&p[k], &last) && ip_prefix_has_addr(&p[k], &p[k].addr));
        }
        assert_int_equal(ip_prefix_contains(&p[0], &p[1]), lo[0] <= lo[1] && hi[0] >= hi[1]);
        assert_int_equal(ip_prefix_overlaps(&p[0], &p[1]), lo[0] <= hi[1] && lo[1] <= hi[0]);
        int c = ip_prefix_cmp(&p[0], &p[1]);
        int want = lo[0] != lo[1] ? (lo[0] < lo[1] ? -1 : 1) : (int)p[0].len - (int)p[1].len;
        assert_int_equal((c > 0) - (c < 0), (want > 0) - (want < 0));
        assert_int_equal(ip_prefix_eq(&p[0], &p[1]), want == 0);
    }
    struct ip_prefix four = ip4_prefix(0, 0), six = {.addr.family = 6};
    assert_false(ip_prefix_overlaps(&four, &six));
    assert_true(ip_prefix_cmp(&four, &six) < 0);
    struct ip_addr a = ip4(0);
    for (unsigned i = 0; i < 32; i++) {
        ip_set_bit(&a, i, true);
        assert_true(ip_bit(&a, i) && ip4_value(&a) == UINT32_C(0x80000000) >> i);
        ip_set_bit(&a, i, false);
    }
}

static struct ip_prefix prefix_at(const char *text) {
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(text, &p, NULL), ERR_OK);
    return p;
}

static void parts(void **state) {
    char text[IP_TEXT_MAX];
    static const struct {
        const char *prefix;
        unsigned unit;
        uint64_t n;
    } rows[] = {
        {"2001:db8::/40", 56, 65536},       {"2001:db8::/56", 56, 1},
        {"2001:db8::/57", 56, 0},           {"2001:db8::/64", 128, UINT64_MAX},
        {"2001:db8::/65", 128, 1ULL << 63}, {"2001:db8::1/128", 128, 1},
        {"192.0.2.0/24", 32, 256},          {"::/0", 128, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_prefix p = prefix_at(rows[i].prefix);
        assert_true(ip_prefix_parts(&p, rows[i].unit) == rows[i].n);
    }
    assert_true(ip_count_add(1, 2) == 3);
    assert_true(ip_count_add(UINT64_MAX - 1, 1) == UINT64_MAX);
    assert_true(ip_count_add(UINT64_MAX, UINT64_MAX) == UINT64_MAX);

    static const char *const before[][2] = {{"192.0.2.0/24", "192.0.1.255/32"},
                                            {"1.0.0.0/8", "0.255.255.255/32"},
                                            {"2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:"
                                                              "ffff/128"},
                                            {"::1:0/112", "::ffff/128"}};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        struct ip_prefix p = prefix_at(before[i][0]), at;
        assert_true(ip_prefix_before(&p, &at));
        assert_string_equal(ip_prefix_format(&at, text), before[i][1]);
    }
    struct ip_prefix first = prefix_at("::/8"), at;
    assert_false(ip_prefix_before(&first, &at));
    first = prefix_at("0.0.0.0/8");
    assert_false(ip_prefix_before(&first, &at));

    struct ip_addr a;
    assert_int_equal(ip_addr_parse("2001:db8:ff0f:7::9", &a, NULL), ERR_OK);
    struct ip_prefix of = ip_prefix_of(&a, 45);
    assert_string_equal(ip_prefix_format(&of, text), "2001:db8:ff08::/45");
    of = ip_prefix_of(&a, 128);
    assert_true(ip_addr_cmp(&of.addr, &a) == 0);
    a = ip4(0xc0000281);
    of = ip_prefix_of(&a, 25);
    assert_string_equal(ip_prefix_format(&of, text), "192.0.2.128/25");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses), cmocka_unit_test(prefixes), cmocka_unit_test(sizes),
        cmocka_unit_test(relations), cmocka_unit_test(parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
