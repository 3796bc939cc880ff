// SPDX-License-Identifier: Apache-2.0
/* State laid out for a terminal. `show apm entity` has the documented layout (spec 3.2). */
#include "pools/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void show_init(struct show *sh, struct pools *p, struct txn *t) {
    *sh = (struct show){.p = p, .now_s = txn_now_s(t), .offset_min = pools_utc_offset(t)};
}

static int entity_cmp(const void *a, const void *b) {
    return strcmp((*(struct entity *const *)a)->system_id, (*(struct entity *const *)b)->system_id);
}

static int domain_cmp(const void *a, const void *b) {
    return strcmp((*(struct domain *const *)a)->name, (*(struct domain *const *)b)->name);
}

static int partition_cmp(const void *a, const void *b) {
    return strcmp((*(struct partition *const *)a)->name, (*(struct partition *const *)b)->name);
}

struct entity **entities_sorted(const struct pools *p) {
    struct entity **all = mem_alloc((p->entity_count + 1) * sizeof *all);
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_entities; i++) {
        if (p->entities[i] != NULL) {
            all[n++] = p->entities[i];
        }
    }
    qsort(all, n, sizeof *all, entity_cmp);
    return all;
}

struct domain **domains_sorted(const struct entity *en) {
    struct domain **all = mem_alloc((en->domains.count + 1) * sizeof *all);
    size_t n = 0;
    MAP_FOREACH (m, &en->domains) {
        all[n++] = m->value;
    }
    qsort(all, n, sizeof *all, domain_cmp);
    return all;
}

struct partition **partitions_sorted(const struct pools *p) {
    struct partition **all = mem_alloc((p->partitions.count + 1) * sizeof *all);
    size_t n = 0;
    MAP_FOREACH (m, &p->partitions) {
        all[n++] = m->value;
    }
    qsort(all, n, sizeof *all, partition_cmp);
    return all;
}

const char *security_name(uint8_t security) {
    return security == SECURITY_MUTUAL ? "mutual-tls"
           : security == SECURITY_TLS  ? "tls"
                                       : "clear-text";
}

const char *alarm_name(enum alarm_type type) {
    return type == ALARM_APPORTION ? "apportion" : "reclaim";
}

const char *block_state_name(const struct prefix_info *info) {
    static const char *const states[] = {
        [PREFIX_OUTSIDE] = "outside",   [PREFIX_AVAILABLE] = "available",
        [PREFIX_RESERVED] = "reserved", [PREFIX_ALLOCATED] = "allocated",
        [PREFIX_SPLIT] = "split",       [PREFIX_RETIRING] = "retiring",
    };
    return states[info->state];
}

const struct profile *entity_profile(const struct pools *p, const struct entity *en,
                                     const char **name) {
    const struct match *m = map_get(&p->matches, en->system_id);
    *name = m ? m->profile : NULL;
    return pools_profile_of(p, en);
}

static const char *when(const struct show *sh, int64_t s, char out[TIME_TEXT_MAX]) {
    return time_format(s, sh->offset_min, out);
}

/* ---- entities ----------------------------------------------------------------------------------
 */

void text_entities(const struct show *sh, struct buf *b) {
    struct entity **all = entities_sorted(sh->p);
    size_t width = strlen("Entity ID");
    for (size_t i = 0; all[i] != NULL; i++) {
        size_t n = strlen(all[i]->system_id);
        width = n > width ? n : width;
    }
    if (all[0] == NULL) {
        buf_str(b, "No entities.\n");
    } else {
        buf_printf(b, "%-*s  %-11s  %-10s  %-8s  %7s  %7s  %s\n", (int)width, "Entity ID", "Status",
                   "Security", "APMi Ver", "Domains", "Pools", "Since");
    }
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct entity *en = all[i];
        uint64_t pools = 0;
        char since[TIME_TEXT_MAX];
        MAP_FOREACH (m, &en->domains) {
            pools += ((const struct domain *)m->value)->n_pools;
        }
        buf_printf(b, "%-*s  %-11s  %-10s  %-8u  %7zu  %7" PRIu64 "  %s\n", (int)width,
                   en->system_id, en->session ? "reachable" : "unreachable",
                   security_name(en->security), en->version, en->domains.count, pools,
                   when(sh, en->since_s, since));
    }
    mem_free(all);
}

