// SPDX-License-Identifier: Apache-2.0
/* Sessions, and the frame around each command. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "core/rights.h"
#include "core/system.h"
#include "north/cli/run.h"

struct cli *cli_new(const struct cli_options *o) {
    struct cli *c = MEM_NEW(struct cli);
    c->o = *o;
    c->core = o->core;
    c->model = core_model(o->core);
    pthread_mutex_init(&c->lock, NULL);
    list_init(&c->sessions);
    return c;
}

void cli_free(struct cli *c) {
    if (c != NULL) {
        pthread_mutex_destroy(&c->lock);
        mem_free(c);
    }
}

static int64_t now_s(const struct cli *c) {
    return clock_wall_s(core_clock(c->core));
}

static uint64_t newest_commit(const struct cli *c) {
    struct commit_info newest = {0};
    core_history(c->core, &newest, 1);
    return newest.index;
}

enum err_code cli_session_new(struct cli *c, const struct actor *who, const struct cli_terminal *t,
                              struct cli_session **out, struct err *e) {
    unsigned of_user = 0;
    ERR_TRY(session_admit(c->core, who, e));
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&c->lock);
    LIST_FOREACH (pos, &c->sessions) {
        struct cli_session *other = CONTAINER_OF(pos, struct cli_session, link);
        of_user += strcmp(other->who.user, who->user) == 0;
    }
    if (c->n_sessions >= CLI_SESSIONS_MAX) {
        rc = err_set(e, ERR_LIMIT, NULL, "there are %d sessions already", CLI_SESSIONS_MAX);
    } else if (of_user >= CLI_SESSIONS_PER_USER) {
        rc = err_set(e, ERR_LIMIT, NULL, "%s has %d sessions already", who->user,
                     CLI_SESSIONS_PER_USER);
    } else {
        struct cli_session *s = MEM_NEW(struct cli_session);
        s->cli = c;
        s->id = session_open(who->user, "cli",
                             strncmp(who->source, "cli ", 4) == 0 ? who->source + 4 : who->source);
        s->who = *who;
        pthread_mutex_init(&s->lock, NULL);
        s->interactive = t->interactive;
        s->json = t->json;
        s->rows = t->rows;
        s->columns = t->columns;
        s->idle_timeout = -1;
        s->since_s = now_s(c);
        atomic_init(&s->used_s, s->since_s);
        s->edit_path = mem_strdup("/");
        s->seen = newest_commit(c);
        list_append(&c->sessions, &s->link);
        c->n_sessions++;
        *out = s;
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void leave_configuration(struct run *r) {
    struct cli_session *s = r->s;
    if (s->config == CONFIG_EXCLUSIVE) {
        candidate_discard(s->candidate);
        candidates_unlock(s->cli->o.candidates, s->id, NULL);
    }
    candidate_release(s->candidate);
    s->candidate = NULL;
    s->config = CONFIG_NONE;
    session_configuring(s->id, false);
    session_set_place(s, "/");
}

void cli_session_free(struct cli_session *s) {
    if (s == NULL) {
        return;
    }
    struct cli *c = s->cli;
    struct run r = {.s = s, .cli = c};
    leave_configuration(&r);
    pthread_mutex_lock(&c->lock);
    list_remove(&s->link);
    c->n_sessions--;
    pthread_mutex_unlock(&c->lock);
    session_close(s->id);
    pthread_mutex_destroy(&s->lock);
    for (size_t i = 0; i < CLI_HISTORY_MAX; i++) {
        mem_free(s->history[i]);
    }
    mem_free(s->edit_path);
    mem_free(s);
}

uint64_t cli_session_id(const struct cli_session *s) {
    return s->id;
}
const struct actor *cli_session_actor(const struct cli_session *s) {
    return &s->who;
}
bool cli_session_stands(const struct cli_session *s) {
    struct core *c = s->cli->core;
    struct snap *snap = core_snapshot(c);
    bool yes = rights_stands(c, snap, &s->who);
    snap_release(snap);
    return yes;
}
bool cli_session_ended(const struct cli_session *s) {
    return s->ended;
}
void cli_session_end(struct cli_session *s) {
    s->ended = true;
}

void cli_session_resize(struct cli_session *s, unsigned rows, unsigned columns) {
    s->rows = rows;
    s->columns = columns;
}
bool cli_session_secret(const struct cli_session *s) {
    return s->secret;
}
void cli_session_set_secret(struct cli_session *s) {
    s->secret = true;
}
bool cli_session_json(const struct cli_session *s) {
    return s->json;
}
struct cli_screen cli_session_screen(const struct cli_session *s) {
    return (struct cli_screen){s->rows, s->columns, !s->plain_space};
}

bool cli_end_session(struct cli *c, uint64_t id) {
    bool found = false;
    pthread_mutex_lock(&c->lock);
    LIST_FOREACH (pos, &c->sessions) {
        struct cli_session *s = CONTAINER_OF(pos, struct cli_session, link);
        if (s->id == id) {
            s->ended = true;
            found = true;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* ---- settings ----------------------------------------------------------------------------------
 */

