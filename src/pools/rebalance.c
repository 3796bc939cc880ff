// SPDX-License-Identifier: Apache-2.0
/*
 * Gateways' sessions, spread over the controllers that they are connected to (docs/cluster.md): on
 * order, as a job. Each second up to a hundredth of all sessions, one at least, moves from the
 * controller that has most to the one that has fewest, until no two differ by more than one. Only
 * entities that know how are asked (P-24); each is asked once.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "core/job.h"
#include "model/kinds.h"
#include "pools/show.h"

LOGGER_MODULE(pools);

enum { NODES_MAX = 64, SHARE = 100, DEADLINE_S = 86400, ATTEMPTS = 3, BACKOFF_S = 5 };

struct place { /* a controller */
    char node[64];
    size_t n;    /* sessions there, or on their way there */
    bool closed; /* it is to have none */
};

struct rebalance {
    struct job_effect *x;
    struct place places[NODES_MAX];
    size_t n_places, moved, steps;
};

/* ---- which controllers there are: asked of the store, on a worker -----------------------------
 */

struct found {
    json_t *names;
    const char *without; /* "": all take part */
    bool has_without;
};

static void add_node(const struct core_node *n, void *arg) {
    struct found *f = arg;
    bool without = strcmp(n->name, f->without) == 0;
    f->has_without |= without;
    if (n->relay[0] != '\0' && !without) { /* others serve gateways only while they lead */
        json_array_append_new(f->names, json_string(n->name));
    }
}

/* Appends to `names` the controllers that take part. ERR_ABSENT: `without` ("": none) is not there;
 * ERR_REFUSED: there are too few; ERR_LIMIT; ERR_UNAVAILABLE. */
static enum err_code find_nodes(struct core *c, const char *without, json_t *names, struct err *e) {
    struct found f = {names, without, false};
    ERR_TRY(core_nodes(c, add_node, &f, e));
    if (without[0] != '\0' && !f.has_without) {
        return err_set(e, ERR_ABSENT, NULL, "there is no node %s (show system cluster)", without);
    }
    if (json_array_size(names) + f.has_without < 2) {
        return err_set(e, ERR_REFUSED, NULL,
                       "fewer than two controllers that serve gateways are there (listen-relay)");
    }
    return json_array_size(names) <= NODES_MAX
               ? ERR_OK
               : err_set(e, ERR_LIMIT, NULL, "there are more than %d controllers", NODES_MAX);
}

static enum err_code nodes_run(struct job_effect *x, struct err *e) {
    json_t *names = json_array();
    enum err_code rc = find_nodes(job_core(x), job_input(x), names, e);
    char *text = json_dumps(names, JSON_COMPACT);
    if (rc == ERR_OK) {
        job_set_result(x, text);
    }
    free(text);
    json_decref(names);
    return rc;
}

/* ---- moving: each second, on the writer -------------------------------------------------------
 */

static struct place *place_of(struct rebalance *r, const char *node) {
    for (size_t i = 0; i < r->n_places; i++) {
        if (strcmp(r->places[i].node, node) == 0) {
            return &r->places[i];
        }
    }
    return NULL;
}

static const char *where(struct pools *p, const struct apmi_session *s) {
    return apmi_moving_to(s)[0] != '\0' ? apmi_moving_to(s) : apmi_node(p, s);
}

static size_t count(struct pools *p, struct rebalance *r) {
    size_t all = 0;
    for (size_t i = 0; i < r->n_places; i++) {
        r->places[i].n = 0;
    }
    for (uint32_t i = 0; i < p->n_entities; i++) {
        const struct entity *en = p->entities[i];
        if (en != NULL && en->session != NULL) {
            struct place *at = place_of(r, where(p, en->session));
            all++;
            if (at != NULL) {
                at->n++;
            }
        }
    }
    return all;
}

/* One that is in step, at that controller, and was not asked yet. */
static struct entity *movable(struct pools *p, const struct place *from) {
    for (uint32_t i = 0; i < p->n_entities; i++) {
        struct entity *en = p->entities[i];
        if (en != NULL && en->session != NULL && apmi_in_step(en->session) &&
            apmi_can_move(en->session) && apmi_moving_to(en->session)[0] == '\0' &&
            strcmp(apmi_node(p, en->session), from->node) == 0) {
            return en;
        }
    }
    return NULL;
}

/* False: all is as even as it can be. */
static bool move_one(struct pools *p, struct rebalance *r) {
    struct place *most = NULL, *least = &r->places[0];
    struct entity *en = NULL;
    for (size_t i = 1; i < r->n_places; i++) { /* the first is never closed */
        struct place *at = &r->places[i];
        least = !at->closed && at->n < least->n ? at : least;
    }
    for (size_t i = 0; i < r->n_places; i++) { /* the fullest that has one to give */
        struct place *at = &r->places[i];
        bool fuller = most == NULL || at->closed || (!most->closed && at->n > most->n);
        if ((at->closed ? at->n > 0 : at->n > least->n + 1) && fuller) {
            struct entity *found = movable(p, at);
            most = found != NULL ? at : most;
            en = found != NULL ? found : en;
        }
    }
    if (most == NULL) {
        return false;
    }
    apmi_move(en->session, least->node);
    most->n--;
    least->n++;
    r->moved++;
    return true;
}

