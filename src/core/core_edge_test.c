// SPDX-License-Identifier: Apache-2.0
/* The corners of core: each of these was wrong once, or would be easy to get wrong. */
#include "core/testing.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "core/rights.h"
#include "log/log.h"

static struct doc *profile_doc(const char *name, unsigned value) {
    char json[200];
    struct doc *d;
    struct err e;
    snprintf(json, sizeof json,
             "{\"name\":\"%s\",\"apportion-threshold\":%u,\"reclaim-threshold\":16000000}", name,
             value);
    assert_int_equal(
        doc_parse(testing.model, &apm_pool_domain_profile_kind, json, strlen(json), &d, &e),
        ERR_OK);
    return d;
}

static enum err_code put_profile(struct txn *t, const char *name, unsigned value, const char *owner,
                                 struct err *e) {
    struct doc *d = profile_doc(name, value);
    enum err_code rc = txn_put_object(t, d, owner, e);
    doc_drop(d);
    return rc;
}

struct outcome {
    bool done;
    enum err_code rc;
    uint64_t index;
};

static void over(void *arg, uint64_t index, const struct err *e) {
    struct outcome *o = arg;
    *o = (struct outcome){true, e ? e->code : ERR_OK, index};
}

static enum err_code run(core_work_fn fn, void *arg) {
    /* The outcome comes first in what `arg` points at. */
    core_run(testing.core, &actor_system, fn, over, arg);
    core_step(testing.core);
    assert_true(((struct outcome *)arg)->done);
    return ((struct outcome *)arg)->rc;
}

/* ---- objects that services make -------------------------------------------------------------- */

static enum err_code make_and_drop(struct txn *t, struct err *e) {
    ERR_TRY(put_profile(t, "passing", 5, NULL, e));
    return txn_delete_object(t, PROFILES "=passing", e);
}

static void test_made_and_removed_in_one_change(void **state) {
    testing.complete = make_and_drop;
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    assert_int_equal(testing_apportion("passing"), 0);
    assert_int_equal(testing.book->profiles, 1);
    testing.complete = NULL;
    testing_close();
    testing_open();
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(testing.book->profiles, 1);
}

static enum err_code make_child(struct txn *t, struct err *e) {
    if (txn_get(t, PROFILES "=maker") != NULL && txn_get(t, PROFILES "=child") == NULL) {
        ERR_TRY(put_profile(t, "child", 7, PROFILES "=maker", e));
        return put_profile(t, "grandchild", 8, PROFILES "=child", e);
    }
    return ERR_OK;
}

static void test_made_objects_go_with_their_maker(void **state) {
    testing.complete = make_child;
    testing_must(testing_profile(EDIT_CREATE, "maker", 100));
    assert_int_equal(testing_apportion("grandchild"), 8);
    testing_must(testing_profile(EDIT_CREATE, "other", 9));
    assert_int_equal(testing_fails(testing_profile(EDIT_REPLACE, "child", 9)), ERR_DENIED);
    assert_int_equal(testing_fails(testing_profile(EDIT_DELETE, "child", 0)), ERR_DENIED);
    testing_must(testing_profile(EDIT_DELETE, "maker", 0));
    assert_int_equal(testing_apportion("child"), 0);
    assert_int_equal(testing_apportion("grandchild"), 0);
    assert_int_equal(testing.book->profiles, 1);
}

static enum err_code delete_maker(struct txn *t, struct err *e) {
    return txn_get(t, PROFILES "=maker") ? txn_delete_object(t, PROFILES "=maker", e) : ERR_OK;
}

static void test_made_objects_go_when_a_service_deletes_their_maker(void **state) {
    testing.complete = make_child;
    testing_must(testing_profile(EDIT_CREATE, "maker", 100));
    testing.complete = delete_maker;
    testing_must(testing_profile(EDIT_CREATE, "other", 9));
    assert_int_equal(testing_apportion("maker"), 0);
    assert_int_equal(testing_apportion("child"), 0);
    assert_int_equal(testing_apportion("grandchild"), 0);
}

