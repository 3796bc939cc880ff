// SPDX-License-Identifier: Apache-2.0
/*
 * Syslog over UDP (RFC 5426), TCP (RFC 6587, octet counting) and TLS (RFC 5425). The protocol has
 * no acknowledgement: taken is what the receiver's connection took. A connection that the other
 * side has closed is noticed before the next message, so a receiver that restarts costs what lay in
 * its buffers at most.
 */
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/mem.h"
#include "forward/internal.h"

enum { SLICE_MS = 100, UDP_MAX = 8192 };

struct syslog_link {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

void syslog_close(struct sender *s) {
    struct syslog_link *l = s->link;
    if (l == NULL) {
        return;
    }
    if (l->ssl != NULL) {
        SSL_shutdown(l->ssl);
        SSL_free(l->ssl);
    }
    SSL_CTX_free(l->ctx);
    if (l->fd >= 0) {
        close(l->fd);
    }
    mem_free(l);
    s->link = NULL;
}

/* Waits for `events` of a socket that does not block: in slices, so that a stop is seen. */
static enum err_code await(const struct sender *s, int fd, short events, struct err *e) {
    for (int waited = 0; waited < SENDER_S * 1000; waited += SLICE_MS) {
        struct pollfd p = {.fd = fd, .events = events};
        int rc = poll(&p, 1, SLICE_MS);
        if (rc > 0) {
            return ERR_OK;
        }
        if (atomic_load(s->stop)) {
            return err_set(e, ERR_UNAVAILABLE, NULL, "told to stop");
        }
        if (rc < 0 && errno != EINTR) {
            return err_errno(e, errno, NULL, "poll failed");
        }
    }
    return err_set(e, ERR_TIMEOUT, NULL, "no answer within %d s", (int)SENDER_S);
}

static enum err_code connect_one(const struct sender *s, const struct addrinfo *a, int *out,
                                 struct err *e) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    enum err_code rc = fd < 0 ? err_errno(e, errno, NULL, "no socket") : ERR_OK;
    if (rc == ERR_OK && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        rc = errno == EINPROGRESS ? await(s, fd, POLLOUT, e)
                                  : err_errno(e, errno, NULL, "can't connect");
        int why = 0;
        socklen_t n = sizeof why;
        if (rc == ERR_OK && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why != 0) {
            rc = err_errno(e, why, NULL, "can't connect");
        }
    }
    if (rc != ERR_OK && fd >= 0) {
        close(fd);
    }
    *out = rc == ERR_OK ? fd : -1;
    return rc;
}

static enum err_code dial(const struct sender *s, const struct forward_target_syslog *c, int *fd,
                          struct err *e) {
    bool udp = c->transport == FORWARD_TARGET_SYSLOG_TRANSPORT_UDP;
    struct addrinfo hints = {.ai_socktype = udp ? SOCK_DGRAM : SOCK_STREAM}, *all;
    char port[8];
    unsigned standard = c->transport == FORWARD_TARGET_SYSLOG_TRANSPORT_TLS ? 6514 : 514;
    snprintf(port, sizeof port, "%u", c->has_port ? c->port : standard);
    int no = getaddrinfo(c->host, port, &hints, &all);
    if (no != 0) {
        return err_set(e, ERR_IO, NULL, "%s: %s", c->host, gai_strerror(no));
    }
    enum err_code rc = err_set(e, ERR_IO, NULL, "%s has no address", c->host);
    for (const struct addrinfo *a = all; a != NULL && rc != ERR_OK; a = a->ai_next) {
        rc = connect_one(s, a, fd, e);
    }
    freeaddrinfo(all);
    return rc;
}

/* What an SSL call came to; ERR_OK: do it again. */
static enum err_code again(const struct sender *s, SSL *ssl, int rc, struct err *e) {
    int what = SSL_get_error(ssl, rc);
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
        return await(s, SSL_get_fd(ssl), what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, e);
    }
    long bad = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(e, ERR_IO, NULL, "TLS: %s",
                   bad != X509_V_OK ? X509_verify_cert_error_string(bad)
                   : reason != NULL ? reason
                                    : "the connection has ended");
}

