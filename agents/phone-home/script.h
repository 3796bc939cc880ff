// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a script that was delivered (PH-062), or a hook of the device, on the loop: interpreter by
 * its first line, own session and process group, clean environment, time limit, the end of its
 * output kept. For platforms.
 */
#ifndef PHONE_HOME_SCRIPT_H
#define PHONE_HOME_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

enum {
    SCRIPT_MAX = 16 << 20,         /* bytes of a script */
    SCRIPT_OUTPUT_TAIL = 64 << 10, /* of its output that are kept */
    SCRIPT_FILE_MAX = 1 << 20,     /* of it that go into the output file */
    SCRIPT_ARGS_MAX = 8,
    SCRIPT_TERM_MS = 3000, /* between SIGTERM and SIGKILL when time is over */
};

struct script_interpreter {
    char path[256];
    char arg[256]; /* the one argument that a first line can give; "" none */
};
/* The interpreter that the first line names: a shell (sh, bash, dash, ash, ksh) or Python, by its
 * path or through env (PH-061). ERR_UNSUPPORTED: another or none. */
enum err_code script_interpreter(const void *text, size_t n, struct script_interpreter *out,
                                 struct err *e);

struct script_result {
    int status;        /* exit status 0..255; -1: it was killed, by a signal or for its time */
    struct buf output; /* the last SCRIPT_OUTPUT_TAIL bytes of stdout and stderr together */
};
/* `e` NULL: exit status 0. Both are valid during the call; buf_take may empty r->output. */
typedef void script_fn(void *arg, struct script_result *r, const struct err *e);

struct script_config {
    const char *file; /* a script's text is written there (mode 0700) and removed afterwards */
    const void *text; /* NULL: `file` is a program that is there, and is run as it is */
    size_t n;
    const char *args[SCRIPT_ARGS_MAX];        /* NULL after the last */
    const char *environment[SCRIPT_ARGS_MAX]; /* "NAME=value"; beside PATH, HOME, LANG */
    const char *output_file;                  /* its first SCRIPT_FILE_MAX bytes; NULL: none */
    const void *input;                        /* on its standard input; NULL: /dev/null */
    size_t input_n;                           /* at most SCRIPT_MAX */
    int64_t deadline_ms;                      /* 1..; for the whole run */
    bool keep_group; /* what it left running may go on; otherwise it is killed when it ends */
};
struct script;
/* Everything is copied. `fn` is called once, never from inside; then the pointer is dead. */
struct script *script_start(struct loop *l, const struct script_config *c, script_fn *fn,
                            void *arg);
/* Kills the group; no callback. NULL is allowed. */
void script_cancel(struct script *s);

/* Starts a program in a session of its own, in "/", with no signal blocked or ignored and no
 * descriptor but `fds` as 0, 1 and 2 (-1: /dev/null); they stay the caller's. argv[0] is its path.
 * *pid 0 on an error. */
enum err_code script_spawn(char **argv, char **env, const int fds[3], pid_t *pid, struct err *e);

#endif
