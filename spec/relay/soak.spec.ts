/**
 * Owns the long run: churn of every kind, after which the engine must have what it had before. A minute where nothing may be
 * skipped, less elsewhere; a longer one by KPROXY_US_SOAK_S=600.
 */
import { expect } from 'chai';
import { startUdpBackend, UdpClient } from '../support/datagrams.js';
import { EngineProcess } from '../support/engine-process.js';
import { nativeFault } from '../support/native.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';
import { play } from './fuzz/play.js';
import { randomScript } from './fuzz/script.js';

const SOAK_S = Number(process.env['KPROXY_US_SOAK_S'] ?? (process.env['KPROXY_US_REQUIRE_ALL'] === '1' ? 60 : 20));
/** The state to compare with is that of an engine that has grown to its working size. */
const WARM_UP_S = Math.min(20, SOAK_S / 2);
/** Connections, and UDP clients, at once. */
const TOGETHER = 24;
/** The heap of a thread breathes by this much between collections. */
const BREATH_KB = 24 * 1024;

describe('native engine in a long run', () => {
  before(function () {
    nativeFault(this);
  });

  it(`ends ${SOAK_S} s of churn with the descriptors and the memory of before (T7, T8, U1)`, async function () {
    this.timeout((SOAK_S + WARM_UP_S) * 1_000 + 60_000);
    const options = { dialTimeoutMs: 2_000, udpTimeoutMs: 500, udpUnrepliedTimeoutMs: 300 };
    const engine = await EngineProcess.start({ engine: 'native', options });
    const backend = await startUdpBackend();
    try {
      await churn(engine, backend, WARM_UP_S, 1);
      const before = await settled(engine);
      const done = await churn(engine, backend, SOAK_S, 1_000_000);
      const after = await settled(engine);
      expect(done.connections).to.be.above(SOAK_S * 5);
      expect(done.datagrams).to.be.above(SOAK_S * 20);
      expect(after.descriptors, 'descriptors').to.be.at.most(before.descriptors);
      expect(after.residentKB, 'KB resident').to.be.at.most(before.residentKB + BREATH_KB);
    } finally {
      await engine.stop(0);
      await backend.close();
    }
  });
});

type UdpServer = Awaited<ReturnType<typeof startUdpBackend>>;

async function churn(engine: EngineProcess, backend: UdpServer, seconds: number, firstSeed: number) {
  const untilMs = performance.now() + seconds * 1_000;
  const done = { connections: 0, datagrams: 0 };
  let seed = firstSeed;
  const connections = Array.from({ length: TOGETHER }, async () => {
    while (performance.now() < untilMs) {
      seed += 2;
      const key = `connection-${seed}`;
      const { client } = await play(engine, key, randomScript(new Random(seed)), seed);
      expect(client.true).to.equal(true);
      done.connections += 1;
    }
  });
  const key = `flows-${firstSeed}`;
  const servicePort = { namespace: 'soak', service: key, port: '', protocol: 'UDP' as const };
  const endpoint = { host: backend.host, port: backend.port };
  const spec = { key, servicePort, host: '127.0.0.1', port: 0, affinityTimeoutMs: undefined };
  const { port } = await engine.open(spec, [endpoint]);
  const flows = Array.from({ length: TOGETHER }, async () => {
    while (performance.now() < untilMs) {
      const client = await UdpClient.dial('127.0.0.1', port);
      for (let count = 0; count < 20; count++, done.datagrams++) await askAgain(client, String(count));
      client.close();
    }
  });
  const changes = (async () => {
    while (performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      await engine.update(key, [endpoint, { host: '127.0.0.1', port: 1 }]);
      await engine.update(key, [endpoint]);
    }
  })();
  await Promise.all([...connections, ...flows, changes]);
  await engine.close(key, 0);
  return done;
}

/** As a resolver does: a datagram on its way to an endpoint that leaves is lost (rule U5). */
async function askAgain(client: UdpClient, question: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.ask(question, 1_000);
      return;
    } catch (error) {
      if (tries === 5) throw error;
    }
  }
}

/** The least that is seen once nothing runs: pipes that are not needed go by themselves after a while. */
async function settled(engine: EngineProcess): Promise<{ descriptors: number; residentKB: number }> {
  await until('nothing is open', async () => {
    const { listeners, draining } = await engine.stats();
    return listeners.length + draining === 0;
  });
  let descriptors = await engine.descriptors();
  for (let second = 0; second < 11; second++) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    descriptors = Math.min(descriptors, await engine.descriptors());
  }
  return { descriptors, residentKB: await engine.residentKB() };
}
