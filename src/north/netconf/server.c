// SPDX-License-Identifier: Apache-2.0
/* The two transports, their logins, and the list of sessions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/rng.h"
#include "core/http_auth.h"
#include "net/listen.h"
#include "net/stream.h"
#include "north/netconf/internal.h"

LOGGER_MODULE(netconf_server)

enum { TICK_MS = 1000, ACCEPTS_PER_TURN = 16, HANDSHAKE_MS = 30000 };

static void tick(void *arg) {
    struct netconf *n = arg;
    int64_t now = loop_now(n->cfg.loop) / NS_PER_MS;
    LIST_FOREACH_SAFE (pos, &n->sessions) {
        nc_session_tick(CONTAINER_OF(pos, struct nc_session, link), now);
    }
    if (!n->closing) {
        nc_homes_tick(n);
    }
}

static void called_home(const struct nc_front *front) {
    struct nc_session *s = nc_front_session(front);
    if (s != NULL) {
        s->called_home = true;
    }
}

/* ---- SSH --------------------------------------------------------------------------------------
 */

struct login {
    struct netconf *n;
    struct ssh_link *link; /* NULL: the connection is gone */
    char user[64];
    char password[RIGHTS_PASSWORD_MAX];
    struct actor who;
    enum err_code rc;
};

struct ssh_link {
    struct netconf *n;
    struct sshd_conn *conn;
    char from[80];
    struct login *login; /* being hashed */
    bool logged_in;
    struct actor who;
    struct nc_front *front;
    struct nc_home *home; /* that called; NULL: it came by itself */
};

static void ssh_write_out(void *conn, const void *p, size_t n) {
    sshd_write(conn, p, n);
}
static size_t ssh_queued_out(const void *conn) {
    return sshd_queued(conn);
}
static void ssh_pause_in(void *conn, bool pause) {
    sshd_pause(conn, pause);
}
static void ssh_end_it(void *conn) {
    sshd_end(conn);
}
static const struct nc_transport over_ssh = {"netconf-ssh", ssh_write_out, ssh_queued_out,
                                             ssh_pause_in,  ssh_end_it,    SSHD_QUEUE_HIGH};

static void *ssh_accepted(struct sshd_conn *c, void *arg) {
    struct netconf *n = arg;
    struct ssh_link *l = MEM_NEW(struct ssh_link);
    char text[IP_TEXT_MAX];
    uint16_t port;
    const struct ip_addr *peer = sshd_peer(c, &port);
    l->n = n;
    l->conn = c;
    l->home = n->calling;
    if (l->home != NULL) {
        nc_home_linked(l->home, c, ssh_end_it);
    }
    snprintf(l->from, sizeof l->from, peer->family == 6 ? "[%s]:%u" : "%s:%u",
             ip_addr_format(peer, text), port);
    return l;
}

static void source_of(const struct ssh_link *l, char out[96]) {
    snprintf(out, 96, "netconf %s", l->from);
}

static void hashed(void *arg) {
    struct login *lg = arg;
    if (lg->link != NULL) {
        struct ssh_link *l = lg->link;
        l->login = NULL;
        l->logged_in = lg->rc == ERR_OK;
        l->who = lg->who;
        sshd_login_answer(l->conn, l->logged_in);
    }
    mem_wipe(lg->password, sizeof lg->password);
    mem_free(lg);
}

static void hash_job(void *arg) {
    struct login *lg = arg;
    struct err e;
    char source[96];
    snprintf(source, sizeof source, "%s", lg->who.source);
    lg->rc = rights_password(lg->n->cfg.core, lg->user, lg->password, source, &lg->who, &e);
    loop_post(lg->n->cfg.loop, hashed, lg);
}

