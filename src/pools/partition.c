// SPDX-License-Identifier: Apache-2.0
/*
 * Partitions: a configuration and the prefix tree that follows from it, from the removed roots that
 * still hold pools, and from the pools. The tree is made to agree by `converge`, whichever of the
 * three changed, in whichever order they are folded.
 */
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

enum { LEN_MIN = 1 }; /* of a partition that isn't configured any more */

unsigned partition_family(const struct partition *pt) {
    return pt->cfg != NULL ? pt->cfg->family : pt->tree != NULL ? prefix_tree_family(pt->tree) : 4;
}

uint64_t partition_units(const struct partition *pt, prefix_count addresses) {
    unsigned bits = ip_bits(partition_family(pt));
    prefix_count n = addresses >> (pt->unit != 0 && pt->unit < bits ? bits - pt->unit : 0);
    return n > UINT64_MAX ? UINT64_MAX : (uint64_t)n;
}

/* A tree of the family for what was allocated: it is as wide as the family. One of another family
 * that holds nothing goes. */
static enum err_code tree_make(struct partition *pt, unsigned family, struct err *e) {
    if (pt->tree != NULL && prefix_tree_family(pt->tree) != family && pt->n_pools == 0) {
        prefix_tree_free(pt->tree);
        pt->tree = NULL;
    }
    return pt->tree != NULL ? ERR_OK
                            : prefix_tree_new(family, LEN_MIN, ip_bits(family), &pt->tree, e);
}

static unsigned lower(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* A tree's root may be divided by so many bits only, which limits how long its prefixes may be. */
static unsigned deepest(const struct ip_prefix *root) {
    return root->len + (unsigned)PREFIX_TREE_DEPTH_MAX;
}

struct partition *partition_get(struct pools *p, const char *name, bool make) {
    struct partition *pt = map_get(&p->partitions, name);
    if (pt == NULL && make) {
        pt = MEM_NEW(struct partition);
        pt->name = mem_strdup(name);
        list_init(&pt->retiring);
        map_put(&p->partitions, name, pt);
    }
    return pt;
}

void partition_cfg_free(struct partition_cfg *c) {
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_roots; i++) {
        for (size_t k = 0; k < c->roots[i].n_reserved; k++) {
            mem_free(c->roots[i].reserved[k].entity);
            mem_free(c->roots[i].reserved[k].domain);
        }
        mem_free(c->roots[i].reserved);
    }
    mem_free(c->roots);
    mem_free(c);
}

void partition_free(void *arg) {
    struct partition *pt = arg;
    LIST_FOREACH_SAFE (l, &pt->retiring) {
        mem_free(CONTAINER_OF(l, struct retiring, link));
    }
    prefix_tree_free(pt->tree);
    partition_cfg_free(pt->cfg);
    mem_free(pt->samples);
    mem_free(pt->name);
    mem_free(pt);
}

void partition_drop_if_idle(struct pools *p, struct partition *pt) {
    if (pt->cfg == NULL && pt->n_domains == 0 && pt->n_pools == 0 && pt->samples == NULL &&
        list_empty(&pt->retiring)) {
        map_del(&p->partitions, pt->name);
        partition_free(pt);
    }
}

struct retiring *partition_retiring(struct partition *pt, const struct ip_prefix *px) {
    LIST_FOREACH (l, &pt->retiring) {
        struct retiring *r = CONTAINER_OF(l, struct retiring, link);
        if (ip_prefix_eq(&r->prefix, px)) {
            return r;
        }
    }
    return NULL;
}

/* ---- who a prefix is for --------------------------------------------------------------------- */

prefix_tag pools_tag(struct pools *p, const char *entity, const char *domain, bool make) {
    if (p->holders.count == 0 && !make) {
        return 0;
    }
    char key[POOLS_SYSTEM_ID_MAX + POOLS_NAME_MAX + 8];
    size_t ne = strnlen(entity, POOLS_SYSTEM_ID_MAX), nd = strnlen(domain, POOLS_NAME_MAX);
    memcpy(key, entity, ne);
    key[ne] = '\0';
    memcpy(key + ne + 1, domain, nd);
    struct holder *h = map_get_n(&p->holders, key, ne + 1 + nd);
    if (h == NULL && make) {
        h = MEM_NEW(struct holder);
        h->entity = mem_strdup(entity);
        h->domain = mem_strdup(domain);
        map_put_n(&p->holders, key, ne + 1 + nd, h);
    }
    return (prefix_tag)(uintptr_t)h;
}

