// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/http.h"

static const struct {
    const char *name;
    enum rc_method method;
} methods[] = {{"GET", RC_GET},     {"HEAD", RC_HEAD},     {"POST", RC_POST},      {"PUT", RC_PUT},
               {"PATCH", RC_PATCH}, {"DELETE", RC_DELETE}, {"OPTIONS", RC_OPTIONS}};

enum { N_METHODS = sizeof methods / sizeof *methods, PARAMETERS_MAX = 32 };

const char *rc_method_names(unsigned set, char out[64]) {
    out[0] = '\0';
    for (size_t i = 0; i < N_METHODS; i++) {
        if (set & methods[i].method) {
            size_t n = strlen(out);
            snprintf(out + n, 64 - n, "%s%s", n > 0 ? ", " : "", methods[i].name);
        }
    }
    return out;
}

unsigned rc_methods(enum rc_resource r, const char *path) {
    switch (r) {
    case RC_DATA:
        return RC_GET | RC_HEAD | RC_POST | RC_PUT | RC_PATCH | RC_OPTIONS |
               (strcmp(path, "/") == 0 ? 0 : RC_DELETE);
    case RC_OPERATION:
        return RC_POST | RC_OPTIONS;
    default:
        return RC_GET | RC_HEAD | RC_OPTIONS;
    }
}

unsigned rc_data_methods(const struct target *t) {
    enum { READ = RC_GET | RC_HEAD | RC_OPTIONS, WRITE = RC_PUT | RC_PATCH };
    const struct node *n = t->node;
    bool many = n->type == NODE_LIST || n->type == NODE_LEAF_LIST;
    if (!n->config || (many && !t->entry)) {
        return READ; /* RFC 8040 3.5: entries are resources, a list is none */
    }
    switch (n->type) {
    case NODE_ROOT:
        return READ | WRITE | RC_POST;
    case NODE_LEAF:
        return READ | WRITE | (n->is_key ? 0 : RC_DELETE);
    case NODE_LEAF_LIST:
        return READ | WRITE | RC_DELETE;
    default:
        return READ | WRITE | RC_POST | RC_DELETE;
    }
}

unsigned rc_store_methods(enum rc_store s) {
    return s == RC_OPERATIONAL ? RC_GET | RC_HEAD | RC_OPTIONS : ~0U;
}

/* ---- path ------------------------------------------------------------------------------------ */

/* The rest of `path` behind `prefix`: NULL unless it is `prefix` or goes on with a slash. */
static const char *behind(const char *path, const char *prefix) {
    size_t n = strlen(prefix);
    if (strncmp(path, prefix, n) != 0 || (path[n] != '\0' && path[n] != '/')) {
        return NULL;
    }
    return path + n;
}

static bool one_step(const char *rest) {
    return rest[0] == '/' && rest[1] != '\0' && strchr(rest + 1, '/') == NULL;
}

static enum err_code no_resource(struct err *e) {
    return err_set(e, ERR_ABSENT, NULL, "there is no such resource");
}

static enum err_code decoded(const char *raw, struct arena *a, char **out, struct err *e) {
    *out = arena_alloc(a, strlen(raw) + 1);
    if (!http_pct_decode(raw, strlen(raw), *out)) {
        return err_set(e, ERR_INVALID, NULL, "a percent escape in the address is malformed");
    }
    return ERR_OK;
}

