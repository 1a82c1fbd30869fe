import { expect } from 'chai';
import fc from 'fast-check';
import { hostPort, type IpFamily } from '../../lib/config/address.js';
import { RuleSet, type Saved } from '../../lib/redirect/iptables/rule-set.js';
import { parseSaved } from '../../lib/redirect/iptables/saved.js';
import { type Frontend, frontendKey, type Redirect } from '../../lib/redirect/redirector.js';
import { KernelModel, type Verdict } from './kernel-model.js';
import { frontend, inWords, OWNER, refused, toListener } from './support.js';

const HOSTS = { IPv4: ['192.0.2.1', '192.0.2.2'], IPv6: ['2001:db8::1', '2001:db8::2'] };

const saved = (kernel: KernelModel): Saved => ({
  nat: parseSaved('nat', kernel.save('nat')),
  filter: parseSaved('filter', kernel.save('filter')),
});

/** A change of some frontends, out of few addresses, so that they meet: an action, or undefined to remove. */
type Step = readonly (readonly [Frontend, Redirect['action'] | undefined])[];

function anyFrontend(family: IpFamily): fc.Arbitrary<Frontend> {
  const address = fc
    .nat({ max: 130 })
    .map((n) => (family === 'IPv4' ? `10.96.0.${n}` : `fd00:10:96::${(n + 1).toString(16)}`));
  return fc.record({ address, port: fc.constantFrom(53, 80), protocol: fc.constantFrom('TCP', 'UDP') });
}

function anyAction(family: IpFamily): fc.Arbitrary<Redirect['action']> {
  const listener = { host: fc.constantFrom(...HOSTS[family]), port: fc.integer({ min: 30_000, max: 30_020 }) };
  return fc.oneof(
    fc.record({ kind: fc.constant('listener'), ...listener }),
    fc.constantFrom({ kind: 'reject' }, { kind: 'drop' }),
  );
}

function anySteps(family: IpFamily): fc.Arbitrary<Step[]> {
  const change = fc.tuple(anyFrontend(family), fc.option(anyAction(family), { nil: undefined, freq: 2 }));
  return fc.array(fc.array(change, { maxLength: 12 }), { maxLength: 8 });
}

function stage(rules: RuleSet, step: Step, wanted: Map<string, Redirect>): void {
  for (const [one, action] of step) {
    const key = frontendKey(one);
    if (action === undefined) {
      rules.remove(key);
      wanted.delete(key);
    } else {
      const redirect = { frontend: one, action, owner: OWNER };
      rules.set(redirect);
      wanted.set(key, redirect);
    }
  }
}

function verdictFor(redirect: Redirect | undefined): Verdict {
  if (redirect === undefined) return 'passed';
  const { action } = redirect;
  if (action.kind === 'listener') return `to ${hostPort(action.host, action.port)}`;
  return action.kind === 'reject' ? 'refused' : 'dropped';
}

function freshlyWritten(family: IpFamily, wanted: Iterable<Redirect>): KernelModel {
  const kernel = new KernelModel();
  const rules = new RuleSet(family);
  for (const redirect of wanted) rules.set(redirect);
  kernel.restore(rules.batch(saved(kernel)));
  return kernel;
}

const ours = (kernel: KernelModel, table: string) =>
  new Map([...kernel.chains(table)].sort(([a], [b]) => (a < b ? -1 : 1)));

