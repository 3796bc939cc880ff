// SPDX-License-Identifier: Apache-2.0
/* What is pure in this folder: framing, messages as trees, <config> as edits, subtree filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "net/nc_framing.h"
#include "north/netconf/edit.h"
#include "north/netconf/filter.h"

/* ---- framing ----------------------------------------------------------------------------------
 */

/* Messages of `in`, fed `step` bytes at a time, each followed by "|"; "!" and why at an error. */
static void messages(bool chunked, const char *in, size_t step, struct buf *out) {
    struct nc_framer f = {.chunked = chunked};
    struct err e = {.code = ERR_OK};
    size_t n = strlen(in);
    for (size_t at = 0; at < n && e.code == ERR_OK; at += step) {
        struct cur c = cur_of((const uint8_t *)in + at, n - at < step ? n - at : step);
        while (cur_left(&c) > 0 && e.code == ERR_OK) {
            if (nc_framer_take(&f, &c, &e)) {
                buf_add(out, f.msg.data, f.msg.len);
                buf_char(out, '|');
                buf_clear(&f.msg);
            }
        }
    }
    buf_str(out, e.code == ERR_OK ? "" : "!");
    nc_framer_free(&f);
}

static void framing(void **state) {
    static const struct {
        bool chunked;
        const char *in, *want;
    } t[] = {
        {false, "<a/>]]>]]><b/>]]>]]>", "<a/>|<b/>|"},
        {false, "a]]>]]]>]]>", "a]]>]|"}, /* the mark begins inside what looked like one */
        {true, "\n#4\n<a/>\n##\n\n#1\n<\n#3\nb/>\n##\n", "<a/>|<b/>|"},
        {true, "\n#5\n\n##\n\n\n##\n", "\n##\n\n|"}, /* a chunk is bytes */
        {true, "\n#0\n", "!"},
        {true, "\n#01\na\n##\n", "!"},
        {true, "\n#-1\n", "!"},
        {true, "\n##\n", "!"}, /* a message has a chunk */
        {true, "#4\n<a/>\n##\n", "!"},
        {true, "\n#4294967296\n", "!"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        for (size_t step = 1; step <= strlen(t[i].in); step++) {
            struct buf out = BUF_INIT;
            messages(t[i].chunked, t[i].in, step, &out);
            assert_string_equal(buf_cstr(&out), t[i].want);
            buf_free(&out);
        }
    }
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct buf wire = BUF_INIT, out = BUF_INIT;
        nc_frame_piece(chunked, "one ", 4, &wire);
        nc_frame_piece(chunked, "", 0, &wire);
        nc_frame_piece(chunked, "message", 7, &wire);
        nc_frame_end(chunked, &wire);
        messages(chunked, buf_cstr(&wire), 3, &out);
        assert_string_equal(buf_cstr(&out), "one message|");
        buf_free(&wire);
        buf_free(&out);
    }
}

/* ---- trees ------------------------------------------------------------------------------------
 */

static struct dom *parse(struct arena *a, const char *text) {
    struct dom *d;
    struct err e;
    if (dom_parse(text, strlen(text), a, &d, &e) != ERR_OK) {
        fail_msg("%s: %s", text, e.text);
    }
    return d;
}

static void trees(void **state) {
    struct arena *a = arena_new();
    struct err e;
    (void)state;
    struct dom *d =
        parse(a, "<x:a xmlns:x='u' xmlns='v' x:k='1' k='2'><b> t&lt;<!-- c --></b></x:a>");
    assert_true(dom_is(d, "u", "a"));
    assert_string_equal(dom_attr(d, "u", "k"), "1");
    assert_string_equal(dom_attr(d, "", "k"), "2");
    assert_string_equal(dom_prefix(d->child, "x", 1), "u");
    assert_null(dom_child(d, "u", "b"));
    struct buf out = BUF_INIT;
    dom_print(d->child, NULL, NULL, &out);
    assert_true(dom_is(parse(a, buf_cstr(&out)), "v", "b"));
    buf_free(&out);
    static const char *const bad[] = {
        "",
        "<a>",
        "<a></b>",
        "a",
        "<a/><b/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        "<p:a/>",
        "<a>\x01</a>",
        "<a>\xff</a>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (dom_parse(bad[i], strlen(bad[i]), a, &d, &e) == ERR_OK) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_true(e.text[0] != '\0');
    }
    arena_free(a);
}

/* ---- edits ------------------------------------------------------------------------------------
 */

#define CONFIG(inner)                                                                              \
    "<config xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' "                                     \
    "xmlns:n='urn:ietf:params:xml:ns:netconf:base:1.0'><apm xmlns='urn:weft:apm'>" inner           \
    "</apm></config>"
#define PROFILE "/weft-apm:apm/pool-domain-profile=a"

