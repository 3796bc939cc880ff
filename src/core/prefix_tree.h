// SPDX-License-Identifier: Apache-2.0
/*
 * VLSM prefix trees of one partition and one address family (spec APM-010..028).
 *
 * What it holds: root prefixes in configuration order, reservations inside them, allocated
 * prefixes. From these three sets everything else follows, so the state is canonical: whatever
 * the history, equal sets give equal answers, and a restart rebuilds the tree from the sets. An
 * allocation followed by its free leaves no trace, which is what a dry run uses.
 *
 * How: each root, and each reservation, is the top of a path-compressed binary trie whose leaves
 * are the allocated (or reserved) prefixes. Free blocks are not stored: a compressed edge from
 * depth a to depth b has exactly one free sibling block at each depth a+1..b. Every inner node
 * keeps a 64-bit mask of the lengths of the maximal free blocks below it; a segment tree over the
 * roots, in configuration order, holds the same masks at its inner nodes. So "the lowest free
 * block of exactly length L" is one walk down, buddies are merged by construction (there is
 * nothing to merge), and no step depends on how many prefixes, roots or free blocks there are:
 * at most 64 nodes are visited. Nodes live in dense arrays addressed by 32-bit indices, 20 bytes a
 * leaf and 24 an inner node, so an allocated prefix costs 44 bytes, the arrays' slack (a quarter at
 * most) and their holes (an eighth); the arrays shrink, step by step, as they empty.
 *
 * Chosen against: per-length free bitmaps (a /8 cut to /32 needs 4 MB whether used or not, and
 * IPv6 is out of reach); per-length balanced trees of free blocks (three times the memory, and a
 * second structure for look-ups that must agree with the first).
 *
 * Not thread safe; belongs to the writer.
 */
#ifndef CORE_PREFIX_TREE_H
#define CORE_PREFIX_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

/* A root may be subdivided by at most this many bits (an IPv6 /64 down to single addresses). */
enum { PREFIX_TREE_DEPTH_MAX = 64 };

struct prefix_tree; /* opaque */

/* Who a reservation is for, and who asks: the caller's number for one (entity, pool domain).
 * 0 is nobody: no reservation is for it. */
typedef uint64_t prefix_tag;
/* What the caller hangs on an allocated prefix; not interpreted. */
typedef uint64_t prefix_owner;
/* Counts of addresses: IPv6 needs more than 64 bits. */
typedef unsigned __int128 prefix_count;

enum prefix_state {
    PREFIX_OUTSIDE,   /* in no root */
    PREFIX_AVAILABLE, /* wholly free, for anybody */
    PREFIX_RESERVED,  /* wholly free, for the reservation's tag only */
    PREFIX_ALLOCATED, /* allocated, or inside an allocated prefix */
    PREFIX_SPLIT,     /* something below it is allocated or reserved */
    PREFIX_RETIRING,  /* free but in a retiring root: for nobody */
};

struct prefix_info {
    enum prefix_state state;
    /* ALLOCATED: the allocated prefix. AVAILABLE, RESERVED, RETIRING: the largest free block
     * around it. SPLIT: the prefix itself. Not set when OUTSIDE. */
    struct ip_prefix prefix;
    struct ip_prefix root;        /* not set when OUTSIDE */
    struct ip_prefix reservation; /* set when tag != 0 */
    prefix_owner owner;           /* ALLOCATED */
    prefix_tag tag;               /* of the reservation it lies in, equals or, 0: none */
    bool retiring;                /* its root is */
};

/* Why a prefix could not be had (the discovery conflicts of APM-074 in brackets). */
enum prefix_reason {
    PREFIX_WHY_NONE,
    PREFIX_WHY_EXHAUSTED,  /* nothing free is left */
    PREFIX_WHY_OUTSIDE,    /* in no root, or wider than its root [C2] */
    PREFIX_WHY_HELD,       /* exactly this prefix is allocated [C1] */
    PREFIX_WHY_INSIDE,     /* lies inside an allocated prefix [C1] */
    PREFIX_WHY_COVERS,     /* allocated prefixes lie inside it [C3] */
    PREFIX_WHY_RESERVED,   /* for somebody else, whole or in part [C4] */
    PREFIX_WHY_COVERS_OWN, /* reaches beyond a reservation of the requester [C3] */
    PREFIX_WHY_TOO_LONG,   /* longer than max-prefix-len [C6] */
    PREFIX_WHY_TOO_SHORT,  /* shorter than min-prefix-len [C6] */
    PREFIX_WHY_RETIRING,   /* its root takes no new allocation */
    PREFIX_WHY_BAD,        /* wrong family, or host bits set */
};

