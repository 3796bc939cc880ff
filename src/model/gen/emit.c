// SPDX-License-Identifier: Apache-2.0
/*
 * Writes the header with the packed structs and the source with the static tables. Places in the
 * structs are written as offsetof and sizeof: the compiler lays them out, not we.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/gen/gen.h"

static char *upper(struct arena *a, const char *s) {
    char *u = arena_strdup(a, s);
    for (char *p = u; *p != '\0'; p++) {
        *p = (char)toupper((unsigned char)*p);
    }
    return u;
}

static void put_string(FILE *f, const char *s) {
    if (s == NULL) {
        fputs("NULL", f);
        return;
    }
    fputc('"', f);
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '\n') {
            fputs("\\n", f);
        } else if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 32 || c > 126 || c == '?') {
            fprintf(f, "\\%03o", c);
        } else {
            fputc(c, f);
        }
    }
    fputc('"', f);
}

static const char *c_type(const struct gen_node *gn, struct arena *a) {
    static const char *const types[] = {[BASE_INT8] = "int8_t",
                                        [BASE_INT16] = "int16_t",
                                        [BASE_INT32] = "int32_t",
                                        [BASE_INT64] = "int64_t",
                                        [BASE_UINT8] = "uint8_t",
                                        [BASE_UINT16] = "uint16_t",
                                        [BASE_UINT32] = "uint32_t",
                                        [BASE_UINT64] = "uint64_t",
                                        [BASE_DECIMAL64] = "int64_t",
                                        [BASE_BOOL] = "bool",
                                        [BASE_EMPTY] = "bool",
                                        [BASE_BITS] = "uint64_t",
                                        [BASE_IP_ADDR] = "struct ip_addr",
                                        [BASE_IP_PREFIX] = "struct ip_prefix"};
    if (gn->n.base == BASE_ENUM) {
        return arena_printf(a, "enum %s", gn->c_enum);
    }
    if (gn->n.base < sizeof types / sizeof *types && types[gn->n.base] != NULL) {
        return types[gn->n.base];
    }
    return "const char *";
}

static void put_comment(FILE *f, const char *indent, const char *text) {
    if (text == NULL || text[0] == '\0') {
        return;
    }
    size_t col = fprintf(f, "%s/*", indent) > 0 ? strlen(indent) + 2 : 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " \n");
        if (col + n + 1 > 90) {
            fprintf(f, "\n%s *", indent);
            col = strlen(indent) + 2;
        }
        fputc(' ', f);
        for (size_t i = 0; i < n; i++) {
            if (text[i] == '*' && text[i + 1] == '/') {
                fputs("* ", f);
            } else {
                fputc(text[i], f);
            }
        }
        col += n + 1;
        text += n;
        text += strspn(text, " \n");
    }
    fputs(" */\n", f);
}

/* Enums are shared by leaves of one typedef; a leaf with other values gets one of its own. */
static void emit_enums(struct gen *g, FILE *f) {
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct gen_node *gn = g->nodes[i];
        if (gn->c_enum == NULL) {
            continue;
        }
        bool done = false;
        for (size_t j = 0; j < i && !done; j++) {
            const struct gen_node *o = g->nodes[j];
            if (o->c_enum == NULL || strcmp(o->c_enum, gn->c_enum) != 0) {
                continue;
            }
            done = o->n.n_enums == gn->n.n_enums;
            for (size_t k = 0; done && k < gn->n.n_enums; k++) {
                done = strcmp(o->n.enums[k].name, gn->n.enums[k].name) == 0 &&
                       o->n.enums[k].value == gn->n.enums[k].value;
            }
            if (!done) {
                gn->c_enum = arena_printf(g->a, "%s_%s", gn->parent->c_struct, gn->c_field);
            }
        }
        if (done) {
            continue;
        }
        fprintf(f, "enum %s {\n", gn->c_enum);
        for (size_t k = 0; k < gn->n.n_enums; k++) {
            const struct node_enum *e = &gn->n.enums[k];
            put_comment(f, "    ", e->description);
            fprintf(f, "    %s_%s = ", upper(g->a, gn->c_enum),
                    upper(g->a, gen_ident(g->a, e->name)));
            fprintf(f, gn->n.base == BASE_BITS ? "1 << %" PRId64 : "%" PRId64, e->value);
            fputs(k + 1 < gn->n.n_enums ? ",\n" : "\n", f);
        }
        fputs("};\n\n", f);
    }
}

