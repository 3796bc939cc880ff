// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text, *tag;
    int http;
} codes[] = {
#define X(name, text, tag, http) {#name, text, tag, http},
    ERR_CODES(X)
#undef X
};

/* Cuts `s` so that no UTF-8 sequence is left unfinished at the end of a full buffer. */
static void trim_utf8(char *s, size_t size) {
    size_t n = strlen(s);
    if (n + 1 < size) {
        return;
    }
    while (n > 0 && ((unsigned char)s[n - 1] & 0xc0) == 0x80) {
        n--;
    }
    if (n > 0 && ((unsigned char)s[n - 1] & 0x80)) {
        n--;
    }
    s[n] = '\0';
}

/* A path that had no room names the place around the one that was meant, not another one. */
static void trim_path(char *path) {
    char *slash = strrchr(path, '/');
    if (strlen(path) + 1 == ERR_PATH_MAX && slash != NULL && slash != path) {
        *slash = '\0';
    } else {
        trim_utf8(path, ERR_PATH_MAX);
    }
}

enum err_code err_setv(struct err *e, enum err_code code, const char *path, const char *fmt,
                       va_list ap) {
    if (e == NULL) {
        return code;
    }
    /* The arguments may point into `e` itself (wrapping an error in a longer one). */
    struct err tmp = {.code = code};
    snprintf(tmp.path, sizeof tmp.path, "%s", path ? path : "");
    vsnprintf(tmp.text, sizeof tmp.text, fmt, ap);
    trim_utf8(tmp.text, sizeof tmp.text);
    trim_path(tmp.path);
    *e = tmp;
    return code;
}

enum err_code err_set(struct err *e, enum err_code code, const char *path, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, code, path, fmt, ap);
    va_end(ap);
    return code;
}

enum err_code err_errno(struct err *e, int errno_value, const char *path, const char *fmt, ...) {
    char what[ERR_TEXT_MAX], reason[128] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *s = strerror_r(errno_value, reason, sizeof reason);
    enum err_code code = ERR_IO;
    if (errno_value == ENOSPC || errno_value == ENOMEM || errno_value == EMFILE) {
        code = ERR_LIMIT;
    }
    return err_set(e, code, path, "%s: %s", what, s);
}

enum err_code err_rail(struct err *e, enum err_code code) {
    if (e != NULL) {
        e->rail = true;
    }
    return code;
}

void err_prefix_path(struct err *e, const char *prefix) {
    if (e == NULL) {
        return;
    }
    char tmp[ERR_PATH_MAX];
    size_t n = (size_t)snprintf(tmp, sizeof tmp, "%s", prefix);
    if (n < sizeof tmp) {
        snprintf(tmp + n, sizeof tmp - n, "%s", e->path);
    }
    trim_path(tmp);
    memcpy(e->path, tmp, sizeof tmp);
}

enum err_code err_tag(struct err *e, enum err_code code, const char *app_tag, const char *info) {
    if (e != NULL && app_tag != NULL && strlen(app_tag) < sizeof e->app_tag) {
        memcpy(e->app_tag, app_tag, strlen(app_tag) + 1);
    }
    if (e != NULL && info != NULL && strlen(info) < sizeof e->info) {
        memcpy(e->info, info, strlen(info) + 1);
    }
    return code;
}

const char *err_code_name(enum err_code code) {
    return codes[code].name;
}

const char *err_code_text(enum err_code code) {
    return codes[code].text;
}

const char *err_code_tag(enum err_code code) {
    return codes[code].tag;
}

int err_code_http(enum err_code code) {
    return codes[code].http;
}

bool err_code_parse(const char *name, enum err_code *out) {
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(codes[i].name, name) == 0) {
            *out = (enum err_code)i;
            return true;
        }
    }
    return false;
}
