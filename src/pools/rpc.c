// SPDX-License-Identifier: Apache-2.0
/* The rpcs of weft-apm, its state for RESTCONF, completion values and metrics. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "core/object.h"
#include "model/kinds.h"
#include "pools/bulk.h"
#include "pools/show.h"

LOGGER_MODULE(pools);

typedef enum err_code (*rpc_fn)(struct show *sh, struct txn *t, struct call *cl, struct err *e);

int pools_utc_offset(struct txn *t) {
    const struct object *o = txn_get(t, "/weft-system:system/settings");
    return o ? ((const struct system_settings *)o->doc->data)->utc_offset : 0;
}

static void go_on(struct call *cl, const char *cursor) {
    mem_free(cl->cursor);
    cl->cursor = cursor ? mem_strdup(cursor) : NULL;
}

/* ---- show --------------------------------------------------------------------------------------
 */

/* One entity in parts: the cursor is the last domain that was shown. */
static enum err_code show_one_entity(struct show *sh, struct call *cl, const struct entity *en,
                                     const struct domain *only) {
    struct domain **all = domains_sorted(en);
    const char *after = cl->cursor;
    char last[POOLS_NAME_MAX + 1] = "";
    bool cut = false;
    if (after == NULL) {
        text_entity_head(sh, &cl->text, en);
    }
    struct buf domains = BUF_INIT;
    for (size_t i = 0; all[i] != NULL && !cut; i++) {
        struct domain *d = all[i];
        if ((only != NULL && d != only) || (after != NULL && strcmp(d->name, after) <= 0)) {
            continue;
        }
        text_domain(sh, &cl->text, d);
        buf_str(&domains, domains.len ? "," : "");
        json_domain(sh, &domains, d, true);
        snprintf(last, sizeof last, "%s", d->name);
        cut = cl->text.len > SHOW_PART_BYTES && all[i + 1] != NULL && only == NULL;
    }
    mem_free(all);
    buf_str(&cl->json, "{\"entity\":[");
    struct domain none = {.name = NULL};
    size_t at = cl->json.len;
    json_entity(sh, &cl->json, en, &none, false); /* no domain fits: only the head */
    if (domains.len > 0 && cl->json.len > at) {
        cl->json.len--; /* its closing brace */
        buf_str(&cl->json, ",\"pool-domain\":[");
        buf_add(&cl->json, domains.data, domains.len);
        buf_str(&cl->json, "]}");
    }
    buf_str(&cl->json, "]}");
    buf_free(&domains);
    go_on(cl, cut ? last : NULL);
    return ERR_OK;
}

static enum err_code show_entity(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_show_entity_input *in = cl->in.data;
    if (in->id != NULL) {
        const struct entity *en = pools_entity(sh->p, in->id);
        const struct domain *d = NULL;
        if (en == NULL) {
            return err_set(e, ERR_ABSENT, NULL, "There is no entity %s.", in->id);
        }
        if (in->pool_domain != NULL && (d = entity_domain(en, in->pool_domain)) == NULL) {
            return err_set(e, ERR_ABSENT, NULL, "Entity %s has no pool domain %s.", in->id,
                           in->pool_domain);
        }
        return show_one_entity(sh, cl, en, d);
    }
    text_entities(sh, &cl->text);
    struct entity **all = entities_sorted(sh->p);
    buf_str(&cl->json, "{\"entity\":[");
    for (size_t i = 0; all[i] != NULL; i++) {
        buf_str(&cl->json, i ? "," : "");
        json_entity(sh, &cl->json, all[i], NULL, false);
    }
    buf_str(&cl->json, "]}");
    mem_free(all);
    return ERR_OK;
}

static enum err_code show_alarms(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_show_alarms_input *in = cl->in.data;
    const struct entity *only = in->entity ? pools_entity(sh->p, in->entity) : NULL;
    if (in->entity != NULL && only == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "There is no entity %s.", in->entity);
    }
    text_alarms(sh, &cl->text, only);
    buf_str(&cl->json, "{\"alarm\":[");
    json_alarms(sh, &cl->json, only);
    buf_str(&cl->json, "]}");
    return ERR_OK;
}

