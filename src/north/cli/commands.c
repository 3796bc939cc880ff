// SPDX-License-Identifier: Apache-2.0
/* Which command is meant: the words of built-in commands and of the model's rpcs, in one grammar.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "north/cli/run.h"

enum { DEPTH_MAX = 8, SET_MAX = 1024 };

struct entry { /* one command that the words so far could become */
    const char *const *words;
    size_t n;
    const char *help;
    const struct command_word *built_in;
    const struct command *rpc;
    bool hidden;
};

/* ---- help for words that several commands share
 * -------------------------------------------------- */

static const char *shared_help(const char *word, size_t depth) {
    static const struct {
        const char *word, *help;
    } known[] = {
        {"show", "Shows what is there and what it does."},
        {"request", "Makes the system do something."},
        {"clear", "Clears counters."},
        {"monitor", "Shows what happens as it happens."},
        {"explain", "Explains why something is as it is."},
        {"help", "Gives help."},
        {"set", "Sets properties of this session."},
        {"token", "Credentials of programs."},
        {"target", "What the configuration is carried out on."},
        {"release", "Frees what an entity holds."},
        {"cli", "This session."},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].word, word) == 0) {
            return known[i].help;
        }
    }
    /* "apm" in "show apm ...": what the model says about it. */
    const struct node *top = depth == 1 ? node_child(model_root(), word, strlen(word)) : NULL;
    return top != NULL ? top->description : NULL;
}

/* ---- arguments of rpcs
 * ----------------------------------------------------------------------------- */

struct rpc_run {
    struct run *r;
    const struct command *c;
    const char **values; /* one per argument; NULL: not given */
    const char *extra_names[64], *extra_values[64];
    size_t n_extra; /* further values of leaf-lists */
    bool *filled;
};

static bool is_secret(const struct command_arg *a) {
    return a->leaf->secret;
}

static bool is_open(const struct rpc_run *x, size_t i) {
    const struct command_arg *a = &x->c->args[i];
    return (!x->filled[i] || a->leaf->type == NODE_LEAF_LIST) &&
           (a->within < 0 || x->filled[a->within]);
}

static bool is_complete(const struct rpc_run *x) {
    for (size_t i = 0; i < x->c->n_args; i++) {
        const struct command_arg *a = &x->c->args[i];
        if (!a->optional && !x->filled[i] && !(is_secret(a) && x->r->s->interactive)) {
            return false;
        }
    }
    return true;
}

