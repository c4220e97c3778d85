// SPDX-License-Identifier: Apache-2.0
/*
 * Loaded before httpd (LD_PRELOAD): writes a line for each function or object of the module that httpd's parent hands to a
 * library that outlives the module, and for each thread of the module that is left where a child has torn OpenSSL down. It
 * never lets go of the library that PRELOAD_PIN names, and with PRELOAD_HANG no name lookup of a child ever ends. With
 * PRELOAD_NO_MEMORY_FILES there are none, as the system can be set up (vm.memfd_noexec). The module gets no thread in
 * children as long as there is the file PRELOAD_NO_THREADS. The clock that it reads is PRELOAD_AHEAD seconds ahead; that of everything else in httpd is right.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pid_t parent;
static int output = -1;
static long ahead;
static __thread int is_busy;

/* The first bytes of a file of this thread; -1: it has ended. */
static long of_thread(const char *thread, const char *file, char *text, long size)
{
    char path[64];
    int input;
    long read_in;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/%s", thread, file);
    input = open(path, O_RDONLY | O_CLOEXEC);
    read_in = input < 0 ? -1 : read(input, text, size - 1);
    if (input >= 0) close(input);
    if (read_in >= 0) text[read_in] = 0;
    return read_in;
}

/* The threads of the module: how many there are, how many of them sleep, and the time that they have run, in ticks. */
struct threads {
    int all, asleep;
    long ran;
};

static void add(struct threads *threads, const char *thread)
{
    char stat[512];
    const char *at;
    int field;
    /* PID (NAME) STATE …: the fourteenth and fifteenth are the times in user and in kernel mode. */
    if (of_thread(thread, "stat", stat, sizeof stat) <= 0 || !(at = strrchr(stat, ')'))) return;
    threads->all++;
    for (field = 3; field <= 15 && (at = strchr(at, ' ')); field++) {
        at++;
        if (field == 3) threads->asleep += *at == 'S';
        if (field >= 14) threads->ran += atol(at);
    }
}

/* is_last: notes each. */
static struct threads threads_left(int is_last)
{
    struct threads threads = {0, 0, 0};
    char entries[4096], name[32], line[64];
    struct dirent64 *entry;
    long length, at;
    int tasks;
    tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (tasks >= 0 && (length = syscall(SYS_getdents64, tasks, entries, sizeof entries)) > 0) {
        for (at = 0; at < length; at += entry->d_reclen) {
            long read_in;
            entry = (struct dirent64 *)(entries + at);
            read_in = of_thread(entry->d_name, "comm", name, sizeof name);
            if (read_in < 4 || strncmp(name, "md-", 3) != 0) continue;
            name[read_in - 1] = 0;
            /* Waits for reports, and while it has none there is nothing of OpenSSL that it touches. */
            if (strncmp(name, "md-ocsp-tell", 12) == 0) continue;
            add(&threads, entry->d_name);
            if (!is_last) continue;
            if (write(output, line, snprintf(line, sizeof line, "OPENSSL_cleanup-beside-%s\n", name)) < 0) _exit(99);
        }
    }
    if (tasks >= 0) close(tasks);
    return threads;
}

/* May run in a signal handler: no memory is asked for. A thread that the module does not count any more has done all it
 * does, and is in the C library on its way out, where a busy machine may let it wait for its turn. So looks count only if a
 * thread sleeps or has run since the one before. */
static void end(void)
{
    const struct timespec moment = {0, 10 * 1000 * 1000};
    struct threads before = {0, 0, 0}, now;
    int counted = 0, looks;
    if (output < 0 || getpid() == parent) return;
    for (looks = 0; looks < 3000 && counted < 2; looks++) {
        now = threads_left(0);
        if (now.all == 0) return;
        counted += now.asleep > 0 || (looks > 0 && now.ran > before.ran);
        before = now;
        nanosleep(&moment, NULL);
    }
    threads_left(1);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PRELOAD_LOG");
    const char *pin = getenv("PRELOAD_PIN");
    const char *seconds = getenv("PRELOAD_AHEAD");
    void *ignored[1];
    parent = getpid();
    if (seconds) ahead = atol(seconds);
    /* Before that of OpenSSL, so it runs after it. */
    atexit(end);
    if (path) output = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    /* Has what it needs loaded before anybody asks. */
    backtrace(ignored, 1);
    if (pin) dlopen(pin, RTLD_LAZY | RTLD_NODELETE);
}

static int is_of_module(const void *address)
{
    Dl_info info;
    const char *file;
    if (!address || !dladdr(address, &info) || !info.dli_fname) return 0;
    file = strrchr(info.dli_fname, '/');
    return strncmp(file ? file + 1 : info.dli_fname, "mod_md", 6) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && ahead && clock == CLOCK_REALTIME && is_of_module(__builtin_return_address(0)))
        time->tv_sec += ahead;
    return outcome;
}

