// SPDX-License-Identifier: Apache-2.0
/* errors DIR: writes an error body for every code and many places into DIR, in JSON and in XML, for
 * yanglint to judge: those too that a server without partial success never sends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "north/restconf/errors.h"

static const struct {
    const char *path, *app_tag, *info;
} places[] = {
    {"", "", ""},
    {"/", "", ""},
    {"no path of data", "", ""},
    {"/weft-toy:toys", "must-violation", ""},
    {"/weft-toy:toys/box=b", "", ""},
    {"/weft-toy:toys/box=b/size", "toy-range <&>", ""},
    {"/weft-toy:toys/box", "", ""}, /* a list as a whole: its surroundings */
    {"/weft-toy:toys/toy=A%20B%2FC,7/tag", "too-many-elements", ""},
    {"/weft-toy:toys/toy=A%20B%2FC,7/tag=x%27y", "", ""},    /* quotes */
    {"/weft-toy:toys/toy=A%20B%2FC,7/tag=x%27%22y", "", ""}, /* both: can't be said */
    {"/weft-toy:toys/toy=%C3%A9%3C%26%3E,7/part=p/screw=3/count", "", ""},
    {"/weft-toy:toys/toy=m,1/nothing", "", ""}, /* as far as it is known */
    {"/weft-toy:toys/toy=m", "", ""},           /* a key is missing */
    {"/weft-toy:toys/game=g", "missing-choice", "pieces"},
    {"/weft-toy:toys/game=g/score=2", "data-not-unique", "player result/points"},
    {"/weft-toy:show-toys/limit", "", ""},
    {"/weft-apm:apm/inet-pool/partition=p/prefix=192.0.2.0%2F24", "", ""},
    {"/weft-system:system/state", "", ""},
    {"/ietf-yang-library:yang-library/content-id", "", ""},
};

static void write_body(const char *dir, int code, size_t place, enum model_format format) {
    char path[1024];
    struct buf out = BUF_INIT;
    struct rc_error er;
    struct err e;
    err_set(&e, (enum err_code)code, places[place].path,
            "Text with <&> \"quotes\" 'and' \x01 \xff.");
    err_tag(&e, e.code, places[place].app_tag, places[place].info);
    rc_error_of(&e, &er);
    rc_errors_body(&er, format, &out);
    snprintf(path, sizeof path, "%s/%s-%zu.%s", dir, err_code_name((enum err_code)code), place,
             format == FORMAT_XML ? "xml" : "json");
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(out.data, 1, out.len, f) != out.len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    buf_free(&out);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 1;
    }
    for (int code = ERR_OK + 1; code <= ERR_INTERNAL; code++) {
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            /* every code at some place, every place with some code */
            if (code == ERR_CONSTRAINT || (size_t)code % (sizeof places / sizeof *places) == i) {
                write_body(argv[1], code, i, FORMAT_JSON);
                write_body(argv[1], code, i, FORMAT_XML);
            }
        }
    }
    return 0;
}
