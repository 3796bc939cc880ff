// SPDX-License-Identifier: Apache-2.0
/* What is said about jobs: show job, state, notifications, metrics; and the two requests. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/job_int.h"
#include "core/system_int.h"

static json_t *u64(uint64_t v) { /* RFC 7951: 64-bit numbers are strings */
    return json_sprintf("%" PRIu64, v);
}

static void add_text(json_t *o, const char *name, const char *text) {
    if (text != NULL && text[0] != '\0') {
        json_object_set_new(o, name, json_string(text));
    }
}

static const char *when(const struct jobs *js, int64_t s, char out[TIME_TEXT_MAX]) {
    const struct system *sys = core_service_state(js->core, "system");
    return s != 0 ? time_format(s, sys != NULL ? sys->utc_offset : 0, out) : "";
}

static void add_time(const struct jobs *js, json_t *o, const char *name, int64_t s) {
    char text[TIME_TEXT_MAX];
    add_text(o, name, when(js, s, text));
}

/* The step that it is at: the one that runs or is undone, or the one that comes. */
static const char *step_of(const struct job_record *r) {
    size_t i = r->n_did;
    if (r->state == JOB_STATE_DONE || (job_is_over(r->state) && !job_left_undone(r))) {
        return "";
    }
    while (i > 0 && r->did[i - 1].undone) {
        i--;
    }
    bool at_last =
        i > 0 && (!r->did[i - 1].done || r->state == JOB_STATE_ROLLING_BACK || r->next[0] == '\0');
    return at_last ? r->did[i - 1].step : r->next;
}

static size_t children_left(const struct jobs *js, const struct job_record *r) {
    size_t n = 0;
    const struct job_did *d = r->n_did > 0 ? &r->did[r->n_did - 1] : NULL;
    for (size_t i = 0; d != NULL && i < d->n_children; i++) {
        const struct job *c = job_find(js, d->children[i]);
        n += c != NULL && !job_is_over(c->r->state);
    }
    return n;
}

/* Why it is where it is; some of it follows from the others and is not in the record. */
static void reason_of(const struct jobs *js, const struct job_record *r, struct buf *out) {
    const struct job *j = job_find(js, r->id);
    const struct job *holder = j != NULL && j->lock != NULL ? j->lock->holder : NULL;
    size_t children = children_left(js, r);
    char text[TIME_TEXT_MAX];
    if (!job_is_over(r->state) && job_known(js, r->definition) == NULL) {
        buf_printf(out, "what runs jobs \"%s\" does not run here", r->definition);
    } else if (r->reason[0] != '\0') {
        buf_str(out, r->reason);
    } else if (r->state == JOB_STATE_WAITING && r->due_s != 0) {
        buf_printf(out, "until %s", when(js, r->due_s, text));
    } else if (r->state == JOB_STATE_WAITING && children > 0) {
        buf_printf(out, "for %zu of the jobs that it made", children);
    } else if (r->state == JOB_STATE_WAITING && holder != NULL && holder != j) {
        buf_printf(out, "for job %" PRIu64 ", which has the lock %s", holder->r->id, r->lock);
    }
}

static json_t *summary(const struct jobs *js, const struct job_record *r) {
    json_t *o = json_object();
    struct buf why = BUF_INIT;
    reason_of(js, r, &why);
    json_object_set_new(o, "id", u64(r->id));
    json_object_set_new(o, "name", json_string(r->definition));
    json_object_set_new(o, "state", json_string(job_state_name(r->state)));
    add_text(o, "step", step_of(r));
    if (r->attempt > 0) {
        json_object_set_new(o, "attempt", json_integer(r->attempt));
    }
    json_object_set_new(o, "percent", json_integer(r->percent));
    add_text(o, "progress", r->progress);
    add_text(o, "reason", buf_cstr(&why));
    add_text(o, "user", r->user);
    add_time(js, o, "created", r->created_s);
    add_time(js, o, "started", r->started_s);
    add_time(js, o, "ended", r->ended_s);
    buf_free(&why);
    return o;
}

void job_summary_json(const struct jobs *js, const struct job_record *r, struct buf *out) {
    call_answer_json(out, summary(js, r));
}

static const char *outcome(const struct job_did *d) {
    return d->undone ? "undone" : d->done ? "done" : "begun";
}

