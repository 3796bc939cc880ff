// SPDX-License-Identifier: Apache-2.0
/* The decoder of log rows. The input is the row without its checksum, which is put before it here:
 * else nothing but the checksum would ever be tested. What decodes must encode to the same bytes,
 * or to fewer: variable-length integers may be padded. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "log/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct log_decoded d, again;
    struct buf row = BUF_INIT, out = BUF_INIT;
    struct cur c = cur_of(data, size);
    cur_u8(&c);
    uint64_t index = cur_var(&c);
    struct err err;
    buf_u32(&row, crc32c(0, data, size));
    buf_add(&row, data, size);
    if (log_entry_decode(row.data, row.len, index, &d, &err) == ERR_OK) {
        log_entry_encode(&out, &d.entry);
        if (out.len > row.len ||
            log_entry_decode(out.data, out.len, index, &again, &err) != ERR_OK ||
            again.entry.n_ops != d.entry.n_ops || again.entry.time_ns != d.entry.time_ns ||
            strcmp(again.entry.who, d.entry.who) != 0 ||
            log_entry_has_config(&again.entry) != log_entry_has_config(&d.entry)) {
            abort();
        }
    }
    /* And as it came, checksum and all. */
    log_entry_decode(data, size, 1, &d, &err);
    buf_free(&row);
    buf_free(&out);
    return 0;
}
