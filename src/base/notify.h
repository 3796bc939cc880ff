// SPDX-License-Identifier: Apache-2.0
/* What a service tells the manager that started it (systemd's sd_notify(3): one datagram to the
 * socket in NOTIFY_SOCKET). Without that variable nothing happens, so the programs run by hand as
 * well. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* `state` as in sd_notify(3): "READY=1", "STOPPING=1", "WATCHDOG=1". False: nobody is told. */
bool notify_manager(const char *state);

/* How often "WATCHDOG=1" is to be said, in milliseconds: half of what the manager waits
 * (WATCHDOG_USEC, when WATCHDOG_PID is this process or absent); 0 when it does not watch. */
int64_t notify_watchdog_ms(void);

#endif
