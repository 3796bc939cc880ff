// SPDX-License-Identifier: Apache-2.0
/* Many pools reclaimed at once: the job. See bulk.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "core/job.h"
#include "pools/bulk.h"

LOGGER_MODULE(pools);

enum {
    ROUNDS_MAX = 80,        /* of JOB_CHILDREN_MAX parts: what the job's record has room for */
    DEADLINE_S = 2 * 86400, /* of an attempt; the order's own wait is shorter */
    RESULT_MAX = 3800,      /* bytes of a step's result, of JOB_RESULT_MAX */
    PLACES_TEXT = BULK_PART_POOLS / 4 + 1
};

static const struct job_definition all_definition, part_definition;

/* ---- looking for pools: apm-reclaim ------------------------------------------------------------
 */

struct search {
    struct job_effect *x;
    struct pools *pools;
    json_t *tree;
    struct bulk_order order;
    struct bulk_cursor at;
    size_t n_pools, n_parts;
    unsigned round;
    bool more;
};

static void search_part(void *arg, const char *input, size_t pools) {
    struct search *s = arg;
    s->n_pools += pools;
    s->n_parts++;
    job_add_child(s->x, &part_definition, input);
}

static enum err_code search_work(struct txn *t, void *arg, struct err *e) {
    struct search *s = arg;
    s->more = bulk_parts(s->pools, &s->order, &s->at, JOB_CHILDREN_MAX, search_part, s);
    return ERR_OK;
}

static void search_over(void *arg, uint64_t index, const struct err *e) {
    struct search *s = arg;
    if (e == NULL) {
        char text[160];
        snprintf(text, sizeof text,
                 "%zu %s in %zu %s, round %u, up to domain %" PRIu32 " pool %" PRIu32 "%s",
                 s->n_pools, text_plural(s->n_pools, "pool", "pools"), s->n_parts,
                 text_plural(s->n_parts, "part", "parts"), s->round, s->at.domain, s->at.ordinal,
                 s->more ? ", more" : "");
        job_set_result(s->x, text);
        if (s->more && s->round < ROUNDS_MAX) {
            job_set_next(s->x, "parts");
        }
        job_progress(s->x, 0, text);
    }
    job_step_ended(s->x, e);
    job_release(s->x);
    json_decref(s->tree);
    mem_free(s);
}

static enum err_code bad_input(struct err *e) {
    return err_set(e, ERR_INVALID, NULL, "the job's input is damaged");
}

static enum err_code parts_run(struct job_effect *x, struct err *e) {
    struct search *s = MEM_NEW(struct search);
    const char *before = job_result(x, "parts");
    s->pools = job_arg(x);
    s->tree = json_loads(job_input(x), 0, NULL);
    bool good = bulk_order_parse(s->tree, &s->order);
    if (before != NULL) {
        good = good &&
               sscanf(before, "%zu %*s in %zu %*s round %u, up to domain %" SCNu32 " pool %" SCNu32,
                      &s->n_pools, &s->n_parts, &s->round, &s->at.domain, &s->at.ordinal) == 5;
    }
    if (!good) {
        json_decref(s->tree);
        mem_free(s);
        return bad_input(e);
    }
    s->round++;
    s->x = job_later(x);
    core_run_look(job_core(x), &actor_system, search_work, search_over, s);
    return ERR_OK;
}

struct total {
    struct job_effect *x;
    unsigned reclaimed, all;
    struct buf others; /* children that left some */
};

static void total_child(void *arg, uint64_t id, const char *result) {
    struct total *s = arg;
    unsigned reclaimed = 0, all = 0;
    if (result == NULL || sscanf(result, "%u of %u", &reclaimed, &all) != 2) {
        return;
    }
    s->reclaimed += reclaimed;
    s->all += all;
    if (reclaimed < all && s->others.len < RESULT_MAX - 300) {
        buf_printf(&s->others, "%s%" PRIu64, s->others.len > 0 ? ", " : "", id);
    }
}

static enum err_code total_work(struct txn *t, void *arg, struct err *e) {
    struct total *s = arg;
    job_each_child(s->x, "reclaim", total_child, s);
    return ERR_OK;
}