static enum err_code make_orphan(struct txn *t, struct err *e) {
    return put_profile(t, "orphan", 7, PROFILES "=nobody", e);
}

static enum err_code take_over(struct txn *t, struct err *e) {
    return put_profile(t, "mine", 7, PROFILES "=a", e);
}

static void test_made_objects_need_a_maker_and_a_free_place(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "mine", 100));
    testing.complete = make_orphan;
    assert_int_equal(testing_fails(testing_profile(EDIT_CREATE, "a", 1)), ERR_REFERENCE);
    testing.complete = take_over;
    assert_int_equal(testing_fails(testing_profile(EDIT_CREATE, "a", 1)), ERR_EXISTS);
    assert_int_equal(testing_apportion("mine"), 100);
    assert_int_equal(testing.book->value_sum, 100);
}

struct work {
    struct outcome outcome;
    int n;
};

/* Work that puts objects and does not finish the change itself still gets everything a change is
 * due, and counts an object once however often it was put. */
static enum err_code put_thrice(struct txn *t, void *arg, struct err *e) {
    ERR_TRY(put_profile(t, "w", 1, NULL, e));
    ERR_TRY(put_profile(t, "w", 2, NULL, e));
    return put_profile(t, "w", 3, NULL, e);
}

static void test_work_that_puts_objects(void **state) {
    struct work w = {.n = 0};
    assert_int_equal(run(put_thrice, &w), ERR_OK);
    assert_int_equal(testing.book->value_sum, 3);
    testing_must(testing_profile(EDIT_REPLACE, "w", 9));
    struct snap *s;
    struct err e;
    assert_int_equal(core_snapshot_at(testing.core, w.outcome.index, &s, &e), ERR_OK);
    assert_int_equal(testing_apportion_in(s, "w"), 3);
    snap_release(s);
}

static void test_a_large_change_counts_each_object_once(void **state) {
    enum { N = 3000 };
    struct change *ch = change_new(&actor_system);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            char name[16];
            snprintf(name, sizeof name, "p%d", i);
            struct change *one = testing_profile(EDIT_REPLACE, name, (unsigned)(1 + i + round));
            const struct model_edit *ed = &one->edits[0].edit;
            change_add(ch, ed->op, ed->target, ed->body, ed->len, ed->format);
            change_free(one);
        }
    }
    testing_must(ch);
    assert_int_equal(testing.book->profiles, N);
    assert_int_equal(testing.book->value_sum, N * (N + 1) / 2 + N);
}

/* ---- changes at the same time ---------------------------------------------------------------- */

