// SPDX-License-Identifier: Apache-2.0
/* The service's counters (APM-100, APM-154): one table for the terminal, JSON and the metrics. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "pools/show.h"

static const struct counter {
    const char *leaf;   /* of weft-apm's grouping statistics */
    const char *label;  /* on a terminal */
    const char *metric; /* behind weft_apm_ */
    const char *help;
    size_t at; /* in struct pools_stats */
} counters[] = {
#define C(leaf, label, metric, help, member)                                                       \
    { leaf, label, metric, help, offsetof(struct pools_stats, member) }
    C("allocations", "Allocations", "allocations_total", "Prefixes given.", allocations),
    C("allocation-failures", "Allocation failures", "allocation_failures_total",
      "Alarms that could not be satisfied wholly.", allocation_failures),
    C("reclamations", "Reclamations", "reclamations_total", "Prefixes taken back.", reclamations),
    C("apportion-alarms", "Apportion alarms", "apportion_alarms_total",
      "Apportion alarms without retries.", apportion_alarms),
    C("reclaim-alarms", "Reclaim alarms", "reclaim_alarms_total", "Reclaim alarms without retries.",
      reclaim_alarms),
    C("pool-drained-alarms", "Pool-drained alarms", "pool_drained_alarms_total",
      "Pool-drained alarms.", drained_alarms),
    C("abatements", "Abatements", "abatements_total", "Alarms withdrawn.", abatements),
    C("retries", "Retried alarms", "alarm_retries_total", "Alarms sent again.", retries),
    C("answers-repeated", "Repeated answers", "answers_repeated_total",
      "Answers given again for a repeated alarm.", duplicates),
    C("alarms-rate-limited", "Alarms too fast", "alarms_rate_limited_total",
      "Alarms refused for coming too fast.", rate_limited),
    C("store-unavailable", "Store unavailable", "store_unavailable_total",
      "Requests refused because the store could not be written.", store_unavailable),
    C("drains-refused", "Drains refused", "drains_refused_total", "Drains refused as unsafe.",
      drains_refused),
    C("synchronisations", "Synchronisations", "domain_syncs_total", "Domains synchronised.", syncs),
    C("synchronisations-by-digest", "... by digest", "domain_syncs_by_digest_total",
      "Of them, by digest alone.", digests_equal),
    C("synchronisations-ordered", "... by order", "resyncs_ordered_total",
      "Synchronisations that were ordered.", resyncs),
    C("conflicts", "Conflicts", "conflicts_total", "Conflicts found by synchronisation.",
      conflicts),
    C("confirmations-missed", "Missing answers", "confirmations_missed_total",
      "Confirmations that did not come in time.", timeouts),
    C("sessions-refused", "Refused sessions", "sessions_refused_total", "Sessions refused.",
      refused_sessions),
#undef C
};
enum { N_COUNTERS = sizeof counters / sizeof *counters };

static uint64_t value(const struct pools *p, const struct counter *c) {
    return *(const uint64_t *)(const void *)((const char *)&p->stats + c->at);
}

uint32_t entities_reachable(const struct pools *p) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_entities; i++) {
        n += p->entities[i] != NULL && p->entities[i]->session != NULL;
    }
    return n;
}

/* Roots outside the limits (APM-013) and partitions that are low (APM-016), of all partitions. */
static void of_partitions(const struct pools *p, uint32_t *skipped, uint32_t *low) {
    *skipped = *low = 0;
    MAP_FOREACH (m, &p->partitions) {
        const struct partition *pt = m->value;
        *skipped += pt->skipped_roots;
        *low += pt->low;
    }
}

enum { DRAINED = ALARM_TYPES, OUTSTANDING };

/* Alarms that are outstanding now: of each type, and pools that are drained. */
static void of_alarms(const struct pools *p, uint64_t n[OUTSTANDING]) {
    memset(n, 0, OUTSTANDING * sizeof *n);
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        for (int k = 0; d != NULL && k < ALARM_TYPES; k++) {
            n[k] += d->alarms[k] != NULL;
        }
        n[DRAINED] += d != NULL ? d->n_drained : 0;
    }
}

void text_statistics(const struct show *sh, struct buf *b) {
    const struct pools *p = sh->p;
    char since[TIME_TEXT_MAX];
    uint32_t skipped, low;
    uint64_t now[OUTSTANDING];
    of_partitions(p, &skipped, &low);
    of_alarms(p, now);
    buf_printf(b,
               "%-19s:  %s\n%-19s:  %" PRIu32 ", %" PRIu32 " reachable\n%-19s:  %" PRIu32
               "\n%-19s:  %" PRIu64 "\n%-19s:  %" PRIu32 "\n%-19s:  %" PRIu32 "\n",
               "Since", time_format(p->stats.since_s, sh->offset_min, since), "Entities",
               p->entity_count, entities_reachable(p), "Pool domains", p->domain_count, "Pools",
               p->pool_count, "Skipped roots", skipped, "Low partitions", low);
    buf_printf(b, "%-19s:  %" PRIu64 " apportion, %" PRIu64 " reclaim, %" PRIu64 " pool-drained\n",
               "Outstanding alarms", now[ALARM_APPORTION], now[ALARM_RECLAIM], now[DRAINED]);
    for (size_t i = 0; i < N_COUNTERS; i++) {
        buf_printf(b, "%-19s:  %" PRIu64 "\n", counters[i].label, value(p, &counters[i]));
    }
}

