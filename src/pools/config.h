// SPDX-License-Identifier: Apache-2.0
/* Between config.c and config_check.c: documents as the service's own structs. */
#ifndef POOLS_CONFIG_H
#define POOLS_CONFIG_H

#include "core/object.h"
#include "pools/internal.h"

struct partition_cfg *partition_cfg_of(const struct object *o); /* partition_cfg_free */
void profile_of(const struct object *o, struct profile *out);   /* name is borrowed */

#endif
