// SPDX-License-Identifier: Apache-2.0
/*
 * What a change of configuration may do (APM-011..018, APM-059, APM-083, guard rails of design 8).
 * `check` is pure; it looks at memory as it was before the change, and at the documents the change
 * brings. `complete` keeps the book of removed roots that still hold pools.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "model/kinds.h"
#include "pools/config.h"
#include "pools/internal.h"

enum { GUARD_DEFAULT_PERCENT = 20 };

static enum err_code at_root(struct err *e, enum err_code code, const char *partition,
                             const struct ip_prefix *root, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static enum err_code at_root(struct err *e, enum err_code code, const char *partition,
                             const struct ip_prefix *root, const char *fmt, ...) {
    char path[ERR_PATH_MAX], text[IP_TEXT_MAX];
    ip_prefix_format(root, text);
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s/prefix=%s%%2F%u", partition,
             text, root->len);
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, code, path, fmt, ap);
    va_end(ap);
    return code;
}

/* ---- a partition by itself --------------------------------------------------------------------
 */

static enum err_code check_reservations(const char *name, const struct partition_cfg *c,
                                        const struct root_cfg *r, struct err *e) {
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    for (size_t i = 0; i < r->n_reserved; i++) {
        const struct ip_prefix *px = &r->reserved[i].prefix;
        ip_prefix_format(px, text);
        if (!ip_prefix_contains(&r->prefix, px)) {
            return at_root(e, ERR_INVALID, name, &r->prefix,
                           "The reserved prefix %s is not inside its root prefix %s.", text,
                           ip_prefix_format(&r->prefix, other));
        }
        if (px->len > c->max_len) {
            return at_root(e, ERR_INVALID, name, &r->prefix,
                           "The reserved prefix %s is longer than max-prefix-len, %u.", text,
                           c->max_len);
        }
        for (size_t k = 0; k < i; k++) {
            if (ip_prefix_overlaps(px, &r->reserved[k].prefix)) {
                return at_root(e, ERR_INVALID, name, &r->prefix,
                               "The reserved prefixes %s and %s overlap.", text,
                               ip_prefix_format(&r->reserved[k].prefix, other));
            }
        }
    }
    return ERR_OK;
}

/* Ranges that no host may have as its address (RFC 6890). */
static enum err_code check_range(const char *name, const struct ip_prefix *px, struct err *e) {
    static const struct {
        const char *range, *what;
    } ranges[] = {{"0.0.0.0/8", "\"this network\""},
                  {"127.0.0.0/8", "loopback"},
                  {"224.0.0.0/4", "multicast"},
                  {"::/96", "the unspecified address, loopback and IPv4-compatible addresses"},
                  {"::ffff:0:0/96", "IPv4-mapped addresses"},
                  {"fe80::/10", "link-local addresses"},
                  {"ff00::/8", "multicast"}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct ip_prefix no;
        char text[IP_TEXT_MAX];
        if (ip_prefix_parse(ranges[i].range, &no, NULL) == ERR_OK && ip_prefix_overlaps(px, &no)) {
            return at_root(e, ERR_INVALID, name, px,
                           "The root prefix %s has no addresses for subscribers: %s is for %s.",
                           ip_prefix_format(px, text), ranges[i].range, ranges[i].what);
        }
    }
    return ERR_OK;
}

/* What a partition is for goes together: lengths, family, delegation. */
static enum err_code check_kind(const char *name, const struct partition_cfg *c, struct err *e) {
    enum { IPV4_LEN_MAX = 30 }; /* longer ones have no address between the lowest and the highest */
    char path[ERR_PATH_MAX];
    if (c->family == 4 && c->max_len > IPV4_LEN_MAX) {
        snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s/max-prefix-len", name);
        return err_set(e, ERR_INVALID, path,
                       "max-prefix-len is from 8 to %d in a partition of IPv4, not %u.",
                       IPV4_LEN_MAX, c->max_len);
    }
    snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s/delegated-prefix-len", name);
    if (c->family == 4 && c->unit != ip_bits(4)) {
        return err_set(e, ERR_INVALID, path,
                       "Only IPv6 prefixes are delegated: "
                       "delegated-prefix-len needs address-family ipv6.");
    }
    if (c->unit < c->max_len) {
        return err_set(
            e, ERR_INVALID, path,
            "delegated-prefix-len %u is below max-prefix-len %u: the smallest pool would "
            "hold no prefix to delegate.",
            c->unit, c->max_len);
    }
    return ERR_OK;
}

