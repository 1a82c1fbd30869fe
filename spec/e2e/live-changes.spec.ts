/**
 * Every change of a Service, made live while connections run: those of what did not change go on, what is new is served, what
 * is gone is refused, and back at the start everything is as it was: sockets, rules, series.
 */
import { expect } from 'chai';
import type { Protocol } from '../../lib/model/objects.js';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import type { Namespace } from '../support/lab/namespace.js';
import { ManifestDir, serviceManifest, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

interface Port {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly nodePort?: number;
  readonly targetPort?: string;
}

interface State {
  readonly name: string;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly clusterIPs: readonly string[];
  readonly ports: readonly Port[];
  /** The ports of the slice: what targetPort names has its number here. */
  readonly targets: readonly Omit<Port, 'nodePort'>[];
  readonly pod: 1 | 2;
  /** Where the pod is said to run; this node where absent. */
  readonly nodeName?: string;
  readonly loadBalancerIP?: string;
}

const WEB_IP = '10.96.2.1';
const NODE = '192.168.77.1';
const LB_IP = '203.0.113.2';

const HTTP: Port = { name: 'http', protocol: 'TCP', port: 80, nodePort: 30_180, targetPort: 'web' };
/** One number, two protocols, as DNS has it. */
const DNS: Port = { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_153 };
const DNS_TCP: Port = { name: 'dns-tcp', protocol: 'TCP', port: 53, nodePort: 30_153 };
const ADMIN: Port = { name: 'admin', protocol: 'TCP', port: 81, nodePort: 30_181, targetPort: 'admin' };

const target = ({ name, protocol }: Port, port: number) => ({ name, protocol, port });

const BASE: State = {
  name: 'web',
  spec: { type: 'NodePort' },
  clusterIPs: [WEB_IP],
  ports: [HTTP, DNS, DNS_TCP, ADMIN],
  targets: [target(HTTP, 8080), target(DNS, 8080), target(DNS_TCP, 8080), target(ADMIN, 8081)],
  pod: 1,
};

/** `10.96.2.1:80/TCP`. */
type Place = string;

const clusterIp = ({ port, protocol }: Pick<Port, 'port' | 'protocol'>): Place => `${WEB_IP}:${port}/${protocol}`;
const nodePort = ({ nodePort: port, protocol }: Pick<Port, 'nodePort' | 'protocol'>): Place =>
  `${NODE}:${port}/${protocol}`;

interface Step {
  readonly title: string;
  readonly to: State;
  /** Connections opened before, which go on. */
  readonly kept: readonly Place[];
  /** Connections opened before whose listener goes: they end when the drain time is over (T11). */
  readonly ended?: readonly Place[];
  /** Who answers afterwards, where; or the error. */
  readonly served: Readonly<Record<Place, string>>;
  readonly refused?: readonly Place[];
  /** A cluster IP that nobody has any more: packets leave by the default route, and nobody answers. */
  readonly silent?: readonly Place[];
  /** Of the frontends in the rules, all. */
  readonly rules: readonly Place[];
  /** Every node port listened on, UDP and TCP. */
  readonly sockets: readonly string[];
}

const ALL_RULES = BASE.ports.map(clusterIp);
const ALL_SOCKETS = ['30153/TCP', '30153/UDP', '30180/TCP', '30181/TCP'];
const DNS_PLACES = [clusterIp(DNS), nodePort(DNS), clusterIp(DNS_TCP), nodePort(DNS_TCP)];
const DNS_TCP_PLACES = [clusterIp(DNS_TCP), nodePort(DNS_TCP)];
const HTTP_PLACES = [clusterIp(HTTP), nodePort(HTTP)];
const ADMIN_PLACES = [clusterIp(ADMIN), nodePort(ADMIN)];
const DNS_SERVED = { [clusterIp(DNS)]: 'pod1', [nodePort(DNS)]: 'pod1', [clusterIp(DNS_TCP)]: 'pod1' };
const without = <T>(all: readonly T[], ...gone: readonly T[]) => all.filter((one) => !gone.includes(one));
/** The base with one port in another one's place; undefined takes it away. */
const withPort = (old: Port, now: Port | undefined, targetPort?: number): State => ({
  ...BASE,
  ports: BASE.ports.flatMap((one) => (one === old ? (now ?? []) : [one])),
  targets: BASE.targets.flatMap((one) => {
    if (one.name !== old.name) return [one];
    return now === undefined ? [] : [target(now, targetPort ?? one.port)];
  }),
});

const METRICS: Port = { name: 'metrics', protocol: 'TCP', port: 82, nodePort: 30_182 };
const HTTP_8000 = { ...HTTP, port: 8000 };
const HTTP_30190 = { ...HTTP, nodePort: 30_190 };
const ADMIN_UDP: Port = { ...ADMIN, protocol: 'UDP' };
const RENAMED = { ...HTTP, name: 'web' };
const SWAPPED: State = {
  ...BASE,
  ports: [{ ...HTTP, nodePort: 30_181 }, DNS, DNS_TCP, { ...ADMIN, nodePort: 30_180 }],
};
const NEXT = { name: 'next', pod: 2 } as const;

const STEPS: readonly Step[] = [
  {
    title: 'a port is added',
    to: { ...BASE, ports: [...BASE.ports, METRICS], targets: [...BASE.targets, target(METRICS, 8081)] },
    kept: [...HTTP_PLACES, ...DNS_PLACES, ...ADMIN_PLACES],
    served: { [clusterIp(METRICS)]: 'pod1-admin', [nodePort(METRICS)]: 'pod1-admin', [nodePort(HTTP)]: 'pod1' },
    rules: [...ALL_RULES, clusterIp(METRICS)],
    sockets: [...ALL_SOCKETS, '30182/TCP'],
  },
  {
    title: 'a port is removed',
    to: withPort(ADMIN, undefined),
    kept: [...HTTP_PLACES, ...DNS_PLACES],
    ended: ADMIN_PLACES,
    served: { [nodePort(HTTP)]: 'pod1', ...DNS_SERVED },
    refused: [nodePort(ADMIN)],
    silent: [clusterIp(ADMIN)],
    rules: without(ALL_RULES, clusterIp(ADMIN)),
    sockets: without(ALL_SOCKETS, '30181/TCP'),
  },
  {
    title: 'a port is renamed, which makes it another Service port',
    to: withPort(HTTP, RENAMED),
    kept: [...DNS_PLACES, ...ADMIN_PLACES],
    ended: HTTP_PLACES,
    served: { [clusterIp(HTTP)]: 'pod1', [nodePort(HTTP)]: 'pod1', ...DNS_SERVED },
    rules: ALL_RULES,
    sockets: ALL_SOCKETS,
  },
  {
    title: 'a port gets another number: its connections go on, too',
    to: withPort(HTTP, HTTP_8000),
    kept: [...HTTP_PLACES, ...DNS_PLACES],
    served: { [clusterIp(HTTP_8000)]: 'pod1', [nodePort(HTTP)]: 'pod1', ...DNS_SERVED },
    silent: [clusterIp(HTTP)],
    rules: [...without(ALL_RULES, clusterIp(HTTP)), clusterIp(HTTP_8000)],
    sockets: ALL_SOCKETS,
  },
  {
    title: 'a port gets another node port',
    to: withPort(HTTP, HTTP_30190),
    kept: [clusterIp(HTTP), ...DNS_PLACES],
    ended: [nodePort(HTTP)],
    served: { [clusterIp(HTTP)]: 'pod1', [nodePort(HTTP_30190)]: 'pod1' },
    refused: [nodePort(HTTP)],
    rules: ALL_RULES,
    sockets: [...without(ALL_SOCKETS, '30180/TCP'), '30190/TCP'],
  },
  {
    title: 'two ports change their node ports with each other',
    to: SWAPPED,
    kept: [clusterIp(HTTP), clusterIp(ADMIN), ...DNS_PLACES],
    ended: [nodePort(HTTP), nodePort(ADMIN)],
    served: { [nodePort(ADMIN)]: 'pod1', [nodePort(HTTP)]: 'pod1-admin', [clusterIp(HTTP)]: 'pod1' },
    rules: ALL_RULES,
    sockets: ALL_SOCKETS,
  },
  {
    title: 'a port changes its protocol',
    to: withPort(ADMIN, ADMIN_UDP),
    kept: [...HTTP_PLACES, ...DNS_PLACES],
    ended: ADMIN_PLACES,
    served: { [clusterIp(ADMIN_UDP)]: 'pod1-admin', [nodePort(ADMIN_UDP)]: 'pod1-admin', ...DNS_SERVED },
    refused: [nodePort(ADMIN)],
    silent: [clusterIp(ADMIN)],
    rules: [...without(ALL_RULES, clusterIp(ADMIN)), clusterIp(ADMIN_UDP)],
    sockets: [...without(ALL_SOCKETS, '30181/TCP'), '30181/UDP'],
  },
  {
    title: 'the named targetPort gets another number in the slice (T10)',
    to: { ...BASE, targets: [target(HTTP, 8081), ...BASE.targets.slice(1)] },
    kept: [...HTTP_PLACES, ...DNS_PLACES, ...ADMIN_PLACES],
    served: { [clusterIp(HTTP)]: 'pod1-admin', [nodePort(HTTP)]: 'pod1-admin', ...DNS_SERVED },
    rules: ALL_RULES,
    sockets: ALL_SOCKETS,
  },
  {
    title: 'the slice loses a port (E5)',
    to: { ...BASE, targets: BASE.targets.slice(1) },
    kept: [...HTTP_PLACES, ...DNS_PLACES, ...ADMIN_PLACES],
    served: { [clusterIp(ADMIN)]: 'pod1-admin', ...DNS_SERVED },
    refused: HTTP_PLACES,
    rules: ALL_RULES,
    sockets: without(ALL_SOCKETS, '30180/TCP'),
  },
  {
    title: 'both policies become Local, and the endpoint is on another node (E6, T10)',
    to: {
      ...BASE,
      spec: { type: 'NodePort', internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' },
      nodeName: 'node-b',
    },
    kept: [...HTTP_PLACES, ...DNS_TCP_PLACES, ...ADMIN_PLACES],
    served: Object.fromEntries([...HTTP_PLACES, ...DNS_PLACES].map((place) => [place, 'TIMEOUT'])),
    rules: ALL_RULES,
    sockets: [],
  },
  {
    title: 'the Service becomes a ClusterIP one',
    to: { ...BASE, spec: { type: 'ClusterIP' }, ports: BASE.ports.map(({ nodePort: _, ...port }) => port) },
    kept: [clusterIp(HTTP), clusterIp(DNS), clusterIp(DNS_TCP), clusterIp(ADMIN)],
    ended: [nodePort(HTTP), nodePort(DNS_TCP)],
    served: { [clusterIp(HTTP)]: 'pod1', [clusterIp(DNS)]: 'pod1' },
    refused: [nodePort(HTTP), nodePort(DNS), nodePort(DNS_TCP), nodePort(ADMIN)],
    rules: ALL_RULES,
    sockets: [],
  },
  {
    title: 'the Service becomes a load balancer with policy Local and a health check port (H1)',
    to: {
      ...BASE,
      spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 30_199 },
      loadBalancerIP: LB_IP,
    },
    kept: [...HTTP_PLACES, ...DNS_PLACES, ...ADMIN_PLACES],
    served: { [`${LB_IP}:80/TCP`]: 'pod1', [`${LB_IP}:53/UDP`]: 'pod1', [nodePort(HTTP)]: 'pod1' },
    silent: [`${LB_IP}:8080/TCP`],
    rules: [...ALL_RULES, ...BASE.ports.map(({ port, protocol }) => `${LB_IP}:${port}/${protocol}`)],
    sockets: [...ALL_SOCKETS, '30199/TCP'],
  },
  {
    title: 'the Service becomes an ExternalName (S1)',
    to: { ...BASE, spec: { type: 'ExternalName', externalName: 'db.example.com' } },
    kept: [],
    ended: [...HTTP_PLACES, ...DNS_TCP_PLACES],
    served: {},
    refused: [nodePort(HTTP), nodePort(DNS), nodePort(DNS_TCP), nodePort(ADMIN)],
    silent: BASE.ports.map(clusterIp),
    rules: [],
    sockets: [],
  },
  {
    title: 'the Service becomes headless (S1)',
    to: {
      ...BASE,
      spec: { type: 'ClusterIP' },
      clusterIPs: ['None'],
      ports: BASE.ports.map(({ nodePort: _, ...port }) => port),
    },
    kept: [],
    ended: HTTP_PLACES,
    served: {},
    refused: [nodePort(HTTP), nodePort(DNS)],
    silent: BASE.ports.map(clusterIp),
    rules: [],
    sockets: [],
  },
  {
    title: 'another Service takes its cluster IP and node ports, in one write',
    to: { ...BASE, ...NEXT },
    kept: [],
    ended: [...HTTP_PLACES, ...DNS_TCP_PLACES],
    served: Object.fromEntries(
      [clusterIp(HTTP), nodePort(HTTP), clusterIp(DNS), nodePort(DNS), clusterIp(DNS_TCP)].map((place) => [
        place,
        'pod2',
      ]),
    ),
    rules: ALL_RULES,
    sockets: ALL_SOCKETS,
  },
  {
    title: 'another Service takes one of its node ports, and its cluster IP goes',
    to: { ...BASE, ...NEXT, clusterIPs: ['10.96.2.9'], ports: [HTTP] },
    kept: [],
    ended: HTTP_PLACES,
    served: { [nodePort(HTTP)]: 'pod2', '10.96.2.9:80/TCP': 'pod2' },
    refused: [nodePort(DNS), nodePort(DNS_TCP), nodePort(ADMIN)],
    silent: BASE.ports.map(clusterIp),
    rules: ['10.96.2.9:80/TCP'],
    sockets: ['30180/TCP'],
  },
];

describe('live changes of a Service', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;
  let bystander: Connection;
  let atStart: readonly string[];

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ss', 'curl', 'ipv6');
    lab = await createLab();
    for (const pod of [lab.ns.pod1, lab.ns.pod2]) {
      await pod.serve({ port: 8080 });
      await pod.serve({ port: 8081, name: `${pod.title}-admin` });
    }
    // The kernel sends a peer about one ICMP error a second: here one peer asks for many.
    await lab.ns.node.sysctl({ 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    manifests = await ManifestDir.create();
    await manifests.write('bystander.json', [
      serviceManifest({
        name: 'bystander',
        clusterIPs: ['10.96.9.9'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30_099 }],
      }),
      slice(lab, { name: 'bystander', targets: [target(HTTP, 8080)], pod: 2 }),
    ]);
    await write(BASE);
    const times = ['--drain-timeout', '300ms', '--iptables-min-sync-period', '0'];
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, '--hostname-override', 'node-a', ...times);
    bystander = await Connection.open(lab.ns.pod2, '10.96.9.9:80/TCP');
    atStart = await snapshot(lab.ns.node);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  async function write(state: State): Promise<void> {
    await manifests.write('web.json', [service(state), slice(lab, state)]);
  }

  /** Who answers each place when dialled from a pod, by its name or the error. */
  async function dialled(places: readonly Place[], timeoutMs: number): Promise<Record<Place, string>> {
    const dials = places.map((place) => ({ ...parsePlace(place), timeoutMs }));
    const answers = await lab.ns.pod2.dial(dials);
    return Object.fromEntries(
      places.map((place, at) => [place, answers[at]?.[0]?.by ?? answers[at]?.[0]?.error ?? '?']),
    );
  }

  for (const { title, to, kept, ended = [], served, refused = [], silent = [], rules, sockets } of STEPS) {
    it(title, async () => {
      const open = (place: Place) => (place.endsWith('UDP') ? Flow : Connection).open(lab.ns.pod2, place);
      const running = await Promise.all(kept.map(open));
      const ending = await Promise.all(ended.map((place) => Connection.open(lab.ns.pod2, place)));

      await write(to);
      const want = { ...served, ...Object.fromEntries(refused.map((place) => [place, 'ECONNREFUSED'])) };
      await until('the change', async () => {
        expect(await dialled(Object.keys(want), 1_000)).to.deep.equal(want);
        return true;
      });
      const nobody = Object.fromEntries(silent.map((place) => [place, 'TIMEOUT']));
      expect(await dialled(silent, 300)).to.deep.equal(nobody);
      expect(await frontends(lab.ns.node)).to.have.members(['10.96.9.9:80/TCP', ...rules]);
      expect(await nodePorts(lab.ns.node)).to.have.members(['30099/TCP', ...sockets]);

      for (const connection of ending) await connection.toEnd();
      for (const connection of [...running, bystander]) await connection.toGoOn();
      await Promise.all([...running, ...ending].map((connection) => connection.close()));

      await write(BASE);
      await until('the start, again', async () => {
        expect(await snapshot(lab.ns.node)).to.deep.equal(atStart);
        return true;
      });
      expect(proxy.exit).to.equal(undefined);
    });
  }

  it('never logged an error, nor a listener that could not be opened', () => {
    expect(proxy.stderr).to.not.match(/ error |cannot listen/);
  });
});

