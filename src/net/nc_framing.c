// SPDX-License-Identifier: Apache-2.0
#include "net/nc_framing.h"

#include <string.h>

static const char END[] = "]]>]]>";
enum { END_LEN = 6, SIZE_MAX_DIGITS = 10 };

void nc_framer_free(struct nc_framer *f) {
    buf_free(&f->msg);
}

static bool too_big(const struct nc_framer *f, uint64_t more, struct err *e) {
    if (f->msg.len + more <= NC_MESSAGE_MAX) {
        return false;
    }
    err_set(e, ERR_TOO_BIG, NULL, "a message has at most %d MiB", NC_MESSAGE_MAX >> 20);
    return true;
}

/* The marker may come in pieces, so it is looked for at the end of what was gathered. */
static bool take_plain(struct nc_framer *f, struct cur *in, struct err *e) {
    while (cur_left(in) > 0) {
        const uint8_t *gt = memchr(in->p, '>', cur_left(in));
        size_t n = gt != NULL ? (size_t)(gt + 1 - in->p) : cur_left(in);
        if (too_big(f, n, e)) {
            return false;
        }
        buf_add(&f->msg, cur_bytes(in, n), n);
        if (gt != NULL && f->msg.len >= END_LEN &&
            memcmp(f->msg.data + f->msg.len - END_LEN, END, END_LEN) == 0) {
            f->msg.len -= END_LEN;
            return true;
        }
    }
    return false;
}

static bool bad_chunk(struct err *e, const char *what) {
    err_set(e, ERR_MALFORMED, NULL, "chunked framing is broken: %s", what);
    return false;
}

static bool size_byte(struct nc_framer *f, char c, struct err *e) {
    if (c == '#' && f->digits == 0) {
        if (!f->some) {
            return bad_chunk(e, "a message without a chunk");
        }
        f->state = NC_LAST_LF;
    } else if (c >= '0' && c <= '9' && f->digits < SIZE_MAX_DIGITS &&
               !(f->digits == 0 && c == '0')) {
        f->left = f->left * 10 + (uint64_t)(c - '0');
        f->digits++;
    } else if (c == '\n' && f->digits > 0 && f->left <= UINT32_MAX) {
        if (too_big(f, f->left, e)) {
            return false;
        }
        f->state = NC_BODY;
        f->some = true;
    } else {
        return bad_chunk(e, "the size of a chunk is a number from 1 to 4294967295");
    }
    return true;
}

static bool take_chunked(struct nc_framer *f, struct cur *in, struct err *e) {
    while (cur_left(in) > 0) {
        if (f->state == NC_BODY && f->left > 0) {
            size_t n = cur_left(in) < f->left ? cur_left(in) : (size_t)f->left;
            buf_add(&f->msg, cur_bytes(in, n), n);
            f->left -= n;
            continue;
        }
        char c = (char)cur_u8(in);
        switch (f->state) {
        case NC_BODY:
        case NC_LF:
            if (c != '\n') {
                return bad_chunk(e, "a chunk begins with a line feed and #");
            }
            f->state = NC_HASH;
            break;
        case NC_HASH:
            if (c != '#') {
                return bad_chunk(e, "a chunk begins with a line feed and #");
            }
            f->state = NC_SIZE;
            f->digits = 0;
            f->left = 0;
            break;
        case NC_SIZE:
            if (!size_byte(f, c, e)) {
                return false;
            }
            break;
        case NC_LAST_LF:
            if (c != '\n') {
                return bad_chunk(e, "## is followed by a line feed");
            }
            f->state = NC_LF;
            f->some = false;
            return true;
        }
    }
    return false;
}

bool nc_framer_take(struct nc_framer *f, struct cur *in, struct err *e) {
    e->code = ERR_OK;
    return f->chunked ? take_chunked(f, in, e) : take_plain(f, in, e);
}

void nc_frame_piece(bool chunked, const void *p, size_t n, struct buf *out) {
    if (n == 0) {
        return;
    }
    if (chunked) {
        buf_printf(out, "\n#%zu\n", n);
    }
    buf_add(out, p, n);
}

void nc_frame_end(bool chunked, struct buf *out) {
    buf_str(out, chunked ? "\n##\n" : END);
}
