// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/pki.h"
#include "net/stream.h"
#include "net/tls.h"

static char dir[64];

static const char *in_dir(const char *name) {
    static char path[8][128];
    static unsigned at;
    char *p = path[at++ % 8];
    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static int set_up(void **state) {
    snprintf(dir, sizeof(dir), "/tmp/pki-test-XXXXXX");
    struct err e;
    return mkdtemp(dir) == NULL ||
           pki_make_ca("test CA", 30, in_dir("ca.pem"), in_dir("ca.key"), &e) != ERR_OK;
}

static int tear_down(void **state) {
    static const char *const files[] = {"ca.pem", "ca.key", "s.pem", "s.key", "c.pem", "c.key"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        unlink(in_dir(files[i]));
    }
    return rmdir(dir);
}

static void issue(const char *cn, const char *const *sans, unsigned use, const char *cert,
                  const char *key) {
    struct err e = {0};
    struct pki_request r = {.common_name = cn, .sans = sans, .use = use, .days = 3650};
    if (pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, in_dir(cert), in_dir(key), &e) !=
        ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

static void test_files(void **state) {
    struct stat st;
    struct err e;
    issue("h", NULL, PKI_SERVER, "s.pem", "s.key");
    assert_int_equal(stat(in_dir("s.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    long long left;
    assert_int_equal(pki_expires_in(in_dir("s.pem"), time(NULL), &left, &e), ERR_OK);
    assert_true(left > 29 * 86400 && left <= 30 * 86400); /* not after the CA's own end */
    /* Another authority of the same name has not signed it. */
    bool ours = false;
    assert_int_equal(pki_issued_by(in_dir("s.pem"), in_dir("ca.pem"), &ours, &e), ERR_OK);
    assert_true(ours);
    assert_int_equal(pki_make_ca("test CA", 30, in_dir("c.pem"), in_dir("c.key"), &e), ERR_OK);
    assert_int_equal(pki_issued_by(in_dir("s.pem"), in_dir("c.pem"), &ours, &e), ERR_OK);
    assert_false(ours);
    assert_int_equal(pki_issued_by(in_dir("s.pem"), in_dir("s.key"), &ours, &e), ERR_INVALID);
    char a[65], b[65];
    assert_int_equal(pki_fingerprint(in_dir("s.pem"), a, &e), ERR_OK);
    assert_int_equal(pki_fingerprint(in_dir("ca.pem"), b, &e), ERR_OK);
    assert_int_equal(strlen(a), 64);
    assert_string_not_equal(a, b);
    static const char *const sans[] = {"DNS:weft.example.net", "IP:192.0.2.1", "IP:2001:db8::1",
                                       NULL};
    static const struct {
        const char *name;
        bool has;
    } names[] = {{"weft.example.net", true}, {"192.0.2.1", true},  {"2001:db8::1", true},
                 {"example.net", false},     {"192.0.2.2", false}, {"h", false}};
    issue("h", sans, PKI_SERVER, "s.pem", "s.key");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool has = !names[i].has;
        assert_int_equal(pki_has_name(in_dir("s.pem"), names[i].name, &has, &e), ERR_OK);
        assert_int_equal(has, names[i].has);
    }
}

static void test_refused(void **state) {
    struct err e;
    bool has;
    assert_int_equal(pki_has_name(in_dir("missing.pem"), "x", &has, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "No such file"));
    const char *cert = in_dir("s.pem"), *key = in_dir("s.key");
    struct pki_request r = {.common_name = "", .use = PKI_SERVER, .days = 1};
    assert_int_equal(pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, cert, key, &e), ERR_INVALID);
    r.common_name = "x";
    r.days = 0;
    assert_int_equal(pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, cert, key, &e), ERR_INVALID);
    r.days = 1;
    r.use = 0;
    assert_int_equal(pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, cert, key, &e), ERR_INVALID);
    r.use = PKI_SERVER;
    static const char *const bad[][2] = {
        {"IP:300.1.1.1", NULL}, {"nonsense", NULL}, {"DNS:", NULL}};
    for (size_t i = 0; i < 3; i++) {
        r.sans = bad[i];
        assert_int_equal(pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, cert, key, &e),
                         ERR_INVALID);
        assert_string_equal(e.path, bad[i][0]);
    }
    r.sans = NULL;
    assert_int_equal(pki_issue(in_dir("nosuch"), in_dir("ca.key"), &r, cert, key, &e), ERR_INVALID);
    assert_string_equal(e.path, in_dir("nosuch"));
    /* a CA whose key is another's */
    issue("other", NULL, PKI_SERVER, "s.pem", "s.key");
    assert_int_equal(
        pki_issue(in_dir("ca.pem"), in_dir("s.key"), &r, in_dir("c.pem"), in_dir("c.key"), &e),
        ERR_INVALID);
}

/* ------------------------------------------------------------------ two ends of a socketpair */

struct end {
    struct stream *s;
    bool ready, closed;
    char why[160];
    char got[64];
    size_t n;
};
static void ready(struct stream *s, void *arg) {
    ((struct end *)arg)->ready = true;
}
static void data(struct stream *s, const uint8_t *p, size_t n, void *arg) {
    struct end *e = arg;
    n = n < sizeof(e->got) - e->n ? n : sizeof(e->got) - e->n;
    memcpy(e->got + e->n, p, n);
    e->n += n;
}
static void closed(struct stream *s, const char *why, void *arg) {
    struct end *e = arg;
    e->closed = true;
    snprintf(e->why, sizeof(e->why), "%s", why);
}
static const struct stream_ops ops = {.ready = ready, .data = data, .closed = closed};

