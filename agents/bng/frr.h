// SPDX-License-Identifier: Apache-2.0
/*
 * The routing back end: a discard (blackhole) static route with its tag in FRR for every pool whose
 * profile wants one (APM-151), the gateway's addresses and routes in the kernel (gateway.h). FRR is
 * spoken to through vtysh; what it has is read back before anything is confirmed, and looked at
 * regularly, so a restarted FRR gets its routes again. A draining pool's route carries the backup
 * tag, so that route-maps can announce it with less preference.
 *
 * The agent owns the blackhole routes that carry one of the profiles' tags.
 */
#ifndef BNG_FRR_H
#define BNG_FRR_H

#include "bng/config.h"
#include "net/loop.h"

struct frr_stats {
    bool up, in_line;
    uint64_t runs, changes, failures;
    size_t routes; /* of ours, as read back */
    char error[512];
};

struct bng_route {
    struct ip_prefix prefix;
    uint32_t tag;
};

/* Blackhole routes with a tag in the text of "show running-config staticd". Returns how many; at
 * most cap are written. *complete: the text is a whole configuration. Pure. */
size_t frr_parse(const char *text, struct bng_route *out, size_t cap, bool *complete);

struct frr;
struct frr *frr_new(struct loop *l, const struct bng_config *c, struct bng_engine *e, loop_fn *poke,
                    void *arg);
void frr_free(struct frr *f);
void frr_changed(struct frr *f);
const struct frr_stats *frr_stats(const struct frr *f);

#endif