void text_entity_head(const struct show *sh, struct buf *b, const struct entity *en) {
    const char *node = en->session != NULL ? apmi_node(sh->p, en->session) : "";
    buf_printf(b,
               "Entity Statistics:\n"
               "  Entity ID:  %s\n"
               "  Name     :  %s\n"
               "  APMi Ver :  %u\n"
               "  Security :  %s\n"
               "  Status   :  %s%s%s\n",
               en->system_id, en->system_id, en->version, security_name(en->security),
               en->session ? "reachable" : "unreachable", node[0] != '\0' ? " at controller " : "",
               node);
}

static void text_event(const struct show *sh, struct buf *b, const char *label, int64_t s) {
    char text[TIME_TEXT_MAX];
    if (s > 0) {
        buf_printf(b, "      %-16s:  %s\n", label, when(sh, s, text));
    }
}

/* " (in use: 10)" where the entity works by another value than the one that is wanted. */
static void text_in_use(struct buf *b, const struct domain *d, uint64_t wanted, uint32_t used) {
    if (d->thresholds_known && used != wanted) {
        buf_printf(b, " (in use: %" PRIu32 ")", used);
    }
}

static void text_thresholds(const struct show *sh, struct buf *b, const struct domain *d) {
    Openapmi__V1__Thresholds th;
    domain_thresholds(sh->p, d, &th);
    buf_printf(b, "    Thresholds:\n      Apportion  :  %" PRIu64, th.apportion);
    text_in_use(b, d, th.apportion, d->sent_apportion);
    buf_printf(b, "\n      Reclamation:  %" PRIu64, th.reclaim);
    text_in_use(b, d, th.reclaim, d->sent_reclaim);
    if (d->thresholds_refused != NULL) {
        buf_printf(b, "\n      Refused    :  %s", d->thresholds_refused);
    }
    buf_char(b, '\n');
}

/* Those above are counted since the start; these are there now. Nothing when there are none. */
static void text_outstanding(struct buf *b, const struct domain *d) {
    if (d->alarms[ALARM_APPORTION] == NULL && d->alarms[ALARM_RECLAIM] == NULL &&
        d->n_drained == 0) {
        return;
    }
    buf_printf(b,
               "    Outstanding Alarms:\n"
               "      Apportion   :  %d\n"
               "      Reclamation :  %d\n"
               "      Pool-drained:  %" PRIu32 "\n",
               d->alarms[ALARM_APPORTION] != NULL, d->alarms[ALARM_RECLAIM] != NULL, d->n_drained);
}

void text_domain(const struct show *sh, struct buf *b, const struct domain *d) {
    const struct domain_stats *s = &d->stats;
    buf_printf(b,
               "  Pool Domain Statistics:\n"
               "    Pool Domain     :  %s\n"
               "    Source Partition:  %s\n"
               "    %s:  %" PRIu64 "\n"
               "    Pools           :  %" PRIu32 "\n",
               d->name, d->partition->name,
               d->unit == ip_bits(d->family) ? "Free Addresses  " : "Free Prefixes   ", d->free,
               d->n_pools);
    if (d->family == 6) {
        char text[POOLS_UNIT_TEXT_MAX];
        buf_printf(b, "    Gives           :  %s\n", pools_unit_text(d->family, d->unit, text));
    }
    text_thresholds(sh, b, d);
    buf_str(b, "    Events:\n");
    text_event(sh, b, "Last Discovery", s->last_discovery);
    text_event(sh, b, "Last Allocation", s->last_allocation);
    text_event(sh, b, "Last Reclamation", s->last_reclamation);
    buf_printf(b,
               "      Allocations     :  %" PRIu32 "\n"
               "      Reclamations    :  %" PRIu32 "\n"
               "    Alarms:\n"
               "      Apportion   :  %" PRIu32 "\n"
               "      Reclamation :  %" PRIu32 "\n"
               "      Pool-drained:  %" PRIu32 "\n",
               s->allocations, s->reclamations, s->apportion_alarms, s->reclaim_alarms,
               s->drained_alarms);
    text_outstanding(b, d);
    size_t width = 28, wide = 17;
    char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
    for (uint32_t i = 0; i < d->n_pools; i++) {
        struct ip_prefix px = pool_prefix(&d->pools[i]);
        pool_name(d, &d->pools[i], name);
        ip_prefix_format(&px, text);
        width = strlen(name) > width ? strlen(name) : width;
        wide = strlen(text) > wide ? strlen(text) : wide;
    }
    bool delegates = d->unit != ip_bits(d->family);
    buf_printf(b, "    %-*s  %-*s  %-13s  %s\n", (int)width, "Pool", (int)wide, "Prefix",
               delegates ? "Total Pfxs" : "Total Addrs", delegates ? "Used Pfxs" : "Used Addrs");
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        struct ip_prefix px = pool_prefix(po);
        pool_name(d, po, name);
        buf_printf(b, "    %-*s  %-*s  %-13" PRIu64 "  %" PRIu64 "\n", (int)width, name, (int)wide,
                   ip_prefix_format(&px, text), po->total, po->used);
    }
}

