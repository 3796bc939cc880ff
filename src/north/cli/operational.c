// SPDX-License-Identifier: Apache-2.0
/* Built-in commands of operational mode: this session, history, what core itself knows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rights.h"
#include "core/system.h"
#include "north/cli/run.h"

static bool number_option(struct run *r, const struct option *o, uint64_t min, uint64_t max,
                          uint64_t *out) {
    size_t at = r->p->at;
    if (parse_pick(r->p, o, 1) < 0) {
        return false;
    }
    char *end;
    *out = strtoull(r->p->value, &end, 10);
    if (r->p->value[0] < '0' || r->p->value[0] > '9' || *end != '\0' || *out < min || *out > max) {
        return parse_fail(r->p, at, ERR_INVALID,
                          "a number from %" PRIu64 " to %" PRIu64 " is expected here", min, max);
    }
    return true;
}

static bool pick_number(struct run *r, const char *label, const char *help, uint64_t min,
                        uint64_t max, uint64_t *out) {
    struct option o = {.label = label, .help = help};
    return number_option(r, &o, min, max, out);
}

/* ---- configuration seen from operational mode
 * ------------------------------------------------------ */

static void cmd_show_configuration(struct run *r) {
    static const struct pipe_allow allow = {.display = true, .compare = true, .refresh = true};
    struct place top = {model_root(), "/", false};
    struct statement st;
    if (!statement_parse(r->p, STATEMENT_SHOW, &top, NULL, 0, &st) || !run_ready(r, &allow)) {
        return;
    }
    print_config(r, st.at.path);
}

/* Who else is at it, and what somebody left in the shared candidate. */
static void tell_of_others(struct run *r) {
    struct cli_session *s = r->s;
    struct buf list = BUF_INIT, who = BUF_INIT;
    list_editors(r, s, &list);
    char *lines = arena_strdup(r->arena, buf_cstr(&list));
    for (char *save = NULL, *l = strtok_r(lines, "\n", &save); l != NULL;
         l = strtok_r(NULL, "\n", &save)) {
        run_note(r, "Also editing: %s", l);
    }
    struct candidate *shared = candidate_shared(r->cli->o.candidates);
    candidate_editors(shared, NULL, &who);
    candidate_release(shared);
    if (who.len > 0) {
        run_note(r, "warning: the %s has edits of %s that are not committed%s",
                 s->config == CONFIG_SHARED ? "candidate" : "shared candidate", buf_cstr(&who),
                 s->config == CONFIG_SHARED ? ": see show | compare" : "");
    }
    buf_free(&who);
    buf_free(&list);
}

/* show system rollback N: the configuration as it was then. */
static void cmd_show_rollback(struct run *r) {
    static const struct pipe_allow allow = {.display = true};
    struct option o = {
        .label = "number", .help = "Which one; 0 is the newest", .values = suggest_rollbacks};
    uint64_t n;
    struct commit_info list[ROLLBACKS];
    struct snap *then;
    struct err e;
    if (!number_option(r, &o, 0, ROLLBACKS - 1, &n) || !run_ready(r, &allow)) {
        return;
    }
    size_t have = core_history(r->cli->core, list, ROLLBACKS);
    if (n >= have) {
        run_fail(r, ERR_ABSENT, "there is no rollback %" PRIu64 "; the oldest kept is %zu", n,
                 have > 0 ? have - 1 : 0);
    } else if (core_snapshot_at(r->cli->core, list[n].index, &then, &e) != ERR_OK) {
        run_fault(r, &e);
    } else {
        snap_release(r->snap);
        r->snap = then; /* what the view shows */
        print_config(r, "/");
    }
}

static void cmd_configure(struct run *r) {
    r->of_leader = true;
    static const struct option kinds[] = {
        {.word = "exclusive",
         .help = "Nobody else may edit meanwhile; edits not committed are dropped at the end"},
        {.word = "private", .help = "Edit a copy of your own"},
        {.word = "terminal", .hidden = true}, /* fingers type `conf t` */
    };
    int kind = -1;
    if (!parse_may_end(r->p) && (kind = parse_pick(r->p, kinds, 3)) < 0) {
        return;
    }
    kind = kind == 2 ? -1 : kind;
    if (!run_ready(r, NULL)) {
        return;
    }
    struct cli_session *s = r->s;
    struct candidates *all = r->cli->o.candidates;
    struct err e;
    if (kind == 0) {
        char who[192];
        snprintf(who, sizeof who, "%s (%s, session %" PRIu64 ")", s->who.user, s->who.source,
                 s->id);
        if (candidates_lock(all, s->id, who, &e) != ERR_OK) {
            run_fault(r, &e);
            return;
        }
    }
    s->candidate = kind == 1 ? candidate_private(all) : candidate_shared(all);
    s->config = kind == 0 ? CONFIG_EXCLUSIVE : kind == 1 ? CONFIG_PRIVATE : CONFIG_SHARED;
    session_set_place(s, "/");
    session_configuring(s->id, true);
    run_mode(r, "Entering configuration mode");
    if (candidates_may_edit(all, s->id, &e) != ERR_OK) {
        run_note(r, "warning: %s", e.text);
    }
    if (core_maintenance_refusal(r->cli->core, &e) != ERR_OK) {
        run_note(r, "warning: %s", e.text);
    }
    tell_of_others(r);
    int64_t deadline;
    uint64_t pending = core_confirm_pending(r->cli->core, &deadline);
    if (pending != 0) {
        char text[TIME_TEXT_MAX];
        run_note(r, "warning: commit %" PRIu64 " will be taken back at %s unless it is confirmed",
                 pending, time_format(deadline, 0, text));
    }
}

