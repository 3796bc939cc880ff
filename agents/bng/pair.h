// SPDX-License-Identifier: Apache-2.0
/*
 * Two Kea servers with the high-availability hook as one: the rules, pure. What each server has and
 * says goes in; what the pair as a whole has, counts and may do comes out. A single server is a
 * pair of one.
 *
 *   to grow    a pool is in use when every server that answers has it. One that is away takes no
 *              part: it is brought in line before it serves.
 *   to shrink  a drain is in force, and a pool gone, when every server has it so, or stands aside:
 *              it certainly does not run, and its configuration holds it in the state `waiting`
 *              when it starts until the agent, which compares it first, lets it go on. One that
 *              can't be reached may run, with what it has, and serve when its partner ends: that
 *              its partner calls it down is enough only where the operator says so.
 *   to count   leases are those of the servers that serve; a pool is empty when no server that
 *              answers has a lease in it. Both know all leases, so nothing is added up.
 *   to change  a server's configuration is set only while its partner serves for it.
 */
#ifndef BNG_PAIR_H
#define BNG_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAIR_MAX = 2 };

enum pair_state { /* of a server, as status-get names it; the order is that of the names */
                  PAIR_NONE, /* no high-availability hook, or not heard of yet */
                  PAIR_WAITING,
                  PAIR_SYNCING,
                  PAIR_READY,
                  PAIR_HOT_STANDBY,
                  PAIR_LOAD_BALANCING,
                  PAIR_COMMUNICATION_RECOVERY,
                  PAIR_PARTNER_DOWN,
                  PAIR_IN_MAINTENANCE,
                  PAIR_PARTNER_IN_MAINTENANCE,
                  PAIR_TERMINATED,
                  PAIR_OTHER,
                  PAIR_STATES
};

struct pair_member {
    bool answers; /* over its control channel */
    bool down;    /* it certainly does not run: nobody listens at its socket */
    bool trusts;  /* the state partner-down of the other is as good */
    bool fenced;  /* starts paused in `waiting`, as its configuration was last seen */
    bool primary;
    bool serves; /* it answers subscribers, as it says */
    enum pair_state state;
    bool in_line; /* it has all that is wanted of it at this moment */
    uint64_t has; /* generation of the engine's pools it certainly has; 0: none is certain */
};

const char *pair_state_name(enum pair_state s);
enum pair_state pair_state_of(const char *name); /* NULL: PAIR_NONE; unknown: PAIR_OTHER */

/* Does a server that can't be asked certainly serve nobody, now and when it comes back? */
bool pair_aside(const struct pair_member *m, size_t n, size_t i);
/* The generation up to which pools count as added, and up to which as drained and removed; 0:
 * none. */
uint64_t pair_added(const struct pair_member *m, size_t n);
uint64_t pair_taken(const struct pair_member *m, size_t n);

/* Leases in a subnet: used[i] of server i, -1 when it has not been counted since its last change.
 * -1: who serves has not been counted. */
int64_t pair_used(const struct pair_member *m, size_t n, const int64_t *used);

enum pair_turn {
    PAIR_WAIT,
    PAIR_GO,        /* its configuration may be set now */
    PAIR_TAKE_OVER, /* after its partner took over its subscribers (ha-maintenance-start) */
};
/* May the configuration of server i be set? `patient`: false once it has waited for too long; then
 * only a partner that is to be changed first holds it up. */
enum pair_turn pair_turn(const struct pair_member *m, size_t n, size_t i, bool patient);

/* For people: who serves. */
const char *pair_word(const struct pair_member *m, size_t n);

#endif
