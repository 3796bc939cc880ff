// SPDX-License-Identifier: Apache-2.0
/*
 * Devices renew the certificates that the controller has given them (RFC 9646): by the re-enrolment
 * of RFC 7030 (EST), section 4.2.2, at listeners of their own, which believe the controller's
 * authority and nobody else. Who renews is told by the certificate that is shown: it must be the
 * newest of the device, or the one before, as the answer with the newest may have been lost.
 *
 *     request --loop--> renew_decide, on the writer --worker--> renew_make
 *             --writer-> renew_recorded --loop--> sent
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "onboard/internal.h"
#include "sztp/cms.h"

static bool is_cert(const char *pem, const struct buf *der) {
    struct cms_certs *c = cms_certs_new();
    struct buf one = BUF_INIT;
    bool same = false;
    if (cms_certs_add_pem(c, pem, strlen(pem), NULL) == ERR_OK && cms_certs_count(c) > 0) {
        cms_certs_der(c, 0, &one);
        same = one.len == der->len && memcmp(one.data, der->data, one.len) == 0;
    }
    cms_certs_free(c);
    buf_free(&one);
    return same;
}

/* The record's member that has the certificate which is shown; NULL: none. */
static const char *place_of(const json_t *record, const struct buf *der) {
    static const char *const places[] = {"ldevid-certificate", "ldevid-before"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (is_cert(known_text(record, places[i]), der)) {
            return places[i];
        }
    }
    return NULL;
}

/* Why it gets none; NULL: it does. */
static const char *refusal(const struct onboard_device *d, const struct onboard_device_type *type,
                           const json_t *record, const struct ask *a) {
    if (d == NULL || place_of(record, &a->cert) == NULL) {
        return "shows no certificate that was given here to a device that is configured";
    }
    if (d->authorisation != ONBOARD_DEVICE_AUTHORISATION_AUTHORISED) {
        return d->authorisation == ONBOARD_DEVICE_AUTHORISATION_BLOCKED ? "is blocked"
                                                                        : "is not authorised";
    }
    return type == NULL || !type->certificate_request ? "is of no type that is given certificates"
                                                      : NULL;
}

void renew_decide(struct onboard *ob, struct txn *t, struct ask *a) {
    struct snap *s = (struct snap *)(uintptr_t)txn_snap(t);
    struct err e;
    if (!a->has_cert ||
        cms_serial_of(a->cert.data, a->cert.len, CMS_SERIAL_SUBJECT, a->serial, &e) != ERR_OK) {
        a->serial[0] = '\0';
    }
    const struct object *o =
        a->serial[0] != '\0' ? object_of(s, &onboard_device_kind, a->serial) : NULL;
    const struct onboard_device *d = o != NULL ? o->doc->data : NULL;
    const struct known *k = known_get(ob, a->serial);
    if (k != NULL) {
        known_as_get(k, &a->get);
    }
    const struct onboard_device_type *type = type_of(s, d, a->get.hw_model);
    json_t *record = known_load(k);
    const char *why = refusal(d, type, record, a);
    json_decref(record);
    if (why == NULL) {
        a->plan = MEM_NEW(struct plan);
        a->plan->snap = snap_hold(s);
        a->plan->certificate_days = type->certificate_days;
        snprintf(a->plan->serial, sizeof a->plan->serial, "%s", a->serial);
    } else {
        ob->refused++;
        a->status = 403;
        a->tag = "access-denied";
        snprintf(a->text, sizeof a->text, "This certificate is not renewed here.");
    }
    struct request_note n = {.source = a->source,
                             .method = a->method,
                             .path = a->path,
                             .serial = a->serial,
                             .outcome = why != NULL ? why : "renews its certificate",
                             .status = why != NULL ? a->status : 200};
    a->number = request_note(ob, t, &n);
}

enum err_code renew_make(const struct ask *a, struct buf *pem, struct buf *body, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    struct buf der = BUF_INIT;
    enum err_code rc = answer_sign(a->plan, &a->get.csr, pem, e);
    rc = rc == ERR_OK ? cms_certs_add_pem(c, pem->data, pem->len, e) : rc;
    rc = rc == ERR_OK ? cms_certs_print(c, &der, e) : rc;
    if (rc == ERR_OK) {
        cms_base64(der.data, der.len, body);
    }
    cms_certs_free(c);
    buf_free(&der);
    return rc;
}

void renew_recorded(struct onboard *ob, struct txn *t, const struct ask *a, const char *pem,
                    int status, const char *error) {
    const struct known *k = known_get(ob, a->serial);
    if (k == NULL || k->json == NULL) {
        return; /* forgotten meanwhile */
    }
    if (error != NULL) {
        known_log(ob, t, a->serial, "renewal-error", error);
        request_amend(ob, t, a->number, status, error);
        return;
    }
    json_t *o = known_load(k);
    const char *place = place_of(o, &a->cert);
    if (place != NULL && strcmp(place, "ldevid-certificate") == 0) {
        json_object_set(o, "ldevid-before", json_object_get(o, place));
    }
    json_object_set_new(o, "ldevid-certificate", json_string(pem));
    known_put(t, a->serial, o);
    known_log(ob, t, a->serial, "certificate", "its certificate was renewed");
}

enum err_code renew_authority(struct buf *body, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    struct buf der = BUF_INIT;
    enum err_code rc = cms_certs_add_file(c, onboard_paths.ca_cert, e);
    rc = rc == ERR_OK ? cms_certs_print(c, &der, e) : rc;
    if (rc == ERR_OK) {
        cms_base64(der.data, der.len, body);
    }
    cms_certs_free(c);
    buf_free(&der);
    return rc;
}
