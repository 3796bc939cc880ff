// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/apmi.h"
#include "pools/apmi_check.h"
#include "pools/apmi_session_int.h"

LOGGER_MODULE(apmi);

/* ---- small things ------------------------------------------------------------------------------
 */

struct pools *apmi_pools(const struct apmi_session *s) {
    return s->pools;
}

struct entity *apmi_entity(const struct apmi_session *s) {
    return s->entity;
}

bool apmi_in_step(const struct apmi_session *s) {
    return s->phase == PHASE_IN_STEP && s->entity != NULL;
}

void apmi_hold(struct apmi_session *s) {
    atomic_fetch_add(&s->refs, 1);
}

static void item_free(struct item *it) {
    openapmi__v1__entity_msg__free_unpacked(it->m, NULL);
    mem_free(it);
}

static void parts_clear(struct apmi_session *s) {
    for (size_t i = 0; i < s->n_parts; i++) {
        item_free(s->parts[i]);
    }
    mem_free(s->parts);
    s->parts = NULL;
    s->n_parts = s->n_part_pools = 0;
}

void apmi_release(struct apmi_session *s) {
    if (atomic_fetch_sub(&s->refs, 1) == 1) {
        parts_clear(s);
        map_free(&s->announced, NULL);
        s->transport->released(s->conn);
        mem_free(s);
    }
}

void apmi_entity_gone(struct entity *en) {
    if (en->session != NULL) {
        en->session->entity = NULL;
        en->session->phase = PHASE_OVER;
        en->session = NULL;
    }
}

/* ---- sending ------------------------------------------------------------------------------------
 */

void apmi_send_now(struct apmi_session *s, const manager_msg *m) {
    if (s->closed) {
        return;
    }
    size_t n = openapmi__v1__manager_msg__get_packed_size(m);
    uint8_t *p = mem_alloc(n + 1);
    openapmi__v1__manager_msg__pack(m, p);
    s->transport->send(s->conn, p, n);
    mem_free(p);
}

struct outgoing {
    struct apmi_session *s;
    uint8_t *p; /* NULL: the end */
    size_t n;
    int code;
    char *text;
};

static void outgoing_after(void *arg, bool committed) {
    struct outgoing *o = arg;
    if (committed && !o->s->closed) {
        if (o->p != NULL) {
            o->s->transport->send(o->s->conn, o->p, o->n);
        } else {
            o->s->closed = true;
            o->s->transport->end(o->s->conn, o->code, o->text);
        }
    }
    mem_free(o->p);
    mem_free(o->text);
    apmi_release(o->s);
    mem_free(o);
}

void apmi_send(struct txn *t, struct apmi_session *s, const manager_msg *m) {
    struct outgoing *o = MEM_NEW(struct outgoing);
    apmi_hold(s);
    o->s = s;
    o->n = openapmi__v1__manager_msg__get_packed_size(m);
    o->p = mem_alloc(o->n + 1);
    openapmi__v1__manager_msg__pack(m, o->p);
    txn_after(t, outgoing_after, o);
}

void apmi_end(struct txn *t, struct apmi_session *s, int code, const char *text) {
    struct outgoing *o = MEM_NEW(struct outgoing);
    apmi_hold(s);
    o->s = s;
    o->code = code;
    o->text = mem_strdup(text);
    s->phase = PHASE_OVER;
    txn_after(t, outgoing_after, o);
}

static void end_now(struct apmi_session *s, int code, const char *text) {
    s->phase = PHASE_OVER;
    if (!s->closed) {
        s->closed = true;
        s->transport->end(s->conn, code, text);
    }
}

static void reply_ack(struct txn *t, struct apmi_session *s, uint64_t msg_id, uint32_t code,
                      const char *text) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Ack ack = OPENAPMI__V1__ACK__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    st.code = code;
    st.text = (char *)(uintptr_t)text;
    ack.status = &st;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_ACK;
    m.ack = &ack;
    apmi_send(t, s, &m);
}

