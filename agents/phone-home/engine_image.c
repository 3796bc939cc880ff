// SPDX-License-Identifier: Apache-2.0
/*
 * The image's download (PH-041): tried until it succeeds, one URI after another with a growing
 * pause; a URI whose bytes are not those wanted `checksum_rounds` times is tried no more, and when
 * no URI is left the server is of no use.
 */
#include "phone-home/engine_int.h"

#include <stdio.h>
#include <string.h>

static void begin(struct phc_engine *g);

static void ended(struct phc_engine *g, const struct phc_event *ev) {
    const char *uri = g->info.image.uris[g->image.uri];
    if (ev->error == NULL && ev->path != NULL) {
        snprintf(g->image.path, sizeof g->image.path, "%s", ev->path);
        g->image.failures = 0;
        phc_log(g, LOG_NOTICE, "downloaded %.400s", uri);
        g->image.then(g);
        return;
    }
    const char *why = ev->error != NULL ? ev->error->text : "no file";
    phc_trouble(g, LOG_WARNING, "%.400s: %s", uri, why);
    if (ev->checksum) {
        g->image.rounds[g->image.uri]++;
    }
    if (!ev->checksum || g->image.rounds[g->image.uri] >= g->c.checksum_rounds) {
        g->image.uri = (g->image.uri + 1) % g->info.image.n_uris;
    }
    phc_timer(g, phc_backoff(g, g->image.failures++), begin);
}

/* An image of the server itself is believed as the server is. Elsewhere the hashes say what the
 * bytes have to be; without any the place has to be one that the device knows. */
static void trust_of(struct phc_engine *g, struct phc_item *it, const char *uri) {
    struct phc_download *d = &it->a.u.download;
    const char *host = uri + strlen("https://");
    size_t n = strlen(g->r.host);
    d->verify = d->n_hashes > 0 ? PHC_PROVISIONAL : PHC_BUILT_IN;
    if (strncasecmp(uri, "https://", 8) == 0 && n > 0 && strncasecmp(host, g->r.host, n) == 0 &&
        strchr(":/", host[n]) != NULL && g->r.verify != PHC_PROVISIONAL) {
        d->verify = g->r.verify;
        if (d->verify == PHC_ANCHOR) {
            struct buf *anchor = arena_alloc(it->mem, sizeof *anchor);
            *anchor = g->r.anchor; /* of the run: it outlives the order */
            d->anchor = anchor;
        }
    }
}

static void begin(struct phc_engine *g) {
    size_t n = g->info.image.n_uris, tried = 0;
    while (tried < n && g->image.rounds[g->image.uri] >= g->c.checksum_rounds) {
        g->image.uri = (g->image.uri + 1) % n;
        tried++;
    }
    if (n == 0 || tried == n) {
        phc_fail(g, SZTP_BOOT_IMAGE_ERROR,
                 n == 0 ? "The image has no address to be downloaded from."
                        : "No address has the image that the checksums are of.");
        return;
    }
    phc_enter(g, PHC_ST_IMAGE);
    const char *uri = g->info.image.uris[g->image.uri];
    struct phc_item *it = phc_order(g, PHC_DOWNLOAD, PHC_DOWNLOAD_MS, ended);
    struct phc_download *d = &it->a.u.download;
    if (strstr(uri, "://") != NULL) {
        d->uri = arena_strdup(it->mem, uri);
    } else { /* PH-113: a path of the server itself */
        bool six = strchr(g->r.host, ':') != NULL;
        d->uri = arena_printf(it->mem, "https://%s%s%s:%u/%s", six ? "[" : "", g->r.host,
                              six ? "]" : "", g->r.port, uri[0] == '/' ? uri + 1 : uri);
    }
    d->hashes = g->info.image.hashes;
    d->n_hashes = g->info.image.n_hashes;
    d->name = "image";
    trust_of(g, it, d->uri);
}

void phc_download(struct phc_engine *g, phc_step *then) {
    g->image.then = then;
    if (g->info.image.n_hashes == 0) {
        phc_log(g, LOG_WARNING, "the image comes without a checksum");
    }
    phc_tell(g, SZTP_BOOT_IMAGE_INITIATED, "The image is downloaded.");
    begin(g);
}
