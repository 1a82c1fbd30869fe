import { expect } from 'chai';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { ManifestDir, PROGRAM, serviceManifest, sliceManifest, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

const HOSTILE = 'x"; reboot #-j ACCEPT';
const TARGETS = [{ port: 8080 }];

/** Two Services want node port 30080: `first` comes first, by the name of its file. */
const first = { name: 'first', clusterIPs: ['10.96.2.1'], ports: [{ port: 80, nodePort: 30_080 }] };
const second = { name: 'second', clusterIPs: ['10.96.2.2'], ports: [{ port: 80, nodePort: 30_080 }] };

describe('bad input costs what is bad alone (C1, C2)', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'ip6tables');
    lab = await createLab();
    await lab.ns.pod1.serve({ port: 8080 });
    const pod = [lab.ns.pod1.address.IPv4];
    manifests = await ManifestDir.create();
    await manifests.write('a-good.json', [serviceManifest(first), sliceManifest('first', pod, TARGETS)]);
    await manifests.write('b-broken.yaml', 'apiVersion: v1\nkind: Service\nmetadata: {name: broken\n  namespace: [\n');
    await manifests.write('c-port-0.json', [
      serviceManifest({ name: 'zero', clusterIPs: ['10.96.2.3'], ports: [{ port: 0 }] }),
    ]);
    await manifests.write('d-same-port.json', [serviceManifest(second), sliceManifest('second', pod, TARGETS)]);
    await manifests.write('e-no-address.json', [sliceManifest('third', ['10.244.1.999'], TARGETS)]);
    await manifests.write('f-hostile.json', [
      serviceManifest({ name: HOSTILE, clusterIPs: ['10.96.2.4'], ports: [{ port: 80 }] }),
    ]);
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  const linesWith = (text: string | RegExp) => proxy.stderr.split('\n').filter((line) => line.match(text) !== null);

  it('serves the good Services', async () => {
    expect(await lab.ns.ext.ask(lab.ns.node.address.IPv4, 30_080)).to.deep.equal(['pod1']);
    for (const address of ['10.96.2.1', '10.96.2.2']) {
      expect(await lab.ns.pod2.ask(address, 80), address).to.deep.equal(['pod1']);
    }
  });

  for (const [title, place] of [
    ['the broken file', /b-broken\.yaml:\d+:\d+/],
    ['the Service with port 0', /c-port-0\.json:1:\d+.*ports/],
    ['the Service whose node port another one has', /e2e\/second.*nodePort:30080\/TCP.*e2e\/first/],
    ['the address that is none', /e-no-address\.json:1:\d+.*10\.244\.1\.999/],
    ['the hostile name', /f-hostile\.json:1:\d+.*name/],
  ] as const) {
    it(`names ${title} in one line`, () => {
      expect(linesWith(place), proxy.stderr).to.have.length(1);
    });
  }

  it('lets no bad text reach a rule (R1)', async () => {
    const saved = await lab.ns.node.must('iptables-save');
    expect(saved).to.include('e2e/first');
    for (const text of ['reboot', '10.96.2.3', '10.96.2.4', '10.244.1.999']) expect(saved).to.not.include(text);
  });

  it('lets a broken edit cut nobody, and takes the mended one (C2)', async () => {
    const session = await lab.ns.ext.talk(lab.ns.node.address.IPv4, 30_080);
    await manifests.write('a-good.json', '{ "apiVersion": "v1", "kind": "Serv');
    await until('the fault', () => linesWith(/a-good\.json:\d+:\d+/).length > 0);
    expect(await lab.ns.ext.ask(lab.ns.node.address.IPv4, 30_080)).to.deep.equal(['pod1']);
    const moved = { ...first, ports: [{ port: 80, nodePort: 30_090 }] };
    await manifests.write('a-good.json', [
      serviceManifest(moved),
      sliceManifest('first', [lab.ns.pod1.address.IPv4], TARGETS),
    ]);
    await until(
      'the mended Service',
      async () => (await lab.ns.ext.ask(lab.ns.node.address.IPv4, 30_090))[0] === 'pod1',
    );
    session.write('still here');
    await session.waitFor('still here');
  });

  it('check lists all faults of the folder and exits 2', async () => {
    const { code, stdout, stderr } = await lab.ns.node.run(process.execPath, [PROGRAM, 'check', manifests.path]);
    for (const place of [/b-broken\.yaml:\d+:\d+/, /c-port-0\.json/, /e-no-address\.json/, /f-hostile\.json/]) {
      expect(`${stdout}${stderr}`).to.match(place);
    }
    expect(code).to.equal(2);
  });
});
