// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "base/mem.h"
#include "base/text.h"
#include "core/prefix_tree_impl.h"

/* ---- limits ---- */

/* A root of this length under these limits (APM-011, APM-014). */
static enum err_code root_len_ok(const struct ip_prefix *p, unsigned min_len, unsigned max_len,
                                 enum err_code code, struct err *e) {
    char text[IP_TEXT_MAX];
    if (p->len < min_len || p->len > max_len) {
        return err_set(e, code, NULL, "root prefix %s is outside the length limits %u..%u",
                       ip_prefix_format(p, text), min_len, max_len);
    }
    if (max_len - p->len > PREFIX_TREE_DEPTH_MAX) {
        return err_set(e, code, NULL, "root prefix %s is more than %d bits above the longest /%u",
                       ip_prefix_format(p, text), PREFIX_TREE_DEPTH_MAX, max_len);
    }
    return ERR_OK;
}

enum err_code prefix_tree_set_limits(struct prefix_tree *t, unsigned min_len, unsigned max_len,
                                     struct err *e) {
    char text[IP_TEXT_MAX];
    ERR_TRY(prefix_limits_ok(t->family, min_len, max_len, e));
    for (size_t i = 0; i < t->roots.n; i++) {
        struct ip_prefix p = top_prefix(t, t->roots.v[i]);
        ERR_TRY(root_len_ok(&p, min_len, max_len, ERR_IN_USE, e));
    }
    for (size_t i = 0; i < t->reservations.n; i++) {
        struct ip_prefix p = top_prefix(t, t->reservations.v[i]);
        if (p.len > max_len) {
            return err_set(e, ERR_IN_USE, NULL, "reserved prefix %s is longer than /%u",
                           ip_prefix_format(&p, text), max_len);
        }
    }
    for (unsigned len = max_len + 1; len <= t->max_len; len++) {
        uint32_t n = t->allocated_blocks[len];
        if (n > 0) {
            return err_set(e, ERR_IN_USE, NULL, "%u %s of length %u %s allocated", n,
                           text_plural(n, "prefix", "prefixes"), len, text_plural(n, "is", "are"));
        }
    }
    t->min_len = (uint8_t)min_len;
    t->max_len = (uint8_t)max_len;
    return ERR_OK;
}

/* ---- moving leaves ---- */

/* Leaves as they were found, to be put elsewhere. */
struct found {
    u128 addr;
    uint64_t value;
    uint8_t len;
    bool reserved;
};

struct harvest {
    const struct top *top;
    struct found *v;
    size_t n, cap;
};

static bool harvest_leaf(void *arg, struct trie_leaf *l) {
    struct harvest *h = arg;
    if (h->n == h->cap) {
        h->cap += h->cap / 2 + 16;
        h->v = mem_array(h->v, h->cap, sizeof *h->v);
    }
    h->v[h->n++] = (struct found){.addr = addr_in(h->top, l->key),
                                  .value = l->value,
                                  .len = (uint8_t)(h->top->len + l->len),
                                  .reserved = l->reserved};
    return true;
}

static struct harvest harvest(const struct top *top, uint32_t ref) {
    struct harvest h = {.top = top};
    trie_walk(&top->trie, ref, harvest_leaf, &h);
    return h;
}

/* ---- roots ---- */

static struct top *top_new(u128 base, unsigned len) {
    struct top *top = MEM_NEW(struct top);
    top->base = base;
    top->len = (uint8_t)len;
    trie_init(&top->trie);
    return top;
}

/* Moves a root between the two spaces, with all that counts on it. */
static void root_set_retiring(struct prefix_tree *t, struct top *root, bool retiring) {
    u128 n = addresses(t, root->len);
    if (root->space != NULL) {
        prefix_space_remove(root);
    }
    if (retiring) {
        prefix_tally_all(t, root, -1);
        t->normal_total -= n;
        t->retiring_allocated += root->allocated;
        root->retiring = true;
        prefix_space_add(&t->retiring, root);
    } else {
        root->retiring = false;
        t->retiring_allocated -= root->allocated;
        t->normal_total += n;
        prefix_tally_all(t, root, 1);
        prefix_space_add(&t->common, root);
    }
}

