/** Owns the proof of the rules against the real tools, in the node's namespace of a lab. */
import { expect } from 'chai';
import fc from 'fast-check';
import { IP_FAMILIES, type IpFamily } from '../../lib/config/address.js';
import { IptablesRedirector } from '../../lib/redirect/iptables/iptables.js';
import type { Redirect, RedirectAction } from '../../lib/redirect/redirector.js';
import { frontendKey } from '../../lib/redirect/redirector.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { requires } from '../support/requires.js';
import { execIn, inWords, keptLog, refused, toListener, watched } from './support.js';

const HOST = { IPv4: '192.168.77.1', IPv6: 'fd00:77::1' };
const DROP: RedirectAction = { kind: 'drop' };
const listener = (family: IpFamily, port: number): RedirectAction => ({ kind: 'listener', host: HOST[family], port });
const REDIRECTS: readonly Redirect[] = [
  toListener('10.96.0.10:53/UDP', HOST.IPv4, 30_001, 'kube-system/dns:dns/UDP'),
  toListener('10.96.0.10:53', HOST.IPv4, 30_001, 'kube-system/dns:dns-tcp/TCP'),
  toListener('10.96.0.64:80', HOST.IPv4, 30_002),
  toListener('203.0.113.7:80', HOST.IPv4, 30_002),
  toListener('10.96.255.255:65535', HOST.IPv4, 30_009, 'plain'),
  refused('10.96.0.11:443'),
  refused('10.96.0.12:53/UDP'),
  { ...refused('10.96.0.13:80'), action: { kind: 'drop' } },
  toListener('[fd00:10:96::a]:53/UDP', HOST.IPv6, 30_001),
  toListener('[fd00:10:96::]:80', HOST.IPv6, 30_002),
  toListener('[fd00:10:96::ffff]:80', HOST.IPv6, 30_003),
  refused('[fd00:10:96::b]:443'),
  refused('[fd00:10:96::c]:53/UDP'),
  { ...toListener('203.0.113.10:80', HOST.IPv4, 30_005), insideAction: listener('IPv4', 30_006) },
  { ...toListener('[2001:db8:1::a]:53/UDP', HOST.IPv6, 30_005), insideAction: listener('IPv6', 30_006) },
  { ...refused('203.0.113.11:80'), action: DROP, insideAction: listener('IPv4', 30_006) },
  { ...refused('203.0.113.12:80'), insideAction: DROP },
  {
    ...toListener('203.0.113.13:53/UDP', HOST.IPv4, 30_007),
    allowed: { cidrs: ['10.0.0.0/9', '198.51.100.7/32', '203.0.112.0/20'], node: true },
  },
  {
    ...toListener('[2001:db8:1::d]:80', HOST.IPv6, 30_007),
    insideAction: listener('IPv6', 30_008),
    allowed: { cidrs: ['2001:db8::/32', 'fd00:10:244::/64', 'fd00:99::9/128'], node: false },
  },
];
/** Lead to no listener: not among what is found. */
const NODE_PORTS: readonly Redirect[] = ['0.0.0.0:31000', '0.0.0.0:31000/UDP', '[::]:31000', '[::]:31001/UDP'].map(
  (from) => ({ ...refused(from), action: DROP }),
);
const INSIDE = ['10.244.0.0/16', '10.245.0.77/24', 'fd00:10:244::/56'];

