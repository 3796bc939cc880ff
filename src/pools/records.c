// SPDX-License-Identifier: Apache-2.0
/*
 * The stored form of pools' state. Keys and values are binary and compact: a pool's record is about
 * 25 bytes. Every value begins with its version; a decoder takes exactly the bytes it was given or
 * refuses, and never trusts a length.
 */
#include <string.h>

#include "pools/internal.h"

enum {
    REC_VERSION = 1,
    ANSWER_VERSION = 2, /* 1: with its pools */
    /* Of domains, pools and samples: 1 is IPv4, and counts of 32 bits. What is IPv4 is written as
     * it always was. */
    WIDE_VERSION = 2,
};

static void key_start(struct rec_key *k, char letter) {
    memcpy(k->bytes, "pools/", 6);
    k->bytes[6] = letter;
    k->len = 7;
}

static void key_be32(struct rec_key *k, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        k->bytes[k->len++] = (char)(v >> shift);
    }
}

static void key_bytes(struct rec_key *k, const char *s, size_t n) {
    size_t room = sizeof k->bytes - k->len;
    n = n < room ? n : room;
    memcpy(k->bytes + k->len, s, n);
    k->len += n;
}

struct rec_key rec_key_id(char letter, uint32_t id) {
    struct rec_key k;
    key_start(&k, letter);
    key_be32(&k, id);
    return k;
}

struct rec_key rec_key_pool(uint32_t domain, uint32_t ordinal) {
    struct rec_key k = rec_key_id(REC_POOL, domain);
    key_be32(&k, ordinal);
    return k;
}

struct rec_key rec_key_alarm(uint32_t domain, enum alarm_type type) {
    struct rec_key k = rec_key_id(REC_ALARM, domain);
    k.bytes[k.len++] = (char)type;
    return k;
}

struct rec_key rec_key_answer(uint32_t entity, const char *alarm_id) {
    struct rec_key k = rec_key_id(REC_ANSWER, entity);
    key_bytes(&k, alarm_id, strlen(alarm_id));
    return k;
}

struct rec_key rec_key_retiring(const char *partition, const struct ip_prefix *p) {
    struct rec_key k;
    key_start(&k, REC_RETIRING);
    key_bytes(&k, partition, strlen(partition) + 1);
    key_bytes(&k, (const char *)p->addr.bytes, p->addr.family == 6 ? 16 : 4);
    k.bytes[k.len++] = (char)p->len;
    return k;
}

struct rec_key rec_key_sample(const char *partition, unsigned slot) {
    struct rec_key k;
    key_start(&k, REC_SAMPLE);
    key_bytes(&k, partition, strlen(partition) + 1);
    k.bytes[k.len++] = (char)(slot >> 8);
    k.bytes[k.len++] = (char)slot;
    return k;
}

/* ---- values ---------------------------------------------------------------------------------- */

static enum err_code version_upto(struct cur *c, uint8_t newest, uint8_t *out, struct err *e) {
    uint8_t v = cur_u8(c);
    if (c->bad || v == 0) {
        return err_set(e, ERR_MALFORMED, NULL, "the record is empty or damaged");
    }
    if (v > newest) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "the record is of version %u, this is version %u",
                       v, newest);
    }
    *out = v;
    return ERR_OK;
}

static enum err_code version_check(struct cur *c, struct err *e) {
    uint8_t v;
    return version_upto(c, REC_VERSION, &v, e);
}

static enum err_code finish(const struct cur *c, const char *what, struct err *e) {
    if (c->bad || cur_left(c) != 0) {
        return err_set(e, ERR_MALFORMED, NULL, "the %s record is damaged", what);
    }
    return ERR_OK;
}

static void put_time(struct buf *b, int64_t s) {
    buf_var(b, s > 0 ? (uint64_t)s : 0);
}

/* Seconds since 1970: a value beyond the year 9999 is damage. */
static int64_t get_time(struct cur *c) {
    uint64_t v = cur_var(c);
    if (v > UINT64_C(253402300799)) {
        c->bad = true;
        return 0;
    }
    return (int64_t)v;
}

static char *get_text(struct cur *c, size_t max) {
    struct cur peek = *c;
    struct cur blob = cur_blob(&peek);
    if (peek.bad || cur_left(&blob) > max) {
        c->bad = true;
        return NULL;
    }
    return cur_blob_strdup(c);
}

