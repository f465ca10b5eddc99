/* SPDX-License-Identifier: Apache-2.0 */
/* What the model takes, and what it keeps: acceptances, defaults, last good versions, virtual addresses. */
#include "policy_lib.h"

static const struct resource *service_get(const struct bed *b, const char *ns, const char *name)
{
	const struct resource *r = model_resource_find(b->model, RESOURCE_SERVICE, ns, name);

	if (!r) {
		complaints_print(b->model);
		fail_msg("no service %s/%s", ns, name);
	}
	return r;
}

/* As "kubectl get service web -o yaml" prints it. */
static void service_from_a_cluster(void **state)
{
	static const char text[] = "apiVersion: v1\n"
				   "kind: Service\n"
				   "metadata:\n"
				   "  annotations:\n"
				   "    kubectl.kubernetes.io/last-applied-configuration: |\n"
				   "      {\"apiVersion\":\"v1\"}\n"
				   "  creationTimestamp: \"2024-05-01T10:00:00Z\"\n"
				   "  finalizers: [a/b]\n"
				   "  generation: 3\n"
				   "  labels: {app.kubernetes.io/name: web, empty: \"\"}\n"
				   "  managedFields: [{manager: kubectl}]\n"
				   "  name: web\n"
				   "  namespace: shop\n"
				   "  ownerReferences: []\n"
				   "  resourceVersion: \"4711\"\n"
				   "  uid: 1b7c7a60-0000-4000-8000-000000000000\n"
				   "spec:\n"
				   "  clusterIP: 10.79.3.7\n"
				   "  clusterIPs: [10.79.3.7]\n"
				   "  externalIPs: []\n"
				   "  internalTrafficPolicy: Cluster\n"
				   "  ipFamilies: [IPv4]\n"
				   "  ipFamilyPolicy: SingleStack\n"
				   "  ports:\n"
				   "  - {name: http-web, port: 80, protocol: TCP, targetPort: 8080, nodePort: 0}\n"
				   "  - {name: db, port: 3306, appProtocol: null}\n"
				   "  - {name: h2, port: 81, appProtocol: kubernetes.io/h2c}\n"
				   "  selector: {app: web, tier: front}\n"
				   "  sessionAffinity: None\n"
				   "  trafficDistribution: PreferClose\n"
				   "  type: ClusterIP\n"
				   "status:\n"
				   "  loadBalancer: {}\n";
	const struct resource *r;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	r = service_get(&b, "shop", "web");
	assert_string_equal(r->created, "2024-05-01T10:00:00Z");
	assert_string_equal(r->file, "p.yaml");
	assert_int_equal(r->line, 1);
	assert_int_equal(r->service.n_ports, 3);
	assert_int_equal(r->service.ports[0].target_port, 8080);
	assert_int_equal(r->service.ports[0].protocol, MODEL_APP_HTTP1);
	assert_int_equal(r->service.ports[1].target_port, 3306);
	assert_int_equal(r->service.ports[1].protocol, MODEL_APP_SERVER_FIRST);
	assert_int_equal(r->service.ports[2].protocol, MODEL_APP_HTTP2);
	assert_int_equal(r->service.n_selector, 2);
	assert_string_equal(r->service.selector[0], "app=web");
	assert_string_equal(r->service.selector[1], "tier=front");
	assert_int_equal(r->service.n_addresses, 1);
	assert_true(addr_ip_eq(&r->service.addresses[0].addr, &(struct addr){.ip = {[10] = 0xff, 0xff, 10, 79, 3, 7}}));
	bed_done(&b);
}

