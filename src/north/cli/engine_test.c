// SPDX-License-Identifier: Apache-2.0
/*
 * The engine over an unthreaded core and the toy module: kinds that no line of the command line
 * knows. What works for them works for every kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/service.h"
#include "core/system.h"
#include "core/target.h"
#include "core/txn.h"
#include "north/cli/cli.h"

/* ---- a service for the toys: answers their rpc, has one target, which may refuse
 * ----------------- */

struct shop {
    struct core *core;
    struct target_session *target;
};
static bool shop_refuses;

static void shop_send(struct target_session *t, void *arg, uint64_t from, uint64_t to) {
    (void)arg;
    (void)from;
    if (shop_refuses) {
        target_refused(t, to, "there is no room on the shelf");
    } else {
        target_applied(t, to);
    }
}

static const struct target_codec shop_codec = {"shop", shop_send};

static void *shop_create(struct core *c) {
    struct shop *shop = MEM_NEW(struct shop);
    shop->core = c;
    return shop;
}

static void shop_destroy(void *self) {
    mem_free(self);
}

static enum err_code shop_start(void *self, struct err *e) {
    struct shop *shop = self;
    (void)e;
    shop->target = target_new(shop->core, &shop_codec, "shelf", shop);
    target_connected(shop->target);
    target_synced(shop->target);
    return ERR_OK;
}

static void shop_stop(void *self) {
    target_free(((struct shop *)self)->target);
}

static void shop_config(void *self, const struct object *old, const struct object *new_) {
    (void)self;
    (void)old;
    (void)new_;
}

static void shop_changed(void *self, struct txn *t) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (strcmp((op.new_ ? op.new_ : op.old)->doc->kind->module, "weft-toy") == 0) {
            target_touch(((struct shop *)self)->target, t, "toys change");
            break;
        }
    }
}

static bool shop_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)out;
    return false;
}

static enum err_code shop_fold(void *self, const char *key, size_t key_len, const void *value,
                               size_t len, struct err *e) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)value;
    (void)len;
    (void)e;
    return ERR_OK;
}

/* Two parts, so that paging is seen to work. */
static enum err_code shop_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    (void)self;
    (void)t;
    const char *limit = rpc_input_value(&cl->in, "limit", cl->arena);
    const char *box = rpc_input_value(&cl->in, "box", cl->arena);
    if (limit != NULL && strcmp(limit, "13") == 0) {
        return err_set(e, ERR_REFUSED, NULL, "thirteen is unlucky");
    }
    bool second = cl->cursor != NULL;
    if (limit == NULL || strcmp(limit, "1") != 0) {
        buf_printf(&cl->text, "toy %d of box %s\n", second ? 2 : 1, box ? box : "any");
    }
    buf_printf(&cl->json, "{\"toy\":[{\"maker\":\"acme\",\"number\":%d}]}", second ? 2 : 1);
    mem_free(cl->cursor);
    cl->cursor = second ? NULL : mem_strdup("2");
    return ERR_OK;
}

static void shop_values(void *self, struct txn *t, struct values *v) {
    (void)self;
    (void)t;
    if (strcmp(v->leaf->name, "limit") == 0) {
        buf_printf(&v->out, "7\tas many as are in box %s\n", v->n_given > 0 ? v->values[0] : "?");
    }
}

static const struct service shop_service = {.name = "shop",
                                            .state_prefix = "shop/",
                                            .module = "weft-toy",
                                            .create = shop_create,
                                            .destroy = shop_destroy,
                                            .start = shop_start,
                                            .stop = shop_stop,
                                            .config = shop_config,
                                            .changed = shop_changed,
                                            .state_encode = shop_encode,
                                            .state_fold = shop_fold,
                                            .call = shop_call,
                                            .values = shop_values};

static const struct actor admin = {.user = "admin", .source = "cli test", .superuser = true};

