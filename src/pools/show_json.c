// SPDX-License-Identifier: Apache-2.0
/* State as JSON of weft-apm: for RESTCONF, `display json`, and the rpcs' outputs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pools/show.h"

static void member_text(struct buf *b, const char *name, const char *value) {
    buf_printf(b, ",\"%s\":", name);
    text_json(b, value);
}

static void member_time(const struct show *sh, struct buf *b, const char *name, int64_t s) {
    char text[TIME_TEXT_MAX];
    if (s > 0) {
        buf_printf(b, ",\"%s\":\"%s\"", name, time_format(s, sh->offset_min, text));
    }
}

/* YANG's pool-count: a number, or text where that would need more than 32 bits (RFC 7951, 6.1). */
static void member_count(struct buf *b, const char *name, uint64_t n) {
    const char *quote = n > UINT32_MAX ? "\"" : "";
    buf_printf(b, ",\"%s\":%s%" PRIu64 "%s", name, quote, n, quote);
}

static void member_family(struct buf *b, unsigned family, unsigned unit) {
    buf_printf(b, ",\"address-family\":\"ipv%u\"", family);
    if (unit != 0 && unit != ip_bits(family)) {
        buf_printf(b, ",\"delegated-prefix-len\":%u", unit);
    }
}

static void json_pool(const struct show *sh, struct buf *b, const struct domain *d,
                      const struct pool *po) {
    char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
    struct ip_prefix px = pool_prefix(po);
    pool_name(d, po, name);
    buf_str(b, "{\"name\":");
    text_json(b, name);
    buf_printf(b, ",\"prefix\":\"%s\"", ip_prefix_format(&px, text));
    member_count(b, "total-addresses", po->total);
    member_count(b, "used-addresses", po->used);
    buf_printf(b, ",\"state\":\"%s\"", pool_state_name(po->state));
    if ((po->flags & POOL_MANUAL) != 0) {
        buf_str(b, ",\"manual\":true");
    }
    member_time(sh, b, "allocated-at", po->allocated_at);
    buf_char(b, '}');
}

static void json_conflicts(struct buf *b, const struct domain *d) {
    const char *comma = "";
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        if (po->code == 0) {
            continue;
        }
        char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
        struct ip_prefix px = pool_prefix(po);
        pool_name(d, po, name);
        /* The list's key is the name: a second pool of that name (C5) is told apart by its prefix.
         */
        ip_prefix_format(&px, text);
        if (po->code == 5) {
            snprintf(name + strlen(name), sizeof name - strlen(name), "#%" PRIu32, po->ordinal);
        }
        buf_printf(b, "%s{\"pool\":", comma[0] ? comma : ",\"conflict\":[");
        text_json(b, name);
        buf_printf(b, ",\"prefix\":\"%s\",\"code\":\"C%u\"", text, po->code);
        member_text(b, "info", po->extra && po->extra->note ? po->extra->note : "");
        buf_char(b, '}');
        comma = ",";
    }
    if (comma[0]) {
        buf_char(b, ']');
    }
}

void json_domain(const struct show *sh, struct buf *b, const struct domain *d, bool pools) {
    const struct domain_stats *s = &d->stats;
    Openapmi__V1__Thresholds th;
    const char *profile = NULL;
    domain_thresholds(sh->p, d, &th);
    entity_profile(sh->p, d->entity, &profile);
    buf_str(b, "{\"name\":");
    text_json(b, d->name);
    member_text(b, "partition", d->partition->name);
    if (profile != NULL) {
        member_text(b, "profile", profile);
    }
    member_family(b, d->family, d->unit);
    buf_printf(b,
               ",\"preferred-prefix-len\":%u,\"synchronised\":%s,"
               "\"total-addresses\":\"%" PRIu64 "\",\"free-addresses\":\"%" PRIu64
               "\",\"pools\":%" PRIu32 ",\"thresholds\":{\"apportion\":%" PRIu64
               ",\"reclamation\":%" PRIu64,
               d->preferred_len, d->synced || d->created_here ? "true" : "false", d->total, d->free,
               d->n_pools, th.apportion, th.reclaim);
    if (d->thresholds_known) {
        buf_printf(b, ",\"apportion-in-use\":%" PRIu32 ",\"reclamation-in-use\":%" PRIu32,
                   d->sent_apportion, d->sent_reclaim);
    }
    if (d->thresholds_refused != NULL) {
        member_text(b, "refused", d->thresholds_refused);
    }
    buf_printf(b, "},\"events\":{\"allocations\":\"%" PRIu32 "\",\"reclamations\":\"%" PRIu32 "\"",
               s->allocations, s->reclamations);
    member_time(sh, b, "last-discovery", s->last_discovery);
    member_time(sh, b, "last-allocation", s->last_allocation);
    member_time(sh, b, "last-reclamation", s->last_reclamation);
    buf_printf(b,
               "},\"alarms\":{\"apportion\":\"%" PRIu32 "\",\"reclamation\":\"%" PRIu32
               "\",\"pool-drained\":\"%" PRIu32 "\",\"abatements\":\"%" PRIu32
               "\",\"apportion-outstanding\":%s,\"reclamation-outstanding\":%s"
               ",\"pool-drained-outstanding\":%" PRIu32 "}",
               s->apportion_alarms, s->reclaim_alarms, s->drained_alarms, s->abatements,
               d->alarms[ALARM_APPORTION] != NULL ? "true" : "false",
               d->alarms[ALARM_RECLAIM] != NULL ? "true" : "false", d->n_drained);
    if (pools && d->n_pools > 0) {
        const char *comma = ",\"pool\":[";
        for (uint32_t i = 0; i < d->n_pools; i++) {
            if (d->pools[i].code == 5) {
                continue; /* its name is another pool's; it stands among the conflicts */
            }
            buf_str(b, comma);
            json_pool(sh, b, d, &d->pools[i]);
            comma = ",";
        }
        if (comma[1] == '\0') {
            buf_char(b, ']');
        }
        json_conflicts(b, d);
    }
    buf_char(b, '}');
}

