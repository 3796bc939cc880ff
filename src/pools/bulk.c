// SPDX-License-Identifier: Apache-2.0
/* Many pools reclaimed at once: which ones, what stays, and the rpc. See bulk.h. */
#include "pools/bulk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/kinds.h"
#include "pools/show.h"

/* ---- orders ------------------------------------------------------------------------------------
 */

json_t *bulk_order_json(const struct bulk_order *o) {
    return json_pack("{s:s, s:s, s:s, s:i, s:b, s:I, s:I}", "entity", o->entity, "domain",
                     o->domain, "partition", o->partition, "unused", o->unused, "force", o->force,
                     "wait", (json_int_t)o->wait_s, "before", (json_int_t)o->before_s);
}

bool bulk_order_parse(const json_t *tree, struct bulk_order *o) {
    int force = 0;
    json_int_t wait = 0, before = 0;
    *o = (struct bulk_order){.unused = -1};
    if (json_unpack((json_t *)(uintptr_t)tree, "{s:s, s:s, s:s, s:i, s:b, s:I, s:I}", "entity",
                    &o->entity, "domain", &o->domain, "partition", &o->partition, "unused",
                    &o->unused, "force", &force, "wait", &wait, "before", &before) != 0) {
        return false;
    }
    o->force = force != 0;
    o->wait_s = wait;
    o->before_s = before;
    return wait >= 0 && wait <= BULK_WAIT_MIN_MAX * 60;
}

bool bulk_means_domain(const struct bulk_order *o, const struct domain *d) {
    return (o->entity[0] == '\0' || strcmp(o->entity, d->entity->system_id) == 0) &&
           (o->domain[0] == '\0' || strcmp(o->domain, d->name) == 0) &&
           (o->partition[0] == '\0' || strcmp(o->partition, d->partition->name) == 0);
}

bool bulk_counted(const struct domain *d, const struct pool *po) {
    return d->have_stats && po->total > 0;
}

bool bulk_unused(int percent, const struct pool *po) {
    uint64_t unused = po->total > po->used ? po->total - po->used : 0;
    return percent < 0 || po->total == 0 ||
           (double)unused * 100.0 >= (double)percent * (double)po->total;
}

enum bulk_meant bulk_means(const struct bulk_order *o, const struct pool *po) {
    if (po->allocated_at > o->before_s || !bulk_unused(o->unused, po)) {
        return BULK_NOT_MEANT;
    }
    if (po->state == POOL_ACTIVE) {
        return BULK_ACTIVE;
    }
    /* Those that drain by themselves are reclaimed by themselves. */
    bool going =
        po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET || po->state == POOL_DRAINED;
    return going && (po->flags & POOL_MANUAL) != 0 ? BULK_GOING : BULK_NOT_MEANT;
}

/* ---- what may be drained -----------------------------------------------------------------------
 */

static uint64_t pool_free(const struct pool *po) {
    return po->total > po->used ? po->total - po->used : 0;
}

static uint64_t added(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct bulk_sum bulk_sum_of(const struct domain *d) {
    struct bulk_sum s = {0};
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        if (po->state == POOL_ACTIVE) {
            s.free = added(s.free, pool_free(po));
        } else if (po->state >= POOL_DRAIN && po->state <= POOL_REMOVING) {
            s.moving = added(s.moving, po->used);
        }
    }
    return s;
}

void bulk_sum_drain(struct bulk_sum *s, const struct pool *po) {
    uint64_t gone = pool_free(po);
    s->free = s->free > gone ? s->free - gone : 0;
    s->moving = added(s->moving, po->used);
}

bool bulk_safe(const struct pools *p, const struct domain *d, const struct pool *po,
               const struct bulk_sum *s, char why[256]) {
    const struct profile *prof = pools_profile_of(p, d->entity);
    struct drain_numbers n = {.domain_free = s->free > s->moving ? s->free - s->moving : 0,
                              .pool_total = po->total,
                              .pool_used = po->used,
                              .apportion = prof != NULL ? prof->apportion : 0};
    bool first;
    if (!bulk_counted(d, po)) {
        snprintf(why, 256, "its entity has not said yet how much of it is in use");
        return false;
    }
    return sole_and_idle(d, po) || drain_is_safe(&n, why, &first);
}

/* ---- parts -------------------------------------------------------------------------------------
 */

struct making { /* a child's input */
    const struct bulk_order *order;
    json_t *domains, *active, *going;
    size_t pools, bytes;
    const struct domain *d; /* that the last two are of */
};

