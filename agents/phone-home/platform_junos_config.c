// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_junos_config.h"

#include <string.h>

#include "base/text.h"

enum { PRIORITY_MAX = 255, MS_PER_MINUTE = 60 * 1000 };

const char junos_get_configuration[] =
    "<get-configuration database=\"committed\"><configuration><system><phone-home/>"
    "<root-authentication/></system><groups><name>" JUNOS_GROUP "</name></groups></configuration>"
    "</get-configuration>";

static void load(const char *action, struct buf *out) {
    buf_printf(out, "<load-configuration action=\"%s\" format=\"xml\"><configuration>", action);
}

static void end_load(struct buf *out) {
    buf_str(out, "</configuration></load-configuration>");
}

void junos_body_freeze(const struct junos_state *s, struct buf *out) {
    load("replace", out);
    buf_str(out, "<groups replace=\"replace\"><name>" JUNOS_GROUP "</name><virtual-chassis>");
    for (size_t i = 0; i < s->n_members; i++) {
        const struct platform_member *m = &s->members[i];
        if (m->role == SZTP_MASTER || m->role == SZTP_BACKUP) {
            buf_printf(out,
                       "<member><name>%d</name><mastership-priority>%d</mastership-priority>"
                       "</member>",
                       m->id, PRIORITY_MAX);
        }
    }
    buf_str(out, "</virtual-chassis></groups><apply-groups>" JUNOS_GROUP "</apply-groups>");
    end_load(out);
}

void junos_body_thaw(struct buf *out) {
    load("merge", out);
    buf_str(out, "<groups delete=\"delete\"><name>" JUNOS_GROUP "</name></groups>"
                 "<apply-groups delete=\"delete\">" JUNOS_GROUP "</apply-groups>");
    end_load(out);
}

void junos_body_no_phone_home(struct buf *out) {
    load("merge", out);
    buf_str(out, "<system><phone-home delete=\"delete\"/></system>");
    end_load(out);
}

/* As character data; the text is not terminated by a NUL. */
static void add_text(const char *p, size_t n, struct buf *out) {
    char *s = mem_strndup(p, n);
    text_xml(out, s, XML_CONTENT);
    mem_free(s);
}

/* Without the lines that are comments. */
static void add_set_lines(const char *p, size_t n, struct buf *out) {
    const char *end = p + n;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *next = nl != NULL ? nl + 1 : end;
        while (p < next && (*p == ' ' || *p == '\t' || *p == '\r')) {
            p++;
        }
        if (p < next && *p != '#' && *p != '\n') {
            add_text(p, (size_t)(next - p), out);
        }
        p = next;
    }
}

enum err_code junos_body_load(const void *config, size_t n, enum sztp_handling handling,
                              struct buf *out, struct err *e) {
    enum junos_format format;
    size_t at;
    const char *p = config, *action;
    ERR_TRY(junos_config_parse(config, n, &format, &at, &action, e));
    if (handling == SZTP_REPLACE) {
        action = "override";
    } else if (action == NULL) {
        action = "merge";
    }
    switch (format) {
    case JUNOS_XML:
        buf_printf(out, "<load-configuration action=\"%s\" format=\"xml\">", action);
        buf_add(out, p + at, n - at);
        break;
    case JUNOS_TEXT:
        buf_printf(out, "<load-configuration action=\"%s\" format=\"text\"><configuration-text>",
                   action);
        add_text(p + at, n - at, out);
        buf_str(out, "</configuration-text>");
        break;
    case JUNOS_SET:
        if (handling == SZTP_REPLACE) {
            return err_set(e, ERR_UNSUPPORTED, NULL,
                           "a configuration of set commands can be merged, and can't replace");
        }
        buf_str(out, "<load-configuration action=\"set\" format=\"text\"><configuration-set>");
        add_set_lines(p + at, n - at, out);
        buf_str(out, "</configuration-set>");
        break;
    }
    buf_str(out, "</load-configuration>");
    return ERR_OK;
}

void junos_body_commit(const char *what, bool chassis, int64_t confirm_ms, struct buf *out) {
    buf_str(out, "<commit-configuration>");
    if (chassis) {
        buf_str(out, "<synchronize/>"); /* all members are to have it */
    }
    if (confirm_ms > 0) {
        buf_printf(out, "<confirmed/><confirm-timeout>%lld</confirm-timeout>",
                   (long long)((confirm_ms + MS_PER_MINUTE - 1) / MS_PER_MINUTE));
    }
    buf_printf(out, "<log>" JUNOS_GROUP ": %s</log></commit-configuration>", what);
}

static void add_member(int member, struct buf *out) {
    if (member >= 0) {
        buf_printf(out, "<member>%d</member>", member);
    }
}

void junos_body_install(const char *image, int member, bool validate, struct buf *out) {
    buf_str(out, "<request-package-add><package-name>");
    text_xml(out, image, XML_CONTENT);
    buf_printf(out, "</package-name>%s", validate ? "<validate/>" : "<no-validate/>");
    add_member(member, out);
    buf_str(out, "</request-package-add>");
}

void junos_body_reboot(int member, struct buf *out) {
    buf_str(out, "<request-reboot>");
    add_member(member, out);
    buf_str(out, "</request-reboot>");
}

void junos_body_copy(const char *from, int member, const char *to, struct buf *out) {
    buf_str(out, "<file-copy><source>");
    text_xml(out, from, XML_CONTENT);
    buf_printf(out, "</source><destination>fpc%d:", member);
    text_xml(out, to, XML_CONTENT);
    buf_str(out, "</destination></file-copy>");
}
