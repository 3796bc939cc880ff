// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes: `struct buf` grows and is written at the end; `struct cur` is a bounded reading position.
 * Every wire parser reads through a cursor: a read past the end sets `bad` and yields zeroes, so a
 * parser may read a whole record and check once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data; /* NULL while nothing was written */
    size_t len, cap;
};

#define BUF_INIT                                                                                   \
    { NULL, 0, 0 }

void buf_free(struct buf *b); /* leaves an empty, usable buffer */
void buf_reserve(struct buf *b, size_t extra);
uint8_t *buf_extend(struct buf *b,
                    size_t n); /* n more (uninitialised) bytes; returns their start */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */
void buf_clear(struct buf *b);             /* length 0, memory kept */
const char *buf_cstr(struct buf *b);       /* NUL-terminated view; the NUL is not counted in len */
char *buf_take(struct buf *b);             /* NUL-terminated, caller frees with mem_free */

/* Big-endian integers, LEB128 variable-length integers, and length-prefixed bytes. */
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_var(struct buf *b, uint64_t v);
void buf_blob(struct buf *b, const void *p, size_t n); /* var length, then the bytes */
void buf_blob_str(struct buf *b, const char *s);

struct cur {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct cur cur_of(const void *p, size_t n) {
    return (struct cur){(const uint8_t *)p, p ? (const uint8_t *)p + n : (const uint8_t *)p, false};
}
static inline size_t cur_left(const struct cur *c) {
    return (size_t)(c->end - c->p);
}
const uint8_t *cur_bytes(struct cur *c, size_t n); /* NULL and bad when fewer are left */
uint8_t cur_u8(struct cur *c);
uint16_t cur_u16(struct cur *c);
uint32_t cur_u32(struct cur *c);
uint64_t cur_u64(struct cur *c);
uint64_t cur_var(struct cur *c);      /* more than 64 bits: bad */
struct cur cur_blob(struct cur *c);   /* a var length and that many bytes, as a cursor */
char *cur_blob_strdup(struct cur *c); /* as a string; an inner NUL is bad; mem_free */

#endif
