/* SPDX-License-Identifier: Apache-2.0 */
/* One reading of a folder: see folder.h. */
#include "control/source/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "control/source/file.h"
#include "control/source/yaml.h"

struct name_list {
	char **items;
	size_t n, cap;
};

static void name_list_done(struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct name_list){0};
}

static void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}

bool folder_name_is_policy(const char *name)
{
	struct str s = str_from(name);

	return name[0] != '.' && (str_ends(s, STR(".yaml")) || str_ends(s, STR(".yml")) || str_ends(s, STR(".json")));
}

static int name_add(struct name_list *l, const char *name)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		char **items = reallocarray(l->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n] = strdup(name);
	return l->items[l->n] ? (l->n++, 0) : -ENOMEM;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int refuse(char **ret_why, char *why)
{
	if (!why)
		return -ENOMEM;
	free(*ret_why);
	*ret_why = why;
	return FOLDER_E_REFUSED;
}

/* Opens @dir and lists its policy files; *@ret_fd is the folder. */
static int names_read(const char *dir, struct name_list *ret, int *ret_fd, char **ret_why)
{
	_cleanup_(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), own = -1;
	_cleanup_(dir_closep) DIR *d = NULL;
	const struct dirent *e;
	int r;

	if (fd < 0)
		return refuse(ret_why, str_printf("cannot be opened: %s", strerror(errno)));
	own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = own < 0 ? NULL : fdopendir(own);
	if (!d)
		return refuse(ret_why, str_printf("cannot be read: %s", strerror(errno)));
	own = -1; /* closed with the stream */
	while (errno = 0, (e = readdir(d))) {
		if (!folder_name_is_policy(e->d_name))
			continue;
		if (ret->n == FILE_SOURCE_FILES_MAX)
			return refuse(ret_why,
				      str_printf("holds more than %d policy files: join some", FILE_SOURCE_FILES_MAX));
		r = name_add(ret, e->d_name);
		if (r < 0)
			return r;
	}
	if (errno)
		return refuse(ret_why, str_printf("cannot be read: %s", strerror(errno)));
	if (ret->n > 1)
		qsort(ret->items, ret->n, sizeof(*ret->items), name_compare);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int bytes_read(int fd, struct folder_file *f)
{
	size_t cap = (size_t)MIN(f->st.st_size, (off_t)YAML_FILE_MAX_BYTES) + 1;

	f->bytes = malloc(cap);
	if (!f->bytes)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, f->bytes + f->n_bytes, cap - f->n_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		f->n_bytes += (size_t)n;
		if (n == 0)
			return 0;
		if (f->n_bytes > YAML_FILE_MAX_BYTES)
			return EFBIG;
		if (f->n_bytes == cap) { /* grew since it was looked at */
			char *more = realloc(f->bytes, cap * 2);

			if (!more)
				return -ENOMEM;
			f->bytes = more;
			cap *= 2;
		}
	}
}

/* Fills @f; a reason why it cannot be read is part of what it holds. */
static int file_read(int dir_fd, struct folder_file *f)
{
	/* O_NONBLOCK: a pipe under a policy name must not hold us up. */
	_cleanup_(fd_closep) int fd = openat(dir_fd, f->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ENOENT)
		f->why = strdup("is a link to nothing: restore what it points to, or remove it");
	else if (fd < 0 || fstat(fd, &f->st) < 0)
		f->why = str_printf("cannot be read: %s", strerror(errno));
	else if (!S_ISREG(f->st.st_mode))
		f->why = strdup("is no regular file: remove it, or give it another name");
	if (f->why)
		return 0;
	if (fd < 0 || !S_ISREG(f->st.st_mode))
		return -ENOMEM;
	r = f->st.st_size > YAML_FILE_MAX_BYTES ? EFBIG : bytes_read(fd, f);
	if (r == 0)
		return 0;
	free(f->bytes);
	f->bytes = NULL;
	f->n_bytes = 0;
	if (r < 0)
		return r;
	f->why = r == EFBIG ? str_printf("is larger than %d bytes: split it", YAML_FILE_MAX_BYTES)
			    : str_printf("cannot be read: %s", strerror(r));
	return f->why ? 0 : -ENOMEM;
}

static int files_read(const char *dir, int dir_fd, const struct name_list *names, struct folder *f, char **ret_why)
{
	size_t total = 0;
	int r = 0;

	f->files = calloc(names->n + 1, sizeof(*f->files));
	if (!f->files)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < names->n; i++) {
		struct folder_file *file = &f->files[f->n++];

		file->name = strdup(names->items[i]);
		file->path = str_printf("%s/%s", dir, names->items[i]);
		r = file->name && file->path ? file_read(dir_fd, file) : -ENOMEM;
		total += file->n_bytes;
		if (r == 0 && total > FILE_SOURCE_MAX_BYTES)
			r = refuse(ret_why, str_printf("holds more than %d bytes of policy: take some out",
						       FILE_SOURCE_MAX_BYTES));
	}
	return r;
}

int folder_read(const char *dir, struct folder *ret, char **ret_why)
{
	_cleanup_(fd_closep) int fd = -1;
	struct name_list names = {0};
	struct folder f = {0};
	int r = names_read(dir, &names, &fd, ret_why);

	if (r == 0 && fstat(fd, &f.st) < 0)
		r = refuse(ret_why, str_printf("cannot be read: %s", strerror(errno)));
	if (r == 0)
		r = files_read(dir, fd, &names, &f, ret_why);
	name_list_done(&names);
	if (r)
		folder_done(&f);
	else
		*ret = f;
	return r;
}

void folder_done(struct folder *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->files[i].name);
		free(f->files[i].path);
		free(f->files[i].bytes);
		free(f->files[i].why);
		free(f->files[i].good);
	}
	free(f->files);
	*f = (struct folder){0};
}

static bool stat_is_equal(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool folder_is_as_read(const char *dir, const struct folder *f)
{
	_cleanup_(freep) char *why = NULL;
	_cleanup_(fd_closep) int fd = -1;
	struct name_list names = {0};
	bool same = names_read(dir, &names, &fd, &why) == 0 && names.n == f->n;
	struct stat st;

	if (same)
		same = fstat(fd, &st) == 0 && st.st_dev == f->st.st_dev && st.st_ino == f->st.st_ino;
	for (size_t i = 0; same && i < f->n; i++) {
		same = strcmp(names.items[i], f->files[i].name) == 0;
		if (same && fstatat(fd, names.items[i], &st, 0) < 0)
			same = f->files[i].st.st_ino == 0; /* could not be looked at before either */
		else if (same)
			same = stat_is_equal(&st, &f->files[i].st);
	}
	name_list_done(&names);
	return same;
}

bool folder_is_equal(const struct folder *a, const struct folder *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct folder_file *x = &a->files[i], *y = &b->files[i];

		if (strcmp(x->name, y->name) != 0 || !x->bytes != !y->bytes || x->n_bytes != y->n_bytes ||
		    (x->n_bytes && memcmp(x->bytes, y->bytes, x->n_bytes) != 0) ||
		    (x->why && y->why && strcmp(x->why, y->why) != 0))
			return false;
	}
	return true;
}

static int file_compare(const void *key, const void *item)
{
	return strcmp(key, ((const struct folder_file *)item)->name);
}

struct folder_file *folder_find(const struct folder *f, const char *name)
{
	return f->n ? bsearch(name, f->files, f->n, sizeof(*f->files), file_compare) : NULL;
}
