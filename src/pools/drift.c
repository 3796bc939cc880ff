// SPDX-License-Identifier: Apache-2.0
/*
 * Where our pools and those of an entity differed when it synchronised, and what became of it. The
 * store may be older than the world after a restore, an entity after its own: what was put right
 * then is kept, so that somebody can look at it afterwards. The newest POOLS_DRIFT_MAX are; of one
 * domain's synchronisation POOLS_DRIFT_LISTED are listed and the rest is a number, so that one
 * large gateway neither hides the others nor fills the log.
 *
 * What a session that broke explains is no difference: an offer that never arrived, a removal that
 * was done.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "pools/show.h"

LOGGER_MODULE(pools);

enum { UNSYNCHRONISED_NAMED = 20 };

static const char *const kind_names[] = {[DRIFT_ONLY_HERE] = "only-here",
                                         [DRIFT_ONLY_THERE] = "only-there",
                                         [DRIFT_STATE] = "state",
                                         [DRIFT_MORE] = "more"};
static const char *const outcome_names[] = {
    [DRIFT_FREED] = "freed",         [DRIFT_ADOPTED] = "adopted", [DRIFT_CONFLICT] = "conflict",
    [DRIFT_UNMANAGED] = "unmanaged", [DRIFT_MOVED] = "moved",     [DRIFT_FOLLOWED] = "followed",
    [DRIFT_ORDERED] = "ordered",     [DRIFT_COUNTED] = "counted"};

/* ---- writing ----------------------------------------------------------------------------------
 */

static void drift_put(struct pools *p, struct txn *t, const struct drift *dr) {
    uint64_t seq = p->drift_seq + 1;
    struct rec_key k = rec_key_id(REC_DRIFT, (uint32_t)(seq % POOLS_DRIFT_MAX));
    struct buf b = BUF_INIT;
    struct drift whole = *dr;
    whole.seq = seq;
    whole.at_s = txn_now_s(t);
    drift_rec_encode(&whole, &b);
    txn_put_state(t, k.bytes, k.len, b.data, b.len);
    buf_free(&b);
}

void drift_note(struct pools *p, struct txn *t, const struct domain *d, struct drift_tally *tally,
                const struct drift *what) {
    tally->n[what->kind]++;
    tally->conflicts += what->outcome == DRIFT_CONFLICT;
    if (tally->listed == POOLS_DRIFT_LISTED) {
        tally->unlisted++;
        return;
    }
    tally->listed++;
    struct drift dr = *what;
    dr.entity = d->entity->system_id;
    dr.domain = d->name;
    drift_put(p, t, &dr);
}

void drift_note_pool(struct pools *p, struct txn *t, const struct domain *d,
                     struct drift_tally *tally, const struct pool *po, enum drift_kind kind,
                     enum drift_outcome outcome) {
    char name[POOLS_NAME_MAX + 16];
    pool_name(d, po, name);
    struct drift dr = {.pool = name,
                       .prefix = pool_prefix(po),
                       .kind = (uint8_t)kind,
                       .outcome = (uint8_t)outcome};
    drift_note(p, t, d, tally, &dr);
}

void drift_domain_gone(struct pools *p, struct txn *t, const struct domain *d) {
    struct drift_tally tally = {.listed = 0};
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (drift_expected(&d->pools[i])) {
            drift_note_pool(p, t, d, &tally, &d->pools[i], DRIFT_ONLY_HERE, DRIFT_FREED);
        }
    }
    drift_end(p, t, d, &tally);
}

void drift_end(struct pools *p, struct txn *t, const struct domain *d,
               const struct drift_tally *tally) {
    const uint32_t *n = tally->n;
    if (n[DRIFT_ONLY_HERE] + n[DRIFT_ONLY_THERE] + n[DRIFT_STATE] == 0) {
        return;
    }
    if (tally->unlisted > 0) {
        struct drift dr = {.entity = d->entity->system_id,
                           .domain = d->name,
                           .kind = DRIFT_MORE,
                           .outcome = DRIFT_COUNTED,
                           .count = tally->unlisted};
        drift_put(p, t, &dr);
    }
    L_WARN("%s domain %s differed when it synchronised: %" PRIu32 " pools only here, %" PRIu32
           " only there, %" PRIu32 " in another state, %" PRIu32
           " conflicts; show apm drift lists them",
           d->entity->system_id, d->name, n[DRIFT_ONLY_HERE], n[DRIFT_ONLY_THERE], n[DRIFT_STATE],
           tally->conflicts);
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"entity\":");
    text_json(&b, d->entity->system_id);
    buf_str(&b, ",\"pool-domain\":");
    text_json(&b, d->name);
    buf_printf(&b,
               ",\"only-here\":%" PRIu32 ",\"only-there\":%" PRIu32 ",\"state\":%" PRIu32
               ",\"conflicts\":%" PRIu32 "}",
               n[DRIFT_ONLY_HERE], n[DRIFT_ONLY_THERE], n[DRIFT_STATE], tally->conflicts);
    txn_event(t, "weft-apm:sync-drift", buf_cstr(&b));
    buf_free(&b);
}

/* ---- the fold ---------------------------------------------------------------------------------
 */

static void drift_free(struct drift *dr) {
    if (dr != NULL) {
        drift_rec_free(dr);
        mem_free(dr);
    }
}

enum err_code drift_fold(struct pools *p, uint32_t slot, const void *v, size_t n, struct err *e) {
    if (slot >= POOLS_DRIFT_MAX) {
        return err_set(e, ERR_MALFORMED, NULL, "the number of the difference is out of range");
    }
    struct drift *dr = NULL;
    if (v != NULL) {
        struct drift r;
        ERR_TRY(drift_rec_decode(v, n, &r, e));
        dr = mem_dup(&r, sizeof r);
        /* Never back: a number that an undone piece of work had is left out. */
        p->drift_seq = r.seq > p->drift_seq ? r.seq : p->drift_seq;
    }
    if (p->drift == NULL) {
        p->drift = mem_alloc(POOLS_DRIFT_MAX * sizeof(struct drift *));
    }
    drift_free(p->drift[slot]);
    p->drift[slot] = dr;
    return ERR_OK;
}

