// SPDX-License-Identifier: Apache-2.0
/* The HTTP/2 client against a peer that says what it likes, frame by frame (RFC 9113): ends of
 * streams in all ways, what counts as not sent, what is no HTTP/2, a peer that says nothing. */
#include "net/testing/client_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    CONTINUATION = 9,
    TYPES = 16
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };
enum { NO_ERROR, REFUSED_STREAM = 7, CANCEL = 8 };
enum { PREFACE = 24, STREAMS = 1024 };

struct peer {
    struct kit k;
    int listener, fd;
    struct buf in;
    bool greeted;
    unsigned n[TYPES];
    bool ended[STREAMS], reset[STREAMS]; /* by the client */
    size_t body[STREAMS];
    uint32_t goaway_code;
};

static void put32(struct buf *b, uint32_t v) {
    buf_u32(b, v);
}

static void frame_into(struct buf *b, int type, int flags, uint32_t id, const void *p, size_t n) {
    buf_u8(b, (uint8_t)(n >> 16));
    buf_u16(b, (uint16_t)n);
    buf_u8(b, (uint8_t)type);
    buf_u8(b, (uint8_t)flags);
    put32(b, id);
    buf_add(b, p, n);
}

static void say(struct peer *p, const struct buf *b) {
    for (size_t at = 0; at < b->len;) {
        ssize_t n = send(p->fd, b->data + at, b->len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return; /* the client has closed */
        }
        at += n > 0 ? (size_t)n : 0;
        loop_poll(p->k.loop, 0);
    }
}

static void frame(struct peer *p, int type, int flags, uint32_t id, const void *s, size_t n) {
    struct buf b = BUF_INIT;
    frame_into(&b, type, flags, id, s, n);
    say(p, &b);
    buf_free(&b);
}

static void frame_code(struct peer *p, int type, uint32_t id, uint32_t code) {
    struct buf b = BUF_INIT;
    put32(&b, code);
    frame(p, type, 0, id, b.data, b.len);
    buf_free(&b);
}

static void goaway(struct peer *p, uint32_t last, uint32_t code) {
    struct buf b = BUF_INIT;
    put32(&b, last);
    put32(&b, code);
    frame(p, GOAWAY, 0, 0, b.data, b.len);
    buf_free(&b);
}

static void setting(struct peer *p, uint16_t name, uint32_t value) {
    struct buf b = BUF_INIT;
    buf_u16(&b, name);
    put32(&b, value);
    frame(p, SETTINGS, 0, 0, b.data, b.len);
    buf_free(&b);
}

/* A field that is not indexed (RFC 7541 6.2.2). */
static void field(struct buf *b, const char *name, const char *value) {
    buf_u8(b, 0);
    buf_u8(b, (uint8_t)strlen(name));
    buf_str(b, name);
    buf_u8(b, (uint8_t)strlen(value));
    buf_str(b, value);
}

static void status(struct buf *b, const char *code) {
    buf_u8(b, 0x08); /* :status, in the static table */
    buf_u8(b, 3);
    buf_str(b, code);
}

/* An answer's head, with a field when `name` is given. */
static void head(struct peer *p, uint32_t id, int flags, const char *code, const char *name,
                 const char *value) {
    struct buf b = BUF_INIT;
    if (code != NULL) {
        status(&b, code);
    }
    if (name != NULL) {
        field(&b, name, value);
    }
    frame(p, HEADERS, END_HEADERS | flags, id, b.data, b.len);
    buf_free(&b);
}

/* ---- what the client said -------------------------------------------------------------------- */

static void look_at(struct peer *p, const uint8_t *f, size_t n) {
    uint32_t id = ((uint32_t)f[5] << 24 | (uint32_t)f[6] << 16 | (uint32_t)f[7] << 8 | f[8]);
    int type = f[3];
    assert_in_range(type, 0, TYPES - 1);
    assert_in_range(id, 0, STREAMS - 1);
    p->n[type]++;
    if ((type == HEADERS || type == DATA) && (f[4] & END_STREAM)) {
        p->ended[id] = true;
    }
    if (type == DATA) {
        p->body[id] += n;
    } else if (type == RST_STREAM) {
        p->reset[id] = true;
    } else if (type == GOAWAY) {
        p->goaway_code = f[16];
    }
}

