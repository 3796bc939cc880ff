// SPDX-License-Identifier: Apache-2.0
/* Grammar, completion, editing, loading, pipes: what one session does by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "north/cli/rig.h"

/* proves: APM-160 APM-161 */
static void completion_and_help(void **state) {
    (void)state;
    assert_non_null(strstr(rig_offers(""), "configure"));
    assert_non_null(strstr(rig_offers("sh"), "show"));
    rig_completes("conf", "configure ");
    rig_completes("show configuration to", "toys ");
    rig_completes("show conf", "configuration ");
    assert_string_equal(rig_offers("configure "), "<Enter> exclusive private |");
    assert_non_null(strstr(rig_offers("nonsense "), "! unknown word"));
    rig_ok("configure");
    rig_completes("set toy", "toys ");
    assert_string_equal(rig_offers("set toys "), "box game toy");
    assert_string_equal(rig_offers("set toys box "), "<name>");
    rig_ok("set toys box red-box size 5");
    rig_ok("set toys box \"blue-box\"");
    assert_string_equal(rig_offers("set toys box "), "<name> blue-box red-box");
    rig_completes("set toys box b", "blue-box ");
    rig_completes("set toys box ", NULL);
    /* references: names that exist; enumerations; nothing more after a leaf but its siblings */
    assert_string_equal(rig_offers("set toys toy acme 1 box "), "<box> blue-box red-box");
    assert_string_equal(rig_offers("set toys toy acme 1 colour "), "red green dark-blue");
    rig_completes("set toys toy acme 1 colour d", "dark-blue ");
    assert_non_null(strstr(rig_offers("set toys toy acme 1 colour red "), "price"));
    rig_ok("set toys toy \"big maker\" 3");
    rig_completes("delete toys toy b", "\"big maker\" ");
    rig_completes("delete toys toy \"big", "\"big maker\" ");
    assert_string_equal(rig_offers("delete toys toy \"big maker\" "), "<number> 3");
    assert_string_equal(rig_offers("show | display "), "json set text xml");
    assert_non_null(strstr(rig_offers("show | "), "match"));
    assert_non_null(strstr(rig_offers("run show "), "configuration"));
    assert_string_equal(rig_offers("delete toys box "), "<Enter> <name> blue-box red-box |");
    assert_string_equal(rig_offers("rollback "), "<Enter> <number> |");
    /* both times of commit are given alike */
    assert_string_equal(rig_offers("commit confirmed "),
                        "<Enter> <time> and-quit applied comment force wait |");
    assert_string_equal(rig_offers("commit confirmed 5 "),
                        "<Enter> and-quit applied comment force wait |");
    assert_string_equal(rig_offers("commit wait "),
                        "<Enter> <time> and-quit comment confirmed force |");
    assert_string_equal(rig_offers("commit confirmed wait "),
                        "<Enter> <time> and-quit applied comment force |");
    /* a cursor inside the line: what follows does not matter */
    struct cli_completion c;
    cli_complete(rig.s, "set to nonsense", 15, 6, &c);
    assert_string_equal(c.insert, "toys ");
    assert_int_equal(c.from, 4);
    arena_free(c.arena);
    /* help says what the model says */
    cli_complete(rig.s, "set toys box x size ", 20, 20, &c);
    assert_int_equal(c.n, 1);
    assert_non_null(strstr(c.items[0].help, "What goes in."));
    assert_non_null(strstr(c.items[0].help, "default 10"));
    arena_free(c.arena);
    /* units, the default of a choice, a single sentence without its full stop */
    cli_complete(rig.s, "set toys toy acme 1 price ", 26, 26, &c);
    assert_non_null(strstr(c.items[0].help, ", crowns"));
    arena_free(c.arena);
    cli_complete(rig.s, "set toys toy acme 1 colour ", 27, 27, &c);
    assert_string_equal(c.items[1].word, "green");
    assert_non_null(strstr(c.items[1].help, "(the default)"));
    arena_free(c.arena);
    cli_complete(rig.s, "run show ver", 12, 12, &c);
    assert_string_equal(c.items[0].help,
                        "Shows which version runs, since when, and how much it holds");
    arena_free(c.arena);
    /* a file at the terminal is for the terminal to complete */
    cli_complete(rig.s, "load merge /e", 13, 13, &c);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.items[0].kind, SUGGEST_FILE);
    assert_null(c.insert);
    arena_free(c.arena);
}