static void protocols(void **state)
{
	static const struct {
		const char *app, *name;
		uint16_t port;
		enum model_protocol want;
	} cases[] = {
		{NULL, "http", 1, MODEL_APP_HTTP1},
		{NULL, "http-web", 1, MODEL_APP_HTTP1},
		{NULL, "http2-x", 1, MODEL_APP_HTTP2},
		{NULL, "grpc", 1, MODEL_APP_GRPC},
		{NULL, "grpc-web", 1, MODEL_APP_HTTP1},
		{NULL, "grpc-web-x", 1, MODEL_APP_HTTP1},
		{NULL, "grpc-webby", 1, MODEL_APP_GRPC},
		{NULL, "tcp-a", 1, MODEL_APP_TCP},
		{NULL, "tls", 1, MODEL_APP_TLS},
		{NULL, "https", 1, MODEL_APP_TLS},
		{NULL, "mysql", 1, MODEL_APP_SERVER_FIRST},
		{NULL, "mongo-0", 1, MODEL_APP_SERVER_FIRST},
		{NULL, "redis", 1, MODEL_APP_TCP},
		{NULL, "web", 80, MODEL_APP_UNDECLARED},
		{NULL, "", 80, MODEL_APP_UNDECLARED},
		{NULL, "httpx", 80, MODEL_APP_UNDECLARED},
		{NULL, "", 25, MODEL_APP_SERVER_FIRST},
		{NULL, "http", 3306, MODEL_APP_HTTP1},
		{"http", "tcp", 1, MODEL_APP_HTTP1},
		{"GRPC", "", 1, MODEL_APP_GRPC},
		{"kubernetes.io/h2c", "", 1, MODEL_APP_HTTP2},
		{"kubernetes.io/wss", "http", 1, MODEL_APP_TLS},
		{"example.com/own", "http", 1, MODEL_APP_TCP},
		{"smtp", "", 1, MODEL_APP_SERVER_FIRST},
	};
	struct bed b;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct service_port *p;
		char text[512], app[128] = "";

		if (cases[i].app)
			snprintf(app, sizeof(app), ", appProtocol: \"%s\"", cases[i].app);
		snprintf(text, sizeof(text),
			 "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: %u, name: "
			 "\"%s\"%s}]}\n",
			 cases[i].port, cases[i].name, app);
		bed_init(&b);
		bed_apply(&b, text);
		no_complaints(b.model);
		p = &service_get(&b, "default", "a")->service.ports[0];
		if (p->protocol != cases[i].want)
			fail_msg("%s/%s/%u: %d", cases[i].app ? cases[i].app : "-", cases[i].name, cases[i].port,
				 p->protocol);
		bed_done(&b);
	}
}

static void families(void **state)
{
	static const struct {
		const char *spec, *want; /* "4", "46", "64"; * behind: stated */
	} cases[] = {
		{"", "46"},
		{"ipFamilies: [IPv6], ", "6"},
		{"ipFamilies: [IPv6, IPv4], ", "64"},
		{"ipFamilies: [IPv6], ipFamilyPolicy: PreferDualStack, ", "64"},
		{"ipFamilyPolicy: SingleStack, ", "4"},
		{"ipFamilyPolicy: RequireDualStack, ", "46"},
		{"clusterIP: \"fd79::5\", ", "6*"},
		{"clusterIP: 10.79.0.5, ", "4*"},
		{"clusterIP: \"\", ", "46"},
		{"clusterIP: \"fd79::5\", ipFamilyPolicy: PreferDualStack, ", "6*4"},
		{"clusterIPs: [10.79.0.5, \"fd79::5\"], ", "4*6*"},
	};
	struct bed b;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct service *s;
		char text[512], got[16] = "";
		size_t n = 0;

		snprintf(text, sizeof(text),
			 "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {%sports: [{port: 1}]}\n",
			 cases[i].spec);
		bed_init(&b);
		bed_apply(&b, text);
		no_complaints(b.model);
		s = &service_get(&b, "default", "a")->service;
		for (size_t k = 0; k < s->n_addresses; k++) {
			assert_false(addr_is_any(&s->addresses[k].addr));
			assert_int_equal(addr_is_v4(&s->addresses[k].addr), !s->addresses[k].v6);
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%c%s", s->addresses[k].v6 ? '6' : '4',
					      s->addresses[k].stated ? "*" : "");
		}
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].spec, got);
		bed_done(&b);
	}
	/* with no IPv6 range */
	bed_init_ranges(&b, "10.79.0.0/16", NULL);
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n");
	assert_int_equal(service_get(&b, "default", "a")->service.n_addresses, 1);
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ipFamilyPolicy: PreferDualStack, "
		      "ports: [{port: 1}]}\n");
	no_complaints(b.model);
	bed_apply(
		&b,
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ipFamilies: [IPv6], ports: [{port: 1}]}\n");
	complaint_get(b.model, 4, "spec.ipFamilies[0]", "no IPv6 range");
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ipFamilyPolicy: RequireDualStack, "
		      "ports: [{port: 1}]}\n");
	complaint_get(b.model, 4, "spec.ipFamilyPolicy", "one family alone");
	bed_done(&b);
}

