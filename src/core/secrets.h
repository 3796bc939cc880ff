// SPDX-License-Identifier: Apache-2.0
/*
 * Secrets at rest: documents of kinds that hold a secret are sealed (AES-256-GCM) before they go
 * into the log, with a key that is kept beside the store and not in it, so a copy or a backup of
 * the store alone gives nothing away. The key is the process's: read once, before core_open, never
 * changed.
 */
#ifndef CORE_SECRETS_H
#define CORE_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Reads the key file (32 bytes), making it (0600, synced) when it is not there and `create`. */
enum err_code secrets_load(const char *file, bool create, struct err *e);
/* False: there is no key, and secrets are stored in clear (tests and tools only). */
bool secrets_ready(void);
/* Appends the sealed form; `context` is bound to it (a record moved elsewhere does not open). */
void secrets_seal(const char *context, const void *p, size_t n, struct buf *out);
/* ERR_UNAVAILABLE: no key was loaded. ERR_MALFORMED: another key, or damage. */
enum err_code secrets_open(const char *context, struct cur sealed, struct buf *out, struct err *e);

#endif
