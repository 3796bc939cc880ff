// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs whatever fails: a job of twelve steps with a branch, a loop, children, a step that ends
 * later, one that fails twice and one that is too slow; once to its end, and back from each kind of
 * failure. It runs undisturbed, and then once for each record and each effect with a crash just
 * before and just after it. Every history must end where the undisturbed one does, in the records
 * and in the world outside, and no two effects may have had the same token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "core/internal.h"
#include "core/job_int.h"
#include "log/vfs_power.h"
#include "rig.h"

enum { TOKENS_MAX = 512, THINGS_MAX = 64, LONGEST_S = 600 };

/* What is outside, and outlives the controller. */
static struct {
    char things[THINGS_MAX][64]; /* that steps have made; "": undone */
    size_t n_things;
    uint64_t ids[TOKENS_MAX], epochs[TOKENS_MAX];
    size_t n_tokens;
} world;

static struct rig rig;
static unsigned points, crash_at, cancel_at, disk_fails_at; /* 0: never */
static bool crashed; /* what the old core still does, nobody sees */
static const char *mode;

static enum err_code cancel(struct txn *t, void *arg, struct err *e) {
    return job_cancel(t, 1, e);
}

/* A moment of a history. */
static void point(void) {
    if (!crashed && ++points == crash_at) {
        rig_crash_begin(&rig);
        crashed = true;
    } else if (!crashed && points == disk_fails_at) {
        vfs_power_set_faults(&(struct vfs_power_faults){.fail_sync = 1});
    } else if (!crashed && points == cancel_at) {
        core_run(rig.core, &actor_system, cancel, NULL, NULL);
    }
}

/* An effect with this token reaches the world. */
static void used(const struct job_effect *x) {
    const struct job_token *t = job_token(x);
    for (size_t i = 0; i < world.n_tokens; i++) {
        if (world.ids[i] == t->id) {
            assert_true(world.epochs[i] < t->epoch); /* a fence lets it through */
        }
    }
    assert_true(world.n_tokens < TOKENS_MAX);
    world.ids[world.n_tokens] = t->id;
    world.epochs[world.n_tokens++] = t->epoch;
}

static size_t thing(const char *name) {
    size_t i = 0;
    while (i < world.n_things && strcmp(world.things[i], name) != 0) {
        i++;
    }
    return i;
}

static void name_of(const struct job_effect *x, char out[64]) {
    snprintf(out, 64, "%s/%s", x->r->definition[0] == 'w' ? "whole" : job_input(x), x->step->name);
}

/* Makes its thing, once or again. False: the controller is gone. */
static bool make(struct job_effect *x) {
    char name[64];
    point();
    if (crashed) {
        return false;
    }
    used(x);
    name_of(x, name);
    size_t i = thing(name);
    if (i == world.n_things && x->step->undo != NULL) {
        assert_true(i < THINGS_MAX);
        snprintf(world.things[world.n_things++], 64, "%s", name);
    }
    return true;
}

static enum err_code dead(struct err *e) {
    return err_set(e, ERR_UNAVAILABLE, NULL, "crashed");
}

static enum err_code over(struct job_effect *x, struct err *e) {
    point();
    return crashed ? dead(e) : ERR_OK;
}

static enum err_code plain(struct job_effect *x, struct err *e) {
    if (!make(x)) {
        return dead(e);
    }
    job_set_result(x, x->step->name);
    return over(x, e);
}

static enum err_code unmake(struct job_effect *x, struct err *e) {
    char name[64];
    point();
    if (crashed) {
        return dead(e);
    }
    used(x);
    name_of(x, name);
    size_t i = thing(name);
    if (i < world.n_things) {
        memmove(world.things[i], world.things[i + 1], (world.n_things - i - 1) * 64);
        world.n_things--;
    }
    return over(x, e);
}

/* Undoing needs a second attempt. */
static enum err_code unmake_slowly(struct job_effect *x, struct err *e) {
    enum err_code rc = unmake(x, e);
    return rc == ERR_OK && job_attempt(x) == 1 ? err_set(e, ERR_IO, NULL, "not yet") : rc;
}

