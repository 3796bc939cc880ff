// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_junos_answer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { LINE_SIZE = 240, WARNINGS_MAX = 5, NUMBER_MAX = 49 /* of commits that are remembered */ };

/* ---------------------------------------------------------------- the tree */

static bool called(const struct dom *d, const char *name) {
    return strcmp(d->name, name) == 0;
}

/* The element behind `d` in the document, not leaving `top`; NULL: it was the last. */
static const struct dom *after(const struct dom *d, const struct dom *top) {
    if (d->child != NULL) {
        return d->child;
    }
    while (d != top && d->next == NULL) {
        d = d->parent;
    }
    return d != top ? d->next : NULL;
}

const struct dom *junos_find(const struct dom *top, const char *name) {
    for (const struct dom *d = after(top, top); d != NULL; d = after(d, top)) {
        if (called(d, name)) {
            return d;
        }
    }
    return NULL;
}

static const struct dom *child(const struct dom *d, const char *name) {
    for (const struct dom *c = d->child; c != NULL; c = c->next) {
        if (called(c, name)) {
            return c;
        }
    }
    return NULL;
}

/* Its text without blanks around it; "" when there is none. */
static void text_of(const struct dom *d, const char *name, char *out, size_t size) {
    const struct dom *c = child(d, name);
    text_line(out, size, c != NULL ? c->text : "");
}

/* A whole number in it; -1: none. */
static int number_in(const char *s, int max) {
    char *end;
    while (isspace((unsigned char)*s)) {
        s++;
    }
    if (!isdigit((unsigned char)*s)) {
        return -1;
    }
    errno = 0;
    long v = strtol(s, &end, 10);
    while (isspace((unsigned char)*end)) {
        end++;
    }
    return errno == 0 && *end == '\0' && v <= max ? (int)v : -1;
}

/* ---------------------------------------------------------------- messages */

enum err_code junos_hello_parse(const void *p, size_t n, struct err *e) {
    struct arena *a = arena_new();
    struct dom *d;
    struct err why;
    enum err_code rc = dom_parse(p, n, a, &d, &why);
    if (rc != ERR_OK) {
        err_set(e, ERR_MALFORMED, NULL, "the device's hello can't be read: %s", why.text);
    } else if (!called(d, "hello")) {
        char name[64];
        text_line(name, sizeof name, d->name);
        rc = err_set(e, ERR_MALFORMED, NULL, "the device says <%s> instead of <hello>", name);
    } else {
        bool base = false;
        for (const struct dom *c = after(d, d); c != NULL; c = after(c, d)) {
            base = base || (called(c, "capability") && strstr(c->text, ":base:1.0") != NULL);
        }
        if (!base) {
            rc = err_set(e, ERR_UNSUPPORTED, NULL,
                         "the device's hello has no capability of NETCONF 1.0");
        }
    }
    arena_free(a);
    return rc != ERR_OK ? (rc == ERR_UNSUPPORTED ? rc : ERR_MALFORMED) : ERR_OK;
}

static bool is_error(const struct dom *d) {
    return called(d, "rpc-error") || (called(d, "error") && strstr(d->ns, "/xnm") != NULL);
}

static bool is_warning(const struct dom *d) {
    char severity[16];
    if (called(d, "warning") && strstr(d->ns, "/xnm") != NULL) {
        return true;
    }
    if (!called(d, "rpc-error")) {
        return false;
    }
    text_of(d, "error-severity", severity, sizeof severity);
    return strcmp(severity, "warning") == 0;
}

/* Both dialects of an error on one line. */
static void describe(const struct dom *d, bool secret, char *out, size_t size) {
    char message[LINE_SIZE], place[LINE_SIZE], bad[LINE_SIZE] = "";
    const struct dom *quoted = junos_find(d, "bad-element");
    text_of(d, child(d, "error-message") != NULL ? "error-message" : "message", message,
            sizeof message);
    text_of(d, child(d, "error-path") != NULL ? "error-path" : "edit-path", place, sizeof place);
    if (message[0] == '\0') {
        text_of(d, "error-tag", message, sizeof message);
    }
    if (quoted != NULL && !secret) {
        text_line(bad, sizeof bad, quoted->text);
    }
    snprintf(out, size, "%s%s%s%s%s%s", place, place[0] != '\0' ? ": " : "",
             message[0] != '\0' ? message : "no reason given", bad[0] != '\0' ? " (" : "", bad,
             bad[0] != '\0' ? ")" : "");
}

