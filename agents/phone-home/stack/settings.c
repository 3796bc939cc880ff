// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/settings.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* Takes each member out of the object: what is left in the end is not known. */
static json_t *take(json_t *o, const char *name) {
    json_t *v = json_incref(json_object_get(o, name));
    json_object_del(o, name);
    return v;
}

static enum err_code get_string(json_t *o, const char *name, char *out, size_t size, bool must,
                                struct err *e) {
    json_t *v = take(o, name);
    enum err_code rc = ERR_OK;
    if (v == NULL) {
        return must ? err_set(e, ERR_MISSING, name, "must be given") : ERR_OK;
    }
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) >= size ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        rc = err_set(e, ERR_INVALID, name, "must be a string of 1 to %zu bytes", size - 1);
    } else {
        snprintf(out, size, "%s", json_string_value(v));
    }
    json_decref(v);
    return rc;
}

static enum err_code get_name(json_t *o, const char *name, char *out, size_t size, bool must,
                              struct err *e) {
    ERR_TRY(get_string(o, name, out, size, must, e));
    if (out[0] != '\0' && !stack_text_ok(out, size - 1)) {
        return err_set(e, ERR_INVALID, name, "must be printable ASCII without blanks at its ends");
    }
    return ERR_OK;
}

static enum err_code get_path(json_t *o, const char *name, char *out, size_t size, bool must,
                              struct err *e) {
    ERR_TRY(get_string(o, name, out, size, must, e));
    if (out[0] != '\0' && out[0] != '/') {
        return err_set(e, ERR_INVALID, name, "must be an absolute path");
    }
    return ERR_OK;
}

static enum err_code get_number(json_t *o, const char *name, int64_t min, int64_t max, int64_t *out,
                                struct err *e) {
    json_t *v = take(o, name);
    enum err_code rc = ERR_OK;
    if (v != NULL &&
        (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)) {
        rc = err_set(e, ERR_INVALID, name, "must be a whole number from %lld to %lld",
                     (long long)min, (long long)max);
    } else if (v != NULL) {
        *out = json_integer_value(v);
    }
    json_decref(v);
    return rc;
}

static enum err_code get_flag(json_t *o, const char *name, bool *out, struct err *e) {
    json_t *v = take(o, name);
    enum err_code rc = ERR_OK;
    if (v != NULL && !json_is_boolean(v)) {
        rc = err_set(e, ERR_INVALID, name, "must be true or false");
    } else if (v != NULL) {
        *out = json_is_true(v);
    }
    json_decref(v);
    return rc;
}

/* Strings of an array, copied; NULL behind the last. */
static enum err_code get_strings(const json_t *v, const char *name, char **out, size_t max,
                                 size_t *n, struct err *e) {
    if (!json_is_array(v) || json_array_size(v) > max) {
        return err_set(e, ERR_INVALID, name, "must be an array of at most %zu strings", max);
    }
    *n = 0;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *s = json_array_get(v, i);
        if (!json_is_string(s) || strlen(json_string_value(s)) != json_string_length(s)) {
            return err_set(e, ERR_INVALID, name, "must be an array of strings");
        }
        out[(*n)++] = mem_strdup(json_string_value(s));
    }
    return ERR_OK;
}

static enum err_code get_ports(json_t *o, struct stack_settings *s, struct err *e) {
    json_t *v = take(o, "vcp");
    char *names[STACK_LINKS_MAX] = {NULL};
    size_t n = 0;
    enum err_code rc = v != NULL ? get_strings(v, "vcp", names, STACK_LINKS_MAX, &n, e) : ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        if (!stack_text_ok(names[i], STACK_PORT_MAX)) {
            rc = err_set(e, ERR_INVALID, "vcp", "\"%.40s\" is no interface's name", names[i]);
        }
        for (size_t j = 0; j < i && rc == ERR_OK; j++) {
            if (strcmp(names[i], names[j]) == 0) {
                rc = err_set(e, ERR_INVALID, "vcp", "%s is there twice", names[i]);
            }
        }
        snprintf(s->ports[i], sizeof s->ports[i], "%s", names[i]);
    }
    s->n_links = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        mem_free(names[i]);
    }
    json_decref(v);
    return rc;
}

static enum err_code get_services(json_t *o, struct stackd_settings *s, struct err *e) {
    json_t *v = take(o, "services");
    enum err_code rc = ERR_OK;
    if (v != NULL && (!json_is_array(v) || json_array_size(v) > SETTINGS_SERVICES_MAX)) {
        rc = err_set(e, ERR_INVALID, "services", "must be an array of at most %d commands",
                     SETTINGS_SERVICES_MAX);
    }
    for (size_t i = 0; i < json_array_size(v) && rc == ERR_OK; i++) {
        size_t n = 0;
        s->n_services = i + 1;
        rc =
            get_strings(json_array_get(v, i), "services", s->services[i], SETTINGS_ARGS_MAX, &n, e);
        if (rc == ERR_OK && (n == 0 || s->services[i][0][0] != '/')) {
            rc = err_set(e, ERR_INVALID, "services",
                         "each command begins with the absolute path of a program");
        }
    }
    json_decref(v);
    return rc;
}