void json_entity(const struct show *sh, struct buf *b, const struct entity *en,
                 const struct domain *only, bool pools) {
    struct ip_addr addr;
    buf_str(b, "{\"id\":");
    text_json(b, en->system_id);
    member_text(b, "name", en->system_id);
    if (ip_addr_parse(en->address, &addr, NULL) == ERR_OK) {
        member_text(b, "address", en->address);
    }
    buf_printf(b, ",\"apmi-version\":%u,\"security\":\"%s\",\"status\":\"%s\"", en->version,
               security_name(en->security), en->session ? "reachable" : "unreachable");
    member_time(sh, b, "since", en->since_s);
    if (en->session != NULL && apmi_node(sh->p, en->session)[0] != '\0') {
        member_text(b, "node", apmi_node(sh->p, en->session));
    }
    if (en->software[0] != '\0') {
        member_text(b, "software", en->software);
    }
    if (en->target != NULL) {
        struct target_info ti;
        target_info(en->target, &ti);
        buf_printf(b, ",\"applied\":\"%" PRIu64 "\",\"wanted\":\"%" PRIu64 "\"", ti.applied,
                   ti.desired);
    }
    struct domain **all = domains_sorted(en);
    const char *comma = ",\"pool-domain\":[";
    for (size_t i = 0; all[i] != NULL; i++) {
        if (only == NULL || only == all[i]) {
            buf_str(b, comma);
            json_domain(sh, b, all[i], pools);
            comma = ",";
        }
    }
    if (comma[1] == '\0') {
        buf_char(b, ']');
    }
    mem_free(all);
    buf_char(b, '}');
}

static void alarm_head(struct buf *b, const char **comma, const struct domain *d, const char *type,
                       const char *id) {
    buf_printf(b, "%s{\"entity\":", *comma);
    *comma = ",";
    text_json(b, d->entity->system_id);
    member_text(b, "pool-domain", d->name);
    member_text(b, "type", type);
    member_text(b, "id", id);
}

static void json_domain_alarms(const struct show *sh, struct buf *b, const struct domain *d,
                               const char **comma) {
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *a = d->alarms[i];
        if (a == NULL) {
            continue;
        }
        alarm_head(b, comma, d, alarm_name((enum alarm_type)i), a->id);
        member_time(sh, b, "raised", a->first_s);
        buf_printf(b, ",\"attempts\":%" PRIu32 ",\"free-addresses\":\"%" PRIu64 "\"", a->attempts,
                   a->free);
        if (a->pool[0] != '\0') {
            member_text(b, "pool", a->pool);
        }
        member_time(sh, b, "retry-at", a->retry_at);
        member_text(b, "info", a->info);
        buf_char(b, '}');
    }
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        if (po->state != POOL_DRAINED) {
            continue;
        }
        char name[POOLS_NAME_MAX + 16];
        pool_name(d, po, name);
        alarm_head(b, comma, d, "pool-drained", name);
        member_time(sh, b, "raised", po->since);
        member_text(b, "pool", name);
        member_text(b, "info", "waits for an operator to reclaim it");
        buf_char(b, '}');
    }
}

void json_alarms(const struct show *sh, struct buf *b, const struct entity *only) {
    struct entity **all = entities_sorted(sh->p);
    const char *comma = "";
    for (size_t i = 0; all[i] != NULL; i++) {
        struct domain **domains = only == NULL || only == all[i] ? domains_sorted(all[i]) : NULL;
        for (size_t k = 0; domains != NULL && domains[k] != NULL; k++) {
            json_domain_alarms(sh, b, domains[k], &comma);
        }
        mem_free(domains);
    }
    mem_free(all);
}

