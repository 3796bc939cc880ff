// SPDX-License-Identifier: Apache-2.0
/* commit: check it, make it so, wait for the targets, take it back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/rights.h"
#include "north/cli/run.h"

struct commit_words {
    bool check, and_quit, applied, wait, confirmed, force;
    uint64_t confirm_s, wait_s;
    const char *comment;
};

/* How long to wait for a confirmation, or for the targets: minutes, or with a unit. Optional. */
static bool read_time(struct run *r, uint64_t *seconds) {
    static const struct option o = {.label = "time"};
    static const char what[] = "Minutes, or with a unit: 90s, 10m, 1h";
    if (parse_here(r->p)) { /* or one of the words that may follow */
        parse_suggest(r->p, SUGGEST_TYPE, "<time>", what);
        return true;
    }
    const char *w = parse_peek(r->p);
    if (w == NULL || w[0] < '0' || w[0] > '9') {
        return true;
    }
    size_t at = r->p->at;
    if (parse_pick(r->p, &o, 1) < 0) {
        return false;
    }
    char *end;
    uint64_t n = strtoull(r->p->value, &end, 10);
    uint64_t u = *end == '\0' || strcmp(end, "m") == 0 ? 60
                 : strcmp(end, "s") == 0               ? 1
                 : strcmp(end, "h") == 0               ? 3600
                                                       : 0;
    if (u == 0 || n < 1 || n > 86400 / u) {
        return parse_fail(r->p, at, ERR_INVALID,
                          "a time is expected here: minutes, or with a unit such as 90s, 10m or "
                          "1h; a day at most");
    }
    *seconds = n * u;
    return true;
}

enum commit_word { CHECK, COMMENT, CONFIRMED, WAIT, AND_QUIT, APPLIED, FORCE };

/* The words that may come after those that came. */
static size_t open_words(const struct commit_words *w, struct option *o) {
    static const struct option all[] = {
        {.word = "applied", .help = "Confirmed by every target applying it", .id = APPLIED},
        {.word = "and-quit", .help = "Leave configuration mode after it", .id = AND_QUIT},
        {.word = "check", .help = "Only check it", .id = CHECK},
        {.word = "comment", .help = "A line for the history", .id = COMMENT},
        {.word = "confirmed",
         .help = "Taken back unless confirmed in time (10 minutes)",
         .id = CONFIRMED},
        {.word = "force", .help = "Past the guard rails that may be passed", .id = FORCE},
        {.word = "wait", .help = "Until every target has applied it (1 minute)", .id = WAIT},
    };
    const bool open[] = {
        [APPLIED] = w->confirmed && !w->applied,
        [AND_QUIT] = !w->and_quit && !w->check,
        [CHECK] = !w->check && !w->confirmed && w->comment == NULL && !w->wait && !w->and_quit,
        [COMMENT] = w->comment == NULL && !w->check,
        [CONFIRMED] = !w->confirmed && !w->check,
        [FORCE] = !w->force,
        [WAIT] = !w->wait && !w->check,
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (open[all[i].id]) {
            o[n++] = all[i];
        }
    }
    return n;
}

static bool read_words(struct run *r, struct commit_words *w) {
    static const struct option text = {.label = "text", .help = "What it is for"};
    while (!parse_may_end(r->p)) {
        struct option o[FORCE + 1];
        int i = parse_pick(r->p, o, open_words(w, o));
        if (i < 0) {
            return false;
        }
        switch ((enum commit_word)o[i].id) {
        case CHECK:
            w->check = true;
            break;
        case AND_QUIT:
            w->and_quit = true;
            break;
        case APPLIED:
            w->applied = true;
            break;
        case FORCE:
            w->force = true;
            break;
        case COMMENT:
            if (parse_pick(r->p, &text, 1) < 0) {
                return false;
            }
            w->comment = r->p->value;
            break;
        case CONFIRMED:
            w->confirmed = true;
            w->confirm_s = 600;
            if (!read_time(r, &w->confirm_s)) {
                return false;
            }
            break;
        case WAIT:
            w->wait = true;
            w->wait_s = 60;
            if (!read_time(r, &w->wait_s)) {
                return false;
            }
            break;
        }
    }
    return true;
}

/* The place, and the reason under it. */
static void show_refusal(struct run *r, const struct err *e, const char *what) {
    run_fault(r, e);
    run_note(r, "%s", what);
}

