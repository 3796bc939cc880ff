// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/mem.h"
#include "core/prefix_tree_impl.h"

char *prefix_count_format(prefix_count n, char out[PREFIX_COUNT_TEXT_MAX]) {
    char digits[PREFIX_COUNT_TEXT_MAX];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = (char)('0' + (unsigned)(n % 10));
        n /= 10;
    } while (n > 0);
    memcpy(out, digits + i, sizeof digits - i);
    return out;
}

/* ---- looking ---- */

static void note_reservation(const struct prefix_tree *t, const struct top *res,
                             struct prefix_info *out) {
    out->tag = res->tag;
    out->reservation = top_prefix(t, res);
}

static void lookup(const struct prefix_tree *t, const struct top *root, u128 addr, unsigned len,
                   struct prefix_info *out) {
    *out = (struct prefix_info){.root = top_prefix(t, root), .retiring = root->retiring};
    const struct top *top = root;
    struct trie_hit hit = trie_find(&top->trie, key_in(top, addr), len_in(top, len));
    if (hit.kind == TRIE_INSIDE && hit.leaf->reserved) {
        top = res_top(hit.leaf->value);
        note_reservation(t, top, out);
        hit = trie_find(&top->trie, key_in(top, addr), len_in(top, len));
    }
    unsigned is;
    switch (hit.kind) {
    case TRIE_FREE:
        is = top->len + hit.free_len;
        out->state = top != root      ? PREFIX_RESERVED
                     : root->retiring ? PREFIX_RETIRING
                                      : PREFIX_AVAILABLE;
        out->prefix = prefix_of(t, addr & high(is), is);
        break;
    case TRIE_INSIDE:
        out->state = PREFIX_ALLOCATED;
        out->prefix = prefix_of(t, addr_in(top, hit.leaf->key), (unsigned)top->len + hit.leaf->len);
        out->owner = hit.leaf->value;
        break;
    case TRIE_OVER:
        out->state = PREFIX_SPLIT;
        out->prefix = prefix_of(t, addr, len);
        break;
    }
}

enum prefix_state prefix_tree_lookup(const struct prefix_tree *t, const struct ip_prefix *p,
                                     struct prefix_info *out) {
    struct prefix_info scratch;
    out = out != NULL ? out : &scratch;
    u128 addr = addr_value(&p->addr);
    struct top *root = p->addr.family == t->family && ip_prefix_aligned(p)
                           ? prefix_root_around(t, addr, p->len)
                           : NULL;
    if (root == NULL) {
        *out = (struct prefix_info){.state = PREFIX_OUTSIDE};
        return PREFIX_OUTSIDE;
    }
    lookup(t, root, addr, p->len, out);
    return out->state;
}

/* The address after a prefix; false when there is none, or `after` is of the other family. */
static bool behind(const struct prefix_tree *t, const struct ip_prefix *after, u128 *addr) {
    *addr = 0;
    if (after == NULL) {
        return true;
    }
    if (after->addr.family != t->family || after->len == 0) {
        return false;
    }
    *addr = (addr_value(&after->addr) & high(after->len)) + span(after->len);
    return *addr != 0;
}

bool prefix_tree_next(const struct prefix_tree *t, const struct ip_prefix *after, unsigned see,
                      struct prefix_info *out) {
    u128 addr;
    if (!behind(t, after, &addr)) {
        return false;
    }
    for (size_t i = prefix_tops_from(&t->roots, addr); i < t->roots.n; i++) {
        const struct top *root = t->roots.v[i];
        if (addr < root->base) {
            addr = root->base;
        }
        while (top_has(root, addr)) {
            lookup(t, root, addr, t->bits, out);
            u128 base = addr_value(&out->prefix.addr);
            unsigned kind = out->state == PREFIX_ALLOCATED  ? PREFIX_SEE_ALLOCATED
                            : out->state == PREFIX_RESERVED ? PREFIX_SEE_RESERVED
                                                            : PREFIX_SEE_FREE;
            if (base >= addr && (see & kind)) {
                return true;
            }
            addr = base + span(out->prefix.len);
            if (addr == 0) {
                return false;
            }
        }
    }
    return false;
}

