// SPDX-License-Identifier: Apache-2.0
/*
 * One Kea server: brings it in line with the engine's pools over its control channel, counts
 * leases, and keeps its configuration file so that it comes up equal after a restart. What that
 * means for the pools is said by dhcp.h, which knows all servers of a family.
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
#include "bng/pair.h"
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

struct kea_host {
    void (*looked)(void *arg);  /* it is known anew what the server is and has */
    void (*counted)(void *arg); /* its leases were counted: kea_used */
    void (*poke)(void *arg);    /* something was told to the engine */
    /* May its configuration be set now? Asked again until then. */
    bool (*turn)(void *arg, const struct kea *k);
    /* It has started anew with its configuration: has it been alone before, and is still? */
    bool (*alone)(void *arg, const struct kea *k);
    void (*errand_done)(void *arg, const struct kea *k, const char *command, bool good);
    void *arg;
};

/* `family` 4: server `which` of c->kea, 6: of c->kea6; the pools of that family. ERR_IO...: the
 * files of its TLS. */
enum err_code kea_new(struct loop *l, const struct bng_config *c, unsigned family, size_t which,
                      struct bng_engine *e, const struct kea_host *host, struct kea **out,
                      struct err *err);
/* Only looks once at what could be adopted, then calls `poke`. Right after kea_new. */
void kea_report(struct kea *k);
void kea_free(struct kea *k);
void kea_changed(struct kea *k, bool urgent); /* the engine's pools changed */
/* Looks at it in short intervals, while a change of the pair is on its way. */
void kea_hurry(struct kea *k, bool hurry);
/* Sends it a command without arguments as soon as it is free; one at a time, false: there is one. A
 * constant string. */
bool kea_errand(struct kea *k, const char *command);
void kea_reload(struct kea *k); /* reads its certificates again */
const struct kea_stats *kea_stats(const struct kea *k);
const struct pair_member *kea_member(const struct kea *k);
const struct bng_kea_server *kea_server(const struct kea *k);
/* Leases in the subnet at the last count, and how many it has given since it started; false: not
 * counted since it was last set, lost or restarted, or it does not know the subnet. */
bool kea_used(const struct kea *k, uint32_t subnet_id, uint64_t *used, uint64_t *cumulative);
/* Subnets of the operator's as last seen; for the adoption report. */
const struct bng_foreign *kea_foreign(const struct kea *k, size_t *n);

#endif
