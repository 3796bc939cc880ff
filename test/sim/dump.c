// SPDX-License-Identifier: Apache-2.0
/* All durable memory as text: what a service that was changed step by step has, and one that folds
 * everything anew must have too. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Keys of a map in order; mem_free the array. */
static const char **keys_of(const struct map *m, size_t *n) {
    const char **keys = mem_array(NULL, m->count + 1, sizeof *keys);
    *n = 0;
    MAP_FOREACH (e, m) {
        keys[(*n)++] = e->key;
    }
    qsort(keys, *n, sizeof *keys, by_text);
    return keys;
}

static void dump_partition(const struct partition *pt, struct buf *out) {
    char text[IP_TEXT_MAX], root[IP_TEXT_MAX];
    struct prefix_info i;
    buf_printf(out, "partition %s%s, %zu domains, %zu pools, %" PRIu32 " skipped\n", pt->name,
               pt->cfg ? "" : " (not configured)", pt->n_domains, pt->n_pools, pt->skipped_roots);
    for (size_t k = 0; pt->tree != NULL && k < prefix_tree_root_count(pt->tree); k++) {
        struct prefix_root_info r;
        prefix_tree_root_at(pt->tree, k, &r);
        buf_printf(out, " root %s%s %" PRIu64 "\n", ip_prefix_format(&r.prefix, text),
                   r.retiring ? " retiring" : "", r.prefixes);
    }
    struct ip_prefix at, *after = NULL;
    while (pt->tree != NULL && prefix_tree_next(pt->tree, after, PREFIX_SEE_ALL, &i)) {
        buf_printf(out, "  %s in %s state %d owner %" PRIx64 " for %s\n",
                   ip_prefix_format(&i.prefix, text), ip_prefix_format(&i.root, root), i.state,
                   i.state == PREFIX_ALLOCATED ? i.owner : 0,
                   i.tag ? ((const struct holder *)(uintptr_t)i.tag)->domain : "anybody");
        at = i.prefix;
        after = &at;
    }
    uint64_t retiring = 0; /* their order is that of their coming */
    LIST_FOREACH (l, &pt->retiring) {
        const struct retiring *r = CONTAINER_OF(l, struct retiring, link);
        for (size_t k = 0; k < sizeof r->prefix.addr.bytes; k++) {
            retiring += (uint64_t)r->prefix.addr.bytes[k] * (k * k + 129);
        }
        retiring += r->prefix.len;
    }
    buf_printf(out, " retiring %" PRIu64 "\n", retiring);
    for (unsigned k = 0; pt->samples != NULL && k < POOLS_SAMPLES; k++) {
        const struct sample *s = &pt->samples[k];
        if (s->time_s != 0) {
            buf_printf(out, " sample %u: %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", k,
                       s->time_s, s->total, s->allocated, s->used);
        }
    }
}

static void dump_domain(const struct domain *d, struct buf *out) {
    buf_printf(out,
               " domain %" PRIu32
               " %s of %s, partition %s, words %s/%s/%s, IPv%u by /%u, /%u, next %" PRIu32
               " and %" PRIu32 ", made %" PRId64 "\n",
               d->id, d->name, d->entity->system_id, d->partition->name, d->profile, d->group,
               d->instance, d->family, d->unit, d->preferred_len, d->next_seq, d->next_ordinal,
               d->created_s);
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        char name[POOLS_NAME_MAX + 16], prefix[IP_TEXT_MAX];
        pool_name(d, po, name);
        buf_printf(out,
                   "  pool %" PRIu32 " %s %s state %u flags %u code %u at %" PRIu32
                   " since %" PRIu32 " note %s\n",
                   po->ordinal, name, ip_prefix_format(&po->prefix, prefix), po->state, po->flags,
                   po->code, po->allocated_at, po->since,
                   po->extra != NULL && po->extra->note != NULL ? po->extra->note : "-");
    }
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *a = d->alarms[i];
        if (a != NULL) {
            buf_printf(out,
                       "  alarm %d %s pool %s: %s; %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
                       " %" PRIu64 " %" PRIu32 " %u %u\n",
                       i, a->id, a->pool, a->info, a->raised_at, a->first_s, a->last_s, a->retry_at,
                       a->free, a->attempts, a->result, a->reason);
        }
    }
}

void rig_dump(const struct rig *r, struct buf *out) {
    const struct pools *p = r->pools;
    struct snap *s = core_snapshot(r->core);
    for (const struct object *o = snap_next(s, NULL); o != NULL; o = snap_next(s, o)) {
        buf_printf(out, "%s %" PRIu64 " %" PRIu64 " %s %.*s\n", o->doc->path, o->created,
                   o->modified, o->owner ? o->owner : "-", (int)o->doc->json_len, o->doc->json);
    }
    snap_release(s);
    struct commit_info ci[64];
    size_t n = core_history(r->core, ci, 64);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "commit %" PRIu64 " %s %s %s\n", ci[i].index, ci[i].user, ci[i].comment,
                   ci[i].label);
    }
    const char **names = keys_of(&p->partitions, &n);
    for (size_t i = 0; i < n; i++) {
        dump_partition(map_get(&p->partitions, names[i]), out);
    }
    mem_free(names);
    names = keys_of(&p->entity_by_id, &n);
    for (size_t i = 0; i < n; i++) {
        const struct entity *en = map_get(&p->entity_by_id, names[i]);
        size_t n_domains;
        buf_printf(out,
                   "entity %" PRIu32 " %s %s %s %u %u %u %" PRIu64 " %" PRId64 " %zu answers\n",
                   en->id, en->system_id, en->address, en->software, en->kind, en->security,
                   en->version, en->boot_epoch, en->first_s, en->n_answers);
        const char **domains = keys_of(&en->domains, &n_domains);
        for (size_t k = 0; k < n_domains; k++) {
            dump_domain(map_get(&en->domains, domains[k]), out);
        }
        mem_free(domains);
    }
    mem_free(names);
    for (uint32_t i = 0; i < POOLS_DRIFT_MAX; i++) {
        const struct drift *dr = drift_at(p, i);
        if (dr != NULL) {
            char prefix[IP_TEXT_MAX];
            buf_printf(out,
                       "drift %" PRIu64 " at %" PRId64 " %s %s %s %s %u %u %u %" PRIu32 " %s\n",
                       dr->seq, dr->at_s, dr->entity, dr->domain, dr->pool,
                       ip_prefix_format(&dr->prefix, prefix), dr->kind, dr->outcome, dr->code,
                       dr->count, dr->note);
        }
    }
    uint64_t answers = 0; /* equal times keep no order */
    LIST_FOREACH (l, &p->answers) {
        const struct answer *a = CONTAINER_OF(l, struct answer, link);
        uint64_t h = (uint64_t)a->at_s * 31 + a->attempt * 7u + a->type + a->domain * 131u;
        for (uint32_t i = 0; i < a->len; i++) {
            h = h * 1099511628211u ^ answer_bytes(a)[i];
        }
        answers += h;
    }
    buf_printf(out, "%zu answers, %" PRIx64 "\n", p->n_answers, answers);
}
