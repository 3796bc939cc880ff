// SPDX-License-Identifier: Apache-2.0
/*
 * Edits: one target, one body, one operation. The body is split at the objects; each object is
 * merged, replaced or removed as a tree of its own and comes out as a new document. Nothing larger
 * than one object is ever validated at once.
 */
#include <string.h>

#include "base/map.h"
#include "model/internal.h"

struct editing {
    const struct model *m;
    const struct model_view *view;
    const struct model_edit *edit;
    struct arena *a;
    model_emit emit;
    void *arg;
    struct edit_result *result;
    struct err *e;
    const char *path; /* canonical, of what is edited */
    unsigned flags;   /* TREE_LEXICAL for XML and VALUE */
    struct map seen;  /* object paths of the body */
};

static const char *op_word(enum edit_op op) {
    static const char *const words[] = {"merge", "replace", "create", "delete", "remove", "move"};
    return words[op];
}

static bool removes(enum edit_op op) {
    return op == EDIT_DELETE || op == EDIT_REMOVE;
}

static bool has_body(enum edit_op op) {
    return !removes(op) && op != EDIT_MOVE;
}

/* ---- bodies -----------------------------------------------------------------------------------
 */

/* The body as {"module:name": value}: one child of `parent`, whose path is `base`; with `base` NULL
 * all that stands at the root, in its cover. */
static enum err_code parse_body(struct editing *x, const struct node *parent, const char *base,
                                json_t **out) {
    static const struct xml_cover covers[] = {{"data", "urn:ietf:params:xml:ns:yang:ietf-restconf"},
                                              {"config", "urn:ietf:params:xml:ns:netconf:base:1.0"},
                                              {"data", "urn:ietf:params:xml:ns:netconf:base:1.0"},
                                              {NULL, NULL}};
    static const char *const members[] = {"ietf-restconf:data", "ietf-netconf:config",
                                          "ietf-netconf:data"};
    const struct model_edit *ed = x->edit;
    bool wrapped = base == NULL;
    if (ed->body == NULL) {
        return err_set(x->e, ERR_MISSING, ed->target, "A body is needed to %s.", op_word(ed->op));
    }
    if (ed->format == FORMAT_XML) {
        x->flags |= TREE_LEXICAL;
        return xml_parse(x->m, parent, wrapped ? covers : NULL, wrapped ? "" : base, ed->body,
                         ed->len, out, x->e);
    }
    json_t *v = NULL;
    ERR_TRY(tree_parse(ed->body, ed->len, MODEL_BODY_MAX, &v, x->e));
    if (!json_is_object(v)) {
        json_decref(v);
        return err_set(x->e, ERR_MALFORMED, ed->target, "The body must be a JSON object.");
    }
    for (size_t i = 0; wrapped && i < sizeof members / sizeof *members; i++) {
        json_t *inner = json_object_get(v, members[i]);
        if (json_is_object(inner) && json_object_size(v) == 1) {
            json_incref(inner);
            json_decref(v);
            v = inner;
            break;
        }
    }
    *out = v;
    return ERR_OK;
}

/* At the top of a body names carry their module (RFC 7951 section 4). */
static enum err_code check_qualified(struct editing *x, const struct node *n, const char *name,
                                     const char *path) {
    if (n == NULL || x->edit->format != FORMAT_JSON || strchr(name, ':') != NULL) {
        return ERR_OK;
    }
    return err_set(x->e, ERR_NAMESPACE, path, "\"%.60s\" lacks its module; write \"%s:%s\".", name,
                   n->module, n->name);
}

static enum err_code only_member(struct editing *x, const struct node *parent, json_t *body,
                                 const struct node **child, json_t **value) {
    if (json_object_size(body) != 1) {
        return err_set(x->e, ERR_MALFORMED, x->edit->target,
                       "The body must hold exactly one member, not %zu.", json_object_size(body));
    }
    const char *name = json_object_iter_key(json_object_iter(body));
    *value = json_object_iter_value(json_object_iter(body));
    *child = node_child(parent, name, strlen(name));
    ERR_TRY(check_qualified(x, *child, name, x->edit->target));
    if (*child == NULL) {
        return node_unknown(parent, name, strlen(name), x->edit->target, x->e);
    }
    return ERR_OK;
}

