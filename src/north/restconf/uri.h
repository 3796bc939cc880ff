// SPDX-License-Identifier: Apache-2.0
/* Method, path and query of a request, taken apart. Pure: no core, no I/O; fuzzed. RFC 8040 3, 4.
 */
#ifndef NORTH_RESTCONF_URI_H
#define NORTH_RESTCONF_URI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/model.h"

enum rc_method {
    RC_GET = 1 << 0,
    RC_HEAD = 1 << 1,
    RC_POST = 1 << 2,
    RC_PUT = 1 << 3,
    RC_PATCH = 1 << 4,
    RC_DELETE = 1 << 5,
    RC_OPTIONS = 1 << 6
};

enum rc_resource {
    RC_HOST_META,  /* /.well-known/host-meta */
    RC_API,        /* /restconf */
    RC_DATA,       /* /restconf/data[/...] */
    RC_OPERATIONS, /* /restconf/operations */
    RC_OPERATION,  /* /restconf/operations/MODULE:NAME */
    RC_LIBRARY,    /* /restconf/yang-library-version */
    RC_STREAM,     /* /streams/NAME/{xml,json} */
    RC_SCHEMA,     /* /restconf/schema/MODULE[@REVISION] */
    RC_OPENAPI     /* /openapi.json */
};

/* Which datastore a data resource is of (RFC 8527). */
enum rc_store {
    RC_UNIFIED,    /* /restconf/data: configuration that can be edited, with state (RFC 8040) */
    RC_RUNNING,    /* /restconf/ds/ietf-datastores:running: configuration alone */
    RC_OPERATIONAL /* /restconf/ds/ietf-datastores:operational: all that is in use; read-only */
};

enum { RC_WAIT_MAX_S = 600, RC_CONFIRM_MAX_S = 86400, RC_COMMENT_MAX = 255 };

struct rc_query {
    enum model_content content;
    unsigned depth; /* 0: unbounded */
    char *fields;   /* decoded; NULL: all */
    char *filter;   /* XPath, decoded; NULL: all events */
    enum with_defaults defaults;
    enum edit_insert insert;
    char *point; /* instance path, still percent-encoded in its keys */
    bool has_start, has_stop;
    int64_t start_s, stop_s; /* UTC */
    char *comment;           /* commit-comment */
    unsigned wait_s;         /* commit-wait; 0: no */
    unsigned confirm_s;      /* commit-confirmed or commit-confirmed-applied; 0: no */
    bool confirm_applied;
    bool dry_run, force; /* commit-dry-run, commit-force */
};

struct rc_uri {
    enum rc_method method;
    enum rc_resource resource;
    enum rc_store store; /* RC_DATA */
    char *path;          /* RC_DATA: "/module:name..." or "/"; RC_OPERATION: "module:name";
                            RC_STREAM: "NAME/xml"; RC_SCHEMA: "MODULE@REVISION" */
    struct rc_query query;
};

/* ERR_ABSENT: no resource of ours; ERR_METHOD: unknown method; ERR_INVALID: a bad query (the text
 * names the parameter). Strings are in the arena. */
enum err_code rc_uri_parse(const char *method, const char *raw_path, const char *raw_query,
                           struct arena *a, struct rc_uri *out, struct err *e);
/* Methods that a kind of resource knows (of RC_DATA: a data resource; the datastore has no DELETE).
 */
unsigned rc_methods(enum rc_resource r, const char *path);
/* Methods that fit what a data resource's address names. */
unsigned rc_data_methods(const struct target *t);
/* Those of them that fit the datastore. */
unsigned rc_store_methods(enum rc_store s);
/* "GET, HEAD, OPTIONS" */
const char *rc_method_names(unsigned methods, char out[64]);

#endif
