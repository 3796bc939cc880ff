// SPDX-License-Identifier: Apache-2.0
/*
 * Archival (spec/apm.md 2.14): which commits are to be copied to a file server, in one record; and
 * the job that copies them, oldest first, to the first site that takes them.
 *
 * A commit is noted as waiting in its own transaction, so none is forgotten and none waits for a
 * server. The job has one step, which copies whatever waits and tells after each commit; names
 * follow from the commit, so a repetition writes the same files. When no site takes anything the
 * step fails and comes again with back-off, for months; what waits meanwhile is bounded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/archive_file.h"
#include "admin/internal.h"
#include "base/logger.h"
#include "base/text.h"
#include "net/scp.h"

LOGGER_MODULE(archival);

#define KEY    "admin/archival"
#define LOCK   "admin-archival"
#define OBJECT "/weft-system:system/weft-admin:archival"

enum {
    VERSION = 1,
    STEP_S = 1800,      /* deadline of one attempt */
    SITE_S = 600,       /* for one site in it */
    ATTEMPTS = 10000,   /* with the longest back-off: months */
    BACKOFF_S = 10,     /* then twice as long each time ... */
    BACKOFF_MAX_S = 900 /* ... up to this */
};

static enum err_code transfer(struct job_effect *x, struct err *e);
static const struct job_step steps[] = {{.name = "transfer",
                                         .run = transfer,
                                         .deadline_s = STEP_S,
                                         .attempts = ATTEMPTS,
                                         .backoff_s = BACKOFF_S,
                                         .backoff_max_s = BACKOFF_MAX_S}};
static const struct job_definition definition = {
    .name = "config-archival",
    .title = "Copies of the configuration to an archive site",
    .steps = steps,
    .n_steps = 1};

/* ---- the record --------------------------------------------------------------------------------
 */

static void record_encode(const struct archive_record *r, struct buf *out) {
    buf_u8(out, VERSION);
    buf_var(out, r->archived);
    buf_u64(out, (uint64_t)r->archived_s);
    buf_blob_str(out, r->site);
    buf_u64(out, (uint64_t)r->failing_s);
    buf_blob_str(out, r->reason);
    buf_var(out, r->skipped);
    buf_var(out, r->job);
    buf_var(out, r->n_waiting);
    for (size_t i = 0; i < r->n_waiting; i++) {
        buf_var(out, r->waiting[i]);
    }
}

static bool take_text(struct cur *c, char *out, size_t size) {
    struct cur b = cur_blob(c);
    size_t n = cur_left(&b);
    if (c->bad || n >= size || memchr(b.p, '\0', n) != NULL) {
        return false;
    }
    memcpy(out, b.p, n);
    out[n] = '\0';
    return true;
}

static bool record_decode(struct cur c, struct archive_record *r) {
    memset(r, 0, sizeof *r);
    if (cur_u8(&c) != VERSION) {
        return false;
    }
    r->archived = cur_var(&c);
    r->archived_s = (int64_t)cur_u64(&c);
    if (!take_text(&c, r->site, sizeof r->site)) {
        return false;
    }
    r->failing_s = (int64_t)cur_u64(&c);
    if (!take_text(&c, r->reason, sizeof r->reason)) {
        return false;
    }
    r->skipped = cur_var(&c);
    r->job = cur_var(&c);
    uint64_t n = cur_var(&c);
    for (uint64_t i = 0; n <= ARCHIVE_WAITING_MAX && i < n; i++) {
        r->waiting[r->n_waiting++] = cur_var(&c);
    }
    return !c.bad && n <= ARCHIVE_WAITING_MAX && cur_left(&c) == 0;
}

static bool record_empty(const struct archive_record *r) {
    static const struct archive_record none;
    return memcmp(r, &none, sizeof none) == 0;
}

bool archive_encode(struct archive *a, struct buf *out) {
    bool some = !record_empty(&a->r);
    if (some) {
        record_encode(&a->r, out);
    }
    return some;
}

