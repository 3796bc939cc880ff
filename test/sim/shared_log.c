// SPDX-License-Identifier: Apache-2.0
#include "shared_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "log/engine.h"

/* What the holder of a lease counts with, of what the store grants. */
enum { OWN_PART = 3, WHOLE = 5 };

struct kept {
    struct log_entry en; /* its memory is the arena's */
    struct arena *arena;
};

struct late { /* an append under way */
    struct kept *batch;
    size_t n;
    uint64_t expected_head, fence;
};

struct shared_store {
    struct list link; /* of all stores */
    char name[32];
    struct kept *entries;
    size_t n, cap;
    int64_t now, until; /* its own time; until when the lease lives */
    char leader[LOG_NODE_MAX + 1];
    uint64_t fence;
    struct list nodes;
    struct late *late;
    size_t n_late;
};

struct shared_node {
    struct log log; /* first */
    struct list link;
    struct shared_store *store;
    const struct clock *clock;
    char name[LOG_NODE_MAX + 1];
    uint64_t seen, fence; /* fence 0: it has no lease */
    int64_t sent, ttl, heard;
    bool cut, in_doubt;
    enum shared_fate next;
    char leader[LOG_NODE_MAX + 1]; /* last known */
};

static struct list stores = {&stores, &stores};

static struct shared_node *node_of(struct log *log) {
    return CONTAINER_OF(log, struct shared_node, log);
}

/* ---- the store ------------------------------------------------------------------------------- */

static const struct log_engine engine;

struct shared_store *shared_store_new(const char *name) {
    struct shared_store *s = MEM_NEW(struct shared_store);
    snprintf(s->name, sizeof s->name, "%s", name);
    list_init(&s->nodes);
    list_append(&stores, &s->link);
    log_engine_add(&engine);
    return s;
}

static void batch_free(struct kept *batch, size_t n) {
    for (size_t i = 0; i < n; i++) {
        arena_free(batch[i].arena);
    }
    mem_free(batch);
}

void shared_store_free(struct shared_store *s) {
    for (size_t i = 0; i < s->n_late; i++) {
        batch_free(s->late[i].batch, s->late[i].n);
    }
    mem_free(s->late);
    batch_free(s->entries, s->n);
    list_remove(&s->link);
    mem_free(s);
}

void shared_pass(struct shared_store *s, int64_t ns) {
    s->now += ns;
}

uint64_t shared_head(const struct shared_store *s) {
    return s->n;
}

const char *shared_leader(const struct shared_store *s) {
    return s->now < s->until ? s->leader : "";
}

const struct log_entry *shared_entry(const struct shared_store *s, uint64_t index) {
    return &s->entries[index - 1].en;
}

struct shared_node *shared_node(struct shared_store *s, const char *name) {
    LIST_FOREACH (l, &s->nodes) {
        struct shared_node *n = CONTAINER_OF(l, struct shared_node, link);
        if (strcmp(n->name, name) == 0) {
            return n;
        }
    }
    return NULL;
}

static void keep(struct kept *k, const struct log_entry *en) {
    struct arena *a = k->arena = arena_new();
    struct log_op *ops = arena_alloc(a, (en->n_ops + 1) * sizeof *ops);
    for (size_t i = 0; i < en->n_ops; i++) {
        const struct log_op *op = &en->ops[i];
        uint8_t *key = arena_alloc(a, op->key_len), *value = NULL;
        memcpy(key, op->key, op->key_len);
        if (op->value != NULL) {
            value = arena_alloc(a, op->value_len + 1);
            memcpy(value, op->value, op->value_len);
        }
        ops[i] = (struct log_op){op->space, key, op->key_len, value, op->value_len};
    }
    k->en = *en;
    k->en.ops = ops;
    k->en.who = arena_strdup(a, en->who != NULL ? en->who : "");
    k->en.why = arena_strdup(a, en->why != NULL ? en->why : "");
}

static bool has_config(const struct log_entry *en) {
    for (size_t i = 0; i < en->n_ops; i++) {
        if (en->ops[i].space == LOG_CONFIG) {
            return true;
        }
    }
    return false;
}

static uint64_t config_head(const struct shared_store *s, uint64_t upto) {
    while (upto > 0 && !has_config(shared_entry(s, upto))) {
        upto--;
    }
    return upto;
}

