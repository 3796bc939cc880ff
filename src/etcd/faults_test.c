// SPDX-License-Identifier: Apache-2.0
/* A real etcd behind a relay of our own that does what a network does and etcd can't be made to do:
 * it loses an answer, carries a request out long after the caller gave up, or never, answers twice,
 * or answers nonsense. An append is then there or not, and the caller knows which; where it can't
 * be known it says so. */
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/ip.h"
#include "base/mem.h"
#include "etcd/engine.h"
#include "etcd/engine_int.h"
#include "etcd/testing.h"
#include "log/testing.h"
#include "net/grpc.h"

static char dir[64];
static struct testing_etcd etcd;
static int stores;

/* ---- the relay ---------------------------------------------------------------------------------
 */

enum fault {
    PASS,
    LOST,     /* done, and not answered */
    NEVER,    /* neither */
    LATE,     /* not answered, and done when the test says so */
    TWICE,    /* done and answered twice */
    NONSENSE, /* done and answered with bytes that mean nothing */
};

static struct {
    pthread_t thread;
    struct loop *loop;
    struct grpc_server *grpc;
    struct http_server *http;
    struct grpc_channel *channel;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    /* Under `lock`. */
    enum fault append, others; /* what befalls appends, and all other calls */
    unsigned hit;              /* calls that a fault has befallen */
    unsigned open;             /* calls under way, either side */
    struct relayed *late;
    bool late_done;
} relay;

struct relayed {
    struct grpc_call *in, *out; /* NULL: over */
    const char *path;
    struct buf request;
    enum fault fault;
    bool kept; /* by relay.late */
};

static void let_go(struct relayed *r) {
    pthread_mutex_lock(&relay.lock);
    bool over = r->in == NULL && r->out == NULL && !r->kept;
    relay.open -= over;
    pthread_cond_broadcast(&relay.cond);
    pthread_mutex_unlock(&relay.lock);
    if (over) {
        buf_free(&r->request);
        mem_free(r);
    }
}

static void out_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct relayed *r = arg;
    if (r->in == NULL || r->fault == LOST || r->fault == LATE) {
        return;
    }
    if (r->fault == NONSENSE) {
        static const uint8_t nonsense[] = {0x0a, 0x7f, 0xff, 0xff};
        grpc_send(r->in, nonsense, sizeof nonsense);
        return;
    }
    grpc_send(r->in, p, n);
    if (r->fault == TWICE) {
        grpc_send(r->in, p, n);
    }
}

static void out_closed(struct grpc_call *c, enum grpc_code status, const char *message, void *arg) {
    struct relayed *r = arg;
    r->out = NULL;
    if (r->fault == LATE) {
        pthread_mutex_lock(&relay.lock);
        relay.late_done = status == GRPC_OK;
        pthread_mutex_unlock(&relay.lock);
    } else if (r->in != NULL && r->fault != LOST) {
        grpc_finish(r->in, status, message);
    }
    let_go(r);
}

static const struct grpc_call_ops out_ops = {.message = out_message, .closed = out_closed};

static void carry_out(void *arg) {
    struct relayed *r = arg;
    r->out = grpc_call_start(relay.channel, r->path, NULL, 0, 0, &out_ops, r);
    grpc_send(r->out, r->request.data, r->request.len);
    grpc_send_end(r->out);
    r->kept = false;
}

static void in_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    buf_add(&((struct relayed *)arg)->request, p, n);
}

/* An append is the transaction that puts an entry. */
static bool is_append(const struct relayed *r) {
    return strcmp(r->path, "/etcdserverpb.KV/Txn") == 0 &&
           memmem(r->request.data, r->request.len, "/e/", 3) != NULL;
}

static void in_whole(struct grpc_call *c, void *arg) {
    struct relayed *r = arg;
    buf_reserve(&r->request, 1);
    pthread_mutex_lock(&relay.lock);
    if (is_append(r)) {
        r->fault = relay.append;
        relay.append = PASS; /* once */
    } else {
        r->fault = relay.others;
    }
    relay.hit += r->fault != PASS;
    if (r->fault == LATE) {
        r->kept = true;
        relay.late = r;
    }
    pthread_mutex_unlock(&relay.lock);
    if (r->fault != NEVER && r->fault != LATE) {
        carry_out(r);
    }
}

