// SPDX-License-Identifier: Apache-2.0
/* What the model can't say of a configuration: certificates, keys and vouchers that fit, listeners
 * that do not stand in each other's way. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/rng.h"
#include "onboard/internal.h"
#include "sztp/cms.h"
#include "sztp/trust.h"
#include "sztp/voucher.h"

struct checking {
    const struct onboard *ob;
    struct txn *t;
    struct findings found;
    /* Whom the voucher before this one pinned, and how the owner's certificate fits: vouchers of
     * one delivery are alike in that. */
    struct buf pinned;
    char signer[64], misfit[ERR_TEXT_MAX];
};

static enum err_code wrong(struct err *e, const struct object *o, const char *leaf) {
    char *path = mem_printf("%s/%s", o->doc->path, leaf);
    snprintf(e->path, sizeof e->path, "%s", path);
    mem_free(path);
    return e->code;
}

static enum err_code fail(struct err *e, const struct object *o, const char *leaf,
                          const char *text) {
    err_set(e, ERR_INVALID, NULL, "%s", text);
    return wrong(e, o, leaf);
}

/* ---- listeners ------------------------------------------------------------------------------- */

static enum err_code check_listener(const struct snap *s, const struct object *o, struct err *e) {
    const struct onboard_listener *l = o->doc->data;
    if ((l->certificate_file == NULL) != (l->key_file == NULL)) {
        return fail(e, o, l->key_file == NULL ? "key-file" : "certificate-file",
                    "certificate-file and key-file go together");
    }
    for (size_t i = 0; i < l->n_role && l->n_role > 1; i++) {
        if (l->role[i] == ONBOARD_LISTENER_ROLE_RENEW) {
            return fail(e, o, "role", "renew stands alone: other certificates are believed there");
        }
    }
    for (const struct object *p = snap_first_of(s, &onboard_listener_kind);
         p != NULL && p->doc->kind == &onboard_listener_kind; p = snap_next(s, p)) {
        const struct onboard_listener *other = p->doc->data;
        if (strcmp(other->name, l->name) != 0 && other->port == l->port &&
            ip_addr_cmp(&other->address, &l->address) == 0 && !other->disabled && !l->disabled) {
            err_set(e, ERR_INVALID, NULL, "listener %s has this address and port", other->name);
            return wrong(e, o, "port");
        }
    }
    return ERR_OK;
}

/* ---- certificates ---------------------------------------------------------------------------- */

static enum err_code check_pem(const struct object *o, const char *leaf, const char *text,
                               bool one_chain, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    struct buf pem = BUF_INIT;
    enum err_code rc = pem_text(text, &pem, e);
    rc = rc == ERR_OK ? cms_certs_add_pem(c, pem.data, pem.len, e) : rc;
    if (rc == ERR_OK && cms_certs_count(c) == 0) {
        rc = err_set(e, ERR_INVALID, NULL, "there is no certificate in it");
    }
    rc = rc == ERR_OK && one_chain ? cms_certs_one_chain(c, e) : rc;
    cms_certs_free(c);
    buf_free(&pem);
    return rc == ERR_OK ? ERR_OK : wrong(e, o, leaf);
}

/* Its lists are of its certificates; one that has ended keeps all devices out. */
static enum err_code check_authority(struct txn *t, const struct object *o, struct err *e) {
    const struct onboard_device_authority *a = o->doc->data;
    char at[TIME_TEXT_MAX];
    int64_t ends_s;
    ERR_TRY(check_pem(o, "certificate", a->certificate, false, e));
    if (a->crl == NULL) {
        return ERR_OK;
    }
    struct cms_certs *c = cms_certs_new();
    struct buf pem = BUF_INIT;
    enum err_code rc = pem_text(a->certificate, &pem, e);
    rc = rc == ERR_OK ? crl_text(a->crl, &pem, e) : rc;
    rc = rc == ERR_OK ? cms_certs_add_pem(c, pem.data, pem.len, e) : rc;
    rc = rc == ERR_OK ? cms_certs_check_crls(c, &ends_s, e) : rc;
    if (rc == ERR_OK && ends_s <= txn_now_s(t)) {
        txn_warn(t,
                 "%s: a revocation list ended at %s: devices with certificates of its issuer are "
                 "refused until there is a newer one",
                 o->doc->path, time_format(ends_s, 0, at));
    }
    cms_certs_free(c);
    buf_free(&pem);
    return rc == ERR_OK ? ERR_OK : wrong(e, o, "crl");
}