struct domain *pools_owner_domain(struct pools *p, prefix_owner owner) {
    uint32_t id = (uint32_t)(owner >> 32);
    return id < p->n_domains ? p->domains[id] : NULL;
}

void pools_owner_text(struct pools *p, prefix_owner owner, struct buf *out) {
    const struct domain *d = pools_owner_domain(p, owner);
    if (d == NULL) {
        buf_str(out, "nobody");
    } else {
        buf_printf(out, "%s domain %s", d->entity->system_id, d->name);
    }
}

struct owner_and_tag {
    struct pools *pools;
    prefix_tag tag;
};

bool partition_owner_is_tag(void *arg, prefix_owner owner) {
    const struct owner_and_tag *ot = arg;
    const struct domain *d = pools_owner_domain(ot->pools, owner);
    return d != NULL && pools_tag(ot->pools, d->entity->system_id, d->name, false) == ot->tag;
}

/* ---- making the tree agree ------------------------------------------------------------------- */

static const struct root_cfg *cfg_root(const struct partition_cfg *c, const struct ip_prefix *px) {
    for (size_t i = 0; c != NULL && i < c->n_roots; i++) {
        if (ip_prefix_eq(&c->roots[i].prefix, px)) {
            return &c->roots[i];
        }
    }
    return NULL;
}

static bool in_limits(const struct partition_cfg *c, const struct ip_prefix *px) {
    return px->len >= c->min_len && px->len <= c->max_len;
}

/* A configured root that is not in the tree yet and overlaps `px`: what `px` was resized to. */
static const struct root_cfg *resized_to(const struct partition *pt, const struct ip_prefix *px) {
    for (size_t i = 0; pt->cfg != NULL && i < pt->cfg->n_roots; i++) {
        const struct root_cfg *r = &pt->cfg->roots[i];
        struct prefix_root_info info;
        if (ip_prefix_overlaps(&r->prefix, px) && in_limits(pt->cfg, &r->prefix) &&
            !prefix_tree_root_find(pt->tree, &r->prefix, &info)) {
            return r;
        }
    }
    return NULL;
}

static void root_drop(struct partition *pt, const struct prefix_root_info *r) {
    struct err e;
    if (r->prefixes == 0) {
        prefix_tree_root_remove(pt->tree, &r->prefix, &e);
    } else if (!r->retiring) {
        prefix_tree_root_retire(pt->tree, &r->prefix, &e);
    }
}

static struct prefix_root_info *tree_roots(const struct partition *pt, size_t *n) {
    *n = prefix_tree_root_count(pt->tree);
    struct prefix_root_info *all = mem_alloc((*n + 1) * sizeof *all);
    for (size_t i = 0; i < *n; i++) {
        prefix_tree_root_at(pt->tree, i, &all[i]);
    }
    return all;
}

/* Roots that are configured no more: resized, removed, or kept as retiring. */
static void converge_old_roots(struct partition *pt) {
    size_t n;
    struct prefix_root_info *all = tree_roots(pt, &n);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            struct prefix_root_info *r = &all[i];
            if (cfg_root(pt->cfg, &r->prefix) != NULL || r->retiring ||
                partition_retiring(pt, &r->prefix) != NULL) {
                continue;
            }
            const struct root_cfg *to = resized_to(pt, &r->prefix);
            struct err e;
            if (pass == 0 && (to == NULL || r->prefixes == 0)) {
                root_drop(pt, r);
                r->retiring = true;
            } else if (pass == 1 && to != NULL &&
                       prefix_tree_root_resize(pt->tree, &r->prefix, &to->prefix, true, &e) !=
                           ERR_OK) {
                L_WARN("partition %s: %s", pt->name, e.text);
                root_drop(pt, r);
            }
        }
    }
    mem_free(all);
}

static void converge_new_roots(struct partition *pt) {
    pt->skipped_roots = 0;
    for (size_t i = 0; pt->cfg != NULL && i < pt->cfg->n_roots; i++) {
        const struct ip_prefix *px = &pt->cfg->roots[i].prefix;
        struct prefix_root_info info;
        struct err e;
        char text[IP_TEXT_MAX];
        if (prefix_tree_root_find(pt->tree, px, &info)) {
            if (info.order == i && !info.retiring) {
                continue;
            }
            if (!info.retiring) {
                root_drop(pt, &info);
            }
        }
        if (!in_limits(pt->cfg, px) ||
            prefix_tree_root_add(pt->tree, px, (uint32_t)i, &e) != ERR_OK) {
            /* Only a bulk load that was checked by nobody gets here (APM-013). */
            pt->skipped_roots++;
            L_WARN("partition %s: root prefix %s is left out: it is outside the limits /%u to /%u "
                   "or overlaps another root",
                   pt->name, ip_prefix_format(px, text), pt->cfg->min_len, pt->cfg->max_len);
        }
    }
}

