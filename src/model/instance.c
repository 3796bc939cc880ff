// SPDX-License-Identifier: Apache-2.0
/* Paths as the instance-identifiers of errors (RFC 7950 9.13, RFC 7951 6.11). */
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

struct identifier {
    enum model_format format;
    struct buf *out, *ns;
};

/* What stands before a name of `module`: its prefix in XML, declared the first time. Should another
 * module have taken the prefix, the module's own name, which is unique, is the prefix. */
static const char *prefix_of(struct identifier *id, const char *module) {
    const struct module_info *m = model_module(module);
    if (m == NULL) {
        return "";
    }
    char *head = mem_printf(" xmlns:%s=", m->prefix);
    char *declared = mem_printf("%s\"%s\"", head, m->ns);
    bool known = strstr(buf_cstr(id->ns), declared) != NULL;
    bool taken = !known && strstr(buf_cstr(id->ns), head) != NULL;
    if (taken) {
        mem_free(declared);
        declared = mem_printf(" xmlns:%s=\"%s\"", m->name, m->ns);
        known = strstr(buf_cstr(id->ns), declared) != NULL;
    }
    buf_str(id->ns, known ? "" : declared);
    mem_free(head);
    mem_free(declared);
    return taken ? m->name : m->prefix;
}

/* [name='value']; false: it can't be said. */
static bool add_predicate(struct identifier *id, const struct node *leaf, const char *raw,
                          size_t n) {
    char *text = mem_alloc(n + 1);
    bool xml = id->format == FORMAT_XML, entry = leaf->type == NODE_LEAF_LIST;
    bool ok = path_decode(text, raw, n);
    char quote = strchr(text, '\'') == NULL ? '\'' : '"';
    ok = ok && strchr(text, quote) == NULL;
    const char *prefix = xml && !entry ? prefix_of(id, leaf->module) : "";
    char *colon = xml && leaf->base == BASE_IDENTITY ? strchr(text, ':') : NULL;
    if (ok) {
        buf_printf(id->out, "[%s%s%s=%c", prefix, prefix[0] ? ":" : "", entry ? "." : leaf->name,
                   quote);
        if (colon != NULL) { /* identities are named by prefixes too */
            *colon = '\0';
            buf_printf(id->out, "%s:", prefix_of(id, text));
        }
        buf_printf(id->out, "%s%c]", colon != NULL ? colon + 1 : text, quote);
    }
    mem_free(text);
    return ok;
}

static bool add_predicates(struct identifier *id, const struct node *n, const char *keys,
                           size_t len) {
    const char *end = keys + len;
    if (n->type == NODE_LEAF_LIST) {
        return add_predicate(id, n, keys, len);
    }
    for (size_t i = 0; i < n->n_keys; i++) {
        const char *comma = memchr(keys, ',', (size_t)(end - keys));
        const char *stop = i + 1 < n->n_keys ? comma : end;
        if (stop == NULL || !add_predicate(id, n->keys[i], keys, (size_t)(stop - keys))) {
            return false;
        }
        keys = stop + (stop < end);
    }
    return n->type == NODE_LIST;
}

/* One step; false: it names no single instance. */
static bool add_step(struct identifier *id, const struct node *n, const char *module,
                     const char *keys, size_t len) {
    bool many = n->type == NODE_LIST || n->type == NODE_LEAF_LIST;
    if (id->format == FORMAT_XML) {
        buf_printf(id->out, "/%s:%s", prefix_of(id, n->module), n->name);
    } else {
        bool changed = strcmp(module, n->module) != 0;
        buf_printf(id->out, "/%s%s%s", changed ? n->module : "", changed ? ":" : "", n->name);
    }
    return many == (keys != NULL) && (!many || add_predicates(id, n, keys, len));
}

static const struct node *input_of(const struct node *rpc) {
    for (size_t i = 0; i < rpc->n_children; i++) {
        if (rpc->children[i]->type == NODE_INPUT) {
            return rpc->children[i];
        }
    }
    return rpc;
}

bool path_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns,
                      bool *exact) {
    const struct node *at = model_root();
    struct identifier id = {format, out, ns};
    const char *module = "";
    size_t start = out->len, whole = start;
    while (*path == '/' && path[1] != '\0') {
        size_t step = strcspn(++path, "/"), name = strcspn(path, "/=");
        const struct node *n = node_child(at, path, name);
        if (n == NULL && at->type == NODE_ROOT) {
            char *rpc = mem_strndup(path, name);
            n = model_rpc(rpc);
            mem_free(rpc);
        }
        if (n == NULL ||
            !add_step(&id, n, module, name < step ? path + name + 1 : NULL, step - name - 1)) {
            break;
        }
        whole = out->len;
        module = n->module;
        at = n->type == NODE_RPC ? input_of(n) : n;
        path += step;
    }
    out->len = whole;
    *exact = whole > start && *path == '\0';
    return whole > start;
}
