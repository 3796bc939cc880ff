// SPDX-License-Identifier: Apache-2.0
/*
 * The rules that keep an object's cost independent of everything around it (docs/model.md), and
 * those that keep what is generated complete. Each has a negative test in test/model/bad/.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "model/gen/gen.h"

void gen_error(struct gen *g, const struct lysc_node *at, const char *fmt, ...) {
    char *path = at != NULL ? lysc_path(at, LYSC_PATH_LOG, NULL, 0) : NULL;
    fprintf(stderr, "%s: ", path != NULL ? path : "model");
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    free(path);
    g->n_errors++;
}

static bool inside(const struct lysc_node *x, const struct lysc_node *top) {
    for (; x != NULL; x = x->parent) {
        if (x == top) {
            return true;
        }
    }
    return false;
}

/* An expression of a node in an object may touch nothing outside that object. */
static void check_expression(struct gen *g, const struct gen_node *gn,
                             const struct lysc_node *context, const struct lyxp_expr *expr,
                             const struct lysc_prefix *prefixes, const char *what) {
    struct ly_set *atoms = NULL;
    if (context == NULL) {
        context = gn->schema;
    }
    if (lys_find_expr_atoms(context, gn->schema->module, expr, prefixes, LYS_FIND_XP_SCHEMA,
                            &atoms) != LY_SUCCESS) {
        gen_error(g, gn->schema, "the %s \"%s\" can't be understood", what, lyxp_get_expr(expr));
        return;
    }
    for (uint32_t u = 0; u < atoms->count; u++) {
        if (!inside(atoms->snodes[u], gn->owner->node->schema)) {
            gen_error(g, gn->schema, "the %s \"%s\" leaves the object", what, lyxp_get_expr(expr));
            break;
        }
    }
    ly_set_free(atoms, NULL);
}

static void check_outside(struct gen *g, const struct gen_node *gn) {
    const struct node *n = &gn->n;
    if (n->type != NODE_CONTAINER) {
        gen_error(g, gn->schema, "only plain containers may stand outside objects");
    } else if (n->presence) {
        gen_error(g, gn->schema, "a presence container outside objects must be a kind");
    }
    if (lysc_node_musts(gn->schema) != NULL || lysc_node_when(gn->schema) != NULL) {
        gen_error(g, gn->schema, "must and when have no place outside objects");
    }
    if (gn->choice != NULL) {
        gen_error(g, gn->schema, "a choice has no place outside objects");
    }
}

static void check_kind(struct gen *g, const struct gen_node *gn) {
    const struct node *n = &gn->n;
    const struct lysc_node *s = gn->schema;
    if (gn->kind->k.short_name[0] == '\0' || gn->kind->k.version == 0) {
        gen_error(g, s, "a kind needs a name and a version of 1 or more");
    }
    if (!n->config) {
        gen_error(g, s, "a kind must be configuration");
    }
    if (n->type == NODE_CONTAINER && !n->presence) {
        gen_error(g, s, "a container that is a kind needs a presence statement");
    }
    if (gn->parent->owner != NULL) {
        gen_error(g, s, "a kind inside another kind");
    }
    if (gn->choice != NULL) {
        gen_error(g, s, "a kind inside a choice");
    }
    if (n->type == NODE_LIST) {
        if (n->min_elements > 0 || n->max_elements > 0 || n->n_uniques > 0) {
            gen_error(g, s,
                      "min-elements, max-elements and unique on a kind look at other objects");
        }
        if (n->user_ordered) {
            gen_error(g, s, "objects have no order of their own");
        }
        if (n->n_keys == 0 || n->n_keys > MODEL_KEYS_MAX) {
            gen_error(g, s, "a kind has 1 to %d keys", MODEL_KEYS_MAX);
        }
    }
    for (size_t i = 0; i < g->n_kinds; i++) {
        if (g->kinds[i] != gn->kind && strcmp(g->kinds[i]->k.name, gn->kind->k.name) == 0) {
            gen_error(g, s, "two kinds of the name %s", gn->kind->k.name);
        }
    }
}

