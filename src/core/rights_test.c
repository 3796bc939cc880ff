// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/rights.h"

static struct model *model;
static struct core *core;
static struct clock fake;
static char folder[] = "/tmp/weft-rights-XXXXXX";
static struct actor who;
static struct err err;

static void changed(struct change *ch, void *arg) {
    (void)ch;
    *(bool *)arg = true;
}

static void put(const char *path, const char *json) {
    struct change *ch = change_new(&actor_system);
    bool done = false;
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
    core_change(core, ch, changed, &done);
    core_step(core);
    if (ch->err.code != ERR_OK) {
        fail_msg("%s: %s %s", path, ch->err.path, ch->err.text);
    }
    assert_true(done);
    change_free(ch);
}

static void put_user(const char *name, const char *password, const char *more) {
    char path[128], json[1024];
    char *hash = password != NULL ? rights_hash(password) : NULL;
    snprintf(path, sizeof path, "/weft-system:system/user=%s", name);
    snprintf(json, sizeof json, "{\"weft-system:user\":[{\"name\":\"%s\"%s%s%s%s}]}", name,
             hash ? ",\"password-hash\":\"" : "", hash ? hash : "", hash ? "\"" : "", more);
    put(path, json);
    mem_free(hash);
}

static void test_passwords(void **state) {
    (void)state;
    put_user("ann", "secret-1", "");
    assert_false(rights_password_cached(core, "ann", "secret-1"));
    assert_int_equal(rights_password(core, "ann", "secret-1", "here", &who, &err), ERR_OK);
    assert_string_equal(who.user, "ann");
    assert_string_equal(who.source, "here");
    assert_false(who.superuser);
    assert_true(rights_password_cached(core, "ann", "secret-1"));
    assert_false(rights_password_cached(core, "ann", "secret-2"));
    clock_fake_advance(&fake, (RIGHTS_CACHE_S + 1) * NS_PER_S);
    assert_false(rights_password_cached(core, "ann", "secret-1"));
    assert_int_equal(rights_password(core, "ann", "secret-1", "here", &who, &err), ERR_OK);
    /* a new password ends the old one's cache; being disabled ends everything */
    put_user("ann", "secret-2", "");
    assert_int_equal(rights_password(core, "ann", "secret-1", "here", &who, &err), ERR_AUTH);
    assert_int_equal(rights_password(core, "ann", "secret-2", "here", &who, &err), ERR_OK);
    put_user("ann", "secret-2", ",\"disabled\":true");
    assert_int_equal(rights_password(core, "ann", "secret-2", "here", &who, &err), ERR_AUTH);
}

static bool may(enum right r, const char *path) {
    struct snap *s = core_snapshot(core);
    bool yes = rights_allow(s, &who, r, path);
    snap_release(s);
    return yes;
}

static bool due(void) {
    struct snap *s = core_snapshot(core);
    bool yes = rights_due(s, &who);
    snap_release(s);
    return yes;
}

static bool stands(void) {
    struct snap *s = core_snapshot(core);
    bool yes = rights_stands(core, s, &who);
    snap_release(s);
    return yes;
}

static void settings(const char *passwords) {
    char json[200];
    snprintf(json, sizeof json, "{\"weft-system:settings\":{\"passwords\":{%s}}}", passwords);
    put("/weft-system:system/settings", json);
}

