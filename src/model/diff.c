// SPDX-License-Identifier: Apache-2.0
/* Differences of two versions of one object. */
#include <string.h>

#include "base/text.h"
#include "model/internal.h"
#include "model/print_sink.h"

struct differ {
    void (*f)(void *arg, const struct diff *d);
    void *arg;
    struct buf path, old_text, new_text;
};

static void report(struct differ *d, enum diff_op op, const struct node *n, const char *old,
                   const char *now) {
    struct diff out = {op, n, buf_cstr(&d->path), old, now};
    if (n->secret) {
        out.old_value = old != NULL ? MODEL_SECRET_MASK : NULL;
        out.new_value = now != NULL ? MODEL_SECRET_MASK : NULL;
    }
    d->f(d->arg, &out);
}

static void diff_members(struct differ *d, const struct node *n, const json_t *old,
                         const json_t *now);

static void diff_leaf(struct differ *d, const struct node *n, const json_t *old,
                      const json_t *now) {
    if (old != NULL && now != NULL && json_equal(old, now)) {
        return;
    }
    report(d,
           old == NULL   ? DIFF_CREATE
           : now == NULL ? DIFF_DELETE
                         : DIFF_CHANGE,
           n, old != NULL ? value_text(old, &d->old_text) : NULL,
           now != NULL ? value_text(now, &d->new_text) : NULL);
}

static void diff_entry(struct differ *d, const struct node *n, const json_t *old,
                       const json_t *now) {
    size_t mark = d->path.len;
    tree_add_entry(&d->path, n, old != NULL ? old : now);
    if (n->type == NODE_LEAF_LIST) {
        diff_leaf(d, n, old, now);
    } else {
        if (old == NULL || now == NULL) {
            report(d, old == NULL ? DIFF_CREATE : DIFF_DELETE, n, NULL, NULL);
        }
        diff_members(d, n, old, now);
    }
    d->path.len = mark;
}

/* The moves that make the order after deleting and appending into the new one. */
typedef void (*move_f)(void *arg, const struct node *n, const json_t *entry, const json_t *before,
                       const json_t *after);

static void order_moves(const struct node *n, const json_t *old, const json_t *now, move_f f,
                        void *arg) {
    json_t *have = json_array();
    for (size_t i = 0; i < json_array_size(old); i++) {
        size_t at = tree_find(n, now, json_array_get(old, i));
        if (at != SIZE_MAX) {
            json_array_append(have, json_array_get(now, at));
        }
    }
    for (size_t i = 0; i < json_array_size(now); i++) {
        json_t *entry = json_array_get(now, i);
        if (tree_find(n, old, entry) == SIZE_MAX) {
            json_array_append(have, entry);
        }
    }
    for (size_t i = 0; i < json_array_size(now); i++) {
        json_t *entry = json_array_get(now, i);
        const json_t *at = json_array_get(have, i);
        if (tree_entry_cmp(n, at, entry) == 0) {
            continue;
        }
        f(arg, n, entry, i == 0 ? at : NULL, i > 0 ? json_array_get(now, i - 1) : NULL);
        size_t from = tree_find(n, have, entry);
        json_array_remove(have, from);
        json_array_insert(have, i, entry);
    }
    json_decref(have);
}

static void move_diff(void *arg, const struct node *n, const json_t *entry, const json_t *before,
                      const json_t *after) {
    struct differ *d = arg;
    size_t mark = d->path.len;
    tree_add_entry(&d->path, n, entry);
    report(d, DIFF_MOVE, n, NULL, NULL);
    d->path.len = mark;
}

static void diff_array(struct differ *d, const struct node *n, const json_t *old,
                       const json_t *now) {
    for (size_t i = 0; i < json_array_size(old); i++) {
        const json_t *entry = json_array_get(old, i);
        size_t at = tree_find(n, now, entry);
        diff_entry(d, n, entry, at != SIZE_MAX ? json_array_get(now, at) : NULL);
    }
    for (size_t i = 0; i < json_array_size(now); i++) {
        const json_t *entry = json_array_get(now, i);
        if (tree_find(n, old, entry) == SIZE_MAX) {
            diff_entry(d, n, NULL, entry);
        }
    }
    if (n->user_ordered) {
        order_moves(n, old, now, move_diff, d);
    }
}