static void suggest_live(struct parse *p, const struct option *o) {
    const struct rpc_run *x = o->ptr;
    struct values *v = values_new(&x->r->s->who, o->leaf);
    for (size_t i = 0; i < x->c->n_args; i++) {
        if (x->filled[i] && x->values[i] != NULL && !is_secret(&x->c->args[i])) {
            values_add(v, x->c->args[i].leaf->name, x->values[i]);
        }
    }
    run_values(x->r, v);
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

static size_t arg_options(const struct rpc_run *x, struct option *o) {
    size_t n = 0;
    for (size_t i = 0; i < x->c->n_args; i++) {
        const struct command_arg *a = &x->c->args[i];
        if (!is_open(x, i)) {
            continue;
        }
        o[n].id = (int)i;
        o[n].help = a->leaf->description;
        if (a->word != NULL) {
            o[n].word = a->word;
        } else {
            o[n].leaf = a->leaf;
            o[n].values = suggest_live;
            o[n].ptr = x;
        }
        n++;
    }
    return n;
}

/* The argument picked last; its value when it has one. */
static bool take_arg(struct rpc_run *x, size_t i) {
    const struct command_arg *a = &x->c->args[i];
    struct parse *p = x->r->p;
    const char *value = a->word == NULL ? p->value : "";
    if (a->word != NULL && a->leaf->base != BASE_EMPTY) {
        if (is_secret(a) && !p->completing && !parse_more(p)) {
            return true; /* asked for later, or refused as missing */
        }
        struct option o = {
            .leaf = a->leaf, .help = a->leaf->description, .values = suggest_live, .ptr = x};
        if (parse_pick(p, &o, 1) < 0) {
            return false;
        }
        value = p->value;
    }
    if (x->filled[i]) {
        if (x->n_extra == sizeof x->extra_names / sizeof *x->extra_names) {
            return parse_fail(p, p->at - 1, ERR_TOO_BIG, "too many values of %s", a->leaf->name);
        }
        x->extra_names[x->n_extra] = a->leaf->name;
        x->extra_values[x->n_extra++] = value;
    } else {
        x->filled[i] = true;
        x->values[i] = value;
    }
    return true;
}

static bool read_args(struct rpc_run *x, int picked) {
    struct parse *p = x->r->p;
    if (picked >= 0 && !take_arg(x, (size_t)picked)) {
        return false;
    }
    for (;;) {
        struct option *o = arena_alloc(x->r->arena, (x->c->n_args + 1) * sizeof *o);
        size_t n = arg_options(x, o);
        if (is_complete(x) && parse_may_end(p)) {
            return true;
        }
        if (n == 0) {
            return parse_end(p);
        }
        int i = parse_pick(p, o, n);
        if (i < 0 || !take_arg(x, (size_t)o[i].id)) {
            return false;
        }
    }
}

/* ---- running rpcs -------------------------------------------------------------------------------
 */

static bool ask_secrets(struct rpc_run *x) {
    for (size_t i = 0; i < x->c->n_args; i++) {
        const struct command_arg *a = &x->c->args[i];
        if (a->optional || x->filled[i] || !is_secret(a)) {
            continue;
        }
        struct buf value = BUF_INIT;
        bool ok = run_ask_secret(x->r, a->leaf->name, &value);
        if (ok) {
            x->values[i] = arena_strdup(x->r->arena, buf_cstr(&value));
            x->filled[i] = true;
        }
        mem_wipe(value.data, value.len);
        buf_free(&value);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* Part by part: members of a later part join the former's. */
static void merge_json(json_t **all, const struct buf *part) {
    json_t *j = json_loadb((const char *)part->data, part->len, 0, NULL);
    if (*all == NULL) {
        *all = j;
        return;
    }
    const char *name;
    json_t *v;
    json_object_foreach(j, name, v) {
        json_t *have = json_object_get(*all, name);
        if (json_is_array(have) && json_is_array(v)) {
            json_array_extend(have, v);
        } else {
            json_object_set(*all, name, v);
        }
    }
    json_decref(j);
}

static void show_data(struct run *r, const struct command *c, json_t *all) {
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    struct buf out = BUF_INIT;
    struct err e;
    struct print_options o = {.format = r->pipes.format, .pretty = true};
    text = text != NULL ? text : strdup("{}");
    if (rpc_output_print(r->cli->model, c->rpc, text, strlen(text), &o, &out, &e) != ERR_OK) {
        run_fault(r, &e);
    } else {
        run_text(r, (const char *)out.data, out.len);
        run_text(r, "\n", out.len > 0 && out.data[out.len - 1] != '\n');
    }
    free(text);
    buf_free(&out);
}

static const struct node *output_of(const struct node *rpc) {
    for (size_t i = 0; i < rpc->n_children; i++) {
        if (rpc->children[i]->type == NODE_OUTPUT) {
            return rpc->children[i];
        }
    }
    return NULL;
}

/* weft:confirm, with the values of the arguments in it. The generator has seen to the names. */
static bool confirmed(const struct rpc_run *x) {
    const char *p = x->c->confirm;
    if (p == NULL) {
        return true;
    }
    struct buf question = BUF_INIT;
    for (; *p != '\0'; p++) {
        size_t len = *p == '{' ? strcspn(p + 1, "}") : 0;
        for (size_t i = 0; len > 0 && i < x->c->n_args; i++) {
            const char *name = x->c->args[i].leaf->name;
            if (strlen(name) == len && memcmp(name, p + 1, len) == 0) {
                buf_str(&question, x->values[i]);
            }
        }
        if (len > 0) {
            p += len + 1;
        } else {
            buf_char(&question, *p);
        }
    }
    bool yes = run_confirm(x->r, buf_cstr(&question), false);
    buf_free(&question);
    return yes;
}

static void call_rpc(struct rpc_run *x) {
    struct run *r = x->r;
    const struct command *c = x->c;
    size_t n = 0;
    const char **names = arena_alloc(r->arena, (c->n_args + x->n_extra + 1) * sizeof *names);
    const char **values = arena_alloc(r->arena, (c->n_args + x->n_extra + 1) * sizeof *values);
    for (size_t i = 0; i < c->n_args; i++) {
        if (x->filled[i]) {
            names[n] = c->args[i].leaf->name;
            values[n++] = x->values[i];
        }
    }
    for (size_t i = 0; i < x->n_extra; i++) {
        names[n] = x->extra_names[i];
        values[n++] = x->extra_values[i];
    }
    bool data = r->pipes.display && r->pipes.format != FORMAT_TEXT;
    json_t *all = NULL;
    bool said_something = false;
    char *cursor = NULL;
    do {
        struct call *cl = call_new(&r->s->who);
        cl->cursor = cursor;
        cursor = NULL;
        enum err_code rc =
            rpc_input_words(r->cli->model, c->rpc, names, values, n, cl->arena, &cl->in, &cl->err);
        if (rc == ERR_OK) {
            run_call(r, cl);
        }
        if (cl->err.code != ERR_OK) {
            run_fault(r, &cl->err);
        } else if (data) {
            merge_json(&all, &cl->json);
        } else if (cl->text.len > 0) {
            run_text(r, (const char *)cl->text.data, cl->text.len);
            run_text(r, "\n", cl->text.data[cl->text.len - 1] != '\n');
            said_something = true;
        } else if (cl->json.len > 2) { /* no layout from the service: all of it at the end */
            merge_json(&all, &cl->json);
        }
        cursor = cl->cursor;
        cl->cursor = NULL;
        call_free(cl);
    } while (cursor != NULL && r->status == CLI_OK && !run_stopped(r));
    mem_free(cursor);
    if (data && r->status == CLI_OK) {
        show_data(r, c, all);
    } else if (all != NULL && output_of(c->rpc) != NULL && r->status == CLI_OK) {
        render_json(r, output_of(c->rpc), all);
    } else if (!said_something && r->status == CLI_OK && strcmp(c->right, "read") != 0) {
        run_printf(r, "done\n");
    }
    json_decref(all);
}

void run_rpc(struct run *r, const struct command *c, int picked) {
    struct rpc_run x = {.r = r, .c = c};
    x.values = arena_alloc(r->arena, (c->n_args + 1) * sizeof *x.values);
    x.filled = arena_alloc(r->arena, c->n_args + 1);
    r->of_leader = core_call_is_leaders(r->cli->core, c->rpc);
    const struct pipe_allow allow = {.display = true, .refresh = strcmp(c->right, "read") == 0};
    if (!read_args(&x, picked) || !run_ready(r, &allow) || !ask_secrets(&x)) {
        return;
    }
    if (r->pipes.format == FORMAT_SET) {
        run_fail(r, ERR_UNSUPPORTED, "display set is for configuration only");
        return;
    }
    if (!confirmed(&x)) {
        run_note(r, "nothing was done");
        return;
    }
    call_rpc(&x);
}

/* ---- words
 * --------------------------------------------------------------------------------------- */

static const char *const *split_words(struct arena *a, const char *text, size_t *n) {
    const char **w = arena_alloc(a, 8 * sizeof *w);
    *n = 0;
    while (*text != '\0' && *n < 8) {
        size_t len = strcspn(text, " ");
        w[(*n)++] = arena_strndup(a, text, len);
        text += len + strspn(text + len, " ");
    }
    return w;
}

static bool same_words(const struct entry *a, const struct entry *b) {
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->words[i], b->words[i]) != 0) {
            return false;
        }
    }
    return true;
}

