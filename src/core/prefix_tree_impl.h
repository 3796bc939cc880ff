// SPDX-License-Identifier: Apache-2.0
/*
 * The inside of a prefix tree, shared by prefix_*.c only: prefix_space.c keeps tops in order and
 * finds the first with a block of a length, prefix_roots.c changes roots and reservations,
 * prefix_tree.c allocates, prefix_look.c answers and counts.
 */
#ifndef CORE_PREFIX_TREE_IMPL_H
#define CORE_PREFIX_TREE_IMPL_H

#include "base/map.h"
#include "core/prefix_tree.h"
#include "core/prefix_trie.h"

/* Addresses are 128-bit numbers; IPv4 ones occupy the top 32 bits, so that "the n-th bit" and the
 * arithmetic of blocks are the same for both families. */
typedef unsigned __int128 u128;

enum {
    PREFIX_LENGTHS = 129, /* 0..128 */
};

/* Tops sorted by some order; Adding at the end is cheap, which is how configuration arrives. */
struct tops {
    struct top **v;
    size_t n, cap;
};

/* Tops among which an allocation chooses: all roots, or the reservations of one tag. seg[1] is the
 * union of the masks of all tops, seg[2i] and seg[2i+1] of the two halves of i's range. Bit L-1
 * stands for a free block of length L. Built when first needed, then kept up to date. */
struct space {
    struct tops tops; /* by root order, then address */
    u128 *seg;
    size_t width; /* leaves of seg, a power of two */
    bool built;
};

/* A root or a reservation. */
struct top {
    u128 base;
    struct top *root; /* of a reservation; NULL: this is a root */
    prefix_tag tag;   /* of a reservation */
    struct space *space;
    size_t slot; /* in the space, while that is built */
    struct trie trie;
    uint64_t prefixes; /* allocated; a root's include those in its reservations */
    u128 allocated;    /* addresses, likewise */
    u128 reserved;     /* of a root: free addresses in its reservations */
    uint32_t order;    /* of a root */
    uint8_t len;
    bool retiring; /* of a root */
};

struct prefix_tree {
    uint8_t family, bits, min_len, max_len;
    struct tops roots, reservations; /* by address */
    struct space common, retiring;   /* the roots, each in one of them */
    struct map spaces;               /* tag -> struct space of its reservations */
    u128 normal_total, retiring_allocated;
    uint64_t prefixes;
    uint32_t free_blocks[PREFIX_LENGTHS], reserved_blocks[PREFIX_LENGTHS],
        allocated_blocks[PREFIX_LENGTHS];
};

/* ---- addresses ---- */

static inline u128 addr_value(const struct ip_addr *a) {
    u128 v = 0;
    for (unsigned i = 0; i < (a->family == 6 ? 16U : 4U); i++) {
        v |= (u128)a->bytes[i] << (120 - 8 * i);
    }
    return v;
}

static inline struct ip_prefix prefix_of(const struct prefix_tree *t, u128 base, unsigned len) {
    struct ip_prefix p = {.addr.family = t->family, .len = (uint8_t)len};
    for (unsigned i = 0; i < t->bits / 8U; i++) {
        p.addr.bytes[i] = (uint8_t)(base >> (120 - 8 * i));
    }
    return p;
}

/* In units of the 128-bit line, so IPv4 blocks too; 0 for length 0. */
static inline u128 span(unsigned len) {
    return len == 0 ? 0 : (u128)1 << (128 - len);
}

static inline u128 high(unsigned len) {
    return len == 0 ? 0 : ~(u128)0 << (128 - len);
}

static inline u128 addresses(const struct prefix_tree *t, unsigned len) {
    return (u128)1 << (t->bits - len);
}

static inline u128 usable(const struct prefix_tree *t, unsigned len) {
    u128 n = addresses(t, len);
    return t->family == 6 ? n : n > 2 ? n - 2 : 0;
}

static inline uint64_t key_in(const struct top *top, u128 addr) {
    return top->len >= 128 ? 0 : (uint64_t)((addr << top->len) >> 64);
}

static inline u128 addr_in(const struct top *top, uint64_t key) {
    return top->len >= 128 ? top->base : top->base | ((u128)key << 64) >> top->len;
}

/* Length below a top, cut to what a trie can hold: nothing in it is longer. */
static inline unsigned len_in(const struct top *top, unsigned len) {
    unsigned n = len - top->len;
    return n > PREFIX_TREE_DEPTH_MAX ? PREFIX_TREE_DEPTH_MAX : n;
}

static inline bool top_has(const struct top *top, u128 addr) {
    return ((addr ^ top->base) & high(top->len)) == 0;
}

static inline struct ip_prefix top_prefix(const struct prefix_tree *t, const struct top *top) {
    return prefix_of(t, top->base, top->len);
}

/* The value of a reserved leaf. */
static inline struct top *res_top(uint64_t value) {
    return (struct top *)(uintptr_t)value;
}

/* ---- prefix_space.c ---- */

int prefix_by_address(const struct top *a, const struct top *b);
int prefix_by_order(const struct top *a, const struct top *b); /* root order, then address */
void prefix_tops_add(struct tops *s, struct top *top,
                     int (*cmp)(const struct top *, const struct top *));
void prefix_tops_remove(struct tops *s, struct top *top,
                        int (*cmp)(const struct top *, const struct top *));
/* Of tops by address: index of the first one that ends at or behind `addr`. */
size_t prefix_tops_from(const struct tops *s, u128 addr);
struct top *prefix_tops_find(const struct tops *s, u128 addr, unsigned len); /* NULL: absent */
/* The root that contains the block; NULL when none. */
struct top *prefix_root_around(const struct prefix_tree *t, u128 addr, unsigned len);

u128 prefix_top_mask(const struct top *top);
u128 prefix_space_mask(struct space *s); /* of all its tops; s NULL: 0 */
/* The free blocks of `top` have changed. */
void prefix_space_refresh(const struct top *top);
/* The first top with a free block of length `len`; there must be one. */
struct top *prefix_space_first(const struct space *s, unsigned len);
void prefix_space_add(struct space *s, struct top *top);
void prefix_space_remove(struct top *top);
void prefix_space_free(struct space *s);
struct space *prefix_space_of_tag(const struct prefix_tree *t, prefix_tag tag); /* NULL: none */

/* ---- prefix_tree.c ---- */

enum err_code prefix_limits_ok(unsigned family, unsigned min_len, unsigned max_len, struct err *e);
void prefix_top_free(struct top *top);
/* All free blocks of the top appear in the counters (sign 1) or go (-1). */
void prefix_tally_all(struct prefix_tree *t, const struct top *top, int sign);
/* Cuts a leaf out of a top's free space, or puts it back, with everything that counts on it. */
void prefix_cut(struct prefix_tree *t, struct top *top, u128 addr, unsigned len, uint64_t value,
                bool reserved);
void prefix_uncut(struct prefix_tree *t, struct top *top, u128 addr, unsigned len, bool reserved);

#endif
