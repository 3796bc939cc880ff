// SPDX-License-Identifier: Apache-2.0
/* The pure parts around the engine: configuration, Kea's documents, FRR's texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "bng/config.h"
#include "bng/frr.h"
#include "bng/keaconf.h"

#define GOOD                                                                                       \
    "{\"system-id\":\"bng1\",\"state\":\"/s\",\"socket\":\"/k\",\"clear-text\":true,"              \
    "\"managers\":[{\"host\":\"10.0.0.1\"}],\"kea\":{\"socket\":\"/a\",\"config-file\":\"/b\"},"   \
    "\"frr\":{},\"local-reserve\":{\"prefixes\":[\"10.254.0.0/20\"]},"                             \
    "\"domain-profiles\":[{\"name\":\"home\",\"partition\":\"p\",\"interface\":\"e0\","            \
    "\"server-address\":\"169.254.255.1\","                                                        \
    "\"excluded-last-octets\":[0,255],\"discard-routes\":{\"tag\":1000,\"backup-tag\":2000}}]}"

static struct bng_config config(void) {
    struct bng_config c;
    struct err err;
    if (bng_config_parse(GOOD, strlen(GOOD), "f", &c, &err) != ERR_OK) {
        fail_msg("%s: %s", err.path, err.text);
    }
    return c;
}

static void config_read(void **state) {
    struct bng_config c = config();
    assert_string_equal(c.settings.system_id, "bng1");
    assert_int_equal(c.managers[0].port, 20557);
    assert_true(c.frr.enabled);
    assert_int_equal(c.profiles[0].preferred_length, 24);
    assert_int_equal(c.profiles[0].tag, 1000);
    assert_int_equal(c.profiles[0].backup_tag, 2000);
    assert_true(c.profiles[0].excluded[255]);
    assert_int_equal(c.reserve.n_prefixes, 1);
    bng_config_free(&c);
}

/* Each fault is found, and the error says where and what. */
/* proves: APM-041 */
static void config_faults(void **state) {
    static const struct {
        const char *from, *to, *path, *text;
    } v[] = {
        {"\"bng1\"", "\"\"", "f/system-id", "1 to 45 characters"},
        {"\"bng1\"", "7", "f/system-id", "must be a string"},
        {"\"bng1\"", "\"0123456789012345678901234567890123456789012345\"", "f/system-id", "46"},
        {"\"clear-text\":true,", "", "f/tls", "is missing"},
        {"\"host\":\"10.0.0.1\"", "\"hots\":\"x\"", "f/managers[0]/host", "is missing"},
        {"\"host\":\"10.0.0.1\"", "\"host\":\"x\",\"port\":0", "f/managers[0]/port", "1 to 65535"},
        {"\"/b\"}", "\"/b\",\"hook\":1}", "f/kea/hook", "no such member"},
        {"\"/b\"}", "\"/b\",\"adopt\":\"maybe\"}", "f/kea/adopt", "no, report or yes"},
        {"10.254.0.0/20", "10.254.0.1/20", "f/local-reserve/prefixes", "[0]"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"preferred-prefix-length\":31",
         "f/domain-profiles[0]/preferred-prefix-length", "8 to 30"},
        {"[0,255]", "[0,256]", "f/domain-profiles[0]/excluded-last-octets", "0 to 255"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"lease-s\":100,\"renew-s\":90",
         "f/domain-profiles[0]/renew-s", "below rebind-s"},
        {"169.254.255.1", "::1", "f/domain-profiles[0]/server-address", "IPv4"},
        {"\"tag\":1000,", "", "f/domain-profiles[0]/discard-routes/tag", "is missing"},
        {"}]}", "},{\"name\":\"b\",\"partition\":\"p\",\"interface\":\"e0\"}]}",
         "f/domain-profiles[1]/match", "interface e0"},
        {"}]}", "},{\"name\":\"home\",\"partition\":\"p\",\"interface\":\"e1\"}]}",
         "f/domain-profiles[1]/name", "home-default"},
        {"\"frr\":{}", "\"frr\":[]", "f/frr", "must be an object"},
        {"\"bng1\"", "\"bng 1\"", "f/system-id", "without blanks"},
        {"\"bng1\"", "\"b\u00e9\"", "f/system-id", "printable ASCII"},
        {"\"name\":\"home\"", "\"name\":\"h\u00e9\"", "f/domain-profiles[0]/name", "ASCII"},
        {"\"name\":\"home\"", "\"name\":\"home \"", "f/domain-profiles[0]/name", "ends"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"source-partition-qualifier\":\"/x\"",
         "f/domain-profiles[0]/partition", "letters"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"dns\":\"192.0.2.53,\"",
         "f/domain-profiles[0]/dns", "commas"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"dns\":\"192.0.2.53 192.0.2.54\"",
         "f/domain-profiles[0]/dns", "commas"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"dns\":\"ns1\"", "f/domain-profiles[0]/dns",
         "IPv4"},
        {"\"e0\"", "\"e/0\"", "f/domain-profiles[0]/interface", "no name"},
        {"\"e0\"", "\"-n\"", "f/domain-profiles[0]/interface", "no name"},
        {"10.254.0.0/20", "0.0.0.0/0", "f/local-reserve/prefixes", "8 to 30"},
        {"10.254.0.0/20", "2001:db8::/127", "f/local-reserve/prefixes", "8 to 126"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"address-family\":\"ipv5\"",
         "f/domain-profiles[0]/address-family", "ipv4 or ipv6"},
        {"\"name\":\"home\"", "\"name\":\"home\",\"delegated-prefix-length\":56",
         "f/domain-profiles[0]/delegated-prefix-length", "no such member"},
        {"\"10.254.0.0/20\"", "\"10.254.0.0/20\",\"10.254.1.0/24\"", "f/local-reserve/prefixes",
         "[1]: overlaps [0]"},
        {"}]}", "}]", "f", "line 1"},
        {"\"frr\":{}", "\"frr\":{},\"frr\":{}", "f", "duplicate"},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        const char *at = strstr(GOOD, v[i].from);
        assert_non_null(at);
        char *text =
            mem_printf("%.*s%s%s", (int)(at - GOOD), GOOD, v[i].to, at + strlen(v[i].from));
        struct bng_config c;
        struct err err = {.code = ERR_OK};
        if (bng_config_parse(text, strlen(text), "f", &c, &err) == ERR_OK ||
            strcmp(err.path, v[i].path) != 0 || strstr(err.text, v[i].text) == NULL) {
            fail_msg("%zu: %s: %s", i, err.path, err.text);
        }
        bng_config_free(&c);
        mem_free(text);
    }
}