enum err_code archive_fold(struct archive *a, const void *value, size_t len, struct err *e) {
    struct archive_record r = {.archived = 0};
    if (value != NULL && !record_decode(cur_of(value, len), &r)) {
        return err_set(e, ERR_MALFORMED, NULL, "is damaged or of a newer version");
    }
    pthread_mutex_lock(&a->lock);
    a->r = r;
    pthread_mutex_unlock(&a->lock);
    return ERR_OK;
}

static void record_put(struct txn *t, const struct archive_record *r) {
    struct buf b = BUF_INIT;
    record_encode(r, &b);
    txn_put_state(t, KEY, strlen(KEY), buf_cstr(&b), b.len);
    buf_free(&b);
}

static struct archive_record record_now(struct archive *a) {
    pthread_mutex_lock(&a->lock);
    struct archive_record r = a->r;
    pthread_mutex_unlock(&a->lock);
    return r;
}

static void wait_add(struct archive_record *r, uint64_t commit) {
    if (r->n_waiting > 0 && r->waiting[r->n_waiting - 1] >= commit) {
        return;
    }
    if (r->n_waiting == ARCHIVE_WAITING_MAX) {
        memmove(r->waiting, r->waiting + 1, sizeof r->waiting - sizeof r->waiting[0]);
        r->n_waiting--;
        r->skipped++;
    }
    r->waiting[r->n_waiting++] = commit;
}

static void wait_remove(struct archive_record *r, uint64_t upto) {
    size_t n = 0;
    while (n < r->n_waiting && r->waiting[n] <= upto) {
        n++;
    }
    r->n_waiting -= n;
    memmove(r->waiting, r->waiting + n, r->n_waiting * sizeof r->waiting[0]);
    memset(r->waiting + r->n_waiting, 0, n * sizeof r->waiting[0]);
}

/* ---- when --------------------------------------------------------------------------------------
 */

/* A job for what waits. `anew`: one that backs off gives way, as there is a reason to try now. */
static void run_job(struct archive *a, struct txn *t, struct archive_record *r, bool anew) {
    struct err e;
    const struct job_order o = {.definition = &definition, .lock = LOCK};
    if (r->job != 0 && job_lives(a->core, r->job)) {
        if (!anew) {
            return;
        }
        job_cancel(t, r->job, &e); /* refused: it is ending anyway */
    }
    if (job_start(t, &o, &r->job, &e) != ERR_OK) {
        L_WARN_RL(60, "copies of the configuration wait: %s", e.text);
    }
}

void archive_changed(struct archive *a, struct txn *t) {
    bool mine = false;
    for (size_t i = 0; i < txn_n_ops(t) && !mine; i++) {
        struct txn_op op = txn_op(t, i);
        mine = (op.new_ ? op.new_ : op.old)->doc->kind == &admin_archival_kind;
    }
    struct archive_record r = a->r;
    if (mine && !a->on_commit && a->interval_ns == 0) { /* nothing is copied any more */
        if (record_empty(&r)) {
            return;
        }
        if (r.job != 0 && job_lives(a->core, r.job)) {
            struct err ignore;
            job_cancel(t, r.job, &ignore);
        }
        wait_remove(&r, UINT64_MAX);
        r.failing_s = 0;
        r.reason[0] = '\0';
        record_put(t, &r);
    } else if (a->on_commit || (mine && r.n_waiting > 0)) {
        if (a->on_commit) {
            wait_add(&r, txn_index(t));
        }
        run_job(a, t, &r, mine);
        record_put(t, &r);
    }
}

static enum err_code by_time(struct txn *t, void *arg, struct err *e) {
    struct archive *a = arg;
    struct archive_record r = a->r;
    struct commit_info newest;
    (void)e;
    if (core_history(a->core, &newest, 1) == 0 || newest.index <= r.archived) {
        return ERR_OK; /* nothing is new */
    }
    wait_add(&r, newest.index);
    run_job(a, t, &r, false);
    if (memcmp(&r, &a->r, sizeof r) != 0) {
        record_put(t, &r);
    }
    return ERR_OK;
}

static void tick(struct timer *timer, void *arg) {
    struct archive *a = arg;
    core_run(a->core, &actor_system, by_time, NULL, a);
    timer_arm(core_timers(a->core), timer, a->interval_ns);
}

