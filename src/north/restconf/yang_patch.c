// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/yang_patch.h"

#include <jansson.h>
#include <string.h>

#include "base/map.h"
#include "north/restconf/xml_slice.h"

#define NS_PATCH "urn:ietf:params:xml:ns:yang:ietf-yang-patch"

static const char *const op_names[] = {"create", "delete",  "insert", "merge",
                                       "move",   "replace", "remove", NULL};
static const char *const where_names[] = {"before", "after", "first", "last", NULL};
static const enum edit_insert where_values[] = {INSERT_BEFORE, INSERT_AFTER, INSERT_FIRST,
                                                INSERT_LAST};

static int word(const char *s, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(s, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* ---- what both forms share ------------------------------------------------------------------- */

struct reader {
    struct arena *a;
    struct yang_patch *patch;
    size_t cap;
    struct patch_edit *edit; /* being read; NULL: none */
    bool has_op;
    struct map ids;
    struct err *e;
    enum err_code rc;
    bool in_patch, in_value;
    struct buf value;
};

static void fail(struct reader *r, enum err_code code, const char *what, const char *name) {
    if (r->rc != ERR_OK) {
        return;
    }
    const char *id = r->edit != NULL && r->edit->id != NULL ? r->edit->id : NULL;
    r->rc = err_set(r->e, code, NULL, "yang-patch%s%.64s: %s%.64s", id ? " edit " : "",
                    id ? id : "", what, name);
}

static void begin_edit(struct reader *r) {
    struct yang_patch *p = r->patch;
    if (p->n_edits == YANG_PATCH_EDITS_MAX) {
        fail(r, ERR_TOO_BIG, "too many edits", "");
        return;
    }
    if (p->n_edits == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct patch_edit *grown = arena_alloc(r->a, cap * sizeof *grown);
        if (p->n_edits > 0) {
            memcpy(grown, p->edits, p->n_edits * sizeof *grown);
        }
        p->edits = grown;
        r->cap = cap;
    }
    r->edit = &p->edits[p->n_edits++];
    *r->edit = (struct patch_edit){.where = INSERT_NONE};
    r->has_op = false;
}

/* A leaf of the patch or of its edit. */
static void take_leaf(struct reader *r, const char *name, const char *text) {
    const char *copy = arena_strdup(r->a, text);
    struct patch_edit *ed = r->edit;
    const char **slot = NULL;
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 && strchr("\t\n\r", *p) == NULL) {
            fail(r, ERR_INVALID, "a control character in ", name); /* RFC 7950 14 */
            return;
        }
    }
    if (ed == NULL) {
        slot = strcmp(name, "patch-id") == 0  ? &r->patch->id
               : strcmp(name, "comment") == 0 ? &r->patch->comment
                                              : NULL;
    } else if (strcmp(name, "edit-id") == 0) {
        slot = &ed->id;
    } else if (strcmp(name, "target") == 0) {
        slot = &ed->target;
    } else if (strcmp(name, "point") == 0) {
        slot = &ed->point;
    } else if (strcmp(name, "operation") == 0) {
        int i = word(text, op_names);
        if (i < 0 || r->has_op) {
            fail(r, ERR_INVALID, "not an operation: ", text);
            return;
        }
        ed->op = (enum patch_op)i;
        r->has_op = true;
        return;
    } else if (strcmp(name, "where") == 0) {
        int i = word(text, where_names);
        if (i < 0 || ed->where != INSERT_NONE) {
            fail(r, ERR_INVALID, "not a place to insert: ", text);
            return;
        }
        ed->where = where_values[i];
        return;
    }
    if (slot == NULL) {
        fail(r, ERR_UNKNOWN, "unknown element ", name);
    } else if (*slot != NULL) {
        fail(r, ERR_INVALID, "given twice: ", name);
    } else {
        *slot = copy;
    }
}

static void check_value(struct reader *r, const struct patch_edit *ed) {
    bool wants = ed->op == PATCH_CREATE || ed->op == PATCH_INSERT || ed->op == PATCH_MERGE ||
                 ed->op == PATCH_REPLACE;
    if (wants && ed->value == NULL) {
        fail(r, ERR_MISSING, "missing element ", "value");
    } else if (!wants && ed->value != NULL) {
        fail(r, ERR_INVALID, "this operation takes no value: ", op_names[ed->op]);
    }
}

static void end_edit(struct reader *r) {
    struct patch_edit *ed = r->edit;
    if (r->rc != ERR_OK || ed == NULL) {
        return;
    }
    const char *missing = ed->id == NULL       ? "edit-id"
                          : !r->has_op         ? "operation"
                          : ed->target == NULL ? "target"
                                               : NULL;
    if (missing != NULL) {
        fail(r, ERR_MISSING, "missing element ", missing);
        return;
    }
    if (ed->target[0] != '/' && ed->target[0] != '\0') {
        fail(r, ERR_INVALID, "a target begins with a slash: ", ed->target);
    }
    bool ordered = ed->op == PATCH_INSERT || ed->op == PATCH_MOVE;
    if (!ordered && (ed->where != INSERT_NONE || ed->point != NULL)) {
        fail(r, ERR_INVALID, "point and where go with insert and move only", "");
    }
    if (ordered && ed->where == INSERT_NONE) {
        ed->where = INSERT_LAST;
    }
    bool relative = ed->where == INSERT_BEFORE || ed->where == INSERT_AFTER;
    if (relative && ed->point == NULL) {
        fail(r, ERR_MISSING, "missing element ", "point");
    }
    if (ed->point != NULL && ed->point[0] != '/') {
        fail(r, ERR_INVALID, "a point begins with a slash: ", ed->point);
    }
    check_value(r, ed);
    if (r->rc == ERR_OK && map_put(&r->ids, ed->id, r) != NULL) {
        fail(r, ERR_INVALID, "this edit-id is used twice", "");
    }
    r->edit = NULL;
}

