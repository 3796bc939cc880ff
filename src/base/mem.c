// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Less than this, in bytes, or than a part of all there is, is left for what comes next. */
enum { GIVE_BACK_MIN = 16 << 20, GIVE_BACK_PART = 8 };

static void out_of_memory(size_t size) {
    fprintf(stderr, "out of memory: %zu bytes asked for\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *mem_realloc(void *p, size_t size) {
    p = realloc(p, size ? size : 1);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *mem_array(void *p, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        out_of_memory(SIZE_MAX);
    }
    return mem_realloc(p, bytes);
}

void *mem_dup(const void *p, size_t n) {
    void *q = mem_alloc(n);
    if (n > 0) {
        memcpy(q, p, n);
    }
    return q;
}

char *mem_strndup(const char *s, size_t n) {
    size_t len = strnlen(s, n);
    char *q = mem_alloc(len + 1);
    memcpy(q, s, len);
    return q;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, strlen(s));
}

char *mem_printf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    if (vasprintf(&s, fmt, ap) < 0) {
        out_of_memory(0);
    }
    va_end(ap);
    return s;
}

void mem_free(void *p) {
    free(p);
}

/* Chunks are chained newest first; an allocation larger than a chunk gets one of its own. */
void mem_give_back(void) {
    struct mallinfo2 m = mallinfo2();
    if (m.fordblks > GIVE_BACK_MIN && m.fordblks > (m.arena + m.hblkhd) / GIVE_BACK_PART) {
        malloc_trim(0);
    }
}

struct chunk {
    struct chunk *next;
    size_t size, used;
    max_align_t data[];
};

struct arena {
    struct chunk *head;
    size_t used, next; /* next: size of the chunk to come */
};

/* Most arenas stay small: chunks begin small and double. They are not zeroed as a whole; what is
 * handed out is. */
enum { CHUNK_FIRST = 512, CHUNK_MAX = 64 * 1024 };

struct arena *arena_new(void) {
    return MEM_NEW(struct arena);
}

void arena_free(struct arena *a) {
    if (a == NULL) {
        return;
    }
    for (struct chunk *c = a->head, *next; c != NULL; c = next) {
        next = c->next;
        mem_free(c);
    }
    mem_free(a);
}

void *arena_alloc(struct arena *a, size_t size) {
    const size_t align = _Alignof(max_align_t);
    if (size > SIZE_MAX - align - sizeof(struct chunk)) {
        out_of_memory(size);
    }
    size = (size + align - 1) / align * align;
    struct chunk *c = a->head;
    if (c == NULL || c->size - c->used < size) {
        size_t usual = a->next ? a->next : CHUNK_FIRST - sizeof *c;
        size_t n = size > usual ? size : usual;
        c = mem_realloc(NULL, sizeof *c + n);
        *c = (struct chunk){.size = n};
        if (size <= usual && usual < CHUNK_MAX) {
            a->next = 2 * usual;
        }
        if (size > usual && a->head != NULL) { /* keep the open chunk open */
            c->next = a->head->next;
            a->head->next = c;
        } else {
            c->next = a->head;
            a->head = c;
        }
    }
    void *p = (char *)c->data + c->used;
    c->used += size;
    a->used += size;
    return memset(p, 0, size);
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
    size_t len = strnlen(s, n);
    char *q = arena_alloc(a, len + 1);
    memcpy(q, s, len);
    return q;
}

char *arena_strdup(struct arena *a, const char *s) {
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    if (n > 0) {
        vsnprintf(s, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return s;
}

size_t arena_used(const struct arena *a) {
    return a->used;
}
