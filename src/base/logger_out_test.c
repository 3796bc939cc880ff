// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/logger_out.h"

static char folder[64], path[128];
static char full[8][200]; /* files that were full */
static size_t n_full;

static void is_full(const char *p) {
    assert_true(n_full < 8);
    snprintf(full[n_full++], sizeof full[0], "%s", p);
}

static int set_up(void **state) {
    snprintf(folder, sizeof folder, "/tmp/logger-out-XXXXXX");
    n_full = 0;
    logger_on_rotate(is_full);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/weft.log", folder);
    return 0;
}

static size_t files(bool away) {
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        char p[400];
        snprintf(p, sizeof p, "%s/%s", folder, f->d_name);
        n += f->d_name[0] != '.';
        if (away && f->d_name[0] != '.') {
            unlink(p);
        }
    }
    closedir(d);
    return n;
}

static int tear_down(void **state) {
    const struct logger_outputs none = {.console = LOGGER_OFF};
    logger_set_outputs(&none);
    files(true);
    rmdir(folder);
    return 0;
}

static const char *content(const char *p) {
    static char text[65536];
    FILE *f = fopen(p, "re");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void forms(void **state) {
    struct logger_outputs o = {
        .console = LOGGER_OFF, .file = path, .file_bytes = 1 << 20, .file_format = LOGGER_TEXT};
    struct stat st;
    logger_set_outputs(&o);
    logger_out(LOGGER_WARN, "pools", "a \"word\"");
    assert_non_null(strstr(content(path), "Z WARN pools: a \"word\"\n"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    o.file_format = LOGGER_JSON;
    logger_set_outputs(&o);
    logger_out(LOGGER_ERROR, "pools", "a \"word\"");
    assert_non_null(strstr(content(path), "\"level\":\"error\",\"module\":\"pools\","
                                          "\"message\":\"a \\\"word\\\"\"}\n"));
    o.file_format = LOGGER_JOURNAL;
    logger_set_outputs(&o);
    logger_out(LOGGER_DEBUG, "pools", "text");
    assert_non_null(strstr(content(path), "\n<7>pools: text\n"));
    /* Somebody else takes the file away. */
    unlink(path);
    logger_reopen();
    logger_out(LOGGER_INFO, "pools", "anew");
    assert_string_equal(content(path), "<6>pools: anew\n");
}

static void rotation(void **state) {
    struct logger_outputs o = {.console = LOGGER_OFF,
                               .file = path,
                               .file_bytes = 105,
                               .file_format = LOGGER_JOURNAL,
                               .files_kept = 2};
    struct logger_counts before, after;
    logger_set_outputs(&o);
    logger_counts(&before);
    for (unsigned i = 0; i < 20; i++) { /* of 21 bytes each: five in a file */
        char line[32];
        snprintf(line, sizeof line, "line number %02u", i);
        logger_out(LOGGER_INFO, "a", line);
    }
    logger_counts(&after);
    assert_int_equal(after.written - before.written, 20);
    assert_int_equal(after.rotated - before.rotated, 3);
    assert_int_equal(n_full, 3);
    assert_int_equal(files(false), 3); /* the one at hand and the two newest */
    assert_int_equal(access(full[0], F_OK), -1);
    assert_non_null(strstr(content(full[1]), "line number 05\n"));
    assert_non_null(strstr(content(full[2]), "line number 14\n"));
    assert_non_null(strstr(content(path), "line number 15\n"));
    assert_non_null(strstr(content(path), "line number 19\n"));
    /* A line that is longer than a file gets one of its own. */
    char longer[300];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    logger_out(LOGGER_INFO, "a", longer);
    assert_non_null(strstr(content(path), longer));
    o.files_kept = 0;
    logger_set_outputs(&o);
    logger_out(LOGGER_INFO, "a", "the last");
    assert_int_equal(files(false), 1);
    assert_string_equal(content(path), "<6>a: the last\n");
}

static void a_folder_that_is_not_there(void **state) {
    struct logger_outputs o = {
        .console = LOGGER_OFF, .file = "/nowhere/weft.log", .file_bytes = 1 << 20};
    struct logger_counts before, after;
    logger_set_outputs(&o);
    logger_counts(&before);
    logger_out(LOGGER_INFO, "a", "x");
    logger_out(LOGGER_INFO, "a", "y");
    logger_counts(&after);
    assert_int_equal(after.not_written - before.not_written, 2);
}

static int server(int type, uint16_t *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static struct logger_outputs syslog_to(uint16_t port, bool tcp, enum logger_level level) {
    struct logger_outputs o = {.console = LOGGER_OFF, .n_syslog = 1};
    o.syslog[0] = (struct logger_syslog){.port = port, .tcp = tcp, .facility = 16, .level = level};
    assert_int_equal(ip_addr_parse("127.0.0.1", &o.syslog[0].addr, NULL), ERR_OK);
    return o;
}

static void datagrams(void **state) {
    uint16_t port;
    char got[2048];
    int fd = server(SOCK_DGRAM, &port);
    struct logger_outputs o = syslog_to(port, false, LOGGER_WARN);
    logger_set_outputs(&o);
    logger_out(LOGGER_INFO, "pools", "not for there");
    logger_out(LOGGER_WARN, "pools", "one");
    ssize_t n = recv(fd, got, sizeof got - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    unsigned pri, year;
    char host[256], name[32], module[32], rest[64];
    int pid;
    assert_int_equal(sscanf(got, "<%u>1 %u-%*s %255s %31s %d %31s - %63s", &pri, &year, host, name,
                            &pid, module, rest),
                     7);
    assert_int_equal(pri, 16 * 8 + 4);
    assert_string_equal(name, "weftd");
    assert_int_equal(pid, getpid());
    assert_string_equal(module, "pools");
    assert_string_equal(rest, "one");
    close(fd);
}

/* Reads one frame: its length in digits, a blank, so many bytes. */
static void frame(int fd, char *out) {
    char digits[16] = "", c;
    for (size_t i = 0; i < sizeof digits - 1 && read(fd, &c, 1) == 1 && c != ' '; i++) {
        digits[i] = c;
    }
    size_t want = strtoul(digits, NULL, 10), have = 0;
    assert_in_range(want, 10, 4096);
    while (have < want) {
        ssize_t n = read(fd, out + have, want - have);
        assert_true(n > 0);
        have += (size_t)n;
    }
    out[have] = '\0';
}

static void connections(void **state) {
    uint16_t port;
    char got[4097];
    int fd = server(SOCK_STREAM, &port);
    struct logger_counts before, after;
    struct logger_outputs o = syslog_to(port, true, LOGGER_INFO);
    logger_set_outputs(&o);
    logger_counts(&before);
    logger_out(LOGGER_INFO, "a", "nobody listens");
    logger_out(LOGGER_INFO, "a", "still nobody");
    assert_int_equal(listen(fd, 1), 0);
    logger_set_outputs(&o);               /* or after five seconds */
    for (unsigned i = 0; i < 3000; i++) { /* more than the other side is given the time to read */
        logger_out(LOGGER_INFO, "a",
                   "a line that is to fill what is kept for a slow server, "
                   "which is a good deal shorter than what comes");
    }
    int conn = accept(fd, NULL, NULL);
    frame(conn, got);
    assert_non_null(strstr(got, " a - a line that is to fill"));
    logger_counts(&after);
    uint64_t sent = after.sent - before.sent, not_sent = after.not_sent - before.not_sent;
    assert_in_range(sent + not_sent, 3001, 3002);
    for (uint64_t i = 1; i < sent; i++) {
        logger_out(LOGGER_ERROR, "a", "after the flood"); /* pushes what waits */
        frame(conn, got);
    }
    logger_set_outputs(&o);
    close(conn);
    close(fd);
}

LOGGER_MODULE(flooded)

static unsigned seen, said;
static void count(enum logger_level level, const char *module, const char *line, void *arg) {
    seen++;
    said += strstr(line, "lines were left out, as more than 100 a second came") != NULL;
}

static void floods(void **state) {
    logger_set_sink(count, NULL);
    logger_set_rate(100);
    for (unsigned i = 0; i < 100000; i++) {
        L_INFO("again %u", i);
    }
    assert_in_range(seen, 100, 100 + 100 * 60); /* a minute would be a very slow machine */
    unsigned before = seen;
    L_ERR("errors go on for a while");
    assert_true(seen > before);
    assert_true(said > 0);
    logger_set_rate(0);
    logger_set_sink(NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(datagrams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(floods, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