static const struct reservation_cfg *cfg_reservation(const struct partition_cfg *c,
                                                     const struct ip_prefix *px) {
    for (size_t i = 0; c != NULL && i < c->n_roots; i++) {
        for (size_t k = 0; k < c->roots[i].n_reserved; k++) {
            if (ip_prefix_eq(&c->roots[i].reserved[k].prefix, px)) {
                return &c->roots[i].reserved[k];
            }
        }
    }
    return NULL;
}

static void converge_reservations(struct pools *p, struct partition *pt) {
    struct prefix_info info;
    struct ip_prefix after;
    struct err e;
    for (bool more = prefix_tree_next_reservation(pt->tree, NULL, &info); more;
         more = prefix_tree_next_reservation(pt->tree, &after, &info)) {
        after = info.reservation;
        const struct reservation_cfg *rc = cfg_reservation(pt->cfg, &info.reservation);
        if (rc == NULL || pools_tag(p, rc->entity, rc->domain, true) != info.tag) {
            prefix_tree_unreserve(pt->tree, &info.reservation, &e);
        }
    }
    for (size_t i = 0; pt->cfg != NULL && i < pt->cfg->n_roots; i++) {
        const struct root_cfg *rt = &pt->cfg->roots[i];
        for (size_t k = 0; k < rt->n_reserved; k++) {
            const struct reservation_cfg *rc = &rt->reserved[k];
            struct owner_and_tag ot = {p, pools_tag(p, rc->entity, rc->domain, true)};
            prefix_tree_lookup(pt->tree, &rc->prefix, &info);
            if (info.tag == ot.tag && ip_prefix_eq(&info.reservation, &rc->prefix)) {
                continue;
            }
            if (prefix_tree_reserve(pt->tree, &rc->prefix, ot.tag, partition_owner_is_tag, &ot,
                                    &e) != ERR_OK) {
                L_WARN("partition %s: reservation is left out: %s", pt->name, e.text);
            }
        }
    }
}

/* Removed roots with pools in them: in the tree and retiring, as soon as a pool is there. */
static void converge_retiring(struct partition *pt) {
    LIST_FOREACH (l, &pt->retiring) {
        struct retiring *r = CONTAINER_OF(l, struct retiring, link);
        struct prefix_root_info info;
        struct err e;
        if (cfg_root(pt->cfg, &r->prefix) != NULL) {
            continue;
        }
        if (!prefix_tree_root_find(pt->tree, &r->prefix, &info)) {
            prefix_tree_set_limits(pt->tree, prefix_tree_min_len(pt->tree),
                                   lower(prefix_tree_max_len(pt->tree), deepest(&r->prefix)), &e);
            prefix_tree_root_add(pt->tree, &r->prefix, UINT32_MAX, &e);
        } else if (!info.retiring && info.prefixes > 0) {
            prefix_tree_root_retire(pt->tree, &r->prefix, &e);
        }
    }
}

static void converge(struct pools *p, struct partition *pt) {
    struct err e;
    unsigned family = partition_family(pt);
    if (pt->tree != NULL && pt->cfg != NULL && pt->n_pools == 0 &&
        prefix_tree_max_len(pt->tree) != pt->cfg->max_len) {
        prefix_tree_free(pt->tree); /* nothing in it: no way from the old limits is needed */
        pt->tree = NULL;
    }
    if (tree_make(pt, family, &e) != ERR_OK) {
        L_ERR("partition %s: %s", pt->name, e.text);
        return;
    }
    unsigned min = pt->cfg ? pt->cfg->min_len : LEN_MIN;
    unsigned max = pt->cfg ? pt->cfg->max_len : ip_bits(family);
    size_t n_roots = prefix_tree_root_count(pt->tree);
    struct prefix_root_info root;
    for (size_t i = 0; pt->cfg == NULL && i < n_roots; i++) {
        prefix_tree_root_at(pt->tree, i, &root);
        max = lower(max, deepest(&root.prefix));
    }
    /* As wide as both while roots change, then what is configured. */
    unsigned had_min = prefix_tree_min_len(pt->tree), had_max = prefix_tree_max_len(pt->tree);
    unsigned wide = max > had_max ? max : had_max;
    for (size_t i = 0; i < n_roots; i++) {
        prefix_tree_root_at(pt->tree, i, &root);
        wide = lower(wide, deepest(&root.prefix));
    }
    for (size_t i = 0; pt->cfg != NULL && i < pt->cfg->n_roots; i++) {
        wide = lower(wide, deepest(&pt->cfg->roots[i].prefix));
    }
    prefix_tree_set_limits(pt->tree, lower(min, had_min), wide, &e);
    converge_old_roots(pt);
    converge_new_roots(pt);
    converge_retiring(pt);
    if (prefix_tree_set_limits(pt->tree, min, max, &e) != ERR_OK) {
        L_WARN("partition %s: limits stay at /%u to /%u: %s", pt->name,
               prefix_tree_min_len(pt->tree), prefix_tree_max_len(pt->tree), e.text);
    }
    converge_reservations(p, pt);
}

