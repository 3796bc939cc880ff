// SPDX-License-Identifier: Apache-2.0
#include "net/http1.h"

#include <string.h>
#include <strings.h>

enum { LEADING_CRLF_MAX = 2, LENGTH_DIGITS_MAX = 18, CHUNK_DIGITS_MAX = 12 };

static bool is_tchar(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* field-content of RFC 9110 5.5: visible, space, tab, obs-text. */
static bool is_value_char(uint8_t c) {
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

bool http1_is_token(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!is_tchar((uint8_t)p[i])) {
            return false;
        }
    }
    return n > 0;
}

ptrdiff_t http1_scan(const uint8_t *p, size_t n, size_t *scanned) {
    size_t i = *scanned;
    for (; i < n; i++) {
        if (p[i] == '\n') {
            if (i == 0 || p[i - 1] != '\r') {
                return -1;
            }
            /* An empty line ends the head, but for a few before the request line, which are skipped
             * (RFC 9112 2.2). */
            if (i > 2 * LEADING_CRLF_MAX - 1 && p[i - 2] == '\n') {
                return (ptrdiff_t)(i + 1);
            }
        } else if (i > 0 && p[i - 1] == '\r') {
            return -1;
        } else if (p[i] != '\r' && !is_value_char(p[i])) {
            return -1;
        }
    }
    *scanned = i;
    return 0;
}

static bool slice_is(const uint8_t *p, struct http1_slice s, const char *text) {
    return s.len == strlen(text) && strncasecmp((const char *)p + s.at, text, s.len) == 0;
}

static struct http1_slice slice(const uint8_t *base, const uint8_t *from, const uint8_t *to) {
    return (struct http1_slice){(uint32_t)(from - base), (uint32_t)(to - from)};
}

static bool is_host_char(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("-._~!$&'()*+,;=:[]%", c) != NULL);
}

/* uri-host [":" port], loosely; empty is allowed (RFC 9110 7.2). No userinfo: '@' is refused. */
static bool authority_ok(const uint8_t *p, struct http1_slice s) {
    for (uint32_t i = 0; i < s.len; i++) {
        if (!is_host_char(p[s.at + i])) {
            return false;
        }
    }
    return true;
}

/* origin-form, absolute-form, or "*" with OPTIONS (RFC 9112 3.2). */
static int parse_target(const uint8_t *p, struct http1_head *h, const char **why) {
    const uint8_t *t = p + h->target.at, *end = t + h->target.len;
    for (const uint8_t *q = t; q < end; q++) {
        if (*q <= 0x20 || *q >= 0x7f || *q == '#') {
            *why = "the request target has a character that must be percent-encoded";
            return 400;
        }
    }
    if (*t == '/') {
        return 0;
    }
    if (h->target.len == 1 && *t == '*' && slice_is(p, h->method, "OPTIONS")) {
        return 0;
    }
    size_t scheme = h->target.len > 7 && strncasecmp((const char *)t, "http://", 7) == 0    ? 7
                    : h->target.len > 8 && strncasecmp((const char *)t, "https://", 8) == 0 ? 8
                                                                                            : 0;
    if (scheme == 0) {
        *why = "the request target is neither a path nor an http URI";
        return 400;
    }
    const uint8_t *auth = t + scheme, *path = auth;
    while (path < end && *path != '/' && *path != '?') {
        path++;
    }
    h->authority = slice(p, auth, path);
    h->target = slice(p, path, end); /* may be empty or start with '?': the caller puts the '/' */
    if (h->authority.len == 0 || !authority_ok(p, h->authority)) {
        *why = "the authority of the request target is malformed";
        return 400;
    }
    return 0;
}

static int parse_request_line(const uint8_t *p, const uint8_t *line, const uint8_t *end,
                              struct http1_head *h, const char **why) {
    const uint8_t *sp1 = memchr(line, ' ', (size_t)(end - line));
    const uint8_t *sp2 = sp1 ? memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1)) : NULL;
    *why = "the request line is not METHOD TARGET HTTP/1.1";
    if (sp2 == NULL || sp2 == sp1 + 1 ||
        !http1_is_token((const char *)line, (size_t)(sp1 - line)) || sp1 - line > 32) {
        return 400;
    }
    h->method = slice(p, line, sp1);
    h->target = slice(p, sp1 + 1, sp2);
    const uint8_t *v = sp2 + 1;
    if (end - v != 8 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' || v[6] != '.' ||
        v[7] < '0' || v[7] > '9') {
        return 400;
    }
    if (v[5] != '1') {
        *why = "this HTTP version is not spoken here";
        return 505;
    }
    h->minor = v[7] == '0' ? 0 : 1;
    if (slice_is(p, h->method, "CONNECT")) {
        *why = "CONNECT is not supported";
        return 501;
    }
    return parse_target(p, h, why);
}

struct framing {
    bool host, length, coding, close, keep;
};

