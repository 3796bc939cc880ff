// SPDX-License-Identifier: Apache-2.0
/* What the generator writes and the rest of src/model reads; one definition per linked program. */
#ifndef MODEL_TABLES_H
#define MODEL_TABLES_H

#include "model/model.h"

struct model_tables {
    const struct node *const *nodes;
    size_t n_nodes;
    const struct kind *const *kinds;
    size_t n_kinds;
    const struct node *const *rpcs;
    size_t n_rpcs;
    const struct node *const *notifications;
    size_t n_notifications;
    const struct command *const *commands;
    size_t n_commands;
    const struct module_info *modules;
    size_t n_modules;
    const char *const *load_order; /* implemented modules with a text, NULL at the end */
    const char *content_id;
};

extern const struct model_tables model_tables;

#endif
