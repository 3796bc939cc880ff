// SPDX-License-Identifier: Apache-2.0
/* The older dialect has no schema that anybody published: what is met in the field is read, what we
 * don't know is passed over. */
#include "sztp/prerfc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sztp/doc.h"
#include "sztp/topology.h"

enum { KEYS_MAX = 64, BODY_MAX = 1 << 20 };

void prerfc_device_free(struct prerfc_device *d) {
    conveyed_free(&d->info);
    *d = (struct prerfc_device){.serial = ""};
}

void prerfc_path(const char *in, char out[SZTP_URI_MAX + 1]) {
    size_t n = 0;
    for (; in[n] != '\0' && n < SZTP_URI_MAX; n++) {
        out[n] = in[n] == '|' ? '/' : in[n];
    }
    out[n] = '\0';
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static bool ours(const struct dom *n, const char *name) {
    return dom_is(n, PRERFC_NS, name) || dom_is(n, PRERFC_NS_ALSO, name);
}

static const struct dom *child(const struct dom *n, const char *name) {
    const struct dom *c = n != NULL ? n->child : NULL;
    while (c != NULL && !ours(c, name)) {
        c = c->next;
    }
    return c;
}

/* A text without blanks around it. */
static enum err_code word(const struct dom *n, char *out, size_t size, struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    const char *p = n->text + strspn(n->text, " \t\r\n");
    size_t len = strlen(p);
    while (len > 0 && strchr(" \t\r\n", p[len - 1]) != NULL) {
        len--;
    }
    if (len >= size) {
        return doc_fail(n, ERR_INVALID, e, "has %zu bytes; %zu are the limit", len, size - 1);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) {
            return doc_fail(n, ERR_INVALID, e, "has control characters in it");
        }
    }
    memcpy(out, p, len);
    out[len] = '\0';
    return ERR_OK;
}

static enum err_code number(const struct dom *n, unsigned min, unsigned max, unsigned *out,
                            struct err *e) {
    char text[16] = "";
    ERR_TRY(word(n, text, sizeof text, e));
    char *end = text;
    unsigned long v = n != NULL ? strtoul(text, &end, 10) : min;
    if (n != NULL && (end == text || *end != '\0' || text[0] == '-' || v < min || v > max)) {
        return doc_fail(n, ERR_INVALID, e, "is a number from %u to %u", min, max);
    }
    *out = n != NULL ? (unsigned)v : *out;
    return ERR_OK;
}

/* Base64 of one certificate; the lines that PEM has around it are borne. */
static enum err_code certificate(const struct dom *n, struct buf *out, struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    const char *p = n->text, *armour = strstr(p, "-----BEGIN CERTIFICATE-----");
    size_t len = strlen(p);
    if (armour != NULL) {
        p = armour + strlen("-----BEGIN CERTIFICATE-----");
        const char *end = strstr(p, "-----END");
        len = end != NULL ? (size_t)(end - p) : strlen(p);
    }
    return cms_unbase64(p, len, out, NULL) == ERR_OK
               ? ERR_OK
               : doc_fail(n, ERR_INVALID, e, "is no Base64 of a certificate");
}

static enum err_code parse_redirect(const struct dom *n, struct conveyed *c, struct err *e) {
    c->redirect = true;
    c->servers = mem_alloc(SZTP_SERVERS_MAX * sizeof *c->servers);
    for (const struct dom *s = n->child; s != NULL; s = s->next) {
        if (!ours(s, "bootstrap-server")) {
            continue;
        }
        if (c->n_servers == SZTP_SERVERS_MAX) {
            return doc_fail(s, ERR_LIMIT, e, "more than %d servers", SZTP_SERVERS_MAX);
        }
        struct sztp_server *to = &c->servers[c->n_servers++];
        unsigned port = 443;
        const struct dom *address = child(s, "address");
        ERR_TRY(word(address, to->address, sizeof to->address, e));
        if (to->address[0] == '\0' || strpbrk(to->address, " /@?#") != NULL) {
            return doc_fail(address != NULL ? address : s, ERR_INVALID, e,
                            "a server's address is a host name or an address");
        }
        ERR_TRY(number(child(s, "port"), 1, 65535, &port, e));
        to->port = (uint16_t)port;
        to->port_said = child(s, "port") != NULL;
        ERR_TRY(certificate(child(s, "trust-anchor"), &to->anchor, e));
    }
    return c->n_servers > 0 ? ERR_OK : doc_fail(n, ERR_MISSING, e, "names no server");
}

