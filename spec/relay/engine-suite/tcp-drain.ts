/** What becomes of connections when their backend or their listener goes: rules T10 and T11. */
import { expect } from 'chai';
import { echo } from '../../support/backends.js';
import { dialError } from '../../support/peer.js';
import { until, within } from '../../support/until.js';
import { type MakeEngine, withRig } from './rig.js';

export function tcpDrainSuite(make: MakeEngine): void {
  describe('endpoint or listener goes', () => {
    it('lets established connections go on when their backend leaves the set (T10)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const other = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('one ');
        await client.got('one ');
        await rig.update(listener, [other]);
        client.send('two ');
        await client.got('two ');
        await rig.update(listener, []);
        client.fin('three');
        expect(await client.ended()).to.equal('fin');
        expect(client.text).to.equal('one two three');
      });
    });

    it('stops accepting at once, and lets connections end by themselves (T11)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('one ');
        await client.got('one ');
        await rig.engine.close(listener.key, 60_000);
        await expectRefused(listener);
        expect(await rig.engine.stats()).to.deep.include({ listeners: [], draining: 1 });
        client.fin('two');
        expect(await client.ended()).to.equal('fin');
        expect(client.text).to.equal('one two');
        await until('nothing to drain', async () => (await rig.engine.stats()).draining === 0);
      });
    });

    it('resets what has not ended after the drain time (T11)', async () => {
      await withRig(make, { records: true }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        const server = await backend.connection();
        const startMs = performance.now();
        await rig.engine.close(listener.key, 300);
        expect(await client.ended()).to.equal('rst');
        expect(await server.ended()).to.equal('rst');
        expect(performance.now() - startMs).to.be.within(290, 2_000);
        await until('the record', () => rig.heard.records[0]?.outcome === 'drained');
      });
    });

    it('frees the port with the listener', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const first = await rig.open('TCP', [backend]);
        const client = await rig.dial(first);
        client.send('x');
        await client.got('x');
        await rig.engine.close(first.key, 60_000);
        const second = await rig.open('TCP', [backend], { port: first.port });
        expect(second.port).to.equal(first.port);
        const next = await rig.dial(second);
        next.send('y');
        await next.got('y');
      });
    });

    it('stops when the last connection has ended, or the drain time is over (T11)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('x');
        await client.got('x');
        let stopped = false;
        const stopping = rig.engine.stop(60_000).then(() => {
          stopped = true;
        });
        await expectRefused(listener);
        client.send('y');
        await client.got('y');
        expect(stopped).to.equal(false);
        client.fin();
        await within('the engine to stop', stopping);
      });
    });
  });
}

async function expectRefused({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  await until('new clients to be refused', async () => (await dialError(host, port)) === 'ECONNREFUSED');
}
