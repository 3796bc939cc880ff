// SPDX-License-Identifier: Apache-2.0
/*
 * The DHCP back end: brings Kea in line with the engine's pools over its control socket, counts
 * leases, and keeps Kea's configuration file so that a restarted Kea comes up equal.
 *
 * Kea has no call to change one subnet. A change is config-get, edit, config-test, config-set; the
 * last reads all leases again and Kea serves nobody meanwhile. So changes are gathered, and after a
 * reload the next one waits: reloads take at most a tenth of the time, adds excepted. Every
 * reload's duration is measured together with the leases there were.
 */
#ifndef BNG_KEA_H
#define BNG_KEA_H

#include "bng/config.h"
#include "bng/keaconf.h"
#include "net/loop.h"

enum { KEA_BUCKETS = 12, KEA_ANSWER_MAX = 256 << 20, KEA_FOREIGN_MAX = 1024 };

extern const double kea_seconds_buckets[KEA_BUCKETS]; /* upper bounds */
extern const double kea_leases_buckets[KEA_BUCKETS];

struct kea_stats {
    bool up;                                       /* Kea answers */
    bool in_line;                                  /* and has what the engine wants */
    int64_t pid;                                   /* of Kea, as it says */
    uint64_t reloads, refused, restarts, failures; /* config-sets; refused ones; Kea's restarts */
    double last_seconds, longest_seconds, total_seconds;
    uint64_t last_leases;
    uint64_t seconds_bucket[KEA_BUCKETS + 1], leases_bucket[KEA_BUCKETS + 1]; /* not cumulated */
    double leases_sum;
    uint64_t leases; /* in the agent's subnets at the last count */
    char error[512]; /* of the last failure, "" after a success */
};

struct kea;

/* `poke` is called after anything was told to the engine. */
/* `family` 4: c->kea, 6: c->kea6; the pools of that family. */
struct kea *kea_new(struct loop *l, const struct bng_config *c, unsigned family,
                    struct bng_engine *e, loop_fn *poke, void *arg);
/* Only looks once at what could be adopted, then calls `poke`. Right after kea_new. */
void kea_report(struct kea *k);
void kea_free(struct kea *k);
void kea_changed(struct kea *k, bool urgent); /* the engine's pools changed */
const struct kea_stats *kea_stats(const struct kea *k);
/* Subnets of the operator's as last seen; for the adoption report. */
const struct bng_foreign *kea_foreign(const struct kea *k, size_t *n);

#endif
