import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { packageVersion } from '../../lib/config/version.js';
import { NO_ACCESS } from '../../lib/source/api/choose-access.js';
import { PROGRAM } from '../support/proxy.js';
import { until, within } from '../support/until.js';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function kproxyUs(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [PROGRAM, ...args], (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe('the built program', function () {
  this.timeout(20_000);

  it('ends with 2 and one line a fault, and does nothing (C1)', async () => {
    const { code, stdout, stderr } = await kproxyUs('--udp-timeout=5x', '--proxi-mode=userspace', '--proxy-mode=ipvs');
    expect(code).to.equal(2);
    expect(stdout).to.equal('');
    expect(stderr.split('\n')).to.deep.equal([
      'error: "--proxi-mode": no such flag; did you mean --proxy-mode?',
      'error: --udp-timeout: "5x": expected a duration such as 250ms, 1m30s or 1h',
      'error: --proxy-mode: "ipvs": expected userspace: this program relays in userspace; for the modes of the kernel run kube-proxy',
      `error: ${NO_ACCESS}`,
      'See kproxy-us --help.',
      '',
    ]);
  });

  it('names only the command where there is none of that name (C1)', async () => {
    const { code, stderr } = await kproxyUs('chekc', 'x', '--nonsense');
    expect(code).to.equal(2);
    expect(stderr).to.equal('error: "chekc": no such command; did you mean check?\nSee kproxy-us --help.\n');
  });

  for (const mode of ['nftables', 'route']) {
    it(`refuses --redirect ${mode} before anything is started, as it is not built yet (C1)`, async () => {
      const { code, stdout, stderr } = await kproxyUs('--manifests', '/no/such/folder', '--redirect', mode);
      expect(code).to.equal(2);
      expect(stdout).to.equal('');
      expect(stderr).to.contain(
        `error: --redirect: "${mode}": expected iptables or none: this mode is not built yet\n`,
      );
    });
  }

  it('ends with 2 where the access log cannot be opened, naming the flag (C1)', async () => {
    const off = ['--healthz-bind-address=', '--metrics-bind-address='];
    const args = ['--manifests', tmpdir(), '--redirect=none', '--access-log', '/no/such/folder/log', ...off];
    const { code, stderr } = await kproxyUs(...args);
    expect(code).to.equal(2);
    expect(stderr).to.match(/--access-log: .*\/no\/such\/folder\/log/);
  });

  it('ends with 2 without a source', async () => {
    const { code, stderr } = await kproxyUs();
    expect(code).to.equal(2);
    expect(stderr).to.match(/^error: expected --manifests with files or directories, or an API server/);
  });

  it('says its version', async () => {
    expect(await kproxyUs('--version')).to.deep.equal({
      code: 0,
      stdout: `kproxy-us ${packageVersion()}\n`,
      stderr: '',
    });
  });

  it('shows its help with groups, defaults and units, whatever else is wrong', async () => {
    const { code, stdout } = await kproxyUs('--no-such-flag', '-h');
    expect(code).to.equal(0);
    for (const group of ['Sources', 'Listening', 'Redirects', 'Relaying', 'Timeouts and limits', 'Status', 'Logging']) {
      expect(stdout).to.contain(`\n${group}:\n`);
    }
    expect(stdout).to.match(/--dial-timeout <duration> .*\(default 1s\)/);
  });

  it('ends with 2 where the manifests are not there (C1)', async () => {
    const off = ['--healthz-bind-address=', '--metrics-bind-address='];
    const { code, stderr } = await kproxyUs('--manifests', '/no/such/folder', '--redirect=none', ...off);
    expect(code).to.equal(2);
    expect(stderr).to.match(/flag=--manifests .*no such file or directory: \/no\/such\/folder/);
  });

  it('has no status where nothing runs', async () => {
    const { code, stderr } = await kproxyUs('status', '--metrics-bind-address=127.0.0.1:1');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^error: no status from 127\.0\.0\.1:1: .*ECONNREFUSED/);
  });
});

describe('a running program', function () {
  this.timeout(20_000);
  let dir: string;
  let child: ChildProcess;
  let stderr: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    const flags = ['--redirect=none', '--healthz-bind-address=', '--metrics-bind-address=127.0.0.1:0'];
    const ignored = ['--masquerade-all', '--ipvs-scheduler', 'rr', '--kubeconfig=/k'];
    child = spawn(process.execPath, [PROGRAM, '--manifests', dir, ...flags, ...ignored]);
    stderr = '';
    child.stderr?.on('data', (part) => {
      stderr += String(part);
    });
    await until('the program to be ready', () => / info ready /.test(stderr), 15_000);
  });

  afterEach(async () => {
    child.kill('SIGKILL');
    await rm(dir, { recursive: true });
  });

  it('names in one warning all flags that do nothing here', () => {
    const lines = stderr.split('\n').filter((line) => line.includes(' warn '));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.contain('flags="--masquerade-all --ipvs-scheduler --kubeconfig"');
  });

  it('bears its own name, so that ss and ps show it', async () => {
    expect((await readFile(`/proc/${child.pid}/comm`, 'utf8')).trim()).to.equal('kproxy-us');
  });

  it('shows its status to kproxy-us status', async () => {
    const [, port = ''] = /server=metrics address=127\.0\.0\.1:(\d+)/.exec(stderr) ?? [];
    const { code, stdout } = await kproxyUs('status', '--metrics-bind-address', `127.0.0.1:${port}`, '--output=json');
    expect(code).to.equal(0);
    expect(JSON.parse(stdout)).to.include({ pid: child.pid, redirect: 'none', healthy: true });
  });

  it('reads its files again at SIGHUP, and ends with 0 at SIGTERM (Y6)', async () => {
    child.kill('SIGHUP');
    await until('the log line', () => stderr.includes('reading the files again signal=SIGHUP'));
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await within('the end', exit)).to.deep.equal([0, null]);
    expect(stderr).to.match(/ info stopped\n$/);
  });
});

