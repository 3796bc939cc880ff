// SPDX-License-Identifier: Apache-2.0
/* Commands of configuration mode, but for commit and load. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "core/rights.h"
#include "north/cli/run.h"

/* Has nobody else locked the configuration? Rights are the candidate's to ask for. */
static bool may_edit(struct run *r) {
    struct err e;
    if (candidates_may_edit(r->cli->o.candidates, r->s->id, &e) != ERR_OK) {
        run_fault(r, &e);
        return false;
    }
    return true;
}

static void apply(struct run *r, const struct model_edit *edits, size_t n) {
    struct err e;
    if (!may_edit(r)) {
        return;
    }
    if (candidate_edit(r->s->candidate, &r->s->who, edits, n, NULL, &e) != ERR_OK) {
        run_fault(r, &e);
    }
}

/* ---- set, delete --------------------------------------------------------------------------------
 */

static struct model_edit *statement_edits(struct arena *a, const struct statement *st) {
    struct model_edit *edits = arena_alloc(a, (st->n_values + 1) * sizeof *edits);
    for (size_t i = 0; i < st->n_values; i++) {
        const struct statement_value *v = &st->values[i];
        edits[i] = (struct model_edit){.op = EDIT_MERGE,
                                       .target = v->at.path,
                                       .body = v->value ? v->value : "",
                                       .len = v->value ? strlen(v->value) : 0,
                                       .format = FORMAT_VALUE};
    }
    return edits;
}

static void cmd_set(struct run *r) {
    struct place at = session_place(r);
    struct statement st;
    if (!statement_parse(r->p, STATEMENT_SET, &at, NULL, 0, &st) || !run_ready(r, NULL)) {
        return;
    }
    struct buf secret = BUF_INIT;
    if (st.ask_secret) {
        if (!run_ask_secret(r, st.at.node->name, &secret)) {
            mem_wipe(secret.data, secret.len);
            buf_free(&secret);
            return;
        }
        struct statement_value *more = arena_alloc(r->arena, (st.n_values + 1) * sizeof *more);
        if (st.n_values > 0) {
            memcpy(more, st.values, st.n_values * sizeof *more);
        }
        more[st.n_values++] = (struct statement_value){st.at, buf_cstr(&secret)};
        st.values = more;
    }
    apply(r, statement_edits(r->arena, &st), st.n_values);
    mem_wipe(secret.data, secret.len);
    buf_free(&secret);
}

/* Objects at or below a place, up to `max`. */
static size_t objects_below(struct run *r, const char *path, size_t max) {
    size_t n;
    const struct kind *const *kinds = model_kinds(&n);
    size_t found = 0;
    for (size_t i = 0; i < n && found < max; i++) {
        const struct object *o = snap_first_of(r->snap, kinds[i]);
        for (; o != NULL && o->doc->kind == kinds[i] && found < max; o = snap_next(r->snap, o)) {
            found += o->owner == NULL && path_below(o->doc->path, path);
        }
    }
    return found;
}

/* More than one object goes: is that meant? */
static bool confirm_delete(struct run *r, const struct place *at, bool whole_level) {
    enum { COUNTED = 100000 };
    size_t n = at->entry ? 1 : objects_below(r, at->path, COUNTED);
    if (n < 2 && !whole_level) {
        return true;
    }
    struct buf words = BUF_INIT;
    place_words(r->cli->model, at->path, &words);
    char *question = arena_printf(r->arena,
                                  whole_level ? "Delete everything under this level (%zu %s)?"
                                              : "Delete %zu %s under %s?",
                                  n, text_plural(n, "object", "objects"), buf_cstr(&words));
    buf_free(&words);
    return run_confirm(r, question, false);
}

/* `delete all`, in full: no statement is called so (see the test), and names of entries come later.
 */
static bool pick_all(struct parse *p) {
    static const char all[] = "all";
    if (parse_here(p)) {
        parse_suggest(p, SUGGEST_WORD, all, "Everything under this level");
        return false;
    }
    const char *word = parse_peek(p);
    if (word == NULL || strcmp(word, all) != 0) {
        return false;
    }
    p->at++;
    return true;
}