static void toy_life(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box a size 5");
    rig_ok("set toys toy acme 7 colour red price 1.50 box a");
    rig_says("show | display set", "set toys box a size 5\n"
                                   "set toys toy acme 7 colour red\n"
                                   "set toys toy acme 7 box a\n"
                                   "set toys toy acme 7 price 1.5\n");
    rig_says("show | compare", "[edit toys]\n" /* once for all that stands under it */
                               "+   box a {\n"
                               "+       size 5;\n"
                               "+   }\n"
                               "+   toy acme 7 {\n"
                               "+       colour red;\n"
                               "+       box a;\n"
                               "+       price 1.5;\n"
                               "+   }\n");
    rig_ok("commit check");
    rig_mentions("configuration check succeeds");
    rig_ok("commit comment \"first toys\"");
    rig_mentions("commit 1 is made and being sent to 1 target; see show commit 1 status\n");
    rig_says("show | compare", "");
    rig_ok("commit");
    rig_mentions("nothing to commit");
    rig_says("run show configuration toys box | display set", "set toys box a size 5\n");
    rig_ok("set toys box a size 6");
    rig_ok("delete toys toy acme 7 price");
    rig_says("show | compare | display set",
             "set toys box a size 6\ndelete toys toy acme 7 price\n");
    rig_says("show | compare", "[edit toys box a]\n"
                               "-   size 5;\n"
                               "+   size 6;\n"
                               "[edit toys toy acme 7]\n"
                               "-   price 1.5;\n");
    rig_ok("rollback");
    rig_says("show | compare", "");
    rig_ok("delete toys toy");
    rig_ok("commit and-quit");
    rig_says("show configuration toys toy | display set", "");
    rig_ok("show system commit");
    rig_mentions("first toys");
    rig_ok("configure");
    rig_ok("rollback 1");
    rig_ok("commit comment back");
    rig_says("show toys toy | display set | match colour", "set toys toy acme 7 colour red\n");
    rig_ok("exit");
    rig_ok("exit");
    assert_true(cli_session_ended(rig.s));
}

static void levels(void **state) {
    (void)state;
    struct buf prompt = BUF_INIT;
    rig_ok("configure");
    rig_ok("edit toys box b1");
    cli_prompt(rig.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit toys box b1]\nadmin@"));
    rig_ok("set size 3");
    rig_says("show | display set", "set toys box b1 size 3\n");
    rig_ok("up");
    rig_ok("set box b2");
    rig_ok("top set toys box b3 size 4");
    rig_says("top show toys box b3 | display set", "set toys box b3 size 4\n");
    rig_says("show box b2 | display set", "set toys box b2\n");
    /* exit goes back to where edit was given; up and top forget what is not above */
    rig_ok("top edit toys");
    rig_ok("edit box b2");
    rig_ok("exit");
    rig_says("show box b2 | display set", "set toys box b2\n");
    rig_ok("edit box b2");
    rig_ok("up");
    rig_ok("exit");
    rig_ok("edit toys");
    buf_clear(&prompt);
    cli_prompt(rig.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit toys]\n"));
    rig_ok("exit");
    buf_clear(&prompt);
    cli_prompt(rig.s, &prompt);
    assert_non_null(strstr(buf_cstr(&prompt), "[edit]\n"));
    buf_free(&prompt);
    rig_ok("rename toys box b2 to b9");
    rig_ok("copy toys box b9 to box b10");
    rig_says("show toys | display set | count", "Count: 4 lines\n");
    assert_int_equal(rig_run("rename toys box b1 to b3"), CLI_FAILED);
    rig_mentions("exists");
    rig_ok("delete all");
    rig_says("show", "");
}

