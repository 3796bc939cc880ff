// SPDX-License-Identifier: Apache-2.0
/*
 * The session with the manager: dials (TLS with client certificate, or clear text when configured),
 * carries the engine's messages, comes back after any break with growing, jittered pauses, and goes
 * round the configured addresses.
 */
#ifndef BNG_SESSION_H
#define BNG_SESSION_H

#include "bng/config.h"
#include "net/loop.h"

struct session; /* opaque */

struct session_stats {
    bool connected; /* the stream stands */
    uint64_t dials, breaks;
    char peer[300];  /* "host:port" of the address in use */
    char node[64];   /* which of several managers that is; "": it does not say */
    char error[512]; /* why the last session ended; "" when none did */
};

/* ERR_*: certificate or key can't be used. */
enum err_code session_new(struct loop *l, const struct bng_config *c, loop_fn *poke, void *arg,
                          struct session **out, struct err *err);
void session_start(struct session *s, struct bng_engine *e);
void session_free(struct session *s);
void session_send(struct session *s, const uint8_t *p, size_t n);
void session_end(struct session *s, const char *why);
/* P-24: the manager says which of several it is; and asks to go to another one. */
void session_is_with(struct session *s, const char *node);
void session_move(struct session *s, const char *node);
/* Reads certificate, key and CA again; used from the next connection on. */
void session_reload(struct session *s);
const struct session_stats *session_stats(const struct session *s);

#endif
