// SPDX-License-Identifier: Apache-2.0
/* Inputs and outputs of rpcs. */
#include <stdalign.h>
#include <string.h>

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

/* The body is {"module:input": {...}} (RFC 8040 3.6.1). */
static enum err_code input_of_json(const struct node *rpc, const char *path, const char *body,
                                   size_t len, json_t **out, struct err *e) {
    json_t *root = NULL;
    enum err_code rc = tree_parse(body, len, MODEL_OBJECT_MAX, &root, e);
    if (rc == ERR_OK) {
        char *name = mem_printf("%s:input", rpc->module);
        json_t *input = json_object_get(root, name);
        if (!json_is_object(input) || json_object_size(root) != 1) {
            rc = err_set(e, ERR_MALFORMED, path, "The body is {\"%s\": {...}} and nothing else.",
                         name);
        } else {
            *out = json_incref(input);
        }
        mem_free(name);
    }
    json_decref(root);
    return rc;
}

enum err_code rpc_input_parse(const struct model *m, const struct node *rpc, const char *body,
                              size_t len, enum model_format format, struct arena *a,
                              struct rpc_input *out, struct err *e) {
    const struct node *input = part(rpc, NODE_INPUT);
    const struct module_info *mod = model_module(rpc->module);
    struct buf path = BUF_INIT;
    json_t *value = NULL;
    unsigned flags = 0;
    enum err_code rc = ERR_OK;
    node_path(rpc, &path);
    if (len == 0 || body == NULL) {
        value = json_object();
    } else if (format == FORMAT_XML) {
        const struct xml_cover covers[] = {{"input", mod->ns}, {NULL, NULL}};
        flags = TREE_LEXICAL;
        rc = xml_parse(m, input != NULL ? input : rpc, covers, buf_cstr(&path), body, len, &value,
                       e);
    } else {
        rc = input_of_json(rpc, buf_cstr(&path), body, len, &value, e);
    }
    if (rc == ERR_OK) {
        rc = make_input(m, rpc, value, flags, a, out, e);
    }
    json_decref(value);
    buf_free(&path);
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

enum err_code rpc_output_print(const struct model *m, const struct node *rpc, const char *json,
                               size_t len, const struct print_options *o, struct buf *out,
                               struct err *e) {
    const struct node *output = part(rpc, NODE_OUTPUT);
    json_t *tree = NULL;
    if (output == NULL) {
        return ERR_OK;
    }
    ERR_TRY(trusted_tree(m, output, json, len, &tree, e));
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
