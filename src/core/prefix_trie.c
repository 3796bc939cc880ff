// SPDX-License-Identifier: Apache-2.0
#include "core/prefix_trie.h"

#include "base/mem.h"

static bool is_leaf(uint32_t ref) {
    return (ref & TRIE_LEAF) != 0;
}

static struct trie_leaf *leaf_of(const struct trie *t, uint32_t ref) {
    return &t->leaf[ref & ~TRIE_LEAF];
}

static unsigned node_depth(const struct trie_node *n) {
    return 63 - (unsigned)__builtin_ctzll(n->key);
}

/* Key (without the marker) and depth of what a reference points to. */
static unsigned place_of(const struct trie *t, uint32_t ref, uint64_t *key) {
    if (is_leaf(ref)) {
        const struct trie_leaf *l = leaf_of(t, ref);
        *key = l->key;
        return l->len;
    }
    const struct trie_node *n = &t->node[ref];
    *key = n->key & (n->key - 1);
    return node_depth(n);
}

static unsigned common_bits(uint64_t a, uint64_t b) {
    return a == b ? 64 : (unsigned)__builtin_clzll(a ^ b);
}

static unsigned bit_at(uint64_t key, unsigned i) {
    return (unsigned)(key >> (63 - i)) & 1;
}

/* Bits for the lengths a+1..b. */
static uint64_t lengths(unsigned a, unsigned b) {
    uint64_t upto_a = a >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << a) - 1;
    uint64_t upto_b = b >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << b) - 1;
    return upto_b & ~upto_a;
}

/* The free blocks inside the block of length `from` that holds just `ref`: those that the edge
 * passes by, and those below. */
static uint64_t edge_mask(const struct trie *t, uint32_t ref, unsigned from) {
    if (is_leaf(ref)) {
        return lengths(from, leaf_of(t, ref)->len);
    }
    const struct trie_node *n = &t->node[ref];
    return n->mask | lengths(from, node_depth(n));
}

static uint64_t mask_of(const struct trie *t, const struct trie_node *n) {
    unsigned below = node_depth(n) + 1;
    return edge_mask(t, n->child[0], below) | edge_mask(t, n->child[1], below);
}

void trie_init(struct trie *t) {
    *t = (struct trie){.top = TRIE_NONE};
}

void trie_free(struct trie *t) {
    mem_free(t->leaf);
    mem_free(t->node);
    trie_init(t);
}

size_t trie_memory(const struct trie *t) {
    return t->leaf_cap * sizeof *t->leaf + t->node_cap * sizeof *t->node;
}

struct trie_hit trie_find(const struct trie *t, uint64_t key, unsigned len) {
    for (uint32_t ref = t->top; ref != TRIE_NONE;) {
        uint64_t k;
        unsigned depth = place_of(t, ref, &k), same = common_bits(k, key);
        if (same < depth && same < len) {
            return (struct trie_hit){.kind = TRIE_FREE, .free_len = same + 1};
        }
        if (is_leaf(ref) && depth <= len) {
            return (struct trie_hit){.kind = TRIE_INSIDE, .ref = ref, .leaf = leaf_of(t, ref)};
        }
        if (depth >= len) {
            return (struct trie_hit){.kind = TRIE_OVER, .ref = ref};
        }
        ref = t->node[ref].child[bit_at(key, depth)];
    }
    return (struct trie_hit){.kind = TRIE_FREE};
}

/* A quarter of slack: with mremap underneath, growing costs little and never doubles the peak. */
static void make_room(struct trie *t) {
    if (t->leaves == t->leaf_cap) {
        t->leaf_cap += t->leaf_cap / 4 + 2;
        t->leaf = mem_array(t->leaf, t->leaf_cap, sizeof *t->leaf);
    }
    if (t->nodes == t->node_cap) {
        t->node_cap += t->node_cap / 4 + 2;
        t->node = mem_array(t->node, t->node_cap, sizeof *t->node);
    }
}

