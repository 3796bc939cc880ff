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

enum err_code template_fill(const char *text, size_t n, enum template_escape escape,
                            template_value *value, void *arg, struct buf *out, struct err *e) {
    const char *p = text, *end = text + n, *open;
    while ((open = find(p, end, "{{")) != NULL) {
        const char *from = open + 2, *to;
        buf_add(out, p, (size_t)(open - p));
        bool quoted = from < end && *from == '"';
        const char *quote = quoted ? find(from + 1, end, "\"}") : NULL;
        const char *close = quoted && quote != NULL ? quote + 1 : find(from, end, "}}");
        if (close == NULL || (quoted && (quote == NULL || find(close, end, "}}") != close))) {
            return err_set(e, ERR_INVALID, NULL, "line %u: {{ without }}", line_of(text, open));
        }
        to = close;
        if (quoted) {
            buf_add(out, from + 1, (size_t)(quote - from - 1));
        } else {
            char name[NAME_MAX_BYTES + 1];
            trim(&from, &to);
            if (!is_name(from, to)) {
                return err_set(e, ERR_INVALID, NULL, "line %u: between {{ and }} stands no name",
                               line_of(text, open));
            }
            memcpy(name, from, (size_t)(to - from));
            name[to - from] = '\0';
            const char *v = value(arg, name);
            if (v == NULL) {
                return err_set(e, ERR_INVALID, NULL, "line %u: the device has no variable %s",
                               line_of(text, open), name);
            }
            if (escape == TEMPLATE_XML) {
                text_xml(out, v, XML_ATTRIBUTE);
            } else {
                buf_str(out, v);
            }
        }
        if (out->len > OUT_MAX) {
            return err_set(e, ERR_TOO_BIG, NULL, "becomes more than %d bytes", (int)OUT_MAX);
        }
        p = close + 2;
    }
    buf_add(out, p, (size_t)(end - p));
    return ERR_OK;
}