static enum err_code show_drift(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_show_drift_input *in = cl->in.data;
    text_drift(sh, &cl->text, in->entity);
    buf_str(&cl->json, "{\"not-synchronised\":[");
    json_unsynchronised(sh, &cl->json);
    buf_str(&cl->json, "],\"drift\":[");
    json_drift(sh, &cl->json, in->entity);
    buf_str(&cl->json, "]}");
    return ERR_OK;
}

static enum err_code show_reclaim_events(struct show *sh, struct txn *t, struct call *cl,
                                         struct err *e) {
    text_reclaim_events(sh, &cl->text);
    buf_str(&cl->json, "{\"reclaim-event\":[");
    json_reclaim_events(sh, &cl->json);
    buf_str(&cl->json, "]}");
    return ERR_OK;
}

static struct partition *find_partition(struct pools *p, const char *name, struct err *e) {
    struct partition *pt = partition_get(p, name, false);
    if (pt == NULL) {
        err_set(e, ERR_ABSENT, NULL, "There is no partition %s.", name);
    }
    return pt;
}

/* A tree in parts: blocks in address order from the cursor on ("10.0.0.0/24": the last one shown).
 * Roots stand before their blocks, those of retiring roots too. */
static enum err_code show_tree(struct show *sh, struct call *cl, const struct partition *pt,
                               struct err *e) {
    struct ip_prefix after, root = {.len = 0};
    struct prefix_info info;
    bool from = cl->cursor != NULL;
    if (from && ip_prefix_parse(cl->cursor, &after, e) != ERR_OK) {
        return err_set(e, ERR_INVALID, NULL, "The cursor is damaged.");
    }
    buf_str(&cl->json, "{\"partition\":[{\"name\":");
    text_json(&cl->json, pt->name);
    buf_str(&cl->json, ",\"prefix\":[");
    const char *comma = "";
    bool more =
        pt->tree != NULL && prefix_tree_next(pt->tree, from ? &after : NULL, PREFIX_SEE_ALL, &info);
    if (from && more) {
        struct prefix_info at;
        prefix_tree_lookup(pt->tree, &after, &at);
        root = at.state == PREFIX_OUTSIDE ? root : at.root;
    }
    while (more && cl->text.len < SHOW_PART_BYTES) {
        if (!ip_prefix_eq(&root, &info.root) || root.len == 0) {
            struct prefix_info whole;
            root = info.root;
            if (prefix_tree_lookup(pt->tree, &root, &whole) == PREFIX_SPLIT ||
                !ip_prefix_eq(&whole.prefix, &info.prefix)) {
                whole.prefix = whole.root = root;
                text_block(sh, &cl->text, pt, &whole);
                buf_printf(&cl->json, "%s{", comma);
                json_block(sh, &cl->json, pt, &whole);
                buf_char(&cl->json, '}');
                comma = ",";
            }
        }
        char text[IP_TEXT_MAX];
        text_block(sh, &cl->text, pt, &info);
        buf_printf(&cl->json, "%s{", comma);
        json_block(sh, &cl->json, pt, &info);
        if (!ip_prefix_eq(&info.prefix, &info.root)) {
            buf_printf(&cl->json, ",\"root\":\"%s\"", ip_prefix_format(&info.root, text));
        }
        buf_char(&cl->json, '}');
        comma = ",";
        after = info.prefix;
        more = prefix_tree_next(pt->tree, &after, PREFIX_SEE_ALL, &info);
    }
    buf_str(&cl->json, "]}]}");
    char text[IP_TEXT_MAX];
    go_on(cl, more ? ip_prefix_format(&after, text) : NULL);
    return ERR_OK;
}

