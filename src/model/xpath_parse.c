// SPDX-License-Identifier: Apache-2.0
/* From the text of an expression to its tree: XPath 1.0 section 3.7 (tokens) and 3.1-3.5 (grammar).
 */
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"
#include "model/xpath_tree.h"

enum token {
    T_END,
    T_NUMBER,
    T_LITERAL,
    T_NAME,  /* a NameTest: "name", "module:name", "*", "module:*" */
    T_CALL,  /* a function's or node type's name; ( comes next */
    T_AXIS,  /* its name; :: comes next and is taken */
    T_OTHER, /* punctuation and operators; `text` is it */
};

struct parser {
    const char *start, *p; /* behind the current token */
    enum token token;
    const char *text; /* of the current token */
    size_t len;
    double number;
    bool operand; /* the token before was the end of an operand: * and names are operators now */
    unsigned depth;
    struct arena *a;
    struct err *e;
    bool failed;
};

static void *fail(struct parser *s, const char *why) {
    if (!s->failed) {
        s->failed = true;
        err_set(s->e, ERR_INVALID, NULL, "No XPath expression: %s at byte %zu.", why,
                (size_t)(s->text - s->start) + 1);
    }
    return NULL;
}

/* ---- tokens -----------------------------------------------------------------------------------
 */

static bool name_start(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t name_len(const char *p) {
    size_t n = name_start((unsigned char)p[0]) ? 1 : 0;
    while (n > 0 && (name_start((unsigned char)p[n]) || (p[n] >= '0' && p[n] <= '9') ||
                     p[n] == '-' || p[n] == '.')) {
        n++;
    }
    return n;
}

static bool is(const struct parser *s, const char *text) {
    return s->token == T_OTHER && strlen(text) == s->len && memcmp(s->text, text, s->len) == 0;
}

static void read_number(struct parser *s) {
    char *end;
    size_t n = strspn(s->p, "0123456789");
    n += s->p[n] == '.' ? 1 + strspn(s->p + n + 1, "0123456789") : 0;
    char *copy = arena_strndup(s->a, s->p, n);
    s->number = strtod(copy, &end);
    s->token = T_NUMBER;
    s->len = n;
}

static void read_name(struct parser *s) {
    static const char *const operators[] = {"and", "or", "mod", "div"};
    size_t n = name_len(s->p);
    for (size_t i = 0; s->operand && i < sizeof operators / sizeof *operators; i++) {
        if (strlen(operators[i]) == n && memcmp(s->p, operators[i], n) == 0) {
            s->token = T_OTHER;
            s->len = n;
            return;
        }
    }
    if (s->p[n] == ':' && s->p[n + 1] != ':') { /* module:name, module:* */
        size_t local = s->p[n + 1] == '*' ? 1 : name_len(s->p + n + 1);
        if (local == 0) {
            fail(s, "a name is missing");
        }
        n += 1 + local;
    }
    const char *next = s->p + n + strspn(s->p + n, " \t\r\n");
    s->token = T_NAME;
    s->len = n;
    if (next[0] == ':' && next[1] == ':') {
        s->token = T_AXIS;
        s->p = next + 2 - n; /* advance() adds n */
    } else if (next[0] == '(') {
        s->token = T_CALL;
    }
}

static void read_other(struct parser *s) {
    static const char *const doubles[] = {"//", "..", "<=", ">=", "!="};
    s->token = T_OTHER;
    s->len = 1;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        s->len = strncmp(s->p, doubles[i], 2) == 0 ? 2 : s->len;
    }
    if (*s->p == '*' && !s->operand) {
        s->token = T_NAME;
    } else if (s->len == 1 && strchr("()[].@,/|+-=<>*$", *s->p) == NULL) {
        fail(s, "a character that has no place here");
    }
}

