// SPDX-License-Identifier: Apache-2.0
/*
 * A JSON file that people write, read member by member: each member is taken once with its type and
 * bounds, and what is left over in the end is unknown. The first failure counts; its path is that
 * of the member ("/tls/key"), and later calls do no harm.
 */
#ifndef NET_JSON_IN_H
#define NET_JSON_IN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* An object under inspection. */
struct json_in {
    json_t *o;
    char path[ERR_PATH_MAX];
    struct err *err;
    enum err_code rc; /* the first failure */
};

/* Parses a whole text: one object, no duplicate members. `file` is for errors. The root is ended
 * with json_in_end, which says what came of all. ERR_MALFORMED with line and column; then there is
 * nothing to end. */
enum err_code json_in_begin(const char *text, size_t n, const char *file, struct json_in *root,
                            struct err *err);
enum err_code json_in_end(struct json_in *root, const char *file);

/* Notes a failure of a member ("" the object itself), if it is the first. */
void json_in_fail(struct json_in *x, enum err_code code, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Takes a member; the caller owns it. NULL: it is not there (a failure when `needed`). */
json_t *json_in_take(struct json_in *x, const char *key, bool needed);
/* A string of `min` to size - 1 bytes without control characters; `out` stays when it is absent. */
void json_in_str(struct json_in *x, const char *key, bool needed, size_t min, char *out,
                 size_t size);
uint64_t json_in_int(struct json_in *x, const char *key, uint64_t fallback, uint64_t min,
                     uint64_t max);
bool json_in_bool(struct json_in *x, const char *key, bool fallback);
/* A list of `min` to `max` elements; the caller owns it. */
json_t *json_in_list(struct json_in *x, const char *key, bool needed, size_t min, size_t max);
/* Opens a member that is an object, or element i of a list; true: it is one. To be ended with
 * json_in_done in either case of the second, and when true of the first. */
bool json_in_object(struct json_in *x, const char *key, bool needed, struct json_in *out);
bool json_in_element(struct json_in *x, const char *key, json_t *list, size_t i,
                     struct json_in *out);
/* What was not taken is unknown; the failure goes up to `parent`. */
void json_in_done(struct json_in *parent, struct json_in *x);

#endif
