import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { CommandResult, Exec } from '../../lib/redirect/command.js';
import { IptablesRedirector } from '../../lib/redirect/iptables/iptables.js';
import { type Redirect, RedirectError } from '../../lib/redirect/redirector.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';
import { KernelModel } from './kernel-model.js';
import { execIn, frontend, inWords, keptLog, refused, toListener, watched } from './support.js';

type Failure = (program: string, input: string) => Partial<CommandResult> | Error | undefined;

/** iptables over a model of the kernel; `fail` may answer in its place. */
function modelled(fail: Failure = () => undefined) {
  const kernels = { iptables: new KernelModel(), ip6tables: new KernelModel() };
  const state = { fail, running: 0, atOnce: 0 };
  const exec: Exec = async (program, args, { input = '' } = {}) => {
    state.running++;
    state.atOnce = Math.max(state.atOnce, state.running);
    await new Promise((resolve) => setImmediate(resolve));
    state.running--;
    const failure = state.fail(program, input);
    if (failure instanceof Error) throw failure;
    if (failure !== undefined) return { code: 1, stdout: '', stderr: '', ...failure };
    const [, name, verb] = /^(ip6?tables)-(save|restore)$/.exec(program) ?? [];
    if (verb === undefined || args[0] === '--version') return { code: 0, stdout: '', stderr: '' };
    const kernel = kernels[name as 'iptables'];
    if (verb === 'save') return { code: 0, stdout: kernel.save(args[1] ?? ''), stderr: '' };
    try {
      kernel.restore(input);
    } catch (error) {
      return { code: 1, stdout: '', stderr: String(error) };
    }
    return { code: 0, stdout: '', stderr: '' };
  };
  return Object.assign(watched(exec), { kernels, state });
}

async function started(exec = modelled(), log = keptLog()) {
  const redirector = new IptablesRedirector({ log, exec, hasIpv6: () => true });
  await redirector.start();
  await redirector.apply({ set: [], remove: [] });
  exec.ran.length = 0;
  const set = (...redirects: Redirect[]) => redirector.apply({ set: redirects, remove: [] });
  return { redirector, exec, log, set };
}

async function failureOf(promise: Promise<unknown>): Promise<RedirectError> {
  const error = await promise.then(
    () => new Error('did not reject'),
    (reason: Error) => reason,
  );
  expect(error).to.be.instanceOf(RedirectError);
  return error as RedirectError;
}

const V4 = toListener('10.96.0.1:80', '192.0.2.1', 30_000);
const V6 = toListener('[fd00:10:96::1]:80', '2001:db8::1', 30_000);

const dropping = (from: string): Redirect => ({ ...refused(from), action: { kind: 'drop' } });
const allowing = (...cidrs: string[]): Redirect => ({ ...V4, allowed: { cidrs, node: false } });

