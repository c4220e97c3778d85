// SPDX-License-Identifier: Apache-2.0
/*
 * Loaded before httpd (LD_PRELOAD): the boot-time clock and the wall clock of each process are ahead by the seconds
 * that stand in the file CLOCKS at that moment, as 8 bytes each. The module reads clocks past the C library, in the page
 * that the kernel maps into each process for that; the functions there are replaced. All other clocks are right, and so
 * are the times of files.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Of the boot-time clock, and of the wall clock. */
static const volatile int64_t *ahead;

static int read_clock(clockid_t clock, struct timespec *time)
{
    int outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && clock == CLOCK_BOOTTIME) time->tv_sec += ahead[0];
    if (outcome == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += ahead[1];
    return outcome;
}

static int read_time_of_day(struct timeval *time, void *zone)
{
    int outcome = syscall(SYS_gettimeofday, time, zone);
    if (outcome == 0 && time) time->tv_sec += ahead[1];
    return outcome;
}

static time_t read_time(time_t *time)
{
    struct timespec now;
    read_clock(CLOCK_REALTIME, &now);
    if (time) *time = now.tv_sec;
    return now.tv_sec;
}

/* A jump to `target`, whatever the distance. */
static size_t write_jump(unsigned char *code, const void *target)
{
#if defined(__x86_64__)
    /* movabs $target, %rax; jmp *%rax */
    memcpy(code, "\x48\xb8", 2);
    memcpy(code + 2, &target, 8);
    memcpy(code + 10, "\xff\xe0", 2);
    return 12;
#elif defined(__aarch64__)
    /* ldr x16, .+8; br x16 */
    const uint32_t jump[] = {0x58000050, 0xd61f0200};
    memcpy(code, jump, 8);
    memcpy(code + 8, &target, 8);
    return 16;
#else
#error "no jump for this processor"
#endif
}

static void fail(const char *what)
{
    perror(what);
    _exit(99);
}

/* The function of this name in the page of the kernel; `older` is its name on other processors. */
static void replace(void *kernels, const char *name, const char *older, const void *by, int must)
{
    unsigned char code[16], *function = NULL;
    uintptr_t page, size = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (kernels) function = dlsym(kernels, name);
    if (kernels && !function) function = dlsym(kernels, older);
    if (!function && !must) return;
    if (!function) fail(name);
    page = (uintptr_t)function & ~(size - 1);
    if (mprotect((void *)page, 2 * size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0
        && mprotect((void *)page, size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        fail(name);
    memcpy(function, code, write_jump(code, by));
    __builtin___clear_cache((char *)function, (char *)function + sizeof code);
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("CLOCKS");
    int input = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    void *kernels = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    /* Programs that a child starts cannot read it any more, and need not. */
    if (input < 0) return;
    ahead = mmap(NULL, 2 * sizeof *ahead, PROT_READ, MAP_SHARED, input, 0);
    if (ahead == MAP_FAILED) fail("CLOCKS");
    close(input);
    replace(kernels, "__vdso_clock_gettime", "__kernel_clock_gettime", (const void *)read_clock, 1);
    replace(kernels, "__vdso_gettimeofday", "__kernel_gettimeofday", (const void *)read_time_of_day, 1);
    /* Some processors have none. */
    replace(kernels, "__vdso_time", "__kernel_time", (const void *)read_time, 0);
}
