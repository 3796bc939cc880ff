// SPDX-License-Identifier: Apache-2.0
/* Between http.c, which has the sessions of this node, and remote.c, which has the leader do what
 * only it can. */
#ifndef NORTH_CLI_HTTP_INT_H
#define NORTH_CLI_HTTP_INT_H

#include <jansson.h>
#include <pthread.h>

#include "base/map.h"
#include "north/cli/http.h"

#define BASE_PATH "/cli/v1/sessions"
enum { RUN_LEN = 8, TOKEN_LEN = RUN_LEN + 32 };

struct request;

/* What workers have to say to the loop. Mail goes by way of cli_http, so that none is on its way to
 * a session that was freed. */
struct mail {
    loop_fn *fn;
    void *arg;
};

struct cli_http {
    struct cli *cli;
    struct relay *relay; /* NULL: this node is asked nothing that another one must do */
    struct http_auth_config auth;
    struct workers *workers;
    char run[RUN_LEN +
             1];         /* tokens of sessions begin with it: those of another run are told apart */
    struct map sessions; /* token -> struct session */
    struct loop_timer *sweep;
    bool closing;
    pthread_mutex_t lock;
    struct mail *mail;
    size_t n_mail, cap_mail;
    bool posted; /* the loop will come for the mail */
    bool gone;   /* freed but for this: whoever comes for the mail does it */
};

/* The session at the leader in which a session of this node has its commands done that only the
 * leader can do: remote.c. It is opened by the first of them. */
struct twin {
    char token[TOKEN_LEN + 1]; /* "": there is none */
    bool configuring;          /* all lines are for it */
    bool opened_anew;          /* by this command, because the former was gone */
    struct relay_leg *leg;     /* opening it, or the command that runs */
    bool opening;
    int status;    /* of the answer that comes */
    struct buf in; /* of it: what is not yet a line; all of it, where it is no stream */
    size_t owed;
    bool ended; /* the command's last event has come */
    /* ... and waits in `last` until this node shows what the leader showed. */
    struct buf last;
    uint64_t index;
    int64_t hold_until; /* loop time */
    struct loop_timer *wait;
};

/* Fields above the line belong to the loop, those below are shared with the command's thread. */
struct session {
    struct cli_http *h;
    struct cli_session *cli;
    char token[TOKEN_LEN + 1];
    bool interactive;
    bool dead;         /* out of the map: freed when no job is left */
    unsigned jobs;     /* commands and completions under way */
    struct request *q; /* carries the answer to the command; NULL: none, or its peer is gone */
    bool executing;
    char *line;
    bool remote; /* this command is for the twin, whatever it says */
    struct twin twin;
    int64_t used_ms;
    /* ---- */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct buf out; /* events not given to the request yet */
    bool posted;    /* a flush is on its way */
    bool finished;  /* the last event is in `out` */
    bool stop;
    char carry[4]; /* an incomplete character at the end of what was written */
    size_t n_carry;
    bool asking, answered;
    struct buf answer;
    enum err_code answer_rc;
    char answer_why[200];
};

/* One request until it is answered or given to a session. */
struct request {
    struct cli_http *h;
    struct http_req *r; /* NULL: closed */
    struct http_auth_ticket *ticket;
    struct actor who;
    struct session *s;     /* whose command this request carries */
    unsigned held;         /* completions that will answer it */
    struct relay_leg *leg; /* the leader will answer it */
    int status;            /* that answer, as far as it is here */
    struct buf answer;
};

/* ---- http.c ---- */

/* The command's end, whoever ran it: the session is ready for the next. */
void cli_http_executed(struct session *s);
/* Moves what waits in s->out into the request, as long as its peer keeps up. */
void cli_http_flush(struct session *s);
/* One event for the request; the loop's thread or the command's. */
void cli_http_event(struct session *s, const char *json, size_t n);
/* The last event of a command, where this node's session is after it. */
void cli_http_end_event(struct session *s, int status);
void cli_http_refuse(struct http_req *r, enum err_code code, const char *text);

/* ---- remote.c: all on the loop's thread ---- */

/* Has s->line done by the leader; then cli_http_executed. */
void cli_remote_execute(struct session *s);
/* Has the leader answer this request about the session: "/complete", "/input", ... `rest` ends up
 * behind the session's path, with the request's query. */
void cli_remote_forward(struct request *q, struct session *s, const char *rest, const void *body,
                        size_t n);
/* Tells it, and doesn't wait. */
void cli_remote_tell(struct session *s, const char *method, const char *rest, const char *body);
/* The client is gone: so is what runs there. */
void cli_remote_cut(struct session *s);
void cli_remote_end(struct session *s); /* of the session here: also there */
/* What the reader took of the answer. */
void cli_remote_taken(struct session *s);

#endif
