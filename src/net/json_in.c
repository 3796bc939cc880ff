// SPDX-License-Identifier: Apache-2.0
#include "net/json_in.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err_code json_in_begin(const char *text, size_t n, const char *file, struct json_in *root,
                            struct err *err) {
    json_error_t je;
    *root = (struct json_in){.o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je), .err = err};
    if (root->o == NULL) {
        root->rc = err_set(err, ERR_MALFORMED, file, "line %d, column %d: %s", je.line, je.column,
                           je.text);
    } else if (!json_is_object(root->o)) {
        root->rc = err_set(err, ERR_MALFORMED, file, "must be a JSON object");
        json_decref(root->o);
        root->o = NULL;
    }
    return root->rc;
}

enum err_code json_in_end(struct json_in *root, const char *file) {
    struct json_in holder = {.err = root->err};
    json_in_done(&holder, root);
    if (holder.rc != ERR_OK) {
        err_prefix_path(root->err, file);
    }
    return holder.rc;
}

void json_in_fail(struct json_in *x, enum err_code code, const char *member, const char *fmt, ...) {
    if (x->rc != ERR_OK) {
        return;
    }
    char path[ERR_PATH_MAX];
    snprintf(path, sizeof path, "%.400s%s%s", x->path, member[0] != '\0' ? "/" : "", member);
    va_list ap;
    va_start(ap, fmt);
    x->rc = err_setv(x->err, code, path, fmt, ap);
    va_end(ap);
}

json_t *json_in_take(struct json_in *x, const char *key, bool needed) {
    json_t *v = json_object_get(x->o, key);
    if (v == NULL) {
        if (needed) {
            json_in_fail(x, ERR_MISSING, key, "is missing");
        }
        return NULL;
    }
    json_incref(v);
    json_object_del(x->o, key);
    return v;
}

void json_in_str(struct json_in *x, const char *key, bool needed, size_t min, char *out,
                 size_t size) {
    json_t *v = json_in_take(x, key, needed);
    if (v == NULL) {
        return;
    }
    const char *s = json_string_value(v);
    if (s == NULL) {
        json_in_fail(x, ERR_INVALID, key, "must be a string");
    } else if (strlen(s) >= size || strlen(s) < min) {
        json_in_fail(x, ERR_INVALID, key, "must have %zu to %zu characters, this has %zu", min,
                     size - 1, strlen(s));
    } else {
        for (const char *p = s; *p != '\0'; p++) {
            if ((unsigned char)*p < 0x20 || *p == 0x7f) {
                json_in_fail(x, ERR_INVALID, key, "has a control character");
            }
        }
        snprintf(out, size, "%s", s);
    }
    json_decref(v);
}

uint64_t json_in_int(struct json_in *x, const char *key, uint64_t fallback, uint64_t min,
                     uint64_t max) {
    json_t *v = json_in_take(x, key, false);
    if (v == NULL) {
        return fallback;
    }
    uint64_t n = fallback;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) < min ||
        (uint64_t)json_integer_value(v) > max) {
        json_in_fail(x, ERR_INVALID, key, "must be a whole number from %llu to %llu",
                     (unsigned long long)min, (unsigned long long)max);
    } else {
        n = (uint64_t)json_integer_value(v);
    }
    json_decref(v);
    return n;
}

bool json_in_bool(struct json_in *x, const char *key, bool fallback) {
    json_t *v = json_in_take(x, key, false);
    if (v == NULL) {
        return fallback;
    }
    if (!json_is_boolean(v)) {
        json_in_fail(x, ERR_INVALID, key, "must be true or false");
    }
    bool b = json_is_true(v);
    json_decref(v);
    return b;
}

bool json_in_object(struct json_in *x, const char *key, bool needed, struct json_in *out) {
    json_t *v = json_in_take(x, key, needed);
    *out = (struct json_in){.o = v, .err = x->err};
    if (v == NULL) {
        return false;
    }
    snprintf(out->path, sizeof out->path, "%.400s/%s", x->path, key);
    if (!json_is_object(v)) {
        json_in_fail(x, ERR_INVALID, key, "must be an object");
        json_decref(v);
        return false;
    }
    return true;
}

void json_in_done(struct json_in *parent, struct json_in *x) {
    const char *key;
    json_t *v;
    json_object_foreach(x->o, key, v) {
        json_in_fail(x, ERR_UNKNOWN, key, "no such member here");
        break;
    }
    if (parent->rc == ERR_OK) {
        parent->rc = x->rc;
    }
    json_decref(x->o);
}

bool json_in_element(struct json_in *list_owner, const char *key, json_t *list, size_t i,
                     struct json_in *out) {
    json_t *v = json_array_get(list, i);
    *out = (struct json_in){.o = json_incref(v), .err = list_owner->err};
    snprintf(out->path, sizeof out->path, "%.400s/%s[%zu]", list_owner->path, key, i);
    if (!json_is_object(v)) {
        json_in_fail(out, ERR_INVALID, "", "must be an object");
    }
    return json_is_object(v);
}

json_t *json_in_list(struct json_in *x, const char *key, bool needed, size_t min, size_t max) {
    json_t *v = json_in_take(x, key, needed);
    if (v != NULL && (!json_is_array(v) || json_array_size(v) < min || json_array_size(v) > max)) {
        json_in_fail(x, ERR_INVALID, key, "must be a list of %zu to %zu", min, max);
        json_decref(v);
        return NULL;
    }
    return v;
}