static void show_targets(struct run *r, const struct change *ch) {
    for (size_t i = 0; i < ch->n_targets; i++) {
        run_printf(r, "  %s: %s\n", ch->targets[i].name, ch->targets[i].what);
    }
}

static void show_warnings(struct run *r, const struct change *ch) {
    if (ch->warnings.len > 0) {
        char *text = arena_strndup(r->arena, (const char *)ch->warnings.data, ch->warnings.len);
        for (char *save = NULL, *l = strtok_r(text, "\n", &save); l != NULL;
             l = strtok_r(NULL, "\n", &save)) {
            run_note(r, "warning: %s", l);
        }
    }
}

/* Fills a change with the candidate. False: shown why not. */
static bool fill(struct run *r, const struct commit_words *w, struct change *ch,
                 struct snap **sent) {
    struct err e;
    const char *nothing =
        w->check ? "configuration check failed" : "commit failed: nothing was changed";
    if (candidates_may_edit(r->cli->o.candidates, r->s->id, &e) != ERR_OK) {
        run_fault(r, &e);
        return false;
    }
    if (candidate_change(r->s->candidate, ch, sent, &e) != ERR_OK) {
        show_refusal(r, &e, nothing);
        if (e.code == ERR_CONFLICT) {
            run_note(r, "`update` puts your edits onto the newest configuration");
        }
        return false;
    }
    ch->force = w->force;
    ch->comment = w->comment ? mem_strdup(w->comment) : NULL;
    return true;
}

static void commit_check(struct run *r, const struct commit_words *w) {
    struct change *ch = change_new(&r->s->who);
    struct snap *sent = NULL;
    if (fill(r, w, ch, &sent)) {
        ch->mode = CHANGE_DRY_RUN;
        run_change(r, ch);
        show_warnings(r, ch);
        if (ch->err.code != ERR_OK) {
            show_refusal(r, &ch->err, "configuration check failed");
        } else {
            run_printf(r, "configuration check succeeds\n");
            if (ch->n_targets > 0) {
                run_printf(r, "it would be sent to:\n");
                show_targets(r, ch);
            }
        }
    }
    snap_release(sent);
    change_free(ch);
}

/* ---- waiting for targets: each is told of once it has decided ---- */

enum { APPLIED_SHOWN = 10 };

struct progress {
    uint64_t index;
    const char *told; /* the lines of the last look */
    size_t applied;   /* targets told of */
    char *text;       /* one line a target: "name: state: reason" */
    enum commit_phase phase;
};

static bool state_is(const char *line, const char *state) {
    const char *colon = strstr(line, ": ");
    return colon != NULL && strncmp(colon + 2, state, strlen(state)) == 0;
}

