// SPDX-License-Identifier: Apache-2.0
/* Who asks, whether he may, and what he is given: on the writer, so that what is recorded and what
 * is answered are of one commit. */
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "onboard/internal.h"
#include "sztp/cms.h"

LOGGER_MODULE(onboard);

void plan_free(struct plan *p) {
    if (p != NULL) {
        snap_release(p->snap);
        mem_free(p);
    }
}

void ask_clear(struct ask *a) {
    buf_free(&a->cert);
    buf_free(&a->host_keys);
    buf_free(&a->anchors);
    sztp_get_free(&a->get);
    mem_wipe(a->password, sizeof a->password);
    plan_free(a->plan);
    a->plan = NULL;
}

/* ---- configuration --------------------------------------------------------------------------- */

const struct object *object_of(const struct snap *s, const struct kind *k, const char *key) {
    struct buf path = BUF_INIT;
    path_object(k, &key, &path);
    const struct object *o = snap_find(s, k, buf_cstr(&path));
    buf_free(&path);
    return o;
}

static const void *data_of(const struct snap *s, const struct kind *k, const char *key) {
    const struct object *o = key != NULL && key[0] != '\0' ? object_of(s, k, key) : NULL;
    return o != NULL ? o->doc->data : NULL;
}

static bool among(const char *const *list, size_t n, const char *value) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], value) == 0) {
            return true;
        }
    }
    return false;
}

const struct onboard_device_type *type_of(const struct snap *s, const struct onboard_device *d,
                                          const char *hw_model) {
    if (d != NULL && d->type != NULL) {
        return data_of(s, &onboard_device_type_kind, d->type);
    }
    const struct onboard_device_type *fallback = NULL;
    for (const struct object *o = snap_first_of(s, &onboard_device_type_kind);
         o != NULL && o->doc->kind == &onboard_device_type_kind; o = snap_next(s, o)) {
        const struct onboard_device_type *t = o->doc->data;
        if (among(t->hw_model, t->n_hw_model, hw_model)) {
            return t;
        }
        if (t->n_hw_model == 0 && strcmp(t->name, "default") == 0) {
            fallback = t;
        }
    }
    return fallback;
}

/* ---- rules (PH-200) -------------------------------------------------------------------------- */

bool rule_matches(const struct rule_view *r, const struct sztp_get *g) {
    return (r->n_hw_model == 0 || among(r->hw_model, r->n_hw_model, g->hw_model)) &&
           (r->n_os_name == 0 || among(r->os_name, r->n_os_name, g->os_name)) &&
           (r->n_os_version == 0 || among(r->os_version, r->n_os_version, g->os_version)) &&
           (!r->has_signed || r->wants_signed == g->signed_preferred) &&
           (!r->has_nonce || r->nonce == (g->nonce_len > 0));
}

bool rule_fits(const struct rule_view *r, const struct sztp_get *g, unsigned gives) {
    return rule_matches(r, g) && (r->bundle == NULL || (gives & PLAN_BUNDLE) != 0) &&
           (r->redirect_list == NULL || (gives & PLAN_REDIRECT) != 0);
}

static bool choose(const struct onboard_device *d, const struct onboard_device_type *type,
                   const struct sztp_get *g, unsigned gives, struct rule_view *out,
                   const char **of) {
    for (size_t i = 0; i < d->n_rule; i++) {
        *out = RULE_VIEW(&d->rule[i]);
        *of = "device";
        if (rule_fits(out, g, gives)) {
            return true;
        }
    }
    for (size_t i = 0; type != NULL && i < type->n_rule; i++) {
        *out = RULE_VIEW(&type->rule[i]);
        *of = type->name;
        if (rule_fits(out, g, gives)) {
            return true;
        }
    }
    return false;
}

static void copy(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text != NULL ? text : "");
}

/* Is there what it takes to sign for this device? A MASA may still say no. */
static bool can_sign(const struct snap *s, const struct onboard_device *d, const struct plan *p) {
    const struct onboard_signer *signer = data_of(s, &onboard_signer_kind, p->signer);
    return signer != NULL && (d->voucher != NULL || (signer->masa_uri != NULL && p->nonce_len > 0));
}

