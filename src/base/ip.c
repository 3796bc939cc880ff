// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

unsigned ip_bits(unsigned family) {
    return family == 6 ? 128 : 32;
}

static bool has_leading_zero(const char *s) {
    for (const char *p = s; *p; p++) {
        if (*p == '0' && (p == s || p[-1] == '.') && p[1] >= '0' && p[1] <= '9') {
            return true;
        }
    }
    return false;
}

enum err_code ip_addr_parse(const char *s, struct ip_addr *out, struct err *e) {
    struct ip_addr a = {0};
    if (strchr(s, ':') != NULL) {
        a.family = 6;
        if (inet_pton(AF_INET6, s, a.bytes) != 1) {
            return err_set(e, ERR_INVALID, NULL, "\"%.64s\" is not an IPv6 address", s);
        }
    } else {
        a.family = 4;
        if (has_leading_zero(s) || inet_pton(AF_INET, s, a.bytes) != 1) {
            return err_set(e, ERR_INVALID, NULL, "\"%.64s\" is no IPv4 and no IPv6 address", s);
        }
    }
    *out = a;
    return ERR_OK;
}

enum err_code ip_prefix_parse(const char *s, struct ip_prefix *out, struct err *e) {
    const char *slash = strchr(s, '/');
    char addr[IP_TEXT_MAX];
    if (slash == NULL || (size_t)(slash - s) >= sizeof addr) {
        return err_set(e, ERR_INVALID, NULL,
                       "\"%.64s\" is not a prefix: address/length is expected", s);
    }
    memcpy(addr, s, (size_t)(slash - s));
    addr[slash - s] = '\0';
    struct ip_prefix p = {0};
    ERR_TRY(ip_addr_parse(addr, &p.addr, e));
    const char *d = slash + 1;
    size_t n = strlen(d);
    unsigned len = 0;
    bool ok = n >= 1 && n <= 3 && !(n > 1 && d[0] == '0');
    for (size_t i = 0; i < n && ok; i++) {
        ok = d[i] >= '0' && d[i] <= '9';
        len = len * 10 + (unsigned)(d[i] - '0');
    }
    if (!ok || len > ip_bits(p.addr.family)) {
        return err_set(e, ERR_INVALID, NULL, "\"%.64s\": the length must be 0..%u", s,
                       ip_bits(p.addr.family));
    }
    p.len = (uint8_t)len;
    if (!ip_prefix_aligned(&p)) {
        struct ip_prefix q = p;
        for (unsigned i = len; i < ip_bits(p.addr.family); i++) {
            ip_set_bit(&q.addr, i, false);
        }
        char t[IP_TEXT_MAX];
        return err_set(e, ERR_INVALID, NULL,
                       "\"%.64s\" has bits set beyond its length; the prefix would be %s", s,
                       ip_prefix_format(&q, t));
    }
    *out = p;
    return ERR_OK;
}

char *ip_addr_format(const struct ip_addr *a, char out[IP_TEXT_MAX]) {
    if (a->family == 0 ||
        inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->bytes, out, IP_TEXT_MAX) == NULL) {
        snprintf(out, IP_TEXT_MAX, "-");
    }
    return out;
}

char *ip_prefix_format(const struct ip_prefix *p, char out[IP_TEXT_MAX]) {
    ip_addr_format(&p->addr, out);
    size_t n = strlen(out);
    snprintf(out + n, IP_TEXT_MAX - n, "/%u", p->len);
    return out;
}

struct ip_addr ip4(uint32_t v) {
    return (struct ip_addr){
        .family = 4,
        .bytes = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}};
}

uint32_t ip4_value(const struct ip_addr *a) {
    return (uint32_t)a->bytes[0] << 24 | (uint32_t)a->bytes[1] << 16 | (uint32_t)a->bytes[2] << 8 |
           a->bytes[3];
}

