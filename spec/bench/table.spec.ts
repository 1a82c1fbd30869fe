import { expect } from 'chai';
import type { Figure } from '../../bench/figure.js';
import type { Forwarder } from '../../bench/forwarder.js';
import { figureTable, median, pairedRatios, Results } from '../../bench/table.js';

const forwarder = (name: string): Forwarder => ({
  name,
  about: '',
  protocols: ['TCP'],
  needs: [],
  start: () => Promise.reject(new Error('not started here')),
});

const figure: Figure = {
  name: 'bulk',
  title: 'Bulk',
  protocol: 'TCP',
  needs: [],
  metrics: [
    { key: 'cpu', title: 'CPU s/GB', digits: 2 },
    { key: 'speed', title: 'Gbit/s', digits: 0 },
  ],
  measure: async () => ({}),
};

describe('median', () => {
  it('is the middle of what was measured', () => {
    expect(median([3, 1, 2])).to.equal(2);
    expect(median([10, 4, undefined, 2, 9])).to.equal(6.5);
    expect(median([7])).to.equal(7);
    expect(median([undefined])).to.equal(undefined);
  });
});

describe('pairedRatios', () => {
  it('compares within a round, and skips rounds where either failed', () => {
    expect(pairedRatios([10, 30, undefined, 8], [20, 20, 5, undefined])).to.deep.equal([
      0.5,
      1.5,
      undefined,
      undefined,
    ]);
  });
});

describe('figureTable', () => {
  it('shows medians, ratios to the base of the same round, and the spread', () => {
    const results = new Results();
    const [base, fast, none] = [forwarder('haproxy'), forwarder('fast'), forwarder('direct')];
    for (const cpu of [1, 2, 4]) results.add(figure, base, { cpu, speed: 1_000 });
    for (const cpu of [0.5, 1, 3]) results.add(figure, fast, { cpu, speed: 1_500 });
    for (const speed of [2_000, 2_000, 2_500]) results.add(figure, none, { speed });
    const lines = figureTable(figure, [base, fast, none, forwarder('absent')], results).split('\n');
    expect(lines.filter((line) => line.startsWith('|'))).to.deep.equal([
      '|  | CPU s/GB | Gbit/s | spread |',
      '| --- | ---: | ---: | ---: |',
      '| haproxy | 2.00 | 1,000 | -50 to +100 % |',
      '| fast | 1.00 (0.50) | 1,500 (1.50) | -50 to +200 % |',
      '| direct | - | 2,000 (2.00) | 0 to +25 % |',
    ]);
  });
});
