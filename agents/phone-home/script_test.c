// SPDX-License-Identifier: Apache-2.0
/* The script runner with real shells and Python. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/script.h"

static struct loop *loop;
static char dir[] = "/tmp/weft-script-XXXXXX";
static char file[64], output[64];

struct seen {
    bool done;
    int status;
    struct err e;
    char *text;
    size_t n;
};

static void done(void *arg, struct script_result *r, const struct err *e) {
    struct seen *s = arg;
    assert_false(s->done);
    s->done = true;
    s->status = r->status;
    s->e = e != NULL ? *e : (struct err){.code = ERR_OK};
    s->n = r->output.len;
    s->text = buf_take(&r->output);
}

static struct seen run_config(const struct script_config *c) {
    struct seen s = {0};
    script_start(loop, c, done, &s);
    assert_false(s.done);
    for (int i = 0; i < 60000 && !s.done; i++) {
        loop_poll(loop, 10);
    }
    assert_true(s.done);
    return s;
}

static struct seen run(const char *text, int64_t deadline_ms) {
    struct script_config c = {.file = file,
                              .text = text,
                              .n = strlen(text),
                              .args = {"one", "two"},
                              .environment = {"WEFT_SERIAL=SN1"},
                              .output_file = output,
                              .deadline_ms = deadline_ms};
    struct seen s = run_config(&c);
    assert_int_equal(access(file, F_OK), -1);
    return s;
}

/* proves: PH-061 PH-062 */
static void interpreters_are_shells_and_python(void **state) {
    static const struct {
        const char *line, *path, *arg; /* path NULL: refused */
    } cases[] = {{"#!/bin/sh\n", "/bin/sh", ""},
                 {"#! /bin/bash -e \r\necho", "/bin/bash", "-e"},
                 {"#!/usr/bin/env python3\n", "python3", ""},
                 {"#!/usr/bin/python3", "/usr/bin/python3", ""},
                 {"#!/usr/bin/perl\n", NULL, NULL},
                 {"#!/usr/bin/env -S python3 -u\n", NULL, NULL},
                 {"#!/usr/bin/env\n", NULL, NULL},
                 {"#!sh\n", NULL, NULL},
                 {"#!/no/such/sh\n", NULL, NULL},
                 {"#!/usr/bin/python3-config\n", NULL, NULL},
                 {"#!\n", NULL, NULL},
                 {"#!", NULL, NULL},
                 {"#", NULL, NULL},
                 {"", NULL, NULL},
                 {"\x7f"
                  "ELF",
                  NULL, NULL},
                 {"echo\n", NULL, NULL}};
    struct script_interpreter in;
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum err_code rc = script_interpreter(cases[i].line, strlen(cases[i].line), &in, &e);
        assert_int_equal(rc == ERR_OK, cases[i].path != NULL);
        if (rc == ERR_OK) {
            assert_non_null(strstr(in.path, cases[i].path));
            assert_string_equal(in.arg, cases[i].arg);
        }
    }
    char longest[600];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "#!/", 3);
    assert_int_equal(script_interpreter(longest, sizeof longest, &in, &e), ERR_UNSUPPORTED);
    struct seen s = run("echo no interpreter\n", 10000);
    assert_int_equal(s.e.code, ERR_UNSUPPORTED);
    assert_int_equal(s.status, -1);
    mem_free(s.text);
}

/* proves: PH-062 */
static void script_has_a_clean_world(void **state) {
    setenv("http_proxy", "http://proxy.example.com", 1);
    signal(SIGPIPE, SIG_IGN);
    struct seen s = run("#!/bin/sh\necho args $*; echo serial $WEFT_SERIAL; env | sort >&2; pwd\n"
                        "cat; ps -o pgid= -p $$ | tr -d ' '; echo $$; ls /proc/$$/fd | wc -l\n"
                        "grep SigIgn /proc/self/status\n",
                        60000);
    assert_int_equal(s.e.code, ERR_OK);
    assert_int_equal(s.status, 0);
    assert_non_null(strstr(s.text, "args one two\nserial SN1\n"));
    assert_null(strstr(s.text, "proxy"));
    assert_non_null(strstr(s.text, "\nHOME=/\nLANG=C.UTF-8\n"));
    const char *ignored = strstr(s.text, "SigIgn:\t"); /* C libraries keep signals of their own */
    assert_non_null(ignored);
    assert_int_equal(strtoull(ignored + 8, NULL, 16) & (1U << (SIGPIPE - 1)), 0);
    mem_free(s.text);
    unsetenv("http_proxy");
    s = run("#!/usr/bin/env python3\nimport sys\nprint('py', sys.argv[1:])\nsys.exit(7)\n", 60000);
    assert_int_equal(s.status, 7);
    assert_int_equal(s.e.code, ERR_REFUSED);
    assert_non_null(strstr(s.e.text, "status 7"));
    assert_string_equal(s.text, "py ['one', 'two']\n");
    mem_free(s.text);
    s = run("#!/bin/sh\nkill -9 $$\n", 60000);
    assert_int_equal(s.status, -1);
    assert_non_null(strstr(s.e.text, "signal 9"));
    mem_free(s.text);
}

