// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lock_file.h"

static void test_lock(void **state) {
    char folder[] = "/tmp/weft-lock-XXXXXX", path[64], holder[LOCK_HOLDER_MAX], mine[32];
    struct err e;
    int fd, other;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/lock", folder);
    snprintf(mine, sizeof mine, "%ld", (long)getpid());
    assert_int_equal(lock_file(path, &fd, holder, &e), ERR_OK);
    assert_string_equal(holder, mine);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(lock_file(path, &other, holder, &e), ERR_LOCKED);
    assert_int_equal(other, -1);
    assert_string_equal(holder, mine);
    assert_non_null(strstr(e.text, mine));
    pid_t child = fork();
    if (child == 0) {
        close(fd); /* the parent still has it */
        _exit(lock_file(path, &other, holder, &e) == ERR_LOCKED && strcmp(holder, mine) == 0 ? 0
                                                                                             : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
    assert_int_equal(lock_file(path, &fd, holder, &e), ERR_OK);
    close(fd);
    unlink(path);
    snprintf(path, sizeof path, "%s/none/lock", folder);
    assert_int_equal(lock_file(path, &fd, holder, &e), ERR_IO);
    assert_string_equal(e.path, path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
