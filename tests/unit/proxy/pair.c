/* SPDX-License-Identifier: Apache-2.0 */
/* Two proxies in one loop: see pair.h. */
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>
#include "control/identity/ca.h"
#include "proxy/snapshot/build.h"

#define TRUST_DOMAIN "cluster.local"
#define SERVICE_IP   "10.9.0.1"

/* The agent's part: never asked, for everything is in the snapshot from the start. */
void subscriber_want_dest(struct subscriber *s, const struct addr *addr, uint32_t timeout_ms, struct subscriber_wait *wait)
{
	abort();
}

void subscriber_wait_cancel(struct subscriber_wait *wait)
{
	list_remove(&wait->link);
}

static void spiffe_text(char out[128], const char *sa)
{
	snprintf(out, 128, "spiffe://" TRUST_DOMAIN "/ns/default/sa/%s", sa);
}

static int identity_make(struct ca *ca, const char *sa, struct tls_identity **ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	unsigned char *der = NULL;
	struct ca_leaf leaf = { 0 };
	const char *why = NULL;
	char id[128], *error = NULL;
	int n, r;

	spiffe_text(id, sa);
	X509_REQ_set_pubkey(req, key);
	X509_REQ_sign(req, key, EVP_sha256());
	n = i2d_X509_REQ(req, &der);
	r = ca_sign(ca, der, (size_t)n, id, 0, (uint64_t)time(NULL), &leaf, &error);
	if (r == 0)
		r = tls_identity_new(key, leaf.chain_pem, ca_bundle_pem(ca), leaf.not_after_s, ret, &why);
	if (r < 0)
		fprintf(stderr, "identity: %s\n", error ? error : why);
	ca_leaf_done(&leaf);
	free(error);
	OPENSSL_free(der);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return r;
}

static ProtobufCBinaryData ip_bytes(const struct addr *a)
{
	return (ProtobufCBinaryData){ .len = 16, .data = (uint8_t *)a->ip };
}

/* @own: our own address; @svc_ep: where the service's endpoints are. */
static int snapshot_make(struct ca *ca, const char *sa, const struct addr *own, uint16_t own_port, const struct addr *eps,
			 size_t n_eps, const struct pair_options *o, struct snapshot **ret)
{
	Trammel__V1__ToProxy m = TRAMMEL__V1__TO_PROXY__INIT;
	Trammel__V1__Resource res[4], *list[4];
	Trammel__V1__Self self = TRAMMEL__V1__SELF__INIT;
	Trammel__V1__InboundPort in = TRAMMEL__V1__INBOUND_PORT__INIT, *ins[1] = { &in };
	Trammel__V1__Dest dest = TRAMMEL__V1__DEST__INIT;
	Trammel__V1__Service svc = TRAMMEL__V1__SERVICE__INIT;
	Trammel__V1__ServicePort port = TRAMMEL__V1__SERVICE_PORT__INIT, *ports[1] = { &port };
	Trammel__V1__Endpoints endpoints = TRAMMEL__V1__ENDPOINTS__INIT;
	Trammel__V1__PortEndpoints pe = TRAMMEL__V1__PORT_ENDPOINTS__INIT, *pes[1] = { &pe };
	Trammel__V1__Endpoint ep[4], *epp[4];
	char id[128], expected[128], *error = NULL;
	ProtobufCBinaryData own_ip = ip_bytes(own), svc_ip;
	struct addr vip;
	int r;

	(void)!addr_parse_ip(str_from(SERVICE_IP), &vip);
	svc_ip = ip_bytes(&vip);
	spiffe_text(id, sa);
	spiffe_text(expected, o->endpoint_sa ? o->endpoint_sa : "app");
	self.namespace_ = "default";
	self.name = (char *)sa;
	self.service_account = (char *)sa;
	self.trust_domain = TRUST_DOMAIN;
	self.spiffe_id = id;
	self.n_addresses = 1;
	self.addresses = &own_ip;
	self.n_inbound = 1;
	self.inbound = ins;
	self.trust_bundle_pem = (char *)ca_bundle_pem(ca);
	self.cluster_domain = "cluster.local";
	in.port = own_port;
	in.mtls = (Trammel__V1__MtlsMode)o->mtls;
	in.has_mtls = true;
	in.protocol = (Trammel__V1__AppProtocol)o->protocol;
	in.service_namespace = "default";
	in.service_name = "app";
	for (size_t i = 0; i < 4; i++) {
		trammel__v1__resource__init(&res[i]);
		res[i].version = i + 1;
		list[i] = &res[i];
	}
	res[0].name = "self";
	res[0].kind_case = TRAMMEL__V1__RESOURCE__KIND_SELF;
	res[0].self = &self;
	res[1].name = "addr/" SERVICE_IP ":80";
	res[1].kind_case = TRAMMEL__V1__RESOURCE__KIND_DEST;
	res[1].dest = &dest;
	dest.kind = TRAMMEL__V1__DEST__KIND__SERVICE;
	dest.service_namespace = "default";
	dest.service_name = "app";
	dest.service_port = 80;
	dest.protocol = (Trammel__V1__AppProtocol)o->protocol;
	res[2].name = "svc/default/app";
	res[2].kind_case = TRAMMEL__V1__RESOURCE__KIND_SERVICE;
	res[2].service = &svc;
	svc.namespace_ = "default";
	svc.name = "app";
	svc.n_addresses = 1;
	svc.addresses = &svc_ip;
	svc.n_ports = 1;
	svc.ports = ports;
	port.port = 80;
	port.name = "http";
	port.protocol = dest.protocol;
	res[3].name = "eps/default/app";
	res[3].kind_case = TRAMMEL__V1__RESOURCE__KIND_ENDPOINTS;
	res[3].endpoints = &endpoints;
	endpoints.n_ports = 1;
	endpoints.ports = pes;
	pe.service_port = 80;
	pe.n_endpoints = n_eps;
	pe.endpoints = epp;
	for (size_t i = 0; i < n_eps; i++) {
		trammel__v1__endpoint__init(&ep[i]);
		epp[i] = &ep[i];
		ep[i].ip = ip_bytes(&eps[i]);
		ep[i].port = eps[i].port;
		ep[i].ready = true;
		ep[i].mtls = !o->plaintext;
		ep[i].spiffe_id = expected;
		ep[i].workload = "app";
		ep[i].namespace_ = "default";
	}
	m.nonce = 1;
	m.generation = 1;
	m.n_resources = 4;
	m.resources = list;
	r = snapshot_apply(NULL, &m, NULL, NULL, ret, &error);
	if (r < 0)
		fprintf(stderr, "snapshot: %s\n", error ? error : "?");
	free(error);
	return r;
}

