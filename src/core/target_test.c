// SPDX-License-Identifier: Apache-2.0
/* Target sessions: what is sent when, what is tried again when, and what is left alone. */
#include "core/testing.h"

enum { GAP_NS = 20 * 1000 * 1000, ANSWER_S = 30, LONGEST_S = 60 };

static struct target_info info(void) {
    struct target_info i;
    target_info(testing.book->target, &i);
    return i;
}

static uint64_t commit(void) {
    static unsigned value;
    testing_must(testing_profile(EDIT_MERGE, "a", 10 + value++));
    return core_head(testing.core);
}

static void in_session(void) {
    testing.touches = true;
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    assert_int_equal(info().state, TARGET_IN_STEP);
}

static void test_no_answer_is_tried_again_ever_more_slowly(void **state) {
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    assert_int_equal(testing.book->sends, 1);
    assert_int_equal(testing.book->sent, n);
    int64_t wait = 1;
    for (unsigned i = 1; i < 12; i++) {
        testing_advance(ANSWER_S * NS_PER_S - GAP_NS);
        assert_int_equal(info().state, TARGET_SENDING);
        testing_advance(GAP_NS);
        assert_int_equal(info().state, TARGET_WAITING);
        assert_int_equal(info().failures, i);
        assert_string_equal(info().reason, "no answer in time");
        testing_advance(wait * NS_PER_S - GAP_NS);
        assert_int_equal(testing.book->sends, i);
        testing_advance(GAP_NS);
        assert_int_equal(testing.book->sends, i + 1);
        wait = wait * 2 < LONGEST_S ? wait * 2 : LONGEST_S;
    }
    assert_int_equal(wait, LONGEST_S);
    target_applied(testing.book->target, n);
    assert_int_equal(info().state, TARGET_IN_STEP);
    assert_int_equal(info().failures, 0);
    assert_string_equal(info().reason, "");
    /* Then it begins anew with the shortest wait. */
    size_t sends = testing.book->sends;
    n = commit();
    testing_advance(GAP_NS);
    target_failed(testing.book->target, n, "the line is noisy");
    assert_string_equal(info().reason, "the line is noisy");
    testing_advance(NS_PER_S);
    assert_int_equal(testing.book->sends, sends + 2);
}

static void test_an_answer_that_comes_late_counts(void **state) {
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    testing_advance(ANSWER_S * NS_PER_S);
    assert_int_equal(info().state, TARGET_WAITING);
    target_applied(testing.book->target, n);
    assert_int_equal(info().state, TARGET_IN_STEP);
    assert_int_equal(info().failures, 0);
    testing_advance(LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1); /* there was nothing left to say */
}

static void test_changes_are_gathered(void **state) {
    in_session();
    uint64_t n = 0;
    for (int i = 0; i < 20; i++) {
        n = commit();
    }
    testing_advance(GAP_NS);
    assert_int_equal(testing.book->sends, 1);
    assert_int_equal(testing.book->sent, n);
    /* What comes while one is under way waits for its answer, and is one message then. */
    uint64_t first = n;
    for (int i = 0; i < 20; i++) {
        n = commit();
        testing_advance(GAP_NS);
    }
    assert_int_equal(testing.book->sends, 1);
    target_applied(testing.book->target, first);
    testing_advance(GAP_NS);
    assert_int_equal(testing.book->sends, 2);
    assert_int_equal(testing.book->sent, n);
    target_applied(testing.book->target, n);
    testing_advance(LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 2);
}

