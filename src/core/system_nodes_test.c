// SPDX-License-Identifier: Apache-2.0
/* The records about nodes: they read as they were written, damaged ones are refused. */
#include "core/internal.h"
#include "core/system_int.h"
#include "core/testing.h"

static enum err_code fold(struct nodes *n, const char *key, const void *p, size_t len) {
    struct err e;
    return nodes_fold(n, key, strlen(key), p, len, &e);
}

static void lost(const char *name, int64_t since_s, void *arg) {
    buf_printf(arg, "%s %lld;", name, (long long)since_s);
}

static void records_read_as_they_were_written(void **state) {
    static const uint8_t there[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                         gone[] = {1, 1, 0, 0, 0, 0, 0, 0, 1, 2};
    struct nodes n = {.heir = ""};
    struct buf b = BUF_INIT;
    char heir[LOG_NODE_MAX + 1];
    nodes_init(&n);
    assert_true(nodes_mine("system/node/a", 13) && nodes_mine("system/heir", 11));
    assert_false(nodes_mine("system/node/", 12) || nodes_mine("system/audit/1", 14) ||
                 nodes_mine("system/heirs", 12));
    assert_int_equal(fold(&n, "system/node/a", there, sizeof there), ERR_OK);
    assert_int_equal(fold(&n, "system/node/b", gone, sizeof gone), ERR_OK);
    assert_true(nodes_encode(&n, "system/node/b", 13, &b));
    assert_int_equal(b.len, sizeof gone);
    assert_memory_equal(b.data, gone, sizeof gone);
    buf_clear(&b);
    nodes_each_lost(&n, lost, &b);
    assert_string_equal(buf_cstr(&b), "b 258;");
    assert_int_equal(fold(&n, "system/node/b", NULL, 0), ERR_OK);
    assert_false(nodes_encode(&n, "system/node/b", 13, &b));
    assert_false(nodes_has_heir(&n, heir));
    assert_int_equal(fold(&n, "system/heir", "b", 1), ERR_OK);
    assert_true(nodes_has_heir(&n, heir));
    assert_string_equal(heir, "b");
    buf_clear(&b);
    assert_true(nodes_encode(&n, "system/heir", 11, &b));
    assert_string_equal(buf_cstr(&b), "b");
    assert_int_equal(fold(&n, "system/heir", NULL, 0), ERR_OK);
    assert_false(nodes_encode(&n, "system/heir", 11, &b));
    buf_free(&b);
    nodes_free(&n);
}

static void damaged_and_newer_ones_are_refused(void **state) {
    static const uint8_t newer[] = {2, 0, 1, 0, 0, 0, 0, 0, 0, 0},
                         wrong[] = {1, 2, 1, 0, 0, 0, 0, 0, 0, 0};
    struct nodes n = {.heir = ""};
    char name[LOG_NODE_MAX + 2];
    memset(name, 'a', sizeof name);
    nodes_init(&n);
    for (size_t len = 0; len < sizeof newer; len++) {
        assert_int_not_equal(fold(&n, "system/node/a", wrong, len), ERR_OK);
    }
    assert_int_equal(fold(&n, "system/node/a", newer, sizeof newer), ERR_UNSUPPORTED);
    assert_int_equal(fold(&n, "system/node/a", wrong, sizeof wrong), ERR_MALFORMED);
    assert_int_equal(fold(&n, "system/heir", name, sizeof name), ERR_MALFORMED);
    nodes_free(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(records_read_as_they_were_written),
                                       cmocka_unit_test(damaged_and_newer_ones_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