static json_t *whole(const struct jobs *js, const struct job_record *r) {
    json_t *o = summary(js, r), *steps = json_array();
    if (r->parent != 0) {
        json_object_set_new(o, "parent", u64(r->parent));
    }
    add_text(o, "lock", r->lock);
    add_text(o, "owner", r->owner);
    json_object_set_new(o, "epoch", u64(r->epoch));
    add_time(js, o, "next-time", r->due_s);
    for (size_t i = 0; i < r->n_did; i++) {
        const struct job_did *d = &r->did[i];
        json_t *s = json_object(), *children = json_array();
        json_object_set_new(s, "number", json_integer((json_int_t)i + 1));
        json_object_set_new(s, "name", json_string(d->step));
        json_object_set_new(s, "outcome", json_string(outcome(d)));
        add_text(s, "result", d->result);
        for (size_t k = 0; k < d->n_children; k++) {
            json_array_append_new(children, u64(d->children[k]));
        }
        json_object_set_new(s, "child", children);
        json_array_append_new(steps, s);
    }
    json_object_set_new(o, "step-done", steps);
    return o;
}

/* ---- show job ----------------------------------------------------------------------------------
 */

static int newest_first(const void *a, const void *b) {
    uint64_t x = (*(const struct job *const *)a)->r->id, y = (*(const struct job *const *)b)->r->id;
    return x < y ? 1 : x > y ? -1 : 0;
}

struct job **job_sorted(const struct jobs *js, size_t *n) {
    struct job **all = mem_array(NULL, js->by_id.count + 1, sizeof(struct job *));
    *n = 0;
    MAP_FOREACH (m, &js->by_id) {
        all[(*n)++] = m->value;
    }
    qsort(all, *n, sizeof(struct job *), newest_first);
    return all;
}

static void line_of(const struct jobs *js, const struct job_record *r, struct buf *out) {
    static const int widths[] = {6, 20, 12, 16, 4, 20, 12, 0};
    char id[24], percent[16], created[TIME_TEXT_MAX];
    struct buf why = BUF_INIT;
    reason_of(js, r, &why);
    if (why.len == 0) {
        buf_str(&why, r->progress);
    }
    snprintf(id, sizeof id, "%" PRIu64, r->id);
    snprintf(percent, sizeof percent, "%" PRIu32 "%%", r->percent);
    when(js, r->created_s, created);
    const char *cells[] = {id,         r->definition, job_state_name(r->state),
                           step_of(r), percent,       created,
                           r->user,    buf_cstr(&why)};
    call_table(out, cells, 8, widths);
    buf_free(&why);
}

static void field(struct buf *out, const char *name, const char *text) {
    if (text[0] != '\0') {
        buf_printf(out, "  %-8s: %s\n", name, text);
    }
}

static void one_of(const struct jobs *js, const struct job_record *r, struct buf *out) {
    char text[TIME_TEXT_MAX];
    struct buf why = BUF_INIT;
    const struct job_known *known = job_known(js, r->definition);
    reason_of(js, r, &why);
    buf_printf(out, "Job %" PRIu64 ": %s, %s\n", r->id, r->definition, job_state_name(r->state));
    field(out, "What", known != NULL ? known->definition->title : "");
    field(out, "User", r->user);
    field(out, "Created", when(js, r->created_s, text));
    field(out, "Started", when(js, r->started_s, text));
    field(out, "Ended", when(js, r->ended_s, text));
    field(out, "Lock", r->lock);
    field(out, "Reason", buf_cstr(&why));
    field(out, "Next", when(js, r->due_s, text));
    buf_printf(out, "  %-8s: %" PRIu32 "%% %s\n", "Progress", r->percent, r->progress);
    buf_free(&why);
    if (r->parent != 0) {
        buf_printf(out, "  %-8s: job %" PRIu64 "\n", "Part of", r->parent);
    }
    for (size_t i = 0; i < r->n_did; i++) {
        const struct job_did *d = &r->did[i];
        buf_printf(out, "  Step %zu %s: %s%s%s\n", i + 1, d->step, outcome(d),
                   d->result[0] != '\0' ? ": " : "", d->result);
        for (size_t k = 0; k < d->n_children; k++) {
            const struct job *c = job_find(js, d->children[k]);
            buf_printf(out, "    made job %" PRIu64 "%s%s\n", d->children[k], c != NULL ? ", " : "",
                       c != NULL ? job_state_name(c->r->state) : "");
        }
    }
}