static void give_back_room(struct trie *t) {
    if (t->leaf_cap > 8 && t->leaves < t->leaf_cap / 2) {
        t->leaf_cap = t->leaves + t->leaves / 4;
        t->leaf = mem_array(t->leaf, t->leaf_cap, sizeof *t->leaf);
    }
    if (t->node_cap > 8 && t->nodes < t->node_cap / 2) {
        t->node_cap = t->nodes + t->nodes / 4;
        t->node = mem_array(t->node, t->node_cap, sizeof *t->node);
    }
}

/* Recomputes the masks along a path from below; above a node whose mask stays, all stay. */
static void update_path(struct trie *t, const uint32_t *path, unsigned n) {
    while (n-- > 0) {
        struct trie_node *node = &t->node[path[n]];
        uint64_t mask = mask_of(t, node);
        if (mask == node->mask) {
            return;
        }
        node->mask = mask;
    }
}

unsigned trie_insert(struct trie *t, uint64_t key, unsigned len, uint64_t value, bool reserved) {
    make_room(t);
    uint32_t leaf = t->leaves++ | TRIE_LEAF;
    *leaf_of(t, leaf) =
        (struct trie_leaf){.key = key, .value = value, .len = (uint8_t)len, .reserved = reserved};
    if (t->top == TRIE_NONE) {
        t->top = leaf;
        return 0;
    }
    uint32_t *slot = &t->top, path[64];
    unsigned n = 0, same;
    for (;;) {
        uint64_t k;
        unsigned depth = place_of(t, *slot, &k);
        same = common_bits(k, key);
        if (same < depth) {
            break;
        }
        path[n++] = *slot;
        slot = &t->node[*slot].child[bit_at(key, depth)];
    }
    uint32_t index = t->nodes++;
    struct trie_node *node = &t->node[index];
    node->key = (key & trie_high(same)) | UINT64_C(1) << (63 - same);
    node->child[bit_at(key, same)] = leaf;
    node->child[!bit_at(key, same)] = *slot;
    node->mask = mask_of(t, node);
    *slot = index;
    update_path(t, path, n);
    return same + 1;
}

/* Where the reference `ref`, whose key is `key`, is kept. */
static uint32_t *slot_of(struct trie *t, uint32_t ref, uint64_t key) {
    uint32_t *slot = &t->top;
    while (*slot != ref) {
        struct trie_node *n = &t->node[*slot];
        slot = &n->child[bit_at(key, node_depth(n))];
    }
    return slot;
}

static void drop_leaf(struct trie *t, uint32_t index) {
    uint32_t last = --t->leaves;
    if (index != last) {
        *slot_of(t, last | TRIE_LEAF, t->leaf[last].key) = index | TRIE_LEAF;
        t->leaf[index] = t->leaf[last];
    }
}

static void drop_node(struct trie *t, uint32_t index) {
    uint32_t last = --t->nodes;
    if (index != last) {
        *slot_of(t, last, t->node[last].key) = index;
        t->node[index] = t->node[last];
    }
}

unsigned trie_remove(struct trie *t, uint64_t key) {
    uint32_t *slot = &t->top, *above = NULL, path[64];
    unsigned n = 0, branch = 0;
    while (!is_leaf(*slot)) {
        struct trie_node *node = &t->node[*slot];
        branch = node_depth(node);
        path[n++] = *slot;
        above = slot;
        slot = &node->child[bit_at(key, branch)];
    }
    uint32_t leaf = *slot & ~TRIE_LEAF;
    if (above == NULL) {
        trie_free(t);
        return 0;
    }
    uint32_t node = path[--n];
    *above = t->node[node].child[!bit_at(key, branch)];
    update_path(t, path, n);
    drop_leaf(t, leaf);
    drop_node(t, node);
    give_back_room(t);
    return branch + 1;
}

