import { expect } from 'chai';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { ManifestDir, serviceManifest, sliceManifest, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

describe('the end of the program (Y6)', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;

  before(async function () {
    requires(this, 'root', 'ip', 'curl');
    lab = await createLab();
    await lab.ns.pod1.serve({ port: 8080 });
    manifests = await ManifestDir.create();
    const ports = [{ port: 80, nodePort: 30_080 }];
    const slice = sliceManifest('web', [lab.ns.pod1.address.IPv4], [{ port: 8080 }]);
    await manifests.write('web.json', [serviceManifest({ name: 'web', clusterIPs: ['10.96.4.1'], ports }), slice]);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  const start = async (...more: readonly string[]) => {
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path, '--redirect', 'none', ...more);
  };
  const status = (path: string) =>
    lab.ns.node.must('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:10256${path}`]);
  const refused = async () => (await lab.ns.ext.ask(lab.ns.node.address.IPv4, 30_080))[0] === 'ECONNREFUSED';

  it('refuses new clients, lets the connection there is go on, and tells load balancers but not the kubelet (H2)', async () => {
    await start();
    const session = await lab.ns.ext.talk(lab.ns.node.address.IPv4, 30_080);
    await session.waitFor('pod1');
    expect([await status('/healthz'), await status('/livez')]).to.deep.equal(['200', '200']);
    proxy.kill('SIGTERM');
    await until('clients to be refused', refused);
    session.write('still here');
    await session.waitFor('still here');
    expect([await status('/healthz'), await status('/livez')]).to.deep.equal(['503', '200']);
    session.end();
    expect(await proxy.exited).to.deep.equal({ code: 0, signal: null });
    await session.waitFor('eof');
  });

  it('resets what is left when the drain time is over', async () => {
    await start('--drain-timeout', '300ms');
    const session = await lab.ns.ext.talk(lab.ns.node.address.IPv4, 30_080);
    await session.waitFor('pod1');
    proxy.kill('SIGTERM');
    await session.waitFor('ECONNRESET');
    expect(await proxy.exited).to.deep.equal({ code: 0, signal: null });
  });

  it('ends at once at a second signal', async () => {
    await start('--drain-timeout', '1m');
    const session = await lab.ns.ext.talk(lab.ns.node.address.IPv4, 30_080);
    await session.waitFor('pod1');
    proxy.kill('SIGTERM');
    await until('clients to be refused', refused);
    proxy.kill('SIGTERM');
    expect((await proxy.exited).code).to.not.equal(0);
  });
});