/* ---- alarms, reclamations
 * ------------------------------------------------------------------------
 */

void table_start(struct table *tb, size_t columns, const char *const *head) {
    *tb = (struct table){.arena = arena_new(), .n_columns = columns};
    tb->cap_rows = 16;
    tb->cells = mem_array(NULL, tb->cap_rows * columns, sizeof(char *));
    memcpy(tb->cells, head, columns * sizeof *head);
    tb->n_rows = 1;
}

void table_row(struct table *tb, const char *const *cells) {
    if (tb->n_rows == tb->cap_rows) {
        tb->cap_rows *= 2;
        tb->cells = mem_array(tb->cells, tb->cap_rows * tb->n_columns, sizeof(char *));
    }
    for (size_t i = 0; i < tb->n_columns; i++) {
        tb->cells[tb->n_rows * tb->n_columns + i] = arena_strdup(tb->arena, cells[i]);
    }
    tb->n_rows++;
}

void table_end(struct table *tb, struct buf *b, const char *none) {
    size_t width[COLUMNS_MAX] = {0};
    for (size_t i = 0; i < tb->n_rows * tb->n_columns; i++) {
        size_t n = strlen(tb->cells[i]);
        size_t *w = &width[i % tb->n_columns];
        *w = n > *w ? n : *w;
    }
    if (tb->n_rows == 1) {
        buf_str(b, none);
    }
    for (size_t r = 0; tb->n_rows > 1 && r < tb->n_rows; r++) {
        for (size_t i = 0; i < tb->n_columns; i++) {
            const char *cell = tb->cells[r * tb->n_columns + i];
            if (i + 1 < tb->n_columns) {
                buf_printf(b, "%-*s  ", (int)width[i], cell);
            } else {
                buf_printf(b, "%s\n", cell);
            }
        }
    }
    mem_free(tb->cells);
    arena_free(tb->arena);
}

static void alarm_rows(const struct show *sh, struct table *tb, const struct domain *d) {
    char raised[TIME_TEXT_MAX], retry[TIME_TEXT_MAX], name[POOLS_NAME_MAX + 16];
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *a = d->alarms[i];
        if (a != NULL) {
            char info[700];
            snprintf(info, sizeof info, "%s%s%s", a->pool, a->pool[0] && a->info[0] ? ": " : "",
                     a->info);
            table_row(tb,
                      (const char *[]){d->entity->system_id, d->name,
                                       alarm_name((enum alarm_type)i), when(sh, a->first_s, raised),
                                       a->retry_at ? when(sh, a->retry_at, retry) : "-", info});
        }
    }
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i].state == POOL_DRAINED) {
            pool_name(d, &d->pools[i], name);
            table_row(tb, (const char *[]){d->entity->system_id, d->name, "pool-drained",
                                           when(sh, d->pools[i].since, raised), "-", name});
        }
    }
}

void text_alarms(const struct show *sh, struct buf *b, const struct entity *only) {
    static const char *const head[] = {"Entity", "Pool Domain", "Status",
                                       "Raised", "Retry",       "Info"};
    struct table tb;
    table_start(&tb, 6, head);
    struct entity **all = entities_sorted(sh->p);
    for (size_t i = 0; all[i] != NULL; i++) {
        if (only != NULL && only != all[i]) {
            continue;
        }
        struct domain **domains = domains_sorted(all[i]);
        for (size_t k = 0; domains[k] != NULL; k++) {
            alarm_rows(sh, &tb, domains[k]);
        }
        mem_free(domains);
    }
    mem_free(all);
    table_end(&tb, b, "No alarms.\n");
}

