/** Thousands of idle connections, and traffic beside them. */
import { expect } from 'chai';
import { echo, startTcpBackend } from '../support/backends.js';
import { EngineProcess } from '../support/engine-process.js';
import { nativeFault } from '../support/native.js';
import { Peer } from '../support/peer.js';
import { until } from '../support/until.js';

const IDLE = 8_000;
/** Dialled at once: fewer than a listen queue holds. */
const TOGETHER = 200;
const PAYING = 2_000;

describe('native engine with many connections', () => {
  before(function () {
    nativeFault(this);
  });

  it(`keeps ${IDLE} idle connections for less than 0.5 KB each, serves others beside them, and ends all (T1, T11)`, async function () {
    this.timeout(120_000);
    const engine = await EngineProcess.start({ engine: 'native' });
    const backend = await startTcpBackend({ serve: echo, keep: false });
    const peers: Peer[] = [];
    try {
      const servicePort = { namespace: 'work', service: 'idle', port: '', protocol: 'TCP' as const };
      const spec = { key: 'idle', servicePort, host: '127.0.0.1', port: 0, affinityTimeoutMs: undefined };
      const { port } = await engine.open(spec, [{ host: backend.host, port: backend.port }]);
      const crowd = async (count: number): Promise<void> => {
        for (let left = count; left > 0; left -= TOGETHER) {
          const dials = Array.from({ length: Math.min(left, TOGETHER) }, () =>
            Peer.dial('127.0.0.1', port, { keep: false }),
          );
          peers.push(...(await Promise.all(dials)));
          await until('all of them to be relayed', () => backend.accepted.length === peers.length, 20_000);
        }
      };
      // The first ones pay for what is there anyway: compiled code, and a young generation grown to its size.
      await crowd(PAYING);
      const beforeKB = await engine.residentKB();
      await crowd(IDLE - PAYING);
      const usedKB = (await engine.residentKB()) - beforeKB;
      expect(usedKB / (IDLE - PAYING), 'KB for each').to.be.below(0.5);

      for (const index of [0, IDLE / 2, IDLE - 1]) {
        const startMs = performance.now();
        peers[index]?.send('still here?');
        await until('an answer', () => peers[index]?.bytes === 11);
        expect(performance.now() - startMs).to.be.below(1_000);
      }
      const late = await Peer.dial('127.0.0.1', port);
      late.send('hello');
      await late.got('hello');
      late.fin();
      expect(await late.ended()).to.equal('fin');
      const [stats] = (await engine.stats()).listeners;
      expect([stats?.active, stats?.total]).to.deep.equal([IDLE, IDLE + 1]);

      const started = performance.now();
      await engine.stop(0);
      expect(performance.now() - started).to.be.below(5_000);
      expect(await Promise.all(peers.slice(0, 50).map((peer) => peer.ended()))).to.deep.equal(
        new Array(50).fill('rst'),
      );
    } finally {
      for (const { socket } of peers) socket.destroy();
      await engine.stop(0);
      await backend.close();
    }
  });
});
