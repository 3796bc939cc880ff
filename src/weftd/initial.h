// SPDX-License-Identifier: Apache-2.0
/* The initial configuration of a new store (APM-140): a file in any form that `load merge` takes.
 */
#ifndef WEFTD_INITIAL_H
#define WEFTD_INITIAL_H

#include "north/cli/cli.h"

/* Commits what is in `file`, where nobody has committed anything yet; otherwise nothing is done.
 * An error names the file and, where there is one, the line. */
enum err_code initial_config(struct core *core, struct cli *cli, const char *file, struct err *e);

#endif
