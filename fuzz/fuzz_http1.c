// SPDX-License-Identifier: Apache-2.0
/* The HTTP/1.1 parser: head and body. What it finds must lie within the input, and must not depend
 * on how the input was cut into pieces. */
#include <stdlib.h>
#include <string.h>

#include "net/http1.h"

static void need(int ok) {
    if (!ok) {
        abort();
    }
}

static void within(struct http1_slice s, size_t n) {
    need(s.at <= n && s.len <= n - s.at);
}

/* Decodes a body in pieces of at most `step` bytes; returns the status. */
static int decode(int64_t length, const uint8_t *p, size_t n, size_t step, struct buf *out,
                  size_t *used) {
    struct http1_body b;
    const char *why = NULL;
    http1_body_init(&b, length);
    *used = 0;
    while (*used < n && !http1_body_done(&b)) {
        struct cur c = cur_of(p + *used, n - *used < step ? n - *used : step);
        const uint8_t *piece;
        size_t k;
        int status = http1_body_next(&b, &c, &piece, &k, &why);
        if (status != 0) {
            need(why != NULL);
            return status;
        }
        need(c.p > p + *used);
        if (k > 0) {
            need(piece >= p + *used && piece + k <= c.p);
            buf_add(out, piece, k);
        }
        *used = (size_t)(c.p - p);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http1_head h;
    size_t scanned = 0, slow = 0;
    ptrdiff_t n = http1_scan(data, size, &scanned), m = 0;
    for (size_t i = 1; i <= size && m == 0; i++) {
        m = http1_scan(data, i, &slow);
    }
    need(n == m);
    if (n <= 0) {
        return 0;
    }
    const char *why = NULL;
    int status = http1_parse(data, (size_t)n, 100, &h, &why);
    if (status != 0) {
        need(why != NULL && status >= 400 && status <= 505);
        return 0;
    }
    within(h.method, (size_t)n);
    within(h.target, (size_t)n);
    within(h.authority, (size_t)n);
    need(h.method.len > 0 && h.n <= 100);
    for (unsigned i = 0; i < h.n; i++) {
        within(h.f[i].name, (size_t)n);
        within(h.f[i].value, (size_t)n);
        need(http1_is_token((const char *)data + h.f[i].name.at, h.f[i].name.len));
        need(memchr(data + h.f[i].value.at, '\n', h.f[i].value.len) == NULL);
    }
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    size_t used1, used2;
    int rc1 = decode(h.length, data + n, size - (size_t)n, SIZE_MAX, &whole, &used1);
    int rc2 = decode(h.length, data + n, size - (size_t)n, 1, &pieces, &used2);
    need(rc1 == rc2 && whole.len == pieces.len && (rc1 != 0 || used1 == used2));
    need(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