static void on_listen(struct loop_io *io, uint32_t revents)
{
	struct pair_worker *p = container_of(io, struct pair_worker, listen_io);
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	struct addr client;
	int fd;

	while ((fd = accept4(p->listen_fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (addr_from_sockaddr((struct sockaddr *)&from, &client) < 0)
			abort();
		if (p->inbound)
			inbound_accepted(&p->worker, fd, &client, &p->orig_dst);
		else
			outbound_accepted(&p->worker, fd, &client, &p->orig_dst);
		n = sizeof(from);
	}
}

static int listen_on(struct pair_worker *p, struct loop *loop, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sin);
	int one = 1;

	p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(p->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(p->listen_fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(p->listen_fd, 1024) < 0 ||
	    getsockname(p->listen_fd, (struct sockaddr *)&sin, &n) < 0)
		return -errno;
	p->port = ntohs(sin.sin_port);
	return loop_io_add(loop, &p->listen_io, p->listen_fd, EPOLLIN, on_listen);
}

static int side_start(struct pair_worker *p, struct loop *loop, const char *name, int log_fd, uint64_t first_id)
{
	int r = observe_new(log_fd, "default", name, &p->observe);

	return r < 0 ? r : worker_init(&p->worker, loop, p->observe, first_id);
}

static int policy_give(struct pair_worker *p, struct ca *ca, const char *sa, const struct addr *own, uint16_t own_port,
		       const struct addr *eps, size_t n_eps, const struct pair_options *o)
{
	struct tls_identity *id;
	struct snapshot *snap;
	int r = identity_make(ca, sa, &id);

	if (r < 0)
		return r;
	worker_set_identity(&p->worker, id);
	tls_identity_unref(id);
	r = snapshot_make(ca, sa, own, own_port, eps, n_eps, o, &snap);
	if (r < 0)
		return r;
	worker_set_snapshot(&p->worker, snap);
	snapshot_unref(snap);
	return 0;
}

int pair_start(struct pair *p, struct loop *loop, const struct pair_options *o)
{
	struct addr out_own, in_own, eps[2], app;
	size_t n_eps = 0;
	struct ca *ca = NULL;
	char *error = NULL;
	int r;

	*p = (struct pair){ .loop = loop, .options = *o };
	p->in.inbound = true;
	r = ca_open(o->ca_dir, TRUST_DOMAIN, &ca, &error);
	if (r < 0) {
		fprintf(stderr, "ca: %s\n", error ? error : "?");
		return r;
	}
	(void)!addr_parse_ip(STR("10.9.1.1"), &out_own);
	(void)!addr_parse_ip(STR("10.9.1.2"), &in_own);
	(void)!addr_parse_ip(STR("127.0.0.1"), &app);
	r = side_start(&p->out, loop, "caller", o->log_fd, 1);
	if (r == 0)
		r = side_start(&p->in, loop, "app", o->log_fd, 1000000);
	if (r == 0)
		r = listen_on(&p->out, loop, o->out_port);
	if (r == 0)
		r = listen_on(&p->in, loop, o->in_port);
	if (o->dead_endpoint && r == 0)
		r = addr_parse(str_from(o->dead_endpoint), &eps[n_eps++]);
	if (r < 0)
		return r;
	eps[n_eps] = app;
	eps[n_eps++].port = p->in.port;
	(void)!addr_parse(STR(SERVICE_IP ":80"), &p->out.orig_dst);
	p->in.orig_dst = app;
	p->in.orig_dst.port = o->app_port;
	r = policy_give(&p->out, ca, "caller", &out_own, 1, eps, n_eps, o);
	if (r == 0)
		r = policy_give(&p->in, ca, "app", &in_own, o->app_port, eps, n_eps, o);
	p->ca = ca;
	return r;
}

static void side_stop(struct pair_worker *p)
{
	loop_io_remove(&p->listen_io);
	if (p->listen_fd > 0)
		close(p->listen_fd);
	worker_done(&p->worker);
	observe_free(p->observe);
}

void pair_stop(struct pair *p)
{
	side_stop(&p->out);
	side_stop(&p->in);
	ca_free(p->ca);
}

int pair_set_mtls(struct pair *p, enum mtls_mode mode)
{
	struct addr own, ep;

	p->options.mtls = mode;
	(void)!addr_parse_ip(STR("10.9.1.2"), &own);
	(void)!addr_parse_ip(STR("127.0.0.1"), &ep);
	ep.port = p->in.port;
	return policy_give(&p->in, p->ca, "app", &own, p->options.app_port, &ep, 1, &p->options);
}
