// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_send(void *conn, const void *bytes, size_t n) {
    struct probe *p = conn;
    manager_msg *m = openapmi__v1__manager_msg__unpack(NULL, n, bytes);
    if (m == NULL) {
        fprintf(stderr, "probe: the manager sent garbage\n");
        abort();
    }
    if (p->n_inbox == p->cap_inbox) {
        p->cap_inbox = p->cap_inbox ? p->cap_inbox * 2 : 16;
        p->inbox = mem_array(p->inbox, p->cap_inbox, sizeof *p->inbox);
    }
    p->inbox[p->n_inbox++] = m;
}

static void on_end(void *conn, int code, const char *text) {
    struct probe *p = conn;
    p->ended = true;
    p->end_code = code;
    snprintf(p->end_text, sizeof p->end_text, "%s", text);
}

static void on_released(void *conn) {
    ((struct probe *)conn)->released = true;
}

static const struct apmi_transport transport = {
    .send = on_send, .end = on_end, .released = on_released};

void probe_init(struct probe *p, struct rig *rig, const char *system_id) {
    memset(p, 0, sizeof *p);
    p->rig = rig;
    p->boot_epoch = 1;
    snprintf(p->system_id, sizeof p->system_id, "%s", system_id);
}

static void drop_inbox(struct probe *p) {
    for (size_t i = 0; i < p->n_inbox; i++) {
        openapmi__v1__manager_msg__free_unpacked(p->inbox[i], NULL);
    }
    p->n_inbox = 0;
    openapmi__v1__manager_msg__free_unpacked(p->last, NULL);
    p->last = NULL;
}

void probe_close(struct probe *p) {
    if (p->session != NULL) {
        apmi_closed(p->session, "the test hung up");
        p->session = NULL;
        rig_step(p->rig);
    }
    drop_inbox(p);
}

void probe_free(struct probe *p) {
    probe_close(p);
    mem_free(p->inbox);
}

void probe_open(struct probe *p) {
    struct apmi_peer peer = {.source = "192.0.2.1:4711", .address = "192.0.2.1"};
    peer.silent_max_s = p->silent_max_s;
    probe_close(p);
    p->ended = p->released = false;
    p->msg_id = 0;
    p->session = apmi_open(p->rig->core, &transport, p, &peer);
}

void probe_send_bytes(struct probe *p, const void *bytes, size_t n) {
    apmi_receive(p->session, bytes, n, rig_now(p->rig));
    rig_step(p->rig);
}

void probe_send(struct probe *p, entity_msg *m) {
    m->msg_id = ++p->msg_id;
    size_t n = openapmi__v1__entity_msg__get_packed_size(m);
    uint8_t *bytes = mem_alloc(n + 1);
    openapmi__v1__entity_msg__pack(m, bytes);
    probe_send_bytes(p, bytes, n);
    mem_free(bytes);
}

manager_msg *probe_take(struct probe *p, Openapmi__V1__ManagerMsg__BodyCase kind) {
    for (size_t i = 0; i < p->n_inbox; i++) {
        if (p->inbox[i]->body_case == kind) {
            openapmi__v1__manager_msg__free_unpacked(p->last, NULL);
            p->last = p->inbox[i];
            p->n_inbox--;
            memmove(&p->inbox[i], &p->inbox[i + 1], (p->n_inbox - i) * sizeof *p->inbox);
            return p->last;
        }
    }
    return NULL;
}

static manager_msg *must_take(struct probe *p, Openapmi__V1__ManagerMsg__BodyCase kind) {
    manager_msg *m = probe_take(p, kind);
    if (m == NULL) {
        fprintf(stderr, "probe %s: no answer of kind %d (ended %d: %d %s)\n", p->system_id,
                (int)kind, p->ended, p->end_code, p->end_text);
        abort();
    }
    return m;
}

const Openapmi__V1__Order *probe_order(struct probe *p) {
    manager_msg *m = probe_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ORDER);
    return m ? m->order : NULL;
}

#define BODY(m, what, ptr)                                                                         \
    do {                                                                                           \
        (m).body_case = OPENAPMI__V1__ENTITY_MSG__BODY_##what;                                     \
        ptr;                                                                                       \
    } while (0)

static Openapmi__V1__AddressFamily family_of(const struct probe *p) {
    return p->six ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
}