/* Of an object that is without it, or has it as another version had it, must be no less an object.
 */
static void check_no_history(struct gen *g, const struct gen_node *gn) {
    const struct node *n = &gn->n;
    const struct lysc_node *s = gn->schema;
    if (n->returns_as != NULL &&
        (!n->no_history || n->type != NODE_LEAF ||
         lyd_value_validate(s->module->ctx, s, n->returns_as, strlen(n->returns_as), NULL, NULL,
                            NULL) != LY_SUCCESS)) {
        gen_error(g, s, "weft:returns-as is a value of a leaf without history");
    }
    if (!n->no_history) {
        return;
    }
    if (gn->kind == NULL && (gn->owner == NULL || !n->config)) {
        gen_error(g, s, "only a kind, or what is configured in one, can be without history");
        return;
    }
    if (gn->kind == NULL && (n->is_key || n->mandatory || n->min_elements > 0)) {
        gen_error(g, s, "what must be there can't be without history");
    }
    bool alone = gn->kind != NULL || gn->choice == NULL;
    for (const struct gen_node *p = gn->parent; alone && gn->kind == NULL && p->kind == NULL;
         p = p->parent) {
        alone = p->n.type == NODE_CONTAINER && p->choice == NULL && !p->n.no_history;
    }
    if (!alone) {
        gen_error(g, s, "a node without history stands in no list and no choice, and once");
    }
    struct gen_kind *k = gn->kind != NULL ? gn->kind : gn->owner;
    k->k.no_history = true;
}

static void check_inside(struct gen *g, const struct gen_node *gn) {
    const struct node *n = &gn->n;
    const struct lysc_node *s = gn->schema;
    LY_ARRAY_COUNT_TYPE u;
    struct lysc_must *musts = lysc_node_musts(s);
    LY_ARRAY_FOR(musts, u) {
        check_expression(g, gn, s, musts[u].cond, musts[u].prefixes, "must");
        if (musts[u].emsg == NULL) {
            gen_error(g, s, "a must without an error-message");
        }
        gn->owner->k.has_xpath = true;
    }
    struct lysc_when **whens = lysc_node_when(s);
    LY_ARRAY_FOR(whens, u) {
        check_expression(g, gn, whens[u]->context, whens[u]->cond, whens[u]->prefixes, "when");
        gn->owner->k.has_xpath = true;
        if (n->mandatory || n->default_value != NULL || n->n_default_values > 0 ||
            n->min_elements > 0) {
            gen_error(g, s, "a node with when can be neither mandatory nor have a default");
        }
    }
    if (n->type == NODE_ANYDATA) {
        gen_error(g, s, "anydata has no place in objects");
    }
    if (gn->ref != NULL && n->ref_required) {
        if (gn->ref->owner != gn->owner) {
            gen_error(g, s, "a reference to another object needs require-instance false");
        } else {
            gn->owner->k.has_xpath = true;
        }
    }
    if (n->type == NODE_LIST && n->n_keys == 0 && n->config) {
        gen_error(g, s, "a list needs a key");
    }
    gn->owner->k.has_secret = gn->owner->k.has_secret || n->secret;
    gn->owner->k.has_state = gn->owner->k.has_state || !n->config;
}

/* An object has one value of it at most, which may be seen in memory. */
static bool can_be_index(const struct gen_node *gn) {
    const struct gen_node *above = gn->parent;
    while (above != NULL && above->kind == NULL && above->n.type == NODE_CONTAINER) {
        above = above->parent;
    }
    return gn->n.type == NODE_LEAF && !gn->n.secret && above != NULL && above->kind != NULL;
}