/* A password that has ended logs in, for one thing alone. */
static void test_a_password_ends(void **state) {
    (void)state;
    char more[200], changed[TIME_TEXT_MAX];
    struct buf notice = BUF_INIT;
    put("/weft-system:system/role=r",
        "{\"weft-system:role\":[{\"name\":\"r\",\"right\":[{\"path\":\"/\",\"access\":"
        "\"read write exec\"}]}]}");
    settings("\"max-age\":30,\"warn-before\":7");
    snprintf(more, sizeof more, ",\"role\":[\"r\"],\"password-changed\":\"%s\"",
             time_format(clock_wall_s(&fake), 0, changed));
    put_user("gil", "secret-1", more);
    assert_int_equal(rights_password(core, "gil", "secret-1", "h", &who, &err), ERR_OK);
    assert_false(due());
    assert_true(may(RIGHT_READ, "/weft-apm:apm"));
    rights_notice(core, &who, &notice);
    assert_int_equal(notice.len, 0);
    clock_fake_advance(&fake, 25 * 86400 * NS_PER_S);
    rights_notice(core, &who, &notice);
    assert_non_null(strstr(buf_cstr(&notice), "the password of gil ends at"));
    buf_clear(&notice);
    clock_fake_advance(&fake, 5 * 86400 * NS_PER_S);
    assert_false(due()); /* who is in stays in */
    for (int cached = 0; cached < 2; cached++) {
        assert_int_equal(rights_password(core, "gil", "secret-1", "h", &who, &err), ERR_OK);
        assert_true(due());
    }
    rights_notice(core, &who, &notice);
    assert_non_null(strstr(buf_cstr(&notice), "the password of gil has ended"));
    buf_free(&notice);
    assert_false(may(RIGHT_READ, "/weft-apm:apm"));
    assert_false(may(RIGHT_EXEC, "/weft-system:backup"));
    assert_true(may(RIGHT_EXEC, RIGHTS_OWN_PASSWORD));
    struct snap *s = core_snapshot(core);
    assert_false(rights_allow_below(s, &who, RIGHT_READ, "/"));
    assert_false(rights_allow_operation(s, &who, "/ietf-netconf:get"));
    assert_int_equal(rights_check(s, &who, RIGHT_READ, "/weft-apm:apm", &err), ERR_DENIED);
    assert_non_null(strstr(err.text, "has ended"));
    snap_release(s);
    /* Another one, and the rights are back, in the same login too. */
    snprintf(more, sizeof more, ",\"role\":[\"r\"],\"password-changed\":\"%s\"",
             time_format(clock_wall_s(&fake), 0, changed));
    put_user("gil", "secret-2", more);
    assert_false(due());
    assert_true(may(RIGHT_READ, "/weft-apm:apm"));
    put_user("gil", "secret-3", ",\"role\":[\"r\"],\"password-must-change\":true");
    assert_int_equal(rights_password(core, "gil", "secret-3", "h", &who, &err), ERR_OK);
    assert_true(due());
    settings("");
    put_user("gil", "secret-3",
             ",\"role\":[\"r\"]"); /* an age that nobody knows, without a limit */
    assert_int_equal(rights_password(core, "gil", "secret-3", "h", &who, &err), ERR_OK);
    assert_false(due());
}

/* A user who ends by date is out, whatever with. */
static void test_a_user_ends(void **state) {
    (void)state;
    char more[100], text[TIME_TEXT_MAX];
    snprintf(more, sizeof more, ",\"expires\":\"%s\"",
             time_format(clock_wall_s(&fake) + 60, 0, text));
    put_user("hal", "secret-1", more);
    assert_int_equal(rights_password(core, "hal", "secret-1", "h", &who, &err), ERR_OK);
    assert_true(stands());
    assert_true(rights_password_cached(core, "hal", "secret-1"));
    struct actor by_certificate;
    assert_int_equal(rights_certificate(core, "hal", "h", &by_certificate, &err), ERR_OK);
    clock_fake_advance(&fake, 61 * NS_PER_S);
    assert_false(stands());
    assert_false(rights_password_cached(core, "hal", "secret-1"));
    assert_int_equal(rights_password(core, "hal", "secret-1", "h", &who, &err), ERR_AUTH);
    assert_int_equal(rights_certificate(core, "hal", "h", &who, &err), ERR_AUTH);
    /* And so is a login by a certificate when that ends. */
    put_user("hal", "secret-1", "");
    assert_int_equal(rights_certificate(core, "hal", "h", &who, &err), ERR_OK);
    who.ends_s = clock_wall_s(&fake) + 60;
    assert_true(stands());
    clock_fake_advance(&fake, 60 * NS_PER_S);
    assert_false(stands());
}

