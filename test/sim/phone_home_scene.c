// SPDX-License-Identifier: Apache-2.0
#include "phone_home_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

void scene_info(struct conveyed *c, enum scene_topology t, bool strict, size_t n) {
    memset(c, 0, sizeof *c);
    c->image.present = true;
    snprintf(c->image.os_name, sizeof c->image.os_name, "sim-os");
    snprintf(c->image.os_version, sizeof c->image.os_version, "2");
    c->image.uris = mem_array(NULL, 2, sizeof *c->image.uris);
    snprintf(c->image.uris[0], sizeof c->image.uris[0], "https://phs1:443/image");
    snprintf(c->image.uris[1], sizeof c->image.uris[1], "https://images:443/image");
    c->image.n_uris = 2;
    c->image.n_hashes = 1;
    memset(c->image.hashes[0].digest, 0x5a, sizeof c->image.hashes[0].digest);
    c->has_pre = c->has_config = c->has_post = true;
    c->handling = SZTP_MERGE;
    buf_str(&c->pre, "#!/bin/sh\n");
    buf_str(&c->config, "<configuration/>");
    buf_str(&c->post, "#!/bin/sh\n");
    c->topology.present = t != SCENE_NONE;
    c->topology.strict = strict;
    for (size_t i = 0; t == SCENE_FULL && i < n; i++) {
        struct sztp_member *m = &c->topology.members[c->topology.n_members++];
        snprintf(m->serial, sizeof m->serial, "SIM%zu", i);
        m->id = (int)i;
    }
}

void scene_info_free(struct conveyed *c) {
    conveyed_free(c);
}

void scene_check(const struct rig *r, const char *what) {
    const struct sim *s = r->sim;
    const char *bad = NULL;
    if (s->broken[0] != '\0') {
        bad = s->broken;
    } else if (s->frozen) {
        bad = "the temporary configuration is left";
    } else if (rig_done(r) && s->applies > 0 && s->config != SIM_CONFIRMED) {
        bad = "done, and not configured";
    } else if (!rig_done(r) && s->config == SIM_CONFIRMED &&
               (s->scripts[PLATFORM_POST] > 0 || r->config.dialect == PHC_PRERFC) &&
               rig_logged(r, RIG_CONFIGURED) > 0) {
        /* The primary lost its power between the last step and the report of success, and there was
         * no backup to be told: the chassis is whole, and left as it is. */
    } else if (!rig_done(r) && s->config != SIM_DEFAULT) {
        bad = "configured, and not done";
    }
    if (bad != NULL) {
        for (size_t i = 0; i < r->n_lines; i++) {
            print_message("%s\n", r->lines[i]);
        }
        fail_msg("%s: %s", what, bad);
    }
}

char *scene_reports(const struct rig *r) {
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < r->n_reports; i++) {
        const struct rig_report *p = &r->reports[i];
        buf_str(&b, p->prerfc ? sztp_notification_name(p->notification)
                              : sztp_progress_name(p->progress));
        if (p->member >= 0) {
            buf_printf(&b, " [%d %s %s]", p->member, p->serial, sztp_role_name(p->role));
        }
        buf_printf(&b, " %s\n", p->text);
    }
    return buf_take(&b);
}