static struct top *root_insert(struct prefix_tree *t, u128 base, unsigned len, uint32_t order) {
    struct top *root = top_new(base, len);
    root->order = order;
    prefix_tops_add(&t->roots, root, prefix_by_address);
    prefix_space_add(&t->common, root);
    t->normal_total += addresses(t, len);
    prefix_tally_all(t, root, 1);
    return root;
}

/* The root must hold nothing. */
static void root_drop(struct prefix_tree *t, struct top *root) {
    prefix_tally_all(t, root, -1);
    if (!root->retiring) {
        t->normal_total -= addresses(t, root->len);
    }
    prefix_space_remove(root);
    prefix_tops_remove(&t->roots, root, prefix_by_address);
    prefix_top_free(root);
}

static enum err_code prefix_ok(const struct prefix_tree *t, const struct ip_prefix *p,
                               struct err *e) {
    if (p->addr.family != t->family) {
        return err_set(e, ERR_INVALID, NULL, "an IPv%u prefix is expected", t->family);
    }
    if (p->len == 0 || !ip_prefix_aligned(p)) {
        char text[IP_TEXT_MAX];
        return err_set(e, ERR_INVALID, NULL, "%s has host bits set or a length out of range",
                       ip_prefix_format(p, text));
    }
    return ERR_OK;
}

/* The first root other than `but` that overlaps. */
static struct top *root_overlapping(const struct prefix_tree *t, u128 base, unsigned len,
                                    const struct top *but) {
    size_t i = prefix_tops_from(&t->roots, base);
    if (i < t->roots.n && t->roots.v[i] == but) {
        i++;
    }
    struct top *r = i < t->roots.n ? t->roots.v[i] : NULL;
    return r != NULL && r->base <= base + (span(len) - 1) ? r : NULL;
}

enum err_code prefix_tree_root_add(struct prefix_tree *t, const struct ip_prefix *p, uint32_t order,
                                   struct err *e) {
    ERR_TRY(prefix_ok(t, p, e));
    ERR_TRY(root_len_ok(p, t->min_len, t->max_len, ERR_INVALID, e));
    u128 base = addr_value(&p->addr);
    struct top *other = root_overlapping(t, base, p->len, NULL);
    if (other != NULL && other->retiring && other->base == base && other->len == p->len) {
        prefix_space_remove(other);
        other->order = order;
        root_set_retiring(t, other, false);
        return ERR_OK;
    }
    if (other != NULL) {
        char text[IP_TEXT_MAX], theirs[IP_TEXT_MAX];
        struct ip_prefix o = top_prefix(t, other);
        return err_set(e, ERR_EXISTS, NULL, "root prefix %s overlaps the %sroot %s",
                       ip_prefix_format(p, text), other->retiring ? "retiring " : "",
                       ip_prefix_format(&o, theirs));
    }
    root_insert(t, base, p->len, order);
    return ERR_OK;
}

static enum err_code root_get(const struct prefix_tree *t, const struct ip_prefix *p,
                              struct top **out, struct err *e) {
    *out = p->addr.family == t->family ? prefix_tops_find(&t->roots, addr_value(&p->addr), p->len)
                                       : NULL;
    if (*out == NULL) {
        char text[IP_TEXT_MAX];
        return err_set(e, ERR_ABSENT, NULL, "there is no root prefix %s",
                       ip_prefix_format(p, text));
    }
    return ERR_OK;
}