static void cmd_quit(struct run *r) {
    if (run_ready(r, NULL)) {
        r->s->ended = true;
    }
}

/* ---- sessions
 * -------------------------------------------------------------------------------------- */

static void suggest_sessions(struct parse *p, const struct option *o) {
    struct run *r = p->ctx;
    (void)o;
    pthread_mutex_lock(&r->cli->lock);
    LIST_FOREACH (pos, &r->cli->sessions) {
        const struct cli_session *s = CONTAINER_OF(pos, struct cli_session, link);
        parse_suggest(p, SUGGEST_VALUE, arena_printf(p->arena, "%" PRIu64, s->id),
                      arena_printf(p->arena, "%s, %s", s->who.user, s->who.source));
    }
    pthread_mutex_unlock(&r->cli->lock);
}

static void cmd_logout(struct run *r) {
    struct option o = {
        .label = "number", .help = "Number of the session", .values = suggest_sessions};
    struct err e;
    if (parse_pick(r->p, &o, 1) < 0 || !run_ready(r, NULL)) {
        return;
    }
    uint64_t id = strtoull(r->p->value, NULL, 10);
    if (rights_check(r->rights, &r->s->who, RIGHT_EXEC, "/weft-system:system", &e) != ERR_OK) {
        run_fault(r, &e);
    } else if (!run_confirm(r, "End that session? Its private edits are lost.", false)) {
        run_note(r, "nothing was done");
    } else if (!cli_end_session(r->cli, id)) {
        run_fail(r, ERR_ABSENT, "there is no session %" PRIu64, id);
    } else {
        run_printf(r, "session %" PRIu64 " ends\n", id);
    }
}

static void cmd_show_storage(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct core_stats st;
    core_stats(r->cli->core, &st);
    run_printf(r,
               "Log head        : %" PRIu64 "\n"
               "Objects         : %" PRIu64 "\n"
               "Commits         : %" PRIu64 "\n"
               "Refused changes : %" PRIu64 "\n"
               "Batches written : %" PRIu64 " (for %" PRIu64 " pieces of work)\n"
               "Config records  : %" PRIu64 "\n"
               "State records   : %" PRIu64 "\n"
               "Queue now, peak : %" PRIu64 ", %" PRIu64 "\n"
               "Failed appends  : %" PRIu64 "\n"
               "Outages         : %" PRIu64 " (opened again %" PRIu64 " times)\n",
               st.head, st.objects, st.commits, st.refused, st.batches, st.works, st.config_ops,
               st.state_ops, st.queue_depth, st.queue_peak, st.append_errors, st.store_outages,
               st.store_reopens);
    if (st.writable) {
        run_printf(r, "Writable        : yes\n");
    } else {
        char since[TIME_TEXT_MAX];
        run_printf(r, "Writable        : not since %s: %s\n",
                   time_format(st.unwritable_since_s, 0, since), st.unwritable_why);
    }
}

/* ---- this session
 * ---------------------------------------------------------------------------------- */

static void cmd_show_cli(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    const struct cli_session *s = r->s;
    run_printf(r, "Session        : %" PRIu64 "\nUser           : %s\nFrom           : %s\n", s->id,
               s->who.user, s->who.source);
    run_printf(r, "Screen length  : %u%s\nScreen width   : %u\nTimestamps     : %s\n", s->rows,
               s->rows == 0 ? " (no paging)" : "", s->columns, s->timestamps ? "on" : "off");
    run_printf(r, "Blank completes: %s\n", s->plain_space ? "off" : "on");
    unsigned idle = cli_session_idle_timeout(r->s);
    if (idle == 0) {
        run_printf(r, "Idle time-out  : never\n");
    } else {
        run_printf(r, "Idle time-out  : %u s\n", idle);
    }
}

