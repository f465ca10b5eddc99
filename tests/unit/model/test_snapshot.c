/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: endpoints, inbound tables, PeerAuthentication by precedence, names, look-ups, differences, and their cost.
 */
#include "base/clock.h"
#include "control/snapshot/snapshot.h"
#include "policy_lib.h"

static struct mesh_snapshot *snapshot(const struct bed *b, uint64_t generation)
{
	struct mesh_snapshot *s;

	assert_int_equal(mesh_snapshot_build(b->model, generation, &s), 0);
	return s;
}

#define WEB                                                                                                   \
	"apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"                                              \
	"spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-x, port: " \
	"9000}]}\n---\n"

static void endpoints_follow_workloads(void **state)
{
	const struct mesh_service_port *p;
	const struct mesh_endpoint *e;
	const struct mesh_service *svc;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, WEB);
	no_complaints(b.model);
	workload_set(&b, 1, "default", "w1", "app=web", "10.78.0.9", "fd78::9", 8080);
	workload_set(&b, 2, "default", "w2", "app=web", "10.78.0.3", "fd78::3", 9999);
	workload_set(&b, 3, "default", "other", "app=db", "10.78.0.4", NULL, 8080);
	workload_set(&b, 4, "shop", "w1", "app=web", "10.78.0.5", NULL, 8080);
	workload_set(&b, 5, "default", "bare", NULL, "10.78.0.6", NULL, 8080);
	s = snapshot(&b, 7);
	assert_int_equal(mesh_snapshot_generation(s), 7);
	assert_int_equal(mesh_snapshot_n_services(s), 1);
	assert_int_equal(mesh_snapshot_n_workloads(s), 5);
	svc = mesh_snapshot_service_at(s, 0);
	assert_string_equal(svc->hostname, "web.default.svc.cluster.local");
	assert_int_equal(svc->n_addresses, 2);
	p = mesh_service_port_find(svc, 80);
	assert_int_equal(p->protocol, MESH_APP_HTTP1);
	assert_int_equal(p->n_endpoints, 2); /* the first family alone, sorted by address */
	e = p->endpoints;
	assert_true(addr_eq(&e[0].addr, &(struct addr){.ip = {[10] = 0xff, 0xff, 10, 78, 0, 3}, .port = 8080}));
	assert_string_equal(e[0].workload, "w2");
	assert_string_equal(e[0].namespace, "default");
	assert_false(e[0].ready);
	assert_string_equal(e[1].workload, "w1");
	assert_true(e[1].ready && e[1].mtls && !e[1].terminating);
	assert_string_equal(e[1].spiffe_id, "spiffe://cluster.local/ns/default/sa/sa");
	assert_null(mesh_service_port_find(svc, 8080));
	mesh_snapshot_unref(s);

	/* terminating: not ready, and said */
	assert_int_equal(
		model_workload_set(b.model, &(struct model_workload){.id = 1,
								     .namespace = "default",
								     .name = "w1",
								     .service_account = "sa",
								     .labels = (const char *[]){"app=web"},
								     .n_labels = 1,
								     .addresses = (struct addr[]){ip("10.78.0.9")},
								     .n_addresses = 1,
								     .listening = (uint16_t[]){8080},
								     .n_listening = 1,
								     .terminating = true}),
		0);
	s = snapshot(&b, 8);
	e = mesh_service_port_find(mesh_snapshot_service_at(s, 0), 80)->endpoints;
	assert_true(!e[1].ready && e[1].terminating);
	mesh_snapshot_unref(s);

	/* publishNotReadyAddresses: all are ready */
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
		      "spec: {selector: {app: web}, publishNotReadyAddresses: true, ports: [{port: 80, targetPort: "
		      "8080}]}\n");
	s = snapshot(&b, 9);
	e = mesh_service_port_find(mesh_snapshot_service_at(s, 0), 80)->endpoints;
	assert_true(e[0].ready && e[1].ready);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void selectors_need_all_labels(void **state)
{
	const char *labels[] = {"tier=front", "app=web", "app=web"};
	struct mesh_snapshot *s;
	struct addr a;
	struct bed b;

	bed_init(&b);
	a = ip("10.78.0.2");
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: both}\nspec: {selector: {app: web, tier: "
		      "front}, ports: [{port: 1}]}\n---\n"
		      "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {selector: {app: web}, ports: "
		      "[{port: 1}]}\n---\n"
		      "apiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {selector: {app: web, tier: "
		      "back}, ports: [{port: 1}]}\n");
	assert_int_equal(model_workload_set(b.model, &(struct model_workload){.id = 1,
									      .namespace = "default",
									      .name = "w",
									      .labels = labels,
									      .n_labels = 3,
									      .addresses = &a,
									      .n_addresses = 1}),
			 0);
	workload_set(&b, 2, "default", "v", "app=web", "10.78.0.3", NULL, 1);
	s = snapshot(&b, 1);
	assert_int_equal(mesh_snapshot_service_find(s, "default", "both")->ports[0].n_endpoints, 1);
	assert_int_equal(mesh_snapshot_service_find(s, "default", "one")->ports[0].n_endpoints, 2);
	assert_int_equal(mesh_snapshot_service_find(s, "default", "wrong")->ports[0].n_endpoints, 0);
	assert_string_equal(mesh_snapshot_workload_find(s, "default", "w")->service_account, "default");
	assert_string_equal(mesh_snapshot_workload_find(s, "default", "w")->labels[2], "tier=front");
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void slices_by_hand(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: Service\nmetadata: {name: ext}\nspec: {ports: [{name: http, port: 80}, {name: "
		"other, port: 81}]}\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, labels: "
		"{kubernetes.io/service-name: ext}}\n"
		"addressType: IPv4\nports: [{name: http, port: 8080}]\n"
		"endpoints: [{addresses: [192.0.2.9]}, {addresses: [10.78.0.2], conditions: {ready: false}}]\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: b, labels: "
		"{kubernetes.io/service-name: ext}}\n"
		"addressType: IPv4\nports: [{name: http, port: 8080}]\n"
		"endpoints: [{addresses: [10.78.0.2]}, {addresses: [192.0.2.1], conditions: {terminating: true, ready: "
		"false}}]\n";
	const struct mesh_endpoint *e;
	const struct mesh_workload *w;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	workload_set(&b, 4, "shop", "w", NULL, "10.78.0.2", NULL, 0);
	s = snapshot(&b, 1);
	assert_int_equal(mesh_snapshot_service_at(s, 0)->ports[0].n_endpoints, 3);
	assert_int_equal(mesh_snapshot_service_at(s, 0)->ports[1].n_endpoints, 0);
	e = mesh_snapshot_service_at(s, 0)->ports[0].endpoints;
	assert_string_equal(e[0].spiffe_id, "spiffe://cluster.local/ns/shop/sa/sa");
	assert_true(e[0].mtls && e[0].ready); /* two slices name it, one of them as ready */
	assert_string_equal(e[1].spiffe_id, "");
	assert_string_equal(e[1].workload, "");
	assert_true(!e[1].mtls && !e[1].ready && e[1].terminating);
	assert_true(e[2].ready);
	w = mesh_snapshot_workload_by_id(s, 4);
	assert_int_equal(w->n_inbound, 1);
	assert_int_equal(w->inbound[0].port, 8080);
	assert_int_equal(w->inbound[0].service_port, 80);
	assert_string_equal(w->inbound[0].service->name, "ext");
	mesh_snapshot_unref(s);
	bed_done(&b);
}

/* HBONE: by the label of a workload, by the mark of a slice; never where policy or the port says plaintext. */
static void tunnels(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: Service\nmetadata: {name: ext, namespace: shop}\nspec: {ports: [{port: 80}]}\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, namespace: shop, labels: "
		"{kubernetes.io/service-name: ext, networking.istio.io/tunnel: http}, annotations: "
		"{alpha.istio.io/kubernetes-serviceaccounts: far}}\n"
		"addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [192.0.2.1, 10.78.0.3]}]\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: b, namespace: shop, labels: "
		"{kubernetes.io/service-name: ext}, annotations: {ambient.istio.io/redirection: enabled, "
		"alpha.istio.io/kubernetes-serviceaccounts: farther}}\n"
		"addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [192.0.2.2]}]\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: c, namespace: shop, labels: "
		"{kubernetes.io/service-name: ext}, annotations: {ambient.istio.io/redirection: disabled}}\n"
		"addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [192.0.2.2, 192.0.2.3]}]\n---\n"
		"apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: a, port: 80}, "
		"{name: b, port: 81}]}\n---\n"
		"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\n"
		"spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {81: {mode: DISABLE}}}\n";
	static const char *const labels[] = {"app=web", "networking.istio.io/tunnel=http"};
	static const char *const others[] = {"app=other", "networking.istio.io/tunnel=none"};
	static const struct {
		bool hbone;
		const char *spiffe_id;
	} by_hand[] = {
		{false, "spiffe://cluster.local/ns/default/sa/other"}, /* 10.78.0.3: a workload is what it says itself */
		{true, "spiffe://cluster.local/ns/shop/sa/far"},
		{true, "spiffe://cluster.local/ns/shop/sa/farther"}, /* not the plaintext of slice c */
		{false, ""},
	};
	struct addr a = ip("10.78.0.2"), other = ip("10.78.0.3");
	const struct mesh_service *svc;
	const struct mesh_endpoint *e;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	assert_int_equal(model_workload_set(b.model, &(struct model_workload){.id = 1,
									      .namespace = "default",
									      .name = "w",
									      .labels = labels,
									      .n_labels = 2,
									      .addresses = &a,
									      .n_addresses = 1}),
			 0);
	assert_int_equal(model_workload_set(b.model, &(struct model_workload){.id = 2,
									      .namespace = "default",
									      .name = "v",
									      .service_account = "other",
									      .labels = others,
									      .n_labels = 2,
									      .addresses = &other,
									      .n_addresses = 1}),
			 0);
	s = snapshot(&b, 1);
	svc = mesh_snapshot_service_find(s, "default", "web");
	assert_true(svc->ports[0].endpoints[0].mtls && svc->ports[0].endpoints[0].hbone);
	assert_true(!svc->ports[1].endpoints[0].mtls && !svc->ports[1].endpoints[0].hbone);
	assert_true(mesh_snapshot_workload_find(s, "default", "w")->hbone);
	assert_false(mesh_snapshot_workload_find(s, "default", "v")->hbone);
	svc = mesh_snapshot_service_find(s, "shop", "ext");
	assert_int_equal(svc->ports[0].n_endpoints, ARRAY_SIZE(by_hand));
	for (size_t i = 0; i < ARRAY_SIZE(by_hand); i++) {
		e = &svc->ports[0].endpoints[i];
		assert_int_equal(e->hbone, by_hand[i].hbone);
		assert_int_equal(e->mtls, by_hand[i].spiffe_id[0] != '\0');
		assert_string_equal(e->spiffe_id, by_hand[i].spiffe_id);
	}
	mesh_snapshot_unref(s);
	bed_done(&b);
}

/* What proxies answer themselves is plaintext, whatever the policy; it says so where a service leads there too. */
static void open_ports_are_plaintext(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: Service\nmetadata: {name: ext, namespace: shop}\nspec: {ports: [{name: m, port: 90}, {name: r, port: 21}, "
		"{name: h, port: 80}]}\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, namespace: shop, labels: "
		"{kubernetes.io/service-name: ext}}\n"
		"addressType: IPv4\nports: [{name: m, port: 15090}, {name: r, port: 15021}, {name: h, port: 8080}]\n"
		"endpoints: [{addresses: [10.78.0.2]}]\n---\n"
		"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\n"
		"spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {15090: {mode: STRICT}}}\n";
	static const struct {
		uint16_t port;
		bool mtls;
	} cases[] = {{90, false}, {21, false}, {80, true}};
	const struct mesh_service *svc;
	const struct mesh_workload *w;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	workload_set(&b, 4, "shop", "w", "app=web", "10.78.0.2", NULL, 8080);
	s = snapshot(&b, 1);
	svc = mesh_snapshot_service_at(s, 0);
	assert_int_equal(svc->n_ports, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(svc->ports[i].n_endpoints, 1);
		assert_string_equal(svc->ports[i].endpoints[0].workload, "w");
		assert_int_equal(mesh_service_port_find(svc, cases[i].port)->endpoints[0].mtls, cases[i].mtls);
	}
	w = mesh_snapshot_workload_by_id(s, 4);
	for (size_t i = 0; i < w->n_inbound; i++)
		assert_int_equal(w->inbound[i].mtls, mesh_port_is_open(w->inbound[i].port) ? MESH_MTLS_DISABLE : MESH_MTLS_STRICT);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void inbound_tables(void **state)
{
	static const char text[] = "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {selector: {app: web}, "
				   "ports: [{name: tcp, port: 1, targetPort: 8080}]}\n---\n"
				   "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: web}, "
				   "ports: [{name: http, port: 2, targetPort: 8080}]}\n---\n"
				   "apiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {selector: {app: web}, "
				   "ports: [{name: grpc, port: 3, targetPort: 70}]}\n---\n"
				   "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\n"
				   "spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: "
				   "{9000: {mode: DISABLE}, 70: {mode: PERMISSIVE}}}\n";
	const struct mesh_workload *w;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	workload_set(&b, 1, "default", "w", "app=web", "10.78.0.2", NULL, 8080);
	s = snapshot(&b, 1);
	w = mesh_snapshot_workload_at(s, 0);
	assert_int_equal(w->default_mtls, MESH_MTLS_STRICT);
	assert_int_equal(w->n_inbound, 3);
	assert_int_equal(w->inbound[0].port, 70);
	assert_true(w->inbound[0].has_mtls);
	assert_int_equal(w->inbound[0].mtls, MESH_MTLS_PERMISSIVE);
	assert_int_equal(w->inbound[0].protocol, MESH_APP_GRPC);
	assert_int_equal(w->inbound[1].port, 8080);
	assert_false(w->inbound[1].has_mtls);
	assert_int_equal(w->inbound[1].mtls, MESH_MTLS_STRICT);
	assert_string_equal(w->inbound[1].service->name, "a"); /* the first by name */
	assert_int_equal(w->inbound[1].service_port, 2);
	assert_int_equal(w->inbound[1].protocol, MESH_APP_HTTP1);
	assert_int_equal(w->inbound[2].port, 9000);
	assert_null(w->inbound[2].service);
	assert_int_equal(w->inbound[2].mtls, MESH_MTLS_DISABLE);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

/* PeerAuthentication: name, namespace, created ("" = not said), selector ("" = none), mode, mode of port 80 ("" = none)
 */
struct pa {
	const char *name, *ns, *created, *selector, *mode, *port;
};

static void peer_authentication_precedence(void **state)
{
	static const struct {
		const char *name;
		struct pa pa[4];
		enum mesh_mtls base, port80;
	} cases[] = {
		{"none", {{0}}, MESH_MTLS_PERMISSIVE, MESH_MTLS_PERMISSIVE},
		{"mesh, istio", {{"p", "istio-system", "", "", "STRICT", ""}}, MESH_MTLS_STRICT, MESH_MTLS_STRICT},
		{"mesh, own", {{"p", "trammel-system", "", "", "STRICT", ""}}, MESH_MTLS_STRICT, MESH_MTLS_STRICT},
		{"other namespace", {{"p", "b", "", "", "STRICT", ""}}, MESH_MTLS_PERMISSIVE, MESH_MTLS_PERMISSIVE},
		{"namespace over mesh",
		 {{"p", "istio-system", "", "", "STRICT", ""}, {"p", "a", "", "", "DISABLE", ""}},
		 MESH_MTLS_DISABLE,
		 MESH_MTLS_DISABLE},
		{"namespace unset inherits",
		 {{"p", "istio-system", "", "", "STRICT", ""}, {"p", "a", "", "", "UNSET", ""}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
		{"workload over namespace",
		 {{"p", "a", "", "", "STRICT", ""}, {"z", "a", "", "w", "PERMISSIVE", ""}},
		 MESH_MTLS_PERMISSIVE,
		 MESH_MTLS_PERMISSIVE},
		{"another workload's",
		 {{"p", "a", "", "v", "STRICT", "STRICT"}},
		 MESH_MTLS_PERMISSIVE,
		 MESH_MTLS_PERMISSIVE},
		{"port over workload", {{"p", "a", "", "w", "STRICT", "DISABLE"}}, MESH_MTLS_STRICT, MESH_MTLS_DISABLE},
		{"port unset inherits",
		 {{"m", "istio-system", "", "", "STRICT", ""}, {"p", "a", "", "w", "UNSET", "UNSET"}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
		{"first by name",
		 {{"q", "a", "", "", "STRICT", ""}, {"p", "a", "", "", "DISABLE", ""}},
		 MESH_MTLS_DISABLE,
		 MESH_MTLS_DISABLE},
		{"oldest",
		 {{"q", "a", "2023-01-01T00:00:00Z", "", "STRICT", ""},
		  {"p", "a", "2024-01-01T00:00:00Z", "", "DISABLE", ""}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
		{"dated before undated",
		 {{"q", "a", "2023-01-01T00:00:00Z", "", "STRICT", ""}, {"p", "a", "", "", "DISABLE", ""}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
		{"oldest of workload's",
		 {{"q", "a", "2023-01-01T00:00:00Z", "w", "STRICT", ""},
		  {"p", "a", "2024-01-01T00:00:00Z", "w", "DISABLE", "DISABLE"}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
		{"oldest of the roots",
		 {{"p", "istio-system", "2024-01-01T00:00:00Z", "", "DISABLE", ""},
		  {"q", "trammel-system", "2023-01-01T00:00:00Z", "", "STRICT", ""}},
		 MESH_MTLS_STRICT,
		 MESH_MTLS_STRICT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct mesh_workload *w;
		struct mesh_snapshot *s;
		char text[4096];
		FILE *f = fmemopen(text, sizeof(text), "w");
		struct bed b;

		fprintf(f, "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {selector: "
			   "{app: w}, ports: [{port: 80}, ]}\n");
		for (const struct pa *pa = cases[i].pa; pa->name; pa++) {
			fprintf(f, "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n");
			fprintf(f,
				"metadata: {name: %s, namespace: %s, creationTimestamp: \"%s\"}\nspec:\n  mtls: "
				"{mode: %s}\n",
				pa->name, pa->ns, pa->created, pa->mode);
			if (pa->selector[0])
				fprintf(f, "  selector: {matchLabels: {app: %s}}\n", pa->selector);
			if (pa->port[0])
				fprintf(f, "  portLevelMtls: {80: {mode: %s}}\n", pa->port);
		}
		assert_int_equal(fclose(f), 0);
		bed_init(&b);
		bed_apply(&b, text);
		no_complaints(b.model);
		workload_set(&b, 1, "a", "w", "app=w", "10.78.0.2", NULL, 80);
		s = snapshot(&b, 1);
		w = mesh_snapshot_workload_at(s, 0);
		assert_int_equal(w->n_inbound, 1);
		if (w->default_mtls != cases[i].base || w->inbound[0].mtls != cases[i].port80)
			fail_msg("%s: %d %d", cases[i].name, w->default_mtls, w->inbound[0].mtls);
		assert_int_equal(mesh_snapshot_service_at(s, 0)->ports[0].endpoints[0].mtls,
				 cases[i].port80 != MESH_MTLS_DISABLE);
		mesh_snapshot_unref(s);
		bed_done(&b);
	}
}

static void look_ups(void **state)
{
	const struct mesh_service_port *port = NULL;
	const struct mesh_service *svc = NULL;
	const struct mesh_endpoint *e;
	struct mesh_snapshot *s;
	struct addr a;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, WEB "apiVersion: v1\nkind: Service\nmetadata: {name: alias}\nspec: {selector: {app: web}, ports: "
			  "[{port: 8080}]}\n");
	workload_set(&b, 1, "default", "w1", "app=web", "10.78.0.9", "fd78::9", 8080);
	workload_set(&b, 70000, "default", "w2", NULL, "10.78.0.3", NULL, 0);
	s = snapshot(&b, 1);
	svc = mesh_snapshot_service_find(s, "default", "web");
	assert_non_null(svc);
	assert_null(mesh_snapshot_service_find(s, "default", "we"));
	assert_null(mesh_snapshot_service_find(s, "a", "web"));
	assert_ptr_equal(mesh_snapshot_service_by_ip(s, &svc->addresses[0]), svc);
	assert_ptr_equal(mesh_snapshot_service_by_ip(s, &svc->addresses[1]), svc);
	a = ip("10.79.255.254");
	assert_null(mesh_snapshot_service_by_ip(s, &a));
	a = ip("fd78::9");
	assert_string_equal(mesh_snapshot_workload_by_ip(s, &a)->name, "w1");
	assert_null(mesh_snapshot_service_by_ip(s, &a));
	assert_string_equal(mesh_snapshot_workload_by_id(s, 70000)->name, "w2");
	assert_null(mesh_snapshot_workload_by_id(s, 2));
	assert_null(mesh_snapshot_workload_find(s, "default", "w3"));
	assert_null(mesh_snapshot_service_at(s, 2));
	assert_null(mesh_snapshot_workload_at(s, 2));

	a = ip_port("10.78.0.9:8080");
	e = mesh_snapshot_endpoint_by_addr(s, &a, &svc, &port);
	assert_non_null(e);
	assert_string_equal(svc->name, "alias"); /* the first by name */
	assert_int_equal(port->port, 8080);
	assert_true(e->ready);
	a = ip_port("[fd78::9]:8080"); /* the workload's other address */
	e = mesh_snapshot_endpoint_by_addr(s, &a, &svc, &port);
	assert_non_null(e);
	assert_string_equal(e->workload, "w1");
	assert_true(addr_eq(&e->addr, &a));
	a = ip_port("10.78.0.9:9000");
	assert_non_null(mesh_snapshot_endpoint_by_addr(s, &a, NULL, NULL));
	a = ip_port("10.78.0.9:1");
	assert_null(mesh_snapshot_endpoint_by_addr(s, &a, &svc, &port));
	mesh_snapshot_unref(mesh_snapshot_ref(s));
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void names(void **state)
{
	static const char text[] = WEB "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\nspec: "
				       "{clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}\n---\n"
				       "apiVersion: v1\nkind: Service\nmetadata: {name: both, namespace: shop}\nspec: "
				       "{clusterIP: None, ipFamilyPolicy: PreferDualStack, selector: {app: db}}\n---\n"
				       "apiVersion: v1\nkind: Service\nmetadata: {name: ext, namespace: shop}\nspec: "
				       "{clusterIP: None, ports: [{port: 1}]}\n---\n"
				       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, "
				       "namespace: shop, labels: {kubernetes.io/service-name: ext}}\n"
				       "addressType: IPv4\nports: [{port: 1}]\n"
				       "endpoints: [{addresses: [192.0.2.9], hostname: host-a}, {addresses: "
				       "[192.0.2.8], hostname: host-b, conditions: {ready: false}}]\n";
	static const struct {
		const char *from, *name, *canonical; /* NULL: unknown */
		size_t n;
	} cases[] = {
		{"default", "web", "web.default.svc.cluster.local", 2},
		{"shop", "web", NULL, 0},
		{"shop", "web.default", "web.default.svc.cluster.local", 2},
		{"shop", "web.default.svc", "web.default.svc.cluster.local", 2},
		{"shop", "web.default.svc.cluster.local", "web.default.svc.cluster.local", 2},
		{"shop", "web.default.cluster.local", NULL, 0},
		{"default", "web.svc.cluster.local", NULL, 0},
		{"default", "web.default.svc.example.org", NULL, 0},
		{"default", "xweb", NULL, 0},
		{"default", "", NULL, 0},
		{"default", ".", NULL, 0},
		{"default", "web.", NULL, 0},
		{"default", ".web", NULL, 0},
		{"default", "cluster.local", NULL, 0},
		{"default", "svc.cluster.local", NULL, 0},
		{"default", "example.com", NULL, 0},
		{"default", "a.b.c.d.e.f", NULL, 0},
		{"shop", "db", "db.shop.svc.cluster.local", 1},
		{"default", "d1.db.shop.svc.cluster.local", "d1.db.shop.svc.cluster.local", 1},
		{"default", "d1.db.shop", "d1.db.shop.svc.cluster.local", 1},
		{"shop", "d1.db", "d1.db.shop.svc.cluster.local", 1},
		{"shop", "d2.db", NULL, 0},                               /* not ready */
		{"default", "w1.web.default.svc.cluster.local", NULL, 0}, /* not headless */
		{"shop", "both", "both.shop.svc.cluster.local", 4},
		{"shop", "d2.both", "d2.both.shop.svc.cluster.local", 2},
		{"shop", "ext", "ext.shop.svc.cluster.local", 1},
		{"shop", "host-a.ext", "host-a.ext.shop.svc.cluster.local", 1},
		{"shop", "host-b.ext", NULL, 0},
	};
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	workload_set(&b, 1, "default", "w1", "app=web", "10.78.0.9", NULL, 8080);
	workload_set(&b, 2, "shop", "d1", "app=db", "10.78.0.2", "fd78::2", 5432);
	workload_set(&b, 3, "shop", "d2", "app=db", "10.78.0.3", "fd78::3", 0);
	s = snapshot(&b, 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mesh_dns_answer a = {0};
		bool known = mesh_snapshot_dns_find(s, cases[i].from, str_from(cases[i].name), &a);

		if (known != (cases[i].canonical != NULL))
			fail_msg("%s from %s: %s", cases[i].name, cases[i].from, known ? a.canonical : "unknown");
		if (!known)
			continue;
		if (strcmp(a.canonical, cases[i].canonical) != 0 || a.n_addresses != cases[i].n)
			fail_msg("%s from %s: %s, %zu addresses", cases[i].name, cases[i].from, a.canonical,
				 a.n_addresses);
		for (size_t k = 0; k < a.n_addresses; k++)
			assert_int_equal(a.addresses[k].port, 0);
	}
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void settings(void **state)
{
	const struct mesh_settings *set;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	s = snapshot(&b, 1);
	set = mesh_snapshot_settings(s);
	assert_false(set->refuse_unknown);
	assert_false(set->h2_upgrade);
	assert_int_equal(set->n_dns_upstream, 0);
	assert_string_equal(set->trust_domain, "cluster.local");
	mesh_snapshot_unref(s);
	bed_apply(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: trammel, namespace: trammel-system}\n"
		      "data: {outboundTrafficPolicy: REGISTRY_ONLY, h2UpgradePolicy: UPGRADE, dnsUpstream: 1.1.1.1}\n");
	s = snapshot(&b, 2);
	bed_apply(&b, ""); /* a snapshot stands alone */
	set = mesh_snapshot_settings(s);
	assert_true(set->refuse_unknown);
	assert_true(set->h2_upgrade);
	assert_int_equal(set->n_reverse_zones, 2);
	assert_string_equal(set->reverse_zones[1], "7.7.d.f.ip6.arpa");
	assert_int_equal(set->n_dns_upstream, 1);
	assert_int_equal(set->dns_upstream[0].port, 53);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

#define ROOTS \
	"apiVersion: v1\n" \
	"kind: ConfigMap\n" \
	"metadata: {name: roots}\n" \
	"data:\n" \
	"  ca.crt: |\n" \
	"    -----BEGIN CERTIFICATE-----\n" \
	"    MIIBgTCCASegAwIBAgIUQUnZYRGWSsafKhtK0LnuySP4ti8wCgYIKoZIzj0EAwIw\n" \
	"    FTETMBEGA1UECgwKdGVzdCByb290czAgFw0yNjExMjkwODA0MzFaGA8yMTI2MTEw\n" \
	"    NTA4MDQzMVowFTETMBEGA1UECgwKdGVzdCByb290czBZMBMGByqGSM49AgEGCCqG\n" \
	"    SM49AwEHA0IABFN0Be7vsk88OrXUGDvM6tK329ZRzPEV4yVgPqY7nLMbFBwD1UYQ\n" \
	"    6oJgaha8Ud0atpcPa+YCIKZW1+YD/PZeROOjUzBRMB0GA1UdDgQWBBSgxhpGf+cr\n" \
	"    3MDYyEOe/UL7wBJuEjAfBgNVHSMEGDAWgBSgxhpGf+cr3MDYyEOe/UL7wBJuEjAP\n" \
	"    BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCID4zHkIoe18D8lHAq5rh\n" \
	"    gFWb6JP/dI4p9EherVEgVP3SAiEAut+djeXil7Yut8vDg+dQ1jngWdYYU28FxQ0U\n" \
	"    uRhyKVU=\n" \
	"    -----END CERTIFICATE-----\n"

#define TLS_POLICY(name, created, target, rest)                                                                       \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n"                                     \
	"metadata: {name: " name ", creationTimestamp: '" created "'}\n"                                              \
	"spec: {targetRefs: [{group: '', kind: Service, name: web" target "}], validation: {hostname: " name ".example, " rest "}}\n"
#define BUNDLE "caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]"
#define OUTSIDE(name)                                                                                      \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: " name \
	"-1, labels: {kubernetes.io/service-name: " name "}}\nports: [{name: https, port: 443}]\n"       \
	"endpoints: [{addresses: [192.0.2.1]}]\n"
#define SYSTEM "wellKnownCACertificates: System"

static const struct mesh_backend_tls *tls_of(const struct mesh_snapshot *s, uint16_t port)
{
	return mesh_service_port_find(mesh_snapshot_service_at(s, 0), port)->tls;
}

/* Which policy holds for a port: the one that names it, then the oldest. One without its roots is an error, not nothing. */
static void backend_tls(void **state)
{
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, WEB);
	s = snapshot(&b, 1);
	assert_null(tls_of(s, 80));
	mesh_snapshot_unref(s);
	bed_apply(&b, WEB TLS_POLICY("young", "2026-02-01T00:00:00Z", "", SYSTEM) TLS_POLICY("old", "2026-01-01T00:00:00Z", "", SYSTEM)
				TLS_POLICY("port", "2026-03-01T00:00:00Z", ", sectionName: tcp-x", BUNDLE));
	no_complaints(b.model);
	s = snapshot(&b, 2);
	assert_string_equal(tls_of(s, 80)->hostname, "old.example");
	assert_string_equal(tls_of(s, 80)->ca_pem, "");
	assert_string_equal(tls_of(s, 80)->error, "");
	assert_string_equal(tls_of(s, 9000)->hostname, "port.example");
	assert_string_equal(tls_of(s, 9000)->error, "no ConfigMap with ca.crt is called roots");
	mesh_snapshot_unref(s);
	bed_apply(&b, WEB TLS_POLICY("port", "2026-03-01T00:00:00Z", ", sectionName: tcp-x", BUNDLE) "---\n" ROOTS);
	no_complaints(b.model);
	s = snapshot(&b, 3);
	assert_null(tls_of(s, 80));
	assert_string_equal(tls_of(s, 9000)->error, "");
	assert_non_null(strstr(tls_of(s, 9000)->ca_pem, "-----END CERTIFICATE-----\n\n"));
	mesh_snapshot_unref(s);
	bed_done(&b);
}

/* Two services have one address: dialled itself it is spoken to as the one asks that asks for TLS. */
static void backend_tls_by_address(void **state)
{
	static const struct addr addr = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 443};
	const struct mesh_service_port *port;
	const struct mesh_service *svc;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: aa}\nspec: {ports: [{name: https, port: 443}]}\n---\n"
		      "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: None, ports: [{name: https, port: 443}]}\n"
		      "---\n" OUTSIDE("aa") "---\n" OUTSIDE("web") TLS_POLICY("p", "", "", SYSTEM));
	no_complaints(b.model);
	s = snapshot(&b, 1);
	assert_non_null(mesh_snapshot_endpoint_by_addr(s, &addr, &svc, &port));
	assert_string_equal(svc->name, "web");
	assert_non_null(port->tls);
	assert_int_equal(port->protocol, MESH_APP_UNDECLARED);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

static void backend_tls_bounds(void **state)
{
	struct mesh_snapshot *s;
	struct bed b;
	size_t n = 0;
	const size_t cap = 2 << 20;
	char *text = calloc(1, cap);

	/* 300 certificates in each of two: more than a proxy is to read */
	n += (size_t)snprintf(text, cap, "%s", WEB TLS_POLICY("p", "", "", "caCertificateRefs: [{group: '', kind: ConfigMap, name: r1}, "
										"{group: '', kind: ConfigMap, name: r2}]"));
	for (int m = 1; m <= 2; m++) {
		n += (size_t)snprintf(text + n, cap - n, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: r%d}\ndata:\n  ca.crt: |\n", m);
		for (int i = 0; i < 300; i++)
			n += (size_t)snprintf(text + n, cap - n, "%s", strstr(ROOTS, "    -----BEGIN"));
	}
	bed_init(&b);
	bed_apply(&b, text);
	no_complaints(b.model);
	s = snapshot(&b, 1);
	assert_non_null(strstr(tls_of(s, 80)->error, "more than"));
	assert_string_equal(tls_of(s, 80)->ca_pem, "");
	mesh_snapshot_unref(s);
	bed_done(&b);
	free(text);
}

static void backend_tls_without_effect(void **state)
{
	struct bed b;

	bed_init(&b);
	bed_apply(&b, WEB TLS_POLICY("p", "", ", sectionName: htps", SYSTEM)
			"---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: q}\n"
			"spec: {targetRefs: [{group: '', kind: Service, name: wbe}], validation: {hostname: a.example, " SYSTEM "}}\n");
	assert_string_equal(complaint_get(b.model, 7, "spec.targetRefs", "has no port called \"htps\"")->kind, "BackendTLSPolicy");
	complaint_get(b.model, 12, "spec.targetRefs", "there is no Service default/wbe");
	bed_done(&b);
}

/* Several services lead to one port: it is the first one's, and known to speak HTTP/1.1 where any says so. */
static void inbound_of_several(void **state)
{
	const struct mesh_workload *w;
	struct mesh_snapshot *s;
	struct bed b;

	bed_init(&b);
	bed_apply(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: aa}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"
		      "---\napiVersion: v1\nkind: Service\nmetadata: {name: bb}\n"
		      "spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}\n"
		      "---\napiVersion: v1\nkind: Service\nmetadata: {name: cc}\n"
		      "spec: {selector: {app: web}, ports: [{name: grpc, port: 80, targetPort: 8080}]}\n");
	no_complaints(b.model);
	workload_set(&b, 1, "default", "w", "app=web", "10.78.0.9", NULL, 8080);
	s = snapshot(&b, 1);
	w = mesh_snapshot_workload_at(s, 0);
	assert_int_equal(w->n_inbound, 1);
	assert_string_equal(w->inbound[0].service->name, "aa");
	assert_int_equal(w->inbound[0].protocol, MESH_APP_UNDECLARED);
	assert_true(w->inbound[0].http1);
	mesh_snapshot_unref(s);
	bed_done(&b);
}

struct changes {
	char text[512];
};

static void on_diff(const struct mesh_change *c, void *user)
{
	struct changes *ch = user;
	size_t at = strlen(ch->text);

	snprintf(ch->text + at, sizeof(ch->text) - at, "%c%s ", "+~-"[c->how],
		 c->service ? c->service->name : c->workload->name);
}

static const char *diff(struct changes *ch, const struct mesh_snapshot *old, const struct mesh_snapshot *new_)
{
	ch->text[0] = '\0';
	assert_int_equal(mesh_snapshot_diff(old, new_, on_diff, ch), 0);
	return ch->text;
}

static void differences(void **state)
{
	struct mesh_snapshot *s[6];
	struct changes ch;
	struct bed b;

	bed_init(&b);
	s[0] = snapshot(&b, 0);
	bed_apply(&b, WEB "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 1}]}\n");
	workload_set(&b, 1, "default", "w1", "app=web", "10.78.0.9", NULL, 8080);
	workload_set(&b, 2, "default", "w2", NULL, "10.78.0.10", NULL, 0);
	s[1] = snapshot(&b, 1);
	s[2] = snapshot(&b, 2);
	workload_set(&b, 1, "default", "w1", "app=web", "10.78.0.9", NULL, 0); /* no longer ready */
	s[3] = snapshot(&b, 3);
	model_workload_remove(b.model, "default", "w1");
	bed_apply(&b, WEB);
	s[4] = snapshot(&b, 4);
	bed_apply(&b, WEB "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: "
			  "{mtls: {mode: STRICT}}\n");
	s[5] = snapshot(&b, 5);
	assert_string_equal(diff(&ch, NULL, s[1]), "+db +web +w1 +w2 ");
	assert_string_equal(diff(&ch, s[0], s[1]), "+db +web +w1 +w2 ");
	assert_string_equal(diff(&ch, s[1], s[2]), "");
	assert_string_equal(diff(&ch, s[2], s[3]), "~web ");
	assert_string_equal(diff(&ch, s[3], s[4]), "-db ~web -w1 ");
	assert_string_equal(diff(&ch, s[4], s[5]), "~w2 ");
	assert_string_equal(diff(&ch, s[1], s[0]), "-db -web -w1 -w2 ");
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		mesh_snapshot_unref(s[i]);
	bed_done(&b);
}

/* Cost: the ratio is asserted, not the time, so that a slow machine does not fail it. */

static json_t *service_json(size_t i, const char *selector)
{
	char name[32];

	snprintf(name, sizeof(name), "s%zu", i);
	return json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}, s:[{s:s, s:i, s:i}]}}", "apiVersion", "v1", "kind", "Service",
			 "metadata", "name", name, "spec", "selector", "app", selector, "ports", "name", "http", "port",
			 80, "targetPort", 8080);
}

static double build_ms(struct bed *b, size_t n_services, size_t n_workloads, bool all, double *ret_apply_ms)
{
	struct model_document *docs = calloc(n_services, sizeof(*docs));
	struct mesh_snapshot *s;
	uint64_t start, best = UINT64_MAX;

	bed_init(b);
	for (size_t i = 0; i < n_services; i++) {
		char app[32];

		snprintf(app, sizeof(app), "a%zu", all ? 0 : i % n_workloads);
		docs[i] = (struct model_document){.root = service_json(i, app), .place = {"x.json", (int)i}};
	}
	for (size_t i = 0; i < n_workloads; i++) {
		char name[32], label[32], v4[32];

		snprintf(name, sizeof(name), "w%zu", i);
		snprintf(label, sizeof(label), "app=a%zu", all ? 0 : i);
		snprintf(v4, sizeof(v4), "10.78.%zu.%zu", i / 250, i % 250 + 1);
		workload_set(b, (uint32_t)i + 1, "default", name, label, v4, NULL, 8080);
	}
	start = clock_mono_ns();
	assert_int_equal(
		model_apply_set(b->model, "file", &(struct model_set){.documents = docs, .n_documents = n_services}),
		0);
	*ret_apply_ms = (double)(clock_mono_ns() - start) / 1e6;
	for (int i = 0; i < 5; i++) {
		start = clock_mono_ns();
		s = snapshot(b, 1);
		best = MIN(best, clock_mono_ns() - start);
		assert_int_equal(mesh_snapshot_n_services(s), n_services);
		assert_int_equal(mesh_snapshot_service_at(s, 0)->ports[0].n_endpoints, all ? n_workloads : 1);
		mesh_snapshot_unref(s);
	}
	for (size_t i = 0; i < n_services; i++)
		json_decref((json_t *)docs[i].root);
	free(docs);
	bed_done(b);
	return (double)best / 1e6;
}

static void building_is_not_quadratic(void **state)
{
	double small, large, all, apply[3];
	struct bed b;

	small = build_ms(&b, 500, 250, false, &apply[0]);
	large = build_ms(&b, 10000, 5000, false, &apply[1]);
	all = build_ms(&b, 200, 50, true, &apply[2]);
	print_message("build: 500x250 %.2f ms, 10000x5000 %.2f ms, 200 services with 50 endpoints each %.2f ms\n",
		      small, large, all);
	print_message("apply: 500 %.2f ms, 10000 %.2f ms, 200 %.2f ms\n", apply[0], apply[1], apply[2]);
	/* twenty times as much, and caches that are too small for it; quadratic would be four hundred times */
	assert_true(large < small * 150);
	assert_true(apply[1] < apply[0] * 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_follow_workloads),
		cmocka_unit_test(selectors_need_all_labels),
		cmocka_unit_test(slices_by_hand),
		cmocka_unit_test(tunnels),
		cmocka_unit_test(open_ports_are_plaintext),
		cmocka_unit_test(inbound_tables),
		cmocka_unit_test(peer_authentication_precedence),
		cmocka_unit_test(look_ups),
		cmocka_unit_test(names),
		cmocka_unit_test(settings),
		cmocka_unit_test(inbound_of_several),
		cmocka_unit_test(backend_tls),
		cmocka_unit_test(backend_tls_by_address),
		cmocka_unit_test(backend_tls_bounds),
		cmocka_unit_test(backend_tls_without_effect),
		cmocka_unit_test(differences),
		cmocka_unit_test(building_is_not_quadratic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
