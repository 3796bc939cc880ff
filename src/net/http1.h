// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP/1.1 parser: pure functions over bytes, no I/O, no allocation. It is strict where
 * leniency has let requests be smuggled between servers that disagree (RFC 9112, sections 2.2, 5, 6
 * and 11.2): bare LF or CR, obs-fold, white space before the colon, repeated or malformed
 * Content-Length, any Transfer-Encoding but exactly "chunked", or one beside a Content-Length, are
 * errors.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    HTTP1_HEADERS_MAX = 128,     /* the most a struct http1_head holds */
    HTTP1_CHUNK_EXT_MAX = 256,   /* bytes of a chunk's extensions; they are read and dropped */
    HTTP1_TRAILERS_MAX = 4096,   /* bytes of all trailers; they are checked and dropped */
    HTTP1_EXT_TOTAL_MAX = 16384, /* bytes of extensions in a whole body: dribbling pays nothing */
};

struct http1_slice {
    uint32_t at, len; /* in the bytes given to http1_parse */
};

struct http1_head {
    struct http1_slice method, target; /* target without scheme and authority of an absolute-form */
    struct http1_slice authority;      /* of an absolute-form target, else the Host field */
    int minor;                         /* HTTP/1.minor: 0 or 1 */
    unsigned n;
    struct {
        struct http1_slice name, value; /* value without surrounding white space */
    } f[HTTP1_HEADERS_MAX];
    int64_t length;  /* of the body; -1: chunked; 0: none */
    bool keep_alive; /* the client wants to, and may */
    bool expect_continue;
};

/* Finds the end of a head piece by piece. *scanned is 0 at first and kept between calls with the
 * same, growing bytes. Returns the head's length with the empty line, 0 when more is needed, -1 on
 * a bare LF, a CR without LF, a NUL or another control byte. Leading CRLFs (at most 2) count as
 * part of it. */
ptrdiff_t http1_scan(const uint8_t *p, size_t n, size_t *scanned);

/* Parses a complete head as found by http1_scan. Returns 0, or the HTTP status to answer: 400, 417,
 * 431 over max_headers, 501 for CONNECT and unknown codings, 505. *why is one sentence. */
int http1_parse(const uint8_t *p, size_t n, unsigned max_headers, struct http1_head *out,
                const char **why);

/* A body, fed as it comes. */
struct http1_body {
    enum http1_body_state {
        HTTP1_DONE,
        HTTP1_LENGTH,
        HTTP1_SIZE,    /* chunk-size digits */
        HTTP1_EXT,     /* chunk extension */
        HTTP1_SIZE_LF, /* LF after the size line */
        HTTP1_DATA,    /* chunk data */
        HTTP1_DATA_CR, /* CRLF after the data */
        HTTP1_DATA_LF,
        HTTP1_TRAILER, /* start of a trailer line */
        HTTP1_TRAILER_NAME,
        HTTP1_TRAILER_VALUE,
        HTTP1_TRAILER_LF,
        HTTP1_LAST_LF,
    } state;
    uint64_t left;
    unsigned digits, ext, ext_total, trailer;
};
void http1_body_init(struct http1_body *b, int64_t length); /* -1: chunked */
/* Takes bytes from *c up to the next piece of content: *n bytes at *p (into the input), *n = 0 when
 * the input or the body ended. Returns 0 or the status to answer with *why. */
int http1_body_next(struct http1_body *b, struct cur *c, const uint8_t **p, size_t *n,
                    const char **why);
static inline bool http1_body_done(const struct http1_body *b) {
    return b->state == HTTP1_DONE;
}

bool http1_is_token(const char *p, size_t n); /* RFC 9110 5.6.2, at least one character */

#endif