/* Is the line among those that were told? */
static bool was_told(const char *told, const char *line) {
    size_t n = strlen(line);
    for (const char *at = told; (at = strstr(at, line)) != NULL; at += n) {
        if ((at == told || at[-1] == '\n') && (at[n] == '\n' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static void tell_progress(struct run *r, struct progress *p) {
    char *lines = arena_strdup(r->arena, p->text);
    for (char *save = NULL, *l = strtok_r(lines, "\n", &save); l != NULL;
         l = strtok_r(NULL, "\n", &save)) {
        bool applied = state_is(l, "applied");
        if ((applied || state_is(l, "refused")) && !was_told(p->told, l) &&
            (!applied || p->applied++ < APPLIED_SHOWN)) {
            run_printf(r, "  %s\n", l);
        }
    }
    p->told = p->text;
}

/* Until it is decided or time is over. False: interrupted. */
static bool follow(struct run *r, const struct commit_words *w, struct progress *p) {
    uint64_t seconds = w->applied ? w->confirm_s + 5 : w->wait_s;
    for (; seconds > 0; seconds--) {
        if (!run_commit_wait(r, p->index, NS_PER_S, &p->phase, &p->text)) {
            return false;
        }
        tell_progress(r, p);
        bool refused = p->phase == COMMIT_REFUSED && w->applied;   /* it is being taken back */
        bool applied = p->phase == COMMIT_APPLIED && w->applied && /* and not confirmed yet */
                       core_confirm_pending(r->cli->core, NULL) == p->index;
        if (p->phase != COMMIT_PENDING && !refused && !applied) {
            break;
        }
    }
    return true;
}

/* May the edits of a commit that was taken back be had again by `rollback 1`? */
static bool one_before(const struct commit_info *list, size_t n, uint64_t index) {
    return n == 2 && list[1].index == index;
}

static void tell_end(struct run *r, const struct commit_words *w, const struct progress *p) {
    struct commit_info list[2];
    size_t n = core_history(r->cli->core, list, 2);
    switch (p->phase) {
    case COMMIT_APPLIED:
        if (p->applied > APPLIED_SHOWN) {
            run_printf(r, "  and %zu more\n", p->applied - APPLIED_SHOWN);
        }
        run_printf(r, "commit %" PRIu64 " %s: %s\n", p->index,
                   w->applied     ? "is confirmed"
                   : w->confirmed ? "stands for now"
                                  : "complete",
                   p->applied > 0 ? "applied by every target concerned" : "it concerns no target");
        break;
    case COMMIT_TAKEN_BACK:
        run_printf(r, "commit %" PRIu64 " was taken back; nothing of it is left%s\n", p->index,
                   one_before(list, n, p->index) ? " (rollback 1 loads the edits again)" : "");
        r->s->seen = n > 0 ? list[0].index : 0; /* told here and now */
        r->status = CLI_TAKEN_BACK;
        break;
    case COMMIT_REFUSED:
        run_printf(r, "commit %" PRIu64 " stands, but was refused as shown\n", p->index);
        r->status = CLI_TAKEN_BACK;
        break;
    case COMMIT_PENDING: {
        char *lines = arena_strdup(r->arena, p->text);
        for (char *save = NULL, *l = strtok_r(lines, "\n", &save); l != NULL;
             l = strtok_r(NULL, "\n", &save)) {
            if (!state_is(l, "applied") && !state_is(l, "refused")) {
                run_printf(r, "  %s\n", l);
            }
        }
        run_printf(r,
                   "commit %" PRIu64 " stands; not every target has applied it: see show commit "
                   "%" PRIu64 " status\n",
                   p->index, p->index);
        r->status = CLI_PENDING;
        break;
    }
    default:
        run_printf(r, "commit %" PRIu64 " is made; what became of it is unknown%s%s\n", p->index,
                   *p->text ? ": " : "", p->text);
        r->status = CLI_FAILED;
        break;
    }
}

static void wait_for_targets(struct run *r, const struct commit_words *w, uint64_t index) {
    struct progress p = {.index = index, .told = "", .text = "", .phase = COMMIT_PENDING};
    if (follow(r, w, &p)) {
        tell_end(r, w, &p);
    } else {
        run_note(r, "commit %" PRIu64 " is %s; see show commit %" PRIu64 " status", index,
                 w->applied ? "made for now, its targets decide" : "made", index);
    }
}

struct confirm_wait {
    struct wait *w; /* one reference for each side */
    struct err e;
};

static void confirm_done(void *arg, uint64_t index, const struct err *e) {
    (void)index;
    struct confirm_wait *d = arg;
    struct wait *w = d->w;
    if (e != NULL) {
        d->e = *e;
    }
    wait_done(w); /* `d` may be gone from here on */
    wait_release(w);
}

/* Nothing new, but a commit waits to be confirmed: that is what `commit` means then. */
static bool confirm_only(struct run *r) {
    int64_t deadline;
    uint64_t pending = core_confirm_pending(r->cli->core, &deadline);
    if (pending == 0) {
        return false;
    }
    struct confirm_wait d = {.w = wait_new()};
    wait_hold(d.w);
    core_confirm(r->cli->core, &r->s->who, NULL, confirm_done, &d);
    wait_for(r, d.w, false);
    wait_release(d.w);
    if (d.e.code != ERR_OK) {
        run_fault(r, &d.e);
    } else {
        run_printf(r, "commit %" PRIu64 " is confirmed\n", pending);
    }
    return true;
}

/* Edits of others in the shared candidate go along: is that meant? */
static bool others_agree(struct run *r, bool check) {
    struct buf who = BUF_INIT;
    if (r->s->config == CONFIG_SHARED) {
        candidate_editors(r->s->candidate, r->s->who.user, &who);
    }
    bool yes = true;
    if (who.len > 0) {
        run_note(r, "warning: edits of %s are in the candidate too", buf_cstr(&who));
        yes = check || run_confirm(r, "Commit them as well?", false);
    }
    buf_free(&who);
    return yes;
}

/* The candidate as a change, run. NULL: shown why not. */
static struct change *submit(struct run *r, const struct commit_words *w, bool force,
                             struct snap **sent) {
    struct change *ch = change_new(&r->s->who);
    if (!fill(r, w, ch, sent)) {
        change_free(ch);
        return NULL;
    }
    ch->force = force;
    if (w->confirmed) {
        ch->confirm = w->applied ? CONFIRM_BY_TARGETS : CONFIRM_BY_PERSON;
        ch->confirm_s = (uint32_t)w->confirm_s;
    }
    run_change(r, ch);
    show_warnings(r, ch);
    return ch;
}

/* What is true now that it is made. */
static void tell_made(struct run *r, const struct commit_words *w, const struct change *ch,
                      uint64_t waited) {
    const char *targets = text_plural(ch->n_targets, "target", "targets");
    if (waited != 0 && !w->confirmed && core_confirm_pending(r->cli->core, NULL) != waited) {
        run_printf(r, "commit %" PRIu64 " is confirmed with it\n", waited);
    }
    if (ch->unchanged) {
        run_printf(r, "nothing to commit\n");
    } else if (w->applied) {
        run_printf(r,
                   "commit %" PRIu64 " is made for now and being sent to %zu %s\n"
                   "it is taken back unless every target applies it within %" PRIu64 " s\n",
                   ch->index, ch->n_targets, targets, w->confirm_s);
    } else if (ch->n_targets > 0) { /* complete is what its targets have applied */
        run_printf(r, "commit %" PRIu64 " is made%s and being sent to %zu %s", ch->index,
                   w->confirmed ? " for now" : "", ch->n_targets, targets);
        if (!w->wait) {
            run_printf(r, "; see show commit %" PRIu64 " status", ch->index);
        }
        run_printf(r, "\n");
    } else if (w->confirmed || !w->wait) {
        run_printf(r, "commit %" PRIu64 " %s\n", ch->index,
                   w->confirmed ? "is made for now" : "complete");
    }
    if (!ch->unchanged && w->confirmed && !w->applied) {
        run_printf(r, "it will be taken back in %" PRIu64 " s unless you give: commit\n",
                   w->confirm_s);
    }
}

static void commit(struct run *r, const struct commit_words *w) {
    if (!w->confirmed && !candidate_changed(r->s->candidate) && confirm_only(r)) {
        return;
    }
    if (!others_agree(r, false)) {
        run_note(r, "commit failed: nothing was changed");
        r->status = CLI_FAILED;
        return;
    }
    struct snap *sent = NULL;
    uint64_t waited = core_confirm_pending(r->cli->core, NULL);
    struct change *ch = submit(r, w, w->force, &sent);
    if (ch != NULL && ch->err.code != ERR_OK && ch->err.rail && r->s->interactive) {
        show_place(r, &ch->err);
        struct buf why = BUF_INIT;
        place_text(r->cli->model, ch->err.text, &why);
        run_note(r, "warning: %s", buf_cstr(&why));
        buf_free(&why);
        if (!run_confirm(r, "Commit all the same?", false)) {
            run_note(r, "commit failed: nothing was changed");
            r->status = CLI_FAILED;
            snap_release(sent);
            change_free(ch);
            return;
        }
        snap_release(sent);
        change_free(ch);
        ch = submit(r, w, true, &sent);
    }
    if (ch == NULL) {
        return;
    }
    if (ch->err.code != ERR_OK) {
        snap_release(sent);
        show_refusal(r, &ch->err, "commit failed: nothing was changed");
        if (ch->err.code == ERR_CONFLICT) {
            run_note(r, "`update` puts your edits onto the newest configuration");
        }
        change_free(ch);
        return;
    }
    candidate_committed(r->s->candidate, sent);
    tell_made(r, w, ch, waited);
    if (!ch->unchanged && (w->wait || w->applied)) {
        wait_for_targets(r, w, ch->index);
    }
    change_free(ch);
}

void cmd_commit(struct run *r) {
    struct commit_words w = {0};
    if (!read_words(r, &w) || !run_ready(r, NULL)) {
        return;
    }
    if (w.check) {
        others_agree(r, true);
        commit_check(r, &w);
        return;
    }
    commit(r, &w);
    if (w.and_quit && r->status == CLI_OK) {
        leave_configuration(r);
        run_mode(r, "Exiting configuration mode");
    }
}
