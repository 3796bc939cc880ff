// SPDX-License-Identifier: Apache-2.0
/*
 * ietf-netconf-acm (RFC 8341) as a view: what the rights of weft-system mean, in the words that
 * other managers know. A group stands for the users that have the same roles, and its rules, taken
 * in their order until one matches, decide exactly as the rights do.
 */
#ifndef CORE_NACM_H
#define CORE_NACM_H

#include "core/rights.h"
#include "core/service.h"
#include "model/kinds.h"

/* Provides /ietf-netconf-acm:nacm; has no records and nothing to configure. */
extern const struct service nacm_service;

/* JSON of /ietf-netconf-acm:nacm for the configuration `s`. */
void nacm_print(const struct snap *s, struct buf *json);

/* rights.c */
bool rights_role_allows(const struct system_role *role, enum right r, const char *path);
enum rights_word { RIGHTS_SILENT, RIGHTS_NO, RIGHTS_YES };
/* What a role says of an operation of a protocol, by a right on it or on its module. */
enum rights_word rights_role_operation(const struct system_role *role, const char *path);
/* The operations there are; false behind the last one. */
bool rights_operation(size_t i, const char **path, bool *by_right);
/* call.c: the right that an rpc of the model needs */
enum right call_right(const struct node *rpc);

#endif
