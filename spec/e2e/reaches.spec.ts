import { expect } from 'chai';
import type { IpFamily } from '../../lib/config/address.js';
import type { Protocol } from '../../lib/model/objects.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import type { Namespace } from '../support/lab/namespace.js';
import type { Dial } from '../support/lab/programs/dial.js';
import { ManifestDir, serviceManifest, sliceManifest, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';

const PORTS = [
  { name: 'tcp', port: 80, protocol: 'TCP', nodePort: 30_080 },
  { name: 'udp', port: 80, protocol: 'UDP', nodePort: 30_080 },
];
/** Pod 1 alone serves it, so that pod 1 dialling it is a hairpin. */
const ONE = { name: 'one', clusterIPs: ['10.96.1.1', 'fd00:96::1:1'], ports: PORTS };
/** Nobody serves it. */
const NONE = {
  name: 'none',
  clusterIPs: ['10.96.1.2', 'fd00:96::1:2'],
  ports: PORTS.map((port) => ({ ...port, nodePort: 30_081 })),
};
const TARGETS = PORTS.map(({ name, protocol }) => ({ name, protocol, port: 8080 }));

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP'];
const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6'];

interface Cell {
  readonly title: string;
  readonly from: (lab: Lab) => Namespace;
  readonly dial: (lab: Lab, family: IpFamily) => { readonly host: string; readonly port: number };
}

const clusterIp = (service: typeof ONE) => (_lab: Lab, family: IpFamily) => ({
  host: service.clusterIPs[family === 'IPv4' ? 0 : 1] ?? '',
  port: 80,
});
const nodePort = (port: number) => (lab: Lab, family: IpFamily) => ({ host: lab.ns.node.address[family], port });
const loopback = (port: number) => (_lab: Lab, family: IpFamily) => ({
  host: family === 'IPv4' ? '127.0.0.1' : '::1',
  port,
});
const second = (port: number) => (lab: Lab, family: IpFamily) => ({ host: lab.secondNodeAddress[family], port });

const pod = (lab: Lab) => lab.ns.pod2;
const servingPod = (lab: Lab) => lab.ns.pod1;
const host = (lab: Lab) => lab.ns.node;
const outside = (lab: Lab) => lab.ns.ext;

/** Every reach that a node port and a cluster IP have (R3). */
function reaches(service: typeof ONE, port: number): readonly Cell[] {
  return [
    { title: 'pod -> cluster IP', from: pod, dial: clusterIp(service) },
    { title: 'host -> cluster IP', from: host, dial: clusterIp(service) },
    { title: 'pod -> the cluster IP of its own Service (hairpin)', from: servingPod, dial: clusterIp(service) },
    { title: 'outside, routed -> cluster IP', from: outside, dial: clusterIp(service) },
    { title: 'pod -> node port', from: pod, dial: nodePort(port) },
    { title: 'pod -> the node port of its own Service (hairpin)', from: servingPod, dial: nodePort(port) },
    { title: 'host -> node port', from: host, dial: nodePort(port) },
    { title: 'outside -> node port', from: outside, dial: nodePort(port) },
    { title: 'outside -> node port on the second address of the node', from: outside, dial: second(port) },
    { title: 'host -> loopback node port', from: host, dial: loopback(port) },
  ];
}

describe('every reach of a Service through iptables (R3)', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables', 'ipv6');
    lab = await createLab({ multiHomed: true });
    await lab.ns.pod1.serve({ port: 8080 });
    // The kernel sends a peer about one ICMP error a second: here one peer asks for many.
    await lab.ns.node.sysctl({ 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    manifests = await ManifestDir.create();
    await manifests.write('services.json', [
      serviceManifest(ONE),
      sliceManifest('one', [lab.ns.pod1.address.IPv4], TARGETS),
      sliceManifest('one', [lab.ns.pod1.address.IPv6], TARGETS),
      serviceManifest(NONE),
    ]);
    await startProxy(lab.ns.node, '--manifests', manifests.path);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  async function answers(from: Namespace, dials: readonly Dial[]): Promise<readonly string[]> {
    const all = await from.dial(dials);
    return all.flatMap((of) => of.map((answer) => answer.by ?? answer.error ?? '?'));
  }

  for (const protocol of PROTOCOLS) {
    for (const family of FAMILIES) {
      for (const { title, from, dial } of reaches(ONE, 30_080)) {
        it(`${title}, ${protocol}, ${family}`, async () => {
          expect(await answers(from(lab), [{ ...dial(lab, family), protocol, count: 2 }])).to.deep.equal([
            'pod1',
            'pod1',
          ]);
        });
      }
    }
  }

  for (const { title, from, dial } of reaches(NONE, 30_081)) {
    it(`refuses at once where there is no endpoint: ${title} (E5)`, async () => {
      const dials = PROTOCOLS.flatMap((protocol) => FAMILIES.map((family) => ({ ...dial(lab, family), protocol })));
      // What a rule refuses on its way out of the node itself, the kernel calls EPERM where it is UDP.
      const ruled = from(lab) === lab.ns.node && title.endsWith('cluster IP');
      const refusal = ({ protocol }: { protocol: Protocol }) =>
        ruled && protocol === 'UDP' ? 'EPERM' : 'ECONNREFUSED';
      expect(await answers(from(lab), dials)).to.deep.equal(dials.map(refusal));
    });
  }

  for (const [title, from] of [
    ['pod', pod],
    ['host', host],
    ['outside', outside],
  ] as const) {
    it(`refuses who dials a redirect port without being redirected: ${title} (R4)`, async () => {
      const saved = await Promise.all(
        ['iptables-save', 'ip6tables-save'].map((tool) => lab.ns.node.must(tool, ['-t', 'nat'])),
      );
      const targets = saved.flatMap((text) => [...text.matchAll(/-p (tcp|udp) .*--to-destination (\S+):(\d+)$/gm)]);
      const dials = targets.map(([, protocol = '', address = '', port]) => ({
        host: address.replace(/[[\]]/g, ''),
        port: Number(port),
        protocol: protocol.toUpperCase() as Protocol,
      }));
      expect(dials).to.have.length(4);
      expect(await answers(from(lab), dials)).to.deep.equal(dials.map(() => 'ECONNREFUSED'));
    });
  }
});