/* What is signed, and whether the device is sent to this server again, with trust (PH-145). */
static void plan_signing(struct plan *p, const struct onboard_bundle *b,
                         const struct onboard_redirect_list *r, bool wants) {
    if (b != NULL) {
        p->to_self = wants && b->signing == ONBOARD_BUNDLE_SIGNING_PROMOTE;
        p->sign = p->to_self || b->signing == ONBOARD_BUNDLE_SIGNING_ALWAYS ||
                  (wants && b->signing == ONBOARD_BUNDLE_SIGNING_PREFERRED);
        p->needs_trust = wants && !p->sign;
    } else if (r != NULL) {
        p->sign = r->signing == ONBOARD_REDIRECT_LIST_SIGNING_ALWAYS ||
                  (wants && r->signing == ONBOARD_REDIRECT_LIST_SIGNING_PREFERRED);
        p->sign_optional = r->signing != ONBOARD_REDIRECT_LIST_SIGNING_ALWAYS;
    }
}

struct plan *plan_make(struct snap *s, const struct onboard_device *d,
                       const struct onboard_device_type *type, const struct sztp_get *g,
                       unsigned gives) {
    struct rule_view r;
    const char *of;
    if (!choose(d, type, g, gives, &r, &of)) {
        return NULL;
    }
    struct plan *p = MEM_NEW(struct plan);
    const struct onboard_bundle *b = data_of(s, &onboard_bundle_kind, r.bundle);
    const char *signer = d->signer != NULL ? d->signer : type != NULL ? type->signer : NULL;
    p->snap = snap_hold(s);
    copy(p->serial, sizeof p->serial, d->serial_number);
    copy(p->bundle, sizeof p->bundle, r.bundle);
    copy(p->redirect_list, sizeof p->redirect_list, r.redirect_list);
    snprintf(p->rule, sizeof p->rule, "%s/%s", of, r.name);
    copy(p->signer, sizeof p->signer, signer);
    copy(p->topology, sizeof p->topology,
         d->topology != NULL ? d->topology
         : b != NULL         ? b->topology
                             : NULL);
    copy(p->type, sizeof p->type, type != NULL ? type->name : NULL);
    copy(p->hw_model, sizeof p->hw_model, g->hw_model);
    copy(p->os_name, sizeof p->os_name, g->os_name);
    copy(p->os_version, sizeof p->os_version, g->os_version);
    memcpy(p->nonce, g->nonce, g->nonce_len);
    p->nonce_len = g->nonce_len;
    plan_signing(p, b, data_of(s, &onboard_redirect_list_kind, r.redirect_list),
                 g->signed_preferred);
    p->sign = p->sign && (!p->sign_optional || can_sign(s, d, p));
    return p;
}

/* ---- who it is (PH-121, PH-202, PH-207) ------------------------------------------------------ */

static unsigned serial_from(const struct onboard_device_type *type) {
    static const unsigned places[] = {
        [ONBOARD_DEVICE_TYPE_SERIAL_FROM_ANY] = CMS_SERIAL_ANY,
        [ONBOARD_DEVICE_TYPE_SERIAL_FROM_SUBJECT] = CMS_SERIAL_SUBJECT,
        [ONBOARD_DEVICE_TYPE_SERIAL_FROM_HARDWARE] = CMS_SERIAL_HARDWARE,
        [ONBOARD_DEVICE_TYPE_SERIAL_FROM_COMMON_NAME] = CMS_SERIAL_CN};
    return type != NULL ? places[type->serial_from] : CMS_SERIAL_ANY;
}

/* Who asks and who is believed is looked up there one after the other: it is decoded once. */
static bool cert_serial(struct ask *a, const struct onboard_device_type *type,
                        char out[CMS_SERIAL_MAX + 1]) {
    struct err e;
    unsigned from = serial_from(type);
    if (!a->has_cert) {
        return false;
    }
    if (a->cert_from != from) {
        a->cert_from = from;
        if (cms_serial_of(a->cert.data, a->cert.len, from, a->cert_serial, &e) != ERR_OK) {
            a->cert_serial[0] = '\0';
        }
    }
    snprintf(out, CMS_SERIAL_MAX + 1, "%s", a->cert_serial);
    return out[0] != '\0';
}

