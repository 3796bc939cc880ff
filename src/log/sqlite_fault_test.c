// SPDX-License-Identifier: Apache-2.0
/*
 * A day in the life of a log, with the disk failing at the N-th write or sync, or SQLite getting no
 * memory at the N-th time that it asks, for all N, and the power going at the end or not. Whatever
 * happens: what was acknowledged is there, what failed is not, and the store is sound.
 */
#include "log/testing.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/entry.h"
#include "log/vfs_power.h"

enum { STEPS = 14, KEYS = 5, MEMORY_STRIDE = 7 };

struct day {
    char dir[64], url[128];
    bool reopens; /* by log_reopen when it must, not by closing and opening */
    struct log *log;
    uint64_t fence;
    uint64_t acked;                        /* head after the last append that succeeded */
    uint64_t in_doubt_up_to;               /* an append in doubt may have brought the head here */
    int failures, doubts, opens, reopened; /* what happened */
    enum err_code last;
};

static const struct log_options options = {.sqlite_vfs = VFS_POWER_NAME, .sqlite_checkpoint = 6};

static void value_of(uint64_t index, char out[64]) {
    snprintf(out, 64, "value %llu", (unsigned long long)index);
}

static void key_of(uint64_t index, char out[16]) {
    snprintf(out, 16, "k%llu", (unsigned long long)index % KEYS);
}

static uint8_t space_of(uint64_t index) {
    return index % 3 == 0 ? LOG_CONFIG : LOG_STATE;
}

/* ---- memory that is not to be had ---- */

static sqlite3_mem_methods memory;     /* the real one */
static _Atomic int64_t asked, fail_at; /* 0: never */
static _Atomic bool fail_for_ever;

static bool no_memory(void) {
    int64_t n = ++asked, at = fail_at;
    return at > 0 && (n == at || (n > at && fail_for_ever));
}

static void *failing_malloc(int n) {
    return no_memory() ? NULL : memory.xMalloc(n);
}

static void *failing_realloc(void *p, int n) {
    return no_memory() ? NULL : memory.xRealloc(p, n);
}

/* The n-th request from now on fails; 0: none. */
static void fail_memory(int64_t n, bool for_ever) {
    fail_for_ever = for_ever;
    fail_at = n > 0 ? asked + n : 0;
}

/* Before SQLite is used at all. */
static void watch_memory(void) {
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
    sqlite3_mem_methods m = memory;
    m.xMalloc = failing_malloc;
    m.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &m), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK); /* ask each time */
}

static void no_faults(void) {
    vfs_power_set_faults(NULL);
    fail_memory(0, false);
}

/* ---- verification ---- */

static bool verify_entry(const struct log_entry *e, void *arg) {
    char key[16], value[64];
    key_of(e->index, key);
    value_of(e->index, value);
    assert_int_equal(e->n_ops, 1);
    assert_int_equal(e->ops[0].space, space_of(e->index));
    assert_int_equal(e->ops[0].key_len, strlen(key));
    assert_memory_equal(e->ops[0].key, key, strlen(key));
    assert_int_equal(e->ops[0].value_len, strlen(value));
    assert_memory_equal(e->ops[0].value, value, strlen(value));
    *(uint64_t *)arg = e->index;
    return true;
}

struct rows {
    enum log_space space;
    uint64_t head;
    int n;
};

static bool verify_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                       uint64_t modified, void *arg) {
    struct rows *r = arg;
    char want_key[16], want[64];
    /* It is the last entry that wrote this key in this space. */
    for (uint64_t i = modified + 1; i <= r->head; i++) {
        assert_false(i % KEYS == modified % KEYS && space_of(i) == r->space);
    }
    assert_int_equal(space_of(modified), r->space);
    key_of(modified, want_key);
    value_of(modified, want);
    assert_int_equal(key_len, strlen(want_key));
    assert_memory_equal(key, want_key, key_len);
    assert_int_equal(value_len, strlen(want));
    assert_memory_equal(value, want, value_len);
    r->n++;
    return true;
}

static void say(const char *where, const char *text, void *arg) {
    buf_printf(arg, "%s: %s\n", where, text);
}

