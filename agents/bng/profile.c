// SPDX-License-Identifier: Apache-2.0
#include "bng/profile.h"

#include <stdio.h>
#include <string.h>

void bng_domain_name(const struct bng_profile *p, char out[BNG_DOMAIN_NAME_MAX + 1]) {
    snprintf(out, BNG_DOMAIN_NAME_MAX + 1, "%s%s%s-%s", p->name,
             p->subscriber_group[0] != '\0' ? "-" : "", p->subscriber_group, p->routing_instance);
}

unsigned bng_profile_longest(const struct bng_profile *p) {
    return p->family == 4 ? 30 : p->delegated_length != 0 ? p->delegated_length : 126;
}

bool bng_profile_together(const struct bng_profile *a, const struct bng_profile *b) {
    return a->family == 6 && b->family == 6 && strcmp(a->interface, b->interface) == 0 &&
           strcmp(a->match, b->match) == 0;
}

struct ip_addr bng_profile_first6(const struct ip_prefix *prefix) {
    struct ip_addr a = prefix->addr;
    if (prefix->len < 128) {
        ip_set_bit(&a, 127, true);
    }
    return a;
}

bool bng_profile_gateway(const struct bng_profile *p, const struct ip_prefix *prefix,
                         struct ip_addr *out) {
    uint64_t size = ip_prefix_total(prefix);
    if (p->family == 6 || p->gateway_octet == 0 || p->gateway_octet + 1 >= size) {
        return false;
    }
    *out = ip4(ip4_value(&prefix->addr) + p->gateway_octet);
    return true;
}

/* Is this address, `offset` into a prefix of `size`, one that subscribers can get? */
static bool usable(const struct bng_profile *p, uint32_t base, uint64_t offset, uint64_t size) {
    uint32_t gateway = p->gateway_octet != 0 && p->gateway_octet + 1 < size ? p->gateway_octet : 0;
    return offset != 0 && offset != size - 1 && (gateway == 0 || offset != gateway) &&
           !p->excluded[(base + offset) & 0xff];
}

size_t bng_profile_ranges(const struct bng_profile *p, const struct ip_prefix *prefix,
                          struct bng_range *out, size_t cap) {
    uint32_t base = ip4_value(&prefix->addr);
    uint64_t size = ip_prefix_total(prefix);
    size_t n = 0;
    bool open = false;
    for (uint64_t i = 0; i < size; i++) {
        uint32_t a = base + (uint32_t)i;
        if (!usable(p, base, i, size)) {
            open = false;
            continue;
        }
        if (!open) {
            n++;
            if (n > cap) {
                return n; /* more than the caller takes: the exact number does not matter */
            }
            out[n - 1].first = a;
            open = true;
        }
        out[n - 1].last = a;
    }
    return n;
}

static uint64_t total6(const struct bng_profile *p, const struct ip_prefix *prefix) {
    if (p->delegated_length != 0) {
        return ip_prefix_parts(prefix, p->delegated_length);
    }
    uint64_t n = ip_prefix_total(prefix);
    return n > 1 && n < UINT64_MAX ? n - 1 : n;
}

uint64_t bng_profile_total(const struct bng_profile *p, const struct ip_prefix *prefix) {
    if (p->family == 6) {
        return total6(p, prefix);
    }
    uint32_t base = ip4_value(&prefix->addr);
    uint64_t size = ip_prefix_total(prefix), n = 0;
    if (size <= 512) {
        for (uint64_t i = 0; i < size; i++) {
            n += usable(p, base, i, size);
        }
        return n;
    }
    /* All /24 blocks between the first and the last look the same. */
    uint64_t inner = 0;
    for (unsigned o = 0; o < 256; o++) {
        inner += !p->excluded[o];
    }
    for (uint64_t i = 0; i < 256; i++) {
        n += usable(p, base, i, size);
        n += usable(p, base, size - 256 + i, size);
    }
    return n + (size / 256 - 2) * inner;
}
