/*
 * The minimum for every reader of cgroup files: the system calls of one sweep and nothing else. It parses nothing, stores
 * nothing, and gets its list of files beforehand.
 *
 *   loop PLAN held    every descriptor is held open, each read is one pread
 *   loop PLAN same    files that the agent opens for each read are opened here too: openat, pread, close
 *
 * PLAN has a line "D <directory>" for each directory, followed by a line "F <every> <offset> <phase> <held> <name>" for
 * each file in it: due in sweep n when (n + phase) % every == offset. Each line "<first> <sweeps>" on standard input is
 * answered by "<cpu ns> <wall ns> <preads> <read calls as counted by the kernel, or -1>" for sweeps first, first + 1, ...
 * Exits at the end of standard input.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct file {
    int fd;        /* -1: opened for each read */
    int directory; /* of those */
    unsigned every, offset, phase;
    char name[32];
};

static struct file *files;
static size_t count, room;
static char buffer[32 << 10];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The kernel's own count of this process's read calls; reading it is one of them. */
static long long counted(void) {
    static int fd = -2;
    char text[512];
    if (fd == -2) fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (length <= 0) return -1;
    text[length] = 0;
    char *found = strstr(text, "syscr: ");
    return found ? atoll(found + 7) : -1;
}

static void load(const char *path, int hold_all) {
    char line[4352], directory[4096] = "", whole[4352];
    int directory_fd = -1, held;
    FILE *plan = fopen(path, "r");
    if (!plan) fail(path);
    while (fgets(line, sizeof line, plan)) {
        if (line[0] == 'D') {
            sscanf(line + 2, "%4095s", directory);
            directory_fd = -1;
            continue;
        }
        if (count == room) {
            room = room ? room * 2 : 1024;
            files = realloc(files, room * sizeof *files);
            if (!files) fail("realloc");
        }
        struct file *file = &files[count++];
        if (sscanf(line, "F %u %u %u %d %31s", &file->every, &file->offset, &file->phase, &held, file->name) != 5) {
            fprintf(stderr, "not a line of a plan: %s", line);
            exit(1);
        }
        file->fd = -1;
        if (hold_all || held) {
            snprintf(whole, sizeof whole, "%s/%s", directory, file->name);
            file->fd = open(whole, O_RDONLY | O_CLOEXEC);
            if (file->fd < 0) fail(whole);
        } else {
            if (directory_fd < 0) directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (directory_fd < 0) fail(directory);
            file->directory = directory_fd;
        }
    }
    fclose(plan);
}

static long sweep(unsigned number) {
    long reads = 0;
    for (size_t place = 0; place < count; place++) {
        const struct file *file = &files[place];
        if ((number + file->phase) % file->every != file->offset) continue;
        int fd = file->fd;
        if (fd < 0) fd = openat(file->directory, file->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
        if (fd < 0 || pread(fd, buffer, sizeof buffer, 0) <= 0) fail(file->name);
        if (file->fd < 0) close(fd);
        reads++;
    }
    return reads;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    load(argv[1], strcmp(argv[2], "held") == 0);
    unsigned first, sweeps;
    while (scanf("%u %u", &first, &sweeps) == 2) {
        long reads = 0;
        long long calls = counted();
        long long cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
        for (unsigned number = first; number < first + sweeps; number++) reads += sweep(number);
        cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        wall = now(CLOCK_MONOTONIC) - wall;
        calls = calls < 0 ? -1 : counted() - calls - 1;
        printf("%lld %lld %ld %lld\n", cpu, wall, reads, calls);
        fflush(stdout);
    }
    return 0;
}
