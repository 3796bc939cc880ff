// SPDX-License-Identifier: Apache-2.0
#include "bng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__ManagerMsg manager_msg;

struct sim_conn {
    struct sim_bng *bng; /* NULL: broken */
    struct apmi_session *session;
    struct list up, down;
    bool ended;
    struct rig *rig; /* whose */
};

char sim_context[160];

static void die(const struct sim_bng *b, const char *what, const char *more) {
    fprintf(stderr, "sim: %s: %s %s (%s)\n", b ? b->id : "-", what, more, sim_context);
    abort();
}

static int64_t now_of(const struct sim_bng *b) {
    return clock_wall_s(b->world->clock != NULL ? b->world->clock : &b->world->manager->clock);
}

static void queue_clear(struct list *l) {
    LIST_FOREACH_SAFE (pos, l) {
        list_remove(pos);
        mem_free(CONTAINER_OF(pos, struct sim_msg, link));
    }
}

/* ---- transport ---- */

static void on_send(void *arg, const void *p, size_t n) {
    struct sim_conn *c = arg;
    if (c->bng != NULL) {
        struct sim_msg *m = mem_alloc(sizeof *m + n);
        m->n = n;
        memcpy(m->bytes, p, n);
        list_append(&c->down, &m->link);
    }
}

static void on_end(void *arg, int code, const char *text) {
    struct sim_conn *c = arg;
    c->ended = true;
}

static void on_released(void *arg) {
    struct sim_conn *c = arg;
    queue_clear(&c->up);
    queue_clear(&c->down);
    mem_free(c);
}

static const struct apmi_transport transport = {
    .send = on_send, .end = on_end, .released = on_released};

static void emit(struct sim_bng *b, entity_msg *m) {
    if (b->conn == NULL) {
        return;
    }
    m->msg_id = ++b->msg_id;
    size_t n = openapmi__v1__entity_msg__get_packed_size(m);
    struct sim_msg *q = mem_alloc(sizeof *q + n);
    q->n = n;
    openapmi__v1__entity_msg__pack(m, q->bytes);
    list_append(&b->conn->up, &q->link);
}

#define EMIT(b, KIND, field, ptr)                                                                  \
    do {                                                                                           \
        entity_msg m_ = OPENAPMI__V1__ENTITY_MSG__INIT;                                            \
        m_.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_##KIND;                                      \
        m_.field = (ptr);                                                                          \
        emit((b), &m_);                                                                            \
    } while (0)

/* ---- domains and pools ---- */

struct sim_domain *sim_domain(struct sim_bng *b, const char *name) {
    for (size_t i = 0; i < b->n_domains; i++) {
        if (strcmp(b->domains[i]->name, name) == 0) {
            return b->domains[i];
        }
    }
    return NULL;
}

struct sim_domain *sim_add_domain(struct sim_bng *b, const char *name, const char *partition,
                                  unsigned preferred) {
    struct sim_domain *d = MEM_NEW(struct sim_domain);
    d->bng = b;
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->partition, sizeof d->partition, "%s", partition);
    d->preferred = preferred;
    d->family = 4;
    if (b->n_domains == b->cap_domains) {
        b->cap_domains = b->cap_domains ? b->cap_domains * 2 : 4;
        b->domains = mem_array(b->domains, b->cap_domains, sizeof(struct sim_domain *));
    }
    b->domains[b->n_domains++] = d;
    return d;
}

struct sim_domain *sim_add_domain6(struct sim_bng *b, const char *name, const char *partition,
                                   unsigned preferred, unsigned delegated) {
    struct sim_domain *d = sim_add_domain(b, name, partition, preferred);
    d->family = 6;
    d->delegated = delegated;
    b->version = 2;
    return d;
}

static Openapmi__V1__AddressFamily wire_family(const struct sim_domain *d) {
    return d->family == 6 ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
}

static struct sim_pool *find_pool(struct sim_domain *d, const char *name) {
    for (size_t i = 0; i < d->n_pools; i++) {
        if (strcmp(d->pools[i]->name, name) == 0) {
            return d->pools[i];
        }
    }
    return NULL;
}

uint64_t sim_used(const struct sim_domain *d) {
    uint64_t used = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        used += d->pools[i]->used;
    }
    return used;
}

