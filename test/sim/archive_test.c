// SPDX-License-Identifier: Apache-2.0
/* Archival under a fake clock: names and contents of files, what waits and for how long, the
 * interval, records that can't be read. That files arrive is shown by test/e2e/test_archival.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "admin/archive_file.h"
#include "admin/internal.h"
#include "rig.h"

#define AT "/weft-system:system/weft-admin:archival"

static struct rig rig;
static struct admin *admin;

static int set_up(void **state) {
    rig_more = &admin_service;
    rig_open(&rig, 1795968600); /* 2026-11-29T16:10:00Z */
    admin = core_service_state(rig.core, "admin");
    return 0;
}

static int tear_down(void **state) {
    rig_close(&rig);
    return 0;
}

static void restart(void) {
    rig_restart(&rig);
    admin = core_service_state(rig.core, "admin");
}

/* Port 1 of the loopback: nobody is there, and that is known at once. */
static const char site[] =
    "\"archive-site\":[{\"name\":\"one\",\"url\":\"scp://a@127.0.0.1:1/x\",\"password\":\"p\","
    "\"host-key\":[\"ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIHnHcs9kFwCLxuQxaJFK4E3Sv9LCmHcaTbdQbDpOjQ3C\"]}]";

static void configure(const char *when) {
    char json[1024];
    snprintf(json, sizeof json, "{\"weft-admin:archival\":{\"configuration\":{%s,%s}}}", when,
             site);
    rig_must_put(&rig, AT, json);
}

static void commit(unsigned i) {
    char json[96];
    snprintf(json, sizeof json, "{\"weft-system:settings\":{\"location\":\"place %u\"}}", i);
    rig_must_put(&rig, "/weft-system:system/settings", json);
}

/* proves: APM-143 */
static void names(void **state) {
    struct archive_naming n = {.prefix = "apm", .time_s = 1795968600};
    char name[ARCHIVE_NAME_MAX];
    archive_name(&n, 0, name);
    assert_string_equal(name, "apm_20261129_161000_weft.conf.gz");
    archive_name(&n, 12, name);
    assert_string_equal(name, "apm_20261129_161000_weft.conf.12.gz");
    n.twin = 1;
    archive_name(&n, 0, name);
    assert_string_equal(name, "apm_20261129_161000-2_weft.conf.gz");
    n.retain = true;
    archive_name(&n, 0, name);
    assert_string_equal(name, "weft.conf.gz");
    archive_name(&n, 49, name);
    assert_string_equal(name, "weft.conf.49.gz");
}

static void unpack(const struct buf *in, char *out, size_t size) {
    z_stream z = {.next_in = in->data,
                  .avail_in = (uInt)in->len,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)size - 1};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    out[z.total_out] = '\0';
    inflateEnd(&z);
}

static void contents(void **state) {
    struct buf a = BUF_INIT, b = BUF_INIT;
    struct err e;
    struct commit_info ci;
    char text[4096];
    configure("\"transfer-on-commit\":true");
    commit(7);
    assert_int_equal(core_history(rig.core, &ci, 1), 1);
    struct snap *s = core_snapshot(rig.core);
    assert_int_equal(archive_content(core_model(rig.core), s, &ci, &a, &e), ERR_OK);
    assert_int_equal(archive_content(core_model(rig.core), s, &ci, &b, &e), ERR_OK);
    snap_release(s);
    assert_int_equal(a.len, b.len); /* a repetition writes the same file */
    assert_memory_equal(a.data, b.data, a.len);
    unpack(&a, text, sizeof text);
    assert_non_null(strstr(text, "location \"place 7\";"));
    assert_non_null(strstr(text, "password ********;"));
    assert_int_equal(strncmp(text, "# commit ", 9), 0);
    buf_clear(&a);
    assert_int_equal(archive_gzip("", 0, &a, &e), ERR_OK);
    unpack(&a, text, sizeof text);
    assert_string_equal(text, "");
    buf_free(&a);
    buf_free(&b);
}

