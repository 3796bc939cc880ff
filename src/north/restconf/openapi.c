// SPDX-License-Identifier: Apache-2.0
/* The API as an OpenAPI 3.1 document, from a walk over the schema. Made once, by a worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "north/restconf/internal.h"

/* ---- schemas --------------------------------------------------------------------------------- */

/* `part`: of a merge, where only keys must be given. */
static json_t *schema_of(const struct node *n, bool part);

static char *member_name(const struct node *n, const char *parent_module) {
    return strcmp(n->module, parent_module) == 0 ? mem_strdup(n->name)
                                                 : mem_printf("%s:%s", n->module, n->name);
}

/* "1..32 | 64" as minimum and maximum of the whole. */
static void add_range(json_t *s, const struct node *n, const char *low, const char *high) {
    if (n->range == NULL) {
        return;
    }
    char *end;
    long long min = strtoll(n->range, &end, 10);
    const char *last = strrchr(n->range, '.');
    const char *bar = strrchr(n->range, '|');
    const char *from = last > bar ? last + 1 : bar != NULL ? bar + 1 : n->range;
    unsigned long long max = strtoull(from + strspn(from, " "), NULL, 10);
    json_object_set_new(s, low, json_integer(min));
    if (max <= INT64_MAX && max > 0) {
        json_object_set_new(s, high, json_integer((long long)max));
    }
}

static void add_enums(json_t *s, const struct node *n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n->n_enums; i++) {
        json_array_append_new(list, json_string(n->enums[i].name));
    }
    json_object_set_new(s, "enum", list);
}

static json_t *value_schema(const struct node *n) {
    const char *type = "string";
    if (n->secret) { /* what is shown is a mask, whatever the type says */
        return json_pack("{s:s}", "type", type);
    }
    json_t *s = json_object();
    switch (n->base) {
    case BASE_INT8:
    case BASE_INT16:
    case BASE_INT32:
    case BASE_UINT8:
    case BASE_UINT16:
    case BASE_UINT32:
        type = "integer";
        add_range(s, n, "minimum", "maximum");
        break;
    case BASE_INT64:
    case BASE_UINT64:
    case BASE_DECIMAL64: /* RFC 7951: strings */
        json_object_set_new(s, "format", json_string(base_type_name(n->base)));
        break;
    case BASE_BOOL:
        type = "boolean";
        break;
    case BASE_EMPTY:
        json_decref(s);
        return json_pack("{s:s, s:[{s:s}], s:b}", "type", "array", "prefixItems", "type", "null",
                         "items", 0);
    case BASE_ENUM:
    case BASE_IDENTITY:
        add_enums(s, n);
        break;
    case BASE_STRING:
        add_range(s, n, "minLength", "maxLength");
        if (n->n_patterns == 1) {
            char *anchored = mem_printf("^(%s)$", n->patterns[0]);
            json_object_set_new(s, "pattern", json_string(anchored));
            mem_free(anchored);
        }
        break;
    case BASE_UNION:
        return s; /* anything: the alternatives are not kept */
    default:
        break;
    }
    json_object_set_new(s, "type", json_string(type));
    return s;
}

static void describe(json_t *s, const struct node *n) {
    if (n->description != NULL && n->description[0] != '\0') {
        json_object_set_new(s, "description", json_string(n->description));
    }
    if (!n->config) {
        json_object_set_new(s, "readOnly", json_true());
    }
    if (n->secret) {
        json_object_set_new(s, "format", json_string("password"));
    }
    if (n->default_value != NULL && n->type == NODE_LEAF) {
        char *words = mem_printf("%s", n->default_value);
        bool number = json_string_value(json_object_get(s, "type")) != NULL &&
                      strcmp(json_string_value(json_object_get(s, "type")), "integer") == 0;
        json_object_set_new(s, "default",
                            number                 ? json_integer(atoll(words))
                            : n->base == BASE_BOOL ? json_boolean(strcmp(words, "true") == 0)
                                                   : json_string(words));
        mem_free(words);
    }
    if (n->status != NULL) {
        json_object_set_new(s, "deprecated", json_true());
    }
    if (n->units != NULL) {
        json_object_set_new(s, "x-units", json_string(n->units));
    }
}

