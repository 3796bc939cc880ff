// SPDX-License-Identifier: Apache-2.0
/*
 * SSH as a transport (RFC 4251..4254) on a loop, server side, over libssh: key exchange, logins
 * that may be answered later, and one channel with one subsystem per connection. Bytes go in and
 * out with back-pressure, as in stream.h. Nothing blocks: libssh is asked only when its descriptor
 * is ready.
 *
 * Bounds: connections in all and per peer address, time until somebody is logged in, attempts at
 * it, bytes queued for output.
 */
#ifndef NET_SSHD_H
#define NET_SSHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "net/loop.h"

struct sshd;
struct sshd_conn;

enum {
    SSHD_LOGIN_MS = 30000,   /* from the connection to a login and its subsystem */
    SSHD_ATTEMPTS_MAX = 6,   /* logins tried on one connection */
    SSHD_QUEUE_HIGH = 65536, /* bytes of output above which a writer should wait for `sent` */
    SSHD_USER_MAX = 256,     /* bytes of a user's name */
};

/* How somebody wants to log in: a password, or a public key whose signature libssh has verified.
 * Valid only during the callback. */
struct sshd_login {
    const char *user;
    const char *password;    /* NULL: by key */
    const char *key_type;    /* "ssh-ed25519" */
    const char *key_base64;  /* as in authorized_keys(5) */
    const char *fingerprint; /* "SHA256:..." */
};

struct sshd_ops {
    /* Answered by sshd_login_answer, now or later; no other login of this connection comes before.
     */
    void (*login)(struct sshd_conn *c, const struct sshd_login *l, void *arg);
    /* May this key log in at all? Asked before the client signs (RFC 4252 7); at once. */
    bool (*key_known)(struct sshd_conn *c, const struct sshd_login *l, void *arg);
    /* The subsystem that the client wants; true: it is there and bytes flow from now on. */
    bool (*subsystem)(struct sshd_conn *c, const char *name, void *arg);
    void (*data)(struct sshd_conn *c, const uint8_t *p, size_t n, void *arg);
    void (*sent)(struct sshd_conn *c, void *arg); /* some queued output went out */
    /* The connection is over; it is freed after this returns. Comes exactly once. */
    void (*closed)(struct sshd_conn *c, const char *why, void *arg);
};

struct sshd_config {
    const char *host_key_file; /* made when it is missing (Ed25519, 0600) */
    unsigned max_conns, max_conns_per_peer;
    const struct sshd_ops *ops;
    /* A connection has come: returns the `arg` of its callbacks. */
    void *(*accepted)(struct sshd_conn *c, void *arg);
    void *arg;
};

/* ERR_IO: the host key can't be read or made. */
enum err_code sshd_new(struct loop *l, const struct sshd_config *cfg, struct sshd **out,
                       struct err *e);
/* `bound` (may be NULL) gets the port. */
enum err_code sshd_listen(struct sshd *s, const struct ip_addr *addr, uint16_t port,
                          uint16_t *bound, struct err *e);
/* Takes over a connected descriptor, for call home (RFC 8071). */
void sshd_serve(struct sshd *s, int fd);
void sshd_free(struct sshd *s); /* closes everything; NULL is allowed */
size_t sshd_conns(const struct sshd *s);
/* "SHA256:..." of the host key, for people to compare. */
const char *sshd_fingerprint(const struct sshd *s);

void sshd_login_answer(struct sshd_conn *c, bool welcome);
void sshd_write(struct sshd_conn *c, const void *p, size_t n); /* copies */
size_t sshd_queued(const struct sshd_conn *c);
void sshd_pause(struct sshd_conn *c, bool pause); /* stop or resume reading */
/* Ends it after what is queued has gone out (at most a second). `closed` comes from the loop. */
void sshd_end(struct sshd_conn *c);
const struct ip_addr *sshd_peer(const struct sshd_conn *c, uint16_t *port);

#endif
