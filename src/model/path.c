// SPDX-License-Identifier: Apache-2.0
/* Instance paths: RFC 8040 section 3.5.3, in one canonical form. */
#include <string.h>

#include "model/internal.h"

static bool unreserved(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '~' || c == '-';
}

void path_add_key(struct buf *out, bool first, const char *value) {
    static const char hex[] = "0123456789ABCDEF";
    buf_char(out, first ? '=' : ',');
    for (const unsigned char *p = (const unsigned char *)value; *p != '\0'; p++) {
        if (unreserved(*p)) {
            buf_char(out, (char)*p);
        } else {
            buf_char(out, '%');
            buf_char(out, hex[*p >> 4]);
            buf_char(out, hex[*p & 15]);
        }
    }
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* False: a broken escape or an escaped NUL. `out` holds n + 1 bytes. */
static bool decode_to(char *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%') {
            *out++ = s[i];
            continue;
        }
        int hi = i + 2 < n ? hex_digit(s[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(s[i + 2]) : -1;
        if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
            return false;
        }
        *out++ = (char)(hi * 16 + lo);
        i += 2;
    }
    *out = '\0';
    return true;
}

static char *decode(struct arena *a, const char *s, size_t n) {
    char *out = arena_alloc(a, n + 1);
    return decode_to(out, s, n) ? out : NULL;
}

void path_object(const struct kind *k, const char *const *keys, struct buf *out) {
    buf_str(out, k->prefix);
    for (size_t i = 0; i < k->n_keys; i++) {
        path_add_key(out, i == 0, keys[i]);
    }
}

bool path_keys(const struct kind *k, const char *path, struct arena *a, const char *keys[]) {
    size_t n = strlen(k->prefix);
    if (strncmp(path, k->prefix, n) != 0 || (k->n_keys > 0) != (path[n] == '=')) {
        return false;
    }
    const char *p = path + n;
    for (size_t i = 0; i < k->n_keys; i++) {
        if (*p != (i == 0 ? '=' : ',')) {
            return false;
        }
        p++;
        size_t len = strcspn(p, ",/");
        keys[i] = decode(a, p, len);
        if (keys[i] == NULL) {
            return false;
        }
        p += len;
    }
    return *p == '\0';
}

/* Key by key, each by its type. No memory is asked for. */
static int cmp_keys(const struct kind *k, const char *a, const char *b) {
    size_t n = strlen(k->prefix);
    const char *p = a + n, *q = b + n;
    char x[MODEL_PATH_MAX + 1], y[MODEL_PATH_MAX + 1];
    for (size_t i = 0; i < k->n_keys && *p != '\0' && *q != '\0'; i++) {
        size_t np = strcspn(++p, ","), nq = strcspn(++q, ",");
        if (np > MODEL_PATH_MAX || nq > MODEL_PATH_MAX || !decode_to(x, p, np) ||
            !decode_to(y, q, nq)) {
            break;
        }
        int c = value_cmp(k->keys[i], x, y);
        if (c != 0) {
            return c;
        }
        p += np;
        q += nq;
    }
    return strcmp(a, b);
}

int path_cmp(const struct kind *ka, const char *a, const struct kind *kb, const char *b) {
    if (ka != kb) {
        return ka->id < kb->id ? -1 : 1;
    }
    size_t n = strlen(ka->prefix);
    if (strncmp(a, ka->prefix, n) != 0 || strncmp(b, ka->prefix, n) != 0) {
        return strcmp(a, b);
    }
    /* Called for every step of a search among all objects. What decides is the first byte that
     * differs, when its key is ordered as text and no escape hides what it stands for. */
    size_t i = n, key = 0;
    for (; a[i] == b[i]; i++) {
        if (a[i] == '\0') {
            return 0;
        }
        key += a[i] == ',';
    }
    bool escape =
        a[i] == '%' || b[i] == '%' || (i > n && a[i - 1] == '%') || (i > n + 1 && a[i - 2] == '%');
    if (escape || i == n || key >= ka->n_keys || !value_ordered_as_text(ka->keys[key])) {
        return cmp_keys(ka, a, b);
    }
    int x = a[i] == ',' ? 0 : (unsigned char)a[i], y = b[i] == ',' ? 0 : (unsigned char)b[i];
    return x - y;
}

bool path_below(const char *path, const char *prefix) {
    size_t n = strlen(prefix);
    if (n == 0 || strcmp(prefix, "/") == 0) {
        return true;
    }
    if (strncmp(path, prefix, n) != 0) {
        return false;
    }
    return path[n] == '\0' || path[n] == '/' ||
           (path[n] == '=' && strchr(strrchr(prefix, '/') + 1, '=') == NULL);
}

static enum err_code parse_keys(const struct model *m, const char *p, size_t len, struct step *s,
                                size_t want, struct buf *where, struct arena *a, struct err *e) {
    struct buf canonical = BUF_INIT;
    enum err_code rc = ERR_OK;
    for (size_t i = 0;; i++) {
        const char *comma = memchr(p, ',', len);
        size_t n = comma != NULL ? (size_t)(comma - p) : len;
        if (i >= want) {
            rc = err_set(e, ERR_INVALID, buf_cstr(where), "%s has %zu key%s; more are given.",
                         s->node->name, want, want == 1 ? "" : "s");
            break;
        }
        const struct node *leaf = s->node->type == NODE_LIST ? s->node->keys[i] : s->node;
        char *raw = decode(a, p, n);
        if (raw == NULL) {
            rc = err_set(e, ERR_MALFORMED, buf_cstr(where), "\"%.*s\" has a broken percent escape.",
                         (int)(n > 60 ? 60 : n), p);
            break;
        }
        enum base_type actual;
        rc = value_check_at(m, leaf, raw, strlen(raw), &canonical, &actual, buf_cstr(where), e);
        if (rc != ERR_OK) {
            break;
        }
        s->keys[s->n_keys++] = arena_strdup(a, buf_cstr(&canonical));
        if (comma == NULL) {
            break;
        }
        p = comma + 1;
        len -= n + 1;
    }
    if (rc == ERR_OK && s->n_keys < want) {
        rc = err_set(e, ERR_MISSING, buf_cstr(where), "%s has %zu keys; only %zu %s given.",
                     s->node->name, want, s->n_keys, s->n_keys == 1 ? "is" : "are");
    }
    buf_free(&canonical);
    return rc;
}

