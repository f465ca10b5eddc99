/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watched folder of policy: see file.h
 *
 * notice (inotify, or a slow look round) -> wait until it is quiet -> read until two looks agree -> parse -> one set to
 * the model. What guards a half-made change: a short pause after every notice; no reading while a file is written to
 * and not yet closed; a second look before files are taken for deleted; the reading is repeated if anything moved
 * meanwhile.
 */
#include "control/source/file.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "control/source/folder.h"
#include "control/source/yaml.h"

#define QUIET_MS           4    /* after the last notice */
#define QUIET_MAX_MS       30   /* after the first */
#define SHRINK_MS          25   /* files that are gone must still be gone after this */
#define WRITER_PATIENCE_MS 1000 /* a file that stays open this long after its last write is taken as it is */
#define ROUND_MS           2000 /* look round for what inotify does not tell: mounts, links, links' targets */
#define MISSING_ROUND_MS   200  /* the same while the folder is missing */
#define RETRY_MS           1000 /* after memory was out */
#define READS_MAX          4    /* in one scan, before it is put off */
#define WRITERS_MAX        64

#define WATCH_FOLDER                                                                                    \
	(IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define WATCH_PARENT (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_ONLYDIR)

/* A file that was written to and not closed since. */
struct writer {
	char name[NAME_MAX + 1];
	uint64_t last_ns;
};

struct file_source {
	struct loop *loop;
	struct model *model;
	char *dir, *parent, *base; /* parent: NULL when @dir has none to watch */
	int inotify_fd, wd_dir, wd_parent;
	struct loop_io io;
	struct loop_timer scan_timer, round_timer;
	uint64_t first_notice_ns; /* 0: nothing is due */
	struct writer writers[WRITERS_MAX];
	size_t n_writers;
	bool shrink_confirmed;
	bool folder_lost;   /* the folder we knew is no longer there: what bears its name is another one (inode numbers
			       come again) */
	struct folder last; /* as it was last given to the model */
	char *missing_why;  /* the folder cannot be read now */
	struct file_source_stats stats;
};

static void scan_timer_set(struct file_source *s, uint64_t delay_ms);

/* Notices */

static void writer_remove(struct file_source *s, const char *name)
{
	for (size_t i = 0; i < s->n_writers; i++)
		if (strcmp(s->writers[i].name, name) == 0) {
			s->writers[i] = s->writers[--s->n_writers];
			return;
		}
}

static void writer_add(struct file_source *s, const char *name)
{
	struct writer *w;

	writer_remove(s, name);
	if (s->n_writers == WRITERS_MAX || strlen(name) > NAME_MAX)
		return;
	w = &s->writers[s->n_writers++];
	memcpy(w->name, name, strlen(name) + 1);
	w->last_ns = clock_mono_ns();
}

/* How long the scan has to wait for files that are being written; 0 when it need not. */
static uint64_t writers_wait_ms(struct file_source *s)
{
	uint64_t now = clock_mono_ns(), wait_ms = 0;

	for (size_t i = 0; i < s->n_writers;) {
		uint64_t age_ms = (now - s->writers[i].last_ns) / NS_PER_MS;

		if (age_ms >= WRITER_PATIENCE_MS) {
			s->writers[i] = s->writers[--s->n_writers];
			continue;
		}
		wait_ms = MAX(wait_ms, WRITER_PATIENCE_MS - age_ms);
		i++;
	}
	return wait_ms;
}

/* Returns whether the event can have to do with the policy. */
static bool event_note(struct file_source *s, const struct inotify_event *ev)
{
	const char *name = ev->len ? ev->name : "";

	if (ev->mask & IN_Q_OVERFLOW) {
		s->n_writers = 0;
		return true;
	}
	if (ev->wd == s->wd_parent && ev->wd != s->wd_dir)
		return strcmp(name, s->base) == 0;
	if (ev->wd != s->wd_dir)
		return false;
	if (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED))
		s->folder_lost = true;
	if (ev->mask & IN_IGNORED)
		s->wd_dir = -1;
	if ((ev->mask & IN_MODIFY) && folder_name_is_policy(name))
		writer_add(s, name);
	else if (ev->mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
		writer_remove(s, name);
	return true;
}

/* Takes all waiting events; returns whether one mattered. */
static bool events_drain(struct file_source *s)
{
	char mem[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool mattered = false;
	ssize_t n;

	while ((n = read(s->inotify_fd, mem, sizeof(mem))) > 0)
		for (char *p = mem; p < mem + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)p;

			mattered |= event_note(s, ev);
			p += sizeof(*ev) + ev->len;
		}
	return mattered;
}

static void scan_request(struct file_source *s)
{
	uint64_t now = clock_mono_ns(), waited_ms;

	if (!s->first_notice_ns)
		s->first_notice_ns = now;
	waited_ms = (now - s->first_notice_ns) / NS_PER_MS;
	scan_timer_set(s, waited_ms + QUIET_MS > QUIET_MAX_MS ? 0 : QUIET_MS);
}

static void on_inotify(struct loop_io *io, uint32_t revents)
{
	struct file_source *s = container_of(io, struct file_source, io);

	if (events_drain(s))
		scan_request(s);
}

/* Idempotent: the same folder gives the same watch, another one under the name a new one. */
static void watch_refresh(struct file_source *s)
{
	int wd = inotify_add_watch(s->inotify_fd, s->dir, WATCH_FOLDER);

	if (wd != s->wd_dir && s->wd_dir >= 0)
		(void)inotify_rm_watch(s->inotify_fd,
				       s->wd_dir); /* fails when the folder is gone: nothing to do then */
	s->wd_dir = wd;
	if (s->parent)
		s->wd_parent = inotify_add_watch(s->inotify_fd, s->parent, WATCH_PARENT);
}

/* Applying */

struct set {
	struct yaml_file *parsed; /* two for each file: as it is, as it was good */
	struct model_document *documents;
	struct model_fault *faults;
	struct yaml_error *errors; /* of faults */
	size_t n_parsed, n_documents, n_faults;
};

static void set_done(struct set *set)
{
	for (size_t i = 0; i < set->n_parsed; i++)
		yaml_file_done(&set->parsed[i]);
	free(set->parsed);
	free(set->documents);
	free(set->faults);
	free(set->errors);
}

static int bytes_parse(const struct folder_file *f, const char *bytes, size_t n, struct yaml_file *ret,
		       struct yaml_error *error)
{
	struct str s = {bytes ? bytes : "", n};

	return str_ends(str_from(f->name), STR(".json")) ? yaml_parse_json(s, ret, error) : yaml_parse(s, ret, error);
}

static int file_parse(struct set *set, struct folder_file *f)
{
	struct yaml_file *now = &set->parsed[set->n_parsed++], *good = &set->parsed[set->n_parsed++];
	struct yaml_error *error = &set->errors[set->n_faults], ignored;
	int r = YAML_E_REFUSED;

	*error = (struct yaml_error){.line = 1};
	if (f->bytes)
		r = bytes_parse(f, f->bytes, f->n_bytes, now, error);
	if (r < 0)
		return r;
	f->broken = r == YAML_E_REFUSED;
	if (!f->broken) {
		free(f->good);
		f->good = NULL;
		return 0;
	}
	set->faults[set->n_faults++] = (struct model_fault){.place = {f->path, error->line},
							    .field = "",
							    .text = f->why ? f->why : error->text,
							    .kept_last_good = f->good != NULL};
	r = f->good ? bytes_parse(f, f->good, f->n_good, good, &ignored) : 0;
	return r < 0 ? r : 0;
}

static int documents_collect(struct set *set, const struct folder *folder)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n_parsed; i++)
		n += set->parsed[i].n;
	set->documents = calloc(n + 1, sizeof(*set->documents));
	if (!set->documents)
		return -ENOMEM;
	for (size_t i = 0; i < set->n_parsed; i++)
		for (size_t k = 0; k < set->parsed[i].n; k++) {
			const struct yaml_document *d = &set->parsed[i].documents[k];

			set->documents[set->n_documents++] =
				(struct model_document){.root = d->root,
							.lines = &d->lines,
							.place = {folder->files[i / 2].path, d->line},
							.stale = i % 2};
		}
	return 0;
}

