// SPDX-License-Identifier: Apache-2.0
/* Images, slots, settings, messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "phone-home/stack/message.h"
#include "phone-home/stack/settings.h"
#include "phone-home/stack/slots.h"

static char folder[64];
static struct err err;

static int setup(void **state) {
    snprintf(folder, sizeof folder, "/tmp/stack-parts-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state) {
    return image_remove(folder, &err) != ERR_OK;
}

static const char *in(const char *name) {
    static char path[4][200];
    static unsigned i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", folder, name);
    return path[i];
}

/* ---------------------------------------------------------------- archives */

static void entry(struct buf *tar, char type, const char *name, const char *text, size_t n) {
    uint8_t h[512] = {0};
    unsigned sum = 0;
    snprintf((char *)h, 100, "%s", name);
    snprintf((char *)h + 100, 8, "%07o", 0755);
    snprintf((char *)h + 124, 12, "%011zo", n);
    h[156] = (uint8_t)type;
    memcpy(h + 257, "ustar\00000", 8);
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++) {
        sum += h[i];
    }
    snprintf((char *)h + 148, 8, "%06o", sum);
    buf_add(tar, h, 512);
    buf_add(tar, text, n);
    memset(buf_extend(tar, (512 - n % 512) % 512), 0, (512 - n % 512) % 512);
}

static void hex_of(const char *text, size_t n, char out[65]) {
    uint8_t d[32];
    EVP_Digest(text, n, d, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < 32; i++) {
        snprintf(out + 2 * i, 3, "%02x", d[i]);
    }
}

/* An archive with a manifest that names `init`, and more entries that the caller adds before the
 * end. */
static void begin_image(struct buf *tar, const char *version, const char *init) {
    char hex[65], manifest[400];
    hex_of(init, strlen(init), hex);
    snprintf(manifest, sizeof manifest,
             "{\"name\": \"box\", \"os-name\": \"weftos\", \"os-version\": \"%s\","
             " \"files\": {\"init\": \"%s\"}}",
             version, hex);
    entry(tar, '0', "manifest.json", manifest, strlen(manifest));
    entry(tar, '0', "./init", init, strlen(init));
}

static void end_image(struct buf *tar) {
    memset(buf_extend(tar, 1024), 0, 1024);
}

static enum err_code unpack(const struct buf *tar, const char *version, const uint8_t *digest) {
    struct image_manifest m;
    int fd = message_bytes(tar->data, tar->len, &err);
    assert_true(fd >= 0);
    enum err_code rc = image_unpack(fd, in("out"), version, digest, &m, &err);
    close(fd);
    return rc;
}

