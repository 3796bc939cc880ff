// SPDX-License-Identifier: Apache-2.0
#include "bng/keaconf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define OURS       "weft-"
#define DRAIN      "weft-drain"
#define DRAIN_TEST "not member('ALL')" /* every packet is a member of ALL: it never matches */

/* The server's part of a configuration, and the name of its lists of subnets. */
static json_t *dhcp_of(const json_t *config, bool *six) {
    json_t *dhcp = json_object_get(config, "Dhcp6");
    *six = dhcp != NULL;
    return *six ? dhcp : json_object_get(config, "Dhcp4");
}

static const char *subnets_of(bool six) {
    return six ? "subnet6" : "subnet4";
}

static bool ours(const json_t *named) {
    const char *s = json_string_value(json_object_get(named, "name"));
    return s != NULL && strncmp(s, OURS, strlen(OURS)) == 0;
}

static uint32_t id_of(const json_t *subnet) {
    json_int_t v = json_integer_value(json_object_get(subnet, "id"));
    return v > 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

static bool subnet_prefix(const json_t *subnet, struct ip_prefix *out) {
    const char *s = json_string_value(json_object_get(subnet, "subnet"));
    return s != NULL && ip_prefix_parse(s, out, NULL) == ERR_OK;
}

/* Calls fn for each subnet with the interface it is for ("" when none) until it returns false. */
typedef bool subnet_fn(const json_t *subnet, const char *interface, bool is_ours, void *arg);

static void each_subnet(const json_t *config, subnet_fn *fn, void *arg) {
    bool six;
    const json_t *dhcp = dhcp_of(config, &six);
    const char *list = subnets_of(six);
    const json_t *nets = json_object_get(dhcp, "shared-networks");
    size_t i, j;
    json_t *net, *s;
    json_array_foreach(json_object_get(dhcp, list), i, s) {
        const char *dev = json_string_value(json_object_get(s, "interface"));
        if (!fn(s, dev != NULL ? dev : "", false, arg)) {
            return;
        }
    }
    json_array_foreach(nets, i, net) {
        const char *dev = json_string_value(json_object_get(net, "interface"));
        json_array_foreach(json_object_get(net, list), j, s) {
            const char *own = json_string_value(json_object_get(s, "interface"));
            const char *use = own != NULL && own[0] != '\0' ? own : dev != NULL ? dev : "";
            if (!fn(s, use, ours(net), arg)) {
                return;
            }
        }
    }
}

/* ---------------------------------------------------------------- building */

static json_t *one_range(const struct ip_addr *first, const struct ip_addr *last) {
    char a[IP_TEXT_MAX], b[IP_TEXT_MAX], text[2 * IP_TEXT_MAX + 4];
    snprintf(text, sizeof text, "%s-%s", ip_addr_format(first, a), ip_addr_format(last, b));
    return json_pack("{s:s}", "pool", text);
}

static json_t *ranges_json(const struct bng_subnet *s) {
    struct bng_range *r = mem_array(NULL, BNG_RANGES_MAX, sizeof *r);
    size_t n = bng_profile_ranges(s->profile, &s->prefix, r, BNG_RANGES_MAX);
    json_t *pools = n <= BNG_RANGES_MAX ? json_array() : NULL;
    for (size_t i = 0; pools != NULL && i < n; i++) {
        struct ip_addr first = ip4(r[i].first), last = ip4(r[i].last);
        json_t *p = one_range(&first, &last);
        /* On the pool, not on the subnet: then a renewal is answered with a NAK and the client
         * comes again at once (measured; elsewhere it meets silence). */
        if (s->drain) {
            json_object_set_new(p, "client-class", json_string(DRAIN));
        }
        json_array_append_new(pools, p);
    }
    mem_free(r);
    return pools;
}

static json_t *subnet6_json(const struct bng_subnet *s) {
    const struct bng_profile *f = s->profile;
    char text[IP_TEXT_MAX];
    json_t *pools = json_array(), *pds = json_array(), *options = json_array(), *p;
    if (f->delegated_length != 0) {
        p = json_pack("{s:s, s:i, s:i}", "prefix", ip_addr_format(&s->prefix.addr, text),
                      "prefix-len", (int)s->prefix.len, "delegated-len", (int)f->delegated_length);
    } else {
        struct ip_addr first = bng_profile_first6(&s->prefix), last = ip_prefix_last(&s->prefix);
        p = one_range(&first, &last);
    }
    if (s->drain) {
        json_object_set_new(p, "client-class", json_string(DRAIN));
    }
    json_array_append_new(f->delegated_length != 0 ? pds : pools, p);
    if (f->dns[0] != '\0') {
        json_array_append_new(options,
                              json_pack("{s:s, s:s}", "name", "dns-servers", "data", f->dns));
    }
    return json_pack("{s:I, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:b}", "id", (json_int_t)s->id,
                     "subnet", ip_prefix_format(&s->prefix, text), "pools", pools, "pd-pools", pds,
                     "option-data", options, "preferred-lifetime", (json_int_t)f->rebind_s,
                     "valid-lifetime", (json_int_t)f->lease_s, "renew-timer",
                     (json_int_t)f->renew_s, "rebind-timer", (json_int_t)f->rebind_s,
                     "calculate-tee-times", 0);
}

static json_t *subnet_json(const struct bng_subnet *s) {
    char text[IP_TEXT_MAX];
    struct ip_addr gw;
    if (s->profile->family == 6) {
        return subnet6_json(s);
    }
    json_t *pools = ranges_json(s), *options = json_array();
    if (pools == NULL) {
        json_decref(options);
        return NULL;
    }
    if (bng_profile_gateway(s->profile, &s->prefix, &gw)) {
        json_array_append_new(
            options, json_pack("{s:s, s:s}", "name", "routers", "data", ip_addr_format(&gw, text)));
    }
    if (s->profile->dns[0] != '\0') {
        json_array_append_new(options, json_pack("{s:s, s:s}", "name", "domain-name-servers",
                                                 "data", s->profile->dns));
    }
    return json_pack("{s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:b}", "id", (json_int_t)s->id, "subnet",
                     ip_prefix_format(&s->prefix, text), "pools", pools, "option-data", options,
                     "valid-lifetime", (json_int_t)s->profile->lease_s, "renew-timer",
                     (json_int_t)s->profile->renew_s, "rebind-timer",
                     (json_int_t)s->profile->rebind_s, "calculate-tee-times", 0);
}

/* What the operator's subnets occupy. */
struct taken {
    struct {
        uint32_t id;
        struct ip_prefix prefix;
    } * v;
    size_t n;
};

static bool collect_taken(const json_t *subnet, const char *interface, bool is_ours, void *arg) {
    struct taken *t = arg;
    struct ip_prefix p;
    if (!is_ours && subnet_prefix(subnet, &p)) {
        t->v = mem_array(t->v, t->n + 1, sizeof *t->v);
        t->v[t->n].id = id_of(subnet);
        t->v[t->n++].prefix = p;
    }
    return true;
}

static bool clashes(const struct taken *t, const struct bng_subnet *s, struct err *err) {
    char a[IP_TEXT_MAX], b[IP_TEXT_MAX];
    for (size_t i = 0; i < t->n; i++) {
        if (ip_prefix_overlaps(&t->v[i].prefix, &s->prefix) || t->v[i].id == s->id) {
            err_set(err, ERR_CONFLICT, s->domain,
                    "%s can't become subnet %" PRIu32 " of Kea: its own subnet %" PRIu32
                    " (%s) is in the way",
                    ip_prefix_format(&s->prefix, a), s->id, t->v[i].id,
                    ip_prefix_format(&t->v[i].prefix, b));
            return true;
        }
    }
    return false;
}

static void without_ours(json_t *dhcp, const char *list_name) {
    json_t *list = json_object_get(dhcp, list_name);
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (ours(json_array_get(list, i))) {
            json_array_remove(list, i);
        }
    }
}

