// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/err.h"

static void filling(void **state) {
    struct err e;
    assert_int_equal(err_set(&e, ERR_INVALID, "/a/b", "%d is too much", 7), ERR_INVALID);
    assert_int_equal(e.code, ERR_INVALID);
    assert_string_equal(e.path, "/a/b");
    assert_string_equal(e.text, "7 is too much");
    assert_int_equal(err_set(NULL, ERR_IO, NULL, "x"), ERR_IO);
    err_set(&e, ERR_REFUSED, e.path, "because %s", e.text); /* wrapping itself */
    assert_string_equal(e.path, "/a/b");
    assert_string_equal(e.text, "because 7 is too much");
    err_prefix_path(&e, "/root");
    assert_string_equal(e.path, "/root/a/b");
    err_prefix_path(NULL, "/root");
    err_set(&e, ERR_INVALID, NULL, "x");
    assert_string_equal(e.path, "");
    assert_int_equal(err_errno(&e, ENOENT, "file", "open %s", "f"), ERR_IO);
    assert_string_equal(e.text, "open f: No such file or directory");
    assert_int_equal(err_errno(&e, ENOSPC, "file", "write"), ERR_LIMIT);
    assert_int_equal(err_errno(&e, ENOMEM, NULL, "x"), ERR_LIMIT);
    assert_int_equal(err_errno(&e, EMFILE, NULL, "x"), ERR_LIMIT);
    assert_int_equal(err_errno(NULL, EPERM, NULL, "x"), ERR_IO);
}

/* Whether `s` ends with a whole character. */
static bool whole(const char *s) {
    size_t n = strlen(s);
    size_t tail = 0;
    while (n > 0 && ((unsigned char)s[n - 1] & 0xc0) == 0x80) {
        n--;
        tail++;
    }
    unsigned char lead = n > 0 ? (unsigned char)s[n - 1] : 0;
    size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    return tail == want;
}

static void too_long(void **state) {
    static const char *const unit[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8c\x8d"};
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2000] = "", path[2000] = "";
            size_t n = shift;
            memset(text, 'a', shift);
            for (; n + 5 < sizeof text; n += strlen(unit[u])) {
                memcpy(text + n, unit[u], strlen(unit[u]) + 1);
            }
            memcpy(path, text, sizeof path);
            struct err e;
            err_set(&e, ERR_INVALID, path, "%s", text);
            assert_true(strlen(e.text) >= ERR_TEXT_MAX - 5 && whole(e.text));
            assert_true(strlen(e.path) >= ERR_PATH_MAX - 5 && whole(e.path));
            err_prefix_path(&e, "/p");
            assert_memory_equal(e.path, "/p", 2);
            assert_true(strlen(e.path) >= ERR_PATH_MAX - 9 && whole(e.path));
            err_prefix_path(&e, path); /* the prefix alone is too long */
            assert_true(whole(e.path));
        }
    }
}

/* What is cut off a path is whole steps: it names something around the place, never another place.
 */
static void too_long_paths(void **state) {
    char path[2000] = "";
    for (size_t n = 0; n < 1500; n += 10) {
        memcpy(path + n, "/step=1234", 11);
    }
    struct err e;
    err_set(&e, ERR_INVALID, path, "x");
    size_t n = strlen(e.path);
    assert_true(n > ERR_PATH_MAX - 12 && strncmp(path, e.path, n) == 0 && path[n] == '/');
    err_prefix_path(&e, "/prefix/is/this");
    n = strlen(e.path);
    assert_true(n > ERR_PATH_MAX - 12 && strcmp(e.path + n - 10, "/step=1234") == 0);
}

static void tags(void **state) {
    struct err e;
    char big[ERR_INFO_MAX + 1];
    assert_int_equal(err_tag(&e, err_set(&e, ERR_CONSTRAINT, "/a", "no"), "must-violation", NULL),
                     ERR_CONSTRAINT);
    assert_string_equal(e.app_tag, "must-violation");
    assert_string_equal(e.info, "");
    err_tag(&e, e.code, NULL, "a b/c");
    assert_string_equal(e.app_tag, "must-violation");
    assert_string_equal(e.info, "a b/c");
    err_set(&e, ERR_INVALID, NULL, "another");
    assert_string_equal(e.app_tag, "");
    assert_string_equal(e.info, "");
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    err_tag(&e, e.code, big, big);
    assert_string_equal(e.app_tag, "");
    assert_string_equal(e.info, "");
    assert_int_equal(err_tag(NULL, ERR_INVALID, "x", "y"), ERR_INVALID);
}

static enum err_code tries(enum err_code code, bool *after) {
    ERR_TRY(code);
    *after = true;
    return ERR_OK;
}

static enum err_code goes(enum err_code code, bool *cleaned) {
    enum err_code rc;
    ERR_GOTO(rc, code, out);
out:
    *cleaned = true;
    return rc;
}

static void codes(void **state) {
    static const struct {
        enum err_code code;
        const char *name, *tag;
        int http;
    } v[] = {{ERR_OK, "OK", "ok", 200},
             {ERR_MALFORMED, "MALFORMED", "malformed-message", 400},
             {ERR_DENIED, "DENIED", "access-denied", 403},
             {ERR_EXISTS, "EXISTS", "data-exists", 409},
             {ERR_CONFLICT, "CONFLICT", "operation-failed", 412},
             {ERR_CONSTRAINT, "CONSTRAINT", "operation-failed", 412},
             {ERR_NAMESPACE, "NAMESPACE", "unknown-namespace", 400},
             {ERR_INTERNAL, "INTERNAL", "operation-failed", 500}};
    enum err_code c;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        assert_string_equal(err_code_name(v[i].code), v[i].name);
        assert_string_equal(err_code_tag(v[i].code), v[i].tag);
        assert_int_equal(err_code_http(v[i].code), v[i].http);
        assert_true(strlen(err_code_text(v[i].code)) > 0);
        assert_true(err_code_parse(v[i].name, &c) && c == v[i].code);
    }
    assert_false(err_code_parse("nonsense", &c));
    bool flag = false;
    assert_int_equal(tries(ERR_LOCKED, &flag), ERR_LOCKED);
    assert_false(flag);
    assert_int_equal(tries(ERR_OK, &flag), ERR_OK);
    assert_true(flag);
    flag = false;
    assert_int_equal(goes(ERR_LOCKED, &flag), ERR_LOCKED);
    assert_true(flag);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filling), cmocka_unit_test(too_long), cmocka_unit_test(too_long_paths),
        cmocka_unit_test(tags),    cmocka_unit_test(codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
