// SPDX-License-Identifier: Apache-2.0
#include "bng/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/json_in.h"

enum { CONFIG_FILE_MAX = 16 << 20 };

/* A name that the manager will know us or ours by: it takes no other (src/pools/apmi_check.c). */
static void take_name(struct json_in *x, const char *key, bool needed, bool blanks, char *out,
                      size_t size) {
    json_in_str(x, key, needed, 1, out, size);
    for (size_t i = 0; out[i] != '\0'; i++) {
        bool inside = i > 0 && out[i + 1] != '\0';
        if (out[i] < (blanks && inside ? ' ' : '!') || out[i] > '~') {
            json_in_fail(x, ERR_INVALID, key, "must be of printable ASCII characters%s",
                         blanks ? ", without blanks at its ends" : ", without blanks");
            return;
        }
    }
}

static void check_partition(struct json_in *x, const char *name) {
    for (size_t i = 0; name[i] != '\0'; i++) {
        char c = name[i];
        bool word =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-'))) {
            json_in_fail(x, ERR_INVALID, "partition",
                         "must be of letters, digits, _, and behind the first also . and -");
            return;
        }
    }
}

static void take_interface(struct json_in *x, char *out, size_t size) {
    json_in_str(x, "interface", true, 1, out, size);
    if (strpbrk(out, "/ :") != NULL || out[0] == '-' || out[0] == '.') {
        json_in_fail(x, ERR_INVALID, "interface", "is no name of an interface");
    }
}

/* "192.0.2.53, 192.0.2.54": what Kea takes as the data of option 6. */
static void check_addresses(struct json_in *x, const char *key, const char *list, unsigned family) {
    while (*list != '\0') {
        char one[IP_TEXT_MAX];
        struct ip_addr a;
        list += strspn(list, " ");
        size_t n = strcspn(list, ", ");
        snprintf(one, sizeof one, "%.*s", (int)(n < sizeof one ? n : sizeof one - 1), list);
        list += n + strspn(list + n, " ");
        if (ip_addr_parse(one, &a, NULL) != ERR_OK || a.family != family ||
            (*list == ',' && list[1 + strspn(list + 1, " ")] == '\0') ||
            (*list != ',' && *list != '\0')) {
            json_in_fail(x, ERR_INVALID, key, "must be IPv%u addresses, with commas between",
                         family);
            return;
        }
        list += *list == ',';
    }
}

static void take_addr(struct json_in *x, const char *key, bool needed, struct ip_addr *out) {
    char text[IP_TEXT_MAX] = "";
    struct err e;
    json_in_str(x, key, needed, 1, text, sizeof text);
    if (text[0] == '\0') {
        return;
    }
    if (ip_addr_parse(text, out, &e) != ERR_OK || out->family != 4) {
        json_in_fail(x, ERR_INVALID, key, "must be an IPv4 address such as 192.0.2.1");
    }
}

static void read_excluded(struct json_in *x, struct bng_profile *p) {
    json_t *list = json_in_list(x, "excluded-last-octets", false, 0, 256);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 255) {
            json_in_fail(x, ERR_INVALID, "excluded-last-octets",
                         "must be whole numbers from 0 to 255");
            break;
        }
        p->excluded[json_integer_value(v)] = true;
    }
    json_decref(list);
}

static void read_relays(struct json_in *x, struct bng_profile *p) {
    json_t *list = json_in_list(x, "relays", false, 0, BNG_RELAYS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        struct ip_addr *a = &p->relays[p->n_relays++];
        if (s == NULL || ip_addr_parse(s, a, NULL) != ERR_OK || a->family != p->family) {
            json_in_fail(x, ERR_INVALID, "relays", "[%zu]: must be an IPv%u address", i, p->family);
            break;
        }
    }
    json_decref(list);
}

