// SPDX-License-Identifier: Apache-2.0
#include "phone-home/dhcp_options.h"

#include <stdio.h>
#include <string.h>

#include "base/ip.h"

enum {
    OPTION_PAD = 0,
    OPTION_VENDOR = 43,
    OPTION_OVERLOAD = 52,
    OPTION_TFTP_NAME = 66,
    OPTION_BOOT_FILE = 67,
    OPTION_TFTP_ADDRESSES = 150,
    OPTION_END = 255,
    OVERLOAD_FILE = 1,
    OVERLOAD_SNAME = 2,
};
enum { SNAME_AT = 44, SNAME_LEN = 64, FILE_AT = 108, FILE_LEN = 128, COOKIE_AT = 236, HEAD = 240 };
static const char SCHEME[] = "https://";

void dhcp_offer_free(struct dhcp_offer *o) {
    buf_free(&o->redirect);
    memset(o, 0, sizeof *o);
}

/* ---- URIs ---- */

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static enum err_code check_host(const char *host, bool bracket, struct err *e) {
    struct ip_addr a;
    if (bracket) {
        if (ip_addr_parse(host, &a, NULL) != ERR_OK || a.family != 6) {
            return err_set(e, ERR_INVALID, NULL, "\"%s\" in brackets is no IPv6 address", host);
        }
        return ERR_OK;
    }
    if (host[0] == '\0') {
        return err_set(e, ERR_INVALID, NULL, "the URI has no host");
    }
    for (const char *p = host; *p != '\0'; p++) {
        if (!name_char(*p)) {
            return err_set(e, ERR_INVALID, NULL, "the URI's host has a character that no name has");
        }
    }
    return host[0] == '.' || host[0] == '-'
               ? err_set(e, ERR_INVALID, NULL, "\"%s\" is no host name", host)
               : ERR_OK;
}

/* ":PORT" at *at; moves behind it. */
static enum err_code take_port(const char **at, const char *end, uint16_t *port, struct err *e) {
    unsigned v = 0;
    size_t digits = 0;
    const char *p = *at + 1;
    for (; p < end && *p >= '0' && *p <= '9' && digits < 6; p++, digits++) {
        v = v * 10 + (unsigned)(*p - '0');
    }
    if (digits == 0 || v == 0 || v > 65535) {
        return err_set(e, ERR_INVALID, NULL, "the URI's port is not between 1 and 65535");
    }
    *port = (uint16_t)v;
    *at = p;
    return ERR_OK;
}

enum err_code sztp_uri_parse(const char *uri, size_t n, bool path_ok, struct sztp_server *out,
                             bool *cut, struct err *e) {
    const char *at = uri + strlen(SCHEME), *end = uri + n;
    memset(out, 0, sizeof *out);
    if (cut != NULL) {
        *cut = false;
    }
    if (n < strlen(SCHEME) || strncasecmp(uri, SCHEME, strlen(SCHEME)) != 0) {
        return err_set(e, ERR_INVALID, NULL, "a URI that does not begin with https://");
    }
    bool bracket = at < end && *at == '[';
    const char *host = at + bracket;
    for (at = host; at < end && *at != '\0' && (bracket ? *at != ']' : strchr(":/?#", *at) == NULL);
         at++) {
    }
    if ((size_t)(at - host) >= sizeof out->address) {
        return err_set(e, ERR_TOO_BIG, NULL, "the URI's host has more than %d characters",
                       (int)SZTP_NAME_MAX);
    }
    memcpy(out->address, host, (size_t)(at - host));
    if (bracket && (at == end || *at++ != ']')) {
        return err_set(e, ERR_INVALID, NULL, "the URI's bracket is not closed");
    }
    ERR_TRY(check_host(out->address, bracket, e));
    out->port = 443;
    if (at < end && *at == ':') {
        ERR_TRY(take_port(&at, end, &out->port, e));
        out->port_said = true;
    }
    if (at < end && path_ok && strchr("/?#", *at) != NULL && *at != '\0') {
        if (cut != NULL) {
            *cut = true;
        }
        return ERR_OK;
    }
    return at == end ? ERR_OK
                     : err_set(e, ERR_INVALID, NULL, "the URI goes on behind host and port");
}

/* ---- the option's content ---- */

/* Plain text: URIs with blanks, commas or NULs between them. */
static void parse_text(const char *p, size_t n, struct sztp_server *out, size_t max, size_t *n_out,
                       struct err *e) {
    for (size_t i = 0; i < n && *n_out < max;) {
        size_t len = 0;
        while (i + len < n && p[i + len] != '\0' && strchr(" ,\t\r\n", p[i + len]) == NULL) {
            len++;
        }
        if (len > 0 && sztp_uri_parse(p + i, len, true, &out[*n_out], NULL, e) == ERR_OK) {
            ++*n_out;
        }
        i += len + 1;
    }
}

