// SPDX-License-Identifier: Apache-2.0
/* Credentials have no history: whatever way leads back to a former configuration, what was ended
 * stays ended, and what was made since stays good. */
#include "core/testing.h"

#include <jansson.h>

#include "core/candidate.h"
#include "core/rights.h"

#define USERS "/weft-system:system/user"

static void restart(void) {
    testing_close();
    testing_open();
}

static void edit(enum edit_op op, const char *path, const char *body) {
    struct change *ch = change_new(&actor_system);
    change_add(ch, op, path, body, body != NULL ? strlen(body) : 0, FORMAT_JSON);
    testing_must(ch);
}

/* `more`: members of the user, such as ",\"full-name\":\"X\"". */
static void put_user(const char *name, const char *more) {
    char path[128], body[512];
    snprintf(path, sizeof path, USERS "=%s", name);
    snprintf(body, sizeof body, "{\"weft-system:user\":[{\"name\":\"%s\"%s}]}", name, more);
    edit(EDIT_MERGE, path, body);
}

static void set_password(const char *user, const char *password) {
    char *hash = rights_hash(password), more[400];
    snprintf(more, sizeof more, ",\"password-hash\":\"%s\"", hash);
    put_user(user, more);
    mem_free(hash);
}

static bool lets_in(const char *user, const char *password) {
    struct actor who;
    struct err e;
    return rights_password(testing.core, user, password, "here", &who, &e) == ERR_OK;
}

struct token {
    char id[65], text[200];
};