Openapmi__V1__HelloAck *probe_hello_raw(struct probe *p, uint32_t min, uint32_t max) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Hello h = OPENAPMI__V1__HELLO__INIT;
    h.system_id = p->system_id;
    h.min_version = min;
    h.max_version = max;
    h.kind = OPENAPMI__V1__HELLO__KIND__BNG;
    h.software = (char *)(uintptr_t) "probe 1";
    h.boot_epoch = p->boot_epoch;
    BODY(m, HELLO, m.hello = &h);
    probe_send(p, &m);
    manager_msg *out = probe_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_HELLO_ACK);
    return out ? out->hello_ack : NULL;
}

void probe_hello(struct probe *p) {
    Openapmi__V1__HelloAck *ack = probe_hello_raw(p, 1, p->six ? 2 : 1);
    if (ack == NULL || ack->status->code != 0) {
        fprintf(stderr, "probe %s: hello is refused: %s\n", p->system_id,
                ack ? ack->status->text : "no answer");
        abort();
    }
}

void probe_connect(struct probe *p) {
    probe_open(p);
    probe_hello(p);
}

const Openapmi__V1__DomainSyncResult *probe_domains(struct probe *p, size_t n, const char **names) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__DomainSync ds = OPENAPMI__V1__DOMAIN_SYNC__INIT;
    ds.n_domain = n;
    ds.domain = (char **)(uintptr_t)names;
    BODY(m, DOMAIN_SYNC, m.domain_sync = &ds);
    probe_send(p, &m);
    return must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_SYNC_RESULT)->domain_sync_result;
}

void probe_sync_done(struct probe *p) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__SyncDone sd = OPENAPMI__V1__SYNC_DONE__INIT;
    BODY(m, SYNC_DONE, m.sync_done = &sd);
    probe_send(p, &m);
    const Openapmi__V1__Ack *ack = must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ACK)->ack;
    if (ack->status->code != 0) {
        fprintf(stderr, "probe %s: SyncDone: %s\n", p->system_id, ack->status->text);
        abort();
    }
}

void probe_connect_empty(struct probe *p) {
    probe_connect(p);
    probe_domains(p, 0, NULL);
    probe_sync_done(p);
}

const Openapmi__V1__DomainCreated *probe_create(struct probe *p, const char *domain,
                                                const char *partition, uint32_t length) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__CreateDomain cd = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    cd.domain = (char *)(uintptr_t)domain;
    cd.partition = (char *)(uintptr_t)partition;
    cd.af = family_of(p);
    cd.delegated_length = p->delegated;
    cd.preferred_length = length;
    BODY(m, CREATE_DOMAIN, m.create_domain = &cd);
    probe_send(p, &m);
    return must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_CREATED)->domain_created;
}

enum { FILLED_MAX = 128 };
struct filled { /* pools of a message with what they point to */
    Openapmi__V1__Pool pool[FILLED_MAX], *ptr[FILLED_MAX];
    Openapmi__V1__Prefix prefix[FILLED_MAX];
    struct ip_prefix px[FILLED_MAX];
};

static struct filled *fill(size_t n, const struct probe_pool *pools) {
    struct filled *f = MEM_NEW(struct filled);
    for (size_t i = 0; i < n && i < FILLED_MAX; i++) {
        openapmi__v1__pool__init(&f->pool[i]);
        openapmi__v1__prefix__init(&f->prefix[i]);
        f->pool[i].name = (char *)(uintptr_t)pools[i].name;
        f->pool[i].total = pools[i].total;
        f->pool[i].used = pools[i].used;
        f->pool[i].state = pools[i].state ? pools[i].state : OPENAPMI__V1__POOL_STATE__ACTIVE;
        f->pool[i].local = pools[i].local;
        if (pools[i].prefix != NULL) {
            struct err e;
            if (ip_prefix_parse(pools[i].prefix, &f->px[i], &e) != ERR_OK) {
                abort();
            }
            bool six = f->px[i].addr.family == 6;
            f->prefix[i].af =
                six ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
            f->prefix[i].address = (ProtobufCBinaryData){six ? 16 : 4, f->px[i].addr.bytes};
            f->prefix[i].length = f->px[i].len;
            f->pool[i].prefix = &f->prefix[i];
        }
        f->ptr[i] = &f->pool[i];
    }
    return f;
}

const Openapmi__V1__PoolSyncResult *probe_pools(struct probe *p, const char *domain,
                                                const char *partition, size_t n,
                                                const struct probe_pool *pools) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    struct filled *f = fill(n, pools);
    ps.domain = (char *)(uintptr_t)domain;
    ps.partition = (char *)(uintptr_t)partition;
    ps.af = family_of(p);
    ps.delegated_length = p->delegated;
    ps.n_pool = n;
    ps.pool = f->ptr;
    BODY(m, POOL_SYNC, m.pool_sync = &ps);
    probe_send(p, &m);
    mem_free(f);
    return must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT)->pool_sync_result;
}