uint64_t trie_mask(const struct trie *t) {
    return t->top == TRIE_NONE ? 0 : edge_mask(t, t->top, 0);
}

uint64_t trie_lowest(const struct trie *t, unsigned k) {
    uint32_t ref = t->top;
    for (;;) {
        uint64_t key;
        unsigned depth = place_of(t, ref, &key);
        if (k <= depth) { /* the block that this edge passes by at length k */
            return (key & trie_high(k)) ^ UINT64_C(1) << (64 - k);
        }
        const struct trie_node *n = &t->node[ref];
        uint64_t low = edge_mask(t, n->child[0], depth + 1);
        ref = n->child[!(low >> (k - 1) & 1)];
    }
}

bool trie_walk(const struct trie *t, uint32_t ref, bool (*fn)(void *arg, struct trie_leaf *leaf),
               void *arg) {
    if (ref == TRIE_NONE) {
        return true;
    }
    if (is_leaf(ref)) {
        return fn(arg, leaf_of(t, ref));
    }
    return trie_walk(t, t->node[ref].child[0], fn, arg) &&
           trie_walk(t, t->node[ref].child[1], fn, arg);
}

static void count_below(const struct trie *t, uint32_t ref, unsigned from, uint64_t counts[65]) {
    uint64_t key;
    unsigned depth = place_of(t, ref, &key);
    for (unsigned k = from + 1; k <= depth; k++) {
        counts[k]++;
    }
    if (!is_leaf(ref)) {
        count_below(t, t->node[ref].child[0], depth + 1, counts);
        count_below(t, t->node[ref].child[1], depth + 1, counts);
    }
}

void trie_count_free(const struct trie *t, uint64_t counts[65]) {
    if (t->top == TRIE_NONE) {
        counts[0]++;
    } else {
        count_below(t, t->top, 0, counts);
    }
}

struct census {
    uint32_t leaves, nodes;
};

static enum err_code check_below(const struct trie *t, uint32_t ref, uint64_t key, unsigned from,
                                 struct census *seen, struct err *e) {
    uint32_t index = ref & ~TRIE_LEAF;
    if (index >= (is_leaf(ref) ? t->leaves : t->nodes)) {
        return err_set(e, ERR_INTERNAL, NULL, "reference %u points nowhere", ref);
    }
    uint64_t k;
    unsigned depth = place_of(t, ref, &k);
    if (depth < from || ((k ^ key) & trie_high(from)) != 0 || (k & ~trie_high(depth)) != 0) {
        return err_set(e, ERR_INTERNAL, NULL, "key %016llx/%u does not belong below %016llx/%u",
                       (unsigned long long)k, depth, (unsigned long long)key, from);
    }
    if (is_leaf(ref)) {
        seen->leaves++;
        return ERR_OK;
    }
    seen->nodes++;
    const struct trie_node *n = &t->node[ref];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t side = i == 0 ? k : k | UINT64_C(1) << (63 - depth);
        ERR_TRY(check_below(t, n->child[i], side, depth + 1, seen, e));
    }
    if (n->mask != mask_of(t, n)) {
        return err_set(e, ERR_INTERNAL, NULL, "mask of %016llx/%u is stale", (unsigned long long)k,
                       depth);
    }
    return ERR_OK;
}

enum err_code trie_check(const struct trie *t, struct err *e) {
    struct census seen = {0, 0};
    if (t->top != TRIE_NONE) {
        ERR_TRY(check_below(t, t->top, 0, 0, &seen, e));
    }
    if (seen.leaves != t->leaves || seen.nodes != t->nodes ||
        t->nodes != (t->leaves > 0 ? t->leaves - 1 : 0)) {
        return err_set(e, ERR_INTERNAL, NULL, "%u leaves and %u nodes reached of %u and %u",
                       seen.leaves, seen.nodes, t->leaves, t->nodes);
    }
    return ERR_OK;
}
