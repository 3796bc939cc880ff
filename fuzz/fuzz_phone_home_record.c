// SPDX-License-Identifier: Apache-2.0
/* What the phone-home client kept over a loss of power, or was handed by another member; with its
 * checksum made right, so that the fields are reached. What is read prints and reads again. */
#include <stdlib.h>

#include "base/mem.h"
#include "phone-home/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf b = BUF_INIT, again = BUF_INIT;
    struct record *r = MEM_NEW(struct record);
    struct err e;
    buf_add(&b, data, size);
    record_reseal(&b);
    if (record_parse(b.data, b.len, r, &e) == ERR_OK) {
        record_print(r, &again);
        record_free(r);
        if (record_parse(again.data, again.len, r, &e) != ERR_OK) {
            abort();
        }
        record_end_run(r);
    }
    record_free(r);
    mem_free(r);
    buf_free(&b);
    buf_free(&again);
    return 0;
}
