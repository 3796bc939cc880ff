// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "etcd/engine_int.h"

enum {
    HEAD_VERSION = 1,
    KEYS_AT_ONCE = 8, /* what a node says of itself is at most 64 KiB, and a message 1 MiB */
};

int key_of(const struct etcd_log *s, char out[KEY_MAX], const char *fmt, ...) {
    int n = snprintf(out, KEY_MAX, "%s", s->prefix);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(out + n, (size_t)(KEY_MAX - n), fmt, ap);
    va_end(ap);
    return n;
}

void head_encode(const struct head *h, struct buf *out) {
    buf_u8(out, HEAD_VERSION);
    buf_add(out, h->id, LOG_ID_LEN);
    buf_u64(out, h->index);
    buf_u64(out, h->fence_base);
}

enum err_code head_decode(const Weft__Etcd__KeyValue *kv, struct head *out, struct err *e) {
    struct cur c = cur_of(kv->value.data, kv->value.len);
    if (cur_u8(&c) != HEAD_VERSION) {
        return err_set(e, c.bad ? ERR_MALFORMED : ERR_UNSUPPORTED, NULL,
                       "the store in etcd is damaged, or was written by a newer Weft");
    }
    const uint8_t *id = cur_bytes(&c, LOG_ID_LEN);
    if (id != NULL) {
        memcpy(out->id, id, LOG_ID_LEN);
    }
    out->index = cur_u64(&c);
    out->fence_base = cur_u64(&c);
    out->mod = kv->mod_revision;
    return !c.bad && out->mod > 0
               ? ERR_OK
               : err_set(e, ERR_MALFORMED, NULL, "the head of the store in etcd is damaged");
}

enum err_code et_former(struct etcd_log *s, struct buf *out, struct err *e) {
    Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
    Weft__Etcd__RangeResponse *r;
    char key[KEY_MAX];
    key_of(s, key, "former");
    q.key = etcd_bytes(key, strlen(key));
    ERR_TRY(etcd_range(s->etcd, &q, CALL_MS, &r, e));
    size_t n = r->n_kvs > 0 ? r->kvs[0]->value.len : 0;
    bool good = n % LOG_ID_LEN == 0 && n <= FORMER_MAX * LOG_ID_LEN;
    if (good && n > 0) {
        buf_add(out, r->kvs[0]->value.data, n);
    }
    weft__etcd__range_response__free_unpacked(r, NULL);
    return good ? ERR_OK
                : err_set(e, ERR_MALFORMED, NULL, "%sformer in etcd is damaged", s->prefix);
}

/* ---- transactions -----------------------------------------------------------------------------
 */

void et_begin(struct et_txn *b) {
    memset(b, 0, sizeof *b);
    b->arena = arena_new();
    weft__etcd__txn_request__init(&b->q);
    b->q.compare = b->compares;
    b->q.success = b->success;
    b->q.failure = b->failure;
}

void et_end(struct et_txn *b) {
    arena_free(b->arena);
}

static ProtobufCBinaryData key_bytes(struct et_txn *b, const char *key) {
    return etcd_bytes(arena_strdup(b->arena, key), strlen(key));
}

void et_if_mod(struct et_txn *b, const char *key, int64_t mod) {
    Weft__Etcd__Compare *c = arena_alloc(b->arena, sizeof *c);
    weft__etcd__compare__init(c);
    c->key = key_bytes(b, key);
    c->result = WEFT__ETCD__COMPARE__RESULT__EQUAL;
    c->target = WEFT__ETCD__COMPARE__TARGET__MOD;
    c->target_union_case = WEFT__ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
    c->mod_revision = mod;
    b->compares[b->q.n_compare++] = c;
}

void et_put_key(struct et_txn *b, const char *key, const void *value, size_t n, int64_t lease) {
    Weft__Etcd__RequestOp *op = arena_alloc(b->arena, sizeof *op);
    Weft__Etcd__PutRequest *p = arena_alloc(b->arena, sizeof *p);
    weft__etcd__request_op__init(op);
    weft__etcd__put_request__init(p);
    p->key = key_bytes(b, key);
    p->value = etcd_bytes(n > 0 ? memcpy(arena_alloc(b->arena, n), value, n) : "", n);
    p->lease = lease;
    op->request_case = WEFT__ETCD__REQUEST_OP__REQUEST_PUT;
    op->put = p;
    b->success[b->q.n_success++] = op;
}

void et_del_key(struct et_txn *b, const char *key) {
    et_del_range(b, key, NULL);
}

void et_del_range(struct et_txn *b, const char *from, const char *to) {
    Weft__Etcd__RequestOp *op = arena_alloc(b->arena, sizeof *op);
    Weft__Etcd__DeleteRangeRequest *d = arena_alloc(b->arena, sizeof *d);
    weft__etcd__request_op__init(op);
    weft__etcd__delete_range_request__init(d);
    d->key = key_bytes(b, from);
    if (to != NULL) {
        d->range_end = key_bytes(b, to);
    }
    op->request_case = WEFT__ETCD__REQUEST_OP__REQUEST_DELETE_RANGE;
    op->delete_range = d;
    b->success[b->q.n_success++] = op;
}