static void check_profile(struct json_in *x, const struct bng_profile *p) {
    struct ip_prefix any = {.addr.family = (uint8_t)p->family, .len = (uint8_t)p->preferred_length};
    struct bng_range *r = mem_array(NULL, BNG_RANGES_MAX, sizeof *r);
    if (x->rc == ERR_OK && bng_profile_total(p, &any) == 0) {
        json_in_fail(x, ERR_INVALID, "", "a /%u has no address left for subscribers",
                     p->preferred_length);
    }
    if (x->rc == ERR_OK && p->family == 4 &&
        bng_profile_ranges(p, &any, r, BNG_RANGES_MAX) > BNG_RANGES_MAX) {
        json_in_fail(x, ERR_INVALID, "excluded-last-octets",
                     "cuts a /%u into more than %d ranges: fewer octets, or longer prefixes",
                     p->preferred_length, (int)BNG_RANGES_MAX);
    }
    if (x->rc == ERR_OK && p->renew_s >= p->rebind_s) {
        json_in_fail(x, ERR_INVALID, "renew-s", "must be below rebind-s (%u)", p->rebind_s);
    }
    if (x->rc == ERR_OK && p->rebind_s >= p->lease_s) {
        json_in_fail(x, ERR_INVALID, "rebind-s", "must be below lease-s (%u)", p->lease_s);
    }
    mem_free(r);
}

/* The family, and what goes with it: an IPv6 pool has no gateway of its own (routers announce
 * themselves, RFC 4861) and no octets to leave out. */
static void read_family(struct json_in *x, struct bng_profile *p) {
    char family[8] = "ipv4";
    json_in_str(x, "address-family", false, 4, family, sizeof family);
    p->family = strcmp(family, "ipv6") == 0 ? 6 : 4;
    if (p->family == 4 && strcmp(family, "ipv4") != 0) {
        json_in_fail(x, ERR_INVALID, "address-family", "must be ipv4 or ipv6");
    }
    if (p->family == 4) {
        p->preferred_length = (unsigned)json_in_int(x, "preferred-prefix-length", 24, 8, 30);
        p->gateway_octet = (unsigned)json_in_int(x, "gateway-last-octet", 1, 0, 8);
        take_addr(x, "server-address", false, &p->server_address);
        read_excluded(x, p);
        return;
    }
    p->delegated_length = (unsigned)json_in_int(x, "delegated-prefix-length", 0, 9, 127);
    p->preferred_length =
        (unsigned)json_in_int(x, "preferred-prefix-length",
                              p->delegated_length >= 16 ? p->delegated_length - 8 : 120, 8, 126);
    if (p->preferred_length > bng_profile_longest(p)) {
        json_in_fail(x, ERR_INVALID, "preferred-prefix-length",
                     "must be at most delegated-prefix-length, %u", p->delegated_length);
    }
}

static void read_profile(struct json_in *x, struct bng_profile *p) {
    char qualifier[128] = "";
    snprintf(p->routing_instance, sizeof p->routing_instance, "default");
    take_name(x, "name", true, true, p->name, sizeof p->name);
    take_name(x, "routing-instance", false, true, p->routing_instance, sizeof p->routing_instance);
    take_name(x, "subscriber-group", false, true, p->subscriber_group, sizeof p->subscriber_group);
    json_in_str(x, "partition", true, 1, p->partition, sizeof p->partition);
    json_in_str(x, "source-partition-qualifier", false, 1, qualifier, sizeof qualifier);
    if (strlen(p->partition) + strlen(qualifier) >= sizeof p->partition) {
        json_in_fail(x, ERR_INVALID, "source-partition-qualifier",
                     "partition and qualifier together have at most %zu characters",
                     sizeof p->partition - 1);
    } else {
        memcpy(p->partition + strlen(p->partition), qualifier, strlen(qualifier) + 1);
    }
    check_partition(x, p->partition);
    read_family(x, p);
    p->hold_down_s = (uint32_t)json_in_int(x, "reclamation-hold-down-s", 60, 0, 86400);
    p->horizon_s = (uint32_t)json_in_int(x, "horizon-s", 60, 0, 86400);
    p->max_apportion = json_in_int(x, "max-apportion-threshold", 0, 0, UINT32_MAX);
    p->keep_last_pool = json_in_bool(x, "keep-last-pool", true);
    take_interface(x, p->interface, sizeof p->interface);
    p->lease_s = (uint32_t)json_in_int(x, "lease-s", 3600, 4, UINT32_MAX);
    p->renew_s = (uint32_t)json_in_int(x, "renew-s", p->lease_s / 2, 1, UINT32_MAX);
    p->rebind_s = (uint32_t)json_in_int(x, "rebind-s", p->lease_s / 8 * 7, 2, UINT32_MAX);
    json_in_str(x, "match", false, 1, p->match, sizeof p->match);
    json_in_str(x, "dns", false, 1, p->dns, sizeof p->dns);
    check_addresses(x, "dns", p->dns, p->family);
    read_relays(x, p);
    struct json_in d;
    if (json_in_object(x, "discard-routes", false, &d)) {
        p->discard = true;
        p->tag = (uint32_t)json_in_int(&d, "tag", 0, 1, UINT32_MAX);
        p->backup_tag = (uint32_t)json_in_int(&d, "backup-tag", p->tag, 1, UINT32_MAX);
        if (p->tag == 0) {
            json_in_fail(&d, ERR_MISSING, "tag", "is missing");
        }
        json_in_done(x, &d);
    }
    check_profile(x, p);
}