static void flag(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

/* Both were decoded when "b" was absent and "a" was 100. What did nothing then must do it now. */
static void test_what_did_nothing_then_does_it_now(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    struct change *one = testing_profile(EDIT_REPLACE, "a", 200);
    struct change *more = testing_profile(EDIT_CREATE, "b", 7);
    change_add(one, EDIT_CREATE, more->edits[0].edit.target, more->edits[0].edit.body,
               more->edits[0].edit.len, FORMAT_JSON);
    struct change *two = testing_profile(EDIT_REPLACE, "a", 100);
    change_add(two, EDIT_REMOVE, PROFILES "=b", NULL, 0, FORMAT_JSON);
    struct change *third = testing_profile(EDIT_CREATE, "c", 1);
    change_add(two, EDIT_CREATE, third->edits[0].edit.target, third->edits[0].edit.body,
               third->edits[0].edit.len, FORMAT_JSON);
    assert_int_equal(core_change_prepare(testing.core, one), ERR_OK);
    assert_int_equal(core_change_prepare(testing.core, two), ERR_OK);
    bool d1 = false, d2 = false;
    core_change(testing.core, one, flag, &d1);
    core_change(testing.core, two, flag, &d2);
    core_step(testing.core);
    assert_true(d1 && d2);
    assert_int_equal(one->err.code, ERR_OK);
    assert_int_equal(two->err.code, ERR_OK);
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(testing_apportion("b"), 0);
    assert_int_equal(testing_apportion("c"), 1);
    change_free(one);
    change_free(more);
    change_free(two);
    change_free(third);
}

static enum err_code conditional(const char *target, uint64_t generation) {
    struct change *ch = testing_profile(EDIT_REPLACE, "other", 1 + (unsigned)random() % 1000);
    struct change_edit *ed = &ch->edits[0];
    if (target != NULL) {
        static const char body[] = "{\"weft-apm:apm\":{\"pool-domain-profile\":[{\"name\":\"m\","
                                   "\"apportion-threshold\":5,\"reclaim-threshold\":16000000}]}}";
        ed = change_add(ch, EDIT_MERGE, target, body, strlen(body), FORMAT_JSON);
    }
    ed->check_generation = true;
    ed->generation = generation;
    return testing_fails(ch);
}

static enum err_code one_record(struct txn *t, void *arg, struct err *e) {
    book_put(t, "x", "1");
    return ERR_OK;
}

static uint64_t config_generation(void) {
    struct snap *s = core_snapshot(testing.core);
    uint64_t g = snap_index(s);
    snap_release(s);
    return g;
}

/* A container's generation is that of the last commit: not of state, and the same after a start. */
static void test_generation_of_containers(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    uint64_t g = config_generation();
    struct work w = {.n = 0};
    assert_int_equal(run(one_record, &w), ERR_OK);
    assert_true(w.outcome.index > g);
    assert_int_equal(config_generation(), g);
    testing_close();
    testing_open();
    assert_int_equal(config_generation(), g);
    assert_int_equal(conditional("/weft-apm:apm", g), ERR_OK);
    assert_int_equal(conditional("/weft-apm:apm", g), ERR_CONFLICT);
    assert_int_equal(conditional("/weft-apm:apm", CHANGE_ANY), ERR_OK);
}

static void test_generation_of_an_object_made_again(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "other", 100));
    struct snap *s = core_snapshot(testing.core);
    uint64_t g = snap_get(s, PROFILES "=other")->modified;
    snap_release(s);
    testing_must(testing_profile(EDIT_DELETE, "other", 0));
    assert_int_equal(conditional(NULL, g), ERR_CONFLICT);
    assert_int_equal(conditional(NULL, CHANGE_ANY), ERR_ABSENT);
    testing_must(testing_profile(EDIT_CREATE, "other", 100));
    assert_int_equal(conditional(NULL, g), ERR_CONFLICT);
    assert_int_equal(conditional(NULL, 0), ERR_CONFLICT);
    assert_int_equal(conditional(NULL, CHANGE_ANY), ERR_OK);
}

/* ---- one too large --------------------------------------------------------------------------- */

static enum err_code huge(struct txn *t, void *arg, struct err *e) {
    size_t n = LOG_VALUE_MAX + 1;
    char *p = mem_alloc(n);
    txn_put_state(t, "book/huge", 9, p, n);
    mem_free(p);
    return ERR_OK;
}

static void test_only_what_is_too_large_is_refused(void **state) {
    struct outcome before = {0}, big = {0}, after = {0};
    core_run(testing.core, &actor_system, one_record, over, &before);
    core_run(testing.core, &actor_system, huge, over, &big);
    core_run(testing.core, &actor_system, one_record, over, &after);
    core_step(testing.core);
    assert_int_equal(before.rc, ERR_OK);
    assert_int_equal(big.rc, ERR_TOO_BIG);
    assert_int_equal(after.rc, ERR_OK);
    assert_null(book_get("huge"));
}

