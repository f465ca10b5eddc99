/* SPDX-License-Identifier: Apache-2.0 */
/* The CA's files: see store.h */
#include "control/identity/store.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "base/str.h"

static int fail(int err, char **ret_error, const char *dir, const char *file, const char *why, const char *next)
{
	*ret_error = str_printf("%s%s%s: %s: %s", dir, *file ? "/" : "", file, why, next);
	return err;
}

static int dir_make(const char *dir)
{
	_cleanup_(freep) char *path = strdup(dir);

	if (!path)
		return -ENOMEM;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int store_lock(const char *dir, int *ret_fd, char **ret_error)
{
	_cleanup_(fd_closep) int fd = -1;
	int r = dir_make(dir);

	if (r < 0)
		return fail(r, ret_error, dir, "", strerror(-r), "make the folder or choose another state directory");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return fail(-errno, ret_error, dir, "", strerror(errno), "the folder must be ours to read and lock");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* *ret stays NULL when the file is not there. */
static int file_open(const char *dir, const char *name, bool secret, FILE **ret, char **ret_error)
{
	_cleanup_(freep) char *path = str_printf("%s/%s", dir, name);
	_cleanup_(fd_closep) int fd = -1;
	struct stat st;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(-errno, ret_error, dir, name, strerror(errno), "the file must be ours to read");
	if (!S_ISREG(st.st_mode))
		return fail(-EINVAL, ret_error, dir, name, "not a regular file", "move it away");
	if (secret && (st.st_mode & 077))
		return fail(
			-EPERM, ret_error, dir, name, "others than its owner may read the key",
			"chmod 600 it if it never leaked, else remove key and certificate so that new ones are made");
	if (secret && st.st_uid != geteuid() && st.st_uid != 0)
		return fail(-EPERM, ret_error, dir, name, "the key belongs to another user", "chown it to ours");
	*ret = fdopen(fd, "r");
	if (!*ret)
		return -ENOMEM;
	(void)TAKE_FD(fd);
	return 0;
}

int store_load_key(const char *dir, EVP_PKEY **ret, char **ret_error)
{
	_cleanup_(file_closep) FILE *f = NULL;
	int r = file_open(dir, "ca.key", true, &f, ret_error);

	if (r < 0 || !f)
		return r;
	*ret = PEM_read_PrivateKey(f, NULL, NULL, (void *)""); /* an empty pass phrase: never ask on a terminal */
	ERR_clear_error();
	if (!*ret)
		return fail(-EINVAL, ret_error, dir, "ca.key", "no private key in PEM",
			    "restore it, or remove key and certificate so that new ones are made");
	return 0;
}

int store_load_cert(const char *dir, X509 **ret, char **ret_error)
{
	_cleanup_(file_closep) FILE *f = NULL;
	int r = file_open(dir, "ca.crt", false, &f, ret_error);

	if (r < 0 || !f)
		return r;
	*ret = PEM_read_X509(f, NULL, NULL, (void *)"");
	ERR_clear_error();
	if (!*ret)
		return fail(-EINVAL, ret_error, dir, "ca.crt", "no certificate in PEM",
			    "restore it, or remove it so that it is made again from the key");
	return 0;
}

/* Writes to a temporary file through @write, flushes and renames it. */
static int file_replace(const char *dir, const char *name, mode_t mode, bool (*write)(FILE *f, const void *what),
			const void *what, char **ret_error)
{
	_cleanup_(freep) char *path = str_printf("%s/%s", dir, name), *tmp = str_printf("%s/.%s.new", dir, name);
	_cleanup_(file_closep) FILE *f = NULL;
	int fd;

	if (!path || !tmp)
		return -ENOMEM;
	(void)unlink(tmp); /* of an earlier crash; we hold the lock */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return fail(-errno, ret_error, dir, name, strerror(errno), "the folder must be ours to write");
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	if (fchmod(fd, mode) < 0 || !write(f, what) || fflush(f) != 0 || fsync(fd) < 0 || rename(tmp, path) < 0) {
		int err = errno ? -errno : -EIO;

		(void)unlink(tmp);
		return fail(err, ret_error, dir, name, strerror(-err), "see that the disk is writable and not full");
	}
	return 0;
}

static bool write_key(FILE *f, const void *what)
{
	return PEM_write_PrivateKey(f, what, NULL, NULL, 0, NULL, NULL) == 1;
}

static bool write_text(FILE *f, const void *what)
{
	return fputs(what, f) >= 0;
}

int store_save_key(const char *dir, EVP_PKEY *key, char **ret_error)
{
	return file_replace(dir, "ca.key", 0600, write_key, key, ret_error);
}

int store_save_cert(const char *dir, const char *pem, char **ret_error)
{
	return file_replace(dir, "ca.crt", 0644, write_text, pem, ret_error);
}