static enum err_code check_redirect_list(const struct object *o, struct err *e) {
    const struct onboard_redirect_list *r = o->doc->data;
    char leaf[320];
    for (size_t i = 0; i < r->n_server; i++) {
        if (r->server[i].trust_anchor != NULL) {
            snprintf(leaf, sizeof leaf, "server=%s/trust-anchor", r->server[i].address);
            ERR_TRY(check_pem(o, leaf, r->server[i].trust_anchor, true, e));
        }
    }
    return ERR_OK;
}

static enum err_code check_signer(const struct object *o, struct err *e) {
    const struct onboard_signer *s = o->doc->data;
    struct buf cert = BUF_INIT, key = BUF_INIT;
    struct cms_key *k = NULL;
    const char *leaf = "certificate";
    enum err_code rc = pem_text(s->certificate, &cert, e);
    if (rc == ERR_OK) {
        leaf = "key";
        rc = pem_text(s->key, &key, e);
    }
    rc = rc == ERR_OK ? cms_key_of(cert.data, cert.len, key.data, key.len, &k, e) : rc;
    cms_key_free(k);
    if (key.data != NULL) {
        mem_wipe(key.data, key.len);
    }
    buf_free(&cert);
    buf_free(&key);
    return rc == ERR_OK ? ERR_OK : wrong(e, o, leaf);
}

/* ---- devices --------------------------------------------------------------------------------- */

static const struct onboard_signer *signer_of(const struct checking *c,
                                              const struct onboard_device *d) {
    struct sztp_get g = {.signed_preferred = false};
    const struct known *k = known_get(c->ob, d->serial_number);
    if (k != NULL) {
        known_as_get(k, &g);
    }
    const struct snap *s = txn_snap(c->t);
    const struct onboard_device_type *type = type_of(s, d, g.hw_model);
    const char *name = d->signer != NULL ? d->signer : type != NULL ? type->signer : NULL;
    const struct object *o = name != NULL ? object_of(s, &onboard_signer_kind, name) : NULL;
    return o != NULL ? o->doc->data : NULL;
}

/* Why a device that has the voucher will not believe the signer; "" when it will. */
static void owner_fits(struct checking *c, const struct onboard_signer *s,
                       const struct voucher *v) {
    struct cms_certs *chain = cms_certs_new();
    struct buf pem = BUF_INIT, owner = BUF_INIT;
    struct trust_device d = {.now_s = txn_now_s(c->t), .clock_ok = true};
    enum trust_clause clause;
    struct err e;
    enum err_code rc = pem_text(s->certificate, &pem, &e);
    rc = rc == ERR_OK ? cms_certs_add_pem(chain, pem.data, pem.len, &e) : rc;
    rc = rc == ERR_OK ? cms_certs_print(chain, &owner, &e) : rc;
    rc = rc == ERR_OK ? trust_owner(&d, owner.data, owner.len, v, &clause, &e) : rc;
    snprintf(c->misfit, sizeof c->misfit, "%s", rc == ERR_OK ? "" : e.text);
    snprintf(c->signer, sizeof c->signer, "%s", s->name);
    buf_clear(&c->pinned);
    buf_add(&c->pinned, v->pinned.data, v->pinned.len);
    cms_certs_free(chain);
    buf_free(&owner);
    buf_free(&pem);
}

/* The clauses by which devices refuse it that can be known here (RFC 8572 section 5.4). */
static void warn_of_voucher(struct checking *c, const struct onboard_device *d,
                            const struct voucher *v) {
    const struct onboard_signer *s = signer_of(c, d);
    if (v->expires_on != 0 && v->expires_on <= txn_now_s(c->t)) {
        char who[CMS_SERIAL_MAX + TIME_TEXT_MAX + 8], at[TIME_TEXT_MAX];
        snprintf(who, sizeof who, "%s (%s)", d->serial_number, time_format(v->expires_on, 0, at));
        finding(&c->found, who, "vouchers that have ended, which no device believes any more");
    }
    if (s == NULL) {
        return;
    }
    if (strcmp(c->signer, s->name) != 0 || c->pinned.len != v->pinned.len ||
        memcmp(c->pinned.data, v->pinned.data, v->pinned.len) != 0 || v->check_revocation) {
        owner_fits(c, s, v);
    }
    if (c->misfit[0] != '\0') {
        finding(&c->found, d->serial_number,
                "signer %s is not who the voucher names (%s): nothing that is signed will be "
                "believed by",
                s->name, c->misfit);
    }
}

