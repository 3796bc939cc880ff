// SPDX-License-Identifier: Apache-2.0
/* The HTTP/2 client against our own server, both in one loop: bytes both ways, slow readers, ends
 * at each moment. What our server never does is in http_client_peer_test.c. */
#include "net/testing/client_kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/pki.h"

/* ---- the server ------------------------------------------------------------------------------ */

struct world;
struct service { /* one request at the server */
    struct list link;
    struct world *w;
    struct http_req *r;
    size_t left, got;
    bool trailers, paused_for_good;
};

struct world {
    struct kit k;
    struct http_server *server;
    struct tls_ctx *server_tls, *client_tls;
    uint16_t port;
    struct list open; /* struct service */
    size_t n_open, n_given, n_aborted;
};

static void more(struct http_req *r, void *arg) {
    struct service *s = arg;
    uint8_t piece[10000];
    while (s->left > 0) {
        size_t n = s->left < sizeof piece ? s->left : sizeof piece;
        for (size_t i = 0; i < n; i++) {
            piece[i] = kit_byte(s->got + i);
        }
        s->left -= n;
        s->got += n;
        if (http_write(r, piece, n) > http_queue_high(r)) {
            return;
        }
    }
    http_end(r);
}

static void echo_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct service *s = arg;
    s->got += n;
    if (http_write(r, p, n) > http_queue_high(r)) {
        http_req_pause(r, true);
    }
}

static void echo_end(struct http_req *r, void *arg) {
    struct service *s = arg;
    struct http_field f[] = {{"x-end", "of it"}, {"x-empty", ""}};
    http_end_trailers(r, f, s->trailers ? 2 : 0);
}

static void echo_drained(struct http_req *r, void *arg) {
    http_req_pause(r, false);
}

static void sink_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    ((struct service *)arg)->got += n;
}

static void sink_end(struct http_req *r, void *arg) {
    http_respond(r, 200, NULL, NULL, 0);
}

static void service_closed(struct http_req *r, bool aborted, void *arg) {
    struct service *s = arg;
    s->w->n_open--;
    s->w->n_aborted += aborted;
    list_remove(&s->link);
    mem_free(s);
}

static const struct http_req_ops echo_ops = {echo_body, echo_end, echo_drained, service_closed};
static const struct http_req_ops sink_ops = {sink_body, sink_end, NULL, service_closed};
static const struct http_req_ops big_ops = {NULL, NULL, more, service_closed};
static const struct http_req_ops still_ops = {NULL, NULL, NULL, service_closed};

static void many_fields(struct http_req *r, size_t n, size_t length) {
    struct http_field f[64];
    char *value = mem_alloc(length + 1), names[64][8];
    memset(value, 'v', length);
    value[length] = '\0';
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "x-%zu", i);
        f[i] = (struct http_field){names[i], value};
    }
    http_start(r, 200, f, n, -1);
    http_end(r);
    mem_free(value);
}

static void serve(struct http_req *r, void *arg) {
    struct world *w = arg;
    struct service *s = MEM_NEW(struct service);
    const char *path = http_path(r), *query = http_query(r);
    s->w = w;
    s->r = r;
    list_append(&w->open, &s->link);
    w->n_open++;
    w->n_given++;
    http_req_lazy(r); /* the tests are about order, not about time */
    if (strcmp(path, "/echo") == 0) {
        s->trailers = strcmp(query, "trailers") == 0;
        http_req_set_ops(r, &echo_ops, s);
        http_start(r, 200, NULL, 0, -1);
    } else if (strcmp(path, "/big") == 0) {
        s->left = strtoul(query, NULL, 10);
        http_req_set_ops(r, &big_ops, s);
        http_start(r, 200, NULL, 0, -1);
        more(r, s);
    } else if (strcmp(path, "/sink") == 0) {
        http_req_set_ops(r, &sink_ops, s);
        http_req_pause(r, query[0] != '\0');
    } else if (strcmp(path, "/fields") == 0) {
        http_req_set_ops(r, &still_ops, s);
        char *end;
        size_t n = strtoul(query, &end, 10);
        many_fields(r, n, strtoul(end + 1, NULL, 10));
    } else {
        http_req_set_ops(r, &still_ops, s); /* says nothing */
    }
}

static struct service *served(struct world *w) {
    return CONTAINER_OF(w->open.next, struct service, link);
}

