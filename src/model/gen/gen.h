// SPDX-License-Identifier: Apache-2.0
/* The generator's own view of the schema: nodes of model.h under construction. */
#ifndef MODEL_GEN_GEN_H
#define MODEL_GEN_GEN_H

#include <libyang/libyang.h>
#include <stdio.h>

#include "model/model.h"

struct gen_node {
    struct node n; /* pointers to other nodes are kept in the fields below instead */
    const struct lysc_node *schema;
    struct gen_node *parent, **children;
    size_t n_children;
    struct gen_kind *kind, *owner; /* as in struct node */
    struct gen_choice *choice;
    struct gen_node *ref;
    char *c_struct; /* struct type of a container, list, input: "apm_partition_prefix" */
    char *c_field;  /* "min_prefix_len" */
    char *c_enum;   /* enum type of an enum or bits leaf; NULL: none */
    bool in_input;  /* of an rpc: treated like configuration */
    bool c_has;     /* the struct has a has_ member for it */
};

struct gen_choice {
    struct choice c;
    const struct lysc_node *schema;
    struct gen_choice *outer;
};

struct gen_kind {
    struct kind k;
    struct gen_node *node;
    char *c_name; /* "apm_partition" */
};

struct gen_command {
    struct gen_node *rpc;
    char **words;
    size_t n_words;
    struct gen_node **args;
    int *within;
    size_t n_args, n_bare;
    const char *right, *confirm;
};

struct gen {
    struct ly_ctx *ctx;
    struct ly_ctx *protocol; /* modules that are told of but are no part of the data */
    struct arena *a;
    struct gen_node **nodes;
    size_t n_nodes;
    struct gen_choice **choices;
    size_t n_choices;
    struct gen_kind **kinds;
    size_t n_kinds;
    struct gen_node **rpcs, **notifications;
    size_t n_rpcs, n_notifications;
    struct gen_command **commands;
    size_t n_commands;
    unsigned n_errors;
};

/* schema.c: walks the compiled modules. */
void gen_walk(struct gen *g);
/* check.c: the rules of docs/model.md; prints each breach and counts it in n_errors. */
void gen_check(struct gen *g);
/* emit.c */
void gen_emit_header(struct gen *g, FILE *f);
void gen_emit_source(struct gen *g, FILE *f, const char *header);

void gen_error(struct gen *g, const struct lysc_node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* One of our extensions on a statement: its argument ("" without one); NULL: not there. */
const char *gen_ext(const struct lysc_ext_instance *exts, const char *name);
/* Is this module bound by our rules: does it use our extensions? */
bool gen_ours(const struct lys_module *m);
char *gen_ident(struct arena *a, const char *name); /* "min-prefix-len" -> "min_prefix_len" */
const char *gen_module_prefix(struct arena *a, const char *module); /* "weft-apm" -> "apm" */

#endif
