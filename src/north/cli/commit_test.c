// SPDX-License-Identifier: Apache-2.0
/* Several editors, commits and what becomes of them, questions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "north/cli/rig.h"

static void private_conflict(void **state) {
    (void)state;
    struct cli_session *other = rig_session("admin", false);
    rig_ok("configure private");
    assert_int_equal(rig_run_in(other, "configure private"), CLI_OK);
    rig_ok("set toys box a size 1");
    assert_int_equal(rig_run_in(other, "set toys box a size 2"), CLI_OK);
    assert_int_equal(rig_run_in(other, "set toys box b size 2"), CLI_OK);
    rig_ok("commit");
    assert_int_equal(rig_run_in(other, "commit"), CLI_FAILED);
    assert_string_equal(rig.fault.path, "/weft-toy:toys/box=a");
    assert_int_equal(rig.fault.code, ERR_CONFLICT);
    assert_string_equal(rig.shown, "[edit toys box a]\n" /* the place once */
                                   "changed by somebody else since this candidate began");
    assert_int_equal(rig_run_in(other, "run show configuration toys | display set"), CLI_OK);
    assert_string_equal(buf_cstr(&rig.text), "set toys box a size 1\n");
    assert_int_equal(rig_run_in(other, "update"), CLI_OK);
    rig_mentions("toys box a");
    assert_int_equal(rig_run_in(other, "commit"), CLI_OK);
    /* several: the first is the place, the text has the others */
    rig_ok("update");
    rig_ok("set toys box a size 3");
    rig_ok("set toys box b size 3");
    assert_int_equal(rig_run_in(other, "set toys box a size 4"), CLI_OK);
    assert_int_equal(rig_run_in(other, "set toys box b size 4"), CLI_OK);
    rig_ok("commit");
    assert_int_equal(rig_run_in(other, "commit"), CLI_FAILED);
    assert_string_equal(rig.shown, "[edit toys box a]\nchanged by somebody else since this "
                                   "candidate began; so were toys box b");
    assert_int_equal(rig_run_in(other, "rollback"), CLI_OK);
    /* what the one edits privately the other does not see */
    rig_ok("set toys box c");
    assert_int_equal(rig_run_in(other, "show toys box c | display set"), CLI_FAILED);
    cli_session_free(other);
    rig_says("show toys box b | display set", "set toys box b size 3\n");
}

static void merge_leaf_by_leaf(void **state) {
    (void)state;
    struct cli_session *other = rig_session("admin", false);
    rig_ok("configure");
    rig_ok("set toys toy acme 1 price 2.5 colour red");
    rig_ok("commit");
    rig_ok("exit");
    rig_ok("configure private");
    assert_int_equal(rig_run_in(other, "configure private"), CLI_OK);
    rig_ok("set toys toy acme 1 colour green");
    assert_int_equal(rig_run_in(other, "set toys toy acme 1 price 3"), CLI_OK);
    rig_ok("commit");
    assert_int_equal(rig_run_in(other, "commit"), CLI_FAILED);
    assert_int_equal(rig_run_in(other, "update"), CLI_OK);
    assert_int_equal(rig_run_in(other, "commit"), CLI_OK);
    rig_says("show toys | display set", "set toys toy acme 1 colour green\n"
                                        "set toys toy acme 1 price 3.0\n");
    cli_session_free(other);
}

static void exclusive(void **state) {
    (void)state;
    struct cli_session *other = rig_session("admin", false);
    rig_ok("configure exclusive");
    assert_int_equal(rig_run_in(other, "configure exclusive"), CLI_FAILED);
    assert_int_equal(rig.fault.code, ERR_LOCKED);
    assert_int_equal(rig_run_in(other, "configure"), CLI_OK);
    assert_int_equal(rig_run_in(other, "set toys box a"), CLI_FAILED);
    rig_mentions("locked by admin");
    rig_ok("set toys box z");
    rig_ok("exit"); /* edits of an exclusive session are dropped */
    assert_int_equal(rig_run_in(other, "set toys box a"), CLI_OK);
    assert_int_equal(rig_run_in(other, "show toys | display set"), CLI_OK);
    assert_string_equal(buf_cstr(&rig.text), "set toys box a\n");
    assert_int_equal(rig_run("configure exclusive"), CLI_FAILED);
    rig_mentions("not committed");
    cli_session_free(other);
}

