// SPDX-License-Identifier: Apache-2.0
/* The gRPC half of net_testd. */
#ifndef NET_TESTING_TESTD_H
#define NET_TESTING_TESTD_H

#include "net/http.h"

void testd_grpc_start(struct loop *l);
void testd_grpc_stop(void);
bool testd_grpc(struct http_req *r); /* true: it is gRPC and taken */

#endif
