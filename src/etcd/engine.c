// SPDX-License-Identifier: Apache-2.0
#include "etcd/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "etcd/engine_int.h"
#include "log/entry.h"
#include "log/replica.h"

LOGGER_MODULE(etcd_engine)

static struct etcd_log *log_of(struct log *log) {
    return CONTAINER_OF(log, struct etcd_log, log);
}

/* ---- position ----------------------------------------------------------------------------------
 */

static void et_id(struct log *log, uint8_t out[LOG_ID_LEN]) {
    log_id(log_of(log)->rep, out);
}

static uint64_t et_head(struct log *log) {
    return log_of(log)->shown_head;
}

static uint64_t et_config_head(struct log *log) {
    return log_config_head(log_of(log)->rep);
}

static void et_turn(struct log *log, struct log_turn *out) {
    struct etcd_log *s = log_of(log);
    pthread_mutex_lock(&s->view_lock);
    *out = s->view;
    pthread_mutex_unlock(&s->view_lock);
    out->shared = true;
    if (out->leads && et_now() >= out->until_ns) {
        out->leads = false;
        out->until_ns = 0;
    }
}

/* ---- the lease ---------------------------------------------------------------------------------
 */

static enum err_code stale(struct etcd_log *s, uint64_t fence, struct err *e) {
    pthread_mutex_lock(&s->view_lock);
    uint64_t newest = s->view.fence;
    char leader[LOG_NODE_MAX + 1];
    snprintf(leader, sizeof leader, "%s", s->view.leader);
    pthread_mutex_unlock(&s->view_lock);
    return err_set(e, ERR_UNAVAILABLE, NULL,
                   "the right to write is gone: fence %" PRIu64 ", the newest is %" PRIu64
                   "; leading: %s",
                   fence, newest, leader[0] != '\0' ? leader : "nobody");
}

static void took(struct etcd_log *s, const struct looked *was, int64_t mod, int64_t sent_ns) {
    pthread_mutex_lock(&s->view_lock);
    s->leader_mod = mod;
    s->fence = was->head.fence_base + (uint64_t)mod;
    s->taken_ns = et_now();
    s->view.leads = true;
    s->view.reached = true;
    s->view.fence = s->fence;
    s->view.until_ns = sent_ns + LEADS_MS * NS_PER_MS;
    s->view.heard_ns = sent_ns;
    snprintf(s->view.leader, sizeof s->view.leader, "%s", s->node);
    pthread_mutex_unlock(&s->view_lock);
}

/* Puts `leader` in place of what `was` there. ERR_LOCKED: another one was faster. */
static enum err_code take(struct etcd_log *s, const struct looked *was, int64_t session,
                          int64_t *mod, struct err *e) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    char key[KEY_MAX];
    key_of(s, key, "leader");
    et_begin(&b);
    et_if_mod(&b, key, was->leader_mod);
    et_put_key(&b, key, s->node, strlen(s->node), session);
    enum err_code rc = etcd_txn(s->etcd, &b.q, false, APPEND_MS, &r, e);
    et_end(&b);
    ERR_TRY(rc);
    if (!r->succeeded) {
        rc = err_set(e, ERR_LOCKED, NULL, "another node has begun to lead");
    }
    *mod = r->header->revision;
    weft__etcd__txn_response__free_unpacked(r, NULL);
    return rc;
}

/* Parts of a batch whose append never came to its end. */
static void sweep(struct etcd_log *s) {
    char from[KEY_MAX], to[KEY_MAX];
    struct err e;
    key_of(s, from, "q/%016" PRIx64, s->head.index + 1);
    key_of(s, to, "q0");
    if (key_delete_range(s, from, to, &e) != ERR_OK) {
        L_WARN("what a former leader has left in etcd was not swept: %s", e.text);
    }
}