static void cmd_delete(struct run *r) {
    struct place at = session_place(r);
    struct statement st = {.at = at};
    bool all = pick_all(r->p);
    if ((!all && !statement_parse(r->p, STATEMENT_DELETE, &at, NULL, 0, &st)) ||
        !run_ready(r, NULL)) {
        return;
    }
    bool whole_level = st.at.path == at.path;
    if (whole_level && !all && !r->s->interactive) { /* a word is missing, more likely than not */
        run_fail(r, ERR_MISSING,
                 "delete without a statement would take away everything under this level; a script "
                 "says delete all for that");
        return;
    }
    if (!confirm_delete(r, &st.at, whole_level)) {
        run_note(r, "nothing was done");
        return;
    }
    if (!may_edit(r)) {
        return;
    }
    if (strcmp(st.at.path, "/") == 0) {
        struct snap *empty = snap_empty();
        struct err e;
        if (candidate_set(r->s->candidate, &r->s->who, empty, &e) != ERR_OK) {
            run_fault(r, &e);
        }
        snap_release(empty);
        return;
    }
    struct model_edit edit = {.op = EDIT_DELETE, .target = st.at.path, .format = FORMAT_VALUE};
    apply(r, &edit, 1);
}

/* ---- where we are
 * -------------------------------------------------------------------------------- */

static void cmd_edit(struct run *r) {
    struct place at = session_place(r);
    struct statement st;
    if (statement_parse(r->p, STATEMENT_EDIT, &at, NULL, 0, &st) && run_ready(r, NULL)) {
        session_enter(r->s, st.at.path);
    }
}

/* `up show`, `top set ...`: the command as if given there, and back again. */
static void run_at(struct run *r, const struct place *at) {
    static const char *const there[] = {
        "copy", "delete", "edit", "insert", "rename", "set", "show",
    };
    struct command_word table[sizeof there / sizeof *there + 1];
    size_t n = 0;
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        for (const struct command_word *c = configuration_commands; c->words != NULL; c++) {
            if (strcmp(c->words, there[i]) == 0) {
                table[n++] = *c;
            }
        }
    }
    table[n] = (struct command_word){0};
    char *back = r->s->edit_path;
    r->s->edit_path = mem_strdup(at->path);
    run_commands(r, table, false);
    /* `top edit apm` goes there for good; everything else comes back. */
    if (strcmp(r->s->edit_path, at->path) == 0) {
        mem_free(r->s->edit_path);
        r->s->edit_path = back;
    } else {
        mem_free(back);
    }
}

static void cmd_top(struct run *r) {
    struct place top = {model_root(), "/", false};
    if (!parse_may_end(r->p)) {
        run_at(r, &top);
    } else if (run_ready(r, NULL)) {
        session_set_place(r->s, "/");
    }
}

static void cmd_up(struct run *r) {
    struct place at = session_place(r);
    const char *word = parse_peek(r->p);
    uint64_t levels = 1;
    if (word != NULL && !parse_here(r->p) && word[0] >= '0' && word[0] <= '9') {
        struct option o = {.label = "levels", .help = "How many levels"};
        parse_pick(r->p, &o, 1);
        levels = strtoull(word, NULL, 10);
        if (levels < 1 || levels > 100) {
            parse_fail(r->p, r->p->at - 1, ERR_INVALID, "a number from 1 to 100 is expected here");
            return;
        }
    }
    for (; levels > 0; levels--) {
        at = place_up(r->arena, &at);
    }
    if (!parse_may_end(r->p)) {
        if (parse_here(r->p)) {
            parse_suggest(r->p, SUGGEST_TYPE, "<levels>",
                          "How many levels (a number from 1 to 100)");
        }
        run_at(r, &at);
    } else if (run_ready(r, NULL)) {
        session_set_place(r->s, at.path);
    }
}