/* proves: PH-062 */
static void endless_output_is_bounded(void **state) {
    struct stat st;
    struct seen s = run("#!/bin/sh\nseq 1 400000; echo the end; exit 3\n", 120000);
    assert_int_equal(s.status, 3);
    assert_int_equal(s.n, SCRIPT_OUTPUT_TAIL);
    assert_string_equal(s.text + s.n - 8, "the end\n");
    assert_int_equal(stat(output, &st), 0);
    assert_int_equal(st.st_size, SCRIPT_FILE_MAX);
    mem_free(s.text);
}

/* proves: PH-062 */
static void time_ends_for_the_whole_group(void **state) {
    struct seen s =
        run("#!/bin/sh\ntrap '' TERM\nsleep 1000 & echo $!\nwait\nwait\nsleep 1000\n", 300);
    assert_int_equal(s.status, -1);
    assert_int_equal(s.e.code, ERR_TIMEOUT);
    pid_t child = atoi(s.text);
    assert_true(child > 1);
    for (int i = 0; i < 1000 && kill(child, 0) == 0; i++) {
        usleep(10000);
    }
    assert_int_equal(kill(child, 0), -1);
    mem_free(s.text);
    /* One that ends and leaves a child with the pipe does not hold us; the child goes. */
    s = run("#!/bin/sh\nsleep 1000 & echo $!\n", 60000);
    assert_int_equal(s.status, 0);
    child = atoi(s.text);
    for (int i = 0; i < 1000 && kill(child, 0) == 0; i++) {
        usleep(10000);
    }
    assert_int_equal(kill(child, 0), -1);
    mem_free(s.text);
}

static void programs_take_input(void **state) {
    struct buf in = BUF_INIT;
    for (int i = 0; i < 300000; i++) {
        buf_str(&in, "x\n");
    }
    struct script_config c = {.file = "/usr/bin/wc",
                              .args = {"-l"},
                              .input = in.data,
                              .input_n = in.len,
                              .deadline_ms = 60000};
    struct seen s = run_config(&c);
    assert_int_equal(s.status, 0);
    assert_string_equal(s.text, "300000\n");
    mem_free(s.text);
    c.file = "/bin/true"; /* reads nothing */
    s = run_config(&c);
    assert_int_equal(s.status, 0);
    mem_free(s.text);
    c.file = "/no/such/program";
    s = run_config(&c);
    assert_int_equal(s.e.code, ERR_IO);
    assert_string_equal(s.e.path, "/no/such/program");
    mem_free(s.text);
    buf_free(&in);
}

static void cancelled_ones_call_nobody(void **state) {
    struct seen s = {0};
    struct script_config c = {.file = "/bin/sleep", .args = {"1000"}, .deadline_ms = 60000};
    struct script *x = script_start(loop, &c, done, &s);
    loop_poll(loop, 10);
    script_cancel(x);
    c.file = "/no/such/program";
    script_cancel(script_start(loop, &c, done, &s));
    loop_poll(loop, 10);
    loop_poll(loop, 10);
    assert_false(s.done);
}

static int begin(void **state) {
    loop = loop_new("test");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(file, sizeof file, "%s/script", dir);
    snprintf(output, sizeof output, "%s/output", dir);
    return 0;
}

static int end(void **state) {
    loop_free(loop);
    unlink(output);
    rmdir(dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interpreters_are_shells_and_python),
        cmocka_unit_test(script_has_a_clean_world),
        cmocka_unit_test(endless_output_is_bounded),
        cmocka_unit_test(time_ends_for_the_whole_group),
        cmocka_unit_test(programs_take_input),
        cmocka_unit_test(cancelled_ones_call_nobody),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
