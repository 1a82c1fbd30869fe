import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LiveConfig } from '../../lib/cli/live-config.js';
import { readCommandLine } from '../../lib/cli/program.js';
import { resolveRun } from '../../lib/cli/resolve-run.js';
import type { Log, LogFields } from '../../lib/config/log.js';
import type { Options } from '../../lib/config/options.js';
import { PROGRAM } from '../support/proxy.js';
import { requires } from '../support/requires.js';
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
  let file: string;
  let child: ChildProcess;
  let stderr: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    file = join(dir, 'config.conf');
    await mkdir(join(dir, 'm'));
    stderr = '';
  });

  afterEach(async () => {
    const exit = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGTERM')) await within('the end', exit, 10_000);
    await rm(dir, { recursive: true });
  });

  const NOWHERE = 'metricsBindAddress: "0"\nhealthzBindAddress: "0"\n';

  async function start(text: string, flags: readonly string[] = [], before: readonly string[] = []): Promise<void> {
    await writeFile(file, `${HEAD}${NOWHERE}${text}`);
    const program = [process.execPath, PROGRAM, '--config', file, '--manifests', join(dir, 'm')];
    const [command = '', ...words] = [...before, ...program, '--redirect=none', '--engine=portable', ...flags];
    child = spawn(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (part) => {
      stderr += String(part);
    });
  }

  const ready = () => until('the program to be ready', () => / info ready /.test(stderr), 15_000);
  const oomScore = async () => Number(await readFile(`/proc/${child.pid}/oom_score_adj`, 'utf8'));

  it('names what the file overrides, ignores and does not know, and applies a new verbosity at once (C4)', async () => {
    const text = 'ipvs: {scheduler: rr}\nmod: x\n';
    await start(text, ['--cluster-cidr=10.0.0.0/8']);
    await ready();
    expect(stderr).to.match(/warn flags were given that the file of --config stands in for .*flags=--cluster-cidr\n/);
    expect(stderr).to.match(/warn fields of the configuration do nothing here .*fields=ipvs\.scheduler\n/);
    expect(stderr).to.contain(`warn fields of the configuration are unknown fields="${file}:6:6: mod"\n`);
    expect(stderr).to.not.contain(' debug ');
    await writeFile(file, `${HEAD}${NOWHERE}${text}logging: {verbosity: 4}\n`);
    await until('the new verbosity', () => /configuration applied fields=logging\.verbosity/.test(stderr));
    child.kill('SIGTERM');
    await until('a debug line', () => stderr.includes(' debug '));
  });

  it('has the OOM score of the file, and that of a changed file', async () => {
    await start('oomScoreAdj: 500\n');
    await ready();
    expect(await oomScore()).to.equal(500);
    await writeFile(file, `${HEAD}${NOWHERE}oomScoreAdj: 600\n`);
    await until('the new score', async () => (await oomScore()) === 600);
  });

  it('warns with the reason where it cannot have the OOM score that was asked for, and goes on', async function () {
    requires(this, 'root', 'setpriv');
    const unprivileged = ['setpriv', '--bounding-set', '-sys_resource', '--inh-caps', '-sys_resource'];
    await start('oomScoreAdj: -1000\n', [], unprivileged);
    await ready();
    expect(stderr).to.match(/ warn cannot set the OOM score, .* score=-1000 reason=".* needs CAP_SYS_RESOURCE" /);
  });

  it('ends with 2 where the file has faults, and says all of them (C1)', async () => {
    await start('mode: ipvs\nconfigSyncPeriod: 5x\n');
    const [code] = await within('the end', once(child, 'exit'));
    expect(code).to.equal(2);
    await until('the last line', () => stderr.endsWith('See kproxy-us --help.\n'));
    const places = stderr.split('\n').map((line) => line.split(': ').slice(0, 3));
    expect(places.slice(0, 2)).to.deep.equal([
      ['error', `${file}:5:7`, 'mode'],
      ['error', `${file}:6:19`, 'configSyncPeriod'],
    ]);
  });
});