static void advance(struct parser *s) {
    bool before = s->token == T_NUMBER || s->token == T_LITERAL || s->token == T_NAME ||
                  is(s, ")") || is(s, "]") || is(s, ".") || is(s, "..");
    s->operand = before;
    s->p += strspn(s->p, " \t\r\n");
    s->text = s->p;
    if (*s->p == '\0') {
        s->token = T_END;
        s->len = 0;
    } else if ((*s->p >= '0' && *s->p <= '9') ||
               (*s->p == '.' && s->p[1] >= '0' && s->p[1] <= '9')) {
        read_number(s);
    } else if (*s->p == '"' || *s->p == '\'') {
        const char *end = strchr(s->p + 1, *s->p);
        if (end == NULL) {
            fail(s, "a quote that is not closed");
            s->token = T_END;
            s->len = 0;
            return;
        }
        s->token = T_LITERAL;
        s->text = s->p + 1;
        s->len = (size_t)(end - s->text);
        s->p = end + 1;
        return;
    } else if (name_start((unsigned char)*s->p)) {
        read_name(s);
    } else {
        read_other(s);
    }
    s->p += s->len;
}

static bool take(struct parser *s, const char *text) {
    if (!is(s, text)) {
        return false;
    }
    advance(s);
    return true;
}

/* ---- trees ------------------------------------------------------------------------------------
 */

static struct xpath_expr *make(struct parser *s, enum xpath_op op, struct xpath_expr *a,
                               struct xpath_expr *b) {
    struct xpath_expr *x = arena_alloc(s->a, sizeof *x);
    *x = (struct xpath_expr){.op = op, .a = a, .b = b};
    return x;
}

static struct xpath_expr *expression(struct parser *s);

/* NULL: none, or it failed. */
static struct xpath_expr *predicates(struct parser *s) {
    struct xpath_expr *first = NULL, **tail = &first;
    while (!s->failed && take(s, "[")) {
        struct xpath_expr *condition = expression(s);
        if (condition == NULL || !take(s, "]")) {
            return fail(s, "] is missing");
        }
        *tail = make(s, XP_PREDICATE, condition, NULL);
        tail = &(*tail)->next;
    }
    return s->failed ? NULL : first;
}

/* The types of XPath 1.0 are known without evaluating, as there are no variables. */
static bool is_set(const struct xpath_expr *x) {
    return x->op == XP_PATH || x->op == XP_UNION || x->op == XP_ROOT || x->op == XP_CONTEXT ||
           x->op == XP_FILTER || (x->op == XP_CALL && x->function->gives_set);
}

/* Which of `words` the current token is; -1: none. */
static int word(const struct parser *s, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++) {
        if (strlen(words[i]) == s->len && memcmp(words[i], s->text, s->len) == 0) {
            return i;
        }
    }
    return -1;
}

static void name_test(struct parser *s, struct xpath_expr *step) {
    const char *colon = memchr(s->text, ':', s->len);
    const char *local = colon != NULL ? colon + 1 : s->text;
    step->test = XP_TEST_NAME;
    if (colon != NULL) {
        step->module = arena_strndup(s->a, s->text, (size_t)(colon - s->text));
        if (model_module(step->module) == NULL) {
            fail(s, "a prefix that is no module");
        }
    }
    size_t n = s->len - (size_t)(local - s->text);
    step->name = n == 1 && *local == '*' ? NULL : arena_strndup(s->a, local, n);
    advance(s);
}

static void node_test(struct parser *s, struct xpath_expr *step) {
    static const char *const types[] = {"node", "text", "comment", "processing-instruction", NULL};
    static const enum xpath_test tests[] = {XP_TEST_NODE, XP_TEST_TEXT, XP_TEST_NONE, XP_TEST_NONE};
    if (s->token == T_NAME) {
        name_test(s, step);
        return;
    }
    int type = s->token == T_CALL ? word(s, types) : -1;
    if (type < 0) {
        fail(s, "a name or a test of a node is missing");
        return;
    }
    step->test = tests[type];
    advance(s);
    take(s, "(");
    if (s->token == T_LITERAL && type == 3) {
        advance(s);
    }
    if (!take(s, ")")) {
        fail(s, ") is missing");
    }
}

