// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon as the terminal sees it: a session, lines to run in it, completions. All knowledge of
 * HTTP is in here; all knowledge of the screen is behind struct client_ops.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Exit statuses, the same as north/cli/cli.h gives to commands. */
enum {
    WEFT_OK = 0,
    WEFT_FAILED = 1,
    WEFT_SYNTAX = 2,
    WEFT_NOT_CONNECTED = 3,
    WEFT_DENIED = 4,
    WEFT_TAKEN_BACK = 5,
    WEFT_PENDING = 6,
    WEFT_INTERRUPTED = 130
};

struct client_options {
    const char *socket;               /* unix socket; used unless `host` is given */
    const char *host;                 /* "controller:8443"; NULL: local */
    const char *user;                 /* Basic, with `password` */
    const char *password;             /* may be NULL */
    const char *token;                /* Bearer; may be NULL */
    const char *ca_file;              /* NULL: the system's trust store */
    const char *cert_file, *key_file; /* a client certificate and its key; may be NULL */
    bool json;                        /* data as JSON where nothing else is asked for */
};

struct client_error {
    const char *code, *path, *text; /* for programs */
    const char *shown;              /* for people */
    long start, end;                /* bytes of the line it is about; start < 0: about none */
};

/* What a running command wants from the terminal. Called from inside client_execute(). */
struct client_ops {
    void (*text)(void *arg, const char *p, size_t n);
    void (*note)(void *arg, const char *text);
    void (*error)(void *arg, const struct client_error *e);
    void (*save)(void *arg, const char *file);
    void (*paging)(void *arg, bool on);
    /* The answer, or false with why there is none. */
    bool (*ask)(void *arg, const char *kind, const char *prompt, const char *file,
                struct buf *answer, const char **why);
    bool (*quit)(void *arg); /* the reader has seen enough */
    void *arg;
};

struct client;
struct client *client_new(const struct client_options *o);
void client_free(struct client *c); /* ends the session */
/* Opens a session; on failure prints why to standard error and returns an exit status. */
int client_open(struct client *c, bool interactive, unsigned rows, unsigned columns);
/* Runs a line; returns its exit status. WEFT_NOT_CONNECTED: the daemon or the session is gone, a
 * message was printed. */
int client_execute(struct client *c, const char *line, const struct client_ops *ops);
/* Was the session lost because the daemon went away, perhaps to come back? (Not one that was idle
 * for too long or was ended: that is meant.) */
bool client_lost(const struct client *c);
/* A new session in its place; WEFT_NOT_CONNECTED, without a message: there is no daemon (yet). */
int client_reopen(struct client *c, unsigned rows, unsigned columns);
/* Lines that lead from a new session to where the last one was; "" in operational mode. */
const char *client_way_back(const struct client *c);
const char *client_prompt(const struct client *c);
bool client_ended(const struct client *c);  /* the session is over: exit was given */
bool client_secret(const struct client *c); /* the last line held a secret: don't keep it */
/* As the session's settings left them; the pointers' values stay when it has not said. */
void client_screen(const struct client *c, unsigned *rows, unsigned *columns);
bool client_complete_on_space(const struct client *c);
/* Ends the session from another thread while this one may be anywhere; then end the process. */
void client_abandon(const struct client *c);
void client_resize(struct client *c, unsigned rows, unsigned columns);
/* {"from":..,"insert":..,"items":[..]}; NULL: no answer. json_decref. */
json_t *client_complete(struct client *c, const char *line, size_t cursor);

/* Set by the signal handler, which then writes a byte into client_wake_fd. */
extern volatile int client_interrupted;
extern int client_wake_fd;

#endif