/* The transaction. Takes the batch over when it is done. */
static enum err_code commit(struct shared_store *s, const struct late *b, struct err *e) {
    if (b->fence == 0 || b->fence != s->fence || s->now >= s->until) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "fence %lu is not that of the lease held now",
                       (unsigned long)b->fence);
    }
    if (b->expected_head != s->n) {
        return err_set(e, ERR_CONFLICT, NULL, "the head is %zu", s->n);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (s->n == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 64;
            s->entries = mem_array(s->entries, s->cap, sizeof *s->entries);
        }
        struct log_entry *en = &b->batch[i].en;
        en->prev_config = config_head(s, s->n);
        en->fence = b->fence;
        en->index = s->n + 1;
        s->entries[s->n++] = b->batch[i];
    }
    return ERR_OK;
}

size_t shared_arrive(struct shared_store *s) {
    size_t came_true = 0;
    for (size_t i = 0; i < s->n_late; i++) {
        struct err e;
        if (commit(s, &s->late[i], &e) == ERR_OK) {
            came_true++;
            mem_free(s->late[i].batch);
        } else {
            batch_free(s->late[i].batch, s->late[i].n);
        }
    }
    s->n_late = 0;
    return came_true;
}

/* ---- the node -------------------------------------------------------------------------------- */

void shared_cut(struct shared_node *n, bool cut) {
    if (n->cut != cut) {
        if (cut && n->seen == n->store->n) {
            n->heard = clock_mono(n->clock);
        }
        n->cut = cut;
        log_turned(&n->log);
    }
}

bool shared_deliver(struct shared_node *n, size_t max) {
    struct shared_store *s = n->store;
    if (n->cut) {
        return false;
    }
    bool any = n->seen < s->n;
    for (; n->seen < s->n && max > 0; max--) {
        n->seen++;
        log_notify(&n->log, shared_entry(s, n->seen), 1);
    }
    return any;
}

void shared_next_append(struct shared_node *n, enum shared_fate fate) {
    n->next = fate;
}

static enum err_code open_node(const char *rest, const struct log_options *o, struct log **out,
                               struct err *e) {
    LIST_FOREACH (l, &stores) {
        struct shared_store *s = CONTAINER_OF(l, struct shared_store, link);
        if (strcmp(s->name, rest) == 0) {
            struct shared_node *n = MEM_NEW(struct shared_node);
            n->store = s;
            n->clock = o->clock;
            n->seen = s->n;
            n->heard = clock_mono(o->clock);
            snprintf(n->name, sizeof n->name, "%s", o->node);
            list_append(&s->nodes, &n->link);
            *out = &n->log;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_ABSENT, rest, "there is no such store");
}

static void close_node(struct log *log) {
    struct shared_node *n = node_of(log);
    list_remove(&n->link);
    mem_free(n);
}

static enum err_code reopen(struct log *log, struct err *e) {
    struct shared_node *n = node_of(log);
    if (n->cut) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "the store is out of reach");
    }
    n->in_doubt = false;
    n->fence = 0;
    shared_deliver(n, SIZE_MAX);
    return ERR_OK;
}

static void id(struct log *log, uint8_t out[LOG_ID_LEN]) {
    memset(out, 1, LOG_ID_LEN);
}

static uint64_t head(struct log *log) {
    return node_of(log)->seen;
}

static uint64_t node_config_head(struct log *log) {
    return config_head(node_of(log)->store, node_of(log)->seen);
}

static bool leads(const struct shared_node *n) {
    return n->fence != 0 && !n->in_doubt &&
           clock_mono(n->clock) < n->sent + n->ttl / WHOLE * OWN_PART;
}

static enum err_code acquire(struct log *log, struct log_lease *lease, struct err *e) {
    struct shared_node *n = node_of(log);
    struct shared_store *s = n->store;
    if (n->cut) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "the store is out of reach");
    }
    if (s->now < s->until && (n->fence == 0 || n->fence != s->fence)) {
        return err_set(e, ERR_LOCKED, NULL, "%s leads", s->leader);
    }
    lease->fence = n->fence = ++s->fence;
    s->until = s->now + lease->ttl_ns;
    snprintf(s->leader, sizeof s->leader, "%s", n->name);
    n->sent = clock_mono(n->clock);
    n->ttl = lease->ttl_ns;
    n->in_doubt = false;
    shared_deliver(n, SIZE_MAX);
    log_turned(log);
    return ERR_OK;
}

