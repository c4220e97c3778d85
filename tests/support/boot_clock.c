// SPDX-License-Identifier: Apache-2.0
/*
 * Loaded before httpd (LD_PRELOAD): the boot-time clock of each process is ahead by the seconds that stand in the file
 * BOOT_CLOCK at that moment, as 8 bytes. The module reads that clock past the C library, in the page that the kernel
 * maps into each process for that; the function there is replaced. All other clocks are right.
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
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

static int read_clock(clockid_t clock, struct timespec *time)
{
    int outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && clock == CLOCK_BOOTTIME) time->tv_sec += *ahead;
    return outcome;
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

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("BOOT_CLOCK");
    int input = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    unsigned char code[16], *function = NULL;
    uintptr_t page, size = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *kernels = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    /* Programs that a child starts cannot read it any more, and need not. */
    if (input < 0) return;
    ahead = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, input, 0);
    if (ahead == MAP_FAILED) fail("BOOT_CLOCK");
    close(input);
    if (kernels) function = dlsym(kernels, "__vdso_clock_gettime");
    if (kernels && !function) function = dlsym(kernels, "__kernel_clock_gettime");
    if (!function) fail("the kernel's clock_gettime");
    page = (uintptr_t)function & ~(size - 1);
    if (mprotect((void *)page, 2 * size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0
        && mprotect((void *)page, size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        fail("the kernel's clock_gettime, to be replaced");
    memcpy(function, code, write_jump(code, (const void *)read_clock));
    __builtin___clear_cache((char *)function, (char *)function + sizeof code);
}