static enum err_code get_all(json_t *o, struct stackd_settings *s, struct err *e) {
    int64_t priority = s->stack.priority, tries = s->boot_tries, init = s->init_ms / 1000;
    ERR_TRY(get_name(o, "serial", s->stack.serial, sizeof s->stack.serial, true, e));
    ERR_TRY(get_name(o, "model", s->stack.model, sizeof s->stack.model, true, e));
    ERR_TRY(get_name(o, "os-name", s->stack.os_name, sizeof s->stack.os_name, true, e));
    ERR_TRY(get_name(o, "os-version", s->stack.os_version, sizeof s->stack.os_version, true, e));
    ERR_TRY(get_path(o, "directory", s->directory, sizeof s->directory - 64, true, e));
    ERR_TRY(get_path(o, "socket", s->socket, sizeof s->socket, false, e));
    ERR_TRY(get_path(o, "config-hook", s->hook, sizeof s->hook, false, e));
    ERR_TRY(get_number(o, "priority", 0, 255, &priority, e));
    ERR_TRY(get_number(o, "boot-tries", 1, 10, &tries, e));
    ERR_TRY(get_number(o, "init-s", 1, 3600, &init, e));
    ERR_TRY(get_number(o, "trial-ms", 0, 3600000, &s->trial_ms, e));
    ERR_TRY(get_number(o, "hello-ms", 20, 10000, &s->stack.hello_ms, e));
    ERR_TRY(get_number(o, "dead-ms", 60, 60000, &s->stack.dead_ms, e));
    ERR_TRY(get_number(o, "settle-ms", 0, 600000, &s->stack.settle_ms, e));
    ERR_TRY(get_flag(o, "clock-trusted", &s->clock_trusted, e));
    ERR_TRY(get_ports(o, &s->stack, e));
    ERR_TRY(get_services(o, s, e));
    json_t *v = take(o, "zeroize");
    enum err_code rc =
        v != NULL ? get_strings(v, "zeroize", s->zeroize, SETTINGS_ZEROIZE_MAX, &s->n_zeroize, e)
                  : ERR_OK;
    json_decref(v);
    ERR_TRY(rc);
    s->stack.priority = (uint8_t)priority;
    s->boot_tries = (unsigned)tries;
    s->init_ms = init * 1000;
    const char *more = json_object_iter_key(json_object_iter(o));
    if (more != NULL) {
        return err_set(e, ERR_UNKNOWN, more, "is no setting of weft-stackd");
    }
    if (s->stack.dead_ms < 2 * s->stack.hello_ms) {
        return err_set(e, ERR_INVALID, "dead-ms", "must be at least twice hello-ms");
    }
    return ERR_OK;
}

enum err_code stackd_settings_parse(const char *text, size_t n, struct stackd_settings *s,
                                    struct err *e) {
    json_error_t je;
    memset(s, 0, sizeof *s);
    stack_settings_default(&s->stack);
    snprintf(s->socket, sizeof s->socket, "%s", STACKD_SOCKET);
    s->boot_tries = 3;
    s->init_ms = 60000;
    s->trial_ms = 2000;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(e, ERR_MALFORMED, NULL, "line %d: %s", je.line,
                       o == NULL ? je.text : "is no object");
    }
    enum err_code rc = get_all(o, s, e);
    json_decref(o);
    if (rc != ERR_OK) {
        stackd_settings_free(s);
    }
    return rc;
}

enum err_code stackd_settings_load(const char *file, struct stackd_settings *s, struct err *e) {
    char place[SETTINGS_PATH_MAX + 4];
    struct buf b = BUF_INIT;
    memset(s, 0, sizeof *s);
    enum err_code rc = file_read(file, 1 << 20, &b, e);
    if (rc == ERR_OK) {
        rc = stackd_settings_parse((const char *)b.data, b.len, s, e);
        if (rc != ERR_OK) {
            snprintf(place, sizeof place, "%s%s", file, e->path[0] != '\0' ? ": " : "");
            err_prefix_path(e, place);
        }
    }
    buf_free(&b);
    return rc;
}

void stackd_settings_free(struct stackd_settings *s) {
    for (size_t i = 0; i < SETTINGS_SERVICES_MAX; i++) {
        for (size_t j = 0; j < SETTINGS_ARGS_MAX; j++) {
            mem_free(s->services[i][j]);
        }
    }
    for (size_t i = 0; i < SETTINGS_ZEROIZE_MAX; i++) {
        mem_free(s->zeroize[i]);
    }
    memset(s, 0, sizeof *s);
}
