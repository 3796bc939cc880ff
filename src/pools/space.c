// SPDX-License-Identifier: Apache-2.0
/*
 * Domains that wait for prefixes are told when their partition has space again (P-22): a root was
 * added, a reservation or a limit was lifted, somebody gave a prefix back. Without it they would
 * refuse subscribers until their time to ask again, up to 15 minutes, beside free space. Looked for
 * once a second; nothing is stored, as the entity's time to ask again stays what it was told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

enum { TELL_AT_ONCE = 256 }; /* in a second: they all ask */

/* Has the partition anything to give that it had not a second ago? */
static bool has_more(struct pools *p, struct partition *pt) {
    struct prefix_stats st = {.free = 0};
    if (pt->tree != NULL) {
        prefix_tree_stats(pt->tree, &st);
    }
    bool more = st.free > pt->free_seen || st.reserved > pt->reserved_seen || p->reconfigured;
    pt->free_seen = st.free;
    pt->reserved_seen = st.reserved;
    return more && pt->cfg != NULL;
}

/* Waits it for what the partition lacked, and could it be given something now? */
static bool waits(struct pools *p, struct domain *d) {
    const struct alarm *al = d->alarms[ALARM_APPORTION];
    return al != NULL && al->reason == OPENAPMI__V1__REASON__PARTITION_EMPTY &&
           d->told_of < d->partition->space_event && d->entity->session != NULL &&
           apmi_in_step(d->entity->session) && !d->resync_asked && domain_could_get(p, d);
}

static int by_age(const void *a, const void *b) {
    const struct alarm *x = (*(struct domain *const *)a)->alarms[ALARM_APPORTION];
    const struct alarm *y = (*(struct domain *const *)b)->alarms[ALARM_APPORTION];
    return x->first_s < y->first_s ? -1 : x->first_s > y->first_s;
}

static void tell(struct txn *t, struct domain *d, int64_t now_s) {
    const struct alarm *al = d->alarms[ALARM_APPORTION];
    d->told_of = d->partition->space_event;
    if (al->retry_at <= now_s) {
        return; /* it comes by itself */
    }
    char text[256];
    snprintf(text, sizeof text, "partition %s has space again", d->partition->name);
    L_INFO("%s domain %s is told that %s", d->entity->system_id, d->name, text);
    alarm_answer_noop(t, d->entity->session, 0, al->id, OPENAPMI__V1__REASON__PARTITION_EMPTY,
                      now_s, text);
}

void space_tell(struct pools *p, struct txn *t, int64_t now_s) {
    bool any = p->space_untold;
    MAP_FOREACH (m, &p->partitions) {
        struct partition *pt = m->value;
        if (has_more(p, pt)) {
            pt->space_event = ++p->space_events;
            any = true;
        }
    }
    p->reconfigured = p->space_untold = false;
    if (!any) {
        return;
    }
    struct domain **all = mem_array(NULL, (size_t)p->domain_count + 1, sizeof(struct domain *));
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_domains; i++) {
        if (p->domains[i] != NULL && waits(p, p->domains[i])) {
            all[n++] = p->domains[i];
        }
    }
    qsort(all, n, sizeof(struct domain *), by_age); /* who has waited longest comes first */
    for (size_t i = 0; i < n && i < TELL_AT_ONCE; i++) {
        tell(t, all[i], now_s);
    }
    p->space_untold = n > TELL_AT_ONCE;
    mem_free(all);
}