static void making_add(struct making *m, const struct domain *d, const struct pool *po,
                       enum bulk_meant how) {
    if (m->domains == NULL) {
        m->domains = json_array();
    }
    if (m->d != d) {
        m->d = d;
        json_t *o = json_pack("{s:s, s:s, s:I, s:[], s:[]}", "entity", d->entity->system_id, "name",
                              d->name, "created", (json_int_t)d->created_s, "active", "going");
        m->active = json_object_get(o, "active");
        m->going = json_object_get(o, "going");
        m->bytes += strlen(d->entity->system_id) + strlen(d->name) + 80;
        json_array_append_new(m->domains, o);
    }
    json_array_append_new(how == BULK_ACTIVE ? m->active : m->going, json_integer(po->ordinal));
    m->pools++;
    m->bytes += 11;
}

static void making_end(struct making *m, void (*part)(void *arg, const char *input, size_t pools),
                       void *arg) {
    if (m->pools == 0) {
        return;
    }
    json_t *o = bulk_order_json(m->order);
    json_object_set_new(o, "domains", m->domains);
    char *text = json_dumps(o, JSON_COMPACT);
    part(arg, text, m->pools);
    free(text);
    json_decref(o);
    *m = (struct making){.order = m->order};
}

/* Looks at each pool once for the whole job, whatever its number of parts. */
bool bulk_parts(const struct pools *p, const struct bulk_order *o, struct bulk_cursor *at,
                size_t most, void (*part)(void *arg, const char *input, size_t pools), void *arg) {
    struct making m = {.order = o};
    size_t parts = 0;
    for (; at->domain < p->n_domains; at->domain++, at->ordinal = 0) {
        const struct domain *d = p->domains[at->domain];
        if (d == NULL || !bulk_means_domain(o, d)) {
            continue;
        }
        for (uint32_t i = domain_pool_index(d, at->ordinal); i < d->n_pools; i++) {
            enum bulk_meant how = bulk_means(o, &d->pools[i]);
            if (how == BULK_NOT_MEANT) {
                continue;
            }
            if (m.pools >= BULK_PART_POOLS || m.bytes >= BULK_PART_BYTES) {
                making_end(&m, part, arg);
                if (++parts == most) {
                    at->ordinal = d->pools[i].ordinal;
                    return true;
                }
            }
            making_add(&m, d, &d->pools[i], how);
        }
    }
    making_end(&m, part, arg);
    return false;
}

/* ---- the rpc -----------------------------------------------------------------------------------
 */

static int by_use(const void *a, const void *b) {
    const struct pool *x = *(const struct pool *const *)a, *y = *(const struct pool *const *)b;
    return x->used != y->used ? (x->used < y->used ? -1 : 1)
                              : (x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal);
}

struct dry {
    struct call *cl;
    uint64_t yes, no;
    const char *comma;
};

static void dry_pool(struct dry *dry, const struct domain *d, const struct pool *po, bool yes,
                     const char *why) {
    char name[POOLS_NAME_MAX + 16], prefix[IP_TEXT_MAX];
    struct ip_prefix px = pool_prefix(po);
    struct buf *b = &dry->cl->json;
    pool_name(d, po, name);
    ip_prefix_format(&px, prefix);
    buf_printf(&dry->cl->text, "%s  %s  %s  %s  %" PRIu64 " of %" PRIu64 " in use: %s%s%s\n",
               d->entity->system_id, d->name, name, prefix, po->used, po->total,
               yes ? "reclaimed" : "stays", yes ? "" : ": ", yes ? "" : why);
    buf_printf(b, "%s{\"entity\":", dry->comma);
    text_json(b, d->entity->system_id);
    buf_str(b, ",\"pool-domain\":");
    text_json(b, d->name);
    buf_str(b, ",\"pool\":");
    text_json(b, name);
    buf_printf(b,
               ",\"prefix\":\"%s\",\"total-addresses\":\"%" PRIu64
               "\",\"used-addresses\":\"%" PRIu64 "\",\"reclaimed\":%s",
               prefix, po->total, po->used, yes ? "true" : "false");
    if (!yes) {
        buf_str(b, ",\"info\":");
        text_json(b, why);
    }
    buf_char(b, '}');
    dry->comma = ",";
    dry->yes += yes;
    dry->no += !yes;
}

static void dry_domain(struct dry *dry, const struct pools *p, const struct bulk_order *o,
                       const struct domain *d) {
    const struct pool **all = mem_array(NULL, d->n_pools + 1, sizeof *all);
    size_t n = 0;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (bulk_means(o, &d->pools[i]) != BULK_NOT_MEANT) {
            all[n++] = &d->pools[i];
        }
    }
    qsort(all, n, sizeof *all, by_use);
    bool here = d->entity->session != NULL && apmi_in_step(d->entity->session);
    struct bulk_sum sum = bulk_sum_of(d);
    for (size_t i = 0; i < n; i++) {
        char why[256] = "";
        bool yes = true;
        if (!here) {
            yes = false;
            snprintf(why, sizeof why, "its entity is %s",
                     d->entity->session == NULL ? "unreachable" : "being synchronised");
        } else if (all[i]->state == POOL_ACTIVE) {
            yes = o->force || bulk_safe(p, d, all[i], &sum, why);
            if (yes) {
                bulk_sum_drain(&sum, all[i]);
            }
        }
        dry_pool(dry, d, all[i], yes, why);
    }
    mem_free(all);
}