static enum err_code acquire_locked(struct etcd_log *s, struct log_lease *lease, struct err *e) {
    struct looked was;
    int64_t session, sent, mod;
    if (s->broken) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "the log must be opened again: %s", s->reason);
    }
    ERR_TRY(et_renew(s, &session, &sent, e)); /* so that leading has its full time */
    ERR_TRY(et_look(s, CALL_MS, &was, e));
    et_view_update(s, &was);
    /* What bears our name is ours: a former run of this node, whose copy we hold locked. */
    if (was.leader_mod != 0 && strcmp(was.leader, s->node) != 0) {
        return err_set(e, ERR_LOCKED, NULL, "node %s leads", was.leader);
    }
    ERR_TRY(take(s, &was, session, &mod, e));
    /* From here on nobody else appends. */
    struct looked now;
    ERR_TRY(et_look(s, CALL_MS, &now, e));
    if (now.leader_mod != mod || memcmp(now.head.id, s->head.id, LOG_ID_LEN) != 0) {
        return err_set(e, ERR_LOCKED, NULL, "node %s leads",
                       now.leader[0] != '\0' ? now.leader : "(nobody)");
    }
    ERR_TRY(et_catch_up(s, &now.head, e));
    if (log_head(s->rep) != now.head.index) {
        et_break(s, "this node's copy is ahead of etcd");
        return err_set(e, ERR_CONFLICT, NULL, "%s", s->reason);
    }
    s->head = now.head;
    s->shown_head = now.head.index;
    sweep(s);
    took(s, &now, mod, sent);
    lease->fence = now.head.fence_base + (uint64_t)mod;
    return ERR_OK;
}

static enum err_code et_lease_acquire(struct log *log, struct log_lease *lease, struct err *e) {
    struct etcd_log *s = log_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = acquire_locked(s, lease, e);
    pthread_mutex_unlock(&s->lock);
    if (rc == ERR_OK) {
        L_INFO("node %s leads, with fence %" PRIu64, s->node, lease->fence);
        log_turned(log);
    }
    return rc;
}

static enum err_code et_lease_renew(struct log *log, const struct log_lease *lease, struct err *e) {
    struct etcd_log *s = log_of(log);
    struct mine m = et_mine(s);
    return m.leads && m.fence == lease->fence ? ERR_OK : stale(s, lease->fence, e);
}