#define PAIR                                                                                       \
    "\"servers\":[{\"name\":\"a\",\"socket\":\"/a\",\"config-file\":\"/b\"},"                      \
    "{\"name\":\"b\",\"url\":\"https://[2001:db8::2]:8443/\",\"ca\":\"/ca\","                      \
    "\"interfaces\":{\"e0\":\"eth1/192.0.2.2\"}}]"

static enum err_code parse_with(const char *kea, struct bng_config *c, struct err *err) {
    static const char from[] = "\"socket\":\"/a\",\"config-file\":\"/b\"";
    const char *at = strstr(GOOD, from);
    char *text = mem_printf("%.*s%s%s", (int)(at - GOOD), GOOD, kea, at + strlen(from));
    enum err_code rc = bng_config_parse(text, strlen(text), "f", c, err);
    mem_free(text);
    return rc;
}

static void config_pair(void **state) {
    static const struct {
        const char *kea, *path, *text;
    } v[] = {
        {"\"url\":\"http://h\",\"socket\":\"/a\"", "f/kea/socket", "beside url"},
        {"\"url\":\"ftp://h/\"", "f/kea/url", "http://HOST:PORT/"},
        {"\"url\":\"http://h:0/\"", "f/kea/url", "http://HOST:PORT/"},
        {"\"url\":\"http://h:65536\"", "f/kea/url", "http://HOST:PORT/"},
        {"\"url\":\"http://h:80/x\"", "f/kea/url", "http://HOST:PORT/"},
        {"\"url\":\"http://[::1]x\"", "f/kea/url", "http://HOST:PORT/"},
        {"\"url\":\"https://h/\"", "f/kea/ca", "is missing"},
        {"\"url\":\"https://h/\",\"ca\":\"/c\",\"certificate\":\"/d\"", "f/kea/key", "is missing"},
        {"\"url\":\"http://h/\",\"ca\":\"/c\"", "f/kea/url", "must be https"},
        {"\"servers\":[]", "f/kea/servers", "1 to 2"},
        {"\"servers\":[{\"socket\":\"/a\",\"config-file\":\"/b\"}]", "f/kea/servers[0]/name",
         "is missing"},
        {"\"servers\":[{\"name\":\"a\",\"url\":\"http://h\"}],\"socket\":\"/a\"", "f/kea/socket",
         "no such member"},
        {"\"servers\":[{\"name\":\"a\",\"url\":\"http://h\"},{\"name\":\"a\",\"url\":\"http://"
         "g\"}]",
         "f/kea/servers[1]/name", "servers[0]"},
        {"\"servers\":[{\"name\":\"a\",\"url\":\"http://h\"},{\"name\":\"b\",\"url\":"
         "\"http://h:8000/\"}]",
         "f/kea/servers[1]/url", "servers[0]"},
        {"\"servers\":[{\"name\":\"a\",\"socket\":\"/a\"}]", "f/kea/servers[0]/config-file",
         "is missing"},
        {"\"url\":\"http://h\",\"interfaces\":{\"e0\":\"e1/x\"}", "f/kea/interfaces",
         "e0: must be"},
        {"\"url\":\"http://h\",\"interfaces\":{\"e0\":\"\"}", "f/kea/interfaces", "e0: must be"},
        {"\"url\":\"http://h\",\"interfaces\":[]", "f/kea/interfaces", "object"},
    };
    struct bng_config c;
    struct err err;
    if (parse_with(PAIR, &c, &err) != ERR_OK) {
        fail_msg("%s: %s", err.path, err.text);
    }
    assert_int_equal(c.kea.n_servers, 2);
    const struct bng_kea_server *b = &c.kea.servers[1];
    assert_string_equal(c.kea.servers[0].socket, "/a");
    assert_string_equal(b->host, "2001:db8::2");
    assert_int_equal(b->port, 8443);
    assert_true(b->tls && b->config_file[0] == '\0');
    assert_string_equal(b->interfaces[0].name, "eth1");
    assert_int_equal(b->interfaces[0].address.family, 4);
    bng_config_free(&c);
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        if (parse_with(v[i].kea, &c, &err) == ERR_OK || strcmp(err.path, v[i].path) != 0 ||
            strstr(err.text, v[i].text) == NULL) {
            fail_msg("%zu: %s: %s", i, err.path, err.text);
        }
        bng_config_free(&c);
    }
}