static enum err_code parse_path(const char *raw, struct arena *a, struct rc_uri *out,
                                struct err *e) {
    const char *rest;
    out->path = arena_strdup(a, "/");
    if (strlen(raw) > MODEL_PATH_MAX) {
        return err_set(e, ERR_INVALID, NULL, "the address has more than %d bytes", MODEL_PATH_MAX);
    }
    if (strcmp(raw, "/.well-known/host-meta") == 0) {
        out->resource = RC_HOST_META;
    } else if (strcmp(raw, "/openapi.json") == 0) {
        out->resource = RC_OPENAPI;
    } else if (strcmp(raw, "/restconf") == 0 || strcmp(raw, "/restconf/") == 0) {
        out->resource = RC_API;
    } else if (strcmp(raw, "/restconf/yang-library-version") == 0) {
        out->resource = RC_LIBRARY;
    } else if ((rest = behind(raw, "/restconf/data")) != NULL) {
        out->resource = RC_DATA;
        if (rest[0] != '\0') {
            out->path = arena_strdup(a, rest);
        }
    } else if ((rest = behind(raw, "/restconf/ds/ietf-datastores:running")) != NULL ||
               (rest = behind(raw, "/restconf/ds/ietf-datastores:operational")) != NULL) {
        out->resource = RC_DATA;
        out->store = strncmp(raw + strlen("/restconf/ds/ietf-datastores:"), "running", 7) == 0
                         ? RC_RUNNING
                         : RC_OPERATIONAL;
        if (rest[0] != '\0') {
            out->path = arena_strdup(a, rest);
        }
    } else if ((rest = behind(raw, "/restconf/operations")) != NULL) {
        out->resource = one_step(rest) ? RC_OPERATION : RC_OPERATIONS;
        if (out->resource == RC_OPERATION) {
            return decoded(rest + 1, a, &out->path, e);
        }
        return rest[0] == '\0' || strcmp(rest, "/") == 0 ? ERR_OK : no_resource(e);
    } else if ((rest = behind(raw, "/restconf/schema")) != NULL && one_step(rest)) {
        out->resource = RC_SCHEMA;
        return decoded(rest + 1, a, &out->path, e);
    } else if ((rest = behind(raw, "/streams")) != NULL && rest[0] == '/') {
        out->resource = RC_STREAM;
        return decoded(rest + 1, a, &out->path, e);
    } else {
        return no_resource(e);
    }
    return ERR_OK;
}

/* ---- query ----------------------------------------------------------------------------------- */

struct parameter {
    const char *name;
    unsigned methods;
    bool (*allowed)(enum rc_resource r);
    bool (*take)(struct rc_query *q, char *value, const char **want);
};

static bool on_data(enum rc_resource r) {
    return r == RC_DATA;
}

static bool on_data_or_api(enum rc_resource r) {
    return r == RC_DATA || r == RC_API;
}

static bool on_data_or_operation(enum rc_resource r) {
    return r == RC_DATA || r == RC_OPERATION;
}

static bool on_stream(enum rc_resource r) {
    return r == RC_STREAM;
}