static enum err_code et_lease_release(struct log *log, const struct log_lease *lease,
                                      struct err *e) {
    struct etcd_log *s = log_of(log);
    struct mine m = et_mine(s);
    if (!m.leads || m.fence != lease->fence) {
        return stale(s, lease->fence, e);
    }
    pthread_mutex_lock(&s->lock); /* no append is under way */
    et_lost_lease(s);
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    char key[KEY_MAX];
    key_of(s, key, "leader");
    et_begin(&b);
    et_if_mod(&b, key, m.leader_mod);
    et_del_key(&b, key);
    enum err_code rc = etcd_txn(s->etcd, &b.q, true, CALL_MS, &r, e);
    et_end(&b);
    if (rc == ERR_OK) {
        weft__etcd__txn_response__free_unpacked(r, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- appending ---------------------------------------------------------------------------------
 */

static void stamp(struct etcd_log *s, uint64_t fence, struct log_entry *entries, size_t n) {
    uint64_t config = log_config_head(s->rep);
    int64_t now = clock_wall(s->log.clock);
    for (size_t i = 0; i < n; i++) {
        entries[i].index = s->head.index + 1 + i;
        entries[i].fence = fence;
        entries[i].prev_config = config;
        entries[i].who = entries[i].who ? entries[i].who : "";
        entries[i].why = entries[i].why ? entries[i].why : "";
        if (entries[i].time_ns == 0) {
            entries[i].time_ns = now;
        }
        config = log_entry_has_config(&entries[i]) ? entries[i].index : config;
    }
}

/* The value of e/INDEX; what is too large for it goes into parts first. */
static enum err_code encode_batch(struct etcd_log *s, const struct mine *m,
                                  const struct log_entry *entries, size_t n, struct buf *value,
                                  size_t *bytes, struct err *e) {
    struct buf row = BUF_INIT, parts = BUF_INIT;
    enum err_code rc = ERR_OK;
    uint64_t n_parts = 0;
    buf_u8(value, 0);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&row);
        log_entry_encode(&row, &entries[i]);
        buf_blob(value, row.data, row.len);
    }
    buf_free(&row);
    *bytes = value->len;
    if (value->len > ET_BATCH_MAX) { /* more than a follower takes */
        return err_set(e, ERR_TOO_BIG, "batch", "%zu bytes; at most %d are allowed", value->len,
                       ET_BATCH_MAX);
    }
    if (value->len <= ETCD_VALUE_MAX) {
        return ERR_OK;
    }
    for (size_t at = 1; at < value->len && rc == ERR_OK; n_parts++) {
        size_t piece = value->len - at < ETCD_VALUE_MAX ? value->len - at : ETCD_VALUE_MAX;
        char key[KEY_MAX];
        key_of(s, key, "q/%016" PRIx64 "/%016" PRIx64 "/%08" PRIx64, entries[0].index, m->fence,
               n_parts);
        rc = key_put(s, key, value->data + at, piece, 0, e);
        at += piece;
    }
    buf_u8(&parts, 1);
    buf_var(&parts, m->fence);
    buf_var(&parts, n_parts);
    buf_free(value);
    *value = parts;
    return rc;
}

enum outcome { APPENDED, NOT_APPENDED, NOBODY_KNOWS };

/* Is what stands at e/INDEX what we wanted to write there? */
static bool is_ours(struct etcd_log *s, uint64_t index, const struct buf *value, bool *known) {
    struct buf there = BUF_INIT;
    char key[KEY_MAX];
    bool found = false;
    struct err e;
    key_of(s, key, "e/%016" PRIx64, index);
    *known = key_get(s, key, &there, &found, &e) == ERR_OK;
    bool same = *known && found && there.len == value->len &&
                memcmp(there.data, value->data, value->len) == 0;
    buf_free(&there);
    return same;
}

/* Moves the head's revision, so that the append can't come true any more. False: not done, or not
 * known to be. */
static bool void_append(struct etcd_log *s, const struct mine *m) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    struct buf value = BUF_INIT;
    char key[KEY_MAX];
    struct err e;
    head_encode(&s->head, &value);
    et_begin(&b);
    key_of(s, key, "leader");
    et_if_mod(&b, key, m->leader_mod);
    key_of(s, key, "head");
    et_if_mod(&b, key, s->head.mod);
    et_put_key(&b, key, value.data, value.len, 0);
    bool done = etcd_txn(s->etcd, &b.q, false, APPEND_MS, &r, &e) == ERR_OK;
    et_end(&b);
    buf_free(&value);
    if (done) {
        done = r->succeeded;
        s->head.mod = done ? r->header->revision : s->head.mod;
        weft__etcd__txn_response__free_unpacked(r, NULL);
    }
    return done;
}

/* etcd did not answer, or not as hoped: finds out what became of the append to `upto`. */
static enum outcome find_out(struct etcd_log *s, const struct mine *m, uint64_t upto,
                             const struct buf *value) {
    struct looked l;
    struct err e;
    bool known;
    do {
        if (et_look(s, CALL_MS, &l, &e) != ERR_OK) {
            continue;
        }
        et_view_update(s, &l);
        if (l.leader_mod != m->leader_mod) { /* it can't come true any more */
            bool ours = l.head.mod != s->head.mod && is_ours(s, s->head.index + 1, value, &known);
            if (l.head.mod == s->head.mod || known) {
                return ours ? APPENDED : NOT_APPENDED;
            }
        } else if (l.head.mod == s->head.mod) {
            if (void_append(s, m)) {
                return NOT_APPENDED;
            }
        } else {
            bool done = l.head.index == upto;
            s->head.mod = l.head.mod;
            return done ? APPENDED : NOT_APPENDED;
        }
    } while (et_now() < m->until_ns);
    return NOBODY_KNOWS;
}

