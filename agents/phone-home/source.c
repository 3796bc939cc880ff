// SPDX-License-Identifier: Apache-2.0
#include "phone-home/source.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "phone-home/lease.h"

LOGGER_MODULE(source)

enum { LEASE_FILES_MAX = 256, RESOLV_CONF_MAX = 64 << 10 };
static const char SRV[] = "_sztp._tcp.";
static const char LOCAL[] = "local";

static void finding_clear(struct phc_finding *f) {
    buf_free(&f->ci);
    buf_free(&f->owner);
    buf_free(&f->voucher);
    for (size_t i = 0; i < f->n_servers; i++) {
        buf_free(&f->servers[i].anchor);
    }
    mem_free(f->servers);
    memset(f, 0, sizeof *f);
}

void source_findings_free(struct source_findings *f) {
    for (size_t i = 0; i < f->n; i++) {
        finding_clear(&f->list[i]);
    }
    f->n = 0;
}

/* NULL: no room. */
static struct phc_finding *add(struct source_findings *out, const char *origin) {
    if (out->n == SOURCE_FINDINGS_MAX) {
        return NULL;
    }
    struct phc_finding *f = &out->list[out->n++];
    memset(f, 0, sizeof *f);
    text_line(f->origin, sizeof f->origin, origin);
    return f;
}

/* ---- removable storage ---- */

static enum err_code look_at_storage(const struct phone_home_config *c, const char *serial,
                                     struct source_findings *out, struct err *e) {
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < c->storage.n_mounts; i++) {
        struct storage_set s;
        struct err one;
        enum err_code got = storage_read(&c->storage, i, serial, &s, &one);
        struct phc_finding *f = got == ERR_OK ? add(out, s.path) : NULL;
        if (f != NULL) {
            f->ci = s.ci;
            f->owner = s.owner;
            f->voucher = s.voucher;
        } else if (got == ERR_OK) {
            storage_set_free(&s);
        } else if (got != ERR_ABSENT && rc == ERR_OK) {
            rc = got;
            *e = one;
        }
    }
    return rc;
}

/* ---- DHCP ---- */

static void read_leases(const struct phone_home_config *c, int64_t now_s, struct leases *out,
                        struct err *first) {
    size_t files = 0;
    for (size_t i = 0; i < c->n_leases; i++) {
        glob_t g;
        if (glob(c->leases[i], GLOB_NOSORT, NULL, &g) != 0) {
            continue;
        }
        for (size_t j = 0; j < g.gl_pathc && files < LEASE_FILES_MAX; j++, files++) {
            struct buf b = BUF_INIT;
            struct err e;
            enum err_code rc = file_read(g.gl_pathv[j], LEASE_FILE_MAX, &b, &e);
            if (rc == ERR_OK) {
                rc = leases_parse(out, g.gl_pathv[j], b.data, b.len, now_s, &e);
            }
            if (rc != ERR_OK && first->code == ERR_OK) {
                *first = e;
            }
            buf_free(&b);
        }
        globfree(&g);
    }
}

static void take_lease(const struct lease *l, struct source_findings *out, struct err *first) {
    char origin[96];
    bool text = false;
    struct err e;
    if (!l->offer.has_redirect && !l->offer.legacy) {
        return;
    }
    snprintf(origin, sizeof origin, "DHCPv%u on %s", l->family,
             l->interface[0] != '\0' ? l->interface : "an interface");
    struct phc_finding *f = add(out, origin);
    if (f == NULL) {
        return;
    }
    f->legacy_ztp = l->offer.legacy;
    if (!l->offer.has_redirect) {
        return;
    }
    f->servers = mem_alloc(SZTP_SERVERS_MAX * sizeof *f->servers);
    enum err_code rc = dhcp_redirect_parse(l->offer.redirect.data, l->offer.redirect.len,
                                           f->servers, SZTP_SERVERS_MAX, &f->n_servers, &text, &e);
    if (rc != ERR_OK && first->code == ERR_OK) {
        err_set(first, rc, origin, "option %d is not followed: %s",
                l->family == 4 ? DHCP4_REDIRECT : DHCP6_REDIRECT, e.text);
    }
    if (text) {
        L_WARN("%s: the option for bootstrapping is plain text instead of what RFC 8572 asks for",
               origin);
    }
}

static enum err_code look_at_dhcp(const struct phone_home_config *c, int64_t now_s,
                                  struct source_findings *out, struct err *e) {
    struct leases l = {0};
    struct err first = {.code = ERR_OK};
    read_leases(c, now_s, &l, &first);
    for (size_t i = 0; i < l.n; i++) {
        take_lease(&l.list[i], out, &first);
    }
    leases_free(&l);
    if (first.code != ERR_OK) {
        *e = first;
    }
    return first.code;
}

/* ---- DNS ---- */