/* ---- the world ------------------------------------------------------------------------------- */

static char *folder;

static char *in(const char *name) {
    return mem_printf("%s/%s", folder, name);
}

static int make_pki(void **state) {
    static char made[] = "/tmp/http_client_test.XXXXXX";
    static const char *const names[] = {"DNS:b.example", NULL};
    folder = mkdtemp(made);
    char *ca = in("ca"), *ca_key = in("ca-key"), *cert = in("cert"), *key = in("key");
    struct pki_request rq = {
        .common_name = "b", .sans = names, .use = PKI_SERVER | PKI_CLIENT, .days = 3};
    assert_int_equal(pki_make_ca("test", 3, ca, ca_key, NULL), ERR_OK);
    assert_int_equal(pki_issue(ca, ca_key, &rq, cert, key, NULL), ERR_OK);
    mem_free(ca);
    mem_free(ca_key);
    mem_free(cert);
    mem_free(key);
    return 0;
}

static int drop_pki(void **state) {
    static const char *const files[] = {"ca", "ca-key", "cert", "key"};
    for (size_t i = 0; i < 4; i++) {
        char *path = in(files[i]);
        unlink(path);
        mem_free(path);
    }
    return rmdir(folder);
}

static void make_tls(struct world *w, unsigned alpn) {
    char *ca = in("ca"), *cert = in("cert"), *key = in("key");
    struct tls_config server = {.cert_file = cert,
                                .key_file = key,
                                .ca_file = ca,
                                .client_auth = TLS_AUTH_REQUIRED,
                                .alpn = alpn};
    struct tls_config client = {
        .cert_file = cert, .key_file = key, .ca_file = ca, .alpn = TLS_ALPN_H2};
    assert_int_equal(tls_server_new(&server, &w->server_tls, NULL), ERR_OK);
    assert_int_equal(tls_client_new(&client, &w->client_tls, NULL), ERR_OK);
    mem_free(ca);
    mem_free(cert);
    mem_free(key);
}

static void connect_to(struct world *w, const char *name, int64_t connect_ms) {
    struct http_client_config cfg = {.host = "127.0.0.1",
                                     .port = w->port,
                                     .tls = w->client_tls,
                                     .verify_name = name,
                                     .connect_ms = connect_ms};
    kit_connect(&w->k, &cfg);
}

static void listen_with(struct world *w, bool tls, unsigned alpn, const struct http_limits *lim) {
    struct ip_addr here;
    *w = (struct world){.port = 0};
    kit_init(&w->k);
    list_init(&w->open);
    if (tls) {
        make_tls(w, alpn);
    }
    assert_int_equal(ip_addr_parse("127.0.0.1", &here, NULL), ERR_OK);
    w->server = http_server_new(w->k.loop, lim, serve, w);
    assert_int_equal(
        http_listen_tcp(w->server, &here, 0, w->server_tls, tls ? 0 : HTTP_H2C, &w->port, NULL),
        ERR_OK);
}

/* A client and a server that takes as many requests as the client has. */
static void begin(struct world *w, bool tls) {
    struct http_limits lim = http_limits_default;
    lim.max_streams = HTTP_CLIENT_EXCHANGES_MAX;
    lim.max_resets = 100000;
    lim.conn_window = (size_t)2 * HTTP_CLIENT_EXCHANGES_MAX * HTTP_STREAM_WINDOW;
    listen_with(w, tls, TLS_ALPN_H2, &lim);
    connect_to(w, tls ? "b.example" : NULL, 60000);
}

/* The same with a server that takes fewer, once it has said so: before, a hundred are sent, and it
 * refuses what is too much for it. */
static void begin_narrow(struct world *w, unsigned max_streams) {
    struct http_limits lim = http_limits_default;
    struct kit_ex first;
    lim.max_streams = max_streams;
    listen_with(w, false, 0, &lim);
    connect_to(w, NULL, 60000);
    kit_start(&w->k, &first, "/echo");
    UNTIL(&w->k, kit_pump(&first, 1) && first.closed);
    w->n_given = 0;
}

static void kill_server(struct world *w) {
    http_server_free(w->server);
    w->server = NULL;
}