void text_reclaim_events(const struct show *sh, struct buf *b) {
    static const char *const head[] = {"Entity", "Pool Domain", "Pool", "Prefix",
                                       "State",  "Started by",  "Used", "Since"};
    struct table tb;
    table_start(&tb, 8, head);
    struct entity **all = entities_sorted(sh->p);
    for (size_t i = 0; all[i] != NULL; i++) {
        struct domain **domains = domains_sorted(all[i]);
        for (size_t k = 0; domains[k] != NULL; k++) {
            const struct domain *d = domains[k];
            for (uint32_t n = 0; n < d->n_pools; n++) {
                const struct pool *po = &d->pools[n];
                if (po->state < POOL_DRAIN || po->state > POOL_REMOVING) {
                    continue;
                }
                char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX], since[TIME_TEXT_MAX], used[24];
                struct ip_prefix px = pool_prefix(po);
                pool_name(d, po, name);
                snprintf(used, sizeof used, "%" PRIu64, po->used);
                table_row(&tb,
                          (const char *[]){d->entity->system_id, d->name, name,
                                           ip_prefix_format(&px, text), pool_state_name(po->state),
                                           (po->flags & POOL_MANUAL) ? "operator" : "automatic",
                                           used, when(sh, po->since, since)});
            }
        }
        mem_free(domains);
    }
    mem_free(all);
    table_end(&tb, b, "No reclamations under way.\n");
}

/* ---- partitions
 * ----------------------------------------------------------------------------------
 */

void text_partition_head(struct buf *b) {
    buf_printf(b, "%-24s  %12s  %12s  %12s  %12s  %7s  %9s  %s\n", "Partition", "Total", "Free",
               "Allocated", "Reserved", "Free %", "Prefixes", "Status");
}

void text_partition(const struct show *sh, struct buf *b, const struct partition *pt) {
    struct prefix_stats st = {.roots = 0};
    unsigned free = 0;
    if (pt->tree != NULL) {
        prefix_tree_stats(pt->tree, &st);
        free = prefix_tree_free_permyriad(pt->tree);
    }
    const char *status = pt->cfg == NULL ? "not configured" : pt->low ? "low" : "ok";
    buf_printf(b,
               "%-24s  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64
               "  %4u.%02u  %9" PRIu64 "  %s%s\n",
               pt->name, partition_units(pt, st.total), partition_units(pt, st.free),
               partition_units(pt, st.allocated), partition_units(pt, st.reserved), free / 100,
               free % 100, st.prefixes, status, st.retiring_roots > 0 ? ", roots retiring" : "");
}

uint64_t block_units(const struct partition *pt, const struct ip_prefix *px) {
    return pool_units(px, pt->unit != 0 ? pt->unit : ip_bits(px->addr.family));
}

void text_block(const struct show *sh, struct buf *b, const struct partition *pt,
                const struct prefix_info *info) {
    char text[IP_TEXT_MAX];
    unsigned depth = info->prefix.len - info->root.len;
    ip_prefix_format(&info->prefix, text);
    buf_printf(b, "%*s%-*s  %-9s  %10" PRIu64, (int)depth, "",
               (int)(34 - (depth < 16 ? depth : 16)), text, block_state_name(info),
               block_units(pt, &info->prefix));
    if (info->state == PREFIX_ALLOCATED) {
        struct domain *d = pools_owner_domain(sh->p, info->owner);
        struct pool *po = d ? domain_pool(d, (uint32_t)info->owner) : NULL;
        if (po != NULL) {
            char name[POOLS_NAME_MAX + 16];
            pool_name(d, po, name);
            buf_printf(b, "  %s %s %s (%s)", d->entity->system_id, d->name, name,
                       pool_state_name(po->state));
        }
    } else if (info->tag != 0) {
        const struct holder *h = (const struct holder *)(uintptr_t)info->tag;
        buf_printf(b, "  for %s %s", h->entity, h->domain);
    }
    buf_char(b, '\n');
}

/* ---- use over time ------------------------------------------------------------------------------
 */

size_t samples_sorted(const struct partition *pt, int64_t now_s, struct sample out[POOLS_SAMPLES]) {
    size_t n = 0;
    unsigned first = (unsigned)(now_s / POOLS_SAMPLE_S % POOLS_SAMPLES) + 1;
    for (unsigned i = 0; pt->samples != NULL && i < POOLS_SAMPLES; i++) {
        const struct sample *s = &pt->samples[(first + i) % POOLS_SAMPLES];
        if (s->time_s != 0 && s->time_s <= now_s &&
            s->time_s > now_s - (int64_t)POOLS_SAMPLE_S * POOLS_SAMPLES) {
            out[n++] = *s;
        }
    }
    return n;
}

