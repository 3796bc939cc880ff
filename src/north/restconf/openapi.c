// SPDX-License-Identifier: Apache-2.0
/* The API as an OpenAPI 3.1 document, from a walk over the schema. Made once, by a worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "north/restconf/internal.h"

/* ---- schemas --------------------------------------------------------------------------------- */

static json_t *schema_of(const struct node *n, const char *parent_module);

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
    json_t *s = json_object();
    const char *type = "string";
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

static json_t *members_schema(const struct node *n) {
    json_t *s = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->terminal) {
            continue;
        }
        char *name = member_name(c, n->module);
        json_object_set_new(properties, name, schema_of(c, n->module));
        if ((c->mandatory || c->is_key) && c->type == NODE_LEAF) {
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

static json_t *reference(const char *name) {
    char *ref = mem_printf("#/components/schemas/%s", name);
    json_t *s = json_pack("{s:s}", "$ref", ref);
    mem_free(ref);
    return s;
}

/* "weft-apm:partition" of a kind; component names know no colon. */
static char *component_name(const struct node *n) {
    return mem_printf("%s.%s", n->module, n->kind != NULL ? n->kind->short_name : n->name);
}

static json_t *schema_of(const struct node *n, const char *parent_module) {
    json_t *s, *entry;
    (void)parent_module;
    switch (n->type) {
    case NODE_LEAF:
        s = value_schema(n);
        break;
    case NODE_LEAF_LIST:
        s = json_pack("{s:s, s:o}", "type", "array", "items", value_schema(n));
        break;
    case NODE_LIST:
        if (n->kind != NULL) {
            char *name = component_name(n);
            entry = reference(name);
            mem_free(name);
        } else {
            entry = members_schema(n);
        }
        s = json_pack("{s:s, s:o}", "type", "array", "items", entry);
        break;
    case NODE_CONTAINER:
    case NODE_INPUT:
    case NODE_OUTPUT:
        s = members_schema(n);
        break;
    default:
        s = json_object();
    }
    describe(s, n);
    return s;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static json_t *content(json_t *schema) {
    json_t *xml = json_object();
    return json_pack("{s:{s:o}, s:o}", "application/yang-data+json", "schema", schema,
                     "application/yang-data+xml", xml);
}

/* {"module:name": schema}: how a resource's body looks in JSON. */
static json_t *wrapped(const struct node *n, json_t *schema) {
    char *name = mem_printf("%s:%s", n->module, n->name);
    json_t *s = json_pack("{s:s, s:{s:o}, s:b}", "type", "object", "properties", name, schema,
                          "additionalProperties", 0);
    mem_free(name);
    return s;
}

static json_t *body(const struct node *n) {
    return wrapped(n, schema_of(n, ""));
}

static json_t *ok(const char *what, json_t *schema) {
    return schema != NULL ? json_pack("{s:s, s:o}", "description", what, "content", content(schema))
                          : json_pack("{s:s}", "description", what);
}

static json_t *component_ref(const char *kind, const char *name) {
    char *ref = mem_printf("#/components/%s/%s", kind, name);
    json_t *s = json_pack("{s:s}", "$ref", ref);
    mem_free(ref);
    return s;
}

static json_t *operation(const struct node *n, const char *verb, const char *code, json_t *answer_,
                         json_t *request, const char *const *params) {
    char *summary = mem_printf("%s %s", verb, n->name);
    json_t *op =
        json_pack("{s:s, s:[s], s:{s:o, s:o}}", "summary", summary, "tags", n->module, "responses",
                  code, answer_, "default", component_ref("responses", "errors"));
    mem_free(summary);
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

static const char *const read_params[] = {"content", "depth", "fields", "with-defaults", NULL};
static const char *const write_params[] = {"if-match",
                                           "commit-comment",
                                           "commit-dry-run",
                                           "commit-force",
                                           "commit-wait",
                                           "commit-confirmed",
                                           NULL};

static json_t *path_item(const struct node *n, bool entry) {
    json_t *item = json_object();
    json_object_set_new(item, "get",
                        operation(n, "Read", "200", ok("The data.", body(n)), NULL, read_params));
    if (!n->config) {
        return item;
    }
    bool whole_list = n->type == NODE_LIST && !entry;
    if (!whole_list) {
        json_object_set_new(
            item, "put",
            operation(n, "Replace or create", "204", ok("Done.", NULL), body(n), write_params));
        json_object_set_new(
            item, "patch", operation(n, "Change", "204", ok("Done.", NULL), body(n), write_params));
        json_object_set_new(item, "delete",
                            operation(n, "Delete", "204", ok("Done.", NULL), NULL, write_params));
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
        char *name = component_name(n);
        json_t *s = members_schema(n);
        describe(s, n);
        json_object_set_new(schemas, name, s);
        mem_free(name);
    }
    for (size_t i = 0; i < n->n_children && (n->kind == NULL || !n->config); i++) {
        add_paths(paths, schemas, n->children[i]);
    }
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
    json_t *op = operation(rpc, "Run", out ? "200" : "204", ok("Done.", out ? body(output) : NULL),
                           in ? body(input) : NULL, params);
    json_object_set_new(op, "description", json_string(rpc->description));
    if (rpc->command != NULL && rpc->command->confirm != NULL) { /* whoever puts a form on it */
        json_object_set_new(op, "x-confirm", json_string(rpc->command->confirm));
    }
    json_object_set_new(paths, path, json_pack("{s:o}", "post", op));
    mem_free(path);
}

/* ---- the document ---------------------------------------------------------------------------- */

static void add_parameter(json_t *list, const char *name, const char *in, const char *type,
                          const char *text) {
    json_object_set_new(list, name,
                        json_pack("{s:s, s:s, s:{s:s}, s:s}", "name", name, "in", in, "schema",
                                  "type", type, "description", text));
}

static json_t *parameters(void) {
    json_t *p = json_object();
    add_parameter(p, "content", "query", "string", "config, nonconfig or all (RFC 8040 4.8.1)");
    add_parameter(p, "depth", "query", "string", "Levels to show, or unbounded (RFC 8040 4.8.2)");
    add_parameter(p, "fields", "query", "string", "Nodes to show (RFC 8040 4.8.3)");
    add_parameter(p, "with-defaults", "query", "string",
                  "report-all, trim, explicit or report-all-tagged (RFC 8040 4.8.9)");
    add_parameter(p, "if-match", "header", "string", "Entity tag that the resource must have");
    add_parameter(p, "commit-comment", "query", "string", "Kept with the commit");
    add_parameter(p, "commit-dry-run", "query", "string",
                  "Nothing is changed; the answer says what would be");
    add_parameter(p, "commit-force", "query", "string", "Past guard rails");
    add_parameter(p, "commit-wait", "query", "integer",
                  "Seconds to wait until the targets have applied the change");
    add_parameter(p, "commit-confirmed", "query", "integer",
                  "Seconds after which the change is taken back unless it is confirmed");
    return p;
}

static json_t *errors_schema(void) {
    return json_loads("{\"type\":\"object\",\"properties\":{\"ietf-restconf:errors\":{\"type\":"
                      "\"object\",\"properties\":{\"error\":{\"type\":\"array\",\"items\":{"
                      "\"type\":\"object\",\"properties\":{\"error-type\":{\"type\":\"string\"},"
                      "\"error-tag\":{\"type\":\"string\"},\"error-path\":{\"type\":\"string\"},"
                      "\"error-message\":{\"type\":\"string\"}}}}}}}}",
                      0, NULL);
}

void openapi_build(struct buf *out) {
    json_t *paths = json_object(), *schemas = json_object();
    const struct node *root = model_root();
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