static enum err_code check_roots(const char *name, const struct partition_cfg *c, struct err *e) {
    char text[IP_TEXT_MAX];
    ERR_TRY(check_kind(name, c, e));
    for (size_t i = 0; i < c->n_roots; i++) {
        const struct ip_prefix *px = &c->roots[i].prefix;
        if (px->addr.family != c->family) {
            return at_root(e, ERR_INVALID, name, px,
                           "The root prefix %s is not of the partition's address-family, ipv%u.",
                           ip_prefix_format(px, text), c->family);
        }
        if (px->len < c->min_len || px->len > c->max_len) {
            return at_root(e, ERR_INVALID, name, px,
                           "The root prefix %s is outside the partition's limits: its length must "
                           "be from min-prefix-len %u to max-prefix-len %u.",
                           ip_prefix_format(px, text), c->min_len, c->max_len);
        }
        if (c->max_len - px->len > PREFIX_TREE_DEPTH_MAX) {
            return at_root(
                e, ERR_INVALID, name, px,
                "The root prefix %s is more than %d bits shorter than max-prefix-len %u.",
                ip_prefix_format(px, text), PREFIX_TREE_DEPTH_MAX, c->max_len);
        }
        ERR_TRY(check_range(name, px, e));
        ERR_TRY(check_reservations(name, c, &c->roots[i], e));
    }
    return ERR_OK;
}

/* ---- all partitions together: no root overlaps another (APM-017) -------------------------------
 */

struct root_ref {
    struct ip_prefix prefix;
    const char *partition;
};

static int by_prefix(const void *a, const void *b) {
    return ip_prefix_cmp(&((const struct root_ref *)a)->prefix,
                         &((const struct root_ref *)b)->prefix);
}

static struct txn_op *op_for_partition(struct txn *t, const char *name, struct txn_op *store) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        *store = txn_op(t, i);
        const struct doc *d = (store->new_ ? store->new_ : store->old)->doc;
        if (d->kind == &apm_partition_kind && strcmp(d->keys[0], name) == 0) {
            return store;
        }
    }
    return NULL;
}

static void add_roots(struct root_ref **all, size_t *n, size_t *cap, const char *name,
                      const struct partition_cfg *c) {
    for (size_t i = 0; i < c->n_roots; i++) {
        if (*n == *cap) {
            *cap = *cap ? *cap * 2 : 64;
            *all = mem_array(*all, *cap, sizeof **all);
        }
        (*all)[(*n)++] = (struct root_ref){c->roots[i].prefix, name};
    }
}

static enum err_code check_overlaps(struct pools *p, struct txn *t, struct map *changed,
                                    struct err *e) {
    struct root_ref *all = NULL;
    size_t n = 0, cap = 0;
    MAP_FOREACH (m, &p->partitions) {
        const struct partition *pt = m->value;
        struct txn_op op;
        if (pt->cfg != NULL && map_get(changed, pt->name) == NULL &&
            op_for_partition(t, pt->name, &op) == NULL) {
            add_roots(&all, &n, &cap, pt->name, pt->cfg);
        }
    }
    MAP_FOREACH (m, changed) {
        add_roots(&all, &n, &cap, m->key, m->value);
    }
    if (n > 1) {
        qsort(all, n, sizeof *all, by_prefix);
    }
    enum err_code rc = ERR_OK;
    for (size_t i = 1; i < n && rc == ERR_OK; i++) {
        /* Sorted by address, shorter first: an overlap is always with a neighbour. */
        const struct root_ref *a = &all[i - 1], *b = &all[i];
        if (ip_prefix_overlaps(&a->prefix, &b->prefix)) {
            /* The one that came with this change is the one to blame. */
            const struct root_ref *mine = map_get(changed, b->partition) != NULL ? b : a;
            const struct root_ref *other = mine == a ? b : a;
            char x[IP_TEXT_MAX], y[IP_TEXT_MAX];
            rc = at_root(e, ERR_INVALID, mine->partition, &mine->prefix,
                         "The root prefix %s overlaps root prefix %s of partition %s.",
                         ip_prefix_format(&mine->prefix, x), ip_prefix_format(&other->prefix, y),
                         other->partition);
        }
    }
    mem_free(all);
    return rc;
}