/* Takes as long whatever is compared with whatever. */
static bool secret_is(const char *secret, const char *given) {
    uint8_t a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];
    const char *s = secret != NULL ? secret : "";
    SHA256((const uint8_t *)s, strlen(s), a);
    SHA256((const uint8_t *)given, strlen(given), b);
    return mem_equal_ct(a, b, sizeof a) && secret != NULL;
}

struct who {
    const struct onboard_device *device; /* NULL: not configured */
    const struct onboard_device_type *type;
    bool by_cert, by_password;
    const char *why; /* it is not believed; NULL: it is */
};

/* The serial number that it claims: in the path, as user, in its certificate. */
static bool claim(const struct snap *s, struct ask *a, const struct onboard_device_type *guess) {
    (void)s;
    if (a->prerfc) {
        copy(a->serial, sizeof a->serial, a->path_serial);
        return a->serial[0] != '\0';
    }
    if (a->has_basic) {
        copy(a->serial, sizeof a->serial, strlen(a->user) <= CMS_SERIAL_MAX ? a->user : "");
        return a->serial[0] != '\0';
    }
    return cert_serial(a, guess, a->serial);
}

static bool serial_good(const char *serial) {
    for (const char *p = serial; *p != '\0'; p++) {
        if (*p < '!' || *p > '~') {
            return false;
        }
    }
    return serial[0] != '\0';
}

static void authenticate(const struct snap *s, struct ask *a, struct who *w) {
    const struct onboard_device_type *guess = type_of(s, NULL, a->get.hw_model);
    char in_cert[CMS_SERIAL_MAX + 1] = "";
    w->why = "nothing says who it is";
    if (!claim(s, a, guess) || !serial_good(a->serial)) {
        a->serial[0] = '\0';
        secret_is("", a->password);
        secret_is("", a->password);
        return;
    }
    w->device = data_of(s, &onboard_device_kind, a->serial);
    w->type = type_of(s, w->device, a->get.hw_model);
    const struct onboard_device *d = w->device;
    bool user_fits = a->has_basic && strcmp(a->user, a->serial) == 0;
    bool password = secret_is(d != NULL ? d->password : NULL, a->password);
    bool code = secret_is(d != NULL ? d->activation_code : NULL, a->password);
    w->by_password = user_fits && (password || code);
    w->by_cert = cert_serial(a, w->type, in_cert) && strcmp(in_cert, a->serial) == 0;
    w->why = NULL;
    bool has_secret = d != NULL && (d->password != NULL || d->activation_code != NULL);
    if (a->has_cert && !w->by_cert) {
        w->why = "its certificate is another device's";
    } else if (a->has_basic && !user_fits) {
        w->why = "it gives another serial number as its user";
    } else if (a->has_basic && has_secret && !w->by_password) {
        w->why = "wrong password or activation code";
    }
}

static bool enough(const struct who *w) {
    switch (w->type != NULL ? w->type->authentication : ONBOARD_DEVICE_TYPE_AUTHENTICATION_ANY) {
    case ONBOARD_DEVICE_TYPE_AUTHENTICATION_NONE:
        return true;
    case ONBOARD_DEVICE_TYPE_AUTHENTICATION_CERTIFICATE:
        return w->by_cert;
    case ONBOARD_DEVICE_TYPE_AUTHENTICATION_PASSWORD:
        return w->by_password;
    case ONBOARD_DEVICE_TYPE_AUTHENTICATION_BOTH:
        return w->by_cert && w->by_password;
    case ONBOARD_DEVICE_TYPE_AUTHENTICATION_ANY:
        break;
    }
    return w->by_cert || w->by_password;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static void answer(struct ask *a, int status, const char *tag, const char *text) {
    a->status = status;
    a->tag = tag;
    snprintf(a->text, sizeof a->text, "%s", text);
}

static void note(struct onboard *ob, struct txn *t, struct ask *a, int status,
                 const char *outcome) {
    struct request_note n = {.source = a->source,
                             .method = a->method,
                             .path = a->path,
                             .serial = a->serial,
                             .outcome = outcome,
                             .status = status};
    a->number = request_note(ob, t, &n);
}

static void set(json_t *o, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0') {
        char text[ONBOARD_BECAUSE_MAX];
        text_line(text, sizeof text, value);
        json_object_set_new(o, name, json_string(text));
    }
}