static void total_over(void *arg, uint64_t index, const struct err *e) {
    struct total *s = arg;
    if (e == NULL) {
        const char *parts = job_result(s->x, "parts");
        struct buf b = BUF_INIT;
        buf_printf(&b, "%u of %u reclaimed", s->reclaimed, s->all);
        if (s->others.len > 0) {
            buf_printf(&b, "; why the others are not: show job id %s", buf_cstr(&s->others));
        }
        if (parts != NULL && strstr(parts, ", more") != NULL) {
            buf_str(&b, "; there are more: order it again");
        }
        job_set_result(s->x, buf_cstr(&b));
        job_progress(s->x, 100, buf_cstr(&b));
        buf_free(&b);
    }
    job_step_ended(s->x, e);
    job_release(s->x);
    buf_free(&s->others);
    mem_free(s);
}

static enum err_code sum_run(struct job_effect *x, struct err *e) {
    struct total *s = MEM_NEW(struct total);
    s->x = job_later(x);
    core_run_look(job_core(x), &actor_system, total_work, total_over, s);
    return ERR_OK;
}

/* ---- runs: apm-reclaim-part --------------------------------------------------------------------
 */

enum phase { DRAINING, REMOVING, UNDOING };
enum outcome {
    OPEN,
    WELL, /* DRAINING: it drains, or is gone; REMOVING: it is gone; UNDOING: nothing is left to do
           */
    LEFT  /* why says why */
};

struct mark {
    enum outcome outcome;
    bool ordered; /* by this run */
};

struct entry { /* a pool */
    uint32_t group, ordinal;
    uint32_t place; /* in the input */
    bool was_active;
    uint64_t used;         /* when the run began: those with few subscribers go first */
    struct mark now, next; /* next: once what was put with it is durable */
    char *why;
};

struct group { /* a domain */
    char *entity, *domain;
    int64_t created_s;
    int64_t away_s; /* monotonic: since when its entity is away; 0: it is there */
};

struct bulk_run {
    struct list link;
    struct job_effect *x;
    struct pools *pools;
    enum phase phase;
    bool force, begun;
    int unused;
    int64_t wait_s, until_s; /* until_s: UTC */
    int64_t end_s;           /* the same, monotonic */
    struct group *groups;
    size_t n_groups;
    struct entry *entries; /* by group, then use */
    size_t n, n_told;      /* n_told: ended ones in the last word of progress */
};

static void run_free(struct bulk_run *r) {
    list_remove(&r->link);
    for (size_t i = 0; i < r->n_groups; i++) {
        mem_free(r->groups[i].entity);
        mem_free(r->groups[i].domain);
    }
    for (size_t i = 0; i < r->n; i++) {
        mem_free(r->entries[i].why);
    }
    mem_free(r->groups);
    mem_free(r->entries);
    job_release(r->x);
    mem_free(r);
}

static bool read_pools(struct bulk_run *r, const json_t *list, bool active) {
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each) {
        json_int_t ordinal = json_is_integer(each) ? json_integer_value(each) : -1;
        if (ordinal < 0 || ordinal > UINT32_MAX || r->n == BULK_PART_POOLS) {
            return false;
        }
        r->entries = mem_array(r->entries, r->n + 1, sizeof *r->entries);
        r->entries[r->n] = (struct entry){.group = (uint32_t)r->n_groups - 1,
                                          .ordinal = (uint32_t)ordinal,
                                          .place = (uint32_t)r->n,
                                          .was_active = active};
        r->n++;
    }
    return true;
}

static bool read_input(struct bulk_run *r, const json_t *tree) {
    struct bulk_order o;
    const json_t *domains = json_object_get(tree, "domains");
    size_t i;
    json_t *each;
    if (!bulk_order_parse(tree, &o) || !json_is_array(domains)) {
        return false;
    }
    r->force = o.force;
    r->unused = o.unused;
    r->wait_s = o.wait_s;
    json_array_foreach(domains, i, each) {
        const char *entity, *name;
        json_int_t created;
        json_t *active, *going;
        if (json_unpack(each, "{s:s, s:s, s:I, s:o, s:o}", "entity", &entity, "name", &name,
                        "created", &created, "active", &active, "going", &going) != 0) {
            return false;
        }
        r->groups = mem_array(r->groups, r->n_groups + 1, sizeof *r->groups);
        r->groups[r->n_groups++] = (struct group){
            .entity = mem_strdup(entity), .domain = mem_strdup(name), .created_s = created};
        if (!read_pools(r, active, true) || !read_pools(r, going, false)) {
            return false;
        }
    }
    return true;
}

