/** Turn and affinity over real sockets: rules B1, B2 and U7. The rest is proved in spec/balance. */
import { expect } from 'chai';
import { refusing, sayAndClose } from '../../support/backends.js';
import { type MakeEngine, type Rig, withRig } from './rig.js';

const names = ['a', 'b', 'c'] as const;

function threeBackends(rig: Rig) {
  return Promise.all(names.map((name) => rig.tcpBackend({ serve: sayAndClose(name) })));
}

export function balancingSuite(make: MakeEngine): void {
  describe('turn (B1)', () => {
    it('gives connections to each backend in turn', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('TCP', await threeBackends(rig));
        const order: string[] = [];
        for (let index = 0; index < 9; index++) order.push(await rig.ask(listener));
        expect(order.slice(0, 3).toSorted()).to.deep.equal(['a', 'b', 'c']);
        expect(order).to.deep.equal([...order.slice(0, 3), ...order.slice(0, 3), ...order.slice(0, 3)]);
      });
    });

    it('is strict also for clients that come at once', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('TCP', await threeBackends(rig));
        const answers = await Promise.all(Array.from({ length: 60 }, () => rig.ask(listener)));
        for (const name of names) expect(answers.filter((answer) => answer === name)).to.have.length(20);
      });
    });

    it('keeps the turn of those that remain when the set changes', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = await threeBackends(rig);
        const listener = await rig.open('TCP', backends);
        const [first, second, third] = [await rig.ask(listener), await rig.ask(listener), await rig.ask(listener)];
        expect(await rig.ask(listener)).to.equal(first);
        await rig.update(
          listener,
          backends.filter((_, index) => names[index] !== first),
        );
        expect([await rig.ask(listener), await rig.ask(listener)]).to.deep.equal([second, third]);
      });
    });

    it('gives UDP flows to each backend in turn', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = await Promise.all(names.map((name) => rig.udpBackend({ answer: () => name })));
        const listener = await rig.open('UDP', backends);
        const order: string[] = [];
        for (let index = 0; index < 6; index++) order.push(String(await (await rig.dialUdp(listener)).ask('who?')));
        expect(order.slice(0, 3).toSorted()).to.deep.equal(['a', 'b', 'c']);
        expect(order.slice(3)).to.deep.equal(order.slice(0, 3));
      });
    });
  });

  describe('ClientIP affinity (B2)', () => {
    it('keeps a client on its backend, and gives other clients theirs', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('TCP', await threeBackends(rig), {
          host: '0.0.0.0',
          affinityTimeoutMs: 60_000,
        });
        const mine = await rig.ask(listener, '127.0.0.1');
        const others = [await rig.ask(listener, '127.0.0.11'), await rig.ask(listener, '127.0.0.12')];
        expect(new Set([mine, ...others]).size).to.equal(3);
        for (let index = 0; index < 5; index++) expect(await rig.ask(listener, '127.0.0.1')).to.equal(mine);
        expect([await rig.ask(listener, '127.0.0.11'), await rig.ask(listener, '127.0.0.12')]).to.deep.equal(others);
      });
    });

    it('is one for all listeners of a Service port', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = await threeBackends(rig);
        const servicePort = { namespace: 'work', service: 'shared', port: 'http', protocol: 'TCP' as const };
        const rest = { servicePort, affinityTimeoutMs: 60_000 };
        const first = await rig.open('TCP', backends, rest);
        const second = await rig.open('TCP', backends, rest);
        // Three clients whose turns at the two listeners are bound to differ somewhere without a common table.
        for (const client of ['127.0.0.21', '127.0.0.22', '127.0.0.23']) {
          const answer = await rig.ask(first, client);
          for (let index = 0; index < 3; index++) expect(await rig.ask(second, client)).to.equal(answer);
        }
        await rig.engine.close(first.key, 0);
        const third = await rig.open('TCP', backends, rest);
        expect(await rig.ask(third, '127.0.0.22')).to.equal(await rig.ask(second, '127.0.0.22'));
      });
    });

    it('survives scale to zero and back, and moves a client whose backend is gone', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = await threeBackends(rig);
        const listener = await rig.open('TCP', backends, { affinityTimeoutMs: 60_000 });
        const mine = await rig.ask(listener);
        await rig.update(listener, []);
        await rig.update(listener, backends);
        expect(await rig.ask(listener)).to.equal(mine);
        const without = backends.filter((_, index) => names[index] !== mine);
        await rig.update(listener, without);
        const other = await rig.ask(listener);
        expect(other).not.to.equal(mine);
        await rig.update(listener, backends);
        expect(await rig.ask(listener)).to.equal(other);
      });
    });

    it('moves a client to the backend that answered when the dial to its own failed', async () => {
      await withRig(make, {}, async (rig) => {
        const [a, b] = await threeBackends(rig);
        if (a === undefined || b === undefined) throw new Error('three backends');
        const listener = await rig.open('TCP', [a, b], { affinityTimeoutMs: 60_000 });
        const mine = await rig.ask(listener);
        const [dead, alive] = mine === 'a' ? [a, b] : [b, a];
        await dead.close();
        const other = mine === 'a' ? 'b' : 'a';
        expect(await rig.ask(listener)).to.equal(other);
        await rig.tcpBackend({ port: dead.port, serve: sayAndClose('back') });
        for (let index = 0; index < 3; index++) expect(await rig.ask(listener)).to.equal(other);
        expect(alive.accepted.length).to.equal(4);
      });
    });

    it('ends with its timeout, and a change of that is taken at once', async () => {
      await withRig(make, {}, async (rig) => {
        const listener = await rig.open('TCP', await threeBackends(rig), { affinityTimeoutMs: 60_000 });
        const mine = await rig.ask(listener);
        expect(await rig.ask(listener)).to.equal(mine);
        await rig.engine.setAffinity(listener.key, 50);
        await new Promise((resolve) => setTimeout(resolve, 80));
        const next = await rig.ask(listener);
        expect(next).not.to.equal(mine);
        await rig.engine.setAffinity(listener.key, undefined);
        expect(new Set([await rig.ask(listener), await rig.ask(listener), await rig.ask(listener)]).size).to.equal(3);
      });
    });

    it('holds for UDP too (U7)', async () => {
      await withRig(make, {}, async (rig) => {
        const backends = await Promise.all(names.map((name) => rig.udpBackend({ answer: () => name })));
        const listener = await rig.open('UDP', [refusing(), ...backends], { affinityTimeoutMs: 60_000 });
        const answers: string[] = [];
        for (let index = 0; index < 6; index++) answers.push(String(await (await rig.dialUdp(listener)).ask('who?')));
        expect(new Set(answers).size).to.equal(1);
        const other = await rig.dialUdp(listener, '127.0.0.31');
        expect(String(await other.ask('who?'))).not.to.equal(answers[0]);
      });
    });
  });
}