static void verify(struct day *d) {
    uint64_t head = log_head(d->log);
    if (head != d->acked && (head < d->acked || head > d->in_doubt_up_to)) {
        fail_msg("the head is %llu, acknowledged was %llu", (unsigned long long)head,
                 (unsigned long long)d->acked);
    }
    d->acked = head;
    d->in_doubt_up_to = 0;
    uint64_t last = 0;
    OK(log_read(d->log, 1, UINT64_MAX, verify_entry, &last, &e_));
    assert_int_equal(last, head);
    static const enum log_space spaces[] = {LOG_CONFIG, LOG_STATE};
    int rows = 0, want = 0;
    for (int i = 0; i < 2; i++) {
        struct rows r = {.space = spaces[i], .head = head};
        OK(log_snapshot(d->log, spaces[i], "", 0, NULL, verify_row, &r, &e_));
        rows += r.n;
        for (int k = 0; k < KEYS; k++) {
            bool written = false;
            for (uint64_t n = 1; n <= head; n++) {
                written |= n % KEYS == (uint64_t)k && space_of(n) == spaces[i];
            }
            want += written;
        }
    }
    assert_int_equal(rows, want);
    struct buf b = BUF_INIT;
    size_t n = 0;
    OK(log_check(d->log, say, &b, &n, &e_));
    if (n != 0) {
        fail_msg("%s", buf_cstr(&b));
    }
    buf_free(&b);
}

/* ---- the day ---- */

/* Opens, however often the fault strikes; it strikes once, or is lifted after some attempts. */
static void open_day(struct day *d, bool check) {
    for (int attempt = 0;; attempt++) {
        if (attempt == 3) {
            no_faults();
        }
        assert_true(attempt < 5);
        struct err err = {0};
        if (d->log == NULL && log_open(d->url, &options, &d->log, &err) != ERR_OK) {
            assert_true(err.text[0] != '\0');
            d->failures++;
            continue;
        }
        d->opens++;
        struct log_lease l = {.holder = "day", .ttl_ns = NS_PER_S};
        if (log_lease_acquire(d->log, &l, &err) != ERR_OK) {
            d->failures++;
            log_close(d->log);
            d->log = NULL;
            continue;
        }
        assert_true(l.fence > d->fence);
        d->fence = l.fence;
        break;
    }
    if (check) {
        uint64_t head = log_head(d->log);
        assert_true(head == d->acked || (head > d->acked && head == d->in_doubt_up_to));
        d->acked = head;
    }
}

/* Whatever a failed append left: after this there is what was acknowledged and nothing else. */
static void reopen_day(struct day *d) {
    for (int attempt = 0;; attempt++) {
        if (attempt == 3) {
            no_faults();
        }
        assert_true(attempt < 5);
        struct err err = {0};
        struct log_status st;
        enum err_code rc = log_reopen(d->log, &err);
        log_status(d->log, &st);
        assert_int_equal(log_head(d->log), d->acked);
        assert_int_equal(st.needs_reopen, rc != ERR_OK);
        if (rc != ERR_OK) {
            assert_true(rc != ERR_CONFLICT && err.text[0] != '\0' && st.reason[0] != '\0');
            d->failures++;
            continue;
        }
        struct log_lease l = {.holder = "day", .ttl_ns = NS_PER_S};
        if (log_lease_acquire(d->log, &l, &err) == ERR_OK) {
            assert_true(l.fence > d->fence);
            d->fence = l.fence;
            break;
        }
        d->failures++;
    }
    d->reopened++;
    d->in_doubt_up_to = 0; /* the doubt is over, for good */
}