static enum err_code parse_step(const struct model *m, const struct node *parent, const char *p,
                                size_t len, struct step *s, struct buf *where, struct arena *a,
                                struct err *e) {
    const char *eq = memchr(p, '=', len);
    size_t n = eq != NULL ? (size_t)(eq - p) : len;
    s->node = node_child(parent, p, n);
    if (s->node == NULL) {
        return node_unknown(parent, p, n, where->len > 0 ? buf_cstr(where) : "/", e);
    }
    path_add_node(where, s->node);
    s->n_keys = 0;
    if (eq == NULL) {
        return ERR_OK;
    }
    if (s->node->type != NODE_LEAF_LIST && (s->node->type != NODE_LIST || s->node->n_keys == 0)) {
        return err_set(e, ERR_INVALID, buf_cstr(where), "%s has no keys.", s->node->name);
    }
    size_t want = s->node->type == NODE_LIST ? s->node->n_keys : 1;
    size_t skip = n + 1;
    if (s->node->type == NODE_LEAF_LIST) {
        /* a comma is part of the only value */
        struct buf canonical = BUF_INIT;
        char *raw = decode(a, p + skip, len - skip);
        enum base_type actual;
        enum err_code rc =
            raw == NULL ? err_set(e, ERR_MALFORMED, buf_cstr(where), "A broken percent escape.")
                        : value_check_at(m, s->node, raw, strlen(raw), &canonical, &actual,
                                         buf_cstr(where), e);
        if (rc == ERR_OK) {
            s->keys[s->n_keys++] = arena_strdup(a, buf_cstr(&canonical));
        }
        buf_free(&canonical);
        return rc;
    }
    return parse_keys(m, p + skip, len - skip, s, want, where, a, e);
}

enum err_code path_steps(const struct model *m, const char *path, struct arena *a,
                         struct steps *out, struct err *e) {
    size_t total = strlen(path);
    if (total > MODEL_PATH_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "A path has %d bytes at most.", MODEL_PATH_MAX);
    }
    if (total > 0 && path[0] != '/') {
        return err_set(e, ERR_MALFORMED, NULL, "A path begins with /.");
    }
    size_t slashes = 0;
    for (size_t i = 0; i < total; i++) {
        slashes += path[i] == '/';
    }
    out->v = arena_alloc(a, (slashes + 1) * sizeof *out->v);
    out->n = 0;
    struct buf where = BUF_INIT;
    enum err_code rc = ERR_OK;
    const struct node *at = model_root();
    const char *p = path;
    while (rc == ERR_OK && p[0] == '/' && !(p == path && p[1] == '\0')) {
        p++;
        size_t len = strcspn(p, "/");
        if (len == 0) {
            rc = err_set(e, ERR_MALFORMED, buf_cstr(&where), "The path has an empty step.");
            break;
        }
        struct step *s = &out->v[out->n];
        /* Below a list its entry must be named. */
        if (out->n > 0 && at->type == NODE_LIST && out->v[out->n - 1].n_keys == 0) {
            rc = err_set(e, ERR_MISSING, buf_cstr(&where),
                         "Which %s? A path goes on below an entry only, %s=KEY.", at->name,
                         at->name);
            break;
        }
        rc = parse_step(m, at, p, len, s, &where, a, e);
        if (rc == ERR_OK) {
            for (size_t i = 0; i < s->n_keys; i++) {
                path_add_key(&where, i == 0, s->keys[i]);
            }
            at = s->node;
            out->n++;
        }
        p += len;
    }
    buf_free(&where);
    return rc;
}

enum err_code path_parse(const struct model *m, const char *path, struct arena *a,
                         struct target *out, struct err *e) {
    struct steps steps;
    memset(out, 0, sizeof *out);
    ERR_TRY(path_steps(m, path, a, &steps, e));
    struct buf b = BUF_INIT;
    size_t n_keys = 0;
    for (size_t i = 0; i < steps.n; i++) {
        n_keys += steps.v[i].n_keys;
    }
    const char **keys = arena_alloc(a, (n_keys + 1) * sizeof *keys);
    out->node = model_root();
    for (size_t i = 0; i < steps.n; i++) {
        const struct step *s = &steps.v[i];
        out->node = s->node;
        path_add_node(&b, s->node);
        for (size_t k = 0; k < s->n_keys; k++) {
            path_add_key(&b, k == 0, s->keys[k]);
            keys[out->n_keys++] = s->keys[k];
        }
        out->entry = s->n_keys > 0;
        out->is_object = false;
        if (s->node->kind != NULL) {
            out->kind = s->node->kind;
            if (s->n_keys == out->kind->n_keys) {
                out->object = arena_strdup(a, buf_cstr(&b));
                out->is_object = true;
            }
        }
    }
    out->keys = keys;
    out->path = arena_strdup(a, b.len > 0 ? buf_cstr(&b) : "/");
    buf_free(&b);
    return ERR_OK;
}