const struct drift *drift_at(const struct pools *p, uint32_t slot) {
    return p->drift != NULL && slot < POOLS_DRIFT_MAX ? p->drift[slot] : NULL;
}

void drift_clear(struct pools *p) {
    for (uint32_t i = 0; p->drift != NULL && i < POOLS_DRIFT_MAX; i++) {
        drift_free(p->drift[i]);
    }
    mem_free(p->drift);
    p->drift = NULL;
}

/* ---- showing ----------------------------------------------------------------------------------
 */

static int by_seq(const void *a, const void *b) {
    const struct drift *x = *(const struct drift *const *)a, *y = *(const struct drift *const *)b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Borrowed, oldest first, NULL at the end; mem_free the array. `entity` NULL: of all. */
static const struct drift **drift_sorted(const struct pools *p, const char *entity) {
    const struct drift **all = mem_alloc((POOLS_DRIFT_MAX + 1) * sizeof *all);
    size_t n = 0;
    for (uint32_t i = 0; i < POOLS_DRIFT_MAX; i++) {
        const struct drift *dr = drift_at(p, i);
        if (dr != NULL && (entity == NULL || strcmp(dr->entity, entity) == 0)) {
            all[n++] = dr;
        }
    }
    qsort(all, n, sizeof *all, by_seq);
    return all;
}

/* Has it yet to tell what it has, since we started? */
static bool unsynchronised(const struct entity *en) {
    MAP_FOREACH (m, &en->domains) {
        if (!((const struct domain *)m->value)->told) {
            return true;
        }
    }
    return false;
}

static void text_unsynchronised(const struct show *sh, struct buf *b) {
    struct entity **all = entities_sorted(sh->p);
    size_t n = 0;
    for (size_t i = 0; all[i] != NULL; i++) {
        if (!unsynchronised(all[i]) || ++n > UNSYNCHRONISED_NAMED) {
            continue;
        }
        buf_printf(b, "%s %s", n == 1 ? "Not yet synchronised since the start:" : ",",
                   all[i]->system_id);
    }
    if (n > UNSYNCHRONISED_NAMED) {
        buf_printf(b, " and %zu more", n - UNSYNCHRONISED_NAMED);
    }
    buf_str(b, n > 0 ? "\n" : "");
    mem_free(all);
}

void text_drift(const struct show *sh, struct buf *b, const char *entity) {
    static const char *const head[] = {"Time",   "Entity", "Pool Domain", "Pool",
                                       "Prefix", "Where",  "Outcome",     "Info"};
    struct table tb;
    text_unsynchronised(sh, b);
    const struct drift **all = drift_sorted(sh->p, entity);
    table_start(&tb, 8, head);
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct drift *dr = all[i];
        char when[TIME_TEXT_MAX], prefix[IP_TEXT_MAX] = "-", info[700] = "";
        if (dr->kind != DRIFT_MORE) {
            ip_prefix_format(&dr->prefix, prefix);
            snprintf(info, sizeof info, "%s", dr->note != NULL ? dr->note : "");
        } else {
            snprintf(info, sizeof info, "%" PRIu32 " more of the same synchronisation", dr->count);
        }
        table_row(&tb, (const char *[]){time_format(dr->at_s, sh->offset_min, when), dr->entity,
                                        dr->domain, dr->pool[0] != '\0' ? dr->pool : "-", prefix,
                                        kind_names[dr->kind], outcome_names[dr->outcome], info});
    }
    mem_free(all);
    table_end(&tb, b, "No differences.\n");
}

void json_drift(const struct show *sh, struct buf *b, const char *entity) {
    const struct drift **all = drift_sorted(sh->p, entity);
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct drift *dr = all[i];
        char text[TIME_TEXT_MAX], prefix[IP_TEXT_MAX];
        buf_printf(b, "%s{\"number\":\"%" PRIu64 "\",\"time\":\"%s\",\"entity\":", i ? "," : "",
                   dr->seq, time_format(dr->at_s, sh->offset_min, text));
        text_json(b, dr->entity);
        buf_str(b, ",\"pool-domain\":");
        text_json(b, dr->domain);
        buf_printf(b, ",\"where\":\"%s\",\"outcome\":\"%s\"", kind_names[dr->kind],
                   outcome_names[dr->outcome]);
        if (dr->kind == DRIFT_MORE) {
            buf_printf(b, ",\"unlisted\":%" PRIu32 "}", dr->count);
            continue;
        }
        buf_str(b, ",\"pool\":");
        text_json(b, dr->pool);
        buf_printf(b, ",\"prefix\":\"%s\"", ip_prefix_format(&dr->prefix, prefix));
        if (dr->code != 0) {
            buf_printf(b, ",\"code\":\"C%u\"", dr->code);
        }
        if (dr->note != NULL && dr->note[0] != '\0') {
            buf_str(b, ",\"info\":");
            text_json(b, dr->note);
        }
        buf_char(b, '}');
    }
    mem_free(all);
}

void json_unsynchronised(const struct show *sh, struct buf *b) {
    struct entity **all = entities_sorted(sh->p);
    const char *comma = "";
    for (size_t i = 0; all[i] != NULL; i++) {
        if (unsynchronised(all[i])) {
            buf_str(b, comma);
            text_json(b, all[i]->system_id);
            comma = ",";
        }
    }
    mem_free(all);
}