void partition_configure(struct pools *p, struct partition *pt, struct partition_cfg *cfg) {
    partition_cfg_free(pt->cfg);
    pt->cfg = cfg;
    if (cfg != NULL) {
        pt->unit = cfg->unit;
    }
    converge(p, pt);
    if (cfg == NULL) {
        pt->low = false;
        partition_drop_if_idle(p, pt);
    } /* low or not: the next tick says, so that a dry run says nothing */
}

void partition_retire_add(struct partition *pt, const struct ip_prefix *px) {
    if (partition_retiring(pt, px) == NULL) {
        struct retiring *r = MEM_NEW(struct retiring);
        r->prefix = *px;
        list_append(&pt->retiring, &r->link);
    }
    struct err e;
    if (tree_make(pt, px->addr.family, &e) != ERR_OK) {
        L_ERR("partition %s: %s", pt->name, e.text);
        return;
    }
    /* A root that is still configured is about to be removed: that fold retires it. */
    converge_retiring(pt);
}

void partition_retire_del(struct partition *pt, const struct ip_prefix *px) {
    struct retiring *r = partition_retiring(pt, px);
    if (r == NULL) {
        return;
    }
    list_remove(&r->link);
    mem_free(r);
    struct prefix_root_info info;
    if (pt->tree != NULL && cfg_root(pt->cfg, px) == NULL &&
        prefix_tree_root_find(pt->tree, px, &info) && info.prefixes == 0) {
        struct err e;
        prefix_tree_root_remove(pt->tree, px, &e);
    }
}

/* ---- pools in the tree ----------------------------------------------------------------------- */

enum err_code partition_restore(struct partition *pt, const struct ip_prefix *px,
                                prefix_owner owner, prefix_tag tag, struct err *e) {
    struct prefix_conflict why;
    if (pt->tree == NULL) {
        ERR_TRY(tree_make(pt, px->addr.family, e));
    }
    ERR_TRY(prefix_tree_restore(pt->tree, px, tag, owner, &why, e));
    pt->n_pools++;
    if (!list_empty(&pt->retiring)) {
        converge_retiring(pt);
    }
    return ERR_OK;
}

void partition_release(struct partition *pt, const struct ip_prefix *px) {
    struct err e;
    struct prefix_info info;
    bool empty = false;
    if (pt->tree == NULL) {
        return;
    }
    prefix_tree_lookup(pt->tree, px, &info);
    if (prefix_tree_release(pt->tree, px, NULL, &empty, &e) != ERR_OK) {
        L_ERR("partition %s: %s", pt->name, e.text);
        return;
    }
    pt->n_pools--;
    if (empty) {
        prefix_tree_root_remove(pt->tree, &info.root, &e);
    }
}

void partition_check_low(struct pools *p, struct txn *t, struct partition *pt) {
    if (pt->cfg == NULL || pt->tree == NULL) {
        return;
    }
    unsigned free = prefix_tree_free_permyriad(pt->tree);
    bool low = pt->cfg->low_percent > 0 && free < pt->cfg->low_percent * 100u;
    if (low == pt->low) {
        return;
    }
    pt->low = low;
    struct buf json = BUF_INIT;
    buf_printf(&json, "{\"name\":\"%s\",\"free-percent\":%u,\"low\":%s}", pt->name, free / 100,
               low ? "true" : "false");
    if (low) {
        pt->low_crossings++;
        L_WARN("partition %s is low: %u.%02u%% of its addresses are free, fewer than %u%%",
               pt->name, free / 100, free % 100, pt->cfg->low_percent);
    } else {
        pt->recoveries++;
        L_INFO("partition %s has recovered: %u.%02u%% of its addresses are free", pt->name,
               free / 100, free % 100);
    }
    if (t != NULL) {
        txn_event(t, low ? "weft-apm:partition-low" : "weft-apm:partition-recovered",
                  buf_cstr(&json));
    }
    buf_free(&json);
}