static const char kea_config[] =
    "{\"Dhcp4\":{\"interfaces-config\":{\"interfaces\":[\"e0\",\"e9\"]},\"valid-lifetime\":7,"
    "\"client-classes\":[{\"name\":\"voip\",\"test\":\"x\"},{\"name\":\"weft-old\"}],"
    "\"subnet4\":[{\"id\":7,\"subnet\":\"10.7.0.0/24\",\"interface\":\"e0\"},"
    "{\"id\":8,\"subnet\":\"10.8.0.0/24\"}],"
    "\"shared-networks\":[{\"name\":\"theirs\",\"interface\":\"e5\",\"subnet4\":["
    "{\"id\":9,\"subnet\":\"10.9.0.0/24\"}]},"
    "{\"name\":\"weft-home-default\",\"interface\":\"e0\",\"subnet4\":["
    "{\"id\":100000,\"subnet\":\"10.1.0.0/24\"}]}]},\"hash\":\"abc\"}";

static void kea_documents(void **state) {
    struct bng_config c = config();
    json_t *base = json_loads(kea_config, 0, NULL);
    struct bng_subnet s[2] = {
        {.id = 100001,
         .prefix = ip4_prefix(0x0a010100, 24),
         .profile = &c.profiles[0],
         .network = &c.profiles[0]},
        {.id = 100002,
         .prefix = ip4_prefix(0x0a010200, 24),
         .profile = &c.profiles[0],
         .network = &c.profiles[0]},
    };
    struct err err;
    size_t culprit;
    s[1].drain = true;
    snprintf(s[0].domain, sizeof s[0].domain, "home-default");
    snprintf(s[1].domain, sizeof s[1].domain, "home-default");
    json_t *out = bng_keaconf_build(base, c.profiles, c.n_profiles, s, 2, &culprit, &err);
    assert_non_null(out);
    char *text = json_dumps(out, JSON_COMPACT);
    assert_null(strstr(text, "hash"));
    assert_null(strstr(text, "weft-old"));
    assert_null(strstr(text, "100000"));
    assert_non_null(strstr(text, "\"interfaces\":[\"e0/169.254.255.1\",\"e9\"]"));
    assert_non_null(strstr(text, "\"name\":\"theirs\""));
    assert_non_null(strstr(text, "10.1.1.2-10.1.1.254"));
    assert_non_null(strstr(text, "\"10.1.2.2-10.1.2.254\",\"client-class\":\"weft-drain\""));
    assert_non_null(strstr(text, "\"10.1.1.1\""));
    free(text);
    assert_true(bng_keaconf_same(out, s, 2));
    s[1].drain = false;
    assert_false(bng_keaconf_same(out, s, 2));
    s[1].drain = true;
    assert_false(bng_keaconf_same(out, s, 1));
    c.profiles[0].lease_s++;
    assert_false(bng_keaconf_same(out, s, 2));
    assert_false(bng_keaconf_same(base, s, 2));
    uint32_t ids[4];
    assert_int_equal(bng_keaconf_ids(out, ids, 4), 2);
    assert_int_equal(ids[1], 100002);
    /* Without pools nothing of ours is left. */
    json_t *none = bng_keaconf_build(out, c.profiles, c.n_profiles, s, 0, &culprit, &err);
    text = json_dumps(none, JSON_COMPACT);
    assert_null(strstr(text, "weft-"));
    free(text);
    json_decref(none);
    /* A subnet of the operator's in the way. */
    s[0].prefix = ip4_prefix(0x0a090080, 25);
    assert_null(bng_keaconf_build(base, c.profiles, c.n_profiles, s, 2, &culprit, &err));
    assert_int_equal(culprit, 0);
    assert_non_null(strstr(err.text, "10.9.0.0/24"));
    json_decref(out);
    json_decref(base);
    bng_config_free(&c);
}