void archive_config(struct archive *a, const struct object *new_) {
    const struct admin_archival *o = new_ != NULL ? new_->doc->data : NULL;
    const struct admin_archival_configuration *c = o != NULL ? &o->configuration : NULL;
    bool sites = c != NULL && c->n_archive_site > 0;
    int64_t interval =
        sites && c->has_transfer_interval ? (int64_t)c->transfer_interval * 60 * NS_PER_S : 0;
    a->on_commit = sites && c->transfer_on_commit;
    if (interval == a->interval_ns) {
        return;
    }
    a->interval_ns = interval;
    if (interval > 0) {
        timer_arm(core_timers(a->core), &a->timer, interval);
    } else {
        timer_disarm(core_timers(a->core), &a->timer);
    }
}

enum err_code archive_check(struct archive *a, struct txn *t, struct err *e) {
    (void)a;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        const struct object *o = txn_op(t, i).new_;
        if (o == NULL || o->doc->kind != &admin_archival_kind) {
            continue;
        }
        const struct admin_archival *ar = o->doc->data;
        const struct admin_archival_configuration *c = &ar->configuration;
        for (size_t s = 0; s < c->n_archive_site; s++) {
            const struct admin_archival_configuration_archive_site *site = &c->archive_site[s];
            struct scp_url url;
            char at[ERR_PATH_MAX];
            enum err_code rc = scp_url_parse(site->url, &url, e);
            for (size_t k = 0; k < site->n_host_key && rc == ERR_OK; k++) {
                rc = scp_check_host_key(site->host_key[k], e);
            }
            if (rc == ERR_OK && site->private_key != NULL) {
                rc = scp_check_private_key(site->private_key, e);
            }
            if (rc != ERR_OK) {
                snprintf(at, sizeof at, OBJECT "/configuration/archive-site=%s", site->name);
                err_prefix_path(e, at);
                return rc;
            }
        }
        if ((c->transfer_on_commit || c->has_transfer_interval) && c->n_archive_site == 0) {
            txn_warn(t, "archival: there is no archive-site, so nothing is copied");
        }
    }
    return ERR_OK;
}

/* ---- what became of it ------------------------------------------------------------------------
 */

struct news {
    struct archive *a;
    uint64_t commit;
    size_t files; /* 0: it was left out */
    char site[64];
    char reason[ERR_TEXT_MAX]; /* not "": it failed */
};

static enum err_code note(struct txn *t, void *arg, struct err *e) {
    struct news *n = arg;
    struct archive_record r = n->a->r;
    json_t *o = json_object();
    struct buf json = BUF_INIT;
    (void)e;
    json_object_set_new(o, "commit", json_sprintf("%" PRIu64, n->commit));
    if (n->reason[0] != '\0') {
        n->a->n_failures++;
        json_object_set_new(o, "reason", json_string(n->reason));
        if (r.failing_s == 0) {
            admin_json(&json, json_incref(o));
            txn_event(t, "weft-admin:archival-failed", buf_cstr(&json));
            r.failing_s = txn_now_s(t);
        }
        snprintf(r.reason, sizeof r.reason, "%s", n->reason);
    } else {
        wait_remove(&r, n->commit);
        r.skipped += n->files == 0;
        if (n->files > 0) {
            n->a->n_copied++;
            json_object_set_new(o, "site", json_string(n->site));
            json_object_set_new(o, "files", json_integer((json_int_t)n->files));
            admin_json(&json, json_incref(o));
            txn_event(t, "weft-admin:archival-done", buf_cstr(&json));
            r.archived = n->commit > r.archived ? n->commit : r.archived;
            r.archived_s = txn_now_s(t);
            snprintf(r.site, sizeof r.site, "%s", n->site);
            r.failing_s = 0;
            memset(r.reason, 0, sizeof r.reason);
        }
    }
    json_decref(o);
    buf_free(&json);
    if (memcmp(&r, &n->a->r, sizeof r) != 0) {
        record_put(t, &r);
    }
    return ERR_OK;
}

static void noted(void *arg, uint64_t index, const struct err *e) {
    (void)index;
    if (e != NULL) {
        L_WARN_RL(60, "what became of a copy was not recorded: %s", e->text);
    }
    mem_free(arg);
}

