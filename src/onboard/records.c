// SPDX-License-Identifier: Apache-2.0
/* What devices did, folded from the log. On the writer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "onboard/internal.h"

#define DEVICE_PREFIX  "onboard/device/"
#define LOG_PREFIX     "onboard/log/"
#define REQUEST_PREFIX "onboard/request/"
enum { VERSION = 1, KEY_MAX = 128 };

static const char *const status_names[] = {
    [ONBOARD_ONBOARDING_STATUS_EXPECTED] = "expected",
    [ONBOARD_ONBOARDING_STATUS_PENDING] = "pending",
    [ONBOARD_ONBOARDING_STATUS_BLOCKED] = "blocked",
    [ONBOARD_ONBOARDING_STATUS_WAITING] = "waiting",
    [ONBOARD_ONBOARDING_STATUS_REDIRECTED] = "redirected",
    [ONBOARD_ONBOARDING_STATUS_ANSWERED] = "answered",
    [ONBOARD_ONBOARDING_STATUS_UNDER_WAY] = "under-way",
    [ONBOARD_ONBOARDING_STATUS_REBOOTING] = "rebooting",
    [ONBOARD_ONBOARDING_STATUS_FAILED] = "failed",
    [ONBOARD_ONBOARDING_STATUS_COMPLETE] = "complete",
};
enum { STATUSES = sizeof status_names / sizeof status_names[0] };

const char *status_name(enum onboard_onboarding_status s) {
    return status_names[s];
}

void known_set_status(struct txn *t, json_t *record, enum onboard_onboarding_status s) {
    const char *before = known_text(record, "status"),
               *complete = status_name(ONBOARD_ONBOARDING_STATUS_COMPLETE);
    if (strcmp(before, status_name(s)) != 0) {
        json_object_set_new(record, "since", json_integer((json_int_t)txn_now_s(t)));
    }
    if (s == ONBOARD_ONBOARDING_STATUS_COMPLETE || strcmp(before, complete) == 0) {
        run_done(record);
    }
    json_object_del(record, "given-up");
    json_object_set_new(record, "status", json_string(status_name(s)));
}

static bool status_parse(const char *name, enum onboard_onboarding_status *out) {
    for (unsigned i = 0; name != NULL && i < STATUSES; i++) {
        if (strcmp(status_names[i], name) == 0) {
            *out = (enum onboard_onboarding_status)i;
            return true;
        }
    }
    return false;
}

/* ---- memory ---------------------------------------------------------------------------------- */

struct known *known_get(const struct onboard *ob, const char *serial) {
    return map_get(&ob->devices, serial);
}

void known_free(void *p) {
    struct known *k = p;
    target_free(k->target);
    run_drop(k);
    mem_free(k->said);
    if (k->open) {
        list_remove(&k->run_link);
    }
    for (unsigned i = 0; i < ONBOARD_LOG_KEPT; i++) {
        mem_free(k->log[i]);
    }
    mem_free(k->json);
    mem_free(k->serial);
    mem_free(k);
}

struct known *known_make(struct onboard *ob, const char *serial) {
    struct known *k = known_get(ob, serial);
    if (k == NULL) {
        k = MEM_NEW(struct known);
        k->serial = mem_strdup(serial);
        map_put(&ob->devices, serial, k);
    }
    return k;
}

