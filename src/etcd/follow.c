// SPDX-License-Identifier: Apache-2.0
/* The lease, whose turn it is, and what other nodes have appended. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "etcd/engine_int.h"
#include "log/entry.h"
#include "log/replica.h"

LOGGER_MODULE(etcd_log)

enum {
    BATCHES_AT_ONCE = 16,
    ANNOUNCE_MS = 2000,
    NODE_VERSION = 1,
    NAME_MS = 2000,     /* between two looks at our own key */
    NAMESAKE_LOOKS = 60 /* it is said again after so many */
};

int64_t et_now(void) {
    return clock_mono(&clock_real);
}

/* ---- whose turn it is --------------------------------------------------------------------------
 */

struct mine et_mine(struct etcd_log *s) {
    pthread_mutex_lock(&s->view_lock);
    struct mine m = {.leads = s->view.leads && et_now() < s->view.until_ns,
                     .fence = s->fence,
                     .leader_mod = s->leader_mod,
                     .until_ns = s->view.until_ns,
                     .session = s->session};
    pthread_mutex_unlock(&s->view_lock);
    return m;
}

void et_lost_lease(struct etcd_log *s) {
    pthread_mutex_lock(&s->view_lock);
    bool led = s->view.leads;
    s->view.leads = false;
    s->view.until_ns = 0;
    pthread_mutex_unlock(&s->view_lock);
    if (led) {
        L_WARN("node %s no longer leads", s->node);
        log_turned(&s->log);
    }
}

void et_break(struct etcd_log *s, const char *why) {
    L_ERR("%s takes no more entries until it is opened again: %s", s->prefix, why);
    snprintf(s->reason, sizeof s->reason, "%s", why);
    s->broken = true;
}

enum err_code et_look(struct etcd_log *s, int64_t ms, struct looked *out, struct err *e) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    char key[KEY_MAX];
    memset(out, 0, sizeof *out);
    out->asked_ns = et_now();
    et_begin(&b);
    key_of(s, key, "head");
    et_get_key(&b, true, key);
    key_of(s, key, "leader");
    et_get_key(&b, true, key);
    enum err_code rc = etcd_txn(s->etcd, &b.q, true, ms, &r, e);
    et_end(&b);
    ERR_TRY(rc);
    const Weft__Etcd__KeyValue *head = et_got(r, 0), *leader = et_got(r, 1);
    if (head == NULL) {
        rc = err_set(e, ERR_ABSENT, NULL, "there is no store %s in etcd", s->prefix);
    } else {
        rc = head_decode(head, &out->head, e);
    }
    if (rc == ERR_OK && leader != NULL) {
        size_t n = leader->value.len < LOG_NODE_MAX ? leader->value.len : LOG_NODE_MAX;
        if (n > 0) {
            memcpy(out->leader, leader->value.data, n);
        }
        out->leader_mod = leader->mod_revision;
        out->leader_lease = leader->lease;
    }
    weft__etcd__txn_response__free_unpacked(r, NULL);
    return rc;
}

void et_view_update(struct etcd_log *s, const struct looked *l) {
    pthread_mutex_lock(&s->view_lock);
    struct log_turn before = s->view;
    s->view.reached = true;
    s->view.heard_ns = l->asked_ns > s->view.heard_ns ? l->asked_ns : s->view.heard_ns;
    if (l->asked_ns > s->taken_ns) {
        snprintf(s->view.leader, sizeof s->view.leader, "%s", l->leader);
        if (l->leader_mod != 0) {
            s->view.fence = l->head.fence_base + (uint64_t)l->leader_mod;
        }
        if (s->view.leads && l->leader_mod != s->leader_mod) {
            s->view.leads = false;
            s->view.until_ns = 0;
        }
    }
    bool turned = before.reached != s->view.reached || before.leads != s->view.leads ||
                  before.fence != s->view.fence || strcmp(before.leader, s->view.leader) != 0;
    pthread_mutex_unlock(&s->view_lock);
    if (!before.reached) {
        L_INFO("etcd is reached again");
    }
    if (turned) {
        log_turned(&s->log);
    }
}

static void not_reached(struct etcd_log *s, const struct err *why) {
    pthread_mutex_lock(&s->view_lock);
    bool was = s->view.reached;
    s->view.reached = false;
    pthread_mutex_unlock(&s->view_lock);
    if (was) {
        L_WARN("etcd is not reached: %s", why->text);
        log_turned(&s->log);
    }
}

/* ---- batches of others -------------------------------------------------------------------------
 */