static bool append_some(struct day *d, size_t n) {
    struct log_entry batch[3];
    struct log_op ops[3];
    char keys[3][16], values[3][64];
    for (size_t i = 0; i < n; i++) {
        uint64_t index = d->acked + i + 1;
        key_of(index, keys[i]);
        value_of(index, values[i]);
        ops[i] = testing_put(space_of(index), keys[i], values[i]);
        batch[i] = (struct log_entry){.who = "day", .ops = &ops[i], .n_ops = 1};
    }
    struct err err = {0};
    enum err_code rc = log_append(d->log, d->acked, d->fence, batch, n, &err);
    d->last = rc;
    if (rc == ERR_OK) {
        d->acked += n;
        assert_int_equal(log_head(d->log), d->acked);
        return true;
    }
    assert_true(err.text[0] != '\0');
    assert_true(rc == ERR_IO || rc == ERR_LIMIT || rc == ERR_UNAVAILABLE);
    assert_int_equal(log_head(d->log), d->acked);
    assert_int_equal(batch[0].index, 0);
    d->failures++;
    struct log_status st;
    log_status(d->log, &st);
    if (st.in_doubt || vfs_power_was_cut()) {
        d->in_doubt_up_to = d->acked + n;
        d->doubts++;
    }
    if (vfs_power_was_cut() && !st.needs_reopen) {
        no_faults();
        log_close(d->log);
        d->log = NULL;
        open_day(d, true);
        return false;
    }
    if (st.needs_reopen) {
        assert_true(st.reason[0] != '\0');
        FAILS(log_append(d->log, d->acked, d->fence, batch, n, &e_), ERR_UNAVAILABLE);
        if (d->reopens) {
            reopen_day(d);
            return false;
        }
        log_close(d->log);
        d->log = NULL;
        open_day(d, true);
    }
    return false;
}

static void live(struct day *d) {
    for (int step = 0; step < STEPS; step++) {
        struct err err = {0};
        if (!append_some(d, 1 + (size_t)step % 3)) {
            append_some(d, 1); /* space is back, or the log was opened anew */
        }
        if (step % 3 == 1) {
            log_fold(d->log, 2, NULL, &err);
        }
        if (step % 4 == 2) { /* may fail; what it finds is right */
            uint64_t last = 0;
            log_read(d->log, 1, UINT64_MAX, verify_entry, &last, &err);
            assert_true(last <= log_head(d->log));
        }
        if (step == 6) {
            struct log_keep keep = {.entries = 4, .commits = 1};
            log_trim(d->log, &keep, NULL, &err);
        }
        if (step == 10) {
            log_close(d->log);
            d->log = NULL;
            open_day(d, true);
        }
    }
}

static void begin_day(struct day *d, uint64_t seed, unsigned early) {
    *d = (struct day){0};
    testing_dir(d->dir);
    snprintf(d->url, sizeof d->url, "sqlite:%s/log.db", d->dir);
    no_faults();
    vfs_power_seed(seed, early);
}

static void end_day(struct day *d, bool cut) {
    if (cut) {
        vfs_power_cut();
    }
    no_faults();
    log_close(d->log);
    d->log = NULL;
    open_day(d, false);
    verify(d);
    /* And it goes on as if nothing had been. */
    assert_true(append_some(d, 3));
    log_close(d->log);
    d->log = NULL;
    open_day(d, true);
    verify(d);
    log_close(d->log);
    testing_remove(d->dir);
}

struct sweep {
    const char *name;
    enum { WRITES, SYNCS, MEMORY } what; /* the N-th of these fails */
    struct vfs_power_faults faults;
    unsigned early;
    bool cut_at_end;
};

static int64_t so_far(const struct sweep *w) {
    return w->what == SYNCS ? vfs_power_syncs() : w->what == WRITES ? vfs_power_writes() : asked;
}

/* `reopens`: out of a log that takes nothing more by log_reopen, not by closing and opening it. */
static void sweep(const struct sweep *w, bool reopens) {
    struct vfs_power_faults f = w->faults;
    int struck = 0, doubts = 0, reopened = 0;
    for (int64_t n = 1;; n += w->what == MEMORY ? MEMORY_STRIDE : 1) {
        struct day d;
        begin_day(&d, (uint64_t)n, w->early);
        d.reopens = reopens;
        f.fail_sync = w->what == SYNCS ? n : 0;
        f.fail_write = w->what == WRITES ? n : 0;
        int64_t before = so_far(w);
        vfs_power_set_faults(&f);
        fail_memory(w->what == MEMORY ? n : 0, f.for_ever);
        open_day(&d, true);
        live(&d);
        int64_t passed = so_far(w) - before;
        end_day(&d, w->cut_at_end);
        struck += d.failures > 0;
        doubts += d.doubts;
        reopened += d.reopened;
        if (n > passed) {
            print_message("%s: %d of %lld days had a failure, %d a doubt; opened again %d times\n",
                          w->name, struck, (long long)n, doubts, reopened);
            break;
        }
    }
    assert_true(struck > 0);
    assert_true(reopened > 0 || !reopens || w->what != SYNCS);
    /* A sync that fails once leaves no doubt: the batch is voided, and that is synced. */
    assert_true(doubts == 0 || f.for_ever || f.cut);
}

