// SPDX-License-Identifier: Apache-2.0
/* How an event looks to others, and how grave it is. Pure. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "forward/internal.h"

/* The notifications that are more than "info"; what is not listed is that. */
static const struct grave {
    const char *name;
    enum forward_severity severity;
} graves[] = {
    {"weft-apm:alarm-raised", FORWARD_SEVERITY_MAJOR},
    {"weft-apm:entity-unreachable", FORWARD_SEVERITY_MAJOR},
    {"weft-apm:partition-low", FORWARD_SEVERITY_WARNING},
    {"weft-apm:sync-conflict", FORWARD_SEVERITY_WARNING},
    {"weft-apm:sync-drift", FORWARD_SEVERITY_WARNING},
    {"weft-forward:gap", FORWARD_SEVERITY_WARNING},
    {"weft-forward:target-failing", FORWARD_SEVERITY_WARNING},
    {"weft-onboard:device-blocked", FORWARD_SEVERITY_WARNING},
    {"weft-onboard:device-failed", FORWARD_SEVERITY_WARNING},
    {"weft-onboard:device-pending", FORWARD_SEVERITY_WARNING},
    {"weft-onboard:device-waiting", FORWARD_SEVERITY_WARNING},
    {"weft-onboard:listener-failed", FORWARD_SEVERITY_MAJOR},
    {"weft-system:login", FORWARD_SEVERITY_WARNING},
    {"weft-system:store-unwritable", FORWARD_SEVERITY_CRITICAL},
    {"weft-system:clock-set", FORWARD_SEVERITY_WARNING},
    {"weft-admin:certificate-expiry", FORWARD_SEVERITY_WARNING},
};

static bool says(const char *json, const char *member, const char *value) {
    json_t *o = json_loads(json, 0, NULL);
    const char *got = json_string_value(json_object_get(o, member));
    bool yes = got != NULL && (value == NULL || strcmp(got, value) == 0);
    json_decref(o);
    return yes;
}

enum forward_severity message_severity(const char *name, const char *json) {
    for (size_t i = 0; i < sizeof graves / sizeof graves[0]; i++) {
        if (strcmp(graves[i].name, name) == 0) {
            return graves[i].severity;
        }
    }
    /* Those that end well or not. */
    bool bad = (strcmp(name, "weft-job:job-ended") == 0 && says(json, "state", "failed")) ||
               (strcmp(name, "weft-system:commit-status") == 0 && says(json, "reason", NULL));
    return bad ? FORWARD_SEVERITY_WARNING : FORWARD_SEVERITY_INFO;
}

const char *message_severity_name(enum forward_severity s) {
    static const char *const names[] = {"info", "warning", "major", "critical"};
    return names[s];
}

bool message_wanted(const struct forward_target *t, const char *name, enum forward_severity s) {
    if (s < t->min_severity) {
        return false;
    }
    for (size_t i = 0; i < t->n_event; i++) {
        size_t n = strlen(t->event[i]);
        if (t->event[i][n - 1] == '*' ? strncmp(t->event[i], name, n - 1) == 0
                                      : strcmp(t->event[i], name) == 0) {
            return true;
        }
    }
    return t->n_event == 0;
}

void message_json(const char *controller, const struct message *m, size_t n, struct buf *out) {
    char when[TIME_TEXT_MAX];
    buf_str(out, "{\"controller\":");
    text_json(out, controller);
    buf_str(out, ",\"events\":[");
    for (size_t i = 0; i < n; i++) {
        /* 64-bit numbers are strings, as in RFC 7951. */
        buf_printf(out,
                   "%s{\"id\":\"%" PRIu64 "\",\"previous\":\"%" PRIu64 "\",\"log-index\":\"%" PRIu64
                   "\",\"time\":\"%s\",\"severity\":\"%s\",\"name\":",
                   i > 0 ? "," : "", m[i].id, m[i].previous, m[i].index,
                   time_format(m[i].time_s, 0, when), message_severity_name(m[i].severity));
        text_json(out, m[i].name);
        buf_printf(out, ",\"data\":%s}", m[i].json);
    }
    buf_str(out, "]}");
}

/* HOSTNAME and MSGID are printable ASCII without blanks (RFC 5424 section 6). */
static void word(struct buf *out, const char *text, size_t max) {
    size_t n = 0;
    for (; text[n] != '\0' && n < max; n++) {
        buf_char(out, text[n] > ' ' && text[n] < 0x7f ? text[n] : '?');
    }
    if (n == 0) {
        buf_char(out, '-');
    }
}

void message_syslog(const char *controller, uint8_t facility, const struct message *m,
                    struct buf *out) {
    static const unsigned severities[] = {6, 4, 3, 2}; /* informational, warning, error, critical */
    char when[TIME_TEXT_MAX];
    buf_printf(out, "<%u>1 %s ", facility * 8U + severities[m->severity],
               time_format(m->time_s, 0, when));
    word(out, controller, 255);
    buf_printf(out, " weftd %ld ", (long)getpid());
    const char *colon = strchr(m->name, ':'); /* the module is in the structured data */
    word(out, colon != NULL ? colon + 1 : m->name, 32);
    /* 32473 is the enterprise number for documentation (RFC 5612). */
    buf_printf(out, " [weft@32473 id=\"%" PRIu64 "\" previous=\"%" PRIu64 "\" event=\"", m->id,
               m->previous);
    word(out, m->name, 128);
    buf_printf(out, "\" severity=\"%s\"] \xEF\xBB\xBF%s", message_severity_name(m->severity),
               m->json);
}

void message_sign(const char *secret, const char *timestamp, const char *body, size_t n,
                  char out[72]) {
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s.", timestamp);
    buf_add(&b, body, n);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), b.data, b.len, mac, &len);
    buf_free(&b);
    memcpy(out, "sha256=", 8);
    for (unsigned i = 0; i < len; i++) {
        snprintf(out + 7 + 2 * i, 3, "%02x", mac[i]);
    }
}
