// SPDX-License-Identifier: Apache-2.0
/* From a plan to the bytes: on a worker, from one snapshot and the files beside it. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/pki.h"
#include "onboard/internal.h"
#include "sztp/cms.h"

LOGGER_MODULE(onboard_answer);

enum { TEXT_MAX = 8 << 20, CERT_MAX = 1 << 20 };

void given_free(struct given *g) {
    conveyed_free(&g->info);
    buf_free(&g->owner);
    buf_free(&g->voucher);
    buf_free(&g->ldevid);
    cms_key_free(g->signer);
    *g = (struct given){.signer = NULL};
}

static const void *object_data(const struct plan *p, const struct kind *k, const char *key) {
    const struct object *o = key != NULL && key[0] != '\0' ? object_of(p->snap, k, key) : NULL;
    return o != NULL ? o->doc->data : NULL;
}

static enum err_code at(struct err *e, const char *kind, const char *name) {
    char prefix[160];
    snprintf(prefix, sizeof prefix, "%s %s", kind, name);
    if (e->path[0] != '\0') {
        snprintf(prefix, sizeof prefix, "%s %s: ", kind, name);
    }
    err_prefix_path(e, prefix);
    return e->code;
}

static void copy(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text != NULL ? text : "");
}

/* ---- templates ------------------------------------------------------------------------------- */

struct variables {
    const struct plan *plan;
    const struct onboard_device *device;
    const char *address;
    char port[8];
    struct buf *ldevid;
    struct buf authority; /* read when it is asked for */
};