static json_t *members_schema(const struct node *n, bool part) {
    json_t *s = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->terminal || c->type == NODE_RPC || c->type == NODE_NOTIFICATION) {
            continue;
        }
        char *name = member_name(c, n->module);
        json_object_set_new(properties, name, schema_of(c, part));
        bool must = c->mandatory && c->choice == NULL && !part; /* of a case: with its case only */
        if (c->type == NODE_LEAF && (c->is_key || must)) {
            json_array_append_new(required, json_string(name));
        }
        mem_free(name);
    }
    json_object_set_new(s, "properties", properties);
    if (json_array_size(required) > 0) {
        json_object_set_new(s, "required", required);
    } else {
        json_decref(required);
    }
    json_object_set_new(s, "additionalProperties", json_false());
    return s;
}

static json_t *component_ref(const char *kind, const char *name) {
    char *ref = mem_printf("#/components/%s/%s", kind, name);
    json_t *s = json_pack("{s:s}", "$ref", ref);
    mem_free(ref);
    return s;
}

/* "weft-apm:partition" of a kind; component names know no colon. */
static char *component_name(const struct node *n, bool part) {
    return mem_printf("%s.%s%s", n->module, n->kind != NULL ? n->kind->short_name : n->name,
                      part ? ".part" : "");
}

static json_t *schema_of(const struct node *n, bool part) {
    json_t *s, *entry;
    switch (n->type) {
    case NODE_LEAF:
        s = value_schema(n);
        break;
    case NODE_LEAF_LIST:
        s = json_pack("{s:s, s:o}", "type", "array", "items", value_schema(n));
        break;
    case NODE_LIST:
        if (n->kind != NULL) {
            char *name = component_name(n, part);
            entry = component_ref("schemas", name);
            mem_free(name);
        } else {
            entry = members_schema(n, part);
        }
        s = json_pack("{s:s, s:o}", "type", "array", "items", entry);
        break;
    case NODE_ROOT:
    case NODE_CONTAINER:
    case NODE_INPUT:
    case NODE_OUTPUT:
        s = members_schema(n, part);
        break;
    default:
        s = json_object();
    }
    describe(s, n);
    return s;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static json_t *content(json_t *schema) {
    return json_pack("{s:{s:o}, s:{}}", "application/yang-data+json", "schema", schema,
                     "application/yang-data+xml");
}

/* {"module:name": schema}: how a resource's body looks in JSON. */
static json_t *body(const struct node *n, bool part) {
    char *name = n->type == NODE_ROOT ? mem_strdup("ietf-restconf:data")
                                      : mem_printf("%s:%s", n->module, n->name);
    json_t *s = json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties", name,
                          schema_of(n, part), "required", name, "additionalProperties", 0);
    mem_free(name);
    return s;
}

static json_t *ok(const char *what, json_t *schema) {
    return schema != NULL ? json_pack("{s:s, s:o}", "description", what, "content", content(schema))
                          : json_pack("{s:s}", "description", what);
}

/* Adds `verb` to a path. `codes` are those of success, each with "content" or without; what else
 * comes is an error. Steals `answer_` and `request`, which may be NULL. */
static json_t *operation(const char *summary, const char *tag, const char *const *codes,
                         json_t *answer_, json_t *request, const char *const *params) {
    json_t *op = json_pack("{s:s, s:[s], s:{s:o}}", "summary", summary, "tags", tag, "responses",
                           "default", component_ref("responses", "errors"));
    json_t *responses = json_object_get(op, "responses");
    for (size_t i = 0; codes[i] != NULL; i++) {
        bool with = answer_ != NULL && strcmp(codes[i], "200") == 0;
        const char *what = strcmp(codes[i], "201") == 0   ? "Created."
                           : strcmp(codes[i], "204") == 0 ? "Done."
                                                          : "The data.";
        json_object_set_new(responses, codes[i], ok(what, with ? json_incref(answer_) : NULL));
    }
    json_decref(answer_);
    if (request != NULL) {
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content", content(request)));
    }
    json_t *list = json_array();
    for (size_t i = 0; params != NULL && params[i] != NULL; i++) {
        json_array_append_new(list, component_ref("parameters", params[i]));
    }
    json_object_set_new(op, "parameters", list);
    return op;
}

static const char *const read_codes[] = {"200", NULL};
static const char *const put_codes[] = {"201", "204", NULL};
static const char *const post_codes[] = {"201", NULL};
static const char *const done_codes[] = {"204", NULL};
static const char *const patch_codes[] = {"200", "204", NULL}; /* 200: a YANG Patch */
static const char *const read_params[] = {"content",       "depth",         "fields",
                                          "with-defaults", "if-none-match", NULL};