struct prefix_conflict {
    enum prefix_reason reason;
    struct ip_prefix with; /* HELD, INSIDE, COVERS: the (first) allocated prefix; RESERVED,
                              COVERS_OWN: the (first) reservation; RETIRING: the root */
    prefix_owner owner;    /* HELD, INSIDE, COVERS: of `with` */
    prefix_tag tag;        /* RESERVED, COVERS_OWN: of `with` */
    uint64_t count;        /* COVERS: allocated prefixes inside */
};

/* Limits in bits: min_len..max_len is what a root may have; max_len also ends subdivision.
 * 1 <= min_len <= max_len <= 32 or 128; otherwise ERR_INVALID and NULL in *out. */
enum err_code prefix_tree_new(unsigned family, unsigned min_len, unsigned max_len,
                              struct prefix_tree **out, struct err *e);
void prefix_tree_free(struct prefix_tree *t); /* NULL is allowed */
unsigned prefix_tree_family(const struct prefix_tree *t);
unsigned prefix_tree_min_len(const struct prefix_tree *t);
unsigned prefix_tree_max_len(const struct prefix_tree *t);
/* ERR_IN_USE when a root, a reservation or an allocated prefix is beyond the new limits. */
enum err_code prefix_tree_set_limits(struct prefix_tree *t, unsigned min_len, unsigned max_len,
                                     struct err *e);

/* ---- roots ---- */

/* Roots are tried in ascending `order`, equal ones by address. ERR_INVALID: family, host bits,
 * outside the limits (APM-011..013), deeper than PREFIX_TREE_DEPTH_MAX; ERR_EXISTS: overlaps a
 * root (APM-017). Adding a retiring root again makes it normal again, with the new order. */
enum err_code prefix_tree_root_add(struct prefix_tree *t, const struct ip_prefix *root,
                                   uint32_t order, struct err *e);
/* ERR_ABSENT: no such root; ERR_IN_USE: prefixes are allocated in it, with their number
 * (APM-018). Its reservations go with it. */
enum err_code prefix_tree_root_remove(struct prefix_tree *t, const struct ip_prefix *root,
                                      struct err *e);
/* Forced removal (APM-018): drops its reservations; nothing new is allocated in it. An empty root
 * is removed at once; otherwise it is to be removed with prefix_tree_root_remove when
 * prefix_tree_release says that it is empty. */
enum err_code prefix_tree_root_retire(struct prefix_tree *t, const struct ip_prefix *root,
                                      struct err *e);
/* Shrinks or grows a root to one that it contains or that contains it. Growing may not touch
 * another root. Shrinking is refused (ERR_IN_USE, APM-018) while something allocated lies outside
 * `to`, unless `force`: then the rest stays as retiring roots. Reservations outside `to` are
 * dropped; an allocated prefix or reservation that is wider than `to` refuses even then. */
enum err_code prefix_tree_root_resize(struct prefix_tree *t, const struct ip_prefix *from,
                                      const struct ip_prefix *to, bool force, struct err *e);

struct prefix_root_info {
    struct ip_prefix prefix;
    uint32_t order;
    bool retiring;
    uint64_t prefixes;                             /* allocated in it */
    prefix_count total, free, allocated, reserved; /* addresses; total = the sum of the others
                                                      unless retiring: then free is 0 */
};
size_t prefix_tree_root_count(const struct prefix_tree *t); /* retiring ones included */
/* The i-th in the order in which they are tried, retiring ones last. */
bool prefix_tree_root_at(const struct prefix_tree *t, size_t i, struct prefix_root_info *out);
bool prefix_tree_root_find(const struct prefix_tree *t, const struct ip_prefix *root,
                           struct prefix_root_info *out);

/* ---- reservations (APM-021) ---- */

/* Holds `p` for `tag` (not 0): only that requester is given it or a part of it. ERR_INVALID as for
 * roots or longer than max_len; ERR_ABSENT: in no root; ERR_EXISTS: overlaps a reservation;
 * ERR_IN_USE: overlaps an allocated prefix, unless it lies in `p` and `mine` (may be NULL: never)
 * says of its owner that it is the tag's. */
enum err_code prefix_tree_reserve(struct prefix_tree *t, const struct ip_prefix *p, prefix_tag tag,
                                  bool (*mine)(void *arg, prefix_owner owner), void *arg,
                                  struct err *e);
/* What is allocated in it stays allocated. ERR_ABSENT: no such reservation. */
enum err_code prefix_tree_unreserve(struct prefix_tree *t, const struct ip_prefix *p,
                                    struct err *e);

/* ---- allocation ---- */

/*
 * A prefix of the length asked for, best effort, in this order (APM-025, APM-026):
 *  1. a free block of exactly `len`: in the requester's own reservations, else anywhere;
 *  2. the lowest part of the smallest larger free block: own reservations, else anywhere;
 *  3. the next longer length of which a block is free (a smaller pool), own reservations first;
 *  4. when `len` is longer than max_len: with `allow_larger` as if max_len were asked for, else
 *     TOO_LONG. (Otherwise a larger block can always be split, so 4 never applies.)
 * Within each: roots by their order, then the lowest address. `out` is what was given.
 * ERR_LIMIT with *why EXHAUSTED, ERR_INVALID with TOO_LONG. `why` and `e` may be NULL.
 */
