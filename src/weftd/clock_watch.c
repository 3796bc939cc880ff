// SPDX-License-Identifier: Apache-2.0
#include "weftd/clock_watch.h"

#include "base/clock.h"

void clock_watch_init(struct clock_watch *w, int64_t wall_ns, int64_t mono_ns) {
    w->offset_ns = wall_ns - mono_ns;
}

int64_t clock_watch_look(struct clock_watch *w, int64_t wall_ns, int64_t mono_ns) {
    int64_t now = wall_ns - mono_ns, moved = now - w->offset_ns;
    w->offset_ns = now;
    bool jumped = moved >= CLOCK_WATCH_JUMP_S * NS_PER_S || moved <= -CLOCK_WATCH_JUMP_S * NS_PER_S;
    return jumped ? moved / NS_PER_S : 0;
}