static const char *const write_params[] = {"if-match",
                                           "if-none-match",
                                           "if-unmodified-since",
                                           "commit-comment",
                                           "commit-dry-run",
                                           "commit-force",
                                           "commit-wait",
                                           "commit-confirmed",
                                           "commit-confirmed-applied",
                                           NULL};

static void add_operation(json_t *item, const char *method, const char *verb, const struct node *n,
                          const char *const *codes, json_t *answer_, json_t *request) {
    bool reads = strcmp(method, "get") == 0;
    char *summary = mem_printf("%s %s", verb, n->name[0] != '\0' ? n->name : "everything");
    json_t *op = operation(summary, n->module[0] != '\0' ? n->module : "datastore", codes, answer_,
                           request, reads ? read_params : write_params);
    mem_free(summary);
    if (strcmp(method, "patch") == 0) {
        json_t *types = json_object_get(json_object_get(op, "requestBody"), "content");
        json_object_set_new(types, "application/yang-patch+json", json_object());
        json_object_set_new(types, "application/yang-patch+xml", json_object());
    }
    json_object_set_new(item, method, op);
}

/* What may be created below a node, one of: the body of POST. NULL: nothing. */
static json_t *new_child(const struct node *n) {
    json_t *choices = json_array();
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        bool data = c->type != NODE_RPC && c->type != NODE_NOTIFICATION;
        if (data && c->config && !c->is_key) {
            json_array_append_new(choices, body(c, false));
        }
    }
    if (json_array_size(choices) == 0) {
        json_decref(choices);
        return NULL;
    }
    return json_pack("{s:o}", "oneOf", choices);
}

static json_t *path_item(const struct node *n, bool entry) {
    json_t *item = json_object();
    add_operation(item, "get", "Read", n, read_codes, body(n, false), NULL);
    if (!n->config || (n->type == NODE_LIST && !entry)) {
        return item;
    }
    add_operation(item, "put", "Replace or create", n, put_codes, NULL, body(n, false));
    add_operation(item, "patch", "Change", n, patch_codes, NULL, body(n, true));
    json_t *child = new_child(n);
    if (child != NULL) {
        add_operation(item, "post", "Create inside", n, post_codes, NULL, child);
    }
    if (n->type != NODE_ROOT) {
        add_operation(item, "delete", "Delete", n, done_codes, NULL, NULL);
    }
    return item;
}

static json_t *key_parameters(const struct node *n) {
    json_t *list = json_array();
    for (const struct node *p = n; p != NULL && p->type != NODE_ROOT; p = p->parent) {
        for (size_t i = p->type == NODE_LIST ? p->n_keys : 0; i-- > 0;) {
            char *name = mem_printf("%s.%s", p->name, p->keys[i]->name);
            json_array_insert_new(list, 0,
                                  json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", name, "in", "path",
                                            "required", 1, "schema", value_schema(p->keys[i]),
                                            "description", p->keys[i]->description));
            mem_free(name);
        }
    }
    return list;
}

static void template_of(const struct node *n, bool keys, struct buf *out) {
    if (n->parent != NULL && n->parent->type != NODE_ROOT) {
        template_of(n->parent, true, out);
    }
    bool qualified = n->parent == NULL || n->parent->type == NODE_ROOT ||
                     strcmp(n->parent->module, n->module) != 0;
    buf_printf(out, "/%s%s%s", qualified ? n->module : "", qualified ? ":" : "", n->name);
    for (size_t i = 0; keys && n->type == NODE_LIST && i < n->n_keys; i++) {
        buf_printf(out, "%s{%s.%s}", i == 0 ? "=" : ",", n->name, n->keys[i]->name);
    }
}

static void add_path(json_t *paths, const struct node *n, bool entry) {
    struct buf path = BUF_INIT;
    buf_str(&path, "/restconf/data");
    template_of(n, entry, &path);
    json_t *item = path_item(n, entry);
    json_t *keys = key_parameters(entry ? n : n->parent);
    if (json_array_size(keys) > 0) {
        json_object_set_new(item, "parameters", keys);
    } else {
        json_decref(keys);
    }
    json_object_set_new(paths, buf_cstr(&path), item);
    buf_free(&path);
}

/* A path for every container and list above and at the objects, and for every list and container
 * of state; what is inside an object is reached through it. */
