// SPDX-License-Identifier: Apache-2.0
#include "weftd/initial.h"

#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"

LOGGER_MODULE(initial);

struct reading {
    const char *file;
    struct err err;
};

static void write_out(void *arg, const char *p, size_t n) {
}

static void note(void *arg, const char *text) {
    L_INFO("initial configuration: %s", text);
}

static void fault(void *arg, const struct err *e, const char *shown, bool has_place, size_t start,
                  size_t end) {
    struct reading *r = arg;
    err_set(&r->err, e->code, r->file, "the initial configuration: %s", shown);
}

static void save(void *arg, const char *file) {
}

static void paging(void *arg, bool on) {
}

static enum err_code ask(void *arg, const struct cli_ask *what, struct buf *answer, struct err *e) {
    struct reading *r = arg;
    if (what->kind != CLI_ASK_FILE) {
        return err_set(e, ERR_ABSENT, NULL, "nobody is there to be asked");
    }
    FILE *f = fopen(r->file, "re");
    if (f == NULL) {
        return err_set(e, ERR_ABSENT, r->file, "can't be read");
    }
    char piece[8192];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && answer->len <= CLI_INPUT_MAX) {
        buf_add(answer, piece, n);
    }
    bool bad = ferror(f) != 0 || answer->len > CLI_INPUT_MAX;
    fclose(f);
    return bad ? err_set(e, ERR_IO, r->file, "can't be read, or is too long") : ERR_OK;
}

static bool stopped(void *arg) {
    return false;
}

enum err_code initial_config(struct core *core, struct cli *cli, const char *file, struct err *e) {
    static const char *const lines[] = {"configure private", "load merge file",
                                        "commit comment \"initial configuration\""};
    struct reading r = {.file = file};
    const struct cli_sink sink = {write_out, note, fault, save, paging, ask, stopped, &r};
    const struct cli_terminal terminal = {.interactive = false, .rows = 0, .columns = 80};
    struct cli_session *s;
    struct commit_info kept[2];
    if (core_history(core, kept, 2) > 1) { /* the first one made the administrator */
        return ERR_OK;
    }
    ERR_TRY(cli_session_new(cli, &actor_system, &terminal, &s, e));
    int status = CLI_OK;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0] && status == CLI_OK; i++) {
        status = cli_execute(s, lines[i], strlen(lines[i]), &sink);
    }
    cli_session_free(s);
    if (status == CLI_OK) {
        L_INFO("the initial configuration was read from %s", file);
        return ERR_OK;
    }
    if (r.err.code == ERR_OK) {
        err_set(&r.err, ERR_REFUSED, file, "the initial configuration was not taken");
    }
    *e = r.err;
    return e->code;
}
