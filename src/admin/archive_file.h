// SPDX-License-Identifier: Apache-2.0
/* Files of an archive: their names (APM-143) and what is in them. No I/O. */
#ifndef ADMIN_ARCHIVE_FILE_H
#define ADMIN_ARCHIVE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/core.h"

#define ARCHIVE_SOURCE_NAME "weft.conf"

enum { ARCHIVE_NAME_MAX = 128 };

struct archive_naming {
    bool retain;        /* the source's own name */
    const char *prefix; /* otherwise it begins with this */
    int64_t time_s;     /* ... and this, UTC */
    unsigned twin;      /* commits of the same second before this one: they share no name */
};
/* "weft.conf.gz", "weft.conf.3.gz", "apm_20261127_161000_weft.conf.gz"; `rollback` 0: the
 * configuration itself. */
void archive_name(const struct archive_naming *n, unsigned rollback, char out[ARCHIVE_NAME_MAX]);

/* The configuration `s`, as `show configuration` prints it for an administrator, after a line about
 * the commit. `secrets`: in clear; otherwise masked. */
enum err_code archive_text(const struct model *m, const struct snap *s,
                           const struct commit_info *commit, bool secrets, struct buf *out,
                           struct err *e);
/* The same, masked, in gzip's format (RFC 1952). The same input gives the same bytes. */
enum err_code archive_content(const struct model *m, const struct snap *s,
                              const struct commit_info *commit, struct buf *out, struct err *e);
/* Adds `n` bytes in gzip's format. */
enum err_code archive_gzip(const void *p, size_t n, struct buf *out, struct err *e);

#endif