static enum err_code only_entry(struct editing *x, const struct node *n, json_t **value) {
    if (!json_is_array(*value) || json_array_size(*value) != 1) {
        return err_set(x->e, ERR_MALFORMED, x->edit->target,
                       "The body must hold %s as an array of one entry.", n->name);
    }
    *value = json_array_get(*value, 0);
    return ERR_OK;
}

/* The value that FORMAT_VALUE stands for: text for leaves, keys and nothing else for the rest. */
static json_t *plain_value(struct editing *x, const struct step *s) {
    const char *text = x->edit->body != NULL ? x->edit->body : "";
    size_t len = x->edit->body != NULL ? x->edit->len : 0;
    json_t *v;
    switch (s->node->type) {
    case NODE_LEAF:
        return json_stringn(text, len);
    case NODE_LEAF_LIST:
        if (s->n_keys > 0) {
            return json_string(s->keys[0]);
        }
        v = json_array();
        json_array_append_new(v, json_stringn(text, len));
        return v;
    default:
        v = json_object();
        for (size_t i = 0; i < s->n_keys; i++) {
            json_object_set_new(v, s->node->keys[i]->name, json_string(s->keys[i]));
        }
        return v;
    }
}

/* ---- trees ------------------------------------------------------------------------------------
 */

/* What is in another case of a choice goes when a member of this one comes. */
static void drop_other_cases(json_t *object, const struct node *parent, const struct node *child) {
    for (size_t i = 0; child->choice != NULL && i < parent->n_children; i++) {
        if (node_excludes(child, parent->children[i])) {
            tree_del(object, parent, parent->children[i]);
        }
    }
}

static void merge_tree(const struct node *n, json_t *base, const json_t *payload);

static void merge_array(const struct node *n, json_t *base, const json_t *payload) {
    for (size_t i = 0; i < json_array_size(payload); i++) {
        json_t *entry = json_array_get(payload, i);
        size_t at = tree_find(n, base, entry);
        if (at == SIZE_MAX) {
            json_array_append(base, entry);
        } else if (n->type == NODE_LIST) {
            merge_tree(n, json_array_get(base, at), entry);
        }
    }
}

static void merge_tree(const struct node *n, json_t *base, const json_t *payload) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        json_t *v = tree_get(payload, n, c);
        if (v == NULL) {
            continue;
        }
        drop_other_cases(base, n, c);
        json_t *old = tree_get(base, n, c);
        if (old == NULL || c->type == NODE_LEAF) {
            tree_set_new(base, n, c, json_incref(v));
        } else if (c->type == NODE_CONTAINER) {
            merge_tree(c, old, v);
        } else {
            merge_array(c, old, v);
        }
    }
}

static json_t *entry_with_keys(const struct step *s) {
    json_t *v = json_object();
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct node *k = s->node->keys[i];
        tree_set_new(v, s->node, k, value_to_json(k->base, s->keys[i], strlen(s->keys[i])));
    }
    return v;
}

static size_t find_entry(const struct step *s, const json_t *array) {
    json_t *probe = s->node->type == NODE_LEAF_LIST
                        ? value_to_json(s->node->base, s->keys[0], strlen(s->keys[0]))
                        : entry_with_keys(s);
    size_t at = tree_find(s->node, array, probe);
    json_decref(probe);
    return at;
}

/* A draft may still lack what a document must have. */
static unsigned draft_flag(const struct editing *x) {
    return x->edit->draft ? TREE_PARTIAL : 0;
}

/* ---- objects ----------------------------------------------------------------------------------
 */

static enum err_code emit(struct editing *x, struct doc *old, struct doc *new_doc) {
    if (old != NULL && new_doc != NULL && doc_equal(old, new_doc)) {
        return ERR_OK;
    }
    x->result->n_objects++;
    return x->emit(x->arg, old, new_doc, x->e);
}

