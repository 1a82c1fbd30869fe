import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { silentLog } from '../../lib/config/log.js';
import type { HostPort, Options } from '../../lib/config/options.js';
import { Health } from '../../lib/status/health.js';
import { HttpServer, text } from '../../lib/status/http-server.js';
import { StatusServers } from '../../lib/status/server.js';
import { until, within } from '../support/until.js';
import { FakeSources, listenerStats } from './fake-sources.js';

describe('the status servers', () => {
  let sources: FakeSources;
  let servers: StatusServers;

  async function start(changes: Partial<Options> = {}): Promise<void> {
    sources = new FakeSources(changes);
    servers = new StatusServers(sources, new Health(sources, sources.options.syncPeriodMs), silentLog);
    await servers.start();
  }

  afterEach(async () => {
    await servers.stop();
  });

  function get(name: 'healthz' | 'metrics', path: string, init?: RequestInit): Promise<Response> {
    return fetch(`http://127.0.0.1:${servers.addressOf(name)?.port}${path}`, init);
  }

  it('answer probes on the health port, and nothing else there (H2)', async () => {
    await start();
    const healthz = await get('healthz', '/healthz');
    expect(healthz.status).to.equal(200);
    expect(healthz.headers.get('content-type')).to.equal('application/json');
    expect(healthz.headers.get('x-content-type-options')).to.equal('nosniff');
    expect(Object.keys((await healthz.json()) as object)).to.deep.equal(['lastUpdated', 'currentTime', 'nodeEligible']);
    expect((await get('healthz', '/livez')).status).to.equal(200);
    expect((await get('healthz', '/metrics')).status).to.equal(404);
    sources.sync.oldestPendingAtMs = 1;
    expect((await get('healthz', '/healthz')).status).to.equal(503);
    expect((await get('healthz', '/livez')).status).to.equal(503);
  });

  it("answer kube-proxy's paths on the metrics port (H3)", async () => {
    await start();
    expect(await (await get('metrics', '/proxyMode')).text()).to.equal('userspace');
    expect((await get('metrics', '/healthz')).status).to.equal(200);
    expect((await get('metrics', '/livez')).status).to.equal(200);
    const configz = (await (await get('metrics', '/configz')).json()) as Record<string, Options>;
    expect(configz['kubeproxy.config.k8s.io']).to.include({ redirect: 'iptables', nodeName: 'node-1' });
    const metrics = await get('metrics', '/metrics?name=x');
    expect(metrics.headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
    expect(await metrics.text()).to.contain('kubeproxy_sync_proxy_rules_last_timestamp_seconds 0');
  });

  it('report what is open, where it leads and how it does', async () => {
    await start();
    const key = 'default/web/TCP@0.0.0.0:30080';
    sources.stats = {
      engine: 'native',
      draining: 1,
      acceptPauses: 0,
      listeners: [listenerStats({ key, active: 2, total: 9 })],
    };
    const backends = [
      { host: '10.0.0.5', port: 80 },
      { host: 'fd00::5', port: 80 },
    ];
    sources.views.set(key, { host: '0.0.0.0', frontends: ['0.0.0.0:30080/TCP'], backends });
    const report = (await (await get('metrics', '/status')).json()) as { listeners: object[] };
    expect(report).to.include({ version: '1.2.3', engine: 'native', redirect: 'iptables', healthy: true, draining: 1 });
    expect(report.listeners).to.have.length(1);
    expect(report.listeners[0]).to.deep.include({
      servicePort: 'default/web/TCP',
      listener: '0.0.0.0:30080',
      frontends: ['0.0.0.0:30080/TCP'],
      backends: ['10.0.0.5:80', '[fd00::5]:80'],
      active: 2,
      total: 9,
    });
  });

  it('are off where the address is (H3)', async () => {
    await start({ healthzBindAddress: undefined });
    expect(servers.addressOf('healthz')).to.equal(undefined);
    expect(servers.addressOf('metrics')).to.not.equal(undefined);
  });

  it('take GET and HEAD only, and repeat nothing of a request', async () => {
    await start();
    const head = await get('metrics', '/proxyMode', { method: 'HEAD' });
    expect(head.headers.get('content-length')).to.equal('9');
    expect(await head.text()).to.equal('');
    const post = await get('metrics', '/metrics', { method: 'POST', body: 'x' });
    expect(post.status).to.equal(405);
    expect(post.headers.get('allow')).to.equal('GET, HEAD');
    const unknown = await get('metrics', '/no-such-page-<script>', { method: 'GET' });
    expect(unknown.status).to.equal(404);
    expect(await unknown.text()).to.not.contain('script');
    for (const path of ['/__proto__', '/constructor', '/toString', '//metrics']) {
      expect((await get('metrics', path)).status, path).to.equal(404);
    }
  });

  it('end what is no HTTP and what is too long, and go on', async () => {
    await start();
    const port = servers.addressOf('metrics')?.port ?? 0;
    for (const words of [
      '\u0000\u0001 nonsense\r\n\r\n',
      `GET /metrics HTTP/1.1\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`,
    ]) {
      const client = connect(port, '127.0.0.1');
      client.on('error', () => undefined);
      client.resume();
      client.write(words);
      await within('the end of the connection', new Promise((resolve) => client.once('close', resolve)));
    }
    expect((await get('metrics', '/proxyMode')).status).to.equal(200);
  });

  it('stop although a client keeps its connection open', async () => {
    await start();
    const client = connect(servers.addressOf('metrics')?.port ?? 0, '127.0.0.1');
    client.on('error', () => undefined);
    await new Promise((resolve) => client.once('connect', resolve));
    await within('stop', servers.stop());
    client.destroy();
  });
});

describe('a status server whose port is taken', () => {
  let holder: Server;
  let taken: HostPort;

  beforeEach(async () => {
    holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    taken = { host: '127.0.0.1', port: (holder.address() as AddressInfo).port };
  });

  afterEach(() => {
    holder.close();
  });

  function serverAt(at: HostPort, hardFail: boolean, warnings: string[] = []): HttpServer {
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
    return new HttpServer({ name: 'metrics', at, pages: { '/': () => text(200, 'here') }, hardFail, log, retryMs: 5 });
  }

  it('is tried again until it can listen, and stops nothing else (C3)', async () => {
    const warnings: string[] = [];
    const server = serverAt(taken, false, warnings);
    await server.start();
    expect(server.address).to.equal(undefined);
    expect(warnings).to.include('status server cannot listen, will try again');
    await new Promise((resolve) => holder.close(resolve));
    await until('the server to listen', () => server.address !== undefined);
    expect(await (await fetch(`http://127.0.0.1:${taken.port}/`)).text()).to.equal('here');
    await server.stop();
  });

  it('is not tried any more once it is stopped', async () => {
    const warnings: string[] = [];
    const server = serverAt(taken, false, warnings);
    await server.start();
    await server.stop();
    await new Promise((resolve) => holder.close(resolve));
    const after = warnings.length;
    await new Promise((resolve) => setTimeout(resolve, 25));
    expect(server.address).to.equal(undefined);
    expect(warnings).to.have.length(after);
  });

  it('ends the start where the operator asked for that', async () => {
    const failure = await serverAt(taken, true)
      .start()
      .catch((error: unknown) => error);
    expect(failure).to.include({ code: 'EADDRINUSE' });
  });

  it('says nothing of why a page failed, except in the log', async () => {
    const errors: unknown[] = [];
    const log = { ...silentLog, error: (_message: string, fields?: object) => void errors.push(fields) };
    const pages = {
      '/': () => {
        throw new Error('secret');
      },
    };
    const server = new HttpServer({ name: 'x', at: { host: '127.0.0.1', port: 0 }, pages, hardFail: true, log });
    await server.start();
    const reply = await fetch(`http://127.0.0.1:${server.address?.port}/`);
    expect(reply.status).to.equal(500);
    expect(await reply.text()).to.not.contain('secret');
    expect(errors).to.have.length(1);
    await server.stop();
  });
});
