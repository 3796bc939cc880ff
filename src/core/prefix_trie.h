// SPDX-License-Identifier: Apache-2.0
/*
 * The path-compressed binary trie under one root or reservation of a prefix tree; see
 * prefix_tree.h for the idea. Keys are the up to 64 bits below the top, left-aligned, zero-filled;
 * lengths are relative to the top. Leaves never overlap. Only prefix_tree.c uses this.
 */
#ifndef CORE_PREFIX_TRIE_H
#define CORE_PREFIX_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* 4-byte alignment saves 4 of 24 bytes in the array that there is most of. */
struct trie_leaf {
    uint64_t key;
    uint64_t value;
    uint8_t len; /* 0..64 */
    bool reserved;
    bool hole; /* not in use; the key links the holes */
    uint8_t unused;
} __attribute__((packed, aligned(4)));

struct trie_node {
    uint64_t key;  /* the bits above the branch, then a 1 that marks where they end */
    uint64_t mask; /* bit k-1: a maximal free block of length k lies below the two children */
    uint32_t child[2];
};

#define TRIE_NONE UINT32_MAX
#define TRIE_LEAF UINT32_C(0x80000000) /* set in a reference to a leaf */

struct trie {
    struct trie_leaf *leaf; /* leaf[0..leaf_end), some of them holes */
    struct trie_node *node; /* node[0..node_end), likewise: holes have key 0 */
    uint32_t top;           /* reference; TRIE_NONE: nothing in it */
    uint32_t leaves, leaf_end, leaf_cap, leaf_hole; /* in use, array, memory, first hole */
    uint32_t nodes, node_end, node_cap, node_hole;
};

enum trie_hit_kind {
    TRIE_FREE,   /* all of it lies in the free block of length `free_len` */
    TRIE_INSIDE, /* it equals `leaf` or lies inside it */
    TRIE_OVER,   /* it is wider than the leaves below `ref`, at least one */
};

struct trie_hit {
    enum trie_hit_kind kind;
    unsigned free_len;
    uint32_t ref;
    struct trie_leaf *leaf; /* valid until the next change */
};

void trie_init(struct trie *t);
void trie_free(struct trie *t);
struct trie_hit trie_find(const struct trie *t, uint64_t key, unsigned len);
/* The place must be free. Returns the length of the free block that it was taken from. */
unsigned trie_insert(struct trie *t, uint64_t key, unsigned len, uint64_t value, bool reserved);
/* Exactly this leaf must be there. Returns the length of the free block that it is now part of. */
unsigned trie_remove(struct trie *t, uint64_t key);
/* Lengths of the maximal free blocks: bit k-1 for length k; 0 when all or nothing is free. */
uint64_t trie_mask(const struct trie *t);
/* The lowest maximal free block of exactly length k, whose bit is set in trie_mask. */
uint64_t trie_lowest(const struct trie *t, unsigned k);
/* Calls `fn` for the leaves below `ref` in address order until it returns false. */
bool trie_walk(const struct trie *t, uint32_t ref, bool (*fn)(void *arg, struct trie_leaf *leaf),
               void *arg);
/* Adds the number of maximal free blocks of length k to counts[k]. */
void trie_count_free(const struct trie *t, uint64_t counts[65]);
size_t trie_memory(const struct trie *t); /* bytes */
enum err_code trie_check(const struct trie *t, struct err *e);

/* The first n bits (0..64). */
static inline uint64_t trie_high(unsigned n) {
    return n == 0 ? 0 : ~UINT64_C(0) << (64 - n);
}

#endif
