// SPDX-License-Identifier: Apache-2.0
#include "pair.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

char pair_context[200];

struct pair_link {
    struct pair_gateway *g; /* NULL: the gateway has given it up */
    struct apmi_session *session;
    struct list up, down;
    bool ended;
};

struct message {
    struct list link;
    size_t n;
    uint8_t bytes[];
};

static void die(const struct pair_gateway *g, const char *what, const char *more) {
    fprintf(stderr, "pair: %s: %s %s (%s)\n", g ? g->settings.system_id : "-", what, more,
            pair_context);
    abort();
}

/* ---- messages -------------------------------------------------------------------------------- */

static void push(struct list *q, const void *p, size_t n) {
    struct message *m = mem_alloc(sizeof *m + n);
    m->n = n;
    memcpy(m->bytes, p, n);
    list_append(q, &m->link);
}

static struct message *pop(struct list *q) {
    struct message *m = CONTAINER_OF(q->next, struct message, link);
    list_remove(&m->link);
    return m;
}

static void clear(struct list *q) {
    while (!list_empty(q)) {
        mem_free(pop(q));
    }
}

static void tr_send(void *conn, const void *p, size_t n) {
    struct pair_link *l = conn;
    if (l->g != NULL) {
        push(&l->down, p, n);
    }
}

static void tr_end(void *conn, int code, const char *text) {
    ((struct pair_link *)conn)->ended = true;
}

static void tr_released(void *conn) {
    struct pair_link *l = conn;
    clear(&l->up);
    clear(&l->down);
    mem_free(l);
}

static const struct apmi_transport transport = {
    .send = tr_send, .end = tr_end, .released = tr_released};

/* ---- the agent's host ------------------------------------------------------------------------ */

static void host_send(void *arg, const uint8_t *p, size_t n) {
    struct pair_gateway *g = arg;
    if (!g->dying && g->link != NULL) {
        push(&g->link->up, p, n);
    }
}

static void host_end(void *arg, const char *why) {
    struct pair_gateway *g = arg;
    g->ending = true;
}

static void host_save(void *arg, const char *key, json_t *doc) {
    struct pair_gateway *g = arg;
    char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;
    mem_free(map_put(&g->pending, key, mem_strdup(text != NULL ? text : "")));
    free(text);
    json_decref(doc);
}

static bool host_commit(void *arg) {
    struct pair_gateway *g = arg;
    struct pair *p = g->pair;
    if (g->dying) {
        return false;
    }
    enum pair_failure f = PAIR_NONE;
    if (p->failure >= PAIR_COMMIT_LOST && p->commits == p->at) {
        f = p->failure;
    } else if (p->failure2 >= PAIR_COMMIT_LOST && p->commits == p->at2) {
        f = p->failure2;
    }
    p->commits++;
    p->hit |= f != PAIR_NONE;
    if (f == PAIR_COMMIT_FAILS) {
        return false; /* what was to be saved is offered again with the next commit */
    }
    if (f == PAIR_COMMIT_LOST) {
        g->dying = true;
        return false;
    }
    MAP_FOREACH (m, &g->pending) {
        if (((const char *)m->value)[0] == '\0') {
            mem_free(map_del(&g->disk, m->key));
            mem_free(m->value);
        } else {
            mem_free(map_put(&g->disk, m->key, m->value));
        }
    }
    map_free(&g->pending, NULL);
    g->dying = f == PAIR_COMMIT_LAST;
    return true;
}

static void host_changed(void *arg, bool urgent) {
    struct pair_gateway *g = arg;
    if (!g->changed) {
        g->changed = true;
        g->changed_s = rig_now(&g->pair->rig);
    }
}

/* ---- lives and deaths ------------------------------------------------------------------------ */

static void give_up_link(struct pair_gateway *g, const char *why) {
    struct pair_link *l = g->link;
    if (l == NULL) {
        return;
    }
    g->link = NULL;
    l->g = NULL;
    clear(&l->up);
    clear(&l->down);
    if (g->connect_at_s != INT64_MAX) {
        g->connect_at_s = rig_now(&g->pair->rig) + 1;
    }
    apmi_closed(l->session, why);
    rig_step(&g->pair->rig);
}