struct ip_prefix ip4_prefix(uint32_t v, unsigned len) {
    return (struct ip_prefix){.addr = ip4(v), .len = (uint8_t)len};
}

int ip_addr_cmp(const struct ip_addr *a, const struct ip_addr *b) {
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

int ip_prefix_cmp(const struct ip_prefix *a, const struct ip_prefix *b) {
    int c = ip_addr_cmp(&a->addr, &b->addr);
    return c != 0 ? c : (int)a->len - (int)b->len;
}

bool ip_prefix_eq(const struct ip_prefix *a, const struct ip_prefix *b) {
    return ip_prefix_cmp(a, b) == 0;
}

static bool same_bits(const struct ip_addr *a, const struct ip_addr *b, unsigned n) {
    if (memcmp(a->bytes, b->bytes, n / 8) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff00U >> (n % 8));
    return n % 8 == 0 || ((a->bytes[n / 8] ^ b->bytes[n / 8]) & mask) == 0;
}

bool ip_prefix_has_addr(const struct ip_prefix *p, const struct ip_addr *a) {
    return p->addr.family == a->family && same_bits(&p->addr, a, p->len);
}

bool ip_prefix_contains(const struct ip_prefix *outer, const struct ip_prefix *inner) {
    return outer->len <= inner->len && ip_prefix_has_addr(outer, &inner->addr);
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b) {
    return ip_prefix_contains(a, b) || ip_prefix_contains(b, a);
}

bool ip_bit(const struct ip_addr *a, unsigned i) {
    return a->bytes[i / 8] >> (7 - i % 8) & 1;
}

void ip_set_bit(struct ip_addr *a, unsigned i, bool v) {
    uint8_t m = (uint8_t)(0x80U >> (i % 8));
    a->bytes[i / 8] = (uint8_t)(v ? a->bytes[i / 8] | m : a->bytes[i / 8] & ~m);
}

bool ip_prefix_aligned(const struct ip_prefix *p) {
    unsigned bits = ip_bits(p->addr.family);
    if (p->len > bits) {
        return false;
    }
    for (unsigned i = p->len; i < bits; i++) {
        if (ip_bit(&p->addr, i)) {
            return false;
        }
    }
    return true;
}

struct ip_addr ip_prefix_last(const struct ip_prefix *p) {
    struct ip_addr a = p->addr;
    for (unsigned i = p->len; i < ip_bits(a.family); i++) {
        ip_set_bit(&a, i, true);
    }
    return a;
}

uint64_t ip_prefix_total(const struct ip_prefix *p) {
    unsigned host = ip_bits(p->addr.family) - p->len;
    return host >= 64 ? UINT64_MAX : UINT64_C(1) << host;
}

uint64_t ip_prefix_usable(const struct ip_prefix *p) {
    uint64_t total = ip_prefix_total(p);
    if (p->addr.family == 6) {
        return total;
    }
    return total > 2 ? total - 2 : 0;
}

struct ip_prefix ip_prefix_of(const struct ip_addr *a, unsigned len) {
    struct ip_prefix p = {.addr = *a, .len = (uint8_t)len};
    for (unsigned i = len; i < ip_bits(a->family); i++) {
        ip_set_bit(&p.addr, i, false);
    }
    return p;
}

bool ip_prefix_before(const struct ip_prefix *p, struct ip_prefix *out) {
    unsigned bits = ip_bits(p->addr.family);
    *out = (struct ip_prefix){.addr = p->addr, .len = (uint8_t)bits};
    for (size_t i = bits / 8; i-- > 0;) { /* less one: borrow from the byte before */
        if (out->addr.bytes[i]-- != 0) {
            return true;
        }
    }
    return false;
}

uint64_t ip_prefix_parts(const struct ip_prefix *p, unsigned unit) {
    if (p->len > unit) {
        return 0;
    }
    return unit - p->len >= 64 ? UINT64_MAX : UINT64_C(1) << (unit - p->len);
}

uint64_t ip_count_add(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