static void other_kinds(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n"
		"- {apiVersion: v1, kind: Namespace, metadata: {name: shop}, spec: {finalizers: [kubernetes]}}\n"
		"- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}\n"
		"- {apiVersion: v1, kind: Service, metadata: {name: ext, namespace: shop}, spec: {ports: [{port: 80, "
		"name: http}], clusterIP: None}}\n"
		"- apiVersion: discovery.k8s.io/v1\n"
		"  kind: EndpointSlice\n"
		"  metadata: {name: ext-1.x, namespace: shop, labels: {kubernetes.io/service-name: ext}}\n"
		"  addressType: IPv4\n"
		"  endpoints:\n"
		"  - {addresses: [192.0.2.1, 192.0.2.2], conditions: {ready: null}, hostname: a, nodeName: n1, zone: "
		"z, targetRef: {kind: Pod}}\n"
		"  - {addresses: [192.0.2.3], conditions: {ready: true, serving: false, terminating: true}}\n"
		"  ports: [{name: http, port: 8080, protocol: TCP, appProtocol: http}]\n"
		"---\n"
		"{apiVersion: security.istio.io/v1beta1, kind: PeerAuthentication, metadata: {name: p, namespace: "
		"shop},\n"
		" spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9000: {mode: "
		"DISABLE}, \"80\": {mode: UNSET}}}}\n"
		"---\n"
		"{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: q, namespace: shop}}\n"
		"---\n"
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: trammel, namespace: trammel-system}\nimmutable: "
		"true\n"
		"data: {outboundTrafficPolicy: REGISTRY_ONLY, h2UpgradePolicy: DO_NOT_UPGRADE, dnsUpstream: \"1.1.1.1, 10.0.0.1:5353,[fd00::1]:54, "
		"fd00::2\"}\n";
	const struct resource *r;
	struct bed b;
	size_t n;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	assert_true(service_get(&b, "shop", "ext")->service.headless);
	r = model_resource_find(b.model, RESOURCE_ENDPOINT_SLICE, "shop", "ext-1.x");
	assert_non_null(r);
	assert_string_equal(r->slice.service, "ext");
	assert_int_equal(r->slice.n_endpoints, 2);
	assert_int_equal(r->slice.endpoints[0].n_addresses, 2);
	assert_true(r->slice.endpoints[0].ready);
	assert_string_equal(r->slice.endpoints[0].hostname, "a");
	assert_false(r->slice.endpoints[1].ready);
	assert_true(r->slice.endpoints[1].terminating);
	assert_false(r->slice.hbone);
	assert_string_equal(r->slice.service_account, "");
	r = model_resources(b.model, RESOURCE_PEER_AUTHENTICATION, &n)[0];
	assert_int_equal(n, 2);
	assert_int_equal(r->peer_auth.mode, MODEL_MTLS_STRICT);
	assert_int_equal(r->peer_auth.n_ports, 2);
	assert_int_equal(r->peer_auth.ports[0].port, 80);
	assert_int_equal(r->peer_auth.ports[1].mode, MODEL_MTLS_DISABLE);
	r = model_resources(b.model, RESOURCE_CONFIG_MAP, &n)[0];
	assert_true(r->config.refuse_unknown);
	assert_false(r->config.h2_upgrade);
	assert_int_equal(r->config.n_dns_upstream, 4);
	assert_int_equal(r->config.dns_upstream[0].port, 53);
	assert_int_equal(r->config.dns_upstream[1].port, 5353);
	assert_int_equal(r->config.dns_upstream[2].port, 54);
	assert_int_equal(r->config.dns_upstream[3].port, 53);
	bed_done(&b);
}