static struct xpath_expr *step(struct parser *s) {
    static const char *const axes[] = {
        "child",     "descendant",       "descendant-or-self", "self",      "parent",
        "ancestor",  "ancestor-or-self", "following-sibling",  "following", "preceding-sibling",
        "preceding", "attribute",        "namespace",          NULL};
    struct xpath_expr *x = make(s, XP_STEP, NULL, NULL);
    x->axis = XP_CHILD;
    if (is(s, ".") || is(s, "..")) {
        x->axis = s->len == 1 ? XP_SELF : XP_PARENT;
        x->test = XP_TEST_NODE;
        advance(s);
        return x; /* an abbreviated step has no predicates */
    }
    if (s->token == T_AXIS) {
        int axis = word(s, axes);
        if (axis < 0) {
            return fail(s, "an unknown axis");
        }
        x->axis = (enum xpath_axis)axis;
        advance(s);
    } else if (take(s, "@")) {
        x->axis = XP_ATTRIBUTE;
    }
    node_test(s, x);
    x->a = predicates(s);
    return s->failed ? NULL : x;
}

/* Steps behind `from` (XP_ROOT, XP_CONTEXT or any expression); the current token begins one, or is
 * a // in front of one. */
static struct xpath_expr *steps(struct parser *s, struct xpath_expr *from) {
    struct xpath_expr *path = make(s, XP_PATH, from, NULL), **tail = &path->b;
    for (;;) {
        if (take(s, "//")) {
            *tail = make(s, XP_STEP, NULL, NULL);
            (*tail)->axis = XP_DESCENDANT_OR_SELF;
            (*tail)->test = XP_TEST_NODE;
            tail = &(*tail)->next;
        }
        *tail = step(s);
        if (*tail == NULL) {
            return NULL;
        }
        tail = &(*tail)->next;
        if (!is(s, "//") && !take(s, "/")) {
            return path;
        }
    }
}

static bool begins_step(const struct parser *s) {
    static const char *const types[] = {"node", "text", "comment", "processing-instruction", NULL};
    return s->token == T_NAME || s->token == T_AXIS || is(s, ".") || is(s, "..") || is(s, "@") ||
           (s->token == T_CALL && word(s, types) >= 0);
}

static struct xpath_expr *call(struct parser *s) {
    struct xpath_expr *x = make(s, XP_CALL, NULL, NULL), **tail = &x->a;
    x->name = arena_strndup(s->a, s->text, s->len);
    x->function = xpath_function(x->name);
    if (x->function == NULL) {
        return fail(s, "an unknown function");
    }
    const char *at = s->text;
    size_t n = 0;
    advance(s);
    take(s, "(");
    bool more = !is(s, ")");
    while (more && !s->failed) {
        struct xpath_expr *argument = expression(s);
        if (argument == NULL) {
            return NULL;
        }
        if (x->function->wants_set && !is_set(argument)) {
            return fail(s, "an argument that is no set of nodes");
        }
        /* arguments are listed by `next`, which an expression's own root never uses */
        *tail = make(s, XP_ARGUMENT, argument, NULL);
        tail = &(*tail)->next;
        n++;
        more = take(s, ",");
    }
    if (!s->failed && !take(s, ")")) {
        return fail(s, ") is missing");
    }
    if (!s->failed && (n < x->function->min || n > x->function->max)) {
        s->text = at;
        return fail(s, "a function with too many or too few arguments");
    }
    return x;
}

static struct xpath_expr *primary(struct parser *s) {
    struct xpath_expr *x = NULL;
    if (s->token == T_NUMBER) {
        x = make(s, XP_NUMBER, NULL, NULL);
        x->number = s->number;
        advance(s);
    } else if (s->token == T_LITERAL) {
        x = make(s, XP_LITERAL, NULL, NULL);
        x->name = arena_strndup(s->a, s->text, s->len);
        advance(s);
    } else if (s->token == T_CALL) {
        x = call(s);
    } else if (take(s, "(")) {
        x = expression(s);
        if (x != NULL && !take(s, ")")) {
            return fail(s, ") is missing");
        }
    } else {
        return fail(s,
                    is(s, "$") ? "a variable, of which there are none" : "an operand is missing");
    }
    struct xpath_expr *p = x != NULL ? predicates(s) : NULL;
    if (p != NULL && !is_set(x)) {
        return fail(s, "a predicate of what is no set of nodes");
    }
    return p != NULL ? make(s, XP_FILTER, x, p) : x;
}