/* What the first step left: until when it is waited, and which pools drain. */
static bool read_drained(struct bulk_run *r) {
    char until[40], places[PLACES_TEXT] = "";
    const char *text = job_result(r->x, "drain");
    if (text == NULL ||
        sscanf(text, "%*u of %*u drain until %39s (%64[0-9a-f])", until, places) != 2 ||
        strlen(places) != (r->n + 3) / 4 || !time_parse(until, &r->until_s)) {
        return false;
    }
    for (size_t i = 0; i < r->n; i++) {
        char digit[2] = {places[i / 4], '\0'};
        if ((strtoul(digit, NULL, 16) & 8U >> i % 4) == 0) {
            r->entries[i].now.outcome = r->entries[i].next.outcome = LEFT; /* it was said then */
        }
    }
    return true;
}

static enum err_code nothing(struct txn *t, void *arg, struct err *e) {
    return ERR_OK;
}

/* On the writer, or, when the queue is full, on the job's own thread. */
static void run_attach(void *arg, uint64_t index, const struct err *e) {
    struct bulk_run *r = arg;
    if (e != NULL) {
        job_step_ended(r->x, e);
        run_free(r);
        return;
    }
    list_append(&r->pools->bulk_runs, &r->link);
}

static enum err_code run_start(struct job_effect *x, enum phase phase, struct err *e) {
    struct bulk_run *r = MEM_NEW(struct bulk_run);
    json_t *tree = json_loads(job_input(x), 0, NULL);
    list_init(&r->link);
    r->pools = job_arg(x);
    r->phase = phase;
    r->x = job_later(x);
    bool good = read_input(r, tree) && r->n > 0 && (phase != REMOVING || read_drained(r));
    json_decref(tree);
    if (!good) {
        run_free(r);
        return bad_input(e);
    }
    core_run_look(job_core(x), &actor_system, nothing, run_attach, r);
    return ERR_OK;
}

static enum err_code drain_run(struct job_effect *x, struct err *e) {
    return run_start(x, DRAINING, e);
}

static enum err_code drain_undo(struct job_effect *x, struct err *e) {
    return run_start(x, UNDOING, e);
}

static enum err_code reclaim_run(struct job_effect *x, struct err *e) {
    return run_start(x, REMOVING, e);
}

/* ---- a look at a run ---------------------------------------------------------------------------
 */

struct pass {
    struct pools *p;
    struct txn *t;
    struct bulk_run *r;
    struct group *g;
    struct domain *d;
    struct bulk_sum sum; /* of d, once it was needed */
    bool summed;
    uint32_t *busy; /* by entity: pools of which an order is unanswered */
    int64_t now_s;  /* monotonic */
    bool late;      /* the wait is over */
};

static struct domain *group_domain(const struct pools *p, const struct group *g) {
    struct entity *en = pools_entity(p, g->entity);
    struct domain *d = en != NULL ? entity_domain(en, g->domain) : NULL;
    return d != NULL && d->created_s == g->created_s ? d : NULL;
}

