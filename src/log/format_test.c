// SPDX-License-Identifier: Apache-2.0
/* What is on the disk: newer versions are refused, damage is found and named. */
#include "log/testing.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/entry.h"

struct store {
    char dir[64], path[96], tables[112], url[112];
    struct log *log;
};

static void open_store(struct store *s) {
    OK(log_open(s->url, NULL, &s->log, &e_));
}

static void close_store(struct store *s) {
    log_close(s->log);
    s->log = NULL;
}

static void append(struct store *s, int n) {
    struct log_lease l = {.holder = "test", .ttl_ns = NS_PER_S};
    OK(log_lease_acquire(s->log, &l, &e_));
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i % 4);
        struct log_op op = testing_put(i % 2 ? LOG_CONFIG : LOG_STATE, key, "a value to be found");
        struct log_entry e = {.who = "me", .why = "test", .ops = &op, .n_ops = 1};
        OK(log_append(s->log, log_head(s->log), l.fence, &e, 1, &e_));
    }
}

static int set_up(void **state) {
    struct store *s = MEM_NEW(struct store);
    testing_dir(s->dir);
    snprintf(s->path, sizeof s->path, "%s/log.db", s->dir);
    snprintf(s->tables, sizeof s->tables, "%s-tables", s->path);
    snprintf(s->url, sizeof s->url, "sqlite:%s", s->path);
    *state = s;
    return 0;
}

static int tear_down(void **state) {
    struct store *s = *state;
    log_close(s->log);
    testing_remove(s->dir);
    mem_free(s);
    return 0;
}

static void sql(const char *path, const char *text) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static bool count(const struct log_entry *e, void *arg) {
    ++*(int *)arg;
    return true;
}

static bool count_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                      uint64_t modified, void *arg) {
    ++*(int *)arg;
    return true;
}

static void say(const char *where, const char *text, void *arg) {
    buf_printf(arg, "%s: %s\n", where, text);
}

static size_t findings(struct store *s, struct buf *text) {
    size_t n = 0;
    struct buf mine = BUF_INIT;
    text = text ? text : &mine;
    OK(log_check(s->log, say, text, &n, &e_));
    buf_free(&mine);
    return n;
}

static void test_crc32c(void **state) {
    /* RFC 3720 appendix B.4: 32 bytes of zeroes, of ones, ascending. */
    uint8_t b[32] = {0};
    assert_int_equal(crc32c(0, b, 32), 0x8a9136aau);
    memset(b, 0xff, 32);
    assert_int_equal(crc32c(0, b, 32), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) {
        b[i] = i;
    }
    assert_int_equal(crc32c(0, b, 32), 0x46dd794eu);
    for (size_t n = 0; n <= 32; n++) {
        assert_int_equal(crc32c(0, b, n), crc32c_table(0, b, n));
        assert_int_equal(crc32c(crc32c(0, b, n), b + n, 32 - n), 0x46dd794eu);
    }
}

