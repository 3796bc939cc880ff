// SPDX-License-Identifier: Apache-2.0
/*
 * The platform junos: answers in the form that published descriptions of the Junos XML API give
 * them, and whole exchanges with a peer that says its lines. Nothing here has met hardware.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "phone-home/platform_junos.h"
#include "phone-home/platform_junos_config.h"

#define REPLY(inside)                                                                              \
    "<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" "                                \
    "xmlns:junos=\"http://xml.juniper.net/junos/20.3R1/junos\">" inside "</rpc-reply>"
#define MEMBER(id, serial, role)                                                                   \
    "<member><member-status>Prsnt</member-status><member-id>" id "</member-id><fpc-slot>(FPC " id  \
    ")</fpc-slot><member-serial-number>" serial "</member-serial-number>"                          \
    "<member-model>ex4300-48t</member-model><member-role>" role "</member-role></member>"
#define SYSTEM                                                                                     \
    "<system-information><hardware-model>ex4300-48t</hardware-model><os-name>junos</os-name>"      \
    "<os-version>20.2R1.10</os-version><serial-number>PE0</serial-number><host-name/>"             \
    "</system-information>"
#define CHASSIS                                                                                    \
    "<virtual-chassis-information xmlns=\"http://xml.juniper.net/junos/20.3R1/x\">"                \
    "<virtual-chassis-id-information><virtual-chassis-id>1.2.3</virtual-chassis-id>"               \
    "</virtual-chassis-id-information><member-list>" MEMBER("0", "PE0", "Master*")                 \
        MEMBER("1", "PE1", "Backup")                                                               \
            MEMBER("2", "PE2", "Linecard") "<member><member-status>NotPrsnt</"                     \
                                           "member-status><member-id>3</member-id></member>"       \
                                           "</member-list></virtual-chassis-information>"
#define VERSION(v)                                                                                 \
    "<software-information><junos-version>" v "</junos-version></software-information>"
#define ITEM(re, v)                                                                                \
    "<multi-routing-engine-item><re-name>" re "</re-name>" VERSION(v) "</"                         \
                                                                      "multi-routing-engine-item>"
#define VERSIONS                                                                                   \
    "<multi-routing-engine-results>" ITEM("fpc0", "20.2R1.10") ITEM("fpc1", "20.2R1.10")           \
        ITEM("fpc2", "20.3R1.8") "</multi-routing-engine-results>"
#define FACTORY                                                                                    \
    "<configuration junos:commit-seconds=\"1\"><system><phone-home><server>https://r.example"      \
    "</server></phone-home></system></configuration>"

static struct arena *arena;
static struct err e;

static const struct dom *read_reply(const char *text) {
    const struct dom *d = NULL;
    e = (struct err){0};
    if (junos_reply_parse(text, strlen(text), "the-rpc", 1, false, arena, &d, NULL, &e) != ERR_OK) {
        return NULL;
    }
    return d;
}

static int setup(void **state) {
    arena = arena_new();
    return 0;
}

static int teardown(void **state) {
    arena_free(arena);
    return 0;
}

/* ---------------------------------------------------------------- answers */

static void identity_is_read_whatever_the_release(void **state) {
    struct junos_state s = {.own = -1};
    assert_int_equal(junos_read_system(read_reply(REPLY(SYSTEM)), &s, &e), ERR_OK);
    assert_string_equal(s.serial, "PE0");
    assert_string_equal(s.model, "ex4300-48t");
    assert_int_equal(junos_read_system(read_reply(REPLY("<system-information/>")), &s, &e),
                     ERR_INCOMPLETE);
    assert_non_null(strstr(e.text, "<serial-number>"));
    assert_string_equal(s.serial, "PE0");
    assert_int_equal(junos_read_versions(read_reply(REPLY(VERSION("20.3R1.8"))), &s, &e), ERR_OK);
    assert_string_equal(s.os_version, "20.3R1.8");
    /* What releases before <junos-version> say. */
    assert_int_equal(
        junos_read_versions(
            read_reply(REPLY("<software-information><package-information><name>junos</name>"
                             "<comment>JUNOS Base OS boot [12.3R6.6]</comment>"
                             "</package-information></software-information>")),
            &s, &e),
        ERR_OK);
    assert_string_equal(s.os_version, "12.3R6.6");
    assert_int_equal(junos_read_versions(read_reply(REPLY("")), &s, &e), ERR_INCOMPLETE);
}

