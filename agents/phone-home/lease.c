// SPDX-License-Identifier: Apache-2.0
#include "phone-home/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { STATEMENT_WORDS_MAX = 64, DEPTH_MAX = 8 };

/* A lease under construction. */
struct reading {
    const char *name;
    const char *p, *end;
    unsigned line;
    struct err *e;
    struct lease lease;
    bool over;        /* expired or released */
    int64_t starts_s; /* of the address at hand (IPv6) */
    int64_t now_s;
    bool in_address, had_address, some_address_lives;
};

void leases_free(struct leases *l) {
    for (size_t i = 0; i < l->n; i++) {
        dhcp_offer_free(&l->list[i].offer);
    }
    mem_free(l->list);
    *l = (struct leases){NULL, 0};
}

static enum err_code bad(struct reading *r, const char *why) {
    char path[ERR_PATH_MAX];
    snprintf(path, sizeof path, "%.400s:%u", r->name, r->line);
    return err_set(r->e, ERR_MALFORMED, path, "%s", why);
}

/* ---- words ---- */

enum word_kind { WORD_END, WORD_PLAIN, WORD_TEXT, WORD_OPEN, WORD_CLOSE, WORD_SEMICOLON };

static void skip_blanks(struct reading *r) {
    while (r->p < r->end) {
        if (*r->p == '#') {
            while (r->p < r->end && *r->p != '\n') {
                r->p++;
            }
        } else if (strchr(" \t\r\n,", *r->p) == NULL || *r->p == '\0') {
            return;
        } else {
            r->line += *r->p == '\n';
            r->p++;
        }
    }
}

/* Behind the opening quote: \ooo, \" and \\. */
static enum err_code take_text(struct reading *r, struct buf *out) {
    while (r->p < r->end && *r->p != '"') {
        if (*r->p == '\n') {
            return bad(r, "the text has no closing quote");
        }
        if (*r->p != '\\') {
            buf_char(out, *r->p++);
            continue;
        }
        r->p++;
        unsigned v = 0, digits = 0;
        while (digits < 3 && r->p < r->end && *r->p >= '0' && *r->p <= '7') {
            v = v * 8 + (unsigned)(*r->p++ - '0');
            digits++;
        }
        if (digits > 0) {
            buf_u8(out, (uint8_t)v);
        } else if (r->p < r->end) {
            buf_char(out, *r->p++);
        }
    }
    if (r->p == r->end) {
        return bad(r, "the text has no closing quote");
    }
    r->p++;
    return ERR_OK;
}

static enum err_code take_word(struct reading *r, enum word_kind *kind, struct buf *out) {
    buf_clear(out);
    skip_blanks(r);
    if (r->p == r->end) {
        *kind = WORD_END;
        return ERR_OK;
    }
    char c = *r->p++;
    switch (c) {
    case '{':
        *kind = WORD_OPEN;
        return ERR_OK;
    case '}':
        *kind = WORD_CLOSE;
        return ERR_OK;
    case ';':
        *kind = WORD_SEMICOLON;
        return ERR_OK;
    case '"':
        *kind = WORD_TEXT;
        return take_text(r, out);
    default:
        break;
    }
    *kind = WORD_PLAIN;
    buf_char(out, c);
    while (r->p < r->end && strchr(" \t\r\n,{};\"#", *r->p) == NULL) {
        buf_char(out, *r->p++);
    }
    return ERR_OK;
}

/* A statement's words, up to `;` or a brace. */
struct statement {
    struct buf words[STATEMENT_WORDS_MAX];
    bool text[STATEMENT_WORDS_MAX]; /* was quoted */
    size_t n;
};

static void statement_free(struct statement *s) {
    for (size_t i = 0; i < STATEMENT_WORDS_MAX; i++) {
        buf_free(&s->words[i]);
    }
}

static enum err_code take_statement(struct reading *r, struct statement *s, enum word_kind *ended) {
    struct buf word = BUF_INIT;
    enum err_code rc;
    s->n = 0;
    do {
        rc = take_word(r, ended, &word);
        bool value = *ended == WORD_PLAIN || *ended == WORD_TEXT;
        if (rc == ERR_OK && value && s->n < STATEMENT_WORDS_MAX) {
            struct buf *to = &s->words[s->n];
            buf_clear(to);
            buf_add(to, word.data, word.len);
            s->text[s->n++] = *ended == WORD_TEXT;
        }
    } while (rc == ERR_OK && (*ended == WORD_PLAIN || *ended == WORD_TEXT));
    buf_free(&word);
    return rc;
}

static bool is_word(struct statement *s, size_t i, const char *text) {
    return i < s->n && !s->text[i] && strcmp(buf_cstr(&s->words[i]), text) == 0;
}

/* ---- values ---- */