static enum err_code show_partition(struct show *sh, struct txn *t, struct call *cl,
                                    struct err *e) {
    const struct apm_show_partition_input *in = cl->in.data;
    struct partition *only = NULL;
    if (in->name != NULL && (only = find_partition(sh->p, in->name, e)) == NULL) {
        return ERR_ABSENT;
    }
    if (in->tree) {
        if (only == NULL && sh->p->partitions.count == 1) {
            struct partition **all = partitions_sorted(sh->p);
            only = all[0];
            mem_free(all);
        }
        if (only == NULL) {
            return err_set(e, ERR_MISSING, NULL,
                           "Say whose tree: show apm partition name NAME tree.");
        }
        return show_tree(sh, cl, only, e);
    }
    struct partition **all = partitions_sorted(sh->p);
    const char *comma = "";
    if (all[0] == NULL) {
        buf_str(&cl->text, "No partitions.\n");
    } else {
        text_partition_head(&cl->text);
    }
    buf_str(&cl->json, "{\"partition\":[");
    for (size_t i = 0; all[i] != NULL; i++) {
        if (only == NULL || only == all[i]) {
            text_partition(sh, &cl->text, all[i]);
            buf_str(&cl->json, comma);
            json_partition(sh, &cl->json, all[i], false);
            comma = ",";
        }
    }
    buf_str(&cl->json, "]}");
    mem_free(all);
    return ERR_OK;
}

static void forecast_line(struct show *sh, struct call *cl, const struct partition *pt,
                          const char *comma) {
    struct forecast f;
    forecast_of(pt, sh->now_s, &f);
    char growth[40] = "-", days[80] = "unknown: too few samples";
    if (f.known) {
        snprintf(growth, sizeof growth, "%+.0f", f.per_day);
        if (f.days >= 0 && f.days < 100000) {
            snprintf(days, sizeof days, "%.1f", f.days);
        } else {
            snprintf(days, sizeof days, "never at this pace");
        }
    }
    buf_printf(&cl->text, "%-24s  %12" PRIu64 "  %13s  %10" PRId64 "  %s\n", pt->name, f.free,
               growth, f.observed_s / 60, days);
    buf_printf(&cl->json, "%s{\"name\":", comma);
    text_json(&cl->json, pt->name);
    buf_printf(&cl->json, ",\"free-addresses\":\"%" PRIu64 "\",\"observed\":%" PRId64, f.free,
               f.observed_s / 60);
    if (f.known) {
        buf_printf(&cl->json, ",\"growth\":\"%.0f\"", f.per_day);
    }
    if (f.known && f.days >= 0 && f.days < 1e9) {
        buf_printf(&cl->json, ",\"days-to-empty\":\"%.1f\"", f.days);
    }
    buf_char(&cl->json, '}');
}

static enum err_code show_forecast(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_show_partition_forecast_input *in = cl->in.data;
    struct partition *only = NULL;
    if (in->name != NULL && (only = find_partition(sh->p, in->name, e)) == NULL) {
        return ERR_ABSENT;
    }
    struct partition **all = partitions_sorted(sh->p);
    const char *comma = "";
    buf_printf(&cl->text, "%-24s  %12s  %13s  %10s  %s\n", "Partition", "Free", "Addresses/day",
               "Seen (min)", "Days to empty");
    buf_str(&cl->json, "{\"partition\":[");
    for (size_t i = 0; all[i] != NULL; i++) {
        if (only == NULL || only == all[i]) {
            forecast_line(sh, cl, all[i], comma);
            comma = ",";
        }
    }
    buf_str(&cl->json, "]}");
    mem_free(all);
    return ERR_OK;
}

