// SPDX-License-Identifier: Apache-2.0
/* What happens, as it happens, until somebody presses Ctrl-C. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/rights.h"
#include "core/system.h"
#include "model/kinds.h"
#include "north/cli/run.h"

/* ---- events */

enum { EVENTS_WAITING = 1000 };
struct event_line {
    struct event_line *next;
    char text[];
};
struct monitor { /* between the writer, which adds, and the command, which takes */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct event_line *first, **last;
    size_t n, dropped;
};

static void on_event(const struct event *ev, void *arg) {
    struct monitor *m = arg;
    char time[TIME_TEXT_MAX];
    time_format(ev->time_s, 0, time);
    char *text = mem_printf("%s %s %s\n", time, ev->name, ev->json ? ev->json : "");
    size_t n = strlen(text) + 1;
    pthread_mutex_lock(&m->lock);
    if (m->n == EVENTS_WAITING) {
        m->dropped++;
    } else {
        struct event_line *l = mem_alloc(sizeof *l + n);
        memcpy(l->text, text, n);
        *m->last = l;
        m->last = &l->next;
        m->n++;
    }
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->lock);
    mem_free(text);
}

void cmd_monitor_events(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct err e;
    if (rights_check(r->rights, &r->s->who, RIGHT_READ, "/", &e) != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    run_note(r, "Ctrl-C ends this");
    struct monitor m = {.last = &m.first};
    pthread_mutex_init(&m.lock, NULL);
    pthread_cond_init(&m.cond, NULL);
    uint64_t handle = core_subscribe(r->cli->core, 0, on_event, &m);
    while (!run_stopped(r)) {
        if (r->cli->o.pump != NULL) {
            run_pause(r->s); /* nobody else makes events */
        }
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += 100 * 1000000L;
        ts.tv_sec += ts.tv_nsec / 1000000000L;
        ts.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&m.lock);
        if (m.first == NULL && r->cli->o.pump == NULL) {
            pthread_cond_timedwait(&m.cond, &m.lock, &ts);
        }
        struct event_line *list = m.first;
        size_t dropped = m.dropped;
        m.first = NULL;
        m.last = &m.first;
        m.n = m.dropped = 0;
        pthread_mutex_unlock(&m.lock);
        while (list != NULL) {
            struct event_line *next = list->next;
            run_text(r, list->text, strlen(list->text));
            mem_free(list);
            list = next;
        }
        if (dropped > 0) {
            run_printf(r, "(%zu %s left out: the terminal is too slow)\n", dropped,
                       text_plural(dropped, "event was", "events were"));
        }
        r->s->used_s = clock_wall_s(core_clock(r->cli->core));
    }
    core_unsubscribe(r->cli->core, handle);
    while (m.first != NULL) {
        struct event_line *next = m.first->next;
        mem_free(m.first);
        m.first = next;
    }
    pthread_cond_destroy(&m.cond);
    pthread_mutex_destroy(&m.lock);
}

/* ---- the log */

static void on_log_line(const char *line, void *arg) {
    buf_printf(arg, "%s\n", line);
}

void cmd_monitor_log(struct run *r) {
    struct err e;
    if (!run_ready(r, NULL)) {
        return;
    }
    if (rights_check(r->rights, &r->s->who, RIGHT_READ, "/weft-system:show-log", &e) != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    run_note(r, "Ctrl-C ends this");
    uint64_t seen = UINT64_MAX;
    while (!run_stopped(r)) {
        struct buf out = BUF_INIT;
        logring_after(&seen, on_log_line, &out);
        run_text(r, (const char *)out.data, out.len);
        buf_free(&out);
        run_pause(r->s);
    }
}

/* ---- a job */

static const struct node *job_id_leaf(void) {
    for (size_t i = 0; i < job_show_job_rpc->n_children; i++) {
        const struct node *n = job_show_job_rpc->children[i];
        if (n->type == NODE_INPUT) {
            return node_child(n, "id", 2);
        }
    }
    return NULL;
}

static void suggest_jobs(struct parse *p, const struct option *o) {
    struct run *r = p->ctx;
    struct values *v = values_new(&r->s->who, o->leaf);
    run_values(r, v);
    char *save = NULL, *text = arena_strdup(p->arena, buf_cstr(&v->out));
    for (char *l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save)) {
        char *tab = strchr(l, '\t');
        if (tab != NULL) {
            *tab = '\0';
        }
        parse_suggest(p, SUGGEST_VALUE, l, tab ? tab + 1 : NULL);
    }
    values_free(v);
}