/** One UDP flow: what the pod sees of its client tells whether it still is the same. */
class Flow {
  static readonly #program = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (answer) => process.stdout.write(JSON.parse(answer).clientPort + ' '));
    socket.on('error', (error) => process.stdout.write(error.code + ' '));
    socket.connect(Number(process.argv[2]), process.argv[1], () => console.error('connected'));
    process.stdin.on('data', () => socket.send('?'));`;
  #asked = 0;

  private constructor(private readonly talk: Child) {}

  static async open(from: Namespace, place: Place): Promise<Flow> {
    const { host, port } = parsePlace(place);
    const talk = from.spawn(process.execPath, ['-e', Flow.#program, host, String(port)]);
    await talk.waitFor('connected\n');
    const flow = new Flow(talk);
    await flow.toGoOn();
    return flow;
  }

  async toGoOn(): Promise<void> {
    this.talk.write('?');
    const answers = await until('an answer', () => {
      const words = this.talk.stdout.split(' ').slice(0, -1);
      return words.length > this.#asked ? words : undefined;
    });
    this.#asked++;
    expect(new Set(answers)).to.have.length(1);
    expect(answers[0]).to.match(/^\d+$/);
  }

  async close(): Promise<void> {
    await this.talk.stop('SIGKILL');
  }
}

/** A connection that somebody talks over, to the echo of a pod. */
class Connection {
  #words = 0;

  private constructor(
    private readonly talk: Child,
    private readonly place: Place,
  ) {}

  static async open(from: Namespace, place: Place): Promise<Connection> {
    const { host, port } = parsePlace(place);
    const connection = new Connection(await from.talk(host, port), place);
    await connection.toGoOn();
    return connection;
  }

  async toGoOn(): Promise<void> {
    const word = `[word ${this.#words++} of ${this.place}]`;
    this.talk.write(word);
    await this.talk.waitFor(word);
  }

  /** Its listener went: reset, when the drain time is over. */
  async toEnd(): Promise<void> {
    await this.talk.waitFor(/ECONNRESET/);
  }

  async close(): Promise<void> {
    await this.talk.stop('SIGKILL');
  }
}

function parsePlace(place: Place): { readonly host: string; readonly port: number; readonly protocol: Protocol } {
  const [, host = '', port, protocol] = /^(.*):(\d+)\/(TCP|UDP)$/.exec(place) ?? [];
  return { host, port: Number(port), protocol: protocol === 'UDP' ? 'UDP' : 'TCP' };
}

function service({ name, spec, clusterIPs, ports, loadBalancerIP }: State): object {
  const status =
    loadBalancerIP === undefined ? {} : { status: { loadBalancer: { ingress: [{ ip: loadBalancerIP }] } } };
  return { ...serviceManifest({ name, clusterIPs, ports, spec }), ...status };
}

type SliceState = Pick<State, 'name' | 'targets' | 'pod' | 'nodeName'>;

function slice(lab: Lab, { name, targets, pod, nodeName = 'node-a' }: SliceState): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-four`, namespace: 'e2e', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: targets,
    endpoints: [{ addresses: [lab.pod(pod).address.IPv4], nodeName }],
  };
}

/** Everything that the program has in the kernel and in its metrics, redirect ports without their numbers. */
async function snapshot(node: Namespace): Promise<readonly string[]> {
  const parts = await Promise.all([rulesOf(node), socketsOf(node), series(node)]);
  return parts.flat().map((line) => line.replaceAll(/\b2\d{4}\b/g, '<redirect port>'));
}

async function rulesOf(node: Namespace): Promise<readonly string[]> {
  const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((tool) => node.must(tool)));
  const lines = saved.flatMap((text) => text.split('\n').filter((line) => line.startsWith('-A')));
  // Runs of redirect ports depend on who had one before.
  return lines.filter((line) => !line.includes('KPROXY-US-PORTS')).sort();
}

/** The addresses that rules of ours are about. */
async function frontends(node: Namespace): Promise<readonly Place[]> {
  const found = new Set<Place>();
  for (const line of await rulesOf(node)) {
    const [, address, protocol, port] =
      /^-A KPROXY-US-.* -d ([\d.]+)\/32 .*-p (tcp|udp) .*--dport (\d+)/.exec(line) ?? [];
    if (address !== undefined) found.add(`${address}:${port}/${protocol?.toUpperCase()}`);
  }
  return [...found];
}

/** Sockets that listen, as `tcp 0.0.0.0:30180`. */
async function socketsOf(node: Namespace): Promise<readonly string[]> {
  const lines = (await node.must('ss', ['-Hltun'])).split('\n').filter((line) => line !== '');
  return lines.map((line) => `${line.split(/\s+/)[0]} ${line.split(/\s+/)[4]}`).sort();
}

/** Listeners that are neither redirect ports nor the status servers'. */
async function nodePorts(node: Namespace): Promise<readonly string[]> {
  const ports = (await socketsOf(node)).map((line) => {
    const [, protocol = '', port] = /^(\w+) .*:(\d+)$/.exec(line) ?? [];
    return `${port}/${protocol.toUpperCase()}`;
  });
  return [...new Set(ports.filter((one) => /^30\d{3}\//.test(one)))];
}

/** The Service ports that metrics speak of. (Outcomes of connections are series that come with the first one.) */
async function series(node: Namespace): Promise<readonly string[]> {
  const text = await node.must('curl', ['-sS', '--max-time', '5', 'http://127.0.0.1:10249/metrics']);
  const found = text.matchAll(/namespace="[^"]*",service="[^"]*",port="[^"]*",protocol="[^"]*"/g);
  return [...new Set([...found].map(([labels]) => labels))].sort();
}
