// SPDX-License-Identifier: Apache-2.0
/*
 * Backup files. The input is either a whole file (first byte 0), or what is to be changed in a good
 * backup (anything else): places of two bytes, a length, and so many bytes; a length of 0 cuts the
 * file there. Either it is refused and nothing is left, or it becomes a store in which the check
 * finds nothing wrong and that reads to its end.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/logger.h"
#include "base/mem.h"
#include "log/log.h"

enum { ENTRIES = 12 };

static char dir[64], backup[96], store[96], url[112];
static struct buf good;

static void drop_line(enum logger_level level, const char *module, const char *line, void *arg) {
    (void)level;
    (void)module;
    (void)line;
    (void)arg;
}

static void no_finding(const char *where, const char *text, void *arg) {
    (void)where;
    (void)text;
    (void)arg;
}

static void must(bool ok) {
    if (!ok) {
        abort();
    }
}

static void forget(const char *path) {
    static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                           "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *name = mem_printf("%s%s", path, suffixes[i]);
        unlink(name);
        mem_free(name);
    }
}

static void at_end(void) {
    forget(store);
    unlink(backup);
    rmdir(dir);
}

static void write_all(const void *p, size_t n) {
    int fd = open(backup, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
}

static void make_good(void) {
    struct log *log;
    struct err e;
    struct log_lease lease = {.holder = "fuzz", .ttl_ns = NS_PER_S};
    must(log_open(url, NULL, &log, &e) == ERR_OK && log_lease_acquire(log, &lease, &e) == ERR_OK);
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint8_t key[8] = {'k', (uint8_t)(i % 5)}, value[300];
        memset(value, (int)i, sizeof value);
        struct log_op ops[2] = {{LOG_CONFIG, key, 2, value, sizeof value - i},
                                {LOG_STATE, key, 2, i % 3 ? value : NULL, i % 3 ? i : 0}};
        struct log_entry entry = {.who = "somebody", .why = "a reason", .ops = ops, .n_ops = 2};
        must(log_append(log, i, lease.fence, &entry, 1, &e) == ERR_OK);
        must(i % 4 != 0 || log_fold(log, 0, NULL, &e) == ERR_OK);
    }
    must(log_backup(log, backup, NULL, &e) == ERR_OK);
    log_close(log);
    forget(store);
    int fd = open(backup, O_RDONLY);
    uint8_t piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        buf_add(&good, piece, (size_t)n);
    }
    must(n == 0);
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    logger_set_sink(drop_line, NULL);
    logger_set_level(NULL, "error");
    snprintf(dir, sizeof dir, "%s/weft-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    must(mkdtemp(dir) != NULL);
    snprintf(backup, sizeof backup, "%s/backup", dir);
    snprintf(store, sizeof store, "%s/store", dir);
    snprintf(url, sizeof url, "sqlite:%s", store);
    make_good();
    atexit(at_end);
    return 0;
}

static void write_changed(struct cur c) {
    struct buf b = BUF_INIT;
    buf_add(&b, good.data, good.len);
    while (cur_left(&c) >= 3) {
        size_t at = cur_u8(&c);
        at = (at << 8 | cur_u8(&c)) % b.len;
        size_t n = cur_u8(&c);
        if (n == 0) {
            b.len = at + 1;
        }
        for (; n > 0 && at < b.len && cur_left(&c) > 0; n--) {
            b.data[at++] = cur_u8(&c);
        }
    }
    write_all(b.data, b.len);
    buf_free(&b);
}

static bool each_entry(const struct log_entry *entry, void *arg) {
    *(uint64_t *)arg += entry->n_ops;
    return true;
}

static bool each_key(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                     uint64_t modified, void *arg) {
    *(uint64_t *)arg += key_len + value_len + (key != NULL) + (value != NULL) + modified;
    return true;
}

static void read_all(void) {
    struct log *log;
    struct err e;
    size_t findings = 0;
    uint64_t sum = 0;
    must(log_open(url, NULL, &log, &e) == ERR_OK);
    must(log_check(log, no_finding, NULL, &findings, &e) == ERR_OK && findings == 0);
    must(log_read(log, 1, UINT64_MAX, each_entry, &sum, &e) == ERR_OK);
    must(log_snapshot(log, LOG_CONFIG, "", 0, NULL, each_key, &sum, &e) == ERR_OK);
    must(log_snapshot(log, LOG_STATE, "", 0, NULL, each_key, &sum, &e) == ERR_OK);
    log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err e = {0};
    if (size == 0) {
        return 0;
    }
    if (data[0] == 0) {
        write_all(data + 1, size - 1);
    } else {
        write_changed(cur_of(data + 1, size - 1));
    }
    if (log_restore(backup, url, &e) == ERR_OK) {
        read_all();
    } else {
        must(e.code != ERR_OK && e.text[0] != '\0' && access(store, F_OK) != 0);
    }
    forget(store);
    return 0;
}
