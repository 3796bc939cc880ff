// SPDX-License-Identifier: Apache-2.0
/* The insides of the RPCs that platform_junos.c sends. Pure. */
#ifndef PHONE_HOME_PLATFORM_JUNOS_CONFIG_H
#define PHONE_HOME_PLATFORM_JUNOS_CONFIG_H

#include "phone-home/platform_junos_answer.h"

/* Of the committed configuration only what we look at. */
extern const char junos_get_configuration[];

/* A group, tagged by its name, in which primary and backup have the highest priority for mastership
 * alike: neither takes the role from the other, and none of the others gets it (PH-036). */
void junos_body_freeze(const struct junos_state *s, struct buf *out);
void junos_body_thaw(struct buf *out);
/* ERR_UNSUPPORTED: set commands can't replace a configuration. */
enum err_code junos_body_load(const void *config, size_t n, enum sztp_handling handling,
                              struct buf *out, struct err *e);
void junos_body_no_phone_home(struct buf *out); /* PH-072 */
/* `confirm_ms` 0: for good; else rounded up to whole minutes, which is what Junos counts. */
void junos_body_commit(const char *what, bool chassis, int64_t confirm_ms, struct buf *out);
/* `member` < 0: the device itself. */
void junos_body_install(const char *image, int member, bool validate, struct buf *out);
void junos_body_reboot(int member, struct buf *out);
void junos_body_copy(const char *from, int member, const char *to, struct buf *out);

#endif
