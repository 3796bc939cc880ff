// SPDX-License-Identifier: Apache-2.0
#include "phone-home/dns_message.h"

#include <ldns/ldns.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { CNAMES_MAX = 8, SRV_MAX = SZTP_SERVERS_MAX, STRING_MAX = 255, CLASS_MASK = 0x7fff };

void dns_answer_free(struct dns_answer *a) {
    buf_free(&a->ci);
    buf_free(&a->owner);
    buf_free(&a->voucher);
    for (size_t i = 0; i < a->n_servers; i++) {
        buf_free(&a->servers[i].anchor);
    }
    mem_free(a->servers);
    memset(a, 0, sizeof *a);
}

enum err_code dns_serial_name(const char *serial, const char *domain, char out[DNS_NAME_TEXT_MAX],
                              struct err *e) {
    struct buf b = BUF_INIT;
    for (const unsigned char *p = (const unsigned char *)serial; *p != '\0'; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                     (*p >= 'A' && *p <= 'Z') || *p == '-' || *p == '_';
        buf_printf(&b, plain ? "%c" : "\\%03u", *p);
    }
    buf_printf(&b, "._sztp.%s", domain);
    enum err_code rc = ERR_OK;
    if (strlen(serial) > 63 || serial[0] == '\0') {
        rc = err_set(e, ERR_INVALID, NULL, "the serial number has 0 or more than 63 characters");
    } else if (b.len >= DNS_NAME_TEXT_MAX) {
        rc = err_set(e, ERR_INVALID, NULL, "the domain's name is too long");
    } else {
        snprintf(out, DNS_NAME_TEXT_MAX, "%s", buf_cstr(&b));
    }
    buf_free(&b);
    return rc;
}

static enum err_code name_of(const char *text, ldns_rdf **out, struct err *e) {
    if (ldns_str2rdf_dname(out, text) != LDNS_STATUS_OK) {
        return err_set(e, ERR_INVALID, NULL, "\"%s\" is no name of DNS", text);
    }
    return ERR_OK;
}

static ldns_rr_type rr_type(enum dns_type t) {
    return t == DNS_TXT ? LDNS_RR_TYPE_TXT : t == DNS_SRV ? LDNS_RR_TYPE_SRV : LDNS_RR_TYPE_A;
}

static void add_question(ldns_pkt *q, const ldns_rdf *name, ldns_rr_type type) {
    ldns_rr *rr = ldns_rr_new();
    ldns_rr_set_owner(rr, ldns_rdf_clone(name));
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    ldns_rr_set_question(rr, true);
    ldns_pkt_push_rr(q, LDNS_SECTION_QUESTION, rr);
}

enum err_code dns_query_print(const char *name, enum dns_type type, bool multicast, uint16_t id,
                              struct buf *out, struct err *e) {
    ldns_rdf *owner = NULL;
    uint8_t *wire = NULL;
    size_t n = 0;
    ERR_TRY(name_of(name, &owner, e));
    ldns_pkt *q = ldns_pkt_new();
    ldns_pkt_set_flags(q, multicast ? 0 : LDNS_RD);
    ldns_pkt_set_id(q, multicast ? 0 : id);
    add_question(q, owner, rr_type(type));
    if (type == DNS_SRV && multicast) {
        add_question(q, owner, LDNS_RR_TYPE_PTR);
    }
    if (type == DNS_ADDRESS && multicast) {
        add_question(q, owner, LDNS_RR_TYPE_AAAA);
    }
    if (!multicast) {
        ldns_pkt_set_edns_udp_size(q, DNS_EDNS_SIZE);
    }
    enum err_code rc = ERR_OK;
    if (ldns_pkt2wire(&wire, q, &n) == LDNS_STATUS_OK) {
        buf_add(out, wire, n);
    } else {
        rc = err_set(e, ERR_INVALID, NULL, "\"%s\" can't be asked for", name);
    }
    LDNS_FREE(wire);
    ldns_pkt_free(q);
    ldns_rdf_deep_free(owner);
    return rc;
}

/* ---- answers ---- */

static bool is_in(const ldns_rr *rr) {
    return ((unsigned)ldns_rr_get_class(rr) & CLASS_MASK) == LDNS_RR_CLASS_IN;
}

/* The value that a string begins; NULL: another key. */
static struct buf *key_of(struct dns_answer *out, const uint8_t *p, size_t n) {
    if (n < 3 || p[2] != '=') {
        return NULL;
    }
    if (strncasecmp((const char *)p, "ci", 2) == 0) {
        return &out->ci;
    }
    if (strncasecmp((const char *)p, "oc", 2) == 0) {
        return &out->owner;
    }
    return strncasecmp((const char *)p, "ov", 2) == 0 ? &out->voucher : NULL;
}

