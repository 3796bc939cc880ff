// SPDX-License-Identifier: Apache-2.0
/*
 * Kea's configuration as documents: what the agent owns in it, made from the wanted pools; what it
 * leaves alone; what could be adopted. Pure.
 *
 * For DHCPv4 (Dhcp4, subnet4) and DHCPv6 (Dhcp6, subnet6): which of them, the configuration itself
 * says. A pool of delegated prefixes is a subnet6 with one pd-pool and no addresses.
 *
 * The agent owns the shared networks named "weft-DOMAIN", the client classes named "weft-...", and
 * of an interface with a server address its entry in interfaces-config. Everything else belongs to
 * the operator and goes through unchanged.
 */
#ifndef BNG_KEACONF_H
#define BNG_KEACONF_H

#include <jansson.h>

#include "bng/profile.h"

struct bng_subnet {
    uint32_t id;
    struct ip_prefix prefix;
    bool drain;
    const struct bng_profile *profile;
    const struct bng_profile *network;    /* whose domain its shared network is called after */
    char domain[BNG_DOMAIN_NAME_MAX + 1]; /* of that one */
};

/* The operator's part of `config` (as config-get gives it) with the wanted subnets put in; a new
 * reference. NULL: the subnet `*culprit` can't be had, `err` says why. */
json_t *bng_keaconf_build(const json_t *config, const struct bng_profile *profiles,
                          size_t n_profiles, const struct bng_subnet *subnets, size_t n,
                          size_t *culprit, struct err *err);

/* Does the configuration hold exactly these subnets in the agent's part? Then nothing needs to be
 * set, and Kea does not have to read all its leases again. */
bool bng_keaconf_same(const json_t *config, const struct bng_subnet *subnets, size_t n);

/* Ids of the agent's subnets in a configuration. Returns how many; at most cap are written. */
size_t bng_keaconf_ids(const json_t *config, uint32_t *out, size_t cap);

/* Subnets that are not the agent's, and what would become of them. */
struct bng_foreign {
    uint32_t id;
    struct ip_prefix prefix;
    char text[IP_TEXT_MAX];
    char domain[BNG_DOMAIN_NAME_MAX + 1]; /* empty: can't be adopted */
    char why[160];                        /* then the reason */
};
size_t bng_keaconf_foreign(const json_t *config, const struct bng_profile *profiles,
                           size_t n_profiles, struct bng_foreign *out, size_t cap);
/* Takes the subnet out of the operator's part, because it becomes a pool. In place. */
void bng_keaconf_take(json_t *config, uint32_t subnet_id);

/* Rows of stat-lease4-get or stat-lease6-get: calls `each` for every subnet. False: not such an
 * answer. */
bool bng_keaconf_stats(const json_t *answer,
                       void (*each)(uint32_t subnet_id, uint64_t used, uint64_t cumulative,
                                    void *arg),
                       void *arg);

#endif
