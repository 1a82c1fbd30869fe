import { expect } from 'chai';
import fc from 'fast-check';
import { Claims } from '../../lib/plan/claims.js';

const PORT = 'nodePort:31269/TCP';

describe('claims (C2)', () => {
  it('give a resource to the older of two Services, whoever comes first', () => {
    for (const order of [
      ['old', 'new'],
      ['new', 'old'],
    ] as const) {
      const claims = new Claims();
      for (const name of order)
        claims.set(`work/${name}`, name === 'old' ? '2026-01-01T00:00:00Z' : '2026-06-01T00:00:00Z', [PORT]);
      expect(claims.holderOf(PORT)).to.equal('work/old');
    }
  });

  it('go by arrival where neither has a creation time', () => {
    const claims = new Claims();
    claims.set('work/b', '', [PORT]);
    claims.set('work/a', '', [PORT]);
    expect(claims.holderOf(PORT)).to.equal('work/b');
  });

  it('name the Service that loses to an older newcomer', () => {
    const claims = new Claims();
    claims.set('work/new', '2026-06-01T00:00:00Z', [PORT]);
    expect([...claims.set('work/old', '2026-01-01T00:00:00Z', [PORT])]).to.deep.equal(['work/new']);
  });

  it('name the heir of a resource that is given up', () => {
    const claims = new Claims();
    claims.set('work/a', '', [PORT]);
    claims.set('work/b', '', [PORT]);
    expect([...claims.set('work/a', '', [])]).to.deep.equal(['work/b']);
    expect(claims.holderOf(PORT)).to.equal('work/b');
  });

  it('say nothing of those whose standing stays', () => {
    const claims = new Claims();
    claims.set('work/a', '', [PORT]);
    expect([...claims.set('work/b', '', [PORT])]).to.deep.equal([]);
    expect([...claims.set('work/b', '', [])]).to.deep.equal([]);
  });

  it('count a Service that was deleted and made again in one step by its new age', () => {
    const claims = new Claims();
    claims.set('work/a', '2026-01-01T00:00:00Z', [PORT]);
    claims.set('work/b', '2026-02-01T00:00:00Z', [PORT]);
    expect([...claims.set('work/a', '2026-03-01T00:00:00Z', [PORT])]).to.deep.equal(['work/b']);
    expect(claims.holderOf(PORT)).to.equal('work/b');
  });

  it('always agree with a plain search for the oldest, and name exactly those that changed', () => {
    const times = { a: '2026-01-03T00:00:00Z', b: '2026-01-02T00:00:00Z', c: '2026-01-01T00:00:00Z' } as const;
    const step = fc.record({
      service: fc.constantFrom('a' as const, 'b' as const, 'c' as const),
      resources: fc.uniqueArray(fc.constantFrom('x', 'y', 'z')),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const claims = new Claims();
        const wanted = new Map<'a' | 'b' | 'c', readonly string[]>();
        for (const { service, resources } of steps) {
          const before = ['x', 'y', 'z'].map((key) => claims.holderOf(key));
          const named = claims.set(service, times[service], resources);
          wanted.set(service, resources);
          const changed = new Set<string>();
          ['x', 'y', 'z'].forEach((key, at) => {
            const holder = (['c', 'b', 'a'] as const).find((one) => wanted.get(one)?.includes(key));
            expect(claims.holderOf(key)).to.equal(holder);
            const old = before[at];
            if (old !== holder)
              for (const one of [old, holder]) if (one !== undefined && one !== service) changed.add(one);
          });
          expect([...named].sort()).to.deep.equal([...changed].sort());
        }
      }),
    );
  });
});