/* ---- the end of a session ----------------------------------------------------------------------
 */

void apmi_unconfirmed(struct pools *p, struct txn *t, struct entity *en) {
    MAP_FOREACH (m, &en->domains) {
        struct domain *d = m->value;
        d->synced = d->created_here = d->resync_asked = false;
        d->thresholds_in_flight = 0;
        list_remove(&d->waiting);
        for (uint32_t i = 0; i < d->n_pools; i++) {
            if (d->pools[i].state == POOL_ALLOCATING) {
                pool_set_state(p, t, d, d->pools[i].ordinal, POOL_UNCERTAIN, -1);
            }
        }
    }
    en->in_flight = 0;
    en->sending = 0;
    en->sync_pending = false;
}

struct lost {
    struct target_session *target;
    char why[128];
};

static void lost_after(void *arg, bool committed) {
    struct lost *l = arg;
    target_lost(l->target, l->why);
    mem_free(l);
}

void apmi_detach(struct pools *p, struct txn *t, struct apmi_session *s, const char *why) {
    struct entity *en = s->entity;
    s->entity = NULL;
    s->phase = PHASE_OVER;
    if (en == NULL || en->session != s) {
        return;
    }
    en->session = NULL;
    en->since_s = txn_now_s(t);
    mem_free(en->lost_why);
    en->lost_why = mem_strdup(why);
    apmi_unconfirmed(p, t, en);
    struct lost *l = MEM_NEW(struct lost);
    l->target = en->target;
    snprintf(l->why, sizeof l->why, "%s", why);
    txn_after(t, lost_after, l);
    L_INFO("entity %s is unreachable: %s", en->system_id, why);
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"entity\":");
    text_json(&b, en->system_id);
    buf_str(&b, ",\"reason\":");
    text_json(&b, why);
    buf_char(&b, '}');
    txn_event(t, "weft-apm:entity-unreachable", buf_cstr(&b));
    buf_free(&b);
}

void apmi_dismiss(struct txn *t, struct apmi_session *s, int code, const char *why) {
    apmi_detach(s->pools, t, s, why);
    apmi_end(t, s, code, why);
}

void apmi_check_silence(struct txn *t, struct apmi_session *s) {
    int64_t silent = clock_mono_s(s->pools->clock) - s->heard_s;
    if (s->peer.silent_max_s > 0 && silent > (int64_t)s->peer.silent_max_s) {
        apmi_dismiss(t, s, CODE_UNAVAILABLE, "nothing was heard from it for too long");
    }
}

/* ---- domains ------------------------------------------------------------------------------------
 */

static char **remove_unannounced(struct pools *p, struct txn *t, struct apmi_session *s, size_t *n,
                                 struct arena *a) {
    struct entity *en = s->entity;
    char **removed = arena_alloc(a, (en->domains.count + 1) * sizeof *removed);
    struct domain **gone = arena_alloc(a, (en->domains.count + 1) * sizeof *gone);
    size_t n_gone = 0;
    MAP_FOREACH (m, &en->domains) {
        if (map_get(&s->announced, m->key) == NULL) {
            gone[n_gone++] = m->value;
        }
    }
    for (size_t i = 0; i < n_gone; i++) {
        L_INFO("%s no longer has domain %s: its %" PRIu32 " pools are free again", en->system_id,
               gone[i]->name, gone[i]->n_pools);
        removed[(*n)++] = arena_strdup(a, gone[i]->name);
        drift_domain_gone(p, t, gone[i]);
        domain_delete(p, t, gone[i]);
    }
    return removed;
}