static enum err_code open_voucher(const struct onboard_device *d, struct voucher *v,
                                  struct err *e) {
    struct buf der = BUF_INIT;
    struct cms_content c = {.is_signed = false};
    enum err_code rc = cms_unbase64(d->voucher, strlen(d->voucher), &der, e);
    rc = rc == ERR_OK ? cms_open(der.data, der.len, CMS_VOUCHER_JSON | CMS_DATA, NULL, &c, e) : rc;
    rc = rc == ERR_OK ? voucher_parse(c.bytes.data, c.bytes.len, v, e) : rc;
    if (rc == ERR_OK && !c.is_signed) {
        rc = err_set(e, ERR_INVALID, NULL, "it is not signed");
    }
    cms_content_free(&c);
    buf_free(&der);
    return rc;
}

static enum err_code check_voucher(struct checking *c, const struct object *o, struct err *e) {
    const struct onboard_device *d = o->doc->data;
    struct voucher v = {.serial = ""};
    enum err_code rc = open_voucher(d, &v, e);
    if (rc == ERR_OK && strcmp(v.serial, d->serial_number) != 0) {
        rc = err_set(e, ERR_INVALID, NULL, "it is the voucher of %s", v.serial);
    } else if (rc == ERR_OK && v.nonce_len > 0) {
        rc = err_set(e, ERR_INVALID, NULL,
                     "it is bound to a nonce, and devices send another one each time: one without "
                     "is wanted here, or masa-uri of the signer for those with");
    }
    if (rc == ERR_OK) {
        warn_of_voucher(c, d, &v);
    }
    voucher_free(&v);
    return rc == ERR_OK ? ERR_OK : wrong(e, o, "voucher");
}

/* Another signer: do the vouchers that are there name it? Of the first hundred devices, for each is
 * a signature. */
static void check_vouchers_of(struct checking *c, const struct onboard_signer *signer) {
    const struct snap *s = txn_snap(c->t);
    unsigned looked = 0;
    for (const struct object *o = snap_first_of(s, &onboard_device_kind);
         o != NULL && o->doc->kind == &onboard_device_kind && looked < 100; o = snap_next(s, o)) {
        const struct onboard_device *d = o->doc->data;
        struct voucher v = {.serial = ""};
        struct err e;
        if (d->voucher != NULL && signer_of(c, d) == signer) {
            looked++;
            if (open_voucher(d, &v, &e) == ERR_OK) {
                warn_of_voucher(c, d, &v);
            }
            voucher_free(&v);
        }
    }
}

static enum err_code check_variables(const struct object *o, struct err *e) {
    const struct onboard_device *d = o->doc->data;
    for (size_t i = 0; i < d->n_variable; i++) {
        if (variable_built_in(d->variable[i].name)) {
            char leaf[96];
            snprintf(leaf, sizeof leaf, "variable=%s", d->variable[i].name);
            return fail(e, o, leaf, "every device has a variable of this name already");
        }
    }
    return ERR_OK;
}

/* ---- rules --------------------------------------------------------------------------------- */

/* Does one with these values hold for all that one with those holds for? */
static bool wider(const char *const *a, size_t n_a, const char *const *b, size_t n_b) {
    for (size_t i = 0; i < n_b; i++) {
        bool found = false;
        for (size_t k = 0; k < n_a && !found; k++) {
            found = strcmp(a[k], b[i]) == 0;
        }
        if (n_a > 0 && !found) {
            return false;
        }
    }
    return n_a == 0 || n_b > 0;
}

/* Whoever comes to `b` is stopped by `a`, on each listener: one that gives something is passed over
 * where that is not given. */
bool rule_covers(const struct rule_view *a, const struct rule_view *b) {
    return wider(a->hw_model, a->n_hw_model, b->hw_model, b->n_hw_model) &&
           wider(a->os_name, a->n_os_name, b->os_name, b->n_os_name) &&
           wider(a->os_version, a->n_os_version, b->os_version, b->n_os_version) &&
           (!a->has_signed || (b->has_signed && a->wants_signed == b->wants_signed)) &&
           (!a->has_nonce || (b->has_nonce && a->nonce == b->nonce)) &&
           (a->bundle == NULL || b->bundle != NULL) &&
           (a->redirect_list == NULL || b->redirect_list != NULL);
}

