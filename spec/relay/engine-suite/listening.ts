/** What is open when: rules E5 and T9, failures to listen, and the calls themselves. */
import { expect } from 'chai';
import { ListenError } from '../../../lib/relay/engine.js';
import { echo, sayAndClose } from '../../support/backends.js';
import { UdpClient } from '../../support/datagrams.js';
import { dialError } from '../../support/peer.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type MakeEngine, type Opened, withRig } from './rig.js';

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'no error';
  } catch (error) {
    expect(error).to.be.instanceOf(ListenError);
    return (error as ListenError).code;
  }
}

/** True where the kernel answers a datagram with port unreachable. */
async function refusesUdp({ host, port }: Opened): Promise<boolean> {
  const client = await UdpClient.dial(host, port);
  try {
    client.send('anyone?');
    await until('a refusal or an answer', () => client.errors.length + client.received.length > 0, 1_000);
    return client.errors.includes('ECONNREFUSED');
  } finally {
    client.close();
  }
}

export function listeningSuite(make: MakeEngine): void {
  describe('listening (E5)', () => {
    it('refuses TCP clients while there is no backend, and comes back on its port', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
        const listener = await rig.open('TCP', [backend]);
        expect(await rig.ask(listener)).to.equal('served');
        for (let round = 0; round < 3; round++) {
          await rig.update(listener, []);
          expect(await dialError(listener.host, listener.port)).to.equal('ECONNREFUSED');
          expect((await rig.statsOf(listener)).listening).to.equal(false);
          await rig.update(listener, [backend]);
          expect(await rig.ask(listener)).to.equal('served');
          expect(await rig.statsOf(listener)).to.include({ listening: true, port: listener.port });
        }
      });
    });

    it('refuses UDP clients while there is no backend, and comes back on its port', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        for (const host of ['127.0.0.1', '0.0.0.0']) {
          const listener = await rig.open('UDP', [backend], { host });
          expect(await refusesUdp(listener)).to.equal(false);
          await rig.update(listener, []);
          expect(await refusesUdp(listener)).to.equal(true);
          await rig.update(listener, [backend]);
          expect(await refusesUdp(listener)).to.equal(false);
        }
      });
    });

    it('opens without backends without listening, and listens with the first', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
        const spec = rig.spec('TCP');
        expect(await rig.engine.open(spec, [])).to.deep.equal({ port: 0 });
        const { port } = await rig.engine.update(spec.key, [{ host: backend.host, port: backend.port }]);
        expect(port).to.be.greaterThan(0);
        expect(await rig.ask({ key: spec.key, host: '127.0.0.1', port })).to.equal('served');
      });
    });

    it('listens on all addresses of a family, and leaves the port of the other family free', async function () {
      requires(this, 'ipv6');
      await withRig(make, {}, async (rig) => {
        const four = await rig.tcpBackend({ serve: sayAndClose('four') });
        const six = await rig.tcpBackend({ host: '::1', serve: sayAndClose('six') });
        const first = await rig.open('TCP', [four], { host: '0.0.0.0' });
        await rig.open('TCP', [six], { host: '::', port: first.port });
        expect(await rig.ask(first)).to.equal('four');
        expect(await rig.ask({ ...first, host: '127.0.0.2' })).to.equal('four');
        expect(await rig.ask({ ...first, host: '::1' })).to.equal('six');
      });
    });

    it('rejects a port that is in use, for both protocols, and does not know the listener then', async () => {
      await withRig(make, {}, async (rig) => {
        const tcp = await rig.tcpBackend();
        const udp = await rig.udpBackend();
        for (const [protocol, taken] of [['TCP', tcp] as const, ['UDP', udp] as const]) {
          for (const host of ['127.0.0.1', '0.0.0.0']) {
            const spec = rig.spec(protocol, { host, port: taken.port });
            const backends = [{ host: taken.host, port: taken.port }];
            expect(await codeOf(rig.engine.open(spec, backends)), `${protocol} ${host}`).to.equal('EADDRINUSE');
            expect((await rig.engine.stats()).listeners).to.deep.equal([]);
            await rig.engine.close(spec.key, 0);
          }
        }
      });
    });

    it('rejects an address that the machine does not have', async () => {
      await withRig(make, {}, async (rig) => {
        // TEST-NET-3 (RFC 5737).
        const spec = rig.spec('TCP', { host: '203.0.113.77' });
        expect(await codeOf(rig.engine.open(spec, [{ host: '127.0.0.1', port: 9 }]))).to.equal('EADDRNOTAVAIL');
      });
    });

    it('stays open when it cannot listen again, and tries at the next update (C3)', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
        const listener = await rig.open('TCP', [backend]);
        await rig.update(listener, []);
        const thief = await rig.tcpBackend({ port: listener.port });
        expect(await codeOf(rig.update(listener, [backend]))).to.equal('EADDRINUSE');
        expect((await rig.statsOf(listener)).listening).to.equal(false);
        await thief.close();
        await rig.update(listener, [backend]);
        expect(await rig.ask(listener)).to.equal('served');
      });
    });

    it('rejects a key that is open already, and one that is not open; closing that is no error', async () => {
      await withRig(make, {}, async (rig) => {
        const spec = rig.spec('TCP');
        await rig.engine.open(spec, []);
        expect(await codeOf(rig.engine.open(spec, []))).to.equal('EINVAL');
        expect(await codeOf(rig.engine.update('unknown', []))).to.equal('EINVAL');
        await rig.engine.close('unknown', 0);
        await rig.engine.close(spec.key, 0);
        await rig.engine.open(spec, []);
      });
    });

    it('does calls for one listener in the order they came', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
        const spec = rig.spec('TCP');
        const backends = [{ host: backend.host, port: backend.port }];
        const calls = [
          rig.engine.open(spec, backends),
          rig.engine.update(spec.key, []),
          rig.engine.close(spec.key, 0),
          rig.engine.open(spec, []),
          rig.engine.update(spec.key, backends),
        ];
        const bound = (await Promise.all(calls)).at(-1);
        expect(await rig.ask({ key: spec.key, host: '127.0.0.1', port: bound?.port ?? 0 })).to.equal('served');
      });
    });
  });

  describe('bounds (T9)', () => {
    for (const [name, options] of [
      ['of one listener', { maxConnectionsPerListener: 3 }],
      ['of the engine', { maxConnections: 3 }],
    ] as const) {
      it(`resets clients beyond the bound ${name}, counts them, and takes new ones when others end`, async () => {
        await withRig(make, options, async (rig) => {
          const backend = await rig.tcpBackend({ serve: echo });
          const listener = await rig.open('TCP', [backend]);
          const clients = [await rig.dial(listener), await rig.dial(listener), await rig.dial(listener)];
          for (const client of clients) {
            client.send('x');
            await client.got('x');
          }
          const refused = await rig.dial(listener);
          expect(await refused.ended()).to.equal('rst');
          const stats = await rig.untilStats('the count', listener, ({ outcomes }) => outcomes.refused === 1);
          expect(stats).to.deep.include({ active: 3, total: 4, outcomes: { refused: 1 } });
          clients[0]?.fin();
          await rig.untilStats('one end', listener, ({ active }) => active === 2);
          const next = await rig.dial(listener);
          next.send('y');
          await next.got('y');
        });
      });
    }

    it('counts the engine over all of its listeners', async () => {
      await withRig(make, { maxConnections: 2 }, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        for (let index = 0; index < 2; index++) {
          const client = await rig.dial(await rig.open('TCP', [backend]));
          client.send('x');
          await client.got('x');
        }
        const refused = await rig.dial(await rig.open('TCP', [backend]));
        expect(await refused.ended()).to.equal('rst');
      });
    });
  });
}
