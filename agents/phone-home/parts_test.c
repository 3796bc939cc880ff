// SPDX-License-Identifier: Apache-2.0
/* Configuration, state directory, tasks, name servers' addresses, the hooks of a box. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "phone-home/platform_hooks.h"
#include "phone-home/renew.h"
#include "phone-home/resolver.h"
#include "phone-home/statedir.h"
#include "phone-home/tasks.h"

static char dir[64];
static struct err e;
static struct phone_home_config config;
static struct loop *loop;

static const char *in(const char *name) {
    static char path[4][160];
    static unsigned at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static int setup(void **state) {
    snprintf(dir, sizeof dir, "/tmp/weft-parts-XXXXXX");
    loop = loop_new("test");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static void empty(const char *path) {
    DIR *d = opendir(path);
    const struct dirent *f;
    while (d != NULL && (f = readdir(d)) != NULL) {
        char file[600];
        snprintf(file, sizeof file, "%s/%s", path, f->d_name);
        if (f->d_name[0] != '.' && unlink(file) != 0) {
            empty(file);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    rmdir(path);
}

static int teardown(void **state) {
    loop_free(loop);
    empty(dir);
    return 0;
}

static enum err_code parse(const char *text) {
    return phone_home_config_parse(text, strlen(text), "f", &config, &e);
}

static void defaults_are_those_of_the_contract(void **state) {
    assert_int_equal(parse("{\"state\": \"/s\", \"platform\": {\"type\": \"linux-stack\"}}"),
                     ERR_OK);
    assert_int_equal(config.engine.redirects_max, 10);
    assert_int_equal(config.engine.detection_ms, 1800000);
    assert_int_equal(config.engine.backoff_max_ms, 300000);
    assert_int_equal(config.engine.precedence, PHC_PRECEDENCE_AUTO);
    assert_int_equal(config.engine.sources, 0);
    assert_string_equal(config.platform.socket, "/run/weft-stackd/stackd.sock");
    assert_true(config.resolver.multicast);
    assert_true(config.n_leases > 3);
    assert_int_equal(config.image_max, (uint64_t)16 << 30);
}

static void a_junos_device_has_a_program_or_a_socket(void **state) {
#define JUNOS(more) parse("{\"state\": \"/s\", \"platform\": {\"type\": \"junos\"" more "}}")
    assert_int_equal(JUNOS(""), ERR_OK);
    assert_string_equal(config.platform.junos.program[0], "/usr/sbin/cli");
    assert_int_equal(config.platform.junos.n_program, 4);
    assert_int_equal(config.platform.junos.member_id, -1);
    assert_true(config.platform.junos.validate);
    assert_int_equal(config.platform.junos.poll_ms, 10000);
    assert_int_equal(JUNOS(", \"socket\": \"/run/mgd\", \"member-id\": 3, \"validate\": false"),
                     ERR_OK);
    assert_int_equal(config.platform.junos.n_program, 0);
    assert_int_equal(config.platform.junos.member_id, 3);
    assert_false(config.platform.junos.validate);
    assert_int_equal(JUNOS(", \"socket\": \"/run/mgd\", \"program\": [\"/bin/cli\"]"), ERR_INVALID);
    assert_int_equal(JUNOS(", \"program\": [\"cli\"]"), ERR_INVALID);
    assert_string_equal(e.path, "f/platform/program");
    assert_int_equal(JUNOS(", \"member-id\": 10"), ERR_INVALID);
    assert_int_equal(JUNOS(", \"folder\": \"/f\""), ERR_UNKNOWN);
}

static void words_become_bits(void **state) {
    assert_int_equal(
        parse(
            "{\"state\": \"/s\", \"platform\": {}, \"sources\": [\"dhcp\", \"removable-storage\"],"
            "\"voucher-assertions\": [\"logged\"], \"dhcp\": {\"precedence\": \"ztp\"}}"),
        ERR_OK);
    assert_int_equal(config.engine.sources, 1 << PHC_DHCP | 1 << PHC_STORAGE);
    assert_int_equal(config.engine.assertions, VOUCHER_LOGGED);
    assert_int_equal(config.engine.precedence, PHC_ZTP);
    assert_int_equal(parse("{\"state\": \"/s\", \"state\": \"/t\", \"platform\": {}}"),
                     ERR_MALFORMED);
    assert_int_equal(parse("[]"), ERR_MALFORMED);
    assert_string_equal(e.path, "f");
}

/* proves: PH-152 */
static void state_is_whole_and_the_flag_a_value(void **state) {
    struct statedir s, second;
    struct buf b = BUF_INIT;
    struct stat st;
    bool on = false;
    assert_int_equal(statedir_open(in("state"), &s, &e), ERR_OK);
    assert_int_equal(stat(in("state"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(statedir_open(in("state"), &second, &e), ERR_LOCKED);
    assert_int_equal(statedir_load(&s, &b, &e), ERR_OK);
    assert_int_equal(b.len, 0);
    assert_int_equal(statedir_enabled(&s, &on, &e), ERR_OK);
    assert_true(on);
    assert_int_equal(statedir_save(&s, "record", 6, &e), ERR_OK);
    assert_int_equal(statedir_enable(&s, false, &e), ERR_OK);
    assert_int_equal(statedir_enabled(&s, &on, &e), ERR_OK);
    assert_false(on);
    assert_int_equal(statedir_load(&s, &b, &e), ERR_OK);
    assert_string_equal(buf_cstr(&b), "record");
    buf_clear(&b);
    assert_int_equal(file_write(in("state/image"), "x", 1, 0600, &e), ERR_OK);
    assert_int_equal(statedir_clear(&s, &e), ERR_OK);
    assert_int_equal(statedir_enabled(&s, &on, &e), ERR_OK);
    assert_true(on);
    assert_int_equal(access(in("state/image"), F_OK), -1);
    assert_int_equal(file_write(in("state/enabled"), "maybe", 5, 0600, &e), ERR_OK);
    assert_int_equal(statedir_enabled(&s, &on, &e), ERR_MALFORMED);
    statedir_close(&s);
    assert_int_equal(statedir_open(in("state"), &s, &e), ERR_OK);
    statedir_close(&s);
    buf_free(&b);
}

static void resolv_conf_is_read(void **state) {
    static const char text[] =
        "# a remark\nnameserver 192.0.2.1\n nameserver 2001:db8::1 # second\n"
        "nameserver junk\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
        "nameserver 192.0.2.5\nsearch a.example. b.example\ndomain A.example\n"
        "options ndots:1\nsearch";
    struct resolver r = {.n_domains = 0};
    resolver_add_conf(&r, text, strlen(text));
    assert_int_equal(r.n_servers, RESOLVER_SERVERS_MAX);
    assert_int_equal(r.servers[1].family, 6);
    assert_int_equal(r.n_domains, 2);
    assert_string_equal(r.domains[0], "a.example");
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d.example", i);
        resolver_add_domain(&r, name);
    }
    assert_int_equal(r.n_domains, RESOLVER_DOMAINS_MAX);
}

static void until_stopped(void *job, const atomic_bool *stop) {
    while (!atomic_load(stop)) {
        usleep(1000);
    }
}
static void at_once(void *job, const atomic_bool *stop) {
    *(int *)job += 1;
}
static unsigned ended, cancelled;
static void ended_one(void *job, bool was) {
    ended++;
    cancelled += was;
}

static void tasks_end_once_each(void **state) {
    struct tasks *t = tasks_new(loop);
    int ran = 0;
    ended = cancelled = 0;
    tasks_start(t, 1, at_once, ended_one, &ran);
    assert_int_equal(ended, 0); /* never from inside */
    for (int i = 0; i < 1000 && ended < 1; i++) {
        loop_poll(loop, 10);
    }
    assert_int_equal(ran, 1);
    for (uint64_t i = 0; i < TASKS_MAX + 3; i++) { /* the last three find no room */
        tasks_start(t, 10 + i, until_stopped, ended_one, NULL);
    }
    for (int i = 0; i < 1000 && ended < 4; i++) {
        loop_poll(loop, 10);
    }
    assert_int_equal(ended, 4);
    assert_int_equal(cancelled, 0);
    tasks_cancel(t, 11);
    for (int i = 0; i < 1000 && ended < 5; i++) {
        loop_poll(loop, 10);
    }
    assert_int_equal(cancelled, 1);
    tasks_free(t);
    assert_int_equal(ended, TASKS_MAX + 4);
    assert_int_equal(cancelled, TASKS_MAX);
}

/* ---- hooks ---- */

static uint64_t done_order;
static enum err_code done_code;
static void on_done(void *arg, uint64_t order, const struct err *err) {
    done_order = order;
    done_code = err != NULL ? err->code : ERR_OK;
}
static void on_change(void *arg) {
}

static void hook(const char *name, const char *text) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "#!/bin/sh\n%s\n", text);
    assert_int_equal(file_write(in(name), b.data, b.len, 0755, &e), ERR_OK);
    buf_free(&b);
}