static void test_one_sentence_for_every_reason(void **state) {
    (void)state;
    struct err unknown, wrong, none;
    put_user("bea", "secret-1", "");
    put_user("cleo", NULL, "");
    assert_int_equal(rights_password(core, "nobody", "x", "h", &who, &unknown), ERR_AUTH);
    assert_int_equal(rights_password(core, "bea", "x", "h", &who, &wrong), ERR_AUTH);
    assert_int_equal(rights_password(core, "cleo", "x", "h", &who, &none), ERR_AUTH);
    assert_string_equal(unknown.text, wrong.text);
    assert_string_equal(unknown.text, none.text);
    assert_int_equal(rights_password(core, "bea", "", "h", &who, &err), ERR_AUTH);
}

static void test_failures_are_limited(void **state) {
    (void)state;
    put_user("dan", "secret-1", "");
    assert_int_equal(rights_password(core, "dan", "secret-1", "h", &who, &err), ERR_OK);
    for (int i = 0; i < RIGHTS_FAILURES_MAX; i++) {
        assert_int_equal(rights_password(core, "dan", "guess", "h", &who, &err), ERR_AUTH);
    }
    assert_int_equal(rights_password(core, "dan", "guess", "h", &who, &err), ERR_AUTH);
    assert_non_null(strstr(err.text, "too many"));
    /* who is known by the cache goes on */
    assert_int_equal(rights_password(core, "dan", "secret-1", "h", &who, &err), ERR_OK);
    clock_fake_advance(&fake, 61 * NS_PER_S);
    assert_int_equal(rights_password(core, "dan", "guess", "h", &who, &err), ERR_AUTH);
    assert_null(strstr(err.text, "too many"));
}

static enum err_code guess(const char *user, const char *source) {
    return rights_password(core, user, "guess", source, &who, &err);
}

/* A stranger who guesses is kept from guessing, and doesn't keep out who the user is. */
static void test_failures_are_of_an_address(void **state) {
    (void)state;
    put_user("fay", "secret-1", "");
    char source[64];
    for (int i = 0; i < 30; i++) {
        snprintf(source, sizeof source, "%s 192.0.2.7:%d", i % 2 ? "restconf" : "cli", 4000 + i);
        assert_int_equal(guess("fay", source), ERR_AUTH);
        assert_true((strstr(err.text, "too many") != NULL) == (i >= RIGHTS_FAILURES_MAX));
    }
    for (int i = 0; i < 30; i++) {
        snprintf(source, sizeof source, "cli [2001:db8:0:7::%x]:%d", i, 4000 + i);
        assert_int_equal(guess("fay", source), ERR_AUTH);
        assert_true((strstr(err.text, "too many") != NULL) == (i >= RIGHTS_FAILURES_MAX));
    }
    assert_int_equal(guess("fay", "cli [2001:db8:0:8::1]:1"), ERR_AUTH);
    assert_null(strstr(err.text, "too many"));
    assert_int_equal(rights_password(core, "fay", "secret-1", "cli 192.0.2.8:1", &who, &err),
                     ERR_OK);
    clock_fake_advance(&fake, 61 * NS_PER_S);
    int early = 0;
    for (int i = 0; i < RIGHTS_FAILURES_ALL_MAX; i++) { /* many of them together */
        snprintf(source, sizeof source, "cli 198.51.100.%d:1", i);
        assert_int_equal(guess("fay", source), ERR_AUTH);
        early += strstr(err.text, "too many") != NULL;
    }
    assert_true(early <= 4); /* an address may share the place where all of them are counted */
    assert_int_equal(guess("fay", "cli 203.0.113.1:1"), ERR_AUTH);
    assert_non_null(strstr(err.text, "too many"));
}

