// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/scp.h"

static const char key[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnHcs9kFwCLxuQxaJFK4E3Sv9LCmHcaTbdQbDpOjQ3C";

/* proves: APM-144 */
static void urls(void **state) {
    static const struct {
        const char *url, *login, *host;
        uint16_t port;
        const char *path;
    } good[] = {
        {"scp://noc@files.example.net/archive", "noc", "files.example.net", 22, "/archive"},
        {"scp://noc@files.example.net:2222/a/b/", "noc", "files.example.net", 2222, "/a/b"},
        {"scp://n.o-c_1@192.0.2.7:65535/", "n.o-c_1", "192.0.2.7", 65535, "/"},
        {"scp://noc@[2001:db8::1]/x", "noc", "2001:db8::1", 22, "/x"},
        {"scp://noc@[2001:db8::1]:22/x@y:z", "noc", "2001:db8::1", 22, "/x@y:z"},
    };
    static const struct {
        const char *url, *says;
    } bad[] = {
        {"", "only scp URLs"},
        {"sftp://a@b/c", "only scp URLs"},
        {"scp://b/c", "login is missing"},
        {"scp://@b/c", "login is missing"},
        {"scp://a:pw@b/c", "password has no place"},
        {"scp://a@b", "folder is missing"},
        {"scp://a@/c", "server is missing"},
        {"scp://a@:22/c", "server is missing"},
        {"scp://a@b:/c", "1 to 65535"},
        {"scp://a@b:0/c", "1 to 65535"},
        {"scp://a@b:65536/c", "1 to 65535"},
        {"scp://a@b:99999999/c", "1 to 65535"},
        {"scp://a@b:2x/c", "1 to 65535"},
        {"scp://a@[::1/c", "brackets"},
        {"scp://a@[::1]x/c", "brackets"},
        {"scp://a@[192.0.2.1]/c", "no IPv6 address"},
        {"scp://a@-oProxy/c", "characters that no name has"},
        {"scp://a@b c/d", "characters that no name has"},
        {"scp://a@b/c d", "blanks"},
        {"scp://a@b/c\xc3\xbc", "not ASCII"},
    };
    struct scp_url u;
    struct err e;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(scp_url_parse(good[i].url, &u, &e), ERR_OK);
        assert_string_equal(u.login, good[i].login);
        assert_string_equal(u.host, good[i].host);
        assert_int_equal(u.port, good[i].port);
        assert_string_equal(u.path, good[i].path);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(scp_url_parse(bad[i].url, &u, &e), ERR_INVALID);
        if (strstr(e.text, bad[i].says) == NULL) {
            fail_msg("%s: %s", bad[i].url, e.text);
        }
    }
    char longest[SCP_URL_MAX + 1];
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest, "scp://a@b/", 10);
    longest[SCP_URL_MAX] = '\0';
    assert_int_equal(scp_url_parse(longest, &u, &e), ERR_INVALID);
    longest[SCP_URL_MAX - 1] = '\0';
    assert_int_equal(scp_url_parse(longest, &u, &e), ERR_OK);
}

static void keys(void **state) {
    struct err e;
    assert_int_equal(scp_check_host_key(key, &e), ERR_OK);
    assert_int_equal(scp_check_host_key("ssh-ed25519", &e), ERR_INVALID);
    assert_int_equal(scp_check_host_key("ssh-dsa2 AAAA", &e), ERR_INVALID);
    assert_int_equal(scp_check_host_key("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIHn=", &e), ERR_INVALID);
    assert_int_equal(scp_check_private_key("", &e), ERR_INVALID);
    assert_int_equal(scp_check_private_key("====", &e), ERR_INVALID);
    assert_int_equal(scp_check_private_key("AAAA", &e), ERR_INVALID);
    assert_int_equal(scp_check_private_key("****", &e), ERR_INVALID);
}

static bool at_once(void *arg) {
    ++*(unsigned *)arg;
    return true;
}

/* Nobody is there, and somebody who never says a word while we are told to stop. */
static void unreachable(void **state) {
    const char *known[] = {key};
    unsigned asked = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    struct scp_config cfg = {.url = {.login = "a", .host = "127.0.0.1", .path = "/x"},
                             .password = "x",
                             .host_keys = known,
                             .n_host_keys = 1,
                             .seconds = 3600};
    struct scp *s = NULL;
    struct err e;
    cfg.url.port = ntohs(at.sin_port);
    assert_int_not_equal(scp_open(&cfg, &s, &e), ERR_OK); /* bound, but nobody listens */
    assert_non_null(strstr(e.text, "can't be reached"));
    assert_int_equal(listen(fd, 1), 0);
    cfg.stop = at_once;
    cfg.arg = &asked;
    assert_int_equal(scp_open(&cfg, &s, &e), ERR_TIMEOUT);
    assert_true(asked > 0);
    assert_null(s);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(keys),
        cmocka_unit_test(unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
