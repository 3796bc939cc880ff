// SPDX-License-Identifier: Apache-2.0
/* The client's configuration file: any bytes give a configuration or an error with a text. */
#include <stdlib.h>

#include "phone-home/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct phone_home_config c;
    struct err err = {0};
    if (phone_home_config_parse((const char *)data, size, "f", &c, &err) != ERR_OK &&
        err.text[0] == '\0') {
        abort();
    }
    return 0;
}
