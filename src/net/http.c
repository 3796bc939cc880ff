// SPDX-License-Identifier: Apache-2.0
/* Connections and their bounds: listening, accepting, deadlines, closing. Requests: http_req.c. */
#include "net/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/http_int.h"
#include "net/listen.h"

LOGGER_MODULE(http)

enum { ACCEPTS_PER_TURN = 64 };

const struct http_limits http_limits_default = {
    .max_conns = 10000,
    .max_conns_per_peer = 2048,
    .max_greeting = 1024,
    .max_header_bytes = 16 << 10,
    .max_headers = 100,
    .max_streams = 128,
    .conn_window = 1 << 20,
    .max_requests = 0,
    .max_resets = 200,
    .max_control = 1000,
    .header_ms = 10000,
    .idle_ms = 120000,
    .body_grace_ms = 10000,
    .body_min_rate = 1024,
    .write_stall_ms = 30000,
    .queue_high = 256 << 10,
    .queue_max = 16 << 20,
    .max_collected = 256 << 20,
};

void http_limits_fit(struct http_limits *lim) {
    unsigned most = lim->max_conns - lim->max_conns / 4, half = lim->max_conns / 2;
    lim->max_conns_per_peer = lim->max_conns_per_peer < most ? lim->max_conns_per_peer : most;
    lim->max_greeting = lim->max_greeting < half ? lim->max_greeting : half;
}

struct listener {
    struct list link;
    struct http_server *server;
    int fd;
    struct loop_watch *watch;
    struct tls_ctx *tls;
    unsigned flags;
    char *path; /* unix */
    dev_t dev;  /* of the socket file, to remove no other */
    ino_t ino;
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_LEN = sizeof(preface) - 1 };

/* ------------------------------------------------------------------ connections */

static void reap(void *arg) {
    struct http_conn *c = arg;
    if (c->proto != NULL) {
        c->impl->free(c);
    }
    buf_free(&c->sniff);
    mem_free(c);
}

static struct http_peer_conns *peer_of(const struct http_conn *c) {
    return map_get_n(&c->server->peers, c->peer_key, c->peer_key_len);
}

static void greeted(struct http_conn *c) {
    if (!c->greeted) {
        c->greeted = true;
        peer_of(c)->greeting--;
    }
}

static void peer_left(struct http_conn *c) {
    struct http_peer_conns *p = peer_of(c);
    greeted(c);
    if (--p->open == 0) {
        map_del_n(&c->server->peers, c->peer_key, c->peer_key_len);
        mem_free(p);
    }
}

/* Counts a new connection; why it is one too many, or NULL. */
static const char *peer_came(struct http_server *s, const struct http_conn *c) {
    struct http_peer_conns *p = peer_of(c);
    if (s->n.open_conns >= s->lim.max_conns) {
        return "the server has too many connections";
    }
    if (p != NULL && p->open >= s->lim.max_conns_per_peer) {
        return "this peer has too many connections";
    }
    if (p != NULL && p->greeting >= s->lim.max_greeting) {
        return "this peer has too many connections that say nothing";
    }
    if (p == NULL) {
        p = MEM_NEW(struct http_peer_conns);
        map_put_n(&s->peers, c->peer_key, c->peer_key_len, p);
    }
    p->open++;
    p->greeting++;
    return NULL;
}

void http_conn_kill(struct http_conn *c) {
    if (c->dead) {
        return;
    }
    struct http_server *s = c->server;
    c->dead = true;
    while (!list_empty(&c->reqs)) {
        http_req_closed(CONTAINER_OF(c->reqs.next, struct http_req, link), true);
    }
    s->heads -= c->heads;
    s->collected -= c->collected;
    stream_free(c->stream);
    c->stream = NULL;
    list_remove(&c->link);
    peer_left(c);
    s->n.open_conns--;
    loop_defer_cancel(&c->work);
    c->work.fn = reap; /* our callers, and nghttp2, may still be on the stack */
    loop_defer(s->loop, &c->work);
}

