// SPDX-License-Identifier: Apache-2.0
/*
 * Two sources of chance: a seeded one for simulations and tests (the same seed, the same run) and
 * the kernel's for everything that must not be guessed.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0..n-1; n >= 1 */
bool rng_chance(struct rng *r, unsigned percent);

void rng_secure(void *p, size_t n); /* never fails: waits for the kernel's pool */
/* n random characters of [A-Za-z0-9] (5.95 bits each) and a NUL into out. */
void rng_token(char *out, size_t n);

bool mem_equal_ct(const void *a, const void *b, size_t n); /* constant time */
void mem_wipe(void *p, size_t n);                          /* not optimised away */

#endif
