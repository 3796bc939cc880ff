// SPDX-License-Identifier: Apache-2.0
#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

struct tls_ctx {
    _Atomic int refs;
    bool server;
    struct tls_config cfg; /* strings are ours */
    SSL_CTX *ssl;
};

const char *tls_error_text(char *buf, size_t n) {
    unsigned long code, first = 0;
    while ((code = ERR_get_error()) != 0) {
        if (first == 0) {
            first = code;
        }
    }
    const char *reason = first == 0                ? NULL
                         : ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first))
                                                   : ERR_reason_error_string(first);
    snprintf(buf, n, "%s", reason ? reason : first ? "unknown TLS error" : "closed by the peer");
    return buf;
}

static enum err_code fail(struct err *e, const char *file, const char *what) {
    char text[128];
    return err_set(e, ERR_INVALID, file, "%s: %s", what, tls_error_text(text, sizeof(text)));
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                       const unsigned char *in, unsigned inlen, void *arg) {
    const struct tls_ctx *t = arg;
    static const struct {
        unsigned flag;
        unsigned char wire[9];
    } known[] = {{TLS_ALPN_H2, "\002h2"}, {TLS_ALPN_HTTP11, "\010http/1.1"}};
    for (size_t k = 0; k < 2; k++) {
        if (!(t->cfg.alpn & known[k].flag)) {
            continue;
        }
        for (unsigned i = 0; i < inlen && i + 1U + in[i] <= inlen; i += 1U + in[i]) {
            if (in[i] == known[k].wire[0] && memcmp(in + i + 1, known[k].wire + 1, in[i]) == 0) {
                *out = in + i + 1;
                *outlen = in[i];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2: no_application_protocol */
}

static enum err_code load_identity(SSL_CTX *ssl, const struct tls_config *c, struct err *e) {
    if (c->cert_file == NULL) {
        return ERR_OK;
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, c->cert_file) != 1) {
        return fail(e, c->cert_file, "no usable certificate");
    }
    const char *key = c->key_file ? c->key_file : c->cert_file;
    if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1) {
        return fail(e, key, "no usable private key");
    }
    if (SSL_CTX_check_private_key(ssl) != 1) {
        return fail(e, key, "the key does not belong to the certificate");
    }
    return ERR_OK;
}

static enum err_code load_trust(SSL_CTX *ssl, const struct tls_config *c, bool server,
                                struct err *e) {
    if (c->ca_file != NULL) {
        if (SSL_CTX_load_verify_file(ssl, c->ca_file) != 1) {
            return fail(e, c->ca_file, "no usable CA certificates");
        }
        if (server) {
            /* Named in the request, so that clients with several certificates pick the right one */
            SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(c->ca_file));
        }
    }
    if (c->ca_dir != NULL && SSL_CTX_load_verify_dir(ssl, c->ca_dir) != 1) {
        return fail(e, c->ca_dir, "no usable CA directory");
    }
    if (!server && c->ca_file == NULL && c->ca_dir == NULL) {
        SSL_CTX_set_default_verify_paths(ssl);
    }
    return ERR_OK;
}

static int accept_any(int ok, X509_STORE_CTX *ctx) {
    return 1;
}

/* OpenSSL does not keep a client's certificate that it refuses, so it is remembered here, for those
 * who say whose it was. */
static int refused_at = -1; /* index among the data of an SSL: the X509 */
static pthread_once_t refused_once = PTHREAD_ONCE_INIT;

static void refused_free(void *parent, void *x, CRYPTO_EX_DATA *ad, int i, long argl, void *argp) {
    X509_free(x);
}

static void refused_index(void) {
    refused_at = SSL_get_ex_new_index(0, NULL, NULL, NULL, refused_free);
}

static int verify_client(int ok, X509_STORE_CTX *ctx) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *x = X509_STORE_CTX_get0_cert(ctx);
    /* An issuer without a list is not asked for one. */
    if (ok || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    if (ssl != NULL && x != NULL && SSL_get_ex_data(ssl, refused_at) == NULL &&
        X509_up_ref(x) == 1 && SSL_set_ex_data(ssl, refused_at, x) != 1) {
        X509_free(x);
    }
    return 0;
}

struct tls_peer *tls_refused(const struct ssl_st *ssl) {
    X509 *x = refused_at >= 0 ? SSL_get_ex_data(ssl, refused_at) : NULL;
    return x != NULL ? tls_peer_of_cert(x) : NULL;
}