static void conn_work(void *arg) {
    struct http_conn *c = arg;
    if (!c->dead && !c->lingering && c->impl != NULL) {
        c->impl->work(c);
    }
}

void http_conn_work(struct http_conn *c) {
    if (!c->dead) {
        loop_defer(c->server->loop, &c->work);
    }
}

void http_conn_linger(struct http_conn *c) {
    if (c->dead || c->lingering) {
        return;
    }
    c->lingering = true;
    c->header_since = c->idle_since = 0;
    stream_shutdown(c->stream);
    stream_pause(c->stream, false);
}

void http_conn_idle(struct http_conn *c) {
    c->idle_since = loop_now(c->server->loop);
}

static void choose(struct http_conn *c, bool h2) {
    greeted(c);
    if (h2) {
        http_h2_start(c);
    } else {
        http_h1_start(c);
    }
}

static void on_ready(struct stream *st, void *arg) {
    struct http_conn *c = arg;
    if (c->tls) {
        c->peer.tls = stream_tls_peer(st);
        choose(c, stream_alpn_is(st, "h2"));
    } else if (!c->h2c) {
        choose(c, false);
    }
}

static void on_data(struct stream *st, const uint8_t *p, size_t n, void *arg) {
    struct http_conn *c = arg;
    if (c->lingering) {
        c->linger_bytes += n;
        if (c->linger_bytes > HTTP_LINGER_BYTES) {
            http_conn_kill(c);
        }
        return;
    }
    if (c->impl != NULL) {
        c->impl->data(c, p, n);
        return;
    }
    /* HTTP/2 with prior knowledge starts with a preface that no HTTP/1 request has */
    buf_add(&c->sniff, p, n);
    size_t k = c->sniff.len < PREFACE_LEN ? c->sniff.len : PREFACE_LEN;
    bool same = memcmp(c->sniff.data, preface, k) == 0;
    if (same && k < PREFACE_LEN) {
        return;
    }
    choose(c, same);
    struct buf first = c->sniff;
    c->sniff = (struct buf)BUF_INIT;
    c->impl->data(c, first.data, first.len);
    buf_free(&first);
}

static void on_sent(struct stream *st, void *arg) {
    conn_work(arg);
}

static void turned_away(struct http_conn *c, const char *why) {
    struct http_server *s = c->server;
    s->n.tls_failed++;
    c->peer.tls = stream_tls_peer(c->stream);
    if (strncmp(why, STREAM_BAD_CERTIFICATE, strlen(STREAM_BAD_CERTIFICATE)) == 0) {
        char name[TLS_NAME_MAX] = "(none)";
        why += strlen(STREAM_BAD_CERTIFICATE);
        L_WARN_RL(10, "%s is turned away: TLS: the peer's certificate %s: %s", c->peer.text,
                  c->peer.tls != NULL ? tls_subject(c->peer.tls, name) : name, why);
    } else if (strncmp(why, "TLS: ", 5) == 0) {
        L_DBG("%s: %s", c->peer.text, why);
        why += 5;
    } else {
        L_DBG("%s: %s", c->peer.text, why);
        return;
    }
    if (s->turned_away != NULL) {
        s->turned_away(&c->peer, why, s->turned_away_arg);
    }
}

static void on_closed(struct stream *st, const char *why, void *arg) {
    struct http_conn *c = arg;
    if (c->impl == NULL && c->tls) {
        turned_away(c, why);
    }
    http_conn_kill(c);
}

static const struct stream_ops stream_ops = {on_ready, on_data, on_sent, on_closed};

/* ------------------------------------------------------------------ deadlines */

static bool over(int64_t since, int64_t now, int64_t ms) {
    return since != 0 && now - since > ms * NS_PER_MS;
}

/* Too slow with its body? The clock stands while the dialect has paused it. */
static bool body_too_slow(struct http_req *r, int64_t now) {
    const struct http_limits *lim = &r->conn->server->lim;
    if (r->body_done || r->paused || r->lazy) {
        r->body_since = now;
        r->body_bytes = 0;
        return false;
    }
    int64_t took = (now - r->body_since) / NS_PER_MS - lim->body_grace_ms;
    return took > 0 && r->body_bytes < (size_t)took * lim->body_min_rate / 1000;
}

