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
    XPATH_STEPS_MAX = 100000, /* nodes and bytes looked at in one evaluation */
};

struct xpath; /* lives in the arena it was compiled into */

/* ERR_INVALID: no expression; the text says where and why. */
enum err_code xpath_compile(const char *text, struct arena *a, const struct xpath **out,
                            struct err *e);
/* Is it true of the document whose only element is `top` with the members in `tree`? Evaluated with
 * the root as context. False when it takes more than XPATH_STEPS_MAX: `*given_up` says so (NULL is
 * allowed). */
bool xpath_true(const struct xpath *x, const struct node *top, const json_t *tree, bool *given_up);

#endif