bool prefix_tree_next_reservation(const struct prefix_tree *t, const struct ip_prefix *after,
                                  struct prefix_info *out) {
    u128 addr;
    if (!behind(t, after, &addr)) {
        return false;
    }
    size_t i = prefix_tops_from(&t->reservations, addr);
    if (i < t->reservations.n && t->reservations.v[i]->base < addr) {
        i++;
    }
    if (i >= t->reservations.n) {
        return false;
    }
    const struct top *res = t->reservations.v[i];
    lookup(t, res->root, res->base, res->len, out);
    note_reservation(t, res, out);
    return true;
}

/* ---- counting ---- */

prefix_count prefix_tree_free_of(const struct prefix_tree *t, unsigned len) {
    u128 n = 0;
    for (unsigned i = 1; i <= len && i <= t->bits && len <= t->max_len; i++) {
        n += (u128)t->free_blocks[i] << (len - i);
    }
    return n;
}

static size_t space_memory(const struct space *s) {
    return s->tops.cap * sizeof(struct top *) + 2 * s->width * sizeof *s->seg;
}

static size_t memory_of(const struct prefix_tree *t) {
    size_t n = sizeof *t + (t->roots.cap + t->reservations.cap) * sizeof(struct top *) +
               space_memory(&t->common) + space_memory(&t->retiring) +
               t->spaces.n_slots * sizeof *t->spaces.slots;
    for (size_t i = 0; i < t->roots.n; i++) {
        n += sizeof(struct top) + trie_memory(&t->roots.v[i]->trie);
    }
    for (size_t i = 0; i < t->reservations.n; i++) {
        n += sizeof(struct top) + trie_memory(&t->reservations.v[i]->trie);
    }
    MAP_FOREACH (m, &t->spaces) {
        n += sizeof *m + m->key_len + 1 + sizeof(struct space) + space_memory(m->value);
    }
    return n;
}

void prefix_tree_stats(const struct prefix_tree *t, struct prefix_stats *out) {
    *out = (struct prefix_stats){.total = t->normal_total + t->retiring_allocated,
                                 .prefixes = t->prefixes,
                                 .reservations = t->reservations.n,
                                 .roots = t->common.tops.n,
                                 .retiring_roots = t->retiring.tops.n,
                                 .memory = memory_of(t)};
    for (unsigned len = t->bits; len > 0; len--) {
        u128 size = addresses(t, len), use = usable(t, len);
        uint64_t is_free = t->free_blocks[len], reserved = t->reserved_blocks[len],
                 allocated = t->allocated_blocks[len];
        out->free += is_free * size;
        out->reserved += reserved * size;
        out->allocated += allocated * size;
        out->free_usable += is_free * use;
        out->reserved_usable += reserved * use;
        out->allocated_usable += allocated * use;
        out->free_blocks[len] = is_free;
        out->allocated_blocks[len] = allocated;
        if (is_free > 0) {
            out->largest_free = len;
        }
    }
    for (size_t i = 0; i < t->common.tops.n; i++) {
        out->total_usable += usable(t, t->common.tops.v[i]->len);
    }
    for (size_t i = 0; i < t->retiring.tops.n; i++) {
        out->total_usable += t->retiring.tops.v[i]->allocated;
    }
}

unsigned prefix_tree_free_permyriad(const struct prefix_tree *t) {
    u128 total = t->normal_total + t->retiring_allocated, is_free = 0;
    for (unsigned len = 1; len <= t->bits; len++) {
        is_free += t->free_blocks[len] * addresses(t, len);
    }
    while (total >> 100) { /* room for the product below */
        total >>= 1;
        is_free >>= 1;
    }
    return total == 0 ? 0 : (unsigned)(is_free * 10000 / total);
}
