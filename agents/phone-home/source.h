// SPDX-License-Identifier: Apache-2.0
/*
 * Where bootstrapping data may be found (RFC 8572 section 4, PH-153): each source's findings, in
 * the order to try them. Blocks; for threads of tasks.h.
 */
#ifndef PHONE_HOME_SOURCE_H
#define PHONE_HOME_SOURCE_H

#include <stdatomic.h>

#include "phone-home/config.h"

enum { SOURCE_FINDINGS_MAX = 64 };

struct source_findings {
    struct phc_finding list[SOURCE_FINDINGS_MAX];
    size_t n;
};
void source_findings_free(struct source_findings *f);

/* `now_s`: for the end of leases, seconds since 1970, 0 when the clock isn't known. ERR_OK also
 * when nothing was found; an error says why something that is there could not be used, and what was
 * found besides is in `out` all the same. */
enum err_code source_lookup(enum phc_source source, const struct phone_home_config *c,
                            const char *serial, int64_t now_s, const atomic_bool *stop,
                            struct source_findings *out, struct err *e);

/* The resolver of the configuration with what resolv.conf and the leases add. */
void source_resolver(const struct phone_home_config *c, int64_t now_s, struct resolver *out);

#endif
