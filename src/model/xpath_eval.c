// SPDX-License-Identifier: Apache-2.0
/*
 * Evaluation. Nodes stand in an array in document order, each with the index behind its last
 * descendant, so every axis is a walk over indices. A set of nodes is a sorted array of them.
 */
#include "model/xpath.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/internal.h"
#include "model/xpath_tree.h"

enum value_type { V_NUMBER, V_STRING, V_BOOL, V_SET };
struct value {
    enum value_type type;
    bool b;
    double n;
    const char *s;
    const uint32_t *ids; /* in document order */
    size_t count;
};

struct context {
    uint32_t node;
    size_t position, size;
};

struct evaluation {
    struct arena *a;
    const struct xpath_node *nodes;
    uint32_t n_nodes;
    size_t steps, steps_max;
    const struct context *at; /* of the function that runs */
};

static bool spent(struct evaluation *v, size_t n) {
    v->steps += n;
    return v->steps > v->steps_max;
}

/* ---- the document -----------------------------------------------------------------------------
 */

uint32_t xpath_add(struct xpath_document *d, uint32_t parent, const struct xpath_node *n) {
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->v = mem_array(d->v, d->cap, sizeof *d->v);
    }
    d->v[d->n] = *n;
    d->v[d->n].parent = parent;
    d->v[d->n].end = d->n + 1;
    return d->n++;
}

uint32_t xpath_add_leaf(struct xpath_document *d, uint32_t parent, const struct xpath_node *n,
                        const char *text) {
    uint32_t id = xpath_add(d, parent, n);
    if (text[0] != '\0') {
        xpath_add(d, id, &(struct xpath_node){.text = arena_strdup(d->a, text)});
    }
    d->v[id].end = d->n;
    return id;
}

void xpath_document_free(struct xpath_document *d) {
    arena_free(d->a);
    mem_free(d->v);
}

static void add_element(struct xpath_document *d, uint32_t parent, const struct node *n,
                        const json_t *value) {
    struct xpath_node x = {.name = n->name, .module = n->module};
    if (node_is_leaf(n)) {
        struct buf tmp = BUF_INIT;
        xpath_add_leaf(d, parent, &x, value_text(value, &tmp));
        buf_free(&tmp);
        return;
    }
    uint32_t id = xpath_add(d, parent, &x);
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        const json_t *inner = tree_get(value, n, c);
        if (inner != NULL && (c->type == NODE_LIST || c->type == NODE_LEAF_LIST)) {
            for (size_t k = 0; k < json_array_size(inner); k++) {
                add_element(d, id, c, json_array_get(inner, k));
            }
        } else if (inner != NULL) {
            add_element(d, id, c, inner);
        }
    }
    d->v[id].end = d->n;
}

/* ---- conversions ------------------------------------------------------------------------------
 */

static struct value number(double n) {
    return (struct value){.type = V_NUMBER, .n = n};
}
static struct value boolean(bool b) {
    return (struct value){.type = V_BOOL, .b = b};
}
static struct value string(const char *s) {
    return (struct value){.type = V_STRING, .s = s};
}

/* All text below a node. */
static const char *text_of(struct evaluation *v, uint32_t id) {
    struct buf out = BUF_INIT;
    for (uint32_t i = id; i < v->nodes[id].end && !spent(v, 1); i++) {
        if (v->nodes[i].text != NULL) {
            buf_str(&out, v->nodes[i].text);
        }
    }
    spent(v, out.len);
    const char *s = arena_strdup(v->a, buf_cstr(&out));
    buf_free(&out);
    return s;
}

static const char *number_text(struct evaluation *v, double n) {
    char out[64];
    if (isnan(n)) {
        return "NaN";
    }
    if (isinf(n)) {
        return n > 0 ? "Infinity" : "-Infinity";
    }
    if (n == floor(n)) {
        return arena_printf(v->a, "%.0f", n == 0 ? 0.0 : n);
    }
    int digits = 1; /* no more than tell it from its neighbours */
    do {
        snprintf(out, sizeof out, "%.*g", digits, n);
    } while (strtod(out, NULL) != n && ++digits <= 17);
    const char *exponent = strchr(out, 'e'); /* XPath has none; a fraction's is negative */
    return exponent == NULL ? arena_strdup(v->a, out)
                            : arena_printf(v->a, "%.*f", digits - 1 - atoi(exponent + 1), n);
}

