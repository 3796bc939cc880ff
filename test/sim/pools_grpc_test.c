// SPDX-License-Identifier: Apache-2.0
/* openapmi over real sockets: a threaded core, the gRPC binding, clients of net/grpc.h, with mutual
 * TLS and in clear text. Foreign clients are test/e2e's business. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/logger.h"
#include "core/http_auth.h"
#include "core/system.h"
#include "model/model.h"
#include "net/grpc.h"
#include "net/pki.h"
#include "pools/apmi.h"
#include "pools/apmi_server.h"
#include "pools/internal.h"

typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__ManagerMsg manager_msg;

static char folder[64];
static struct model *model;
static struct core *core;
static struct loop *loop;
static struct workers *hashers;
static struct apmi_server *server;
static uint16_t clear_port, tls_port;

static const char *file(const char *name) {
    static char paths[8][400];
    static unsigned at;
    char *p = paths[at++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static void must(enum err_code rc, const struct err *e) {
    if (rc != ERR_OK) {
        fail_msg("%s %s", e->path, e->text);
    }
}

static void turn_until(_Atomic bool *flag) {
    for (int i = 0; i < 2000 && !*flag; i++) {
        loop_poll(loop, 5);
    }
    assert_true(*flag);
}

static void put_done(struct change *ch, void *arg) {
    *(_Atomic bool *)arg = true;
}

static void put(const char *path, const char *json) {
    _Atomic bool done = false;
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
    core_change(core, ch, put_done, (void *)&done);
    turn_until(&done);
    must(ch->err.code, &ch->err);
    change_free(ch);
}

static void make_certificates(void) {
    struct err e;
    static const char *const names[] = {"IP:127.0.0.1", NULL};
    struct pki_request r = {.common_name = "manager", .sans = names, .use = PKI_SERVER, .days = 2};
    must(pki_make_ca("test", 3, file("ca.pem"), file("ca.key"), &e), &e);
    must(pki_issue(file("ca.pem"), file("ca.key"), &r, file("s.pem"), file("s.key"), &e), &e);
    static const char *const both[] = {"DNS:bng1", "URI:" HTTP_AUTH_USER_URI "bng1", NULL};
    r = (struct pki_request){.common_name = "bng1", .sans = both, .use = PKI_CLIENT, .days = 2};
    must(pki_issue(file("ca.pem"), file("ca.key"), &r, file("c.pem"), file("c.key"), &e), &e);
}

static int setup(void **state) {
    static const struct service *const services[] = {&system_service, &pools_service, NULL};
    struct err e;
    snprintf(folder, sizeof folder, "/tmp/weft-grpc-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_certificates();
    must(model_load(&model, &e), &e);
    char store[128];
    snprintf(store, sizeof store, "sqlite:%s/log.db", folder);
    struct core_options o = {.store = store,
                             .clock = &clock_real,
                             .model = model,
                             .threaded = true,
                             .services = services};
    must(core_open(&o, &core, &e), &e);
    loop = loop_new("test");
    hashers = workers_new("hash", 1, 16);
    put("/weft-apm:apm/pool-domain-profile=p",
        "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p\",\"apportion-threshold\":100,"
        "\"reclaim-threshold\":400}]}");
    put("/weft-apm:apm/inet-pool/partition=a",
        "{\"weft-apm:partition\":[{\"name\":\"a\",\"min-prefix-len\":8,\"max-prefix-len\":30,"
        "\"prefix\":[{\"prefix\":\"10.0.0.0/16\"}]}]}");
    put("/weft-apm:apm/entity-match=bng1",
        "{\"weft-apm:entity-match\":[{\"system-id\":\"bng1\",\"pool-domain-profile\":\"p\"}]}");
    put("/weft-apm:apm/entity-match=bng2",
        "{\"weft-apm:entity-match\":[{\"system-id\":\"bng2\",\"pool-domain-profile\":\"p\"}]}");
    struct apmi_server_config sc = {.core = core, .loop = loop, .hashers = hashers};
    server = apmi_server_new(&sc);
    struct tls_config tc = {.cert_file = file("s.pem"),
                            .key_file = file("s.key"),
                            .ca_file = file("ca.pem"),
                            .client_auth = TLS_AUTH_REQUIRED,
                            .alpn = TLS_ALPN_H2};
    struct tls_ctx *tls;
    must(tls_server_new(&tc, &tls, &e), &e);
    struct ip_addr addr = ip4(0x7f000001);
    must(apmi_server_listen(server, &addr, 0, NULL, &clear_port, &e), &e);
    must(apmi_server_listen(server, &addr, 0, tls, &tls_port, &e), &e);
    tls_ctx_free(tls);
    return 0;
}

static void set_flag(void *arg) {
    *(_Atomic bool *)arg = true;
}

static int teardown(void **state) {
    _Atomic bool closed = false;
    apmi_server_close(server, set_flag, (void *)&closed);
    turn_until(&closed);
    workers_free(hashers);
    core_close(core);
    loop_free(loop);
    model_free(model);
    DIR *dir = opendir(folder);
    for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        unlink(file(d->d_name));
    }
    closedir(dir);
    rmdir(folder);
    return 0;
}

/* ---- an entity ---- */