static json_t *list_of(json_t *dhcp, const char *name) {
    json_t *l = json_object_get(dhcp, name);
    if (!json_is_array(l)) {
        l = json_array();
        json_object_set_new(dhcp, name, l);
    }
    return l;
}

/* Kea opens a socket for every address of an interface it is given by name, and answers once for
 * each: with a gateway address for every pool it must be told the one address to use. */
static void pin_interfaces(json_t *dhcp, const struct bng_profile *profiles, size_t n) {
    json_t *ifs = json_object_get(json_object_get(dhcp, "interfaces-config"), "interfaces");
    for (size_t i = 0; i < n; i++) {
        char pinned[96], addr[IP_TEXT_MAX];
        if (profiles[i].server_address.family == 0) {
            continue;
        }
        snprintf(pinned, sizeof pinned, "%s/%s", profiles[i].interface,
                 ip_addr_format(&profiles[i].server_address, addr));
        size_t k;
        json_t *v;
        json_array_foreach(ifs, k, v) {
            if (json_is_string(v) && strcmp(json_string_value(v), profiles[i].interface) == 0) {
                json_array_set_new(ifs, k, json_string(pinned));
            }
        }
    }
}

static json_t *network_json(const struct bng_subnet *s) {
    const struct bng_profile *f = s->network;
    char name[BNG_DOMAIN_NAME_MAX + 16];
    snprintf(name, sizeof name, OURS "%s", s->domain);
    json_t *net = json_pack("{s:s, s:s, s:o}", "name", name, "interface", f->interface,
                            subnets_of(f->family == 6), json_array());
    if (f->match[0] != '\0') {
        json_object_set_new(net, "client-class", json_string(name));
    }
    if (f->n_relays > 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < f->n_relays; i++) {
            char text[IP_TEXT_MAX];
            json_array_append_new(list, json_string(ip_addr_format(&f->relays[i], text)));
        }
        json_object_set_new(net, "relay", json_pack("{s:o}", "ip-addresses", list));
    }
    return net;
}