static const char *as_string(struct evaluation *v, struct value x) {
    switch (x.type) {
    case V_NUMBER:
        return number_text(v, x.n);
    case V_BOOL:
        return x.b ? "true" : "false";
    case V_SET:
        return x.count > 0 ? text_of(v, x.ids[0]) : "";
    default:
        return x.s;
    }
}

/* XPath's numbers have no plus sign and no exponent. */
static double parse_number(const char *s) {
    s += strspn(s, " \t\r\n");
    const char *p = s + (*s == '-');
    size_t whole = strspn(p, "0123456789");
    size_t part = p[whole] == '.' ? strspn(p + whole + 1, "0123456789") : 0;
    size_t n = whole + (p[whole] == '.') + part;
    if (whole + part == 0 || p[n + strspn(p + n, " \t\r\n")] != '\0') {
        return NAN;
    }
    return strtod(s, NULL);
}

static double as_number(struct evaluation *v, struct value x) {
    switch (x.type) {
    case V_NUMBER:
        return x.n;
    case V_BOOL:
        return x.b ? 1 : 0;
    default:
        return parse_number(as_string(v, x));
    }
}

static bool as_boolean(struct value x) {
    switch (x.type) {
    case V_NUMBER:
        return x.n != 0 && !isnan(x.n);
    case V_BOOL:
        return x.b;
    case V_SET:
        return x.count > 0;
    default:
        return x.s[0] != '\0';
    }
}

/* ---- functions --------------------------------------------------------------------------------
 */

/* The string that a function is about: its argument's, or the context node's. */
static const char *subject(struct evaluation *v, const struct value *a, size_t n) {
    return n > 0 ? as_string(v, a[0]) : text_of(v, v->at->node);
}

static struct value f_last(struct evaluation *v, const struct value *a, size_t n) {
    return number((double)v->at->size);
}
static struct value f_position(struct evaluation *v, const struct value *a, size_t n) {
    return number((double)v->at->position);
}
static struct value f_count(struct evaluation *v, const struct value *a, size_t n) {
    return number((double)a[0].count);
}
static struct value f_id(struct evaluation *v, const struct value *a, size_t n) {
    return (struct value){.type = V_SET}; /* no node has an id */
}

/* The node that a function on names is about; NULL: it has no name. */
static const struct xpath_node *named(struct evaluation *v, const struct value *a, size_t n) {
    if (n > 0 && a[0].count == 0) {
        return NULL;
    }
    const struct xpath_node *x = &v->nodes[n > 0 ? a[0].ids[0] : v->at->node];
    return x->name != NULL ? x : NULL;
}

static struct value f_local_name(struct evaluation *v, const struct value *a, size_t n) {
    const struct xpath_node *x = named(v, a, n);
    return string(x != NULL ? x->name : "");
}
static struct value f_namespace_uri(struct evaluation *v, const struct value *a, size_t n) {
    const struct xpath_node *x = named(v, a, n);
    const struct module_info *m = x != NULL ? model_module(x->module) : NULL;
    return string(m != NULL ? m->ns : "");
}
static struct value f_name(struct evaluation *v, const struct value *a, size_t n) {
    const struct xpath_node *x = named(v, a, n);
    return string(x != NULL ? arena_printf(v->a, "%s:%s", x->module, x->name) : "");
}

static struct value f_string(struct evaluation *v, const struct value *a, size_t n) {
    return string(subject(v, a, n));
}
static struct value f_concat(struct evaluation *v, const struct value *a, size_t n) {
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < n && !spent(v, out.len); i++) {
        buf_str(&out, as_string(v, a[i]));
    }
    const char *s = arena_strdup(v->a, buf_cstr(&out));
    buf_free(&out);
    return string(s);
}
static struct value f_starts_with(struct evaluation *v, const struct value *a, size_t n) {
    const char *s = as_string(v, a[0]), *with = as_string(v, a[1]);
    return boolean(strncmp(s, with, strlen(with)) == 0);
}
static struct value f_contains(struct evaluation *v, const struct value *a, size_t n) {
    return boolean(strstr(as_string(v, a[0]), as_string(v, a[1])) != NULL);
}
static struct value f_before(struct evaluation *v, const struct value *a, size_t n) {
    const char *s = as_string(v, a[0]), *at = strstr(s, as_string(v, a[1]));
    return string(at != NULL ? arena_strndup(v->a, s, (size_t)(at - s)) : "");
}
static struct value f_after(struct evaluation *v, const struct value *a, size_t n) {
    const char *s = as_string(v, a[0]), *what = as_string(v, a[1]), *at = strstr(s, what);
    return string(at != NULL ? at + strlen(what) : "");
}