/* A string holds at most 255 octets and artifacts are longer: a full string goes on in the next
 * one. Of a key that is there twice the first counts (RFC 6763 section 6.4). */
static void take_txt(const ldns_rr *rr, struct dns_answer *out) {
    struct buf scrap = BUF_INIT, *to = NULL;
    bool full = false;
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *f = ldns_rr_rdf(rr, i);
        const uint8_t *p = ldns_rdf_data(f);
        size_t n = ldns_rdf_size(f);
        if (n == 0) {
            continue;
        }
        p++; /* the string's length */
        n--;
        struct buf *key = key_of(out, p, n);
        if (key != NULL) {
            to = key->len == 0 ? key : &scrap;
            buf_add(to, p + 3, n - 3);
            out->found = true;
        } else if (full && to != NULL) {
            buf_add(to, p, n);
        } else {
            to = NULL;
        }
        full = n == STRING_MAX;
    }
    buf_free(&scrap);
}

struct srv {
    uint16_t priority, weight;
    struct sztp_server s;
};

/* The next by RFC 2782: of the lowest priority, drawn by weight. */
static size_t draw(const struct srv *v, size_t n, struct rng *rng) {
    uint64_t sum = 0;
    uint16_t lowest = UINT16_MAX;
    for (size_t i = 0; i < n; i++) {
        lowest = v[i].priority < lowest ? v[i].priority : lowest;
    }
    for (size_t i = 0; i < n; i++) {
        sum += v[i].priority == lowest ? v[i].weight : 0;
    }
    uint64_t at = rng_below(rng, sum + 1);
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].priority != lowest) {
            continue;
        }
        last = i;
        if (at <= v[i].weight && (v[i].weight > 0 || at == 0)) {
            break;
        }
        at -= v[i].weight;
    }
    return last;
}

static void order_servers(struct srv *v, size_t n, struct rng *rng, struct dns_answer *out) {
    out->servers = mem_alloc((n + 1) * sizeof *out->servers);
    while (n > 0) {
        size_t i = draw(v, n, rng);
        out->servers[out->n_servers++] = v[i].s;
        memmove(&v[i], &v[i + 1], (n - i - 1) * sizeof *v);
        n--;
    }
}

/* A name in wire format as text without its last dot, as people write hosts. */
static bool host_text(const ldns_rdf *name, char out[SZTP_NAME_MAX + 1]) {
    char *s = ldns_rdf2str(name);
    size_t n = s != NULL ? strlen(s) : 0;
    bool good = n > 1 && n <= SZTP_NAME_MAX && strchr(s, '\\') == NULL;
    if (good) {
        memcpy(out, s, n - 1);
        out[n - 1] = '\0';
    }
    LDNS_FREE(s);
    return good;
}

static bool take_srv(const ldns_rr *rr, struct srv *v) {
    if (ldns_rr_rd_count(rr) != 4) {
        return false;
    }
    memset(v, 0, sizeof *v);
    v->priority = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
    v->weight = ldns_rdf2native_int16(ldns_rr_rdf(rr, 1));
    v->s.port = ldns_rdf2native_int16(ldns_rr_rdf(rr, 2));
    v->s.port_said = true;
    return v->s.port != 0 && host_text(ldns_rr_rdf(rr, 3), v->s.address);
}

static void take_address(const ldns_rr *rr, struct dns_answer *out) {
    const ldns_rdf *f = ldns_rr_rd_count(rr) == 1 ? ldns_rr_rdf(rr, 0) : NULL;
    bool v4 = ldns_rr_get_type(rr) == LDNS_RR_TYPE_A;
    if (f == NULL || ldns_rdf_size(f) != (v4 ? 4 : 16) || out->n_addresses == DNS_ADDRESSES_MAX) {
        return;
    }
    struct ip_addr *a = &out->addresses[out->n_addresses++];
    a->family = v4 ? 4 : 6;
    memcpy(a->bytes, ldns_rdf_data(f), ldns_rdf_size(f));
    out->found = true;
}

/* A multicast SRV may be that of an instance: one label before the service's name. */
static bool owner_fits(const ldns_rr *rr, const ldns_rdf *name, enum dns_type type,
                       bool multicast) {
    const ldns_rdf *o = ldns_rr_owner(rr);
    if (ldns_dname_compare(o, name) == 0) {
        return true;
    }
    return multicast && type == DNS_SRV && ldns_dname_is_subdomain(o, name) &&
           ldns_dname_label_count(o) == ldns_dname_label_count(name) + 1;
}

static bool type_fits(const ldns_rr *rr, enum dns_type type) {
    ldns_rr_type t = ldns_rr_get_type(rr);
    return t == rr_type(type) || (type == DNS_ADDRESS && t == LDNS_RR_TYPE_AAAA);
}

