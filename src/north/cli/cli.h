// SPDX-License-Identifier: Apache-2.0
/*
 * The command line as an engine: a line goes in, text comes out, through callbacks. It knows no
 * socket and no terminal; http.h puts it on the HTTP stack. A session belongs to one user and runs
 * one command at a time, in the thread that calls cli_execute(): a worker, since commands wait for
 * the writer, for targets and for answers. Everything it offers comes from the model: a new kind or
 * rpc has commands, completion and help without a line here.
 */
#ifndef NORTH_CLI_CLI_H
#define NORTH_CLI_CLI_H

#include "core/candidate.h"
#include "core/core.h"
#include "north/cli/parse.h"

enum {
    CLI_SESSIONS_MAX = 128,
    CLI_SESSIONS_PER_USER = 32,
    CLI_INPUT_MAX = 64 << 20, /* bytes of one `load` */
    CLI_HISTORY_MAX = 200
};

/* Exit statuses of commands, and of the weft program. */
enum cli_status {
    CLI_OK = 0,
    CLI_FAILED = 1,        /* refused or failed */
    CLI_SYNTAX = 2,        /* not understood */
    CLI_NOT_CONNECTED = 3, /* the program only */
    CLI_DENIED = 4,        /* no right */
    CLI_TAKEN_BACK = 5,    /* a target refused the commit, or it was taken back */
    CLI_PENDING = 6,       /* the commit is made, not every target has applied it in time */
    CLI_INTERRUPTED = 130
};

enum cli_ask_kind {
    CLI_ASK_CONFIRM, /* yes or no, or empty for what is in the prompt */
    CLI_ASK_SECRET,  /* one line, not echoed */
    CLI_ASK_TEXT,    /* lines up to end of input */
    CLI_ASK_FILE     /* the content of a file at the terminal */
};
struct cli_ask {
    enum cli_ask_kind kind;
    const char *prompt; /* CONFIRM, SECRET: before the cursor; TEXT: a line to show first */
    const char *file;   /* FILE */
};

/* Where a command's output goes and its answers come from. */
struct cli_sink {
    /* May block when the reader is slow. */
    void (*write)(void *arg, const char *p, size_t n);
    /* A remark that pipes don't filter: warnings, progress. */
    void (*note)(void *arg, const char *text);
    /* Why the command failed. `shown`: for people, with statements for paths: its text, and
     * perhaps a line "[edit ...]" before it. start..end: bytes of the line it is about, when
     * has_place. */
    void (*fault)(void *arg, const struct err *e, const char *shown, bool has_place, size_t start,
                  size_t end);
    /* Before the first write: the output is for this file at the terminal. */
    void (*save)(void *arg, const char *file);
    /* Before the first write: whether the terminal may stop at the end of the screen. */
    void (*paging)(void *arg, bool on);
    /* Waits for the answer. ERR_ABSENT: end of input; ERR_TIMEOUT: interrupted. */
    enum err_code (*ask)(void *arg, const struct cli_ask *ask, struct buf *answer, struct err *e);
    bool (*stopped)(void *arg); /* interrupted, or the terminal is gone */
    void *arg;
};

struct cli; /* one per process */
struct cli_session;

struct cli_options {
    struct core *core;
    struct candidates *candidates; /* shared with other dialects */
    /* Unthreaded core (tests): called while waiting for the writer. NULL: the core has threads. */
    void (*pump)(void *arg);
    void *pump_arg;
};
struct cli *cli_new(const struct cli_options *o);
void cli_free(struct cli *c); /* no session may be left */

struct cli_terminal {
    bool interactive; /* somebody can answer questions */
    unsigned rows, columns;
    bool json; /* data comes as JSON where the command doesn't say "display" */
};
/* ERR_LIMIT beyond the bounds. Any thread. */
enum err_code cli_session_new(struct cli *c, const struct actor *who, const struct cli_terminal *t,
                              struct cli_session **out, struct err *e);
/* Forgets private edits and gives the lock back. Not while a command runs. */
void cli_session_free(struct cli_session *s);
uint64_t cli_session_id(const struct cli_session *s); /* a small number, for people */
const struct actor *cli_session_actor(const struct cli_session *s);
/* Would its user be let in again? */
bool cli_session_stands(const struct cli_session *s);
bool cli_session_ended(const struct cli_session *s); /* `exit` was given, or it was ended */
/* Seconds it may be idle; 0: for ever. */
unsigned cli_session_idle_timeout(struct cli_session *s);
/* Called by whoever holds it idle for too long or is told to end it: no further command runs. */
void cli_session_end(struct cli_session *s);

/* The terminal's size changed; rows 0: no paging. */
void cli_session_resize(struct cli_session *s, unsigned rows, unsigned columns);
struct cli_screen {
    unsigned rows, columns;
    bool complete_on_space; /* a blank writes out an abbreviated word */
};
struct cli_screen cli_session_screen(const struct cli_session *s);
/* The last line held a secret: whoever keeps a history leaves it out. */
bool cli_session_secret(const struct cli_session *s);
void cli_session_set_secret(struct cli_session *s); /* another node found one in it */
bool cli_session_json(const struct cli_session *s); /* struct cli_terminal */

/* Of several nodes, is it the leader alone that can do what the line says? */
bool cli_is_leaders(struct cli_session *s, const char *line, size_t n);
/* Runs one line. Returns an enum cli_status. */
int cli_execute(struct cli_session *s, const char *line, size_t n, const struct cli_sink *sink);
/* "admin@host> " or "[edit apm]\nadmin@host# ". */
void cli_prompt(struct cli_session *s, struct buf *out);

/* The lines that bring another session to where this one is; none in operational mode. */
void cli_way_back(struct cli_session *s, struct buf *out);

struct cli_completion {
    struct arena *arena; /* everything below */
    const struct suggestion *items;
    size_t n;
    bool more;
    size_t from;        /* byte of the line where the word at the cursor begins */
    const char *insert; /* text for from..cursor; NULL: nothing to insert */
    struct err err;     /* an earlier word is wrong */
    size_t err_start, err_end;
};
/* What may stand at the cursor (bytes). Free with arena_free(out->arena). */
void cli_complete(struct cli_session *s, const char *line, size_t n, size_t cursor,
                  struct cli_completion *out);

/* Ends the session with that number at its next command; false: there is none. */
bool cli_end_session(struct cli *c, uint64_t id);

#endif
