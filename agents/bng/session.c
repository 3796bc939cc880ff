// SPDX-License-Identifier: Apache-2.0
#include "bng/session.h"

#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "net/grpc.h"

LOGGER_MODULE(session)

enum { BACKOFF_FIRST_MS = 250, BACKOFF_MAX_MS = 30000, STEADY_MS = 10000 };

struct session {
    struct loop *loop;
    const struct bng_config *c;
    struct bng_engine *e;
    loop_fn *poke;
    void *arg;
    struct tls_ctx *tls;
    struct grpc_channel *channel;
    struct grpc_call *call;
    struct loop_timer *timer;
    struct session_stats stats;
    size_t next;                      /* manager to dial, or that is dialled */
    char nodes[BNG_MANAGERS_MAX][64]; /* what each last said that it is; "": nothing */
    char wanted[64];                  /* which one the session is to go to; "": any */
    unsigned hops;                    /* tried for that */
    bool moving;                      /* dial at once, not the next */
    int64_t backoff, up_since;
};

static void dial(void *arg);

static void on_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct session *s = arg;
    bng_engine_message(s->e, p, n);
    s->poke(s->arg);
}

static void on_call_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                           void *arg) {
    struct session *s = arg;
    s->call = NULL;
    if (s->stats.error[0] == '\0') {
        text_linef(s->stats.error, sizeof s->stats.error, "%s: %s", grpc_code_name(status),
                   message);
    }
    grpc_channel_close(s->channel);
}

static const struct grpc_call_ops call_ops = {.message = on_message, .closed = on_call_closed};

static void on_connected(struct grpc_channel *ch, void *arg) {
    struct session *s = arg;
    s->stats.connected = true;
    s->stats.error[0] = '\0';
    s->up_since = loop_now(s->loop);
    L_INFO("connected to %s (%s)", s->stats.peer, s->tls != NULL ? "TLS" : "clear-text");
    s->call = grpc_call_start(ch, "/openapmi.v1.Apmi/Session", NULL, 0, 0, &call_ops, s);
    bng_engine_connected(s->e);
    s->poke(s->arg);
}

static void on_channel_closed(struct grpc_channel *ch, const char *text, void *arg) {
    struct session *s = arg;
    s->channel = NULL;
    s->call = NULL;
    if (s->stats.error[0] == '\0') {
        text_line(s->stats.error, sizeof s->stats.error, text);
    }
    bool steady = s->stats.connected && loop_now(s->loop) - s->up_since > STEADY_MS * NS_PER_MS;
    s->stats.breaks += s->stats.connected;
    s->stats.connected = false;
    bng_engine_disconnected(s->e);
    s->poke(s->arg);
    if (s->moving) {
        s->moving = false;
        loop_timer_start(s->timer, 0);
        return;
    }
    s->backoff = steady || s->backoff == 0 ? BACKOFF_FIRST_MS : s->backoff * 2;
    s->backoff = s->backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff;
    uint64_t jitter;
    rng_secure(&jitter, sizeof jitter);
    int64_t wait = s->backoff / 2 + (int64_t)(jitter % (uint64_t)s->backoff);
    L_WARN_RL(10, "session with %s ended: %s; again in %lld ms", s->stats.peer, s->stats.error,
              (long long)wait);
    s->next = (s->next + 1) % s->c->n_managers;
    loop_timer_start(s->timer, wait);
}

static const struct grpc_channel_ops channel_ops = {.connected = on_connected,
                                                    .closed = on_channel_closed};

static void dial(void *arg) {
    struct session *s = arg;
    const struct bng_manager *m = &s->c->managers[s->next];
    struct grpc_channel_config cfg = {
        .host = m->host,
        .port = m->port,
        .tls = s->tls,
        .verify_name = m->verify_name[0] != '\0' ? m->verify_name : NULL,
        .connect_ms = 5000,
    };
    snprintf(s->stats.peer, sizeof s->stats.peer, "%s:%u", m->host, m->port);
    s->stats.dials++;
    s->stats.node[0] = '\0';
    s->stats.error[0] = '\0';
    s->channel = grpc_connect(s->loop, &cfg, &channel_ops, s);
}

/* ---- P-24 ---- */

static void go_to(struct session *s, size_t manager, const char *why) {
    if (s->channel == NULL || s->moving) {
        return;
    }
    s->next = manager;
    s->moving = true;
    session_end(s, why);
}

void session_is_with(struct session *s, const char *node) {
    text_line(s->nodes[s->next], sizeof s->nodes[0], node);
    text_line(s->stats.node, sizeof s->stats.node, node);
    if (s->wanted[0] == '\0' || strcmp(node, s->wanted) == 0) {
        s->wanted[0] = '\0';
    } else if (++s->hops < s->c->n_managers) {
        go_to(s, (s->next + 1) % s->c->n_managers, "it is not the manager that is wanted");
    } else {
        L_INFO("no manager of the list is %s; the session stays with %s", s->wanted, node);
        s->wanted[0] = '\0';
    }
}

void session_move(struct session *s, const char *node) {
    size_t to = (s->next + 1) % s->c->n_managers;
    if (s->c->n_managers < 2 || node[0] == '\0' || strcmp(node, s->stats.node) == 0) {
        return;
    }
    for (size_t i = 0; i < s->c->n_managers; i++) {
        to = strcmp(s->nodes[i], node) == 0 ? i : to;
    }
    L_INFO("the manager asks this gateway to go to %s", node);
    text_line(s->wanted, sizeof s->wanted, node);
    s->hops = 0;
    go_to(s, to, "moved on order");
}

void session_send(struct session *s, const uint8_t *p, size_t n) {
    if (s->call == NULL) {
        return;
    }
    if (grpc_send(s->call, p, n) == SIZE_MAX) {
        session_end(s, "the manager doesn't read, and the queue towards it is full");
    }
}

void session_end(struct session *s, const char *why) {
    if (s->channel == NULL || s->stats.error[0] != '\0') {
        return;
    }
    text_line(s->stats.error, sizeof s->stats.error, why);
    grpc_channel_close(s->channel);
}

enum err_code session_new(struct loop *l, const struct bng_config *c, loop_fn *poke, void *arg,
                          struct session **out, struct err *err) {
    struct session *s = MEM_NEW(struct session);
    s->loop = l;
    s->c = c;
    s->poke = poke;
    s->arg = arg;
    if (!c->clear_text) {
        struct tls_config t = {
            .cert_file = c->certificate, .key_file = c->key, .ca_file = c->ca, .alpn = TLS_ALPN_H2};
        enum err_code rc = tls_client_new(&t, &s->tls, err);
        if (rc != ERR_OK) {
            mem_free(s);
            return rc;
        }
    }
    s->timer = loop_timer_new(l, dial, s);
    *out = s;
    return ERR_OK;
}

void session_start(struct session *s, struct bng_engine *e) {
    s->e = e;
    loop_timer_start(s->timer, 0);
}

void session_free(struct session *s) {
    if (s == NULL) {
        return;
    }
    loop_timer_free(s->timer);
    tls_ctx_free(s->tls);
    mem_free(s);
}

void session_reload(struct session *s) {
    struct err err;
    if (s->tls != NULL && tls_reload(s->tls, &err) != ERR_OK) {
        L_ERR("%s: %s; the old certificate stays in use", err.path, err.text);
    } else if (s->tls != NULL) {
        L_INFO("certificate, key and CA were read again");
    }
}

const struct session_stats *session_stats(const struct session *s) {
    return &s->stats;
}
