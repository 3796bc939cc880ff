// SPDX-License-Identifier: Apache-2.0
/* What is said about a commit later, also after a restart; and what clocks that jump do to it. */
#include "core/testing.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "log/vfs_power.h"

static void restart(void) {
    testing_close();
    testing_open();
}

static struct change *confirmed(const char *name, unsigned value, enum change_confirm how,
                                uint32_t seconds) {
    struct change *ch = testing_profile(EDIT_REPLACE, name, value);
    ch->confirm = how;
    ch->confirm_s = seconds;
    return ch;
}

/* The answer of `show commit N status`, as text and as data. */
struct shown {
    char text[2000];
    json_t *json;
};

static struct shown show_commit(uint64_t n) {
    char body[64];
    struct shown s;
    snprintf(body, sizeof body, "{\"number\":\"%llu\",\"status\":[null]}", (unsigned long long)n);
    struct call *cl = testing_call(&actor_system, system_show_commit_rpc, body);
    if (cl->err.code != ERR_OK) {
        fail_msg("%s", cl->err.text);
    }
    snprintf(s.text, sizeof s.text, "%s", buf_cstr(&cl->text));
    s.json = json_loads(buf_cstr(&cl->json), 0, NULL);
    assert_non_null(s.json);
    call_free(cl);
    return s;
}

static const char *member(const struct shown *s, const char *name) {
    const char *v = json_string_value(json_object_get(s->json, name));
    return v ? v : "";
}

static void expect(uint64_t n, const char *status, const char *in_text) {
    struct shown s = show_commit(n);
    if (strcmp(member(&s, "status"), status) != 0 || strstr(s.text, in_text) == NULL) {
        fail_msg("commit %llu: %s, not %s:\n%s", (unsigned long long)n, member(&s, "status"),
                 status, s.text);
    }
    json_decref(s.json);
}

static void expect_undone(uint64_t n, const char *by, const char *why) {
    struct shown s = show_commit(n);
    assert_string_equal(member(&s, "status"), "taken-back");
    assert_string_equal(member(&s, "taken-back-by"), by);
    assert_string_equal(member(&s, "taken-back-reason"), why);
    assert_string_equal(member(&s, "taken-back-time"), "2023-11-14T22:14:20Z");
    assert_non_null(strstr(s.text, why));
    json_decref(s.json);
}

static void wait_over(void *arg, enum commit_phase phase, const char *text) {
    *(enum commit_phase *)arg = phase;
}

static enum commit_phase phase_of(uint64_t n) {
    enum commit_phase p = COMMIT_PENDING;
    core_commit_wait(testing.core, n, 0, wait_over, &p);
    core_step(testing.core);
    core_step(testing.core);
    return p;
}

/* ---- taken back ------------------------------------------------------------------------------ */

static void test_taken_back_is_remembered(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    uint64_t plain = core_head(testing.core);
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 30));
    testing_must(confirmed("b", 3, CONFIRM_BY_PERSON, 60));
    expect(plain + 1, "unconfirmed", "");
    testing_advance(60 * NS_PER_S);
    uint64_t by = core_head(testing.core);
    assert_int_equal(by, plain + 3);
    char number[24], line[80];
    snprintf(number, sizeof number, "%llu", (unsigned long long)by);
    snprintf(line, sizeof line,
             "  Undone : by commit %s at 2023-11-14T22:14:20Z: it was not confirmed in time\n",
             number);
    for (int again = 0; again < 2; again++) {
        expect_undone(plain + 1, number, "it was not confirmed in time");
        expect_undone(plain + 2, number, "it was not confirmed in time");
        expect(plain + 1, "taken-back", line);
        expect(plain, "applied", "");
        expect(by, "applied", "taken back");
        assert_int_equal(phase_of(plain + 1), COMMIT_TAKEN_BACK);
        assert_int_equal(phase_of(plain), COMMIT_APPLIED);
        restart();
    }
    struct call *cl = testing_call(&actor_system, system_show_system_commit_rpc, "{}");
    const char *at = buf_cstr(&cl->text);
    for (int n = 0; n < 2; n++) {
        at = strstr(at + 1, "taken-back");
        assert_non_null(at);
    }
    call_free(cl);
}

