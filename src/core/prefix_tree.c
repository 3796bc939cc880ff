// SPDX-License-Identifier: Apache-2.0
#include "core/prefix_tree.h"

#include "base/mem.h"
#include "core/prefix_tree_impl.h"

enum { SEEN_INSIDE_MAX = 1000 /* a conflict counts what lies inside only up to here */ };

enum err_code prefix_limits_ok(unsigned family, unsigned min_len, unsigned max_len, struct err *e) {
    if (min_len < 1 || min_len > max_len || max_len > ip_bits(family)) {
        return err_set(e, ERR_INVALID, NULL,
                       "prefix length limits %u..%u are not within 1..%u in ascending order",
                       min_len, max_len, ip_bits(family));
    }
    return ERR_OK;
}

enum err_code prefix_tree_new(unsigned family, unsigned min_len, unsigned max_len,
                              struct prefix_tree **out, struct err *e) {
    *out = NULL;
    if (family != 4 && family != 6) {
        return err_set(e, ERR_INVALID, NULL, "%u is no address family", family);
    }
    ERR_TRY(prefix_limits_ok(family, min_len, max_len, e));
    struct prefix_tree *t = MEM_NEW(struct prefix_tree);
    t->family = (uint8_t)family;
    t->bits = (uint8_t)ip_bits(family);
    t->min_len = (uint8_t)min_len;
    t->max_len = (uint8_t)max_len;
    *out = t;
    return ERR_OK;
}

void prefix_top_free(struct top *top) {
    trie_free(&top->trie);
    mem_free(top);
}

void prefix_tree_free(struct prefix_tree *t) {
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->roots.n; i++) {
        prefix_top_free(t->roots.v[i]);
    }
    for (size_t i = 0; i < t->reservations.n; i++) {
        prefix_top_free(t->reservations.v[i]);
    }
    MAP_FOREACH (m, &t->spaces) {
        prefix_space_free(m->value);
        mem_free(m->value);
    }
    map_free(&t->spaces, NULL);
    prefix_space_free(&t->common);
    prefix_space_free(&t->retiring);
    mem_free(t->roots.v);
    mem_free(t->reservations.v);
    mem_free(t);
}

unsigned prefix_tree_family(const struct prefix_tree *t) {
    return t->family;
}

unsigned prefix_tree_min_len(const struct prefix_tree *t) {
    return t->min_len;
}

unsigned prefix_tree_max_len(const struct prefix_tree *t) {
    return t->max_len;
}

/* ---- counters ---- */

static struct top *root_of(struct top *top) {
    return top->root ? top->root : top;
}

/* Where free blocks of this top are counted; NULL: nowhere. */
static uint32_t *blocks_of(struct prefix_tree *t, const struct top *top) {
    if (top->root != NULL) {
        return t->reserved_blocks;
    }
    return top->retiring ? NULL : t->free_blocks;
}

/* All free blocks of the top appear (sign 1) or go (-1). */
void prefix_tally_all(struct prefix_tree *t, const struct top *top, int sign) {
    uint32_t *blocks = blocks_of(t, top);
    if (blocks == NULL) {
        return;
    }
    uint64_t counts[65] = {0};
    trie_count_free(&top->trie, counts);
    for (unsigned k = 0; k <= 64 && top->len + k <= 128; k++) {
        blocks[top->len + k] += (uint32_t)(sign * (int64_t)counts[k]);
    }
}

/* A leaf of relative length `len` was cut out of (sign 1) or merged into (-1) the free block of
 * length `free_len`. */
static void count_cut(struct prefix_tree *t, const struct top *top, unsigned free_len, unsigned len,
                      int sign) {
    uint32_t *blocks = blocks_of(t, top);
    if (blocks != NULL) {
        blocks[top->len + free_len] -= (uint32_t)sign;
        for (unsigned k = free_len + 1; k <= len; k++) {
            blocks[top->len + k] += (uint32_t)sign;
        }
    }
}

static void count_prefix(struct prefix_tree *t, struct top *top, unsigned abs_len, int sign) {
    struct top *root = root_of(top);
    u128 n = addresses(t, abs_len), add = sign > 0 ? n : -n;
    t->allocated_blocks[abs_len] += (uint32_t)sign;
    t->prefixes += (uint64_t)sign;
    root->prefixes += (uint64_t)sign;
    root->allocated += add;
    if (top != root) {
        top->prefixes += (uint64_t)sign;
        top->allocated += add;
        root->reserved -= add;
    }
    if (root->retiring) {
        t->retiring_allocated += add;
    }
}

