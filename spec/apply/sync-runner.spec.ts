import { mock } from 'node:test';
import { expect } from 'chai';
import { SyncRunner } from '../../lib/apply/sync-runner.js';

describe('SyncRunner', () => {
  let nowMs = 0;
  let runs: number[] = [];
  let failing = 0;
  let retries: number[] = [];
  let runner: SyncRunner;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    nowMs = 0;
    runs = [];
    failing = 0;
    retries = [];
    runner = new SyncRunner({
      minPeriodMs: 1_000,
      retryBaseMs: 1_000,
      retryMaxMs: 30_000,
      clock: { nowMs: () => nowMs },
      run: async () => {
        runs.push(nowMs);
        if (failing-- > 0) throw new Error('out of order');
        return true;
      },
      onFailure: (_error, retryInMs) => retries.push(retryInMs),
    });
  });

  afterEach(() => {
    mock.timers.reset();
  });

  /** Lets time pass in steps of 100 ms, and whatever is due run to its end. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      nowMs += 100;
      mock.timers.tick(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it('runs the first of a burst at once, the rest in one run a period later (Y2)', async () => {
    runner.request();
    await pass(100);
    for (let burst = 0; burst < 50; burst++) runner.request();
    await pass(3_000);
    expect(runs).to.deep.equal([100, 1_100]);
  });

  it('runs at most once in a period however long the burst lasts (Y2)', async () => {
    for (let at = 0; at < 50; at++) {
      runner.request();
      await pass(100);
    }
    expect(runs.length).to.be.within(4, 6);
    for (let at = 1; at < runs.length; at++) expect((runs[at] ?? 0) - (runs[at - 1] ?? 0)).to.be.at.least(1_000);
  });

  it('tries again after a growing pause until it succeeds (Y3)', async () => {
    failing = 7;
    runner.request();
    await pass(200_000);
    expect(retries).to.deep.equal([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(runs).to.have.length(8);
  });

  it('does not let new requests shorten the pause after a failure (Y3)', async () => {
    failing = 3;
    runner.request();
    for (let at = 0; at < 30; at++) {
      await pass(100);
      runner.request();
    }
    expect(runs.length).to.be.at.most(2);
  });

  it('runs for a delayed request no earlier than asked', async () => {
    runner.request(500);
    await pass(2_000);
    expect(runs).to.have.length(1);
    expect(runs[0]).to.be.at.least(500);
  });

  it('runs nothing after stop', async () => {
    runner.request();
    await runner.stop();
    await pass(2_000);
    expect(runs).to.deep.equal([]);
  });
});
