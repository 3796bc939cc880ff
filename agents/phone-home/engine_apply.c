// SPDX-License-Identifier: Apache-2.0
/*
 * Scripts and configuration in their order (PH-060, spec 3.4), the end of a run in success, and the
 * way out of every other one: what was put in force is taken back before anything else is begun.
 */
#include "phone-home/engine_int.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- the copy of the backup */

static void synced(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) { /* a primary that follows us would begin further back */
        phc_log(g, LOG_WARNING, "the backup did not take the record: %s", ev->error->text);
    }
    g->sync_then(g);
}

void phc_sync(struct phc_engine *g, phc_step *then) {
    phc_save(g);
    if (!g->own.chassis || !phc_look(g) ||
        chassis_heir(g->live, g->n_live, g->own.serial) == NULL) {
        then(g);
        return;
    }
    g->sync_then = then;
    struct phc_item *it = phc_order(g, PHC_PLATFORM, PHC_SHORT_MS, synced);
    it->a.u.platform.op = PHC_REPLICATE;
    record_print(&g->r, &it->bytes);
    it->a.u.platform.p = it->bytes.data;
    it->a.u.platform.n = it->bytes.len;
}

/* ---------------------------------------------------------------- scripts */

static void script_tail(struct phc_engine *g) {
    struct platform *p = g->w.platform;
    const struct platform_ops *ops = *(const struct platform_ops *const *)p;
    const struct platform_script_result *r = ops->script_result(p);
    if (r == NULL || r->output.len == 0) {
        return;
    }
    char tail[512];
    size_t n = r->output.len < sizeof tail ? r->output.len : sizeof tail - 1;
    memcpy(tail, r->output.data + r->output.len - n, n);
    tail[n] = '\0';
    phc_log(g, LOG_WARNING, "the script said: %s", tail);
}

static void script(struct phc_engine *g, enum platform_script which, const struct buf *text,
                   phc_done *done) {
    struct phc_action *a = phc_platform(g, PHC_SCRIPT, done);
    a->u.platform.which = which;
    a->u.platform.p = text->data;
    a->u.platform.n = text->len;
    a->u.platform.deadline_ms = g->c.script_ms;
}

static void pre_done(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        script_tail(g);
        phc_fail(g, SZTP_PRE_SCRIPT_ERROR, "The pre-configuration script failed: %s",
                 ev->error->text);
        return;
    }
    phc_tell(g, SZTP_PRE_SCRIPT_COMPLETE, "The pre-configuration script ended.");
    phc_config_apply(g);
}

static void pre_run(struct phc_engine *g) {
    phc_tell(g, SZTP_PRE_SCRIPT_INITIATED, "The pre-configuration script is run.");
    script(g, PLATFORM_PRE, &g->info.pre, pre_done);
}

void phc_pre(struct phc_engine *g) {
    phc_enter(g, PHC_ST_PRE);
    g->wait_due = -1;
    if (!g->info.has_pre) {
        phc_config_apply(g);
        return;
    }
    phc_sync(g, pre_run);
}

static void post_done(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        script_tail(g);
        phc_fail(g, SZTP_POST_SCRIPT_ERROR, "The post-configuration script failed: %s",
                 ev->error->text);
        return;
    }
    phc_tell(g, SZTP_POST_SCRIPT_COMPLETE, "The post-configuration script ended.");
    phc_complete(g);
}

static void post_run(struct phc_engine *g) {
    phc_tell(g, SZTP_POST_SCRIPT_INITIATED, "The post-configuration script is run.");
    script(g, PLATFORM_POST, &g->info.post, post_done);
}

void phc_post(struct phc_engine *g) {
    phc_enter(g, PHC_ST_POST);
    if (!g->info.has_post) {
        phc_complete(g);
        return;
    }
    phc_sync(g, post_run);
}

/* ---------------------------------------------------------------- configuration */

static void confirmed(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_fail(g, SZTP_CONFIG_ERROR, "The configuration could not be kept: %s", ev->error->text);
        return;
    }
    phc_tell(g, SZTP_CONFIG_COMPLETE, "The configuration is in force.");
    phc_post(g);
}

static void config_applied(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_fail(g, SZTP_CONFIG_ERROR, "The configuration was refused: %s%s%s", ev->error->path,
                 ev->error->path[0] ? ": " : "", ev->error->text);
        return;
    }
    phc_platform(g, PHC_CONFIRM, confirmed);
}

/* PH-055: one warning for each statement that may make the chassis elect anew. */
static void lint(struct phc_engine *g) {
    struct platform *p = g->w.platform;
    const struct platform_ops *ops = *(const struct platform_ops *const *)p;
    struct buf out = BUF_INIT;
    ops->lint(p, g->info.config.data, g->info.config.len, &out);
    char *rest = NULL;
    unsigned n = 0;
    for (char *line = out.len > 0 ? strtok_r((char *)(uintptr_t)buf_cstr(&out), "\n", &rest) : NULL;
         line != NULL && n < 16; line = strtok_r(NULL, "\n", &rest), n++) {
        phc_tell(g, SZTP_CONFIG_WARNING, "%s", line);
    }
    buf_free(&out);
}

static void config_give(struct phc_engine *g) {
    struct phc_action *a = phc_platform(g, PHC_APPLY, config_applied);
    a->u.platform.p = g->info.config.data;
    a->u.platform.n = g->info.config.len;
    a->u.platform.handling = g->info.handling;
    a->u.platform.deadline_ms = g->c.confirm_ms;
}

static void key_kept(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_fail(g, SZTP_CONFIG_ERROR, "The key of its certificate could not be kept: %s",
                 ev->error->text);
        return;
    }
    config_give(g);
}