/* ---- cutting out and putting back leaves ---- */

void prefix_cut(struct prefix_tree *t, struct top *top, u128 addr, unsigned abs_len, uint64_t value,
                bool reserved) {
    unsigned len = abs_len - top->len;
    unsigned was = trie_insert(&top->trie, key_in(top, addr), len, value, reserved);
    count_cut(t, top, was, len, 1);
    if (!reserved) {
        count_prefix(t, top, abs_len, 1);
    }
    prefix_space_refresh(top);
}

void prefix_uncut(struct prefix_tree *t, struct top *top, u128 addr, unsigned abs_len,
                  bool reserved) {
    unsigned is = trie_remove(&top->trie, key_in(top, addr));
    count_cut(t, top, is, abs_len - top->len, -1);
    if (!reserved) {
        count_prefix(t, top, abs_len, -1);
    }
    prefix_space_refresh(top);
}

/* ---- allocation ---- */

/* Among the lengths in `mask`: the longest one shorter than or equal to `len`; 0 when none. */
static unsigned best_len(u128 mask, unsigned len) {
    u128 m = len >= 128 ? mask : mask & (((u128)1 << len) - 1);
    uint64_t hi = (uint64_t)(m >> 64), lo = (uint64_t)m;
    return hi ? 128 - (unsigned)__builtin_clzll(hi) : lo ? 64 - (unsigned)__builtin_clzll(lo) : 0;
}

/* The shortest one longer than `len`; 0 when none. */
static unsigned next_len(u128 mask, unsigned len) {
    u128 m = len >= 128 ? 0 : mask >> len << len;
    uint64_t hi = (uint64_t)(m >> 64), lo = (uint64_t)m;
    return lo ? (unsigned)__builtin_ctzll(lo) + 1 : hi ? (unsigned)__builtin_ctzll(hi) + 65 : 0;
}

static enum err_code refuse(struct prefix_conflict *why, const struct prefix_conflict *c,
                            enum err_code code, struct err *e, const char *text) {
    if (why != NULL) {
        *why = *c;
    }
    return err_set(e, code, NULL, "%s", text);
}

enum err_code prefix_tree_allocate(struct prefix_tree *t, unsigned len, prefix_tag tag,
                                   bool allow_larger, prefix_owner owner, struct ip_prefix *out,
                                   struct prefix_conflict *why, struct err *e) {
    if (len < 1 || len > t->max_len) {
        if (!allow_larger || len < 1 || len > t->bits) {
            return refuse(why, &(struct prefix_conflict){.reason = PREFIX_WHY_TOO_LONG},
                          ERR_INVALID, e, "the length asked for is beyond the partition's longest");
        }
        len = t->max_len;
    }
    struct space *own = prefix_space_of_tag(t, tag), *all = &t->common;
    u128 own_mask = prefix_space_mask(own), all_mask = prefix_space_mask(all),
         exact = (u128)1 << (len - 1);
    struct space *from = NULL;
    unsigned block = len;
    if (own_mask & exact) {
        from = own;
    } else if (all_mask & exact) {
        from = all;
    } else if ((block = best_len(own_mask, len)) != 0) {
        from = own;
    } else if ((block = best_len(all_mask, len)) != 0) {
        from = all;
    } else {
        len = block = next_len(own_mask | all_mask, len);
        if (block == 0) {
            return refuse(why, &(struct prefix_conflict){.reason = PREFIX_WHY_EXHAUSTED}, ERR_LIMIT,
                          e, "no prefix is free");
        }
        from = own_mask >> (block - 1) & 1 ? own : all;
    }
    struct top *top = prefix_space_first(from, block);
    u128 addr = top->trie.top == TRIE_NONE
                    ? top->base
                    : addr_in(top, trie_lowest(&top->trie, block - top->len));
    prefix_cut(t, top, addr, len, owner, false);
    *out = prefix_of(t, addr, len);
    if (why != NULL) {
        *why = (struct prefix_conflict){.reason = PREFIX_WHY_NONE};
    }
    return ERR_OK;
}

/* What lies inside a prefix that was asked for whole. */
struct inside {
    const struct prefix_tree *t;
    const struct top *top;
    prefix_tag tag;
    struct prefix_conflict allocated, own, foreign; /* the first of each */
};

