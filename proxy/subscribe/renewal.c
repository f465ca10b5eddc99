/* SPDX-License-Identifier: Apache-2.0 */
/* Key and certificate: see renewal.h */
#include "proxy/subscribe/renewal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/log.h"
#include "trammel/publish.pb-c.h"

#define SIGN_TIMEOUT_MS 10000
#define BACKOFF_MIN_MS  200
#define BACKOFF_MAX_MS  30000
#define LOOK_MS         60000

static void on_timer(struct loop_timer *timer);

uint32_t jitter(uint32_t n)
{
	uint32_t v = 0;

	(void)!getrandom(&v, sizeof(v), 0); /* without randomness there is no jitter: no harm */
	return n ? v % n : 0;
}

void renewal_init(struct renewal *r, struct loop *loop, const struct subscriber_ops *ops, void *user)
{
	*r = (struct renewal){ .loop = loop, .ops = ops, .user = user, .backoff_ms = BACKOFF_MIN_MS };
}

void renewal_done(struct renewal *r)
{
	loop_timer_cancel(&r->timer);
	EVP_PKEY_free(r->key);
	r->key = NULL;
}

static uint64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

/* Looks again when the certificate is due, and at least once a minute. */
static void look_later(struct renewal *r)
{
	uint64_t now = now_s(), left_s = r->renew_s > now ? r->renew_s - now : LOOK_MS / 1000;

	loop_timer_set(r->loop, &r->timer, MIN(left_s * 1000, (uint64_t)LOOK_MS), on_timer);
}

static void failed(struct renewal *r, const char *why)
{
	r->failures++;
	EVP_PKEY_free(r->key);
	r->key = NULL;
	log_limited(LOG_WARN, "certificate was not renewed", "reason=\"%s\" retry_ms=%u", why, r->backoff_ms);
	loop_timer_set(r->loop, &r->timer, r->backoff_ms / 2 + jitter(r->backoff_ms), on_timer);
	r->backoff_ms = MIN(r->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

/* The request: an empty subject and the key; names are the agent's own knowledge. */
static int request_make(EVP_PKEY *key, uint8_t **ret, size_t *ret_n)
{
	X509_REQ *req = X509_REQ_new();
	unsigned char *der = NULL;
	int n = -1;

	if (req && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(req, key) == 1 &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0)
		n = i2d_X509_REQ(req, &der);
	X509_REQ_free(req);
	ERR_clear_error();
	if (n <= 0)
		return -ENOMEM;
	*ret = der;
	*ret_n = (size_t)n;
	return 0;
}

static uint64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;
	time_t s = ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;

	return s > 0 ? (uint64_t)s : 0;
}

/* Is the leaf of our key, and valid now? NULL, or why not. */
static const char *leaf_check(const char *chain_pem, EVP_PKEY *key, uint64_t *ret_not_before_s,
			      uint64_t *ret_not_after_s)
{
	BIO *bio = BIO_new_mem_buf(chain_pem, -1);
	X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, (void *)"") : NULL;
	const char *why = NULL;

	if (!leaf)
		why = "the agent's answer holds no certificate";
	else if (X509_check_private_key(leaf, key) != 1)
		why = "the agent's certificate is of another key";
	if (!why) {
		*ret_not_before_s = seconds_of(X509_get0_notBefore(leaf));
		*ret_not_after_s = seconds_of(X509_get0_notAfter(leaf));
		if (*ret_not_after_s <= now_s())
			why = "the agent's certificate has expired already";
	}
	X509_free(leaf);
	BIO_free(bio);
	ERR_clear_error();
	return why;
}

static const char *answer_take(struct renewal *r, const Trammel__V1__SignReply *m)
{
	uint64_t not_before_s, not_after_s, now = now_s();
	const char *why = leaf_check(m->chain_pem, r->key, &not_before_s, &not_after_s);

	if (why)
		return why;
	why = "the certificate could not be put in force";
	if (r->ops->on_certificate(r->key, m->chain_pem, m->trust_bundle_pem, not_after_s, &why, r->user) < 0)
		return why;
	r->not_before_s = not_before_s;
	r->not_after_s = not_after_s;
	r->renew_s = now + (not_after_s - now) * (500 + jitter(100)) / 1000;
	r->renewals++;
	r->backoff_ms = BACKOFF_MIN_MS;
	r->expiry_told = false;
	EVP_PKEY_free(r->key);
	r->key = NULL;
	look_later(r);
	return NULL;
}

static void on_reply(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user)
{
	struct renewal *r = user;
	Trammel__V1__SignReply *m;
	const char *why;

	r->call = NULL;
	if (status != RPC_OK) {
		failed(r, *message ? message : rpc_status_name(status));
		return;
	}
	m = trammel__v1__sign_reply__unpack(NULL, n, p);
	if (!m) {
		failed(r, "the agent's answer is malformed");
		return;
	}
	why = *m->error ? m->error : answer_take(r, m);
	if (why)
		failed(r, why);
	trammel__v1__sign_reply__free_unpacked(m, NULL);
}

static int request_send(struct renewal *r, const uint8_t *der, size_t der_n)
{
	const struct rpc_target target = { .path = "/trammel.v1.Publish/SignCertificate",
					   .timeout_ms = SIGN_TIMEOUT_MS };
	Trammel__V1__SignRequest m = TRAMMEL__V1__SIGN_REQUEST__INIT;
	_cleanup_(freep) uint8_t *bytes = NULL;

	m.csr_der = (ProtobufCBinaryData){ der_n, (uint8_t *)(uintptr_t)der };
	bytes = malloc(trammel__v1__sign_request__get_packed_size(&m));
	if (!bytes)
		return -ENOMEM;
	return rpc_unary(r->conn, &target, bytes, trammel__v1__sign_request__pack(&m, bytes), on_reply, r, &r->call);
}

static void request(struct renewal *r)
{
	uint8_t *der = NULL;
	size_t n = 0;
	int err;

	EVP_PKEY_free(r->key);
	r->key = EVP_EC_gen("P-256");
	err = r->key ? request_make(r->key, &der, &n) : -ENOMEM;
	if (err == 0)
		err = request_send(r, der, n);
	OPENSSL_free(der);
	if (err < 0)
		failed(r, err == -ENOTCONN ? "the agent is away" : "out of memory");
}

static void tell_expiry(struct renewal *r)
{
	if (!r->not_after_s || r->expiry_told || now_s() < r->not_after_s)
		return;
	r->expiry_told = true;
	log_error("certificate has expired", "not_after_s=%llu failures=%llu", (unsigned long long)r->not_after_s,
		  (unsigned long long)r->failures);
}

static void on_timer(struct loop_timer *timer)
{
	struct renewal *r = container_of(timer, struct renewal, timer);

	tell_expiry(r);
	if (r->conn && !r->call && now_s() >= r->renew_s)
		request(r);
	else
		look_later(r); /* one that is due without a connection is asked for when there is one */
}

void renewal_connected(struct renewal *r, struct rpc_conn *conn)
{
	r->conn = conn;
	if (now_s() >= r->renew_s)
		request(r);
}

void renewal_disconnected(struct renewal *r)
{
	if (r->call) {
		r->call = NULL;
		r->failures++;
	}
	r->conn = NULL;
	if (r->not_after_s && !loop_timer_is_armed(&r->timer))
		look_later(r); /* its end is reported also while the agent is away */
}
