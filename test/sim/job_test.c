// SPDX-License-Identifier: Apache-2.0
/* Jobs one rule at a time: deadlines, back-off, locks, cancelling, progress, retention, records
 * that can't be read, and what the requests say to bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/internal.h"
#include "core/job_int.h"
#include "rig.h"

static struct rig rig;
static struct jobs *js;

/* What the steps of the tests do, and what became of it. */
static struct {
    enum err_code fails; /* ERR_OK: works */
    bool later, undo_fails;
    unsigned runs, undone;
    int64_t at[16]; /* monotonic, when each began */
    char order[256];
    struct job_token token[16];
    struct job_effect *held;
} did;

static enum err_code work(struct job_effect *x, struct err *e) {
    assert_true(did.runs < 16);
    did.at[did.runs] = clock_mono(&rig.clock);
    did.token[did.runs++] = *job_token(x);
    snprintf(did.order + strlen(did.order), sizeof did.order - strlen(did.order), "%s ",
             job_input(x));
    if (did.later) {
        job_release(did.held);
        did.held = job_later(x);
    }
    return did.fails != ERR_OK ? err_set(e, did.fails, NULL, "no\nluck") : ERR_OK;
}

static enum err_code unwork(struct job_effect *x, struct err *e) {
    did.undone++;
    return did.undo_fails ? err_set(e, ERR_REFUSED, NULL, "stuck") : ERR_OK;
}