static void test_tokens(void **state) {
    (void)state;
    struct rights_token_text t;
    char path[128], json[512], other[128];
    rights_token_new(&t);
    put_user("eve", NULL, "");
    snprintf(path, sizeof path, "/weft-system:system/token=%s", t.id);
    snprintf(json, sizeof json,
             "{\"weft-system:token\":[{\"id\":\"%s\",\"user\":\"eve\",\"hash\":\"%s\"}]}", t.id,
             t.hash);
    put(path, json);
    assert_int_equal(rights_token(core, t.token, "h", &who, &err), ERR_OK);
    assert_string_equal(who.user, "eve");
    snprintf(other, sizeof other, "%s", t.token);
    other[strlen(other) - 1] ^= 1;
    assert_int_equal(rights_token(core, other, "h", &who, &err), ERR_AUTH);
    static const char *const bad[] = {"", "wt_", "wt_.", "wt_x", "wt_../../x.y", "x.y"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(rights_token(core, bad[i], "h", &who, &err), ERR_AUTH);
    }
    snprintf(json, sizeof json,
             "{\"weft-system:token\":[{\"id\":\"%s\",\"user\":\"eve\",\"hash\":\"%s\","
             "\"expires\":\"2026-01-01T01:00:00Z\"}]}",
             t.id, t.hash);
    put(path, json);
    assert_int_equal(rights_token(core, t.token, "h", &who, &err), ERR_OK);
    clock_fake_advance(&fake, 7200 * NS_PER_S);
    assert_int_equal(rights_token(core, t.token, "h", &who, &err), ERR_AUTH);
    assert_int_equal(rights_certificate(core, "eve", "h", &who, &err), ERR_OK);
    assert_int_equal(rights_certificate(core, "frank", "h", &who, &err), ERR_AUTH);
    assert_int_equal(rights_certificate(core, "", "h", &who, &err), ERR_AUTH);
}

static void test_local(void **state) {
    (void)state;
    assert_int_equal(rights_local(core, (uint32_t)geteuid(), "h", &who, &err), ERR_OK);
    assert_true(who.superuser);
    assert_int_equal(rights_local(core, 0, "h", &who, &err), ERR_OK);
    assert_true(who.superuser);
    assert_int_equal(rights_local(core, 54321, "h", &who, &err), ERR_AUTH);
    assert_int_equal(rights_local(core, 1, "h", &who, &err), ERR_AUTH); /* daemon, not of ours */
    put_user("daemon", NULL, "");
    assert_int_equal(rights_local(core, 1, "h", &who, &err), ERR_AUTH); /* not local */
    put_user("daemon", NULL, ",\"local\":true");
    assert_int_equal(rights_local(core, 1, "h", &who, &err), ERR_OK);
    assert_string_equal(who.user, "daemon");
    assert_false(who.superuser);
}

#define P "/weft-apm:apm/inet-pool/partition"

static void test_rights(void **state) {
    (void)state;
    put("/weft-system:system/role=r1", "{\"weft-system:role\":[{\"name\":\"r1\",\"right\":["
                                       "{\"path\":\"/weft-apm:apm\",\"access\":\"read\"},"
                                       "{\"path\":\"" P "=a\",\"access\":\"read write\"},"
                                       "{\"path\":\"" P "=secret\",\"access\":\"\"}]}]}");
    put("/weft-system:system/role=r2", "{\"weft-system:role\":[{\"name\":\"r2\",\"right\":["
                                       "{\"path\":\"" P "\",\"access\":\"write\"},"
                                       "{\"path\":\"/weft-apm:drain\",\"access\":\"exec\"}]}]}");
    put_user("one", NULL, ",\"role\":[\"r1\"]");
    put_user("two", NULL, ",\"role\":[\"r1\",\"r2\"]");
    struct actor one = {.user = "one"}, two = {.user = "two"}, ghost = {.user = "ghost"};
    struct snap *s = core_snapshot(core);
    assert_true(rights_allow(s, &one, RIGHT_READ, P "=x"));
    assert_true(rights_allow(s, &one, RIGHT_READ, P));
    assert_true(rights_allow(s, &one, RIGHT_READ, "/weft-apm:apm"));
    assert_false(rights_allow(s, &one, RIGHT_READ, "/weft-apm:apmx"));
    assert_false(rights_allow(s, &one, RIGHT_READ, "/"));
    assert_true(rights_allow_below(s, &one, RIGHT_READ, "/"));
    assert_false(rights_allow_below(s, &one, RIGHT_READ, "/weft-system:system"));
    assert_true(rights_allow(s, &one, RIGHT_WRITE, P "=a"));
    assert_true(rights_allow(s, &one, RIGHT_WRITE, P "=a/prefix"));
    assert_false(rights_allow(s, &one, RIGHT_WRITE, P "=ab"));
    assert_false(rights_allow(s, &one, RIGHT_WRITE, P "=a=b"));
    assert_false(rights_allow(s, &one, RIGHT_READ, P "=secret"));
    assert_false(rights_allow(s, &one, RIGHT_EXEC, "/weft-apm:drain"));
    /* roles add up */
    assert_true(rights_allow(s, &two, RIGHT_WRITE, P "=secret"));
    assert_false(rights_allow(s, &two, RIGHT_READ, P "=secret"));
    assert_true(rights_allow(s, &two, RIGHT_EXEC, "/weft-apm:drain"));
    assert_false(rights_allow(s, &ghost, RIGHT_READ, P));
    assert_true(rights_allow(s, &actor_system, RIGHT_WRITE, "/"));
    assert_int_equal(rights_check(s, &one, RIGHT_WRITE, P "=x", &err), ERR_DENIED);
    assert_string_equal(err.path, P "=x");
    snap_release(s);
}

