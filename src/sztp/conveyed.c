// SPDX-License-Identifier: Apache-2.0
#include "sztp/conveyed.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sztp/doc.h"
#include "sztp/topology.h"

const struct sztp_profile sztp_profile_default;

void conveyed_free(struct conveyed *c) {
    for (size_t i = 0; i < c->n_servers; i++) {
        buf_free(&c->servers[i].anchor);
    }
    mem_free(c->servers);
    mem_free(c->image.uris);
    buf_free(&c->pre);
    buf_free(&c->config);
    buf_free(&c->post);
    *c = (struct conveyed){0};
}

/* ---- hashes -------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    size_t len;
} hashes[] = {
    [SZTP_SHA256] = {"sha-256", 32}, [SZTP_SHA1] = {"sha1", 20}, [SZTP_MD5] = {"md5", 16}};

void sztp_hash_print(const struct sztp_verification *v, struct buf *out) {
    for (size_t i = 0; i < hashes[v->hash].len; i++) {
        buf_printf(out, "%s%02x", i > 0 ? ":" : "", v->digest[i]);
    }
}

static int nibble(char c) {
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

enum err_code sztp_hash_parse(enum sztp_hash hash, const char *hex, struct sztp_verification *out,
                              struct err *e) {
    size_t n = 0, want = hashes[hash].len;
    const char *s = hex;
    out->hash = hash;
    while (n < want && nibble(s[0]) >= 0 && nibble(s[1]) >= 0) {
        out->digest[n++] = (uint8_t)(nibble(s[0]) << 4 | nibble(s[1]));
        s += 2;
        s += *s == ':' && n < want ? 1 : 0;
    }
    return n == want && *s == '\0'
               ? ERR_OK
               : err_set(e, ERR_INVALID, NULL, "a value of %s is %zu octets in hexadecimal digits",
                         hashes[hash].name, want);
}

/* ---- topology -----------------------------------------------------------------------------------
 */

static const char *const roles[] = {"", "master", "backup", "linecard"};

const char *sztp_role_name(enum sztp_role r) {
    return roles[r];
}

bool sztp_role_parse(const char *name, enum sztp_role *out) {
    for (int i = SZTP_MASTER; i <= SZTP_LINECARD; i++) {
        if (strcmp(name, roles[i]) == 0) {
            *out = (enum sztp_role)i;
            return true;
        }
    }
    return strcmp(name, "primary") == 0 ? *out = SZTP_MASTER, true : false;
}

void sztp_member_text(const struct sztp_member *m, struct buf *out) {
    buf_str(out, "Member ");
    if (m->id >= 0) {
        buf_printf(out, "%d ", m->id);
    }
    buf_printf(out, "(%s, %s): ", m->serial,
               m->role != SZTP_ROLE_NONE ? sztp_role_name(m->role) : "unknown role");
}

