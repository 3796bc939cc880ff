// SPDX-License-Identifier: Apache-2.0
/*
 * What is no error of a configuration and still keeps devices from coming up: told at the commit,
 * about what the commit touches. Files are looked at on this node alone, and may come later.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/pki.h"
#include "onboard/internal.h"

enum {
    NAMED_MAX = 10,       /* of a finding */
    FILE_MAX = 1 << 20,   /* a template that is read at commit */
    WANTED_MAX = 1 << 12, /* variables of a bundle */
};

/* ---- findings -------------------------------------------------------------------------------- */

static void add(struct findings *f, const char *who, char *text) {
    struct finding *one = NULL;
    for (size_t i = 0; i < f->n && one == NULL; i++) {
        one = strcmp(f->one[i].text, text) == 0 ? &f->one[i] : NULL;
    }
    if (one == NULL && f->n < FINDINGS_MAX) {
        one = &f->one[f->n++];
        *one = (struct finding){.text = text};
    } else {
        mem_free(text);
    }
    if (one == NULL) {
        f->more++;
        return;
    }
    if (one->n_who++ < NAMED_MAX) {
        buf_printf(&one->who, "%s%s", one->n_who > 1 ? ", " : "", who);
    }
}

void finding(struct findings *f, const char *who, const char *fmt, ...) {
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    add(f, who, mem_strdup(buf_cstr(&b)));
    buf_free(&b);
}

void findings_end(struct findings *f, struct txn *t) {
    for (size_t i = 0; i < f->n; i++) {
        struct finding *one = &f->one[i];
        if (one->n_who > NAMED_MAX) {
            txn_warn(t, "%s: %s and %zu more", one->text, buf_cstr(&one->who),
                     one->n_who - NAMED_MAX);
        } else {
            txn_warn(t, "%s: %s", one->text, buf_cstr(&one->who));
        }
        mem_free(one->text);
        buf_free(&one->who);
    }
    if (f->more > 0) {
        txn_warn(t, "onboarding: there is more like that, %zu times", f->more);
    }
    *f = (struct findings){.n = 0};
}

/* ---- variables of templates (PH-201) --------------------------------------------------------- */

struct wanted { /* a variable, by a text of a bundle */
    char *variable;
    const char *kind, *name; /* of the text */
    bool touched;            /* the change has the bundle or the text in it */
};

struct wants { /* of a bundle */
    struct wanted *list;
    size_t n;
    const char *kind, *name; /* of the text that is being read */
    bool touched;
};

struct looking {
    struct txn *t;
    const struct onboard *ob;
    struct findings *found;
    struct map bundles; /* name -> struct wants */
    struct map touched; /* paths; values: not NULL */
    bool wanted;        /* by any bundle */
    bool models;        /* some type is found by a device's model */
};

static bool touched(const struct looking *l, const struct object *o) {
    return map_get(&l->touched, o->doc->path) != NULL;
}

static void want(void *arg, const char *name) {
    struct wants *w = arg;
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].kind == w->kind && strcmp(w->list[i].name, w->name) == 0 &&
            strcmp(w->list[i].variable, name) == 0) {
            return;
        }
    }
    if (w->n < WANTED_MAX &&
        (!variable_built_in(name) || strcmp(name, "ldevid-certificate") == 0)) {
        w->list = mem_array(w->list, w->n + 1, sizeof *w->list);
        w->list[w->n++] = (struct wanted){mem_strdup(name), w->kind, w->name, w->touched};
    }
}

static void read_names(struct looking *l, const struct object *o, const char *text,
                       const char *file, bool template, struct wants *w) {
    struct buf raw = BUF_INIT;
    struct err e;
    if (!template) {
        return;
    }
    if (text != NULL) {
        buf_str(&raw, text);
    } else if (files_read(file, FILE_MAX, &raw, &e) != ERR_OK) {
        buf_free(&raw); /* that it is not there is told elsewhere */
        return;
    }
    if (template_names(buf_cstr(&raw), raw.len, want, w, &e) != ERR_OK && touched(l, o)) {
        finding(l->found, file, "%s: the file is no good template, devices get nothing of it (%s)",
                o->doc->path, e.text);
    }
    buf_free(&raw);
}