/* Edits in the shared candidate belong to somebody: the others hear of it in time. */
static void each_others_edits(void **state) {
    (void)state;
    cli_session_free(rig.s);
    rig.s = rig_session("admin", true);
    struct cli_session *bob = rig_session("bob", false);
    assert_int_equal(rig_run_in(bob, "configure"), CLI_OK);
    assert_string_equal(buf_cstr(&rig.notes), "");
    assert_int_equal(rig_run_in(bob, "set toys box b size 2"), CLI_OK);
    rig_ok("configure private");
    rig_mentions("Also editing: bob session");
    rig_mentions("the shared candidate has edits of bob");
    rig_ok("exit");
    rig_ok("configure");
    rig_mentions("the candidate has edits of bob that are not committed");
    rig_ok("set toys box a size 1");
    rig_ok("status");
    rig_mentions("edits of bob, admin");
    rig_mentions("shared candidate, this one");
    rig_ok("commit check");
    rig_mentions("edits of bob are in the candidate too");
    rig.answer = "no";
    assert_int_equal(rig_run("commit"), CLI_FAILED);
    rig_mentions("nothing was changed");
    rig_says("run show configuration toys", "");
    rig.answer = "yes";
    rig_ok("commit");
    assert_int_equal(rig.asked, 1);
    rig_says("run show configuration toys | display set",
             "set toys box a size 1\nset toys box b size 2\n");
    /* one's own edits are no surprise, nor those of a script's user to the script */
    rig_ok("set toys box a size 3");
    rig_ok("commit");
    assert_int_equal(rig.asked, 0);
    rig_ok("set toys box a size 4");
    assert_int_equal(rig_run_in(bob, "commit"), CLI_OK);
    rig_mentions("warning: edits of admin are in the candidate too");
    rig_ok("run show system users");
    rig_mentions("configuring");
    rig_ok("exit");
    cli_session_free(bob);
}

static void confirmed(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box a size 1");
    rig_ok("commit");
    rig_ok("set toys box a size 2");
    rig_ok("commit confirmed 1");
    rig_mentions("is made for now");
    rig_mentions("taken back in 60 s");
    rig_says("run show configuration toys | display set", "set toys box a size 2\n");
    rig_later(61);
    rig_says("run show configuration toys | display set", "set toys box a size 1\n");
    rig_mentions("commit 2 was taken back by commit 3: it was not confirmed in time");
    rig_ok("status");
    assert_null(strstr(buf_cstr(&rig.notes), "taken back")); /* it is told once */
    rig_ok("set toys box a size 3");
    rig_ok("commit confirmed 30s");
    rig_ok("commit");
    rig_mentions("is confirmed");
    rig_later(61);
    rig_says("run show configuration toys | display set", "set toys box a size 3\n");
    assert_string_equal(buf_cstr(&rig.notes), "");
    /* a further commit confirms the one that waits, and says so */
    rig_ok("set toys box a size 4");
    rig_ok("commit confirmed 30s");
    rig_ok("set toys box a size 5");
    rig_ok("commit");
    rig_mentions("is confirmed with it");
    rig_later(61);
    rig_says("run show configuration toys | display set", "set toys box a size 5\n");
    assert_string_equal(buf_cstr(&rig.notes), "");
}