static void left(struct pass *ps, struct entry *en, const struct pool *po, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void left(struct pass *ps, struct entry *en, const struct pool *po, const char *fmt, ...) {
    char name[POOLS_NAME_MAX + 16], why[300];
    va_list ap;
    pool_name(ps->d, po, name);
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    mem_free(en->why);
    en->why = mem_printf("%s %s %s: %s", ps->g->entity, ps->g->domain, name, why);
    en->next.outcome = LEFT;
}

/* May one more order go to the domain's entity? */
static bool may_order(struct pass *ps) {
    uint32_t *busy = &ps->busy[ps->d->entity->id];
    if (*busy >= BULK_AT_ONCE) {
        return false;
    }
    ++*busy;
    return true;
}

/* A domain may have many pools, and as many parts of the job: nobody adds them up in vain. */
static struct bulk_sum *sum_of(struct pass *ps) {
    if (!ps->summed) {
        ps->sum = bulk_sum_of(ps->d);
        ps->summed = true;
    }
    return &ps->sum;
}

static void drain_active(struct pass *ps, struct entry *en, const struct pool *po) {
    char why[256];
    if (en->now.ordered) {
        left(ps, en, po, "the entity did not take the drain, or it was taken back");
    } else if (!ps->r->force && !bulk_counted(ps->d, po)) {
        /* It says so within seconds after it has connected. */
    } else if (ps->busy[ps->d->entity->id] >= BULK_AT_ONCE) {
        /* Its turn comes. */
    } else if (!bulk_unused(ps->r->unused, po)) {
        left(ps, en, po, "%" PRIu64 " of %" PRIu64 " are in use by now", po->used, po->total);
    } else if (!ps->r->force && !bulk_safe(ps->p, ps->d, po, sum_of(ps), why)) {
        left(ps, en, po, "%s", why);
    } else if (may_order(ps)) {
        bulk_sum_drain(sum_of(ps), po);
        pool_order_drain(ps->p, ps->t, ps->d, en->ordinal);
        en->next.ordered = true;
    }
}

static void drain_pass(struct pass *ps, struct entry *en, const struct pool *po) {
    bool here = ps->g->away_s == 0;
    switch (po->state) {
    case POOL_DRAIN_SET:
    case POOL_DRAINED:
    case POOL_REMOVING:
        en->next.outcome = WELL;
        return;
    case POOL_DRAIN:
        if (ps->late) { /* the next step takes it back */
            en->next.outcome = WELL;
        }
        return;
    case POOL_UNMANAGED:
    case POOL_CONFLICT:
        left(ps, en, po, "it is %s", pool_state_name(po->state));
        return;
    default:
        break;
    }
    if (!here && (ps->late || ps->now_s - ps->g->away_s >= BULK_ABSENT_S)) {
        left(ps, en, po, "the entity is unreachable");
    } else if (ps->late) {
        left(ps, en, po, "its turn did not come in time");
    } else if (here && po->state == POOL_ACTIVE) {
        drain_active(ps, en, po);
    }
}

static void remove_pass(struct pass *ps, struct entry *en, const struct pool *po) {
    bool here = ps->g->away_s == 0, manual = (po->flags & POOL_MANUAL) != 0;
    switch (po->state) {
    case POOL_DRAINED:
        if (manual && here && may_order(ps)) {
            pool_order_remove(ps->p, ps->t, ps->d, en->ordinal);
            return;
        }
        break;
    case POOL_DRAIN:
    case POOL_DRAIN_SET:
        if (ps->late && manual && en->was_active) {
            left(ps, en, po, "%" PRIu64 " of it %s still in use: it is active again", po->used,
                 text_plural(po->used, "is", "are"));
            pool_order_activate(ps->p, ps->t, ps->d, en->ordinal);
            return;
        }
        break;
    case POOL_REMOVING:
        break;
    default:
        left(ps, en, po, "it is %s: its drain was taken back", pool_state_name(po->state));
        return;
    }
    if (ps->late) {
        left(ps, en, po, "it is %s, and the wait is over", pool_state_name(po->state));
    }
}

static void undo_pass(struct pass *ps, struct entry *en, const struct pool *po) {
    if (en->was_active && (po->flags & POOL_MANUAL) != 0 &&
        (po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET)) {
        if (!may_order(ps)) {
            return; /* next time */
        }
        pool_order_activate(ps->p, ps->t, ps->d, en->ordinal);
    }
    en->next.outcome = WELL;
}

static int entry_cmp(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    if (x->used != y->used) {
        return x->used < y->used ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

static void run_begin(struct bulk_run *r, struct txn *t, int64_t now_s) {
    int64_t left_s = r->wait_s;
    if (r->phase == REMOVING) {
        left_s = r->until_s - txn_now_s(t);
        left_s = left_s < 0 ? 0 : left_s > r->wait_s ? r->wait_s : left_s;
    } else {
        r->until_s = txn_now_s(t) + r->wait_s;
    }
    r->end_s = now_s + left_s;
    for (size_t i = 0; i < r->n; i++) {
        struct domain *d = group_domain(r->pools, &r->groups[r->entries[i].group]);
        const struct pool *po = d != NULL ? domain_pool(d, r->entries[i].ordinal) : NULL;
        r->entries[i].used = po != NULL ? po->used : 0;
    }
    qsort(r->entries, r->n, sizeof *r->entries, entry_cmp);
    r->begun = true;
}

static void run_pass(struct pass *ps) {
    static void (*const passes[])(struct pass * ps, struct entry * en, const struct pool *po) = {
        [DRAINING] = drain_pass, [REMOVING] = remove_pass, [UNDOING] = undo_pass};
    struct bulk_run *r = ps->r;
    ps->late = ps->now_s >= r->end_s;
    ps->g = NULL;
    for (size_t i = 0; i < r->n; i++) {
        struct entry *en = &r->entries[i];
        struct group *g = &r->groups[en->group];
        en->next = en->now;
        if (g != ps->g) {
            ps->g = g;
            ps->d = group_domain(ps->p, g);
            bool here = ps->d != NULL && ps->d->entity->session != NULL &&
                        apmi_in_step(ps->d->entity->session);
            g->away_s = here ? 0 : g->away_s != 0 ? g->away_s : ps->now_s;
            ps->summed = false;
        }
        if (en->now.outcome != OPEN) {
            continue;
        }
        const struct pool *po = ps->d != NULL ? domain_pool(ps->d, en->ordinal) : NULL;
        if (po == NULL) {
            en->next.outcome = WELL;
        } else {
            passes[r->phase](ps, en, po);
        }
    }
}

static uint32_t *count_busy(const struct pools *p) {
    uint32_t *busy = mem_alloc((p->n_entities + 1) * sizeof *busy);
    LIST_FOREACH (l, &p->bulk_runs) {
        const struct bulk_run *r = CONTAINER_OF(l, struct bulk_run, link);
        struct domain *d = NULL;
        const struct group *g = NULL;
        for (size_t i = 0; i < r->n; i++) {
            if (&r->groups[r->entries[i].group] != g) {
                g = &r->groups[r->entries[i].group];
                d = group_domain(p, g);
            }
            const struct pool *po = d != NULL ? domain_pool(d, r->entries[i].ordinal) : NULL;
            if (po != NULL && (po->state == POOL_DRAIN || po->state == POOL_REMOVING)) {
                busy[d->entity->id]++;
            }
        }
    }
    return busy;
}

/* ---- its end -----------------------------------------------------------------------------------
 */

static void count_outcomes(const struct bulk_run *r, size_t n[3]) {
    memset(n, 0, 3 * sizeof *n);
    for (size_t i = 0; i < r->n; i++) {
        n[r->entries[i].now.outcome]++;
    }
}

/* "; bng1 home home-0003: why", as many as there is room for. */
static void add_left(const struct bulk_run *r, struct buf *b) {
    size_t more = 0;
    for (size_t i = 0; i < r->n; i++) {
        const char *why = r->entries[i].now.outcome == LEFT ? r->entries[i].why : NULL;
        if (why != NULL && b->len + strlen(why) < RESULT_MAX - 40) {
            buf_printf(b, "; %s", why);
        } else if (why != NULL) {
            more++;
        }
    }
    if (more > 0) {
        buf_printf(b, "; and %zu more", more);
    }
}

static void run_progress(struct bulk_run *r, const size_t n[3]) {
    static const char *const done[] = {
        [DRAINING] = "draining", [REMOVING] = "reclaimed", [UNDOING] = "taken back"};
    if (n[WELL] + n[LEFT] == r->n_told) {
        return;
    }
    char text[120];
    r->n_told = n[WELL] + n[LEFT];
    snprintf(text, sizeof text, "%zu of %zu %s, %zu left alone", n[WELL], r->n, done[r->phase],
             n[LEFT]);
    job_progress(r->x, (unsigned)(r->n_told * (r->phase == DRAINING ? 50 : 100) / r->n), text);
}

static void run_end(struct bulk_run *r, const size_t n[3]) {
    struct buf b = BUF_INIT;
    if (r->phase == DRAINING) {
        char until[TIME_TEXT_MAX];
        uint8_t places[PLACES_TEXT] = {0};
        for (size_t i = 0; i < r->n; i++) {
            if (r->entries[i].now.outcome == WELL) {
                places[r->entries[i].place / 4] |= (uint8_t)(8U >> r->entries[i].place % 4);
            }
        }
        buf_printf(&b, "%zu of %zu drain until %s (", n[WELL], r->n,
                   time_format(r->until_s, 0, until));
        for (size_t i = 0; i < (r->n + 3) / 4; i++) {
            buf_printf(&b, "%x", places[i]);
        }
        buf_char(&b, ')');
    } else if (r->phase == REMOVING) {
        buf_printf(&b, "%zu of %zu reclaimed", n[WELL], r->n);
    }
    add_left(r, &b);
    run_progress(r, n);
    job_set_result(r->x, buf_cstr(&b));
    job_step_ended(r->x, NULL);
    buf_free(&b);
    run_free(r);
}

/* What was put is durable, or undone. */
static void tick_after(void *arg, bool committed) {
    struct pools *p = arg;
    LIST_FOREACH_SAFE (l, &p->bulk_runs) {
        struct bulk_run *r = CONTAINER_OF(l, struct bulk_run, link);
        size_t n[3];
        for (size_t i = 0; r->begun && i < r->n; i++) {
            struct entry *en = &r->entries[i];
            en->now = committed ? en->next : en->now;
            en->next = en->now;
        }
        count_outcomes(r, n);
        if (job_told_to_stop(r->x)) {
            struct err e;
            err_set(&e, ERR_TIMEOUT, NULL, "told to stop");
            job_step_ended(r->x, &e);
            run_free(r);
        } else if (r->begun && n[OPEN] == 0) {
            run_end(r, n);
        } else {
            run_progress(r, n);
        }
    }
}

void bulk_tick(struct pools *p, struct txn *t) {
    if (list_empty(&p->bulk_runs)) {
        return;
    }
    struct pass ps = {.p = p, .t = t, .now_s = clock_mono_s(p->clock), .busy = count_busy(p)};
    LIST_FOREACH (l, &p->bulk_runs) {
        ps.r = CONTAINER_OF(l, struct bulk_run, link);
        if (job_told_to_stop(ps.r->x)) {
            continue;
        }
        if (!ps.r->begun) {
            run_begin(ps.r, t, ps.now_s);
        }
        run_pass(&ps);
    }
    mem_free(ps.busy);
    txn_after(t, tick_after, p);
}

/* ---- definitions -------------------------------------------------------------------------------
 */

#define ATTEMPTS .attempts = 5, .backoff_s = 2, .backoff_max_s = 60

static const struct job_step all_steps[] = {
    {.name = "parts", .run = parts_run, .deadline_s = 600, ATTEMPTS},
    {.name = "sum", .run = sum_run, .deadline_s = 600, ATTEMPTS},
};
static const struct job_definition all_definition = {
    .name = "apm-reclaim", .title = "Many pools reclaimed", .steps = all_steps, .n_steps = 2};
static const struct job_step part_steps[] = {
    {.name = "drain", .run = drain_run, .undo = drain_undo, .deadline_s = DEADLINE_S, ATTEMPTS},
    {.name = "reclaim", .run = reclaim_run, .deadline_s = DEADLINE_S, ATTEMPTS},
};
static const struct job_definition part_definition = {.name = "apm-reclaim-part",
                                                      .title = "Some of many pools reclaimed",
                                                      .steps = part_steps,
                                                      .n_steps = 2};

enum err_code bulk_job(struct txn *t, const struct bulk_order *o, uint64_t *id, struct err *e) {
    json_t *tree = bulk_order_json(o);
    char *input = json_dumps(tree, JSON_COMPACT);
    const struct job_order order = {
        .definition = &all_definition, .input = input, .lock = "apm-reclaim"};
    enum err_code rc = job_start(t, &order, id, e);
    free(input);
    json_decref(tree);
    return rc;
}

void bulk_start(struct pools *p) {
    job_register(p->core, &all_definition, p);
    job_register(p->core, &part_definition, p);
}

void bulk_stop(struct pools *p) {
    LIST_FOREACH_SAFE (l, &p->bulk_runs) {
        run_free(CONTAINER_OF(l, struct bulk_run, link));
    }
}