/* proves: F-05 */
static void test_sync_fails_once(void **state) {
    sweep(&(struct sweep){"sync fails", SYNCS, {.partial_percent = 50}, 0, false}, false);
    sweep(&(struct sweep){"sync fails", SYNCS, {.partial_percent = 50}, 0, false}, true);
    sweep(&(struct sweep){"sync fails, cut at the end", SYNCS, {.partial_percent = 50}, 0, true},
          false);
    sweep(&(struct sweep){"sync fails, cut at the end", SYNCS, {.partial_percent = 50}, 0, true},
          true);
}

/* proves: F-05 */
static void test_sync_fails_for_ever(void **state) {
    struct vfs_power_faults f = {.for_ever = true, .partial_percent = 50};
    sweep(&(struct sweep){"sync fails for ever", SYNCS, f, 0, false}, false);
    sweep(&(struct sweep){"sync fails for ever", SYNCS, f, 0, false}, true);
    sweep(&(struct sweep){"sync fails for ever, cut at the end", SYNCS, f, 30, true}, false);
    sweep(&(struct sweep){"sync fails for ever, cut at the end", SYNCS, f, 30, true}, true);
}

static void test_write_fails(void **state) {
    struct vfs_power_faults f = {.write_code = SQLITE_IOERR_WRITE};
    sweep(&(struct sweep){"write fails", WRITES, f, 0, true}, false);
    f.for_ever = true;
    sweep(&(struct sweep){"write fails for ever", WRITES, f, 30, true}, false);
}

/* proves: F-04 */
static void test_disk_full(void **state) {
    struct vfs_power_faults f = {.write_code = SQLITE_FULL};
    sweep(&(struct sweep){"disk full for one write", WRITES, f, 0, false}, false);
    f.for_ever = true;
    sweep(&(struct sweep){"disk full", WRITES, f, 0, true}, false);
}

/* proves: F-06 */
/* SQLite gives up what it was doing; what that was must not matter. (Our own memory: see
 * base/mem.h, the process ends, as in test/crash.) */
static void test_no_memory(void **state) {
    struct vfs_power_faults f = {0};
    sweep(&(struct sweep){"no memory", MEMORY, f, 0, false}, false);
    sweep(&(struct sweep){"no memory, cut at the end", MEMORY, f, 30, true}, true);
    f.for_ever = true;
    sweep(&(struct sweep){"no memory for a while", MEMORY, f, 0, true}, true);
}

/* proves: F-02 */
static void test_power_cut(void **state) {
    struct vfs_power_faults f = {.cut = true};
    sweep(&(struct sweep){"power cut at a sync", SYNCS, f, 0, false}, false);
    sweep(&(struct sweep){"power cut at a sync", SYNCS, f, 0, false}, true);
    sweep(&(struct sweep){"power cut at a sync, torn", SYNCS, f, 40, false}, false);
    sweep(&(struct sweep){"power cut at a sync, torn", SYNCS, f, 40, false}, true);
    sweep(&(struct sweep){"power cut at a write, torn", WRITES, f, 40, false}, false);
    sweep(&(struct sweep){"power cut at a write, torn", WRITES, f, 40, false}, true);
}

/* proves: F-04 */
/* The disk is full for a while: appends fail cleanly and go on by themselves when there is room. */
static void test_room_comes_back(void **state) {
    struct day d;
    begin_day(&d, 1, 0);
    open_day(&d, true);
    live(&d);
    struct vfs_power_faults full = {.capacity = 1};
    vfs_power_set_faults(&full);
    /* What the WAL has been given beforehand still takes entries; then it is full. */
    while (append_some(&d, 3)) {
        assert_true(d.acked < 5000);
    }
    uint64_t opens = (uint64_t)d.opens;
    for (int i = 0; i < 5; i++) {
        assert_false(append_some(&d, 3));
        assert_int_equal(d.last, ERR_LIMIT);
    }
    vfs_power_set_faults(NULL);
    assert_true(append_some(&d, 3));
    assert_int_equal(d.opens, opens); /* without being opened anew */
    verify(&d);
    end_day(&d, true);
}