static enum err_code show_utilization(struct show *sh, struct txn *t, struct call *cl,
                                      struct err *e) {
    const struct apm_show_utilization_input *in = cl->in.data;
    struct partition *only = NULL;
    if (in->partition != NULL && (only = find_partition(sh->p, in->partition, e)) == NULL) {
        return ERR_ABSENT;
    }
    struct partition **all = partitions_sorted(sh->p);
    const char *comma = "";
    buf_printf(&cl->text, "%-24s  %-25s  %12s  %12s  %12s\n", "Partition", "Time", "Total",
               "Allocated", "Used");
    buf_str(&cl->json, "{\"sample\":[");
    for (size_t i = 0; all[i] != NULL; i++) {
        struct sample s[POOLS_SAMPLES];
        size_t n = only == NULL || only == all[i] ? samples_sorted(all[i], sh->now_s, s) : 0;
        for (size_t k = 0; k < n; k++) {
            char when[TIME_TEXT_MAX];
            time_format(s[k].time_s, sh->offset_min, when);
            buf_printf(&cl->text, "%-24s  %-25s  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "\n",
                       all[i]->name, when, s[k].total, s[k].allocated, s[k].used);
            buf_printf(&cl->json, "%s{\"partition\":", comma);
            text_json(&cl->json, all[i]->name);
            buf_printf(&cl->json,
                       ",\"time\":\"%s\",\"allocated-addresses\":\"%" PRIu64
                       "\",\"used-addresses\":\"%" PRIu64 "\",\"total-addresses\":\"%" PRIu64 "\"}",
                       when, s[k].allocated, s[k].used, s[k].total);
            comma = ",";
        }
    }
    buf_str(&cl->json, "]}");
    mem_free(all);
    return ERR_OK;
}

static void text_prefix_owner(struct show *sh, struct buf *b, const struct prefix_info *info) {
    struct domain *d = pools_owner_domain(sh->p, info->owner);
    struct pool *po = d ? domain_pool(d, (uint32_t)info->owner) : NULL;
    if (po != NULL) {
        char name[POOLS_NAME_MAX + 16], as[IP_TEXT_MAX];
        pool_name(d, po, name);
        buf_printf(b,
                   "Part of    :  %s\nEntity     :  %s\nPool Domain:  %s\n"
                   "Pool       :  %s (%s)\n",
                   ip_prefix_format(&info->prefix, as), d->entity->system_id, d->name, name,
                   pool_state_name(po->state));
    }
}

/* `address`: what was asked for; NULL: a prefix was. */
static void show_found(struct show *sh, struct call *cl, const struct partition *pt,
                       const struct ip_prefix *px, const char *address,
                       const struct prefix_info *info) {
    static const char *const states[] = {"outside",   "available", "reserved",
                                         "allocated", "split",     "retiring"};
    char text[IP_TEXT_MAX], root[IP_TEXT_MAX];
    if (address != NULL) {
        buf_printf(&cl->text, "Address    :  %s\n", address);
    }
    buf_printf(&cl->text,
               "Prefix     :  %s\nPartition  :  %s\nRoot       :  %s\n"
               "State      :  %s\n",
               ip_prefix_format(px, text), pt->name, ip_prefix_format(&info->root, root),
               states[info->state]);
    if (info->state == PREFIX_ALLOCATED) {
        text_prefix_owner(sh, &cl->text, info);
    } else if (info->tag != 0) {
        const struct holder *h = (const struct holder *)(uintptr_t)info->tag;
        buf_printf(&cl->text, "Entity     :  %s\nPool Domain:  %s\n", h->entity, h->domain);
    }
    buf_printf(&cl->text, "Usable     :  %" PRIu64 "\n", block_units(pt, px));
    buf_char(&cl->json, '{');
    if (address != NULL) {
        buf_printf(&cl->json, "\"address\":\"%s\",", address);
    }
    buf_str(&cl->json, "\"partition\":");
    text_json(&cl->json, pt->name);
    buf_printf(&cl->json, ",\"root\":\"%s\",", root);
    json_block(sh, &cl->json, pt, info);
    buf_char(&cl->json, '}');
}

static enum err_code show_prefix(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_show_prefix_input *in = cl->in.data;
    struct ip_prefix px;
    struct ip_addr addr;
    char text[IP_TEXT_MAX];
    bool is_address = strchr(in->prefix, '/') == NULL;
    if (is_address) {
        ERR_TRY(ip_addr_parse(in->prefix, &addr, e));
        px = ip_prefix_of(&addr, ip_bits(addr.family));
        ip_addr_format(&addr, text);
    } else {
        ERR_TRY(ip_prefix_parse(in->prefix, &px, e));
        ip_prefix_format(&px, text);
    }
    MAP_FOREACH (m, &sh->p->partitions) {
        const struct partition *pt = m->value;
        struct prefix_info info;
        if (pt->tree == NULL || prefix_tree_lookup(pt->tree, &px, &info) == PREFIX_OUTSIDE) {
            continue;
        }
        if (info.state == PREFIX_SPLIT) {
            info.prefix = px;
        }
        show_found(sh, cl, pt, is_address ? &info.prefix : &px, is_address ? text : NULL, &info);
        return ERR_OK;
    }
    return err_set(e, ERR_ABSENT, NULL, "%s is in no partition.", text);
}