struct batch {
    struct buf rows; /* blobs */
    struct log_decoded *decoded;
    struct log_entry *entries;
    size_t n, cap;
};

static void batch_free(struct batch *b) {
    for (size_t i = 0; i < b->cap; i++) {
        log_decoded_free(&b->decoded[i]);
    }
    mem_free(b->decoded);
    mem_free(b->entries);
    buf_free(&b->rows);
}

static enum err_code get_parts(struct etcd_log *s, uint64_t index, struct cur *c, struct buf *out,
                               struct err *e) {
    uint64_t fence = cur_var(c), parts = cur_var(c);
    struct buf part = BUF_INIT;
    enum err_code rc = ERR_OK;
    for (uint64_t i = 0; i < parts && rc == ERR_OK && !c->bad; i++) {
        char key[KEY_MAX];
        bool found = false;
        key_of(s, key, "q/%016" PRIx64 "/%016" PRIx64 "/%08" PRIx64, index, fence, i);
        rc = key_get(s, key, &part, &found, e);
        if (rc == ERR_OK && part.len == 0) {
            rc = err_set(e, ERR_MALFORMED, NULL,
                         "part %" PRIu64 " of entry %" PRIu64 " is missing in etcd", i, index);
        }
        buf_add(out, part.data, part.len);
        if (rc == ERR_OK && out->len > ET_BATCH_MAX) {
            rc = err_set(e, ERR_MALFORMED, NULL, "entry %" PRIu64 " in etcd is too large", index);
        }
    }
    buf_free(&part);
    return rc;
}

/* The entries of the batch at `index`. */
static enum err_code batch_decode(struct etcd_log *s, uint64_t index, const uint8_t *p, size_t n,
                                  struct batch *b, struct err *e) {
    struct cur c = cur_of(p, n);
    uint8_t form = cur_u8(&c);
    buf_clear(&b->rows);
    b->n = 0;
    if (form == 0) {
        buf_add(&b->rows, c.p, cur_left(&c));
    } else if (form == 1) {
        ERR_TRY(get_parts(s, index, &c, &b->rows, e));
    } else {
        return err_set(e, ERR_UNSUPPORTED, NULL,
                       "entry %" PRIu64 " in etcd was written by a newer Weft", index);
    }
    c = cur_of(b->rows.data, b->rows.len);
    while (cur_left(&c) > 0 && !c.bad && b->n < LOG_BATCH_MAX) {
        struct cur row = cur_blob(&c);
        if (b->n == b->cap) {
            size_t cap = b->cap ? b->cap * 2 : 16;
            b->decoded = mem_array(b->decoded, cap, sizeof *b->decoded);
            b->entries = mem_array(b->entries, cap, sizeof *b->entries);
            memset(b->decoded + b->cap, 0, (cap - b->cap) * sizeof *b->decoded);
            b->cap = cap;
        }
        ERR_TRY(log_entry_decode(row.p, cur_left(&row), index + b->n, &b->decoded[b->n], e));
        b->entries[b->n] = b->decoded[b->n].entry;
        b->n++;
    }
    return !c.bad && cur_left(&c) == 0 && b->n > 0
               ? ERR_OK
               : err_set(e, ERR_MALFORMED, NULL, "entry %" PRIu64 " in etcd is damaged", index);
}

uint64_t et_batch_index(const struct etcd_log *s, const ProtobufCBinaryData *key) {
    char text[17] = "";
    size_t skip = strlen(s->prefix) + 2;
    if (key->len != skip + 16) {
        return 0;
    }
    memcpy(text, key->data + skip, 16);
    return strtoull(text, NULL, 16);
}

static enum err_code take_batch(struct etcd_log *s, const Weft__Etcd__KeyValue *kv, struct batch *b,
                                struct err *e) {
    uint64_t index = et_batch_index(s, &kv->key), want = log_head(s->rep) + 1;
    if (index != want) {
        char text[128];
        snprintf(text, sizeof text,
                 "this node was away for too long: it needs entry %" PRIu64
                 ", and the oldest in etcd is %" PRIu64 "; start it again",
                 want, index);
        et_break(s, text);
        return err_set(e, ERR_CONFLICT, NULL, "%s", text);
    }
    ERR_TRY(batch_decode(s, index, kv->value.data, kv->value.len, b, e));
    ERR_TRY(log_replica_append(s->rep, b->entries, b->n, e));
    s->head.index = log_head(s->rep);
    s->shown_head = s->head.index;
    log_notify(&s->log, b->entries, b->n);
    return ERR_OK;
}