/* A straight line through the samples (least squares): how many addresses more are in pools after a
 * day, and when none is left at that pace. */
void forecast_of(const struct partition *pt, int64_t now_s, struct forecast *out) {
    struct sample s[POOLS_SAMPLES];
    size_t n = samples_sorted(pt, now_s, s);
    *out = (struct forecast){.days = -1};
    if (pt->tree != NULL) {
        struct prefix_stats st;
        prefix_tree_stats(pt->tree, &st);
        out->free = partition_units(pt, st.free);
    }
    if (n < 2 || s[n - 1].time_s == s[0].time_s) {
        return;
    }
    double st = 0, sy = 0, stt = 0, sty = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)(s[i].time_s - s[0].time_s), y = (double)s[i].allocated;
        st += x;
        sy += y;
        stt += x * x;
        sty += x * y;
    }
    double den = (double)n * stt - st * st;
    out->known = den > 0;
    out->observed_s = s[n - 1].time_s - s[0].time_s;
    out->per_day = den > 0 ? ((double)n * sty - st * sy) / den * 86400.0 : 0;
    if (out->per_day > 0.5) {
        out->days = (double)out->free / out->per_day;
    }
}

/* ---- explain
 * -------------------------------------------------------------------------------------
 */

static void fact(struct buf *b, struct buf *json, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void fact(struct buf *b, struct buf *json, const char *fmt, ...) {
    struct buf line = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_printf(b, "%s\n", buf_cstr(&line));
    buf_str(json, json->len > 0 ? "," : "");
    text_json(json, buf_cstr(&line));
    buf_free(&line);
}

static const char *units_word(const struct domain *d, uint64_t n) {
    return d->unit == ip_bits(d->family) ? text_plural(n, "address", "addresses")
                                         : text_plural(n, "prefix", "prefixes");
}

static void explain_thresholds(const struct show *sh, struct buf *b, struct buf *json,
                               const struct domain *d) {
    const char *name;
    const struct profile *pr = entity_profile(sh->p, d->entity, &name);
    char text[TIME_TEXT_MAX];
    if (pr == NULL) {
        fact(b, json, "No entity-match admits %s: it has no thresholds.", d->entity->system_id);
        return;
    }
    fact(b, json,
         "It asks for prefixes at %" PRIu32 " free %s or fewer, and offers a pool at %" PRIu32
         " or more (profile %s).",
         pr->apportion, units_word(d, 0), pr->reclaim, name);
    if (d->thresholds_refused != NULL) {
        fact(b, json,
             d->thresholds_later ? "The entity could not take these thresholds yet: %s."
                                 : "The entity refuses these thresholds: %s.",
             d->thresholds_refused);
    } else if (d->thresholds_known && domain_thresholds_differ(sh->p, d)) {
        fact(b, json, "The entity still uses %" PRIu32 " and %" PRIu32 ".", d->sent_apportion,
             d->sent_reclaim);
    }
    if (!pr->automatic) {
        fact(b, json, "Surplus pools wait for an operator: auto-reclamation is off.");
    } else if (pr->window.always) {
        fact(b, json, "Surplus pools are reclaimed at any time.");
    } else if (window_open(&pr->window, sh->now_s)) {
        fact(b, json, "Surplus pools are reclaimed: the window is open.");
    } else {
        fact(b, json, "Surplus pools are reclaimed from %s on, when the window opens.",
             when(sh, window_next_open(&pr->window, sh->now_s), text));
    }
}

static void explain_pools(const struct show *sh, struct buf *b, struct buf *json,
                          struct domain *d) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        char name[POOLS_NAME_MAX + 16], text[TIME_TEXT_MAX];
        if (po->state == POOL_ACTIVE) {
            continue;
        }
        pool_name(d, po, name);
        if (po->code != 0) {
            fact(b, json, "Pool %s is %s: %s.", name,
                 po->state == POOL_CONFLICT ? "drained" : "not managed",
                 po->extra && po->extra->note ? po->extra->note : "");
        } else {
            fact(b, json, "Pool %s is %s since %s, %s, with %" PRIu64 " %s in use.", name,
                 pool_state_name(po->state), when(sh, po->since, text),
                 (po->flags & POOL_MANUAL) ? "by an operator" : "by itself", po->used,
                 units_word(d, po->used));
        }
    }
}

