// SPDX-License-Identifier: Apache-2.0
/*
 * The log's engine over etcd, for several nodes: see docs/cluster.md. A URL is
 *     etcd:https://a:2379,b:2379,c:2379/NAME?replica=/path&cacert=F&cert=F&key=F
 * log_engine_add(&log_etcd) at the start of a program makes log_open know it.
 */
#ifndef ETCD_ENGINE_H
#define ETCD_ENGINE_H

#include "log/engine.h"

extern const struct log_engine log_etcd;

#endif