struct world {
    char folder[64];
    struct clock clock;
    struct model *model;
    struct core *core;
    struct candidates *candidates;
    struct cli *cli;
    struct cli_session *s;
    /* what the last command gave */
    struct buf text, notes;
    struct err fault;
    bool has_place;
    size_t start, end;
    char saved[64];
    const char *answer; /* to what is asked; NULL: end of input */
    unsigned asked;
    int stop_after; /* looks until it is interrupted; -1: never */
};
static struct world w;

static void pump(void *arg) {
    (void)arg;
    if (core_step(w.core) == 0) {
        int64_t next = core_next_timer(w.core);
        clock_fake_advance(&w.clock, next > 0 ? next : NS_PER_MS);
    }
}

static void on_write(void *arg, const char *p, size_t n) {
    (void)arg;
    buf_add(&w.text, p, n);
}
static void on_note(void *arg, const char *text) {
    (void)arg;
    buf_printf(&w.notes, "%s\n", text);
}
static void on_fault(void *arg, const struct err *e, bool has_place, size_t start, size_t end) {
    (void)arg;
    w.fault = *e;
    w.has_place = has_place;
    w.start = start;
    w.end = end;
}
static void on_save(void *arg, const char *file) {
    (void)arg;
    snprintf(w.saved, sizeof w.saved, "%s", file);
}
static void on_paging(void *arg, bool on) {
    (void)arg;
    (void)on;
}
static enum err_code on_ask(void *arg, const struct cli_ask *ask, struct buf *answer,
                            struct err *e) {
    (void)arg;
    (void)ask;
    w.asked++;
    if (w.answer == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "end of input");
    }
    buf_str(answer, w.answer);
    return ERR_OK;
}
static bool on_stopped(void *arg) {
    (void)arg;
    w.stop_after -= w.stop_after > 0;
    return w.stop_after == 0;
}
static const struct cli_sink sink = {on_write,  on_note, on_fault,   on_save,
                                     on_paging, on_ask,  on_stopped, NULL};

static int run_in(struct cli_session *s, const char *line) {
    buf_clear(&w.text);
    buf_clear(&w.notes);
    memset(&w.fault, 0, sizeof w.fault);
    w.saved[0] = '\0';
    w.asked = 0;
    return cli_execute(s, line, strlen(line), &sink);
}

static int run(const char *line) {
    return run_in(w.s, line);
}

static void ok(const char *line) {
    int status = run(line);
    if (status != CLI_OK) {
        fail_msg("%s: status %d: %s %s", line, status, w.fault.path, w.fault.text);
    }
}

static void says(const char *line, const char *want) {
    ok(line);
    assert_string_equal(buf_cstr(&w.text), want);
}

static void mentions(const char *want) {
    if (strstr(buf_cstr(&w.text), want) == NULL && strstr(buf_cstr(&w.notes), want) == NULL &&
        strstr(w.fault.text, want) == NULL) {
        fail_msg("\"%s\" is not in\n%s\n%s\n%s", want, buf_cstr(&w.text), buf_cstr(&w.notes),
                 w.fault.text);
    }
}

/* It is refused, about the word `at`. */
static void wrong(const char *line, const char *at, const char *why) {
    assert_int_equal(run(line), CLI_SYNTAX);
    mentions(why);
    assert_true(w.has_place);
    size_t place = at[0] == '\0' ? strlen(line) : (size_t)(strstr(line, at) - line);
    if (w.start != place) {
        fail_msg("%s: about byte %zu instead of %zu", line, w.start, place);
    }
}

static struct cli_session *session(bool interactive) {
    struct cli_session *s;
    struct err e;
    struct cli_terminal t = {interactive, 24, 80};
    assert_int_equal(cli_session_new(w.cli, &admin, &t, &s, &e), ERR_OK);
    return s;
}