static bool look_inside(void *arg, struct trie_leaf *l) {
    struct inside *in = arg;
    struct ip_prefix p =
        prefix_of(in->t, addr_in(in->top, l->key), (unsigned)in->top->len + l->len);
    if (!l->reserved) {
        if (in->allocated.count++ == 0) {
            in->allocated.with = p;
            in->allocated.owner = l->value;
        }
        return in->allocated.count < SEEN_INSIDE_MAX;
    }
    const struct top *res = res_top(l->value), *outer = in->top;
    struct prefix_conflict *c = res->tag == in->tag ? &in->own : &in->foreign;
    if (c->count++ == 0) {
        c->with = p;
        c->tag = res->tag;
    }
    in->top = res;
    bool go_on = trie_walk(&res->trie, res->trie.top, look_inside, in);
    in->top = outer;
    return go_on;
}

static struct prefix_conflict conflict_inside(const struct prefix_tree *t, const struct top *top,
                                              uint32_t ref, prefix_tag tag) {
    struct inside in = {.t = t,
                        .top = top,
                        .tag = tag,
                        .allocated.reason = PREFIX_WHY_COVERS,
                        .own.reason = PREFIX_WHY_COVERS_OWN,
                        .foreign.reason = PREFIX_WHY_RESERVED};
    trie_walk(&top->trie, ref, look_inside, &in);
    return in.allocated.count > 0 ? in.allocated : in.foreign.count > 0 ? in.foreign : in.own;
}

/* What stands against giving exactly `p` to `tag`; when nothing does, *place is where to cut. */
static struct prefix_conflict conflict_of(const struct prefix_tree *t, const struct ip_prefix *p,
                                          prefix_tag tag, bool restore, struct top **place) {
    if (p->addr.family != t->family || !ip_prefix_aligned(p)) {
        return (struct prefix_conflict){.reason = PREFIX_WHY_BAD};
    }
    if (p->len > t->max_len || p->len < t->min_len) {
        return (struct prefix_conflict){.reason = p->len > t->max_len ? PREFIX_WHY_TOO_LONG
                                                                      : PREFIX_WHY_TOO_SHORT};
    }
    u128 addr = addr_value(&p->addr);
    struct top *top = prefix_root_around(t, addr, p->len);
    if (top == NULL) {
        return (struct prefix_conflict){.reason = PREFIX_WHY_OUTSIDE};
    }
    struct trie_hit hit = trie_find(&top->trie, key_in(top, addr), p->len - top->len);
    if (hit.kind == TRIE_INSIDE && hit.leaf->reserved) {
        top = res_top(hit.leaf->value);
        hit = trie_find(&top->trie, key_in(top, addr), p->len - top->len);
    }
    if (hit.kind == TRIE_OVER) {
        return conflict_inside(t, top, hit.ref, tag);
    }
    if (hit.kind == TRIE_INSIDE) {
        unsigned len = (unsigned)top->len + hit.leaf->len;
        return (struct prefix_conflict){.reason =
                                            len == p->len ? PREFIX_WHY_HELD : PREFIX_WHY_INSIDE,
                                        .with = prefix_of(t, addr_in(top, hit.leaf->key), len),
                                        .owner = hit.leaf->value};
    }
    if (top->root != NULL && top->tag != tag) {
        return (struct prefix_conflict){
            .reason = PREFIX_WHY_RESERVED, .with = top_prefix(t, top), .tag = top->tag};
    }
    if (top->retiring && !restore) {
        return (struct prefix_conflict){.reason = PREFIX_WHY_RETIRING, .with = top_prefix(t, top)};
    }
    *place = top;
    return (struct prefix_conflict){.reason = PREFIX_WHY_NONE};
}

