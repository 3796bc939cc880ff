// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <inttypes.h>
#include <libyang/plugins_types.h>
#include <stdlib.h>
#include <string.h>

#include "model/gen/gen.h"

#define PUSH(array, count, item)                                                                   \
    do {                                                                                           \
        (array) = mem_array((array), (count) + 1, sizeof *(array));                                \
        (array)[(count)++] = (item);                                                               \
    } while (0)

const char *gen_ext(const struct lysc_ext_instance *exts, const char *name) {
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(exts, u) {
        if (strcmp(exts[u].def->module->name, "weft-extensions") == 0 &&
            strcmp(exts[u].def->name, name) == 0) {
            return exts[u].argument != NULL ? exts[u].argument : "";
        }
    }
    return NULL;
}

bool gen_ours(const struct lys_module *m) {
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(m->parsed->imports, u) {
        if (strcmp(m->parsed->imports[u].name, "weft-extensions") == 0) {
            return true;
        }
    }
    return false;
}

char *gen_ident(struct arena *a, const char *name) {
    static const char *const reserved[] = {
        "auto",   "bool",   "break",    "case",   "char",     "const",  "continue", "default",
        "do",     "double", "else",     "enum",   "extern",   "float",  "for",      "goto",
        "if",     "inline", "int",      "long",   "register", "return", "short",    "signed",
        "sizeof", "static", "struct",   "switch", "typedef",  "union",  "unsigned", "void",
        "while",  "true",   "volatile", "asm",    "false",    "linux",  "unix"};
    char *s = arena_printf(a, "%s%s", isdigit((unsigned char)name[0]) ? "_" : "", name);
    for (char *p = s; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p)) {
            *p = '_';
        }
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcmp(s, reserved[i]) == 0) {
            return arena_printf(a, "%s_", s);
        }
    }
    return s;
}

const char *gen_module_prefix(struct arena *a, const char *module) {
    return gen_ident(a, strncmp(module, "weft-", 5) == 0 ? module + 5 : module);
}

/* Line breaks and indentation of the source become single blanks; empty lines stay. */
static char *reflow(struct arena *a, const char *s) {
    if (s == NULL) {
        return NULL;
    }
    struct buf b = BUF_INIT;
    size_t lines = 0;
    bool space = false;
    for (; *s != '\0'; s++) {
        if (isspace((unsigned char)*s)) {
            space = true;
            lines += *s == '\n';
            continue;
        }
        if (space && b.len > 0) {
            buf_str(&b, lines > 1 ? "\n\n" : " ");
        }
        space = false;
        lines = 0;
        buf_char(&b, *s);
    }
    char *out = arena_strdup(a, buf_cstr(&b));
    buf_free(&b);
    return out;
}

static char *range_text(struct gen *g, const struct lysc_range *r, bool is_signed,
                        unsigned fraction) {
    if (r == NULL) {
        return NULL;
    }
    struct buf b = BUF_INIT;
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(r->parts, u) {
        buf_str(&b, u > 0 ? " | " : "");
        for (int end = 0; end < 2; end++) {
            if (end == 1 && r->parts[u].min_u64 == r->parts[u].max_u64) {
                break;
            }
            buf_str(&b, end == 1 ? ".." : "");
            if (!is_signed) {
                buf_printf(&b, "%" PRIu64, end ? r->parts[u].max_u64 : r->parts[u].min_u64);
                continue;
            }
            int64_t v = end ? r->parts[u].max_64 : r->parts[u].min_64;
            if (fraction == 0) {
                buf_printf(&b, "%" PRId64, v);
            } else {
                uint64_t scale = 1, abs = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
                for (unsigned i = 0; i < fraction; i++) {
                    scale *= 10;
                }
                buf_printf(&b, "%s%" PRIu64 ".%0*" PRIu64, v < 0 ? "-" : "", abs / scale,
                           (int)fraction, abs % scale);
            }
        }
    }
    char *out = arena_strdup(g->a, buf_cstr(&b));
    buf_free(&b);
    return out;
}

