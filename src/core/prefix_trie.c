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
    *t = (struct trie){.top = TRIE_NONE, .leaf_hole = TRIE_NONE, .node_hole = TRIE_NONE};
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

/* ---- the two arrays ----
 *
 * What is freed leaves a hole that the next one of its kind fills. While holes are more than an
 * eighth, each removal also moves one entry from the end into a hole, so the arrays shrink without
 * ever stopping the world. A quarter of slack in memory: with mremap underneath, growing costs
 * little and never doubles the peak. */

static uint32_t hole_next(uint64_t links) {
    return (uint32_t)links;
}

static uint32_t hole_prev(uint64_t links) {
    return (uint32_t)(links >> 32);
}

static uint64_t hole_links(uint32_t prev, uint32_t next) {
    return (uint64_t)prev << 32 | next;
}

static void leaf_hole_add(struct trie *t, uint32_t i) {
    uint32_t next = t->leaf_hole;
    t->leaf[i] = (struct trie_leaf){.key = hole_links(TRIE_NONE, next), .hole = true};
    if (next != TRIE_NONE) {
        t->leaf[next].key = hole_links(i, hole_next(t->leaf[next].key));
    }
    t->leaf_hole = i;
}

static void leaf_hole_take(struct trie *t, uint32_t i) {
    uint32_t prev = hole_prev(t->leaf[i].key), next = hole_next(t->leaf[i].key);
    if (prev == TRIE_NONE) {
        t->leaf_hole = next;
    } else {
        t->leaf[prev].key = hole_links(hole_prev(t->leaf[prev].key), next);
    }
    if (next != TRIE_NONE) {
        t->leaf[next].key = hole_links(prev, hole_next(t->leaf[next].key));
    }
}

static void node_hole_add(struct trie *t, uint32_t i) {
    uint32_t next = t->node_hole;
    t->node[i] = (struct trie_node){.key = 0, .mask = hole_links(TRIE_NONE, next)};
    if (next != TRIE_NONE) {
        t->node[next].mask = hole_links(i, hole_next(t->node[next].mask));
    }
    t->node_hole = i;
}

static void node_hole_take(struct trie *t, uint32_t i) {
    uint32_t prev = hole_prev(t->node[i].mask), next = hole_next(t->node[i].mask);
    if (prev == TRIE_NONE) {
        t->node_hole = next;
    } else {
        t->node[prev].mask = hole_links(hole_prev(t->node[prev].mask), next);
    }
    if (next != TRIE_NONE) {
        t->node[next].mask = hole_links(prev, hole_next(t->node[next].mask));
    }
}

static uint32_t leaf_new(struct trie *t) {
    t->leaves++;
    uint32_t i = t->leaf_hole;
    if (i != TRIE_NONE) {
        leaf_hole_take(t, i);
        return i;
    }
    if (t->leaf_end == t->leaf_cap) {
        t->leaf_cap += t->leaf_cap / 4 + 2;
        t->leaf = mem_array(t->leaf, t->leaf_cap, sizeof *t->leaf);
    }
    return t->leaf_end++;
}

static uint32_t node_new(struct trie *t) {
    t->nodes++;
    uint32_t i = t->node_hole;
    if (i != TRIE_NONE) {
        node_hole_take(t, i);
        return i;
    }
    if (t->node_end == t->node_cap) {
        t->node_cap += t->node_cap / 4 + 2;
        t->node = mem_array(t->node, t->node_cap, sizeof *t->node);
    }
    return t->node_end++;
}

