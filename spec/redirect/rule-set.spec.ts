import { BlockList, isIPv6 } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { hostPort, type Ip, type IpFamily } from '../../lib/config/address.js';
import { type Block, parseBlock } from '../../lib/redirect/block.js';
import { RuleSet } from '../../lib/redirect/iptables/rule-set.js';
import { parseSaved, type Saved } from '../../lib/redirect/iptables/saved.js';
import { routingsIn } from '../../lib/redirect/iptables/saved-routings.js';
import { type Frontend, frontendKey, type Redirect } from '../../lib/redirect/redirector.js';
import { KernelModel, type Verdict } from './kernel-model.js';
import { frontend, OWNER, refused, routing, toListener } from './support.js';

const HOSTS = { IPv4: ['192.0.2.1', '192.0.2.2'], IPv6: ['2001:db8::1', '2001:db8::2'] };
const WILDCARD = { IPv4: '0.0.0.0', IPv6: '::' };
/** Node ports that drop; no other frontend has them. */
const NODE_PORTS = [31_000, 31_001];
/** The node, two pods of different blocks, two clients outside. */
const SOURCES = {
  IPv4: ['192.0.2.2', '10.244.1.5', '10.245.0.1', '198.51.100.9', '198.51.100.200'],
  IPv6: ['2001:db8::2', 'fd00:244:1::5', 'fd00:245::1', '2001:db8:e::9', '2001:db8:e:8000::200'],
};
/** Some hold others, some hold addresses of the node, some have host bits. */
const CIDRS = {
  IPv4: [
    '10.244.0.0/16',
    '10.244.1.77/24',
    '10.244.0.0/15',
    '198.51.100.0/24',
    '198.51.100.128/25',
    '192.0.2.0/30',
    '192.0.2.2/32',
    '0.0.0.0/0',
  ],
  IPv6: [
    'fd00:244::/32',
    'fd00:244:1::77/48',
    'fd00:244::/31',
    '2001:db8:e::/48',
    '2001:db8:e:8000::/49',
    '2001:db8::/126',
    '2001:db8::2/128',
    '::/0',
  ],
};

const saved = (kernel: KernelModel): Saved => ({
  nat: parseSaved('nat', kernel.save('nat')),
  filter: parseSaved('filter', kernel.save('filter')),
});

const blocks = (cidrs: readonly string[]): readonly Block[] => cidrs.flatMap((cidr) => parseBlock(cidr) ?? []);

type Outcome = Pick<Redirect, 'action' | 'insideAction' | 'allowed'>;

/** What changes: some frontends, out of few, so that they meet (undefined removes); and perhaps who is inside. */
interface Step {
  readonly changes: readonly (readonly [Frontend, Outcome | undefined])[];
  readonly inside: readonly string[] | undefined;
}

/** What is so, or is to be. */
interface State {
  readonly wanted: Map<string, Redirect>;
  inside: readonly string[];
}

const nothing = (): State => ({ wanted: new Map(), inside: [] });

function anyFrontend(family: IpFamily): fc.Arbitrary<Frontend> {
  const addresses = [1, 2, 66, 130].map((n) => (family === 'IPv4' ? `10.96.0.${n}` : `fd00:10:96::${n.toString(16)}`));
  const address = fc.constantFrom(...addresses, ...HOSTS[family]);
  return fc.record({ address, port: fc.constantFrom(53, 80), protocol: fc.constantFrom('TCP', 'UDP') });
}

function anyOutcome(family: IpFamily): fc.Arbitrary<Outcome> {
  const listener = { host: fc.constantFrom(...HOSTS[family]), port: fc.integer({ min: 30_000, max: 30_020 }) };
  const action: fc.Arbitrary<Redirect['action']> = fc.oneof(
    fc.record({ kind: fc.constant('listener'), ...listener }),
    fc.constantFrom({ kind: 'reject' }, { kind: 'drop' }),
  );
  const allowed = fc.record({ cidrs: anyCidrs(family), node: fc.boolean() });
  return fc.record({ action, insideAction: action, allowed }, { requiredKeys: ['action'] });
}

function anyCidrs(family: IpFamily): fc.Arbitrary<string[]> {
  return fc.uniqueArray(fc.constantFrom(...CIDRS[family]), { maxLength: 3 });
}

