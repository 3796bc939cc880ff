// SPDX-License-Identifier: Apache-2.0
/*
 * Answers that are kept for an hour, so that an alarm that comes again gets the same one (P-05).
 *
 * There may be a quarter of a million, each with up to 64 pools, so the pools are not kept with it:
 * they are in the domain, numbered one after the other as they were given. The answer is made anew
 * from there, and must come to the checksum of the one that was sent. When it does not, what was
 * ordered then is no longer so: a synchronisation may have shown that the entity never had its new
 * pools; they are free, perhaps somebody else's by now, and must not be promised again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "pools/internal.h"

typedef Openapmi__V1__AlarmResponse response;

void offers_make(struct offers *o, size_t most) {
    o->n = 0;
    o->each = mem_alloc((most + 1) * sizeof *o->each);
    o->add = mem_alloc((most + 1) * sizeof *o->add);
}

void offers_free(struct offers *o) {
    mem_free(o->each);
    mem_free(o->add);
}

void offers_add(struct offers *os, const struct domain *d, const struct pool *po) {
    struct offer *o = &os->each[os->n];
    openapmi__v1__pool__init(&o->pool);
    openapmi__v1__prefix__init(&o->prefix);
    struct ip_prefix px = pool_prefix(po);
    o->addr = px.addr;
    bool wide = px.addr.family == 6;
    o->prefix.af = wide ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    o->prefix.address = (ProtobufCBinaryData){wide ? 16 : 4, o->addr.bytes};
    o->prefix.length = px.len;
    pool_name(d, po, o->name);
    o->pool.name = o->name;
    o->pool.prefix = &o->prefix;
    o->pool.total = pool_units(&px, d->unit);
    o->pool.state = OPENAPMI__V1__POOL_STATE__ACTIVE;
    os->add[os->n++] = &o->pool;
}

static uint32_t checksum(const response *r, struct buf *b) {
    buf_clear(b);
    size_t n = openapmi__v1__alarm_response__get_packed_size(r);
    openapmi__v1__alarm_response__pack(r, buf_extend(b, n));
    return crc32c(0, b->data, b->len);
}

/* What is kept of it besides its pools and its alarm's id, which are known from elsewhere. */
static void pack_rest(const response *r, struct buf *b) {
    response rest = *r;
    rest.alarm_id = (char *)(uintptr_t) "";
    rest.n_add = 0;
    rest.add = NULL;
    buf_clear(b);
    openapmi__v1__alarm_response__pack(
        &rest, buf_extend(b, openapmi__v1__alarm_response__get_packed_size(&rest)));
}

void answer_keep(struct pools *p, struct txn *t, struct domain *d, const Openapmi__V1__Alarm *a,
                 const response *r, uint32_t first, int64_t receipt_s) {
    struct buf b = BUF_INIT;
    struct answer_rec rec = {.at_s = receipt_s,
                             .attempt = a->attempt,
                             .domain = d->id,
                             .type = (uint8_t)a->type,
                             .n_add = (uint8_t)r->n_add,
                             .first = r->n_add > 0 ? first : 0,
                             .crc = checksum(r, &b)};
    pack_rest(r, &b);
    rec.bytes = b.data;
    rec.len = b.len;
    answer_put(p, t, d->entity, a->alarm_id, &rec);
    buf_free(&b);
}

response *answer_rest(const struct answer *a) {
    return openapmi__v1__alarm_response__unpack(NULL, a->len, answer_bytes(a));
}

static bool order_stands(struct domain *d, const response *r) {
    const struct pool *po = r->pool[0] != '\0' ? domain_pool_named(d, r->pool) : NULL;
    if (r->action == OPENAPMI__V1__ACTION__SET_DRAIN) {
        return po != NULL && (po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET);
    }
    if (r->action == OPENAPMI__V1__ACTION__REMOVE_POOL) {
        return po != NULL && (po->state == POOL_REMOVING || po->state == POOL_CONFLICT);
    }
    return true;
}

