// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

const char *base_type_name(enum base_type t) {
    static const char *const names[] = {
        "none",        "int8",       "int16",    "int32",     "int64",       "uint8",
        "uint16",      "uint32",     "uint64",   "decimal64", "boolean",     "empty",
        "enumeration", "bits",       "string",   "binary",    "identityref", "instance-identifier",
        "union",       "ip-address", "ip-prefix"};
    return (size_t)t < sizeof names / sizeof *names ? names[t] : "unknown";
}
