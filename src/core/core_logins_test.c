// SPDX-License-Identifier: Apache-2.0
/* Failed logins in the audit trail: each one counts, none decides how much is written. */
#include "core/testing.h"

#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/rng.h"
#include "core/logins.h"
#include "core/rights.h"
#include "core/trail.h"
#include "log/vfs_power.h"

static const char wrong[] = "wrong password";

/* ---- what the trail says --------------------------------------------------------------------- */

static json_t *trail(void) {
    struct call *cl = testing_call(&actor_system, system_show_audit_rpc, "{\"lines\":10000}");
    json_t *o = json_loads(buf_cstr(&cl->json), 0, NULL);
    json_t *list = json_incref(json_object_get(o, "entry"));
    assert_non_null(list);
    json_decref(o);
    call_free(cl);
    return list;
}

static const char *text_of(const json_t *entry, const char *name) {
    return json_string_value(json_object_get(entry, name));
}

/* How many failures a record is about. */
static uint64_t count_of(const json_t *entry) {
    unsigned long long n;
    return sscanf(text_of(entry, "result"), "failed %llu times", &n) == 1 ? n : 1;
}

struct sum {
    size_t records;
    uint64_t failures;
};

/* Records of failed logins, those of one user (NULL: all), and how many failures they tell of. */
static struct sum failed(const char *user) {
    struct sum s = {.records = 0};
    json_t *list = trail(), *e;
    size_t i;
    json_array_foreach(list, i, e) {
        if (strcmp(text_of(e, "action"), "login") == 0 &&
            (user == NULL || strcmp(text_of(e, "user"), user) == 0)) {
            s.records++;
            s.failures += count_of(e);
        }
    }
    json_decref(list);
    return s;
}

static void expect(const char *user, size_t records, uint64_t failures) {
    struct sum s = failed(user);
    if (s.records != records || s.failures != failures) {
        fail_msg("%zu records of %llu failures, not %zu of %llu", s.records,
                 (unsigned long long)s.failures, records, (unsigned long long)failures);
    }
}

static void fail_n(const char *user, const char *source, int n) {
    for (int i = 0; i < n; i++) {
        login_failed(testing.core, user, source, wrong);
    }
    core_step(testing.core);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_one_a_minute(void **state) {
    fail_n("ann", "restconf 192.0.2.7:4711", 1);
    expect("ann", 1, 1);
    fail_n("ann", "restconf 192.0.2.7:4712", 3);
    fail_n("ann", "restconf 192.0.2.7:4713", 2);
    expect("ann", 1, 1);
    testing_advance(59 * NS_PER_S);
    expect("ann", 1, 1);
    testing_advance(NS_PER_S);
    core_step(testing.core);
    expect("ann", 2, 6);
    json_t *list = trail();
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    assert_string_equal(text_of(last, "from"), "restconf 192.0.2.7");
    assert_string_equal(text_of(last, "result"),
                        "failed 5 times since 2023-11-14T22:13:20Z: wrong password");
    json_decref(list);
    /* others are told apart */
    fail_n("ann", "cli 192.0.2.7:4711", 1);
    fail_n("bob", "restconf 192.0.2.7:4711", 1);
    fail_n("ann", "restconf [2001:db8::7]:4711", 1);
    fail_n("ann", "restconf [2001:db8::7]:4712", 1);
    fail_n("ann", "cli unix:uid=1000", 1);
    expect("ann", 5, 9);
    expect("bob", 1, 1);
    /* what goes on is told once a minute, what has stopped begins anew */
    for (int minute = 0; minute < 5; minute++) {
        fail_n("cleo", "restconf 192.0.2.9:1", 100);
        testing_advance(60 * NS_PER_S);
        core_step(testing.core);
    }
    expect("cleo", 5, 500);
    testing_advance(130 * NS_PER_S);
    core_step(testing.core);
    testing_advance(60 * NS_PER_S);
    core_step(testing.core);
    fail_n("cleo", "restconf 192.0.2.9:1", 1);
    expect("cleo", 6, 501);
}

/* However many fail in however many names from however many places. */
static void test_a_flood(void **state) {
    enum { FLOOD = 50000 };
    struct core_stats before, after;
    core_stats(testing.core, &before);
    uint64_t head = core_head(testing.core);
    for (int i = 0; i < FLOOD; i++) {
        char source[64], user[32];
        snprintf(source, sizeof source, "restconf 198.51.%d.%d:%d", i / 250 % 250, i % 250, i);
        snprintf(user, sizeof user, "u%d", i % 7);
        login_failed(testing.core, i % 2 ? user : NULL, source, wrong);
        if (i % 1000 == 0) {
            core_step(testing.core);
        }
    }
    core_step(testing.core);
    core_stats(testing.core, &after);
    assert_true(failed(NULL).records <= LOGINS_SLOTS + 1);
    assert_true(core_head(testing.core) - head <= LOGINS_SLOTS + 2);
    assert_true(after.works - before.works < 200);
    testing_advance(60 * NS_PER_S);
    core_step(testing.core);
    struct sum s = failed(NULL);
    assert_true(s.records <= 2 * (LOGINS_SLOTS + 1));
    assert_int_equal(s.failures, FLOOD); /* not one is lost */
    assert_true(failed("(others)").failures > FLOOD / 2);
}

static bool in_file(const char *path, const char *text) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = strlen(text), have = 0, got;
    char block[8192 + 64];
    bool found = false;
    while (!found && (got = fread(block + have, 1, sizeof block - have, f)) > 0) {
        have += got;
        found = memmem(block, have, text, n) != NULL;
        size_t keep = have < n ? have : n;
        memmove(block, block + have - keep, keep);
        have = keep;
    }
    fclose(f);
    return found;
}