static void read_script(struct looking *l, const char *name, struct wants *w) {
    const struct object *o =
        name != NULL ? object_of(txn_snap(l->t), &onboard_script_kind, name) : NULL;
    if (o != NULL) {
        const struct onboard_script *s = o->doc->data;
        bool before = w->touched;
        w->kind = "script";
        w->name = s->name;
        w->touched |= touched(l, o);
        read_names(l, o, s->text, s->file, s->template, w);
        w->touched = before;
    }
}

static void read_bundle(struct looking *l, const struct object *bundle) {
    const struct onboard_bundle *b = bundle->doc->data;
    const struct object *o =
        b->configuration != NULL
            ? object_of(txn_snap(l->t), &onboard_configuration_kind, b->configuration)
            : NULL;
    struct wants *w = MEM_NEW(struct wants);
    bool mine = touched(l, bundle);
    w->touched = mine;
    read_script(l, b->pre_script, w);
    read_script(l, b->post_script, w);
    if (o != NULL) {
        const struct onboard_configuration *c = o->doc->data;
        w->kind = "configuration";
        w->name = c->name;
        w->touched = mine || touched(l, o);
        read_names(l, o, c->text, c->file, c->template, w);
    }
    l->wanted |= w->n > 0;
    map_put(&l->bundles, b->name, w);
}

static void wants_free(void *p) {
    struct wants *w = p;
    for (size_t i = 0; i < w->n; i++) {
        mem_free(w->list[i].variable);
    }
    mem_free(w->list);
    mem_free(w);
}

