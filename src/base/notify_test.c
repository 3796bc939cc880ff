// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/notify.h"

static int listener(const char *name, socklen_t n) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, name, n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(
        0, bind(fd, (struct sockaddr *)&at, (socklen_t)offsetof(struct sockaddr_un, sun_path) + n));
    return fd;
}

static void assert_told(int fd, const char *want) {
    char got[64];
    ssize_t n = recv(fd, got, sizeof got, 0);
    assert_int_equal(strlen(want), n);
    assert_memory_equal(want, got, (size_t)n);
}

static void a_path_and_an_abstract_name(void **state) {
    (void)state;
    char dir[] = "/tmp/notify-XXXXXX", path[64], name[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    int fd = listener(path, (socklen_t)strlen(path));
    setenv("NOTIFY_SOCKET", path, 1);
    assert_true(notify_manager("READY=1"));
    assert_told(fd, "READY=1");
    close(fd);
    unlink(path);
    assert_false(notify_manager("READY=1")); /* nobody is there */
    rmdir(dir);

    snprintf(name, sizeof name, "@weft-notify-test-%d", (int)getpid());
    char abstract[64];
    memcpy(abstract, name, sizeof name);
    abstract[0] = '\0';
    fd = listener(abstract, (socklen_t)strlen(name));
    setenv("NOTIFY_SOCKET", name, 1);
    assert_true(notify_manager("STOPPING=1"));
    assert_told(fd, "STOPPING=1");
    close(fd);
}

static void nobody_to_tell(void **state) {
    (void)state;
    char longer[200];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_manager("READY=1"));
    setenv("NOTIFY_SOCKET", "", 1);
    assert_false(notify_manager("READY=1"));
    setenv("NOTIFY_SOCKET", longer, 1);
    assert_false(notify_manager("READY=1"));
}

static void watchdog(void **state) {
    (void)state;
    char me[16], other[16];
    snprintf(me, sizeof me, "%d", (int)getpid());
    snprintf(other, sizeof other, "%d", (int)getppid());
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(0, notify_watchdog_ms());
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(15000, notify_watchdog_ms());
    setenv("WATCHDOG_PID", me, 1);
    assert_int_equal(15000, notify_watchdog_ms());
    setenv("WATCHDOG_PID", other, 1);
    assert_int_equal(0, notify_watchdog_ms());
    setenv("WATCHDOG_PID", me, 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    assert_int_equal(1, notify_watchdog_ms());
    static const char *const wrong[] = {"", "-5", "0", "soon", "12x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv("WATCHDOG_USEC", wrong[i], 1);
        assert_int_equal(0, notify_watchdog_ms());
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_an_abstract_name),
        cmocka_unit_test(nobody_to_tell),
        cmocka_unit_test(watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