static void add_paths(json_t *paths, json_t *schemas, const struct node *n) {
    if (n->type != NODE_CONTAINER && n->type != NODE_LIST) {
        return;
    }
    add_path(paths, n, false);
    if (n->type == NODE_LIST && n->n_keys > 0) {
        add_path(paths, n, true);
    }
    if (n->kind != NULL) {
        for (int part = 0; part < 2; part++) {
            char *name = component_name(n, part);
            json_t *s = members_schema(n, part);
            describe(s, n);
            json_object_set_new(schemas, name, s);
            mem_free(name);
        }
    }
    for (size_t i = 0; i < n->n_children && (n->kind == NULL || !n->config); i++) {
        add_paths(paths, schemas, n->children[i]);
    }
}

static bool has_mandatory(const struct node *n) {
    bool any = false;
    for (size_t i = 0; i < n->n_children && !any; i++) {
        any = n->children[i]->mandatory || n->children[i]->min_elements > 0;
    }
    return any;
}

static void add_rpc(json_t *paths, const struct node *rpc) {
    const struct node *input = NULL, *output = NULL;
    for (size_t i = 0; i < rpc->n_children; i++) {
        input = rpc->children[i]->type == NODE_INPUT ? rpc->children[i] : input;
        output = rpc->children[i]->type == NODE_OUTPUT ? rpc->children[i] : output;
    }
    static const char *const params[] = {"commit-force", NULL};
    bool in = input != NULL && input->n_children > 0;
    bool out = output != NULL && output->n_children > 0;
    char *path = mem_printf("/restconf/operations/%s:%s", rpc->module, rpc->name);
    char *summary = mem_printf("Run %s", rpc->name);
    json_t *op =
        operation(summary, rpc->module, out ? read_codes : done_codes,
                  out ? body(output, false) : NULL, in ? body(input, false) : NULL, params);
    mem_free(summary);
    if (in && !has_mandatory(input)) { /* RFC 8040 3.6.1 */
        json_object_set_new(json_object_get(op, "requestBody"), "required", json_false());
    }
    json_object_set_new(op, "description", json_string(rpc->description));
    if (rpc->command != NULL && rpc->command->confirm != NULL) { /* whoever puts a form on it */
        json_object_set_new(op, "x-confirm", json_string(rpc->command->confirm));
    }
    json_object_set_new(paths, path, json_pack("{s:o}", "post", op));
    mem_free(path);
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *parameters(void) {
    static const struct {
        const char *name, *in, *type, *text;
    } all[] = {
        {"content", "query", "string", "config, nonconfig or all (RFC 8040 4.8.1)"},
        {"depth", "query", "string", "Levels to show, or unbounded (RFC 8040 4.8.2)"},
        {"fields", "query", "string", "Nodes to show (RFC 8040 4.8.3)"},
        {"with-defaults", "query", "string",
         "report-all, trim, explicit or report-all-tagged (RFC 8040 4.8.9)"},
        {"filter", "query", "string", "XPath: which events (RFC 8040 4.8.4)"},
        {"start-time", "query", "string", "Replay from then on (RFC 8040 4.8.7)"},
        {"stop-time", "query", "string", "No events after that (RFC 8040 4.8.8)"},
        {"if-match", "header", "string", "Entity tag that the resource must have"},
        {"if-none-match", "header", "string", "Entity tag that it must not have, or *"},
        {"if-unmodified-since", "header", "string", "It must not have changed since"},
        {"commit-comment", "query", "string", "Kept with the commit"},
        {"commit-dry-run", "query", "string", "Nothing is changed; the answer says what would be"},
        {"commit-force", "query", "string", "Past guard rails"},
        {"commit-wait", "query", "integer",
         "Seconds to wait until the targets have applied the change"},
        {"commit-confirmed", "query", "integer",
         "Seconds after which the change is taken back unless it is confirmed"},
        {"commit-confirmed-applied", "query", "integer",
         "Seconds after which the change is taken back unless all targets have applied it"},
    };
    json_t *list = json_object();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *p = json_pack("{s:s, s:s, s:{s:s}, s:s}", "name", all[i].name, "in", all[i].in,
                              "schema", "type", all[i].type, "description", all[i].text);
        if (strcmp(all[i].name, "commit-dry-run") == 0 ||
            strcmp(all[i].name, "commit-force") == 0) {
            json_object_set_new(p, "allowEmptyValue", json_true());
        }
        json_object_set_new(list, all[i].name, p);
    }
    return list;
}