static uint32_t get_u32(struct cur *c) {
    uint64_t v = cur_var(c);
    if (v > UINT32_MAX) {
        c->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

void entity_rec_encode(const struct entity_rec *r, struct buf *out) {
    buf_u8(out, REC_VERSION);
    buf_blob_str(out, r->system_id);
    buf_blob_str(out, r->address);
    buf_blob_str(out, r->software);
    buf_u8(out, r->kind);
    buf_u8(out, r->security);
    buf_u8(out, r->version);
    buf_var(out, r->boot_epoch);
    put_time(out, r->first_s);
}

enum err_code entity_rec_decode(const void *p, size_t n, struct entity_rec *r, struct err *e) {
    *r = (struct entity_rec){.kind = 0};
    struct cur c = cur_of(p, n);
    ERR_TRY(version_check(&c, e));
    r->system_id = get_text(&c, POOLS_SYSTEM_ID_MAX);
    r->address = get_text(&c, 256);
    r->software = get_text(&c, 256);
    r->kind = cur_u8(&c);
    r->security = cur_u8(&c);
    r->version = cur_u8(&c);
    r->boot_epoch = cur_var(&c);
    r->first_s = get_time(&c);
    enum err_code rc = finish(&c, "entity", e);
    if (rc == ERR_OK && (r->system_id[0] == '\0' || r->security > SECURITY_MUTUAL)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the entity record is damaged");
    }
    if (rc != ERR_OK) {
        entity_rec_free(r);
    }
    return rc;
}

void entity_rec_free(struct entity_rec *r) {
    mem_free(r->system_id);
    mem_free(r->address);
    mem_free(r->software);
    *r = (struct entity_rec){.kind = 0};
}

void domain_rec_encode(const struct domain_rec *r, struct buf *out) {
    buf_u8(out, r->family == 6 ? WIDE_VERSION : REC_VERSION);
    buf_var(out, r->entity);
    buf_blob_str(out, r->name);
    buf_blob_str(out, r->partition);
    buf_blob_str(out, r->profile);
    buf_blob_str(out, r->group);
    buf_blob_str(out, r->instance);
    buf_u8(out, r->preferred_len);
    buf_var(out, r->next_seq);
    buf_var(out, r->next_ordinal);
    put_time(out, r->created_s);
    if (r->family == 6) {
        buf_u8(out, r->unit);
    }
}

enum err_code domain_rec_decode(const void *p, size_t n, struct domain_rec *r, struct err *e) {
    *r = (struct domain_rec){.entity = 0};
    struct cur c = cur_of(p, n);
    uint8_t version;
    ERR_TRY(version_upto(&c, WIDE_VERSION, &version, e));
    r->family = version == 1 ? 4 : 6;
    r->entity = get_u32(&c);
    r->name = get_text(&c, POOLS_NAME_MAX);
    r->partition = get_text(&c, POOLS_NAME_MAX);
    r->profile = get_text(&c, POOLS_NAME_MAX);
    r->group = get_text(&c, POOLS_NAME_MAX);
    r->instance = get_text(&c, POOLS_NAME_MAX);
    r->preferred_len = cur_u8(&c);
    r->next_seq = get_u32(&c);
    r->next_ordinal = get_u32(&c);
    r->created_s = get_time(&c);
    r->unit = version == 1 ? 32 : cur_u8(&c);
    enum err_code rc = finish(&c, "domain", e);
    if (rc == ERR_OK && (r->name[0] == '\0' || r->preferred_len > r->unit || r->unit < 1 ||
                         r->unit > ip_bits(r->family))) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the domain record is damaged");
    }
    if (rc != ERR_OK) {
        domain_rec_free(r);
    }
    return rc;
}

void domain_rec_free(struct domain_rec *r) {
    mem_free(r->name);
    mem_free(r->partition);
    mem_free(r->profile);
    mem_free(r->group);
    mem_free(r->instance);
    *r = (struct domain_rec){.entity = 0};
}

void pool_rec_encode(const struct pool_rec *r, struct buf *out) {
    bool wide = r->prefix.addr.family == 6;
    buf_u8(out, wide ? WIDE_VERSION : REC_VERSION);
    buf_add(out, r->prefix.addr.bytes, wide ? 16 : 4);
    buf_u8(out, r->prefix.len);
    buf_u8(out, r->state);
    buf_u8(out, r->flags);
    buf_u8(out, r->code);
    /* The two special values are the largest: +2 makes them 0 and 1, one byte each. */
    buf_var(out, (uint32_t)(r->seq + 2));
    buf_u32(out, r->allocated_at);
    buf_u32(out, r->since);
    if (r->name != NULL || r->note != NULL) {
        buf_blob_str(out, r->name ? r->name : "");
        buf_blob_str(out, r->note ? r->note : "");
    }
}

enum err_code pool_rec_decode(const void *p, size_t n, struct pool_rec *r, struct err *e) {
    *r = (struct pool_rec){.seq = 0};
    struct cur c = cur_of(p, n);
    uint8_t version;
    ERR_TRY(version_upto(&c, WIDE_VERSION, &version, e));
    r->prefix.addr.family = version == 1 ? 4 : 6;
    const uint8_t *bytes = cur_bytes(&c, version == 1 ? 4 : 16);
    if (bytes != NULL) {
        memcpy(r->prefix.addr.bytes, bytes, version == 1 ? 4 : 16);
    }
    r->prefix.len = cur_u8(&c);
    r->state = cur_u8(&c);
    r->flags = cur_u8(&c);
    r->code = cur_u8(&c);
    r->seq = get_u32(&c) - 2;
    r->allocated_at = cur_u32(&c);
    r->since = cur_u32(&c);
    if (cur_left(&c) > 0) {
        r->name = get_text(&c, POOLS_NAME_MAX);
        r->note = get_text(&c, 512);
    }
    enum err_code rc = finish(&c, "pool", e);
    bool foreign = r->seq == SEQ_FOREIGN;
    if (rc == ERR_OK && (r->prefix.len < 1 || !ip_prefix_aligned(&r->prefix) ||
                         r->state < POOL_ALLOCATING || r->state > POOL_STATE_MAX || r->code > 7 ||
                         foreign != (r->name != NULL && r->name[0] != '\0'))) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the pool record is damaged");
    }
    if (rc != ERR_OK) {
        pool_rec_free(r);
    }
    return rc;
}