static enum err_code show_statistics(struct show *sh, struct txn *t, struct call *cl,
                                     struct err *e) {
    text_statistics(sh, &cl->text);
    buf_char(&cl->json, '{');
    json_statistics(sh, &cl->json);
    buf_char(&cl->json, '}');
    return ERR_OK;
}

static enum err_code explain_domain(struct show *sh, struct txn *t, struct call *cl,
                                    struct err *e) {
    const struct apm_explain_domain_input *in = cl->in.data;
    struct domain *found = NULL;
    for (uint32_t i = 0; i < sh->p->n_domains; i++) {
        struct domain *d = sh->p->domains[i];
        if (d == NULL || strcmp(d->name, in->domain) != 0 ||
            (in->entity != NULL && strcmp(d->entity->system_id, in->entity) != 0)) {
            continue;
        }
        if (found != NULL) {
            return err_set(e, ERR_MISSING, NULL,
                           "Several entities have a domain %s, %s and %s among them: say entity.",
                           in->domain, found->entity->system_id, d->entity->system_id);
        }
        found = d;
    }
    if (found == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "There is no pool domain %s%s%s.", in->domain,
                       in->entity ? " at entity " : "", in->entity ? in->entity : "");
    }
    struct buf facts = BUF_INIT;
    text_explain(sh, &cl->text, &facts, found);
    buf_str(&cl->json, "{\"fact\":[");
    buf_add(&cl->json, facts.data, facts.len);
    buf_str(&cl->json, "]}");
    buf_free(&facts);
    return ERR_OK;
}

/* ---- request, clear
 * ------------------------------------------------------------------------------
 */

static enum err_code rpc_drain(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_drain_input *in = cl->in.data;
    return pools_drain(sh->p, t, in->entity, in->pool_domain, in->pool, in->force || cl->force,
                       &cl->text, e);
}

static enum err_code rpc_activate(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_activate_input *in = cl->in.data;
    return pools_activate(sh->p, t, in->entity, in->pool_domain, in->pool, &cl->text, e);
}

static enum err_code rpc_reclaim(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_reclaim_input *in = cl->in.data;
    return pools_reclaim(sh->p, t, in->entity, in->pool_domain, in->pool, in->force || cl->force,
                         &cl->text, e);
}

static enum err_code rpc_release(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    const struct apm_release_entity_input *in = cl->in.data;
    uint32_t prefixes;
    ERR_TRY(pools_release(sh->p, t, in->entity, &prefixes, &cl->text, e));
    buf_printf(&cl->json, "{\"prefixes\":%" PRIu32 "}", prefixes);
    return ERR_OK;
}

static enum err_code rpc_clear(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    pools_clear_statistics(sh->p, sh->now_s);
    buf_str(&cl->text, "Statistics have been cleared.\n");
    return ERR_OK;
}

enum err_code pools_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    static const struct {
        const char *name;
        rpc_fn fn;
    } rpcs[] = {{"show-entity", show_entity},
                {"show-alarms", show_alarms},
                {"show-reclaim-events", show_reclaim_events},
                {"show-drift", show_drift},
                {"show-partition", show_partition},
                {"show-partition-forecast", show_forecast},
                {"show-utilization", show_utilization},
                {"show-prefix", show_prefix},
                {"show-statistics", show_statistics},
                {"explain-domain", explain_domain},
                {"drain", rpc_drain},
                {"activate", rpc_activate},
                {"reclaim", rpc_reclaim},
                {"reclaim-all", bulk_call},
                {"rebalance", rebalance_call},
                {"release-entity", rpc_release},
                {"clear-statistics", rpc_clear}};
    struct show sh;
    show_init(&sh, self, t);
    for (size_t i = 0; i < sizeof rpcs / sizeof *rpcs; i++) {
        if (strcmp(rpcs[i].name, cl->in.rpc->name) == 0) {
            return rpcs[i].fn(&sh, t, cl, e);
        }
    }
    return err_set(e, ERR_UNSUPPORTED, NULL, "%s is not implemented.", cl->in.rpc->name);
}

