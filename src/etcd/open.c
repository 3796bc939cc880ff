// SPDX-License-Identifier: Apache-2.0
/* Opening a store in etcd: which copy belongs to it, and what is missing there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "etcd/engine_int.h"

LOGGER_MODULE(etcd_open)

/* ---- the store ---------------------------------------------------------------------------------
 */

/* Makes it when it is not there; several nodes may try at once. */
static enum err_code create(struct etcd_log *s, const struct head *h, const struct buf *base,
                            bool *made, struct err *e) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    struct buf value = BUF_INIT;
    char key[KEY_MAX];
    head_encode(h, &value);
    et_begin(&b);
    key_of(s, key, "head");
    et_if_mod(&b, key, 0);
    et_put_key(&b, key, value.data, value.len, 0);
    if (base != NULL) {
        key_of(s, key, "base");
        et_put_key(&b, key, base->data, base->len, 0);
    }
    enum err_code rc = etcd_txn(s->etcd, &b.q, false, CALL_MS, &r, e);
    et_end(&b);
    buf_free(&value);
    ERR_TRY(rc);
    *made = r->succeeded;
    weft__etcd__txn_response__free_unpacked(r, NULL);
    return ERR_OK;
}

/* What etcd says; a store that is not there is made, unless it must exist. */
static enum err_code find_store(struct etcd_log *s, const struct log_options *o, struct looked *l,
                                struct err *e) {
    enum err_code rc = et_look(s, CALL_MS, l, e);
    if (rc != ERR_ABSENT || o->must_exist) {
        return rc;
    }
    if (access(s->replica, F_OK) == 0) {
        return err_set(e, ERR_CONFLICT, s->replica,
                       "this node has a copy of a store, but there is no store %s in etcd: a new "
                       "one begins without a copy (weftd migrate brings a store into etcd)",
                       s->prefix);
    }
    struct head h = {.index = 0};
    bool made;
    rng_secure(h.id, sizeof h.id);
    ERR_TRY(create(s, &h, NULL, &made, e));
    return et_look(s, CALL_MS, l, e);
}

/* ---- the copy ----------------------------------------------------------------------------------
 */

static enum err_code open_copy(struct etcd_log *s, const struct log_options *o, const uint8_t *id,
                               struct err *e) {
    struct log_options ro = *o;
    char *url = mem_printf("sqlite:%s", s->replica);
    ro.sqlite_id = id;
    ro.sqlite_lazy = true;
    ro.must_exist = id == NULL;
    enum err_code rc = log_open(url, &ro, &s->rep, e);
    mem_free(url);
    return rc;
}

static enum err_code match_copy(struct etcd_log *s, const struct head *h, struct err *e) {
    uint8_t id[LOG_ID_LEN];
    log_id(s->rep, id);
    if (memcmp(id, h->id, LOG_ID_LEN) != 0) {
        return err_set(e, ERR_CONFLICT, s->replica,
                       "this file is a copy of another store than %s in etcd (restored anew, or "
                       "never the same): move it away, and the node makes itself a new one",
                       s->prefix);
    }
    if (log_head(s->rep) > h->index) {
        return err_set(e, ERR_CONFLICT, s->replica,
                       "this node's copy has %" PRIu64 " entries and etcd only %" PRIu64
                       ": etcd has lost some (was an old snapshot of it restored?); the copy is "
                       "left as it is",
                       log_head(s->rep), h->index);
    }
    return ERR_OK;
}

/* Can what is missing be read as entries? */
static enum err_code entries_reach(struct etcd_log *s, uint64_t from, bool *yes, struct err *e) {
    Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
    Weft__Etcd__RangeResponse *r;
    char key[KEY_MAX];
    key_of(s, key, "e/%016" PRIx64, from);
    q.key = etcd_bytes(key, strlen(key));
    q.count_only = true;
    ERR_TRY(etcd_range(s->etcd, &q, CALL_MS, &r, e));
    *yes = r->count > 0;
    weft__etcd__range_response__free_unpacked(r, NULL);
    return ERR_OK;
}