/* A rename leaves references alone, and says which. */
static void rename_tells_of_references(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box old");
    rig_ok("set toys box other");
    rig_ok("rename toys box other to another");
    assert_string_equal(buf_cstr(&rig.notes), "");
    rig_ok("set toys toy acme 1 box old");
    rig_ok("set toys toy acme 2 box old");
    rig_ok("set toys toy acme 3 box another");
    rig_ok("commit");
    rig_ok("copy toys box old to copy");
    assert_string_equal(buf_cstr(&rig.notes), "");
    rig_ok("rename toys box old to new");
    assert_string_equal(buf_cstr(&rig.notes),
                        "warning: the old name, toys box old, is still given here; commit refuses "
                        "that:\n  toys toy acme 1 box\n  toys toy acme 2 box\n");
    assert_int_equal(rig_run("commit"), CLI_FAILED);
    rig_ok("set toys toy acme 1 box new");
    rig_ok("set toys toy acme 2 box new");
    rig_ok("commit");
}

/* A script that lost the word after delete must not empty the configuration. */
static void delete_alone_is_for_people(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box a size 1");
    rig_ok("set system settings hostname here");
    assert_int_equal(rig_run("delete"), CLI_FAILED);
    rig_mentions("a script says delete all");
    rig_ok("edit toys");
    assert_int_equal(rig_run("delete"), CLI_FAILED);
    assert_int_equal(rig_run("top delete"), CLI_FAILED);
    rig_says("top show | display set | count", "Count: 2 lines\n");
    assert_string_equal(rig_offers("delete "), "<Enter> all box game toy |");
    assert_string_equal(rig_offers("delete all "), "<Enter> |");
    rig_wrong("delete all box", "box", "nothing may follow");
    rig_ok("delete all");
    rig_says("top show | display set", "set system settings hostname here\n");
    rig_ok("set box all size 3"); /* an entry's name is a name */
    rig_ok("set box b");
    rig_ok("delete box all");
    rig_says("show | display set", "set toys box b\n");
    /* nor one whose file is empty */
    static const char *const nothing[] = {"", "# nothing\n", "{}", "\n"};
    rig_ok("top");
    for (size_t i = 0; i < 4; i++) {
        rig.answer = nothing[i];
        assert_int_equal(rig_run("load override file"), CLI_FAILED);
        rig_mentions("delete all takes everything away");
    }
    rig_ok("edit toys");
    rig_ok("top delete all");
    rig_says("top show | display set", "");
    /* no statement is called all */
    size_t n;
    const struct node *const *nodes = model_nodes(&n);
    for (size_t i = 0; i < n; i++) {
        assert_false(nodes[i]->config && strcmp(nodes[i]->name, "all") == 0);
    }
}

