// SPDX-License-Identifier: Apache-2.0
/*
 * TLS contexts over OpenSSL: TLS 1.2 or later, P-256 and X25519, AEAD suites with forward secrecy
 * only, ALPN. A context is shared by the streams made from it and counted by reference, so reload
 * replaces keys for new connections while old ones go on.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct tls_ctx;
struct ssl_st;
struct x509_st;

enum tls_client_auth {
    TLS_AUTH_NONE,     /* the server does not ask */
    TLS_AUTH_OPTIONAL, /* asks; a certificate that is given must verify */
    TLS_AUTH_REQUIRED,
};

enum { TLS_ALPN_H2 = 1, TLS_ALPN_HTTP11 = 2 };

struct tls_config {
    const char *cert_file;            /* PEM chain, leaf first; a client without identity: NULL */
    const char *key_file;             /* PEM */
    const char *ca_file;              /* PEM bundle that peers are verified against; may be NULL */
    const char *ca_dir;               /* hashed directory; may be NULL */
    enum tls_client_auth client_auth; /* server only */
    unsigned alpn;                    /* TLS_ALPN_*; 0: none. A server that offers only h2 refuses
                                         clients that do not speak it */
    bool no_tickets; /* server only: peers that come once don't resume, and a ticket costs as much
                      * as the peer's certificate is large */
    bool revocation; /* server only: certificates are looked for in the revocation lists of ca_file:
                      * one that is on its issuer's list, or whose issuer's list has ended, is
                      * refused. An issuer that has none there is not asked for one. */
    bool insecure; /* client only: accept any server certificate (first contact; say so in the log)
                    */
};

/* All strings are copied. Errors name the file. */
enum err_code tls_server_new(const struct tls_config *c, struct tls_ctx **out, struct err *e);
/* Without ca_file and ca_dir, the system's trust store is used. */
enum err_code tls_client_new(const struct tls_config *c, struct tls_ctx **out, struct err *e);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *t);
void tls_ctx_free(struct tls_ctx *t); /* drops a reference; NULL is allowed */
/* Reads the files again; on failure the old keys stay in use. Established connections are
 * untouched. Loop's thread, or while no loop uses the context. */
enum err_code tls_reload(struct tls_ctx *t, struct err *e);

/* Who is at the other end. Lives as long as its connection. */
enum { TLS_SANS_MAX = 16, TLS_NAME_MAX = 256 };
struct tls_peer {
    bool verified;                 /* a certificate was given and verified */
    char subject_cn[TLS_NAME_MAX]; /* empty when none; names with NUL or control bytes are empty */
    unsigned n_sans;
    struct {
        char kind; /* 'D' DNS, 'I' IP address as text, 'U' URI, 'E' e-mail */
        char value[TLS_NAME_MAX];
    } * sans;
    uint8_t *der; /* the certificate itself; NULL when none */
    size_t der_len;
    char fingerprint[65]; /* SHA-256 of the certificate, lower-case hex; empty when none */
    int64_t not_after;    /* seconds since 1970 */
};
/* Its subject in one printable line, cut where it is too long; "" without a certificate. Returns
 * `out`. */
const char *tls_subject(const struct tls_peer *p, char out[TLS_NAME_MAX]);
bool tls_peer_has_san(const struct tls_peer *p, char kind, const char *value); /* no wildcards */

/* net/ only: a new SSL in server or client state; `host` (client) is verified and sent as SNI. */
struct ssl_st *tls_session_new(struct tls_ctx *t, bool server, const char *host);
struct tls_peer *tls_peer_of(struct ssl_st *ssl);        /* never NULL; tls_peer_free */
struct tls_peer *tls_peer_of_cert(struct x509_st *cert); /* as if it had come unverified */
/* Server: the client's certificate by which the handshake failed, unverified; NULL: it failed by
 * something else. tls_peer_free. */
struct tls_peer *tls_refused(const struct ssl_st *ssl);
void tls_peer_free(struct tls_peer *p);
/* The queue of OpenSSL's errors as one sentence; empties it. */
const char *tls_error_text(char *buf, size_t n);

#endif
