// SPDX-License-Identifier: Apache-2.0
/*
 * Marks 12 and 13 at the service: a million prefixes with a thousand entities.
 *
 *   apm_memory FOLDER [PREFIXES] [ENTITIES]    default 1000000, 1000
 *
 * Prints prefixes allocated per second (durable, through alarms of 64 clients, one prefix each; and
 * 64 prefixes an alarm while filling), resident memory with all of them in use, restart to serving,
 * and the same memory after the restart. Floor: the bytes of the pools themselves, and the sync.
 */
#include <inttypes.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apm_world.h"
#include "base/logger.h"

typedef Openapmi__V1__EntityMsg entity_msg;

enum {
    CLIENTS = 64,
    EACH = 2000,         /* prefixes that a client takes one by one */
    GIVEN_BACK_S = 45,   /* the daemon looks every 30 s */
    ALARM_RATE = 100000, /* configured, or the limit for one gateway would be measured */
};

struct filler {
    struct gate gate;
    unsigned wanted; /* in one alarm */
    uint64_t left, serial;
};

static _Atomic uint64_t given;
static _Atomic unsigned running;

static void ask(struct filler *f) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Alarm a = OPENAPMI__V1__ALARM__INIT;
    char id[48];
    snprintf(id, sizeof id, "%s.%" PRIu64, f->gate.id, ++f->serial);
    a.alarm_id = id;
    a.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    a.domain = (char *)(uintptr_t) "d";
    a.wanted_prefixes = f->left < f->wanted ? (uint32_t)f->left : f->wanted;
    a.preferred_length = 30;
    a.attempt = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ALARM;
    m.alarm = &a;
    apm_send(&f->gate, &m);
}

static void got(struct gate *g, const Openapmi__V1__ManagerMsg *m) {
    struct filler *f = g->arg;
    if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_ACK) {
        if (f->left > 0) {
            ask(f);
        } else {
            running--;
        }
        return;
    }
    if (m->body_case != OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE) {
        return;
    }
    const Openapmi__V1__AlarmResponse *r = m->alarm_response;
    if (r->n_add == 0) {
        fprintf(stderr, "%s: %s\n", g->id, r->text);
        exit(1);
    }
    given += r->n_add;
    f->left -= r->n_add;
    entity_msg cm = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__OrderResult or = OPENAPMI__V1__ORDER_RESULT__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    or.order_id = r->alarm_id;
    or.status = &st;
    cm.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ORDER_RESULT;
    cm.order_result = & or ;
    apm_send(g, &cm);
}

/* `n` fillers each take `each` prefixes, `wanted` in an alarm; seconds it took. */
static double fill(struct filler *f, unsigned n, uint64_t each, unsigned wanted) {
    running = n;
    double start = apm_now_s();
    for (unsigned i = 0; i < n; i++) {
        f[i].left = each;
        f[i].wanted = wanted;
        f[i].gate.answer = got;
        ask(&f[i]);
    }
    while (running > 0) {
        usleep(1000);
    }
    return apm_now_s() - start;
}

/* Where it is: what the program holds, what the allocator keeps though it is free, and SQLite. At
 * once, and when the writer was idle for long enough to give back what is free. */
static void census(const char *when) {
    struct mallinfo2 m = mallinfo2();
    printf("  %s: %.1f MB in use (%.1f MB of it SQLite's), %.1f MB free inside the allocator, "
           "resident %.1f MB",
           when, (double)(m.uordblks + m.hblkhd) / 1e6, (double)sqlite3_memory_used() / 1e6,
           (double)m.fordblks / 1e6, (double)apm_resident() / 1e6);
    fflush(stdout);
    sleep(GIVEN_BACK_S);
    printf(", %.1f MB %u s later\n", (double)apm_resident() / 1e6, GIVEN_BACK_S);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    uint64_t prefixes = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
    unsigned n = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 1000;
    double floor_p99;
    logger_set_level(NULL, "error");
    double floor = apm_sync_floor(folder, &floor_p99);
    struct core *core = apm_open(folder);
    size_t empty = apm_resident();
    apm_configure(core, n, 8, ALARM_RATE);
    struct filler *f = mem_alloc(n * sizeof *f);
    for (unsigned i = 0; i < n; i++) {
        f[i].gate.arg = &f[i];
        apm_connect(core, &f[i].gate, i);
        apm_create(&f[i].gate, "d");
    }
    unsigned clients = n < CLIENTS ? n : CLIENTS;
    double span = fill(f, clients, EACH, 1);
    printf("allocate, %u clients, one prefix an alarm, each durable: %.0f/s (floor: %.0f syncs/s "
           "of one thread)\n",
           clients, (double)EACH * clients / span, floor);
    uint64_t before = given, each = (prefixes - given) / n;
    span = fill(f, n, each, 64);
    printf("allocate, %u entities, 64 prefixes an alarm: %.0f prefixes/s\n", n,
           (double)(given - before) / span);
    struct pools *p = core_service_state(core, "pools");
    census("filled");
    printf("  %zu answers kept\n", p->n_answers);
    size_t full = apm_resident();
    printf("resident with %" PRIu64 " prefixes and %u entities connected: %.1f MB (%.1f MB before "
           "anything was configured; %.1f MB is the pools' own %zu bytes each)\n",
           (uint64_t)p->pool_count, n, (double)full / 1e6, (double)empty / 1e6,
           (double)p->pool_count * sizeof(struct pool) / 1e6, sizeof(struct pool));
    for (unsigned i = 0; i < n; i++) {
        apm_disconnect(&f[i].gate);
    }
    core_close(core);
    malloc_trim(0);
    double start = apm_now_s();
    core = apm_open(folder);
    double opened = apm_now_s() - start;
    p = core_service_state(core, "pools");
    /* Serving: the first entity has said Hello and got its answer. */
    start = apm_now_s();
    struct gate probe = {.arg = NULL};
    apm_connect_only(core, &probe, 0);
    printf("restart to serving: %.2f s (%.2f s to open, %.3f s to the first answer), %" PRIu64
           " prefixes; mark: below 5 s\n",
           opened + apm_now_s() - start, opened, apm_now_s() - start, (uint64_t)p->pool_count);
    census("after the restart");
    printf("resident after the restart: %.1f MB; marks: 1 GB must, 200 MB aim\n",
           (double)apm_resident() / 1e6);
    apm_disconnect(&probe);
    core_close(core);
    mem_free(f);
    return 0;
}
