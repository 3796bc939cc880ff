// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd/client.h"

static enum err_code bad(struct err *e, const char *why) {
    return err_set(e, ERR_INVALID, "etcd:",
                   "%s; write etcd:https://HOST:PORT,HOST:PORT/NAME?replica=FILE&cacert=FILE"
                   "&cert=FILE&key=FILE",
                   why);
}

static enum err_code take_endpoint(const char *p, size_t n, struct etcd_endpoint *out,
                                   struct err *e) {
    const char *end = p + n, *port = NULL;
    out->port = ETCD_PORT;
    if (n > 0 && *p == '[') {
        const char *close = memchr(p, ']', n);
        if (close == NULL || (close + 1 != end && close[1] != ':')) {
            return bad(e, "the brackets around an address don't close");
        }
        port = close + 1 != end ? close + 2 : NULL;
        n = (size_t)(close - ++p);
    } else {
        const char *colon = memchr(p, ':', n);
        port = colon != NULL ? colon + 1 : NULL;
        n = colon != NULL ? (size_t)(colon - p) : n;
    }
    if (n == 0 || n >= sizeof out->host) {
        return bad(e, "a host is missing or too long");
    }
    memcpy(out->host, p, n);
    out->host[n] = '\0';
    if (out->host[strspn(out->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789.-:_")] != '\0') {
        return bad(e, "a host's name has characters that no name has");
    }
    if (port != NULL) {
        size_t digits = (size_t)(end - port);
        unsigned long v = 0;
        for (size_t i = 0; i < digits && v <= UINT16_MAX; i++) {
            v = port[i] >= '0' && port[i] <= '9' ? v * 10 + (unsigned long)(port[i] - '0')
                                                 : UINT16_MAX + 1ul;
        }
        if (digits == 0 || v == 0 || v > UINT16_MAX) {
            return bad(e, "a port is a number from 1 to 65535");
        }
        out->port = (uint16_t)v;
    }
    return ERR_OK;
}

static enum err_code take_option(const char *p, size_t n, struct etcd_url *out, struct err *e) {
    const struct {
        const char *name;
        char *to;
    } known[] = {{"replica=", out->replica},
                 {"cacert=", out->cacert},
                 {"cert=", out->cert},
                 {"key=", out->key}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t skip = strlen(known[i].name);
        if (n >= skip && memcmp(p, known[i].name, skip) == 0) {
            if (n - skip == 0 || n - skip >= sizeof out->replica || known[i].to[0] != '\0') {
                return bad(e, "an option is empty, too long or given twice");
            }
            memcpy(known[i].to, p + skip, n - skip);
            known[i].to[n - skip] = '\0';
            return ERR_OK;
        }
    }
    return bad(e, "there is an unknown option");
}

static enum err_code take_name(const char *p, size_t n, struct etcd_url *out, struct err *e) {
    if (n == 0 || n >= sizeof out->name) {
        return bad(e, "the name of the store has 1 to 63 characters");
    }
    memcpy(out->name, p, n);
    out->name[n] = '\0';
    if (out->name[strspn(out->name, "abcdefghijklmnopqrstuvwxyz0123456789.-")] != '\0') {
        return bad(e, "the name of the store consists of a-z, 0-9, . and -");
    }
    return ERR_OK;
}

enum err_code etcd_url_parse(const char *url, struct etcd_url *out, struct err *e) {
    static const char tls[] = "https://", clear[] = "http://";
    memset(out, 0, sizeof *out);
    out->tls = strncmp(url, tls, sizeof tls - 1) == 0;
    if (!out->tls && strncmp(url, clear, sizeof clear - 1) != 0) {
        return bad(e, "the address begins with https:// (or http:// without TLS)");
    }
    const char *p = url + (out->tls ? sizeof tls : sizeof clear) - 1;
    size_t hosts = strcspn(p, "/?");
    const char *rest = p + hosts;
    for (const char *end = p + hosts; p <= end;) {
        size_t n = strcspn(p, ",/?");
        if (out->n_endpoints == ETCD_ENDPOINTS_MAX) {
            return bad(e, "there are more than 9 hosts");
        }
        ERR_TRY(take_endpoint(p, n, &out->endpoints[out->n_endpoints++], e));
        p += n + 1;
    }
    if (*rest != '/') {
        return bad(e, "the name of the store is missing");
    }
    rest++;
    size_t n = strcspn(rest, "?");
    ERR_TRY(take_name(rest, n, out, e));
    rest += n;
    while (*rest != '\0') {
        n = strcspn(++rest, "&");
        ERR_TRY(take_option(rest, n, out, e));
        rest += n;
    }
    if (out->replica[0] == '\0') {
        return bad(e, "the option replica is missing: the file with this node's copy");
    }
    if ((out->cert[0] == '\0') != (out->key[0] == '\0')) {
        return bad(e, "cert and key belong together");
    }
    if (!out->tls && (out->cacert[0] != '\0' || out->cert[0] != '\0')) {
        return bad(e, "certificates are for https");
    }
    return ERR_OK;
}