/* Every open session hears that what ran is not what runs, at Enter alone too; once. */
static void all_hear_of_what_was_taken_back(void **state) {
    (void)state;
    struct cli_session *other = rig_session("bob", true);
    rig_ok("configure");
    rig_ok("set toys box a size 1");
    rig_ok("commit");
    rig_ok("set toys box a size 2");
    rig_ok("commit confirmed 30s");
    rig_ok("exit");
    rig_later(31);
    rig_ok("");
    rig_mentions("warning: commit 2 was taken back by commit 3");
    assert_int_equal(rig_run_in(other, "show cli"), CLI_OK);
    rig_mentions("warning: commit 2 was taken back by commit 3");
    rig_ok("");
    assert_int_equal(rig_run_in(other, ""), CLI_OK);
    assert_string_equal(buf_cstr(&rig.notes), "");
    struct cli_session *late = rig_session("eve", true); /* began with what runs now */
    assert_int_equal(rig_run_in(late, "show cli"), CLI_OK);
    assert_string_equal(buf_cstr(&rig.notes), "");
    /* what a commit told of itself is not told again */
    rig.shelf = SHELF_REFUSES;
    rig_ok("configure");
    rig_ok("set toys box a size 4");
    assert_int_equal(rig_run("commit confirmed 1 applied"), CLI_TAKEN_BACK);
    rig_ok("status");
    assert_string_equal(buf_cstr(&rig.notes), "");
    assert_int_equal(rig_run_in(other, ""), CLI_OK);
    rig_mentions("warning: commit 4 was taken back by commit 5: shelf refused");
    cli_session_free(other);
    cli_session_free(late);
}

/* The history says which commits went back, and to what. */
static void rollbacks_say_so(void **state) {
    (void)state;
    static const char *const lines[] = {"set toys box a size 1", "set toys box a size 2",
                                        "set toys box a size 3"};
    rig_ok("configure");
    for (size_t i = 0; i < 3; i++) {
        rig_ok(lines[i]);
        rig_ok("commit");
    }
    rig_ok("rollback 2");
    rig_ok("commit");
    rig_ok("run show system commit");
    rig_mentions("pending      rollback to commit 1\n");
    rig_ok("rollback 1");
    rig_ok("set toys box b");
    rig_ok("commit comment \"with a box\"");
    rig_ok("run show system commit");
    rig_mentions("rollback to commit 3 and edits: with a box\n");
    /* edits that were dropped, or made after it, are no rollback */
    rig_ok("rollback 1");
    rig_ok("rollback 0");
    rig_ok("set toys box c");
    rig_ok("commit");
    rig_ok("set toys box d");
    rig_ok("commit");
    rig_ok("run show system commit | last 20 | match \"^[01] \" | match rollback | count");
    assert_string_equal(buf_cstr(&rig.text), "Count: 0 lines\n");
}

/* The number of the commit that the last command told of first. */
static unsigned told_commit(void) {
    unsigned n = 0;
    assert_int_equal(sscanf(buf_cstr(&rig.text), "commit %u", &n), 1);
    return n;
}

/* The last command's output, with the commit's number written as N. */
static void told(unsigned number, const char *want) {
    char from[16];
    snprintf(from, sizeof from, "%u", number);
    struct buf out = BUF_INIT;
    for (const char *p = buf_cstr(&rig.text); *p != '\0';) {
        bool here = strncmp(p, "commit ", 7) == 0 && strncmp(p + 7, from, strlen(from)) == 0;
        buf_str(&out, here ? "commit N" : "");
        if (here) {
            p += 7 + strlen(from);
        } else {
            buf_char(&out, *p++);
        }
    }
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
}

