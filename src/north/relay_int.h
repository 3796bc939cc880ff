// SPDX-License-Identifier: Apache-2.0
/* Between relay.c, which has the legs, and relay_pass.c, which passes whole requests on. */
#ifndef NORTH_RELAY_INT_H
#define NORTH_RELAY_INT_H

#include "base/list.h"
#include "north/relay.h"

struct relay {
    struct relay_config cfg;
    struct list vias; /* struct via: connections to `to` */
    struct core_leader to;
    bool known;                /* `to` was asked for, and its connections stand */
    struct list legs, passing; /* struct relay_leg; struct run of relay_pass.c */
    size_t n[RELAY_KINDS];
    bool asking; /* a worker asks where the leader is */
    struct loop_timer *look;
    struct loop_deferred start; /* of legs that are new */
};

enum { RELAY_LOOK_MS = 100 };
/* Every RELAY_LOOK_MS or sooner while something is under way. True: it waits for this node to show
 * a commit, so look again soon. */
bool relay_pass_look(struct relay *rl);

#endif