static void wait_done(uint64_t order) {
    for (int i = 0; i < 6000 && done_order != order; i++) {
        loop_poll(loop, 10);
    }
    assert_int_equal(done_order, order);
}

static const char *did(void) {
    static char text[256];
    struct buf b = BUF_INIT;
    file_read(in("did"), 200, &b, NULL);
    snprintf(text, sizeof text, "%s", buf_cstr(&b));
    buf_free(&b);
    return text;
}

/* PH-151: what was applied can be taken back, confirmed or not, and by itself when nobody comes. */
static void configurations_are_taken_back(void **state) {
    struct platform_events ev = {on_done, on_change, on_change, NULL};
    memset(&config, 0, sizeof config);
    snprintf(config.state, sizeof config.state, "%s", dir);
    snprintf(config.platform.folder, sizeof config.platform.folder, "%s", dir);
    snprintf(config.platform.serial, sizeof config.platform.serial, "SN1");
    struct platform *p = platform_hooks_new(loop, &config, &ev);
    const struct platform_ops *o = *(const struct platform_ops *const *)p;
    o->apply(p, 1, "c", 1, SZTP_MERGE, 60000);
    wait_done(1);
    assert_int_equal(done_code, ERR_IO); /* there is no such hook */
    o->rollback(p, 2);
    wait_done(2);
    assert_int_not_equal(done_code, ERR_OK);
    hook("apply", "echo apply $2 $(cat $1) >>$(dirname $0)/did");
    hook("rollback", "echo rollback >>$(dirname $0)/did");
    o->apply(p, 3, "c", 1, SZTP_REPLACE, 60000);
    wait_done(3);
    o->confirm(p, 4); /* no hook: nothing to do */
    wait_done(4);
    assert_int_equal(done_code, ERR_OK);
    o->rollback(p, 5);
    wait_done(5);
    assert_string_equal(did(), "apply replace c\nrollback\n");
    o->rollback(p, 6); /* twice is once */
    wait_done(6);
    assert_string_equal(did(), "apply replace c\nrollback\n");
    o->apply(p, 7, "d", 1, SZTP_MERGE, 1);
    wait_done(7);
    for (int i = 0; i < 3000 && strstr(did(), "d\nrollback") == NULL; i++) {
        loop_poll(loop, 10);
    }
    assert_non_null(strstr(did(), "apply merge d\nrollback\n"));
    o->confirm(p, 70); /* too late */
    wait_done(70);
    assert_int_equal(done_code, ERR_CONFLICT);
    /* A life that ends before it is confirmed: the next one takes it back. */
    o->apply(p, 8, "e", 1, SZTP_MERGE, 200);
    wait_done(8);
    o->free(p);
    p = platform_hooks_new(loop, &config, &ev);
    for (int i = 0; i < 3000 && strstr(did(), "e\nrollback") == NULL; i++) {
        loop_poll(loop, 10);
    }
    assert_non_null(strstr(did(), "apply merge e\nrollback\n"));
    loop_poll(loop, 10);
    o->freeze(p, 9); /* its end is on its way when the platform goes */
    o->free(p);
    loop_poll(loop, 10);
    assert_int_not_equal(done_order, 9);
}

/* Two thirds of the time of a certificate, whatever its dates. */
static void certificates_are_due(void **state) {
    (void)state;
    assert_int_equal(renew_due_s(1000, 1300), 1200);
    assert_int_equal(renew_due_s(1000, 1001), 1000);
    assert_int_equal(renew_due_s(1000, 1000), 1000);
    assert_int_equal(renew_due_s(2000, 1000), 1000);
    assert_int_equal(renew_due_s(0, INT64_C(253402300799)), INT64_C(168934867198));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(defaults_are_those_of_the_contract),
        T(a_junos_device_has_a_program_or_a_socket),
        T(words_become_bits),
        T(state_is_whole_and_the_flag_a_value),
        T(resolv_conf_is_read),
        T(tasks_end_once_each),
        T(configurations_are_taken_back),
        cmocka_unit_test(certificates_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