static void check_requests(struct http_conn *c, int64_t now) {
    LIST_FOREACH_SAFE (pos, &c->reqs) {
        struct http_req *r = CONTAINER_OF(pos, struct http_req, link);
        if (r->version == 20 && r->ended) {
            http_h2_tick(r);
            continue;
        }
        if (body_too_slow(r, now)) {
            c->server->n.timeout_body++;
            r->paused = false;
            http_req_error(r, 408, "the body arrives too slowly");
            return; /* the list may have changed; the others at the next tick */
        }
        if (r->version == 20 && !r->lazy && r->out.len > r->out_at &&
            over(r->sent_at, now, c->server->lim.write_stall_ms)) {
            c->server->n.timeout_write++;
            http_abort(r, 8 /* CANCEL */);
        }
    }
}

static void check_conn(struct http_conn *c, int64_t now) {
    struct http_server *s = c->server;
    bool waits = stream_queued(c->stream) > 0;
    if (waits && over(stream_last_sent(c->stream), now, s->lim.write_stall_ms)) {
        s->n.timeout_write++;
        http_conn_kill(c);
    } else if (c->lingering) {
        if (!waits && c->linger_since == 0) {
            c->linger_since = now;
        } else if (!waits && over(c->linger_since, now, HTTP_LINGER_MS)) {
            http_conn_kill(c);
        }
    } else if (over(c->header_since, now, s->lim.header_ms)) {
        s->n.timeout_header++;
        http_conn_kill(c);
    } else if (!waits && list_empty(&c->reqs) && over(c->idle_since, now, s->lim.idle_ms)) {
        s->n.timeout_idle++;
        c->idle_since = 0;
        c->impl->quiesce(c);
    } else {
        check_requests(c, now);
    }
}

static void shut_down(struct http_server *s, int64_t now) {
    if (!list_empty(&s->conns) && now > s->close_by) {
        LIST_FOREACH_SAFE (pos, &s->conns) {
            http_conn_kill(CONTAINER_OF(pos, struct http_conn, link));
        }
    }
    if (list_empty(&s->conns)) {
        loop_timer_stop(s->tick);
        loop_fn *fn = s->closed;
        s->closed = NULL;
        if (fn != NULL) {
            fn(s->closed_arg); /* may free the server */
        }
    }
}

static void on_tick(void *arg) {
    struct http_server *s = arg;
    int64_t now = loop_now(s->loop);
    LIST_FOREACH_SAFE (pos, &s->conns) {
        check_conn(CONTAINER_OF(pos, struct http_conn, link), now);
    }
    LIST_FOREACH (pos, &s->listeners) { /* those that ran out of descriptors try again */
        loop_watch_set(CONTAINER_OF(pos, struct listener, link)->watch, LOOP_READ);
    }
    if (s->closing) {
        shut_down(s, now);
    } else if (list_empty(&s->conns)) {
        loop_timer_stop(s->tick);
    }
}

/* ------------------------------------------------------------------ accepting */

static void name_peer(struct http_conn *c, int fd, const struct sockaddr_storage *ss) {
    struct http_peer *p = &c->peer;
    char text[IP_TEXT_MAX];
    if (listen_peer(ss, &p->addr, &p->port)) {
        snprintf(p->text, sizeof(p->text), p->addr.family == 6 ? "[%s]:%u" : "%s:%u",
                 ip_addr_format(&p->addr, text), p->port);
    } else {
        struct ucred cred = {.uid = (uid_t)-1, .gid = (gid_t)-1};
        socklen_t n = sizeof(cred);
        p->kind = HTTP_PEER_UNIX;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
        p->uid = cred.uid;
        p->gid = cred.gid;
        p->pid = cred.pid;
        snprintf(p->text, sizeof(p->text), "unix:uid=%u", (unsigned)cred.uid);
    }
    /* An IPv6 customer has a whole /64 of addresses, so that counts as one peer. */
    c->peer_key[0] = (char)ss->ss_family;
    const void *key = p->addr.family != 0 ? (const void *)p->addr.bytes : (const void *)&p->uid;
    size_t n = p->addr.family == 6 ? 8 : 4;
    memcpy(c->peer_key + 1, key, n);
    c->peer_key_len = (uint8_t)(n + 1);
}

