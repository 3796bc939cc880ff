// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <string.h>

int utf8_step(const uint8_t *p, size_t n) {
    int len = p[0] < 0x80                    ? 1
              : p[0] >= 0xC2 && p[0] < 0xE0  ? 2
              : p[0] >= 0xE0 && p[0] < 0xF0  ? 3
              : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                             : -1;
    if (len > 1 && n > 1) {
        bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
        bool none = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
        if (overlong || none) {
            return -1;
        }
    }
    for (int i = 1; i < len; i++) {
        if ((size_t)i >= n) {
            return 0;
        }
        if ((p[i] & 0xC0) != 0x80) {
            return -1;
        }
    }
    return len;
}

size_t text_printable(const char *s) {
    const uint8_t *p = (const uint8_t *)s;
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7F;
    }
    int n = utf8_step(p, strnlen(s, 4));
    uint32_t c = n == 2 ? (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F)
                 : n == 3
                     ? (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F)
                     : 0x10000;
    bool odd = c < 0xA0 || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF;
    return n <= 0 || odd ? 0 : (size_t)n;
}

void text_line(char *out, size_t size, const char *s) {
    size_t n = 0;
    while (*s != '\0') {
        size_t len = text_printable(s);
        bool blank = len == 0 || *s == ' ';
        if (n + (len > 0 ? len : 1) >= size) {
            break;
        }
        if (!blank) {
            memcpy(out + n, s, len);
            n += len;
        } else if (n > 0) {
            out[n++] = ' ';
        }
        s += len > 0 ? len : 1;
    }
    while (n > 0 && out[n - 1] == ' ') {
        n--;
    }
    out[n] = '\0';
}

void text_linef(char *out, size_t size, const char *fmt, ...) {
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    text_line(out, size, buf_cstr(&b));
    buf_free(&b);
}

size_t text_json_part(struct buf *out, const char *s, size_t n) {
    const uint8_t *p = (const uint8_t *)s, *end = p + n, *plain = p;
    while (p < end) {
        int len = utf8_step(p, (size_t)(end - p));
        if (len == 0) {
            break;
        }
        if (len > 1 || (len == 1 && *p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7F)) {
            p += len;
            continue;
        }
        buf_add(out, plain, (size_t)(p - plain));
        if (len < 0) {
            buf_str(out, "\\ufffd");
        } else if (*p == '"' || *p == '\\') {
            buf_char(out, '\\');
            buf_char(out, (char)*p);
        } else if (*p == '\n') {
            buf_str(out, "\\n");
        } else {
            buf_printf(out, "\\u%04x", *p);
        }
        plain = ++p;
    }
    buf_add(out, plain, (size_t)(p - plain));
    return (size_t)(end - p);
}

void text_json(struct buf *out, const char *s) {
    buf_char(out, '"');
    if (text_json_part(out, s, strlen(s)) > 0) {
        buf_str(out, "\\ufffd");
    }
    buf_char(out, '"');
}

/* How the character at p is written; NULL: as it is. */
static const char *xml_instead(const uint8_t *p, int len, enum text_xml_place place) {
    static const char unknown[] = "\xEF\xBF\xBD";
    if (len <= 0) {
        return unknown;
    }
    if (len > 1) { /* U+FFFE and U+FFFF are no characters */
        return p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE ? unknown : NULL;
    }
    bool attribute = place == XML_ATTRIBUTE;
    switch (*p) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return attribute ? "&quot;" : NULL;
    case '\r':
        return "&#13;";
    case '\n':
        return attribute ? "&#10;" : NULL;
    case '\t':
        return attribute ? "&#9;" : NULL;
    default:
        return *p < 0x20 ? unknown : NULL;
    }
}

void text_xml(struct buf *out, const char *s, enum text_xml_place place) {
    const uint8_t *p = (const uint8_t *)s, *end = p + strlen(s), *plain = p;
    while (p < end) {
        int len = utf8_step(p, (size_t)(end - p));
        const char *instead = xml_instead(p, len, place);
        if (instead == NULL) {
            p += len;
            continue;
        }
        buf_add(out, plain, (size_t)(p - plain));
        buf_str(out, instead);
        p += len > 0 ? len : 1;
        plain = p;
    }
    buf_add(out, plain, (size_t)(p - plain));
}

void text_word(struct buf *out, const char *word) {
    bool plain = word[0] != '\0';
    for (const char *p = word; *p != '\0' && plain; p++) {
        plain = strchr(" \"'\\;{}[]#|", *p) == NULL && (unsigned char)*p > 32;
    }
    if (plain) {
        buf_str(out, word);
        return;
    }
    buf_char(out, '"');
    for (const char *p = word; *p != '\0'; p++) {
        const char *instead = *p == '"'    ? "\\\""
                              : *p == '\\' ? "\\\\"
                              : *p == '\n' ? "\\n"
                              : *p == '\t' ? "\\t"
                              : *p == '\r' ? "\\r"
                                           : NULL;
        if (instead != NULL) {
            buf_str(out, instead);
        } else {
            buf_char(out, *p);
        }
    }
    buf_char(out, '"');
}

char text_one_line(struct buf *out, const char *p, size_t n) {
    struct buf none = BUF_INIT;
    size_t i = 0;
    char quote = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t')) {
        i++;
    }
    bool comment = i < n && p[i] == '#';
    out = out != NULL ? out : &none;
    for (i = 0; i < n; i++) {
        bool newline = p[i] == '\n' || (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n');
        if (quote != 0 && newline) {
            buf_str(out, quote == '"' ? "\\n" : "'\"\\n\"'");
            i += p[i] == '\r';
            continue;
        }
        if (quote == '"' && p[i] == '\\' && i + 1 < n && p[i + 1] != '\n') {
            buf_char(out, p[i++]);
        } else if (quote == '"' && p[i] == '\\') {
            continue; /* the newline stands for itself anyway */
        } else if (p[i] == quote) {
            quote = 0;
        } else if (quote == 0 && !comment && (p[i] == '"' || p[i] == '\'')) {
            quote = p[i];
        }
        buf_char(out, p[i]);
    }
    buf_free(&none);
    return quote;
}

const char *text_plural(uint64_t n, const char *one, const char *many) {
    return n == 1 ? one : many;
}
