// SPDX-License-Identifier: Apache-2.0
/*
 * Durable memory is the fold of state records: state_fold is the only way in, state_encode the way
 * back, and undoing a transaction is folding what state_encode gave before. So everything a record
 * implies (the prefix in its partition's tree, the counts) is done and undone right here.
 */
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

static uint32_t be32(const char *p) {
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void *slot(void **table, uint32_t n, uint32_t id) {
    return id < n ? table[id] : NULL;
}

static void **slot_make(void **table, uint32_t *n, uint32_t *cap, uint32_t id) {
    if (id >= *cap) {
        uint32_t want = id + 1 + id / 2;
        table = mem_array(table, want, sizeof *table);
        *cap = want;
    }
    while (*n <= id) {
        table[(*n)++] = NULL;
    }
    return table;
}

static struct domain *domain_at(struct pools *p, uint32_t id) {
    return slot((void **)p->domains, p->n_domains, id);
}

static struct entity *entity_at(struct pools *p, uint32_t id) {
    return slot((void **)p->entities, p->n_entities, id);
}

/* ---- entities -------------------------------------------------------------------------------- */

void entity_free(struct entity *en) {
    apmi_entity_gone(en);
    entity_refused_clear(en);
    map_free(&en->domains, NULL);
    mem_free(en->system_id);
    mem_free(en->address);
    mem_free(en->software);
    mem_free(en->lost_why);
    mem_free(en);
}

static void entity_drop(struct pools *p, struct entity *en) {
    map_del(&p->entity_by_id, en->system_id);
    p->entities[en->id] = NULL;
    p->entity_count--;
    while (p->n_entities > 0 && p->entities[p->n_entities - 1] == NULL) {
        p->n_entities--;
    }
    entity_free(en);
}

static enum err_code fold_entity(struct pools *p, uint32_t id, const void *v, size_t n,
                                 struct err *e) {
    struct entity *en = entity_at(p, id);
    if (v == NULL) {
        if (en != NULL) {
            entity_drop(p, en);
        }
        return ERR_OK;
    }
    struct entity_rec r;
    ERR_TRY(entity_rec_decode(v, n, &r, e));
    if (id > (1u << 24)) {
        entity_rec_free(&r);
        return err_set(e, ERR_MALFORMED, NULL, "the number of the entity is out of range");
    }
    if (en == NULL) {
        if (map_get(&p->entity_by_id, r.system_id) != NULL) {
            enum err_code rc =
                err_set(e, ERR_MALFORMED, NULL, "entity %s is stored twice", r.system_id);
            entity_rec_free(&r);
            return rc;
        }
        en = MEM_NEW(struct entity);
        en->id = id;
        en->since_s = clock_wall_s(p->clock);
        list_init(&en->refused);
        p->entities =
            (struct entity **)slot_make((void **)p->entities, &p->n_entities, &p->cap_entities, id);
        p->entities[id] = en;
        p->entity_count++;
        en->system_id = mem_strdup(r.system_id);
        map_put(&p->entity_by_id, en->system_id, en);
        if (p->started) {
            entity_target_start(p, en);
        }
    }
    mem_free(en->address);
    mem_free(en->software);
    en->address = mem_strdup(r.address);
    en->software = mem_strdup(r.software);
    en->kind = r.kind;
    en->security = r.security;
    en->version = r.version;
    en->boot_epoch = r.boot_epoch;
    en->first_s = r.first_s;
    entity_rec_free(&r);
    return ERR_OK;
}

/* ---- domains --------------------------------------------------------------------------------- */

void domain_free(struct domain *d) {
    list_remove(&d->waiting);
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i].extra != NULL) {
            mem_free(d->pools[i].extra->name);
            mem_free(d->pools[i].extra->note);
            mem_free(d->pools[i].extra);
        }
    }
    for (int i = 0; i < ALARM_TYPES; i++) {
        if (d->alarms[i] != NULL) {
            alarm_clear(d->alarms[i]);
            mem_free(d->alarms[i]);
        }
    }
    mem_free(d->pools);
    mem_free(d->name);
    mem_free(d->profile);
    mem_free(d->group);
    mem_free(d->instance);
    mem_free(d->thresholds_refused);
    mem_free(d);
}

static void domain_drop(struct pools *p, struct domain *d) {
    domain_set_usage(d, 0, 0, 0);
    if (d->thresholds_in_flight != 0) {
        d->entity->in_flight--;
    }
    map_del(&d->entity->domains, d->name);
    p->domains[d->id] = NULL;
    p->domain_count--;
    while (p->n_domains > 0 && p->domains[p->n_domains - 1] == NULL) {
        p->n_domains--;
    }
    struct partition *pt = d->partition;
    pt->n_domains--;
    domain_free(d);
    partition_drop_if_idle(p, pt);
}