static void domain_sync(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                        const Openapmi__V1__DomainSync *ds) {
    struct entity *en = s->entity;
    if (s->phase != PHASE_DOMAINS) { /* the entity begins anew */
        s->phase = PHASE_DOMAINS;
        map_free(&s->announced, NULL);
        parts_clear(s);
    }
    if (s->announced.count == 0) {
        MAP_FOREACH (m, &en->domains) {
            struct domain *d = m->value;
            d->synced = false;
        }
    }
    struct arena *a = arena_new();
    char **keep = arena_alloc(a, (ds->n_domain + 1) * sizeof *keep);
    char **create = arena_alloc(a, (ds->n_domain + 1) * sizeof *create);
    Openapmi__V1__DomainSyncResult r = OPENAPMI__V1__DOMAIN_SYNC_RESULT__INIT;
    r.keep = keep;
    r.create_first = create;
    for (size_t i = 0; i < ds->n_domain; i++) {
        if (map_get(&s->announced, ds->domain[i]) != NULL) {
            continue;
        }
        map_put(&s->announced, ds->domain[i], s);
        if (entity_domain(en, ds->domain[i]) != NULL) {
            keep[r.n_keep++] = ds->domain[i];
        } else {
            create[r.n_create_first++] = ds->domain[i];
        }
    }
    if (s->announced.count > POOLS_DOMAINS_MAX) {
        apmi_end(t, s, CODE_RESOURCE_EXHAUSTED, "too many domains");
        arena_free(a);
        return;
    }
    if (!ds->more) {
        r.removed_here = remove_unannounced(p, t, s, &r.n_removed_here, a);
        map_free(&s->announced, NULL);
        s->phase = PHASE_POOLS;
    }
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_SYNC_RESULT;
    m.domain_sync_result = &r;
    apmi_send(t, s, &m);
    arena_free(a);
}

static void thresholds_given(struct domain *d, const Openapmi__V1__Thresholds *th) {
    d->sent_apportion = (uint32_t)th->apportion;
    d->sent_reclaim = (uint32_t)th->reclaim;
    d->sent_hold = th->hold_down_s;
    d->thresholds_known = true;
    mem_free(d->thresholds_refused);
    d->thresholds_refused = NULL;
}

/* What an entity says of a domain's kind (P-23): the family, and the length of what it gives. */
static void kind_of(Openapmi__V1__AddressFamily af, uint32_t delegated, uint8_t *family,
                    uint8_t *unit) {
    *family = af == OPENAPMI__V1__ADDRESS_FAMILY__IPV6 ? 6 : 4;
    *unit = (uint8_t)(delegated != 0 ? delegated : ip_bits(*family));
}

/* 0, or why a domain of this kind can't be had, in `text`. */
static uint32_t kind_refused(struct pools *p, const struct entity *en, const struct domain *d,
                             const Openapmi__V1__CreateDomain *cd, uint8_t family, uint8_t unit,
                             char text[300]) {
    char its[POOLS_UNIT_TEXT_MAX], other[POOLS_UNIT_TEXT_MAX];
    const struct partition *pt = partition_get(p, cd->partition, false);
    const struct partition_cfg *c = pt != NULL ? pt->cfg : NULL;
    pools_unit_text(family, unit, its);
    if (family == 6 && en->version < 2) {
        snprintf(text, 300, "IPv6 domains need version 2 of the protocol");
        return CODE_INVALID_ARGUMENT;
    }
    if (cd->preferred_length > unit) {
        snprintf(text, 300, "preferred length %" PRIu32 " leaves no room for %s",
                 cd->preferred_length, its);
        return CODE_INVALID_ARGUMENT;
    }
    if (d != NULL && d->n_pools > 0 && (d->family != family || d->unit != unit)) {
        snprintf(text, 300, "domain %s has pools of %s", cd->domain,
                 pools_unit_text(d->family, d->unit, other));
        return CODE_FAILED_PRECONDITION;
    }
    if (c != NULL && (c->family != family || c->unit != unit)) {
        snprintf(text, 300, "partition %s is for %s, the domain is for %s", cd->partition,
                 pools_unit_text(c->family, c->unit, other), its);
        return CODE_FAILED_PRECONDITION;
    }
    return CODE_OK;
}