#define GOOD6                                                                                      \
    "{\"system-id\":\"bng1\",\"managers\":[{\"host\":\"::1\"}],\"clear-text\":true,"               \
    "\"state\":\"/s\",\"socket\":\"/k\",\"kea6\":{\"socket\":\"/a\",\"config-file\":\"/b\"},"      \
    "\"local-reserve\":{\"prefixes\":[\"2001:db8:f::/48\"]},\"domain-profiles\":["                 \
    "{\"name\":\"na\",\"partition\":\"p\",\"interface\":\"e0\",\"address-family\":\"ipv6\"},"      \
    "{\"name\":\"pd\",\"partition\":\"q\",\"interface\":\"e0\",\"address-family\":\"ipv6\","       \
    "\"delegated-prefix-length\":56,\"dns\":\"2001:db8::53\"}]}"

static struct ip_prefix prefix_at(const char *text) {
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(text, &p, NULL), ERR_OK);
    return p;
}

static void config_six(void **state) {
    static const struct {
        const char *from, *to, *path, *text;
    } v[] = {
        {"\"kea6\":{", "\"kea\":{", "f/kea6", "domain-profiles[0] is of IPv6"},
        {":56,", ":56,\"preferred-prefix-length\":57,",
         "f/domain-profiles[1]/preferred-prefix-length", "at most delegated-prefix-length, 56"},
        {"\"dns\":\"2001:db8::53\"", "\"dns\":\"192.0.2.53\"", "f/domain-profiles[1]/dns",
         "IPv6 addresses"},
        {"\"dns\":\"2001:db8::53\"", "\"relays\":[\"192.0.2.1\"]", "f/domain-profiles[1]/relays",
         "an IPv6 address"},
        {"\"delegated-prefix-length\":56,", "", "f/domain-profiles[1]/delegated-prefix-length",
         "one may give addresses, one delegate prefixes"},
        {":56,", ":56,\"gateway-last-octet\":1,", "f/domain-profiles[1]/gateway-last-octet",
         "no such member"},
    };
    for (size_t i = 0; i <= sizeof v / sizeof *v; i++) {
        bool good = i == sizeof v / sizeof *v;
        const char *at = good ? GOOD6 : strstr(GOOD6, v[i].from);
        char *text = mem_printf("%.*s%s%s", (int)(at - GOOD6), GOOD6, good ? "" : v[i].to,
                                at + (good ? 0 : strlen(v[i].from)));
        struct bng_config c;
        struct err err = {.code = ERR_OK};
        enum err_code rc = bng_config_parse(text, strlen(text), "f", &c, &err);
        if (good != (rc == ERR_OK) ||
            (!good && (strcmp(err.path, v[i].path) != 0 || strstr(err.text, v[i].text) == NULL))) {
            fail_msg("%zu: %s: %s", i, err.path, err.text);
        }
        if (good) {
            struct ip_prefix px = prefix_at("2001:db8::/120");
            assert_int_equal(c.profiles[0].preferred_length, 120);
            assert_int_equal(c.profiles[1].preferred_length, 48);
            assert_int_equal(bng_profile_total(&c.profiles[0], &px), 255);
            px = prefix_at("2001:db8::/64");
            assert_true(bng_profile_total(&c.profiles[0], &px) == UINT64_MAX);
            px = prefix_at("2001:db8::/48");
            assert_int_equal(bng_profile_total(&c.profiles[1], &px), 256);
        }
        bng_config_free(&c);
        mem_free(text);
    }
}