void known_drop_if_empty(struct onboard *ob, struct known *k) {
    bool empty = k->json == NULL && k->target == NULL && k->effect == NULL;
    for (unsigned i = 0; empty && i < ONBOARD_LOG_KEPT; i++) {
        empty = k->log[i] == NULL;
    }
    if (empty) {
        map_del(&ob->devices, k->serial);
        known_free(k);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* It is folded at once, from the same text: that needs not be read again. */
static void put_json(struct onboard *ob, struct txn *t, const char *key, json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT);
    ob->putting = o;
    txn_put_state(t, key, strlen(key), text, strlen(text));
    ob->putting = NULL;
    free(text); /* jansson's */
    json_decref(o);
}

const char *known_text(const json_t *record, const char *name) {
    const char *s = json_string_value(json_object_get(record, name));
    return s != NULL ? s : "";
}

json_t *known_load(const struct known *k) {
    json_t *o = k != NULL && k->json != NULL ? json_loads(k->json, 0, NULL) : NULL;
    return o != NULL ? o : json_pack("{s:i}", "v", VERSION);
}

void known_put(struct txn *t, const char *serial, json_t *record) {
    struct onboard *ob = core_service_state(txn_core(t), "onboard");
    char key[KEY_MAX];
    snprintf(key, sizeof key, DEVICE_PREFIX "%s", serial);
    put_json(ob, t, key, record);
}

static void put_log(struct onboard *ob, struct txn *t, const char *serial, uint64_t number,
                    const char *event, const char *text) {
    char key[KEY_MAX], line[SZTP_MESSAGE_MAX + 512];
    text_line(line, sizeof line, text);
    snprintf(key, sizeof key, LOG_PREFIX "%s/%02u", serial, (unsigned)(number % ONBOARD_LOG_KEPT));
    put_json(ob, t, key,
             json_pack("{s:i, s:I, s:I, s:s, s:s}", "v", VERSION, "n", (json_int_t)number, "time",
                       (json_int_t)txn_now_s(t), "event", event, "text", line));
}

uint64_t known_log(struct onboard *ob, struct txn *t, const char *serial, const char *event,
                   const char *text) {
    const struct known *k = known_get(ob, serial);
    uint64_t last = 0;
    for (unsigned i = 0; k != NULL && i < ONBOARD_LOG_KEPT; i++) {
        last = k->log_number[i] > last ? k->log_number[i] : last;
    }
    put_log(ob, t, serial, last + 1, event, text);
    return last + 1;
}

void known_log_amend(struct onboard *ob, struct txn *t, const char *serial, uint64_t number,
                     const char *event, const char *text) {
    const struct known *k = known_get(ob, serial);
    if (number > 0 && k != NULL && k->log_number[number % ONBOARD_LOG_KEPT] == number) {
        put_log(ob, t, serial, number, event, text);
    } else {
        known_log(ob, t, serial, event, text);
    }
}

void known_delete(struct onboard *ob, struct txn *t, const char *serial) {
    char key[KEY_MAX];
    for (unsigned i = 0; i < ONBOARD_LOG_KEPT; i++) {
        const struct known *k = known_get(ob, serial);
        if (k != NULL && k->log[i] != NULL) {
            snprintf(key, sizeof key, LOG_PREFIX "%s/%02u", serial, i);
            txn_delete_state(t, key, strlen(key));
        }
    }
    snprintf(key, sizeof key, DEVICE_PREFIX "%s", serial);
    if (known_get(ob, serial) != NULL && known_get(ob, serial)->json != NULL) {
        txn_delete_state(t, key, strlen(key));
    }
    run_moved(ob, t, serial, "forgotten", "");
}

uint64_t request_note(struct onboard *ob, struct txn *t, const struct request_note *n) {
    char key[KEY_MAX], path[192], serial[CMS_SERIAL_MAX + 1], outcome[256];
    uint64_t number = ob->next_request;
    text_line(path, sizeof path, n->path);
    text_line(serial, sizeof serial, n->serial);
    text_line(outcome, sizeof outcome, n->outcome);
    snprintf(key, sizeof key, REQUEST_PREFIX "%05u", (unsigned)(number % ONBOARD_REQUESTS_KEPT));
    put_json(ob, t, key,
             json_pack("{s:i, s:I, s:I, s:s, s:s, s:s, s:i, s:s, s:s}", "v", VERSION, "n",
                       (json_int_t)number, "time", (json_int_t)txn_now_s(t), "source", n->source,
                       "method", n->method, "path", path, "status", n->status, "serial", serial,
                       "outcome", outcome));
    return number;
}

void request_amend(struct onboard *ob, struct txn *t, uint64_t number, int status,
                   const char *outcome) {
    const char *text = ob->requests[number % ONBOARD_REQUESTS_KEPT];
    json_t *o = text != NULL ? json_loads(text, 0, NULL) : NULL;
    char key[KEY_MAX], line[256];
    if (o == NULL || (uint64_t)json_integer_value(json_object_get(o, "n")) != number) {
        json_decref(o); /* another has its place */
        return;
    }
    text_line(line, sizeof line, outcome);
    json_object_set_new(o, "status", json_integer(status));
    json_object_set_new(o, "outcome", json_string(line));
    snprintf(key, sizeof key, REQUEST_PREFIX "%05u", (unsigned)(number % ONBOARD_REQUESTS_KEPT));
    put_json(ob, t, key, o);
}

/* ---- folding --------------------------------------------------------------------------------- */

static void keep(char **place, const void *value, size_t len) {
    mem_free(*place);
    *place = value != NULL ? mem_strndup(value, len) : NULL;
}

static enum err_code fold_device(struct onboard *ob, const char *serial, const void *value,
                                 size_t len, const json_t *o, struct err *e) {
    struct known *k = known_make(ob, serial);
    enum onboard_onboarding_status status = ONBOARD_ONBOARDING_STATUS_EXPECTED;
    if (o != NULL && !status_parse(json_string_value(json_object_get(o, "status")), &status)) {
        known_drop_if_empty(ob, k);
        return err_set(e, ERR_INVALID, NULL, "no device of this version");
    }
    ob->n_strangers -= k->stranger;
    k->stranger = o != NULL && json_is_true(json_object_get(o, "stranger"));
    ob->n_strangers += k->stranger;
    k->status = status;
    k->given = (uint64_t)json_integer_value(json_object_get(o, "revision"));
    keep(&k->json, value, len);
    run_fold(ob, k, o);
    known_drop_if_empty(ob, k);
    return ERR_OK;
}

static enum err_code fold_log(struct onboard *ob, char *rest, const void *value, size_t len,
                              const json_t *o, struct err *e) {
    char *slash = strrchr(rest, '/');
    unsigned long at = slash != NULL ? strtoul(slash + 1, NULL, 10) : ONBOARD_LOG_KEPT;
    if (at >= ONBOARD_LOG_KEPT) {
        return err_set(e, ERR_INVALID, NULL, "no log entry of this version");
    }
    *slash = '\0';
    struct known *k = known_make(ob, rest);
    keep(&k->log[at], value, len);
    k->log_number[at] = (uint64_t)json_integer_value(json_object_get(o, "n"));
    known_drop_if_empty(ob, k);
    return ERR_OK;
}

static enum err_code fold_request(struct onboard *ob, unsigned long at, const void *value,
                                  size_t len, const json_t *o, struct err *e) {
    if (at >= ONBOARD_REQUESTS_KEPT) {
        return err_set(e, ERR_INVALID, NULL, "no request of this version");
    }
    keep(&ob->requests[at], value, len);
    if (o != NULL) {
        uint64_t n = (uint64_t)json_integer_value(json_object_get(o, "n"));
        /* What is put again to undo the newest one takes the number back with it. */
        bool undo = ob->started && n + ONBOARD_REQUESTS_KEPT == ob->next_request - 1;
        if (undo) {
            ob->next_request--;
        } else if (n >= ob->next_request) {
            ob->next_request = n + 1;
        }
    } else if (ob->started && ob->next_request > 0 &&
               at == (ob->next_request - 1) % ONBOARD_REQUESTS_KEPT) {
        ob->next_request--;
    }
    return ERR_OK;
}

enum err_code onboard_state_fold(void *self, const char *key, size_t n, const void *value,
                                 size_t len, struct err *e) {
    struct onboard *ob = self;
    char text[KEY_MAX];
    snprintf(text, sizeof text, "%.*s", (int)n, key);
    json_t *o = value == NULL         ? NULL
                : ob->putting != NULL ? json_incref(ob->putting)
                                      : json_loadb(value, len, 0, NULL);
    if (value != NULL && json_integer_value(json_object_get(o, "v")) != VERSION) {
        json_decref(o);
        return err_set(e, ERR_INVALID, NULL, "not of a version that is known here");
    }
    enum err_code rc = ERR_OK;
    if (strncmp(text, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0) {
        rc = fold_device(ob, text + strlen(DEVICE_PREFIX), value, len, o, e);
    } else if (strncmp(text, LOG_PREFIX, strlen(LOG_PREFIX)) == 0) {
        rc = fold_log(ob, text + strlen(LOG_PREFIX), value, len, o, e);
    } else if (strncmp(text, REQUEST_PREFIX, strlen(REQUEST_PREFIX)) == 0) {
        rc = fold_request(ob, strtoul(text + strlen(REQUEST_PREFIX), NULL, 10), value, len, o, e);
    }
    json_decref(o);
    return rc;
}

bool onboard_state_encode(void *self, const char *key, size_t n, struct buf *out) {
    struct onboard *ob = self;
    char text[KEY_MAX];
    const char *value = NULL;
    snprintf(text, sizeof text, "%.*s", (int)n, key);
    if (strncmp(text, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0) {
        const struct known *k = known_get(ob, text + strlen(DEVICE_PREFIX));
        value = k != NULL ? k->json : NULL;
    } else if (strncmp(text, LOG_PREFIX, strlen(LOG_PREFIX)) == 0) {
        char *slash = strrchr(text, '/');
        unsigned long at = strtoul(slash + 1, NULL, 10);
        *slash = '\0';
        const struct known *k =
            slash >= text + strlen(LOG_PREFIX) ? known_get(ob, text + strlen(LOG_PREFIX)) : NULL;
        value = k != NULL && at < ONBOARD_LOG_KEPT ? k->log[at] : NULL;
    } else if (strncmp(text, REQUEST_PREFIX, strlen(REQUEST_PREFIX)) == 0) {
        unsigned long at = strtoul(text + strlen(REQUEST_PREFIX), NULL, 10);
        value = at < ONBOARD_REQUESTS_KEPT ? ob->requests[at] : NULL;
    }
    if (value == NULL) {
        return false;
    }
    buf_str(out, value);
    return true;
}