static json_t *errors_schema(void) {
    return json_loads(
        "{\"type\":\"object\",\"required\":[\"ietf-restconf:errors\"],\"properties\":{"
        "\"ietf-restconf:errors\":{\"type\":\"object\",\"properties\":{\"error\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"object\",\"required\":[\"error-type\",\"error-tag\"],"
        "\"properties\":{\"error-type\":{\"enum\":[\"transport\",\"rpc\",\"protocol\","
        "\"application\"]},\"error-tag\":{\"type\":\"string\"},\"error-app-tag\":{\"type\":"
        "\"string\"},\"error-path\":{\"type\":\"string\"},\"error-message\":{\"type\":"
        "\"string\"},\"error-info\":{\"type\":\"object\"}},\"additionalProperties\":false}}}}}}",
        0, NULL);
}

/* What is no data: where the API is, its parts, the event streams. */
static void add_others(json_t *paths) {
    static const char *const stream_params[] = {"filter", "start-time", "stop-time", NULL};
    static const struct {
        const char *path, *summary, *type;
    } all[] = {
        {"/.well-known/host-meta", "Where the API is", "application/xrd+xml"},
        {"/restconf", "What the API has", "application/yang-data+json"},
        {"/restconf/operations", "Which operations there are", "application/yang-data+json"},
        {"/restconf/yang-library-version", "Revision of ietf-yang-library",
         "application/yang-data+json"},
        {"/streams/NETCONF/json", "Events, in JSON", "text/event-stream"},
        {"/streams/NETCONF/xml", "Events, in XML", "text/event-stream"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool stream = strcmp(all[i].type, "text/event-stream") == 0;
        json_t *op =
            operation(all[i].summary, "api", read_codes, NULL, NULL, stream ? stream_params : NULL);
        json_t *answer_ = json_object_get(json_object_get(op, "responses"), "200");
        json_object_set_new(answer_, "content", json_pack("{s:{}}", all[i].type));
        json_object_set_new(paths, all[i].path, json_pack("{s:o}", "get", op));
    }
}

void openapi_build(struct buf *out) {
    json_t *paths = json_object(), *schemas = json_object();
    const struct node *root = model_root();
    add_others(paths);
    json_object_set_new(paths, "/restconf/data", path_item(root, false));
    for (size_t i = 0; i < root->n_children; i++) {
        add_paths(paths, schemas, root->children[i]);
    }
    size_t n;
    const struct node *const *rpcs = model_rpcs(&n);
    for (size_t i = 0; i < n; i++) {
        add_rpc(paths, rpcs[i]);
    }
    json_t *doc = json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:o, s:{s:o}, s:{s:{s:s, s:s}, s:{s:s, s:s}}}, "
        "s:[{s:[]}, {s:[]}]}",
        "openapi", "3.1.0", "info", "title", "Weft", "version", WEFT_VERSION, "description",
        "RESTCONF (RFC 8040) of the Weft network service controller.", "paths", paths, "components",
        "schemas", schemas, "parameters", parameters(), "responses", "errors",
        ok("An error.", errors_schema()), "securitySchemes", "basic", "type", "http", "scheme",
        "basic", "token", "type", "http", "scheme", "bearer", "security", "basic", "token");
    char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;
    buf_str(out, text != NULL ? text : "{}");
    free(text);
    json_decref(doc);
}

static void answer_document(struct request *q) {
    answer(q, 200, NULL, "application/json", q->rc->openapi.data, q->rc->openapi.len);
}

static void built(void *arg) {
    struct request *q = arg;
    struct restconf *rc = q->rc;
    if (!rc->openapi_made) {
        rc->openapi = q->body; /* the worker's */
        q->body = (struct buf)BUF_INIT;
        rc->openapi_made = true;
    }
    if (request_back(q)) {
        answer_document(q);
    }
}

static void build_job(void *arg) {
    struct request *q = arg;
    openapi_build(&q->body);
    loop_post(q->rc->cfg.loop, built, q);
}

void get_openapi(struct request *q) {
    if (!rc_media_accepts(http_header(q->http, "accept"), "application/json")) {
        answer_status(q, 406, "invalid-value", "only application/json can be had here");
        return;
    }
    if (q->rc->openapi_made) {
        answer_document(q);
        return;
    }
    buf_clear(&q->body);
    q->pending++;
    if (!workers_run(q->rc->cfg.decoders, build_job, q)) {
        q->pending--;
        answer_status(q, 503, "resource-denied", "too many requests at once; try again");
    }
}
