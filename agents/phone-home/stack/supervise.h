// SPDX-License-Identifier: Apache-2.0
/* What stays when a member reboots: chooses the image, starts the member process, and when that
 * ends, ends all that was started in it, as a loss of power would. */
#ifndef PHONE_HOME_STACK_SUPERVISE_H
#define PHONE_HOME_STACK_SUPERVISE_H

#include "phone-home/stack/settings.h"

/* Until SIGTERM or SIGINT; an exit status. `file` holds the settings. ERR_LOCKED and alike are told
 * on standard error. */
int supervise(const struct stackd_settings *s, const char *file);

#endif