static enum err_code renew(struct log *log, const struct log_lease *lease, struct err *e) {
    struct shared_node *n = node_of(log);
    struct shared_store *s = n->store;
    if (n->cut) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "the store is out of reach");
    }
    if (lease->fence != s->fence || s->now >= s->until) {
        n->fence = 0;
        return err_set(e, ERR_UNAVAILABLE, NULL, "the lease is over");
    }
    s->until = s->now + n->ttl;
    n->sent = clock_mono(n->clock);
    return ERR_OK;
}

static enum err_code release(struct log *log, const struct log_lease *lease, struct err *e) {
    struct shared_node *n = node_of(log);
    if (!n->cut && lease->fence == n->store->fence) {
        n->store->until = 0;
    }
    n->fence = 0;
    return ERR_OK;
}

static enum err_code in_doubt(struct shared_node *n, struct err *e) {
    n->in_doubt = true;
    return err_set(e, ERR_UNAVAILABLE, NULL, "the store did not answer before the lease was over");
}

static enum err_code append(struct log *log, uint64_t expected_head, uint64_t fence,
                            struct log_entry *entries, size_t n, struct err *e) {
    struct shared_node *node = node_of(log);
    struct shared_store *s = node->store;
    enum shared_fate fate = node->cut ? SHARED_LOST : node->next;
    node->next = SHARED_DONE;
    if (node->in_doubt || fate == SHARED_LOST) {
        return in_doubt(node, e);
    }
    if (fate == SHARED_FULL) {
        return err_set(e, ERR_LIMIT, NULL, "the store's quota is used up");
    }
    struct late b = {.n = n, .expected_head = expected_head, .fence = fence};
    b.batch = mem_alloc(n * sizeof *b.batch);
    for (size_t i = 0; i < n; i++) {
        keep(&b.batch[i], &entries[i]);
    }
    if (fate == SHARED_LATE) {
        s->late = mem_array(s->late, s->n_late + 1, sizeof *s->late);
        s->late[s->n_late++] = b;
        return in_doubt(node, e);
    }
    enum err_code rc = commit(s, &b, e);
    if (rc != ERR_OK) {
        batch_free(b.batch, n);
        return rc;
    }
    mem_free(b.batch);
    if (fate == SHARED_ANSWER_LOST) {
        return in_doubt(node, e);
    }
    for (size_t i = 0; i < n; i++) {
        const struct log_entry *kept = shared_entry(s, s->n - n + i + 1);
        entries[i].index = kept->index;
        entries[i].fence = kept->fence;
        entries[i].prev_config = kept->prev_config;
    }
    node->seen = s->n;
    log_notify(log, entries, n);
    return ERR_OK;
}

static enum err_code read_entries(struct log *log, uint64_t from, uint64_t to, log_read_fn *each,
                                  void *arg, struct err *e) {
    const struct shared_node *n = node_of(log);
    uint64_t last = to < n->seen ? to : n->seen;
    for (uint64_t i = from > 0 ? from : 1; i <= last && each(shared_entry(n->store, i), arg); i++) {
    }
    return ERR_OK;
}

struct row {
    const struct log_op *op;
    uint64_t index;
    size_t at; /* in its entry */
};

static int compare(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    size_t n = x->op->key_len < y->op->key_len ? x->op->key_len : y->op->key_len;
    int by_bytes = memcmp(x->op->key, y->op->key, n);
    if (by_bytes != 0 || x->op->key_len != y->op->key_len) {
        return by_bytes != 0 ? by_bytes : x->op->key_len < y->op->key_len ? -1 : 1;
    }
    return x->index != y->index ? (x->index < y->index ? -1 : 1) : x->at < y->at ? -1 : 1;
}