static void members_and_their_roles(void **state) {
    struct junos_state s = {.own = -1};
    assert_int_equal(junos_read_members(read_reply(REPLY(CHASSIS)), &s, &e), ERR_OK);
    assert_int_equal(s.n_members, 4);
    assert_int_equal(s.own, 0);
    assert_int_equal(s.members[0].role, SZTP_MASTER);
    assert_int_equal(s.members[1].role, SZTP_BACKUP);
    assert_int_equal(s.members[2].role, SZTP_LINECARD);
    assert_true(s.members[2].up);
    assert_false(s.members[3].up);
    assert_int_equal(junos_read_versions(read_reply(REPLY(VERSIONS)), &s, &e), ERR_OK);
    assert_string_equal(s.members[1].os_version, "20.2R1.10");
    assert_string_equal(s.members[2].os_version, "20.3R1.8");
    /* A member that was away may be another box with another image. */
    assert_int_equal(
        junos_read_members(
            read_reply(
                REPLY("<virtual-chassis-information><member-list>" MEMBER("0", "PE0", "Primary*")
                          MEMBER("2", "PE9", "Backup") "</member-list>"
                                                       "</virtual-chassis-information>")),
            &s, &e),
        ERR_OK);
    assert_int_equal(s.members[0].role, SZTP_MASTER);
    assert_string_equal(s.members[0].os_version, "20.2R1.10");
    assert_string_equal(s.members[1].os_version, "");
}

static void bad_members_change_nothing(void **state) {
    struct junos_state s = {.own = -1}, was;
    static const char *const bad[] = {
        REPLY(""),
        REPLY("<virtual-chassis-information><member-list>" MEMBER(
            "10", "PE0", "Master*") "</member-list></virtual-chassis-information>"),
        REPLY("<virtual-chassis-information><member-list>" MEMBER(
            "x", "PE0", "Master*") "</member-list></virtual-chassis-information>"),
        REPLY("<virtual-chassis-information><member-list>" MEMBER(
            "1", "", "Master*") "</member-list></virtual-chassis-information>"),
        REPLY("<virtual-chassis-information><member-list>" MEMBER("1", "A", "Master*")
                  MEMBER("1", "B", "Backup") "</member-list></virtual-chassis-information>"),
    };
    assert_int_equal(junos_read_members(read_reply(REPLY(CHASSIS)), &s, &e), ERR_OK);
    was = s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(junos_read_members(read_reply(bad[i]), &s, &e), ERR_OK);
        assert_non_null(strstr(e.text, "get-virtual-chassis-information"));
        assert_memory_equal(&s, &was, sizeof s);
    }
}

static void errors_name_rpc_and_reason(void **state) {
    assert_null(read_reply(
        REPLY("<load-configuration-results><rpc-error><error-type>protocol</error-type><error-tag>"
              "operation-failed</error-tag><error-severity>error</error-severity><error-path>[edit "
              "system]</error-path><error-message>\nsyntax error\n</error-message><error-info>"
              "<bad-element>hostname</bad-element></error-info></rpc-error>"
              "</load-configuration-results>")));
    assert_int_equal(e.code, ERR_REFUSED);
    assert_string_equal(e.text, "the-rpc: [edit system]: syntax error (hostname)");
    assert_null(read_reply(REPLY(
        "<xnm:error xmlns:xnm=\"http://xml.juniper.net/xnm/1.1/xnm\"><edit-path>[edit]</edit-path>"
        "<message>commit failed</message></xnm:error>")));
    assert_string_equal(e.text, "the-rpc: [edit]: commit failed");
    assert_null(read_reply(REPLY("<rpc-error><error-tag>lock-denied</error-tag><error-severity>"
                                 "error</error-severity></rpc-error>")));
    assert_int_equal(e.code, ERR_LOCKED);
    /* What was sent is not quoted back. */
    const struct dom *d;
    static const char quoting[] = REPLY("<rpc-error><error-message>bad</error-message><error-info>"
                                        "<bad-element>pa55</bad-element></error-info></rpc-error>");
    assert_int_equal(junos_reply_parse(quoting, strlen(quoting), "r", 1, true, arena, &d, NULL, &e),
                     ERR_REFUSED);
    assert_null(strstr(e.text, "pa55"));
    /* An element <error> of the data is none. */
    assert_non_null(read_reply(REPLY("<error>3</error>")));
    static const char *const none[] = {"",
                                       "junk",
                                       "<rpc-reply>",
                                       "<hello/>",
                                       "<rpc-reply message-id=\"7\"/>",
                                       "<!DOCTYPE a><rpc-reply/>",
                                       "<rpc-reply>\xff</rpc-reply>"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(read_reply(none[i]));
        assert_int_equal(e.code, ERR_MALFORMED);
        assert_int_equal(strncmp(e.text, "the-rpc: ", 9), 0);
    }
}