static bool setting(struct cli *c, const char *leaf, char *out, size_t size) {
    struct snap *snap = core_snapshot(c->core);
    const struct object *o = snap_get(snap, "/weft-system:system/settings");
    bool found = false;
    if (o != NULL) {
        struct arena *a = arena_new();
        const char *v = doc_value(c->model, o->doc, leaf, a);
        if (v != NULL) {
            snprintf(out, size, "%s", v);
            found = true;
        }
        arena_free(a);
    }
    snap_release(snap);
    return found;
}

unsigned cli_session_idle_timeout(struct cli_session *s) {
    enum { DEFAULT_S = 3600 };
    char text[32];
    if (s->idle_timeout >= 0) {
        return (unsigned)s->idle_timeout;
    }
    unsigned v;
    return setting(s->cli, "sessions/idle-timeout", text, sizeof text) &&
                   sscanf(text, "%u", &v) == 1
               ? v
               : DEFAULT_S;
}

/* The name in the prompt: as configured, else this machine's. */
void session_host(struct cli *c, char *out, size_t size) {
    if (!setting(c, "hostname", out, size)) {
        if (gethostname(out, size) != 0) {
            snprintf(out, size, "weft");
        }
        out[size - 1] = '\0';
        out[strcspn(out, ".")] = '\0';
    }
}

void cli_prompt(struct cli_session *s, struct buf *out) {
    char host[254];
    session_host(s->cli, host, sizeof host);
    pthread_mutex_lock(&s->lock);
    if (s->config != CONFIG_NONE) {
        struct buf words = BUF_INIT;
        place_words(s->cli->model, s->edit_path, &words);
        buf_printf(out, "[edit%s%s]\n", words.len > 0 ? " " : "", buf_cstr(&words));
        buf_free(&words);
    }
    buf_printf(out, "%s@%s%s ", s->who.user, host, s->config != CONFIG_NONE ? "#" : ">");
    pthread_mutex_unlock(&s->lock);
}

