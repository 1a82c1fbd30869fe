import { expect } from 'chai';
import { Health } from '../../lib/status/health.js';
import { FakeSources } from './fake-sources.js';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 600);
const PERIOD_MS = 30_000;

function fakeHealth() {
  const sources = new FakeSources();
  return { sources, health: new Health(sources, PERIOD_MS, () => NOW) };
}

describe('health', () => {
  it('is good while nothing has been queued yet (H2)', () => {
    const { health, sources } = fakeHealth();
    sources.sync.synced = false;
    expect(health.replyHealthz().status).to.equal(200);
    expect(health.replyLivez().status).to.equal(200);
  });

  it('is bad from two sync periods on during which a change stayed unapplied (H2)', () => {
    const { health, sources } = fakeHealth();
    sources.sync.oldestPendingAtMs = NOW - 2 * PERIOD_MS + 1;
    expect(health.replyHealthz().status).to.equal(200);
    sources.sync.oldestPendingAtMs = NOW - 2 * PERIOD_MS;
    expect(health.replyHealthz().status).to.equal(503);
    expect(health.replyLivez().status).to.equal(503);
    sources.sync.oldestPendingAtMs = undefined;
    expect(health.replyHealthz().status).to.equal(200);
  });

  it('is bad for load balancers, not for the kubelet, while the Node is going (H2)', () => {
    const { health, sources } = fakeHealth();
    sources.eligible = false;
    expect(health.replyHealthz()).to.include({ status: 503 });
    expect(JSON.parse(health.replyHealthz().body)).to.include({ nodeEligible: false });
    expect(health.replyLivez().status).to.equal(200);
  });

  it("answers in kube-proxy's very body (H2)", () => {
    const { health } = fakeHealth();
    expect(health.replyHealthz().body).to.equal(
      '{"lastUpdated": "2026-01-02 03:04:05.6 +0000 UTC","currentTime": "2026-01-02 03:04:05.6 +0000 UTC", "nodeEligible": true}',
    );
    expect(health.replyLivez().body).to.equal(
      '{"lastUpdated": "2026-01-02 03:04:05.6 +0000 UTC","currentTime": "2026-01-02 03:04:05.6 +0000 UTC"}',
    );
  });

  it('tells a sick process by the time of its last sync (H2)', () => {
    const { health, sources } = fakeHealth();
    sources.sync.oldestPendingAtMs = NOW - 3 * PERIOD_MS;
    expect(JSON.parse(health.replyLivez().body).lastUpdated).to.equal('0001-01-01 00:00:00 +0000 UTC');
    sources.sync.lastSyncedAtMs = Date.UTC(2026, 0, 2, 3, 0, 0);
    expect(JSON.parse(health.replyLivez().body).lastUpdated).to.equal('2026-01-02 03:00:00 +0000 UTC');
  });

  it('tells of ports that could not be bound, and stays good for the others (C3)', () => {
    const { health, sources } = fakeHealth();
    sources.sync.faults.push({ servicePort: 'a/b/TCP', listener: '0.0.0.0:80', code: 'EADDRINUSE', message: 'in use' });
    expect(health.replyHealthz().status).to.equal(200);
    expect(JSON.parse(health.replyHealthz().body)).to.include({ portsNotBound: 1 });
  });
});