static void emit_struct(struct gen *g, FILE *f, const struct gen_node *gn) {
    for (size_t i = 0; i < gn->n_children; i++) {
        if (gn->children[i]->c_struct != NULL && gn->children[i]->kind == NULL) {
            emit_struct(g, f, gn->children[i]);
        }
    }
    put_comment(f, "", gn->n.description);
    fprintf(f, "struct %s {\n", gn->c_struct);
    bool any = false;
    for (size_t i = 0; i < gn->n_children; i++) {
        const struct gen_node *c = gn->children[i];
        if (c->c_field == NULL) {
            continue;
        }
        any = true;
        put_comment(f, "    ", c->n.description);
        if (c->c_has) {
            fprintf(f, "    bool has_%s;\n", c->c_field);
        }
        switch (c->n.type) {
        case NODE_CONTAINER:
            fprintf(f, "    struct %s %s;\n", c->c_struct, c->c_field);
            break;
        case NODE_LIST:
            fprintf(f, "    const struct %s *%s;\n    size_t n_%s;\n", c->c_struct, c->c_field,
                    c->c_field);
            break;
        case NODE_LEAF_LIST: {
            const char *t = c_type(c, g->a);
            fprintf(f, "    %s%s *%s;\n    size_t n_%s;\n",
                    strcmp(t, "const char *") == 0 ? "const char *const" : "const ",
                    strcmp(t, "const char *") == 0 ? "" : t, c->c_field, c->c_field);
            break;
        }
        default: {
            const char *t = c_type(c, g->a);
            fprintf(f, "    %s%s%s;\n", t, t[strlen(t) - 1] == '*' ? "" : " ", c->c_field);
            break;
        }
        }
    }
    fprintf(f, "%s};\n\n", any ? "" : "    char nothing;\n");
}

static char *operation_name(struct gen *g, const struct gen_node *gn) {
    return arena_printf(g->a, "%s_%s", gen_module_prefix(g->a, gn->n.module),
                        gen_ident(g->a, gn->n.name));
}

void gen_emit_header(struct gen *g, FILE *f) {
    fputs("/* Generated from the YANG modules: do not edit. */\n"
          "#ifndef MODEL_KINDS_H\n#define MODEL_KINDS_H\n\n"
          "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n"
          "#include \"base/ip.h\"\n#include \"model/model.h\"\n\n"
          "/* Absent strings are NULL; other leaves that may be absent have a has_ member. A\n"
          " * decimal64 is scaled: 1.5 with one fraction digit is 15. Bits are a mask. */\n\n",
          f);
    emit_enums(g, f);
    for (size_t i = 0; i < g->n_kinds; i++) {
        emit_struct(g, f, g->kinds[i]->node);
        fprintf(f, "extern const struct kind %s_kind; /* %s */\n\n", g->kinds[i]->c_name,
                g->kinds[i]->k.name);
    }
    for (size_t i = 0; i < g->n_rpcs; i++) {
        struct gen_node *rpc = g->rpcs[i];
        for (size_t c = 0; c < rpc->n_children; c++) {
            if (rpc->children[c]->n.type == NODE_INPUT) {
                emit_struct(g, f, rpc->children[c]);
            }
        }
        fprintf(f, "extern const struct node *const %s_rpc; /* %s:%s */\n\n",
                operation_name(g, rpc), rpc->n.module, rpc->n.name);
    }
    for (size_t i = 0; i < g->n_notifications; i++) {
        const struct gen_node *n = g->notifications[i];
        fprintf(f, "extern const struct node *const %s_notification; /* %s:%s */\n",
                operation_name(g, n), n->n.module, n->n.name);
    }
    fputs("\n#endif\n", f);
}

