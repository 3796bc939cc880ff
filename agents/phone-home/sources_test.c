// SPDX-License-Identifier: Apache-2.0
/* What DHCP, leases and DNS say, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/dns_message.h"
#include "phone-home/lease.h"

static struct sztp_server servers[SZTP_SERVERS_MAX];
static size_t n_servers;
static bool text;
static struct err e;

static void uri_of(struct buf *b, const char *uri) {
    buf_u16(b, (uint16_t)strlen(uri));
    buf_str(b, uri);
}

static enum err_code redirect(const struct buf *b) {
    return dhcp_redirect_parse(b->data, b->len, servers, SZTP_SERVERS_MAX, &n_servers, &text, &e);
}

/* proves: PH-160 */
static void uris_are_scheme_host_and_port(void **state) {
    static const struct {
        const char *uri, *address;
        uint16_t port;
    } good[] = {{"https://phs.example.com", "phs.example.com", 443},
                {"HTTPS://phs.example.com:8443", "phs.example.com", 8443},
                {"https://192.0.2.1:1", "192.0.2.1", 1},
                {"https://[2001:db8::1]", "2001:db8::1", 443},
                {"https://[2001:db8::1]:65535", "2001:db8::1", 65535}};
    static const char *const bad[] = {"",
                                      "https://",
                                      "http://a",
                                      "https://a/",
                                      "https://a:0",
                                      "https://a:65536",
                                      "https://a:",
                                      "https://a:1:2",
                                      "https://user@a",
                                      "https://[2001:db8::1",
                                      "https://[192.0.2.1]",
                                      "https://a b",
                                      "https://.a",
                                      "https://a\n",
                                      "ftp://a"};
    struct sztp_server s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(sztp_uri_parse(good[i].uri, strlen(good[i].uri), false, &s, NULL, &e),
                         ERR_OK);
        assert_string_equal(s.address, good[i].address);
        assert_int_equal(s.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(sztp_uri_parse(bad[i], strlen(bad[i]), false, &s, NULL, &e), ERR_OK);
        assert_true(e.text[0] != '\0');
    }
    char longest[300] = "https://";
    memset(longest + 8, 'a', 256);
    assert_int_equal(sztp_uri_parse(longest, strlen(longest), false, &s, NULL, &e), ERR_TOO_BIG);
}

/* proves: PH-160 */
static void option_lists_uris_and_bad_ones_are_passed_over(void **state) {
    struct buf b = BUF_INIT;
    uri_of(&b, "https://one.example.com:8443");
    uri_of(&b, "ftp://two.example.com");
    uri_of(&b, "");
    uri_of(&b, "https://three.example.com");
    buf_u16(&b, 40); /* cut off */
    buf_str(&b, "https://four");
    assert_int_equal(redirect(&b), ERR_OK);
    assert_int_equal(n_servers, 2);
    assert_false(text);
    assert_string_equal(servers[0].address, "one.example.com");
    assert_int_equal(servers[0].port, 8443);
    assert_string_equal(servers[1].address, "three.example.com");
    buf_clear(&b);
    uri_of(&b, "https://a/with/a/path");
    assert_int_equal(redirect(&b), ERR_MALFORMED);
    assert_non_null(strstr(e.text, "goes on behind"));
    buf_clear(&b);
    assert_int_equal(redirect(&b), ERR_MALFORMED);
    assert_non_null(strstr(e.text, "empty"));
    for (int i = 0; i < SZTP_SERVERS_MAX + 5; i++) {
        uri_of(&b, "https://many.example.com");
    }
    assert_int_equal(redirect(&b), ERR_OK);
    assert_int_equal(n_servers, SZTP_SERVERS_MAX);
    buf_free(&b);
}