static void break_link(struct pair_gateway *g) {
    bool was = g->link != NULL;
    give_up_link(g, "broken by the test");
    if (was && g->e != NULL) {
        bng_engine_disconnected(g->e);
    }
}

/* From what is on its disk; a start that dies is started again, as init would. */
static void start_agent(struct pair_gateway *g) {
    static const struct bng_host fns = {.send = host_send,
                                        .end_session = host_end,
                                        .save = host_save,
                                        .commit = host_commit,
                                        .changed = host_changed};
    for (int tries = 0; tries < 4; tries++) {
        struct bng_host host = fns;
        struct err e = {.code = ERR_OK};
        host.arg = g;
        g->dying = g->ending = false;
        g->changed = true; /* an agent looks at its back ends when it starts */
        g->e = bng_engine_new(&g->pair->rig.clock, &g->settings, &host);
        /* meta first, as the store's key order has it */
        for (int pass = 0; pass < 2; pass++) {
            MAP_FOREACH (m, &g->disk) {
                if ((strcmp(m->key, "meta") == 0) == (pass == 0)) {
                    json_error_t je;
                    json_t *doc = json_loads(m->value, 0, &je);
                    if (doc == NULL || bng_engine_load(g->e, m->key, doc, &e) != ERR_OK) {
                        die(g, e.path, e.text);
                    }
                    json_decref(doc);
                }
            }
        }
        if (bng_engine_start(g->e, &e) == ERR_OK && !g->dying) {
            return;
        }
        bng_engine_free(g->e);
        g->e = NULL;
        map_free(&g->pending, mem_free);
    }
    die(g, "does not start", "");
}

static void crash_agent(struct pair_gateway *g) {
    bng_engine_free(g->e);
    g->e = NULL;
    map_free(&g->pending, mem_free);
    give_up_link(g, "the agent crashed");
    start_agent(g);
}

static void crash_manager(struct pair *p) {
    struct pair_link *links[PAIR_GATEWAYS];
    for (size_t i = 0; i < p->n; i++) {
        struct pair_gateway *g = &p->gateways[i];
        links[i] = g->link;
        if (g->link != NULL) {
            g->link->g = NULL;
            clear(&g->link->up);
            clear(&g->link->down);
            g->link = NULL;
            g->connect_at_s = rig_now(&p->rig) + 1;
            bng_engine_disconnected(g->e);
        }
    }
    rig_crash_begin(&p->rig);
    for (size_t i = 0; i < p->n; i++) {
        if (links[i] != NULL) {
            apmi_closed(links[i]->session, "the manager crashed");
        }
    }
    rig_step(&p->rig);
    rig_crash_end(&p->rig);
    /* An agent may have died while it heard of it. */
    for (size_t i = 0; i < p->n; i++) {
        if (p->gateways[i].dying) {
            crash_agent(&p->gateways[i]);
        }
    }
}

/* After each call into the engine. */
static void mourn(struct pair_gateway *g) {
    if (g->dying) {
        crash_agent(g);
    } else if (g->ending) {
        g->ending = false;
        break_link(g);
    }
}

/* ---- the data plane -------------------------------------------------------------------------- */

static struct pair_lane *lane_of(struct pair_gateway *g, uint32_t subnet_id) {
    for (size_t i = 0; i < g->n_lanes; i++) {
        if (g->lanes[i].subnet_id == subnet_id) {
            return &g->lanes[i];
        }
    }
    return NULL;
}

static void sweep_lanes(struct pair_gateway *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_lanes; i++) {
        if (g->lanes[i].route || g->lanes[i].dhcp) {
            g->lanes[n++] = g->lanes[i];
        }
    }
    g->n_lanes = n;
}

