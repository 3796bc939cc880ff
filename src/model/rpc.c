// SPDX-License-Identifier: Apache-2.0
/* Inputs and outputs of rpcs, and notifications. */
#include <stdalign.h>
#include <string.h>

#include "base/clock.h"
#include "model/internal.h"

static const struct node *part(const struct node *rpc, enum node_type type) {
    for (size_t i = 0; i < rpc->n_children; i++) {
        if (rpc->children[i]->type == type) {
            return rpc->children[i];
        }
    }
    return NULL;
}

static enum err_code make_input(const struct model *m, const struct node *rpc, const json_t *value,
                                unsigned flags, struct arena *a, struct rpc_input *out,
                                struct err *e) {
    const struct node *input = part(rpc, NODE_INPUT);
    struct buf path = BUF_INIT, json = BUF_INIT;
    json_t *tree = NULL;
    enum err_code rc = ERR_OK;
    memset(out, 0, sizeof *out);
    out->rpc = rpc;
    buf_printf(&path, "/%s:%s", rpc->module, rpc->name);
    if (input == NULL) {
        if (json_object_size(value) > 0) {
            rc = err_set(e, ERR_UNKNOWN, buf_cstr(&path), "%s takes no input.", rpc->name);
        }
        out->json = "{}";
        goto out;
    }
    ERR_GOTO(rc, tree_check(m, input, value, flags, buf_cstr(&path), &tree, e), out);
    tree_dump(tree, &json);
    out->json = arena_strndup(a, (const char *)json.data, json.len);
    struct bump b = {NULL, 0};
    bump_take(&b, input->struct_size, alignof(max_align_t));
    pack_struct(&b, input, tree, NULL);
    b = (struct bump){arena_alloc(a, b.used), 0};
    char *data = bump_take(&b, input->struct_size, alignof(max_align_t));
    pack_struct(&b, input, tree, data);
    out->data = data;
    struct refs refs = {NULL, 0, a};
    refs_collect(&refs, input, tree, &path);
    if (refs.n > 0) {
        struct doc_ref *kept = arena_alloc(a, refs.n * sizeof *kept);
        memcpy(kept, refs.v, refs.n * sizeof *kept);
        out->refs = kept;
        out->n_refs = refs.n;
    }
    mem_free(refs.v);
out:
    json_decref(tree);
    buf_free(&path);
    buf_free(&json);
    return rc;
}

enum err_code rpc_input_parse(const struct model *m, const struct node *rpc, const char *body,
                              size_t len, enum model_format format, struct arena *a,
                              struct rpc_input *out, struct err *e) {
    const struct node *input = part(rpc, NODE_INPUT);
    json_t *value = NULL;
    unsigned flags = 0;
    if (len == 0 || body == NULL) {
        value = json_object();
    } else if (format == FORMAT_XML) {
        flags = TREE_LEXICAL;
        ERR_TRY(xml_parse(input != NULL ? input : rpc, true, body, len, &value, e));
    } else {
        ERR_TRY(tree_parse(body, len, MODEL_OBJECT_MAX, &value, e));
        struct buf name = BUF_INIT;
        buf_printf(&name, "%s:input", rpc->module);
        json_t *inner = json_object_get(value, buf_cstr(&name));
        inner = inner != NULL || input == NULL || node_child(input, "input", 5) != NULL
                    ? inner
                    : json_object_get(value, "input");
        buf_free(&name);
        if (inner != NULL && json_object_size(value) == 1) {
            json_incref(inner);
            json_decref(value);
            value = inner;
        }
    }
    enum err_code rc;
    if (!json_is_object(value)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "The input of %s is an object.", rpc->name);
    } else {
        rc = make_input(m, rpc, value, flags, a, out, e);
    }
    json_decref(value);
    return rc;
}

enum err_code rpc_input_words(const struct model *m, const struct node *rpc,
                              const char *const *names, const char *const *values, size_t n,
                              struct arena *a, struct rpc_input *out, struct err *e) {
    json_t *value = json_object();
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        json_t *text = json_string(values[i] != NULL ? values[i] : "");
        if (text == NULL) {
            rc = err_set(e, ERR_INVALID, NULL, "%s is no valid UTF-8.", names[i]);
        } else if (json_object_get(value, names[i]) != NULL) {
            json_decref(text);
            rc = err_set(e, ERR_INVALID, NULL, "%s is given twice.", names[i]);
        } else {
            json_object_set_new(value, names[i], text);
        }
    }
    if (rc == ERR_OK) {
        rc = make_input(m, rpc, value, TREE_LEXICAL, a, out, e);
    }
    json_decref(value);
    return rc;
}