/* The log does not grow for ever, and nothing is lost with its old entries. */
static void test_the_log_is_trimmed(void **state) {
    testing_close();
    testing.log_kept = 500;
    testing_open();
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    struct outcome last = {0};
    for (int i = 0; i < 45000; i++) {
        core_run(testing.core, &actor_system, one_record, over, &last);
    }
    for (int i = 0; i < 4; i++) {
        core_step(testing.core);
    }
    assert_int_equal(last.rc, ERR_OK);
    testing.log_kept = 0;
    testing_close();
    struct log *log;
    struct log_status st;
    struct err e;
    assert_int_equal(log_open(testing.store, NULL, &log, &e), ERR_OK);
    log_status(log, &st);
    assert_true(st.oldest > 20000);
    assert_true(st.head - st.oldest >= 499);
    log_close(log);
    testing_open();
    assert_int_equal(testing_apportion("a"), 100);
    assert_string_equal(book_get("x"), "1");
    testing_must(testing_profile(EDIT_REPLACE, "a", 200));
    struct commit_info ci[3];
    assert_int_equal(core_history(testing.core, ci, 3), 2);
}

/* ---- confirmed commits ----------------------------------------------------------------------- */

static struct change *confirmed(const char *name, unsigned value, enum change_confirm how,
                                uint32_t seconds) {
    struct change *ch = testing_profile(EDIT_REPLACE, name, value);
    ch->confirm = how;
    ch->confirm_s = seconds;
    return ch;
}

static void test_time_to_confirm_is_bounded(void **state) {
    assert_int_equal(testing_fails(confirmed("a", 1, CONFIRM_BY_PERSON, 0)), ERR_INVALID);
    assert_int_equal(testing_fails(confirmed("a", 1, CONFIRM_BY_PERSON, 86401)), ERR_INVALID);
    assert_int_equal(testing_apportion("a"), 0);
}

static void test_confirmed_commit_is_extended(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    testing_must(confirmed("a", 200, CONFIRM_BY_PERSON, 60));
    testing_advance(50 * NS_PER_S);
    testing_must(confirmed("b", 300, CONFIRM_BY_PERSON, 60));
    testing_advance(50 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 200);
    struct change *nothing = change_new(&actor_system); /* extends, too */
    nothing->confirm = CONFIRM_BY_PERSON;
    nothing->confirm_s = 60;
    testing_must(nothing);
    testing_advance(50 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 200);
    testing_advance(11 * NS_PER_S); /* both go back, as one */
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(testing_apportion("b"), 0);
    struct snap *s = core_snapshot(testing.core);
    assert_int_equal(snap_count(s), 1);
    snap_release(s);
}

static void test_plain_and_empty_commits_confirm(void **state) {
    testing_must(confirmed("a", 200, CONFIRM_BY_PERSON, 60));
    testing_must(testing_profile(EDIT_CREATE, "b", 100));
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    testing_must(confirmed("a", 300, CONFIRM_BY_PERSON, 60));
    testing_must(change_new(&actor_system));
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    testing_advance(120 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 300);
    assert_int_equal(testing_apportion("b"), 100);
}

static void test_who_may_confirm(void **state) {
    testing_must(confirmed("a", 200, CONFIRM_BY_PERSON, 60));
    const struct actor nobody = {.user = "nobody", .source = "test"};
    struct outcome o = {0};
    core_confirm(testing.core, &nobody, NULL, over, &o);
    core_step(testing.core);
    assert_int_equal(o.rc, ERR_DENIED);
    assert_true(core_confirm_pending(testing.core, NULL) != 0);
    struct change *empty = change_new(&nobody);
    assert_int_equal(testing_fails(empty), ERR_DENIED);
    testing_advance(61 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 0);
}