/* This was handed to `what`. */
static void note(const char *what, int count, ...)
{
    va_list list;
    int is_ours = 0;
    if (output < 0 || getpid() != parent || is_busy) return;
    is_busy = 1;
    va_start(list, count);
    while (count-- > 0) is_ours |= is_of_module(va_arg(list, const void *));
    va_end(list);
    if (is_ours) {
        void *frames[40];
        char line[4096];
        int depth = backtrace(frames, 40), length = snprintf(line, sizeof line, "%s", what);
        for (int i = 1; i < depth && length < 3900; i++) {
            Dl_info info;
            if (dladdr(frames[i], &info) && info.dli_fname)
                length += snprintf(line + length, sizeof line - length, " %s+0x%lx", info.dli_fname,
                                   (unsigned long)((char *)frames[i] - (char *)info.dli_fbase - 1));
        }
        line[length++] = '\n';
        if (write(output, line, length) < 0) _exit(99);
    }
    is_busy = 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REAL_AS(type, name) ((type)dlsym(RTLD_NEXT, #name))

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    while (getpid() != parent && getenv("PRELOAD_HANG")) pause();
    return REAL(getaddrinfo)(node, service, hints, result);
}

int memfd_create(const char *name, unsigned int flags)
{
    if (getenv("PRELOAD_NO_MEMORY_FILES")) {
        errno = EACCES;
        return -1;
    }
    return REAL(memfd_create)(name, flags);
}

/* Keeps the library of `handle` until the thread ends: the main thread never does. */
int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *handle)
{
    if (getpid() == (pid_t)syscall(SYS_gettid)) note("__cxa_thread_atexit_impl", 2, function, handle);
    return REAL_AS(int (*)(void (*)(void *), void *, void *), __cxa_thread_atexit_impl)(function, object, handle);
}

/* With the handle of a library it is called when that is unloaded; without one, at the end of the process. */
int __cxa_atexit(void (*function)(void *), void *object, void *handle)
{
    if (!is_of_module(handle)) note("__cxa_atexit", 1, function);
    return REAL_AS(int (*)(void (*)(void *), void *, void *), __cxa_atexit)(function, object, handle);
}

int on_exit(void (*function)(int, void *), void *argument)
{
    note("on_exit", 2, function, argument);
    return REAL(on_exit)(function, argument);
}

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    note("pthread_key_create", 1, destructor);
    return REAL(pthread_key_create)(key, destructor);
}

/* Children inherit that there was a thread: malloc takes its lock from then on, in signal handlers as well. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    const char *refusal = getenv("PRELOAD_NO_THREADS");
    if (refusal && getpid() != parent && is_of_module((void *)start) && access(refusal, F_OK) == 0) return EAGAIN;
    note("pthread_create", 1, (void *)start);
    return REAL(pthread_create)(thread, attributes, start, argument);
}

int __register_atfork(void (*prepare)(void), void (*in_parent)(void), void (*in_child)(void), void *handle)
{
    if (!is_of_module(handle)) note("pthread_atfork", 3, prepare, in_parent, in_child);
    return REAL_AS(int (*)(void (*)(void), void (*)(void), void (*)(void), void *), __register_atfork)(
        prepare, in_parent, in_child, handle);
}

int sigaction(int signal, const struct sigaction *action, struct sigaction *before)
{
    if (action) note("sigaction", 1, (void *)action->sa_handler);
    return REAL(sigaction)(signal, action, before);
}

/* OpenSSL keeps these for ever. Its headers are not needed. */
int CRYPTO_get_ex_new_index(int class, long argl, void *argp, void *new_func, void *dup_func, void *free_func)
{
    note("CRYPTO_get_ex_new_index", 4, argp, new_func, dup_func, free_func);
    return REAL_AS(int (*)(int, long, void *, void *, void *, void *), CRYPTO_get_ex_new_index)(
        class, argl, argp, new_func, dup_func, free_func);
}

int OPENSSL_atexit(void (*function)(void))
{
    note("OPENSSL_atexit", 1, function);
    return REAL_AS(int (*)(void (*)(void)), OPENSSL_atexit)(function);
}

int CRYPTO_set_mem_functions(void *allocate, void *again, void *release)
{
    note("CRYPTO_set_mem_functions", 3, allocate, again, release);
    return REAL_AS(int (*)(void *, void *, void *), CRYPTO_set_mem_functions)(allocate, again, release);
}

/* The functions come later; who calls it tells enough. */
void *BIO_meth_new(int type, const char *name)
{
    note("BIO_meth_new", 2, name, __builtin_return_address(0));
    return REAL_AS(void *(*)(int, const char *), BIO_meth_new)(type, name);
}

int ERR_load_strings(int library, void *strings)
{
    note("ERR_load_strings", 1, strings);
    return REAL_AS(int (*)(int, void *), ERR_load_strings)(library, strings);
}