static void ssh_login_asked(struct sshd_conn *c, const struct sshd_login *in, void *arg) {
    struct ssh_link *l = arg;
    struct err e;
    char source[96];
    source_of(l, source);
    if (in->password == NULL) {
        l->logged_in = rights_key(l->n->cfg.core, in->user, in->key_type, in->key_base64, source,
                                  &l->who, &e) == ERR_OK;
        sshd_login_answer(c, l->logged_in);
        return;
    }
    struct login *lg = MEM_NEW(struct login);
    lg->n = l->n;
    lg->link = l;
    snprintf(lg->user, sizeof lg->user, "%s", in->user);
    snprintf(lg->password, sizeof lg->password, "%s", in->password);
    snprintf(lg->who.source, sizeof lg->who.source, "%s", source);
    bool fits = strlen(in->user) < sizeof lg->user && strlen(in->password) < sizeof lg->password;
    l->login = lg;
    if (!fits || !workers_run(l->n->cfg.hashers, hash_job, lg)) {
        lg->rc = ERR_AUTH;
        hashed(lg);
    }
}

static bool ssh_key_known(struct sshd_conn *c, const struct sshd_login *in, void *arg) {
    struct ssh_link *l = arg;
    (void)c;
    return rights_key_known(l->n->cfg.core, in->user, in->key_type, in->key_base64);
}

static bool ssh_subsystem(struct sshd_conn *c, const char *name, void *arg) {
    struct ssh_link *l = arg;
    if (strcmp(name, "netconf") != 0 || !l->logged_in || l->front != NULL || l->n->closing) {
        return false;
    }
    struct err e;
    if (session_admit(l->n->cfg.core, &l->who, &e) != ERR_OK) {
        L_WARN_RL(10, "%s is turned away: %s", l->from, e.text);
        return false;
    }
    l->front = nc_front_new(l->n, &l->who, l->from, &over_ssh, c);
    if (l->home != NULL) {
        called_home(l->front);
        nc_home_served(l->home);
    }
    return true;
}

static void ssh_data(struct sshd_conn *c, const uint8_t *p, size_t n, void *arg) {
    struct ssh_link *l = arg;
    (void)c;
    nc_front_data(l->front, p, n);
}

static void ssh_sent(struct sshd_conn *c, void *arg) {
    struct ssh_link *l = arg;
    (void)c;
    if (l->front != NULL) {
        nc_front_sent(l->front);
    }
}

static void ssh_closed(struct sshd_conn *c, const char *why, void *arg) {
    struct ssh_link *l = arg;
    (void)c;
    L_DBG("%s: %s", l->from, why);
    if (l->login != NULL) {
        l->login->link = NULL;
    }
    if (l->front != NULL) {
        nc_front_closed(l->front);
    }
    if (l->home != NULL) {
        nc_home_over(l->home);
    }
    mem_free(l);
}

static const struct sshd_ops ssh_ops = {ssh_login_asked, ssh_key_known, ssh_subsystem,
                                        ssh_data,        ssh_sent,      ssh_closed};

void nc_serve_ssh(struct netconf *n, int fd) {
    sshd_serve(n->ssh, fd);
}

/* ---- TLS --------------------------------------------------------------------------------------
 */

struct tls_listener {
    struct list link;
    struct netconf *n;
    int fd;
    struct loop_watch *watch;
    struct tls_ctx *tls;
};

struct tls_link {
    struct list link;
    struct netconf *n;
    struct stream *stream;
    struct loop_timer *timer; /* of the handshake */
    char from[80];
    bool turned_away;
    struct nc_front *front;
    struct nc_home *home;
};