for (const family of ['IPv4', 'IPv6'] as const) {
  describe(`RuleSet for ${family}`, () => {
    it('ends, after any sequence of changes, in the rules of one full write', () => {
      fc.assert(
        fc.property(anySteps(family), (steps) => {
          const kernel = new KernelModel();
          const rules = new RuleSet(family);
          const wanted = new Map<string, Redirect>();
          kernel.restore(rules.batch(saved(kernel)));
          for (const step of steps) {
            stage(rules, step, wanted);
            kernel.restore(rules.batch());
          }
          const fresh = freshlyWritten(family, wanted.values());
          for (const table of ['nat', 'filter']) expect(ours(kernel, table)).to.deep.equal(ours(fresh, table));
          expect(rules.differences(saved(kernel))).to.deep.equal([]);
        }),
      );
    });

    it('sends every frontend where it should go, and at no moment anywhere but there or where it went before (R2)', () => {
      fc.assert(
        fc.property(anySteps(family), fc.infiniteStream(fc.boolean()), (steps, full) => {
          const kernel = new KernelModel();
          const rules = new RuleSet(family);
          const wanted = new Map<string, Redirect>();
          const all = new Map(steps.flat().map(([one]) => [frontendKey(one), one]));
          kernel.restore(rules.batch(saved(kernel)));
          for (const step of steps) {
            const before = new Map(wanted);
            stage(rules, step, wanted);
            const whole = full.next().value === true ? saved(kernel) : undefined;
            kernel.restore(rules.batch(whole), () => {
              for (const [key, one] of all) {
                const allowed = [verdictFor(before.get(key)), verdictFor(wanted.get(key))];
                expect(allowed, key).to.include(kernel.dial(one));
              }
            });
            for (const [key, one] of all) expect(kernel.dial(one), key).to.equal(verdictFor(wanted.get(key)));
          }
        }),
      );
    });

    it('replaces whatever an earlier process left, with no moment in between (Y7)', () => {
      fc.assert(
        fc.property(anySteps(family), anySteps(family), (earlier, later) => {
          const [left, wanted] = [new Map<string, Redirect>(), new Map<string, Redirect>()];
          for (const step of earlier) stage(new RuleSet(family), step, left);
          const kernel = freshlyWritten(family, left.values());
          const rules = new RuleSet(family);
          for (const step of later) stage(rules, step, wanted);
          const all = [...earlier, ...later].flat().map(([one]) => one);
          kernel.restore(rules.batch(saved(kernel)), () => {
            for (const one of all) {
              const allowed = [left, wanted].map((state) => verdictFor(state.get(frontendKey(one))));
              expect(allowed, frontendKey(one)).to.include(kernel.dial(one));
            }
          });
          const fresh = freshlyWritten(family, wanted.values());
          for (const table of ['nat', 'filter']) expect(ours(kernel, table)).to.deep.equal(ours(fresh, table));
        }),
      );
    });

    it('refuses every redirect port in use to whoever dials it, and no other port (R4)', () => {
      fc.assert(
        fc.property(anySteps(family), (steps) => {
          const kernel = new KernelModel();
          const rules = new RuleSet(family);
          const wanted = new Map<string, Redirect>();
          kernel.restore(rules.batch(saved(kernel)));
          for (const step of steps) {
            stage(rules, step, wanted);
            kernel.restore(rules.batch());
          }
          const used = new Set(
            [...wanted.values()].flatMap(({ action, frontend: { protocol } }) =>
              action.kind === 'listener' ? frontendKey({ address: action.host, port: action.port, protocol }) : [],
            ),
          );
          for (const address of HOSTS[family]) {
            for (const protocol of ['TCP', 'UDP'] as const) {
              for (let port = 29_999; port <= 30_021; port++) {
                const one = { address, port, protocol };
                expect(kernel.dial(one), frontendKey(one)).to.equal(used.has(frontendKey(one)) ? 'refused' : 'passed');
              }
            }
          }
        }),
        { numRuns: 30 },
      );
    });

    it('reads its own rules back as the redirects they stand for (Y7)', () => {
      fc.assert(
        fc.property(
          fc.uniqueArray(fc.tuple(anyFrontend(family), anyAction(family)), { selector: ([one]) => frontendKey(one) }),
          (pairs) => {
            const wanted = pairs.map(([one, action]) => ({ frontend: one, action, owner: OWNER }));
            const kernel = freshlyWritten(family, wanted);
            const found = new RuleSet(family).transitions(saved(kernel)).map(({ before }) => before);
            const words = (list: readonly (Redirect | undefined)[]) =>
              list.map((one) => (one === undefined ? '?' : `${inWords(one)} ${one.owner}`)).sort();
            expect(words(found)).to.deep.equal(words(wanted));
          },
        ),
      );
    });
  });
}