/* ---- against what is allocated (APM-018) -------------------------------------------------------
 */

/* What becomes of a root in the tree: stays, goes, shrinks or grows to `to`. */
enum fate { STAYS, GOES, SHRINKS, GROWS, SPLITS };

static enum fate fate_of(const struct partition_cfg *c, const struct ip_prefix *root,
                         const struct ip_prefix **to) {
    enum fate f = GOES;
    *to = NULL;
    for (size_t i = 0; c != NULL && i < c->n_roots; i++) {
        const struct ip_prefix *px = &c->roots[i].prefix;
        if (ip_prefix_eq(px, root)) {
            return STAYS;
        }
        if (ip_prefix_contains(px, root)) {
            *to = px;
            return GROWS;
        }
        if (ip_prefix_contains(root, px)) {
            f = f == SHRINKS ? SPLITS : SHRINKS;
            *to = px;
        }
    }
    return f;
}

/* Allocated prefixes of `root` outside `to` (NULL: all), and the first that is wider than `to`. */
static uint64_t allocated_outside(const struct prefix_tree *tree, const struct ip_prefix *root,
                                  const struct ip_prefix *to, bool *wider) {
    struct prefix_info info;
    struct ip_prefix at = *root;
    uint64_t n = 0;
    *wider = false;
    bool more;
    /* The tree is walked from the root's beginning: a cursor just before it. */
    struct ip_prefix before;
    more = prefix_tree_next(tree, ip_prefix_before(root, &before) ? &before : NULL,
                            PREFIX_SEE_ALLOCATED, &info);
    for (; more && ip_prefix_contains(root, &info.prefix);
         more = prefix_tree_next(tree, &at, PREFIX_SEE_ALLOCATED, &info)) {
        at = info.prefix;
        n += to == NULL || !ip_prefix_contains(to, &at);
        *wider |= to != NULL && ip_prefix_contains(&at, to) && !ip_prefix_eq(&at, to);
    }
    return n;
}

static enum err_code check_root_fate(const struct partition *pt, const struct partition_cfg *c,
                                     const struct prefix_root_info *r, bool force, struct err *e) {
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    const struct ip_prefix *to;
    bool wider;
    ip_prefix_format(&r->prefix, text);
    switch (fate_of(c, &r->prefix, &to)) {
    case STAYS:
    case GROWS:
        return ERR_OK;
    case SPLITS:
        return at_root(e, ERR_IN_USE, pt->name, &r->prefix,
                       "The root prefix %s holds %" PRIu64
                       " allocated prefixes and can't be split; shrink it to one part first.",
                       text, r->prefixes);
    case SHRINKS: {
        uint64_t n = allocated_outside(pt->tree, &r->prefix, to, &wider);
        if (wider || (n > 0 && !force)) {
            enum err_code rc =
                at_root(e, ERR_IN_USE, pt->name, &r->prefix,
                        "root prefix %s has %" PRIu64 " allocated %s outside %s%s", text, n,
                        text_plural(n, "prefix", "prefixes"), ip_prefix_format(to, other),
                        wider ? "; one of them is wider than it."
                              : "; force keeps them until they are reclaimed.");
            return wider ? rc : err_rail(e, rc);
        }
        return ERR_OK;
    }
    case GOES:
        break;
    }
    if (!force) {
        return err_rail(e,
                        at_root(e, ERR_IN_USE, pt->name, &r->prefix,
                                "root prefix %s has %" PRIu64 " allocated %s; force "
                                "removes it and keeps them until they are reclaimed.",
                                text, r->prefixes, text_plural(r->prefixes, "prefix", "prefixes")));
    }
    return ERR_OK;
}

