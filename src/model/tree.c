// SPDX-License-Identifier: Apache-2.0
/*
 * From any JSON value to a checked tree in normal form. What libyang would do for a whole document
 * is done here node by node, so that every error names its place and says what is wanted, and so
 * that the cost depends on the document alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "model/internal.h"

struct walk {
    const struct model *m;
    unsigned flags;
    unsigned depth;
    struct buf path;
    struct buf canonical, tmp;
    struct err *e;
};

/* ---- text -------------------------------------------------------------------------------------
 */

/* jansson and libyang recurse: depth is limited before either sees the text. */
static enum err_code scan_depth(const char *s, size_t len, struct err *e) {
    unsigned depth = 0;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        if (text) {
            if (s[i] == '\\') {
                i++;
            } else if (s[i] == '"') {
                text = false;
            }
            continue;
        }
        if (s[i] == '"') {
            text = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > MODEL_DEPTH_MAX) {
                return err_set(e, ERR_TOO_BIG, NULL, "The body is nested more than %d deep.",
                               MODEL_DEPTH_MAX);
            }
        } else if ((s[i] == '}' || s[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return ERR_OK;
}

enum err_code tree_parse(const char *text, size_t len, size_t max, json_t **out, struct err *e) {
    json_error_t je;
    if (len > max) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu bytes are too many; %zu are the limit.", len,
                       max);
    }
    ERR_TRY(scan_depth(text, len, e));
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (*out == NULL) {
        if (json_error_code(&je) == json_error_numeric_overflow) {
            return err_set(e, ERR_INVALID, NULL,
                           "Line %d, column %d: the number is too big; 64-bit numbers are written "
                           "as strings in JSON, \"123\".",
                           je.line, je.column);
        }
        return err_set(e, ERR_MALFORMED, NULL, "Line %d, column %d: no valid JSON (%s).", je.line,
                       je.column, je.text);
    }
    return ERR_OK;
}

static int dump_to_buf(const char *p, size_t n, void *arg) {
    buf_add(arg, p, n);
    return 0;
}