static int setup(void **state) {
    (void)state;
    struct err e;
    memset(&w, 0, sizeof w);
    w.stop_after = -1;
    shop_refuses = false;
    snprintf(w.folder, sizeof w.folder, "/tmp/cli_test.XXXXXX");
    assert_non_null(mkdtemp(w.folder));
    clock_fake_init(&w.clock, INT64_C(1700000000) * NS_PER_S);
    assert_int_equal(model_load(&w.model, &e), ERR_OK);
    char store[128];
    snprintf(store, sizeof store, "sqlite:%s/log.db", w.folder);
    static const struct service *const services[] = {&system_service, &shop_service, NULL};
    struct core_options o = {
        .store = store, .clock = &w.clock, .model = w.model, .services = services};
    if (core_open(&o, &w.core, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    w.candidates = candidates_new(w.core);
    struct cli_options co = {.core = w.core, .candidates = w.candidates, .pump = pump};
    w.cli = cli_new(&co);
    w.s = session(false);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cli_session_free(w.s);
    cli_free(w.cli);
    candidates_free(w.candidates);
    core_close(w.core);
    model_free(w.model);
    buf_free(&w.text);
    buf_free(&w.notes);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "%s/log.db", w.folder);
    unlink(cmd);
    snprintf(cmd, sizeof cmd, "%s/log.db-wal", w.folder);
    unlink(cmd);
    snprintf(cmd, sizeof cmd, "%s/log.db-shm", w.folder);
    unlink(cmd);
    rmdir(w.folder);
    return 0;
}

/* ---- completion ------------------------------------------------------------------------------ */

/* The suggestions at the end of `line`, blanks between. */
static const char *offers(const char *line) {
    static char out[8192];
    struct cli_completion c;
    cli_complete(w.s, line, strlen(line), strlen(line), &c);
    size_t n = 0;
    out[0] = '\0';
    if (c.err.code != ERR_OK) {
        n += (size_t)snprintf(out, sizeof out, "! %s", c.err.text);
    }
    for (size_t i = 0; i < c.n && n < sizeof out; i++) {
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i > 0 ? " " : "", c.items[i].word);
    }
    arena_free(c.arena);
    return out;
}

static void completes(const char *line, const char *want) {
    struct cli_completion c;
    cli_complete(w.s, line, strlen(line), strlen(line), &c);
    if (want == NULL) {
        assert_null(c.insert);
    } else {
        assert_non_null(c.insert);
        assert_string_equal(c.insert, want);
    }
    arena_free(c.arena);
}

/* proves: APM-160 APM-161 */
static void completion_and_help(void **state) {
    (void)state;
    assert_non_null(strstr(offers(""), "configure"));
    assert_non_null(strstr(offers("sh"), "show"));
    completes("conf", "configure ");
    completes("show configuration to", "toys ");
    completes("show conf", "configuration ");
    assert_string_equal(offers("configure "), "<Enter> | exclusive private");
    assert_non_null(strstr(offers("nonsense "), "! unknown word"));
    ok("configure");
    completes("set toy", "toys ");
    assert_string_equal(offers("set toys "), "box toy game");
    assert_string_equal(offers("set toys box "), "<name>");
    ok("set toys box red-box size 5");
    ok("set toys box \"blue-box\"");
    assert_string_equal(offers("set toys box "), "<name> blue-box red-box");
    completes("set toys box b", "blue-box ");
    completes("set toys box ", NULL);
    /* references: names that exist; enumerations; nothing more after a leaf but its siblings */
    assert_string_equal(offers("set toys toy acme 1 box "), "<box> blue-box red-box");
    assert_string_equal(offers("set toys toy acme 1 colour "), "red green dark-blue");
    completes("set toys toy acme 1 colour d", "dark-blue ");
    assert_non_null(strstr(offers("set toys toy acme 1 colour red "), "price"));
    ok("set toys toy \"big maker\" 3");
    completes("delete toys toy b", "\"big maker\" ");
    completes("delete toys toy \"big", "\"big maker\" ");
    assert_string_equal(offers("delete toys toy \"big maker\" "), "<number> 3");
    assert_string_equal(offers("show | display "), "json set text xml");
    assert_non_null(strstr(offers("show | "), "match"));
    assert_non_null(strstr(offers("run show "), "configuration"));
    assert_string_equal(offers("delete toys box "), "<Enter> | <name> blue-box red-box");
    assert_string_equal(offers("rollback "), "<Enter> | <number>");
    /* a cursor inside the line: what follows does not matter */
    struct cli_completion c;
    cli_complete(w.s, "set to nonsense", 15, 6, &c);
    assert_string_equal(c.insert, "toys ");
    assert_int_equal(c.from, 4);
    arena_free(c.arena);
    /* help says what the model says */
    cli_complete(w.s, "set toys box x size ", 20, 20, &c);
    assert_int_equal(c.n, 1);
    assert_non_null(strstr(c.items[0].help, "What goes in."));
    assert_non_null(strstr(c.items[0].help, "default 10"));
    arena_free(c.arena);
}