static const char kea6_config[] =
    "{\"Dhcp6\":{\"interfaces-config\":{\"interfaces\":[\"e0\"]},\"subnet6\":[{\"id\":7,"
    "\"subnet\":\"2001:db8:7::/64\",\"interface\":\"e0\"}],\"shared-networks\":[{\"name\":"
    "\"weft-gone\",\"interface\":\"e0\",\"subnet6\":[{\"id\":100000,\"subnet\":"
    "\"2001:db8:6::/64\"}]}]},\"hash\":\"abc\"}";

/* An address and a prefix are asked for in one message: both kinds stand in one network. */
static void kea6_documents(void **state) {
    struct bng_config c;
    struct err err;
    assert_int_equal(bng_config_parse(GOOD6, strlen(GOOD6), "f", &c, &err), ERR_OK);
    assert_true(bng_profile_together(&c.profiles[0], &c.profiles[1]));
    json_t *base = json_loads(kea6_config, 0, NULL);
    struct bng_subnet s[2] = {
        {.id = 100001, .profile = &c.profiles[0], .network = &c.profiles[0]},
        {.id = 100002, .profile = &c.profiles[1], .network = &c.profiles[0], .drain = true},
    };
    size_t culprit;
    s[0].prefix = prefix_at("2001:db8:1::/120");
    s[1].prefix = prefix_at("2001:db8:2::/48");
    snprintf(s[0].domain, sizeof s[0].domain, "na-default");
    snprintf(s[1].domain, sizeof s[1].domain, "na-default");
    json_t *out = bng_keaconf_build(base, c.profiles, c.n_profiles, s, 2, &culprit, &err);
    assert_non_null(out);
    char *text = json_dumps(out, JSON_COMPACT);
    assert_null(strstr(text, "100000"));
    assert_non_null(strstr(text, "\"weft-na-default\""));
    assert_null(strstr(text, "weft-pd-default"));
    assert_non_null(strstr(text, "\"2001:db8:1::1-2001:db8:1::ff\""));
    assert_non_null(strstr(text, "{\"prefix\":\"2001:db8:2::\",\"prefix-len\":48,"
                                 "\"delegated-len\":56,\"client-class\":\"weft-drain\"}"));
    assert_non_null(strstr(text, "\"dns-servers\",\"data\":\"2001:db8::53\""));
    free(text);
    assert_true(bng_keaconf_same(out, s, 2));
    assert_int_equal(bng_keaconf_ids(out, NULL, 0), 2);
    s[1].drain = false;
    assert_false(bng_keaconf_same(out, s, 2));
    s[1].drain = true;
    c.profiles[1].delegated_length = 60;
    assert_false(bng_keaconf_same(out, s, 2));
    c.profiles[1].delegated_length = 56;
    s[0].prefix = prefix_at("2001:db8:1::100/120");
    assert_false(bng_keaconf_same(out, s, 2));
    s[0].prefix = prefix_at("2001:db8:7::/120");
    assert_null(bng_keaconf_build(base, c.profiles, c.n_profiles, s, 2, &culprit, &err));
    assert_non_null(strstr(err.text, "2001:db8:7::/64"));
    struct bng_foreign f[2];
    assert_int_equal(bng_keaconf_foreign(base, c.profiles, c.n_profiles, f, 2), 1);
    assert_non_null(strstr(f[0].why, "only subnets of IPv4"));
    json_decref(out);
    json_decref(base);
    /* A DHCPv4 server at the place of the other. */
    base = json_loads(kea_config, 0, NULL);
    assert_null(bng_keaconf_build(base, c.profiles, c.n_profiles, s, 2, &culprit, &err));
    assert_non_null(strstr(err.text, "of this family"));
    json_decref(base);
    bng_config_free(&c);
}

