// SPDX-License-Identifier: Apache-2.0
/* The service `admin`: archival of the configuration. weftd lists it after the jobs. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "core/service.h"

extern const struct service admin_service;

#endif
