import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ApiServer, kubeconfig } from '../support/api-server/api-server.js';
import { Child } from '../support/lab/child.js';
import { PROGRAM, serviceManifest, sliceManifest } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

/** An address of this machine that is no loopback: endpoints of an API may not lead into the node. */
function ownAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

async function backend(name: string, host: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined).end(name));
  await once(server.listen(0, host), 'listening');
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '0.0.0.0'), 'listening');
  const port = portOf(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What whoever answers at a port of loopback says, or the code of the failure. */
async function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1');
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('close', () => resolve(text));
  });
}

describe('the program at an API server', function () {
  this.timeout(60_000);
  let dir: string;
  let config: string;
  let server: ApiServer;
  let proxy: Child;
  let backends: readonly Server[] = [];
  let nodePort: number;
  let address: string;

  const start = (...args: readonly string[]) => {
    const off = ['--redirect=none', '--healthz-bind-address=', '--metrics-bind-address='];
    return Child.start(process.execPath, [PROGRAM, ...off, '--iptables-min-sync-period=0', ...args]);
  };
  const servedBy = (index: number) => {
    const port = portOf(backends[index] as Server);
    server.history.put('slices', sliceManifest('web', [address], [{ port }]));
  };

  before(async function () {
    requires(this, 'openssl', 'setpriv');
    address = ownAddress() ?? this.skip();
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-e2e-'));
    backends = [await backend('one', address), await backend('two', address)];
    nodePort = await freePort();
    server = await ApiServer.start({ tokens: ['secret'] });
    server.history.put(
      'services',
      serviceManifest({ name: 'web', clusterIPs: ['10.96.3.1'], ports: [{ port: 80, nodePort }] }),
    );
    servedBy(0);
    config = join(dir, 'kubeconfig');
    await writeFile(join(dir, 'token'), 'secret\n');
    await writeFile(config, kubeconfig(server, { tokenFile: 'token' }));
  });

  after(async () => {
    proxy?.killGroup();
    await server?.close();
    for (const one of backends) one.close();
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  });

  it('serves a node port of a Service it was told of', async () => {
    proxy = start('--kubeconfig', config);
    await proxy.waitFor(/ ready .*services=1/, 20_000);
    expect(await ask(nodePort)).to.equal('one');
  });

  it('follows changes', async () => {
    servedBy(1);
    await until('the other backend', async () => (await ask(nodePort)) === 'two');
  });

  it('forwards while the server is away, and follows when it is back with changes (Y5)', async () => {
    await server.down();
    await proxy.waitFor('cannot follow the API server', 10_000);
    expect(await ask(nodePort)).to.equal('two');
    servedBy(0);
    await server.up();
    await until('the first backend again', async () => (await ask(nodePort)) === 'one', 20_000);
  });

  it('refuses clients when the Service is deleted', async () => {
    server.history.delete('services', 'e2e/web');
    await until('the port to be closed', async () => (await ask(nodePort)) === 'ECONNREFUSED', 10_000);
  });

  it('ends in order and at once, with its watches open (Y6)', async () => {
    const before = performance.now();
    expect(await proxy.stop('SIGTERM', 10_000)).to.deep.equal({ code: 0, signal: null });
    expect(performance.now() - before).to.be.lessThan(5_000);
  });

  it('serves nothing and stays while the server cannot be reached from the start, then serves', async () => {
    await server.down();
    proxy = start('--kubeconfig', config);
    await proxy.waitFor('cannot follow the API server', 20_000);
    expect(proxy.stderr).to.not.include(' ready ');
    server.history.put(
      'services',
      serviceManifest({ name: 'web', clusterIPs: ['10.96.3.1'], ports: [{ port: 80, nodePort }] }),
    );
    await server.up();
    await proxy.waitFor(/ ready .*services=1/, 40_000);
    expect(await ask(nodePort)).to.equal('one');
    await proxy.stop();
  });

  for (const [title, text, says] of [
    ['that is missing', undefined, /--kubeconfig: .*missing: expected a file, got nothing/],
    ['that is no YAML', '{"kind": "Config"', /kubeconfig-bad:1:\d+: /],
    ['without a current context', '{"kind": "Config"}', /current-context: expected the name of a context, got nothing/],
  ] as const) {
    it(`ends with 2 for a kubeconfig ${title} (C1)`, async () => {
      const file = join(dir, text === undefined ? 'missing' : 'kubeconfig-bad');
      if (text !== undefined) await writeFile(file, text);
      const child = start('--kubeconfig', file);
      expect(await child.exited).to.deep.equal({ code: 2, signal: null });
      expect(child.stderr).to.match(says);
    });
  }
});