/* "0:13:68:74" into bytes; false: it is none. */
static bool unhex(struct buf *in, struct buf *out) {
    const char *p = buf_cstr(in);
    while (*p != '\0') {
        char *end;
        size_t digits = strspn(p, "0123456789abcdefABCDEF");
        if (digits < 1 || digits > 2) {
            return false;
        }
        buf_u8(out, (uint8_t)strtoul(p, &end, 16));
        p = end;
        if (*p == ':') {
            p++;
        } else if (*p != '\0') {
            return false;
        }
    }
    return true;
}

/* The value of an option as bytes: quoted text, or bytes in hexadecimal. */
static void value_bytes(struct statement *s, size_t at, struct buf *out) {
    if (at < s->n && !s->text[at] && unhex(&s->words[at], out)) {
        return;
    }
    buf_clear(out);
    if (at < s->n) {
        buf_add(out, s->words[at].data, s->words[at].len);
    }
}

static void add_domain(struct lease *l, const char *name) {
    size_t n = strlen(name);
    while (n > 0 && name[n - 1] == '.') {
        n--;
    }
    if (n == 0 || n > SZTP_NAME_MAX || l->n_domains == LEASE_DOMAINS_MAX) {
        return;
    }
    for (size_t i = 0; i < l->n_domains; i++) {
        if (strlen(l->domains[i]) == n && strncasecmp(l->domains[i], name, n) == 0) {
            return;
        }
    }
    memcpy(l->domains[l->n_domains], name, n);
    l->domains[l->n_domains++][n] = '\0';
}

/* Names of options: those of our dhclient.conf, and those that dhclient has for what it does not
 * know. 0: none of ours. */
static unsigned option_code(const char *name) {
    static const struct {
        const char *name;
        unsigned code;
    } known[] = {{"v4-sztp-redirect", DHCP4_REDIRECT},
                 {"unknown-143", DHCP4_REDIRECT},
                 {"vendor-encapsulated-options", 43},
                 {"tftp-server-name", 66},
                 {"bootfile-name", 67},
                 {"unknown-150", 150},
                 {"tftp-server-address", 150}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].code;
        }
    }
    return 0;
}

static void take_option(struct reading *r, struct statement *s) {
    struct lease *l = &r->lease;
    struct buf value = BUF_INIT;
    const char *name = s->n > 1 ? buf_cstr(&s->words[1]) : "";
    unsigned code = option_code(name);
    if (code == 43 && s->n > 2 && !s->text[2]) { /* pieces by a definition of sub-options */
        l->offer.legacy = true;
    } else if (code != 0) {
        value_bytes(s, 2, &value);
        dhcp4_offer_option(&l->offer, code, value.data, value.len);
    } else if (strncmp(name, "vendor-encapsulated-options.", 28) == 0) {
        l->offer.legacy = true;
    } else if (strcmp(name, "dhcp6.v6-sztp-redirect") == 0 ||
               strcmp(name, "dhcp6.unknown-136") == 0) {
        value_bytes(s, 2, &value);
        l->offer.has_redirect = true;
        buf_clear(&l->offer.redirect); /* a singleton: the last one counts */
        buf_add(&l->offer.redirect, value.data,
                value.len <= DHCP_OPTION_MAX ? value.len : DHCP_OPTION_MAX);
    } else if (strcmp(name, "domain-name") == 0 || strcmp(name, "domain-search") == 0 ||
               strcmp(name, "dhcp6.domain-search") == 0) {
        for (size_t i = 2; i < s->n; i++) {
            add_domain(l, buf_cstr(&s->words[i]));
        }
    }
    buf_free(&value);
}

