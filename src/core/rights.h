// SPDX-License-Identifier: Apache-2.0
/*
 * Who may do what. Users, roles and tokens are objects of weft-system; passwords are yescrypt
 * hashes, tokens are kept as SHA-256 of a secret that is shown once. Slow hashes run in the
 * caller's worker thread; verified credentials are cached by keyed hash for RIGHTS_CACHE_S.
 *
 * Every failure goes into the audit trail (core/logins.h), with the reason, which the one who
 * failed is not told.
 *
 * What a failed login answers, and how long it takes, is the same whether the user is unknown,
 * disabled, without a password, or the password is wrong.
 */
#ifndef CORE_RIGHTS_H
#define CORE_RIGHTS_H

#include "core/core.h"

enum {
    RIGHTS_CACHE_S = 300,
    /* Failed passwords within a minute, then refused without looking: of a user from one address
     * (an IPv6 /64), and from all of them. One stranger alone can't keep a user out. */
    RIGHTS_FAILURES_MAX = 10,
    RIGHTS_FAILURES_ALL_MAX = 100,
    RIGHTS_PASSWORD_MAX = 512,   /* bytes; crypt(5) takes no more */
    RIGHTS_TOKEN_ID_LEN = 12,    /* characters of a token before the dot ... */
    RIGHTS_TOKEN_SECRET_LEN = 43 /* ... and after it: 256 bits */
};

/* Checks a password. Takes tens of milliseconds unless cached: call it from a worker. The time
 * does not tell whether the user exists. ERR_AUTH with one sentence for every reason. */
enum err_code rights_password(struct core *c, const char *user, const char *password,
                              const char *source, struct actor *out, struct err *e);
/* True when rights_password would answer from its cache, at once. */
bool rights_password_cached(struct core *c, const char *user, const char *password);
/* `token` as rights_token_new wrote it: "wt_ID.SECRET". At once. */
enum err_code rights_token(struct core *c, const char *token, const char *source, struct actor *out,
                           struct err *e);
/* The user whose name is the subject CN of a client certificate that was verified. */
enum err_code rights_certificate(struct core *c, const char *cn, const char *source,
                                 struct actor *out, struct err *e);
/* A public key of an SSH login whose signature has been verified: one of the user's own? */
enum err_code rights_key(struct core *c, const char *user, const char *algorithm,
                         const char *base64, const char *source, struct actor *out, struct err *e);
bool rights_key_known(struct core *c, const char *user, const char *algorithm, const char *base64);
/* A local peer by its user id: root and the daemon's own user are administrators; others are the
 * Weft user of the same name, if there is one that says `local`. */
enum err_code rights_local(struct core *c, uint32_t uid, const char *source, struct actor *out,
                           struct err *e);

/* For what goes on after a login, such as an event stream: is the user still there and may log in,
 * and is the token that was shown still good? */
bool rights_stands(const struct core *c, const struct snap *s, const struct actor *a);

/* Somebody who logged in with a password that has ended (too old, or to be changed) may do one
 * thing: set a new one of his own, and has his rights from then on. */
#define RIGHTS_OWN_PASSWORD "/weft-system:password"
bool rights_due(const struct snap *s, const struct actor *a);
enum err_code rights_due_error(const struct actor *a, struct err *e); /* ERR_DENIED, says so */
/* A line for people who log in: that their password has ended, or when it will; nothing when there
 * is nothing to say. */
void rights_notice(struct core *c, const struct actor *a, struct buf *out);

enum right { RIGHT_READ, RIGHT_WRITE, RIGHT_EXEC };
/* In each of the user's roles the right with the longest path that `path` is at or below of
 * decides (one that allows nothing denies); what any role allows is allowed. The path is an
 * instance path or an rpc, "/weft-apm:drain". A path without keys holds all entries. */
bool rights_allow(const struct snap *s, const struct actor *a, enum right r, const char *path);
enum err_code rights_check(const struct snap *s, const struct actor *a, enum right r,
                           const char *path, struct err *e);
/* May the actor run this operation of a protocol, such as "/ietf-netconf:lock"? What changes or
 * shows data is decided by the rights on the data, so operations are open (RFC 8341 3.2.2, 3.4.1)
 * unless a role has a right on this operation, or on its module, without exec, and no role one with
 * it. Those that RFC 8341 denies by default need the right to run them. */
bool rights_allow_operation(const struct snap *s, const struct actor *a, const char *path);
/* Is it the path of an operation that rights can be on? */
bool rights_is_operation(const char *path);
/* How often rights_check said no to what would write or run something; counted since the start of
 * the process (RFC 8341's counters). */
uint64_t rights_denied(enum right r);
void rights_count_denied(
    enum right r); /* for one that is refused elsewhere; READ: a notification */

/* Might the actor read something at or below `path`, though perhaps not `path` itself? */
bool rights_allow_below(const struct snap *s, const struct actor *a, enum right r,
                        const char *path);

/* A yescrypt hash of `password`, mem_free. Slow. NULL when the password is too long. */
char *rights_hash(const char *password);
/* Is `hash` one of `password`? Slow. */
bool rights_hash_fits(const char *hash, const char *password);
/* A new token: its id, the text that is shown once, and the hex SHA-256 that is stored. */
struct rights_token_text {
    char id[RIGHTS_TOKEN_ID_LEN + 1];
    char token[3 + RIGHTS_TOKEN_ID_LEN + 1 + RIGHTS_TOKEN_SECRET_LEN + 1];
    char hash[65];
};
void rights_token_new(struct rights_token_text *out);

#endif
