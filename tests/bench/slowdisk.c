/* A disk whose flush takes its time: one file in memory, for a loop device with a file system on it.
 *
 *   apt-get install libfuse3-dev fuse3 pkg-config gcc
 *   gcc -O2 -o /tmp/slowdisk tests/bench/slowdisk.c $(pkg-config --cflags --libs fuse3)
 *   mkdir /tmp/slow /tmp/mnt && echo 1000 > /tmp/slowdisk.us
 *   SLOWDISK_BACKING=/dev/shm/slowdisk SLOWDISK_US=/tmp/slowdisk.us /tmp/slowdisk /tmp/slow
 *   losetup --direct-io=on -f --show /tmp/slow/disk    # /dev/loop0, say
 *   mkfs.ext4 -q /dev/loop0 && mount /dev/loop0 /tmp/mnt
 *
 * Every flush waits for as many microseconds as SLOWDISK_US says at that moment; reading and writing do not wait. Flushes that come
 * while one is on its way are one, as with a real disk: that is the kernel's doing. At the end: umount, losetup -d, fusermount3 -u. */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OCTETS (3L << 30)

static int backing;

static long microseconds(void)
{
    const char *path = getenv("SLOWDISK_US");
    FILE *file = path ? fopen(path, "r") : NULL;
    long value = 0;
    if (file) {
        if (fscanf(file, "%ld", &value) != 1)
            value = 0;
        fclose(file);
    }
    return value;
}

static int disk_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    if (!strcmp(path, "/")) {
        memset(status, 0, sizeof *status);
        status->st_mode = S_IFDIR | 0755;
        status->st_nlink = 2;
        return 0;
    }
    if (strcmp(path, "/disk"))
        return -ENOENT;
    return fstat(backing, status) ? -errno : 0;
}

static int disk_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                        enum fuse_readdir_flags flags)
{
    fill(buffer, "disk", NULL, 0, 0);
    return 0;
}

static int disk_open(const char *path, struct fuse_file_info *info)
{
    return strcmp(path, "/disk") ? -ENOENT : 0;
}

static int disk_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
    ssize_t got = pread(backing, buffer, size, offset);
    return got < 0 ? -errno : (int)got;
}

static int disk_write(const char *path, const char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
    ssize_t put = pwrite(backing, buffer, size, offset);
    return put < 0 ? -errno : (int)put;
}

static int disk_fsync(const char *path, int data, struct fuse_file_info *info)
{
    long wait = microseconds();
    struct timespec time = {wait / 1000000, wait % 1000000 * 1000};
    if (wait > 0)
        nanosleep(&time, NULL);
    return 0;
}

static void *disk_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    config->kernel_cache = 1;
    config->attr_timeout = config->entry_timeout = 3600;
    connection->max_write = 1 << 20;
    return NULL;
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr, .readdir = disk_readdir, .open = disk_open, .read = disk_read,
    .write = disk_write, .fsync = disk_fsync, .init = disk_init,
};

int main(int count, char **words)
{
    const char *path = getenv("SLOWDISK_BACKING");
    backing = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (backing < 0 || ftruncate(backing, OCTETS)) {
        fprintf(stderr, "slowdisk: SLOWDISK_BACKING must name a file that can be written\n");
        return 1;
    }
    return fuse_main(count, words, &operations, NULL);
}