static void tls_write(void *conn, const void *p, size_t n) {
    struct tls_link *l = conn;
    stream_write(l->stream, p, n);
}
static size_t tls_queued(const void *conn) {
    const struct tls_link *l = conn;
    return stream_queued(l->stream);
}
static void tls_pause(void *conn, bool pause) {
    struct tls_link *l = conn;
    stream_pause(l->stream, pause);
}
static void tls_link_over(struct tls_link *l) {
    struct nc_front *front = l->front;
    struct nc_home *home = l->home;
    list_remove(&l->link);
    l->n->n_tls_links--;
    stream_free(l->stream);
    loop_timer_free(l->timer);
    mem_free(l);
    if (front != NULL) {
        nc_front_closed(front);
    }
    if (home != NULL) {
        nc_home_over(home);
    }
}
static void tls_late(void *arg) {
    tls_link_over(arg);
}
static void tls_end(void *conn) {
    enum { END_MS = 1000 };
    struct tls_link *l = conn;
    stream_shutdown(l->stream);
    loop_timer_start(l->timer, END_MS);
}
static const struct nc_transport over_tls = {"netconf-tls", tls_write, tls_queued,
                                             tls_pause,     tls_end,   SSHD_QUEUE_HIGH};

static void tls_ready(struct stream *st, void *arg) {
    struct tls_link *l = arg;
    struct actor who;
    struct err e;
    char source[96];
    const struct tls_peer *p = stream_tls_peer(st);
    snprintf(source, sizeof source, "netconf %s", l->from);
    if (l->n->closing || p == NULL || !p->verified ||
        http_auth_certificate(l->n->cfg.core, p, source, &who, &e) != ERR_OK ||
        session_admit(l->n->cfg.core, &who, &e) != ERR_OK) {
        L_INFO("%s is turned away: %s", l->from,
               p != NULL && p->verified ? e.text : "no certificate");
        l->turned_away = true;
        loop_timer_start(l->timer, 0);
        return;
    }
    loop_timer_stop(l->timer);
    l->front = nc_front_new(l->n, &who, l->from, &over_tls, l);
    if (l->home != NULL) {
        called_home(l->front);
        nc_home_served(l->home);
    }
}

static void tls_data(struct stream *st, const uint8_t *p, size_t n, void *arg) {
    struct tls_link *l = arg;
    (void)st;
    if (l->front != NULL) {
        nc_front_data(l->front, p, n);
    }
}

static void tls_sent(struct stream *st, void *arg) {
    struct tls_link *l = arg;
    (void)st;
    if (l->front != NULL) {
        nc_front_sent(l->front);
    }
}

static void tls_closed(struct stream *st, const char *why, void *arg) {
    struct tls_link *l = arg;
    (void)st;
    if (l->front == NULL && !l->turned_away) { /* a scanner can't fill the log */
        L_WARN_RL(1, "%s is turned away: %s", l->from, why);
    } else {
        L_DBG("%s: %s", l->from, why);
    }
    tls_link_over(l);
}

static const struct stream_ops tls_ops = {tls_ready, tls_data, tls_sent, tls_closed};

void nc_serve_tls(struct netconf *n, int fd, struct tls_ctx *tls) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    struct ip_addr peer;
    char text[IP_TEXT_MAX];
    uint16_t port = 0;
    if (n->n_tls_links >= NC_SESSIONS_MAX || getpeername(fd, (struct sockaddr *)&ss, &len) != 0 ||
        !listen_peer(&ss, &peer, &port)) {
        close(fd);
        return;
    }
    struct tls_link *l = MEM_NEW(struct tls_link);
    l->n = n;
    snprintf(l->from, sizeof l->from, peer.family == 6 ? "[%s]:%u" : "%s:%u",
             ip_addr_format(&peer, text), port);
    l->timer = loop_timer_new(n->cfg.loop, tls_late, l);
    loop_timer_start(l->timer, HANDSHAKE_MS);
    list_append(&n->tls_links, &l->link);
    n->n_tls_links++;
    l->home = n->calling;
    if (l->home != NULL) {
        nc_home_linked(l->home, l, tls_end);
    }
    l->stream = stream_accepted(n->cfg.loop, fd, tls, &tls_ops, l);
}

static void on_accept(int fd, unsigned events, void *arg) {
    struct tls_listener *li = arg;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                L_WARN_RL(10, "can't accept: %s", strerror(errno));
            }
            return;
        }
        nc_serve_tls(li->n, got, li->tls);
    }
}