static size_t gather(struct run *r, const struct command_word *table, bool rpcs, struct entry *e) {
    size_t n = 0;
    for (; table != NULL && table->words != NULL && n < SET_MAX; table++) {
        e[n] = (struct entry){.help = table->help, .built_in = table, .hidden = table->hidden};
        e[n].words = split_words(r->arena, table->words, &e[n].n);
        n++;
    }
    size_t n_rpcs = 0, built_in = n;
    const struct command *const *c = rpcs ? model_commands(&n_rpcs) : NULL;
    for (size_t i = 0; i < n_rpcs && n < SET_MAX; i++) {
        e[n] = (struct entry){
            .words = c[i]->words, .n = c[i]->n_words, .help = c[i]->rpc->description, .rpc = c[i]};
        bool taken = false;
        for (size_t k = 0; k < built_in && !taken; k++) {
            taken = same_words(&e[k], &e[n]);
        }
        n += !taken;
    }
    return n;
}

/* The distinct words at `depth` of what is left, as options; each with the help of the command
 * that ends there, or what its commands have in common. */
static size_t word_options(const struct entry *e, size_t n, size_t depth, struct option *o) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (e[i].n <= depth) {
            continue;
        }
        size_t at = 0;
        while (at < k && strcmp(o[at].word, e[i].words[depth]) != 0) {
            at++;
        }
        if (at == k) {
            o[k++] = (struct option){.word = e[i].words[depth],
                                     .help = shared_help(e[i].words[depth], depth),
                                     .id = -1,
                                     .hidden = e[i].hidden};
        }
        o[at].hidden = o[at].hidden && e[i].hidden;
        if (e[i].n == depth + 1) {
            o[at].help = e[i].help;
        } else if (o[at].help == NULL) {
            o[at].help = e[i].help;
        }
    }
    return k;
}