static enum err_code fail(const struct dom *d, const char *rpc, bool secret, struct err *e) {
    char what[3 * LINE_SIZE], tag[40];
    describe(d, secret, what, sizeof what);
    text_of(d, "error-tag", tag, sizeof tag);
    return err_set(
        e, strcmp(tag, "lock-denied") == 0 || strcmp(tag, "in-use") == 0 ? ERR_LOCKED : ERR_REFUSED,
        NULL, "%s: %s", rpc, what);
}

static enum err_code check_reply(const struct dom *d, const char *rpc, uint64_t id, struct err *e) {
    char name[64], expected[24];
    if (!called(d, "rpc-reply")) {
        text_line(name, sizeof name, d->name);
        return err_set(e, ERR_MALFORMED, NULL, "%s: the answer is <%s> instead of <rpc-reply>", rpc,
                       name);
    }
    const char *got = dom_attr(d, "", "message-id");
    snprintf(expected, sizeof expected, "%llu", (unsigned long long)id);
    if (got != NULL && strcmp(got, expected) != 0) {
        text_line(name, sizeof name, got);
        return err_set(e, ERR_MALFORMED, NULL, "%s: the answer is to message %s, not %s", rpc, name,
                       expected);
    }
    return ERR_OK;
}

enum err_code junos_reply_parse(const void *p, size_t n, const char *rpc, uint64_t id, bool secret,
                                struct arena *a, const struct dom **out, struct buf *warnings,
                                struct err *e) {
    struct dom *d;
    struct err why;
    unsigned said = 0;
    if (dom_parse(p, n, a, &d, &why) != ERR_OK) {
        return err_set(e, ERR_MALFORMED, NULL, "%s: the answer can't be read: %s", rpc, why.text);
    }
    ERR_TRY(check_reply(d, rpc, id, e));
    for (const struct dom *x = after(d, d); x != NULL; x = after(x, d)) {
        if (is_warning(x)) {
            char line[3 * LINE_SIZE];
            if (warnings != NULL && said++ < WARNINGS_MAX) {
                describe(x, secret, line, sizeof line);
                buf_printf(warnings, "%s: %s\n", rpc, line);
            }
        } else if (is_error(x)) {
            return fail(x, rpc, secret, e);
        }
    }
    *out = d;
    return ERR_OK;
}

/* ---------------------------------------------------------------- who it is */

enum err_code junos_read_system(const struct dom *reply, struct junos_state *s, struct err *e) {
    const struct dom *d = junos_find(reply, "system-information");
    char serial[CMS_SERIAL_MAX + 1];
    if (d == NULL) {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-system-information: the answer has no <system-information>");
    }
    text_of(d, "serial-number", serial, sizeof serial);
    if (serial[0] == '\0') {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-system-information: the answer has no <serial-number>");
    }
    memcpy(s->serial, serial, sizeof s->serial);
    text_of(d, "hardware-model", s->model, sizeof s->model);
    text_of(d, "os-name", s->os_name, sizeof s->os_name);
    text_of(d, "os-version", s->os_version, sizeof s->os_version);
    return ERR_OK;
}

static enum sztp_role role_of(const char *s) {
    return strncasecmp(s, "master", 6) == 0 || strncasecmp(s, "primary", 7) == 0 ? SZTP_MASTER
           : strncasecmp(s, "backup", 6) == 0                                    ? SZTP_BACKUP
           : strncasecmp(s, "line", 4) == 0                                      ? SZTP_LINECARD
                                                                                 : SZTP_ROLE_NONE;
}

static const struct platform_member *member_of(const struct platform_member *m, size_t n, int id) {
    for (size_t i = 0; i < n; i++) {
        if (m[i].id == id) {
            return &m[i];
        }
    }
    return NULL;
}