static void set_text(char **field, const char *s) {
    if (*field == NULL || strcmp(*field, s) != 0) {
        mem_free(*field);
        *field = mem_strdup(s);
    }
}

static enum err_code fold_domain(struct pools *p, uint32_t id, const void *v, size_t n,
                                 struct err *e) {
    struct domain *d = domain_at(p, id);
    if (v == NULL) {
        if (d != NULL) {
            domain_drop(p, d);
        }
        return ERR_OK;
    }
    struct domain_rec r;
    ERR_TRY(domain_rec_decode(v, n, &r, e));
    struct entity *en = entity_at(p, r.entity);
    enum err_code rc = ERR_OK;
    if (en == NULL) {
        rc = err_set(e, ERR_MALFORMED, NULL, "domain %s belongs to no entity", r.name);
    } else if (id > (1u << 28)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the number of domain %s is out of range", r.name);
    } else if (d == NULL && map_get(&en->domains, r.name) != NULL) {
        rc = err_set(e, ERR_MALFORMED, NULL, "domain %s is stored twice", r.name);
    } else if (d != NULL && (d->entity != en || strcmp(d->name, r.name) != 0)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "domain %s changed its name or entity", r.name);
    }
    if (rc != ERR_OK) {
        domain_rec_free(&r);
        return rc;
    }
    if (d == NULL) {
        d = MEM_NEW(struct domain);
        list_init(&d->waiting);
        d->id = id;
        d->entity = en;
        d->told = p->started;
        d->name = mem_strdup(r.name);
        p->domains =
            (struct domain **)slot_make((void **)p->domains, &p->n_domains, &p->cap_domains, id);
        p->domains[id] = d;
        p->domain_count++;
        map_put(&en->domains, d->name, d);
    }
    struct partition *pt = partition_get(p, r.partition, true);
    if (d->partition != pt) {
        pt->n_domains++;
        struct partition *before = d->partition;
        uint64_t used = d->used_counted;
        if (before != NULL) {
            domain_set_usage(d, d->free, d->total, 0);
            before->n_domains--;
        }
        d->partition = pt;
        if (before != NULL) {
            domain_set_usage(d, d->free, d->total, used);
            partition_drop_if_idle(p, before);
        }
    }
    set_text(&d->profile, r.profile);
    set_text(&d->group, r.group);
    set_text(&d->instance, r.instance);
    d->family = r.family;
    d->unit = r.unit;
    d->preferred_len = r.preferred_len;
    d->next_seq = r.next_seq;
    d->next_ordinal = r.next_ordinal;
    d->created_s = r.created_s;
    domain_rec_free(&r);
    return ERR_OK;
}

/* ---- pools ----------------------------------------------------------------------------------- */

static void pool_extra_free(struct pool *po) {
    if (po->extra != NULL) {
        mem_free(po->extra->name);
        mem_free(po->extra->note);
        mem_free(po->extra);
        po->extra = NULL;
    }
}

/* What the domain counts of its pools, so that nobody has to look at all of them. */
static void pool_count(struct domain *d, const struct pool *po, int by) {
    d->n_bare += po->seq == SEQ_BARE ? (uint32_t)by : 0;
    d->n_unsettled += pool_state_unsettled(po->state) ? (uint32_t)by : 0;
    d->n_drained += po->state == POOL_DRAINED ? (uint32_t)by : 0;
    if (po->seq < SEQ_FOREIGN && po->seq >= d->seq_end) {
        d->seq_end = po->seq + 1;
    }
}

static void tree_leave(struct domain *d, const struct pool *po) {
    if (pool_state_managed(po->state)) {
        struct ip_prefix px = pool_prefix(po);
        partition_release(d->partition, &px);
    }
}

static enum err_code tree_join(struct pools *p, struct domain *d, const struct pool *po,
                               struct err *e) {
    if (!pool_state_managed(po->state)) {
        return ERR_OK;
    }
    struct ip_prefix px = pool_prefix(po);
    return partition_restore(d->partition, &px, pool_owner(d, po->ordinal),
                             pools_tag(p, d->entity->system_id, d->name, false), e);
}

static void pool_remove(struct pools *p, struct domain *d, uint32_t i) {
    struct pool *po = &d->pools[i];
    tree_leave(d, po);
    pool_count(d, po, -1);
    pool_extra_free(po);
    memmove(po, po + 1, (d->n_pools - i - 1) * sizeof *po);
    d->n_pools--;
    p->pool_count--;
    if (d->cap_pools > 16 && d->n_pools < d->cap_pools / 4) {
        d->cap_pools /= 2;
        d->pools = mem_array(d->pools, d->cap_pools, sizeof *d->pools);
    }
}

