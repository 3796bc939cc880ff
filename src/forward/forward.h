// SPDX-License-Identifier: Apache-2.0
/* Events to other systems, as a service of core (state "forward/", module weft-forward). */
#ifndef FORWARD_FORWARD_H
#define FORWARD_FORWARD_H

#include "core/service.h"

extern const struct service forward_service;

#endif