#define WEB(port) "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: " port "}]}\n---\n"
#define DB        "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 5432}]}\n---\n"

static unsigned int web_port(const struct bed *b)
{
	const struct resource *r = model_resource_find(b->model, RESOURCE_SERVICE, "default", "web");

	return r ? r->service.ports[0].port : 0;
}

static void last_good_stays(void **state)
{
	const struct model_complaint *c;
	uint64_t since;
	struct bed b;
	size_t n;

	bed_init(&b);
	bed_apply(&b, WEB("80") DB);
	no_complaints(b.model);
	bed_apply(&b, WEB("0") DB);
	c = complaint_get(b.model, 4, "spec.ports[0].port", "0 is not a port");
	assert_true(c->kept_last_good);
	since = c->since_wall_ns;
	assert_int_equal(web_port(&b), 80);
	/* still wrong: the complaint is the old one */
	bed_apply(&b, WEB("0") DB);
	assert_int_equal(complaint_get(b.model, 4, "spec.ports[0].port", "0 is not a port")->since_wall_ns, since);
	assert_int_equal(web_port(&b), 80);
	/* wrong otherwise, and then right again */
	bed_apply(&b, WEB("99999"));
	assert_int_equal(model_n_complaints(b.model), 1);
	assert_int_equal(web_port(&b), 80);
	assert_int_equal((model_resources(b.model, RESOURCE_SERVICE, &n), n), 1); /* db was taken out */
	bed_apply(&b, WEB("81"));
	no_complaints(b.model);
	assert_int_equal(web_port(&b), 81);
	/* taken out is taken out */
	bed_apply(&b, "");
	assert_int_equal(web_port(&b), 0);
	no_complaints(b.model);
	/* never good: not there, and not said to be kept */
	bed_apply(&b, WEB("0"));
	assert_false(complaint_get(b.model, 4, "spec.ports[0].port", "0 is not a port")->kept_last_good);
	assert_int_equal(web_port(&b), 0);
	/* a wrong version is a refusal of the same object */
	bed_apply(&b, WEB("80"));
	bed_apply(&b, "apiVersion: v9\nkind: Service\nmetadata: {name: web}\n");
	assert_true(complaint_get(b.model, 1, "apiVersion", "v9")->kept_last_good);
	assert_int_equal(web_port(&b), 80);
	bed_done(&b);
}

static void vague_document_keeps_its_file(void **state)
{
	struct text_file files[] = {
		{"a.yaml", WEB("80") DB, false},
		{"b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {ports: [{port: 1}]}\n",
		 false}};
	struct bed b;

	bed_init(&b);
	bed_apply_files(&b, "file", files, 2);
	/* the name of web is broken: which object that was, nobody can tell; none of that file goes */
	files[0].text = "apiVersion: v1\nkind: Service\nmetadata: {name: We!b}\nspec: {ports: [{port: 80}]}\n---\n" DB;
	files[1].text = "";
	bed_apply_files(&b, "file", files, 2);
	complaint_get(b.model, 3, "metadata.name", "not a service name");
	assert_int_equal(web_port(&b), 80);
	assert_non_null(model_resource_find(b.model, RESOURCE_SERVICE, "default", "db"));
	assert_null(model_resource_find(b.model, RESOURCE_SERVICE, "default", "other"));
	files[0].text = DB;
	bed_apply_files(&b, "file", files, 2);
	no_complaints(b.model);
	assert_int_equal(web_port(&b), 0);
	bed_done(&b);
}

