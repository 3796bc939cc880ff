// SPDX-License-Identifier: Apache-2.0
/*
 * A server for tests, made of nothing but src/net: foreign clients are pointed at it. Prints one
 * line per listener ("h1 PORT", "tls PORT", ...) and "ready", and serves until SIGTERM.
 *
 * usage: net_testd DIR [name=value ...]    DIR gets a CA, certificates and the unix socket; the
 * names are those of struct http_limits that tests want small.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "net/http.h"
#include "net/pki.h"
#include "net/testing/testd.h"

struct daemon {
    struct loop *loop;
    struct http_server *server;
    struct loop_signal *term;
};

/* ------------------------------------------------------------------ handlers */

/* Sends the body back as it comes, pausing it while the client does not read. */
static void echo_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    if (!http_started(r)) {
        http_start(r, 200, NULL, 0, -1);
    }
    if (http_write(r, p, n) > http_queue_high(r)) {
        http_req_pause(r, true);
    }
}
static void echo_end(struct http_req *r, void *arg) {
    if (!http_started(r)) {
        http_start(r, 200, NULL, 0, 0);
    }
    http_end(r);
}
static void echo_drained(struct http_req *r, void *arg) {
    http_req_pause(r, false);
}
static const struct http_req_ops echo_ops = {
    .body = echo_body, .body_end = echo_end, .drained = echo_drained};

static void collected(struct http_req *r, struct buf *body, void *arg) {
    http_respond(r, 200, "application/octet-stream", body->data, body->len);
}

static unsigned long number(struct http_req *r, const char *name, unsigned long otherwise) {
    char *v = http_query_get(r, name);
    unsigned long n = v ? strtoul(v, NULL, 10) : otherwise;
    mem_free(v);
    return n;
}

/* n bytes, made as the client takes them. */
struct big {
    unsigned long left;
};
static void big_more(struct http_req *r, void *arg) {
    struct big *b = arg;
    char piece[8192];
    memset(piece, 'x', sizeof(piece));
    while (b->left > 0) {
        size_t n = b->left < sizeof(piece) ? b->left : sizeof(piece);
        b->left -= n;
        if (http_write(r, piece, n) > http_queue_high(r)) {
            return;
        }
    }
    http_end(r);
}
static void big_closed(struct http_req *r, bool aborted, void *arg) {
    mem_free(arg);
}
static const struct http_req_ops big_ops = {.drained = big_more, .closed = big_closed};

static void big(struct http_req *r, bool announced) {
    struct big *b = MEM_NEW(struct big);
    b->left = number(r, "n", 1 << 20);
    http_req_set_ops(r, &big_ops, b);
    http_start(r, 200, NULL, 0, announced ? (int64_t)b->left : -1);
    big_more(r, b);
}

/* A producer that never looks at the queue. */
struct rude {
    struct http_req *r;
    struct loop_timer *t;
};
static void rude_tick(void *arg) {
    struct rude *d = arg;
    char piece[65536];
    memset(piece, 'y', sizeof(piece));
    for (int i = 0; i < 16; i++) {
        http_write(d->r, piece, sizeof(piece));
    }
}
static void rude_closed(struct http_req *r, bool aborted, void *arg) {
    struct rude *d = arg;
    loop_timer_free(d->t);
    mem_free(d);
}
static const struct http_req_ops rude_ops = {.closed = rude_closed};

static void rude(struct daemon *d, struct http_req *r) {
    struct rude *x = MEM_NEW(struct rude);
    x->r = r;
    x->t = loop_timer_new(d->loop, rude_tick, x);
    http_req_set_ops(r, &rude_ops, x);
    http_start(r, 200, NULL, 0, -1);
    loop_timer_repeat(x->t, 5);
}

/* Answers after ms, if the peer is still there. */
struct later {
    struct http_req *r;
    struct loop_timer *t;
};
static void later_now(void *arg) {
    struct later *x = arg;
    http_respond(x->r, 200, "text/plain", "later\n", 6);
}
static void later_closed(struct http_req *r, bool aborted, void *arg) {
    struct later *x = arg;
    loop_timer_free(x->t);
    mem_free(x);
}
static const struct http_req_ops later_ops = {.closed = later_closed};

static void later(struct daemon *d, struct http_req *r) {
    struct later *x = MEM_NEW(struct later);
    x->r = r;
    x->t = loop_timer_new(d->loop, later_now, x);
    http_req_set_ops(r, &later_ops, x);
    loop_timer_start(x->t, (int64_t)number(r, "ms", 100));
}

