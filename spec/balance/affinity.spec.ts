import { expect } from 'chai';
import fc from 'fast-check';
import { AffinityTable, AffinityTables } from '../../lib/balance/affinity.js';
import { Balancer, NONE_TRIED } from '../../lib/balance/balancer.js';
import type { Backend } from '../../lib/model/backend.js';
import { FakeClock } from '../support/clock.js';

const CLIENT = '192.0.2.7';
const TIMEOUT_MS = 10_000;

const backends = (count: number): readonly Backend[] =>
  Array.from({ length: count }, (_, index) => ({ host: `10.0.0.${index + 1}`, port: 80 }));

function fixture(count = 3, maxClients = 100) {
  const clock = new FakeClock();
  const table = new AffinityTable({ timeoutMs: TIMEOUT_MS, maxClients, clock });
  const balancer = new Balancer({ backends: backends(count), affinity: table, clock });
  const pick = (client = CLIENT) => {
    const target = balancer.pick(client, NONE_TRIED);
    if (target === undefined) throw new Error('no target');
    return target;
  };
  return { clock, table, balancer, pick };
}

describe('ClientIP affinity (B2)', () => {
  it('keeps a client on its backend, while other clients take turns', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (clients) => {
        const { pick } = fixture(4);
        const seen = new Map<number, string>();
        for (const client of clients) {
          const { key } = pick(`192.0.2.${client}`);
          expect(key).to.equal(seen.get(client) ?? key);
          seen.set(client, key);
        }
        // New clients come in strict turn, so no backend has two more than another.
        const counts = new Map<string, number>();
        for (const key of seen.values()) counts.set(key, (counts.get(key) ?? 0) + 1);
        const least = counts.size < 4 ? 0 : Math.min(...counts.values());
        expect(Math.max(...counts.values()) - least).to.be.at.most(1);
      }),
    );
  });

  it('counts the timeout from the last use', () => {
    const { clock, pick } = fixture();
    const { key } = pick();
    for (let use = 0; use < 5; use++) {
      clock.advance(TIMEOUT_MS - 1);
      expect(pick().key).to.equal(key);
    }
    clock.advance(TIMEOUT_MS);
    expect(pick().key).not.to.equal(key);
  });

  it('takes a change of the timeout at once, for clients already known too', () => {
    const { clock, table, pick } = fixture();
    const { key } = pick();
    table.timeoutMs = 100;
    clock.advance(100);
    expect(pick().key).not.to.equal(key);
  });

  it('counts an IPv4-mapped client as its IPv4 address', () => {
    const { pick } = fixture();
    expect(pick(`::ffff:${CLIENT}`)).to.equal(pick(CLIENT));
  });

  it('survives a set change, and scale to zero and back', () => {
    const { balancer, pick } = fixture();
    const { key } = pick();
    balancer.replace(backends(5));
    expect(pick().key).to.equal(key);
    balancer.replace([]);
    expect(balancer.pick(CLIENT, NONE_TRIED)).to.equal(undefined);
    balancer.replace(backends(3));
    expect(pick().key).to.equal(key);
  });

  it('moves a client whose backend is gone, for good', () => {
    const { balancer, pick } = fixture();
    const gone = pick();
    balancer.replace(backends(3).filter(({ host }) => host !== gone.backend.host));
    const { key } = pick();
    expect(key).not.to.equal(gone.key);
    balancer.replace(backends(3));
    expect(pick().key).to.equal(key);
  });

  it('moves a client whose dial failed, for good', () => {
    const { balancer, pick } = fixture();
    const bad = pick();
    balancer.failed(bad);
    const other = balancer.pick(CLIENT, [bad]);
    expect(other).not.to.equal(bad);
    balancer.succeeded(bad);
    expect(pick()).to.equal(other);
  });

  it('is one table for all listeners of a Service port', () => {
    const { clock, table, pick } = fixture();
    const second = new Balancer({ backends: backends(3), affinity: table, clock });
    second.pick(undefined, NONE_TRIED);
    expect(second.pick(CLIENT, NONE_TRIED)?.key).to.equal(pick().key);
  });

  it('is bounded: the client unused for longest makes room', () => {
    const { table, pick } = fixture(3, 2);
    pick('192.0.2.1');
    pick('192.0.2.2');
    pick('192.0.2.1');
    pick('192.0.2.3');
    expect(table.size).to.equal(2);
    expect(table.get('192.0.2.2')).to.equal(undefined);
    expect(table.get('192.0.2.1')).not.to.equal(undefined);
  });

  it('sweeps the clients whose time is over, and those alone', () => {
    const { clock, table, pick } = fixture();
    pick('192.0.2.1');
    pick('192.0.2.2');
    clock.advance(TIMEOUT_MS / 2);
    pick('192.0.2.1');
    clock.advance(TIMEOUT_MS / 2);
    table.sweep();
    expect(table.size).to.equal(1);
    expect(table.get('192.0.2.1')).not.to.equal(undefined);
  });
});

describe('AffinityTables', () => {
  const tables = () => new AffinityTables({ maxClients: 10, clock: new FakeClock() });

  it('gives the listeners of one Service port one table, also where affinity is off between (B2)', () => {
    const all = tables();
    all.hold('a/b/TCP');
    all.hold('a/b/TCP');
    const table = all.table('a/b/TCP', 1_000);
    table?.set(CLIENT, '10.0.0.1:80');
    expect(all.table('a/b/TCP', undefined)).to.equal(undefined);
    expect(all.table('a/b/TCP', 2_000)).to.equal(table);
    expect(table?.timeoutMs).to.equal(2_000);
    all.release('a/b/TCP');
    expect(all.table('a/b/TCP', 2_000)?.get(CLIENT)).to.equal('10.0.0.1:80');
  });

  it('forgets a Service port with its last listener', () => {
    const all = tables();
    all.hold('a/b/TCP');
    all.table('a/b/TCP', 1_000)?.set(CLIENT, '10.0.0.1:80');
    all.release('a/b/TCP');
    all.hold('a/b/TCP');
    expect(all.table('a/b/TCP', 1_000)?.size).to.equal(0);
  });
});