/* What is known of a device, with what it says now. */
static json_t *seen(struct onboard *ob, struct txn *t, const struct ask *a, const struct who *w) {
    json_t *o = known_load(known_get(ob, a->serial));
    json_int_t now = (json_int_t)txn_now_s(t);
    if (json_object_get(o, "first") == NULL) {
        json_object_set_new(o, "first", json_integer(now));
    }
    json_object_set_new(o, "last", json_integer(now));
    set(o, "source", a->source);
    set(o, "dialect", a->prerfc ? "prerfc" : a->form == SZTP_XML ? "rfc8572-xml" : "rfc8572-json");
    set(o, "authenticated-by",
        w->by_cert && w->by_password ? "certificate and password"
        : w->by_cert                 ? "certificate"
        : w->by_password             ? "password"
                                     : "nothing");
    set(o, "certificate", a->fingerprint);
    if (w->type != NULL) {
        set(o, "type", w->type->name);
    }
    if (a->kind == ASK_GET) {
        set(o, "hw-model", a->get.hw_model);
        set(o, "os-name", a->get.os_name);
        set(o, "os-version", a->get.os_version);
        json_object_set_new(o, "signed-data-preferred", json_boolean(a->get.signed_preferred));
        json_object_set_new(o, "nonce", json_boolean(a->get.nonce_len > 0));
        json_object_set_new(o, "requests",
                            json_integer(json_integer_value(json_object_get(o, "requests")) + 1));
    }
    json_object_set_new(o, "stranger", json_boolean(w->device == NULL));
    return o;
}

void device_event(struct txn *t, const char *name, const char *serial, const char *const *members) {
    json_t *o = json_object();
    char text[SZTP_MESSAGE_MAX + 512];
    json_object_set_new(o, "serial-number", json_string(serial));
    for (; members[0] != NULL; members += 2) {
        text_line(text, sizeof text, members[1]);
        if (text[0] != '\0') {
            json_object_set_new(o, members[0], json_string(text));
        }
    }
    char *json = json_dumps(o, JSON_COMPACT);
    txn_event(t, name, json);
    free(json); /* jansson's */
    json_decref(o);
}

/* One who is not believed, or whom nobody entered. */
static void refuse_stranger(struct onboard *ob, struct txn *t, struct ask *a, const struct who *w) {
    bool shown = w->device == NULL && w->why == NULL && w->by_cert;
    bool noted = shown || (w->device == NULL && a->serial[0] != '\0' && w->type != NULL &&
                           w->type->unknown == ONBOARD_DEVICE_TYPE_UNKNOWN_PENDING);
    const char *outcome = w->why != NULL      ? w->why
                          : w->device == NULL ? "is not configured"
                                              : "did not show who it is as its type demands";
    if (noted && a->kind == ASK_GET) {
        const struct known *k = known_get(ob, a->serial);
        bool is_new = k == NULL || k->json == NULL;
        if (is_new && ob->n_strangers >= ONBOARD_PENDING_MAX) {
            outcome = "is not configured, and too many others wait already";
        } else {
            const char *because =
                shown ? "is not configured; noted for its certificate, which a device authority "
                        "issued: authorise it, or leave it"
                      : "is not configured; noted because its type has 'unknown pending': "
                        "authorise it, or leave it";
            json_t *o = seen(ob, t, a, w);
            known_set_status(t, o, ONBOARD_ONBOARDING_STATUS_PENDING);
            set(o, "because", because);
            known_put(t, a->serial, o);
            outcome = "is not configured: noted as pending";
            if (is_new) {
                known_log(ob, t, a->serial, "pending", outcome);
                device_event(t, "weft-onboard:device-pending", a->serial,
                             (const char *const[]){"hw-model", a->get.hw_model, "source", a->source,
                                                   "because", because, NULL});
            }
        }
    }
    ob->refused++;
    a->stranger_fault = !shown;
    if (a->prerfc || shown) {
        answer(a, 404, "data-missing", "There is nothing for this device.");
    } else {
        answer(a, 401, "access-denied", "This device is not known, or did not show who it is.");
    }
    note(ob, t, a, a->status, outcome);
    if (w->device != NULL) {
        known_log(ob, t, a->serial, "refused", outcome);
    }
    L_WARN_RL(5, "%s: device %s: %s", a->source, a->serial[0] != '\0' ? a->serial : "(unnamed)",
              outcome);
}

