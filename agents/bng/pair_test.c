// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "bng/keawire.h"

static struct pair_member member(enum pair_state s, uint64_t has) {
    return (struct pair_member){.answers = true,
                                .fenced = true,
                                .serves = s == PAIR_LOAD_BALANCING || s == PAIR_PARTNER_DOWN,
                                .in_line = true,
                                .state = s,
                                .has = has};
}

static void one_server(void **state) {
    struct pair_member m[1] = {{.answers = true, .serves = true, .has = 7}};
    int64_t used[] = {3};
    assert_int_equal(pair_added(m, 1), 7);
    assert_int_equal(pair_taken(m, 1), 7);
    assert_int_equal(pair_used(m, 1, used), 3);
    assert_int_equal(pair_turn(m, 1, 0, true), PAIR_GO);
    assert_string_equal(pair_word(m, 1), "complete");
    m[0].answers = false;
    assert_int_equal(pair_added(m, 1), 0);
    assert_int_equal(pair_taken(m, 1), 7); /* what it has had it has */
    assert_false(pair_aside(m, 1, 0));
    assert_int_equal(pair_used(m, 1, used), -1);
}

/* Nothing is done before both have it, and one that is away is waited for or stands aside
 */
static void growing_and_shrinking(void **state) {
    struct pair_member m[2] = {member(PAIR_LOAD_BALANCING, 9), member(PAIR_LOAD_BALANCING, 5)};
    assert_int_equal(pair_added(m, 2), 5);
    assert_int_equal(pair_taken(m, 2), 5);
    /* Away: growth goes on; nothing is given back, it may serve. */
    m[1].answers = false;
    assert_int_equal(pair_added(m, 2), 9);
    assert_int_equal(pair_taken(m, 2), 5);
    m[0].state = PAIR_PARTNER_DOWN; /* its partner may be wrong: it can't be reached */
    assert_int_equal(pair_taken(m, 2), 5);
    m[1].trusts = true; /* an operator who knows better */
    assert_int_equal(pair_taken(m, 2), 9);
    m[0].state = PAIR_COMMUNICATION_RECOVERY;
    assert_int_equal(pair_taken(m, 2), 5);
    m[1].trusts = false;
    /* It does not run, and it can't come back unseen. */
    m[1].down = true;
    assert_true(pair_aside(m, 2, 1));
    assert_int_equal(pair_taken(m, 2), 9);
    m[1].fenced = false;
    assert_int_equal(pair_taken(m, 2), 5);
    m[1].fenced = true;
    /* Back, and not compared yet: nothing at all is certain. */
    m[1] = member(PAIR_WAITING, 0);
    assert_int_equal(pair_added(m, 2), 0);
    assert_int_equal(pair_taken(m, 2), 0);
    m[1].has = 9;
    assert_int_equal(pair_added(m, 2), 9);
    assert_int_equal(pair_taken(m, 2), 9);
    /* Both away: nothing happens, and what was is not forgotten. */
    m[0].answers = m[1].answers = false;
    assert_int_equal(pair_added(m, 2), 0);
    assert_int_equal(pair_taken(m, 2), 9);
    assert_false(pair_aside(m, 2, 0));
    m[0].down = m[1].down = true;
    assert_int_equal(pair_added(m, 2), 0);
    assert_int_equal(pair_taken(m, 2), 0);
}

static void counting(void **state) {
    struct pair_member m[2] = {member(PAIR_LOAD_BALANCING, 9), member(PAIR_LOAD_BALANCING, 9)};
    int64_t used[2] = {12, 13};
    assert_int_equal(pair_used(m, 2, used), 13); /* both know all: nothing is added up */
    used[1] = -1;
    assert_int_equal(pair_used(m, 2, used),
                     -1); /* it serves and was not counted since its change */
    /* A standby counts only in so far as a pool is not empty while it has a lease in it. */
    m[1].serves = false;
    assert_int_equal(pair_used(m, 2, used), 12);
    used[1] = 20;
    assert_int_equal(pair_used(m, 2, used), 12);
    used[0] = 0;
    assert_int_equal(pair_used(m, 2, used), 20);
    m[1].answers = false;
    assert_int_equal(pair_used(m, 2, used), 0);
}

static void turns(void **state) {
    struct pair_member m[2] = {member(PAIR_HOT_STANDBY, 9), member(PAIR_HOT_STANDBY, 9)};
    m[0].primary = m[0].serves = true;
    /* The standby at once and first; then it takes over for the primary. */
    m[1].in_line = false;
    assert_int_equal(pair_turn(m, 2, 1, true), PAIR_GO);
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_WAIT);
    assert_int_equal(pair_turn(m, 2, 0, false), PAIR_WAIT);
    m[1].in_line = true;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_TAKE_OVER);
    m[0].state = PAIR_IN_MAINTENANCE;
    m[0].serves = false;
    m[1].state = PAIR_PARTNER_IN_MAINTENANCE;
    m[1].serves = true;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_GO);
    assert_int_equal(pair_turn(m, 2, 1, true), PAIR_WAIT);
    assert_string_equal(pair_word(m, 2), "one server serves");
    /* Its partner is still coming up: it waits, but not for ever. */
    m[0] = member(PAIR_PARTNER_DOWN, 9);
    m[0].primary = true;
    m[1] = member(PAIR_SYNCING, 9);
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_WAIT);
    assert_int_equal(pair_turn(m, 2, 0, false), PAIR_GO);
    assert_int_equal(pair_turn(m, 2, 1, true), PAIR_GO);
    m[1].answers = false;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_GO);
    m[0].state = PAIR_HOT_STANDBY; /* it will soon see that its partner is down */
    m[0].serves = true;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_WAIT);
    assert_int_equal(pair_turn(m, 2, 0, false), PAIR_GO);
    assert_string_equal(pair_word(m, 2), "one server is away");
    m[0] = member(PAIR_WAITING, 0); /* not compared since it started */
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_GO);
    m[0].has = 9; /* it goes on with that first */
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_WAIT);
    assert_int_equal(pair_turn(m, 2, 0, false), PAIR_GO);
    m[1].answers = true;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_GO);
    /* Load balancing: the secondary first, the primary takes over though it is behind. */
    m[0] = m[1] = member(PAIR_LOAD_BALANCING, 9);
    m[0].primary = true;
    m[0].in_line = m[1].in_line = false;
    assert_int_equal(pair_turn(m, 2, 0, true), PAIR_WAIT);
    assert_int_equal(pair_turn(m, 2, 1, true), PAIR_TAKE_OVER);
}