/* proves: PH-161 */
static void plain_text_with_a_path_is_understood(void **state) {
    struct buf b = BUF_INIT;
    buf_str(&b, "https://phs.example.com:8443/restconf/operations/"
                "ietf-sztp-bootstrap-server:get-bootstrapping-data");
    assert_int_equal(redirect(&b), ERR_OK);
    assert_true(text);
    assert_int_equal(n_servers, 1);
    assert_string_equal(servers[0].address, "phs.example.com");
    assert_int_equal(servers[0].port, 8443);
    buf_str(&b, " https://other.example.com");
    assert_int_equal(redirect(&b), ERR_OK);
    assert_int_equal(n_servers, 2);
    buf_clear(&b);
    buf_str(&b, "https://:1/");
    assert_int_equal(redirect(&b), ERR_MALFORMED);
    buf_free(&b);
}

/* A BOOTREPLY with its options in the three fields. */
static void message(struct buf *m, const struct buf *options, const struct buf *file,
                    const struct buf *sname) {
    memset(buf_extend(m, 236), 0, 236);
    m->data[0] = 2;
    memcpy(m->data + 44, sname->data, sname->len);
    memcpy(m->data + 108, file->data, file->len);
    buf_add(m, "\x63\x82\x53\x63", 4);
    buf_add(m, options->data, options->len);
    buf_u8(m, 255);
}

static void option(struct buf *b, uint8_t code, const void *p, size_t n) {
    buf_u8(b, code);
    buf_u8(b, (uint8_t)n);
    buf_add(b, p, n);
}

/* One logical option in three instances over three fields (RFC 3396). proves: PH-160 */
static void instances_are_put_together_in_order(void **state) {
    struct buf whole = BUF_INIT, options = BUF_INIT, file = BUF_INIT, sname = BUF_INIT,
               m = BUF_INIT;
    struct dhcp_offer o;
    uri_of(&whole, "https://first.example.com:10001");
    uri_of(&whole, "https://second.example.com:10002");
    uri_of(&whole, "https://third.example.com");
    option(&options, 53, "\x05", 1);
    option(&options, 143, whole.data, 20); /* cuts the first URI */
    option(&options, 52, "\x03", 1);
    buf_u8(&options, 0);
    option(&file, 143, whole.data + 20, 30);
    option(&file, 67, "boot", 4);
    buf_u8(&file, 255);
    option(&sname, 143, whole.data + 50, whole.len - 50);
    message(&m, &options, &file, &sname);
    assert_int_equal(dhcp4_message_parse(m.data, m.len, &o, &e), ERR_OK);
    assert_true(o.has_redirect);
    assert_true(o.legacy);
    assert_int_equal(o.redirect.len, whole.len);
    assert_memory_equal(o.redirect.data, whole.data, whole.len);
    assert_int_equal(redirect(&o.redirect), ERR_OK);
    assert_int_equal(n_servers, 3);
    assert_string_equal(servers[1].address, "second.example.com");
    dhcp_offer_free(&o);
    /* Every prefix is refused or read, none is read beyond its end. */
    for (size_t n = 0; n < m.len; n++) {
        void *exact = mem_dup(m.data, n > 0 ? n : 1);
        if (dhcp4_message_parse(exact, n, &o, &e) == ERR_OK) {
            dhcp_offer_free(&o);
        }
        mem_free(exact);
    }
    buf_free(&whole);
    buf_free(&options);
    buf_free(&file);
    buf_free(&sname);
    buf_free(&m);
}