static void in_closed(struct grpc_call *c, enum grpc_code status, const char *message, void *arg) {
    struct relayed *r = arg;
    r->in = NULL;
    let_go(r);
}

static const struct grpc_call_ops in_ops = {
    .message = in_message, .half_closed = in_whole, .closed = in_closed};

static void take_call(struct grpc_call *c, void *path) {
    struct relayed *r = MEM_NEW(struct relayed);
    r->in = c;
    r->path = path;
    pthread_mutex_lock(&relay.lock);
    relay.open++;
    pthread_mutex_unlock(&relay.lock);
    grpc_set_ops(c, &in_ops, r);
}

static void *run_relay(void *arg) {
    loop_run(relay.loop);
    return NULL;
}

static const char *const paths[] = {
    "/etcdserverpb.KV/Range",          "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",        "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke", "/etcdserverpb.Lease/LeaseKeepAlive",
};

static void relay_start(void) {
    static const struct grpc_channel_ops channel_ops = {.closed = NULL};
    struct ip_addr lo = ip4(INADDR_LOOPBACK);
    pthread_mutex_init(&relay.lock, NULL);
    pthread_cond_init(&relay.cond, NULL);
    relay.loop = loop_new("relay");
    relay.grpc = grpc_server_new(relay.loop);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        grpc_register(relay.grpc, paths[i], take_call, (void *)(uintptr_t)paths[i]);
    }
    relay.http = http_server_new(relay.loop, NULL, grpc_http_handler, relay.grpc);
    OK(http_listen_tcp(relay.http, &lo, 0, NULL, HTTP_H2C, &relay.port, &e_));
    struct grpc_channel_config cfg = {.host = "127.0.0.1", .port = etcd.port, .keepalive_ms = -1};
    relay.channel = grpc_connect(relay.loop, &cfg, &channel_ops, NULL);
    assert_int_equal(pthread_create(&relay.thread, NULL, run_relay, NULL), 0);
}

static void relay_stop(void) {
    loop_stop(relay.loop);
    pthread_join(relay.thread, NULL);
    grpc_channel_close(relay.channel);
    loop_poll(relay.loop, 0);
    loop_poll(relay.loop, 0);
    http_server_free(relay.http);
    grpc_server_free(relay.grpc);
    loop_free(relay.loop);
}

static void befall(enum fault append, enum fault others) {
    pthread_mutex_lock(&relay.lock);
    relay.append = append;
    relay.others = others;
    relay.hit = 0;
    pthread_mutex_unlock(&relay.lock);
}

/* ---- one node behind it ------------------------------------------------------------------------
 */

struct node {
    struct log *log;
    uint64_t fence, seen;
};

static void see(const struct log_entry *entries, size_t n, void *arg) {
    struct node *d = arg;
    assert_int_equal(entries[0].index, d->seen + 1);
    d->seen = entries[n - 1].index;
}

static void lead(struct node *d) {
    struct log_lease l = {.holder = "a", .ttl_ns = 5 * NS_PER_S};
    OK(log_lease_acquire(d->log, &l, &e_));
    d->fence = l.fence;
}

static int set_up(void **state) {
    struct node *d = MEM_NEW(struct node);
    struct log_options o = {.node = "a"};
    char url[300];
    stores++;
    befall(PASS, PASS);
    snprintf(url, sizeof url, "etcd:http://127.0.0.1:%u/faults-%d?replica=%s/%d.db", relay.port,
             stores, dir, stores);
    OK(log_open(url, &o, &d->log, &e_));
    log_watch(d->log, see, d);
    lead(d);
    *state = d;
    return 0;
}

static int tear_down(void **state) {
    struct node *d = *state;
    befall(PASS, PASS);
    log_close(d->log);
    mem_free(d);
    return 0;
}

static enum err_code append(struct node *d, const char *value) {
    struct log_op op = testing_put(LOG_STATE, "k", value);
    struct log_entry entry = {.why = value, .ops = &op, .n_ops = 1};
    return log_append(d->log, log_head(d->log), d->fence, &entry, 1, &e_);
}

static bool print_entry(const struct log_entry *e, void *arg) {
    buf_printf(arg, "%" PRIu64 ":%s ", e->index, e->why);
    return true;
}