void json_reclaim_events(const struct show *sh, struct buf *b) {
    struct entity **all = entities_sorted(sh->p);
    const char *comma = "";
    for (size_t i = 0; all[i] != NULL; i++) {
        struct domain **domains = domains_sorted(all[i]);
        for (size_t k = 0; domains[k] != NULL; k++) {
            const struct domain *d = domains[k];
            for (uint32_t n = 0; n < d->n_pools; n++) {
                const struct pool *po = &d->pools[n];
                if (po->state < POOL_DRAIN || po->state > POOL_REMOVING) {
                    continue;
                }
                char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
                struct ip_prefix px = pool_prefix(po);
                pool_name(d, po, name);
                buf_printf(b, "%s{\"entity\":", comma);
                comma = ",";
                text_json(b, d->entity->system_id);
                member_text(b, "pool-domain", d->name);
                member_text(b, "pool", name);
                buf_printf(b, ",\"prefix\":\"%s\",\"state\":\"%s\",\"manual\":%s",
                           ip_prefix_format(&px, text), pool_state_name(po->state),
                           (po->flags & POOL_MANUAL) ? "true" : "false");
                member_count(b, "used-addresses", po->used);
                member_time(sh, b, "since", po->since);
                buf_char(b, '}');
            }
        }
        mem_free(domains);
    }
    mem_free(all);
}

void json_block(const struct show *sh, struct buf *b, const struct partition *pt,
                const struct prefix_info *info) {
    char text[IP_TEXT_MAX];
    buf_printf(b, "\"prefix\":\"%s\",\"state\":\"%s\"", ip_prefix_format(&info->prefix, text),
               block_state_name(info));
    if (info->state == PREFIX_ALLOCATED) {
        struct domain *d = pools_owner_domain(sh->p, info->owner);
        struct pool *po = d ? domain_pool(d, (uint32_t)info->owner) : NULL;
        if (po != NULL) {
            char name[POOLS_NAME_MAX + 16];
            pool_name(d, po, name);
            member_text(b, "entity", d->entity->system_id);
            member_text(b, "pool-domain", d->name);
            member_text(b, "pool", name);
        }
    } else if (info->tag != 0) {
        const struct holder *h = (const struct holder *)(uintptr_t)info->tag;
        member_text(b, "entity", h->entity);
        member_text(b, "pool-domain", h->domain);
    }
    member_count(b, "usable-addresses", block_units(pt, &info->prefix));
}

static void json_tree(const struct show *sh, struct buf *b, const struct partition *pt) {
    size_t n = prefix_tree_root_count(pt->tree);
    const char *comma = ",\"prefix\":[";
    for (size_t i = 0; i < n; i++) {
        struct prefix_root_info r;
        struct prefix_info info;
        char root[IP_TEXT_MAX];
        prefix_tree_root_at(pt->tree, i, &r);
        ip_prefix_format(&r.prefix, root);
        prefix_tree_lookup(pt->tree, &r.prefix, &info);
        info.prefix = r.prefix;
        buf_printf(b, "%s{", comma);
        comma = ",";
        json_block(sh, b, pt, &info);
        buf_char(b, '}');
        if (info.state != PREFIX_SPLIT) {
            continue;
        }
        struct ip_prefix at;
        bool more = prefix_tree_next(pt->tree, ip_prefix_before(&r.prefix, &at) ? &at : NULL,
                                     PREFIX_SEE_ALLOCATED | PREFIX_SEE_RESERVED, &info);
        for (; more && ip_prefix_contains(&r.prefix, &info.prefix);
             more = prefix_tree_next(pt->tree, &at, PREFIX_SEE_ALLOCATED | PREFIX_SEE_RESERVED,
                                     &info)) {
            at = info.prefix;
            buf_str(b, ",{");
            json_block(sh, b, pt, &info);
            buf_printf(b, ",\"root\":\"%s\"}", root);
        }
    }
    if (comma[1] == '\0') {
        buf_char(b, ']');
    }
}

void json_partition(const struct show *sh, struct buf *b, const struct partition *pt, bool tree) {
    buf_str(b, "{\"name\":");
    text_json(b, pt->name);
    if (pt->tree != NULL) {
        struct prefix_stats st;
        prefix_tree_stats(pt->tree, &st);
        member_family(b, partition_family(pt), pt->unit);
        buf_printf(b,
                   ",\"total-addresses\":\"%" PRIu64 "\",\"free-addresses\":\"%" PRIu64
                   "\",\"allocated-addresses\":\"%" PRIu64 "\",\"reserved-addresses\":\"%" PRIu64
                   "\",\"free-percent\":%u,\"low\":%s,\"prefixes\":%" PRIu64,
                   partition_units(pt, st.total), partition_units(pt, st.free),
                   partition_units(pt, st.allocated), partition_units(pt, st.reserved),
                   prefix_tree_free_permyriad(pt->tree) / 100, pt->low ? "true" : "false",
                   st.prefixes);
        if (st.largest_free > 0) {
            buf_printf(b, ",\"largest-free\":%u", st.largest_free);
        }
        if (tree) {
            json_tree(sh, b, pt);
        }
    }
    buf_char(b, '}');
}