/* ---- look
 * ----------------------------------------------------------------------------------------
 */

static void look_partitions(struct show *sh, struct buf *b, const char *only, bool tree) {
    struct partition **all = partitions_sorted(sh->p);
    const char *comma = "";
    for (size_t i = 0; all[i] != NULL; i++) {
        if (only == NULL || strcmp(only, all[i]->name) == 0) {
            buf_str(b, comma);
            json_partition(sh, b, all[i], tree);
            comma = ",";
        }
    }
    mem_free(all);
}

static void look_entities(struct show *sh, struct buf *b, bool pools) {
    struct entity **all = entities_sorted(sh->p);
    for (size_t i = 0; all[i] != NULL; i++) {
        buf_str(b, i ? "," : "");
        json_entity(sh, b, all[i], NULL, pools);
    }
    mem_free(all);
}

static void look_all(struct show *sh, struct buf *b) {
    bool pools = sh->p->pool_count <= SHOW_STATE_POOLS_MAX;
    buf_str(b, "{\"statistics\":{");
    json_statistics(sh, b);
    buf_str(b, "},\"entity\":[");
    look_entities(sh, b, pools);
    buf_str(b, "],\"alarm\":[");
    json_alarms(sh, b, NULL);
    buf_str(b, "],\"reclaim-event\":[");
    json_reclaim_events(sh, b);
    buf_str(b, "],\"drift\":[");
    json_drift(sh, b, NULL);
    buf_str(b, "],\"partition\":[");
    look_partitions(sh, b, NULL, pools);
    buf_str(b, "]}");
}

