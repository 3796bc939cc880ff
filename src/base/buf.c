// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void buf_free(struct buf *b) {
    mem_free(b->data);
    *b = (struct buf)BUF_INIT;
}

void buf_reserve(struct buf *b, size_t extra) {
    if (b->cap - b->len >= extra) {
        return;
    }
    size_t want, cap = b->cap ? b->cap : 64;
    if (__builtin_add_overflow(b->len, extra, &want) || want > SIZE_MAX / 2) {
        want = cap = SIZE_MAX; /* more than there is: mem_realloc says so */
    }
    while (cap < want) {
        cap += cap / 2 + 64;
    }
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

uint8_t *buf_extend(struct buf *b, size_t n) {
    buf_reserve(b, n > 0 || b->data != NULL ? n : 1); /* never NULL */
    uint8_t *p = b->data + b->len;
    b->len += n;
    return p;
}

void buf_add(struct buf *b, const void *p, size_t n) {
    if (n > 0) {
        memcpy(buf_extend(b, n), p, n);
    }
}

void buf_str(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c) {
    buf_u8(b, (uint8_t)c);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    buf_reserve(b, 128);
    int n = vsnprintf((char *)b->data + b->len, b->cap - b->len, fmt, ap);
    if (n > 0 && (size_t)n >= b->cap - b->len) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf((char *)b->data + b->len, b->cap - b->len, fmt, again);
    }
    va_end(again);
    b->len += n > 0 ? (size_t)n : 0;
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n) {
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void buf_clear(struct buf *b) {
    b->len = 0;
}

const char *buf_cstr(struct buf *b) {
    buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

char *buf_take(struct buf *b) {
    buf_cstr(b);
    char *s = (char *)b->data;
    *b = (struct buf)BUF_INIT;
    return s;
}

void buf_u8(struct buf *b, uint8_t v) {
    *buf_extend(b, 1) = v;
}

static void put_be(struct buf *b, uint64_t v, size_t n) {
    uint8_t *p = buf_extend(b, n);
    for (size_t i = n; i-- > 0; v >>= 8) {
        p[i] = (uint8_t)v;
    }
}

void buf_u16(struct buf *b, uint16_t v) {
    put_be(b, v, 2);
}

void buf_u32(struct buf *b, uint32_t v) {
    put_be(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v) {
    put_be(b, v, 8);
}

void buf_var(struct buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) {
        buf_u8(b, (uint8_t)(v | 0x80));
    }
    buf_u8(b, (uint8_t)v);
}

void buf_blob(struct buf *b, const void *p, size_t n) {
    buf_var(b, n);
    buf_add(b, p, n);
}

void buf_blob_str(struct buf *b, const char *s) {
    buf_blob(b, s, strlen(s));
}

const uint8_t *cur_bytes(struct cur *c, size_t n) {
    if (c->bad || cur_left(c) < n) {
        c->bad = true;
        c->p = c->end;
        return NULL;
    }
    const uint8_t *p = c->p;
    if (n > 0) { /* an empty cursor may stand on NULL */
        c->p += n;
    }
    return p;
}

static uint64_t get_be(struct cur *c, size_t n) {
    const uint8_t *p = cur_bytes(c, n);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

uint8_t cur_u8(struct cur *c) {
    return (uint8_t)get_be(c, 1);
}

uint16_t cur_u16(struct cur *c) {
    return (uint16_t)get_be(c, 2);
}

uint32_t cur_u32(struct cur *c) {
    return (uint32_t)get_be(c, 4);
}

uint64_t cur_u64(struct cur *c) {
    return get_be(c, 8);
}

uint64_t cur_var(struct cur *c) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *p = cur_bytes(c, 1);
        if (p == NULL || (shift == 63 && *p > 1)) {
            break;
        }
        v |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80)) {
            return v;
        }
    }
    c->bad = true;
    c->p = c->end;
    return 0;
}

struct cur cur_blob(struct cur *c) {
    uint64_t n = cur_var(c);
    if (c->bad || n > cur_left(c)) {
        c->bad = true;
        c->p = c->end;
        return cur_of(NULL, 0);
    }
    return cur_of(cur_bytes(c, (size_t)n), (size_t)n);
}

char *cur_blob_strdup(struct cur *c) {
    struct cur s = cur_blob(c);
    size_t n = cur_left(&s);
    if (n > 0 && memchr(s.p, 0, n) != NULL) {
        c->bad = true;
        n = 0;
    }
    return n > 0 ? mem_strndup((const char *)s.p, n) : mem_strdup("");
}
