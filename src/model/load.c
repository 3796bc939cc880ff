// SPDX-License-Identifier: Apache-2.0
/*
 * libyang's context, made from the embedded module texts. After loading it is never changed; what
 * is called on it later (lyd_value_validate, lyd_parse_data_mem, lyd_eval_xpath3) shares only the
 * string dictionary, which has a lock of its own.
 */
#include <libyang/libyang.h>
#include <string.h>

#include "model/internal.h"

static LY_ERR import_text(const char *mod_name, const char *mod_rev, const char *submod_name,
                          const char *submod_rev, void *user_data, LYS_INFORMAT *format,
                          const char **module_data, ly_module_imp_data_free_clb *free_module_data) {
    const struct module_info *info = submod_name == NULL ? model_module(mod_name) : NULL;
    if (info == NULL || info->text == NULL ||
        (mod_rev != NULL && strcmp(mod_rev, info->revision) != 0)) {
        return LY_ENOTFOUND;
    }
    *format = LYS_IN_YANG;
    *module_data = info->text;
    *free_module_data = NULL;
    return LY_SUCCESS;
}

static const struct lysc_type *leaf_type(const struct lysc_node *s) {
    const struct lysc_type *t = s->nodetype == LYS_LEAF
                                    ? ((const struct lysc_node_leaf *)s)->type
                                    : ((const struct lysc_node_leaflist *)s)->type;
    return t->basetype == LY_TYPE_LEAFREF ? ((const struct lysc_type_leafref *)t)->realtype : t;
}

static void bind_node(struct model *m, const struct node *n, const struct lysc_node *s);

static void bind_children(struct model *m, const struct node *n, const struct lysc_node *first) {
    for (; first != NULL; first = first->next) {
        if (first->nodetype == LYS_CHOICE || first->nodetype == LYS_CASE) {
            bind_children(m, n, lysc_node_child(first));
            continue;
        }
        for (size_t i = 0; i < n->n_children; i++) {
            if (strcmp(n->children[i]->name, first->name) == 0 &&
                strcmp(n->children[i]->module, first->module->name) == 0) {
                bind_node(m, n->children[i], first);
            }
        }
    }
}

static void bind_node(struct model *m, const struct node *n, const struct lysc_node *s) {
    m->schema[n->id] = s;
    if (s->nodetype & (LYS_LEAF | LYS_LEAFLIST)) {
        m->types[n->id] = leaf_type(s);
    } else {
        bind_children(m, n, lysc_node_child(s));
    }
}

static void bind_operations(struct model *m, const struct node *const *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct lys_module *mod = ly_ctx_get_module_implemented(m->ctx, v[i]->module);
        const struct lysc_node *s =
            mod == NULL ? NULL
                        : lys_find_child(NULL, mod, v[i]->name, 0,
                                         v[i]->type == NODE_RPC ? LYS_RPC : LYS_NOTIF, 0);
        if (s == NULL) {
            continue;
        }
        m->schema[v[i]->id] = s;
        if (v[i]->type == NODE_NOTIFICATION) {
            bind_children(m, v[i], lysc_node_child(s));
            continue;
        }
        const struct lysc_node_action *act = (const struct lysc_node_action *)s;
        for (size_t c = 0; c < v[i]->n_children; c++) {
            const struct node *io = v[i]->children[c];
            bind_children(m, io, io->type == NODE_INPUT ? act->input.child : act->output.child);
        }
    }
}

enum err_code model_load(struct model **out, struct err *e) {
    /* Messages are kept by libyang for whoever asks, never printed. */
    ly_log_options(LY_LOSTORE_LAST);
    struct model *m = MEM_NEW(struct model);
    if (ly_ctx_new(NULL, LY_CTX_DISABLE_SEARCHDIRS, &m->ctx) != LY_SUCCESS) {
        mem_free(m);
        return err_set(e, ERR_INTERNAL, NULL, "libyang can't be started");
    }
    ly_ctx_set_module_imp_clb(m->ctx, import_text, NULL);
    for (size_t i = 0; model_tables.load_order[i] != NULL; i++) {
        const struct module_info *info = model_module(model_tables.load_order[i]);
        struct ly_in *in = NULL;
        /* features ends with NULL: the generator sees to that */
        if (ly_in_new_memory(info->text, &in) != LY_SUCCESS ||
            lys_parse(m->ctx, in, LYS_IN_YANG, (const char **)(uintptr_t)info->features, NULL) !=
                LY_SUCCESS) {
            enum err_code rc = err_set(e, ERR_INTERNAL, NULL, "module %s can't be loaded: %s",
                                       info->name, ly_errmsg(m->ctx));
            ly_in_free(in, 0);
            model_free(m);
            return rc;
        }
        ly_in_free(in, 0);
    }
    m->schema = mem_array(NULL, model_tables.n_nodes, sizeof *m->schema);
    m->types = mem_array(NULL, model_tables.n_nodes, sizeof *m->types);
    memset(m->schema, 0, model_tables.n_nodes * sizeof *m->schema);
    memset(m->types, 0, model_tables.n_nodes * sizeof *m->types);
    const struct lys_module *mod;
    uint32_t index = 0;
    while ((mod = ly_ctx_get_module_iter(m->ctx, &index)) != NULL) {
        if (mod->implemented && mod->compiled != NULL) {
            bind_children(m, model_root(), mod->compiled->data);
        }
    }
    bind_operations(m, model_tables.rpcs, model_tables.n_rpcs);
    bind_operations(m, model_tables.notifications, model_tables.n_notifications);
    for (size_t i = 0; i < model_tables.n_nodes; i++) {
        const struct node *n = model_tables.nodes[i];
        if (node_is_leaf(n) && m->types[i] == NULL) {
            enum err_code rc = err_set(e, ERR_INTERNAL, NULL,
                                       "no type for %s:%s: the tables and "
                                       "the modules disagree",
                                       n->module, n->name);
            model_free(m);
            return rc;
        }
    }
    *out = m;
    return ERR_OK;
}

void model_free(struct model *m) {
    if (m == NULL) {
        return;
    }
    mem_free(m->schema);
    mem_free(m->types);
    ly_ctx_destroy(m->ctx);
    mem_free(m);
}
