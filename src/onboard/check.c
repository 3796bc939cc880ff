// SPDX-License-Identifier: Apache-2.0
/* What the model can't say of a configuration: certificates, keys and vouchers that fit, listeners
 * that do not stand in each other's way. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "onboard/internal.h"
#include "sztp/cms.h"
#include "sztp/voucher.h"

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

static enum err_code check_voucher(const struct object *o, struct err *e) {
    const struct onboard_device *d = o->doc->data;
    struct buf der = BUF_INIT;
    struct cms_content c = {.is_signed = false};
    struct voucher v = {.serial = ""};
    enum err_code rc = cms_unbase64(d->voucher, strlen(d->voucher), &der, e);
    rc = rc == ERR_OK ? cms_open(der.data, der.len, CMS_VOUCHER_JSON | CMS_DATA, NULL, &c, e) : rc;
    rc = rc == ERR_OK ? voucher_parse(c.bytes.data, c.bytes.len, &v, e) : rc;
    if (rc == ERR_OK && !c.is_signed) {
        rc = err_set(e, ERR_INVALID, NULL, "it is not signed");
    } else if (rc == ERR_OK && strcmp(v.serial, d->serial_number) != 0) {
        rc = err_set(e, ERR_INVALID, NULL, "it is the voucher of %s", v.serial);
    }
    voucher_free(&v);
    cms_content_free(&c);
    buf_free(&der);
    return rc == ERR_OK ? ERR_OK : wrong(e, o, "voucher");
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
static bool covers(const struct rule_view *a, const struct rule_view *b) {
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
            if (covers(&rules[k], &rules[i])) {
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
    return ERR_OK;
}

static enum err_code check_topology(const struct object *o, struct err *e) {
    const struct onboard_topology *t = o->doc->data;
    return t->strict && t->n_member == 0
               ? fail(e, o, "strict", "a strict chassis needs its members listed")
               : ERR_OK;
}

static enum err_code check_one(struct txn *t, const struct object *o, struct err *e) {
    const struct kind *k = o->doc->kind;
    if (k == &onboard_listener_kind) {
        return check_listener(txn_snap(t), o, e);
    }
    if (k == &onboard_device_authority_kind) {
        return check_authority(t, o, e);
    }
    if (k == &onboard_redirect_list_kind) {
        return check_redirect_list(o, e);
    }
    if (k == &onboard_signer_kind) {
        return check_signer(o, e);
    }
    if (k == &onboard_device_kind) {
        const struct onboard_device *d = o->doc->data;
        return d->voucher != NULL ? check_voucher(o, e) : ERR_OK;
    }
    if (k == &onboard_boot_image_kind) {
        return check_boot_image(o, e);
    }
    return k == &onboard_topology_kind ? check_topology(o, e) : ERR_OK;
}

enum err_code onboard_check(void *self, struct txn *t, struct err *e) {
    (void)self;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (op.new_ != NULL) {
            ERR_TRY(check_one(t, op.new_, e));
            check_rules(t, op.new_);
        }
    }
    return ERR_OK;
}