static void the_wire(void **state) {
    struct bng_kea_server here = {.socket = "/s"}, far = {.host = "::1", .port = 8000};
    char why[200];
    assert_true(keawire_down(&here, "Connection refused"));
    assert_true(keawire_down(&here, "No such file or directory"));
    assert_false(keawire_down(&here, "no answer in time"));
    assert_false(keawire_down(&far, "Connection refused")); /* of the control agent's host */
    assert_true(keawire_down(&far, "unable to forward command to the dhcp4 service: Connection "
                                   "refused. The server is likely to be offline"));
    assert_false(keawire_down(&far, "unable to forward command to the dhcp4 service: timed out"));
    char *q = keawire_request(&here, 4, "status-get", NULL);
    assert_string_equal(q, "{\"command\":\"status-get\"}");
    mem_free(q);
    q = keawire_request(&far, 6, "a", json_pack("{s:i}", "n", 1));
    const char *body = strstr(q, "\r\n\r\n");
    assert_non_null(body);
    assert_non_null(strstr(q, "Host: [::1]:8000\r\n"));
    char length[40];
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body + 4));
    assert_non_null(strstr(q, length));
    json_t *sent = json_loads(body + 4, 0, NULL);
    assert_string_equal(json_string_value(json_array_get(json_object_get(sent, "service"), 0)),
                        "dhcp6");
    json_decref(sent);
    mem_free(q);
    static const struct {
        bool far;
        const char *bytes, *why; /* NULL: good */
    } v[] = {
        {false, "{\"result\":0}", NULL},
        {false, "{\"result\":", "no JSON"},
        {true, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n[{\"result\":0}]", NULL},
        {true, "HTTP/1.1 200 OK\r\n\r\n[]", "no server"},
        {true,
         "HTTP/1.1 200 OK\r\n\r\n[{\"result\":1,\"text\":\"unable to forward command to x\"}]",
         "unable to forward"},
        {true, "HTTP/1.1 200 OK\r\n\r\n[{\"result\":", "no JSON"},
        {true, "HTTP/1.1 200 OK\r\n\r\n", "no JSON"},
        {true, "HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n{}", "401 Unauthorized"},
        {true, "{\"result\":0}", "no HTTP"},
        {true, "", "no HTTP"},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        size_t n = strlen(v[i].bytes);
        uint8_t *p = mem_alloc(n + 1); /* of just that length: nothing is read behind it */
        memcpy(p, v[i].bytes, n);
        json_t *a = keawire_answer(v[i].far ? &far : &here, p, n, why, sizeof why);
        if ((a != NULL) != (v[i].why == NULL) || (a == NULL && strstr(why, v[i].why) == NULL)) {
            fail_msg("%zu: %s", i, a != NULL ? "taken" : why);
        }
        json_decref(a);
        mem_free(p);
    }
}

static void high_availability(void **state) {
    json_t *s = json_loads(
        "{\"high-availability\":[{\"ha-mode\":\"hot-standby\",\"ha-servers\":{\"local\":{\"role\":"
        "\"primary\",\"scopes\":[\"k1\"],\"state\":\"partner-down\"}}}]}",
        0, NULL);
    struct pair_member m = {0};
    assert_true(keawire_ha(s, &m));
    assert_true(m.primary && m.serves && m.state == PAIR_PARTNER_DOWN);
    json_t *ha = json_array_get(json_object_get(s, "high-availability"), 0);
    json_object_set_new(ha, "ha-mode", json_string("passive-backup"));
    assert_false(keawire_ha(s, &m));
    json_decref(s);
    assert_false(keawire_ha(NULL, &m));
    assert_int_equal(m.state, PAIR_NONE);
    assert_int_equal(pair_state_of("what"), PAIR_OTHER);
    static const char *const with =
        "{\"Dhcp6\":{\"hooks-libraries\":[{\"library\":\"a\"},{\"library\":\"h\",\"parameters\":{"
        "\"high-availability\":[{\"state-machine\":{\"states\":[{\"state\":\"waiting\",\"pause\":"
        "\"always\"}]}}]}}]}}";
    json_t *c = json_loads(with, 0, NULL);
    assert_non_null(c);
    assert_true(keawire_fenced(c));
    json_decref(c);
    char *once = mem_strdup(with);
    memcpy(strstr(once, "always"), "single", 6); /* a restart is not held up for sure */
    c = json_loads(once, 0, NULL);
    assert_non_null(c);
    assert_false(keawire_fenced(c));
    json_decref(c);
    mem_free(once);
    assert_false(keawire_fenced(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server), cmocka_unit_test(growing_and_shrinking),
        cmocka_unit_test(counting),   cmocka_unit_test(turns),
        cmocka_unit_test(the_wire),   cmocka_unit_test(high_availability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
