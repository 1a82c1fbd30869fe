import { expect } from 'chai';
import fc from 'fast-check';
import { portRunsOf } from '../../lib/redirect/iptables/guard.js';
import {
  bucketChain,
  filterRules,
  gotoBucket,
  isOurChain,
  natRules,
  transitionRules,
} from '../../lib/redirect/iptables/rule.js';
import type { Redirect, RedirectAction } from '../../lib/redirect/redirector.js';
import { OWNER, refused, routing, toListener } from './support.js';

describe('natRules', () => {
  for (const [redirect, rules] of [
    [
      toListener('10.96.0.10:53/UDP', '192.0.2.1', 30_000, 'kube-system/kube-dns:dns/UDP'),
      [
        '-A KPROXY-US-0a -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "kube-system/kube-dns:dns/UDP" -j DNAT --to-destination 192.0.2.1:30000',
      ],
    ],
    [
      toListener('[fd00::1:4f]:80', '2001:db8::1', 30_001),
      [
        `-A KPROXY-US-0f -d fd00::1:4f/128 -p tcp -m tcp --dport 80 -m comment --comment "${OWNER}" -j DNAT --to-destination [2001:db8::1]:30001`,
      ],
    ],
    [refused('10.96.0.10:53'), []],
  ] as const) {
    it(`are ${rules.join(', ') || 'none'}`, () => {
      expect(natRules(routing(redirect))).to.deep.equal(rules);
    });
  }
});

describe('filterRules', () => {
  const match = (address: string, protocol: string, from = '') =>
    `-A KPROXY-US-05 -d ${address}${from} -p ${protocol} -m ${protocol} --dport 53 -m comment --comment "${OWNER}"`;
  for (const [redirect, rules] of [
    [refused('10.96.0.5:53'), [`${match('10.96.0.5/32', 'tcp')} -j REJECT --reject-with tcp-reset`]],
    [refused('10.96.0.5:53/UDP'), [`${match('10.96.0.5/32', 'udp')} -j REJECT --reject-with icmp-port-unreachable`]],
    [refused('[fd00::5]:53'), [`${match('fd00::5/128', 'tcp')} -j REJECT --reject-with tcp-reset`]],
    [refused('[fd00::5]:53/UDP'), [`${match('fd00::5/128', 'udp')} -j REJECT --reject-with icmp6-port-unreachable`]],
    [
      // What the node sends to an address of its own does not come from outside (E6).
      { ...refused('10.96.0.5:53'), action: { kind: 'drop' } },
      [`${match('10.96.0.5/32', 'tcp', ' -i lo')} -j RETURN`, `${match('10.96.0.5/32', 'tcp')} -j DROP`],
    ],
    [
      { ...refused('0.0.0.0:31000'), action: { kind: 'drop' } },
      [`-A KPROXY-US-NODE -p tcp -m tcp --dport 31000 -m comment --comment "${OWNER}" -j DROP`],
    ],
    [
      { ...refused('[::]:31000/UDP'), action: { kind: 'drop' } },
      [`-A KPROXY-US-NODE -p udp -m udp --dport 31000 -m comment --comment "${OWNER}" -j DROP`],
    ],
    [toListener('10.96.0.5:53', '192.0.2.1', 30_000), []],
  ] as const) {
    it(`are ${rules.join(', ') || 'none'}`, () => {
      expect(filterRules(routing(redirect))).to.deep.equal(rules);
    });
  }
});

