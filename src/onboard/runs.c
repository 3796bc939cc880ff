// SPDX-License-Identifier: Apache-2.0
/*
 * A device's run as a job of core's engine: begun with the first answer that gives it something,
 * its steps are what the device reports, and it ends as that does: complete, an error, silence for
 * too long, an operator who cancels it. What the device does is not the controller's to repeat or
 * to undo: a step waits for the report that ends it. Where a run stands is in the device's record
 * ("job", "stage", "run-failed"), so whichever controller goes on with the job finds it there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/job.h"
#include "onboard/internal.h"

LOGGER_MODULE(onboard_run);

enum {
    LIMIT_MIN_S = 10,    /* of report-limit */
    EXPIRE_AT_ONCE = 64, /* runs that one tick ends */
};

/* By number: enum run_stage. */
static const char *const stages[] = {"answer", "image", "pre-script", "configuration",
                                     "post-script"};
enum { STAGES = sizeof stages / sizeof stages[0] };

static enum err_code step_run(struct job_effect *x, struct err *e);

/* Its own limit is report-limit; the engine's is for a device that never stops reporting. */
#define STEP(stage)                                                                                \
    {                                                                                              \
        .name = (stage), .run = step_run, .deadline_s = JOB_SECONDS_MAX, .attempts = 5,            \
        .backoff_s = 2                                                                             \
    }
static const struct job_step steps[] = {STEP("answer"), STEP("image"), STEP("pre-script"),
                                        STEP("configuration"), STEP("post-script")};
static const struct job_definition definition = {
    .name = "device-bootstrap",
    .title = "A device comes up",
    .steps = steps,
    .n_steps = STAGES,
    .no_retry = "it is the device that begins again, when it asks"};

/* ---- records --------------------------------------------------------------------------------- */

enum run_stage run_stage_after(enum sztp_progress p, enum run_stage now) {
    switch (p) {
    case SZTP_BOOT_IMAGE_INITIATED:
    case SZTP_BOOT_IMAGE_WARNING:
    case SZTP_BOOT_IMAGE_ERROR:
    case SZTP_BOOT_IMAGE_MISMATCH:
    case SZTP_BOOT_IMAGE_INSTALLED_REBOOTING:
    case SZTP_BOOT_IMAGE_COMPLETE:
        return RUN_IMAGE;
    case SZTP_PRE_SCRIPT_INITIATED:
    case SZTP_PRE_SCRIPT_WARNING:
    case SZTP_PRE_SCRIPT_ERROR:
    case SZTP_PRE_SCRIPT_COMPLETE:
        return RUN_PRE_SCRIPT;
    case SZTP_CONFIG_INITIATED:
    case SZTP_CONFIG_WARNING:
    case SZTP_CONFIG_ERROR:
    case SZTP_CONFIG_COMPLETE:
        return RUN_CONFIGURATION;
    case SZTP_POST_SCRIPT_INITIATED:
    case SZTP_POST_SCRIPT_WARNING:
    case SZTP_POST_SCRIPT_ERROR:
    case SZTP_POST_SCRIPT_COMPLETE:
        return RUN_POST_SCRIPT;
    default:
        return now;
    }
}

static void set_stage(json_t *o, enum run_stage s) {
    json_object_set_new(o, "stage", json_string(stages[s]));
}

void run_fold(struct onboard *ob, struct known *k, const json_t *o) {
    const char *stage = json_string_value(json_object_get(o, "stage"));
    k->job = (uint64_t)json_integer_value(json_object_get(o, "job"));
    k->stage = RUN_ANSWER;
    for (unsigned i = 0; stage != NULL && i < STAGES; i++) {
        k->stage = strcmp(stage, stages[i]) == 0 ? (enum run_stage)i : k->stage;
    }
    k->failed = json_object_get(o, "run-failed") != NULL;
    bool done = json_is_true(json_object_get(o, "run-done"));
    bool open =
        k->job != 0 && k->status != ONBOARD_ONBOARDING_STATUS_COMPLETE && !done && !k->failed;
    if (open && !k->open) {
        list_append(&ob->open_runs, &k->run_link);
    } else if (!open && k->open) {
        list_remove(&k->run_link);
    }
    k->open = open;
}

