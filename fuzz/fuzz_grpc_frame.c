// SPDX-License-Identifier: Apache-2.0
/* gRPC framing: the messages and the end must not depend on how the bytes were cut. */
#include <stdlib.h>
#include <string.h>

#include "net/grpc_frame.h"

enum { MAX = 4096 };

static enum grpc_frame_rc decode(const uint8_t *p, size_t n, size_t step, struct buf *out) {
    struct grpc_frames f = {0};
    enum grpc_frame_rc rc = GRPC_FRAME_MORE;
    for (size_t at = 0; at < n;) {
        size_t k = n - at < step ? n - at : step;
        struct cur c = cur_of(p + at, k);
        do {
            const uint8_t *m = NULL;
            size_t len = 0;
            rc = grpc_frames_next(&f, &c, MAX, &m, &len);
            if (grpc_frames_held(&f) > n || len > MAX) {
                abort();
            }
            if (rc == GRPC_FRAME_MESSAGE) {
                buf_u32(out, (uint32_t)len);
                buf_add(out, m, len);
            }
        } while (rc == GRPC_FRAME_MESSAGE);
        if (rc != GRPC_FRAME_MORE) {
            break;
        }
        at += k;
    }
    grpc_frames_free(&f);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf a = BUF_INIT, b = BUF_INIT;
    enum grpc_frame_rc ra = decode(data, size, SIZE_MAX, &a), rb = decode(data, size, 3, &b);
    if (ra != rb || a.len != b.len || (a.len > 0 && memcmp(a.data, b.data, a.len) != 0)) {
        abort();
    }
    buf_free(&a);
    buf_free(&b);
    return 0;
}