/* From the step's thread; it is recorded before the step's own result, which is queued behind. */
static void tell(struct archive *a, uint64_t commit, size_t files, const char *site,
                 const char *reason) {
    struct news *n = MEM_NEW(struct news);
    *n = (struct news){.a = a, .commit = commit, .files = files};
    snprintf(n->site, sizeof n->site, "%s", site);
    snprintf(n->reason, sizeof n->reason, "%s", reason);
    core_run(a->core, &actor_system, note, noted, n);
}

/* Comes after the step's last news: what was committed since it last looked gets a job of its own,
 * which the lock keeps waiting until this one has ended. */
static enum err_code look_again(struct txn *t, void *arg, struct err *e) {
    struct archive *a = arg;
    struct archive_record r = a->r;
    (void)e;
    if (r.n_waiting > 0) {
        r.job = 0;
        run_job(a, t, &r, false);
        record_put(t, &r);
    }
    return ERR_OK;
}

/* ---- the step ----------------------------------------------------------------------------------
 */

struct sending {
    struct archive *a;
    struct job_effect *x;
    const struct admin_archival_configuration *c;
    struct scp *scp;
    const char *site; /* that scp is connected to */
    struct commit_info history[ARCHIVE_WAITING_MAX];
    size_t n_history;
};

static bool told_to_stop(void *arg) {
    return job_told_to_stop(arg);
}

static enum err_code connect_site(struct sending *s,
                                  const struct admin_archival_configuration_archive_site *site,
                                  struct err *e) {
    struct scp_config cfg = {.password = site->password,
                             .private_key = site->private_key,
                             .host_keys = site->host_key,
                             .n_host_keys = site->n_host_key,
                             .seconds = SITE_S,
                             .stop = told_to_stop,
                             .arg = s->x};
    ERR_TRY(scp_url_parse(site->url, &cfg.url, e));
    ERR_TRY(scp_open(&cfg, &s->scp, e));
    s->site = site->name;
    return ERR_OK;
}

static enum err_code send_one(struct sending *s, const struct archive_naming *n, unsigned rollback,
                              const struct commit_info *of, struct err *e) {
    struct snap *snap;
    struct buf content = BUF_INIT;
    char name[ARCHIVE_NAME_MAX];
    ERR_TRY(core_snapshot_at(s->a->core, of->index, &snap, e));
    enum err_code rc = archive_content(core_model(s->a->core), snap, of, &content, e);
    snap_release(snap);
    if (rc == ERR_OK) {
        archive_name(n, rollback, name);
        rc = scp_put(s->scp, name, content.data, content.len, e);
    }
    buf_free(&content);
    return rc;
}

/* All files of the commit at history[at]; *files: how many. */
static enum err_code send_commit(struct sending *s, size_t at, size_t *files, struct err *e) {
    const struct commit_info *ci = &s->history[at];
    struct archive_naming n = {
        .retain = s->c->retain_source_filename, .prefix = s->c->file_prefix, .time_s = ci->time_s};
    for (size_t i = at + 1; i < s->n_history && s->history[i].time_s == ci->time_s; i++) {
        n.twin++;
    }
    *files = 0;
    size_t last = s->c->rollback_files ? s->n_history - 1 : at;
    for (size_t i = at; i <= last; i++) {
        enum err_code rc = send_one(s, &n, (unsigned)(i - at), &s->history[i], e);
        if (rc == ERR_ABSENT && i > at) {
            break; /* went out of the history meanwhile, as all older ones */
        }
        ERR_TRY(rc);
        ++*files;
    }
    return ERR_OK;
}

/* The waiting commit `commit`, to the site that is connected or, where that fails, to the others.
 */
