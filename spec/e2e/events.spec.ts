import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { defaultOptions } from '../../lib/cli/run-options.js';
import { silentLog } from '../../lib/config/log.js';
import { Daemon } from '../../lib/daemon.js';
import { sliceJson } from '../source/objects/kube-json.js';
import { ApiServer, kubeconfig } from '../support/api-server/api-server.js';
import { History, type KubeJson } from '../support/api-server/history.js';
import { until } from '../support/until.js';

/** What is said of an Event at the API server. */
interface Said {
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

describe('the daemon at an API server', function () {
  this.timeout(20_000);
  let dir: string;
  let taken: Server;
  let server: ApiServer;
  let daemon: Daemon;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    taken = createServer();
    await once(taken.listen(0, '0.0.0.0'), 'listening');
    const { port: nodePort } = taken.address() as AddressInfo;
    const history = new History();
    history.put('services', service('web', '2026-01-01T00:00:00Z', [{ name: 'redis', port: 6379, nodePort }]));
    history.put('services', service('late', '2026-01-02T00:00:00Z', [{ name: 'redis', port: 6379, nodePort }]));
    history.put('services', service('sctp', '2026-01-01T00:00:00Z', [{ name: 's', port: 1, protocol: 'SCTP' }]));
    history.put('slices', slice('web'));
    history.put('slices', slice('late'));
    server = await ApiServer.start({ history });
    await writeFile(join(dir, 'kubeconfig'), kubeconfig(server));
    const options = {
      ...defaultOptions({ nodeName: 'node-a', hostname: 'h' }),
      kubeconfig: join(dir, 'kubeconfig'),
      redirect: 'none',
      engine: 'portable',
      healthzBindAddress: undefined,
      metricsBindAddress: undefined,
    } as const;
    daemon = new Daemon(options, silentLog);
    await daemon.start();
  });

  after(async () => {
    await daemon.stop();
    await server.close();
    taken.close();
    await rm(dir, { recursive: true });
  });

  const service = (name: string, creationTimestamp: string, ports: readonly object[]): KubeJson => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'work', creationTimestamp },
    spec: { type: 'NodePort', ports },
  });
  const slice = (name: string) =>
    sliceJson({}, { name, labels: { 'kubernetes.io/service-name': name } }) as unknown as KubeJson;
  const said = () =>
    server.created
      .map(({ object }) => object as Said)
      .map(({ reason, regarding: { name }, note }) => `${reason} ${name} ${note}`);

  it('writes an Event of its start, of what is not served (S6, C2), and of a port that is in use (C3)', async () => {
    await until('the Events', () => server.created.length >= 4);
    const events = said().toSorted();
    expect(events).to.have.length(4);
    expect(events[0]).to.match(/^CannotListen web cannot listen on 0\.0\.0\.0:\d+\/TCP: EADDRINUSE \(node node-a\)$/);
    expect(events[1]).to.match(/^NotServed late .* is not served: Service work\/web had it first$/);
    expect(events[2]).to.equal('NotServed sctp port 1/SCTP is not supported and is not served');
    expect(events[3]).to.equal('Starting node-a ');
  });
});
