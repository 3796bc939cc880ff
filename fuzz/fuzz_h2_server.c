// SPDX-License-Identifier: Apache-2.0
/*
 * A whole server session: a plaintext connection that takes HTTP/2 and HTTP/1.1, with an echo
 * handler and a gRPC method behind it. The input's first byte chooses: how it is cut, and whether
 * the HTTP/2 preface is put before it. All memory must be given back (leaks are errors).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/grpc.h"

static void body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    if (!http_started(r)) {
        http_start(r, 200, NULL, 0, -1);
    }
    if (http_write(r, p, n) > http_queue_high(r)) {
        http_req_pause(r, true);
    }
}
static void body_end(struct http_req *r, void *arg) {
    if (!http_started(r)) {
        http_respond(r, 200, "text/plain", "ok", 2);
    }
    http_end(r);
}
static void drained(struct http_req *r, void *arg) {
    http_req_pause(r, false);
}
static const struct http_req_ops ops = {.body = body, .body_end = body_end, .drained = drained};

static void collected(struct http_req *r, struct buf *b, void *arg) {
    http_respond(r, 200, NULL, b->data, b->len);
}

static void message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    grpc_send(c, p, n);
}
static void half_closed(struct grpc_call *c, void *arg) {
    grpc_finish(c, GRPC_OK, "fine");
}
static const struct grpc_call_ops call_ops = {.message = message, .half_closed = half_closed};
static void call(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &call_ops, NULL);
}

static void handler(struct http_req *r, void *arg) {
    if (grpc_is(r)) {
        grpc_serve(arg, r);
    } else if (http_path(r)[1] == 'c') {
        http_collect(r, 100, collected, NULL);
    } else if (http_path(r)[1] != 'n') { /* 'n': never answered */
        http_req_set_ops(r, &ops, NULL);
    }
}

static void give(struct loop *l, int fd, const uint8_t *p, size_t n) {
    uint8_t sink[4096];
    if (write(fd, p, n) < 0) {
        return; /* closed by the server */
    }
    for (int i = 0; i < 4; i++) {
        loop_poll(l, 0);
        while (read(fd, sink, sizeof(sink)) > 0) {
        }
    }
}

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    if (size < 1) {
        return 0;
    }
    struct loop *l = loop_new("fuzz");
    struct http_limits lim = http_limits_default;
    lim.queue_high = 1000;
    struct grpc_server *gs = grpc_server_new(l);
    grpc_register(gs, "/a", call, NULL);
    struct http_server *s = http_server_new(l, &lim, handler, gs);
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0) {
        abort();
    }
    http_server_adopt(s, fd[0], NULL, HTTP_H2C);
    size_t step = data[0] & 0x7f ? data[0] & 0x7f : size;
    if (data[0] & 0x80) {
        give(l, fd[1], preface, sizeof(preface) - 1);
    }
    for (size_t at = 1; at < size; at += step) {
        give(l, fd[1], data + at, size - at < step ? size - at : step);
    }
    close(fd[1]);
    loop_poll(l, 0);
    http_server_free(s);
    loop_poll(l, 0);
    loop_free(l);
    grpc_server_free(gs);
    return 0;
}