enum err_code et_catch_up(struct etcd_log *s, const struct head *h, struct err *e) {
    struct batch b = {.n = 0};
    int64_t at_once = BATCHES_AT_ONCE;
    enum err_code rc = ERR_OK;
    while (rc == ERR_OK && log_head(s->rep) < h->index) {
        char from[KEY_MAX], to[KEY_MAX];
        Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
        Weft__Etcd__RangeResponse *r;
        key_of(s, from, "e/%016" PRIx64, log_head(s->rep) + 1);
        key_of(s, to, "e0");
        q.key = etcd_bytes(from, strlen(from));
        q.range_end = etcd_bytes(to, strlen(to));
        q.limit = at_once;
        rc = etcd_range(s->etcd, &q, CALL_MS, &r, e);
        if (rc == ERR_LIMIT && at_once > 1) { /* larger than one message of ours */
            at_once = 1;
            rc = ERR_OK;
            continue;
        }
        if (rc != ERR_OK) {
            break;
        }
        if (r->n_kvs == 0) {
            rc = err_set(e, ERR_CONFLICT, NULL,
                         "entry %" PRIu64 " is missing in etcd, whose head is %" PRIu64,
                         log_head(s->rep) + 1, h->index);
        }
        for (size_t i = 0; i < r->n_kvs && rc == ERR_OK; i++) {
            rc = take_batch(s, r->kvs[i], &b, e);
        }
        weft__etcd__range_response__free_unpacked(r, NULL);
        at_once = BATCHES_AT_ONCE;
    }
    batch_free(&b);
    return rc;
}

/* ---- the keeper --------------------------------------------------------------------------------
 */

static void renewed(struct etcd_log *s, int64_t session, int64_t sent_ns) {
    pthread_mutex_lock(&s->view_lock);
    s->announce = s->announce || session != s->session;
    s->session = session;
    if (s->view.leads) {
        s->view.until_ns = sent_ns + LEADS_MS * NS_PER_MS;
    }
    pthread_mutex_unlock(&s->view_lock);
}

static void session_over(struct etcd_log *s) {
    pthread_mutex_lock(&s->view_lock);
    s->session = 0;
    pthread_mutex_unlock(&s->view_lock);
    et_lost_lease(s);
}

enum err_code et_renew(struct etcd_log *s, int64_t *session, int64_t *sent_ns, struct err *e) {
    pthread_mutex_lock(&s->session_lock);
    int64_t sent = et_now(), id = et_mine(s).session;
    if (id != 0 && sent - s->renewed_ns >= LEADS_MS * NS_PER_MS) {
        /* What we send may still arrive, where only the answers are lost: then we would keep a
         * right to lead that we don't know of, and nobody else could have it. */
        session_over(s);
        id = 0;
    }
    enum err_code rc = id != 0 ? etcd_keep_alive(s->etcd, id, RENEW_MS, e) : ERR_ABSENT;
    if (rc == ERR_ABSENT) {
        if (id != 0) {
            session_over(s);
        }
        sent = et_now();
        rc = etcd_grant(s->etcd, SESSION_TTL_S, CALL_MS, &id, e);
    }
    if (rc == ERR_OK) {
        renewed(s, id, sent);
        s->renewed_ns = sent;
    }
    pthread_mutex_unlock(&s->session_lock);
    if (session != NULL) {
        *session = id;
    }
    if (sent_ns != NULL) {
        *sent_ns = sent;
    }
    return rc;
}

static void announce(struct etcd_log *s) {
    struct buf value = BUF_INIT;
    char key[KEY_MAX];
    struct err e;
    key_of(s, key, "node/%s", s->node);
    buf_u8(&value, NODE_VERSION);
    buf_u64(&value, s->shown_head);
    pthread_mutex_lock(&s->view_lock);
    int64_t session = s->session;
    buf_add(&value, s->about, s->about_len);
    s->announce = false;
    pthread_mutex_unlock(&s->view_lock);
    if (session != 0 && key_put(s, key, value.data, value.len, session, &e) == ERR_OK) {
        s->announced_lease = session;
    } else if (session != 0) {
        pthread_mutex_lock(&s->view_lock);
        s->announce = true;
        pthread_mutex_unlock(&s->view_lock);
        if (e.code == ERR_ABSENT) { /* etcd: no such lease */
            session_over(s);
        }
    }
    buf_free(&value);
}

/* Does another controller call itself as we do? Then our key stands under its lease. It is written
 * anew, so that the other one sees it too; once is no proof, since what an earlier process of this
 * node sent may come late. */