const char *tls_subject(const struct tls_peer *p, char out[TLS_NAME_MAX]) {
    const unsigned char *der = p->der;
    X509 *x = der != NULL ? d2i_X509(NULL, &der, (long)p->der_len) : NULL;
    out[0] = '\0';
    if (x != NULL) { /* what is not printable is escaped */
        X509_NAME_oneline(X509_get_subject_name(x), out, TLS_NAME_MAX);
    }
    X509_free(x);
    return out;
}

static enum err_code build(struct tls_ctx *t, SSL_CTX **out, struct err *e) {
    const struct tls_config *c = &t->cfg;
    SSL_CTX *ssl = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
    if (ssl == NULL) {
        return fail(e, NULL, "no TLS context");
    }
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set1_groups_list(ssl, "P-256:X25519");
    enum err_code rc = load_identity(ssl, c, e);
    rc = rc == ERR_OK ? load_trust(ssl, c, t->server, e) : rc;
    if (rc != ERR_OK) {
        SSL_CTX_free(ssl);
        return rc;
    }
    if (t->server) {
        /* Without a session id context a client that shows a certificate can't resume: OpenSSL
         * fails the second connection. */
        SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"weft", 4);
        SSL_CTX_set_num_tickets(ssl, c->no_tickets ? 0 : 1);
        if (c->no_tickets) {
            SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET); /* TLS 1.2's */
            SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        }
        if (c->alpn != 0) {
            SSL_CTX_set_alpn_select_cb(ssl, select_alpn, t);
        }
        SSL_CTX_set_verify(ssl,
                           c->client_auth == TLS_AUTH_NONE ? SSL_VERIFY_NONE
                           : c->client_auth == TLS_AUTH_OPTIONAL
                               ? SSL_VERIFY_PEER
                               : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           verify_client);
        if (c->revocation) {
            X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl),
                                        X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        }
    } else {
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, c->insecure ? accept_any : NULL);
        unsigned char wire[12];
        unsigned n = 0;
        if (c->alpn & TLS_ALPN_H2) {
            memcpy(wire, "\002h2", 3);
            n = 3;
        }
        if (c->alpn & TLS_ALPN_HTTP11) {
            memcpy(wire + n, "\010http/1.1", 9);
            n += 9;
        }
        if (n > 0) {
            SSL_CTX_set_alpn_protos(ssl, wire, n);
        }
    }
    *out = ssl;
    return ERR_OK;
}

static char *dup_or_null(const char *s) {
    return s ? mem_strdup(s) : NULL;
}

static enum err_code ctx_new(const struct tls_config *c, bool server, struct tls_ctx **out,
                             struct err *e) {
    struct tls_ctx *t = MEM_NEW(struct tls_ctx);
    pthread_once(&refused_once, refused_index);
    atomic_store(&t->refs, 1);
    t->server = server;
    t->cfg = *c;
    t->cfg.cert_file = dup_or_null(c->cert_file);
    t->cfg.key_file = dup_or_null(c->key_file);
    t->cfg.ca_file = dup_or_null(c->ca_file);
    t->cfg.ca_dir = dup_or_null(c->ca_dir);
    enum err_code rc = build(t, &t->ssl, e);
    if (rc != ERR_OK) {
        tls_ctx_free(t);
        return rc;
    }
    *out = t;
    return ERR_OK;
}

enum err_code tls_server_new(const struct tls_config *c, struct tls_ctx **out, struct err *e) {
    if (c->cert_file == NULL) {
        return err_set(e, ERR_MISSING, NULL, "a TLS server needs a certificate");
    }
    if (c->client_auth != TLS_AUTH_NONE && c->ca_file == NULL && c->ca_dir == NULL) {
        return err_set(e, ERR_MISSING, NULL,
                       "client certificates need a CA to verify them against");
    }
    return ctx_new(c, true, out, e);
}

enum err_code tls_client_new(const struct tls_config *c, struct tls_ctx **out, struct err *e) {
    return ctx_new(c, false, out, e);
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *t) {
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void tls_ctx_free(struct tls_ctx *t) {
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1) {
        return;
    }
    SSL_CTX_free(t->ssl);
    mem_free((void *)t->cfg.cert_file);
    mem_free((void *)t->cfg.key_file);
    mem_free((void *)t->cfg.ca_file);
    mem_free((void *)t->cfg.ca_dir);
    mem_free(t);
}

