// SPDX-License-Identifier: Apache-2.0
#include "bng/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"
#include "log/log.h"

LOGGER_MODULE(state)

struct state {
    struct log *log;
    struct log_lease lease;
    struct map pending; /* key -> json_t, or &deleted */
    char url[600];
};

static char deleted;

static enum err_code open_log(struct state *s, struct err *err) {
    ERR_TRY(log_open(s->url, NULL, &s->log, err));
    s->lease = (struct log_lease){.holder = "weft-bng", .ttl_ns = 10 * NS_PER_S};
    return log_lease_acquire(s->log, &s->lease, err);
}

enum err_code state_open(const char *path, struct state **out, struct err *err) {
    struct state *s = MEM_NEW(struct state);
    snprintf(s->url, sizeof s->url, "sqlite:%s", path);
    enum err_code rc = open_log(s, err);
    if (rc != ERR_OK) {
        if (strncmp(err->path, path, strlen(path)) != 0) {
            err_prefix_path(err, path);
        }
        state_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void state_close(struct state *s) {
    if (s == NULL) {
        return;
    }
    MAP_FOREACH (m, &s->pending) {
        if (m->value != &deleted) {
            json_decref(m->value);
        }
    }
    map_free(&s->pending, NULL);
    log_close(s->log);
    mem_free(s);
}

struct loading {
    struct bng_engine *e;
    struct err *err;
    enum err_code rc;
};

static bool load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                     uint64_t modified, void *arg) {
    struct loading *l = arg;
    json_error_t je;
    char *name = mem_strndup((const char *)key, key_len);
    json_t *doc = json_loadb((const char *)value, value_len, 0, &je);
    if (doc == NULL) {
        l->rc = err_set(l->err, ERR_MALFORMED, name, "is no JSON: %s", je.text);
    } else {
        l->rc = bng_engine_load(l->e, name, doc, l->err);
    }
    json_decref(doc);
    mem_free(name);
    return l->rc == ERR_OK;
}

enum err_code state_load(struct state *s, struct bng_engine *e, struct err *err) {
    struct loading l = {.e = e, .err = err};
    ERR_TRY(log_snapshot(s->log, LOG_STATE, "", 0, NULL, load_one, &l, err));
    return l.rc;
}

void state_put(struct state *s, const char *key, json_t *doc) {
    void *old = map_put(&s->pending, key, doc != NULL ? (void *)doc : &deleted);
    if (old != NULL && old != &deleted) {
        json_decref(old);
    }
}

bool state_commit(struct state *s) {
    struct err err;
    size_t n = 0;
    struct log_status st;
    if (s->pending.count == 0) {
        return true;
    }
    log_status(s->log, &st);
    if (st.needs_reopen) {
        log_close(s->log);
        s->log = NULL;
        if (open_log(s, &err) != ERR_OK) {
            L_ERR("%s: %s", s->url, err.text);
            log_close(s->log);
            abort(); /* without its state the agent must not go on; the next start recovers */
        }
    }
    struct log_op *ops = mem_alloc(s->pending.count * sizeof *ops);
    MAP_FOREACH (m, &s->pending) {
        char *text = m->value != &deleted ? json_dumps(m->value, JSON_COMPACT) : NULL;
        ops[n++] = (struct log_op){.space = LOG_STATE,
                                   .key = (const uint8_t *)m->key,
                                   .key_len = m->key_len,
                                   .value = (const uint8_t *)text,
                                   .value_len = text != NULL ? strlen(text) : 0};
    }
    struct log_entry entry = {.who = "weft-bng", .ops = ops, .n_ops = n};
    enum err_code rc = log_append(s->log, log_head(s->log), s->lease.fence, &entry, 1, &err);
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)ops[i].value);
    }
    mem_free(ops);
    if (rc != ERR_OK) {
        L_WARN_RL(10, "the state can't be stored: %s", err.text);
        return false;
    }
    MAP_FOREACH (m, &s->pending) {
        if (m->value != &deleted) {
            json_decref(m->value);
        }
        map_del(&s->pending, m->key);
    }
    return true;
}

void state_tidy(struct state *s) {
    struct log_keep keep = {.entries = 1000};
    struct err err;
    if (log_fold(s->log, 0, NULL, &err) != ERR_OK ||
        log_trim(s->log, &keep, NULL, &err) != ERR_OK) {
        L_WARN_RL(600, "the state's history can't be trimmed: %s", err.text);
    }
}
