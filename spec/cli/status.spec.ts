import { expect } from 'chai';
import { reportText } from '../../lib/cli/status.js';
import { Health } from '../../lib/status/health.js';
import { createReport } from '../../lib/status/report.js';
import { FakeSources, listenerStats } from '../status/fake-sources.js';

const NODE_PORT = 'default/web/TCP@0.0.0.0:30080';
const REDIRECT = 'default/web/TCP@internal/192.0.2.1';

describe('the report of kproxy-us status', () => {
  let sources: FakeSources;

  beforeEach(() => {
    sources = new FakeSources();
  });

  async function lines(): Promise<readonly string[]> {
    const report = await createReport(sources, new Health(sources, 30_000));
    return reportText(report).split('\n');
  }

  function open(
    key: string,
    host: string,
    port: number,
    frontends: readonly string[],
    rejected: readonly string[] = [],
  ) {
    const listening = frontends.length > 0;
    const listener = listenerStats({ key, port, listening });
    sources.stats = { ...sources.stats, listeners: [...sources.stats.listeners, listener] };
    sources.views.set(key, { host, frontends, rejected, backends: [] });
  }

  const rows = async () => (await lines()).slice(5).map((line) => line.split(/ {2,}/).slice(0, 4));

  it('tells the node port from the redirect of a Service that nobody serves, each with its place (E5)', async () => {
    open(NODE_PORT, '0.0.0.0', 30_080, []);
    open(REDIRECT, '192.0.2.1', 20_000, [], ['10.96.0.10:80/TCP']);
    expect((await rows()).filter(([name]) => name !== '')).to.deep.equal([
      ['default/web/TCP', 'node port', '0.0.0.0:30080', '0.0.0.0:30080 (closed)'],
      ['default/web/TCP', 'redirect', '10.96.0.10:80/TCP (refused)', '192.0.2.1:20000 (closed)'],
    ]);
  });

  it('shows what leads to a redirect that is served', async () => {
    open(REDIRECT, '192.0.2.1', 20_000, ['10.96.0.10:80/TCP']);
    expect((await rows())[0]).to.deep.equal(['default/web/TCP', 'redirect', '10.96.0.10:80/TCP', '192.0.2.1:20000']);
  });

  it('says why a port is not listened on (C3)', async () => {
    const fault = { servicePort: 'default/web/TCP', listener: '0.0.0.0:30080', code: 'EADDRINUSE' };
    sources.sync.faults = [{ ...fault, message: 'cannot listen on 0.0.0.0:30080/TCP' }];
    expect(await lines()).to.include(
      'NOT LISTENING: default/web/TCP on 0.0.0.0:30080: cannot listen on 0.0.0.0:30080/TCP: EADDRINUSE',
    );
  });

  it('says why it is not healthy: what waits and since when (H2)', async () => {
    sources.sync.oldestPendingAtMs = Date.UTC(2026, 0, 2, 3, 4, 5);
    sources.sync.faults = [{ servicePort: 'a', listener: 'b', code: 'c', message: 'd' }];
    expect((await lines())[0]).to.match(
      /, NOT HEALTHY, a change waits since 2026-01-02T03:04:05.000Z, 1 ports not bound$/,
    );
  });

  it('says healthy and no more where it is', async () => {
    expect((await lines())[0]).to.match(/, healthy$/);
  });
});