void json_statistics(const struct show *sh, struct buf *b) {
    const struct pools *p = sh->p;
    uint32_t skipped, low;
    uint64_t now[OUTSTANDING];
    char since[TIME_TEXT_MAX];
    of_partitions(p, &skipped, &low);
    of_alarms(p, now);
    buf_printf(b,
               "\"since\":\"%s\",\"entities\":%" PRIu32 ",\"entities-reachable\":%" PRIu32
               ",\"pool-domains\":%" PRIu32 ",\"pools\":%" PRIu64,
               time_format(p->stats.since_s, sh->offset_min, since), p->entity_count,
               entities_reachable(p), p->domain_count, p->pool_count);
    for (size_t i = 0; i < N_COUNTERS; i++) {
        buf_printf(b, ",\"%s\":\"%" PRIu64 "\"", counters[i].leaf, value(p, &counters[i]));
    }
    buf_printf(b,
               ",\"apportion-outstanding\":\"%" PRIu64 "\",\"reclaim-outstanding\":\"%" PRIu64
               "\",\"pool-drained-outstanding\":\"%" PRIu64 "\"",
               now[ALARM_APPORTION], now[ALARM_RECLAIM], now[DRAINED]);
    buf_printf(b, ",\"skipped-roots\":%" PRIu32 ",\"low-partitions\":%" PRIu32, skipped, low);
}

/* ---- metrics (APM-103) ----------------------------------------------------------------------- */

static void metric(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value) {
    buf_printf(out, "# HELP weft_apm_%s %s\n# TYPE weft_apm_%s %s\nweft_apm_%s %" PRIu64 "\n", name,
               help, name, type, name, value);
}

static void metrics_partitions(const struct pools *p, struct buf *out) {
    static const struct {
        const char *name, *help;
    } gauges[] = {{"total", "Addresses of all roots of a partition."},
                  {"free", "Addresses in no pool and not reserved."},
                  {"allocated", "Addresses in pools."},
                  {"reserved", "Addresses reserved and not in a pool."},
                  {"used", "Addresses that entities report as assigned."},
                  {"low", "1 while fewer addresses are free than wanted."}};
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        buf_printf(out, "# HELP weft_apm_partition_%s %s\n# TYPE weft_apm_partition_%s gauge\n",
                   gauges[g].name, gauges[g].help, gauges[g].name);
        MAP_FOREACH (m, &p->partitions) {
            const struct partition *pt = m->value;
            struct prefix_stats st = {.roots = 0};
            if (pt->tree != NULL) {
                prefix_tree_stats(pt->tree, &st);
            }
            uint64_t v[] = {partition_units(pt, st.total),
                            partition_units(pt, st.free),
                            partition_units(pt, st.allocated),
                            partition_units(pt, st.reserved),
                            pt->used_reported,
                            pt->low};
            buf_printf(out, "weft_apm_partition_%s{partition=\"%s\"} %" PRIu64 "\n", gauges[g].name,
                       pt->name, v[g]);
        }
    }
}

void pools_metrics(void *self, struct buf *out) {
    const struct pools *p = self;
    uint64_t low = 0, recovered = 0, outstanding[OUTSTANDING];
    of_alarms(p, outstanding);
    MAP_FOREACH (m, &p->partitions) {
        low += ((const struct partition *)m->value)->low_crossings;
        recovered += ((const struct partition *)m->value)->recoveries;
    }
    metric(out, "entities", "gauge", "Entities known.", p->entity_count);
    metric(out, "entities_reachable", "gauge", "Entities whose session is up.",
           entities_reachable(p));
    metric(out, "domains", "gauge", "Pool domains.", p->domain_count);
    metric(out, "pools", "gauge", "Pools.", p->pool_count);
    uint32_t skipped, low_now;
    of_partitions(p, &skipped, &low_now);
    metric(out, "skipped_roots", "gauge", "Root prefixes outside their partition's limits.",
           skipped);
    metric(out, "partitions_low", "gauge", "Partitions below their low-water mark.", low_now);
    metric(out, "answers_stored", "gauge", "Answers kept for repeated alarms.", p->n_answers);
    metric(out, "apportion_outstanding", "gauge", "Domains waiting for prefixes.",
           outstanding[ALARM_APPORTION]);
    metric(out, "reclaim_outstanding", "gauge", "Domains with a surplus that is not acted on.",
           outstanding[ALARM_RECLAIM]);
    metric(out, "pool_drained_outstanding", "gauge", "Pools that wait to be reclaimed.",
           outstanding[DRAINED]);
    for (size_t i = 0; i < N_COUNTERS; i++) {
        metric(out, counters[i].metric, "counter", counters[i].help, value(p, &counters[i]));
    }
    metric(out, "partition_low_total", "counter", "Crossings of a low-water mark.", low);
    metric(out, "partition_recovered_total", "counter", "Recoveries from one.", recovered);
    metrics_partitions(p, out);
}
