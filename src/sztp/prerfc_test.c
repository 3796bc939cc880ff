// SPDX-License-Identifier: Apache-2.0
/* The older dialect: its answers and notifications as they are met, ours as we print them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sztp/prerfc.h"

#define DEVICE "<device xmlns=\"" PRERFC_NS "\"><unique-id>S-1</unique-id>"
#define VC     "<virtual-chassis xmlns=\"" PRERFC_NS_VC "\">"

static enum err_code parse(const char *text, struct prerfc_device *d, struct err *e) {
    return prerfc_device_parse(text, strlen(text), d, e);
}

/* Printed again it is the same. */
static void same(const struct prerfc_device *d, const char *text) {
    struct buf out = BUF_INIT;
    struct err e;
    assert_int_equal(prerfc_device_print(d, &out, &e), ERR_OK);
    assert_string_equal(buf_cstr(&out), text);
    buf_free(&out);
}

/* proves: PH-112 */
static void redirect(void **state) {
    (void)state;
    static const char text[] =
        DEVICE "<redirect-information><bootstrap-server><address>phs1.example.com</address>"
               "<port>8443</port><trust-anchor>AAEC</trust-anchor></bootstrap-server>"
               "<bootstrap-server><address>phs2.example.com</address><port>443</port>"
               "</bootstrap-server></redirect-information></device>";
    struct prerfc_device d;
    struct err e;
    assert_int_equal(parse(text, &d, &e), ERR_OK);
    assert_string_equal(d.serial, "S-1");
    assert_true(d.info.redirect);
    assert_int_equal(d.info.n_servers, 2);
    assert_string_equal(d.info.servers[0].address, "phs1.example.com");
    assert_int_equal(d.info.servers[0].port, 8443);
    assert_int_equal(d.info.servers[0].anchor.len, 3);
    assert_int_equal(d.info.servers[1].anchor.len, 0);
    same(&d, text);
    prerfc_device_free(&d);
    /* with the lines of PEM, without a port */
    assert_int_equal(
        parse(DEVICE "<redirect-information><bootstrap-server><address>a</address><trust-anchor>\n"
                     "-----BEGIN CERTIFICATE-----\nAA\nEC\n-----END CERTIFICATE-----\n"
                     "</trust-anchor></bootstrap-server></redirect-information></device>",
              &d, &e),
        ERR_OK);
    assert_int_equal(d.info.servers[0].anchor.len, 3);
    assert_int_equal(d.info.servers[0].port, 443);
    prerfc_device_free(&d);
}

/* proves: PH-113 PH-063 */
static void answer(void **state) {
    (void)state;
    static const char *const spaces[] = {PRERFC_NS, PRERFC_NS_ALSO};
    struct prerfc_device d;
    struct err e;
    for (size_t i = 0; i < 2; i++) {
        char text[2048];
        snprintf(text, sizeof text,
                 "<?xml version=\"1.0\"?>\n<device xmlns=\"%s\">\n <unique-id> S-1 </unique-id>\n"
                 " <activation-code/><script/><unheard-of><a/></unheard-of>\n <boot-image>"
                 "<name>image.tgz</name><md5>00112233445566778899aabbccddeeff</md5><sha1></sha1>"
                 "<path>http:||server|image.tgz</path><signature/></boot-image>\n"
                 " <configuration><config>\n  <configuration operation=\"merge\">"
                 "<system><phone-home delete=\"delete\"/></system></configuration>\n"
                 " </config></configuration>\n</device>",
                 spaces[i]);
        assert_int_equal(parse(text, &d, &e), ERR_OK);
        assert_string_equal(d.serial, "S-1");
        assert_string_equal(d.image_name, "image.tgz");
        assert_true(d.info.image.present);
        assert_int_equal(d.info.image.n_uris, 1);
        assert_string_equal(d.info.image.uris[0], "http://server/image.tgz");
        assert_int_equal(d.info.image.n_hashes, 1);
        assert_int_equal(d.info.image.hashes[0].hash, SZTP_MD5);
        assert_true(d.info.has_config && !d.info.has_pre && !d.info.has_post);
        assert_int_equal(d.info.handling, SZTP_MERGE);
        assert_string_equal(buf_cstr(&d.info.config),
                            "<configuration operation=\"merge\"><system>"
                            "<phone-home delete=\"delete\"></phone-home></system></configuration>");
        assert_false(d.info.topology.present);
        prerfc_device_free(&d);
    }
    /* the variant of another device: what is inside `config` is the device's */
    assert_int_equal(parse(DEVICE "<configuration><config><ucpe><jdm><configuration/></jdm></ucpe>"
                                  "</config></configuration></device>",
                           &d, &e),
                     ERR_OK);
    assert_string_equal(buf_cstr(&d.info.config),
                        "<ucpe><jdm><configuration></configuration></jdm></ucpe>");
    prerfc_device_free(&d);
    /* a document with a namespace of its own keeps it */
    assert_int_equal(parse(DEVICE "<configuration><config><a xmlns=\"urn:a\"><b/></a></config>"
                                  "</configuration></device>",
                           &d, &e),
                     ERR_OK);
    assert_string_equal(buf_cstr(&d.info.config), "<a xmlns=\"urn:a\"><b></b></a>");
    prerfc_device_free(&d);
    /* an empty image of a template; a path that is a folder */
    assert_int_equal(parse(DEVICE "<boot-image><name/><md5/><path/></boot-image></device>", &d, &e),
                     ERR_OK);
    assert_false(d.info.image.present);
    assert_int_equal(parse(DEVICE "<boot-image><name>i</name><path>http://a/</path></boot-image>"
                                  "</device>",
                           &d, &e),
                     ERR_OK);
    assert_string_equal(d.info.image.uris[0], "http://a/i");
    prerfc_device_free(&d);
}

