/**
 * What a Service means, by its frontends: who answers a pod, the node and somebody outside at each of them. The program runs
 * on node-a with iptables; `here` is a pod of node-a, `there` and `far` stand for pods of other nodes.
 */
import { expect } from 'chai';
import { IP_FAMILIES, type IpFamily } from '../../lib/config/address.js';
import type { Protocol } from '../../lib/model/objects.js';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import type { Namespace } from '../support/lab/namespace.js';
import type { Answer, Dial } from '../support/lab/programs/dial.js';
import { ManifestDir, PROGRAM, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

type Pod = 'here' | 'there' | 'far';
type Place = 'cluster IP' | 'node port' | 'external IP' | 'LB IP';
type Client = 'pod' | 'node' | 'outside';

const PLACES: readonly Place[] = ['cluster IP', 'node port', 'external IP', 'LB IP'];
const CLIENTS: readonly Client[] = ['pod', 'node', 'outside'];
const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP'];

/** Pods in the order of their names, `refused`, or `silent`: nobody answers. */
type Outcome = string;
type Outcomes = Outcome | Readonly<Record<Client, Outcome>>;

interface Endpoint {
  readonly pod: Pod;
  readonly conditions?: Readonly<Record<'ready' | 'serving' | 'terminating', boolean>>;
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

interface Case {
  readonly title: string;
  readonly endpoints: readonly Endpoint[];
  /** Over a LoadBalancer Service with everything. */
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Over `{ ip }`. */
  readonly ingress?: Readonly<Record<string, string>>;
  /** Families of the cluster IPs, and of the slices; both where absent. */
  readonly families?: readonly IpFamily[];
  readonly slices?: readonly IpFamily[];
  /** What is not named is as `all`. */
  readonly all: Outcomes;
  readonly places?: Readonly<Partial<Record<Place, Outcomes>>>;
  /** Where IPv6 differs from IPv4. */
  readonly six?: Readonly<Partial<Record<Place, Outcomes>>>;
}

const READY = { ready: true, serving: true, terminating: false };
const TERMINATING = { ready: false, serving: true, terminating: true };
const UNREADY = { ready: false, serving: false, terminating: false };
const GONE = { ready: false, serving: false, terminating: true };

const at = (pod: Pod, conditions = READY): Endpoint => ({ pod, conditions });
const LOCAL = { externalTrafficPolicy: 'Local' };
const INTERNAL_LOCAL = { internalTrafficPolicy: 'Local' };
const inside = (served: Outcome, outside: Outcome): Outcomes => ({ pod: served, node: served, outside });
const only = (client: Client, served: Outcome): Outcomes => ({
  pod: 'silent',
  node: 'silent',
  outside: 'silent',
  [client]: served,
});
/** At a node port that drops: what the node sends to itself does not come in, and meets nobody who listens. */
const NODE_PORT_DROPS: Outcomes = { pod: 'silent', node: 'refused', outside: 'silent' };

const CASES: readonly Case[] = [
  {
    title: 'policy Cluster: all ready endpoints, everywhere (E1)',
    endpoints: [at('here'), at('there'), at('far', UNREADY)],
    all: 'here there',
  },
  {
    title: 'policy Cluster: serving and terminating ones where none is ready (E1)',
    endpoints: [at('here', UNREADY), at('there', TERMINATING), at('far', GONE)],
    all: 'there',
  },
  {
    title: 'policy Local outside: the local ones, and all for those inside (E2, E3, E7)',
    spec: LOCAL,
    endpoints: [at('here'), at('there')],
    all: inside('here there', 'here'),
    places: { 'cluster IP': 'here there', 'node port': 'here' },
  },
  {
    title: 'policy Local outside: local terminating ones, though others are ready elsewhere (E2)',
    spec: LOCAL,
    endpoints: [at('here', TERMINATING), at('there')],
    all: inside('there', 'here'),
    places: { 'cluster IP': 'there', 'node port': 'here' },
  },
  {
    title: 'policy Local outside: dropped where all are elsewhere; those inside are served (E6, E7)',
    spec: LOCAL,
    endpoints: [at('there')],
    all: inside('there', 'silent'),
    places: { 'cluster IP': 'there', 'node port': NODE_PORT_DROPS },
  },
  {
    title: 'policy Local inside: the local ones for the cluster IP alone (E2, E3)',
    spec: INTERNAL_LOCAL,
    endpoints: [at('here'), at('there')],
    all: 'here there',
    places: { 'cluster IP': 'here' },
  },
  {
    title: 'policy Local inside: the cluster IP drops where all are elsewhere (E6)',
    spec: INTERNAL_LOCAL,
    endpoints: [at('there')],
    all: 'there',
    places: { 'cluster IP': 'silent' },
  },
  {
    title: 'policy Local on both sides: those inside reach external addresses all the same (E7)',
    spec: { ...LOCAL, ...INTERNAL_LOCAL },
    endpoints: [at('there')],
    all: inside('there', 'silent'),
    places: { 'cluster IP': 'silent', 'node port': NODE_PORT_DROPS },
  },
  { title: 'no endpoint at all: refused (E5)', endpoints: [], all: 'refused' },
  {
    title: 'only unready endpoints: refused (E5)',
    endpoints: [at('here', UNREADY), at('there', GONE)],
    all: 'refused',
  },
  {
    title: 'no endpoint at all: refused with policy Local too (E5)',
    spec: { ...LOCAL, ...INTERNAL_LOCAL },
    endpoints: [at('here', GONE)],
    all: 'refused',
  },
  {
    title: 'hints for our zone (E4)',
    endpoints: [
      { pod: 'here', zones: ['z2'] },
      { pod: 'there', zones: ['z1'] },
      { pod: 'far', zones: ['z2', 'z1'] },
    ],
    all: 'far there',
  },
  {
    title: 'hints for our node before those for our zone (E4)',
    endpoints: [
      { pod: 'here', zones: ['z1'], nodes: ['node-b'] },
      { pod: 'there', zones: ['z2'], nodes: ['node-a'] },
    ],
    all: 'there',
  },
  {
    title: 'hints that one ready endpoint lacks, which then count for nothing (E4)',
    endpoints: [{ pod: 'here', zones: ['z2'] }, { pod: 'there' }],
    all: 'here there',
  },
  {
    title: 'hints count for nothing with policy Local (E4)',
    spec: { ...LOCAL, ...INTERNAL_LOCAL },
    endpoints: [
      { pod: 'here', zones: ['z2'] },
      { pod: 'there', zones: ['z1'] },
    ],
    all: inside('there', 'here'),
    places: { 'cluster IP': 'here', 'node port': 'here' },
  },
  {
    title: 'source ranges: LB IPs alone, for those in the range (E8)',
    spec: { loadBalancerSourceRanges: [' 192.168.77.2/32', 'fd00:77::2/128 '] },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': only('outside', 'here') },
  },
  {
    title: 'source ranges of pods (E8)',
    spec: { loadBalancerSourceRanges: ['10.244.0.0/16', 'fd00:10:244::/48'] },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': only('pod', 'here') },
  },
  {
    title: "source ranges with the node's own address (E8)",
    spec: { loadBalancerSourceRanges: ['192.168.77.1/32', 'fd00:77::1/128'] },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': only('node', 'here') },
  },
  {
    title: 'source ranges of one family, which leave the other open (E8)',
    spec: { loadBalancerSourceRanges: ['192.0.2.0/24'] },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': 'silent' },
    six: { 'LB IP': 'here' },
  },
  {
    title: 'source ranges of one family, and the other closed (E8)',
    spec: { loadBalancerSourceRanges: ['10.244.0.0/16', '::/128'] },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': only('pod', 'here') },
    six: { 'LB IP': 'silent' },
  },
  {
    title: 'source ranges with policy Local: those inside and in the range reach all endpoints (E7, E8)',
    spec: { ...LOCAL, loadBalancerSourceRanges: ['10.244.0.0/16', 'fd00:10:244::/48'] },
    endpoints: [at('there')],
    all: inside('there', 'silent'),
    places: { 'cluster IP': 'there', 'node port': NODE_PORT_DROPS, 'LB IP': only('pod', 'there') },
  },
  {
    title: 'an ingress that proxies itself: no frontend (E9)',
    ingress: { ipMode: 'Proxy' },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': 'silent' },
  },
  {
    title: 'an ingress with a host name alone: no frontend (E9)',
    ingress: { ip: '', hostname: 'lb.example.com' },
    endpoints: [at('here')],
    all: 'here',
    places: { 'LB IP': 'silent' },
  },
  {
    title: 'no node ports asked for (E10)',
    spec: { allocateLoadBalancerNodePorts: false },
    endpoints: [at('here')],
    all: 'here',
    places: { 'node port': 'refused' },
  },
  {
    title: 'RequireDualStack with endpoints of one family: the other is refused (S2)',
    spec: { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] },
    endpoints: [at('here'), at('there')],
    slices: ['IPv4'],
    all: 'here there',
    six: { 'cluster IP': 'refused', 'node port': 'refused', 'external IP': 'refused', 'LB IP': 'refused' },
  },
  {
    title: 'RequireDualStack with endpoints of one family and policy Local: refused, nobody is elsewhere (S2, E5)',
    spec: { ipFamilyPolicy: 'RequireDualStack', ...LOCAL, ...INTERNAL_LOCAL },
    endpoints: [at('here')],
    slices: ['IPv6'],
    all: 'refused',
    six: { 'cluster IP': 'here', 'node port': 'here', 'external IP': 'here', 'LB IP': 'here' },
  },
  {
    title: 'single-stack IPv4: external addresses of the other family are not served (S2)',
    families: ['IPv4'],
    endpoints: [at('here'), at('there')],
    all: 'here there',
    six: { 'cluster IP': 'silent', 'node port': 'refused', 'external IP': 'silent', 'LB IP': 'silent' },
  },
  {
    title: 'single-stack IPv6 (S2)',
    families: ['IPv6'],
    endpoints: [at('here'), at('there')],
    all: 'silent',
    places: { 'node port': 'refused' },
    six: { 'cluster IP': 'here there', 'node port': 'here there', 'external IP': 'here there', 'LB IP': 'here there' },
  },
  {
    title: 'a Service of another proxy: not ours (S1)',
    labels: { 'service.kubernetes.io/service-proxy-name': 'another' },
    endpoints: [at('here')],
    all: 'silent',
    places: { 'node port': 'refused' },
  },
];

/** Beyond the cases: addresses and ports by the number of a case. */
function addressesOf(index: number): Readonly<Record<IpFamily, Readonly<Record<Place, string>>>> {
  const number = index + 1;
  const six = number.toString(16);
  return {
    IPv4: {
      'cluster IP': `10.96.3.${number}`,
      'node port': '192.168.77.1',
      'external IP': `198.51.100.${number}`,
      'LB IP': `203.0.113.${number}`,
    },
    IPv6: {
      'cluster IP': `fd00:96::3:${six}`,
      'node port': 'fd00:77::1',
      'external IP': `fd00:e::${six}`,
      'LB IP': `fd00:1b::${six}`,
    },
  };
}

const nodePortOf = (index: number) => 30_200 + index;

function wanted(one: Case, place: Place, family: IpFamily, client: Client): Outcome {
  const outcomes = (family === 'IPv6' ? one.six?.[place] : undefined) ?? one.places?.[place] ?? one.all;
  return typeof outcomes === 'string' ? outcomes : outcomes[client];
}

const PODS: Readonly<Record<Pod, { readonly number: number; readonly node: string }>> = {
  here: { number: 1, node: 'node-a' },
  there: { number: 2, node: 'node-b' },
  far: { number: 3, node: 'node-c' },
};

function manifestsOf(lab: Lab, one: Case, index: number): readonly object[] {
  const name = `case-${index}`;
  const four = addressesOf(index).IPv4;
  const six = addressesOf(index).IPv6;
  const hasNodePort = one.spec?.['allocateLoadBalancerNodePorts'] !== false;
  const ports = PROTOCOLS.map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    ...(hasNodePort ? { nodePort: nodePortOf(index) } : {}),
  }));
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'e2e', ...(one.labels === undefined ? {} : { labels: one.labels }) },
    spec: {
      type: 'LoadBalancer',
      clusterIPs: (one.families ?? IP_FAMILIES).map((family) => addressesOf(index)[family]['cluster IP']),
      externalIPs: [four['external IP'], six['external IP']],
      ports,
      ...one.spec,
    },
    status: { loadBalancer: { ingress: [four, six].map((ips) => ({ ip: ips['LB IP'], ...one.ingress })) } },
  };
  return [service, ...(one.slices ?? IP_FAMILIES).map((family) => slice(lab, name, family, one.endpoints))];
}

