// SPDX-License-Identifier: Apache-2.0
/* What subscribers are told of: alarms, and pools that come and go. */
#include <inttypes.h>

#include "pools/internal.h"

/* "{"entity":...,"pool-domain":... */
static void begin(struct buf *b, const struct domain *d) {
    buf_str(b, "{\"entity\":");
    text_json(b, d->entity->system_id);
    buf_str(b, ",\"pool-domain\":");
    text_json(b, d->name);
}

static void tell(struct txn *t, const char *name, struct buf *b) {
    buf_char(b, '}');
    txn_event(t, name, buf_cstr(b));
    buf_free(b);
}

static void event_alarm(struct txn *t, const char *name, const struct domain *d,
                        enum alarm_type type, const struct alarm *a, const char *info) {
    struct buf b = BUF_INIT;
    char when[TIME_TEXT_MAX];
    begin(&b, d);
    buf_printf(&b, ",\"type\":\"%s\",\"id\":", type == ALARM_APPORTION ? "apportion" : "reclaim");
    text_json(&b, a->id);
    buf_printf(&b, ",\"raised\":\"%s\",\"attempts\":%" PRIu32, time_format(a->first_s, 0, when),
               a->attempts);
    if (a->pool[0] != '\0') {
        buf_str(&b, ",\"pool\":");
        text_json(&b, a->pool);
    }
    buf_printf(&b, ",\"free-addresses\":\"%" PRIu64 "\",\"info\":", a->free);
    text_json(&b, info);
    tell(t, name, &b);
}

void event_alarm_raised(struct txn *t, const struct domain *d, enum alarm_type type) {
    event_alarm(t, "weft-apm:alarm-raised", d, type, d->alarms[type], d->alarms[type]->info);
}

void event_alarm_cleared(struct txn *t, const struct domain *d, enum alarm_type type,
                         const char *why) {
    event_alarm(t, "weft-apm:alarm-cleared", d, type, d->alarms[type], why);
}

static void event_drained(struct txn *t, const char *name, const struct domain *d,
                          const struct pool *po, const char *info) {
    struct buf b = BUF_INIT;
    char text[POOLS_NAME_MAX + 16];
    pool_name(d, po, text);
    begin(&b, d);
    buf_str(&b, ",\"type\":\"pool-drained\",\"pool\":");
    text_json(&b, text);
    buf_str(&b, ",\"info\":");
    text_json(&b, info);
    tell(t, name, &b);
}

void event_drained_raised(struct txn *t, const struct domain *d, const struct pool *po) {
    event_drained(t, "weft-apm:alarm-raised", d, po, "waits for an operator: reclaim it");
}

void event_drained_cleared(struct txn *t, const struct domain *d, const struct pool *po,
                           const char *why) {
    event_drained(t, "weft-apm:alarm-cleared", d, po, why);
}

/* ---- pools -------------------------------------------------------------------------------------
 */

static void untold_added(void *arg, bool committed) {
    ((struct pools *)arg)->untold_added += committed;
}

static void untold_removed(void *arg, bool committed) {
    ((struct pools *)arg)->untold_removed += committed;
}

void event_pool(struct pools *p, struct txn *t, const struct domain *d, const struct pool *po,
                bool added) {
    int64_t now_s = clock_mono_s(p->clock);
    if (now_s != p->told_s) {
        p->told_s = now_s;
        p->n_told = 0;
    }
    if (p->n_told >= POOLS_EVENTS_PER_S) {
        txn_after(t, added ? untold_added : untold_removed, p);
        return;
    }
    p->n_told++;
    struct buf b = BUF_INIT;
    char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
    struct ip_prefix px = pool_prefix(po);
    pool_name(d, po, name);
    begin(&b, d);
    buf_str(&b, ",\"pool\":");
    text_json(&b, name);
    buf_printf(&b, ",\"prefix\":\"%s\",\"partition\":", ip_prefix_format(&px, text));
    text_json(&b, d->partition->name);
    tell(t, added ? "weft-apm:pool-added" : "weft-apm:pool-removed", &b);
}

void events_tick(struct pools *p, struct txn *t) {
    if (p->untold_added == 0 && p->untold_removed == 0) {
        return;
    }
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"added\":\"%" PRIu64 "\",\"removed\":\"%" PRIu64 "\"", p->untold_added,
               p->untold_removed);
    tell(t, "weft-apm:pools-changed", &b);
    p->untold_added = p->untold_removed = 0;
}