/* The entity's own numbers leave out what is free in pools that drain. So while there are such
 * pools, both kinds are counted apart. */
static void explain_use(struct buf *b, struct buf *json, const struct domain *d) {
    uint64_t free = 0, total = 0, used = 0, going = 0;
    uint32_t n_going = 0;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        bool goes =
            (po->state >= POOL_DRAIN && po->state <= POOL_REMOVING) || po->state == POOL_CONFLICT;
        if (goes) {
            n_going++;
            going += po->total;
            used += po->used;
        } else {
            total += po->total;
            free += po->total > po->used ? po->total - po->used : 0;
        }
    }
    uint32_t n = d->n_pools - n_going;
    if (n_going == 0) {
        fact(b, json, "%" PRIu64 " of %" PRIu64 " %s are free in %" PRIu32 " %s.", d->free,
             d->total, units_word(d, 0), n, text_plural(n, "pool", "pools"));
        return;
    }
    fact(b, json, "%" PRIu64 " of %" PRIu64 " %s are free in %" PRIu32 " %s out.", free, total,
         units_word(d, 0), n, n == 1 ? "pool that gives them" : "pools that give them");
    fact(b, json,
         "%" PRIu64 " of %" PRIu64 " %s are still in use in %" PRIu32 " %s to be given back; the "
         "others there are not given out any more.",
         used, going, units_word(d, 0), n_going, n_going == 1 ? "pool that is" : "pools that are");
}

void text_explain(const struct show *sh, struct buf *b, struct buf *json, struct domain *d) {
    char text[TIME_TEXT_MAX], again[TIME_TEXT_MAX];
    const struct entity *en = d->entity;
    fact(b, json, "Domain %s of %s draws /%u prefixes from partition %s.", d->name, en->system_id,
         d->preferred_len, d->partition->name);
    if (d->unit != ip_bits(d->family)) {
        fact(b, json, "It delegates prefixes of length /%u to its subscribers.", d->unit);
    }
    if (en->session == NULL) {
        fact(b, json, "The entity is unreachable since %s (%s): what it has stays allocated.",
             when(sh, en->since_s, text), en->lost_why ? en->lost_why : "no session yet");
    } else if (!apmi_in_step(en->session)) {
        fact(b, json, "The entity is being synchronised: alarms wait until that is over.");
    }
    if (d->have_stats) {
        explain_use(b, json, d);
    }
    explain_thresholds(sh, b, json, d);
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *a = d->alarms[i];
        if (a != NULL) {
            fact(b, json, "%s alarm since %s, sent %" PRIu32 " %s: %s%s%s.",
                 i == ALARM_APPORTION ? "Apportion" : "Reclaim", when(sh, a->first_s, text),
                 a->attempts, text_plural(a->attempts, "time", "times"), a->info,
                 a->retry_at ? "; next try at " : "",
                 a->retry_at ? when(sh, a->retry_at, again) : "");
        }
    }
    explain_pools(sh, b, json, d);
    if (d->partition->cfg == NULL) {
        fact(b, json, "Partition %s is not configured: nothing can be given.", d->partition->name);
    } else if (!domain_fits(d)) {
        char its[POOLS_UNIT_TEXT_MAX], holds[POOLS_UNIT_TEXT_MAX];
        fact(b, json, "Partition %s is for %s, the domain is for %s: nothing can be given.",
             d->partition->name,
             pools_unit_text(d->partition->cfg->family, d->partition->cfg->unit, holds),
             pools_unit_text(d->family, d->unit, its));
    } else if (d->partition->tree != NULL) {
        unsigned len = d->preferred_len ? d->preferred_len : d->partition->cfg->max_len;
        char n[PREFIX_COUNT_TEXT_MAX];
        fact(b, json, "Partition %s can give %s more prefixes of length /%u.", d->partition->name,
             prefix_count_format(prefix_tree_free_of(d->partition->tree, len), n), len);
        struct buf refused = BUF_INIT;
        entity_refused_text(en, d->partition, sh->now_s, &refused);
        if (refused.len > 0) {
            fact(b, json, "The entity could not take %s: it is not offered again for now.",
                 buf_cstr(&refused));
        }
        buf_free(&refused);
    }
}