static void mind_the_name(struct etcd_log *s) {
    char key[KEY_MAX], other[256];
    Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
    Weft__Etcd__RangeResponse *r;
    struct err e;
    key_of(s, key, "node/%s", s->node);
    q.key = etcd_bytes(key, strlen(key));
    if (s->announced_lease == 0 || etcd_range(s->etcd, &q, CALL_MS, &r, &e) != ERR_OK) {
        return;
    }
    const Weft__Etcd__KeyValue *kv = r->n_kvs > 0 ? r->kvs[0] : NULL;
    bool ours = kv == NULL || kv->lease == s->announced_lease;
    s->namesakes = ours ? 0 : s->namesakes + 1;
    if (s->namesakes == 2 || (s->namesakes > 0 && s->namesakes % NAMESAKE_LOOKS == 0)) {
        size_t n = kv->value.len > NODE_HEAD ? kv->value.len - NODE_HEAD : 0;
        text_linef(other, sizeof other, "%.*s", (int)(n < sizeof other ? n : sizeof other - 1),
                   n > 0 ? (const char *)kv->value.data + NODE_HEAD : "");
        L_ERR(
            "another controller calls itself %s as well (%s): stop one of them and give it a name "
            "of its own (node in weftd.conf)",
            s->node, other);
    }
    pthread_mutex_lock(&s->view_lock);
    s->announce = s->announce || !ours;
    pthread_mutex_unlock(&s->view_lock);
    weft__etcd__range_response__free_unpacked(r, NULL);
}

/* Is our own time over? Others may not lead for 1.6 s yet. */
static void mind_the_clock(struct etcd_log *s) {
    pthread_mutex_lock(&s->view_lock);
    bool over = s->view.leads && et_now() >= s->view.until_ns;
    pthread_mutex_unlock(&s->view_lock);
    if (over) {
        et_lost_lease(s);
    }
}

static void look_around(struct etcd_log *s) {
    struct looked l;
    struct err e;
    enum err_code rc = et_look(s, et_mine(s).leads ? RENEW_MS : CALL_MS, &l, &e);
    if (rc != ERR_OK) {
        if (rc == ERR_UNAVAILABLE) {
            not_reached(s, &e);
        } else {
            L_WARN_RL(10, "%s: %s", s->prefix, e.text);
        }
        return;
    }
    et_view_update(s, &l);
    if (l.head.index <= s->shown_head || et_mine(s).leads) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (!s->broken && memcmp(l.head.id, s->head.id, LOG_ID_LEN) != 0) {
        et_break(s, "another store has taken the place of ours in etcd");
    }
    rc = s->broken ? ERR_OK : et_catch_up(s, &l.head, &e);
    pthread_mutex_unlock(&s->lock);
    if (rc != ERR_OK) {
        L_WARN_RL(10, "%s: what others wrote could not be read: %s", s->prefix, e.text);
    }
}

/* Waits for LOOK_MS, or until somebody wants something; false: the end. */
static bool keeper_waits(struct etcd_log *s, bool *asked) {
    int64_t due = et_now() + LOOK_MS * NS_PER_MS;
    const struct timespec until = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S};
    pthread_mutex_lock(&s->view_lock);
    if (!s->stop && !(s->announce && s->session != 0)) {
        pthread_cond_timedwait(&s->wake, &s->view_lock, &until);
    }
    bool go_on = !s->stop;
    *asked = s->announce && s->session != 0;
    pthread_mutex_unlock(&s->view_lock);
    return go_on;
}

void *et_keeper(void *arg) {
    struct etcd_log *s = arg;
    int64_t renew_at = 0, look_at = 0, announce_at = 0, name_at = 0;
    uint64_t announced = 0;
    bool asked = true;
    struct err e;
    do {
        int64_t now = et_now();
        if (now >= renew_at) {
            renew_at = now + RENEW_MS * NS_PER_MS;
            if (et_renew(s, NULL, NULL, &e) != ERR_OK) {
                not_reached(s, &e);
            }
        }
        mind_the_clock(s);
        if (asked || (s->shown_head != announced && now >= announce_at)) {
            announced = s->shown_head;
            announce_at = now + ANNOUNCE_MS * NS_PER_MS;
            announce(s);
        }
        if (now >= name_at) {
            name_at = now + NAME_MS * NS_PER_MS;
            mind_the_name(s);
        }
        if (now >= look_at) {
            look_at = now + (et_mine(s).leads ? RENEW_MS : LOOK_MS) * NS_PER_MS;
            look_around(s);
        }
    } while (keeper_waits(s, &asked));
    return NULL;
}
