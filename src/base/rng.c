// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* xoshiro256** seeded through splitmix64 (Blackman, Vigna). */
void rng_seed(struct rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        r->s[i] = z ^ z >> 31;
    }
}

static uint64_t rotl(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

uint64_t rng_next(struct rng *r) {
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n) {
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

bool rng_chance(struct rng *r, unsigned percent) {
    return rng_below(r, 100) < percent;
}

void rng_secure(void *p, size_t n) {
    for (uint8_t *q = p; n > 0;) {
        ssize_t got = getrandom(q, n, 0);
        if (got < 0 && errno != EINTR) {
            abort();
        }
        if (got > 0) {
            q += got;
            n -= (size_t)got;
        }
    }
}

void rng_token(char *out, size_t n) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < n;) {
        uint8_t b;
        rng_secure(&b, 1);
        if (b < 248) { /* 4 * 62: no bias */
            out[i++] = set[b % 62];
        }
    }
    out[n] = '\0';
}

bool mem_equal_ct(const void *a, const void *b, size_t n) {
    const volatile uint8_t *x = a, *y = b;
    uint8_t d = 0;
    for (size_t i = 0; i < n; i++) {
        d |= (uint8_t)(x[i] ^ y[i]);
    }
    return d == 0;
}

void mem_wipe(void *p, size_t n) {
    if (n > 0) { /* an empty buffer has no bytes, and p may be NULL */
        explicit_bzero(p, n);
    }
}