static void read_profiles(struct json_in *root, struct bng_config *c) {
    json_t *list = json_in_list(root, "domain-profiles", true, 1, BNG_PROFILES_MAX);
    c->profiles = mem_alloc((json_array_size(list) + 1) * sizeof *c->profiles);
    for (size_t i = 0; i < json_array_size(list) && root->rc == ERR_OK; i++) {
        struct json_in x;
        struct bng_profile *p = &c->profiles[c->n_profiles++];
        if (json_in_element(root, "domain-profiles", list, i, &x)) {
            read_profile(&x, p);
        }
        for (size_t j = 0; j < i && x.rc == ERR_OK; j++) {
            char a[BNG_DOMAIN_NAME_MAX + 1], b[BNG_DOMAIN_NAME_MAX + 1];
            bng_domain_name(p, a);
            bng_domain_name(&c->profiles[j], b);
            if (strcmp(a, b) == 0) {
                json_in_fail(&x, ERR_EXISTS, "name",
                             "makes the domain %s, as domain-profiles[%zu] does", a, j);
            } else if (bng_profile_together(p, &c->profiles[j])) {
                if ((p->delegated_length == 0) == (c->profiles[j].delegated_length == 0)) {
                    json_in_fail(
                        &x, ERR_CONFLICT, "delegated-prefix-length",
                        "domain-profiles[%zu] is on interface %s with the same `match`: one may "
                        "give addresses, one delegate prefixes",
                        j, p->interface);
                }
            } else if (p->family == c->profiles[j].family &&
                       strcmp(p->interface, c->profiles[j].interface) == 0 &&
                       (p->match[0] == '\0' || c->profiles[j].match[0] == '\0')) {
                json_in_fail(
                    &x, ERR_CONFLICT, "match",
                    "is missing: domain-profiles[%zu] is on interface %s too, and only `match` "
                    "can tell their subscribers apart",
                    j, p->interface);
            }
        }
        json_in_done(root, &x);
    }
    json_decref(list);
}

static void read_managers(struct json_in *root, struct bng_config *c) {
    json_t *list = json_in_list(root, "managers", true, 1, BNG_MANAGERS_MAX);
    for (size_t i = 0; i < json_array_size(list) && root->rc == ERR_OK; i++) {
        struct json_in x;
        struct bng_manager *m = &c->managers[c->n_managers++];
        if (json_in_element(root, "managers", list, i, &x)) {
            json_in_str(&x, "host", true, 1, m->host, sizeof m->host);
            m->port = (uint16_t)json_in_int(&x, "port", 20557, 1, 65535);
            json_in_str(&x, "verify-name", false, 1, m->verify_name, sizeof m->verify_name);
        }
        json_in_done(root, &x);
    }
    json_decref(list);
    struct json_in t;
    c->clear_text = json_in_bool(root, "clear-text", false);
    if (json_in_object(root, "tls", false, &t)) {
        json_in_str(&t, "certificate", true, 1, c->certificate, sizeof c->certificate);
        json_in_str(&t, "key", true, 1, c->key, sizeof c->key);
        json_in_str(&t, "ca", true, 1, c->ca, sizeof c->ca);
        if (c->clear_text) {
            json_in_fail(&t, ERR_CONFLICT, "", "can't stand beside clear-text");
        }
        json_in_done(root, &t);
    } else if (!c->clear_text) {
        json_in_fail(
            root, ERR_MISSING, "tls",
            "is missing; a session without TLS must be asked for with \"clear-text\": true");
    }
}

