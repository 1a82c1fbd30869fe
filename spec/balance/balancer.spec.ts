import { expect } from 'chai';
import fc from 'fast-check';
import { Balancer, NONE_TRIED } from '../../lib/balance/balancer.js';
import type { Target } from '../../lib/balance/target.js';
import type { Backend } from '../../lib/model/backend.js';
import { FakeClock } from '../support/clock.js';

const backends = (...ids: readonly number[]): readonly Backend[] =>
  ids.map((id) => ({ host: `10.0.${id >> 8}.${id & 255}`, port: 80 }));

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1);

function balancerOf(count: number, clock = new FakeClock()): Balancer {
  return new Balancer({ backends: backends(...upTo(count)), clock });
}

function picks(balancer: Balancer, count: number): readonly (string | undefined)[] {
  return upTo(count).map(() => balancer.pick(undefined, NONE_TRIED)?.key);
}

function pick(balancer: Balancer, tried: readonly Target[] = NONE_TRIED): Target {
  const target = balancer.pick(undefined, tried);
  if (target === undefined) throw new Error('no target');
  return target;
}

describe('Balancer, turn (B1)', () => {
  it('has nothing to pick from an empty set', () => {
    expect(balancerOf(0).pick(undefined, NONE_TRIED)).to.equal(undefined);
  });

  it('gives every backend once in each round, always in the same order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 2, max: 5 }), (count, rounds) => {
        const balancer = balancerOf(count);
        const first = picks(balancer, count);
        expect(new Set(first).size).to.equal(count);
        for (let round = 1; round < rounds; round++) expect(picks(balancer, count)).to.deep.equal(first);
      }),
    );
  });

  it('starts from a shuffled order', () => {
    const low = new Balancer({ backends: backends(...upTo(8)), clock: new FakeClock(), random: () => 0 });
    const high = new Balancer({ backends: backends(...upTo(8)), clock: new FakeClock(), random: () => 0.999 });
    expect(picks(low, 8)).not.to.deep.equal(picks(high, 8));
  });

  it('keeps the turn of those that remain, and puts newcomers behind them', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { maxLength: 12 });
    fc.assert(
      fc.property(ids, fc.array(fc.tuple(ids, fc.integer({ min: 0, max: 15 }))), (initial, changes) => {
        const balancer = new Balancer({ backends: backends(...initial), clock: new FakeClock() });
        // The model: a queue whose head is whose turn it is.
        let queue = [...picks(balancer, initial.length)];
        for (const [wanted, count] of changes) {
          const keys = new Set(backends(...wanted).map(({ host, port }) => `${host}:${port}`));
          const left = balancer.replace(backends(...wanted));
          expect(new Set(left.map(({ key }) => key))).to.deep.equal(
            new Set(queue.filter((key) => !keys.has(key ?? ''))),
          );
          const remaining = queue.filter((key) => keys.has(key ?? ''));
          const round = picks(balancer, keys.size);
          expect(round.slice(0, remaining.length)).to.deep.equal(remaining);
          expect(new Set(round)).to.deep.equal(keys);
          queue = [...round];
          for (let turn = 0; turn < count && queue.length > 0; turn++) {
            const key = queue.shift();
            expect(balancer.pick(undefined, NONE_TRIED)?.key).to.equal(key);
            queue.push(key);
          }
        }
      }),
    );
  });

  it('takes a set as one text, and any number of them before the first client', () => {
    const balancer = new Balancer({ backends: '10.0.0.1:80 10.0.0.2:80', clock: new FakeClock() });
    expect(balancer.size).to.equal(2);
    expect(balancer.replace('10.0.0.3:80')).to.deep.equal([]);
    expect(balancer.replace('10.0.0.4:80 [fd00::4]:80 10.0.0.5:80')).to.deep.equal([]);
    expect(balancer.size).to.equal(3);
    expect(new Set(picks(balancer, 3))).to.deep.equal(new Set(['10.0.0.4:80', '[fd00::4]:80', '10.0.0.5:80']));
    expect(balancer.replace('').map(({ key }) => key)).to.have.members(['10.0.0.4:80', '[fd00::4]:80', '10.0.0.5:80']);
    expect(balancer.size).to.equal(0);
  });

  it('keeps the Target of a backend that remains, and what the engine left in it', () => {
    const balancer = balancerOf(1);
    const target = pick(balancer);
    target.engineData = 'sockaddr';
    balancer.replace(backends(1, 2));
    expect(balancer.targets.find(({ key }) => key === target.key)).to.equal(target);
  });

  it('counts a backend that is listed twice once', () => {
    const balancer = new Balancer({ backends: backends(1, 1, 2), clock: new FakeClock() });
    expect(balancer.size).to.equal(2);
    pick(balancer);
    expect(balancer.size).to.equal(2);
    expect(balancer.replace(backends(2, 2))).to.have.length(1);
    expect(balancer.size).to.equal(1);
  });

  it('tries different backends for one client, each once, then has none (T2)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), (count) => {
        const balancer = balancerOf(count);
        const tried: Target[] = [];
        for (let attempt = 0; attempt < count; attempt++) tried.push(pick(balancer, tried));
        expect(new Set(tried).size).to.equal(count);
        expect(balancer.pick(undefined, tried)).to.equal(undefined);
      }),
    );
  });
});