void pool_rec_free(struct pool_rec *r) {
    mem_free(r->name);
    mem_free(r->note);
    *r = (struct pool_rec){.seq = 0};
}

void alarm_rec_encode(const struct alarm *a, struct buf *out) {
    buf_u8(out, REC_VERSION);
    buf_blob_str(out, a->id);
    buf_blob_str(out, a->pool);
    buf_blob_str(out, a->info);
    put_time(out, a->raised_at);
    put_time(out, a->first_s);
    put_time(out, a->last_s);
    put_time(out, a->retry_at);
    buf_var(out, a->free);
    buf_var(out, a->attempts);
    buf_u8(out, a->result);
    buf_u8(out, a->reason);
}

enum err_code alarm_rec_decode(const void *p, size_t n, struct alarm *a, struct err *e) {
    *a = (struct alarm){.id = NULL};
    struct cur c = cur_of(p, n);
    ERR_TRY(version_check(&c, e));
    a->id = get_text(&c, POOLS_NAME_MAX);
    a->pool = get_text(&c, POOLS_NAME_MAX);
    a->info = get_text(&c, 512);
    a->raised_at = get_time(&c);
    a->first_s = get_time(&c);
    a->last_s = get_time(&c);
    a->retry_at = get_time(&c);
    a->free = cur_var(&c);
    a->attempts = get_u32(&c);
    a->result = cur_u8(&c);
    a->reason = cur_u8(&c);
    enum err_code rc = finish(&c, "alarm", e);
    if (rc != ERR_OK) {
        alarm_clear(a);
    }
    return rc;
}

void alarm_clear(struct alarm *a) {
    mem_free(a->id);
    mem_free(a->pool);
    mem_free(a->info);
    *a = (struct alarm){.id = NULL};
}

void answer_rec_encode(const struct answer_rec *r, struct buf *out) {
    buf_u8(out, r->whole ? 1 : ANSWER_VERSION);
    put_time(out, r->at_s);
    buf_var(out, r->attempt);
    buf_u8(out, r->type);
    buf_var(out, r->domain);
    if (!r->whole) {
        buf_u8(out, r->n_add);
        buf_var(out, r->first);
        buf_u32(out, r->crc);
    }
    buf_blob(out, r->bytes, r->len);
}

