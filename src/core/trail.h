// SPDX-License-Identifier: Apache-2.0
/* Records by number, of which the newest are kept: what the audit trail is made of. Records come at
 * the end and go at the front; an undo does the opposite. */
#ifndef CORE_TRAIL_H
#define CORE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trail_record {
    uint64_t number;
    uint8_t *bytes; /* as stored */
    size_t len;
};

struct trail {
    struct trail_record *all; /* all[first..first+n-1], in the order of their numbers */
    size_t first, n, cap;
};

void trail_free(struct trail *t);
/* Copies `bytes`; NULL takes the record away. */
void trail_fold(struct trail *t, uint64_t number, const void *bytes, size_t len);
/* NULL when there is none. Borrowed. */
const struct trail_record *trail_get(const struct trail *t, uint64_t number);
/* The i-th, from the oldest one; i < t->n. */
const struct trail_record *trail_at(const struct trail *t, size_t i);
uint64_t trail_last(const struct trail *t); /* number of the newest; 0: none */

#endif
