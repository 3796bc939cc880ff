// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

/* ---- every sync and rename passes here: what would a loss of power leave? -------------------- */

static char history[1024];
static int fail_sync; /* this many syncs from now, with EIO; 0: none */

static void note(const char *what, const char *path) {
    const char *name = strrchr(path, '/');
    size_t n = strlen(history);
    snprintf(history + n, sizeof history - n, "%s %s;", what, name ? name + 1 : path);
}

int fsync(int fd) {
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    if (fail_sync > 0 && --fail_sync == 0) {
        errno = EIO;
        return -1;
    }
    note("sync", path);
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    note("rename", to);
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* ---------------------------------------------------------------------------------------------- */

static char folder[64];
static struct err err;

static int setup(void **state) {
    snprintf(folder, sizeof folder, "/tmp/weft-file-XXXXXX");
    assert_non_null(mkdtemp(folder));
    history[0] = '\0';
    fail_sync = 0;
    return 0;
}

static const char *in(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int teardown(void **state) {
    unlink(in("a"));
    rmdir(in("sub"));
    return rmdir(folder); /* nothing is left beside it */
}

static const char *contents(const char *path) {
    static char text[64];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n < 0 ? "(absent)" : text;
}

static void test_reading_is_bounded(void **state) {
    struct buf b = BUF_INIT;
    assert_int_equal(file_read(in("a"), 10, &b, &err), ERR_ABSENT);
    assert_string_equal(err.path, in("a"));
    assert_int_equal(file_write(in("a"), "0123456789", 10, 0600, &err), ERR_OK);
    buf_str(&b, "before ");
    assert_int_equal(file_read(in("a"), 10, &b, &err), ERR_OK);
    assert_string_equal(buf_cstr(&b), "before 0123456789");
    assert_int_equal(file_read(in("a"), 9, &b, &err), ERR_TOO_BIG);
    assert_int_equal(b.len, 17);
    assert_int_equal(file_read("/dev/zero", 1000, &b, &err), ERR_TOO_BIG);
    assert_int_equal(file_read(folder, 1000, &b, &err), ERR_IO);
    buf_free(&b);
}

static void test_whole_and_durable(void **state) {
    struct stat st;
    char want[256];
    const char *base = strrchr(folder, '/') + 1;
    mode_t before = umask(0077);
    assert_int_equal(file_write(in("a"), "one", 3, 0644, &err), ERR_OK);
    umask(before);
    assert_string_equal(contents(in("a")), "one");
    assert_int_equal(stat(in("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    /* First its contents, then its name. */
    snprintf(want, sizeof want, "sync a.new;rename a;sync %s;", base);
    assert_string_equal(history, want);
    assert_int_equal(file_write(in("a"), "two", 3, 0600, &err), ERR_OK);
    assert_string_equal(contents(in("a")), "two");
    assert_int_equal(stat(in("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_the_former_one_stays(void **state) {
    assert_int_equal(file_write(in("a"), "one", 3, 0600, &err), ERR_OK);
    fail_sync = 1;
    assert_int_equal(file_write(in("a"), "two", 3, 0600, &err), ERR_IO);
    assert_string_equal(contents(in("a")), "one");
    assert_non_null(strstr(err.path, "/a"));
    struct rlimit rl;
    getrlimit(RLIMIT_FSIZE, &rl);
    rlim_t most = rl.rlim_cur;
    signal(SIGXFSZ, SIG_IGN);
    rl.rlim_cur = 1;
    setrlimit(RLIMIT_FSIZE, &rl);
    assert_int_not_equal(file_write(in("a"), "two", 3, 0600, &err), ERR_OK);
    rl.rlim_cur = most;
    setrlimit(RLIMIT_FSIZE, &rl);
    assert_string_equal(contents(in("a")), "one");
    /* The folder's sync is part of the promise. */
    fail_sync = 2;
    assert_int_equal(file_write(in("a"), "two", 3, 0600, &err), ERR_IO);
    assert_int_equal(file_write(in("nowhere/a"), "two", 3, 0600, &err), ERR_IO);
}

static void test_a_link_in_the_way_is_not_followed(void **state) {
    assert_int_equal(symlink("/etc/passwd", in("a.new")), 0);
    assert_int_equal(file_write(in("a"), "one", 3, 0600, &err), ERR_OK);
    assert_string_equal(contents(in("a")), "one");
}

static void test_folders(void **state) {
    char want[256];
    snprintf(want, sizeof want, "sync %s;", strrchr(folder, '/') + 1);
    assert_int_equal(file_make_folder(in("sub"), 0700, &err), ERR_OK);
    assert_string_equal(history, want);
    assert_int_equal(file_make_folder(in("sub"), 0700, &err), ERR_OK); /* there already */
    assert_string_equal(history, want);
    assert_int_equal(file_make_folder(in("no/sub"), 0700, &err), ERR_IO);
    assert_int_equal(file_sync_folder_of(in("sub///"), &err), ERR_OK);
    assert_int_equal(strlen(history), 2 * strlen(want));
    assert_int_equal(file_sync_folder_of("name", &err), ERR_OK); /* in the working folder */
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_reading_is_bounded),
        T(test_whole_and_durable),
        T(test_the_former_one_stays),
        T(test_a_link_in_the_way_is_not_followed),
        T(test_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
