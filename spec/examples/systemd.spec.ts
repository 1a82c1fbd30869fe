import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readCommandLine } from '../../lib/cli/program.js';
import { resolveRun } from '../../lib/cli/resolve-run.js';
import { ROOT } from '../support/proxy.js';
import { requires } from '../support/requires.js';

const FILE = join(ROOT, 'examples/systemd/kproxy-us.service');

describe('examples/systemd/kproxy-us.service', function () {
  this.timeout(20_000);

  it('starts the program with arguments that it takes, for longer than draining takes', async () => {
    const unit = await readFile(FILE, 'utf8');
    const [, ...words] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
    const { options, faults } = await resolveRun(readCommandLine(words), { nodeName: undefined, hostname: 'h' });
    expect(faults).to.deep.equal([]);
    expect(options.kubeconfig).to.match(/kubeconfig$/);
    const [, stopS] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? [];
    expect(Number(stopS) * 1_000).to.be.greaterThan(options.drainTimeoutMs);
  });

  it('is a unit that systemd understands', async function () {
    requires(this, 'systemd-analyze');
    const dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    const file = join(dir, 'kproxy-us.service');
    // Only a program that is there can be verified.
    await writeFile(file, (await readFile(FILE, 'utf8')).replaceAll('/usr/local/bin/kproxy-us', process.execPath));
    try {
      const { code, output } = await new Promise<{ code: number | null; output: string }>((resolve) => {
        const child = execFile('systemd-analyze', ['verify', '--man=no', file], (_error, stdout, stderr) => {
          resolve({ code: child.exitCode, output: stdout + stderr });
        });
      });
      expect({ code, output: output.replaceAll(dir, '') }).to.deep.equal({ code: 0, output: '' });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