static void finish(struct world *w) {
    kit_close(&w->k);
    kill_server(w);
    assert_int_equal(w->n_open, 0);
    tls_ctx_free(w->server_tls);
    tls_ctx_free(w->client_tls);
    kit_free(&w->k);
}

/* ---- bytes both ways ------------------------------------------------------------------------- */

static void stream_both_ways(struct world *w, size_t n, size_t each) {
    static struct kit_ex ex[HTTP_CLIENT_EXCHANGES_MAX];
    for (size_t i = 0; i < n; i++) {
        kit_start(&w->k, &ex[i], "/echo?trailers");
        ex[i].to_write = each + i;
        ex[i].check = true;
    }
    UNTIL(&w->k, kit_pump(ex, n) && kit_over(ex, n));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ex[i].end, HTTP_EXCHANGE_DONE);
        assert_int_equal(ex[i].status, 200);
        assert_int_equal(ex[i].got, each + i);
        assert_int_equal(ex[i].trailers, 1);
        assert_string_equal(ex[i].trailer, "of it");
    }
    assert_int_equal(w->n_aborted, 0);
    finish(w);
}

static void test_both_ways(void **state) {
    struct world w;
    begin(&w, false);
    stream_both_ways(&w, 8, 3 << 20);
    begin(&w, true);
    stream_both_ways(&w, 8, 1 << 20);
}

/* ---- a way between them that holds little ---------------------------------------------------- */

struct narrow {
    struct world *w;
    int fd;
    struct loop_watch *watch;
};

static void on_narrow(int fd, unsigned events, void *arg) {
    struct narrow *nw = arg;
    int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got >= 0) {
        http_server_adopt(nw->w->server, got, NULL, HTTP_H2C);
    }
}

/* Every exchange has its windows full both ways, and the sockets take little: neither end stops
 * reading because the other does. */
