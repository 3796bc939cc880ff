// SPDX-License-Identifier: Apache-2.0
/*
 * The command line over any bytes: each line of the input is completed at its end and in its
 * middle, then executed, in operational and in configuration mode, with the rest of the input as
 * the answer to whatever is asked (so `load ... terminal` reads it). The store is a scratch file.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "core/system.h"
#include "north/cli/cli.h"

enum { LINES_MAX = 40, LOOKS_MAX = 20 };

/* Nothing here outlives the process, so SQLite need not wait for the disk. */
int fsync(int fd) {
    return 0;
}
int fdatasync(int fd) {
    return 0;
}

static struct clock fuzz_clock;
static struct model *model;
static struct core *core;
static struct candidates *candidates;
static struct cli *cli;
static const char *rest;
static size_t rest_len;
static int looks;
static const char *line_now;
static size_t line_len;

static void must(bool cond, const char *what) {
    if (!cond) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void pump(void *arg) {
    (void)arg;
    if (core_step(core) == 0) {
        int64_t next = core_next_timer(core);
        clock_fake_advance(&fuzz_clock, next > 0 ? next : NS_PER_MS);
    }
}

static void drop_line(enum logger_level level, const char *module, const char *line, void *arg) {
    (void)level;
    (void)module;
    (void)line;
    (void)arg;
}

static void remove_store(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db", (int)getpid());
    unlink(path);
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db-wal", (int)getpid());
    unlink(path);
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db-lock", (int)getpid());
    unlink(path);
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db-tables", (int)getpid());
    unlink(path);
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db-tables-wal", (int)getpid());
    unlink(path);
    snprintf(path, sizeof path, "/tmp/fuzz_cli_%d.db-shm", (int)getpid());
    unlink(path);
}

static void load(void) {
    static const struct service *const services[] = {&system_service, NULL};
    char store[64];
    struct err e;
    logger_set_sink(drop_line, NULL);
    clock_fake_init(&fuzz_clock, INT64_C(1700000000) * NS_PER_S);
    remove_store();
    snprintf(store, sizeof store, "sqlite:/tmp/fuzz_cli_%d.db", (int)getpid());
    must(model_load(&model, &e) == ERR_OK, "model");
    struct core_options o = {
        .store = store, .clock = &fuzz_clock, .model = model, .services = services};
    must(core_open(&o, &core, &e) == ERR_OK, e.text);
    remove_store(); /* the open files are enough */
    candidates = candidates_new(core);
    struct cli_options co = {.core = core, .candidates = candidates, .pump = pump};
    cli = cli_new(&co);
}

static void on_write(void *arg, const char *p, size_t n) {
    (void)arg;
    must(p != NULL || n == 0, "write");
}
static void on_text(void *arg, const char *text) {
    (void)arg;
    must(text != NULL, "text");
}
static void on_fault(void *arg, const struct err *e, const char *shown, bool has_place,
                     size_t start, size_t end) {
    (void)arg;
    must(shown != NULL, "a fault is shown");
    must(e->code != ERR_OK && e->code != ERR_INTERNAL && e->text[0] != '\0', "a fault has a text");
    must(!has_place || (start <= end && start <= line_len), "a fault has its place in the line");
}
static void on_paging(void *arg, bool on) {
    (void)arg;
    (void)on;
}
static enum err_code on_ask(void *arg, const struct cli_ask *ask, struct buf *answer,
                            struct err *e) {
    (void)arg;
    (void)ask;
    if (rest_len == 0) {
        return err_set(e, ERR_ABSENT, NULL, "end of input");
    }
    buf_add(answer, rest, rest_len);
    return ERR_OK;
}
static bool on_stopped(void *arg) {
    (void)arg;
    return ++looks > LOOKS_MAX;
}
static const struct cli_sink sink = {on_write,  on_text, on_fault,   on_text,
                                     on_paging, on_ask,  on_stopped, NULL};

static void complete(struct cli_session *s, size_t cursor) {
    struct cli_completion c;
    cli_complete(s, line_now, line_len, cursor, &c);
    must(c.from <= line_len, "a completion begins in the line");
    for (size_t i = 0; i < c.n; i++) {
        must(c.items[i].word[0] != '\0', "a suggestion is a word");
    }
    arena_free(c.arena);
}

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct actor who = {.user = "admin", .source = "cli fuzz", .superuser = true};
    struct cli_session *s;
    struct err e;
    if (core == NULL) {
        load();
    }
    struct cli_terminal t = {.interactive = size > 0 && (data[0] & 1), .rows = 24, .columns = 80};
    must(cli_session_new(cli, &who, &t, &s, &e) == ERR_OK, "session");
    if (size > 0 && (data[0] & 2)) {
        cli_execute(s, "configure private", 17, &sink);
    }
    const char *p = (const char *)data + (size > 0), *end = (const char *)data + size;
    for (int i = 0; i < LINES_MAX && p < end; i++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        line_now = p;
        line_len = nl ? (size_t)(nl - p) : (size_t)(end - p);
        p += line_len + (nl != NULL);
        rest = p;
        rest_len = (size_t)(end - p);
        looks = 0;
        complete(s, line_len);
        complete(s, line_len / 2);
        int status = cli_execute(s, line_now, line_len, &sink);
        must(status >= 0 && status <= CLI_INTERRUPTED, "status");
        struct buf prompt = BUF_INIT;
        cli_prompt(s, &prompt);
        buf_free(&prompt);
    }
    cli_session_free(s);
    return 0;
}
