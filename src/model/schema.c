// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <string.h>

#include "base/map.h"
#include "model/internal.h"

const struct kind *const *model_kinds(size_t *n) {
    *n = model_tables.n_kinds;
    return model_tables.kinds;
}
const struct node *const *model_nodes(size_t *n) {
    *n = model_tables.n_nodes;
    return model_tables.nodes;
}
const struct node *model_root(void) {
    return model_tables.nodes[0];
}
const struct node *const *model_rpcs(size_t *n) {
    *n = model_tables.n_rpcs;
    return model_tables.rpcs;
}
const struct node *const *model_notifications(size_t *n) {
    *n = model_tables.n_notifications;
    return model_tables.notifications;
}
const struct command *const *model_commands(size_t *n) {
    *n = model_tables.n_commands;
    return model_tables.commands;
}
const struct module_info *model_modules(size_t *n) {
    *n = model_tables.n_modules;
    return model_tables.modules;
}
const char *model_content_id(void) {
    return model_tables.content_id;
}

/* Names and prefixes are looked up for every object: hashed once, never freed. */
static struct map kinds_by_name, kinds_by_prefix, rpcs_by_name, notifications_by_name;
static pthread_once_t maps_once = PTHREAD_ONCE_INIT;

static void add_operations(struct map *map, const struct node *const *v, size_t n) {
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        buf_clear(&b);
        buf_printf(&b, "%s:%s", v[i]->module, v[i]->name);
        map_put_n(map, b.data, b.len, (void *)(uintptr_t)v[i]);
    }
    buf_free(&b);
}

static void make_maps(void) {
    for (size_t i = 0; i < model_tables.n_kinds; i++) {
        const struct kind *k = model_tables.kinds[i];
        map_put(&kinds_by_name, k->name, (void *)(uintptr_t)k);
        map_put(&kinds_by_prefix, k->prefix, (void *)(uintptr_t)k);
    }
    add_operations(&rpcs_by_name, model_tables.rpcs, model_tables.n_rpcs);
    add_operations(&notifications_by_name, model_tables.notifications,
                   model_tables.n_notifications);
}

const struct kind *model_kind(const char *name) {
    pthread_once(&maps_once, make_maps);
    return map_get(&kinds_by_name, name);
}

const struct node *model_rpc(const char *name) {
    pthread_once(&maps_once, make_maps);
    return map_get(&rpcs_by_name, name);
}

const struct node *model_notification(const char *name) {
    pthread_once(&maps_once, make_maps);
    return map_get(&notifications_by_name, name);
}

/* A canonical object path is its kind's prefix, and "=keys" unless the kind has none; an "=" in a
 * key value would be percent-encoded. */
const struct kind *path_kind(const char *path) {
    pthread_once(&maps_once, make_maps);
    size_t n = strcspn(path, "=");
    const struct kind *k = map_get_n(&kinds_by_prefix, path, n);
    if (k == NULL || (path[n] == '=') != (k->n_keys > 0) ||
        (path[n] == '=' && strchr(path + n, '/') != NULL)) {
        return NULL;
    }
    return k;
}

const struct module_info *model_module(const char *name) {
    for (size_t i = 0; i < model_tables.n_modules; i++) {
        if (strcmp(model_tables.modules[i].name, name) == 0) {
            return &model_tables.modules[i];
        }
    }
    return NULL;
}

static bool is(const char *s, const char *name, size_t n) {
    return strncmp(s, name, n) == 0 && s[n] == '\0';
}

const struct node *node_child(const struct node *parent, const char *name, size_t n) {
    const char *colon = memchr(name, ':', n);
    const struct node *found = NULL;
    if (colon != NULL) {
        size_t m = (size_t)(colon - name);
        for (size_t i = 0; i < parent->n_children; i++) {
            const struct node *c = parent->children[i];
            if (is(c->name, colon + 1, n - m - 1) && is(c->module, name, m)) {
                return c;
            }
        }
        return NULL;
    }
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *c = parent->children[i];
        if (!is(c->name, name, n)) {
            continue;
        }
        if (strcmp(c->module, parent->module) == 0) {
            return c;
        }
        if (found != NULL) {
            return NULL;
        }
        found = c;
    }
    return found;
}