static void emit_module_text(FILE *f, const struct lys_module *m, uint32_t index) {
    char *text = NULL, *line = NULL;
    size_t cap = 0;
    FILE *in = m->filepath != NULL ? fopen(m->filepath, "r") : NULL;
    if (in == NULL) { /* one of libyang's own */
        if (lys_print_mem(&text, m, LYS_OUT_YANG, 0) != LY_SUCCESS || text == NULL) {
            return;
        }
        in = fmemopen(text, strlen(text), "r");
    }
    fprintf(f, "static const char text_%u[] =\n", index);
    while (getline(&line, &cap, in) > 0) {
        fputs("    ", f);
        put_string(f, line);
        fputc('\n', f);
    }
    free(line);
    fclose(in);
    free(text);
    fputs("    ;\n\n", f);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct lys_module *const *)a)->name,
                  (*(const struct lys_module *const *)b)->name);
}

enum { MODULES_MAX = 1024 };

/* Those of the data in the order of their context; behind them those of protocols. One that is only
 * imported here may be implemented there. */
static size_t all_modules(const struct gen *g, const struct lys_module *mods[MODULES_MAX]) {
    const struct lys_module *m;
    size_t n = 0, of_data;
    uint32_t index = 0;
    while ((m = ly_ctx_get_module_iter(g->ctx, &index)) != NULL && n < MODULES_MAX) {
        mods[n++] = m;
    }
    of_data = n;
    index = 0;
    while ((m = ly_ctx_get_module_iter(g->protocol, &index)) != NULL && n < MODULES_MAX) {
        size_t same = 0;
        while (same < of_data && strcmp(mods[same]->name, m->name) != 0) {
            same++;
        }
        if (same == of_data) {
            mods[n++] = m;
        } else if (m->implemented && !mods[same]->implemented) {
            mods[same] = m;
        }
    }
    return n;
}

static void emit_modules(struct gen *g, FILE *f) {
    const struct lys_module *mods[MODULES_MAX];
    size_t n = all_modules(g, mods);
    /* The order in which they must be loaded again is the order of the context. */
    fputs("static const char *const load_order[] = {", f);
    for (size_t i = 0; i < n; i++) {
        if (mods[i]->ctx == g->ctx && mods[i]->implemented && mods[i]->filepath != NULL) {
            put_string(f, mods[i]->name);
            fputs(", ", f);
        }
    }
    fputs("NULL};\n\n", f);
    qsort(mods, n, sizeof *mods, by_name);
    for (size_t i = 0; i < n; i++) {
        emit_module_text(f, mods[i], (uint32_t)i);
        fprintf(f, "static const char *const features_%zu[] = {", i);
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(mods[i]->parsed->features, u) {
            if (mods[i]->implemented && (mods[i]->parsed->features[u].flags & LYS_FENABLED)) {
                put_string(f, mods[i]->parsed->features[u].name);
                fputs(", ", f);
            }
        }
        fputs("NULL};\n", f);
        fprintf(f, "static const char *const deviations_%zu[] = {", i);
        LY_ARRAY_FOR(mods[i]->deviated_by, u) {
            put_string(f, mods[i]->deviated_by[u]->name);
            fputs(", ", f);
        }
        fputs("NULL};\n", f);
    }
    fputs("static const struct module_info modules[] = {\n", f);
    for (size_t i = 0; i < n; i++) {
        fputs("    {", f);
        put_string(f, mods[i]->name);
        fputs(", ", f);
        put_string(f, mods[i]->revision != NULL ? mods[i]->revision : "");
        fputs(", ", f);
        put_string(f, mods[i]->ns);
        fputs(", ", f);
        put_string(f, mods[i]->prefix);
        fprintf(f, ", features_%zu, sizeof features_%zu / sizeof *features_%zu - 1, ", i, i, i);
        fprintf(f, "deviations_%zu, sizeof deviations_%zu / sizeof *deviations_%zu - 1, %s, ", i, i,
                i, mods[i]->implemented ? "true" : "false");
        fprintf(f, "text_%zu},\n", i);
    }
    fputs("};\n\n", f);
}

