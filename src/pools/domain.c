// SPDX-License-Identifier: Apache-2.0
/* Domains and their pools: names, look-ups, allocation, digest, usage. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

const char *pool_state_name(uint8_t state) {
    static const char *const names[] = {
        [POOL_ALLOCATING] = "offered", [POOL_UNCERTAIN] = "uncertain", [POOL_ACTIVE] = "active",
        [POOL_DRAIN] = "drain",        [POOL_DRAIN_SET] = "drain-set", [POOL_DRAINED] = "drained",
        [POOL_REMOVING] = "removing",  [POOL_UNMANAGED] = "unmanaged", [POOL_CONFLICT] = "conflict",
    };
    return state >= 1 && state <= POOL_STATE_MAX ? names[state] : "unknown";
}

char *pools_unit_text(unsigned family, unsigned unit, char out[POOLS_UNIT_TEXT_MAX]) {
    if (unit == ip_bits(family)) {
        snprintf(out, POOLS_UNIT_TEXT_MAX, "IPv%u addresses", family);
    } else {
        snprintf(out, POOLS_UNIT_TEXT_MAX, "IPv%u prefixes of length %u", family, unit);
    }
    return out;
}

uint64_t pool_units(const struct ip_prefix *px, unsigned unit) {
    return px->addr.family == 4 ? ip_prefix_usable(px) : ip_prefix_parts(px, unit);
}

/* ---- names (APM-033..035) -------------------------------------------------------------------- */

void pool_name_make(const char *domain, uint32_t seq, char out[POOLS_NAME_MAX + 16]) {
    if (seq == SEQ_BARE) {
        snprintf(out, POOLS_NAME_MAX + 16, "%s", domain);
    } else {
        snprintf(out, POOLS_NAME_MAX + 16, "%s-%04" PRIu32, domain, seq);
    }
}

void pool_name(const struct domain *d, const struct pool *po, char out[POOLS_NAME_MAX + 16]) {
    if (po->seq == SEQ_FOREIGN && po->extra != NULL && po->extra->name != NULL) {
        snprintf(out, POOLS_NAME_MAX + 16, "%s", po->extra->name);
    } else {
        pool_name_make(d->name, po->seq, out);
    }
}

uint32_t pool_name_seq(const char *domain, const char *name) {
    size_t n = strlen(domain);
    if (strncmp(name, domain, n) != 0) {
        return SEQ_FOREIGN;
    }
    if (name[n] == '\0') {
        return SEQ_BARE;
    }
    const char *digits = name + n + 1;
    size_t len = strlen(digits);
    if (name[n] != '-' || len < 4 || len > 9 || strspn(digits, "0123456789") != len ||
        (len > 4 && digits[0] == '0')) {
        return SEQ_FOREIGN;
    }
    return (uint32_t)strtoul(digits, NULL, 10);
}

uint32_t domain_pool_index(const struct domain *d, uint32_t ordinal) {
    uint32_t lo = 0, hi = d->n_pools;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (d->pools[mid].ordinal < ordinal) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct pool *domain_pool(struct domain *d, uint32_t ordinal) {
    uint32_t i = domain_pool_index(d, ordinal);
    return i < d->n_pools && d->pools[i].ordinal == ordinal ? &d->pools[i] : NULL;
}

/* Lists come in the order of the last one, so the search goes on where the last one ended. */
struct pool *domain_pool_named(struct domain *d, const char *name) {
    uint32_t seq = pool_name_seq(d->name, name);
    if (d->hint >= d->n_pools) { /* the list has become shorter */
        d->hint = 0;
    }
    for (uint32_t i = 0; i < d->n_pools; i++) {
        uint32_t at = d->hint + i;
        at = at >= d->n_pools ? at - d->n_pools : at;
        struct pool *po = &d->pools[at];
        if (po->seq == seq && (seq != SEQ_FOREIGN || strcmp(po->extra->name, name) == 0)) {
            d->hint = at + 1 < d->n_pools ? at + 1 : 0;
            return po;
        }
    }
    return NULL;
}

struct pool *domain_pool_prefix(struct domain *d, const struct ip_prefix *px) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (ip_prefix_eq(&d->pools[i].prefix, px)) {
            return &d->pools[i];
        }
    }
    return NULL;
}

struct domain *entity_domain(const struct entity *en, const char *name) {
    return map_get(&en->domains, name);
}

struct entity *pools_entity(const struct pools *p, const char *system_id) {
    return map_get(&p->entity_by_id, system_id);
}

/* Names of pools are unique in an entity: domain "a" may own "a-0000", and so may a domain of that
 * very name. Only domains that could have made the name are asked, and foreign names. */
bool entity_pool_name_taken(struct entity *en, const char *name, const struct domain *except) {
    struct domain *d = entity_domain(en, name);
    if (d != NULL && d != except && domain_pool_named(d, name) != NULL) {
        return true;
    }
    const char *dash = strrchr(name, '-');
    if (dash != NULL && dash != name && (size_t)(dash - name) <= POOLS_NAME_MAX) {
        d = map_get_n(&en->domains, name, (size_t)(dash - name));
        if (d != NULL && d != except && domain_pool_named(d, name) != NULL) {
            return true;
        }
    }
    return false;
}

/* The next name, APM-033 and APM-035: the domain's own for the first pool (again when no pool bears
 * it any more), then numbers that never come twice. */