uint64_t sim_free(const struct sim_domain *d) {
    uint64_t free = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        if (!d->pools[i]->draining) {
            free += d->pools[i]->total - d->pools[i]->used;
        }
    }
    return free;
}

/* Subscribers settle in the pools that may be used, first come first served; those of a draining
 * pool move as soon as there is room. */
static void spread(struct sim_domain *d) {
    uint64_t left = d->want_used;
    for (size_t i = 0; i < d->n_pools; i++) {
        struct sim_pool *p = d->pools[i];
        p->used = 0;
        if (!p->draining) {
            p->used = left < p->total ? left : p->total;
            left -= p->used;
        }
    }
    for (size_t i = 0; i < d->n_pools && left > 0; i++) {
        struct sim_pool *p = d->pools[i];
        if (p->draining) {
            p->used = left < p->total ? left : p->total;
            left -= p->used;
        }
    }
}

void sim_subscribers(struct sim_domain *d, uint64_t n) {
    d->want_used = n;
    spread(d);
}

static const char *held_key(const struct ip_prefix *px, char text[IP_TEXT_MAX]) {
    return ip_prefix_format(px, text);
}

/* The one thing that must never happen, looked at the moment it would. */
static void hold(struct sim_bng *b, const struct ip_prefix *px) {
    char text[IP_TEXT_MAX];
    for (unsigned len = 1; len <= px->len; len++) {
        struct ip_prefix up = ip_prefix_of(&px->addr, len);
        if (map_get(&b->world->held, held_key(&up, text)) != NULL) {
            die(b, "ADDRESS GIVEN TWICE:", text);
        }
    }
    map_put(&b->world->held, held_key(px, text), b);
    b->world->given++;
}

static void let_go(struct sim_bng *b, const struct ip_prefix *px) {
    char text[IP_TEXT_MAX];
    map_del(&b->world->held, held_key(px, text));
    b->world->removed++;
}

static void add_pool(struct sim_domain *d, const Openapmi__V1__Pool *m) {
    struct ip_prefix px = {.addr.family = (uint8_t)d->family, .len = (uint8_t)m->prefix->length};
    if (m->prefix->af != wire_family(d) || m->prefix->address.len != ip_bits(d->family) / 8) {
        die(d->bng, "a prefix of another family:", m->name);
    }
    memcpy(px.addr.bytes, m->prefix->address.data, m->prefix->address.len);
    struct sim_pool *p = find_pool(d, m->name);
    if (p != NULL) {
        if (!ip_prefix_eq(&p->prefix, &px)) {
            die(d->bng, "a name was given to two prefixes:", m->name);
        }
        return; /* the same answer once more */
    }
    hold(d->bng, &px);
    p = MEM_NEW(struct sim_pool);
    snprintf(p->name, sizeof p->name, "%s", m->name);
    p->prefix = px;
    p->total = m->total;
    if (d->n_pools == d->cap_pools) {
        d->cap_pools = d->cap_pools ? d->cap_pools * 2 : 4;
        d->pools = mem_array(d->pools, d->cap_pools, sizeof(struct sim_pool *));
    }
    d->pools[d->n_pools++] = p;
    spread(d);
}

static void remove_pool(struct sim_domain *d, const char *name) {
    for (size_t i = 0; i < d->n_pools; i++) {
        struct sim_pool *p = d->pools[i];
        if (strcmp(p->name, name) == 0) {
            let_go(d->bng, &p->prefix);
            mem_free(p);
            d->n_pools--;
            memmove(&d->pools[i], &d->pools[i + 1], (d->n_pools - i) * sizeof(struct sim_pool *));
            spread(d);
            if (d->n_pools == 0) {
                d->known = false; /* the domain is gone with its last pool (APM-037) */
            }
            return;
        }
    }
}

/* ---- session ---- */

static void forget_session(struct sim_bng *b) {
    b->phase = SIM_DOWN;
    for (size_t i = 0; i < b->n_domains; i++) {
        struct sim_domain *d = b->domains[i];
        d->known = d->creating = d->synced = false;
        for (int k = 0; k < SIM_ALARMS; k++) {
            if (d->alarm[k].retry_at == INT64_MAX) {
                d->alarm[k].retry_at = 1; /* the same attempt again: was it answered? (P-05) */
            }
        }
        for (size_t k = 0; k < d->n_pools; k++) {
            if (d->pools[k]->retry_at == INT64_MAX) {
                d->pools[k]->retry_at = 1;
            }
        }
    }
}