static void diff_members(struct differ *d, const struct node *n, const json_t *old,
                         const json_t *now) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        const json_t *a = old != NULL ? tree_get(old, n, c) : NULL;
        const json_t *b = now != NULL ? tree_get(now, n, c) : NULL;
        if ((a == NULL && b == NULL) || c->is_key) {
            continue;
        }
        size_t mark = d->path.len;
        path_add_node(&d->path, c);
        switch (c->type) {
        case NODE_LEAF:
            diff_leaf(d, c, a, b);
            break;
        case NODE_CONTAINER:
            if (c->presence && (a == NULL || b == NULL)) {
                report(d, a == NULL ? DIFF_CREATE : DIFF_DELETE, c, NULL, NULL);
            }
            diff_members(d, c, a, b);
            break;
        default:
            diff_array(d, c, a, b);
            break;
        }
        d->path.len = mark;
    }
}

enum err_code doc_diff(const struct model *m, const struct doc *old, const struct doc *new_doc,
                       void (*f)(void *arg, const struct diff *d), void *arg, struct err *e) {
    const struct doc *any = old != NULL ? old : new_doc;
    if (any == NULL || (old != NULL && new_doc != NULL && strcmp(old->path, new_doc->path) != 0)) {
        return err_set(e, ERR_INTERNAL, any != NULL ? any->path : NULL,
                       "Only versions of one object can be compared.");
    }
    json_t *a = old != NULL ? doc_tree(old) : NULL, *b = new_doc != NULL ? doc_tree(new_doc) : NULL;
    struct differ d = {.f = f, .arg = arg};
    buf_str(&d.path, any->path);
    if (a == NULL || b == NULL) {
        report(&d, a == NULL ? DIFF_CREATE : DIFF_DELETE, any->kind->node, NULL, NULL);
    }
    diff_members(&d, any->kind->node, a, b);
    json_decref(a);
    json_decref(b);
    buf_free(&d.path);
    buf_free(&d.old_text);
    buf_free(&d.new_text);
    return ERR_OK;
}

/* ---- as text ----------------------------------------------------------------------------------
 */

/* Walks both trees and writes lines; `words` is the place in CLI words, each after a blank. */
struct texter {
    enum model_format format;
    struct buf *out, words, headed, member;
    bool any_header;
};

static void member_words(struct buf *out, const struct node *n, const json_t *entry) {
    struct buf tmp = BUF_INIT;
    buf_printf(out, " %s", n->name);
    if (n->type == NODE_LEAF_LIST && entry != NULL) {
        buf_char(out, ' ');
        text_word(out, value_text(entry, &tmp));
    }
    for (size_t i = 0; n->type == NODE_LIST && entry != NULL && i < n->n_keys; i++) {
        const json_t *v = tree_get(entry, n, n->keys[i]);
        buf_char(out, ' ');
        text_word(out, v != NULL ? value_text(v, &tmp) : "");
    }
    buf_free(&tmp);
}

static void header(struct texter *t) {
    if (t->any_header && t->headed.len == t->words.len &&
        (t->words.len == 0 || memcmp(t->headed.data, t->words.data, t->words.len) == 0)) {
        return;
    }
    t->any_header = true;
    buf_clear(&t->headed);
    buf_add(&t->headed, t->words.data, t->words.len);
    buf_printf(t->out, "[edit%s]\n", buf_cstr(&t->words));
}

/* What came or went, whole: `v` is a leaf's value, a container, or an array of entries. */
static void text_member(struct texter *t, char sign, const struct node *n, const json_t *v) {
    if (t->format == FORMAT_SET) {
        if (sign == '+') {
            print_member(n, v, FORMAT_SET, &t->words, t->out);
            return;
        }
        bool many = n->type == NODE_LIST || n->type == NODE_LEAF_LIST;
        for (size_t i = 0; i < (many ? json_array_size(v) : 1); i++) {
            buf_printf(t->out, "delete%s", buf_cstr(&t->words));
            member_words(t->out, n, many ? json_array_get(v, i) : NULL);
            buf_char(t->out, '\n');
        }
        return;
    }
    header(t);
    buf_clear(&t->member);
    print_member(n, v, FORMAT_TEXT, &t->words, &t->member);
    const char *p = buf_cstr(&t->member);
    while (*p != '\0') {
        size_t len = strcspn(p, "\n");
        buf_printf(t->out, "%c   %.*s\n", sign, (int)len, p);
        p += len + (p[len] == '\n');
    }
}

static void text_entry(struct texter *t, char sign, const struct node *n, const json_t *entry) {
    json_t *one = json_array();
    json_array_append(one, (json_t *)(uintptr_t)entry);
    text_member(t, sign, n, one);
    json_decref(one);
}

