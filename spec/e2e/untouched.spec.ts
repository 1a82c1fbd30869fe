/** What happens to one Service's manifest is nothing to another Service; and datagrams of any size pass, through the program. */
import { expect } from 'chai';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { ManifestDir, serviceManifest, sliceManifest, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

const KEPT = {
  name: 'kept',
  clusterIPs: ['10.96.7.1'],
  ports: [
    { name: 'tcp', port: 80, protocol: 'TCP', nodePort: 30_071 },
    { name: 'udp', port: 80, protocol: 'UDP', nodePort: 30_071 },
  ],
};
const TARGETS = KEPT.ports.map(({ name, protocol }) => ({ name, protocol, port: 8080 }));
const OTHER = { name: 'other', clusterIPs: ['10.96.7.2'], ports: [{ name: 'tcp', port: 80, nodePort: 30_072 }] };

/** Sends a datagram for each byte of stdin; prints which port of the proxy the pod saw: another flow has another one. */
const ONE_FLOW = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (answer) => process.stdout.write(JSON.parse(answer).clientPort + ' '));
  socket.on('error', (error) => process.stdout.write(error.code + ' '));
  socket.connect(Number(process.argv[2]), process.argv[1], () => console.error('connected'));
  process.stdin.on('data', (data) => { for (const _ of data) socket.send('?'); });`;

describe('a Service whose own manifest does not change', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;
  let connection: Child;
  let flow: Child;
  let said = 0;

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ipv6');
    lab = await createLab();
    await lab.ns.pod1.serve({ port: 8080 });
    await lab.ns.pod2.serve({ port: 8080 });
    manifests = await ManifestDir.create();
    await manifests.write('kept.json', [serviceManifest(KEPT), sliceManifest('kept', ['10.244.1.11'], TARGETS)]);
    await writeOther(30_072);
    const times = ['--drain-timeout', '100ms', '--iptables-min-sync-period', '0'];
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, ...times);
    const { IPv4: node } = lab.ns.node.address;
    connection = await lab.ns.ext.talk(node, 30_071);
    await connection.waitFor('"pod1"');
    flow = lab.ns.ext.spawn(process.execPath, ['-e', ONE_FLOW, node, '30071']);
    await flow.waitFor('connected\n');
    await toGoOn();
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  async function writeOther(nodePort: number): Promise<void> {
    const ports = OTHER.ports.map((port) => ({ ...port, nodePort }));
    const slice = sliceManifest('other', ['10.244.1.12'], [{ name: 'tcp', port: 8080 }]);
    await manifests.write('other.json', [serviceManifest({ ...OTHER, ports }), slice]);
  }

  /** One word each way over the connection, one datagram over the flow; the pod still sees the same client of each. */
  async function toGoOn(): Promise<void> {
    said++;
    connection.write(`word ${said}.`);
    flow.write('?');
    await connection.waitFor(`word ${said}.`);
    const clients = await until('an answer to the datagram', () => {
      const words = flow.stdout.split(' ').slice(0, -1);
      return words.length === said ? words : undefined;
    });
    expect(new Set(clients)).to.have.length(1);
    expect(connection.exit).to.equal(undefined);
    expect(connection.stderr).to.equal('connected\n');
  }

  const asked = async (port: number) => (await lab.ns.ext.ask(lab.ns.node.address.IPv4, port))[0];

  for (const [what, change, applied] of [
    ['edited', () => writeOther(30_073), async () => (await asked(30_073)) === 'pod2'],
    [
      'broken',
      () => manifests.write('other.json', 'kind: [\n'),
      () => /other\.json:\d+:\d+/.test(proxy.stderr) && proxy.exit === undefined,
    ],
    ['mended', () => writeOther(30_074), async () => (await asked(30_074)) === 'pod2'],
    ['removed', () => manifests.delete('other.json'), async () => (await asked(30_074)) === 'ECONNREFUSED'],
  ] as const) {
    it(`keeps its connection and its flow while another one's is ${what} (U1, U5, R1, C2)`, async () => {
      await change();
      await until('the change to be served', applied, 10_000);
      await toGoOn();
    });
  }

  for (const bytes of [0, 1, 65_507]) {
    it(`passes a datagram of ${bytes} bytes whole, through a node port and a cluster IP (U2, R3)`, async () => {
      const places = [
        { host: lab.ns.node.address.IPv4, port: 30_071 },
        { host: '10.96.7.1', port: 80 },
      ];
      const answers = await lab.ns.ext.dial(places.map((place) => ({ ...place, protocol: 'UDP' as const, bytes })));
      expect(answers.flat().map((answer) => [answer.by ?? answer.error, answer.bytes])).to.deep.equal([
        ['pod1', bytes],
        ['pod1', bytes],
      ]);
    });
  }
});