const struct rig *sim_connected(const struct sim_bng *b) {
    return b->conn != NULL ? b->conn->rig : NULL;
}

void sim_break(struct sim_bng *b) {
    struct sim_conn *c = b->conn;
    if (c == NULL) {
        return;
    }
    struct rig *rig = c->rig;
    b->conn = NULL;
    c->bng = NULL;
    queue_clear(&c->up);
    queue_clear(&c->down);
    apmi_closed(c->session, "broken by the test");
    rig_step(rig);
    forget_session(b);
    b->connect_at_s = now_of(b) + 1;
}

void sim_crash_bng(struct sim_bng *b) {
    sim_break(b);
    for (size_t i = 0; i < b->n_domains; i++) {
        struct sim_domain *d = b->domains[i];
        memset(d->alarm, 0, sizeof d->alarm); /* alarms are raised anew, with new ids */
        for (size_t k = 0; k < d->n_pools; k++) {
            d->pools[k]->retry_at = 0;
        }
    }
    b->boot_epoch++;
}

void sim_crash_manager(struct sim_world *w) {
    /* The connections break with the process: no session gets a chance to say goodbye, so the
     * service is told only after the store was copied. */
    struct sim_conn **conns = mem_alloc((w->n_bngs + 1) * sizeof *conns);
    for (size_t i = 0; i < w->n_bngs; i++) {
        struct sim_bng *b = w->bngs[i];
        conns[i] = b->conn;
        if (b->conn != NULL) {
            b->conn->bng = NULL;
            queue_clear(&b->conn->up);
            queue_clear(&b->conn->down);
            b->conn = NULL;
            forget_session(b);
            b->connect_at_s = rig_now(&w->rig) + 1;
        }
    }
    rig_crash_begin(&w->rig);
    for (size_t i = 0; i < w->n_bngs; i++) {
        if (conns[i] != NULL) {
            apmi_closed(conns[i]->session, "the manager crashed");
        }
    }
    rig_step(&w->rig);
    mem_free(conns);
    rig_crash_end(&w->rig);
}

static void connect_now(struct sim_bng *b) {
    struct apmi_peer peer = {.source = "sim", .address = "192.0.2.1"};
    struct sim_conn *c = MEM_NEW(struct sim_conn);
    list_init(&c->up);
    list_init(&c->down);
    c->bng = b;
    c->rig = b->world->manager;
    c->session = apmi_open(b->world->manager->core, &transport, c, &peer);
    b->conn = c;
    b->msg_id = 0;
    b->phase = SIM_HELLO;
    Openapmi__V1__Hello h = OPENAPMI__V1__HELLO__INIT;
    h.system_id = b->id;
    h.min_version = 1;
    h.max_version = b->version > 1 ? b->version : 1;
    h.kind = OPENAPMI__V1__HELLO__KIND__BNG;
    h.boot_epoch = b->boot_epoch;
    EMIT(b, HELLO, hello, &h);
}

static void send_domains(struct sim_bng *b) {
    char **names = mem_alloc((b->n_domains + 1) * sizeof *names);
    Openapmi__V1__DomainSync ds = OPENAPMI__V1__DOMAIN_SYNC__INIT;
    ds.domain = names;
    for (size_t i = 0; i < b->n_domains; i++) {
        struct sim_domain *d = b->domains[i];
        d->known = d->creating = false;
        d->synced = d->n_pools == 0; /* made anew when it is needed */
        if (d->n_pools > 0) {
            names[ds.n_domain++] = d->name;
        }
    }
    b->phase = SIM_DOMAINS;
    EMIT(b, DOMAIN_SYNC, domain_sync, &ds);
    mem_free(names);
}

static void create_domain(struct sim_domain *d) {
    Openapmi__V1__CreateDomain cd = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    cd.domain = d->name;
    cd.partition = d->partition;
    cd.af = wire_family(d);
    cd.delegated_length = d->delegated;
    cd.preferred_length = d->preferred;
    d->creating = true;
    EMIT(d->bng, CREATE_DOMAIN, create_domain, &cd);
}

struct filled {
    Openapmi__V1__Pool pool;
    Openapmi__V1__Prefix prefix;
};

