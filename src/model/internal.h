// SPDX-License-Identifier: Apache-2.0
/*
 * Shared inside src/model only. Between parsing and printing a document is a *tree*: a jansson
 * value in normal form, that is: members in schema order under their shortest names (a module only
 * where it differs from the parent's), canonical values in the JSON types of RFC 7951, keyed
 * entries sorted unless ordered by the user, no empty plain containers.
 */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include <jansson.h>

#include "model/model.h"
#include "model/tables.h"

struct ly_ctx;
struct lysc_node;
struct lysc_type;

struct model {
    struct ly_ctx *ctx;
    const struct lysc_node **schema; /* libyang's nodes by our ids; NULL: it has none */
    const struct lysc_type **types;  /* of leaves, leafrefs resolved */
};

/* ---- schema.c ---------------------------------------------------------------------------------
 */

/* The name a child has in its parent's tree: buf is cleared first. */
const char *node_member(const struct node *parent, const struct node *child, struct buf *tmp);
json_t *tree_get(const json_t *object, const struct node *parent, const struct node *child);
void tree_set_new(json_t *object, const struct node *parent, const struct node *child, json_t *v);
void tree_del(json_t *object, const struct node *parent, const struct node *child);
/* "a, b, c" of what may stand below a node, and the one most like `name`; for error texts. */
void node_known_text(const struct node *parent, const char *name, size_t n, struct buf *out);
/* The error for a name that is none of parent's children: ERR_NAMESPACE when its module is no
 * module of ours, else ERR_UNKNOWN. `path`: where it stood. */
enum err_code node_unknown(const struct node *parent, const char *name, size_t n, const char *path,
                           struct err *e);
/* Do two members exclude each other because they are in different cases of a choice? */
bool node_excludes(const struct node *a, const struct node *b);
bool node_is_leaf(const struct node *n); /* leaf or leaf-list */

/* ---- value.c ----------------------------------------------------------------------------------
 */

/* value_check without a path in its errors; `actual` is the member type of a union. */
enum err_code value_check_at(const struct model *m, const struct node *leaf, const char *value,
                             size_t n, struct buf *canonical, enum base_type *actual,
                             const char *path, struct err *e);
json_t *value_to_json(enum base_type base, const char *canonical, size_t n);
/* Lexical text of a JSON scalar; `tmp` holds numbers. Empty: "". */
const char *value_text(const json_t *v, struct buf *tmp);
/* Orders canonical texts of one leaf. */
int value_cmp(const struct node *leaf, const char *a, const char *b);
bool value_ordered_as_text(const struct node *leaf); /* value_cmp is strcmp */
/* must, when and inner references of one object (kind->has_xpath), by libyang. */
enum err_code xpath_check(const struct model *m, const struct kind *k, const char *path,
                          const char *json, size_t len, struct err *e);

/* ---- tree.c -----------------------------------------------------------------------------------
 */

enum {
    TREE_PARTIAL = 1, /* what is missing is not looked at: the payload of a merge */
    TREE_LEXICAL = 2, /* scalars are strings whatever their type: XML, words */
    TREE_STATE = 4,   /* config false nodes too */
    TREE_TRUSTED = 8  /* our own output: a wrong one is ERR_INTERNAL */
};

/* Checks `in`, the value of `n` at `path`, and gives its tree. For lists and leaf-lists `in` is one
 * entry. New reference in *out. */
enum err_code tree_check(const struct model *m, const struct node *n, const json_t *in,
                         unsigned flags, const char *path, json_t **out, struct err *e);
/* JSON of our own, members of an output or a notification, as a tree; a wrong one is ERR_INTERNAL.
 */
enum err_code trusted_tree(const struct model *m, const struct node *n, const char *json,
                           size_t len, json_t **out, struct err *e);
/* Bounded parse of JSON text; depth is checked before jansson sees it. */
enum err_code tree_parse(const char *text, size_t len, size_t max, json_t **out, struct err *e);
void tree_dump(const json_t *v, struct buf *out);
/* The keys of a list entry, as texts in the arena. */
void tree_keys(const struct node *list, const json_t *entry, struct arena *a, const char *keys[]);
/* Adds "=k1,k2" (list) or "=value" (leaf-list) of an entry. */
void tree_add_entry(struct buf *path, const struct node *n, const json_t *entry);
/* Index of the entry with the same keys or value; SIZE_MAX: none. */
size_t tree_find(const struct node *n, const json_t *array, const json_t *entry);
int tree_entry_cmp(const struct node *n, const json_t *a, const json_t *b);

/* ---- pack.c -----------------------------------------------------------------------------------
 */

/* Places things one behind the other; with base NULL it only counts. */
struct bump {
    char *base;
    size_t used;
};
void *bump_take(struct bump *b, size_t n, size_t align);
const char *bump_str(struct bump *b, const char *s, size_t n);
/* Fills the struct of `n` (kind, list, container, input) from its tree; NULL tree: defaults. */
void pack_struct(struct bump *b, const struct node *n, const json_t *tree, char *to);

/* ---- doc.c ------------------------------------------------------------------------------------
 */

/* Checks a raw value and makes the document; in full unless TREE_PARTIAL, which makes a draft. */
enum err_code doc_from_value(const struct model *m, const struct kind *k, const json_t *value,
                             unsigned flags, const char *path, struct doc **out, struct err *e);
json_t *doc_tree(const struct doc *d); /* new reference */
struct refs {
    struct doc_ref *v;
    size_t n;
    struct arena *a;
};
void refs_collect(struct refs *r, const struct node *n, const json_t *tree, struct buf *path);

/* ---- convert.c --------------------------------------------------------------------------------
 */
enum err_code convert_record(const struct kind *k, uint32_t version, json_t *object, struct err *e);

/* ---- path.c -----------------------------------------------------------------------------------
 */
/* Member of the tree of an object, or of any node, at the rest of a path. */
struct step {
    const struct node *node;
    size_t n_keys;
    const char *keys[MODEL_KEYS_MAX]; /* canonical; a leaf-list has its value here */
};
struct steps {
    struct step *v;
    size_t n;
};
enum err_code path_steps(const struct model *m, const char *path, struct arena *a,
                         struct steps *out, struct err *e);

/* ---- xml.c ------------------------------------------------------------------------------------
 */
/* A root element that only covers what is meant, <data> or <input>. */
struct xml_cover {
    const char *name, *ns; /* the last one's name is NULL */
};
/* The elements in `text` as {"module:name": value} with lexical scalars. With `covers` the root
 * element is one of those, else it is a child of `parent`. `base`: path of `parent`, for errors. */
enum err_code xml_parse(const struct model *m, const struct node *parent,
                        const struct xml_cover *covers, const char *base, const char *text,
                        size_t len, json_t **out, struct err *e);

/* ---- print.c ----------------------------------------------------------------------------------
 */
enum err_code print_tree(const struct model *m, const struct node *n, const json_t *tree,
                         const char *path, const struct print_options *o, struct buf *out,
                         struct err *e);
/* A leaf, container, or array of entries as it stands in a document: SET lines after `words`, or
 * TEXT. */
void print_member(const struct node *n, const json_t *v, enum model_format format,
                  const struct buf *words, struct buf *out);

#endif