static void warnings_are_no_errors(void **state) {
    struct buf w = BUF_INIT;
    const struct dom *d;
    static const char text[] =
        REPLY("<rpc-error><error-severity>warning</error-severity><error-message>mgmt is slow"
              "</error-message></rpc-error><xnm:warning xmlns:xnm=\"http://xml.juniper.net/xnm/1.1/"
              "xnm\"><message>a commit script says hello</message></xnm:warning><ok/>");
    assert_int_equal(junos_reply_parse(text, strlen(text), "r", 1, false, arena, &d, &w, &e),
                     ERR_OK);
    assert_string_equal(buf_cstr(&w), "r: mgmt is slow\nr: a commit script says hello\n");
    assert_int_equal(junos_read_done(d, "r", &e), ERR_OK);
    buf_free(&w);
}

static void what_was_done_is_said(void **state) {
    assert_int_equal(junos_read_done(read_reply(REPLY("")), "lock", &e), ERR_INCOMPLETE);
    assert_int_equal(
        junos_read_done(read_reply(REPLY("<commit-results><routing-engine><name>fpc0</name>"
                                         "<commit-success/></routing-engine></commit-results>")),
                        "commit", &e),
        ERR_OK);
    assert_int_equal(
        junos_read_output(read_reply(REPLY("<output>Installing</output><package-result>0"
                                           "</package-result>")),
                          "request-package-add", &e),
        ERR_OK);
    assert_int_equal(
        junos_read_output(read_reply(REPLY("<output>Installing\nERROR: no room</output>"
                                           "<package-result>1</package-result>")),
                          "request-package-add", &e),
        ERR_REFUSED);
    assert_string_equal(e.text, "request-package-add: Installing ERROR: no room");
    assert_int_equal(junos_read_output(read_reply(REPLY("<output>a\nERROR: no room</output>")),
                                       "request-package-add", &e),
                     ERR_REFUSED);
    assert_int_equal(
        junos_read_output(read_reply(REPLY("<output>fine</output>")), "request-package-add", &e),
        ERR_OK);
}

#define COMMIT(n, log)                                                                             \
    "<commit-history><sequence-number>" n "</sequence-number><user>root</user><client>netconf"     \
    "</client><date-time>x</date-time><log>" log "</log></commit-history>"
static void the_history_tells_what_is_in_force(void **state) {
    struct junos_history h;
    assert_int_equal(junos_read_history(read_reply(REPLY("<commit-information/>")), &h, &e),
                     ERR_OK);
    assert_int_equal(h.newest, JUNOS_NONE);
    assert_int_equal(h.last, JUNOS_NONE);
    assert_int_equal(
        junos_read_history(
            read_reply(REPLY("<commit-information>" COMMIT("0", "weft-phone-home: confirm") COMMIT(
                "1", "weft-phone-home: apply") COMMIT("2", "hand made")
                                 COMMIT("3", "weft-phone-home: rollback") "</commit-information>")),
            &h, &e),
        ERR_OK);
    assert_int_equal(h.newest, JUNOS_CONFIRM);
    assert_int_equal(h.last, JUNOS_APPLY);
    assert_int_equal(h.at, 1);
    assert_int_equal(junos_read_history(read_reply(REPLY("<commit-information>" COMMIT(
                                            "x", "") "</commit-information>")),
                                        &h, &e),
                     ERR_INVALID);
    assert_int_equal(junos_read_history(read_reply(REPLY("")), &h, &e), ERR_INCOMPLETE);
}

