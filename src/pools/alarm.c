// SPDX-License-Identifier: Apache-2.0
/*
 * Alarms of entities: who may be answered now, what was answered before (P-05), apportionment, and
 * the book of outstanding alarms. What is decided about draining stands in reclaim.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

enum { US_PER_S = 1000000 };

typedef Openapmi__V1__Alarm alarm_msg;
typedef Openapmi__V1__AlarmResponse response;

void alarm_answer(struct txn *t, struct apmi_session *s, uint64_t msg_id, const response *r) {
    Openapmi__V1__ManagerMsg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE;
    m.alarm_response = (response *)(uintptr_t)r;
    apmi_send(t, s, &m);
}

void alarm_answer_noop(struct txn *t, struct apmi_session *s, uint64_t msg_id, const char *alarm_id,
                       Openapmi__V1__Reason reason, int64_t retry_at, const char *text) {
    response r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    r.alarm_id = (char *)(uintptr_t)alarm_id;
    r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
    r.action = OPENAPMI__V1__ACTION__NOOP;
    r.reason = reason;
    r.retry_at = retry_at;
    r.text = (char *)(uintptr_t)text;
    alarm_answer(t, s, msg_id, &r);
}

static void answer_and_store(struct pools *p, struct txn *t, struct apmi_session *s,
                             uint64_t msg_id, struct domain *d, const alarm_msg *a,
                             const response *r, uint32_t first, int64_t receipt_s) {
    answer_keep(p, t, d, a, r, first, receipt_s);
    alarm_answer(t, s, msg_id, r);
}

/* 0: the alarm may come now. Otherwise when it may come again: each that is refused gets a turn of
 * its own, at the rate, or all of them would be back at the same moment. */
static int64_t rate_limited(const struct pools *p, struct entity *en, int64_t now_s) {
    const struct match *m = map_get(&p->matches, en->system_id);
    int64_t rate = m != NULL ? m->alarm_rate : 1, most = rate * POOLS_ALARM_BURST_S;
    if (now_s > en->tokens_at_s) {
        en->tokens += (now_s - en->tokens_at_s) * rate;
    }
    en->tokens_at_s = now_s; /* the clock may have been set back */
    en->tokens = en->tokens < most ? en->tokens : most;
    if (en->tokens > 0) {
        en->tokens--;
        return 0;
    }
    int64_t soonest = (now_s + 1) * US_PER_S, latest = (now_s + POOLS_RETRY_RATE_MAX_S) * US_PER_S;
    int64_t turn = en->turn_at_us > soonest ? en->turn_at_us : soonest;
    turn = turn < latest ? turn : latest;
    en->turn_at_us = turn + US_PER_S / rate;
    return turn / US_PER_S;
}

/* ---- outstanding alarms ---------------------------------------------------------------------- */

/* True when this alarm was not outstanding before (a retry carries the same id, APM-059). */
static bool alarm_is_new(const struct domain *d, enum alarm_type type, const alarm_msg *a) {
    return d->alarms[type] == NULL || strcmp(d->alarms[type]->id, a->alarm_id) != 0;
}

static void alarm_keep(struct txn *t, struct domain *d, enum alarm_type type, const alarm_msg *a,
                       int64_t receipt_s, uint8_t result, uint8_t reason, int64_t retry_at,
                       const char *pool, const char *info) {
    bool is_new = alarm_is_new(d, type, a);
    struct alarm rec = {.id = a->alarm_id,
                        .pool = (char *)(uintptr_t)pool,
                        .info = (char *)(uintptr_t)info,
                        .raised_at = a->raised_at,
                        .first_s = is_new ? receipt_s : d->alarms[type]->first_s,
                        .last_s = receipt_s,
                        .retry_at = retry_at,
                        .free = a->free_addresses,
                        .attempts = is_new ? 1 : d->alarms[type]->attempts + 1,
                        .result = result,
                        .reason = reason};
    alarm_put(t, d, type, &rec);
    if (is_new) {
        event_alarm_raised(t, d, type);
    }
}

/* ---- apportionment (APM-050..053) ------------------------------------------------------------ */

