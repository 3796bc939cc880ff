// SPDX-License-Identifier: Apache-2.0
/*
 * The platform of Linux boxes that stand in a stack, and of one by itself: a client of
 * weft-stackd's local socket (stack/message.h). Scripts run here, everything else over there.
 */
#ifndef PHONE_HOME_PLATFORM_LINUX_H
#define PHONE_HOME_PLATFORM_LINUX_H

#include "net/loop.h"
#include "phone-home/platform.h"

struct platform_linux_config {
    const char *socket; /* of weft-stackd */
    const char *state;  /* folder for scripts and their output */
};
/* The strings outlive it. weft-stackd need not run yet: what is asked or ordered meanwhile fails
 * with ERR_UNAVAILABLE, and both events come when it answers. An order that was under way when it
 * ended fails the same way, unless it reboots this member. */
struct platform *platform_linux_new(struct loop *l, const struct platform_linux_config *c,
                                    const struct platform_events *events);

#endif
