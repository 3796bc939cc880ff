// SPDX-License-Identifier: Apache-2.0
/*
 * The one error type.
 *
 * A function that can fail returns an `enum err_code` (0 = success) and takes a `struct err *` as
 * its last parameter, which it fills in only on failure. `path` names the place in the input (an
 * instance path such as /apm:apm/inet-pool/partition=a, a file name, a line), `text` is one
 * sentence for a person. Dialects map `code` to their own error tags; texts go out unchanged. The
 * struct is flat so that it can live on the stack, be copied by assignment and cross threads.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

/* X(name, text for people, RESTCONF/NETCONF error-tag of RFC 8040 section 7, HTTP status) */
#define ERR_CODES(X)                                                                               \
    X(OK, "ok", "ok", 200)                                                                         \
    X(MALFORMED, "malformed", "malformed-message", 400)                                            \
    X(INVALID, "invalid value", "invalid-value", 400)                                              \
    X(UNKNOWN, "unknown element", "unknown-element", 400)                                          \
    X(NAMESPACE, "unknown namespace", "unknown-namespace", 400)                                    \
    X(ATTRIBUTE, "unknown attribute", "unknown-attribute", 400)                                    \
    X(BAD_ATTRIBUTE, "bad attribute", "bad-attribute", 400)                                        \
    X(ELEMENT, "element out of place", "bad-element", 400)                                         \
    X(MISSING, "missing element", "missing-element", 400)                                          \
    X(TOO_BIG, "too big", "too-big", 413)                                                          \
    X(REFERENCE, "dangling reference", "data-missing", 409)                                        \
    X(INCOMPLETE, "incomplete", "data-missing", 409)                                               \
    X(CONSTRAINT, "constraint violated", "operation-failed", 412)                                  \
    X(EXISTS, "exists already", "data-exists", 409)                                                \
    X(ABSENT, "does not exist", "invalid-value", 404)                                              \
    X(CONFLICT, "changed meanwhile", "operation-failed", 412)                                      \
    X(LOCKED, "locked", "lock-denied", 409)                                                        \
    X(IN_USE, "in use", "in-use", 409)                                                             \
    X(AUTH, "not authenticated", "access-denied", 401)                                             \
    X(DENIED, "no right", "access-denied", 403)                                                    \
    X(METHOD, "not allowed here", "operation-not-supported", 405)                                  \
    X(UNSUPPORTED, "not supported", "operation-not-supported", 501)                                \
    X(REFUSED, "refused", "operation-failed", 412)                                                 \
    X(LIMIT, "limit reached", "resource-denied", 409)                                              \
    X(UNAVAILABLE, "not available now", "operation-failed", 503)                                   \
    X(TIMEOUT, "timed out", "operation-failed", 504)                                               \
    X(IO, "input/output error", "operation-failed", 500)                                           \
    X(INTERNAL, "internal error", "operation-failed", 500)

enum err_code {
#define X(name, text, tag, http) ERR_##name,
    ERR_CODES(X)
#undef X
};

#define ERR_PATH_MAX    512
#define ERR_TEXT_MAX    768
#define ERR_APP_TAG_MAX 64
#define ERR_INFO_MAX    128

struct err {
    enum err_code code;
    char path[ERR_PATH_MAX]; /* may be empty */
    char text[ERR_TEXT_MAX];
    char app_tag[ERR_APP_TAG_MAX]; /* error-app-tag: that of RFC 7950 section 15, or the one that
                                      the model gives a constraint; may be empty */
    char info[ERR_INFO_MAX];       /* "data-not-unique": the leaves, relative to `path`, with blanks
                                      between; "missing-choice": the choice's name */
    bool rail;                     /* a guard rail: with `force` it would be done */
};

/* Fills `e` (NULL is allowed and ignored) and returns `code`, so that `return err_set(...)` is the
 * usual exit. `path` may be NULL. Over-long texts are cut at a character boundary, over-long paths
 * behind their last whole step. */
enum err_code err_set(struct err *e, enum err_code code, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
enum err_code err_setv(struct err *e, enum err_code code, const char *path, const char *fmt,
                       va_list ap) __attribute__((format(printf, 4, 0)));

/* Same with ": strerror(errno_value)" appended and code ERR_IO (ENOSPC, ENOMEM, EMFILE: ERR_LIMIT).
 */
enum err_code err_errno(struct err *e, int errno_value, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds to an error that was just set what tells programs which of its code's errors it is (see
 * struct err). `e`, `app_tag` and `info` may be NULL; what is too long for its place is left out.
 * Returns `code`: return err_tag(e, err_set(e, ...), "must-violation", NULL). */
enum err_code err_tag(struct err *e, enum err_code code, const char *app_tag, const char *info);
/* Marks an error just set as a guard rail's; returns its code. */
enum err_code err_rail(struct err *e, enum err_code code);

/* Puts `prefix` before the error's path; for callers that know where they are. */
void err_prefix_path(struct err *e, const char *prefix);

const char *err_code_name(enum err_code code); /* "INVALID" */
const char *err_code_text(enum err_code code); /* "invalid value" */
const char *err_code_tag(enum err_code code);  /* "invalid-value" */
int err_code_http(enum err_code code);         /* 400 */

/* Inverse of err_code_name; false when the name is unknown. */
bool err_code_parse(const char *name, enum err_code *out);

/* Leaves the function with the code of `expr` when it failed. */
#define ERR_TRY(expr)                                                                              \
    do {                                                                                           \
        enum err_code try_rc_ = (expr);                                                            \
        if (try_rc_ != ERR_OK) {                                                                   \
            return try_rc_;                                                                        \
        }                                                                                          \
    } while (0)

/* Same, through a clean-up label; the code is left in `rc`. */
#define ERR_GOTO(rc, expr, label)                                                                  \
    do {                                                                                           \
        (rc) = (expr);                                                                             \
        if ((rc) != ERR_OK) {                                                                      \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

#endif
