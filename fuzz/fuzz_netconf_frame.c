// SPDX-License-Identifier: Apache-2.0
/* NETCONF framing: the first byte says which form; however the bytes are cut, the messages are the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "net/nc_framing.h"

static void run(bool chunked, const uint8_t *p, size_t n, size_t step, struct buf *out) {
    struct nc_framer f = {.chunked = chunked};
    struct err e = {.code = ERR_OK};
    for (size_t at = 0; at < n && e.code == ERR_OK; at += step) {
        struct cur in = cur_of(p + at, n - at < step ? n - at : step);
        while (e.code == ERR_OK && nc_framer_take(&f, &in, &e)) {
            buf_blob(out, f.msg.data, f.msg.len);
            buf_clear(&f.msg);
        }
        if (e.code != ERR_OK && e.text[0] == '\0') {
            abort();
        }
    }
    buf_u8(out, e.code);
    nc_framer_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf whole = BUF_INIT, bytes = BUF_INIT;
    if (size < 2) {
        return 0;
    }
    run(data[0] & 1, data + 2, size - 2, size, &whole);
    run(data[0] & 1, data + 2, size - 2, 1 + data[1] % 7, &bytes);
    if (whole.len != bytes.len || memcmp(whole.data, bytes.data, whole.len) != 0) {
        abort();
    }
    buf_free(&whole);
    buf_free(&bytes);
    return 0;
}