static struct pair_lane *lane_make(struct pair_gateway *g, const struct bng_pool *po) {
    struct pair_lane *l = lane_of(g, po->subnet_id);
    if (l != NULL) {
        return l;
    }
    if (g->n_lanes == PAIR_LANES) {
        die(g, "too many pools", "");
    }
    char key[16], text[IP_TEXT_MAX];
    snprintf(key, sizeof key, "%" PRIu32, po->subnet_id);
    const char *before = map_get(&g->subnet_ids, key);
    ip_prefix_format(&po->prefix, text);
    if (before != NULL && strcmp(before, text) != 0) {
        die(g, "a subnet id came twice:", key);
    }
    if (before == NULL) {
        map_put(&g->subnet_ids, key, mem_strdup(text));
    }
    l = &g->lanes[g->n_lanes++];
    *l = (struct pair_lane){.prefix = po->prefix, .subnet_id = po->subnet_id, .total = po->total};
    return l;
}

static void each_pool(struct pair_gateway *g,
                      void (*fn)(struct pair_gateway *g, const struct bng_pool *po)) {
    for (size_t i = 0; i < bng_engine_domains(g->e); i++) {
        const struct bng_domain *d = bng_engine_domain(g->e, i);
        for (size_t k = 0; k < d->n_pools; k++) {
            fn(g, d->pools[k]);
        }
    }
}

static void want_route(struct pair_gateway *g, const struct bng_pool *po) {
    if (bng_pool_wants_route(po)) {
        lane_make(g, po)->route = true;
    }
}

/* Routes as the engine wants them now. */
static void do_routes(struct pair_gateway *g) {
    for (size_t i = 0; i < g->n_lanes; i++) {
        const struct bng_pool *po = bng_engine_subnet(g->e, g->lanes[i].subnet_id);
        if (po == NULL || !bng_pool_wants_route(po)) {
            g->lanes[i].route = false;
        }
    }
    each_pool(g, want_route);
    sweep_lanes(g);
}

static void want_dhcp(struct pair_gateway *g, const struct bng_pool *po) {
    if (bng_pool_wants_dhcp(po) && !(g->own.len > 0 && ip_prefix_overlaps(&g->own, &po->prefix))) {
        struct pair_lane *l = lane_make(g, po);
        l->dhcp = true;
        l->drain = bng_pool_wants_drain(po);
    }
}

static void do_dhcp(struct pair_gateway *g) {
    for (size_t i = 0; i < g->n_lanes; i++) {
        struct pair_lane *l = &g->lanes[i];
        const struct bng_pool *po = bng_engine_subnet(g->e, l->subnet_id);
        if (po == NULL || !bng_pool_wants_dhcp(po)) {
            if (l->dhcp && l->used > 0) {
                die(g, "a pool with subscribers was removed", "");
            }
            l->dhcp = false;
        }
    }
    each_pool(g, want_dhcp);
    sweep_lanes(g);
}

/* The DHCP server says about which pools it can't have; one at a time: the engine changes. */
static void tell_refused(struct pair_gateway *g) {
    for (size_t i = 0; g->own.len > 0 && i < bng_engine_domains(g->e); i++) {
        const struct bng_domain *d = bng_engine_domain(g->e, i);
        for (size_t k = 0; k < d->n_pools; k++) {
            const struct bng_pool *po = d->pools[k];
            if (po->phase == BNG_ADD_DHCP && ip_prefix_overlaps(&g->own, &po->prefix)) {
                g->refused++;
                bng_engine_pool_refused(g->e, po->subnet_id, "a subnet of somebody else's");
                return;
            }
        }
    }
}

/* Subscribers fill what may be used; those of a draining pool move when there is room. */
static void spread(struct pair_gateway *g) {
    uint64_t left = g->subscribers;
    for (int draining = 0; draining < 2; draining++) {
        for (size_t i = 0; i < g->n_lanes; i++) {
            struct pair_lane *l = &g->lanes[i];
            if (!l->dhcp || l->drain != (draining != 0)) {
                continue;
            }
            uint64_t most =
                draining ? (l->used < left ? l->used : left) : (l->total < left ? l->total : left);
            l->used = most;
            left -= most;
        }
    }
}