describe('rules by source', () => {
  const MATCH = '-d 203.0.113.10/32 -p tcp -m tcp --dport 80';
  const LOCAL = '-m addrtype --src-type LOCAL';
  const DROP: RedirectAction = { kind: 'drop' };
  const REJECT: RedirectAction = { kind: 'reject' };
  const OUTER: RedirectAction = { kind: 'listener', host: '192.0.2.1', port: 30_001 };
  const INNER: RedirectAction = { kind: 'listener', host: '192.0.2.1', port: 30_002 };
  const [TO_OUTER, TO_INNER] = [30_001, 30_002].map((port) => `-j DNAT --to-destination 192.0.2.1:${port}`);
  const REFUSE = '-j REJECT --reject-with tcp-reset';
  /** Pods: 10.244.0.0/16. A comment would say nothing here. */
  const made = (more: Pick<Redirect, 'action' | 'insideAction' | 'allowed'>) =>
    routing({ ...refused('203.0.113.10:80', ''), ...more }, ['10.244.0.0/16', 'fd00:10:244::/56']);
  const short = (rules: readonly string[]) => rules.map((rule) => rule.replace('-A KPROXY-US-0a ', ''));

  for (const [title, more, nat, filter] of [
    [
      'drops outside, redirects inside (E6, E7)',
      { action: DROP, insideAction: INNER },
      [`${MATCH} ${LOCAL} ${TO_INNER}`, `-s 10.244.0.0/16 ${MATCH} ${TO_INNER}`],
      [`${MATCH} ${LOCAL} -j RETURN`, `-s 10.244.0.0/16 ${MATCH} -j RETURN`, `${MATCH} -j DROP`],
    ],
    [
      'redirects inside and outside to listeners of their own (E7)',
      { action: OUTER, insideAction: INNER },
      [`${MATCH} ${LOCAL} ${TO_INNER}`, `-s 10.244.0.0/16 ${MATCH} ${TO_INNER}`, `${MATCH} ${TO_OUTER}`],
      [],
    ],
    [
      'refuses inside, redirects outside',
      { action: OUTER, insideAction: REJECT },
      [`${MATCH} ${LOCAL} -j RETURN`, `-s 10.244.0.0/16 ${MATCH} -j RETURN`, `${MATCH} ${TO_OUTER}`],
      [`${MATCH} ${LOCAL} ${REFUSE}`, `-s 10.244.0.0/16 ${MATCH} ${REFUSE}`],
    ],
    ['makes no difference where there is none', { action: OUTER, insideAction: OUTER }, [`${MATCH} ${TO_OUTER}`], []],
    [
      'drops everybody, the node too, where that is said of both',
      { action: DROP, insideAction: DROP },
      [],
      [`${MATCH} -j DROP`],
    ],
    [
      'redirects who is allowed, host bits or not, and drops the others (E8)',
      { action: OUTER, allowed: { cidrs: ['198.51.100.77/24', '192.0.2.9/32'], node: false } },
      [`-s 192.0.2.9/32 ${MATCH} ${TO_OUTER}`, `-s 198.51.100.0/24 ${MATCH} ${TO_OUTER}`],
      [`-s 192.0.2.9/32 ${MATCH} -j RETURN`, `-s 198.51.100.0/24 ${MATCH} -j RETURN`, `${MATCH} -j DROP`],
    ],
    [
      'allows the node (E8)',
      { action: OUTER, allowed: { cidrs: ['198.51.100.0/24'], node: true } },
      [`-s 198.51.100.0/24 ${MATCH} ${TO_OUTER}`, `${MATCH} ${LOCAL} ${TO_OUTER}`],
      [`-s 198.51.100.0/24 ${MATCH} -j RETURN`, `${MATCH} ${LOCAL} -j RETURN`, `${MATCH} -j DROP`],
    ],
    [
      'writes one rule for ranges that hold one another, none for a range of everybody (E8)',
      { action: OUTER, allowed: { cidrs: ['198.51.100.0/24', '198.51.100.7/32', '0.0.0.0/0'], node: false } },
      [`${MATCH} ${TO_OUTER}`],
      [],
    ],
    [
      'drops everybody where nobody is allowed (E8)',
      { action: OUTER, allowed: { cidrs: [], node: false } },
      [],
      [`${MATCH} -j DROP`],
    ],
    [
      'allows of those inside the ones in the ranges (E7, E8)',
      {
        action: OUTER,
        insideAction: INNER,
        allowed: { cidrs: ['10.244.3.0/24', '10.0.0.0/15', '198.51.100.0/24'], node: false },
      },
      [
        `-s 10.0.0.0/15 ${MATCH} ${LOCAL} ${TO_INNER}`,
        `-s 10.244.3.0/24 ${MATCH} ${LOCAL} ${TO_INNER}`,
        `-s 198.51.100.0/24 ${MATCH} ${LOCAL} ${TO_INNER}`,
        `-s 10.244.3.0/24 ${MATCH} ${TO_INNER}`,
        `-s 10.0.0.0/15 ${MATCH} ${TO_OUTER}`,
        `-s 10.244.3.0/24 ${MATCH} ${TO_OUTER}`,
        `-s 198.51.100.0/24 ${MATCH} ${TO_OUTER}`,
      ],
      [
        `-s 10.0.0.0/15 ${MATCH} ${LOCAL} -j RETURN`,
        `-s 10.244.3.0/24 ${MATCH} ${LOCAL} -j RETURN`,
        `-s 198.51.100.0/24 ${MATCH} ${LOCAL} -j RETURN`,
        `-s 10.244.3.0/24 ${MATCH} -j RETURN`,
        `-s 10.0.0.0/15 ${MATCH} -j RETURN`,
        `-s 10.244.3.0/24 ${MATCH} -j RETURN`,
        `-s 198.51.100.0/24 ${MATCH} -j RETURN`,
        `${MATCH} -j DROP`,
      ],
    ],
    [
      'needs no ranges for outside where outside is dropped anyway (E6, E7, E8)',
      { action: DROP, insideAction: INNER, allowed: { cidrs: ['10.0.0.0/8', '198.51.100.0/24'], node: true } },
      [`${MATCH} ${LOCAL} ${TO_INNER}`, `-s 10.244.0.0/16 ${MATCH} ${TO_INNER}`],
      [`${MATCH} ${LOCAL} -j RETURN`, `-s 10.244.0.0/16 ${MATCH} -j RETURN`, `${MATCH} -j DROP`],
    ],
  ] as const) {
    it(title, () => {
      expect(short(natRules(made(more))), 'nat').to.deep.equal(nat);
      expect(short(filterRules(made(more))), 'filter').to.deep.equal(filter);
    });
  }

  for (const [title, before, after, rules] of [
    [
      'what is refused goes on to be so until it is redirected',
      { action: REJECT },
      { action: DROP, insideAction: INNER },
      [`${MATCH} ${LOCAL} ${REFUSE}`, `-s 10.244.0.0/16 ${MATCH} ${REFUSE}`, `${MATCH} -j DROP`],
    ],
    [
      'what is redirected is refused, when it is no more, as it is to be',
      { action: DROP, insideAction: INNER },
      { action: REJECT },
      [`${MATCH} ${REFUSE}`],
    ],
    [
      'what was redirected is let go, and what was dropped is dropped until the end',
      { action: DROP, insideAction: INNER },
      undefined,
      [`${MATCH} ${LOCAL} -j RETURN`, `-s 10.244.0.0/16 ${MATCH} -j RETURN`, `${MATCH} -j DROP`],
    ],
  ] as const) {
    it(`while nat changes: ${title}`, () => {
      const found = transitionRules(made(before), after === undefined ? undefined : made(after));
      expect(short(found)).to.deep.equal(rules);
    });
  }
});