static void check_node(struct gen *g, const struct gen_node *gn) {
    const struct node *n = &gn->n;
    const struct lysc_node *s = gn->schema;
    if (n->description[0] == '\0' && n->type != NODE_INPUT && n->type != NODE_OUTPUT) {
        gen_error(g, s, "no description");
    }
    if (n->secret && (n->type != NODE_LEAF || n->base != BASE_STRING || n->is_key)) {
        gen_error(g, s, "only a leaf of type string that is no key can be a secret");
    }
    if (n->index && !can_be_index(gn)) {
        gen_error(g, s, "only a leaf of a kind can be an index, no secret and in no inner list");
    }
    if (gen_ext(s->exts, "kind") != NULL && gn->kind == NULL) {
        gen_error(g, s, "only lists and containers can be kinds");
    }
    if (gen_ext(s->exts, "command") != NULL && n->type != NODE_RPC) {
        gen_error(g, s, "only an rpc can be a command");
    }
    if (n->n_keys > MODEL_KEYS_MAX) {
        gen_error(g, s, "more than %d keys", MODEL_KEYS_MAX);
    }
    if (gn->in_input && (lysc_node_musts(s) != NULL || lysc_node_when(s) != NULL)) {
        gen_error(g, s, "must and when are not supported in an rpc's input");
    }
    check_no_history(g, gn);
    if (gn->kind != NULL) {
        check_kind(g, gn);
    }
    if (gn->owner != NULL) {
        check_inside(g, gn);
    } else if (n->config && !gn->in_input && n->type != NODE_INPUT) {
        check_outside(g, gn);
    }
}

/* Every {leaf} of the question is an argument that is always there. */
static void check_question(struct gen *g, const struct gen_command *c) {
    for (const char *p = strchr(c->confirm, '{'); p != NULL; p = strchr(p + 1, '{')) {
        size_t len = strcspn(p + 1, "}");
        bool found = false;
        for (size_t i = 0; i < c->n_args && !found; i++) {
            const struct node *leaf = &c->args[i]->n;
            found = leaf->mandatory && !leaf->secret && strlen(leaf->name) == len &&
                    memcmp(leaf->name, p + 1, len) == 0;
        }
        if (!found || p[1 + len] != '}') {
            gen_error(g, c->rpc->schema, "weft:confirm: {%.*s} is no mandatory leaf of the input",
                      (int)len, p + 1);
        }
    }
}

static void check_command(struct gen *g, const struct gen_command *c) {
    const struct lysc_node *s = c->rpc->schema;
    if (c->n_words < 2) {
        gen_error(g, s, "a command has two words or more");
    }
    if (c->n_bare > 1 || (c->n_bare == 1 && gen_ext(c->args[0]->schema->exts, "bare") == NULL)) {
        gen_error(g, s, "one argument at most is bare, and it comes first");
    }
    if (c->confirm != NULL) {
        check_question(g, c);
    }
    for (size_t i = 0; i < c->n_args; i++) {
        if (c->args[i]->n.type != NODE_LEAF) {
            gen_error(g, c->args[i]->schema, "arguments of a command are leaves");
        }
        if (gen_ext(c->args[i]->schema->exts, "within") != NULL && c->within[i] < 0) {
            gen_error(g, c->args[i]->schema, "weft:within names no argument before it");
        }
    }
    for (size_t i = 0; i < g->n_commands; i++) {
        const struct gen_command *o = g->commands[i];
        bool same = o != c && o->n_words == c->n_words;
        for (size_t w = 0; same && w < c->n_words; w++) {
            same = strcmp(o->words[w], c->words[w]) == 0;
        }
        if (same) {
            gen_error(g, s, "another rpc has the same command");
        }
    }
}

void gen_check(struct gen *g) {
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct gen_node *gn = g->nodes[i];
        if (gn->schema != NULL && gen_ours(gn->schema->module)) {
            check_node(g, gn);
        }
    }
    for (size_t i = 0; i < g->n_commands; i++) {
        check_command(g, g->commands[i]);
    }
}