static int parse_length(const uint8_t *p, struct http1_slice v, struct framing *fr,
                        struct http1_head *h, const char **why) {
    if (fr->length) {
        *why = "more than one Content-Length";
        return 400;
    }
    fr->length = true;
    *why = "Content-Length is not a plain number";
    if (v.len == 0 || v.len > LENGTH_DIGITS_MAX) {
        return 400;
    }
    h->length = 0;
    for (uint32_t i = 0; i < v.len; i++) {
        uint8_t c = p[v.at + i];
        if (c < '0' || c > '9') {
            return 400;
        }
        h->length = h->length * 10 + (c - '0');
    }
    return 0;
}

/* The comma-separated options of Connection. */
static void parse_connection(const uint8_t *p, struct http1_slice v, struct framing *fr) {
    for (uint32_t i = 0; i < v.len;) {
        uint32_t from = i;
        while (i < v.len && p[v.at + i] != ',') {
            i++;
        }
        uint32_t to = i++;
        while (from < to && (p[v.at + from] == ' ' || p[v.at + from] == '\t')) {
            from++;
        }
        while (to > from && (p[v.at + to - 1] == ' ' || p[v.at + to - 1] == '\t')) {
            to--;
        }
        struct http1_slice option = {v.at + from, to - from};
        fr->close = fr->close || slice_is(p, option, "close");
        fr->keep = fr->keep || slice_is(p, option, "keep-alive");
    }
}

/* The fields that decide where the message ends and whom it is for. */
static int note_field(const uint8_t *p, struct http1_slice name, struct http1_slice v,
                      struct framing *fr, struct http1_head *h, const char **why) {
    if (slice_is(p, name, "content-length")) {
        return parse_length(p, v, fr, h, why);
    }
    if (slice_is(p, name, "transfer-encoding")) {
        if (fr->coding) {
            *why = "more than one Transfer-Encoding";
            return 400;
        }
        fr->coding = true;
        if (!slice_is(p, v, "chunked")) {
            *why = "the only transfer coding here is chunked";
            return 501;
        }
    } else if (slice_is(p, name, "host")) {
        if (fr->host || !authority_ok(p, v)) {
            *why = fr->host ? "more than one Host" : "Host is malformed";
            return 400;
        }
        fr->host = true;
        if (h->authority.len == 0) {
            h->authority = v; /* an absolute-form target overrides it (RFC 9112 3.2.2) */
        }
    } else if (slice_is(p, name, "connection")) {
        parse_connection(p, v, fr);
    } else if (slice_is(p, name, "expect")) {
        if (!slice_is(p, v, "100-continue")) {
            *why = "the only expectation here is 100-continue";
            return 417;
        }
        h->expect_continue = true;
    }
    return 0;
}

static int parse_field(const uint8_t *p, const uint8_t *line, const uint8_t *end,
                       struct framing *fr, struct http1_head *h, const char **why) {
    if (*line == ' ' || *line == '\t') {
        *why = "a folded header field";
        return 400;
    }
    const uint8_t *colon = memchr(line, ':', (size_t)(end - line));
    if (colon == NULL || !http1_is_token((const char *)line, (size_t)(colon - line))) {
        *why = "a header field without a proper name";
        return 400;
    }
    const uint8_t *v = colon + 1, *ve = end;
    while (v < ve && (*v == ' ' || *v == '\t')) {
        v++;
    }
    while (ve > v && (ve[-1] == ' ' || ve[-1] == '\t')) {
        ve--;
    }
    for (const uint8_t *q = v; q < ve; q++) {
        if (!is_value_char(*q)) {
            *why = "a header value with a control character";
            return 400;
        }
    }
    struct http1_slice name = slice(p, line, colon), value = slice(p, v, ve);
    h->f[h->n].name = name;
    h->f[h->n].value = value;
    h->n++;
    return note_field(p, name, value, fr, h, why);
}

static int check_framing(const struct framing *fr, struct http1_head *h, const char **why) {
    if (fr->coding && (fr->length || h->minor == 0)) {
        *why = fr->length ? "both Content-Length and Transfer-Encoding"
                          : "Transfer-Encoding in an HTTP/1.0 request";
        return 400;
    }
    if (!fr->host && h->minor == 1) {
        *why = "no Host";
        return 400;
    }
    if (fr->coding) {
        h->length = -1;
    }
    h->keep_alive = !fr->close && (h->minor == 1 || fr->keep);
    h->expect_continue = h->expect_continue && h->minor == 1 && h->length != 0;
    return 0;
}

int http1_parse(const uint8_t *p, size_t n, unsigned max_headers, struct http1_head *h,
                const char **why) {
    /* The field table stays as it is: only f[0..n) is ever read. */
    memset(h, 0, offsetof(struct http1_head, f));
    h->length = 0;
    h->keep_alive = h->expect_continue = false;
    struct framing fr = {0};
    const uint8_t *at = p, *end = p + n;
    if (max_headers > HTTP1_HEADERS_MAX) {
        max_headers = HTTP1_HEADERS_MAX;
    }
    while (end - at >= 2 && at[0] == '\r' && at[1] == '\n') {
        at += 2;
    }
    bool first = true;
    while (at < end) {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        if (lf == NULL || lf == at || lf[-1] != '\r') {
            break;
        }
        const uint8_t *eol = lf - 1;
        int status = 0;
        if (first) {
            status = parse_request_line(p, at, eol, h, why);
        } else if (eol == at) {
            return check_framing(&fr, h, why);
        } else if (h->n >= max_headers) {
            *why = "too many header fields";
            status = 431;
        } else {
            status = parse_field(p, at, eol, &fr, h, why);
        }
        if (status != 0) {
            return status;
        }
        first = false;
        at = lf + 1;
    }
    *why = "a line does not end with CRLF";
    return 400;
}

