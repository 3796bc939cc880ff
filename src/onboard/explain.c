// SPDX-License-Identifier: Apache-2.0
/* Why a device gets what it gets, in words: recorded with each answer, sent with its event, and
 * shown of devices that have yet to come. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "onboard/internal.h"

bool plan_gives(const struct plan *p) {
    return p != NULL && (p->bundle[0] != '\0' || p->redirect_list[0] != '\0') && !p->needs_trust;
}

void plan_what(const struct plan *p, bool is_signed, char out[ONBOARD_WHAT_MAX]) {
    snprintf(out, ONBOARD_WHAT_MAX, "%s %s%s%s",
             p->to_self             ? "redirect to this server for bundle"
             : p->bundle[0] != '\0' ? "bundle"
                                    : "redirect list",
             p->bundle[0] != '\0' ? p->bundle : p->redirect_list, is_signed ? ", signed" : "",
             p->encrypt ? ", encrypted" : "");
}

static void one_of(struct buf *b, const char *leaf, const char *said, const char *const *list,
                   size_t n) {
    if (said[0] != '\0') {
        buf_printf(b, "%s is %s, not ", leaf, said);
    } else {
        buf_printf(b, "it does not say its %s, which is to be ", leaf);
    }
    for (size_t i = 0; i < n && i < 4; i++) {
        buf_printf(b, "%s%s", i > 0 ? " or " : "", list[i]);
    }
    buf_str(b, n > 4 ? " or others" : "");
}

static bool among(const char *const *list, size_t n, const char *value) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], value) == 0) {
            return true;
        }
    }
    return n == 0;
}

/* The first thing about the rule that does not fit. */
static void why_not(struct buf *b, const struct rule_view *r, const struct sztp_get *g) {
    if (!among(r->hw_model, r->n_hw_model, g->hw_model)) {
        one_of(b, "hw-model", g->hw_model, r->hw_model, r->n_hw_model);
    } else if (!among(r->os_name, r->n_os_name, g->os_name)) {
        one_of(b, "os-name", g->os_name, r->os_name, r->n_os_name);
    } else if (!among(r->os_version, r->n_os_version, g->os_version)) {
        one_of(b, "os-version", g->os_version, r->os_version, r->n_os_version);
    } else if (r->has_signed && r->wants_signed != g->signed_preferred) {
        buf_printf(b, "it %s for signed data", g->signed_preferred ? "asks" : "does not ask");
    } else if (r->has_nonce && r->nonce != (g->nonce_len > 0)) {
        buf_printf(b, "it %s a nonce", g->nonce_len > 0 ? "sends" : "sends not");
    } else {
        buf_printf(b, "this listener gives no %s", r->bundle != NULL ? "bundles" : "redirects");
    }
}

/* True: it holds. */
static bool one_rule(struct buf *b, const char *of, const struct rule_view *r,
                     const struct sztp_get *g, unsigned gives) {
    if (rule_fits(r, g, gives)) {
        buf_printf(b, "rule %s/%s holds", of, r->name);
        return true;
    }
    buf_printf(b, "rule %s/%s does not hold (", of, r->name);
    why_not(b, r, g);
    buf_str(b, "); ");
    return false;
}

static bool rules(struct buf *b, const struct onboard_device *d,
                  const struct onboard_device_type *type, const struct sztp_get *g,
                  unsigned gives) {
    for (size_t i = 0; i < d->n_rule; i++) {
        struct rule_view r = RULE_VIEW(&d->rule[i]);
        if (one_rule(b, "device", &r, g, gives)) {
            return true;
        }
    }
    for (size_t i = 0; type != NULL && i < type->n_rule; i++) {
        struct rule_view r = RULE_VIEW(&type->rule[i]);
        if (one_rule(b, type->name, &r, g, gives)) {
            return true;
        }
    }
    buf_str(b, type == NULL ? "no rule holds, and it has no type" : "no rule holds");
    return false;
}

static void signing(struct buf *b, const struct onboard_device *d, const struct sztp_get *g,
                    const struct plan *p) {
    if (p->needs_trust) {
        buf_printf(b, "; it asks for signed data, and bundle %s is never signed", p->bundle);
    } else if (p->sign) {
        buf_printf(b, "; signed by %s%s%s", p->signer[0] != '\0' ? p->signer : "nobody: no signer",
                   d->voucher != NULL     ? " with the voucher that is kept"
                   : p->signer[0] != '\0' ? " with a voucher of its authority"
                                          : "",
                   g->signed_preferred ? ", because it asks for that" : ", always");
    } else if (g->signed_preferred && p->sign_optional) {
        buf_str(b, "; not signed: for it there is no signer or voucher, or the list is not to be "
                   "signed, and a redirect need not be");
    }
    if (p->to_self) {
        buf_str(b, "; sent to this server again, which it does not trust yet");
    }
}

void explain_plan(const struct onboard_device *d, const struct onboard_device_type *type,
                  const struct sztp_get *g, unsigned gives, const struct plan *p,
                  char out[ONBOARD_BECAUSE_MAX]) {
    struct buf b = BUF_INIT;
    bool holds = rules(&b, d, type, g, gives);
    if (holds && p != NULL) {
        char what[ONBOARD_WHAT_MAX];
        if (p->bundle[0] == '\0' && p->redirect_list[0] == '\0') {
            buf_str(&b, ": it says nothing yet");
        } else {
            plan_what(p, false, what);
            buf_printf(&b, ": %s", what);
            signing(&b, d, g, p);
        }
    }
    const char *text = buf_cstr(&b);
    size_t n = strlen(text);
    if (n >= ONBOARD_BECAUSE_MAX) { /* its end is what counts */
        snprintf(out, ONBOARD_BECAUSE_MAX, "... %s", text + n - (ONBOARD_BECAUSE_MAX - 5));
    } else {
        snprintf(out, ONBOARD_BECAUSE_MAX, "%s", text);
    }
    buf_free(&b);
}