/* Arrays that nodes point to. */
static void emit_node_parts(FILE *f, const struct gen_node *gn) {
    uint32_t id = gn->n.id;
    if (gn->n_children > 0) {
        fprintf(f, "static const struct node *const c%u[] = {", id);
        for (size_t i = 0; i < gn->n_children; i++) {
            fprintf(f, "%sN(%u)", i > 0 ? ", " : "", gn->children[i]->n.id);
        }
        fputs("};\n", f);
    }
    if (gn->n.n_keys > 0) {
        fprintf(f, "static const struct node *const k%u[] = {", id);
        const char *sep = "";
        for (size_t i = 0; i < gn->n_children; i++) {
            if (gn->children[i]->n.is_key) {
                fprintf(f, "%sN(%u)", sep, gn->children[i]->n.id);
                sep = ", ";
            }
        }
        fputs("};\n", f);
    }
    const struct {
        char tag;
        const char *const *v;
        size_t n;
    } lists[] = {{'d', gn->n.default_values, gn->n.n_default_values},
                 {'p', gn->n.patterns, gn->n.n_patterns},
                 {'u', gn->n.uniques, gn->n.n_uniques}};
    for (size_t l = 0; l < 3; l++) {
        if (lists[l].n > 0) {
            fprintf(f, "static const char *const %c%u[] = {", lists[l].tag, id);
            for (size_t i = 0; i < lists[l].n; i++) {
                put_string(f, lists[l].v[i]);
                fputs(", ", f);
            }
            fputs("};\n", f);
        }
    }
    if (gn->n.n_enums > 0) {
        fprintf(f, "static const struct node_enum e%u[] = {", id);
        for (size_t i = 0; i < gn->n.n_enums; i++) {
            fputs("{", f);
            put_string(f, gn->n.enums[i].name);
            fputs(", ", f);
            put_string(f, gn->n.enums[i].description);
            fprintf(f, ", %" PRId64 "}, ", gn->n.enums[i].value);
        }
        fputs("};\n", f);
    }
}

static void field(FILE *f, const char *name, const char *s) {
    if (s != NULL) {
        fprintf(f, ", .%s = ", name);
        put_string(f, s);
    }
}

static void emit_place(FILE *f, const struct gen_node *gn) {
    if (gn->c_field != NULL && gn->parent->c_struct != NULL && gn->kind == NULL) {
        const char *s = gn->parent->c_struct;
        fprintf(f, ", .offset = offsetof(struct %s, %s)", s, gn->c_field);
        if (gn->c_has) {
            fprintf(f, ", .has_offset = offsetof(struct %s, has_%s)", s, gn->c_field);
        } else {
            fputs(", .has_offset = UINT32_MAX", f);
        }
        if (gn->n.type == NODE_LIST || gn->n.type == NODE_LEAF_LIST) {
            fprintf(f, ", .count_offset = offsetof(struct %s, n_%s)", s, gn->c_field);
        } else {
            fputs(", .count_offset = UINT32_MAX", f);
        }
        if (gn->n.type == NODE_LEAF_LIST) {
            fprintf(f, ", .elem_size = sizeof *((struct %s *)0)->%s", s, gn->c_field);
        }
    } else {
        fputs(", .offset = UINT32_MAX, .has_offset = UINT32_MAX, .count_offset = UINT32_MAX", f);
    }
    if (gn->c_struct != NULL) {
        fprintf(f, ", .struct_size = sizeof(struct %s)", gn->c_struct);
    }
}

