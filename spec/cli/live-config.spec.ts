import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LiveConfig } from '../../lib/cli/live-config.js';
import { readCommandLine } from '../../lib/cli/program.js';
import { resolveRun } from '../../lib/cli/resolve-run.js';
import type { Log, LogFields } from '../../lib/config/log.js';
import type { Options } from '../../lib/config/options.js';
import { PROGRAM } from '../support/proxy.js';
import { until, within } from '../support/until.js';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

describe('the file of --config, while the program runs', () => {
  let dir: string;
  let file: string;
  let live: LiveConfig;
  let lines: Line[];
  let applied: Options[];
  let beforeStart: () => Promise<void>;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    // As kubelet mounts a ConfigMap: the file is a link through ..data, which is swapped.
    await mkdir(join(dir, '..one'));
    await writeFile(join(dir, '..one/config.conf'), `${HEAD}logging: {verbosity: 1}\n`);
    await symlink('..one', join(dir, '..data'));
    file = join(dir, 'config.conf');
    await symlink('..data/config.conf', file);
    lines = [];
    applied = [];
    beforeStart = async () => undefined;
    live = await follow('--config', file);
  });

  afterEach(async () => {
    await live.stop();
    await rm(dir, { recursive: true });
  });

  async function follow(...words: readonly string[]): Promise<LiveConfig> {
    const resolve = () => resolveRun(readCommandLine(words), { nodeName: undefined, hostname: 'host-1' });
    const note = (level: string) => (message: string, fields?: LogFields) =>
      void lines.push({ level, message, fields });
    const log: Log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
    const apply = (options: Options) => void applied.push(options);
    const following = new LiveConfig({ running: await resolve(), resolve, apply, log });
    await beforeStart();
    await following.start();
    return following;
  }

  /** As kubelet updates it. */
  async function swap(name: string, text: string): Promise<void> {
    await mkdir(join(dir, name));
    await writeFile(join(dir, name, 'config.conf'), text);
    await symlink(name, join(dir, '..next'));
    await rename(join(dir, '..next'), join(dir, '..data'));
  }

  const said = (message: RegExp) => lines.filter((line) => message.test(line.message));

  it('is read again when a ConfigMap changes: verbosity and OOM score are applied at once', async () => {
    await swap('..two', `${HEAD}logging: {verbosity: 5}\noomScoreAdj: 7\n`);
    await until('the new values', () => applied.length > 0);
    expect(applied[0]).to.deep.include({ verbosity: 5, oomScoreAdj: 7 });
    expect(lines).to.deep.equal([
      { level: 'info', message: 'configuration applied', fields: { fields: 'logging.verbosity oomScoreAdj' } },
    ]);
  });

  it('says once, in one warning, which changed fields need a restart', async () => {
    const changed = `${HEAD}logging: {verbosity: 1}\nbindAddress: 192.0.2.1\niptables: {syncPeriod: 5s}\n`;
    await swap('..two', changed);
    await until('the warning', () => said(/restart to apply/).length > 0);
    await live.reload();
    expect(lines).to.deep.equal([
      {
        level: 'warn',
        message: 'the configuration has changed, restart to apply it',
        fields: { fields: 'bindAddress iptables.syncPeriod' },
      },
    ]);
    expect(applied).to.deep.equal([]);
  });

  it('says nothing where the file says the same in other words, or what runs again', async () => {
    await swap('..two', `# the same\n${HEAD}logging:\n  verbosity: 1\nbindAddress: 0.0.0.0\n`);
    await live.reload();
    expect(lines).to.deep.equal([]);
  });

  it('keeps what was read before where the file has faults, each said once with its place (C1, C2)', async () => {
    await swap('..two', `${HEAD}mode: ipvs\nlogging: {verbosity: 99}\n`);
    await until('the faults', () => said(/^fault/).length === 2);
    await live.reload();
    expect(said(/^fault/)).to.have.length(2);
    expect(String(lines[0]?.fields?.['fault'])).to.contain(`${file}:3:7: mode: "ipvs": expected userspace`);
    expect(applied).to.deep.equal([]);
    await swap('..three', `${HEAD}logging: {verbosity: 2}\n`);
    await until('the new value', () => applied.length > 0);
    expect(applied[0]?.verbosity).to.equal(2);
  });

  it('is read again where it changed while the program was starting', async () => {
    await live.stop();
    beforeStart = () => swap('..two', `${HEAD}logging: {verbosity: 5}\n`);
    live = await follow('--config', file);
    await until('the new value', () => applied.length > 0);
  });

  it('does not touch what a flag says', async () => {
    await live.stop();
    live = await follow('--config', file, '-v3');
    await swap('..two', `${HEAD}logging: {verbosity: 5}\n`);
    await live.reload();
    expect(lines).to.deep.equal([]);
    expect(applied).to.deep.equal([]);
  });
});

describe('a program that runs with --config', function () {
  this.timeout(20_000);
  let dir: string;
  let child: ChildProcess;
  let stderr: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    stderr = '';
  });

  afterEach(async () => {
    const exit = once(child, 'exit');
    if (child.kill('SIGTERM')) await within('the end', exit, 10_000);
    await rm(dir, { recursive: true });
  });

  it('names what the file overrides, ignores and does not know, and applies a new verbosity at once (C4)', async () => {
    const file = join(dir, 'config.conf');
    const fields = 'metricsBindAddress: 127.0.0.1:0\nhealthzBindAddress: "0"\nipvs: {scheduler: rr}\n';
    const text = `${HEAD}${fields}mod: x\n`;
    await writeFile(file, text);
    await mkdir(join(dir, 'm'));
    const words = ['--config', file, '--manifests', join(dir, 'm'), '--redirect=none', '--engine=portable'];
    child = spawn(process.execPath, [PROGRAM, ...words, '--cluster-cidr=10.0.0.0/8'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr?.on('data', (part) => {
      stderr += String(part);
    });
    await until('the program to be ready', () => / info ready /.test(stderr), 15_000);
    expect(stderr).to.match(/warn flags were given that the file of --config stands in for .*flags=--cluster-cidr\n/);
    expect(stderr).to.match(/warn fields of the configuration do nothing here .*fields=ipvs\.scheduler\n/);
    expect(stderr).to.contain(`warn fields of the configuration are unknown fields="${file}:6:6: mod"\n`);
    expect(stderr).to.not.contain(' debug ');
    await writeFile(file, `${text}logging: {verbosity: 4}\n`);
    await until('the new verbosity', () => /configuration applied fields=logging\.verbosity/.test(stderr));
    child.kill('SIGTERM');
    await until('a debug line', () => stderr.includes(' debug '));
  });
});