static void wrong_input(void **state) {
    (void)state;
    rig_wrong("shwo configuration", "shwo", "did you mean show");
    rig_wrong("show", "", "incomplete");
    rig_wrong("show configuration tyos", "tyos", "did you mean toys");
    rig_wrong("show configuration | mtach x", "mtach", "did you mean match");
    rig_wrong("show configuration | match \"[\"", "\"[\"", "regular expression");
    rig_wrong("show configuration | match (a)\\1", "(a)", "back references");
    rig_wrong("show configuration | last 0", "0", "from 1");
    rig_wrong("show configuration | display yaml", "yaml", "possible here");
    rig_wrong("show \"configuration", "\"conf", "never closed");
    rig_wrong("show running-config", "running-config", "it is called configuration here");
    rig_wrong("show\x1b[2J", "\x1b", "control character");
    rig_wrong("s c", "s", "ambiguous");
    rig_wrong("set cli screen-length -1", "-1", "a number from 0");
    rig_ok("configure");
    rig_wrong("set toys box", "", "incomplete; expected <name>");
    rig_wrong("set toys box a size", "", "incomplete");
    rig_wrong("set toys box a size many", "many", "");
    rig_wrong("set toys box a size 5 size 6 nonsense", "nonsense", "unknown word");
    rig_wrong("set toys toy acme 0 colour red", "0", "1");
    rig_wrong("set toys toy acme 1 colour blue", "blue", "red");
    rig_wrong("set toys toy acme 1 gateway 192.0.2.999", "192", "");
    rig_wrong("set toys toy acme 1 net 192.0.2.1/24", "192", "");
    rig_wrong("set toys box a state toys 5", "state", "unknown");
    rig_wrong("commit confirmed 0", "0", "a time is expected");
    rig_wrong("commit confirmed 25h", "25h", "a time is expected");
    rig_wrong("commit wait 5d", "5d", "a time is expected here: minutes, or with a unit");
    rig_wrong("commit wait 1441", "1441", "a day at most");
    rig_wrong("commit check wait", "wait", "");
    rig_wrong("rollback 50", "50", "0 to 49");
    rig_wrong("top toop", "toop", "");
    assert_int_equal(rig_run("rollback 7"), CLI_FAILED);
    rig_mentions("no rollback 7");
    assert_int_equal(rig_run("delete toys box nowhere"), CLI_FAILED);
    /* what a whole object lacks is said at commit, with the place, and changes nothing */
    rig_ok("set toys toy acme 1 price 0");
    assert_int_equal(rig_run("commit check"), CLI_FAILED);
    rig_mentions("Only red toys are free");
    rig_mentions("[edit toys toy acme 1");
    assert_int_equal(rig_run("commit"), CLI_FAILED);
    rig_ok("rollback 0");
    rig_ok("set toys toy acme 1 box nowhere");
    assert_int_equal(rig_run("commit"), CLI_FAILED);
    /* for people as it is typed, for programs as it is */
    rig_mentions("[edit toys toy acme 1 box]");
    rig_mentions("refers to toys box nowhere");
    assert_non_null(strstr(rig.fault.text, "/weft-toy:toys/box=nowhere"));
    assert_string_equal(rig.fault.path, "/weft-toy:toys/toy=acme,1/box");
    rig_says("run show configuration toys", "");
}

static void loading(void **state) {
    (void)state;
    rig_ok("configure");
    rig.answer = "## a comment\n"
                 "toys {\n"
                 "    box a { size 5; } /* two\n lines */\n"
                 "    box \"b\";\n"
                 "    toy acme 1 {\n"
                 "        colour red; price 2.00;\n"
                 "    }\n"
                 "}\n";
    rig_ok("load merge terminal");
    rig_mentions("load complete");
    rig_says("show | display set", "set toys box a size 5\nset toys box b\n"
                                   "set toys toy acme 1 colour red\n"
                                   "set toys toy acme 1 price 2.0\n");
    rig_ok("commit");
    /* what show prints can be loaded again, in every format */
    static const char *const formats[] = {"text", "json", "xml", "set"};
    for (size_t i = 0; i < 4; i++) {
        char line[64];
        snprintf(line, sizeof line, "show | display %s", formats[i]);
        rig_ok(line);
        char *copy = mem_strdup(buf_cstr(&rig.text));
        rig_ok("delete all");
        rig.answer = copy;
        rig_ok("load override somefile");
        if (rig_run("show | compare") != CLI_OK || rig.text.len > 0) {
            fail_msg("%s: %s\n%s", formats[i], copy, buf_cstr(&rig.text));
        }
        mem_free(copy);
    }
    rig.answer = "{\"weft-toy:toys\":{\"box\":[{\"name\":\"a\"}]}}";
    rig_ok("load replace terminal");
    rig_says("show | compare | display set", "delete toys box a size\n");
    rig_ok("load override terminal");
    rig_says("show | display set", "set toys box a\n");
    rig_ok("rollback");
    rig.answer = "set box c\ndelete box b\n";
    rig_ok("edit toys");
    rig_ok("load set terminal relative");
    rig_says("show | compare | display set", "delete toys box b\nset toys box c\n");
    /* without `relative` what show prints at any level is understood at any level */
    rig.answer = "set toys box c\ndelete toys box b\n";
    rig_ok("rollback");
    rig_ok("load set terminal");
    rig_says("show | compare | display set", "delete toys box b\nset toys box c\n");
    rig_ok("top");
    rig_ok("rollback");
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"toys {\n box a {\n size 5;\n}", "line 4: a { is never closed"},
        {"toys {\n box a { size; }\n}", "line 2"},
        {"toys { box a { colour red; } }", "\"colour\""},
        {"toys { box a { size 5 } }", "has no ;"},
        {"}", "} without {"},
        {"toys {\n box \"a\n size 5;\n}\n", "line 2: a quote is never closed"},
        {"toys {\n box \"a\nb\" { size x; }\n}\n", "line 3"},
        {"set toys box a\nset toys box 'b\nc\n", "line 2: the quote ' is never closed"},
        {"set toys box a size 5\nset toys bxo b\n", "line 2"},
        {"{\"weft-toy:toys\":", ""},
        {"<toys xmlns=\"urn:weft:toy\"><box>", ""},
        {"{\"weft-toy:toys\":{\"bxo\":[]}}", "bxo"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig.answer = bad[i].text;
        assert_int_equal(rig_run("load merge terminal"), CLI_FAILED);
        rig_mentions(bad[i].why);
        rig_says("show | compare", "");
    }
    rig.answer = NULL;
    assert_int_equal(rig_run("load merge nofile"), CLI_FAILED);
}

