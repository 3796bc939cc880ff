// SPDX-License-Identifier: Apache-2.0
/* `weftd COMMAND ...`: what is done beside a running controller, or while it is stopped. */
#ifndef WEFTD_MAINTENANCE_H
#define WEFTD_MAINTENANCE_H

#include <stdbool.h>

#include "base/err.h"

/* False: argv[1] is no such command. Otherwise it was carried out and *status is for exit(2). */
bool maintenance(int argc, char **argv, int *status);
/* ERR_UNAVAILABLE: a restore ended between taking the old store away and putting the new one there.
 * To open a new, empty store now would hide that. `store`: its log URL. */
enum err_code maintenance_interrupted(const char *store, struct err *e);
/* ERR_REFUSED: `weftd migrate` has moved what the store holds, and where to. */
enum err_code maintenance_moved(const char *store, struct err *e);

#endif