/* Bytes of the character at p; a string of ours is UTF-8, a constant may be anything. */
static size_t character(const char *p) {
    int n = utf8_step((const uint8_t *)p, strlen(p) < 4 ? strlen(p) : 4);
    return n > 0 ? (size_t)n : 1;
}

static double round_half_up(double n) {
    return isnan(n) || isinf(n) ? n : floor(n + 0.5);
}

static struct value f_substring(struct evaluation *v, const struct value *a, size_t n) {
    const char *s = as_string(v, a[0]);
    double from = round_half_up(as_number(v, a[1]));
    double to = n > 2 ? from + round_half_up(as_number(v, a[2])) : INFINITY;
    struct buf out = BUF_INIT;
    size_t position = 1;
    for (const char *p = s; *p != '\0' && !spent(v, 1); position++) {
        size_t len = character(p);
        if ((double)position >= from && (double)position < to) {
            buf_add(&out, p, len);
        }
        p += len;
    }
    s = arena_strdup(v->a, buf_cstr(&out));
    buf_free(&out);
    return string(s);
}
static struct value f_string_length(struct evaluation *v, const struct value *a, size_t n) {
    size_t count = 0;
    for (const char *p = subject(v, a, n); *p != '\0' && !spent(v, 1); p += character(p)) {
        count++;
    }
    return number((double)count);
}
static struct value f_normalize_space(struct evaluation *v, const struct value *a, size_t n) {
    struct buf out = BUF_INIT;
    for (const char *p = subject(v, a, n); *p != '\0';) {
        size_t blank = strspn(p, " \t\r\n"), word = strcspn(p + blank, " \t\r\n");
        if (word > 0 && out.len > 0) {
            buf_char(&out, ' ');
        }
        buf_add(&out, p + blank, word);
        p += blank + word;
    }
    spent(v, out.len);
    const char *s = arena_strdup(v->a, buf_cstr(&out));
    buf_free(&out);
    return string(s);
}
static struct value f_translate(struct evaluation *v, const struct value *a, size_t n) {
    const char *s = as_string(v, a[0]), *from = as_string(v, a[1]), *to = as_string(v, a[2]);
    struct buf out = BUF_INIT;
    for (const char *p = s; *p != '\0';) {
        size_t len = character(p);
        const char *f = from, *t = to;
        while (*f != '\0' && (character(f) != len || memcmp(f, p, len) != 0) && !spent(v, 1)) {
            f += character(f);
            t += *t != '\0' ? character(t) : 0;
        }
        if (*f == '\0') {
            buf_add(&out, p, len);
        } else if (*t != '\0') {
            buf_add(&out, t, character(t));
        }
        p += len;
    }
    s = arena_strdup(v->a, buf_cstr(&out));
    buf_free(&out);
    return string(s);
}

static struct value f_boolean(struct evaluation *v, const struct value *a, size_t n) {
    return boolean(as_boolean(a[0]));
}
static struct value f_not(struct evaluation *v, const struct value *a, size_t n) {
    return boolean(!as_boolean(a[0]));
}
static struct value f_true(struct evaluation *v, const struct value *a, size_t n) {
    return boolean(true);
}
static struct value f_false(struct evaluation *v, const struct value *a, size_t n) {
    return boolean(false); /* lang() too: nothing says its language */
}
static struct value f_number(struct evaluation *v, const struct value *a, size_t n) {
    return number(n > 0 ? as_number(v, a[0]) : parse_number(text_of(v, v->at->node)));
}
static struct value f_sum(struct evaluation *v, const struct value *a, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < a[0].count && !spent(v, 1); i++) {
        sum += parse_number(text_of(v, a[0].ids[i]));
    }
    return number(sum);
}
static struct value f_floor(struct evaluation *v, const struct value *a, size_t n) {
    return number(floor(as_number(v, a[0])));
}
static struct value f_ceiling(struct evaluation *v, const struct value *a, size_t n) {
    return number(ceil(as_number(v, a[0])));
}
static struct value f_round(struct evaluation *v, const struct value *a, size_t n) {
    return number(round_half_up(as_number(v, a[0])));
}

