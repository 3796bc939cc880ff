// SPDX-License-Identifier: Apache-2.0
/*
 * Small files that must survive: keys, certificates, passwords. What these return from is there
 * after a loss of power, whole: the contents are synced, and so is the folder that names them.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Adds the whole file to `out`. ERR_ABSENT: there is none; ERR_TOO_BIG: more than `max` bytes, also
 * of one that has no size of its own; ERR_IO. Errors have the path; `out` then has what it had. */
enum err_code file_read(const char *path, size_t max, struct buf *out, struct err *e);

/* Writes beside the file ("PATH.new"), syncs, renames, syncs the folder: at any time the file is
 * whole, or the former one. `mode` as for open, without the umask's bits. ERR_IO and ERR_LIMIT
 * (no room) with the path and the system's reason; then nothing was replaced. */
enum err_code file_write(const char *path, const void *p, size_t n, mode_t mode, struct err *e);
/* Makes the folder where it is not there; durable when it returns. */
enum err_code file_make_folder(const char *path, mode_t mode, struct err *e);
/* Syncs the folder that `path` lies in: what was made, renamed or removed there stays so. */
enum err_code file_sync_folder_of(const char *path, struct err *e);

#endif