describe('bucketChain and gotoBucket', () => {
  for (const [address, chain, goto] of [
    ['10.96.0.0', 'KPROXY-US-00', '-A KPROXY-US -d 0.0.0.0/0.0.0.63 -g KPROXY-US-00'],
    ['10.96.7.63', 'KPROXY-US-3f', '-A KPROXY-US -d 0.0.0.63/0.0.0.63 -g KPROXY-US-3f'],
    ['10.96.7.255', 'KPROXY-US-3f', '-A KPROXY-US -d 0.0.0.63/0.0.0.63 -g KPROXY-US-3f'],
    ['10.96.7.64', 'KPROXY-US-00', '-A KPROXY-US -d 0.0.0.0/0.0.0.63 -g KPROXY-US-00'],
    ['fd00::', 'KPROXY-US-00', '-A KPROXY-US -d ::/::3f -g KPROXY-US-00'],
    ['fd00::abcd', 'KPROXY-US-0d', '-A KPROXY-US -d ::d/::3f -g KPROXY-US-0d'],
    ['fd00::1:2:3:10', 'KPROXY-US-10', '-A KPROXY-US -d ::10/::3f -g KPROXY-US-10'],
  ] as const) {
    it(`puts ${address} into ${chain}`, () => {
      expect(bucketChain(address)).to.equal(chain);
      expect(gotoBucket(address.includes(':') ? 'IPv6' : 'IPv4', chain)).to.equal(goto);
    });
  }
});

describe('isOurChain', () => {
  it('knows the chains that we make, and no other', () => {
    const ours = ['KPROXY-US', 'KPROXY-US-PORTS', 'KPROXY-US-NODE', 'KPROXY-US-00', 'KPROXY-US-3f', 'KPROXY-US-ff'];
    const others = [
      'KPROXY-USER',
      'KPROXY-US-',
      'KPROXY-US-0',
      'KPROXY-US-FF',
      'KPROXY-US-001',
      'XKPROXY-US',
      'KUBE-SERVICES',
    ];
    expect([...ours, ...others].filter(isOurChain)).to.deep.equal(ours);
  });
});

describe('portRunsOf', () => {
  it('names the runs of ports in use, the first and the last port included (R4)', () => {
    const uses = new Uint32Array(65_536);
    for (const port of [1, 30_000, 30_001, 30_002, 30_005, 65_534, 65_535]) uses[port] = 1;
    expect(portRunsOf(uses)).to.deep.equal([
      { first: 1, last: 1 },
      { first: 30_000, last: 30_002 },
      { first: 30_005, last: 30_005 },
      { first: 65_534, last: 65_535 },
    ]);
  });

  it('holds every port in use and no other, in runs that do not touch', () => {
    fc.assert(
      fc.property(fc.uint32Array({ maxLength: 40, max: 2 }), (uses) => {
        const runs = portRunsOf(uses);
        const inside = (port: number) => runs.some(({ first, last }) => first <= port && port <= last);
        for (const [port, count] of uses.entries()) expect(inside(port)).to.equal(count > 0);
        for (const [i, { first, last }] of runs.entries()) {
          expect(first).to.be.at.most(last);
          expect(first).to.be.greaterThan((runs[i - 1]?.last ?? -2) + 1);
        }
      }),
    );
  });
});