static void stale_documents_yield(void **state)
{
	struct text_file files[] = {{"a.yaml", WEB("80") WEB("0"), true}, {"b.yaml", WEB("81"), false}};
	struct bed b;

	bed_init(&b);
	bed_apply_files(&b, "file", files, 1);
	no_complaints(b.model); /* what a version that nobody sees any more gets wrong is not news */
	assert_int_equal(web_port(&b), 80);
	bed_apply_files(&b, "file", files, 2); /* moved to another file while its old one is broken */
	no_complaints(b.model);
	assert_int_equal(web_port(&b), 81);
	bed_done(&b);
}

static void origins_are_apart(void **state)
{
	struct text_file web = {"a.yaml", WEB("80"), false}, db = {"k", DB, false}, bad = {"k", WEB("0"), false};
	struct bed b;

	bed_init(&b);
	bed_apply_files(&b, "file", &web, 1);
	bed_apply_files(&b, "kube", &db, 1);
	assert_int_equal(web_port(&b), 80);
	bed_apply_files(&b, "kube", NULL, 0);
	assert_int_equal(web_port(&b), 80);
	assert_null(model_resource_find(b.model, RESOURCE_SERVICE, "default", "db"));
	bed_apply_files(&b, "kube", &bad, 1);
	assert_int_equal(model_n_complaints(b.model), 1);
	bed_apply_files(&b, "file", &web, 1); /* the other's complaint stays */
	assert_int_equal(model_n_complaints(b.model), 1);
	bed_done(&b);
}

static void faults_are_complaints(void **state)
{
	struct model_fault fault = {
		.place = {"x.yaml", 7}, .field = "", .text = "is not YAML: oh", .kept_last_good = true};
	struct bed b;

	bed_init(&b);
	assert_int_equal(model_apply_set(b.model, "file", &(struct model_set){.faults = &fault, .n_faults = 1}), 0);
	assert_true(complaint_get(b.model, 7, "", "is not YAML")->kept_last_good);
	assert_string_equal(model_complaint_at(b.model, 0)->file, "x.yaml");
	bed_done(&b);
}

/* Virtual addresses */

#define SERVICES_BYTES 8192

static void services_text(char text[SERVICES_BYTES], size_t n, const char *spec)
{
	FILE *f = fmemopen(text, SERVICES_BYTES, "w");

	for (size_t i = 0; i < n; i++)
		fprintf(f, "apiVersion: v1\nkind: Service\nmetadata: {name: s%zu}\nspec: {%sports: [{port: 1}]}\n---\n", i, spec);
	assert_int_equal(fclose(f), 0);
}

static void addresses_are_stable(void **state)
{
	char text[SERVICES_BYTES], name[16];
	struct addr first[40], six[40];
	struct bed b;

	services_text(text, 40, "");
	for (int round = 0; round < 2; round++) { /* the second is a restart */
		bed_init(&b);
		bed_apply(&b, text);
		no_complaints(b.model);
		for (size_t i = 0; i < 40; i++) {
			const struct service *s;

			snprintf(name, sizeof(name), "s%zu", i);
			s = &service_get(&b, "default", name)->service;
			if (round == 0) {
				first[i] = s->addresses[0].addr;
				six[i] = s->addresses[1].addr;
				for (size_t k = 0; k < i; k++)
					assert_false(addr_ip_eq(&first[k], &first[i]) || addr_ip_eq(&six[k], &six[i]));
			}
			assert_true(addr_ip_eq(&first[i], &s->addresses[0].addr));
			assert_true(addr_ip_eq(&six[i], &s->addresses[1].addr));
		}
		if (round == 0)
			bed_done(&b);
	}
	/* a restart with others there, or a change of its spec, moves nobody */
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: s3}\nspec: {ports: [{port: 2}]}\n");
	assert_true(addr_ip_eq(&first[3], &service_get(&b, "default", "s3")->service.addresses[0].addr));
	bed_done(&b);
	bed_init(&b);
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: s3}\nspec: {ports: [{port: 2}]}\n");
	assert_true(addr_ip_eq(&first[3], &service_get(&b, "default", "s3")->service.addresses[0].addr));
	bed_done(&b);
}