static enum err_code absent(struct editing *x, const char *path) {
    return err_set(x->e, ERR_ABSENT, path, "There is no such thing to %s.", op_word(x->edit->op));
}

static enum err_code exists(struct editing *x, const char *path) {
    return err_set(x->e, ERR_EXISTS, path, "It exists already.");
}

static enum err_code remove_object(struct editing *x, const char *path) {
    struct doc *old = x->view->get(x->view->arg, path);
    if (old == NULL) {
        return x->edit->op == EDIT_DELETE ? absent(x, path) : ERR_OK;
    }
    enum err_code rc = emit(x, old, NULL);
    doc_drop(old);
    return rc;
}

/* `path`: where the object must be; NULL: wherever the keys in the body say. */
static enum err_code put_object(struct editing *x, const struct kind *k, const char *path,
                                const json_t *value) {
    struct buf named = BUF_INIT;
    struct doc *old = NULL, *new_doc = NULL;
    json_t *payload = NULL, *base = NULL;
    const char *keys[MODEL_KEYS_MAX];
    enum err_code rc;
    ERR_GOTO(rc,
             tree_check(x->m, k->node, value, x->flags | TREE_PARTIAL,
                        path != NULL ? path : k->prefix, &payload, x->e),
             out);
    tree_keys(k->node, payload, x->a, keys);
    path_object(k, keys, &named);
    if (path != NULL && strcmp(path, buf_cstr(&named)) != 0) {
        rc = err_set(x->e, ERR_INVALID, path, "The keys in the body name %s.", buf_cstr(&named));
        goto out;
    }
    if (map_put_n(&x->seen, named.data, named.len, x) != NULL) {
        rc = err_set(x->e, ERR_INVALID, buf_cstr(&named), "This %s is given twice.", k->short_name);
        goto out;
    }
    old = x->view->get(x->view->arg, buf_cstr(&named));
    x->result->created = old == NULL;
    if (old != NULL && x->edit->op == EDIT_CREATE) {
        rc = exists(x, buf_cstr(&named));
        goto out;
    }
    if (old != NULL && x->edit->op == EDIT_MERGE) {
        base = doc_tree(old);
        merge_tree(k->node, base, payload);
    } else {
        base = json_incref(payload);
    }
    ERR_GOTO(rc, doc_from_value(x->m, k, base, draft_flag(x), buf_cstr(&named), &new_doc, x->e),
             out);
    rc = emit(x, old, new_doc);
out:
    doc_drop(old);
    doc_drop(new_doc);
    json_decref(payload);
    json_decref(base);
    buf_free(&named);
    return rc;
}

/* ---- inside an object -------------------------------------------------------------------------
 */

/* Path of the parent; "" for the root. */
static const char *around(struct arena *a, const char *path) {
    return arena_strndup(a, path, (size_t)(strrchr(path, '/') - path));
}

static enum err_code find_point(struct editing *x, const struct step *s, const json_t *array,
                                size_t *at) {
    struct steps steps;
    if (x->edit->point == NULL) {
        return err_set(x->e, ERR_MISSING, x->edit->target, "Before or after what?");
    }
    ERR_TRY(path_steps(x->m, x->edit->point, x->a, &steps, x->e));
    const struct step *p = steps.n > 0 ? &steps.v[steps.n - 1] : NULL;
    bool entry = p != NULL && p->node == s->node && p->n_keys > 0;
    if (entry) {
        struct target t;
        ERR_TRY(path_parse(x->m, x->edit->point, x->a, &t, x->e));
        entry = strcmp(around(x->a, t.path), around(x->a, x->path)) == 0;
    }
    *at = entry ? find_entry(p, array) : SIZE_MAX;
    if (*at == SIZE_MAX) {
        /* RFC 7950 15.7 */
        enum err_code rc =
            err_set(x->e, ERR_BAD_ATTRIBUTE, x->path, "The point %.200s is no %s here.",
                    x->edit->point, s->node->name);
        return err_tag(x->e, rc, "missing-instance", NULL);
    }
    return ERR_OK;
}