static struct pool *pool_insert(struct pools *p, struct domain *d, uint32_t i, uint32_t ordinal) {
    if (d->n_pools == d->cap_pools) {
        d->cap_pools = d->cap_pools < 4 ? 4 : d->cap_pools + d->cap_pools / 4 + 4;
        d->pools = mem_array(d->pools, d->cap_pools, sizeof *d->pools);
    }
    memmove(&d->pools[i + 1], &d->pools[i], (d->n_pools - i) * sizeof *d->pools);
    d->n_pools++;
    p->pool_count++;
    d->pools[i] = (struct pool){.ordinal = ordinal};
    return &d->pools[i];
}

static enum err_code fold_pool(struct pools *p, uint32_t domain, uint32_t ordinal, const void *v,
                               size_t n, struct err *e) {
    struct domain *d = domain_at(p, domain);
    if (d == NULL) {
        return v == NULL ? ERR_OK
                         : err_set(e, ERR_MALFORMED, NULL, "the pool belongs to no domain");
    }
    uint32_t i = domain_pool_index(d, ordinal);
    bool there = i < d->n_pools && d->pools[i].ordinal == ordinal;
    if (v == NULL) {
        if (there) {
            pool_remove(p, d, i);
        }
        return ERR_OK;
    }
    struct pool_rec r;
    ERR_TRY(pool_rec_decode(v, n, &r, e));
    struct pool *po = there ? &d->pools[i] : pool_insert(p, d, i, ordinal);
    if (r.prefix.addr.family != d->family) {
        pool_rec_free(&r);
        return err_set(e, ERR_MALFORMED, NULL, "a pool of domain %s is of another family", d->name);
    }
    bool same = there && ip_prefix_eq(&po->prefix, &r.prefix) &&
                pool_state_managed(po->state) == pool_state_managed(r.state);
    if (there) {
        pool_count(d, po, -1);
    }
    if (there && !same) {
        tree_leave(d, po);
    }
    po->prefix = r.prefix;
    po->state = r.state;
    po->flags = r.flags;
    po->code = r.code;
    po->seq = r.seq;
    po->allocated_at = r.allocated_at;
    po->since = r.since;
    pool_count(d, po, 1);
    pool_extra_free(po);
    if (r.name != NULL || r.note != NULL) {
        po->extra = MEM_NEW(struct pool_extra);
        po->extra->name = r.seq == SEQ_FOREIGN ? r.name : NULL;
        po->extra->note = r.note;
        if (po->extra->name == NULL) {
            mem_free(r.name);
        }
        r.name = r.note = NULL;
    }
    if (!same) {
        enum err_code rc = tree_join(p, d, po, e);
        if (rc != ERR_OK) {
            pool_count(d, po, -1);
            po->state = POOL_UNMANAGED; /* so that removing it leaves the tree alone */
            pool_count(d, po, 1);
            pool_remove(p, d, i);
            return rc;
        }
    }
    return ERR_OK;
}

/* ---- alarms, answers, retiring roots, samples ------------------------------------------------ */

static enum err_code fold_alarm(struct pools *p, uint32_t domain, unsigned type, const void *v,
                                size_t n, struct err *e) {
    struct domain *d = domain_at(p, domain);
    if (d == NULL || type >= ALARM_TYPES) {
        return v == NULL ? ERR_OK
                         : err_set(e, ERR_MALFORMED, NULL, "the alarm belongs to no domain");
    }
    struct alarm a;
    if (v != NULL) {
        ERR_TRY(alarm_rec_decode(v, n, &a, e));
    }
    if (d->alarms[type] != NULL) {
        alarm_clear(d->alarms[type]);
        mem_free(d->alarms[type]);
        d->alarms[type] = NULL;
    }
    if (v != NULL) {
        d->alarms[type] = mem_dup(&a, sizeof a);
    }
    return ERR_OK;
}

static void answer_drop(struct pools *p, const char *key, size_t key_len, struct answer *a) {
    map_del_n(&p->answer_by_id, key, key_len);
    list_remove(&a->link);
    p->n_answers--;
    struct entity *en = entity_at(p, a->entity);
    if (en != NULL) {
        en->n_answers--;
    }
    mem_free(a);
}

