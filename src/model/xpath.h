// SPDX-License-Identifier: Apache-2.0
/*
 * XPath 1.0 over one tree of ours, for expressions that strangers send: every parse and evaluation
 * has a bound. (must and when, which the modules' authors wrote, are evaluated by libyang.)
 *
 * Prefixes are module names; a name without prefix is of any module. There are no attributes,
 * namespace nodes, variables or ids; functions are those of XPath's core library.
 */
#ifndef MODEL_XPATH_H
#define MODEL_XPATH_H

#include <jansson.h>

#include "model/model.h"

enum {
    XPATH_DEPTH_MAX = 32,     /* nesting of an expression */
    XPATH_STEPS_MAX = 100000, /* nodes and bytes looked at in one evaluation ... */
    XPATH_STEPS_A_NODE = 64   /* ... and more of them in a large object */
};

struct xpath; /* lives in the arena it was compiled into */

/* ERR_INVALID: no expression; the text says where and why. */
enum err_code xpath_compile(const char *text, struct arena *a, const struct xpath **out,
                            struct err *e);
/* Is it true of the document whose only element is `top` with the members in `tree`? Evaluated with
 * the root as context. False when it takes more than XPATH_STEPS_MAX: `*given_up` says so (NULL is
 * allowed). */
bool xpath_true(const struct xpath *x, const struct node *top, const json_t *tree, bool *given_up);

/* A document that is not JSON: nodes in document order, the root first. */
struct xpath_node {
    const char *name, *module; /* NULL: the root, or a text */
    const char *text;          /* of a text */
    void *origin;              /* the caller's */
    uint32_t parent, end;      /* set by xpath_add(): end is the place behind the last one below */
};
struct xpath_document {
    struct arena *a; /* the caller makes it */
    struct xpath_node *v;
    uint32_t n, cap;
};
/* Returns the node's place; whoever adds nodes below it sets its `end` then. */
uint32_t xpath_add(struct xpath_document *d, uint32_t parent, const struct xpath_node *n);
uint32_t xpath_add_leaf(struct xpath_document *d, uint32_t parent, const struct xpath_node *n,
                        const char *text);
void xpath_document_free(struct xpath_document *d); /* its members */
/* Is its value a set of nodes? */
bool xpath_is_set(const struct xpath *x);
/* The places of what it selects, in the document's arena. False: it takes more than
 * XPATH_STEPS_MAX and XPATH_STEPS_A_NODE for each node. */
bool xpath_select(const struct xpath *x, struct xpath_document *d, const uint32_t **ids, size_t *n);

#endif