static void count(struct pair_gateway *g) {
    spread(g);
    for (size_t i = 0; i < g->n_lanes; i++) {
        if (g->lanes[i].dhcp) {
            bng_engine_count(g->e, g->lanes[i].subnet_id, g->lanes[i].used, 0);
        }
    }
    bng_engine_counted(g->e);
}

/* ---- verification ---------------------------------------------------------------------------- */

static void verify_lane(struct pair *p, struct pair_gateway *g, const struct pair_lane *l) {
    char text[IP_TEXT_MAX];
    ip_prefix_format(&l->prefix, text);
    if (l->dhcp && !l->route) {
        die(g, "addresses are given out that are not announced:", text);
    }
    if (!l->dhcp) {
        return;
    }
    for (size_t i = 0; i < p->n && !p->released; i++) {
        const struct pair_gateway *o = &p->gateways[i];
        for (size_t k = 0; k < o->n_lanes; k++) {
            if (&o->lanes[k] != l && o->lanes[k].dhcp &&
                ip_prefix_overlaps(&o->lanes[k].prefix, &l->prefix)) {
                die(g, "ADDRESSES IN USE TWICE:", text);
            }
        }
    }
    struct prefix_info info;
    const struct partition *pt = partition_get(p->rig.pools, g->profile.partition, false);
    if (!p->released &&
        (pt == NULL || prefix_tree_lookup(pt->tree, &l->prefix, &info) != PREFIX_ALLOCATED ||
         !ip_prefix_eq(&info.prefix, &l->prefix))) {
        die(g, "the manager thinks that a prefix in use is free:", text);
    }
    const struct domain *d = p->released ? NULL : pools_owner_domain(p->rig.pools, info.owner);
    if (!p->released && (d == NULL || strcmp(d->entity->system_id, g->settings.system_id) != 0)) {
        die(g, "the manager thinks that a prefix is somebody else's:", text);
    }
}

const struct bng_domain *pair_domain(const struct pair_gateway *g) {
    return bng_engine_domain(g->e, 0);
}

static void verify_agreed(struct pair *p, struct pair_gateway *g) {
    struct entity *en = pools_entity(p->rig.pools, g->settings.system_id);
    if (en == NULL || en->session == NULL || !apmi_in_step(en->session) ||
        bng_engine_session(g->e) != BNG_READY) {
        die(g, "is not in step", "");
    }
    const struct bng_domain *d = pair_domain(g);
    struct domain *md = entity_domain(en, d->name);
    if ((md != NULL ? md->n_pools : 0) != d->n_pools || g->n_lanes != d->n_pools) {
        die(g, "manager, agent and data plane have different pools", "");
    }
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct bng_pool *po = d->pools[i];
        struct pool *mp = domain_pool_named(md, po->name);
        const struct pair_lane *l = lane_of(g, po->subnet_id);
        struct ip_prefix px;
        if (mp == NULL || (px = pool_prefix(mp), !ip_prefix_eq(&px, &po->prefix))) {
            die(g, "the manager does not know pool", po->name);
        }
        bool draining = po->phase == BNG_DRAINING || po->phase == BNG_DRAINED;
        if ((po->phase != BNG_ACTIVE && !draining) || l == NULL || !l->dhcp ||
            l->drain != draining ||
            mp->state != (draining ? (mp->state == POOL_DRAINED ? POOL_DRAINED : POOL_DRAIN_SET)
                                   : POOL_ACTIVE)) {
            die(g, "they disagree about the state of pool", po->name);
        }
    }
    const struct profile *pr = pools_profile_of(p->rig.pools, en);
    if (d->n_pools > 0 && d->refused[0] == '\0' &&
        (pr == NULL || d->apportion != pr->apportion || d->reclaim != pr->reclaim)) {
        die(g, "has other thresholds than the manager wants", "");
    }
}