static void test_modes(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 1);
    static const char *const suffixes[] = {"", "-wal", "-lock", "-tables", "-tables-wal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[128];
        struct stat st;
        snprintf(name, sizeof name, "%s%s", s->path, suffixes[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void test_newer_store_is_refused(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 3);
    close_store(s);
    sql(s->path, "PRAGMA user_version=2");
    FAILS(log_open(s->url, NULL, &s->log, &e_), ERR_UNSUPPORTED);
    assert_non_null(strstr(e_.text, "newer Weft"));
    assert_non_null(strstr(e_.text, "format 2"));
    assert_string_equal(e_.path, s->path);
    sql(s->path, "PRAGMA user_version=1");
    sql(s->tables, "PRAGMA user_version=2");
    FAILS(log_open(s->url, NULL, &s->log, &e_), ERR_UNSUPPORTED);
    assert_string_equal(e_.path, s->tables);
    sql(s->tables, "PRAGMA user_version=1");
    open_store(s);
    assert_int_equal(log_head(s->log), 3);
}

static void test_newer_row_is_refused(void **state) {
    struct log_entry e = {.index = 9, .who = "w", .why = "y"};
    struct buf b = BUF_INIT;
    struct log_decoded d = {0};
    log_entry_encode(&b, &e);
    OK(log_entry_decode(b.data, b.len, 9, &d, &e_));
    b.data[4] = LOG_ROW_VERSION + 1;
    uint32_t sum = crc32c(0, b.data + 4, b.len - 4);
    for (int i = 0; i < 4; i++) {
        b.data[i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    FAILS(log_entry_decode(b.data, b.len, 9, &d, &e_), ERR_UNSUPPORTED);
    assert_string_equal(e_.path, "entry 9");
    log_decoded_free(&d);
    buf_free(&b);
}

static void test_foreign_files_are_refused(void **state) {
    struct store *s = *state;
    FILE *f = fopen(s->path, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("this is a text and no log\n", f);
    }
    fclose(f);
    FAILS(log_open(s->url, NULL, &s->log, &e_), ERR_INVALID);
    unlink(s->path);
    sql(s->path, "CREATE TABLE t(a)");
    FAILS(log_open(s->url, NULL, &s->log, &e_), ERR_INVALID);
    char url[160];
    snprintf(url, sizeof url, "sqlite:%s/no/such/dir/log.db", s->dir);
    FAILS(log_open(url, NULL, &s->log, &e_), ERR_IO);
    FAILS(log_open("sqlite:", NULL, &s->log, &e_), ERR_INVALID);
}

static void test_damaged_row_is_named(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 5);
    close_store(s);
    sql(s->path, "UPDATE log SET row = substr(row,1,20) || x'ff' || substr(row,22) WHERE idx=3");
    open_store(s);
    int n = 0;
    FAILS(log_read(s->log, 1, UINT64_MAX, count, &n, &e_), ERR_MALFORMED);
    assert_int_equal(n, 2);
    assert_string_equal(e_.path, "entry 3");
    struct buf b = BUF_INIT;
    assert_true(findings(s, &b) > 0);
    assert_non_null(strstr(buf_cstr(&b), "entry 3"));
    buf_free(&b);
}

static void test_damaged_table_is_named(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 8);
    OK(log_fold(s->log, 0, NULL, &e_));
    close_store(s);
    sql(s->tables, "UPDATE folded SET value = x'00' WHERE key = CAST('key2' AS BLOB)");
    open_store(s);
    int n = 0;
    FAILS(log_snapshot(s->log, LOG_STATE, "", 0, NULL, count_row, &n, &e_), ERR_MALFORMED);
    assert_non_null(strstr(e_.text, "key2"));
    struct buf b = BUF_INIT;
    assert_true(findings(s, &b) >= 2); /* the checksum, and the replay */
    buf_free(&b);
}

static void test_missing_entry_is_found(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 8);
    close_store(s);
    sql(s->path, "DELETE FROM log WHERE idx=4");
    open_store(s);
    struct buf b = BUF_INIT;
    assert_true(findings(s, &b) >= 2); /* the gap, and the broken chain */
    assert_non_null(strstr(buf_cstr(&b), "entries 4 to 4 are missing"));
    buf_free(&b);
}

static void test_lost_tables_are_made_anew(void **state) {
    struct store *s = *state;
    open_store(s);
    append(s, 8);
    close_store(s);
    unlink(s->tables);
    open_store(s);
    int n = 0;
    OK(log_snapshot(s->log, LOG_STATE, "", 0, NULL, count_row, &n, &e_));
    assert_int_equal(n, 2);
    struct log_keep keep = {.entries = 1};
    OK(log_trim(s->log, &keep, NULL, &e_));
    close_store(s);
    /* Now they hold what the log does not any more. */
    unlink(s->tables);
    FAILS(log_open(s->url, NULL, &s->log, &e_), ERR_ABSENT);
    assert_string_equal(e_.path, s->tables);
}

/* One flipped bit anywhere in the files: everything reads as before, or an error says so. */
static void test_flipped_bits(void **state) {
    struct store *s = *state;
    struct store copy = *s;
    snprintf(copy.path, sizeof copy.path, "%s/copy.db", s->dir);
    snprintf(copy.tables, sizeof copy.tables, "%s-tables", copy.path);
    snprintf(copy.url, sizeof copy.url, "sqlite:%s", copy.path);
    open_store(s);
    append(s, 60);
    close_store(s);
    struct rng r;
    rng_seed(&r, 4711);
    int detected = 0, silent = 0;
    for (int round = 0; round < 120; round++) {
        bool tables = rng_chance(&r, 50);
        testing_remove(copy.path);
        testing_copy(s->path, copy.path);
        testing_copy(s->tables, copy.tables);
        int fd = open(tables ? copy.tables : copy.path, O_RDWR);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        off_t at = (off_t)rng_below(&r, (uint64_t)st.st_size);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1 << rng_below(&r, 8));
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        struct err e = {0};
        int entries = 0, rows = 0;
        struct log *log = NULL;
        bool good = log_open(copy.url, NULL, &log, &e) == ERR_OK &&
                    log_read(log, 1, UINT64_MAX, count, &entries, &e) == ERR_OK &&
                    log_snapshot(log, LOG_STATE, "", 0, NULL, count_row, &rows, &e) == ERR_OK &&
                    log_snapshot(log, LOG_CONFIG, "", 0, NULL, count_row, &rows, &e) == ERR_OK;
        if (good && (entries != 60 || rows != 4)) {
            size_t n = 0;
            assert_int_equal(log_check(log, NULL, NULL, &n, &e), ERR_OK);
            assert_true(n > 0); /* a lost page of a tree is for the check to find */
        }
        good ? silent++ : detected++;
        assert_true(good || e.text[0] != '\0');
        log_close(log);
        for (int i = 0; i < 7; i++) {
            static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                                   "-tables", "-tables-wal", "-tables-shm"};
            char name[160];
            snprintf(name, sizeof name, "%s%s", copy.path, suffixes[i]);
            unlink(name);
        }
    }
    print_message("%d flips detected, %d in bytes that carry nothing\n", detected, silent);
    assert_true(detected > 0);
}

