// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses and prefixes of both families. Bytes are in network order; an IPv4 address takes the
 * first four. Text is parsed strictly: canonical decimal octets, no leading zeroes, no host bits.
 */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ip_addr {
    uint8_t family;    /* 4, 6; 0: none */
    uint8_t bytes[16]; /* network order; unused bytes are zero */
};

struct ip_prefix {
    struct ip_addr addr;
    uint8_t len; /* 0..32 or 0..128 */
};

enum { IP_TEXT_MAX = 64 };

enum err_code ip_addr_parse(const char *s, struct ip_addr *out, struct err *e);
/* Refuses host bits below the length (APM-017), with the prefix that was probably meant. */
enum err_code ip_prefix_parse(const char *s, struct ip_prefix *out, struct err *e);
char *ip_addr_format(const struct ip_addr *a, char out[IP_TEXT_MAX]);
char *ip_prefix_format(const struct ip_prefix *p, char out[IP_TEXT_MAX]);

struct ip_addr ip4(uint32_t host_order);
uint32_t ip4_value(const struct ip_addr *a); /* host order */
struct ip_prefix ip4_prefix(uint32_t host_order, unsigned len);
unsigned ip_bits(unsigned family); /* 32 or 128 */

int ip_addr_cmp(const struct ip_addr *a, const struct ip_addr *b);
/* Orders by family, address, then shorter first. */
int ip_prefix_cmp(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_eq(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_contains(const struct ip_prefix *outer,
                        const struct ip_prefix *inner); /* or equal */
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_has_addr(const struct ip_prefix *p, const struct ip_addr *a);
bool ip_bit(const struct ip_addr *a, unsigned i); /* i counts from the most significant, 0.. */
void ip_set_bit(struct ip_addr *a, unsigned i, bool v);
bool ip_prefix_aligned(const struct ip_prefix *p); /* length in range, no host bits */
struct ip_addr ip_prefix_last(const struct ip_prefix *p);
/* The prefix of length `len` (0..bits of the family) that `a` lies in. */
struct ip_prefix ip_prefix_of(const struct ip_addr *a, unsigned len);
/* The single address just before the first one of `p`; false: there is none. */
bool ip_prefix_before(const struct ip_prefix *p, struct ip_prefix *out);

/* Usable addresses as planning counts them (APM-023): 2^(32-len)-2; IPv6: 2^(128-len), saturated.
 */
uint64_t ip_prefix_usable(const struct ip_prefix *p);
uint64_t ip_prefix_total(const struct ip_prefix *p); /* 2^(bits-len), saturated at UINT64_MAX */
/* Prefixes of length `unit` (0..128) in `p`, saturated; 0 when `p` is longer than that. */
uint64_t ip_prefix_parts(const struct ip_prefix *p, unsigned unit);
/* a + b, or UINT64_MAX when that is more than 64 bits hold. */
uint64_t ip_count_add(uint64_t a, uint64_t b);

#endif
