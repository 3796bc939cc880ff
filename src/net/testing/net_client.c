// SPDX-License-Identifier: Apache-2.0
/*
 * Our gRPC client against a foreign server that offers /weft.test.Echo (see
 * test/e2e/test_net_grpc.py). Each step prints a line; exit status 0 when all were as they must be.
 *
 * usage: net_client HOST PORT [CA [CERT KEY]]      without CA: plaintext
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/grpc.h"

enum { BIDI_MESSAGES = 200, BIDI_SIZE = 100000, SOURCE_MESSAGES = 3000 };

struct client {
    struct loop *loop;
    struct grpc_channel *ch;
    int step, failed;
    struct buf big;
    /* of the streaming steps */
    struct grpc_call *call;
    unsigned sent, got;
    struct loop_timer *timer;
};

static void next(struct client *k);

static void check(struct client *k, const char *what, bool ok, const char *detail) {
    printf("%s %s (%s)\n", ok ? "ok  " : "FAIL", what, detail);
    k->failed += !ok;
    k->step++;
    next(k);
}

static void echoed(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                   void *arg) {
    check(arg, "unary echo", status == GRPC_OK && n == 5 && memcmp(p, "hello", 5) == 0, message);
}

static void empty_echoed(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                         void *arg) {
    check(arg, "empty message", status == GRPC_OK && n == 0, message);
}

static void big_echoed(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                       void *arg) {
    struct client *k = arg;
    check(k, "1 MiB message",
          status == GRPC_OK && n == GRPC_MESSAGE_MAX && memcmp(p, k->big.data, n) == 0, message);
}

static void refused(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                    void *arg) {
    check(arg, "status and message",
          status == GRPC_NOT_FOUND && strcmp(message, "no such pool: caf\xc3\xa9 100%") == 0,
          message);
}

static void unknown(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                    void *arg) {
    check(arg, "unknown method", status == GRPC_UNIMPLEMENTED, message);
}

static void too_late(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                     void *arg) {
    check(arg, "deadline", status == GRPC_DEADLINE_EXCEEDED, message);
}

static void too_big(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                    void *arg) {
    check(arg, "message over the limit is not sent", status == GRPC_RESOURCE_EXHAUSTED, message);
}

/* ------------------------------------------------------------------ streams */

static void bidi_fill(struct client *k) {
    while (k->sent < BIDI_MESSAGES && grpc_queued(k->call) < grpc_high_mark(k->call)) {
        k->big.data[0] = (uint8_t)k->sent++;
        grpc_send(k->call, k->big.data, BIDI_SIZE);
    }
    if (k->sent == BIDI_MESSAGES) {
        grpc_send_end(k->call);
    }
}
static void bidi_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct client *k = arg;
    k->got += n == BIDI_SIZE && p[0] == (uint8_t)k->got;
}
static void bidi_drained(struct grpc_call *c, void *arg) {
    bidi_fill(arg);
}
static void bidi_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                        void *arg) {
    struct client *k = arg;
    check(k, "20 MB there and back in order", status == GRPC_OK && k->got == BIDI_MESSAGES,
          message);
}
static const struct grpc_call_ops bidi_ops = {
    .message = bidi_message, .drained = bidi_drained, .closed = bidi_closed};

/* Takes one message, then nothing for a while, then the rest. */
static void source_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct client *k = arg;
    k->got++;
    if (k->got == 1) {
        grpc_pause(c, true);
        loop_timer_start(k->timer, 300);
    }
}
static void source_resume(void *arg) {
    struct client *k = arg;
    if (k->got != 1) {
        printf("FAIL %u messages while paused\n", k->got - 1);
        k->failed++;
    }
    grpc_pause(k->call, false);
}
static void source_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                          void *arg) {
    struct client *k = arg;
    check(k, "paused, then all of it", status == GRPC_OK && k->got == SOURCE_MESSAGES, message);
}
static const struct grpc_call_ops source_ops = {.message = source_message, .closed = source_closed};

