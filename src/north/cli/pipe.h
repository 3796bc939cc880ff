// SPDX-License-Identifier: Apache-2.0
/*
 * What follows a | : filters that text goes through line by line, and settings that the command
 * itself looks at (display, compare). Memory is bounded: lines are at most PIPE_LINE_MAX bytes
 * (longer ones are cut into several), `last` keeps at most PIPE_LAST_BYTES.
 */
#ifndef NORTH_CLI_PIPE_H
#define NORTH_CLI_PIPE_H

#include <regex.h>

#include "base/buf.h"
#include "north/cli/parse.h"

enum {
    PIPE_STAGES_MAX = 16,
    PIPE_LINE_MAX = 65536,
    PIPE_LAST_LINES = 10000,
    PIPE_LAST_BYTES = 4 << 20,
    PIPE_PATTERN_MAX = 256,
    REFRESH_S = 5
};

enum pipe_type { PIPE_MATCH, PIPE_EXCEPT, PIPE_FIND, PIPE_COUNT, PIPE_LAST, PIPE_TRIM };

struct pipe_stage {
    enum pipe_type type;
    regex_t regex;
    bool has_regex, found;
    uint64_t n; /* last: lines; trim: columns; count: counted so far */
    struct buf line;
    char **kept; /* last: a ring of n_kept lines beginning at first */
    size_t first, n_kept, kept_bytes;
};

struct pipes {
    struct pipe_stage *stages; /* in the parse's arena */
    size_t n;
    bool no_more;
    unsigned refresh_s;       /* 0: once */
    const char *save;         /* file name at the terminal; NULL: none */
    bool display;             /* a format was given */
    enum model_format format; /* FORMAT_TEXT unless given */
    bool compare;
    int64_t compare_rollback; /* -1: with the running configuration */
    void (*emit)(void *arg, const char *p, size_t n);
    void *arg;
};

/* What the command at hand understands besides the filters. */
struct pipe_allow {
    bool display, compare, refresh;
};

/* Reads everything from the first | on. The regular expressions live until pipes_free. */
bool pipes_parse(struct parse *p, const struct pipe_allow *allow, struct pipes *out);
/* `emit` gets what comes out at the end. */
void pipes_start(struct pipes *ps, void (*emit)(void *arg, const char *p, size_t n), void *arg);
void pipes_write(struct pipes *ps, const char *p, size_t n);
void pipes_end(struct pipes *ps); /* the text is complete: what stages kept comes out */
void pipes_free(struct pipes *ps);

/* A regular expression (POSIX extended, case ignored) whose cost is bounded. */
enum err_code pipe_regex(const char *pattern, regex_t *out, struct err *e);

#endif
