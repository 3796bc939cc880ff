// SPDX-License-Identifier: Apache-2.0
/*
 * Stores of all releases so far. FOLDER/N.rows holds everything the store of format N contained, as
 * text; N.shown what it meant. Each is opened by today's program and must mean the same. And the
 * story that made the newest one, told again, must give the same rows, byte for byte: when a stored
 * form changes, its version must rise; WEFT_STORES_WRITE=next then writes the next pair beside the
 * old ones. WEFT_STORES_WRITE=newest writes the newest anew: for what is no change of form (a
 * sentence, another story), and before the first release.
 *
 *   stores_test FOLDER
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/logger.h"
#include "core/system.h"
#include "log/log.h"
#include "model/kinds.h"
#include "probe.h"

static const char *folder;
#define START INT64_C(1780000000)

/* ---- the story: everything that is ever stored ----------------------------------------------- */

static void call_done(struct call *cl, void *arg) {
    *(bool *)arg = true;
}

static void system_call(struct rig *r, const struct node *rpc, const char *json) {
    struct call *cl = call_new(&actor_system);
    struct err e = {.code = ERR_OK};
    bool done = false;
    if (rpc_input_parse(core_model(r->core), rpc, json, strlen(json), FORMAT_JSON, cl->arena,
                        &cl->in, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
    core_call(r->core, cl, call_done, &done);
    rig_step(r);
    assert_true(done);
    if (cl->err.code != ERR_OK) {
        fail_msg("%s: %s", cl->err.path, cl->err.text);
    }
    call_free(cl);
}

static void configure(struct rig *r) {
    static const char *const objects[][2] = {
        {"/weft-system:system/settings",
         "{\"weft-system:settings\":{\"hostname\":\"ctl1\",\"location\":\"rack 7\","
         "\"guard-rails\":{\"drain-percent\":100,\"delete-objects\":1000}}}"},
        {"/weft-system:system/logging",
         "{\"weft-system:logging\":{\"level\":\"warn\",\"module\":[{\"name\":\"pools\",\"level\":"
         "\"error\"}]}}"},
        {"/weft-system:system/role=look",
         "{\"weft-system:role\":[{\"name\":\"look\",\"description\":\"may look\",\"right\":["
         "{\"path\":\"/\",\"access\":\"read\"}]}]}"},
        {"/weft-system:system/user=ann",
         "{\"weft-system:user\":[{\"name\":\"ann\",\"full-name\":\"Ann O\",\"role\":[\"look\"],"
         "\"local\":true}]}"},
        {"/weft-system:system/token=t1",
         "{\"weft-system:token\":[{\"id\":\"t1\",\"user\":\"ann\",\"hash\":"
         "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\","
         "\"expires\":\"2030-01-01T00:00:00Z\"}]}"},
        {"/weft-apm:apm/inet-pool/partition=metro",
         "{\"weft-apm:partition\":[{\"name\":\"metro\",\"min-prefix-len\":16,\"max-prefix-len\":28,"
         "\"free-prefix-utilization\":10,\"prefix\":[{\"prefix\":\"10.0.0.0/16\","
         "\"reserved-prefix\":[{\"prefix\":\"10.0.9.0/24\",\"entity\":\"bng2\",\"pool-domain\":"
         "\"vip\"}]},{\"prefix\":\"10.8.0.0/20\"}]}]}"},
    };
    rig_profile(r, "p", 100, 400,
                ",\"hold-down\":30,\"allow-larger\":true,\"auto-reclamation\":{\"active\":\"window"
                "\",\"window-start\":\"04:00-0500\",\"window-duration\":90,\"delay\":5}");
    rig_profile(r, "hand", 10, 300, "");
    rig_partition6(r, "homes", 32, 52, 56,
                   "{\"prefix\":\"2001:db8::/40\"},{\"prefix\":\"2001:db8:1000::/40\"}");
    rig_partition6(r, "links", 48, 64, 0, "{\"prefix\":\"2001:db8:2000::/48\"}");
    rig_match(r, "bng1", "hand");
    rig_match(r, "bng3", "hand");
    rig_match(r, "bng2", "p");
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        rig_must_put(r, objects[i][0], objects[i][1]);
    }
    rig_match(r, "short-lived", "p");
    rig_must_put(r, "/weft-apm:apm/entity-match=short-lived", NULL);
}

static void change_done(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

/* A commit that is taken back unless its targets apply it. */
static void confirmed_profile(struct rig *r) {
    static const char body[] = "{\"weft-apm:pool-domain-profile\":[{\"name\":\"hand\","
                               "\"apportion-threshold\":11,\"reclaim-threshold\":310}]}";
    struct change *ch = change_new(&actor_system);
    bool done = false;
    ch->confirm = CONFIRM_BY_TARGETS;
    ch->confirm_s = 600;
    ch->comment = mem_strdup("on trial");
    change_add(ch, EDIT_REPLACE, "/weft-apm:apm/pool-domain-profile=hand", body, strlen(body),
               FORMAT_JSON);
    core_change(r->core, ch, change_done, &done);
    rig_step(r);
    assert_true(done);
    assert_int_equal(ch->err.code, ERR_OK);
    change_free(ch);
}

static void drain_by_hand(struct rig *r, struct probe *a, const char *pool) {
    rig_call(r, NULL, NULL, NULL, "drain", "entity", "bng1", "pool-domain", "d", "pool", pool,
             "force", "", NULL);
    probe_result(a, probe_order(a)->order_id, 0, "");
}

/* Of IPv6: addresses without end, and prefixes to delegate, one of them in a root given up. */
static void live6(struct rig *r, struct probe *c) {
    struct err e = {.code = ERR_OK};
    probe_init(c, r, "bng3");
    c->six = true;
    probe_connect_empty(c);
    probe_create(c, "na", "links", 64);
    probe_apportion(c, "na", "na", 2, 64);
    probe_result(c, "na", 0, "");
    c->delegated = 56;
    probe_create(c, "pd", "homes", 48);
    probe_apportion(c, "pd", "pd", 2, 48);
    probe_result(c, "pd", 0, "");
    probe_stats(c, "na", UINT64_MAX, 3, 0, NULL);
    assert_int_equal(
        rig_try_partition6(r, "homes", 32, 52, 56, "{\"prefix\":\"2001:db8:1000::/40\"}", true, &e),
        ERR_OK);
}

static void live(struct rig *r) {
    struct probe a, b, c;
    live6(r, &c);
    probe_init(&a, r, "bng1");
    probe_init(&b, r, "bng2");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "give", "d", 5, 24);
    probe_result(&a, "give", 0, "");
    drain_by_hand(r, &a, "d-0000");
    drain_by_hand(r, &a, "d-0001");
    probe_drained(&a, "gone", "d", "d-0001");
    drain_by_hand(r, &a, "d-0002");
    probe_drained(&a, "going", "d", "d-0002");
    rig_call(r, NULL, NULL, NULL, "reclaim", "entity", "bng1", "pool-domain", "d", "pool", "d-0002",
             NULL);
    rig_call(r, NULL, NULL, NULL, "drain", "entity", "bng1", "pool-domain", "d", "pool", "d-0003",
             "force", "", NULL);
    probe_reclaim(&a, "too-many", "d", 900, "d", 10, 254);
    probe_create(&a, "large", "metro", 8);
    probe_apportion(&a, "no", "large", 1, 29);
    probe_apportion(&a, "open", "d", 1, 26);
    /* Found by synchronisation: conflicts, foreign names. */
    const char *names[] = {"found", "lost"};
    const struct probe_pool theirs[] = {{"found", "10.8.0.0/24", 254, 1, 0, false},
                                        {"an odd name", "10.8.1.0/24", 254, 1, 0, false},
                                        {"far", "192.0.2.0/24", 254, 2, 0, false},
                                        {"taken", "10.0.8.0/24", 254, 3, 0, false}};
    probe_connect(&b);
    probe_domains(&b, 2, names);
    probe_create(&b, "found", "metro", 24);
    probe_create(&b, "lost", "nowhere", 24);
    probe_pools(&b, "found", "metro", 4, theirs);
    const struct probe_pool lost[] = {{"lost", "172.16.0.0/24", 254, 2, 0, false}};
    probe_pools(&b, "lost", "nowhere", 1, lost);
    probe_sync_done(&b);
    rig_pass(r, 700 * NS_PER_S); /* samples of use; what was open is uncertain */
    probe_apportion(&b, "last", "found", 1, 27);
    system_call(r, system_target_hold_rpc, "{\"weft-system:input\":{\"target\":\"bng:bng2\"}}");
    /* A root that is given up with pools in it, and a commit that waits for its targets. */
    struct err e = {.code = ERR_OK};
    assert_int_equal(rig_try_partition(r, "metro", 16, 28,
                                       "{\"prefix\":\"10.0.0.0/17\"},{\"prefix\":\"10.9.0.0/20\"}",
                                       true, &e),
                     ERR_OK);
    confirmed_profile(r);
    /* The store as it is now; what the end of the sessions does nobody sees. */
    rig_crash_begin(r);
    probe_free(&a);
    probe_free(&b);
    probe_free(&c);
    rig_crash_end(r);
}

/* ---- rows as text ---------------------------------------------------------------------------- */

static void key_text(struct buf *out, const uint8_t *key, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (key[i] > ' ' && key[i] < 0x7f && key[i] != '%') {
            buf_char(out, (char)key[i]);
        } else {
            buf_printf(out, "%%%02x", key[i]);
        }
    }
}