/* Line by line what is true at that time, and never "complete" before "taken back". */
/* proves: APM-160 */
static void targets_have_their_say(void **state) {
    (void)state;
    rig_ok("configure");
    rig_ok("set toys box a size 1");
    rig_ok("commit wait 5s");
    told(told_commit(), "commit N is made and being sent to 1 target\n"
                        "  shelf: applied\n"
                        "commit N complete: applied by every target concerned\n");
    rig_ok("set system settings hostname here");
    rig_ok("commit wait 5s");
    told(told_commit(), "commit N complete: it concerns no target\n");
    rig_ok("set toys box a size 2");
    rig_ok("commit confirmed 1 applied");
    told(told_commit(), "commit N is made for now and being sent to 1 target\n"
                        "it is taken back unless every target applies it within 60 s\n"
                        "  shelf: applied\n"
                        "commit N is confirmed: applied by every target concerned\n");
    rig.shelf = SHELF_REFUSES;
    rig_ok("set toys box a size 3");
    assert_int_equal(rig_run("commit wait 5s"), CLI_TAKEN_BACK);
    told(told_commit(), "commit N is made and being sent to 1 target\n"
                        "  shelf: refused: there is no room on the shelf\n"
                        "commit N stands, but was refused as shown\n");
    rig_says("run show configuration toys | display set", "set toys box a size 3\n");
    rig_ok("set toys box a size 4");
    assert_int_equal(rig_run("commit confirmed 1 applied"), CLI_TAKEN_BACK);
    told(told_commit(),
         "commit N is made for now and being sent to 1 target\n"
         "it is taken back unless every target applies it within 60 s\n"
         "  shelf: refused: there is no room on the shelf\n"
         "commit N was taken back; nothing of it is left (rollback 1 loads the edits again)\n");
    rig_says("run show configuration toys | display set", "set toys box a size 3\n");
    rig_says("show toys | display set", "set toys box a size 3\n");
    rig_ok("rollback 1");
    rig_says("show toys | display set", "set toys box a size 4\n");
    rig_ok("rollback");
    rig.shelf = SHELF_IS_SILENT;
    rig_ok("set toys box a size 5");
    rig_ok("commit check");
    rig_mentions("shelf: toys change");
    int64_t began = clock_mono(&rig.clock);
    assert_int_equal(rig_run("commit wait 5s"), CLI_PENDING);
    rig_mentions("stands; not every target has applied it");
    assert_in_range(clock_mono(&rig.clock) - began, 5 * NS_PER_S, 60 * NS_PER_S);
    rig_ok("set toys box a size 8");
    began = clock_mono(&rig.clock);
    assert_int_equal(rig_run("commit wait 3"), CLI_PENDING); /* minutes, as with confirmed */
    assert_in_range(clock_mono(&rig.clock) - began, 180 * NS_PER_S, 1800 * NS_PER_S);
    rig_ok("set toys box a size 5");
    assert_int_equal(rig_run("commit wait 1s"), CLI_PENDING);
    rig_ok("set toys box a size 6");
    assert_int_equal(rig_run("commit confirmed 7s applied"), CLI_TAKEN_BACK);
    rig_mentions("was taken back");
    rig_says("run show configuration toys | display set", "set toys box a size 5\n");
    /* Ctrl-C ends the waiting, not the commit */
    rig_ok("set toys box a size 7");
    rig.stop_after = 3;
    assert_int_equal(rig_run("commit wait 50s"), CLI_INTERRUPTED);
    rig.stop_after = -1;
    rig_mentions("is made; see show commit");
    rig_says("run show configuration toys | display set", "set toys box a size 7\n");
    rig_ok("run show system commit");
}

