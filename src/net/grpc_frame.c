// SPDX-License-Identifier: Apache-2.0
#include "net/grpc_frame.h"

#include <string.h>

enum grpc_frame_rc grpc_frames_next(struct grpc_frames *f, struct cur *c, size_t max,
                                    const uint8_t **p, size_t *n) {
    static const uint8_t empty[1];
    if (f->given) {
        f->given = false;
        buf_free(&f->partial);
    }
    while (f->n_head < GRPC_FRAME_HEAD) {
        if (cur_left(c) == 0) {
            return GRPC_FRAME_MORE;
        }
        f->head[f->n_head++] = cur_u8(c);
        if (f->n_head == 1 && f->head[0] != 0) {
            return f->head[0] == 1 ? GRPC_FRAME_COMPRESSED : GRPC_FRAME_BAD;
        }
        if (f->n_head == GRPC_FRAME_HEAD) {
            f->length = (uint32_t)f->head[1] << 24 | (uint32_t)f->head[2] << 16 |
                        (uint32_t)f->head[3] << 8 | f->head[4];
            if (f->length > max) {
                return GRPC_FRAME_TOO_BIG;
            }
        }
    }
    size_t want = f->length - f->partial.len;
    if (f->partial.len == 0 && cur_left(c) >= want) { /* the usual case: no copy */
        *p = want > 0 ? cur_bytes(c, want) : empty;
        *n = want;
        f->n_head = 0;
        return GRPC_FRAME_MESSAGE;
    }
    size_t k = cur_left(c) < want ? cur_left(c) : want;
    buf_add(&f->partial, cur_bytes(c, k), k);
    if (k < want) {
        return GRPC_FRAME_MORE;
    }
    *p = f->partial.data;
    *n = f->partial.len;
    f->n_head = 0;
    f->given = true;
    return GRPC_FRAME_MESSAGE;
}

void grpc_frames_free(struct grpc_frames *f) {
    buf_free(&f->partial);
}

bool grpc_frames_inside(const struct grpc_frames *f) {
    return f->n_head > 0;
}

size_t grpc_frames_held(const struct grpc_frames *f) {
    return f->partial.len;
}

void grpc_frame_head(uint8_t out[GRPC_FRAME_HEAD], size_t n) {
    out[0] = 0;
    out[1] = (uint8_t)(n >> 24);
    out[2] = (uint8_t)(n >> 16);
    out[3] = (uint8_t)(n >> 8);
    out[4] = (uint8_t)n;
}