static void test_a_lost_session_is_not_spoken_to(void **state) {
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    target_lost(testing.book->target, "it hung up");
    assert_int_equal(info().state, TARGET_DOWN);
    assert_string_equal(info().reason, "it hung up");
    n = commit();
    testing_advance(10 * LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
    /* Back: the full exchange holds everything up to its start. */
    target_connected(testing.book->target);
    assert_int_equal(info().state, TARGET_SYNCING);
    testing_advance(LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
    target_synced(testing.book->target);
    assert_true(info().applied >= n);
    assert_string_equal(info().reason, "");
    testing_advance(LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
}

static void test_what_is_refused_is_not_repeated_but_what_follows_is_sent(void **state) {
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    target_refused(testing.book->target, n, "too much");
    assert_int_equal(info().state, TARGET_REFUSED);
    testing_advance(10 * LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
    uint64_t next = commit();
    testing_advance(GAP_NS);
    assert_int_equal(testing.book->sends, 2);
    assert_int_equal(testing.book->sent, next);
    /* A refusal that comes late is not one of what is under way. */
    target_refused(testing.book->target, n, "too much still");
    assert_int_equal(info().state, TARGET_SENDING);
    target_applied(testing.book->target, next);
    assert_int_equal(info().state, TARGET_IN_STEP);
}

static enum err_code order(const struct node *rpc, const char *target, struct err *e) {
    char body[128];
    snprintf(body, sizeof body, "{\"target\":\"%s\"}", target);
    struct call *cl = testing_call(&actor_system, rpc, body);
    enum err_code rc = cl->err.code;
    *e = cl->err;
    call_free(cl);
    return rc;
}

struct waited {
    bool done;
    enum commit_phase phase;
    char text[200];
};

static void on_waited(void *arg, enum commit_phase phase, const char *text) {
    struct waited *w = arg;
    w->done = true;
    w->phase = phase;
    snprintf(w->text, sizeof w->text, "%s", text);
}

/* The operator's switch: nothing is sent, whatever happens, until he says so. */
static void test_held(void **state) {
    struct err e;
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    assert_int_equal(order(system_target_hold_rpc, "nobody", &e), ERR_ABSENT);
    assert_non_null(strstr(e.text, "nobody"));
    assert_int_equal(order(system_target_hold_rpc, "t1", &e), ERR_OK);
    assert_int_equal(info().state, TARGET_HELD);
    target_applied(testing.book->target, n); /* the answer to what was said before */
    assert_int_equal(info().applied, n);
    n = commit();
    struct waited w = {.done = false};
    core_commit_wait(testing.core, n, 5 * NS_PER_S, on_waited, &w);
    core_step(testing.core);
    testing_advance(10 * LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
    assert_true(w.done);
    assert_int_equal(w.phase, COMMIT_PENDING);
    assert_string_equal(w.text, "t1: held\n");
    /* Nor in a new session, nor after a restart. */
    target_lost(testing.book->target, "it hung up");
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    n = commit();
    testing_advance(10 * LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 1);
    testing_close();
    testing_open();
    assert_int_equal(info().state, TARGET_HELD);
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    n = commit();
    testing_advance(LONGEST_S * NS_PER_S);
    assert_int_equal(testing.book->sends, 0);
    assert_int_equal(info().state, TARGET_HELD);
    /* Resumed: at once the newest. */
    assert_int_equal(order(system_target_resume_rpc, "t1", &e), ERR_OK);
    testing_advance(GAP_NS);
    assert_int_equal(testing.book->sends, 1);
    assert_int_equal(testing.book->sent, n);
    target_applied(testing.book->target, n);
    assert_int_equal(info().state, TARGET_IN_STEP);
    /* Without a session there is nothing to resume into. */
    target_lost(testing.book->target, "gone");
    assert_int_equal(order(system_target_hold_rpc, "t1", &e), ERR_OK);
    assert_int_equal(order(system_target_resume_rpc, "t1", &e), ERR_OK);
    assert_int_equal(info().state, TARGET_DOWN);
}

static void test_the_list_of_targets(void **state) {
    struct err e;
    in_session();
    uint64_t n = commit();
    testing_advance(GAP_NS);
    target_refused(testing.book->target, n, "too \"much\"");
    struct call *cl = testing_call(&actor_system, system_show_system_targets_rpc, "{}");
    assert_int_equal(cl->err.code, ERR_OK);
    assert_non_null(strstr(buf_cstr(&cl->text), "t1"));
    assert_non_null(strstr(buf_cstr(&cl->text), "too \"much\""));
    struct buf out = BUF_INIT;
    struct print_options po = {.format = FORMAT_JSON};
    assert_int_equal(rpc_output_print(testing.model, cl->in.rpc, buf_cstr(&cl->json), cl->json.len,
                                      &po, &out, &e),
                     ERR_OK); /* as the model has it */
    assert_non_null(strstr(buf_cstr(&out), "\"state\":\"refused\""));
    buf_free(&out);
    call_free(cl);
    cl = testing_call(&actor_system, system_show_system_targets_rpc, "{\"name\":\"t2\"}");
    assert_int_equal(cl->err.code, ERR_ABSENT);
    call_free(cl);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        T(test_no_answer_is_tried_again_ever_more_slowly),
        T(test_an_answer_that_comes_late_counts),
        T(test_changes_are_gathered),
        T(test_a_lost_session_is_not_spoken_to),
        T(test_what_is_refused_is_not_repeated_but_what_follows_is_sent),
        T(test_held),
        T(test_the_list_of_targets),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_last();
    return failed;
}