/* Puts an entry where `insert` says; one that is there already moves. */
static enum err_code place_entry(struct editing *x, const struct step *s, json_t *array, size_t at,
                                 json_t *entry) {
    size_t to = at;
    if (x->edit->insert == INSERT_NONE) {
        if (at != SIZE_MAX) {
            json_array_set(array, at, entry);
        } else {
            json_array_append(array, entry);
        }
        return ERR_OK;
    }
    if (!s->node->user_ordered) {
        return err_set(x->e, ERR_INVALID, x->path, "%s has no order of its own.", s->node->name);
    }
    json_incref(entry); /* it may be the array's */
    if (at != SIZE_MAX) {
        json_array_remove(array, at);
    }
    enum err_code rc = ERR_OK;
    switch (x->edit->insert) {
    case INSERT_FIRST:
        to = 0;
        break;
    case INSERT_LAST:
        to = json_array_size(array);
        break;
    default:
        rc = find_point(x, s, array, &to);
        to += x->edit->insert == INSERT_AFTER;
        break;
    }
    if (rc == ERR_OK) {
        json_array_insert(array, to, entry);
    }
    json_decref(entry);
    return rc;
}

static enum err_code put_inside(struct editing *x, json_t *parent, const struct node *pn,
                                const struct step *s, const json_t *value, const char *path) {
    const struct node *n = s->node;
    bool entry = s->n_keys > 0;
    bool many = !entry && (n->type == NODE_LIST || n->type == NODE_LEAF_LIST);
    json_t *payload = NULL, *old = tree_get(parent, pn, n);
    enum err_code rc = ERR_OK;
    if (n->is_key) {
        const json_t *key = tree_get(parent, pn, n);
        struct buf tmp = BUF_INIT;
        rc = tree_check(x->m, n, value, x->flags, path, &payload, x->e);
        if (rc == ERR_OK && (key == NULL || !json_equal(key, payload))) {
            rc = err_set(x->e, ERR_INVALID, path, "A key can't be changed.");
        }
        buf_free(&tmp);
        json_decref(payload);
        return rc;
    }
    if (many) {
        if (!json_is_array(value)) {
            return err_set(x->e, ERR_INVALID, path, "%s is an array here.", n->name);
        }
        payload = json_array();
        for (size_t i = 0; i < json_array_size(value) && rc == ERR_OK; i++) {
            json_t *v = NULL;
            rc = tree_check(x->m, n, json_array_get(value, i), x->flags | TREE_PARTIAL, path, &v,
                            x->e);
            if (rc == ERR_OK) {
                json_array_append_new(payload, v);
            }
        }
    } else {
        rc = tree_check(x->m, n, value, x->flags | TREE_PARTIAL, path, &payload, x->e);
    }
    if (rc != ERR_OK) {
        json_decref(payload);
        return rc;
    }
    size_t at = SIZE_MAX;
    bool there = old != NULL;
    if (entry) {
        json_t *probe = n->type == NODE_LEAF_LIST
                            ? value_to_json(n->base, s->keys[0], strlen(s->keys[0]))
                            : entry_with_keys(s);
        if (tree_entry_cmp(n, probe, payload) != 0) {
            rc = err_set(x->e, ERR_INVALID, path, "The body names another %s than the path.",
                         n->name);
        }
        json_decref(probe);
        at = old != NULL ? tree_find(n, old, payload) : SIZE_MAX;
        there = at != SIZE_MAX;
    }
    if (rc == ERR_OK && there && x->edit->op == EDIT_CREATE) {
        rc = exists(x, path);
    }
    if (rc != ERR_OK) {
        json_decref(payload);
        return rc;
    }
    x->result->created = !there;
    drop_other_cases(parent, pn, n);
    if (entry) {
        if (old == NULL) {
            old = json_array();
            tree_set_new(parent, pn, n, old);
        }
        json_t *now = payload;
        if (there && x->edit->op == EDIT_MERGE && n->type == NODE_LIST) {
            now = json_array_get(old, at);
            merge_tree(n, now, payload);
        }
        rc = place_entry(x, s, old, at, now);
    } else if (old != NULL && x->edit->op == EDIT_MERGE && n->type != NODE_LEAF) {
        if (many) {
            merge_array(n, old, payload);
        } else {
            merge_tree(n, old, payload);
        }
    } else {
        tree_set_new(parent, pn, n, json_incref(payload));
    }
    json_decref(payload);
    return rc;
}