/* "/weft-apm:" is a whole module, what it allows and what it denies. */
static void test_rights_on_modules(void **state) {
    (void)state;
    put("/weft-system:system/role=r3", "{\"weft-system:role\":[{\"name\":\"r3\",\"right\":["
                                       "{\"path\":\"/\",\"access\":\"read write\"},"
                                       "{\"path\":\"/weft-system:\",\"access\":\"\"},"
                                       "{\"path\":\"/weft-apm:\",\"access\":\"exec\"},"
                                       "{\"path\":\"/weft-apm:apm\",\"access\":\"read\"}]}]}");
    put_user("three", NULL, ",\"role\":[\"r3\"]");
    struct actor three = {.user = "three"};
    struct snap *s = core_snapshot(core);
    assert_true(rights_allow(s, &three, RIGHT_READ, "/"));
    assert_true(rights_allow(s, &three, RIGHT_READ, "/weft-other:x"));
    assert_false(rights_allow(s, &three, RIGHT_READ, "/weft-system:system"));
    assert_false(rights_allow(s, &three, RIGHT_WRITE, "/weft-system:system/role=r3"));
    assert_false(rights_allow(s, &three, RIGHT_EXEC, "/weft-system:password"));
    assert_true(rights_allow(s, &three, RIGHT_EXEC, "/weft-apm:drain"));
    assert_false(rights_allow(s, &three, RIGHT_READ, "/weft-apm:drain"));
    assert_true(rights_allow(s, &three, RIGHT_READ, P "=a")); /* the longer one */
    assert_false(rights_allow(s, &three, RIGHT_WRITE, P "=a"));
    snap_release(s);
}

static int open_all(void **state) {
    (void)state;
    struct err e;
    char store[128];
    assert_non_null(mkdtemp(folder));
    snprintf(store, sizeof store, "sqlite:%s/log.db", folder);
    clock_fake_init(&fake, INT64_C(1767225600) * NS_PER_S); /* 2026-01-01 */
    assert_int_equal(model_load(&model, &e), ERR_OK);
    struct core_options o = {.store = store, .clock = &fake, .model = model};
    if (core_open(&o, &core, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    core_close(core);
    model_free(model);
    static const char *const files[] = {"log.db", "log.db-wal", "log.db-shm", "log.db-journal"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_one_sentence_for_every_reason),
        cmocka_unit_test(test_failures_are_limited),
        cmocka_unit_test(test_failures_are_of_an_address),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_rights_on_modules),
        cmocka_unit_test(test_a_password_ends),
        cmocka_unit_test(test_a_user_ends),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
