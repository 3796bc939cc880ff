// SPDX-License-Identifier: Apache-2.0
/*
 * What the node that leads may answer to one that passes requests on: bytes of an HTTP/2 server to
 * our client with three exchanges, of which one takes nothing and one is cancelled when its answer
 * begins. The input's first byte chooses how it is cut, and whether the server begins properly. All
 * memory must be given back (leaks are errors), every exchange hears once, and last, how it ended,
 * and none holds more than its window.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/logger.h"
#include "net/http_client.h"

enum { ROUNDS_MAX = 1000, EXCHANGES = 3 };
enum { TAKES, HOLDS, CANCELS };

static int listener = -1;
static uint16_t port;

struct ex {
    struct http_exchange *x; /* NULL: over */
    int what, closed, heads;
    size_t held;
};

static void must(bool cond, const char *what) {
    if (!cond) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void drop_line(enum logger_level level, const char *module, const char *line, void *arg) {
}

static void start(void) {
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t n = sizeof sin;
    logger_set_sink(drop_line, NULL);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(bind(listener, (struct sockaddr *)&sin, sizeof sin) == 0 && listen(listener, 8) == 0 &&
             getsockname(listener, (struct sockaddr *)&sin, &n) == 0,
         "no socket to listen on");
    port = ntohs(sin.sin_port);
}

static void on_head(struct http_exchange *x, int status, const struct http_field *f, size_t nf,
                    void *arg) {
    struct ex *e = arg;
    must(e->x == x && e->heads++ == 0, "a head too many");
    must(status >= 200 && status <= 999 && nf <= HTTP_CLIENT_FIELDS_MAX, "no head");
    size_t n = 0;
    for (size_t i = 0; i < nf; i++) {
        n += strlen(f[i].name) + strlen(f[i].value) + 2;
        must(f[i].name[0] != ':', "a pseudo-header");
    }
    must(n <= HTTP_CLIENT_HEAD_MAX, "a head over its bound");
    if (e->what == CANCELS) {
        e->x = NULL;
        http_exchange_cancel(x);
    }
}

static void on_trailers(struct http_exchange *x, const struct http_field *f, size_t nf, void *arg) {
    struct ex *e = arg;
    must(e->x == x && e->heads == 1, "trailers before the head");
}

static void on_body(struct http_exchange *x, const uint8_t *p, size_t n, void *arg) {
    struct ex *e = arg;
    must(e->x == x && e->heads == 1, "a body before the head");
    if (e->what == HOLDS) {
        e->held += n;
        must(e->held <= HTTP_CLIENT_WINDOW, "more than the window");
    } else {
        http_exchange_taken(x, n);
    }
}

static void on_drained(struct http_exchange *x, void *arg) {
    must(((struct ex *)arg)->x == x, "a dead one drained");
    http_exchange_end(x);
}

static void on_closed(struct http_exchange *x, enum http_exchange_end end, const char *why,
                      void *arg) {
    struct ex *e = arg;
    must(e->x == x && ++e->closed == 1 && why != NULL, "closed when it was over");
    must(end != HTTP_EXCHANGE_DONE || e->heads == 1, "done without an answer");
    must(end != HTTP_EXCHANGE_NOT_SENT || e->heads == 0, "answered and not sent");
    e->x = NULL;
}
static const struct http_exchange_ops ops = {on_head, on_trailers, on_body, on_drained, on_closed};

static void over(struct http_client *c, const char *why, void *arg) {
    must(why[0] != '\0', "no reason");
    ++*(int *)arg;
}
static const struct http_client_ops client_ops = {NULL, over};

static void give(struct loop *l, int fd, const uint8_t *p, size_t n) {
    uint8_t sink[65536];
    if (send(fd, p, n, MSG_NOSIGNAL) < 0) {
        return; /* closed by the client */
    }
    for (int i = 0; i < 4; i++) {
        loop_poll(l, 0);
        while (read(fd, sink, sizeof sink) > 0) {
        }
    }
}

static void ask(struct http_client *c, struct ex *e, int what) {
    static const uint8_t body[HTTP_CLIENT_HIGH + 1];
    struct http_request_head h = {
        .method = "POST", .scheme = "https", .authority = "a", .path = "/"};
    *e = (struct ex){.what = what};
    e->x = http_exchange_start(c, &h, &ops, e);
    must(e->x != NULL, "it takes none");
    if (what == TAKES) {
        http_exchange_write(e->x, "hello", 5);
        http_exchange_end(e->x);
    } else if (what == HOLDS) {
        http_exchange_write(e->x, body, sizeof body); /* ended when it has drained */
    }
}

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t settings[] = "\0\0\0\4\0\0\0\0\0" /* its own, and that ours was read */
                                      "\0\0\0\4\1\0\0\0\0";
    struct ex ex[EXCHANGES];
    int fd = -1, ended = 0;
    if (size < 1) {
        return 0;
    }
    if (listener < 0) {
        start();
    }
    struct loop *l = loop_new("fuzz");
    struct http_client_config cfg = {.host = "127.0.0.1", .port = port, .connect_ms = 60000};
    struct http_client *c = http_client_connect(l, &cfg, &client_ops, &ended);
    for (int i = 0; i < EXCHANGES; i++) {
        ask(c, &ex[i], i);
    }
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
    struct linger hard = {1, 0}; /* no port is left waiting */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    for (int i = 0; ended == 0 && i < ROUNDS_MAX; i++) {
        loop_poll(l, 0);
    }
    loop_poll(l, 0);
    must(ended == 1, "the client did not hear that it is over");
    for (int i = 0; i < EXCHANGES; i++) {
        must(ex[i].x == NULL && ex[i].closed == (ex[i].what == CANCELS && ex[i].heads ? 0 : 1),
             "not everybody heard that it is over, once");
    }
    loop_free(l);
    return 0;
}
