// SPDX-License-Identifier: Apache-2.0
#include "net/stream.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    READ_PIECE = 16 * 1024, /* one TLS record; lives on the stack, so idle streams hold no buffer */
    READS_PER_TURN = 4,     /* then other streams get their turn */
};

enum state { RESOLVING, CONNECTING, HANDSHAKE, READY, DEAD };

struct stream {
    struct loop *loop;
    const struct stream_ops *ops;
    void *arg;
    int fd;
    enum state state;
    bool paused, shut, shut_done;
    SSL *ssl;
    struct tls_ctx *tls; /* held while connecting */
    struct tls_peer *peer;
    struct event ev;
    bool watched;
    /* What the poller said last and no system call has disproved since. */
    bool readable, writable, hung_up;
    struct buf out;
    size_t out_at; /* bytes of out already written */
    int64_t last_sent;
    uint64_t *count_in, *count_out;
    struct loop_deferred work, reap;
    /* connecting */
    char *verify_name;
    char why[128];
    struct evdns_base *dns;
    struct evdns_getaddrinfo_request *lookup;
    bool looking; /* a look-up will still call us, whatever happens */
    struct evutil_addrinfo *addrs, *addr_next;
};

static void work(void *arg);
static void on_event(evutil_socket_t fd, short what, void *arg);

/* One edge-triggered registration for the whole life of the descriptor: no system call to start or
 * stop waiting for output, and an error of a paused peer does not wake us again and again. */
static void watch(struct stream *s) {
    event_assign(&s->ev, loop_base(s->loop), s->fd,
                 EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, s);
    event_add(&s->ev, NULL);
    s->watched = true;
}

static void drop_fd(struct stream *s) {
    if (s->fd >= 0) {
        if (s->watched) {
            event_del(&s->ev);
            s->watched = false;
        }
        close(s->fd);
        s->fd = -1;
    }
}

static void reap(void *arg) {
    struct stream *s = arg;
    SSL_free(s->ssl);
    tls_ctx_free(s->tls);
    tls_peer_free(s->peer);
    buf_free(&s->out);
    mem_free(s->verify_name);
    if (s->addrs != NULL) {
        evutil_freeaddrinfo(s->addrs);
    }
    if (s->dns != NULL) {
        evdns_base_free(s->dns, 0);
    }
    mem_free(s);
}

void stream_free(struct stream *s) {
    if (s == NULL) {
        return;
    }
    s->ops = NULL;
    if (s->ssl != NULL && s->state == READY && !s->shut_done) {
        SSL_shutdown(s->ssl); /* one try: the peer may tell a close from a cut */
        ERR_clear_error();
    }
    s->state = DEAD;
    drop_fd(s);
    loop_defer_cancel(&s->work);
    s->reap.fn = reap;
    s->reap.arg = s;
    if (s->looking) {
        evdns_getaddrinfo_cancel(s->lookup); /* its callback lets go of the memory */
        return;
    }
    loop_defer(s->loop, &s->reap); /* callers further up the stack may still look at it */
}

/* The end as seen from outside; the owner frees. */
static void die(struct stream *s, const char *why) {
    if (s->state == DEAD) {
        return;
    }
    s->state = DEAD;
    drop_fd(s);
    loop_defer_cancel(&s->work);
    if (s->ops != NULL && s->ops->closed != NULL) {
        s->ops->closed(s, why, s->arg);
    }
}

static void die_errno(struct stream *s, int err) {
    char text[128];
    snprintf(text, sizeof(text), "%s", strerror(err));
    die(s, err == ECONNRESET || err == EPIPE ? "closed by the peer" : text);
}

/* Result of an OpenSSL call that did not succeed: true when it only has to wait. */
static bool ssl_waits(struct stream *s, int rc) {
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_WANT_WRITE:
        return true;
    case SSL_ERROR_ZERO_RETURN:
        die(s, "closed by the peer");
        return false;
    case SSL_ERROR_SYSCALL:
        if (ERR_peek_error() == 0) {
            die_errno(s, errno ? errno : ECONNRESET);
            return false;
        }
        /* fall through */
    default: {
        char text[128], why[256];
        if (s->state == HANDSHAKE &&
            ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            die(s, "closed by the peer during the TLS handshake");
            return false;
        }
        long verified = SSL_get_verify_result(s->ssl);
        tls_error_text(text, sizeof(text));
        if (verified == X509_V_OK) {
            snprintf(why, sizeof(why), "TLS: %s", text);
        } else { /* "certificate verify failed": why? */
            snprintf(why, sizeof(why), "TLS: %s: %s", text,
                     X509_verify_cert_error_string(verified));
        }
        die(s, why);
        return false;
    }
    }
}

