// SPDX-License-Identifier: Apache-2.0
/* Between xpath_parse.c and xpath.c: an expression as a tree. */
#ifndef MODEL_XPATH_TREE_H
#define MODEL_XPATH_TREE_H

#include "model/xpath.h"

enum xpath_op {
    XP_OR,
    XP_AND,
    XP_EQ,
    XP_NE,
    XP_LT,
    XP_LE,
    XP_GT,
    XP_GE,
    XP_ADD,
    XP_SUB,
    XP_MUL,
    XP_DIV,
    XP_MOD,
    XP_UNION,
    XP_NEGATE,
    XP_NUMBER,
    XP_LITERAL,
    XP_CALL,      /* a: XP_ARGUMENTs */
    XP_ARGUMENT,  /* a: the argument; next */
    XP_FILTER,    /* a: a node set; b: XP_PREDICATEs */
    XP_PREDICATE, /* a: the condition; next */
    XP_PATH,      /* a: where it begins; b: XP_STEPs */
    XP_STEP,      /* axis, test, name, module; a: XP_PREDICATEs; next */
    XP_ROOT,
    XP_CONTEXT
};

enum xpath_axis { /* in the order of their names in xpath_parse.c */
                  XP_CHILD,
                  XP_DESCENDANT,
                  XP_DESCENDANT_OR_SELF,
                  XP_SELF,
                  XP_PARENT,
                  XP_ANCESTOR,
                  XP_ANCESTOR_OR_SELF,
                  XP_FOLLOWING_SIBLING,
                  XP_FOLLOWING,
                  XP_PRECEDING_SIBLING,
                  XP_PRECEDING,
                  XP_ATTRIBUTE, /* of which there are none */
                  XP_NAMESPACE
};

enum xpath_test { XP_TEST_NAME, XP_TEST_NODE, XP_TEST_TEXT, XP_TEST_NONE };

struct xpath_function;
struct xpath_expr {
    enum xpath_op op;
    struct xpath_expr *a, *b, *next;
    double number;
    const char *name;   /* literal, function, name test (NULL: any) */
    const char *module; /* name test; NULL: any */
    enum xpath_axis axis;
    enum xpath_test test;
    const struct xpath_function *function;
};

struct xpath {
    const struct xpath_expr *root;
};

struct evaluation;
struct value;
struct xpath_function {
    const char *name;
    size_t min, max;           /* arguments */
    bool wants_set, gives_set; /* of nodes: its argument, its value */
    struct value (*run)(struct evaluation *v, const struct value *arguments, size_t n);
};
const struct xpath_function *xpath_function(const char *name); /* NULL: none */

#endif