static enum outcome write_batch(struct etcd_log *s, const struct mine *m, uint64_t upto,
                                const struct buf *value, struct err *e) {
    struct head next = s->head;
    struct buf head = BUF_INIT;
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    char key[KEY_MAX];
    next.index = upto;
    head_encode(&next, &head);
    et_begin(&b);
    key_of(s, key, "leader");
    et_if_mod(&b, key, m->leader_mod);
    key_of(s, key, "head");
    et_if_mod(&b, key, s->head.mod);
    et_put_key(&b, key, head.data, head.len, 0);
    key_of(s, key, "e/%016" PRIx64, s->head.index + 1);
    et_put_key(&b, key, value->data, value->len, 0);
    enum err_code rc = etcd_txn(s->etcd, &b.q, false, APPEND_MS, &r, e);
    et_end(&b);
    buf_free(&head);
    if (rc == ERR_OK) {
        bool done = r->succeeded;
        s->head.mod = done ? r->header->revision : s->head.mod;
        weft__etcd__txn_response__free_unpacked(r, NULL);
        return done ? APPENDED : find_out(s, m, upto, value);
    }
    if (rc != ERR_UNAVAILABLE && rc != ERR_MALFORMED) {
        return NOT_APPENDED; /* refused, and `e` says why */
    }
    e->code = ERR_UNAVAILABLE;
    return find_out(s, m, upto, value);
}

/* It is true: here as well. */
static void appended(struct etcd_log *s, const struct log_entry *entries, size_t n, size_t bytes) {
    struct err e;
    s->head.index += n;
    s->appends++;
    s->base_bytes += bytes;
    if (log_replica_append(s->rep, entries, n, &e) != ERR_OK) {
        char why[256];
        snprintf(why, sizeof why, "this node's copy can't be written: %.200s", e.text);
        et_break(s, why);
    }
    s->shown_head = s->head.index;
    log_notify(&s->log, entries, n);
}

static enum err_code append_locked(struct etcd_log *s, uint64_t expected_head, uint64_t fence,
                                   struct log_entry *entries, size_t n, struct err *e) {
    struct mine m = et_mine(s);
    struct buf value = BUF_INIT;
    size_t bytes;
    struct err why = {.code = ERR_OK};
    if (s->broken) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "the log must be opened again: %s", s->reason);
    }
    if (!m.leads || fence != m.fence) {
        return stale(s, fence, e);
    }
    if (s->head.index != expected_head) {
        return err_set(e, ERR_CONFLICT, NULL,
                       "the log has moved on: its head is %" PRIu64 ", not %" PRIu64, s->head.index,
                       expected_head);
    }
    struct log_entry *stamped = mem_alloc(n * sizeof *stamped);
    memcpy(stamped, entries, n * sizeof *stamped);
    stamp(s, fence, stamped, n);
    enum err_code rc = encode_batch(s, &m, stamped, n, &value, &bytes, e);
    if (rc == ERR_OK) {
        switch (write_batch(s, &m, expected_head + n, &value, &why)) {
        case APPENDED:
            appended(s, stamped, n, bytes);
            memcpy(entries, stamped, n * sizeof *stamped);
            break;
        case NOT_APPENDED:
            rc = why.code != ERR_OK ? err_set(e, why.code, NULL, "%s", why.text)
                                    : stale(s, fence, e);
            break;
        case NOBODY_KNOWS:
            s->in_doubt = true;
            et_break(s, "etcd did not answer, and nobody knows whether the last batch is there");
            et_lost_lease(s);
            rc = err_set(e, ERR_UNAVAILABLE, NULL, "%s", s->reason);
        }
    }
    mem_free(stamped);
    buf_free(&value);
    return rc;
}