static enum err_code place_commit(struct sending *s, uint64_t commit, struct buf *why,
                                  struct err *e) {
    size_t at = 0, files = 0;
    while (at < s->n_history && s->history[at].index != commit) {
        at++;
    }
    if (at == s->n_history) {
        L_WARN("commit %" PRIu64 " is no longer kept and was not copied", commit);
        tell(s->a, commit, 0, "", "");
        return ERR_OK;
    }
    for (size_t i = 0; i < s->c->n_archive_site; i++) {
        const struct admin_archival_configuration_archive_site *site = &s->c->archive_site[i];
        enum err_code rc = ERR_OK;
        if (s->scp != NULL && strcmp(site->name, s->site) != 0) {
            continue; /* another one works */
        }
        if (s->scp == NULL) {
            rc = connect_site(s, site, e);
        }
        if (rc == ERR_OK) {
            rc = send_commit(s, at, &files, e);
        }
        if (rc == ERR_OK) {
            tell(s->a, commit, files, site->name, "");
            return ERR_OK;
        }
        buf_printf(why, "%s%s: %s", why->len > 0 ? "; " : "", site->name, e->text);
        scp_close(s->scp);
        s->scp = NULL;
        if (job_told_to_stop(s->x)) {
            break;
        }
    }
    return ERR_UNAVAILABLE;
}

static enum err_code send_waiting(struct sending *s, struct err *e) {
    struct archive_record r = record_now(s->a);
    struct buf why = BUF_INIT;
    enum err_code rc = ERR_OK;
    s->n_history = core_history(s->a->core, s->history, ARCHIVE_WAITING_MAX);
    /* With names that stay the same only the newest would be left. */
    size_t i = s->c->retain_source_filename && r.n_waiting > 0 ? r.n_waiting - 1 : 0;
    for (; i < r.n_waiting && rc == ERR_OK; i++) {
        char text[64];
        snprintf(text, sizeof text, "commit %" PRIu64, r.waiting[i]);
        job_progress(s->x, (unsigned)(i * 100 / r.n_waiting), text);
        rc = place_commit(s, r.waiting[i], &why, e);
    }
    scp_close(s->scp);
    if (rc != ERR_OK) {
        err_set(e, rc, NULL, "%s", why.len > 0 ? buf_cstr(&why) : "there is no archive site");
        if (!job_told_to_stop(s->x)) {
            tell(s->a, r.waiting[i - 1], 0, "", e->text);
        }
    }
    buf_free(&why);
    return rc;
}

static enum err_code transfer(struct job_effect *x, struct err *e) {
    struct archive *a = job_arg(x);
    struct sending s = {.a = a, .x = x};
    struct snap *snap = core_snapshot(a->core);
    const struct object *o = snap_get(snap, OBJECT);
    enum err_code rc = ERR_OK;
    if (o != NULL) { /* else it was told to stop, or is about to be */
        s.c = &((const struct admin_archival *)o->doc->data)->configuration;
        rc = send_waiting(&s, e);
    }
    snap_release(snap);
    if (rc == ERR_OK) {
        core_run(a->core, &actor_system, look_again, NULL, a);
    }
    return rc;
}