json_t *bng_keaconf_build(const json_t *config, const struct bng_profile *profiles,
                          size_t n_profiles, const struct bng_subnet *subnets, size_t n,
                          size_t *culprit, struct err *err) {
    *culprit = SIZE_MAX;
    json_t *out = json_deep_copy(config);
    json_object_del(out, "hash"); /* config-set refuses what config-get adds */
    bool six;
    json_t *dhcp = dhcp_of(out, &six);
    if (!json_is_object(dhcp) || (n > 0 && six != (subnets[0].profile->family == 6))) {
        json_decref(out);
        err_set(err, ERR_MALFORMED, "config-get",
                "the answer is not that of a DHCP server of this family");
        return NULL;
    }
    without_ours(dhcp, "shared-networks");
    without_ours(dhcp, "client-classes");
    pin_interfaces(dhcp, profiles, n_profiles);
    json_t *nets = list_of(dhcp, "shared-networks");
    json_t *classes = n > 0 ? list_of(dhcp, "client-classes") : NULL;
    if (n > 0) {
        json_array_append_new(classes, json_pack("{s:s, s:s}", "name", DRAIN, "test", DRAIN_TEST));
    }
    json_t *net = NULL;
    struct taken taken = {0};
    each_subnet(out, collect_taken, &taken);
    for (size_t i = 0; i < n; i++) {
        const struct bng_subnet *s = &subnets[i];
        bool clash = clashes(&taken, s, err);
        json_t *sub = clash ? NULL : subnet_json(s);
        if (sub == NULL) {
            if (!clash) {
                err_set(err, ERR_LIMIT, s->domain,
                        "the excluded last octets cut it into more than %d ranges",
                        (int)BNG_RANGES_MAX);
            }
            mem_free(taken.v);
            *culprit = i;
            json_decref(out);
            return NULL;
        }
        if (i == 0 || strcmp(subnets[i - 1].domain, s->domain) != 0) {
            net = network_json(s);
            json_array_append_new(nets, net);
            if (s->profile->match[0] != '\0') {
                json_array_append_new(classes,
                                      json_pack("{s:O, s:s}", "name", json_object_get(net, "name"),
                                                "test", s->profile->match));
            }
        }
        json_array_append_new(json_object_get(net, subnets_of(six)), sub);
    }
    mem_free(taken.v);
    return out;
}

/* ---------------------------------------------------------------- comparing */