enum err_code tls_reload(struct tls_ctx *t, struct err *e) {
    SSL_CTX *fresh = NULL;
    ERR_TRY(build(t, &fresh, e));
    SSL_CTX_free(t->ssl); /* established connections hold references of their own */
    t->ssl = fresh;
    return ERR_OK;
}

struct ssl_st *tls_session_new(struct tls_ctx *t, bool server, const char *host) {
    SSL *ssl = SSL_new(t->ssl);
    if (ssl == NULL) {
        return NULL;
    }
    if (server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (host != NULL) {
        struct in6_addr any;
        if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1) {
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
        } else {
            SSL_set_tlsext_host_name(ssl, host);
            SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            SSL_set1_host(ssl, host);
        }
    }
    return ssl;
}

/* ------------------------------------------------------------------ who is it */

/* Copies a name that is whole and printable; anything else reads as empty, because a name with a
 * NUL in the middle has fooled many a comparison. */
static void copy_name(char out[TLS_NAME_MAX], const unsigned char *p, int n) {
    out[0] = '\0';
    if (p == NULL || n <= 0 || n >= TLS_NAME_MAX) {
        return;
    }
    for (int i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            return;
        }
    }
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
}

static void read_cn(struct tls_peer *p, X509 *cert) {
    X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) {
        return; /* none, or more than one: no name rather than a doubtful one */
    }
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    copy_name(p->subject_cn, utf8, n);
    OPENSSL_free(utf8);
}

static void read_sans(struct tls_peer *p, X509 *cert) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = names ? sk_GENERAL_NAME_num(names) : 0;
    if (n > 0) {
        p->sans = mem_array(NULL, TLS_SANS_MAX, sizeof(*p->sans));
    }
    for (int i = 0; i < n && p->n_sans < TLS_SANS_MAX; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        char *value = p->sans[p->n_sans].value;
        value[0] = '\0';
        char kind = 0;
        if (g->type == GEN_DNS || g->type == GEN_URI || g->type == GEN_EMAIL) {
            kind = g->type == GEN_DNS ? 'D' : g->type == GEN_URI ? 'U' : 'E';
            copy_name(value, ASN1_STRING_get0_data(g->d.ia5), ASN1_STRING_length(g->d.ia5));
        } else if (g->type == GEN_IPADD) {
            int len = ASN1_STRING_length(g->d.iPAddress);
            kind = 'I';
            if (len == 4 || len == 16) {
                inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.iPAddress),
                          value, TLS_NAME_MAX);
            }
        }
        if (kind != 0 && value[0] != '\0') {
            p->sans[p->n_sans++].kind = kind;
        }
    }
    GENERAL_NAMES_free(names);
}

struct tls_peer *tls_peer_of(struct ssl_st *ssl) {
    struct tls_peer *p = MEM_NEW(struct tls_peer);
    X509 *cert = SSL_get1_peer_certificate(ssl);
    if (cert == NULL) {
        return p;
    }
    tls_peer_free(p);
    p = tls_peer_of_cert(cert);
    p->verified = SSL_get_verify_result(ssl) == X509_V_OK;
    X509_free(cert);
    return p;
}

struct tls_peer *tls_peer_of_cert(struct x509_st *cert) {
    struct tls_peer *p = MEM_NEW(struct tls_peer);
    read_cn(p, cert);
    read_sans(p, cert);
    unsigned char md[32];
    unsigned len = sizeof(md);
    if (X509_digest(cert, EVP_sha256(), md, &len) == 1) {
        for (unsigned i = 0; i < len; i++) {
            snprintf(p->fingerprint + (size_t)2 * i, 3, "%02x", md[i]);
        }
    }
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    if (n > 0) {
        p->der = mem_dup(der, (size_t)n);
        p->der_len = (size_t)n;
    }
    OPENSSL_free(der);
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1) {
        p->not_after = timegm(&tm);
    }
    return p;
}

void tls_peer_free(struct tls_peer *p) {
    if (p != NULL) {
        mem_free(p->sans);
        mem_free(p->der);
        mem_free(p);
    }
}

bool tls_peer_has_san(const struct tls_peer *p, char kind, const char *value) {
    for (unsigned i = 0; i < p->n_sans; i++) {
        if (p->sans[i].kind == kind && strcmp(p->sans[i].value, value) == 0) {
            return true;
        }
    }
    return false;
}