enum err_code prefix_tree_allocate(struct prefix_tree *t, unsigned len, prefix_tag tag,
                                   bool allow_larger, prefix_owner owner, struct ip_prefix *out,
                                   struct prefix_conflict *why, struct err *e);
/* Exactly this prefix, or the reason why not (every reason but EXHAUSTED). ERR_INVALID: BAD,
 * TOO_LONG, TOO_SHORT; ERR_ABSENT: OUTSIDE; ERR_REFUSED: RETIRING; ERR_IN_USE: the others. */
enum err_code prefix_tree_allocate_exact(struct prefix_tree *t, const struct ip_prefix *p,
                                         prefix_tag tag, prefix_owner owner,
                                         struct prefix_conflict *why, struct err *e);
/* The same for putting back what was allocated before: the rebuild at start, and the undoing of a
 * free. Retiring roots accept it. */
enum err_code prefix_tree_restore(struct prefix_tree *t, const struct ip_prefix *p, prefix_tag tag,
                                  prefix_owner owner, struct prefix_conflict *why, struct err *e);
/* ERR_ABSENT when exactly this prefix is not allocated. *root_empty (may be NULL) is set to whether
 * it was the last one of a retiring root. *owner (may be NULL) is what was hung on it. */
enum err_code prefix_tree_release(struct prefix_tree *t, const struct ip_prefix *p,
                                  prefix_owner *owner, bool *root_empty, struct err *e);
/* ERR_ABSENT as above. */
enum err_code prefix_tree_set_owner(struct prefix_tree *t, const struct ip_prefix *p,
                                    prefix_owner owner, struct err *e);

/* ---- looking ---- */

/* State of any prefix of the family, also longer than max_len (single addresses). */
enum prefix_state prefix_tree_lookup(const struct prefix_tree *t, const struct ip_prefix *p,
                                     struct prefix_info *out);

enum { /* which blocks prefix_tree_next returns */
       PREFIX_SEE_ALLOCATED = 1,
       PREFIX_SEE_FREE = 2,     /* AVAILABLE, and free blocks of retiring roots */
       PREFIX_SEE_RESERVED = 4, /* free blocks of reservations */
       PREFIX_SEE_ALL = 7,
};
/* The maximal blocks in address order: allocated prefixes and maximal free blocks; together they
 * tile the roots. `after` NULL: the first one; else the first that begins behind the end of
 * `after`. The last prefix seen is thus a cursor that outlives any change. False at the end. */
bool prefix_tree_next(const struct prefix_tree *t, const struct ip_prefix *after, unsigned see,
                      struct prefix_info *out);
/* Reservations in address order, the same way; tag, reservation and root are set in *out, state is
 * RESERVED (nothing in it is allocated), ALLOCATED (as one) or SPLIT. */
bool prefix_tree_next_reservation(const struct prefix_tree *t, const struct ip_prefix *after,
                                  struct prefix_info *out);

struct prefix_stats {
    /* Addresses. total = free + reserved + allocated: a retiring root counts with what is still
     * allocated in it. `reserved` is what is free in reservations. */
    prefix_count total, free, reserved, allocated;
    /* The same by the planning maths of APM-023: each block, root or prefix less 2 for IPv4. */
    prefix_count total_usable, free_usable, reserved_usable, allocated_usable;
    uint64_t prefixes; /* allocated */
    uint64_t reservations;
    size_t roots, retiring_roots;
    size_t memory;             /* bytes */
    unsigned largest_free;     /* length of the largest free block for anybody; 0: none */
    uint64_t free_blocks[129]; /* maximal free blocks for anybody, by length */
    uint64_t allocated_blocks[129];
};
void prefix_tree_stats(const struct prefix_tree *t, struct prefix_stats *out);
/* How many prefixes of `len` could be allocated one after the other to a requester without
 * reservations. */
prefix_count prefix_tree_free_of(const struct prefix_tree *t, unsigned len);
/* Free addresses for anybody in hundredths of a percent of the total (APM-016); 0 without roots.
 * O(prefix lengths). */
unsigned prefix_tree_free_permyriad(const struct prefix_tree *t);

/* Decimal text of a count; `out` holds PREFIX_COUNT_TEXT_MAX bytes; returns it. */
enum { PREFIX_COUNT_TEXT_MAX = 40 };
char *prefix_count_format(prefix_count n, char out[PREFIX_COUNT_TEXT_MAX]);

/* Verifies every invariant in O(all): shape, masks, counters, tiling. ERR_INTERNAL with the first
 * that fails. For tests and fsck. */
enum err_code prefix_tree_check(const struct prefix_tree *t, struct err *e);

#endif