/* Several roots in use can't become one: the tree has no way to merge them. */
static enum err_code check_merges(const struct partition *pt, const struct partition_cfg *c,
                                  struct err *e) {
    for (size_t i = 0; c != NULL && i < c->n_roots; i++) {
        size_t inside = 0, n = prefix_tree_root_count(pt->tree);
        struct prefix_root_info r;
        for (size_t k = 0; k < n; k++) {
            prefix_tree_root_at(pt->tree, k, &r);
            inside += r.prefixes > 0 && ip_prefix_contains(&c->roots[i].prefix, &r.prefix) &&
                      !ip_prefix_eq(&c->roots[i].prefix, &r.prefix);
            inside += r.retiring && ip_prefix_overlaps(&c->roots[i].prefix, &r.prefix) &&
                      !ip_prefix_eq(&c->roots[i].prefix, &r.prefix);
        }
        if (inside > 1) {
            char text[IP_TEXT_MAX];
            return at_root(e, ERR_IN_USE, pt->name, &c->roots[i].prefix,
                           "Inside %s several root prefixes are in use or being given up; they "
                           "can't be joined before that is over.",
                           ip_prefix_format(&c->roots[i].prefix, text));
        }
    }
    return ERR_OK;
}

static enum err_code check_limits(const struct partition *pt, const struct partition_cfg *c,
                                  struct err *e) {
    struct prefix_stats st;
    prefix_tree_stats(pt->tree, &st);
    for (unsigned len = c->max_len + 1u; len <= ip_bits(c->family); len++) {
        uint64_t n = st.allocated_blocks[len];
        if (n > 0) {
            char path[ERR_PATH_MAX];
            snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s/max-prefix-len",
                     pt->name);
            return err_set(e, ERR_IN_USE, path,
                           "%" PRIu64 " %s of length %u %s allocated, longer than the new "
                           "max-prefix-len %u.",
                           n, text_plural(n, "prefix", "prefixes"), len,
                           text_plural(n, "is", "are"), c->max_len);
        }
    }
    return ERR_OK;
}

/* A new reservation must not take what somebody else has already. */
static enum err_code check_held(struct pools *p, const struct partition *pt,
                                const struct partition_cfg *c, struct err *e) {
    for (size_t i = 0; i < c->n_roots; i++) {
        for (size_t k = 0; k < c->roots[i].n_reserved; k++) {
            const struct reservation_cfg *rc = &c->roots[i].reserved[k];
            struct prefix_info info;
            struct ip_prefix at;
            enum prefix_state state = prefix_tree_lookup(pt->tree, &rc->prefix, &info);
            bool more = state == PREFIX_ALLOCATED || state == PREFIX_SPLIT;
            if (more && state == PREFIX_SPLIT) {
                more = prefix_tree_next(pt->tree, ip_prefix_before(&rc->prefix, &at) ? &at : NULL,
                                        PREFIX_SEE_ALLOCATED, &info);
            }
            for (; more && ip_prefix_overlaps(&rc->prefix, &info.prefix);
                 more = prefix_tree_next(pt->tree, &at, PREFIX_SEE_ALLOCATED, &info)) {
                at = info.prefix;
                const struct domain *d = pools_owner_domain(p, info.owner);
                bool mine = d != NULL && strcmp(d->entity->system_id, rc->entity) == 0 &&
                            strcmp(d->name, rc->domain) == 0 &&
                            ip_prefix_contains(&rc->prefix, &at);
                if (!mine) {
                    char text[IP_TEXT_MAX], held[IP_TEXT_MAX];
                    struct buf who = BUF_INIT;
                    pools_owner_text(p, info.owner, &who);
                    enum err_code rc2 =
                        at_root(e, ERR_IN_USE, pt->name, &c->roots[i].prefix,
                                "The reserved prefix %s overlaps %s, which is allocated to %s.",
                                ip_prefix_format(&rc->prefix, text), ip_prefix_format(&at, held),
                                buf_cstr(&who));
                    buf_free(&who);
                    return rc2;
                }
            }
        }
    }
    return ERR_OK;
}