static void create_domain(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                          Openapmi__V1__CreateDomain *cd) {
    struct entity *en = s->entity;
    struct domain *d = entity_domain(en, cd->domain);
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    Openapmi__V1__Thresholds th = OPENAPMI__V1__THRESHOLDS__INIT;
    char text[300] = "";
    uint8_t family, unit;
    kind_of(cd->af, cd->delegated_length, &family, &unit);
    st.code = kind_refused(p, en, d, cd, family, unit, text);
    if (st.code != CODE_OK) {
        L_WARN("%s domain %s is refused: %s", en->system_id, cd->domain, text);
    } else if (d != NULL && d->n_pools > 0 && strcmp(d->partition->name, cd->partition) != 0) {
        st.code = CODE_FAILED_PRECONDITION; /* APM-015 */
        snprintf(text, sizeof text, "domain %s has pools of partition %s", cd->domain,
                 d->partition->name);
    } else if (d == NULL && en->domains.count >= POOLS_DOMAINS_MAX) {
        st.code = CODE_RESOURCE_EXHAUSTED;
        snprintf(text, sizeof text, "the entity has %d domains, which is the most it may have",
                 POOLS_DOMAINS_MAX);
    } else {
        bool is_new = d == NULL;
        struct domain_rec r = {.entity = en->id,
                               .name = cd->domain,
                               .partition = cd->partition,
                               .profile = cd->domain_profile,
                               .group = cd->subscriber_group,
                               .instance = cd->routing_instance,
                               .family = family,
                               .unit = unit,
                               .preferred_len = (uint8_t)cd->preferred_length,
                               .next_seq = d ? d->next_seq : 0,
                               .next_ordinal = d ? d->next_ordinal : 0,
                               .created_s = d ? d->created_s : txn_now_s(t)};
        d = domain_put(p, t, &r, d ? d->id : UINT32_MAX);
        d->created_here |= is_new || d->n_pools == 0;
        if (d->partition->cfg == NULL) {
            snprintf(text, sizeof text, "partition %s is not configured yet", cd->partition);
            L_WARN("%s domain %s: %s", en->system_id, d->name, text);
        }
        domain_thresholds(p, d, &th);
        thresholds_given(d, &th);
    }
    st.text = text;
    Openapmi__V1__DomainCreated dc = OPENAPMI__V1__DOMAIN_CREATED__INIT;
    dc.domain = cd->domain;
    dc.status = &st;
    dc.thresholds = &th;
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_CREATED;
    m.domain_created = &dc;
    apmi_send(t, s, &m);
}

static void delete_domain(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                          const Openapmi__V1__DeleteDomain *dd) {
    struct domain *d = entity_domain(s->entity, dd->domain);
    if (d != NULL) {
        L_INFO("%s deletes domain %s with %" PRIu32 " pools", s->entity->system_id, d->name,
               d->n_pools);
        domain_delete(p, t, d);
    }
    reply_ack(t, s, msg_id, CODE_OK, "");
}

/* ---- pools --------------------------------------------------------------------------------------
 */

static void pool_sync_reply(struct txn *t, struct apmi_session *s, uint64_t msg_id,
                            Openapmi__V1__PoolSyncResult *r, const char *domain, uint32_t code,
                            const char *text) {
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    st.code = code;
    st.text = (char *)(uintptr_t)text;
    r->domain = (char *)(uintptr_t)domain;
    r->status = &st;
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT;
    m.pool_sync_result = r;
    apmi_send(t, s, &m);
}

static void adjust_partition(struct pools *p, struct txn *t, struct domain *d,
                             const Openapmi__V1__PoolSync *ps) {
    bool other = ps->partition[0] != '\0' && strcmp(ps->partition, d->partition->name) != 0;
    if (other && d->n_pools > 0) {
        L_WARN("%s domain %s asks for partition %s, but has pools of partition %s",
               d->entity->system_id, d->name, ps->partition, d->partition->name);
        other = false;
    }
    bool len = ps->preferred_length != 0 && ps->preferred_length != d->preferred_len;
    if (other || len) {
        struct domain_rec r;
        domain_rec_of(d, &r);
        r.partition = other ? ps->partition : r.partition;
        r.preferred_len = len ? (uint8_t)ps->preferred_length : r.preferred_len;
        domain_put(p, t, &r, d->id);
    }
}

