// SPDX-License-Identifier: Apache-2.0
/*
 * For tests: one source, one request or one download of the client, without its engine.
 *   phone-home-probe CONFIG lookup storage|dns|dhcp|servers
 *   phone-home-probe CONFIG get|post HOST PORT provisional|built-in|ANCHOR-FILE PATH [BODY MAX MS]
 *   phone-home-probe CONFIG download URI NAME provisional|built-in|ANCHOR-FILE [HASH:HEX...]
 * Prints one JSON document.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "phone-home/platform_hooks.h"
#include "phone-home/source.h"
#include "phone-home/wire.h"

enum { MAX_BODY = 1 << 20, DEADLINE_MS = 20000 };

static struct phone_home_config config;
static struct loop *loop;
static bool clock_good = true;

static void print(json_t *o) {
    char *text = json_dumps(o, JSON_INDENT(1));
    puts(text);
    free(text);
    json_decref(o);
}

static json_t *base64(const struct buf *b) {
    struct buf out = BUF_INIT;
    cms_base64(b->data, b->len, &out);
    json_t *s = json_string(buf_cstr(&out));
    buf_free(&out);
    return s;
}

static json_t *finding(const struct phc_finding *f) {
    json_t *servers = json_array();
    for (size_t i = 0; i < f->n_servers; i++) {
        json_array_append_new(servers,
                              json_pack("[s, i]", f->servers[i].address, (int)f->servers[i].port));
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:b}", "origin", f->origin, "servers", servers,
                     "ci", base64(&f->ci), "owner", base64(&f->owner), "voucher",
                     base64(&f->voucher), "anchored", f->anchored, "legacy", f->legacy_ztp);
}

static void nobody(void *arg) {
}
static void nothing_done(void *arg, uint64_t order, const struct err *e) {
}

static int lookup(const char *word) {
    static const char *const words[] = {"storage", "dns", "dhcp", "servers"};
    static struct source_findings found;
    struct platform_events ev = {nothing_done, nobody, nobody, NULL};
    struct platform *p = platform_hooks_new(loop, &config, &ev);
    const struct platform_ops *ops = *(const struct platform_ops *const *)p;
    struct platform_identity id;
    struct err e = {.code = ERR_OK};
    atomic_bool stop = false;
    int s = 0;
    while (s < 3 && strcmp(words[s], word) != 0) {
        s++;
    }
    if (ops->identity(p, &id, &e) == ERR_OK) {
        source_lookup((enum phc_source)s, &config, id.serial, 0, &stop, &found, &e);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < found.n; i++) {
        json_array_append_new(list, finding(&found.list[i]));
    }
    print(json_pack("{s:o, s:s, s:s}", "found", list, "error",
                    e.code != ERR_OK ? err_code_name(e.code) : "", "text",
                    e.code != ERR_OK ? e.text : ""));
    source_findings_free(&found);
    ops->free(p);
    return 0;
}

static void done(void *arg, const struct phc_event *ev) {
    json_t *body = json_stringn(ev->body != NULL ? ev->body : "", ev->n);
    print(json_pack("{s:i, s:s, s:s, s:s, s:I, s:o, s:I, s:s, s:b}", "status", ev->status, "error",
                    ev->error != NULL ? err_code_name(ev->error->code) : "", "text",
                    ev->error != NULL ? ev->error->text : "", "type",
                    ev->content_type != NULL ? ev->content_type : "", "retry-after-ms",
                    (json_int_t)ev->retry_after_ms, "body", body != NULL ? body : json_string("?"),
                    "n", (json_int_t)ev->n, "path", ev->path != NULL ? ev->path : "", "checksum",
                    ev->checksum));
    loop_stop(loop);
}

static enum phc_verify verify_of(const char *word, struct buf *anchor) {
    if (strcmp(word, "provisional") == 0) {
        return PHC_PROVISIONAL;
    }
    if (strcmp(word, "built-in") == 0) {
        return PHC_BUILT_IN;
    }
    if (file_read(word, MAX_BODY, anchor, NULL) != ERR_OK) {
        fprintf(stderr, "%s can't be read\n", word);
        exit(2);
    }
    return PHC_ANCHOR;
}

static bool clock_ok(void *arg) {
    return clock_good;
}

static void hash_of(const char *text, struct sztp_verification *v) {
    static const char *const names[] = {"sha-256:", "sha-1:", "md5:"};
    for (int i = 0; i < 3; i++) {
        if (strncmp(text, names[i], strlen(names[i])) == 0 &&
            sztp_hash_parse((enum sztp_hash)i, text + strlen(names[i]), v, NULL) == ERR_OK) {
            return;
        }
    }
    fprintf(stderr, "%s is no hash\n", text);
    exit(2);
}

static void request(struct wire *w, int n, char **a, struct buf *anchor) {
    struct buf body = BUF_INIT;
    bool post = strcmp(a[0], "post") == 0;
    buf_str(&body, n > 5 ? a[5] : "");
    struct phc_request r = {.host = a[1],
                            .port = (uint16_t)atoi(a[2]),
                            .verify = verify_of(a[3], anchor),
                            .anchor = anchor,
                            .method = post ? "POST" : "GET",
                            .path = a[4],
                            .accept = "application/yang-data+json",
                            .content_type = post ? "application/yang-data+json" : NULL,
                            .body = post ? &body : NULL,
                            .user = config.platform.serial,
                            .deadline_ms = n > 7 ? atoi(a[7]) : DEADLINE_MS,
                            .max_body = n > 6 ? (size_t)atoi(a[6]) : MAX_BODY};
    wire_request(w, 1, &r);
    buf_free(&body);
}

static void download(struct wire *w, int n, char **a, struct buf *anchor) {
    struct sztp_verification v[SZTP_HASHES_MAX];
    struct phc_download d = {.uri = a[1],
                             .name = a[2],
                             .verify = verify_of(a[3], anchor),
                             .anchor = anchor,
                             .hashes = v};
    for (int i = 4; i < n && d.n_hashes < SZTP_HASHES_MAX; i++) {
        hash_of(a[i], &v[d.n_hashes++]);
    }
    wire_download(w, 1, &d);
}

int main(int argc, char **argv) {
    struct err e;
    struct buf anchor = BUF_INIT;
    static struct resolver resolver;
    if (argc < 4 || phone_home_config_load(argv[1], &config, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", argc < 4 ? "see probe.c" : e.text);
        return 2;
    }
    clock_good = getenv("PROBE_NO_CLOCK") == NULL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    loop = loop_new("probe");
    if (strcmp(argv[2], "lookup") == 0) {
        lookup(argv[3]);
        loop_free(loop);
        return 0;
    }
    source_resolver(&config, 0, &resolver);
    struct wire_config c = {.anchors = config.server_anchors,
                            .certificate = config.certificate,
                            .key = config.key,
                            .password_file = config.password_file,
                            .password_to_untrusted = config.password_to_untrusted,
                            .folder = config.state,
                            .connect_ms = config.connect_ms,
                            .stall_ms = config.stall_ms,
                            .image_max = config.image_max,
                            .storage = &config.storage,
                            .resolver = &resolver,
                            .clock_ok = clock_ok,
                            .done = done};
    struct tasks *t = tasks_new(loop);
    struct wire *w = wire_new(t, &c);
    (strcmp(argv[2], "download") == 0 ? download : request)(w, argc - 2, argv + 2, &anchor);
    loop_run(loop);
    tasks_free(t);
    wire_free(w);
    loop_free(loop);
    buf_free(&anchor);
    return 0;
}
