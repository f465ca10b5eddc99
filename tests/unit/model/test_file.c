/* SPDX-License-Identifier: Apache-2.0 */
/* A real folder, really watched: how editors, kubectl, slow writers and accidents change it, and what the model then
 * holds. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "control/source/file.h"
#include "policy_lib.h"

#define LATENCY_MAX_MS 100
#define PATIENCE_MS    4000 /* for what may be noticed on a slow round */

struct folder_bed {
	struct bed b;
	char root[64], dir[96];
	struct file_source *source;
};

static void path_make(const struct folder_bed *f, const char *name, char path[256])
{
	snprintf(path, 256, "%s/%s", f->dir, name);
}

static void file_write(const struct folder_bed *f, const char *name, const char *text)
{
	char path[256];
	int fd;

	path_make(f, name, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void file_rename(const struct folder_bed *f, const char *from, const char *to)
{
	char a[256], b[256];

	path_make(f, from, a);
	path_make(f, to, b);
	assert_int_equal(rename(a, b), 0);
}

static void file_remove(const struct folder_bed *f, const char *name)
{
	char path[256];

	path_make(f, name, path);
	assert_int_equal(unlink(path), 0);
}

static int on_walk(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void source_start(struct folder_bed *f)
{
	char *error = NULL;

	if (file_source_new(f->b.loop, f->dir, f->b.model, &f->source, &error) < 0)
		fail_msg("%s", error);
}

static void folder_bed_init(struct folder_bed *f)
{
	memset(f, 0, sizeof(*f));
	bed_init(&f->b);
	snprintf(f->root, sizeof(f->root), "/tmp/trammel-file-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->dir, sizeof(f->dir), "%s/policy", f->root);
	assert_int_equal(mkdir(f->dir, 0755), 0);
}

static void folder_bed_done(struct folder_bed *f)
{
	file_source_free(f->source);
	bed_done(&f->b);
	assert_int_equal(nftw(f->root, on_walk, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *svc(const char *name, unsigned int port)
{
	static char text[4][256];
	static int at;

	at = (at + 1) % 4;
	snprintf(text[at], sizeof(text[at]),
		 "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: %u}]}\n---\n", name, port);
	return text[at];
}

/* The one port of a service, 0 when there is no such service. */
static unsigned int port_of(const struct folder_bed *f, const char *name)
{
	const struct resource *r = model_resource_find(f->b.model, RESOURCE_SERVICE, "default", name);

	return r ? r->service.ports[0].port : 0;
}

static void run_ms(struct folder_bed *f, uint64_t ms)
{
	uint64_t end = clock_mono_ns() + ms * NS_PER_MS;

	while (clock_mono_ns() < end)
		assert_int_equal(loop_turn(f->b.loop, 2), 0);
}

/* Turns the loop until the service has @port; fails after @ms. */
static void wait_port(struct folder_bed *f, const char *name, unsigned int port, uint64_t ms)
{
	uint64_t start = clock_mono_ns();

	while (port_of(f, name) != port) {
		if (clock_mono_ns() - start > ms * NS_PER_MS) {
			complaints_print(f->b.model);
			fail_msg("%s has port %u, not %u, after %u ms", name, port_of(f, name), port, (unsigned int)ms);
		}
		assert_int_equal(loop_turn(f->b.loop, 2), 0);
	}
}

static void wait_complaints(struct folder_bed *f, size_t n, uint64_t ms)
{
	uint64_t start = clock_mono_ns();

	while (model_n_complaints(f->b.model) != n) {
		if (clock_mono_ns() - start > ms * NS_PER_MS) {
			complaints_print(f->b.model);
			fail_msg("%zu complaints, not %zu", model_n_complaints(f->b.model), n);
		}
		assert_int_equal(loop_turn(f->b.loop, 2), 0);
	}
}

static void start_reads_what_is_policy(void **state)
{
	struct folder_bed f;

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	file_write(&f, "b.yml", svc("b", 2));
	file_write(&f, "c.json",
		   "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"c\"},\n\"spec\": "
		   "{\"ports\": [{\"port\": 3}]}}");
	file_write(&f, ".hidden.yaml", svc("hidden", 1));
	file_write(&f, "note.txt", "hello");
	file_write(&f, "a.yaml~", svc("backup", 1));
	file_write(&f, "empty.yaml", "");
	source_start(&f);
	no_complaints(f.b.model);
	assert_int_equal(port_of(&f, "a"), 1);
	assert_int_equal(port_of(&f, "b"), 2);
	assert_int_equal(port_of(&f, "c"), 3);
	assert_int_equal(port_of(&f, "hidden") + port_of(&f, "backup"), 0);
	assert_int_equal(file_source_get_stats(f.source).files, 4);
	assert_int_equal(file_source_get_stats(f.source).documents, 3);
	folder_bed_done(&f);
}

static void never_existed_is_an_error(void **state)
{
	struct folder_bed f;
	char *error = NULL;

	folder_bed_init(&f);
	assert_int_equal(rmdir(f.dir), 0);
	assert_true(file_source_new(f.b.loop, f.dir, f.b.model, &f.source, &error) < 0);
	assert_non_null(strstr(error, f.dir));
	assert_non_null(strstr(error, "No such file"));
	free(error);
	/* nor is a file a folder */
	file_write(&(struct folder_bed){.dir = "/"}, f.dir, "");
	assert_true(file_source_new(f.b.loop, f.dir, f.b.model, &f.source, &error) < 0);
	assert_non_null(strstr(error, "Not a directory"));
	free(error);
	folder_bed_done(&f);
}

static void changes_take_effect_soon(void **state)
{
	struct file_source_stats st;
	struct folder_bed f;

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	source_start(&f);
	file_write(&f, "a.yaml", svc("a", 2)); /* in place */
	wait_port(&f, "a", 2, LATENCY_MAX_MS);
	file_write(&f, ".a.tmp", svc("a", 3)); /* renamed over */
	file_rename(&f, ".a.tmp", "a.yaml");
	wait_port(&f, "a", 3, LATENCY_MAX_MS);
	file_write(&f, "b.yaml", svc("b", 4)); /* new */
	wait_port(&f, "b", 4, LATENCY_MAX_MS);
	file_rename(&f, "b.yaml", "c.yaml"); /* another name: the same object */
	run_ms(&f, 60);
	assert_int_equal(port_of(&f, "b"), 4);
	file_remove(&f, "c.yaml");
	wait_port(&f, "b", 0, LATENCY_MAX_MS);
	no_complaints(f.b.model);
	st = file_source_get_stats(f.source);
	print_message("latency of the last change: %llu us\n", (unsigned long long)st.latency_us);
	assert_true(st.latency_us < LATENCY_MAX_MS * 1000);
	/* touched, not changed: nothing goes to the model */
	file_write(&f, "a.yaml", svc("a", 3));
	run_ms(&f, 60);
	assert_int_equal(file_source_get_stats(f.source).applies, st.applies);
	/* an editor that removes and writes anew: the object is never gone */
	file_remove(&f, "a.yaml");
	run_ms(&f, 10);
	assert_int_equal(port_of(&f, "a"), 3);
	file_write(&f, "a.yaml", svc("a", 5));
	wait_port(&f, "a", 5, LATENCY_MAX_MS);
	folder_bed_done(&f);
}

static void files_take_effect_together(void **state)
{
	struct folder_bed f;

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	file_write(&f, "b.yaml", svc("b", 1));
	source_start(&f);
	for (unsigned int i = 2; i < 12; i++) {
		file_write(&f, "a.yaml", svc("a", i));
		assert_int_equal(loop_turn(f.b.loop, 0), 0); /* a notice in between */
		file_write(&f, "b.yaml", svc("b", i));
		while (port_of(&f, "b") != i) {
			assert_int_equal(port_of(&f, "a"), port_of(&f, "b"));
			assert_int_equal(loop_turn(f.b.loop, 2), 0);
		}
		assert_int_equal(port_of(&f, "a"), i);
	}
	folder_bed_done(&f);
}

static void version_write(const struct folder_bed *f, const char *version, unsigned int port)
{
	char path[256];

	path_make(f, version, path);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/a.yaml", version);
	file_write(f, path, svc("a", port));
	snprintf(path, sizeof(path), "%s/b.yaml", version);
	file_write(f, path, svc("b", port));
}

/* As the kubelet mounts a ConfigMap: a.yaml -> ..data/a.yaml, ..data -> ..1, and ..data is swapped. */
static void links_swapped(void **state)
{
	char path[256];
	struct folder_bed f;

	folder_bed_init(&f);
	version_write(&f, "..1", 1);
	path_make(&f, "..data", path);
	assert_int_equal(symlink("..1", path), 0);
	path_make(&f, "a.yaml", path);
	assert_int_equal(symlink("..data/a.yaml", path), 0);
	path_make(&f, "b.yaml", path);
	assert_int_equal(symlink("..data/b.yaml", path), 0);
	source_start(&f);
	assert_int_equal(port_of(&f, "a"), 1);
	for (unsigned int i = 2; i < 6; i++) {
		char version[16];

		snprintf(version, sizeof(version), "..%u", i);
		version_write(&f, version, i);
		path_make(&f, "..data_tmp", path);
		assert_int_equal(symlink(version, path), 0);
		file_rename(&f, "..data_tmp", "..data");
		wait_port(&f, "a", i, LATENCY_MAX_MS);
		assert_int_equal(port_of(&f, "b"), i);
	}
	no_complaints(f.b.model);
	/* a link to nothing keeps what it was */
	path_make(&f, "..5/a.yaml", path);
	assert_int_equal(unlink(path), 0);
	file_write(&f, "c.yaml", svc("c", 1)); /* a notice: what happens behind links gives none */
	wait_complaints(&f, 1, LATENCY_MAX_MS);
	complaint_get(f.b.model, 1, "", "link to nothing");
	assert_true(model_complaint_at(f.b.model, 0)->kept_last_good);
	assert_int_equal(port_of(&f, "a"), 5);
	folder_bed_done(&f);
}

static void broken_file_keeps_its_last_good(void **state)
{
	const struct model_complaint *c;
	struct folder_bed f;
	char path[256], text[600];

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	file_write(&f, "b.yaml", svc("b", 1));
	source_start(&f);
	file_write(&f, "a.yaml", "kind: Service\n  bad: indent\n");
	file_write(&f, "b.yaml", svc("b", 2));
	wait_port(&f, "b", 2, LATENCY_MAX_MS); /* the other one goes on */
	assert_int_equal(port_of(&f, "a"), 1);
	assert_int_equal(model_n_complaints(f.b.model), 1);
	c = complaint_get(f.b.model, 2, "", "is not YAML");
	path_make(&f, "a.yaml", path);
	assert_string_equal(c->file, path);
	assert_true(c->kept_last_good);
	/* from one fault to another: still the last good one */
	file_write(&f, "a.yaml", "a: 1\na: 2\n");
	run_ms(&f, 60);
	complaint_get(f.b.model, 2, "", "is given twice");
	assert_int_equal(port_of(&f, "a"), 1);
	/* an object refused in a file that is fine */
	file_write(&f, "a.yaml", svc("a", 0));
	run_ms(&f, 60);
	c = complaint_get(f.b.model, 4, "spec.ports[0].port", "0 is not a port");
	assert_string_equal(c->object, "default/a");
	assert_int_equal(port_of(&f, "a"), 1);
	/* mended */
	file_write(&f, "a.yaml", svc("a", 3));
	wait_port(&f, "a", 3, LATENCY_MAX_MS);
	no_complaints(f.b.model);
	/* the broken file's object turns up in another file */
	file_write(&f, "a.yaml", "[");
	file_write(&f, "c.yaml", svc("a", 4));
	wait_port(&f, "a", 4, LATENCY_MAX_MS);
	assert_int_equal(model_n_complaints(f.b.model), 1);
	/* a broken file that is removed takes its objects along */
	file_remove(&f, "c.yaml");
	wait_port(&f, "a", 3, LATENCY_MAX_MS);
	file_remove(&f, "a.yaml");
	wait_port(&f, "a", 0, LATENCY_MAX_MS);
	no_complaints(f.b.model);
	/* JSON, with its line */
	snprintf(text, sizeof(text), "{\n\"kind\": }");
	file_write(&f, "d.json", text);
	wait_complaints(&f, 1, LATENCY_MAX_MS);
	complaint_get(f.b.model, 2, "", "is not JSON");
	folder_bed_done(&f);
}

static void unreadable_files(void **state)
{
	struct folder_bed f;
	char path[256], *big = malloc(YAML_FILE_MAX_BYTES + 100);

	assert_non_null(big);
	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	path_make(&f, "dir.yaml", path);
	assert_int_equal(mkdir(path, 0755), 0);
	path_make(&f, "pipe.yaml", path);
	assert_int_equal(mkfifo(path, 0644), 0);
	memset(big, '#', YAML_FILE_MAX_BYTES + 99);
	big[YAML_FILE_MAX_BYTES + 99] = '\0';
	file_write(&f, "big.yaml", big);
	source_start(&f);
	assert_int_equal(port_of(&f, "a"), 1);
	assert_int_equal(model_n_complaints(f.b.model), 3);
	assert_non_null(strstr(model_complaint_at(f.b.model, 0)->text, "is larger than"));
	assert_non_null(strstr(model_complaint_at(f.b.model, 1)->text, "is no regular file"));
	assert_non_null(strstr(model_complaint_at(f.b.model, 2)->text, "is no regular file"));
	file_write(&f, "a.yaml", big); /* was good, is too large */
	wait_complaints(&f, 4, LATENCY_MAX_MS);
	assert_int_equal(port_of(&f, "a"), 1);
	free(big);
	folder_bed_done(&f);
}

static void half_written_file_waits(void **state)
{
	struct folder_bed f;
	char path[256];
	int fd;

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	file_write(&f, "b.yaml", svc("b", 1));
	source_start(&f);
	path_make(&f, "b.yaml", path);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(write(fd, svc("x", 1), strlen(svc("x", 1))) > 0); /* good YAML, and not all of it */
	run_ms(&f, 300);
	assert_int_equal(port_of(&f, "b"), 1);
	assert_int_equal(port_of(&f, "x"), 0);
	assert_true(write(fd, svc("b", 2), strlen(svc("b", 2))) > 0);
	run_ms(&f, 50);
	assert_int_equal(port_of(&f, "b"), 1);
	close(fd);
	wait_port(&f, "b", 2, LATENCY_MAX_MS);
	assert_int_equal(port_of(&f, "x"), 1);
	/* a writer that never closes is not waited for for ever */
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(write(fd, svc("b", 3), strlen(svc("b", 3))) > 0);
	wait_port(&f, "b", 3, 2000);
	close(fd);
	folder_bed_done(&f);
}

static void folder_vanishes_and_returns(void **state)
{
	struct folder_bed f;
	char away[128];

	folder_bed_init(&f);
	file_write(&f, "a.yaml", svc("a", 1));
	file_write(&f, "bad.yaml", svc("bad", 0));
	source_start(&f);
	assert_int_equal(model_n_complaints(f.b.model), 1);
	snprintf(away, sizeof(away), "%s/away", f.root);
	assert_int_equal(rename(f.dir, away), 0);
	wait_complaints(&f, 2, PATIENCE_MS);
	assert_string_equal(model_complaint_at(f.b.model, 0)->file, f.dir);
	assert_true(model_complaint_at(f.b.model, 0)->kept_last_good);
	assert_true(file_source_get_stats(f.source).folder_missing);
	assert_int_equal(port_of(&f, "a"), 1);
	run_ms(&f, 300);
	assert_int_equal(port_of(&f, "a"), 1);
	assert_int_equal(rename(away, f.dir), 0);
	wait_complaints(&f, 1, PATIENCE_MS);
	assert_false(file_source_get_stats(f.source).folder_missing);
	/* the watch is back as well */
	file_write(&f, "a.yaml", svc("a", 2));
	wait_port(&f, "a", 2, LATENCY_MAX_MS);
	/* removed with all that is in it */
	assert_int_equal(nftw(f.dir, on_walk, 8, FTW_DEPTH | FTW_PHYS), 0);
	wait_complaints(&f, 2, PATIENCE_MS);
	assert_int_equal(port_of(&f, "a"), 2);
	/* made anew, empty: more likely not filled yet than a wish */
	assert_int_equal(mkdir(f.dir, 0755), 0);
	run_ms(&f, 300);
	assert_int_equal(port_of(&f, "a"), 2);
	assert_non_null(strstr(model_complaint_at(f.b.model, 0)->text, "empty folder"));
	file_write(&f, "a.yaml", svc("a", 3));
	wait_port(&f, "a", 3, LATENCY_MAX_MS);
	no_complaints(f.b.model);
	/* emptied file by file it is a wish */
	file_remove(&f, "a.yaml");
	wait_port(&f, "a", 0, LATENCY_MAX_MS);
	no_complaints(f.b.model);
	folder_bed_done(&f);
}

static void folder_is_a_link_that_is_swapped(void **state)
{
	struct folder_bed f;
	char one[128], two[128], tmp[128];

	folder_bed_init(&f);
	snprintf(one, sizeof(one), "%s/one", f.root);
	snprintf(two, sizeof(two), "%s/two", f.root);
	snprintf(tmp, sizeof(tmp), "%s/tmp", f.root);
	assert_int_equal(rename(f.dir, one), 0);
	assert_int_equal(symlink("one", f.dir), 0);
	file_write(&f, "a.yaml", svc("a", 1));
	source_start(&f);
	assert_int_equal(mkdir(two, 0755), 0);
	assert_int_equal(symlink("two", tmp), 0);
	{
		struct folder_bed other = {0};

		snprintf(other.dir, sizeof(other.dir), "%.90s", two);
		file_write(&other, "a.yaml", svc("a", 2));
	}
	assert_int_equal(rename(tmp, f.dir), 0);
	wait_port(&f, "a", 2, LATENCY_MAX_MS);
	file_write(&f, "a.yaml", svc("a", 3));
	wait_port(&f, "a", 3, LATENCY_MAX_MS);
	folder_bed_done(&f);
}

static void target_of_a_link_changes(void **state)
{
	struct folder_bed f, out = {0};
	char path[256], target[128];

	folder_bed_init(&f);
	snprintf(out.dir, sizeof(out.dir), "%s", f.root);
	file_write(&out, "elsewhere", svc("a", 1));
	snprintf(target, sizeof(target), "%s/elsewhere", f.root);
	path_make(&f, "a.yaml", path);
	assert_int_equal(symlink(target, path), 0);
	source_start(&f);
	assert_int_equal(port_of(&f, "a"), 1);
	file_write(&out, "elsewhere", svc("a", 2)); /* nobody tells: found on the next round */
	wait_port(&f, "a", 2, PATIENCE_MS);
	folder_bed_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_reads_what_is_policy),
		cmocka_unit_test(never_existed_is_an_error),
		cmocka_unit_test(changes_take_effect_soon),
		cmocka_unit_test(files_take_effect_together),
		cmocka_unit_test(links_swapped),
		cmocka_unit_test(broken_file_keeps_its_last_good),
		cmocka_unit_test(unreadable_files),
		cmocka_unit_test(half_written_file_waits),
		cmocka_unit_test(folder_vanishes_and_returns),
		cmocka_unit_test(folder_is_a_link_that_is_swapped),
		cmocka_unit_test(target_of_a_link_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