/* Numbered events, many a tick. */
struct ticker {
    struct http_events *ev;
    struct loop_timer *t;
    unsigned long at, n, per_tick;
};
static void ticker_tick(void *arg) {
    struct ticker *x = arg;
    for (unsigned long i = 0; i < x->per_tick && x->at < x->n; i++) {
        char id[32], data[512];
        snprintf(id, sizeof(id), "%lu", x->at++);
        snprintf(data, sizeof(data), "{\"n\":%s,\"pad\":\"%0400d\"}", id, 0);
        http_events_send(x->ev, id, "tick", data);
    }
    if (x->at == x->n && !http_events_behind(x->ev)) {
        if (http_events_send(x->ev, NULL, "end", "one\ntwo")) {
            loop_timer_stop(x->t);
            http_events_end(x->ev);
        }
    }
}
static void ticker_closed(void *arg) {
    struct ticker *x = arg;
    loop_timer_free(x->t);
    mem_free(x);
}
static void events(struct daemon *d, struct http_req *r) {
    struct ticker *x = MEM_NEW(struct ticker);
    x->n = number(r, "n", 10);
    x->per_tick = number(r, "rate", 10);
    x->ev = http_events_start(r, NULL, 0, number(r, "max", 0), ticker_closed, x);
    x->t = loop_timer_new(d->loop, ticker_tick, x);
    loop_timer_repeat(x->t, 5);
}

static void stats(struct daemon *d, struct http_req *r) {
    const struct http_counters *n = http_server_counters(d->server);
    const struct loop_counters *l = loop_counters(d->loop);
    struct buf b = BUF_INIT;
    buf_str(&b, "{");
#define X(name, help) buf_printf(&b, "\"%s\": %llu, ", #name, (unsigned long long)n->name);
    HTTP_COUNTERS(X)
#undef X
    buf_printf(&b, "\"loop_callbacks\": %llu, \"loop_slow\": %llu, ",
               (unsigned long long)l->callbacks, (unsigned long long)l->slow);
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1) {
        pages = 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    buf_printf(&b, "\"rss\": %lu}\n", pages * (unsigned long)sysconf(_SC_PAGESIZE));
    http_respond(r, 200, "application/json", b.data, b.len);
    buf_free(&b);
}

static void show(struct http_req *r) {
    const struct http_peer *p = http_peer(r);
    struct buf b = BUF_INIT;
    buf_printf(&b, "method=%s\nraw=%s\npath=%s\nquery=%s\nauthority=%s\nscheme=%s\nversion=%d\n",
               http_method(r), http_raw_path(r), http_path(r), http_query(r), http_authority(r),
               http_scheme(r), http_version(r));
    buf_printf(&b, "peer=%s\nkind=%d\nuid=%ld\n", p->text, (int)p->kind,
               p->kind == HTTP_PEER_UNIX ? (long)p->uid : -1L);
    if (p->tls != NULL) {
        buf_printf(&b, "cn=%s\nverified=%d\nfingerprint=%s\n", p->tls->subject_cn, p->tls->verified,
                   p->tls->fingerprint);
    }
    char *q = http_query_get(r, "q");
    buf_printf(&b, "q=%s\n", q ? q : "(none)");
    mem_free(q);
    for (unsigned i = 0; i < http_header_count(r); i++) {
        const char *name, *value;
        http_header_at(r, i, &name, &value);
        buf_printf(&b, "header %s: %s\n", name, value);
    }
    http_respond(r, 200, "text/plain", b.data, b.len);
    buf_free(&b);
}

static void whole(struct http_req *r) {
    size_t n = number(r, "n", 1000);
    char *p = mem_alloc(n + 1);
    memset(p, 'w', n);
    http_respond(r, 200, "application/octet-stream", p, n);
    mem_free(p);
}

static void handle(struct http_req *r, void *arg) {
    struct daemon *d = arg;
    const char *path = http_path(r);
    if (testd_grpc(r)) {
        return;
    }
    if (strcmp(path, "/hello") == 0) {
        http_respond(r, 200, "text/plain", "hello\n", 6);
    } else if (strcmp(path, "/echo") == 0) {
        http_req_set_ops(r, &echo_ops, NULL);
    } else if (strcmp(path, "/collect") == 0) {
        http_collect(r, number(r, "cap", 65536), collected, NULL);
    } else if (strcmp(path, "/big") == 0) {
        big(r, false);
    } else if (strcmp(path, "/announced") == 0) {
        big(r, true);
    } else if (strcmp(path, "/whole") == 0) {
        whole(r);
    } else if (strcmp(path, "/rude") == 0) {
        rude(d, r);
    } else if (strcmp(path, "/later") == 0) {
        later(d, r);
    } else if (strcmp(path, "/events") == 0) {
        events(d, r);
    } else if (strcmp(path, "/stats") == 0) {
        stats(d, r);
    } else if (strncmp(path, "/show", 5) == 0) {
        show(r);
    } else if (strcmp(path, "/nothing") == 0) {
        http_respond(r, 204, NULL, NULL, 0);
    } else {
        http_respond(r, 404, "text/plain", "no such thing\n", 14);
    }
}

/* ------------------------------------------------------------------ set-up */

static void need(enum err_code rc, const struct err *e) {
    if (rc != ERR_OK) {
        fprintf(stderr, "net_testd: %s: %s\n", e->path, e->text);
        exit(1);
    }
}

static char *in_dir(const char *dir, const char *name) {
    return mem_printf("%s/%s", dir, name);
}

