// SPDX-License-Identifier: Apache-2.0
/*
 * Images of a member: a tar archive (ustar) of folders and files with `manifest.json` in its root:
 *   {"name": "...", "os-name": "...", "os-version": "...", "files": {"init": "<sha256 in hex>",
 * ...}} `files` has every other file with its digest. Optional programs in the root: `init` (brings
 * the image up), `hook` (applies configurations), `weft-stackd` (runs instead of the one that is
 * installed).
 */
#ifndef PHONE_HOME_STACK_IMAGE_H
#define PHONE_HOME_STACK_IMAGE_H

#include "phone-home/stack/wire.h"

enum { IMAGE_FILES_MAX = 4096, IMAGE_NAME_MAX = 200 };
#define IMAGE_UNPACKED_MAX (UINT64_C(8) << 30)

struct image_manifest {
    char name[101];
    stack_text os_name, os_version;
};

/* Unpacks the archive `fd` into `folder`, which must not be there and is made, and checks it whole;
 * durable when it returns. `version`: the one it must be of; NULL: any. `digest` of the archive;
 * NULL: not checked. On an error the folder is removed. The error's path is the archive's member.
 * Takes as long as the archive is big. */
enum err_code image_unpack(int fd, const char *folder, const char *version, const uint8_t *digest,
                           struct image_manifest *out, struct err *e);
/* Of an unpacked image. ERR_ABSENT: there is none. */
enum err_code image_manifest_load(const char *folder, struct image_manifest *out, struct err *e);
/* Removes a folder with all that is in it; nothing when it is not there. */
enum err_code image_remove(const char *folder, struct err *e);
/* Removes what is in a folder, except the names in `keep` (NULL after the last; may be NULL). */
enum err_code image_empty(const char *folder, const char *const *keep, struct err *e);

#endif