describe('RuleSet', () => {
  const started = () => {
    const kernel = new KernelModel();
    const rules = new RuleSet('IPv4');
    kernel.restore(rules.batch(saved(kernel)));
    return { kernel, rules };
  };

  it('writes nothing for a redirect that is already so (R1)', () => {
    const { rules } = started();
    rules.set(toListener('10.96.0.1:80', '192.0.2.1', 30_000));
    rules.batch();
    rules.set(toListener('10.96.0.1:80', '192.0.2.1', 30_000));
    rules.remove('10.96.0.2:80/TCP');
    expect(rules.hasChanges).to.equal(false);
    expect(rules.batch()).to.equal('');
  });

  it('touches one chain of rules for one change among thousands', () => {
    const { rules } = started();
    for (let i = 0; i < 5_000; i++) rules.set(toListener(`10.96.${i >> 8}.${i & 255}:80`, '192.0.2.1', 30_000 + i));
    rules.batch();
    rules.set(toListener('10.96.3.7:80', '192.0.2.1', 29_999));
    const lines = rules.batch().split('\n');
    expect(lines.filter((line) => line.startsWith(':'))).to.deep.equal([
      ':KPROXY-US-PORTS - [0:0]',
      ':KPROXY-US-07 - [0:0]',
      ':KPROXY-US-PORTS - [0:0]',
    ]);
    expect(lines.length).to.be.lessThan(100);
  });

  it('refuses before it stops to redirect, and redirects before it stops to refuse', () => {
    const { kernel, rules } = started();
    rules.set(toListener('10.96.0.1:80', '192.0.2.1', 30_000));
    rules.set(refused('10.96.0.2:80'));
    kernel.restore(rules.batch());
    rules.set(refused('10.96.0.1:80'));
    rules.set(toListener('10.96.0.2:80', '192.0.2.1', 30_001));
    const moments: string[] = [];
    kernel.restore(rules.batch(), () => {
      moments.push([frontend('10.96.0.1:80'), frontend('10.96.0.2:80')].map((one) => kernel.dial(one)).join(', '));
    });
    expect(moments).to.deep.equal([
      'to 192.0.2.1:30000, refused',
      'refused, to 192.0.2.1:30001',
      'refused, to 192.0.2.1:30001',
    ]);
  });

  it('keeps a redirect port guarded while one of two frontends still leads to it', () => {
    const { kernel, rules } = started();
    rules.set(toListener('10.96.0.1:80', '192.0.2.1', 30_000));
    rules.set(toListener('198.51.100.1:80', '192.0.2.1', 30_000));
    kernel.restore(rules.batch());
    rules.remove('198.51.100.1:80/TCP');
    kernel.restore(rules.batch());
    expect(kernel.dial(frontend('192.0.2.1:30000'))).to.equal('refused');
  });

  it('does not refuse the clients of a frontend that is its own listener', () => {
    const { kernel, rules } = started();
    rules.set(toListener('192.0.2.1:80', '192.0.2.1', 80));
    kernel.restore(rules.batch());
    expect(rules.differences(saved(kernel))).to.deep.equal([]);
    expect([...kernel.chains('filter').keys()]).not.to.include('KPROXY-US-PORTS');
  });

  it('leaves no chain behind for frontends that are gone', () => {
    const { kernel, rules } = started();
    rules.set(toListener('10.96.0.1:80', '192.0.2.1', 30_000));
    rules.set(refused('10.96.0.2:80'));
    kernel.restore(rules.batch());
    rules.remove('10.96.0.1:80/TCP');
    rules.remove('10.96.0.2:80/TCP');
    kernel.restore(rules.batch());
    for (const table of ['nat', 'filter']) {
      expect([...kernel.chains(table).keys()].filter((chain) => chain.startsWith('KPROXY'))).to.deep.equal([
        'KPROXY-US',
      ]);
    }
  });
});