/* "set apm ..." outside configuration mode: says where that belongs. */
static bool belongs_in_configuration(struct run *r, const struct command_word *table) {
    struct parse *p = r->p;
    const char *first = parse_peek(p);
    if (table != operational_commands || r->s->config != CONFIG_NONE || first == NULL ||
        p->completing) {
        return false;
    }
    bool there = false;
    for (const struct command_word *w = configuration_commands; w->words != NULL && !there; w++) {
        there = !w->hidden && strcmp(w->words, first) == 0;
    }
    for (const struct command_word *w = table; w->words != NULL && there; w++) {
        size_t n = strcspn(w->words, " ");
        bool same = strlen(first) == n && memcmp(w->words, first, n) == 0;
        there = !same || strcmp(first, "set") == 0;
    }
    if (there && strcmp(first, "set") == 0) { /* "set cli ..." is ours */
        const char *second = p->at + 1 < p->end ? p->line->words[p->at + 1].text : "cli";
        there = strncmp("cli", second, strlen(second)) != 0;
    }
    return there && !parse_fail(p, p->at, ERR_UNKNOWN,
                                "this is a command of configuration mode: enter that by configure");
}

void run_commands(struct run *r, const struct command_word *table, bool rpcs) {
    struct parse *p = r->p;
    if (belongs_in_configuration(r, table)) {
        return;
    }
    if (r->depth++ >= DEPTH_MAX) {
        parse_fail(p, p->at, ERR_TOO_BIG, "commands inside one another too deep");
        return;
    }
    struct entry *e = arena_alloc(r->arena, SET_MAX * sizeof *e);
    size_t n = gather(r, table, rpcs, e);
    for (size_t depth = 0;; depth++) {
        const struct entry *exact = NULL;
        bool longer = false;
        for (size_t i = 0; i < n; i++) {
            if (e[i].n == depth) {
                exact = &e[i];
            } else {
                longer = true;
            }
        }
        if (exact != NULL && (!longer || (exact->built_in != NULL && parse_may_end(p)))) {
            if (exact->built_in != NULL) {
                exact->built_in->run(r);
            } else {
                run_rpc(r, exact->rpc, -1);
            }
            return;
        }
        struct option *o = arena_alloc(
            r->arena,
            (n + (exact != NULL && exact->rpc != NULL ? exact->rpc->n_args : 0) + 1) * sizeof *o);
        size_t k = word_options(e, n, depth, o);
        struct rpc_run x = {.r = r, .c = exact != NULL ? exact->rpc : NULL};
        if (x.c != NULL) { /* "show apm partition": ends here, or has arguments, or goes on */
            x.values = arena_alloc(r->arena, (x.c->n_args + 1) * sizeof *x.values);
            x.filled = arena_alloc(r->arena, x.c->n_args + 1);
            if (is_complete(&x) && parse_may_end(p)) {
                run_rpc(r, x.c, -1);
                return;
            }
            k += arg_options(&x, o + k);
        }
        int i = parse_pick(p, o, k);
        if (i < 0) {
            return;
        }
        if (o[i].id >= 0) {
            run_rpc(r, x.c, o[i].id);
            return;
        }
        size_t kept = 0;
        for (size_t j = 0; j < n; j++) {
            if (e[j].n > depth && strcmp(e[j].words[depth], o[i].word) == 0) {
                e[kept++] = e[j];
            }
        }
        n = kept;
    }
}