static enum err_code parse_hashes(const struct dom *n, struct conveyed *c, struct err *e) {
    static const struct {
        const char *name;
        enum sztp_hash hash;
    } known[] = {{"sha256", SZTP_SHA256}, {"sha1", SZTP_SHA1}, {"md5", SZTP_MD5}};
    for (size_t i = 0; i < 3; i++) {
        const struct dom *h = child(n, known[i].name);
        char hex[3 * SZTP_DIGEST_MAX + 1] = "";
        struct err why;
        ERR_TRY(word(h, hex, sizeof hex, e));
        if (hex[0] == '\0') { /* templates leave it empty */
            continue;
        }
        if (sztp_hash_parse(known[i].hash, hex, &c->image.hashes[c->image.n_hashes], &why) !=
            ERR_OK) {
            return doc_fail(h, ERR_INVALID, e, "%s", why.text);
        }
        c->image.n_hashes++;
    }
    return ERR_OK;
}

static enum err_code parse_image(const struct dom *n, struct prerfc_device *d, struct err *e) {
    struct conveyed *c = &d->info;
    char path[SZTP_URI_MAX + 1] = "";
    ERR_TRY(word(child(n, "name"), d->image_name, sizeof d->image_name, e));
    ERR_TRY(word(child(n, "path"), path, sizeof path, e));
    if (d->image_name[0] == '\0' && path[0] == '\0') {
        return ERR_OK; /* a template without an image */
    }
    c->image.present = true;
    if (path[0] != '\0') {
        c->image.uris = mem_array(NULL, 1, sizeof *c->image.uris);
        c->image.n_uris = 1;
        prerfc_path(path, c->image.uris[0]);
        size_t len = strlen(c->image.uris[0]);
        if (c->image.uris[0][len - 1] == '/' &&
            len + strlen(d->image_name) <= SZTP_URI_MAX) { /* a folder */
            snprintf(c->image.uris[0] + len, sizeof *c->image.uris - len, "%s", d->image_name);
        }
    }
    for (const struct dom *x = n->child; x != NULL; x = x->next) {
        if (dom_is(x, PRERFC_NS_VC, "os-name")) {
            ERR_TRY(word(x, c->image.os_name, sizeof c->image.os_name, e));
        } else if (dom_is(x, PRERFC_NS_VC, "os-version")) {
            ERR_TRY(word(x, c->image.os_version, sizeof c->image.os_version, e));
        }
    }
    return parse_hashes(n, c, e);
}

/* What has its namespace only from the answer around it has none of its own. */
static void leave(struct dom *n) {
    if (strcmp(n->ns, PRERFC_NS) != 0 && strcmp(n->ns, PRERFC_NS_ALSO) != 0) {
        return;
    }
    n->ns = "";
    for (struct dom *c = n->child; c != NULL; c = c->next) {
        leave(c);
    }
}

static void take_xml(struct dom *n, struct buf *out) {
    static const char none[] = " xmlns=\"\"";
    struct buf text = BUF_INIT;
    leave(n);
    dom_print(n, NULL, NULL, &text);
    struct cur c = cur_of(text.data, text.len);
    size_t name = strlen(n->name) + 1;
    buf_add(out, cur_bytes(&c, name), name); /* "<name" */
    if (cur_left(&c) >= strlen(none) && memcmp(c.p, none, strlen(none)) == 0) {
        cur_bytes(&c, strlen(none));
    }
    buf_add(out, c.p, cur_left(&c));
    buf_free(&text);
}

/* configuration/config/{the device's own document} */
static void parse_configuration(const struct dom *n, struct conveyed *c) {
    const struct dom *in = child(n, "config");
    in = in != NULL ? in : n;
    for (struct dom *x = in->child; x != NULL; x = x->next) {
        take_xml(x, &c->config);
    }
    if (in->child == NULL) {
        buf_str(&c->config, in->text + strspn(in->text, " \t\r\n"));
    }
    c->has_config = c->config.len > 0;
    c->handling = c->has_config ? SZTP_MERGE : SZTP_HANDLING_NONE; /* attributes decide: PH-063 */
}