static void conn_new(struct http_server *s, struct tls_ctx *tls, unsigned flags, int fd,
                     const struct sockaddr_storage *ss) {
    struct http_conn *c = MEM_NEW(struct http_conn);
    c->server = s;
    name_peer(c, fd, ss);
    const char *why = peer_came(s, c);
    if (why != NULL) {
        s->n.refused_conns++;
        L_WARN_RL(10, "%s is refused: %s", c->peer.text, why);
        close(fd);
        mem_free(c);
        return;
    }
    c->tls = tls != NULL;
    c->h2c = flags & HTTP_H2C;
    c->peer.kind = c->tls ? HTTP_PEER_TLS : c->peer.kind;
    list_init(&c->reqs);
    c->work.fn = conn_work;
    c->work.arg = c;
    c->header_since = loop_now(s->loop);
    list_append(&s->conns, &c->link);
    s->n.open_conns++;
    s->n.accepted++;
    c->stream = stream_accepted(s->loop, fd, tls, &stream_ops, c);
    stream_count(c->stream, &s->n.bytes_in, &s->n.bytes_out);
    if (s->n.open_conns == 1) {
        loop_timer_repeat(s->tick, HTTP_TICK_MS);
    }
}

static void on_accept(int fd, unsigned events, void *arg) {
    struct listener *li = arg;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage ss = {0};
        socklen_t n = sizeof(ss);
        int got = accept4(fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                L_WARN_RL(10, "can't accept: %s", strerror(errno));
                loop_watch_set(li->watch, 0); /* out of descriptors: again at the next tick */
                loop_timer_repeat(li->server->tick, HTTP_TICK_MS);
            }
            return;
        }
        conn_new(li->server, li->tls, li->flags, got, &ss);
    }
}

void http_server_adopt(struct http_server *s, int fd, struct tls_ctx *tls, unsigned flags) {
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof(ss);
    getpeername(fd, (struct sockaddr *)&ss, &n);
    conn_new(s, tls, flags, fd, &ss);
}

static void listener_add(struct http_server *s, int fd, struct tls_ctx *tls, unsigned flags,
                         const char *path) {
    struct listener *li = MEM_NEW(struct listener);
    li->server = s;
    li->fd = fd;
    li->tls = tls ? tls_ctx_ref(tls) : NULL;
    li->flags = flags;
    struct stat st;
    if (path != NULL && lstat(path, &st) == 0) {
        li->path = mem_strdup(path);
        li->dev = st.st_dev;
        li->ino = st.st_ino;
    }
    list_append(&s->listeners, &li->link);
    li->watch = loop_watch_new(s->loop, fd, LOOP_READ, on_accept, li);
}

static void listener_free(struct listener *li) {
    struct stat st;
    loop_watch_free(li->watch);
    close(li->fd);
    if (li->path != NULL && lstat(li->path, &st) == 0 && st.st_dev == li->dev &&
        st.st_ino == li->ino) {
        unlink(li->path);
    }
    tls_ctx_free(li->tls);
    mem_free(li->path);
    list_remove(&li->link);
    mem_free(li);
}

enum err_code http_listen_tcp(struct http_server *s, const struct ip_addr *addr, uint16_t port,
                              struct tls_ctx *tls, unsigned flags, uint16_t *bound, struct err *e) {
    int fd;
    ERR_TRY(listen_tcp(addr, port, &fd, bound, e));
    listener_add(s, fd, tls, flags, NULL);
    return ERR_OK;
}