static enum err_code et_append(struct log *log, uint64_t expected_head, uint64_t fence,
                               struct log_entry *entries, size_t n, struct err *e) {
    struct etcd_log *s = log_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = append_locked(s, expected_head, fence, entries, n, e);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- what the copy answers ---------------------------------------------------------------------
 */

static enum err_code et_read(struct log *log, uint64_t from, uint64_t to, log_read_fn *each,
                             void *arg, struct err *e) {
    return log_read(log_of(log)->rep, from, to, each, arg, e);
}

static enum err_code et_snapshot(struct log *log, enum log_space space, const void *prefix,
                                 size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                                 struct err *e) {
    return log_snapshot(log_of(log)->rep, space, prefix, prefix_len, at, each, arg, e);
}

static enum err_code et_fold(struct log *log, size_t max_ops, size_t *left, struct err *e) {
    struct etcd_log *s = log_of(log);
    struct err ignore;
    ERR_TRY(log_fold(s->rep, max_ops, left, e));
    if (base_care(s, &ignore) != ERR_OK) {
        L_WARN_RL(60, "no new base was written to etcd: %s", ignore.text);
    }
    return ERR_OK;
}

static enum err_code et_trim(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                             struct err *e) {
    return log_trim(log_of(log)->rep, keep, dropped, e);
}

static void et_status(struct log *log, struct log_status *out) {
    struct etcd_log *s = log_of(log);
    log_status(s->rep, out);
    pthread_mutex_lock(&s->lock);
    out->head = s->shown_head;
    out->needs_reopen = out->needs_reopen || s->broken;
    out->in_doubt = s->in_doubt;
    if (s->broken) {
        snprintf(out->reason, sizeof out->reason, "%s", s->reason);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->view_lock);
    out->fence = s->view.fence;
    pthread_mutex_unlock(&s->view_lock);
}

static enum err_code et_backup(struct log *log, const char *path, uint64_t *at, struct err *e) {
    return log_backup(log_of(log)->rep, path, at, e);
}

/* ---- the check: the copy, and whether it is what etcd has --------------------------------------
 */

struct compared {
    struct etcd_log *s;
    struct buf ours, theirs;
    bool differs;
    log_finding_fn *finding;
    void *arg;
    size_t n; /* findings */
    uint64_t next, head;
};

static bool compare_entry(const struct log_entry *entry, void *arg) {
    struct compared *c = arg;
    buf_clear(&c->ours);
    log_entry_encode(&c->ours, entry);
    c->differs =
        c->ours.len != c->theirs.len || memcmp(c->ours.data, c->theirs.data, c->ours.len) != 0;
    return true;
}

/* The rows of one batch; those that stand in parts are left to their checksums. */
static enum err_code compare_batch(struct compared *c, const Weft__Etcd__KeyValue *kv,
                                   struct err *e) {
    uint64_t index = et_batch_index(c->s, &kv->key);
    struct cur v = cur_of(kv->value.data, kv->value.len);
    if (index < c->next || cur_left(&v) == 0) {
        return err_set(e, ERR_MALFORMED, NULL,
                       "etcd gives no entry where %" PRIu64 " was asked for", c->next);
    }
    c->next = index;
    if (cur_u8(&v) != 0) {
        c->next++;
        return ERR_OK;
    }
    for (; cur_left(&v) > 0 && c->next <= c->head; c->next++) {
        struct cur row = cur_blob(&v);
        buf_clear(&c->theirs);
        buf_add(&c->theirs, row.p, cur_left(&row));
        c->differs = false; /* and stays so when the copy was trimmed of it */
        ERR_TRY(log_read(c->s->rep, c->next, c->next, compare_entry, c, e));
        if ((c->differs || v.bad) && c->n++ < LOG_FINDINGS_MAX && c->finding != NULL) {
            char where[64];
            snprintf(where, sizeof where, "entry %" PRIu64, c->next);
            c->finding(where, "this node's copy is not what etcd has", c->arg);
        }
        if (v.bad) {
            break;
        }
    }
    c->next = c->next > index ? c->next : index + 1;
    return ERR_OK;
}

static enum err_code et_check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                              struct err *e) {
    struct etcd_log *s = log_of(log);
    struct compared c = {.s = s, .finding = finding, .arg = arg};
    struct log_status st;
    bool more = true;
    ERR_TRY(log_check(s->rep, finding, arg, &c.n, e));
    log_status(s->rep, &st);
    enum err_code rc = ERR_OK;
    c.next = st.oldest;
    c.head = st.head;
    while (rc == ERR_OK && more && c.next > 0 && c.next <= c.head) {
        Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
        Weft__Etcd__RangeResponse *r;
        char from[KEY_MAX], to[KEY_MAX];
        key_of(s, from, "e/%016" PRIx64, c.next);
        key_of(s, to, "e0");
        q.key = etcd_bytes(from, strlen(from));
        q.range_end = etcd_bytes(to, strlen(to));
        q.limit = 1;
        rc = etcd_range(s->etcd, &q, CALL_MS, &r, e);
        if (rc == ERR_OK) {
            more = r->n_kvs > 0;
            rc = more ? compare_batch(&c, r->kvs[0], e) : ERR_OK;
            weft__etcd__range_response__free_unpacked(r, NULL);
        }
    }
    buf_free(&c.ours);
    buf_free(&c.theirs);
    if (findings != NULL) {
        *findings = c.n;
    }
    return rc;
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

static enum err_code et_announce(struct log *log, const void *about, size_t len, struct err *e) {
    struct etcd_log *s = log_of(log);
    (void)e;
    pthread_mutex_lock(&s->view_lock);
    mem_free(s->about);
    s->about = mem_alloc(len + 1);
    memcpy(s->about, about, len);
    s->about_len = len;
    s->announce = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->view_lock);
    return ERR_OK;
}

