// SPDX-License-Identifier: Apache-2.0
/* What an event looks like, what is wanted, and what waits: kept over a restart, dropped and told
 * when it is too much, taken back with what it tells of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/system.h"
#include "forward/internal.h"
#include "log/vfs_power.h"

#define TARGETS "/weft-forward:event-forwarding/target"

/* ---- messages -------------------------------------------------------------------------------- */

static const struct message alarm_raised = {.id = 7,
                                            .previous = 5,
                                            .index = 99,
                                            .time_s = 1700000000,
                                            .name = "weft-apm:alarm-raised",
                                            .json = "{\"entity\":\"bng \\\"1\\\"\"}",
                                            .severity = FORWARD_SEVERITY_MAJOR};

static void as_json(void **state) {
    struct buf b = BUF_INIT;
    (void)state;
    message_json("ctl \"1\"", &alarm_raised, 1, &b);
    assert_string_equal(
        "{\"controller\":\"ctl \\\"1\\\"\",\"events\":[{\"id\":\"7\",\"previous\":\"5\","
        "\"log-index\":\"99\",\"time\":\"2023-11-14T22:13:20Z\",\"severity\":\"major\","
        "\"name\":\"weft-apm:alarm-raised\",\"data\":{\"entity\":\"bng \\\"1\\\"\"}}]}",
        buf_cstr(&b));
    buf_free(&b);
}

static void as_syslog(void **state) {
    struct buf b = BUF_INIT;
    char want[400];
    (void)state;
    message_syslog("ctl 1\n", 16, &alarm_raised, &b);
    snprintf(want, sizeof want,
             "<131>1 2023-11-14T22:13:20Z ctl?1? weftd %ld alarm-raised [weft@32473 id=\"7\" "
             "previous=\"5\" event=\"weft-apm:alarm-raised\" severity=\"major\"] \xEF\xBB\xBF%s",
             (long)getpid(), alarm_raised.json);
    assert_string_equal(want, buf_cstr(&b));
    buf_clear(&b);
    struct message bare = alarm_raised;
    bare.name = "x";
    message_syslog("", 0, &bare, &b);
    assert_non_null(strstr(buf_cstr(&b), "<3>1 2023-11-14T22:13:20Z - weftd "));
    buf_free(&b);
}

/* Reckoned by another program: printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a secret key'
 */
static void signature(void **state) {
    char got[72], other[72];
    (void)state;
    message_sign("a secret key", "1700000000", "{}", 2, got);
    assert_string_equal("sha256=0be11ac5c838cf092a62978431089be922b75df2d3c242729d24967ab76c686a",
                        got);
    message_sign("a secret kez", "1700000000", "{}", 2, other);
    assert_string_not_equal(got, other);
}

static void severities(void **state) {
    (void)state;
    assert_int_equal(FORWARD_SEVERITY_INFO, message_severity("weft-system:commit", "{}"));
    assert_int_equal(FORWARD_SEVERITY_MAJOR, message_severity("weft-apm:alarm-raised", "{}"));
    assert_int_equal(FORWARD_SEVERITY_CRITICAL,
                     message_severity("weft-system:store-unwritable", ""));
    assert_int_equal(FORWARD_SEVERITY_INFO,
                     message_severity("weft-job:job-ended", "{\"state\":\"done\"}"));
    assert_int_equal(FORWARD_SEVERITY_WARNING,
                     message_severity("weft-job:job-ended", "{\"state\":\"failed\"}"));
    assert_int_equal(FORWARD_SEVERITY_INFO, message_severity("weft-system:commit-status", "{}"));
    assert_int_equal(FORWARD_SEVERITY_WARNING,
                     message_severity("weft-system:commit-status", "{\"reason\":\"no\"}"));
    assert_int_equal(FORWARD_SEVERITY_INFO, message_severity("weft-job:job-ended", "no json"));
}

static void wanted(void **state) {
    static const char *const some[] = {"weft-apm:*", "weft-system:login"};
    struct forward_target t = {.min_severity = FORWARD_SEVERITY_WARNING};
    (void)state;
    assert_true(message_wanted(&t, "weft-x:y", FORWARD_SEVERITY_WARNING));
    assert_false(message_wanted(&t, "weft-x:y", FORWARD_SEVERITY_INFO));
    t.event = some;
    t.n_event = 2;
    assert_true(message_wanted(&t, "weft-apm:alarm-raised", FORWARD_SEVERITY_MAJOR));
    assert_true(message_wanted(&t, "weft-system:login", FORWARD_SEVERITY_MAJOR));
    assert_false(message_wanted(&t, "weft-system:logins", FORWARD_SEVERITY_MAJOR));
    assert_false(message_wanted(&t, "weft-apmx:alarm", FORWARD_SEVERITY_MAJOR));
}

/* ---- what waits ------------------------------------------------------------------------------ */

static const struct service *const services[] = {&system_service, &forward_service, NULL};
static struct {
    struct model *model;
    struct clock clock;
    struct core *core;
    char folder[64], store[128];
    int receiver; /* of syslog, over UDP */
    uint16_t port;
} test;