static void become_ready(struct stream *s) {
    s->state = READY;
    s->last_sent = loop_now(s->loop);
    if (s->ssl != NULL) {
        s->peer = tls_peer_of(s->ssl);
    }
    if (s->ssl != NULL && SSL_is_server(s->ssl)) {
        /* Without session tickets nothing is sent now that would carry the ACK of the client's last
         * words, and a client with Nagle's algorithm holds its request back until it has it. */
        int one = 1;
        setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    }
    if (s->ops != NULL && s->ops->ready != NULL) {
        s->ops->ready(s, s->arg);
    }
    if (s->state == READY) {
        s->readable = s->writable = true; /* until tried */
        loop_defer(s->loop, &s->work);    /* output queued before, records already buffered */
    }
}

static void handshake(struct stream *s) {
    ERR_clear_error();
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) {
        become_ready(s);
    } else {
        long verify = SSL_get_verify_result(s->ssl);
        if (SSL_get_error(s->ssl, rc) == SSL_ERROR_SSL && verify != X509_V_OK) {
            char why[160];
            s->peer = tls_refused(s->ssl);
            snprintf(why, sizeof(why), STREAM_BAD_CERTIFICATE "%s",
                     X509_verify_cert_error_string(verify));
            ERR_clear_error();
            die(s, why);
            return;
        }
        ssl_waits(s, rc);
    }
}

static void start(struct stream *s) {
    if (!s->watched) {
        watch(s);
    }
    if (s->ssl == NULL) {
        become_ready(s);
        return;
    }
    s->state = HANDSHAKE;
    SSL_set_fd(s->ssl, s->fd);
    handshake(s);
}

/* One read. >0 bytes; 0: nothing now, or dead. */
static size_t read_some(struct stream *s, uint8_t *p, size_t n) {
    if (s->ssl != NULL) {
        ERR_clear_error();
        int rc = SSL_read(s->ssl, p, (int)n);
        if (rc > 0) {
            return (size_t)rc;
        }
        ssl_waits(s, rc);
        return 0;
    }
    ssize_t rc;
    do {
        rc = read(s->fd, p, n);
    } while (rc < 0 && errno == EINTR);
    if (rc > 0) {
        return (size_t)rc;
    }
    if (rc == 0) {
        die(s, "closed by the peer");
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        die_errno(s, errno);
    }
    return 0;
}

static void do_read(struct stream *s) {
    uint8_t piece[READ_PIECE];
    for (int i = 0; i < READS_PER_TURN; i++) {
        if (s->state != READY || s->paused || !s->readable) {
            return;
        }
        size_t n = read_some(s, piece, sizeof(piece));
        if (n == 0) {
            s->readable = false;
            return;
        }
        if (s->ssl == NULL && n < sizeof(piece) && !s->hung_up) {
            s->readable = false; /* the socket is empty: saves the system call that would say so */
        }
        if (s->count_in != NULL) {
            *s->count_in += n;
        }
        if (s->ops != NULL && s->ops->data != NULL) {
            s->ops->data(s, piece, n, s->arg);
        }
    }
    if (s->state == READY && !s->paused && s->readable) {
        loop_defer(s->loop, &s->work);
    }
}

static void finish_shutdown(struct stream *s) {
    if (s->shut_done) {
        return;
    }
    s->shut_done = true;
    if (s->ssl != NULL) {
        SSL_shutdown(s->ssl);
        ERR_clear_error();
    }
    shutdown(s->fd, SHUT_WR);
}

static void do_write(struct stream *s) {
    bool progress = false;
    while (s->out_at < s->out.len) {
        size_t n = s->out.len - s->out_at;
        ssize_t rc;
        if (s->ssl != NULL) {
            ERR_clear_error();
            rc = SSL_write(s->ssl, s->out.data + s->out_at, (int)(n > 1 << 20 ? 1 << 20 : n));
            if (rc <= 0) {
                if (!ssl_waits(s, (int)rc)) {
                    return;
                }
                s->writable = false;
                break;
            }
        } else {
            do {
                rc = send(s->fd, s->out.data + s->out_at, n, MSG_NOSIGNAL);
            } while (rc < 0 && errno == EINTR);
            if (rc < 0) {
                if (errno != EAGAIN && errno != EWOULDBLOCK) {
                    die_errno(s, errno);
                    return;
                }
                s->writable = false;
                break;
            }
        }
        s->out_at += (size_t)rc;
        progress = true;
        if (s->count_out != NULL) {
            *s->count_out += (size_t)rc;
        }
    }
    if (s->out_at == s->out.len) {
        buf_free(&s->out); /* an idle connection holds no buffer */
        s->out_at = 0;
        if (s->shut) {
            finish_shutdown(s);
        }
    } else if (s->out_at > s->out.len / 2) {
        buf_consume(&s->out, s->out_at);
        s->out_at = 0;
    }
    if (progress) {
        s->last_sent = loop_now(s->loop);
        if (s->ops != NULL && s->ops->sent != NULL) {
            s->ops->sent(s, s->arg);
        }
    }
}

