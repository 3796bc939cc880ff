// SPDX-License-Identifier: Apache-2.0
/*
 * Alarms answered per second, each durable before its answer, with 1,000 entities in one process:
 * decoding, decision, records, sync, answer; without the network. Each entity keeps one alarm under
 * way: apportion, confirm, reclaim, confirm, drained, confirm, and again, so that the partition
 * stays as it is. Every confirmation is a durable transaction of its own and is not counted.
 *
 *   apm_alarms FOLDER [ENTITIES] [SECONDS]     default 1000, 8
 *
 * Measured twice: as fast as it goes (every entity always has an alarm under way, so the latency is
 * the queue's), and at 5,000 alarms/s (alarms come when they come; the latency is the service's).
 * No gateway raises so many by itself: alarm-rate is configured far above its default, or the first
 * part would measure the limit (64 entities raise hundreds a second each). Should one be refused by
 * it nevertheless, it waits and comes again as a gateway would, and the refusals are printed.
 *
 * Mark (spec/apm.md 8): 5,000 alarms/s on two cores, p99 below 20 ms. The floor: synced writes per
 * second of one thread on this disk in the same run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apm_world.h"
#include "base/logger.h"

typedef Openapmi__V1__EntityMsg entity_msg;

enum { STEPS = 3, RATE = 5000, ALARM_RATE = 10000 };

struct client {
    struct gate gate;
    unsigned step;
    uint64_t round;
    unsigned attempt;
    double asked;
    int64_t again_at; /* refused for its rate: not before */
    _Atomic bool idle;
    char alarm[48], pool[POOLS_NAME_MAX + 16];
};

static _Atomic uint64_t answered, limited;
static _Atomic bool paced;
static double *took;
static _Atomic size_t n_took;
static size_t cap_took;

static void ask(struct client *c) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Alarm a = OPENAPMI__V1__ALARM__INIT;
    char *names[] = {c->pool};
    snprintf(c->alarm, sizeof c->alarm, "%s.%" PRIu64 ".%u", c->gate.id, c->round, c->step);
    a.alarm_id = c->alarm;
    a.domain = (char *)(uintptr_t) "d";
    a.attempt = ++c->attempt;
    a.raised_at = clock_wall_s(&clock_real);
    if (c->step == 0) {
        a.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
        a.wanted_prefixes = 1;
        a.preferred_length = 28;
    } else {
        a.type = c->step == 1 ? OPENAPMI__V1__ALARM_TYPE__RECLAIM
                              : OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED;
        a.free_addresses = 1000;
        a.total_addresses = 1000;
        a.candidate_total = 14;
        a.candidate_pool = names;
        a.n_candidate_pool = 1;
    }
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ALARM;
    m.alarm = &a;
    c->asked = apm_now_s();
    apm_send(&c->gate, &m);
}

static void confirm(struct client *c) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__OrderResult r = OPENAPMI__V1__ORDER_RESULT__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    r.order_id = c->alarm;
    r.status = &st;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ORDER_RESULT;
    m.order_result = &r;
    apm_send(&c->gate, &m);
}

static void got(struct gate *g, const Openapmi__V1__ManagerMsg *m) {
    struct client *c = g->arg;
    if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_ACK) {
        c->step = (c->step + 1) % STEPS;
        c->round += c->step == 0;
        c->attempt = 0;
        if (paced) {
            c->idle = true;
        } else {
            ask(c);
        }
        return;
    }
    if (m->body_case != OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE) {
        return;
    }
    if (m->alarm_response->reason == OPENAPMI__V1__REASON__RATE_LIMITED) {
        limited++;
        c->again_at = m->alarm_response->retry_at;
        c->idle = true;
        return;
    }
    size_t i = atomic_fetch_add(&n_took, 1);
    if (i < cap_took) {
        took[i] = apm_now_s() - c->asked;
    }
    answered++;
    if (m->alarm_response->result != OPENAPMI__V1__ALARM_RESULT__ALARM_ACK) {
        fprintf(stderr, "%s: %s\n", g->id, m->alarm_response->text);
        exit(1);
    }
    if (c->step == 0) {
        snprintf(c->pool, sizeof c->pool, "%s", m->alarm_response->add[0]->name);
    }
    confirm(c);
}