static void cmd_show_history(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct cli_session *s = r->s;
    uint64_t first = s->n_history > CLI_HISTORY_MAX ? s->n_history - CLI_HISTORY_MAX : 0;
    for (uint64_t i = first; i < s->n_history; i++) {
        run_printf(r, "%5" PRIu64 "  %s\n", i + 1, s->history[i % CLI_HISTORY_MAX]);
    }
}

static void cmd_screen_length(struct run *r) {
    uint64_t n;
    if (pick_number(r, "lines", "0 turns paging off", 0, 10000, &n) && run_ready(r, NULL)) {
        r->s->rows = (unsigned)n;
    }
}

static void cmd_screen_width(struct run *r) {
    uint64_t n;
    if (pick_number(r, "columns", "How wide the screen is", 20, 10000, &n) && run_ready(r, NULL)) {
        r->s->columns = (unsigned)n;
    }
}

static void cmd_timestamps(struct run *r) {
    static const struct option o[] = {{.word = "off", .help = "No line with the time"},
                                      {.word = "on", .help = "The time before each answer"}};
    int i = parse_pick(r->p, o, 2);
    if (i >= 0 && run_ready(r, NULL)) {
        r->s->timestamps = i == 1;
    }
}

static void cmd_complete_on_space(struct run *r) {
    static const struct option o[] = {{.word = "off", .help = "A blank is a blank"},
                                      {.word = "on", .help = "A blank writes out the word"}};
    int i = parse_pick(r->p, o, 2);
    if (i >= 0 && run_ready(r, NULL)) {
        r->s->plain_space = i == 0;
    }
}

static void cmd_idle_timeout(struct run *r) {
    uint64_t n;
    if (pick_number(r, "minutes", "0: never", 0, 1440, &n) && run_ready(r, NULL)) {
        r->s->idle_timeout = (int)(n * 60);
    }
}

/* ---- help
 * -------------------------------------------------------------------------------------------- */

void cmd_help(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    static const char text[] =
        "Press ? at any place for what may be typed there, Tab to complete a word.\n"
        "Words may be abbreviated as long as they stay unambiguous; a blank writes them out.\n"
        "\n"
        "  show ...        look at something: show apm entity, show configuration\n"
        "  request ...     make the system do something\n"
        "  monitor events  watch what happens              monitor job     ... and one job\n"
        "  monitor onboard ... and devices that come up\n"
        "  explain ...     ask why something is as it is\n"
        "  configure       change the configuration; there:\n"
        "    set ...         add or change a statement       delete ...      take one away\n"
        "    show | compare  see what would change           commit check    have it checked\n"
        "    commit          make it so                      rollback 1      go back to what was\n"
        "    run show ...    look at what runs               exit            leave\n"
        "  help apropos W  find commands and statements about a word\n"
        "  help statement  what a configuration statement means\n"
        "  quit            leave\n"
        "\n"
        "After | come filters: match, except, find, count, last, trim, save, no-more, refresh,\n"
        "and display json|xml|set|text for data and configuration.\n";
    run_text(r, text, sizeof text - 1);
}

static void describe(struct run *r, const struct node *n) {
    struct buf b = BUF_INIT;
    node_path(n, &b);
    run_printf(r, "%s\n  %s\n", buf_cstr(&b), n->description);
    buf_clear(&b);
    if (n->type == NODE_LEAF || n->type == NODE_LEAF_LIST) {
        node_type_text(n, &b);
        run_printf(r, "  Value: %s\n", buf_cstr(&b));
    }
    if (n->units != NULL) {
        run_printf(r, "  Units: %s\n", n->units);
    }
    if (n->default_value != NULL) {
        run_printf(r, "  Default: %s\n", n->default_value);
    }
    if (n->mandatory) {
        run_printf(r, "  Must be given.\n");
    }
    if (n->ref_kind != NULL) {
        run_printf(r, "  Names a %s.\n", n->ref_kind->short_name);
    }
    if (n->reference != NULL) {
        run_printf(r, "  Reference: %s\n", n->reference);
    }
    for (size_t i = 0; i < n->n_enums; i++) {
        run_printf(r, "    %-20s %s\n", n->enums[i].name,
                   n->enums[i].description ? n->enums[i].description : "");
    }
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->config) {
            run_printf(r, "    %-20s %s\n", c->name, c->description);
        }
    }
    buf_free(&b);
}

/* A statement without key values and leaf values: only its words. */
void cmd_help_statement(struct run *r) {
    const struct node *at = model_root();
    while (!parse_may_end(r->p)) {
        struct option *o = arena_alloc(r->arena, (at->n_children + 1) * sizeof *o);
        size_t n = 0;
        for (size_t i = 0; i < at->n_children; i++) {
            if (at->children[i]->config) {
                o[n++] = (struct option){.word = at->children[i]->name,
                                         .help = at->children[i]->description,
                                         .ptr = at->children[i]};
            }
        }
        int i = parse_pick(r->p, o, n);
        if (i < 0) {
            return;
        }
        at = o[i].ptr;
    }
    if (run_ready(r, NULL)) {
        describe(r, at);
    }
}