bool node_is_leaf(const struct node *n) {
    return n->type == NODE_LEAF || n->type == NODE_LEAF_LIST;
}

static bool qualified(const struct node *n) {
    return n->parent == NULL || n->parent->type == NODE_ROOT ||
           strcmp(n->parent->module, n->module) != 0;
}

void path_add_node(struct buf *out, const struct node *n) {
    buf_char(out, '/');
    if (qualified(n)) {
        buf_str(out, n->module);
        buf_char(out, ':');
    }
    buf_str(out, n->name);
}

void node_path(const struct node *n, struct buf *out) {
    if (n->type == NODE_ROOT) {
        return;
    }
    if (n->parent != NULL) {
        node_path(n->parent, out);
    }
    path_add_node(out, n);
}

const char *node_member(const struct node *parent, const struct node *child, struct buf *tmp) {
    if (strcmp(parent->module, child->module) == 0) {
        return child->name;
    }
    buf_clear(tmp);
    buf_printf(tmp, "%s:%s", child->module, child->name);
    return buf_cstr(tmp);
}

json_t *tree_get(const json_t *object, const struct node *parent, const struct node *child) {
    if (strcmp(parent->module, child->module) == 0) {
        return json_object_get(object, child->name);
    }
    struct buf tmp = BUF_INIT;
    json_t *v = json_object_get(object, node_member(parent, child, &tmp));
    buf_free(&tmp);
    return v;
}

void tree_set_new(json_t *object, const struct node *parent, const struct node *child, json_t *v) {
    struct buf tmp = BUF_INIT;
    json_object_set_new_nocheck(object, node_member(parent, child, &tmp), v);
    buf_free(&tmp);
}

void tree_del(json_t *object, const struct node *parent, const struct node *child) {
    struct buf tmp = BUF_INIT;
    json_object_del(object, node_member(parent, child, &tmp));
    buf_free(&tmp);
}

static const char *case_in(const struct node *n, const struct choice *c) {
    const char *in = n->case_name;
    for (const struct choice *x = n->choice; x != NULL; in = x->outer_case, x = x->outer) {
        if (x == c) {
            return in;
        }
    }
    return NULL;
}

bool node_excludes(const struct node *a, const struct node *b) {
    for (const struct choice *c = a->choice; c != NULL; c = c->outer) {
        const char *x = case_in(a, c), *y = case_in(b, c);
        if (y != NULL && strcmp(x, y) != 0) {
            return true;
        }
    }
    return false;
}

/* Levenshtein distance of two short names; anything longer than 63 is "far". */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb) {
    unsigned row[64];
    if (na > 63 || nb > 63) {
        return 64;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[nb];
}

void node_known_text(const struct node *parent, const char *name, size_t n, struct buf *out) {
    const struct node *near = NULL;
    unsigned best = 4;
    const char *colon = memchr(name, ':', n);
    if (colon != NULL) {
        n -= (size_t)(colon + 1 - name);
        name = colon + 1;
    }
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *c = parent->children[i];
        unsigned d = distance(name, n, c->name, strlen(c->name));
        if (n >= 3 && strncmp(c->name, name, n) == 0) {
            d = 1;
        }
        if (d < best && d < n) {
            best = d;
            near = c;
        }
    }
    if (near != NULL) {
        buf_printf(out, "; did you mean %s?", near->name);
        return;
    }
    buf_str(out, parent->n_children > 0 ? "; known here: " : "; nothing is known here");
    for (size_t i = 0; i < parent->n_children; i++) {
        if (i == 12) {
            buf_str(out, " ...");
            break;
        }
        const struct node *c = parent->children[i];
        buf_printf(out, "%s%s%s%s", i > 0 ? ", " : "", qualified(c) ? c->module : "",
                   qualified(c) ? ":" : "", c->name);
    }
}

enum err_code node_unknown(const struct node *parent, const char *name, size_t n, const char *path,
                           struct err *e) {
    const char *colon = memchr(name, ':', n);
    int shown = (int)(n > 60 ? 60 : n);
    char *module = colon != NULL ? mem_strndup(name, (size_t)(colon - name)) : NULL;
    bool stranger = module != NULL && model_module(module) == NULL;
    mem_free(module);
    struct buf known = BUF_INIT;
    node_known_text(parent, name, n, &known);
    enum err_code rc =
        stranger
            ? err_set(e, ERR_NAMESPACE, path, "\"%.*s\" is of an unknown module%s", shown, name,
                      buf_cstr(&known))
            : err_set(e, ERR_UNKNOWN, path, "\"%.*s\" is unknown%s", shown, name, buf_cstr(&known));
    buf_free(&known);
    return rc;
}