static enum err_code check_in_use(struct pools *p, struct txn *t, const char *name,
                                  const struct partition_cfg *c, struct err *e) {
    const struct partition *pt = partition_get(p, name, false);
    if (pt == NULL || pt->tree == NULL) {
        return ERR_OK;
    }
    size_t n = prefix_tree_root_count(pt->tree);
    for (size_t i = 0; i < n; i++) {
        struct prefix_root_info r;
        prefix_tree_root_at(pt->tree, i, &r);
        if (r.prefixes > 0 && !r.retiring) {
            ERR_TRY(check_root_fate(pt, c, &r, txn_force(t), e));
        }
    }
    if (c == NULL) {
        return ERR_OK;
    }
    if (pt->n_pools > 0 &&
        (prefix_tree_family(pt->tree) != c->family || (pt->unit != 0 && pt->unit != c->unit))) {
        char path[ERR_PATH_MAX], is[POOLS_UNIT_TEXT_MAX], to[POOLS_UNIT_TEXT_MAX];
        snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s", name);
        return err_set(e, ERR_IN_USE, path,
                       "%zu %s of it allocated as %s: it can't be made one of %s.", pt->n_pools,
                       pt->n_pools == 1 ? "prefix is" : "prefixes are",
                       pools_unit_text(prefix_tree_family(pt->tree), pt->unit, is),
                       pools_unit_text(c->family, c->unit, to));
    }
    ERR_TRY(check_merges(pt, c, e));
    ERR_TRY(check_limits(pt, c, e));
    return check_held(p, pt, c, e);
}

/* ---- profiles -----------------------------------------------------------------------------------
 */

static enum err_code check_profile(struct pools *p, struct txn *t, const struct object *o,
                                   struct err *e) {
    const struct apm_pool_domain_profile *in = o->doc->data;
    if (in->reclaim_threshold <= in->apportion_threshold) {
        return err_set(e, ERR_INVALID, o->doc->path,
                       "reclaim-threshold %" PRIu32 " must be above apportion-threshold %" PRIu32
                       ", or each reclaim would cause the next apportionment.",
                       in->reclaim_threshold, in->apportion_threshold);
    }
    const struct apm_pool_domain_profile_auto_reclamation *a =
        in->has_auto_reclamation ? &in->auto_reclamation : NULL;
    struct window w;
    if (a != NULL && a->window_start != NULL &&
        !window_parse(a->window_start, a->window_duration, &w)) {
        char path[ERR_PATH_MAX];
        snprintf(path, sizeof path, "%s/auto-reclamation/window-start", o->doc->path);
        return err_set(e, ERR_INVALID, path,
                       "%s is not a time of day with an offset such as 04:00-0500.",
                       a->window_start);
    }
    /* APM-059: is one pool of what the profile's domains ask for more than the gap? */
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        const struct match *m = d ? map_get(&p->matches, d->entity->system_id) : NULL;
        if (m == NULL || strcmp(m->profile, in->name) != 0 || d->preferred_len == 0) {
            continue;
        }
        struct ip_prefix px = {.addr.family = d->family, .len = d->preferred_len};
        uint64_t need = ip_count_add(in->apportion_threshold, pool_units(&px, d->unit));
        if (in->reclaim_threshold <= need) {
            txn_warn(t,
                     "profile %s: reclaim-threshold %" PRIu32 " is not above %" PRIu64
                     ", the apportion-threshold and one /%u (domain %s of %s): one reclaim would "
                     "cause the next apportionment",
                     in->name, in->reclaim_threshold, need, d->preferred_len, d->name,
                     d->entity->system_id);
            break;
        }
    }
    return ERR_OK;
}

