/** UDP flows: rules U1 to U6. */
import { randomBytes, randomInt } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { expect } from 'chai';
import { refusing } from '../../support/backends.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type MakeEngine, withRig } from './rig.js';

/** The largest payload of IPv4: 65,535 less the headers of IP and UDP. */
const LARGEST = 65_507;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function ownAddresses(family: 'IPv4' | 'IPv6'): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter((one) => one.family === family && !one.address.startsWith('fe80')).map(({ address }) => address),
  );
}

export function udpSuite(make: MakeEngine): void {
  describe('UDP flow (U1)', () => {
    it('gives each client a socket of its own, and each its own answers', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend({ answer: (datagram) => `re: ${datagram}` });
        const listener = await rig.open('UDP', [backend]);
        const clients = await Promise.all(Array.from({ length: 20 }, () => rig.dialUdp(listener)));
        for (let round = 0; round < 3; round++) {
          const answers = await Promise.all(clients.map((client, index) => client.ask(`${index}.${round}`)));
          expect(answers.map(String)).to.deep.equal(clients.map((_, index) => `re: ${index}.${round}`));
        }
        expect(backend.flows.size).to.equal(20);
        expect(await rig.statsOf(listener)).to.include({ active: 20, total: 20, datagramsUp: 60, datagramsDown: 60 });
      });
    });

    for (const [family, host] of [
      ['IPv4', '0.0.0.0'],
      ['IPv6', '::'],
    ] as const) {
      it(`answers from the address that was dialled, on every ${family} address of the machine`, async function () {
        if (family === 'IPv6') requires(this, 'ipv6');
        await withRig(make, {}, async (rig) => {
          const backend = await rig.udpBackend();
          const { port } = await rig.open('UDP', [backend], { host });
          const addresses = ownAddresses(family);
          expect(addresses.length).to.be.at.least(1);
          // The sockets are connected: the kernel drops what comes from any other address.
          for (const address of addresses) {
            const client = await rig.dialUdp({ host: address, port });
            expect(String(await client.ask(`to ${address}`))).to.equal(`to ${address}`);
          }
        });
      });
    }

    it('never answers from another address: one that is local and not listed is answered from or refused', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const { port } = await rig.open('UDP', [backend], { host: '0.0.0.0' });
        const client = await rig.dialUdp({ host: '127.0.0.2', port });
        client.send('hello');
        await until('an answer or a refusal', () => client.received.length + client.errors.length > 0);
      });
    });

    it('keeps two dialled addresses of one client apart', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const [listener, other] = [
          await rig.open('UDP', [backend], { host: '127.0.0.1' }),
          await rig.open('UDP', [backend], { host: '127.0.0.1' }),
        ];
        const one = await rig.dialUdp(listener);
        const two = await rig.dialUdp(other);
        expect(String(await one.ask('one'))).to.equal('one');
        expect(String(await two.ask('two'))).to.equal('two');
        expect(backend.flows.size).to.equal(2);
      });
    });
  });

  describe('datagrams (U2)', () => {
    for (const host of ['127.0.0.1', '::1']) {
      it(`passes every size whole both ways, none to the largest, at ${host}`, async function () {
        if (host === '::1') requires(this, 'ipv6');
        await withRig(make, {}, async (rig) => {
          const backend = await rig.udpBackend({ host });
          const listener = await rig.open('UDP', [backend], { host });
          const client = await rig.dialUdp(listener);
          for (const size of [
            0,
            1,
            512,
            1472,
            4096,
            4097,
            9000,
            16384,
            65000,
            LARGEST - 1,
            LARGEST,
            0,
            randomInt(LARGEST),
          ]) {
            const datagram = randomBytes(size);
            const answer = await client.ask(datagram);
            expect(answer.length).to.equal(size);
            expect(answer.equals(datagram), `${size} bytes`).to.equal(true);
          }
        });
      });
    }

    it('passes a burst that comes before the flow is ready, in its order', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const client = await rig.dialUdp(await rig.open('UDP', [backend]));
        for (let index = 0; index < 10; index++) client.send(String(index));
        await client.got(10);
        expect(backend.received.map(({ datagram }) => String(datagram)).join('')).to.equal('0123456789');
        expect(client.texts.join('')).to.equal('0123456789');
        expect(backend.flows.size).to.equal(1);
      });
    });

    it('passes several answers to one datagram', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend({ answer: () => undefined });
        const client = await rig.dialUdp(await rig.open('UDP', [backend]));
        client.send('start');
        const { port } = await until('the datagram', () => backend.received[0]);
        for (const answer of ['1', '2', '3']) backend.send(answer, port);
        await client.got(3);
        expect(client.texts).to.deep.equal(['1', '2', '3']);
      });
    });
  });

  describe('flow timeouts (U3)', () => {
    const options = { udpUnrepliedTimeoutMs: 300, udpTimeoutMs: 1_200 };

    it('ends a flow without an answer soon, and one with an answer later', async () => {
      await withRig(make, options, async (rig) => {
        const backend = await rig.udpBackend({
          answer: (datagram) => (String(datagram) === 'answer me' ? 'yes' : undefined),
        });
        const listener = await rig.open('UDP', [backend]);
        const answered = await rig.dialUdp(listener);
        const startMs = performance.now();
        await answered.ask('answer me');
        (await rig.dialUdp(listener)).send('no answer');
        await rig.untilStats('two flows', listener, ({ active }) => active === 2);
        await rig.untilStats('one flow', listener, ({ active }) => active === 1);
        expect(performance.now() - startMs).to.be.within(295, 1_100);
        await rig.untilStats('no flow', listener, ({ active }) => active === 0);
        expect(performance.now() - startMs).to.be.within(1_195, 2_500);
      });
    });

    it('renews a flow by datagrams of the client alone', async () => {
      await withRig(make, options, async (rig) => {
        const backend = await rig.udpBackend({ answer: () => undefined });
        const client = await rig.dialUdp(await rig.open('UDP', [backend]));
        for (let index = 0; index < 12; index++) {
          client.send('.');
          await pause(75);
        }
        await until('all datagrams', () => backend.received.length === 12);
        expect(backend.flows.size).to.equal(1);
      });
    });

    it('renews a flow by datagrams of the backend alone', async () => {
      await withRig(make, options, async (rig) => {
        const backend = await rig.udpBackend({ answer: () => undefined });
        const listener = await rig.open('UDP', [backend]);
        const client = await rig.dialUdp(listener);
        client.send('subscribe');
        const { port } = await until('the datagram', () => backend.received[0]);
        for (let index = 1; index <= 12; index++) {
          backend.send('.', port);
          await client.got(index);
          await pause(150);
        }
        expect(await rig.statsOf(listener)).to.include({ active: 1, total: 1 });
      });
    });
  });

  describe('refused datagram (U4)', () => {
    it('moves the flow to another backend and sends it what was refused', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [refusing(1), refusing(3), backend]);
        for (let index = 0; index < 4; index++) {
          const client = await rig.dialUdp(listener);
          client.send('A?');
          client.send('AAAA?');
          await client.got(2);
          expect(client.texts.toSorted()).to.deep.equal(['A?', 'AAAA?']);
        }
        const stats = await rig.statsOf(listener);
        expect(stats.dialRetries).to.be.at.least(1);
        expect(stats).to.include({ datagramsUp: 8, datagramsDown: 8, datagramsDropped: 0 });
      });
    });

    it('moves a flow whose backend goes away in the middle', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = [await rig.udpBackend({ answer: () => '0' }), await rig.udpBackend({ answer: () => '1' })];
        const client = await rig.dialUdp(await rig.open('UDP', backends));
        const first = String(await client.ask('who?'));
        expect(String(await client.ask('who?'))).to.equal(first);
        await backends[Number(first)]?.close();
        expect(String(await client.ask('who?'))).to.equal(first === '0' ? '1' : '0');
      });
    });

    it('counts what no backend takes, and serves the client when one does', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('UDP', [refusing(1), refusing(3)]);
        const client = await rig.dialUdp(listener);
        client.send('lost');
        const stats = await rig.untilStats('the loss', listener, ({ datagramsDropped }) => datagramsDropped === 1);
        expect(stats).to.include({ dialFailures: 2, active: 0 });
        const backend = await rig.udpBackend();
        await rig.update(listener, [backend]);
        expect(String(await client.ask('now?'))).to.equal('now?');
      });
    });
  });

  describe('endpoint goes (U5)', () => {
    it('ends its flows at once, and the next datagram goes to one that is there', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = [await rig.udpBackend({ answer: () => '0' }), await rig.udpBackend({ answer: () => '1' })];
        const listener = await rig.open('UDP', backends);
        const clients = [await rig.dialUdp(listener), await rig.dialUdp(listener)];
        const before = await Promise.all(clients.map(async (client) => String(await client.ask('who?'))));
        expect(before.toSorted()).to.deep.equal(['0', '1']);
        await rig.update(listener, backends.slice(1));
        expect((await rig.statsOf(listener)).active).to.equal(1);
        const after = await Promise.all(clients.map(async (client) => String(await client.ask('who?'))));
        expect(after).to.deep.equal(['1', '1']);
        // The flow that could stay did stay.
        expect(backends[1]?.flows.size).to.equal(2);
      });
    });

    it('ends all flows with the last endpoint, and with the listener', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend]);
        const client = await rig.dialUdp(listener);
        await client.ask('x');
        await rig.update(listener, []);
        expect((await rig.statsOf(listener)).active).to.equal(0);
        await rig.update(listener, [backend]);
        await client.ask('y');
        await rig.engine.close(listener.key, 60_000);
        client.send('z');
        await until('a refusal', () => client.errors.includes('ECONNREFUSED'));
        expect((await rig.engine.stats()).draining).to.equal(0);
      });
    });
  });

  describe('bound of flows (U6)', () => {
    it('ends the flow that was idle for longest, and never blocks the others', async () => {
      await withRig(make, { maxUdpFlows: 3 }, async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend]);
        const clients = await Promise.all(Array.from({ length: 3 }, () => rig.dialUdp(listener)));
        for (const client of clients) await client.ask('x');
        const [first] = clients;
        await first?.ask('I am not idle');
        const portOfFirst = backend.received.at(-1)?.port;
        for (let index = 0; index < 20; index++) {
          await (await rig.dialUdp(listener)).ask('newcomer');
          await first?.ask('me too');
          expect(backend.received.at(-1)?.port).to.equal(portOfFirst);
        }
        expect(await rig.statsOf(listener)).to.include({ active: 3, total: 23 });
      });
    });
  });
}