/* "8..30 | 40" -> "from 8 to 30, or 40" */
static void range_words(const char *range, struct buf *out) {
    const char *sep = "";
    while (*range != '\0') {
        size_t n = strcspn(range, "|");
        size_t len = n;
        while (len > 0 && range[len - 1] == ' ') {
            len--;
        }
        const char *dots = memmem(range, len, "..", 2);
        buf_str(out, sep);
        if (dots != NULL) {
            buf_printf(out, "from %.*s to %.*s", (int)(dots - range), range,
                       (int)(len - (size_t)(dots - range) - 2), dots + 2);
        } else {
            buf_printf(out, "%.*s", (int)len, range);
        }
        sep = ", or ";
        range += n;
        range += strspn(range, "| ");
    }
}

static void names_text(const struct node *n, struct buf *out) {
    for (size_t i = 0; i < n->n_enums; i++) {
        if (i == 20) {
            buf_str(out, " ...");
            break;
        }
        buf_printf(out, "%s%s", i > 0 ? ", " : "", n->enums[i].name);
    }
}

void node_type_text(const struct node *n, struct buf *out) {
    static const char *const ranges[] = {[BASE_INT8] = "-128..127",
                                         [BASE_INT16] = "-32768..32767",
                                         [BASE_INT32] = "-2147483648..2147483647",
                                         [BASE_INT64] = "-9223372036854775808..9223372036854775807",
                                         [BASE_UINT8] = "0..255",
                                         [BASE_UINT16] = "0..65535",
                                         [BASE_UINT32] = "0..4294967295",
                                         [BASE_UINT64] = "0..18446744073709551615"};
    switch (n->base) {
    case BASE_INT8:
    case BASE_INT16:
    case BASE_INT32:
    case BASE_INT64:
    case BASE_UINT8:
    case BASE_UINT16:
    case BASE_UINT32:
    case BASE_UINT64:
        buf_str(out, "a number ");
        range_words(n->range != NULL ? n->range : ranges[n->base], out);
        break;
    case BASE_DECIMAL64:
        buf_printf(out, "a number with up to %u decimals", n->fraction_digits);
        if (n->range != NULL) {
            buf_char(out, ' ');
            range_words(n->range, out);
        }
        break;
    case BASE_BOOL:
        buf_str(out, "true or false");
        break;
    case BASE_EMPTY:
        buf_str(out, "no value");
        break;
    case BASE_ENUM:
    case BASE_IDENTITY:
        buf_str(out, "one of ");
        names_text(n, out);
        break;
    case BASE_BITS:
        buf_str(out, "any of ");
        names_text(n, out);
        buf_str(out, " with blanks between");
        break;
    case BASE_IP_ADDR:
    case BASE_IP_PREFIX: {
        bool prefix = n->base == BASE_IP_PREFIX;
        const char *family = "";
        for (size_t i = 0; i < n->n_patterns; i++) {
            family = strncmp(n->patterns[i], "([0-9]{1,3}", 11) == 0 ? "IPv4 " : family;
        }
        if (family[0] == '\0' && n->type_name != NULL && strstr(n->type_name, "v6") != NULL) {
            family = "IPv6 ";
        }
        buf_printf(out, "an %s%s", family[0] != '\0' ? family : "IP ",
                   prefix ? "prefix such as " : "address such as ");
        buf_str(out, family[0] != '\0' && family[3] == '6'
                         ? (prefix ? "2001:db8::/32" : "2001:db8::1")
                         : (prefix ? "192.0.2.0/24" : "192.0.2.1"));
        break;
    }
    case BASE_BINARY:
        buf_str(out, "base64");
        break;
    case BASE_INSTANCE_ID:
        buf_str(out, "a path");
        break;
    default:
        buf_str(out, "text");
        if (n->range != NULL) {
            buf_str(out, ", ");
            range_words(n->range, out);
            buf_str(out, " characters");
        }
        break;
    }
}