bool variable_built_in(const char *name) {
    static const char *const all[] = {
        "serial-number", "hw-model",           "os-name",
        "os-version",    "device-type",        "server-address",
        "server-port",   "ldevid-certificate", "authority-certificate"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *value(void *arg, const char *name) {
    struct variables *v = arg;
    const struct onboard_device *d = v->device;
    for (size_t i = 0; d != NULL && !variable_built_in(name) && i < d->n_variable; i++) {
        if (strcmp(d->variable[i].name, name) == 0) {
            return d->variable[i].value;
        }
    }
    const struct {
        const char *name, *value;
    } own[] = {{"serial-number", v->plan->serial},
               {"hw-model", v->plan->hw_model},
               {"os-name", v->plan->os_name},
               {"os-version", v->plan->os_version},
               {"device-type", v->plan->type},
               {"server-address", v->address},
               {"server-port", v->port}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(own[i].name, name) == 0) {
            return own[i].value;
        }
    }
    if (strcmp(name, "ldevid-certificate") == 0 && v->ldevid->len > 0) {
        return buf_cstr(v->ldevid);
    }
    if (strcmp(name, "ldevid-certificate") == 0 && v->plan->previews_ldevid) {
        return "(the certificate that is signed when the device asks)";
    }
    if (strcmp(name, "authority-certificate") == 0) {
        struct cms_certs *c = cms_certs_new();
        buf_clear(&v->authority);
        if (cms_certs_add_file(c, onboard_paths.ca_cert, NULL) == ERR_OK) {
            cms_certs_to_pem(c, &v->authority);
        }
        cms_certs_free(c);
        return v->authority.len > 0 ? buf_cstr(&v->authority) : NULL;
    }
    return NULL;
}

struct source { /* of a script or a configuration */
    const char *text, *file;
    bool template;
    int escape; /* enum onboard_script_escape, and of configurations: the same */
};

static enum template_escape escape_of(const struct source *s, const struct buf *raw) {
    size_t i = 0;
    if (s->escape != ONBOARD_SCRIPT_ESCAPE_AUTO_) {
        return s->escape == ONBOARD_SCRIPT_ESCAPE_XML ? TEMPLATE_XML : TEMPLATE_PLAIN;
    }
    while (i < raw->len && (raw->data[i] == ' ' || raw->data[i] == '\n' || raw->data[i] == '\r' ||
                            raw->data[i] == '\t')) {
        i++;
    }
    return i < raw->len && raw->data[i] == '<' ? TEMPLATE_XML : TEMPLATE_PLAIN;
}

static enum err_code text_of(const struct source *s, struct variables *v, struct buf *out,
                             struct err *e) {
    struct buf raw = BUF_INIT;
    enum err_code rc = ERR_OK;
    if (s->text != NULL) {
        buf_str(&raw, s->text);
    } else {
        rc = files_read(s->file, TEXT_MAX, &raw, e);
    }
    if (rc == ERR_OK && s->template) {
        rc = template_fill(buf_cstr(&raw), raw.len, escape_of(s, &raw), value, v, out, e);
    } else if (rc == ERR_OK) {
        buf_add(out, raw.data, raw.len);
    }
    buf_free(&raw);
    return rc;
}

static enum err_code script(const struct plan *p, const char *name, struct variables *v, bool *has,
                            struct buf *out, struct err *e) {
    const struct onboard_script *s = object_data(p, &onboard_script_kind, name);
    if (s == NULL) {
        return ERR_OK;
    }
    struct source from = {s->text, s->file, s->template, (int)s->escape};
    *has = true;
    return text_of(&from, v, out, e) == ERR_OK ? ERR_OK : at(e, "script", name);
}

static enum err_code configuration(const struct plan *p, const char *name, struct variables *v,
                                   struct conveyed *c, struct err *e) {
    const struct onboard_configuration *s = object_data(p, &onboard_configuration_kind, name);
    if (s == NULL) {
        return ERR_OK;
    }
    struct source from = {s->text, s->file, s->template, (int)s->escape};
    c->has_config = true;
    c->handling = s->handling == ONBOARD_CONFIGURATION_HANDLING_REPLACE ? SZTP_REPLACE : SZTP_MERGE;
    return text_of(&from, v, &c->config, e) == ERR_OK ? ERR_OK : at(e, "configuration", name);
}

/* ---- boot images ----------------------------------------------------------------------------- */

static void add_uri(struct conveyed *c, const char *uri) {
    if (c->image.n_uris < SZTP_URIS_MAX) {
        c->image.uris = mem_array(c->image.uris, c->image.n_uris + 1, sizeof c->image.uris[0]);
        copy(c->image.uris[c->image.n_uris++], sizeof c->image.uris[0], uri);
    }
}

static void add_hash(struct conveyed *c, enum sztp_hash hash, const void *digest, size_t n) {
    struct sztp_verification *v = &c->image.hashes[c->image.n_hashes++];
    v->hash = hash;
    memcpy(v->digest, digest, n);
}

static enum err_code add_hash_text(struct conveyed *c, enum sztp_hash hash, const char *hex,
                                   struct err *e) {
    return hex == NULL ? ERR_OK
                       : sztp_hash_parse(hash, hex, &c->image.hashes[c->image.n_hashes++], e);
}

/* With the version: whichever node the device loads from, it is what was hashed here. */
static void own_uri(struct conveyed *c, const char *address, uint16_t port, const char *file,
                    const struct digests *d) {
    char uri[SZTP_URI_MAX + 1], version[FILES_VERSION + 1];
    bool v6 = strchr(address, ':') != NULL;
    char colon[8] = "";
    if (port != 443) {
        snprintf(colon, sizeof colon, ":%u", port);
    }
    files_version(d, version);
    snprintf(uri, sizeof uri, "https://%s%s%s%s/files/%s/%s", v6 ? "[" : "", address, v6 ? "]" : "",
             colon, version, file);
    add_uri(c, uri);
}

static enum err_code image(const struct plan *p, const char *name, const char *address,
                           uint16_t port, struct given *g, struct err *e) {
    const struct onboard_boot_image *i = object_data(p, &onboard_boot_image_kind, name);
    struct conveyed *c = &g->info;
    if (i == NULL) {
        return ERR_OK;
    }
    c->image.present = true;
    copy(c->image.os_name, sizeof c->image.os_name, i->os_name);
    copy(c->image.os_version, sizeof c->image.os_version, i->os_version);
    copy(g->image_name, sizeof g->image_name, i->file != NULL ? i->file : name);
    if (i->file != NULL) {
        struct digests d;
        if (files_digests(i->file, &d, e) != ERR_OK) {
            return at(e, "boot image", name);
        }
        own_uri(c, address, port, i->file, &d);
        add_hash(c, SZTP_SHA256, d.sha256, sizeof d.sha256);
        add_hash(c, SZTP_SHA1, d.sha1, sizeof d.sha1);
        add_hash(c, SZTP_MD5, d.md5, sizeof d.md5);
    }
    for (size_t k = 0; k < i->n_uri; k++) {
        add_uri(c, i->uri[k]);
    }
    if (i->file == NULL && (add_hash_text(c, SZTP_SHA256, i->sha_256, e) != ERR_OK ||
                            add_hash_text(c, SZTP_SHA1, i->sha_1, e) != ERR_OK ||
                            add_hash_text(c, SZTP_MD5, i->md5, e) != ERR_OK)) {
        return at(e, "boot image", name);
    }
    return ERR_OK;
}

static void topology(const struct plan *p, struct sztp_topology *out) {
    static const enum sztp_role roles[] = {[ONBOARD_TOPOLOGY_MEMBER_ROLE_PRIMARY] = SZTP_MASTER,
                                           [ONBOARD_TOPOLOGY_MEMBER_ROLE_BACKUP] = SZTP_BACKUP,
                                           [ONBOARD_TOPOLOGY_MEMBER_ROLE_LINECARD] = SZTP_LINECARD};
    const struct onboard_topology *t = object_data(p, &onboard_topology_kind, p->topology);
    if (t == NULL) {
        return;
    }
    out->present = true;
    out->strict = t->strict;
    out->exact = t->exact_match;
    for (size_t i = 0; i < t->n_member && i < SZTP_MEMBERS_MAX; i++) {
        struct sztp_member *m = &out->members[out->n_members++];
        copy(m->serial, sizeof m->serial, t->member[i].serial_number);
        m->id = t->member[i].has_id ? t->member[i].id : -1;
        m->role = t->member[i].has_role ? roles[t->member[i].role] : SZTP_ROLE_NONE;
    }
}

/* ---- redirects ------------------------------------------------------------------------------- */

/* `pem` NULL: the controller's own authority. */
static enum err_code anchor(const char *pem, struct buf *der, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    struct buf text = BUF_INIT;
    enum err_code rc;
    if (pem == NULL) {
        rc = cms_certs_add_file(c, onboard_paths.ca_cert, e);
    } else {
        rc = pem_text(pem, &text, e);
        rc = rc == ERR_OK ? cms_certs_add_pem(c, text.data, text.len, e) : rc;
    }
    rc = rc == ERR_OK ? cms_certs_print(c, der, e) : rc;
    cms_certs_free(c);
    buf_free(&text);
    return rc;
}

static struct sztp_server *add_server(struct conveyed *c, const char *address, uint16_t port) {
    c->servers = mem_array(c->servers, c->n_servers + 1, sizeof *c->servers);
    struct sztp_server *s = &c->servers[c->n_servers++];
    *s = (struct sztp_server){.port = port, .port_said = true};
    copy(s->address, sizeof s->address, address);
    return s;
}

static enum err_code redirects(const struct plan *p, struct conveyed *c, struct err *e) {
    const struct onboard_redirect_list *r =
        object_data(p, &onboard_redirect_list_kind, p->redirect_list);
    c->redirect = true;
    for (size_t i = 0; r != NULL && i < r->n_server && i < SZTP_SERVERS_MAX; i++) {
        const struct onboard_redirect_list_server *from = &r->server[i];
        struct sztp_server *s = add_server(c, from->address, from->port);
        if ((from->trust_anchor != NULL || from->own_authority) &&
            anchor(from->trust_anchor, &s->anchor, e) != ERR_OK) {
            return at(e, "redirect list", p->redirect_list);
        }
    }
    return r != NULL ? ERR_OK
                     : err_set(e, ERR_ABSENT, p->redirect_list, "there is no such redirect list");
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* One with the device's nonce where the manufacturer gives such ones, else the one that is kept. */
static enum err_code find_voucher(const struct plan *p, const struct onboard_signer *s,
                                  const struct onboard_device *d, struct given *g, struct err *e) {
    if (s->masa_uri != NULL && p->nonce_len > 0) {
        enum err_code rc =
            masa_voucher(s, g->signer, p->serial, p->nonce, p->nonce_len, &g->voucher, e);
        if (rc == ERR_OK || d->voucher == NULL) {
            return rc;
        }
        L_WARN("device %s gets the voucher that is kept, there is none for its nonce: %s",
               p->serial, e->text);
        buf_clear(&g->voucher);
    }
    return cms_unbase64(d->voucher, strlen(d->voucher), &g->voucher, e);
}

static enum err_code find_signer(const struct plan *p, struct given *g, struct err *e) {
    const struct onboard_signer *s = object_data(p, &onboard_signer_kind, p->signer);
    const struct onboard_device *d = object_data(p, &onboard_device_kind, p->serial);
    bool masa = s != NULL && s->masa_uri != NULL && p->nonce_len > 0;
    if (s == NULL || d == NULL || (d->voucher == NULL && !masa)) {
        return err_set(e, ERR_ABSENT, p->serial, "there is %s to sign for this device",
                       s == NULL ? "no signer" : "no voucher");
    }
    struct buf cert = BUF_INIT, key = BUF_INIT;
    struct cms_certs *chain = cms_certs_new();
    enum err_code rc = pem_text(s->certificate, &cert, e);
    rc = rc == ERR_OK ? pem_text(s->key, &key, e) : rc;
    rc = rc == ERR_OK ? cms_key_of(cert.data, cert.len, key.data, key.len, &g->signer, e) : rc;
    rc = rc == ERR_OK ? cms_certs_add_pem(chain, cert.data, cert.len, e) : rc;
    rc = rc == ERR_OK ? cms_certs_print(chain, &g->owner, e) : rc;
    rc = rc == ERR_OK ? find_voucher(p, s, d, g, e) : rc;
    cms_certs_free(chain);
    if (key.len > 0) {
        mem_wipe(key.data, key.len);
    }
    buf_free(&key);
    buf_free(&cert);
    return rc == ERR_OK ? ERR_OK : at(e, "signer", p->signer);
}

/* ---- certificates (RFC 9646) ----------------------------------------------------------------- */

enum err_code answer_sign(const struct plan *p, const struct buf *csr, struct buf *pem,
                          struct err *e) {
    const struct onboard_device *known = object_data(p, &onboard_device_kind, p->serial);
    struct pki_device d = {.serial = p->serial,
                           .name = known != NULL ? known->certificate_name : NULL,
                           .days = p->certificate_days};
    enum err_code rc = pki_sign_device(onboard_paths.ca_cert, onboard_paths.ca_key, csr->data,
                                       csr->len, &d, pem, e);
    return rc == ERR_OK ? rc : err_tag(e, rc, ANSWER_BAD_CSR, NULL);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum err_code bundle(const struct plan *p, const char *address, uint16_t port,
                            struct given *g, struct err *e) {
    const struct onboard_bundle *b = object_data(p, &onboard_bundle_kind, p->bundle);
    struct variables v = {.plan = p,
                          .device = object_data(p, &onboard_device_kind, p->serial),
                          .address = address,
                          .ldevid = &g->ldevid};
    if (b == NULL) {
        return err_set(e, ERR_ABSENT, p->bundle, "there is no such bundle");
    }
    snprintf(v.port, sizeof v.port, "%u", port);
    g->level =
        b->reporting_level == ONBOARD_BUNDLE_REPORTING_LEVEL_VERBOSE ? SZTP_VERBOSE : SZTP_MINIMAL;
    enum err_code rc = image(p, b->boot_image, address, port, g, e);
    struct conveyed *c = &g->info;
    rc = rc == ERR_OK ? script(p, b->pre_script, &v, &c->has_pre, &c->pre, e) : rc;
    rc = rc == ERR_OK ? configuration(p, b->configuration, &v, c, e) : rc;
    rc = rc == ERR_OK ? script(p, b->post_script, &v, &c->has_post, &c->post, e) : rc;
    topology(p, &c->topology);
    buf_free(&v.authority);
    return rc;
}

enum err_code answer_make(const struct plan *p, const char *address, uint16_t port,
                          const struct buf *csr, struct given *g, struct err *e) {
    enum err_code rc = ERR_OK;
    if (p->sign) {
        rc = find_signer(p, g, e);
        if (rc != ERR_OK && p->sign_optional) { /* a manufacturer that gives no voucher now, say */
            L_WARN("device %s gets a redirect that is not signed: %s", p->serial, e->text);
            cms_key_free(g->signer);
            g->signer = NULL;
            buf_clear(&g->voucher);
            rc = ERR_OK;
        }
    }
    if (rc == ERR_OK && p->certificate_days > 0) {
        rc = answer_sign(p, csr, &g->ldevid, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (p->to_self) {
        g->info.redirect = true;
        return anchor(NULL, &add_server(&g->info, address, port)->anchor, e);
    }
    return p->bundle[0] != '\0' ? bundle(p, address, port, g, e) : redirects(p, &g->info, e);
}

/* The older dialect has bare certificates for trust anchors: the root of each chain. */
static enum err_code bare_anchors(struct conveyed *c, struct err *e) {
    for (size_t i = 0; i < c->n_servers; i++) {
        struct buf *a = &c->servers[i].anchor;
        struct cms_certs *certs;
        if (a->len == 0) {
            continue;
        }
        ERR_TRY(cms_certs_parse(a->data, a->len, NULL, &certs, e));
        buf_clear(a);
        cms_certs_der(certs, cms_certs_count(certs) - 1, a);
        cms_certs_free(certs);
    }
    return ERR_OK;
}

static enum err_code print_prerfc(const struct ask *a, struct given *g, struct buf *out,
                                  struct err *e) {
    struct prerfc_device d = {.info = g->info};
    copy(d.serial, sizeof d.serial, a->serial);
    copy(d.image_name, sizeof d.image_name, g->image_name);
    ERR_TRY(bare_anchors(&d.info, e));
    return prerfc_device_print(&d, out, e); /* what `d` holds is `g`'s */
}

/* All three, as RFC 8572 section 3 has it for each. */
static enum err_code encrypt(const struct ask *a, struct sztp_answer *answer, struct err *e) {
    struct buf *const parts[] = {&answer->ci, &answer->owner, &answer->voucher};
    struct buf sealed[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < 3 && rc == ERR_OK; i++) {
        if (parts[i]->len > 0) {
            rc = cms_encrypt(parts[i]->data, parts[i]->len, a->cert.data, a->cert.len, &sealed[i],
                             e);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        if (rc == ERR_OK) {
            buf_free(parts[i]);
            *parts[i] = sealed[i];
        } else {
            buf_free(&sealed[i]);
        }
    }
    if (rc != ERR_OK && a->plan->encrypt_optional) {
        L_WARN("device %s is given its bundle as it is: %s: %s", a->serial, e->path, e->text);
        return ERR_OK;
    }
    return rc == ERR_OK ? ERR_OK : at(e, "bundle", a->plan->bundle);
}

enum err_code answer_print(const struct ask *a, struct given *g, struct buf *out, struct err *e) {
    if (a->prerfc) {
        return print_prerfc(a, g, out, e);
    }
    struct buf doc = BUF_INIT;
    struct sztp_answer answer = {.level = g->level};
    enum cms_type type = a->profile.ci_as_data ? CMS_DATA
                         : a->form == SZTP_XML ? CMS_CI_XML
                                               : CMS_CI_JSON;
    conveyed_print(&g->info, a->form, &a->profile, &doc);
    enum err_code rc = g->signer != NULL
                           ? cms_sign(type, doc.data, doc.len, g->signer, &answer.ci, e)
                           : cms_wrap(type, doc.data, doc.len, &answer.ci, e);
    if (rc == ERR_OK) {
        if (g->signer != NULL) {
            buf_add(&answer.owner, g->owner.data, g->owner.len);
            buf_add(&answer.voucher, g->voucher.data, g->voucher.len);
        }
        rc = a->plan->encrypt ? encrypt(a, &answer, e) : ERR_OK;
    }
    if (rc == ERR_OK) {
        sztp_answer_print(&answer, a->form, &a->profile, out);
    }
    buf_free(&doc);
    sztp_answer_free(&answer);
    return rc;
}