/* Nothing differed any more when the time was over: no commit took it back, but taken back it is.
 */
static void test_taken_back_without_a_commit(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 30));
    uint64_t first = core_head(testing.core);
    testing_must(confirmed("a", 1, CONFIRM_BY_PERSON, 60));
    testing_advance(60 * NS_PER_S);
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    for (int again = 0; again < 2; again++) {
        expect_undone(first, "", "it was not confirmed in time");
        expect(first, "taken-back", "Undone : by later commits");
        expect(first + 1, "taken-back", "");
        restart();
    }
}

static void test_a_refusal_is_told_as_the_reason(void **state) {
    testing.touches = true;
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    testing_must(confirmed("a", 2, CONFIRM_BY_TARGETS, 600));
    uint64_t n = core_head(testing.core);
    testing_advance(NS_PER_S);
    target_refused(testing.book->target, n, "no room");
    testing_advance(0);
    assert_int_equal(testing_apportion("a"), 1);
    for (int again = 0; again < 2; again++) {
        expect(n, "taken-back", "t1 refused: no room");
        restart();
    }
}

/* A take-back that was not written leaves no trace; what is trimmed goes with its commit. */
static void test_fates_follow_the_log(void **state) {
    static const char body[] = "{\"weft-system:settings\":{\"history\":{\"rollbacks\":3}}}";
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, "/weft-system:system/settings", body, strlen(body), FORMAT_JSON);
    testing_must(ch);
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 60));
    uint64_t n = core_head(testing.core);
    const struct vfs_power_faults f = {
        .fail_write = 1, .write_code = SQLITE_FULL, .for_ever = true};
    vfs_power_set_faults(&f);
    testing_advance(60 * NS_PER_S);
    expect(n, "unconfirmed", "");
    vfs_power_set_faults(NULL);
    testing_advance(11 * NS_PER_S);
    expect(n, "taken-back", "");
    for (unsigned i = 0; i < 3; i++) {
        testing_must(testing_profile(EDIT_REPLACE, "b", 10 + i));
    }
    restart(); /* a record of what is not there any more would be an error now */
    assert_int_equal(phase_of(n), COMMIT_UNKNOWN);
}

/* ---- targets over a restart ------------------------------------------------------------------ */

static void test_progress_over_a_restart(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "b", 1));
    uint64_t nobodys = core_head(testing.core);
    testing.touches = true;
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    uint64_t n = core_head(testing.core);
    expect(n, "pending", "t1: down");
    restart();
    expect(nobodys, "applied", "");
    expect(n, "pending", "t1: down"); /* nobody knows whether it has it */
    target_connected(testing.book->target);
    expect(n, "pending", "t1: syncing");
    target_synced(testing.book->target);
    expect(n, "applied", "t1: applied");
    /* A refusal is about what is sent now, not about what was committed long ago. */
    restart();
    testing_must(testing_profile(EDIT_REPLACE, "a", 2));
    uint64_t later = core_head(testing.core);
    target_connected(testing.book->target);
    target_refused(testing.book->target, later, "no room");
    expect(later, "refused", "t1: refused: no room");
    expect(n, "pending", "t1: ");
    /* Its service does not know it any more. */
    testing.no_target = true;
    restart();
    expect(n, "applied", "t1: gone");
    testing.no_target = false;
}

/* ---- clocks ---------------------------------------------------------------------------------- */

/* The wall's clock is set; time goes on as before. */
static void set_clock(int64_t by_s) {
    testing.clock.fake_wall += by_s * NS_PER_S;
}

