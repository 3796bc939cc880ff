// SPDX-License-Identifier: Apache-2.0
/*
 * One command to a Kea and its answer as bytes, over its unix socket or its control agent (HTTP);
 * and what its answers say of high availability. Pure.
 */
#ifndef BNG_KEAWIRE_H
#define BNG_KEAWIRE_H

#include <jansson.h>

#include "bng/config.h"
#include "bng/pair.h"

/* The bytes to send; mem_free. Takes the reference of `args` (may be NULL). `family`: 4 or 6. */
char *keawire_request(const struct bng_kea_server *s, unsigned family, const char *command,
                      json_t *args);
/* The server's answer: a new reference. NULL: there is none, `why` says so (one line). */
json_t *keawire_answer(const struct bng_kea_server *s, const uint8_t *p, size_t n, char *why,
                       size_t size);

/* Does the reason why a command failed say that the server does not run? Of one that is far only
 * its control agent, which must be there, can say it. */
bool keawire_down(const struct bng_kea_server *s, const char *why);

/* From the arguments of status-get. False: no hook, or neither hot standby nor load balancing. */
bool keawire_ha(const json_t *status, struct pair_member *m);
/* From a configuration: does the server wait for ha-continue when it starts? */
bool keawire_fenced(const json_t *config);

#endif
