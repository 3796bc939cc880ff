// SPDX-License-Identifier: Apache-2.0
/*
 * What simulations and tests of pools stand on: a real core, unthreaded, on a real log and a fake
 * clock, with the system and pools services; configuration by edits, rpcs by words.
 */
#ifndef SIM_RIG_H
#define SIM_RIG_H

#include "base/clock.h"
#include "core/core.h"
#include "pools/internal.h"

struct rig {
    struct clock clock;
    struct core *core;
    struct pools *pools;
    char folder[64];
    unsigned generation; /* of the store: +1 with each crash */
    struct buf before;   /* rig_dump at the crash; empty: not compared */
    const char *store;   /* of a node: the URL that it shares with others; NULL: its own files */
    const char *node;
    bool halted; /* paused: rig_step and rig_pass let nothing run */
};

extern const struct service *rig_more; /* a test's own service beside the others; NULL: none */

/* Fails the test (abort with the reason) when anything goes wrong. */
void rig_open(struct rig *r, int64_t wall_s);
void rig_close(struct rig *r);
/* A node of a store that others have open too; the names stay the caller's. rig_close as ever, and
 * for what follows its two halves: the process ends, and begins anew. */
void rig_open_node(struct rig *r, const char *store, const char *node, int64_t wall_s);
void rig_node_end(struct rig *r);
void rig_node_begin(struct rig *r);
/* An orderly stop and start. */
void rig_restart(struct rig *r);
/* What was not durable is gone, and so is whatever was queued: the store as it is now is opened by
 * a new core. Sessions of the old one are cut first by the caller. */
void rig_crash(struct rig *r);
/* The two halves of it: the store is copied; what the old core does from here on nobody sees; the
 * new core is opened on the copy. */
void rig_crash_begin(struct rig *r);
void rig_crash_end(struct rig *r);
/* All durable memory as text. Each crash and restart compares: what was changed step by step must
 * be what is folded anew. */
void rig_dump(const struct rig *r, struct buf *out);
/* Lets time pass: timers fire in order, work runs. */
void rig_pass(struct rig *r, int64_t ns);
void rig_step(struct rig *r); /* runs what is queued */
int64_t rig_now(const struct rig *r);
void rig_set_time(struct rig *r, const char *iso); /* forward only */

/* "set ..." in JSON: the object at `path` is replaced by `json`; NULL deletes it. */
enum err_code rig_put(struct rig *r, const char *path, const char *json, bool force, struct err *e);
void rig_must_put(struct rig *r, const char *path, const char *json);
/* Objects of weft-apm. `roots`: {"prefix":"10.0.0.0/8"},...; `more`: further members. */
enum err_code rig_try_partition(struct rig *r, const char *name, unsigned min, unsigned max,
                                const char *roots, bool force, struct err *e);
/* Of IPv6; `delegated` 0: its pools hold single addresses. */
enum err_code rig_try_partition6(struct rig *r, const char *name, unsigned min, unsigned max,
                                 unsigned delegated, const char *roots, bool force, struct err *e);
void rig_partition6(struct rig *r, const char *name, unsigned min, unsigned max, unsigned delegated,
                    const char *roots);
void rig_partition(struct rig *r, const char *name, unsigned min, unsigned max, const char *roots);
enum err_code rig_try_profile(struct rig *r, const char *name, unsigned apportion, unsigned reclaim,
                              const char *more, bool force, struct err *e);
void rig_profile(struct rig *r, const char *name, unsigned apportion, unsigned reclaim,
                 const char *more);
void rig_match(struct rig *r, const char *system_id, const char *profile);
/* The same, dry. `diff` and `targets` may be NULL. */
enum err_code rig_dry_run(struct rig *r, const char *path, const char *json, struct buf *warnings,
                          size_t *targets, struct err *e);
uint64_t rig_last_index(const struct rig *r);
/* An rpc of weft-apm, or of another module that is named: names and values alternate, NULL ends.
 * Text into `text` and JSON into `json` (both may be NULL), all parts joined. */
enum err_code rig_call(struct rig *r, struct buf *text, struct buf *json, struct err *e,
                       const char *rpc, ...) __attribute__((sentinel));
/* State data as JSON; checked to be JSON. */
void rig_look(struct rig *r, const char *path, struct buf *json);
/* The state of the tree against its own invariants and the pools of all domains: each managed pool
 * is allocated to its domain, and nothing else is. */
void rig_verify(struct rig *r);

#endif