static bool has_variable(const struct onboard_device *d, const char *name) {
    for (size_t i = 0; i < d->n_variable; i++) {
        if (strcmp(d->variable[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

struct reached { /* the rules that a device meets, its own before those of its type */
    const struct onboard_device *d;
    const struct onboard_device_type *type;
};

static struct rule_view rule_at(const struct reached *r, size_t i) {
    return i < r->d->n_rule ? RULE_VIEW(&r->d->rule[i])
                            : RULE_VIEW(&r->type->rule[i - r->d->n_rule]);
}

static bool rule_reached(const struct reached *r, size_t i) {
    struct rule_view at = rule_at(r, i);
    for (size_t k = 0; k < i; k++) {
        struct rule_view before = rule_at(r, k);
        if (rule_covers(&before, &at)) {
            return false;
        }
    }
    return true;
}

/* The type of a device, as far as is known before it comes. */
static const struct onboard_device_type *likely_type(const struct looking *l,
                                                     const struct onboard_device *d) {
    const struct snap *s = txn_snap(l->t);
    const struct known *k =
        d->type == NULL && l->models ? known_get(l->ob, d->serial_number) : NULL;
    struct sztp_get g = {.signed_preferred = false};
    if (k != NULL) {
        known_as_get(k, &g);
    }
    return d->type == NULL && l->models && g.hw_model[0] == '\0' ? NULL : type_of(s, d, g.hw_model);
}

static void look_device(struct looking *l, const struct object *o) {
    const struct onboard_device *d = o->doc->data;
    struct reached r = {d, likely_type(l, d)};
    const struct object *type =
        r.type != NULL ? object_of(txn_snap(l->t), &onboard_device_type_kind, r.type->name) : NULL;
    bool mine = touched(l, o) || (type != NULL && touched(l, type));
    size_t n = d->n_rule + (r.type != NULL ? r.type->n_rule : 0);
    for (size_t i = 0; i < n; i++) {
        struct rule_view rule = rule_at(&r, i);
        const struct wants *w = rule.bundle != NULL ? map_get(&l->bundles, rule.bundle) : NULL;
        for (size_t k = 0; w != NULL && k < w->n; k++) {
            const struct wanted *v = &w->list[k];
            bool has = variable_built_in(v->variable)
                           ? r.type == NULL || r.type->certificate_request
                           : has_variable(d, v->variable);
            if (!has && (mine || v->touched) && rule_reached(&r, i)) {
                finding(l->found, d->serial_number,
                        "bundle %s, %s %s: nothing is given to devices without a variable %s%s",
                        rule.bundle, v->kind, v->name, v->variable,
                        variable_built_in(v->variable) ? " (no certificate-request in their type)"
                                                       : "");
            }
        }
    }
}

static void look_variables(struct looking *l, bool devices_alone) {
    const struct snap *s = txn_snap(l->t);
    for (const struct object *o = snap_first_of(s, &onboard_bundle_kind);
         o != NULL && o->doc->kind == &onboard_bundle_kind; o = snap_next(s, o)) {
        read_bundle(l, o);
    }
    for (const struct object *o = snap_first_of(s, &onboard_device_type_kind);
         o != NULL && o->doc->kind == &onboard_device_type_kind; o = snap_next(s, o)) {
        l->models |= ((const struct onboard_device_type *)o->doc->data)->n_hw_model > 0;
    }
    for (size_t i = 0; l->wanted && devices_alone && i < txn_n_ops(l->t); i++) {
        struct txn_op op = txn_op(l->t, i);
        if (op.new_ != NULL && op.new_->doc->kind == &onboard_device_kind) {
            look_device(l, op.new_);
        }
    }
    for (const struct object *o =
             l->wanted && !devices_alone ? snap_first_of(s, &onboard_device_kind) : NULL;
         o != NULL && o->doc->kind == &onboard_device_kind; o = snap_next(s, o)) {
        look_device(l, o);
    }
}

/* ---- files, members, names ------------------------------------------------------------------- */

static void look_file(struct findings *f, const struct object *o, const char *file) {
    if (file != NULL && !files_has(file)) {
        finding(f, o->doc->path, "devices get nothing of it until the file %s is in %s/files", file,
                onboard_paths.folder);
    }
}

static void look_topology(const struct looking *l, const struct onboard_topology *t) {
    for (size_t i = 0; i < t->n_member; i++) {
        if (object_of(txn_snap(l->t), &onboard_device_kind, t->member[i].serial_number) == NULL) {
            finding(l->found, t->member[i].serial_number,
                    "topology %s has members that are no configured devices", t->name);
        }
    }
}

/* A device that checks names would turn away. Certificates are small files of this machine. */
static void look_listener(struct findings *f, const struct object *o) {
    const struct onboard_listener *l = o->doc->data;
    const char *files[] = {l->certificate_file, l->key_file};
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        if (files[i] != NULL &&
            (stat(files[i], &st) != 0 || !S_ISREG(st.st_mode) || access(files[i], R_OK) != 0)) {
            finding(f, files[i], "%s: it can't be opened as long as the file can't be read",
                    o->doc->path);
            return;
        }
    }
    bool own = l->certificate_file == NULL, has;
    struct err e;
    const char *cert = own ? onboard_paths.server_cert : l->certificate_file;
    if (cert[0] != '\0' && l->public_address != NULL &&
        pki_has_name(cert, l->public_address, &has, &e) == ERR_OK && !has) {
        finding(f, l->public_address,
                "%s: devices that check names turn away, for %s certificate does not have "
                "public-address among its names%s",
                o->doc->path, own ? "the controller's" : "its",
                own ? " (--hostname of weftd says them)" : "");
    }
}

static void look_object(const struct looking *l, const struct object *o) {
    const struct kind *k = o->doc->kind;
    if (k == &onboard_listener_kind) {
        look_listener(l->found, o);
    } else if (k == &onboard_boot_image_kind) {
        look_file(l->found, o, ((const struct onboard_boot_image *)o->doc->data)->file);
    } else if (k == &onboard_script_kind) {
        look_file(l->found, o, ((const struct onboard_script *)o->doc->data)->file);
    } else if (k == &onboard_configuration_kind) {
        look_file(l->found, o, ((const struct onboard_configuration *)o->doc->data)->file);
    } else if (k == &onboard_topology_kind) {
        look_topology(l, o->doc->data);
    }
}

void onboard_warn(const struct onboard *ob, struct txn *t, struct findings *f) {
    struct looking l = {.t = t, .ob = ob, .found = f};
    bool any = false, others = false;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct kind *k = op.new_ != NULL ? op.new_->doc->kind : NULL;
        bool text = k == &onboard_device_type_kind || k == &onboard_bundle_kind ||
                    k == &onboard_script_kind || k == &onboard_configuration_kind;
        others |= text;
        any |= text || k == &onboard_device_kind;
        if (k != NULL) {
            map_put(&l.touched, op.new_->doc->path, (void *)(uintptr_t)op.new_);
            look_object(&l, op.new_);
        }
    }
    if (any) {
        look_variables(&l, !others);
    }
    map_free(&l.bundles, wants_free);
    map_free(&l.touched, NULL);
}