/* ---- editing ------------------------------------------------------------------------------------
 */

static void toy_life(void **state) {
    (void)state;
    ok("configure");
    ok("set toys box a size 5");
    ok("set toys toy acme 7 colour red price 1.50 box a");
    says("show | display set", "set toys box a size 5\n"
                               "set toys toy acme 7 colour red\n"
                               "set toys toy acme 7 box a\n"
                               "set toys toy acme 7 price 1.5\n");
    ok("show | compare");
    mentions("+");
    ok("commit check");
    mentions("configuration check succeeds");
    ok("commit comment \"first toys\"");
    mentions("complete");
    says("show | compare", "");
    ok("commit");
    mentions("nothing to commit");
    says("run show configuration toys box | display set", "set toys box a size 5\n");
    ok("set toys box a size 6");
    ok("delete toys toy acme 7 price");
    says("show | compare | display set", "set toys box a size 6\ndelete toys toy acme 7 price\n");
    ok("rollback");
    says("show | compare", "");
    ok("delete toys toy");
    ok("commit and-quit");
    says("show configuration toys toy | display set", "");
    ok("show system commit");
    mentions("first toys");
    ok("configure");
    ok("rollback 1");
    ok("commit comment back");
    says("show toys toy | display set | match colour", "set toys toy acme 7 colour red\n");
    ok("exit");
    ok("exit");
    assert_true(cli_session_ended(w.s));
}

static void levels(void **state) {
    (void)state;
    struct buf prompt = BUF_INIT;
    ok("configure");
    ok("edit toys box b1");
    cli_prompt(w.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit toys box b1]\nadmin@"));
    ok("set size 3");
    says("show | display set", "set toys box b1 size 3\n");
    ok("up");
    ok("set box b2");
    ok("top set toys box b3 size 4");
    says("top show toys box b3 | display set", "set toys box b3 size 4\n");
    says("show box b2 | display set", "set toys box b2\n");
    ok("top edit toys");
    buf_clear(&prompt);
    cli_prompt(w.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit toys]\n"));
    ok("exit");
    buf_clear(&prompt);
    cli_prompt(w.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit]\n"));
    buf_free(&prompt);
    ok("rename toys box b2 to b9");
    ok("copy toys box b9 to box b10");
    says("show toys | display set | count", "Count: 4 lines\n");
    assert_int_equal(run("rename toys box b1 to b3"), CLI_FAILED);
    mentions("exists");
    ok("delete");
    says("show", "");
}