static void really_leave(struct run *r) {
    struct cli_session *s = r->s;
    bool changed = candidate_changed(s->candidate), shared = s->config == CONFIG_SHARED;
    /* Edits in the shared candidate stay there; the others go with the session. */
    if (changed && !run_confirm(r,
                                shared ? "There are edits that are not committed. Leave?"
                                       : "There are edits that are not committed and would be "
                                         "lost. Leave?",
                                shared)) {
        return;
    }
    if (changed && shared) {
        run_note(r, "The edits are not committed; they stay in the shared candidate");
    } else if (changed && !s->interactive) { /* nobody was asked */
        run_note(r, "The edits were not committed and are lost");
    }
    leave_configuration(r);
    run_mode(r, "Exiting configuration mode");
}

static void cmd_exit(struct run *r) {
    static const struct option o = {.word = "configuration-mode", .help = "Leave it at once"};
    bool all = false;
    if (!parse_may_end(r->p)) {
        if (parse_pick(r->p, &o, 1) < 0) {
            return;
        }
        all = true;
    }
    if (!run_ready(r, NULL)) {
        return;
    }
    if (!all && session_back(r->s)) {
        return;
    }
    really_leave(r);
}

static void cmd_quit(struct run *r) {
    cmd_exit(r);
}

/* ---- looking
 * -------------------------------------------------------------------------------------- */

static void cmd_show(struct run *r) {
    static const struct pipe_allow allow = {.display = true, .compare = true};
    struct place at = session_place(r);
    struct statement st;
    if (statement_parse(r->p, STATEMENT_SHOW, &at, NULL, 0, &st) && run_ready(r, &allow)) {
        print_config(r, st.at.path);
    }
}

static void cmd_run(struct run *r) {
    /* Operational commands see what runs, not the candidate. */
    snap_release(r->snap);
    r->snap = core_snapshot(r->cli->core);
    int config = r->s->config;
    static const char *const not_here[] = {"configure", "edit", "quit", "exit"};
    struct command_word table[64];
    size_t n = 0;
    for (const struct command_word *c = operational_commands; c->words != NULL && n < 63; c++) {
        bool here = true;
        for (size_t i = 0; i < sizeof not_here / sizeof *not_here && here; i++) {
            here = strcmp(c->words, not_here[i]) != 0;
        }
        if (here) {
            table[n++] = *c;
        }
    }
    table[n] = (struct command_word){0};
    r->s->config = CONFIG_NONE; /* for print_config: it shows what runs */
    run_commands(r, table, true);
    r->s->config = config;
}

void list_editors(struct run *r, const struct cli_session *except, struct buf *out) {
    static const char *const modes[] = {"", "shared", "private", "exclusive"};
    pthread_mutex_lock(&r->cli->lock);
    LIST_FOREACH (pos, &r->cli->sessions) {
        const struct cli_session *s = CONTAINER_OF(pos, struct cli_session, link);
        if (s->config != CONFIG_NONE && s != except) {
            buf_printf(out, "%s session %" PRIu64 " (%s), %s candidate%s\n", s->who.user, s->id,
                       s->who.source, modes[s->config], s == r->s ? ", this one" : "");
        }
    }
    pthread_mutex_unlock(&r->cli->lock);
}

static void cmd_status(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct buf out = BUF_INIT, who = BUF_INIT;
    list_editors(r, NULL, &out);
    struct candidate *shared = candidate_shared(r->cli->o.candidates);
    candidate_editors(shared, NULL, &who);
    candidate_release(shared);
    if (who.len > 0) {
        buf_printf(&out, "the shared candidate has edits of %s that are not committed\n",
                   buf_cstr(&who));
    }
    run_text(r, (const char *)out.data, out.len);
    buf_free(&who);
    buf_free(&out);
}

/* ---- going back, going on
 * --------------------------------------------------------------------------- */