static enum err_code read_member(const struct dom *d, struct platform_member *m, bool *own,
                                 struct err *e) {
    char id[16], status[16], role[24];
    memset(m, 0, sizeof *m);
    text_of(d, "member-id", id, sizeof id);
    text_of(d, "member-status", status, sizeof status);
    text_of(d, "member-role", role, sizeof role);
    text_of(d, "member-serial-number", m->serial, sizeof m->serial);
    m->id = number_in(id, SZTP_MEMBERS_MAX - 1);
    if (m->id < 0) {
        return err_set(e, ERR_INVALID, NULL,
                       "get-virtual-chassis-information: <member-id> is \"%s\", not 0 to %d", id,
                       SZTP_MEMBERS_MAX - 1);
    }
    m->up = strcasecmp(status, "Prsnt") == 0;
    m->role = m->up ? role_of(role) : SZTP_ROLE_NONE;
    *own = role[0] != '\0' && role[strlen(role) - 1] == '*';
    if (m->up && m->serial[0] == '\0') {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-virtual-chassis-information: member %d has no <member-serial-number>",
                       m->id);
    }
    return ERR_OK;
}

enum err_code junos_read_members(const struct dom *reply, struct junos_state *s, struct err *e) {
    struct platform_member m[SZTP_MEMBERS_MAX];
    size_t n = 0;
    int own = -1;
    bool us = false;
    const struct dom *list = junos_find(reply, "member-list");
    if (junos_find(reply, "virtual-chassis-information") == NULL) {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-virtual-chassis-information: the answer has no "
                       "<virtual-chassis-information>");
    }
    for (const struct dom *d = list != NULL ? list->child : NULL; d != NULL; d = d->next) {
        if (!called(d, "member")) {
            continue;
        }
        if (n == SZTP_MEMBERS_MAX) {
            return err_set(e, ERR_LIMIT, NULL,
                           "get-virtual-chassis-information: more than %d members",
                           SZTP_MEMBERS_MAX);
        }
        ERR_TRY(read_member(d, &m[n], &us, e));
        if (member_of(m, n, m[n].id) != NULL) {
            return err_set(e, ERR_INVALID, NULL,
                           "get-virtual-chassis-information: member %d is there twice", m[n].id);
        }
        const struct platform_member *was = member_of(s->members, s->n_members, m[n].id);
        if (was != NULL && m[n].up && was->up && strcmp(was->serial, m[n].serial) == 0) {
            memcpy(m[n].os_version, was->os_version, sizeof m[n].os_version);
        }
        own = us ? m[n].id : own;
        n++;
    }
    memcpy(s->members, m, n * sizeof *m);
    s->n_members = n;
    s->own = own;
    return ERR_OK;
}

/* ---------------------------------------------------------------- versions */

/* The release between brackets at the end of a package's comment: what old releases have. */
static void bracketed(const struct dom *d, char *out, size_t size) {
    out[0] = '\0';
    for (const struct dom *p = d->child; p != NULL; p = p->next) {
        char comment[LINE_SIZE];
        if (!called(p, "package-information")) {
            continue;
        }
        text_of(p, "comment", comment, sizeof comment);
        char *open = strrchr(comment, '['), *shut = open != NULL ? strchr(open, ']') : NULL;
        if (shut != NULL) {
            *shut = '\0';
            text_line(out, size, open + 1);
            return;
        }
    }
}

static bool version_of(const struct dom *software, char *out, size_t size) {
    text_of(software, "junos-version", out, size);
    if (out[0] == '\0') {
        bracketed(software, out, size);
    }
    return out[0] != '\0';
}

/* "fpc2", "member2" -> 2; -1: names no member. */
static int member_named(const char *re) {
    static const char *const names[] = {"fpc", "member"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(re, names[i], n) == 0) {
            return number_in(re + n, SZTP_MEMBERS_MAX - 1);
        }
    }
    return -1;
}

enum err_code junos_read_versions(const struct dom *reply, struct junos_state *s, struct err *e) {
    struct junos_state new = *s;
    size_t found = 0;
    char version[SZTP_NAME_MAX + 1];
    for (const struct dom *d = after(reply, reply); d != NULL; d = after(d, reply)) {
        if (!called(d, "software-information") || !version_of(d, version, sizeof version)) {
            continue;
        }
        char name[32] = "";
        found++;
        if (d->parent != NULL && called(d->parent, "multi-routing-engine-item")) {
            text_of(d->parent, "re-name", name, sizeof name);
        }
        int id = member_named(name);
        for (size_t i = 0; i < new.n_members; i++) {
            if (new.members[i].id == id || (id < 0 && new.members[i].id == new.own)) {
                memcpy(new.members[i].os_version, version, sizeof version);
            }
        }
        if (new.n_members == 0) {
            memcpy(new.os_version, version, sizeof version);
        }
    }
    if (found == 0) {
        return err_set(e, ERR_INCOMPLETE, NULL, "get-software-information: it tells no version");
    }
    *s = new;
    return ERR_OK;
}