static size_t fill(const struct sim_domain *d, struct filled **out, Openapmi__V1__Pool ***ptr) {
    struct filled *f = mem_alloc((d->n_pools + 1) * sizeof *f);
    Openapmi__V1__Pool **p = mem_alloc((d->n_pools + 1) * sizeof *p);
    for (size_t i = 0; i < d->n_pools; i++) {
        struct sim_pool *sp = d->pools[i];
        openapmi__v1__pool__init(&f[i].pool);
        openapmi__v1__prefix__init(&f[i].prefix);
        f[i].prefix.af = wire_family(d);
        f[i].prefix.address = (ProtobufCBinaryData){ip_bits(d->family) / 8, sp->prefix.addr.bytes};
        f[i].prefix.length = sp->prefix.len;
        f[i].pool.name = sp->name;
        f[i].pool.prefix = &f[i].prefix;
        f[i].pool.total = sp->total;
        f[i].pool.used = sp->used;
        f[i].pool.state = !sp->draining   ? OPENAPMI__V1__POOL_STATE__ACTIVE
                          : sp->used == 0 ? OPENAPMI__V1__POOL_STATE__DRAINED
                                          : OPENAPMI__V1__POOL_STATE__DRAINING;
        p[i] = &f[i].pool;
    }
    *out = f;
    *ptr = p;
    return d->n_pools;
}

static void send_pools(struct sim_domain *d, bool by_digest) {
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    struct filled *f = NULL;
    Openapmi__V1__Pool **ptr = NULL;
    uint8_t digest[32];
    ps.domain = d->name;
    ps.partition = d->partition;
    ps.preferred_length = d->preferred;
    ps.af = wire_family(d);
    ps.delegated_length = d->delegated;
    if (by_digest) {
        /* The manager's own function on a copy of the list: the format is agreed on elsewhere
         * (agents/bng has its own, and the two meet in the lab). */
        struct domain copy = {.name = d->name};
        copy.pools = mem_alloc((d->n_pools + 1) * sizeof *copy.pools);
        copy.n_pools = (uint32_t)d->n_pools;
        struct pool_extra *extra = mem_alloc((d->n_pools + 1) * sizeof *extra);
        for (size_t i = 0; i < d->n_pools; i++) {
            extra[i].name = d->pools[i]->name;
            copy.pools[i] = (struct pool){
                .prefix = d->pools[i]->prefix, .seq = SEQ_FOREIGN, .extra = &extra[i]};
        }
        domain_digest(&copy, digest);
        mem_free(copy.pools);
        mem_free(extra);
        ps.digest = (ProtobufCBinaryData){32, digest};
    } else {
        ps.n_pool = fill(d, &f, &ptr);
        ps.pool = ptr;
    }
    EMIT(d->bng, POOL_SYNC, pool_sync, &ps);
    mem_free(f);
    mem_free(ptr);
}

static void send_stats(struct sim_domain *d) {
    Openapmi__V1__Stats st = OPENAPMI__V1__STATS__INIT;
    struct filled *f;
    Openapmi__V1__Pool **ptr;
    st.domain = d->name;
    st.free = sim_free(d);
    st.used = sim_used(d);
    st.n_pool = fill(d, &f, &ptr);
    st.pool = ptr;
    EMIT(d->bng, STATS, stats, &st);
    mem_free(f);
    mem_free(ptr);
}

void sim_stats(struct sim_domain *d) {
    if (d->bng->phase == SIM_IN_STEP && d->known) {
        send_stats(d);
    }
}

static void maybe_done(struct sim_bng *b) {
    if (b->phase != SIM_POOLS) {
        return;
    }
    for (size_t i = 0; i < b->n_domains; i++) {
        if (!b->domains[i]->synced) {
            return;
        }
    }
    Openapmi__V1__SyncDone sd = OPENAPMI__V1__SYNC_DONE__INIT;
    b->phase = SIM_DONE;
    b->sync_done_id = b->msg_id + 1;
    EMIT(b, SYNC_DONE, sync_done, &sd);
}

/* ---- what the manager says ---- */

static void confirm(struct sim_bng *b, const char *id, uint32_t code, const char *text,
                    uint64_t revision) {
    Openapmi__V1__OrderResult r = OPENAPMI__V1__ORDER_RESULT__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    st.code = code;
    st.text = (char *)(uintptr_t)text;
    r.order_id = (char *)(uintptr_t)id;
    r.status = &st;
    r.revision = revision;
    EMIT(b, ORDER_RESULT, order_result, &r);
}