/* ---- opened again ---- */

/* Leaves the log with a batch of n that failed: complete in the file, as the disk refused the sync
 * and then even the write that should have voided it. */
static void fail_in_doubt(struct day *d, size_t n) {
    int64_t writes = vfs_power_writes();
    assert_true(append_some(d, n)); /* one that takes as many writes */
    writes = vfs_power_writes() - writes;
    struct vfs_power_faults f = {.fail_sync = 1, .fail_write = writes + 1, .for_ever = true};
    vfs_power_set_faults(&f);
    struct log_op op = testing_put(LOG_STATE, "refused", "never");
    struct log_entry batch[3] = {
        {.ops = &op, .n_ops = 1}, {.ops = &op, .n_ops = 1}, {.ops = &op, .n_ops = 1}};
    FAILS(log_append(d->log, d->acked, d->fence, batch, n, &e_), ERR_IO);
    struct log_status st;
    log_status(d->log, &st);
    assert_true(st.needs_reopen && st.in_doubt);
    assert_int_equal(st.head, d->acked);
}

static void refused_is_gone(struct day *d) {
    uint64_t last = 0;
    assert_int_equal(log_head(d->log), d->acked);
    OK(log_read(d->log, 1, UINT64_MAX, verify_entry, &last, &e_)); /* "refused" is not among them */
    assert_int_equal(last, d->acked);
    verify(d);
}

static void test_what_was_refused_stays_away(void **state) {
    for (size_t n = 1; n <= 3; n++) {
        struct day d;
        begin_day(&d, n, 0);
        open_day(&d, true);
        live(&d);
        fail_in_doubt(&d, n);
        FAILS(log_reopen(d.log, &e_), ERR_IO); /* the disk is still bad */
        vfs_power_set_faults(NULL);
        OK(log_reopen(d.log, &e_));
        refused_is_gone(&d);
        struct log_lease l = {.holder = "day", .ttl_ns = NS_PER_S};
        OK(log_lease_acquire(d.log, &l, &e_));
        vfs_power_cut(); /* gone from the disk as well, not from the cache alone */
        log_close(d.log);
        d.log = NULL;
        vfs_power_set_faults(NULL);
        open_day(&d, true);
        refused_is_gone(&d);
        end_day(&d, true);
    }
}

/* Without the reopening it would come alive: the test above tests something. */
static void test_in_doubt_is_told(void **state) {
    struct day d;
    begin_day(&d, 1, 0);
    open_day(&d, true);
    fail_in_doubt(&d, 2);
    vfs_power_set_faults(NULL);
    log_close(d.log);
    OK(log_open(d.url, &options, &d.log, &e_));
    assert_int_equal(log_head(d.log), d.acked + 2);
    log_close(d.log);
    testing_remove(d.dir);
}