static int word(const char *value, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(value, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool take_content(struct rc_query *q, char *value, const char **want) {
    *want = "config, nonconfig or all";
    static const char *const words[] = {"config", "nonconfig", "all", NULL};
    int i = word(value, words);
    q->content = i == 0 ? CONTENT_CONFIG : i == 1 ? CONTENT_NONCONFIG : CONTENT_ALL;
    return i >= 0;
}

static bool number(const char *value, unsigned min, unsigned max, unsigned *out) {
    size_t n = strspn(value, "0123456789");
    unsigned long v = n > 0 && n <= 9 ? strtoul(value, NULL, 10) : 0;
    *out = (unsigned)v;
    return n > 0 && n <= 9 && value[n] == '\0' && v >= min && v <= max;
}

static bool take_depth(struct rc_query *q, char *value, const char **want) {
    *want = "unbounded or a number from 1 to 65535";
    if (strcmp(value, "unbounded") == 0) {
        q->depth = 0;
        return true;
    }
    return number(value, 1, 65535, &q->depth);
}

static bool take_fields(struct rc_query *q, char *value, const char **want) {
    *want = "a fields expression such as name;container(leaf;list/leaf)";
    q->fields = value;
    return value[0] != '\0';
}

static bool take_filter(struct rc_query *q, char *value, const char **want) {
    *want = "an XPath expression such as /weft-system:commit[user='admin']";
    q->filter = value;
    return value[0] != '\0';
}

static bool take_defaults(struct rc_query *q, char *value, const char **want) {
    *want = "report-all, trim, explicit or report-all-tagged";
    static const char *const words[] = {"explicit", "trim", "report-all", "report-all-tagged",
                                        NULL};
    static const enum with_defaults modes[] = {WD_EXPLICIT, WD_TRIM, WD_REPORT_ALL,
                                               WD_REPORT_ALL_TAGGED};
    int i = word(value, words);
    q->defaults = modes[i < 0 ? 0 : i];
    return i >= 0;
}

static bool take_insert(struct rc_query *q, char *value, const char **want) {
    *want = "first, last, before or after";
    static const char *const words[] = {"first", "last", "before", "after", NULL};
    static const enum edit_insert modes[] = {INSERT_FIRST, INSERT_LAST, INSERT_BEFORE,
                                             INSERT_AFTER};
    int i = word(value, words);
    q->insert = modes[i < 0 ? 0 : i];
    return i >= 0;
}

static bool take_point(struct rc_query *q, char *value, const char **want) {
    *want = "the path of an entry, beginning with /";
    q->point = value;
    return value[0] == '/';
}

static bool take_start(struct rc_query *q, char *value, const char **want) {
    *want = "a date and time such as 2024-05-24T15:06:22Z";
    q->has_start = true;
    return time_parse(value, &q->start_s);
}

static bool take_stop(struct rc_query *q, char *value, const char **want) {
    *want = "a date and time such as 2024-05-24T15:06:22Z";
    q->has_stop = true;
    return time_parse(value, &q->stop_s);
}

static bool take_comment(struct rc_query *q, char *value, const char **want) {
    *want = "a text of 1 to 255 bytes";
    q->comment = value;
    return value[0] != '\0' && strlen(value) <= RC_COMMENT_MAX;
}

static bool take_wait(struct rc_query *q, char *value, const char **want) {
    *want = "a number of seconds from 1 to 600";
    return number(value, 1, RC_WAIT_MAX_S, &q->wait_s);
}

static bool take_confirmed(struct rc_query *q, char *value, const char **want) {
    *want = "a number of seconds from 1 to 86400";
    return q->confirm_s == 0 && number(value, 1, RC_CONFIRM_MAX_S, &q->confirm_s);
}

static bool take_confirmed_applied(struct rc_query *q, char *value, const char **want) {
    q->confirm_applied = true;
    return take_confirmed(q, value, want);
}

static bool take_dry_run(struct rc_query *q, char *value, const char **want) {
    *want = "without a value";
    q->dry_run = true;
    return value[0] == '\0';
}

static bool take_force(struct rc_query *q, char *value, const char **want) {
    *want = "without a value";
    q->force = true;
    return value[0] == '\0';
}

enum {
    READS = RC_GET | RC_HEAD,
    WRITES = RC_POST | RC_PUT | RC_PATCH | RC_DELETE,
    INSERTS = RC_POST | RC_PUT
};

static const struct parameter parameters[] = {
    {"content", READS, on_data, take_content},
    {"depth", READS, on_data_or_api, take_depth},
    {"fields", READS, on_data_or_api, take_fields},
    {"with-defaults", READS, on_data, take_defaults},
    {"filter", READS, on_stream, take_filter},
    {"insert", INSERTS, on_data, take_insert},
    {"point", INSERTS, on_data, take_point},
    {"start-time", READS, on_stream, take_start},
    {"stop-time", READS, on_stream, take_stop},
    {"commit-comment", WRITES, on_data, take_comment},
    {"commit-wait", WRITES, on_data, take_wait},
    {"commit-confirmed", WRITES, on_data, take_confirmed},
    {"commit-confirmed-applied", WRITES, on_data, take_confirmed_applied},
    {"commit-dry-run", WRITES, on_data, take_dry_run},
    {"commit-force", WRITES, on_data_or_operation, take_force},
};
enum { N_PARAMETERS = sizeof parameters / sizeof *parameters };

static enum err_code parse_parameter(const char *p, size_t n, struct arena *a, struct rc_uri *u,
                                     uint32_t *seen, struct err *e) {
    const char *eq = memchr(p, '=', n);
    size_t name_len = eq != NULL ? (size_t)(eq - p) : n;
    char *name = arena_alloc(a, name_len + 1), *value = arena_alloc(a, n - name_len + 1);
    if (!http_pct_decode(p, name_len, name) ||
        (eq != NULL && !http_pct_decode(eq + 1, n - name_len - 1, value))) {
        return err_set(e, ERR_INVALID, NULL, "a percent escape in the query is malformed");
    }
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        const struct parameter *par = &parameters[i];
        if (strcmp(name, par->name) != 0) {
            continue;
        }
        if (*seen & (1U << i)) {
            return err_set(e, ERR_INVALID, NULL, "query parameter \"%s\" is given twice", name);
        }
        *seen |= 1U << i;
        if (!(par->methods & u->method) || !par->allowed(u->resource)) {
            return err_set(e, ERR_INVALID, NULL,
                           "query parameter \"%s\" has no meaning for this method on this resource",
                           name);
        }
        const char *want = "";
        if (!par->take(&u->query, value, &want)) {
            return err_set(e, ERR_INVALID, NULL, "query parameter \"%s\" is \"%.64s\"; wanted: %s",
                           name, value, want);
        }
        return ERR_OK;
    }
    return err_set(e, ERR_INVALID, NULL, "query parameter \"%.64s\" is not known", name);
}

static enum err_code check_query(const struct rc_uri *u, struct err *e) {
    const struct rc_query *q = &u->query;
    if (u->store == RC_RUNNING && q->content != CONTENT_CONFIG) {
        return err_set(e, ERR_INVALID, NULL, "the running datastore holds configuration only");
    }
    bool wants_point = q->insert == INSERT_BEFORE || q->insert == INSERT_AFTER;
    if (wants_point != (q->point != NULL)) {
        return err_set(e, ERR_INVALID, NULL,
                       wants_point ? "insert before and after need the parameter \"point\""
                                   : "\"point\" goes with insert=before or insert=after only");
    }
    if (q->has_stop && !q->has_start) {
        return err_set(e, ERR_INVALID, NULL, "\"stop-time\" needs \"start-time\"");
    }
    if (q->has_stop && q->stop_s < q->start_s) {
        return err_set(e, ERR_INVALID, NULL, "\"stop-time\" is before \"start-time\"");
    }
    return ERR_OK;
}

static enum err_code parse_query(const char *raw, struct arena *a, struct rc_uri *out,
                                 struct err *e) {
    uint32_t seen = 0;
    for (unsigned count = 0; *raw != '\0'; count++) {
        size_t n = strcspn(raw, "&");
        if (count >= PARAMETERS_MAX) {
            return err_set(e, ERR_INVALID, NULL, "more than %d query parameters", PARAMETERS_MAX);
        }
        if (n == 0) {
            return err_set(e, ERR_INVALID, NULL, "the query has an empty parameter");
        }
        ERR_TRY(parse_parameter(raw, n, a, out, &seen, e));
        raw += n;
        raw += *raw == '&';
    }
    return check_query(out, e);
}

enum err_code rc_uri_parse(const char *method, const char *raw_path, const char *raw_query,
                           struct arena *a, struct rc_uri *out, struct err *e) {
    memset(out, 0, sizeof *out);
    out->query.content = CONTENT_ALL;
    out->query.defaults = WD_EXPLICIT;
    ERR_TRY(parse_path(raw_path, a, out, e));
    if (out->store == RC_RUNNING) {
        out->query.content = CONTENT_CONFIG;
    } else if (out->store == RC_OPERATIONAL) {
        out->query.defaults = WD_REPORT_ALL; /* they are in use */
    }
    for (size_t i = 0; i < N_METHODS; i++) {
        if (strcmp(method, methods[i].name) == 0) {
            out->method = methods[i].method;
        }
    }
    if (!(out->method & rc_methods(out->resource, out->path) & rc_store_methods(out->store))) {
        return err_set(e, ERR_METHOD, NULL, "method %.16s is not allowed on this resource", method);
    }
    return out->method == RC_OPTIONS ? ERR_OK : parse_query(raw_query, a, out, e);
}