static void configuration_is_looked_at(void **state) {
    struct junos_state s = {.own = -1};
    assert_int_equal(junos_read_configuration(read_reply(REPLY(FACTORY)), &s, &e), ERR_OK);
    assert_true(s.phone_home && !s.root_set && !s.frozen);
    assert_int_equal(
        junos_read_configuration(
            read_reply(REPLY("<configuration><groups><name>weft-phone-home</name></groups><system>"
                             "<root-authentication><encrypted-password>x</encrypted-password>"
                             "</root-authentication></system></configuration>")),
            &s, &e),
        ERR_OK);
    assert_true(!s.phone_home && s.root_set && s.frozen);
}

/* PH-061, PH-063 */
static void conveyed_configurations(void **state) {
    struct buf b = BUF_INIT;
    enum junos_format f;
    size_t at;
    const char *action;
#define PARSE(s) junos_config_parse(s, sizeof s - 1, &f, &at, &action, &e)
    static const char xml[] = "<?xml version=\"1.0\"?>\n<!-- a --><configuration/>";
    assert_int_equal(PARSE(xml), ERR_OK);
    assert_int_equal(f, JUNOS_XML);
    assert_string_equal(xml + at, "<configuration/>");
    assert_null(action);
    assert_int_equal(PARSE("<configuration operation=\"override\"/>"), ERR_OK);
    assert_string_equal(action, "override");
    assert_int_equal(PARSE("<configuration operation=\"guess\"/>"), ERR_BAD_ATTRIBUTE);
    assert_int_equal(PARSE("# a\n\n# b\nset system host-name a\n"), ERR_OK);
    assert_int_equal(f, JUNOS_SET);
    assert_int_equal(PARSE("system { host-name a; }"), ERR_OK);
    assert_int_equal(f, JUNOS_TEXT);
    assert_int_equal(PARSE("  \n"), ERR_INVALID);
    assert_int_equal(PARSE("set a\0b"), ERR_INVALID);
    assert_int_equal(PARSE("<rpc><configuration/></rpc>"), ERR_INVALID);
    assert_int_equal(PARSE("<configuration><a></configuration>"), ERR_MALFORMED);
    assert_int_equal(PARSE("<!DOCTYPE a><configuration/>"), ERR_MALFORMED);
    assert_int_equal(PARSE("<configuration><!-- ]]>]]> --></configuration>"), ERR_INVALID);
    assert_int_equal(junos_body_load("a < b;", 6, SZTP_REPLACE, &b, &e), ERR_OK);
    assert_string_equal(buf_cstr(&b), "<load-configuration action=\"override\" format=\"text\">"
                                      "<configuration-text>a &lt; b;</configuration-text>"
                                      "</load-configuration>");
    buf_clear(&b);
    assert_int_equal(junos_body_load("# a\n set a b\n\n  # c\nset d", 25, SZTP_MERGE, &b, &e),
                     ERR_OK);
    assert_string_equal(buf_cstr(&b), "<load-configuration action=\"set\" format=\"text\">"
                                      "<configuration-set>set a b\nset d</configuration-set>"
                                      "</load-configuration>");
    assert_int_equal(junos_body_load("set a", 5, SZTP_REPLACE, &b, &e), ERR_UNSUPPORTED);
    /* Framing that would end the message is escaped in text. */
    buf_clear(&b);
    assert_int_equal(junos_body_load("a ]]>]]>;", 9, SZTP_MERGE, &b, &e), ERR_OK);
    assert_null(strstr(buf_cstr(&b), "]]>]]>"));
    buf_clear(&b);
    junos_body_commit("apply", true, 60001, &b);
    assert_string_equal(buf_cstr(&b),
                        "<commit-configuration><synchronize/><confirmed/><confirm-timeout>2"
                        "</confirm-timeout><log>weft-phone-home: apply</log>"
                        "</commit-configuration>");
    buf_free(&b);
}

/* ---------------------------------------------------------------- exchanges */

