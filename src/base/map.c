// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

static uint64_t rotl(uint64_t x, int b) {
    return x << b | x >> (64 - b);
}

/* SipHash-1-3 (Aumasson, Bernstein), keyed once per process. */
static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t seed[2];

static void __attribute__((constructor)) seed_hash(void) {
    if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        seed[0] = (uint64_t)(uintptr_t)&seed; /* ASLR is better than nothing, early at boot */
    }
}

uint64_t map_hash(const void *key, size_t n) {
    const uint8_t *p = key;
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                     seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
    uint64_t last = (uint64_t)n << 56, w;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, 8);
        v[3] ^= w;
        sip_round(v);
        v[0] ^= w;
    }
    w = 0;
    if (n > 0) {
        memcpy(&w, p, n);
    }
    last |= w;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_free(struct map *m, void (*free_value)(void *)) {
    for (size_t i = 0; i < m->n_slots; i++) {
        for (struct map_entry *e = m->slots[i], *next; e != NULL; e = next) {
            next = e->next;
            if (free_value != NULL) {
                free_value(e->value);
            }
            mem_free(e);
        }
    }
    mem_free(m->slots);
    *m = (struct map)MAP_INIT;
}

static struct map_entry **find(const struct map *m, const void *key, size_t n, uint64_t h) {
    struct map_entry **pp = &m->slots[h & (m->n_slots - 1)];
    for (; *pp != NULL; pp = &(*pp)->next) {
        struct map_entry *e = *pp;
        if (e->hash == h && e->key_len == n && memcmp(e->key, key, n) == 0) {
            break;
        }
    }
    return pp;
}

void *map_get_n(const struct map *m, const void *key, size_t n) {
    if (m->count == 0) {
        return NULL;
    }
    struct map_entry *e = *find(m, key, n, map_hash(key, n));
    return e ? e->value : NULL;
}

void *map_get(const struct map *m, const char *key) {
    return map_get_n(m, key, strlen(key));
}

static void grow(struct map *m) {
    size_t n = m->n_slots ? m->n_slots * 2 : 8;
    struct map_entry **slots = mem_alloc(n * sizeof *slots);
    for (size_t i = 0; i < m->n_slots; i++) {
        for (struct map_entry *e = m->slots[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = slots[e->hash & (n - 1)];
            slots[e->hash & (n - 1)] = e;
        }
    }
    mem_free(m->slots);
    m->slots = slots;
    m->n_slots = n;
}

void *map_put_n(struct map *m, const void *key, size_t n, void *value) {
    if (m->count >= m->n_slots) {
        grow(m);
    }
    uint64_t h = map_hash(key, n);
    struct map_entry **pp = find(m, key, n, h);
    if (*pp != NULL) {
        void *old = (*pp)->value;
        (*pp)->value = value;
        return old;
    }
    struct map_entry *e = mem_alloc(sizeof *e + n + 1);
    e->hash = h;
    e->value = value;
    e->key_len = n;
    memcpy(e->key, key, n);
    *pp = e;
    m->count++;
    return NULL;
}

void *map_put(struct map *m, const char *key, void *value) {
    return map_put_n(m, key, strlen(key), value);
}

void *map_del_n(struct map *m, const void *key, size_t n) {
    if (m->count == 0) {
        return NULL;
    }
    struct map_entry **pp = find(m, key, n, map_hash(key, n)), *e = *pp;
    if (e == NULL) {
        return NULL;
    }
    void *old = e->value;
    *pp = e->next;
    mem_free(e);
    m->count--;
    return old;
}

void *map_del(struct map *m, const char *key) {
    return map_del_n(m, key, strlen(key));
}

struct map_entry *map_first(const struct map *m, size_t *pos) {
    for (*pos = 0; *pos < m->n_slots; (*pos)++) {
        if (m->slots[*pos] != NULL) {
            return m->slots[*pos];
        }
    }
    return NULL;
}

struct map_entry *map_next(const struct map *m, size_t *pos, struct map_entry *next_in_slot) {
    if (next_in_slot != NULL) {
        return next_in_slot;
    }
    for ((*pos)++; *pos < m->n_slots; (*pos)++) {
        if (m->slots[*pos] != NULL) {
            return m->slots[*pos];
        }
    }
    return NULL;
}