/* "http://HOST[:PORT][/]" or https; an IPv6 address in brackets. */
static void take_url(struct json_in *x, struct bng_kea_server *k) {
    char url[300] = "", port[8] = "8000";
    json_in_str(x, "url", true, 8, url, sizeof url);
    k->tls = strncmp(url, "https://", 8) == 0;
    const char *at = k->tls ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : "";
    bool bracket = *at == '[';
    size_t n = strcspn(at + bracket, bracket ? "]" : ":/");
    snprintf(k->host, sizeof k->host, "%.*s", (int)(n < 255 ? n : 255), at + bracket);
    at += bracket + n;
    at += bracket && *at == ']';
    if (*at == ':') {
        n = strspn(at + 1, "0123456789");
        snprintf(port, sizeof port, "%.*s", (int)(n < 7 ? n : 7), at + 1);
        at += 1 + n;
    }
    unsigned long number = strtoul(port, NULL, 10);
    if (x->rc == ERR_OK && (k->host[0] == '\0' || number == 0 || number > 65535 ||
                            (strcmp(at, "") != 0 && strcmp(at, "/") != 0))) {
        json_in_fail(x, ERR_INVALID, "url",
                     "must be of the form http://HOST:PORT/ or https://HOST:PORT/");
    }
    k->port = (uint16_t)number;
}

/* {"subs0": "eth1/192.0.2.2"}: what the profiles call subs0 is eth1 there, with that address. */
static void read_interfaces(struct json_in *x, struct bng_kea_server *k) {
    json_t *map = json_in_take(x, "interfaces", false), *v;
    const char *key;
    if (map != NULL && (!json_is_object(map) || json_object_size(map) > BNG_INTERFACES_MAX)) {
        json_in_fail(x, ERR_INVALID, "interfaces", "must be an object of at most %d members",
                     (int)BNG_INTERFACES_MAX);
        json_decref(map);
        return;
    }
    json_object_foreach(map, key, v) {
        struct bng_kea_interface *i = &k->interfaces[k->n_interfaces++];
        const char *s = json_string_value(v);
        size_t n = s != NULL ? strcspn(s, "/") : 0;
        if (n == 0 || n >= sizeof i->name || key[0] == '\0' || strlen(key) >= sizeof i->profile ||
            (s[n] == '/' &&
             (ip_addr_parse(s + n + 1, &i->address, NULL) != ERR_OK || i->address.family != 4))) {
            json_in_fail(x, ERR_INVALID, "interfaces",
                         "%s: must be the name of an interface there, or NAME/IPV4-ADDRESS", key);
            break;
        }
        snprintf(i->profile, sizeof i->profile, "%s", key);
        snprintf(i->name, sizeof i->name, "%.*s", (int)n, s);
    }
    json_decref(map);
}

static void read_server(struct json_in *x, struct bng_kea_server *k, bool named) {
    if (named) {
        take_name(x, "name", true, false, k->name, sizeof k->name);
    }
    if (json_object_get(x->o, "url") != NULL) {
        take_url(x, k);
        json_in_str(x, "ca", k->tls, 1, k->ca, sizeof k->ca);
        json_in_str(x, "certificate", false, 1, k->certificate, sizeof k->certificate);
        json_in_str(x, "key", k->certificate[0] != '\0', 1, k->key, sizeof k->key);
        if (json_object_get(x->o, "socket") != NULL) {
            json_in_fail(x, ERR_CONFLICT, "socket", "can't stand beside url");
        }
        if (x->rc == ERR_OK && !k->tls && (k->ca[0] != '\0' || k->certificate[0] != '\0')) {
            json_in_fail(x, ERR_CONFLICT, "url", "must be https for ca, certificate and key");
        }
    } else {
        json_in_str(x, "socket", true, 1, k->socket, sizeof k->socket);
    }
    json_in_str(x, "config-file", k->host[0] == '\0', 1, k->config_file, sizeof k->config_file);
    read_interfaces(x, k);
}