enum err_code answer_rec_decode(const void *p, size_t n, struct answer_rec *r, struct err *e) {
    *r = (struct answer_rec){.at_s = 0};
    struct cur c = cur_of(p, n);
    uint8_t version;
    ERR_TRY(version_upto(&c, ANSWER_VERSION, &version, e));
    r->whole = version == 1;
    r->at_s = get_time(&c);
    r->attempt = get_u32(&c);
    r->type = cur_u8(&c);
    r->domain = get_u32(&c);
    if (!r->whole) {
        r->n_add = cur_u8(&c);
        r->first = get_u32(&c);
        r->crc = cur_u32(&c);
    }
    struct cur blob = cur_blob(&c);
    r->len = cur_left(&blob);
    r->bytes = blob.p;
    c.bad |= r->n_add > POOLS_WANTED_MAX || r->len > UINT16_MAX;
    return finish(&c, "answer", e);
}

void sample_rec_encode(const struct sample *s, struct buf *out) {
    bool wide = (s->total | s->allocated | s->used) > UINT32_MAX;
    buf_u8(out, wide ? WIDE_VERSION : REC_VERSION);
    buf_u32(out, s->time_s);
    if (wide) {
        buf_u64(out, s->total);
        buf_u64(out, s->allocated);
        buf_u64(out, s->used);
    } else {
        buf_u32(out, (uint32_t)s->total);
        buf_u32(out, (uint32_t)s->allocated);
        buf_u32(out, (uint32_t)s->used);
    }
}

enum err_code sample_rec_decode(const void *p, size_t n, struct sample *s, struct err *e) {
    *s = (struct sample){.time_s = 0};
    struct cur c = cur_of(p, n);
    uint8_t version;
    ERR_TRY(version_upto(&c, WIDE_VERSION, &version, e));
    s->time_s = cur_u32(&c);
    s->total = version == 1 ? cur_u32(&c) : cur_u64(&c);
    s->allocated = version == 1 ? cur_u32(&c) : cur_u64(&c);
    s->used = version == 1 ? cur_u32(&c) : cur_u64(&c);
    return finish(&c, "sample", e);
}

void drift_rec_encode(const struct drift *r, struct buf *out) {
    uint8_t family = r->prefix.addr.family == 6 ? 6 : 4;
    buf_u8(out, REC_VERSION);
    buf_var(out, r->seq);
    put_time(out, r->at_s);
    buf_u8(out, r->kind);
    buf_u8(out, r->outcome);
    buf_u8(out, r->code);
    buf_var(out, r->count);
    buf_u8(out, family);
    buf_add(out, r->prefix.addr.bytes, family == 6 ? 16 : 4);
    buf_u8(out, r->prefix.len);
    buf_blob_str(out, r->entity);
    buf_blob_str(out, r->domain);
    buf_blob_str(out, r->pool != NULL ? r->pool : "");
    buf_blob_str(out, r->note != NULL ? r->note : "");
}

enum err_code drift_rec_decode(const void *p, size_t n, struct drift *r, struct err *e) {
    *r = (struct drift){.seq = 0};
    struct cur c = cur_of(p, n);
    ERR_TRY(version_check(&c, e));
    r->seq = cur_var(&c);
    r->at_s = get_time(&c);
    r->kind = cur_u8(&c);
    r->outcome = cur_u8(&c);
    r->code = cur_u8(&c);
    r->count = get_u32(&c);
    r->prefix.addr.family = cur_u8(&c);
    size_t size = r->prefix.addr.family == 6 ? 16 : 4;
    const uint8_t *bytes = cur_bytes(&c, size);
    if (bytes != NULL) {
        memcpy(r->prefix.addr.bytes, bytes, size);
    }
    r->prefix.len = cur_u8(&c);
    r->entity = get_text(&c, POOLS_SYSTEM_ID_MAX);
    r->domain = get_text(&c, POOLS_NAME_MAX);
    r->pool = get_text(&c, POOLS_NAME_MAX + 16);
    r->note = get_text(&c, 512);
    enum err_code rc = finish(&c, "difference", e);
    uint8_t family = r->prefix.addr.family;
    if (rc == ERR_OK &&
        (r->kind < 1 || r->kind >= DRIFT_KINDS || r->outcome < 1 || r->outcome >= DRIFT_OUTCOMES ||
         r->code > 7 || (family != 4 && family != 6) || !ip_prefix_aligned(&r->prefix))) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the difference record is damaged");
    }
    if (rc != ERR_OK) {
        drift_rec_free(r);
    }
    return rc;
}

void drift_rec_free(struct drift *r) {
    mem_free(r->entity);
    mem_free(r->domain);
    mem_free(r->pool);
    mem_free(r->note);
    *r = (struct drift){.seq = 0};
}