/* Ends a reservation; what is allocated in it goes to the root. */
static void reservation_drop(struct prefix_tree *t, struct top *res) {
    struct top *root = res->root;
    struct harvest h = harvest(res, res->trie.top);
    for (size_t i = 0; i < h.n; i++) {
        prefix_uncut(t, res, h.v[i].addr, h.v[i].len, false);
    }
    prefix_tally_all(t, res, -1);
    root->reserved -= addresses(t, res->len);
    prefix_uncut(t, root, res->base, res->len, true);
    for (size_t i = 0; i < h.n; i++) {
        prefix_cut(t, root, h.v[i].addr, h.v[i].len, h.v[i].value, false);
    }
    struct space *s = res->space;
    prefix_tag tag = res->tag;
    prefix_space_remove(res);
    prefix_tops_remove(&t->reservations, res, prefix_by_address);
    if (s->tops.n == 0) {
        map_del_n(&t->spaces, &tag, sizeof tag);
        prefix_space_free(s);
        mem_free(s);
    }
    prefix_top_free(res);
    mem_free(h.v);
}

/* Ends all reservations inside a block. */
static void reservations_drop(struct prefix_tree *t, u128 base, unsigned len) {
    u128 last = base + (span(len) - 1);
    size_t first = prefix_tops_from(&t->reservations, base), end = first;
    while (end < t->reservations.n && t->reservations.v[end]->base <= last) {
        end++;
    }
    while (end > first) { /* from the end: less to move */
        reservation_drop(t, t->reservations.v[--end]);
    }
}

enum err_code prefix_tree_root_remove(struct prefix_tree *t, const struct ip_prefix *p,
                                      struct err *e) {
    struct top *root;
    ERR_TRY(root_get(t, p, &root, e));
    if (root->prefixes > 0) {
        char text[IP_TEXT_MAX];
        return err_set(e, ERR_IN_USE, NULL, "%" PRIu64 " %s allocated in root prefix %s",
                       root->prefixes, text_plural(root->prefixes, "prefix is", "prefixes are"),
                       ip_prefix_format(p, text));
    }
    reservations_drop(t, root->base, root->len);
    root_drop(t, root);
    return ERR_OK;
}

enum err_code prefix_tree_root_retire(struct prefix_tree *t, const struct ip_prefix *p,
                                      struct err *e) {
    struct top *root;
    ERR_TRY(root_get(t, p, &root, e));
    reservations_drop(t, root->base, root->len);
    if (root->prefixes == 0) {
        root_drop(t, root);
    } else if (!root->retiring) {
        root_set_retiring(t, root, true);
    }
    return ERR_OK;
}

/* Makes `to` the root instead of `from`; leaves that are not inside `to` go to retiring roots, one
 * for each buddy on the way from `from` down to `to`. */
static void root_replace(struct prefix_tree *t, struct top *from, u128 base, unsigned len) {
    struct harvest h = harvest(from, from->trie.top);
    for (size_t i = h.n; i-- > 0;) {
        prefix_uncut(t, from, h.v[i].addr, h.v[i].len, h.v[i].reserved);
    }
    u128 reserved = from->reserved; /* reservations stay only inside `to` */
    uint32_t order = from->order;
    root_drop(t, from);
    struct top *to = root_insert(t, base, len, order);
    to->reserved = reserved;
    for (size_t i = 0; i < h.n; i++) {
        struct found *f = &h.v[i];
        if (top_has(to, f->addr)) {
            prefix_cut(t, to, f->addr, f->len, f->value, f->reserved);
            if (f->reserved) {
                struct top *res = res_top(f->value);
                res->root = to;
                to->prefixes += res->prefixes;
                to->allocated += res->allocated;
            }
            continue;
        }
        struct top *rest = prefix_root_around(t, f->addr, f->len);
        if (rest == NULL) {
            u128 diff = f->addr ^ base;
            unsigned at = diff >> 64 ? (unsigned)__builtin_clzll((uint64_t)(diff >> 64))
                                     : 64 + (unsigned)__builtin_clzll((uint64_t)diff);
            rest = root_insert(t, f->addr & high(at + 1), at + 1, order);
            root_set_retiring(t, rest, true);
        }
        prefix_cut(t, rest, f->addr, f->len, f->value, false);
    }
    mem_free(h.v);
}

