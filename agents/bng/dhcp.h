// SPDX-License-Identifier: Apache-2.0
/*
 * The DHCP back end of one family towards the engine: one Kea, or two that are a high-availability
 * pair, as one. kea.h drives each server; the rules of the pair are in pair.h. What is here: who is
 * changed when, and what the engine is told.
 *
 * A server of a pair starts its hook anew with each config-set and serves nobody until it has
 * synchronised. So its partner takes its subscribers over first (ha-maintenance-start), and gives
 * them back when it is in line (ha-maintenance-cancel).
 */
#ifndef BNG_DHCP_H
#define BNG_DHCP_H

#include "bng/kea.h"

enum { DHCP_PATIENCE_S = 120 }; /* how long a change waits for a partner that can't take over */

struct dhcp;

/* `poke` is called after anything was told to the engine. `family`: 4 or 6. */
enum err_code dhcp_new(struct loop *l, const struct bng_config *c, unsigned family,
                       struct bng_engine *e, loop_fn *poke, void *arg, struct dhcp **out,
                       struct err *err);
/* Only looks once at what could be adopted, then calls `poke`. Right after dhcp_new. */
void dhcp_report(struct dhcp *d);
void dhcp_free(struct dhcp *d);
void dhcp_reload(struct dhcp *d);               /* certificates; NULL is allowed */
void dhcp_changed(struct dhcp *d, bool urgent); /* the engine's pools changed */

size_t dhcp_servers(const struct dhcp *d);
const struct kea *dhcp_server(const struct dhcp *d, size_t i);
/* Does any server answer? */
bool dhcp_up(const struct dhcp *d);
/* Has every server what the engine wants? */
bool dhcp_in_line(const struct dhcp *d);
const char *dhcp_word(const struct dhcp *d); /* of a pair: who serves */
/* UTC seconds since when server i has been away or not in line; 0: it is there. */
int64_t dhcp_missing_since(const struct dhcp *d, size_t i);

#endif