/* Once for each change: a device that asks on and on is one event. */
static void tell_nothing(struct txn *t, const struct ask *a, enum onboard_onboarding_status status,
                         const char *why) {
    const char *event = status == ONBOARD_ONBOARDING_STATUS_BLOCKED ? "weft-onboard:device-blocked"
                        : status == ONBOARD_ONBOARDING_STATUS_PENDING
                            ? "weft-onboard:device-pending"
                            : "weft-onboard:device-waiting";
    device_event(t, event, a->serial,
                 (const char *const[]){"hw-model", a->get.hw_model, "source", a->source, "because",
                                       why, NULL});
}

/* A configured device for which there is nothing (now). */
static void nothing(struct onboard *ob, struct txn *t, struct ask *a, const struct who *w,
                    enum onboard_onboarding_status status, const char *why) {
    json_t *o = seen(ob, t, a, w);
    bool other = json_object_del(o, "answer-error") == 0; /* it waited for something else */
    bool news = other || strcmp(status_name(status), known_text(o, "status")) != 0;
    known_set_status(t, o, status);
    set(o, "because", why);
    const struct known *k = known_get(ob, a->serial);
    bool ends = k != NULL && k->open; /* its run does */
    if (ends) {
        run_failed(o, why);
    }
    known_put(t, a->serial, o);
    if (news) {
        known_log(ob, t, a->serial, status_name(status), why);
        tell_nothing(t, a, status, why);
    }
    if (ends) {
        run_moved(ob, t, a->serial, status_name(status), why);
    }
    ob->waited++;
    if (status == ONBOARD_ONBOARDING_STATUS_BLOCKED && !a->prerfc) {
        answer(a, 403, "access-denied", "This device is blocked.");
    } else {
        answer(a, 404, "data-missing", "There is nothing for this device yet.");
    }
    note(ob, t, a, a->status, why);
}

static void give(struct onboard *ob, struct txn *t, struct ask *a, const struct who *w,
                 struct plan *p) {
    json_t *o = seen(ob, t, a, w);
    bool redirect = p->redirect_list[0] != '\0' || p->to_self;
    char what[ONBOARD_WHAT_MAX], because[ONBOARD_BECAUSE_MAX];
    plan_what(p, p->sign, what);
    explain_plan(w->device, w->type, &a->get, a->gives, p, because);
    known_set_status(
        t, o, redirect ? ONBOARD_ONBOARDING_STATUS_REDIRECTED : ONBOARD_ONBOARDING_STATUS_ANSWERED);
    set(o, "rule", p->rule);
    set(o, "answer", what);
    set(o, "because", because);
    json_object_set_new(o, "revision", json_integer((json_int_t)snap_index(txn_snap(t))));
    json_object_del(o, "progress");
    json_object_del(o, "message");
    p->failed_before = json_object_get(o, "answer-error") != NULL;
    chassis_given(ob, t, p, o);
    run_given(ob, t, o, a->serial, p->redirect_list[0] != '\0');
    known_put(t, a->serial, o);
    run_moved(ob, t, a->serial, redirect ? "redirected" : "answered", what);
    char line[400];
    snprintf(line, sizeof line, "hw-model %s, os %s %s; rule %s: %s",
             a->get.hw_model[0] != '\0' ? a->get.hw_model : "-",
             a->get.os_name[0] != '\0' ? a->get.os_name : "-",
             a->get.os_version[0] != '\0' ? a->get.os_version : "-", p->rule, what);
    a->logged = known_log(ob, t, a->serial, redirect ? "redirected" : "answered", line);
    note(ob, t, a, 200, what);
    if (!p->failed_before) {
        device_event(t, "weft-onboard:device-answered", a->serial,
                     (const char *const[]){"rule", p->rule, "answer", what, "source", a->source,
                                           "because", because, NULL});
    }
    *(redirect ? &ob->redirected : &ob->answered) += 1;
    a->plan = p;
    target_given(ob, t, a->serial);
}