describe('Balancer, ejection (B3)', () => {
  it('passes a failed backend by until its time is over, then lets one client try', () => {
    const clock = new FakeClock();
    const balancer = balancerOf(3, clock);
    const bad = pick(balancer);
    balancer.failed(bad);
    clock.advance(999);
    expect(picks(balancer, 9)).not.to.include(bad.key);
    clock.advance(1);
    expect(picks(balancer, 9).filter((key) => key === bad.key)).to.have.length(1);
  });

  it('doubles the time from 1 s to 30 s with every failed try, and starts anew after a success', () => {
    const clock = new FakeClock();
    const balancer = balancerOf(2, clock);
    const bad = pick(balancer);
    const outForMs = (): number => {
      const from = clock.nowMs();
      while (!picks(balancer, 2).includes(bad.key)) clock.advance(100);
      return clock.nowMs() - from;
    };
    balancer.failed(bad);
    for (const expected of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      expect(outForMs()).to.equal(expected);
      balancer.failed(bad);
    }
    outForMs();
    balancer.succeeded(bad);
    balancer.failed(bad);
    expect(outForMs()).to.equal(1_000);
  });

  it('counts a burst of failed dials to one backend as one failure', () => {
    const clock = new FakeClock();
    const balancer = balancerOf(2, clock);
    const bad = pick(balancer);
    for (let dial = 0; dial < 50; dial++) balancer.failed(bad);
    expect(balancer.ejections).to.equal(1);
    clock.advance(1_000);
    expect(picks(balancer, 2)).to.include(bad.key);
  });

  it('brings a backend back at once with a success', () => {
    const balancer = balancerOf(2);
    const bad = pick(balancer);
    balancer.failed(bad);
    expect(picks(balancer, 4)).not.to.include(bad.key);
    balancer.succeeded(bad);
    expect(picks(balancer, 4)).to.include(bad.key);
  });

  it('never has more than half of the backends out, whatever fails, leaves and comes', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('fail' as const), which: fc.nat(30) }),
      fc.record({ kind: fc.constant('succeed' as const), which: fc.nat(30) }),
      fc.record({ kind: fc.constant('wait' as const), which: fc.integer({ min: 1, max: 5_000 }) }),
      fc.record({ kind: fc.constant('pick' as const), which: fc.nat(30) }),
      fc.record({ kind: fc.constant('replace' as const), which: fc.nat(255) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new FakeClock();
        const balancer = balancerOf(5, clock);
        for (const { kind, which } of steps) {
          const target = balancer.targets[which % Math.max(1, balancer.size)];
          if (kind === 'fail' && target !== undefined) balancer.failed(target);
          if (kind === 'succeed' && target !== undefined) balancer.succeeded(target);
          if (kind === 'wait') clock.advance(which);
          if (kind === 'pick') picks(balancer, which);
          if (kind === 'replace') balancer.replace(backends(...upTo(8).filter((id) => which & (1 << (id - 1)))));
          const out = balancer.targets.filter(({ outUntilMs }) => outUntilMs > clock.nowMs()).length;
          expect(out).to.be.at.most(Math.floor(balancer.size / 2));
          expect(balancer.pick(undefined, NONE_TRIED) === undefined).to.equal(balancer.size === 0);
        }
      }),
    );
  });

  it('takes none out where the set shrinks to those that are all out', () => {
    const balancer = balancerOf(4);
    const bad = [pick(balancer), pick(balancer)];
    for (const target of bad) balancer.failed(target);
    balancer.replace(bad.map(({ backend }) => backend));
    expect(new Set(picks(balancer, 2))).to.deep.equal(new Set(bad.map(({ key }) => key)));
  });

  it('prefers a backend that is out to none at all, when all others were tried', () => {
    const balancer = balancerOf(2);
    const bad = pick(balancer);
    balancer.failed(bad);
    const good = pick(balancer);
    expect(pick(balancer, [good])).to.equal(bad);
    expect(balancer.pick(undefined, [good, bad])).to.equal(undefined);
  });

  it('ignores the late failure of a backend that left', () => {
    const balancer = balancerOf(2);
    const gone = pick(balancer);
    balancer.replace([]);
    balancer.replace(backends(1, 2));
    balancer.failed(gone);
    expect(balancer.ejections).to.equal(0);
    expect(new Set(picks(balancer, 2)).size).to.equal(2);
  });
});
