// SPDX-License-Identifier: Apache-2.0
/*
 * Numbers to give out from ranges: labels, VNIs, VLANs, AS numbers, sequence numbers, ports.
 *
 * A set holds ranges of 64-bit numbers; each number in it is free or allocated, and may be
 * reserved: a reserved number is given out only when it is asked for by name. Runs of equal state
 * are one node of a balanced tree (a treap in a dense array, 32 bytes a run), which also knows
 * where something free is below; every operation is O(log runs). The answers depend on the
 * contents alone, never on the history.
 *
 * Not thread safe; belongs to the writer.
 */
#ifndef CORE_NUMBER_RANGE_H
#define CORE_NUMBER_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct number_range; /* opaque */

struct number_run {
    uint64_t first, last; /* inclusive */
    bool allocated, reserved;
};

struct number_stats {
    /* Of the numbers; `reserved` counts reserved ones that are not allocated, so
     * total = free + allocated + reserved. 2^64 numbers saturate at UINT64_MAX. */
    uint64_t total, free, allocated, reserved;
    size_t runs, memory; /* memory in bytes */
};

struct number_range *number_range_new(void);
void number_range_free(struct number_range *r); /* NULL is allowed */

/* first > last: ERR_INVALID. ERR_EXISTS: overlaps what is there, with the overlap. */
enum err_code number_range_add(struct number_range *r, uint64_t first, uint64_t last,
                               struct err *e);
/* All of it must be in the set (ERR_ABSENT), none of it allocated (ERR_IN_USE, with the first).
 * Reservations in it go. */
enum err_code number_range_remove(struct number_range *r, uint64_t first, uint64_t last,
                                  struct err *e);

/* All of it must be in the set (ERR_ABSENT). Reserving what is allocated keeps the allocation; it
 * is reserved again when it is given back. Both may be repeated. */
enum err_code number_range_reserve(struct number_range *r, uint64_t first, uint64_t last,
                                   struct err *e);
enum err_code number_range_unreserve(struct number_range *r, uint64_t first, uint64_t last,
                                     struct err *e);

/* The lowest number >= `at_least` that is free and not reserved. With `wrap`, the search goes on
 * from the lowest number when there is none. ERR_LIMIT when there is none. */
enum err_code number_range_allocate(struct number_range *r, uint64_t at_least, bool wrap,
                                    uint64_t *out, struct err *e);
/* The lowest `n` (>= 1) consecutive ones >= at_least; O(free runs at or after at_least). */
enum err_code number_range_allocate_run(struct number_range *r, uint64_t at_least, uint64_t n,
                                        uint64_t *first, struct err *e);
/* Exactly this one. ERR_ABSENT: not in the set; ERR_IN_USE: allocated; ERR_DENIED: reserved, unless
 * `reserved_too`. */
enum err_code number_range_allocate_exact(struct number_range *r, uint64_t n, bool reserved_too,
                                          struct err *e);
/* ERR_ABSENT when it is not allocated. */
enum err_code number_range_release(struct number_range *r, uint64_t n, struct err *e);
enum err_code number_range_release_run(struct number_range *r, uint64_t first, uint64_t last,
                                       struct err *e);

/* The run in which `n` is; false when it is not in the set. */
bool number_range_lookup(const struct number_range *r, uint64_t n, struct number_run *out);
/* The first run that holds or follows `from`: begin with 0, go on with last + 1 (stop when last is
 * UINT64_MAX). Outlives changes. False at the end. Runs are maximal. */
bool number_range_next(const struct number_range *r, uint64_t from, struct number_run *out);
void number_range_stats(const struct number_range *r, struct number_stats *out);
/* Verifies every invariant. ERR_INTERNAL with the first that fails. */
enum err_code number_range_check(const struct number_range *r, struct err *e);

#endif