/* proves: PH-092 */
static void options_of_the_older_provisioning_are_seen(void **state) {
    static const struct {
        unsigned code;
        const char *p;
        size_t n;
        bool legacy;
    } cases[] = {{43, "\x01\x03img", 5, true}, {43, "\x01", 1, false},    {43, "", 0, false},
                 {43, "\x00\xff", 2, false},   {66, "tftp", 4, true},     {67, "file", 4, true},
                 {150, "\xc0\0\2\1", 4, true}, {12, "hostname", 8, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dhcp_offer o = {0};
        dhcp4_offer_option(&o, cases[i].code, cases[i].p, cases[i].n);
        assert_int_equal(o.legacy, cases[i].legacy);
        assert_false(o.has_redirect);
    }
}

static const char LEASES[] =
    "default-duid \"\\000\\001\\000\\001\";\n"
    "lease {\n  interface \"eth0\";\n  fixed-address 192.0.2.7;\n"
    "  option v4-sztp-redirect \"https://old.example.com/x\";\n"
    "  expire 6 2026/11/28 04:00:00;\n}\n"
    "# a remark\n"
    "lease {\n  interface \"eth0\";\n"
    "  option v4-sztp-redirect 0:19:68:74:74:70:73:3a:2f:2f:6e:65:77:2e:65:78:61:6d:70:6c:65:2e:63:"
    "6f:6d:3a:31;\n"
    "  option domain-name \"example.com\";\n"
    "  option domain-search \"lab.example.com.\", \"example.com\";\n"
    "  expire epoch 1795900000; # Sat Nov 28\n}\n"
    "lease {\n  interface \"eth1\";\n  option bootfile-name \"a\\\"b\";\n  expire never;\n}\n"
    "lease6 {\n  interface \"eth0\";\n  ia-na 01:02:03:04 {\n    starts 1795836049;\n"
    "    iaaddr 2001:db8::7 {\n      starts 1795836049;\n      preferred-life 300;\n"
    "      max-life 600;\n    }\n  }\n"
    "  option dhcp6.v6-sztp-redirect \"\\000\\024https://v6.example.c\";\n}\n";

/* proves: PH-160 PH-092 */
static void leases_of_dhclient_are_read(void **state) {
    struct leases l = {0};
    assert_int_equal(leases_parse(&l, "f", LEASES, strlen(LEASES), 1795836100, &e), ERR_OK);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.list[0].interface, "eth0");
    assert_int_equal(l.list[0].family, 4);
    assert_int_equal(redirect(&l.list[0].offer.redirect), ERR_OK);
    assert_string_equal(servers[0].address, "new.example.com");
    assert_int_equal(l.list[0].n_domains, 2);
    assert_string_equal(l.list[0].domains[1], "lab.example.com");
    assert_true(l.list[1].offer.legacy);
    assert_false(l.list[1].offer.has_redirect);
    assert_int_equal(l.list[2].family, 6);
    assert_int_equal(l.list[2].offer.redirect.len, 22);
    leases_free(&l);
    /* An hour later the address of IPv6 is over; a day later the lease of eth0 as well. */
    assert_int_equal(leases_parse(&l, "f", LEASES, strlen(LEASES), 1795839000, &e), ERR_OK);
    assert_int_equal(l.n, 2);
    assert_int_equal(leases_parse(&l, "f", LEASES, strlen(LEASES), 1795936100, &e), ERR_OK);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.list[0].interface, "eth1");
    leases_free(&l);
    /* Without a clock nothing is over. */
    assert_int_equal(leases_parse(&l, "f", LEASES, strlen(LEASES), 0, &e), ERR_OK);
    assert_int_equal(l.n, 3);
    leases_free(&l);
}

/* As docs/phone-home-client.md has them for those who write them by hand. */
static void a_lease_by_hand(void **state) {
    static const char *const forms[] = {
        ("v4-sztp-redirect 0:18:68:74:74:70:73:3a:2f:2f:77:65:66:74:2e:65:78:61:6d:70:6c:65:2e:6e:"
         "65:74"),
        "v4-sztp-redirect \"\\000\\030https://weft.example.net\"",
        "unknown-143 \"\\000\\030https://weft.example.net\""};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct leases l = {0};
        char *lease = mem_printf("lease {\n  interface \"eth0\";\n  option %s;\n}\n", forms[i]);
        assert_int_equal(leases_parse(&l, "eth0.4", lease, strlen(lease), 0, &e), ERR_OK);
        assert_int_equal(l.n, 1);
        assert_int_equal(redirect(&l.list[0].offer.redirect), ERR_OK);
        assert_string_equal(servers[0].address, "weft.example.net");
        leases_free(&l);
        mem_free(lease);
    }
}