static void read_servers(struct json_in *x, struct bng_kea_config *k) {
    if (json_object_get(x->o, "servers") == NULL) {
        k->n_servers = 1;
        k->servers = MEM_NEW(struct bng_kea_server);
        read_server(x, &k->servers[0], false);
        return;
    }
    k->trust_partner_down = json_in_bool(x, "trust-partner-down", false);
    json_t *list = json_in_list(x, "servers", true, 1, BNG_SERVERS_MAX);
    k->servers = mem_alloc((json_array_size(list) + 1) * sizeof *k->servers);
    for (size_t i = 0; i < json_array_size(list) && x->rc == ERR_OK; i++) {
        struct json_in s;
        if (json_in_element(x, "servers", list, i, &s)) {
            read_server(&s, &k->servers[k->n_servers++], true);
        }
        const struct bng_kea_server *a = &k->servers[0], *b = &k->servers[i];
        if (i > 0 && s.rc == ERR_OK && strcmp(a->name, b->name) == 0) {
            json_in_fail(&s, ERR_EXISTS, "name", "is that of servers[0]");
        }
        if (i > 0 && s.rc == ERR_OK && strcmp(a->socket, b->socket) == 0 &&
            strcmp(a->host, b->host) == 0 && a->port == b->port) {
            json_in_fail(&s, ERR_EXISTS, b->host[0] != '\0' ? "url" : "socket",
                         "is that of servers[0]");
        }
        if (i > 0 && s.rc == ERR_OK && a->config_file[0] != '\0' &&
            strcmp(a->config_file, b->config_file) == 0) {
            json_in_fail(&s, ERR_EXISTS, "config-file", "is that of servers[0]");
        }
        json_in_done(x, &s);
    }
    json_decref(list);
}

/* Subnet ids are one range for both families, so `first-subnet-id` stands with the first of them.
 */
static void read_kea(struct json_in *root, struct bng_config *c, const char *name,
                     struct bng_kea_config *k) {
    struct json_in x;
    char adopt[16] = "no";
    if (!json_in_object(root, name, false, &x)) {
        return;
    }
    k->used = true;
    read_servers(&x, k);
    k->interval_ms = (uint32_t)json_in_int(&x, "interval-ms", 1000, 50, 60000);
    k->coalesce_ms = (uint32_t)json_in_int(&x, "coalesce-ms", 50, 0, 10000);
    k->batch_ms = (uint32_t)json_in_int(&x, "batch-ms", 500, 0, 60000);
    k->min_reload_ms = (uint32_t)json_in_int(&x, "min-reload-interval-ms", 1000, 0, 600000);
    k->timeout_ms = (uint32_t)json_in_int(&x, "timeout-ms", 60000, 100, 600000);
    if (k == &c->kea || !c->kea.used) {
        c->settings.first_subnet_id =
            (uint32_t)json_in_int(&x, "first-subnet-id", 100000, 1, UINT32_MAX / 2);
    }
    if (k == &c->kea) { /* of subnets that were there before: IPv4 only */
        json_in_str(&x, "adopt", false, 2, adopt, sizeof adopt);
    }
    k->adopt = strcmp(adopt, "yes") == 0      ? BNG_ADOPT_YES
               : strcmp(adopt, "report") == 0 ? BNG_ADOPT_REPORT
                                              : BNG_ADOPT_NO;
    if (k->adopt == BNG_ADOPT_NO && strcmp(adopt, "no") != 0) {
        json_in_fail(&x, ERR_INVALID, "adopt", "must be no, report or yes");
    }
    json_in_done(root, &x);
}

/* Each family that a profile is of needs its server. */
static void check_servers(struct json_in *root, const struct bng_config *c) {
    for (size_t i = 0; i < c->n_profiles && root->rc == ERR_OK; i++) {
        bool six = c->profiles[i].family == 6;
        if (!(six ? c->kea6.used : c->kea.used)) {
            json_in_fail(root, ERR_MISSING, six ? "kea6" : "kea",
                         "is missing: domain-profiles[%zu] is of IPv%u", i, c->profiles[i].family);
        }
    }
}

static void read_frr(struct json_in *root, struct bng_config *c) {
    struct json_in x;
    snprintf(c->frr.vtysh, sizeof c->frr.vtysh, "/usr/bin/vtysh");
    if (!json_in_object(root, "frr", false, &x)) {
        return;
    }
    c->frr.enabled = true;
    json_in_str(&x, "pathspace", false, 1, c->frr.pathspace, sizeof c->frr.pathspace);
    json_in_str(&x, "vtysh", false, 1, c->frr.vtysh, sizeof c->frr.vtysh);
    c->frr.check_s = (uint32_t)json_in_int(&x, "check-s", 5, 1, 3600);
    c->frr.late_s = (uint32_t)json_in_int(&x, "late-s", 3, 0, 3600);
    json_in_done(root, &x);
}