/* An idle entity raises its next alarm, or again the one that came too fast. */
static bool ask_idle(struct client *c) {
    if (!c->idle || c->again_at > clock_wall_s(&clock_real)) {
        return false;
    }
    c->idle = false;
    ask(c);
    return true;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *how, unsigned n, double span) {
    uint64_t done = answered;
    size_t k = n_took < cap_took ? n_took : cap_took;
    double *sorted = mem_array(NULL, k + 1, sizeof *sorted);
    memcpy(sorted, took, k * sizeof *sorted);
    qsort(sorted, k, sizeof *sorted, by_time);
    printf("%u entities, in process, durable, %s: %.0f alarms/s; answer after %.2f ms p50, %.2f ms "
           "p99, %.2f ms most; %" PRIu64 " refused for their rate\n",
           n, how, (double)done / span, sorted[k / 2] * 1e3, sorted[k / 100 * 99] * 1e3,
           sorted[k - 1] * 1e3, (uint64_t)limited);
    mem_free(sorted);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    unsigned n = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 1000;
    double seconds = argc > 3 ? atof(argv[3]) : 8, floor_p99;
    logger_set_level(NULL, "error");
    double floor = apm_sync_floor(folder, &floor_p99);
    struct core *core = apm_open(folder);
    apm_configure(core, n, 8, ALARM_RATE);
    struct client *clients = mem_alloc(n * sizeof *clients);
    cap_took = 4000000;
    took = mem_alloc(cap_took * sizeof *took);
    for (unsigned i = 0; i < n; i++) {
        struct client *c = &clients[i];
        c->gate.arg = c;
        apm_connect(core, &c->gate, i);
        apm_create(&c->gate, "d");
        /* A pool that stays, so that the domain does. */
        Openapmi__V1__Alarm a = OPENAPMI__V1__ALARM__INIT;
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        a.alarm_id = (char *)(uintptr_t) "seed";
        a.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
        a.domain = (char *)(uintptr_t) "d";
        a.preferred_length = 28;
        m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ALARM;
        m.alarm = &a;
        c->gate.ready = false;
        apm_send(&c->gate, &m);
        while (!c->gate.ready) {
            usleep(50);
        }
        c->gate.answer = got;
        c->idle = true;
    }
    double start = apm_now_s();
    while (apm_now_s() - start < seconds) {
        for (unsigned i = 0; i < n; i++) { /* once each, and those that were refused */
            ask_idle(&clients[i]);
        }
        usleep(50000);
    }
    report("as fast as it goes", n, apm_now_s() - start);
    paced = true;
    for (unsigned i = 0; i < n; i++) {
        while (!clients[i].idle) {
            usleep(100);
        }
    }
    n_took = 0;
    answered = 0;
    start = apm_now_s();
    uint64_t sent = 0;
    for (unsigned i = 0; apm_now_s() - start < seconds;) {
        uint64_t due = (uint64_t)((apm_now_s() - start) * RATE);
        for (unsigned tries = 0; sent < due && tries < n; i = (i + 1) % n, tries++) {
            sent += ask_idle(&clients[i]);
        }
        usleep(200);
    }
    report("at 5,000 a second", n, apm_now_s() - start);
    for (unsigned i = 0; i < n; i++) {
        while (!clients[i].idle) {
            usleep(100);
        }
    }
    printf("floor: one thread writing and syncing 256 bytes: %.0f/s, p99 %.2f ms (each alarm here "
           "is two transactions, with its confirmation)\n",
           floor, floor_p99);
    printf("mark: 5,000 alarms/s, p99 < 20 ms\n");
    for (unsigned i = 0; i < n; i++) {
        apm_disconnect(&clients[i].gate);
    }
    core_close(core);
    mem_free(clients);
    mem_free(took);
    return 0;
}