void run_given(struct onboard *ob, struct txn *t, json_t *record, const char *serial,
               bool elsewhere) {
    const struct known *k = known_get(ob, serial);
    bool goes_on = k != NULL && k->open && job_lives(ob->core, k->job);
    json_object_del(record, "run-failed");
    json_object_del(record, "run-done");
    set_stage(record, RUN_ANSWER);
    if (goes_on) { /* after a reboot, or by a redirect to us */
        return;
    }
    json_object_del(record, "job");
    if (elsewhere) { /* what comes of it is another server's to know */
        return;
    }
    char input[CMS_SERIAL_MAX * 2 + 40];
    json_t *in = json_pack("{s:s}", "serial-number", serial);
    char *text = json_dumps(in, JSON_COMPACT);
    uint64_t id;
    struct err e;
    snprintf(input, sizeof input, "%s", text);
    free(text); /* jansson's */
    json_decref(in);
    const struct job_order order = {.definition = &definition, .input = input};
    enum err_code rc = job_start(t, &order, &id, &e);
    if (rc == ERR_OK) {
        json_object_set_new(record, "job", json_integer((json_int_t)id));
    } else if (rc != ERR_UNSUPPORTED) { /* it is answered all the same */
        L_WARN_RL(60, "the run of device %s is no job: %s", serial, e.text);
    }
}

void run_failed(json_t *record, const char *why) {
    char line[JOB_TEXT_MAX + 1];
    text_line(line, sizeof line, why);
    json_object_set_new(record, "run-failed", json_string(line));
}

void run_done(json_t *record) {
    json_object_set_new(record, "run-done", json_true());
}

/* A member that did not ask itself goes on with the run of the one that did (chassis.c), whose end
 * that file sees to. */
static bool goes_on_for_another(struct onboard *ob, struct txn *t, const json_t *record,
                                const char *serial, enum sztp_progress p, const char *message) {
    const char *asker = json_string_value(json_object_get(record, "asked-for-by"));
    const struct known *own = known_get(ob, serial),
                       *k = asker != NULL ? known_get(ob, asker) : NULL;
    if (k == NULL || !k->open || (own != NULL && own->open)) {
        return false;
    }
    json_t *o = known_load(k);
    set_stage(o, run_stage_after(p, k->stage));
    json_object_set_new(o, "last", json_integer((json_int_t)txn_now_s(t)));
    known_put(t, asker, o);
    run_moved(ob, t, asker, sztp_progress_name(p), message);
    return true;
}

void run_reported(struct onboard *ob, struct txn *t, json_t *record, const char *serial,
                  enum sztp_progress p, bool failed, const char *message) {
    const struct known *k = known_get(ob, serial);
    char why[JOB_TEXT_MAX + 1];
    if (goes_on_for_another(ob, t, record, serial, p, message)) {
        return;
    }
    set_stage(record, run_stage_after(p, k != NULL ? k->stage : RUN_ANSWER));
    if (failed) {
        snprintf(why, sizeof why, "%s%s%.200s", sztp_progress_name(p), message[0] ? ": " : "",
                 message);
        run_failed(record, why);
    }
}

/* ---- the step that waits --------------------------------------------------------------------- */

static void end(struct known *k, const char *result, const char *next, const struct err *why) {
    struct job_effect *x = k->effect;
    k->effect = NULL;
    if (why == NULL) {
        job_set_result(x, result);
        job_set_next(x, next);
    }
    job_step_ended(x, why);
    job_release(x);
}

static const struct err *gone(const struct known *k, struct err *e) {
    err_set(e, ERR_REFUSED, NULL,
            k == NULL || k->json == NULL ? "what the device did was forgotten"
                                         : "the device has begun anew");
    return e;
}

