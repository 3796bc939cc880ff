// SPDX-License-Identifier: Apache-2.0
/* Maintenance as core has it: what is refused, what goes on, and what a restart leaves. */
#include "core/internal.h"
#include "core/testing.h"

static enum err_code begin(struct txn *t, void *arg, struct err *e) {
    core_maintenance_set(t, arg);
    return ERR_OK;
}

static enum err_code begin_and_fail(struct txn *t, void *arg, struct err *e) {
    core_maintenance_set(t, arg);
    return err_set(e, ERR_REFUSED, NULL, "no");
}

static void set(const char *reason) {
    struct actor who = actor_system;
    snprintf(who.user, sizeof who.user, "olga");
    core_run(testing.core, &who, begin, NULL, (void *)(uintptr_t)reason);
    core_step(testing.core);
}

static void changes_are_refused(void **state) {
    struct core_maintenance m;
    testing_must(testing_profile(EDIT_CREATE, "a", 10));
    assert_false(core_maintenance(testing.core, NULL));
    set("new\ndisks");
    assert_true(core_maintenance(testing.core, &m));
    assert_string_equal(m.user, "olga");
    assert_string_equal(m.reason, "new disks"); /* one line, whatever was given */
    struct change *ch = testing_profile(EDIT_CREATE, "b", 10);
    assert_int_equal(testing_run(ch), ERR_UNAVAILABLE);
    assert_non_null(strstr(ch->err.text, "put there by olga: new disks"));
    change_free(ch);
    assert_int_equal(testing_apportion("b"), 0);
    testing_must(testing_profile(EDIT_REPLACE, "a", 10)); /* as it is already */
    ch = testing_profile(EDIT_REPLACE, "a", 20);
    ch->mode = CHANGE_DRY_RUN;
    assert_int_equal(testing_run(ch), ERR_OK);
    change_free(ch);
    struct call *cl = testing_call(&actor_system, system_token_create_rpc, "{\"user\":\"x\"}");
    assert_int_equal(cl->err.code, ERR_UNAVAILABLE);
    call_free(cl);
    cl = testing_call(&actor_system, system_show_version_rpc, "{}");
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
    set(NULL);
    testing_must(testing_profile(EDIT_CREATE, "b", 10));
    assert_int_equal(testing_apportion("b"), 10);
}

static void outlasts_a_restart(void **state) {
    struct core_maintenance m;
    set("disks");
    int64_t since = clock_wall_s(&testing.clock);
    testing_close();
    testing_open();
    testing_advance(3600 * NS_PER_S);
    assert_true(core_maintenance(testing.core, &m));
    assert_string_equal(m.user, "olga");
    assert_int_equal(m.since_s, since);
    set(NULL);
    testing_close();
    testing_open();
    assert_false(core_maintenance(testing.core, &m));
}

static void what_is_undone_was_never(void **state) {
    core_run(testing.core, &actor_system, begin_and_fail, NULL, (void *)(uintptr_t) "x");
    core_step(testing.core);
    assert_false(core_maintenance(testing.core, NULL));
    set("disks");
    core_run(testing.core, &actor_system, begin_and_fail, NULL, NULL); /* its end is undone */
    core_step(testing.core);
    struct core_maintenance m;
    assert_true(core_maintenance(testing.core, &m));
    assert_string_equal(m.reason, "disks");
}

static void damaged_records(void **state) {
    struct buf b = BUF_INIT;
    struct err e;
    set("disks");
    maintenance_encode(testing.core, &b);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(maintenance_fold(testing.core, b.data, n, &e), ERR_MALFORMED);
    }
    buf_u8(&b, 0);
    assert_int_equal(maintenance_fold(testing.core, b.data, b.len, &e), ERR_MALFORMED);
    b.data[0]++;
    assert_int_equal(maintenance_fold(testing.core, b.data, b.len - 1, &e), ERR_MALFORMED);
    assert_true(core_maintenance(testing.core, NULL));
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_are_refused, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(outlasts_a_restart, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(what_is_undone_was_never, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(damaged_records, testing_setup, testing_teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_last();
    return failed;
}