void tree_dump(const json_t *v, struct buf *out) {
    json_dump_callback(v, dump_to_buf, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* ---- entries ----------------------------------------------------------------------------------
 */

void tree_keys(const struct node *list, const json_t *entry, struct arena *a, const char *keys[]) {
    struct buf tmp = BUF_INIT;
    for (size_t i = 0; i < list->n_keys; i++) {
        const json_t *v = tree_get(entry, list, list->keys[i]);
        keys[i] = arena_strdup(a, v != NULL ? value_text(v, &tmp) : "");
    }
    buf_free(&tmp);
}

void tree_add_entry(struct buf *path, const struct node *n, const json_t *entry) {
    struct buf tmp = BUF_INIT;
    if (n->type == NODE_LEAF_LIST) {
        path_add_key(path, true, value_text(entry, &tmp));
    } else {
        for (size_t i = 0; i < n->n_keys; i++) {
            const json_t *v = tree_get(entry, n, n->keys[i]);
            path_add_key(path, i == 0, v != NULL ? value_text(v, &tmp) : "");
        }
    }
    buf_free(&tmp);
}

int tree_entry_cmp(const struct node *n, const json_t *a, const json_t *b) {
    struct buf x = BUF_INIT, y = BUF_INIT;
    int r = 0;
    if (n->type == NODE_LEAF_LIST) {
        r = value_cmp(n, value_text(a, &x), value_text(b, &y));
    }
    for (size_t i = 0; i < n->n_keys && r == 0; i++) {
        const json_t *va = tree_get(a, n, n->keys[i]), *vb = tree_get(b, n, n->keys[i]);
        if (va == NULL || vb == NULL) {
            r = (va != NULL) - (vb != NULL);
        } else {
            r = value_cmp(n->keys[i], value_text(va, &x), value_text(vb, &y));
        }
    }
    buf_free(&x);
    buf_free(&y);
    return r;
}

size_t tree_find(const struct node *n, const json_t *array, const json_t *entry) {
    if (n->type == NODE_LIST && n->n_keys == 0) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (tree_entry_cmp(n, json_array_get(array, i), entry) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* ---- checks -----------------------------------------------------------------------------------
 */

static enum err_code check(struct walk *w, const struct node *n, const json_t *in, json_t **out);

static const char *here(struct walk *w) {
    return w->path.len > 0 ? buf_cstr(&w->path) : "/";
}

static const char *json_word(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

static enum err_code wrong_type(struct walk *w, const struct node *n, const json_t *in,
                                const char *want) {
    return err_set(w->e, ERR_INVALID, here(w), "%s is %s here, not %s.", n->name, want,
                   json_word(in));
}

/* The lexical text of a leaf's JSON value, after its JSON type was checked (RFC 7951 section 6). */
static enum err_code leaf_text(struct walk *w, const struct node *n, const json_t *in,
                               const char **text, size_t *len) {
    if (w->flags & TREE_LEXICAL) {
        if (!json_is_string(in)) {
            return wrong_type(w, n, in, "a value");
        }
        *text = json_string_value(in);
        *len = json_string_length(in);
        return ERR_OK;
    }
    bool number = n->base >= BASE_INT8 && n->base <= BASE_UINT64;
    bool wide = n->base == BASE_INT64 || n->base == BASE_UINT64 || n->base == BASE_DECIMAL64;
    if (n->base == BASE_UNION) {
        if (json_is_object(in) || json_is_array(in) || json_is_null(in) || json_is_real(in)) {
            return wrong_type(w, n, in, "a string, an integer or a boolean");
        }
    } else if (n->base == BASE_EMPTY) {
        if (!json_is_array(in) || json_array_size(in) != 1 ||
            !json_is_null(json_array_get(in, 0))) {
            return wrong_type(w, n, in, "[null]");
        }
        *text = "";
        *len = 0;
        return ERR_OK;
    } else if (n->base == BASE_BOOL) {
        if (!json_is_boolean(in)) {
            return wrong_type(w, n, in, "true or false without quotes");
        }
    } else if (wide) {
        if (json_is_number(in)) {
            return err_set(w->e, ERR_INVALID, here(w),
                           "%s is a 64-bit number: JSON has those as strings, \"123\".", n->name);
        }
        if (!json_is_string(in)) {
            return wrong_type(w, n, in, "a number in a string");
        }
    } else if (number) {
        if (json_is_real(in)) {
            return err_set(w->e, ERR_INVALID, here(w), "%s is a whole number.", n->name);
        }
        if (!json_is_integer(in)) {
            return wrong_type(w, n, in, "a number without quotes");
        }
    } else if (!json_is_string(in)) {
        return wrong_type(w, n, in, "a string");
    }
    *text = value_text(in, &w->tmp);
    *len = json_is_string(in) ? json_string_length(in) : strlen(*text);
    return ERR_OK;
}

static enum err_code check_leaf(struct walk *w, const struct node *n, const json_t *in,
                                json_t **out) {
    const char *text = "";
    size_t len = 0;
    enum base_type actual;
    ERR_TRY(leaf_text(w, n, in, &text, &len));
    ERR_TRY(value_check_at(w->m, n, text, len, &w->canonical, &actual, here(w), w->e));
    *out = value_to_json(actual, buf_cstr(&w->canonical), w->canonical.len);
    if (*out == NULL) {
        return err_set(w->e, ERR_INVALID, here(w), "%s is no valid UTF-8.", n->name);
    }
    return ERR_OK;
}

struct entry {
    json_t *v;
    const struct node *n;
};

static int cmp_entries(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return tree_entry_cmp(x->n, x->v, y->v);
}

static enum err_code check_duplicates(struct walk *w, const struct node *n, const json_t *array) {
    struct map seen = MAP_INIT;
    struct buf key = BUF_INIT;
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < json_array_size(array) && rc == ERR_OK; i++) {
        buf_clear(&key);
        tree_add_entry(&key, n, json_array_get(array, i));
        if (map_put_n(&seen, key.data, key.len, w) != NULL) {
            buf_add(&w->path, key.data, key.len);
            rc = err_set(w->e, ERR_INVALID, here(w), "This %s is given twice.", n->name);
        }
    }
    map_free(&seen, NULL);
    buf_free(&key);
    return rc;
}

/* The values at a relative path of a unique statement as one text; false: some are not there. */
static bool unique_text(const struct node *list, const json_t *entry, const char *spec,
                        struct buf *out) {
    struct buf tmp = BUF_INIT;
    bool all = true;
    while (*spec != '\0' && all) {
        const struct node *n = list;
        const json_t *v = entry;
        size_t len = strcspn(spec, " ");
        const char *p = spec, *end = spec + len;
        while (p < end && v != NULL) {
            size_t k = strcspn(p, "/ ");
            const struct node *c = node_child(n, p, k);
            v = c != NULL ? tree_get(v, n, c) : NULL;
            n = c;
            p += k + (p + k < end);
        }
        const char *text = v != NULL ? value_text(v, &tmp) : n != NULL ? n->default_value : NULL;
        all = text != NULL;
        if (all) {
            buf_blob_str(out, text);
        }
        spec = end + strspn(end, " ");
    }
    buf_free(&tmp);
    return all;
}

static enum err_code check_uniques(struct walk *w, const struct node *n, const json_t *array) {
    enum err_code rc = ERR_OK;
    for (size_t u = 0; u < n->n_uniques && rc == ERR_OK; u++) {
        struct map seen = MAP_INIT;
        struct buf key = BUF_INIT;
        for (size_t i = 0; i < json_array_size(array) && rc == ERR_OK; i++) {
            const json_t *entry = json_array_get(array, i);
            buf_clear(&key);
            if (unique_text(n, entry, n->uniques[u], &key) &&
                map_put_n(&seen, key.data, key.len, w) != NULL) {
                tree_add_entry(&w->path, n, entry);
                rc = err_set(w->e, ERR_CONSTRAINT, here(w), "Another %s has the same %s.", n->name,
                             n->uniques[u]);
                err_tag(w->e, rc, "data-not-unique", n->uniques[u]);
            }
        }
        map_free(&seen, NULL);
        buf_free(&key);
    }
    return rc;
}

static enum err_code check_count(struct walk *w, const struct node *n, size_t count) {
    bool few = count<n->min_elements, many = n->max_elements> 0 && count > n->max_elements;
    if (!few && !many) {
        return ERR_OK;
    }
    enum err_code rc =
        err_set(w->e, ERR_CONSTRAINT, here(w), "There must be at %s %u %s, not %zu.",
                few ? "least" : "most", few ? n->min_elements : n->max_elements, n->name, count);
    return err_tag(w->e, rc, few ? "too-few-elements" : "too-many-elements", NULL);
}

static enum err_code check_array(struct walk *w, const struct node *n, const json_t *in,
                                 json_t **out) {
    if (!json_is_array(in)) {
        return wrong_type(w, n, in, "an array");
    }
    json_t *array = json_array();
    enum err_code rc = ERR_OK;
    size_t mark = w->path.len;
    for (size_t i = 0; i < json_array_size(in) && rc == ERR_OK; i++) {
        json_t *v = NULL;
        rc = check(w, n, json_array_get(in, i), &v);
        if (rc == ERR_OK) {
            json_array_append_new(array, v);
        }
    }
    bool keyed = n->type == NODE_LEAF_LIST ? n->config : n->n_keys > 0;
    if (rc == ERR_OK && keyed) {
        rc = check_duplicates(w, n, array);
    }
    size_t count = json_array_size(array);
    if (rc == ERR_OK && keyed && !n->user_ordered && count > 1) {
        struct entry *sorted = mem_array(NULL, count, sizeof *sorted);
        for (size_t i = 0; i < count; i++) {
            sorted[i] = (struct entry){json_incref(json_array_get(array, i)), n};
        }
        qsort(sorted, count, sizeof *sorted, cmp_entries);
        for (size_t i = 0; i < count; i++) {
            json_array_set_new(array, i, sorted[i].v);
        }
        mem_free(sorted);
    }
    if (rc == ERR_OK && !(w->flags & TREE_PARTIAL)) {
        rc = check_count(w, n, count);
        if (rc == ERR_OK) {
            rc = check_uniques(w, n, array);
        }
    }
    if (rc == ERR_OK) {
        w->path.len = mark;
        *out = array;
    } else {
        json_decref(array);
    }
    return rc;
}

/* Puts each member of `in` at its child's place in `by_child`. */
static enum err_code sort_members(struct walk *w, const struct node *n, const json_t *in,
                                  const json_t **by_child) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)in, name, v) {
        const struct node *c = node_child(n, name, strlen(name));
        if (c == NULL) {
            if (name[0] == '@') {
                return err_set(w->e, ERR_ATTRIBUTE, here(w),
                               "Annotations such as \"%.60s\" are not taken.", name);
            }
            return node_unknown(n, name, strlen(name), here(w), w->e);
        }
        if (!c->config && !(w->flags & TREE_STATE)) {
            return err_set(w->e, ERR_INVALID, here(w), "%s is state: it is shown, not set.",
                           c->name);
        }
        size_t i = 0;
        while (n->children[i] != c) {
            i++;
        }
        if (by_child[i] != NULL) {
            return err_set(w->e, ERR_ELEMENT, here(w), "%s is given twice.", c->name);
        }
        by_child[i] = v;
    }
    return ERR_OK;
}

/* Is the case that this child is in chosen: is a node of it, or of a case inside it, there? */
static bool case_chosen(const struct node *n, const struct node *c, const json_t *const *by_child) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *x = n->children[i];
        if (by_child[i] != NULL && x->choice != NULL && !node_excludes(c, x)) {
            for (const struct choice *ch = x->choice; ch != NULL; ch = ch->outer) {
                if (ch == c->choice) {
                    return true;
                }
            }
        }
    }
    return false;
}

