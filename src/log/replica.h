// SPDX-License-Identifier: Apache-2.0
/*
 * A sqlite store as a copy of a log that is kept elsewhere: what an engine of several nodes reads,
 * folds and starts from. Entries come as they are there, with index, fence and time.
 */
#ifndef LOG_REPLICA_H
#define LOG_REPLICA_H

#include "log/log.h"

/* Appends entries as given; the first must follow the head. `log` is of the sqlite engine, and
 * nobody appends to it otherwise. ERR_CONFLICT: they don't follow. Others as log_append. */
enum err_code log_replica_append(struct log *log, const struct log_entry *entries, size_t n,
                                 struct err *err);

/* Makes the store `path` (which must not exist) from a backup, as log_restore, but as the same log:
 * with the given id, and the fence it had. */
enum err_code log_replica_adopt(const char *backup, const char *path, const uint8_t id[LOG_ID_LEN],
                                struct err *err);

#endif