static void put_user(const char *name, const char *hash, const char *more) {
    struct change *ch = change_new(&actor_system);
    char path[128], json[1024];
    snprintf(path, sizeof path, "/weft-system:system/user=%s", name);
    snprintf(json, sizeof json, "{\"weft-system:user\":[{\"name\":\"%s\"%s%s%s%s}]}", name,
             hash ? ",\"password-hash\":\"" : "", hash ? hash : "", hash ? "\"" : "", more);
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
    testing_must(ch);
}

/* Why it failed is told to the auditor, and to nobody else; secrets to nobody. */
static void test_reasons_without_secrets(void **state) {
    struct actor who;
    struct err e;
    struct rights_token_text tok;
    char *hash = rights_hash("right-pw-1");
    put_user("ann", hash, "");
    put_user("dis", hash, ",\"disabled\":true");
    put_user("bare", NULL, "");
    mem_free(hash);
    rights_token_new(&tok);
    char json[400];
    snprintf(json, sizeof json,
             "{\"weft-system:token\":[{\"id\":\"%s\",\"user\":\"ann\",\"hash\":\"%s\"}]}", tok.id,
             tok.hash);
    struct change *ch = change_new(&actor_system);
    char path[100], forged[100], *end;
    snprintf(path, sizeof path, "/weft-system:system/token=%s", tok.id);
    change_add(ch, EDIT_CREATE, path, json, strlen(json), FORMAT_JSON);
    testing_must(ch);
    snprintf(forged, sizeof forged, "%s", tok.token);
    end = forged + strlen(forged) - 6;
    memcpy(end, "qqqqqq", 6);

    struct core *c = testing.core;
    assert_int_equal(rights_password(c, "ann", "right-pw-1", "t 1", &who, &e), ERR_OK);
    assert_int_equal(rights_password(c, "ann", "wrong-pw-2", "t 1", &who, &e), ERR_AUTH);
    assert_int_equal(rights_password(c, "dis", "right-pw-1", "t 2", &who, &e), ERR_AUTH);
    assert_int_equal(rights_password(c, "bare", "wrong-pw-3", "t 3", &who, &e), ERR_AUTH);
    assert_int_equal(rights_password(c, "typed-pw-4", "ann", "t 4", &who, &e), ERR_AUTH);
    assert_int_equal(rights_token(c, tok.token, "t 5", &who, &e), ERR_OK);
    assert_int_equal(rights_token(c, forged, "t 5", &who, &e), ERR_AUTH);
    assert_int_equal(rights_token(c, "wt_nosuchtoken1.typed-pw-5", "t 6", &who, &e), ERR_AUTH);
    assert_int_equal(rights_token(c, "typed-pw-6", "t 7", &who, &e), ERR_AUTH);
    assert_int_equal(rights_certificate(c, "nobody", "t 8", &who, &e), ERR_AUTH);
    assert_int_equal(rights_local(c, 54321, "t unix:uid=54321", &who, &e), ERR_AUTH);
    core_step(c);
    static const struct {
        const char *user, *from, *why;
    } want[] = {{"ann", "t 1", "failed: wrong password"},
                {"dis", "t 2", "failed: the user is disabled"},
                {"bare", "t 3", "failed: the user has no password"},
                {"(unknown)", "t 4", "failed: no such user"},
                {"ann", "t 5", "failed: wrong secret of a token"},
                {"(unknown)", "t 6", "failed: no such token"},
                {"(unknown)", "t 7", "failed: what was sent is not a token"},
                {"nobody", "t 8", "failed: the certificate's name is not a user who may log in"},
                {"uid-54321", "t unix:uid=54321", "failed: no local user of the controller"}};
    json_t *list = trail(), *entry;
    size_t i, n = 0;
    json_array_foreach(list, i, entry) {
        if (strcmp(text_of(entry, "action"), "login") == 0) {
            assert_true(n < sizeof want / sizeof want[0]);
            assert_string_equal(text_of(entry, "user"), want[n].user);
            assert_string_equal(text_of(entry, "from"), want[n].from);
            assert_string_equal(text_of(entry, "result"), want[n].why);
            n++;
        }
    }
    assert_int_equal(n, sizeof want / sizeof want[0]);
    json_decref(list);
    testing_close();
    static const char *const secrets[] = {"-pw-1", "-pw-2", "-pw-3", "-pw-4",
                                          "-pw-5", "-pw-6", "qqqqqq"};
    static const char *const files[] = {"", "-wal", "-tables"};
    for (size_t k = 0; k < 3; k++) {
        char name[200];
        snprintf(name, sizeof name, "%s%s", strchr(testing.store, ':') + 1, files[k]);
        for (i = 0; access(name, F_OK) == 0 && i < sizeof secrets / sizeof secrets[0]; i++) {
            assert_false(in_file(name, secrets[i]));
        }
        assert_true(k != 0 || in_file(name, "no such user")); /* it can be found */
    }
    testing_open();
}