static void damaged_lease_files_are_refused_with_the_line(void **state) {
    static const char *const bad[] = {"lease {\n  option x \"a\n\";\n}\n", "lease {\n\n", "}\n",
                                      "lease { option x \"a"};
    struct leases l = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(leases_parse(&l, "eth0.leases", bad[i], strlen(bad[i]), 0, &e),
                         ERR_MALFORMED);
        assert_non_null(strstr(e.path, "eth0.leases:"));
    }
    struct buf deep = BUF_INIT;
    for (int i = 0; i < 10000; i++) {
        buf_str(&deep, "lease {");
    }
    assert_int_equal(leases_parse(&l, "f", deep.data, deep.len, 0, &e), ERR_MALFORMED);
    assert_int_equal(l.n, 0);
    for (size_t n = 0; n < strlen(LEASES); n++) {
        char *exact = mem_dup(LEASES, n > 0 ? n : 1);
        leases_parse(&l, "f", exact, n, 0, &e);
        mem_free(exact);
    }
    leases_free(&l);
    buf_free(&deep);
}

/* ---- DNS ---- */

static void name_to(struct buf *b, const char *name) {
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        buf_u8(b, (uint8_t)n);
        buf_add(b, name, n);
        name += n + (name[n] == '.');
    }
    buf_u8(b, 0);
}

static void head(struct buf *b, uint16_t id, uint16_t flags, uint16_t q, uint16_t an, uint16_t ar) {
    buf_u16(b, id);
    buf_u16(b, flags);
    buf_u16(b, q);
    buf_u16(b, an);
    buf_u16(b, 0);
    buf_u16(b, ar);
}

static void question(struct buf *b, const char *name, uint16_t type) {
    name_to(b, name);
    buf_u16(b, type);
    buf_u16(b, 1);
}

static void record(struct buf *b, const char *name, uint16_t type, const struct buf *rd) {
    name_to(b, name);
    buf_u16(b, type);
    buf_u16(b, 0x8001); /* with mDNS's cache-flush bit */
    buf_u32(b, 120);
    buf_u16(b, (uint16_t)rd->len);
    buf_add(b, rd->data, rd->len);
}

static void strings(struct buf *rd, const char *key, const uint8_t *p, size_t n) {
    struct buf all = BUF_INIT;
    buf_str(&all, key);
    buf_add(&all, p, n);
    for (size_t at = 0; at < all.len || at == 0;) {
        size_t part = all.len - at < 255 ? all.len - at : 255;
        buf_u8(rd, (uint8_t)part);
        buf_add(rd, all.data + at, part);
        at += part;
    }
    buf_free(&all);
}

static struct rng rng;
static struct dns_answer answer;

static enum err_code read_answer(const struct buf *b, const char *name, enum dns_type type,
                                 bool multicast) {
    void *exact = mem_dup(b->data, b->len);
    enum err_code rc = dns_answer_parse(exact, b->len, name, type, multicast, 7, &rng, &answer, &e);
    mem_free(exact);
    return rc;
}

/* proves: PH-162 */
static void txt_has_artifacts_in_binary(void **state) {
    struct buf m = BUF_INIT, rd = BUF_INIT;
    uint8_t ci[1500];
    for (size_t i = 0; i < sizeof ci; i++) {
        ci[i] = (uint8_t)(i * 7);
    }
    strings(&rd, "txtvers=", (const uint8_t *)"1", 1);
    strings(&rd, "ci=", ci, sizeof ci);
    strings(&rd, "OC=", ci, 252); /* just one full string */
    strings(&rd, "ov=", ci, 3);
    strings(&rd, "ci=", ci, 5); /* the first one counts */
    strings(&rd, "stray", ci, 5);
    head(&m, 7, 0x8180, 1, 1, 0);
    question(&m, "SN1._sztp.example.com", 16);
    record(&m, "SN1._sztp.EXAMPLE.com", 16, &rd);
    assert_int_equal(read_answer(&m, "sn1._sztp.example.com", DNS_TXT, false), ERR_OK);
    assert_int_equal(answer.ci.len, sizeof ci);
    assert_memory_equal(answer.ci.data, ci, sizeof ci);
    assert_int_equal(answer.owner.len, 252);
    assert_int_equal(answer.voucher.len, 3);
    dns_answer_free(&answer);
    /* Not ours: another id, another name. */
    m.data[1] = 8;
    assert_int_equal(read_answer(&m, "sn1._sztp.example.com", DNS_TXT, false), ERR_MALFORMED);
    m.data[1] = 7;
    assert_int_equal(read_answer(&m, "sn2._sztp.example.com", DNS_TXT, false), ERR_MALFORMED);
    /* Multicast: no question is repeated, id 0, other services beside it. */
    buf_clear(&m);
    head(&m, 0, 0x8400, 0, 2, 0);
    record(&m, "_other._tcp.local", 16, &rd);
    record(&m, "SN1._sztp.local", 16, &rd);
    assert_int_equal(read_answer(&m, "SN1._sztp.local", DNS_TXT, true), ERR_OK);
    assert_int_equal(answer.ci.len, sizeof ci);
    dns_answer_free(&answer);
    assert_int_equal(read_answer(&m, "SN2._sztp.local", DNS_TXT, true), ERR_ABSENT);
    for (size_t n = 0; n < m.len; n++) {
        struct buf part = {m.data, n > 0 ? n : 1, n};
        if (read_answer(&part, "SN1._sztp.local", DNS_TXT, true) == ERR_OK) {
            dns_answer_free(&answer);
        }
    }
    buf_free(&m);
    buf_free(&rd);
}

