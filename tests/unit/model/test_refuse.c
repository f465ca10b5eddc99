/* SPDX-License-Identifier: Apache-2.0 */
/* Every refusal of the model: one text with one mistake, the line and field that must be named, and what must be said.
 */
#include "policy_lib.h"

struct refusal {
	const char *name, *text;
	int line;
	const char *field, *says;
};

#define SVC(spec) "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n" spec
#define PORT      "  ports: [{port: 80}]\n"
#define SLICE(rest)                                              \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" \
	"metadata: {name: s, labels: {kubernetes.io/service-name: web}}\n" rest
#define TUNNEL(label, rest)                                                        \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s\n" \
	"  labels: {kubernetes.io/service-name: web" label "}\n" rest             \
	"addressType: IPv4\nendpoints: []\nports: [{port: 1}]\n"
#define PA(spec) \
	"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: a}\nspec:\n" spec
#define CM(rest) "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: trammel, namespace: trammel-system}\n" rest
#define BT(spec)                                                                          \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: p}\n" \
	"spec:\n" spec
#define BT_TARGET "  targetRefs: [{group: '', kind: Service, name: web}]\n"
#define BT_ROOTS  "    wellKnownCACertificates: System\n"
#define BT_NAME	  "  validation:\n    hostname: a.example\n"
#define LONG_63  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct refusal refusals[] = {
	/* heads */
	{"no object", "[1]\n", 1, "", "is no object"},
	{"no kind", "apiVersion: v1\nmetadata: {name: a}\n", 1, "kind", "missing"},
	{"kind no string", "apiVersion: v1\nkind: 7\n", 2, "kind", "a string is needed"},
	{"unknown kind", "apiVersion: v1\nkind: Servce\nmetadata: {name: a}\n", 2, "kind", "unknown kind \"Servce\""},
	{"not enforced", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n", 2,
	 "kind", "does not enforce"},
	{"pod", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", 2, "kind", "trammel run"},
	{"no version", "kind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n", 1, "apiVersion",
	 "write \"v1\""},
	{"wrong version", "apiVersion: v2\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n", 1,
	 "apiVersion", "is not a version of Service"},
	{"no metadata", "apiVersion: v1\nkind: Service\nspec: {ports: [{port: 80}]}\n", 1, "metadata", "missing"},
	{"metadata a list", "apiVersion: v1\nkind: Service\nmetadata: [a]\n", 3, "metadata",
	 "is a list: an object is needed"},
	{"no name", "apiVersion: v1\nkind: Service\nmetadata:\n  namespace: a\n", 4, "metadata.name", "missing"},
	{"name upper case", "apiVersion: v1\nkind: Service\nmetadata:\n  name: Web\n", 4, "metadata.name",
	 "not a service name"},
	{"name with digit first", "apiVersion: v1\nkind: Service\nmetadata:\n  name: 1web\n", 4, "metadata.name",
	 "not a service name"},
	{"name with dot", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a.b\n", 4, "metadata.name",
	 "not a service name"},
	{"name with dash last", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web-\n", 4, "metadata.name",
	 "not a service name"},
	{"name too long", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a" LONG_63 "\n", 4, "metadata.name",
	 "not a service name"},
	{"name a number", "apiVersion: v1\nkind: Service\nmetadata:\n  name: 12\n", 4, "metadata.name",
	 "a string is needed"},
	{"policy name", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: a_b\n", 4,
	 "metadata.name", "not a name"},
	{"bad namespace", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: a.b\n", 5,
	 "metadata.namespace", "not a name"},
	{"unknown in metadata",
	 "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  lables: {}\nspec: {ports: [{port: 80}]}\n", 5,
	 "metadata.lables", "did you mean \"labels\"?"},
	{"bad label key",
	 "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels: {-a: b}\nspec: {ports: [{port: 80}]}\n", 5,
	 "metadata.labels.-a", "not a label"},
	{"bad label value",
	 "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels:\n    a.b/c: \"x y\"\nspec: {ports: [{port: "
	 "80}]}\n",
	 6, "metadata.labels[\"a.b/c\"]", "not a label value"},
	{"label a number",
	 "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels: {v: 1}\nspec: {ports: [{port: 80}]}\n", 5,
	 "metadata.labels.v", "a string is needed"},
	{"being deleted",
	 "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  deletionTimestamp: 2024-01-01T00:00:00Z\nspec: "
	 "{ports: [{port: 80}]}\n",
	 5, "metadata.deletionTimestamp", "being deleted"},
	{"unknown at the top", SVC(PORT) "sepc: {}\n", 6, "sepc", "did you mean \"spec\"?"},
	/* Service */
	{"no spec", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", 1, "spec", "missing"},
	{"spec a string", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: x\n", 4, "spec",
	 "an object is needed"},
	{"unknown in spec", SVC(PORT "  selektor: {a: b}\n"), 6, "spec.selektor", "did you mean \"selector\"?"},
	{"nothing like it", SVC(PORT "  frobnicate: 1\n"), 6, "spec.frobnicate", "unknown field: remove it"},
	{"no ports", SVC("  selector: {a: b}\n"), 5, "spec.ports", "missing"},
	{"empty ports", SVC("  ports: []\n"), 5, "spec.ports", "missing"},
	{"ports an object", SVC("  ports: {port: 80}\n"), 5, "spec.ports", "a list is needed"},
	{"port an item of text", SVC("  ports: [80]\n"), 5, "spec.ports[0]", "an object is needed"},
	{"port 0", SVC("  ports:\n  - port: 0\n"), 6, "spec.ports[0].port", "0 is not a port"},
	{"port 65536", SVC("  ports:\n  - port: 65536\n"), 6, "spec.ports[0].port", "65536 is not a port"},
	{"port below 0", SVC("  ports:\n  - port: -1\n"), 6, "spec.ports[0].port", "-1 is not a port"},
	{"port as text", SVC("  ports:\n  - port: \"80\"\n"), 6, "spec.ports[0].port", "a port number is needed"},
	{"port a fraction", SVC("  ports:\n  - port: 80.5\n"), 6, "spec.ports[0].port", "a port number is needed"},
	{"port missing", SVC("  ports:\n  - name: a\n"), 6, "spec.ports[0].port", "missing"},
	{"port twice", SVC("  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n"), 7, "spec.ports[1].port",
	 "80 is port 0"},
	{"name twice", SVC("  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n"), 7, "spec.ports[1].name",
	 "name of port 0"},
	{"name missing of two", SVC("  ports:\n  - {name: a, port: 80}\n  - {port: 81}\n"), 7, "spec.ports[1].name",
	 "missing"},
	{"port name", SVC("  ports:\n  - {name: A_b, port: 80}\n"), 6, "spec.ports[0].name", "not a name"},
	{"unknown in port", SVC("  ports:\n  - {prot: TCP, port: 80}\n"), 6, "spec.ports[0].prot",
	 "did you mean \"port\"?"},
	{"UDP", SVC("  ports:\n  - {protocol: UDP, port: 80}\n"), 6, "spec.ports[0].protocol", "not carried"},
	{"nodePort", SVC("  ports:\n  - {nodePort: 30000, port: 80}\n"), 6, "spec.ports[0].nodePort", "NodePort"},
	{"targetPort by name", SVC("  ports:\n  - {targetPort: http, port: 80}\n"), 6, "spec.ports[0].targetPort",
	 "name of a container's port"},
	{"targetPort 0", SVC("  ports:\n  - {targetPort: 0, port: 80}\n"), 6, "spec.ports[0].targetPort", "not a port"},
	{"appProtocol", SVC("  ports:\n  - {appProtocol: 1, port: 80}\n"), 6, "spec.ports[0].appProtocol",
	 "a string is needed"},
	{"ExternalName", SVC("  type: ExternalName\n" PORT), 5, "spec.type", "alias in DNS"},
	{"externalName", SVC("  externalName: a.b\n" PORT), 5, "spec.externalName", "EndpointSlice"},
	{"NodePort", SVC("  type: NodePort\n" PORT), 5, "spec.type", "use ClusterIP"},
	{"LoadBalancer", SVC("  type: LoadBalancer\n" PORT), 5, "spec.type", "use ClusterIP"},
	{"other type", SVC("  type: Cluster\n" PORT), 5, "spec.type", "unknown type"},
	{"session affinity", SVC("  sessionAffinity: ClientIP\n" PORT), 5, "spec.sessionAffinity", "use None"},
	{"internal policy", SVC("  internalTrafficPolicy: Local\n" PORT), 5, "spec.internalTrafficPolicy",
	 "use Cluster"},
	{"external addresses", SVC("  externalIPs: [1.2.3.4]\n" PORT), 5, "spec.externalIPs", "not supported"},
	{"clusterIP no address", SVC("  clusterIP: x\n" PORT), 5, "spec.clusterIP", "is not an address"},
	{"clusterIP outside", SVC("  clusterIP: 10.80.0.1\n" PORT), 5, "spec.clusterIP",
	 "outside of the services' range 10.79.0.0/16"},
	{"clusterIP v6 outside", SVC("  clusterIP: fd80::1\n" PORT), 5, "spec.clusterIP",
	 "outside of the services' range fd79::/64"},
	{"clusterIP the range", SVC("  clusterIP: 10.79.0.0\n" PORT), 5, "spec.clusterIP", "range itself"},
	{"clusterIPs differ", SVC("  clusterIP: 10.79.0.1\n  clusterIPs: [10.79.0.2]\n" PORT), 6, "spec.clusterIPs[0]",
	 "must be equal"},
	{"two of one family", SVC("  clusterIPs: [10.79.0.1, 10.79.0.2]\n" PORT), 5, "spec.clusterIPs", "one family"},
	{"three addresses", SVC("  clusterIPs: [10.79.0.1, 10.79.0.2, fd79::1]\n" PORT), 5, "spec.clusterIPs",
	 "one for each family"},
	{"family", SVC("  ipFamilies: [IPv5]\n" PORT), 5, "spec.ipFamilies[0]", "unknown family"},
	{"family twice", SVC("  ipFamilies: [IPv4, IPv4]\n" PORT), 5, "spec.ipFamilies[1]", "twice"},
	{"family policy", SVC("  ipFamilyPolicy: Dual\n" PORT), 5, "spec.ipFamilyPolicy", "unknown policy"},
	{"single of two", SVC("  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: SingleStack\n" PORT), 6,
	 "spec.ipFamilyPolicy", "SingleStack"},
	{"family against address", SVC("  ipFamilies: [IPv6]\n  clusterIP: 10.79.0.1\n" PORT), 5, "spec.ipFamilies",
	 "do not fit"},
	{"selector a list", SVC("  selector: [a]\n" PORT), 5, "spec.selector", "an object is needed"},
	{"selector value", SVC("  selector: {a: true}\n" PORT), 5, "spec.selector.a", "put it in quotes"},
	{"selector null", SVC("  selector: {a: }\n" PORT), 5, "spec.selector.a", "is null"},
	{"publish", SVC("  publishNotReadyAddresses: \"yes\"\n" PORT), 5, "spec.publishNotReadyAddresses",
	 "true or false"},
	/* EndpointSlice */
	{"slice no service",
	 "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv4\nendpoints: "
	 "[]\nports: [{port: 1}]\n",
	 3, "metadata.labels", "service-name is missing"},
	{"slice old version",
	 "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: s}\nendpoints: 1\n", 1,
	 "apiVersion", "discovery.k8s.io/v1\""},
	{"slice no type", SLICE("endpoints: []\nports: [{port: 1}]\n"), 1, "addressType", "missing"},
	{"slice FQDN", SLICE("addressType: FQDN\nendpoints: []\nports: [{port: 1}]\n"), 4, "addressType",
	 "FQDN is not supported"},
	{"slice type", SLICE("addressType: ipv4\nendpoints: []\nports: [{port: 1}]\n"), 4, "addressType",
	 "unknown type"},
	{"slice no endpoints", SLICE("addressType: IPv4\nports: [{port: 1}]\n"), 1, "endpoints", "missing"},
	{"slice no ports", SLICE("addressType: IPv4\nendpoints: []\n"), 1, "ports", "missing"},
	{"slice no addresses", SLICE("addressType: IPv4\nendpoints:\n- {}\nports: [{port: 1}]\n"), 6,
	 "endpoints[0].addresses", "missing"},
	{"slice bad address", SLICE("addressType: IPv4\nendpoints:\n- addresses: [300.0.0.1]\nports: [{port: 1}]\n"), 6,
	 "endpoints[0].addresses[0]", "is not an address"},
	{"slice other family", SLICE("addressType: IPv4\nendpoints:\n- addresses: [\"fd00::1\"]\nports: [{port: 1}]\n"),
	 6, "endpoints[0].addresses[0]", "not of addressType IPv4"},
	{"slice loopback", SLICE("addressType: IPv4\nendpoints:\n- addresses: [127.0.0.1]\nports: [{port: 1}]\n"), 6,
	 "endpoints[0].addresses[0]", "cannot be an endpoint"},
	{"slice multicast", SLICE("addressType: IPv6\nendpoints:\n- addresses: [\"ff02::1\"]\nports: [{port: 1}]\n"), 6,
	 "endpoints[0].addresses[0]", "cannot be an endpoint"},
	{"slice link-local", SLICE("addressType: IPv6\nendpoints:\n- addresses: [\"fe80::1\"]\nports: [{port: 1}]\n"),
	 6, "endpoints[0].addresses[0]", "cannot be an endpoint"},
	{"slice condition",
	 SLICE("addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n  conditions: {redy: true}\nports: [{port: "
	       "1}]\n"),
	 7, "endpoints[0].conditions.redy", "did you mean \"ready\"?"},
	{"slice condition type",
	 SLICE("addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: 1}\nports: [{port: "
	       "1}]\n"),
	 7, "endpoints[0].conditions.ready", "true or false"},
	{"slice hostname",
	 SLICE("addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n  hostname: a.b\nports: [{port: 1}]\n"), 7,
	 "endpoints[0].hostname", "not a name"},
	{"slice endpoint field",
	 SLICE("addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n  nodename: node1\nports: [{port: 1}]\n"), 7,
	 "endpoints[0].nodename", "did you mean \"nodeName\"?"},
	{"slice port 0", SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 0}]\n"), 6, "ports[0].port",
	 "not a port"},
	{"slice port missing", SLICE("addressType: IPv4\nendpoints: []\nports: [{name: a}]\n"), 6, "ports[0].port",
	 "missing"},
	{"slice port name twice", SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 1}, {port: 2}]\n"), 6,
	 "ports[1].name", "already"},
	{"slice top field", SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 1}]\nport: 1\n"), 7, "port",
	 "did you mean \"ports\"?"},
	{"slice without service", SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 1}]\n"), 1,
	 "metadata.labels[\"kubernetes.io/service-name\"]", "there is no Service default/web"},
	{"slice of a selector",
	 SVC("  selector: {a: b}\n" PORT) "---\n" SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 1}]\n"), 8,
	 "metadata.labels[\"kubernetes.io/service-name\"]", "has a selector"},
	{"slice tunnel", TUNNEL(", networking.istio.io/tunnel: https", ""), 5,
	 "metadata.labels[\"networking.istio.io/tunnel\"]", "unknown tunnel \"https\": write http"},
	{"slice tunnel of nobody", TUNNEL(", networking.istio.io/tunnel: http", ""), 4, "metadata.annotations",
	 "alpha.istio.io/kubernetes-serviceaccounts is missing"},
	{"slice redirection", TUNNEL("", "  annotations: {ambient.istio.io/redirection: yes please}\n"), 6,
	 "metadata.annotations[\"ambient.istio.io/redirection\"]", "write enabled or disabled"},
	{"slice redirection of nobody", TUNNEL("", "  annotations: {ambient.istio.io/redirection: enabled}\n"), 6,
	 "metadata.annotations[\"alpha.istio.io/kubernetes-serviceaccounts\"]", "missing"},
	{"slice tunnel of two",
	 TUNNEL(", networking.istio.io/tunnel: http",
		"  annotations: {alpha.istio.io/kubernetes-serviceaccounts: \"a,b\"}\n"),
	 6, "metadata.annotations[\"alpha.istio.io/kubernetes-serviceaccounts\"]", "not a name"},
	/* PeerAuthentication */
	{"mode", PA("  mtls: {mode: strict}\n"), 5, "spec.mtls.mode", "unknown mode \"strict\""},
	{"mode type", PA("  mtls: {mode: true}\n"), 5, "spec.mtls.mode", "a string is needed"},
	{"mtls type", PA("  mtls: STRICT\n"), 5, "spec.mtls", "an object is needed"},
	{"mtls field", PA("  mtls: {mod: STRICT}\n"), 5, "spec.mtls.mod", "did you mean \"mode\"?"},
	{"spec field", PA("  mTLS: {mode: STRICT}\n"), 5, "spec.mTLS", "did you mean \"mtls\"?"},
	{"selector field", PA("  selector: {labels: {a: b}}\n"), 5, "spec.selector.labels", "unknown field"},
	{"port without selector", PA("  portLevelMtls: {8080: {mode: STRICT}}\n"), 5, "spec.portLevelMtls",
	 "add a selector"},
	{"port not a number", PA("  selector: {matchLabels: {a: b}}\n  portLevelMtls:\n    http: {mode: STRICT}\n"), 7,
	 "spec.portLevelMtls.http", "not a port"},
	{"port out of range",
	 PA("  selector: {matchLabels: {a: b}}\n  portLevelMtls:\n    \"65536\": {mode: STRICT}\n"), 7,
	 "spec.portLevelMtls.65536", "not a port"},
	{"port mode", PA("  selector: {matchLabels: {a: b}}\n  portLevelMtls:\n    80: {mode: ON_}\n"), 7,
	 "spec.portLevelMtls.80.mode", "unknown mode"},
	{"selector in the root",
	 "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: "
	 "istio-system}\n"
	 "spec:\n  selector: {matchLabels: {a: b}}\n  mtls: {mode: STRICT}\n",
	 5, "spec.selector", "no effect in the root namespace"},
	/* settings */
	{"other ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {}\n", 3, "metadata",
	 "default/x is not read"},
	{"unknown key", CM("data:\n  outboundTraficPolicy: ALLOW_ANY\n"), 5, "data.outboundTraficPolicy",
	 "did you mean"},
	{"policy", CM("data:\n  outboundTrafficPolicy: ALLOW\n"), 5, "data.outboundTrafficPolicy",
	 "use ALLOW_ANY or REGISTRY_ONLY"},
	{"upgrade", CM("data:\n  h2UpgradePolicy: yes please\n"), 5, "data.h2UpgradePolicy", "use DO_NOT_UPGRADE or UPGRADE"},
	{"upstream", CM("data:\n  dnsUpstream: 1.1.1.1,dns.example\n"), 5, "data.dnsUpstream",
	 "\"dns.example\" is not an address"},
	{"upstream port", CM("data:\n  dnsUpstream: 1.1.1.1:0\n"), 5, "data.dnsUpstream", "is not an address"},
	{"upstream empty part", CM("data:\n  dnsUpstream: \"1.1.1.1,,\"\n"), 5, "data.dnsUpstream",
	 "is not an address"},
	{"upstream many",
	 CM("data:\n  dnsUpstream: 1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9\n"), 5,
	 "data.dnsUpstream", "more than 8"},
	{"upstream type", CM("data:\n  dnsUpstream: [1.1.1.1]\n"), 5, "data.dnsUpstream", "a string is needed"},
	{"binary", CM("binaryData: {a: b}\n"), 4, "binaryData", "under data"},
	{"config field", CM("dat: {}\n"), 4, "dat", "did you mean \"data\"?"},
	{"bundle without a certificate", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots}\ndata: {ca.crt: none}\n", 4,
	 "data[\"ca.crt\"]", "holds no certificate"},
	{"bundle that is cut off",
	 "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots}\ndata:\n  ca.crt: |\n    -----BEGIN CERTIFICATE-----\n    MIIB\n", 5,
	 "data[\"ca.crt\"]", "holds no certificate"},
	/* as OpenSSL would ask somebody for a pass phrase */
	{"bundle that is encrypted",
	 "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots}\ndata:\n  ca.crt: |\n    -----BEGIN CERTIFICATE-----\n"
	 "    Proc-Type: 4,ENCRYPTED\n    DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n    AAAAAAAAAAAAAAAAAAAAAA==\n"
	 "    -----END CERTIFICATE-----\n",
	 5, "data[\"ca.crt\"]", "holds no certificate"},
	{"bundle a number", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots}\ndata: {ca.crt: 7}\n", 4, "data[\"ca.crt\"]",
	 "a string is needed"},
	/* BackendTLSPolicy */
	{"tls nothing", "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: p}\n", 1, "spec",
	 "needs targetRefs and validation"},
	{"tls version", "apiVersion: gateway.networking.k8s.io/v2\nkind: BackendTLSPolicy\nmetadata: {name: p}\n", 1, "apiVersion",
	 "is not a version of BackendTLSPolicy"},
	{"tls no target", BT(BT_NAME BT_ROOTS), 5, "spec.targetRefs", "which Service's"},
	{"tls target kind", BT("  targetRefs: [{group: '', kind: Pod, name: web}]\n" BT_NAME BT_ROOTS), 5, "spec.targetRefs[0].kind",
	 "kind Service"},
	{"tls target group", BT("  targetRefs: [{group: apps, kind: Service, name: web}]\n" BT_NAME BT_ROOTS), 5,
	 "spec.targetRefs[0].group", "write group"},
	{"tls target name", BT("  targetRefs: [{group: '', kind: Service}]\n" BT_NAME BT_ROOTS), 5, "spec.targetRefs[0].name",
	 "which Service?"},
	{"tls target field", BT("  targetRefs: [{group: '', kind: Service, name: web, port: 1}]\n" BT_NAME BT_ROOTS), 5,
	 "spec.targetRefs[0].port", "unknown field"},
	{"tls no validation", BT(BT_TARGET), 5, "spec.validation", "whose certificate"},
	{"tls no name", BT(BT_TARGET "  validation:\n" BT_ROOTS), 7, "spec.validation.hostname", "the name that is asked for"},
	{"tls name", BT(BT_TARGET "  validation:\n    hostname: a_b\n" BT_ROOTS), 7, "spec.validation.hostname", "not a name"},
	{"tls address", BT(BT_TARGET "  validation:\n    hostname: 10.0.0.1\n" BT_ROOTS), 7, "spec.validation.hostname", "is an address"},
	{"tls no roots", BT(BT_TARGET BT_NAME), 7, "spec.validation.caCertificateRefs", "missing"},
	{"tls both roots", BT(BT_TARGET BT_NAME BT_ROOTS "    caCertificateRefs: [{group: '', kind: ConfigMap, name: r}]\n"), 9,
	 "spec.validation.caCertificateRefs", "leave one out"},
	{"tls set of roots", BT(BT_TARGET BT_NAME "    wellKnownCACertificates: Mozilla\n"), 8,
	 "spec.validation.wellKnownCACertificates", "use System"},
	{"tls roots kind", BT(BT_TARGET BT_NAME "    caCertificateRefs: [{group: '', kind: Secret, name: r}]\n"), 8,
	 "spec.validation.caCertificateRefs[0].kind", "kind ConfigMap"},
	{"tls uri", BT(BT_TARGET BT_NAME BT_ROOTS "    subjectAltNames: [{type: URI, uri: 'spiffe://a/b'}]\n"), 9,
	 "spec.validation.subjectAltNames[0].type", "use Hostname"},
	{"tls alt name", BT(BT_TARGET BT_NAME BT_ROOTS "    subjectAltNames: [{type: Hostname}]\n"), 9,
	 "spec.validation.subjectAltNames[0].hostname", "missing"},
	{"tls alt address", BT(BT_TARGET BT_NAME BT_ROOTS "    subjectAltNames: [{type: Hostname, hostname: 10.0.0.1}]\n"), 9,
	 "spec.validation.subjectAltNames[0].hostname", "is an address"},
	{"tls options", BT(BT_TARGET BT_NAME BT_ROOTS "  options: {a: b}\n"), 9, "spec.options", "no options"},
	/* lists */
	{"list field", "apiVersion: v1\nkind: List\nitem: []\n", 3, "item", "did you mean \"items\"?"},
	{"list items", "apiVersion: v1\nkind: List\nitems: {}\n", 3, "items", "a list is needed"},
	{"in a list",
	 "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec:\n    "
	 "ports:\n    - port: 70000\n",
	 9, "items[0].spec.ports[0].port", "70000 is not a port"},
};