/* ---- guard rails --------------------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Subscribers that automatic reclamation under `pr` would move off their pools, from what the
 * entity reported last: emptiest pools first, as entities offer them. */
static uint64_t would_drain(const struct domain *d, const struct profile *pr) {
    if (pr == NULL || !pr->automatic || !d->have_stats) {
        return 0;
    }
    uint64_t *used = mem_array(NULL, d->n_pools + 1, sizeof *used);
    uint32_t n = 0;
    uint64_t hit = 0, free = d->free;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i].state == POOL_ACTIVE) {
            used[n++] = d->pools[i].used;
        }
    }
    qsort(used, n, sizeof *used, by_number);
    uint64_t total = n > 0 ? d->total / n : 0;
    for (uint32_t i = 0; i < n && free >= pr->reclaim; i++) {
        struct drain_numbers num = {free, total, used[i], pr->apportion};
        char text[256];
        bool first;
        if (!drain_is_safe(&num, text, &first)) {
            break;
        }
        hit += used[i];
        free -= total < free ? total : free;
    }
    mem_free(used);
    return hit;
}

static const struct profile *new_profile(struct txn *t, const struct pools *p, const char *name,
                                         struct profile *store) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct doc *d = (op.new_ ? op.new_ : op.old)->doc;
        if (d->kind == &apm_pool_domain_profile_kind && strcmp(d->keys[0], name) == 0) {
            if (op.new_ == NULL) {
                return NULL;
            }
            profile_of(op.new_, store);
            return store;
        }
    }
    return map_get(&p->profiles, name);
}

/* The profile's name after the change; NULL: not admitted. */
static const char *new_match(struct txn *t, const struct pools *p, const char *system_id) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct doc *d = (op.new_ ? op.new_ : op.old)->doc;
        if (d->kind == &apm_entity_match_kind && strcmp(d->keys[0], system_id) == 0) {
            const struct apm_entity_match *em = op.new_ ? op.new_->doc->data : NULL;
            return em ? em->pool_domain_profile : NULL;
        }
    }
    const struct match *m = map_get(&p->matches, system_id);
    return m ? m->profile : NULL;
}

static enum err_code check_guard(struct pools *p, struct txn *t, struct err *e) {
    uint64_t all = 0, hit = 0;
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        if (d == NULL) {
            continue;
        }
        uint64_t used = d->have_stats ? d->total - d->free : 0;
        all += used;
        const struct profile *before = pools_profile_of(p, d->entity);
        const char *name = new_match(t, p, d->entity->system_id);
        struct profile store;
        const struct profile *after = name ? new_profile(t, p, name, &store) : NULL;
        if (before != NULL && after == NULL) {
            hit += used; /* the gateway is cut off from its manager */
        } else {
            uint64_t drained = would_drain(d, after), anyway = would_drain(d, before);
            hit += drained > anyway ? drained - anyway : 0;
        }
    }
    unsigned percent = GUARD_DEFAULT_PERCENT;
    const struct object *o = txn_get(t, "/weft-system:system/settings");
    if (o != NULL) {
        percent = ((const struct system_settings *)o->doc->data)->guard_rails.drain_percent;
    }
    if (hit > 0 && (prefix_count)hit * 100 > (prefix_count)all * percent) {
        if (!txn_force(t)) {
            return err_rail(
                e, err_set(e, ERR_REFUSED, "/weft-apm:apm",
                           "This change would drain or cut off %" PRIu64 " of %" PRIu64
                           " subscribers, more than %u%% (guard-rails drain-percent); force makes "
                           "it all the same.",
                           hit, all, percent));
        }
        txn_warn(t, "%" PRIu64 " of %" PRIu64 " subscribers are drained or cut off", hit, all);
    }
    return ERR_OK;
}

/* ---- the doors ----------------------------------------------------------------------------------
 */