/* The job as `show job id` has it; NULL: a fault was shown. */
static json_t *look_at_job(struct run *r, const char *id) {
    static const char *const names[] = {"id"};
    struct call *cl = call_new(&r->s->who);
    json_t *all = NULL, *job = NULL;
    if (rpc_input_words(r->cli->model, job_show_job_rpc, names, &id, 1, cl->arena, &cl->in,
                        &cl->err) == ERR_OK) {
        run_call(r, cl);
    }
    if (cl->err.code != ERR_OK) {
        run_fault(r, &cl->err);
    } else {
        all = json_loadb((const char *)cl->json.data, cl->json.len, 0, NULL);
        job = json_incref(json_array_get(json_object_get(all, "job"), 0));
    }
    json_decref(all);
    call_free(cl);
    return job;
}

static const char *member(const json_t *job, const char *name) {
    const char *text = json_string_value(json_object_get(job, name));
    return text != NULL ? text : "";
}

/* State, step, how far it is, and why: what a line shows, without the time. */
static void job_line(const json_t *job, struct buf *out) {
    buf_printf(out, "%s", member(job, "state"));
    if (member(job, "step")[0] != '\0') {
        buf_printf(out, ", step %s", member(job, "step"));
    }
    if (json_integer_value(json_object_get(job, "attempt")) > 1) {
        buf_printf(out, ", attempt %" PRId64,
                   (int64_t)json_integer_value(json_object_get(job, "attempt")));
    }
    buf_printf(out, ", %" PRId64 "%%",
               (int64_t)json_integer_value(json_object_get(job, "percent")));
    const char *why = member(job, "reason")[0] != '\0' ? "reason" : "progress";
    if (member(job, why)[0] != '\0') {
        buf_printf(out, ": %s", member(job, why));
    }
}

/* A line whenever it has moved, until it has ended; the status says how. */
void cmd_monitor_job(struct run *r) {
    const struct option word = {.word = "id", .help = "Which job"};
    const struct option number = {
        .leaf = job_id_leaf(), .help = "Number of the job", .values = suggest_jobs};
    if (parse_pick(r->p, &word, 1) < 0 || parse_pick(r->p, &number, 1) < 0) {
        return;
    }
    const char *id = arena_strdup(r->arena, r->p->value);
    if (!run_ready(r, NULL)) {
        return;
    }
    struct buf last = BUF_INIT, now = BUF_INIT;
    bool over = false;
    while (!over && !run_stopped(r)) {
        json_t *job = look_at_job(r, id);
        if (job == NULL) {
            break;
        }
        over = json_object_get(job, "ended") != NULL;
        buf_clear(&now);
        job_line(job, &now);
        if (strcmp(buf_cstr(&now), buf_cstr(&last)) != 0) {
            char time[TIME_TEXT_MAX];
            time_format(clock_wall_s(core_clock(r->cli->core)), 0, time);
            run_printf(r, "%s %s\n", time, buf_cstr(&now));
            buf_clear(&last);
            buf_str(&last, buf_cstr(&now));
        }
        if (over && strcmp(member(job, "state"), "done") != 0) {
            run_fail(r, ERR_REFUSED, "job %s has %s", id,
                     strcmp(member(job, "state"), "failed") == 0 ? "failed" : "been cancelled");
        }
        json_decref(job);
        if (!over) {
            run_pause(r->s);
        }
    }
    buf_free(&last);
    buf_free(&now);
}