/* Hands s->last to the model; also again, when only the folder's own fault has come or gone. */
static int set_apply(struct file_source *s)
{
	struct folder *f = &s->last;
	struct set set = {.parsed = calloc(f->n * 2 + 1, sizeof(*set.parsed)),
			  .faults = calloc(f->n + 1, sizeof(*set.faults)),
			  .errors = calloc(f->n + 1, sizeof(*set.errors))};
	int r = set.parsed && set.faults && set.errors ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < f->n; i++)
		r = file_parse(&set, &f->files[i]);
	if (r == 0)
		r = documents_collect(&set, f);
	if (r == 0 && s->missing_why)
		set.faults[set.n_faults++] = (struct model_fault){
			.place = {s->dir, 0}, .field = "", .text = s->missing_why, .kept_last_good = f->n > 0};
	if (r == 0)
		r = model_apply_set(s->model, FILE_SOURCE_ORIGIN,
				    &(struct model_set){set.documents, set.n_documents, set.faults, set.n_faults});
	if (r == 0) {
		s->stats.applies++;
		s->stats.files = f->n;
		s->stats.documents = set.n_documents;
		s->stats.faults = set.n_faults;
		s->stats.folder_missing = s->missing_why != NULL;
		s->stats.applied_at_wall_ns = clock_wall_ns();
	}
	set_done(&set);
	return r;
}

