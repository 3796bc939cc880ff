// SPDX-License-Identifier: Apache-2.0
/* What the simulations of the phone-home client have in common: responses, and what must hold. */
#ifndef TEST_SIM_PHONE_HOME_SCENE_H
#define TEST_SIM_PHONE_HOME_SCENE_H

#include "phone_home_rig.h"

enum scene_topology { SCENE_NONE, SCENE_MIN, SCENE_FULL };
/* Onboarding information: image version "2", both scripts, a configuration, topology of n members
 * "SIM0".. */
void scene_info(struct conveyed *c, enum scene_topology t, bool strict, size_t n);
void scene_info_free(struct conveyed *c);
/* What holds whatever happened: nothing forbidden was done, no temporary configuration is left, and
 * the device is in factory default, or configured whole and done. `what` is shown when not. */
void scene_check(const struct rig *r, const char *what);
/* The texts of a server's reports, in order, one a line; those of member types with "[id]". */
char *scene_reports(const struct rig *r); /* mem_free */

#endif
