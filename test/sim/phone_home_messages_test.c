// SPDX-License-Identifier: Apache-2.0
/*
 * What servers and syslog are told: every message of PH-082, byte for byte, with its member, in
 * both dialects; the order of reports; levels; what happens when nobody takes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone_home_scene.h"

enum { HOUR = 3600 * 1000 };

struct setting {
    size_t n;
    bool chassis, prerfc;
    enum scene_topology topology;
    bool strict;
    enum sztp_level level;
    bool no_image;
};

static struct rig *begin(const struct setting *c) {
    struct rig *r = rig_new(c->n, c->chassis, 21);
    struct conveyed info;
    scene_info(&info, c->topology, c->strict, c->n);
    info.image.present = !c->no_image;
    r->config.dialect = c->prerfc ? PHC_PRERFC : PHC_RFC8572;
    rig_configured(r, "phs1", 443);
    struct rig_server *s = rig_server(r, "phs1", 443);
    s->built_in = true;
    if (c->prerfc) {
        info.has_pre = info.has_post = false;
        rig_answer_prerfc(s, &info, "sim-2.tgz");
    } else {
        rig_answer(s, &info, c->level);
    }
    scene_info_free(&info);
    return r;
}

static void show(const struct rig *r) {
    for (size_t i = 0; i < r->n_lines; i++) {
        print_message("%s\n", r->lines[i]);
    }
    char *t = scene_reports(r);
    print_message("%s", t);
    mem_free(t);
}

/* ---------------------------------------------------------------- PH-082 */

static void first_old(struct rig *r) {
    r->sim->m[3].fault.returns_old = 9;
}
static void first_never(struct rig *r) {
    r->sim->m[3].fault.never_returns = true;
}
static void first_install(struct rig *r) {
    r->sim->m[3].fault.install_fails = 9;
}
static void backup_never(struct rig *r) {
    r->sim->m[1].fault.never_returns = true;
}
static void all_new(struct rig *r) {
    for (size_t i = 0; i < r->sim->n; i++) {
        snprintf(r->sim->m[i].version, sizeof r->sim->m[i].version, "2");
    }
}

/* The texts are written out here, and not taken from the code: it is they that count. */
static const struct {
    const char *type, *text;
    size_t n; /* members */
    bool strict;
    void (*inject)(struct rig *r);
    int member; /* whom one of them is about; -1: nobody */
    const char *role;
    const char *goes_on; /* progress type in dialect B */
} messages[] = {
    {"vc-member-image-installed",
     "Successfully installed downloaded image. Initiating image installation on next member.", 4,
     false, NULL, 2, "linecard", "informational"},
    {"vc-member-image-installed",
     "Successfully installed downloaded image. Initiating member reboot.", 4, false, NULL, 3,
     "linecard", "informational"},
    {"vc-member-image-installed",
     "Successfully installed downloaded image. Initiating member reboot.", 4, false, NULL, 1,
     "backup", "informational"},
    {"vc-member-image-installed",
     "Successfully installed downloaded image. Initiating member reboot.", 4, false, NULL, 0,
     "master", "boot-image-installed-rebooting"},
    {"vc-member-image-installation-failed",
     "Image failed to install on the member. Giving up and trying a different phone-home-server.",
     4, false, first_install, 3, "linecard", "boot-image-warning"},
    {"vc-member-image-installation-failed",
     "Image failed to install on the member. Giving up and trying a different phone-home-server.",
     4, true, first_install, 3, "linecard", "boot-image-error"},
    {"vc-member-reboot-initiated",
     "Reboot initiated for Line Card members. Waiting for the members to come back up.", 4, false,
     NULL, 2, "linecard", "informational"},
    {"vc-member-upgrade-success", "No upgrade required.", 4, false, all_new, 0, "master",
     "informational"},
    {"vc-member-upgrade-success", "Successfully upgraded.", 1, false, NULL, 0, "master",
     "informational"},
    {"vc-member-upgrade-success", "Member detected and successfully upgraded.", 4, false, NULL, 3,
     "linecard", "informational"},
    {"vc-member-upgrade-success", "Member detected and successfully upgraded.", 4, false, NULL, 0,
     "linecard", "informational"},
    {"vc-member-upgrade-failed", "Upgrade failed !!!", 4, false, backup_never, 0, "master",
     "boot-image-warning"},
    {"vc-member-upgrade-failed", "Member detected but upgrade failed !!!", 4, false, first_old, 3,
     "linecard", "boot-image-warning"},
    {"vc-member-upgrade-failed", "Member detected but upgrade failed !!!", 4, true, first_old, 3,
     "linecard", "boot-image-error"},
    {"vc-member-detection-failed", "Did not come up post image upgrade", 4, false, first_never, 3,
     "linecard", "boot-image-warning"},
    {"vc-member-detection-failed", "Did not come up post image upgrade", 4, true, first_never, 3,
     "linecard", "boot-image-error"},
    {"vc-bootstrap-failed", "VC member bootstrap failure detected with Strict provisioning set.", 4,
     true, first_never, -1, "", "bootstrap-error"},
    {"vc-bootstrap-failed", "VC with detection failed members and Strict provisioning set.", 4,
     true, backup_never, -1, "", "bootstrap-error"},
};

