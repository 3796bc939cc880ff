// SPDX-License-Identifier: Apache-2.0
/*
 * The nodes of a shared store over time: which ones have come, which are not there any more, and
 * which one is to lead next. Whether a node lives the store says (log_nodes); the leader looks
 * every few seconds and keeps what changed as records:
 *
 *   system/node/NAME    version (1) 1, lost (1), since (8, UTC s)
 *   system/heir         the name; gone when a node leads
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/system_int.h"
#include "model/kinds.h"

LOGGER_MODULE(nodes);

#define NODE_PREFIX "system/node/"
#define HEIR_KEY    "system/heir"
enum {
    RECORD_VERSION = 1,
    RECORD_LEN = 10,
    MISSING_LOOKS = 3, /* one that starts over is away for a moment */
    SEEN_MAX = 256,
};

struct known {
    int64_t since_s;
    bool lost;
    unsigned missing; /* looks at which it was not there; not kept */
};

void nodes_init(struct nodes *n) {
    pthread_mutex_init(&n->lock, NULL);
}

void nodes_free(struct nodes *n) {
    map_free(&n->known, mem_free);
    pthread_mutex_destroy(&n->lock);
}

/* ---- records ----------------------------------------------------------------------------------
 */

/* The name in the key; NULL: it is another record's. */
static const char *name_in(const char *key, size_t len, char out[LOG_NODE_MAX + 1]) {
    size_t skip = strlen(NODE_PREFIX);
    if (len <= skip || len - skip > LOG_NODE_MAX || memcmp(key, NODE_PREFIX, skip) != 0) {
        return NULL;
    }
    snprintf(out, LOG_NODE_MAX + 1, "%.*s", (int)(len - skip), key + skip);
    return out;
}

static bool is_heir(const char *key, size_t len) {
    return len == strlen(HEIR_KEY) && memcmp(key, HEIR_KEY, len) == 0;
}

bool nodes_mine(const char *key, size_t len) {
    char name[LOG_NODE_MAX + 1];
    return is_heir(key, len) || name_in(key, len, name) != NULL;
}

static void encode(const struct known *k, struct buf *out) {
    buf_u8(out, RECORD_VERSION);
    buf_u8(out, k->lost);
    buf_u64(out, (uint64_t)k->since_s);
}

bool nodes_encode(const struct nodes *n, const char *key, size_t len, struct buf *out) {
    char name[LOG_NODE_MAX + 1];
    if (is_heir(key, len)) {
        buf_str(out, n->heir);
        return n->heir[0] != '\0';
    }
    const struct known *k = map_get(&n->known, name_in(key, len, name));
    if (k != NULL) {
        encode(k, out);
    }
    return k != NULL;
}

static enum err_code fold_node(struct nodes *n, const char *name, const uint8_t *p, size_t len,
                               struct err *e) {
    if (p == NULL) {
        mem_free(map_del(&n->known, name));
        return ERR_OK;
    }
    struct cur in = cur_of(p, len);
    uint8_t version = cur_u8(&in), lost = cur_u8(&in);
    uint64_t since = cur_u64(&in);
    if (len != RECORD_LEN || version != RECORD_VERSION || lost > 1) {
        return err_set(e, version > RECORD_VERSION ? ERR_UNSUPPORTED : ERR_MALFORMED, NULL,
                       "is not a node's record of this version");
    }
    struct known *k = map_get(&n->known, name);
    if (k == NULL) {
        k = MEM_NEW(struct known);
        map_put(&n->known, name, k);
    }
    *k = (struct known){.lost = lost, .since_s = (int64_t)since};
    return ERR_OK;
}

enum err_code nodes_fold(struct nodes *n, const char *key, size_t key_len, const void *value,
                         size_t len, struct err *e) {
    char name[LOG_NODE_MAX + 1];
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&n->lock);
    if (!is_heir(key, key_len)) {
        rc = fold_node(n, name_in(key, key_len, name), value, len, e);
    } else if (len > LOG_NODE_MAX) {
        rc = err_set(e, ERR_MALFORMED, NULL, "is no node's name");
    } else {
        snprintf(n->heir, sizeof n->heir, "%.*s", (int)len,
                 value != NULL ? (const char *)value : "");
    }
    pthread_mutex_unlock(&n->lock);
    return rc;
}