/* Ours, with everything. */
static void whole(void **state) {
    (void)state;
    static const char text[] =
        DEVICE "<activation-code>code</activation-code><boot-image><name>i.tar</name>"
               "<sha256>00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff</sha256>"
               "<sha1>00112233445566778899aabbccddeeff00112233</sha1>"
               "<path>https://a/i.tar</path><os-name xmlns=\"" PRERFC_NS_VC "\">weft</os-name>"
               "<os-version xmlns=\"" PRERFC_NS_VC "\">2</os-version></boot-image>"
               "<pre-configuration-script>cHJl</pre-configuration-script>"
               "<configuration><config><c x=\"1\"><d>2</d></c></config></configuration>"
               "<post-configuration-script>cG9zdA==</post-configuration-script>" VC
               "<strict-provisioning/><exact-match/><member><serial-id>S1</serial-id>"
               "<member-id>0</member-id><role>master</role></member>"
               "<member><serial-id>S2</serial-id></member></virtual-chassis></device>";
    struct prerfc_device d;
    struct err e;
    assert_int_equal(parse(text, &d, &e), ERR_OK);
    assert_string_equal(d.info.image.os_version, "2");
    assert_int_equal(d.info.image.n_hashes, 2);
    same(&d, text);
    prerfc_device_free(&d);
}

/* proves: PH-117 PH-020 PH-025 */
static void chassis(void **state) {
    (void)state;
    struct prerfc_device d;
    struct err e;
    assert_int_equal(parse(DEVICE VC "</virtual-chassis></device>", &d, &e), ERR_OK);
    assert_true(d.info.topology.present);
    assert_int_equal(d.info.topology.n_members, 0);
    assert_int_equal(parse(DEVICE VC "<exact-match>false</exact-match><x/><member><serial-id>S"
                                     "</serial-id><role>primary</role></member></virtual-chassis>"
                                     "</device>",
                           &d, &e),
                     ERR_OK);
    assert_false(d.info.topology.exact);
    assert_int_equal(d.info.topology.members[0].role, SZTP_MASTER);
    assert_int_equal(d.info.topology.members[0].id, -1);
    assert_int_equal(parse(DEVICE VC "<strict-provisioning/></virtual-chassis></device>", &d, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "list of all members"));
}

static void bad(void **state) {
    (void)state;
    static const struct {
        const char *text, *path;
        enum err_code rc;
    } cases[] = {
        {"<device/>", "/device", ERR_UNKNOWN},
        {"<devices xmlns=\"" PRERFC_NS "\"/>", "/devices", ERR_UNKNOWN},
        {DEVICE, "", ERR_MALFORMED},
        {"<!DOCTYPE d [<!ENTITY a \"b\">]>" DEVICE "</device>", "", ERR_MALFORMED},
        {DEVICE "<redirect-information/></device>", "redirect-information", ERR_MISSING},
        {DEVICE "<redirect-information><bootstrap-server/></redirect-information></device>",
         "bootstrap-server", ERR_INVALID},
        {DEVICE "<redirect-information><bootstrap-server><address>a</address><port>-1</port>"
                "</bootstrap-server></redirect-information></device>",
         "port", ERR_INVALID},
        {DEVICE "<boot-image><name>a</name><md5>0</md5></boot-image></device>", "md5", ERR_INVALID},
        {DEVICE "<boot-image><name>a</name></boot-image><boot-image><name>a</name></boot-image>"
                "</device>",
         "boot-image", ERR_ELEMENT},
        {DEVICE VC "<member/></virtual-chassis></device>", "member", ERR_MISSING},
        {DEVICE VC "<member><serial-id>a</serial-id><member-id>10</member-id></member>"
                   "</virtual-chassis></device>",
         "member-id", ERR_INVALID},
        {DEVICE "<script>#!/bin/sh</script></device>", "script", ERR_INVALID},
    };
    struct prerfc_device d;
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&e, 0, sizeof e);
        assert_int_equal(parse(cases[i].text, &d, &e), cases[i].rc);
        assert_non_null(strstr(e.path, cases[i].path));
    }
}

