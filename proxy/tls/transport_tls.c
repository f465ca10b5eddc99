/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport: the part that speaks TLS
 *
 * OpenSSL reads and writes through a BIO whose ends are the worker's scratch memory: in, the records of the one recv()
 * of this wake-up (what is not opened at once is kept in t->in); out, all records of this wake-up, which leave in one
 * send(). Nothing stays in the scratch memory between calls.
 */
#include "proxy/tls/transport_tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include "base/log.h"

#define CIPHER_OUT_BYTES (96 * 1024)
#define SEAL_BYTES	 (64 * 1024) /* of plain bytes per send(): their records fit in CIPHER_OUT_BYTES */
#define CIPHER_IN_MAX	 (128 * 1024)
#define CIPHER_KEPT_MAX	 (256 * 1024)

/* An SSL call's error is told by the queue: it has to be empty before. It nearly always is, and looking is cheap. */
static inline void errors_clear(void)
{
	if (UNLIKELY(ERR_peek_error() != 0))
		ERR_clear_error();
}

/* The BIO */

static int on_bio_read(BIO *bio, char *dst, size_t cap, size_t *ret_n)
{
	struct transport *t = BIO_get_data(bio);
	size_t n = MIN(cap, t->in.len);

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		if (!t->end_read)
			BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(dst, buf_head(&t->in), n);
	buf_consume(&t->in, n);
	*ret_n = n;
	return 1;
}

static int on_bio_write(BIO *bio, const char *p, size_t n, size_t *ret_n)
{
	struct transport *t = BIO_get_data(bio);
	struct transport_shared *sh = t->shared;

	BIO_clear_retry_flags(bio);
	/* Order: once bytes are kept, everything goes behind them. */
	if (t->cipher.len > 0 || sh->cipher_out_len + n > CIPHER_OUT_BYTES) {
		if (buf_append(&t->cipher, sh->cipher_out, sh->cipher_out_len) < 0)
			return 0;
		sh->cipher_out_len = 0;
		if (buf_append(&t->cipher, p, n) < 0)
			return 0;
	} else {
		memcpy(sh->cipher_out + sh->cipher_out_len, p, n);
		sh->cipher_out_len += n;
	}
	*ret_n = n;
	return 1;
}

static long on_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct transport *t = BIO_get_data(bio);

	switch (cmd) {
	case BIO_CTRL_FLUSH:
	case BIO_CTRL_DUP:
		return 1;
	case BIO_CTRL_EOF:
		return t->end_read && t->in.len == 0;
	default:
		return 0;
	}
}

static const BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *m;

	if (m)
		return m;
	m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "transport");
	if (!m)
		return NULL;
	BIO_meth_set_read_ex(m, on_bio_read);
	BIO_meth_set_write_ex(m, on_bio_write);
	BIO_meth_set_ctrl(m, on_bio_ctrl);
	return m;
}