static void test_all_exchanges_both_ways(void **state) {
    struct world w;
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof sin;
    int small = 32 << 10;
    begin(&w, false);
    kit_close(&w.k);
    struct narrow nw = {.w = &w, .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(nw.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(nw.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(bind(nw.fd, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(listen(nw.fd, 1), 0);
    assert_int_equal(getsockname(nw.fd, (struct sockaddr *)&sin, &len), 0);
    w.port = ntohs(sin.sin_port);
    nw.watch = loop_watch_new(w.k.loop, nw.fd, LOOP_READ, on_narrow, &nw);
    connect_to(&w, NULL, 60000);
    UNTIL(&w.k, w.k.loop != NULL && http_server_counters(w.server)->open_conns == 1);
    loop_watch_free(nw.watch);
    close(nw.fd);
    stream_both_ways(&w, HTTP_CLIENT_EXCHANGES_MAX, 300 << 10);
}

/* proves: A13 */
static void test_slow_client(void **state) {
    struct world w;
    static struct kit_ex slow[HTTP_CLIENT_EXCHANGES_MAX - 1], quick;
    size_t n = HTTP_CLIENT_EXCHANGES_MAX - 1, each = 1 << 20;
    begin(&w, false);
    for (size_t i = 0; i < n; i++) {
        kit_start(&w.k, &slow[i], "/big?1048576");
        slow[i].hold = true;
    }
    UNTIL(&w.k, kit_least(slow, n) == HTTP_CLIENT_WINDOW);
    kit_start(&w.k, &quick, "/echo"); /* none of them holds up another one */
    quick.to_write = 3 << 20;
    UNTIL(&w.k, kit_pump(&quick, 1) && quick.closed);
    assert_int_equal(quick.got, 3 << 20);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(slow[i].got, HTTP_CLIENT_WINDOW);
        assert_false(slow[i].closed);
    }
    LIST_FOREACH (pos, &w.open) { /* nor does the server make more than its own bound */
        struct http_req *r = CONTAINER_OF(pos, struct service, link)->r;
        assert_true(http_queued(r) <= http_queue_high(r) + 10000);
    }
    for (size_t i = 0; i < n; i++) {
        kit_go_on(&slow[i]);
    }
    UNTIL(&w.k, kit_over(slow, n));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(slow[i].end, HTTP_EXCHANGE_DONE);
        assert_int_equal(slow[i].got, each);
    }
    finish(&w);
}

static void test_slow_server(void **state) {
    struct world w;
    struct kit_ex ex = {0};
    begin(&w, false);
    kit_start(&w.k, &ex, "/sink?paused");
    ex.to_write = 5 << 20;
    kit_pump(&ex, 1);
    assert_true(ex.written > HTTP_CLIENT_HIGH && ex.written <= HTTP_CLIENT_HIGH + KIT_PIECE);
    for (int i = 0; i < 200; i++) {
        loop_poll(w.k.loop, 1);
        kit_pump(&ex, 1);
    }
    assert_true(ex.written <= HTTP_CLIENT_HIGH + KIT_PIECE + HTTP_STREAM_WINDOW);
    struct service *s = served(&w);
    assert_int_equal(s->got, 0);
    http_req_pause(s->r, false);
    UNTIL(&w.k, kit_pump(&ex, 1) && ex.closed);
    assert_int_equal(ex.end, HTTP_EXCHANGE_DONE);
    assert_int_equal(ex.written, 5 << 20);
    assert_true(ex.drained > 0);
    finish(&w);
}

/* Requests whose bodies nobody takes hold up no other, where the connection's window is made for
 * it.
 */
static void test_many_slow_requests(void **state) {
    struct world w;
    static struct kit_ex slow[HTTP_CLIENT_EXCHANGES_MAX - 1], quick;
    size_t n = HTTP_CLIENT_EXCHANGES_MAX - 1, each = 400000;
    begin(&w, false);
    for (size_t i = 0; i < n; i++) {
        kit_start(&w.k, &slow[i], "/sink?paused");
        slow[i].to_write = each;
    }
    UNTIL(&w.k, kit_pump(slow, n) && w.n_open == n);
    kit_start(&w.k, &quick, "/echo");
    quick.to_write = 3 << 20;
    UNTIL(&w.k, kit_pump(slow, n) && kit_pump(&quick, 1) && quick.closed);
    assert_int_equal(quick.got, 3 << 20);
    for (size_t i = 0; i < n; i++) {
        assert_true(slow[i].written <= HTTP_CLIENT_HIGH + KIT_PIECE + HTTP_STREAM_WINDOW);
    }
    LIST_FOREACH (pos, &w.open) {
        http_req_pause(CONTAINER_OF(pos, struct service, link)->r, false);
    }
    UNTIL(&w.k, kit_pump(slow, n) && kit_over(slow, n));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(slow[i].end, HTTP_EXCHANGE_DONE);
        assert_int_equal(slow[i].written, each);
    }
    finish(&w);
}

/* ---- ends at each moment --------------------------------------------------------------------- */

static void test_cancel(void **state) {
    static const char *const paths[] = {"/echo?trailers", "/big?3000000", "/nothing"};
    struct world w;
    static struct kit_ex ex[3 * KIT_MOMENTS + 2];
    size_t n = 0;
    begin(&w, false);
    for (size_t p = 0; p < 3; p++) {
        for (int m = 0; m < KIT_MOMENTS; m++, n++) {
            kit_start(&w.k, &ex[n], paths[p]);
            ex[n].to_write = 500000;
            ex[n].cancel_at = 1U << m;
        }
    }
    kit_start(&w.k, &ex[n], "/echo"); /* before it is sent */
    kit_pump(ex, n);
    http_exchange_cancel(ex[n].x);
    ex[n].x = NULL;
    n++;
    kit_start(&w.k, &ex[n], "/echo"); /* one that goes on */
    ex[n].to_write = 2 << 20;
    ex[n].check = true;
    n++;
    UNTIL(&w.k, kit_pump(ex, n) && ex[n - 1].closed);
    assert_int_equal(ex[n - 1].end, HTTP_EXCHANGE_DONE);
    assert_int_equal(ex[n - 1].got, 2 << 20);
    for (size_t i = 0; i + 1 < n; i++) {
        kit_cancel(&ex[i]);
        assert_true(!ex[i].cancelled || !ex[i].closed);
    }
    UNTIL(&w.k, w.n_open == 0);
    for (size_t i = 0; i < n; i++) { /* nothing is called after it */
        assert_false(ex[i].late);
    }
    finish(&w);
}

/* The server ends it: before it answers, with the answer begun, in its midst. */
static void test_aborted_by_the_server(void **state) {
    struct world w;
    static struct kit_ex ex[3];
    begin(&w, false);
    kit_start(&w.k, &ex[0], "/nothing");
    UNTIL(&w.k, w.n_open == 1);
    http_abort(served(&w)->r, 8);
    UNTIL(&w.k, ex[0].closed);
    kit_start(&w.k, &ex[1], "/echo");
    UNTIL(&w.k, ex[1].status == 200);
    http_abort(served(&w)->r, 2);
    UNTIL(&w.k, ex[1].closed);
    kit_start(&w.k, &ex[2], "/big?3000000");
    ex[2].hold = true;
    UNTIL(&w.k, ex[2].got == HTTP_CLIENT_WINDOW);
    http_abort(served(&w)->r, 11);
    UNTIL(&w.k, ex[2].closed);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ex[i].end, HTTP_EXCHANGE_LOST);
        assert_int_equal(ex[i].closed, 1);
    }
    assert_int_equal(w.k.closed, 0);
    finish(&w);
}

