// SPDX-License-Identifier: Apache-2.0
#include "log/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"

/* Row: checksum u32 over all that follows; version u8; index, time, fence, flags, prev_config;
 * who, why; number of operations; operations. The first byte of an operation is its space, with
 * the high bit set for a delete, which has no value. */
enum { SUM_LEN = 4, DELETE_BIT = 0x80 };

void log_entry_encode(struct buf *b, const struct log_entry *e) {
    size_t start = b->len;
    buf_u32(b, 0);
    buf_u8(b, LOG_ROW_VERSION);
    buf_var(b, e->index);
    buf_u64(b, (uint64_t)e->time_ns);
    buf_var(b, e->fence);
    buf_var(b, e->flags);
    buf_var(b, e->prev_config);
    buf_blob_str(b, e->who ? e->who : "");
    buf_blob_str(b, e->why ? e->why : "");
    buf_var(b, e->n_ops);
    for (size_t i = 0; i < e->n_ops; i++) {
        const struct log_op *op = &e->ops[i];
        buf_u8(b, op->value ? op->space : (uint8_t)(op->space | DELETE_BIT));
        buf_blob(b, op->key, op->key_len);
        if (op->value != NULL) {
            buf_blob(b, op->value, op->value_len);
        }
    }
    uint32_t sum = crc32c(0, b->data + start + SUM_LEN, b->len - start - SUM_LEN);
    for (size_t i = 0; i < SUM_LEN; i++) {
        b->data[start + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
}

static enum err_code bad_row(uint64_t index, const char *what, struct err *err) {
    char path[48];
    snprintf(path, sizeof path, "entry %" PRIu64, index);
    return err_set(err, ERR_MALFORMED, path, "the log row is damaged: %s", what);
}

/* Puts the next string into d->text; offsets, because the buffer may move. */
static size_t take_text(struct cur *c, struct log_decoded *d) {
    struct cur s = cur_blob(c);
    size_t at = d->text.len, n = cur_left(&s);
    if (n > LOG_TEXT_MAX || (n > 0 && memchr(s.p, 0, n) != NULL)) {
        c->bad = true;
        n = 0;
    }
    buf_add(&d->text, s.p, n);
    buf_char(&d->text, '\0');
    return at;
}

static bool take_op(struct cur *c, struct log_op *op) {
    uint8_t tag = cur_u8(c);
    struct cur key = cur_blob(c);
    *op = (struct log_op){
        .space = tag & (uint8_t)~DELETE_BIT, .key = key.p, .key_len = cur_left(&key)};
    if (!(tag & DELETE_BIT)) {
        struct cur value = cur_blob(c);
        op->value = value.p;
        op->value_len = cur_left(&value);
    }
    return !c->bad && (op->space == LOG_CONFIG || op->space == LOG_STATE) && op->key_len >= 1 &&
           op->key_len <= LOG_KEY_MAX && op->value_len <= LOG_VALUE_MAX;
}

enum err_code log_entry_decode(const void *row, size_t n, uint64_t index, struct log_decoded *d,
                               struct err *err) {
    struct cur c = cur_of(row, n);
    uint32_t sum = cur_u32(&c);
    if (c.bad || cur_left(&c) == 0) {
        return bad_row(index, "it is cut short", err);
    }
    if (crc32c(0, c.p, cur_left(&c)) != sum) {
        return bad_row(index, "its checksum is wrong", err);
    }
    uint8_t version = cur_u8(&c);
    if (version != LOG_ROW_VERSION) {
        char path[48];
        snprintf(path, sizeof path, "entry %" PRIu64, index);
        return err_set(err, ERR_UNSUPPORTED, path,
                       "the log row has version %u, this program knows version %d", version,
                       LOG_ROW_VERSION);
    }
    struct log_entry *e = &d->entry;
    *e = (struct log_entry){.index = cur_var(&c)};
    e->time_ns = (int64_t)cur_u64(&c);
    e->fence = cur_var(&c);
    uint64_t flags = cur_var(&c);
    e->flags = (uint32_t)flags;
    e->prev_config = cur_var(&c);
    buf_clear(&d->text);
    size_t who = take_text(&c, d);
    size_t why = take_text(&c, d);
    e->who = (const char *)d->text.data + who;
    e->why = (const char *)d->text.data + why;
    uint64_t n_ops = cur_var(&c);
    if (c.bad || flags > UINT32_MAX) {
        return bad_row(index, "its head can't be read", err);
    }
    if (e->index != index) {
        return bad_row(index, "it belongs to another index", err);
    }
    /* An operation takes at least three bytes: don't believe a number before asking for memory. */
    if (n_ops > LOG_ENTRY_OPS_MAX || n_ops > cur_left(&c) / 3 + 1) {
        return bad_row(index, "it announces more operations than it holds", err);
    }
    if (n_ops > d->cap) {
        d->ops = mem_array(d->ops, n_ops, sizeof *d->ops);
        d->cap = n_ops;
    }
    for (size_t i = 0; i < n_ops; i++) {
        if (!take_op(&c, &d->ops[i])) {
            return bad_row(index, "an operation can't be read", err);
        }
    }
    if (cur_left(&c) != 0) {
        return bad_row(index, "bytes are left over at its end", err);
    }
    e->ops = d->ops;
    e->n_ops = n_ops;
    return ERR_OK;
}

void log_decoded_free(struct log_decoded *d) {
    mem_free(d->ops);
    buf_free(&d->text);
    *d = (struct log_decoded){0};
}

bool log_entry_has_config(const struct log_entry *e) {
    for (size_t i = 0; i < e->n_ops; i++) {
        if (e->ops[i].space == LOG_CONFIG) {
            return true;
        }
    }
    return false;
}

uint32_t log_folded_sum(uint8_t space, const void *key, size_t key_len, const void *value,
                        size_t value_len, uint64_t modified) {
    uint8_t head[1 + 8 + 8] = {space};
    for (size_t i = 0; i < 8; i++) {
        head[1 + i] = (uint8_t)(modified >> (56 - 8 * i));
        head[9 + i] = (uint8_t)((uint64_t)key_len >> (56 - 8 * i));
    }
    uint32_t sum = crc32c(0, head, sizeof head);
    sum = crc32c(sum, key, key_len);
    return crc32c(sum, value, value_len);
}
