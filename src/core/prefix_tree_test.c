// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/prefix_tree.h"

static struct ip_prefix P(const char *s) {
    struct ip_prefix p;
    struct err e;
    if (ip_prefix_parse(s, &p, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return p;
}

static void
assert_prefix(struct ip_prefix p, const char *want) {
    char t[IP_TEXT_MAX];
    assert_string_equal(ip_prefix_format(&p, t), want);
}

static void checked(struct prefix_tree *t) {
    struct err e;
    if (prefix_tree_check(t, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static struct prefix_tree *tree(unsigned family, unsigned min, unsigned max) {
    struct prefix_tree *t;
    struct err e;
    assert_int_equal(prefix_tree_new(family, min, max, &t, &e), ERR_OK);
    return t;
}

static void root(struct prefix_tree *t, const char *s, uint32_t order) {
    struct ip_prefix p = P(s);
    struct err e;
    if (prefix_tree_root_add(t, &p, order, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

/* The tree of APM-024. */
static struct prefix_tree *worked(void) {
    struct prefix_tree *t = tree(4, 8, 27);
    root(t, "192.0.2.0/24", 0);
    return t;
}

/* Allocates for `tag` and compares; NULL: must be exhausted. */
static void gets_as(struct prefix_tree *t, unsigned len, prefix_tag tag, const char *want) {
    struct ip_prefix got;
    struct prefix_conflict why;
    struct err e;
    enum err_code rc = prefix_tree_allocate(t, len, tag, false, 7, &got, &why, &e);
    if (want == NULL) {
        assert_int_equal(rc, ERR_LIMIT);
        assert_int_equal(why.reason, PREFIX_WHY_EXHAUSTED);
        assert_true(strlen(e.text) > 0);
    } else {
        assert_int_equal(rc, ERR_OK);
        assert_int_equal(why.reason, PREFIX_WHY_NONE);
        assert_prefix(got, want);
    }
    checked(t);
}

static void gets(struct prefix_tree *t, unsigned len, const char *want) {
    gets_as(t, len, 0, want);
}

static enum prefix_reason takes_as(struct prefix_tree *t, const char *s, prefix_tag tag,
                                   struct prefix_conflict *why) {
    struct ip_prefix p = P(s);
    struct prefix_conflict scratch;
    struct err e = {.code = ERR_OK};
    why = why ? why : &scratch;
    enum err_code rc = prefix_tree_allocate_exact(t, &p, tag, 9, why, &e);
    assert_int_equal(rc == ERR_OK, why->reason == PREFIX_WHY_NONE);
    assert_int_equal(rc, e.code);
    assert_true(rc == ERR_OK || strstr(e.text, s) != NULL);
    checked(t);
    return why->reason;
}

static enum prefix_reason takes(struct prefix_tree *t, const char *s) {
    return takes_as(t, s, 0, NULL);
}

static void gives(struct prefix_tree *t, const char *s) {
    struct ip_prefix p = P(s);
    struct err e;
    assert_int_equal(prefix_tree_release(t, &p, NULL, NULL, &e), ERR_OK);
    checked(t);
}

static void reserve(struct prefix_tree *t, const char *s, prefix_tag tag) {
    struct ip_prefix p = P(s);
    struct err e;
    if (prefix_tree_reserve(t, &p, tag, NULL, NULL, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    checked(t);
}

static struct prefix_info look(struct prefix_tree *t, const char *s) {
    struct ip_prefix p = P(s);
    struct prefix_info i;
    enum prefix_state is = prefix_tree_lookup(t, &p, &i);
    assert_int_equal(is, i.state);
    return i;
}

static struct prefix_stats stats(struct prefix_tree *t) {
    struct prefix_stats s;
    prefix_tree_stats(t, &s);
    assert_true(s.total == s.free + s.reserved + s.allocated);
    return s;
}

/* proves: APM-020 APM-022 APM-026 APM-027 */
static void vector_4(void **state) {
    struct prefix_tree *t = worked();
    gets(t, 27, "192.0.2.0/27");
    gets(t, 26, "192.0.2.64/26");
    gets(t, 25, "192.0.2.128/25");
    gets(t, 27, "192.0.2.32/27");
    for (unsigned len = 1; len <= 27; len++) {
        gets(t, len, NULL);
    }
    gives(t, "192.0.2.64/26");
    gets(t, 26, "192.0.2.64/26");
    prefix_tree_free(t);
}

/* proves: APM-026 */
static void vector_5(void **state) {
    struct prefix_tree *t = worked();
    gets(t, 25, "192.0.2.0/25");
    gets(t, 25, "192.0.2.128/25");
    gets(t, 25, NULL);
    gives(t, "192.0.2.128/25");
    assert_int_equal(takes(t, "192.0.2.128/26"), PREFIX_WHY_NONE);
    assert_int_equal(takes(t, "192.0.2.192/27"), PREFIX_WHY_NONE);
    gets(t, 25, "192.0.2.224/27"); /* a smaller pool, its length reported */
    gets(t, 25, NULL);
    prefix_tree_free(t);
}

/* proves: APM-023 APM-024 */
static void worked_tree(void **state) {
    static const struct {
        unsigned len, count, usable;
    } rows[] = {{24, 1, 254}, {25, 2, 126}, {26, 4, 62}, {27, 8, 30}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct prefix_tree *t = worked();
        assert_true(prefix_tree_free_of(t, rows[i].len) == rows[i].count);
        for (unsigned n = 0; n < rows[i].count; n++) {
            struct ip_prefix p;
            assert_int_equal(prefix_tree_allocate(t, rows[i].len, 0, false, 0, &p, NULL, NULL),
                             ERR_OK);
            assert_int_equal(p.len, rows[i].len);
            assert_int_equal(ip4_value(&p.addr) & 0xff, n * (rows[i].usable + 2));
        }
        struct prefix_stats s = stats(t);
        assert_true(s.total == 256 && s.total_usable == 254 && s.allocated == 256);
        assert_true(s.allocated_usable == (prefix_count)rows[i].count * rows[i].usable);
        gets(t, 27, NULL);
        prefix_tree_free(t);
    }
    struct prefix_tree *t = tree(4, 20, 32);
    root(t, "10.0.0.0/20", 0);
    assert_true(stats(t).total_usable == 4094);
    assert_true(stats(t).free_usable == 4094);
    gets(t, 31, "10.0.0.0/31");
    assert_true(stats(t).allocated == 2 && stats(t).allocated_usable == 0);
    prefix_tree_free(t);
}

/* proves: APM-011 APM-012 APM-013 APM-017 */
static void root_limits(void **state) {
    struct prefix_tree *t = tree(4, 20, 24);
    struct err e;
    for (unsigned len = 1; len <= 32; len++) {
        struct ip_prefix p = ip4_prefix(len << 24, len);
        p.addr = ip4(len < 8 ? 0 : len << 24);
        enum err_code rc = prefix_tree_root_add(t, &p, 0, &e);
        assert_int_equal(rc, len >= 20 && len <= 24 ? ERR_OK : ERR_INVALID);
    }
    assert_int_equal(prefix_tree_root_count(t), 5);
    struct ip_prefix host = {.addr = ip4(0x0a000001), .len = 24}, inside = P("20.0.0.0/22"),
                     around = P("23.0.0.0/20"), six = P("2001::/22");
    assert_int_equal(prefix_tree_root_add(t, &host, 0, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_root_add(t, &inside, 0, &e), ERR_EXISTS);
    assert_non_null(strstr(e.text, "20.0.0.0/22 overlaps the root 20.0.0.0/20"));
    assert_int_equal(prefix_tree_root_add(t, &around, 0, &e), ERR_EXISTS);
    assert_int_equal(prefix_tree_root_add(t, &six, 0, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_root_add(t, &inside, 0, NULL), ERR_EXISTS);
    checked(t);
    prefix_tree_free(t);
    assert_int_equal(prefix_tree_new(4, 24, 20, &t, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_new(4, 0, 20, &t, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_new(4, 1, 33, &t, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_new(5, 1, 32, &t, &e), ERR_INVALID);
    assert_null(t);
}

/* proves: APM-014 */
static void depth_limit(void **state) {
    struct prefix_tree *t = worked();
    struct ip_prefix p;
    struct prefix_conflict why;
    struct err e;
    assert_int_equal(prefix_tree_allocate(t, 28, 0, false, 0, &p, &why, &e), ERR_INVALID);
    assert_int_equal(why.reason, PREFIX_WHY_TOO_LONG);
    assert_int_equal(takes(t, "192.0.2.0/28"), PREFIX_WHY_TOO_LONG);
    /* proves: APM-026 */
    assert_int_equal(prefix_tree_allocate(t, 28, 0, true, 0, &p, &why, &e), ERR_OK);
    assert_prefix(p, "192.0.2.0/27");
    assert_int_equal(prefix_tree_allocate(t, 0, 0, true, 0, &p, &why, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_allocate(t, 33, 0, true, 0, &p, &why, &e), ERR_INVALID);
    /* Limits of a tree in use. */
    assert_int_equal(prefix_tree_set_limits(t, 8, 26, &e), ERR_IN_USE);
    assert_int_equal(prefix_tree_set_limits(t, 25, 27, &e), ERR_IN_USE);
    assert_int_equal(prefix_tree_set_limits(t, 24, 30, &e), ERR_OK);
    gets(t, 30, "192.0.2.32/30");
    assert_int_equal(prefix_tree_set_limits(t, 24, 29, &e), ERR_IN_USE);
    prefix_tree_free(t);
}

/* proves: APM-025 APM-026 */
static void roots_in_order(void **state) {
    struct prefix_tree *t = tree(4, 8, 27);
    root(t, "198.51.100.0/24", 2);
    root(t, "203.0.113.0/24", 1);
    root(t, "192.0.2.0/24", 1);
    struct prefix_root_info info;
    assert_true(prefix_tree_root_at(t, 0, &info));
    assert_prefix(info.prefix, "192.0.2.0/24");
    assert_true(prefix_tree_root_at(t, 2, &info));
    assert_prefix(info.prefix, "198.51.100.0/24");
    assert_false(prefix_tree_root_at(t, 3, &info));
    gets(t, 25, "192.0.2.0/25");
    gets(t, 25, "192.0.2.128/25");
    gets(t, 25, "203.0.113.0/25");
    gets(t, 25, "203.0.113.128/25");
    gets(t, 25, "198.51.100.0/25");
    /* No larger block is split while an exact fit exists, in whichever root. */
    gives(t, "203.0.113.128/25");
    gives(t, "192.0.2.0/25");
    gets(t, 26, "192.0.2.0/26");
    gets(t, 25, "203.0.113.128/25");
    /* The smallest larger block is split: .64/26 before the /25 of a later root. */
    gets(t, 27, "192.0.2.64/27");
    gives(t, "192.0.2.128/25");
    gets(t, 27, "192.0.2.96/27");
    gets(t, 26, "192.0.2.128/26");
    gets(t, 24, "198.51.100.128/25"); /* next longer length, not the lowest address */
    prefix_tree_free(t);
}

/* proves: APM-021 APM-027 */
static void reservations(void **state) {
    struct prefix_tree *t = worked();
    reserve(t, "192.0.2.0/26", 5);
    reserve(t, "192.0.2.96/27", 6);
    struct prefix_stats s = stats(t);
    assert_true(s.reserved == 96 && s.free == 160 && s.reservations == 2);
    gets_as(t, 26, 6, "192.0.2.128/26"); /* an exact fit before a smaller one of its own */
    gets_as(t, 26, 5, "192.0.2.0/26");
    gives(t, "192.0.2.0/26");
    gets_as(t, 27, 5, "192.0.2.64/27"); /* an exact fit before splitting its own */
    gets_as(t, 27, 5, "192.0.2.0/27");
    gets_as(t, 27, 6, "192.0.2.96/27");
    gets(t, 25, "192.0.2.192/26");
    gets(t, 25, NULL);
    gets_as(t, 25, 6, NULL);
    gets_as(t, 25, 5, "192.0.2.32/27");
    /* Buddies do not merge across a reservation's edge. */
    gives(t, "192.0.2.64/27");
    gives(t, "192.0.2.96/27");
    assert_int_equal(look(t, "192.0.2.96/27").state, PREFIX_RESERVED);
    assert_int_equal(look(t, "192.0.2.96/27").tag, 6);
    assert_prefix(look(t, "192.0.2.100/32").reservation, "192.0.2.96/27");
    struct prefix_info i = look(t, "192.0.2.64/27");
    assert_int_equal(i.state, PREFIX_AVAILABLE);
    assert_prefix(i.prefix, "192.0.2.64/27");
    assert_int_equal(look(t, "192.0.2.64/26").state, PREFIX_SPLIT);
    struct ip_prefix p = P("192.0.2.96/27");
    struct err e;
    assert_int_equal(prefix_tree_unreserve(t, &p, &e), ERR_OK);
    assert_int_equal(prefix_tree_unreserve(t, &p, &e), ERR_ABSENT);
    i = look(t, "192.0.2.64/27");
    assert_prefix(i.prefix, "192.0.2.64/26");
    p = P("192.0.2.0/26"); /* with two prefixes in it */
    assert_int_equal(prefix_tree_unreserve(t, &p, &e), ERR_OK);
    assert_int_equal(look(t, "192.0.2.0/27").state, PREFIX_ALLOCATED);
    assert_int_equal(look(t, "192.0.2.0/27").tag, 0);
    checked(t);
    prefix_tree_free(t);
}

static bool is_7(void *arg, prefix_owner owner) {
    return owner == 7;
}

/* proves: APM-021 */
static void reservation_refused(void **state) {
    struct prefix_tree *t = worked();
    struct err e;
    struct ip_prefix p = P("192.0.2.0/26"), q = P("192.0.2.0/25"), r = P("192.0.2.0/27");
    gets(t, 26, "192.0.2.0/26"); /* owner 7 */
    assert_int_equal(prefix_tree_reserve(t, &p, 1, NULL, NULL, &e), ERR_IN_USE);
    assert_int_equal(prefix_tree_reserve(t, &r, 1, is_7, NULL, &e), ERR_IN_USE);
    assert_int_equal(prefix_tree_reserve(t, &q, 1, is_7, NULL, &e), ERR_OK);
    checked(t);
    struct prefix_info i = look(t, "192.0.2.1/32");
    assert_int_equal(i.state, PREFIX_ALLOCATED);
    assert_int_equal(i.owner, 7);
    assert_int_equal(i.tag, 1);
    assert_int_equal(prefix_tree_reserve(t, &p, 1, is_7, NULL, &e), ERR_EXISTS);
    p = P("192.0.2.0/24");
    assert_int_equal(prefix_tree_reserve(t, &p, 1, is_7, NULL, &e), ERR_EXISTS);
    p = P("192.0.2.128/28");
    assert_int_equal(prefix_tree_reserve(t, &p, 1, NULL, NULL, &e), ERR_INVALID);
    p = P("192.0.2.128/27");
    assert_int_equal(prefix_tree_reserve(t, &p, 0, NULL, NULL, &e), ERR_INVALID);
    p = P("10.0.0.0/24");
    assert_int_equal(prefix_tree_reserve(t, &p, 1, NULL, NULL, &e), ERR_ABSENT);
    checked(t);
    prefix_tree_free(t);
    t = worked(); /* a whole root */
    reserve(t, "192.0.2.0/24", 3);
    gets(t, 27, NULL);
    gets_as(t, 27, 3, "192.0.2.0/27");
    assert_int_equal(takes(t, "192.0.2.32/27"), PREFIX_WHY_RESERVED);
    prefix_tree_free(t);
}

/* proves: APM-072 APM-074 */
static void exact(void **state) {
    struct prefix_tree *t = tree(4, 20, 27);
    struct prefix_conflict why;
    root(t, "192.0.2.0/24", 0);
    root(t, "198.51.100.0/24", 1);
    assert_int_equal(takes(t, "192.0.2.64/26"), PREFIX_WHY_NONE);
    assert_int_equal(takes_as(t, "192.0.2.64/26", 0, &why), PREFIX_WHY_HELD);
    assert_prefix(why.with, "192.0.2.64/26");
    assert_int_equal(why.owner, 9);
    assert_int_equal(takes_as(t, "192.0.2.96/27", 0, &why), PREFIX_WHY_INSIDE);
    assert_prefix(why.with, "192.0.2.64/26");
    assert_int_equal(takes_as(t, "192.0.2.0/25", 0, &why), PREFIX_WHY_COVERS);
    assert_prefix(why.with, "192.0.2.64/26");
    assert_int_equal(why.count, 1);
    assert_int_equal(takes(t, "203.0.113.0/24"), PREFIX_WHY_OUTSIDE);
    assert_int_equal(takes(t, "192.0.2.0/23"), PREFIX_WHY_OUTSIDE); /* wider than its root */
    assert_int_equal(takes(t, "192.0.2.0/28"), PREFIX_WHY_TOO_LONG);
    assert_int_equal(takes(t, "192.0.0.0/19"), PREFIX_WHY_TOO_SHORT);
    assert_int_equal(takes(t, "2001::/24"), PREFIX_WHY_BAD);
    reserve(t, "192.0.2.128/26", 4);
    assert_int_equal(takes_as(t, "192.0.2.128/27", 5, &why), PREFIX_WHY_RESERVED);
    assert_int_equal(why.tag, 4);
    assert_prefix(why.with, "192.0.2.128/26");
    assert_int_equal(takes(t, "192.0.2.128/26"), PREFIX_WHY_RESERVED);
    assert_int_equal(takes_as(t, "192.0.2.128/25", 5, &why), PREFIX_WHY_RESERVED);
    assert_int_equal(takes_as(t, "192.0.2.128/25", 4, &why), PREFIX_WHY_COVERS_OWN);
    assert_int_equal(takes_as(t, "192.0.2.160/27", 4, &why), PREFIX_WHY_NONE);
    /* What is allocated weighs more than what is reserved. */
    assert_int_equal(takes_as(t, "192.0.2.160/27", 5, &why), PREFIX_WHY_HELD);
    assert_int_equal(takes_as(t, "192.0.2.128/26", 5, &why), PREFIX_WHY_COVERS);
    assert_prefix(why.with, "192.0.2.160/27");
    assert_int_equal(takes_as(t, "192.0.2.0/24", 5, &why), PREFIX_WHY_COVERS);
    assert_prefix(why.with, "192.0.2.64/26");
    assert_int_equal(why.count, 2);
    assert_int_equal(takes(t, "198.51.100.0/24"), PREFIX_WHY_NONE); /* a whole root */
    assert_int_equal(takes(t, "198.51.100.0/27"), PREFIX_WHY_INSIDE);
    prefix_tree_free(t);
}

/* proves: APM-018 */
static void retiring(void **state) {
    struct prefix_tree *t = worked();
    struct ip_prefix r = P("192.0.2.0/24"), p = P("192.0.2.0/27");
    struct err e;
    bool empty;
    struct prefix_conflict why;
    reserve(t, "192.0.2.128/27", 3);
    assert_int_equal(takes(t, "192.0.2.0/27"), PREFIX_WHY_NONE);
    gets_as(t, 27, 3, "192.0.2.128/27");
    assert_int_equal(prefix_tree_root_remove(t, &r, &e), ERR_IN_USE);
    assert_non_null(strstr(e.text, "2 prefixes are allocated"));
    assert_int_equal(prefix_tree_root_retire(t, &r, &e), ERR_OK);
    checked(t);
    gets(t, 27, NULL);
    gets_as(t, 27, 3, NULL);
    assert_int_equal(takes_as(t, "192.0.2.32/27", 0, &why), PREFIX_WHY_RETIRING);
    assert_int_equal(look(t, "192.0.2.32/27").state, PREFIX_RETIRING);
    assert_true(look(t, "192.0.2.0/27").retiring);
    struct prefix_stats s = stats(t);
    assert_true(s.total == 64 && s.allocated == 64 && s.roots == 0 && s.retiring_roots == 1);
    assert_int_equal(prefix_tree_release(t, &p, NULL, &empty, &e), ERR_OK);
    assert_false(empty);
    assert_true(stats(t).total == 32);
    /* The undoing of a free, and the rebuild at start, are not new allocations. */
    assert_int_equal(prefix_tree_restore(t, &p, 0, 1, &why, &e), ERR_OK);
    checked(t);
    gives(t, "192.0.2.0/27");
    p = P("192.0.2.128/27");
    assert_int_equal(prefix_tree_root_remove(t, &r, &e), ERR_IN_USE);
    assert_non_null(strstr(e.text, "1 prefix is allocated"));
    assert_int_equal(prefix_tree_release(t, &p, NULL, &empty, &e), ERR_OK);
    assert_true(empty);
    assert_true(stats(t).total == 0);
    assert_int_equal(prefix_tree_root_remove(t, &r, &e), ERR_OK);
    assert_int_equal(prefix_tree_root_remove(t, &r, &e), ERR_ABSENT);
    assert_int_equal(prefix_tree_root_retire(t, &r, &e), ERR_ABSENT);
    root(t, "192.0.2.0/24", 0); /* retired while empty: gone at once */
    assert_int_equal(prefix_tree_root_retire(t, &r, &e), ERR_OK);
    assert_int_equal(prefix_tree_root_count(t), 0);
    root(t, "192.0.2.0/24", 0); /* taken back into use */
    gets(t, 25, "192.0.2.0/25");
    assert_int_equal(prefix_tree_root_retire(t, &r, &e), ERR_OK);
    root(t, "192.0.2.0/24", 4);
    checked(t);
    gets(t, 25, "192.0.2.128/25");
    prefix_tree_free(t);
}

/* proves: APM-018 */
static void resizing(void **state) {
    struct prefix_tree *t = tree(4, 8, 28);
    struct err e;
    root(t, "10.0.0.0/16", 0);
    root(t, "10.2.0.0/16", 1);
    struct ip_prefix p16 = P("10.0.0.0/16"), p18 = P("10.0.64.0/18"), p14 = P("10.0.0.0/14"),
                     p15 = P("10.0.0.0/15"), other = P("10.8.0.0/16");
    reserve(t, "10.0.64.0/24", 8);
    gets_as(t, 24, 8, "10.0.64.0/24");
    assert_int_equal(takes(t, "10.0.65.0/24"), PREFIX_WHY_NONE);
    /* Everything lies inside: a shrink without loss. */
    assert_int_equal(prefix_tree_root_resize(t, &p16, &p18, false, &e), ERR_OK);
    checked(t);
    assert_int_equal(prefix_tree_root_count(t), 2);
    assert_int_equal(look(t, "10.0.0.0/24").state, PREFIX_OUTSIDE);
    assert_int_equal(look(t, "10.0.64.1/32").tag, 8);
    /* Growing back, and not over another root. */
    assert_int_equal(prefix_tree_root_resize(t, &p18, &p14, false, &e), ERR_EXISTS);
    assert_int_equal(prefix_tree_root_resize(t, &p18, &p15, false, &e), ERR_OK);
    checked(t);
    gives(t, "10.0.64.0/24");
    gets_as(t, 24, 8, "10.0.64.0/24");
    assert_int_equal(prefix_tree_root_resize(t, &p15, &other, false, &e), ERR_INVALID);
    assert_int_equal(prefix_tree_root_resize(t, &p16, &p18, false, &e), ERR_ABSENT);
    /* Prefixes outside: refused, or the rest retires. */
    assert_int_equal(takes(t, "10.1.0.0/24"), PREFIX_WHY_NONE);
    assert_int_equal(takes(t, "10.0.128.0/24"), PREFIX_WHY_NONE);
    reserve(t, "10.1.1.0/24", 9);
    gets_as(t, 24, 9, "10.1.1.0/24");
    reserve(t, "10.1.2.0/24", 9);
    struct ip_prefix p25 = P("10.0.65.0/25");
    assert_int_equal(prefix_tree_root_resize(t, &p15, &p25, true, &e), ERR_IN_USE);
    assert_non_null(strstr(e.text, "10.0.65.0/24 reaches beyond"));
    assert_int_equal(prefix_tree_root_resize(t, &p15, &p18, false, &e), ERR_IN_USE);
    assert_non_null(strstr(e.text, "3 prefixes"));
    checked(t);
    assert_int_equal(prefix_tree_root_resize(t, &p15, &p18, true, &e), ERR_OK);
    checked(t);
    struct prefix_stats s = stats(t);
    assert_int_equal(s.roots, 2);
    assert_int_equal(s.retiring_roots, 2);
    assert_int_equal(s.prefixes, 5);
    assert_int_equal(s.reservations, 1);
    struct prefix_info i = look(t, "10.1.1.0/24");
    assert_true(i.retiring && i.state == PREFIX_ALLOCATED && i.tag == 0);
    assert_prefix(i.root, "10.1.0.0/16");
    assert_prefix(look(t, "10.0.128.0/24").root, "10.0.128.0/17");
    gets(t, 24, "10.0.66.0/24"); /* exact fit: the block beside the two */
    prefix_tree_free(t);
}

static void looking(void **state) {
    struct prefix_tree *t = worked();
    root(t, "10.0.0.0/24", 9);
    gets(t, 26, "192.0.2.0/26");
    reserve(t, "192.0.2.128/26", 2);
    assert_int_equal(look(t, "192.0.2.0/24").state, PREFIX_SPLIT);
    assert_int_equal(look(t, "192.0.2.17/32").state, PREFIX_ALLOCATED);
    assert_int_equal(look(t, "192.0.2.70/32").state, PREFIX_AVAILABLE);
    assert_int_equal(look(t, "192.0.2.128/25").state, PREFIX_SPLIT);
    assert_int_equal(look(t, "172.16.0.0/16").state, PREFIX_OUTSIDE);
    assert_int_equal(look(t, "192.0.0.0/16").state, PREFIX_OUTSIDE);
    assert_int_equal(look(t, "::/16").state, PREFIX_OUTSIDE);
    static const struct {
        const char *prefix;
        enum prefix_state state;
    } want[] = {{"10.0.0.0/24", PREFIX_AVAILABLE},    {"192.0.2.0/26", PREFIX_ALLOCATED},
                {"192.0.2.64/26", PREFIX_AVAILABLE},  {"192.0.2.128/26", PREFIX_RESERVED},
                {"192.0.2.192/26", PREFIX_AVAILABLE}, {NULL, PREFIX_OUTSIDE}};
    struct prefix_info i;
    struct ip_prefix at, *after = NULL;
    for (size_t k = 0; want[k].prefix != NULL; k++) {
        assert_true(prefix_tree_next(t, after, PREFIX_SEE_ALL, &i));
        assert_prefix(i.prefix, want[k].prefix);
        assert_int_equal(i.state, want[k].state);
        at = i.prefix;
        after = &at;
    }
    assert_false(prefix_tree_next(t, after, PREFIX_SEE_ALL, &i));
    assert_true(prefix_tree_next(t, NULL, PREFIX_SEE_ALLOCATED, &i));
    assert_prefix(i.prefix, "192.0.2.0/26");
    at = P("192.0.2.5/32"); /* a cursor inside a block: the block began before it */
    assert_true(prefix_tree_next(t, &at, PREFIX_SEE_ALL, &i));
    assert_prefix(i.prefix, "192.0.2.64/26");
    assert_true(prefix_tree_next_reservation(t, NULL, &i));
    assert_prefix(i.reservation, "192.0.2.128/26");
    assert_int_equal(i.state, PREFIX_RESERVED);
    at = i.reservation;
    assert_false(prefix_tree_next_reservation(t, &at, &i));
    at = P("192.0.2.0/26");
    assert_int_equal(prefix_tree_set_owner(t, &at, 77, NULL), ERR_OK);
    assert_int_equal(look(t, "192.0.2.0/26").owner, 77);
    prefix_owner owner;
    assert_int_equal(prefix_tree_release(t, &at, &owner, NULL, NULL), ERR_OK);
    assert_int_equal(owner, 77);
    /* Only exactly what was allocated can be given back. */
    struct err e;
    assert_int_equal(takes(t, "192.0.2.0/26"), PREFIX_WHY_NONE);
    static const char *const wrong[] = {"192.0.2.0/27", "192.0.2.32/27", "192.0.2.0/25",
                                        "10.0.0.0/24",  "11.0.0.0/24",   "192.0.2.128/26",
                                        "2001:db8::/32"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        at = P(wrong[k]);
        assert_int_equal(prefix_tree_release(t, &at, NULL, NULL, &e), ERR_ABSENT);
        assert_int_equal(prefix_tree_set_owner(t, &at, 1, &e), ERR_ABSENT);
    }
    prefix_tree_free(t);
}

static void counters(void **state) {
    struct prefix_tree *t = tree(4, 8, 32);
    assert_int_equal(prefix_tree_free_permyriad(t), 0);
    root(t, "10.0.0.0/8", 0);
    assert_int_equal(prefix_tree_free_permyriad(t), 10000);
    gets(t, 9, "10.0.0.0/9");
    gets(t, 32, "10.128.0.0/32");
    struct prefix_stats s = stats(t);
    assert_int_equal(s.largest_free, 10);
    assert_true(s.free == (1U << 23) - 1 && s.free_usable == s.free - 2 * 22 - 1);
    for (unsigned len = 10; len <= 32; len++) {
        assert_int_equal(s.free_blocks[len], 1);
    }
    assert_int_equal(prefix_tree_free_permyriad(t), 4999);
    assert_true(prefix_tree_free_of(t, 24) == 32768 - 1);
    char text[PREFIX_COUNT_TEXT_MAX];
    assert_string_equal(prefix_count_format(s.free, text), "8388607");
    assert_string_equal(prefix_count_format(0, text), "0");
    assert_string_equal(prefix_count_format(~(prefix_count)0, text),
                        "340282366920938463463374607431768211455");
    prefix_tree_free(t);
}

/* proves: APM-005 */
static void ipv6(void **state) {
    struct prefix_tree *t = tree(6, 20, 64);
    root(t, "2001:db8::/32", 0);
    gets(t, 56, "2001:db8::/56");
    gets(t, 48, "2001:db8:1::/48");
    gets(t, 56, "2001:db8:0:100::/56");
    gives(t, "2001:db8::/56");
    gets(t, 56, "2001:db8::/56");
    assert_int_equal(takes(t, "10.0.0.0/24"), PREFIX_WHY_BAD);
    assert_int_equal(look(t, "2001:db8::1/128").state, PREFIX_ALLOCATED);
    assert_int_equal(look(t, "2001:db8:ffff::1/128").state, PREFIX_AVAILABLE);
    struct prefix_stats s = stats(t);
    assert_true(s.total == (prefix_count)1 << 96);
    assert_true(s.total == s.total_usable);
    assert_int_equal(prefix_tree_free_permyriad(t), 9999);
    prefix_tree_free(t);
    /* 64 bits deep: single addresses of one /64; and no deeper. */
    struct err e;
    t = tree(6, 48, 128);
    struct ip_prefix p63 = P("2001:db8::/63");
    assert_int_equal(prefix_tree_root_add(t, &p63, 0, &e), ERR_INVALID);
    root(t, "2001:db8::/64", 0);
    root(t, "2001:db8:0:1::/128", 1);
    gets(t, 128, "2001:db8:0:1::/128"); /* the exact fit */
    gets(t, 128, "2001:db8::/128");
    gets(t, 128, "2001:db8::1/128");
    gets(t, 128, "2001:db8::2/128");
    assert_int_equal(takes(t, "2001:db8::ffff:ffff:ffff:ffff/128"), PREFIX_WHY_NONE);
    gives(t, "2001:db8::1/128");
    assert_int_equal(look(t, "2001:db8::1/128").state, PREFIX_AVAILABLE);
    gets(t, 127, "2001:db8::ffff:ffff:ffff:fffc/127"); /* the exact fit */
    reserve(t, "2001:db8::8/128", 1);
    gets_as(t, 128, 1, "2001:db8::8/128");
    struct prefix_info i;
    unsigned n = 0;
    for (struct ip_prefix at, *after = NULL; prefix_tree_next(t, after, PREFIX_SEE_ALLOCATED, &i);
         n++) {
        at = i.prefix;
        after = &at;
    }
    assert_int_equal(n, 6);
    prefix_tree_free(t);
    /* The ends of the address space. */
    t = tree(6, 1, 64);
    root(t, "ffff::/16", 0);
    root(t, "::/16", 1);
    gets(t, 16, "ffff::/16");
    assert_true(prefix_tree_next(t, NULL, PREFIX_SEE_ALLOCATED, &i));
    assert_prefix(i.prefix, "ffff::/16");
    assert_false(prefix_tree_next(t, &i.prefix, PREFIX_SEE_ALL, &i));
    prefix_tree_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_4),     cmocka_unit_test(vector_5),
        cmocka_unit_test(worked_tree),  cmocka_unit_test(root_limits),
        cmocka_unit_test(depth_limit),  cmocka_unit_test(roots_in_order),
        cmocka_unit_test(reservations), cmocka_unit_test(reservation_refused),
        cmocka_unit_test(exact),        cmocka_unit_test(retiring),
        cmocka_unit_test(resizing),     cmocka_unit_test(looking),
        cmocka_unit_test(counters),     cmocka_unit_test(ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