/* As far as the record is ahead of the step that waits, that is over. */
static void move(struct known *k, const char *text) {
    char *before = k->said;
    k->said = mem_strdup(text);
    if (k->effect == NULL) {
        mem_free(before);
        return;
    }
    if (k->job != job_token(k->effect)->id) {
        struct err e;
        end(k, NULL, NULL, gone(k, &e));
        mem_free(before);
        return;
    }
    enum run_stage at = (enum run_stage)job_token(k->effect)->step;
    if (k->failed) {
        json_t *o = known_load(k);
        const char *why = json_string_value(json_object_get(o, "run-failed"));
        struct err e;
        err_set(&e, ERR_REFUSED, NULL, "%s", why != NULL ? why : "it has failed");
        end(k, NULL, NULL, &e);
        json_decref(o);
    } else if (k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        job_progress(k->effect, 100, text);
        end(k, text, "", NULL);
    } else if (k->stage != at) {
        end(k, before != NULL ? before : text, stages[k->stage], NULL);
    } else if (before == NULL || strcmp(before, text) != 0) { /* devices ask again and again */
        job_progress(k->effect, (unsigned)at * 100 / STAGES, text);
    }
    mem_free(before);
}

struct moved {
    struct onboard *ob;
    char serial[CMS_SERIAL_MAX + 1], text[JOB_TEXT_MAX + 1];
};

static void moved_after(void *arg, bool committed) {
    struct moved *m = arg;
    struct known *k = committed ? known_get(m->ob, m->serial) : NULL;
    if (k != NULL) {
        k->heard_s = clock_mono_s(core_clock(m->ob->core));
        move(k, m->text);
        known_drop_if_empty(m->ob, k);
    }
    mem_free(m);
}

void run_moved(struct onboard *ob, struct txn *t, const char *serial, const char *what,
               const char *message) {
    struct moved *m = MEM_NEW(struct moved);
    char raw[JOB_TEXT_MAX + 1];
    m->ob = ob;
    snprintf(m->serial, sizeof m->serial, "%s", serial);
    snprintf(raw, sizeof raw, "%s%s%.200s", what, message[0] != '\0' ? ": " : "", message);
    text_line(m->text, sizeof m->text, raw);
    txn_after(t, moved_after, m);
}

/* When it was heard last, by the clock that nobody sets: the record has the time of day. */
static int64_t heard_s(const struct onboard *ob, const json_t *record) {
    const struct clock *c = core_clock(ob->core);
    int64_t ago = clock_wall_s(c) - json_integer_value(json_object_get(record, "last"));
    return clock_mono_s(c) - (ago > 0 ? ago : 0);
}

struct waits {
    struct onboard *ob;
    struct job_effect *x;
};

/* On the writer, or, when its queue is full, on the job's own thread. */
static void attached(void *arg, uint64_t index, const struct err *e) {
    struct waits *w = arg;
    struct onboard *ob = w->ob;
    struct job_effect *x = w->x;
    struct err why;
    (void)index;
    mem_free(w);
    json_t *in = json_loads(job_input(x), 0, NULL);
    const char *serial = json_string_value(json_object_get(in, "serial-number"));
    struct known *k = e == NULL && serial != NULL ? known_get(ob, serial) : NULL;
    json_decref(in);
    if (e == NULL && (k == NULL || k->job != job_token(x)->id)) {
        e = gone(k, &why);
    }
    if (e != NULL) {
        job_step_ended(x, e);
        job_release(x);
        return;
    }
    job_release(k->effect);
    k->effect = x;
    json_t *o = known_load(k);
    const char *progress = json_string_value(json_object_get(o, "progress"));
    const char *answer = json_string_value(json_object_get(o, "answer"));
    int64_t heard = heard_s(ob, o); /* while another controller led, too */
    k->heard_s = k->heard_s > heard ? k->heard_s : heard;
    char text[JOB_TEXT_MAX + 1];
    text_line(text, sizeof text, /* nothing was said in this process: it was restarted */
              k->said != NULL    ? k->said
              : progress != NULL ? progress
              : answer           ? answer
                                 : "");
    mem_free(k->said); /* for the step that begins it is news */
    k->said = NULL;
    move(k, text);
    json_decref(o);
}