static enum base_type string_base(const struct lysc_type_str *t) {
    static const struct {
        const char *tag;
        enum base_type base;
    } tags[] = {{"weft-ipv4-address", BASE_IP_ADDR},  {"weft-ipv6-address", BASE_IP_ADDR},
                {"weft-ip-address", BASE_IP_ADDR},    {"weft-ipv4-prefix", BASE_IP_PREFIX},
                {"weft-ipv6-prefix", BASE_IP_PREFIX}, {"weft-ip-prefix", BASE_IP_PREFIX}};
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(t->patterns, u) {
        for (size_t i = 0; t->patterns[u]->eapptag != NULL && i < sizeof tags / sizeof *tags; i++) {
            if (strcmp(t->patterns[u]->eapptag, tags[i].tag) == 0) {
                return tags[i].base;
            }
        }
    }
    return BASE_STRING;
}

static void add_identities(struct gen *g, struct node_enum **out, size_t *n,
                           const struct lysc_ident *base) {
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(base->derived, u) {
        const struct lysc_ident *d = base->derived[u];
        struct node_enum e = {arena_printf(g->a, "%s:%s", d->module->name, d->name),
                              reflow(g->a, d->dsc), 0};
        bool known = false;
        for (size_t i = 0; i < *n; i++) {
            known = known || strcmp((*out)[i].name, e.name) == 0;
        }
        if (!known) {
            PUSH(*out, *n, e);
            add_identities(g, out, n, d);
        }
    }
}

static void set_type(struct gen *g, struct node *n, const struct lysc_type *t) {
    static const enum base_type plain[] = {
        [LY_TYPE_INT8] = BASE_INT8,        [LY_TYPE_INT16] = BASE_INT16,
        [LY_TYPE_INT32] = BASE_INT32,      [LY_TYPE_INT64] = BASE_INT64,
        [LY_TYPE_UINT8] = BASE_UINT8,      [LY_TYPE_UINT16] = BASE_UINT16,
        [LY_TYPE_UINT32] = BASE_UINT32,    [LY_TYPE_UINT64] = BASE_UINT64,
        [LY_TYPE_DEC64] = BASE_DECIMAL64,  [LY_TYPE_BOOL] = BASE_BOOL,
        [LY_TYPE_EMPTY] = BASE_EMPTY,      [LY_TYPE_ENUM] = BASE_ENUM,
        [LY_TYPE_BITS] = BASE_BITS,        [LY_TYPE_STRING] = BASE_STRING,
        [LY_TYPE_BINARY] = BASE_BINARY,    [LY_TYPE_IDENT] = BASE_IDENTITY,
        [LY_TYPE_INST] = BASE_INSTANCE_ID, [LY_TYPE_UNION] = BASE_UNION};
    n->base = (size_t)t->basetype < sizeof plain / sizeof *plain ? plain[t->basetype] : BASE_STRING;
    n->xpath = t->plugin != NULL && t->plugin->id != NULL &&
               (strstr(t->plugin->id, "xpath1.0") != NULL ||
                strstr(t->plugin->id, "node-instance-identifier") != NULL);
    struct node_enum *list = NULL;
    size_t count = 0;
    switch (t->basetype) {
    case LY_TYPE_INT8:
    case LY_TYPE_INT16:
    case LY_TYPE_INT32:
    case LY_TYPE_INT64:
        n->range = range_text(g, ((const struct lysc_type_num *)t)->range, true, 0);
        break;
    case LY_TYPE_UINT8:
    case LY_TYPE_UINT16:
    case LY_TYPE_UINT32:
    case LY_TYPE_UINT64:
        n->range = range_text(g, ((const struct lysc_type_num *)t)->range, false, 0);
        break;
    case LY_TYPE_DEC64: {
        const struct lysc_type_dec *d = (const struct lysc_type_dec *)t;
        n->fraction_digits = d->fraction_digits;
        n->range = range_text(g, d->range, true, d->fraction_digits);
        break;
    }
    case LY_TYPE_STRING: {
        const struct lysc_type_str *s = (const struct lysc_type_str *)t;
        n->base = string_base(s);
        n->range = range_text(g, s->length, false, 0);
        size_t total = LY_ARRAY_COUNT(s->patterns);
        const char **patterns = arena_alloc(g->a, (total + 1) * sizeof *patterns);
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(s->patterns, u) {
            patterns[u] = arena_printf(g->a, "%s%s", s->patterns[u]->inverted ? "!" : "",
                                       s->patterns[u]->expr);
        }
        n->patterns = patterns;
        n->n_patterns = total;
        break;
    }
    case LY_TYPE_BINARY:
        n->range = range_text(g, ((const struct lysc_type_bin *)t)->length, false, 0);
        break;
    case LY_TYPE_ENUM:
    case LY_TYPE_BITS: {
        const struct lysc_type_enum *en = (const struct lysc_type_enum *)t;
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(en->enums, u) {
            struct node_enum e = {en->enums[u].name, reflow(g->a, en->enums[u].dsc),
                                  t->basetype == LY_TYPE_ENUM ? en->enums[u].value
                                                              : (int64_t)en->enums[u].position};
            PUSH(list, count, e);
        }
        break;
    }
    case LY_TYPE_IDENT: {
        const struct lysc_type_identityref *id = (const struct lysc_type_identityref *)t;
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(id->bases, u) {
            add_identities(g, &list, &count, id->bases[u]);
        }
        break;
    }
    default:
        break;
    }
    if (count > 0) {
        struct node_enum *kept = arena_alloc(g->a, count * sizeof *kept);
        memcpy(kept, list, count * sizeof *kept);
        n->enums = kept;
        n->n_enums = count;
    }
    mem_free(list);
}