/* ------------------------------------------------------------------ bodies */

void http1_body_init(struct http1_body *b, int64_t length) {
    *b = (struct http1_body){.state = length < 0   ? HTTP1_SIZE
                                      : length > 0 ? HTTP1_LENGTH
                                                   : HTTP1_DONE,
                             .left = length > 0 ? (uint64_t)length : 0};
}

static int hex_value(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int bad_body(const char **why, const char *text) {
    *why = text;
    return 400;
}

/* chunk-size [chunk-ext] CRLF */
static int size_byte(struct http1_body *b, uint8_t c, const char **why) {
    int v = b->state == HTTP1_SIZE ? hex_value(c) : -1;
    if (b->state == HTTP1_SIZE_LF) {
        if (c != '\n') {
            return bad_body(why, "a chunk size line does not end with CRLF");
        }
        b->state = b->left > 0 ? HTTP1_DATA : HTTP1_TRAILER;
        b->digits = b->ext = 0;
        return 0;
    }
    if (v >= 0) {
        if (++b->digits > CHUNK_DIGITS_MAX) {
            return bad_body(why, "a chunk size is absurd");
        }
        b->left = b->left << 4 | (uint64_t)v;
        return 0;
    }
    if (b->state == HTTP1_SIZE && b->digits == 0) {
        return bad_body(why, "a chunk without a size");
    }
    if (c == '\r') {
        b->state = HTTP1_SIZE_LF;
        return 0;
    }
    if (b->state == HTTP1_SIZE && c != ';') {
        return bad_body(why, "a chunk size is not a hexadecimal number");
    }
    b->state = HTTP1_EXT;
    if (!is_value_char(c) || ++b->ext > HTTP1_CHUNK_EXT_MAX ||
        ++b->ext_total > HTTP1_EXT_TOTAL_MAX) {
        return bad_body(why, "a chunk extension is too long or malformed");
    }
    return 0;
}

static int trailer_byte(struct http1_body *b, uint8_t c, const char **why) {
    if (++b->trailer > HTTP1_TRAILERS_MAX) {
        *why = "too many trailers";
        return 431;
    }
    switch (b->state) {
    case HTTP1_TRAILER:
        if (c == '\r') {
            b->state = HTTP1_LAST_LF;
            return 0;
        }
        b->state = HTTP1_TRAILER_NAME;
        return is_tchar(c) ? 0 : bad_body(why, "a trailer without a proper name");
    case HTTP1_TRAILER_NAME:
        if (c == ':') {
            b->state = HTTP1_TRAILER_VALUE;
            return 0;
        }
        return is_tchar(c) ? 0 : bad_body(why, "a trailer without a proper name");
    case HTTP1_TRAILER_VALUE:
        if (c == '\r') {
            b->state = HTTP1_TRAILER_LF;
            return 0;
        }
        return is_value_char(c) ? 0 : bad_body(why, "a trailer with a control character");
    default:
        if (c != '\n') {
            return bad_body(why, "a trailer line does not end with CRLF");
        }
        b->state = b->state == HTTP1_TRAILER_LF ? HTTP1_TRAILER : HTTP1_DONE;
        return 0;
    }
}

int http1_body_next(struct http1_body *b, struct cur *c, const uint8_t **p, size_t *n,
                    const char **why) {
    *n = 0;
    *p = NULL;
    while (cur_left(c) > 0 && b->state != HTTP1_DONE) {
        if (b->state == HTTP1_LENGTH || b->state == HTTP1_DATA) {
            *n = cur_left(c) < b->left ? cur_left(c) : (size_t)b->left;
            *p = cur_bytes(c, *n);
            b->left -= *n;
            if (b->left == 0) {
                b->state = b->state == HTTP1_LENGTH ? HTTP1_DONE : HTTP1_DATA_CR;
            }
            return 0;
        }
        uint8_t ch = cur_u8(c);
        int status = 0;
        if (b->state == HTTP1_DATA_CR || b->state == HTTP1_DATA_LF) {
            if (ch != (b->state == HTTP1_DATA_CR ? '\r' : '\n')) {
                return bad_body(why, "a chunk is longer than its size");
            }
            b->state = b->state == HTTP1_DATA_CR ? HTTP1_DATA_LF : HTTP1_SIZE;
        } else if (b->state >= HTTP1_TRAILER) {
            status = trailer_byte(b, ch, why);
        } else {
            status = size_byte(b, ch, why);
        }
        if (status != 0) {
            return status;
        }
    }
    return 0;
}