enum { LINES_MAX = 24 };
struct line { /* the client asks for something that has this in it, and is answered so */
    const char *asked, *answer;
};

static struct {
    struct loop *loop;
    struct loop_watch *accepting, *reading[8];
    int listener, fds[8];
    size_t n_fds;
    const struct line *lines;
    bool bad;
    struct buf in[8];
    char dir[40];
    struct junos_config config;
    struct platform *p;
    const struct platform_ops *o;
    uint64_t done;
    struct err err;
    unsigned members, primary;
} t;

static const struct line looks[] = {
    {"<get-system-information/>", SYSTEM},
    {"<get-virtual-chassis-information/>", CHASSIS},
    {"<get-software-information><all-members/>", VERSIONS},
    {"<get-configuration database=\"committed\">", FACTORY},
    {NULL, NULL},
};

/* The first line that fits; those of the exchange at hand before those of looks. */
static const char *answer_to(const char *request) {
    for (const struct line *l = t.lines; l != NULL && l->asked != NULL; l++) {
        if (strstr(request, l->asked) != NULL) {
            return l->answer;
        }
    }
    for (const struct line *l = looks; l->asked != NULL; l++) {
        if (strstr(request, l->asked) != NULL) {
            return l->answer;
        }
    }
    t.bad = true;
    print_error("nobody expected %s\n", request);
    return "<rpc-error><error-message>unexpected</error-message></rpc-error>";
}

static void on_request(int fd, unsigned events, void *arg) {
    size_t i = (size_t)(uintptr_t)arg;
    char piece[4096];
    ssize_t n = read(fd, piece, sizeof piece);
    if (n <= 0) {
        loop_watch_set(t.reading[i], 0);
        return;
    }
    buf_add(&t.in[i], piece, (size_t)n);
    const char *end;
    while ((end = strstr(buf_cstr(&t.in[i]), "]]>]]>")) != NULL) {
        size_t len = (size_t)(end - (const char *)t.in[i].data);
        char *request = mem_strndup((const char *)t.in[i].data, len);
        buf_consume(&t.in[i], len + 6);
        const char *id = strstr(request, "message-id=\"");
        if (id != NULL) {
            struct buf b = BUF_INIT;
            buf_printf(&b,
                       "<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" "
                       "xmlns:junos=\"http://xml.juniper.net/junos/12.3R6/junos\" "
                       "message-id=\"%d\">\n%s\n</rpc-reply>\n]]>]]>\n",
                       atoi(id + 12), answer_to(request));
            assert_int_equal(write(fd, b.data, b.len), b.len);
            buf_free(&b);
        }
        mem_free(request);
    }
}

static void on_accept(int fd, unsigned events, void *arg) {
    static const char hello[] =
        "<!-- No zombies were killed during the creation of this user interface -->\n"
        "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">\n <capabilities>\n  <capability>"
        "urn:ietf:params:netconf:base:1.0</capability>\n </capabilities>\n <session-id>9"
        "</session-id>\n</hello>\n]]>]]>\n";
    size_t i = t.n_fds++;
    assert_true(i < 8);
    t.fds[i] = accept(fd, NULL, NULL);
    assert_int_equal(write(t.fds[i], hello, sizeof hello - 1), sizeof hello - 1);
    t.reading[i] = loop_watch_new(t.loop, t.fds[i], LOOP_READ, on_request, (void *)(uintptr_t)i);
}

static void on_done(void *arg, uint64_t order, const struct err *why) {
    t.done = order;
    t.err = why != NULL ? *why : (struct err){.code = ERR_OK};
}

static void on_members(void *arg) {
    t.members++;
}

static void on_primary(void *arg) {
    t.primary++;
}

static int open_peer(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memset(&t, 0, sizeof t);
    t.loop = loop_new("test");
    snprintf(t.dir, sizeof t.dir, "/tmp/weft-junos-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/mgd", t.dir);
    t.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(t.listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(t.listener, 8), 0);
    t.accepting = loop_watch_new(t.loop, t.listener, LOOP_READ, on_accept, NULL);
    snprintf(t.config.socket, sizeof t.config.socket, "%s", a.sun_path);
    t.config.member_id = -1;
    t.config.validate = true;
    t.config.poll_ms = 3600 * 1000;
    t.config.answer_ms = 60 * 1000;
    struct platform_events ev = {on_done, on_members, on_primary, NULL};
    t.p = platform_junos_new(t.loop, &t.config, t.dir, &ev);
    t.o = *(const struct platform_ops *const *)t.p;
    return 0;
}

