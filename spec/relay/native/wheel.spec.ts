import { expect } from 'chai';
import fc from 'fast-check';
import { TimerWheel } from '../../../lib/relay/native/wheel.js';

describe('TimerWheel', () => {
  function firedAt(wheel: TimerWheel, until: number, step = 1): Map<number, number> {
    const fired = new Map<number, number>();
    for (let nowMs = 0; nowMs <= until; nowMs += step) wheel.advance(nowMs, (slot) => fired.set(slot, nowMs));
    return fired;
  }

  it('fires no deadline early, and each within a tick of the first look after it', () => {
    const deadlines = fc.array(fc.integer({ min: 0, max: 12_000 }), { minLength: 1, maxLength: 32 });
    fc.assert(
      fc.property(deadlines, fc.integer({ min: 1, max: 700 }), (all, step) => {
        const wheel = new TimerWheel(all.length, 0);
        for (const [slot, at] of all.entries()) wheel.schedule(slot, at);
        const fired = firedAt(wheel, 13_000, step);
        for (const [slot, at] of all.entries()) expect(fired.get(slot)).to.be.within(at, at + 16 + step);
      }),
    );
  });

  it('says how long to wait: never longer than to the next deadline, for ever without one', () => {
    const wheel = new TimerWheel(4, 0);
    expect(wheel.waitMs(0)).to.equal(-1);
    wheel.schedule(1, 5_000);
    wheel.schedule(2, 300);
    expect(wheel.waitMs(100)).to.be.within(200, 216);
    wheel.cancel(2);
    wheel.cancel(1);
    expect(wheel.waitMs(100)).to.equal(-1);
  });

  it('keeps the earlier of two deadlines of one slot', () => {
    const wheel = new TimerWheel(2, 0);
    wheel.schedule(0, 100);
    wheel.schedule(0, 900);
    wheel.schedule(1, 900);
    wheel.schedule(1, 100);
    const fired = firedAt(wheel, 1_000);
    expect(fired.get(0)).to.be.within(100, 116);
    expect(fired.get(1)).to.be.within(100, 116);
  });

  it('does not fire what is cancelled', () => {
    const wheel = new TimerWheel(3, 0);
    for (let slot = 0; slot < 3; slot++) wheel.schedule(slot, 50);
    wheel.cancel(1);
    expect([...firedAt(wheel, 100).keys()].sort()).to.deep.equal([0, 2]);
  });

  it('lets a deadline that fires schedule the next one', () => {
    const wheel = new TimerWheel(1, 0);
    wheel.schedule(0, 10);
    const fired: number[] = [];
    for (let nowMs = 0; nowMs < 200; nowMs++) {
      wheel.advance(nowMs, (slot) => {
        fired.push(nowMs);
        if (fired.length < 3) wheel.schedule(slot, nowMs + 50);
      });
    }
    expect(fired).to.have.length(3);
  });

  it('fires what became due during a long sleep, once', () => {
    const wheel = new TimerWheel(64, 0);
    for (let slot = 0; slot < 64; slot++) wheel.schedule(slot, slot * 1_000);
    const fired: number[] = [];
    wheel.advance(30_500, (slot) => fired.push(slot));
    wheel.advance(30_501, (slot) => fired.push(slot));
    expect(fired.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 31 }, (_, slot) => slot));
  });

  it('keeps its deadlines when it grows', () => {
    const wheel = new TimerWheel(1, 0);
    wheel.schedule(0, 100);
    wheel.grow(4);
    wheel.schedule(3, 100);
    expect([...firedAt(wheel, 200).keys()].sort()).to.deep.equal([0, 3]);
  });
});
