// SPDX-License-Identifier: Apache-2.0
/*
 * Hash map from byte strings to pointers. Keys are copied; values belong to the caller. The hash is
 * seeded per process, so peers can't choose keys that collide.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t key_len;
    char key[]; /* NUL-terminated as well */
};

struct map {
    struct map_entry **slots;
    size_t n_slots, count;
};

#define MAP_INIT                                                                                   \
    { NULL, 0, 0 }

void map_free(struct map *m, void (*free_value)(void *)); /* free_value may be NULL */
void *map_get(const struct map *m, const char *key);      /* NULL when absent */
void *map_get_n(const struct map *m, const void *key, size_t n);
void *map_put(struct map *m, const char *key,
              void *value); /* returns the value replaced, or NULL */
void *map_put_n(struct map *m, const void *key, size_t n, void *value);
void *map_del(struct map *m, const char *key); /* returns the value removed, or NULL */
void *map_del_n(struct map *m, const void *key, size_t n);
uint64_t map_hash(const void *key, size_t n);

/* First and next entry in no particular order. The entry at hand may be deleted in the loop. */
struct map_entry *map_first(const struct map *m, size_t *pos);
struct map_entry *map_next(const struct map *m, size_t *pos, struct map_entry *next_in_slot);

#define MAP_FOREACH(e, m)                                                                          \
    for (size_t e##_pos_ = 0, e##_once_ = 1; e##_once_; e##_once_ = 0)                             \
        for (struct map_entry *e = map_first((m), &e##_pos_), *e##_next_ = e ? e->next : NULL;     \
             e != NULL; e = map_next((m), &e##_pos_, e##_next_), e##_next_ = e ? e->next : NULL)

#endif