/* The typedef named in the source; for enums and bits also what to call the C type after. */
static void set_type_name(struct gen *g, struct gen_node *gn, const struct lysp_type *t) {
    const char *colon = strchr(t->name, ':');
    const char *local = colon != NULL ? colon + 1 : t->name;
    gn->n.type_name = arena_strdup(g->a, local);
    static const char *const built_in[] = {"enumeration", "bits", "leafref", "union"};
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) {
        if (strcmp(local, built_in[i]) == 0) {
            return;
        }
    }
    if (gn->n.base != BASE_ENUM && gn->n.base != BASE_BITS) {
        return;
    }
    const char *module = t->pmod->mod->name;
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(t->pmod->imports, u) {
        size_t n = colon != NULL ? (size_t)(colon - t->name) : 0;
        if (n == strlen(t->pmod->imports[u].prefix) &&
            strncmp(t->pmod->imports[u].prefix, t->name, n) == 0) {
            module = t->pmod->imports[u].name;
        }
    }
    gn->c_enum =
        arena_printf(g->a, "%s_%s", gen_module_prefix(g->a, module), gen_ident(g->a, local));
}

static void set_leaf(struct gen *g, struct gen_node *gn, const struct lysc_node *s) {
    struct node *n = &gn->n;
    const struct lysc_type *t;
    if (s->nodetype == LYS_LEAF) {
        const struct lysc_node_leaf *leaf = (const struct lysc_node_leaf *)s;
        t = leaf->type;
        n->units = leaf->units;
        n->is_key = (s->flags & LYS_KEY) != 0;
        if (leaf->dflt != NULL) {
            n->default_value = arena_strdup(g->a, lyd_value_get_canonical(g->ctx, leaf->dflt));
        }
    } else {
        const struct lysc_node_leaflist *ll = (const struct lysc_node_leaflist *)s;
        t = ll->type;
        n->units = ll->units;
        n->min_elements = ll->min;
        n->max_elements = ll->max == UINT32_MAX ? 0 : ll->max;
        size_t total = LY_ARRAY_COUNT(ll->dflts);
        const char **values = arena_alloc(g->a, (total + 1) * sizeof *values);
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(ll->dflts, u) {
            values[u] = arena_strdup(g->a, lyd_value_get_canonical(g->ctx, ll->dflts[u]));
        }
        n->default_values = values;
        n->n_default_values = total;
    }
    if (n->units == NULL) {
        n->units = gen_ext(s->exts, "unit");
    }
    if (t->basetype == LY_TYPE_LEAFREF) {
        const struct lysc_type_leafref *ref = (const struct lysc_type_leafref *)t;
        n->ref_required = ref->require_instance;
        t = ref->realtype;
    }
    set_type(g, n, t);
    const struct lysp_node *p = s->priv;
    if (p != NULL && p->nodetype == LYS_LEAF) {
        set_type_name(g, gn, &((const struct lysp_node_leaf *)p)->type);
    } else if (p != NULL && p->nodetype == LYS_LEAFLIST) {
        set_type_name(g, gn, &((const struct lysp_node_leaflist *)p)->type);
    } else {
        n->type_name = base_type_name(n->base);
    }
}

