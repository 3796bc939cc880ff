// SPDX-License-Identifier: Apache-2.0
/*
 * Who may do what. Users, roles and tokens are objects of weft-system; passwords are yescrypt
 * hashes, tokens are kept as SHA-256 of a secret that is shown once. Slow hashes run in the
 * caller's worker thread; verified credentials are cached by keyed hash for RIGHTS_CACHE_S.
 */
#ifndef CORE_RIGHTS_H
#define CORE_RIGHTS_H

#include "core/core.h"

enum { RIGHTS_CACHE_S = 300, RIGHTS_FAILURES_MAX = 10 /* per user and minute, then refused */ };

/* Checks a password. Takes tens of milliseconds unless cached: call it from a worker. The time
 * does not tell whether the user exists. */
enum err_code rights_password(struct core *c, const char *user, const char *password,
                              const char *source, struct actor *out, struct err *e);
/* True when rights_password would answer from its cache, at once. */
bool rights_password_cached(struct core *c, const char *user, const char *password);
enum err_code rights_token(struct core *c, const char *token, const char *source, struct actor *out,
                           struct err *e);
/* A local peer by its user id: root and the daemon's own user are administrators; others are the
 * Weft user of the same name, if there is one. */
enum err_code rights_local(struct core *c, uint32_t uid, const char *source, struct actor *out,
                           struct err *e);

enum right { RIGHT_READ, RIGHT_WRITE, RIGHT_EXEC };
/* Longest matching path prefix decides; deny wins over allow at the same length. The path is an
 * instance path or an rpc "/weft-apm:drain". */
bool rights_allow(const struct snap *s, const struct actor *a, enum right r, const char *path);
enum err_code rights_check(const struct snap *s, const struct actor *a, enum right r,
                           const char *path, struct err *e);

/* A yescrypt hash of `password`, mem_free. Slow. */
char *rights_hash(const char *password);

#endif