const Openapmi__V1__PoolSyncResult *probe_digest(struct probe *p, const char *domain,
                                                 const uint8_t digest[32]) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    ps.domain = (char *)(uintptr_t)domain;
    ps.af = family_of(p);
    ps.delegated_length = p->delegated;
    ps.digest = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)digest};
    BODY(m, POOL_SYNC, m.pool_sync = &ps);
    probe_send(p, &m);
    return must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT)->pool_sync_result;
}

void probe_stats(struct probe *p, const char *domain, uint64_t free, uint64_t used, size_t n,
                 const struct probe_pool *pools) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Stats st = OPENAPMI__V1__STATS__INIT;
    struct filled *f = fill(n, pools);
    st.domain = (char *)(uintptr_t)domain;
    st.free = free;
    st.used = used;
    st.n_pool = n;
    st.pool = f->ptr;
    BODY(m, STATS, m.stats = &st);
    probe_send(p, &m);
    mem_free(f);
    must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ACK);
}

static void result(struct probe *p, const char *order_id, uint32_t code, const char *text,
                   const char *pool) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__OrderResult r = OPENAPMI__V1__ORDER_RESULT__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    Openapmi__V1__Pool po = OPENAPMI__V1__POOL__INIT;
    char id[160];
    snprintf(id, sizeof id, "%s", order_id); /* may be part of the message that is freed below */
    r.order_id = id;
    st.code = code;
    st.text = (char *)(uintptr_t)text;
    r.status = &st;
    if (pool != NULL) {
        po.name = (char *)(uintptr_t)pool;
        r.pool = &po;
    }
    BODY(m, ORDER_RESULT, m.order_result = &r);
    probe_send(p, &m);
    must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ACK);
}

void probe_result(struct probe *p, const char *order_id, uint32_t code, const char *text) {
    result(p, order_id, code, text, NULL);
}

void probe_result_pool(struct probe *p, const char *order_id, uint32_t code, const char *pool) {
    result(p, order_id, code, "no room", pool);
}

const answer_msg *probe_alarm(struct probe *p, alarm_msg *a) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    if (a->attempt == 0) {
        a->attempt = 1;
    }
    a->raised_at = rig_now(p->rig);
    BODY(m, ALARM, m.alarm = a);
    probe_send(p, &m);
    return must_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE)->alarm_response;
}

const answer_msg *probe_apportion(struct probe *p, const char *id, const char *domain,
                                  uint32_t wanted, uint32_t length) {
    alarm_msg a = OPENAPMI__V1__ALARM__INIT;
    a.alarm_id = (char *)(uintptr_t)id;
    a.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    a.domain = (char *)(uintptr_t)domain;
    a.wanted_prefixes = wanted;
    a.preferred_length = length;
    return probe_alarm(p, &a);
}

const answer_msg *probe_reclaim(struct probe *p, const char *id, const char *domain, uint64_t free,
                                const char *candidate, uint64_t used, uint64_t total) {
    alarm_msg a = OPENAPMI__V1__ALARM__INIT;
    char *names[] = {(char *)(uintptr_t)candidate};
    a.alarm_id = (char *)(uintptr_t)id;
    a.type = OPENAPMI__V1__ALARM_TYPE__RECLAIM;
    a.domain = (char *)(uintptr_t)domain;
    a.free_addresses = free;
    a.total_addresses = free + used;
    a.candidate_pool = names;
    a.n_candidate_pool = candidate ? 1 : 0;
    a.candidate_used = used;
    a.candidate_total = total;
    return probe_alarm(p, &a);
}

const answer_msg *probe_drained(struct probe *p, const char *id, const char *domain,
                                const char *pool) {
    alarm_msg a = OPENAPMI__V1__ALARM__INIT;
    char *names[] = {(char *)(uintptr_t)pool};
    a.alarm_id = (char *)(uintptr_t)id;
    a.type = OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED;
    a.domain = (char *)(uintptr_t)domain;
    a.candidate_pool = names;
    a.n_candidate_pool = 1;
    return probe_alarm(p, &a);
}

const char *prefix_text(const Openapmi__V1__Pool *pool, char out[IP_TEXT_MAX]) {
    const Openapmi__V1__Prefix *m = pool->prefix;
    struct ip_prefix px = {.addr.family = m->address.len == 16 ? 6 : 4, .len = (uint8_t)m->length};
    memcpy(px.addr.bytes, m->address.data, m->address.len);
    return ip_prefix_format(&px, out);
}
