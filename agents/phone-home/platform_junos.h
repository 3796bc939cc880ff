// SPDX-License-Identifier: Apache-2.0
/*
 * A Junos device, standalone or a virtual chassis: operational RPCs and the candidate configuration
 * over a NETCONF session with the device itself (docs/phone-home-client.md). Written from published
 * descriptions of the Junos XML API and not yet tried on hardware.
 */
#ifndef PHONE_HOME_PLATFORM_JUNOS_H
#define PHONE_HOME_PLATFORM_JUNOS_H

#include "net/loop.h"
#include "phone-home/config.h"
#include "phone-home/platform.h"

/* `c` and `state` (folder for scripts and handed-over records) outlive it. What is asked before the
 * device has told who it is fails with ERR_UNAVAILABLE; both events come when it has. */
struct platform *platform_junos_new(struct loop *l, const struct junos_config *c, const char *state,
                                    const struct platform_events *events);

#endif