/* "6 2026/11/28 03:20:49", "never" or "epoch 1795836049": seconds since 1970; -1: none. */
static int64_t take_time(struct statement *s) {
    struct tm tm = {0};
    if (s->n >= 3 && is_word(s, 1, "epoch")) {
        return strtoll(buf_cstr(&s->words[2]), NULL, 10);
    }
    if (s->n < 4 ||
        sscanf(buf_cstr(&s->words[2]), "%d/%d/%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3 ||
        sscanf(buf_cstr(&s->words[3]), "%d:%d:%d", &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 3) {
        return -1;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return timegm(&tm);
}

static void take_line(struct reading *r, struct statement *s) {
    if (is_word(s, 0, "option")) {
        take_option(r, s);
    } else if (is_word(s, 0, "interface") && s->n > 1) {
        snprintf(r->lease.interface, sizeof r->lease.interface, "%s", buf_cstr(&s->words[1]));
    } else if (is_word(s, 0, "expire")) {
        int64_t at = take_time(s);
        r->over |= at >= 0 && r->now_s > 0 && at <= r->now_s;
    } else if (is_word(s, 0, "released")) {
        r->over = true;
    } else if (is_word(s, 0, "starts") && s->n > 1) {
        r->starts_s = strtoll(buf_cstr(&s->words[1]), NULL, 10);
    } else if (is_word(s, 0, "max-life") && s->n > 1 && r->in_address) {
        int64_t life = strtoll(buf_cstr(&s->words[1]), NULL, 10);
        r->had_address = true;
        r->some_address_lives |=
            r->now_s <= 0 || life >= UINT32_MAX || r->starts_s + (life < 0 ? 0 : life) > r->now_s;
    }
}

/* ---- blocks ---- */

static enum err_code take_block(struct reading *r, struct statement *s, unsigned depth) {
    enum word_kind ended;
    if (depth > DEPTH_MAX) {
        return bad(r, "braces are nested too deeply");
    }
    for (;;) {
        ERR_TRY(take_statement(r, s, &ended));
        if (ended == WORD_CLOSE) {
            return ERR_OK;
        }
        if (ended == WORD_END) {
            return bad(r, "the lease has no closing brace");
        }
        if (ended == WORD_SEMICOLON) {
            take_line(r, s);
            continue;
        }
        bool outer = r->in_address;
        r->in_address = is_word(s, 0, "iaaddr") || is_word(s, 0, "iaprefix");
        enum err_code rc = take_block(r, s, depth + 1);
        r->in_address = outer;
        ERR_TRY(rc);
    }
}

static void keep(struct leases *l, struct reading *r) {
    size_t i = 0;
    while (i < l->n && (l->list[i].family != r->lease.family ||
                        strcmp(l->list[i].interface, r->lease.interface) != 0)) {
        i++;
    }
    r->over |= r->had_address && !r->some_address_lives;
    if (i < l->n) {
        dhcp_offer_free(&l->list[i].offer);
        memmove(&l->list[i], &l->list[i + 1], (l->n - i - 1) * sizeof *l->list);
        l->n--;
    }
    if (r->over || l->n == LEASE_INTERFACES_MAX) {
        dhcp_offer_free(&r->lease.offer);
    } else {
        l->list = mem_array(l->list, l->n + 1, sizeof *l->list);
        l->list[l->n++] = r->lease;
    }
    memset(&r->lease, 0, sizeof r->lease);
}

static enum err_code parse_text(struct leases *l, struct reading *r, struct statement *s) {
    enum word_kind ended;
    for (;;) {
        ERR_TRY(take_statement(r, s, &ended));
        if (ended == WORD_END) {
            return ERR_OK; /* a statement that is not complete is one that is being written */
        }
        if (ended == WORD_CLOSE) {
            return bad(r, "a brace closes that was not opened");
        }
        if (ended == WORD_SEMICOLON) {
            continue; /* default-duid and the like */
        }
        r->lease.family = is_word(s, 0, "lease6") ? 6 : 4;
        bool lease = is_word(s, 0, "lease6") || is_word(s, 0, "lease");
        r->over = r->had_address = r->some_address_lives = r->in_address = false;
        enum err_code rc = take_block(r, s, 1);
        if (rc != ERR_OK || !lease) {
            dhcp_offer_free(&r->lease.offer);
            memset(&r->lease, 0, sizeof r->lease);
            ERR_TRY(rc);
            continue;
        }
        keep(l, r);
    }
}

/* "/var/lib/dhcpcd/eth0.lease": dhcpcd's files are called after their interface. */
static void interface_of(const char *name, char out[LEASE_INTERFACE_NAME_MAX + 1]) {
    const char *base = strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name;
    const char *end = strstr(base, ".lease");
    size_t n = end != NULL ? (size_t)(end - base) : 0;
    snprintf(out, LEASE_INTERFACE_NAME_MAX + 1, "%.*s",
             (int)(n <= LEASE_INTERFACE_NAME_MAX ? n : 0), base);
}

enum err_code leases_parse(struct leases *l, const char *name, const void *p, size_t n,
                           int64_t now_s, struct err *e) {
    struct reading r = {
        .name = name, .p = p, .end = (const char *)p + n, .line = 1, .e = e, .now_s = now_s};
    if (n > LEASE_FILE_MAX) {
        return err_set(e, ERR_TOO_BIG, name, "has more than %d bytes", (int)LEASE_FILE_MAX);
    }
    if (n > 0 && *(const uint8_t *)p == 2) { /* BOOTREPLY: a message, no text begins so */
        r.lease.family = 4;
        enum err_code rc = dhcp4_message_parse(p, n, &r.lease.offer, e);
        if (rc != ERR_OK) {
            err_prefix_path(e, name);
            return rc;
        }
        interface_of(name, r.lease.interface);
        keep(l, &r);
        return ERR_OK;
    }
    struct statement *s = MEM_NEW(struct statement);
    enum err_code rc = parse_text(l, &r, s);
    statement_free(s);
    mem_free(s);
    return rc;
}
