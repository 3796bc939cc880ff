// SPDX-License-Identifier: Apache-2.0
/*
 * Removable storage as a source of bootstrapping data (RFC 8572 section 4.1, PH-163). Whoever made
 * the medium is a stranger: nothing outside of it is ever opened by a name that it gives, no link
 * is followed, only regular files of bounded size are read.
 *
 * Looked for on each mount point, the first that has conveyed information wins there:
 *   <serial>/  <serial>/bootstrapping-data/  <vendor>/<serial>/[bootstrapping-data/]
 *   bootstrapping-data/  sztp/  the top itself
 * conveyed-information.cms, owner-certificate.cms, ownership-voucher.vcj or .cms; in the folders
 * that do not name a serial number, files may begin with one: <serial>-conveyed-information.cms.
 */
#ifndef PHONE_HOME_STORAGE_H
#define PHONE_HOME_STORAGE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/conveyed.h"

enum { STORAGE_MOUNTS_MAX = 8, STORAGE_PATH_MAX = 255, STORAGE_VENDORS_MAX = 64 };

struct storage {
    char mounts[STORAGE_MOUNTS_MAX][STORAGE_PATH_MAX + 1]; /* absolute */
    size_t n_mounts;
};

struct storage_set {
    struct buf ci, owner, voucher; /* the last two empty when they are not there */
    char path[SZTP_URI_MAX + 1];   /* of the folder */
};
void storage_set_free(struct storage_set *s);

/* The set on the mount point of that number (0 .. n_mounts - 1). ERR_ABSENT: none; ERR_INVALID,
 * ERR_TOO_BIG, ERR_IO: there is one that can't be used, with path and reason. */
enum err_code storage_read(const struct storage *s, size_t mount, const char *serial,
                           struct storage_set *out, struct err *e);

/* Opens what a file: URI names (PH-163): a path below one of the mount points, or one as producers
 * of media write it, from the medium's top, with or without the name that a device gives it
 * ("file:///disk2:/EN9/..."). ERR_ABSENT, ERR_INVALID. */
enum err_code storage_open_uri(const struct storage *s, const char *uri, int *fd, struct err *e);

#endif