/* Kea writes a range that is a whole prefix as one. */
static bool pool_range(const json_t *pool, struct bng_range *out) {
    const char *s = json_string_value(json_object_get(pool, "pool"));
    const char *dash = s != NULL ? strchr(s, '-') : NULL;
    struct ip_prefix p;
    struct ip_addr a, b;
    char first[IP_TEXT_MAX];
    if (s == NULL) {
        return false;
    }
    if (dash == NULL) {
        if (ip_prefix_parse(s, &p, NULL) != ERR_OK) {
            return false;
        }
        b = ip_prefix_last(&p);
        *out = (struct bng_range){ip4_value(&p.addr), ip4_value(&b)};
        return true;
    }
    snprintf(first, sizeof first, "%.*s", (int)(dash - s), s);
    first[strcspn(first, " ")] = '\0';
    if (ip_addr_parse(first, &a, NULL) != ERR_OK ||
        ip_addr_parse(dash + 1 + strspn(dash + 1, " "), &b, NULL) != ERR_OK) {
        return false;
    }
    *out = (struct bng_range){ip4_value(&a), ip4_value(&b)};
    return true;
}

static bool same_pools(const json_t *pools, const struct bng_subnet *s) {
    struct bng_range *r = mem_array(NULL, BNG_RANGES_MAX, sizeof *r), have;
    size_t n = bng_profile_ranges(s->profile, &s->prefix, r, BNG_RANGES_MAX), i;
    bool same = n <= BNG_RANGES_MAX && json_array_size(pools) == n;
    json_t *p;
    json_array_foreach(pools, i, p) {
        const char *class = json_string_value(json_object_get(p, "client-class"));
        same = same && pool_range(p, &have) && have.first == r[i].first && have.last == r[i].last &&
               (class != NULL && class[0] != '\0') == s->drain &&
               (!s->drain || strcmp(class, DRAIN) == 0);
    }
    mem_free(r);
    return same;
}

static bool same_options(const json_t *subnet, const struct bng_subnet *s) {
    struct ip_addr gw;
    char text[IP_TEXT_MAX] = "";
    bool router = false, dns = s->profile->dns[0] == '\0';
    bool want_router = bng_profile_gateway(s->profile, &s->prefix, &gw);
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(subnet, "option-data"), i, o) {
        const char *name = json_string_value(json_object_get(o, "name"));
        const char *data = json_string_value(json_object_get(o, "data"));
        if (name == NULL || data == NULL) {
            continue;
        }
        router |= want_router && strcmp(name, "routers") == 0 &&
                  strcmp(data, ip_addr_format(&gw, text)) == 0;
        dns |= strcmp(name, "domain-name-servers") == 0 && strcmp(data, s->profile->dns) == 0;
    }
    return router == want_router && dns;
}

static bool is_int(const json_t *o, const char *key, uint32_t v) {
    return json_integer_value(json_object_get(o, key)) == (json_int_t)v;
}

static bool same_relays(const json_t *net, const struct bng_profile *f) {
    const json_t *list = json_object_get(json_object_get(net, "relay"), "ip-addresses");
    bool same = json_array_size(list) == f->n_relays;
    for (size_t i = 0; i < f->n_relays && same; i++) {
        char text[IP_TEXT_MAX];
        const char *s = json_string_value(json_array_get(list, i));
        same = s != NULL && strcmp(s, ip_addr_format(&f->relays[i], text)) == 0;
    }
    return same;
}

static bool same_text(const json_t *o, const char *key, const char *want) {
    const char *s = json_string_value(json_object_get(o, key));
    return strcmp(s != NULL ? s : "", want) == 0;
}

/* Of IPv6: one pool of addresses, or one of prefixes. */
static bool same_pools6(const json_t *subnet, const struct bng_subnet *s) {
    const struct bng_profile *f = s->profile;
    bool pd = f->delegated_length != 0;
    const json_t *nas = json_object_get(subnet, "pools"),
                 *pds = json_object_get(subnet, "pd-pools");
    const json_t *p = json_array_get(pd ? pds : nas, 0);
    if (json_array_size(nas) != !pd || json_array_size(pds) != pd ||
        !same_text(p, "client-class", s->drain ? DRAIN : "")) {
        return false;
    }
    if (pd) {
        struct ip_addr a;
        const char *text = json_string_value(json_object_get(p, "prefix"));
        return text != NULL && ip_addr_parse(text, &a, NULL) == ERR_OK &&
               ip_addr_cmp(&a, &s->prefix.addr) == 0 && is_int(p, "prefix-len", s->prefix.len) &&
               is_int(p, "delegated-len", f->delegated_length);
    }
    const char *text = json_string_value(json_object_get(p, "pool"));
    const char *dash = text != NULL ? strchr(text, '-') : NULL;
    char first[IP_TEXT_MAX];
    struct ip_addr a, b, from = bng_profile_first6(&s->prefix), to = ip_prefix_last(&s->prefix);
    snprintf(first, sizeof first, "%.*s", dash != NULL ? (int)(dash - text) : 0, text ? text : "");
    first[strcspn(first, " ")] = '\0';
    return dash != NULL && ip_addr_parse(first, &a, NULL) == ERR_OK &&
           ip_addr_parse(dash + 1 + strspn(dash + 1, " "), &b, NULL) == ERR_OK &&
           ip_addr_cmp(&a, &from) == 0 && ip_addr_cmp(&b, &to) == 0;
}

