/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end: see peer.h. */
#include "proxy/tls/peer.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <string.h>

void tls_peer_table_init(struct tls_peer_table *t)
{
	hash_table_init(&t->peers);
}

void tls_peer_table_done(struct tls_peer_table *t)
{
	hash_table_done(&t->peers);
}

static bool peer_eq(const struct hash_node *node, const void *key)
{
	const struct tls_peer *p = container_of(node, const struct tls_peer, node);

	return memcmp(p->hash, key, sizeof(p->hash)) == 0;
}

/* The name behind @label in "/ns/NAME/sa/NAME"; empty when it is not there or too long. */
static void path_name(struct str path, struct str label, char out[TLS_PEER_NAME_BYTES])
{
	struct str rest = path, part;

	out[0] = '\0';
	while (str_split(&rest, '/', &part)) {
		if (!str_eq(part, label))
			continue;
		if (str_split(&rest, '/', &part) && part.n < TLS_PEER_NAME_BYTES) {
			memcpy(out, part.p, part.n);
			out[part.n] = '\0';
		}
		return;
	}
}

static int peer_new(X509 *cert, const uint8_t hash[32], const struct spiffe_id *id, struct tls_peer **ret)
{
	_cleanup_(freep) struct tls_peer *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	char *subject = NULL;
	long n = 0;

	if (!bio)
		return -ENOMEM;
	if (X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_get_mem_data(bio, &subject);
	if (n < 0 || n > 1024)
		n = 0;
	p = malloc(sizeof(*p) + id->text.n + 1 + (size_t)n + 1);
	if (p) {
		memset(p, 0, sizeof(*p));
		p->n_refs = 1;
		memcpy(p->hash, hash, sizeof(p->hash));
		memcpy(p->text, id->text.p, id->text.n);
		p->text[id->text.n] = '\0';
		p->spiffe_id = p->text;
		if (n)
			memcpy(p->text + id->text.n + 1, subject, (size_t)n);
		p->text[id->text.n + 1 + (size_t)n] = '\0';
		p->subject = p->text + id->text.n + 1;
		path_name(id->path, STR("ns"), p->namespace);
		path_name(id->path, STR("sa"), p->service_account);
	}
	BIO_free(bio);
	if (!p)
		return -ENOMEM;
	*ret = TAKE_PTR(p);
	return 0;
}

int tls_peer_get(struct tls_peer_table *t, X509 *cert, const struct spiffe_id *id, struct tls_peer **ret)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	struct hash_node *node;
	struct tls_peer *p;
	unsigned int n = 0;
	uint64_t h;
	int r;

	if (X509_digest(cert, EVP_sha256(), hash, &n) != 1 || n != sizeof(p->hash))
		return -ENOMEM;
	h = hash_bytes(hash, sizeof(p->hash));
	node = hash_table_find(&t->peers, h, peer_eq, hash);
	if (node) {
		*ret = tls_peer_ref(container_of(node, struct tls_peer, node));
		return 0;
	}
	r = peer_new(cert, hash, id, &p);
	if (r < 0)
		return r;
	r = hash_table_add(&t->peers, &p->node, h);
	if (r < 0) {
		free(p);
		return r;
	}
	p->table = t;
	*ret = p;
	return 0;
}

struct tls_peer *tls_peer_ref(struct tls_peer *p)
{
	p->n_refs++;
	return p;
}

struct tls_peer *tls_peer_unref(struct tls_peer *p)
{
	if (!p || --p->n_refs > 0)
		return NULL;
	hash_table_remove(&p->table->peers, &p->node);
	free(p);
	return NULL;
}