static int close_peer(void **state) {
    char path[80];
    t.o->free(t.p);
    for (size_t i = 0; i < t.n_fds; i++) {
        loop_watch_free(t.reading[i]);
        close(t.fds[i]);
        buf_free(&t.in[i]);
    }
    loop_watch_free(t.accepting);
    close(t.listener);
    loop_poll(t.loop, 0);
    loop_free(t.loop);
    static const char *const files[] = {"mgd", "handover", "inherited"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", t.dir, files[i]);
        unlink(path);
    }
    return rmdir(t.dir);
}

static void known(void) {
    for (int i = 0; i < 3000 && t.primary == 0; i++) {
        loop_poll(t.loop, 10);
    }
    assert_int_equal(t.primary, 1);
}

static void wait_done(uint64_t order) {
    for (int i = 0; i < 3000 && t.done != order; i++) {
        loop_poll(t.loop, 10);
    }
    assert_int_equal(t.done, order);
    assert_false(t.bad);
}

static void it_tells_who_it_is(void **state) {
    struct platform_identity id;
    struct platform_member m[SZTP_MEMBERS_MAX];
    size_t n;
    assert_int_equal(t.o->identity(t.p, &id, &e), ERR_UNAVAILABLE);
    known();
    assert_int_equal(t.o->identity(t.p, &id, &e), ERR_OK);
    assert_string_equal(id.serial, "PE0");
    assert_string_equal(id.os_version, "20.2R1.10");
    assert_true(id.chassis && id.primary && id.factory_default && !id.frozen);
    assert_int_equal(t.o->members(t.p, m, SZTP_MEMBERS_MAX, &n, &e), ERR_OK);
    assert_int_equal(n, 4);
    assert_string_equal(m[2].os_version, "20.3R1.8");
}

/* PH-036, PH-042 */
static void images_go_to_members_and_reboots_follow(void **state) {
    static const struct line lines[] = {
        {"<request-package-add><package-name>/i &amp; j.tgz</package-name><validate/><member>2"
         "</member></request-package-add>",
         "<output>done</output><package-result>0</package-result>"},
        {"<request-package-add><package-name>/bad", "<xnm:error xmlns:xnm=\"http://xml.juniper.net/"
                                                    "xnm/1.1/xnm\"><message>no such file</message>"
                                                    "</xnm:error>"},
        {"<request-reboot><member>2</member></request-reboot>", "<request-reboot-results/>"},
        {"<lock><target><candidate/></target></lock>", "<ok/>"},
        {"<groups replace=\"replace\"><name>weft-phone-home</name><virtual-chassis><member><name>0"
         "</name><mastership-priority>255</mastership-priority></member><member><name>1</name>"
         "<mastership-priority>255</mastership-priority></member></virtual-chassis></groups>",
         "<load-configuration-results><ok/></load-configuration-results>"},
        {"<commit-configuration><synchronize/><log>weft-phone-home: roles are held</log>", "<ok/>"},
        {"<unlock>", "<ok/>"},
        {NULL, NULL}};
    int ids[] = {2, 3};
    t.lines = lines;
    known();
    t.o->install(t.p, 1, 2, "/i & j.tgz", "20.3R1.8");
    wait_done(1);
    assert_int_equal(t.err.code, ERR_OK);
    t.o->install(t.p, 2, 1, "/bad.tgz", "20.3R1.8");
    wait_done(2);
    assert_string_equal(t.err.text, "request-package-add: no such file");
    t.o->reboot(t.p, 3, ids, 2); /* member 3 is away: nothing is asked of it */
    wait_done(3);
    assert_int_equal(t.err.code, ERR_OK);
    t.o->freeze(t.p, 4);
    wait_done(4);
    assert_int_equal(t.err.code, ERR_OK);
    t.o->thaw(t.p, 5); /* by what the peer says there is nothing to thaw */
    wait_done(5);
    assert_int_equal(t.err.code, ERR_OK);
}