/* A flood displaces other failed logins, and nothing else; the order is one. */
static void test_a_trail_of_their_own(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 1));
    for (int i = 0; i < AUDIT_LOGINS_KEPT / LOGINS_SLOTS + 10; i++) {
        for (int k = 0; k < LOGINS_SLOTS; k++) {
            char source[32];
            snprintf(source, sizeof source, "t %d", k);
            login_failed(testing.core, NULL, source, wrong);
        }
        testing_advance(60 * NS_PER_S);
        core_step(testing.core);
        if (i % 16 == 0) {
            testing_must(testing_profile(EDIT_REPLACE, "a", 2 + (unsigned)i));
        }
    }
    for (int again = 0; again < 2; again++) {
        json_t *list = trail(), *e;
        size_t i, commits = 0;
        unsigned long long before = 0, number;
        json_array_foreach(list, i, e) {
            assert_int_equal(sscanf(text_of(e, "index"), "%llu", &number), 1);
            assert_true(number > before);
            before = number;
            commits += strncmp(text_of(e, "action"), "commit ", 7) == 0;
        }
        assert_int_equal(failed(NULL).records, AUDIT_LOGINS_KEPT);
        assert_int_equal(commits, 1 + (AUDIT_LOGINS_KEPT / LOGINS_SLOTS + 10 + 15) / 16);
        json_decref(list);
        testing_close();
        testing_open();
    }
    struct call *cl =
        testing_call(&actor_system, system_show_audit_rpc, "{\"lines\":3,\"user\":\"system\"}");
    size_t lines = 0;
    for (const char *p = buf_cstr(&cl->text); (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    assert_int_equal(lines, 3);
    call_free(cl);
}

/* What can't be written is not forgotten; nor what a stop finds uncounted. */
static void test_counted_while_nothing_can_be_written(void **state) {
    const struct vfs_power_faults full = {
        .fail_write = 1, .write_code = SQLITE_FULL, .for_ever = true};
    vfs_power_set_faults(&full);
    for (int i = 0; i < 10; i++) {
        fail_n("ann", "t 1", 50);
        testing_advance(20 * NS_PER_S);
    }
    expect(NULL, 0, 0);
    vfs_power_set_faults(NULL);
    testing_advance(60 * NS_PER_S);
    core_step(testing.core);
    testing_advance(60 * NS_PER_S);
    core_step(testing.core);
    assert_int_equal(failed("ann").failures, 500);
    fail_n("bob", "t 1", 1);
    fail_n("bob", "t 1", 41);
    testing_close();
    testing_open();
    expect("bob", 2, 42);
    vfs_power_set_faults(&full); /* a stop does not wait for room */
    fail_n("bob", "t 1", 1);
    testing_close();
    vfs_power_set_faults(NULL);
    testing_open();
    expect("bob", 2, 42);
}

static void heard(const struct event *ev, void *arg) {
    if (strcmp(ev->name, "weft-system:login") == 0) {
        snprintf(arg, 300, "%s", ev->json);
    }
}

static void test_the_event(void **state) {
    char json[300] = "";
    uint64_t h = core_subscribe(testing.core, 0, heard, json);
    fail_n("a\"b", "restconf 192.0.2.7:4711", 1);
    assert_string_equal(json, "{\"user\":\"a\\\"b\",\"from\":\"restconf 192.0.2.7\",\"success\":"
                              "false,\"reason\":\"failed: wrong password\"}");
    core_unsubscribe(testing.core, h);
}

/* ---- from many threads ----------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 20000 };

static void *fails(void *arg) {
    for (int i = 0; i < EACH; i++) {
        char source[32];
        snprintf(source, sizeof source, "t %d", i % 50);
        login_failed(testing.core, arg, source, wrong);
    }
    return NULL;
}

static void test_from_many_threads(void **state) {
    testing_close();
    testing.threaded = true;
    testing_open();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fails, "ann"), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    testing_close(); /* writes what is left */
    testing.threaded = false;
    testing_open();
    struct sum s = failed(NULL);
    assert_int_equal(s.failures, THREADS * EACH);
    assert_true(s.records <= 3 * (LOGINS_SLOTS + 1));
}