void source_resolver(const struct phone_home_config *c, int64_t now_s, struct resolver *out) {
    struct buf b = BUF_INIT;
    struct leases l = {0};
    struct err e = {.code = ERR_OK};
    *out = c->resolver;
    if (file_read(c->resolv_conf, RESOLV_CONF_MAX, &b, NULL) == ERR_OK) {
        resolver_add_conf(out, b.data, b.len);
    }
    buf_free(&b);
    read_leases(c, now_s, &l, &e);
    for (size_t i = 0; i < l.n; i++) {
        for (size_t j = 0; j < l.list[i].n_domains; j++) {
            resolver_add_domain(out, l.list[i].domains[j]);
        }
    }
    leases_free(&l);
}

static void take_answer(struct dns_answer *a, const char *name, enum dns_type type, bool multicast,
                        struct source_findings *out) {
    char origin[SZTP_URI_MAX + 1];
    snprintf(origin, sizeof origin, "%s %s%s", type == DNS_TXT ? "TXT" : "SRV", name,
             multicast ? " (multicast)" : "");
    struct phc_finding *f = type == DNS_SRV || a->ci.len > 0 ? add(out, origin) : NULL;
    if (f != NULL && type == DNS_TXT) {
        f->ci = a->ci;
        f->owner = a->owner;
        f->voucher = a->voucher;
        a->ci = a->owner = a->voucher = (struct buf)BUF_INIT;
    } else if (f != NULL) {
        f->servers = a->servers;
        f->n_servers = a->n_servers;
        a->servers = NULL;
        a->n_servers = 0;
    }
    dns_answer_free(a);
}

static void ask(const struct resolver *r, const char *name, enum dns_type type, bool multicast,
                const atomic_bool *stop, struct source_findings *out, struct err *first) {
    struct dns_answer a;
    struct err e;
    enum err_code rc = resolver_ask(r, name, type, multicast, stop, &a, &e);
    if (rc == ERR_OK) {
        take_answer(&a, name, type, multicast, out);
    } else if (rc != ERR_ABSENT && first->code == ERR_OK) {
        *first = e;
        snprintf(first->path, sizeof first->path, "%.500s", name);
    }
}

/* One kind of record, multicast before unicast, each domain (RFC 8572 section 4.2). */
static void ask_all(const struct resolver *r, const char *serial, enum dns_type type,
                    const atomic_bool *stop, struct source_findings *out, struct err *first) {
    char name[DNS_NAME_TEXT_MAX];
    for (size_t i = r->multicast ? 0 : 1; i <= r->n_domains && !atomic_load(stop); i++) {
        const char *domain = i == 0 ? LOCAL : r->domains[i - 1];
        if (i > 0 && r->n_servers == 0) {
            break;
        }
        if (type == DNS_SRV) {
            snprintf(name, sizeof name, "%s%s", SRV, domain);
        } else if (dns_serial_name(serial, domain, name, first->code == ERR_OK ? first : NULL) !=
                   ERR_OK) {
            continue;
        }
        ask(r, name, type, i == 0, stop, out, first);
    }
}

static enum err_code look_at_dns(const struct phone_home_config *c, const char *serial,
                                 int64_t now_s, const atomic_bool *stop,
                                 struct source_findings *out, struct err *e) {
    struct resolver *r = MEM_NEW(struct resolver);
    struct err first = {.code = ERR_OK};
    source_resolver(c, now_s, r);
    ask_all(r, serial, DNS_TXT, stop, out, &first);
    ask_all(r, serial, DNS_SRV, stop, out, &first);
    mem_free(r);
    if (first.code != ERR_OK) {
        *e = first;
    }
    return first.code;
}

/* ---- configured servers ---- */

static void look_at_configured(const struct phone_home_config *c, struct source_findings *out) {
    if (c->engine.n_configured == 0) {
        return;
    }
    struct phc_finding *f = add(out, "configuration");
    f->servers = mem_alloc(c->engine.n_configured * sizeof *f->servers);
    f->dialect = c->engine.dialect;
    f->anchored = true;
    for (size_t i = 0; i < c->engine.n_configured; i++) {
        const char *uri = c->engine.configured[i];
        if (sztp_uri_parse(uri, strlen(uri), false, &f->servers[f->n_servers], NULL, NULL) ==
            ERR_OK) {
            f->n_servers++;
        }
    }
}

enum err_code source_lookup(enum phc_source source, const struct phone_home_config *c,
                            const char *serial, int64_t now_s, const atomic_bool *stop,
                            struct source_findings *out, struct err *e) {
    out->n = 0;
    switch (source) {
    case PHC_STORAGE:
        return look_at_storage(c, serial, out, e);
    case PHC_DNS:
        return look_at_dns(c, serial, now_s, stop, out, e);
    case PHC_DHCP:
        return look_at_dhcp(c, now_s, out, e);
    case PHC_CONFIGURED:
    case PHC_SOURCES:
        break;
    }
    look_at_configured(c, out);
    return ERR_OK;
}