static void emit_node(struct gen *g, FILE *f, const struct gen_node *gn) {
    static const char *const types[] = {"ROOT",    "CONTAINER", "LIST",  "LEAF",   "LEAF_LIST",
                                        "ANYDATA", "RPC",       "INPUT", "OUTPUT", "NOTIFICATION"};
    const struct node *n = &gn->n;
    fprintf(f, "    {.id = %u, .type = NODE_%s, .base = (enum base_type)%d", n->id, types[n->type],
            (int)n->base);
    field(f, "name", n->name);
    field(f, "module", n->module);
    field(f, "description", n->description);
    field(f, "reference", n->reference);
    if (gn->parent != NULL) {
        fprintf(f, ", .parent = N(%u)", gn->parent->n.id);
    }
    if (gn->n_children > 0) {
        fprintf(f, ", .children = c%u, .n_children = %zu", n->id, gn->n_children);
    }
    if (gn->choice != NULL) {
        for (size_t i = 0; i < g->n_choices; i++) {
            if (g->choices[i] == gn->choice) {
                fprintf(f, ", .choice = &choices[%zu]", i);
            }
        }
        field(f, "case_name", n->case_name);
    }
    if (gn->kind != NULL) {
        fprintf(f, ", .kind = &%s_kind", gn->kind->c_name);
    }
    if (gn->owner != NULL) {
        fprintf(f, ", .owner = &%s_kind", gn->owner->c_name);
    }
    const struct {
        const char *name;
        bool v;
    } flags[] = {{"config", n->config},
                 {"mandatory", n->mandatory},
                 {"presence", n->presence},
                 {"is_key", n->is_key},
                 {"user_ordered", n->user_ordered},
                 {"secret", n->secret},
                 {"no_history", n->no_history},
                 {"xpath", n->xpath},
                 {"index", n->index},
                 {"terminal", n->terminal},
                 {"ref_required", n->ref_required && gn->ref != NULL}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i].v) {
            fprintf(f, ", .%s = true", flags[i].name);
        }
    }
    fprintf(f, ", .min_elements = %u, .max_elements = %u", n->min_elements, n->max_elements);
    field(f, "deprecated_since", n->deprecated_since);
    field(f, "status", n->status);
    field(f, "default_value", n->default_value);
    field(f, "returns_as", n->returns_as);
    if (n->n_default_values > 0) {
        fprintf(f, ", .default_values = d%u, .n_default_values = %zu", n->id, n->n_default_values);
    }
    field(f, "type_name", n->type_name);
    field(f, "units", n->units);
    field(f, "range", n->range);
    if (n->n_patterns > 0) {
        fprintf(f, ", .patterns = p%u, .n_patterns = %zu", n->id, n->n_patterns);
    }
    if (n->n_enums > 0) {
        fprintf(f, ", .enums = e%u, .n_enums = %zu", n->id, n->n_enums);
    }
    fprintf(f, ", .fraction_digits = %u", n->fraction_digits);
    if (gn->ref != NULL) {
        fprintf(f, ", .ref = N(%u)", gn->ref->n.id);
        /* Only a key names an object. */
        if (gn->ref->n.is_key && gn->ref->parent->kind != NULL && gn->ref->parent->n.n_keys == 1 &&
            gn->ref->owner != gn->owner) {
            fprintf(f, ", .ref_kind = &%s_kind", gn->ref->owner->c_name);
        }
    }
    if (n->n_keys > 0) {
        fprintf(f, ", .keys = k%u, .n_keys = %zu", n->id, n->n_keys);
    }
    if (n->n_uniques > 0) {
        fprintf(f, ", .uniques = u%u, .n_uniques = %zu", n->id, n->n_uniques);
    }
    for (size_t i = 0; i < g->n_commands; i++) {
        if (g->commands[i]->rpc == gn) {
            fprintf(f, ", .command = &commands[%zu]", i);
        }
    }
    emit_place(f, gn);
    fputs("},\n", f);
}