static enum err_code remove_inside(struct editing *x, json_t *parent, const struct node *pn,
                                   const struct step *s, const char *path) {
    json_t *old = tree_get(parent, pn, s->node);
    size_t at = old != NULL && s->n_keys > 0 ? find_entry(s, old) : 0;
    if (old == NULL || at == SIZE_MAX) {
        return x->edit->op == EDIT_DELETE ? absent(x, path) : ERR_OK;
    }
    if (s->node->is_key) {
        return err_set(x->e, ERR_INVALID, path, "A key can't be deleted.");
    }
    if (s->n_keys > 0) {
        json_array_remove(old, at);
    } else {
        tree_del(parent, pn, s->node);
    }
    return ERR_OK;
}

static enum err_code move_inside(struct editing *x, json_t *parent, const struct node *pn,
                                 const struct step *s) {
    json_t *array = tree_get(parent, pn, s->node);
    size_t at = array != NULL ? find_entry(s, array) : SIZE_MAX;
    return at != SIZE_MAX ? place_entry(x, s, array, at, json_array_get(array, at))
                          : absent(x, x->path);
}

/* Goes down one step; makes what is missing unless something is to be removed. */
static json_t *enter(json_t *object, const struct node *pn, const struct step *s, bool make) {
    json_t *v = tree_get(object, pn, s->node);
    if (v == NULL && make) {
        drop_other_cases(object, pn, s->node);
        v = s->node->type == NODE_LIST ? json_array() : json_object();
        tree_set_new(object, pn, s->node, v);
    }
    if (v == NULL || s->node->type != NODE_LIST) {
        return v;
    }
    size_t at = find_entry(s, v);
    if (at != SIZE_MAX) {
        return json_array_get(v, at);
    }
    if (!make) {
        return NULL;
    }
    json_t *entry = entry_with_keys(s);
    json_array_append_new(v, entry);
    return entry;
}

static enum err_code edit_inside(struct editing *x, const struct target *t,
                                 const struct steps *steps, const json_t *value) {
    const struct kind *k = t->kind;
    size_t first = 0;
    while (steps->v[first].node->kind == NULL) {
        first++;
    }
    struct doc *old = x->view->get(x->view->arg, t->object), *new_doc = NULL;
    bool make = has_body(x->edit->op), must = x->edit->op != EDIT_REMOVE;
    enum err_code rc = ERR_OK;
    if (old == NULL && !make) {
        return must ? absent(x, t->path) : ERR_OK;
    }
    if (old == NULL && x->edit->child) {
        return err_set(x->e, ERR_ABSENT, t->object, "There is no such object.");
    }
    json_t *tree = old != NULL ? doc_tree(old) : entry_with_keys(&steps->v[first]);
    json_t *at = tree;
    const struct node *pn = k->node;
    for (size_t i = first + 1; i + 1 < steps->n && at != NULL; i++) {
        at = enter(at, pn, &steps->v[i], make);
        pn = steps->v[i].node;
    }
    const struct step *last = &steps->v[steps->n - 1];
    if (at == NULL) {
        rc = must ? absent(x, t->path) : ERR_OK;
    } else if (make) {
        rc = put_inside(x, at, pn, last, value, t->path);
    } else if (x->edit->op == EDIT_MOVE) {
        rc = move_inside(x, at, pn, last);
    } else {
        rc = remove_inside(x, at, pn, last, t->path);
    }
    if (rc == ERR_OK) {
        rc = doc_from_value(x->m, k, tree, draft_flag(x), t->object, &new_doc, x->e);
    }
    if (rc == ERR_OK) {
        rc = emit(x, old, new_doc);
    }
    json_decref(tree);
    doc_drop(old);
    doc_drop(new_doc);
    return rc;
}

/* ---- above objects ----------------------------------------------------------------------------
 */