void et_get_key(struct et_txn *b, bool on_success, const char *key) {
    Weft__Etcd__RequestOp *op = arena_alloc(b->arena, sizeof *op);
    Weft__Etcd__RangeRequest *r = arena_alloc(b->arena, sizeof *r);
    weft__etcd__request_op__init(op);
    weft__etcd__range_request__init(r);
    r->key = key_bytes(b, key);
    op->request_case = WEFT__ETCD__REQUEST_OP__REQUEST_RANGE;
    op->range = r;
    if (on_success) {
        b->success[b->q.n_success++] = op;
    } else {
        b->failure[b->q.n_failure++] = op;
    }
}

const Weft__Etcd__KeyValue *et_got(const Weft__Etcd__TxnResponse *r, size_t n) {
    const Weft__Etcd__ResponseOp *op = n < r->n_responses ? r->responses[n] : NULL;
    return op != NULL && op->response_case == WEFT__ETCD__RESPONSE_OP__RESPONSE_RANGE &&
                   op->range->n_kvs > 0
               ? op->range->kvs[0]
               : NULL;
}

/* ---- single keys -------------------------------------------------------------------------------
 */

enum err_code key_put(struct etcd_log *s, const char *key, const void *value, size_t n,
                      int64_t lease, struct err *e) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    et_begin(&b);
    et_put_key(&b, key, value, n, lease);
    enum err_code rc = etcd_txn(s->etcd, &b.q, true, CALL_MS, &r, e);
    et_end(&b);
    if (rc == ERR_OK) {
        weft__etcd__txn_response__free_unpacked(r, NULL);
    }
    return rc;
}

enum err_code key_delete_range(struct etcd_log *s, const char *from, const char *to,
                               struct err *e) {
    struct et_txn b;
    Weft__Etcd__TxnResponse *r;
    et_begin(&b);
    et_del_key(&b, from);
    b.success[0]->delete_range->range_end = etcd_bytes(to, strlen(to));
    enum err_code rc = etcd_txn(s->etcd, &b.q, true, CALL_MS, &r, e);
    et_end(&b);
    if (rc == ERR_OK) {
        weft__etcd__txn_response__free_unpacked(r, NULL);
    }
    return rc;
}

enum err_code key_get(struct etcd_log *s, const char *key, struct buf *out, bool *found,
                      struct err *e) {
    Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
    Weft__Etcd__RangeResponse *r;
    q.key = etcd_bytes(key, strlen(key));
    buf_clear(out);
    ERR_TRY(etcd_range(s->etcd, &q, CALL_MS, &r, e));
    *found = r->n_kvs > 0;
    if (*found) {
        buf_add(out, r->kvs[0]->value.data, r->kvs[0]->value.len);
    }
    weft__etcd__range_response__free_unpacked(r, NULL);
    return ERR_OK;
}

/* What an answer adds to `from`: the keys have to grow, or we would ask for ever. */
static enum err_code take_page(const Weft__Etcd__RangeResponse *r, size_t skip, char from[KEY_MAX],
                               key_each_fn *each, void *arg, struct err *e) {
    for (size_t i = 0; i < r->n_kvs; i++) {
        const Weft__Etcd__KeyValue *kv = r->kvs[i];
        char name[KEY_MAX];
        size_t n = kv->key.len < skip ? 0 : kv->key.len - skip;
        if (n == 0 || kv->key.len + 2 > KEY_MAX || memcmp(kv->key.data, from, skip) != 0 ||
            memchr(kv->key.data, '\0', kv->key.len) != NULL) {
            return err_set(e, ERR_MALFORMED, NULL, "etcd answers with a key nobody asked for");
        }
        memcpy(name, kv->key.data + skip, n);
        name[n] = '\0';
        if (strcmp(name, from + skip) < 0) {
            return err_set(e, ERR_MALFORMED, NULL, "etcd answers with keys out of their order");
        }
        each(name, kv, arg);
        /* The next one there may be: this key with the smallest byte that keys have behind it. */
        memcpy(from + skip, name, n);
        memcpy(from + skip + n, "\x01", 2);
    }
    return ERR_OK;
}

enum err_code key_each(struct etcd_log *s, const char *folder, key_each_fn *each, void *arg,
                       struct err *e) {
    char from[KEY_MAX], to[KEY_MAX];
    size_t skip = (size_t)key_of(s, from, "%s/", folder);
    key_of(s, to, "%s0", folder); /* behind the slash */
    for (bool more = true; more;) {
        Weft__Etcd__RangeRequest q = WEFT__ETCD__RANGE_REQUEST__INIT;
        Weft__Etcd__RangeResponse *r;
        q.key = etcd_bytes(from, strlen(from));
        q.range_end = etcd_bytes(to, strlen(to));
        q.limit = KEYS_AT_ONCE;
        ERR_TRY(etcd_range(s->etcd, &q, CALL_MS, &r, e));
        enum err_code rc = take_page(r, skip, from, each, arg, e);
        more = r->n_kvs >= KEYS_AT_ONCE;
        weft__etcd__range_response__free_unpacked(r, NULL);
        ERR_TRY(rc);
    }
    return ERR_OK;
}
