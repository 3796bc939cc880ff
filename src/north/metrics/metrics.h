// SPDX-License-Identifier: Apache-2.0
/*
 * For those who watch the process: /metrics in Prometheus' text form, /healthz (the process
 * answers), /readyz (the writer answers and the store takes appends). The last two are public;
 * figures need a login with the right to read /weft-system:system/state.
 */
#ifndef NORTH_METRICS_METRICS_H
#define NORTH_METRICS_METRICS_H

#include "core/http_auth.h"
#include "net/http.h"

struct metrics;
/* `auth` is copied. */
struct metrics *metrics_new(const struct http_auth_config *auth, struct workers *workers);
void metrics_free(struct metrics *m); /* in the order of restconf_free */
/* A server whose counters are shown as weft_http_*{listener="NAME"}. Before it is used. */
void metrics_add_server(struct metrics *m, const char *name, const struct http_server *s);
/* A certificate whose end is shown as weft_certificate_expires_seconds{certificate="NAME"}. The
 * name of the file is copied. Before it is used. */
void metrics_add_certificate(struct metrics *m, const char *name, const char *file);
bool metrics_mine(const struct http_req *r);
void metrics_handle(struct metrics *m, struct http_req *r);

#endif
