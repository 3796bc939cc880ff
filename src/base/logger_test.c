// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"

LOGGER_MODULE(logtest)

static char last_line[4096];
static int lines;
static enum logger_level last_level;

static void sink(enum logger_level level, const char *module, const char *line, void *arg) {
    assert_ptr_equal(arg, &lines);
    assert_string_equal(module, "logtest");
    snprintf(last_line, sizeof last_line, "%s", line);
    last_level = level;
    lines++;
}

static int setup(void **state) {
    logger_set_sink(sink, &lines);
    lines = 0;
    return logger_set_level("logtest", "info") ? 0 : -1;
}

static int teardown(void **state) {
    logger_set_sink(NULL, NULL);
    return 0;
}

static void levels(void **state) {
    L_INFO("one %d", 1);
    assert_string_equal(last_line, "one 1");
    assert_int_equal(last_level, LOGGER_INFO);
    L_DBG("hidden");
    assert_int_equal(lines, 1);
    assert_true(logger_set_level("logtest", "DEBUG"));
    L_DBG("seen");
    assert_int_equal(lines, 2);
    assert_true(logger_set_level(NULL, "error"));
    L_WARN("hidden");
    L_ERR("seen");
    assert_int_equal(lines, 3);
    assert_false(logger_set_level("logtest", "loud"));
    assert_false(logger_set_level("nobody", "info"));
    bool found = false;
    for (const struct logger_module *m = logger_modules(); m != NULL; m = m->next) {
        found |= strcmp(m->name, "logtest") == 0;
    }
    assert_true(found);
}

/* What peers sent can neither begin a line nor speak to the terminal. */
static void escaping(void **state) {
    static const struct {
        const char *in, *out;
    } v[] = {
        {"a\nb", "a\\x0ab"},
        {"\r\n", "\\x0d\\x0a"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"tab\tdel\x7f", "tab\\x09del\\x7f"},
        {"gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x8c\x8d",
         "gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x8c\x8d"},
        {"\x9b"
         "31m",
         "\\x9b31m"}, /* CSI in one byte */
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* and as UTF-8 */
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xc0\x8a", "\\xc0\\x8a"}, /* an overlong newline */
        {"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"cut \xe2\x82", "cut \\xe2\\x82"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        L_INFO("%s", v[i].in);
        assert_string_equal(last_line, v[i].out);
    }
    char hostile[3000];
    memset(hostile, '\n', sizeof hostile - 1); /* four times as long when escaped */
    hostile[sizeof hostile - 1] = '\0';
    L_INFO("%s", hostile);
    assert_true(strlen(last_line) < 2048 && strchr(last_line, '\n') == NULL);
}

static void at_most_once(void **state) {
    for (int i = 0; i < 10; i++) {
        L_WARN_RL(3600, "again %d", i);
    }
    assert_int_equal(lines, 1);
    assert_string_equal(last_line, "again 0");
    struct logger_rate r = {0};
    uint64_t dropped = 99;
    assert_true(logger_rate_pass(&r, 0, &dropped));
    assert_int_equal(dropped, 0);
    assert_true(logger_rate_pass(&r, 3600, &dropped));
    assert_false(logger_rate_pass(&r, 3600, &dropped));
    assert_false(logger_rate_pass(&r, 3600, &dropped));
    atomic_store(&r.next_ns, 0);
    assert_true(logger_rate_pass(&r, 3600, &dropped));
    assert_int_equal(dropped, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(escaping, setup, teardown),
        cmocka_unit_test_setup_teardown(at_most_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