static struct forward *forward(void) {
    return core_service_state(test.core, "forward");
}

static void open_core(void) {
    struct core_options o = {
        .store = test.store, .clock = &test.clock, .model = test.model, .services = services};
    struct err e;
    if (core_open(&o, &test.core, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

static void reopen(void) {
    core_close(test.core);
    open_core();
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

static int setup(void **state) {
    struct err e;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    (void)state;
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    logger_set_sink(swallow, NULL);
    if (test.model == NULL && model_load(&test.model, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    snprintf(test.folder, sizeof test.folder, "/tmp/weft-forward-XXXXXX");
    assert_non_null(mkdtemp(test.folder));
    snprintf(test.store, sizeof test.store, "sqlite:%s/log", test.folder);
    clock_fake_init(&test.clock, INT64_C(1700000000) * NS_PER_S);
    test.receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(0, bind(test.receiver, (struct sockaddr *)&at, sizeof at));
    assert_int_equal(0, getsockname(test.receiver, (struct sockaddr *)&at, &n));
    struct timeval patience = {.tv_sec = 60};
    setsockopt(test.receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    test.port = ntohs(at.sin_port);
    open_core();
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
}

static int teardown(void **state) {
    (void)state;
    vfs_power_set_faults(NULL);
    core_close(test.core);
    close(test.receiver);
    nftw(test.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void done(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

static enum err_code commit(struct change *ch) {
    bool over = false;
    core_change(test.core, ch, done, &over);
    while (!over) {
        core_step(test.core);
    }
    enum err_code rc = ch->err.code;
    change_free(ch);
    return rc;
}

static enum err_code put_target(bool disabled) {
    struct change *ch = change_new(&actor_system);
    char *body = mem_printf(
        "{\"weft-forward:target\":[{\"name\":\"noc\",\"type\":\"syslog\",\"disabled\":%s,"
        "\"syslog\":{\"host\":\"127.0.0.1\",\"transport\":\"udp\",\"port\":%u}}]}",
        disabled ? "true" : "false", test.port);
    change_add(ch, EDIT_REPLACE, TARGETS "=noc", body, strlen(body), FORMAT_JSON);
    mem_free(body);
    return commit(ch);
}

static enum err_code delete_target(void) {
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_DELETE, TARGETS "=noc", NULL, 0, FORMAT_JSON);
    return commit(ch);
}

static enum err_code raise_some(struct txn *t, void *arg, struct err *e) {
    char json[32];
    (void)e;
    for (unsigned i = 0; i < *(unsigned *)arg; i++) {
        snprintf(json, sizeof json, "{\"id\":\"%u\"}", i);
        txn_event(t, "weft-apm:alarm-raised", json);
    }
    return ERR_OK;
}

static void raise_events(unsigned n) {
    core_run(test.core, &actor_system, raise_some, NULL, &n);
    core_step(test.core);
}

/* The next message; its structured data's id. */
static uint64_t received(char *text, size_t size) {
    ssize_t n = recv(test.receiver, text, size - 1, 0);
    if (n < 0) {
        fail_msg("no message came");
        return 0;
    }
    text[n] = '\0';
    const char *id = strstr(text, " id=\"");
    assert_non_null(id);
    return strtoull(id + 5, NULL, 10);
}

static const struct receiver *noc(void) {
    return forward_find(forward(), "noc");
}

static void waits_over_a_restart(void **state) {
    char text[9000];
    (void)state;
    raise_events(3); /* nobody wants them */
    assert_int_equal(0, forward()->n_events);
    assert_int_equal(ERR_OK, put_target(true));
    raise_events(3);
    assert_int_equal(4, forward()->n_events); /* the commit that made it, and three */
    uint64_t first = forward()->events[0]->id;
    reopen();
    assert_int_equal(4, forward()->n_events);
    assert_string_equal("weft-apm:alarm-raised", forward()->events[3]->name);
    assert_string_equal("{\"id\":\"2\"}", forward()->events[3]->json);
    assert_int_equal(ERR_OK, put_target(false));
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(first + i, received(text, sizeof text));
    }
    assert_non_null(strstr(text, " commit ")); /* the one that enabled it */
    /* When the position is saved, what it has goes; the newest stays for its number. */
    while (forward()->n_events > 1) {
        core_step(test.core);
    }
    assert_int_equal(first + 4, forward()->events[0]->id);
    reopen();
    assert_int_equal(first + 4, noc()->stored.done);
    raise_events(1);
    assert_int_equal(first + 5, received(text, sizeof text));
    assert_non_null(strstr(text, "alarm-raised"));
}

static void too_many_are_told(void **state) {
    char text[9000], want[200];
    (void)state;
    put_target(true);
    uint64_t first = forward()->events[0]->id;
    for (unsigned i = 0; i < FORWARD_KEPT / 1000 + 1; i++) {
        raise_events(1000);
    }
    assert_true(forward()->n_events <= FORWARD_KEPT + 1000);
    raise_events(1);
    assert_true(forward()->n_events <= FORWARD_KEPT);
    uint64_t oldest = forward()->events[0]->id;
    assert_true(oldest > first);
    assert_int_equal(oldest - first, noc()->lost);
    reopen(); /* what it is to be told is durable */
    assert_int_equal(oldest - first, noc()->stored.gap.lost);
    put_target(false);
    assert_int_equal(oldest - 1, received(text, sizeof text));
    snprintf(want, sizeof want, "{\"lost\":\"%llu\",\"first\":\"%llu\",\"last\":\"%llu\"}",
             (unsigned long long)(oldest - first), (unsigned long long)first,
             (unsigned long long)oldest - 1);
    assert_non_null(strstr(text, " gap "));
    assert_non_null(strstr(text, want));
    assert_int_equal(oldest, received(text, sizeof text));
}

static void nothing_of_what_was_not_written(void **state) {
    static const struct vfs_power_faults full = {
        .fail_write = 1, .write_code = 13 /* SQLITE_FULL */, .for_ever = true};
    (void)state;
    put_target(true);
    raise_events(2);
    size_t before = forward()->n_events;
    uint64_t last = forward()->last;
    vfs_power_set_faults(&full);
    raise_events(5);
    /* The outage is told beside the log; the five are not. */
    assert_int_equal(before, forward()->n_events);
    assert_int_equal(last, forward()->last);
    assert_int_equal(1, forward()->n_beside);
    assert_string_equal("weft-system:store-unwritable", forward()->beside[0]->name);
    vfs_power_set_faults(NULL);
}

/* It takes no number of the log's: whoever leads next gives the same number to something else. */
static void what_is_beside_the_log_has_no_number(void **state) {
    char text[9000];
    (void)state;
    assert_int_equal(ERR_OK, put_target(false));
    uint64_t first = received(text, sizeof text);
    for (unsigned i = 0; i < 3; i++) {
        core_tell(test.core, "weft-system:clock-set", "{}");
        assert_int_equal(0, received(text, sizeof text));
        assert_non_null(strstr(text, " clock-set "));
        raise_events(1);
        assert_int_equal(first + 1 + i, received(text, sizeof text));
        char chain[40];
        snprintf(chain, sizeof chain, " previous=\"%llu\"", (unsigned long long)(first + i));
        assert_non_null(strstr(text, chain));
    }
}

/* Too many for a target that is disabled: the newest go, and the log's are not touched. */
static void little_waits_beside_the_log(void **state) {
    (void)state;
    put_target(true);
    size_t before = forward()->n_events;
    for (unsigned i = 0; i < FORWARD_BESIDE_KEPT + 10; i++) {
        core_tell(test.core, "weft-system:clock-set", "{}");
    }
    assert_int_equal(FORWARD_BESIDE_KEPT, forward()->n_beside);
    assert_int_equal(before, forward()->n_events);
    assert_int_equal(ERR_OK, delete_target());
    core_tell(test.core, "weft-system:clock-set", "{}");
    assert_int_equal(0, forward()->n_beside);
}

/* A node that follows has no courier: it goes on from where the leader's had come to. */
static void a_follower_keeps_the_leaders_position(void **state) {
    static const char *const records[] = {"{\"v\":1,\"done\":%u,\"previous\":%u,\"gap\":[0,0,0]}",
                                          "{\"v\":1,\"done\":%u,\"previous\":%u,\"gap\":[7,2,8]}",
                                          "{\"v\":1,\"done\":%u,\"previous\":%u,\"gap\":[0,0,0]}"};
    char key[] = "forward/target/noc", text[200];
    struct err e;
    (void)state;
    put_target(true);
    struct forward *f = forward();
    f->started = false;
    for (unsigned i = 0; i < 3; i++) {
        int n = snprintf(text, sizeof text, records[i], 100 + i, 90 + i);
        assert_int_equal(ERR_OK,
                         forward_service.state_fold(f, key, strlen(key), text, (size_t)n, &e));
        assert_int_equal(100 + i, noc()->now.done);
        assert_int_equal(90 + i, noc()->now.previous);
        assert_int_equal(i == 1 ? 7 : 0, noc()->now.gap.lost);
    }
    f->started = true;
}

static void a_target_that_goes_leaves_nothing(void **state) {
    (void)state;
    put_target(true);
    raise_events(2);
    assert_non_null(noc());
    assert_int_equal(ERR_OK, delete_target());
    assert_null(noc());
    reopen();
    uint64_t last = forward()->last;
    put_target(true); /* a new one begins now, not where the old one was */
    assert_true(noc()->stored.done >= last);
    assert_int_equal(0, noc()->stored.gap.lost);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_json),
        cmocka_unit_test(as_syslog),
        cmocka_unit_test(signature),
        cmocka_unit_test(severities),
        cmocka_unit_test(wanted),
        T(waits_over_a_restart),
        T(too_many_are_told),
        T(nothing_of_what_was_not_written),
        T(a_target_that_goes_leaves_nothing),
        T(what_is_beside_the_log_has_no_number),
        T(little_waits_beside_the_log),
        T(a_follower_keeps_the_leaders_position),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    if (test.model != NULL) {
        model_free(test.model);
    }
    return rc;
}