void pair_verify(struct pair *p, bool agreed) {
    rig_verify(&p->rig);
    for (size_t i = 0; i < p->n; i++) {
        struct pair_gateway *g = &p->gateways[i];
        for (size_t k = 0; k < g->n_lanes; k++) {
            verify_lane(p, g, &g->lanes[k]);
        }
        if (agreed && g->connect_at_s != INT64_MAX) {
            verify_agreed(p, g);
        }
        for (size_t k = 0; k < bng_engine_domains(g->e); k++) {
            const struct bng_domain *d = bng_engine_domain(g->e, k);
            for (size_t m = 0; m < d->n_pools; m++) {
                p->phases |= 1u << d->pools[m]->phase;
            }
        }
    }
    const struct pools *ps = p->rig.pools;
    for (uint32_t i = 0; i < ps->n_domains; i++) {
        for (uint32_t k = 0; ps->domains[i] != NULL && k < ps->domains[i]->n_pools; k++) {
            p->pool_states |= 1u << ps->domains[i]->pools[k].state;
        }
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

struct pair_moment {
    int64_t ns;
    uint64_t head, commits;
    const struct pair_gateway *g; /* whose step it was */
    struct {
        const struct message *up, *down; /* the newest */
        const struct pair_link *link;
        const struct bng_engine *e;
        uint64_t generation;
        bool changed;
    } gateways[PAIR_GATEWAYS];
};

static struct pair_moment moment(const struct pair *p, const struct pair_gateway *g) {
    struct pair_moment m;
    memset(&m, 0, sizeof m); /* it is compared byte by byte */
    m.ns = clock_wall(&p->rig.clock);
    m.head = core_head(p->rig.core);
    m.commits = p->commits;
    m.g = g;
    for (size_t i = 0; i < p->n; i++) {
        const struct pair_gateway *o = &p->gateways[i];
        m.gateways[i].link = o->link;
        if (o->link != NULL) {
            m.gateways[i].up = CONTAINER_OF(o->link->up.prev, struct message, link);
            m.gateways[i].down = CONTAINER_OF(o->link->down.prev, struct message, link);
        }
        m.gateways[i].e = o->e;
        m.gateways[i].generation = bng_engine_generation(o->e);
        m.gateways[i].changed = o->changed;
    }
    return m;
}

static void step_begins(struct pair *p, struct pair_gateway *g) {
    if (p->last == NULL || p->step >= PAIR_STEPS_MAX) {
        return;
    }
    struct pair_moment m = moment(p, p->last->g);
    if (memcmp(&m, p->last, sizeof m) == 0) {
        p->next[p->step] = g == p->last->g ? PAIR_NEXT | PAIR_NEXT_SAME : PAIR_NEXT;
    }
}

static void step_ended(struct pair *p, struct pair_gateway *g) {
    if (p->last == NULL) {
        p->last = MEM_NEW(struct pair_moment);
    }
    *p->last = moment(p, g);
}

bool pair_same_as_before(const struct pair *p, enum pair_failure f, uint64_t step) {
    if (step >= PAIR_STEPS_MAX) {
        return false;
    }
    return (f == PAIR_MANAGER_BEFORE && (p->next[step] & PAIR_NEXT) != 0) ||
           ((f == PAIR_BREAK_BEFORE || f == PAIR_AGENT_BEFORE) &&
            (p->next[step] & PAIR_NEXT_SAME) != 0);
}

static enum pair_failure due(struct pair *p, struct pair_gateway *g) {
    enum pair_failure f = PAIR_NONE;
    step_begins(p, g);
    if (p->failure < PAIR_STEP_FAILURES && p->failure != PAIR_NONE && p->step == p->at) {
        f = p->failure;
    } else if (p->failure2 < PAIR_STEP_FAILURES && p->failure2 != PAIR_NONE && p->step == p->at2) {
        f = p->failure2;
    }
    p->step++;
    p->hit |= f != PAIR_NONE;
    return f;
}

static bool fails_before(struct pair *p, struct pair_gateway *g, enum pair_failure f) {
    if (f == PAIR_BREAK_BEFORE) {
        break_link(g);
    } else if (f == PAIR_AGENT_BEFORE) {
        crash_agent(g);
    } else if (f == PAIR_MANAGER_BEFORE) {
        crash_manager(p);
    } else {
        return false;
    }
    mourn(g);
    pair_verify(p, false);
    return true;
}

static void fails_after(struct pair *p, struct pair_gateway *g, enum pair_failure f) {
    mourn(g);
    if (f == PAIR_BREAK_AFTER) {
        break_link(g);
    } else if (f == PAIR_AGENT_AFTER) {
        crash_agent(g);
    } else if (f == PAIR_MANAGER_AFTER) {
        crash_manager(p);
    }
    mourn(g);
    pair_verify(p, false);
    step_ended(p, g);
}

static void file_size_limit(rlim_t most) {
    struct rlimit rl;
    getrlimit(RLIMIT_FSIZE, &rl);
    rl.rlim_cur = most;
    setrlimit(RLIMIT_FSIZE, &rl);
}

static bool step_up(struct pair *p, struct pair_gateway *g) {
    if (g->link == NULL || list_empty(&g->link->up)) {
        return false;
    }
    enum pair_failure f = due(p, g);
    if (fails_before(p, g, f)) {
        return true;
    }
    struct message *m = pop(&g->link->up);
    if (f == PAIR_MANAGER_DISK) {
        signal(SIGXFSZ, SIG_IGN);
        file_size_limit(0);
    }
    apmi_receive(g->link->session, m->bytes, m->n, rig_now(&p->rig));
    rig_step(&p->rig);
    mem_free(m);
    if (f == PAIR_MANAGER_DISK) {
        file_size_limit(RLIM_INFINITY);
        struct core_stats st;
        core_stats(p->rig.core, &st);
        if (!st.writable) { /* it asks to be started anew */
            crash_manager(p);
        }
    }
    fails_after(p, g, f);
    return true;
}

static bool step_down(struct pair *p, struct pair_gateway *g) {
    if (g->link == NULL || list_empty(&g->link->down)) {
        return false;
    }
    enum pair_failure f = due(p, g);
    if (fails_before(p, g, f)) {
        return true;
    }
    struct message *m = pop(&g->link->down);
    bng_engine_message(g->e, m->bytes, m->n);
    mem_free(m);
    fails_after(p, g, f);
    return true;
}

/* Both back ends look at the engine's pools when it says that they have changed; what they did they
 * did, whether the agent lives to hear of it or not. */
static bool step_apply(struct pair *p, struct pair_gateway *g, bool routes) {
    enum pair_failure f = due(p, g);
    if (fails_before(p, g, f)) {
        g->changed = true; /* they look again */
        return true;
    }
    uint64_t gen = bng_engine_generation(g->e);
    if (routes) {
        do_routes(g);
    } else {
        do_dhcp(g);
    }
    if (f == PAIR_APPLIED_UNTOLD) {
        crash_agent(g);
    } else if (routes) {
        bng_engine_routes_applied(g->e, gen);
    } else {
        tell_refused(g);
        if (!g->dying) {
            bng_engine_dhcp_applied(g->e, g->profile.family, gen);
        }
    }
    fails_after(p, g, f);
    return true;
}

static void connect_if_due(struct pair_gateway *g) {
    struct pair *p = g->pair;
    if (g->link != NULL && g->link->ended && list_empty(&g->link->down)) {
        break_link(g);
        mourn(g);
    }
    if (g->link != NULL || rig_now(&p->rig) < g->connect_at_s) {
        return;
    }
    struct apmi_peer peer = {.source = "pair", .address = "192.0.2.1"};
    struct pair_link *l = MEM_NEW(struct pair_link);
    list_init(&l->up);
    list_init(&l->down);
    l->g = g;
    l->session = apmi_open(p->rig.core, &transport, l, &peer);
    g->link = l;
    bng_engine_connected(g->e);
    mourn(g);
}

/* Everything that can happen now, once in each direction. */
static bool turn(struct pair *p) {
    bool moved = false;
    for (size_t i = 0; i < p->n; i++) {
        struct pair_gateway *g = &p->gateways[i];
        moved |= step_up(p, g);
        moved |= step_down(p, g);
        if (g->changed && rig_now(&p->rig) >= g->changed_s + g->slow_s) {
            g->changed = false;
            step_apply(p, g, true);
            step_apply(p, g, false);
            moved = true;
        }
        count(g);
        bng_engine_tick(g->e);
        mourn(g);
    }
    return moved;
}

static void second(struct pair *p) {
    for (size_t i = 0; i < p->n; i++) {
        connect_if_due(&p->gateways[i]);
    }
    for (int n = 0; turn(p); n++) {
        if (n > 100000) {
            die(NULL, "it goes round and round", "");
        }
    }
}

void pair_pass(struct pair *p, int seconds) {
    for (int s = 0; s < seconds; s++) {
        second(p);
        rig_pass(&p->rig, NS_PER_S);
    }
}

void pair_settle(struct pair *p) {
    int quiet = 0;
    for (int s = 0; s < 900 && quiet < 4; s++) {
        uint64_t before = p->step;
        bool up = true;
        second(p);
        for (size_t i = 0; i < p->n; i++) {
            const struct pair_gateway *g = &p->gateways[i];
            up &= g->connect_at_s == INT64_MAX || bng_engine_session(g->e) == BNG_READY;
        }
        quiet = p->step == before && up ? quiet + 1 : 0;
        rig_pass(&p->rig, NS_PER_S);
    }
    if (quiet < 4) {
        die(NULL, "it does not come to rest", "");
    }
}

/* ---- the world ------------------------------------------------------------------------------- */

void pair_off(struct pair_gateway *g) {
    g->connect_at_s = INT64_MAX;
    break_link(g);
    mourn(g);
}

void pair_on(struct pair_gateway *g) {
    g->connect_at_s = 0;
}

void pair_open(struct pair *p, int64_t wall_s) {
    rig_open(&p->rig, wall_s);
}

struct pair_gateway *pair_add(struct pair *p, const char *system_id, const char *partition,
                              unsigned length) {
    struct pair_gateway *g = &p->gateways[p->n++];
    g->pair = p;
    snprintf(g->profile.name, sizeof g->profile.name, "home");
    snprintf(g->profile.routing_instance, sizeof g->profile.routing_instance, "default");
    snprintf(g->profile.partition, sizeof g->profile.partition, "%s", partition);
    snprintf(g->profile.interface, sizeof g->profile.interface, "subs0");
    g->profile.family = p->kind == PAIR_IPV4 ? 4 : 6;
    g->profile.delegated_length = p->kind == PAIR_PREFIXES6 ? PAIR_DELEGATED : 0;
    g->profile.preferred_length = length;
    g->profile.gateway_octet = p->kind == PAIR_IPV4 ? 1 : 0;
    g->profile.lease_s = 60;
    snprintf(g->settings.system_id, sizeof g->settings.system_id, "%s", system_id);
    g->settings.max_pools = 32;
    g->settings.routes = true;
    g->settings.first_subnet_id = 1;
    g->settings.profiles = &g->profile;
    g->settings.n_profiles = 1;
    start_agent(g);
    return g;
}

void pair_close(struct pair *p) {
    for (size_t i = 0; i < p->n; i++) {
        struct pair_gateway *g = &p->gateways[i];
        give_up_link(g, "the end");
        bng_engine_free(g->e);
        map_free(&g->disk, mem_free);
        map_free(&g->pending, mem_free);
        map_free(&g->subnet_ids, mem_free);
    }
    mem_free(p->last);
    p->last = NULL;
    rig_close(&p->rig);
}