static void make_pki(const char *dir) {
    struct err e;
    char *ca = in_dir(dir, "ca.pem"), *ca_key = in_dir(dir, "ca.key");
    need(pki_make_ca("net test CA", 30, ca, ca_key, &e), &e);
    static const char *const sans[] = {"DNS:localhost", "IP:127.0.0.1", "IP:::1", NULL};
    static const struct {
        const char *name, *cn;
        unsigned use;
    } leaves[] = {{"server", "localhost", PKI_SERVER}, {"client", "bng-1", PKI_CLIENT}};
    for (size_t i = 0; i < 2; i++) {
        char *cert = mem_printf("%s/%s.pem", dir, leaves[i].name);
        char *key = mem_printf("%s/%s.key", dir, leaves[i].name);
        struct pki_request rq = {.common_name = leaves[i].cn,
                                 .sans = leaves[i].use == PKI_SERVER ? sans : NULL,
                                 .use = leaves[i].use,
                                 .days = 10};
        need(pki_issue(ca, ca_key, &rq, cert, key, &e), &e);
        mem_free(cert);
        mem_free(key);
    }
    mem_free(ca);
    mem_free(ca_key);
}

static void listen_tls(struct daemon *d, const char *dir, const char *name,
                       enum tls_client_auth auth) {
    struct err e;
    char *cert = in_dir(dir, "server.pem"), *key = in_dir(dir, "server.key");
    char *ca = in_dir(dir, "ca.pem");
    struct tls_config c = {.cert_file = cert,
                           .key_file = key,
                           .ca_file = ca,
                           .client_auth = auth,
                           .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP11};
    struct tls_ctx *t = NULL;
    uint16_t port = 0;
    struct ip_addr lo = ip4(0x7f000001);
    need(tls_server_new(&c, &t, &e), &e);
    need(http_listen_tcp(d->server, &lo, 0, t, 0, &port, &e), &e);
    tls_ctx_free(t);
    printf("%s %u\n", name, port);
    mem_free(cert);
    mem_free(key);
    mem_free(ca);
}

static void set_limit(struct http_limits *lim, const char *arg) {
    const char *eq = strchr(arg, '=');
    long long v = eq ? strtoll(eq + 1, NULL, 10) : 0;
    size_t n = eq ? (size_t)(eq - arg) : 0;
#define LIMIT(f)                                                                                   \
    if (n == strlen(#f) && strncmp(arg, #f, n) == 0) {                                             \
        lim->f = (typeof(lim->f))v;                                                                \
        return;                                                                                    \
    }
    LIMIT(max_conns)
    LIMIT(max_conns_per_peer)
    LIMIT(max_greeting)
    LIMIT(max_collected)
    LIMIT(max_header_bytes)
    LIMIT(max_streams)
    LIMIT(max_resets)
    LIMIT(max_control)
    LIMIT(header_ms)
    LIMIT(idle_ms)
    LIMIT(body_grace_ms)
    LIMIT(body_min_rate)
    LIMIT(write_stall_ms)
    LIMIT(queue_high)
    LIMIT(queue_max)
#undef LIMIT
    fprintf(stderr, "net_testd: unknown limit %s\n", arg);
    exit(2);
}

static void stopped(void *arg) {
    struct daemon *d = arg;
    loop_stop(d->loop);
}

static void on_term(void *arg) {
    struct daemon *d = arg;
    http_server_shutdown(d->server, 2000, stopped, d);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: net_testd DIR [limit=value ...]\n");
        return 2;
    }
    struct daemon d = {0};
    struct http_limits lim = http_limits_default;
    for (int i = 2; i < argc; i++) {
        set_limit(&lim, argv[i]);
    }
    make_pki(argv[1]);
    d.loop = loop_new("testd");
    d.server = http_server_new(d.loop, &lim, handle, &d);
    d.term = loop_signal_new(d.loop, SIGTERM, on_term, &d);
    testd_grpc_start(d.loop);
    struct err e;
    struct ip_addr lo = ip4(0x7f000001);
    uint16_t port = 0;
    need(http_listen_tcp(d.server, &lo, 0, NULL, 0, &port, &e), &e);
    printf("h1 %u\n", port);
    need(http_listen_tcp(d.server, &lo, 0, NULL, HTTP_H2C, &port, &e), &e);
    printf("h2c %u\n", port);
    listen_tls(&d, argv[1], "tls", TLS_AUTH_NONE);
    listen_tls(&d, argv[1], "mtls", TLS_AUTH_REQUIRED);
    listen_tls(&d, argv[1], "otls", TLS_AUTH_OPTIONAL);
    char *path = in_dir(argv[1], "sock");
    need(http_listen_unix(d.server, path, 0600, HTTP_H2C, &e), &e);
    mem_free(path);
    printf("ready\n");
    fflush(stdout);
    loop_run(d.loop);
    loop_signal_free(d.term);
    http_server_free(d.server);
    testd_grpc_stop();
    loop_free(d.loop);
    return 0;
}