static bool same_key(const struct log_op *a, const struct log_op *b) {
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

static enum err_code snapshot(struct log *log, enum log_space space, const void *prefix,
                              size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                              struct err *e) {
    const struct shared_node *node = node_of(log);
    struct row *rows = NULL;
    size_t n = 0, cap = 0;
    for (uint64_t i = 1; i <= node->seen; i++) {
        const struct log_entry *en = shared_entry(node->store, i);
        for (size_t k = 0; k < en->n_ops; k++) {
            const struct log_op *op = &en->ops[k];
            if (op->space != space || op->key_len < prefix_len ||
                memcmp(op->key, prefix, prefix_len) != 0) {
                continue;
            }
            if (n == cap) {
                cap = cap ? cap * 2 : 256;
                rows = mem_array(rows, cap, sizeof *rows);
            }
            rows[n++] = (struct row){op, i, k};
        }
    }
    if (n > 0) {
        qsort(rows, n, sizeof *rows, compare);
    }
    if (at != NULL) {
        *at = node->seen;
    }
    for (size_t i = 0; i < n; i++) {
        const struct log_op *op = rows[i].op;
        bool newest = i + 1 == n || !same_key(op, rows[i + 1].op);
        if (newest && op->value != NULL &&
            !each(op->key, op->key_len, op->value, op->value_len, rows[i].index, arg)) {
            break;
        }
    }
    mem_free(rows);
    return ERR_OK;
}

static enum err_code fold(struct log *log, size_t max_ops, size_t *left, struct err *e) {
    if (left != NULL) {
        *left = 0;
    }
    return ERR_OK;
}

static enum err_code trim(struct log *log, const struct log_keep *kept, uint64_t *dropped,
                          struct err *e) {
    return ERR_OK;
}

static void status(struct log *log, struct log_status *out) {
    const struct shared_node *n = node_of(log);
    *out = (struct log_status){.head = n->seen,
                               .folded = n->seen,
                               .oldest = n->seen > 0,
                               .fence = n->store->fence,
                               .needs_reopen = n->in_doubt,
                               .in_doubt = n->in_doubt};
    snprintf(out->reason, sizeof out->reason, "%s", n->in_doubt ? "the store did not answer" : "");
}

static enum err_code backup(struct log *log, const char *path, uint64_t *at, struct err *e) {
    return err_set(e, ERR_UNSUPPORTED, NULL, "there is nothing to copy");
}

static enum err_code check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                           struct err *e) {
    return ERR_OK;
}

static enum err_code restore(const char *path, const char *rest, struct err *e) {
    return err_set(e, ERR_UNSUPPORTED, NULL, "there is nothing to restore to");
}

static void turn(struct log *log, struct log_turn *out) {
    struct shared_node *n = node_of(log);
    if (!n->cut) {
        snprintf(n->leader, sizeof n->leader, "%s", shared_leader(n->store));
        n->heard = n->seen == n->store->n ? clock_mono(n->clock) : n->heard;
    }
    *out = (struct log_turn){.shared = true,
                             .leads = leads(n),
                             .reached = !n->cut,
                             .fence = n->store->fence,
                             .heard_ns = n->heard,
                             .until_ns = leads(n) ? n->sent + n->ttl / WHOLE * OWN_PART : 0};
    snprintf(out->leader, sizeof out->leader, "%s", n->leader);
}

static enum err_code announce(struct log *log, const void *about, size_t len, struct err *e) {
    return ERR_OK;
}

static enum err_code nodes(struct log *log, log_node_fn *each, void *arg, struct err *e) {
    const struct shared_node *self = node_of(log);
    LIST_FOREACH (l, &self->store->nodes) {
        const struct shared_node *n = CONTAINER_OF(l, struct shared_node, link);
        const struct log_node about = {.name = n->name,
                                       .about = (const uint8_t *)"",
                                       .leads = strcmp(shared_leader(n->store), n->name) == 0,
                                       .self = n == self};
        each(&about, arg);
    }
    return ERR_OK;
}

static const struct log_engine engine = {
    .scheme = "shared",
    .open = open_node,
    .close = close_node,
    .reopen = reopen,
    .restore = restore,
    .id = id,
    .head = head,
    .config_head = node_config_head,
    .lease_acquire = acquire,
    .lease_renew = renew,
    .lease_release = release,
    .append = append,
    .read = read_entries,
    .snapshot = snapshot,
    .fold = fold,
    .trim = trim,
    .status = status,
    .backup = backup,
    .check = check,
    .turn = turn,
    .announce = announce,
    .nodes = nodes,
};