static void wrong_input(void **state) {
    (void)state;
    wrong("shwo configuration", "shwo", "did you mean show");
    wrong("show", "", "incomplete");
    wrong("show configuration tyos", "tyos", "did you mean toys");
    wrong("show configuration | mtach x", "mtach", "did you mean match");
    wrong("show configuration | match \"[\"", "\"[\"", "regular expression");
    wrong("show configuration | match (a)\\1", "(a)", "back references");
    wrong("show configuration | last 0", "0", "from 1");
    wrong("show configuration | display yaml", "yaml", "possible here");
    wrong("show \"configuration", "\"conf", "never closed");
    wrong("show\x1b[2J", "\x1b", "control character");
    wrong("s c", "s", "ambiguous");
    wrong("set cli screen-length -1", "-1", "a number from 0");
    ok("configure");
    wrong("set toys box", "", "incomplete; expected <name>");
    wrong("set toys box a size", "", "incomplete");
    wrong("set toys box a size many", "many", "");
    wrong("set toys box a size 5 size 6 nonsense", "nonsense", "unknown word");
    wrong("set toys toy acme 0 colour red", "0", "1");
    wrong("set toys toy acme 1 colour blue", "blue", "red");
    wrong("set toys toy acme 1 gateway 192.0.2.999", "192", "");
    wrong("set toys toy acme 1 net 192.0.2.1/24", "192", "");
    wrong("set toys box a state toys 5", "state", "unknown");
    wrong("commit confirmed 0", "0", "a time is expected");
    wrong("commit confirmed 25h", "25h", "a time is expected");
    wrong("commit check wait", "wait", "");
    wrong("rollback 50", "50", "0 to 49");
    wrong("top toop", "toop", "");
    assert_int_equal(run("rollback 7"), CLI_FAILED);
    mentions("no rollback 7");
    assert_int_equal(run("delete toys box nowhere"), CLI_FAILED);
    /* what a whole object lacks is said at commit, with the place, and changes nothing */
    ok("set toys toy acme 1 price 0");
    assert_int_equal(run("commit check"), CLI_FAILED);
    mentions("Only red toys are free");
    mentions("[edit toys toy acme 1");
    assert_int_equal(run("commit"), CLI_FAILED);
    ok("rollback 0");
    ok("set toys toy acme 1 box nowhere");
    assert_int_equal(run("commit"), CLI_FAILED);
    mentions("nowhere");
    says("run show configuration toys", "");
}

/* ---- several editors
 * ------------------------------------------------------------------------------ */

static void private_conflict(void **state) {
    (void)state;
    struct cli_session *other = session(false);
    ok("configure private");
    assert_int_equal(run_in(other, "configure private"), CLI_OK);
    ok("set toys box a size 1");
    assert_int_equal(run_in(other, "set toys box a size 2"), CLI_OK);
    assert_int_equal(run_in(other, "set toys box b size 2"), CLI_OK);
    ok("commit");
    assert_int_equal(run_in(other, "commit"), CLI_FAILED);
    assert_string_equal(w.fault.path, "/weft-toy:toys/box=a");
    assert_int_equal(w.fault.code, ERR_CONFLICT);
    assert_int_equal(run_in(other, "run show configuration toys | display set"), CLI_OK);
    assert_string_equal(buf_cstr(&w.text), "set toys box a size 1\n");
    assert_int_equal(run_in(other, "update"), CLI_OK);
    mentions("toys box a");
    assert_int_equal(run_in(other, "commit"), CLI_OK);
    /* what the one edits privately the other does not see */
    ok("set toys box c");
    assert_int_equal(run_in(other, "show toys box c | display set"), CLI_FAILED);
    cli_session_free(other);
    says("show toys box b | display set", "set toys box b size 2\n");
}

static void merge_leaf_by_leaf(void **state) {
    (void)state;
    struct cli_session *other = session(false);
    ok("configure");
    ok("set toys toy acme 1 price 2.5 colour red");
    ok("commit");
    ok("exit");
    ok("configure private");
    assert_int_equal(run_in(other, "configure private"), CLI_OK);
    ok("set toys toy acme 1 colour green");
    assert_int_equal(run_in(other, "set toys toy acme 1 price 3"), CLI_OK);
    ok("commit");
    assert_int_equal(run_in(other, "commit"), CLI_FAILED);
    assert_int_equal(run_in(other, "update"), CLI_OK);
    assert_int_equal(run_in(other, "commit"), CLI_OK);
    says("show toys | display set", "set toys toy acme 1 colour green\n"
                                    "set toys toy acme 1 price 3.0\n");
    cli_session_free(other);
}

