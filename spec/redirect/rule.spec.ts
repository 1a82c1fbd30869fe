import { expect } from 'chai';
import fc from 'fast-check';
import { portRunsOf } from '../../lib/redirect/iptables/guard.js';
import { bucketChain, filterRule, gotoBucket, isOurChain, natRule } from '../../lib/redirect/iptables/rule.js';
import { OWNER, refused, toListener } from './support.js';

describe('natRule', () => {
  for (const [redirect, rule] of [
    [
      toListener('10.96.0.10:53/UDP', '192.0.2.1', 30_000, 'kube-system/kube-dns:dns/UDP'),
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "kube-system/kube-dns:dns/UDP" -j DNAT --to-destination 192.0.2.1:30000',
    ],
    [
      toListener('[fd00::1:4f]:80', '2001:db8::1', 30_001),
      `-A KPROXY-US-0f -d fd00::1:4f/128 -p tcp -m tcp --dport 80 -m comment --comment "${OWNER}" -j DNAT --to-destination [2001:db8::1]:30001`,
    ],
    [refused('10.96.0.10:53'), undefined],
  ] as const) {
    it(`is ${rule}`, () => {
      expect(natRule(redirect)).to.equal(rule);
    });
  }
});

describe('filterRule', () => {
  const match = (address: string, protocol: string) =>
    `-A KPROXY-US-05 -d ${address} -p ${protocol} -m ${protocol} --dport 53 -m comment --comment "${OWNER}"`;
  for (const [redirect, rule] of [
    [refused('10.96.0.5:53'), `${match('10.96.0.5/32', 'tcp')} -j REJECT --reject-with tcp-reset`],
    [refused('10.96.0.5:53/UDP'), `${match('10.96.0.5/32', 'udp')} -j REJECT --reject-with icmp-port-unreachable`],
    [refused('[fd00::5]:53'), `${match('fd00::5/128', 'tcp')} -j REJECT --reject-with tcp-reset`],
    [refused('[fd00::5]:53/UDP'), `${match('fd00::5/128', 'udp')} -j REJECT --reject-with icmp6-port-unreachable`],
    [{ ...refused('10.96.0.5:53'), action: { kind: 'drop' } }, `${match('10.96.0.5/32', 'tcp')} -j DROP`],
    [toListener('10.96.0.5:53', '192.0.2.1', 30_000), undefined],
  ] as const) {
    it(`is ${rule}`, () => {
      expect(filterRule(redirect)).to.equal(rule);
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
    const ours = ['KPROXY-US', 'KPROXY-US-PORTS', 'KPROXY-US-00', 'KPROXY-US-3f', 'KPROXY-US-ff'];
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
