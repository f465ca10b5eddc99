/* SPDX-License-Identifier: Apache-2.0 */
/* Proxies that misbehave: the protocol by hand over base/rpc. Each harms its own stream and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/buf.h"
#include "base/rpc/rpc.h"
#include "publish_world.h"
#include "trammel/publish.pb-c.h"

struct hostile {
	struct world *w;
	struct rpc_conn *conn;
	struct rpc_call *stream;
	int ends, messages, closed;
	enum rpc_status status;
	char message[256];
};

static void on_hostile_close(struct rpc_conn *c, int err, void *user)
{
	struct hostile *h = user;

	h->closed++;
	h->conn = rpc_conn_free(c);
}

static void on_hostile_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	((struct hostile *)user)->messages++;
}

static void on_hostile_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	struct hostile *h = user;

	h->ends++;
	h->status = status;
	h->stream = NULL;
	snprintf(h->message, sizeof(h->message), "%s", message);
}

static const struct rpc_conn_ops hostile_conn_ops = { on_hostile_close };
static const struct rpc_call_ops hostile_ops = { .on_message = on_hostile_message, .on_end = on_hostile_end };

static void hostile_open(struct world *w, struct hostile *h, uint32_t workload)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*h = (struct hostile){ .w = w };
	w->next_workload = workload;
	assert_true(snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->socket_path) < (int)sizeof(sa.sun_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(rpc_client_new(w->loop, fd, NULL, &hostile_conn_ops, h, &h->conn), 0);
	assert_int_equal(rpc_stream_new(h->conn, &(struct rpc_target){ .path = "/trammel.v1.Publish/Stream" },
					&hostile_ops, h, &h->stream),
			 0);
	turn(w, 3);
}

static void hostile_say(struct hostile *h, const Trammel__V1__ToAgent *m)
{
	size_t n = trammel__v1__to_agent__get_packed_size(m);
	uint8_t *p = malloc(n + 1);

	assert_non_null(p);
	assert_int_equal(rpc_call_send(h->stream, p, trammel__v1__to_agent__pack(m, p)), 0);
	free(p);
}

static bool hostile_has_ended(void *user)
{
	return ((struct hostile *)user)->ends > 0;
}

static void hostile_expect(struct hostile *h, enum rpc_status status, const char *text)
{
	until(h->w, hostile_has_ended, h);
	assert_int_equal(h->status, status);
	if (!strstr(h->message, text))
		fail_msg("\"%s\" does not say \"%s\"", h->message, text);
	rpc_conn_free(h->conn);
	turn(h->w, 5);
}

static void test_hostile(void **state)
{
	Trammel__V1__Hello hello = TRAMMEL__V1__HELLO__INIT;
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT, empty = TRAMMEL__V1__TO_AGENT__INIT;
	static char bad_names[][16] = { "x",     "",       "addr/",     "addr/1.2.3.4", "addr/1.2.3.4:0", "dns/",
					"svc/a", "svc//b", "svc/a/b/c", "dns/a b",      "dns/\xc3\xa4" };
	static char many[4098][24], *names[4098];
	struct world w;
	struct hostile h;

	world_open(&w);
	hostile_open(&w, &h, 1); /* no Hello */
	hostile_say(&h, &empty);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "Hello");
	hostile_open(&w, &h, 1); /* Hello twice */
	m.hello = &hello;
	hostile_say(&h, &m);
	hostile_say(&h, &m);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "Hello");
	hostile_open(&w, &h, 1); /* no protobuf */
	assert_int_equal(rpc_call_send(h.stream, "\xff\xff\xff", 3), 0);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "malformed");
	hostile_open(&w, &h, 1); /* many empty Held: small on the wire, large in memory */
	{
		struct buf b;
		uint32_t n = 400000 * 2;

		buf_init(&b, 1 << 20);
		assert_int_equal(buf_append(&b,
					    (uint8_t[]){ 0x0a, (uint8_t)(n | 0x80), (uint8_t)(n >> 7 | 0x80),
							 (uint8_t)(n >> 14) },
					    4),
				 0);
		for (uint32_t i = 0; i < n / 2; i++)
			assert_int_equal(buf_append(&b, "\x1a\0", 2), 0);
		assert_int_equal(rpc_call_send(h.stream, buf_head(&b), b.len), 0);
		buf_done(&b);
	}
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "too large");
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		Trammel__V1__ToAgent bad = TRAMMEL__V1__TO_AGENT__INIT;
		char *one[] = { bad_names[i] };

		hostile_open(&w, &h, 1);
		bad.hello = &hello;
		bad.n_subscribe = 1;
		bad.subscribe = one;
		hostile_say(&h, &bad);
		hostile_expect(&h, RPC_RESOURCE_EXHAUSTED, "malformed name");
	}
	for (int i = 0; i < 4098; i++) {
		snprintf(many[i], sizeof(many[i]), "dns/n%d", i);
		names[i] = many[i];
	}
	hostile_open(&w, &h, 1);
	m.n_subscribe = 4098;
	m.subscribe = names;
	hostile_say(&h, &m);
	hostile_expect(&h, RPC_RESOURCE_EXHAUSTED, "limit");
	hostile_open(&w, &h, 0); /* no workload */
	hostile_expect(&h, RPC_PERMISSION_DENIED, "cgroup");
	assert_int_equal(w.acks, 0);
	world_close(&w);
}

/* A proxy that never acknowledges gets one message and no more; a stale nonce is nothing. */
static void test_never_acks(void **state)
{
	Trammel__V1__Hello hello = TRAMMEL__V1__HELLO__INIT;
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT, stale = TRAMMEL__V1__TO_AGENT__INIT;
	Trammel__V1__Ack ack = TRAMMEL__V1__ACK__INIT;
	char name[] = "addr/10.9.0.1:80", *names[] = { name };
	struct world w;
	struct hostile h;

	world_open(&w);
	hostile_open(&w, &h, 1);
	m.hello = &hello;
	m.n_subscribe = 1;
	m.subscribe = names;
	hostile_say(&h, &m);
	for (int i = 0; i < 50; i++) {
		w.mesh.services[0].endpoints[0].addr.port++;
		publish_mesh(&w);
		turn(&w, 2);
	}
	assert_int_equal(h.messages, 1);
	ack.nonce = 77;
	stale.ack = &ack;
	hostile_say(&h, &stale);
	turn(&w, 5);
	assert_int_equal(h.messages, 1);
	assert_int_equal(w.acks, 0);
	ack.nonce = 1;
	hostile_say(&h, &stale);
	turn(&w, 5);
	assert_int_equal(h.messages, 2);
	assert_int_equal(w.acks, 1);
	rpc_conn_free(h.conn);
	turn(&w, 3);
	world_close(&w);
}

static void test_per_workload_limit(void **state)
{
	struct world w;
	struct hostile h[9];

	world_open(&w);
	for (int i = 0; i < 9; i++)
		hostile_open(&w, &h[i], 1);
	until(&w, hostile_has_ended, &h[8]);
	assert_int_equal(h[8].status, RPC_PERMISSION_DENIED);
	assert_int_equal(h[7].ends, 0);
	for (int i = 0; i < 9; i++)
		rpc_conn_free(h[i].conn);
	turn(&w, 3);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_never_acks),
		cmocka_unit_test(test_per_workload_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