enum err_code junos_read_configuration(const struct dom *reply, struct junos_state *s,
                                       struct err *e) {
    const struct dom *c = junos_find(reply, "configuration");
    if (c == NULL) {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-configuration: the answer has no <configuration>");
    }
    const struct dom *system = child(c, "system");
    const struct dom *root = system != NULL ? child(system, "root-authentication") : NULL;
    s->phone_home = system != NULL && child(system, "phone-home") != NULL;
    s->root_set = root != NULL && root->child != NULL;
    s->frozen = false;
    for (const struct dom *g = c->child; g != NULL; g = g->next) {
        char name[64];
        text_of(g, "name", name, sizeof name);
        s->frozen = s->frozen || (called(g, "groups") && strcmp(name, JUNOS_GROUP) == 0);
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- what was done */

/* The end of what it printed. */
static void printed(const struct dom *reply, char *out, size_t size) {
    const struct dom *last = NULL;
    for (const struct dom *d = after(reply, reply); d != NULL; d = after(d, reply)) {
        last = called(d, "output") && d->text[0] != '\0' ? d : last;
    }
    size_t n = last != NULL ? strlen(last->text) : 0, most = size - 1;
    text_line(out, size, last != NULL ? last->text + (n > most ? n - most : 0) : "nothing");
}

enum err_code junos_read_output(const struct dom *reply, const char *rpc, struct err *e) {
    char line[LINE_SIZE];
    bool said = false;
    for (const struct dom *d = after(reply, reply); d != NULL; d = after(d, reply)) {
        if (called(d, "package-result")) {
            said = true;
            if (number_in(d->text, 255) != 0) {
                printed(reply, line, sizeof line);
                return err_set(e, ERR_REFUSED, NULL, "%s: %s", rpc, line);
            }
        } else if (called(d, "output") && !said &&
                   (strncasecmp(d->text, "error:", 6) == 0 || strstr(d->text, "\nERROR:") != NULL ||
                    strstr(d->text, "\nerror:") != NULL)) {
            printed(reply, line, sizeof line);
            return err_set(e, ERR_REFUSED, NULL, "%s: %s", rpc, line);
        }
    }
    /* Releases that have no result tell errors as such: what runs after the reboot shows it. */
    return ERR_OK;
}

enum err_code junos_read_done(const struct dom *reply, const char *rpc, struct err *e) {
    static const char *const signs[] = {"ok", "load-success", "commit-success"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (junos_find(reply, signs[i]) != NULL) {
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INCOMPLETE, NULL, "%s: the device does not say that it was done", rpc);
}

static enum junos_commit commit_of(const char *log) {
    static const char *const names[] = {[JUNOS_APPLY] = JUNOS_GROUP ": apply",
                                        [JUNOS_CONFIRM] = JUNOS_GROUP ": confirm",
                                        [JUNOS_ROLLBACK] = JUNOS_GROUP ": rollback"};
    for (int i = JUNOS_APPLY; i <= JUNOS_ROLLBACK; i++) {
        if (strcmp(log, names[i]) == 0) {
            return (enum junos_commit)i;
        }
    }
    return JUNOS_NONE;
}

enum err_code junos_read_history(const struct dom *reply, struct junos_history *out,
                                 struct err *e) {
    const struct dom *list = junos_find(reply, "commit-information");
    int best = -1, newest = -1;
    memset(out, 0, sizeof *out);
    if (list == NULL) {
        return err_set(e, ERR_INCOMPLETE, NULL,
                       "get-commit-information: the answer has no <commit-information>");
    }
    for (const struct dom *d = list->child; d != NULL; d = d->next) {
        char number[16], log[64];
        if (!called(d, "commit-history")) {
            continue;
        }
        text_of(d, "sequence-number", number, sizeof number);
        text_of(d, "log", log, sizeof log);
        int n = number_in(number, NUMBER_MAX);
        if (n < 0) {
            return err_set(e, ERR_INVALID, NULL,
                           "get-commit-information: <sequence-number> is \"%s\"", number);
        }
        enum junos_commit c = commit_of(log);
        if (newest < 0 || n < newest) {
            newest = n;
            out->newest = c;
        }
        if ((c == JUNOS_APPLY || c == JUNOS_ROLLBACK) && (best < 0 || n < best)) {
            best = n;
            out->last = c;
            out->at = (unsigned)n;
        }
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- what was conveyed */

/* Behind blanks, comments and processing instructions. */
static size_t skip_prolog(const char *p, size_t n, size_t at) {
    for (;;) {
        while (at < n && isspace((unsigned char)p[at])) {
            at++;
        }
        const char *end = n - at > 4 && memcmp(p + at, "<!--", 4) == 0 ? "-->"
                          : n - at > 2 && memcmp(p + at, "<?", 2) == 0 ? "?>"
                                                                       : NULL;
        const char *stop = end != NULL ? memmem(p + at, n - at, end, strlen(end)) : NULL;
        if (stop == NULL) {
            return at;
        }
        at = (size_t)(stop - p) + strlen(end);
    }
}

/* The action that the document element asks for by `operation`, in whatever namespace. */
static enum err_code read_action(const struct dom *d, const char **action, struct err *e) {
    static const char *const actions[] = {"merge", "override", "replace"};
    for (const struct dom_attr *a = d->attrs; a != NULL; a = a->next) {
        if (strcmp(a->name, "operation") != 0) {
            continue;
        }
        for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
            if (strcmp(a->value, actions[i]) == 0) {
                *action = actions[i];
                return ERR_OK;
            }
        }
        char value[32];
        text_line(value, sizeof value, a->value);
        return err_set(e, ERR_BAD_ATTRIBUTE, NULL,
                       "the configuration's operation is \"%s\", none of merge, override, replace",
                       value);
    }
    return ERR_OK;
}

static enum err_code check_xml(const void *p, size_t n, const char **action, struct err *e) {
    struct arena *a = arena_new();
    struct dom *d;
    struct err why;
    char name[64];
    enum err_code rc = dom_parse(p, n, a, &d, &why);
    if (rc != ERR_OK) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the configuration is no XML: %s", why.text);
    } else if (!called(d, "configuration")) {
        text_line(name, sizeof name, d->name);
        rc = err_set(e, ERR_INVALID, NULL,
                     "the configuration is a document of <%s> instead of <configuration>", name);
    } else if (memmem(p, n, "]]>]]>", 6) != NULL) {
        rc = err_set(e, ERR_INVALID, NULL, "the configuration has ]]>]]>, which ends a message");
    } else {
        rc = read_action(d, action, e);
    }
    arena_free(a);
    return rc;
}

static bool is_set_line(const char *p, size_t n) {
    static const char *const verbs[] = {"set ",    "delete ",  "activate ", "deactivate ",
                                        "insert ", "rename ",  "annotate ", "replace ",
                                        "copy ",   "protect ", "unprotect "};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        size_t len = strlen(verbs[i]);
        if (n >= len && memcmp(p, verbs[i], len) == 0) {
            return true;
        }
    }
    return false;
}

enum err_code junos_config_parse(const void *config, size_t n, enum junos_format *format,
                                 size_t *at, const char **action, struct err *e) {
    *action = NULL;
    const char *p = config;
    size_t i = n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    *at = i;
    while (i < n && isspace((unsigned char)p[i])) {
        i++;
    }
    if (i == n) {
        return err_set(e, ERR_INVALID, NULL, "the configuration is empty");
    }
    if (memchr(p, '\0', n) != NULL) {
        return err_set(e, ERR_INVALID, NULL, "the configuration has a NUL in it");
    }
    if (p[i] == '<') {
        ERR_TRY(check_xml(config, n, action, e));
        *format = JUNOS_XML;
        *at = skip_prolog(p, n, *at);
        return ERR_OK;
    }
    /* Lines of set commands may begin with comments. */
    while (i < n && p[i] == '#') {
        const char *nl = memchr(p + i, '\n', n - i);
        i = nl != NULL ? (size_t)(nl - p) + 1 : n;
        while (i < n && isspace((unsigned char)p[i])) {
            i++;
        }
    }
    *format = is_set_line(p + i, n - i) ? JUNOS_SET : JUNOS_TEXT;
    return ERR_OK;
}