/* What compare prints as commands says the same elsewhere, the order included. */
static void compare_can_be_loaded(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys toy acme 2 part x serial 1");
    rig_ok("set toys toy acme 2 part y serial 2");
    rig_ok("commit");
    rig_ok("insert toys toy acme 2 part y before x");
    assert_string_equal(rig_offers("insert toys toy acme 2 part y after part "), "<name> y x");
    rig_ok("delete toys toy acme 2 part x serial");
    rig_ok("show | compare | display set");
    rig_mentions("insert toys toy acme 2 part y before part x");
    char *moved = mem_strdup(buf_cstr(&rig.text));
    rig_ok("rollback");
    rig.answer = moved;
    rig_ok("load set terminal");
    rig_says("show | compare | display set", moved);
    mem_free(moved);
}

static void pipes(void **state) {
    (void)state;
    rig_ok("configure");
    for (int i = 0; i < 30; i++) {
        char line[64];
        snprintf(line, sizeof line, "set toys box b%02d size %d", i, i);
        rig_ok(line);
    }
    rig_ok("commit and-quit");
    rig_says("show configuration | display set | count", "Count: 30 lines\n");
    rig_says("show configuration | display set | match B0[12] | trim 4",
             "toys box b01 size 1\ntoys box b02 size 2\n");
    rig_says("show configuration | display set | last 1", "set toys box b29 size 29\n");
    rig_says("show configuration | display set | last | count", "Count: 24 lines\n");
    rig_says("show configuration | display set | except b | count", "Count: 0 lines\n");
    rig_says("show configuration | display set | find b28 | count", "Count: 2 lines\n");
    rig_wrong("show configuration | save x y", "y", "nothing may follow");
    assert_int_equal(rig_run("show configuration | save"), CLI_SYNTAX);
    rig_ok("show configuration | save some.conf");
    assert_string_equal(rig.saved, "some.conf");
    rig_wrong("help | display json", "display", "unknown");
    rig_wrong("set toys box a", "set", "configuration mode");
    rig_wrong("commit", "commit", "enter that by configure");
    rig_wrong("set nonsense", "set", "configuration mode");
    rig_ok("set cli screen-width 80");
    rig_wrong("comit", "comit", "unknown word");
    rig_wrong("help | refresh", "refresh", "unknown");
    rig_wrong("show configuration | refresh 0", "0", "from 1 to 3600");
    rig.stop_after = 12;
    assert_int_equal(rig_run("show configuration toys box b01 | display set | refresh 2"),
                     CLI_INTERRUPTED);
    rig.stop_after = -1;
    assert_true(strncmp(buf_cstr(&rig.text), "set toys box b01 size 1\n---(2023-11-14T", 39) == 0);
    assert_non_null(strstr(buf_cstr(&rig.text), "---\nset toys box b01 size 1\n"));
}