/* An element that says yes by being there. */
static enum err_code flag(const struct dom *n, bool *out, struct err *e) {
    char text[8] = "";
    ERR_TRY(word(n, text, sizeof text, e));
    if (text[0] != '\0' && strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return doc_fail(n, ERR_INVALID, e, "is empty, true or false");
    }
    *out = strcmp(text, "false") != 0;
    return ERR_OK;
}

static enum err_code parse_member(const struct dom *n, const char *ns, char *serial, int *id,
                                  enum sztp_role *role, struct err *e) {
    char text[16] = "";
    unsigned number_said = 0;
    const struct dom *at = dom_child(n, ns, "member-id"), *who = dom_child(n, ns, "serial-id");
    *id = -1;
    *role = SZTP_ROLE_NONE;
    who = who != NULL ? who : dom_child(n, ns, "serial-number"); /* as PH-083 has it */
    ERR_TRY(word(who, serial, CMS_SERIAL_MAX + 1, e));
    if (at != NULL) {
        ERR_TRY(number(at, 0, SZTP_MEMBERS_MAX - 1, &number_said, e));
        *id = (int)number_said;
    }
    at = dom_child(n, ns, "role");
    ERR_TRY(word(at, text, sizeof text, e));
    return text[0] != '\0' && !sztp_role_parse(text, role)
               ? doc_fail(at, ERR_INVALID, e, "is master, backup or linecard")
               : ERR_OK;
}

static enum err_code parse_chassis(const struct dom *n, struct sztp_topology *t, struct err *e) {
    char why[128];
    t->present = true;
    for (const struct dom *x = n->child; x != NULL; x = x->next) {
        if (dom_is(x, PRERFC_NS_VC, "strict-provisioning")) {
            ERR_TRY(flag(x, &t->strict, e));
        } else if (dom_is(x, PRERFC_NS_VC, "exact-match")) {
            ERR_TRY(flag(x, &t->exact, e));
        } else if (dom_is(x, PRERFC_NS_VC, "member")) {
            if (t->n_members == SZTP_MEMBERS_MAX) {
                return doc_fail(x, ERR_LIMIT, e, "more than %d members", SZTP_MEMBERS_MAX);
            }
            struct sztp_member *m = &t->members[t->n_members++];
            ERR_TRY(parse_member(x, PRERFC_NS_VC, m->serial, &m->id, &m->role, e));
            if (m->serial[0] == '\0') {
                return doc_fail(x, ERR_MISSING, e, "has no serial-id");
            }
        }
    }
    return topology_check(t, why, sizeof why) == ERR_OK ? ERR_OK
                                                        : doc_fail(n, ERR_INVALID, e, "%s", why);
}

static enum err_code parse_part(const struct dom *n, struct prerfc_device *d, struct err *e) {
    struct conveyed *c = &d->info;
    if (ours(n, "unique-id")) {
        return word(n, d->serial, sizeof d->serial, e);
    }
    if (ours(n, "activation-code")) {
        return word(n, d->activation_code, sizeof d->activation_code, e);
    }
    if (ours(n, "redirect-information")) {
        return c->servers != NULL ? doc_fail(n, ERR_ELEMENT, e, "stands there twice")
                                  : parse_redirect(n, c, e);
    }
    if (ours(n, "boot-image")) {
        return c->image.present ? doc_fail(n, ERR_ELEMENT, e, "stands there twice")
                                : parse_image(n, d, e);
    }
    if (ours(n, "configuration")) {
        parse_configuration(n, c);
    } else if (ours(n, "pre-configuration-script")) {
        ERR_TRY(doc_binary(n, SZTP_DOCUMENT_MAX, &c->pre, e));
        c->has_pre = c->pre.len > 0;
    } else if (ours(n, "script") || ours(n, "post-configuration-script")) {
        ERR_TRY(doc_binary(n, SZTP_DOCUMENT_MAX, &c->post, e));
        c->has_post = c->post.len > 0;
    } else if (dom_is(n, PRERFC_NS_VC, "virtual-chassis")) {
        return c->topology.present ? doc_fail(n, ERR_ELEMENT, e, "stands there twice")
                                   : parse_chassis(n, &c->topology, e);
    }
    return ERR_OK;
}