static void work(void *arg) {
    struct stream *s = arg;
    if (s->state == READY) {
        do_read(s);
    }
    if (s->state == READY) {
        do_write(s);
    }
}

static void connect_next(struct stream *s);

static void check_connected(struct stream *s) {
    int err = 0;
    socklen_t n = sizeof(err);
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &n);
    if (err != 0) {
        snprintf(s->why, sizeof(s->why), "%s", strerror(err));
        drop_fd(s);
        connect_next(s);
        return;
    }
    start(s);
}

/* While reading is paused the end of the stream is only seen by asking. */
static bool peer_is_gone(const struct stream *s) {
    int err = 0;
    socklen_t n = sizeof(err);
    return s->hung_up || (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0 && err != 0);
}

static void on_event(evutil_socket_t fd, short what, void *arg) {
    struct stream *s = arg;
    struct loop *l = s->loop;
    int64_t t = loop_enter(l);
    s->readable = s->readable || (what & EV_READ);
    s->writable = s->writable || (what & EV_WRITE);
    s->hung_up = s->hung_up || (what & EV_CLOSED);
    if (s->state == CONNECTING) {
        if (what & EV_WRITE) {
            check_connected(s);
        }
    } else if (s->state == HANDSHAKE) {
        handshake(s);
    } else if (s->state == READY && s->paused && peer_is_gone(s)) {
        die(s, "closed by the peer");
    } else if (s->state == READY) {
        do_read(s);
        /* TLS may need the one direction to go on with the other, so both are tried */
        if (s->state == READY && s->out_at < s->out.len) {
            do_write(s);
        }
    }
    loop_leave(l, t);
}

static struct stream *stream_new(struct loop *l, struct tls_ctx *tls, const struct stream_ops *ops,
                                 void *arg) {
    struct stream *s = MEM_NEW(struct stream);
    s->loop = l;
    s->ops = ops;
    s->arg = arg;
    s->fd = -1;
    s->tls = tls ? tls_ctx_ref(tls) : NULL;
    s->work.fn = work;
    s->work.arg = s;
    s->last_sent = loop_now(l);
    return s;
}

static void set_socket(int fd) {
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
               sizeof(one)); /* fails on unix sockets: no harm */
}

static void start_later(void *arg) {
    struct stream *s = arg;
    s->work.fn = work;
    start(s);
}

struct stream *stream_accepted(struct loop *l, int fd, struct tls_ctx *tls,
                               const struct stream_ops *ops, void *arg) {
    struct stream *s = stream_new(l, tls, ops, arg);
    s->fd = fd;
    s->state = CONNECTING;
    set_socket(fd);
    if (tls != NULL) {
        s->ssl = tls_session_new(tls, true, NULL);
    }
    s->work.fn = start_later;
    loop_defer(l, &s->work);
    return s;
}

/* ------------------------------------------------------------------ connecting */

static void connect_to(struct stream *s, const struct sockaddr *sa, socklen_t len) {
    s->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        snprintf(s->why, sizeof(s->why), "%s", strerror(errno));
        connect_next(s);
        return;
    }
    set_socket(s->fd);
    s->state = CONNECTING;
    if (connect(s->fd, sa, len) == 0) {
        start(s);
    } else if (errno == EINPROGRESS) {
        watch(s);
    } else {
        snprintf(s->why, sizeof(s->why), "%s", strerror(errno));
        drop_fd(s);
        connect_next(s);
    }
}

static void connect_next(struct stream *s) {
    struct evutil_addrinfo *a = s->addr_next;
    if (a == NULL) {
        die(s, s->why);
        return;
    }
    s->addr_next = a->ai_next;
    connect_to(s, a->ai_addr, (socklen_t)a->ai_addrlen);
}