/* proves: PH-061 */
static void configuration_is_xml(void **state) {
    (void)state;
    struct prerfc_device d = {.serial = "S-1", .info = {.has_config = true}};
    struct buf out = BUF_INIT;
    struct err e;
    buf_str(&d.info.config, "{\"a\":1}");
    assert_int_equal(prerfc_device_print(&d, &out, &e), ERR_UNSUPPORTED);
    assert_int_equal(out.len, 0);
    buf_clear(&d.info.config);
    buf_str(&d.info.config, "<?xml version=\"1.0\"?>\n<a/>");
    same(&d, DEVICE "<configuration><config>\n<a/></config></configuration></device>");
    prerfc_device_free(&d);
    buf_free(&out);
}

/* proves: PH-081 PH-083 PH-085 PH-114 PH-116 */
static void notifications(void **state) {
    (void)state;
    static const char text[] =
        "<input xmlns=\"http://juniper.net/zerotouch-bootstrap-server\">"
        "<notification-type>vc-member-upgrade-success</notification-type>"
        "<message>Member detected and successfully upgraded.</message>"
        "<virtual-chassis-member><member-id>2</member-id><serial-id>PE3716100123</serial-id>"
        "<role>linecard</role></virtual-chassis-member></input>";
    struct prerfc_notification n;
    struct buf out = BUF_INIT;
    struct err e;
    assert_int_equal(prerfc_notification_parse(text, strlen(text), &n, &e), ERR_OK);
    assert_int_equal(n.type, SZTP_N_VC_UPGRADED);
    assert_true(n.has_member);
    assert_int_equal(n.member.id, 2);
    assert_string_equal(n.member.serial, "PE3716100123");
    assert_int_equal(n.member.role, SZTP_LINECARD);
    prerfc_notification_print(&n, &out);
    assert_string_equal(buf_cstr(&out), text);
    buf_clear(&out);
    prerfc_notification_text(&n, &out);
    assert_string_equal(
        buf_cstr(&out),
        "Member 2 (PE3716100123, linecard): Member detected and successfully upgraded.");
    prerfc_notification_free(&n);
    /* As the specification has it; and one that says nothing but whom. */
    static const char number[] =
        "<input xmlns=\"" PRERFC_NS "\"><notification-type>vc-member-upgrade-failed"
        "</notification-type><virtual-chassis-member><serial-number>S7</serial-number>"
        "</virtual-chassis-member></input>";
    assert_int_equal(prerfc_notification_parse(number, strlen(number), &n, &e), ERR_OK);
    assert_string_equal(n.member.serial, "S7");
    buf_clear(&out);
    prerfc_notification_text(&n, &out);
    assert_string_equal(buf_cstr(&out), "Member (S7, unknown role): ");
    prerfc_notification_free(&n);
    for (int t = 0; t < SZTP_NOTIFICATION_COUNT; t++) {
        struct prerfc_notification one = {.type = (enum sztp_notification)t, .text = "x < y"};
        if (t == SZTP_N_BOOTSTRAP_COMPLETE) {
            buf_str(&one.host_keys, "[{\"algorithm\":\"ssh-rsa\",\"key-data\":\"AAAA\"}]");
            buf_str(&one.anchors, "[\"BBBB\"]");
        }
        buf_clear(&out);
        prerfc_notification_print(&one, &out);
        assert_int_equal(prerfc_notification_parse(out.data, out.len, &n, &e), ERR_OK);
        assert_int_equal(n.type, t);
        assert_string_equal(n.text, "x < y");
        assert_false(n.has_member);
        assert_string_equal(buf_cstr(&n.host_keys), buf_cstr(&one.host_keys));
        assert_string_equal(buf_cstr(&n.anchors), buf_cstr(&one.anchors));
        buf_clear(&out);
        prerfc_notification_text(&n, &out);
        assert_string_equal(buf_cstr(&out), "x < y");
        prerfc_notification_free(&n);
        prerfc_notification_free(&one);
    }
    static const char *const wrong[] = {"", "<input/>", "<input xmlns=\"" PRERFC_NS "\"/>",
                                        "<input xmlns=\"" PRERFC_NS
                                        "\"><notification-type>done</notification-type></input>"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_not_equal(prerfc_notification_parse(wrong[i], strlen(wrong[i]), &n, &e), ERR_OK);
    }
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redirect),      cmocka_unit_test(answer),
        cmocka_unit_test(whole),         cmocka_unit_test(chassis),
        cmocka_unit_test(bad),           cmocka_unit_test(configuration_is_xml),
        cmocka_unit_test(notifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
