/* SPDX-License-Identifier: Apache-2.0 */
/* pair OUT_PORT IN_PORT APP_PORT [PROTOCOL [MTLS]]: two proxies to be talked to by hand, by scripts and by benchmarks. */
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "pair.h"

static void on_signal(int signo, void *user)
{
	*(bool *)user = true;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/trammel-pair-XXXXXX";
	struct pair_options o = { .log_fd = getenv("PAIR_LOG") ? 2 : -1, .protocol = APP_HTTP1, .mtls = MTLS_STRICT };
	static struct pair p;
	struct loop *loop;
	bool stop = false;

	if (argc < 4 || !mkdtemp(dir))
		return 2;
	log_init("pair", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	o.out_port = (uint16_t)atoi(argv[1]);
	o.in_port = (uint16_t)atoi(argv[2]);
	o.app_port = (uint16_t)atoi(argv[3]);
	o.ca_dir = dir;
	if (argc > 4)
		o.protocol = (enum app_protocol)atoi(argv[4]);
	if (argc > 5)
		o.mtls = (enum mtls_mode)atoi(argv[5]);
	if (getenv("PAIR_PLAINTEXT"))
		o.plaintext = true;
	o.dead_endpoint = getenv("PAIR_DEAD");
	o.endpoint_sa = getenv("PAIR_SA");
	if (loop_new(&loop) < 0 || loop_signal_add(loop, SIGTERM, on_signal, &stop) < 0 || pair_start(&p, loop, &o) < 0)
		return 1;
	while (!stop) {
		if (loop_turn(loop, -1) < 0)
			return 1;
		observe_flush(p.out.observe);
		observe_flush(p.in.observe);
	}
	pair_stop(&p);
	loop_free(loop);
	return 0;
}