static void srv(struct buf *rd, uint16_t priority, uint16_t weight, uint16_t port,
                const char *host) {
    buf_clear(rd);
    buf_u16(rd, priority);
    buf_u16(rd, weight);
    buf_u16(rd, port);
    name_to(rd, host);
}

/* proves: PH-162 */
static void srv_gives_servers_by_priority_and_weight(void **state) {
    struct buf m = BUF_INIT, rd = BUF_INIT;
    int first[3] = {0};
    head(&m, 7, 0x8180, 1, 5, 0);
    question(&m, "_sztp._tcp.example.com", 33);
    srv(&rd, 20, 0, 443, "last.example.com");
    record(&m, "_sztp._tcp.example.com", 33, &rd);
    srv(&rd, 10, 90, 8443, "heavy.example.com");
    record(&m, "_sztp._tcp.example.com", 33, &rd);
    srv(&rd, 10, 10, 8444, "light.example.com");
    record(&m, "_sztp._tcp.example.com", 33, &rd);
    srv(&rd, 1, 0, 0, "no-port.example.com");
    record(&m, "_sztp._tcp.example.com", 33, &rd);
    srv(&rd, 1, 0, 443, "");
    record(&m, "_sztp._tcp.example.com", 33, &rd);
    rng_seed(&rng, 1);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(read_answer(&m, "_sztp._tcp.example.com", DNS_SRV, false), ERR_OK);
        assert_int_equal(answer.n_servers, 3);
        assert_string_equal(answer.servers[2].address, "last.example.com");
        first[answer.servers[0].port - 8443]++;
        dns_answer_free(&answer);
    }
    assert_in_range(first[0], 850, 950);
    /* As announced with an instance's name, in the additional part. */
    buf_clear(&m);
    head(&m, 0, 0x8400, 0, 1, 2);
    buf_clear(&rd);
    name_to(&rd, "PHS 1._sztp._tcp.local");
    record(&m, "_sztp._tcp.local", 12, &rd);
    srv(&rd, 0, 0, 8443, "phs.local");
    record(&m, "PHS 1._sztp._tcp.local", 33, &rd);
    buf_clear(&rd);
    buf_u32(&rd, 0xc0000201);
    record(&m, "phs.local", 1, &rd);
    assert_int_equal(read_answer(&m, "_sztp._tcp.local", DNS_SRV, true), ERR_OK);
    assert_int_equal(answer.n_servers, 1);
    assert_string_equal(answer.servers[0].address, "phs.local");
    dns_answer_free(&answer);
    assert_int_equal(read_answer(&m, "phs.local", DNS_ADDRESS, true), ERR_OK);
    assert_int_equal(answer.n_addresses, 1);
    assert_int_equal(answer.addresses[0].bytes[0], 192);
    dns_answer_free(&answer);
    buf_free(&m);
    buf_free(&rd);
}

