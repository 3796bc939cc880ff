// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/media.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum rc_media media;
} types[] = {{"application/yang-data+json", RC_MEDIA_JSON},
             {"application/yang-data+xml", RC_MEDIA_XML},
             {"application/json", RC_MEDIA_PLAIN_JSON},
             {"application/xml", RC_MEDIA_PLAIN_XML},
             {"application/yang-patch+json", RC_MEDIA_PATCH_JSON},
             {"application/yang-patch+xml", RC_MEDIA_PATCH_XML},
             {"text/event-stream", RC_MEDIA_EVENTS}};
enum { N_TYPES = sizeof types / sizeof *types, N_OFFERED = 4 };

const char *rc_media_name(enum rc_media m) {
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].media == m) {
            return types[i].name;
        }
    }
    return "application/octet-stream";
}

bool rc_media_is_xml(enum rc_media m) {
    return m == RC_MEDIA_XML || m == RC_MEDIA_PLAIN_XML || m == RC_MEDIA_PATCH_XML;
}

enum model_format rc_media_format(enum rc_media m) {
    return rc_media_is_xml(m) ? FORMAT_XML : FORMAT_JSON;
}

static bool token_is(const char *p, size_t n, const char *name) {
    return strlen(name) == n && strncasecmp(p, name, n) == 0;
}

enum rc_media rc_media_of(const char *content_type) {
    if (content_type == NULL) {
        return RC_MEDIA_NONE;
    }
    content_type += strspn(content_type, " \t");
    size_t n = strcspn(content_type, "; \t,");
    for (size_t i = 0; i < N_TYPES; i++) {
        if (token_is(content_type, n, types[i].name)) {
            return types[i].media;
        }
    }
    return RC_MEDIA_OTHER;
}

/* How well `range` (n bytes) fits `name`: 3 exactly, 2 as type/ *, 1 as * / *, 0 not. */
static int fit(const char *range, size_t n, const char *name) {
    if (token_is(range, n, name)) {
        return 3;
    }
    if (n == 3 && memcmp(range, "*/*", 3) == 0) {
        return 1;
    }
    size_t slash = strcspn(name, "/") + 1;
    return n == slash + 1 && range[n - 1] == '*' && strncasecmp(range, name, slash) == 0 ? 2 : 0;
}

/* Weight in thousandths of one element "type;a=b;q=0.5". */
static int weight(const char *element, size_t n) {
    const char *end = element + n;
    for (const char *p = memchr(element, ';', n); p != NULL;
         p = memchr(p, ';', (size_t)(end - p))) {
        p++;
        p += strspn(p, " \t");
        if (end - p < 3 || (p[0] != 'q' && p[0] != 'Q') || p[1] != '=') {
            continue;
        }
        int q = p[2] == '1' ? 1000 : 0;
        for (int i = 0, unit = 100; p[3] == '.' && i < 3 && p + 4 + i < end; i++, unit /= 10) {
            char c = p[4 + i];
            q += c >= '0' && c <= '9' ? (c - '0') * unit : 0;
        }
        return q > 1000 ? 1000 : q;
    }
    return 1000;
}

/* The weight that `accept` gives to `name`: that of the most exact range. */
static int quality(const char *accept, const char *name, int *exactness) {
    int best = 0, q = 0;
    for (const char *p = accept; *p != '\0';) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, ",");
        size_t type_len = strcspn(p, ";, \t");
        int f = fit(p, type_len < n ? type_len : n, name);
        if (f > best) {
            best = f;
            q = weight(p, n);
        }
        p += n;
    }
    *exactness = best;
    return q;
}

enum rc_media rc_media_accept(const char *accept, enum rc_media body) {
    bool xml = rc_media_is_xml(body);
    if (accept == NULL || accept[strspn(accept, " \t")] == '\0') {
        return xml ? RC_MEDIA_XML : RC_MEDIA_JSON;
    }
    enum rc_media best = RC_MEDIA_NONE;
    int best_q = 0, best_exact = 0;
    for (size_t i = 0; i < N_OFFERED; i++) {
        size_t at = xml ? i ^ 1 : i; /* they stand in pairs, JSON first */
        int exact, q = quality(accept, types[at].name, &exact);
        /* A plain name is given only to those who wrote it. */
        bool plain =
            types[at].media == RC_MEDIA_PLAIN_JSON || types[at].media == RC_MEDIA_PLAIN_XML;
        if (q > 0 && (!plain || exact == 3) &&
            (q > best_q || (q == best_q && exact > best_exact))) {
            best = types[at].media;
            best_q = q;
            best_exact = exact;
        }
    }
    return best;
}

bool rc_media_accepts(const char *accept, const char *type) {
    int exact;
    return accept == NULL || quality(accept, type, &exact) > 0;
}