struct client {
    struct grpc_channel *channel;
    struct grpc_call *call;
    manager_msg *got; /* the newest */
    unsigned n_got;
    _Atomic bool answered, closed, channel_closed;
    enum grpc_code status;
    char text[200];
    uint64_t msg_id;
};

static void on_message(struct grpc_call *call, const uint8_t *p, size_t n, void *arg) {
    struct client *c = arg;
    openapmi__v1__manager_msg__free_unpacked(c->got, NULL);
    c->got = openapmi__v1__manager_msg__unpack(NULL, n, p);
    assert_non_null(c->got);
    c->n_got++;
    c->answered = true;
}

static void on_closed(struct grpc_call *call, enum grpc_code status, const char *message,
                      void *arg) {
    struct client *c = arg;
    c->call = NULL;
    c->status = status;
    snprintf(c->text, sizeof c->text, "%s", message);
    c->closed = true;
    c->answered = true;
}

static void on_channel_closed(struct grpc_channel *ch, const char *text, void *arg) {
    struct client *c = arg;
    c->channel = NULL;
    c->channel_closed = true;
}

static const struct grpc_call_ops call_ops = {.message = on_message, .closed = on_closed};
static const struct grpc_channel_ops channel_ops = {.closed = on_channel_closed};

static void open_client(struct client *c, bool tls, const char *path) {
    struct err e;
    memset(c, 0, sizeof *c);
    struct grpc_channel_config cfg = {.host = "127.0.0.1", .port = tls ? tls_port : clear_port};
    if (tls) {
        struct tls_config tc = {.cert_file = file("c.pem"),
                                .key_file = file("c.key"),
                                .ca_file = file("ca.pem"),
                                .alpn = TLS_ALPN_H2};
        must(tls_client_new(&tc, &cfg.tls, &e), &e);
    }
    c->channel = grpc_connect(loop, &cfg, &channel_ops, c);
    c->call = grpc_call_start(c->channel, path, NULL, 0, 0, &call_ops, c);
    tls_ctx_free(cfg.tls);
}

static void close_client(struct client *c) {
    if (c->channel != NULL) {
        grpc_channel_close(c->channel);
        turn_until(&c->channel_closed);
    }
    openapmi__v1__manager_msg__free_unpacked(c->got, NULL);
    c->got = NULL;
}

static void send_msg(struct client *c, entity_msg *m) {
    m->msg_id = ++c->msg_id;
    size_t n = openapmi__v1__entity_msg__get_packed_size(m);
    uint8_t *p = mem_alloc(n + 1);
    openapmi__v1__entity_msg__pack(m, p);
    c->answered = false;
    grpc_send(c->call, p, n);
    mem_free(p);
    turn_until(&c->answered);
}

static void hello(struct client *c, const char *id) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Hello h = OPENAPMI__V1__HELLO__INIT;
    h.system_id = (char *)(uintptr_t)id;
    h.min_version = h.max_version = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_HELLO;
    m.hello = &h;
    send_msg(c, &m);
}

static void into_step(struct client *c, const char *id) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__DomainSync ds = OPENAPMI__V1__DOMAIN_SYNC__INIT;
    Openapmi__V1__SyncDone sd = OPENAPMI__V1__SYNC_DONE__INIT;
    hello(c, id);
    assert_int_equal(c->got->hello_ack->status->code, 0);
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC;
    m.domain_sync = &ds;
    send_msg(c, &m);
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_SYNC_DONE;
    m.sync_done = &sd;
    send_msg(c, &m);
}

static void apportion(struct client *c, const char *id) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__CreateDomain cd = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    cd.domain = (char *)(uintptr_t) "d";
    cd.partition = (char *)(uintptr_t) "a";
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN;
    m.create_domain = &cd;
    send_msg(c, &m);
    Openapmi__V1__Alarm a = OPENAPMI__V1__ALARM__INIT;
    a.alarm_id = (char *)(uintptr_t)id;
    a.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    a.domain = (char *)(uintptr_t) "d";
    a.preferred_length = 24;
    a.attempt = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ALARM;
    m.alarm = &a;
    send_msg(c, &m);
}

#define SESSION "/openapmi.v1.Apmi/Session"

static void clear_text_session(void **state) {
    struct client c;
    open_client(&c, false, SESSION);
    into_step(&c, "bng2");
    apportion(&c, "1");
    assert_int_equal(c.got->alarm_response->n_add, 1);
    assert_string_equal(c.got->alarm_response->add[0]->name, "d");
    close_client(&c);
}