describe('kproxy-us check', function () {
  this.timeout(20_000);
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
  });

  afterEach(() => rm(dir, { recursive: true }));

  const service = (name: string, nodePort: number) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'work' },
    spec: { type: 'NodePort', clusterIP: '10.96.0.10', ports: [{ name: 'http', port: 80, nodePort }] },
  });
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', namespace: 'work', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: [{ addresses: ['10.244.0.5'] }, { addresses: ['10.244.0.6'], conditions: { ready: false } }],
  };

  it('shows what would be opened and redirected, and what would not', async () => {
    await writeFile(join(dir, 'web.json'), JSON.stringify(service('web', 30_080)));
    await writeFile(join(dir, 'web-1.json'), JSON.stringify(slice));
    const headless = { ...service('other', 0), spec: { clusterIP: 'None', ports: [{ port: 80 }] } };
    await writeFile(join(dir, 'z-other.json'), JSON.stringify(headless));
    const { code, stdout, stderr } = await kproxyUs('check', '--bind-address=192.0.2.1', dir);
    expect(stderr).to.equal('');
    expect(code).to.equal(0);
    const lines = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(lines[0]).to.deep.equal(['SERVICE PORT', 'CLIENTS DIAL', 'THROUGH', 'BACKENDS']);
    expect(lines).to.deep.include(['work/web:http/TCP', '0.0.0.0:30080', 'node port', '10.244.0.5:8080']);
    expect(lines).to.deep.include(['work/web:http/TCP', '10.96.0.10:80/TCP', 'iptables', '10.244.0.5:8080']);
    expect(stdout).to.contain('note: work/other: not served: headless');
  });

  it('lists every fault with its place and ends with 2 (C1)', async () => {
    await writeFile(join(dir, 'a.json'), JSON.stringify(service('web', 70_000)));
    await writeFile(join(dir, 'b.yaml'), 'kind: [\n');
    const { code, stdout, stderr } = await kproxyUs('check', dir, join(dir, 'absent.yaml'));
    expect(code).to.equal(2);
    expect(stdout).to.equal('');
    expect(stderr).to.match(/^error: .*a\.json:1:\d+: Service work\/web: spec\.ports/m);
    expect(stderr).to.match(/^error: .*b\.yaml:\d+:\d+: /m);
    expect(stderr).to.match(/^error: .*absent\.yaml: /m);
  });

  it('lists what two claim and only one can have, and ends with 2 (C1, C2)', async () => {
    const other = service('other', 30_080);
    const ip = '10.96.0.11';
    const health = { ...service('health', 10_256), spec: { ...service('health', 10_256).spec, clusterIP: ip } };
    const metrics = {
      ...service('metrics', 10_249),
      spec: { ...service('metrics', 10_249).spec, clusterIP: '10.96.0.12' },
    };
    for (const one of [service('web', 30_080), other, health, metrics]) {
      await writeFile(join(dir, `${one.metadata.name}.json`), JSON.stringify(one));
    }
    const { code, stdout, stderr } = await kproxyUs('check', dir);
    expect(code).to.equal(2);
    expect(stdout).to.equal('');
    expect(stderr.trimEnd().split('\n')).to.have.members([
      'error: Service work/web: 10.96.0.10:80/TCP is that of Service work/other already',
      'error: Service work/web: nodePort:30080/TCP is that of Service work/other already',
      'error: Service work/health: nodePort:10256/TCP is taken by the server of --healthz-bind-address (0.0.0.0:10256)',
      'error: Service work/metrics: nodePort:10249/TCP is taken by the server of --metrics-bind-address (127.0.0.1:10249)',
    ]);
  });

  it('asks for manifests where none are named (C1)', async () => {
    const { code, stderr } = await kproxyUs('check', '--redirect=none');
    expect(code).to.equal(2);
    expect(stderr).to.equal('error: expected files or directories of manifests\nSee kproxy-us check --help.\n');
  });
});
