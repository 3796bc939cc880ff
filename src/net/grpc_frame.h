// SPDX-License-Identifier: Apache-2.0
/*
 * gRPC message framing: one byte of flags, four bytes of length, the message. A pure engine: bytes
 * in, whole messages out; it never holds more than has arrived, whatever length was announced.
 */
#ifndef NET_GRPC_FRAME_H
#define NET_GRPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { GRPC_FRAME_HEAD = 5 };

enum grpc_frame_rc {
    GRPC_FRAME_MORE,       /* the input is used up */
    GRPC_FRAME_MESSAGE,    /* *p, *n: valid until the next call and while the input is */
    GRPC_FRAME_COMPRESSED, /* the flag is set; no coding was agreed on */
    GRPC_FRAME_BAD,        /* unknown flags */
    GRPC_FRAME_TOO_BIG,
};

struct grpc_frames {
    uint8_t head[GRPC_FRAME_HEAD];
    uint8_t n_head;
    uint32_t length;
    struct buf partial; /* of a message that came in pieces */
    bool given;         /* `partial` was handed out */
};

/* Takes bytes from *c up to the end of the next message of at most `max` bytes. */
enum grpc_frame_rc grpc_frames_next(struct grpc_frames *f, struct cur *c, size_t max,
                                    const uint8_t **p, size_t *n);
void grpc_frames_free(struct grpc_frames *f);
bool grpc_frames_inside(const struct grpc_frames *f); /* a message has begun and not ended */
size_t grpc_frames_held(const struct grpc_frames *f); /* bytes of memory */
void grpc_frame_head(uint8_t out[GRPC_FRAME_HEAD], size_t n);

#endif