/* False: it must be encrypted, and can't be. A redirect to us has nothing to hide. */
static bool plan_encryption(struct plan *p, const struct ask *a) {
    const struct onboard_bundle *b = data_of(p->snap, &onboard_bundle_kind, p->bundle);
    if (b == NULL || b->encryption == ONBOARD_BUNDLE_ENCRYPTION_NEVER || p->to_self) {
        return true;
    }
    p->encrypt = a->has_cert && !a->prerfc;
    p->encrypt_optional = b->encryption == ONBOARD_BUNDLE_ENCRYPTION_PREFERRED;
    return p->encrypt || p->encrypt_optional;
}

static void decide_get(struct onboard *ob, struct txn *t, struct ask *a, const struct who *w) {
    struct snap *s = (struct snap *)(uintptr_t)txn_snap(t);
    const struct onboard_device *d = w->device;
    if (d->authorisation != ONBOARD_DEVICE_AUTHORISATION_AUTHORISED) {
        bool blocked = d->authorisation == ONBOARD_DEVICE_AUTHORISATION_BLOCKED;
        nothing(ob, t, a, w,
                blocked ? ONBOARD_ONBOARDING_STATUS_BLOCKED : ONBOARD_ONBOARDING_STATUS_PENDING,
                blocked ? "is blocked" : "waits to be authorised");
        return;
    }
    struct plan *p = plan_make(s, d, w->type, &a->get, a->gives);
    bool encrypted = p == NULL || plan_encryption(p, a);
    if (!plan_gives(p) || !encrypted) {
        char because[ONBOARD_BECAUSE_MAX];
        explain_plan(d, w->type, &a->get, a->gives, p, because);
        if (plan_gives(p)) {
            size_t n = strlen(because);
            snprintf(because + n, sizeof because - n, "; %s",
                     a->prerfc ? "its bundle is always encrypted, which its dialect does not have"
                               : "its bundle is always encrypted, and it shows no certificate");
        }
        plan_free(p);
        nothing(ob, t, a, w, ONBOARD_ONBOARDING_STATUS_WAITING, because);
        return;
    }
    bool wants =
        w->type != NULL && w->type->certificate_request && p->bundle[0] != '\0' && !p->to_self;
    if (wants && a->get.csr_format == SZTP_CSR_NONE && a->get.csr_support && a->get.csr_p10_ok) {
        plan_free(p);
        a->want_csr = true;
        json_t *o = seen(ob, t, a, w);
        known_set_status(t, o, ONBOARD_ONBOARDING_STATUS_WAITING);
        set(o, "because", "its type wants a certificate request from it first");
        known_put(t, a->serial, o);
        known_log(ob, t, a->serial, "certificate-request", "was asked for one");
        answer(a, 400, "missing-attribute", "A certificate request is wanted first.");
        note(ob, t, a, a->status, "was asked for a certificate request");
        return;
    }
    p->certificate_days =
        wants && a->get.csr_format == SZTP_CSR_P10 ? w->type->certificate_days : 0;
    give(ob, t, a, w, p);
}

/* ---- reports --------------------------------------------------------------------------------- */

enum onboard_onboarding_status status_after(enum sztp_progress p) {
    if (p == SZTP_BOOTSTRAP_COMPLETE) {
        return ONBOARD_ONBOARDING_STATUS_COMPLETE;
    }
    if (p == SZTP_BOOT_IMAGE_INSTALLED_REBOOTING) {
        return ONBOARD_ONBOARDING_STATUS_REBOOTING;
    }
    return sztp_progress_terminal(p) ? ONBOARD_ONBOARDING_STATUS_FAILED
                                     : ONBOARD_ONBOARDING_STATUS_UNDER_WAY;
}