for (const backend of ['nf_tables', 'legacy'] as const) {
  describe(`IptablesRedirector and iptables (${backend})`, () => {
    let lab: Lab;
    const tool = (family: IpFamily) =>
      `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${backend === 'legacy' ? '-legacy' : ''}`;
    const create = (log = keptLog(), exec = execIn(lab.ns.node, backend)) =>
      new IptablesRedirector({ log, exec, insideCidrs: INSIDE });
    const started = async (redirects = [...REDIRECTS, ...NODE_PORTS]) => {
      const redirector = create();
      await redirector.start();
      await redirector.apply({ set: redirects, remove: [] });
      return redirector;
    };
    const iptables = (...args: string[]) => lab.ns.node.must(tool('IPv4'), args);

    /** Every table of both families, without what changes by itself. */
    async function everything(): Promise<string[]> {
      const texts = await Promise.all(IP_FAMILIES.map((family) => lab.ns.node.must(`${tool(family)}-save`)));
      return texts.flatMap((text) =>
        text
          .split('\n')
          .filter((line) => line !== '' && !line.startsWith('#'))
          .map((line) => line.replace(/ \[\d+:\d+\]$/, '')),
      );
    }

    before(async function () {
      requires(
        this,
        'root',
        'ip',
        'setpriv',
        'ipv6',
        'conntrack',
        ...IP_FAMILIES.flatMap((f) => [tool(f), `${tool(f)}-save`]),
      );
      lab = await createLab();
    });

    after(() => lab?.close());

    afterEach(() => create().cleanup());

    it('writes rules that are what it reads back (R5)', async () => {
      const redirector = await started();
      expect(await redirector.repair()).to.equal(undefined);
    });

    it('finds what an earlier process left, with its owners (Y7)', async () => {
      await started();
      const next = create();
      await next.start();
      const found = await next.existing();
      expect(found.map((one) => `${inWords(one)} ${one.owner}`).sort()).to.deep.equal(
        REDIRECTS.map((one) => `${inWords(one)} ${one.owner}`).sort(),
      );
    });

    it('finds nothing where there is nothing', async () => {
      const redirector = create();
      await redirector.start();
      expect(await redirector.existing()).to.deep.equal([]);
    });

    it('writes, where who is inside changes, the rules of one full write (E7)', async () => {
      const redirector = await started();
      await redirector.setInsideCidrs(['10.99.0.0/16', 'fd00:99::/32']);
      const changed = await everything();
      expect(changed.filter((rule) => rule.includes('-s 10.244.0.0/16'))).to.deep.equal([]);
      expect(await redirector.repair()).to.equal(undefined);
      await redirector.setInsideCidrs(INSIDE);
      const back = await everything();
      await create().cleanup();
      await started();
      expect(back).to.deep.equal(await everything());
    });

    it('replaces what an earlier process left, and its jumps stay single', async () => {
      await started([toListener('10.96.9.9:80', HOST.IPv4, 31_000), refused('10.96.9.10:80')]);
      const next = await started();
      expect(await next.repair()).to.equal(undefined);
      expect((await next.existing()).map(inWords).sort()).to.deep.equal(REDIRECTS.map(inWords).sort());
    });

    it('ends, after any sequence of changes, in the rules of one full write', async () => {
      const address = fc.nat({ max: 70 }).map((n) => `10.96.0.${n}:80`);
      const action = fc.option(fc.integer({ min: 30_000, max: 30_010 }));
      const change = fc.tuple(address, fc.boolean(), action);
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 4 }), async (steps) => {
          const redirector = await started([]);
          const wanted = new Map<string, Redirect>();
          for (const step of steps) {
            const set = new Map<string, Redirect>();
            for (const [from, stays, port] of step) {
              const redirect = port === null ? refused(from) : toListener(from, HOST.IPv4, port);
              const key = frontendKey(redirect.frontend);
              wanted.delete(key);
              set.delete(key);
              if (stays) set.set(key, redirect);
            }
            const remove = step.map(([from]) => frontendKey(refused(from).frontend)).filter((key) => !set.has(key));
            for (const [key, redirect] of set) wanted.set(key, redirect);
            await redirector.apply({ set: [...set.values()], remove });
          }
          const changed = await everything();
          await create().cleanup();
          await started([...wanted.values()]);
          expect(await everything()).to.deep.equal(changed);
        }),
        { numRuns: 8 },
      );
    }).timeout(60_000);

    for (const [what, damage] of [
      ['a flushed nat table', () => iptables('-t', 'nat', '-F')],
      ['a flushed filter table', () => iptables('-F')],
      [
        'a jump that is gone',
        () => iptables('-t', 'nat', '-D', 'OUTPUT', '-m', 'comment', '--comment', 'kproxy-us', '-j', 'KPROXY-US'),
      ],
      [
        'a jump that is there twice',
        () => iptables('-t', 'nat', '-A', 'OUTPUT', '-m', 'comment', '--comment', 'kproxy-us', '-j', 'KPROXY-US'),
      ],
      ['a jump from elsewhere', () => iptables('-A', 'FORWARD', '-p', 'tcp', '-j', 'KPROXY-US-0b')],
      ['a rule that is gone', () => iptables('-t', 'nat', '-D', 'KPROXY-US-0a', '1')],
      ['a node port that drops no more', () => iptables('-D', 'KPROXY-US-NODE', '1')],
      ['a source range that is gone', () => iptables('-t', 'nat', '-D', 'KPROXY-US-0d', '1')],
      ['a rule put into a chain of ours', () => iptables('-I', 'KPROXY-US', '-j', 'ACCEPT')],
      ['a chain that looks like ours', () => iptables('-t', 'nat', '-N', 'KPROXY-US-2c')],
    ] as const) {
      it(`repairs ${what}, says so, and is then content (R5)`, async () => {
        const redirector = await started();
        const before = await everything();
        await damage();
        expect(await redirector.repair()).to.match(/^IPv4 (nat|filter): /);
        expect(await everything()).to.deep.equal(before);
        expect(await redirector.repair()).to.equal(undefined);
      });
    }

    it('names what it repaired', async () => {
      const redirector = await started();
      await iptables('-t', 'nat', '-D', 'KPROXY-US-0a', '1');
      await iptables('-t', 'nat', '-D', 'PREROUTING', '1');
      expect(await redirector.repair()).to.equal(
        'IPv4 nat: chain KPROXY-US-0a was changed, IPv4 nat: the jump from PREROUTING was missing',
      );
    });

    it('writes all rules where a change meets chains that somebody deleted', async () => {
      const redirector = await started();
      for (const table of ['nat', 'filter']) {
        await iptables('-t', table, '-F');
        await iptables('-t', table, '-X');
      }
      await redirector.apply({ set: [toListener('10.96.3.3:80', HOST.IPv4, 30_100)], remove: ['10.96.0.64:80/TCP'] });
      await redirector.repair();
      const found = (await redirector.existing()).map(inWords);
      expect(found).to.include('10.96.3.3:80/TCP -> 192.168.77.1:30100');
      expect(found).to.include('10.96.0.10:53/UDP -> 192.168.77.1:30001');
    });

    it('stands first, and once, before the rules of others', async () => {
      await iptables('-I', 'INPUT', '-j', 'ACCEPT');
      await started();
      const rules = (await iptables('-S', 'INPUT')).split('\n');
      await iptables('-D', 'INPUT', '-j', 'ACCEPT');
      expect(rules[1]).to.match(/--comment "?kproxy-us"? -j KPROXY-US$/);
      expect(rules.filter((rule) => rule.includes('KPROXY-US'))).to.have.lengthOf(1);
    });

    it('leaves, after cleanup, exactly the rules of others, twice in a row without error (R6)', async () => {
      for (const family of IP_FAMILIES) {
        const text = [
          '*nat',
          ':DOCKER - [0:0]',
          '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
          '-A DOCKER -i docker0 -j RETURN',
          'COMMIT',
          '*filter',
          ':KPROXY-USER - [0:0]',
          ':INPUT DROP [0:0]',
          '-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "not -j KPROXY-US at all" -j ACCEPT',
          '-A INPUT -j KPROXY-USER',
          '-A KPROXY-USER -j RETURN',
          'COMMIT\n',
        ].join('\n');
        await lab.ns.node.must(`${tool(family)}-restore`, ['--noflush'], { input: text });
      }
      const before = await everything();
      const redirector = await started();
      await redirector.apply({ set: [refused('10.96.7.7:80')], remove: ['10.96.0.64:80/TCP'] });
      expect(await everything()).not.to.deep.equal(before);
      await create().cleanup();
      expect(await everything()).to.deep.equal(before);
      const watching = watched(execIn(lab.ns.node, backend));
      await create(keptLog(), watching).cleanup();
      expect(await everything()).to.deep.equal(before);
      expect(watching.ran.filter((command) => command.includes('restore'))).to.deep.equal([]);
    });
  });
}

