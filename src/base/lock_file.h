// SPDX-License-Identifier: Apache-2.0
/* Files that say "somebody is here". A lock belongs to the open file, so it also keeps two users in
 * one process apart, and it goes with the process, however that ends. */
#ifndef BASE_LOCK_FILE_H
#define BASE_LOCK_FILE_H

#include "base/err.h"

enum { LOCK_HOLDER_MAX = 32 };

/* Opens or makes `path` (mode 0600) and locks it until *fd is closed. ERR_LOCKED: somebody has it,
 * and `holder` is the id of that process, or "unknown"; the text is the caller's to improve.
 * ERR_IO, ERR_LIMIT. *fd is -1 after an error. */
enum err_code lock_file(const char *path, int *fd, char holder[LOCK_HOLDER_MAX], struct err *e);

#endif
