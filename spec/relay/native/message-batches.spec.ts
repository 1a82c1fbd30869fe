/** Many connections that have something at one moment: each gets its own, whatever happens to the others. With io_uring and without. */
import { once } from 'node:events';
import { expect } from 'chai';
import { echo } from '../../support/backends.js';
import { EngineProcess } from '../../support/engine-process.js';
import { nativeFault, ringFault } from '../../support/native.js';
import type { Peer } from '../../support/peer.js';
import { until } from '../../support/until.js';
import { type MakeEngine, type Rig, withRig } from '../engine-suite/rig.js';

/** More than a batch has room for. */
const CROWD = 150;

for (const ioUring of [true, false]) {
  describe(`native engine with many connections at one moment, ${ioUring ? 'with' : 'without'} io_uring`, () => {
    let engine: EngineProcess;
    const make: MakeEngine = async (options) => {
      engine = await EngineProcess.start({ engine: 'native', options: { ...options, ioUring } });
      return engine;
    };

    before(async function () {
      nativeFault(this);
      if (ioUring) await ringFault(this);
    });

    /** Clients that have had an answer: all is connected. */
    async function crowdOf(rig: Rig, listener: Awaited<ReturnType<Rig['open']>>, count: number): Promise<Peer[]> {
      const crowd = await Promise.all(Array.from({ length: count }, () => rig.dial(listener)));
      for (const [index, client] of crowd.entries()) client.send(`<${index}>`);
      await Promise.all(crowd.map((client, index) => client.got(`<${index}>`)));
      return crowd;
    }

    it('gives each what is its own, round after round (T7)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const crowd = await crowdOf(rig, listener, CROWD);
        const size = (index: number) => 1 + ((index * 257) % 20_000);
        for (let round = 0; round < 3; round++) {
          await engine.whileFrozen(async () => {
            for (const [index, client] of crowd.entries()) client.send(String(index % 10).repeat(size(index)));
          });
          const expected = (index: number) => `<${index}>${String(index % 10).repeat((round + 1) * size(index))}`;
          await Promise.all(crowd.map((client, index) => client.gotBytes(expected(index).length)));
          for (const [index, client] of crowd.entries()) expect(client.text).to.equal(expected(index));
        }
      });
    });

    it('passes on FIN behind the last bytes, and RST, to whom they belong (T4)', async () => {
      await withRig(make, {}, async (rig) => {
        const seen = new Map<string, Peer>();
        const backend = await rig.tcpBackend({
          serve: (peer) => {
            peer.socket.on('data', (chunk) => {
              const name = /^<\d+>/.exec(String(chunk))?.[0];
              if (name !== undefined) seen.set(name, peer);
              peer.send(chunk);
            });
          },
        });
        const listener = await rig.open('TCP', [backend]);
        const crowd = await crowdOf(rig, listener, 60);
        const [talks, ends, resets] = [0, 1, 2].map((rest) => crowd.filter((_, index) => index % 3 === rest));
        await engine.whileFrozen(async () => {
          for (const client of crowd) client.send('said');
          const finished = (ends ?? []).map((client) => once(client.socket, 'finish'));
          for (const client of ends ?? []) client.fin('last');
          await Promise.all(finished);
          const closed = (resets ?? []).map((client) => once(client.socket, 'close'));
          for (const client of resets ?? []) client.rst();
          await Promise.all(closed);
        });
        await Promise.all((talks ?? []).map((client) => client.got('said')));
        await Promise.all((ends ?? []).map((client) => client.got('saidlast')));
        const at = (index: number) => seen.get(`<${index}>`);
        for (let index = 0; index < crowd.length; index++) {
          if (index % 3 === 1) expect(await at(index)?.ended(), `backend of ${index}`).to.equal('fin');
          if (index % 3 === 2) expect(await at(index)?.ended(), `backend of ${index}`).to.equal('rst');
        }
        // A half-closed connection goes on in the other direction.
        at(1)?.fin('late');
        await crowd[1]?.got('late');
        expect(await crowd[1]?.ended()).to.equal('fin');
        for (const client of talks ?? []) client.send('!');
        await Promise.all((talks ?? []).map((client) => client.got('!')));
        const stats = await rig.untilStats('those that ended', listener, ({ active }) => active === 39);
        expect(stats.outcomes['client-reset']).to.equal(20);
      });
    });

    it('carries both directions of one connection at one moment (T7)', async () => {
      await withRig(make, {}, async (rig) => {
        const peers: Peer[] = [];
        const backend = await rig.tcpBackend({ serve: (peer) => peers.push(peer) });
        const listener = await rig.open('TCP', [backend]);
        const crowd = await Promise.all(Array.from({ length: 40 }, () => rig.dial(listener)));
        await until('all backends', () => peers.length === crowd.length);
        await engine.whileFrozen(async () => {
          for (const client of crowd) client.send('up');
          for (const peer of peers) peer.send('down');
        });
        await Promise.all([...crowd.map((client) => client.got('down')), ...peers.map((peer) => peer.got('up'))]);
        // Those whose backend went, with its answer on the way.
        await engine.whileFrozen(async () => {
          for (const client of crowd) client.send('more');
          const finished = peers.map((peer) => once(peer.socket, 'finish'));
          for (const peer of peers) peer.fin('bye');
          await Promise.all(finished);
        });
        for (const client of crowd) {
          await client.got('downbye');
          expect(await client.ended()).to.equal('fin');
        }
        await Promise.all(peers.map((peer) => peer.got('upmore')));
      });
    });

    it('never sends through a descriptor that has become the next client: answers to those that go are theirs (T7)', async () => {
      await withRig(make, {}, async (rig) => {
        const peers: Peer[] = [];
        const backend = await rig.tcpBackend({ serve: (peer) => peers.push(peer) });
        const listener = await rig.open('TCP', [backend]);
        let crowd = await Promise.all(Array.from({ length: 30 }, () => rig.dial(listener)));
        await until('all backends', () => peers.length === 30);
        for (let round = 1; round <= 3; round++) {
          const fresh: Promise<Peer>[] = [];
          const answering = peers.splice(0);
          await engine.whileFrozen(async () => {
            for (const peer of answering) peer.send(`answer of round ${round}`);
            const closed = crowd.map((client) => once(client.socket, 'close'));
            for (const client of crowd) client.rst();
            await Promise.all(closed);
            // The kernel takes them in while we stand still.
            for (let count = 0; count < 30; count++) fresh.push(rig.dial(listener));
            await Promise.all(fresh);
          });
          crowd = await Promise.all(fresh);
          await until('the next backends', () => peers.length === 30);
          for (const peer of peers) peer.send('.');
          await Promise.all(crowd.map((client) => client.got('.')));
          expect(crowd.map(({ text }) => text)).to.deep.equal(new Array(30).fill('.'));
        }
        await rig.untilStats('those that are left', listener, ({ active }) => active === 30);
      });
    });
  });
}
