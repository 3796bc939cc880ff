// SPDX-License-Identifier: Apache-2.0
/* What etcd answers, through the whole of our client and engine: a server on loopback that gives
 * the pieces of the input (16 bits of length, bytes) one after the other as its answers, and errors
 * when there are no more. Nothing that it says may do more than fail. */
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "etcd/engine.h"
#include "etcd/engine_int.h"
#include "log/replica.h"
#include "net/grpc.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cur answers; /* under `lock` */
static struct etcd_log node;
static struct loop *loop;
static char copy[64];

static void answer(struct grpc_call *c, void *arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    size_t n = cur_left(&answers) >= 2 ? cur_u16(&answers) : 0;
    bool more = cur_left(&answers) > 0;
    n = n < cur_left(&answers) ? n : cur_left(&answers);
    if (more) {
        grpc_send(c, cur_bytes(&answers, n), n);
    }
    pthread_mutex_unlock(&lock);
    grpc_finish(c, more ? GRPC_OK : GRPC_INVALID_ARGUMENT, "");
}

static const struct grpc_call_ops ops = {.half_closed = answer};

static void take_call(struct grpc_call *c, void *arg) {
    (void)arg;
    grpc_set_ops(c, &ops, NULL);
}

static void *serve(void *arg) {
    (void)arg;
    loop_run(loop);
    return NULL;
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
    (void)level, (void)module, (void)line, (void)arg;
}

static void need(enum err_code rc, const struct err *e) {
    if (rc != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e->path, e->text);
        abort();
    }
}

static uint16_t start_server(void) {
    static const char *const paths[] = {"KV/Range", "KV/Txn", "KV/Put", "Lease/LeaseGrant",
                                        "Lease/LeaseKeepAlive"};
    struct http_limits limits = http_limits_default;
    struct ip_addr lo = ip4(INADDR_LOOPBACK);
    struct err e;
    uint16_t port;
    pthread_t thread;
    limits.max_requests = 0;
    limits.max_control = UINT_MAX;
    loop = loop_new("fuzz");
    struct grpc_server *grpc = grpc_server_new(loop);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/etcdserverpb.%s", paths[i]);
        grpc_register(grpc, path, take_call, NULL);
    }
    struct http_server *http = http_server_new(loop, &limits, grpc_http_handler, grpc);
    need(http_listen_tcp(http, &lo, 0, NULL, HTTP_H2C, &port, &e), &e);
    if (pthread_create(&thread, NULL, serve, NULL) != 0) {
        abort();
    }
    return port;
}

static void remove_copy(void) {
    static const char *const files[] = {"",        "-wal",        "-shm",       "-lock",
                                        "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%s", copy, files[i]);
        unlink(name);
    }
}

static void begin(void) {
    struct etcd_url url = {.n_endpoints = 1, .endpoints = {{.host = "127.0.0.1"}}};
    struct log_options lazy = {.sqlite_lazy = true};
    struct err e;
    char name[80];
    logger_set_sink(swallow, NULL);
    url.endpoints[0].port = start_server();
    snprintf(copy, sizeof copy, "/tmp/weft-fuzz-etcd-%ld", (long)getpid());
    snprintf(name, sizeof name, "sqlite:%s", copy);
    need(log_open(name, &lazy, &node.rep, &e), &e);
    atexit(remove_copy);
    const struct log_entry first = {.index = 1, .time_ns = 1, .fence = 1, .who = "", .why = ""};
    need(log_replica_append(node.rep, &first, 1, &e), &e); /* for the check to compare with */
    need(etcd_open(&url, &node.etcd, &e), &e);
    snprintf(node.prefix, sizeof node.prefix, "/weft/f/");
    snprintf(node.node, sizeof node.node, "n");
    node.log.engine = &log_etcd;
    node.log.clock = &clock_real;
    pthread_mutex_init(&node.log.watch_lock, NULL);
    pthread_rwlock_init(&node.log.in_use, NULL);
    list_init(&node.log.watches);
    pthread_mutex_init(&node.lock, NULL);
    pthread_mutex_init(&node.view_lock, NULL);
}

static void see(const struct log_node *n, void *arg) {
    *(size_t *)arg += strlen(n->name) + n->about_len;
}

static void finding(const char *where, const char *text, void *arg) {
    *(size_t *)arg += strlen(where) + strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct looked l;
    struct err e;
    size_t sum = 0;
    int64_t id;
    if (node.rep == NULL) {
        begin();
    }
    if (size == 0) {
        return 0;
    }
    pthread_mutex_lock(&lock);
    answers = cur_of(data + 1, size - 1);
    pthread_mutex_unlock(&lock);
    node.broken = false;
    switch (data[0] % 6) {
    case 0:
        if (et_look(&node, CALL_MS, &l, &e) == ERR_OK) {
            et_view_update(&node, &l);
        }
        break;
    case 1:
        base_known(&node, &e);
        break;
    case 2: {
        const struct head h = {.index = log_head(node.rep) + 2};
        et_catch_up(&node, &h, &e);
        break;
    }
    case 3:
        log_etcd.nodes(&node.log, see, &sum, &e);
        break;
    case 4:
        if (etcd_grant(node.etcd, 5, 1000, &id, &e) == ERR_OK) {
            etcd_keep_alive(node.etcd, id, 1000, &e);
        }
        break;
    default:
        log_etcd.check(&node.log, finding, &sum, &sum, &e);
        break;
    }
    return 0;
}