/* What each file was when it last was good, for the case that it is not so now. */
static int good_carry(struct folder *now, struct folder *before)
{
	for (size_t i = 0; i < now->n; i++) {
		struct folder_file *f = &now->files[i], *old = folder_find(before, f->name);
		const char *good = !old ? NULL : old->broken ? old->good : old->bytes;
		size_t n = !old ? 0 : old->broken ? old->n_good : old->n_bytes;

		if (!good)
			continue;
		f->good = malloc(n + 1);
		if (!f->good)
			return -ENOMEM;
		memcpy(f->good, good, n);
		f->n_good = n;
	}
	return 0;
}

/* Takes @now. */
static int folder_adopt(struct file_source *s, struct folder *now)
{
	int r = good_carry(now, &s->last);

	if (r < 0) {
		folder_done(now);
		return r;
	}
	folder_done(&s->last);
	s->last = *now;
	s->folder_lost = false;
	free(s->missing_why);
	s->missing_why = NULL;
	return set_apply(s);
}

/* Scanning */

static bool is_shrinking(const struct file_source *s, const struct folder *now)
{
	for (size_t i = 0; i < s->last.n; i++)
		if (!folder_find(now, s->last.files[i].name))
			return true;
	return false;
}

/* An empty folder in the place of another one that was not: a mount that went away, more likely than a wish. */
static bool is_emptied_by_replacement(const struct file_source *s, const struct folder *now)
{
	return now->n == 0 && s->last.n > 0 &&
	       (s->missing_why || s->folder_lost || now->st.st_ino != s->last.st.st_ino ||
		now->st.st_dev != s->last.st.st_dev);
}

/* Takes @why. Everything stays; said once. */
static int on_missing(struct file_source *s, char *why)
{
	if (s->missing_why && strcmp(s->missing_why, why) == 0) {
		free(why);
		return 0;
	}
	free(s->missing_why);
	s->missing_why = why;
	return set_apply(s);
}

/* Reads until nothing has moved; FOLDER_E_REFUSED with *@ret_why, or -EAGAIN when it would not come to rest. */
static int folder_read_stable(struct file_source *s, struct folder *ret, char **ret_why)
{
	for (int i = 0; i < READS_MAX; i++) {
		struct folder f = {0};
		int r;

		watch_refresh(s);
		(void)events_drain(s); /* what they tell is read now */
		if (s->n_writers)
			return -EAGAIN;
		r = folder_read(s->dir, &f, ret_why);
		if (r)
			return r;
		if (!events_drain(s) && folder_is_as_read(s->dir, &f)) {
			*ret = f;
			return 0;
		}
		folder_done(&f);
	}
	return -EAGAIN;
}

/* One scan; returns the milliseconds after which to scan again, or -1. */
static int scan(struct file_source *s, int *ret_err)
{
	uint64_t wait_ms = writers_wait_ms(s);
	struct folder now;
	char *why = NULL;
	int r;

	*ret_err = 0;
	if (wait_ms)
		return (int)wait_ms;
	s->stats.scans++;
	r = folder_read_stable(s, &now, &why);
	if (r == -EAGAIN)
		return QUIET_MS;
	if (r == FOLDER_E_REFUSED) {
		*ret_err = on_missing(s, why);
	} else if (r < 0) {
		*ret_err = r;
	} else if (is_emptied_by_replacement(s, &now)) {
		folder_done(&now);
		why = strdup(
			"was replaced by an empty folder: put the policy files back, or restart to start with none");
		*ret_err = why ? on_missing(s, why) : -ENOMEM;
	} else if (is_shrinking(s, &now) && !s->shrink_confirmed) {
		folder_done(&now);
		s->shrink_confirmed = true;
		return SHRINK_MS;
	} else if (s->stats.applies && !s->missing_why && folder_is_equal(&now, &s->last)) {
		for (size_t i = 0; i < now.n; i++)
			s->last.files[i].st = now.files[i].st;
		s->last.st = now.st;
		s->folder_lost = false;
		folder_done(&now);
	} else {
		*ret_err = folder_adopt(s, &now);
		s->stats.latency_us = (clock_mono_ns() - s->first_notice_ns) / NS_PER_US;
	}
	s->shrink_confirmed = false;
	return *ret_err < 0 ? RETRY_MS : -1;
}