static void each_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		const struct model_complaint *c;
		struct bed b;

		bed_init(&b);
		bed_apply(&b, r->text);
		if (model_n_complaints(b.model) != 1)
			print_message("%s: %zu complaints\n", r->name, model_n_complaints(b.model));
		c = complaint_get(b.model, r->line, r->field, r->says);
		assert_string_equal(c->file, "p.yaml");
		assert_false(c->kept_last_good);
		assert_true(c->since_wall_ns > 0);
		if (model_n_complaints(b.model) != 1) {
			complaints_print(b.model);
			fail_msg("%s: more than one complaint", r->name);
		}
		bed_done(&b);
	}
	print_message("%zu refusals\n", ARRAY_SIZE(refusals));
}

static void all_mistakes_at_once(void **state)
{
	struct bed b;
	char text[8192];
	FILE *f;

	bed_init(&b);
	bed_apply(&b, SVC("  type: X\n  ports:\n  - {port: 0}\n  - {name: b, port: 1}\n"));
	complaint_get(b.model, 5, "spec.type", "unknown type");
	complaint_get(b.model, 7, "spec.ports[0].port", "0 is not a port");
	complaint_get(b.model, 7, "spec.ports[0].name", "missing");
	assert_int_equal(model_n_complaints(b.model), 3);
	assert_string_equal(model_complaint_at(b.model, 0)->kind, "Service");
	assert_string_equal(model_complaint_at(b.model, 0)->object, "default/web");
	assert_null(model_complaint_at(b.model, 3));

	/* bounded for each document */
	f = fmemopen(text, sizeof(text), "w");
	fprintf(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports: [{port: 1}]\n");
	for (int i = 0; i < 100; i++)
		fprintf(f, "  unknown%d: 1\n", i);
	assert_int_equal(fclose(f), 0);
	bed_apply(&b, text);
	assert_int_equal(model_n_complaints(b.model), 16);
	bed_done(&b);
}

static void given_twice(void **state)
{
	static const struct text_file files[] = {
		{"a.yaml", "\n" SVC(PORT), false},
		{"b.yaml", SVC("  ports: [{port: 81}]\n"), false},
	};
	const struct model_complaint *c;
	struct bed b;
	size_t n;

	bed_init(&b);
	bed_apply_files(&b, "file", files, 2);
	assert_int_equal(model_n_complaints(b.model), 1);
	c = complaint_get(b.model, 3, "metadata.name", "Service default/web stands in a.yaml:2 already");
	assert_string_equal(c->file, "b.yaml");
	assert_int_equal(model_resources(b.model, RESOURCE_SERVICE, &n)[0]->service.ports[0].port, 80);
	assert_int_equal(n, 1);
	/* another source may not take it over either */
	bed_apply_files(&b, "kube", &files[1], 1);
	complaint_get(b.model, 3, "metadata.name", "is given by source \"file\" already (a.yaml:2)");
	assert_int_equal(model_resources(b.model, RESOURCE_SERVICE, &n)[0]->service.ports[0].port, 80);
	bed_done(&b);
}

static void address_given_twice(void **state)
{
	static const char one[] = "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {clusterIP: 10.79.0.9, "
				  "ports: [{port: 1}]}\n---\n";
	static const char two[] = "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {clusterIP: 10.79.0.9, "
				  "ports: [{port: 1}]}\n---\n";
	char text[1024];
	const struct resource *r;
	struct bed b;
	size_t n;

	bed_init(&b);
	snprintf(text, sizeof(text), "%s%s", two, one);
	bed_apply(&b, text);
	assert_int_equal(model_n_complaints(b.model), 1);
	/* first in the file counts, not first by name */
	complaint_get(b.model, 6, "spec.clusterIP",
		      "10.79.0.9 is the address of Service default/two already (p.yaml:1)");
	assert_int_equal((model_resources(b.model, RESOURCE_SERVICE, &n), n), 1);

	/* a change to an address that is taken leaves the last good one in force */
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {clusterIP: 10.79.0.8, ports: "
		      "[{port: 1}]}\n---\n"
		      "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {clusterIP: 10.79.0.9, ports: "
		      "[{port: 1}]}\n");
	no_complaints(b.model);
	snprintf(text, sizeof(text), "%s%s", two, one);
	bed_apply(&b, text);
	assert_true(
		complaint_get(b.model, 6, "spec.clusterIP", "is the address of Service default/two")->kept_last_good);
	r = model_resource_find(b.model, RESOURCE_SERVICE, "default", "one");
	assert_non_null(r);
	assert_true(addr_ip_eq(&r->service.addresses[0].addr, &(struct addr){.ip = {[10] = 0xff, 0xff, 10, 79, 0, 8}}));

	/* both swap: nobody's old address stands in the way */
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {clusterIP: 10.79.0.9, ports: "
		      "[{port: 1}]}\n---\n"
		      "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {clusterIP: 10.79.0.8, ports: "
		      "[{port: 1}]}\n");
	no_complaints(b.model);
	bed_done(&b);
}

static void control_bytes_are_struck_out(void **state)
{
	struct bed b;

	bed_init(&b);
	bed_apply(&b, SVC(PORT "  \"a\\e[31m\\nb\": 1\n"));
	assert_string_equal(model_complaint_at(b.model, 0)->field, "spec[\"a?[31m?b\"]");
	bed_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_refused),
		cmocka_unit_test(all_mistakes_at_once),
		cmocka_unit_test(given_twice),
		cmocka_unit_test(address_given_twice),
		cmocka_unit_test(control_bytes_are_struck_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
