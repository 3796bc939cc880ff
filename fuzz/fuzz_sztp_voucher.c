// SPDX-License-Identifier: Apache-2.0
/* A voucher's JSON: what is accepted says the same when it was printed and read again. */
#include <stdlib.h>
#include <string.h>

#include "sztp/voucher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct voucher v, again;
    struct buf json = BUF_INIT;
    struct err e;
    if (voucher_parse(data, size, &v, &e) != ERR_OK) {
        return 0;
    }
    voucher_print(&v, &json);
    if (voucher_parse(json.data, json.len, &again, &e) != ERR_OK ||
        v.created_on != again.created_on || v.expires_on != again.expires_on ||
        v.assertion != again.assertion || strcmp(v.serial, again.serial) != 0 ||
        v.pinned.len != again.pinned.len || v.nonce_len != again.nonce_len ||
        v.check_revocation != again.check_revocation) {
        abort();
    }
    voucher_free(&v);
    voucher_free(&again);
    buf_free(&json);
    return 0;
}
