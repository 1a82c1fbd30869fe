/** Reaching a backend: rules T1, T2, T3 and B3. */
import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { echo, refusing, sayAndClose } from '../../support/backends.js';
import { type MakeEngine, withRig } from './rig.js';

export function tcpDialSuite(make: MakeEngine): void {
  describe('dial', () => {
    it('serves other clients while one waits for a dead backend, then serves that one too (T1, T2)', async () => {
      await withRig(make, { dialTimeoutMs: 1_500 }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [await rig.blackHole(), backend]);
        const startMs = performance.now();
        const clients = [await rig.dial(listener), await rig.dial(listener)];
        for (const client of clients) client.send('hello');
        const times = await Promise.all(
          clients.map(async (client) => {
            await client.got('hello');
            return performance.now() - startMs;
          }),
        );
        times.sort((one, other) => one - other);
        expect(times[0]).to.be.below(1_000);
        expect(times[1]).to.be.within(1_450, 3_500);
      });
    });

    it('goes to another backend at once where one refuses, and the client notices nothing (T2)', async () => {
      await withRig(make, { dialTimeoutMs: 5_000 }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
        const listener = await rig.open('TCP', [refusing(1), refusing(3), refusing(4), backend]);
        const startMs = performance.now();
        for (let client = 0; client < 8; client++) expect(await rig.ask(listener)).to.equal('served');
        expect(performance.now() - startMs).to.be.below(2_000);
        const { dialFailures, dialRetries, outcomes } = await rig.untilStats(
          '8 ends',
          listener,
          ({ active }) => active === 0,
        );
        expect(dialFailures).to.be.at.least(1);
        expect(dialRetries).to.equal(dialFailures);
        expect(outcomes).to.deep.equal({ closed: 8 });
      });
    });

    it('delivers what the client sent before a backend was reached (T7)', async () => {
      await withRig(make, { dialTimeoutMs: 400 }, async (rig) => {
        const backend = await rig.tcpBackend({ keep: false });
        const hole = await rig.blackHole();
        const listener = await rig.open('TCP', [hole]);
        const early = randomBytes(300_000);
        const client = await rig.dial(listener);
        client.fin(early);
        // The dial to the only backend is under way; the retry finds the new one.
        await rig.update(listener, [hole, backend]);
        const server = await backend.connection();
        expect(await server.ended()).to.equal('fin');
        expect(server.sha256).to.equal(createHash('sha256').update(early).digest('hex'));
        server.fin('late reply');
        expect(await client.ended()).to.equal('fin');
        expect(client.text).to.equal('late reply');
      });
    });

    it('resets the client when every backend failed, never a FIN (T3)', async () => {
      await withRig(make, { records: true }, async (rig) => {
        const listener = await rig.open('TCP', [refusing(1), refusing(3)]);
        const client = await rig.dial(listener);
        client.send('hello');
        expect(await client.ended()).to.equal('rst');
        const stats = await rig.untilStats('the end', listener, ({ active }) => active === 0);
        expect(stats.outcomes).to.deep.equal({ 'dial-failed': 1 });
        expect(stats).to.include({ dialFailures: 2, dialRetries: 1 });
      });
    });

    it('tries no more backends than it was told, each once (T2)', async () => {
      await withRig(make, { dialAttempts: 2, records: true }, async (rig) => {
        const listener = await rig.open('TCP', [refusing(1), refusing(3), refusing(4), refusing(5)]);
        expect(await rig.ask(listener)).to.equal('rst');
        await rig.untilStats('the end', listener, ({ active }) => active === 0);
        expect((await rig.statsOf(listener)).dialFailures).to.equal(2);
        const dialled = rig.heard.logs.map(({ fields }) => fields['backend']).filter((name) => name !== undefined);
        expect(new Set(dialled).size).to.equal(dialled.length);
      });
    });

    it('gives a dial up after its time and resets the client (T2, T3)', async () => {
      await withRig(make, { dialTimeoutMs: 300 }, async (rig) => {
        const listener = await rig.open('TCP', [await rig.blackHole()]);
        const startMs = performance.now();
        expect(await rig.ask(listener)).to.equal('rst');
        expect(performance.now() - startMs).to.be.within(290, 1_500);
      });
    });

    it('keeps clients away from a backend that failed (B3)', async () => {
      await withRig(make, { dialTimeoutMs: 400 }, async (rig) => {
        const good = [1, 2, 3].map(() => rig.tcpBackend({ serve: sayAndClose('served') }));
        const listener = await rig.open('TCP', [await rig.blackHole(), ...(await Promise.all(good))]);
        // One round finds it out; the next rounds are within the second that it is out for.
        for (let client = 0; client < 4; client++) expect(await rig.ask(listener)).to.equal('served');
        const startMs = performance.now();
        for (let client = 0; client < 12; client++) expect(await rig.ask(listener)).to.equal('served');
        expect(performance.now() - startMs).to.be.below(350);
        expect(await rig.statsOf(listener)).to.include({ dialFailures: 1, ejections: 1 });
      });
    });

    it('fails nobody with half of the backends dead, and makes only the first clients wait (T2, B3)', async function () {
      this.timeout(20_000);
      await withRig(make, { dialTimeoutMs: 800 }, async (rig) => {
        const good = await Promise.all([rig.tcpBackend({ serve: echo }), rig.tcpBackend({ serve: echo })]);
        const listener = await rig.open('TCP', [await rig.blackHole(), refusing(1), ...good]);
        const timesMs: number[] = [];
        const client = async () => {
          for (let request = 0; request < 10; request++) {
            const startMs = performance.now();
            const peer = await rig.dial(listener);
            peer.fin('request');
            expect(await peer.ended()).to.equal('fin');
            expect(peer.text).to.equal('request');
            timesMs.push(performance.now() - startMs);
          }
        };
        await Promise.all(Array.from({ length: 50 }, client));
        timesMs.sort((one, other) => one - other);
        expect(timesMs).to.have.length(500);
        expect(timesMs[450]).to.be.below(400);
        expect(timesMs.at(-1)).to.be.below(2_500);
      });
    });

    it('says which backend failed for whom', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('TCP', [refusing(1)]);
        expect(await rig.ask(listener)).to.equal('rst');
        await rig.untilStats('the end', listener, ({ active }) => active === 0);
        const line = rig.heard.logs.find(({ fields }) => fields['backend'] === '127.0.0.1:1');
        expect(line?.fields).to.include({ servicePort: 'work/service-1/TCP', code: 'ECONNREFUSED' });
        expect(line?.fields['client']).to.match(/^127\.0\.0\.1:\d+$/);
      });
    });
  });
}