int transport_tls_new(struct transport *t, SSL_CTX *ctx, struct tls_identity *id, bool is_server)
{
	const BIO_METHOD *method = bio_method();
	BIO *bio;

	if (!method)
		return -ENOMEM;
	t->ssl = SSL_new(ctx);
	bio = BIO_new(method);
	if (!t->ssl || !bio) {
		BIO_free(bio);
		SSL_free(t->ssl);
		t->ssl = NULL;
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	if (is_server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	t->identity = tls_identity_ref(id);
	t->is_server = is_server;
	buf_init(&t->cipher, CIPHER_KEPT_MAX);
	t->in.max_bytes = CIPHER_IN_MAX;
	return 0;
}

void transport_tls_free(struct transport *t)
{
	SSL_free(t->ssl);
	t->ssl = NULL;
	t->identity = tls_identity_unref(t->identity);
	buf_done(&t->cipher);
}

/* Out */

/* Sends what the last SSL call sealed. Negative errno: the socket is broken. */
static int sealed_send(struct transport *t)
{
	struct transport_shared *sh = t->shared;
	size_t len = sh->cipher_out_len, n = 0;
	int r;

	sh->cipher_out_len = 0;
	if (len == 0)
		return 0;
	r = transport_socket_send(t, sh->cipher_out, len, &n);
	if (r < 0)
		return r;
	return n < len ? buf_append(&t->cipher, sh->cipher_out + n, len - n) : 0;
}

int transport_tls_flush(struct transport *t)
{
	size_t n;
	int r;

	if (t->cipher.len == 0)
		return 0;
	r = transport_socket_send(t, buf_head(&t->cipher), t->cipher.len, &n);
	if (r < 0)
		return r;
	buf_consume(&t->cipher, n);
	if (t->cipher.len == 0)
		buf_release(&t->cipher);
	return 0;
}

int transport_tls_write(struct transport *t, const char *p, size_t n, size_t *ret_n)
{
	size_t at = 0, step;
	int r = 0;

	*ret_n = 0;
	while (at < n && at < SEAL_BYTES && t->cipher.len == 0) {
		errors_clear();
		if (SSL_write_ex(t->ssl, p + at, MIN(n - at, SEAL_BYTES - at), &step) != 1) {
			r = -EPROTO;
			break;
		}
		at += step;
	}
	*ret_n = at;
	if (r < 0) {
		t->shared->cipher_out_len = 0;
		return r;
	}
	return sealed_send(t);
}

void transport_tls_end(struct transport *t)
{
	errors_clear();
	(void)SSL_shutdown(t->ssl); /* sends close_notify; the peer's own is read, or not, by the owner */
	(void)sealed_send(t);
}

/* In */

/*
 * One recv() into the scratch memory, lent to t->in for the time of the SSL calls that follow; cipher_return() copies
 * what was not used. Called when SSL has asked for more, so everything kept before is used up.
 */
static int cipher_lend(struct transport *t, size_t want)
{
	struct transport_shared *sh = t->shared;
	size_t n;
	int r;

	r = transport_socket_recv(t, sh->cipher_in, want, &n);
	if (r != 0)
		return r;
	assert(t->in.len == 0);
	if (t->in.mem != sh->cipher_in)
		buf_release(&t->in);
	t->in.mem = sh->cipher_in;
	t->in.off = 0;
	t->in.len = n;
	t->in.cap = n;
	return 0;
}

static int cipher_return(struct transport *t)
{
	struct buf kept;

	if (t->in.mem != t->shared->cipher_in) {
		if (t->in.len == 0)
			buf_release(&t->in);
		return 0;
	}
	buf_init(&kept, t->in.max_bytes);
	if (t->in.len > 0 && buf_append(&kept, buf_head(&t->in), t->in.len) < 0) {
		t->in = (struct buf){ .max_bytes = t->in.max_bytes };
		return -ENOMEM;
	}
	t->in = kept;
	return 0;
}

/* A server outside of the mesh: what is wrong with its certificate is for its people to mend. */
static void origin_refused(struct transport *t)
{
	const char *name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	long verdict = SSL_get_verify_result(t->ssl);

	if (verdict == X509_V_OK)
		return;
	t->reason = TRM_REASON_BACKEND_CERT;
	log_limited(LOG_WARN, "certificate of a server refused", "host=\"%s\" why=\"%s\"", name ? name : "",
		    X509_verify_cert_error_string(verdict));
}

static void handshake_failed(struct transport *t)
{
	unsigned long last = ERR_peek_last_error();
	char text[160];

	if (!t->identity)
		origin_refused(t);
	if (t->reason == TRM_REASON_NONE)
		t->reason = ERR_GET_REASON(last) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ? TRM_REASON_TLS_PEER_CERT :
											      TRM_REASON_TLS_HANDSHAKE;
	ERR_error_string_n(last, text, sizeof(text));
	ERR_clear_error();
	log_debug("handshake failed", "fd=%d error=%d tls=\"%s\"", t->fd, t->error, text);
	t->state = TRANSPORT_FAILED;
}

static void handshake_done(struct transport *t)
{
	const unsigned char *p = NULL;
	struct str name;
	unsigned int n = 0;

	SSL_get0_alpn_selected(t->ssl, &p, &n);
	name = (struct str){ (const char *)p, n };
	if (t->identity)
		t->alpn = tls_alpn_from(name);
	else
		t->alpn = str_eq(name, STR("h2")) ? TLS_ALPN_H2 : TLS_ALPN_HTTP1;
	t->state = TRANSPORT_OPEN;
}

void transport_tls_handshake(struct transport *t)
{
	int r, err;

	for (;;) {
		errors_clear();
		r = SSL_do_handshake(t->ssl);
		err = SSL_get_error(t->ssl, r);
		if (sealed_send(t) < 0 || (r != 1 && err != SSL_ERROR_WANT_READ)) {
			t->error = -EPROTO;
			break;
		}
		if (r == 1)
			break;
		r = cipher_lend(t, TRANSPORT_READ_BYTES);
		if (r == TRANSPORT_E_AGAIN) {
			(void)cipher_return(t);
			return;
		}
		if (r != 0) {
			t->error = r < 0 ? r : -ECONNABORTED;
			break;
		}
	}
	if (cipher_return(t) < 0)
		t->error = -ENOMEM;
	if (t->error == 0 && t->identity && !t->peer)
		t->error = -EPROTO;
	if (t->error < 0)
		handshake_failed(t);
	else
		handshake_done(t);
	t->identity = tls_identity_unref(t->identity);
}

/* What an SSL_read_ex() that gave nothing means. 0: more records are needed. */
static int read_verdict(struct transport *t)
{
	int err = SSL_get_error(t->ssl, 0);

	if (err == SSL_ERROR_WANT_READ)
		return t->end_read ? -ECONNABORTED : 0;
	if (err == SSL_ERROR_ZERO_RETURN)
		return TRANSPORT_E_END;
	if (t->end_read && t->in.len == 0)
		return -ECONNABORTED; /* cut off: no close_notify (RFC 8446 section 6.1) */
	return -EPROTO;
}

/* Nothing is left that SSL could open: asking it would only give "want read". */
static bool needs_records(const struct transport *t)
{
	return t->in.len == 0 && SSL_pending(t->ssl) == 0;
}

int transport_tls_read(struct transport *t, char *dst, size_t cap, size_t *ret_n)
{
	size_t at = 0, step;
	bool received = false;
	int r = t->tls_verdict;

	while (r == 0 && at < cap) {
		if (needs_records(t)) {
			/* One recv() per call is enough once there is something to give. */
			r = received && at > 0 ? TRANSPORT_E_AGAIN : cipher_lend(t, MIN(cap, (size_t)TRANSPORT_READ_BYTES));
			received = true;
			if (r == TRANSPORT_E_END)
				r = -ECONNABORTED; /* no close_notify before it */
			continue;
		}
		errors_clear();
		if (SSL_read_ex(t->ssl, dst + at, cap - at, &step) == 1)
			at += step;
		else
			r = read_verdict(t);
	}
	if (cipher_return(t) < 0)
		r = -ENOMEM;
	if (t->shared->cipher_out_len > 0 && sealed_send(t) < 0) /* an answer to a key update */
		t->write_failed = true;
	if (r != TRANSPORT_E_AGAIN)
		t->tls_verdict = r; /* behind the bytes of this call, and for every later one */
	if (at > 0) {
		*ret_n = at;
		return 0;
	}
	return r;
}