static enum err_code check_choices(struct walk *w, const struct node *n,
                                   const json_t *const *by_child) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *a = n->children[i];
        if (a->choice == NULL) {
            continue;
        }
        for (size_t j = 0; by_child[i] != NULL && j < i; j++) {
            if (by_child[j] != NULL && node_excludes(a, n->children[j])) {
                path_add_node(&w->path, a);
                return err_set(w->e, ERR_ELEMENT, here(w),
                               "%s and %s exclude each other; give one of them.",
                               n->children[j]->name, a->name);
            }
        }
        if (a->choice->mandatory && !(w->flags & TREE_PARTIAL) && a->choice->outer == NULL) {
            bool any = false;
            struct buf names = BUF_INIT;
            for (size_t j = 0; j < n->n_children; j++) {
                const struct choice *ch = n->children[j]->choice;
                while (ch != NULL && ch != a->choice) {
                    ch = ch->outer;
                }
                if (ch != NULL) {
                    any = any || by_child[j] != NULL;
                    buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", n->children[j]->name);
                }
            }
            enum err_code rc = any ? ERR_OK
                                   : err_tag(w->e,
                                             err_set(w->e, ERR_INCOMPLETE, here(w),
                                                     "One of %s is needed.", buf_cstr(&names)),
                                             "missing-choice", a->choice->name);
            buf_free(&names);
            ERR_TRY(rc);
        }
    }
    return ERR_OK;
}