static bool same_dns6(const json_t *subnet, const char *dns) {
    size_t i;
    json_t *o;
    bool has = dns[0] == '\0';
    json_array_foreach(json_object_get(subnet, "option-data"), i, o) {
        has |= same_text(o, "name", "dns-servers") && same_text(o, "data", dns);
    }
    return has;
}

/* What a subnet gives, and to whom. */
static bool same_subnet(const json_t *sub, const struct bng_subnet *s) {
    struct ip_prefix p;
    const struct bng_profile *f = s->profile;
    if (id_of(sub) != s->id || !subnet_prefix(sub, &p) || !ip_prefix_eq(&p, &s->prefix) ||
        !is_int(sub, "valid-lifetime", f->lease_s) || !is_int(sub, "renew-timer", f->renew_s) ||
        !is_int(sub, "rebind-timer", f->rebind_s)) {
        return false;
    }
    return f->family == 6 ? same_pools6(sub, s) && same_dns6(sub, f->dns)
                          : same_options(sub, s) && same_pools(json_object_get(sub, "pools"), s);
}

bool bng_keaconf_same(const json_t *config, const struct bng_subnet *subnets, size_t n) {
    bool six;
    const json_t *nets = json_object_get(dhcp_of(config, &six), "shared-networks");
    size_t i, j, at = 0;
    json_t *net, *sub;
    json_array_foreach(nets, i, net) {
        if (!ours(net)) {
            continue;
        }
        const char *name = json_string_value(json_object_get(net, "name"));
        const char *dev = json_string_value(json_object_get(net, "interface"));
        const char *class = json_string_value(json_object_get(net, "client-class"));
        json_array_foreach(json_object_get(net, subnets_of(six)), j, sub) {
            if (at == n) {
                return false;
            }
            const struct bng_subnet *s = &subnets[at++];
            const struct bng_profile *f = s->network;
            if (strcmp(name + strlen(OURS), s->domain) != 0 || dev == NULL ||
                strcmp(dev, f->interface) != 0 || (class != NULL) != (f->match[0] != '\0') ||
                !same_relays(net, f) || !same_subnet(sub, s)) {
                return false;
            }
        }
    }
    return at == n;
}

/* ---------------------------------------------------------------- looking */

struct ids {
    uint32_t *out;
    size_t n, cap;
};

static bool collect_id(const json_t *s, const char *interface, bool is_ours, void *arg) {
    struct ids *x = arg;
    if (is_ours) {
        if (x->n < x->cap) {
            x->out[x->n] = id_of(s);
        }
        x->n++;
    }
    return true;
}

size_t bng_keaconf_ids(const json_t *config, uint32_t *out, size_t cap) {
    struct ids x = {out, 0, cap};
    each_subnet(config, collect_id, &x);
    return x.n;
}

struct foreign {
    const struct bng_profile *profiles;
    size_t n_profiles;
    struct bng_foreign *out;
    size_t n, cap;
};

