/* Faults of the system on demand, for a process that this is loaded into (LD_PRELOAD).
 *
 * NUWAVE_SYSTEM_FAULT=call:n:errno:name makes the n-th such call and all that follow fail with that errno, on files whose
 * path contains `name`. Calls: read (also pread), write, fsync, rename, mkdir, open. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

/* The errno that this call is to fail with, or 0. */
static int fault(const char *call, const char *path) {
    char what[16], name[PATH_MAX];
    long n;
    int code;
    const char *fault = getenv("NUWAVE_SYSTEM_FAULT");
    if (!fault || sscanf(fault, "%15[^:]:%ld:%d:%4095s", what, &n, &code, name) != 4)
        return 0;
    if (strcmp(what, call) || !path || !strstr(path, name))
        return 0;
    return atomic_fetch_add(&calls, 1) + 1 >= n ? code : 0;
}

static int fault_at(const char *call, int fd) {
    char link[64], path[PATH_MAX];
    if (!getenv("NUWAVE_SYSTEM_FAULT"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return fault(call, path);
}

#define FAIL_IF(code) do { int c = (code); if (c) { errno = c; return -1; } } while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *to, size_t n) { FAIL_IF(fault_at("read", fd)); return REAL(read)(fd, to, n); }
ssize_t pread64(int fd, void *to, size_t n, off64_t at) { FAIL_IF(fault_at("read", fd)); return REAL(pread64)(fd, to, n, at); }
ssize_t write(int fd, const void *from, size_t n) { FAIL_IF(fault_at("write", fd)); return REAL(write)(fd, from, n); }
int fsync(int fd) { FAIL_IF(fault_at("fsync", fd)); return REAL(fsync)(fd); }
int rename(const char *from, const char *to) { FAIL_IF(fault("rename", to)); return REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { FAIL_IF(fault("mkdir", path)); return REAL(mkdir)(path, mode); }

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    FAIL_IF(fault("open", path));
    return REAL(open64)(path, flags, mode);
}
