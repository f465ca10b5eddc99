/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders of files, without libFuzzer
 *
 * Exits 1 when a file cannot be read or there was none: an empty corpus tests nothing.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static unsigned n_run;

/* In memory of exactly its size, so that a read beyond it is seen. */
static int run_file(const char *path, size_t n)
{
	FILE *f = fopen(path, "re");
	uint8_t *bytes = malloc(n ? n : 1);
	size_t got;

	if (!f || !bytes) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	got = fread(bytes, 1, n, f);
	fclose(f);
	if (got == n) {
		LLVMFuzzerTestOneInput(bytes, n);
		n_run++;
	}
	free(bytes);
	return got == n ? 0 : -1;
}

static int run_path(const char *path)
{
	struct dirent *e;
	struct stat st;
	char *inner;
	int r = 0;
	DIR *d;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path, (size_t)st.st_size);
	d = opendir(path);
	while (d && r == 0 && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (asprintf(&inner, "%s/%s", path, e->d_name) < 0)
			abort();
		r = run_path(inner);
		free(inner);
	}
	if (d)
		closedir(d);
	return r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (run_path(argv[i]) < 0)
			return 1;
	printf("%u inputs\n", n_run);
	return n_run ? 0 : 1;
}