/* Whether `from` can shrink to the block; counts what would be left outside. */
static enum err_code shrink_ok(struct prefix_tree *t, struct top *from, const struct ip_prefix *to,
                               uint64_t *outside, struct err *e) {
    char text[IP_TEXT_MAX], wide[IP_TEXT_MAX];
    struct harvest h = harvest(from, from->trie.top);
    enum err_code rc = ERR_OK;
    *outside = 0;
    for (size_t i = 0; i < h.n && rc == ERR_OK; i++) {
        struct ip_prefix q = prefix_of(t, h.v[i].addr, h.v[i].len);
        struct top *res = h.v[i].reserved ? res_top(h.v[i].value) : NULL;
        if (!ip_prefix_overlaps(&q, to)) {
            *outside += res != NULL ? res->prefixes : 1;
        } else if (q.len < to->len) {
            rc = err_set(e, ERR_IN_USE, NULL, "%s prefix %s reaches beyond %s",
                         res != NULL ? "reserved" : "allocated", ip_prefix_format(&q, wide),
                         ip_prefix_format(to, text));
        }
    }
    mem_free(h.v);
    return rc;
}

enum err_code prefix_tree_root_resize(struct prefix_tree *t, const struct ip_prefix *from,
                                      const struct ip_prefix *to, bool force, struct err *e) {
    struct top *root;
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    ERR_TRY(root_get(t, from, &root, e));
    ERR_TRY(prefix_ok(t, to, e));
    ERR_TRY(root_len_ok(to, t->min_len, t->max_len, ERR_INVALID, e));
    u128 base = addr_value(&to->addr);
    if (root->retiring || !ip_prefix_overlaps(from, to)) {
        return err_set(e, ERR_INVALID, NULL, "root prefix %s %s %s", ip_prefix_format(from, text),
                       root->retiring ? "is retiring and cannot become"
                                      : "neither contains nor is contained in",
                       ip_prefix_format(to, other));
    }
    if (to->len < from->len) {
        struct top *in_the_way = root_overlapping(t, base, to->len, root);
        if (in_the_way != NULL) {
            struct ip_prefix p = top_prefix(t, in_the_way);
            return err_set(e, ERR_EXISTS, NULL, "root prefix %s would overlap the root %s",
                           ip_prefix_format(to, text), ip_prefix_format(&p, other));
        }
    } else if (to->len > from->len) {
        uint64_t outside;
        ERR_TRY(shrink_ok(t, root, to, &outside, e));
        if (outside > 0 && !force) {
            return err_set(e, ERR_IN_USE, NULL,
                           "%" PRIu64 " prefix%s of root prefix %s allocated outside %s", outside,
                           outside == 1 ? " is" : "es are", ip_prefix_format(from, text),
                           ip_prefix_format(to, other));
        }
        for (unsigned len = from->len + 1U; len <= to->len; len++) {
            reservations_drop(t, (base & high(len)) ^ span(len), len);
        }
    } else {
        return ERR_OK;
    }
    root_replace(t, root, base, to->len);
    return ERR_OK;
}

static void root_info(const struct prefix_tree *t, const struct top *root,
                      struct prefix_root_info *out) {
    *out = (struct prefix_root_info){.prefix = top_prefix(t, root),
                                     .order = root->order,
                                     .retiring = root->retiring,
                                     .prefixes = root->prefixes,
                                     .allocated = root->allocated,
                                     .reserved = root->reserved};
    out->total = root->retiring ? root->allocated : addresses(t, root->len);
    out->free = out->total - out->allocated - out->reserved;
}

size_t prefix_tree_root_count(const struct prefix_tree *t) {
    return t->roots.n;
}

bool prefix_tree_root_at(const struct prefix_tree *t, size_t i, struct prefix_root_info *out) {
    if (i >= t->roots.n) {
        return false;
    }
    size_t normal = t->common.tops.n;
    root_info(t, i < normal ? t->common.tops.v[i] : t->retiring.tops.v[i - normal], out);
    return true;
}

bool prefix_tree_root_find(const struct prefix_tree *t, const struct ip_prefix *p,
                           struct prefix_root_info *out) {
    struct top *root;
    if (root_get(t, p, &root, NULL) != ERR_OK) {
        return false;
    }
    root_info(t, root, out);
    return true;
}

/* ---- reservations ---- */