static enum err_code nothing(struct txn *t, void *arg, struct err *e) {
    (void)t;
    (void)arg;
    (void)e;
    return ERR_OK;
}

static enum err_code step_run(struct job_effect *x, struct err *e) {
    struct waits *w = MEM_NEW(struct waits);
    (void)e;
    *w = (struct waits){.ob = job_arg(x), .x = job_later(x)};
    core_run_look(job_core(x), &actor_system, nothing, attached, w);
    return ERR_OK;
}

/* ---- what time does -------------------------------------------------------------------------- */

static int64_t limit_s(const struct snap *s, const struct known *k) {
    const struct object *o = object_of(s, &onboard_device_kind, k->serial);
    struct sztp_get g = {.signed_preferred = false};
    known_as_get(k, &g);
    const struct onboard_device_type *type =
        type_of(s, o != NULL ? o->doc->data : NULL, g.hw_model);
    return type != NULL ? type->report_limit : ONBOARD_REPORT_LIMIT_S;
}

/* How many it was, at most: all at once with a chassis, of which the next of the list may be. */
static unsigned over(struct onboard *ob, struct txn *t, const struct known *k, const char *event,
                     const char *why) {
    json_t *o = known_load(k);
    char serial[CMS_SERIAL_MAX + 1];
    uint64_t given = k->given;
    snprintf(serial, sizeof serial, "%s", k->serial);
    known_set_status(t, o, ONBOARD_ONBOARDING_STATUS_FAILED);
    json_object_set_new(o, "given-up", json_true());
    run_failed(o, why);
    known_put(t, serial, o);
    known_log(ob, t, serial, event, why);
    target_reported(ob, t, serial, ONBOARD_ONBOARDING_STATUS_FAILED, given, why);
    run_moved(ob, t, serial, event, why);
    return chassis_run_over(ob, t, serial, event, why) ? EXPIRE_AT_ONCE : 1;
}

static enum err_code tick(struct txn *t, void *arg, struct err *e) {
    struct onboard *ob = core_service_state(txn_core(t), "onboard");
    int64_t now = clock_mono_s(core_clock(ob->core));
    unsigned ended = 0;
    (void)arg;
    (void)e;
    LIST_FOREACH_SAFE (l, &ob->open_runs) {
        struct known *k = CONTAINER_OF(l, struct known, run_link);
        int64_t silent = now - k->heard_s, limit = 0;
        struct err why;
        if (k->effect != NULL && job_told_to_stop(k->effect)) {
            err_set(&why, ERR_TIMEOUT, NULL, "told to stop");
            end(k, NULL, NULL, &why);
        } else if (k->effect == NULL && !job_lives(ob->core, k->job)) {
            ended += over(ob, t, k, "run-ended", "its job was cancelled, or given up");
        } else if (k->effect != NULL && silent >= LIMIT_MIN_S &&
                   silent >= (limit = limit_s(txn_snap(t), k))) {
            char text[80];
            snprintf(text, sizeof text, "nothing was heard of it for %" PRId64 " s", limit);
            ended += over(ob, t, k, "silent", text);
        }
        if (ended >= EXPIRE_AT_ONCE) {
            break;
        }
    }
    return ERR_OK;
}

void onboard_runs_tick(struct core *c) {
    core_run(c, &actor_system, tick, NULL, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

void runs_start(struct onboard *ob) {
    job_register(ob->core, &definition, ob);
}

void run_drop(struct known *k) {
    job_release(k->effect);
    k->effect = NULL;
}

void runs_stop(struct onboard *ob) {
    MAP_FOREACH (m, &ob->devices) {
        run_drop(m->value);
    }
}