static void why_not(const struct domain *d, unsigned len, const struct prefix_conflict *why,
                    char text[256]) {
    if (d->partition->cfg == NULL) {
        snprintf(text, 256, "partition %s is not configured", d->partition->name);
    } else if (!domain_fits(d)) {
        char its[POOLS_UNIT_TEXT_MAX], holds[POOLS_UNIT_TEXT_MAX];
        snprintf(text, 256, "partition %s is for %s, the domain is for %s", d->partition->name,
                 pools_unit_text(d->partition->cfg->family, d->partition->cfg->unit, holds),
                 pools_unit_text(d->family, d->unit, its));
    } else if (d->n_pools >= POOLS_PER_DOMAIN_MAX) {
        snprintf(text, 256, "the domain has %d pools, which is the most it may have",
                 POOLS_PER_DOMAIN_MAX);
    } else if (why->reason == PREFIX_WHY_TOO_LONG) {
        snprintf(text, 256, "/%u is longer than the longest prefix of partition %s, /%u", len,
                 d->partition->name, d->partition->cfg->max_len);
    } else {
        snprintf(text, 256, "partition %s has no prefix left for this domain%s", d->partition->name,
                 d->entity->n_refused > 0 ? " but what it could not take" : "");
    }
}

static void apportion(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                      struct domain *d, const alarm_msg *a, int64_t receipt_s) {
    uint32_t wanted = a->wanted_prefixes ? a->wanted_prefixes : 1;
    uint32_t most = wanted < POOLS_WANTED_MAX ? wanted : POOLS_WANTED_MAX, n = 0;
    unsigned len = domain_wanted_length(d, a->preferred_length);
    if (alarm_is_new(d, ALARM_APPORTION, a)) {
        d->stats.apportion_alarms++;
        p->stats.apportion_alarms++;
    } else {
        p->stats.retries++;
    }
    uint32_t first = d->next_ordinal;
    struct offers offers;
    offers_make(&offers, most);
    struct prefix_conflict why = {.reason = PREFIX_WHY_NONE};
    for (; n < most; n++) {
        const struct pool *po = domain_apportion(p, t, d, len, &why);
        if (po == NULL) {
            break;
        }
        offers_add(&offers, d, po);
    }
    char text[256] = "";
    response r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    r.alarm_id = a->alarm_id;
    r.shortfall = wanted - n;
    r.text = text;
    if (n < wanted) {
        p->stats.allocation_failures++;
    }
    if (n < most) {
        why_not(d, len, &why, text);
    }
    if (n > 0) {
        r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
        r.action = OPENAPMI__V1__ACTION__ADD_POOLS;
        r.n_add = n;
        r.add = offers.add;
        char info[64];
        snprintf(info, sizeof info, "%" PRIu32 " %s given%s", n,
                 text_plural(n, "prefix was", "prefixes were"),
                 n < wanted ? ", fewer than were asked for" : "");
        alarm_over(t, d, ALARM_APPORTION, info);
        domain_wait(p, d);
        partition_check_low(p, t, d->partition);
    } else {
        r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
        r.action = OPENAPMI__V1__ACTION__NOOP;
        r.reason = OPENAPMI__V1__REASON__PARTITION_EMPTY;
        r.retry_at = receipt_s + POOLS_RETRY_EMPTY_S;
        L_WARN_RL(10, "%s domain %s gets no prefix: %s", d->entity->system_id, d->name, text);
        alarm_keep(t, d, ALARM_APPORTION, a, receipt_s, (uint8_t)r.result, (uint8_t)r.reason,
                   r.retry_at, "", text);
    }
    answer_and_store(p, t, s, msg_id, d, a, &r, first, receipt_s);
    offers_free(&offers);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void abate(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  struct domain *d, const alarm_msg *a, int64_t receipt_s) {
    bool any = false, own = false; /* own: its id is that of the alarm it withdraws */
    for (int i = 0; i < ALARM_TYPES; i++) {
        own |= d->alarms[i] != NULL && strcmp(d->alarms[i]->id, a->alarm_id) == 0;
    }
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *al = d->alarms[i];
        bool named = a->n_abated == 0 && (!own || (al && strcmp(al->id, a->alarm_id) == 0));
        for (size_t k = 0; al != NULL && k < a->n_abated; k++) {
            named |= strcmp(al->id, a->abated[k]) == 0;
        }
        if (al != NULL && named) {
            alarm_over(t, d, (enum alarm_type)i, "its entity has withdrawn it");
            any = true;
        }
    }
    d->stats.abatements++;
    p->stats.abatements++;
    response r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    r.alarm_id = a->alarm_id;
    r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
    r.action = OPENAPMI__V1__ACTION__NOOP;
    r.text = (char *)(uintptr_t)(any ? "" : "no alarm of this domain was outstanding");
    answer_and_store(p, t, s, msg_id, d, a, &r, 0, receipt_s);
}