static void listen_once(struct peer *p) {
    uint8_t piece[65536];
    ssize_t n;
    if (p->fd < 0) {
        p->fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    while (p->fd >= 0 && (n = read(p->fd, piece, sizeof piece)) > 0) {
        buf_add(&p->in, piece, (size_t)n);
    }
    if (!p->greeted && p->in.len >= PREFACE) {
        buf_consume(&p->in, PREFACE);
        p->greeted = true;
    }
    while (p->greeted && p->in.len >= 9) {
        size_t len = (size_t)p->in.data[0] << 16 | (size_t)p->in.data[1] << 8 | p->in.data[2];
        if (p->in.len < 9 + len) {
            break;
        }
        look_at(p, p->in.data, len);
        buf_consume(&p->in, 9 + len);
    }
}

#define HEAR(p, cond) UNTIL(&(p)->k, (listen_once(p), cond))

static void begin(struct peer *p, int64_t connect_ms) {
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t n = sizeof sin;
    *p = (struct peer){.fd = -1};
    kit_init(&p->k);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&sin, &n), 0);
    struct http_client_config cfg = {
        .host = "127.0.0.1", .port = ntohs(sin.sin_port), .connect_ms = connect_ms};
    kit_connect(&p->k, &cfg);
}

/* A connection with n requests (streams 1, 3, ...) that have arrived. */
static void begin_with(struct peer *p, struct kit_ex *ex, size_t n) {
    begin(p, 60000);
    for (size_t i = 0; i < n; i++) {
        kit_start(&p->k, &ex[i], "/");
        ex[i].keep_open = true;
    }
    HEAR(p, p->n[HEADERS] == n);
    frame(p, SETTINGS, 0, 0, NULL, 0);
    frame(p, SETTINGS, ACK, 0, NULL, 0);
}

static void hang_up(struct peer *p) {
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
}

static void finish(struct peer *p) {
    kit_close(&p->k);
    hang_up(p);
    close(p->listener);
    buf_free(&p->in);
    kit_free(&p->k);
}