static void set_drain(struct sim_domain *d, const char *name, bool on) {
    struct sim_pool *p = find_pool(d, name);
    if (p != NULL) {
        p->draining = on;
        p->retry_at = 0;
        spread(d);
    }
}

static void got_answer(struct sim_bng *b, const Openapmi__V1__AlarmResponse *r) {
    for (size_t i = 0; i < b->n_domains; i++) {
        struct sim_domain *d = b->domains[i];
        int64_t retry = r->retry_at > 0 ? r->retry_at : INT64_MAX - 1;
        for (int k = 0; k < SIM_ALARMS; k++) {
            if (d->alarm[k].retry_at == 0 || strcmp(d->alarm[k].id, r->alarm_id) != 0) {
                continue;
            }
            if (r->reason == OPENAPMI__V1__REASON__UNKNOWN_DOMAIN) {
                d->known = false;
                d->alarm[k].retry_at = 0;
            } else {
                d->alarm[k].retry_at =
                    r->result == OPENAPMI__V1__ALARM_RESULT__ALARM_ACK ? 0 : retry;
            }
            if (r->action == OPENAPMI__V1__ACTION__ADD_POOLS) {
                for (size_t n = 0; n < r->n_add; n++) {
                    add_pool(d, r->add[n]);
                }
                confirm(b, r->alarm_id, 0, "", 0);
            } else if (r->action == OPENAPMI__V1__ACTION__SET_DRAIN) {
                set_drain(d, r->pool, true);
                confirm(b, r->alarm_id, 0, "", 0);
            }
            return;
        }
        for (size_t k = 0; k < d->n_pools; k++) {
            struct sim_pool *p = d->pools[k];
            if (p->retry_at == 0 || strcmp(p->alarm, r->alarm_id) != 0) {
                continue;
            }
            p->retry_at = retry;
            if (r->action == OPENAPMI__V1__ACTION__REMOVE_POOL) {
                char name[sizeof p->name];
                snprintf(name, sizeof name, "%s", p->name);
                remove_pool(d, name);
                confirm(b, r->alarm_id, 0, "", 0);
            }
            return;
        }
    }
}

