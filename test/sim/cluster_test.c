// SPDX-License-Identifier: Apache-2.0
/*
 * Several controllers on one store, as docs/cluster.md has it, in one process on a fake clock:
 * nodes are killed, paused and cut off, answers of the store are lost or late, clocks jump, while
 * gateways ask for addresses and people change the configuration. What everybody asked and was told
 * is held against what the store has in the end:
 *
 *   no address is given twice, ever; none that a gateway has is free to the node that leads
 *   what was acknowledged is there, where it was said to be; what was refused is not there; what
 *   was in doubt is there once or never
 *   a node that is not the leader appends nothing
 *   all nodes have the same memory, whether they led or followed
 *   when faults are over, changes are taken within ten seconds
 *
 *   SIM_SEED=n SIM_SEEDS=n cluster_test
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "bng.h"
#include "core/job.h"
#include "core/object.h"
#include "shared_log.h"

enum {
    NODES = 3,
    GATEWAYS = 3,
    DOMAINS = 4,
    STEP_MS = 100,
    SECONDS = 60,
    WRITES_MAX = 4096,
    FAILOVER_S = 10,
};
#define PROFILE "/weft-apm:apm/pool-domain-profile="

enum outcome { ASKED, ACKNOWLEDGED, REFUSED, IN_DOUBT };

struct write { /* a change that somebody asked for */
    struct change *ch;
    char name[16];
    enum outcome outcome;
    uint64_t index;
    unsigned node;
};

struct member {
    struct rig rig;
    char name[8];
    bool up;
    int64_t until_ns; /* of the fault that it has, by the cluster's time; 0: none */
    unsigned incarnation;
};

struct cluster {
    struct shared_store *store;
    struct sim_world w;
    struct member nodes[NODES];
    struct rng rng;
    struct clock clock; /* nobody's fault */
    int64_t now;        /* ns since the beginning */
    struct write writes[WRITES_MAX];
    size_t n_writes;
    unsigned leaders, faults[8]; /* changes of the leader; by kind */
};

static struct shared_node *engine_of(const struct cluster *cl, const struct member *n) {
    return n->up ? shared_node(cl->store, n->name) : NULL;
}

static enum core_role role(const struct member *n) {
    struct core_turn t;
    core_turn(n->rig.core, &t);
    return t.role;
}

/* ---- nodes begin and end --------------------------------------------------------------------- */

static void lose_gateways(struct cluster *cl, const struct member *n) {
    for (size_t i = 0; i < cl->w.n_bngs; i++) {
        if (sim_connected(cl->w.bngs[i]) == &n->rig) {
            sim_break(cl->w.bngs[i]);
        }
    }
}

/* kill -9: nothing that it does from here on reaches anybody. */
static void end_node(struct cluster *cl, struct member *n) {
    shared_cut(engine_of(cl, n), true);
    n->rig.halted = false;
    lose_gateways(cl, n);
    rig_node_end(&n->rig);
    n->up = false;
    if (cl->w.manager == &n->rig) {
        cl->w.manager = NULL;
    }
}

static void begin_node(struct member *n) {
    rig_node_begin(&n->rig);
    n->up = true;
    n->incarnation++;
}

/* A node that lost the lead starts over, as weftd does, once the store can be reached. */
static void start_over(struct cluster *cl, struct member *n) {
    struct core_turn t;
    core_turn(n->rig.core, &t);
    if (t.role == CORE_LOST) {
        lose_gateways(cl, n);
        if (t.reached) {
            end_node(cl, n);
            begin_node(n);
        }
    }
}