static struct token make_token(const char *user) {
    char body[100];
    struct token t = {0};
    snprintf(body, sizeof body, "{\"user\":\"%s\"}", user);
    struct call *cl = testing_call(&actor_system, system_token_create_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    json_t *j = json_loads(buf_cstr(&cl->json), 0, NULL);
    snprintf(t.id, sizeof t.id, "%s", json_string_value(json_object_get(j, "id")));
    snprintf(t.text, sizeof t.text, "%s", json_string_value(json_object_get(j, "token")));
    json_decref(j);
    call_free(cl);
    return t;
}

static void revoke(const struct token *t) {
    char body[100];
    snprintf(body, sizeof body, "{\"id\":\"%s\"}", t->id);
    struct call *cl = testing_call(&actor_system, system_token_revoke_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
}

static bool good(const struct token *t) {
    struct actor who;
    struct err e;
    return rights_token(testing.core, t->text, "here", &who, &e) == ERR_OK;
}

static const char key_data[] = "AAAAC3NzaC1lZDI1NTE5AAAAIKey";

static void put_key(const char *user) {
    char more[200];
    snprintf(more, sizeof more,
             ",\"authorized-key\":[{\"name\":\"k\",\"algorithm\":\"ssh-ed25519\",\"key-data\":"
             "\"%s\"}]",
             key_data);
    put_user(user, more);
}

static bool key_lets_in(const char *user) {
    return rights_key_known(testing.core, user, "ssh-ed25519", key_data);
}

/* `rollback n` and `commit`; what was said goes to `said`. */
static enum err_code go_back(unsigned n, char said[1000]) {
    struct candidates *cs = candidates_new(testing.core);
    struct candidate *c = candidate_private(cs);
    struct change *ch = change_new(&actor_system);
    struct snap *sent = NULL;
    struct buf b = BUF_INIT;
    struct err e;
    if (candidate_rollback(c, &actor_system, n, &b, &e) != ERR_OK ||
        candidate_change(c, ch, &sent, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    snprintf(said, 1000, "%s", buf_cstr(&b));
    buf_free(&b);
    enum err_code rc = testing_run(ch);
    candidate_committed(c, sent);
    change_free(ch);
    candidate_release(c);
    candidates_free(cs);
    return rc;
}

static const struct system_user *user(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, USERS "=%s", name);
    struct snap *s = core_snapshot(testing.core);
    const struct object *o = snap_get(s, path);
    snap_release(s); /* the core holds the same one until the next change */
    return o != NULL ? o->doc->data : NULL;
}

static void test_ended_stays_ended(void **state) {
    char said[1000];
    put_user("ann", ",\"full-name\":\"Ann\"");
    set_password("ann", "old-secret");
    put_key("ann");
    struct token old = make_token("ann");
    assert_true(lets_in("ann", "old-secret") && good(&old) && key_lets_in("ann"));
    put_user("ann", ",\"full-name\":\"Ann B\"");
    set_password("ann", "new-secret");
    edit(EDIT_DELETE, USERS "=ann/authorized-key=k", NULL);
    revoke(&old);
    struct token later = make_token("ann");
    assert_int_equal(go_back(5, said), ERR_OK);
    assert_string_equal(said, "");
    for (int again = 0; again < 2; again++) {
        assert_string_equal(user("ann")->full_name, "Ann");
        assert_false(lets_in("ann", "old-secret"));
        assert_true(lets_in("ann", "new-secret"));
        assert_false(key_lets_in("ann"));
        assert_false(good(&old));
        assert_true(good(&later));
        restart();
    }
}

static void test_disabled_stays_disabled(void **state) {
    char said[1000];
    put_user("ann", "");
    set_password("ann", "secret-1");
    put_user("ann", ",\"full-name\":\"Ann\",\"disabled\":true");
    assert_int_equal(go_back(1, said), ERR_OK);
    assert_null(user("ann")->full_name);
    assert_true(user("ann")->disabled);
    assert_false(lets_in("ann", "secret-1"));
}

static void test_who_comes_back_is_locked(void **state) {
    char said[1000];
    put_user("ann", ",\"full-name\":\"Ann\"");
    set_password("ann", "secret-1");
    put_key("ann");
    put_user("bob", "");
    struct token t = make_token("ann");
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_DELETE, "/weft-system:system/token", NULL, 0, FORMAT_JSON);
    change_add(ch, EDIT_DELETE, USERS, NULL, 0, FORMAT_JSON);
    testing_must(ch);
    assert_int_equal(go_back(1, said), ERR_OK);
    assert_string_equal(said,
                        USERS "=ann comes back without password-hash, former-password-hashes, "
                              "password-changed, password-must-change, authorized-key, expires; "
                              "disabled is true\n" USERS
                              "=bob comes back without password-hash, former-password-hashes, "
                              "password-changed, password-must-change, authorized-key, expires; "
                              "disabled is true\n");
    for (int again = 0; again < 2; again++) {
        const struct system_user *u = user("ann");
        assert_string_equal(u->full_name, "Ann");
        assert_true(u->disabled && u->password_hash == NULL && u->n_authorized_key == 0);
        struct actor who;
        struct err e;
        assert_int_equal(rights_certificate(testing.core, "ann", "here", &who, &e), ERR_AUTH);
        assert_false(good(&t));
        restart();
    }
    set_password("ann", "secret-2");
    assert_false(lets_in("ann", "secret-2"));
    edit(EDIT_DELETE, USERS "=ann/disabled", NULL);
    assert_true(lets_in("ann", "secret-2"));
    assert_false(lets_in("ann", "secret-1"));
}

/* A token goes with the user of whom it is, and with nothing else. */
static void test_tokens_of_one_who_goes(void **state) {
    char said[1000];
    put_user("ann", "");
    put_user("bob", "");
    struct token anns = make_token("ann"), bobs = make_token("bob");
    assert_int_equal(go_back(3, said), ERR_OK);
    assert_null(user("bob"));
    assert_true(good(&anns));
    assert_false(good(&bobs));
    put_user("bob", "");
    assert_false(good(&bobs));
}

static void confirmed(const char *path, enum edit_op op, const char *body) {
    struct change *ch = change_new(&actor_system);
    change_add(ch, op, path, body, body != NULL ? strlen(body) : 0, FORMAT_JSON);
    ch->confirm = CONFIRM_BY_PERSON;
    ch->confirm_s = 60;
    testing_must(ch);
}

static void test_taken_back(void **state) {
    put_user("ann", "");
    put_user("bob", "");
    set_password("ann", "old-secret");
    set_password("bob", "bobs-secret");
    struct token old = make_token("ann");
    confirmed(USERS "=ann/full-name", EDIT_MERGE, "{\"weft-system:full-name\":\"Ann\"}");
    confirmed(USERS "=bob", EDIT_DELETE, NULL);
    set_password("ann", "new-secret"); /* confirms it: a plain commit */
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    confirmed(USERS "=ann/full-name", EDIT_MERGE, "{\"weft-system:full-name\":\"Ann B\"}");
    revoke(&old); /* an operation confirms nothing */
    struct call *cl = testing_call(&actor_system, system_password_rpc,
                                   "{\"user\":\"ann\",\"password\":\"newer-secret\"}");
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
    restart();
    assert_string_equal(user("ann")->full_name, "Ann B");
    testing_advance(61 * NS_PER_S);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
        assert_string_equal(user("ann")->full_name, "Ann");
        assert_false(lets_in("ann", "old-secret") || lets_in("ann", "new-secret"));
        assert_true(lets_in("ann", "newer-secret"));
        assert_false(good(&old));
        restart();
    }
}

static void test_taken_back_is_told(void **state) {
    put_user("bob", "");
    set_password("bob", "bobs-secret");
    confirmed(USERS "=bob", EDIT_DELETE, NULL);
    testing_advance(61 * NS_PER_S);
    assert_true(user("bob")->disabled);
    assert_false(lets_in("bob", "bobs-secret"));
    struct call *cl = testing_call(&actor_system, system_show_audit_rpc, "{\"lines\":3}");
    assert_non_null(strstr(buf_cstr(&cl->text), "user=bob comes back without password-hash"));
    call_free(cl);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        T(test_ended_stays_ended),
        T(test_disabled_stays_disabled),
        T(test_who_comes_back_is_locked),
        T(test_tokens_of_one_who_goes),
        T(test_taken_back),
        T(test_taken_back_is_told),
    };
    int rc = cmocka_run_group_tests_name("going back", tests, NULL, NULL);
    testing_last();
    return rc;
}