static enum err_code put_above(struct editing *x, const struct node *n, const json_t *value,
                               struct buf *path) {
    size_t mark = path->len;
    if (n->kind != NULL) {
        if (n->type == NODE_CONTAINER) {
            return put_object(x, n->kind, NULL, value);
        }
        if (!json_is_array(value)) {
            return err_set(x->e, ERR_INVALID, buf_cstr(path), "%s is an array here.", n->name);
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            ERR_TRY(put_object(x, n->kind, NULL, json_array_get(value, i)));
        }
        return ERR_OK;
    }
    if (!json_is_object(value)) {
        return err_set(x->e, ERR_INVALID, buf_cstr(path), "%s is an object here.",
                       n->name[0] != '\0' ? n->name : "The body");
    }
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)value, name, v) {
        const struct node *c = node_child(n, name, strlen(name));
        if (n->type == NODE_ROOT) {
            ERR_TRY(check_qualified(x, c, name, "/"));
        }
        if (c == NULL) {
            return node_unknown(n, name, strlen(name), path->len > 0 ? buf_cstr(path) : "/", x->e);
        }
        path_add_node(path, c);
        if (!c->config) {
            return err_set(x->e, ERR_INVALID, buf_cstr(path), "%s is state: it is shown, not set.",
                           c->name);
        }
        ERR_TRY(put_above(x, c, v, path));
        path->len = mark;
    }
    return ERR_OK;
}

/* Removes the objects below `path` that the body did not name; counts them all. */
static enum err_code sweep(struct editing *x, const char *path, bool only_count, size_t *count) {
    *count = 0;
    for (size_t i = 0; i < model_tables.n_kinds; i++) {
        const struct kind *k = model_tables.kinds[i];
        if (!path_below(k->prefix, path)) {
            continue;
        }
        struct doc *d = x->view->next(x->view->arg, k, NULL);
        while (d != NULL) {
            enum err_code rc = ERR_OK;
            ++*count;
            if (!only_count && map_get_n(&x->seen, d->path, d->path_len) == NULL) {
                rc = emit(x, d, NULL);
            }
            struct doc *next =
                rc == ERR_OK && !only_count ? x->view->next(x->view->arg, k, d) : NULL;
            doc_drop(d);
            ERR_TRY(rc);
            d = next;
        }
    }
    return ERR_OK;
}

static enum err_code edit_above(struct editing *x, const struct target *t, const json_t *value) {
    size_t count = 0;
    if (!t->node->config) {
        return err_set(x->e, ERR_INVALID, t->path, "%s is state: it is shown, not set.",
                       t->node->name);
    }
    if (removes(x->edit->op)) {
        ERR_TRY(sweep(x, t->path, false, &count));
        return count == 0 && x->edit->op == EDIT_DELETE ? absent(x, t->path) : ERR_OK;
    }
    ERR_TRY(sweep(x, t->path, true, &count));
    x->result->created = count == 0;
    if (x->edit->op == EDIT_CREATE && count > 0) {
        return exists(x, t->path);
    }
    bool was_empty = count == 0;
    struct buf path = BUF_INIT;
    buf_str(&path, strcmp(t->path, "/") == 0 ? "" : t->path);
    enum err_code rc = put_above(x, t->node, value, &path);
    buf_free(&path);
    x->result->created = was_empty;
    if (rc == ERR_OK && x->edit->op == EDIT_REPLACE) {
        rc = sweep(x, t->path, false, &count);
    }
    return rc;
}

/* ---- the way in -------------------------------------------------------------------------------
 */

/* The path of a new child (POST): the parent's, its name, and the keys found in the body. */
static enum err_code child_path(struct editing *x, const struct target *parent,
                                const struct node *c, json_t **value, const char **out) {
    struct buf path = BUF_INIT;
    json_t *checked = NULL;
    enum err_code rc = ERR_OK;
    buf_str(&path, strcmp(parent->path, "/") == 0 ? "" : parent->path);
    path_add_node(&path, c);
    if (c->type == NODE_LIST || c->type == NODE_LEAF_LIST) {
        rc = only_entry(x, c, value);
        if (rc == ERR_OK) {
            rc = tree_check(x->m, c, *value, x->flags | TREE_PARTIAL, buf_cstr(&path), &checked,
                            x->e);
        }
        if (rc == ERR_OK) {
            tree_add_entry(&path, c, checked);
        }
        json_decref(checked);
    }
    *out = arena_strdup(x->a, buf_cstr(&path));
    buf_free(&path);
    return rc;
}