static struct answer *answer_new(uint32_t entity, const char *id, size_t id_len,
                                 const struct answer_rec *r) {
    struct answer *a = mem_alloc(sizeof *a + id_len + 1 + r->len);
    a->entity = entity;
    a->at_s = r->at_s;
    a->attempt = r->attempt;
    a->type = r->type;
    a->domain = r->domain;
    a->n_add = r->n_add;
    a->first = r->first;
    a->crc = r->crc;
    a->len = (uint16_t)r->len;
    memcpy(a->alarm_id, id, id_len);
    if (r->len > 0) {
        memcpy(a->alarm_id + id_len + 1, r->bytes, r->len);
    }
    return a;
}

static enum err_code fold_answer(struct pools *p, const char *key, size_t key_len, const void *v,
                                 size_t n, struct err *e) {
    if (key_len <= 4 || key_len > 4 + POOLS_NAME_MAX) {
        return err_set(e, ERR_MALFORMED, NULL, "the answer's key is damaged");
    }
    struct answer *a = map_get_n(&p->answer_by_id, key, key_len);
    if (v == NULL) {
        if (a != NULL) {
            answer_drop(p, key, key_len, a);
        }
        return ERR_OK;
    }
    struct answer_rec r;
    struct buf rest = BUF_INIT;
    ERR_TRY(answer_rec_decode(v, n, &r, e));
    if (memchr(key + 4, '\0', key_len - 4) != NULL || (r.whole && !answer_upgrade(p, &r, &rest))) {
        return err_set(e, ERR_MALFORMED, NULL, "the answer is damaged");
    }
    if (a != NULL) {
        answer_drop(p, key, key_len, a);
    }
    a = answer_new(be32(key), key + 4, key_len - 4, &r);
    buf_free(&rest);
    map_put_n(&p->answer_by_id, key, key_len, a);
    answer_link(p, a);
    p->n_answers++;
    struct entity *en = entity_at(p, a->entity);
    if (en != NULL) {
        en->n_answers++;
    }
    return ERR_OK;
}

/* "name\0" and a tail of `tail` bytes. False: not of that form. */
static bool split_name(const char *key, size_t len, size_t tail, const char **rest) {
    if (len < tail + 2 || key[len - tail - 1] != '\0' ||
        memchr(key, '\0', len - tail - 1) != NULL || len - tail - 1 > POOLS_NAME_MAX) {
        return false;
    }
    *rest = key + len - tail;
    return true;
}

/* The name ends at the first NUL: an address of 4 or 16 bytes and a length follow. */
static bool retiring_key(const char *key, size_t len, struct ip_prefix *px) {
    const char *rest;
    size_t n = strnlen(key, len) + 6 == len ? 4 : 16;
    if (!split_name(key, len, n + 1, &rest)) {
        return false;
    }
    *px = (struct ip_prefix){.addr.family = n == 4 ? 4 : 6, .len = (uint8_t)rest[n]};
    memcpy(px->addr.bytes, rest, n);
    return ip_prefix_aligned(px);
}

static enum err_code fold_retiring(struct pools *p, const char *key, size_t len, const void *v,
                                   struct err *e) {
    struct ip_prefix px;
    if (!retiring_key(key, len, &px)) {
        return err_set(e, ERR_MALFORMED, NULL, "the key of the retiring root is damaged");
    }
    struct partition *pt = partition_get(p, key, v != NULL);
    if (pt != NULL && v != NULL) {
        partition_retire_add(pt, &px);
    } else if (pt != NULL) {
        partition_retire_del(pt, &px);
        partition_drop_if_idle(p, pt);
    }
    return ERR_OK;
}

static enum err_code fold_sample(struct pools *p, const char *key, size_t len, const void *v,
                                 size_t n, struct err *e) {
    const char *rest;
    if (!split_name(key, len, 2, &rest)) {
        return err_set(e, ERR_MALFORMED, NULL, "the sample's key is damaged");
    }
    unsigned at = (unsigned)(uint8_t)rest[0] << 8 | (uint8_t)rest[1];
    if (at >= POOLS_SAMPLES) {
        return err_set(e, ERR_MALFORMED, NULL, "the sample's key is damaged");
    }
    struct partition *pt = partition_get(p, key, v != NULL);
    if (pt == NULL) {
        return ERR_OK;
    }
    struct sample s = {.time_s = 0};
    if (v != NULL) {
        ERR_TRY(sample_rec_decode(v, n, &s, e));
    }
    if (pt->samples == NULL) {
        pt->samples = mem_alloc(POOLS_SAMPLES * sizeof *pt->samples);
    }
    pt->samples[at] = s;
    return ERR_OK;
}

/* ---- the two doors --------------------------------------------------------------------------- */

