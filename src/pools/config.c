// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration into memory: partitions, profiles, entity-match. What a change may do is decided in
 * config_check.c; here it is folded, and what follows from it is started.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "model/kinds.h"
#include "pools/config.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

struct partition_cfg *partition_cfg_of(const struct object *o) {
    const struct apm_partition *in = o->doc->data;
    struct partition_cfg *c = MEM_NEW(struct partition_cfg);
    c->family = in->address_family == APM_ADDRESS_FAMILY_IPV6 ? 6 : 4;
    c->unit = in->has_delegated_prefix_len ? in->delegated_prefix_len : (uint8_t)ip_bits(c->family);
    c->min_len = in->min_prefix_len;
    c->max_len = in->max_prefix_len;
    c->low_percent = in->has_free_prefix_utilization ? in->free_prefix_utilization : 0;
    c->n_roots = in->n_prefix;
    c->roots = mem_alloc((in->n_prefix + 1) * sizeof *c->roots);
    for (size_t i = 0; i < in->n_prefix; i++) {
        const struct apm_partition_prefix *r = &in->prefix[i];
        c->roots[i].prefix = r->prefix;
        c->roots[i].n_reserved = r->n_reserved_prefix;
        c->roots[i].reserved = mem_alloc((r->n_reserved_prefix + 1) * sizeof *c->roots[i].reserved);
        for (size_t k = 0; k < r->n_reserved_prefix; k++) {
            c->roots[i].reserved[k] =
                (struct reservation_cfg){.prefix = r->reserved_prefix[k].prefix,
                                         .entity = mem_strdup(r->reserved_prefix[k].entity),
                                         .domain = mem_strdup(r->reserved_prefix[k].pool_domain)};
        }
    }
    return c;
}

void profile_of(const struct object *o, struct profile *out) {
    const struct apm_pool_domain_profile *in = o->doc->data;
    *out = (struct profile){.name = (char *)(uintptr_t)in->name,
                            .apportion = in->apportion_threshold,
                            .reclaim = in->reclaim_threshold,
                            .hold_down_s = in->hold_down,
                            .allow_larger = in->allow_larger,
                            .automatic = in->has_auto_reclamation,
                            .window = {.always = true}};
    if (in->has_auto_reclamation) {
        const struct apm_pool_domain_profile_auto_reclamation *a = &in->auto_reclamation;
        out->delay_s = a->delay;
        if (a->active == APM_POOL_DOMAIN_PROFILE_AUTO_RECLAMATION_ACTIVE_WINDOW &&
            a->window_start != NULL) {
            window_parse(a->window_start, a->window_duration, &out->window);
        }
    }
}

static void profile_free(void *arg) {
    struct profile *pr = arg;
    if (pr != NULL) {
        mem_free(pr->name);
        mem_free(pr);
    }
}

static void match_free(void *arg) {
    struct match *m = arg;
    if (m != NULL) {
        mem_free(m->system_id);
        mem_free(m->profile);
        mem_free(m);
    }
}

static void holder_free(void *arg) {
    struct holder *h = arg;
    mem_free(h->entity);
    mem_free(h->domain);
    mem_free(h);
}

void pools_config_free(struct pools *p) {
    map_free(&p->profiles, profile_free);
    map_free(&p->matches, match_free);
    map_free(&p->partitions, partition_free);
    map_free(&p->holders, holder_free);
}

const struct profile *pools_profile_of(const struct pools *p, const struct entity *en) {
    const struct match *m = map_get(&p->matches, en->system_id);
    return m ? map_get(&p->profiles, m->profile) : NULL;
}

/* ---- fold ------------------------------------------------------------------------------------ */

static void fold_partition(struct pools *p, const struct object *old, const struct object *new_) {
    const char *name = (new_ ? new_ : old)->doc->keys[0];
    struct partition *pt = partition_get(p, name, new_ != NULL);
    if (pt != NULL) {
        partition_configure(p, pt, new_ ? partition_cfg_of(new_) : NULL);
    }
}

static void fold_profile(struct pools *p, const struct object *old, const struct object *new_) {
    const char *name = (new_ ? new_ : old)->doc->keys[0];
    profile_free(map_del(&p->profiles, name));
    if (new_ != NULL) {
        struct profile pr;
        profile_of(new_, &pr);
        pr.name = mem_strdup(name);
        map_put(&p->profiles, name, mem_dup(&pr, sizeof pr));
    }
}

static void fold_match(struct pools *p, const struct object *old, const struct object *new_) {
    const char *id = (new_ ? new_ : old)->doc->keys[0];
    match_free(map_del(&p->matches, id));
    if (new_ != NULL) {
        const struct apm_entity_match *in = new_->doc->data;
        struct match *m = MEM_NEW(struct match);
        m->system_id = mem_strdup(id);
        m->profile = mem_strdup(in->pool_domain_profile);
        m->alarm_rate = in->alarm_rate;
        map_put(&p->matches, id, m);
    }
}