static void end_patch(struct reader *r) {
    if (r->rc == ERR_OK && r->patch->id == NULL) {
        fail(r, ERR_MISSING, "missing element ", "patch-id");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void read_json_value(struct reader *r, json_t *v) {
    if (!json_is_object(v) || json_object_size(v) != 1) {
        fail(r, ERR_INVALID, "value holds exactly one node", "");
        return;
    }
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        fail(r, ERR_MALFORMED, "value can't be read", "");
        return;
    }
    r->edit->value_len = strlen(text);
    r->edit->value = arena_strndup(r->a, text, r->edit->value_len);
    free(text);
}

static void read_json_edit(struct reader *r, json_t *edit) {
    const char *name;
    json_t *v;
    begin_edit(r);
    if (!json_is_object(edit)) {
        fail(r, ERR_INVALID, "an edit is an object", "");
        return;
    }
    json_object_foreach(edit, name, v) {
        if (r->rc != ERR_OK) {
            return;
        }
        if (strcmp(name, "value") == 0) {
            read_json_value(r, v);
        } else if (json_is_string(v)) {
            take_leaf(r, name, json_string_value(v));
        } else {
            fail(r, ERR_INVALID, "wants a string: ", name);
        }
    }
    end_edit(r);
}

static void read_json(struct reader *r, json_t *root) {
    json_t *patch = json_object_get(root, "ietf-yang-patch:yang-patch");
    if (!json_is_object(patch) || json_object_size(root) != 1) {
        fail(r, ERR_MALFORMED, "the body is an object with one member, ",
             "ietf-yang-patch:yang-patch");
        return;
    }
    const char *name;
    json_t *v;
    json_object_foreach(patch, name, v) {
        if (strcmp(name, "edit") == 0) {
            size_t i;
            json_t *edit;
            if (!json_is_array(v)) {
                fail(r, ERR_INVALID, "wants an array: ", name);
            }
            json_array_foreach(v, i, edit) {
                if (r->rc == ERR_OK) {
                    read_json_edit(r, edit);
                }
            }
        } else if (json_is_string(v)) {
            take_leaf(r, name, json_string_value(v));
        } else {
            fail(r, ERR_INVALID, "wants a string: ", name);
        }
        if (r->rc != ERR_OK) {
            return;
        }
    }
}

/* ---- XML ------------------------------------------------------------------------------------- */

static bool xml_start(void *arg, unsigned depth, const char *ns, const char *name) {
    struct reader *r = arg;
    if (r->rc != ERR_OK) {
        return false;
    }
    if (r->in_value) {
        return true; /* the one node of value, cut out whole */
    }
    if (strcmp(ns, NS_PATCH) != 0) {
        fail(r, ERR_NAMESPACE, "this element's namespace is not yang-patch's: ", name);
    } else if (depth == 0) {
        if (strcmp(name, "yang-patch") != 0) {
            fail(r, ERR_MALFORMED, "the body is a yang-patch, not ", name);
        }
    } else if (depth == 1 && strcmp(name, "edit") == 0) {
        begin_edit(r);
    } else if (depth == 2 && r->edit != NULL && strcmp(name, "value") == 0) {
        if (r->edit->value != NULL) {
            fail(r, ERR_INVALID, "given twice: ", name);
        }
        r->in_value = true;
    } else if (depth > 2 || (depth == 2 && r->edit == NULL)) {
        fail(r, ERR_UNKNOWN, "unknown element ", name);
    }
    return false;
}

static void xml_value(void *arg, const char *text, size_t len) {
    struct reader *r = arg;
    if (r->rc != ERR_OK || r->edit == NULL) {
        return;
    }
    if (r->edit->value != NULL) {
        fail(r, ERR_INVALID, "value holds exactly one node", "");
        return;
    }
    r->edit->value = arena_strndup(r->a, text, len);
    r->edit->value_len = len;
}

static void xml_end(void *arg, unsigned depth, const char *ns, const char *name, const char *text) {
    struct reader *r = arg;
    (void)ns;
    if (r->rc != ERR_OK || depth == 0) {
        return;
    }
    if (depth == 1 && strcmp(name, "edit") == 0) {
        end_edit(r);
    } else if (depth == 2 && strcmp(name, "value") == 0) {
        r->in_value = false;
    } else {
        take_leaf(r, name, text);
    }
}

static const struct xml_slice_ops patch_ops = {xml_start, xml_value, xml_end};

enum err_code yang_patch_parse(const char *body, size_t len, enum model_format format,
                               struct arena *a, struct yang_patch *out, struct err *e) {
    *out = (struct yang_patch){0};
    struct reader r = {.a = a, .patch = out, .e = e};
    if (format == FORMAT_XML) {
        enum err_code rc = xml_slice(body, len, MODEL_DEPTH_MAX, &patch_ops, &r, e);
        r.rc = r.rc == ERR_OK ? rc : r.rc;
    } else {
        json_error_t why;
        json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &why);
        if (root == NULL) {
            r.rc = err_set(e, ERR_MALFORMED, NULL, "line %d: %s", why.line, why.text);
        } else {
            read_json(&r, root);
        }
        json_decref(root);
    }
    end_patch(&r);
    map_free(&r.ids, NULL);
    buf_free(&r.value);
    return r.rc;
}