static bool mentions(const char *text, const char *word) {
    return text != NULL && strcasestr(text, word) != NULL;
}

void cmd_help_apropos(struct run *r) {
    struct option o = {.label = "word", .help = "What to look for"};
    if (parse_pick(r->p, &o, 1) < 0) {
        return;
    }
    const char *word = r->p->value;
    if (!run_ready(r, NULL)) {
        return;
    }
    size_t n, hits = 0;
    const struct command *const *c = model_commands(&n);
    for (size_t i = 0; i < n; i++) {
        struct buf b = BUF_INIT;
        for (size_t k = 0; k < c[i]->n_words; k++) {
            buf_printf(&b, "%s%s", k > 0 ? " " : "", c[i]->words[k]);
        }
        if (mentions(buf_cstr(&b), word) || mentions(c[i]->rpc->description, word)) {
            run_printf(r, "%s%s\n    %s\n", r->s->config != CONFIG_NONE ? "run " : "", buf_cstr(&b),
                       c[i]->rpc->description);
            hits++;
        }
        buf_free(&b);
    }
    const struct node *const *nodes = model_nodes(&n);
    for (size_t i = 0; i < n; i++) {
        const struct node *d = nodes[i];
        bool data = d->config && (d->type == NODE_CONTAINER || d->type == NODE_LIST ||
                                  d->type == NODE_LEAF || d->type == NODE_LEAF_LIST);
        const struct node *top = d;
        while (data && top->parent != NULL && top->parent->type != NODE_ROOT) {
            top = top->parent;
        }
        if (!data || top->type == NODE_RPC || top->type == NODE_NOTIFICATION ||
            !(mentions(d->name, word) || mentions(d->description, word))) {
            continue;
        }
        struct buf b = BUF_INIT, words = BUF_INIT;
        node_path(d, &b);
        place_words(r->cli->model, buf_cstr(&b), &words);
        run_printf(r, "set %s\n    %s\n", buf_cstr(&words), d->description);
        hits++;
        buf_free(&b);
        buf_free(&words);
    }
    if (hits == 0) {
        run_fail(r, ERR_ABSENT, "nothing is about \"%s\"", word);
    }
}

const struct command_word operational_commands[] = {
    {"show configuration", "[STATEMENT]", "Shows the configuration.", cmd_show_configuration,
     false},
    {"show cli", NULL, "Shows the settings of this session.", cmd_show_cli, false},
    {"show cli history", NULL, "Shows the commands given in this session.", cmd_show_history,
     false},
    {"show system rollback", "NUMBER", "Shows the configuration as it was after an earlier commit.",
     cmd_show_rollback, false},
    {"show system storage", NULL, "Shows how much the store holds and does.", cmd_show_storage,
     false},
    {"monitor events", NULL, "Shows events as they happen, until interrupted.", cmd_monitor_events,
     false},
    {"monitor log", NULL, "Shows lines of the log as they come, until interrupted.",
     cmd_monitor_log, false},
    {"monitor job", "id NUMBER", "Shows how a job goes on, until it has ended.", cmd_monitor_job,
     false},
    {"monitor onboard", NULL, "Shows devices as they come up, until all are complete.",
     cmd_monitor_onboard, false},
    {"request system logout", "SESSION", "Ends a session.", cmd_logout, false},
    {"configure", "[private | exclusive]", "Changes the configuration.", cmd_configure, false},
    {"edit", NULL, "Changes the configuration.", cmd_configure, true},
    {"set cli screen-length", "LINES", "Says how many lines the screen has; 0 turns paging off.",
     cmd_screen_length, false},
    {"set cli screen-width", "COLUMNS", "Says how wide the screen is.", cmd_screen_width, false},
    {"set cli timestamp", "on | off", "Puts the time before each answer.", cmd_timestamps, false},
    {"set cli complete-on-space", "on | off", "Has a blank write out an abbreviated word.",
     cmd_complete_on_space, false},
    {"set cli idle-timeout", "MINUTES",
     "Says after how many minutes an idle session ends; 0: never.", cmd_idle_timeout, false},
    {"help", NULL, "Gives help.", cmd_help, false},
    {"help apropos", "WORD", "Finds commands and statements about a word.", cmd_help_apropos,
     false},
    {"help statement", "STATEMENT", "Says what a configuration statement means.",
     cmd_help_statement, false},
    {"quit", NULL, "Leaves.", cmd_quit, false},
    {"exit", NULL, "Leaves.", cmd_quit, false},
    {0},
};