static void exclusive(void **state) {
    (void)state;
    struct cli_session *other = session(false);
    ok("configure exclusive");
    assert_int_equal(run_in(other, "configure exclusive"), CLI_FAILED);
    assert_int_equal(w.fault.code, ERR_LOCKED);
    assert_int_equal(run_in(other, "configure"), CLI_OK);
    assert_int_equal(run_in(other, "set toys box a"), CLI_FAILED);
    mentions("locked by admin");
    ok("set toys box z");
    ok("exit"); /* edits of an exclusive session are dropped */
    assert_int_equal(run_in(other, "set toys box a"), CLI_OK);
    assert_int_equal(run_in(other, "show toys | display set"), CLI_OK);
    assert_string_equal(buf_cstr(&w.text), "set toys box a\n");
    assert_int_equal(run("configure exclusive"), CLI_FAILED);
    mentions("not committed");
    cli_session_free(other);
}

static void confirmed(void **state) {
    (void)state;
    ok("configure");
    ok("set toys box a size 1");
    ok("commit");
    ok("set toys box a size 2");
    ok("commit confirmed 1");
    mentions("taken back in 60 s");
    says("run show configuration toys | display set", "set toys box a size 2\n");
    clock_fake_advance(&w.clock, 61 * NS_PER_S);
    while (core_step(w.core) > 0) {
    }
    says("run show configuration toys | display set", "set toys box a size 1\n");
    ok("set toys box a size 3");
    ok("commit confirmed 30s");
    ok("commit");
    mentions("is confirmed");
    clock_fake_advance(&w.clock, 61 * NS_PER_S);
    while (core_step(w.core) > 0) {
    }
    says("run show configuration toys | display set", "set toys box a size 3\n");
    ok("set toys box a size 4");
    ok("commit wait 5");
    mentions("applied by every target");
}

/* ---- load
 * -------------------------------------------------------------------------------------------- */

static void loading(void **state) {
    (void)state;
    ok("configure");
    w.answer = "## a comment\n"
               "toys {\n"
               "    box a { size 5; } /* two\n lines */\n"
               "    box \"b\";\n"
               "    toy acme 1 {\n"
               "        colour red; price 2.00;\n"
               "    }\n"
               "}\n";
    ok("load merge terminal");
    mentions("load complete");
    says("show | display set", "set toys box a size 5\nset toys box b\n"
                               "set toys toy acme 1 colour red\n"
                               "set toys toy acme 1 price 2.0\n");
    ok("commit");
    /* what show prints can be loaded again, in every format */
    static const char *const formats[] = {"text", "json", "xml", "set"};
    for (size_t i = 0; i < 4; i++) {
        char line[64];
        snprintf(line, sizeof line, "show | display %s", formats[i]);
        ok(line);
        char *copy = mem_strdup(buf_cstr(&w.text));
        ok("delete");
        w.answer = copy;
        ok("load override somefile");
        if (run("show | compare") != CLI_OK || w.text.len > 0) {
            fail_msg("%s: %s\n%s", formats[i], copy, buf_cstr(&w.text));
        }
        mem_free(copy);
    }
    w.answer = "{\"weft-toy:toys\":{\"box\":[{\"name\":\"a\"}]}}";
    ok("load replace terminal");
    says("show | compare | display set", "delete toys box a size\n");
    ok("load override terminal");
    says("show | display set", "set toys box a\n");
    ok("rollback");
    w.answer = "set box c\ndelete box b\n";
    ok("edit toys");
    ok("load set terminal");
    says("show | compare | display set", "delete toys box b\nset toys box c\n");
    ok("top");
    ok("rollback");
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"toys {\n box a {\n size 5;\n}", "line 4: a { is never closed"},
        {"toys {\n box a { size; }\n}", "line 2"},
        {"toys { box a { colour red; } }", "\"colour\""},
        {"toys { box a { size 5 } }", "has no ;"},
        {"}", "} without {"},
        {"set toys box a size 5\nset toys bxo b\n", "line 2"},
        {"{\"weft-toy:toys\":", ""},
        {"<toys xmlns=\"urn:weft:toy\"><box>", ""},
        {"{\"weft-toy:toys\":{\"bxo\":[]}}", "bxo"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        w.answer = bad[i].text;
        assert_int_equal(run("load merge terminal"), CLI_FAILED);
        mentions(bad[i].why);
        says("show | compare", "");
    }
    w.answer = NULL;
    assert_int_equal(run("load merge nofile"), CLI_FAILED);
}