static void resolved(int rc, struct evutil_addrinfo *res, void *arg) {
    struct stream *s = arg;
    s->looking = false;
    s->addrs = s->addr_next = res;
    if (s->state == DEAD) {
        loop_defer(s->loop, &s->reap);
        return;
    }
    int64_t t = loop_enter(s->loop);
    if (rc != 0) {
        snprintf(s->why, sizeof(s->why), "no address for the name: %s", evutil_gai_strerror(rc));
        die(s, s->why);
    } else {
        connect_next(s);
    }
    loop_leave(s->loop, t);
}

static void connect_unix(struct stream *s, const char *path) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(un.sun_path)) {
        die(s, "the socket path is too long");
        return;
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    connect_to(s, (const struct sockaddr *)&un, sizeof(un));
}

/* The first step, from the loop, so that no callback comes from inside stream_connect. The address
 * text waits in `why` until then: both are never needed at once. */
static void connect_later(void *arg) {
    struct stream *s = arg;
    s->work.fn = work;
    char text[sizeof(s->why)];
    memcpy(text, s->why, sizeof(text));
    s->why[0] = '\0';
    if (text[0] == 'u') {
        connect_unix(s, text + 1);
        return;
    }
    char *port = strchr(text, ' ');
    *port++ = '\0';
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct evutil_addrinfo *res = NULL;
    if (evutil_getaddrinfo(text + 1, port, &hints, &res) == 0) {
        resolved(0, res, s);
        return;
    }
    hints.ai_flags = AI_NUMERICSERV;
    s->dns = evdns_base_new(loop_base(s->loop), EVDNS_BASE_INITIALIZE_NAMESERVERS);
    if (s->dns == NULL) {
        die(s, "no resolver: /etc/resolv.conf names no usable server");
        return;
    }
    s->looking = true;
    s->lookup = evdns_getaddrinfo(s->dns, text + 1, port, &hints, resolved, s);
}

struct stream *stream_connect(struct loop *l, const struct stream_target *t,
                              const struct stream_ops *ops, void *arg) {
    struct stream *s = stream_new(l, t->tls, ops, arg);
    s->state = RESOLVING;
    const char *name = t->verify_name ? t->verify_name : t->host;
    if (t->tls != NULL) {
        s->ssl = tls_session_new(t->tls, false, name);
    }
    int n = t->unix_path
                ? snprintf(s->why, sizeof(s->why), "u%s", t->unix_path)
                : snprintf(s->why, sizeof(s->why), "h%s %u", t->host ? t->host : "", t->port);
    if (n >= (int)sizeof(s->why)) {
        snprintf(s->why, sizeof(s->why), "h. 0"); /* too long for any address: fails to resolve */
    }
    s->work.fn = connect_later;
    loop_defer(l, &s->work);
    return s;
}

/* ------------------------------------------------------------------ use */

void stream_write(struct stream *s, const void *p, size_t n) {
    if (s->state == DEAD || s->shut || n == 0) {
        return;
    }
    if (s->out.len == 0) {
        s->last_sent = loop_now(s->loop); /* the stall clock starts with the first waiting byte */
    }
    buf_add(&s->out, p, n);
    if (s->state == READY && s->writable) {
        loop_defer(s->loop, &s->work);
    }
}

size_t stream_queued(const struct stream *s) {
    return s->out.len - s->out_at;
}

void stream_pause(struct stream *s, bool pause) {
    if (s->paused == pause) {
        return;
    }
    s->paused = pause;
    if (s->state != READY) {
        return;
    }
    if (!pause && s->readable) {
        loop_defer(s->loop, &s->work);
    } else if (pause && s->hung_up) {
        s->readable = true; /* the end is still to be read, later */
    }
}

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg) {
    s->ops = ops;
    s->arg = arg;
}

void stream_shutdown(struct stream *s) {
    s->shut = true;
    if (s->state == READY) {
        loop_defer(s->loop, &s->work);
    }
}

bool stream_is_ready(const struct stream *s) {
    return s->state == READY;
}

const struct tls_peer *stream_tls_peer(const struct stream *s) {
    return s->peer;
}

bool stream_alpn_is(const struct stream *s, const char *protocol) {
    const unsigned char *p = NULL;
    unsigned n = 0;
    if (s->ssl != NULL) {
        SSL_get0_alpn_selected(s->ssl, &p, &n);
    }
    return n == strlen(protocol) && n > 0 && memcmp(p, protocol, n) == 0;
}

int stream_fd(const struct stream *s) {
    return s->fd;
}

void stream_count(struct stream *s, uint64_t *in, uint64_t *out) {
    s->count_in = in;
    s->count_out = out;
}

int64_t stream_last_sent(const struct stream *s) {
    return s->last_sent;
}
