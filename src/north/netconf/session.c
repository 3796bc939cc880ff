// SPDX-License-Identifier: Apache-2.0
/*
 * A session on its loop: bytes to messages, one message at a time to a worker, its answer back.
 * While a message is served nothing more is read, so what a client can pile up is one message and
 * what its transport had read already.
 */
#include "north/netconf/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"

LOGGER_MODULE(netconf)

#define BASE "urn:ietf:params:netconf:base:"

static int64_t now_ms(const struct netconf *n) {
    return loop_now(n->cfg.loop) / NS_PER_MS;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void count_bytes(struct nc_session *s) {
    size_t have = s->in.msg.len + s->waiting.len;
    atomic_fetch_add(&s->n->bytes, have - s->counted); /* wraps round when it shrinks */
    s->counted = have;
}

/* Nothing is its own any more, though its connection may last until the client has read all. */
static void leave(struct nc_session *s) {
    if (!atomic_exchange(&s->left, true)) {
        nc_unlock_all(s);
        core_session_gone(s->n->cfg.core, s->id);
        session_close(s->id);
    }
}

void nc_session_release(struct nc_session *s) {
    if (--s->refs > 0) {
        return;
    }
    leave(s);
    struct netconf *n = s->n;
    pthread_mutex_lock(&n->lock);
    list_remove(&s->link);
    n->n_sessions--;
    pthread_mutex_unlock(&n->lock);
    candidate_release(s->candidate);
    atomic_fetch_sub(&n->bytes, s->counted);
    nc_framer_free(&s->in);
    buf_free(&s->waiting);
    buf_free(&s->held);
    mem_free(s);
    if (n->closing && n->n_sessions == 0 && n->done != NULL) {
        loop_post(n->cfg.loop, n->done, n->done_arg);
        n->done = NULL;
    }
}

void nc_session_closed(struct nc_session *s) {
    if (s->conn == NULL) {
        return;
    }
    s->conn = NULL;
    s->ending = true;
    nc_unsubscribe(s);
    if (s->feed != NULL) {
        feed_gone(s->feed);
    }
    nc_session_release(s);
}

void nc_session_end(struct nc_session *s) {
    if (!s->ending && s->conn != NULL) {
        s->ending = true;
        nc_unsubscribe(s);
        s->transport->end(s->conn);
        if (!s->busy) { /* or its worker is at it still */
            leave(s);
        }
    }
}

static void drop(struct nc_session *s, const char *why) {
    L_INFO("session %llu of %s (%s) is ended: %s", (unsigned long long)s->id, s->who.user, s->from,
           why);
    atomic_fetch_add(&s->n->dropped_sessions, 1);
    nc_session_end(s);
}

struct nc_session *nc_session_new(struct netconf *n, const struct actor *who, const char *from,
                                  const struct nc_transport *t, void *conn) {
    struct nc_session *s = MEM_NEW(struct nc_session);
    s->n = n;
    s->who = *who;
    snprintf(s->from, sizeof s->from, "%s", from);
    s->transport = t;
    s->conn = conn;
    s->id = session_open(who->user, "netconf", from);
    s->since_s = clock_wall_s(core_clock(n->cfg.core));
    s->alive_ms = s->heard_ms = now_ms(n);
    s->candidate = candidate_shared(n->cfg.candidates);
    s->refs = 1;
    pthread_mutex_lock(&n->lock);
    list_append(&n->sessions, &s->link);
    n->n_sessions++;
    pthread_mutex_unlock(&n->lock);
    atomic_fetch_add(&n->in_sessions, 1);
    struct buf hello = BUF_INIT;
    buf_str(&hello, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<hello xmlns=\"" NS_NETCONF
                    "\"><capabilities>");
    nc_capabilities(false, &hello);
    buf_printf(&hello, "</capabilities><session-id>%llu</session-id></hello>",
               (unsigned long long)s->id);
    nc_frame_end(false, &hello);
    t->write(conn, hello.data, hello.len);
    buf_free(&hello);
    return s;
}

/* ---- hello ------------------------------------------------------------------------------------
 */

static const char *read_hello(struct nc_session *s, const struct dom *d) {
    if (!dom_is(d, NS_NETCONF, "hello")) {
        return "the first message is a <hello>";
    }
    if (dom_child(d, NS_NETCONF, "session-id") != NULL) {
        return "a client's <hello> has no session-id";
    }
    const struct dom *all = dom_child(d, NS_NETCONF, "capabilities");
    bool base10 = false;
    for (const struct dom *c = all != NULL ? all->child : NULL; c != NULL; c = c->next) {
        const char *text = c->text + strspn(c->text, " \t\r\n");
        size_t n = strcspn(text, " \t\r\n?");
        s->base11 |= n == strlen(BASE "1.1") && strncmp(text, BASE "1.1", n) == 0;
        base10 |= n == strlen(BASE "1.0") && strncmp(text, BASE "1.0", n) == 0;
    }
    return base10 || s->base11 ? NULL : "the client speaks neither base:1.0 nor base:1.1";
}

static void hello(struct nc_session *s) {
    struct arena *a = arena_new();
    struct dom *d = NULL;
    struct err e;
    const char *why =
        dom_parse(s->in.msg.data, s->in.msg.len, a, &d, &e) == ERR_OK ? read_hello(s, d) : e.text;
    if (why != NULL) {
        atomic_fetch_add(&s->n->in_bad_hellos, 1);
        drop(s, why);
    }
    s->greeted = true;
    s->in.chunked = s->base11;
    buf_clear(&s->in.msg);
    arena_free(a);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

struct job {
    struct nc_session *s;
    struct feed *feed;
    struct buf message;
    struct nc_subscription *sub;
    bool over;
};

static void take(void *arg, const void *p, size_t n) {
    struct job *j = arg;
    struct nc_session *s = j->s;
    if (s->conn != NULL) {
        s->transport->write(s->conn, p, n);
        feed_full(s->feed, s->transport->queued(s->conn) > s->transport->high);
    }
}

static void run(struct nc_session *s);

static void served(void *arg) {
    struct job *j = arg;
    struct nc_session *s = j->s;
    s->feed = NULL;
    s->busy = false;
    if (s->conn != NULL && s->held.len > 0) {
        s->transport->write(s->conn, s->held.data, s->held.len);
        buf_clear(&s->held);
    }
    if (j->sub != NULL) {
        nc_subscribe_begin(s, j->sub);
    }
    if (j->over) {
        nc_session_end(s);
    }
    if (s->ending) {
        leave(s);
    }
    if (s->conn != NULL && !s->ending) {
        s->transport->pause(s->conn, false);
        run(s);
    }
    buf_free(&j->message);
    mem_free(j);
    nc_session_release(s);
}

static const struct feed_ops feed_ops = {take, served};

static void serve(void *arg) {
    struct job *j = arg;
    j->over = nc_serve(j->s, j->feed, &j->message, &j->sub);
    feed_finish(j->feed);
}

static void start(struct nc_session *s) {
    struct job *j = MEM_NEW(struct job);
    j->s = s;
    j->message = s->in.msg;
    s->in.msg = (struct buf)BUF_INIT;
    s->busy = true;
    s->refs++;
    s->feed = j->feed = feed_new(s->n->cfg.loop, &feed_ops, j);
    s->transport->pause(s->conn, true);
    if (!workers_run(s->n->cfg.servers, serve, j)) {
        feed_free(j->feed);
        s->feed = NULL;
        s->busy = false;
        s->refs--;
        buf_free(&j->message);
        mem_free(j);
        drop(s, "too many requests at once");
    }
}

/* Messages out of what has come, until one has to be waited for. */
static void run(struct nc_session *s) {
    struct err e = {.code = ERR_OK};
    while (!s->busy && !s->ending && s->conn != NULL && s->waiting.len > 0) {
        struct cur in = cur_of(s->waiting.data, s->waiting.len);
        bool whole = nc_framer_take(&s->in, &in, &e);
        buf_consume(&s->waiting, s->waiting.len - cur_left(&in));
        if (e.code != ERR_OK) {
            drop(s, e.text);
            return;
        }
        if (!whole) {
            break;
        }
        if (!s->greeted) {
            hello(s);
        } else {
            start(s);
        }
    }
    count_bytes(s);
}

void nc_session_data(struct nc_session *s, const uint8_t *p, size_t len) {
    if (s->ending) {
        return;
    }
    s->heard_ms = now_ms(s->n);
    buf_add(&s->waiting, p, len);
    run(s);
    if (atomic_load(&s->n->bytes) > NC_BYTES_MAX && s->counted > SSHD_QUEUE_HIGH) {
        drop(s, "too many large messages at once");
    }
}

void nc_session_sent(struct nc_session *s) {
    s->alive_ms = now_ms(s->n);
    if (s->feed != NULL && s->conn != NULL &&
        s->transport->queued(s->conn) <= s->transport->high / 2) {
        feed_full(s->feed, false);
    }
}

void nc_session_event(struct nc_session *s, const void *p, size_t n) {
    struct buf framed = BUF_INIT;
    if (s->conn == NULL || s->ending) {
        return;
    }
    nc_frame_piece(s->base11, p, n, &framed);
    nc_frame_end(s->base11, &framed);
    if (s->busy) {
        buf_add(&s->held, framed.data, framed.len);
    } else {
        s->transport->write(s->conn, framed.data, framed.len);
    }
    buf_free(&framed);
    atomic_fetch_add(&s->count.out_notifications, 1);
    atomic_fetch_add(&s->n->total.out_notifications, 1);
    if (s->held.len + s->transport->queued(s->conn) > NC_EVENTS_QUEUED) {
        drop(s, "it does not keep up with its notifications");
    }
}

/* Idle sessions end as those of the command line do, unless they listen to notifications, or we
 * would only connect again. */
static int64_t idle_ms(struct nc_session *s) {
    enum { DEFAULT_S = 3600 };
    struct snap *snap = core_snapshot(s->n->cfg.core);
    const struct object *o = snap_get(snap, "/weft-system:system/settings");
    unsigned long v = DEFAULT_S;
    if (o != NULL) {
        struct arena *a = arena_new();
        const char *text = doc_value(s->n->model, o->doc, "sessions/idle-timeout", a);
        v = text != NULL ? strtoul(text, NULL, 10) : DEFAULT_S;
        arena_free(a);
    }
    snap_release(snap);
    return (int64_t)v * 1000;
}

/* Would its login be let in again? */
static bool stands(const struct nc_session *s) {
    struct snap *snap = core_snapshot(s->n->cfg.core);
    bool yes = rights_stands(s->n->cfg.core, snap, &s->who);
    snap_release(snap);
    return yes;
}

void nc_session_tick(struct nc_session *s, int64_t now) {
    if (s->conn == NULL || s->ending) {
        return;
    }
    int64_t idle = idle_ms(s);
    size_t queued = s->transport->queued(s->conn);
    s->alive_ms = queued != s->queued ? now : s->alive_ms; /* it takes some */
    s->queued = queued;
    if (s->killed) {
        drop(s, "killed by another session");
    } else if (!stands(s)) {
        drop(s, "its user may not log in any more");
    } else if (!s->greeted && now - s->heard_ms > NC_HELLO_MS) {
        drop(s, "it said no hello in time");
    } else if (queued > 0 && now - s->alive_ms > NC_STALL_MS) {
        drop(s, "it does not read its answers");
    } else if (queued == 0) {
        s->alive_ms = now; /* a stall begins when something waits */
        if (idle > 0 && !s->busy && s->subscription == NULL && !s->called_home &&
            now - s->heard_ms > idle) {
            drop(s, "it was idle for too long");
        }
    }
}
