// SPDX-License-Identifier: Apache-2.0
/*
 * The gate for what entities send: bytes in, a message that keeps every bound out. What lies behind
 * it need not ask again whether a prefix has four bytes or a name is printable.
 */
#ifndef POOLS_APMI_CHECK_H
#define POOLS_APMI_CHECK_H

#include <stddef.h>

#include "base/err.h"
#include "openapmi.pb-c.h"

/* NULL: `e` says what is wrong; otherwise free it with openapmi__v1__entity_msg__free_unpacked. */
Openapmi__V1__EntityMsg *apmi_check(const void *p, size_t n, struct err *e);

#endif