static uint32_t next_seq(struct domain *d) {
    char name[POOLS_NAME_MAX + 16];
    if (d->n_bare == 0 && !entity_pool_name_taken(d->entity, d->name, d)) {
        return SEQ_BARE;
    }
    for (uint32_t seq = d->next_seq;; seq++) {
        pool_name_make(d->name, seq, name);
        if ((seq >= d->seq_end || domain_pool_named(d, name) == NULL) &&
            !entity_pool_name_taken(d->entity, name, d)) {
            return seq;
        }
    }
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* The prefix that the domain would get next. It is only chosen: the record is what allocates. */
static bool choose(struct pools *p, struct domain *d, unsigned len, struct ip_prefix *px,
                   struct prefix_conflict *why) {
    struct partition *pt = d->partition;
    *why = (struct prefix_conflict){.reason = PREFIX_WHY_EXHAUSTED};
    if (pt->tree == NULL || !domain_fits(d) || d->n_pools >= POOLS_PER_DOMAIN_MAX) {
        return false;
    }
    const struct profile *prof = pools_profile_of(p, d->entity);
    prefix_tag tag = pools_tag(p, d->entity->system_id, d->name, false);
    struct ip_prefix hidden[POOLS_REFUSED_MAX];
    size_t n_hidden = entity_refused_hide(d->entity, pt, tag, clock_wall_s(p->clock), hidden);
    enum err_code rc = prefix_tree_allocate(pt->tree, len, tag, prof != NULL && prof->allow_larger,
                                            pool_owner(d, d->next_ordinal), px, why, NULL);
    entity_refused_unhide(pt, hidden, n_hidden);
    if (rc != ERR_OK) {
        return false;
    }
    prefix_tree_release(pt->tree, px, NULL, NULL, NULL);
    return true;
}

bool domain_could_get(struct pools *p, struct domain *d) {
    struct prefix_conflict why;
    struct ip_prefix px;
    return choose(p, d, domain_wanted_length(d, 0), &px, &why);
}

unsigned domain_wanted_length(const struct domain *d, uint32_t asked) {
    if (asked != 0) {
        return asked;
    }
    if (d->preferred_len != 0) {
        return d->preferred_len;
    }
    return d->partition->cfg != NULL ? d->partition->cfg->max_len : d->unit;
}

struct pool *domain_apportion(struct pools *p, struct txn *t, struct domain *d, unsigned len,
                              struct prefix_conflict *why) {
    struct ip_prefix px;
    uint32_t ordinal = d->next_ordinal;
    if (!choose(p, d, len, &px, why)) {
        return NULL;
    }
    /* The record is what allocates, so that undoing it frees. */
    uint32_t seq = next_seq(d);
    struct domain_rec dr;
    domain_rec_of(d, &dr);
    dr.next_ordinal = ordinal + 1;
    if (seq != SEQ_BARE && seq >= dr.next_seq) {
        dr.next_seq = seq + 1;
    }
    domain_put(p, t, &dr, d->id);
    uint32_t now = (uint32_t)txn_now_s(t);
    struct pool_rec r = {
        .prefix = px, .state = POOL_ALLOCATING, .seq = seq, .allocated_at = now, .since = now};
    pool_put(p, t, d, ordinal, &r);
    struct pool *po = domain_pool(d, ordinal);
    po->total = pool_units(&px, d->unit); /* until the entity says what it counts */
    d->stats.allocations++;
    d->stats.last_allocation = txn_now_s(t);
    p->stats.allocations++;
    return po;
}

/* ---- digest ---------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void domain_digest(const struct domain *d, uint8_t out[32]) {
    struct arena *a = arena_new();
    char **lines = arena_alloc(a, (d->n_pools + 1) * sizeof *lines);
    for (uint32_t i = 0; i < d->n_pools; i++) {
        char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
        struct ip_prefix px = pool_prefix(&d->pools[i]);
        pool_name(d, &d->pools[i], name);
        /* A blank sorts below every character that a name can have, so lines sort like names. */
        lines[i] = arena_printf(a, "%s %s\n", name, ip_prefix_format(&px, text));
    }
    qsort(lines, d->n_pools, sizeof *lines, by_text);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned n = 32;
    bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (uint32_t i = 0; ok && i < d->n_pools; i++) {
        ok = EVP_DigestUpdate(md, lines[i], strlen(lines[i])) == 1;
    }
    if (!ok || EVP_DigestFinal_ex(md, out, &n) != 1) {
        memset(out, 0, 32); /* agrees with nobody: the full list is asked for */
    }
    EVP_MD_CTX_free(md);
    arena_free(a);
}

/* ---- thresholds, usage, end ------------------------------------------------------------------ */

void domain_thresholds(const struct pools *p, const struct domain *d,
                       Openapmi__V1__Thresholds *out) {
    const struct profile *prof = pools_profile_of(p, d->entity);
    openapmi__v1__thresholds__init(out);
    if (prof != NULL) {
        out->apportion = prof->apportion;
        out->reclaim = prof->reclaim;
        out->hold_down_s = prof->hold_down_s;
    }
}

void domain_set_usage(struct domain *d, uint64_t free, uint64_t total, uint64_t used) {
    if (d->partition != NULL) {
        d->partition->used_reported += used - d->used_counted;
    }
    d->used_counted = used;
    d->free = free;
    d->total = total;
}

bool domain_remove_if_empty(struct pools *p, struct txn *t, struct domain *d, const char *why) {
    if (d->n_pools > 0) {
        return false;
    }
    L_INFO("domain %s of %s is removed: %s", d->name, d->entity->system_id, why);
    domain_delete(p, t, d);
    return true;
}

/* ---- waiting for confirmations (P-04) -------------------------------------------------------- */

void domain_wait(struct pools *p, struct domain *d) {
    if (!list_empty(&d->waiting)) {
        return; /* the earlier deadline stands */
    }
    d->wait_until_s = clock_mono_s(p->clock) + POOLS_ACK_S;
    list_append(&p->waiting, &d->waiting);
}

void domain_wait_done(struct domain *d) {
    if (d->n_unsettled == 0) {
        list_remove(&d->waiting);
    }
}