describe('IptablesRedirector in a fresh namespace', () => {
  let lab: Lab;

  beforeEach(async function () {
    requires(this, 'root', 'ip', 'setpriv', 'ipv6', 'iptables', 'ip6tables', 'iptables-save', 'nft', 'conntrack');
    lab = await createLab();
  });

  afterEach(() => lab?.close());

  it('makes nothing by a start or a cleanup (R6)', async () => {
    const redirector = new IptablesRedirector({ log: keptLog(), exec: execIn(lab.ns.node) });
    await redirector.start();
    await redirector.existing();
    await redirector.repair();
    await redirector.cleanup();
    expect(await lab.ns.node.must('nft', ['list', 'ruleset'])).to.equal('');
  });

  it('leaves, after cleanup, no rule and no chain but empty built-in ones that accept (R6)', async () => {
    const redirector = new IptablesRedirector({ log: keptLog(), exec: execIn(lab.ns.node) });
    await redirector.start();
    await redirector.apply({ set: REDIRECTS, remove: [] });
    await redirector.cleanup();
    for (const program of ['iptables-save', 'ip6tables-save']) {
      const lines = (await lab.ns.node.must(program)).split('\n');
      expect(
        lines.filter((line) => !/^(#.*|\*(nat|filter)|:[A-Z]+ ACCEPT \[\d+:\d+\]|COMMIT|)$/.test(line)),
      ).to.deep.equal([]);
    }
  });

  it('says which table iptables cannot read', async () => {
    const redirector = new IptablesRedirector({ log: keptLog(), exec: execIn(lab.ns.node) });
    const rule =
      'table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; ip daddr . tcp dport { 192.0.2.1 . 80 } masquerade; }; }';
    await lab.ns.node.must('nft', ['-f', '-'], { input: rule });
    const error = await redirector.start().then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).to.include('table nat: it holds rules that only nft can read');
  });

  it('serves IPv4 alone, and says so once, where the kernel has no IPv6', async () => {
    const log = keptLog();
    const exec = watched(execIn(lab.ns.node));
    const redirector = new IptablesRedirector({ log, exec, hasIpv6: () => false });
    await redirector.start();
    await redirector.apply({ set: REDIRECTS, remove: [] });
    expect([redirector.serves('IPv4'), redirector.serves('IPv6')]).to.deep.equal([true, false]);
    expect(exec.ran.filter((command) => command.startsWith('ip6tables'))).to.deep.equal([]);
    expect(log.lines).to.deep.equal([
      { level: 'info', message: 'IPv6 frontends are not served', reason: 'the kernel has no IPv6' },
    ]);
  });

  for (const [who, wrap] of [
    ['root without CAP_NET_ADMIN', ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin']],
    ['a plain user', ['setpriv', '--reuid=65534', '--clear-groups']],
  ] as const) {
    for (const backend of ['nf_tables', 'legacy'] as const) {
      it(`tells ${who} which capability is missing, and what works without (C5, ${backend})`, async () => {
        const exec = execIn(lab.ns.node, backend, [...wrap]);
        const redirector = new IptablesRedirector({ log: keptLog(), exec });
        const error = await redirector.start().then(
          () => undefined,
          (reason: Error & { code?: string }) => reason,
        );
        expect(error?.code).to.equal('MISSING_CAPABILITY');
        expect(error?.message).to.match(/CAP_NET_ADMIN.*--redirect none/);
      });
    }
  }
});
