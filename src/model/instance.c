// SPDX-License-Identifier: Apache-2.0
/* Paths as the instance-identifiers of errors (RFC 7950 9.13, RFC 7951 6.11). */
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

static bool add_predicate(struct buf *out, const char *prefix, const char *name, const char *raw,
                          size_t n) {
    char *value = mem_alloc(n + 1);
    bool ok = path_decode(value, raw, n);
    char quote = strchr(value, '\'') == NULL ? '\'' : '"';
    ok = ok && strchr(value, quote) == NULL;
    if (ok) {
        buf_printf(out, "[%s%s%s=%c%s%c]", prefix, prefix[0] ? ":" : "", name, quote, value, quote);
    }
    mem_free(value);
    return ok;
}

static bool add_keys(struct buf *out, const char *prefix, const struct node *n, const char *keys,
                     size_t len) {
    if (n->type == NODE_LEAF_LIST) {
        return add_predicate(out, "", ".", keys, len);
    }
    const char *end = keys + len;
    for (size_t i = 0; i < n->n_keys; i++) {
        const char *comma = memchr(keys, ',', (size_t)(end - keys));
        const char *stop = i + 1 < n->n_keys ? comma : end;
        if (stop == NULL ||
            !add_predicate(out, prefix, n->keys[i]->name, keys, (size_t)(stop - keys))) {
            return false;
        }
        keys = stop + (stop < end);
    }
    return n->type == NODE_LIST;
}

bool path_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns) {
    const struct node *n = model_root();
    const char *module = "";
    bool xml = format == FORMAT_XML;
    if (path[0] != '/' || path[1] == '\0') {
        return false;
    }
    while (*path == '/') {
        path++;
        size_t step = strcspn(path, "/"), name = strcspn(path, "/=");
        n = node_child(n, path, name);
        if (n == NULL) {
            return false;
        }
        const struct module_info *m = model_module(n->module);
        const char *prefix = xml && m != NULL ? m->prefix : "";
        bool changed = strcmp(module, n->module) != 0;
        module = n->module;
        if (xml) {
            char declared[128];
            snprintf(declared, sizeof declared, " xmlns:%s=", prefix);
            if (strstr(buf_cstr(ns), declared) == NULL) {
                buf_printf(ns, "%s\"%s\"", declared, m != NULL ? m->ns : "");
            }
            buf_printf(out, "/%s:%s", prefix, n->name);
        } else {
            buf_printf(out, "/%s%s%s", changed ? n->module : "", changed ? ":" : "", n->name);
        }
        if (name < step && !add_keys(out, prefix, n, path + name + 1, step - name - 1)) {
            return false;
        }
        path += step;
    }
    return *path == '\0';
}
