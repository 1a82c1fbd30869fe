/** Batches of datagrams: what one of them meets must not fall on the others. With io_uring and without. */
import { expect } from 'chai';
import { refusing } from '../../support/backends.js';
import { EngineProcess } from '../../support/engine-process.js';
import { nativeFault, ringFault } from '../../support/native.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type MakeEngine, withRig } from '../engine-suite/rig.js';
import { udpSuite } from '../engine-suite/udp.js';

/** Of descriptors. */
const LIMIT = 120;

for (const ioUring of [true, false]) {
  describe(`native engine ${ioUring ? 'with' : 'without'} io_uring`, () => {
    let engine: EngineProcess;
    const make: MakeEngine = async (options) => {
      engine = await EngineProcess.start({ engine: 'native', options: { ...options, ioUring } });
      return engine;
    };

    before(async function () {
      nativeFault(this);
      if (ioUring) await ringFault(this);
    });

    it(`has ${ioUring ? 'its rings' : 'no ring'}`, async () => {
      await withRig(make, {}, async () => {
        const expected = ioUring ? 2 : 0;
        expect((await engine.links()).filter((link) => link === 'anon_inode:[io_uring]')).to.have.length(expected);
      });
    });

    it('sends a batch whose first datagram is refused to another backend, all of it in its order (U4)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [await refusing(), backend]);
        // Two flows: one of them begins at the backend that refuses.
        const clients = [await rig.dialUdp(listener), await rig.dialUdp(listener)];
        const datagrams = Array.from({ length: 10 }, (_, index) => String(index));
        await engine.whileFrozen(async () => {
          for (const client of clients) await client.deliver(...datagrams);
        });
        for (const client of clients) {
          await client.got(datagrams.length);
          expect(client.texts).to.deep.equal(datagrams);
        }
        expect(await rig.statsOf(listener)).to.include({ datagramsDropped: 0, dialFailures: 1, active: 2 });
      });
    });

    it('never sends a datagram through a descriptor that has become the next flow (U1, U6)', async () => {
      await withRig(make, { maxUdpFlows: 1 }, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend]);
        const clients = await Promise.all(Array.from({ length: 4 }, () => rig.dialUdp(listener)));
        await engine.whileFrozen(async () => {
          for (let round = 0; round < 3; round++)
            for (const [index, client] of clients.entries()) await client.deliver(`${index}.${round}`);
        });
        await until('all datagrams at the backend', () => backend.received.length === 12);
        // Each change of clients is a flow of its own, with one datagram.
        const sent = Array.from({ length: 12 }, (_, count) => `${count % 4}.${Math.floor(count / 4)}`);
        expect(backend.received.map(({ datagram }) => String(datagram))).to.deep.equal(sent);
        expect(await rig.statsOf(listener)).to.include({ total: 12, active: 1, datagramsUp: 12, datagramsDropped: 0 });
        // Answers to flows that made room are lost; one that arrives is the client's own.
        await clients.at(-1)?.got(1);
        for (const [index, client] of clients.entries())
          for (const text of client.texts) expect(text).to.match(new RegExp(`^${index}\\.`));
      });
    });

    it('drops of a batch only what is too large for its path, or has no backend', async () => {
      await withRig(make, { dialAttempts: 1 }, async (rig) => {
        const backend = await rig.udpBackend();
        const [good, bad] = [await rig.open('UDP', [backend]), await rig.open('UDP', [await refusing()])];
        const [client, lost] = [await rig.dialUdp(good), await rig.dialUdp(bad)];
        await engine.whileFrozen(async () => {
          await lost.deliver('a', 'b');
          await client.deliver('', '1');
        });
        await client.got(2);
        expect(client.texts).to.deep.equal(['', '1']);
        const stats = await rig.untilStats('the loss', bad, ({ datagramsDropped }) => datagramsDropped > 0);
        expect(stats).to.include({ datagramsDown: 0 });
        expect(await rig.statsOf(good)).to.include({ datagramsUp: 2, datagramsDropped: 0 });
      });
    });

    it('lets an idle flow go in the middle of a batch, where descriptors are short (T8)', async function () {
      requires(this, 'prlimit');
      const narrow: MakeEngine = async (options) => {
        engine = await EngineProcess.start({
          engine: 'native',
          options: { ...options, ioUring },
          maxDescriptors: LIMIT,
        });
        return engine;
      };
      await withRig(narrow, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend]);
        const known = await rig.dialUdp(listener);
        for (let count = 0; (await rig.engine.stats()).acceptPauses === 0; count++) {
          expect(count).to.be.below(LIMIT);
          (await rig.dialUdp(listener)).send('x');
        }
        // Flows that were idle for a second may go.
        const before = (await rig.statsOf(listener)).active;
        await until('a second of silence', () => performance.now() - (backend.received.at(-1)?.atMs ?? 0) > 1_100);
        await known.ask('still here');
        const late = await rig.dialUdp(listener);
        await engine.whileFrozen(async () => {
          await known.deliver('1');
          await late.deliver('2');
          await known.deliver('3');
        });
        await known.got(3);
        await late.got(1);
        expect([known.texts, late.texts]).to.deep.equal([['still here', '1', '3'], ['2']]);
        expect((await rig.statsOf(listener)).active).to.be.below(before);
      });
    });

    if (!ioUring) udpSuite(make);
  });
}
