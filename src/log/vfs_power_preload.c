// SPDX-License-Identifier: Apache-2.0
/* Makes the power VFS the default of whatever program this library is preloaded into. */
#include <stdlib.h>

#include "log/vfs_power.h"

static void __attribute__((constructor)) install(void) {
    const char *seed = getenv("WEFT_POWER_SEED"), *early = getenv("WEFT_POWER_EARLY");
    vfs_power_register(true);
    vfs_power_fault_file(getenv("WEFT_POWER_FAULTS"));
    vfs_power_seed(seed ? strtoull(seed, NULL, 10) : 1, early ? (unsigned)atoi(early) : 0);
}