static enum err_code secure(const struct sender *s, struct syslog_link *l,
                            const struct forward_target_syslog *c, struct err *e) {
    struct ip_addr address;
    struct err none;
    l->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(l->ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(l->ctx, SSL_VERIFY_PEER, NULL);
    if (c->ca_file != NULL ? SSL_CTX_load_verify_file(l->ctx, c->ca_file) != 1
                           : SSL_CTX_set_default_verify_paths(l->ctx) != 1) {
        ERR_clear_error();
        return err_set(e, ERR_IO, NULL, "no authorities can be read from %s",
                       c->ca_file != NULL ? c->ca_file : "the system's store");
    }
    l->ssl = SSL_new(l->ctx);
    SSL_set_fd(l->ssl, l->fd);
    if (ip_addr_parse(c->host, &address, &none) == ERR_OK) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l->ssl), c->host);
    } else {
        SSL_set_tlsext_host_name(l->ssl, c->host);
        SSL_set1_host(l->ssl, c->host);
    }
    int rc;
    ERR_clear_error();
    while ((rc = SSL_connect(l->ssl)) != 1) {
        ERR_TRY(again(s, l->ssl, rc, e));
    }
    return ERR_OK;
}

static enum err_code open_link(struct sender *s, const struct forward_target_syslog *c,
                               struct err *e) {
    s->link = MEM_NEW(struct syslog_link);
    s->link->fd = -1;
    ERR_TRY(dial(s, c, &s->link->fd, e));
    return c->transport == FORWARD_TARGET_SYSLOG_TRANSPORT_TLS ? secure(s, s->link, c, e) : ERR_OK;
}

/* Receivers say nothing: what can be read is an end. */
static bool closed(const struct syslog_link *l) {
    char c;
    ssize_t n = recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && l->ssl != NULL) { /* TLS's own messages, such as tickets */
        int rc = SSL_peek(l->ssl, &c, 1);
        return rc <= 0 && SSL_get_error(l->ssl, rc) != SSL_ERROR_WANT_READ;
    }
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

static enum err_code write_all(const struct sender *s, const char *p, size_t n, struct err *e) {
    const struct syslog_link *l = s->link;
    while (n > 0) {
        if (l->ssl != NULL) {
            int put = SSL_write(l->ssl, p, (int)n);
            if (put <= 0) {
                ERR_TRY(again(s, l->ssl, put, e));
                continue;
            }
            p += put;
            n -= (size_t)put;
            continue;
        }
        ssize_t put = send(l->fd, p, n, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN && errno != EINTR) {
            return err_errno(e, errno, NULL, "can't send");
        }
        if (put < 0) {
            ERR_TRY(await(s, l->fd, POLLOUT, e));
            continue;
        }
        p += put;
        n -= (size_t)put;
    }
    return ERR_OK;
}

static enum err_code one(struct sender *s, const struct forward_target_syslog *c,
                         const struct message *m, struct err *e) {
    struct buf text = BUF_INIT, frame = BUF_INIT;
    message_syslog(s->controller, c->facility, m, &text);
    if (c->transport == FORWARD_TARGET_SYSLOG_TRANSPORT_UDP) {
        buf_add(&frame, text.data, text.len < UDP_MAX ? text.len : UDP_MAX);
    } else {
        buf_printf(&frame, "%zu ", text.len);
        buf_add(&frame, text.data, text.len);
    }
    enum err_code rc = write_all(s, buf_cstr(&frame), frame.len, e);
    buf_free(&text);
    buf_free(&frame);
    return rc;
}

size_t syslog_send(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e) {
    const struct forward_target_syslog *c = &t->syslog;
    size_t i = 0;
    if (s->link != NULL && closed(s->link)) {
        syslog_close(s);
    }
    if (s->link == NULL && open_link(s, c, e) != ERR_OK) {
        syslog_close(s);
        return 0;
    }
    while (i < n && one(s, c, &m[i], e) == ERR_OK) {
        i++;
    }
    if (i < n) {
        syslog_close(s);
    }
    return i;
}