static void say(struct rebalance *r, size_t all, bool over) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%zu of %zu %s moved;", r->moved, all, text_plural(all, "session", "sessions"));
    for (size_t i = 0; i < r->n_places && b.len < JOB_TEXT_MAX - 96; i++) {
        buf_printf(&b, "%s %s: %zu", i > 0 ? "," : "", r->places[i].node, r->places[i].n);
    }
    if (over) {
        job_set_result(r->x, buf_cstr(&b));
    }
    job_progress(r->x, over ? 100 : 50, buf_cstr(&b));
    buf_free(&b);
}

static void end(struct pools *p, const struct err *why) {
    struct rebalance *r = p->rebalance;
    p->rebalance = NULL;
    job_step_ended(r->x, why);
    job_release(r->x);
    mem_free(r);
}

void rebalance_tick(struct pools *p) {
    struct rebalance *r = p->rebalance;
    if (r == NULL) {
        return;
    }
    if (job_told_to_stop(r->x)) {
        struct err e;
        err_set(&e, ERR_REFUSED, NULL, "stopped after %zu %s", r->moved,
                text_plural(r->moved, "session", "sessions"));
        end(p, &e);
        return;
    }
    size_t all = count(p, r), budget = all / SHARE + 1;
    bool more = true;
    while (budget-- > 0 && more) {
        more = move_one(p, r);
    }
    say(r, all, !more);
    if (!more) {
        L_INFO("gateways' sessions are spread evenly; %zu moved", r->moved);
        end(p, NULL);
    }
}

static enum err_code begin_work(struct txn *t, void *arg, struct err *e) {
    struct rebalance *r = arg;
    struct pools *p = job_arg(r->x);
    if (p->rebalance != NULL) { /* a run whose time was over has not been noticed yet */
        return err_set(e, ERR_IN_USE, NULL, "sessions are being moved already");
    }
    p->rebalance = r;
    return ERR_OK;
}

static void begun(void *arg, uint64_t index, const struct err *why) {
    struct rebalance *r = arg;
    (void)index;
    if (why != NULL) {
        job_step_ended(r->x, why);
        job_release(r->x);
        mem_free(r);
    }
}

static enum err_code move_run(struct job_effect *x, struct err *e) {
    struct rebalance *r = MEM_NEW(struct rebalance);
    const char *text = job_result(x, "nodes");
    json_t *names = text != NULL ? json_loads(text, 0, NULL) : NULL;
    for (size_t i = 0; i < json_array_size(names) && i < NODES_MAX; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        snprintf(r->places[r->n_places++].node, sizeof r->places[0].node, "%s",
                 name != NULL ? name : "");
    }
    json_decref(names);
    const char *without = job_input(x);
    if (r->n_places > 0 && without[0] != '\0' && r->n_places < NODES_MAX) {
        struct place *last = &r->places[r->n_places++];
        snprintf(last->node, sizeof last->node, "%s", without);
        last->closed = true;
    }
    if (r->n_places < 2) {
        mem_free(r);
        return err_set(e, ERR_INVALID, NULL, "which controllers there are was not found out");
    }
    r->x = job_later(x);
    core_run_look(job_core(x), &actor_system, begin_work, begun, r);
    return ERR_OK;
}

static const struct job_step steps[] = {{.name = "nodes",
                                         .run = nodes_run,
                                         .deadline_s = 60,
                                         .attempts = ATTEMPTS,
                                         .backoff_s = BACKOFF_S},
                                        {.name = "move",
                                         .run = move_run,
                                         .deadline_s = DEADLINE_S,
                                         .attempts = ATTEMPTS,
                                         .backoff_s = BACKOFF_S}};
static const struct job_definition definition = {
    .name = "apm-rebalance",
    .title = "Gateways' sessions spread over the controllers",
    .steps = steps,
    .n_steps = 2};

enum err_code rebalance_check(struct core *c, const struct call *cl, struct err *e) {
    const struct apm_rebalance_input *in = cl->in.data;
    struct core_turn turn;
    core_turn(c, &turn);
    if (!turn.shared) {
        return err_set(e, ERR_REFUSED, NULL, "the store belongs to this controller alone");
    }
    json_t *names = json_array();
    enum err_code rc = find_nodes(c, in->without != NULL ? in->without : "", names, e);
    json_decref(names);
    return rc;
}

enum err_code rebalance_call(struct show *sh, struct txn *t, struct call *cl, struct err *e) {
    uint64_t id;
    (void)sh;
    const struct apm_rebalance_input *in = cl->in.data;
    const struct job_order o = {
        .definition = &definition, .input = in->without, .lock = definition.name};
    ERR_TRY(job_start(t, &o, &id, e));
    buf_printf(&cl->text,
               "Spreading gateways' sessions is job %" PRIu64 ": show job id %" PRIu64 "\n", id,
               id);
    buf_printf(&cl->json, "{\"job\":\"%" PRIu64 "\"}", id);
    return ERR_OK;
}

void rebalance_start(struct pools *p) {
    job_register(p->core, &definition, p);
}

void rebalance_stop(struct pools *p) {
    if (p->rebalance != NULL) { /* the job goes on at the next start */
        job_release(p->rebalance->x);
        mem_free(p->rebalance);
        p->rebalance = NULL;
    }
}
