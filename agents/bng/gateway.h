// SPDX-License-Identifier: Apache-2.0
/*
 * What the kernel needs for a pool: its gateway address on the subscriber interface and the way to
 * its subscribers. The gateway is a /32, and the prefix goes to the interface in two halves: a
 * connected route for the whole prefix would beat the discard route in FRR, which is what is
 * announced. IPv6 has no gateway addresses, as routers announce themselves; pools of single
 * addresses get the same two routes, delegated prefixes none: they lie behind the subscribers' own
 * routers. Everything made here carries the protocol number GATEWAY_PROTO, so what is left of an
 * earlier run is recognised and nothing else is touched.
 */
#ifndef BNG_GATEWAY_H
#define BNG_GATEWAY_H

#include "bng/engine.h"

enum { GATEWAY_PROTO = 201 };

/* Makes the kernel's state equal to what the engine's pools want. Blocks for the netlink answers
 * only (microseconds each). ERR_IO, ERR_ABSENT (no such interface): the first failure; the rest is
 * done. *changes (may be NULL): how many additions and removals were made. */
enum err_code gateway_sync(const struct bng_engine *e, unsigned *changes, struct err *err);

#endif