static enum err_code edit_body(struct editing *x, struct target *t, struct steps *steps,
                               json_t **body, json_t **value) {
    const struct model_edit *ed = x->edit;
    const struct node *child;
    if (ed->child) {
        if (node_is_leaf(t->node) || (t->node->type == NODE_LIST && !t->entry)) {
            return err_set(x->e, ERR_INVALID, t->path, "Nothing can be created below this.");
        }
        ERR_TRY(parse_body(x, t->node, strcmp(t->path, "/") == 0 ? "" : t->path, body));
        ERR_TRY(only_member(x, t->node, *body, &child, value));
        const char *path;
        ERR_TRY(child_path(x, t, child, value, &path));
        ERR_TRY(path_steps(x->m, path, x->a, steps, x->e));
        return path_parse(x->m, path, x->a, t, x->e);
    }
    if (ed->format == FORMAT_VALUE) {
        if (steps->n == 0) {
            return err_set(x->e, ERR_INVALID, "/", "Everything at once has no value.");
        }
        x->flags |= TREE_LEXICAL;
        *body = *value = plain_value(x, &steps->v[steps->n - 1]);
        return *body != NULL ? ERR_OK
                             : err_set(x->e, ERR_INVALID, t->path, "The value is no valid UTF-8.");
    }
    if (steps->n == 0) {
        ERR_TRY(parse_body(x, t->node, NULL, body));
        *value = *body;
        return ERR_OK;
    }
    ERR_TRY(parse_body(x, t->node->parent, around(x->a, t->path), body));
    ERR_TRY(only_member(x, t->node->parent, *body, &child, value));
    if (child != t->node) {
        return err_set(x->e, ERR_INVALID, t->path, "The body holds %s, the path names %s.",
                       child->name, t->node->name);
    }
    return t->entry ? only_entry(x, child, value) : ERR_OK;
}

enum err_code model_edit(const struct model *m, const struct model_view *view,
                         const struct model_edit *edit, struct arena *a, model_emit f, void *arg,
                         struct edit_result *result, struct err *e) {
    struct edit_result ignored;
    struct editing x = {.m = m,
                        .view = view,
                        .edit = edit,
                        .a = a,
                        .emit = f,
                        .arg = arg,
                        .result = result != NULL ? result : &ignored,
                        .e = e};
    memset(x.result, 0, sizeof *x.result);
    struct target t;
    struct steps steps;
    json_t *body = NULL, *value = NULL;
    ERR_TRY(path_steps(m, edit->target, a, &steps, e));
    ERR_TRY(path_parse(m, edit->target, a, &t, e));
    enum err_code rc = ERR_OK;
    if (has_body(edit->op)) {
        rc = edit_body(&x, &t, &steps, &body, &value);
    }
    if (rc == ERR_OK && !t.node->config) {
        rc = err_set(e, ERR_METHOD, t.path, "%s is state: it is shown, not set.", t.node->name);
    }
    bool placed = edit->insert != INSERT_NONE || edit->op == EDIT_MOVE;
    if (rc == ERR_OK && placed && (t.object == NULL || t.is_object || !t.entry)) {
        rc = err_set(e, ERR_INVALID, t.path, "Only entries inside an object have a place.");
    }
    if (rc == ERR_OK) {
        x.result->path = x.path = t.path;
        if (t.object == NULL) {
            rc = edit_above(&x, &t, value);
        } else if (!t.is_object) {
            rc = edit_inside(&x, &t, &steps, value);
        } else if (removes(edit->op)) {
            rc = remove_object(&x, t.object);
        } else {
            rc = put_object(&x, t.kind, t.object, value);
        }
    }
    json_decref(body);
    map_free(&x.seen, NULL);
    return rc;
}