struct telling {
    const char *self, *leader;
    log_node_fn *each;
    void *arg;
};

static void tell_node(const char *name, const Weft__Etcd__KeyValue *kv, void *arg) {
    const struct telling *t = arg;
    if (strlen(name) > LOG_NODE_MAX || kv->value.len < NODE_HEAD) {
        return;
    }
    const struct log_node node = {.name = name,
                                  .about = kv->value.data + NODE_HEAD,
                                  .about_len = kv->value.len - NODE_HEAD,
                                  .leads = strcmp(name, t->leader) == 0,
                                  .self = strcmp(name, t->self) == 0};
    t->each(&node, t->arg);
}

static enum err_code et_nodes(struct log *log, log_node_fn *each, void *arg, struct err *e) {
    struct etcd_log *s = log_of(log);
    struct looked l;
    ERR_TRY(et_look(s, CALL_MS, &l, e));
    struct telling t = {.self = s->node, .leader = l.leader, .each = each, .arg = arg};
    return key_each(s, "node", tell_node, &t, e);
}

/* Everything below the store's name, if we still lead; but which one it was is kept, so that nodes
 * know their copies of it for what they are. */
static enum err_code et_remove(struct log *log, uint64_t fence, struct err *e) {
    struct etcd_log *s = log_of(log);
    struct mine m = et_mine(s);
    if (!m.leads || m.fence != fence) {
        return stale(s, fence, e);
    }
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    struct buf former = BUF_INIT;
    char key[KEY_MAX], end[KEY_MAX];
    ERR_TRY(et_former(s, &former, e));
    buf_consume(&former, former.len >= FORMER_MAX * LOG_ID_LEN ? LOG_ID_LEN : 0);
    pthread_mutex_lock(&s->lock); /* no append is under way */
    et_lost_lease(s);
    buf_add(&former, s->head.id, LOG_ID_LEN);
    key_of(s, key, "leader");
    et_begin(&b);
    et_if_mod(&b, key, m.leader_mod);
    key_of(s, key, "%s", "");
    key_of(s, end, "former");
    et_del_range(&b, key, end);
    key_of(s, key, "formerly"); /* the next key in order that could be there */
    int n = key_of(s, end, "%s", "");
    end[n - 1]++; /* behind the slash that all its keys begin with */
    et_del_range(&b, key, end);
    key_of(s, key, "former");
    et_put_key(&b, key, former.data, former.len, 0);
    enum err_code rc = etcd_txn(s->etcd, &b.q, false, CALL_MS, &r, e);
    et_end(&b);
    buf_free(&former);
    if (rc == ERR_OK) {
        rc = r->succeeded ? ERR_OK : stale(s, fence, e);
        weft__etcd__txn_response__free_unpacked(r, NULL);
        snprintf(s->reason, sizeof s->reason, "the store was taken away");
        s->broken = true; /* as was asked for: nothing to be alarmed about */
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

const struct log_engine log_etcd = {
    .scheme = "etcd",
    .open = etcd_log_open,
    .started = etcd_log_started,
    .stop = etcd_log_stop,
    .close = etcd_log_close,
    .reopen = etcd_log_reopen,
    .restore = etcd_log_restore,
    .id = et_id,
    .head = et_head,
    .config_head = et_config_head,
    .lease_acquire = et_lease_acquire,
    .lease_renew = et_lease_renew,
    .lease_release = et_lease_release,
    .append = et_append,
    .read = et_read,
    .snapshot = et_snapshot,
    .fold = et_fold,
    .trim = et_trim,
    .status = et_status,
    .backup = et_backup,
    .check = et_check,
    .turn = et_turn,
    .announce = et_announce,
    .nodes = et_nodes,
    .members = et_members,
    .remove = et_remove,
};
