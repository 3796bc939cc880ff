// SPDX-License-Identifier: Apache-2.0
/*
 * Inside of the engine: a session, and one run of a command. A command is one function. It reads
 * its words, calls run_ready(), and goes on only when that says so: when a line is completed, or
 * wrong, run_ready() is where the function ends. So grammar and action can't drift apart.
 */
#ifndef NORTH_CLI_RUN_H
#define NORTH_CLI_RUN_H

#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "base/list.h"
#include "north/cli/cli.h"
#include "north/cli/pipe.h"
#include "north/cli/statement.h"

struct cli {
    struct cli_options o;
    struct core *core;
    const struct model *model;
    pthread_mutex_t lock; /* sessions and what `show system users` reads of them */
    struct list sessions;
    unsigned n_sessions;
};

enum { CLI_EDITS_MAX = 16, ROLLBACKS = 50 };
enum config_kind { CONFIG_NONE, CONFIG_SHARED, CONFIG_PRIVATE, CONFIG_EXCLUSIVE };

struct cli_session {
    struct list link;
    struct cli *cli;
    uint64_t id;
    struct actor who;
    pthread_mutex_t lock; /* held by the command or completion that runs */
    bool interactive, json;
    _Atomic unsigned rows, columns;
    int64_t since_s;
    _Atomic int64_t used_s;
    _Atomic bool ended;
    _Atomic int config;             /* enum config_kind */
    struct candidate *candidate;    /* NULL outside configuration mode */
    char *edit_path;                /* "/" at the top */
    char *edit_from[CLI_EDITS_MAX]; /* where `edit` was given: `exit` goes back there */
    size_t n_edit_from;
    bool timestamps;
    _Atomic bool plain_space;       /* a blank is a blank */
    uint64_t seen;                  /* the newest commit at its last command */
    _Atomic bool secret;            /* the last line held one */
    _Atomic int idle_timeout;       /* s; -1: as the system settings say */
    char *history[CLI_HISTORY_MAX]; /* a ring */
    uint64_t n_history;
};

struct run {
    struct cli_session *s;
    struct cli *cli;
    struct parse *p;
    const struct cli_sink *sink; /* NULL while completing */
    struct arena *arena;
    struct pipes pipes;
    bool started;        /* pipes are in place */
    struct snap *snap;   /* what completion and reading look at; held */
    struct snap *rights; /* what runs: a candidate gives nobody rights; held */
    struct model_view view;
    int status;
    bool at_line_start; /* of what print_config wrote */
    bool reported;      /* the failure was shown already */
    unsigned depth;     /* run, top ..., up ... inside one another */
    bool probing;       /* nothing is done: it is only found out what would be */
    bool of_leader;     /* of several nodes only the leader can do it */
    bool understood;    /* the line is one, to its end */
};

/* ---- grammar ---- */

struct command_word {  /* one built-in command */
    const char *words; /* "show configuration" */
    const char *args;  /* "[STATEMENT]": for the manual; NULL: none */
    const char *help;
    void (*run)(struct run *r);
    bool hidden;
};
extern const struct command_word operational_commands[], configuration_commands[]; /* NULL ends */
/* Picks a command's words from a table (and from the model's rpcs) and runs it. */
void run_commands(struct run *r, const struct command_word *table, bool rpcs);
void run_rpc(struct run *r, const struct command *c, int picked); /* picked: arg, -1: none */
/* The grammar is through: false when the run ends here. `allow` NULL: no display, no compare. */
bool run_ready(struct run *r, const struct pipe_allow *allow);

/* ---- output ---- */

void run_text(struct run *r, const char *p, size_t n);
void run_printf(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void run_note(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A remark about the mode, where somebody looks. */
void run_mode(struct run *r, const char *text);
/* Shows why it failed, and where, and sets the status that belongs to the code. */
void run_fault(struct run *r, const struct err *e);
void show_place(struct run *r, const struct err *e); /* the place alone: "[edit apm]" */
void run_fail(struct run *r, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool run_stopped(struct run *r);
int run_status_of(enum err_code code);
/* Asks for yes or no; `standard` is what Enter alone means. Where nobody is there to ask: yes. */
bool run_confirm(struct run *r, const char *question, bool standard);
/* A secret, twice when interactive. False: a fault was shown. */
bool run_ask_secret(struct run *r, const char *what, struct buf *out);

/* ---- waiting for core ---- */

struct wait;
struct wait *wait_new(void);
struct wait *wait_hold(struct wait *w);
void wait_release(struct wait *w);
void wait_done(struct wait *w);                                   /* any thread */
bool wait_for(struct run *r, struct wait *w, bool interruptible); /* false: interrupted */

void run_change(struct run *r, struct change *ch); /* returns when ch is done */
void run_call(struct run *r, struct call *cl);
void run_values(struct run *r, struct values *v);
void run_pause(struct cli_session *s); /* a moment, for what looks again and again */
/* What became of a commit, waiting at most timeout_ns. False: interrupted. `text` in the arena. */
bool run_commit_wait(struct run *r, uint64_t index, int64_t timeout_ns, enum commit_phase *phase,
                     char **text);

/* ---- places and printing ---- */

struct place session_place(struct run *r);
void session_set_place(struct cli_session *s, const char *path);
/* `edit`, and `exit` that goes back to where the last `edit` was given. False: there was none. */
void session_enter(struct cli_session *s, const char *path);
bool session_back(struct cli_session *s);
bool readable(void *arg, const char *path); /* arg: the run */
/* Prints the configuration at a place in the format asked for. */
void print_config(struct run *r, const char *path);
/* JSON members of an rpc's output as lines and tables. */
void render_json(struct run *r, const struct node *output, const json_t *members);
void session_host(struct cli *c, char *out, size_t size);

/* ---- commands in other files ---- */

void cmd_commit(struct run *r);
void cmd_load(struct run *r);
void cmd_help(struct run *r); /* these three in both modes */
void cmd_help_apropos(struct run *r);
void cmd_help_statement(struct run *r);
void cmd_monitor_events(struct run *r);
void cmd_monitor_onboard(struct run *r);
void cmd_monitor_log(struct run *r);
void cmd_monitor_job(struct run *r);
void leave_configuration(struct run *r);
void suggest_rollbacks(struct parse *p, const struct option *o);
/* A line for each session in configuration mode but `except`. */
void list_editors(struct run *r, const struct cli_session *except, struct buf *out);

#endif