static void cancel_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                          void *arg) {
    check(arg, "cancel", status == GRPC_CANCELLED, message);
}
static const struct grpc_call_ops cancel_ops = {.closed = cancel_closed};

/* ------------------------------------------------------------------ order of things */

static void start_stream(struct client *k, const char *path, const struct grpc_call_ops *ops) {
    k->sent = k->got = 0;
    k->call = grpc_call_start(k->ch, path, NULL, 0, 20000, ops, k);
}

static void next(struct client *k) {
    char n[16];
    switch (k->step) {
    case 0:
        grpc_unary(k->ch, "/weft.test.Echo/Unary", "hello", 5, 5000, echoed, k);
        break;
    case 1:
        grpc_unary(k->ch, "/weft.test.Echo/Unary", "", 0, 5000, empty_echoed, k);
        break;
    case 2:
        grpc_unary(k->ch, "/weft.test.Echo/Unary", k->big.data, GRPC_MESSAGE_MAX, 20000, big_echoed,
                   k);
        break;
    case 3:
        grpc_unary(k->ch, "/weft.test.Echo/Fail", "x", 1, 5000, refused, k);
        break;
    case 4:
        grpc_unary(k->ch, "/weft.test.Echo/Nosuch", "x", 1, 5000, unknown, k);
        break;
    case 5:
        grpc_unary(k->ch, "/weft.test.Echo/Slow", "x", 1, 200, too_late, k);
        break;
    case 6:
        grpc_unary(k->ch, "/weft.test.Echo/Unary", k->big.data, GRPC_MESSAGE_MAX + 1, 5000, too_big,
                   k);
        break;
    case 7:
        start_stream(k, "/weft.test.Echo/Bidi", &bidi_ops);
        bidi_fill(k);
        break;
    case 8:
        start_stream(k, "/weft.test.Echo/Source", &source_ops);
        snprintf(n, sizeof(n), "%d", SOURCE_MESSAGES);
        grpc_send(k->call, n, strlen(n));
        grpc_send_end(k->call);
        break;
    case 9:
        start_stream(k, "/weft.test.Echo/Slow", &cancel_ops);
        grpc_send(k->call, "x", 1);
        grpc_cancel(k->call);
        break;
    default:
        grpc_channel_close(k->ch);
    }
}

static void on_connected(struct grpc_channel *ch, void *arg) {
    struct client *k = arg;
    const struct tls_peer *p = grpc_channel_peer(ch);
    printf("connected %s\n", p ? p->subject_cn : "in plaintext");
    k->ch = ch;
    next(k);
}

static void on_closed(struct grpc_channel *ch, const char *text, void *arg) {
    struct client *k = arg;
    printf("closed: %s\n", text);
    k->failed += k->step < 10;
    loop_stop(k->loop);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: net_client HOST PORT [CA [CERT KEY]]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct client k = {0};
    struct err e;
    struct tls_ctx *tls = NULL;
    k.loop = loop_new("client");
    memset(buf_extend(&k.big, GRPC_MESSAGE_MAX + 1), 'b', GRPC_MESSAGE_MAX + 1);
    if (argc > 3) {
        struct tls_config c = {.ca_file = argv[3],
                               .cert_file = argc > 5 ? argv[4] : NULL,
                               .key_file = argc > 5 ? argv[5] : NULL,
                               .alpn = TLS_ALPN_H2};
        if (tls_client_new(&c, &tls, &e) != ERR_OK) {
            fprintf(stderr, "%s: %s\n", e.path, e.text);
            return 1;
        }
    }
    k.timer = loop_timer_new(k.loop, source_resume, &k);
    static const struct grpc_channel_ops ops = {on_connected, on_closed};
    struct grpc_channel_config cfg = {
        .host = argv[1], .port = (uint16_t)atoi(argv[2]), .tls = tls, .connect_ms = 5000};
    k.ch = grpc_connect(k.loop, &cfg, &ops, &k);
    loop_run(k.loop);
    loop_timer_free(k.timer);
    tls_ctx_free(tls);
    buf_free(&k.big);
    loop_free(k.loop);
    printf("%d failed\n", k.failed);
    return k.failed != 0;
}