/* proves: F-07 */
static void test_time_to_confirm_by_a_clock_that_is_set(void **state) {
    static const int64_t jumps[] = {-100000, -7200, 7200, 100000};
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        int64_t deadline;
        testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 60));
        testing_advance(10 * NS_PER_S);
        set_clock(jumps[i]);
        core_confirm_pending(testing.core, &deadline);
        assert_int_equal(deadline, clock_wall_s(&testing.clock) + 50);
        struct change *other = testing_profile(EDIT_REPLACE, "c", 5 + (unsigned)i);
        other->confirm = CONFIRM_BY_PERSON;
        other->confirm_s = 55; /* one more, so the timer is looked at anew */
        testing_must(other);
        testing_advance(54 * NS_PER_S);
        assert_int_equal(testing_apportion("a"), 2);
        assert_true(core_confirm_pending(testing.core, NULL) != 0);
        testing_advance(NS_PER_S);
        assert_int_equal(testing_apportion("a"), 1);
        assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    }
}

/* A commit that is none of the waiting one's business comes while the clock is wrong. */
static enum err_code put_token(struct txn *t, void *arg, struct err *e) {
    book_put(t, "k", arg);
    return ERR_OK;
}

static void test_a_jump_alone_takes_nothing_back(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 60));
    set_clock(86400);
    core_run(testing.core, &actor_system, put_token, NULL, "v");
    core_step(testing.core);
    testing_advance(59 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 2);
    testing_advance(NS_PER_S);
    assert_int_equal(testing_apportion("a"), 1);
}

/* At a start only the wall's clock is there. Set back, it gives no more time than there was. */
static void test_time_to_confirm_over_a_restart(void **state) {
    int64_t deadline;
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 60));
    testing_advance(20 * NS_PER_S);
    restart();
    core_confirm_pending(testing.core, &deadline);
    assert_int_equal(deadline, clock_wall_s(&testing.clock) + 40);
    testing_close();
    set_clock(-86400 * 365);
    testing_open();
    core_confirm_pending(testing.core, &deadline);
    assert_int_equal(deadline, clock_wall_s(&testing.clock) + 60);
    testing_advance(60 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 1);
}

/* An extension that was not written leaves the time that was there, whatever the clock did. */
static void test_an_extension_that_is_undone(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    testing_must(confirmed("a", 2, CONFIRM_BY_PERSON, 60));
    testing_advance(10 * NS_PER_S);
    set_clock(-5000);
    const struct vfs_power_faults f = {.fail_write = 1, .write_code = SQLITE_FULL};
    vfs_power_set_faults(&f);
    assert_int_equal(testing_fails(confirmed("a", 3, CONFIRM_BY_PERSON, 600)), ERR_UNAVAILABLE);
    testing_advance(49 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 2);
    testing_advance(NS_PER_S);
    assert_int_equal(testing_apportion("a"), 1);
}

/* Times that are shown are those of the clock on the wall; the order is that of the numbers. */
static void test_times_of_a_clock_that_is_set_back(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    set_clock(-3600);
    testing_must(testing_profile(EDIT_REPLACE, "a", 2));
    struct commit_info ci[2];
    assert_int_equal(core_history(testing.core, ci, 2), 2);
    assert_true(ci[0].index > ci[1].index && ci[0].time_s < ci[1].time_s);
    struct call *cl = testing_call(&actor_system, system_show_audit_rpc, "{\"lines\":2}");
    const char *first = strstr(buf_cstr(&cl->text), "2023-11-14T22:13:20Z");
    const char *second = strstr(buf_cstr(&cl->text), "2023-11-14T21:13:20Z");
    assert_true(first != NULL && second != NULL && first < second);
    call_free(cl);
    restart();
    assert_int_equal(testing_apportion("a"), 2);
}

static int setup(void **state) {
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    return testing_setup(state);
}

static int teardown(void **state) {
    vfs_power_set_faults(NULL);
    return testing_teardown(state);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_taken_back_is_remembered),        T(test_taken_back_without_a_commit),
        T(test_a_refusal_is_told_as_the_reason), T(test_fates_follow_the_log),
        T(test_progress_over_a_restart),         T(test_time_to_confirm_by_a_clock_that_is_set),
        T(test_a_jump_alone_takes_nothing_back), T(test_time_to_confirm_over_a_restart),
        T(test_an_extension_that_is_undone),     T(test_times_of_a_clock_that_is_set_back),
    };
    int rc = cmocka_run_group_tests_name("core history", tests, NULL, NULL);
    testing_last();
    return rc;
}
