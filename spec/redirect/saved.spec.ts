import { expect } from 'chai';
import { differences, jumpChanges, parseSaved } from '../../lib/redirect/iptables/saved.js';
import { redirectOf, routingsIn } from '../../lib/redirect/iptables/saved-routings.js';
import { inWords } from './support.js';

const DNAT =
  '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -m comment --comment "a/b:c/TCP" -j DNAT --to-destination 192.0.2.1:30000';
const JUMPS = ['PREROUTING', 'OUTPUT'].map((chain) => `-A ${chain} -m comment --comment kproxy-us -j KPROXY-US`);

const nat = (...rules: string[]) => {
  const chains = ['PREROUTING ACCEPT', 'OUTPUT ACCEPT', 'KPROXY-US -', 'KPROXY-US-0a -', 'KPROXY-USER -'];
  return parseSaved(
    'nat',
    ['# Generated', '*nat', ...chains.map((chain) => `:${chain} [1:60]`), ...rules, 'COMMIT', ''].join('\n'),
  );
};

describe('parseSaved', () => {
  it('finds our chains, and what leads to them from elsewhere', () => {
    const saved = nat(
      ...JUMPS,
      '-A KPROXY-USER -j RETURN',
      '-A KPROXY-US -d 0.0.0.10/0.0.0.63 -g KPROXY-US-0a',
      DNAT,
      '-A OUTPUT -g KPROXY-US-0a',
    );
    expect(saved.jumps).to.deep.equal([...JUMPS, '-A OUTPUT -g KPROXY-US-0a']);
    expect([...saved.chains]).to.deep.equal([
      ['KPROXY-US', ['-A KPROXY-US -d 0.0.0.10/0.0.0.63 -g KPROXY-US-0a']],
      ['KPROXY-US-0a', [DNAT]],
    ]);
  });

  it('sees through a comment that looks like an option', () => {
    const rule = '-A OUTPUT -m comment --comment -j -g KPROXY-US-0a';
    expect(nat(rule).jumps).to.deep.equal([rule]);
  });

  for (const foreign of [
    '-A OUTPUT -j KPROXY-USER',
    '-A OUTPUT -m comment --comment "-j KPROXY-US" -j ACCEPT',
    '-A OUTPUT -m comment --comment "say \\" -j KPROXY-US" -j ACCEPT',
    '-A OUTPUT -m comment --comment -j -j ACCEPT',
    '-A OUTPUT -m comment --comment KPROXY-US -j ACCEPT',
    '-A OUTPUT -j LOG --log-prefix "-g KPROXY-US "',
  ]) {
    it(`takes ${foreign} for somebody else's (R6)`, () => {
      expect(nat(foreign).jumps).to.deep.equal([]);
    });
  }
});

describe('differences', () => {
  const wanted = new Map([
    ['KPROXY-US', ['-A KPROXY-US -d 0.0.0.10/0.0.0.63 -g KPROXY-US-0a']],
    ['KPROXY-US-0a', [DNAT]],
  ]);
  const goto = '-A KPROXY-US -d 0.0.0.10/0.0.0.63 -g KPROXY-US-0a';

  for (const same of [
    DNAT,
    DNAT.replaceAll('"', ''),
    DNAT.replace('/32', ''),
    DNAT.replace('/32', '/255.255.255.255'),
    DNAT.replace(' -m tcp', ''),
    '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m comment --comment "a/b:c/TCP" -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:30000',
  ]) {
    it(`takes ${same} for what we wrote, however a version prints it`, () => {
      expect(differences(nat(...JUMPS, goto, same), wanted)).to.deep.equal([]);
    });
  }

  for (const other of [
    DNAT.replace('10.96.0.10', '10.96.0.74'),
    DNAT.replace('--dport 80', '--dport 81'),
    DNAT.replace('30000', '30001'),
    DNAT.replace('-d ', '! -d '),
    DNAT.replace('a/b', 'a/c'),
    DNAT.replace('-A KPROXY-US-0a', '-A KPROXY-US-0a -s 10.0.0.0/8'),
    '-A KPROXY-US-0a -d 10.96.0.10/32 -j ACCEPT',
  ]) {
    it(`sees that ${other} is not what we wrote`, () => {
      expect(differences(nat(...JUMPS, goto, other), wanted)).to.deep.equal(['nat: chain KPROXY-US-0a was changed']);
    });
  }
});

describe('jumpChanges', () => {
  it('keeps one right jump where it is, and takes away the second and the wrong', () => {
    const wrong = '-A OUTPUT -p tcp -j KPROXY-US';
    expect(jumpChanges(nat(...JUMPS, JUMPS[1] ?? '', wrong))).to.deep.equal({ unjump: [JUMPS[1], wrong], jump: [] });
  });

  it('inserts what is missing', () => {
    expect(jumpChanges(nat())).to.deep.equal({ unjump: [], jump: JUMPS });
  });
});

describe('routingsIn', () => {
  const found = (natRules: readonly string[], filterRules: readonly string[] = []) =>
    routingsIn({ nat: nat(...natRules), filter: nat(...filterRules) }).map(redirectOf);

  it('reads redirects back, and leaves out what is none (Y7)', () => {
    const rules = [
      DNAT,
      '-A KPROXY-US-0a -d 10.96.0.74/32 -p udp -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 80:90 -j REJECT',
      '-A KPROXY-US-0a -d 10.96.0.0/16 -p tcp -m tcp --dport 80 -j REJECT',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p icmp -j REJECT',
      '-A KPROXY-US-0a -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:30000',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 81 -j DNAT --to-destination 192.0.2.1',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 82 -j RETURN',
      '-A KPROXY-US-0a -s 10.0.0.0/33 -d 10.96.0.10/32 -p tcp -m tcp --dport 83 -j DROP',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 84 -m mark --mark 0x1 -j DROP',
      '-A KPROXY-US-0a -d 10.96.0.10/32 ! -i lo -p tcp -m tcp --dport 85 -j DROP',
      '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 86 -m addrtype --src-type UNICAST -j DROP',
    ];
    expect(found(rules).map((one) => `${inWords(one)} ${one.owner}`)).to.deep.equal([
      '10.96.0.10:80/TCP -> 192.0.2.1:30000 a/b:c/TCP',
      '10.96.0.74:53/UDP -> reject ',
    ]);
  });

  it('reads a frontend back whose rules somebody else changed, as packets meet them', () => {
    const match = '-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp -m tcp --dport 80';
    const natRules = [`${match} -s 10.244.0.0/16 -j DNAT --to-destination 192.0.2.1:30000`];
    const filterRules = [`${match} -s 10.1.0.0/16 -j RETURN`, `${match} -j DROP`];
    expect(found(natRules, filterRules).map(inWords)).to.deep.equal([
      '10.96.0.10:80/TCP -> 192.0.2.1:30000 for 10.244.0.0/16',
    ]);
  });
});