enum err_code archive_site_open(const struct snap *s, const char *name, unsigned seconds,
                                struct scp **out, struct err *e) {
    const struct object *o = snap_get(s, OBJECT);
    const struct admin_archival *a = o != NULL ? o->doc->data : NULL;
    for (size_t i = 0; a != NULL && i < a->configuration.n_archive_site; i++) {
        const struct admin_archival_configuration_archive_site *site =
            &a->configuration.archive_site[i];
        struct scp_config cfg = {.password = site->password,
                                 .private_key = site->private_key,
                                 .host_keys = site->host_key,
                                 .n_host_keys = site->n_host_key,
                                 .seconds = seconds};
        if (strcmp(site->name, name) == 0) {
            ERR_TRY(scp_url_parse(site->url, &cfg.url, e));
            return scp_open(&cfg, out, e);
        }
    }
    return err_set(e, ERR_ABSENT, "site", "there is no archive-site \"%s\"", name);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void add_time(json_t *o, const char *name, int64_t s) {
    char text[TIME_TEXT_MAX];
    if (s != 0) {
        json_object_set_new(o, name, json_string(time_format(s, 0, text)));
    }
}

static void show(struct archive *a, struct call *cl) {
    const struct archive_record *r = &a->r;
    char text[TIME_TEXT_MAX];
    json_t *o = json_object();
    bool lives = r->job != 0 && job_lives(a->core, r->job);
    if (!a->on_commit && a->interval_ns == 0) {
        buf_str(&cl->text, "Nothing is copied by itself.\n");
    }
    if (r->archived != 0) {
        json_object_set_new(o, "archived-commit", json_sprintf("%" PRIu64, r->archived));
        add_time(o, "archived-time", r->archived_s);
        json_object_set_new(o, "archived-site", json_string(r->site));
        buf_printf(&cl->text, "Last copy: commit %" PRIu64 ", to %s at %s\n", r->archived, r->site,
                   time_format(r->archived_s, 0, text));
    } else {
        buf_str(&cl->text, "Last copy: none\n");
    }
    json_object_set_new(o, "waiting", json_integer((json_int_t)r->n_waiting));
    buf_printf(&cl->text, "Waiting  : %zu %s\n", r->n_waiting,
               text_plural(r->n_waiting, "commit", "commits"));
    if (lives) {
        json_object_set_new(o, "job", json_sprintf("%" PRIu64, r->job));
        buf_printf(&cl->text, "Job      : %" PRIu64 "\n", r->job);
    }
    if (r->failing_s != 0) {
        add_time(o, "failing-since", r->failing_s);
        json_object_set_new(o, "reason", json_string(r->reason));
        buf_printf(&cl->text, "Failing  : since %s: %s\n", time_format(r->failing_s, 0, text),
                   r->reason);
    }
    json_object_set_new(o, "skipped", json_sprintf("%" PRIu64, r->skipped));
    if (r->skipped > 0) {
        buf_printf(&cl->text, "Skipped  : %" PRIu64 " %s, no longer kept\n", r->skipped,
                   text_plural(r->skipped, "commit", "commits"));
    }
    admin_json(&cl->json, o);
}

static enum err_code transfer_now(struct archive *a, struct txn *t, struct call *cl,
                                  struct err *e) {
    struct archive_record r = a->r;
    struct commit_info newest;
    const struct object *o = txn_get(t, OBJECT);
    if (o == NULL ||
        ((const struct admin_archival *)o->doc->data)->configuration.n_archive_site == 0) {
        return err_set(e, ERR_REFUSED, OBJECT "/configuration/archive-site",
                       "there is no archive-site: set one first");
    }
    if (core_history(a->core, &newest, 1) == 0) {
        return err_set(e, ERR_REFUSED, NULL, "there is no commit yet");
    }
    wait_add(&r, newest.index);
    run_job(a, t, &r, true);
    record_put(t, &r);
    buf_printf(&cl->text,
               "Commit %" PRIu64 " is copied by job %" PRIu64 ": show job id %" PRIu64 "\n",
               newest.index, r.job, r.job);
    json_t *out = json_object();
    json_object_set_new(out, "job", json_sprintf("%" PRIu64, r.job));
    admin_json(&cl->json, out);
    return ERR_OK;
}

enum err_code archive_call(struct archive *a, struct txn *t, struct call *cl, struct err *e) {
    if (cl->in.rpc == admin_archive_rpc) {
        return transfer_now(a, t, cl, e);
    }
    show(a, cl);
    return ERR_OK;
}

static void figure(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t v) {
    buf_printf(out,
               "# HELP weft_archival_%s %s\n# TYPE weft_archival_%s %s\n"
               "weft_archival_%s %" PRIu64 "\n",
               name, help, name, type, name, v);
}

void archive_metrics(struct archive *a, struct buf *out) {
    figure(out, "waiting", "gauge", "Commits that are to be copied.", a->r.n_waiting);
    figure(out, "failing", "gauge", "1 when no archive site takes anything.", a->r.failing_s != 0);
    figure(out, "copied_total", "counter", "Commits copied since the start.", a->n_copied);
    figure(out, "failures_total", "counter", "Attempts that failed since the start.",
           a->n_failures);
    figure(out, "skipped_total", "counter", "Commits that were never copied.", a->r.skipped);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void archive_init(struct archive *a, struct core *c) {
    a->core = c;
    a->timer = (struct timer){.fire = tick, .arg = a};
    pthread_mutex_init(&a->lock, NULL);
}

void archive_start(struct archive *a) {
    job_register(a->core, &definition, a);
}

void archive_stop(struct archive *a) {
    timer_disarm(core_timers(a->core), &a->timer);
}

void archive_free(struct archive *a) {
    pthread_mutex_destroy(&a->lock);
}