/* ---- pipes and the rest
 * -------------------------------------------------------------------------------- */

static void pipes(void **state) {
    (void)state;
    ok("configure");
    for (int i = 0; i < 30; i++) {
        char line[64];
        snprintf(line, sizeof line, "set toys box b%02d size %d", i, i);
        ok(line);
    }
    ok("commit and-quit");
    says("show configuration | display set | count", "Count: 30 lines\n");
    says("show configuration | display set | match B0[12] | trim 4",
         "toys box b01 size 1\ntoys box b02 size 2\n");
    says("show configuration | display set | last 1", "set toys box b29 size 29\n");
    says("show configuration | display set | last | count", "Count: 24 lines\n");
    says("show configuration | display set | except b | count", "Count: 0 lines\n");
    says("show configuration | display set | find b28 | count", "Count: 2 lines\n");
    wrong("show configuration | save x y", "y", "nothing may follow");
    assert_int_equal(run("show configuration | save"), CLI_SYNTAX);
    ok("show configuration | save some.conf");
    assert_string_equal(w.saved, "some.conf");
    wrong("help | display json", "display", "unknown");
}

static void questions(void **state) {
    (void)state;
    cli_session_free(w.s);
    w.s = session(true);
    ok("configure");
    ok("set toys box a");
    w.answer = "no";
    ok("delete");
    assert_int_equal(w.asked, 1);
    says("show | display set", "set toys box a\n");
    w.answer = "yes";
    ok("delete");
    says("show | display set", "");
    /* a secret without its value is asked for, twice, and never shown */
    w.answer = "12345";
    ok("set toys box a lock");
    assert_int_equal(w.asked, 2);
    ok("show");
    assert_null(strstr(buf_cstr(&w.text), "12345"));
    ok("set toys box a lock 54321");
    assert_true(cli_session_secret(w.s));
    ok("run show cli history");
    assert_null(strstr(buf_cstr(&w.text), "54321"));
    w.answer = "no";
    ok("exit");
    struct buf prompt = BUF_INIT;
    cli_prompt(w.s, &prompt);
    buf_free(&prompt);
}

static void the_rest(void **state) {
    (void)state;
    ok("help");
    ok("help apropos colour");
    mentions("set toys toy colour");
    ok("help statement toys toy colour");
    mentions("dark-blue");
    assert_int_equal(run("help apropos zzzz"), CLI_FAILED);
    ok("show cli");
    ok("show version");
    ok("show system users");
    mentions("admin");
    ok("show system users | display json");
    mentions("\"user\"");
    ok("show system storage");
    ok("set cli timestamp on");
    ok("show cli");
    mentions("2023-11-14T");
    ok("set cli idle-timeout 5");
    assert_int_equal(cli_session_idle_timeout(w.s), 300);
    ok("");
    ok("   # a comment");
    w.stop_after = 3;
    assert_int_equal(run("monitor events"), CLI_INTERRUPTED);
    w.stop_after = -1;
    /* one session too many */
    struct cli_session *all[CLI_SESSIONS_PER_USER];
    struct cli_terminal t = {0};
    struct err e;
    size_t n = 0;
    while (cli_session_new(w.cli, &admin, &t, &all[n], &e) == ERR_OK) {
        n++;
        assert_true(n < CLI_SESSIONS_PER_USER);
    }
    assert_int_equal(e.code, ERR_LIMIT);
    while (n > 0) {
        cli_session_free(all[--n]);
    }
}

