// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "core/prefix_tree_impl.h"

struct tally {
    const struct prefix_tree *t;
    struct err *e;
    enum err_code rc;
    const struct top *top;
    uint64_t prefixes;
    u128 allocated, below; /* below: addresses of all leaves */
    uint32_t allocated_blocks[PREFIX_LENGTHS];
};

static enum err_code broken(const struct prefix_tree *t, const struct top *top, struct err *e,
                            const char *what) {
    char text[IP_TEXT_MAX] = "the tree";
    if (top != NULL) {
        struct ip_prefix p = top_prefix(t, top);
        ip_prefix_format(&p, text);
    }
    return err_set(e, ERR_INTERNAL, NULL, "%s: %s", text, what);
}

static bool tally_leaf(void *arg, struct trie_leaf *l) {
    struct tally *y = arg;
    unsigned len = (unsigned)y->top->len + l->len;
    if (len > y->t->max_len) {
        y->rc = broken(y->t, y->top, y->e, "a leaf is longer than the limit");
        return false;
    }
    y->below += addresses(y->t, len);
    if (!l->reserved) {
        y->prefixes++;
        y->allocated += addresses(y->t, len);
        y->allocated_blocks[len]++;
        return true;
    }
    const struct top *res = prefix_tops_find(&y->t->reservations, addr_in(y->top, l->key), len);
    if (res == NULL || res != res_top(l->value) || res->root != y->top) {
        y->rc = broken(y->t, y->top, y->e, "a reserved leaf has no reservation");
        return false;
    }
    return true;
}

/* Checks one top by itself and adds its free blocks to `blocks`. */
static enum err_code check_top(struct tally *y, const struct top *top, uint32_t *blocks) {
    ERR_TRY(trie_check(&top->trie, y->e));
    y->top = top;
    y->prefixes = 0;
    y->allocated = y->below = 0;
    trie_walk(&top->trie, top->trie.top, tally_leaf, y);
    ERR_TRY(y->rc);
    uint64_t counts[65] = {0};
    trie_count_free(&top->trie, counts);
    u128 sum = y->below;
    uint64_t mask = 0;
    for (unsigned k = 0; k <= 64; k++) {
        if (counts[k] > 0) {
            sum += counts[k] * addresses(y->t, top->len + k);
            mask |= k > 0 ? UINT64_C(1) << (k - 1) : 0;
            if (blocks != NULL) {
                blocks[top->len + k] += (uint32_t)counts[k];
            }
        }
    }
    if (sum != addresses(y->t, top->len)) {
        return broken(y->t, top, y->e, "free and taken blocks do not add up to the whole");
    }
    if (mask != trie_mask(&top->trie)) {
        return broken(y->t, top, y->e, "the mask of free lengths is wrong");
    }
    return ERR_OK;
}

static enum err_code check_space(const struct prefix_tree *t, const struct space *s,
                                 struct err *e) {
    for (size_t i = 0; i < s->tops.n; i++) {
        const struct top *top = s->tops.v[i];
        if (top->space != s || (s->built && top->slot != i) ||
            (i > 0 && prefix_by_order(s->tops.v[i - 1], top) >= 0)) {
            return broken(t, top, e, "is in the wrong place of its space");
        }
        if (s->built && s->seg[s->width + i] != prefix_top_mask(top)) {
            return broken(t, top, e, "its mask in the space is stale");
        }
    }
    for (size_t i = 1; s->built && i < s->width; i++) {
        if (s->seg[i] != (s->seg[2 * i] | s->seg[2 * i + 1])) {
            return broken(t, NULL, e, "a mask inside a space is stale");
        }
    }
    return ERR_OK;
}

static enum err_code check_root(struct tally *y, size_t i, uint32_t *free_blocks,
                                uint32_t *reserved_blocks) {
    const struct prefix_tree *t = y->t;
    const struct top *root = t->roots.v[i];
    if (root->root != NULL || root->space != (root->retiring ? &t->retiring : &t->common)) {
        return broken(t, root, y->e, "is not where a root belongs");
    }
    if (i > 0) {
        const struct top *prev = t->roots.v[i - 1];
        if (prev->base + (span(prev->len) - 1) >= root->base) {
            return broken(t, root, y->e, "overlaps the root before it");
        }
    }
    ERR_TRY(check_top(y, root, root->retiring ? NULL : free_blocks));
    uint64_t prefixes = y->prefixes;
    u128 allocated = y->allocated, reserved = 0;
    for (size_t k = prefix_tops_from(&t->reservations, root->base);
         k < t->reservations.n && top_has(root, t->reservations.v[k]->base); k++) {
        const struct top *res = t->reservations.v[k];
        if (res->root != root || res->space != prefix_space_of_tag(t, res->tag)) {
            return broken(t, res, y->e, "is not where a reservation belongs");
        }
        ERR_TRY(check_top(y, res, reserved_blocks));
        if (res->prefixes != y->prefixes || res->allocated != y->allocated) {
            return broken(t, res, y->e, "its counters are wrong");
        }
        prefixes += y->prefixes;
        allocated += y->allocated;
        reserved += addresses(t, res->len) - y->allocated;
    }
    if (root->prefixes != prefixes || root->allocated != allocated || root->reserved != reserved) {
        return broken(t, root, y->e, "its counters are wrong");
    }
    return ERR_OK;
}

enum err_code prefix_tree_check(const struct prefix_tree *t, struct err *e) {
    struct tally y = {.t = t, .e = e};
    uint32_t free_blocks[PREFIX_LENGTHS] = {0}, reserved_blocks[PREFIX_LENGTHS] = {0};
    uint64_t prefixes = 0;
    size_t reservations = 0;
    u128 normal = 0, retiring = 0;
    for (size_t i = 0; i < t->roots.n; i++) {
        const struct top *root = t->roots.v[i];
        ERR_TRY(check_root(&y, i, free_blocks, reserved_blocks));
        prefixes += root->prefixes;
        normal += root->retiring ? 0 : addresses(t, root->len);
        retiring += root->retiring ? root->allocated : 0;
    }
    ERR_TRY(check_space(t, &t->common, e));
    ERR_TRY(check_space(t, &t->retiring, e));
    MAP_FOREACH (m, &t->spaces) {
        const struct space *s = m->value;
        ERR_TRY(check_space(t, s, e));
        reservations += s->tops.n;
    }
    if (t->common.tops.n + t->retiring.tops.n != t->roots.n || reservations != t->reservations.n) {
        return broken(t, NULL, e, "roots or reservations are lost");
    }
    if (prefixes != t->prefixes || normal != t->normal_total || retiring != t->retiring_allocated ||
        memcmp(free_blocks, t->free_blocks, sizeof free_blocks) != 0 ||
        memcmp(reserved_blocks, t->reserved_blocks, sizeof reserved_blocks) != 0 ||
        memcmp(y.allocated_blocks, t->allocated_blocks, sizeof y.allocated_blocks) != 0) {
        return broken(t, NULL, e, "its counters are wrong");
    }
    return ERR_OK;
}
