// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "north/cli/line.h"

static struct arena *arena;

static int setup(void **state) {
    arena = arena_new();
    return 0;
}
static int teardown(void **state) {
    arena_free(arena);
    return 0;
}

static struct line split(const char *text, bool partial) {
    struct line l;
    struct err e;
    assert_int_equal(line_split(arena, text, strlen(text), partial, &l, NULL, &e), ERR_OK);
    return l;
}

static void words_and_quotes(void **state) {
    struct line l = split("  set a \"two words\" 'it''s' x\"y z\"|match \"a|b\\\"\\n\"\r\n", false);
    const char *want[] = {"set", "a", "two words", "its", "xy z", "|", "match", "a|b\"\n"};
    assert_int_equal(l.n, 8);
    for (size_t i = 0; i < l.n; i++) {
        assert_string_equal(l.words[i].text, want[i]);
    }
    assert_true(l.words[5].pipe);
    assert_false(l.words[7].pipe);
    assert_true(l.words[2].quoted);
    assert_int_equal(l.words[0].start, 2);
    assert_int_equal(l.words[2].end, 19);
    assert_int_equal(split("# a \"comment", false).n, 0);
    assert_int_equal(split("set #a", false).n, 2);
    assert_int_equal(split("", false).n, 0);
}

static void partial_words(void **state) {
    assert_int_equal(split("", true).n, 1);
    struct line l = split("set ", true);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.words[1].text, "");
    l = split("set ab", true);
    assert_int_equal(l.n, 2);
    l = split("set \"ab c", true);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.words[1].text, "ab c");
    assert_int_equal(l.open_quote, '"');
    l = split("show |", true);
    assert_int_equal(l.n, 2);
}

static void refuses(const char *text, size_t n, enum err_code code, size_t at) {
    struct line l;
    struct err e;
    size_t where = 0;
    assert_int_equal(line_split(arena, text, n, false, &l, &where, &e), code);
    assert_int_equal(where, at);
    assert_true(e.text[0] != '\0');
}

static void bad_lines(void **state) {
    refuses("set \"a", 6, ERR_MALFORMED, 4);
    refuses("set a\x1b[2J", 9, ERR_MALFORMED, 5);
    refuses("a\0b", 3, ERR_MALFORMED, 1);
    refuses("set \xff", 5, ERR_MALFORMED, 4);
    refuses("\xed\xa0\x80", 3, ERR_MALFORMED, 0);
    refuses("\xc2\x9b", 2, ERR_MALFORMED, 0);
    static char big[CLI_LINE_MAX + 1];
    memset(big, 'a', sizeof big);
    refuses(big, sizeof big, ERR_TOO_BIG, CLI_LINE_MAX);
    for (size_t i = 1; i < sizeof big; i += 2) {
        big[i] = ' ';
    }
    refuses(big, CLI_LINE_MAX, ERR_TOO_BIG, (size_t)CLI_WORDS_MAX * 2);
}

static void quoting_round_trip(void **state) {
    const char *cases[] = {"a",         "",   "a b",  "a\"b\\", "a|b", "#x",
                           "x\ny\tz\r", "\\", "a\\n", "[",      "'"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;
        text_word(&b, cases[i]);
        struct line l = split(buf_cstr(&b), false);
        assert_int_equal(l.n, 1);
        assert_string_equal(l.words[0].text, cases[i]);
        buf_free(&b);
    }
}

static void distances(void **state) {
    assert_int_equal(line_distance("show", "show", 2), 0);
    assert_int_equal(line_distance("shwo", "show", 2), 1);
    assert_int_equal(line_distance("sho", "show", 2), 1);
    assert_int_equal(line_distance("entiti", "entity", 2), 1);
    assert_int_equal(line_distance("kitten", "sitting", 3), 3);
    assert_int_equal(line_distance("abc", "xyz", 2), 3);
    assert_int_equal(line_distance("", "a", 2), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_and_quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(partial_words, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(quoting_round_trip, setup, teardown),
        cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