/* Its files; `as`: kept as REPLICA.`as`, in the place of what was kept before; NULL: not kept. */
static void remove_copy(struct etcd_log *s, const char *as) {
    static const char *const suffixes[] = {"-wal",        "-shm",    "-tables-wal",
                                           "-tables-shm", "-tables", ""};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *name = mem_printf("%s%s", s->replica, suffixes[i]);
        char *kept = mem_printf("%s.%s%s", s->replica, as != NULL ? as : "", suffixes[i]);
        if (as != NULL) {
            unlink(kept);
        }
        if (as == NULL || (rename(name, kept) != 0 && errno != ENOENT)) {
            unlink(name);
        }
        mem_free(name);
        mem_free(kept);
    }
}

/* Is the copy one of a store that was taken away, for another one to be restored? Then it is put
 * aside. */
static enum err_code put_former_aside(struct etcd_log *s, const struct head *h, bool *aside,
                                      struct err *e) {
    uint8_t id[LOG_ID_LEN];
    struct buf former = BUF_INIT;
    log_id(s->rep, id);
    enum err_code rc = memcmp(id, h->id, LOG_ID_LEN) != 0 ? et_former(s, &former, e) : ERR_OK;
    for (size_t at = 0; rc == ERR_OK && at < former.len && !*aside; at += LOG_ID_LEN) {
        *aside = memcmp(former.data + at, id, LOG_ID_LEN) == 0;
    }
    buf_free(&former);
    if (rc == ERR_OK && *aside) {
        L_WARN("%s is a copy of the store that was there before a restore: it is kept as "
               "%s.former, and made anew",
               s->replica, s->replica);
        log_close(s->rep);
        s->rep = NULL;
        remove_copy(s, "former");
    }
    return rc;
}

/* The copy that is there. Appends don't sync it, so after a power failure its parts may not fit
 * together, its tables being ahead of its log or behind what was trimmed; that, and damage, is no
 * loss as long as etcd has the store. `*made_anew`: it was of no use, there is none now. */
static enum err_code open_old_copy(struct etcd_log *s, const struct log_options *o,
                                   const struct head *h, bool *made_anew, struct err *e) {
    enum err_code rc = open_copy(s, o, NULL, e);
    if (rc == ERR_OK) {
        return put_former_aside(s, h, made_anew, e);
    }
    *made_anew = rc == ERR_MALFORMED || rc == ERR_INVALID; /* INVALID: no database at all */
    if (*made_anew) {
        L_WARN("%s: %s. etcd has the store: the copy is kept as %s.damaged, and made anew",
               e->path[0] != '\0' ? e->path : s->replica, e->text, s->replica);
        remove_copy(s, "damaged");
        rc = ERR_OK;
    }
    return rc;
}

/* Opens the copy that belongs to the store, made from the base where that is needed. */
static enum err_code bring_copy(struct etcd_log *s, const struct log_options *o,
                                const struct head *h, struct err *e) {
    bool reach = true, anew = access(s->replica, F_OK) != 0;
    ERR_TRY(base_known(s, e));
    if (!anew) {
        ERR_TRY(open_old_copy(s, o, h, &anew, e));
    }
    if (anew) {
        if (s->base_index > 0) {
            ERR_TRY(base_adopt(s, h->id, e));
        }
        ERR_TRY(open_copy(s, o, h->id, e));
    }
    ERR_TRY(match_copy(s, h, e));
    if (log_head(s->rep) < h->index) {
        ERR_TRY(entries_reach(s, log_head(s->rep) + 1, &reach, e));
    }
    if (!reach && s->base_index > log_head(s->rep)) { /* it was away for too long */
        log_close(s->rep);
        s->rep = NULL;
        remove_copy(s, NULL);
        ERR_TRY(base_adopt(s, h->id, e));
        ERR_TRY(open_copy(s, o, NULL, e));
    }
    s->head = *h;
    s->head.index = log_head(s->rep);
    s->shown_head = s->head.index;
    return et_catch_up(s, h, e);
}

/* ---- open and close ----------------------------------------------------------------------------
 */