bool answer_again(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  const Openapmi__V1__Alarm *a) {
    const struct answer *old = answer_find(p, apmi_entity(s), a->alarm_id);
    if (old == NULL || old->type != (uint8_t)a->type || a->attempt > old->attempt) {
        return false;
    }
    struct domain *d = old->domain < p->n_domains ? p->domains[old->domain] : NULL;
    response *rest = d != NULL && d->entity == apmi_entity(s) ? answer_rest(old) : NULL;
    if (rest == NULL) {
        return false;
    }
    struct offers offers;
    offers_make(&offers, old->n_add);
    for (uint32_t i = 0; i < old->n_add; i++) {
        const struct pool *po = domain_pool(d, old->first + i);
        if (po != NULL && pool_state_managed(po->state)) {
            offers_add(&offers, d, po);
        }
    }
    response r = *rest;
    r.alarm_id = a->alarm_id;
    r.n_add = offers.n;
    r.add = offers.add;
    struct buf b = BUF_INIT;
    bool stands = order_stands(d, &r) && checksum(&r, &b) == old->crc;
    if (stands) {
        p->stats.duplicates++;
        alarm_answer(t, s, msg_id, &r);
    }
    buf_free(&b);
    offers_free(&offers);
    openapmi__v1__alarm_response__free_unpacked(rest, NULL);
    return stands;
}

/* ---- the list in the order of time ------------------------------------------------------------
 */

static struct answer *answer_of(struct list *l) {
    return CONTAINER_OF(l, struct answer, link);
}

/* New ones come at the end, expired ones that an undo brings back at the front. */
void answer_link(struct pools *p, struct answer *a) {
    struct list *all = &p->answers, *after = all->prev;
    if (p->started && !list_empty(all) && answer_of(all->next)->at_s >= a->at_s) {
        after = all;
    }
    while (p->started && after != all && answer_of(after)->at_s > a->at_s) {
        after = after->prev;
    }
    list_prepend(after, &a->link);
}

static int by_time(const void *x, const void *y) {
    const struct answer *a = *(struct answer *const *)x, *b = *(struct answer *const *)y;
    return (a->at_s > b->at_s) - (a->at_s < b->at_s);
}

void answers_sort(struct pools *p) {
    struct answer **all = mem_array(NULL, p->n_answers + 1, sizeof(struct answer *));
    size_t n = 0;
    LIST_FOREACH (l, &p->answers) {
        all[n++] = answer_of(l);
    }
    qsort(all, n, sizeof *all, by_time);
    list_init(&p->answers);
    for (size_t i = 0; i < n; i++) {
        list_append(&p->answers, &all[i]->link);
    }
    mem_free(all);
}

/* ---- records of version 1, which held the whole answer ----------------------------------------
 */

bool answer_upgrade(struct pools *p, struct answer_rec *r, struct buf *rest) {
    response *whole = openapmi__v1__alarm_response__unpack(NULL, r->len, r->bytes);
    if (whole == NULL || whole->n_add > POOLS_WANTED_MAX) {
        openapmi__v1__alarm_response__free_unpacked(whole, NULL);
        return false;
    }
    struct domain *d = r->domain < p->n_domains ? p->domains[r->domain] : NULL;
    for (uint32_t i = 0; i < whole->n_add; i++) {
        const struct pool *po = d != NULL ? domain_pool_named(d, whole->add[i]->name) : NULL;
        if (i == 0 && po != NULL) {
            r->first = po->ordinal;
        } else if (po == NULL || po->ordinal != r->first + i) { /* what it gave is not there */
            r->first = UINT32_MAX - POOLS_WANTED_MAX;
            break;
        }
    }
    r->n_add = (uint8_t)whole->n_add;
    r->crc = crc32c(0, r->bytes, r->len);
    pack_rest(whole, rest);
    r->bytes = rest->data;
    r->len = rest->len;
    r->whole = false;
    openapmi__v1__alarm_response__free_unpacked(whole, NULL);
    return true;
}