static struct gen_choice *choice_of(struct gen *g, const struct lysc_node *s,
                                    const char **case_name) {
    if (s->parent == NULL || s->parent->nodetype != LYS_CASE) {
        return NULL;
    }
    const struct lysc_node *c = s->parent->parent;
    *case_name = s->parent->name;
    for (size_t i = 0; i < g->n_choices; i++) {
        if (g->choices[i]->schema == c) {
            return g->choices[i];
        }
    }
    struct gen_choice *ch = arena_alloc(g->a, sizeof *ch);
    ch->schema = c;
    ch->c.name = c->name;
    ch->c.description = reflow(g->a, c->dsc);
    ch->c.mandatory = (c->flags & LYS_MAND_TRUE) != 0;
    const struct lysc_node_choice *lc = (const struct lysc_node_choice *)c;
    ch->c.default_case = lc->dflt != NULL ? lc->dflt->name : NULL;
    ch->outer = choice_of(g, c, &ch->c.outer_case);
    PUSH(g->choices, g->n_choices, ch);
    return ch;
}

static struct gen_node *new_node(struct gen *g, struct gen_node *parent, enum node_type type,
                                 const struct lysc_node *s) {
    struct gen_node *gn = arena_alloc(g->a, sizeof *gn);
    struct node *n = &gn->n;
    gn->schema = s;
    gn->parent = parent;
    n->id = (uint32_t)g->n_nodes;
    n->type = type;
    n->offset = n->has_offset = n->count_offset = UINT32_MAX;
    if (s != NULL) {
        n->name = s->name;
        n->module = s->module->name;
        n->description = s->dsc != NULL ? reflow(g->a, s->dsc) : "";
        n->reference = reflow(g->a, s->ref);
        gn->in_input = parent != NULL && (parent->in_input || parent->n.type == NODE_INPUT);
        n->config = gn->in_input || (s->flags & LYS_CONFIG_W) != 0;
        n->mandatory = (s->flags & LYS_MAND_TRUE) != 0;
        n->status = s->flags & LYS_STATUS_DEPRC   ? "deprecated"
                    : s->flags & LYS_STATUS_OBSLT ? "obsolete"
                                                  : NULL;
        n->deprecated_since = gen_ext(s->exts, "deprecated-since");
        n->secret = gen_ext(s->exts, "secret") != NULL;
        n->no_history = gen_ext(s->exts, "no-history") != NULL;
        n->returns_as = gen_ext(s->exts, "returns-as");
        n->index = gen_ext(s->exts, "index") != NULL;
        n->terminal = gen_ext(s->exts, "terminal") != NULL;
        gn->choice = choice_of(g, s, &n->case_name);
        gn->c_field = gen_ident(g->a, s->name);
    }
    PUSH(g->nodes, g->n_nodes, gn);
    if (parent != NULL) {
        gn->owner = parent->kind != NULL ? parent->kind : parent->owner;
        PUSH(parent->children, parent->n_children, gn);
    }
    return gn;
}