static const struct {
    enum err_code code;
    const char *text;
    bool with;
} reasons[] = {
    [PREFIX_WHY_NONE] = {ERR_OK, "", false},
    [PREFIX_WHY_EXHAUSTED] = {ERR_LIMIT, "no prefix is free", false},
    [PREFIX_WHY_OUTSIDE] = {ERR_ABSENT, "is in no root prefix of the partition", false},
    [PREFIX_WHY_HELD] = {ERR_IN_USE, "is allocated already", false},
    [PREFIX_WHY_INSIDE] = {ERR_IN_USE, "lies inside the allocated prefix", true},
    [PREFIX_WHY_COVERS] = {ERR_IN_USE, "covers allocated prefixes, the first is", true},
    [PREFIX_WHY_RESERVED] = {ERR_IN_USE, "is reserved for somebody else by", true},
    [PREFIX_WHY_COVERS_OWN] = {ERR_IN_USE, "reaches beyond the reservation", true},
    [PREFIX_WHY_TOO_LONG] = {ERR_INVALID, "is longer than the partition's longest prefix", false},
    [PREFIX_WHY_TOO_SHORT] = {ERR_INVALID, "is shorter than the partition's shortest prefix",
                              false},
    [PREFIX_WHY_RETIRING] = {ERR_REFUSED, "lies in the retiring root prefix", true},
    [PREFIX_WHY_BAD] = {ERR_INVALID, "has host bits set or is of the other address family", false},
};

static enum err_code take(struct prefix_tree *t, const struct ip_prefix *p, prefix_tag tag,
                          prefix_owner owner, bool restore, struct prefix_conflict *why,
                          struct err *e) {
    struct top *place = NULL;
    struct prefix_conflict c = conflict_of(t, p, tag, restore, &place);
    if (why != NULL) {
        *why = c;
    }
    if (c.reason == PREFIX_WHY_NONE) {
        prefix_cut(t, place, addr_value(&p->addr), p->len, owner, false);
        return ERR_OK;
    }
    char text[IP_TEXT_MAX], with[IP_TEXT_MAX] = "";
    if (reasons[c.reason].with) {
        ip_prefix_format(&c.with, with);
    }
    return err_set(e, reasons[c.reason].code, NULL, "%s %s%s%s", ip_prefix_format(p, text),
                   reasons[c.reason].text, with[0] ? " " : "", with);
}

enum err_code prefix_tree_allocate_exact(struct prefix_tree *t, const struct ip_prefix *p,
                                         prefix_tag tag, prefix_owner owner,
                                         struct prefix_conflict *why, struct err *e) {
    return take(t, p, tag, owner, false, why, e);
}

enum err_code prefix_tree_restore(struct prefix_tree *t, const struct ip_prefix *p, prefix_tag tag,
                                  prefix_owner owner, struct prefix_conflict *why, struct err *e) {
    return take(t, p, tag, owner, true, why, e);
}

/* The leaf that is exactly this allocated prefix, and its top. */
static struct trie_leaf *held(const struct prefix_tree *t, const struct ip_prefix *p,
                              struct top **top, struct err *e) {
    u128 addr = addr_value(&p->addr);
    *top = p->addr.family == t->family ? prefix_root_around(t, addr, p->len) : NULL;
    while (*top != NULL) {
        struct trie_hit hit = trie_find(&(*top)->trie, key_in(*top, addr), len_in(*top, p->len));
        if (hit.kind != TRIE_INSIDE) {
            break;
        }
        if (!hit.leaf->reserved) {
            if ((unsigned)(*top)->len + hit.leaf->len != p->len ||
                addr_in(*top, hit.leaf->key) != addr) {
                break;
            }
            return hit.leaf;
        }
        *top = res_top(hit.leaf->value);
    }
    char text[IP_TEXT_MAX];
    err_set(e, ERR_ABSENT, NULL, "%s is not an allocated prefix", ip_prefix_format(p, text));
    return NULL;
}

enum err_code prefix_tree_release(struct prefix_tree *t, const struct ip_prefix *p,
                                  prefix_owner *owner, bool *root_empty, struct err *e) {
    struct top *top;
    struct trie_leaf *l = held(t, p, &top, e);
    if (l == NULL) {
        return ERR_ABSENT;
    }
    if (owner != NULL) {
        *owner = l->value;
    }
    prefix_uncut(t, top, addr_value(&p->addr), p->len, false);
    if (root_empty != NULL) {
        *root_empty = top->retiring && top->prefixes == 0;
    }
    return ERR_OK;
}

enum err_code prefix_tree_set_owner(struct prefix_tree *t, const struct ip_prefix *p,
                                    prefix_owner owner, struct err *e) {
    struct top *top;
    struct trie_leaf *l = held(t, p, &top, e);
    if (l == NULL) {
        return ERR_ABSENT;
    }
    l->value = owner;
    return ERR_OK;
}