static void ends(struct peer *p, struct kit_ex *e, enum http_exchange_end end) {
    HEAR(p, e->closed);
    assert_int_equal(e->closed, 1);
    assert_int_equal(e->end, end);
    assert_false(e->late);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Each way to end an answer, with the request's body complete and not. */
static void test_ends_of_answers(void **state) {
    struct peer p;
    static struct kit_ex ex[8];
    begin_with(&p, ex, 8);
    for (size_t i = 0; i < 4; i++) {
        http_exchange_end(ex[i].x);
    }
    HEAR(&p, p.ended[7]);
    for (uint32_t i = 0; i < 8; i += 4) {
        uint32_t id = i * 2 + 1;
        head(&p, id, END_STREAM, "204", NULL, NULL);
        head(&p, id + 2, 0, "200", NULL, NULL);
        frame(&p, DATA, END_STREAM, id + 2, "body", 4);
        head(&p, id + 4, 0, "200", NULL, NULL);
        frame(&p, DATA, 0, id + 4, "body", 4);
        frame(&p, DATA, END_STREAM | PADDED, id + 4, "\3\0\0\0", 4); /* nothing but padding */
        head(&p, id + 6, 0, "200", "x-a", "1");
        head(&p, id + 6, END_STREAM, NULL, "x-b", "2");
    }
    for (size_t i = 0; i < 4; i++) {
        ends(&p, &ex[i], HTTP_EXCHANGE_DONE);
    }
    assert_int_equal(ex[0].status, 204);
    assert_int_equal(ex[1].got, 4);
    assert_int_equal(ex[2].got, 4);
    assert_string_equal(ex[3].first_field, "x-a=1");
    assert_string_equal(ex[3].trailer, "2");
    /* The others' bodies are not complete: the server may say that it needs no more of them. */
    for (uint32_t i = 4; i < 8; i++) {
        assert_int_equal(ex[i].heads, 1);
        assert_false(ex[i].closed);
        if (i < 6) {
            frame_code(&p, RST_STREAM, i * 2 + 1, NO_ERROR);
        } else {
            http_exchange_end(ex[i].x);
        }
        ends(&p, &ex[i], HTTP_EXCHANGE_DONE);
    }
    finish(&p);
}

static void test_interim_answers(void **state) {
    struct peer p;
    static struct kit_ex ex[3];
    begin_with(&p, ex, 3);
    head(&p, 1, 0, "103", "x-early", "1");
    head(&p, 1, 0, "100", NULL, NULL);
    head(&p, 1, END_STREAM, "200", "x-final", "2");
    frame_code(&p, RST_STREAM, 1, NO_ERROR);
    ends(&p, &ex[0], HTTP_EXCHANGE_DONE);
    assert_int_equal(ex[0].heads, 1);
    assert_int_equal(ex[0].status, 200);
    assert_int_equal(ex[0].fields, 1);
    assert_string_equal(ex[0].first_field, "x-final=2");
    head(&p, 3, END_STREAM, "103", NULL, NULL); /* no final one comes */
    ends(&p, &ex[1], HTTP_EXCHANGE_LOST);
    head(&p, 5, 0, "103", NULL, NULL);
    frame(&p, DATA, 0, 5, "body", 4);
    HEAR(&p, ex[2].closed);
    assert_int_equal(ex[2].end, HTTP_EXCHANGE_LOST);
    assert_int_equal(ex[1].heads + ex[2].heads, 0);
    assert_int_equal(ex[2].got, 0);
    finish(&p);
}

static void test_resets(void **state) {
    struct peer p;
    static struct kit_ex ex[5];
    begin_with(&p, ex, 5);
    frame_code(&p, RST_STREAM, 1, REFUSED_STREAM);
    ends(&p, &ex[0], HTTP_EXCHANGE_NOT_SENT);
    head(&p, 3, 0, "200", NULL, NULL);
    frame_code(&p, RST_STREAM, 3, REFUSED_STREAM); /* it had begun, whatever it says */
    ends(&p, &ex[1], HTTP_EXCHANGE_LOST);
    frame_code(&p, RST_STREAM, 5, CANCEL);
    ends(&p, &ex[2], HTTP_EXCHANGE_LOST);
    frame_code(&p, RST_STREAM, 7, NO_ERROR); /* without an answer */
    ends(&p, &ex[3], HTTP_EXCHANGE_LOST);
    kit_cancel(&ex[4]);
    HEAR(&p, p.reset[9]);
    head(&p, 9, 0, "200", NULL, NULL); /* was on its way */
    frame(&p, DATA, END_STREAM, 9, "body", 4);
    kit_start(&p.k, &ex[0], "/");
    HEAR(&p, p.n[HEADERS] == 6);
    head(&p, 11, END_STREAM, "200", NULL, NULL);
    http_exchange_end(ex[0].x);
    ends(&p, &ex[0], HTTP_EXCHANGE_DONE);
    assert_false(ex[4].late);
    finish(&p);
}

static void test_content_length(void **state) {
    struct peer p;
    static struct kit_ex ex[3];
    begin_with(&p, ex, 3);
    head(&p, 1, 0, "200", "content-length", "5");
    frame(&p, DATA, END_STREAM, 1, "four", 4);
    ends(&p, &ex[0], HTTP_EXCHANGE_LOST);
    head(&p, 3, 0, "200", "content-length", "3");
    frame(&p, DATA, END_STREAM, 3, "four", 4);
    ends(&p, &ex[1], HTTP_EXCHANGE_LOST);
    head(&p, 5, 0, "200", "content-length", "4");
    frame(&p, DATA, END_STREAM, 5, "four", 4);
    frame_code(&p, RST_STREAM, 5, NO_ERROR);
    ends(&p, &ex[2], HTTP_EXCHANGE_DONE);
    finish(&p);
}

/* More of an answer's head than is taken: that one ends, the connection and its window stay. */
static void test_large_heads(void **state) {
    struct peer p;
    static struct kit_ex ex[3];
    struct buf b = BUF_INIT;
    char value[101], name[16];
    begin_with(&p, ex, 3);
    status(&b, "200"); /* few fields, but long ones: 0xff 0x81 0x76 is a length of 15,232 */
    for (unsigned i = 0; i < 5; i++) {
        buf_add(&b, "\0\3x-a\x7f\x81\x76", 8);
        memset(buf_extend(&b, 15232), 'v', 15232);
    }
    for (size_t at = 0; at < b.len; at += 16384) {
        size_t n = b.len - at < 16384 ? b.len - at : 16384;
        frame(&p, at == 0 ? HEADERS : CONTINUATION, at + n == b.len ? END_HEADERS : 0, 5,
              b.data + at, n);
    }
    ends(&p, &ex[2], HTTP_EXCHANGE_LOST);
    assert_int_equal(ex[2].heads, 0);
    buf_clear(&b);
    memset(value, 'v', 100);
    value[100] = '\0';
    for (uint32_t id = 1; id <= 3; id += 2) {
        status(&b, "200");
        for (unsigned i = 0; i < HTTP_CLIENT_FIELDS_MAX + (id == 3); i++) {
            snprintf(name, sizeof name, "x-%u", i);
            field(&b, name, value);
        }
        frame(&p, HEADERS, END_HEADERS, id, b.data, b.len);
        buf_clear(&b);
    }
    ends(&p, &ex[1], HTTP_EXCHANGE_LOST);
    HEAR(&p, p.reset[3]);
    assert_int_equal(ex[0].fields, HTTP_CLIENT_FIELDS_MAX);
    for (int i = 0; i < 40; i++) { /* what was on its way for it is given credit for */
        uint8_t zeros[16384] = {0};
        frame(&p, DATA, 0, 3, zeros, sizeof zeros);
    }
    frame(&p, DATA, END_STREAM, 1, "body", 4);
    frame_code(&p, RST_STREAM, 1, NO_ERROR);
    ends(&p, &ex[0], HTTP_EXCHANGE_DONE);
    assert_int_equal(p.k.closed, 0);
    buf_free(&b);
    finish(&p);
}

/* ---- what is no HTTP/2 ----------------------------------------------------------------------- */

static void data_first(struct peer *p) {
    frame(p, DATA, 0, 1, "body", 4);
}
static void data_after_the_end(struct peer *p) {
    head(p, 1, END_STREAM, "200", NULL, NULL);
    frame(p, DATA, 0, 1, "body", 4);
}
static void a_stream_of_its_own(struct peer *p) {
    head(p, 2, END_STREAM, "200", NULL, NULL);
}
static void a_stream_to_come(struct peer *p) {
    head(p, 101, END_STREAM, "200", NULL, NULL);
}
static void a_push(struct peer *p) {
    frame(p, PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\2\x82\x84\x87\x41\1a", 10);
}
static void a_long_frame(struct peer *p) {
    frame(p, DATA, 0, 1, "body", 4);
    frame(p, PING, 0, 0, "12345678901234567", 17);
}
static void more_than_the_window(struct peer *p) {
    uint8_t zeros[16384] = {0};
    head(p, 1, 0, "200", NULL, NULL);
    for (size_t i = 0; i <= HTTP_CLIENT_WINDOW / sizeof zeros; i++) {
        frame(p, DATA, 0, 1, zeros, sizeof zeros);
    }
}
static void no_frames(struct peer *p) {
    struct buf b = BUF_INIT;
    buf_str(&b, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    say(p, &b);
    buf_free(&b);
}
static void no_compression(struct peer *p) {
    frame(p, HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff", 7);
}

/* Each ends the connection or at least that exchange; nothing is taken for an answer. */
static void test_no_http2(void **state) {
    static void (*const wrongs[])(struct peer *) = {
        data_first,   data_after_the_end,   a_stream_of_its_own, a_stream_to_come, a_push,
        a_long_frame, more_than_the_window, no_frames,           no_compression};
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        struct peer p;
        static struct kit_ex ex[2];
        begin_with(&p, ex, 2);
        ex[0].hold = true;
        wrongs[i](&p);
        for (int j = 0; j < 20; j++) {
            listen_once(&p);
            loop_poll(p.k.loop, 1);
        }
        hang_up(&p);
        HEAR(&p, p.k.closed && kit_over(ex, 2));
        assert_int_equal(ex[0].closed + ex[1].closed, 2);
        assert_true(ex[0].end == HTTP_EXCHANGE_LOST ||
                    (wrongs[i] == data_after_the_end && ex[0].status == 200));
        assert_int_equal(ex[1].end, HTTP_EXCHANGE_LOST);
        assert_int_equal(ex[1].heads, 0);
        assert_true(p.k.why[0] != '\0');
        finish(&p);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void test_no_settings(void **state) {
    struct peer p;
    struct kit_ex ex;
    begin(&p, 50);
    kit_start(&p.k, &ex, "/");
    HEAR(&p, p.k.closed);
    assert_non_null(strstr(p.k.why, "in time"));
    assert_int_equal(ex.closed, 1);
    assert_int_equal(ex.end, HTTP_EXCHANGE_LOST); /* it was sent, and may have been read */
    finish(&p);
}

static void test_hangs_up(void **state) {
    struct peer p;
    static struct kit_ex ex[2];
    begin_with(&p, ex, 2);
    head(&p, 1, 0, "200", "content-length", "4");
    frame(&p, DATA, 0, 1, "ab", 2);
    HEAR(&p, ex[0].got == 2);
    hang_up(&p);
    ends(&p, &ex[0], HTTP_EXCHANGE_LOST);
    ends(&p, &ex[1], HTTP_EXCHANGE_LOST);
    assert_int_equal(p.k.closed, 1);
    finish(&p);
}

static void test_goaway(void **state) {
    struct peer p;
    static struct kit_ex ex[4];
    begin_with(&p, ex, 3);
    head(&p, 1, 0, "200", NULL, NULL);
    HEAR(&p, ex[0].heads);
    kit_start(&p.k, &ex[3], "/"); /* in the queue when it is said */
    goaway(&p, 3, NO_ERROR);
    ends(&p, &ex[2], HTTP_EXCHANGE_NOT_SENT); /* over the last that it looks at */
    ends(&p, &ex[3], HTTP_EXCHANGE_NOT_SENT);
    assert_false(http_client_usable(p.k.client));
    frame(&p, DATA, END_STREAM, 1, "body", 4);
    http_exchange_end(ex[0].x);
    ends(&p, &ex[0], HTTP_EXCHANGE_DONE);
    assert_false(ex[1].closed);
    goaway(&p, 1, NO_ERROR); /* it looks at less than it said */
    ends(&p, &ex[1], HTTP_EXCHANGE_NOT_SENT);
    HEAR(&p, p.k.closed);
    assert_non_null(strstr(p.k.why, "NO_ERROR"));
    finish(&p);
}

/* Requests that wait for their turn, and no turn comes. */
static void test_goaway_while_some_wait(void **state) {
    struct peer p;
    static struct kit_ex ex[40];
    begin_with(&p, ex, 1);
    setting(&p, 3 /* MAX_CONCURRENT_STREAMS */, 1);
    HEAR(&p, p.n[SETTINGS] >= 3); /* its own, and that both of ours were read */
    for (size_t i = 1; i < 40; i++) {
        kit_start(&p.k, &ex[i], "/");
    }
    for (int i = 0; i < 10; i++) {
        listen_once(&p);
        loop_poll(p.k.loop, 1);
    }
    assert_int_equal(p.n[HEADERS], 1);
    kit_cancel(&ex[7]);
    goaway(&p, 1, NO_ERROR);
    for (size_t i = 1; i < 40; i++) {
        if (i != 7) {
            ends(&p, &ex[i], HTTP_EXCHANGE_NOT_SENT);
        }
    }
    head(&p, 1, END_STREAM, "200", NULL, NULL);
    http_exchange_end(ex[0].x);
    ends(&p, &ex[0], HTTP_EXCHANGE_DONE);
    HEAR(&p, p.k.closed);
    assert_int_equal(ex[7].closed, 0);
    finish(&p);
}

static void test_goaway_then_gone(void **state) {
    struct peer p;
    static struct kit_ex ex[2];
    begin_with(&p, ex, 2);
    goaway(&p, 1, NO_ERROR);
    ends(&p, &ex[1], HTTP_EXCHANGE_NOT_SENT);
    assert_false(ex[0].closed);
    hang_up(&p);
    ends(&p, &ex[0], HTTP_EXCHANGE_LOST);
    finish(&p);
}

/* A window that is closed, opened a little, made negative, and opened. */
static void test_windows(void **state) {
    struct peer p;
    struct kit_ex ex;
    struct buf b = BUF_INIT;
    begin(&p, 60000);
    frame(&p, SETTINGS, ACK, 0, NULL, 0);
    HEAR(&p, p.n[SETTINGS] > 0);
    setting(&p, 4 /* INITIAL_WINDOW_SIZE */, 0);
    HEAR(&p, p.n[SETTINGS] > 1);
    kit_start(&p.k, &ex, "/");
    ex.to_write = 200000;
    HEAR(&p, kit_pump(&ex, 1) && p.n[HEADERS] == 1);
    for (int i = 0; i < 10; i++) {
        listen_once(&p);
        loop_poll(p.k.loop, 1);
    }
    assert_int_equal(p.body[1], 0);
    put32(&b, 1000);
    frame(&p, 8 /* WINDOW_UPDATE */, 0, 1, b.data, b.len);
    HEAR(&p, p.body[1] == 1000);
    setting(&p, 4, 5000);
    HEAR(&p, p.body[1] == 6000);
    setting(&p, 4, 100);
    setting(&p, 4, 1 << 20);
    HEAR(&p, p.body[1] == 65535); /* the connection's */
    buf_clear(&b);
    put32(&b, 1 << 20);
    frame(&p, 8, 0, 0, b.data, b.len);
    HEAR(&p, kit_pump(&ex, 1) && p.ended[1]);
    assert_int_equal(p.body[1], 200000);
    head(&p, 1, END_STREAM, "200", NULL, NULL);
    ends(&p, &ex, HTTP_EXCHANGE_DONE);
    buf_free(&b);
    finish(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_of_answers),  cmocka_unit_test(test_interim_answers),
        cmocka_unit_test(test_resets),           cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_large_heads),      cmocka_unit_test(test_no_http2),
        cmocka_unit_test(test_no_settings),      cmocka_unit_test(test_hangs_up),
        cmocka_unit_test(test_goaway),           cmocka_unit_test(test_goaway_while_some_wait),
        cmocka_unit_test(test_goaway_then_gone), cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests_name("http_client_peer", tests, NULL, NULL);
}