static enum err_code big(struct job_effect *x, struct err *e) {
    static char text[JOB_RESULT_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    if (strcmp(job_input(x), "one") == 0) {
        job_set_result(x, text); /* a byte too much */
    } else {                     /* for ever, until the record is full */
        text[JOB_RESULT_MAX] = '\0';
        job_set_result(x, text);
        job_set_next(x, "big");
    }
    return ERR_OK;
}

static enum err_code strange(struct job_effect *x, struct err *e);

static const struct job_step steps[] = {
    {.name = "work",
     .run = work,
     .undo = unwork,
     .deadline_s = 30,
     .attempts = 5,
     .backoff_s = 2,
     .backoff_max_s = 10},
    {.name = "rest", .run = work, .deadline_s = 5, .attempts = 1}};
static const struct job_definition one = {
    .name = "one", .title = "One step", .steps = steps, .n_steps = 1};
static const struct job_definition two = {
    .name = "two", .title = "Two steps", .steps = steps, .n_steps = 2};
static const struct job_step big_steps[] = {
    {.name = "big", .run = big, .deadline_s = 5, .attempts = 1}};
static const struct job_definition big_one = {
    .name = "big", .title = "Too big", .steps = big_steps, .n_steps = 1};
static const struct job_step strange_steps[] = {
    {.name = "strange", .run = strange, .deadline_s = 5, .attempts = 1}};
static const struct job_definition strange_one = {
    .name = "strange", .title = "Strange", .steps = strange_steps, .n_steps = 1};
static const struct job_definition nobodys = {
    .name = "nobodys", .title = "Of a service that is not here", .steps = steps, .n_steps = 1};

static enum err_code strange(struct job_effect *x, struct err *e) {
    if (strcmp(job_input(x), "next") == 0) {
        job_set_next(x, "nowhere");
    } else if (strcmp(job_input(x), "deep") == 0) {
        job_add_child(x, &strange_one, "deep");
    } else if (strcmp(job_input(x), "many") == 0) {
        for (int i = 0; i <= JOB_CHILDREN_MAX; i++) {
            job_add_child(x, &one, "");
        }
    } else {
        job_add_child(x, &nobodys, "");
    }
    return ERR_OK;
}

static void *create(struct core *c) {
    return c;
}
static void destroy(void *self) {
}
static bool without; /* nobody registers anything */
static enum err_code start(void *self, struct err *e) {
    if (!without) {
        job_register(self, &one, NULL);
        job_register(self, &two, NULL);
        job_register(self, &big_one, NULL);
        job_register(self, &strange_one, NULL);
    }
    return ERR_OK;
}
static void config(void *self, const struct object *old, const struct object *new_) {
}
static const struct service maker = {
    .name = "maker", .create = create, .destroy = destroy, .start = start, .config = config};

/* ---- doing --------------------------------------------------------------------------------------
 */

struct ask {
    struct job_order order;
    uint64_t id;
    enum err_code (*what)(struct txn *t, uint64_t id, struct err *e);
    enum err_code rc;
    struct err err;
};

static enum err_code ask_work(struct txn *t, void *arg, struct err *e) {
    struct ask *a = arg;
    return a->what != NULL ? a->what(t, a->id, e) : job_start(t, &a->order, &a->id, e);
}

static void ask_done(void *arg, uint64_t index, const struct err *e) {
    struct ask *a = arg;
    a->rc = e != NULL ? e->code : ERR_OK;
    if (e != NULL) {
        a->err = *e;
    }
}

static enum err_code ask(struct ask *a) {
    core_run(rig.core, &actor_system, ask_work, ask_done, a);
    rig_step(&rig);
    return a->rc;
}

static uint64_t begin_after(const struct job_definition *d, const char *input, const char *lock,
                            uint32_t after_s) {
    struct ask a = {.order = {d, input, lock, after_s}};
    if (ask(&a) != ERR_OK) {
        fail_msg("%s", a.err.text);
    }
    return a.id;
}

static uint64_t begin(const struct job_definition *d, const char *input, const char *lock) {
    return begin_after(d, input, lock, 0);
}

static struct err told; /* by the last request that was refused */

static enum err_code request(enum err_code (*what)(struct txn *, uint64_t, struct err *),
                             uint64_t id) {
    struct ask a = {.what = what, .id = id};
    ask(&a);
    told = a.err;
    return a.rc;
}

static const struct job_record *rec(uint64_t id) {
    const struct job *j = job_find(js, id);
    assert_non_null(j);
    return j->r;
}

static void is(uint64_t id, enum job_state state) {
    if (rec(id)->state != state) {
        fail_msg("job %" PRIu64 " is %s (%s), not %s", id, job_state_name(rec(id)->state),
                 rec(id)->reason, job_state_name(state));
    }
}

static void answer(unsigned run, const char *result, const struct err *why) {
    job_step_done(rig.core, &did.token[run], result, why);
    rig_step(&rig);
}

static void forget(void) {
    job_release(did.held);
    memset(&did, 0, sizeof did);
}

static int setup(void **state) {
    without = false;
    memset(&did, 0, sizeof did);
    rig_open(&rig, 1700000000);
    js = core_service_state(rig.core, "jobs");
    return 0;
}

static int teardown(void **state) {
    forget();
    rig_close(&rig);
    return 0;
}

static void crash(void) {
    rig_crash(&rig);
    js = core_service_state(rig.core, "jobs");
}

/* ---- attempts -----------------------------------------------------------------------------------
 */

static void test_backoff_doubles_up_to_its_cap(void **state) {
    did.fails = ERR_IO;
    uint64_t id = begin(&one, "", NULL);
    is(id, JOB_STATE_BACKING_OFF);
    assert_string_equal(rec(id)->reason, "work, attempt 1: no luck"); /* one line */
    rig_pass(&rig, 60 * NS_PER_S);
    is(id, JOB_STATE_FAILED);
    const int64_t waits[] = {2, 4, 8, 10};
    assert_int_equal(did.runs, 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal((did.at[i + 1] - did.at[i]) / NS_PER_S, waits[i]);
    }
    assert_int_equal(did.undone, 1); /* it may have done something */
}

static void test_backoff_goes_on_after_a_restart_and_never_longer(void **state) {
    did.fails = ERR_IO;
    uint64_t id = begin(&one, "", NULL);
    rig_pass(&rig, 1 * NS_PER_S);
    rig.clock.fake_wall -= 86400 * NS_PER_S; /* somebody sets the clock back by a day */
    crash();
    did.fails = ERR_OK;
    rig_pass(&rig, 2 * NS_PER_S);
    is(id, JOB_STATE_DONE);
    assert_int_equal(did.runs, 2);
}

static void test_what_time_cannot_cure_is_not_tried_again(void **state) {
    did.fails = ERR_INVALID;
    is(begin(&one, "", NULL), JOB_STATE_FAILED);
    assert_int_equal(did.runs, 1);
}

static void test_deadline_by_the_monotonic_clock(void **state) {
    did.later = true;
    uint64_t id = begin(&one, "", NULL);
    rig.clock.fake_wall += 3600 * NS_PER_S; /* nothing to do with it */
    rig_pass(&rig, 29 * NS_PER_S);
    is(id, JOB_STATE_RUNNING);
    assert_false(job_told_to_stop(did.held));
    rig_pass(&rig, 1 * NS_PER_S);
    is(id, JOB_STATE_BACKING_OFF);
    assert_true(job_told_to_stop(did.held));
    assert_string_equal(rec(id)->reason, "work, attempt 1: not done within 30 s");
    /* Its result comes too late, and then while the next attempt runs. */
    answer(0, "old", NULL);
    is(id, JOB_STATE_BACKING_OFF);
    rig_pass(&rig, 2 * NS_PER_S);
    assert_int_equal(did.runs, 2);
    answer(0, "old", NULL);
    is(id, JOB_STATE_RUNNING);
    assert_int_equal(js->n_refused, 2);
    assert_true(did.token[1].epoch > did.token[0].epoch);
    answer(1, "new", NULL);
    is(id, JOB_STATE_DONE);
    assert_string_equal(rec(id)->did[0].result, "new");
}

static void test_results_of_a_former_run_are_refused(void **state) {
    did.later = true;
    uint64_t id = begin(&one, "", NULL);
    crash();
    assert_int_equal(did.runs, 2);
    assert_true(did.token[1].epoch > did.token[0].epoch);
    answer(0, "old", NULL);
    is(id, JOB_STATE_RUNNING);
    answer(1, "new", NULL);
    is(id, JOB_STATE_DONE);
    assert_string_equal(rec(id)->owner, "weftd");
}

static void test_a_step_that_takes_the_controller_with_it_is_given_up(void **state) {
    did.later = true;
    uint64_t id = begin(&one, "", NULL);
    for (unsigned i = 0; i < JOB_RESUMES_MAX; i++) {
        is(id, JOB_STATE_RUNNING);
        did.runs = 0;
        crash();
    }
    did.runs = 0;
    crash();
    assert_int_equal(did.runs, 0);
    is(id, JOB_STATE_FAILED);
    assert_non_null(strstr(rec(id)->reason, "stopped too often"));
}

/* ---- cancelling, retrying -----------------------------------------------------------------------
 */

static void test_cancel_tells_the_step_and_undoes(void **state) {
    did.later = true;
    uint64_t id = begin(&two, "", NULL);
    answer(0, "first", NULL);
    assert_int_equal(request(job_cancel, id), ERR_OK);
    is(id, JOB_STATE_CANCELLING);
    assert_true(job_told_to_stop(did.held));
    assert_int_equal(request(job_cancel, id), ERR_REFUSED);
    assert_string_equal(told.text, "job 1 is cancelling: there is nothing to cancel");
    did.later = false;
    answer(1, "second", NULL);
    is(id, JOB_STATE_CANCELLED);
    assert_int_equal(did.undone, 1);
    assert_string_equal(rec(id)->reason, "cancelled by system");
}

static void test_cancel_waits_no_longer_than_the_deadline(void **state) {
    did.later = true;
    uint64_t id = begin(&one, "", NULL);
    request(job_cancel, id);
    rig_pass(&rig, 29 * NS_PER_S);
    is(id, JOB_STATE_CANCELLING);
    rig_pass(&rig, 1 * NS_PER_S);
    is(id, JOB_STATE_CANCELLED);
    assert_int_equal(did.undone, 1);
}

static void test_cancel_before_it_began(void **state) {
    uint64_t id = begin_after(&one, "", NULL, 100);
    is(id, JOB_STATE_WAITING);
    assert_int_equal(request(job_cancel, id), ERR_OK);
    is(id, JOB_STATE_CANCELLED);
    assert_int_equal(did.runs + did.undone, 0);
}

static void test_retry(void **state) {
    did.fails = ERR_REFUSED;
    uint64_t id = begin(&two, "", "lock");
    is(id, JOB_STATE_FAILED);
    did.fails = ERR_OK;
    assert_int_equal(request(job_retry, id), ERR_OK);
    is(id, JOB_STATE_DONE);
    assert_int_equal(did.runs, 3);
    assert_int_equal(rec(id)->n_did, 2);
    assert_int_equal(request(job_retry, id), ERR_REFUSED);
    assert_int_equal(request(job_retry, 77), ERR_ABSENT);
    assert_int_equal(js->locks.count, 0);
}

static void test_retry_of_an_undoing_that_failed(void **state) {
    did.fails = ERR_REFUSED;
    did.undo_fails = true;
    uint64_t id = begin(&one, "", NULL);
    is(id, JOB_STATE_FAILED);
    assert_string_equal(rec(id)->reason, "undoing work: stuck");
    did.undo_fails = false;
    request(job_retry, id);
    is(id, JOB_STATE_FAILED);
    assert_true(rec(id)->did[0].undone);
    assert_int_equal(did.runs, 1);
    did.fails = ERR_OK;
    request(job_retry, id); /* now from the start */
    is(id, JOB_STATE_DONE);
}

/* ---- time, locks
 * --------------------------------------------------------------------------------- */

static void test_not_before_its_time(void **state) {
    uint64_t id = begin_after(&one, "", NULL, 100);
    rig_pass(&rig, 60 * NS_PER_S);
    crash();
    rig_pass(&rig, 39 * NS_PER_S);
    is(id, JOB_STATE_WAITING);
    rig_pass(&rig, 1 * NS_PER_S);
    is(id, JOB_STATE_DONE);
}

static void test_one_lock_one_at_a_time_oldest_first(void **state) {
    did.later = true;
    uint64_t a = begin(&one, "a", "disk"), b = begin(&one, "b", "disk"),
             c = begin(&one, "c", "disk"), other = begin(&one, "other", "tape");
    assert_string_equal(did.order, "a other ");
    is(b, JOB_STATE_WAITING);
    is(other, JOB_STATE_RUNNING);
    answer(0, NULL, NULL);
    assert_string_equal(did.order, "a other b ");
    request(job_cancel, b); /* holds it until it is undone */
    is(c, JOB_STATE_WAITING);
    crash();
    is(b, JOB_STATE_CANCELLED);
    assert_non_null(strstr(did.order, "c "));
    is(a, JOB_STATE_DONE);
    answer(did.runs - 1, NULL, NULL);
    answer(did.runs - 2, NULL, NULL);
    assert_int_equal(js->n_live, 0);
    assert_int_equal(js->locks.count, 0);
}

static void test_one_that_waits_for_its_time_holds_up_nobody(void **state) {
    uint64_t early = begin_after(&one, "early", "disk", 50), b = begin(&one, "b", "disk");
    is(b, JOB_STATE_DONE);
    rig_pass(&rig, 50 * NS_PER_S);
    is(early, JOB_STATE_DONE);
}

/* Whoever waits for a lock when its time has come waits quietly. */
static void test_time_comes_while_the_lock_is_held(void **state) {
    did.later = true;
    uint64_t a = begin(&one, "a", "disk"), b = begin_after(&one, "b", "disk", 5);
    rig_pass(&rig, 10 * NS_PER_S);
    is(b, JOB_STATE_WAITING);
    assert_true(core_next_timer(rig.core) > 0);
    answer(0, NULL, NULL);
    is(a, JOB_STATE_DONE);
    is(b, JOB_STATE_RUNNING);
}

/* ---- progress, limits
 * ---------------------------------------------------------------------------- */

static void test_progress_once_a_second(void **state) {
    did.later = true;
    uint64_t id = begin(&one, "", NULL), head = core_head(rig.core);
    for (unsigned i = 1; i <= 100; i++) {
        job_progress(did.held, i, "going on");
        rig_pass(&rig, 50 * NS_PER_MS);
    }
    uint64_t records = core_head(rig.core) - head;
    assert_true(records >= 5 && records <= 6);
    rig_pass(&rig, 2 * NS_PER_S);
    assert_int_equal(rec(id)->percent, 100); /* the last word is never lost */
    assert_string_equal(rec(id)->progress, "going on");
}

static void test_limits_of_a_step(void **state) {
    uint64_t id = begin(&big_one, "one", NULL);
    is(id, JOB_STATE_FAILED);
    assert_string_equal(rec(id)->reason, "big: its result has 4097 bytes, 4096 are allowed");
    id = begin(&big_one, "many", NULL);
    is(id, JOB_STATE_FAILED);
    assert_non_null(strstr(rec(id)->reason, "record would have more than"));
    struct buf b = BUF_INIT;
    job_record_encode(rec(id), &b);
    assert_true(b.len <= JOB_RECORD_MAX);
    buf_free(&b);
    id = begin(&strange_one, "next", NULL);
    is(id, JOB_STATE_FAILED);
    assert_string_equal(rec(id)->reason,
                        "strange: it names \"nowhere\" as the next step, which there is not");
    id = begin(&strange_one, "nobody", NULL);
    is(id, JOB_STATE_FAILED);
    assert_string_equal(rec(id)->reason, "strange: there are no jobs \"nobodys\" here");
    id = begin(&strange_one, "many", NULL);
    is(id, JOB_STATE_FAILED);
    id = begin(&strange_one, "deep", NULL);
    is(id, JOB_STATE_FAILED);
    assert_int_equal(js->n_live, 0);
}

static void test_orders_that_are_refused(void **state) {
    char input[JOB_INPUT_MAX + 2], lock[JOB_NAME_MAX + 2];
    memset(input, 'i', sizeof input);
    memset(lock, 'l', sizeof lock);
    input[JOB_INPUT_MAX + 1] = lock[JOB_NAME_MAX + 1] = '\0';
    struct ask a = {.order = {.definition = &one, .input = input}};
    assert_int_equal(ask(&a), ERR_TOO_BIG);
    a.order = (struct job_order){.definition = &one, .lock = lock};
    assert_int_equal(ask(&a), ERR_TOO_BIG);
    a.order = (struct job_order){.definition = &nobodys};
    assert_int_equal(ask(&a), ERR_UNSUPPORTED);
    assert_int_equal(js->by_id.count, 0);
    js->n_live += JOB_LIVE_MAX;
    a.order = (struct job_order){.definition = &one};
    assert_int_equal(ask(&a), ERR_LIMIT);
    js->n_live -= JOB_LIVE_MAX;
}

/* ---- retention, records -------------------------------------------------------------------------
 */

static void test_kept_for_seven_days(void **state) {
    uint64_t id = begin(&one, "", NULL);
    rig_pass(&rig, 6 * 86400 * NS_PER_S);
    uint64_t young = begin(&one, "", NULL);
    rig_pass(&rig, 86400 * NS_PER_S - 3700 * NS_PER_S);
    assert_non_null(job_find(js, id));
    rig_pass(&rig, 2 * 3700 * NS_PER_S);
    assert_null(job_find(js, id));
    assert_non_null(job_find(js, young));
    crash();
    assert_null(job_find(js, id));
    rig_pass(&rig, 7 * 86400 * NS_PER_S);
    assert_int_equal(js->by_id.count, 0);
    crash(); /* a number is never given again */
    assert_int_equal(begin(&one, "", NULL), young + 1);
}

static void test_ten_thousand_are_kept(void **state) {
    uint64_t first = begin(&one, "", NULL);
    did.runs = 0;
    js->n_ended += JOB_KEPT_MAX - 1; /* as if they were there */
    uint64_t second = begin(&one, "", NULL);
    assert_null(job_find(js, first));
    assert_non_null(job_find(js, second));
    js->n_ended -= JOB_KEPT_MAX - 1;
}

static enum err_code fold(const char *key, const void *value, size_t len, struct err *e) {
    return job_service.state_fold(js, key, strlen(key), value, len, e);
}

static void test_records_that_cannot_be_read(void **state) {
    static const char key[] = "jobs/job/00000000000000000001";
    struct buf b = BUF_INIT;
    struct err e;
    did.later = true;
    uint64_t id = begin(&two, "input", "lock");
    job_record_encode(rec(id), &b);
    for (size_t n = 0; n < b.len; n++) { /* cut off anywhere */
        assert_int_equal(fold(key, b.data, n, &e), ERR_INVALID);
    }
    buf_char(&b, 'x');
    assert_int_equal(fold(key, b.data, b.len, &e), ERR_INVALID);
    assert_string_equal(e.text, "is damaged: it is no job");
    b.data[0] = 2;
    assert_int_equal(fold(key, b.data, b.len, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "newer version of Weft (form 2, this one reads 1)"));
    b.data[0] = 1;
    assert_int_equal(fold("jobs/job/00000000000000000002", b.data, b.len - 1, &e), ERR_INVALID);
    assert_string_equal(e.text, "is damaged: it says to be another job");
    assert_int_equal(fold("jobs/nothing", "", 0, &e), ERR_UNSUPPORTED);
    assert_int_equal(fold("jobs/last-id", "abc", 3, &e), ERR_INVALID);
    js->last_id = 1;
    /* Each bit of it turned over: an answer, and no more than that. */
    for (size_t i = 8; i < 8 * (b.len - 1); i++) {
        struct job_record *r = NULL;
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
        if (job_record_decode(b.data, b.len - 1, &r, &e) == ERR_OK) {
            job_record_free(r);
        }
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    buf_free(&b);
    is(id, JOB_STATE_RUNNING);
}

/* These bytes lie in stores: another form needs another version, and a reader for this one. */
static void test_the_stored_form(void **state) {
    static const char expected[] = "010705036f6e65046469736b02696e047573657203737263"
                                   "000000000000000100000000000000020000000000000000"
                                   "0400037768790301"
                                   "6eac02016f02010000000000000009083201700104776f726b00010109";
    struct job_record *r = MEM_NEW(struct job_record);
    struct buf b = BUF_INIT, hex = BUF_INIT;
    *r = (struct job_record){.id = 7,
                             .parent = 5,
                             .created_s = 1,
                             .started_s = 2,
                             .state = JOB_STATE_ROLLING_BACK,
                             .holds = true,
                             .begun = true,
                             .epoch = 300,
                             .attempt = 2,
                             .resumes = 1,
                             .due_s = 9,
                             .wait_s = 8,
                             .percent = 50};
    job_set_text(&r->definition, "one");
    job_set_text(&r->lock, "disk");
    job_set_text(&r->input, "in");
    job_set_text(&r->user, "user");
    job_set_text(&r->source, "src");
    job_set_text(&r->reason, "why");
    job_set_text(&r->next, "n");
    job_set_text(&r->owner, "o");
    job_set_text(&r->progress, "p");
    struct job_did *d = job_record_push(r, "work");
    d->done = true;
    d->children = mem_alloc(sizeof *d->children);
    d->children[d->n_children++] = 9;
    job_record_encode(r, &b);
    for (size_t i = 0; i < b.len; i++) {
        buf_printf(&hex, "%02x", b.data[i]);
    }
    assert_string_equal(buf_cstr(&hex), expected);
    struct job_record *copy = job_record_copy(r);
    buf_clear(&hex);
    job_record_encode(copy, &hex);
    assert_int_equal(hex.len, b.len);
    assert_memory_equal(hex.data, b.data, b.len);
    assert_string_equal(copy->did[0].step, "work");
    assert_int_equal(copy->did[0].children[0], 9);
    job_record_free(copy);
    job_record_free(r);
    buf_free(&b);
    buf_free(&hex);
}

/* A service that is not here leaves its jobs alone, and they can be seen. */
static void test_jobs_of_nobody_wait(void **state) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    struct err e;
    did.later = true;
    uint64_t id = begin(&one, "", NULL);
    without = true;
    crash();
    rig_pass(&rig, 3600 * NS_PER_S);
    is(id, JOB_STATE_RUNNING);
    assert_int_equal(did.runs, 1);
    assert_int_equal(rig_call(&rig, &text, &json, &e, "weft-job:show-job", NULL), ERR_OK);
    assert_non_null(strstr(buf_cstr(&text), "what runs jobs \"one\" does not run here"));
    buf_free(&text);
    buf_free(&json);
    without = false;
    crash();
    answer(1, NULL, NULL);
    is(id, JOB_STATE_DONE);
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static void call(const char *rpc, const char *name, const char *value, enum err_code expected,
                 const char *says) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    struct err e = {.code = ERR_OK};
    enum err_code rc = rig_call(&rig, &text, &json, &e, rpc, name, value, NULL);
    const char *said = rc == ERR_OK ? buf_cstr(&text) : e.text;
    if (rc != expected || strstr(said, says) == NULL) {
        fail_msg("%s %s %s: %s", rpc, name, value, said);
    }
    if (rc == ERR_OK) {
        json_t *o = json_loads(buf_cstr(&json), 0, NULL);
        assert_non_null(o);
        json_decref(o);
    }
    buf_free(&text);
    buf_free(&json);
}

static void test_requests(void **state) {
    did.later = true;
    call("weft-job:show-job", "last", "5", ERR_OK, "No such jobs.");
    begin(&two, "", "disk");
    begin(&one, "", "disk");
    call("weft-job:show-job", "last", "5", ERR_OK, "for job 1, which has the lock disk");
    call("weft-job:show-job", "id", "1", ERR_OK, "Job 1: two, running");
    call("weft-job:show-job", "id", "1", ERR_OK, "Step 1 work: begun");
    call("weft-job:show-job", "state", "waiting", ERR_OK, "2       one");
    call("weft-job:show-job", "state", "done", ERR_OK, "No such jobs.");
    call("weft-job:show-job", "id", "9", ERR_ABSENT, "there is no job 9");
    call("weft-job:job-cancel", "id", "9", ERR_ABSENT, "there is no job 9");
    call("weft-job:job-retry", "id", "2", ERR_REFUSED, "only a failed one is retried");
    call("weft-job:job-cancel", "id", "2", ERR_OK, "Job 2 is cancelled.");
    call("weft-job:job-cancel", "id", "2", ERR_REFUSED, "nothing to cancel");
    call("weft-job:job-cancel", "id", "1", ERR_OK, "Job 1 is cancelling.");
    struct buf json = BUF_INIT, metrics = BUF_INIT;
    rig_look(&rig, "/weft-job:jobs", &json);
    assert_non_null(strstr(buf_cstr(&json), "\"name\":\"work\",\"outcome\":\"begun\""));
    core_metrics(rig.core, &metrics);
    assert_non_null(strstr(buf_cstr(&metrics), "\nweft_jobs_live 1\n"));
    buf_free(&json);
    buf_free(&metrics);
}

struct seen {
    unsigned started, progress, ended;
};

static void see(const struct event *ev, void *arg) {
    struct seen *s = arg;
    s->started += strcmp(ev->name, "weft-job:job-started") == 0;
    s->progress += strcmp(ev->name, "weft-job:job-progress") == 0;
    s->ended += strcmp(ev->name, "weft-job:job-ended") == 0;
}

static void test_notifications(void **state) {
    struct seen s = {0};
    uint64_t handle = core_subscribe(rig.core, 0, see, &s);
    did.later = true;
    begin(&one, "", NULL);
    job_progress(did.held, 50, "half");
    rig_pass(&rig, NS_PER_S);
    answer(0, NULL, NULL);
    core_unsubscribe(rig.core, handle);
    assert_int_equal(s.started, 1);
    assert_int_equal(s.progress, 1);
    assert_int_equal(s.ended, 1);
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    logger_set_sink(swallow, NULL);
    rig_more = &maker;
    const struct CMUnitTest tests[] = {
        T(test_backoff_doubles_up_to_its_cap),
        T(test_backoff_goes_on_after_a_restart_and_never_longer),
        T(test_what_time_cannot_cure_is_not_tried_again),
        T(test_deadline_by_the_monotonic_clock),
        T(test_results_of_a_former_run_are_refused),
        T(test_a_step_that_takes_the_controller_with_it_is_given_up),
        T(test_cancel_tells_the_step_and_undoes),
        T(test_cancel_waits_no_longer_than_the_deadline),
        T(test_cancel_before_it_began),
        T(test_retry),
        T(test_retry_of_an_undoing_that_failed),
        T(test_not_before_its_time),
        T(test_one_lock_one_at_a_time_oldest_first),
        T(test_one_that_waits_for_its_time_holds_up_nobody),
        T(test_time_comes_while_the_lock_is_held),
        T(test_progress_once_a_second),
        T(test_limits_of_a_step),
        T(test_orders_that_are_refused),
        T(test_kept_for_seven_days),
        T(test_ten_thousand_are_kept),
        T(test_records_that_cannot_be_read),
        T(test_the_stored_form),
        T(test_jobs_of_nobody_wait),
        T(test_requests),
        T(test_notifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
