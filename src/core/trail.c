// SPDX-License-Identifier: Apache-2.0
#include "core/trail.h"

#include <string.h>

#include "base/mem.h"

void trail_free(struct trail *t) {
    for (size_t i = 0; i < t->n; i++) {
        mem_free(t->all[t->first + i].bytes);
    }
    mem_free(t->all);
    *t = (struct trail){.n = 0};
}

const struct trail_record *trail_at(const struct trail *t, size_t i) {
    return &t->all[t->first + i];
}

uint64_t trail_last(const struct trail *t) {
    return t->n > 0 ? trail_at(t, t->n - 1)->number : 0;
}

/* Where the record with this number is, or would be. */
static size_t place_of(const struct trail *t, uint64_t number) {
    if (t->n == 0 || number > trail_last(t)) {
        return t->n;
    }
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (trail_at(t, mid)->number < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

const struct trail_record *trail_get(const struct trail *t, uint64_t number) {
    size_t i = place_of(t, number);
    return i < t->n && trail_at(t, i)->number == number ? trail_at(t, i) : NULL;
}

/* Room for one more at both ends: what went at the front leaves some behind. */
static void make_room(struct trail *t) {
    if (t->first > 0 && t->first + t->n < t->cap) {
        return;
    }
    size_t cap = t->n * 2 + 16, first = (cap - t->n) / 2;
    struct trail_record *all = mem_alloc(cap * sizeof *all);
    if (t->n > 0) {
        memcpy(all + first, t->all + t->first, t->n * sizeof *all);
    }
    mem_free(t->all);
    *t = (struct trail){.all = all, .first = first, .n = t->n, .cap = cap};
}

static void insert(struct trail *t, size_t i, const struct trail_record *r) {
    make_room(t);
    struct trail_record *at = t->all + t->first;
    if (i < t->n / 2) {
        memmove(at - 1, at, i * sizeof *at);
        t->first--;
    } else {
        memmove(at + i + 1, at + i, (t->n - i) * sizeof *at);
    }
    t->n++;
    t->all[t->first + i] = *r;
}

static void take_away(struct trail *t, size_t i) {
    struct trail_record *at = t->all + t->first;
    mem_free(at[i].bytes);
    if (i < t->n / 2) {
        memmove(at + 1, at, i * sizeof *at);
        t->first++;
    } else {
        memmove(at + i, at + i + 1, (t->n - i - 1) * sizeof *at);
    }
    t->n--;
}

void trail_fold(struct trail *t, uint64_t number, const void *bytes, size_t len) {
    size_t i = place_of(t, number);
    bool there = i < t->n && trail_at(t, i)->number == number;
    if (bytes == NULL) {
        if (there) {
            take_away(t, i);
        }
        return;
    }
    struct trail_record r = {.number = number, .bytes = mem_dup(bytes, len), .len = len};
    if (there) {
        mem_free(t->all[t->first + i].bytes);
        t->all[t->first + i] = r;
    } else {
        insert(t, i, &r);
    }
}