static enum err_code show(const struct jobs *js, struct call *cl, struct err *e) {
    static const char *const head[] = {"Id", "Name",    "State", "Step",
                                       "%",  "Created", "User",  "Reason"};
    static const int widths[] = {6, 20, 12, 16, 4, 20, 12, 0};
    const struct job_show_job_input *in = cl->in.data;
    json_t *list = json_array(), *o = json_object();
    json_object_set_new(o, "job", list);
    if (in->has_id) {
        const struct job *j = job_find(js, in->id);
        if (j == NULL) {
            json_decref(o);
            return err_set(e, ERR_ABSENT, NULL, "there is no job %" PRIu64, in->id);
        }
        json_array_append_new(list, whole(js, j->r));
        one_of(js, j->r, &cl->text);
    } else {
        size_t n, shown = 0;
        struct job **all = job_sorted(js, &n);
        for (size_t i = 0; i < n && shown < in->last; i++) {
            if (in->has_state && all[i]->r->state != in->state) {
                continue;
            }
            if (shown++ == 0) {
                call_table(&cl->text, head, 8, widths);
            }
            json_array_append_new(list, whole(js, all[i]->r));
            line_of(js, all[i]->r, &cl->text);
        }
        if (shown == 0) {
            buf_str(&cl->text, "No such jobs.\n");
        }
        mem_free(all);
    }
    call_answer_json(&cl->json, o);
    return ERR_OK;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void answer_state(const struct jobs *js, struct call *cl, uint64_t id) {
    const struct job *j = job_find(js, id);
    const char *state = job_state_name(j->r->state);
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(state));
    call_answer_json(&cl->json, o);
    buf_printf(&cl->text, "Job %" PRIu64 " is %s.\n", id, state);
}

enum err_code job_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    struct jobs *js = self;
    if (cl->in.rpc == job_job_cancel_rpc) {
        const struct job_job_cancel_input *in = cl->in.data;
        ERR_TRY(job_cancel(t, in->id, e));
        answer_state(js, cl, in->id);
    } else if (cl->in.rpc == job_job_retry_rpc) {
        const struct job_job_retry_input *in = cl->in.data;
        ERR_TRY(job_retry(t, in->id, e));
        answer_state(js, cl, in->id);
    } else {
        return show(js, cl, e);
    }
    return ERR_OK;
}

enum err_code job_look(void *self, struct txn *t, struct look *l, struct err *e) {
    const struct jobs *js = self;
    json_t *list = json_array(), *o = json_object();
    size_t n;
    struct job **all = job_sorted(js, &n);
    (void)t;
    (void)e;
    while (n-- > 0) {
        json_array_append_new(list, whole(js, all[n]->r));
    }
    mem_free(all);
    json_object_set_new(o, "job", list);
    call_answer_json(&l->json, o);
    return ERR_OK;
}

enum { VALUES_MAX = 50 };

void job_values(void *self, struct txn *t, struct values *v) {
    const struct jobs *js = self;
    const struct node *rpc = v->leaf->parent ? v->leaf->parent->parent : NULL;
    size_t n, shown = 0;
    struct job **all = job_sorted(js, &n);
    (void)t;
    for (size_t i = 0; i < n && shown < VALUES_MAX && strcmp(v->leaf->name, "id") == 0; i++) {
        const struct job_record *r = all[i]->r;
        bool root = r->parent == 0;
        bool fits = rpc == job_job_cancel_rpc  ? root && !job_is_over(r->state)
                    : rpc == job_job_retry_rpc ? root && r->state == JOB_STATE_FAILED
                                               : true;
        if (fits) {
            buf_printf(&v->out, "%" PRIu64 "\t%s, %s\n", r->id, r->definition,
                       job_state_name(r->state));
            shown++;
        }
    }
    mem_free(all);
}

static void figure(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t v) {
    buf_printf(out, "# HELP weft_jobs_%s %s\n# TYPE weft_jobs_%s %s\nweft_jobs_%s %" PRIu64 "\n",
               name, help, name, type, name, v);
}

void job_metrics(void *self, struct buf *out) {
    const struct jobs *js = self;
    figure(out, "live", "gauge", "Jobs that have not ended.", js->n_live);
    figure(out, "kept", "gauge", "Jobs that ended and are kept.", js->n_ended);
    figure(out, "started_total", "counter", "Jobs begun since the start.", js->n_started);
    figure(out, "done_total", "counter", "Jobs that ended well.", js->n_done);
    figure(out, "failed_total", "counter", "Jobs that failed.", js->n_failed);
    figure(out, "cancelled_total", "counter", "Jobs that were cancelled.", js->n_cancelled);
    figure(out, "refused_results_total", "counter", "Results that came too late to count.",
           js->n_refused);
}