const struct xpath_function *xpath_function(const char *name) {
    static const struct xpath_function all[] = {
        {"last", 0, 0, false, false, f_last},
        {"position", 0, 0, false, false, f_position},
        {"count", 1, 1, true, false, f_count},
        {"id", 1, 1, false, true, f_id},
        {"local-name", 0, 1, true, false, f_local_name},
        {"namespace-uri", 0, 1, true, false, f_namespace_uri},
        {"name", 0, 1, true, false, f_name},
        {"string", 0, 1, false, false, f_string},
        {"concat", 2, 64, false, false, f_concat},
        {"starts-with", 2, 2, false, false, f_starts_with},
        {"contains", 2, 2, false, false, f_contains},
        {"substring-before", 2, 2, false, false, f_before},
        {"substring-after", 2, 2, false, false, f_after},
        {"substring", 2, 3, false, false, f_substring},
        {"string-length", 0, 1, false, false, f_string_length},
        {"normalize-space", 0, 1, false, false, f_normalize_space},
        {"translate", 3, 3, false, false, f_translate},
        {"boolean", 1, 1, false, false, f_boolean},
        {"not", 1, 1, false, false, f_not},
        {"true", 0, 0, false, false, f_true},
        {"false", 0, 0, false, false, f_false},
        {"lang", 1, 1, false, false, f_false},
        {"number", 0, 1, false, false, f_number},
        {"sum", 1, 1, true, false, f_sum},
        {"floor", 1, 1, false, false, f_floor},
        {"ceiling", 1, 1, false, false, f_ceiling},
        {"round", 1, 1, false, false, f_round},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static struct value evaluate(struct evaluation *v, const struct xpath_expr *x,
                             const struct context *at);

static bool passes(const struct xpath_node *n, const struct xpath_expr *step) {
    switch (step->test) {
    case XP_TEST_NODE:
        return true;
    case XP_TEST_TEXT:
        return n->text != NULL;
    case XP_TEST_NAME:
        return n->name != NULL && (step->name == NULL || strcmp(step->name, n->name) == 0) &&
               (step->module == NULL || strcmp(step->module, n->module) == 0);
    default:
        return false;
    }
}

struct walk {
    struct evaluation *v;
    const struct xpath_expr *step;
    uint32_t *ids;
    size_t count;
};

static void meet(struct walk *w, uint32_t id) {
    if (!spent(w->v, 1) && passes(&w->v->nodes[id], w->step)) {
        w->ids[w->count++] = id;
    }
}

static void siblings(struct walk *w, uint32_t from, uint32_t end) {
    for (uint32_t i = from; i < end; i = w->v->nodes[i].end) {
        meet(w, i);
    }
}

/* Nodes of the axis in its own order: the nearest first. */
static void walk_axis(struct walk *w, uint32_t id) {
    const struct xpath_node *all = w->v->nodes, *n = &all[id];
    uint32_t up = n->parent;
    switch (w->step->axis) {
    case XP_CHILD:
        siblings(w, id + 1, n->end);
        break;
    case XP_DESCENDANT:
    case XP_DESCENDANT_OR_SELF:
        for (uint32_t i = id + (w->step->axis == XP_DESCENDANT); i < n->end; i++) {
            meet(w, i);
        }
        break;
    case XP_SELF:
        meet(w, id);
        break;
    case XP_PARENT:
        if (id != 0) {
            meet(w, up);
        }
        break;
    case XP_ANCESTOR:
    case XP_ANCESTOR_OR_SELF:
        if (w->step->axis == XP_ANCESTOR_OR_SELF) {
            meet(w, id);
        }
        for (uint32_t i = id; i != 0;) {
            i = all[i].parent;
            meet(w, i);
        }
        break;
    case XP_FOLLOWING_SIBLING:
        if (id != 0) {
            siblings(w, n->end, all[up].end);
        }
        break;
    case XP_FOLLOWING:
        for (uint32_t i = n->end; i < w->v->n_nodes; i++) {
            meet(w, i);
        }
        break;
    case XP_PRECEDING_SIBLING:
        for (uint32_t i = id; i-- > up + 1;) {
            if (all[i].parent == up) {
                meet(w, i);
            }
        }
        break;
    case XP_PRECEDING:
        for (uint32_t i = id; i-- > 0;) {
            if (all[i].end <= id) {
                meet(w, i);
            }
        }
        break;
    default:
        break;
    }
}

/* Keeps those of `ids`, which are in the order that positions are counted in, that all predicates
 * are true of. */
static size_t keep(struct evaluation *v, const struct xpath_expr *predicate, uint32_t *ids,
                   size_t count) {
    for (; predicate != NULL; predicate = predicate->next) {
        size_t kept = 0;
        for (size_t i = 0; i < count && !spent(v, 1); i++) {
            struct context at = {ids[i], i + 1, count};
            struct value x = evaluate(v, predicate->a, &at);
            if (x.type == V_NUMBER ? x.n == (double)(i + 1) : as_boolean(x)) {
                ids[kept++] = ids[i];
            }
        }
        count = kept;
    }
    return count;
}

static struct value set_of_marks(struct evaluation *v, const char *marks) {
    struct value out = {.type = V_SET};
    uint32_t *ids = arena_alloc(v->a, (v->n_nodes + 1) * sizeof *ids);
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        if (marks[i]) {
            ids[out.count++] = i;
        }
    }
    spent(v, v->n_nodes);
    out.ids = ids;
    return out;
}

static struct value evaluate_step(struct evaluation *v, const struct xpath_expr *step,
                                  struct value from) {
    char *marks = arena_alloc(v->a, v->n_nodes + 1);
    uint32_t *ids = arena_alloc(v->a, (v->n_nodes + 1) * sizeof *ids);
    for (size_t i = 0; i < from.count && !spent(v, 1); i++) {
        struct walk w = {v, step, ids, 0};
        walk_axis(&w, from.ids[i]);
        size_t count = keep(v, step->a, ids, w.count);
        for (size_t k = 0; k < count; k++) {
            marks[ids[k]] = 1;
        }
    }
    return set_of_marks(v, marks);
}

/* ---- operators --------------------------------------------------------------------------------
 */

static bool compare_numbers(enum xpath_op op, double a, double b) {
    return op == XP_EQ   ? a == b
           : op == XP_NE ? a != b
           : op == XP_LT ? a < b
           : op == XP_LE ? a <= b
           : op == XP_GT ? a > b
                         : a >= b;
}

static bool compare_atoms(struct evaluation *v, enum xpath_op op, struct value a, struct value b) {
    bool equality = op == XP_EQ || op == XP_NE;
    if (equality && (a.type == V_BOOL || b.type == V_BOOL)) {
        return (as_boolean(a) == as_boolean(b)) == (op == XP_EQ);
    }
    if (equality && a.type == V_STRING && b.type == V_STRING) {
        return (strcmp(a.s, b.s) == 0) == (op == XP_EQ);
    }
    return compare_numbers(op, as_number(v, a), as_number(v, b));
}

/* A set stands for each of its nodes: the comparison is true if it is of any (XPath 3.4). */
static bool compare(struct evaluation *v, enum xpath_op op, struct value a, struct value b) {
    bool with_bool = a.type == V_BOOL || b.type == V_BOOL;
    if (with_bool) {
        a = a.type == V_SET ? boolean(as_boolean(a)) : a;
        b = b.type == V_SET ? boolean(as_boolean(b)) : b;
    }
    size_t na = a.type == V_SET ? a.count : 1, nb = b.type == V_SET ? b.count : 1;
    for (size_t i = 0; i < na; i++) {
        struct value x = a.type == V_SET ? string(text_of(v, a.ids[i])) : a;
        for (size_t k = 0; k < nb && !spent(v, 1); k++) {
            struct value y = b.type == V_SET ? string(text_of(v, b.ids[k])) : b;
            if (compare_atoms(v, op, x, y)) {
                return true;
            }
        }
    }
    return false;
}

static double calculate(enum xpath_op op, double a, double b) {
    return op == XP_ADD   ? a + b
           : op == XP_SUB ? a - b
           : op == XP_MUL ? a * b
           : op == XP_DIV ? a / b
                          : fmod(a, b);
}

static struct value unite(struct evaluation *v, struct value a, struct value b) {
    char *marks = arena_alloc(v->a, v->n_nodes + 1);
    for (size_t i = 0; i < a.count; i++) {
        marks[a.ids[i]] = 1;
    }
    for (size_t i = 0; i < b.count; i++) {
        marks[b.ids[i]] = 1;
    }
    return set_of_marks(v, marks);
}

static struct value one_node(struct evaluation *v, uint32_t id) {
    uint32_t *ids = arena_alloc(v->a, sizeof *ids);
    ids[0] = id;
    return (struct value){.type = V_SET, .ids = ids, .count = 1};
}

static struct value call(struct evaluation *v, const struct xpath_expr *x,
                         const struct context *at) {
    struct value arguments[64]; /* no function takes more */
    size_t n = 0;
    for (const struct xpath_expr *a = x->a; a != NULL; a = a->next) {
        arguments[n++] = evaluate(v, a->a, at);
    }
    v->at = at;
    return x->function->run(v, arguments, n);
}

static struct value evaluate_set(struct evaluation *v, const struct xpath_expr *x,
                                 const struct context *at) {
    struct value set = evaluate(v, x->a, at);
    if (x->op == XP_FILTER) {
        uint32_t *ids = arena_alloc(v->a, (set.count + 1) * sizeof *ids);
        for (size_t i = 0; i < set.count; i++) {
            ids[i] = set.ids[i];
        }
        set.count = keep(v, x->b, ids, set.count);
        set.ids = ids;
        return set;
    }
    for (const struct xpath_expr *s = x->b; s != NULL && !spent(v, 1); s = s->next) {
        set = evaluate_step(v, s, set);
    }
    return set;
}

static struct value evaluate(struct evaluation *v, const struct xpath_expr *x,
                             const struct context *at) {
    if (spent(v, 1)) {
        return boolean(false);
    }
    switch (x->op) {
    case XP_OR:
        return boolean(as_boolean(evaluate(v, x->a, at)) || as_boolean(evaluate(v, x->b, at)));
    case XP_AND:
        return boolean(as_boolean(evaluate(v, x->a, at)) && as_boolean(evaluate(v, x->b, at)));
    case XP_NEGATE:
        return number(-as_number(v, evaluate(v, x->a, at)));
    case XP_NUMBER:
        return number(x->number);
    case XP_LITERAL:
        return string(x->name);
    case XP_CALL:
        return call(v, x, at);
    case XP_FILTER:
    case XP_PATH:
        return evaluate_set(v, x, at);
    case XP_ROOT:
        return one_node(v, 0);
    case XP_CONTEXT:
        return one_node(v, at->node);
    default:
        break;
    }
    struct value a = evaluate(v, x->a, at), b = evaluate(v, x->b, at);
    if (x->op == XP_UNION) {
        return unite(v, a, b);
    }
    return x->op <= XP_GE ? boolean(compare(v, x->op, a, b))
                          : number(calculate(x->op, as_number(v, a), as_number(v, b)));
}

bool xpath_true(const struct xpath *x, const struct node *top, const json_t *tree, bool *given_up) {
    struct xpath_document d = {.a = arena_new()};
    struct context at = {0, 1, 1};
    uint32_t root = xpath_add(&d, 0, &(struct xpath_node){.name = NULL});
    add_element(&d, root, top, tree);
    d.v[root].end = d.n;
    struct evaluation v = {.a = d.a, .nodes = d.v, .n_nodes = d.n, .steps_max = XPATH_STEPS_MAX};
    bool yes = as_boolean(evaluate(&v, x->root, &at));
    bool enough = spent(&v, 0);
    if (given_up != NULL) {
        *given_up = enough;
    }
    xpath_document_free(&d);
    return yes && !enough;
}

bool xpath_select(const struct xpath *x, struct xpath_document *d, const uint32_t **ids,
                  size_t *n) {
    struct evaluation v = {.a = d->a,
                           .nodes = d->v,
                           .n_nodes = d->n,
                           .steps_max = XPATH_STEPS_MAX + (size_t)d->n * XPATH_STEPS_A_NODE};
    struct context at = {0, 1, 1};
    struct value set = evaluate(&v, x->root, &at);
    *ids = set.ids;
    *n = set.type == V_SET ? set.count : 0;
    return !spent(&v, 0);
}
