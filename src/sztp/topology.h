// SPDX-License-Identifier: Apache-2.0
/* What both dialects share of a chassis. Inside src/sztp only. */
#ifndef SZTP_TOPOLOGY_H
#define SZTP_TOPOLOGY_H

#include "sztp/conveyed.h"
#include "sztp/doc.h"

/* "primary" is taken for master as well. */
bool sztp_role_parse(const char *name, enum sztp_role *out);
/* Members are there once, and strict needs all of them (PH-025); else `why` says what is wrong. */
enum err_code topology_check(const struct sztp_topology *t, char *why, size_t size);

/* A member in our augmentations: serial-id, member-id, role. */
enum err_code topology_parse_member(const struct doc *d, const struct dom *n,
                                    struct sztp_member *out, struct err *e);
/* Its leaves, into what is open. */
void topology_print_member(struct doc_out *o, const struct sztp_member *m);

#endif