static void walk_children(struct gen *g, struct gen_node *gn, const struct lysc_node *parent,
                          const struct lys_module *mod);

static void make_kind(struct gen *g, struct gen_node *gn, const char *name) {
    struct gen_kind *k = arena_alloc(g->a, sizeof *k);
    const struct lysc_node *s = gn->schema;
    k->k.id = (uint32_t)g->n_kinds;
    k->k.name = arena_printf(g->a, "%s:%s", s->module->name, name);
    k->k.module = s->module->name;
    k->k.short_name = name;
    const char *version = gen_ext(s->exts, "kind-version");
    k->k.version = version != NULL ? (uint32_t)strtoul(version, NULL, 10) : 1;
    k->node = gn;
    k->c_name = arena_printf(g->a, "%s_%s", gen_module_prefix(g->a, s->module->name),
                             gen_ident(g->a, name));
    gn->kind = gn->owner = k;
    PUSH(g->kinds, g->n_kinds, k);
}

static void walk(struct gen *g, struct gen_node *parent, const struct lysc_node *s) {
    enum node_type type;
    switch (s->nodetype) {
    case LYS_CONTAINER:
        type = NODE_CONTAINER;
        break;
    case LYS_LIST:
        type = NODE_LIST;
        break;
    case LYS_LEAF:
        type = NODE_LEAF;
        break;
    case LYS_LEAFLIST:
        type = NODE_LEAF_LIST;
        break;
    case LYS_ANYDATA:
    case LYS_ANYXML:
        type = NODE_ANYDATA;
        break;
    default:
        return;
    }
    struct gen_node *gn = new_node(g, parent, type, s);
    struct node *n = &gn->n;
    n->user_ordered = (type == NODE_LIST || type == NODE_LEAF_LIST) && (s->flags & LYS_ORDBY_USER);
    const char *kind = gen_ext(s->exts, "kind");
    if (kind != NULL && (type == NODE_LIST || type == NODE_CONTAINER)) {
        make_kind(g, gn, kind);
    }
    if (type == NODE_LEAF || type == NODE_LEAF_LIST) {
        set_leaf(g, gn, s);
    } else if (type == NODE_CONTAINER) {
        n->presence = (s->flags & LYS_PRESENCE) != 0;
        n->mandatory = false; /* libyang's flag is about what is inside */
        walk_children(g, gn, s, NULL);
    } else if (type == NODE_LIST) {
        const struct lysc_node_list *l = (const struct lysc_node_list *)s;
        n->min_elements = l->min;
        n->max_elements = l->max == UINT32_MAX ? 0 : l->max;
        size_t total = LY_ARRAY_COUNT(l->uniques);
        const char **uniques = arena_alloc(g->a, (total + 1) * sizeof *uniques);
        LY_ARRAY_COUNT_TYPE u, v;
        LY_ARRAY_FOR(l->uniques, u) {
            struct buf b = BUF_INIT;
            LY_ARRAY_FOR(l->uniques[u], v) {
                struct buf one = BUF_INIT;
                for (const struct lysc_node *x = &l->uniques[u][v]->node; x != s; x = x->parent) {
                    if (x->nodetype & (LYS_CHOICE | LYS_CASE)) {
                        continue;
                    }
                    char *rest = one.len > 0 ? arena_printf(g->a, "/%s", buf_cstr(&one))
                                             : arena_strdup(g->a, "");
                    buf_clear(&one);
                    buf_printf(&one, "%s%s", x->name, rest);
                }
                buf_printf(&b, "%s%s", v > 0 ? " " : "", buf_cstr(&one));
                buf_free(&one);
            }
            uniques[u] = arena_strdup(g->a, buf_cstr(&b));
            buf_free(&b);
        }
        n->uniques = uniques;
        n->n_uniques = total;
        walk_children(g, gn, s, NULL);
        for (size_t i = 0; i < gn->n_children; i++) {
            n->n_keys += gn->children[i]->n.is_key;
        }
    }
}