static void drain_alarm(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                        struct domain *d, const alarm_msg *a, int64_t receipt_s) {
    struct decision dec;
    bool is_reclaim = a->type == OPENAPMI__V1__ALARM_TYPE__RECLAIM;
    if (is_reclaim) {
        if (alarm_is_new(d, ALARM_RECLAIM, a)) {
            d->stats.reclaim_alarms++;
            p->stats.reclaim_alarms++;
        } else {
            p->stats.retries++;
        }
        reclaim_decide(p, t, d, a, receipt_s, &dec);
        if (dec.outstanding) {
            alarm_keep(t, d, ALARM_RECLAIM, a, receipt_s, (uint8_t)dec.result, (uint8_t)dec.reason,
                       dec.retry_at, dec.pool, dec.text);
        } else {
            char info[POOLS_NAME_MAX + 40];
            snprintf(info, sizeof info, "pool %s is to be drained", dec.pool);
            alarm_over(t, d, ALARM_RECLAIM, info);
        }
    } else {
        drained_decide(p, t, d, a, receipt_s, &dec);
    }
    response r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    r.alarm_id = a->alarm_id;
    r.result = dec.result;
    r.action = dec.action;
    r.reason = dec.reason;
    r.retry_at = dec.retry_at;
    r.pool = dec.pool;
    r.text = dec.text;
    answer_and_store(p, t, s, msg_id, d, a, &r, 0, receipt_s);
}

void alarm_handle(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  const alarm_msg *a, int64_t receipt_s) {
    struct entity *en = apmi_entity(s);
    if (!apmi_in_step(s)) {
        alarm_answer_noop(t, s, msg_id, a->alarm_id, OPENAPMI__V1__REASON__SYNC_IN_PROGRESS,
                          receipt_s + 1, "the synchronisation is not over");
        return;
    }
    if (answer_again(p, t, s, msg_id, a)) {
        return;
    }
    struct domain *d = entity_domain(en, a->domain);
    if (d == NULL) {
        alarm_answer_noop(t, s, msg_id, a->alarm_id, OPENAPMI__V1__REASON__UNKNOWN_DOMAIN,
                          receipt_s + 1, "no such domain: create it first");
        return;
    }
    if (a->preferred_length > d->unit) {
        apmi_end(t, s, CODE_INVALID_ARGUMENT, "the preferred length is longer than what is given");
        return;
    }
    if (d->resync_asked) {
        alarm_answer_noop(t, s, msg_id, a->alarm_id, OPENAPMI__V1__REASON__SYNC_IN_PROGRESS,
                          receipt_s + 1, "the domain is being synchronised");
        return;
    }
    int64_t again_at = rate_limited(p, en, receipt_s);
    if (again_at != 0) {
        p->stats.rate_limited++;
        alarm_answer_noop(t, s, msg_id, a->alarm_id, OPENAPMI__V1__REASON__RATE_LIMITED, again_at,
                          "too many alarms in too short a time");
        return;
    }
    if (a->type != OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED && a->total_addresses > 0 &&
        a->free_addresses <= a->total_addresses) {
        domain_set_usage(d, a->free_addresses, a->total_addresses,
                         a->total_addresses - a->free_addresses);
    }
    switch (a->type) {
    case OPENAPMI__V1__ALARM_TYPE__APPORTION:
        apportion(p, t, s, msg_id, d, a, receipt_s);
        break;
    case OPENAPMI__V1__ALARM_TYPE__ABATE:
        abate(p, t, s, msg_id, d, a, receipt_s);
        break;
    default: /* the session has let only known types through */
        drain_alarm(p, t, s, msg_id, d, a, receipt_s);
        break;
    }
}
