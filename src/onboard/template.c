// SPDX-License-Identifier: Apache-2.0
/*
 * Texts with variables (PH-201): "{{ name }}" becomes what the variable is for the device. Strict:
 * a name that is not known is an error, not nothing. {{"text"}} stands for the text itself, for
 * those who need {{ in what they send.
 */
#include <string.h>

#include "base/text.h"
#include "onboard/internal.h"

enum { NAME_MAX_BYTES = 63, OUT_MAX = 16 << 20 };

static unsigned line_of(const char *text, const char *at) {
    unsigned line = 1;
    for (const char *p = text; p < at; p++) {
        line += *p == '\n';
    }
    return line;
}

static const char *find(const char *p, const char *end, const char *what) {
    return memmem(p, (size_t)(end - p), what, 2);
}

static void trim(const char **from, const char **to) {
    while (*from < *to && (**from == ' ' || **from == '\t')) {
        (*from)++;
    }
    while (*to > *from && ((*to)[-1] == ' ' || (*to)[-1] == '\t')) {
        (*to)--;
    }
}

static bool is_name(const char *from, const char *to) {
    for (const char *p = from; p < to; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';
        if (!letter && (p == from || !((*p >= '0' && *p <= '9') || *p == '-'))) {
            return false;
        }
    }
    return to > from && to - from <= NAME_MAX_BYTES;
}

/* What stands next in a template: text as it is (name ""), or the name of a variable. */
struct piece {
    const char *text;
    size_t n;
    char name[NAME_MAX_BYTES + 1];
    unsigned line;
};

static enum err_code between(const char *text, const char *open, const char *from, const char *to,
                             struct piece *out, struct err *e) {
    trim(&from, &to);
    out->line = line_of(text, open);
    if (!is_name(from, to)) {
        return err_set(e, ERR_INVALID, NULL, "line %u: between {{ and }} stands no name",
                       out->line);
    }
    memcpy(out->name, from, (size_t)(to - from));
    out->name[to - from] = '\0';
    return ERR_OK;
}

/* Moves *p behind it; not to be called at the end. */
static enum err_code next(const char *text, const char **p, const char *end, struct piece *out,
                          struct err *e) {
    const char *open = find(*p, end, "{{");
    out->text = *p;
    out->name[0] = '\0';
    if (open != *p) {
        out->n = (size_t)((open != NULL ? open : end) - *p);
        *p += out->n;
        return ERR_OK;
    }
    const char *from = open + 2;
    bool quoted = from < end && *from == '"';
    const char *quote = quoted ? find(from + 1, end, "\"}") : NULL;
    const char *close = quoted && quote != NULL ? quote + 1 : find(from, end, "}}");
    if (close == NULL || (quoted && (quote == NULL || find(close, end, "}}") != close))) {
        return err_set(e, ERR_INVALID, NULL, "line %u: {{ without }}", line_of(text, open));
    }
    *p = close + 2;
    if (quoted) {
        out->text = from + 1;
        out->n = (size_t)(quote - from - 1);
        return ERR_OK;
    }
    return between(text, open, from, close, out, e);
}

enum err_code template_fill(const char *text, size_t n, enum template_escape escape,
                            template_value *value, void *arg, struct buf *out, struct err *e) {
    const char *p = text, *end = text + n;
    struct piece piece;
    while (p < end) {
        ERR_TRY(next(text, &p, end, &piece, e));
        const char *v = piece.name[0] != '\0' ? value(arg, piece.name) : NULL;
        if (piece.name[0] == '\0') {
            buf_add(out, piece.text, piece.n);
        } else if (v == NULL) {
            return err_set(e, ERR_INVALID, NULL, "line %u: the device has no variable %s",
                           piece.line, piece.name);
        } else if (escape == TEMPLATE_XML) {
            text_xml(out, v, XML_ATTRIBUTE);
        } else {
            buf_str(out, v);
        }
        if (out->len > OUT_MAX) {
            return err_set(e, ERR_TOO_BIG, NULL, "becomes more than %d bytes", (int)OUT_MAX);
        }
    }
    return ERR_OK;
}

enum err_code template_names(const char *text, size_t n, template_name *fn, void *arg,
                             struct err *e) {
    const char *p = text, *end = text + n;
    struct piece piece;
    while (p < end) {
        ERR_TRY(next(text, &p, end, &piece, e));
        if (piece.name[0] != '\0' && fn != NULL) {
            fn(arg, piece.name);
        }
    }
    return ERR_OK;
}