static void left(json_t *o, const char *name, const struct buf *b) {
    if (b->len > 0 && b->len <= ONBOARD_KEYS_TEXT_MAX) {
        json_t *text = json_stringn((const char *)b->data, b->len);
        if (text != NULL) {
            json_object_set_new(o, name, text);
        }
    }
}

static void decide_report(struct onboard *ob, struct txn *t, struct ask *a, const struct who *w) {
    const char *name = sztp_progress_name(a->progress);
    enum onboard_onboarding_status status = status_after(a->progress);
    if (w->device->authorisation == ONBOARD_DEVICE_AUTHORISATION_BLOCKED) {
        nothing(ob, t, a, w, ONBOARD_ONBOARDING_STATUS_BLOCKED, "is blocked");
        return;
    }
    json_t *o = seen(ob, t, a, w);
    const struct known *k = known_get(ob, a->serial);
    uint64_t given = k != NULL ? k->given : 0;
    known_set_status(t, o, status);
    set(o, "progress", name);
    json_object_del(o, "message");
    json_object_del(o, "answer-error"); /* it has something */
    set(o, "message", a->message);
    left(o, "ssh-host-keys", &a->host_keys);
    left(o, "trust-anchors", &a->anchors);
    chassis_reported(ob, t, a, o, status);
    run_reported(ob, t, o, a->serial, a->progress, status == ONBOARD_ONBOARDING_STATUS_FAILED,
                 a->message);
    known_put(t, a->serial, o);
    run_moved(ob, t, a->serial, name, a->message);
    known_log(ob, t, a->serial, name, a->message);
    ob->reports++;
    if (status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        ob->completed++;
        device_event(t, "weft-onboard:device-complete", a->serial,
                     (const char *const[]){"message", a->message, NULL});
    } else if (status == ONBOARD_ONBOARDING_STATUS_FAILED) {
        ob->failed++;
        device_event(t, "weft-onboard:device-failed", a->serial,
                     (const char *const[]){"progress", name, "message", a->message, NULL});
    } else {
        device_event(t, "weft-onboard:device-progress", a->serial,
                     (const char *const[]){"progress", name, "message", a->message, NULL});
    }
    bool ok = a->prerfc || (w->type != NULL &&
                            w->type->progress_status == ONBOARD_DEVICE_TYPE_PROGRESS_STATUS_OK);
    answer(a, a->prerfc ? 201 : ok ? 200 : 204, NULL, "");
    note(ob, t, a, a->status, name);
    target_reported(ob, t, a->serial, status, given, a->message);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void set_profile(struct ask *a, const struct onboard_device_type *type) {
    a->profile = sztp_profile_default;
    if (type != NULL) {
        a->profile = (struct sztp_profile){
            .omit_reporting_level = type->omit_reporting_level,
            .omit_os_fields = type->omit_os_fields,
            .ci_as_data = type->ci_oid == ONBOARD_DEVICE_TYPE_CI_OID_ID_DATA,
            .progress_200 = type->progress_status == ONBOARD_DEVICE_TYPE_PROGRESS_STATUS_OK};
    }
}

enum err_code decide(struct txn *t, void *arg, struct err *e) {
    struct ask *a = arg;
    struct onboard *ob = core_service_state(txn_core(t), "onboard");
    struct who w = {.why = NULL};
    (void)e;
    if (a->kind == ASK_RENEW) {
        renew_decide(ob, t, a);
        return ERR_OK;
    }
    authenticate(txn_snap(t), a, &w);
    set_profile(a, w.type);
    if (w.device == NULL || w.why != NULL || !enough(&w)) {
        refuse_stranger(ob, t, a, &w);
    } else if (a->kind == ASK_GET) {
        decide_get(ob, t, a, &w);
    } else {
        decide_report(ob, t, a, &w);
    }
    return ERR_OK;
}