static void walk_children(struct gen *g, struct gen_node *gn, const struct lysc_node *parent,
                          const struct lys_module *mod) {
    const struct lysc_node *s = NULL;
    while ((s = lys_getnext(s, parent, mod != NULL ? mod->compiled : NULL, 0)) != NULL) {
        if (s->nodetype & (LYS_RPC | LYS_NOTIF | LYS_ACTION)) {
            continue;
        }
        walk(g, gn, s);
    }
}

static void walk_command(struct gen *g, struct gen_node *rpc, struct gen_node *input) {
    const char *words = gen_ext(rpc->schema->exts, "command");
    if (words == NULL) {
        return;
    }
    struct gen_command *c = arena_alloc(g->a, sizeof *c);
    c->rpc = rpc;
    c->words = arena_alloc(g->a, strlen(words) * sizeof *c->words + sizeof *c->words);
    char *copy = arena_strdup(g->a, words), *save = NULL;
    for (char *w = strtok_r(copy, " \n\t", &save); w != NULL; w = strtok_r(NULL, " \n\t", &save)) {
        c->words[c->n_words++] = w;
    }
    size_t n = input != NULL ? input->n_children : 0;
    c->args = arena_alloc(g->a, (n + 1) * sizeof *c->args);
    c->within = arena_alloc(g->a, (n + 1) * sizeof *c->within);
    for (size_t i = 0; i < n; i++) {
        struct gen_node *leaf = input->children[i];
        const char *within = gen_ext(leaf->schema->exts, "within");
        c->n_bare += gen_ext(leaf->schema->exts, "bare") != NULL;
        c->args[i] = leaf;
        c->within[i] = -1;
        for (size_t j = 0; within != NULL && j < i; j++) {
            if (strcmp(input->children[j]->n.name, within) == 0) {
                c->within[i] = (int)j;
            }
        }
        c->n_args++;
    }
    c->confirm = gen_ext(rpc->schema->exts, "confirm");
    c->right = gen_ext(rpc->schema->exts, "right");
    if (c->right == NULL) {
        c->right = c->n_words > 0 &&
                           (strcmp(c->words[0], "show") == 0 || strcmp(c->words[0], "explain") == 0)
                       ? "read"
                       : "exec";
    }
    PUSH(g->commands, g->n_commands, c);
}

static void walk_operations(struct gen *g, const struct lys_module *mod) {
    const struct lysc_node *s;
    for (s = (const struct lysc_node *)mod->compiled->rpcs; s != NULL; s = s->next) {
        struct gen_node *rpc = new_node(g, NULL, NODE_RPC, s);
        const struct lysc_node_action *act = (const struct lysc_node_action *)s;
        struct gen_node *input = NULL;
        PUSH(g->rpcs, g->n_rpcs, rpc);
        if (act->input.child != NULL) {
            input = new_node(g, rpc, NODE_INPUT, &act->input.node);
            input->n.config = true;
            walk_children(g, input, &act->input.node, NULL);
        }
        if (act->output.child != NULL) {
            struct gen_node *output = new_node(g, rpc, NODE_OUTPUT, &act->output.node);
            /* lys_getnext goes to the input without the option, and never to both. */
            for (const struct lysc_node *c = act->output.child; c != NULL; c = c->next) {
                if (c->nodetype == LYS_CHOICE) {
                    gen_error(g, c, "a choice in an rpc's output is not supported");
                } else {
                    walk(g, output, c);
                }
            }
        }
        walk_command(g, rpc, input);
    }
    for (s = (const struct lysc_node *)mod->compiled->notifs; s != NULL; s = s->next) {
        struct gen_node *n = new_node(g, NULL, NODE_NOTIFICATION, s);
        PUSH(g->notifications, g->n_notifications, n);
        walk_children(g, n, s, NULL);
    }
}

static struct gen_node *find(struct gen *g, const struct lysc_node *s) {
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i]->schema == s) {
            return g->nodes[i];
        }
    }
    return NULL;
}