struct accept {
    struct loop *l;
    struct tls_ctx *tls;
    struct end *end;
};
static void on_accept(int fd, unsigned events, void *arg) {
    struct accept *a = arg;
    int got = accept(fd, NULL, NULL);
    a->end->s = stream_accepted(a->l, got, a->tls, &ops, a->end);
}

static void handshake(struct tls_ctx *st, struct tls_ctx *ct, const char *name, struct end *server,
                      struct end *client) {
    struct loop *l = loop_new("test");
    const char *path = in_dir("sock");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    memcpy((char *)&ss + sizeof(sa_family_t), path, strlen(path) + 1);
    unlink(path);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&ss, (socklen_t)(sizeof(sa_family_t) + strlen(path) + 1)), 0);
    assert_int_equal(listen(fd, 1), 0);
    struct accept a = {l, st, server};
    struct loop_watch *w = loop_watch_new(l, fd, LOOP_READ, on_accept, &a);
    struct stream_target t = {.unix_path = path, .tls = ct, .verify_name = name};
    client->s = stream_connect(l, &t, &ops, client);
    stream_write(client->s, "before it is ready", 18);
    for (int i = 0; i < 100 && server->n < 18 && !client->closed && !server->closed; i++) {
        loop_poll(l, 20);
    }
    loop_poll(l, 5);
    if (server->ready) {
        const struct tls_peer *p = stream_tls_peer(server->s);
        snprintf(server->why, sizeof(server->why), "%s/%d/%s", p->subject_cn, p->verified,
                 p->n_sans > 0 ? p->sans[0].value : "");
        assert_true(stream_alpn_is(server->s, "h2"));
    }
    stream_free(client->s);
    stream_free(server->s);
    loop_watch_free(w);
    close(fd);
    unlink(path);
    loop_free(l);
}

static struct tls_ctx *context(bool server, const char *cert, const char *key) {
    struct err e = {0};
    struct tls_ctx *t = NULL;
    struct tls_config c = {.cert_file = cert ? in_dir(cert) : NULL,
                           .key_file = key ? in_dir(key) : NULL,
                           .ca_file = in_dir("ca.pem"),
                           .client_auth = TLS_AUTH_OPTIONAL,
                           .alpn = TLS_ALPN_H2};
    if ((server ? tls_server_new(&c, &t, &e) : tls_client_new(&c, &t, &e)) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
    return t;
}

static void test_identity(void **state) {
    static const char *const server_names[] = {"DNS:weft.test", "IP:192.0.2.1", "IP:2001:db8::1",
                                               NULL};
    static const char *const client_names[] = {"URI:weft:bng/1", NULL};
    issue("weft.test", server_names, PKI_SERVER, "s.pem", "s.key");
    issue("bng-1", client_names, PKI_CLIENT, "c.pem", "c.key");
    struct tls_ctx *st = context(true, "s.pem", "s.key");
    struct tls_ctx *ct = context(false, "c.pem", "c.key"), *nobody = context(false, NULL, NULL);
    static const struct {
        const char *name;
        bool ok;
    } names[] = {{"weft.test", true},
                 {"192.0.2.1", true},
                 {"2001:db8::1", true},
                 {"other.test", false},
                 {"192.0.2.2", false}};
    for (size_t i = 0; i < 5; i++) {
        struct end s = {0}, c = {0};
        handshake(st, ct, names[i].name, &s, &c);
        assert_int_equal(c.ready, names[i].ok);
        if (names[i].ok) {
            assert_string_equal(s.why, "bng-1/1/weft:bng/1");
            assert_memory_equal(s.got, "before it is ready", 18);
        } else {
            assert_non_null(strstr(c.why, "mismatch"));
        }
    }
    struct end s = {0}, c = {0};
    handshake(st, nobody, "weft.test", &s, &c);
    assert_string_equal(s.why, "/0/");
    /* a server certificate does not make a client (extended key usage) */
    struct tls_ctx *wrong = context(false, "s.pem", "s.key");
    s = c = (struct end){0};
    handshake(st, wrong, "weft.test", &s, &c);
    assert_false(s.ready);
    tls_ctx_free(wrong);
    tls_ctx_free(nobody);
    tls_ctx_free(ct);
    tls_ctx_free(st);
}

static void test_reload(void **state) {
    struct err e;
    issue("one", NULL, PKI_SERVER, "s.pem", "s.key");
    struct tls_ctx *st = context(true, "s.pem", "s.key");
    assert_int_equal(tls_reload(st, &e), ERR_OK);
    FILE *f = fopen(in_dir("s.pem"), "w");
    fputs("nonsense", f);
    fclose(f);
    assert_int_equal(tls_reload(st, &e), ERR_INVALID);
    assert_string_equal(e.path, in_dir("s.pem"));
    /* the old keys are still in use */
    struct tls_ctx *ct = context(false, NULL, NULL);
    struct end s = {0}, c = {0};
    handshake(st, ct, NULL, &s, &c);
    assert_true(s.ready);
    tls_ctx_free(ct);
    tls_ctx_free(st);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