enum err_code pools_look(void *self, struct txn *t, struct look *l, struct err *e) {
    static const char base[] = "/weft-apm:apm/state";
    struct show sh;
    show_init(&sh, self, t);
    const char *rest = l->path + strlen(base);
    if (strncmp(l->path, base, strlen(base)) != 0) {
        return err_set(e, ERR_ABSENT, l->path, "There is no such state.");
    }
    if (*rest == '\0') {
        look_all(&sh, &l->json);
        return ERR_OK;
    }
    if (strcmp(rest, "/statistics") == 0) {
        buf_char(&l->json, '{');
        json_statistics(&sh, &l->json);
        buf_char(&l->json, '}');
        return ERR_OK;
    }
    struct arena *a = arena_new();
    enum err_code rc = ERR_OK;
    char *key = arena_strdup(a, rest);
    char *eq = strchr(key, '=');
    if (strncmp(rest, "/entity=", 8) == 0 && pools_percent_decode(eq + 1)) {
        const struct entity *en = pools_entity(sh.p, eq + 1);
        if (en == NULL) {
            rc = err_set(e, ERR_ABSENT, l->path, "There is no such entity.");
        } else {
            json_entity(&sh, &l->json, en, NULL, true);
        }
    } else if (strncmp(rest, "/partition=", 11) == 0 && pools_percent_decode(eq + 1)) {
        look_partitions(&sh, &l->json, eq + 1, true);
        if (l->json.len == 0) {
            rc = err_set(e, ERR_ABSENT, l->path, "There is no such partition.");
        }
    } else if (strcmp(rest, "/entity") == 0 || strcmp(rest, "/alarm") == 0 ||
               strcmp(rest, "/reclaim-event") == 0 || strcmp(rest, "/drift") == 0 ||
               strcmp(rest, "/partition") == 0) {
        buf_char(&l->json, '[');
        if (rest[1] == 'e') {
            look_entities(&sh, &l->json, sh.p->pool_count <= SHOW_STATE_POOLS_MAX);
        } else if (rest[1] == 'a') {
            json_alarms(&sh, &l->json, NULL);
        } else if (rest[1] == 'd') {
            json_drift(&sh, &l->json, NULL);
        } else if (rest[1] == 'r') {
            json_reclaim_events(&sh, &l->json);
        } else {
            look_partitions(&sh, &l->json, NULL, false);
        }
        buf_char(&l->json, ']');
    } else {
        rc = err_set(e, ERR_ABSENT, l->path, "There is no such state.");
    }
    arena_free(a);
    return rc;
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place. False: a bad escape, or something after the key. */
bool pools_percent_decode(char *s) {
    char *out = s;
    for (; *s != '\0'; s++) {
        if (*s == '/' || *s == ',') {
            return false;
        }
        if (*s == '%') {
            int hi = hex(s[1]), lo = hi >= 0 ? hex(s[2]) : -1;
            if (lo < 0 || hi * 16 + lo == 0) {
                return false;
            }
            *out++ = (char)(hi * 16 + lo);
            s += 2;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
    return true;
}

/* ---- completion
 * ----------------------------------------------------------------------------------
 */

static const char *given(const struct values *v, const char *name) {
    for (size_t i = 0; i < v->n_given; i++) {
        if (strcmp(v->names[i], name) == 0) {
            return v->values[i];
        }
    }
    return NULL;
}

enum { VALUES_MAX = 500 };

static void values_pools(struct values *v, struct domain *d) {
    for (uint32_t i = 0; i < d->n_pools && i < VALUES_MAX; i++) {
        char name[POOLS_NAME_MAX + 16];
        pool_name(d, &d->pools[i], name);
        buf_printf(&v->out, "%s\t%s, %" PRIu64 " of %" PRIu64 " in use\n", name,
                   pool_state_name(d->pools[i].state), d->pools[i].used, d->pools[i].total);
    }
}

void pools_values(void *self, struct txn *t, struct values *v) {
    struct pools *p = self;
    const char *leaf = v->leaf->name;
    const char *entity = given(v, "entity") ? given(v, "entity") : given(v, "id");
    struct entity *en = entity ? pools_entity(p, entity) : NULL;
    if (strcmp(leaf, "entity") == 0 || strcmp(leaf, "id") == 0) {
        struct entity **all = entities_sorted(p);
        for (size_t i = 0; all[i] != NULL && i < VALUES_MAX; i++) {
            buf_printf(&v->out, "%s\t%s, domains: %zu\n", all[i]->system_id,
                       all[i]->session ? "reachable" : "unreachable", all[i]->domains.count);
        }
        mem_free(all);
    } else if ((strcmp(leaf, "pool-domain") == 0 || strcmp(leaf, "domain") == 0)) {
        for (uint32_t i = 0, n = 0; i < p->n_domains && n < VALUES_MAX; i++) {
            const struct domain *d = p->domains[i];
            if (d != NULL && (en == NULL || d->entity == en)) {
                buf_printf(&v->out, "%s\tof %s, %" PRIu32 " %s\n", d->name, d->entity->system_id,
                           d->n_pools, text_plural(d->n_pools, "pool", "pools"));
                n++;
            }
        }
    } else if (strcmp(leaf, "pool") == 0 && en != NULL && given(v, "pool-domain") != NULL) {
        struct domain *d = entity_domain(en, given(v, "pool-domain"));
        if (d != NULL) {
            values_pools(v, d);
        }
    } else if (strcmp(leaf, "name") == 0 || strcmp(leaf, "partition") == 0) {
        struct partition **all = partitions_sorted(p);
        for (size_t i = 0; all[i] != NULL && i < VALUES_MAX; i++) {
            buf_printf(&v->out, "%s\t%zu %s allocated\n", all[i]->name, all[i]->n_pools,
                       text_plural(all[i]->n_pools, "prefix", "prefixes"));
        }
        mem_free(all);
    }
}
