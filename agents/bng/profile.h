// SPDX-License-Identifier: Apache-2.0
/*
 * Domain profiles: what the gateway's own configuration says about a domain (spec 3.1), and which
 * addresses of a prefix subscribers can really get. Pure.
 */
#ifndef BNG_PROFILE_H
#define BNG_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

enum {
    BNG_PART_NAME_MAX = 63, /* profile, group, routing instance */
    BNG_DOMAIN_NAME_MAX = 3 * BNG_PART_NAME_MAX + 2,
    BNG_POOL_NAME_MAX = BNG_DOMAIN_NAME_MAX + 32,
    BNG_RELAYS_MAX = 32,
    BNG_RANGES_MAX = 1024, /* a pool that falls into more pieces is refused */
};

struct bng_profile {
    char name[BNG_PART_NAME_MAX + 1];
    char routing_instance[BNG_PART_NAME_MAX + 1];
    char subscriber_group[BNG_PART_NAME_MAX + 1]; /* empty: none */
    char partition[128];
    unsigned family;           /* 4 or 6 */
    unsigned delegated_length; /* of what subscribers get of IPv6; 0: single addresses */
    unsigned preferred_length; /* 8..30; IPv6: 8 to what is delegated, or 126 */
    bool excluded[256];        /* last octets never given to subscribers */
    unsigned gateway_octet;    /* 1..8: the gateway is this far into the prefix; 0: no gateway */
    bool discard;
    uint32_t tag, backup_tag;
    uint32_t hold_down_s;   /* used when the manager names none (APM-086) */
    uint32_t horizon_s;     /* how long what is asked for should last at the set-up rate */
    uint64_t max_apportion; /* largest apportion threshold accepted; 0: what the table holds */
    bool keep_last_pool;    /* the last pool is never offered for reclaiming */
    /* For DHCP. */
    char interface[16];
    struct ip_addr server_address;         /* family 0: none */
    struct ip_addr relays[BNG_RELAYS_MAX]; /* giaddr of relays in front of the gateway */
    size_t n_relays;
    uint32_t lease_s, renew_s, rebind_s;
    char match[256]; /* Kea class expression that clients must meet; empty: all */
    char dns[256];   /* domain-name-servers; empty: none */
};

/* The gateway's own emergency addresses (APM-152). */
struct bng_reserve {
    struct ip_prefix *prefixes;
    size_t n_prefixes;
    uint32_t apportion_delay_s, drain_delay_s;
};

/* "profile[-group]-instance" (APM-031). */
void bng_domain_name(const struct bng_profile *p, char out[BNG_DOMAIN_NAME_MAX + 1]);

/* The shortest and longest prefix that can be a pool of it. */
enum { BNG_POOL_LENGTH_MIN = 8 };
unsigned bng_profile_longest(const struct bng_profile *p);
/* Profiles whose subscribers ask in the same messages: both of IPv6, on one interface, with the
 * same `match`. DHCPv6 asks for an address and a prefix at once, so they share a network in Kea. */
bool bng_profile_together(const struct bng_profile *a, const struct bng_profile *b);

struct bng_range {
    uint32_t first, last; /* host order, inclusive */
};
/* Of IPv4: the addresses subscribers can get: without network, broadcast, gateway and excluded
 * octets. Returns how many ranges there are; at most `cap` are written. */
size_t bng_profile_ranges(const struct bng_profile *p, const struct ip_prefix *prefix,
                          struct bng_range *out, size_t cap);
/* Of IPv6 with single addresses: all but the first, which routers answer to (RFC 4291 2.6.1). */
struct ip_addr bng_profile_first6(const struct ip_prefix *prefix);
/* What subscribers can get of it, addresses or delegated prefixes; saturated. */
uint64_t bng_profile_total(const struct bng_profile *p, const struct ip_prefix *prefix);
/* False when the profile has none or the prefix has no room for it. */
bool bng_profile_gateway(const struct bng_profile *p, const struct ip_prefix *prefix,
                         struct ip_addr *out);

#endif