static void read_reserve(struct json_in *root, struct bng_config *c) {
    struct json_in x;
    if (!json_in_object(root, "local-reserve", false, &x)) {
        return;
    }
    json_t *list = json_in_list(&x, "prefixes", true, 1, BNG_PREFIXES_MAX);
    c->reserve.prefixes = mem_alloc((json_array_size(list) + 1) * sizeof *c->reserve.prefixes);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        struct ip_prefix *p = &c->reserve.prefixes[c->reserve.n_prefixes++];
        struct err e;
        if (s == NULL) {
            json_in_fail(&x, ERR_INVALID, "prefixes", "[%zu]: must be a string", i);
        } else if (ip_prefix_parse(s, p, &e) != ERR_OK) {
            json_in_fail(&x, ERR_INVALID, "prefixes", "[%zu]: %s", i, e.text);
        } else if (p->len < 8 || p->len > (p->addr.family == 4 ? 30 : 126)) {
            json_in_fail(&x, ERR_INVALID, "prefixes", "[%zu]: must be of length 8 to %d", i,
                         p->addr.family == 4 ? 30 : 126);
        }
        for (size_t j = 0; j < i && x.rc == ERR_OK; j++) {
            if (ip_prefix_overlaps(p, &c->reserve.prefixes[j])) {
                json_in_fail(&x, ERR_CONFLICT, "prefixes", "[%zu]: overlaps [%zu]", i, j);
            }
        }
    }
    json_decref(list);
    c->reserve.apportion_delay_s = (uint32_t)json_in_int(&x, "apportion-delay-s", 0, 0, 86400);
    c->reserve.drain_delay_s = (uint32_t)json_in_int(&x, "drain-delay-s", 0, 0, 86400);
    json_in_done(root, &x);
}

enum err_code bng_config_parse(const char *text, size_t n, const char *file, struct bng_config *c,
                               struct err *err) {
    struct json_in root;
    memset(c, 0, sizeof *c);
    ERR_TRY(json_in_begin(text, n, file, &root, err));
    take_name(&root, "system-id", true, false, c->settings.system_id, sizeof c->settings.system_id);
    json_in_str(&root, "address", false, 1, c->settings.address, sizeof c->settings.address);
    json_in_str(&root, "state", true, 1, c->state, sizeof c->state);
    json_in_str(&root, "socket", true, 1, c->socket, sizeof c->socket);
    c->settings.routes = true; /* gateway addresses come with the routes, also without FRR */
    snprintf(c->settings.software, sizeof c->settings.software, "weft-bng %s", WEFT_VERSION);
    c->settings.max_pools = (uint32_t)json_in_int(&root, "max-pools", 1024, 1, 65536);
    struct json_in x;
    if (json_in_object(&root, "listen", false, &x)) {
        take_addr(&x, "address", true, &c->listen);
        c->listen_port = (uint16_t)json_in_int(&x, "port", 9557, 1, 65535);
        json_in_done(&root, &x);
    }
    read_managers(&root, c);
    read_kea(&root, c, "kea", &c->kea);
    read_kea(&root, c, "kea6", &c->kea6);
    read_frr(&root, c);
    read_reserve(&root, c);
    read_profiles(&root, c);
    check_servers(&root, c);
    enum err_code rc = json_in_end(&root, file);
    c->settings.profiles = c->profiles;
    c->settings.n_profiles = c->n_profiles;
    c->settings.reserve = c->reserve.n_prefixes > 0 ? &c->reserve : NULL;
    return rc;
}

enum err_code bng_config_load(const char *file, struct bng_config *c, struct err *err) {
    struct buf b = BUF_INIT;
    memset(c, 0, sizeof *c);
    ERR_TRY(file_read(file, CONFIG_FILE_MAX, &b, err));
    enum err_code rc = bng_config_parse(buf_cstr(&b), b.len, file, c, err);
    buf_free(&b);
    return rc;
}

void bng_config_free(struct bng_config *c) {
    mem_free(c->profiles);
    mem_free(c->kea.servers);
    mem_free(c->kea6.servers);
    mem_free(c->reserve.prefixes);
    memset(c, 0, sizeof *c);
}