static enum err_code check_absent(struct walk *w, const struct node *n, const struct node *c,
                                  const json_t *const *by_child) {
    if (c->is_key) {
        return err_set(w->e, ERR_MISSING, here(w), "The key %s is missing.", c->name);
    }
    if ((w->flags & (TREE_PARTIAL | TREE_TRUSTED)) || !c->config) {
        return ERR_OK;
    }
    if (c->choice != NULL && !case_chosen(n, c, by_child)) {
        return ERR_OK;
    }
    if (c->min_elements > 0) {
        path_add_node(&w->path, c);
        return check_count(w, c, 0);
    }
    if (c->mandatory) {
        return err_set(w->e, ERR_MISSING, here(w), "%s is missing: %s", c->name, c->description);
    }
    if (c->type == NODE_CONTAINER && !c->presence) {
        /* What is mandatory in a plain container is so without it. */
        size_t mark = w->path.len;
        json_t *nothing = json_object(), *v = NULL;
        path_add_node(&w->path, c);
        enum err_code rc = check(w, c, nothing, &v);
        json_decref(nothing);
        json_decref(v);
        ERR_TRY(rc);
        w->path.len = mark;
    }
    return ERR_OK;
}

static enum err_code check_members(struct walk *w, const struct node *n, const json_t *in,
                                   json_t *out) {
    const json_t *few[32] = {0};
    const json_t **by_child = few;
    if (n->n_children > 32) {
        by_child = mem_alloc(n->n_children * sizeof *by_child);
    }
    size_t mark = w->path.len;
    enum err_code rc = sort_members(w, n, in, by_child);
    for (size_t i = 0; i < n->n_children && rc == ERR_OK; i++) {
        const struct node *c = n->children[i];
        if (by_child[i] == NULL) {
            rc = check_absent(w, n, c, by_child);
            continue;
        }
        json_t *v = NULL;
        path_add_node(&w->path, c);
        bool array = c->type == NODE_LIST || c->type == NODE_LEAF_LIST;
        rc = array ? check_array(w, c, by_child[i], &v) : check(w, c, by_child[i], &v);
        if (rc != ERR_OK) {
            break;
        }
        w->path.len = mark;
        bool empty = (c->type == NODE_CONTAINER && !c->presence && json_object_size(v) == 0) ||
                     (array && json_array_size(v) == 0);
        if (empty) {
            json_decref(v);
        } else {
            tree_set_new(out, n, c, v);
        }
    }
    if (rc == ERR_OK) {
        rc = check_choices(w, n, by_child);
    }
    if (by_child != few) {
        mem_free(by_child);
    }
    return rc;
}