static bool told_old(const struct rig *r, const char *body) {
    for (size_t i = 0; i < r->n_reports; i++) {
        if (r->reports[i].raw.len == strlen(body) &&
            memcmp(r->reports[i].raw.data, body, strlen(body)) == 0) {
            return true;
        }
    }
    return false;
}

/* The same text, and whom it is about in our augmentation. */
static bool told_new(const struct rig *r, const char *type, const char *text, int member,
                     const char *role) {
    char serial[32];
    snprintf(serial, sizeof serial, "SIM%d", member);
    for (size_t i = 0; i < r->n_reports; i++) {
        if (strcmp(sztp_progress_name(r->reports[i].progress), type) == 0 &&
            strcmp(r->reports[i].text, text) == 0 && r->reports[i].member == member &&
            strcmp(sztp_role_name(r->reports[i].role), role) == 0 &&
            strcmp(r->reports[i].serial, member >= 0 ? serial : "") == 0) {
            return true;
        }
    }
    return false;
}

/* proves: PH-080 PH-081 PH-082 PH-083 PH-084 */
static void every_message(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof messages / sizeof messages[0]); i++) {
        size_t k = i / 2;
        char member[160] = "", body[1024], line[1024];
        struct setting c = {.n = messages[k].n,
                            .chassis = true,
                            .prerfc = i % 2 == 0,
                            .topology = SCENE_FULL,
                            .strict = messages[k].strict,
                            .level = SZTP_VERBOSE};
        struct rig *r = begin(&c);
        if (messages[k].inject != NULL) {
            messages[k].inject(r);
        }
        rig_start(r);
        assert_true(rig_run(r, 12 * HOUR, true));
        if (messages[k].member >= 0) {
            snprintf(member, sizeof member,
                     "<virtual-chassis-member><member-id>%d</member-id><serial-id>SIM%d</serial-id>"
                     "<role>%s</role></virtual-chassis-member>",
                     messages[k].member, messages[k].member, messages[k].role);
            snprintf(line, sizeof line, " Member %d (SIM%d, %s): %s", messages[k].member,
                     messages[k].member, messages[k].role, messages[k].text);
        } else {
            snprintf(line, sizeof line, " %s", messages[k].text);
        }
        snprintf(
            body, sizeof body,
            "<input xmlns=\"http://juniper.net/zerotouch-bootstrap-server\"><notification-type>"
            "%s</notification-type><message>%s</message>%s</input>",
            messages[k].type, messages[k].text, member);
        if (c.prerfc ? !told_old(r, body)
                     : !told_new(r, messages[k].goes_on, messages[k].text, messages[k].member,
                                 messages[k].role)) {
            show(r);
            for (size_t j = 0; j < r->n_reports && c.prerfc; j++) {
                print_message("%.*s\n", (int)r->reports[j].raw.len,
                              (const char *)r->reports[j].raw.data);
            }
            fail_msg("not told: %s", c.prerfc ? body : messages[k].text);
        }
        if (rig_logged(r, line) == 0) {
            show(r);
            fail_msg("not logged:%s", line);
        }
        scene_check(r, messages[k].text);
        rig_free(r);
    }
}

