// SPDX-License-Identifier: Apache-2.0
/*
 * Framing of NETCONF messages (RFC 6242 4): end-of-message until both sides have said that they
 * know :base:1.1, chunks from then on. Pure; fuzzed.
 */
#ifndef NET_NC_FRAMING_H
#define NET_NC_FRAMING_H

#include "base/buf.h"
#include "base/err.h"

enum { NC_MESSAGE_MAX = 64 << 20 /* bytes of one message */ };

struct nc_framer {
    bool chunked; /* set between two messages */
    /* private */
    enum {
        NC_BODY,    /* end-of-message: bytes; chunked: inside a chunk */
        NC_LF,      /* the line feed before a chunk's header */
        NC_HASH,    /* its # */
        NC_SIZE,    /* its digits, or the second # of the end */
        NC_LAST_LF, /* the line feed after ## */
    } state;
    unsigned digits;
    uint64_t left;  /* of the chunk; the size while it is read */
    bool some;      /* the message has a chunk */
    struct buf msg; /* the message so far */
};

/* Takes bytes of `in` up to the end of a message. True: f->msg holds it, complete (the caller
 * clears it before the next call); what follows it is still in `in`. False: all of `in` was taken,
 * or *e says what is wrong (e->code is ERR_OK otherwise) and the stream can't go on. */
bool nc_framer_take(struct nc_framer *f, struct cur *in, struct err *e);
void nc_framer_free(struct nc_framer *f);

/* One piece of an answer, and the end of the answer. Empty pieces are left out. */
void nc_frame_piece(bool chunked, const void *p, size_t n, struct buf *out);
void nc_frame_end(bool chunked, struct buf *out);

#endif