void suggest_rollbacks(struct parse *p, const struct option *o) {
    struct run *r = p->ctx;
    (void)o;
    struct commit_info list[ROLLBACKS];
    size_t n = core_history(r->cli->core, list, ROLLBACKS);
    for (size_t i = 0; i < n; i++) {
        char time[TIME_TEXT_MAX];
        parse_suggest(p, SUGGEST_VALUE, arena_printf(p->arena, "%zu", i),
                      arena_printf(p->arena, "%s by %s%s%s%s%s",
                                   time_format(list[i].time_s, 0, time), list[i].user,
                                   list[i].label[0] ? ": " : "", list[i].label,
                                   list[i].comment[0] ? ": " : "", list[i].comment));
    }
}

static void note_what_is_gone(struct run *r, const char *lines) {
    for (const char *l = lines, *end; *l != '\0'; l = end + 1) {
        end = strchr(l, '\n');
        struct buf words = BUF_INIT;
        place_text(r->cli->model, arena_strndup(r->arena, l, (size_t)(end - l)), &words);
        run_note(r, "warning: %s", buf_cstr(&words));
        buf_free(&words);
    }
}

static void cmd_rollback(struct run *r) {
    struct option o = {.label = "number",
                       .help = "Which commit to go back to; 0 drops the edits",
                       .values = suggest_rollbacks};
    uint64_t n = 0;
    if (!parse_may_end(r->p)) {
        size_t at = r->p->at;
        if (parse_pick(r->p, &o, 1) < 0) {
            return;
        }
        char *end;
        n = strtoull(r->p->value, &end, 10);
        if (r->p->value[0] < '0' || r->p->value[0] > '9' || *end != '\0' || n >= ROLLBACKS) {
            parse_fail(r->p, at, ERR_INVALID, "a number from 0 to 49 is expected here");
            return;
        }
    }
    struct err e;
    if (!run_ready(r, NULL) || !may_edit(r)) {
        return;
    }
    struct buf said = BUF_INIT;
    if (candidate_rollback(r->s->candidate, &r->s->who, (unsigned)n, &said, &e) != ERR_OK) {
        run_fault(r, &e);
    } else {
        run_printf(r, "load complete\n");
        note_what_is_gone(r, buf_cstr(&said));
    }
    buf_free(&said);
}

static void cmd_update(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct buf conflicts = BUF_INIT;
    struct err e;
    if (candidate_update(r->s->candidate, &conflicts, &e) != ERR_OK) {
        run_fault(r, &e);
    } else if (conflicts.len > 0) {
        run_printf(r, "changed on both sides, your edits were put on top:\n");
        for (char *save = NULL, *l = strtok_r((char *)(uintptr_t)buf_cstr(&conflicts), "\n", &save);
             l != NULL; l = strtok_r(NULL, "\n", &save)) {
            struct buf words = BUF_INIT;
            place_words(r->cli->model, l, &words);
            run_printf(r, "  %s\n", buf_cstr(&words));
            buf_free(&words);
        }
    } else {
        run_printf(r, "up to date\n");
    }
    buf_free(&conflicts);
}

/* ---- entries: rename, copy, insert
 * -------------------------------------------------------------------- */

/* The JSON of the entry at `path`, which must be there. */
static json_t *entry_json(struct run *r, const struct place *at) {
    struct buf b = BUF_INIT;
    struct err e;
    struct print_options o = {.format = FORMAT_JSON, .secrets = true};
    struct model_view all = snap_view(r->snap);
    json_t *root = NULL, *entry = NULL;
    if (!readable(r, at->path)) {
        run_fail(r, ERR_DENIED, "no right to read this");
    } else if (model_print(r->cli->model, &all, NULL, at->path, &o, model_write_buf, &b, &e) !=
               ERR_OK) {
        run_fault(r, &e);
    } else {
        root = json_loadb((const char *)b.data, b.len, 0, NULL);
        json_t *list = json_object_iter_value(json_object_iter(root));
        entry = json_incref(json_is_array(list) ? json_array_get(list, 0) : list);
    }
    mem_wipe(b.data, b.len);
    buf_free(&b);
    json_decref(root);
    return entry;
}