/* PH-084: in default mode the server is left only when every member failed. proves: PH-084 */
static void every_member_fails(void **state) {
    (void)state;
    struct setting c = {.n = 3, .chassis = true, .topology = SCENE_MIN, .level = SZTP_MINIMAL};
    for (int spared = -1; spared < 3; spared++) {
        struct rig *r = begin(&c);
        for (int i = 0; i < 3; i++) {
            r->sim->m[i].fault.install_fails = i == spared ? 0 : 9;
        }
        rig_start(r);
        assert_true(rig_run(r, HOUR, true));
        assert_int_equal(rig_done(r), spared >= 0);
        scene_check(r, "every member fails");
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- order and levels */

static void expect_reports(struct rig *r, const char *want) {
    char *got = scene_reports(r);
    if (strcmp(got, want) != 0) {
        show(r);
    }
    assert_string_equal(got, want);
    mem_free(got);
}

/* A device alone: a life before its reboot, and one after it that begins anew.
 * proves: PH-040 PH-060 PH-070 PH-085 PH-150 */
static void alone(void **state) {
    (void)state;
    struct setting c = {.n = 1, .level = SZTP_VERBOSE};
    struct rig *r = begin(&c);
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    expect_reports(r, "bootstrap-initiated Bootstrapping begins.\n"
                      "parsing-complete The onboarding information was read.\n"
                      "boot-image-mismatch Runs 1, and is to run 2.\n"
                      "boot-image-initiated The image is downloaded.\n"
                      "boot-image-installed-rebooting The image is installed.\n"
                      "bootstrap-initiated Bootstrapping begins.\n"
                      "parsing-complete The onboarding information was read.\n"
                      "boot-image-complete No upgrade required.\n"
                      "pre-script-initiated The pre-configuration script is run.\n"
                      "pre-script-complete The pre-configuration script ended.\n"
                      "config-initiated The configuration is applied.\n"
                      "config-complete The configuration is in force.\n"
                      "post-script-initiated The post-configuration script is run.\n"
                      "post-script-complete The post-configuration script ended.\n"
                      "bootstrap-complete Bootstrapping is complete.\n");
    rig_free(r);
    c.level = SZTP_MINIMAL;
    r = begin(&c);
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    expect_reports(r, "bootstrap-initiated Bootstrapping begins.\n"
                      "boot-image-installed-rebooting The image is installed.\n"
                      "bootstrap-initiated Bootstrapping begins.\n"
                      "bootstrap-complete Bootstrapping is complete.\n");
    rig_free(r);
    c.prerfc = true;
    r = begin(&c);
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    expect_reports(r, "bootstrap-initiated Bootstrapping begins.\n"
                      "image-mismatch Runs 1, and is to run 2.\n"
                      "bootstrap-initiated Bootstrapping begins.\n"
                      "configuration-applied The configuration is in force.\n"
                      "bootstrap-complete Bootstrapping is complete.\n");
    rig_free(r);
}

static size_t reported(const struct rig *r, const char *type) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_reports; i++) {
        const char *name = r->reports[i].prerfc ? sztp_notification_name(r->reports[i].notification)
                                                : sztp_progress_name(r->reports[i].progress);
        n += strcmp(name, type) == 0;
    }
    return n;
}