static void mutual_tls_session(void **state) {
    struct client c;
    open_client(&c, true, SESSION);
    into_step(&c, "bng1");
    apportion(&c, "1");
    assert_int_equal(c.got->alarm_response->n_add, 1);
    close_client(&c);
    /* The certificate is bng1's. */
    open_client(&c, true, SESSION);
    hello(&c, "bng2");
    turn_until(&c.closed);
    assert_int_equal(c.status, GRPC_PERMISSION_DENIED);
    assert_non_null(strstr(c.text, "certificate"));
    close_client(&c);
}

static void refusals_reach_the_client(void **state) {
    struct client c;
    open_client(&c, false, SESSION);
    hello(&c, "nobody");
    turn_until(&c.closed);
    assert_int_equal(c.status, GRPC_PERMISSION_DENIED);
    close_client(&c);
    open_client(&c, false, SESSION);
    grpc_send(c.call, "\xff\xff", 2);
    turn_until(&c.closed);
    assert_int_equal(c.status, GRPC_INVALID_ARGUMENT);
    close_client(&c);
}

/* A hundred sessions at once; each ends in step. */
static void many_sessions(void **state) {
    enum { N = 60 };
    struct client *c = mem_alloc(N * sizeof *c);
    for (int i = 0; i < N; i++) {
        char path[96], json[160], id[16];
        snprintf(id, sizeof id, "m%d", i);
        snprintf(path, sizeof path, "/weft-apm:apm/entity-match=%s", id);
        snprintf(
            json, sizeof json,
            "{\"weft-apm:entity-match\":[{\"system-id\":\"%s\",\"pool-domain-profile\":\"p\"}]}",
            id);
        put(path, json);
        open_client(&c[i], false, SESSION);
        into_step(&c[i], id);
    }
    for (int i = 0; i < N; i++) {
        apportion(&c[i], "1");
        assert_int_equal(c[i].got->alarm_response->n_add, 1);
    }
    for (int i = 0; i < N; i++) {
        close_client(&c[i]);
    }
    mem_free(c);
}

/* ---- ApmiAdmin ---- */

struct unary {
    _Atomic bool done;
    enum grpc_code status;
    char text[200];
    size_t n;
};

static void unary_done(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                       void *arg) {
    struct unary *u = arg;
    u->status = status;
    u->n = n;
    snprintf(u->text, sizeof u->text, "%s", message ? message : "");
    u->done = true;
}

static void admin_needs_a_name(void **state) {
    struct client c;
    struct unary u = {.done = false};
    Openapmi__V1__EntityRef ref = OPENAPMI__V1__ENTITY_REF__INIT;
    uint8_t bytes[64];
    ref.entity = (char *)(uintptr_t) "bng1";
    size_t n = openapmi__v1__entity_ref__pack(&ref, bytes);
    open_client(&c, false, SESSION);
    grpc_unary(c.channel, "/openapmi.v1.ApmiAdmin/ReleaseEntity", bytes, n, 5000, unary_done, &u);
    turn_until(&u.done);
    assert_int_equal(u.status, GRPC_PERMISSION_DENIED); /* in clear text nobody has one */
    close_client(&c);
    open_client(&c, true, SESSION);
    u.done = false;
    grpc_unary(c.channel, "/openapmi.v1.ApmiAdmin/ReleaseEntity", bytes, n, 5000, unary_done, &u);
    turn_until(&u.done);
    assert_int_equal(u.status, GRPC_UNAUTHENTICATED); /* bng1 is no user yet */
    /* Now it is; it may look, and not touch. */
    put("/weft-system:system/role=look", "{\"weft-system:role\":[{\"name\":\"look\",\"right\":[{"
                                         "\"path\":\"/\",\"access\":\"read\"}]}]}");
    put("/weft-system:system/user=bng1",
        "{\"weft-system:user\":[{\"name\":\"bng1\",\"role\":[\"look\"]}]}");
    u.done = false;
    grpc_unary(c.channel, "/openapmi.v1.ApmiAdmin/ReleaseEntity", bytes, n, 5000, unary_done, &u);
    turn_until(&u.done);
    assert_int_equal(u.status, GRPC_PERMISSION_DENIED);
    Openapmi__V1__DomainKey key = OPENAPMI__V1__DOMAIN_KEY__INIT;
    key.entity = (char *)(uintptr_t) "bng1";
    key.domain = (char *)(uintptr_t) "d";
    n = openapmi__v1__domain_key__pack(&key, bytes);
    u.done = false;
    grpc_unary(c.channel, "/openapmi.v1.ApmiAdmin/GetDomain", bytes, n, 5000, unary_done, &u);
    turn_until(&u.done);
    if (u.status != GRPC_OK) {
        fail_msg("GetDomain: %d %s", u.status, u.text);
    }
    assert_true(u.n > 10);
    close_client(&c);
}

int main(void) {
    logger_set_level(NULL, getenv("SIM_LOG") ? "info" : "error");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_text_session),        cmocka_unit_test(mutual_tls_session),
        cmocka_unit_test(refusals_reach_the_client), cmocka_unit_test(many_sessions),
        cmocka_unit_test(admin_needs_a_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