static void cfg_free(void *arg) {
    partition_cfg_free(arg);
}

enum err_code pools_check(void *self, struct txn *t, struct err *e) {
    struct pools *p = self;
    struct map changed = MAP_INIT; /* partitions of the change: name -> partition_cfg */
    bool guard = false;
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < txn_n_ops(t) && rc == ERR_OK; i++) {
        struct txn_op op = txn_op(t, i);
        const struct doc *d = (op.new_ ? op.new_ : op.old)->doc;
        if (d->kind == &apm_partition_kind) {
            struct partition_cfg *c = op.new_ ? partition_cfg_of(op.new_) : NULL;
            if (c != NULL) {
                cfg_free(map_put(&changed, d->keys[0], c));
                rc = check_roots(d->keys[0], c, e);
            }
            if (rc == ERR_OK) {
                rc = check_in_use(p, t, d->keys[0], c, e);
            }
        } else if (d->kind == &apm_pool_domain_profile_kind) {
            guard = true;
            rc = op.new_ ? check_profile(p, t, op.new_, e) : ERR_OK;
        } else if (d->kind == &apm_entity_match_kind) {
            guard |= op.old != NULL;
        }
    }
    if (rc == ERR_OK && changed.count > 0) {
        rc = check_overlaps(p, t, &changed, e);
    }
    if (rc == ERR_OK && guard) {
        rc = check_guard(p, t, e);
    }
    map_free(&changed, cfg_free);
    return rc;
}

/* ---- the book of removed roots ------------------------------------------------------------------
 */

static void retire(struct txn *t, const struct partition *pt, const struct ip_prefix *px) {
    bool wider;
    if (allocated_outside(pt->tree, px, NULL, &wider) > 0) {
        struct rec_key k = rec_key_retiring(pt->name, px);
        uint8_t version = 1;
        txn_put_state(t, k.bytes, k.len, &version, 1);
    }
}

/* What is left of `root` without `to`: at each length in between, the half that `to` is not in. */
static void retire_rest(struct txn *t, const struct partition *pt, const struct ip_prefix *root,
                        const struct ip_prefix *to) {
    for (unsigned len = root->len + 1u; len <= to->len; len++) {
        struct ip_prefix half = ip_prefix_of(&to->addr, len);
        ip_set_bit(&half.addr, len - 1, !ip_bit(&half.addr, len - 1));
        retire(t, pt, &half);
    }
}

static void book_roots(struct pools *p, struct txn *t, const char *name,
                       const struct partition_cfg *c) {
    struct partition *pt = partition_get(p, name, false);
    if (pt == NULL || pt->tree == NULL) {
        return;
    }
    for (size_t i = 0; c != NULL && i < c->n_roots; i++) { /* configured again */
        if (partition_retiring(pt, &c->roots[i].prefix) != NULL) {
            struct rec_key k = rec_key_retiring(name, &c->roots[i].prefix);
            txn_delete_state(t, k.bytes, k.len);
        }
    }
    if (!txn_force(t)) {
        return;
    }
    size_t n = prefix_tree_root_count(pt->tree);
    for (size_t i = 0; i < n; i++) {
        struct prefix_root_info r;
        const struct ip_prefix *to;
        prefix_tree_root_at(pt->tree, i, &r);
        if (r.prefixes == 0 || r.retiring) {
            continue;
        }
        enum fate f = fate_of(c, &r.prefix, &to);
        if (f == GOES) {
            retire(t, pt, &r.prefix);
        } else if (f == SHRINKS) {
            retire_rest(t, pt, &r.prefix, to);
        }
    }
}

enum err_code pools_complete(void *self, struct txn *t, struct err *e) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct doc *d = (op.new_ ? op.new_ : op.old)->doc;
        if (d->kind == &apm_partition_kind) {
            struct partition_cfg *c = op.new_ ? partition_cfg_of(op.new_) : NULL;
            book_roots(self, t, d->keys[0], c);
            partition_cfg_free(c);
        }
    }
    return ERR_OK;
}
