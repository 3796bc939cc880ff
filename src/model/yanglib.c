// SPDX-License-Identifier: Apache-2.0
/* What modules there are, as RFC 8525 (and before it RFC 7895) shows them. */
#include "model/internal.h"

static void strings(struct buf *json, const char *const *v, size_t n) {
    buf_char(json, '[');
    for (size_t i = 0; i < n; i++) {
        buf_printf(json, "%s\"%s\"", i > 0 ? "," : "", v[i]);
    }
    buf_char(json, ']');
}

static void module_members(struct buf *json, const struct module_info *m) {
    buf_printf(json, "{\"name\":\"%s\"", m->name);
    if (m->revision[0] != '\0') {
        buf_printf(json, ",\"revision\":\"%s\"", m->revision);
    }
    buf_printf(json, ",\"namespace\":\"%s\"", m->ns);
    if (m->n_features > 0) {
        buf_str(json, ",\"feature\":");
        strings(json, m->features, m->n_features);
    }
}

/* RFC 7895 has the deviating modules with their revisions, RFC 8525 their names. */
static void deviations(struct buf *json, const struct module_info *m, bool old) {
    if (m->n_deviations == 0) {
        return;
    }
    buf_str(json, ",\"deviation\":");
    if (!old) {
        strings(json, m->deviations, m->n_deviations);
        return;
    }
    for (size_t i = 0; i < m->n_deviations; i++) {
        const struct module_info *d = model_module(m->deviations[i]);
        buf_printf(json, "%s{\"name\":\"%s\",\"revision\":\"%s\"}", i > 0 ? "," : "[", d->name,
                   d->revision);
    }
    buf_char(json, ']');
}

static void modules_state(struct buf *json) {
    buf_printf(json, "{\"module-set-id\":\"%s\",\"module\":[", model_tables.content_id);
    for (size_t i = 0; i < model_tables.n_modules; i++) {
        const struct module_info *m = &model_tables.modules[i];
        buf_str(json, i > 0 ? "," : "");
        module_members(json, m);
        deviations(json, m, true);
        /* the revision is a key of this older list: "" when a module has none */
        if (m->revision[0] == '\0') {
            buf_str(json, ",\"revision\":\"\"");
        }
        buf_printf(json, ",\"conformance-type\":\"%s\"}", m->implemented ? "implement" : "import");
    }
    buf_str(json, "]}");
}

void model_yang_library(bool old, struct buf *json) {
    if (old) {
        modules_state(json);
        return;
    }
    buf_str(json, "{\"module-set\":[{\"name\":\"all\"");
    for (int imports = 0; imports < 2; imports++) {
        bool any = false;
        for (size_t i = 0; i < model_tables.n_modules; i++) {
            const struct module_info *m = &model_tables.modules[i];
            if (m->implemented == (imports == 1)) {
                continue;
            }
            if (!any) {
                buf_printf(json, ",\"%s\":[", imports ? "import-only-module" : "module");
            }
            buf_str(json, any ? "," : "");
            any = true;
            module_members(json, m);
            deviations(json, m, false);
            if (imports && m->revision[0] == '\0') {
                buf_str(json, ",\"revision\":\"\"");
            }
            buf_char(json, '}');
        }
        buf_str(json, any ? "]" : "");
    }
    buf_printf(json,
               "}],\"schema\":[{\"name\":\"all\",\"module-set\":[\"all\"]}],"
               "\"datastore\":[{\"name\":\"ietf-datastores:running\",\"schema\":\"all\"},"
               "{\"name\":\"ietf-datastores:candidate\",\"schema\":\"all\"},"
               "{\"name\":\"ietf-datastores:operational\",\"schema\":\"all\"}],"
               "\"content-id\":\"%s\"}",
               model_tables.content_id);
}