/* A take-back that a service refuses must not keep the writer busy; it is made up for later. */
static void test_take_back_is_tried_again(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    testing.touches = true;
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    testing_must(confirmed("a", 200, CONFIRM_BY_TARGETS, 600));
    uint64_t n = core_head(testing.core);
    testing_advance(NS_PER_S);
    assert_int_equal(testing.book->sent, n);
    testing.refuse = true;
    target_refused(testing.book->target, n, "no room");
    struct core_stats before, after;
    core_stats(testing.core, &before);
    core_step(testing.core);
    core_step(testing.core);
    core_stats(testing.core, &after);
    assert_true(after.works - before.works <= 2);
    assert_int_equal(testing_apportion("a"), 200);
    testing.refuse = false;
    testing_advance(5 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 200);
    testing_advance(6 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
}

/* After a restart nobody has applied anything yet: it must not count as confirmed. */
static void test_confirmed_by_targets_over_a_restart(void **state) {
    testing.touches = true;
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    testing_must(confirmed("a", 200, CONFIRM_BY_TARGETS, 600));
    testing_close();
    testing_open();
    testing_advance(NS_PER_S);
    struct work w = {.n = 0};
    assert_int_equal(run(one_record, &w), ERR_OK);
    assert_true(core_confirm_pending(testing.core, NULL) != 0);
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    testing_advance(NS_PER_S);
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    assert_int_equal(testing_apportion("a"), 200);
    testing_must(confirmed("a", 300, CONFIRM_BY_TARGETS, 600));
    testing_close();
    testing_open();
    testing_advance(601 * NS_PER_S); /* it never came back */
    assert_int_equal(testing_apportion("a"), 200);
}

/* However many commits follow, what may be taken back is kept whole. */
static void test_history_is_kept_while_a_commit_waits(void **state) {
    static const char body[] = "{\"weft-system:settings\":{\"history\":{\"rollbacks\":2}}}";
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, "/weft-system:system/settings", body, strlen(body), FORMAT_JSON);
    testing_must(ch);
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    for (unsigned i = 0; i < 6; i++) {
        testing_must(confirmed("a", 10 + i, CONFIRM_BY_PERSON, 60));
    }
    testing_advance(61 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 1);
    testing_must(testing_profile(EDIT_REPLACE, "a", 2));
    struct commit_info ci[10];
    assert_int_equal(core_history(testing.core, ci, 10), 2);
}

/* ---- targets --------------------------------------------------------------------------------- */

static void test_commit_during_the_full_exchange_is_sent(void **state) {
    testing.touches = true;
    target_connected(testing.book->target);
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    uint64_t n = core_head(testing.core);
    assert_int_equal(testing.book->sends, 0);
    target_synced(testing.book->target);
    testing_advance(NS_PER_S);
    assert_int_equal(testing.book->sent, n);
}

static enum err_code hold_and_refuse(struct txn *t, void *arg, struct err *e) {
    struct work *w = arg;
    target_hold(testing.book->target, t, true);
    return w->n ? ERR_OK : err_set(e, ERR_REFUSED, NULL, "changed my mind");
}

static enum target_state target_state_now(void) {
    struct target_info ti;
    target_info(testing.book->target, &ti);
    return ti.state;
}

static void test_held_is_undone_with_its_work(void **state) {
    struct work w = {.n = 0};
    assert_int_equal(run(hold_and_refuse, &w), ERR_REFUSED);
    assert_int_equal(target_state_now(), TARGET_DOWN);
    w = (struct work){.n = 1};
    assert_int_equal(run(hold_and_refuse, &w), ERR_OK);
    assert_int_equal(target_state_now(), TARGET_HELD);
    testing_close();
    testing_open();
    assert_int_equal(target_state_now(), TARGET_HELD);
}

static enum err_code touch_often(struct txn *t, struct err *e) {
    for (int i = 0; i < 100000; i++) {
        target_touch(testing.book->target, t, "domain something: thresholds");
    }
    return ERR_OK;
}

static void test_a_target_touched_often(void **state) {
    testing.complete = touch_often;
    struct change *ch = testing_profile(EDIT_CREATE, "a", 1);
    ch->mode = CHANGE_DRY_RUN;
    assert_int_equal(testing_run(ch), ERR_OK);
    assert_int_equal(ch->n_targets, 1);
    assert_true(strlen(ch->targets[0].what) < 1200);
    assert_non_null(strstr(ch->targets[0].what, "and more"));
    change_free(ch);
}

