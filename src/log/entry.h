// SPDX-License-Identifier: Apache-2.0
/*
 * One entry as one compact row, the same in every engine (docs/log.md has the layout). The decoder
 * is a pure function over untrusted bytes: fuzz/fuzz_log_entry.c.
 */
#ifndef LOG_ENTRY_H
#define LOG_ENTRY_H

#include "base/buf.h"
#include "log/log.h"

enum { LOG_ROW_VERSION = 1 };

/* Appends the row of `e` to `b`; the entry's sizes have been checked. */
void log_entry_encode(struct buf *b, const struct log_entry *e);

/* A decoded entry and the memory behind it; keys and values point into the row itself. Zeroed
 * before the first use, reused for row after row, freed once. */
struct log_decoded {
    struct log_entry entry;
    struct log_op *ops;
    size_t cap;
    struct buf text;
};
/* `index` is where the row was found: a row of another index is refused, as is one whose checksum
 * is wrong. ERR_MALFORMED, or ERR_UNSUPPORTED for a row of a newer version; path "entry N". */
enum err_code log_entry_decode(const void *row, size_t n, uint64_t index, struct log_decoded *d,
                               struct err *err);
void log_decoded_free(struct log_decoded *d);

bool log_entry_has_config(const struct log_entry *e);

/* Checksum of one row of the folded tables. */
uint32_t log_folded_sum(uint8_t space, const void *key, size_t key_len, const void *value,
                        size_t value_len, uint64_t modified);

#endif