static void no_finding(const char *where, const char *text, void *arg) {
    fail_msg("%s: %s", where, text);
}

/* What this node has, told its watchers, and etcd has. */
static void expect(struct node *d, const char *want) {
    struct buf b = BUF_INIT;
    size_t findings;
    OK(log_read(d->log, 1, UINT64_MAX, print_entry, &b, &e_));
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
    assert_int_equal(d->seen, log_head(d->log));
    OK(log_check(d->log, no_finding, NULL, &findings, &e_));
    assert_int_equal(findings, 0);
}

/* It was done; whatever came back, or nothing, that is found out. */
static void done_and(void **state, enum fault fault) {
    struct node *d = *state;
    OK(append(d, "before"));
    befall(fault, PASS);
    OK(append(d, "it"));
    assert_int_equal(relay.hit, 1);
    OK(append(d, "after"));
    expect(d, "1:before 2:it 3:after ");
}

static void test_the_answer_is_lost(void **state) {
    done_and(state, LOST);
}

static void test_the_answer_comes_twice(void **state) {
    done_and(state, TWICE);
}

static void test_the_answer_is_nonsense(void **state) {
    done_and(state, NONSENSE);
}

static void test_it_never_arrives(void **state) {
    struct node *d = *state;
    befall(NEVER, PASS);
    FAILS(append(d, "it"), ERR_UNAVAILABLE);
    assert_int_equal(relay.hit, 1);
    expect(d, "");
    OK(append(d, "after"));
    expect(d, "1:after ");
}

/* What was answered as failed must not come true when it arrives after all. */
static void test_it_arrives_late(void **state) {
    struct node *d = *state;
    OK(append(d, "before"));
    befall(LATE, PASS);
    FAILS(append(d, "it"), ERR_UNAVAILABLE);
    pthread_mutex_lock(&relay.lock);
    assert_non_null(relay.late);
    relay.late_done = false;
    struct relayed *late = relay.late;
    relay.late = NULL;
    pthread_mutex_unlock(&relay.lock);
    loop_post(relay.loop, carry_out, late);
    pthread_mutex_lock(&relay.lock);
    while (!relay.late_done) {
        pthread_cond_wait(&relay.cond, &relay.lock);
    }
    pthread_mutex_unlock(&relay.lock);
    expect(d, "1:before ");
    OK(append(d, "after"));
    expect(d, "1:before 2:after ");
}

/* Nothing answers until the lease is over: in doubt, and settled by what etcd has. */
static void in_doubt(void **state, enum fault fault, const char *want, const char *then) {
    struct node *d = *state;
    struct log_status st;
    struct log_turn t;
    befall(fault, NEVER);
    FAILS(append(d, "it"), ERR_UNAVAILABLE);
    log_status(d->log, &st);
    assert_true(st.needs_reopen && st.in_doubt);
    log_turn(d->log, &t);
    assert_false(t.leads);
    FAILS(append(d, "more"), ERR_UNAVAILABLE);
    /* Nothing of it is shown before it is known. */
    assert_int_equal(log_head(d->log), 0);
    befall(PASS, PASS);
    OK(log_reopen(d->log, &e_));
    expect(d, want);
    log_status(d->log, &st);
    assert_false(st.needs_reopen || st.in_doubt);
    lead(d);
    OK(append(d, "after"));
    expect(d, then);
}

static void test_in_doubt_and_done(void **state) {
    in_doubt(state, LOST, "1:it ", "1:it 2:after ");
}

static void test_in_doubt_and_not_done(void **state) {
    in_doubt(state, NEVER, "", "1:after ");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    log_engine_add(&log_etcd);
    testing_quiet();
    testing_dir(dir);
    testing_etcd_start(&etcd, dir);
    relay_start();
    const struct CMUnitTest tests[] = {
        T(test_the_answer_is_lost),     T(test_the_answer_comes_twice),
        T(test_the_answer_is_nonsense), T(test_it_never_arrives),
        T(test_it_arrives_late),        T(test_in_doubt_and_done),
        T(test_in_doubt_and_not_done),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    relay_stop();
    testing_etcd_stop(&etcd);
    testing_remove(dir);
    return failed;
}