/* PH-054 */
static void the_record_goes_to_the_others(void **state) {
    static const struct line lines[] = {
        {"handover</source><destination>fpc1:/tmp/weft-junos-", ""},
        {"handover</source><destination>fpc2:/tmp/weft-junos-",
         "<rpc-error><error-message>no room</error-message></rpc-error>"},
        {NULL, NULL}};
    struct buf b = BUF_INIT;
    char path[80];
    t.lines = lines;
    known();
    t.o->replicate(t.p, 1, "record", 6);
    wait_done(1); /* the backup has it: that a linecard has not is no failure */
    assert_int_equal(t.err.code, ERR_OK);
    assert_int_equal(t.o->inherited(t.p, &b, &e), ERR_ABSENT);
    snprintf(path, sizeof path, "%s/inherited", t.dir);
    assert_int_equal(file_write(path, "theirs", 6, 0600, NULL), ERR_OK);
    assert_int_equal(t.o->inherited(t.p, &b, &e), ERR_OK);
    assert_string_equal(buf_cstr(&b), "theirs");
    t.o->inherited_clear(t.p);
    buf_clear(&b);
    assert_int_equal(t.o->inherited(t.p, &b, &e), ERR_ABSENT);
    buf_free(&b);
}

static void what_was_taken_back_is_not_confirmed(void **state) {
    static const struct line lines[] = {
        {"<get-commit-information/>", "<commit-information>" COMMIT("0", "") COMMIT(
                                          "1", "weft-phone-home: apply") "</commit-information>"},
        {"<lock>", "<ok/>"},
        {"<load-configuration rollback=\"2\"/>", "<load-configuration-results><load-success/>"
                                                 "</load-configuration-results>"},
        {"<commit-configuration><synchronize/><log>weft-phone-home: rollback</log>",
         "<commit-results><routing-engine><name>fpc0</name><commit-success/></routing-engine>"
         "</commit-results>"},
        {"<unlock>", "<rpc-error><error-message>gone</error-message></rpc-error>"},
        {NULL, NULL}};
    t.lines = lines;
    known();
    t.o->confirm(t.p, 1);
    wait_done(1);
    assert_int_equal(t.err.code, ERR_CONFLICT);
    t.o->rollback(t.p, 2);
    wait_done(2);
    assert_int_equal(t.err.code, ERR_OK);
    t.o->apply(t.p, 3, "<a/>", 4, SZTP_MERGE, 1000); /* the device is not asked */
    wait_done(3);
    assert_int_equal(t.err.code, ERR_INVALID);
}

static void it_may_go_at_any_time(void **state) {
    known();
    t.o->install(t.p, 1, 2, "/i", "1");
    t.o->thaw(t.p, 2);
    loop_poll(t.loop, 0);
}

/* PH-055 */
static void statements_that_change_roles(void **state) {
    struct buf b = BUF_INIT;
    static const char text[] =
        "system {\n host-name a;\n}\nvirtual-chassis {\n preprovisioned;\n}\n";
    t.o->lint(t.p, text, sizeof text - 1, &b);
    assert_string_equal(buf_cstr(&b), "line 4 may change roles of members: virtual-chassis {\n"
                                      "line 5 may change roles of members: preprovisioned;\n");
    buf_free(&b);
}

int main(void) {
#define A(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define X(f) cmocka_unit_test_setup_teardown(f, open_peer, close_peer)
    const struct CMUnitTest tests[] = {
        A(identity_is_read_whatever_the_release),
        A(members_and_their_roles),
        A(bad_members_change_nothing),
        A(errors_name_rpc_and_reason),
        A(warnings_are_no_errors),
        A(what_was_done_is_said),
        A(the_history_tells_what_is_in_force),
        A(configuration_is_looked_at),
        A(conveyed_configurations),
        X(it_tells_who_it_is),
        X(images_go_to_members_and_reboots_follow),
        X(the_record_goes_to_the_others),
        X(what_was_taken_back_is_not_confirmed),
        X(it_may_go_at_any_time),
        X(statements_that_change_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
