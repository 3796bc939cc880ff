// SPDX-License-Identifier: Apache-2.0
/*
 * Bootstrapping of devices that phone home: the service. Its listeners are server.h's.
 */
#ifndef ONBOARD_ONBOARD_H
#define ONBOARD_ONBOARD_H

#include "core/service.h"

extern const struct service onboard_service;

/* Where things are: before core_open. Copied. */
struct onboard_paths {
    char folder[512];               /* "DATA/onboard": "files" in it has what devices are given */
    char ca_cert[512], ca_key[512]; /* the controller's own authority */
    char server_cert[512], server_key[512]; /* what listeners show that have none of their own */
};
void onboard_set_paths(const struct onboard_paths *p);

#endif