/* ---- the trail itself ------------------------------------------------------------------------ */

static void test_trail_against_a_model(void **state) {
    enum { N = 300 };
    struct rng r;
    rng_seed(&r, 7);
    struct trail t = {.n = 0};
    int model[N] = {0};
    for (int step = 0; step < 20000; step++) {
        size_t n = 1 + rng_below(&r, N - 1);
        int v = rng_chance(&r, 45) ? 0 : 1 + (int)rng_below(&r, 100);
        trail_fold(&t, n, v ? &v : NULL, v ? sizeof v : 0);
        model[n] = v;
        size_t k = 1 + rng_below(&r, N - 1);
        const struct trail_record *rec = trail_get(&t, k);
        assert_int_equal(rec != NULL, model[k] != 0);
        assert_true(rec == NULL || memcmp(rec->bytes, &model[k], sizeof v) == 0);
    }
    size_t i = 0;
    uint64_t last = 0;
    for (size_t n = 1; n < N; n++) {
        if (model[n] != 0) {
            assert_int_equal(trail_at(&t, i++)->number, n);
            last = n;
        }
    }
    assert_int_equal(i, t.n);
    assert_int_equal(trail_last(&t), last);
    trail_free(&t);
}

static int setup(void **state) {
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    testing.threaded = false;
    return testing_setup(state);
}

static int teardown(void **state) {
    vfs_power_set_faults(NULL);
    return testing_teardown(state);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_a_minute),
        T(test_a_flood),
        T(test_reasons_without_secrets),
        T(test_a_trail_of_their_own),
        T(test_counted_while_nothing_can_be_written),
        T(test_the_event),
        T(test_from_many_threads),
        cmocka_unit_test(test_trail_against_a_model),
    };
    int rc = cmocka_run_group_tests_name("failed logins", tests, NULL, NULL);
    testing_last();
    return rc;
}