/* Each step's failure ends the run with its error, in both dialects. proves: PH-085 PH-151 */
static void errors(void **state) {
    (void)state;
    static const char *const types[][2] = {
        {"pre-script-error", ""},
        {"config-error", "configuration-failed"},
        {"post-script-error", ""},
        {"config-error", "configuration-failed"},
    };
    for (int i = 0; i < 8; i++) {
        int what = i / 2;
        struct setting c = {.n = 2, .chassis = true, .topology = SCENE_MIN, .prerfc = i % 2};
        if (c.prerfc && types[what][1][0] == '\0') {
            continue;
        }
        struct rig *r = begin(&c);
        r->sim->script_fails[PLATFORM_PRE] = what == 0 ? 9 : 0;
        r->sim->apply_fails = what == 1 ? 9 : 0;
        r->sim->script_fails[PLATFORM_POST] = what == 2 ? 9 : 0;
        r->sim->confirm_fails = what == 3 ? 9 : 0;
        rig_start(r);
        assert_true(rig_run(r, HOUR, true));
        assert_false(rig_done(r));
        if (reported(r, types[what][c.prerfc]) != 1) {
            show(r);
            fail_msg("%s was not told", types[what][c.prerfc]);
        }
        assert_int_equal(r->sim->rollbacks, what > 0);
        scene_check(r, "errors");
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- nobody takes them */

/* The beginning is to be taken before anything is done. proves: PH-122 */
static void beginning_refused(void **state) {
    (void)state;
    static const int status[] = {200, 400, 500};
    for (int i = 0; i < 3; i++) {
        struct setting c = {.n = 1};
        struct rig *r = begin(&c);
        r->servers[0].report_status = status[i];
        rig_start(r);
        assert_true(rig_run(r, HOUR, true));
        assert_false(rig_done(r));
        assert_int_equal(r->n_downloads, 0);
        assert_int_equal(r->n_orders, 0);
        rig_free(r);
    }
    struct setting c = {.n = 1}; /* no answer twice: it is said again */
    struct rig *r = begin(&c);
    r->servers[0].report_fails = 2;
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    assert_true(rig_done(r));
    rig_free(r);
}

/* A folder of files takes none: to the letter that ends it, else it does not. proves: PH-122 */
static void no_reports(void **state) {
    (void)state;
    static const int status[] = {404, 405, 501};
    for (int i = 0; i < 3; i++) {
        for (int lenient = 0; lenient < 2; lenient++) {
            struct setting c = {.n = 1, .level = SZTP_VERBOSE};
            struct rig *r = begin(&c);
            r->config.lenient = lenient;
            r->servers[0].report_status = status[i];
            rig_start(r);
            assert_true(rig_run(r, HOUR, true));
            assert_int_equal(rig_done(r), lenient);
            assert_int_equal(rig_logged(r, "takes no reports") > 0, lenient);
            scene_check(r, "nothing takes reports");
            rig_free(r);
        }
    }
}

static bool refuse_complete(struct rig_server *s, const struct phc_request *q, void *arg) {
    (void)s;
    (void)q;
    (void)arg;
    return true;
}

/* A success that can't be told is none: the configuration cut the device off.
 * proves: PH-151 */
static void end_refused(void **state) {
    (void)state;
    struct setting c = {.n = 2, .chassis = true, .topology = SCENE_MIN};
    struct rig *r = begin(&c);
    rig_start(r);
    while (r->sim->config != SIM_CONFIRMED && rig_state(r) != PHC_ST_DONE) {
        assert_false(rig_run(r, 100, true));
    }
    r->servers[0].report_fails = 1000;
    r->servers[0].answer = refuse_complete;
    assert_true(rig_run(r, HOUR, true));
    assert_false(rig_done(r));
    assert_int_equal(r->sim->rollbacks, 1);
    scene_check(r, "the end is not taken");
    rig_free(r);
}

/* Reports that nothing depends on are tried thrice, and the run goes on meanwhile; after a loss of
 * power those that were not taken are sent again. */
static void others_are_lost(void **state) {
    (void)state;
    struct setting c = {.n = 4, .chassis = true, .topology = SCENE_MIN, .prerfc = true};
    struct rig *r = begin(&c);
    r->servers[0].report_status = 500;
    rig_start(r);
    assert_true(rig_run(r, 2 * HOUR, true));
    assert_true(rig_done(r));
    scene_check(r, "nobody takes reports");
    rig_free(r);
}

/* Without an image nothing is upgraded, and still each member is told of; and not to a server that
 * said nothing of a chassis. proves: PH-024 PH-040 PH-081 */
static void members_without_an_image(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct setting c = {.n = 3,
                            .chassis = true,
                            .topology = i < 2 ? SCENE_MIN : SCENE_NONE,
                            .prerfc = i % 2 != 0,
                            .level = SZTP_VERBOSE,
                            .no_image = true};
        struct rig *r = begin(&c);
        rig_start(r);
        assert_true(rig_run(r, HOUR, true));
        assert_true(rig_done(r));
        bool told[3] = {false};
        for (size_t j = 0; j < r->n_reports; j++) {
            const struct rig_report *p = &r->reports[j];
            if (p->member >= 0) {
                assert_string_equal(p->text, "No upgrade required.");
                assert_in_range(p->member, 0, 2);
                assert_false(told[p->member]);
                told[p->member] = true;
            }
        }
        for (int m = 0; m < 3; m++) {
            assert_int_equal(told[m], i < 2);
        }
        scene_check(r, "no image");
        rig_free(r);
    }
}

/* A server that knows topologies and not whom reports are about is told all the same. */
static void members_are_not_understood(void **state) {
    (void)state;
    struct setting c = {
        .n = 2, .chassis = true, .topology = SCENE_MIN, .level = SZTP_VERBOSE, .no_image = true};
    struct rig *r = begin(&c);
    r->servers[0].no_members = true;
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    assert_true(rig_done(r));
    size_t with = 0, without = 0;
    for (size_t j = 0; j < r->n_reports; j++) {
        bool of_member = strcmp(r->reports[j].text, "No upgrade required.") == 0;
        with += of_member && r->reports[j].member >= 0;
        without += of_member && r->reports[j].member < 0;
    }
    assert_int_equal(with, 2);
    assert_int_equal(without, 2);
    scene_check(r, "members are not understood");
    rig_free(r);
}

/* PH-055: statements that may make the chassis elect are warned of. proves: PH-055 */
static void warnings(void **state) {
    (void)state;
    struct setting c = {.n = 2, .chassis = true, .topology = SCENE_MIN};
    struct rig *r = begin(&c);
    r->sim->lint_says = "mastership-priority of member 0\nrole of member 1\n";
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    assert_int_equal(reported(r, "config-warning"), 2);
    assert_int_equal(rig_count(r, "role of member 1"), 1);
    rig_free(r);
}

/* A chassis is told of what a device alone is told of, in that order, with what is about its
 * members in between. proves: PH-002 */
static void as_one_device(void **state) {
    (void)state;
    struct setting c = {.n = 1, .level = SZTP_VERBOSE};
    struct rig *one = begin(&c), *many;
    all_new(one);
    rig_start(one);
    assert_true(rig_run(one, HOUR, true));
    assert_true(rig_done(one));
    c = (struct setting){
        .n = 4, .chassis = true, .topology = SCENE_FULL, .strict = true, .level = SZTP_VERBOSE};
    many = begin(&c);
    all_new(many);
    rig_start(many);
    assert_true(rig_run(many, HOUR, true));
    assert_true(rig_done(many));
    size_t k = 0;
    for (size_t i = 0; i < many->n_reports && k < one->n_reports; i++) {
        k += strcmp(many->reports[i].text, one->reports[k].text) == 0;
    }
    if (k != one->n_reports) {
        show(many);
        fail_msg("a chassis is not told of \"%s\"", one->reports[k].text);
    }
    assert_true(one->n_reports >= 8);
    assert_int_equal(many->sim->applies, 1);
    assert_int_equal(many->sim->scripts[0], 1);
    assert_int_equal(many->sim->scripts[1], 1);
    assert_int_equal(one->sim->freezes, 0); /* what a chassis needs beyond that */
    assert_int_equal(many->sim->freezes, 1);
    rig_free(one);
    rig_free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message),
        cmocka_unit_test(every_member_fails),
        cmocka_unit_test(alone),
        cmocka_unit_test(errors),
        cmocka_unit_test(beginning_refused),
        cmocka_unit_test(no_reports),
        cmocka_unit_test(end_refused),
        cmocka_unit_test(others_are_lost),
        cmocka_unit_test(members_without_an_image),
        cmocka_unit_test(members_are_not_understood),
        cmocka_unit_test(warnings),
        cmocka_unit_test(as_one_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