/* ---- the server -------------------------------------------------------------------------------
 */

enum err_code netconf_new(const struct netconf_config *cfg, struct netconf **out, struct err *e) {
    struct netconf *n = MEM_NEW(struct netconf);
    n->cfg = *cfg;
    n->core = (struct blocking){.core = cfg->core};
    n->model = core_model(cfg->core);
    n->started_s = clock_wall_s(core_clock(cfg->core));
    list_init(&n->tls_listeners);
    list_init(&n->tls_links);
    list_init(&n->sessions);
    list_init(&n->homes);
    list_init(&n->passed_on);
    pthread_mutex_init(&n->lock, NULL);
    struct sshd_config ssh = {.host_key_file = cfg->host_key_file,
                              .max_conns = NC_SESSIONS_MAX,
                              .max_conns_per_peer = NC_SESSIONS_PER_PEER,
                              .ops = &ssh_ops,
                              .accepted = ssh_accepted,
                              .arg = n};
    enum err_code rc = sshd_new(cfg->loop, &ssh, &n->ssh, e);
    if (rc != ERR_OK) {
        netconf_cut(n);
        netconf_free(n);
        return rc;
    }
    n->tick = loop_timer_new(cfg->loop, tick, n);
    loop_timer_repeat(n->tick, TICK_MS);
    *out = n;
    return ERR_OK;
}

enum err_code netconf_listen_ssh(struct netconf *n, const struct ip_addr *addr, uint16_t port,
                                 uint16_t *bound, struct err *e) {
    return sshd_listen(n->ssh, addr, port, bound, e);
}

enum err_code netconf_listen_tls(struct netconf *n, const struct ip_addr *addr, uint16_t port,
                                 struct tls_ctx *tls, uint16_t *bound, struct err *e) {
    int fd;
    ERR_TRY(listen_tcp(addr, port, &fd, bound, e));
    struct tls_listener *li = MEM_NEW(struct tls_listener);
    li->n = n;
    li->fd = fd;
    li->tls = tls_ctx_ref(tls);
    li->watch = loop_watch_new(n->cfg.loop, fd, LOOP_READ, on_accept, li);
    list_append(&n->tls_listeners, &li->link);
    return ERR_OK;
}

const char *netconf_fingerprint(const struct netconf *n) {
    return sshd_fingerprint(n->ssh);
}

static void close_listeners(struct netconf *n) {
    LIST_FOREACH_SAFE (pos, &n->tls_listeners) {
        struct tls_listener *li = CONTAINER_OF(pos, struct tls_listener, link);
        loop_watch_free(li->watch);
        close(li->fd);
        tls_ctx_free(li->tls);
        list_remove(&li->link);
        mem_free(li);
    }
}

void netconf_close(struct netconf *n, loop_fn *done, void *arg) {
    n->closing = true;
    n->done = done;
    n->done_arg = arg;
    close_listeners(n);
    nc_homes_end(n);
    nc_fronts_end(n);
    if (n->n_sessions == 0) {
        n->done = NULL;
        loop_post(n->cfg.loop, done, arg);
        return;
    }
    LIST_FOREACH_SAFE (pos, &n->sessions) {
        nc_session_end(CONTAINER_OF(pos, struct nc_session, link));
    }
}

void netconf_cut(struct netconf *n) {
    if (n == NULL) {
        return;
    }
    n->closing = true;
    close_listeners(n);
    nc_homes_end(n);
    LIST_FOREACH_SAFE (pos, &n->tls_links) {
        tls_link_over(CONTAINER_OF(pos, struct tls_link, link));
    }
    sshd_free(n->ssh);
    n->ssh = NULL;
    loop_timer_free(n->tick);
    n->tick = NULL;
}

void netconf_free(struct netconf *n) {
    if (n != NULL) {
        pthread_mutex_destroy(&n->lock);
        mem_free(n);
    }
}