enum err_code pools_state_fold(void *self, const char *key, size_t key_len, const void *value,
                               size_t len, struct err *e) {
    struct pools *p = self;
    const char *k = key + 7;
    size_t n = key_len - 7;
    if (key_len < 8) {
        return err_set(e, ERR_MALFORMED, NULL, "the key is too short");
    }
    switch (key[6]) {
    case REC_ENTITY:
        if (n == 4) {
            return fold_entity(p, be32(k), value, len, e);
        }
        break;
    case REC_DOMAIN:
        if (n == 4) {
            return fold_domain(p, be32(k), value, len, e);
        }
        break;
    case REC_POOL:
        if (n == 8) {
            return fold_pool(p, be32(k), be32(k + 4), value, len, e);
        }
        break;
    case REC_ALARM:
        if (n == 5) {
            return fold_alarm(p, be32(k), (uint8_t)k[4], value, len, e);
        }
        break;
    case REC_ANSWER:
        return fold_answer(p, k, n, value, len, e);
    case REC_RETIRING:
        return fold_retiring(p, k, n, value, e);
    case REC_SAMPLE:
        return fold_sample(p, k, n, value, len, e);
    case REC_DRIFT:
        if (n == 4) {
            return drift_fold(p, be32(k), value, len, e);
        }
        break;
    default:
        return err_set(e, ERR_UNSUPPORTED, NULL, "a record of an unknown kind");
    }
    return err_set(e, ERR_MALFORMED, NULL, "the key has the wrong length");
}

bool pools_state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    struct pools *p = self;
    const char *k = key + 7, *rest;
    size_t n = key_len - 7;
    if (key_len < 8) {
        return false;
    }
    if (key[6] == REC_ENTITY && n == 4) {
        const struct entity *en = entity_at(p, be32(k));
        if (en != NULL) {
            struct entity_rec r;
            entity_rec_of(en, &r);
            entity_rec_encode(&r, out);
        }
        return en != NULL;
    }
    if (key[6] == REC_DOMAIN && n == 4) {
        const struct domain *d = domain_at(p, be32(k));
        if (d != NULL) {
            struct domain_rec r;
            domain_rec_of(d, &r);
            domain_rec_encode(&r, out);
        }
        return d != NULL;
    }
    if (key[6] == REC_POOL && n == 8) {
        struct domain *d = domain_at(p, be32(k));
        struct pool *po = d ? domain_pool(d, be32(k + 4)) : NULL;
        if (po != NULL) {
            struct pool_rec r;
            pool_rec_of(po, &r);
            pool_rec_encode(&r, out);
        }
        return po != NULL;
    }
    if (key[6] == REC_ALARM && n == 5 && (uint8_t)k[4] < ALARM_TYPES) {
        const struct domain *d = domain_at(p, be32(k));
        const struct alarm *a = d ? d->alarms[(uint8_t)k[4]] : NULL;
        if (a != NULL) {
            alarm_rec_encode(a, out);
        }
        return a != NULL;
    }
    if (key[6] == REC_ANSWER) {
        const struct answer *a = map_get_n(&p->answer_by_id, k, n);
        if (a != NULL) {
            struct answer_rec r = {.at_s = a->at_s,
                                   .attempt = a->attempt,
                                   .type = a->type,
                                   .domain = a->domain,
                                   .n_add = a->n_add,
                                   .first = a->first,
                                   .crc = a->crc,
                                   .bytes = answer_bytes(a),
                                   .len = a->len};
            answer_rec_encode(&r, out);
        }
        return a != NULL;
    }
    if (key[6] == REC_DRIFT && n == 4) {
        const struct drift *dr = drift_at(p, be32(k));
        if (dr != NULL) {
            drift_rec_encode(dr, out);
        }
        return dr != NULL;
    }
    struct ip_prefix px;
    if (key[6] == REC_RETIRING && retiring_key(k, n, &px)) {
        struct partition *pt = partition_get(p, k, false);
        bool there = pt != NULL && partition_retiring(pt, &px) != NULL;
        if (there) {
            buf_u8(out, 1);
        }
        return there;
    }
    if (key[6] == REC_SAMPLE && split_name(k, n, 2, &rest)) {
        unsigned at = (unsigned)(uint8_t)rest[0] << 8 | (uint8_t)rest[1];
        struct partition *pt = partition_get(p, k, false);
        if (pt != NULL && pt->samples != NULL && at < POOLS_SAMPLES &&
            pt->samples[at].time_s != 0) {
            sample_rec_encode(&pt->samples[at], out);
            return true;
        }
    }
    return false;
}