static enum err_code set_node(struct etcd_log *s, const char *node, struct err *e) {
    char host[256] = "";
    if (node == NULL) {
        gethostname(host, sizeof host - 1);
        node = host;
    }
    size_t n = strlen(node);
    if (n == 0 || n > LOG_NODE_MAX || strspn(node, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n) {
        return err_set(e, ERR_INVALID, "node",
                       "\"%.80s\" is no name of a node: 1 to %d of a-z, 0-9, . and -", node,
                       LOG_NODE_MAX);
    }
    memcpy(s->node, node, n + 1);
    return ERR_OK;
}

static struct etcd_log *new_log(void) {
    struct etcd_log *s = MEM_NEW(struct etcd_log);
    pthread_condattr_t attr;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->session_lock, NULL);
    pthread_mutex_init(&s->view_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

static void free_log(struct etcd_log *s) {
    log_close(s->rep);
    etcd_close(s->etcd);
    mem_free(s->about);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->view_lock);
    pthread_mutex_destroy(&s->session_lock);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static enum err_code connect_etcd(struct etcd_log *s, const char *rest, struct err *e) {
    ERR_TRY(etcd_url_parse(rest, &s->url, e));
    snprintf(s->prefix, sizeof s->prefix, "/weft/%s/", s->url.name);
    snprintf(s->replica, sizeof s->replica, "%s", s->url.replica);
    return etcd_open(&s->url, &s->etcd, e);
}

static bool take_time(const struct log_entry *entry, void *arg) {
    *(int64_t *)arg = entry->time_ns;
    return true;
}

/* ns since what the copy holds was the newest for sure: when its last entry was written. */
static int64_t age_of_copy(struct etcd_log *s) {
    int64_t now = clock_wall(&clock_real), at = 0;
    struct err e;
    if (log_read(s->rep, s->head.index, s->head.index, take_time, &at, &e) != ERR_OK) {
        L_WARN("the copy's last entry can't be read: %s", e.text);
    }
    return now > at ? now - at : 0;
}

static enum err_code open_here(struct etcd_log *s, const struct log_options *o, struct err *e) {
    struct looked l;
    enum err_code rc = find_store(s, o, &l, e);
    if (rc == ERR_UNAVAILABLE && access(s->replica, F_OK) == 0) {
        L_WARN("etcd is not reached (%s): the node starts with what its copy has", e->text);
        ERR_TRY(open_copy(s, o, NULL, e));
        log_id(s->rep, s->head.id);
        s->head.index = log_head(s->rep);
        s->shown_head = s->head.index;
        int64_t age = age_of_copy(s);
        s->view.heard_ns = et_now() - age;
        return ERR_OK;
    }
    ERR_TRY(rc);
    ERR_TRY(bring_copy(s, o, &l.head, e));
    s->head.mod = l.head.mod;
    s->head.fence_base = l.head.fence_base;
    s->view.reached = true;
    s->view.heard_ns = l.asked_ns;
    s->view.fence = l.leader_mod ? l.head.fence_base + (uint64_t)l.leader_mod : 0;
    snprintf(s->view.leader, sizeof s->view.leader, "%s", l.leader);
    return ERR_OK;
}

enum err_code etcd_log_open(const char *rest, const struct log_options *options, struct log **out,
                            struct err *err) {
    struct etcd_log *s = new_log();
    enum err_code rc;
    /* What log_open does again for all engines: our own thread may tell watchers before. */
    pthread_mutex_init(&s->log.watch_lock, NULL);
    list_init(&s->log.watches);
    s->log.clock = options->clock ? options->clock : &clock_real;
    ERR_GOTO(rc, set_node(s, options->node, err), failed);
    ERR_GOTO(rc, connect_etcd(s, rest, err), failed);
    ERR_GOTO(rc, open_here(s, options, err), failed);
    *out = &s->log;
    return ERR_OK;
failed:
    free_log(s);
    return rc;
}

enum err_code etcd_log_started(struct log *log, struct err *err) {
    struct etcd_log *s = CONTAINER_OF(log, struct etcd_log, log);
    s->announce = true;
    if (pthread_create(&s->keeper, NULL, et_keeper, s) != 0) {
        return err_set(err, ERR_LIMIT, NULL, "the thread that keeps the lease could not be made");
    }
    pthread_setname_np(s->keeper, "etcd-keeper");
    s->keeping = true;
    return ERR_OK;
}

void etcd_log_stop(struct log *log) {
    struct etcd_log *s = CONTAINER_OF(log, struct etcd_log, log);
    pthread_mutex_lock(&s->view_lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->view_lock);
    if (s->keeping) {
        pthread_join(s->keeper, NULL);
        s->keeping = false;
    }
}

void etcd_log_close(struct log *log) {
    struct etcd_log *s = CONTAINER_OF(log, struct etcd_log, log);
    struct err ignore;
    if (s->session != 0 && s->view.reached) { /* others need not wait for its end */
        etcd_revoke(s->etcd, s->session, APPEND_MS, &ignore);
    }
    free_log(s);
}

/* ---- again, after trouble ----------------------------------------------------------------------
 */

static enum err_code reopen_locked(struct etcd_log *s, struct err *e) {
    struct log_status st;
    struct looked l;
    log_status(s->rep, &st);
    if (st.needs_reopen) {
        ERR_TRY(log_reopen(s->rep, e));
    }
    ERR_TRY(et_look(s, CALL_MS, &l, e));
    et_view_update(s, &l);
    ERR_TRY(match_copy(s, &l.head, e));
    bool was = s->broken;
    s->broken = false;
    s->head.index = log_head(s->rep);
    enum err_code rc = et_catch_up(s, &l.head, e);
    s->broken = s->broken || (rc != ERR_OK && was);
    if (rc == ERR_OK) {
        s->in_doubt = false;
        s->reason[0] = '\0';
    }
    return rc;
}

enum err_code etcd_log_reopen(struct log *log, struct err *err) {
    struct etcd_log *s = CONTAINER_OF(log, struct etcd_log, log);
    et_lost_lease(s);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = reopen_locked(s, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- restore -----------------------------------------------------------------------------------
 */

static enum err_code restore_here(struct etcd_log *s, const char *path, struct err *e) {
    struct looked l;
    enum err_code rc = et_look(s, CALL_MS, &l, e);
    if (rc == ERR_OK) {
        return err_set(e, ERR_EXISTS, NULL, "there is a store %s in etcd already", s->prefix);
    }
    if (rc != ERR_ABSENT) {
        return rc;
    }
    char *url = mem_printf("sqlite:%s", s->replica);
    rc = log_restore(path, url, e);
    if (rc == ERR_OK) {
        rc = log_open(url, NULL, &s->rep, e);
    }
    mem_free(url);
    ERR_TRY(rc);
    struct log_status st;
    struct head h = {.index = log_head(s->rep)};
    struct buf base = BUF_INIT;
    bool made = false;
    log_status(s->rep, &st);
    log_id(s->rep, h.id);
    h.fence_base = st.fence;
    rc = base_upload(s, path, h.index, st.fence, &base, e);
    if (rc == ERR_OK) {
        rc = create(s, &h, &base, &made, e);
    }
    buf_free(&base);
    return rc != ERR_OK || made
               ? rc
               : err_set(e, ERR_EXISTS, NULL, "somebody made the store %s meanwhile", s->prefix);
}

enum err_code etcd_log_restore(const char *path, const char *rest, struct err *err) {
    struct etcd_log *s = new_log();
    enum err_code rc = access(path, R_OK) == 0
                           ? connect_etcd(s, rest, err)
                           : err_set(err, errno == ENOENT ? ERR_ABSENT : ERR_IO, path,
                                     "there is no such backup, or it can't be read");
    if (rc == ERR_OK) {
        bool had = access(s->replica, F_OK) == 0;
        rc = restore_here(s, path, err);
        if (rc != ERR_OK && !had) {
            log_close(s->rep);
            s->rep = NULL;
            remove_copy(s, NULL);
        }
    }
    free_log(s);
    return rc;
}
