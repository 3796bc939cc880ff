// SPDX-License-Identifier: Apache-2.0
/*
 * Entity tags, dates and conditional requests (RFC 9110 13, RFC 8040 3.4.1).
 *
 * An object's version is the log index of the commit that last changed it; places inside an object
 * have their object's, what is above objects has that of the last configuration commit. The tag
 * is that number and the encoding, as JSON and XML are two representations; a condition on a change
 * looks at the number only. Times are those of the kept commits: an object older than all of them
 * is said to be as young as the oldest, which errs towards refusing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "north/restconf/internal.h"

uint64_t version_of(const struct request *q) {
    if (q->target.object == NULL) {
        return snap_index(q->snap);
    }
    const struct object *o = snap_get(q->snap, q->target.object);
    return o != NULL ? o->modified : 0;
}

void etag_of(uint64_t version, bool xml, char out[32]) {
    snprintf(out, 32, "\"%llx-%c\"", (unsigned long long)version, xml ? 'x' : 'j');
}

static void refresh_history(struct restconf *rc) {
    uint64_t head = core_head(rc->cfg.core);
    if (rc->n_history == 0 || rc->history_head != head) {
        rc->n_history = core_history(rc->cfg.core, rc->history, RC_HISTORY);
        rc->history_head = head;
    }
}

/* Time of the commit `version`, or that of the next kept one; of no commit at all: our start. */
static int64_t time_of(struct restconf *rc, uint64_t version) {
    refresh_history(rc);
    int64_t t = rc->started_s;
    for (size_t i = 0; i < rc->n_history && rc->history[i].index >= version; i++) {
        t = rc->history[i].time_s;
    }
    return t;
}

void date_text(int64_t t, char out[40]) {
    struct tm tm;
    time_t at = (time_t)t;
    gmtime_r(&at, &tm);
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    snprintf(out, 40, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool date_parse(const char *s, int64_t *out) {
    struct tm tm = {0};
    const char *end = strptime(s, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end != '\0') {
        return false; /* RFC 9110: a date that can't be read is no condition */
    }
    *out = timegm(&tm);
    return true;
}

/* The abilities stay as they are while a process lives (RFC 8040 9.1); what else is state has no
 * version. */
bool is_constant(const struct request *q) {
    const struct node *n = q->target.node;
    return strcmp(n->name, "capabilities") == 0 &&
           strcmp(n->module, "ietf-restconf-monitoring") == 0;
}

static void constant_etag(const struct request *q, char etag[32]) {
    char id[17];
    snprintf(id, sizeof id, "%s", model_content_id());
    snprintf(etag, 32, "\"%s-%c\"", id, rc_media_is_xml(q->accept) ? 'x' : 'j');
}

static bool constant_unmodified(struct request *q) {
    const char *h = http_header(q->http, "if-none-match");
    char etag[32];
    int64_t when;
    if (h != NULL) {
        constant_etag(q, etag);
        return strcmp(h, "*") == 0 || strstr(h, etag) != NULL;
    }
    h = http_header(q->http, "if-modified-since");
    return h != NULL && date_parse(h, &when) && when >= q->rc->started_s;
}

void add_version_fields(struct request *q, struct fields *fs, uint64_t version, char etag[32],
                        char date[40]) {
    if (is_constant(q)) {
        constant_etag(q, etag);
        date_text(q->rc->started_s, date);
    } else {
        etag_of(version, rc_media_is_xml(q->accept), etag);
        date_text(time_of(q->rc, version), date);
    }
    field_add(fs, "etag", etag);
    field_add(fs, "last-modified", date);
    field_add(fs, "vary", "accept");
}

/* ---- is it there? ---------------------------------------------------------------------------- */

static enum err_code stop_at_first(void *arg, const char *p, size_t n, struct err *e) {
    (void)p;
    *(bool *)arg |= n > 0;
    return err_set(e, ERR_TIMEOUT, NULL, "enough seen");
}

bool target_exists(struct request *q) {
    if (q->target.is_object) {
        return snap_get(q->snap, q->target.object) != NULL;
    }
    if (q->target.object != NULL && snap_get(q->snap, q->target.object) == NULL) {
        return false;
    }
    struct filtered f = {q->snap, &actor_system};
    struct model_view view = {filtered_get, filtered_next, &f};
    struct print_options o = {.format = FORMAT_JSON, .content = CONTENT_CONFIG, .depth = 1};
    struct err e;
    bool seen = false;
    enum err_code rc =
        model_print(q->rc->model, &view, NULL, q->target.path, &o, stop_at_first, &seen, &e);
    return rc == ERR_OK || seen;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* Does one of the tags in `list` stand for `version`? `*any`: it is "*". `format` 'j', 'x', or 0
 * for either. Weak tags match only where `weak`. */
static bool tag_listed(const char *list, uint64_t version, char format, bool weak, bool *any) {
    list += strspn(list, " \t");
    *any = strcmp(list, "*") == 0;
    while (*list != '\0') {
        list += strspn(list, " \t,");
        bool is_weak = strncmp(list, "W/", 2) == 0;
        list += is_weak ? 2 : 0;
        if (*list != '"') {
            list += strcspn(list, ",");
            continue;
        }
        char *end;
        unsigned long long v = strtoull(list + 1, &end, 16);
        bool ours =
            end != list + 1 && end[0] == '-' && (end[1] == 'j' || end[1] == 'x') && end[2] == '"';
        if (ours && v == version && (format == 0 || end[1] == format) && (!is_weak || weak)) {
            return true;
        }
        const char *close = strchr(list + 1, '"');
        list = close != NULL ? close + 1 : list + strlen(list);
    }
    return false;
}

static enum err_code failed(struct request *q, const char *what, struct err *e) {
    return err_set(e, ERR_CONFLICT, q->target.path, "%s", what);
}

enum err_code conditions(struct request *q, bool *unmodified, struct err *e) {
    bool reading = q->uri.method & (RC_GET | RC_HEAD), any = false;
    char format = rc_media_is_xml(q->accept) ? 'x' : 'j';
    const char *h;
    int64_t when;
    uint64_t version = version_of(q);
    *unmodified = false;
    q->match_any = false;
    if (reading && is_constant(q)) {
        *unmodified = constant_unmodified(q);
        return ERR_OK;
    }
    if ((h = http_header(q->http, "if-match")) != NULL) {
        bool listed = tag_listed(h, version, 0, false, &any);
        if (any ? !target_exists(q) : version == 0 || !listed) {
            return failed(q,
                          any ? "does not exist, as If-Match demands"
                              : "was changed meanwhile: its entity tag is another now",
                          e);
        }
        q->match_any = any;
    } else if ((h = http_header(q->http, "if-unmodified-since")) != NULL && date_parse(h, &when)) {
        if (version == 0 || time_of(q->rc, version) > when) {
            return failed(q, "was changed since that time", e);
        }
    }
    if ((h = http_header(q->http, "if-none-match")) != NULL) {
        bool listed = tag_listed(h, version, reading ? format : 0, reading, &any);
        if (any ? target_exists(q) : version != 0 && listed) {
            *unmodified = reading;
            return reading ? ERR_OK : failed(q, "exists, which If-None-Match rules out", e);
        }
    } else if (reading && (h = http_header(q->http, "if-modified-since")) != NULL &&
               date_parse(h, &when)) {
        *unmodified = version != 0 && time_of(q->rc, version) <= when;
    }
    return ERR_OK;
}