static bool too_many_holes(uint32_t end, uint32_t used) {
    return end - used > used / 8 + 16;
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

static void shrink_leaves(struct trie *t) {
    for (int i = 0; i < 2 && too_many_holes(t->leaf_end, t->leaves); i++) {
        uint32_t last = --t->leaf_end;
        if (t->leaf[last].hole) {
            leaf_hole_take(t, last);
            continue;
        }
        uint32_t hole = t->leaf_hole;
        leaf_hole_take(t, hole);
        *slot_of(t, last | TRIE_LEAF, t->leaf[last].key) = hole | TRIE_LEAF;
        t->leaf[hole] = t->leaf[last];
    }
    if (t->leaf_cap > 64 && t->leaf_end < t->leaf_cap / 2) {
        t->leaf_cap = t->leaf_end + t->leaf_end / 4;
        t->leaf = mem_array(t->leaf, t->leaf_cap, sizeof *t->leaf);
    }
}

static void shrink_nodes(struct trie *t) {
    for (int i = 0; i < 2 && too_many_holes(t->node_end, t->nodes); i++) {
        uint32_t last = --t->node_end;
        if (t->node[last].key == 0) {
            node_hole_take(t, last);
            continue;
        }
        uint32_t hole = t->node_hole;
        node_hole_take(t, hole);
        *slot_of(t, last, t->node[last].key) = hole;
        t->node[hole] = t->node[last];
    }
    if (t->node_cap > 64 && t->node_end < t->node_cap / 2) {
        t->node_cap = t->node_end + t->node_end / 4;
        t->node = mem_array(t->node, t->node_cap, sizeof *t->node);
    }
}

/* ---- changing ---- */

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
    uint32_t leaf = leaf_new(t) | TRIE_LEAF;
    *leaf_of(t, leaf) =
        (struct trie_leaf){.key = key, .value = value, .len = (uint8_t)len, .reserved = reserved};
    if (t->top == TRIE_NONE) {
        t->top = leaf;
        return 0;
    }
    uint32_t index = node_new(t); /* before any pointer into the array is taken */
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
    struct trie_node *node = &t->node[index];
    node->key = (key & trie_high(same)) | UINT64_C(1) << (63 - same);
    node->child[bit_at(key, same)] = leaf;
    node->child[!bit_at(key, same)] = *slot;
    node->mask = mask_of(t, node);
    *slot = index;
    update_path(t, path, n);
    return same + 1;
}

static void prefetch(const struct trie *t, uint32_t ref) {
    __builtin_prefetch(is_leaf(ref) ? (const void *)leaf_of(t, ref) : &t->node[ref]);
}

unsigned trie_remove(struct trie *t, uint64_t key) {
    uint32_t *slot = &t->top, *above = NULL, path[64];
    unsigned n = 0, branch = 0;
    while (!is_leaf(*slot)) {
        struct trie_node *node = &t->node[*slot];
        branch = node_depth(node);
        prefetch(t, node->child[!bit_at(key, branch)]); /* its mask is read on the way back */
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
    leaf_hole_add(t, leaf);
    node_hole_add(t, node);
    t->leaves--;
    t->nodes--;
    shrink_leaves(t);
    shrink_nodes(t);
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
    if (index >= (is_leaf(ref) ? t->leaf_end : t->node_end) ||
        (is_leaf(ref) ? t->leaf[index].hole : t->node[index].key == 0)) {
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
    uint32_t holes = 0;
    for (uint32_t i = t->leaf_hole; i != TRIE_NONE && holes <= t->leaf_end; holes++) {
        i = hole_next(t->leaf[i].key);
    }
    if (holes != t->leaf_end - t->leaves) {
        return err_set(e, ERR_INTERNAL, NULL, "%u holes among %u leaves of %u", holes, t->leaf_end,
                       t->leaves);
    }
    holes = 0;
    for (uint32_t i = t->node_hole; i != TRIE_NONE && holes <= t->node_end; holes++) {
        i = hole_next(t->node[i].mask);
    }
    if (holes != t->node_end - t->nodes) {
        return err_set(e, ERR_INTERNAL, NULL, "%u holes among %u nodes of %u", holes, t->node_end,
                       t->nodes);
    }
    if (seen.leaves != t->leaves || seen.nodes != t->nodes ||
        t->nodes != (t->leaves > 0 ? t->leaves - 1 : 0)) {
        return err_set(e, ERR_INTERNAL, NULL, "%u leaves and %u nodes reached of %u and %u",
                       seen.leaves, seen.nodes, t->leaves, t->nodes);
    }
    return ERR_OK;
}