static void gather(const ldns_rr_list *l, const ldns_rdf *name, enum dns_type type, bool multicast,
                   struct srv *v, size_t *n_srv, struct dns_answer *out) {
    for (size_t i = 0; i < ldns_rr_list_rr_count(l); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(l, i);
        if (!is_in(rr) || !type_fits(rr, type) || !owner_fits(rr, name, type, multicast)) {
            continue;
        }
        if (type == DNS_TXT) {
            take_txt(rr, out);
        } else if (type == DNS_ADDRESS) {
            take_address(rr, out);
        } else if (*n_srv < SRV_MAX && take_srv(rr, &v[*n_srv])) {
            ++*n_srv;
            out->found = true;
        }
    }
}

/* Where the aliases of a unicast answer lead; owned by the packet. */
static const ldns_rdf *follow(const ldns_rr_list *l, const ldns_rdf *name) {
    for (int hop = 0; hop < CNAMES_MAX; hop++) {
        const ldns_rdf *next = NULL;
        for (size_t i = 0; i < ldns_rr_list_rr_count(l) && next == NULL; i++) {
            const ldns_rr *rr = ldns_rr_list_rr(l, i);
            if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1 &&
                ldns_dname_compare(ldns_rr_owner(rr), name) == 0) {
                next = ldns_rr_rdf(rr, 0);
            }
        }
        if (next == NULL) {
            break;
        }
        name = next;
    }
    return name;
}

static enum err_code check_head(const ldns_pkt *m, const ldns_rdf *name, enum dns_type type,
                                bool multicast, uint16_t id, struct dns_answer *out,
                                struct err *e) {
    if (!ldns_pkt_qr(m)) {
        return err_set(e, ERR_MALFORMED, NULL, "a query, no answer");
    }
    if (multicast) {
        return ERR_OK;
    }
    const ldns_rr_list *q = ldns_pkt_question(m);
    const ldns_rr *rr = ldns_rr_list_rr_count(q) == 1 ? ldns_rr_list_rr(q, 0) : NULL;
    if (ldns_pkt_id(m) != id || rr == NULL || ldns_rr_get_type(rr) != rr_type(type) ||
        ldns_dname_compare(ldns_rr_owner(rr), name) != 0) {
        return err_set(e, ERR_MALFORMED, NULL, "the answer to another question");
    }
    out->truncated = ldns_pkt_tc(m);
    switch ((int)ldns_pkt_get_rcode(m)) {
    case LDNS_RCODE_NOERROR:
        return ERR_OK;
    case LDNS_RCODE_NXDOMAIN:
        return err_set(e, ERR_ABSENT, NULL, "there is no such name");
    default:
        return err_set(e, ERR_UNAVAILABLE, NULL, "the name server answers with code %d",
                       (int)ldns_pkt_get_rcode(m));
    }
}

static enum err_code read_packet(const ldns_pkt *m, const ldns_rdf *name, enum dns_type type,
                                 bool multicast, uint16_t id, struct rng *rng,
                                 struct dns_answer *out, struct err *e) {
    ERR_TRY(check_head(m, name, type, multicast, id, out, e));
    if (out->truncated) {
        return ERR_OK;
    }
    struct srv *v = mem_alloc(SRV_MAX * sizeof *v);
    size_t n = 0;
    const ldns_rdf *owner = multicast ? name : follow(ldns_pkt_answer(m), name);
    gather(ldns_pkt_answer(m), owner, type, multicast, v, &n, out);
    if (multicast && type != DNS_TXT) {
        gather(ldns_pkt_additional(m), owner, type, multicast, v, &n, out);
    }
    if (type == DNS_SRV) {
        order_servers(v, n, rng, out);
    }
    mem_free(v);
    return out->found ? ERR_OK : err_set(e, ERR_ABSENT, NULL, "there is no such record");
}

enum err_code dns_answer_parse(const void *p, size_t n, const char *name, enum dns_type type,
                               bool multicast, uint16_t id, struct rng *rng, struct dns_answer *out,
                               struct err *e) {
    ldns_rdf *owner = NULL;
    ldns_pkt *m = NULL;
    memset(out, 0, sizeof *out);
    ERR_TRY(name_of(name, &owner, e));
    enum err_code rc;
    if (n > DNS_MESSAGE_MAX || ldns_wire2pkt(&m, p, n) != LDNS_STATUS_OK) {
        rc = err_set(e, ERR_MALFORMED, NULL, "no message of DNS");
    } else {
        rc = read_packet(m, owner, type, multicast, id, rng, out, e);
    }
    if (rc != ERR_OK) {
        dns_answer_free(out);
    }
    ldns_pkt_free(m);
    ldns_rdf_deep_free(owner);
    return rc;
}