/* The leaf a leafref points to: of the nodes its path touches, the last one on it. */
static void resolve_refs(struct gen *g) {
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct gen_node *gn = g->nodes[i];
        if (gn->n.type != NODE_LEAF && gn->n.type != NODE_LEAF_LIST) {
            continue;
        }
        const struct lysc_type *t = gn->n.type == NODE_LEAF
                                        ? ((const struct lysc_node_leaf *)gn->schema)->type
                                        : ((const struct lysc_node_leaflist *)gn->schema)->type;
        if (t->basetype != LY_TYPE_LEAFREF) {
            continue;
        }
        const struct lysc_type_leafref *ref = (const struct lysc_type_leafref *)t;
        const char *path = lyxp_get_expr(ref->path), *last = path;
        for (const char *p = path; *p != '\0'; p++) {
            last = *p == '/' || *p == ':' ? p + 1 : last;
        }
        struct ly_set *atoms = NULL;
        if (lys_find_expr_atoms(gn->schema, gn->schema->module, ref->path, ref->prefixes, 0,
                                &atoms) == LY_SUCCESS) {
            for (uint32_t u = 0; u < atoms->count; u++) {
                const struct lysc_node *x = atoms->snodes[u];
                if (x != gn->schema && (x->nodetype & (LYS_LEAF | LYS_LEAFLIST)) &&
                    strcmp(x->name, last) == 0) {
                    gn->ref = find(g, x);
                }
            }
            ly_set_free(atoms, NULL);
        }
    }
}

static void name_structs(struct gen *g) {
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct gen_node *gn = g->nodes[i];
        struct node *n = &gn->n;
        if (gn->kind != NULL) {
            gn->c_struct = gn->kind->c_name;
        } else if (n->type == NODE_INPUT) {
            gn->c_struct = arena_printf(g->a, "%s_%s_input", gen_module_prefix(g->a, n->module),
                                        gen_ident(g->a, gn->parent->n.name));
        } else if (gn->parent != NULL && gn->parent->c_struct != NULL && n->config &&
                   (n->type == NODE_CONTAINER || n->type == NODE_LIST)) {
            gn->c_struct = arena_printf(g->a, "%s_%s", gn->parent->c_struct, gn->c_field);
        }
        bool in_struct = gn->parent != NULL && gn->parent->c_struct != NULL && n->config;
        if (!in_struct || n->type == NODE_ANYDATA) {
            gn->c_field = NULL;
            gn->c_enum = NULL;
            continue;
        }
        if ((n->base == BASE_ENUM || n->base == BASE_BITS) && gn->c_enum == NULL) {
            gn->c_enum = arena_printf(g->a, "%s_%s", gn->parent->c_struct, gn->c_field);
        }
        bool text = n->base == BASE_STRING || n->base == BASE_UNION || n->base == BASE_BINARY ||
                    n->base == BASE_IDENTITY || n->base == BASE_INSTANCE_ID ||
                    n->base == BASE_EMPTY;
        gn->c_has = (n->type == NODE_CONTAINER && n->presence) ||
                    (n->type == NODE_LEAF && !text && !n->is_key &&
                     (gn->choice != NULL || (!n->mandatory && n->default_value == NULL)));
    }
}

void gen_walk(struct gen *g) {
    struct gen_node *root = new_node(g, NULL, NODE_ROOT, NULL);
    root->n.name = "";
    root->n.module = "";
    root->n.description = "Everything.";
    root->n.config = true;
    uint32_t index = 0;
    const struct lys_module *m;
    while ((m = ly_ctx_get_module_iter(g->ctx, &index)) != NULL) {
        if (m->implemented && m->compiled != NULL) {
            walk_children(g, root, NULL, m);
        }
    }
    index = 0;
    while ((m = ly_ctx_get_module_iter(g->ctx, &index)) != NULL) {
        if (m->implemented && m->compiled != NULL && gen_ours(m)) {
            walk_operations(g, m);
        }
    }
    resolve_refs(g);
    name_structs(g);
}