static void warn_of_rules(struct txn *t, const struct object *o, const struct rule_view *rules,
                          size_t n) {
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (rule_covers(&rules[k], &rules[i])) {
                txn_warn(t, "%s: rule %s is never reached: rule %s before it holds for all it does",
                         o->doc->path, rules[i].name, rules[k].name);
                break;
            }
        }
    }
}

static void check_rules(struct txn *t, const struct object *o) {
    const struct onboard_device *d = o->doc->kind == &onboard_device_kind ? o->doc->data : NULL;
    const struct onboard_device_type *type =
        o->doc->kind == &onboard_device_type_kind ? o->doc->data : NULL;
    size_t n = d != NULL ? d->n_rule : type != NULL ? type->n_rule : 0;
    if (n < 2) {
        return;
    }
    struct rule_view *rules = mem_array(NULL, n, sizeof *rules);
    for (size_t i = 0; i < n; i++) {
        rules[i] = d != NULL ? RULE_VIEW(&d->rule[i]) : RULE_VIEW(&type->rule[i]);
    }
    warn_of_rules(t, o, rules, n);
    mem_free(rules);
}

/* ---- the others ------------------------------------------------------------------------------ */

static enum err_code check_boot_image(const struct object *o, struct err *e) {
    const struct onboard_boot_image *i = o->doc->data;
    if (i->file == NULL && i->n_uri == 0) {
        return fail(e, o, "uri", "devices need to get it from somewhere: set file or uri");
    }
    if (i->file == NULL && i->sha_256 == NULL && i->sha_1 == NULL && i->md5 == NULL) {
        return fail(e, o, "sha-256", "devices need a hash to check what they get");
    }
    for (size_t k = 0; k < i->n_uri; k++) {
        if (strncasecmp(i->uri[k], "https://", 8) != 0 &&
            strncasecmp(i->uri[k], "http://", 7) != 0) {
            err_set(e, ERR_INVALID, NULL, "%.300s: devices load images by https:// and http://",
                    i->uri[k]);
            return wrong(e, o, "uri");
        }
    }
    return ERR_OK;
}

/* A file may be replaced until a device comes: what is wrong in one is a warning, see warn.c. */
static enum err_code check_text(const struct object *o, const char *text, bool template,
                                struct err *e) {
    return !template || text == NULL || template_names(text, strlen(text), NULL, NULL, e) == ERR_OK
               ? ERR_OK
               : wrong(e, o, "text");
}

static enum err_code check_topology(const struct object *o, struct err *e) {
    const struct onboard_topology *t = o->doc->data;
    return t->strict && t->n_member == 0
               ? fail(e, o, "strict", "a strict chassis needs its members listed")
               : ERR_OK;
}

static enum err_code check_one(struct checking *c, const struct object *o, struct err *e) {
    const struct kind *k = o->doc->kind;
    if (k == &onboard_listener_kind) {
        return check_listener(txn_snap(c->t), o, e);
    }
    if (k == &onboard_device_authority_kind) {
        return check_authority(c->t, o, e);
    }
    if (k == &onboard_redirect_list_kind) {
        return check_redirect_list(o, e);
    }
    if (k == &onboard_signer_kind) {
        return check_signer(o, e);
    }
    if (k == &onboard_device_kind) {
        const struct onboard_device *d = o->doc->data;
        ERR_TRY(check_variables(o, e));
        return d->voucher != NULL ? check_voucher(c, o, e) : ERR_OK;
    }
    if (k == &onboard_boot_image_kind) {
        return check_boot_image(o, e);
    }
    if (k == &onboard_script_kind) {
        const struct onboard_script *s = o->doc->data;
        return check_text(o, s->text, s->template, e);
    }
    if (k == &onboard_configuration_kind) {
        const struct onboard_configuration *s = o->doc->data;
        return check_text(o, s->text, s->template, e);
    }
    return k == &onboard_topology_kind ? check_topology(o, e) : ERR_OK;
}

enum err_code onboard_check(void *self, struct txn *t, struct err *e) {
    struct checking c = {.ob = self, .t = t};
    enum err_code rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (op.new_ != NULL) {
            rc = check_one(&c, op.new_, e);
            check_rules(t, op.new_);
        }
        if (rc == ERR_OK && op.old != NULL && op.new_ != NULL &&
            op.new_->doc->kind == &onboard_signer_kind) {
            check_vouchers_of(&c, op.new_->doc->data);
        }
    }
    if (rc == ERR_OK) {
        onboard_warn(c.ob, t, &c.found);
    }
    findings_end(&c.found, t);
    buf_free(&c.pinned);
    return rc;
}