function anySteps(family: IpFamily): fc.Arbitrary<Step[]> {
  const nodePort = fc.record({
    address: fc.constant(WILDCARD[family]),
    port: fc.constantFrom(...NODE_PORTS),
    protocol: fc.constantFrom('TCP', 'UDP'),
  } as const);
  const outcome = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined, freq: 2 });
  const change = fc.oneof(
    { weight: 5, arbitrary: fc.tuple(anyFrontend(family), outcome(anyOutcome(family))) },
    { weight: 1, arbitrary: fc.tuple(nodePort, outcome(fc.constant<Outcome>({ action: { kind: 'drop' } }))) },
  );
  const inside = fc.option(anyCidrs(family), { nil: undefined, freq: 1 });
  return fc.array(fc.record({ changes: fc.array(change, { maxLength: 6 }), inside }), { maxLength: 6 });
}

function stage(rules: RuleSet, { changes, inside }: Step, state: State): void {
  if (inside !== undefined) {
    rules.setInside(blocks(inside));
    state.inside = inside;
  }
  for (const [one, outcome] of changes) {
    const key = frontendKey(one);
    if (outcome === undefined) {
      rules.remove(key);
      state.wanted.delete(key);
    } else {
      const redirect = { frontend: one, owner: OWNER, ...outcome };
      rules.set(redirect);
      state.wanted.set(key, redirect);
    }
  }
}

/** What is to become of a client, by the words of rules E6, E7 and E8. */
function verdictFor({ wanted, inside }: State, to: Frontend, source: Ip): Verdict {
  const family = isIPv6(source) ? 'IPv6' : 'IPv4';
  const own = HOSTS[family].includes(source);
  const dropped = wanted.has(frontendKey({ ...to, address: WILDCARD[family] }));
  if (dropped && HOSTS[family].includes(to.address)) return own ? 'passed' : 'dropped';
  const redirect = wanted.get(frontendKey(to));
  if (redirect === undefined) return 'passed';
  const { action, insideAction, allowed } = redirect;
  if (allowed !== undefined && !isIn(allowed.cidrs, source) && !(own && allowed.node)) return 'dropped';
  const decided = own || isIn(inside, source) ? (insideAction ?? action) : action;
  if (decided.kind === 'listener') return `to ${hostPort(decided.host, decided.port)}`;
  if (decided.kind === 'reject') return 'refused';
  const alone = insideAction === undefined && allowed === undefined;
  return alone && own && HOSTS[family].includes(to.address) ? 'passed' : 'dropped';
}

function isIn(cidrs: readonly string[], ip: Ip): boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = '', prefix] = cidr.split('/');
    list.addSubnet(address, Number(prefix), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list.check(ip, isIPv6(ip) ? 'ipv6' : 'ipv4');
}

/** Everything that these steps are about, from everywhere; a node port at each address of the node. */
function dialsOf(family: IpFamily, steps: readonly Step[]): readonly (readonly [Frontend, Ip])[] {
  const changed = steps.flatMap(({ changes }) => changes.map(([one]) => one));
  const dialled = changed.flatMap((one) =>
    one.address === WILDCARD[family] ? HOSTS[family].map((address) => ({ ...one, address })) : [one],
  );
  const frontends = new Map(dialled.map((one) => [frontendKey(one), one]));
  return [...frontends.values()].flatMap((one) => SOURCES[family].map((source) => [one, source] as const));
}

function freshlyWritten(family: IpFamily, { wanted, inside }: State): KernelModel {
  const kernel = new KernelModel(HOSTS[family]);
  const rules = new RuleSet(family);
  rules.setInside(blocks(inside));
  for (const redirect of wanted.values()) rules.set(redirect);
  kernel.restore(rules.batch(saved(kernel)));
  return kernel;
}

const ours = (kernel: KernelModel, table: string) =>
  new Map([...kernel.chains(table)].sort(([a], [b]) => (a < b ? -1 : 1)));