void cli_way_back(struct cli_session *s, struct buf *out) {
    static const char *const modes[] = {"", "", " private", " exclusive"};
    pthread_mutex_lock(&s->lock);
    if (s->config != CONFIG_NONE) {
        buf_printf(out, "configure%s\n", modes[s->config]);
        if (strcmp(s->edit_path, "/") != 0) {
            struct buf words = BUF_INIT;
            place_words(s->cli->model, s->edit_path, &words);
            buf_printf(out, "edit %s\n", buf_cstr(&words));
            buf_free(&words);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static void set_path(struct cli_session *s, const char *path) {
    char *copy = mem_strdup(path);
    mem_free(s->edit_path);
    s->edit_path = copy;
}

static bool strictly_above(const char *path, const char *above) {
    return strcmp(path, above) != 0 && (strcmp(above, "/") == 0 || path_below(path, above));
}

void session_set_place(struct cli_session *s, const char *path) {
    set_path(s, path);
    while (s->n_edit_from > 0 && !strictly_above(path, s->edit_from[s->n_edit_from - 1])) {
        mem_free(s->edit_from[--s->n_edit_from]);
    }
}

void session_enter(struct cli_session *s, const char *path) {
    if (s->n_edit_from == CLI_EDITS_MAX) { /* the oldest is forgotten */
        mem_free(s->edit_from[0]);
        memmove(s->edit_from, s->edit_from + 1, --s->n_edit_from * sizeof *s->edit_from);
    }
    s->edit_from[s->n_edit_from++] = mem_strdup(s->edit_path);
    set_path(s, path);
}

bool session_back(struct cli_session *s) {
    if (s->n_edit_from > 0) {
        char *path = s->edit_from[--s->n_edit_from];
        set_path(s, path);
        mem_free(path);
        return true;
    }
    bool inside = strcmp(s->edit_path, "/") != 0;
    set_path(s, "/");
    return inside;
}

struct place session_place(struct run *r) {
    struct target t;
    struct err e;
    if (r->s->config == CONFIG_NONE || strcmp(r->s->edit_path, "/") == 0 ||
        path_parse(r->cli->model, r->s->edit_path, r->arena, &t, &e) != ERR_OK) {
        return (struct place){model_root(), "/", false};
    }
    return (struct place){t.node, t.path, t.entry};
}

/* ---- output ------------------------------------------------------------------------------------
 */

static void emit(void *arg, const char *p, size_t n) {
    struct run *r = arg;
    r->sink->write(r->sink->arg, p, n);
}

void run_text(struct run *r, const char *p, size_t n) {
    pipes_write(&r->pipes, p, n);
}

void run_printf(struct run *r, const char *fmt, ...) {
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    run_text(r, (const char *)b.data, b.len);
    buf_free(&b);
}

void run_note(struct run *r, const char *fmt, ...) {
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    r->sink->note(r->sink->arg, buf_cstr(&b));
    buf_free(&b);
}

void run_mode(struct run *r, const char *text) {
    if (r->s->interactive) {
        run_note(r, "%s", text);
    }
}

int run_status_of(enum err_code code) {
    switch (code) {
    case ERR_OK:
        return CLI_OK;
    case ERR_DENIED:
    case ERR_AUTH:
        return CLI_DENIED;
    default:
        return CLI_FAILED;
    }
}

/* A path of the model begins with a module's name; others are files'. */
static bool in_model(const char *path) {
    return path[0] == '/' && (path[1] == '\0' || path[1 + strcspn(path + 1, "/:=")] == ':');
}

/* "[edit apm]": where in the configuration. False: it is about no place there. */
static bool add_place(struct run *r, const struct err *e, struct buf *out) {
    if (!in_model(e->path) || r->s->config == CONFIG_NONE) {
        return false;
    }
    struct buf words = BUF_INIT;
    place_words(r->cli->model, e->path, &words);
    buf_printf(out, "[edit%s%s]", words.len > 0 ? " " : "", buf_cstr(&words));
    buf_free(&words);
    return true;
}

void run_fault(struct run *r, const struct err *e) {
    r->status = run_status_of(e->code);
    if (r->status == CLI_OK) {
        r->status = CLI_FAILED;
    }
    struct buf shown = BUF_INIT;
    if (add_place(r, e, &shown)) {
        buf_char(&shown, '\n');
    } else if (in_model(e->path)) {
        place_words(r->cli->model, e->path, &shown);
        buf_str(&shown, ": ");
    } else if (e->path[0] == '/') {
        buf_printf(&shown, "%s: ", e->path);
    }
    place_text(r->cli->model, e->text, &shown);
    r->sink->fault(r->sink->arg, e, buf_cstr(&shown), false, 0, 0);
    buf_free(&shown);
    r->reported = true;
}

void show_place(struct run *r, const struct err *e) {
    struct buf place = BUF_INIT;
    if (add_place(r, e, &place)) {
        run_note(r, "%s", buf_cstr(&place));
    }
    buf_free(&place);
}

void run_fail(struct run *r, enum err_code code, const char *fmt, ...) {
    struct err e;
    va_list ap;
    va_start(ap, fmt);
    err_setv(&e, code, NULL, fmt, ap);
    va_end(ap);
    run_fault(r, &e);
}

bool run_stopped(struct run *r) {
    return r->sink->stopped(r->sink->arg) || r->s->ended;
}

bool run_confirm(struct run *r, const char *question, bool standard) {
    enum { ATTEMPTS = 3 };
    if (!r->s->interactive) {
        return true;
    }
    struct cli_ask ask = {
        .kind = CLI_ASK_CONFIRM,
        .prompt = arena_printf(r->arena, "%s [yes,no] (%s) ", question, standard ? "yes" : "no")};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct buf answer = BUF_INIT;
        struct err e;
        enum err_code rc = r->sink->ask(r->sink->arg, &ask, &answer, &e);
        char *text = arena_strdup(r->arena, buf_cstr(&answer));
        buf_free(&answer);
        if (rc != ERR_OK || strcasecmp(text, "no") == 0 || strcasecmp(text, "n") == 0) {
            return false;
        }
        if (strcasecmp(text, "yes") == 0 || strcasecmp(text, "y") == 0) {
            return true;
        }
        if (text[0] == '\0') {
            return standard;
        }
    }
    return false;
}

bool run_ask_secret(struct run *r, const char *what, struct buf *out) {
    if (!r->s->interactive) {
        run_fail(r, ERR_MISSING, "the value of %s is missing", what);
        return false;
    }
    struct buf again = BUF_INIT;
    struct err e = {0};
    struct cli_ask first = {.kind = CLI_ASK_SECRET, .prompt = arena_printf(r->arena, "%s: ", what)},
                   second = {.kind = CLI_ASK_SECRET,
                             .prompt = arena_printf(r->arena, "%s, once more: ", what)};
    enum err_code rc = r->sink->ask(r->sink->arg, &first, out, &e);
    bool block = out->len > 0 && strncmp(buf_cstr(out), "-----BEGIN ", 11) == 0;
    if (rc == ERR_OK && !block) { /* PEM is pasted, not typed, and has an end of its own */
        rc = r->sink->ask(r->sink->arg, &second, &again, &e);
    }
    if (rc == ERR_OK && !block &&
        (out->len != again.len || (out->len > 0 && memcmp(out->data, again.data, out->len) != 0))) {
        rc = err_set(&e, ERR_INVALID, NULL, "the two are not the same");
    }
    mem_wipe(again.data, again.len);
    buf_free(&again);
    if (rc != ERR_OK) {
        run_fault(r, &e);
    }
    return rc == ERR_OK;
}

/* ---- the frame of a command ---------------------------------------------------------------------
 */

bool run_ready(struct run *r, const struct pipe_allow *allow) {
    static const struct pipe_allow nothing = {0};
    if (r->p->stopped || !parse_end(r->p)) {
        return false;
    }
    if (!pipes_parse(r->p, allow ? allow : &nothing, &r->pipes) || r->p->completing) {
        return false;
    }
    if (r->probing) {
        r->understood = true;
        return false;
    }
    if (r->s->json && allow != NULL && allow->display && !r->pipes.display && !r->pipes.compare) {
        r->pipes.display = true;
        r->pipes.format = FORMAT_JSON;
    }
    if (r->pipes.save != NULL) {
        r->sink->save(r->sink->arg, r->pipes.save);
    }
    r->sink->paging(r->sink->arg, !r->pipes.no_more && r->pipes.save == NULL);
    pipes_start(&r->pipes, emit, r);
    r->started = true;
    if (r->s->timestamps) {
        char text[TIME_TEXT_MAX];
        run_note(r, "%s", time_format(now_s(r->cli), 0, text));
    }
    return true;
}

static void remember(struct cli_session *s, const char *line, size_t n) {
    pthread_mutex_lock(&s->cli->lock);
    char **slot = &s->history[s->n_history++ % CLI_HISTORY_MAX];
    mem_free(*slot);
    *slot = mem_strndup(line, n);
    pthread_mutex_unlock(&s->cli->lock);
}

/* A view that leaves out what the user may not read. */
static struct doc *view_get(void *arg, const char *path) {
    struct run *r = arg;
    const struct object *o = snap_get(r->snap, path);
    return o != NULL && readable(r, path) ? doc_hold(o->doc) : NULL;
}

static struct doc *view_next(void *arg, const struct kind *k, const struct doc *after) {
    struct run *r = arg;
    struct object probe = {.doc = (struct doc *)(uintptr_t)after};
    const struct object *o = after != NULL ? snap_next(r->snap, &probe) : snap_first_of(r->snap, k);
    while (o != NULL && o->doc->kind == k && !readable(r, o->doc->path)) {
        o = snap_next(r->snap, o);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

bool readable(void *arg, const char *path) {
    struct run *r = arg;
    return r->s->who.superuser || rights_allow(r->rights, &r->s->who, RIGHT_READ, path);
}

/* Commits that were taken back since the last command, whoever made them: what runs is not what it
 * was. */
static void tell_of_taken_back(struct run *r) {
    struct commit_info list[ROLLBACKS];
    uint64_t seen = r->s->seen;
    r->s->seen = newest_commit(r->cli);
    size_t n = r->s->seen != seen ? core_history(r->cli->core, list, ROLLBACKS) : 0;
    for (; n > 0; n--) {
        const struct commit_info *ci = &list[n - 1];
        uint64_t gone = ci->index > seen ? commit_takes_back(ci) : 0;
        if (gone != 0) {
            run_note(r, "warning: commit %" PRIu64 " was taken back by commit %" PRIu64 ": %s",
                     gone, ci->index, ci->comment);
        }
    }
}

static void run_line(struct run *r) {
    r->rights = core_snapshot(r->cli->core);
    r->snap = r->s->config != CONFIG_NONE ? candidate_snapshot(r->s->candidate)
                                          : core_snapshot(r->cli->core);
    r->view = (struct model_view){view_get, view_next, r};
    r->p->view = &r->view;
    r->p->ctx = r;
    run_commands(r, r->s->config != CONFIG_NONE ? configuration_commands : operational_commands,
                 r->s->config == CONFIG_NONE);
}

/* One line, once. *refresh_s: it is to be run again after so long; 0: it is not. */
static int execute_once(struct cli_session *s, const char *line, size_t n,
                        const struct cli_sink *sink, bool again, unsigned *refresh_s) {
    struct arena *a = arena_new();
    struct line l;
    struct parse p;
    struct run r = {.s = s, .cli = s->cli, .p = &p, .sink = sink, .arena = a};
    struct err e;
    size_t where;
    *refresh_s = 0;
    if (s->ended) {
        err_set(&e, ERR_UNAVAILABLE, NULL, "the session was ended");
        sink->fault(sink->arg, &e, e.text, false, 0, 0);
        r.status = CLI_FAILED;
    } else if (line_split(a, line, n, false, &l, &where, &e) != ERR_OK) {
        sink->fault(sink->arg, &e, e.text, true, where, where + 1);
        r.status = CLI_SYNTAX;
    } else if (l.n == 0) { /* Enter alone: somebody looks */
        tell_of_taken_back(&r);
    } else {
        parse_init(&p, a, s->cli->model, &l, false);
        tell_of_taken_back(&r);
        run_line(&r);
        if (p.err.code != ERR_OK && !r.reported) {
            r.status = p.err.code == ERR_DENIED ? CLI_DENIED : CLI_SYNTAX;
            sink->fault(sink->arg, &p.err, p.err.text, true, p.err_start, p.err_end);
        }
        s->secret = s->secret || p.secret;
        if (!s->secret && !again) {
            remember(s, l.text, l.len);
        }
        if (r.started) {
            pipes_end(&r.pipes);
            if (r.status == CLI_OK && sink->stopped(sink->arg)) {
                r.status = CLI_INTERRUPTED;
            }
            *refresh_s = r.pipes.refresh_s;
        }
    }
    pipes_free(&r.pipes);
    snap_release(r.snap);
    snap_release(r.rights);
    arena_free(a);
    return r.status;
}

/* False: interrupted meanwhile. */
static bool pause_for(struct cli_session *s, const struct cli_sink *sink, unsigned seconds) {
    const struct clock *clock = core_clock(s->cli->core);
    int64_t end = clock_mono(clock) + seconds * NS_PER_S;
    while (clock_mono(clock) < end && !s->ended && !sink->stopped(sink->arg)) {
        run_pause(s);
    }
    return !s->ended && !sink->stopped(sink->arg);
}

int cli_execute(struct cli_session *s, const char *line, size_t n, const struct cli_sink *sink) {
    unsigned refresh_s;
    if (!cli_session_stands(s)) {
        struct err e;
        err_set(&e, ERR_AUTH, NULL, "%s may not log in any more", s->who.user);
        sink->fault(sink->arg, &e, e.text, false, 0, 0);
        cli_session_end(s);
        return CLI_DENIED;
    }
    pthread_mutex_lock(&s->lock);
    s->used_s = now_s(s->cli);
    /* A key is one also in a line that is not understood. */
    s->secret = memmem(line, n, "PRIVATE KEY-----", 16) != NULL;
    int status = execute_once(s, line, n, sink, false, &refresh_s);
    while (refresh_s > 0 && status == CLI_OK) {
        if (!pause_for(s, sink, refresh_s)) {
            status = CLI_INTERRUPTED;
            break;
        }
        char text[96], time[TIME_TEXT_MAX];
        snprintf(text, sizeof text, "---(%s)---\n", time_format(now_s(s->cli), 0, time));
        sink->write(sink->arg, text, strlen(text));
        status = execute_once(s, line, n, sink, true, &refresh_s);
    }
    s->used_s = now_s(s->cli);
    pthread_mutex_unlock(&s->lock);
    return status;
}

bool cli_is_leaders(struct cli_session *s, const char *line, size_t n) {
    struct arena *a = arena_new();
    struct line l;
    struct parse p;
    struct run r = {.s = s, .cli = s->cli, .p = &p, .arena = a, .probing = true};
    struct err e;
    size_t where;
    pthread_mutex_lock(&s->lock);
    if (!s->ended && line_split(a, line, n, false, &l, &where, &e) == ERR_OK && l.n > 0) {
        parse_init(&p, a, s->cli->model, &l, false);
        run_line(&r);
    }
    pipes_free(&r.pipes);
    snap_release(r.snap);
    snap_release(r.rights);
    pthread_mutex_unlock(&s->lock);
    arena_free(a);
    return r.understood && r.of_leader;
}

void cli_complete(struct cli_session *s, const char *line, size_t n, size_t cursor,
                  struct cli_completion *out) {
    memset(out, 0, sizeof *out);
    out->arena = arena_new();
    struct line l;
    size_t where;
    n = cursor < n ? cursor : n;
    if (line_split(out->arena, line, n, true, &l, &where, &out->err) != ERR_OK) {
        out->err_start = where;
        out->err_end = where + 1;
        return;
    }
    out->err.code = ERR_OK;
    if (l.n == 0) { /* a comment */
        return;
    }
    struct parse p;
    struct run r = {.s = s, .cli = s->cli, .p = &p, .arena = out->arena};
    pthread_mutex_lock(&s->lock);
    parse_init(&p, out->arena, s->cli->model, &l, true);
    run_line(&r);
    parse_sort(&p);
    out->items = p.suggestions;
    out->n = p.n_suggestions;
    out->more = p.more_suggestions;
    out->from = p.from;
    out->err = p.err;
    out->err_start = p.err_start;
    out->err_end = p.err_end;
    if (p.err.code == ERR_OK) {
        out->insert = parse_insertion(&p);
    }
    snap_release(r.snap);
    snap_release(r.rights);
    pthread_mutex_unlock(&s->lock);
}
