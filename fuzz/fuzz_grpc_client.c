// SPDX-License-Identifier: Apache-2.0
/*
 * What a server may say to our gRPC client, as a manager does to a gateway's agent: a channel over
 * a unix socket with a stream both ways and a unary call. The input's first byte chooses how it is
 * cut, and whether the server begins properly. All memory must be given back (leaks are errors),
 * and every call and the channel hear once, and last, that they are over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/logger.h"
#include "net/grpc.h"

enum { ROUNDS_MAX = 1000 };

static struct sockaddr_un at = {.sun_family = AF_UNIX};
static int listener = -1;

struct ends {
    int calls, channels; /* how many have heard that they are over */
};

static void must(bool cond, const char *what) {
    if (!cond) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void gone(void) {
    unlink(at.sun_path);
}

static void drop_line(enum logger_level level, const char *module, const char *line, void *arg) {
}

static void start(void) {
    logger_set_sink(drop_line, NULL);
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/fuzz_grpc_%d.sock", (int)getpid());
    unlink(at.sun_path);
    atexit(gone);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 8) == 0,
         "no socket to listen on");
}

static void message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    grpc_send(c, p, n);
}

static void half_closed(struct grpc_call *c, void *arg) {
    grpc_send_end(c);
}

static void closed(struct grpc_call *c, enum grpc_code status, const char *text, void *arg) {
    ((struct ends *)arg)->calls++;
}
static const struct grpc_call_ops call_ops = {
    .message = message, .half_closed = half_closed, .closed = closed};

static void answered(enum grpc_code status, const char *text, const uint8_t *p, size_t n,
                     void *arg) {
    must((p == NULL) == (status != GRPC_OK), "an answer with both, or neither");
    ((struct ends *)arg)->calls++;
}

static void connected(struct grpc_channel *ch, void *arg) {
}

static void over(struct grpc_channel *ch, const char *text, void *arg) {
    must(text != NULL && text[0] != '\0', "no reason");
    ((struct ends *)arg)->channels++;
}
static const struct grpc_channel_ops channel_ops = {connected, over};

static void give(struct loop *l, int fd, const uint8_t *p, size_t n) {
    uint8_t sink[4096];
    if (send(fd, p, n, MSG_NOSIGNAL) < 0) {
        return; /* closed by the client */
    }
    for (int i = 0; i < 4; i++) {
        loop_poll(l, 0);
        while (read(fd, sink, sizeof sink) > 0) {
        }
    }
}

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t settings[] = "\0\0\0\4\0\0\0\0\0" /* its own, and that ours was read */
                                      "\0\0\0\4\1\0\0\0\0";
    if (size < 1) {
        return 0;
    }
    if (listener < 0) {
        start();
    }
    struct ends ends = {0};
    struct loop *l = loop_new("fuzz");
    struct grpc_channel_config cfg = {.unix_path = at.sun_path, .keepalive_ms = -1};
    struct grpc_channel *ch = grpc_connect(l, &cfg, &channel_ops, &ends);
    struct grpc_call *c = grpc_call_start(ch, "/a/Both", NULL, 0, 0, &call_ops, &ends);
    grpc_send(c, "hello", 5);
    grpc_unary(ch, "/a/One", "ask", 3, 0, answered, &ends);
    int fd = -1;
    for (int i = 0; fd < 0 && i < ROUNDS_MAX; i++) {
        loop_poll(l, 0);
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    must(fd >= 0, "it does not connect");
    size_t step = data[0] & 0x7f ? data[0] & 0x7f : size;
    if (data[0] & 0x80) {
        give(l, fd, settings, sizeof settings - 1);
    }
    for (size_t n = 1; n < size; n += step) {
        give(l, fd, data + n, size - n < step ? size - n : step);
    }
    close(fd);
    for (int i = 0; ends.channels == 0 && i < ROUNDS_MAX; i++) {
        loop_poll(l, 0);
    }
    loop_poll(l, 0);
    must(ends.channels == 1 && ends.calls == 2, "not everybody heard that it is over, once");
    loop_free(l);
    return 0;
}
