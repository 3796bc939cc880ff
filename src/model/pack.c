// SPDX-License-Identifier: Apache-2.0
/* From a tree to the packed struct that the generator laid out. */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "model/internal.h"

void *bump_take(struct bump *b, size_t n, size_t align) {
    b->used = (b->used + align - 1) / align * align;
    void *p = b->base != NULL ? b->base + b->used : NULL;
    b->used += n;
    return p;
}

const char *bump_str(struct bump *b, const char *s, size_t n) {
    char *p = bump_take(b, n + 1, 1);
    if (p != NULL) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

/* "-1.5" with 2 digits -> -150 */
static int64_t scaled(const char *s, unsigned digits) {
    bool negative = *s == '-';
    uint64_t v = 0;
    unsigned after = 0;
    bool point = false;
    for (s += negative; *s != '\0'; s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        if (point && after == digits) {
            break;
        }
        v = v * 10 + (uint64_t)(*s - '0');
        after += point;
    }
    for (; after < digits; after++) {
        v *= 10;
    }
    return negative ? (int64_t)(0 - v) : (int64_t)v;
}

static uint64_t bits(const struct node *n, const char *s) {
    uint64_t mask = 0;
    while (*s != '\0') {
        size_t len = strcspn(s, " ");
        for (size_t i = 0; i < n->n_enums; i++) {
            if (strncmp(n->enums[i].name, s, len) == 0 && n->enums[i].name[len] == '\0' &&
                n->enums[i].value < 64) {
                mask |= UINT64_C(1) << n->enums[i].value;
            }
        }
        s += len;
        s += strspn(s, " ");
    }
    return mask;
}

static void pack_value(struct bump *b, const struct node *n, const char *text, char *to) {
    if (n->base == BASE_STRING || n->base >= BASE_BINARY) {
        if (n->base != BASE_IP_ADDR && n->base != BASE_IP_PREFIX) {
            const char *s = bump_str(b, text, strlen(text));
            if (to != NULL) {
                memcpy(to, &s, sizeof s);
            }
            return;
        }
    }
    if (to == NULL) {
        return;
    }
#define PUT(type, value)                                                                           \
    do {                                                                                           \
        type v_ = (type)(value);                                                                   \
        memcpy(to, &v_, sizeof v_);                                                                \
    } while (0)
    switch (n->base) {
    case BASE_INT8:
        PUT(int8_t, strtol(text, NULL, 10));
        break;
    case BASE_INT16:
        PUT(int16_t, strtol(text, NULL, 10));
        break;
    case BASE_INT32:
        PUT(int32_t, strtol(text, NULL, 10));
        break;
    case BASE_INT64:
        PUT(int64_t, strtoll(text, NULL, 10));
        break;
    case BASE_UINT8:
        PUT(uint8_t, strtoul(text, NULL, 10));
        break;
    case BASE_UINT16:
        PUT(uint16_t, strtoul(text, NULL, 10));
        break;
    case BASE_UINT32:
        PUT(uint32_t, strtoul(text, NULL, 10));
        break;
    case BASE_UINT64:
        PUT(uint64_t, strtoull(text, NULL, 10));
        break;
    case BASE_DECIMAL64:
        PUT(int64_t, scaled(text, n->fraction_digits));
        break;
    case BASE_BOOL:
        PUT(bool, text[0] == 't');
        break;
    case BASE_EMPTY:
        PUT(bool, true);
        break;
    case BASE_BITS:
        PUT(uint64_t, bits(n, text));
        break;
    case BASE_ENUM:
        for (size_t i = 0; i < n->n_enums; i++) {
            if (strcmp(n->enums[i].name, text) == 0) {
                /* an enum of C is an int or an unsigned int: the same bytes for its values */
                PUT(int, n->enums[i].value);
            }
        }
        break;
    case BASE_IP_ADDR: {
        struct ip_addr a = {0};
        ip_addr_parse(text, &a, NULL);
        memcpy(to, &a, sizeof a);
        break;
    }
    case BASE_IP_PREFIX: {
        struct ip_prefix p = {0};
        ip_prefix_parse(text, &p, NULL);
        memcpy(to, &p, sizeof p);
        break;
    }
    default:
        break;
    }
#undef PUT
}

static void set_has(const struct node *n, char *to) {
    if (to != NULL && n->has_offset != UINT32_MAX) {
        bool yes = true;
        memcpy(to + n->has_offset, &yes, sizeof yes);
    }
}

static void pack_leaf_list(struct bump *b, const struct node *n, const json_t *v, char *to) {
    size_t count = v != NULL ? json_array_size(v) : n->n_default_values;
    if (count == 0) {
        return;
    }
    struct buf tmp = BUF_INIT;
    char *elems = bump_take(b, count * n->elem_size, alignof(max_align_t));
    for (size_t i = 0; i < count; i++) {
        const char *text =
            v != NULL ? value_text(json_array_get(v, i), &tmp) : n->default_values[i];
        pack_value(b, n, text, elems != NULL ? elems + i * n->elem_size : NULL);
    }
    if (to != NULL) {
        memcpy(to + n->offset, &elems, sizeof elems);
        memcpy(to + n->count_offset, &count, sizeof count);
    }
    buf_free(&tmp);
}

static void pack_list(struct bump *b, const struct node *n, const json_t *v, char *to) {
    size_t count = json_array_size(v);
    if (count == 0) {
        return;
    }
    char *elems = bump_take(b, count * n->struct_size, alignof(max_align_t));
    for (size_t i = 0; i < count; i++) {
        pack_struct(b, n, json_array_get(v, i), elems != NULL ? elems + i * n->struct_size : NULL);
    }
    if (to != NULL) {
        memcpy(to + n->offset, &elems, sizeof elems);
        memcpy(to + n->count_offset, &count, sizeof count);
    }
}

/* A default inside a choice counts only when its case is chosen. */
static bool default_counts(const struct node *parent, const struct node *c, const json_t *tree) {
    if (c->choice == NULL) {
        return true;
    }
    bool other = false;
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *x = parent->children[i];
        if (x->choice == c->choice && tree != NULL && tree_get(tree, parent, x) != NULL) {
            if (strcmp(x->case_name, c->case_name) == 0) {
                return true;
            }
            other = true;
        }
    }
    return !other && c->choice->default_case != NULL &&
           strcmp(c->choice->default_case, c->case_name) == 0;
}

void pack_struct(struct bump *b, const struct node *n, const json_t *tree, char *to) {
    struct buf tmp = BUF_INIT;
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->offset == UINT32_MAX) {
            continue; /* state */
        }
        const json_t *v = tree != NULL ? tree_get(tree, n, c) : NULL;
        char *at = to != NULL ? to + c->offset : NULL;
        switch (c->type) {
        case NODE_CONTAINER:
            if (c->presence && v == NULL) {
                break;
            }
            set_has(c, to);
            pack_struct(b, c, v, at);
            break;
        case NODE_LIST:
            pack_list(b, c, v, to);
            break;
        case NODE_LEAF_LIST:
            if (v != NULL || default_counts(n, c, tree)) {
                pack_leaf_list(b, c, v, to);
            }
            break;
        default:
            if (v != NULL) {
                set_has(c, to);
                pack_value(b, c, value_text(v, &tmp), at);
            } else if (c->default_value != NULL && default_counts(n, c, tree)) {
                set_has(c, to);
                pack_value(b, c, c->default_value, at);
            }
            break;
        }
    }
    buf_free(&tmp);
}