static void find_leader(struct cluster *cl) {
    struct rig *leader = NULL;
    for (unsigned i = 0; i < NODES; i++) {
        struct member *n = &cl->nodes[i];
        if (n->up && !n->rig.halted && role(n) == CORE_LEADS) {
            assert_null(leader); /* two that lead, by their own belief */
            leader = &n->rig;
        }
    }
    if (leader != NULL && leader != cl->w.manager) {
        for (size_t i = 0; i < cl->w.n_bngs; i++) {
            sim_break(cl->w.bngs[i]);
        }
        cl->w.manager = leader;
        cl->leaders++;
    } else if (leader == NULL) {
        cl->w.manager = NULL;
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

static void answered(struct change *ch, void *arg) {
    struct write *wr = arg;
    if (ch->err.code == ERR_OK) {
        wr->outcome = ACKNOWLEDGED;
        wr->index = ch->index;
    } else if (strstr(ch->err.text, "look whether") != NULL) {
        wr->outcome = IN_DOUBT;
    } else {
        wr->outcome = REFUSED;
    }
}

static void write_something(struct cluster *cl, struct member *n) {
    if (cl->n_writes == WRITES_MAX) {
        return;
    }
    struct write *wr = &cl->writes[cl->n_writes++];
    char path[96], body[200];
    wr->node = (unsigned)(n - cl->nodes);
    wr->ch = change_new(&actor_system);
    snprintf(wr->name, sizeof wr->name, "c-%zu", cl->n_writes);
    snprintf(path, sizeof path, PROFILE "%s", wr->name);
    snprintf(body, sizeof body,
             "{\"weft-apm:pool-domain-profile\":[{\"name\":\"%s\",\"apportion-threshold\":7,"
             "\"reclaim-threshold\":9000}]}",
             wr->name);
    change_add(wr->ch, EDIT_CREATE, path, body, strlen(body), FORMAT_JSON);
    core_change(n->rig.core, wr->ch, answered, wr);
    rig_step(&n->rig); /* one that is paused answers when it runs again */
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void heal(struct cluster *cl, struct member *n) {
    n->until_ns = 0;
    if (!n->up) {
        begin_node(n);
    }
    n->rig.halted = false;
    shared_cut(engine_of(cl, n), false);
    shared_next_append(engine_of(cl, n), SHARED_DONE);
}

static void fault(struct cluster *cl) {
    struct member *n = &cl->nodes[rng_below(&cl->rng, NODES)];
    if (rng_chance(&cl->rng, 60) && cl->w.manager != NULL) { /* where it hurts */
        n = CONTAINER_OF(cl->w.manager, struct member, rig);
    }
    if (!n->up || n->until_ns != 0) {
        return;
    }
    unsigned kind = (unsigned)rng_below(&cl->rng, 8);
    int64_t lasts = (int64_t)(200 + rng_below(&cl->rng, 9000)) * NS_PER_MS;
    cl->faults[kind]++;
    switch (kind) {
    case 0:
        end_node(cl, n);
        n->until_ns = cl->now + lasts;
        break;
    case 1:
        n->rig.halted = true;
        n->until_ns = cl->now + lasts;
        break;
    case 2:
        shared_cut(engine_of(cl, n), true);
        n->until_ns = cl->now + lasts;
        break;
    case 3:
        n->rig.clock.fake_wall += ((int64_t)rng_below(&cl->rng, 7200) - 3600) * NS_PER_S;
        break;
    default: /* 4..7: what becomes of the next append */
        shared_next_append(engine_of(cl, n), (enum shared_fate)(kind - 4 + SHARED_LOST));
        break;
    }
}

/* ---- a step of time -------------------------------------------------------------------------- */

static void gateways(struct cluster *cl) {
    for (size_t i = 0; i < cl->w.n_bngs && cl->w.manager != NULL; i++) {
        sim_tick(cl->w.bngs[i]);
        bool moved = true;
        for (int k = 0; k < 20 && moved; k++) {
            moved = sim_deliver_up(cl->w.bngs[i]);
            moved |= sim_deliver_down(cl->w.bngs[i]);
        }
    }
}

static void step(struct cluster *cl, bool quiet) {
    cl->now += STEP_MS * NS_PER_MS;
    clock_fake_advance(&cl->clock, STEP_MS * NS_PER_MS);
    shared_pass(cl->store, STEP_MS * NS_PER_MS);
    unsigned first = (unsigned)rng_below(&cl->rng, NODES);
    for (unsigned i = 0; i < NODES; i++) {
        struct member *n = &cl->nodes[(first + i) % NODES];
        if (n->until_ns != 0 && cl->now >= n->until_ns) {
            heal(cl, n);
        }
        if (n->up) {
            uint64_t some = rng_below(&cl->rng, 6);
            shared_deliver(engine_of(cl, n), quiet ? SIZE_MAX : some);
            uint64_t before = shared_head(cl->store);
            bool led = role(n) == CORE_LEADS;
            rig_pass(&n->rig, STEP_MS * NS_PER_MS);
            /* Nothing is appended but by who leads. */
            assert_true(shared_head(cl->store) == before || led || role(n) == CORE_LEADS);
            start_over(cl, n);
        } else {
            clock_fake_advance(&n->rig.clock, STEP_MS * NS_PER_MS);
        }
    }
    find_leader(cl);
    if (rng_chance(&cl->rng, 20)) {
        shared_arrive(cl->store);
    }
    gateways(cl);
    find_leader(cl);
}

static void busy(struct cluster *cl) {
    struct sim_bng *b = cl->w.bngs[rng_below(&cl->rng, GATEWAYS)];
    if (rng_chance(&cl->rng, 30)) {
        sim_subscribers(b->domains[rng_below(&cl->rng, DOMAINS)], rng_below(&cl->rng, 250));
    }
    if (rng_chance(&cl->rng, 25)) {
        struct member *n = &cl->nodes[rng_below(&cl->rng, NODES)];
        if (n->up) {
            write_something(cl, n);
        }
    }
    if (cl->w.manager != NULL && rng_chance(&cl->rng, 25)) {
        write_something(cl, CONTAINER_OF(cl->w.manager, struct member, rig));
    }
    if (rng_chance(&cl->rng, 6)) {
        fault(cl);
    }
}

/* ---- the checks ------------------------------------------------------------------------------ */

static size_t times_written(const struct cluster *cl, const char *name, uint64_t *index) {
    char path[96];
    size_t n = 0, len = (size_t)snprintf(path, sizeof path, PROFILE "%s", name);
    for (uint64_t i = 1; i <= shared_head(cl->store); i++) {
        const struct log_entry *en = shared_entry(cl->store, i);
        for (size_t k = 0; k < en->n_ops; k++) {
            const struct log_op *op = &en->ops[k];
            if (op->space == LOG_CONFIG && op->key_len == len && memcmp(op->key, path, len) == 0) {
                n++;
                *index = i;
            }
        }
    }
    return n;
}

static void check_history(const struct cluster *cl, unsigned seen[4]) {
    uint64_t fence = 0;
    for (uint64_t i = 1; i <= shared_head(cl->store); i++) {
        assert_true(shared_entry(cl->store, i)->fence >= fence);
        fence = shared_entry(cl->store, i)->fence;
    }
    for (size_t i = 0; i < cl->n_writes; i++) {
        const struct write *wr = &cl->writes[i];
        uint64_t at = 0;
        size_t n = times_written(cl, wr->name, &at);
        seen[wr->outcome]++;
        if (wr->outcome == ACKNOWLEDGED ? n != 1 || at != wr->index
            : wr->outcome == REFUSED    ? n != 0
                                        : n > 1) {
            fail_msg("%s: change %s, outcome %d, is there %zu times", sim_context, wr->name,
                     (int)wr->outcome, n);
        }
        assert_int_not_equal(wr->outcome, ASKED);
    }
}

/* Followers fold step by step what the leader did; one that begins anew folds all at once. */
static void check_memories(struct cluster *cl) {
    struct buf first = BUF_INIT;
    rig_dump(cl->w.manager, &first);
    for (unsigned i = 0; i < NODES; i++) {
        struct buf other = BUF_INIT;
        struct member *n = &cl->nodes[i];
        shared_deliver(engine_of(cl, n), SIZE_MAX);
        rig_step(&n->rig);
        assert_int_equal(core_head(n->rig.core), shared_head(cl->store));
        rig_dump(&n->rig, &other);
        assert_string_equal(buf_cstr(&first), buf_cstr(&other));
        buf_free(&other);
    }
    buf_free(&first);
}

static void open_cluster(struct cluster *cl, uint64_t seed) {
    memset(cl, 0, sizeof *cl);
    rng_seed(&cl->rng, seed);
    clock_fake_init(&cl->clock, INT64_C(1780000000) * NS_PER_S);
    cl->w.clock = &cl->clock;
    cl->store = shared_store_new("cluster");
    for (unsigned i = 0; i < NODES; i++) {
        struct member *n = &cl->nodes[i];
        snprintf(n->name, sizeof n->name, "%c", 'a' + (int)i);
        rig_open_node(&n->rig, "shared:cluster", n->name, INT64_C(1780000000));
        n->up = true;
    }
    find_leader(cl);
    assert_non_null(cl->w.manager);
    rig_profile(cl->w.manager, "p", 10, 300, ",\"auto-reclamation\":{}");
    rig_partition(cl->w.manager, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/18\"}");
    for (unsigned i = 0; i < GATEWAYS; i++) {
        char id[16];
        snprintf(id, sizeof id, "bng%u", i);
        rig_match(cl->w.manager, id, "p");
        struct sim_bng *b = sim_add(&cl->w, id);
        b->digest = i % 2 == 0;
        for (unsigned k = 0; k < DOMAINS; k++) {
            char name[16];
            snprintf(name, sizeof name, "pd-%u", k);
            sim_add_domain(b, name, "metro", 25 + k % 3);
        }
    }
}

static void close_cluster(struct cluster *cl) {
    sim_close(&cl->w);
    for (unsigned i = 0; i < NODES; i++) {
        rig_close(&cl->nodes[i].rig);
    }
    for (size_t i = 0; i < cl->n_writes; i++) {
        change_free(cl->writes[i].ch);
    }
    shared_store_free(cl->store);
}

/* All faults are over: somebody leads soon, takes changes, and everything agrees. */
static void quiet(struct cluster *cl) {
    for (unsigned i = 0; i < NODES; i++) {
        heal(cl, &cl->nodes[i]);
    }
    int64_t until = cl->now + FAILOVER_S * NS_PER_S;
    for (bool taken = false; !taken;) {
        step(cl, true);
        if (cl->w.manager != NULL) {
            write_something(cl, CONTAINER_OF(cl->w.manager, struct member, rig));
            taken = cl->writes[cl->n_writes - 1].outcome == ACKNOWLEDGED;
        }
        if (cl->now > until) {
            fail_msg("%s: no change is taken %d s after the last fault", sim_context, FAILOVER_S);
        }
    }
    for (int i = 0; i < 900; i++) {
        step(cl, true);
    }
    assert_non_null(cl->w.manager);
    sim_verify(&cl->w, true);
}

static void tell(uint64_t seed, unsigned seen[4], unsigned faults[8], unsigned *leaders) {
    static struct cluster cl;
    snprintf(sim_context, sizeof sim_context, "seed %" PRIu64, seed);
    open_cluster(&cl, seed);
    for (int i = 0; i < SECONDS * 1000 / STEP_MS; i++) {
        busy(&cl);
        step(&cl, false);
        if (cl.w.manager != NULL && i % 10 == 0) {
            sim_verify(&cl.w, false);
        }
    }
    quiet(&cl);
    check_history(&cl, seen);
    check_memories(&cl);
    *leaders += cl.leaders;
    for (int i = 0; i < 8; i++) {
        faults[i] += cl.faults[i];
    }
    assert_true(cl.w.given > 0);
    close_cluster(&cl);
}

static unsigned number(const char *name, unsigned otherwise) {
    const char *s = getenv(name);
    return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

/* proves: APM-117 */
static void nodes_that_fail(void **state) {
    unsigned seeds = number("SIM_SEEDS", 12), seen[4] = {0}, faults[8] = {0}, leaders = 0;
    uint64_t first = number("SIM_SEED", 20261127);
    for (unsigned i = 0; i < seeds; i++) {
        tell(first + i, seen, faults, &leaders);
    }
    print_message("%u seeds from %" PRIu64
                  ": %u changes of the leader, %u changes acknowledged, %u "
                  "refused, %u in doubt\n",
                  seeds, first, leaders, seen[ACKNOWLEDGED], seen[REFUSED], seen[IN_DOUBT]);
    if (seeds >= 10) { /* else it shows less than it says */
        for (int i = 0; i < 8; i++) {
            assert_true(faults[i] > 0);
        }
        assert_true(leaders > seeds && seen[ACKNOWLEDGED] > 0 && seen[REFUSED] > 0 &&
                    seen[IN_DOUBT] > 0);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void quiet_for(struct cluster *cl, int seconds) {
    for (int i = 0; i < seconds * 1000 / STEP_MS; i++) {
        step(cl, true);
    }
}

static size_t all_pools(const struct cluster *cl) {
    return cl->w.manager != NULL ? partition_get(cl->w.manager->pools, "metro", false)->n_pools : 0;
}

/* Pools are reclaimed by a job; the node that leads is killed after `steps` steps. True: before it
 * had ended. */
static bool reclaim_with_a_kill(unsigned steps) {
    static struct cluster cl;
    struct buf text = BUF_INIT;
    snprintf(sim_context, sizeof sim_context, "killed after %u steps", steps);
    open_cluster(&cl, steps);
    rig_profile(cl.w.manager, "p", 10, 100000, "");
    for (size_t i = 0; i < GATEWAYS * DOMAINS; i++) {
        sim_subscribers(cl.w.bngs[i / DOMAINS]->domains[i % DOMAINS], 150);
    }
    quiet_for(&cl, 30);
    for (size_t i = 0; i < GATEWAYS * DOMAINS; i++) {
        struct sim_domain *d = cl.w.bngs[i / DOMAINS]->domains[i % DOMAINS];
        sim_subscribers(d, 5);
        sim_stats(d);
    }
    quiet_for(&cl, 2);
    size_t before = all_pools(&cl);
    assert_int_equal(
        rig_call(cl.w.manager, &text, NULL, NULL, "reclaim-all", "partition", "metro", NULL),
        ERR_OK);
    for (unsigned i = 0; i < steps; i++) {
        step(&cl, true);
    }
    bool in_time = job_lives(cl.w.manager->core, 1);
    struct member *n = CONTAINER_OF(cl.w.manager, struct member, rig);
    end_node(&cl, n);
    n->until_ns = cl.now + 20 * NS_PER_S;
    for (int i = 0; cl.w.manager == NULL || job_lives(cl.w.manager->core, 1); i++) {
        assert_true(i < 6000);
        step(&cl, true);
    }
    quiet_for(&cl, 40);
    buf_clear(&text);
    rig_call(cl.w.manager, &text, NULL, NULL, "weft-job:show-job", "id", "1", NULL);
    char want[64];
    size_t after = all_pools(&cl);
    snprintf(want, sizeof want, "%zu of %zu reclaimed", before - after, before);
    if (before < 20 || after != GATEWAYS * DOMAINS || strstr(buf_cstr(&text), want) == NULL) {
        fail_msg("%s: %zu of %zu pools are left\n%s", sim_context, after, before, buf_cstr(&text));
    }
    sim_verify(&cl.w, true);
    check_memories(&cl);
    buf_free(&text);
    close_cluster(&cl);
    return in_time;
}

/* proves: APM-080 APM-117 */
static void a_job_goes_on_elsewhere(void **state) {
    unsigned in_time = 0;
    for (unsigned steps = 0; steps <= 60; steps += 4) {
        in_time += reclaim_with_a_kill(steps);
    }
    assert_true(in_time >= 5);
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int main(void) {
    if (getenv("SIM_LOG") == NULL) { /* levels are configuration, and there is none of it here */
        logger_set_sink(swallow, NULL);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes_that_fail),
                                       cmocka_unit_test(a_job_goes_on_elsewhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