static void questions(void **state) {
    (void)state;
    cli_session_free(rig.s);
    rig.s = rig_session("admin", true);
    rig_ok("configure");
    rig_ok("set toys box a");
    rig_ok("set toys toy acme 1 colour red");
    rig.answer = "no";
    rig_ok("delete");
    assert_int_equal(rig.asked, 1);
    rig_mentions("nothing was done");
    assert_string_equal(rig.prompt,
                        "Delete everything under this level (2 objects)? [yes,no] (no) ");
    rig_ok("delete toys");
    assert_string_equal(rig.prompt, "Delete 2 objects under toys? [yes,no] (no) ");
    rig.answer = ""; /* Enter alone */
    rig_ok("delete toys");
    rig.answer = "perhaps";
    rig_ok("delete toys");
    assert_int_equal(rig.asked, 3);
    rig.answer = NULL; /* the terminal is gone */
    rig_ok("delete toys");
    rig_says("show | display set", "set toys box a\nset toys toy acme 1 colour red\n");
    rig_ok("delete toys toy"); /* one object: no question */
    assert_int_equal(rig.asked, 0);
    rig.answer = "no";
    rig_ok("delete all"); /* who can be asked is asked */
    assert_int_equal(rig.asked, 1);
    rig.answer = "YES";
    rig_ok("delete");
    rig_says("show | display set", "");
    /* a secret without its value is asked for, twice, and never shown */
    rig.answer = "12345";
    rig_ok("set toys box a lock");
    assert_int_equal(rig.asked, 2);
    rig_ok("show");
    assert_null(strstr(buf_cstr(&rig.text), "12345"));
    /* PEM is pasted, once */
    rig.answer = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----";
    rig_run("set toys box a lock");
    assert_int_equal(rig.asked, 1);
    rig_ok("set toys box a lock 54321");
    assert_true(cli_session_secret(rig.s));
    /* a key in a line that is not understood is one */
    assert_int_not_equal(rig_run("set toys bax a \"-----BEGIN EC PRIVATE KEY-----\\nx\""), CLI_OK);
    assert_true(cli_session_secret(rig.s));
    assert_int_not_equal(rig_run("set toys bax a \"-----BEGIN EC PRIVATE KEY-----\\nx"), CLI_OK);
    assert_true(cli_session_secret(rig.s));
    rig_ok("run show cli history");
    assert_null(strstr(buf_cstr(&rig.text), "54321"));
    /* edits that are not committed: shared ones stay, others would be lost */
    rig.answer = "no";
    rig_ok("exit");
    rig_says("show | display set", "set toys box a lock ********\n");
    rig.answer = "";
    rig_ok("exit");
    rig_mentions("stay in the shared candidate");
    rig_ok("configure private");
    rig_ok("set toys box b");
    rig_ok("exit");
    assert_string_equal(rig.prompt, "There are edits that are not committed and would be lost. "
                                    "Leave? [yes,no] (no) ");
    rig_says("show toys box b | display set", "set toys box b\n");
    rig.answer = "y";
    rig_ok("exit");
    rig_ok("show configuration toys");
    /* weft:confirm, with the argument in it */
    rig.answer = "no";
    rig_ok("request toys smash crate");
    assert_string_equal(rig.prompt, "Smash box crate and what is in it? [yes,no] (no) ");
    rig_mentions("nothing was done");
    rig.answer = "yes";
    rig_says("request toys smash crate", "box crate is in pieces\n");
    struct cli_session *script = rig_session("admin", false);
    assert_int_equal(rig_run_in(script, "request toys smash crate"), CLI_OK);
    assert_int_equal(rig.asked, 0);
    cli_session_free(script);
}

/* A guard rail asks whoever is there, and refuses whoever is not. */
static void guard_rails(void **state) {
    (void)state;
    cli_session_free(rig.s);
    rig.s = rig_session("admin", true);
    rig_ok("configure");
    rig_ok("set system settings guard-rails delete-objects 1");
    rig_ok("set toys box a");
    rig_ok("set toys box b");
    rig_ok("commit");
    rig.answer = "yes";
    rig_ok("delete toys");
    rig.answer = "no";
    assert_int_equal(rig_run("commit"), CLI_FAILED);
    assert_string_equal(rig.prompt, "Commit all the same? [yes,no] (no) ");
    rig_mentions("this would delete 2 objects");
    rig_mentions("[edit system settings guard-rails delete-objects]");
    rig_mentions("commit failed: nothing was changed");
    rig_says("run show configuration toys | display set | count", "Count: 2 lines\n");
    struct cli_session *script = rig_session("admin", false);
    assert_int_equal(rig_run_in(script, "configure"), CLI_OK);
    assert_int_equal(rig_run_in(script, "commit"), CLI_FAILED);
    rig_mentions("this would delete 2 objects");
    assert_int_equal(rig_run_in(script, "commit check"), CLI_FAILED);
    cli_session_free(script);
    rig.answer = "yes";
    rig_ok("commit");
    assert_int_equal(rig.asked, 1);
    rig_says("run show configuration toys", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(private_conflict, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(merge_leaf_by_leaf, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(exclusive, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(each_others_edits, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(confirmed, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(all_hear_of_what_was_taken_back, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(rollbacks_say_so, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(questions, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(targets_have_their_say, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(guard_rails, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