const char *rpc_input_value(const struct rpc_input *in, const char *leaf, struct arena *a) {
    const struct node *input = part(in->rpc, NODE_INPUT);
    const struct node *n = input != NULL ? node_child(input, leaf, strlen(leaf)) : NULL;
    if (n == NULL || n->type != NODE_LEAF) {
        return NULL;
    }
    struct buf tmp = BUF_INIT;
    json_t *tree = json_loads(in->json, 0, NULL);
    const json_t *v = tree_get(tree, input, n);
    const char *out = v != NULL ? arena_strdup(a, value_text(v, &tmp)) : n->default_value;
    json_decref(tree);
    buf_free(&tmp);
    return out;
}

static enum err_code checked_tree(const struct model *m, const struct node *n, const char *json,
                                  size_t len, json_t **out, struct err *e) {
    json_t *value = NULL;
    struct buf path = BUF_INIT;
    enum err_code rc = ERR_OK;
    node_path(n->type == NODE_OUTPUT ? n->parent : n, &path);
    if (len == 0) {
        value = json_object();
    } else {
        rc = tree_parse(json, len, MODEL_BODY_MAX, &value, e);
    }
    if (rc == ERR_OK) {
        rc = tree_check(m, n, value, TREE_STATE | TREE_TRUSTED, buf_cstr(&path), out, e);
    }
    json_decref(value);
    buf_free(&path);
    return rc;
}

enum err_code rpc_output_print(const struct model *m, const struct node *rpc, const char *json,
                               size_t len, const struct print_options *o, struct buf *out,
                               struct err *e) {
    const struct node *output = part(rpc, NODE_OUTPUT);
    json_t *tree = NULL;
    if (output == NULL) {
        return ERR_OK;
    }
    ERR_TRY(checked_tree(m, output, json, len, &tree, e));
    struct buf name = BUF_INIT, path = BUF_INIT;
    struct print_options inner = *o;
    const struct module_info *mod = model_module(rpc->module);
    if (inner.wrap == NULL) {
        buf_printf(&name, "%s:output", rpc->module);
        inner.wrap = buf_cstr(&name);
        inner.wrap_ns = mod != NULL ? mod->ns : "";
    }
    node_path(rpc, &path);
    inner.content = CONTENT_ALL;
    enum err_code rc = print_tree(m, output, tree, buf_cstr(&path), &inner, out, e);
    json_decref(tree);
    buf_free(&name);
    buf_free(&path);
    return rc;
}

enum err_code notification_print(const struct model *m, const struct node *notification,
                                 const char *json, size_t len, int64_t unix_ns,
                                 const struct print_options *o, struct buf *out, struct err *e) {
    json_t *tree = NULL;
    ERR_TRY(checked_tree(m, notification, json, len, &tree, e));
    struct buf name = BUF_INIT, inside = BUF_INIT, path = BUF_INIT;
    struct print_options inner = *o;
    char when[TIME_TEXT_MAX];
    const struct module_info *mod = model_module(notification->module);
    buf_printf(&name, "%s:%s", notification->module, notification->name);
    node_path(notification, &path);
    inner.wrap = buf_cstr(&name);
    inner.wrap_ns = mod != NULL ? mod->ns : "";
    inner.pretty = false;
    inner.content = CONTENT_ALL;
    enum err_code rc = print_tree(m, notification, tree, buf_cstr(&path), &inner, &inside, e);
    time_format(unix_ns / NS_PER_S, 0, when);
    if (rc == ERR_OK && o->format == FORMAT_XML) {
        buf_printf(out,
                   "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">"
                   "<eventTime>%s</eventTime>%s</notification>",
                   when, buf_cstr(&inside));
    } else if (rc == ERR_OK) {
        /* `inside` is {"module:name":{...}}: the time goes before its only member */
        buf_printf(out, "{\"ietf-restconf:notification\":{\"eventTime\":\"%s\",%s}", when,
                   buf_cstr(&inside) + 1);
    }
    json_decref(tree);
    buf_free(&name);
    buf_free(&inside);
    buf_free(&path);
    return rc;
}
