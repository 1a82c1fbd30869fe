/** Out of descriptors: rule T8, on both engines. */
import { expect } from 'chai';
import { echo } from '../support/backends.js';
import { EngineProcess } from '../support/engine-process.js';
import { nativeFault } from '../support/native.js';
import type { Peer } from '../support/peer.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';
import { withRig } from './engine-suite/rig.js';

const LIMIT = 120;

for (const engine of ['native', 'portable'] as const) {
  describe(`${engine} engine without descriptors (T8)`, () => {
    before(function () {
      requires(this, 'prlimit');
      if (engine === 'native') nativeFault(this);
    });

    it('pauses, says so once, serves those it has, and goes on by itself', async function () {
      this.timeout(30_000);
      const process = await EngineProcess.start({ engine, maxDescriptors: LIMIT });
      const make = async () => process;
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const first = await rig.dial(listener);
        first.send('one');
        await first.got('one');
        const crowd: Peer[] = [];
        for (let count = 0; count < LIMIT; count++) crowd.push(await rig.dial(listener));
        await until('a pause', async () => (await rig.engine.stats()).acceptPauses === 1);

        const cpuBefore = await process.cpuMs();
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        expect((await process.cpuMs()) - cpuBefore, 'ms of CPU in a second of pause').to.be.below(300);
        first.send('two');
        await first.got('two');
        const lines = process.logs.filter(({ message }) => message.startsWith('out of file descriptors'));
        expect(lines.map(({ level }) => level)).to.deep.equal(['error']);
        expect((await rig.engine.stats()).acceptPauses).to.equal(1);

        for (const peer of crowd) peer.rst();
        const late = await until('a client that is served', async () => {
          const peer = await rig.dial(listener);
          peer.send('late');
          await peer.got('late', 500);
          return peer;
        });
        first.send('three');
        await first.got('three');
        late.fin();
        expect(await late.ended()).to.equal('fin');
      });
    });

    it('lets idle UDP flows go, so that a new client is served', async function () {
      this.timeout(30_000);
      const process = await EngineProcess.start({ engine, maxDescriptors: LIMIT });
      await withRig(
        async () => process,
        {},
        async (rig) => {
          const backend = await rig.udpBackend();
          const listener = await rig.open('UDP', [backend]);
          for (let count = 0; (await rig.engine.stats()).acceptPauses === 0; count++) {
            expect(count).to.be.below(LIMIT);
            (await rig.dialUdp(listener)).send('x');
          }
          const late = await rig.dialUdp(listener);
          await until('an answer', async () => {
            late.send('late');
            await until('it', () => late.received.length > 0, 300);
            return true;
          });
        },
      );
    });
  });
}
