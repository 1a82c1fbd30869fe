/** Which engine runs: `--engine auto` takes native where it can, and says why not where it cannot. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EngineProcess, linksOf, ROOT } from '../support/engine-process.js';
import { Child } from '../support/lab/child.js';
import { nativeFault, ringFault } from '../support/native.js';
import { PROGRAM } from '../support/proxy.js';
import { requires } from '../support/requires.js';

/** The same on all architectures. */
const IO_URING_SETUP = 425;
const IO_URING_ENTER = 426;

async function whatRuns(options: Parameters<typeof EngineProcess.start>[0]) {
  const engine = await EngineProcess.start(options);
  try {
    return { name: (await engine.stats()).engine, logs: engine.logs };
  } finally {
    await engine.stop(0);
  }
}

describe('engine choice', () => {
  before(function () {
    nativeFault(this);
  });

  it('takes native where it works, without a word', async () => {
    const { name, logs } = await whatRuns({ engine: 'auto' });
    expect([name, logs]).to.deep.equal(['native', []]);
  });

  it('takes portable where the self-test fails, with one line that says why', async function () {
    requires(this, 'root', 'unshare');
    // A namespace whose loopback is down.
    const { name, logs } = await whatRuns({ engine: 'auto', wrapper: ['unshare', '--net'] });
    expect(name).to.equal('portable');
    expect(logs).to.have.length(1);
    expect(logs[0]?.level).to.equal('info');
    expect(logs[0]?.fields['reason']).to.match(/cannot run here: connect: ENETUNREACH/);
  });

  for (const [use, rings] of [
    ['auto', 2],
    ['off', 0],
  ] as const) {
    it(`takes ${rings === 0 ? 'no' : 'its'} io_uring with --io-uring ${use}`, async function () {
      await ringFault(this);
      const manifests = await mkdtemp(join(tmpdir(), 'kproxy-us-io-uring-'));
      const servers = ['--healthz-bind-address=127.0.0.1:0', '--metrics-bind-address=127.0.0.1:0'];
      const args = ['run', '--manifests', manifests, '--redirect=none', ...servers, `--io-uring=${use}`];
      const program = Child.start(process.execPath, [PROGRAM, ...args]);
      try {
        await program.waitFor(/ ready /, 20_000);
        const found = (await linksOf(program.pid)).filter((link) => link === 'anon_inode:[io_uring]');
        expect(found).to.have.length(rings);
      } finally {
        await program.stop('SIGTERM', 5_000);
        await rm(manifests, { recursive: true });
      }
    });
  }

  describe('under seccomp', () => {
    const filter = new URL('../support/programs/forbid.js', import.meta.url);
    const without = (call: number) => ['env', `FORBIDDEN_CALL=${call}`, `NODE_OPTIONS=--import=${filter}`];

    it('takes portable where a call it cannot do without is forbidden, with one line that names it', async () => {
      const splice = process.arch === 'x64' ? 275 : 76;
      const { name, logs } = await whatRuns({ engine: 'auto', wrapper: without(splice) });
      expect(name).to.equal('portable');
      expect(logs).to.have.length(1);
      expect(logs[0]?.fields['reason']).to.match(/cannot run here: splice: EPERM/);
    });

    it('takes native without io_uring where that is forbidden, with one line that says so', async () => {
      const { name, logs } = await whatRuns({ engine: 'auto', wrapper: without(IO_URING_SETUP) });
      expect(name).to.equal('native');
      expect(logs).to.have.length(1);
      expect(logs[0]?.level).to.equal('info');
      expect(logs[0]?.fields['reason']).to.equal('io_uring_setup: EPERM');
    });

    it('takes native without io_uring where that can be set up and not used', async () => {
      const { name, logs } = await whatRuns({ engine: 'auto', wrapper: without(IO_URING_ENTER) });
      expect(name).to.equal('native');
      const reasons = logs.map(({ fields }) => fields['reason']);
      expect(reasons).to.deep.equal(['io_uring_enter: expected 7,-9,8,-89, got 7,-125,8,-125']);
    });
  });

  describe('without koffi (npm ci --omit=optional)', () => {
    let root: string;

    before(async () => {
      root = await mkdtemp(join(tmpdir(), 'kproxy-us-no-koffi-'));
      await writeFile(join(root, 'package.json'), '{ "type": "module" }');
      await cp(join(ROOT, 'lib'), join(root, 'lib'), { recursive: true });
      await cp(join(ROOT, 'spec/support'), join(root, 'spec/support'), { recursive: true });
    });

    after(() => rm(root, { recursive: true }));

    it('takes portable, with one line that names what is missing', async () => {
      const { name, logs } = await whatRuns({ engine: 'auto', root });
      expect(name).to.equal('portable');
      expect(logs).to.have.length(1);
      expect(logs[0]?.fields['reason']).to.match(/needs the optional package koffi/);
    });

    it('does not start where native is asked for', async () => {
      const failure = await whatRuns({ engine: 'native', root }).catch((error: Error) => error.message);
      expect(failure).to.match(/needs the optional package koffi/);
    });
  });
});