/* proves: APM-146 */
static void a_dead_site_holds_up_nothing(void **state) {
    configure("\"transfer-on-commit\":true");
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(admin->archive.r.n_waiting, 1);
    assert_int_not_equal(admin->archive.r.failing_s, 0);
    assert_non_null(strstr(admin->archive.r.reason, "can't be reached"));
    int64_t since = admin->archive.r.failing_s;
    uint64_t failures = admin->archive.n_failures, job = admin->archive.r.job;
    assert_int_equal(failures, 1);
    for (unsigned i = 0; i < 60; i++) {
        commit(i);
    }
    /* All are committed; what waits is bounded, newest last; one job has them all. */
    assert_int_equal(admin->archive.r.n_waiting, ARCHIVE_WAITING_MAX);
    assert_int_equal(admin->archive.r.skipped, 61 - ARCHIVE_WAITING_MAX);
    struct commit_info ci;
    core_history(rig.core, &ci, 1);
    assert_int_equal(admin->archive.r.waiting[ARCHIVE_WAITING_MAX - 1], ci.index);
    assert_int_equal(admin->archive.r.job, job);
    restart();
    assert_int_equal(admin->archive.r.n_waiting, ARCHIVE_WAITING_MAX);
    assert_true(job_lives(rig.core, job));
    /* Backs off to a quarter of an hour and never gives up. */
    rig_pass(&rig, 3600 * NS_PER_S);
    failures = admin->archive.n_failures;
    assert_in_range(failures, 7, 14);
    rig_pass(&rig, 24 * 3600 * NS_PER_S);
    assert_in_range(admin->archive.n_failures - failures, 90, 100);
    assert_true(job_lives(rig.core, job));
    assert_int_equal(admin->archive.r.failing_s, since);
    /* Told to copy now it does so now, by another job. */
    failures = admin->archive.n_failures;
    struct err e;
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "weft-admin:archive", NULL), ERR_OK);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(admin->archive.n_failures, failures + 1);
    assert_false(job_lives(rig.core, job));
    assert_true(job_lives(rig.core, admin->archive.r.job));
    /* No more archival: nothing waits. */
    rig_must_put(&rig, AT, NULL);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(admin->archive.r.n_waiting, 0);
    assert_int_equal(admin->archive.r.failing_s, 0);
    assert_false(job_lives(rig.core, admin->archive.r.job));
}

static void by_interval(void **state) {
    configure("\"transfer-interval\":30");
    rig_pass(&rig, 29 * 60 * NS_PER_S);
    commit(1);
    commit(2);
    assert_int_equal(admin->archive.r.n_waiting, 0);
    rig_pass(&rig, 61 * NS_PER_S);
    struct commit_info ci;
    core_history(rig.core, &ci, 1);
    assert_int_equal(admin->archive.r.n_waiting, 1); /* the newest only */
    assert_int_equal(admin->archive.r.waiting[0], ci.index);
    assert_int_equal(admin->archive.n_failures, 1);
    rig_pass(&rig, 3600 * NS_PER_S); /* nothing new: nothing more waits */
    assert_int_equal(admin->archive.r.n_waiting, 1);
}

static void records_that_cant_be_read(void **state) {
    struct buf b = BUF_INIT;
    struct err e;
    configure("\"transfer-on-commit\":true");
    rig_pass(&rig, NS_PER_S);
    assert_true(archive_encode(&admin->archive, &b));
    struct archive_record before = admin->archive.r;
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(archive_fold(&admin->archive, b.data, n, &e), ERR_MALFORMED);
    }
    buf_u8(&b, 0);
    assert_int_equal(archive_fold(&admin->archive, b.data, b.len, &e), ERR_MALFORMED);
    b.data[0]++;
    assert_int_equal(archive_fold(&admin->archive, b.data, b.len - 1, &e), ERR_MALFORMED);
    b.data[0]--;
    assert_int_equal(admin->archive.r.n_waiting, before.n_waiting);
    assert_int_equal(archive_fold(&admin->archive, b.data, b.len - 1, &e), ERR_OK);
    assert_int_equal(admin->archive.r.waiting[0], before.waiting[0]);
    assert_string_equal(admin->archive.r.reason, before.reason);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test_setup_teardown(contents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_site_holds_up_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(by_interval, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_that_cant_be_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