/* Every cut and every flip of a row is refused. */
static void test_decoder_refuses_damage(void **state) {
    struct log_op ops[] = {testing_put(LOG_CONFIG, "k", "v"), testing_put(LOG_STATE, "l", NULL)};
    struct log_entry e = {.index = 7, .who = "w", .why = "y", .ops = ops, .n_ops = 2};
    struct buf b = BUF_INIT;
    struct log_decoded d = {0};
    log_entry_encode(&b, &e);
    OK(log_entry_decode(b.data, b.len, 7, &d, &e_));
    FAILS(log_entry_decode(b.data, b.len, 8, &d, &e_), ERR_MALFORMED);
    for (size_t n = 0; n < b.len; n++) {
        FAILS(log_entry_decode(b.data, n, 7, &d, &e_), ERR_MALFORMED);
    }
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        FAILS(log_entry_decode(b.data, b.len, 7, &d, &e_), ERR_MALFORMED);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    log_decoded_free(&d);
    buf_free(&b);
}

static bool show_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                     uint64_t modified, void *arg) {
    buf_printf(arg, "%.*s=%.*s@%llu ", (int)key_len, (const char *)key, (int)value_len,
               (const char *)value, (unsigned long long)modified);
    return true;
}

/* The stores of all releases so far open, read and go on. testdata/ gets one for each format. */
static void test_stores_of_earlier_releases(void **state) {
    struct store *s = *state;
    testing_copy(LOG_TESTDATA "/v1.db", s->path);
    testing_copy(LOG_TESTDATA "/v1.db-tables", s->tables);
    open_store(s);
    assert_int_equal(log_head(s->log), 6);
    struct buf b = BUF_INIT;
    OK(log_snapshot(s->log, LOG_CONFIG, "", 0, NULL, show_row, &b, &e_));
    OK(log_snapshot(s->log, LOG_STATE, "", 0, NULL, show_row, &b, &e_));
    assert_string_equal(buf_cstr(&b), "key0=value 3@3 key1=value 1@1 key2=value 5@5 "
                                      "key1=value 4@4 key2=value 2@2 ");
    buf_free(&b);
    append(s, 3);
    assert_int_equal(log_head(s->log), 9);
    assert_int_equal(findings(s, NULL), 0);
}

/* What somebody put into a backup's schema is neither run nor taken over. */
static void test_a_backup_with_triggers(void **state) {
    struct store *s = *state;
    char backup[160], url[160];
    open_store(s);
    append(s, 3);
    snprintf(backup, sizeof backup, "%s/backup", s->dir);
    snprintf(url, sizeof url, "sqlite:%s/copy", s->dir);
    OK(log_backup(s->log, backup, NULL, &e_));
    sql(backup, "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM log; END");
    FAILS(log_restore(backup, url, &e_), ERR_INVALID);
    assert_non_null(strstr(e_.text, "triggers"));
    assert_int_not_equal(access(strchr(url, ':') + 1, F_OK), 0);
    sql(backup, "DROP TRIGGER t");
    OK(log_restore(backup, url, &e_));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    testing_quiet();
    const struct CMUnitTest tests[] = {
        T(test_crc32c),
        T(test_modes),
        T(test_newer_store_is_refused),
        T(test_newer_row_is_refused),
        T(test_foreign_files_are_refused),
        T(test_damaged_row_is_named),
        T(test_damaged_table_is_named),
        T(test_missing_entry_is_found),
        T(test_lost_tables_are_made_anew),
        T(test_flipped_bits),
        T(test_decoder_refuses_damage),
        T(test_stores_of_earlier_releases),
        T(test_a_backup_with_triggers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
