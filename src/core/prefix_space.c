// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/mem.h"
#include "core/prefix_tree_impl.h"

int prefix_by_address(const struct top *a, const struct top *b) {
    return a->base < b->base ? -1 : a->base > b->base;
}

int prefix_by_order(const struct top *a, const struct top *b) {
    uint32_t x = a->root ? a->root->order : a->order, y = b->root ? b->root->order : b->order;
    return x != y ? (x < y ? -1 : 1) : prefix_by_address(a, b);
}

/* Index of the first one that is not before `top`. */
static size_t tops_place(const struct tops *s, const struct top *top,
                         int (*cmp)(const struct top *, const struct top *)) {
    size_t lo = 0, hi = s->n;
    if (hi > 0 && cmp(s->v[hi - 1], top) < 0) {
        return hi;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cmp(s->v[mid], top) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

void prefix_tops_add(struct tops *s, struct top *top,
                     int (*cmp)(const struct top *, const struct top *)) {
    size_t i = tops_place(s, top, cmp);
    if (s->n == s->cap) {
        s->cap += s->cap / 2 + 1;
        s->v = mem_array(s->v, s->cap, sizeof(struct top *));
    }
    memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof(struct top *));
    s->v[i] = top;
    s->n++;
}

void prefix_tops_remove(struct tops *s, struct top *top,
                        int (*cmp)(const struct top *, const struct top *)) {
    size_t i = tops_place(s, top, cmp);
    s->n--;
    memmove(s->v + i, s->v + i + 1, (s->n - i) * sizeof(struct top *));
}

/* Index of the first (by address) that ends behind `addr`. */
size_t prefix_tops_from(const struct tops *s, u128 addr) {
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->v[mid]->base + (span(s->v[mid]->len) - 1) < addr) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct top *prefix_root_around(const struct prefix_tree *t, u128 addr, unsigned len) {
    size_t i = prefix_tops_from(&t->roots, addr);
    struct top *r = i < t->roots.n ? t->roots.v[i] : NULL;
    return r != NULL && r->len <= len && top_has(r, addr) ? r : NULL;
}

struct top *prefix_tops_find(const struct tops *s, u128 addr, unsigned len) {
    size_t i = prefix_tops_from(s, addr);
    return i < s->n && s->v[i]->base == addr && s->v[i]->len == len ? s->v[i] : NULL;
}

/* ---- spaces ---- */

u128 prefix_top_mask(const struct top *top) {
    if (top->trie.top == TRIE_NONE) {
        return (u128)1 << (top->len - 1);
    }
    return top->len >= 128 ? 0 : (u128)trie_mask(&top->trie) << top->len;
}

static void space_build(struct space *s) {
    size_t width = 1;
    while (width < s->tops.n) {
        width *= 2;
    }
    if (width != s->width) {
        s->seg = mem_array(s->seg, 2 * width, sizeof *s->seg);
        s->width = width;
    }
    for (size_t i = 0; i < width; i++) {
        s->seg[width + i] = i < s->tops.n ? prefix_top_mask(s->tops.v[i]) : 0;
        if (i < s->tops.n) {
            s->tops.v[i]->slot = i;
        }
    }
    for (size_t i = width - 1; i > 0; i--) {
        s->seg[i] = s->seg[2 * i] | s->seg[2 * i + 1];
    }
    s->built = true;
}

u128 prefix_space_mask(struct space *s) {
    if (s == NULL || s->tops.n == 0) {
        return 0;
    }
    if (!s->built) {
        space_build(s);
    }
    return s->seg[1];
}

/* The free blocks of `top` have changed. */
void prefix_space_refresh(const struct top *top) {
    struct space *s = top->space;
    if (!s->built) {
        return;
    }
    size_t i = s->width + top->slot;
    s->seg[i] = prefix_top_mask(top);
    while (i > 1) {
        i /= 2;
        u128 mask = s->seg[2 * i] | s->seg[2 * i + 1];
        if (s->seg[i] == mask) {
            return;
        }
        s->seg[i] = mask;
    }
}

/* The first top with a free block of length `len`; there must be one. */
struct top *prefix_space_first(const struct space *s, unsigned len) {
    u128 bit = (u128)1 << (len - 1);
    size_t i = 1;
    while (i < s->width) {
        i = s->seg[2 * i] & bit ? 2 * i : 2 * i + 1;
    }
    return s->tops.v[i - s->width];
}

void prefix_space_add(struct space *s, struct top *top) {
    prefix_tops_add(&s->tops, top, prefix_by_order);
    top->space = s;
    s->built = false;
}

void prefix_space_remove(struct top *top) {
    prefix_tops_remove(&top->space->tops, top, prefix_by_order);
    top->space->built = false;
    top->space = NULL;
}

void prefix_space_free(struct space *s) {
    mem_free(s->tops.v);
    mem_free(s->seg);
}

struct space *prefix_space_of_tag(const struct prefix_tree *t, prefix_tag tag) {
    return tag == 0 ? NULL : map_get_n(&t->spaces, &tag, sizeof tag);
}