enum err_code topology_check(const struct sztp_topology *t, char *why, size_t size) {
    for (size_t i = 0; i < t->n_members; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(t->members[i].serial, t->members[j].serial) == 0) {
                snprintf(why, size, "serial number %s stands there twice", t->members[i].serial);
                return ERR_INVALID;
            }
            if (t->members[i].id >= 0 && t->members[i].id == t->members[j].id) {
                snprintf(why, size, "member id %d stands there twice", t->members[i].id);
                return ERR_INVALID;
            }
        }
    }
    if (t->strict && t->n_members == 0) {
        snprintf(why, size, "strict provisioning needs the list of all members");
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err_code topology_parse_member(const struct doc *d, const struct dom *n, struct sztp_member *m,
                                    struct err *e) {
    enum { SERIAL, ID, ROLE, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [SERIAL] = {DOC_WEFT, "serial-id", DOC_STRING | DOC_MANDATORY},
        [ID] = {DOC_WEFT, "member-id", DOC_NUMBER},
        [ROLE] = {DOC_WEFT, "role", DOC_STRING}};
    const struct dom *got[FIELDS];
    unsigned id = 0;
    ERR_TRY(doc_fields(d, n, fields, FIELDS, got, e));
    ERR_TRY(doc_text(got[SERIAL], m->serial, sizeof m->serial, e));
    ERR_TRY(doc_uint(got[ID], 0, SZTP_MEMBERS_MAX - 1, &id, e));
    m->id = got[ID] != NULL ? (int)id : -1;
    if (m->serial[0] == '\0') {
        return doc_fail(got[SERIAL], ERR_INVALID, e, "is empty");
    }
    if (got[ROLE] != NULL && !sztp_role_parse(got[ROLE]->text, &m->role)) {
        return doc_fail(got[ROLE], ERR_INVALID, e, "is master, backup or linecard");
    }
    return ERR_OK;
}

static enum err_code parse_topology(const struct doc *d, const struct dom *n,
                                    struct sztp_topology *t, struct err *e) {
    enum { STRICT, EXACT, MEMBER, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [STRICT] = {DOC_WEFT, "strict-provisioning", DOC_BOOL},
        [EXACT] = {DOC_WEFT, "exact-match", DOC_BOOL},
        [MEMBER] = {DOC_WEFT, "member", DOC_TREE | DOC_MANY}};
    const struct dom *got[FIELDS];
    char why[128];
    if (n == NULL) {
        return ERR_OK;
    }
    t->present = true;
    ERR_TRY(doc_fields(d, n, fields, FIELDS, got, e));
    ERR_TRY(doc_bool(got[STRICT], &t->strict, e));
    ERR_TRY(doc_bool(got[EXACT], &t->exact, e));
    for (const struct dom *m = got[MEMBER]; m != NULL; m = doc_next(m)) {
        if (t->n_members == SZTP_MEMBERS_MAX) {
            return doc_fail(m, ERR_LIMIT, e, "more than %d members", SZTP_MEMBERS_MAX);
        }
        ERR_TRY(topology_parse_member(d, m, &t->members[t->n_members++], e));
    }
    return topology_check(t, why, sizeof why) == ERR_OK ? ERR_OK
                                                        : doc_fail(n, ERR_INVALID, e, "%s", why);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static enum err_code parse_server(const struct doc *d, const struct dom *n, struct conveyed *c,
                                  struct err *e) {
    enum { ADDRESS, PORT, ANCHOR, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [ADDRESS] = {DOC_CONVEYED, "address", DOC_STRING | DOC_MANDATORY},
        [PORT] = {DOC_CONVEYED, "port", DOC_NUMBER},
        [ANCHOR] = {DOC_CONVEYED, "trust-anchor", DOC_STRING}};
    const struct dom *got[FIELDS];
    unsigned port = 443;
    if (c->n_servers == SZTP_SERVERS_MAX) {
        return doc_fail(n, ERR_LIMIT, e, "more than %d servers", SZTP_SERVERS_MAX);
    }
    ERR_TRY(doc_fields(d, n, fields, FIELDS, got, e));
    struct sztp_server *s = &c->servers[c->n_servers++];
    ERR_TRY(doc_text(got[ADDRESS], s->address, sizeof s->address, e));
    if (s->address[0] == '\0' || strpbrk(s->address, " /@?#") != NULL) {
        return doc_fail(got[ADDRESS], ERR_INVALID, e, "is a host name or an address");
    }
    for (size_t i = 0; i + 1 < c->n_servers; i++) {
        if (!d->lenient && strcmp(c->servers[i].address, s->address) == 0) {
            return doc_fail(got[ADDRESS], ERR_INVALID, e, "%s stands there twice", s->address);
        }
    }
    ERR_TRY(doc_uint(got[PORT], 1, 65535, &port, e));
    s->port = (uint16_t)port;
    s->port_said = got[PORT] != NULL;
    return doc_binary(got[ANCHOR], CMS_DER_MAX, &s->anchor, e);
}

static enum err_code parse_redirect(const struct doc *d, struct conveyed *c, struct err *e) {
    static const struct doc_field fields[] = {
        {DOC_CONVEYED, "bootstrap-server", DOC_TREE | DOC_MANY | DOC_MANDATORY}};
    const struct dom *got;
    c->redirect = true;
    ERR_TRY(doc_fields(d, d->root, fields, 1, &got, e));
    c->servers = mem_array(NULL, SZTP_SERVERS_MAX, sizeof *c->servers);
    memset(c->servers, 0, SZTP_SERVERS_MAX * sizeof *c->servers);
    for (; got != NULL; got = doc_next(got)) {
        ERR_TRY(parse_server(d, got, c, e));
    }
    return ERR_OK;
}

/* The key of the list is the algorithm; a producer that is met in the field repeats entries. */
static enum err_code parse_hash(const struct doc *d, const struct dom *n, struct conveyed *c,
                                struct err *e) {
    enum { ALGORITHM, VALUE, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [ALGORITHM] = {DOC_CONVEYED, "hash-algorithm", DOC_STRING | DOC_MANDATORY},
        [VALUE] = {DOC_CONVEYED, "hash-value", DOC_STRING | DOC_MANDATORY}};
    const struct dom *got[FIELDS];
    struct sztp_verification v = {.hash = SZTP_SHA256};
    struct err why;
    ERR_TRY(doc_fields(d, n, fields, FIELDS, got, e));
    if (strcmp(doc_identity(got[ALGORITHM]), "sha-256") != 0) {
        return doc_fail(got[ALGORITHM], ERR_UNSUPPORTED, e, "%s is not known; sha-256 is",
                        doc_identity(got[ALGORITHM]));
    }
    if (sztp_hash_parse(SZTP_SHA256, got[VALUE]->text, &v, &why) != ERR_OK) {
        return doc_fail(got[VALUE], ERR_INVALID, e, "%s", why.text);
    }
    for (size_t i = 0; i < c->image.n_hashes; i++) {
        if (memcmp(c->image.hashes[i].digest, v.digest, sizeof v.digest) != 0) {
            return doc_fail(n, ERR_INVALID, e, "two different values for sha-256");
        }
        return ERR_OK;
    }
    c->image.hashes[c->image.n_hashes++] = v;
    return ERR_OK;
}

static enum err_code parse_image(const struct doc *d, const struct dom *n, struct conveyed *c,
                                 struct err *e) {
    enum { OS_NAME, OS_VERSION, URI, HASH, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [OS_NAME] = {DOC_CONVEYED, "os-name", DOC_STRING},
        [OS_VERSION] = {DOC_CONVEYED, "os-version", DOC_STRING},
        [URI] = {DOC_CONVEYED, "download-uri", DOC_STRING | DOC_MANY},
        [HASH] = {DOC_CONVEYED, "image-verification", DOC_TREE | DOC_MANY}};
    const struct dom *got[FIELDS];
    if (n == NULL) {
        return ERR_OK;
    }
    c->image.present = true;
    ERR_TRY(doc_fields(d, n, fields, FIELDS, got, e));
    ERR_TRY(doc_text(got[OS_NAME], c->image.os_name, sizeof c->image.os_name, e));
    ERR_TRY(doc_text(got[OS_VERSION], c->image.os_version, sizeof c->image.os_version, e));
    for (const struct dom *u = got[URI]; u != NULL; u = doc_next(u)) {
        size_t i = c->image.n_uris;
        if (i == SZTP_URIS_MAX) {
            return doc_fail(u, ERR_LIMIT, e, "more than %d URIs", SZTP_URIS_MAX);
        }
        c->image.uris = mem_array(c->image.uris, ++c->image.n_uris, sizeof *c->image.uris);
        c->image.uris[i][0] = '\0';
        ERR_TRY(doc_text(u, c->image.uris[i], sizeof c->image.uris[i], e));
        if (strchr(c->image.uris[i], ':') == NULL || strchr(c->image.uris[i], ' ') != NULL) {
            return doc_fail(u, ERR_INVALID, e, "is a URI");
        }
    }
    for (const struct dom *h = got[HASH]; h != NULL; h = doc_next(h)) {
        ERR_TRY(parse_hash(d, h, c, e));
    }
    return c->image.n_hashes > 0 && c->image.n_uris == 0
               ? doc_fail(n, ERR_INVALID, e, "image-verification without a download-uri")
               : ERR_OK;
}

/* Base64; examples in the field write XML as it is, as elements. */
static enum err_code parse_configuration(const struct doc *d, const struct dom *n,
                                         struct conveyed *c, struct err *e) {
    if (n->child == NULL) {
        return doc_binary(n, SZTP_DOCUMENT_MAX, &c->config, e);
    }
    if (d->form != SZTP_XML || !d->lenient) {
        return doc_fail(n, ERR_INVALID, e, "is Base64");
    }
    for (const struct dom *x = n->child; x != NULL; x = x->next) {
        dom_print(x, NULL, NULL, &c->config);
    }
    return ERR_OK;
}

static enum err_code parse_onboarding(const struct doc *d, struct conveyed *c, struct err *e) {
    enum { IMAGE, HANDLING, PRE, CONFIG, POST, CHASSIS, FIELDS };
    const unsigned config = DOC_STRING | (d->form == SZTP_XML ? DOC_TREE : 0);
    const struct doc_field fields[FIELDS] = {
        [IMAGE] = {DOC_CONVEYED, "boot-image", DOC_TREE},
        [HANDLING] = {DOC_CONVEYED, "configuration-handling", DOC_STRING},
        [PRE] = {DOC_CONVEYED, "pre-configuration-script", DOC_STRING},
        [CONFIG] = {DOC_CONVEYED, "configuration", config},
        [POST] = {DOC_CONVEYED, "post-configuration-script", DOC_STRING},
        [CHASSIS] = {DOC_WEFT, "virtual-chassis", DOC_TREE}};
    const struct dom *got[FIELDS];
    ERR_TRY(doc_fields(d, d->root, fields, FIELDS, got, e));
    ERR_TRY(parse_image(d, got[IMAGE], c, e));
    ERR_TRY(doc_binary(got[PRE], SZTP_DOCUMENT_MAX, &c->pre, e));
    ERR_TRY(doc_binary(got[POST], SZTP_DOCUMENT_MAX, &c->post, e));
    if (got[CONFIG] != NULL) {
        ERR_TRY(parse_configuration(d, got[CONFIG], c, e));
    }
    c->has_pre = got[PRE] != NULL;
    c->has_config = got[CONFIG] != NULL;
    c->has_post = got[POST] != NULL;
    if (got[HANDLING] != NULL) {
        const char *how = got[HANDLING]->text;
        if (strcmp(how, "merge") != 0 && strcmp(how, "replace") != 0) {
            return doc_fail(got[HANDLING], ERR_INVALID, e, "is merge or replace");
        }
        c->handling = how[0] == 'm' ? SZTP_MERGE : SZTP_REPLACE;
    }
    if (c->has_config != (c->handling != SZTP_HANDLING_NONE)) {
        return doc_fail(d->root, ERR_MISSING, e, "%s without %s",
                        c->has_config ? "configuration" : "configuration-handling",
                        c->has_config ? "configuration-handling" : "configuration");
    }
    return parse_topology(d, got[CHASSIS], &c->topology, e);
}

enum err_code conveyed_parse(enum sztp_form form, const void *p, size_t n, bool lenient,
                             struct conveyed *out, struct err *e) {
    struct doc d;
    *out = (struct conveyed){0};
    enum err_code rc = doc_read(&d, form, p, n, SZTP_DOCUMENT_MAX, lenient, e);
    if (rc == ERR_OK && doc_is(&d, d.root, DOC_CONVEYED, "redirect-information")) {
        rc = parse_redirect(&d, out, e);
    } else if (rc == ERR_OK && doc_is(&d, d.root, DOC_CONVEYED, "onboarding-information")) {
        rc = parse_onboarding(&d, out, e);
    } else if (rc == ERR_OK) {
        rc = doc_fail(d.root, ERR_UNKNOWN, e,
                      "is neither redirect-information nor onboarding-information of "
                      "ietf-sztp-conveyed-info");
    }
    doc_free(&d);
    if (rc != ERR_OK) {
        conveyed_free(out);
    }
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void print_redirect(struct doc_out *o, const struct conveyed *c) {
    char port[8];
    doc_open(o, DOC_CONVEYED, "redirect-information");
    doc_list(o, DOC_CONVEYED, "bootstrap-server");
    for (size_t i = 0; i < c->n_servers; i++) {
        const struct sztp_server *s = &c->servers[i];
        doc_open(o, DOC_CONVEYED, "bootstrap-server");
        doc_put(o, DOC_CONVEYED, "address", s->address);
        /* Always: clients are met that take no port for port 0 (PH-305). */
        snprintf(port, sizeof port, "%u", s->port != 0 ? s->port : 443U);
        doc_put_raw(o, DOC_CONVEYED, "port", port);
        if (s->anchor.len > 0) {
            doc_put_binary(o, DOC_CONVEYED, "trust-anchor", s->anchor.data, s->anchor.len);
        }
        doc_close(o);
    }
    doc_close(o);
    doc_close(o);
}

static void print_image(struct doc_out *o, const struct conveyed *c, const struct sztp_profile *p) {
    struct buf hex = BUF_INIT;
    doc_open(o, DOC_CONVEYED, "boot-image");
    if (!p->omit_os_fields && c->image.os_name[0] != '\0') {
        doc_put(o, DOC_CONVEYED, "os-name", c->image.os_name);
    }
    if (!p->omit_os_fields && c->image.os_version[0] != '\0') {
        doc_put(o, DOC_CONVEYED, "os-version", c->image.os_version);
    }
    if (c->image.n_uris > 0) {
        doc_list(o, DOC_CONVEYED, "download-uri");
        for (size_t i = 0; i < c->image.n_uris; i++) {
            doc_put(o, DOC_CONVEYED, "download-uri", c->image.uris[i]);
        }
        doc_close(o);
    }
    bool listed = false;
    for (size_t i = 0; i < c->image.n_hashes && c->image.n_uris > 0; i++) {
        if (c->image.hashes[i].hash != SZTP_SHA256 || listed) {
            continue; /* the module has no other */
        }
        listed = true;
        doc_list(o, DOC_CONVEYED, "image-verification");
        doc_open(o, DOC_CONVEYED, "image-verification");
        doc_put_identity(o, DOC_CONVEYED, "hash-algorithm", DOC_CONVEYED, "sha-256");
        buf_clear(&hex);
        sztp_hash_print(&c->image.hashes[i], &hex);
        doc_put(o, DOC_CONVEYED, "hash-value", buf_cstr(&hex));
        doc_close(o);
        doc_close(o);
    }
    doc_close(o);
    buf_free(&hex);
}

void topology_print_member(struct doc_out *o, const struct sztp_member *m) {
    char id[12];
    doc_put(o, DOC_WEFT, "serial-id", m->serial);
    if (m->id >= 0) {
        snprintf(id, sizeof id, "%d", m->id);
        doc_put_raw(o, DOC_WEFT, "member-id", id);
    }
    if (m->role != SZTP_ROLE_NONE) {
        doc_put(o, DOC_WEFT, "role", sztp_role_name(m->role));
    }
}

static void print_topology(struct doc_out *o, const struct sztp_topology *t) {
    doc_open(o, DOC_WEFT, "virtual-chassis");
    if (t->strict) {
        doc_put_raw(o, DOC_WEFT, "strict-provisioning", "true");
    }
    if (t->exact) {
        doc_put_raw(o, DOC_WEFT, "exact-match", "true");
    }
    if (t->n_members > 0) {
        doc_list(o, DOC_WEFT, "member");
        for (size_t i = 0; i < t->n_members; i++) {
            doc_open(o, DOC_WEFT, "member");
            topology_print_member(o, &t->members[i]);
            doc_close(o);
        }
        doc_close(o);
    }
    doc_close(o);
}

static void print_onboarding(struct doc_out *o, const struct conveyed *c,
                             const struct sztp_profile *p) {
    doc_open(o, DOC_CONVEYED, "onboarding-information");
    if (c->image.present) {
        print_image(o, c, p);
    }
    if (c->has_config) {
        doc_put(o, DOC_CONVEYED, "configuration-handling",
                c->handling == SZTP_REPLACE ? "replace" : "merge");
    }
    if (c->has_pre) {
        doc_put_binary(o, DOC_CONVEYED, "pre-configuration-script", c->pre.data, c->pre.len);
    }
    if (c->has_config) {
        doc_put_binary(o, DOC_CONVEYED, "configuration", c->config.data, c->config.len);
    }
    if (c->has_post) {
        doc_put_binary(o, DOC_CONVEYED, "post-configuration-script", c->post.data, c->post.len);
    }
    if (c->topology.present) {
        print_topology(o, &c->topology);
    }
    doc_close(o);
}

void conveyed_print(const struct conveyed *c, enum sztp_form form, const struct sztp_profile *p,
                    struct buf *out) {
    struct doc_out o;
    doc_begin(&o, form, out);
    if (c->redirect) {
        print_redirect(&o, c);
    } else {
        print_onboarding(&o, c, p != NULL ? p : &sztp_profile_default);
    }
    doc_end(&o);
}