static void addresses_run_out(void **state)
{
	char text[SERVICES_BYTES];
	size_t n, with = 0;
	struct resource *const *list;
	struct bed b;

	bed_init_ranges(&b, "10.79.0.0/29", NULL); /* 6 to give */
	services_text(text, 7, "");
	bed_apply(&b, text);
	list = model_resources(b.model, RESOURCE_SERVICE, &n);
	assert_int_equal(n, 7);
	for (size_t i = 0; i < n; i++) {
		const struct addr *a = &list[i]->service.addresses[0].addr;

		with += !addr_is_any(a);
		assert_true(addr_is_any(a) || (a->ip[15] >= 1 && a->ip[15] <= 6));
	}
	assert_int_equal(with, 6);
	assert_int_equal(model_n_complaints(b.model), 1);
	assert_non_null(strstr(model_complaint_at(b.model, 0)->text, "no IPv4 address is free"));
	/* one goes, and the last gets its address */
	services_text(text, 6, "");
	bed_apply(&b, text);
	no_complaints(b.model);
	bed_done(&b);
}

static void stated_address_moves_a_dealt_one(void **state)
{
	struct addr had, now;
	char text[512], t[ADDR_TEXT_BYTES];
	struct bed b;

	bed_init(&b);
	bed_apply(&b, DB);
	had = service_get(&b, "default", "db")->service.addresses[0].addr;
	snprintf(text, sizeof(text),
		 DB "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: %s, ports: [{port: 1}]}\n",
		 addr_format_ip(&had, t));
	bed_apply(&b, text);
	no_complaints(b.model);
	assert_true(addr_ip_eq(&service_get(&b, "default", "web")->service.addresses[0].addr, &had));
	now = service_get(&b, "default", "db")->service.addresses[0].addr;
	assert_false(addr_ip_eq(&now, &had) || addr_is_any(&now));
	bed_done(&b);
}

/* Announcements */

static void on_change(void *user)
{
	++*(int *)user;
}

static void changes_are_announced_once(void **state)
{
	struct bed b;
	int n = 0;

	bed_init(&b);
	model_on_change(b.model, on_change, &n);
	bed_apply(&b, WEB("80"));
	bed_apply(&b, DB);
	workload_set(&b, 1, "default", "w", "app=web", "10.78.0.2", NULL, 80);
	assert_int_equal(n, 0);
	assert_int_equal(loop_turn(b.loop, 0), 0);
	assert_int_equal(n, 1);
	workload_set(&b, 1, "default", "w", "app=web", "10.78.0.2", NULL, 80); /* nothing new */
	assert_int_equal(loop_turn(b.loop, 0), 0);
	assert_int_equal(n, 1);
	workload_set(&b, 1, "default", "w", "app=web", "10.78.0.2", NULL, 0);
	model_workload_remove(b.model, "default", "nobody");
	assert_int_equal(loop_turn(b.loop, 0), 0);
	assert_int_equal(n, 2);
	model_workload_remove(b.model, "default", "w");
	assert_int_equal(loop_turn(b.loop, 0), 0);
	assert_int_equal(n, 3);
	bed_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_from_a_cluster),
		cmocka_unit_test(protocols),
		cmocka_unit_test(families),
		cmocka_unit_test(other_kinds),
		cmocka_unit_test(last_good_stays),
		cmocka_unit_test(vague_document_keeps_its_file),
		cmocka_unit_test(stale_documents_yield),
		cmocka_unit_test(origins_are_apart),
		cmocka_unit_test(faults_are_complaints),
		cmocka_unit_test(addresses_are_stable),
		cmocka_unit_test(addresses_run_out),
		cmocka_unit_test(stated_address_moves_a_dealt_one),
		cmocka_unit_test(changes_are_announced_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
