// SPDX-License-Identifier: Apache-2.0
/*
 * Does what the engine says: carries its actions out and brings it what came of them. One loop;
 * the record is on the disk before the next action begins.
 */
#ifndef PHONE_HOME_DRIVER_H
#define PHONE_HOME_DRIVER_H

#include "net/loop.h"
#include "phone-home/config.h"
#include "phone-home/statedir.h"

struct driver;
/* Takes the state directory and the platform and starts the engine, unless bootstrapping is off
 * (then it is idle, and says so). `over` (may be NULL) is called, from the loop, when there is
 * nothing more to do for this process: bootstrapped, off, given up to the device's own
 * provisioning, or, with `once`, one round without success. */
struct driver_config {
    const struct phone_home_config *c;
    bool once;
    void (*over)(void *arg, bool success);
    void *arg;
};
enum err_code driver_new(struct loop *l, const struct driver_config *d, struct driver **out,
                         struct err *e);
/* An operator said so: what is temporary goes, then it is idle; `over` follows. */
void driver_stop(struct driver *d);
/* Sources may have more than they had, a new lease say: a pause between rounds ends. */
void driver_wake(struct driver *d);
/* Back to factory default: bootstrapping is on again, and the platform is told. */
void driver_zeroize(struct driver *d);
/* JSON: the engine's status, and what the driver knows. */
void driver_status(struct driver *d, struct buf *json);
void driver_free(struct driver *d);

#endif