enum err_code dhcp_redirect_parse(const void *p, size_t n, struct sztp_server *out, size_t max,
                                  size_t *n_out, bool *text, struct err *e) {
    struct err first = {.code = ERR_OK}, one;
    struct cur c = cur_of(p, n);
    *n_out = 0;
    /* "ht" as a length is 26,740: no option of a lease is that long. */
    *text = n >= strlen(SCHEME) && strncasecmp(p, SCHEME, strlen(SCHEME)) == 0;
    if (*text) {
        err_set(&first, ERR_INVALID, NULL, "no URI in it");
        parse_text(p, n, out, max, n_out, &first);
    }
    while (!*text && cur_left(&c) > 0 && *n_out < max) {
        size_t len = cur_u16(&c);
        const uint8_t *uri = cur_bytes(&c, len);
        if (c.bad) {
            err_set(&one, ERR_MALFORMED, NULL, "its last URI is cut off");
        } else if (len > SZTP_URI_MAX) {
            err_set(&one, ERR_TOO_BIG, NULL, "a URI of %zu bytes", len);
        } else if (sztp_uri_parse((const char *)uri, len, false, &out[*n_out], NULL, &one) ==
                   ERR_OK) {
            ++*n_out;
            continue;
        }
        first = first.code == ERR_OK ? one : first;
        if (c.bad) {
            break;
        }
    }
    if (*n_out > 0) {
        return ERR_OK;
    }
    return err_set(e, ERR_MALFORMED, NULL, "no valid URI: %s",
                   first.code != ERR_OK ? first.text : "it is empty");
}

/* ---- DHCPv4 ---- */

/* Option 43 is provisioning when it holds code, length, value; many servers send 43 for other
 * purposes of vendors, which read it as bytes. */
static bool has_sub_option(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n && p[i] != OPTION_END;) {
        if (p[i] == OPTION_PAD) {
            i++;
            continue;
        }
        return i + 1 < n && i + 2 + p[i + 1] <= n;
    }
    return false;
}

void dhcp4_offer_option(struct dhcp_offer *o, unsigned code, const void *p, size_t n) {
    switch (code) {
    case DHCP4_REDIRECT:
        o->has_redirect = true;
        if (o->redirect.len + n <= DHCP_OPTION_MAX) {
            buf_add(&o->redirect, p, n);
        }
        break;
    case OPTION_VENDOR:
        o->legacy |= has_sub_option(p, n);
        break;
    case OPTION_TFTP_NAME:
    case OPTION_BOOT_FILE:
    case OPTION_TFTP_ADDRESSES:
        o->legacy |= n > 0;
        break;
    default:
        break;
    }
}

/* One field of options; gives each to the offer. Option 43 in several pieces is judged by each. */
static enum err_code walk(const uint8_t *p, size_t n, const char *field, struct dhcp_offer *out,
                          unsigned *overload, struct err *e) {
    struct cur c = cur_of(p, n);
    while (cur_left(&c) > 0) {
        uint8_t code = cur_u8(&c);
        if (code == OPTION_END) {
            return ERR_OK;
        }
        if (code == OPTION_PAD) {
            continue;
        }
        size_t len = cur_u8(&c);
        const uint8_t *value = cur_bytes(&c, len);
        if (c.bad) {
            return err_set(e, ERR_MALFORMED, field, "option %u is cut off", code);
        }
        if (code == OPTION_OVERLOAD && overload != NULL && len == 1) {
            *overload = value[0];
        }
        dhcp4_offer_option(out, code, value, len);
    }
    return ERR_OK;
}

enum err_code dhcp4_message_parse(const void *p, size_t n, struct dhcp_offer *out, struct err *e) {
    static const uint8_t cookie[4] = {99, 130, 83, 99};
    const uint8_t *m = p;
    unsigned overload = 0;
    memset(out, 0, sizeof *out);
    if (n < HEAD || memcmp(m + COOKIE_AT, cookie, sizeof cookie) != 0) {
        return err_set(e, ERR_MALFORMED, NULL, "no DHCPv4 message");
    }
    enum err_code rc = walk(m + HEAD, n - HEAD, "options", out, &overload, e);
    if (rc == ERR_OK && (overload & OVERLOAD_FILE) != 0) {
        rc = walk(m + FILE_AT, FILE_LEN, "file", out, NULL, e);
    }
    if (rc == ERR_OK && (overload & OVERLOAD_SNAME) != 0) {
        rc = walk(m + SNAME_AT, SNAME_LEN, "sname", out, NULL, e);
    }
    if (rc != ERR_OK) {
        dhcp_offer_free(out);
    }
    return rc;
}