/* Whoever uses the client closes it from a callback: each hears its end once. */
static void test_closed_in_callbacks(void **state) {
    for (int m = 0; m < KIT_MOMENTS; m++) {
        struct world w;
        static struct kit_ex ex[4];
        begin(&w, false);
        for (size_t i = 0; i < 4; i++) {
            kit_start(&w.k, &ex[i], "/echo?trailers");
            ex[i].to_write = 400000;
        }
        ex[1].close_at = 1U << m;
        UNTIL(&w.k, kit_pump(ex, 4) && kit_over(ex, 4));
        UNTIL(&w.k, w.k.closed == 1);
        loop_poll(w.k.loop, 0);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(ex[i].closed, 1);
            assert_false(ex[i].late);
        }
        UNTIL(&w.k, w.n_open == 0);
        finish(&w);
    }
}

/* ---- how many -------------------------------------------------------------------------------- */

static void test_256_and_one_more(void **state) {
    struct world w;
    static struct kit_ex ex[HTTP_CLIENT_EXCHANGES_MAX], more_than_that;
    begin(&w, false);
    for (size_t i = 0; i < HTTP_CLIENT_EXCHANGES_MAX; i++) {
        assert_true(http_client_usable(w.k.client));
        kit_start(&w.k, &ex[i], "/nothing");
    }
    UNTIL(&w.k, w.n_open == HTTP_CLIENT_EXCHANGES_MAX);
    assert_false(http_client_usable(w.k.client));
    assert_false(kit_try(&w.k, &more_than_that, "/echo"));
    kit_cancel(&ex[17]);
    assert_true(http_client_usable(w.k.client));
    kit_start(&w.k, &more_than_that, "/echo");
    assert_false(http_client_usable(w.k.client));
    UNTIL(&w.k, kit_pump(&more_than_that, 1) && more_than_that.closed);
    assert_int_equal(more_than_that.end, HTTP_EXCHANGE_DONE);
    finish(&w);
    for (size_t i = 0; i < HTTP_CLIENT_EXCHANGES_MAX; i++) {
        assert_int_equal(ex[i].closed, i != 17);
        assert_true(i == 17 || ex[i].end == HTTP_EXCHANGE_LOST);
    }
}

/* A server that takes fewer at once gets all of them nevertheless. */
static void test_a_server_takes_fewer(void **state) {
    struct world w;
    static struct kit_ex ex[HTTP_CLIENT_EXCHANGES_MAX];
    begin_narrow(&w, 5);
    for (size_t i = 0; i < HTTP_CLIENT_EXCHANGES_MAX; i++) {
        kit_start(&w.k, &ex[i], "/echo");
        ex[i].to_write = 1000;
        if (i % 7 == 3) {
            kit_cancel(&ex[i]);
        }
    }
    UNTIL(&w.k, kit_pump(ex, HTTP_CLIENT_EXCHANGES_MAX) && kit_over(ex, HTTP_CLIENT_EXCHANGES_MAX));
    for (size_t i = 0; i < HTTP_CLIENT_EXCHANGES_MAX; i++) {
        assert_true(ex[i].cancelled || ex[i].end == HTTP_EXCHANGE_DONE);
    }
    finish(&w);
}

/* ---- a server that stops --------------------------------------------------------------------- */