static void on_scan(struct loop_timer *timer)
{
	struct file_source *s = container_of(timer, struct file_source, scan_timer);
	int err, again_ms = scan(s, &err);

	if (err < 0)
		log_error("policy folder could not be taken over", "dir=%s err=%s", s->dir, strerror(-err));
	if (again_ms >= 0)
		scan_timer_set(s, (uint64_t)again_ms);
	else
		s->first_notice_ns = 0;
}

static void scan_timer_set(struct file_source *s, uint64_t delay_ms)
{
	loop_timer_set(s->loop, &s->scan_timer, delay_ms, on_scan);
}

static void on_round(struct loop_timer *timer)
{
	struct file_source *s = container_of(timer, struct file_source, round_timer);

	if (!s->first_notice_ns && (s->missing_why || !folder_is_as_read(s->dir, &s->last)))
		scan_request(s);
	loop_timer_set(s->loop, timer, s->missing_why ? MISSING_ROUND_MS : ROUND_MS, on_round);
}

/* Life */

/* "DIR/" is DIR; the folder above is watched under the name this one has there. */
static int names_init(struct file_source *s, const char *dir)
{
	_cleanup_(freep) char *copy = NULL;
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	s->dir = strndup(dir, n);
	copy = strndup(dir, n);
	if (!s->dir || !copy)
		return -ENOMEM;
	s->base = strdup(basename(copy));
	if (!s->base)
		return -ENOMEM;
	if (strcmp(s->base, "/") == 0 || strcmp(s->base, ".") == 0 || strcmp(s->base, "..") == 0)
		return 0;
	s->parent = strdup(dirname(copy));
	return s->parent ? 0 : -ENOMEM;
}

/* The first reading; writers that were there before us cannot be told. */
static int first_scan(struct file_source *s, char **ret_error)
{
	struct folder now;
	char *why = NULL;
	int r;

	s->first_notice_ns = clock_mono_ns();
	for (int i = 0; i < 50; i++) { /* a folder in motion: a quarter of a second at most */
		r = folder_read_stable(s, &now, &why);
		if (r != -EAGAIN)
			break;
		usleep(5000);
	}
	if (r == -EAGAIN) {
		s->n_writers = 0;
		r = folder_read(s->dir, &now, &why); /* as it is; the next notice puts it right */
	}
	if (r == FOLDER_E_REFUSED) {
		*ret_error = str_printf("policy folder %s %s: make it, or name another one", s->dir, why);
		free(why);
		return -ENOENT;
	}
	if (r == 0)
		r = folder_adopt(s, &now);
	s->first_notice_ns = 0;
	return r;
}

int file_source_new(struct loop *loop, const char *dir, struct model *model, struct file_source **ret, char **ret_error)
{
	_cleanup_(file_source_freep) struct file_source *s = calloc(1, sizeof(*s));
	int r;

	*ret_error = NULL;
	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->model = model;
	s->wd_dir = s->wd_parent = -1;
	s->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->inotify_fd < 0) {
		r = -errno;
		*ret_error = str_printf("policy folder %s cannot be watched: %s; raise fs.inotify.max_user_instances",
					dir, strerror(-r));
		return r;
	}
	r = names_init(s, dir);
	if (r == 0)
		r = first_scan(s, ret_error);
	if (r == 0)
		r = loop_io_add(loop, &s->io, s->inotify_fd, EPOLLIN, on_inotify);
	if (r < 0) {
		if (!*ret_error)
			*ret_error = str_printf("policy folder %s: %s", dir, strerror(-r));
		return r;
	}
	loop_timer_set(loop, &s->round_timer, ROUND_MS, on_round);
	*ret = TAKE_PTR(s);
	return 0;
}

struct file_source *file_source_free(struct file_source *s)
{
	if (!s)
		return NULL;
	loop_io_remove(&s->io);
	loop_timer_cancel(&s->scan_timer);
	loop_timer_cancel(&s->round_timer);
	fd_close(s->inotify_fd);
	folder_done(&s->last);
	free(s->missing_why);
	free(s->dir);
	free(s->parent);
	free(s->base);
	free(s);
	return NULL;
}

struct file_source_stats file_source_get_stats(const struct file_source *s)
{
	return s->stats;
}