/* Is there a pool about which the entity needs a verdict? It may have lost the one it was given. */
static bool has_conflicts(const struct domain *d) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (!pool_state_managed(d->pools[i].state)) {
            return true;
        }
    }
    return false;
}

/* The family of the listed pools: 0 when there are none, 46 when there are some of each. */
static unsigned listed_family(Openapmi__V1__Pool *const *all, size_t n) {
    bool four = false, six = false;
    for (size_t i = 0; i < n; i++) {
        if (!all[i]->local) {
            *(all[i]->prefix->address.len == 16 ? &six : &four) = true;
        }
    }
    return four && six ? 46 : six ? 6 : four ? 4 : 0;
}

/* P-23. The entity made the domain anew, of another kind, and lists nothing of the old one: that
 * one goes. False: the session is over, or the domain is gone and it was told. */
static bool kind_agreed(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                        struct domain *d, const Openapmi__V1__PoolSync *last,
                        Openapmi__V1__Pool *const *all, size_t n) {
    uint8_t family, unit;
    unsigned listed = listed_family(all, n);
    kind_of(last->af, last->delegated_length, &family, &unit);
    if ((listed != 0 && listed != family) || last->preferred_length > unit) {
        char text[POOLS_DOMAIN_NAME_MAX + 80];
        snprintf(text, sizeof text, "domain %s is of IPv%u, its pools or preferred length are not",
                 d->name, family);
        apmi_end(t, s, CODE_INVALID_ARGUMENT, text);
        return false;
    }
    if (family == d->family && unit == d->unit) {
        return true;
    }
    if (listed != 0 && listed == d->family) { /* which of its pools are of the old kind? */
        apmi_end(t, s, CODE_INVALID_ARGUMENT, "a domain with pools changed its delegated length");
        return false;
    }
    L_INFO("%s made domain %s anew, of another kind: its %" PRIu32 " pools are free again",
           d->entity->system_id, d->name, d->n_pools);
    char name[POOLS_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", d->name);
    domain_delete(p, t, d);
    Openapmi__V1__PoolSyncResult r = OPENAPMI__V1__POOL_SYNC_RESULT__INIT;
    pool_sync_reply(t, s, msg_id, &r, name, CODE_NOT_FOUND,
                    "the domain was of another kind: create it");
    return false;
}

/* All parts are there. */
static void pool_sync_whole(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                            struct domain *d, const Openapmi__V1__PoolSync *last) {
    struct arena *a = arena_new();
    Openapmi__V1__PoolSyncResult r = OPENAPMI__V1__POOL_SYNC_RESULT__INIT;
    Openapmi__V1__Thresholds th;
    domain_thresholds(p, d, &th);
    r.thresholds = &th;
    size_t n = s->n_part_pools + last->n_pool, at = 0;
    uint8_t ours[32];
    Openapmi__V1__Pool **all = arena_alloc(a, (n + 1) * sizeof *all);
    for (size_t i = 0; i < s->n_parts; i++) {
        const Openapmi__V1__PoolSync *part = s->parts[i]->m->pool_sync;
        for (size_t k = 0; k < part->n_pool; k++) {
            all[at++] = part->pool[k];
        }
    }
    for (size_t k = 0; k < last->n_pool; k++) {
        all[at++] = last->pool[k];
    }
    if (!kind_agreed(p, t, s, msg_id, d, last, all, n)) {
        arena_free(a);
        return;
    }
    adjust_partition(p, t, d, last);
    if (n == 0 && last->digest.len == 32) {
        domain_digest(d, ours);
        bool same = memcmp(ours, last->digest.data, 32) == 0;
        if (!same || has_conflicts(d)) {
            pool_sync_reply(t, s, msg_id, &r, last->domain, CODE_ABORTED,
                            same ? "pools are in conflict or unmanaged: send the full list"
                                 : "the digests differ: send the full list");
            arena_free(a);
            return;
        }
        sync_domain_agreed(p, t, s, d);
    } else {
        sync_domain(p, t, s, d, all, n, &r, a);
    }
    if (d->n_pools == 0 && !d->created_here && s->phase != PHASE_IN_STEP) {
        /* APM-037; the entity creates it again at need. */
        char name[POOLS_NAME_MAX + 1];
        snprintf(name, sizeof name, "%s", d->name);
        domain_remove_if_empty(p, t, d, "it was found empty");
        pool_sync_reply(t, s, msg_id, &r, name, CODE_NOT_FOUND,
                        "the domain is empty and is removed: create it when it is needed");
    } else {
        thresholds_given(d, &th);
        pool_sync_reply(t, s, msg_id, &r, last->domain, CODE_OK, "");
        sync_reissue(p, t, s, d);
    }
    arena_free(a);
}

static void pool_sync(struct pools *p, struct txn *t, struct apmi_session *s, struct item *it) {
    const Openapmi__V1__PoolSync *ps = it->m->pool_sync;
    Openapmi__V1__PoolSyncResult r = OPENAPMI__V1__POOL_SYNC_RESULT__INIT;
    struct domain *d = entity_domain(s->entity, ps->domain);
    if (s->phase == PHASE_DOMAINS) {
        pool_sync_reply(t, s, it->m->msg_id, &r, ps->domain, CODE_FAILED_PRECONDITION,
                        "the list of domains comes first");
        return;
    }
    if (d == NULL) {
        pool_sync_reply(t, s, it->m->msg_id, &r, ps->domain, CODE_NOT_FOUND,
                        "no such domain: create it first");
        return;
    }
    if (s->n_parts > 0 && strcmp(s->parts[0]->m->pool_sync->domain, ps->domain) != 0) {
        apmi_end(t, s, CODE_INVALID_ARGUMENT, "parts of two domains' pools are mixed");
        return;
    }
    if (s->n_part_pools + ps->n_pool > POOLS_PER_DOMAIN_MAX) {
        apmi_end(t, s, CODE_RESOURCE_EXHAUSTED, "too many pools in one domain");
        return;
    }
    if (ps->more) {
        s->parts = mem_array(s->parts, s->n_parts + 1, sizeof *s->parts);
        s->parts[s->n_parts++] = it;
        s->n_part_pools += ps->n_pool;
        it->kept = true;
        pool_sync_reply(t, s, it->m->msg_id, &r, ps->domain, CODE_OK, "");
        return;
    }
    pool_sync_whole(p, t, s, it->m->msg_id, d, ps);
    parts_clear(s);
}

static void sync_done(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id) {
    if (s->phase == PHASE_DOMAINS) {
        reply_ack(t, s, msg_id, CODE_FAILED_PRECONDITION, "the list of domains comes first");
        return;
    }
    MAP_FOREACH (m, &s->entity->domains) {
        const struct domain *d = m->value;
        if (!d->synced && !(d->created_here && d->n_pools == 0)) {
            char text[POOLS_NAME_MAX + 64];
            snprintf(text, sizeof text, "the pools of domain %s are missing", d->name);
            reply_ack(t, s, msg_id, CODE_FAILED_PRECONDITION, text);
            return;
        }
    }
    bool first = s->phase != PHASE_IN_STEP;
    s->phase = PHASE_IN_STEP;
    reply_ack(t, s, msg_id, CODE_OK, "");
    if (first) {
        L_INFO("entity %s is synchronised: %zu domains", s->entity->system_id,
               s->entity->domains.count);
        entity_in_step(t, s);
    }
}

/* ---- dispatch -----------------------------------------------------------------------------------
 */

static void ping(struct txn *t, struct apmi_session *s, const entity_msg *m) {
    manager_msg out = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Pong pong = OPENAPMI__V1__PONG__INIT;
    pong.sent_at_us = m->ping->sent_at_us;
    out.in_reply_to = m->msg_id;
    out.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_PONG;
    out.pong = &pong;
    apmi_send(t, s, &out);
}

static enum err_code item_work(struct txn *t, void *arg, struct err *e) {
    struct item *it = arg;
    struct apmi_session *s = it->s;
    struct pools *p = s->pools;
    entity_msg *m = it->m;
    if (s->phase == PHASE_OVER || s->closed) {
        return ERR_OK;
    }
    if (m->msg_id <= s->last_msg_id) {
        apmi_end(t, s, CODE_INVALID_ARGUMENT, "msg_id must rise (P-13)");
        return ERR_OK;
    }
    s->last_msg_id = m->msg_id;
    s->heard_s = clock_mono_s(p->clock);
    if ((s->phase == PHASE_HELLO) != (m->body_case == OPENAPMI__V1__ENTITY_MSG__BODY_HELLO)) {
        apmi_end(t, s, CODE_INVALID_ARGUMENT,
                 s->phase == PHASE_HELLO ? "Hello comes first" : "Hello comes once");
        return ERR_OK;
    }
    if (s->n_parts > 0 && m->body_case != OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC &&
        m->body_case != OPENAPMI__V1__ENTITY_MSG__BODY_PING) {
        parts_clear(s); /* an unfinished list is forgotten */
    }
    switch (m->body_case) {
    case OPENAPMI__V1__ENTITY_MSG__BODY_HELLO:
        apmi_hello(p, t, s, m->msg_id, m->hello);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC:
        domain_sync(p, t, s, m->msg_id, m->domain_sync);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC:
        pool_sync(p, t, s, it);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN:
        create_domain(p, t, s, m->msg_id, m->create_domain);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_DELETE_DOMAIN:
        delete_domain(p, t, s, m->msg_id, m->delete_domain);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_ALARM:
        /* Kept by the entity, which raises it again: nothing is given out or taken for now. */
        if (m->alarm->type != OPENAPMI__V1__ALARM_TYPE__ABATE) {
            ERR_TRY(core_maintenance_refusal(s->core, e));
        }
        alarm_handle(p, t, s, m->msg_id, m->alarm, it->receipt_s);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_ORDER_RESULT:
        order_result(p, t, s, m->order_result);
        reply_ack(t, s, m->msg_id, CODE_OK, "");
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_STATS:
        stats_handle(p, t, s, m->stats);
        reply_ack(t, s, m->msg_id,
                  entity_domain(s->entity, m->stats->domain) ? CODE_OK : CODE_NOT_FOUND, "");
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_SYNC_DONE:
        sync_done(p, t, s, m->msg_id);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_PING:
        ping(t, s, m);
        break;
    default: /* checked before */
        break;
    }
    return ERR_OK;
}

/* The store can't be written: nothing has happened. An alarm is told so (P-08); whatever else it
 * was, the entity starts over. */
static void item_failed(struct item *it, const struct err *e) {
    struct apmi_session *s = it->s;
    char text[200];
    snprintf(text, sizeof text, "nothing was done: %.150s", e->text);
    s->pools->stats.store_unavailable++;
    if (it->m->body_case == OPENAPMI__V1__ENTITY_MSG__BODY_ALARM && s->phase != PHASE_OVER) {
        /* Maintenance takes its time: once in a while will do. */
        const int wait_s = core_maintenance(s->core, NULL) ? 10 : 1;
        Openapmi__V1__AlarmResponse r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
        manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
        r.alarm_id = it->m->alarm->alarm_id;
        r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
        r.action = OPENAPMI__V1__ACTION__NOOP;
        r.reason = OPENAPMI__V1__REASON__STORE_UNAVAILABLE;
        r.retry_at = it->receipt_s + wait_s;
        r.text = text;
        m.in_reply_to = it->m->msg_id;
        m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE;
        m.alarm_response = &r;
        apmi_send_now(s, &m);
        return;
    }
    end_now(s, CODE_UNAVAILABLE, text);
}

static void item_done(void *arg, uint64_t index, const struct err *e) {
    struct item *it = arg;
    struct apmi_session *s = it->s;
    if (e != NULL) {
        item_failed(it, e);
    }
    if (atomic_fetch_sub(&s->in_flight, 1) == APMI_IN_FLIGHT_MAX / 2 + 1 && !s->closed &&
        s->transport->resume != NULL) {
        s->transport->resume(s->conn);
    }
    if (!it->kept) {
        item_free(it);
    }
    apmi_release(s);
}

/* ---- the transport's side -----------------------------------------------------------------------
 */

struct apmi_session *apmi_open(struct core *c, const struct apmi_transport *tr, void *conn,
                               const struct apmi_peer *peer) {
    struct apmi_session *s = MEM_NEW(struct apmi_session);
    atomic_init(&s->refs, 1);
    s->core = c;
    s->pools = core_service_state(c, "pools");
    s->transport = tr;
    s->conn = conn;
    s->peer = *peer;
    return s;
}

static void actor_of(const struct apmi_session *s, struct actor *who) {
    *who = actor_system;
    snprintf(who->user, sizeof who->user, "entity");
    snprintf(who->source, sizeof who->source, "apmi %.80s", s->peer.source);
}

struct refusal {
    struct apmi_session *s;
    char text[160];
};

static enum err_code refusal_work(struct txn *t, void *arg, struct err *e) {
    struct refusal *r = arg;
    apmi_end(t, r->s, CODE_INVALID_ARGUMENT, r->text);
    return ERR_OK;
}

static void refusal_done(void *arg, uint64_t index, const struct err *e) {
    struct refusal *r = arg;
    apmi_release(r->s);
    mem_free(r);
}

unsigned apmi_in_flight(const struct apmi_session *s) {
    return atomic_load(&s->in_flight);
}

unsigned apmi_receive(struct apmi_session *s, const void *p, size_t n, int64_t receipt_s) {
    struct actor who;
    struct err e;
    actor_of(s, &who);
    if (s->failed) {
        return 0;
    }
    entity_msg *m = apmi_check(p, n, &e);
    apmi_hold(s);
    if (m == NULL) {
        /* Through the writer as well, so that what came before is answered before. */
        struct refusal *r = MEM_NEW(struct refusal);
        r->s = s;
        snprintf(r->text, sizeof r->text, "%.150s", e.text);
        s->failed = true;
        core_run(s->core, &who, refusal_work, refusal_done, r);
        return 0;
    }
    struct item *it = MEM_NEW(struct item);
    it->s = s;
    it->m = m;
    it->receipt_s = receipt_s;
    unsigned waiting = atomic_fetch_add(&s->in_flight, 1) + 1;
    core_run(s->core, &who, item_work, item_done, it);
    return waiting;
}

struct closing {
    struct apmi_session *s;
    char why[128];
};

static enum err_code closing_work(struct txn *t, void *arg, struct err *e) {
    struct closing *c = arg;
    c->s->closed = true;
    apmi_detach(c->s->pools, t, c->s, c->why);
    return ERR_OK;
}

static void closing_done(void *arg, uint64_t index, const struct err *e) {
    struct closing *c = arg;
    c->s->closed = true;
    apmi_release(c->s);
    mem_free(c);
}

void apmi_closed(struct apmi_session *s, const char *why) {
    struct actor who;
    actor_of(s, &who);
    struct closing *c = MEM_NEW(struct closing);
    c->s = s; /* the reference of apmi_open */
    snprintf(c->why, sizeof c->why, "%s", why);
    core_run(s->core, &who, closing_work, closing_done, c);
}
