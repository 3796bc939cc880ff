// SPDX-License-Identifier: Apache-2.0
/* Errors as RFC 8040 section 7.1 has them, in JSON and XML. */
#ifndef NORTH_RESTCONF_ERRORS_H
#define NORTH_RESTCONF_ERRORS_H

#include "base/buf.h"
#include "base/err.h"
#include "model/model.h"

struct rc_error {
    int status;       /* HTTP */
    const char *type; /* "transport", "rpc", "protocol", "application" */
    const char *tag;  /* section 7 */
    struct err err;   /* path and text */
};

/* From an error of ours: tag and status of base/err.h, the type that fits. */
void rc_error_of(const struct err *e, struct rc_error *out);

/* One error with all it tells, error-app-tag and error-info included. */
void rc_error_json(const struct rc_error *er, struct buf *out); /* {...} */
void rc_error_xml(const struct rc_error *er, struct buf *out);  /* <error>...</error> */
/* The whole body, ietf-restconf:errors. */
void rc_errors_body(const struct rc_error *er, enum model_format format, struct buf *out);

/* An instance path as instance-identifier: in JSON as RFC 7951 6.11 writes it, in XML with a prefix
 * on each step, whose declarations (" xmlns:p=\"...\"") go to `ns` (NULL for JSON). A place that is
 * no single instance, such as a list without keys, is named by what is around it (`*exact` false).
 * Steps into an rpc's input follow the rpc's name, as YANG has them. False: it is no path of data.
 */
bool rc_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns,
                    bool *exact);

#endif
