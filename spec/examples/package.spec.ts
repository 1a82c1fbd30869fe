import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { packageVersion } from '../../lib/config/version.js';
import { PROGRAM, ROOT } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until, within } from '../support/until.js';

const exec = promisify(execFile);

describe('the package, unpacked somewhere else', function () {
  this.timeout(60_000);
  let dir: string;
  let program: string;
  let files: readonly string[];

  before(async function () {
    requires(this, 'npm', 'tar');
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    // A checkout whose dist/ is the build that these specs are part of; so the script that would build it is left out.
    const checkout = join(dir, 'checkout');
    for (const name of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs', 'examples', 'lib', 'spec']) {
      await cp(join(ROOT, name), join(checkout, name), { recursive: true });
    }
    await cp(join(dirname(PROGRAM), '..'), join(checkout, 'dist'), { recursive: true });
    await exec('npm', ['pack', '--ignore-scripts'], { cwd: checkout });
    const tarball = join(checkout, `kproxy-us-${packageVersion()}.tgz`);
    files = (await exec('tar', ['-tzf', tarball])).stdout.trim().split('\n');
    await exec('tar', ['-xzf', tarball, '-C', dir]);
    await symlink(join(ROOT, 'node_modules'), join(dir, 'package/node_modules'));
    program = join(dir, 'package/dist/bin/kproxy-us.js');
  });

  after(async () => {
    if (dir !== undefined) await rm(dir, { recursive: true });
  });

  it('holds the program, its documents and examples, and no specs', () => {
    for (const name of [
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'docs/operating.md',
      'examples/daemonset/kproxy-us.yaml',
    ]) {
      expect(files).to.include(`package/${name}`);
    }
    expect(files.filter((name) => /\/(?:spec|bench|node_modules)\//.test(name))).to.deep.equal([]);
  });

  it('says its version', async () => {
    const { stdout } = await exec(process.execPath, [program, '--version']);
    expect(stdout).to.equal(`kproxy-us ${packageVersion()}\n`);
  });

  it('shows the demo', async () => {
    const child: ChildProcess = spawn(process.execPath, [program, 'demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    let text = '';
    child.stdout?.on('data', (part) => {
      text += String(part);
    });
    await until('the words of the demo', () => text.includes('Ctrl-C ends everything'), 20_000);
    child.kill('SIGINT');
    expect(await within('the end of the demo', exit, 20_000)).to.deep.equal([0, null]);
  });
});