static struct xpath_expr *path(struct parser *s) {
    if (is(s, "/") || is(s, "//")) {
        struct xpath_expr *root = make(s, XP_ROOT, NULL, NULL);
        if (take(s, "/") && !begins_step(s)) {
            return root;
        }
        return steps(s, root);
    }
    if (begins_step(s)) {
        return steps(s, make(s, XP_CONTEXT, NULL, NULL));
    }
    struct xpath_expr *x = primary(s);
    if (x == NULL || s->failed || (!is(s, "//") && !take(s, "/"))) {
        return x;
    }
    return is_set(x) ? steps(s, x) : fail(s, "a step from what is no set of nodes");
}

/* Binary operators, loosest first; all bind to the left. */
static const struct {
    const char *text;
    enum xpath_op op;
    int level;
} operators[] = {{"or", XP_OR, 0},   {"and", XP_AND, 1}, {"=", XP_EQ, 2},  {"!=", XP_NE, 2},
                 {"<", XP_LT, 3},    {"<=", XP_LE, 3},   {">", XP_GT, 3},  {">=", XP_GE, 3},
                 {"+", XP_ADD, 4},   {"-", XP_SUB, 4},   {"*", XP_MUL, 5}, {"div", XP_DIV, 5},
                 {"mod", XP_MOD, 5}, {"|", XP_UNION, 7}};
enum { LEVEL_UNARY = 6, LEVEL_PATH = 8 };

static struct xpath_expr *level(struct parser *s, int at) {
    if (at == LEVEL_PATH) {
        return path(s);
    }
    if (at == LEVEL_UNARY) {
        bool negative = false, any = false;
        while (take(s, "-")) {
            negative = !negative;
            any = true;
        }
        struct xpath_expr *x = level(s, at + 1);
        if (x == NULL || !any) {
            return x;
        }
        x = make(s, XP_NEGATE, x, NULL);
        return negative ? x : make(s, XP_NEGATE, x, NULL);
    }
    struct xpath_expr *left = level(s, at + 1);
    for (size_t i = 0; left != NULL && i < sizeof operators / sizeof *operators;) {
        if (operators[i].level == at && take(s, operators[i].text)) {
            struct xpath_expr *right = level(s, at + 1);
            if (right == NULL ||
                (operators[i].op == XP_UNION && (!is_set(left) || !is_set(right)))) {
                return fail(s, "| stands between sets of nodes");
            }
            left = make(s, operators[i].op, left, right);
            i = 0;
        } else {
            i++;
        }
    }
    return left;
}

static struct xpath_expr *expression(struct parser *s) {
    if (s->depth == XPATH_DEPTH_MAX) {
        return fail(s, "too deep a nesting");
    }
    s->depth++;
    struct xpath_expr *x = s->failed ? NULL : level(s, 0);
    s->depth--;
    return s->failed ? NULL : x;
}

bool xpath_is_set(const struct xpath *x) {
    return is_set(x->root);
}

enum err_code xpath_compile(const char *text, struct arena *a, const struct xpath **out,
                            struct err *e) {
    struct err ignored;
    struct parser s = {.start = text, .p = text, .text = text, .a = a, .e = e ? e : &ignored};
    advance(&s);
    struct xpath *x = arena_alloc(a, sizeof *x);
    x->root = expression(&s);
    if (!s.failed && s.token != T_END) {
        fail(&s, "something that has no place here");
    }
    if (s.failed) {
        return ERR_INVALID;
    }
    *out = x;
    return ERR_OK;
}