/* ---- the order of paths ---------------------------------------------------------------------- */

/* Key by key, decoded: what path_cmp must come to by its short cuts. */
static int expected_order(const struct kind *k, const char *const *x, const char *const *y) {
    for (size_t i = 0; i < k->n_keys; i++) {
        bool number = k->keys[i]->base >= BASE_INT8 && k->keys[i]->base <= BASE_UINT64;
        long a = atol(x[i]), b = atol(y[i]);
        int c = number ? (a > b) - (a < b) : strcmp(x[i], y[i]);
        if (c != 0) {
            return c;
        }
    }
    return 0;
}

static void random_keys(struct rng *r, const struct kind *k, char text[][8], const char *keys[]) {
    static const char alphabet[] = "aaab%,/=~-0";
    for (size_t i = 0; i < k->n_keys; i++) {
        if (k->keys[i]->base >= BASE_INT8 && k->keys[i]->base <= BASE_UINT64) {
            snprintf(text[i], 8, "%d", (int)rng_below(r, 200));
        } else {
            size_t n = 1 + rng_below(r, 4);
            for (size_t c = 0; c < n; c++) {
                text[i][c] = alphabet[rng_below(r, sizeof alphabet - 1)];
            }
            text[i][n] = '\0';
        }
        keys[i] = text[i];
    }
}

static void test_the_order_of_paths(void **state) {
    struct rng r;
    size_t n, tried = 0;
    const struct kind *const *kinds = model_kinds(&n);
    rng_seed(&r, 7);
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = kinds[i];
        bool plain = k->n_keys > 0;
        for (size_t q = 0; q < k->n_keys; q++) {
            plain &= k->keys[q]->base != BASE_IP_ADDR && k->keys[q]->base != BASE_IP_PREFIX;
        }
        for (int round = 0; plain && round < 3000; round++, tried++) {
            char a[MODEL_KEYS_MAX][8], b[MODEL_KEYS_MAX][8];
            const char *x[MODEL_KEYS_MAX], *y[MODEL_KEYS_MAX];
            struct buf p = BUF_INIT, q = BUF_INIT;
            random_keys(&r, k, a, x);
            random_keys(&r, k, b, y);
            path_object(k, x, &p);
            path_object(k, y, &q);
            int want = expected_order(k, x, y);
            int have = path_cmp(k, buf_cstr(&p), k, buf_cstr(&q));
            if ((want > 0) != (have > 0) || (want < 0) != (have < 0)) {
                fail_msg("%s %s: %d, not %d", buf_cstr(&p), buf_cstr(&q), have, want);
            }
            buf_free(&p);
            buf_free(&q);
        }
    }
    assert_true(tried > 0);
}

/* ---- people ---------------------------------------------------------------------------------- */

static void put(const char *path, const char *body) {
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, path, body, strlen(body), FORMAT_JSON);
    testing_must(ch);
}

static const struct actor low = {.user = "low", .source = "test"};
static const struct actor boss = {.user = "boss", .source = "test"};

static void add_people(void) {
    put("/weft-system:system/role=runner",
        "{\"weft-system:role\":[{\"name\":\"runner\",\"right\":[{\"path\":\"/\",\"access\":"
        "\"exec\"},{\"path\":\"/weft-system:show-commit\",\"access\":\"read exec\"}]}]}");
    put("/weft-system:system/role=all",
        "{\"weft-system:role\":[{\"name\":\"all\",\"right\":[{\"path\":\"/\",\"access\":"
        "\"read write exec\"}]}]}");
    put("/weft-system:system/user=low",
        "{\"weft-system:user\":[{\"name\":\"low\",\"role\":[\"runner\"]}]}");
    put("/weft-system:system/user=boss",
        "{\"weft-system:user\":[{\"name\":\"boss\",\"role\":[\"all\"]}]}");
}

