/* A Vulkan driver that takes its time to release a device, and crashes if the process takes it apart meanwhile, as real
 * ones do: preloaded, it stands between the program and the driver's vkDestroyDevice. NUWAVE_SLOW_DRIVER_MS is how long
 * that takes. A device that is gone leaves a line on stderr. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*function)(void);
typedef function (*lookup)(void *, const char *);

static lookup of_instance, of_device;
static void (*destroy)(void *, const void *);
static atomic_int inside;

static void destroy_slowly(void *device, const void *allocator) {
    const char *ms = getenv("NUWAVE_SLOW_DRIVER_MS");
    inside++;
    usleep(1000 * (ms ? atol(ms) : 0));
    destroy(device, allocator);
    inside--;
    if (write(2, "device destroyed\n", 17) < 0) {}
}

static function look_up_of_device(void *device, const char *name) {
    function found = of_device(device, name);
    if (found == NULL || strcmp(name, "vkDestroyDevice") != 0) return found;
    destroy = (void (*)(void *, const void *))found;
    return (function)destroy_slowly;
}

static function look_up_of_instance(void *instance, const char *name) {
    function found = of_instance(instance, name);
    if (found == NULL || strcmp(name, "vkGetDeviceProcAddr") != 0) return found;
    of_device = (lookup)found;
    return (function)look_up_of_device;
}

/* The program asks first; the loader then asks its drivers for functions of the same name. */
void *dlsym(void *handle, const char *name) {
    static void *(*real)(void *, const char *);
    /* It has been in two libraries. */
    if (real == NULL) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (real == NULL) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.17");
    if (real == NULL) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    void *found = real(handle, name);
    if (found == NULL || of_instance != NULL || strcmp(name, "vkGetInstanceProcAddr") != 0) return found;
    of_instance = (lookup)found;
    return (void *)look_up_of_instance;
}

__attribute__((destructor)) static void at_exit(void) {
    if (inside > 0) abort();
}
