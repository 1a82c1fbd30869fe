/** How connections end by themselves: rules T4, T6 and H5. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { echo } from '../../support/backends.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type MakeEngine, withRig } from './rig.js';

const run = promisify(execFile);

export function tcpEndSuite(make: MakeEngine): void {
  describe('half-close (T4)', () => {
    for (const host of ['127.0.0.1', '::1']) {
      it(`delivers the late reply after the client half-closes, at ${host}`, async function () {
        if (host === '::1') requires(this, 'ipv6');
        await withRig(make, {}, async (rig) => {
          const backend = await rig.tcpBackend({ host });
          const client = await rig.dial(await rig.open('TCP', [backend], { host }));
          client.fin('request');
          const server = await backend.connection();
          expect(await server.ended()).to.equal('fin');
          expect(server.text).to.equal('request');
          server.send('late ');
          await client.got('late ');
          server.fin('reply');
          expect(await client.ended()).to.equal('fin');
          expect(client.text).to.equal('late reply');
        });
      });
    }

    it('lets the client go on after the backend half-closes', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend();
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        const server = await backend.connection();
        server.fin('all I have');
        expect(await client.ended()).to.equal('fin');
        client.send('thanks, ');
        await server.got('thanks, ');
        client.fin('bye');
        expect(await server.ended()).to.equal('fin');
        expect(server.text).to.equal('thanks, bye');
        const { outcomes } = await rig.untilStats('the end', listener, ({ active }) => active === 0);
        expect(outcomes).to.deep.equal({ closed: 1 });
      });
    });

    it('passes a FIN without any byte', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend();
        const client = await rig.dial(await rig.open('TCP', [backend]));
        client.fin();
        const server = await backend.connection();
        expect(await server.ended()).to.equal('fin');
        server.fin();
        expect(await client.ended()).to.equal('fin');
      });
    });

    it('passes the FIN of a client that does not read what is sent to it', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: (peer) => peer.send(Buffer.alloc(32 * 1024 * 1024)) });
        const client = await rig.dial(await rig.open('TCP', [backend]));
        client.socket.pause();
        const server = await backend.connection();
        await until('the backend to be stopped', () => server.socket.writableLength > 0);
        client.fin('request');
        await server.got('request');
        expect(await server.ended()).to.equal('fin');
      });
    });

    it('ends a half-closed connection whose other side is silent after its time', async () => {
      await withRig(make, { halfCloseTimeoutMs: 300 }, async (rig) => {
        const backend = await rig.tcpBackend();
        const listener = await rig.open('TCP', [backend]);
        const open = await rig.dial(listener);
        const half = await rig.dial(listener);
        half.fin('request');
        const startMs = performance.now();
        expect(await half.ended()).to.equal('rst');
        expect(performance.now() - startMs).to.be.within(250, 2_000);
        const { outcomes } = await rig.untilStats('its end', listener, ({ active }) => active === 1);
        expect(outcomes).to.deep.equal({ 'half-close-timeout': 1 });
        open.send('I am not half-closed');
        await (await backend.connection(0)).got('I am not');
      });
    });

    it('lets a half-closed connection live as long as bytes come', async () => {
      await withRig(make, { halfCloseTimeoutMs: 300 }, async (rig) => {
        const backend = await rig.tcpBackend();
        const client = await rig.dial(await rig.open('TCP', [backend]));
        client.fin('request');
        const server = await backend.connection();
        for (let piece = 1; piece <= 12; piece++) {
          server.send('.');
          await client.gotBytes(piece);
          await new Promise((resolve) => setTimeout(resolve, 75));
        }
        server.fin();
        expect(await client.ended()).to.equal('fin');
        expect(client.text).to.equal('.'.repeat(12));
      });
    });
  });

  describe('reset (T4)', () => {
    it('passes the RST of the client to the backend', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend();
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('hello');
        const server = await backend.connection();
        await server.got('hello');
        client.rst();
        expect(await server.ended()).to.equal('rst');
        const { outcomes } = await rig.untilStats('the end', listener, ({ active }) => active === 0);
        expect(outcomes).to.deep.equal({ 'client-reset': 1 });
      });
    });

    it('passes the RST of the backend to the client', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend();
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('hello');
        const server = await backend.connection();
        await server.got('hello');
        server.rst();
        expect(await client.ended()).to.equal('rst');
        const { outcomes } = await rig.untilStats('the end', listener, ({ active }) => active === 0);
        expect(outcomes).to.deep.equal({ 'backend-reset': 1 });
      });
    });

    it('tells an RST from a FIN also where bytes come right before it', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({
          serve: ({ socket }) =>
            socket.once('data', () => socket.write('partial answer', () => socket.resetAndDestroy())),
        });
        const listener = await rig.open('TCP', [backend]);
        for (let client = 0; client < 20; client++) {
          const peer = await rig.dial(listener);
          peer.send('request');
          expect(await peer.ended()).to.equal('rst');
        }
        const { outcomes } = await rig.untilStats('the ends', listener, ({ active }) => active === 0);
        expect(outcomes).to.deep.equal({ 'backend-reset': 20 });
      });
    });

    it('passes a RST that comes after a FIN of the other side', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend();
        const client = await rig.dial(await rig.open('TCP', [backend]));
        const server = await backend.connection();
        server.fin('reply');
        expect(await client.ended()).to.equal('fin');
        client.send('hello');
        await server.got('hello');
        client.rst();
        expect(await server.ended()).to.equal('rst');
      });
    });
  });

  describe('silence (T6)', () => {
    it('leaves an idle connection alone unless told otherwise', async () => {
      await withRig(make, { halfCloseTimeoutMs: 100 }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const client = await rig.dial(await rig.open('TCP', [backend]));
        await backend.connection();
        await new Promise((resolve) => setTimeout(resolve, 500));
        client.send('still there?');
        await client.got('still there?');
      });
    });

    it('ends an idle connection after its time where told, not a busy one', async () => {
      await withRig(make, { tcpIdleTimeoutMs: 400 }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const busy = await rig.dial(listener);
        const idle = await rig.dial(listener);
        for (let round = 1; round <= 12; round++) {
          busy.send('.');
          await busy.gotBytes(round);
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        expect(await idle.ended()).to.equal('rst');
        const { outcomes, active } = await rig.statsOf(listener);
        expect([outcomes, active]).to.deep.equal([{ 'idle-timeout': 1 }, 1]);
      });
    });

    it('sets keepalive of a minute on both sides', async function () {
      requires(this, 'ss');
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.send('x');
        await client.got('x');
        const server = await backend.connection();
        const filter = `( sport = :${listener.port} and dport = :${client.port} ) or ( sport = :${server.socket.remotePort} )`;
        // An engine may leave it to connections that last.
        const timers = await until('two timers', async () => {
          const { stdout } = await run('ss', ['-tnoH', 'state', 'established', filter]);
          const found = [...stdout.matchAll(/timer:\(keepalive,(\d+)(min|sec)/g)];
          return found.length === 2 && found.map(([, count, unit]) => [Number(count), unit] as const);
        });
        for (const [count, unit] of timers) expect(unit === 'min' ? 60 : count).to.be.within(40, 60);
      });
    });
  });

  describe('record (H5)', () => {
    it('tells who, where, how long, how many bytes and why it ended', async () => {
      await withRig(make, { records: true }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: (peer) => peer.socket.once('end', () => peer.fin('reply')) });
        const before = Date.now();
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.fin('request');
        await client.ended();
        const record = await until('the record', () => rig.heard.records[0]);
        expect(record).to.deep.include({
          servicePort: { namespace: 'work', service: 'service-1', port: '', protocol: 'TCP' },
          client: `127.0.0.1:${client.port}`,
          listener: `127.0.0.1:${listener.port}`,
          backend: `127.0.0.1:${backend.port}`,
          bytesUp: 7,
          bytesDown: 5,
          attempts: 1,
          outcome: 'closed',
        });
        expect(record.startedAt).to.be.within(before - 5, Date.now());
        expect(record.durationMs).to.be.within(0, Date.now() - before + 5);
      });
    });
  });
}