/* In parts; the cursor has the next domain and what was counted. */
static enum err_code dry_run(const struct show *sh, struct call *cl, const struct bulk_order *o,
                             struct err *e) {
    struct dry dry = {.cl = cl, .comma = ""};
    uint32_t i = 0;
    if (cl->cursor != NULL &&
        sscanf(cl->cursor, "%" SCNu32 " %" SCNu64 " %" SCNu64, &i, &dry.yes, &dry.no) != 3) {
        return err_set(e, ERR_INVALID, NULL, "The cursor is damaged.");
    }
    buf_str(&cl->json, "{\"pool\":[");
    for (; i < sh->p->n_domains && cl->text.len < SHOW_PART_BYTES; i++) {
        if (sh->p->domains[i] != NULL && bulk_means_domain(o, sh->p->domains[i])) {
            dry_domain(&dry, sh->p, o, sh->p->domains[i]);
        }
    }
    buf_str(&cl->json, "]}");
    mem_free(cl->cursor);
    cl->cursor = NULL;
    if (i < sh->p->n_domains) {
        cl->cursor = mem_printf("%" PRIu32 " %" PRIu64 " %" PRIu64, i, dry.yes, dry.no);
    } else {
        buf_printf(&cl->text, "%" PRIu64 " %s would be reclaimed, %" PRIu64 " would stay.\n",
                   dry.yes, text_plural(dry.yes, "pool", "pools"), dry.no);
    }
    return ERR_OK;
}

static uint64_t count(const struct pools *p, const struct bulk_order *o, uint64_t *domains) {
    uint64_t n = 0;
    *domains = 0;
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        uint64_t before = n;
        if (d == NULL || !bulk_means_domain(o, d)) {
            continue;
        }
        for (uint32_t k = 0; k < d->n_pools; k++) {
            n += bulk_means(o, &d->pools[k]) != BULK_NOT_MEANT;
        }
        *domains += n > before;
    }
    return n;
}

/* A name that nothing has is a mistake, not an order about nothing. */
static enum err_code check_names(struct pools *p, const struct bulk_order *o, struct err *e) {
    const struct entity *en = o->entity[0] ? pools_entity(p, o->entity) : NULL;
    if (o->entity[0] != '\0' && en == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no entity %s", o->entity);
    }
    if (o->partition[0] != '\0' && partition_get(p, o->partition, false) == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no partition %s", o->partition);
    }
    if (o->domain[0] == '\0' || (en != NULL && entity_domain(en, o->domain) != NULL)) {
        return ERR_OK;
    }
    for (uint32_t i = 0; en == NULL && i < p->n_domains; i++) {
        if (p->domains[i] != NULL && strcmp(p->domains[i]->name, o->domain) == 0) {
            return ERR_OK;
        }
    }
    return err_set(e, ERR_ABSENT, NULL, "there is no pool domain %s%s%s", o->domain,
                   en != NULL ? " at entity " : "", en != NULL ? o->entity : "");
}

enum err_code bulk_call(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_reclaim_all_input *in = cl->in.data;
    const struct bulk_order o = {.entity = in->entity ? in->entity : "",
                                 .domain = in->pool_domain ? in->pool_domain : "",
                                 .partition = in->partition ? in->partition : "",
                                 .unused = in->has_unused ? in->unused : -1,
                                 .force = in->force || cl->force,
                                 .wait_s = (int64_t)in->wait * 60,
                                 .before_s = sh->now_s};
    if (o.entity[0] == '\0' && o.domain[0] == '\0' && o.partition[0] == '\0' && o.unused < 0) {
        return err_set(e, ERR_MISSING, NULL,
                       "say which pools: of an entity, a pool-domain, a partition, or those of "
                       "which a part is unused");
    }
    ERR_TRY(check_names(sh->p, &o, e));
    if (in->dry_run) {
        return dry_run(sh, cl, &o, e);
    }
    uint64_t id = 0, domains, n = count(sh->p, &o, &domains);
    if (n == 0) {
        return err_set(e, ERR_ABSENT, NULL,
                       "no pool there can be reclaimed: none is active or drained by an operator%s",
                       o.unused >= 0 ? " with so much unused" : "");
    }
    ERR_TRY(bulk_job(t, &o, &id, e));
    buf_printf(&cl->text,
               "Reclaiming up to %" PRIu64 " %s of %" PRIu64 " %s is job %" PRIu64
               ": show job id %" PRIu64 "\n",
               n, text_plural(n, "pool", "pools"), domains,
               text_plural(domains, "domain", "domains"), id, id);
    buf_printf(&cl->json, "{\"job\":\"%" PRIu64 "\",\"pools\":\"%" PRIu64 "\"}", id, n);
    return ERR_OK;
}
