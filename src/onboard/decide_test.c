// SPDX-License-Identifier: Apache-2.0
/* Who may have what, and what is remembered: over restarts, undone with what could not be written,
 * bounded whatever strangers do. On a fake clock, without threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/system.h"
#include "log/vfs_power.h"
#include "onboard/internal.h"

static const struct service *const services[] = {&system_service, &onboard_service, NULL};
static struct {
    struct model *model;
    struct clock clock;
    struct core *core;
    char folder[64], store[128];
    const struct sztp_member *about; /* whom the next report is about; NULL: who reports */
} test;

static struct onboard *onboard(void) {
    return core_service_state(test.core, "onboard");
}

static void open_core(void) {
    struct core_options o = {
        .store = test.store, .clock = &test.clock, .model = test.model, .services = services};
    struct err e;
    if (core_open(&o, &test.core, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

static int setup(void **state) {
    struct err e;
    (void)state;
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    logger_set_sink(swallow, NULL);
    if (test.model == NULL && model_load(&test.model, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    snprintf(test.folder, sizeof test.folder, "/tmp/weft-onboard-XXXXXX");
    assert_non_null(mkdtemp(test.folder));
    snprintf(test.store, sizeof test.store, "sqlite:%s/log", test.folder);
    clock_fake_init(&test.clock, INT64_C(1700000000) * NS_PER_S);
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
    nftw(test.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void change_done(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

static void put(const char *kind, const char *key, const char *body) {
    struct change *ch = change_new(&actor_system);
    bool over = false;
    char *path = mem_printf("/weft-onboard:onboard/%s=%s", kind, key);
    char *whole = mem_printf("{\"weft-onboard:%s\":[%s]}", kind, body);
    change_add(ch, EDIT_REPLACE, path, whole, strlen(whole), FORMAT_JSON);
    core_change(test.core, ch, change_done, &over);
    while (!over) {
        core_step(test.core);
    }
    if (ch->err.code != ERR_OK) {
        fail_msg("%s: %s", ch->err.path, ch->err.text);
    }
    change_free(ch);
    mem_free(whole);
    mem_free(path);
}

static void world(void) {
    put("configuration", "c", "{\"name\":\"c\",\"text\":\"x\"}");
    put("bundle", "b", "{\"name\":\"b\",\"configuration\":\"c\"}");
    put("device-type", "default",
        "{\"name\":\"default\",\"unknown\":\"pending\",\"rule\":[{\"name\":\"old\",\"os-version\":["
        "\"1\"],\"nothing-yet\":[null]},{\"name\":\"all\",\"bundle\":\"b\"}]}");
    put("device", "S1", "{\"serial-number\":\"S1\",\"password\":\"p\"}");
}

struct run {
    struct ask ask; /* first: decide() sees this */
    enum err_code rc;
};

static void decided(void *arg, uint64_t index, const struct err *e) {
    struct run *r = arg;
    r->rc = e != NULL ? e->code : ERR_OK;
}

/* The status of the answer, 0: it is to be made; -1: it could not be recorded. */
static int ask(enum ask_kind kind, const char *user, const char *password, const char *version,
               enum sztp_progress progress) {
    struct run r = {.ask = {.kind = kind, .progress = progress, .has_basic = true}};
    struct ask *a = &r.ask;
    a->has_member = test.about != NULL;
    if (a->has_member) {
        a->member = *test.about;
    }
    a->gives = PLAN_BUNDLE | PLAN_REDIRECT;
    snprintf(a->user, sizeof a->user, "%s", user);
    snprintf(a->password, sizeof a->password, "%s", password);
    snprintf(a->get.os_version, sizeof a->get.os_version, "%s", version);
    snprintf(a->source, sizeof a->source, "192.0.2.1:4711");
    snprintf(a->method, sizeof a->method, "POST");
    core_run(test.core, &actor_system, decide, decided, &r);
    core_step(test.core);
    int status = r.rc != ERR_OK ? -1 : a->status;
    assert_true(status != 0 || (a->plan != NULL && strcmp(a->plan->bundle, "b") == 0));
    ask_clear(a);
    return status;
}

static int get(const char *user, const char *password, const char *version) {
    return ask(ASK_GET, user, password, version, SZTP_INFORMATIONAL);
}

static int tell(const char *user, enum sztp_progress progress) {
    return ask(ASK_REPORT, user, "p", "", progress);
}

static int tell_about(const char *user, enum sztp_progress progress, const char *serial, int id,
                      enum sztp_role role) {
    struct sztp_member m = {.id = id, .role = role};
    snprintf(m.serial, sizeof m.serial, "%s", serial);
    test.about = &m;
    int status = tell(user, progress);
    test.about = NULL;
    return status;
}

static enum onboard_onboarding_status status(const char *serial) {
    const struct known *k = known_get(onboard(), serial);
    assert_non_null(k);
    return k->status;
}

static size_t logged(const char *serial) {
    const struct known *k = known_get(onboard(), serial);
    size_t n = 0;
    for (unsigned i = 0; k != NULL && i < ONBOARD_LOG_KEPT; i++) {
        n += k->log[i] != NULL;
    }
    return n;
}

static void reopen(void) {
    core_close(test.core);
    open_core();
}

/* proves: PH-200 PH-204 */
static void what_a_device_did_is_kept(void **state) {
    (void)state;
    world();
    assert_int_equal(404, get("S1", "p", "1"));
    assert_int_equal(ONBOARD_ONBOARDING_STATUS_WAITING, status("S1"));
    assert_int_equal(0, get("S1", "p", "2"));
    assert_int_equal(ONBOARD_ONBOARDING_STATUS_ANSWERED, status("S1"));
    assert_int_equal(204, tell("S1", SZTP_CONFIG_COMPLETE));
    assert_int_equal(ONBOARD_ONBOARDING_STATUS_UNDER_WAY, status("S1"));
    char *before = mem_strdup(known_get(onboard(), "S1")->json);
    uint64_t requests = onboard()->next_request;
    assert_int_equal(3, requests);
    reopen();
    assert_string_equal(before, known_get(onboard(), "S1")->json);
    assert_int_equal(3, logged("S1"));
    assert_int_equal(requests, onboard()->next_request);
    mem_free(before);
    assert_int_equal(204, tell("S1", SZTP_BOOTSTRAP_COMPLETE));
    assert_int_equal(ONBOARD_ONBOARDING_STATUS_COMPLETE, status("S1"));
    for (unsigned i = 0; i < 3 * ONBOARD_LOG_KEPT; i++) {
        assert_int_equal(204, tell("S1", SZTP_INFORMATIONAL));
    }
    assert_int_equal(ONBOARD_LOG_KEPT, logged("S1"));
}

static void each_report_has_its_status(void **state) {
    static const struct {
        enum sztp_progress report;
        enum onboard_onboarding_status status;
    } all[] = {{SZTP_BOOTSTRAP_INITIATED, ONBOARD_ONBOARDING_STATUS_UNDER_WAY},
               {SZTP_BOOT_IMAGE_INSTALLED_REBOOTING, ONBOARD_ONBOARDING_STATUS_REBOOTING},
               {SZTP_PARSING_ERROR, ONBOARD_ONBOARDING_STATUS_FAILED},
               {SZTP_BOOTSTRAP_ERROR, ONBOARD_ONBOARDING_STATUS_FAILED},
               {SZTP_BOOTSTRAP_WARNING, ONBOARD_ONBOARDING_STATUS_UNDER_WAY},
               {SZTP_BOOTSTRAP_COMPLETE, ONBOARD_ONBOARDING_STATUS_COMPLETE}};
    (void)state;
    world();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(204, tell("S1", all[i].report));
        assert_int_equal(all[i].status, status("S1"));
    }
}

static void count_event(const struct event *ev, void *arg) {
    struct buf *b = arg;
    const char *name = strchr(ev->name, ':') + 1;
    json_t *o = json_loads(ev->json, 0, NULL);
    if (strncmp(name, "device-", 7) == 0 && strcmp(name, "device-answered") != 0) {
        buf_printf(b, "%s %s: %s\n", name, json_string_value(json_object_get(o, "serial-number")),
                   json_string_value(json_object_get(o, "because")));
    }
    json_decref(o);
}

/* proves: PH-200 PH-204 */
static void each_state_is_told_once(void **state) {
    struct buf told = BUF_INIT;
    (void)state;
    world();
    put("device", "S2",
        "{\"serial-number\":\"S2\",\"password\":\"p\",\"authorisation\":\"pending\"}");
    uint64_t handle = core_subscribe(test.core, 0, count_event, &told);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(404, get("S1", "p", "1"));
        assert_int_equal(404, get("S2", "p", "2"));
        assert_int_equal(401, get("X1", "", "2"));
    }
    put("device", "S2",
        "{\"serial-number\":\"S2\",\"password\":\"p\",\"authorisation\":\"blocked\"}");
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(403, get("S2", "p", "2"));
        assert_int_equal(403, tell("S2", SZTP_INFORMATIONAL));
    }
    assert_int_equal(0, get("S1", "p", "2"));
    assert_int_equal(404, get("S1", "p", "1")); /* again, after something else */
    core_unsubscribe(test.core, handle);
    assert_string_equal("device-waiting S1: rule default/old holds: it says nothing yet\n"
                        "device-pending S2: waits to be authorised\n"
                        "device-pending X1: is not configured; noted because its type has 'unknown "
                        "pending': authorise it, or leave it\n"
                        "device-blocked S2: is blocked\n"
                        "device-waiting S1: rule default/old holds: it says nothing yet\n",
                        buf_cstr(&told));
    buf_free(&told);
    /* What is remembered of that outlives the process. */
    reopen();
    handle = core_subscribe(test.core, 0, count_event, &told);
    assert_int_equal(404, get("S1", "p", "1"));
    assert_int_equal(403, get("S2", "p", "2"));
    assert_int_equal(401, get("X1", "", "2"));
    core_unsubscribe(test.core, handle);
    assert_int_equal(0, told.len);
    buf_free(&told);
}

/* proves: PH-207 */
static void strangers_cannot_fill_the_store(void **state) {
    char serial[32];
    (void)state;
    world();
    assert_int_equal(401, get("S1", "wrong", "2"));
    assert_int_equal(401, get("S1", "", "2"));
    assert_int_equal(401, get("", "", "2"));
    assert_int_equal(401, get("a b", "", "2"));
    assert_int_equal(0, onboard()->n_strangers);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(serial, sizeof serial, "X%u", i);
        assert_int_equal(401, get(serial, "", "2"));
        assert_int_equal(401, get(serial, "", "2"));
    }
    assert_int_equal(50, onboard()->n_strangers);
    reopen();
    assert_int_equal(50, onboard()->n_strangers);
    assert_int_equal(ONBOARD_ONBOARDING_STATUS_PENDING, status("X7"));
    put("device", "X7", "{\"serial-number\":\"X7\",\"password\":\"q\"}"); /* a stranger no more */
    assert_int_equal(49, onboard()->n_strangers);
    assert_int_equal(0, get("X7", "q", "2"));
    onboard()->n_strangers = ONBOARD_PENDING_MAX;
    assert_int_equal(401, get("Y1", "", "2"));
    assert_null(known_get(onboard(), "Y1"));
    onboard()->n_strangers = 49;
}

static void what_is_not_written_did_not_happen(void **state) {
    static const struct vfs_power_faults full = {
        .fail_write = 1, .write_code = 13 /* SQLITE_FULL */, .for_ever = true};
    (void)state;
    world();
    assert_int_equal(0, get("S1", "p", "2"));
    char *before = mem_strdup(known_get(onboard(), "S1")->json);
    uint64_t requests = onboard()->next_request;
    vfs_power_set_faults(&full);
    assert_int_equal(-1, tell("S1", SZTP_BOOTSTRAP_COMPLETE));
    assert_int_equal(-1, get("X1", "", "2"));
    vfs_power_set_faults(NULL);
    assert_string_equal(before, known_get(onboard(), "S1")->json);
    assert_int_equal(1, logged("S1"));
    assert_int_equal(requests, onboard()->next_request);
    assert_null(known_get(onboard(), "X1"));
    assert_int_equal(0, onboard()->n_strangers);
    mem_free(before);
}

static void chassis_of(const char *topology) {
    put("configuration", "c", "{\"name\":\"c\",\"text\":\"x\"}");
    put("topology", "ring", topology);
    put("bundle", "b", "{\"name\":\"b\",\"configuration\":\"c\"}");
    put("device-type", "default",
        "{\"name\":\"default\",\"rule\":[{\"name\":\"all\",\"bundle\":\"b\"}]}");
    for (char i = '1'; i <= '4'; i++) {
        char key[3] = {'M', i, '\0'}, body[128];
        snprintf(body, sizeof body,
                 "{\"serial-number\":\"%s\",\"password\":\"p\",\"topology\":\"ring\"}", key);
        put("device", key, body);
    }
}

static void expect_all(int one, int two, int three, int four) {
    assert_int_equal(one, status("M1"));
    assert_int_equal(two, status("M2"));
    assert_int_equal(three, status("M3"));
    assert_int_equal(four, status("M4"));
}

static bool logs(const char *serial, const char *text) {
    const struct known *k = known_get(onboard(), serial);
    bool found = false;
    for (unsigned i = 0; i < ONBOARD_LOG_KEPT; i++) {
        found = found || (k->log[i] != NULL && strstr(k->log[i], text) != NULL);
    }
    return found;
}

enum {
    EXPECTED = ONBOARD_ONBOARDING_STATUS_EXPECTED,
    ANSWERED = ONBOARD_ONBOARDING_STATUS_ANSWERED,
    UNDER_WAY = ONBOARD_ONBOARDING_STATUS_UNDER_WAY,
    REBOOTING = ONBOARD_ONBOARDING_STATUS_REBOOTING,
    FAILED = ONBOARD_ONBOARDING_STATUS_FAILED,
    COMPLETE = ONBOARD_ONBOARDING_STATUS_COMPLETE,
};

/* The primary asks, another member reports that all is done: all are. */
/* proves: PH-011 PH-020 PH-051 PH-070 */
static void a_strict_chassis_is_one_device(void **state) {
    (void)state;
    chassis_of("{\"name\":\"ring\",\"strict\":true,\"member\":[{\"serial-number\":\"M1\"},"
               "{\"serial-number\":\"M2\"},{\"serial-number\":\"M3\"}]}");
    assert_int_equal(0, get("M1", "p", "1"));
    expect_all(ANSWERED, EXPECTED, EXPECTED, EXPECTED);
    assert_int_equal(known_get(onboard(), "M1")->given, known_get(onboard(), "M3")->given);
    assert_int_equal(0, known_get(onboard(), "M4")->given); /* is not listed */
    assert_int_equal(204, tell("M1", SZTP_BOOT_IMAGE_INSTALLED_REBOOTING));
    reopen();
    assert_int_equal(204, tell("M2", SZTP_CONFIG_INITIATED));
    expect_all(REBOOTING, UNDER_WAY, EXPECTED, EXPECTED);
    assert_true(logs("M2", "goes on with what M1 was given for chassis ring"));
    assert_true(logs("M1", "M2 goes on for chassis ring"));
    size_t before = logged("M2");
    assert_int_equal(204, tell("M2", SZTP_CONFIG_COMPLETE));
    assert_int_equal(before + 1, logged("M2")); /* said once */
    assert_int_equal(204, tell("M2", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(COMPLETE, COMPLETE, COMPLETE, EXPECTED);
    assert_true(logs("M3", "M2 reports for chassis ring"));
    assert_int_equal(3, onboard()->completed);
    reopen();
    expect_all(COMPLETE, COMPLETE, COMPLETE, EXPECTED);
}

/* In default mode only those are done of which something was heard. */
/* proves: PH-032 */
static void a_chassis_that_is_not_strict_may_lack_members(void **state) {
    (void)state;
    chassis_of("{\"name\":\"ring\"}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(known_get(onboard(), "M1")->given, known_get(onboard(), "M4")->given);
    assert_int_equal(204, tell("M1", SZTP_BOOT_IMAGE_INSTALLED_REBOOTING));
    assert_int_equal(204, tell("M3", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(COMPLETE, EXPECTED, COMPLETE, EXPECTED);
    assert_true(logs("M4", "nothing was heard of this member"));
}

static bool recorded(const char *serial, const char *text) {
    return strstr(known_get(onboard(), serial)->json, text) != NULL;
}

/* What the primary reports about linecards, which report nothing, is theirs. */
/* proves: PH-030 PH-081 */
static void members_are_what_is_reported_of_them(void **state) {
    (void)state;
    chassis_of("{\"name\":\"ring\",\"member\":[{\"serial-number\":\"M1\"},"
               "{\"serial-number\":\"M2\"},{\"serial-number\":\"M3\"}]}");
    put("topology", "other", "{\"name\":\"other\"}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M2", 1, SZTP_BACKUP));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M3", 2, SZTP_LINECARD));
    expect_all(UNDER_WAY, UNDER_WAY, UNDER_WAY, EXPECTED);
    assert_true(recorded("M3", "\"member-id\":2") && recorded("M3", "\"role\":\"linecard\""));
    assert_true(recorded("M3", "\"told-by\":\"M1\"") && recorded("M3", "\"since\":1700000000"));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M1", 0, SZTP_MASTER));
    assert_true(recorded("M1", "\"member-id\":0") && !recorded("M1", "told-by"));
    /* Nothing follows for others: they are not of this chassis, or nobody entered them. */
    put("device", "M4", "{\"serial-number\":\"M4\",\"password\":\"p\",\"topology\":\"other\"}");
    assert_int_equal(204, tell_about("M1", SZTP_BOOT_IMAGE_WARNING, "M4", 3, SZTP_LINECARD));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M9", 3, SZTP_LINECARD));
    assert_null(known_get(onboard(), "M9"));
    assert_int_equal(1, logged("M4")); /* that it was of this one when M1 was given the bundle */
    assert_true(logs("M1", "nothing follows for member M4") && logs("M1", "for member M9"));
    put("device", "M5", "{\"serial-number\":\"M5\",\"password\":\"p\"}");
    assert_int_equal(0, get("M5", "p", "1"));
    assert_int_equal(204, tell_about("M5", SZTP_BOOT_IMAGE_ERROR, "M2", 1, SZTP_BACKUP));
    assert_true(logs("M5", "was not given the topology of a chassis"));
    expect_all(UNDER_WAY, UNDER_WAY, UNDER_WAY, EXPECTED);
    /* One fails, comes late, and fails again; the others go on. */
    assert_int_equal(204, tell_about("M1", SZTP_BOOT_IMAGE_WARNING, "M3", 2, SZTP_LINECARD));
    expect_all(UNDER_WAY, UNDER_WAY, FAILED, EXPECTED);
    reopen();
    expect_all(UNDER_WAY, UNDER_WAY, FAILED, EXPECTED);
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M3", 2, SZTP_LINECARD));
    expect_all(UNDER_WAY, UNDER_WAY, UNDER_WAY, EXPECTED);
    assert_int_equal(204, tell_about("M1", SZTP_BOOT_IMAGE_WARNING, "M3", 2, SZTP_LINECARD));
    /* The backup speaks itself: it leads now, and ends it for all but the one that failed. */
    assert_int_equal(204, tell("M2", SZTP_CONFIG_COMPLETE));
    assert_true(logs("M2", "goes on with what M1 was given") && !recorded("M2", "told-by"));
    assert_int_equal(204, tell("M2", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(COMPLETE, COMPLETE, FAILED, EXPECTED);
    assert_true(logs("M3", "chassis ring is complete, and this member has failed"));
    assert_int_equal(204, tell_about("M2", SZTP_INFORMATIONAL, "M1", 0, SZTP_BACKUP));
    assert_int_equal(COMPLETE, status("M1")); /* stays so until it is forgotten */
}

/* Listed or not: in default mode devices that name the chassis are of it. */
/* proves: PH-035 */
static void members_that_are_not_listed(void **state) {
    (void)state;
    chassis_of("{\"name\":\"ring\",\"strict\":true,\"member\":[{\"serial-number\":\"M1\"}]}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M2", 1, SZTP_BACKUP));
    assert_true(logs("M1", "nothing follows for member M2"));
    assert_int_equal(EXPECTED, status("M2"));
    put("topology", "ring", "{\"name\":\"ring\",\"member\":[{\"serial-number\":\"M1\"}]}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M2", 1, SZTP_BACKUP));
    expect_all(UNDER_WAY, UNDER_WAY, EXPECTED, EXPECTED);
    assert_int_equal(204, tell("M1", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(COMPLETE, COMPLETE, EXPECTED, EXPECTED);
}

/* The former primary fails in its reboot: its run is that of the chassis, and goes on without it.
 */
/* proves: PH-030 PH-051 */
static void the_one_who_asked_may_fail(void **state) {
    (void)state;
    chassis_of("{\"name\":\"ring\"}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell("M1", SZTP_BOOT_IMAGE_INSTALLED_REBOOTING));
    assert_int_equal(204, tell_about("M2", SZTP_BOOT_IMAGE_WARNING, "M1", 0, SZTP_LINECARD));
    expect_all(FAILED, UNDER_WAY, EXPECTED, EXPECTED);
    assert_int_equal(204, tell_about("M2", SZTP_INFORMATIONAL, "M3", 2, SZTP_LINECARD));
    assert_int_equal(204, tell("M2", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(FAILED, COMPLETE, COMPLETE, EXPECTED);
    /* It comes again, and what was heard of the others was of the former run. */
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M4", 3, SZTP_LINECARD));
    expect_all(UNDER_WAY, COMPLETE, COMPLETE, UNDER_WAY);
    put("configuration", "c", "{\"name\":\"c\",\"text\":\"y\"}");
    assert_int_equal(0, get("M1", "p", "1"));
    expect_all(ANSWERED, COMPLETE, COMPLETE, EXPECTED);
    assert_false(recorded("M4", "told-by"));
    /* Its error is one of all that are under way. */
    assert_int_equal(204, tell_about("M1", SZTP_INFORMATIONAL, "M4", 3, SZTP_LINECARD));
    assert_int_equal(204, tell_about("M1", SZTP_BOOT_IMAGE_ERROR, "M4", 3, SZTP_LINECARD));
    expect_all(FAILED, COMPLETE, COMPLETE, FAILED);
    /* What it is given without a topology is of no chassis. */
    put("device", "M1", "{\"serial-number\":\"M1\",\"password\":\"p\"}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_false(recorded("M1", "\"chassis\""));
}

static void a_chassis_fails_as_one(void **state) {
    (void)state;
    chassis_of(
        "{\"name\":\"ring\",\"strict\":true,\"member\":[{\"serial-number\":\"M1\"},"
        "{\"serial-number\":\"M2\"},{\"serial-number\":\"M3\"},{\"serial-number\":\"M9\"}]}");
    assert_int_equal(0, get("M1", "p", "1"));
    assert_int_equal(204, tell("M1", SZTP_BOOT_IMAGE_INSTALLED_REBOOTING));
    assert_int_equal(204, tell("M2", SZTP_BOOTSTRAP_ERROR));
    expect_all(FAILED, FAILED, EXPECTED, EXPECTED);
    /* Another one asks: a run of its own, and what is forgotten is not of it. */
    assert_int_equal(0, get("M3", "p", "1"));
    assert_int_equal(204, tell("M3", SZTP_BOOTSTRAP_COMPLETE));
    expect_all(COMPLETE, COMPLETE, COMPLETE, EXPECTED);
    assert_null(known_get(onboard(), "M9")); /* nobody entered it */
}

static void rules_look_at_all_that_is_said(void **state) {
    static const char *const two[] = {"a", "b"};
    struct rule_view r = {.name = "r"};
    struct sztp_get g = {.os_name = "a", .nonce_len = 16};
    (void)state;
    assert_true(rule_matches(&r, &g));
    r.os_name = two;
    r.n_os_name = 2;
    assert_true(rule_matches(&r, &g));
    r.hw_model = two;
    r.n_hw_model = 2;
    assert_false(rule_matches(&r, &g));
    snprintf(g.hw_model, sizeof g.hw_model, "b");
    assert_true(rule_matches(&r, &g));
    r.has_signed = true;
    assert_true(rule_matches(&r, &g));
    r.wants_signed = true;
    assert_false(rule_matches(&r, &g));
    g.signed_preferred = true;
    assert_true(rule_matches(&r, &g));
    r.has_nonce = true;
    assert_false(rule_matches(&r, &g));
    r.nonce = true;
    assert_true(rule_matches(&r, &g));
}

/* A run's place follows from what was reported; what is of no place leaves it. */
static void reports_have_their_stage(void **state) {
    static const enum run_stage want[SZTP_PROGRESS_COUNT] = {
        [SZTP_BOOTSTRAP_INITIATED] = RUN_CONFIGURATION,
        [SZTP_PARSING_INITIATED] = RUN_CONFIGURATION,
        [SZTP_PARSING_WARNING] = RUN_CONFIGURATION,
        [SZTP_PARSING_ERROR] = RUN_CONFIGURATION,
        [SZTP_PARSING_COMPLETE] = RUN_CONFIGURATION,
        [SZTP_BOOT_IMAGE_INITIATED] = RUN_IMAGE,
        [SZTP_BOOT_IMAGE_WARNING] = RUN_IMAGE,
        [SZTP_BOOT_IMAGE_ERROR] = RUN_IMAGE,
        [SZTP_BOOT_IMAGE_MISMATCH] = RUN_IMAGE,
        [SZTP_BOOT_IMAGE_INSTALLED_REBOOTING] = RUN_IMAGE,
        [SZTP_BOOT_IMAGE_COMPLETE] = RUN_IMAGE,
        [SZTP_PRE_SCRIPT_INITIATED] = RUN_PRE_SCRIPT,
        [SZTP_PRE_SCRIPT_WARNING] = RUN_PRE_SCRIPT,
        [SZTP_PRE_SCRIPT_ERROR] = RUN_PRE_SCRIPT,
        [SZTP_PRE_SCRIPT_COMPLETE] = RUN_PRE_SCRIPT,
        [SZTP_CONFIG_INITIATED] = RUN_CONFIGURATION,
        [SZTP_CONFIG_WARNING] = RUN_CONFIGURATION,
        [SZTP_CONFIG_ERROR] = RUN_CONFIGURATION,
        [SZTP_CONFIG_COMPLETE] = RUN_CONFIGURATION,
        [SZTP_POST_SCRIPT_INITIATED] = RUN_POST_SCRIPT,
        [SZTP_POST_SCRIPT_WARNING] = RUN_POST_SCRIPT,
        [SZTP_POST_SCRIPT_ERROR] = RUN_POST_SCRIPT,
        [SZTP_POST_SCRIPT_COMPLETE] = RUN_POST_SCRIPT,
        [SZTP_BOOTSTRAP_WARNING] = RUN_CONFIGURATION,
        [SZTP_BOOTSTRAP_ERROR] = RUN_CONFIGURATION,
        [SZTP_BOOTSTRAP_COMPLETE] = RUN_CONFIGURATION,
        [SZTP_INFORMATIONAL] = RUN_CONFIGURATION};
    (void)state;
    for (int p = 0; p < SZTP_PROGRESS_COUNT; p++) {
        assert_int_equal(run_stage_after((enum sztp_progress)p, RUN_CONFIGURATION), want[p]);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_look_at_all_that_is_said),
        cmocka_unit_test(reports_have_their_stage),
        T(what_a_device_did_is_kept),
        T(each_report_has_its_status),
        T(each_state_is_told_once),
        T(strangers_cannot_fill_the_store),
        T(what_is_not_written_did_not_happen),
        T(a_strict_chassis_is_one_device),
        T(a_chassis_that_is_not_strict_may_lack_members),
        T(members_are_what_is_reported_of_them),
        T(members_that_are_not_listed),
        T(the_one_who_asked_may_fail),
        T(a_chassis_fails_as_one),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    if (test.model != NULL) {
        model_free(test.model);
    }
    return rc;
}
