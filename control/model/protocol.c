/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a port speaks
 *
 * As Istio decides it: appProtocol first (one that the mesh does not know is plain TCP), then the name up to the first
 * '-' (one that says nothing leaves the port to be sniffed), then a few well-known ports whose servers speak first:
 * sniffing would wait for bytes that never come.
 */
#include <string.h>
#include "control/model/kind.h"

static const struct {
	const char *name;
	enum model_protocol protocol;
} names[] = {
	{"http", MODEL_APP_HTTP1},
	{"http1", MODEL_APP_HTTP1},
	{"http2", MODEL_APP_HTTP2},
	{"h2c", MODEL_APP_HTTP2},
	{"grpc", MODEL_APP_GRPC},
	{"grpc-web", MODEL_APP_HTTP1},
	{"ws", MODEL_APP_HTTP1},
	{"tcp", MODEL_APP_TCP},
	{"udp", MODEL_APP_TCP},
	{"tls", MODEL_APP_TLS},
	{"https", MODEL_APP_TLS},
	{"wss", MODEL_APP_TLS},
	{"redis", MODEL_APP_TCP},
	{"mysql", MODEL_APP_SERVER_FIRST},
	{"mongo", MODEL_APP_SERVER_FIRST},
	{"smtp", MODEL_APP_SERVER_FIRST},
	{"ftp", MODEL_APP_SERVER_FIRST},
	{"ssh", MODEL_APP_SERVER_FIRST},
	{"imap", MODEL_APP_SERVER_FIRST},
	{"pop3", MODEL_APP_SERVER_FIRST},
};

static const uint16_t server_first_ports[] = {21, 22, 25, 110, 143, 587, 3306};

static bool protocol_find(struct str name, enum model_protocol *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq_nocase(name, str_from(names[i].name))) {
			*ret = names[i].protocol;
			return true;
		}
	return false;
}

enum model_protocol port_protocol(const char *app_protocol, const char *name, uint16_t port)
{
	static const char kubernetes[] = "kubernetes.io/";
	struct str prefix = str_from(name);
	enum model_protocol p;
	ptrdiff_t at;

	if (app_protocol) {
		if (strncmp(app_protocol, kubernetes, sizeof(kubernetes) - 1) == 0)
			app_protocol += sizeof(kubernetes) - 1;
		return protocol_find(str_from(app_protocol), &p) ? p : MODEL_APP_TCP;
	}
	if (strncmp(name, "grpc-web", 8) == 0 && (name[8] == '\0' || name[8] == '-'))
		return MODEL_APP_HTTP1;
	at = str_find_char(prefix, '-');
	if (at >= 0)
		prefix.n = (size_t)at;
	if (protocol_find(prefix, &p))
		return p;
	for (size_t i = 0; i < ARRAY_SIZE(server_first_ports); i++)
		if (server_first_ports[i] == port)
			return MODEL_APP_SERVER_FIRST;
	return MODEL_APP_UNDECLARED;
}

void tcp_only(struct check *c, const struct field *port)
{
	const char *protocol = "TCP";

	if (field_get_string(c, port, "protocol", &protocol) && strcmp(protocol, "TCP") != 0)
		field_refuse_member(c, port, "protocol",
				    "\"%.20s\" is not carried by the mesh: use TCP, or leave this port out", protocol);
}
