// SPDX-License-Identifier: Apache-2.0
/*
 * The one allocator. Running out of memory ends the process: everything acknowledged is in the log,
 * and input from outside is bounded before memory is asked for, so there is nobody to hand the
 * failure to. An arena frees everything that was taken from it at once; use one per request, parsed
 * document or session, so that error paths stay short.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
void *mem_array(void *p, size_t n, size_t size); /* realloc(p, n*size), overflow checked */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p); /* NULL is allowed */
/* Gives free pages back to the system when much is free: what a large batch took lies scattered
 * between what stays. Other threads that allocate may wait for it, some 10 ms with 100 MB free. */
void mem_give_back(void);

#define MEM_NEW(type) ((type *)mem_alloc(sizeof(type)))

struct arena; /* opaque */
struct arena *arena_new(void);
void arena_free(struct arena *a);                /* NULL is allowed */
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for any type */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
/* nonnull: without it gcc's sanitizer build takes the format for a null pointer and refuses it */
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
size_t arena_used(const struct arena *a); /* bytes handed out so far */

#endif
