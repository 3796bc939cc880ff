// SPDX-License-Identifier: Apache-2.0
#include "apm_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/system.h"
#include "model/model.h"

static struct model *model;

double apm_now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

void apm_die(const char *what, const struct err *e) {
    fprintf(stderr, "%s: %s %s\n", what, e ? e->path : "", e ? e->text : "");
    exit(1);
}

struct core *apm_open(const char *folder) {
    static const struct service *const services[] = {&system_service, &pools_service, NULL};
    struct err e = {.code = ERR_OK};
    struct core *c;
    char *store = mem_printf("sqlite:%s/apm.db", folder);
    if (model == NULL && model_load(&model, &e) != ERR_OK) {
        apm_die("model", &e);
    }
    struct core_options o = {.store = store,
                             .clock = &clock_real,
                             .model = model,
                             .threaded = true,
                             .services = services};
    if (core_open(&o, &c, &e) != ERR_OK) {
        apm_die("open", &e);
    }
    mem_free(store);
    return c;
}

static void put_done(struct change *ch, void *arg) {
    if (ch->err.code != ERR_OK) {
        apm_die("configure", &ch->err);
    }
    atomic_store((_Atomic bool *)arg, true);
}

void apm_put(struct core *c, const char *path, const char *json) {
    _Atomic bool done = false;
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
    core_change(c, ch, put_done, (void *)&done);
    while (!atomic_load(&done)) {
        usleep(200);
    }
    change_free(ch);
}

void apm_configure(struct core *c, unsigned entities, unsigned root_len, unsigned alarm_rate) {
    char path[128], json[512];
    apm_put(c, "/weft-apm:apm/pool-domain-profile=p",
            "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p\",\"apportion-threshold\":100,"
            "\"reclaim-threshold\":400,\"auto-reclamation\":{}}]}");
    snprintf(json, sizeof json,
             "{\"weft-apm:partition\":[{\"name\":\"a\",\"min-prefix-len\":8,\"max-prefix-len\":30,"
             "\"prefix\":[{\"prefix\":\"10.0.0.0/%u\"}]}]}",
             root_len);
    apm_put(c, "/weft-apm:apm/inet-pool/partition=a", json);
    for (unsigned i = 0; i < entities; i++) {
        snprintf(path, sizeof path, "/weft-apm:apm/entity-match=bng%u", i);
        snprintf(json, sizeof json,
                 "{\"weft-apm:entity-match\":[{\"system-id\":\"bng%u\","
                 "\"pool-domain-profile\":\"p\",\"alarm-rate\":%u}]}",
                 i, alarm_rate);
        apm_put(c, path, json);
    }
}

static void on_send(void *conn, const void *p, size_t n) {
    struct gate *g = conn;
    Openapmi__V1__ManagerMsg *m = openapmi__v1__manager_msg__unpack(NULL, n, p);
    if (m == NULL) {
        apm_die("garbage", NULL);
    }
    if (!g->ready) {
        g->ready = true;
    } else if (g->answer != NULL) {
        g->answer(g, m);
    }
    openapmi__v1__manager_msg__free_unpacked(m, NULL);
}

static void on_end(void *conn, int code, const char *text) {
    fprintf(stderr, "%s: the session was ended: %d %s\n", ((struct gate *)conn)->id, code, text);
    exit(1);
}

static void on_released(void *conn) {
    ((struct gate *)conn)->released = true;
}

static const struct apmi_transport transport = {
    .send = on_send, .end = on_end, .released = on_released};

void apm_send(struct gate *g, Openapmi__V1__EntityMsg *m) {
    uint8_t small[2048];
    m->msg_id = ++g->msg_id;
    size_t n = openapmi__v1__entity_msg__get_packed_size(m);
    uint8_t *bytes = n <= sizeof small ? small : mem_alloc(n);
    openapmi__v1__entity_msg__pack(m, bytes);
    apmi_receive(g->session, bytes, n, clock_wall_s(&clock_real));
    if (bytes != small) {
        mem_free(bytes);
    }
}

static void exchange(struct gate *g, Openapmi__V1__EntityMsg *m) {
    g->ready = false;
    apm_send(g, m);
    while (!atomic_load(&g->ready)) {
        usleep(100);
    }
}

void apm_connect_only(struct core *c, struct gate *g, unsigned number) {
    struct apmi_peer peer = {.source = "bench", .address = "192.0.2.1"};
    snprintf(g->id, sizeof g->id, "bng%u", number);
    g->msg_id = 0;
    g->released = false;
    g->session = apmi_open(c, &transport, g, &peer);
    Openapmi__V1__EntityMsg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Hello h = OPENAPMI__V1__HELLO__INIT;
    h.system_id = g->id;
    h.min_version = h.max_version = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_HELLO;
    m.hello = &h;
    exchange(g, &m);
}

void apm_connect(struct core *c, struct gate *g, unsigned number) {
    Openapmi__V1__EntityMsg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    apm_connect_only(c, g, number);
    Openapmi__V1__DomainSync ds = OPENAPMI__V1__DOMAIN_SYNC__INIT;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC;
    m.domain_sync = &ds;
    exchange(g, &m);
    Openapmi__V1__SyncDone sd = OPENAPMI__V1__SYNC_DONE__INIT;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_SYNC_DONE;
    m.sync_done = &sd;
    exchange(g, &m);
}

void apm_create(struct gate *g, const char *domain) {
    Openapmi__V1__EntityMsg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__CreateDomain cd = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    cd.domain = (char *)(uintptr_t)domain;
    cd.partition = (char *)(uintptr_t) "a";
    cd.preferred_length = 30;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN;
    m.create_domain = &cd;
    exchange(g, &m);
}

void apm_disconnect(struct gate *g) {
    apmi_closed(g->session, "the bench is over");
    while (!atomic_load(&g->released)) {
        usleep(200);
    }
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double apm_sync_floor(const char *folder, double *p99_ms) {
    enum { MAX = 100000 };
    static double took[MAX];
    char *path = mem_printf("%s/floor", folder), block[256] = {0};
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600), n = 0;
    double start = apm_now_s();
    while (apm_now_s() - start < 1 && n < MAX) {
        double from = apm_now_s();
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
        took[n++] = (apm_now_s() - from) * 1e3;
    }
    double rate = n / (apm_now_s() - start);
    close(fd);
    unlink(path);
    mem_free(path);
    qsort(took, (size_t)n, sizeof *took, by_time);
    *p99_ms = took[n * 99 / 100];
    return rate;
}

size_t apm_resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long total, resident = 0;
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}
