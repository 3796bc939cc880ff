// SPDX-License-Identifier: Apache-2.0
/* The service `admin`: maintenance, archival and saving of the configuration. weftd lists it after
 * the jobs. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "core/service.h"

/* Where `request system save-config NAME` puts files; before core_open. */
void admin_set_config_folder(const char *path);

/* Where `request system support-bundle NAME` puts files; before core_open. */
void admin_set_support_folder(const char *path);

extern const struct service admin_service;

#endif