static void edits(void **state) {
    static const struct {
        const char *config;
        enum nc_operation by_default;
        enum edit_op op; /* of the last edit */
        const char *target;
    } t[] = {
        {CONFIG("<pool-domain-profile><name>a</name></pool-domain-profile>"), NC_MERGE, EDIT_MERGE,
         PROFILE},
        {CONFIG("<pool-domain-profile n:operation='delete'><name>a</name></pool-domain-profile>"),
         NC_NONE, EDIT_DELETE, PROFILE},
        {CONFIG("<pool-domain-profile n:operation='create'><name>a</name></pool-domain-profile>"),
         NC_MERGE, EDIT_CREATE, PROFILE},
        {CONFIG("<pool-domain-profile><name>a</name><apportion-threshold n:operation='remove'/>"
                "</pool-domain-profile>"),
         NC_NONE, EDIT_REMOVE, PROFILE "/apportion-threshold"},
    };
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct arena *a = arena_new();
        struct nc_edits out;
        if (nc_edits_of(parse(a, t[i].config), t[i].by_default, a, &out, &e) != ERR_OK) {
            fail_msg("%s: %s", t[i].config, e.text);
        }
        assert_true(out.n > 0);
        assert_int_equal(out.v[out.n - 1].op, t[i].op);
        assert_string_equal(out.v[out.n - 1].target, t[i].target);
        arena_free(a);
    }
}

static void edits_that_are_refused(void **state) {
    static const char *const bad[] = {
        CONFIG("<nonsense/>"),
        CONFIG("<pool-domain-profile/>"), /* without its key */
        CONFIG("<pool-domain-profile n:operation='sideways'><name>a</name></pool-domain-profile>"),
        CONFIG("<pool-domain-profile xmlns='urn:other'><name>a</name></pool-domain-profile>"),
        CONFIG("text"),
    };
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena *a = arena_new();
        struct nc_edits out;
        if (nc_edits_of(parse(a, bad[i]), NC_MERGE, a, &out, &e) == ERR_OK) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_true(e.text[0] != '\0');
        arena_free(a);
    }
}

/* ---- filters ----------------------------------------------------------------------------------
 */

#define DATA                                                                                       \
    "<pool-domain-profile xmlns='urn:weft:apm'><name>a</name><apportion-threshold>7"               \
    "</apportion-threshold><reclaim-threshold>9</reclaim-threshold></pool-domain-profile>"

/* Names of what is left, as "name,apportion-threshold,"; "" when nothing is. */
static void filtered(const char *filter, struct buf *out) {
    struct arena *a = arena_new();
    struct dom *d = parse(a, DATA);
    const struct dom *f = parse(a, filter);
    struct nc_filters fs = {.v = &f, .n = 1};
    const struct node *apm = node_child(model_root(), "weft-apm:apm", 12);
    if (nc_filter_mark(d, node_child(apm, "pool-domain-profile", 19), &fs)) {
        struct buf text = BUF_INIT;
        if (d->mark == DOM_ALL) {
            dom_print(d, NULL, NULL, &text);
        } else {
            dom_print(d, nc_filter_keep, NULL, &text);
        }
        for (struct dom *c = parse(a, buf_cstr(&text))->child; c != NULL; c = c->next) {
            buf_printf(out, "%s,", c->name);
        }
        buf_free(&text);
    }
    arena_free(a);
}

static void filters(void **state) {
#define F(inner)   "<pool-domain-profile xmlns='urn:weft:apm'>" inner "</pool-domain-profile>"
#define EVERYTHING "name,apportion-threshold,reclaim-threshold,"
    static const struct {
        const char *filter, *want;
    } t[] = {
        {"<pool-domain-profile xmlns='urn:weft:apm'/>", EVERYTHING},
        {F("<apportion-threshold/>"), "name,apportion-threshold,"}, /* keys come along */
        {F("<name>a</name>"), EVERYTHING},                          /* a match alone: all of it */
        {F("<name> a </name><reclaim-threshold/>"), "name,reclaim-threshold,"},
        {F("<name>b</name>"), ""},
        {F("<apportion-threshold>7</apportion-threshold>"), EVERYTHING},
        {F("<apportion-threshold>8</apportion-threshold>"), ""},
        {F("<name>a</name><apportion-threshold>8</apportion-threshold>"), ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct buf out = BUF_INIT;
        filtered(t[i].filter, &out);
        if (strcmp(buf_cstr(&out), t[i].want) != 0) {
            fail_msg("%s: \"%s\" instead of \"%s\"", t[i].filter, buf_cstr(&out), t[i].want);
        }
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing), cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(trees),   cmocka_unit_test(edits),
        cmocka_unit_test(filters), cmocka_unit_test(edits_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
