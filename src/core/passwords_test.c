// SPDX-License-Identifier: Apache-2.0
/* Rules for passwords, on configurations of their own. */
#include <jansson.h>
#include <stdlib.h>

#include "core/passwords.h"
#include "core/testing.h"

#define NOW INT64_C(1800000000)

static void put(const char *path, const char *json) {
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
    testing_must(ch);
}

static void rules(const char *json) {
    char all[200];
    snprintf(all, sizeof all, "{\"weft-system:settings\":{\"passwords\":{%s}}}", json);
    put("/weft-system:system/settings", all);
}

static enum err_code check(const char *password, struct err *e) {
    struct snap *s = core_snapshot(testing.core);
    enum err_code rc = password_check(s, "olga", password, NOW, e);
    snap_release(s);
    return rc;
}

static void length_and_kinds(void **state) {
    struct err e;
    assert_int_equal(check("1234567", &e), ERR_INVALID);
    assert_int_equal(check("12345678", &e), ERR_OK);
    rules("\"min-length\":10,\"min-classes\":3");
    assert_int_equal(check("Abcdefgh1", &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "at least 10 characters"));
    assert_int_equal(check("Abcdefghi1", &e), ERR_OK);
    assert_int_equal(check("abcdefghi1", &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "at least 3 kinds"));
    assert_int_equal(check("abcdefghi 1", &e), ERR_OK); /* others count as a kind */
    assert_int_equal(check("Ab1\xc3\xa4\xc3\xa4\xc3\xa4", &e), ERR_INVALID); /* six characters */
    rules("\"min-length\":8");
    struct snap *s = core_snapshot(testing.core);
    assert_int_equal(password_check(s, "LongName", "longname", NOW, &e), ERR_INVALID);
    snap_release(s);
}

/* What retire leaves is what check then refuses. */
static void former_ones(void **state) {
    static const char *const words[] = {"first one", "second one", "third one", "fourth one"};
    struct err e;
    json_t *user = json_pack("{s:s}", "name", "olga");
    rules("\"former\":2");
    for (size_t i = 0; i < 4; i++) {
        char *hash = rights_hash(words[i]);
        struct snap *s = core_snapshot(testing.core);
        password_retire(s, user);
        snap_release(s);
        json_object_set_new(user, "password-hash", json_string(hash));
        mem_free(hash);
    }
    json_t *list = json_pack("{s:[O]}", "weft-system:user", user);
    char *json = json_dumps(list, 0);
    put("/weft-system:system/user=olga", json);
    free(json);
    json_decref(list);
    assert_int_equal(check(words[3], &e), ERR_INVALID); /* the one at hand */
    assert_int_equal(check(words[2], &e), ERR_INVALID);
    assert_int_equal(check(words[1], &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "one of the 2 before it"));
    assert_int_equal(check(words[0], &e), ERR_OK);
    rules("\"former\":0");
    assert_int_equal(check(words[3], &e), ERR_OK);
    struct snap *s = core_snapshot(testing.core);
    password_retire(s, user);
    snap_release(s);
    assert_null(json_object_get(user, "former-password-hashes"));
    json_decref(user);
}

/* When it ends, and that the one which has ended is not taken again. */
static void ends(void **state) {
    struct err e;
    char json[600], changed[TIME_TEXT_MAX], *hash = rights_hash("first one");
    int64_t warn_s;
    struct snap *s = core_snapshot(testing.core);
    assert_true(password_ends(s, "ines", &warn_s) == INT64_MAX); /* no such user */
    snap_release(s);
    rules("\"max-age\":10,\"warn-before\":2");
    for (int i = 0; i < 3; i++) {
        snprintf(json, sizeof json,
                 "{\"weft-system:user\":[{\"name\":\"ines\",\"password-hash\":\"%s\"%s%s%s%s}]}",
                 hash, i > 0 ? ",\"password-changed\":\"" : "",
                 i > 0 ? time_format(NOW - 10 * 86400 + 1, 0, changed) : "", i > 0 ? "\"" : "",
                 i > 1 ? ",\"password-must-change\":true" : "");
        put("/weft-system:system/user=ines", json);
        s = core_snapshot(testing.core);
        assert_true(password_ends(s, "ines", &warn_s) == (i == 1 ? NOW + 1 : 0));
        assert_int_equal(warn_s, 2 * 86400);
        assert_int_equal(password_check(s, "ines", "first one", NOW, &e),
                         i == 1 ? ERR_OK : ERR_INVALID);
        assert_int_equal(password_check(s, "ines", "first one", NOW + 1, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, "has ended"));
        assert_int_equal(password_check(s, "ines", "second one", NOW + 1, &e), ERR_OK);
        snap_release(s);
    }
    mem_free(hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(length_and_kinds, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(former_ones, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(ends, testing_setup, testing_teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_last();
    return failed;
}
