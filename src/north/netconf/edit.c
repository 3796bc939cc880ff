// SPDX-License-Identifier: Apache-2.0
#include "north/netconf/edit.h"

#include <string.h>

struct walk {
    struct nc_edits *out;
    struct err *e;
};

bool nc_operation_of(const char *word, enum nc_operation *out) {
    static const char *const names[] = {"merge", "replace", "create", "delete", "remove", "none"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(word, names[i]) == 0) {
            *out = (enum nc_operation)i;
            return true;
        }
    }
    return false;
}

const struct node *nc_node(const struct node *parent, const struct dom *d) {
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *c = parent->children[i];
        if (strcmp(c->name, d->name) != 0 || c->type == NODE_RPC || c->type == NODE_NOTIFICATION) {
            continue;
        }
        const struct module_info *m = model_module(c->module);
        if (d->ns[0] == '\0' || (m != NULL && strcmp(m->ns, d->ns) == 0)) {
            return c;
        }
    }
    return NULL;
}

static struct model_edit *add(struct walk *w, const char *path, bool expect) {
    struct nc_edits *o = w->out;
    if (o->n == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 16;
        struct model_edit *v = arena_alloc(o->a, cap * sizeof *v);
        bool *x = arena_alloc(o->a, cap * sizeof *x);
        if (o->n > 0) {
            memcpy(v, o->v, o->n * sizeof *v);
            memcpy(x, o->expect, o->n * sizeof *x);
        }
        o->v = v;
        o->expect = x;
        o->cap = cap;
    }
    o->expect[o->n] = expect;
    o->v[o->n] = (struct model_edit){.target = arena_strdup(o->a, path), .format = FORMAT_XML};
    return &o->v[o->n++];
}

/* ---- attributes -------------------------------------------------------------------------------
 */

static enum err_code bad_attribute(struct walk *w, const char *path, const char *name,
                                   const char *value) {
    return err_set(w->e, ERR_INVALID, path, "the attribute %s can't be \"%.64s\"", name, value);
}

static enum err_code operation(struct walk *w, const struct dom *d, const char *path,
                               enum nc_operation *op) {
    const char *word = dom_attr(d, NS_NETCONF, "operation");
    if (word == NULL) {
        return ERR_OK;
    }
    return nc_operation_of(word, op) && *op != NC_NONE ? ERR_OK
                                                       : bad_attribute(w, path, "operation", word);
}

/* Does something below say that it is handled in another way than `op`? */
static bool special(const struct dom *d, enum nc_operation op) {
    for (const struct dom *c = d->child; c != NULL; c = c->next) {
        const char *word = dom_attr(c, NS_NETCONF, "operation");
        enum nc_operation own = op;
        if (dom_attr(c, NS_YANG, "insert") != NULL ||
            (word != NULL && (!nc_operation_of(word, &own) || own != op)) || special(c, op)) {
            return true;
        }
    }
    return false;
}

struct keep {
    enum nc_operation op;
};

/* What goes along with its parent: not what is handled by itself. */
static bool goes_along(const struct dom *c, void *arg) {
    const struct keep *k = arg;
    return dom_attr(c, NS_NETCONF, "operation") == NULL && dom_attr(c, NS_YANG, "insert") == NULL &&
           !special(c, k->op);
}

/* "[p:name='a'][p:other='b']", the value of yang:key, as the keys of a sibling. */
static bool key_predicates(const struct node *list, const char *text, struct buf *path) {
    const char *values[MODEL_KEYS_MAX] = {0};
    size_t lens[MODEL_KEYS_MAX] = {0};
    for (const char *p = text; *p != '\0';) {
        if (*p++ != '[') {
            return false;
        }
        size_t n = strcspn(p, "='\"]");
        const char *name = memchr(p, ':', n);
        name = name != NULL ? name + 1 : p;
        size_t name_len = n - (size_t)(name - p), k = 0;
        p += n;
        if (p[0] != '=' || (p[1] != '\'' && p[1] != '"')) {
            return false;
        }
        const char *end = strchr(p + 2, p[1]);
        if (end == NULL || end[1] != ']') {
            return false;
        }
        while (k < list->n_keys && (strlen(list->keys[k]->name) != name_len ||
                                    memcmp(list->keys[k]->name, name, name_len) != 0)) {
            k++;
        }
        if (k == list->n_keys) {
            return false;
        }
        values[k] = p + 2;
        lens[k] = (size_t)(end - p - 2);
        p = end + 2;
    }
    for (size_t k = 0; k < list->n_keys; k++) {
        if (values[k] == NULL) {
            return false;
        }
        char *v = mem_strndup(values[k], lens[k]);
        path_add_key(path, k == 0, v);
        mem_free(v);
    }
    return list->n_keys > 0;
}