static void put(struct txn *t, const char *name, const struct known *k) {
    char key[sizeof NODE_PREFIX + LOG_NODE_MAX];
    struct buf b = BUF_INIT;
    int n = snprintf(key, sizeof key, NODE_PREFIX "%s", name);
    if (k == NULL) {
        txn_delete_state(t, key, (size_t)n);
        return;
    }
    encode(k, &b);
    txn_put_state(t, key, (size_t)n, b.data, b.len);
    buf_free(&b);
}

static void tell(struct txn *t, const char *event, const char *node) {
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"node\":");
    text_json(&b, node);
    buf_char(&b, '}');
    txn_event(t, event, buf_cstr(&b));
    buf_free(&b);
}

/* ---- who is there: the leader looks -----------------------------------------------------------
 */

struct watch {
    struct core *core;
    char names[SEEN_MAX][LOG_NODE_MAX + 1];
    size_t n;
};

static void see(const struct core_node *n, void *arg) {
    struct watch *w = arg;
    if (w->n < SEEN_MAX) {
        snprintf(w->names[w->n++], sizeof w->names[0], "%s", n->name);
    }
}

static bool sees(const struct watch *w, const char *name) {
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The next one that is not there and not known to be lost; its looks are counted. */
static const char *newly_lost(struct nodes *n, const struct watch *w) {
    MAP_FOREACH (m, &n->known) {
        struct known *k = m->value;
        if (!k->lost && !sees(w, m->key) && ++k->missing >= MISSING_LOOKS) {
            return m->key;
        }
    }
    return NULL;
}

static enum err_code watch_work(struct txn *t, void *arg, struct err *e) {
    struct watch *w = arg;
    struct nodes *n = w->core->nodes;
    (void)e;
    for (size_t i = 0; i < w->n; i++) {
        struct known *k = map_get(&n->known, w->names[i]);
        if (k != NULL && !k->lost) {
            k->missing = 0;
            continue;
        }
        put(t, w->names[i], &(struct known){.since_s = txn_now_s(t)});
        L_INFO("node %s is there", w->names[i]);
        if (strcmp(w->names[i], w->core->role.node) != 0) {
            tell(t, "weft-system:node-joined", w->names[i]);
        }
    }
    const char *gone = newly_lost(n, w);
    if (gone != NULL) { /* one at a time: the map changes; the next look has the next */
        char name[LOG_NODE_MAX + 1];
        snprintf(name, sizeof name, "%s", gone);
        put(t, name, &(struct known){.since_s = txn_now_s(t), .lost = true});
        L_WARN("node %s is not there any more", name);
        tell(t, "weft-system:node-lost", name);
    }
    return ERR_OK;
}

static void watched(void *arg, uint64_t index, const struct err *why) {
    (void)index;
    if (why != NULL) {
        L_DBG("which nodes are there was not kept: %s", why->text);
    }
    mem_free(arg);
}

void core_nodes_watch(struct core *c) {
    struct err e;
    if (!c->role.shared || c->nodes == NULL || role_of(c) != CORE_LEADS) {
        return;
    }
    struct watch *w = MEM_NEW(struct watch);
    w->core = c;
    if (core_nodes(c, see, w, &e) != ERR_OK) {
        mem_free(w);
        return;
    }
    core_run(c, &actor_system, watch_work, watched, w);
}

/* ---- shown ------------------------------------------------------------------------------------
 */

void nodes_each_lost(struct nodes *n, void (*each)(const char *name, int64_t since_s, void *arg),
                     void *arg) {
    pthread_mutex_lock(&n->lock);
    MAP_FOREACH (m, &n->known) {
        const struct known *k = m->value;
        if (k->lost) {
            each(m->key, k->since_s, arg);
        }
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- request system cluster leave -------------------------------------------------------------
 */

enum err_code nodes_forget(struct nodes *n, struct txn *t, const char *name, struct err *e) {
    if (map_get(&n->known, name) == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "no node %s is known (show system cluster)", name);
    }
    put(t, name, NULL);
    tell(t, "weft-system:node-left", name);
    return ERR_OK;
}

/* ---- who is to lead next ----------------------------------------------------------------------
 */

void nodes_put_heir(struct txn *t, const char *name) {
    if (name != NULL) {
        txn_put_state(t, HEIR_KEY, strlen(HEIR_KEY), name, strlen(name));
    } else {
        txn_delete_state(t, HEIR_KEY, strlen(HEIR_KEY));
    }
}

bool nodes_has_heir(struct nodes *n, char out[LOG_NODE_MAX + 1]) {
    snprintf(out, LOG_NODE_MAX + 1, "%s", n->heir);
    return out[0] != '\0';
}
