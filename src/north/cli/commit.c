// SPDX-License-Identifier: Apache-2.0
/* commit: check it, make it so, wait for the targets, take it back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/rights.h"
#include "north/cli/run.h"

struct commit_words {
    bool check, and_quit, applied, wait, confirmed, force;
    uint64_t confirm_s, wait_s;
    const char *comment;
};

/* "10" minutes, or with a unit: 90s, 10m, 1h. */
static bool pick_time(struct run *r, const char *label, const char *help, uint64_t unit,
                      uint64_t *seconds) {
    struct option o = {.label = label, .help = help};
    size_t at = r->p->at;
    if (parse_pick(r->p, &o, 1) < 0) {
        return false;
    }
    char *end;
    uint64_t n = strtoull(r->p->value, &end, 10);
    uint64_t u = *end == '\0'            ? unit
                 : strcmp(end, "s") == 0 ? 1
                 : strcmp(end, "m") == 0 ? 60
                 : strcmp(end, "h") == 0 ? 3600
                                         : 0;
    if (r->p->value[0] < '0' || r->p->value[0] > '9' || u == 0 || n < 1 || n > 86400 / u) {
        return parse_fail(r->p, at, ERR_INVALID,
                          "a time is expected here, such as 10, 90s, 10m or 1h; a day at most");
    }
    *seconds = n * u;
    return true;
}

/* Is the word at hand a time (it is optional, and other words may follow)? */
static bool time_is_next(const struct run *r) {
    const char *w = parse_peek(r->p);
    return w != NULL && !parse_here(r->p) && w[0] >= '0' && w[0] <= '9';
}

static bool read_words(struct run *r, struct commit_words *w) {
    enum { CHECK, COMMENT, CONFIRMED, WAIT, AND_QUIT, APPLIED, FORCE };
    while (!parse_may_end(r->p)) {
        struct option o[8];
        size_t n = 0;
        if (w->confirmed && !w->applied) {
            o[n++] = (struct option){
                .word = "applied", .help = "Confirmed by every target applying it", .id = APPLIED};
        }
        if (!w->and_quit && !w->check) {
            o[n++] = (struct option){
                .word = "and-quit", .help = "Leave configuration mode after it", .id = AND_QUIT};
        }
        if (!w->check && !w->confirmed && w->comment == NULL && !w->wait && !w->and_quit) {
            o[n++] = (struct option){.word = "check", .help = "Only check it", .id = CHECK};
        }
        if (w->comment == NULL && !w->check) {
            o[n++] =
                (struct option){.word = "comment", .help = "A line for the history", .id = COMMENT};
        }
        if (!w->confirmed && !w->check) {
            o[n++] = (struct option){.word = "confirmed",
                                     .help = "Taken back unless confirmed in time (10 minutes)",
                                     .id = CONFIRMED};
        }
        if (!w->force) {
            o[n++] = (struct option){
                .word = "force", .help = "Past the guard rails that may be passed", .id = FORCE};
        }
        if (!w->wait && !w->check) {
            o[n++] = (struct option){.word = "wait",
                                     .help = "Until every target has applied it (60 seconds)",
                                     .id = WAIT};
        }
        if (parse_here(r->p) && w->confirmed && !w->applied && w->confirm_s == 600) {
            parse_suggest(r->p, SUGGEST_TYPE, "<time>", "Minutes, or 90s, 10m, 1h");
        }
        int i = parse_pick(r->p, o, n);
        if (i < 0) {
            return false;
        }
        static const struct option text = {.label = "text", .help = "What it is for"};
        switch (o[i].id) {
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
            if (time_is_next(r) && !pick_time(r, "minutes", "", 60, &w->confirm_s)) {
                return false;
            }
            break;
        default:
            w->wait = true;
            w->wait_s = 60;
            if (time_is_next(r) && !pick_time(r, "seconds", "", 1, &w->wait_s)) {
                return false;
            }
            break;
        }
    }
    return true;
}

/* "[edit apm inet-pool partition a]" and the reason under it. */
static void show_refusal(struct run *r, const struct err *e, const char *what) {
    if (e->path[0] == '/') {
        struct buf words = BUF_INIT;
        place_words(r->cli->model, e->path, &words);
        run_note(r, "[edit %s]", buf_cstr(&words));
        buf_free(&words);
    }
    struct err shown = *e;
    err_set(&shown, e->code, e->path, "%s", e->text);
    run_fault(r, &shown);
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
            run_note(r, "%s%s", strncmp(l, "warning", 7) == 0 ? "" : "warning: ", l);
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

static void wait_for_targets(struct run *r, const struct commit_words *w, uint64_t index) {
    enum commit_phase phase = COMMIT_PENDING;
    char *text = NULL;
    uint64_t seconds = w->wait ? w->wait_s : w->confirm_s + 5;
    if (!run_commit_wait(r, index, (int64_t)seconds * NS_PER_S, &phase, &text)) {
        run_note(r, "commit %" PRIu64 " is made; see show commit %" PRIu64 " status", index, index);
        return;
    }
    run_printf(r, "commit %" PRIu64 ": %s\n", index, commit_phase_text(phase));
    for (char *save = NULL, *l = strtok_r(text, "\n", &save); l != NULL;
         l = strtok_r(NULL, "\n", &save)) {
        run_printf(r, "  %s\n", l);
    }
    if (phase == COMMIT_REFUSED || phase == COMMIT_TAKEN_BACK) {
        r->status = CLI_TAKEN_BACK;
    } else if (phase == COMMIT_PENDING) {
        r->status = CLI_FAILED;
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

static void commit(struct run *r, const struct commit_words *w) {
    if (!w->confirmed && !candidate_changed(r->s->candidate) && confirm_only(r)) {
        return;
    }
    struct change *ch = change_new(&r->s->who);
    struct snap *sent = NULL;
    if (!fill(r, w, ch, &sent)) {
        change_free(ch);
        return;
    }
    if (w->confirmed) {
        ch->confirm = w->applied ? CONFIRM_BY_TARGETS : CONFIRM_BY_PERSON;
        ch->confirm_s = (uint32_t)w->confirm_s;
    }
    run_change(r, ch);
    show_warnings(r, ch);
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
    if (ch->unchanged) {
        run_printf(r, "nothing to commit\n");
    } else {
        run_printf(r, "commit %" PRIu64 " complete\n", ch->index);
        if (ch->n_targets > 0 && !w->wait && !w->applied) {
            run_printf(r, "being sent to %zu target%s; see show commit %" PRIu64 " status\n",
                       ch->n_targets, ch->n_targets == 1 ? "" : "s", ch->index);
        }
        if (w->confirmed && !w->applied) {
            run_printf(r, "it will be taken back in %" PRIu64 " s unless you give: commit\n",
                       w->confirm_s);
        }
        if (w->wait || w->applied) {
            wait_for_targets(r, w, ch->index);
        }
    }
    change_free(ch);
}

void cmd_commit(struct run *r) {
    struct commit_words w = {0};
    if (!read_words(r, &w) || !run_ready(r, NULL)) {
        return;
    }
    if (w.check) {
        commit_check(r, &w);
        return;
    }
    commit(r, &w);
    if (w.and_quit && r->status == CLI_OK) {
        leave_configuration(r);
        run_note(r, "Exiting configuration mode");
    }
}