/* GOAWAY: what the server has is answered, what waits for its turn was not sent. */
static void test_server_shuts_down(void **state) {
    struct world w;
    static struct kit_ex ex[6], late;
    begin_narrow(&w, 3);
    for (size_t i = 0; i < 6; i++) {
        kit_start(&w.k, &ex[i], "/sink");
    }
    UNTIL(&w.k, w.n_open == 3);
    http_server_shutdown(w.server, 60000, NULL, NULL);
    UNTIL(&w.k, ex[5].closed);
    assert_false(http_client_usable(w.k.client));
    assert_false(kit_try(&w.k, &late, "/echo"));
    for (size_t i = 0; i < 3; i++) {
        assert_false(ex[i].closed);
        ex[i].to_write = 1000;
    }
    UNTIL(&w.k, kit_pump(ex, 3) && kit_over(ex, 6) && w.k.closed);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(ex[i].closed, 1);
        assert_int_equal(ex[i].end, i < 3 ? HTTP_EXCHANGE_DONE : HTTP_EXCHANGE_NOT_SENT);
    }
    assert_int_equal(w.n_given, 3);
    finish(&w);
}

static void test_server_dies(void **state) {
    struct world w;
    static struct kit_ex ex[6];
    begin_narrow(&w, 3);
    for (size_t i = 0; i < 6; i++) {
        kit_start(&w.k, &ex[i], "/nothing");
    }
    UNTIL(&w.k, w.n_open == 3);
    kill_server(&w);
    UNTIL(&w.k, w.k.closed && kit_over(ex, 6));
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(ex[i].closed, 1);
        assert_int_equal(ex[i].end, i < 3 ? HTTP_EXCHANGE_LOST : HTTP_EXCHANGE_NOT_SENT);
        assert_true(ex[i].why[0] != '\0');
    }
    connect_to(&w, NULL, 60000); /* nobody listens any more */
    kit_start(&w.k, &ex[0], "/echo");
    UNTIL(&w.k, w.k.closed == 2 && ex[0].closed);
    assert_int_equal(ex[0].end, HTTP_EXCHANGE_NOT_SENT);
    finish(&w);
}

/* ---- who it is ------------------------------------------------------------------------------- */

static void test_certificates(void **state) {
    for (int i = 0; i < 3; i++) {
        struct world w;
        struct kit_ex ex = {0};
        listen_with(&w, true, i == 2 ? TLS_ALPN_HTTP11 : TLS_ALPN_H2, NULL);
        w.k.turn_away = i == 1;
        connect_to(&w, i == 0 ? "c.example" : "b.example", 60000);
        kit_start(&w.k, &ex, "/echo");
        UNTIL(&w.k, w.k.closed && ex.closed);
        assert_int_equal(ex.end, HTTP_EXCHANGE_NOT_SENT);
        assert_int_equal(w.n_given, 0); /* it was not shown who asks what */
        assert_true(i != 1 || strstr(w.k.why, "another one's") != NULL);
        assert_true(i != 0 || strstr(w.k.why, "certificate") != NULL);
        finish(&w);
    }
}

static void test_fields(void **state) {
    struct world w;
    static struct kit_ex ex[3];
    begin(&w, false);
    kit_start(&w.k, &ex[0], "/fields?63x10"); /* and `date` */
    kit_start(&w.k, &ex[1], "/fields?64x10");
    kit_start(&w.k, &ex[2], "/fields?40x1000");
    UNTIL(&w.k, kit_pump(ex, 3) && kit_over(ex, 3));
    assert_int_equal(ex[0].end, HTTP_EXCHANGE_DONE);
    assert_int_equal(ex[0].fields, HTTP_CLIENT_FIELDS_MAX);
    assert_int_equal(ex[1].end, HTTP_EXCHANGE_LOST);
    assert_int_equal(ex[2].end, HTTP_EXCHANGE_DONE);
    assert_int_equal(ex[2].fields, 41);
    assert_int_equal(w.k.closed, 0); /* the others go on */
    finish(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_all_exchanges_both_ways),
        cmocka_unit_test(test_slow_client),
        cmocka_unit_test(test_slow_server),
        cmocka_unit_test(test_many_slow_requests),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_aborted_by_the_server),
        cmocka_unit_test(test_closed_in_callbacks),
        cmocka_unit_test(test_256_and_one_more),
        cmocka_unit_test(test_a_server_takes_fewer),
        cmocka_unit_test(test_server_shuts_down),
        cmocka_unit_test(test_server_dies),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests_name("http_client", tests, make_pki, drop_pki);
}