static enum err_code choose(struct job_effect *x, struct err *e) {
    job_set_next(x, "wide");
    return plain(x, e);
}

/* Three rounds, counted by what the former ones left. */
static enum err_code turn(struct job_effect *x, struct err *e) {
    const char *n = job_result(x, "turn");
    char text[8];
    if (!make(x)) {
        return dead(e);
    }
    snprintf(text, sizeof text, "%d", n != NULL ? atoi(n) + 1 : 1);
    job_set_result(x, text);
    if (strcmp(text, "3") != 0) {
        job_set_next(x, "turn");
    }
    return over(x, e);
}

static enum err_code flaky(struct job_effect *x, struct err *e) {
    enum err_code rc = plain(x, e);
    return rc == ERR_OK && job_attempt(x) < 3
               ? err_set(e, ERR_IO, NULL, "attempt %u failed", job_attempt(x))
               : rc;
}

/* The first attempt is never heard of again. */
static enum err_code slow(struct job_effect *x, struct err *e) {
    enum err_code rc = plain(x, e);
    if (rc == ERR_OK && job_attempt(x) == 1) {
        job_release(job_later(x));
    }
    return rc;
}

static struct job_token later_token;

static enum err_code later(struct job_effect *x, struct err *e) {
    enum err_code rc = plain(x, e);
    if (rc == ERR_OK) {
        later_token = *job_token(x);
        job_release(job_later(x));
    }
    return rc;
}

static enum err_code last(struct job_effect *x, struct err *e) {
    enum err_code rc = plain(x, e);
    return rc == ERR_OK && strcmp(mode, "last fails") == 0
               ? err_set(e, ERR_REFUSED, NULL, "not this one")
               : rc;
}

static enum err_code part_fails(struct job_effect *x, struct err *e) {
    enum err_code rc = plain(x, e);
    return rc == ERR_OK && strcmp(mode, "child fails") == 0 && strcmp(job_input(x), "b") == 0
               ? err_set(e, ERR_INVALID, NULL, "no good")
               : rc;
}

static enum err_code grandchild(struct job_effect *x, struct err *e);
static enum err_code children(struct job_effect *x, struct err *e);

#define STEP(f, u) .run = f, .undo = u, .deadline_s = 60, .attempts = 3, .backoff_s = 2
static const struct job_step leaf_steps[] = {{.name = "only", STEP(plain, unmake)}};
static const struct job_definition leaf = {
    .name = "leaf", .title = "A leaf", .steps = leaf_steps, .n_steps = 1};
static const struct job_step part_steps[] = {
    {.name = "first", STEP(plain, unmake)},
    {.name = "made", STEP(grandchild, unmake)},
    {.name = "second", STEP(part_fails, unmake)},
};
static const struct job_definition part = {
    .name = "part", .title = "A part", .steps = part_steps, .n_steps = 3};
static const struct job_step whole_steps[] = {
    {.name = "prepare", STEP(plain, unmake)},     {.name = "choose", STEP(choose, NULL)},
    {.name = "narrow", STEP(plain, unmake)},      {.name = "wide", STEP(plain, unmake)},
    {.name = "turn", STEP(turn, unmake)},         {.name = "flaky", STEP(flaky, unmake_slowly)},
    {.name = "children", STEP(children, unmake)}, {.name = "slow", STEP(slow, unmake)},
    {.name = "later", STEP(later, unmake)},       {.name = "more", STEP(plain, NULL)},
    {.name = "nearly", STEP(plain, unmake)},      {.name = "last", STEP(last, unmake)},
};
static const struct job_definition whole = {
    .name = "whole", .title = "All of it", .steps = whole_steps, .n_steps = 12};

static enum err_code grandchild(struct job_effect *x, struct err *e) {
    char input[32];
    snprintf(input, sizeof input, "leaf of %s", job_input(x));
    job_add_child(x, &leaf, input);
    return plain(x, e);
}

static enum err_code children(struct job_effect *x, struct err *e) {
    job_add_child(x, &part, "a");
    job_add_child(x, &part, "b");
    return plain(x, e);
}