static void run_sql(struct day *d, const char *sql, const void *blob, size_t len) {
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(
        sqlite3_open_v2(strchr(d->url, ':') + 1, &db, SQLITE_OPEN_READWRITE, VFS_POWER_NAME),
        SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    if (blob != NULL) {
        sqlite3_bind_blob(stmt, 1, blob, (int)len, SQLITE_STATIC);
    }
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void break_log(struct day *d) {
    struct vfs_power_faults f = {.fail_sync = 1};
    struct log_op op = testing_put(LOG_STATE, "x", "y");
    struct log_entry e = {.ops = &op, .n_ops = 1};
    vfs_power_set_faults(&f);
    FAILS(log_append(d->log, d->acked, d->fence, &e, 1, &e_), ERR_IO);
    vfs_power_set_faults(NULL);
}

/* A store that is not the one we knew is left alone, and says so each time. */
static void test_another_store_is_not_taken(void **state) {
    struct day d;
    begin_day(&d, 1, 0);
    open_day(&d, true);
    assert_true(append_some(&d, 3));
    break_log(&d);
    /* somebody wrote behind our back */
    struct log_entry foreign = {.index = d.acked + 1, .fence = d.fence + 5};
    struct buf row = BUF_INIT;
    char sql[96];
    log_entry_encode(&row, &foreign);
    snprintf(sql, sizeof sql, "INSERT INTO log VALUES(%llu, ?1)", (unsigned long long)d.acked + 1);
    run_sql(&d, sql, row.data, row.len);
    buf_free(&row);
    FAILS(log_reopen(d.log, &e_), ERR_CONFLICT);
    FAILS(log_reopen(d.log, &e_), ERR_CONFLICT);
    struct log *other;
    FAILS(log_open(d.url, &options, &other, &e_), ERR_LOCKED); /* it stays ours */
    snprintf(sql, sizeof sql, "DELETE FROM log WHERE idx > %llu", (unsigned long long)d.acked);
    run_sql(&d, sql, NULL, 0);
    OK(log_reopen(d.log, &e_));
    verify(&d);
    /* entries are missing */
    snprintf(sql, sizeof sql, "DELETE FROM log WHERE idx = %llu", (unsigned long long)d.acked);
    run_sql(&d, sql, NULL, 0);
    FAILS(log_reopen(d.log, &e_), ERR_CONFLICT);
    assert_non_null(strstr(e_.text, "acknowledged"));
    assert_int_equal(log_head(d.log), d.acked);
    struct log_status st;
    log_status(d.log, &st);
    assert_true(st.needs_reopen);
    assert_string_equal(st.reason, e_.text);
    struct log_lease l = {.holder = "day", .ttl_ns = NS_PER_S};
    FAILS(log_lease_acquire(d.log, &l, &e_), ERR_UNAVAILABLE);
    log_close(d.log);
    testing_remove(d.dir);
}

static void test_a_store_that_is_gone(void **state) {
    struct day d;
    char away[160];
    begin_day(&d, 1, 0);
    open_day(&d, true);
    assert_true(append_some(&d, 3));
    break_log(&d);
    const char *path = strchr(d.url, ':') + 1;
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    FAILS(log_reopen(d.log, &e_), ERR_ABSENT);
    assert_int_not_equal(access(path, F_OK), 0); /* no empty one is made in its place */
    assert_int_equal(rename(away, path), 0);
    reopen_day(&d);
    assert_true(append_some(&d, 1));
    end_day(&d, true);
}

/* Tables that are behind, as nothing can be folded any more, are no reason not to save it all. */
static void test_backup_of_a_broken_log(void **state) {
    struct day d;
    char backup[160], copy[160];
    begin_day(&d, 1, 0);
    open_day(&d, true);
    assert_true(append_some(&d, 3));
    OK(log_fold(d.log, 2, NULL, &e_));
    assert_true(append_some(&d, 3));
    break_log(&d);
    struct log_status st;
    log_status(d.log, &st);
    assert_true(st.needs_reopen && st.unfolded_ops > 0);
    uint64_t at = 0;
    snprintf(backup, sizeof backup, "%s/backup", d.dir);
    snprintf(copy, sizeof copy, "sqlite:%s/copy", d.dir);
    OK(log_backup(d.log, backup, &at, &e_));
    assert_int_equal(at, d.acked);
    OK(log_restore(backup, copy, &e_));
    log_close(d.log);
    snprintf(d.url, sizeof d.url, "%s", copy);
    d.log = NULL;
    d.fence = 0;
    open_day(&d, true);
    verify(&d);
    assert_true(append_some(&d, 1));
    log_close(d.log);
    testing_remove(d.dir);
}

int main(void) {
    testing_quiet();
    watch_memory();
    vfs_power_register(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_fails_once),
        cmocka_unit_test(test_sync_fails_for_ever),
        cmocka_unit_test(test_write_fails),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_room_comes_back),
        cmocka_unit_test(test_what_was_refused_stays_away),
        cmocka_unit_test(test_in_doubt_is_told),
        cmocka_unit_test(test_another_store_is_not_taken),
        cmocka_unit_test(test_a_store_that_is_gone),
        cmocka_unit_test(test_backup_of_a_broken_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