static enum err_code call_rc(const struct actor *who, const struct node *rpc, const char *body) {
    struct call *cl = testing_call(who, rpc, body);
    enum err_code rc = cl->err.code;
    assert_true(rc == ERR_OK || cl->cursor == NULL); /* no hash leaves */
    call_free(cl);
    return rc;
}

static char *token_of(const struct actor *who, const char *body) {
    struct call *cl = testing_call(who, system_token_create_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    json_t *o = json_loads(buf_cstr(&cl->json), 0, NULL);
    char *id = mem_strdup(json_string_value(json_object_get(o, "id")));
    json_decref(o);
    call_free(cl);
    return id;
}

static void test_credentials_of_others_take_a_right(void **state) {
    add_people();
    assert_int_equal(call_rc(&low, system_token_create_rpc, "{\"user\":\"boss\"}"), ERR_DENIED);
    assert_int_equal(call_rc(&low, system_token_create_rpc, "{\"user\":\"ghost\"}"), ERR_DENIED);
    char *own = token_of(&low, "{}"), *bosses = token_of(&boss, "{}");
    char body[200];
    snprintf(body, sizeof body, "{\"id\":\"%s\"}", bosses);
    assert_int_equal(call_rc(&low, system_token_revoke_rpc, body), ERR_DENIED);
    assert_int_equal(call_rc(&boss, system_token_revoke_rpc, body), ERR_OK);
    snprintf(body, sizeof body, "{\"id\":\"%s\"}", own);
    assert_int_equal(call_rc(&low, system_token_revoke_rpc, body), ERR_OK);
    assert_int_equal(
        call_rc(&low, system_password_rpc, "{\"user\":\"boss\",\"password\":\"hunter22\"}"),
        ERR_DENIED);
    assert_int_equal(
        call_rc(&boss, system_password_rpc, "{\"user\":\"ghost\",\"password\":\"hunter22\"}"),
        ERR_ABSENT);
    assert_int_equal(call_rc(&low, system_password_rpc, "{\"password\":\"hunter22\"}"), ERR_OK);
    struct actor out;
    struct err e;
    assert_int_equal(rights_password(testing.core, "low", "hunter22", "test", &out, &e), ERR_OK);
    mem_free(own);
    mem_free(bosses);
}

static void test_password_of_too_many_bytes(void **state) {
    add_people();
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"password\":\"");
    for (int i = 0; i < 128; i++) { /* 128 characters, 512 bytes */
        buf_str(&b, "\xf0\x9f\x94\x91");
    }
    buf_str(&b, "\"}");
    assert_int_equal(call_rc(&low, system_password_rpc, buf_cstr(&b)), ERR_INVALID);
    buf_free(&b);
}