static bool collect_foreign(const json_t *s, const char *interface, bool is_ours, void *arg) {
    struct foreign *x = arg;
    const char *text = json_string_value(json_object_get(s, "subnet"));
    if (is_ours || x->n >= x->cap) {
        return x->n < x->cap;
    }
    struct bng_foreign *f = &x->out[x->n++];
    memset(f, 0, sizeof *f);
    f->id = id_of(s);
    text_line(f->text, sizeof f->text, text != NULL ? text : "?");
    const struct bng_profile *found = NULL;
    size_t fits = 0;
    for (size_t i = 0; i < x->n_profiles; i++) {
        if (interface[0] != '\0' && x->profiles[i].family == 4 &&
            strcmp(x->profiles[i].interface, interface) == 0) {
            found = &x->profiles[i];
            fits++;
        }
    }
    if (!subnet_prefix(s, &f->prefix)) {
        snprintf(f->why, sizeof f->why, "its prefix has host bits set, or none was given");
    } else if (f->prefix.addr.family == 6) {
        snprintf(f->why, sizeof f->why, "only subnets of IPv4 are adopted");
    } else if (f->prefix.len < 8 || f->prefix.len > 30) {
        snprintf(f->why, sizeof f->why, "pools have lengths 8 to 30");
    } else if (interface[0] == '\0') {
        snprintf(f->why, sizeof f->why, "it has no interface, so no domain can be told");
    } else if (fits == 0) {
        snprintf(f->why, sizeof f->why, "no domain profile is on interface %.15s", interface);
    } else if (fits > 1) {
        snprintf(f->why, sizeof f->why, "%zu domain profiles are on interface %.15s", fits,
                 interface);
    } else if (json_array_size(json_object_get(s, "reservations")) > 0) {
        snprintf(f->why, sizeof f->why, "it has host reservations");
    } else {
        bng_domain_name(found, f->domain);
    }
    return true;
}

size_t bng_keaconf_foreign(const json_t *config, const struct bng_profile *profiles,
                           size_t n_profiles, struct bng_foreign *out, size_t cap) {
    struct foreign x = {profiles, n_profiles, out, 0, cap};
    each_subnet(config, collect_foreign, &x);
    return x.n;
}

static void take_from(json_t *list, uint32_t id) {
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (id_of(json_array_get(list, i)) == id) {
            json_array_remove(list, i);
        }
    }
}

void bng_keaconf_take(json_t *config, uint32_t subnet_id) {
    bool six;
    json_t *dhcp = dhcp_of(config, &six), *net;
    size_t i;
    take_from(json_object_get(dhcp, subnets_of(six)), subnet_id);
    json_array_foreach(json_object_get(dhcp, "shared-networks"), i, net) {
        if (!ours(net)) {
            take_from(json_object_get(net, subnets_of(six)), subnet_id);
        }
    }
}

static size_t column(const json_t *columns, const char *name) {
    size_t i;
    json_t *v;
    json_array_foreach(columns, i, v) {
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool bng_keaconf_stats(const json_t *answer,
                       void (*each)(uint32_t subnet_id, uint64_t used, uint64_t cumulative,
                                    void *arg),
                       void *arg) {
    const json_t *set = json_object_get(json_object_get(answer, "arguments"), "result-set");
    const json_t *columns = json_object_get(set, "columns");
    bool six = column(columns, "assigned-nas") != SIZE_MAX;
    size_t id = column(columns, "subnet-id"),
           declined = column(columns, six ? "declined-nas" : "declined-addresses"), i;
    size_t used = column(columns, six ? "assigned-nas" : "assigned-addresses");
    size_t cum = column(columns, six ? "cumulative-assigned-nas" : "cumulative-assigned-addresses");
    size_t pds = column(columns, "assigned-pds"),
           cum_pds = column(columns, "cumulative-assigned-pds");
    json_t *row;
    if (id == SIZE_MAX || used == SIZE_MAX || cum == SIZE_MAX || declined == SIZE_MAX ||
        (six && (pds == SIZE_MAX || cum_pds == SIZE_MAX))) {
        return false;
    }
    json_array_foreach(json_object_get(set, "rows"), i, row) {
        json_int_t s = json_integer_value(json_array_get(row, id));
        json_int_t u = json_integer_value(json_array_get(row, used));
        json_int_t d = json_integer_value(json_array_get(row, declined));
        json_int_t c = json_integer_value(json_array_get(row, cum));
        /* A declined address can't be given out either. Kea counts it as assigned as well. */
        u = u > d ? u : d;
        if (six) { /* a subnet of ours has one of the two */
            json_int_t p = json_integer_value(json_array_get(row, pds));
            json_int_t cp = json_integer_value(json_array_get(row, cum_pds));
            u += p > 0 ? p : 0;
            c += cp > 0 ? cp : 0;
        }
        if (s > 0 && u >= 0 && c >= 0) {
            each((uint32_t)s, (uint64_t)u, (uint64_t)c, arg);
        }
    }
    return true;
}