static void answers_without_data_say_why(void **state) {
    static const struct {
        uint16_t flags;
        enum err_code rc;
    } cases[] = {{0x8180, ERR_ABSENT},
                 {0x8183, ERR_ABSENT},
                 {0x8182, ERR_UNAVAILABLE},
                 {0x8185, ERR_UNAVAILABLE},
                 {0x0180, ERR_MALFORMED}};
    struct buf m = BUF_INIT, rd = BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&m);
        head(&m, 7, cases[i].flags, 1, 0, 0);
        question(&m, "_sztp._tcp.a", 33);
        assert_int_equal(read_answer(&m, "_sztp._tcp.a", DNS_SRV, false), cases[i].rc);
    }
    buf_clear(&m);
    head(&m, 7, 0x8380, 1, 0, 0);
    question(&m, "_sztp._tcp.a", 33);
    assert_int_equal(read_answer(&m, "_sztp._tcp.a", DNS_SRV, false), ERR_OK);
    assert_true(answer.truncated);
    /* An alias is followed, and one that leads to itself ends. */
    buf_clear(&m);
    head(&m, 7, 0x8180, 1, 2, 0);
    question(&m, "_sztp._tcp.a", 33);
    name_to(&rd, "b.c");
    record(&m, "_sztp._tcp.a", 5, &rd);
    srv(&rd, 0, 0, 1, "h.c");
    record(&m, "b.c", 33, &rd);
    assert_int_equal(read_answer(&m, "_sztp._tcp.a", DNS_SRV, false), ERR_OK);
    assert_int_equal(answer.n_servers, 1);
    dns_answer_free(&answer);
    buf_clear(&m);
    head(&m, 7, 0x8180, 1, 1, 0);
    question(&m, "_sztp._tcp.a", 33);
    buf_clear(&rd);
    name_to(&rd, "_sztp._tcp.a");
    record(&m, "_sztp._tcp.a", 5, &rd);
    assert_int_equal(read_answer(&m, "_sztp._tcp.a", DNS_SRV, false), ERR_ABSENT);
    buf_free(&m);
    buf_free(&rd);
}

/* proves: PH-162 */
static void queries_are_made(void **state) {
    char name[DNS_NAME_TEXT_MAX];
    struct buf q = BUF_INIT;
    assert_int_equal(dns_serial_name("A.1 b", "example.com", name, &e), ERR_OK);
    assert_string_equal(name, "A\\0461\\032b._sztp.example.com");
    assert_int_equal(dns_query_print(name, DNS_TXT, false, 0x1234, &q, &e), ERR_OK);
    assert_memory_equal(q.data, "\x12\x34\x01\x00\0\1\0\0\0\0\0\1\5A.1 b\5_sztp", 24);
    buf_clear(&q);
    assert_int_equal(dns_query_print("_sztp._tcp.local", DNS_SRV, true, 5, &q, &e), ERR_OK);
    assert_memory_equal(q.data, "\0\0\0\0\0\2\0\0\0\0\0\0\5_sztp\4_tcp\5local\0\0\x21\0\1", 34);
    buf_clear(&q);
    char longest[80];
    memset(longest, 'x', 79);
    longest[79] = '\0';
    assert_int_equal(dns_serial_name(longest, "a", name, &e), ERR_INVALID);
    assert_int_equal(dns_serial_name("", "a", name, &e), ERR_INVALID);
    assert_int_equal(dns_query_print("a..b", DNS_TXT, false, 1, &q, &e), ERR_INVALID);
    buf_free(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uris_are_scheme_host_and_port),
        cmocka_unit_test(option_lists_uris_and_bad_ones_are_passed_over),
        cmocka_unit_test(plain_text_with_a_path_is_understood),
        cmocka_unit_test(instances_are_put_together_in_order),
        cmocka_unit_test(options_of_the_older_provisioning_are_seen),
        cmocka_unit_test(leases_of_dhclient_are_read),
        cmocka_unit_test(a_lease_by_hand),
        cmocka_unit_test(damaged_lease_files_are_refused_with_the_line),
        cmocka_unit_test(txt_has_artifacts_in_binary),
        cmocka_unit_test(srv_gives_servers_by_priority_and_weight),
        cmocka_unit_test(answers_without_data_say_why),
        cmocka_unit_test(queries_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