static void the_rest(void **state) {
    (void)state;
    rig_ok("help");
    rig_ok("help apropos colour");
    rig_mentions("set toys toy colour");
    rig_ok("help statement toys toy colour");
    rig_mentions("dark-blue");
    assert_int_equal(rig_run("help apropos zzzz"), CLI_FAILED);
    /* the same while configuring; commands are shown as they are given there */
    rig_ok("help apropos smash");
    assert_int_equal(strncmp(buf_cstr(&rig.text), "request toys smash\n", 19), 0);
    rig_ok("configure");
    rig_ok("help");
    rig_mentions("rollback 1");
    rig_ok("help apropos smash");
    rig_mentions("run request toys smash\n");
    rig_ok("help statement toys toy colour");
    rig_mentions("dark-blue");
    rig_ok("exit");
    rig_ok("show cli");
    rig_ok("set cli complete-on-space off");
    assert_false(cli_session_screen(rig.s).complete_on_space);
    rig_ok("show version");
    rig_ok("show system users");
    rig_mentions("admin");
    rig_ok("show system users | display json");
    rig_mentions("\"user\"");
    rig_ok("show system storage");
    rig_ok("set cli timestamp on");
    rig_ok("show cli");
    rig_mentions("2023-11-14T");
    rig_ok("set cli idle-timeout 5");
    assert_int_equal(cli_session_idle_timeout(rig.s), 300);
    rig_ok("");
    rig_ok("   # a comment");
    rig.stop_after = 3;
    assert_int_equal(rig_run("monitor events"), CLI_INTERRUPTED);
    rig.stop_after = 3;
    assert_int_equal(rig_run("monitor log"), CLI_INTERRUPTED);
    rig.stop_after = -1;
    /* one session too many */
    struct cli_session *all[CLI_SESSIONS_PER_USER];
    struct cli_terminal t = {0};
    struct err e;
    size_t n = 0;
    while (cli_session_new(rig.cli, cli_session_actor(rig.s), &t, &all[n], &e) == ERR_OK) {
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
    rig_ok("configure");
    rig_ok("set toys box crate");
    rig_ok("commit and-quit");
    rig_says("show toys", "toy 1 of box any\ntoy 2 of box any\n");
    rig_says("show toys box crate broken limit 5 | last 1", "toy 2 of box crate\n");
    rig_says("show toys limit 5 box crate | count", "Count: 2 lines\n");
    rig_ok("show toys | display json");
    rig_mentions("\"number\": 2");
    rig_ok("show toys | display xml");
    rig_mentions("<number>2</number>");
    /* no text from the service: a table from the model */
    rig_says("show toys limit 1", "toy:\n  maker  number\n  acme   1\n  acme   2\n");
    rig_completes("show toy", "toys ");
    rig_completes("show toys b", "box ");
    assert_string_equal(rig_offers("show toys box "), "<box> crate");
    assert_string_equal(rig_offers("show toys box crate "), "<Enter> broken limit |");
    assert_string_equal(rig_offers("show toys box crate limit "), "<limit> 7");
    rig_completes("show toys box crate limit 7", "7 ");
    rig_wrong("show toys broken", "broken", "unknown");
    rig_wrong("show toys box", "", "incomplete");
    rig_wrong("show toys limit many", "many", "");
    rig_wrong("show toys limit 5 limit 6", "limit 6", "");
    assert_int_equal(rig_run("show toys limit 13"), CLI_FAILED);
    rig_mentions("unlucky");
    assert_int_equal(rig_run("show toys | display set"), CLI_FAILED);
}

static void secrets_can_be_rendered_nowhere(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box a lock 54321");
    static const char *const formats[] = {"show", "show | display json", "show | display xml",
                                          "show | display set", "show | compare"};
    for (size_t i = 0; i < 5; i++) {
        rig_ok(formats[i]);
        assert_null(strstr(buf_cstr(&rig.text), "54321"));
    }
    rig_ok("commit");
    for (size_t i = 0; i < 5; i++) {
        rig_ok(formats[i]);
        assert_null(strstr(buf_cstr(&rig.text), "54321"));
    }
    /* and copying keeps the value */
    rig_ok("copy toys box a to b");
    rig_ok("commit");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(completion_and_help, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(toy_life, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(levels, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(rename_tells_of_references, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(delete_alone_is_for_people, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(wrong_input, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(loading, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(compare_can_be_loaded, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(pipes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_rest, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(rpcs_are_commands, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(secrets_can_be_rendered_nowhere, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