static void images_are_unpacked(void **state) {
    struct buf tar = BUF_INIT, b = BUF_INIT;
    struct stat st;
    struct image_manifest m;
    uint8_t digest[32];
    begin_image(&tar, "2.0", "#!/bin/sh\n");
    entry(&tar, 'x', "PaxHeaders/init", "20 mtime=1700000000\n", 20);
    entry(&tar, '5', "share/empty/", "", 0);
    end_image(&tar);
    EVP_Digest(tar.data, tar.len, digest, NULL, EVP_sha256(), NULL);
    assert_int_equal(unpack(&tar, "2.0", digest), ERR_OK);
    assert_int_equal(file_read(in("out/init"), 100, &b, &err), ERR_OK);
    assert_string_equal(buf_cstr(&b), "#!/bin/sh\n");
    assert_int_equal(stat(in("out/init"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(stat(in("out/share/empty"), &st), 0);
    assert_int_equal(image_manifest_load(in("out"), &m, &err), ERR_OK);
    assert_string_equal(m.os_version, "2.0");
    assert_int_equal(unpack(&tar, NULL, NULL), ERR_IO); /* is there already, and stays */
    assert_int_equal(stat(in("out/init"), &st), 0);
    assert_int_equal(image_remove(in("out"), &err), ERR_OK);
    assert_int_equal(image_remove(in("out"), &err), ERR_OK);
    digest[0] ^= 1;
    assert_int_equal(unpack(&tar, "2.0", digest), ERR_INVALID);
    assert_int_equal(stat(in("out"), &st), -1);
    buf_free(&tar);
    buf_free(&b);
}

static void refused(const char *why, enum err_code code, const struct buf *tar) {
    struct stat st;
    assert_int_equal(unpack(tar, NULL, NULL), code);
    if (strstr(err.text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    }
    assert_int_equal(stat(in("out"), &st), -1);
    assert_int_equal(stat(in("evil"), &st), -1);
}

static void bad_images_are_refused(void **state) {
    static const struct {
        char type;
        const char *name, *why;
        enum err_code code;
    } bad[] = {
        {'0', "../evil", "leads out", ERR_INVALID},
        {'0', "a/../../evil", "leads out", ERR_INVALID},
        {'0', "/evil", "leads out", ERR_INVALID},
        {'5', "..", "leads out", ERR_INVALID},
        {'2', "link", "neither a file nor a folder", ERR_UNSUPPORTED},
        {'1', "link", "neither a file nor a folder", ERR_UNSUPPORTED},
        {'3', "device", "neither a file nor a folder", ERR_UNSUPPORTED},
        {'L', "long", "name of over 100", ERR_UNSUPPORTED},
        {'0', "init", "can't be made", ERR_IO}, /* twice */
        {'0', "more", "is not in the manifest", ERR_INVALID},
        {'0', "", "without a name", ERR_INVALID},
    };
    struct buf tar = BUF_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_clear(&tar);
        begin_image(&tar, "2.0", "x");
        entry(&tar, bad[i].type, bad[i].name, "", 0);
        end_image(&tar);
        refused(bad[i].why, bad[i].code, &tar);
    }
    buf_clear(&tar);
    begin_image(&tar, "", "x");
    end_image(&tar);
    refused("os-version must be", ERR_INVALID, &tar);
    buf_clear(&tar);
    entry(&tar, '0', "init", "x", 1);
    end_image(&tar);
    refused("is not in the image", ERR_INVALID, &tar);
    buf_clear(&tar);
    begin_image(&tar, "2.0", "x");
    refused("ends in the middle", ERR_MALFORMED, &tar);
    tar.data[0] ^= 1;
    refused("no tar archive", ERR_MALFORMED, &tar);
    buf_free(&tar);
}

/* ---------------------------------------------------------------- slots */

static void install(struct slots *s, const char *running, const char *version, unsigned tries) {
    struct buf tar = BUF_INIT;
    begin_image(&tar, version, "x");
    end_image(&tar);
    int fd = message_bytes(tar.data, tar.len, &err);
    assert_int_equal(slots_unpack(folder, fd, version, NULL, &err), ERR_OK);
    assert_int_equal(slots_take(s, running, tries, &err), ERR_OK);
    close(fd);
    buf_free(&tar);
}

static const char *boot(struct slots *s, bool *trial) {
    static char slot[2];
    assert_int_equal(slots_load(folder, s, &err), ERR_OK); /* as after a loss of power */
    assert_int_equal(slots_boot(s, slot, trial, &err), ERR_OK);
    return slot;
}

/* proves: PH-043 */
static void slots_fall_back(void **state) {
    struct slots s;
    bool trial;
    assert_string_equal(boot(&s, &trial), "");
    assert_false(trial);
    install(&s, "", "1.0", 2);
    assert_string_equal(boot(&s, &trial), "a");
    assert_true(trial);
    assert_int_equal(slots_came_up(&s, "a", &err), ERR_OK);
    assert_string_equal(boot(&s, &trial), "a");
    assert_false(trial);
    /* The next never comes up: two tries, then back, and its version is known. */
    install(&s, "a", "2.0", 2);
    assert_string_equal(boot(&s, &trial), "b");
    assert_string_equal(boot(&s, &trial), "b");
    assert_string_equal(boot(&s, &trial), "a");
    assert_false(trial);
    assert_string_equal(s.failed, "2.0");
    assert_string_equal(boot(&s, &trial), "a");
    /* One that comes up at its second try. */
    install(&s, "a", "3.0", 2);
    assert_string_equal(boot(&s, &trial), "b");
    assert_string_equal(boot(&s, &trial), "b");
    assert_int_equal(slots_came_up(&s, "b", &err), ERR_OK);
    assert_string_equal(s.failed, "");
    assert_string_equal(boot(&s, &trial), "b");
    /* Another is installed while a trial runs: the trial is what there is to go back to. */
    install(&s, "b", "4.0", 1);
    assert_string_equal(boot(&s, &trial), "a");
    install(&s, "a", "5.0", 1);
    assert_string_equal(boot(&s, &trial), "b");
    assert_string_equal(boot(&s, &trial), "a");
    assert_string_equal(s.failed, "5.0");
}

static void damaged_slots_are_told(void **state) {
    struct slots s;
    static const char negative[] =
        "{\"current\": \"a\", \"next\": \"\", \"failed\": \"\", \"tries\": -1}";
    static const char *const bad[] = {"", "[]", "{\"current\": \"c\"}", negative};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(file_write(in("boot.json"), bad[i], strlen(bad[i]), 0600, &err), ERR_OK);
        assert_int_equal(slots_load(folder, &s, &err), ERR_MALFORMED);
        assert_string_equal(err.path, in("boot.json"));
    }
}

/* ---------------------------------------------------------------- settings */

#define BASE                                                                                       \
    "\"serial\": \"PE1\", \"model\": \"m\", \"os-name\": \"o\", \"os-version\": \"1\","            \
    " \"directory\": \"/d\""

static void settings_are_read(void **state) {
    struct stackd_settings s;
    const char *text = "{" BASE ", \"vcp\": [\"a\", \"b\"], \"priority\": 200, \"init-s\": 5,"
                       " \"services\": [[\"/bin/true\", \"x\"]], \"zeroize\": [\"/var/x\"]}";
    assert_int_equal(stackd_settings_parse(text, strlen(text), &s, &err), ERR_OK);
    assert_string_equal(s.stack.serial, "PE1");
    assert_int_equal(s.stack.n_links, 2);
    assert_string_equal(s.stack.ports[1], "b");
    assert_int_equal(s.stack.priority, 200);
    assert_int_equal(s.init_ms, 5000);
    assert_int_equal(s.boot_tries, 3);
    assert_string_equal(s.socket, STACKD_SOCKET);
    assert_string_equal(s.services[0][1], "x");
    assert_null(s.services[0][2]);
    stackd_settings_free(&s);
    static const struct {
        const char *text, *path;
    } bad[] = {
        {"{", ""},
        {"[]", ""},
        {"{}", "serial"},
        {"{" BASE ", \"serial\": \"again\"}", ""},
        {"{" BASE ", \"vcp\": \"a\"}", "vcp"},
        {"{" BASE ", \"vcp\": [1]}", "vcp"},
        {"{" BASE ", \"vcp\": [\"a\", \"b\", \"c\", \"d\", \"e\"]}", "vcp"},
        {"{" BASE ", \"vcp\": [\"interface-longer\"]}", "vcp"},
        {"{" BASE ", \"priority\": \"1\"}", "priority"},
        {"{" BASE ", \"clock-trusted\": 1}", "clock-trusted"},
        {"{" BASE ", \"services\": [[]]}", "services"},
        {"{" BASE ", \"services\": {}}", "services"},
        {"{" BASE ", \"socket\": \"s\"}", "socket"},
        {"{" BASE ", \"x\": 1}", "x"},
        {"{" BASE ", \"dead-ms\": 400}", "dead-ms"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(stackd_settings_parse(bad[i].text, strlen(bad[i].text), &s, &err),
                             ERR_OK);
        assert_string_equal(err.path, bad[i].path);
    }
    assert_int_equal(stackd_settings_load(in("none"), &s, &err), ERR_ABSENT);
    assert_int_equal(file_write(in("bad"), "{\"serial\": 1}", 13, 0600, &err), ERR_OK);
    assert_int_equal(stackd_settings_load(in("bad"), &s, &err), ERR_INVALID);
    assert_non_null(strstr(err.path, "/bad: serial"));
}

/* ---------------------------------------------------------------- messages */

static void messages_carry_files(void **state) {
    int ends[2], with;
    json_t *o;
    char text[16] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(message_receive(ends[1], &o, &with, &err), ERR_OK);
    assert_null(o);
    int file = message_bytes("hello", 5, &err);
    json_t *m = json_pack("{s:s}", "do", "x");
    assert_int_equal(message_send(ends[0], m, file, &err), ERR_OK);
    close(file);
    json_decref(m);
    assert_int_equal(message_receive(ends[1], &o, &with, &err), ERR_OK);
    assert_string_equal(json_string_value(json_object_get(o, "do")), "x");
    assert_int_equal(read(with, text, sizeof text), 5);
    assert_string_equal(text, "hello");
    close(with);
    json_decref(o);
    assert_int_equal(send(ends[0], "[1]", 3, 0), 3);
    assert_int_equal(message_receive(ends[1], &o, &with, &err), ERR_MALFORMED);
    close(ends[0]);
    assert_int_equal(message_receive(ends[1], &o, &with, &err), ERR_IO);
    close(ends[1]);
    /* Errors come back as they were. */
    struct err e, f;
    err_set(&e, ERR_DENIED, "place", "because");
    o = json_pack("{s:o}", "error", message_error_of(&e));
    assert_int_equal(message_error(o, &f), ERR_DENIED);
    assert_string_equal(f.path, "place");
    assert_string_equal(f.text, "because");
    json_decref(o);
    o = json_pack("{s:{s:s}}", "error", "code", "OK");
    assert_int_equal(message_error(o, &f), ERR_INTERNAL);
    json_decref(o);
    assert_int_equal(message_ask(in("nobody"), json_object(), -1, 100, NULL, NULL, &err),
                     ERR_UNAVAILABLE);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(images_are_unpacked),    T(bad_images_are_refused), T(slots_fall_back),
        T(damaged_slots_are_told), T(settings_are_read),      T(messages_carry_files),
    };
    return cmocka_run_group_tests_name("stack parts", tests, NULL, NULL);
}
