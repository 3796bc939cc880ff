// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/grpc.h"
#include "net/testing/testd.h"

static struct grpc_server *server;
static uint64_t cancelled;

/* Answers the one message of a unary call with itself. */
static void unary_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    grpc_send(c, p, n);
}
static void unary_end(struct grpc_call *c, void *arg) {
    grpc_finish(c, GRPC_OK, NULL);
}
static const struct grpc_call_ops unary_ops = {.message = unary_message, .half_closed = unary_end};
static void unary(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &unary_ops, NULL);
}

/* Every message comes back; reading stops while the peer does not take the answers. */
static void bidi_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    if (grpc_send(c, p, n) > grpc_high_mark(c)) {
        grpc_pause(c, true);
    }
}
static void bidi_drained(struct grpc_call *c, void *arg) {
    grpc_pause(c, false);
}
static const struct grpc_call_ops bidi_ops = {
    .message = bidi_message, .half_closed = unary_end, .drained = bidi_drained};
static void bidi(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &bidi_ops, NULL);
}

static void fail(struct grpc_call *c, void *arg) {
    grpc_finish(c, GRPC_NOT_FOUND, "no such pool: caf\xc3\xa9 100%");
}

/* Never answers; counts who left. */
static void slow_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                        void *arg) {
    cancelled += status == GRPC_CANCELLED;
}
static const struct grpc_call_ops slow_ops = {.closed = slow_closed};
static void slow(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &slow_ops, NULL);
}

/* Sends as many messages of 1,000 bytes as the request says in decimal, as they are taken. */
struct source {
    unsigned long left;
};
static void source_more(struct grpc_call *c, void *arg) {
    struct source *s = arg;
    uint8_t m[1000];
    memset(m, 's', sizeof(m));
    while (s->left > 0) {
        s->left--;
        if (grpc_send(c, m, sizeof(m)) > grpc_high_mark(c)) {
            return;
        }
    }
    grpc_finish(c, GRPC_OK, NULL);
}
static void source_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct source *s = arg;
    char text[16] = {0};
    memcpy(text, p, n < sizeof(text) - 1 ? n : sizeof(text) - 1);
    s->left = strtoul(text, NULL, 10);
    source_more(c, s);
}
static void source_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                          void *arg) {
    cancelled += status == GRPC_CANCELLED;
    mem_free(arg);
}
static const struct grpc_call_ops source_ops = {
    .message = source_message, .drained = source_more, .closed = source_closed};
static void source(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &source_ops, MEM_NEW(struct source));
}

/* Says who calls. */
static void whoami_end(struct grpc_call *c, void *arg) {
    const struct http_peer *p = grpc_peer(c);
    const char *x = grpc_metadata(c, "x-test");
    char text[512];
    int n = snprintf(text, sizeof(text), "cn=%s x=%s deadline=%d cancelled=%llu",
                     p->tls ? p->tls->subject_cn : "", x ? x : "", grpc_time_left_ms(c) > 0,
                     (unsigned long long)cancelled);
    grpc_send(c, text, (size_t)n);
    grpc_finish(c, GRPC_OK, NULL);
}
static const struct grpc_call_ops whoami_ops = {.half_closed = whoami_end};
static void whoami(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &whoami_ops, NULL);
}

void testd_grpc_start(struct loop *l) {
    server = grpc_server_new(l);
    grpc_register(server, "/weft.test.Echo/Unary", unary, NULL);
    grpc_register(server, "/weft.test.Echo/Bidi", bidi, NULL);
    grpc_register(server, "/weft.test.Echo/Fail", fail, NULL);
    grpc_register(server, "/weft.test.Echo/Slow", slow, NULL);
    grpc_register(server, "/weft.test.Echo/Source", source, NULL);
    grpc_register(server, "/weft.test.Echo/Whoami", whoami, NULL);
}

void testd_grpc_stop(void) {
    grpc_server_free(server);
}

bool testd_grpc(struct http_req *r) {
    if (!grpc_is(r)) {
        return false;
    }
    grpc_serve(server, r);
    return true;
}
