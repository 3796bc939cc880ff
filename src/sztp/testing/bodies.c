// SPDX-License-Identifier: Apache-2.0
/* Writes one of each body that src/sztp prints into a folder, in JSON and XML, for others to judge
 * (test/e2e/test_sztp_yang.py): bodies FOLDER */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sztp/message.h"
#include "sztp/voucher.h"

static const char *folder;

static void put(const char *name, enum sztp_form form, struct buf *b) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, form == SZTP_JSON ? "json" : "xml");
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0) {
        perror(path);
    }
    buf_free(b);
}

static void requests(enum sztp_form form) {
    struct sztp_get g = {.nonce_len = 16, .signed_preferred = true};
    struct buf b = BUF_INIT;
    snprintf(g.hw_model, sizeof g.hw_model, "model-x <&\">");
    snprintf(g.os_name, sizeof g.os_name, "\xc3\xb6s");
    snprintf(g.os_version, sizeof g.os_version, "1.0");
    sztp_get_print(&g, form, &b);
    put("get.input", form, &b);
    g.nonce_len = 32;
    g.csr_support = g.csr_p10_ok = true;
    buf_add(&g.key_algorithms, "\x30\x00\x30\x01\x00", 5);
    sztp_get_print(&g, form, &b);
    put("get-csr-support.input", form, &b);
    g.csr_format = SZTP_CSR_P10;
    buf_str(&g.csr, "\x30");
    sztp_get_print(&g, form, &b);
    put("get-p10.input", form, &b);
    sztp_get_free(&g);
    sztp_get_print(&g, form, &b);
    put("get-nothing.input", form, &b);
}

static void answers(enum sztp_form form) {
    static const struct sztp_profile lean = {.omit_reporting_level = true};
    struct sztp_answer a = {.level = SZTP_VERBOSE};
    struct buf b = BUF_INIT;
    buf_str(&a.ci, "conveyed");
    sztp_answer_print(&a, form, NULL, &b);
    put("answer.output", form, &b);
    buf_str(&a.owner, "owner");
    buf_str(&a.voucher, "voucher");
    sztp_answer_print(&a, form, NULL, &b);
    put("answer-signed.output", form, &b);
    sztp_answer_print(&a, form, &lean, &b);
    put("answer-lean.output", form, &b);
    sztp_answer_free(&a);
}

static void reports(enum sztp_form form) {
    struct buf b = BUF_INIT;
    char name[64];
    for (int t = 0; t < SZTP_PROGRESS_COUNT; t++) {
        struct sztp_report r = {.type = (enum sztp_progress)t};
        snprintf(r.text, sizeof r.text, "%s", t % 2 == 0 ? "a\nmessage <&\">" : "");
        if (t % 3 == 0 || t == SZTP_BOOTSTRAP_COMPLETE) {
            buf_str(&r.host_keys, "[{\"algorithm\":\"ssh-ed25519\",\"key-data\":\"AAAA\"},"
                                  "{\"algorithm\":\"ssh-rsa\",\"key-data\":\"AAECAwQ=\"}]");
            buf_str(&r.anchors, "[\"AAAA\",\"AAECAwQ=\"]");
        }
        sztp_report_print(&r, form, &b);
        snprintf(name, sizeof name, "report-%s.report", sztp_progress_name(r.type));
        put(name, form, &b);
        sztp_report_free(&r);
    }
    struct sztp_report about = {.type = SZTP_BOOT_IMAGE_WARNING,
                                .text = "Upgrade failed !!!",
                                .has_member = true,
                                .member = {"PE3716100123", 9, SZTP_LINECARD}};
    sztp_report_print(&about, form, &b);
    put("report-member.report", form, &b);
    about.member = (struct sztp_member){"S <&\"", -1, SZTP_ROLE_NONE};
    sztp_report_print(&about, form, &b);
    put("report-member-serial.report", form, &b);
    sztp_error_print(form, "protocol", "access-denied", "No <&\">", false, &b);
    put("error.errors", form, &b);
    sztp_error_print(form, "application", "missing-attribute", "A request is wanted", true, &b);
    put("error-csr.errors", form, &b);
}

static void conveyed(enum sztp_form form) {
    struct sztp_server servers[2] = {{.address = "a.example", .port = 8443},
                                     {.address = "2001:db8::1"}};
    struct conveyed c = {.redirect = true, .servers = servers, .n_servers = 2};
    struct buf b = BUF_INIT;
    buf_str(&servers[0].anchor, "anchor");
    conveyed_print(&c, form, NULL, &b);
    put("redirect.conveyed", form, &b);
    buf_free(&servers[0].anchor);
    struct conveyed o = {.image = {.present = true, .n_uris = 2, .n_hashes = 2},
                         .handling = SZTP_REPLACE,
                         .has_pre = true,
                         .has_config = true,
                         .has_post = true};
    snprintf(o.image.os_name, sizeof o.image.os_name, "OS <&\">");
    snprintf(o.image.os_version, sizeof o.image.os_version, "1.2");
    o.image.uris = mem_alloc(2 * sizeof *o.image.uris);
    snprintf(o.image.uris[0], sizeof o.image.uris[0], "https://a/x?a=1&b=2");
    snprintf(o.image.uris[1], sizeof o.image.uris[1], "http://[2001:db8::1]:8080/y");
    o.image.hashes[1].hash = SZTP_MD5; /* the module has no such: left out */
    buf_str(&o.pre, "#!/bin/sh\n");
    buf_str(&o.config, "<a/>");
    conveyed_print(&o, form, NULL, &b);
    put("onboarding.conveyed", form, &b);
    o.topology.present = true;
    conveyed_print(&o, form, NULL, &b);
    put("onboarding-chassis.conveyed", form, &b);
    o.topology.strict = o.topology.exact = true;
    o.topology.n_members = 2;
    o.topology.members[0] = (struct sztp_member){"S1", 0, SZTP_MASTER};
    o.topology.members[1] = (struct sztp_member){"S2", -1, SZTP_ROLE_NONE};
    conveyed_print(&o, form, NULL, &b);
    put("onboarding-members.conveyed", form, &b);
    conveyed_free(&o);
}

static void vouchers(void) {
    struct voucher v = {.created_on = 1767323045,
                        .expires_on = 1798859045,
                        .last_renewal = 1830395045,
                        .assertion = VOUCHER_LOGGED,
                        .serial = "S-1 <\"",
                        .issuer = {1, 2, 3},
                        .issuer_len = 3,
                        .check_revocation = true};
    struct buf b = BUF_INIT;
    buf_str(&v.pinned, "pinned");
    voucher_print(&v, &b);
    put("voucher.voucher", SZTP_JSON, &b);
    v.expires_on = v.last_renewal = 0;
    v.nonce_len = 16;
    voucher_print(&v, &b);
    put("voucher-nonce.voucher", SZTP_JSON, &b);
    voucher_free(&v);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        requests((enum sztp_form)form);
        answers((enum sztp_form)form);
        reports((enum sztp_form)form);
        conveyed((enum sztp_form)form);
    }
    vouchers();
    return 0;
}
