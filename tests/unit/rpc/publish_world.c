/* SPDX-License-Identifier: Apache-2.0 */
/* Agent and proxies in one loop: see publish_world.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "publish_world.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/clock.h"

#define WAIT_MS 3000

static uint32_t workload_of_cgroup(const char *cgroup, void *user)
{
	struct world *w = user;

	snprintf(w->cgroup, sizeof(w->cgroup), "%s", cgroup);
	return w->next_workload;
}

static void on_ack(uint32_t workload_id, uint64_t generation, const char *error, void *user)
{
	struct world *w = user;

	w->acks += !error;
	w->nacks += error != NULL;
	w->last_workload = workload_id;
	w->last_acked = generation;
	snprintf(w->last_error, sizeof(w->last_error), "%s", error ? error : "");
}

static void on_sign(uint32_t workload_id, const struct ca_leaf *leaf, void *user)
{
	((struct world *)user)->signs++;
}

const struct publish_ops publish_ops = { workload_of_cgroup, on_ack, on_sign };

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

/* Turns until @flag() is true, or fails. */
void until(struct world *w, bool (*done)(void *user), void *user)
{
	uint64_t end = clock_mono_ns() + WAIT_MS * NS_PER_MS;

	while (!done(user)) {
		assert_true(clock_mono_ns() < end);
		assert_int_equal(loop_turn(w->loop, 10), 0);
	}
}

void turn(struct world *w, int n)
{
	while (n-- > 0)
		assert_int_equal(loop_turn(w->loop, 1), 0);
}

void publish_mesh(struct world *w)
{
	mesh_snapshot_unref(w->snapshot);
	w->snapshot = fake_cut(&w->mesh);
	if (w->publish)
		publish_set_snapshot(w->publish, w->snapshot);
}

void agent_start(struct world *w)
{
	char *error = NULL;

	assert_int_equal(ca_open(w->ca_dir, "cluster.local", &w->ca, &error), 0);
	assert_int_equal(publish_new(w->loop, w->socket_path, w->ca, &publish_ops, w, &w->publish), 0);
	if (w->snapshot)
		publish_set_snapshot(w->publish, w->snapshot);
}

void agent_stop(struct world *w)
{
	w->publish = publish_free(w->publish);
	w->ca = ca_free(w->ca);
}

void world_open(struct world *w)
{
	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "/tmp/trammel-publish-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->socket_path, sizeof(w->socket_path), "%s/proxy.sock", w->dir);
	snprintf(w->ca_dir, sizeof(w->ca_dir), "%s/ca", w->dir);
	assert_int_equal(loop_new(&w->loop), 0);
	w->mesh.n_workloads = 2;
	w->next_workload = 1;
	for (int i = 0; i < 3; i++)
		fake_service_add(&w->mesh);
	publish_mesh(w);
	agent_start(w);
}

void world_close(struct world *w)
{
	agent_stop(w);
	mesh_snapshot_unref(w->snapshot);
	loop_free(w->loop);
	assert_int_equal(nftw(w->dir, on_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Clients */

static void on_snapshot(struct snapshot *s, void *user)
{
	((struct client *)user)->snapshots++;
}

static int on_certificate(EVP_PKEY *key, const char *chain, const char *bundle, uint64_t not_after_s,
			  const char **ret_error, void *user)
{
	struct client *c = user;
	BIO *bio = BIO_new_mem_buf(chain, -1);
	X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	struct spiffe_id id;

	BIO_free(bio);
	assert_non_null(leaf);
	assert_int_equal(X509_check_private_key(leaf, key), 1);
	assert_int_equal(x509_spiffe_id(leaf, c->spiffe_id, &id), 0);
	X509_free(leaf);
	assert_non_null(strstr(bundle, "BEGIN CERTIFICATE"));
	assert_true(not_after_s > clock_wall_ns() / NS_PER_S + 86000);
	if (c->refuse_certificates > 0) {
		c->refuse_certificates--;
		*ret_error = "the test says no";
		return -EINVAL;
	}
	c->certificates++;
	return 0;
}

static const struct subscriber_ops client_ops = { on_snapshot, on_certificate };

bool client_is_ready(void *user)
{
	struct client *c = user;

	return c->snapshots && c->certificates;
}

void client_start(struct world *w, struct client *c, uint32_t workload)
{
	*c = (struct client){ .w = w };
	w->next_workload = workload;
	assert_int_equal(subscriber_new(w->loop, w->socket_path, &client_ops, c, &c->s), 0);
}

void client_open(struct world *w, struct client *c, uint32_t workload)
{
	client_start(w, c, workload);
	until(w, client_is_ready, c);
}

void client_close(struct client *c)
{
	c->s = subscriber_free(c->s);
}

void on_answer(struct subscriber_wait *wait, bool answered)
{
	struct asked *a = container_of(wait, struct asked, wait);

	a->answers++;
	a->ok = answered;
}

bool is_answered(void *user)
{
	return ((struct asked *)user)->answers > 0;
}

struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(str_from(text), &a), 0);
	return a;
}

bool ask(struct client *c, const char *addr)
{
	struct asked a = { .wait.on_answer = on_answer };
	struct addr ip = addr_of(addr);

	subscriber_want_dest(c->s, &ip, 2000, &a.wait);
	assert_int_equal(a.answers, 0); /* never within the call */
	until(c->w, is_answered, &a);
	return a.ok;
}

bool ask_dns(struct client *c, const char *name)
{
	struct asked a = { .wait.on_answer = on_answer };

	subscriber_want_dns(c->s, str_from(name), 2000, &a.wait);
	until(c->w, is_answered, &a);
	return a.ok;
}

struct dest look(struct client *c, const char *addr)
{
	struct addr ip = addr_of(addr);
	struct dest d = { 0 };

	assert_true(snapshot_dest_find(subscriber_snapshot(c->s), &ip, &d));
	return d;
}

struct stats_of {
	uint32_t workload;
	struct publish_proxy stats;
	int found;
};

static void stats_take(const struct publish_proxy *p, void *user)
{
	struct stats_of *s = user;

	if (p->workload_id != s->workload)
		return;
	s->stats = *p;
	s->found++;
}

struct publish_proxy stats_of(struct world *w, uint32_t workload)
{
	struct stats_of s = { .workload = workload };

	publish_each_proxy(w->publish, stats_take, &s);
	assert_int_equal(s.found, 1);
	return s.stats;
}
