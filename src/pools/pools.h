// SPDX-License-Identifier: Apache-2.0
/*
 * The pools service: gives broadband gateways ("entities") IPv4 and IPv6 prefixes from partitions
 * as their subscribers come, and takes them back as subscribers go (spec APM-001..161).
 *
 * The doors: `pools_service` for core (configuration, state, rpcs, look, metrics), pools/apmi.h for
 * sessions of entities. Everything runs on core's writer thread; there is no I/O in here but for
 * apmi_server.c.
 */
#ifndef POOLS_POOLS_H
#define POOLS_POOLS_H

#include "core/service.h"

extern const struct service pools_service;

#endif