enum err_code prerfc_device_parse(const void *p, size_t n, struct prerfc_device *out,
                                  struct err *e) {
    struct doc d;
    *out = (struct prerfc_device){.serial = ""};
    enum err_code rc = doc_read(&d, SZTP_XML, p, n, SZTP_DOCUMENT_MAX, true, e);
    if (rc == ERR_OK && !ours(d.root, "device")) {
        rc = doc_fail(d.root, ERR_UNKNOWN, e, "is not the device of a bootstrap server");
    }
    for (const struct dom *c = rc == ERR_OK ? d.root->child : NULL; c != NULL && rc == ERR_OK;
         c = c->next) {
        rc = parse_part(c, out, e);
    }
    doc_free(&d);
    if (rc != ERR_OK) {
        prerfc_device_free(out);
    }
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void print_redirect(struct doc_out *o, const struct conveyed *c) {
    char port[8];
    doc_open(o, DOC_PRERFC, "redirect-information");
    for (size_t i = 0; i < c->n_servers; i++) {
        const struct sztp_server *s = &c->servers[i];
        doc_open(o, DOC_PRERFC, "bootstrap-server");
        doc_put(o, DOC_PRERFC, "address", s->address);
        snprintf(port, sizeof port, "%u", s->port != 0 ? s->port : 443U);
        doc_put(o, DOC_PRERFC, "port", port);
        if (s->anchor.len > 0) {
            doc_put_binary(o, DOC_PRERFC, "trust-anchor", s->anchor.data, s->anchor.len);
        }
        doc_close(o);
    }
    doc_close(o);
}

static void print_image(struct doc_out *o, const struct prerfc_device *d) {
    static const char *const names[] = {"sha256", "sha1", "md5"};
    const struct conveyed *c = &d->info;
    const char *uri = c->image.n_uris > 0 ? c->image.uris[0] : "";
    const char *slash = strrchr(uri, '/');
    doc_open(o, DOC_PRERFC, "boot-image");
    doc_put(o, DOC_PRERFC, "name",
            d->image_name[0] != '\0' ? d->image_name
            : slash != NULL          ? slash + 1
                                     : uri);
    for (size_t i = 0; i < c->image.n_hashes; i++) {
        const struct sztp_verification *v = &c->image.hashes[i];
        struct buf colons = BUF_INIT, hex = BUF_INIT;
        sztp_hash_print(v, &colons);
        for (size_t k = 0; k < colons.len; k++) {
            if (colons.data[k] != ':') {
                buf_u8(&hex, colons.data[k]);
            }
        }
        doc_put(o, DOC_PRERFC, names[v->hash], buf_cstr(&hex));
        buf_free(&colons);
        buf_free(&hex);
    }
    if (uri[0] != '\0') {
        doc_put(o, DOC_PRERFC, "path", uri);
    }
    if (c->image.os_name[0] != '\0') {
        doc_put(o, DOC_CHASSIS, "os-name", c->image.os_name);
    }
    if (c->image.os_version[0] != '\0') {
        doc_put(o, DOC_CHASSIS, "os-version", c->image.os_version);
    }
    doc_close(o);
}

static void print_chassis(struct doc_out *o, const struct sztp_topology *t) {
    char id[12];
    doc_open(o, DOC_CHASSIS, "virtual-chassis");
    if (t->strict) {
        doc_put_empty(o, DOC_CHASSIS, "strict-provisioning");
    }
    if (t->exact) {
        doc_put_empty(o, DOC_CHASSIS, "exact-match");
    }
    for (size_t i = 0; i < t->n_members; i++) {
        const struct sztp_member *m = &t->members[i];
        doc_open(o, DOC_CHASSIS, "member");
        doc_put(o, DOC_CHASSIS, "serial-id", m->serial);
        if (m->id >= 0) {
            snprintf(id, sizeof id, "%d", m->id);
            doc_put(o, DOC_CHASSIS, "member-id", id);
        }
        if (m->role != SZTP_ROLE_NONE) {
            doc_put(o, DOC_CHASSIS, "role", sztp_role_name(m->role));
        }
        doc_close(o);
    }
    doc_close(o);
}

/* Where the document begins behind an XML declaration; it is to be one well-formed element. */
static enum err_code check_xml(const struct buf *config, const char **from, size_t *n,
                               struct err *e) {
    struct arena *a = arena_new();
    struct dom *root;
    struct err why;
    enum err_code rc = dom_parse(config->data, config->len, a, &root, &why);
    arena_free(a);
    if (rc != ERR_OK) {
        return err_set(e, ERR_UNSUPPORTED, "configuration",
                       "the older dialect carries XML alone, and this is none: %s", why.text);
    }
    const char *p = (const char *)config->data, *end = p + config->len;
    if (config->len > 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }
    if (end - p > 5 && memcmp(p, "<?xml", 5) == 0) {
        const char *close = memchr(p, '>', (size_t)(end - p));
        p = close != NULL ? close + 1 : p;
    }
    *from = p;
    *n = (size_t)(end - p);
    return ERR_OK;
}

enum err_code prerfc_device_print(const struct prerfc_device *d, struct buf *out, struct err *e) {
    const struct conveyed *c = &d->info;
    const char *config = NULL;
    size_t n = 0;
    struct doc_out o;
    if (!c->redirect && c->has_config) {
        ERR_TRY(check_xml(&c->config, &config, &n, e));
    }
    doc_begin(&o, SZTP_XML, out);
    doc_open(&o, DOC_PRERFC, "device");
    doc_put(&o, DOC_PRERFC, "unique-id", d->serial);
    if (d->activation_code[0] != '\0') {
        doc_put(&o, DOC_PRERFC, "activation-code", d->activation_code);
    }
    if (c->redirect) {
        print_redirect(&o, c);
    } else {
        if (c->image.present) {
            print_image(&o, d);
        }
        if (c->has_pre) {
            doc_put_binary(&o, DOC_PRERFC, "pre-configuration-script", c->pre.data, c->pre.len);
        }
        if (config != NULL) {
            char *text = mem_strndup(config, n);
            doc_open(&o, DOC_PRERFC, "configuration");
            doc_put_raw(&o, DOC_PRERFC, "config", text);
            doc_close(&o);
            mem_free(text);
        }
        if (c->has_post) {
            doc_put_binary(&o, DOC_PRERFC, "post-configuration-script", c->post.data, c->post.len);
        }
        if (c->topology.present) {
            print_chassis(&o, &c->topology);
        }
    }
    doc_close(&o);
    doc_end(&o);
    return ERR_OK;
}

/* ---- notifications ------------------------------------------------------------------------------
 */

void prerfc_notification_free(struct prerfc_notification *n) {
    buf_free(&n->host_keys);
    buf_free(&n->anchors);
    *n = (struct prerfc_notification){.type = SZTP_N_INFORMATIONAL, .member.id = -1};
}

/* ssh-host-keys/ssh-host-key{format, key-data} as [{"algorithm","key-data"}] */
static enum err_code parse_keys(const struct dom *n, struct buf *out, struct err *e) {
    size_t count = 0;
    for (const struct dom *k = n != NULL ? n->child : NULL; k != NULL; k = k->next) {
        const struct dom *format = child(k, "format"), *data = child(k, "key-data");
        if (!ours(k, "ssh-host-key") || data == NULL) {
            continue;
        }
        if (++count > KEYS_MAX) {
            return doc_fail(k, ERR_LIMIT, e, "more than %d host keys", KEYS_MAX);
        }
        buf_str(out, count == 1 ? "[{\"algorithm\":" : ",{\"algorithm\":");
        text_json(out, format != NULL ? format->text : "");
        buf_str(out, ",\"key-data\":");
        text_json(out, data->text);
        buf_char(out, '}');
    }
    buf_str(out, count > 0 ? "]" : "");
    return ERR_OK;
}

/* trust-anchors/trust-anchor{protocol, certificate} as ["certificate"] */
static enum err_code parse_anchors(const struct dom *n, struct buf *out, struct err *e) {
    size_t count = 0;
    for (const struct dom *a = n != NULL ? n->child : NULL; a != NULL; a = a->next) {
        const struct dom *cert = child(a, "certificate");
        if (!ours(a, "trust-anchor") || cert == NULL) {
            continue;
        }
        if (++count > KEYS_MAX) {
            return doc_fail(a, ERR_LIMIT, e, "more than %d trust anchors", KEYS_MAX);
        }
        buf_char(out, count == 1 ? '[' : ',');
        text_json(out, cert->text);
    }
    buf_str(out, count > 0 ? "]" : "");
    return ERR_OK;
}

static enum err_code parse_notification(const struct dom *root, struct prerfc_notification *out,
                                        struct err *e) {
    const struct dom *type = child(root, "notification-type"), *text = child(root, "message");
    const struct dom *member = child(root, "virtual-chassis-member");
    char name[64] = "";
    if (type == NULL) {
        return doc_fail(root, ERR_MISSING, e, "notification-type is missing");
    }
    ERR_TRY(word(type, name, sizeof name, e));
    if (!sztp_notification_parse(name, &out->type)) {
        return doc_fail(type, ERR_INVALID, e, "%s is no type of notification", name);
    }
    if (text != NULL) {
        sztp_text_cut(out->text, text->text);
    }
    if (member != NULL) {
        out->has_member = true;
        ERR_TRY(parse_member(member, member->ns, out->member.serial, &out->member.id,
                             &out->member.role, e));
    }
    ERR_TRY(parse_keys(child(root, "ssh-host-keys"), &out->host_keys, e));
    return parse_anchors(child(root, "trust-anchors"), &out->anchors, e);
}

enum err_code prerfc_notification_parse(const void *p, size_t len, struct prerfc_notification *out,
                                        struct err *e) {
    struct doc d;
    *out = (struct prerfc_notification){.type = SZTP_N_INFORMATIONAL, .member.id = -1};
    enum err_code rc = doc_read(&d, SZTP_XML, p, len, BODY_MAX, true, e);
    if (rc == ERR_OK && !ours(d.root, "input") && !ours(d.root, "notification")) {
        rc = doc_fail(d.root, ERR_UNKNOWN, e, "is no notification");
    }
    rc = rc == ERR_OK ? parse_notification(d.root, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        prerfc_notification_free(out);
    }
    return rc;
}

static void print_list(struct doc_out *o, const struct buf *json, bool keys) {
    json_t *all = json_loadb((const char *)json->data, json->len, 0, NULL), *x;
    size_t i;
    doc_open(o, DOC_PRERFC, keys ? "ssh-host-keys" : "trust-anchors");
    json_array_foreach(all, i, x) {
        const char *format = json_string_value(json_object_get(x, "algorithm"));
        const char *data = json_string_value(keys ? json_object_get(x, "key-data") : x);
        doc_open(o, DOC_PRERFC, keys ? "ssh-host-key" : "trust-anchor");
        if (keys) {
            doc_put(o, DOC_PRERFC, "format", format != NULL ? format : "");
        }
        doc_put(o, DOC_PRERFC, keys ? "key-data" : "certificate", data != NULL ? data : "");
        doc_close(o);
    }
    doc_close(o);
    json_decref(all);
}

void prerfc_notification_print(const struct prerfc_notification *n, struct buf *out) {
    struct doc_out o;
    char id[12];
    doc_begin(&o, SZTP_XML, out);
    doc_open(&o, DOC_PRERFC, "input");
    doc_put(&o, DOC_PRERFC, "notification-type", sztp_notification_name(n->type));
    doc_put(&o, DOC_PRERFC, "message", n->text);
    if (n->has_member) {
        doc_open(&o, DOC_PRERFC, "virtual-chassis-member");
        if (n->member.id >= 0) {
            snprintf(id, sizeof id, "%d", n->member.id);
            doc_put(&o, DOC_PRERFC, "member-id", id);
        }
        doc_put(&o, DOC_PRERFC, "serial-id", n->member.serial);
        if (n->member.role != SZTP_ROLE_NONE) {
            doc_put(&o, DOC_PRERFC, "role", sztp_role_name(n->member.role));
        }
        doc_close(&o);
    }
    if (n->host_keys.len > 0) {
        print_list(&o, &n->host_keys, true);
    }
    if (n->anchors.len > 0) {
        print_list(&o, &n->anchors, false);
    }
    doc_close(&o);
    doc_end(&o);
}

void prerfc_notification_text(const struct prerfc_notification *n, struct buf *out) {
    if (n->has_member) {
        sztp_member_text(&n->member, out);
    }
    buf_str(out, n->text);
}
