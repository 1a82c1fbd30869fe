import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { silentLog } from '../../lib/config/log.js';
import { HealthChecks } from '../../lib/status/health-checks.js';
import { until } from '../support/until.js';

const SERVICE = 'work/saythx-redis';

/** A port that nobody has at this moment. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('health check node ports (H1)', () => {
  let healthy = true;
  let checks: HealthChecks;
  let port: number;

  beforeEach(async () => {
    healthy = true;
    checks = new HealthChecks({ isHealthy: () => healthy, log: silentLog, retryMs: 20 });
    port = await freePort();
  });

  afterEach(() => checks.stop());

  async function ask(at = port, path = '/'): Promise<{ status: number; body: string; headers: Headers }> {
    const response = await fetch(`http://127.0.0.1:${at}${path}`);
    return { status: response.status, body: await response.text(), headers: response.headers };
  }

  async function update(localEndpoints: number | undefined, at = port): Promise<void> {
    checks.update(
      SERVICE,
      localEndpoints === undefined ? undefined : { port: at, hosts: ['127.0.0.1'], localEndpoints },
    );
    await checks.settled();
  }

  const refused = (at = port) =>
    ask(at).then(
      () => false,
      () => true,
    );

  it('answer 200 with local endpoints, to the byte as kube-proxy does, on any path', async () => {
    await update(2);
    for (const path of ['/', '/healthz']) {
      const { status, body, headers } = await ask(port, path);
      expect(status).to.equal(200);
      expect(body).to.equal(
        [
          '{',
          '\t"service": {',
          '\t\t"namespace": "work",',
          '\t\t"name": "saythx-redis"',
          '\t},',
          '\t"localEndpoints": 2,',
          '\t"serviceProxyHealthy": true',
          '}',
        ].join('\n'),
      );
      expect(headers.get('content-type')).to.equal('application/json');
      expect(headers.get('x-content-type-options')).to.equal('nosniff');
      expect(headers.get('x-load-balancing-endpoint-weight')).to.equal('2');
    }
  });

  it('answer 503 without local endpoints, and follow them on the same port', async () => {
    await update(0);
    expect(await ask()).to.deep.include({ status: 503 });
    await update(1);
    expect(await ask()).to.deep.include({ status: 200 });
  });

  it('answer 503 while the proxy is not healthy', async () => {
    await update(3);
    healthy = false;
    const { status, body } = await ask();
    expect(status).to.equal(503);
    expect(JSON.parse(body)).to.deep.include({ localEndpoints: 3, serviceProxyHealthy: false });
  });

  it('go with their Service, and move with its port', async () => {
    await update(1);
    const second = await freePort();
    await update(1, second);
    expect(await refused()).to.equal(true);
    expect((await ask(second)).status).to.equal(200);
    await update(undefined);
    expect(await refused(second)).to.equal(true);
  });

  it('pass from one Service to another in one step', async () => {
    await update(1);
    checks.update(SERVICE, undefined);
    checks.update('work/next', { port, hosts: ['127.0.0.1'], localEndpoints: 1 });
    await checks.settled();
    expect(JSON.parse((await ask()).body)).to.have.nested.property('service.name', 'next');
  });

  it('are tried again where the port is in use (C3)', async () => {
    const squatter = createServer((_request, response) => response.writeHead(418).end()).listen(port, '127.0.0.1');
    await new Promise((resolve) => squatter.once('listening', resolve));
    await update(1);
    expect((await ask()).status).to.equal(418);
    squatter.closeAllConnections();
    await new Promise((resolve) => {
      squatter.close(resolve);
      squatter.closeAllConnections();
    });
    await until('the health check', async () => (await ask()).status === 200);
  });
});