static enum err_code insertion(struct walk *w, const struct dom *d, const struct node *n,
                               const char *parent, struct model_edit *edit) {
    const char *where = dom_attr(d, NS_YANG, "insert");
    if (where == NULL) {
        return ERR_OK;
    }
    bool before = strcmp(where, "before") == 0, after = strcmp(where, "after") == 0;
    if (!n->user_ordered) {
        return err_set(w->e, ERR_INVALID, edit->target, "its entries are not ordered by the user");
    }
    edit->insert = before                        ? INSERT_BEFORE
                   : after                       ? INSERT_AFTER
                   : strcmp(where, "first") == 0 ? INSERT_FIRST
                   : strcmp(where, "last") == 0  ? INSERT_LAST
                                                 : INSERT_NONE;
    if (edit->insert == INSERT_NONE) {
        return bad_attribute(w, edit->target, "insert", where);
    }
    if (!before && !after) {
        return ERR_OK;
    }
    bool list = n->type == NODE_LIST;
    const char *name = list ? "key" : "value", *value = dom_attr(d, NS_YANG, name);
    if (value == NULL) {
        return err_set(w->e, ERR_MISSING, edit->target, "the attribute %s is missing", name);
    }
    struct buf point = BUF_INIT;
    buf_str(&point, parent);
    path_add_node(&point, n);
    bool ok = true;
    if (list) {
        ok = key_predicates(n, value, &point);
    } else {
        path_add_key(&point, true, value);
    }
    edit->point = arena_strdup(w->out->a, buf_cstr(&point));
    buf_free(&point);
    return ok ? ERR_OK : bad_attribute(w, edit->target, name, value);
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

static enum err_code add_keys(struct walk *w, const struct dom *d, const struct node *n,
                              struct buf *path) {
    if (n->type == NODE_LEAF_LIST) {
        path_add_key(path, true, d->text);
        return ERR_OK;
    }
    for (size_t k = 0; k < n->n_keys; k++) {
        const struct dom *key = NULL;
        for (const struct dom *c = d->child; c != NULL && key == NULL; c = c->next) {
            key = nc_node(n, c) == n->keys[k] ? c : NULL;
        }
        if (key == NULL) {
            return err_set(w->e, ERR_MISSING, buf_cstr(path), "the key %s is missing",
                           n->keys[k]->name);
        }
        path_add_key(path, k == 0, key->text);
    }
    return ERR_OK;
}

static enum err_code walk_children(struct walk *w, const struct dom *d, const struct node *n,
                                   const char *path, enum nc_operation op);

static enum edit_op edit_op_of(enum nc_operation op) {
    static const enum edit_op ops[] = {EDIT_MERGE, EDIT_REPLACE, EDIT_CREATE, EDIT_DELETE,
                                       EDIT_REMOVE};
    return ops[op];
}

static enum err_code emit(struct walk *w, const struct dom *d, const struct node *n,
                          const char *parent, const char *path, enum nc_operation op) {
    struct keep keep = {op};
    bool by_parts = op != NC_DELETE && op != NC_REMOVE && special(d, op);
    if (w->out->n >= NC_EDITS_MAX) {
        return err_set(w->e, ERR_TOO_BIG, path, "more than %d edits in one request", NC_EDITS_MAX);
    }
    struct model_edit *edit = add(w, path, op == NC_NONE);
    if (op != NC_NONE) {
        edit->op = edit_op_of(op);
        ERR_TRY(insertion(w, d, n, parent, edit));
    }
    if (op != NC_NONE && op != NC_DELETE && op != NC_REMOVE) {
        struct buf body = BUF_INIT;
        dom_print(d, by_parts ? goes_along : NULL, &keep, &body);
        edit->body = arena_strndup(w->out->a, buf_cstr(&body), body.len);
        edit->len = body.len;
        buf_free(&body);
    }
    return by_parts || op == NC_NONE ? walk_children(w, d, n, path, op) : ERR_OK;
}

static enum err_code walk_one(struct walk *w, const struct dom *d, const struct node *parent,
                              const char *parent_path, enum nc_operation op) {
    const struct node *n = d->ns[0] != '\0' ? nc_node(parent, d) : NULL;
    if (n == NULL) {
        enum err_code rc =
            err_set(w->e, ERR_UNKNOWN, parent_path, "there is no element %.64s in %s", d->name,
                    d->ns[0] != '\0' ? d->ns : "no namespace");
        return rc;
    }
    struct buf path = BUF_INIT;
    buf_str(&path, parent_path);
    path_add_node(&path, n);
    enum err_code rc = ERR_OK;
    bool above = n->type == NODE_CONTAINER && n->kind == NULL && n->owner == NULL;
    if (n->type == NODE_LIST || n->type == NODE_LEAF_LIST) {
        rc = add_keys(w, d, n, &path);
    }
    if (rc == ERR_OK && !n->config) {
        rc = err_set(w->e, ERR_INVALID, buf_cstr(&path), "is state, which can't be changed");
    }
    if (rc == ERR_OK && (n->type == NODE_CONTAINER || n->type == NODE_LIST) &&
        d->text[strspn(d->text, " \t\r\n")] != '\0') {
        rc = err_set(w->e, ERR_INVALID, buf_cstr(&path), "holds elements, not text");
    }
    if (rc == ERR_OK) {
        rc = operation(w, d, buf_cstr(&path), &op);
    }
    if (rc == ERR_OK && above && (op == NC_MERGE || op == NC_NONE)) {
        rc = walk_children(w, d, n, buf_cstr(&path), op); /* such containers are always there */
    } else if (rc == ERR_OK) {
        rc = emit(w, d, n, parent_path, buf_cstr(&path), op);
    }
    buf_free(&path);
    return rc;
}

static enum err_code walk_children(struct walk *w, const struct dom *d, const struct node *n,
                                   const char *path, enum nc_operation op) {
    struct keep keep = {op};
    for (const struct dom *c = d->child; c != NULL; c = c->next) {
        bool above = n->owner == NULL && n->kind == NULL;
        const struct node *child = nc_node(n, c);
        bool key = child != NULL && child->is_key;
        if (above || (!key && (op == NC_NONE || !goes_along(c, &keep)))) {
            ERR_TRY(walk_one(w, c, n, path, op));
        }
    }
    return ERR_OK;
}

enum err_code nc_edits_of(const struct dom *config, enum nc_operation by_default, struct arena *a,
                          struct nc_edits *out, struct err *e) {
    *out = (struct nc_edits){.a = a};
    struct walk w = {out, e};
    for (const struct dom *c = config->child; c != NULL; c = c->next) {
        ERR_TRY(walk_one(&w, c, model_root(), "", by_default));
    }
    return ERR_OK;
}
