// SPDX-License-Identifier: Apache-2.0
/*
 * One box whose owner wrote a program for each order (docs/phone-home-client.md): install IMAGE
 * VERSION, reboot, apply FILE merge|replace, confirm, rollback, zeroize, in one folder. Their exit
 * status says whether it was done; what they print is in the log when it was not.
 */
#ifndef PHONE_HOME_PLATFORM_HOOKS_H
#define PHONE_HOME_PLATFORM_HOOKS_H

#include "net/loop.h"
#include "phone-home/config.h"
#include "phone-home/platform.h"

/* `c` outlives it; scripts and configurations are written below its state folder. */
struct platform *platform_hooks_new(struct loop *l, const struct phone_home_config *c,
                                    const struct platform_events *events);

#endif