/* A socket file that nobody listens on was left by a process that was killed. */
static enum err_code clear_stale(const char *path, const struct sockaddr_un *un, struct err *e) {
    struct stat st;
    if (lstat(path, &st) < 0) {
        return ERR_OK;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(e, ERR_IN_USE, path, "the path is taken by something that is not a socket");
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (const struct sockaddr *)un, sizeof(*un));
    int why = rc < 0 ? errno : 0;
    close(fd);
    if (why != ECONNREFUSED) {
        return err_set(e, ERR_IN_USE, path, "another program listens on this socket");
    }
    return unlink(path) < 0 && errno != ENOENT ? err_errno(e, errno, path, "can't remove") : ERR_OK;
}

enum err_code http_listen_unix(struct http_server *s, const char *path, mode_t mode, unsigned flags,
                               struct err *e) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(un.sun_path)) {
        return err_set(e, ERR_INVALID, path, "a socket path has at most %zu bytes",
                       sizeof(un.sun_path) - 1);
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    ERR_TRY(clear_stale(path, &un, e));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(e, errno, path, "no socket");
    }
    /* On Linux the file takes the mode of the descriptor (less the umask), so there is no moment at
     * which it is open to more than `mode` says. */
    fchmod(fd, mode);
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || chmod(path, mode) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0) {
        int why = errno;
        close(fd);
        return err_errno(e, why, path, "can't listen");
    }
    listener_add(s, fd, NULL, flags, path);
    return ERR_OK;
}

/* ------------------------------------------------------------------ server */

struct http_server *http_server_new(struct loop *l, const struct http_limits *limits,
                                    http_handler *handler, void *arg) {
    struct http_server *s = MEM_NEW(struct http_server);
    s->loop = l;
    s->lim = limits ? *limits : http_limits_default;
    s->handler = handler;
    s->arg = arg;
    list_init(&s->conns);
    list_init(&s->listeners);
    s->tick = loop_timer_new(l, on_tick, s);
    return s;
}

void http_server_on_error(struct http_server *s, http_error_writer *fn, void *arg) {
    s->error_writer = fn;
    s->error_arg = arg;
}

void http_server_on_turned_away(struct http_server *s, http_turned_away *fn, void *arg) {
    s->turned_away = fn;
    s->turned_away_arg = arg;
}

void http_server_on_response(struct http_server *s, http_extra *fn, void *arg) {
    s->extra = fn;
    s->extra_arg = arg;
}

static void close_listeners(struct http_server *s) {
    LIST_FOREACH_SAFE (pos, &s->listeners) {
        listener_free(CONTAINER_OF(pos, struct listener, link));
    }
}

void http_server_shutdown(struct http_server *s, int64_t grace_ms, loop_fn *done, void *arg) {
    s->closing = true;
    s->closed = done;
    s->closed_arg = arg;
    s->close_by = loop_now(s->loop) + grace_ms * NS_PER_MS;
    close_listeners(s);
    LIST_FOREACH_SAFE (pos, &s->conns) {
        struct http_conn *c = CONTAINER_OF(pos, struct http_conn, link);
        if (c->impl == NULL) {
            http_conn_kill(c);
        } else if (!c->lingering) {
            c->impl->quiesce(c);
        }
    }
    loop_timer_repeat(s->tick, HTTP_TICK_MS / 10);
}

void http_server_free(struct http_server *s) {
    if (s == NULL) {
        return;
    }
    close_listeners(s);
    LIST_FOREACH_SAFE (pos, &s->conns) {
        http_conn_kill(CONTAINER_OF(pos, struct http_conn, link));
    }
    loop_timer_free(s->tick);
    map_free(&s->peers, mem_free);
    mem_free(s);
}

const struct http_counters *http_server_counters(const struct http_server *s) {
    return &s->n;
}

struct loop *http_server_loop(const struct http_server *s) {
    return s->loop;
}

/* IMF-fixdate (RFC 9110 5.6.7), made once a second. */
const char *http_date(struct http_server *s) {
    int64_t now = clock_wall_s(&clock_real);
    if (now != s->date_s) {
        static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t t = (time_t)now;
        struct tm tm;
        gmtime_r(&t, &tm);
        snprintf(s->date, sizeof(s->date), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                 days[tm.tm_wday % 7], tm.tm_mday % 100, months[tm.tm_mon % 12],
                 (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
        s->date_s = now;
    }
    return s->date;
}