describe('IptablesRedirector', () => {
  it('runs nothing for a sync without a change (R1)', async () => {
    const { exec, set } = await started();
    await set(V4, V6);
    exec.ran.length = 0;
    await set(V4, V6);
    await set();
    expect(exec.ran).to.deep.equal([]);
  });

  it('runs one program per family that changes, however much changes (R1)', async () => {
    const { exec, set } = await started();
    const many = Array.from({ length: 300 }, (_, i) =>
      toListener(`10.96.1.${i % 256}:${80 + i}`, '192.0.2.1', 30_000 + i),
    );
    await set(...many, refused('10.96.0.9:80'));
    await set(V6);
    expect(exec.ran).to.deep.equal(['iptables-restore --noflush -w 5', 'ip6tables-restore --noflush -w 5']);
  });

  it('tries again where the tool is busy, and the sync does not fail (R7)', async () => {
    const { exec, set } = await started();
    let busy = 2;
    exec.state.fail = () =>
      busy-- > 0 ? { code: 4, stderr: 'Another app is currently holding the xtables lock.' } : undefined;
    await set(V4);
    expect(exec.ran).to.have.lengthOf(3);
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('to 192.0.2.1:30000');
  });

  it('gives up where the tool stays busy, and writes the change with the next sync (R7, Y3)', async () => {
    const { exec, set } = await started();
    exec.state.fail = (program) => (program === 'iptables-restore' ? { code: 4, stderr: 'held' } : undefined);
    const error = await failureOf(set(V4));
    expect(error.code).to.equal('COMMAND_FAILED');
    expect(error.message).to.include('iptables-restore --noflush -w 5 exited 4: held');
    exec.state.fail = () => undefined;
    await set();
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('to 192.0.2.1:30000');
  }).timeout(20_000);

  it('puts the line that the tool names into its error', async () => {
    const { exec, set } = await started();
    exec.state.fail = (program) =>
      program.endsWith('restore') ? { stderr: 'iptables-restore: line 4 failed' } : undefined;
    expect((await failureOf(set(V4))).message).to.match(/line 4 failed \(line 4: -A KPROXY-US -d /);
  });

  it('follows a batch that failed with one that writes everything (R5)', async () => {
    const { exec, set, log } = await started();
    await set(V4);
    exec.kernels.iptables.restore('*nat\n:KPROXY-US - [0:0]\n:KPROXY-US-01 - [0:0]\n-X KPROXY-US-01\nCOMMIT\n');
    let failures = 1;
    exec.state.fail = (program) => (program === 'iptables-restore' && failures-- > 0 ? { stderr: 'no' } : undefined);
    await set(refused('10.96.0.2:80'));
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('to 192.0.2.1:30000');
    expect(exec.kernels.iptables.dial(frontend('10.96.0.2:80'))).to.equal('refused');
    expect(log.lines.map(({ level, message }) => `${level}: ${message}`)).to.deep.equal([
      'warn: a batch of rules failed, writing all of them',
    ]);
  });

  it('leaves the frontends of a batch that fails as they were, and keeps the change', async () => {
    const { exec, set } = await started();
    await set(V4);
    exec.state.fail = (program) => (program === 'iptables-restore' ? { stderr: 'no' } : undefined);
    await failureOf(set(toListener('10.96.0.1:80', '192.0.2.1', 31_000)));
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('to 192.0.2.1:30000');
    exec.state.fail = () => undefined;
    await set();
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('to 192.0.2.1:31000');
  });

  it('writes one family where the other one fails', async () => {
    const { exec, set } = await started();
    exec.state.fail = (program) => (program === 'iptables-restore' ? { stderr: 'no' } : undefined);
    await failureOf(set(V4, V6));
    expect(exec.kernels.ip6tables.dial(V6.frontend)).to.equal('to [2001:db8::1]:30000');
  });

  it('runs calls one after the other', async () => {
    const { redirector, exec, set } = await started();
    exec.state.atOnce = 0;
    await Promise.all([set(V4), redirector.repair(), set(refused('10.96.0.1:80')), redirector.repair()]);
    // Both families in a repair.
    expect(exec.state.atOnce).to.equal(2);
    expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('refused');
  });

  it('repairs nothing before it has written anything', async () => {
    const exec = modelled();
    const redirector = new IptablesRedirector({ log: keptLog(), exec, hasIpv6: () => true });
    await redirector.start();
    expect(await redirector.repair()).to.equal(undefined);
    expect(exec.ran.filter((command) => command.includes('restore --noflush'))).to.deep.equal([]);
  });

  describe('with hostile input (R1)', () => {
    for (const owner of ['a b', 'x\n-A INPUT -j ACCEPT', '"', "'", '$(id)', '-j', 'é', 'a'.repeat(256), '']) {
      it(`serves the frontend without its comment, and says so, where the owner is ${JSON.stringify(owner.slice(0, 30))}`, async () => {
        const { exec, set, log } = await started();
        await set({ ...V4, owner }, refused('10.96.0.2:80', 'good/name:port/TCP'));
        const rules = [...exec.kernels.iptables.chains('nat').values()].flat();
        expect(rules).to.include(
          '-A KPROXY-US-01 -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:30000',
        );
        expect(exec.kernels.iptables.dial(frontend('10.96.0.2:80'))).to.equal('refused');
        expect(log.lines).to.deep.equal([
          {
            level: 'error',
            message: 'a rule is written without its owner, whose name is not a valid one',
            key: '10.96.0.1:80/TCP',
            frontend: '10.96.0.1:80/TCP',
            owner,
          },
        ]);
      });
    }

    for (const [what, bad] of [
      ['an address that is none', { ...V4, frontend: { ...V4.frontend, address: '10.96.0.1 -j ACCEPT' } }],
      ['an address in another spelling', { ...V6, frontend: { ...V6.frontend, address: 'FD00:10:96::1' } }],
      ['an IPv4-mapped address', { ...V6, frontend: { ...V6.frontend, address: '::ffff:10.96.0.1' } }],
      ['the loopback address', refused('127.0.0.1:22')],
      ['every address', refused('0.0.0.0:22')],
      ['a link-local address', refused('169.254.169.254:80')],
      ['port 0', refused('10.96.0.1:0')],
      ['a port that is no number', { ...V4, frontend: { ...V4.frontend, port: Number.NaN } }],
      ['a port too high', toListener('10.96.0.1:80', '192.0.2.1', 65_536)],
      ['a protocol of no rule', { ...V4, frontend: { ...V4.frontend, protocol: 'SCTP' as 'TCP' } }],
      ['a listener of the other family', toListener('10.96.0.1:80', '2001:db8::1', 30_000)],
      ['a listener everywhere', toListener('10.96.0.1:80', '0.0.0.0', 30_000)],
      ['a listener for every address', toListener('0.0.0.0:80', '192.0.2.1', 30_000)],
      ['ranges for every address', { ...dropping('0.0.0.0:80'), allowed: { cidrs: ['10.0.0.0/8'], node: true } }],
      ['a listener of the other family inside', { ...V4, insideAction: V6.action }],
      ['no port inside', { ...V4, insideAction: toListener('10.96.0.1:80', '192.0.2.1', 0).action }],
      ['a range that is none', allowing('10.0.0.0/8', '10.0.0.0/8 -j ACCEPT')],
      ['a range without a prefix', allowing('10.0.0.1')],
      ['a range with a prefix too long', allowing('10.0.0.0/33')],
      ['a range with a mask', allowing('10.0.0.0/255.0.0.0')],
      ['a range with a leading zero', allowing('010.0.0.0/8')],
      ['a range that is excluded', allowing('! 10.0.0.0/8')],
      ['a range of the other family', allowing('fd00::/64')],
      ['too many ranges', allowing(...Array.from({ length: 257 }, (_, n) => `10.0.${n >> 8}.${n & 255}/32`))],
    ] as const) {
      it(`leaves out, loudly, a redirect with ${what}, and writes the others (C2)`, async () => {
        const { exec, set, log } = await started();
        await set(bad, refused('10.96.0.2:80'));
        expect(log.lines.map(({ level, message }) => `${level}: ${message}`)).to.deep.equal([
          'error: a frontend is not redirected',
        ]);
        // Another frontend is another fact: a flood of this one does not hide it (H6).
        expect(log.lines[0]).to.include({ key: log.lines[0]?.['frontend'] });
        expect(exec.kernels.iptables.dial(frontend('10.96.0.2:80'))).to.equal('refused');
        const rules = [exec.kernels.iptables, exec.kernels.ip6tables].flatMap((kernel) =>
          [...kernel.chains('nat').values()].flat(),
        );
        expect(rules.filter((rule) => rule.includes('DNAT'))).to.deep.equal([]);
      });
    }

    it('takes away what a frontend had where its new listener is impossible', async () => {
      const { exec, set } = await started();
      await set(V4);
      await set(toListener('10.96.0.1:80', '192.0.2.1', 0));
      expect(exec.kernels.iptables.dial(V4.frontend)).to.equal('passed');
    });
  });

  describe('told who is inside (E7)', () => {
    const [POD, OTHER] = ['10.244.1.5', '10.99.0.5'];
    const inside: Redirect = { ...dropping('203.0.113.10:80'), insideAction: V4.action };
    const verdicts = (exec: ReturnType<typeof modelled>) =>
      [POD, OTHER].map((source) => exec.kernels.iptables.dial(inside.frontend, source));

    it('writes what that changes, in one batch, and nothing where nothing changes (R1)', async () => {
      const { redirector, exec, set } = await started();
      await set(inside, V4, V6);
      expect(verdicts(exec)).to.deep.equal(['dropped', 'dropped']);
      exec.ran.length = 0;
      await redirector.setInsideCidrs(['10.244.0.0/16', 'fd00:10:244::/56']);
      expect(verdicts(exec)).to.deep.equal(['to 192.0.2.1:30000', 'dropped']);
      await redirector.setInsideCidrs(['fd00:10:244::/56', '10.244.7.7/16', '10.244.3.0/24']);
      expect(exec.ran).to.deep.equal(['iptables-restore --noflush -w 5']);
    });

    it('counts it for what is set later, and writes nothing before the first apply', async () => {
      const exec = modelled();
      const redirector = new IptablesRedirector({ log: keptLog(), exec, insideCidrs: ['10.99.0.0/16'] });
      await redirector.start();
      await redirector.setInsideCidrs(['10.244.0.0/16']);
      expect(exec.ran.filter((command) => command.includes('--noflush'))).to.deep.equal([]);
      await redirector.apply({ set: [inside], remove: [] });
      expect(verdicts(exec)).to.deep.equal(['to 192.0.2.1:30000', 'dropped']);
    });

    it('keeps the change where it cannot be written, for the next sync (Y3)', async () => {
      const { redirector, exec, set } = await started();
      await set(inside);
      exec.state.fail = (program) => (program === 'iptables-restore' ? { stderr: 'no' } : undefined);
      await failureOf(redirector.setInsideCidrs(['10.244.0.0/16']));
      expect(verdicts(exec)).to.deep.equal(['dropped', 'dropped']);
      exec.state.fail = () => undefined;
      await set();
      expect(verdicts(exec)).to.deep.equal(['to 192.0.2.1:30000', 'dropped']);
    });

    it('leaves out, loudly, what is no block of addresses (R1)', async () => {
      const { redirector, exec, set, log } = await started();
      await set(inside);
      await redirector.setInsideCidrs(['10.244.0.0/16 -j ACCEPT', '10.99.0.0/16', '10.244.0.0']);
      expect(verdicts(exec)).to.deep.equal(['dropped', 'to 192.0.2.1:30000']);
      expect(log.lines.map(({ level, cidr }) => `${level}: ${cidr}`)).to.deep.equal([
        'error: 10.244.0.0/16 -j ACCEPT',
        'error: 10.244.0.0',
      ]);
    });

    it('bounds the blocks, and says so', async () => {
      const { redirector, exec, set, log } = await started();
      await set(inside);
      await redirector.setInsideCidrs(Array.from({ length: 100 }, (_, n) => `10.${n}.0.0/24`));
      const rules = exec.kernels.iptables.chains('nat').get('KPROXY-US-0a') ?? [];
      expect(rules.filter((rule) => rule.includes(' -s '))).to.have.lengthOf(64);
      expect(log.lines).to.have.lengthOf(1);
      expect(log.lines[0]).to.deep.include({ level: 'error', count: 100, limit: 64 });
    });
  });

  describe('where something is missing (C5)', () => {
    const missing = (name: string) =>
      modelled((program) =>
        program.startsWith(name) ? new RedirectError('MISSING_TOOL', `${program} is not installed`) : undefined,
      );

    it('names the tool, and what works without', async () => {
      const redirector = new IptablesRedirector({ log: keptLog(), exec: missing('iptables') });
      const error = await failureOf(redirector.start());
      expect(error.code).to.equal('MISSING_TOOL');
      expect(error.message).to.match(/^iptables-restore is not installed: install iptables, or use --redirect none/);
    });

    it('serves IPv4 alone without ip6tables, and takes IPv6 redirects for nothing', async () => {
      const exec = missing('ip6tables');
      const { redirector, set, log } = await started(exec);
      await set(V4, V6);
      expect(redirector.serves('IPv6')).to.equal(false);
      expect((await redirector.existing()).map(inWords)).to.deep.equal([inWords(V4)]);
      expect(log.lines.map(({ level, message }) => `${level}: ${message}`)).to.deep.equal([
        'info: IPv6 frontends are not served',
      ]);
    });

    it('cleans up what the other tool can have written', async () => {
      const exec = missing('ip6tables');
      const { redirector, set } = await started(exec);
      await set(V4);
      await redirector.cleanup();
      expect([...exec.kernels.iptables.chains('nat').keys()]).to.deep.equal([
        'PREROUTING',
        'INPUT',
        'OUTPUT',
        'POSTROUTING',
      ]);
    });

    it('says once that stale UDP flows stay where there is no conntrack tool, and goes on (R8)', async () => {
      const { set, log } = await started(missing('conntrack'));
      await set(toListener('10.96.0.1:53/UDP', '192.0.2.1', 30_000));
      await set(toListener('10.96.0.2:53/UDP', '192.0.2.1', 30_001));
      expect(log.lines.map(({ level }) => level)).to.deep.equal(['warn']);
    });
  });
});

describe('IptablesRedirector and the xtables lock', () => {
  const lock = join(tmpdir(), `kproxy-us-${process.pid}.lock`);
  let lab: Lab;

  before(async function () {
    requires(this, 'root', 'ip', 'setpriv', 'ipv6', 'flock', 'iptables-legacy');
    lab = await createLab();
    writeFileSync(lock, '');
  });

  after(async () => {
    await lab?.close();
    rmSync(lock, { force: true });
  });

  it('waits for whoever holds it (R7)', async () => {
    const exec = execIn(lab.ns.node, 'legacy', ['env', `XTABLES_LOCKFILE=${lock}`]);
    const redirector = new IptablesRedirector({ log: keptLog(), exec, hasIpv6: () => false });
    await redirector.start();
    const holder = lab.ns.node.spawn('flock', [lock, 'sh', '-c', 'echo held; exec sleep 60']);
    await holder.waitFor('held');
    const applied = redirector.apply({ set: [V4], remove: [] });
    // A line of /proc/locks with an arrow is somebody who waits.
    const waiting = new RegExp(`-> FLOCK .*:${statSync(lock).ino} `);
    await until('iptables-restore to wait', () => waiting.test(readFileSync('/proc/locks', 'utf8')));
    expect(
      execFileSync('ip', ['netns', 'exec', lab.ns.node.name, 'iptables-legacy', '-w', '-t', 'nat', '-S'], {
        encoding: 'utf8',
      }),
    ).not.to.include('DNAT');
    holder.killGroup();
    await applied;
    expect((await redirector.existing()).map(inWords)).to.deep.equal([inWords(V4)]);
  });
});
