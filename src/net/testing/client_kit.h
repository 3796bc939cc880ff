// SPDX-License-Identifier: Apache-2.0
/* Exchanges of an http_client that remember what they were told, for its tests. Header only: each
 * test is one file. */
#ifndef NET_TESTING_CLIENT_KIT_H
#define NET_TESTING_CLIENT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"

enum { KIT_PIECE = 7000, KIT_PATIENCE_S = 120 };

enum { /* moments of an exchange, as bits 1 << n */
       KIT_AT_HEAD,
       KIT_AT_BODY,
       KIT_AT_TRAILERS,
       KIT_AT_DRAINED,
       KIT_AT_CLOSED,
       KIT_MOMENTS,
};

struct kit {
    struct loop *loop;
    struct http_client *client;
    int closed; /* how many clients have ended */
    char why[160];
    bool turn_away;
};

struct kit_ex {
    struct kit *k;
    struct http_exchange *x; /* NULL: over */
    size_t to_write, written;
    bool full, said_all, check, hold, keep_open, cancelled, late;
    unsigned cancel_at, close_at; /* bits */
    size_t got, owed;
    int status, heads, trailers, closed, drained;
    size_t fields;
    char first_field[80], trailer[40], why[160];
    enum http_exchange_end end;
};

static inline uint8_t kit_byte(size_t at) {
    return (uint8_t)(at * 31 + at / 251);
}

#define UNTIL(k, cond)                                                                             \
    do {                                                                                           \
        time_t until_ = time(NULL) + KIT_PATIENCE_S;                                               \
        while (!(cond)) {                                                                          \
            assert_true(time(NULL) < until_);                                                      \
            loop_poll((k)->loop, 5);                                                               \
        }                                                                                          \
    } while (0)

static inline void kit_cancel(struct kit_ex *e) {
    if (e->x != NULL) {
        struct http_exchange *x = e->x;
        e->x = NULL;
        e->cancelled = true;
        http_exchange_cancel(x);
    }
}

/* True: whoever uses it did something; the exchange may be over. */
static inline void kit_at(struct kit_ex *e, int moment) {
    e->late = e->late || e->x == NULL;
    if (e->cancel_at & (1U << moment)) {
        kit_cancel(e);
    }
    if (e->close_at & (1U << moment)) {
        e->close_at = 0;
        http_client_close(e->k->client, "closed by the test");
    }
}

static inline void kit_head(struct http_exchange *x, int status, const struct http_field *f,
                            size_t nf, void *arg) {
    struct kit_ex *e = arg;
    (void)x;
    e->status = status;
    e->heads++;
    e->fields = nf;
    if (nf > 0) {
        snprintf(e->first_field, sizeof e->first_field, "%.30s=%.40s", f[0].name, f[0].value);
    }
    kit_at(e, KIT_AT_HEAD);
}

static inline void kit_trailers(struct http_exchange *x, const struct http_field *f, size_t nf,
                                void *arg) {
    struct kit_ex *e = arg;
    (void)x;
    e->trailers++;
    if (nf > 0) {
        snprintf(e->trailer, sizeof e->trailer, "%s", f[0].value);
    }
    kit_at(e, KIT_AT_TRAILERS);
}

static inline void kit_body(struct http_exchange *x, const uint8_t *p, size_t n, void *arg) {
    struct kit_ex *e = arg;
    assert_int_equal(e->heads, 1);
    for (size_t i = 0; e->check && i < n; i++) {
        assert_int_equal(p[i], kit_byte(e->got + i));
    }
    e->got += n;
    if (e->hold) {
        e->owed += n;
    } else {
        http_exchange_taken(x, n);
    }
    kit_at(e, KIT_AT_BODY);
}

static inline void kit_drained(struct http_exchange *x, void *arg) {
    struct kit_ex *e = arg;
    (void)x;
    e->full = false;
    e->drained++;
    kit_at(e, KIT_AT_DRAINED);
}

static inline void kit_closed(struct http_exchange *x, enum http_exchange_end end, const char *why,
                              void *arg) {
    struct kit_ex *e = arg;
    (void)x;
    e->late = e->late || e->x == NULL;
    e->x = NULL;
    e->closed++;
    e->end = end;
    snprintf(e->why, sizeof e->why, "%s", why);
    if (e->close_at & (1U << KIT_AT_CLOSED)) {
        e->close_at = 0;
        http_client_close(e->k->client, "closed by the test");
    }
}

static const struct http_exchange_ops kit_ops = {kit_head, kit_trailers, kit_body, kit_drained,
                                                 kit_closed};

static inline bool kit_try(struct kit *k, struct kit_ex *e, const char *path) {
    struct http_field f[] = {{"x-of", "the test"}};
    struct http_request_head h = {.method = "POST",
                                  .scheme = "https",
                                  .authority = "here",
                                  .path = path,
                                  .fields = f,
                                  .n_fields = 1};
    *e = (struct kit_ex){.k = k};
    e->x = http_exchange_start(k->client, &h, &kit_ops, e);
    return e->x != NULL;
}

static inline void kit_start(struct kit *k, struct kit_ex *e, const char *path) {
    assert_true(kit_try(k, e, path));
}

/* Writes what may be written; always true. */
static inline bool kit_pump(struct kit_ex *e, size_t n) {
    uint8_t piece[KIT_PIECE];
    for (size_t i = 0; i < n; i++, e++) {
        while (e->x != NULL && !e->full && e->written < e->to_write) {
            size_t some = e->to_write - e->written;
            some = some < sizeof piece ? some : sizeof piece;
            for (size_t j = 0; j < some; j++) {
                piece[j] = kit_byte(e->written + j);
            }
            e->written += some;
            e->full = http_exchange_write(e->x, piece, some);
        }
        if (e->x != NULL && e->written == e->to_write && !e->said_all && !e->keep_open) {
            e->said_all = true;
            http_exchange_end(e->x);
        }
    }
    return true;
}

static inline bool kit_over(const struct kit_ex *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (e[i].x != NULL) {
            return false;
        }
    }
    return true;
}

/* What the one got that got least. */
static inline size_t kit_least(const struct kit_ex *e, size_t n) {
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        least = e[i].got < least ? e[i].got : least;
    }
    return least;
}

static inline void kit_go_on(struct kit_ex *e) {
    e->hold = false;
    if (e->x != NULL) {
        http_exchange_end(e->x);
        http_exchange_taken(e->x, e->owed);
        e->owed = 0;
    }
}

static inline bool kit_accept(struct http_client *c, const struct tls_peer *peer, void *arg) {
    struct kit *k = arg;
    (void)c;
    (void)peer;
    return !k->turn_away;
}

static inline void kit_client_closed(struct http_client *c, const char *why, void *arg) {
    struct kit *k = arg;
    assert_ptr_equal(c, k->client);
    k->client = NULL;
    k->closed++;
    snprintf(k->why, sizeof k->why, "%s", why);
}

static const struct http_client_ops kit_client_ops = {kit_accept, kit_client_closed};

static inline void kit_init(struct kit *k) {
    *k = (struct kit){.loop = loop_new("test")};
}

static inline void kit_connect(struct kit *k, const struct http_client_config *cfg) {
    k->client = http_client_connect(k->loop, cfg, &kit_client_ops, k);
}

static inline void kit_close(struct kit *k) {
    if (k->client != NULL) {
        http_client_close(k->client, "the test is over");
    }
    assert_null(k->client);
    loop_poll(k->loop, 0);
}

static inline void kit_free(struct kit *k) {
    loop_poll(k->loop, 0); /* what was deferred */
    loop_free(k->loop);
}

#endif
