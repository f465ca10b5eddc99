/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause OR Apache-2.0 */
/*
 * Reasons: why traffic was captured, left alone, refused or ended
 *
 * One list; the enum, the strings (log, metric label "reason", header x-trammel-reason, trammel conn) and the table in
 * docs/reasons.md come from it. Append only: the number is part of the ABI of the counter map.
 * X(NAME, "label", "sentence for people")
 */
#ifndef TRAMMEL_REASON_H
#define TRAMMEL_REASON_H

#define TRM_REASONS(X)                                                                                                 \
	/* the kernel */                                                                                               \
	X(NONE, "none", "nothing to say")                                                                              \
	X(CAPTURED, "captured", "outbound connection handed to the proxy")                                             \
	X(STEERED, "steered", "inbound connection handed to the proxy")                                                \
	X(LOOPBACK, "loopback", "loopback destination, left alone")                                                    \
	X(EXCLUDED_PORT, "excluded_port", "destination port is excluded from capture")                                 \
	X(EXCLUDED_CIDR, "excluded_cidr", "destination address is excluded from capture")                              \
	X(NOT_TCP, "not_tcp", "not TCP, left alone")                                                                   \
	X(DNS, "dns", "DNS query handed to the proxy")                                                                 \
	X(WORKLOAD_UNKNOWN, "workload_unknown", "no settings for this network namespace: refused")                     \
	X(POLICY_MISSING, "policy_missing", "workload is enrolled but has no policy yet: refused")                     \
	X(PROXY_MISSING, "proxy_missing", "no proxy listener: dropped")                                                \
	X(HANDOVER_FULL, "handover_full", "hand-over map is full: the proxy will refuse the connection")               \
	X(STORAGE_FAILED, "storage_failed", "no memory for socket storage: refused")                                   \
	X(DST_UNKNOWN, "dst_unknown", "destination is not in the mesh and outbound policy refuses unknown ones")       \
	X(PROXY_PORT, "proxy_port", "a proxy port was dialled directly")                                               \
	X(ESCAPE, "escape", "TCP that did not come from the proxy was dropped at the interface")                       \
	X(BAD_PACKET, "bad_packet", "packet could not be parsed: dropped")                                             \
	/* the proxy, connection */                                                                                    \
	X(ORIG_DST_MISSING, "orig_dst_missing", "connection has no original destination")                              \
	X(PLAINTEXT_REFUSED, "plaintext_refused", "plaintext to a STRICT port")                                        \
	X(TLS_HANDSHAKE, "tls_handshake", "TLS handshake failed")                                                      \
	X(TLS_PEER_CERT, "tls_peer_cert", "peer certificate missing, invalid or not from this mesh's CA")              \
	X(TRUST_DOMAIN, "trust_domain", "peer is of another trust domain")                                             \
	X(PEER_IDENTITY, "peer_identity", "peer is not the identity that was asked for")                               \
	X(NO_SNAPSHOT, "no_snapshot", "proxy has no policy yet")                                                       \
	X(NO_CERTIFICATE, "no_certificate", "proxy has no certificate, or it has expired")                             \
	X(AGENT_UNREACHABLE, "agent_unreachable", "a destination not seen before was asked for while the agent is away") \
	X(CONNECT_REFUSED, "connect_refused", "endpoint refused the connection")                                       \
	X(CONNECT_TIMEOUT, "connect_timeout", "endpoint did not answer in time")                                       \
	X(CONNECT_FAILED, "connect_failed", "connection to the endpoint failed")                                       \
	X(NO_READY_ENDPOINT, "no_ready_endpoint", "service has no ready endpoint")                                     \
	X(PORT_UNKNOWN, "port_unknown", "service has no such port")                                                    \
	X(UPSTREAM_RESET, "upstream_reset", "upstream reset the connection")                                           \
	X(UPSTREAM_CLOSED, "upstream_closed", "upstream closed before a complete response")                            \
	X(DOWNSTREAM_CLOSED, "downstream_closed", "caller left")                                                       \
	X(DOWNSTREAM_RESET, "downstream_reset", "caller reset the connection")                                         \
	X(PROTOCOL_TIMEOUT, "protocol_timeout", "first bytes did not come in time")                                    \
	X(HANDSHAKE_TIMEOUT, "handshake_timeout", "TLS handshake took too long")                                       \
	X(IDLE_TIMEOUT, "idle_timeout", "idle for too long")                                                           \
	X(DRAIN, "drain", "proxy is shutting down")                                                                    \
	X(CONN_LIMIT, "conn_limit", "too many connections")                                                            \
	X(FD_LIMIT, "fd_limit", "file descriptors are used up")                                                        \
	X(NO_MEMORY, "no_memory", "memory is out")                                                                     \
	X(INTERNAL, "internal", "internal error")                                                                      \
	/* the proxy, HTTP */                                                                                          \
	X(HTTP_SYNTAX, "http_syntax", "request line or header field is malformed")                                     \
	X(HTTP_FRAMING, "http_framing", "message length is ambiguous or malformed")                                    \
	X(HTTP_HEADERS_TOO_LARGE, "http_headers_too_large", "header section is over the limit")                        \
	X(HTTP_TARGET_TOO_LONG, "http_target_too_long", "request target is over the limit")                            \
	X(HTTP_METHOD, "http_method", "method is not allowed here")                                                    \
	X(HTTP_VERSION, "http_version", "HTTP version is not supported")                                               \
	X(HTTP_HOST, "http_host", "Host is missing, repeated or malformed")                                            \
	X(HTTP_HEADER_TIMEOUT, "http_header_timeout", "request header did not arrive in time")                         \
	X(HTTP_REQUEST_TIMEOUT, "http_request_timeout", "response did not arrive in time")                             \
	X(HTTP_BODY_TIMEOUT, "http_body_timeout", "body made no progress")                                             \
	X(HTTP_UPSTREAM_MALFORMED, "http_upstream_malformed", "upstream's response is malformed")                      \
	X(HTTP_UPGRADE, "http_upgrade", "upgrade was answered without being asked for, or asked for where not allowed") \
	/* the proxy, limits */                                                                                        \
	X(SOURCE_LIMIT, "source_limit", "too many connections from one address")                                       \
	/* the proxy, HTTP/2 and gRPC */                                                                               \
	X(H2_PROTOCOL, "h2_protocol", "HTTP/2 connection broke the protocol")                                          \
	X(H2_RESETS, "h2_resets", "too many streams of an HTTP/2 connection were reset")                               \
	X(H2_CONTROL, "h2_control", "too many control frames on an HTTP/2 connection")                                 \
	X(H2_FIELDS, "h2_fields", "field section of an HTTP/2 message is far over the limit")                          \
	X(H2_GLITCHES, "h2_glitches", "too many odd frames on an HTTP/2 connection")                                   \
	X(H2_STREAMS, "h2_streams", "far too many streams were opened on an HTTP/2 connection")                        \
	X(H2_PING_TIMEOUT, "h2_ping_timeout", "HTTP/2 peer did not answer a PING")                                     \
	X(GRPC_DEADLINE, "grpc_deadline", "deadline of the gRPC call has passed")                                      \
	/* the proxy, TLS to servers outside of the mesh */                                                            \
	X(BACKEND_CERT, "backend_cert", "endpoint's certificate is not the one that policy asks for")                  \
	X(BACKEND_POLICY, "backend_policy", "policy for the endpoint's TLS cannot be followed")                        \
	X(BACKEND_NO_H2, "backend_no_h2", "endpoint does not speak HTTP/2 (ALPN)")                                     \
	/* the proxy, tunnels */                                                                                       \
	X(TUNNEL_AUTHORITY, "tunnel_authority", "a tunnel was asked for to what is no address of this workload")       \
	X(TUNNEL_DENIED, "tunnel_denied", "endpoint's policy does not allow the tunnel")                               \
	X(TUNNEL_REFUSED, "tunnel_refused", "endpoint did not take the tunnel")

enum trm_reason {
#define X(name, label, text) TRM_REASON_##name,
	TRM_REASONS(X)
#undef X
		TRM_REASON_MAX,
};

/* "plaintext_refused", and the sentence; "unknown" beyond the list. User space alone (reason.c). */
const char *trm_reason_label(unsigned int reason);
const char *trm_reason_text(unsigned int reason);

/* Slots of the counter map: more than there are reasons, so that a new reason leaves its layout as it is. */
#define TRM_REASON_SLOTS 128
_Static_assert(TRM_REASON_MAX <= TRM_REASON_SLOTS, "raise TRM_REASON_SLOTS, and TRM_ABI with it");

#endif