/* All leaves below a hit, or the one that was hit. */
static struct harvest harvest_hit(const struct top *top, const struct trie_hit *hit) {
    return hit->kind == TRIE_FREE ? (struct harvest){0} : harvest(top, hit->ref);
}

static enum err_code reserve_ok(struct prefix_tree *t, const struct ip_prefix *p,
                                const struct harvest *h,
                                bool (*mine)(void *arg, prefix_owner owner), void *arg,
                                struct err *e) {
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    for (size_t i = 0; i < h->n; i++) {
        struct ip_prefix q = prefix_of(t, h->v[i].addr, h->v[i].len);
        if (h->v[i].reserved) {
            return err_set(e, ERR_EXISTS, NULL, "reserved prefix %s overlaps the reservation %s",
                           ip_prefix_format(p, text), ip_prefix_format(&q, other));
        }
        if (q.len < p->len) {
            return err_set(e, ERR_IN_USE, NULL, "%s lies inside the allocated prefix %s",
                           ip_prefix_format(p, text), ip_prefix_format(&q, other));
        }
        if (mine == NULL || !mine(arg, h->v[i].value)) {
            return err_set(e, ERR_IN_USE, NULL, "%s is allocated to somebody else, so %s %s",
                           ip_prefix_format(&q, other), ip_prefix_format(p, text),
                           "cannot be reserved");
        }
    }
    return ERR_OK;
}

enum err_code prefix_tree_reserve(struct prefix_tree *t, const struct ip_prefix *p, prefix_tag tag,
                                  bool (*mine)(void *arg, prefix_owner owner), void *arg,
                                  struct err *e) {
    char text[IP_TEXT_MAX];
    ERR_TRY(prefix_ok(t, p, e));
    if (tag == 0 || p->len > t->max_len) {
        return err_set(e, ERR_INVALID, NULL, "reserved prefix %s %s", ip_prefix_format(p, text),
                       tag == 0 ? "is for nobody" : "is longer than the limit");
    }
    u128 base = addr_value(&p->addr);
    struct top *root = prefix_root_around(t, base, p->len);
    if (root == NULL || root->retiring) {
        return err_set(e, ERR_ABSENT, NULL, "reserved prefix %s is in no root prefix",
                       ip_prefix_format(p, text));
    }
    struct trie_hit hit = trie_find(&root->trie, key_in(root, base), p->len - root->len);
    struct harvest h = harvest_hit(root, &hit);
    enum err_code rc = reserve_ok(t, p, &h, mine, arg, e);
    if (rc != ERR_OK) {
        mem_free(h.v);
        return rc;
    }
    for (size_t i = h.n; i-- > 0;) {
        prefix_uncut(t, root, h.v[i].addr, h.v[i].len, false);
    }
    struct top *res = top_new(base, p->len);
    res->root = root;
    res->tag = tag;
    prefix_cut(t, root, base, p->len, (uintptr_t)res, true);
    root->reserved += addresses(t, p->len);
    prefix_tops_add(&t->reservations, res, prefix_by_address);
    struct space *s = prefix_space_of_tag(t, tag);
    if (s == NULL) {
        s = MEM_NEW(struct space);
        map_put_n(&t->spaces, &tag, sizeof tag, s);
    }
    prefix_space_add(s, res);
    prefix_tally_all(t, res, 1);
    for (size_t i = 0; i < h.n; i++) {
        prefix_cut(t, res, h.v[i].addr, h.v[i].len, h.v[i].value, false);
    }
    mem_free(h.v);
    return ERR_OK;
}

enum err_code prefix_tree_unreserve(struct prefix_tree *t, const struct ip_prefix *p,
                                    struct err *e) {
    struct top *res = p->addr.family == t->family
                          ? prefix_tops_find(&t->reservations, addr_value(&p->addr), p->len)
                          : NULL;
    if (res == NULL) {
        char text[IP_TEXT_MAX];
        return err_set(e, ERR_ABSENT, NULL, "there is no reserved prefix %s",
                       ip_prefix_format(p, text));
    }
    reservation_drop(t, res);
    return ERR_OK;
}