static void text_move(void *arg, const struct node *n, const json_t *entry, const json_t *before,
                      const json_t *after) {
    struct texter *t = arg;
    if (t->format == FORMAT_SET) {
        buf_printf(t->out, "insert%s", buf_cstr(&t->words));
        member_words(t->out, n, entry);
        buf_str(t->out, before != NULL ? " before" : " after");
        member_words(t->out, n, before != NULL ? before : after);
        buf_char(t->out, '\n');
        return;
    }
    header(t);
    buf_str(t->out, "!  ");
    member_words(t->out, n, entry);
    buf_str(t->out, " { ... }\n");
}

static void text_members(struct texter *t, const struct node *n, const json_t *old,
                         const json_t *now);

static void text_array(struct texter *t, const struct node *n, const json_t *old,
                       const json_t *now) {
    for (size_t i = 0; i < json_array_size(old); i++) {
        const json_t *entry = json_array_get(old, i);
        size_t at = tree_find(n, now, entry);
        if (at == SIZE_MAX) {
            text_entry(t, '-', n, entry);
        } else if (n->type == NODE_LIST) {
            size_t mark = t->words.len;
            member_words(&t->words, n, entry);
            text_members(t, n, entry, json_array_get(now, at));
            t->words.len = mark;
        }
    }
    for (size_t i = 0; i < json_array_size(now); i++) {
        const json_t *entry = json_array_get(now, i);
        if (tree_find(n, old, entry) == SIZE_MAX) {
            text_entry(t, '+', n, entry);
        }
    }
    if (n->user_ordered) {
        order_moves(n, old, now, text_move, t);
    }
}

static void text_members(struct texter *t, const struct node *n, const json_t *old,
                         const json_t *now) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        const json_t *a = old != NULL ? tree_get(old, n, c) : NULL;
        const json_t *b = now != NULL ? tree_get(now, n, c) : NULL;
        if ((a == NULL && b == NULL) || c->is_key || (a != NULL && b != NULL && json_equal(a, b))) {
            continue;
        }
        if (c->type == NODE_LIST || c->type == NODE_LEAF_LIST) {
            text_array(t, c, a, b);
        } else if (c->type == NODE_CONTAINER && ((a != NULL && b != NULL) || !c->presence)) {
            size_t mark = t->words.len;
            member_words(&t->words, c, NULL);
            text_members(t, c, a, b);
            t->words.len = mark;
        } else {
            if (a != NULL && (b == NULL || t->format == FORMAT_TEXT)) {
                text_member(t, '-', c, a);
            }
            if (b != NULL) {
                text_member(t, '+', c, b);
            }
        }
    }
}

enum err_code doc_diff_text(const struct model *m, const struct doc *old, const struct doc *new_doc,
                            enum model_format format, struct buf *out, struct err *e) {
    const struct doc *any = old != NULL ? old : new_doc;
    if (any == NULL || (old != NULL && new_doc != NULL && strcmp(old->path, new_doc->path) != 0) ||
        (format != FORMAT_SET && format != FORMAT_TEXT)) {
        return err_set(e, ERR_INTERNAL, any != NULL ? any->path : NULL,
                       "Only versions of one object can be compared, as set or curly text.");
    }
    struct texter t = {.format = format, .out = out};
    const struct node *n = any->kind->node;
    const char *up[MODEL_DEPTH_MAX];
    size_t k = 0;
    for (const struct node *x = n->parent; x->type != NODE_ROOT && k < MODEL_DEPTH_MAX;
         x = x->parent) {
        up[k++] = x->name;
    }
    while (k-- > 0) {
        buf_printf(&t.words, " %s", up[k]);
    }
    json_t *a = old != NULL ? doc_tree(old) : NULL, *b = new_doc != NULL ? doc_tree(new_doc) : NULL;
    if (a != NULL && b != NULL) {
        member_words(&t.words, n, a);
        text_members(&t, n, a, b);
    } else if (n->type == NODE_LIST) {
        text_entry(&t, a != NULL ? '-' : '+', n, a != NULL ? a : b);
    } else {
        text_member(&t, a != NULL ? '-' : '+', n, a != NULL ? a : b);
    }
    json_decref(a);
    json_decref(b);
    buf_free(&t.words);
    buf_free(&t.headed);
    buf_free(&t.member);
    return ERR_OK;
}