static void emit_path(FILE *f, const struct gen_node *gn) {
    if (gn->parent != NULL && gn->parent->n.type != NODE_ROOT) {
        emit_path(f, gn->parent);
    }
    bool qualify = gn->parent == NULL || gn->parent->n.type == NODE_ROOT ||
                   strcmp(gn->parent->n.module, gn->n.module) != 0;
    fprintf(f, "/%s%s%s", qualify ? gn->n.module : "", qualify ? ":" : "", gn->n.name);
}

static void emit_kinds(struct gen *g, FILE *f) {
    for (size_t i = 0; i < g->n_kinds; i++) {
        const struct gen_kind *k = g->kinds[i];
        size_t n_refs = 0;
        fprintf(f, "static const struct node *const r%zu[] = {", i);
        for (size_t j = 0; j < g->n_nodes; j++) {
            const struct gen_node *gn = g->nodes[j];
            if (gn->owner == k && gn->n.config && gn->ref != NULL && gn->ref->n.is_key &&
                gn->ref->parent->kind != NULL && gn->ref->parent->n.n_keys == 1 &&
                gn->ref->owner != k) {
                fprintf(f, "N(%u), ", gn->n.id);
                n_refs++;
            }
        }
        fputs("NULL};\n", f);
        fprintf(f, "const struct kind %s_kind = {.id = %zu, .version = %u", k->c_name, i,
                k->k.version);
        field(f, "name", k->k.name);
        field(f, "module", k->k.module);
        field(f, "short_name", k->k.short_name);
        fprintf(f, ", .node = N(%u), .prefix = \"", k->node->n.id);
        emit_path(f, k->node);
        fputs("\"", f);
        if (k->node->n.n_keys > 0) {
            fprintf(f, ", .keys = k%u, .n_keys = %zu", k->node->n.id, k->node->n.n_keys);
        }
        fprintf(f,
                ", .struct_size = sizeof(struct %s), .has_secret = %d, .no_history = %d, "
                ".has_xpath = %d, .has_state = %d, .refs = r%zu, .n_refs = %zu};\n",
                k->c_name, k->k.has_secret, k->k.no_history, k->k.has_xpath, k->k.has_state, i,
                n_refs);
    }
    fputs("static const struct kind *const kinds[] = {", f);
    for (size_t i = 0; i < g->n_kinds; i++) {
        fprintf(f, "&%s_kind, ", g->kinds[i]->c_name);
    }
    fputs("NULL};\n\n", f);
}

static void emit_commands(struct gen *g, FILE *f) {
    for (size_t i = 0; i < g->n_commands; i++) {
        const struct gen_command *c = g->commands[i];
        fprintf(f, "static const char *const w%zu[] = {", i);
        for (size_t w = 0; w < c->n_words; w++) {
            put_string(f, c->words[w]);
            fputs(", ", f);
        }
        fprintf(f, "NULL};\nstatic const struct command_arg a%zu[] = {", i);
        for (size_t j = 0; j < c->n_args; j++) {
            const struct gen_node *leaf = c->args[j];
            fputc('{', f);
            put_string(f, gen_ext(leaf->schema->exts, "bare") != NULL ? NULL : leaf->n.name);
            fprintf(f, ", N(%u), %s, %d}, ", leaf->n.id, leaf->n.mandatory ? "false" : "true",
                    c->within[j]);
        }
        fputs("{0}};\n", f);
    }
    fputs("static const struct command commands[] = {\n", f);
    for (size_t i = 0; i < g->n_commands; i++) {
        const struct gen_command *c = g->commands[i];
        fprintf(f, "    {N(%u), w%zu, %zu, a%zu, %zu, ", c->rpc->n.id, i, c->n_words, i, c->n_args);
        put_string(f, c->right);
        fputs(", ", f);
        put_string(f, c->confirm);
        fputs("},\n", f);
    }
    fputs("    {0}};\nstatic const struct command *const command_list[] = {", f);
    for (size_t i = 0; i < g->n_commands; i++) {
        fprintf(f, "&commands[%zu], ", i);
    }
    fputs("NULL};\n\n", f);
}