static bool row_text(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                     uint64_t modified, void *arg) {
    struct buf *out = arg;
    buf_printf(out, " %lu ", (unsigned long)modified);
    key_text(out, key, key_len);
    buf_char(out, ' ');
    for (size_t i = 0; i < value_len; i++) {
        buf_printf(out, "%02x", value[i]);
    }
    buf_str(out, "\n");
    return true;
}

static void store_of(const struct rig *r, char url[200]) {
    snprintf(url, 200, "sqlite:%s/%u/log.db", r->folder, r->generation);
}

static void rows_text(const char *url, struct buf *out) {
    struct log *log = NULL;
    struct err e = {.code = ERR_OK};
    if (log_open(url, NULL, &log, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
    buf_printf(out, "head %lu\n", (unsigned long)log_head(log));
    for (int space = 0; space < 2; space++) {
        struct buf rows = BUF_INIT;
        log_snapshot(log, space == 0 ? LOG_CONFIG : LOG_STATE, "", 0, NULL, row_text, &rows, &e);
        char *text = mem_strdup(buf_cstr(&rows));
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            buf_printf(out, "%s%s\n", space == 0 ? "config" : "state", line);
        }
        mem_free(text);
        buf_free(&rows);
    }
    log_close(log);
}

/* ---- and back -------------------------------------------------------------------------------- */

static unsigned nibble(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

struct row {
    uint64_t modified;
    struct log_op op;
};

static void row_parse(char *line, struct row *out, struct arena *a) {
    char space[8], *key = arena_alloc(a, strlen(line) + 1), *hex = arena_alloc(a, strlen(line) + 1);
    unsigned long modified;
    hex[0] = '\0';
    if (sscanf(line, "%7s %lu %s %s", space, &modified, key, hex) < 3) {
        fail_msg("not a row: %s", line);
    }
    size_t n = 0, len = strlen(hex) / 2;
    for (const char *p = key; *p != '\0'; p++) {
        if (*p == '%') {
            key[n++] = (char)(nibble(p[1]) << 4 | nibble(p[2]));
            p += 2;
        } else {
            key[n++] = *p;
        }
    }
    uint8_t *value = arena_alloc(a, len + 1);
    for (size_t i = 0; i < len; i++) {
        value[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    }
    out->modified = modified;
    out->op = (struct log_op){.space = strcmp(space, "config") == 0 ? LOG_CONFIG : LOG_STATE,
                              .key = (const uint8_t *)key,
                              .key_len = n,
                              .value = value,
                              .value_len = len};
}

/* A store with those rows, each written by the entry that wrote it then. */
static void rows_load(const char *text, const char *url) {
    struct arena *a = arena_new();
    struct log *log = NULL;
    struct err e = {.code = ERR_OK};
    char *copy = arena_strdup(a, text);
    size_t n = 0, cap = 0;
    struct row *rows = NULL;
    unsigned long head = 0;
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (sscanf(line, "head %lu", &head) == 1) {
            continue;
        }
        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            rows = mem_array(rows, cap, sizeof *rows);
        }
        row_parse(line, &rows[n++], a);
    }
    struct log_lease lease = {.holder = "test", .ttl_ns = NS_PER_S};
    if (log_open(url, NULL, &log, &e) != ERR_OK || log_lease_acquire(log, &lease, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
    for (uint64_t index = 1; index <= head; index++) {
        struct log_op ops[256];
        size_t k = 0;
        for (size_t i = 0; i < n; i++) {
            if (rows[i].modified == index && k < 256) {
                ops[k++] = rows[i].op;
            }
        }
        struct log_entry entry = {.who = "system", .ops = ops, .n_ops = k};
        if (log_append(log, index - 1, lease.fence, &entry, 1, &e) != ERR_OK) {
            fail_msg("%s: %s", e.path, e.text);
        }
    }
    log_close(log);
    mem_free(rows);
    arena_free(a);
}

/* ---- what it means --------------------------------------------------------------------------- */

static void shown_rpc(struct rig *r, struct buf *out, const char *rpc, const char *name,
                      const char *value, const char *name2, const char *value2) {
    struct err e = {.code = ERR_OK};
    buf_printf(out, "\n== %s %s %s %s\n", rpc, name ? name : "", value ? value : "",
               name2 ? name2 : "");
    if (rig_call(r, out, NULL, &e, rpc, name, value, name2, value2, NULL) != ERR_OK) {
        fail_msg("%s: %s", rpc, e.text);
    }
}

static void shown(struct rig *r, struct buf *out) {
    struct snap *s = core_snapshot(r->core);
    for (const struct object *o = snap_next(s, NULL); o != NULL; o = snap_next(s, o)) {
        buf_printf(out, "%s created %lu modified %lu owner %s\n  %.*s\n", o->doc->path,
                   (unsigned long)o->created, (unsigned long)o->modified, o->owner ? o->owner : "-",
                   (int)o->doc->json_len, o->doc->json);
    }
    snap_release(s);
    struct commit_info ci[64];
    size_t n = core_history(r->core, ci, 64);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "commit %lu at %ld by %s from %s: %s %s\n", (unsigned long)ci[i].index,
                   (long)ci[i].time_s, ci[i].user, ci[i].source, ci[i].comment, ci[i].label);
    }
    int64_t deadline = 0;
    uint64_t waits = core_confirm_pending(r->core, &deadline);
    buf_printf(out, "commit %lu waits until %ld\n", (unsigned long)waits, (long)deadline);
    for (struct target_session *t = target_next(r->core, NULL); t; t = target_next(r->core, t)) {
        struct target_info i;
        target_info(t, &i);
        buf_printf(out, "target %s %s\n", i.name, target_state_name(i.state));
    }
    shown_rpc(r, out, "show-entity", "id", "bng1", NULL, NULL);
    shown_rpc(r, out, "show-entity", "id", "bng2", NULL, NULL);
    shown_rpc(r, out, "show-partition", "name", "metro", "tree", "");
    shown_rpc(r, out, "show-alarms", NULL, NULL, NULL, NULL);
    shown_rpc(r, out, "show-reclaim-events", NULL, NULL, NULL, NULL);
    shown_rpc(r, out, "show-utilization", NULL, NULL, NULL, NULL);
    shown_rpc(r, out, "explain-domain", "domain", "found", NULL, NULL);
    shown_rpc(r, out, "explain-domain", "domain", "large", NULL, NULL);
    if (r->pools->drift != NULL) { /* since the fourth */
        shown_rpc(r, out, "show-drift", NULL, NULL, NULL, NULL);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool file_read(unsigned n, const char *ending, struct buf *out) {
    char path[300];
    snprintf(path, sizeof path, "%s/%u.%s", folder, n, ending);
    FILE *f = fopen(path, "rb");
    char part[65536];
    size_t got;
    if (f == NULL) {
        return false;
    }
    while ((got = fread(part, 1, sizeof part, f)) > 0) {
        buf_add(out, part, got);
    }
    fclose(f);
    return true;
}

static void file_write(unsigned n, const char *ending, const struct buf *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%u.%s", folder, n, ending);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(text->data, 1, text->len, f) != text->len || fclose(f) != 0) {
        fail_msg("%s can't be written", path);
    }
}

static unsigned newest(void) {
    unsigned n = 0;
    for (struct buf b = BUF_INIT; file_read(n + 1, "rows", &b); buf_free(&b), n++) {
    }
    return n;
}

/* The first line that differs, so that the message can be read. */
static void same_text(const char *what, const char *is, const char *was) {
    size_t line = 1;
    while (*is != '\0' && *is == *was) {
        line += *is == '\n';
        is++;
        was++;
    }
    if (*is != *was) {
        fail_msg("%s, line %zu: now \"%.300s\", then \"%.300s\"", what, line, is, was);
    }
}

static void rig_on(struct rig *r, const char *rows) {
    char url[200];
    rig_open(r, START);
    /* Another store in the place of the new one. */
    unsigned old = r->generation;
    rig_crash_begin(r);
    store_of(r, url);
    char path[200];
    static const char *const endings[] = {"", "-tables", "-wal", "-tables-wal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(path, sizeof path, "%s%s", url + 7, endings[i]);
        unlink(path);
    }
    rows_load(rows, url);
    buf_clear(&r->before); /* it is another one */
    clock_fake_advance(&r->clock, 700 * NS_PER_S);
    rig_crash_end(r);
    assert_int_equal(old + 1, r->generation);
}

/* Every stored form is the one whose version it bears. */
static void the_newest_is_what_is_written_today(void **state) {
    struct rig r;
    struct buf rows = BUF_INIT, want = BUF_INIT, meaning = BUF_INIT;
    char url[200];
    rig_open(&r, START);
    configure(&r);
    live(&r);
    shown(&r, &meaning);
    /* What reading it did to it is not of interest. */
    rig_crash_begin(&r);
    store_of(&r, url);
    rows_text(url, &rows);
    rig_crash_end(&r);
    unsigned n = newest();
    const char *write = getenv("WEFT_STORES_WRITE");
    if (write != NULL) {
        n += n == 0 || strcmp(write, "next") == 0;
        file_write(n, "rows", &rows);
        file_write(n, "shown", &meaning);
        print_message("wrote %s/%u\n", folder, n);
    } else {
        assert_true(n > 0 && file_read(n, "rows", &want));
        same_text("a stored form has changed without a new version", buf_cstr(&rows),
                  buf_cstr(&want));
    }
    rig_close(&r);
    buf_free(&rows);
    buf_free(&want);
    buf_free(&meaning);
}

/* All of them are read, and mean what they meant; and they go on living. */
static void all_of_them_open(void **state) {
    unsigned last = newest();
    assert_true(last > 0);
    for (unsigned n = 1; n <= last; n++) {
        struct rig r;
        struct buf rows = BUF_INIT, want = BUF_INIT, is = BUF_INIT;
        assert_true(file_read(n, "rows", &rows) && file_read(n, "shown", &want));
        rig_on(&r, buf_cstr(&rows));
        rig_verify(&r);
        shown(&r, &is);
        same_text("it means something else", buf_cstr(&is), buf_cstr(&want));
        /* Sessions, changes, a restart. */
        struct probe a;
        probe_init(&a, &r, "bng1");
        a.boot_epoch = 2;
        probe_connect(&a);
        assert_int_equal(probe_domains(&a, 0, NULL)->n_removed_here, 2);
        probe_sync_done(&a);
        rig_profile(&r, "later", 5, 500, "");
        rig_verify(&r);
        probe_free(&a);
        rig_restart(&r);
        rig_verify(&r);
        rig_close(&r);
        buf_free(&rows);
        buf_free(&want);
        buf_free(&is);
    }
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: stores_test FOLDER\n");
        return 2;
    }
    folder = argv[1];
    if (getenv("SIM_LOG") == NULL) {
        logger_set_sink(swallow, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_is_what_is_written_today),
        cmocka_unit_test(all_of_them_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