/* ---- a service with these jobs ------------------------------------------------------------------
 */

static void *create(struct core *c) {
    return c;
}
static void destroy(void *self) {
}
static enum err_code start(void *self, struct err *e) {
    job_register(self, &whole, NULL);
    job_register(self, &part, NULL);
    job_register(self, &leaf, NULL);
    return ERR_OK;
}
static void config(void *self, const struct object *old, const struct object *new_) {
}
static const struct service maker = {
    .name = "maker", .create = create, .destroy = destroy, .start = start, .config = config};

/* ---- histories ----------------------------------------------------------------------------------
 */

static enum err_code order(struct txn *t, void *arg, struct err *e) {
    const struct job_order o = {.definition = &whole, .input = mode, .lock = "one"};
    return job_start(t, &o, arg, e);
}

/* One batch after the other, each of them a point; a new core where the old one crashed. */
static void pump(void) {
    size_t n;
    do {
        timers_run(core_timers(rig.core));
        n = writer_batch(rig.core);
        if (n > 0) {
            point();
        }
        if (crashed) {
            crashed = false; /* the old one begins nothing while it is closed */
            crash_at = 0;
            rig_crash_end(&rig);
            n = 1;
        }
    } while (n > 0);
}

static void say_job(const struct jobs *js, uint64_t id, struct buf *out) {
    const struct job *j = job_find(js, id);
    assert_non_null(j);
    buf_printf(out, "%s(%s) %s", j->r->definition, j->r->input, job_state_name(j->r->state));
    for (size_t i = 0; i < j->r->n_did; i++) {
        const struct job_did *d = &j->r->did[i];
        buf_printf(out, " %s=%s%s%s", d->step, d->result, d->done ? "+" : "", d->undone ? "-" : "");
        for (size_t k = 0; k < d->n_children; k++) {
            buf_str(out, " [");
            say_job(js, d->children[k], out);
            buf_str(out, "]");
        }
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

static bool all_over(void) {
    const struct jobs *js = core_service_state(rig.core, "jobs");
    return js->n_live == 0;
}

/* To the end of the job, with a crash at the given point and a cancel at another. */
static void history(unsigned crash, unsigned cancelled, struct buf *out) {
    uint64_t id = 0;
    memset(&world, 0, sizeof world);
    points = 0;
    crash_at = crash;
    cancel_at = cancelled;
    crashed = false;
    later_token.id = 0;
    rig_open(&rig, 1700000000);
    do {
        core_run(rig.core, &actor_system, order, NULL, &id);
        pump();
        clock_fake_advance(&rig.clock, NS_PER_S);
        /* A crash before the order was durable: it is given again, as who had no answer does. */
    } while (job_find(core_service_state(rig.core, "jobs"), 1) == NULL);
    int64_t until = clock_mono(&rig.clock) + LONGEST_S * NS_PER_S;
    while (!all_over() && clock_mono(&rig.clock) < until) {
        if (later_token.id != 0) {
            const struct job_token t = later_token;
            later_token.id = 0;
            job_step_done(rig.core, &t, "late", NULL);
            pump();
        }
        int64_t next = core_next_timer(rig.core);
        clock_fake_advance(&rig.clock, next < 0 ? NS_PER_S : next);
        pump();
    }
    struct jobs *js = core_service_state(rig.core, "jobs");
    say_job(js, 1, out);
    buf_printf(out, " live %zu begun %zu locks %zu", js->n_live, js->n_begun, js->locks.count);
    qsort(world.things, world.n_things, sizeof *world.things, by_name);
    buf_str(out, "\nworld:");
    for (size_t i = 0; i < world.n_things; i++) {
        buf_printf(out, " %s,", world.things[i]);
    }
    rig_close(&rig);
}

static void crash_everywhere(const char *with, const char *expected) {
    struct buf plain_end = BUF_INIT;
    mode = with;
    history(0, 0, &plain_end);
    unsigned n = points;
    if (strstr(buf_cstr(&plain_end), expected) == NULL) {
        fail_msg("%s: %s", with, buf_cstr(&plain_end));
    }
    assert_true(n > 30);
    for (unsigned k = 1; k <= n; k++) {
        struct buf end = BUF_INIT;
        history(k, 0, &end);
        if (strcmp(buf_cstr(&plain_end), buf_cstr(&end)) != 0) {
            fail_msg("%s, crash at point %u of %u:\n%s\nand without it\n%s", with, k, n,
                     buf_cstr(&end), buf_cstr(&plain_end));
        }
        buf_free(&end);
    }
    buf_free(&plain_end);
}

static void test_to_the_end(void **state) {
    crash_everywhere("good", "whole(good) done prepare=prepare+ choose=choose+ wide=wide+ "
                             "turn=1+ turn=2+ turn=3+ flaky=flaky+ children=children+ "
                             "[part(a) done");
}

static void test_back_from_the_last_step(void **state) {
    crash_everywhere("last fails", "live 0 begun 0 locks 0\nworld:");
    struct buf end = BUF_INIT;
    history(0, 0, &end);
    assert_non_null(strstr(buf_cstr(&end), "whole(last fails) failed"));
    assert_non_null(strstr(buf_cstr(&end), "[part(b) cancelled"));
    assert_string_equal(strstr(buf_cstr(&end), "world:"), "world:");
    buf_free(&end);
}

static void test_back_from_a_child(void **state) {
    crash_everywhere("child fails", "[part(b) failed");
}

/* Each record once fails to be written: the job goes on when the store can be written again. */
static void test_a_disk_that_fails_at_any_moment(void **state) {
    vfs_power_register(false);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    for (const char *const *m = (const char *const[]){"good", "last fails", NULL}; *m; m++) {
        struct buf plain_end = BUF_INIT, end = BUF_INIT;
        mode = *m;
        disk_fails_at = 0;
        history(0, 0, &plain_end);
        unsigned n = points;
        for (unsigned k = 1; k <= n; k++) {
            disk_fails_at = k;
            vfs_power_set_faults(NULL);
            history(0, 0, &end);
            if (strcmp(buf_cstr(&plain_end), buf_cstr(&end)) != 0) {
                fail_msg("%s, the disk fails at point %u of %u:\n%s\nand without it\n%s", mode, k,
                         n, buf_cstr(&end), buf_cstr(&plain_end));
            }
            buf_clear(&end);
        }
        buf_free(&end);
        buf_free(&plain_end);
    }
    disk_fails_at = 0;
    vfs_power_set_faults(NULL);
    unsetenv("WEFT_SQLITE_VFS");
}

/* Cancelled at any moment: all is undone, or it was over already; also with a crash behind it. */
static void test_cancel_everywhere(void **state) {
    struct buf end = BUF_INIT;
    mode = "good";
    history(0, 0, &end);
    buf_free(&end);
    unsigned n = points, undone = 0;
    for (unsigned k = 1; k <= n; k++) {
        for (unsigned crash = 0; crash <= k + 3; crash = crash == 0 ? k + 1 : crash + 1) {
            history(crash, k, &end);
            const char *text = buf_cstr(&end);
            bool back = strstr(text, "whole(good) cancelled") != NULL;
            bool done = strstr(text, "whole(good) done") != NULL;
            if (back == done || strstr(text, "live 0 begun 0 locks 0") == NULL ||
                (back && strcmp(strstr(text, "world:"), "world:") != 0)) {
                fail_msg("cancelled at point %u, crash at %u:\n%s", k, crash, text);
            }
            undone += back;
            buf_clear(&end);
        }
    }
    assert_true(undone > n); /* a cancel that went with the crash is not given again */
    buf_free(&end);
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int main(void) {
    logger_set_sink(swallow, NULL);
    rig_more = &maker;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_the_end),
        cmocka_unit_test(test_back_from_the_last_step),
        cmocka_unit_test(test_back_from_a_child),
        cmocka_unit_test(test_a_disk_that_fails_at_any_moment),
        cmocka_unit_test(test_cancel_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