static void add_create(struct run *r, json_t *entry, const struct place *to,
                       struct model_edit *edit) {
    const struct node *n = to->node;
    struct target t;
    struct err e;
    if (path_parse(r->cli->model, to->path, r->arena, &t, &e) != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    size_t first = t.n_keys - n->n_keys;
    for (size_t i = 0; i < n->n_keys; i++) {
        const struct node *k = n->keys[i];
        bool number = (k->base >= BASE_INT8 && k->base <= BASE_INT32) ||
                      (k->base >= BASE_UINT8 && k->base <= BASE_UINT32);
        json_object_set_new(entry, k->name,
                            number                 ? json_integer(atoll(t.keys[first + i]))
                            : k->base == BASE_BOOL ? json_boolean(t.keys[first + i][0] == 't')
                                                   : json_string(t.keys[first + i]));
    }
    json_t *root = json_pack("{s:[O]}", arena_printf(r->arena, "%s:%s", n->module, n->name), entry);
    char *text = json_dumps(root, JSON_COMPACT);
    *edit = (struct model_edit){.op = EDIT_CREATE,
                                .target = to->path,
                                .body = arena_strdup(r->arena, text),
                                .len = strlen(text),
                                .format = FORMAT_JSON};
    free(text);
    json_decref(root);
}

/* References to what was renamed are statements of their own: they stay, and are told of. */
static void tell_left_behind(struct run *r, const struct place *old) {
    enum { NAMED = 10 };
    struct snap *now = candidate_snapshot(r->s->candidate);
    struct buf list = BUF_INIT;
    size_t n = 0, n_kinds;
    const struct kind *const *kinds = model_kinds(&n_kinds);
    for (size_t i = 0; i < n_kinds; i++) {
        const struct object *o = kinds[i]->n_refs > 0 ? snap_first_of(now, kinds[i]) : NULL;
        for (; o != NULL && o->doc->kind == kinds[i]; o = snap_next(now, o)) {
            for (size_t k = 0; readable(r, o->doc->path) && k < o->doc->n_refs; k++) {
                if (path_below(o->doc->refs[k].target, old->path) && n++ < NAMED) {
                    buf_str(&list, "\n  ");
                    place_words(r->cli->model, o->doc->refs[k].at, &list);
                }
            }
        }
    }
    snap_release(now);
    if (n > 0) {
        struct buf words = BUF_INIT;
        place_words(r->cli->model, old->path, &words);
        run_note(r, "warning: the old name, %s, is still given here; commit refuses that:%s%s",
                 buf_cstr(&words), buf_cstr(&list), n > NAMED ? "\n  and more" : "");
        buf_free(&words);
    }
    buf_free(&list);
}

static void copy_or_rename(struct run *r, bool rename) {
    static const struct option to = {.word = "to", .help = "The new name"};
    struct place at = session_place(r);
    struct statement from, dest;
    if (!statement_parse(r->p, STATEMENT_ENTRY, &at, &to, 1, &from) ||
        parse_pick(r->p, &to, 1) < 0) {
        return;
    }
    /* The new name is given by the list and its keys, or by the keys alone. */
    const char *word = parse_peek(r->p);
    const struct node *list = from.at.node;
    if (list->type != NODE_LIST) {
        parse_fail(r->p, r->p->at - 2, ERR_UNSUPPORTED, "only entries of lists have names");
        return;
    }
    struct option name = {.word = list->name, .help = list->description};
    if (parse_here(r->p) || (word != NULL && strcmp(word, list->name) == 0)) {
        if (parse_pick(r->p, &name, 1) < 0) {
            return;
        }
    }
    dest.at = (struct place){list, from.parent, true};
    for (size_t k = 0; k < list->n_keys; k++) {
        struct option o = {.leaf = list->keys[k], .help = list->keys[k]->description};
        if (parse_pick(r->p, &o, 1) < 0) {
            return;
        }
        struct buf b = BUF_INIT;
        buf_str(&b, dest.at.path);
        path_add_key(&b, k == 0, r->p->value);
        dest.at.path = arena_strdup(r->arena, buf_cstr(&b));
        buf_free(&b);
    }
    if (!run_ready(r, NULL)) {
        return;
    }
    json_t *entry = entry_json(r, &from.at);
    if (entry == NULL) {
        return;
    }
    struct model_edit edits[2] = {0};
    add_create(r, entry, &dest.at, &edits[0]);
    edits[1] =
        (struct model_edit){.op = EDIT_DELETE, .target = from.at.path, .format = FORMAT_VALUE};
    if (r->status == CLI_OK) {
        apply(r, edits, rename ? 2 : 1);
    }
    if (rename && r->status == CLI_OK) {
        tell_left_behind(r, &from.at);
    }
    json_decref(entry);
}

static void cmd_rename(struct run *r) {
    copy_or_rename(r, true);
}

static void cmd_copy(struct run *r) {
    copy_or_rename(r, false);
}

/* insert apm inet-pool partition a prefix X before prefix Y */
static void cmd_insert(struct run *r) {
    struct place at = session_place(r);
    struct insertion in;
    if (!insertion_parse(r->p, &at, &in) || !run_ready(r, NULL)) {
        return;
    }
    /* What is not there is not made by moving it. */
    struct model_edit edit = {.op = EDIT_MERGE,
                              .target = in.what.at.path,
                              .body = "",
                              .format = FORMAT_VALUE,
                              .insert = in.before ? INSERT_BEFORE : INSERT_AFTER,
                              .point = in.point};
    struct err e;
    struct model_view all = snap_view(r->snap);
    struct buf b = BUF_INIT;
    struct print_options o = {.format = FORMAT_JSON};
    enum err_code rc =
        model_print(r->cli->model, &all, NULL, in.what.at.path, &o, model_write_buf, &b, &e);
    buf_free(&b);
    if (rc != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    apply(r, &edit, 1);
}

const struct command_word configuration_commands[] = {
    {"set", "STATEMENT [VALUE] ...", "Adds or changes a statement.", cmd_set, false},
    {"delete", "[STATEMENT | all]",
     "Takes a statement away; all of this level with all, or, asked first, with nothing.",
     cmd_delete, false},
    {"edit", "STATEMENT", "Goes to a level of the configuration.", cmd_edit, false},
    {"up", "[LEVELS] [COMMAND]", "Goes up one level or more.", cmd_up, false},
    {"top", "[COMMAND]", "Goes to the top, or runs a command as if given there.", cmd_top, false},
    {"exit", "[configuration-mode]", "Leaves this level; at the top configuration mode.", cmd_exit,
     false},
    {"quit", NULL, "Leaves this level; at the top configuration mode.", cmd_quit, false},
    {"show", "[STATEMENT]", "Shows the candidate configuration.", cmd_show, false},
    {"commit",
     "[check | comment TEXT | confirmed [TIME] [applied] | wait [TIME] | and-quit | force] ...",
     "Makes the candidate the running configuration.", cmd_commit, false},
    {"rollback", "[NUMBER]",
     "Loads an earlier configuration into the candidate; without a number drops the edits.",
     cmd_rollback, false},
    {"load", "merge | override | replace | set  FILE | terminal  [relative]",
     "Loads configuration from a file or the terminal.", cmd_load, false},
    {"run", "COMMAND", "Runs a command of operational mode.", cmd_run, false},
    {"rename", "ENTRY to NAME",
     "Gives an entry another name; references to the old one are named, not moved.", cmd_rename,
     false},
    {"copy", "ENTRY to NAME", "Copies an entry.", cmd_copy, false},
    {"insert", "ENTRY before | after NAME", "Moves an entry in front of or behind another.",
     cmd_insert, false},
    {"update", NULL, "Puts the edits onto the newest configuration.", cmd_update, false},
    {"status", NULL, "Shows who is editing.", cmd_status, false},
    {"help", NULL, "Gives help.", cmd_help, false},
    {"help apropos", "WORD", "Finds commands and statements about a word.", cmd_help_apropos,
     false},
    {"help statement", "STATEMENT", "Says what a configuration statement means.",
     cmd_help_statement, false},
    {0},
};