static void rpcs_are_commands(void **state) {
    (void)state;
    ok("configure");
    ok("set toys box crate");
    ok("commit and-quit");
    says("show toys", "toy 1 of box any\ntoy 2 of box any\n");
    says("show toys box crate broken limit 5 | last 1", "toy 2 of box crate\n");
    says("show toys limit 5 box crate | count", "Count: 2 lines\n");
    ok("show toys | display json");
    mentions("\"number\": 2");
    ok("show toys | display xml");
    mentions("<number>2</number>");
    /* no text from the service: a table from the model */
    says("show toys limit 1", "toy:\n  maker  number\n  acme   1\n  acme   2\n");
    completes("show toy", "toys ");
    completes("show toys b", "box ");
    assert_string_equal(offers("show toys box "), "<box> crate");
    assert_string_equal(offers("show toys box crate "), "<Enter> | limit broken");
    assert_string_equal(offers("show toys box crate limit "), "<limit> 7");
    completes("show toys box crate limit 7", "7 ");
    wrong("show toys broken", "broken", "unknown");
    wrong("show toys box", "", "incomplete");
    wrong("show toys limit many", "many", "");
    wrong("show toys limit 5 limit 6", "limit 6", "");
    assert_int_equal(run("show toys limit 13"), CLI_FAILED);
    mentions("unlucky");
    assert_int_equal(run("show toys | display set"), CLI_FAILED);
}

/* proves: APM-160 */
static void targets_that_refuse(void **state) {
    (void)state;
    ok("configure");
    ok("set toys box a size 1");
    ok("commit wait 5");
    mentions("applied by every target");
    ok("set toys box a size 2");
    ok("commit confirmed 1 applied");
    mentions("applied by every target");
    shop_refuses = true;
    ok("set toys box a size 3");
    assert_int_equal(run("commit wait 5"), CLI_TAKEN_BACK);
    mentions("no room on the shelf");
    says("run show configuration toys | display set", "set toys box a size 3\n");
    ok("set toys box a size 4");
    assert_int_equal(run("commit confirmed 1 applied"), CLI_TAKEN_BACK);
    mentions("taken back");
    says("run show configuration toys | display set", "set toys box a size 3\n");
    says("show toys | display set", "set toys box a size 3\n");
    ok("set toys box a size 5");
    ok("commit check");
    mentions("shelf: toys change");
    ok("run show system commit");
}

static void secrets_can_be_rendered_nowhere(void **state) {
    (void)state;
    ok("configure");
    ok("set toys box a lock 54321");
    static const char *const formats[] = {"show", "show | display json", "show | display xml",
                                          "show | display set", "show | compare"};
    for (size_t i = 0; i < 5; i++) {
        ok(formats[i]);
        assert_null(strstr(buf_cstr(&w.text), "54321"));
    }
    ok("commit");
    for (size_t i = 0; i < 5; i++) {
        ok(formats[i]);
        assert_null(strstr(buf_cstr(&w.text), "54321"));
    }
    /* and copying keeps the value */
    ok("copy toys box a to b");
    ok("commit");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(completion_and_help, setup, teardown),
        cmocka_unit_test_setup_teardown(toy_life, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_input, setup, teardown),
        cmocka_unit_test_setup_teardown(private_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(merge_leaf_by_leaf, setup, teardown),
        cmocka_unit_test_setup_teardown(exclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(confirmed, setup, teardown),
        cmocka_unit_test_setup_teardown(loading, setup, teardown),
        cmocka_unit_test_setup_teardown(pipes, setup, teardown),
        cmocka_unit_test_setup_teardown(questions, setup, teardown),
        cmocka_unit_test_setup_teardown(the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(rpcs_are_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(targets_that_refuse, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_can_be_rendered_nowhere, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