static void emit_operations(struct gen *g, FILE *f, const char *name, const char *suffix,
                            struct gen_node **v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "const struct node *const %s_%s = N(%u);\n", operation_name(g, v[i]), suffix,
                v[i]->n.id);
    }
    fprintf(f, "static const struct node *const %s[] = {", name);
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "N(%u), ", v[i]->n.id);
    }
    fputs("NULL};\n\n", f);
}

static uint64_t fnv(uint64_t h, const char *s) {
    for (; s != NULL && *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    }
    return h;
}

void gen_emit_source(struct gen *g, FILE *f, const char *header) {
    fprintf(f,
            "/* Generated from the YANG modules: do not edit. */\n"
            "#include <stddef.h>\n#include \"%s\"\n#include \"model/tables.h\"\n\n"
            "static const struct node nodes[%zu];\n#define N(i) (&nodes[i])\n\n",
            header, g->n_nodes);
    emit_modules(g, f);
    fputs("static const struct choice choices[] = {\n", f);
    for (size_t i = 0; i < g->n_choices; i++) {
        const struct gen_choice *c = g->choices[i];
        fputs("    {.mandatory = ", f);
        fputs(c->c.mandatory ? "true" : "false", f);
        field(f, "name", c->c.name);
        field(f, "description", c->c.description);
        field(f, "default_case", c->c.default_case);
        for (size_t j = 0; j < g->n_choices; j++) {
            if (g->choices[j] == c->outer) {
                fprintf(f, ", .outer = &choices[%zu]", j);
                field(f, "outer_case", c->c.outer_case);
            }
        }
        fputs("},\n", f);
    }
    fputs("    {0}};\n\n", f);
    for (size_t i = 0; i < g->n_nodes; i++) {
        emit_node_parts(f, g->nodes[i]);
    }
    emit_commands(g, f);
    fprintf(f, "static const struct node nodes[%zu] = {\n", g->n_nodes);
    for (size_t i = 0; i < g->n_nodes; i++) {
        emit_node(g, f, g->nodes[i]);
    }
    fputs("};\n\n", f);
    emit_kinds(g, f);
    fputs("static const struct node *const node_list[] = {", f);
    for (size_t i = 0; i < g->n_nodes; i++) {
        fprintf(f, "N(%zu), ", i);
    }
    fputs("NULL};\n\n", f);
    emit_operations(g, f, "rpcs", "rpc", g->rpcs, g->n_rpcs);
    emit_operations(g, f, "notifications", "notification", g->notifications, g->n_notifications);
    uint64_t id = UINT64_C(14695981039346656037);
    const struct lys_module *mods[MODULES_MAX];
    size_t n = all_modules(g, mods);
    for (size_t i = 0; i < n; i++) {
        const struct lys_module *m = mods[i];
        id = fnv(fnv(fnv(id, m->name), m->revision), m->implemented ? "+" : "-");
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(m->parsed->features, u) {
            id = fnv(id, m->parsed->features[u].flags & LYS_FENABLED ? m->parsed->features[u].name
                                                                     : "");
        }
    }
    fprintf(f,
            "const struct model_tables model_tables = {\n"
            "    .nodes = node_list, .n_nodes = %zu, .kinds = kinds, .n_kinds = %zu,\n"
            "    .rpcs = rpcs, .n_rpcs = %zu, .notifications = notifications,\n"
            "    .n_notifications = %zu, .commands = command_list, .n_commands = %zu,\n"
            "    .modules = modules, .n_modules = sizeof modules / sizeof *modules,\n"
            "    .load_order = load_order, .content_id = \"%016" PRIx64 "\"};\n",
            g->n_nodes, g->n_kinds, g->n_rpcs, g->n_notifications, g->n_commands, id);
}
