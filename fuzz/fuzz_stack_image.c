// SPDX-License-Identifier: Apache-2.0
/* An image that a primary sends: whatever is in the archive, nothing outside its folder is made,
 * and after an error nothing inside. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "phone-home/stack/image.h"
#include "phone-home/stack/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char folder[64], out[80], beside[80];
    struct image_manifest m;
    struct stat st;
    struct err e;
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "/tmp/fuzz-stack-image-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            abort();
        }
        snprintf(out, sizeof out, "%s/in", folder);
        snprintf(beside, sizeof beside, "%s/evil", folder);
    }
    int fd = message_bytes(data, size, &e);
    enum err_code rc = image_unpack(fd, out, NULL, NULL, &m, &e);
    close(fd);
    if (stat(beside, &st) == 0 || (stat(out, &st) == 0) != (rc == ERR_OK)) {
        abort();
    }
    if (rc == ERR_OK && image_manifest_load(out, &m, &e) != ERR_OK) {
        abort();
    }
    image_remove(out, &e);
    return 0;
}