for (const family of ['IPv4', 'IPv6'] as const) {
  describe(`RuleSet for ${family}`, () => {
    const started = () => {
      const kernel = new KernelModel(HOSTS[family]);
      const rules = new RuleSet(family);
      kernel.restore(rules.batch(saved(kernel)));
      return { kernel, rules };
    };

    it('ends, after any sequence of changes, in the rules of one full write', () => {
      fc.assert(
        fc.property(anySteps(family), (steps) => {
          const { kernel, rules } = started();
          const state = nothing();
          for (const step of steps) {
            stage(rules, step, state);
            kernel.restore(rules.batch());
          }
          const fresh = freshlyWritten(family, state);
          for (const table of ['nat', 'filter']) expect(ours(kernel, table)).to.deep.equal(ours(fresh, table));
          expect(rules.differences(saved(kernel))).to.deep.equal([]);
        }),
      );
    });

    it('sends every client where it should go, and at no moment anywhere but there or where it went before (R2, E6-E8)', () => {
      fc.assert(
        fc.property(anySteps(family), fc.infiniteStream(fc.boolean()), (steps, full) => {
          const { kernel, rules } = started();
          const state = nothing();
          const dials = dialsOf(family, steps);
          for (const step of steps) {
            const before = { wanted: new Map(state.wanted), inside: state.inside };
            stage(rules, step, state);
            const whole = full.next().value === true ? saved(kernel) : undefined;
            kernel.restore(rules.batch(whole), () => {
              for (const [one, source] of dials) {
                const either = [before, state].map((moment) => verdictFor(moment, one, source));
                expect(either, `${frontendKey(one)} from ${source}`).to.include(kernel.dial(one, source));
              }
            });
            for (const [one, source] of dials) {
              expect(kernel.dial(one, source), `${frontendKey(one)} from ${source}`).to.equal(
                verdictFor(state, one, source),
              );
            }
          }
        }),
      );
    }).timeout(30_000);

    it('replaces whatever an earlier process left, with no moment in between (Y7)', () => {
      fc.assert(
        fc.property(anySteps(family), anySteps(family), (earlier, later) => {
          const [left, state] = [nothing(), nothing()];
          for (const step of earlier) stage(new RuleSet(family), step, left);
          const kernel = freshlyWritten(family, left);
          const rules = new RuleSet(family);
          for (const step of later) stage(rules, step, state);
          const dials = dialsOf(family, [...earlier, ...later]);
          kernel.restore(rules.batch(saved(kernel)), () => {
            for (const [one, source] of dials) {
              const either = [left, state].map((moment) => verdictFor(moment, one, source));
              expect(either, `${frontendKey(one)} from ${source}`).to.include(kernel.dial(one, source));
            }
          });
          const fresh = freshlyWritten(family, state);
          for (const table of ['nat', 'filter']) expect(ours(kernel, table)).to.deep.equal(ours(fresh, table));
        }),
      );
    }).timeout(30_000);

    it('refuses every redirect port in use to whoever dials it, and no other port (R4)', () => {
      fc.assert(
        fc.property(anySteps(family), (steps) => {
          const { kernel, rules } = started();
          const state = nothing();
          for (const step of steps) {
            stage(rules, step, state);
            kernel.restore(rules.batch());
          }
          const used = new Set(
            [...state.wanted.values()].flatMap(({ action, insideAction, frontend: { protocol } }) =>
              [action, insideAction].flatMap((to) =>
                to?.kind === 'listener' ? frontendKey({ address: to.host, port: to.port, protocol }) : [],
              ),
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
    }).timeout(30_000);

    it('reads its own rules back as what they stand for (Y7)', () => {
      const redirects = fc.uniqueArray(fc.tuple(anyFrontend(family), anyOutcome(family)), {
        selector: ([one]) => frontendKey(one),
      });
      fc.assert(
        fc.property(redirects, anyCidrs(family), (pairs, inside) => {
          const state = nothing();
          stage(new RuleSet(family), { changes: pairs, inside }, state);
          const found = routingsIn(saved(freshlyWritten(family, state)));
          const byFrontend = (list: typeof found) =>
            new Map(list.map((one) => [frontendKey(one.frontend), one.clauses]));
          const wanted = [...state.wanted.values()].map((redirect) => routing(redirect, inside));
          expect(byFrontend(found)).to.deep.equal(byFrontend(wanted));
        }),
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