static void test_backups_stay_in_their_folder(void **state) {
    char body[300];
    add_people();
    system_set_backup_folder(testing.folder);
    snprintf(body, sizeof body, "{\"file\":\"%s/elsewhere\"}", testing.folder);
    assert_int_equal(call_rc(&boss, system_backup_rpc, body), ERR_DENIED);
    assert_int_equal(call_rc(&boss, system_backup_rpc, "{\"file\":\"../x\"}"), ERR_DENIED);
    assert_int_equal(call_rc(&boss, system_backup_rpc, "{\"file\":\"..\"}"), ERR_INVALID);
    assert_int_equal(call_rc(&boss, system_backup_rpc, "{\"file\":\"monday\"}"), ERR_OK);
    assert_int_equal(call_rc(&boss, system_backup_rpc, "{\"file\":\"monday\"}"), ERR_EXISTS);
    assert_int_equal(call_rc(&actor_system, system_backup_rpc, body), ERR_OK);
    char path[200];
    snprintf(path, sizeof path, "%s/monday", testing.folder);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_show_commit_tells_what_one_may_read(void **state) {
    add_people();
    put("/weft-system:system/user=boss",
        "{\"weft-system:user\":[{\"name\":\"boss\",\"role\":[\"all\"],"
        "\"password-hash\":\"$y$j9T$abcdefgh$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq\"}]}");
    char body[64];
    snprintf(body, sizeof body, "{\"number\":\"%llu\"}",
             (unsigned long long)core_head(testing.core));
    struct call *cl = testing_call(&boss, system_show_commit_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    assert_non_null(strstr(buf_cstr(&cl->json), "password-hash"));
    assert_null(strstr(buf_cstr(&cl->json), "abcdefgh")); /* not the hash itself */
    assert_null(strstr(buf_cstr(&cl->text), "abcdefgh"));
    call_free(cl);
    cl = testing_call(&low, system_show_commit_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    assert_null(strstr(buf_cstr(&cl->json), "password-hash"));
    call_free(cl);
    /* the oldest one has a difference as well */
    struct commit_info ci[50];
    size_t n = core_history(testing.core, ci, 50);
    snprintf(body, sizeof body, "{\"number\":\"%llu\"}", (unsigned long long)ci[n - 1].index);
    cl = testing_call(&boss, system_show_commit_rpc, body);
    assert_non_null(strstr(buf_cstr(&cl->json), "runner"));
    call_free(cl);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void check_event(const struct event *ev, void *arg) {
    const struct node *n = model_notification(ev->name);
    assert_non_null(n);
    struct buf out = BUF_INIT;
    struct err e = {0};
    struct print_options o = {.format = FORMAT_JSON};
    if (notification_print(testing.model, n, ev->json, strlen(ev->json), 0, &o, &out, &e) !=
        ERR_OK) {
        fail_msg("%s: %s %s", ev->json, e.path, e.text);
    }
    ++*(int *)arg;
    buf_free(&out);
}

static void test_commit_events_are_of_the_model(void **state) {
    int seen = 0;
    uint64_t h = core_subscribe(testing.core, 0, check_event, &seen);
    struct change *ch = testing_profile(EDIT_CREATE, "a", 1);
    snprintf(ch->who.user, sizeof ch->who.user, "a\"b\\c");
    char long_comment[400]; /* is cut, but not inside a character */
    memset(long_comment, 'x', sizeof long_comment);
    memcpy(long_comment + 254, "\xc3\xa9\xc3\xa9", 4);
    long_comment[399] = '\0';
    long_comment[3] = '\x01';
    ch->comment = mem_strdup(long_comment);
    testing_must(ch);
    assert_int_equal(seen, 1);
    core_unsubscribe(testing.core, h);
    struct commit_info ci;
    assert_int_equal(core_history(testing.core, &ci, 1), 1);
    assert_int_equal(strlen(ci.comment), 254);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        T(test_made_and_removed_in_one_change),
        T(test_made_objects_go_with_their_maker),
        T(test_made_objects_go_when_a_service_deletes_their_maker),
        T(test_made_objects_need_a_maker_and_a_free_place),
        T(test_work_that_puts_objects),
        T(test_a_large_change_counts_each_object_once),
        T(test_what_did_nothing_then_does_it_now),
        T(test_generation_of_containers),
        T(test_generation_of_an_object_made_again),
        T(test_only_what_is_too_large_is_refused),
        T(test_the_log_is_trimmed),
        T(test_time_to_confirm_is_bounded),
        T(test_confirmed_commit_is_extended),
        T(test_plain_and_empty_commits_confirm),
        T(test_who_may_confirm),
        T(test_take_back_is_tried_again),
        T(test_confirmed_by_targets_over_a_restart),
        T(test_history_is_kept_while_a_commit_waits),
        T(test_commit_during_the_full_exchange_is_sent),
        T(test_held_is_undone_with_its_work),
        T(test_a_target_touched_often),
        T(test_the_order_of_paths),
        T(test_credentials_of_others_take_a_right),
        T(test_password_of_too_many_bytes),
        T(test_backups_stay_in_their_folder),
        T(test_show_commit_tells_what_one_may_read),
        T(test_commit_events_are_of_the_model),
    };
    int rc = cmocka_run_group_tests_name("core edges", tests, NULL, NULL);
    testing_last();
    return rc;
}
