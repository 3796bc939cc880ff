// SPDX-License-Identifier: Apache-2.0
/* YANG Patch documents (RFC 8072), JSON and XML, taken apart. Pure; fuzzed. */
#ifndef NORTH_RESTCONF_YANG_PATCH_H
#define NORTH_RESTCONF_YANG_PATCH_H

#include "base/err.h"
#include "base/mem.h"
#include "model/model.h"

enum { YANG_PATCH_EDITS_MAX = 65536 };

enum patch_op {
    PATCH_CREATE,
    PATCH_DELETE,
    PATCH_INSERT,
    PATCH_MERGE,
    PATCH_MOVE,
    PATCH_REPLACE,
    PATCH_REMOVE
};

struct patch_edit {
    const char *id;
    enum patch_op op;
    const char *target;     /* below the resource, begins with "/" */
    const char *point;      /* NULL: none */
    enum edit_insert where; /* insert and move; INSERT_NONE otherwise */
    const char *value;      /* the target with its new content, in the patch's format; or NULL */
    size_t value_len;
};

struct yang_patch {
    const char *id;
    const char *comment; /* NULL: none */
    struct patch_edit *edits;
    size_t n_edits;
};

/* Everything lives in the arena. Errors name the edit where there is one. */
enum err_code yang_patch_parse(const char *body, size_t len, enum model_format format,
                               struct arena *a, struct yang_patch *out, struct err *e);

#endif