void pools_config(void *self, const struct object *old, const struct object *new_) {
    ((struct pools *)self)->reconfigured = true;
    const struct kind *k = (new_ ? new_ : old)->doc->kind;
    if (k == &apm_partition_kind) {
        fold_partition(self, old, new_);
    } else if (k == &apm_pool_domain_profile_kind) {
        fold_profile(self, old, new_);
    } else if (k == &apm_entity_match_kind) {
        fold_match(self, old, new_);
    }
}

/* ---- what follows from a change ---------------------------------------------------------------
 */

/* Is the entity's profile, or its way to it, in this change? */
static bool entity_concerned(const struct txn_op *op, const struct match *m,
                             const char *system_id) {
    const struct doc *d = (op->new_ ? op->new_ : op->old)->doc;
    if (d->kind == &apm_entity_match_kind) {
        return strcmp(d->keys[0], system_id) == 0;
    }
    return d->kind == &apm_pool_domain_profile_kind && m != NULL &&
           strcmp(m->profile, d->keys[0]) == 0;
}

struct unmatched {
    struct pools *pools;
    char system_id[POOLS_SYSTEM_ID_MAX + 1];
};

static enum err_code unmatched_work(struct txn *t, void *arg, struct err *e) {
    struct unmatched *u = arg;
    struct entity *en = pools_entity(u->pools, u->system_id);
    if (en != NULL && en->session != NULL && map_get(&u->pools->matches, u->system_id) == NULL) {
        apmi_dismiss(t, en->session, 7, "no entity-match admits this system id any more");
    }
    return ERR_OK;
}

static void unmatched_done(void *arg, uint64_t index, const struct err *e) {
    mem_free(arg);
}

static void unmatched_after(void *arg, bool committed) {
    struct unmatched *u = arg;
    if (!committed) {
        mem_free(u);
        return;
    }
    core_run(u->pools->core, &actor_system, unmatched_work, unmatched_done, u);
}

static void entity_unmatched(struct pools *p, struct txn *t, const struct entity *en) {
    struct unmatched *u = MEM_NEW(struct unmatched);
    u->pools = p;
    snprintf(u->system_id, sizeof u->system_id, "%s", en->system_id);
    txn_after(t, unmatched_after, u);
}

static void entity_reprofiled(struct pools *p, struct txn *t, struct entity *en) {
    const struct profile *pr = pools_profile_of(p, en);
    size_t n = 0;
    MAP_FOREACH (m, &en->domains) {
        struct domain *d = m->value;
        /* One that refused the last ones is concerned too when they are taken back, and so is one
         * that has not answered yet: what it is known to have may be what it is about to lose. */
        n += domain_thresholds_differ(p, d) || d->thresholds_refused != NULL ||
             d->thresholds_in_flight != 0;
        if (pr != NULL && !pr->automatic) {
            reclaim_cancel_automatic(p, t, d);
        }
    }
    if (pr != NULL && n > 0 && en->target != NULL) {
        char what[160];
        snprintf(what, sizeof what,
                 "%zu %s: apportion-threshold %" PRIu32 ", reclaim-threshold %" PRIu32
                 ", hold-down %" PRIu32 " s",
                 n, text_plural(n, "domain", "domains"), pr->apportion, pr->reclaim,
                 pr->hold_down_s);
        target_touch(en->target, t, what);
    }
}

static void partition_gone(struct txn *t, struct partition *pt) {
    for (unsigned i = 0; pt->samples != NULL && i < POOLS_SAMPLES; i++) {
        if (pt->samples[i].time_s != 0) {
            struct rec_key k = rec_key_sample(pt->name, i);
            txn_delete_state(t, k.bytes, k.len);
        }
    }
}

void pools_changed(void *self, struct txn *t) {
    struct pools *p = self;
    size_t n = txn_n_ops(t);
    bool entities = false;
    for (size_t i = 0; i < n; i++) {
        struct txn_op op = txn_op(t, i);
        const struct doc *d = (op.new_ ? op.new_ : op.old)->doc;
        entities |= d->kind == &apm_entity_match_kind || d->kind == &apm_pool_domain_profile_kind;
        if (d->kind == &apm_partition_kind && op.new_ == NULL) {
            struct partition *pt = partition_get(p, d->keys[0], false);
            if (pt != NULL) {
                partition_gone(t, pt);
            }
        }
    }
    for (uint32_t i = 0; entities && i < p->n_entities; i++) {
        struct entity *en = p->entities[i];
        const struct match *m = en ? map_get(&p->matches, en->system_id) : NULL;
        for (size_t k = 0; en != NULL && k < n; k++) {
            struct txn_op op = txn_op(t, k);
            if (!entity_concerned(&op, m, en->system_id)) {
                continue;
            }
            if (m == NULL) {
                entity_unmatched(p, t, en);
            } else {
                entity_reprofiled(p, t, en);
            }
            break;
        }
    }
}