static void adoption(void **state) {
    struct bng_config c = config();
    json_t *base = json_loads(kea_config, 0, NULL);
    struct bng_foreign f[8];
    assert_int_equal(bng_keaconf_foreign(base, c.profiles, c.n_profiles, f, 8), 3);
    assert_string_equal(f[0].domain, "home-default");
    assert_string_equal(f[1].domain, "");
    assert_non_null(strstr(f[1].why, "no interface"));
    assert_non_null(strstr(f[2].why, "interface e5"));
    bng_keaconf_take(base, 7);
    bng_keaconf_take(base, 100000); /* ours: not taken from there */
    assert_int_equal(bng_keaconf_foreign(base, c.profiles, c.n_profiles, f, 8), 2);
    assert_int_equal(bng_keaconf_ids(base, NULL, 0), 1);
    json_decref(base);
    bng_config_free(&c);
}

static void each(uint32_t id, uint64_t used, uint64_t cumulative, void *arg) {
    uint64_t *sum = arg;
    *sum += id * 1000000 + used * 1000 + cumulative;
}

static void statistics(void **state) {
    json_t *a = json_loads(
        "{\"arguments\":{\"result-set\":{\"columns\":[\"subnet-id\",\"total-addresses\","
        "\"cumulative-assigned-addresses\",\"assigned-addresses\",\"declined-addresses\"],"
        "\"rows\":[[1,100,30,20,5],[2,100,2,0,1],[\"x\",1,1,1,1],[3]]}},\"result\":0}",
        0, NULL);
    uint64_t sum = 0;
    assert_true(bng_keaconf_stats(a, each, &sum));
    assert_int_equal(sum, 1020030 + 2001002 + 3000000);
    sum = 0;
    json_decref(a);
    a = json_loads("{\"arguments\":{\"result-set\":{\"columns\":[\"subnet-id\",\"total-nas\","
                   "\"cumulative-assigned-nas\",\"assigned-nas\",\"declined-nas\",\"total-pds\","
                   "\"cumulative-assigned-pds\",\"assigned-pds\"],"
                   "\"rows\":[[1,100,30,20,5,0,0,0],[2,0,0,0,0,256,9,4]]}},\"result\":0}",
                   0, NULL);
    assert_true(bng_keaconf_stats(a, each, &sum));
    assert_int_equal(sum, 1020030 + 2004009);
    json_t *b = json_loads("{\"result\":0,\"arguments\":{}}", 0, NULL);
    assert_false(bng_keaconf_stats(b, each, &sum));
    json_decref(a);
    json_decref(b);
}

static void frr_text(void **state) {
    struct bng_route r[4];
    bool complete;
    const char *t = "Building configuration...\n\nCurrent configuration:\n!\nhostname vm\n!\n"
                    "ip route 10.10.0.0/24 blackhole tag 2000\n"
                    "ip route 10.10.1.0/24 blackhole\n"
                    "ip route 10.10.2.0/24 10.0.0.1 tag 5\n"
                    "ip route 10.10.3.0/24 blackhole tag 7 table 5\n"
                    "ip route 10.10.4.0/24 blackhole tag 8\n"
                    "ipv6 route 2001:db8::/48 blackhole tag 9\n"
                    "ipv6 route 2001:db8:1::/48 blackhole\n!\nend\n";
    assert_int_equal(frr_parse(t, r, 4, &complete), 3);
    assert_int_equal(r[2].tag, 9);
    assert_int_equal(r[2].prefix.len, 48);
    assert_true(complete);
    assert_int_equal(r[0].tag, 2000);
    assert_int_equal(r[1].tag, 8);
    assert_int_equal(frr_parse("staticd is not running\n", r, 4, &complete), 0);
    assert_false(complete);
    assert_int_equal(frr_parse("", r, 4, &complete), 0);
    assert_false(complete);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_read),    cmocka_unit_test(config_faults),
        cmocka_unit_test(config_pair),    cmocka_unit_test(config_six),
        cmocka_unit_test(kea6_documents), cmocka_unit_test(kea_documents),
        cmocka_unit_test(adoption),       cmocka_unit_test(statistics),
        cmocka_unit_test(frr_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