static void got_order(struct sim_bng *b, const Openapmi__V1__Order *o) {
    struct sim_domain *d = sim_domain(b, o->domain);
    uint32_t code = 0;
    const char *text = "";
    switch (o->type) {
    case OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN:
    case OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN:
        if (d != NULL && find_pool(d, o->pool) != NULL) {
            set_drain(d, o->pool, o->type == OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
        } else {
            code = 5;
            text = "no such pool";
        }
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL:
        if (d != NULL) {
            remove_pool(d, o->pool);
        }
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS:
        if (d != NULL && d->refuse_thresholds) {
            code = 9;
            text = "not these";
        } else if (d != NULL) {
            d->apportion = o->thresholds->apportion;
            d->reclaim = o->thresholds->reclaim;
        }
        break;
    default: /* resynchronise */
        confirm(b, o->order_id, 0, "", 0);
        if (o->domain[0] == '\0') {
            send_domains(b);
        } else if (d != NULL) {
            send_pools(d, false);
        }
        return;
    }
    confirm(b, o->order_id, code, text, o->revision);
}

static void got_domains(struct sim_bng *b, const Openapmi__V1__DomainSyncResult *r) {
    for (size_t i = 0; i < r->n_keep; i++) {
        struct sim_domain *d = sim_domain(b, r->keep[i]);
        d->known = true;
        send_pools(d, b->digest);
    }
    for (size_t i = 0; i < r->n_create_first; i++) {
        create_domain(sim_domain(b, r->create_first[i]));
    }
    b->phase = SIM_POOLS;
    maybe_done(b);
}

static void got_pools(struct sim_bng *b, const Openapmi__V1__PoolSyncResult *r) {
    struct sim_domain *d = sim_domain(b, r->domain);
    if (d == NULL) {
        return;
    }
    if (r->status->code == 10) {
        send_pools(d, false);
        return;
    }
    if (r->status->code == 5) {
        d->known = false;
    } else if (r->thresholds != NULL) {
        d->apportion = r->thresholds->apportion;
        d->reclaim = r->thresholds->reclaim;
    }
    for (size_t i = 0; i < r->n_verdict; i++) {
        if (r->verdict[i]->verdict == OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN) {
            set_drain(d, r->verdict[i]->pool, true);
        }
    }
    d->synced = true;
    maybe_done(b);
}

static void got(struct sim_bng *b, const manager_msg *m) {
    switch (m->body_case) {
    case OPENAPMI__V1__MANAGER_MSG__BODY_HELLO_ACK:
        if (m->hello_ack->status->code == 0) {
            send_domains(b);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_SYNC_RESULT:
        got_domains(b, m->domain_sync_result);
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT:
        got_pools(b, m->pool_sync_result);
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_CREATED: {
        struct sim_domain *d = sim_domain(b, m->domain_created->domain);
        d->creating = false;
        if (m->domain_created->status->code == 0) {
            d->known = true;
            d->apportion = m->domain_created->thresholds->apportion;
            d->reclaim = m->domain_created->thresholds->reclaim;
            if (!d->synced) {
                send_pools(d, false);
            }
        }
        break;
    }
    case OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE:
        got_answer(b, m->alarm_response);
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_ORDER:
        got_order(b, m->order);
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_ACK:
        if (m->in_reply_to == b->sync_done_id && b->phase == SIM_DONE) {
            b->phase = SIM_IN_STEP;
            for (size_t i = 0; i < b->n_domains; i++) {
                if (b->domains[i]->known) {
                    send_stats(b->domains[i]);
                }
            }
        }
        break;
    default:
        break;
    }
}

/* ---- alarms ---- */

static void raise(struct sim_domain *d, Openapmi__V1__AlarmType type, char id[64],
                  uint32_t *attempt, int64_t *retry_at, struct sim_pool *drained) {
    struct sim_bng *b = d->bng;
    if (*retry_at == 0) {
        snprintf(id, 64, "%s.%" PRIu64, b->id, ++b->alarm_counter);
        *attempt = 1;
    } else if (*retry_at > 1) {
        ++*attempt;
    }
    *retry_at = INT64_MAX;
    Openapmi__V1__Alarm a = OPENAPMI__V1__ALARM__INIT;
    char *candidates[8];
    a.alarm_id = id;
    a.type = type;
    a.domain = d->name;
    a.free_addresses = sim_free(d);
    a.total_addresses = sim_free(d) + sim_used(d);
    a.attempt = *attempt;
    a.raised_at = now_of(b);
    a.preferred_length = d->preferred;
    a.candidate_pool = candidates;
    if (type == OPENAPMI__V1__ALARM_TYPE__APPORTION) {
        a.wanted_prefixes = 1;
    } else if (type == OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED) {
        candidates[a.n_candidate_pool++] = drained->name;
    } else {
        for (size_t i = d->n_pools; i-- > 0 && a.n_candidate_pool < 8;) { /* youngest first */
            struct sim_pool *p = d->pools[i];
            if (!p->draining) {
                if (a.n_candidate_pool == 0) {
                    a.candidate_used = p->used;
                    a.candidate_total = p->total;
                }
                candidates[a.n_candidate_pool++] = p->name;
            }
        }
    }
    EMIT(b, ALARM, alarm, &a);
}

static bool due(int64_t retry_at, int64_t now) {
    return retry_at != INT64_MAX && retry_at <= now;
}

static void domain_tick(struct sim_domain *d, int64_t now) {
    if (!d->known) {
        if (d->want_used > 0 && !d->creating && d->n_pools == 0) {
            create_domain(d);
        }
        return;
    }
    uint64_t missing = d->want_used - sim_used(d);
    uint64_t free = sim_free(d);
    if (free <= d->apportion || missing > 0) {
        if (due(d->alarm[SIM_APPORTION].retry_at, now)) {
            raise(d, OPENAPMI__V1__ALARM_TYPE__APPORTION, d->alarm[SIM_APPORTION].id,
                  &d->alarm[SIM_APPORTION].attempt, &d->alarm[SIM_APPORTION].retry_at, NULL);
        }
    } else if (d->alarm[SIM_APPORTION].retry_at != INT64_MAX) {
        d->alarm[SIM_APPORTION].retry_at = 0;
    }
    bool draining = false;
    for (size_t i = 0; i < d->n_pools; i++) {
        draining |= d->pools[i]->draining;
    }
    if (free >= d->reclaim && !draining) {
        if (due(d->alarm[SIM_RECLAIM].retry_at, now)) {
            raise(d, OPENAPMI__V1__ALARM_TYPE__RECLAIM, d->alarm[SIM_RECLAIM].id,
                  &d->alarm[SIM_RECLAIM].attempt, &d->alarm[SIM_RECLAIM].retry_at, NULL);
        }
    } else if (d->alarm[SIM_RECLAIM].retry_at != INT64_MAX) {
        d->alarm[SIM_RECLAIM].retry_at = 0;
    }
    for (size_t i = 0; i < d->n_pools; i++) {
        struct sim_pool *p = d->pools[i];
        if (p->draining && p->used == 0 && due(p->retry_at, now)) {
            raise(d, OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED, p->alarm, &p->attempt, &p->retry_at,
                  p);
        }
    }
}

void sim_tick(struct sim_bng *b) {
    int64_t now = now_of(b);
    if (b->conn != NULL && b->conn->ended && list_empty(&b->conn->down)) {
        sim_break(b);
    }
    if (b->conn == NULL) {
        if (now >= b->connect_at_s) {
            connect_now(b);
        }
        return;
    }
    if (b->phase == SIM_IN_STEP) {
        for (size_t i = 0; i < b->n_domains; i++) {
            domain_tick(b->domains[i], now);
        }
    }
}

/* ---- the world ---- */

bool sim_deliver_up(struct sim_bng *b) {
    if (b->conn == NULL || list_empty(&b->conn->up)) {
        return false;
    }
    struct list *l = b->conn->up.next;
    struct sim_msg *m = CONTAINER_OF(l, struct sim_msg, link);
    list_remove(l);
    b->world->deliveries++;
    struct rig *rig = b->conn->rig;
    apmi_receive(b->conn->session, m->bytes, m->n, rig_now(rig));
    mem_free(m);
    rig_step(rig);
    return true;
}

bool sim_deliver_down(struct sim_bng *b) {
    if (b->conn == NULL || list_empty(&b->conn->down)) {
        return false;
    }
    struct list *l = b->conn->down.next;
    struct sim_msg *m = CONTAINER_OF(l, struct sim_msg, link);
    list_remove(l);
    b->world->deliveries++;
    manager_msg *mm = openapmi__v1__manager_msg__unpack(NULL, m->n, m->bytes);
    mem_free(m);
    if (mm == NULL) {
        die(b, "garbage from the manager", "");
    }
    got(b, mm);
    openapmi__v1__manager_msg__free_unpacked(mm, NULL);
    return true;
}

bool sim_up_empty(const struct sim_bng *b) {
    return b->conn == NULL || list_empty(&b->conn->up);
}

bool sim_down_empty(const struct sim_bng *b) {
    return b->conn == NULL || list_empty(&b->conn->down);
}

bool sim_idle(const struct sim_world *w) {
    for (size_t i = 0; i < w->n_bngs; i++) {
        const struct sim_conn *c = w->bngs[i]->conn;
        if (c != NULL && (!list_empty(&c->up) || !list_empty(&c->down))) {
            return false;
        }
    }
    return true;
}

bool sim_settle(struct sim_world *w, int64_t quiet_s, int64_t max_s) {
    int64_t quiet = 0;
    for (int64_t s = 0; s < max_s; s++) {
        uint64_t before = w->deliveries;
        bool moved = true;
        for (size_t i = 0; i < w->n_bngs; i++) {
            sim_tick(w->bngs[i]);
        }
        while (moved) {
            moved = false;
            for (size_t i = 0; i < w->n_bngs; i++) {
                moved |= sim_deliver_up(w->bngs[i]);
                moved |= sim_deliver_down(w->bngs[i]);
            }
        }
        bool up = true;
        for (size_t i = 0; i < w->n_bngs; i++) {
            up &= w->bngs[i]->phase == SIM_IN_STEP;
        }
        quiet = w->deliveries == before && up ? quiet + 1 : 0;
        if (quiet >= quiet_s) {
            return true;
        }
        rig_pass(w->manager, NS_PER_S);
    }
    return false;
}

struct sim_bng *sim_add(struct sim_world *w, const char *id) {
    struct sim_bng *b = MEM_NEW(struct sim_bng);
    b->world = w;
    b->boot_epoch = 1;
    snprintf(b->id, sizeof b->id, "%s", id);
    w->bngs = mem_array(w->bngs, w->n_bngs + 1, sizeof(struct sim_bng *));
    w->bngs[w->n_bngs++] = b;
    return b;
}

void sim_open(struct sim_world *w, int64_t wall_s) {
    memset(w, 0, sizeof *w);
    rig_open(&w->rig, wall_s);
    w->manager = &w->rig;
}

void sim_close(struct sim_world *w) {
    for (size_t i = 0; i < w->n_bngs; i++) {
        struct sim_bng *b = w->bngs[i];
        sim_break(b);
        for (size_t k = 0; k < b->n_domains; k++) {
            for (size_t n = 0; n < b->domains[k]->n_pools; n++) {
                mem_free(b->domains[k]->pools[n]);
            }
            mem_free(b->domains[k]->pools);
            mem_free(b->domains[k]);
        }
        mem_free(b->domains);
        mem_free(b);
    }
    mem_free(w->bngs);
    map_free(&w->held, NULL);
    if (w->manager == &w->rig) {
        rig_close(&w->rig);
    }
}

/* ---- verification ---- */

static void verify_held(struct sim_world *w, const struct sim_bng *b) {
    /* What a gateway uses is allocated to it here, whatever happened in between. */
    for (size_t i = 0; i < b->n_domains; i++) {
        const struct sim_domain *d = b->domains[i];
        for (size_t k = 0; k < d->n_pools; k++) {
            struct prefix_info info;
            const struct partition *pt = partition_get(w->manager->pools, d->partition, false);
            if (pt == NULL || pt->tree == NULL ||
                prefix_tree_lookup(pt->tree, &d->pools[k]->prefix, &info) != PREFIX_ALLOCATED ||
                !ip_prefix_eq(&info.prefix, &d->pools[k]->prefix)) {
                die(b, "the manager thinks that a used prefix is free: pool", d->pools[k]->name);
            }
            const struct domain *owner = pools_owner_domain(w->manager->pools, info.owner);
            if (owner == NULL || strcmp(owner->entity->system_id, b->id) != 0 ||
                strcmp(owner->name, d->name) != 0) {
                die(b, "the manager thinks that a prefix is somebody else's: pool",
                    d->pools[k]->name);
            }
        }
    }
}

static void verify_agreed(struct sim_world *w, struct sim_bng *b) {
    struct entity *en = pools_entity(w->manager->pools, b->id);
    if (en == NULL || en->session == NULL || !apmi_in_step(en->session)) {
        die(b, "is not in step", "");
    }
    size_t n = 0;
    for (size_t i = 0; i < b->n_domains; i++) {
        struct sim_domain *d = b->domains[i];
        struct domain *md = entity_domain(en, d->name);
        n += d->n_pools;
        if (d->n_pools > 0 && (md == NULL || md->n_pools != d->n_pools)) {
            die(b, "the ends hold different pools of domain", d->name);
        }
        for (size_t k = 0; k < d->n_pools; k++) {
            struct pool *po = domain_pool_named(md, d->pools[k]->name);
            struct ip_prefix px;
            if (po == NULL || (px = pool_prefix(po), !ip_prefix_eq(&px, &d->pools[k]->prefix))) {
                die(b, "the manager does not know pool", d->pools[k]->name);
            }
            bool draining = po->state == POOL_DRAIN_SET || po->state == POOL_DRAINED;
            if ((po->state != POOL_ACTIVE && !draining) || draining != d->pools[k]->draining) {
                die(b, "the ends disagree about the state of pool", d->pools[k]->name);
            }
        }
        if (d->known && d->n_pools > 0 && md != NULL &&
            (md->sent_apportion != d->apportion || md->sent_reclaim != d->reclaim)) {
            die(b, "the ends have different thresholds for domain", d->name);
        }
    }
    size_t here = 0;
    MAP_FOREACH (m, &en->domains) {
        here += ((const struct domain *)m->value)->n_pools;
    }
    if (here != n) {
        die(b, "the manager knows pools that the gateway does not have", "");
    }
}

void sim_verify(struct sim_world *w, bool in_step) {
    rig_verify(w->manager);
    for (size_t i = 0; i < w->n_bngs; i++) {
        verify_held(w, w->bngs[i]);
        if (in_step) {
            verify_agreed(w, w->bngs[i]);
        }
    }
}