static void config_run(struct phc_engine *g) {
    phc_tell(g, SZTP_CONFIG_INITIATED, "The configuration is applied.");
    lint(g);
    if (g->r.csr_key.len == 0 || !phc_keeps_keys(g)) {
        config_give(g);
        return;
    }
    struct phc_action *a = phc_platform(g, PHC_KEY, key_kept);
    a->u.platform.p = g->r.csr_key.data;
    a->u.platform.n = g->r.csr_key.len;
}

void phc_config_apply(struct phc_engine *g) {
    phc_enter(g, PHC_ST_CONFIG);
    if (!g->info.has_config) {
        phc_post(g);
        return;
    }
    g->r.applied = true; /* as far as a life after this one can know */
    phc_sync(g, config_run);
}

/* ---------------------------------------------------------------- success */

static void disable(struct phc_engine *g) {
    phc_log(g, LOG_NOTICE, "bootstrapping is complete");
    phc_push(g, PHC_DISABLE); /* PH-071, PH-152 */
}

void phc_done_for_good(struct phc_engine *g) {
    phc_quiet(g);
    phc_find_clear(g);
    g->rounds = 0;
    g->r.applied = false;
    g->r.n_avoid = 0;
    g->r.tried[0] = '\0';
    g->last_error[0] = '\0';
    buf_free(&g->r.body); /* DONE is all that need be known, by us and by the backup */
    phc_csr_drop(g);      /* it is the platform's now */
    phc_enter(g, PHC_ST_DONE);
    phc_sync(g, disable);
}

static void complete_failed(struct phc_engine *g, const struct phc_event *ev) {
    phc_fail(g, SZTP_BOOTSTRAP_ERROR, "The report of success was not taken: %s",
             ev->error != NULL ? ev->error->text : "another status than 204");
}

static void complete_tell(struct phc_engine *g) {
    static const char text[] = "Bootstrapping is complete.";
    if (phc_reports(g) && g->r.dialect == PHC_RFC8572) { /* spec 3.4, 8 */
        phc_tell_must(g, SZTP_BOOTSTRAP_COMPLETE, text, phc_done_for_good, complete_failed);
        return;
    }
    phc_tell(g, SZTP_BOOTSTRAP_COMPLETE, "%s", text);
    phc_drain(g, phc_done_for_good);
}

static void complete_thaw(struct phc_engine *g);

static void complete_thawed(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_trouble(g, LOG_ERR, "the temporary configuration is still there: %s", ev->error->text);
        phc_timer(g, phc_backoff(g, g->tries++), complete_thaw);
        return;
    }
    g->r.frozen = false;
    phc_save(g);
    complete_tell(g);
}

static void complete_thaw(struct phc_engine *g) {
    if (!g->r.frozen) {
        complete_tell(g);
        return;
    }
    phc_platform(g, PHC_THAW, complete_thawed);
}

void phc_complete(struct phc_engine *g) {
    phc_enter(g, PHC_ST_REPORT);
    g->tries = 0;
    phc_sync(g, complete_thaw);
}

/* ---------------------------------------------------------------- the way out */

void phc_fail(struct phc_engine *g, enum sztp_progress type, const char *fmt, ...) {
    char text[SZTP_MESSAGE_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    phc_tell(g, type, "%s", text);
    phc_leave(g, AFTER_NEXT);
}

void phc_leave(struct phc_engine *g, int after) {
    phc_quiet(g);
    g->after = after;
    g->tries = 0;
    memset(&g->must, 0, sizeof g->must);
    phc_enter(g, PHC_ST_FAIL);
    if (g->r.run != 0) {
        /* A run begins in factory default: what is in force is of a run, perhaps of a former
         * primary that could not tell us. */
        g->r.applied |= phc_look(g) && !g->own.factory_default;
        if (after == AFTER_NEXT && g->r.place[0] != '\0') {
            record_avoid(&g->r, g->r.place);
            phc_log(g, LOG_NOTICE, "gives up %s in this round", g->r.place);
        }
        phc_sync(g, phc_undo); /* who follows us is not to go on with it */
        return;
    }
    phc_undo(g);
}

static void undone(struct phc_engine *g) {
    bool had_run = g->r.run != 0;
    phc_tell_stop(g);
    record_end_run(&g->r);
    if (g->after == AFTER_IDLE) {
        phc_find_clear(g);
        g->r.n_avoid = 0;
    }
    phc_enter(g, PHC_ST_IDLE);
    if (had_run || g->after == AFTER_START) {
        phc_save(g);
    }
    switch (g->after) {
    case AFTER_NEXT: /* of a run that was resumed the way here is forgotten: from the first source
                      */
        if (g->n_levels > 0 || g->n_findings > 0) {
            phc_next(g);
        } else {
            phc_discover(g);
        }
        break;
    case AFTER_START:
        phc_after_clean(g);
        break;
    case AFTER_IDLE:
        break;
    }
}

static void rolled_back(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_trouble(g, LOG_ERR, "the configuration could not be taken back: %s", ev->error->text);
        phc_timer(g, phc_backoff(g, g->tries++), phc_undo);
        return;
    }
    g->r.applied = false;
    g->tries = 0;
    phc_undo(g);
}

static void thawed(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_trouble(g, LOG_ERR, "the temporary configuration is still there: %s", ev->error->text);
        phc_timer(g, phc_backoff(g, g->tries++), phc_undo);
        return;
    }
    g->r.frozen = false;
    g->tries = 0;
    phc_undo(g);
}

void phc_undo(struct phc_engine *g) {
    if (g->r.applied) {
        phc_platform(g, PHC_ROLLBACK, rolled_back);
    } else if (g->r.frozen) {
        phc_platform(g, PHC_THAW, thawed);
    } else {
        phc_drain(g, undone);
    }
}