function slice(lab: Lab, service: string, family: IpFamily, endpoints: readonly Endpoint[]): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${family.toLowerCase()}`,
      namespace: 'e2e',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: family,
    ports: PROTOCOLS.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 8080 })),
    endpoints: endpoints.map(({ pod, conditions = READY, zones = [], nodes = [] }) => ({
      addresses: [lab.pod(PODS[pod].number).address[family]],
      nodeName: PODS[pod].node,
      conditions,
      hints: { forZones: zones.map((name) => ({ name })), forNodes: nodes.map((name) => ({ name })) },
    })),
  };
}

function nodeManifest(internalIPs: readonly string[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a', labels: { 'topology.kubernetes.io/zone': 'z1' } },
    status: { addresses: internalIPs.map((address) => ({ type: 'InternalIP', address })) },
  };
}

const NODE_IPS = ['192.168.77.1', 'fd00:77::1'];

/** A lab whose three pods answer, and whose fourth only asks. */
async function servingLab(): Promise<Lab> {
  const lab = await createLab({ pods: 4, multiHomed: true });
  await Promise.all(Object.entries(PODS).map(([name, { number }]) => lab.pod(number).serve({ port: 8080, name })));
  // The kernel sends a peer about one ICMP error a second: here one peer asks for many.
  await lab.ns.node.sysctl({ 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
  return lab;
}

/** `here there`, `refused`, `silent`. */
function outcomeOf(answers: readonly Answer[], client: Client, protocol: Protocol, want: Outcome): Outcome {
  const found = new Set(answers.map(({ by, error = '?' }) => by ?? ERRORS[error] ?? error));
  const outcome = [...found].sort().join(' ');
  // What a rule stops on its way out of the node itself, the kernel calls EPERM where it is UDP, refused or dropped.
  const cannotTell = outcome === 'EPERM' && client === 'node' && protocol === 'UDP';
  return cannotTell && (want === 'refused' || want === 'silent') ? want : outcome;
}

const ERRORS: Readonly<Record<string, Outcome>> = { ECONNREFUSED: 'refused', TIMEOUT: 'silent' };

describe('what Services mean, by every frontend', function () {
  this.timeout(90_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;
  const found = new Map<string, Outcome>();
  const key = (...parts: readonly (string | number)[]) => parts.join('|');

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ipv6');
    lab = await servingLab();
    manifests = await ManifestDir.create();
    await manifests.write('node.json', [nodeManifest(NODE_IPS)]);
    await manifests.write(
      'cases.json',
      CASES.flatMap((one, index) => manifestsOf(lab, one, index)),
    );
    const inside = ['--cluster-cidr', '10.244.0.0/16,fd00:10:244::/48'];
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, '--hostname-override', 'node-a', ...inside);
    // One place of every Service at a time, from one client: frontends that share a listener share its turn.
    for (const client of CLIENTS) for (const place of PLACES) await dialEveryService(client, place);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  const spaces = (): Record<Client, Namespace> => ({ pod: lab.pod(4), node: lab.ns.node, outside: lab.ns.ext });

  async function dialEveryService(client: Client, place: Place): Promise<void> {
    const dials: (Dial & { readonly id: string; readonly want: Outcome })[] = [];
    for (const [index, one] of CASES.entries()) {
      for (const family of IP_FAMILIES) {
        for (const protocol of PROTOCOLS) {
          const want = wanted(one, place, family, client);
          const host = addressesOf(index)[family][place];
          const port = place === 'node port' ? nodePortOf(index) : 80;
          const patience = want === 'silent' ? { count: 1, timeoutMs: 400 } : { count: 3 };
          dials.push({ id: key(index, place, family, protocol, client), want, host, port, protocol, ...patience });
        }
      }
    }
    const all = await spaces()[client].dial(dials);
    for (const [at, { id, want, protocol = 'TCP' }] of dials.entries()) {
      found.set(id, outcomeOf(all[at] ?? [], client, protocol, want));
    }
  }

  for (const [index, one] of CASES.entries()) {
    it(one.title, () => {
      const rows = PLACES.flatMap((place) =>
        IP_FAMILIES.flatMap((family) =>
          PROTOCOLS.flatMap((protocol) => CLIENTS.map((client) => ({ place, family, protocol, client }))),
        ),
      );
      const line = ({ place, family, protocol, client }: (typeof rows)[number], outcome: string | undefined) =>
        `${client} -> ${place}, ${family}, ${protocol}: ${outcome}`;
      const got = rows.map((row) => line(row, found.get(key(index, row.place, row.family, row.protocol, row.client))));
      expect(got).to.deep.equal(rows.map((row) => line(row, wanted(one, row.place, row.family, row.client))));
    });
  }

  it("lets every address of the node in where a source range has the node's own (E8)", async () => {
    const index = CASES.findIndex(({ title }) => title.startsWith("source ranges with the node's own"));
    const of = addressesOf(index);
    const dials = IP_FAMILIES.map((family) => ({ host: of[family]['LB IP'], port: 80, from: lab.gateway[family] }));
    const answers = await lab.ns.node.dial(dials);
    expect(answers.flatMap((all) => all.map(({ by }) => by))).to.deep.equal(['here', 'here']);
  });

  it('serves an external IP and an LB IP that are addresses of the node itself (E3, E5, E6, E7)', async () => {
    const service = (name: string, port: number, spec: object) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'e2e' },
      spec: {
        type: 'LoadBalancer',
        clusterIPs: [`10.96.4.${port}`],
        externalIPs: ['192.168.77.1'],
        ports: PROTOCOLS.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port })),
        ...spec,
      },
      status: { loadBalancer: { ingress: [{ ip: '192.168.77.10' }] } },
    });
    await manifests.write('own.json', [
      service('own-cluster', 91, {}),
      slice(lab, 'own-cluster', 'IPv4', [at('here')]),
      service('own-local', 92, LOCAL),
      slice(lab, 'own-local', 'IPv4', [at('there')]),
      service('own-nobody', 93, {}),
    ]);
    const hosts = ['192.168.77.1', '192.168.77.10'];
    const places = hosts.flatMap((host) => PROTOCOLS.map((protocol) => ({ host, protocol, timeoutMs: 400 })));
    const outcomes = async (client: Client, port: number, want: Outcome) => {
      const answers = await spaces()[client].dial(places.map((place) => ({ ...place, port })));
      return answers.map((all, at) => outcomeOf(all, client, places[at]?.protocol ?? 'TCP', want));
    };
    await until('the last of them', async () => (await outcomes('outside', 91, 'here')).every((one) => one === 'here'));
    for (const client of CLIENTS) {
      const local = client === 'outside' ? 'silent' : 'there';
      expect(await outcomes(client, 91, 'here'), client).to.deep.equal(places.map(() => 'here'));
      expect(await outcomes(client, 92, local), client).to.deep.equal(places.map(() => local));
      expect(await outcomes(client, 93, 'refused'), client).to.deep.equal(places.map(() => 'refused'));
    }
  });

  it('serves the other ports of a Service with an SCTP port, and reports that one once (S6)', async () => {
    const name = 'sctp';
    const ports = [
      { name: 'tcp', protocol: 'TCP', port: 80 },
      { name: 'sig', protocol: 'SCTP', port: 3868 },
    ];
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'e2e' },
      spec: { type: 'ClusterIP', clusterIPs: ['10.96.4.1'], ports },
    };
    const answersBy = (pod: Pod) =>
      until(`${pod} to answer`, async () => {
        await manifests.write('sctp.json', [service, slice(lab, name, 'IPv4', [at(pod)])]);
        expect(await spaces().pod.ask('10.96.4.1', 80)).to.deep.equal([pod]);
        return true;
      });
    for (const pod of ['here', 'there', 'here'] as const) await answersBy(pod);
    expect(proxy.stderr.match(/3868\/SCTP/g)).to.have.length(1);
  });

  it('answers for no port of an external address that no Service has (E9)', async () => {
    const hosts = ['198.51.100.1', '203.0.113.1', 'fd00:e::1', 'fd00:1b::1'];
    const dials = hosts.flatMap((host) => [81, 30_200, 8080].map((port) => ({ host, port, timeoutMs: 400 })));
    for (const client of CLIENTS) {
      const answers = await spaces()[client].dial(dials);
      expect(answers.flatMap((of) => of.map(({ error }) => error))).to.deep.equal(dials.map(() => 'TIMEOUT'));
    }
  });
});

describe('health check node ports, with the program (H1)', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ipv6', 'curl');
    lab = await createLab();
    manifests = await ManifestDir.create();
    await manifests.write('node.json', [nodeManifest(NODE_IPS)]);
    await write(['there'], 'Local');
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, '--hostname-override', 'node-a');
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  async function write(pods: readonly Pod[], externalTrafficPolicy: string): Promise<void> {
    const one: Case = {
      title: '',
      all: '',
      spec: { externalTrafficPolicy, healthCheckNodePort: 30_299 },
      endpoints: pods.map((pod) => ({ pod })),
    };
    await manifests.write('cases.json', manifestsOf({ ...lab, pod: () => lab.ns.pod1 }, one, 0));
  }

  const curl = (...args: readonly string[]) => lab.ns.ext.run('curl', ['-sS', '--max-time', '2', ...args]);

  async function answer(): Promise<{ readonly head: string; readonly body: string }> {
    const { stdout } = await curl('-i', 'http://192.168.77.1:30299/healthz');
    const [head = '', body = ''] = stdout.split('\r\n\r\n');
    return { head, body };
  }

  it('says 503 where every endpoint is elsewhere, to the byte of kube-proxy', async () => {
    const { head, body } = await answer();
    expect(head).to.match(/^HTTP\/1.1 503 /);
    expect(head).to.match(/^X-Load-Balancing-Endpoint-Weight: 0\r?$/im);
    expect(head).to.match(/^X-Content-Type-Options: nosniff\r?$/im);
    expect(head).to.match(/^Content-Type: application\/json\r?$/im);
    expect(body).to.equal(
      '{\n\t"service": {\n\t\t"namespace": "e2e",\n\t\t"name": "case-0"\n\t},\n\t"localEndpoints": 0,\n\t"serviceProxyHealthy": true\n}',
    );
  });

  it('says 200 as soon as there is a local endpoint', async () => {
    await write(['here'], 'Local');
    const { head, body } = await until('a 200', async () => {
      const now = await answer();
      return now.head.includes(' 200 ') ? now : undefined;
    });
    expect(head).to.match(/^X-Load-Balancing-Endpoint-Weight: 1\r?$/im);
    expect(body).to.include('"localEndpoints": 1');
  });

  it('answers over IPv6 too', async () => {
    const { stdout } = await curl('-o', '/dev/null', '-w', '%{http_code}', 'http://[fd00:77::1]:30299/');
    expect(stdout).to.equal('200');
  });

  it('goes with the policy, and comes back with it', async () => {
    await write(['here'], 'Cluster');
    await until('a refusal', async () => (await lab.ns.ext.ask('192.168.77.1', 30_299))[0] === 'ECONNREFUSED');
    await write(['here'], 'Local');
    await until('a 200', async () => (await answer()).head.includes(' 200 '));
    expect(proxy.exit).to.equal(undefined);
  });
});

describe('node ports on some addresses of the node (E11)', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child | undefined;

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ipv6', 'ss');
    lab = await servingLab();
    manifests = await ManifestDir.create();
    const local: Case = { title: '', all: '', spec: LOCAL, endpoints: [at('there')] };
    const both: Case = { title: '', all: '', endpoints: [at('here')] };
    await manifests.write('cases.json', [...manifestsOf(lab, both, 0), ...manifestsOf(lab, local, 1)]);
    await manifests.write('node.json', [nodeManifest(NODE_IPS)]);
  });

  afterEach(async () => {
    await proxy?.stop();
    await manifests?.write('node.json', [nodeManifest(NODE_IPS)]);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  async function start(nodePortAddresses: string): Promise<Child> {
    const more = ['--hostname-override', 'node-a', '--nodeport-addresses', nodePortAddresses];
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, ...more);
    return proxy;
  }

  async function outcomes(from: Namespace, hosts: readonly string[], port = 30_200): Promise<Record<string, string>> {
    const places = hosts.flatMap((host) => PROTOCOLS.map((protocol) => ({ host, protocol })));
    const answers = await from.dial(places.map((place) => ({ ...place, port, timeoutMs: 400 })));
    return Object.fromEntries(
      places.map(({ host, protocol }, index) => {
        const [one] = answers[index] ?? [];
        return [`${host} ${protocol}`, one?.by ?? ERRORS[one?.error ?? ''] ?? one?.error ?? '?'];
      }),
    );
  }

  const both = (host: string, outcome: string) => ({ [`${host} TCP`]: outcome, [`${host} UDP`]: outcome });

  it('answers in the blocks alone, also on addresses that come, and lets go of those that go', async () => {
    const { node, ext } = lab.ns;
    const child = await start('192.168.77.8/29,fd00:77::10/128');
    expect(await outcomes(ext, ['192.168.77.1', '192.168.77.10', 'fd00:77::1', 'fd00:77::10'])).to.deep.equal({
      ...both('192.168.77.1', 'refused'),
      ...both('192.168.77.10', 'here'),
      ...both('fd00:77::1', 'refused'),
      ...both('fd00:77::10', 'here'),
    });
    expect(await outcomes(node, ['127.0.0.1', '192.168.77.10'])).to.deep.equal({
      ...both('127.0.0.1', 'refused'),
      ...both('192.168.77.10', 'here'),
    });
    await node.must('ip', ['address', 'add', '192.168.77.11/24', 'dev', 'eth0']);
    try {
      await until('the new address', async () => {
        expect(await outcomes(ext, ['192.168.77.11'])).to.deep.equal(both('192.168.77.11', 'here'));
        return true;
      });
    } finally {
      await node.must('ip', ['address', 'del', '192.168.77.11/24', 'dev', 'eth0']);
    }
    await until('its sockets to be gone', async () => !(await node.must('ss', ['-Hltun'])).includes('192.168.77.11'));
    expect(child.stderr).to.not.include('cannot listen');
  });

  it('drops what comes from outside to such an address where policy Local leaves nobody (E6)', async () => {
    const { node, ext } = lab.ns;
    const child = await start('192.168.77.10/32,127.0.0.0/8');
    expect(await outcomes(ext, ['192.168.77.10', '192.168.77.1'], 30_201)).to.deep.equal({
      ...both('192.168.77.10', 'silent'),
      ...both('192.168.77.1', 'refused'),
    });
    expect(await outcomes(node, ['127.0.0.1', '192.168.77.10'], 30_201)).to.deep.equal({
      ...both('127.0.0.1', 'refused'),
      ...both('192.168.77.10', 'refused'),
    });
    expect(child.stderr).to.not.include(' error ');
  });

  it("follows the Node's InternalIPs for primary", async () => {
    await start('primary');
    const hosts = ['192.168.77.1', '192.168.77.10'];
    expect(await outcomes(lab.ns.ext, hosts)).to.deep.equal({
      ...both('192.168.77.1', 'here'),
      ...both('192.168.77.10', 'refused'),
    });
    await manifests.write('node.json', [nodeManifest(['192.168.77.10'])]);
    await until('the other address', async () => {
      expect(await outcomes(lab.ns.ext, hosts)).to.deep.equal({
        ...both('192.168.77.1', 'refused'),
        ...both('192.168.77.10', 'here'),
      });
      return true;
    });
  });

  it('refuses where nothing can drop: --redirect none (E6)', async () => {
    const more = ['--hostname-override', 'node-a', '--redirect', 'none'];
    await lab.ns.node.must(process.execPath, [PROGRAM, 'cleanup']);
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, ...more);
    expect(await outcomes(lab.ns.ext, ['192.168.77.1'])).to.deep.equal(both('192.168.77.1', 'here'));
    expect(await outcomes(lab.ns.ext, ['192.168.77.1'], 30_201)).to.deep.equal(both('192.168.77.1', 'refused'));
  });
});