/* Keys come first, so that errors deeper down can name the entry. */
static enum err_code check_entry_keys(struct walk *w, const struct node *n, const json_t *in) {
    struct buf keys = BUF_INIT, tmp = BUF_INIT;
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n->n_keys && rc == ERR_OK; i++) {
        const struct node *k = n->keys[i];
        const json_t *v = json_object_get(in, k->name);
        if (v == NULL) {
            buf_clear(&tmp);
            buf_printf(&tmp, "%s:%s", k->module, k->name);
            v = json_object_get(in, buf_cstr(&tmp));
        }
        if (v == NULL) {
            rc = err_set(w->e, ERR_MISSING, here(w), "The key %s of this %s is missing.", k->name,
                         n->name);
            break;
        }
        json_t *checked = NULL;
        rc = check_leaf(w, k, v, &checked);
        if (rc == ERR_OK) {
            path_add_key(&keys, i == 0, value_text(checked, &tmp));
            json_decref(checked);
        }
    }
    buf_add(&w->path, keys.data, keys.len);
    buf_free(&keys);
    buf_free(&tmp);
    return rc;
}

static enum err_code check(struct walk *w, const struct node *n, const json_t *in, json_t **out) {
    size_t mark = w->path.len;
    if (n->type == NODE_LEAF || n->type == NODE_LEAF_LIST) {
        return check_leaf(w, n, in, out);
    }
    if (n->type == NODE_ANYDATA) {
        *out = json_deep_copy(in);
        return ERR_OK;
    }
    if (!json_is_object(in)) {
        return wrong_type(w, n, in, "an object");
    }
    if (++w->depth > MODEL_DEPTH_MAX) {
        return err_set(w->e, ERR_TOO_BIG, here(w), "Nested more than %d deep.", MODEL_DEPTH_MAX);
    }
    enum err_code rc = n->type == NODE_LIST ? check_entry_keys(w, n, in) : ERR_OK;
    json_t *object = json_object();
    if (rc == ERR_OK) {
        rc = check_members(w, n, in, object);
    }
    w->depth--;
    if (rc == ERR_OK) {
        w->path.len = mark;
        *out = object;
    } else {
        json_decref(object);
    }
    return rc;
}

enum err_code tree_check(const struct model *m, const struct node *n, const json_t *in,
                         unsigned flags, const char *path, json_t **out, struct err *e) {
    struct walk w = {.m = m, .flags = flags, .e = e};
    /* The path of an entry is given with its keys; check_entry_keys adds them itself. */
    size_t len = strlen(path);
    if (n->type == NODE_LIST) {
        const char *slash = strrchr(path, '/');
        const char *eq = slash != NULL ? strchr(slash, '=') : NULL;
        len = eq != NULL ? (size_t)(eq - path) : len;
    }
    buf_add(&w.path, path, len);
    *out = NULL;
    enum err_code rc = check(&w, n, in, out);
    if (rc != ERR_OK && (flags & TREE_TRUSTED) && e != NULL) {
        e->code = rc = ERR_INTERNAL;
    }
    buf_free(&w.path);
    buf_free(&w.canonical);
    buf_free(&w.tmp);
    return rc;
}

enum err_code trusted_tree(const struct model *m, const struct node *n, const char *json,
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
